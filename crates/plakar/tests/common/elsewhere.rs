//! Repositories on other machines: a real sshd on loopback, and what must work wherever a repository is.

use super::World;
use super::tree::{is_root, skipped};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An executable script in the working directory.
pub fn script(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.write(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Makes a repository at `there`, which is the world's, and uses every command on it, and on a `copy` beside it.
pub fn every_command(world: &World, there: &str, copy: &str, encrypted: bool) {
    world.fails("ls", 10, "there is no repository here");
    world.ok(if encrypted { "create" } else { "create -no-encryption" });
    world.fails("create", 1, "there is a repository already");
    world.write("data/one", vec![1; 300_000]);
    world.write("data/two", "two");
    world.ok("push data");
    let listed = world.ok("ls");
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
    world.ok(&format!("on here clone {copy}"));
    assert_eq!(world.ok(&format!("on {copy} ls")), listed);
    world.write("data/three", "three");
    world.ok("on here push data");
    world.ok(&format!("on here sync {there}"));
    assert_eq!(world.ok("ls"), world.ok("on here ls"));
    world.ok(&format!("sync {copy}"));
    assert_eq!(world.ok(&format!("on {copy} check")), "");
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

/// A real server on loopback, for whoever runs this test, and how it is reached.
pub struct Sshd {
    child: Child,
    pub port: u16,
}

impl Sshd {
    /// Starts it; from then on `ssh` in that world knows it as `backup`. `None` if there is none here.
    pub fn start(world: &mut World) -> Option<Sshd> {
        Sshd::start_with(world, "Subsystem sftp internal-sftp\n")
    }

    /// The same with more lines of configuration.
    pub fn start_with(world: &mut World, more: &str) -> Option<Sshd> {
        if !PathBuf::from("/usr/sbin/sshd").exists() {
            skipped("there is no sshd");
            return None;
        }
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
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n{more}",
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
        world.set("PLAKAR_SSH", &world.text("work/ssh"));
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
        Some(Sshd { child, port })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
