//! What carries the bytes: the pipes of a program that leads to a server.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// How a server is reached. Called again when a connection broke.
pub trait Connect: Send + Sync {
    /// Makes a connection.
    ///
    /// # Errors
    /// When there is nothing to make it with. That nobody answers shows later.
    fn connect(&self) -> io::Result<Pipes>;

    /// What reached nobody, for messages.
    fn peer(&self) -> String;
}

/// Bytes both ways, until it is dropped. What it leads to is then ended.
#[derive(Debug)]
pub struct Pipes {
    /// What the server says.
    pub read: OwnedFd,
    /// What the server hears.
    pub write: OwnedFd,
    /// What leads there, if it is a program.
    pub child: Option<Child>,
}

/// A program whose standard input and output are the connection: `ssh`, asked for the subsystem `sftp` of a machine, or
/// a server itself. What it says on standard error is shown.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub program: OsString,
    /// What it is given.
    pub arguments: Vec<OsString>,
}

impl Connect for Program {
    fn connect(&self) -> io::Result<Pipes> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (read, write) = (child.stdout.take(), child.stdin.take());
        let (read, write) = (read.expect("it is piped").into(), write.expect("it is piped").into());
        Ok(Pipes { read, write, child: Some(child) })
    }

    fn peer(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}
