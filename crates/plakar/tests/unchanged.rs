//! What a push reads, what it would read, and whether a snapshot is made of it.

mod common;

use common::World;
use common::tree::set_mode;
use serde_json::Value;
use std::thread::sleep;
use std::time::Duration;

fn world() -> World {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world
}

fn json(world: &World, words: &str) -> Value {
    serde_json::from_str(&world.ok(&format!("-json {words}"))).unwrap()
}

/// How many files a push with these flags read.
fn read(world: &World, flags: &str) -> u64 {
    json(world, &format!("push {flags} data"))["files_read"].as_u64().unwrap()
}

/// Files changed just now are read again by every push.
fn grow_old() {
    sleep(Duration::from_millis(2300));
}

fn count(world: &World) -> usize {
    world.ok("ls").lines().count()
}

#[test]
fn a_file_is_read_when_it_may_have_changed_or_when_that_is_asked_for() {
    let world = world();
    for name in ["a", "b", "d/c"] {
        world.write(&format!("data/{name}"), name);
    }
    grow_old();
    assert_eq!(read(&world, ""), 3);
    assert_eq!(read(&world, ""), 0);
    assert_eq!(read(&world, "-force"), 3);
    assert_eq!(read(&world, ""), 0, "and what was learned is of use");
    // Change times alone. The first push that ignores them knows nothing of files but with their change times.
    assert_eq!(read(&world, "-ignore-ctime"), 3);
    set_mode(&world.path("work/data/a"), 0o600);
    assert_eq!(read(&world, "-ignore-ctime"), 0);
    world.ok("pull -path out :".replace(':', &world.uuids().pop().unwrap()).as_str());
    let restored = world.path(&format!("work/out{}", world.text("work/data/a"))).metadata().unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(restored.mode() & 0o777, 0o600, "a mode is seen without reading");
    world.write("data/b", "longer");
    assert_eq!(read(&world, "-ignore-ctime"), 1);
    world.fails("push -force -trust-mtime data", 2, "-force");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn nothing_is_published_of_what_is_as_it_was() {
    let world = world();
    world.write("data/a", "first");
    world.write("data/d/b", "b");
    let skip = |words: &str| world.ok(&format!("push -skip-unchanged {words}"));
    assert_eq!((skip("data"), count(&world)), (String::new(), 1));
    let first = world.uuids().pop().unwrap();
    // Also where files are read because they are young; and what is beside what was pushed is none of it.
    world.write("beside", "");
    let told = skip("data");
    assert!(told.starts_with("unchanged since ") && told.ends_with(": no snapshot was made\n"), "{told}");
    let told = json(&world, "push -skip-unchanged data");
    assert!(told["unchanged"].as_str().unwrap().starts_with(&first[..8]), "{told}");
    assert_eq!(count(&world), 1);
    // With what was learned meanwhile nothing is read any more.
    grow_old();
    skip("data");
    assert_eq!(read(&world, ""), 0);
    assert_eq!(count(&world), 2);
    // Bytes, modes and names count, and so does what the newest one holds, not any.
    let change = |how: &str| {
        world.shell(how).succeeded();
        let before = count(&world);
        assert_eq!((skip("data"), count(&world)), (String::new(), before + 1), "{how}");
        assert!(skip("data").starts_with("unchanged"), "{how}");
    };
    change("touch -r data kept && echo second >data/a && touch -r kept data");
    change("chmod 700 data/d");
    change("mv data/d/b data/d/c");
    change("mkdir data/d/new");
    // Other paths, other host: another history.
    assert_eq!(skip("data/d"), "");
    assert_eq!(world.ok("-hostname other push -skip-unchanged data"), "");
    assert_eq!(world.ok("-hostname other push -skip-unchanged data").split(' ').next(), Some("unchanged"));
    assert_eq!(world.ok("check"), "");
}

#[test]
fn going_back_to_an_older_state_is_a_change() {
    let world = world();
    world.write("data/a", "one");
    world.shell("touch -d 2020-01-01 data data/a").succeeded();
    world.ok("push data");
    world.write("data/a", "two");
    // The newer one leaves no hints, so the older one is what is compared with.
    world.ok("-no-cache push data");
    world.write("data/a", "one");
    world.shell("touch -d 2020-01-01 data data/a").succeeded();
    assert_eq!(world.ok("push -skip-unchanged data"), "");
    assert_eq!(count(&world), 3);
    let newest = world.uuids().pop().unwrap();
    assert_eq!(world.ok(&format!("cat {newest}:{}", world.text("work/data/a"))), "one");
}

#[test]
fn a_dry_run_says_what_would_be_read_and_stores_nothing() {
    let world = world();
    world.write("data/a", "12345");
    world.write("data/d/b", "123");
    world.shell("ln -s a data/link && cp -a there before").succeeded();
    let same = |what: &str| world.shell(&format!("diff -r there before && echo {what}")).succeeded();
    assert!(world.ok("push -dry-run data").starts_with("would read 2 files, "));
    let told = json(&world, "push -dry-run data");
    assert_eq!(
        (&told["new"], &told["changed"], &told["bytes_to_read"]),
        (&3.into(), &0.into(), &8.into()),
        "{told}"
    );
    let ran = world.line("-verbose push -dry-run -exclude d data");
    assert!(
        ran.err.contains(&format!("new: {}", world.text("work/data/a"))) && !ran.err.contains("d/b"),
        "{ran:?}"
    );
    assert_eq!((same("same"), count(&world)), ("same\n".into(), 0));
    grow_old();
    world.ok("push data");
    let told = json(&world, "push -dry-run data");
    assert_eq!((&told["new"], &told["changed"]), (&0.into(), &0.into()), "{told}");
    assert_eq!(json(&world, "push -dry-run -force data")["files_to_read"], 2);
    world.write("data/d/b", "1234");
    world.write("data/e", "");
    let told = json(&world, "push -dry-run data");
    assert_eq!(
        (&told["new"], &told["changed"], &told["bytes_to_read"]),
        (&1.into(), &1.into(), &4.into()),
        "{told}"
    );
    // It is what the push reads then.
    assert_eq!(read(&world, ""), 2);
    // What is run around a push is not run.
    world.shell("mkdir -p ../home/.config/plakar").succeeded();
    let data = world.text("work/data");
    world.write(
        "../home/.config/plakar/config.toml",
        format!("[sources.s]\npaths = ['{data}']\nbefore = 'touch ran'\n"),
    );
    world.ok("push -dry-run @s");
    assert!(!world.path("work/ran").exists());
    world.fails("push -dry-run nowhere", 1, "nowhere: No such file");
}

#[test]
fn a_dry_run_needs_no_right_to_write() {
    let world = World::of_user();
    world.give_to_user("work");
    world.shell_as_user("mkdir data && echo x >data/x").succeeded();
    world.run_as_user("create -no-encryption there".split(' ')).succeeded();
    world.shell_as_user("chmod -R a-w there").succeeded();
    let ran = world.run_as_user("on there push -dry-run data".split(' '));
    assert!(ran.succeeded().starts_with("would read 1 files"));
    assert_eq!(world.run_as_user("on there push data".split(' ')).code, 1);
    world.shell_as_user("chmod -R u+w there").succeeded();
}

#[test]
fn paths_may_come_from_files() {
    let world = world();
    for name in ["a", "@b", "c d", "e\nf", "g"] {
        world.write(&format!("data/{name}"), "x");
    }
    let seen = || {
        let id = world.uuids().pop().unwrap();
        world.ok(&format!("ls {id}:{}", world.text("work/data"))).lines().count()
    };
    world.write("lines", "data/a\n\ndata/c d");
    world.ok("push -files-from lines data/g");
    assert_eq!(seen(), 3);
    world.write("more", "@b\n");
    world.shell("cd data && plakar on ../there push -files-from ../more").succeeded();
    assert_eq!(seen(), 1);
    world.shell("find data -type f -print0 | plakar push -null -files-from -").succeeded();
    assert_eq!(seen(), 5);
    let before = count(&world);
    world.write("none", "\n\n");
    world.fails("push -files-from none", 1, "no path is named");
    world.write("gone", "data/a\ndata/gone\n");
    world.fails("push -files-from gone", 1, "data/gone: No such file");
    world.fails("push -files-from missing", 1, "missing: No such file");
    world.write("many", "data/a\n".repeat(10_001));
    world.fails("push -files-from many", 1, "at most 10000");
    world.fails("push -null data", 2, "-files-from");
    assert_eq!(count(&world), before);
}
