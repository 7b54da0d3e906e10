//! Whom a restore gives files to.

mod common;

use common::World;
use common::tree::{is_root, skipped};
use std::os::unix::fs::{MetadataExt, chown};

#[test]
fn files_are_given_to_whom_the_flag_says() {
    if !is_root() {
        skipped("giving files away needs root");
        return;
    }
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    let file = world.write("data/file", "x");
    chown(&file, Some(54_321), Some(65_432)).unwrap();
    world.ok("push data");
    let owner = |flags: &str, into: &str| {
        world.ok(&format!("pull {flags} -rebase -path {into} :{}", world.text("work/data")));
        let file = world.path("work").join(into).join("file").metadata().unwrap();
        (file.uid(), file.gid())
    };
    assert_eq!(owner("", "a"), (54_321, 65_432));
    assert_eq!(owner("-owner number", "b"), (54_321, 65_432));
    assert_eq!(owner("-owner none", "c"), (0, 0), "without a word");
    // What would lend somebody else's rights is left out, and told of.
    world.shell("chmod 4755 data/file").succeeded();
    world.ok("push data");
    let newest = world.uuids().pop().unwrap();
    let words = format!("pull -owner none -rebase -path d {newest}:{}", world.text("work/data"));
    world.fails(&words, 3, "setuid and setgid left out");
    assert_eq!(world.path("work/d/file").metadata().unwrap().mode() & 0o7777, 0o755);
    world.fails("pull -owner somebody x", 2, "somebody");
    world.fails("pull -owner none -numeric-ids x", 2, "-numeric-ids");
}
