//! `clone`, `create -like` and `adopt`: copies that are repositories, and copies that must become such.

mod common;

use common::World;
use common::copies::{damage, files, json, lines, make_foreign_database};
use common::tree;
use plakar_store::{DirStore, ReadStore};
use plakar_store_sqlite::SqliteStore;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The objects of a store by name, with their bytes, but for `replica`.
fn objects(store: &dyn ReadStore) -> BTreeMap<String, Vec<u8>> {
    let mut names = Vec::new();
    store
        .list("", &mut |object| {
            names.push(object.name);
            Ok(())
        })
        .unwrap();
    names.retain(|name| name.as_str() != "replica" && !name.as_str().starts_with("damaged/"));
    names.into_iter().map(|name| (name.as_str().to_owned(), store.get(&name, 64 << 20).unwrap())).collect()
}

fn objects_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    objects(&DirStore::open(folder).unwrap())
}

fn replica(world: &World, repository: &str) -> String {
    json(&world.ok(&format!("-json on {repository} info")))["replica"].as_str().unwrap().to_owned()
}

/// An encrypted repository in the default place with two snapshots, and its passphrase at hand.
fn encrypted() -> World {
    let world = World::new().with("PLAKAR_PASSPHRASE", "first");
    world.ok("create");
    world.push_new("", "one");
    world.push_new("", "two");
    world
}

#[test]
fn a_clone_through_a_database_is_equal_to_the_first() {
    let mut world = encrypted();
    let listed = world.ok("ls");
    world.unset("PLAKAR_PASSPHRASE");
    let before = world.bytes_of(&world.store());
    // No passphrase is needed, nor asked for.
    assert_eq!(world.ok("clone sqlite://copy.db"), "");
    assert_eq!(world.ok("on sqlite://copy.db clone back"), "");
    assert_eq!(world.bytes_of(&world.store()), before, "the source was written to");
    let first = objects_in(&world.store());
    assert!(first.len() > 5 && first.contains_key("config"));
    assert_eq!(objects_in(&world.path("work/back")), first);
    assert_eq!(objects(&SqliteStore::open(world.path("work/copy.db")).unwrap()), first);
    world.set("PLAKAR_PASSPHRASE", "first");
    let copies = ["sqlite://copy.db", "back"];
    for copy in copies {
        assert_eq!(world.ok(&format!("on {copy} ls")), listed);
        world.ok(&format!("on {copy} check"));
    }
    // Each is its own repository, and knows where it is from.
    let default = world.store().display().to_string();
    let ids = [default.as_str(), copies[0], copies[1]].map(|at| replica(&world, at));
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[2] != ids[0]);
    let info = world.ok("on sqlite://copy.db info");
    assert!(info.contains(&format!("\nOrigin: {} at {default}\n", ids[0])), "{info}");
    let info = json(&world.ok("-json on back info"));
    let database = format!("sqlite://{}", world.text("work/copy.db"));
    assert_eq!((&info["origin"], &info["origin_location"]), (&ids[1].clone().into(), &database.into()));
    assert_eq!(info["pack_bytes"], 16 << 20);
    assert!(!world.ok("info").contains("Origin"));
    let mode = fs::metadata(world.path("work/back")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o700);
}

#[test]
fn a_clone_is_used_like_any_repository() {
    let world = encrypted();
    world.ok("clone a b sqlite://c.db");
    for copy in ["a", "b", "sqlite://c.db"] {
        assert_eq!(world.ok(&format!("on {copy} ls")), world.ok("ls"));
        let uuid = world.push_new(copy, &format!("of-{}", copy.len()));
        world.ok(&format!("on {copy} check"));
        world.ok(&format!("on {copy} rm {}", world.uuids()[0]));
        assert!(world.ok(&format!("on {copy} ls")).contains(&uuid));
    }
    // What is cloned is cloned on; what is empty is cloned, too. Within a domain no passphrase is asked for twice.
    world.ok("on a clone d");
    assert_eq!(world.ok("on d ls"), world.ok("on a ls"));
    world.ok("create empty");
    world.ok("on empty clone as-empty");
    assert_eq!(world.ok("on as-empty ls"), "");
    assert_eq!(world.ok("sync with a b sqlite://c.db"), "");
    assert_eq!(world.ok("on a ls").lines().count(), 4, "what was removed stays removed");
    assert_eq!(world.ok("ls").lines().count(), 5);
}

#[test]
fn what_a_clone_does_is_told_when_asked() {
    let world = encrypted();
    let ran = world.line("-verbose clone a b");
    let told: Vec<_> = ran.err.lines().collect();
    assert_eq!((ran.code, told.len()), (0, 2), "{ran:?}");
    let n = objects_in(&world.store()).len() - 1;
    let begins = format!("cloned to {}: {n} objects, ", world.text("work/a"));
    assert!(told[0].starts_with(&begins) && told[0].ends_with("; 0 were there"), "{ran:?}");
    let ran = world.at_terminal("plakar clone c", &[]);
    assert!(ran.code == 0 && ran.out.contains("cloned to "), "{ran:?}");
    let told = lines(&world.ok("-json clone d sqlite://e.db"));
    assert_eq!((told.len(), &told[0]["location"]), (2, &world.text("work/d").into()));
    assert_eq!(told[1]["location"], format!("sqlite://{}", world.text("work/e.db")));
    for told in &told {
        assert_eq!((&told["objects"], &told["already"], &told["damaged"]), (&n.into(), &0.into(), &0.into()));
        assert!(told["bytes"].as_u64() > Some(1000) && told["replica"] != told["origin"], "{told}");
    }
}

#[test]
fn nothing_is_cloned_over_what_is_there() {
    let world = encrypted();
    world.ok("create other");
    world.write("folder/f", "precious");
    world.write("hidden/.tmp-not-ours", "precious");
    world.write("file", "precious");
    make_foreign_database(&world.path("work/foreign.db"));
    let database = fs::read(world.path("work/foreign.db")).unwrap();
    let other = world.bytes_of(&world.path("work/other"));
    for (place, code, what) in [
        ("other", 1, "other: there is a repository already"),
        ("folder", 1, "folder: the folder is not empty"),
        ("hidden", 1, "hidden: the folder is not empty"),
        ("file", 1, "file"),
        ("no/where/new", 1, "the folder above it is missing"),
        ("file/beneath", 1, "beneath"),
        ("sqlite://file", 1, "sqlite://file: something else is there"),
        ("sqlite://foreign.db", 1, "sqlite://foreign.db: something else is there"),
        ("sqlite://folder", 1, "sqlite://folder: something else is there"),
        ("s9://bucket", 1, "repositories at s9:// are not supported"),
        ("/proc/new", 1, "/proc/new"),
    ] {
        let ran = world.fails(&format!("clone {place}"), code, what);
        assert!(ran.out.is_empty(), "{ran:?}");
    }
    let default = world.store().display().to_string();
    world.fails(&format!("clone {default}"), 1, "there is a repository already");
    world.fails(&format!("clone {default}/packs/copy"), 1, "lies in the repository itself");
    world.fails("clone", 2, "at least one destination is required");
    world.fails("clone new ./new", 2, "named twice");
    for within in ["new/er", "sqlite://new/er.db", "sqlite://new"] {
        world.fails(&format!("clone new {within}"), 2, ", which is to be a copy, too");
        world.fails(&format!("clone {within} new"), 2, ", which is to be a copy, too");
    }
    world.fails("on nowhere clone new", 10, "nowhere: there is no repository here");
    assert!(!world.path("work/new").exists());
    // The others are made all the same, and the first failure decides the exit code.
    world.fails("clone file good other", 1, "there is a repository already");
    world.ok("on good check");
    assert_eq!(world.bytes_of(&world.path("work/other")), other);
    assert_eq!(fs::read(world.path("work/folder/f")).unwrap(), b"precious");
    assert_eq!(fs::read(world.path("work/foreign.db")).unwrap(), database);
    fs::create_dir(world.path("work/empty")).unwrap();
    world.ok("clone empty");
    world.ok("on empty ls");
}

#[test]
fn a_place_is_told_on_one_line() {
    let world = World::with_repositories(&[]);
    let ran = world.run(["-verbose", "clone", "two\nlines"]);
    assert!(ran.code == 0 && ran.err.lines().count() == 1 && ran.err.contains("two\\x0alines: "), "{ran:?}");
    for words in
        [&["clone", "two\nlines"][..], &["on", "no\nwhere", "ls"], &["on", "sqlite://no\nwhere", "ls"]]
    {
        let ran = world.run(words);
        assert!(ran.code != 0 && ran.err.contains("\\x0a") && !ran.err.contains("no\nwhere"), "{ran:?}");
    }
    let told = json(&world.run(["-json", "on", "two\nlines", "info"]).out);
    assert_eq!(told["location"], world.text("work/two\nlines"), "JSON is exact");
}

#[test]
fn damage_is_told_and_copied_as_it_is() {
    let world = encrypted();
    let intact = files(&world.store().join("packs"));
    world.write("data/three", tree::noise(3, 300_000));
    world.ok("push data");
    let fresh: Vec<_> =
        files(&world.store().join("packs")).into_iter().filter(|pack| !intact.contains(pack)).collect();
    let aside = world.path("work/aside");
    fs::create_dir(&aside).unwrap();
    fs::rename(&fresh[0], aside.join("pack")).unwrap();
    assert_eq!((fresh.len(), damage(&aside)), (1, 1));
    fs::rename(aside.join("pack"), &fresh[0]).unwrap();
    let ran = world.line("clone a");
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
    let hash = fresh[0].file_name().unwrap().to_str().unwrap();
    assert!(ran.err.contains(hash) && ran.err.lines().count() == 1, "{ran:?}");
    assert_eq!(world.ok("on a ls"), world.ok("ls"));
    assert_eq!(objects_in(&world.path("work/a")), objects_in(&world.store()));
    assert_eq!(world.line("on a check").code, 4);
    for uuid in &world.uuids()[..2] {
        world.ok(&format!("on a check {uuid}"));
    }
    let told = json(&world.fails("-json clone b", 4, hash).out);
    assert_eq!(told["damaged"], 1);
    // As long as the source is damaged, an update says so; once it is mended, the copy gets what is whole.
    world.fails("clone -update a", 4, hash);
    fs::rename(&fresh[0], aside.join("pack")).unwrap();
    damage(&aside);
    fs::rename(aside.join("pack"), &fresh[0]).unwrap();
    world.ok("check");
    world.fails("clone -update a", 4, "was damaged at");
    assert_eq!(world.ok("clone -update a"), "");
    world.ok("on a check");
}

#[test]
fn a_copy_is_kept_current_without_a_passphrase() {
    let mut world = encrypted();
    world.ok("clone a sqlite://b.db");
    world.push_new("", "three");
    world.set("PLAKAR_NEW_PASSPHRASE", "second");
    world.ok("key passphrase");
    world.unset("PLAKAR_PASSPHRASE");
    let ran = world.line("clone -update a sqlite://b.db");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (0, "", 2), "{ran:?}");
    assert!(
        ran.err.contains("has key slots that the source has no longer") && ran.err.contains(" key rm "),
        "{ran:?}"
    );
    world.set("PLAKAR_PASSPHRASE", "second");
    let told = lines(&world.line("-json clone -update a").out);
    assert_eq!((&told[0]["objects"], told[0]["stale_key_slots"].as_array().unwrap().len()), (&0.into(), 1));
    for copy in ["a", "sqlite://b.db"] {
        assert_eq!(world.ok(&format!("on {copy} ls")), world.ok("ls"));
        world.ok(&format!("on {copy} check"));
    }
    // One that has written on its own, and one that is none.
    world.push_new("a", "four");
    world.fails("clone -update a", 1, "has written on its own since it was cloned: use sync");
    world.ok("create other");
    world.fails("clone -update other", 1, "is not a clone of");
    let ran = world.fails("clone -update nowhere", 10, "nowhere: there is no repository here");
    assert!(ran.err.contains("'plakar clone' without -update makes a copy"), "{ran:?}");
    assert!(!world.path("work/nowhere").exists());
    world.ok("sync with a");
}

#[test]
fn an_empty_repository_is_created_like_another() {
    let mut world = encrypted();
    world.unset("PLAKAR_PASSPHRASE");
    let default = world.store().display().to_string();
    assert_eq!(world.ok(&format!("create -like {default} a sqlite://b.db")), "");
    for flag in ["-no-encryption", "-no-compression", "-compression fast", "-chunker prf"] {
        world.fails(&format!("create -like {default} {flag} c"), 2, "cannot be used with");
    }
    world.fails("create -like nowhere c", 10, "nowhere: there is no repository here");
    world.write("file", "x");
    world.fails("create -like file c", 10, "file: not a folder");
    world.fails(&format!("create -like {default} a"), 1, "there is a repository already");
    world.fails(&format!("create -like {default} file"), 1, "file");
    world.fails(
        &format!("create -like {default} c {default}/c"),
        1,
        "lies in the repository that it is to be like",
    );
    assert!(!world.path("work/c").exists());
    world.set("PLAKAR_PASSPHRASE", "first");
    for copy in ["a", "sqlite://b.db"] {
        assert_eq!(world.ok(&format!("on {copy} ls")), "");
        // Sealed bytes are moved as they are, and no other passphrase is asked for.
        let told = world.ok(&format!("-json sync {copy}"));
        let done = json(told.lines().last().unwrap());
        assert!(done["blocks"].as_u64() > Some(0) && done["translated"] == 0, "{done}");
        assert_eq!(world.ok(&format!("on {copy} ls")), world.ok("ls"));
        world.ok(&format!("on {copy} check"));
    }
    let told = json(&world.ok(&format!("-json create -like {default} d")));
    assert_eq!((&told["encrypted"], &told["location"]), (&true.into(), &world.text("work/d").into()));
    assert_eq!(told["domain"], json(&world.ok("-json info"))["domain"]);
}
