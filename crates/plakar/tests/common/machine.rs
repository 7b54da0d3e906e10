//! A machine with a server on it.

use super::World;
use super::tree::finish;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A machine with a server on it, until it is dropped.
pub struct Machine {
    pub world: World,
    pub running: Option<Child>,
    /// What it said that it listens on, without TLS,
    pub url: String,
    /// and what it is to be known by.
    pub fingerprint: String,
}

impl Machine {
    /// One with a server of what is at `work/served`.
    pub fn start(flags: &str) -> Machine {
        let mut machine = Machine::of(World::new());
        fs::create_dir(machine.world.path("work/served")).unwrap();
        machine.run("127.0.0.1:0", flags);
        machine
    }

    pub fn of(world: World) -> Machine {
        Machine { world, running: None, url: String::new(), fingerprint: String::new() }
    }

    /// Starts the server, which must begin to listen.
    pub fn run(&mut self, listen: &str, flags: &str) {
        let mut command = self.world.command(env!("CARGO_BIN_EXE_plakar"));
        command.args(["on", "served", "server", "-listen", listen, "-log", "log"]);
        command.args(flags.split_whitespace()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (first, second) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
        self.running = Some(child);
        // On all addresses is on this one as well.
        let address = first.strip_prefix("plakar://").unwrap().replace("0.0.0.0:", "127.0.0.1:");
        assert!(address.starts_with("127.0.0.1:"), "{first}");
        self.url = format!("http://{address}");
        self.fingerprint = second.strip_prefix("fingerprint ").unwrap().to_owned();
    }

    pub fn address(&self) -> &str {
        self.url.split("://").nth(1).unwrap()
    }

    pub fn token(&self, words: &str) -> String {
        self.world.ok(&format!("on served server token add {words}")).trim_end().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.world.path("work/log")).unwrap()
    }

    /// Asks it to end, and waits until it has: it must end well, and in time.
    pub fn stop(&mut self) {
        let child = self.running.take().unwrap();
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        assert_eq!(finish(child, Duration::from_secs(30), "the server").status.code(), Some(0));
    }

    pub fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A world whose repository is on that machine.
pub fn client(machine: &Machine, name: &str) -> World {
    let mut world = World::new();
    world.set("PLAKAR_REPOSITORY", &format!("{}{name}", machine.url));
    world.set("PLAKAR_PASSPHRASE", "a passphrase");
    world
}
