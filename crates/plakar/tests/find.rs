//! `find` finds everything that is asked for, in every snapshot in which it is, and says so when there is nothing.

mod common;

use common::World;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Two snapshots of a tree, which differ in one file; the larger part of the tree is the same.
fn world() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    world.write("d/a/x.conf", "one");
    world.write("d/a/b/x.conf", "two, and a little longer");
    world.write("d/a/b/[odd]*", "three");
    world.write("d/c/y.conf.bak", "four");
    std::os::unix::fs::symlink("x.conf", world.path("work/d/a/l.conf")).unwrap();
    world.ok("push d");
    world.write("d/c/new.conf", "five");
    world.ok("push d");
    world
}

/// What was found: the snapshot's number, counted from 0, and the path beneath `d`.
fn found(world: &World, words: &[&str]) -> Vec<(usize, String)> {
    let ran = world.run(["find"].iter().chain(words));
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (if ran.out.is_empty() { 1 } else { 0 }, ""),
        "{words:?}: {ran:?}"
    );
    let (uuids, d) = (world.uuids(), world.text("work/d"));
    let one = |line: &str| {
        let reference = line.rsplit(' ').next().unwrap();
        let (uuid, path) = reference.split_once(':').unwrap();
        (uuids.iter().position(|u| u == uuid).unwrap(), path.strip_prefix(&d).unwrap().to_owned())
    };
    ran.out.lines().map(one).collect()
}

fn in_both(paths: &[&str]) -> Vec<(usize, String)> {
    [0, 1].into_iter().flat_map(|n| paths.iter().map(move |path| (n, path.to_string()))).collect()
}

#[test]
fn names_and_paths_are_found_in_all_snapshots_or_in_those_named() {
    let world = world();
    let (uuids, d) = (world.uuids(), world.text("work/d"));
    assert_eq!(found(&world, &["x.conf"]), in_both(&["/a/b/x.conf", "/a/x.conf"]));
    assert_eq!(found(&world, &["new.conf"]), [(1, "/c/new.conf".into())]);
    assert_eq!(found(&world, &["latest", "x.*"]), [(1, "/a/b/x.conf".into()), (1, "/a/x.conf".into())]);
    assert_eq!(found(&world, &[&uuids[0], "latest~1", "l.conf"]).len(), 2, "as often as it was asked for");
    assert_eq!(found(&world, &["-name", "x.conf", "latest"]).len(), 2);
    assert_eq!(found(&world, &["-name", "l.conf", "-name", "y*", &uuids[0]]).len(), 2);
    assert_eq!(found(&world, &[&format!("{d}/a/x.conf")]), in_both(&["/a/x.conf"]));
    assert_eq!(found(&world, &[&format!("{}/a/x.conf", &d[1..])]), in_both(&["/a/x.conf"]));
    assert_eq!(found(&world, &["**/b/x.conf"]), in_both(&["/a/b/x.conf"]));
    assert_eq!(
        found(&world, &[&format!("{d}/*/x.conf")]),
        in_both(&["/a/x.conf"]),
        "no star stands for a slash"
    );
    assert_eq!(found(&world, &["-path", &format!("{d}/c")]), in_both(&["/c"]));
    assert_eq!(
        found(&world, &["-path", &format!("{d}/c"), "-name", "l.conf"]),
        in_both(&["/a/l.conf", "/c"])
    );
    assert_eq!(found(&world, &["\\[odd\\]\\*"]), in_both(&["/a/b/[odd]*"]));
    // Beneath a path, and that itself.
    assert_eq!(found(&world, &[&format!("latest:{d}/a/b"), "*"]).len(), 3);
    assert_eq!(found(&world, &[&format!("latest:{d}/a/x.conf"), "x*"]), [(1, "/a/x.conf".into())]);
    for nothing in [&["nowhere"][..], &["X.conf"], &["/etc/passwd"], &["latest~1", "new.conf"]] {
        assert_eq!(found(&world, nothing), [], "{nothing:?}");
    }
}

#[test]
fn flags_say_what_kind_how_large_and_how_old() {
    let world = world();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    let file = std::fs::File::options().append(true).open(world.path("work/d/a/x.conf")).unwrap();
    file.set_modified(old).unwrap();
    world.ok("push d");
    let paths = |words: &[&str]| {
        let mut words = words.to_vec();
        let beneath = format!("latest:{}", world.text("work/d"));
        words.extend(["-name", "*", &beneath]);
        found(&world, &words).into_iter().map(|(_, path)| path).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["-type", "d"]), ["", "/a", "/a/b", "/c"]);
    assert_eq!(paths(&["-type", "l"]), ["/a/l.conf"]);
    assert_eq!(paths(&["-type", "l,d", "-newer", "1970-01-02"]).len(), 5);
    assert_eq!(paths(&["-type=f", "-larger", "5"]), ["/a/b/x.conf"]);
    assert_eq!(paths(&["-smaller", "4B"]), ["/a/x.conf"], "only files have a size");
    assert_eq!(paths(&["-older", "1970-01-03"]), ["/a/x.conf"]);
    assert_eq!(paths(&["-older", "1970-01-02T00:00:01"]), ["/a/x.conf"]);
    assert!(paths(&["-older", "1970-01-02"]).is_empty(), "it is of that day");
    assert_eq!(paths(&["-newer", "1970-01-01", "-older", "1970-01-03"]), ["/a/x.conf"]);
    assert!(paths(&["-newer", "1970-01-02", "-type", "f"]).iter().all(|path| path != "/a/x.conf"));
    assert_eq!(world.ok("find -older 1970-01-03").lines().count(), 1);
    assert_eq!(world.ok("find -type f -smaller 1k").lines().count(), 4 + 5 + 5);
}

#[test]
fn what_cannot_be_looked_for_is_not_the_answer_no() {
    let world = world();
    world.fails("find", 2, "what is to be found?");
    world.fails("find [a", 2, "is no pattern");
    world.fails("find xyz passwd", 2, "no snapshot has prefix: xyz");
    world.fails("find latest:/nowhere passwd", 2, "no such path in the snapshot");
    world.fails("find -type z x", 2, "invalid value 'z'");
    world.fails("find -newer yesterday x", 2, "is no time");
    world.fails("-cpu 99999 find x", 2, "can't use more cores");
    assert_eq!(world.run(["find", ""]).code, 2);
    world.fails("on nowhere find x", 10, "there is no repository");
}

#[test]
fn json_says_the_snapshot_and_names_that_are_no_text() {
    let world = World::new();
    world.ok("create -no-encryption");
    let odd = std::ffi::OsStr::from_bytes(b"\xff.c");
    std::fs::create_dir(world.path("work/d")).unwrap();
    std::fs::write(world.path("work/d").join(Path::new(odd)), "x").unwrap();
    world.ok("push d");
    let line = world.ok("-json find *.c");
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["snapshot"], world.uuids()[0].as_str());
    assert_eq!(value["type"], "file");
    assert!(value["path_hex"].as_str().unwrap().ends_with("2fff2e63"), "{value}");
    let words = [std::ffi::OsStr::new("find"), odd];
    assert!(world.run(words).out.ends_with("/\\xff.c\n"));
}

#[test]
fn snapshots_that_are_alike_are_not_read_again() {
    let world = World::new();
    world.ok("create -no-encryption");
    for n in 0..40 {
        world.write(&format!("d/{n}/f"), n.to_string());
    }
    let bytes_read = |words: &str| {
        let ran = world.line(&format!("-trace {words}"));
        let line = ran.err.lines().find(|line| line.contains("trace: ")).unwrap().to_owned();
        line.split("read").next().unwrap().rsplit(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    world.ok("push d");
    let once = bytes_read("find nothing");
    for _ in 0..10 {
        world.ok("push d");
    }
    let often = bytes_read("find nothing");
    // The log has grown, and of each snapshot its record.
    assert!(often < once + 60_000, "{once} bytes for one snapshot, {often} for eleven");
    assert_eq!(world.ok("find 17").lines().count(), 11, "each of them has it all the same");
}

#[test]
fn what_is_damaged_is_told_and_the_rest_is_found() {
    let world = world();
    let packs = world.path("home/.plakar/store/packs");
    world.shell(&format!("find {} -type f -delete", packs.display())).succeeded();
    let ran = world.fails("find x.conf", 4, ":/");
    assert!(ran.out.is_empty(), "{ran:?}");
}
