//! Repositories on another machine, reached with ssh: with a program in its place that runs what it is given here, and
//! with the real ones over loopback.

mod common;

use common::World;
use common::tree::{finish, is_root, noise, skipped};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A world whose ssh runs what it is given right here.
fn near() -> World {
    let mut world = World::new();
    script(&world, "ssh", "for last; do :; done\necho x >>connections\nexec sh -c \"$last\"");
    world.set("PLAKAR_SSH", &world.text("work/ssh"));
    world
}

fn script(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.write(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
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
        world.fails("ls", 10, "there is no repository here");
        world.ok(if encrypted { "create" } else { "create -no-encryption" });
        world.fails("create", 1, "there is a repository already");
        world.write("data/one", vec![1; 300_000]);
        world.write("data/two", "two");
        world.ok("push data");
        let before = connections(&world);
        let listed = world.ok("ls");
        assert_eq!(connections(&world), before + 1, "one connection is enough");
        let id = listed.split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(world.ok(&format!("cat {id}:{}/two", world.text("work/data"))), "two");
        assert_eq!(world.ok("check"), "");
        world.ok(&format!("pull -path out {id}"));
        let restored = world.path("work/out").join(world.text("work/data").trim_start_matches('/'));
        assert_eq!(fs::read(restored.join("one")).unwrap(), vec![1; 300_000]);
        world.ok("info");

        // From there to here, from here to there.
        world.ok("clone here");
        assert_eq!(world.ok("on here ls"), listed);
        world.ok("on here clone ssh://host/sqlite://copy.db");
        assert_eq!(world.ok("on ssh://host/sqlite://copy.db ls"), listed);
        world.write("data/three", "three");
        world.ok("on here push data");
        world.ok(&format!("on here sync {there}"));
        assert_eq!(world.ok("ls"), world.ok("on here ls"));
        world.ok("sync ssh://host/sqlite://copy.db");
        assert_eq!(world.ok("on ssh://host/sqlite://copy.db check"), "");
        world.ok("status here");
        world.ok(&format!("rm {id}"));
        world.ok(&format!("undelete {id}"));
        world.ok(&format!("rm {id}"));
        world.ok("cleanup -grace 0");
        assert_eq!(world.ok("check"), "");
        assert_eq!(world.ok("ls").lines().count(), 1);
        world.fails("clone here", 1, "there is a repository already");
        world.fails(&format!("on here clone {there}"), 1, "there is a repository already");
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

/// A real server on loopback, for whoever runs this test, and how it is reached.
struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    fn start(world: &World) -> Sshd {
        let folder = world.path("home/ssh");
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        for key in ["host", "own", "other"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key))
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(folder.join("own.pub"), folder.join("authorized")).unwrap();
        if is_root() {
            // Where it shuts in whoever has yet to prove who he is; the machine's own start makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let text = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            text("host"),
            text("authorized")
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        let known = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known"), format!("[127.0.0.1]:{port} {known}")).unwrap();
        // Whoever has a configuration of his own names machines as he likes.
        let client = format!(
            "Host backup\n HostName 127.0.0.1\n Port {port}\n IdentityFile {}\n UserKnownHostsFile {}\n \
             StrictHostKeyChecking yes\n BatchMode yes\n",
            text("own"),
            text("known")
        );
        fs::write(folder.join("ssh_config"), client).unwrap();
        script(world, "ssh", &format!("exec ssh -F {} \"$@\"", text("ssh_config")));
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(folder.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("it is there");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Sshd { child, port }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn over_the_real_ssh_everything_arrives() {
    if !PathBuf::from("/usr/sbin/sshd").exists() {
        skipped("there is no sshd");
        return;
    }
    let mut world = World::new();
    let sshd = Sshd::start(&world);
    world.set("PLAKAR_SSH", &world.text("work/ssh"));
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
