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

#[test]
fn marked_directories_and_caches_are_stored_with_their_marks_only() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# more";
    for (path, text) in [
        ("marked/.nobackup", ""),
        ("marked/x", "x"),
        ("marked/sub/y", "y"),
        ("by-directory/.stop/z", "z"),
        ("by-directory/x", "x"),
        ("cache/CACHEDIR.TAG", tag),
        ("cache/x", "x"),
        ("no-cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc5"),
        ("no-cache/x", "x"),
        ("dir-cache/CACHEDIR.TAG/x", tag),
        ("plain", ""),
    ] {
        world.write(&format!("data/{path}"), text);
    }
    world.shell("mkdir data/link-cache && ln -s ../cache/CACHEDIR.TAG data/link-cache").succeeded();
    world.ok("push data");
    let all = seen(&world);
    let without = |gone: &[&str]| {
        let mut left = all.clone();
        gone.iter().for_each(|path| assert!(left.remove(*path), "{path}"));
        left
    };
    world.ok("push -exclude-if-present .nobackup -exclude-if-present .stop data");
    let marked = ["marked/x", "marked/sub", "marked/sub/y"];
    let by_directory = ["by-directory/.stop", "by-directory/.stop/z", "by-directory/x"];
    assert_eq!(seen(&world), without(&[marked, by_directory].concat()));
    // A mark that a pattern leaves out is a mark all the same.
    world.ok("push -exclude-if-present .nobackup -exclude .nobackup data");
    assert_eq!(seen(&world), without(&[&marked[..], &["marked/.nobackup"]].concat()));
    // A link is no tag, nor is a directory, nor what begins otherwise.
    world.ok("push -exclude-caches data");
    assert_eq!(seen(&world), without(&["cache/x"]));
    // What is named is pushed.
    world.ok("push -exclude-if-present .nobackup -exclude-caches data/marked data/cache");
    let named = seen(&world);
    assert!(
        named.contains("marked/x") && named.contains("marked/sub/y") && named.contains("cache/x"),
        "{named:?}"
    );
    world.fails("push -exclude-if-present a/b data", 2, "must be a name, not a path");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn large_files_are_left_out_but_not_those_that_are_named() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world.write("data/exactly", [1; 2000]);
    world.write("data/sub/more", [2; 2001]);
    world.ok("push -max-size 2kB data");
    assert_eq!(seen(&world), set(&["exactly", "sub"]));
    world.ok("push -max-size 2kB data/sub/more");
    assert_eq!(seen(&world), set(&["sub", "sub/more"]));
    world.fails("push -max-size much data", 2, "is no size");
}

#[test]
fn gitignore_files_count_where_they_lie_the_innermost_first() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    // Of a file above what is pushed nobody asked; of one too large nothing is taken.
    world.write(".gitignore", "*\n");
    world.write("data/.gitignore", b"\xef\xbb\xbf# objects\n*.o\r\n/top\nbuild/\n\xff\n[z-a]\n!keep.o\n");
    world.write("data/large/.gitignore", format!("{}\n*\n", "#".repeat(1 << 20)));
    world.write("data/inner/.gitignore", "!*.o\nsecret\n");
    for path in [
        "a.o",
        "keep.o",
        "top",
        "sub/top",
        "sub/a.o",
        "sub/build",
        "build/x",
        "inner/a.o",
        "inner/secret",
        "inner/deep/secret",
        "inner/deep/b.o",
        "large/x",
        "secret",
    ] {
        world.write(&format!("data/{path}"), path);
    }
    world.ok("push data");
    let all = seen(&world);
    world.ok("push -gitignore data");
    let gone = ["a.o", "top", "sub/a.o", "build", "build/x", "inner/secret", "inner/deep/secret"];
    let expected: BTreeSet<_> = all.iter().filter(|path| !gone.contains(&path.as_str())).cloned().collect();
    assert_eq!(expected.len(), all.len() - gone.len());
    assert_eq!(seen(&world), expected);
    // What a pattern leaves out no .gitignore keeps.
    world.ok("push -gitignore -exclude keep.o data");
    assert!(!seen(&world).contains("keep.o"));
    assert_eq!(world.ok("check"), "");
}

#[test]
fn what_is_mounted_is_left_out_of_one_file_system() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world.write("data/x", "x");
    world.write("data/mounted/hidden", "");
    let with_mount = |words: &str| {
        let mount = "mount -t tmpfs -o mode=755 none data/mounted && mkdir data/mounted/on && echo x >data/mounted/on/it";
        world.shell(&format!("unshare -m sh -c '{mount} && plakar {words}'"))
    };
    if !is_root() || with_mount("version").code != 0 {
        common::tree::skipped("mounting needs root");
        return;
    }
    with_mount("push data").succeeded();
    assert_eq!(seen(&world), set(&["x", "mounted", "mounted/on", "mounted/on/it"]));
    with_mount("push -one-file-system data").succeeded();
    assert_eq!(seen(&world), set(&["x", "mounted"]));
    with_mount("push -one-file-system data/mounted").succeeded();
    assert_eq!(seen(&world), set(&["mounted", "mounted/on", "mounted/on/it"]));
}

#[test]
fn a_source_leaves_out_what_it_says_beneath_its_own_paths() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    for path in ["a/.gitignore", "a/x.o", "a/d/.stop", "a/d/y", "b/.gitignore", "b/x.o", "b/d/.stop", "b/d/y"]
    {
        world.write(&format!("data/{path}"), "*.o");
    }
    let a = world.text("work/data/a");
    world.shell("mkdir -p ../home/.config/plakar").succeeded();
    world.write(
        "../home/.config/plakar/config.toml",
        format!("[sources.a]\npaths = ['{a}']\ngitignore = true\nexclude-if-present = ['.stop']\n"),
    );
    world.ok("push @a data/b");
    let both = ["a", "b"].map(|top| {
        [top.to_owned(), format!("{top}/.gitignore"), format!("{top}/d"), format!("{top}/d/.stop")]
    });
    let mut expected: BTreeSet<String> = both.into_iter().flatten().collect();
    expected.extend(["b/x.o", "b/d/y"].map(str::to_owned));
    assert_eq!(seen(&world), expected);
    world.ok("config check");
}
