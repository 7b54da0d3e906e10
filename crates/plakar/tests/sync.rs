//! `sync` and its words: what goes where, what stays away, what is told, and that the giving side is never written to.

mod common;

use common::World;
use common::copies::{damage, files, json, lines};
use common::tree;
use serde_json::Value;
use std::fs;

#[test]
fn every_form_brings_what_it_says_where_it_says() {
    let world = World::with_repositories(&["a", "b"]);
    let (one, two) = (world.push_new("", "one"), world.push_new("", "two"));
    let from_b = world.push_new("b", "three");
    let store = world.store();

    // Nothing but destinations; one snapshot; a destination with 'to'.
    let before = world.bytes_of(&store);
    assert_eq!(world.ok(&format!("sync {one} to a")), "");
    assert_eq!(world.uuids_on("a"), [one.as_str()]);
    assert_eq!(world.ok("sync a"), "");
    assert_eq!(world.ok("ls"), world.ok("on a ls"));
    assert_eq!(world.ok("sync to a"), "");
    assert_eq!(world.bytes_of(&store), before, "the source was written to");

    // From there to here; one of several; with a prefix.
    let before = world.bytes_of(&world.path("work/b"));
    assert_eq!(world.ok(&format!("sync {} from b", &from_b[..8])), "");
    assert_eq!(world.bytes_of(&world.path("work/b")), before, "the source was written to");
    assert_eq!(world.uuids().len(), 3);
    assert_eq!(world.ok("on a sync from b"), "");
    assert_eq!(world.bytes_of(&world.path("work/b")), before, "the source was written to");

    // Both ways.
    let four = world.push_new("", "four");
    let five = world.push_new("b", "five");
    assert_eq!(world.ok(&format!("sync {four} {} with b", &five[..10])), "");
    assert!(world.uuids_on("b").contains(&four) && world.uuids().contains(&five));
    assert_eq!(world.uuids_on("b").len(), 3, "nothing that was not named");
    assert_eq!(world.ok("sync with b"), "");
    assert_eq!(world.ok("ls"), world.ok("on b ls"));
    for repository in ["a", "b"] {
        world.ok(&format!("on {repository} check"));
    }
    let data = world.text("work/data");
    assert_eq!(world.ok(&format!("on b cat {two}:{data}/two")), "two".repeat(500));
}

#[test]
fn with_several_peers_all_end_equal() {
    let world = World::with_repositories(&["a", "b", "c"]);
    for repository in ["", "a", "b", "c"] {
        world.push_new(repository, &format!("of-{repository}"));
    }
    world.ok("sync with a b c");
    let all = world.ok("ls");
    assert_eq!(all.lines().count(), 4);
    for repository in ["a", "b", "c"] {
        assert_eq!(world.ok(&format!("on {repository} ls")), all, "{repository}");
        world.ok(&format!("on {repository} check"));
    }
    // Again there is nothing to do: not a byte changes.
    let before = world.bytes_of(&world.path("work"));
    world.ok("sync with a b c");
    assert_eq!(world.bytes_of(&world.path("work")), before);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_opened() {
    let world = World::new();
    for words in ["sync", "sync to", "sync from", "sync 3a with"] {
        let ran = world.fails(words, 2, "sync: missing repository");
        assert!(ran.err.contains("'plakar sync [[SNAPSHOT...] to|from|with] REPOSITORY...'"), "{ran:?}");
    }
    world.fails("sync -follow-removals 3a to x", 2, "-follow-removals is about all snapshots");
    world.fails("sync -follow-removals -resurrect with x", 2, "contradict each other");
    world.fails("sync -peer-keyfile a -peer-passphrase-command b x", 2, "cannot be used with");
    world.fails("sync x", 10, ".plakar/store: there is no repository here");
}

#[test]
fn a_peer_that_is_none_is_named_with_what_to_do() {
    let world = World::with_repositories(&["good", "unfinished"]);
    let uuid = world.push_new("", "one");
    world.write("file", "x");
    world.write("folder/f", "x");
    fs::remove_file(world.path("work/unfinished/config")).unwrap();
    for (name, code, what) in [
        ("nowhere", 10, "nowhere: there is no repository here"),
        ("folder", 10, "folder: there is no repository here"),
        ("file", 10, "file: not a folder"),
        ("unfinished", 10, "unfinished"),
        ("s9://bucket", 1, "repositories at s9:// are not supported"),
    ] {
        for words in ["sync", "sync from", "sync with", "sync -dry-run", "status"] {
            let ran = world.fails(&format!("{words} {name}"), code, what);
            // Where there is nothing to read a clone would be of no use.
            let hinted = ran.err.contains("'plakar clone ") && ran.err.contains("'plakar create -like ");
            let writes = ["sync", "sync with"].contains(&words);
            assert_eq!(hinted, writes && ["nowhere", "folder"].contains(&name), "{words}: {ran:?}");
            assert!(!ran.err.contains("create' makes one"), "{ran:?}");
        }
    }
    let ran = world.run(["sync", ""]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(!world.path("work/nowhere").exists());
    // The others go on; the first failure decides the exit code.
    let ran = world.fails("sync file good s9://bucket", 10, "file: not a folder");
    assert!(ran.err.contains("s9://"), "{ran:?}");
    assert_eq!(world.uuids_on("good"), [uuid.as_str()]);
    world.fails("sync s9://bucket nowhere", 1, "nowhere: there is no");
}

#[test]
fn nothing_is_synced_with_itself() {
    let world = World::with_repositories(&["a"]);
    world.push_new("a", "one");
    std::os::unix::fs::symlink("a", world.path("work/link")).unwrap();
    for name in ["a", "./a/", "link", &world.text("work/a")] {
        for words in ["sync", "sync from", "sync with", "sync -dry-run", "status"] {
            world.fails(&format!("on a {words} {name}"), 1, "is this repository itself");
        }
    }
    world.shell("cp -r a copy").succeeded();
    let ran = world.fails("on a sync copy", 1, "copy: has the same replica ID as this repository");
    assert!(ran.err.contains("copy adopt'"), "{ran:?}");
}

#[test]
fn a_peer_is_named_once() {
    let world = World::with_repositories(&["a", "b"]);
    world.push_new("", "one");
    std::os::unix::fs::symlink("a", world.path("work/link")).unwrap();
    for words in ["sync", "sync from", "sync with", "sync -dry-run"] {
        for name in ["a", "./a/", "link", "b/../a"] {
            world.fails(&format!("{words} a b {name}"), 2, &format!("sync: {name}: named twice"));
        }
    }
    assert!(world.uuids_on("a").is_empty() && world.uuids_on("b").is_empty());
}

#[test]
fn snapshots_are_found_at_the_side_that_gives() {
    let world = World::with_repositories(&["a", "b"]);
    let here = world.push_new("", "one");
    let there = world.push_new("a", "two");
    world.fails(&format!("sync {there} to a"), 1, &format!("no snapshot has prefix: {there}"));
    world.fails(&format!("sync {here} from a"), 1, &format!("no snapshot has prefix: {here}"));
    world.fails(&format!("sync {here} xyz to a"), 1, "no snapshot has prefix: xyz");
    world.fails(&format!("sync {here}:/ to a"), 2, "only whole snapshots can be synced");
    world.fails(&format!("sync {here} to a b nowhere"), 10, "nowhere");
    assert_eq!(world.uuids_on("a").len(), 2, "the others go on");
    // Of several sources one may have it.
    world.ok(&format!("sync {there} from b a"));
    assert_eq!(world.uuids().len(), 2);
    // Of seventeen, two begin alike.
    for _ in 0..17 {
        world.ok("on b push data");
    }
    let uuids = world.uuids_on("b");
    let twins =
        uuids.windows(2).find(|two| two[0][..1] == two[1][..1]).expect("of seventeen two begin alike");
    world.fails(&format!("sync {} from b", &twins[0][..1]), 1, "snapshot ID is ambiguous: ");
    assert_eq!(world.uuids().len(), 2);
}

#[test]
fn what_was_removed_stays_removed_unless_asked() {
    let world = World::with_repositories(&["a"]);
    let (one, two) = (world.push_new("", "one"), world.push_new("", "two"));
    world.ok("sync a");
    world.ok(&format!("on a rm {one}"));
    world.ok(&format!("rm {two}"));
    let both = |world: &World| (world.uuids(), world.uuids_on("a"));
    let apart = (vec![one.clone()], vec![two.clone()]);
    assert_eq!(both(&world), apart);

    // It neither comes back nor goes elsewhere.
    assert_eq!(world.ok("sync with a"), "");
    assert_eq!(both(&world), apart);
    let ran = world.line("-verbose sync to a");
    assert!(ran.code == 0 && ran.err.contains("removed at a: see -resurrect"), "{ran:?}");
    let ran = world.line("-verbose sync from a");
    assert!(ran.code == 0 && ran.err.contains("removed here: see -resurrect"), "{ran:?}");

    // A rehearsal changes nothing.
    let before = world.bytes_of(&world.path("work/a"));
    let planned = world.ok("sync -dry-run -follow-removals to a");
    assert!(planned.contains(&format!("{two}: would be removed at a\n")), "{planned}");
    assert_eq!(world.bytes_of(&world.path("work/a")), before);

    let ran = world.line("-verbose sync -follow-removals to a");
    assert!(ran.code == 0 && ran.err.contains(&format!("removed snapshot {two} at a\n")), "{ran:?}");
    assert_eq!(both(&world), (vec![one.clone()], vec![]));
    world.ok("sync -resurrect to a");
    assert_eq!(both(&world), (vec![one.clone()], vec![one.clone()]));
    world.ok("on a check");
}

#[test]
fn a_rehearsal_changes_no_byte_and_tells_what_would_come() {
    let world = World::with_repositories(&["a"]);
    world.push_new("", "one");
    world.ok("sync a");
    world.push_new("", "two");
    let three = world.push_new("a", "three");
    let before = (world.bytes_of(&world.store()), world.bytes_of(&world.path("work")));
    let planned = world.ok("sync -dry-run with a");
    let listed = [world.ok("on a ls"), world.ok("ls")].map(|text| text.lines().last().unwrap().to_owned());
    let planned: Vec<_> = planned.lines().collect();
    assert_eq!((planned.len(), planned[0], planned[2]), (4, listed[0].as_str(), listed[1].as_str()));
    for (line, verb) in [(planned[1], "receive"), (planned[3], "send")] {
        assert!(line.starts_with(&format!("a: would {verb} 1 snapshot: ")), "{line}");
        let (items, rest) = line.split(": ").nth(2).unwrap().split_once(" items, ").unwrap();
        assert!(items.parse::<u64>().unwrap() > 0 && rest.ends_with(" requests"), "{line}");
    }
    let planned = lines(&world.ok(&format!("-json sync -dry-run {three} from a")));
    assert_eq!(planned.len(), 2);
    assert_eq!((&planned[0]["snapshot"], &planned[0]["result"]), (&three.clone().into(), &"missing".into()));
    assert_eq!((&planned[1]["dry_run"], &planned[1]["snapshots"]), (&true.into(), &1.into()));
    assert_eq!(planned[0]["bytes"], planned[1]["bytes"]);
    assert!(planned[1]["requests"].as_u64() > Some(0), "{planned:?}");
    let after = (world.bytes_of(&world.store()), world.bytes_of(&world.path("work")));
    assert_eq!(after, before);
    // What was announced comes.
    world.ok("sync with a");
    assert!(
        world.ok("sync -dry-run with a").contains("a: would send 0 snapshots: 0 items, 0 B, 0 requests\n")
    );
}

#[test]
fn what_was_done_is_told_when_asked() {
    let world = World::with_repositories(&["a", "b"]);
    let one = world.push_new("", "one");
    let ran = world.line("-verbose sync a b");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let told: Vec<_> = ran.err.lines().collect();
    assert_eq!(told.len(), 2, "{ran:?}");
    assert!(told[0].starts_with("sent 1 snapshot to a: ") && told[0].ends_with("; 0 were there"), "{ran:?}");
    assert!(told[0].contains(" blocks, ") && told[1].starts_with("sent 1 snapshot to b: "), "{ran:?}");
    let ran = world.line("-verbose sync from b");
    assert!(ran.err.starts_with("received 0 snapshots from b: 0 blocks, 0 B; 1 were there"), "{ran:?}");

    world.ok("create -no-encryption c");
    let told = lines(&world.ok("-json sync with c"));
    let directions: Vec<_> = told.iter().map(|value| value["direction"].as_str().unwrap()).collect();
    assert_eq!(directions, ["from", "to", "to"]);
    assert_eq!((&told[1]["snapshot"], &told[1]["result"]), (&one.into(), &"sent".into()));
    for key in [
        "snapshots",
        "items",
        "blocks",
        "translated",
        "bytes",
        "present",
        "withheld",
        "removed_there",
        "removed",
    ] {
        assert!(told[0][key].as_u64() == Some(0) && told[2][key].is_u64(), "{key}: {told:?}");
    }
    assert_eq!(
        (&told[2]["peer"], &told[2]["snapshots"], &told[2]["conflicts"]),
        (&"c".into(), &1.into(), &Value::Array(vec![]))
    );
    assert!(told[2]["blocks"].as_u64() > Some(0));
    let ran = world.line("-json sync nowhere");
    assert_eq!((ran.code, &json(&ran.err)["code"]), (10, &10.into()));

    // At a terminal a line says it.
    let ran = world.at_terminal("plakar sync from c", &[]);
    assert!(ran.out.contains("received 0 snapshots from c: "), "{ran:?}");
    let ran = world.at_terminal("plakar -quiet sync from c", &[]);
    assert!(!ran.out.contains("received"), "{ran:?}");
}

#[test]
fn what_is_damaged_is_withheld_and_the_rest_arrives() {
    for translate in [false, true] {
        let world = World::with_repositories(&[]).with("PLAKAR_PEER_PASSPHRASE", "other");
        world.write("key", "other");
        for name in ["a", "b"] {
            let how = if translate { "-keyfile key create" } else { "create -no-encryption" };
            world.ok(&format!("{how} {name}"));
        }
        let data = world.text("work/data");
        let one = world.push_new("", "one");
        // A pack of its own, and then nothing of it is whole.
        let known = files(&world.store().join("packs"));
        world.write("data/two", tree::noise(2, 300_000));
        let two = json(&world.ok("-json push data"))["uuid"].as_str().unwrap().to_owned();
        for pack in files(&world.store().join("packs")) {
            if !known.contains(&pack) {
                let folder = pack.parent().unwrap().to_owned();
                let aside = world.path("work/aside");
                fs::create_dir_all(&aside).unwrap();
                fs::rename(&pack, aside.join("pack")).unwrap();
                assert_eq!(damage(&aside), 1);
                fs::rename(aside.join("pack"), folder.join(pack.file_name().unwrap())).unwrap();
            }
        }
        fs::remove_dir_all(world.path("work/data")).unwrap();
        let three = world.push_new("", "three");
        let before = world.bytes_of(&world.store());
        let ran = world.line("sync a");
        assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
        assert!(ran.err.contains(&format!("plakar: {two}:{data}/two: chunk ")), "{ran:?}");
        assert!(ran.err.contains(&format!("{two}: withheld in the sync to a")), "{ran:?}");
        assert!(!ran.err.contains(&one) && !ran.err.contains(&three), "{ran:?}");
        // Again: nothing is left to send, and the peer stays whole.
        world.fails("sync a", 4, &format!("{two}: withheld in the sync to a"));
        let ran = world.line("-json sync b");
        let told = lines(&ran.out);
        assert_eq!((ran.code, told.len()), (4, 4), "{ran:?}");
        assert_eq!((&told[1]["snapshot"], &told[1]["result"]), (&two.clone().into(), &"withheld".into()));
        assert!(told[1]["paths"][0].as_str().unwrap().starts_with(&format!("{data}/two: ")), "{told:?}");
        assert_eq!((&told[3]["withheld"], &told[3]["snapshots"]), (&1.into(), &2.into()));
        assert_eq!(world.bytes_of(&world.store()), before, "the source was written to");
        for name in ["a", "b"] {
            let on = format!("{}on {name}", if translate { "-keyfile key " } else { "" });
            let listed = world.ok(&format!("{on} ls"));
            assert!(listed.contains(&one) && listed.contains(&three) && !listed.contains(&two), "{listed}");
            world.ok(&format!("{on} check"));
        }
        // A peer that fails in another way decides the exit code.
        world.fails("sync a nowhere", 10, "withheld");
    }
}
