//! Whatever is asked for and whatever happens meanwhile: a clear word, the right exit code, no hang, no panic, and
//! what is healthy is stored and restored all the same.

mod common;

use common::tree::{self, within};
use common::{Ran, World};
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes, and shorter than for ever.
const A_WHILE: Duration = Duration::from_secs(60);

/// A world with a repository in the default place, not encrypted.
fn plain() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    world
}

fn encrypted() -> World {
    let world = World::new().with("PLAKAR_PASSPHRASE", "secret");
    world.ok("create");
    world
}

/// The command must have failed with this code and these words, and nothing else must have happened.
fn refused(ran: &Ran, code: i32, what: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.err.contains(what), "not {what:?}: {ran:?}");
    assert!(
        ran.err.starts_with("plakar: ") && !ran.err.contains("panicked") && ran.out.is_empty(),
        "{ran:?}"
    );
}

fn latest(world: &World) -> String {
    world.uuids().pop().expect("there is a snapshot")
}

#[test]
fn nothing_is_pushed_if_a_path_is_not_there() {
    let world = plain();
    world.write("there", "x");
    std::os::unix::fs::symlink("nowhere", world.path("work/dangling")).unwrap();
    std::os::unix::fs::symlink("loop", world.path("work/loop")).unwrap();
    for (typed, what) in [
        ("nowhere", "nowhere: No such file or directory"),
        ("there nowhere", "nowhere: No such file or directory"),
        ("there/beneath", "there/beneath: Not a directory"),
        ("dangling", "dangling: No such file or directory"),
        ("there dangling", "dangling: No such file or directory"),
        ("loop", "loop: Too many levels of symbolic links"),
    ] {
        refused(&world.line(&format!("push {typed}")), 1, what);
    }
    refused(&world.run(["push", ""]), 1, "an empty path");
    let ran = world.line("push nowhere dangling also-nowhere");
    refused(&ran, 1, "nowhere: No such file");
    assert_eq!(ran.err.matches("No such file").count(), 3, "all of them are named: {ran:?}");
    assert_eq!(world.ok("ls"), "");
}

#[test]
fn a_root_may_be_anything() {
    // A single file, a device, a fifo nobody writes to, a socket, links to each: pushed at once, and pulled.
    let world = plain();
    world.write("file", "content");
    world.write("d/f", "x");
    tree::make_special(&world.path("work/fifo"), FileType::Fifo, 0, 0);
    tree::make_special(&world.path("work/socket"), FileType::Socket, 0, 0);
    for name in ["file", "d", "fifo", "socket"] {
        std::os::unix::fs::symlink(name, world.path("work").join(format!("to-{name}"))).unwrap();
    }
    let work = world.text("work");
    for (name, kind) in [("file", "f"), ("fifo", "p"), ("socket", "s"), ("d", "d")] {
        for name in [name.to_owned(), format!("to-{name}")] {
            let ran = world.run_in_time(["push", &name], A_WHILE);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}");
            let uuid = latest(&world);
            world.ok(&format!("pull -path out {uuid}"));
            let found =
                world.shell(&format!("find out{work} -mindepth 1 -maxdepth 1 -printf '%f %y'")).succeeded();
            assert_eq!(found, format!("{name} {kind}"));
            world.ok(&format!("check {uuid}"));
            fs::remove_dir_all(world.path("work/out")).unwrap();
            if kind != "d" {
                world.ok(&format!("pull -rebase -path one {uuid}:{work}/{name}"));
                assert!(world.path("work/one").join(&name).symlink_metadata().is_ok());
            }
        }
    }
    // A device is recorded as a device, and never read.
    let ran = world.run_in_time(["push", "/dev/null", "/dev/zero"], A_WHILE);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let uuid = latest(&world);
    let listed = world.ok(&format!("-json ls {uuid}:/dev"));
    assert!(listed.contains(r#""device":[1,3]"#) && listed.contains(r#""device":[1,5]"#), "{listed}");
    refused(&world.line(&format!("cat {uuid}:/dev/null")), 1, "not a regular file");
    let code = if tree::is_root() { 0 } else { 3 };
    assert_eq!(world.line(&format!("pull -path devices {uuid}")).code, code);
}

// ------------------------------------------------------------------------------------------- what changes meanwhile

/// Pushes a few times while `change` is called again and again; each push must end, and say 0 or 3. Afterwards
/// everything that was pushed must check, and restore with 0 or 3.
fn push_while(name: &str, change: impl Fn(&Path, u64) + Sync) {
    let world = plain();
    for n in 0..150 {
        world.write(&format!("tree/d{}/f{n}", n % 5), tree::noise(n, 1000 + 200 * n as usize));
    }
    world.write("tree/large", tree::noise(1000, 3_000_000));
    let root = world.path("work/tree");
    let over = AtomicBool::new(false);
    let mut codes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                change(&root, turn);
            }
        });
        for _ in 0..6 {
            let ran = world.run_in_time(["push", "tree"], A_WHILE);
            codes.push(ran.code);
            let told = ran.err.lines().all(|line| line.starts_with(&format!("plakar: {}", root.display())));
            if !told || ![0, 3].contains(&ran.code) || ran.err.is_empty() != (ran.code == 0) {
                over.store(true, Ordering::Relaxed);
                panic!("{name}: {ran:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{name}: {codes:?}");
    world.ok("check");
    for uuid in world.uuids() {
        let ran = world.line(&format!("pull -path out-{uuid} {uuid}"));
        assert!([0, 3].contains(&ran.code), "{name}: {ran:?}");
        // What does not change is there, whatever became of the rest.
        let landed = world.path("work").join(format!("out-{uuid}")).join(root.strip_prefix("/").unwrap());
        assert_eq!(fs::read(landed.join("d4/f149")).unwrap(), tree::noise(149, 1000 + 200 * 149), "{name}");
        fs::remove_dir_all(world.path("work").join(format!("out-{uuid}"))).unwrap();
    }
}

/// One of the files that may change: never the last.
fn victim(root: &Path, turn: u64) -> std::path::PathBuf {
    let n = turn * 7919 % 149;
    root.join(format!("d{}/f{n}", n % 5))
}

#[test]
fn files_may_vanish_and_come_back() {
    push_while("vanishing", |root, turn| {
        let file = victim(root, turn);
        let _ = fs::remove_file(&file);
        std::thread::sleep(Duration::from_micros(turn % 7 * 100));
        fs::write(&file, tree::noise(turn, 5000)).unwrap();
    });
}

#[test]
fn files_may_grow_and_shrink() {
    push_while("growing", |root, turn| {
        let large = fs::File::options().write(true).open(root.join("large")).unwrap();
        large.set_len(turn * 7_654_321 % 6_000_000).unwrap();
        fs::write(victim(root, turn), tree::noise(turn, (turn * 1001 % 100_000) as usize)).unwrap();
    });
}

#[test]
fn files_may_become_fifos_sockets_links_and_directories() {
    // Opening a fifo that nobody writes to waits for ever, unless one takes care.
    push_while("becoming", |root, turn| {
        let file = victim(root, turn);
        let _ = fs::remove_file(&file);
        match turn % 4 {
            0 | 1 => tree::make_special(&file, FileType::Fifo, 0, 0),
            2 => tree::make_special(&file, FileType::Socket, 0, 0),
            _ => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
        }
        std::thread::sleep(Duration::from_micros(turn % 5 * 200));
        fs::remove_file(&file).unwrap();
        if turn % 3 == 0 {
            fs::create_dir(&file).unwrap();
            std::thread::sleep(Duration::from_micros(200));
            fs::remove_dir(&file).unwrap();
        }
        fs::write(&file, "back").unwrap();
    });
}

#[test]
fn directories_may_move_vanish_and_become_links() {
    push_while("moving", |root, turn| {
        let (dir, aside) = (root.join(format!("d{}", turn % 4)), root.join("aside"));
        fs::rename(&dir, &aside).unwrap();
        if turn % 2 == 0 {
            std::os::unix::fs::symlink("/", &dir).unwrap();
            std::thread::sleep(Duration::from_micros(300));
            fs::remove_file(&dir).unwrap();
        }
        fs::rename(&aside, &dir).unwrap();
        std::thread::sleep(Duration::from_micros(turn % 5 * 200));
    });
}

#[test]
fn a_directory_that_closes_itself_is_named() {
    let world = World::of_user();
    world.run_as_user(["create", "-no-encryption"]).succeeded();
    world.write("tree/open/f", "x");
    world.write("tree/shut/f", "x");
    world.give_to_user("work/tree");
    world.run_as_user(["push", "tree"]).succeeded();
    // Nothing changed but that it cannot be read any more: what the last push knew of it is not taken for what is there.
    world.shell("chmod 000 tree/shut").succeeded();
    std::thread::sleep(Duration::from_millis(2100));
    for _ in 0..2 {
        let ran = world.run_as_user(["push", "tree"]);
        refused(
            &ran,
            3,
            &format!(
                "plakar: {}: cannot list all of the directory: Permission denied",
                world.text("work/tree/shut")
            ),
        );
    }
    world.run_as_user(["check"]).succeeded();
}

// ------------------------------------------------------------------------------------------------- the repository

#[test]
fn the_repository_is_left_out_wherever_it_is_met() {
    // In the tree, as the tree, through a link, beneath a link.
    let world = World::new();
    world.write("tree/f", "content");
    world.ok("create -no-encryption tree/repo");
    std::os::unix::fs::symlink("tree", world.path("work/alias")).unwrap();
    for (repository, pushed) in
        [("tree/repo", "tree"), ("alias/repo", "tree"), ("tree/repo", "alias"), ("tree/repo/", ".")]
    {
        world.ok(&format!("on {repository} push {pushed}"));
        let before = world.ok("on tree/repo ls");
        let uuid = before.lines().last().unwrap()[20..58].trim();
        let listed = world.ok(&format!("on tree/repo ls -recursive {uuid}:"));
        assert!(listed.contains("/f\n") && !listed.contains("/repo"), "{listed}");
        world.ok(&format!("on tree/repo pull -path out {uuid}"));
        world.ok("on tree/repo check");
        fs::remove_dir_all(world.path("work/out")).unwrap();
    }
    // Whoever names it, or something in it, or stands in it, is told: an empty snapshot would be a lie.
    let before = world.ok("on tree/repo ls");
    std::os::unix::fs::symlink("tree/repo", world.path("work/to-repo")).unwrap();
    for named in ["tree/repo", "tree/repo/packs", "alias/repo", "to-repo", "tree/f tree/repo/config"] {
        refused(&world.line(&format!("on tree/repo push {named}")), 1, "lies in the repository itself");
    }
    refused(&world.shell("cd tree/repo && plakar on . push"), 1, "lies in the repository itself");
    assert_eq!(world.ok("on tree/repo ls"), before);
    world.ok("on tree/repo check");
}

#[test]
fn what_is_no_repository_is_told_from_what_is_a_broken_one() {
    let world = plain();
    world.write("f", "x");
    world.ok("push f");
    let store = world.path("home/.plakar/store");
    let config = fs::read(store.join("config")).unwrap();
    let write = |bytes: &[u8]| {
        fs::remove_file(store.join("config")).unwrap();
        fs::write(store.join("config"), bytes).unwrap();
    };
    let all = ["ls", "push f", "check", "pull :", "info", "cat :/f"];

    world.write("file", "not a folder");
    for command in all {
        refused(&world.line(&format!("on nowhere {command}")), 10, "nowhere: there is no repository here");
        refused(&world.line(&format!("on file {command}")), 10, "file: not a folder");
        refused(&world.line(&format!("on /dev/null {command}")), 10, "/dev/null: not a folder");
    }
    assert!(!world.path("work/nowhere").exists());

    // Of a version to come.
    let mut other = config.clone();
    assert_eq!(&other[..8], b"PLKCONF1");
    other[7] = b'2';
    write(&other);
    for command in all {
        let ran = world.line(command);
        refused(&ran, 1, "version");
        assert!(!ran.err.contains("damage"), "{ran:?}");
    }
    // With a feature to come: an empty list of them becomes a list of one.
    let at = config.windows(2).position(|two| two == [8, 0x80]).expect("there is a list of features");
    let featured = [&config[..=at], &[0x81, 7][..], &config[at + 2..]].concat();
    write(&featured);
    for command in all {
        refused(
            &world.line(command),
            1,
            "this version cannot open it: it needs features [7] of a newer version",
        );
    }
    // Bytes that are nothing, too few, too many.
    let long = [&config[..], b"x"].concat();
    for bytes in [&b""[..], b"nonsense", &config[..20], &long, &vec![0xff; 1 << 20]] {
        write(bytes);
        for command in all {
            refused(&world.line(command), 4, "config");
        }
    }
    fs::remove_file(store.join("config")).unwrap();
    for command in all {
        refused(&world.line(command), 10, "unfinished");
    }
    fs::write(store.join("config"), &config).unwrap();
    fs::remove_file(store.join("replica")).unwrap();
    for command in all {
        refused(&world.line(command), 4, "replica");
    }
}

#[test]
fn keys_that_are_wrong_missing_empty_or_closed() {
    let world = encrypted();
    world.write("f", "x");
    world.ok("push f");
    let mut world = world;
    for wrong in ["", "Secret", "secret ", "x".repeat(100_000).as_str()] {
        world.set("PLAKAR_PASSPHRASE", wrong);
        for command in ["ls", "push f", "check", "pull :", "key ls"] {
            refused(&world.line(command), 11, "wrong passphrase");
        }
    }
    world.unset("PLAKAR_PASSPHRASE");
    world.write("empty", "");
    world.write("newline", "\n");
    world.write("long", vec![b'x'; 100_000]);
    world.write("right", "secret\n");
    refused(&world.line("-keyfile nowhere ls"), 1, "nowhere: No such file or directory");
    refused(&world.line("-keyfile . ls"), 1, ".: Is a directory");
    refused(&world.line("-keyfile empty ls"), 11, "wrong passphrase");
    refused(&world.line("-keyfile newline ls"), 11, "wrong passphrase");
    refused(&world.line("-keyfile long ls"), 1, "too long for a passphrase");
    refused(&world.line("-keyfile empty create other"), 1, "the passphrase is empty");
    refused(&world.line("-keyfile /dev/zero ls"), 1, "too long for a passphrase");
    world.ok("-keyfile right ls");
    // The user may not read it.
    let user = World::of_user();
    let key = user.write("key", "secret");
    user.give_to_user("work/key");
    user.run_as_user(["-keyfile", "key", "create"]).succeeded();
    tree::set_mode(&key, 0);
    refused(&user.run_as_user(["-keyfile", "key", "ls"]), 1, "key: Permission denied");
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nobody_waits() {
    let mut world = encrypted();
    world.write("f", "x");
    world.unset("PLAKAR_PASSPHRASE");
    for command in ["ls", "push f", "check", "pull :", "rm x", "key ls", "info", "create other"] {
        let began = Instant::now();
        refused(&world.line(command), 1, "there is no terminal to ask on");
        assert!(began.elapsed() < Duration::from_secs(10), "{command}");
    }
    // Nor is a passphrase read from where data might come from.
    let ran = world.shell("echo secret | setsid -w plakar ls");
    refused(&ran, 1, "there is no terminal to ask on");
    assert!(!world.path("work/other").exists());
}

#[test]
fn two_pushes_at_once_are_two_snapshots() {
    for encrypt in [false, true] {
        let world = if encrypt { encrypted() } else { plain() };
        for which in ["one", "two"] {
            for n in 0..40 {
                // Half of it is the same in both.
                let seed = if n % 2 == 0 {
                    n
                } else {
                    n + which.len() as u64 * 1000 + u64::from(which == "two") * 77
                };
                world.write(&format!("{which}/{n}"), tree::noise(seed, 100_000));
            }
        }
        for round in 0..4 {
            let start = |what: &str| {
                let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
                command.args(["push", "-checkpoint-every", "0.05", what]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let second = if round % 2 == 0 { "two" } else { "one" };
            let children = [start("one"), start(second)];
            for child in children {
                let output = tree::finish(child, A_WHILE, "two pushes");
                let err = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
            }
            world.write("one/new", format!("{round}"));
        }
        assert_eq!(world.uuids().len(), 8);
        world.ok("check");
        for line in world.ok("ls").lines() {
            let (uuid, root) = (line[20..58].trim(), line.rsplit(' ').next().unwrap());
            let into = format!("out-{uuid}");
            world.ok(&format!("pull -rebase -path {into} {uuid}:{root}"));
            world.shell(&format!("diff -r -x new {root} {into}")).succeeded();
        }
    }
}

#[test]
fn rm_removes_what_is_meant_or_nothing() {
    let world = plain();
    world.write("f", "x");
    for _ in 0..17 {
        world.ok("push f");
    }
    let uuids = world.uuids();
    let shared = (0..=255u8)
        .map(|b| format!("{:x}", b >> 4))
        .find(|p| uuids.iter().filter(|u| u.starts_with(p)).count() > 1);
    let shared = shared.expect("of seventeen two begin alike");
    refused(
        &world.line(&format!("rm {shared}")),
        1,
        &format!("snapshot ID is ambiguous: {shared} (matches "),
    );
    refused(&world.line(&format!("rm {} {shared}", uuids[0])), 1, "ambiguous");
    refused(&world.line(&format!("rm {} {}-", uuids[0], uuids[1])), 1, "no snapshot has prefix");
    for word in ["", ":", ":/", "*", "../x", "%", "\u{fc}"] {
        let ran = world.run(["rm", word]);
        assert!([1, 2].contains(&ran.code) && ran.err.starts_with("plakar: "), "{word}: {ran:?}");
    }
    assert_eq!(world.uuids(), uuids);
    // Named twice it goes once.
    world.ok(&format!("rm {0} {0} {1}", uuids[0], uuids[0].to_uppercase()));
    refused(&world.line(&format!("rm {}", uuids[0])), 1, "no snapshot has prefix");
    assert_eq!(world.uuids(), uuids[1..]);
    world.ok("check");
}

// -------------------------------------------------------------------------------------------------------- the target

#[test]
fn what_is_in_the_way_gives_way_or_is_named() {
    // A directory with things in it is not thrown away for a file; everything else gives way to what is restored; and what
    // the snapshot knows nothing of stays.
    let world = plain();
    world.write("tree/file", "new");
    world.write("tree/other", "new");
    world.write("tree/dir/inside", "new");
    world.write("tree/dir2/inside", "new");
    world.write("tree/last", "new");
    let root = world.text("work/tree");
    world.ok("push tree");
    world.write("out/file/precious", "old");
    world.write("out/dir", "old");
    world.write("out/unknown", "old");
    world.write("outside", "old");
    world.write("elsewhere/inside", "old");
    world.shell("ln -s ../outside out/other; ln -s ../elsewhere out/dir2; mkfifo out/last").succeeded();
    let ran = world.run_in_time(["pull", "-rebase", "-path", "out", &format!(":{root}")], A_WHILE);
    assert_eq!(ran.code, 3, "{ran:?}");
    let mut lines: Vec<_> = ran.err.lines().collect();
    lines.sort();
    assert!(lines.len() == 2, "{ran:?}");
    assert!(lines[0].starts_with("plakar: dir: something else is in the way"), "{ran:?}");
    assert!(lines[1].starts_with("plakar: file: something else is in the way"), "{ran:?}");
    for (path, content) in [
        ("out/file/precious", "old"),
        ("out/dir", "old"),
        ("out/unknown", "old"),
        ("outside", "old"),
        ("elsewhere/inside", "old"),
        ("out/other", "new"),
        ("out/dir2/inside", "new"),
        ("out/last", "new"),
    ] {
        assert_eq!(fs::read_to_string(world.path("work").join(path)).unwrap(), content, "{path}");
    }
    assert!(world.path("work/out/other").symlink_metadata().unwrap().is_file());
    assert!(world.path("work/out/dir2").symlink_metadata().unwrap().is_dir());
    // The target is a file, or lies in one.
    for target in ["outside", "outside/deeper", "/dev/null", "/proc/nowhere"] {
        let ran = world.line(&format!("pull -path {target} :"));
        refused(&ran, 1, target);
        assert!(
            ran.err.contains("ot a directory") || ran.err.contains("exists") || ran.err.contains("No such"),
            "{ran:?}"
        );
    }
    assert_eq!(fs::read_to_string(world.path("work/outside")).unwrap(), "old");
    // The target itself may be a link: it was typed.
    world.shell("mkdir real && ln -s real typed").succeeded();
    world.ok(&format!("pull -rebase -path typed :{root}"));
    assert_eq!(fs::read(world.path("work/real/file")).unwrap(), b"new");
    assert!(world.path("work/typed").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn links_in_the_target_lead_nowhere() {
    // Without -rebase there are directories on the way; a link waiting in the place of one is not followed out of the target.
    let world = plain();
    world.write("a/b/c/file", "new");
    world.write("outside/b/c/file", "old");
    world.write("outside/c/file", "old");
    world.ok("push a");
    let work = world.text("work");
    for (link, at) in [("outside", format!("out{work}/a")), ("outside", format!("out{work}/a/b"))] {
        let at = world.path("work").join(at);
        let _ = fs::remove_dir_all(world.path("work/out"));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(world.path("work").join(link), &at).unwrap();
        let ran = world.line("pull -path out :");
        assert!([0, 3].contains(&ran.code), "{ran:?}");
        for outside in ["outside/b/c/file", "outside/c/file"] {
            assert_eq!(fs::read(world.path("work").join(outside)).unwrap(), b"old");
        }
        let found = world.shell("find outside -newer a/b/c/file -type f").succeeded();
        assert!(!found.contains("new"), "{found}");
        assert_eq!(fs::read(world.path(&format!("work/out{work}/a/b/c/file"))).unwrap(), b"new");
    }
    // The first directory of the way.
    let first = Path::new(&work).components().nth(1).unwrap().as_os_str().to_owned();
    let _ = fs::remove_dir_all(world.path("work/out"));
    fs::create_dir(world.path("work/out")).unwrap();
    fs::create_dir(world.path("work/trap")).unwrap();
    std::os::unix::fs::symlink(world.path("work/trap"), world.path("work/out").join(&first)).unwrap();
    let ran = world.line(&format!("pull -path out :{work}/a"));
    assert!([0, 3].contains(&ran.code), "{ran:?}");
    assert_eq!(fs::read_dir(world.path("work/trap")).unwrap().count(), 0, "it was written through a link");
}

#[test]
fn a_path_in_a_snapshot_has_no_way_up() {
    let world = plain();
    world.write("tree/d/f", "content");
    world.ok("push tree");
    let root = world.text("work/tree");
    for path in [
        format!("{root}/d/../d/f"),
        format!("{root}/.."),
        "..".into(),
        "/../etc/passwd".into(),
        format!("{root}/d/f/x"),
    ] {
        for command in ["cat", "ls", "pull -path out", "check"] {
            let ran = world.line(&format!("{command} :{path}"));
            refused(&ran, 1, "no such path in the snapshot");
        }
    }
    assert!(!world.path("work/out").exists());
    // Slashes and dots that lead nowhere else change nothing.
    let f = format!(":/{}//d///f", root.trim_start_matches('/'));
    assert_eq!(world.ok(&format!("cat {f}")), "content");
    let odd =
        OsString::from_vec([b":".to_vec(), root.clone().into_bytes(), b"/\xff\x1b[2J\n".to_vec()].concat());
    let ran = world.run([OsStr::new("cat"), &odd]);
    refused(&ran, 1, "no such path in the snapshot");
    assert!(
        !ran.err.contains('\u{1b}') && ran.err.lines().count() == 1,
        "nothing steers the terminal: {ran:?}"
    );
}

// ---------------------------------------------------------------------------------------------- arguments and output

#[test]
fn long_arguments_are_arguments() {
    let world = plain();
    world.write("f", "x");
    let long = "x".repeat(100_000);
    for words in
        [vec!["ls", &long], vec!["cat", &long], vec!["pull", &long], vec!["rm", &long], vec!["check", &long]]
    {
        refused(&world.run(&words), 1, "no snapshot has prefix: xxx");
    }
    refused(&world.run(["push", &long]), 1, "File name too long");
    assert!([1, 10].contains(&world.run(["on", &long, "ls"]).code));
    refused(&world.run([&long]), 2, "unknown command: xxx");
    refused(&world.run(["on", &long, "create", "-no-encryption"]), 1, "File name too long");
    // What is recorded in a snapshot is read again.
    for words in [
        vec!["-hostname", &long, "push", "f"],
        vec!["-username", &long, "push", "f"],
        vec!["push", "-tag", &long, "f"],
        vec!["push", "-tag", "", "-tag", "\n\u{1b}", "f"],
    ] {
        let ran = world.run(&words);
        assert!([0, 1, 2].contains(&ran.code) && !ran.err.contains("panicked"), "{}", &ran.err[..200]);
        world.ok("ls");
        world.ok("check");
    }
    // A great many arguments, and the same root a great many times.
    let many: Vec<_> = (0..5000).map(|n| format!("f{n}")).collect();
    for name in &many {
        world.write(name, name);
    }
    let before = world.uuids().len();
    let words: Vec<_> =
        ["push", "f"].into_iter().chain(many.iter().map(String::as_str)).chain(["./f", "f"]).collect();
    world.run(&words).succeeded();
    assert_eq!(world.uuids().len(), before + 1);
    let uuid = latest(&world);
    world.ok(&format!("pull -path out {uuid}"));
    assert_eq!(fs::read(world.path(&format!("work/out{}/f4999", world.text("work")))).unwrap(), b"f4999");
    world.ok("check");
}

#[test]
fn names_and_values_that_are_not_utf8_are_no_drama() {
    let world = plain();
    let odd = OsString::from_vec(b"odd\xff\xfe".to_vec());
    fs::create_dir(world.path("work").join(&odd)).unwrap();
    fs::write(world.path("work").join(&odd).join("f"), "content").unwrap();
    world.run([OsStr::new("push"), &odd]).succeeded();
    let path = OsString::from_vec(
        [b":".to_vec(), world.text("work").into_bytes(), b"/odd\xff\xfe/f".to_vec()].concat(),
    );
    assert_eq!(world.run([OsStr::new("cat"), &path]).succeeded(), "content");
    world.run([OsStr::new("pull"), OsStr::new("-rebase"), OsStr::new("-path"), &odd, &path]).succeeded();
    assert_eq!(fs::read(world.path("work").join(&odd).join("f")).unwrap(), b"content");
    world
        .run([
            OsStr::new("on"),
            &OsString::from_vec(b"repo\xff".to_vec()),
            OsStr::new("create"),
            OsStr::new("-no-encryption"),
        ])
        .succeeded();
    for words in [[&odd, &odd], [&OsString::from("ls"), &odd], [&OsString::from("-hostname"), &odd]] {
        let ran = world.run(words);
        assert!([1, 2].contains(&ran.code) && ran.err.starts_with("plakar: "), "{ran:?}");
    }
}

#[test]
fn an_output_that_is_closed_or_goes_away_is_quiet() {
    let world = plain();
    for n in 0..300 {
        world.write(&format!("tree/{n}-{}", "long name ".repeat(20)), "x");
    }
    world.ok("push tree");
    world.write("large", vec![b'x'; 8 << 20]);
    world.ok("push large");
    let uuids = world.uuids();
    let large = format!("{}:{}", uuids[1], world.text("work/large"));
    let lines = [
        format!("plakar ls -recursive {}", uuids[0]),
        format!("plakar -json ls -recursive {}", uuids[0]),
        format!("plakar cat {large}"),
        "plakar help".into(),
        "plakar ls".into(),
        "plakar info".into(),
    ];
    for line in &lines {
        let ran = world.shell(&format!("{line} | head -c 1"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        // The reader is gone before the first byte.
        let ran = world.shell(&format!("({line}; echo $? >&2) 2>err | true; cat err"));
        assert!(ran.out.trim() == "0" || ran.out.trim() == "1", "{line}: {ran:?}");
        let ran = within(world.command("sh").args(["-c", &format!("{line} >&-")]), A_WHILE);
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(
            !err.contains("panicked") && [Some(0), Some(1)].contains(&ran.status.code()),
            "{line}: {err}"
        );
        let ran = world.shell(&format!("{line} >/dev/full"));
        assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{line}: {ran:?}");
        assert!(
            ran.err.contains("cannot write to standard output: No space left on device"),
            "{line}: {ran:?}"
        );
        assert_eq!(world.shell(&format!("{line} >/dev/null 2>&-")).code, 0, "{line}");
        assert_eq!(world.shell(&format!("{line} >/dev/null <&-")).code, 0, "{line}");
    }
    // What writes does its work whoever listens; no file of ours ends up where the output was.
    world.ok("on other create -no-encryption");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let ran = world.shell(&format!("plakar on other push tree {closed}"));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{closed}");
        let ran = world.shell(&format!(
            "plakar on other pull -path out $(plakar on other ls | tail -n 1 | cut -c 22-58) {closed}"
        ));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{closed}");
        world.ok("on other check");
    }
    let ran = world.shell("plakar on other push nowhere tree 2>&- >&- <&-");
    assert_eq!(ran.code, 1);
}
