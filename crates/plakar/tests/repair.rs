//! `repair`: a lost index is made anew, damage is noted and named, and nothing is deleted.

mod common;

use common::World;
use common::copies::{damage, files, json};
use std::fs;

/// A snapshot of so many small files that the index is an object of its own.
fn pushed(world: &World) {
    let data = world.path("work/data");
    fs::create_dir_all(&data).unwrap();
    for n in 0..2_500u32 {
        fs::write(data.join(format!("{n}")), blake3::hash(&n.to_le_bytes()).to_hex().repeat(3)).unwrap();
    }
    world.ok("push data");
}

#[test]
fn an_index_that_is_gone_is_made_anew() {
    let world = World::with_repositories(&[]);
    pushed(&world);
    let index = world.store().join("index");
    assert!(!files(&index).is_empty());
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(world.line("check").code, 4);
    let refused = world.line("cleanup");
    assert!(refused.code == 4 && refused.err.contains("plakar repair"), "{}", refused.err);
    let before = world.bytes_of(&world.store());
    let told = world.line("repair -dry-run");
    assert!(told.code == 4 && told.out.contains("would be listed anew"), "{}", told.out);
    assert_eq!(world.bytes_of(&world.store()), before, "it was only asked");
    let ran = world.line("-json repair");
    assert!(ran.code == 0 && ran.err.contains("is missing"), "{}", ran.err);
    let report = json(&ran.out);
    assert!(report["packs_listed"].as_u64().unwrap() > 0 && report["lost"] == 0, "{report}");
    assert_eq!(world.ok("check"), "");
    world.ok("push data");
    world.ok("cleanup");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("repair -dry-run"), "", "nothing is left to do");
}

#[test]
fn what_is_lost_for_good_is_named_and_healed_from_elsewhere() {
    let world = World::with_repositories(&[]);
    pushed(&world);
    world.ok("clone copy");
    assert!(damage(&world.store().join("packs")) > 0);
    let names = files(&world.store());
    let ran = world.line("repair");
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains(":/"), "{}", ran.err);
    assert!(names.iter().all(|name| name.exists()), "nothing is deleted");
    assert_eq!(world.line("heal from copy").code, 0);
    assert_eq!(world.ok("check"), "");
}

#[test]
fn bad_words_are_not_understood() {
    let world = World::with_repositories(&[]);
    for words in ["repair what", "repair -grace 7"] {
        assert_eq!(world.line(words).code, 2, "{words}");
    }
}
