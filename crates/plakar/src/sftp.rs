//! Repositories in folders of other machines where plakar need not be: `sftp://[user@]host[:port]/path`.
//!
//! They are reached with the user's own `ssh`, as those at `ssh://` are ([`crate::ssh`]): keys, jump hosts and names of
//! hosts are those of its configuration, it asks at the terminal what it has to ask, and `PLAKAR_SSH` names another program.
//! A path that begins with `~/` is where the server begins, which is the home directory on most.

use crate::ssh::Machine;
use plakar_store::Line;
use plakar_store_sftp::{Connect, Program, SftpStore};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What such a name begins with.
pub const SCHEME: &[u8] = b"sftp://";

/// A dead line is noticed within a minute, and one that is not there yet is not waited for longer than for others.
const FLAGS: [&str; 4] = ["-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-oConnectTimeout=20", "-s"];

/// A repository in a folder of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sftp {
    /// As it was typed.
    name: OsString,
    machine: Machine,
    path: Vec<u8>,
}

impl Sftp {
    /// Reads a name. An error says what is missing.
    pub fn parse(typed: &OsStr) -> Result<Sftp, &'static str> {
        let rest = typed.as_bytes().strip_prefix(SCHEME).ok_or("it is no sftp:// name")?;
        let (machine, path) = Machine::parse(rest)?;
        let path = match path {
            b"/~" | b"/~/" => return Err("which folder there?"),
            _ if path.starts_with(b"/~/") => [b"./", &path[3..]].concat(),
            _ => path.to_vec(),
        };
        if path.contains(&0) {
            return Err("its path is none");
        }
        Ok(Sftp { name: typed.to_owned(), machine, path })
    }

    /// As it was typed.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens the store that is there.
    pub fn open(&self, line: &Line) -> plakar_store::Result<SftpStore> {
        SftpStore::open(self.way(), &self.path, self.shown(), &line.bandwidth, line.patience)
    }

    /// Makes an empty store there.
    pub fn create(&self, line: &Line) -> plakar_store::Result<SftpStore> {
        SftpStore::create(self.way(), &self.path, self.shown(), &line.bandwidth, line.patience)
    }

    fn shown(&self) -> String {
        self.name.to_string_lossy().replace('\n', "\\x0a")
    }

    fn way(&self) -> Box<dyn Connect> {
        let (program, arguments) = self.machine.program(&FLAGS, "sftp".into());
        Box::new(Program { program, arguments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_machine_and_a_folder() {
        let parsed = |typed: &str| Sftp::parse(OsStr::new(typed)).unwrap();
        let words = |typed: &str| {
            let (_, arguments) = parsed(typed).machine.program(&FLAGS[3..], "sftp".into());
            arguments.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(words("sftp://host/srv/x"), ["-s", "--", "host", "sftp"]);
        assert_eq!(words("sftp://me@[::1]:2222/x"), ["-s", "-p", "2222", "--", "me@::1", "sftp"]);
        assert_eq!(parsed("sftp://host/srv/it's").path, b"/srv/it's");
        assert_eq!(parsed("sftp://host/~/x").path, b"./x");
        for bad in
            ["sftp://", "sftp://host", "sftp://host/", "sftp://host/~/", "sftp://-oX=y/z", "sftp://host:0/x"]
        {
            assert!(Sftp::parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
