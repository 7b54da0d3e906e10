//! What goes wrong inside, and how a caller is told.

use std::{fmt::Display, io};

use plakar_store::{Error, ErrorKind};
use rusqlite::ffi::{self, ErrorCode};
use rustix::fs::Access;

use crate::place::Place;

/// Why an operation on the database failed, before it is known to whom it must be told.
#[derive(Debug)]
pub enum Failed {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// There is no such object.
    Missing,
    /// The object holds other bytes.
    Other,
    /// The object's parts do not hold what was asked for; with how much was, or what is wrong with them.
    Short(String),
    /// The object is longer than allowed; its length.
    TooLarge(u64),
    /// What only damage, or a stranger's hand, can have left in the tables.
    Damaged(&'static str),
    /// What is there is no store; what it is instead.
    Foreign(String),
    /// This handle only reads, and why.
    ReadOnly(&'static str),
    /// The operating system says so, not by way of SQLite.
    System(io::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(e: rusqlite::Error) -> Failed {
        Failed::Sqlite(e)
    }
}

impl Place {
    /// The error of `operation` on `what` (an object, or nothing) in this place.
    pub fn error(&self, operation: &str, what: impl Display, failed: Failed) -> Error {
        let all = format!("{operation} {what} in {}", self.location());
        let refusal = |kind| Error::new(kind, format!("{what} in {}", self.location()));
        match failed {
            Failed::Sqlite(e) => {
                let (kind, text) = self.translate(&e);
                Error::io(all, io::Error::new(kind, text))
            }
            Failed::Missing => refusal(ErrorKind::NotFound),
            Failed::Other => refusal(ErrorKind::Exists),
            Failed::Short(why) => {
                Error::new(ErrorKind::Short, format!("{what}, {why}, in {}", self.location()))
            }
            Failed::TooLarge(len) => {
                Error::new(ErrorKind::TooLarge, format!("{what}, {len} bytes, in {}", self.location()))
            }
            Failed::Foreign(why) => Error::new(ErrorKind::Foreign, format!("{}: {why}", self.path.display())),
            Failed::Damaged(how) => {
                let how = format!("the database is damaged: {how}");
                Error::io(all, io::Error::new(io::ErrorKind::InvalidData, how))
            }
            Failed::ReadOnly(why) => Error::io(all, io::Error::new(io::ErrorKind::PermissionDenied, why)),
            Failed::System(e) => Error::io(all, e),
        }
    }

    /// The kind of an error of SQLite, and a sentence. The kinds are those of which [`Error::io`] makes the
    /// store's.
    fn translate(&self, e: &rusqlite::Error) -> (io::ErrorKind, String) {
        let Some(sqlite) = e.sqlite_error() else {
            // A value of another type than the column's, or text that is none.
            return (io::ErrorKind::InvalidData, format!("the database is damaged: {e}"));
        };
        match sqlite.code {
            ErrorCode::DiskFull => (io::ErrorKind::StorageFull, e.to_string()),
            // The index of the log is shared memory in a file of its own, which could not grow.
            _ if sqlite.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                (io::ErrorKind::StorageFull, "no room for the -shm file beside the database".into())
            }
            ErrorCode::CannotOpen => self.cannot_open(),
            // Not a change was refused, but the making of what reading needs.
            ErrorCode::ReadOnly if sqlite.extended_code != ffi::SQLITE_READONLY => self.cannot_open(),
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied => (io::ErrorKind::PermissionDenied, e.to_string()),
            ErrorCode::DatabaseBusy => {
                let waited = self.patience.as_secs_f32().round();
                (io::ErrorKind::Other, format!("another process has been writing for {waited} s"))
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig => {
                (io::ErrorKind::InvalidData, format!("the database is damaged: {e}"))
            }
            _ => (io::ErrorKind::Other, e.to_string()),
        }
    }

    /// SQLite does not tell why it could not open a file, nor which: the database or one beside it.
    fn cannot_open(&self) -> (io::ErrorKind, String) {
        if let Err(e) = std::fs::metadata(&self.file) {
            return (e.kind(), e.to_string());
        }
        let both = Access::READ_OK | Access::WRITE_OK;
        let folder = self.file.parent().unwrap_or(&self.file);
        if rustix::fs::access(&self.file, both).and_then(|()| rustix::fs::access(folder, both)).is_err() {
            let why = "reading it needs permission to write it and its folder, where the files named -wal and \
                       -shm belong";
            return (io::ErrorKind::PermissionDenied, why.into());
        }
        (io::ErrorKind::Other, "it, or the file named -wal or -shm beside it, could not be opened".into())
    }
}
