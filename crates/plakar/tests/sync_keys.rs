//! Syncing between repositories of different keys: whose passphrase is asked for where, and that what arrives is the same.

mod common;

use common::World;
use common::copies::json;
use std::fs;

/// A repository without encryption in the default place with a snapshot, and an encrypted peer `a`.
fn plain_and_encrypted() -> (World, String) {
    let world = World::with_repositories(&[]);
    world.write("key", "of a\n");
    world.ok("-keyfile key create a");
    let uuid = world.push_new("", "one");
    (world, uuid)
}

#[test]
fn encrypted_and_not_sync_both_ways() {
    let (mut world, one) = plain_and_encrypted();
    world.set("PLAKAR_PEER_PASSPHRASE", "of a");
    assert_eq!(world.ok("sync a"), "");
    let listed = world.ok("ls");
    assert_eq!(world.ok("-keyfile key on a ls"), listed);
    world.write("data/two", "two".repeat(1000));
    world.ok("-keyfile key on a push data");
    let there = world.bytes_of(&world.path("work/a"));
    assert_eq!(world.ok("sync from a"), "");
    assert_eq!(world.bytes_of(&world.path("work/a")), there, "the source was written to");
    assert_eq!(world.ok("-keyfile key on a ls"), world.ok("ls"));
    let data = world.text("work/data");
    assert_eq!(world.ok(&format!("-keyfile key on a cat {one}:{data}/one")), "one".repeat(500));
    assert_eq!(world.ok(&format!("cat {}:{data}/two", world.uuids()[1])), "two".repeat(1000));
    // From the other side: what opens the own repository is not what opens the peer, which needs nothing.
    world.unset("PLAKAR_PEER_PASSPHRASE");
    world.write("data/three", "three");
    world.ok("push data");
    let default = world.store().display().to_string();
    assert_eq!(world.ok(&format!("-keyfile key on a sync with {default}")), "");
    assert_eq!(world.ok("-keyfile key on a ls"), world.ok("ls"));
    for words in ["check", "-keyfile key on a check"] {
        world.ok(words);
    }
    // Home again in a third, of a third domain, and back: nothing is new to anybody.
    world.write("other", "of b");
    world.ok("-keyfile other create b");
    let ran = world.ok("-json -keyfile key on a sync -peer-keyfile other with b");
    assert_eq!(json(ran.lines().last().unwrap())["snapshots"], 3);
    let ran = world.ok("-json sync -peer-keyfile other from b");
    assert_eq!((&json(&ran)["snapshots"], &json(&ran)["present"]), (&0.into(), &3.into()));
}

#[test]
fn a_peers_passphrase_comes_from_where_it_is_said_to() {
    let (mut world, _) = plain_and_encrypted();
    let ran = world.fails("sync a", 1, "a: a passphrase is needed, and there is no terminal to ask on");
    assert!(
        ran.err.contains("use -peer-keyfile, -peer-passphrase-command or PLAKAR_PEER_PASSPHRASE"),
        "{ran:?}"
    );
    // What opens this repository does not come into it, wherever it was said.
    world.fails("-keyfile key sync a", 1, "no terminal to ask on");
    world.ok("sync -peer-keyfile key a");
    world.run(["sync", "-peer-passphrase-command", "cat key", "a"]).succeeded();
    let before = world.bytes_of(&world.path("work/a"));
    for words in ["sync", "sync from", "sync with", "status", "sync -dry-run"] {
        world.set("PLAKAR_PEER_PASSPHRASE", "wrong");
        world.fails(&format!("{words} a"), 11, "a: wrong passphrase");
        world.set("PLAKAR_PEER_PASSPHRASE", "");
        world.fails(&format!("{words} a"), 11, "a: wrong passphrase");
        world.unset("PLAKAR_PEER_PASSPHRASE");
        world.fails(&format!("{words} -peer-keyfile nowhere a"), 1, "nowhere: No such file");
        world.fails(
            &format!("{words} -peer-passphrase-command false a"),
            1,
            "-peer-passphrase-command: exit status: 1",
        );
    }
    assert_eq!(world.bytes_of(&world.path("work/a")), before);
    // Before anybody is asked, this repository's own is tried; but not when something was said of the peer's.
    world.set("PLAKAR_PASSPHRASE", "of a");
    world.ok("sync with a");
    world.fails("sync -peer-passphrase-command true a", 11, "wrong passphrase");
}

#[test]
fn a_peers_passphrase_is_asked_for_by_its_name() {
    let (world, one) = plain_and_encrypted();
    let asked = "passphrase of a: ";
    let ran = world.at_terminal("plakar sync a", &[(asked, "wrong\n"), (asked, "of a\n")]);
    assert!(ran.code == 0 && ran.out.contains("sent 1 snapshot to a: "), "{ran:?}");
    assert!(ran.out.contains(" cut anew, ") && !ran.out.contains("of a\r"), "{ran:?}");
    assert!(world.ok("-keyfile key on a ls").contains(&one));
    let ran = world.at_terminal("plakar sync a", &[(asked, "x\n"), (asked, "y\n"), (asked, "z\n")]);
    assert_eq!(ran.code, 11, "{ran:?}");
    // Own first, then each peer, before anything is moved.
    world.ok("-keyfile key create b");
    let own = "repository passphrase: ";
    let ran = world.at_terminal("plakar on a sync b", &[(own, "of a\n")]);
    assert_eq!(ran.code, 0, "the own one is tried on the peer: {ran:?}");
    world.write("other", "of c");
    world.ok("-keyfile other create c");
    let ran = world.at_terminal("plakar on a sync c", &[(own, "of a\n"), ("passphrase of c: ", "of c\n")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(world.ok("-keyfile other on c ls").contains(&one));
}

#[test]
fn an_unencrypted_peer_does_not_pass_for_the_encrypted_one() {
    let (world, _) = plain_and_encrypted();
    world.ok("sync -peer-keyfile key a");
    // Somebody else puts another in its place.
    fs::remove_dir_all(world.path("work/a")).unwrap();
    let other = World::new();
    other.ok(&format!("create -no-encryption {}", world.text("work/a")));
    let before = world.bytes_of(&world.path("work/a"));
    for words in ["sync a", "sync with a", "sync from a", "status a"] {
        world.fails(words, 1, "was encrypted when it was last opened here, and now it is not");
    }
    assert_eq!(world.bytes_of(&world.path("work/a")), before);
}
