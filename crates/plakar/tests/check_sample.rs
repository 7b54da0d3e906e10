//! `check -sample`: a part of what is stored is read each time, and in the end all of it.

mod common;

use common::World;
use common::copies::json;
use common::tree::noise;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The packs of a repository with several of them.
fn packs(world: &World) -> Vec<PathBuf> {
    let above = fs::read_dir(world.path("home/.plakar/store/packs")).unwrap();
    let files = above.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn world() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    for n in 0..8 {
        world.write("data/f", noise(n, 100_000));
        world.ok("push data");
    }
    assert_eq!(packs(&world).len(), 8);
    world
}

#[test]
fn damage_is_found_by_the_sample_that_comes_to_it_and_all_are_read_in_turn() {
    let world = world();
    for pack in packs(&world) {
        let bytes = fs::read(&pack).unwrap();
        let mut spoilt = bytes.clone();
        spoilt[bytes.len() / 2] ^= 1;
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, &spoilt).unwrap();
        let codes: Vec<_> = (0..4).map(|_| world.line("check -sample 25%").code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 4).count(), 1, "{pack:?}: {codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3, "{pack:?}: {codes:?}");
        assert_eq!(world.line("check -fast").code, 0, "nothing is missing");
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, &bytes).unwrap();
    }
    // What is not there is found by any of them.
    let pack = &packs(&world)[0];
    fs::rename(pack, world.path("work/away")).unwrap();
    for _ in 0..4 {
        assert_eq!(world.line("check -sample 1%").code, 4);
    }
}

#[test]
fn how_far_it_has_come_is_told_and_remembered() {
    let world = world();
    let told = |line: &str| json(&world.ok(line));
    let first = told("-json check -sample 50%");
    assert_eq!((&first["packs_read"], &first["packs"]), (&4.into(), &8.into()));
    assert!(first["all_packs_read_since"].is_null(), "{first}");
    assert!(world.ok("status").contains("never verified"), "a sample proves no snapshot whole");
    let whole = told("-json check")["bytes"].as_u64().unwrap();
    let second = told("-json check -sample 50%");
    assert!(second["all_packs_read_since"].is_string(), "{second}");
    let bytes: BTreeSet<_> = [&first, &second].map(|told| told["bytes"].as_u64().unwrap()).into();
    assert_eq!(bytes.iter().sum::<u64>(), whole, "each once");
    assert!(
        world.line("-verbose check -sample 50%").err.contains("read 4 of 8 packs; each was read since 20")
    );
    for wrong in ["0%", "101%", "5", "-1%", "x"] {
        world.fails(&format!("check -sample {wrong}"), 2, "share");
    }
    world.fails("check -sample 5% -fast", 2, "cannot be used with");
    world.ok("create -no-encryption empty");
    world.ok("on empty check -sample 5%");
}
