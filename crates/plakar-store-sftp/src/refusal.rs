//! What a server says of a failure, as an error of a store.
//!
//! Version 3 has few words: most of what goes wrong is "failure", and a full disk is one of them. So whoever meets one
//! while writing asks how much room there is.

use crate::connection::{Connection, Tried, nonsense};
use crate::wire::{self, Reply, Request, Room, status};
use plakar_store::{Error, ErrorKind};
use std::fmt::Display;

/// What servers that tell more than "failure" say of a full disk.
const FULL: [&str; 3] = ["no space", "quota", "disk full"];

/// What a server said instead of doing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the status.
    pub code: u32,
    text: String,
}

impl Refusal {
    /// There is no such file or folder.
    pub fn is_missing(&self) -> bool {
        self.code == status::NO_SUCH_FILE
    }

    /// As an error; `what` names the operation, the object and the store.
    pub fn error(&self, what: impl Display) -> Error {
        match self.code {
            status::NO_SUCH_FILE => Error::new(ErrorKind::NotFound, what.to_string()),
            status::PERMISSION_DENIED => Error::new(ErrorKind::Denied, what.to_string()),
            _ if FULL.iter().any(|full| self.text.to_lowercase().contains(full)) => {
                Error::new(ErrorKind::Full, what.to_string())
            }
            code => {
                let said = match (self.text.trim(), code) {
                    ("", status::UNSUPPORTED) => "it cannot do that".into(),
                    ("", code) => format!("status {code}"),
                    (text, _) => format!("{text:?}"),
                };
                Error::new(ErrorKind::Io, format!("{what}: the server says {said}"))
            }
        }
    }

    /// The same, of a write of so many bytes beneath `root`: why it was refused is looked for where it can be found.
    pub fn error_of_writing(
        &self,
        connection: &Connection,
        root: &[u8],
        bytes: u64,
        what: impl Display,
    ) -> Tried<Error> {
        let error = self.error(&what);
        if self.code != status::FAILURE || error.kind() != ErrorKind::Io || !connection.abilities().tells_room
        {
            return Ok(error);
        }
        let Reply::Extended(told) = connection.ask(&Request::Room(root))? else { return Ok(error) };
        Ok(match wire::read_room(&told) {
            Some(Room { read_only: true, .. }) => Error::new(ErrorKind::Denied, what.to_string()),
            Some(Room { bytes: left, files, .. }) if left < bytes.max(4096) || files == Some(0) => {
                Error::new(ErrorKind::Full, what.to_string())
            }
            _ => error,
        })
    }
}

/// What is done, or why not.
pub type Done<T> = Result<T, Refusal>;

fn refused<T>(reply: Reply, what: &str) -> Tried<Done<T>> {
    match reply {
        Reply::Status(status::OK | status::EOF, _) => Err(nonsense(what)),
        Reply::Status(code, text) => Ok(Err(Refusal { code, text })),
        _ => Err(nonsense(what)),
    }
}

/// An answer that says no more than how it went.
pub fn done(reply: Reply) -> Tried<Done<()>> {
    match reply {
        Reply::Status(status::OK, _) => Ok(Ok(())),
        reply => refused(reply, "how it went"),
    }
}

/// An answer that is a handle.
pub fn handle(reply: Reply) -> Tried<Done<Vec<u8>>> {
    match reply {
        Reply::Handle(handle) => Ok(Ok(handle)),
        reply => refused(reply, "a handle"),
    }
}

/// An answer that says what something is; `None` if nothing is there.
pub fn attributes(reply: Reply) -> Tried<Done<Option<wire::Attributes>>> {
    match reply {
        Reply::Attributes(found) => Ok(Ok(Some(found))),
        Reply::Status(status::NO_SUCH_FILE, _) => Ok(Ok(None)),
        reply => refused(reply, "attributes"),
    }
}

/// Names, and what they are of.
pub type Names = Vec<(Vec<u8>, wire::Attributes)>;

/// An answer that is names; `None` after the last.
pub fn names(reply: Reply) -> Tried<Done<Option<Names>>> {
    match reply {
        Reply::Names(names) => Ok(Ok(Some(names))),
        Reply::Status(status::EOF, _) => Ok(Ok(None)),
        reply => refused(reply, "names"),
    }
}
