//! Repositories on other machines, reached with the user's own `ssh`: `ssh://[user@]host[:port]/path`.
//!
//! What is there is what `plakar stdio` gives access to: a folder, or a database if the path begins with `sqlite://`. A path
//! that begins with `~/` is in the home directory there. Keys, jump hosts and names of hosts are those of the user's
//! configuration of ssh; `PLAKAR_SSH` names another program than `ssh`, `PLAKAR_REMOTE` another than `plakar` there.

use plakar_net::{Connect, NetStore, Paced, Program};
use plakar_store::Line;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What such a name begins with.
pub const SCHEME: &[u8] = b"ssh://";

/// A machine that ssh reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// `host` or `user@host`.
    host: OsString,
    port: Option<u16>,
}

/// A repository on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// As it was typed.
    name: OsString,
    machine: Machine,
    /// What the repository is called there.
    path: Vec<u8>,
}

impl Machine {
    /// Reads what stands behind a scheme: a machine, and the path behind it with its slash. An error says what is missing.
    pub fn parse(rest: &[u8]) -> Result<(Machine, &[u8]), &'static str> {
        let slash = rest.iter().position(|b| *b == b'/').ok_or("which repository on that machine?")?;
        let (at, path) = rest.split_at(slash);
        let (host, port) = match at.iter().rposition(|b| *b == b':') {
            // An address of many colons stands in brackets, as in other such names.
            Some(colon) if !at[colon..].contains(&b']') => {
                let port = std::str::from_utf8(&at[colon + 1..]).ok().and_then(|port| port.parse().ok());
                (&at[..colon], Some(port.filter(|port| *port > 0).ok_or("its port is no number of a port")?))
            }
            _ => (at, None),
        };
        let host: Vec<u8> = host.iter().copied().filter(|b| !b"[]".contains(b)).collect();
        // What begins so would be a flag of ssh.
        if host.is_empty() || host.starts_with(b"-") || host.starts_with(b"@") || host.ends_with(b"@") {
            return Err("it names no machine");
        }
        match path {
            b"/" => Err("which repository on that machine?"),
            path => Ok((Machine { host: OsString::from_vec(host), port }, path)),
        }
    }

    /// The user's ssh, and what it is given to do `what` there.
    pub fn program(&self, flags: &[&str], what: OsString) -> (OsString, Vec<OsString>) {
        let mut arguments: Vec<OsString> = flags.iter().map(Into::into).collect();
        if let Some(port) = self.port {
            arguments.extend(["-p".into(), port.to_string().into()]);
        }
        arguments.extend(["--".into(), self.host.clone(), what]);
        (or("PLAKAR_SSH", "ssh"), arguments)
    }
}

/// A variable of the environment, or what stands for it.
fn or(name: &str, or: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| or.into())
}

impl Ssh {
    /// Reads what stands behind the scheme. An error says what is missing.
    pub fn parse(typed: &OsStr) -> Result<Ssh, &'static str> {
        let rest = typed.as_bytes().strip_prefix(SCHEME).ok_or("it is no ssh:// name")?;
        let (machine, path) = Machine::parse(rest)?;
        let path = match path {
            _ if path.starts_with(b"/sqlite://") => path[1..].to_vec(),
            // That is where a shell begins.
            _ if path.starts_with(b"/~/") => [b"./", &path[3..]].concat(),
            _ => path.to_vec(),
        };
        Ok(Ssh { name: typed.to_owned(), machine, path })
    }

    /// As it was typed.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Whether it is a database there.
    pub fn is_sqlite(&self) -> bool {
        self.path.starts_with(b"sqlite://")
    }

    /// Opens the store that is there.
    pub fn open(&self, line: &Line) -> plakar_store::Result<NetStore> {
        NetStore::open(self.way(line), self.shown(), line.patience)
    }

    /// Makes an empty store there.
    pub fn create(&self, line: &Line) -> plakar_store::Result<NetStore> {
        NetStore::create(self.way(line), self.shown(), line.patience)
    }

    fn shown(&self) -> String {
        self.name.to_string_lossy().replace('\n', "\\x0a")
    }

    fn way(&self, line: &Line) -> Box<dyn Connect> {
        Box::new(Paced::new(Box::new(self.program()), line.bandwidth.clone()))
    }

    fn program(&self) -> Program {
        let command =
            [or("PLAKAR_REMOTE", "plakar").as_bytes(), b" on ", &quoted(&self.path), b" stdio"].concat();
        let (program, arguments) = self.machine.program(&["-T"], OsString::from_vec(command));
        Program { program, arguments }
    }
}

/// A word for a shell.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(typed: &str) -> Vec<String> {
        let program = Ssh::parse(OsStr::new(typed)).unwrap().program();
        program.arguments.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_name_becomes_a_command() {
        assert_eq!(arguments("ssh://host/srv/x"), ["-T", "--", "host", "plakar on '/srv/x' stdio"]);
        assert_eq!(
            arguments("ssh://me@host:2222/~/it's"),
            ["-T", "-p", "2222", "--", "me@host", "plakar on './it'\\''s' stdio"]
        );
        assert_eq!(
            arguments("ssh://[::1]:22/sqlite:///srv/x.db"),
            ["-T", "-p", "22", "--", "::1", "plakar on 'sqlite:///srv/x.db' stdio"]
        );
        assert_eq!(arguments("ssh://[fe80::1]/x")[2], "fe80::1");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "ssh://",
            "ssh:///srv",
            "ssh://host",
            "ssh://host/",
            "ssh://host:/x",
            "ssh://host:0/x",
            "ssh://host:70000/x",
            "ssh://host:x/x",
            "ssh://-oProxyCommand=x/y",
            "ssh://@/x",
            "ssh://me@/x",
        ] {
            assert!(Ssh::parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
