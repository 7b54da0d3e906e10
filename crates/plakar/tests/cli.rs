//! The command line keeps its promises: what is understood, what is said, and every exit code.

mod common;

use common::World;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A world with a repository in the default place, not encrypted.
fn plain() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    world
}

/// A world with an encrypted repository in the default place and its passphrase at hand.
fn encrypted() -> World {
    let world = World::new().with("PLAKAR_PASSPHRASE", "first");
    world.ok("create");
    world
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// All regular files beneath a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Changes one byte in the middle of each object in a folder of the default repository.
fn damage(world: &World, folder: &str) -> usize {
    let objects = files(&world.path("home/.plakar/store").join(folder));
    for object in &objects {
        let mut bytes = fs::read(object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(object).unwrap();
        fs::write(object, bytes).unwrap();
    }
    objects.len()
}

#[test]
fn what_is_not_understood_is_refused_before_anything_is_opened() {
    let world = World::new();
    world.fails("", 2, "plakar: missing command\n");
    world.fails("on", 2, "plakar: missing plakar repository\n");
    world.fails("on X", 2, "plakar: missing command\n");
    world.fails("on X on Y ls", 2, "plakar: unknown command: on\n");
    world.fails("frobnicate", 2, "plakar: unknown command: frobnicate\n");
    world.fails("on X pul", 2, "plakar: unknown command: pul\ndid you mean 'pull'?\n");
    world.fails("key frobnicate", 2, "plakar: unknown command: frobnicate\n");
    world.fails("key", 2, "plakar: missing command\n");
    let ran = world.fails("ls -frobnicate", 2, "-frobnicate");
    assert!(ran.err.contains("Usage: plakar ls"), "{ran:?}");
    world.fails("-frobnicate ls", 2, "-frobnicate");
    world.fails("ls -recursiv", 2, "-recursive");
    world.fails("ls -no-encryption", 2, "-no-encryption");
    world.fails("push -tag", 2, "-tag");
    world.fails("create -compression huge", 2, "huge");
    world.fails("create -no-compression -compression small", 2, "cannot be used with");
    world.fails("-cpu 0 ls", 2, "-cpu");
    world.fails("-cpu 100000 ls", 1, "can't use more cores than available: ");
    world.fails("push -checkpoint-every 0", 2, "-checkpoint-every");
    world.fails("on X create Y", 2, "named twice");
    assert_eq!(files(&world.path("home")), [] as [PathBuf; 0]);
}

#[test]
fn flags_have_one_dash_or_two_and_values_in_either_form() {
    let world = World::new();
    world.write("f", "content");
    for words in [
        "-quiet on R create -no-encryption",
        "--quiet on R push --tag=one -tag two f",
        "-quiet=true -hostname=there -username - on R push f",
        "on R -verbose=false push -quiet -- f",
        "-repository=R ls -verbose=false",
    ] {
        world.ok(words);
    }
    let listed = world.ok("on R ls -json");
    let snapshots: Vec<_> = listed.lines().map(json).collect();
    assert_eq!(snapshots.len(), 3);
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["one", "two"]));
    assert_eq!((&snapshots[1]["host"], &snapshots[1]["user"]), (&"there".into(), &"-".into()));
}

#[test]
fn help_tells_of_all_there_is_and_nothing_else() {
    let world = World::new();
    let help = world.ok("help");
    for words in ["-h", "-help", "--help"] {
        assert_eq!(world.ok(words), help);
    }
    let commands: Vec<_> = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    let expected = [
        "create",
        "push",
        "ls",
        "pull",
        "tarball",
        "cat",
        "gzcat",
        "checksum",
        "find",
        "diff",
        "info",
        "check",
        "rm",
        "keep",
        "prune",
        "undelete",
        "cleanup",
        "clone",
        "sync",
        "heal",
        "repair",
        "status",
        "adopt",
        "key",
        "config",
        "server",
        "stdio",
        "exec",
        "schedule",
        "completion",
        "man",
        "version",
        "help",
    ];
    assert_eq!(commands, expected);
    for command in &expected[..expected.len() - 1] {
        let text = world.ok(&format!("help {command}"));
        assert_eq!(world.ok(&format!("{command} -help")), text);
        assert!(text.contains("Exit codes:"), "{text}");
        assert!(!text.contains(" --"), "flags are shown as they are typed: {text}");
    }
    world.fails("help frobnicate", 2, "unknown command: frobnicate");
    assert_eq!(world.ok("version"), concat!(env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(json(&world.ok("-json version"))["format"], 1);
}

#[test]
fn where_there_is_no_repository_that_is_said() {
    let world = World::new();
    for words in ["ls", "check", "push .", "pull x", "cat x:y", "info", "rm x", "key ls"] {
        world.fails(words, 10, "there is no repository here");
    }
    world.fails("on /nowhere/at/all ls", 10, "/nowhere/at/all: there is no repository here");
    let file = world.write("file", "");
    world.fails("on file ls", 10, &format!("{}: not a folder", "file"));
    assert!(file.is_file());
    world.write("folder/something", "");
    world.fails("on folder ls", 10, "there is no repository here");
    world.fails("on s9://bucket ls", 1, "repositories at s9:// are not supported");
    world.fails("on @work ls", 1, "no repository is known by this name");
    world.run(["on", "", "ls"]);

    let world = world.with("PLAKAR_REPOSITORY", "/also/nowhere");
    world.fails("ls", 10, "/also/nowhere: there is");
    world.ok("on here create -no-encryption");
    world.ok("on here ls");
}

#[test]
fn create_takes_nothing_away() {
    let world = plain();
    world.fails("create -no-encryption", 1, "there is a repository already");
    world.write("folder/something", "precious");
    world.fails("create -no-encryption folder", 1, "folder: the folder is not empty");
    world.fails("create -no-encryption new folder", 1, "not empty");
    assert!(!world.path("work/new").exists(), "all are looked at before the first is made");
    world.fails("create -no-encryption a/b/c", 1, "the folder above it is missing");
    world.write("file", "precious");
    world.fails("create -no-encryption file", 1, "not a store");
    assert_eq!(fs::read(world.path("work/file")).unwrap(), b"precious");
    fs::create_dir(world.path("work/empty")).unwrap();
    assert_eq!(world.ok("create -no-encryption empty new"), "");
    world.ok("on empty ls");
    world.ok("on new ls");
    let mode = fs::metadata(world.path("home/.plakar")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o700);
}

#[test]
fn an_unfinished_repository_is_known_for_what_it_is() {
    let world = plain();
    fs::remove_file(world.path("home/.plakar/store/config")).unwrap();
    world.fails("ls", 10, "unfinished");
    world.fails("push .", 10, "unfinished");
    world.fails("create -no-encryption", 1, "unfinished");
}

#[test]
fn passphrases_come_from_many_places() {
    let mut world = World::new();
    let key = world.write("key", "first\n");
    let by_file = format!("-keyfile {}", key.display());
    world.fails("create", 1, "no terminal to ask on");
    assert!(!world.path("home/.plakar/store").exists());
    world.ok(&format!("{by_file} create"));
    world.fails("ls", 1, "no terminal to ask on");
    world.ok(&format!("{by_file} ls"));
    world.run(["-passphrase-command", "echo first; echo second", "ls"]).succeeded();
    world.fails("-passphrase-command false ls", 1, "-passphrase-command: exit status: 1");
    world.fails("-passphrase-command true ls", 11, "wrong passphrase");
    world.fails("-keyfile nowhere ls", 1, "nowhere: No such file");
    world.fails(&format!("{by_file} -passphrase-command true ls"), 2, "cannot be used with");
    world.set("PLAKAR_PASSPHRASE", "first");
    world.ok("ls");
    world.set("PLAKAR_PASSPHRASE", "wrong");
    let began = Instant::now();
    let ran = world.fails("ls", 11, "wrong passphrase");
    assert_eq!(ran.err.lines().count(), 1);
    assert!(began.elapsed() < Duration::from_secs(20));
    world.ok(&format!("{by_file} ls"));
    world.set("PLAKAR_PASSPHRASE", "");
    world.fails("create other", 1, "the passphrase is empty");
    assert!(!world.path("work/other").exists());
}

#[test]
fn a_passphrase_is_asked_for_at_a_terminal() {
    let world = World::new();
    let ask = "repository passphrase: ";
    let confirm = "repository passphrase (confirm): ";
    let check = |line: &str, answers: &[(&str, &str)], code: i32| {
        let ran = world.at_terminal(line, answers);
        assert_eq!(ran.code, code, "{line} {answers:?}: {ran:?}");
        ran.out
    };
    check(
        "plakar create",
        &[(ask, "first\n"), (confirm, "other\n"), (ask, "first\n"), (confirm, "first\n")],
        0,
    );
    let out = check("plakar ls", &[(ask, "wrong\n"), (ask, "first\n")], 0);
    assert!(out.contains("wrong passphrase") && !out.contains("first"), "{out}");
    check("plakar ls", &[(ask, "wrong\n"), (ask, "wronger\n"), (ask, "wrongest\n")], 11);
    check("plakar create other", &[(ask, "\n")], 1);
    let differ = [(ask, "a\n"), (confirm, "b\n")];
    check("plakar create other", &[differ, differ, differ].concat(), 1);
    assert!(!world.path("work/other").exists());
    let out = world.at_terminal("plakar ls", &[(ask, "fir\u{3}")]);
    assert!(out.code != 0 && out.code != 124, "Ctrl-C ends it: {out:?}");
}

#[test]
fn keys_come_and_go_and_one_always_stays() {
    let mut world = encrypted();
    world.write("f", "content");
    world.ok("push f");
    world.fails("key add", 1, "no terminal to ask on");
    world.set("PLAKAR_NEW_PASSPHRASE", "second");
    world.ok("key add -label spare");
    let slots = |world: &World| -> Vec<Value> { world.ok("-json key ls").lines().map(json).collect() };
    let listed = slots(&world);
    assert_eq!(listed.len(), 2);
    let current: Vec<_> = listed.iter().map(|slot| slot["current"] == true).collect();
    assert_eq!(current.iter().filter(|c| **c).count(), 1);
    let id = |label: &str| {
        let slot = listed.iter().find(|slot| slot["label"] == label).unwrap();
        slot["id"].as_str().unwrap().to_owned()
    };
    let text = world.ok("key ls");
    assert!(
        text.contains(&format!("* {} ", id(""))) && text.contains(&format!("  {} ", id("spare"))),
        "{text}"
    );

    world.set("PLAKAR_PASSPHRASE", "second");
    world.ok("ls");
    world.fails("key rm 0000000000000000", 1, "no key has the ID 0000000000000000");
    world.ok(&format!("key rm {}", id("")));
    world.set("PLAKAR_PASSPHRASE", "first");
    world.fails("ls", 11, "wrong passphrase");
    world.set("PLAKAR_PASSPHRASE", "second");
    world.fails(&format!("key rm {}", id("spare")), 1, "the last key slot is not removed");

    let key = world.write("new-key", "third\n");
    world.ok(&format!("key passphrase -new-keyfile {}", key.display()));
    world.fails("ls", 11, "wrong passphrase");
    world.set("PLAKAR_PASSPHRASE", "third");
    let listed = slots(&world);
    assert_eq!((listed.len(), &listed[0]["label"]), (1, &"spare".into()));
    world.set("PLAKAR_NEW_PASSPHRASE", "");
    world.fails("key passphrase", 1, "the passphrase is empty");
    assert_eq!(world.uuids().len(), 1);
    world.ok("check");

    let world = plain();
    world.fails("key ls", 1, "not encrypted");
}

#[test]
fn an_unencrypted_repository_does_not_pass_for_the_encrypted_one() {
    let world = encrypted();
    let store = world.path("home/.plakar/store");
    fs::remove_dir_all(&store).unwrap();
    // Somebody else puts another in its place.
    let other = World::new();
    other.ok(&format!("create -no-encryption {}", store.display()));
    world.write("f", "secret");
    for words in ["push f", "ls"] {
        let ran = world.fails(words, 1, "was encrypted when it was last opened here, and now it is not");
        assert!(ran.err.contains("/.local/state/plakar/known/"), "{ran:?}");
    }
    fs::remove_dir_all(&store).unwrap();
    let other = other.with("PLAKAR_PASSPHRASE", "first");
    other.ok(&format!("create {}", store.display()));
    let ran = world.fails("push f", 1, "is not the one that was last opened here");
    let file = ran.err.split("delete ").nth(1).unwrap().trim();
    fs::remove_file(file).unwrap();
    world.ok("push f");
    // Whoever makes one anew means it.
    fs::remove_dir_all(&store).unwrap();
    world.ok("create -no-encryption");
    world.ok("push f");
}

#[test]
fn snapshots_are_found_by_prefix_or_not_at_all() {
    let world = plain();
    world.write("a/f:g", "content");
    for _ in 0..17 {
        world.ok("push a");
    }
    let uuids = world.uuids();
    let path = world.text("work/a/f:g");
    assert_eq!(world.ok(&format!("cat {}:{path}", uuids[3])), "content");
    assert_eq!(world.ok(&format!("cat {}:{path}", uuids[3].to_uppercase())), "content");
    assert_eq!(world.ok(&format!("cat {}:{}", uuids[3], &path[1..])), "content");
    // Of seventeen, two begin alike.
    let first = |uuid: &String| uuid.as_bytes()[0];
    let twin = uuids.iter().find(|u| uuids.iter().filter(|v| first(v) == first(u)).count() > 1).unwrap();
    let n = uuids.iter().filter(|uuid| first(uuid) == first(twin)).count();
    let prefix = &twin[..1];
    world.fails(
        &format!("ls {prefix}"),
        1,
        &format!("snapshot ID is ambiguous: {prefix} (matches {n} snapshots)"),
    );
    world.fails("cat :/x", 1, "snapshot ID is ambiguous: :/x (matches 17 snapshots)");
    for words in ["ls xyz", "pull xyz", "info xyz", "check xyz", "rm xyz"] {
        world.fails(words, 1, "no snapshot has prefix: xyz");
    }
    let missing = format!("{}:/nowhere", uuids[0]);
    for words in ["ls", "ls -recursive", "pull", "check", "cat"] {
        world.fails(&format!("{words} {missing}"), 1, "no such path in the snapshot");
    }
    assert_eq!(fs::read_dir(world.path("work")).unwrap().count(), 1, "nothing was pulled");
}

#[test]
fn commands_ask_for_what_they_need() {
    let world = plain();
    world.write("d/f", "content");
    world.ok("push d");
    let uuid = &world.uuids()[0];
    world.fails("pull", 2, "need at least one snapshot ID to pull");
    world.fails("rm", 2, "need at least one snapshot ID to rm");
    world.fails("keep", 2, "need a number of snapshots to keep");
    world.fails("prune", 2, "a policy without a rule would keep nothing");
    world.fails("ls -recursive", 2, "need at least one snapshot ID to ls -recursive");
    world.fails("cat", 2, "cat: at least one parameter is required");
    world.fails(&format!("cat {uuid}"), 2, &format!("cat: missing filename for snapshot {uuid}"));
    let d = world.text("work/d");
    world.fails(&format!("cat {uuid}:{d}"), 1, &format!("cat: could not open file '{d}'"));
    world.fails(&format!("rm {uuid}:/"), 2, "only whole snapshots can be removed");
    for words in [&["rm", ""][..], &["ls", ""], &["pull", ""], &["check", ""], &["info", ""], &["cat", ""]] {
        let ran = world.run(words);
        assert!(
            ran.code == 2 && ran.err.contains("empty snapshot ID") && ran.out.is_empty(),
            "{words:?}: {ran:?}"
        );
    }
    assert_eq!(world.run(["sync", "", "to", "nowhere"]).code, 10);
    world.ok("create -no-encryption other");
    assert_eq!(world.run(["sync", "", "to", "other"]).code, 2);
    assert_eq!(world.ok("on other ls"), "");
    world.ok(&format!("check :{}", world.text("work/d")));
    assert!(world.ok("help clone").contains("Usage: plakar clone [FLAGS] DESTINATION..."));
    assert_eq!(world.uuids().len(), 1, "an empty ID removes nothing");
    world.fails(&format!("info {uuid}:/"), 2, "whole snapshots");
    world.fails(&format!("rm {uuid} xyz"), 1, "no snapshot has prefix: xyz");
    assert_eq!(world.uuids().len(), 1);
    world.ok(&format!("rm {uuid} {}", &uuid[..8]));
    assert_eq!(world.ok("ls"), "");
}

#[test]
fn a_push_says_what_it_could_not_do() {
    let world = plain();
    world.write("d/f", "content");
    let ran = world.fails("push d nowhere d/also-nowhere", 1, "nowhere: No such file");
    assert!(ran.err.contains("d/also-nowhere: No such file"), "{ran:?}");
    assert_eq!(world.ok("ls"), "", "nothing was pushed");
    // What even root cannot read.
    let ran = world.line("push d /proc/self/mem");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.err.starts_with("plakar: /proc/self/mem: "), "{ran:?}");
    assert_eq!(world.uuids().len(), 1, "the rest was pushed");
    world.fails("cat :/proc/self/mem", 1, "could not be read when it was pushed");
    let ran = world.line("-json push d /proc/self/mem");
    assert_eq!((ran.code, &json(&ran.err)["path"]), (3, &"/proc/self/mem".into()), "{ran:?}");
    let ran = world.line("-verbose push d");
    assert!(ran.err.contains("created snapshot "), "{ran:?}");
}

#[test]
fn the_repository_is_not_pushed_into_itself() {
    let world = World::new();
    world.write("d/f", "content");
    world.ok("create -no-encryption d/repo");
    let ran = world.line("-verbose on d/repo push d");
    let note = format!("left out the repository itself: {}", world.text("work/d/repo"));
    assert!(ran.code == 0 && ran.err.contains(&note), "{ran:?}");
    let listed = world.ok("on d/repo ls -recursive :");
    assert!(listed.contains("/d/f\n") && !listed.contains("/d/repo"), "{listed}");
}

#[test]
fn what_was_pushed_is_pulled() {
    let world = encrypted();
    world.write("d/sub/f", "content".repeat(1000));
    world.write("d/g", "more");
    // Without an argument it is where one stands.
    world.shell("cd d && plakar push").succeeded();
    let d = world.text("work/d");
    world.ok("pull -path whole :");
    world.ok(&format!("pull -rebase -path rebased :{d}"));
    world.ok(&format!("pull -rebase -path one -numeric-ids :{d}/sub/f"));
    world.shell(&format!("diff -r d whole{d} && diff -r d rebased && cmp d/sub/f one/f")).succeeded();
    world.ok("check");
    world.ok(&format!("check :{d}/sub"));
    world.ok("check -fast");
    let report = json(&world.ok("-json check"));
    assert_eq!((&report["snapshots"], &report["damaged"]), (&1.into(), &0.into()));
}

#[test]
fn json_is_json_and_exact() {
    use std::os::unix::ffi::OsStrExt;
    let world = plain();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff\x1b[2Jname");
    fs::create_dir(world.path("work/d")).unwrap();
    fs::write(world.path("work/d").join(odd), "12345").unwrap();
    let pushed = json(&world.ok("push -json d"));
    let uuid = pushed["uuid"].as_str().unwrap();
    let d = world.text("work/d");
    let entry = json(&world.ok(&format!("-json ls {uuid}:{d}")));
    let hex = entry["path_hex"].as_str().unwrap();
    assert!(hex.ends_with("6f6464ff1b5b324a6e616d65"), "{entry}");
    assert_eq!((&entry["size"], &entry["type"]), (&5.into(), &"file".into()));
    let text = world.ok(&format!("ls {uuid}:{d}"));
    assert!(text.ends_with("odd\\xff\\x1b[2Jname\n"), "nothing steers the terminal: {text}");
    for words in ["info", "ls", "check", "version"] {
        json(&world.ok(&format!("-json {words}")));
    }
    assert_eq!(json(&world.ok(&format!("-json info {uuid}")))["roots"][0], d);
    let info = world.ok("info");
    assert!(info.contains("Snapshots: 1\n") && info.contains("Size: 5 B (5 bytes)\n"), "{info}");
    for (words, code) in [("-json ls xyz", 1), ("-json frobnicate", 2), ("-json on /nowhere ls", 10)] {
        let ran = world.line(words);
        assert_eq!((ran.code, json(&ran.err)["code"].as_i64()), (code, Some(code.into())), "{ran:?}");
    }
}

#[test]
fn time_and_trace_go_to_standard_error() {
    let world = plain();
    let ran = world.line("-time -trace ls");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let (trace, time) = ran.err.split_once('\n').unwrap();
    assert!(trace.starts_with("trace: ") && trace.contains(" lists, 0 puts"), "{ran:?}");
    let seconds = time.strip_prefix("time: ").unwrap().strip_suffix("s\n").unwrap();
    assert_eq!(seconds.split_once('.').unwrap().1.len(), 6, "{ran:?}");
    seconds.parse::<f64>().unwrap();
}

#[test]
fn without_a_cache_nothing_is_written_there() {
    let world = plain();
    world.write("f", "content");
    world.ok("-no-cache push f");
    assert!(!world.path("home/.cache").exists());
    world.ok("-cache cache push f");
    assert!(!world.path("home/.cache").exists());
    assert_eq!(files(&world.path("work/cache")).len(), 1);
    world.ok("push f");
    assert_eq!(files(&world.path("home/.cache/plakar/hints")).len(), 1);
}

#[test]
fn local_state_that_cannot_be_kept_is_a_note() {
    let world = World::new().with("HOME", "/dev/null");
    world.write("f", "content");
    world.ok("on R create -no-encryption");
    world.ok("on R push f");
    let ran = world.line("-verbose on R push f");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("cannot be kept") && ran.err.contains("cannot remember"), "{ran:?}");
}

#[test]
fn damaged_data_is_never_printed() {
    let world = plain();
    world.write("f", "content".repeat(1000));
    world.ok("push f");
    assert!(damage(&world, "packs") > 0);
    let f = world.text("work/f");
    let ran = world.line(&format!("cat :{f}"));
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
    let ran = world.line("check");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.lines().all(|line| line.starts_with("plakar: ")) && !ran.err.is_empty(), "{ran:?}");
    let ran = world.line("pull -path out :");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(!world.path("work/out").join(&f[1..]).exists());
}

#[test]
fn damage_in_the_log_is_told_whatever_is_asked() {
    let world = plain();
    world.write("f", "content");
    world.ok("push f");
    damage(&world, "log");
    for words in ["ls", "info", "check"] {
        world.fails(words, 4, "log/");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_drama() {
    let world = plain();
    world.write("f", vec![b'x'; 4 << 20]);
    world.ok("push f");
    let f = world.text("work/f");
    let ran = world.shell(&format!("plakar cat :{f} | head -c 3"));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "xxx", ""));
    let ran = world.shell(&format!("plakar cat :{f} > /dev/full"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("cannot write to standard output"), "{ran:?}");
    let ran = world.shell("plakar ls 2>&- >&-");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn an_interrupted_push_is_gone_on_with() {
    let world = plain();
    // Noise, so that there is something to store.
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for file in 0..10 {
        let mut bytes = Vec::with_capacity(16 << 20);
        while bytes.len() < 16 << 20 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.extend_from_slice(&noise.to_le_bytes());
        }
        world.write(&format!("d/{file}"), bytes);
    }
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    let mut child = command.args(["push", "d"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let packs = world.path("home/.plakar/store/packs");
    let began = Instant::now();
    while !packs.exists() || files(&packs).is_empty() {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert_eq!(said, "plakar: interrupted; what was stored so far is kept for the next push\n");
    assert_eq!(world.ok("ls"), "");
    let pushed = json(&world.ok("-json push d"));
    assert!(pushed["bytes_new"].as_u64().unwrap() < 160 << 20, "{pushed}");
    world.ok("check");
}
