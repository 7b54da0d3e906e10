//! A store that serves what was there earlier: one object, some, or all of them. What is noticed and what is not stands in
//! `docs/threat-model.md`; nothing of it makes what is pushed then less than whole.

mod common;

use common::World;
use common::copies::files;
use common::tree::{assert_same, look, noise};
use std::fs;

/// A world with an encrypted repository, `repo`, of one snapshot.
fn world() -> World {
    let world = World::new().with("PLAKAR_PASSPHRASE", "secret").with("PLAKAR_REPOSITORY", "repo");
    for n in 0..5 {
        world.write(&format!("data/{n}"), noise(n, 40_000));
    }
    world.ok("create");
    world.ok("push data");
    world
}

/// From now on another client, who knows nothing.
fn be_new(world: &mut World) {
    world.shell("rm -rf ../new-home && mkdir ../new-home").succeeded();
    world.set("HOME", &world.text("new-home"));
}

/// What was pushed last comes back as it is in the directory.
fn last_is_whole(world: &World) {
    world.shell("rm -rf out").succeeded();
    let uuid = world.uuids().pop().unwrap();
    world.ok(&format!("pull -rebase -path out {uuid}:{}", world.text("work/data")));
    assert_same(&look(&world.path("work/data")), &look(&world.path("work/out")));
}

/// What is said of it, if it is noticed.
const SAID: &str = "neither here nor removed";

/// Every command tells whoever knew the newer state, and nothing is deleted until the next push. What is there is shown.
fn is_told(world: &World, there: &[String]) {
    for words in ["ls", "info", "check", "check -fast", "push data"] {
        if words == "push data" {
            world.fails("cleanup -grace 0", 4, SAID);
        }
        let ran = world.line(words);
        let code = if words.starts_with("check") { 4 } else { 0 };
        assert!(ran.code == code && ran.err.contains(SAID), "{words}: {ran:?}");
        assert!(words != "ls" || there.iter().all(|uuid| ran.out.contains(uuid)), "{ran:?}");
    }
}

#[test]
fn a_store_that_is_rolled_back_is_told_of_and_what_is_pushed_then_is_whole() {
    // With what a client remembers of the newer state, its hints above all, and without.
    for client_is_new in [false, true] {
        let mut world = world();
        let first = world.uuids();
        world.shell("cp -a repo older").succeeded();
        world.write("data/more", noise(9, 200_000));
        world.ok("push data");
        world.ok("check");
        world.shell("rm -rf repo && mv older repo").succeeded();
        if client_is_new {
            be_new(&mut world);
        }
        match client_is_new {
            false => is_told(&world, &first),
            true => {
                // Nobody told it of anything newer.
                assert_eq!(world.uuids(), first);
                world.ok("push data");
            }
        }
        let ran = world.line("check");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "client is new: {client_is_new}");
        last_is_whole(&world);
        world.ok("cleanup -grace 0");
        last_is_whole(&world);
    }
}

#[test]
fn newest_facts_that_are_hidden_are_told_of_and_harm_nothing() {
    let world = world();
    let first = world.uuids();
    let before = files(&world.path("work/repo/log"));
    world.write("data/more", noise(9, 200_000));
    world.ok("push data");
    let second = world.uuids();
    world.shell("mkdir hidden").succeeded();
    let newest: Vec<_> =
        files(&world.path("work/repo/log")).into_iter().filter(|f| !before.contains(f)).collect();
    assert!(newest.len() >= 2, "{newest:?}");
    for object in &newest {
        fs::rename(object, world.path("work/hidden").join(object.file_name().unwrap())).unwrap();
    }
    world.write("data/0", noise(10, 40_000));
    is_told(&world, &first);
    assert_eq!(world.ok("check"), "");
    last_is_whole(&world);
    // They come back.
    world.shell("mv hidden/* repo/log/").succeeded();
    let all = world.uuids();
    assert!(all.len() == 3 && second.iter().all(|uuid| all.contains(uuid)), "{all:?}");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn an_older_replica_makes_a_copy_a_twin_again() {
    let mut world = world();
    world.shell("cp -a repo copy && cp repo/replica older").succeeded();
    world.ok("on copy adopt");
    world.ok("on copy push data");
    world.shell("cp --remove-destination older copy/replica").succeeded();
    // Who knows the original does not write to it.
    let ran = world.line("on copy push data");
    assert!(ran.code == 1 && ran.err.contains("adopt"), "{ran:?}");
    let ran = world.line("on copy check");
    assert!(ran.code == 0 && ran.err.contains("has the same replica ID"), "{ran:?}");
    be_new(&mut world);
    world.ok("on copy push data");
    assert_eq!(world.ok("on copy check"), "");
}

#[test]
fn a_key_slot_that_was_removed_opens_again_when_it_is_put_back() {
    let mut world = world().with("PLAKAR_NEW_PASSPHRASE", "other");
    world.shell("cp -a repo/keys older").succeeded();
    world.ok("key passphrase");
    world.fails("ls", 11, "");
    world.shell("cp older/* repo/keys/").succeeded();
    assert_eq!(world.uuids().len(), 1);
    world.set("PLAKAR_PASSPHRASE", "other");
    assert_eq!(world.uuids().len(), 1);
    assert_eq!(world.ok("key ls").lines().count(), 2, "it is shown");
}

#[test]
fn what_an_earlier_repository_of_that_place_had_is_refused() {
    // Whoever knew both passphrases was told of both; they are the same here.
    let mut world = world();
    world.shell("mv repo earlier").succeeded();
    world.ok("create");
    world.ok("push data");
    world.shell("cp -a repo good").succeeded();
    for part in ["config", "keyring", "keys", "keyring keys", "config keyring", "config keys"] {
        world.shell("rm -rf repo && cp -a good repo").succeeded();
        for one in part.split(' ') {
            world.shell(&format!("rm -rf repo/{one} && cp -a earlier/{one} repo/")).succeeded();
        }
        for words in ["ls", "push data", "check"] {
            let ran = world.line(words);
            assert!(
                [1, 4].contains(&ran.code) && ran.err.starts_with("plakar: "),
                "{part}: {words}: {ran:?}"
            );
            assert!(!ran.err.contains("panicked"), "{part}: {words}: {ran:?}");
        }
    }
    // All of it: who was there knows that it was another one.
    world.shell("rm -rf repo && cp -a earlier repo").succeeded();
    world.fails("push data", 1, "is not the one that was last opened here");
    be_new(&mut world);
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
}
