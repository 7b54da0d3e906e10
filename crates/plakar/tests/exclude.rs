//! What a push is told to leave out, it does not read, and all else is there.

mod common;

use common::World;
use common::tree::{is_root, set_mode};
use std::collections::BTreeSet;

/// What the newest snapshot has beneath the pushed directory.
fn seen(world: &World) -> BTreeSet<String> {
    let (id, data) = (world.uuids().pop().unwrap(), world.text("work/data"));
    let listed = world.ok(&format!("ls -recursive {id}:{data}"));
    let beneath = |line: &str| line.split_once(&format!("{data}/")).map(|(_, rest)| rest.to_owned());
    listed.lines().filter_map(beneath).collect()
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(ToString::to_string).collect()
}

#[test]
fn a_push_leaves_out_what_it_is_told() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    for path in ["a.o", "b.c", "keep.o", "cache/x", "cache/y/z", "sub/cache", "sub/a.o", "sub/deep/er/c.c"] {
        world.write(&format!("data/{path}"), path);
    }
    let all = [
        "a.o",
        "b.c",
        "cache",
        "cache/x",
        "cache/y",
        "cache/y/z",
        "keep.o",
        "sub",
        "sub/a.o",
        "sub/cache",
        "sub/deep",
        "sub/deep/er",
        "sub/deep/er/c.c",
    ];
    world.ok("push data");
    assert_eq!(seen(&world), set(&all));
    world.ok("push -exclude *.o -exclude !keep.o -exclude cache/ data");
    let some = set(&["b.c", "keep.o", "sub", "sub/cache", "sub/deep", "sub/deep/er", "sub/deep/er/c.c"]);
    assert_eq!(seen(&world), some);
    world.write("patterns", "# comment\n\n*.o\ncache/\n");
    world.ok("push -exclude-from patterns -exclude !keep.o data");
    assert_eq!(seen(&world), some);
    let anchored = format!("push -exclude {}/sub -exclude y/z -exclude /cache data", world.text("work/data"));
    world.ok(&anchored);
    assert_eq!(seen(&world), set(&["a.o", "b.c", "cache", "cache/x", "cache/y", "keep.o"]));
    // What is named is pushed.
    world.ok("push -exclude data -exclude sub data/sub");
    let id = world.uuids().pop().unwrap();
    assert!(world.ok(&format!("ls -recursive {id}:{}", world.text("work/data/sub"))).contains("er/c.c"));
    world.ok("push data");
    assert_eq!(seen(&world), set(&all), "and what was left out is back");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn what_is_left_out_is_not_looked_at() {
    let world = World::of_user();
    world.give_to_user("work");
    let run = |words: &str| world.run_as_user(words.split(' ')).succeeded();
    world
        .shell_as_user(
            "mkdir -p data/closed && echo x > data/closed/x && echo y > data/y && chmod 0 data/closed",
        )
        .succeeded();
    run("create -no-encryption there");
    let told = world.run_as_user("on there push data".split(' '));
    assert_eq!(told.code, 3, "{told:?}");
    assert_eq!(run("on there push -exclude closed data"), "");
    set_mode(&world.path("work/data/closed"), 0o700);
    assert!(!is_root() || world.path("work/data/closed/x").exists());
}

#[test]
fn what_is_no_pattern_is_refused() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world.write("data/x", "x");
    world.fails("push -exclude {a data", 2, "\"{a\" is no pattern");
    world.fails("push -exclude #x data", 2, "is no pattern");
    world.fails("push -exclude-from missing data", 1, "missing: No such file");
    world.write("latin", b"\xff\n");
    world.fails("push -exclude-from latin data", 2, "latin: not UTF-8");
    assert_eq!(world.ok("ls"), "");
}
