//! `cleanup`: what was removed gives its space back, and nothing else goes.

mod common;

use common::World;
use common::copies::{damage, files, json};
use std::fs;

/// Bytes in packs.
fn stored(world: &World) -> u64 {
    files(&world.store().join("packs")).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
}

/// Noise, so that it does not shrink.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Two snapshots, of which the second has every third file of the first.
fn two(world: &World) -> [String; 2] {
    let data = world.path("work/data");
    fs::create_dir_all(&data).unwrap();
    for n in 0..30 {
        fs::write(data.join(format!("{n}")), noise(n, 20_000)).unwrap();
    }
    world.ok("push data");
    (0..30).filter(|n| n % 3 > 0).for_each(|n| fs::remove_file(data.join(format!("{n}"))).unwrap());
    world.ok("push data");
    let listed = world.ok("ls");
    let uuids: Vec<_> =
        listed.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect();
    uuids.try_into().unwrap()
}

#[test]
fn what_was_removed_gives_its_space_back() {
    let world = World::with_repositories(&[]);
    let [first, second] = two(&world);
    let all = stored(&world);
    assert_eq!(world.ok("cleanup"), "");
    assert_eq!(stored(&world), all, "everything is needed");
    world.ok(&format!("rm {first}"));
    let before = world.bytes_of(&world.store());
    let told = world.ok("cleanup -dry-run");
    assert!(told.contains("would be deleted"), "{told}");
    assert_eq!(world.bytes_of(&world.store()), before, "it was only asked");
    let report = json(&world.ok("-json cleanup"));
    assert!(report["packs"].as_u64().unwrap() > 0 && report["moved"].as_u64().unwrap() > 0, "{report}");
    let left = stored(&world);
    assert!(left < all / 2, "{left} of {all} are left");
    assert_eq!(world.ok("check"), "");
    let data = world.text("work/data");
    for n in (0..30).filter(|n| n % 3 == 0) {
        let ran = world.line(&format!("cat {second}:{data}/{n}"));
        assert_eq!(ran.code, 0);
    }
    // To be found again, and to be cloned.
    world.ok("clone copy");
    world.ok("on copy check");
    let again = json(&world.ok("-json cleanup"));
    assert_eq!((again["packs"].as_u64(), again["facts"].as_u64()), (Some(0), Some(0)), "{again}");
}

#[test]
fn what_is_needed_and_damaged_stops_it_before_anything_is_deleted() {
    let world = World::with_repositories(&[]);
    let [first, _] = two(&world);
    world.ok("clone copy");
    world.ok(&format!("rm {first}"));
    assert!(damage(&world.store().join("packs")) > 0);
    let packs = files(&world.store().join("packs"));
    let ran = world.line("cleanup");
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("packs/"), "{}", ran.err);
    assert_eq!(files(&world.store().join("packs")), packs, "nothing was deleted");
    // Mended, it works.
    assert_eq!(world.line("heal from copy").code, 0);
    world.ok("cleanup");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn bad_words_are_not_understood() {
    let world = World::with_repositories(&[]);
    for words in ["cleanup -max-repack much", "cleanup -grace 7", "cleanup what"] {
        assert_eq!(world.line(words).code, 2, "{words}");
    }
}
