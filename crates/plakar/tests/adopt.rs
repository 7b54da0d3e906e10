//! Copies that ordinary tools made have the id of their original. They are read, and not written to before they are adopted.

mod common;

use common::World;
use common::copies::json;
use std::fs;

const WRITING: [&str; 5] = ["push data", "rm x", "key add", "sync from b", "sync with b"];
const READING: [&str; 5] = ["ls", "info", "check", "status", "sync to b"];

fn replica(world: &World, repository: &str) -> String {
    let ran = world.line(&format!("-json on {repository} info"));
    json(&ran.out)["replica"].as_str().unwrap().to_owned()
}

#[test]
fn a_twin_is_read_with_a_word_and_written_to_once_it_is_adopted() {
    let world = World::with_repositories(&["a", "b"]);
    world.push_new("a", "one");
    world.shell("cp -r a twin").succeeded();
    let (a, twin) = (world.text("work/a"), world.text("work/twin"));
    let before = world.bytes_of(&world.path("work/twin"));
    let what = format!("{twin}: has the same replica ID as {a}, so it must be a copy of that");
    for words in READING {
        let ran = world.line(&format!("on twin {words}"));
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        assert_eq!(ran.err.matches(&what).count(), 1, "{words}: {ran:?}");
        assert!(ran.err.contains(&format!("'plakar on {twin} adopt'")), "{words}: {ran:?}");
    }
    for words in WRITING {
        let ran = world.fails(&format!("on twin {words}"), 1, &what);
        assert!(ran.err.contains(&format!("'plakar on {twin} adopt' gives it one of its own")), "{ran:?}");
    }
    world.fails("on b sync twin", 1, &what);
    assert_eq!(world.line("on b sync from twin").code, 0);
    assert_eq!(world.bytes_of(&world.path("work/twin")), before);
    // The original is not held up.
    assert_eq!(world.ok("on a ls"), world.line("on twin ls").out);
    world.push_new("a", "two");

    let id = replica(&world, "twin");
    let ran = world.line("-verbose on twin adopt");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let own = replica(&world, "twin");
    assert_eq!(ran.err, format!("{twin}: has the replica ID {own} now\n"));
    assert_ne!(own, id);
    assert_eq!(replica(&world, "a"), id);
    world.push_new("twin", "three");
    world.ok("on twin sync with a");
    assert_eq!(world.ok("on twin ls"), world.ok("on a ls"));
    for repository in ["a", "twin"] {
        world.ok(&format!("on {repository} check"));
    }
    let told = json(&world.ok("-json on twin adopt"));
    assert_eq!((&told["before"], &told["location"]), (&own.into(), &twin.into()));
    assert_eq!(told["replica"], replica(&world, "twin"));
}

#[test]
fn what_was_moved_or_is_the_same_is_no_twin() {
    let world = World::with_repositories(&["a"]);
    world.push_new("a", "one");
    // By a link.
    std::os::unix::fs::symlink("a", world.path("work/link")).unwrap();
    world.push_new("link", "two");
    // Moved, and moved again.
    world.shell("mv a moved").succeeded();
    world.push_new("moved", "three");
    // Copied, and then the original goes.
    world.shell("cp -r moved again").succeeded();
    world.fails("on again push data", 1, "same replica ID");
    fs::remove_dir_all(world.path("work/moved")).unwrap();
    world.push_new("again", "four");
    // Another repository has taken its place.
    world.shell("cp -r again third").succeeded();
    fs::remove_dir_all(world.path("work/again")).unwrap();
    world.ok("create -no-encryption again");
    world.push_new("third", "five");
    world.push_new("again", "six");
    // A clone has an id of its own from the beginning.
    world.ok("on third clone clone");
    world.push_new("clone", "seven");
    assert_eq!(world.uuids_on("clone").len(), 6);
}

#[test]
fn a_mount_of_the_same_folder_is_no_twin() {
    if common::tree::needs_root() {
        return;
    }
    let world = World::with_repositories(&["a"]);
    world.push_new("a", "one");
    fs::create_dir(world.path("work/mounted")).unwrap();
    let mounted = world.shell("mount --bind a mounted");
    if mounted.code != 0 {
        common::tree::skipped(&format!("cannot mount: {mounted:?}"));
        return;
    }
    let ran = world.line("on mounted push data");
    let synced = world.line("on a sync mounted");
    world.shell("umount -l mounted").succeeded();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(synced.code == 1 && synced.err.contains("is this repository itself"), "{synced:?}");
}

#[test]
fn a_database_has_twins_as_well() {
    let world = World::with_repositories(&["sqlite://a.db"]);
    world.push_new("sqlite://a.db", "one");
    world.shell("cp a.db twin.db && ln -s a.db link.db").succeeded();
    world.ok("on sqlite://link.db push data");
    let ran = world.fails("on sqlite://twin.db push data", 1, "has the same replica ID as sqlite://");
    let hint = format!("'plakar on sqlite://{} adopt'", world.text("work/twin.db"));
    assert!(ran.err.contains(&hint), "{ran:?}");
    world.ok("on sqlite://twin.db adopt");
    world.ok("on sqlite://twin.db push data");
    world.ok("on sqlite://twin.db check");
}

#[test]
fn adopting_needs_a_repository_and_no_passphrase() {
    let mut world = World::new().with("PLAKAR_PASSPHRASE", "first");
    world.ok("create");
    let id = replica(&world, &world.store().display().to_string());
    world.unset("PLAKAR_PASSPHRASE");
    world.ok("adopt");
    world.write("file", "x");
    world.write("folder/f", "x");
    for (place, what) in [
        ("nowhere", "nowhere: there is no repository here"),
        ("folder", "folder: there is no repository here"),
        ("file", "file: not a folder"),
        ("sqlite://file", "file"),
    ] {
        world.fails(&format!("on {place} adopt"), 10, what);
    }
    world.set("PLAKAR_PASSPHRASE", "first");
    assert_ne!(replica(&world, &world.store().display().to_string()), id);
    // One that lost its id is given another; one whose making was cut short is not.
    fs::remove_file(world.store().join("replica")).unwrap();
    world.fails("ls", 4, "adopt");
    world.ok("adopt");
    world.ok("ls");
    fs::remove_file(world.store().join("config")).unwrap();
    world.fails("adopt", 10, "unfinished");
}
