//! `heal` and `check -heal-from`: what is lost here comes back from others, and is told when nobody has it.

mod common;

use common::World;
use common::copies::{damage, files, json};
use std::fs;

fn run(world: &World, words: &str) -> (i32, String, String) {
    let ran = world.line(words);
    (ran.code, ran.out, ran.err)
}

/// Every pack is gone.
fn lose(world: &World) {
    files(&world.store().join("packs")).iter().for_each(|pack| fs::remove_file(pack).unwrap());
}

#[test]
fn what_is_damaged_comes_back_from_a_peer() {
    for from in ["heal from copy", "heal copy", "check -heal-from copy"] {
        let mut world = World::with_repositories(&[]);
        let one = world.push_new("", "one");
        world.ok("clone copy");
        let before = world.bytes_of(&world.path("work/copy"));
        assert_eq!(world.ok("heal from copy"), "");
        let packs = files(&world.store().join("packs"));
        assert!(damage(&world.store().join("packs")) > 0);
        let (code, _, told) = run(&world, "check");
        assert_eq!(code, 4, "{told}");
        let (code, out, told) = run(&world, from);
        assert_eq!((code, out.as_str()), (0, ""), "{told}");
        assert!(told.contains("packs/"), "what was found is told: {told}");
        assert_eq!(world.ok("check"), "");
        assert!(packs.iter().all(|pack| pack.exists()), "nothing is deleted");
        assert_eq!(world.bytes_of(&world.path("work/copy")), before, "the peer was written to");
        let data = world.text("work/data");
        assert_eq!(world.ok(&format!("cat {one}:{data}/one")), "one".repeat(500));
        // From another domain as well: the same bytes, cut anew.
        world.set("PLAKAR_PASSPHRASE", "another domain");
        world.ok("create other");
        world.ok("sync other");
        lose(&world);
        assert_eq!(run(&world, "heal from other").0, 0);
        assert_eq!(world.ok("check"), "");
    }
}

#[test]
fn a_damaged_log_comes_back_from_a_clone_or_is_given_up() {
    let mut world = World::with_repositories(&[]);
    let one = world.push_new("", "one");
    world.set("PLAKAR_PASSPHRASE", "another domain");
    world.ok("create other");
    world.ok("sync other");
    let of_one = files(&world.store().join("log"));
    world.push_new("", "two");
    world.ok(&format!("rm {one}"));
    world.ok("clone copy");
    let bytes = |world: &World| {
        let files = files(&world.store()).into_iter();
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect::<Vec<_>>()
    };
    let before = bytes(&world);
    damage(&world.store().join("log"));
    damage(&world.store().join("admin"));
    assert_eq!(run(&world, "check").0, 4);
    assert_eq!(run(&world, "heal from other").0, 4, "with a damaged object in admin/ nothing is written");
    let (code, out, told) = run(&world, "-json heal from copy");
    assert_eq!((code, json(&out)["unmended"].as_u64()), (0, Some(0)), "{told}");
    assert!(json(&out)["objects"].as_u64() > Some(3), "{out}");
    assert!(told.contains("log/") && told.contains("admin/"), "{told}");
    assert_eq!(bytes(&world), before, "all is as it was");
    assert_eq!(world.ok("check"), "");

    // The longest object of a publication is its Prepared. Without a clone nobody has that.
    world.ok("sync other");
    let of_two = files(&world.store().join("log")).into_iter().filter(|file| !of_one.contains(file));
    let longest = of_two.max_by_key(|file| fs::metadata(file).unwrap().len());
    fs::remove_file(longest.unwrap()).unwrap();
    world.ok("sync from other");
    let (code, _, told) = run(&world, "heal from other");
    assert_eq!(code, 4, "{told}");
    let at = told.find("'plakar rm ").expect("how to give it up") + 11;
    let session = told[at..at + 32].to_owned();
    let (code, _, told) = run(&world, "check");
    assert!(code == 4 && told.contains(&session), "{told}");
    world.ok(&format!("rm {session}"));
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.uuids_on(&world.text("home/.plakar/store")).len(), 1);
    assert_eq!(run(&world, &format!("rm {session}")).0, 1, "there is nothing left to give up");
}

#[test]
fn what_nobody_has_is_told_and_the_code_says_so() {
    let world = World::with_repositories(&[]);
    let one = world.push_new("", "one");
    world.ok("clone copy");
    damage(&world.store().join("packs"));
    damage(&world.path("work/copy/packs"));
    let (code, out, told) = run(&world, "heal from copy");
    assert_eq!((code, out.as_str()), (4, ""), "{told}");
    assert!(told.contains(&format!("{one}:/")), "{told}");
    let (code, out, _) = run(&world, "-json heal from copy");
    assert_eq!(code, 4);
    assert!(json(&out)["lost"].as_u64().unwrap() > 0, "{out}");
    let (code, ..) = run(&world, "check -heal-from copy");
    assert_eq!(code, 4);
}

#[test]
fn a_peer_that_cannot_help_is_told() {
    let world = World::with_repositories(&["empty"]);
    world.push_new("", "one");
    world.ok("clone copy");
    fs::write(world.path("work/file"), "no repository").unwrap();
    for (command, code) in [
        ("heal", 2),
        ("heal from", 2),
        ("heal from nowhere", 10),
        ("heal from file", 10),
        ("heal from s9://bucket", 1),
        ("check -heal-from nowhere", 10),
    ] {
        let (found, out, told) = run(&world, command);
        assert_eq!((found, out.as_str()), (code, ""), "{command}: {told}");
        assert!(!told.is_empty(), "{command}");
    }
    // One that cannot be opened does not keep the other from helping, and is not passed over.
    damage(&world.store().join("packs"));
    let (code, ..) = run(&world, "heal from nowhere copy");
    assert_eq!(code, 10);
    assert_eq!(world.ok("check"), "");
    // One that has nothing helps nobody.
    lose(&world);
    assert_eq!(run(&world, "heal from empty").0, 4);
    assert_eq!(run(&world, "heal from copy empty").0, 0);
    world.ok("check");
}
