//! What can go wrong in a repository.

use plakar_store::ErrorKind;
use std::fmt;
use thiserror::Error as ThisError;

/// The result of an operation on a repository.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine. What was durable before it is durable after it.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, or has not got what it was asked for.
    #[error(transparent)]
    Store(#[from] plakar_store::Error),

    /// Stored bytes are not what they must be. Nothing of them was used.
    #[error("{object}: {what}")]
    Damaged {
        /// The stored object, or the id of what could not be made of it.
        object: String,
        /// In which way.
        what: String,
    },

    /// Something that an index or a directory promised is nowhere to be found.
    #[error("{what} {id} is missing")]
    Missing {
        /// `chunk` or `node`.
        what: &'static str,
        /// Its id.
        id: String,
    },

    /// There is no repository at this place.
    #[error("{0}: there is no repository here")]
    NoRepository(String),

    /// There is already something where a repository was to be made.
    #[error("{0}: already exists")]
    AlreadyThere(String),

    /// A create or clone that never ended: usable for nothing.
    #[error("{0}")]
    Unfinished(Unfinished),

    /// Written by another version, or with features this one does not know.
    #[error("{0}")]
    Unsupported(String),

    /// The repository is encrypted, and no passphrase was given.
    #[error("{0}: encrypted: a passphrase is needed")]
    NeedsPassphrase(String),

    /// No key slot opens with the passphrase that was given.
    #[error("{0}: wrong passphrase")]
    WrongPassphrase(String),

    /// Whoever runs the operation asked it to stop. What was checkpointed is kept.
    #[error("interrupted")]
    Interrupted,

    /// The session was void before it could publish, because another client took it for dead.
    #[error(
        "this push was given up by another client's cleanup because nothing was heard of it for too long; run it again"
    )]
    Revoked,

    /// The file tree to be captured, or the place to restore to, failed as a whole.
    #[error("{what}: {source}")]
    Io {
        /// A path, or what was being done.
        what: String,
        /// Why.
        source: std::io::Error,
    },

    /// What was asked for cannot be done as asked.
    #[error("{0}")]
    Refused(String),
}

/// What was begun at a place and never ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Where.
    pub place: String,
    /// What it was to be a clone of, for people; `None` when it was to be a repository of its own.
    pub clone_of: Option<String>,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match &self.clone_of {
            None => {
                write!(f, "{place}: unfinished: its creation never ended; remove it and create it again")
            }
            Some(origin) => {
                let what = "run the clone again to complete it, or remove it";
                write!(f, "{place}: an unfinished clone of {origin}: {what}")
            }
        }
    }
}

impl Error {
    /// Damage: `object` is not what it must be.
    pub fn damaged(object: impl ToString, what: impl Into<String>) -> Error {
        Error::Damaged { object: object.to_string(), what: what.into() }
    }

    /// Whether this says that stored data is damaged or lost, rather than that an operation failed.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Damaged { .. } | Error::Missing { .. } => true,
            Error::Store(e) => {
                matches!(e.kind(), ErrorKind::Short | ErrorKind::TooLarge | ErrorKind::Damaged)
            }
            _ => false,
        }
    }

    /// Whether the store could not read an object: a bad sector, a file of somebody else. Or the store is gone as a whole,
    /// which only another question tells.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Error::Store(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::Denied))
    }

    /// Whether the store said that an object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Store(e) if e.kind() == ErrorKind::NotFound)
    }
}
