//! Repositories on another machine, reached with ssh: with a program in its place that runs what it is given here, and
//! with the real ones over loopback.

mod common;

use common::World;
use common::elsewhere::{Sshd, every_command, script};
use common::tree::{finish, noise};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A world whose ssh runs what it is given right here.
fn near() -> World {
    let mut world = World::new();
    script(&world, "ssh", "for last; do :; done\necho x >>connections\nexec sh -c \"$last\"");
    world.set("PLAKAR_SSH", &world.text("work/ssh"));
    world
}

fn connections(world: &World) -> usize {
    fs::read_to_string(world.path("work/connections")).unwrap_or_default().lines().count()
}

#[test]
fn every_command_works_on_a_repository_elsewhere() {
    for (encrypted, is_sqlite) in [(true, false), (false, true)] {
        let mut world = near();
        let inner = world.text("work/there");
        let there = match is_sqlite {
            true => format!("ssh://host/sqlite://{inner}"),
            false => format!("ssh://me@host:2222{inner}"),
        };
        world.set("PLAKAR_REPOSITORY", &there);
        world.set("PLAKAR_PASSPHRASE", "a passphrase");
        every_command(&world, &there, "ssh://host/sqlite://copy.db", encrypted);
        let before = connections(&world);
        world.ok("ls");
        assert_eq!(connections(&world), before + 1, "one connection is enough");
    }
}

#[test]
fn what_is_in_the_way_is_told() {
    let mut world = near();
    world.write("file", "no repository");
    let work = world.text("work");
    world.fails(&format!("on ssh://host{work}/file ls"), 10, "ssh://host");
    world.fails(&format!("on ssh://host{work}/nowhere ls"), 10, "there is no repository here");
    world.fails("on ssh://host ls", 2, "which repository on that machine?");
    world.fails("on ssh://-oProxyCommand=x/y ls", 2, "it names no machine");
    world.fails(&format!("on ssh://host{work}/no/where create -no-encryption"), 1, "ssh://host");
    world.fails("on ssh://host/~/data stdio -nonsense", 2, "nonsense");
    // A name is one word for the shell there, whatever is in it.
    let odd = world.run(["on", "ssh://host/~/it's $(touch harm) here", "create", "-no-encryption"]);
    odd.succeeded();
    assert!(!world.path("work/harm").exists() && world.path("work/it's $(touch harm) here/config").exists());

    // A listing would not show what is no object.
    world.write("photos/Summer.jpg", "private");
    world.ok("on here create -no-encryption");
    world.fails(&format!("on ssh://host{work}/photos create -no-encryption"), 1, "something else is there");
    world.fails(&format!("on here clone ssh://host{work}/photos"), 1, "something else is there");
    assert_eq!(fs::read_dir(world.path("work/photos")).unwrap().count(), 1);
    world.write("begun/.tmp-0123456789abcdef", "");
    world.ok(&format!("on here clone ssh://host{work}/begun"));
    assert_eq!(world.ok(&format!("on ssh://host{work}/begun check")), "");
    world.write("begun-and-photos/.tmp-0123456789abcdef", "");
    world.write("begun-and-photos/Summer.jpg", "private");
    world.fails(&format!("on here clone ssh://host{work}/begun-and-photos"), 1, "something else is there");

    script(&world, "ssh", "echo 'no route to host' >&2; exit 255");
    let ran = world.fails(&format!("on ssh://host{work}/x ls"), 1, "ssh://host");
    assert!(ran.err.contains("no route to host"), "{}", ran.err);
    script(&world, "ssh", "echo 'Welcome to this machine!'; sleep 1");
    world.fails(&format!("on ssh://host{work}/x ls"), 1, "ssh://host");
    world.set("PLAKAR_SSH", "/nowhere/ssh");
    world.fails(&format!("on ssh://host{work}/x ls"), 1, "/nowhere/ssh");
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let mut world = near();
    script(
        &world,
        "ssh",
        "for last; do :; done\necho $$ >pid.new && mv pid.new pid\nexec sh -c \"exec $last\"",
    );
    let there = format!("ssh://host{}", world.text("work/there"));
    world.set("PLAKAR_REPOSITORY", &there);
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
fn over_the_real_ssh_everything_arrives() {
    let mut world = World::new();
    let Some(sshd) = Sshd::start(&mut world) else { return };
    world.set("PLAKAR_REMOTE", env!("CARGO_BIN_EXE_plakar"));
    let there = format!("ssh://backup{}", world.text("work/there"));
    world.set("PLAKAR_PASSPHRASE", "a passphrase");
    world.ok(&format!("on {there} create"));
    for n in 0..40u32 {
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2 * n + 1) >> 5) as u8).collect();
        world.write(&format!("data/{n}"), bytes);
    }
    world.ok(&format!("on {there} push data"));
    assert_eq!(world.ok(&format!("on {there} check")), "");
    world.ok(&format!("on {there} clone here"));
    assert_eq!(world.ok("on here check"), "");
    assert_eq!(world.ok("on here ls"), world.ok(&format!("on {there} ls")));
    // Where it lies the same files are a repository as any other.
    assert_eq!(world.ok(&format!("on {} ls", world.text("work/there"))), world.ok("on here ls"));
    world.fails(&format!("on ssh://backup{}/none ls", world.text("work")), 10, "there is no repository here");

    // Another machine in its place is not talked to.
    let known = world.path("home/ssh/known");
    let other = fs::read_to_string(world.path("home/ssh/other.pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let ran = world.fails(&format!("on {there} ls"), 1, "ssh://backup");
    assert!(ran.err.contains("HOST IDENTIFICATION HAS CHANGED"), "{}", ran.err);
    drop(sshd);
    world.fails(&format!("on {there} ls"), 1, "ssh://backup");
}
