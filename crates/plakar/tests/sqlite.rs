//! A repository in a SQLite database is a repository like any other.

mod common;

use common::World;
use common::copies::{json, make_foreign_database};
use common::tree;
use std::fs;

/// A world whose default repository is an unencrypted database.
fn in_a_database() -> World {
    let world = World::new().with("PLAKAR_REPOSITORY", "sqlite://backups.db");
    world.ok("create -no-encryption");
    world
}

#[test]
fn every_command_works_on_a_database() {
    let mut world = World::new().with("PLAKAR_PASSPHRASE", "first");
    let database = format!("sqlite://{}", world.text("work/backups.db"));
    let on = |words: &str| format!("on {database} {words}");
    world.ok(&format!("create {database}"));
    world.ok(&on("ls"));
    world.write("data/f", tree::noise(1, 300_000));
    world.ok(&on("push data"));
    // Named relative to where one stands, it is the same.
    let listed = world.ok(&on("ls"));
    assert_eq!(world.ok("on sqlite://backups.db ls"), listed);
    let f = world.text("work/data/f");
    assert_eq!(world.line(&on(&format!("cat :{f}"))).bytes, tree::noise(1, 300_000));
    world.ok(&on("pull -path out :"));
    world.shell(&format!("cmp data/f out{f}")).succeeded();
    let info = world.ok(&on("info"));
    assert!(info.contains(&format!("Location: {database}\n")), "{info}");
    assert_eq!(json(&world.ok(&on("-json info")))["pack_bytes"], 4 << 20);
    world.ok(&on("check"));
    world.set("PLAKAR_NEW_PASSPHRASE", "second");
    world.ok(&on("key add"));
    world.set("PLAKAR_PASSPHRASE", "second");
    world.ok(&on(&format!("rm {}", &listed[22..58])));
    assert_eq!(world.ok(&on("ls")), "");
    let ran = world.line(&on("-trace ls"));
    assert!(ran.err.contains(&format!(" requests to {database}: ")), "{ran:?}");
    // Closed, it is one file.
    let left: Vec<_> = fs::read_dir(world.path("work")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("backups.db-")), "{left:?}");
}

#[test]
fn what_is_no_database_of_ours_is_told_and_left_alone() {
    let world = World::new();
    world.write("text", "no database at all");
    world.write("empty", "");
    fs::create_dir(world.path("work/folder")).unwrap();
    make_foreign_database(&world.path("work/foreign"));
    for place in ["text", "empty", "folder", "text/beneath", "foreign"] {
        for words in ["ls", "push text", "check", "info"] {
            let ran = world.line(&format!("on sqlite://{place} {words}"));
            assert_eq!(ran.code, 10, "{place} {words}: {ran:?}");
            assert!(ran.err.contains(place) && ran.out.is_empty(), "{place} {words}: {ran:?}");
        }
        let ran = world.fails(&format!("create -no-encryption sqlite://{place}"), 1, place);
        assert!(ran.err.lines().count() <= 2, "{ran:?}");
    }
    assert_eq!(fs::read(world.path("work/text")).unwrap(), b"no database at all");
    world.fails("on sqlite://nowhere ls", 10, "sqlite://nowhere: there is no repository here");
    world.fails("on sqlite://nowhere/beneath.db create -no-encryption", 1, "the folder above it is missing");
    world.fails("on sqlite:// ls", 2, "sqlite://: which file?");
    world.ok("on sqlite://there.db create -no-encryption");
    world.fails("on sqlite://there.db create -no-encryption", 1, "there is a repository already");
    world.fails("on there.db ls", 10, "there.db: not a folder");
    assert!(!world.path("work/nowhere").exists());
}

#[test]
fn a_database_is_not_pushed_into_itself() {
    let world = in_a_database();
    world.write("backups.db-not", "x");
    let work = world.text("work");
    let ran = world.line("-verbose push .");
    assert_eq!(ran.code, 0, "{ran:?}");
    let left_out = |name: &str| format!("left out the repository itself: {work}/{name}\n");
    assert!(
        ran.err.contains(&left_out("backups.db")) && ran.err.contains(&left_out("backups.db-wal")),
        "{ran:?}"
    );
    let listed = world.ok("ls -recursive :");
    assert!(listed.contains("/backups.db-not\n") && !listed.contains("/backups.db\n"), "{listed}");
    assert!(!listed.contains("-wal") && !listed.contains("-shm"), "{listed}");
    // By another name it is still the same file.
    fs::hard_link(world.path("work/backups.db"), world.path("work/alias")).unwrap();
    let uuid = json(&world.ok("-json push ."))["uuid"].as_str().unwrap().to_owned();
    let listed = world.ok(&format!("ls -recursive {uuid}:"));
    assert!(listed.contains("/backups.db-not\n") && !listed.contains("/alias\n"), "{listed}");
    fs::remove_file(world.path("work/alias")).unwrap();
    std::os::unix::fs::symlink("backups.db", world.path("work/link")).unwrap();
    for named in ["backups.db", "link"] {
        world.fails(&format!("push {named}"), 1, "lies in the repository itself");
    }
    world.ok("check");
    // In another repository it is a file.
    world.ok("create -no-encryption folder");
    world.ok("on folder push backups.db");
    assert!(world.ok("on folder ls -recursive :").contains("/backups.db\n"));
}

#[test]
fn snapshots_go_from_folders_to_databases_and_back() {
    let world = World::with_repositories(&["a", "sqlite://b.db"]);
    let one = world.push_new("", "one");
    let three = world.push_new("sqlite://b.db", "three");
    let before = world.bytes_of(&world.store());
    assert_eq!(world.ok(&format!("sync {one} to sqlite://b.db")), "");
    assert_eq!(world.bytes_of(&world.store()), before, "the source was written to");
    let database = fs::read(world.path("work/b.db")).unwrap();
    assert_eq!(world.ok("on a sync from sqlite://b.db"), "");
    assert_eq!(fs::read(world.path("work/b.db")).unwrap(), database, "the source was written to");
    assert_eq!(world.ok("on a ls"), world.ok("on sqlite://b.db ls"));
    assert_eq!(world.ok("sync with a sqlite://b.db"), "");
    assert_eq!(world.ok("ls"), world.ok("on a ls"));
    assert_eq!(world.ok("on sqlite://b.db ls"), world.ok("on a ls"));
    assert!(world.uuids().contains(&three));
    for repository in ["a", "sqlite://b.db"] {
        world.ok(&format!("on {repository} check"));
    }
    let status = world.ok("status sqlite://b.db");
    assert!(status.lines().all(|line| line.contains(", sqlite://b.db (verified ")), "{status}");
    world.fails("sync sqlite://nowhere.db", 10, "'plakar clone sqlite://nowhere.db' makes a copy");
    std::os::unix::fs::symlink("b.db", world.path("work/link.db")).unwrap();
    world.fails("on sqlite://b.db sync sqlite://link.db", 1, "is this repository itself");
}

#[test]
fn an_encrypted_database_is_not_replaced_unnoticed() {
    let world = World::new().with("PLAKAR_PASSPHRASE", "first");
    world.ok("create sqlite://a.db");
    fs::remove_file(world.path("work/a.db")).unwrap();
    World::new().ok(&format!("create -no-encryption sqlite://{}", world.text("work/a.db")));
    world.fails("on sqlite://a.db ls", 1, "was encrypted when it was last opened here, and now it is not");
}

/// Breaks the chain of pages that hold the middle of the longest part.
fn break_a_page(database: &std::path::Path) {
    let mut bytes = fs::read(database).unwrap();
    let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65_536,
        other => usize::from(other),
    };
    // A page of a chain begins with the number of the next one.
    let pages = bytes.len() / page;
    let number = |at: usize| u32::from_be_bytes(bytes[at * page..at * page + 4].try_into().unwrap());
    let linked = |at: &usize| number(*at) as usize == at + 2;
    let broken = (pages / 2..pages).find(linked).expect("a part of several pages");
    bytes[broken * page..broken * page + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    fs::write(database, bytes).unwrap();
}

#[test]
fn a_damaged_page_is_damage_of_what_lies_there() {
    let world = World::with_repositories(&[]);
    let data = world.text("work/data");
    world.write("data/long", tree::noise(1, 6_000_000));
    world.ok("push data");
    world.ok("clone sqlite://copy.db");
    let whole = fs::read(world.path("work/copy.db")).unwrap();
    break_a_page(&world.path("work/copy.db"));
    let ran = world.fails("on sqlite://copy.db check", 4, "the database is damaged");
    assert!(ran.err.contains(&format!(":{data}/long: ")), "{ran:?}");
    let default = world.store().display().to_string();
    assert_eq!(world.line(&format!("on sqlite://copy.db heal from {default}")).code, 0);
    world.ok("on sqlite://copy.db check");
    // Cut short it is no database any more, but it was one.
    fs::write(world.path("work/copy.db"), &whole[..whole.len() / 2]).unwrap();
    world.fails("on sqlite://copy.db ls", 4, "copy.db: the database is damaged");
}
