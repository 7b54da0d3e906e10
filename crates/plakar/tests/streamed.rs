//! What is pushed as it comes is there with all its bytes, or there is no snapshot.

mod common;

use common::World;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

fn world() -> World {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world
}

#[test]
fn standard_input_is_stored_as_one_file() {
    let world = world();
    // More than is read at once, more than is in a pack's block, and nothing at all.
    world
        .shell("seq 1 900000 >expected && plakar push -stdin /dumps/of/db.sql -tag db <expected")
        .succeeded();
    assert_eq!(world.shell("plakar cat :/dumps/of/db.sql | cmp - expected").succeeded(), "");
    assert!(world.ok("ls -tag db").lines().count() == 1);
    world.ok("pull -path out :");
    let restored = world.path("work/out/dumps/of/db.sql").metadata().unwrap();
    assert_eq!(restored.mode() & 0o7777, 0o600, "a dump is nobody else's business");
    world.shell("printf x | plakar push -stdin small").succeeded();
    world.shell("plakar push -stdin empty </dev/null").succeeded();
    for (name, bytes) in [("small", "x"), ("empty", "")] {
        let id = world
            .ok("ls")
            .lines()
            .map(|line| line[20..58].trim().to_owned())
            .find(|id| world.line(&format!("ls {id}:/{name}")).code == 0);
        assert_eq!(world.ok(&format!("cat {}:/{name}", id.unwrap())), bytes);
    }
    // Again, with nothing new in it.
    let ran = world.shell("plakar -json push -stdin /dumps/of/db.sql <expected");
    let told: serde_json::Value = serde_json::from_str(&ran.succeeded()).unwrap();
    assert_eq!((&told["files"], &told["bytes_new"]), (&1.into(), &0.into()), "{told}");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn what_a_command_prints_is_stored_if_it_succeeds() {
    let world = world();
    let ran = world.run([
        "push",
        "-stdin",
        "out",
        "-command",
        "--",
        "sh",
        "-c",
        "echo -n; seq 1 3; exec >&-; sleep 0.2",
    ]);
    assert_eq!(ran.succeeded(), "");
    assert_eq!(world.ok("cat :/out"), "1\n2\n3\n");
    assert_eq!(world.ok("push -stdin words -command echo two words"), "");
    let newest = world.uuids().pop().unwrap();
    assert_eq!(world.ok(&format!("cat {newest}:/words")), "two words\n");
    let before = world.ok("ls");
    let fails = |script: &str, what: &str| {
        let ran = world.run(["push", "-stdin", "out", "-command", "--", "sh", "-c", script]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains(what) && !ran.err.contains("panicked"), "{ran:?}");
        assert_eq!(world.ok("ls"), before, "{script}");
    };
    // However much it has printed, and however it ends.
    fails("seq 1 900000; exit 7", "sh: exit status: 7");
    fails("echo x; exec >&-; sleep 0.2; exit 9", "sh: exit status: 9");
    fails("echo x; kill -9 $$", "sh: signal: 9");
    fails("exit 1", "sh: exit status: 1");
    let ran = world.run(["push", "-stdin", "out", "-command", "--", "/no/such/command"]);
    assert!(ran.code == 1 && ran.err.contains("/no/such/command: No such file"), "{ran:?}");
    assert_eq!(world.ok("ls"), before);
    assert_eq!(world.ok("check"), "");
}

#[test]
fn what_cannot_be_read_to_its_end_is_no_snapshot() {
    let world = world();
    let ran = world.shell("plakar push -stdin x <.");
    assert!(ran.code == 1 && ran.err.contains("cannot read all of it: Is a directory"), "{ran:?}");
    // Nothing comes, and it is interrupted all the same: once, as the second signal would end it without a word.
    let ran = world.shell("sleep 6 | timeout --foreground -s INT 2 plakar push -stdin x; echo $?");
    assert!(ran.out.trim() == "124" && ran.err.contains("interrupted"), "{ran:?}");
    let began = Instant::now();
    let ran = world.shell("timeout --foreground -s INT 2 plakar push -stdin x -command -- sleep 20; echo $?");
    assert!(began.elapsed().as_secs() < 15, "the command was ended too");
    assert!(ran.out.trim() == "124" && ran.err.contains("interrupted"), "{ran:?}");
    assert_eq!(world.ok("ls"), "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world();
    for name in ["", "/", "a/", ".", ".."] {
        let ran = world.run(["push", "-stdin", name]);
        assert!(ran.code == 2 && ran.err.contains("is no name of a file"), "{name}: {ran:?}");
    }
    world.fails("push -stdin x data", 2, "nothing else can be pushed together with it");
    world.fails("push -stdin x -command", 2, "no command");
    world.fails("push -command -- ls", 2, "-stdin");
    world.fails("push -stdin x -exclude y", 2, "-exclude");
    let long = "n".repeat(300);
    let ran = world.shell(&format!("echo x | plakar push -stdin {long}"));
    assert!(ran.code == 1 && !ran.err.contains("panicked"), "{ran:?}");
    assert_eq!(world.ok("ls"), "");
}
