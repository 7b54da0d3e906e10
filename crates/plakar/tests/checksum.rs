//! `checksum` prints what `sha256sum -c` proves a restored tree with.

mod common;

use common::{World, tree};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;

/// A tree with names that need care, pushed once.
fn world() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    world.write("d/a", "");
    world.write("d/b", "some words");
    world.write("d/c/large", tree::noise(1, 5_000_000));
    world.write("d/c/line\nbreak", "1");
    world.write("d/c/back\\slash", "2");
    world.write("d/c/return\r", "3");
    world.write("d/c/-dash and space", "4");
    world.write("d/c/\u{e9}", "5");
    symlink("b", world.path("work/d/link")).unwrap();
    world.ok("push d");
    world
}

#[test]
fn a_restored_tree_is_proven_by_another_program() {
    let world = world();
    let d = world.text("work/d");
    fs::write(world.path("work/whole"), world.run(["checksum", "latest"]).bytes).unwrap();
    fs::write(world.path("work/part"), world.run(["checksum", "-rebase", &format!("latest:{d}")]).bytes)
        .unwrap();
    fs::write(world.path("work/long"), world.run(["checksum", &format!("latest:{d}")]).bytes).unwrap();
    world.ok("pull -path out latest");
    world.ok(&format!("pull -path rebased -rebase latest:{d}"));
    for (folder, list) in [("out", "whole"), ("out", "long"), ("rebased", "part")] {
        let ran = world.shell(&format!("cd {folder} && sha256sum --strict -c ../{list}"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{folder}: {ran:?}");
        assert_eq!(ran.out.matches(": OK\n").count(), 8, "{folder}: {ran:?}");
    }
    fs::write(world.path("work/rebased/b"), "other words").unwrap();
    assert_eq!(world.shell("cd rebased && sha256sum -c ../part").code, 1);
    // Byte by byte what the other program writes.
    let own =
        world.shell("cd d && find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum --").out;
    assert_eq!(fs::read_to_string(world.path("work/part")).unwrap(), own);
}

#[test]
fn single_files_and_both_algorithms_have_checksums() {
    let world = world();
    let d = world.text("work/d");
    let expected = world.shell("sha256sum < d/b").out.split(' ').next().unwrap().to_owned();
    assert_eq!(world.ok(&format!("checksum latest:{d}/b")), format!("{expected}  {}/b\n", &d[1..]));
    assert_eq!(world.ok(&format!("checksum -rebase latest:{d}/b")), format!("{expected}  b\n"));
    let blake = blake3::hash(b"some words").to_hex().to_string();
    let words = format!("checksum -algorithm blake3 -rebase latest:{d}/b");
    assert_eq!(world.ok(&words), format!("{blake}  b\n"));
    let value: Value = serde_json::from_str(&world.ok(&format!("-json {words}"))).unwrap();
    assert_eq!((value["blake3"].as_str(), value["path"].as_str()), (Some(&*blake), Some("b")));
    assert_eq!(value["snapshot"], world.uuids()[0].as_str());
    world.fails("checksum", 2, "at least one parameter is required");
    world.fails("checksum latest:/nowhere", 1, "no such path in the snapshot");
    world.fails(&format!("checksum latest:{d}/link"), 1, "not a file or directory but a symlink");
    world.fails("checksum -algorithm md5 latest", 2, "invalid value 'md5'");
}

#[test]
fn what_is_damaged_or_was_not_read_has_no_checksum_and_is_told() {
    let world = World::of_user();
    world.write("d/f", tree::noise(1, 50_000));
    world.write("d/g", "x");
    world.give_to_user("work");
    tree::set_mode(&world.path("work/d/g"), 0);
    let run = |words: &str| world.run_as_user(words.split_whitespace());
    run("create -no-encryption").succeeded();
    assert_eq!(run("push d").code, 3);
    let ran = run("checksum latest");
    assert_eq!((ran.code, ran.out.lines().count()), (3, 1), "{ran:?}");
    assert!(ran.err.contains("d/g: has no checksum"), "{ran:?}");
    let packs = world.path("home/.plakar/store/packs");
    // The bytes of the file are gone, and perhaps what else is in its pack.
    world.shell(&format!("find {} -type f -delete", packs.display())).succeeded();
    let ran = run("checksum latest");
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
}
