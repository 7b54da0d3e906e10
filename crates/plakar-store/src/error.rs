//! What can go wrong with a store.

use std::{fmt, io};

/// What happened, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such object (or, when opening, no such store).
    NotFound,
    /// An object of that name holds other bytes; nothing was changed.
    Exists,
    /// The object ends before the range that was asked for.
    Short,
    /// The object is longer than the caller allows.
    TooLarge,
    /// No space left, or over a quota.
    Full,
    /// The store refuses this user or this operation.
    Denied,
    /// What is there is not a store of this kind.
    Foreign,
    /// What the store keeps its objects in is damaged where this one is.
    Damaged,
    /// Anything else: an input or output error, a cut connection.
    Io,
}

/// An error of a store: what, on which object, where, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<io::Error>,
}

/// The result of an operation on a store.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; `what` names the operation and the object or path.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error { kind, what: what.into(), source: None }
    }

    /// An error that an operating-system error caused; the kind follows from it.
    pub fn io(what: impl Into<String>, source: io::Error) -> Error {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ErrorKind::Full
            }
            io::ErrorKind::InvalidData => ErrorKind::Damaged,
            _ => ErrorKind::Io,
        };
        Error { kind, what: what.into(), source: Some(source) }
    }

    /// What happened.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(source) = &self.source {
            return write!(f, ": {source}");
        }
        match self.kind {
            ErrorKind::NotFound => f.write_str(": not found"),
            ErrorKind::Exists => f.write_str(": exists with other bytes"),
            ErrorKind::Short => f.write_str(": truncated"),
            ErrorKind::TooLarge => f.write_str(": too large"),
            ErrorKind::Full => f.write_str(": no space left"),
            ErrorKind::Denied => f.write_str(": permission denied"),
            ErrorKind::Foreign => f.write_str(": not a store"),
            ErrorKind::Damaged => f.write_str(": damaged"),
            ErrorKind::Io => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
