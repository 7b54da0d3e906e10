//! Repositories in folders of other machines, reached by SFTP: with OpenSSH's server in place of `ssh`, and over a real sshd
//! on loopback.

mod common;

use common::World;
use common::elsewhere::{Sshd, every_command, script};
use common::tree::{finish, noise};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian has it.
const SERVER: &str = "/usr/lib/openssh/sftp-server";

/// A world whose ssh is a server of SFTP right here, that begins where we work.
fn near() -> World {
    let mut world = World::new();
    script(&world, "ssh", &format!("echo \"$@\" >>connections\nexec {SERVER}"));
    world.set("PLAKAR_SSH", &world.text("work/ssh"));
    world
}

#[test]
fn every_command_works_on_a_repository_elsewhere() {
    for encrypted in [true, false] {
        let mut world = near();
        let there = format!("sftp://me@host:2222{}", world.text("work/there"));
        world.set("PLAKAR_REPOSITORY", &there);
        world.set("PLAKAR_PASSPHRASE", "a passphrase");
        every_command(&world, &there, "sftp://host/~/copy", encrypted);
        let connections = || fs::read_to_string(world.path("work/connections")).unwrap();
        let before = connections().lines().count();
        world.ok("ls");
        assert_eq!(connections().lines().count(), before + 1, "one connection is enough");
        assert!(connections().ends_with(" -s -p 2222 -- me@host sftp\n"), "{}", connections());
        // Where it lies it is a repository as any other, and what others do with it there is seen from here.
        let near = World::new().with("PLAKAR_PASSPHRASE", "a passphrase");
        let folder = world.text("work/there");
        assert_eq!(near.ok(&format!("on {folder} check")), "");
        near.write("more", noise(9, 50_000));
        near.ok(&format!("on {folder} push more"));
        assert_eq!(world.ok("ls").lines().count(), 2);
        assert_eq!(world.ok("check"), "");
        // A folder that was one is one from here.
        near.ok(&format!("on {folder} clone {}", world.text("work/folder")));
        assert_eq!(world.ok("on sftp://host/~/folder check"), "");
        assert_eq!(world.ok("on sftp://host/~/folder ls"), world.ok("ls"));
    }
}

#[test]
fn what_is_in_the_way_is_told() {
    let mut world = near();
    world.write("file", "no repository");
    world.write("photos/Summer.jpg", "private");
    let work = world.text("work");
    world.fails(&format!("on sftp://host{work}/file ls"), 10, "sftp://host");
    world.fails(&format!("on sftp://host{work}/nowhere ls"), 10, "there is no repository here");
    world.fails(&format!("on sftp://host{work}/photos ls"), 10, "there is no repository here");
    world.fails("on sftp://host ls", 2, "which repository on that machine?");
    world.fails("on sftp://host/~/ ls", 2, "which folder there?");
    world.fails("on sftp://-oProxyCommand=x/y ls", 2, "it names no machine");
    let create = |path: &str| format!("on sftp://host{work}/{path} create -no-encryption");
    world.fails(&create("no/where"), 1, "the folder above it is missing");
    world.fails(&create("photos"), 1, "the folder is not empty");
    world.fails(&create("file"), 1, "sftp://host");
    world.ok("on here create -no-encryption");
    world.fails(&format!("on here clone sftp://host{work}/photos"), 1, "the folder is not empty");
    assert_eq!(fs::read_dir(world.path("work/photos")).unwrap().count(), 1);
    fs::create_dir(world.path("work/begun")).unwrap();
    world.write("begun/.tmp-0123456789abcdef", "");
    world.ok(&format!("on here clone sftp://host{work}/begun"));

    script(&world, "ssh", "echo 'no route to host' >&2; exit 255");
    let began = Instant::now();
    let ran = world.fails(&format!("on sftp://host{work}/x ls"), 1, "sftp://host");
    assert!(ran.err.contains("no route to host") && ran.err.contains("255"), "{}", ran.err);
    script(&world, "ssh", "echo 'Welcome to this machine!'; sleep 1");
    let ran = world.fails(&format!("on sftp://host{work}/x ls"), 1, "sftp://host");
    assert!(ran.err.contains("Welc"), "{}", ran.err);
    world.set("PLAKAR_SSH", "/nowhere/ssh");
    world.fails(&format!("on sftp://host{work}/x ls"), 1, "/nowhere/ssh");
    assert!(began.elapsed() < Duration::from_secs(30), "whoever cannot be reached is not waited for");
}

#[test]
fn a_server_that_cannot_flush_is_told_of_to_whoever_writes() {
    let mut world = near();
    world.write("data/f", noise(1, 100_000));
    world.set("PLAKAR_REPOSITORY", "sftp://host/~/there");
    script(&world, "ssh", &format!("exec {SERVER} -P fsync"));
    for words in ["create -no-encryption", "push data"] {
        let ran = world.line(words);
        assert_eq!((ran.code, ran.err.lines().count()), (0, 1), "{ran:?}");
        assert!(ran.err.contains("the server cannot flush files to its disk"), "{ran:?}");
    }
    assert_eq!(world.ok("ls").lines().count(), 1, "whoever reads need not know");
    script(&world, "ssh", &format!("exec {SERVER}"));
    world.ok("push data");
}

#[test]
fn a_push_goes_on_over_connections_that_break() {
    let mut world = near();
    script(&world, "ssh", &format!("echo $$ >pid.new && mv pid.new pid\nexec {SERVER}"));
    world.set("PLAKAR_REPOSITORY", "sftp://host/~/there");
    world.ok("create -no-encryption");
    for n in 0..60 {
        world.write(&format!("data/{n}"), noise(n, 1 << 20));
    }
    let mut push = world.command(env!("CARGO_BIN_EXE_plakar")).args(["push", "data"]).spawn().unwrap();
    let (log, began) = (world.path("work/there/log"), Instant::now());
    let mut cuts = 0;
    while push.try_wait().unwrap().is_none() && cuts < 6 {
        assert!(began.elapsed() < Duration::from_secs(120));
        // Whoever was never reached is not waited for; this one was.
        if fs::read_dir(&log).is_ok_and(|mut log| log.next().is_some()) {
            let pid = fs::read_to_string(world.path("work/pid")).unwrap();
            let killed = Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status();
            cuts += usize::from(killed.unwrap().success());
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(finish(push, Duration::from_secs(120), "the push").status.success());
    assert!(cuts > 1, "{cuts}");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls").lines().count(), 1);
}

#[test]
fn a_push_that_is_killed_is_made_again() {
    let mut world = near();
    world.set("PLAKAR_REPOSITORY", "sftp://host/~/there");
    world.ok("create -no-encryption");
    for n in 0..30 {
        world.write(&format!("data/{n}"), noise(n, 1 << 20));
    }
    for round in 0..4 {
        let mut push = world.command(env!("CARGO_BIN_EXE_plakar")).args(["push", "data"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + 70 * round));
        let _ = push.kill();
        push.wait().unwrap();
        assert_eq!(world.ok("check"), "");
    }
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
    assert_eq!(World::new().ok(&format!("on {} check", world.text("work/there"))), "");
}

#[test]
fn pushes_from_there_and_from_elsewhere_may_be_made_at_once() {
    let (mut far, local) = (near(), World::new());
    let there = far.text("work/there");
    far.set("PLAKAR_REPOSITORY", "sftp://host/~/there");
    far.ok("create -no-encryption");
    let pushes: Vec<_> = (0..6)
        .map(|n| {
            let (world, place) =
                if n % 2 == 0 { (&far, "sftp://host/~/there") } else { (&local, there.as_str()) };
            world.write(&format!("data{n}/own"), noise(n, 2 << 20));
            world.write(&format!("data{n}/shared"), noise(99, 2 << 20));
            let words = ["on", place, "push", &format!("data{n}")].map(str::to_owned);
            world.command(env!("CARGO_BIN_EXE_plakar")).args(words).spawn().unwrap()
        })
        .collect();
    for push in pushes {
        assert!(finish(push, Duration::from_secs(60), "a push").status.success());
    }
    for (world, place) in [(&far, "sftp://host/~/there"), (&local, &there)] {
        assert_eq!(world.ok(&format!("on {place} ls")).lines().count(), 6);
        assert_eq!(world.ok(&format!("on {place} check")), "");
    }
}

#[test]
fn limits_are_kept() {
    let mut world = near();
    world.set("PLAKAR_REPOSITORY", "sftp://host/~/there");
    world.ok("create -no-encryption");
    world.write("data/f", noise(1, 2 << 20));
    let began = Instant::now();
    world.ok("-limit-upload 1M push data");
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
    let began = Instant::now();
    world.ok(&format!("-limit-download 1M pull -path out {}", world.uuids()[0]));
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn over_the_real_ssh_everything_arrives() {
    let mut world = World::new();
    let Some(sshd) = Sshd::start(&mut world) else { return };
    let there = format!("sftp://backup{}", world.text("work/there"));
    world.set("PLAKAR_PASSPHRASE", "a passphrase");
    world.ok(&format!("on {there} create"));
    for n in 0..40u32 {
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2 * n + 1) >> 5) as u8).collect();
        world.write(&format!("data/{n}"), bytes);
    }
    world.ok(&format!("on {there} push data"));
    assert_eq!(world.ok(&format!("on {there} check")), "");
    world.ok(&format!("on {there} clone here"));
    assert_eq!(world.ok("on here ls"), world.ok(&format!("on {there} ls")));
    let local = World::new().with("PLAKAR_PASSPHRASE", "a passphrase");
    assert_eq!(local.ok(&format!("on {} check", world.text("work/there"))), "");
    world.fails(
        &format!("on sftp://backup{}/none ls", world.text("work")),
        10,
        "there is no repository here",
    );

    // Whoever is not let in is told by ssh why, and by us where.
    let authorized = world.path("home/ssh/authorized");
    let own = fs::read(&authorized).unwrap();
    fs::write(&authorized, fs::read(world.path("home/ssh/other.pub")).unwrap()).unwrap();
    let ran = world.fails(&format!("on {there} ls"), 1, "sftp://backup");
    assert!(ran.err.contains("Permission denied"), "{}", ran.err);
    fs::write(&authorized, own).unwrap();
    // Another machine in its place is not talked to.
    let known = world.path("home/ssh/known");
    let other = fs::read_to_string(world.path("home/ssh/other.pub")).unwrap();
    let right = fs::read(&known).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let ran = world.fails(&format!("on {there} ls"), 1, "sftp://backup");
    assert!(ran.err.contains("HOST IDENTIFICATION HAS CHANGED"), "{}", ran.err);
    fs::write(&known, right).unwrap();
    world.ok(&format!("on {there} ls"));
    drop(sshd);
    world.fails(&format!("on {there} ls"), 1, "sftp://backup");
}

#[test]
fn a_machine_without_sftp_is_told() {
    let mut world = World::new();
    let Some(_sshd) = Sshd::start_with(&mut world, "") else { return };
    let ran = world.fails(&format!("on sftp://backup{}/x ls", world.text("work")), 1, "sftp://backup");
    assert!(ran.err.contains("subsystem request failed"), "{}", ran.err);
}
