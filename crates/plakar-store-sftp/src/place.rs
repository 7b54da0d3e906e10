//! Where a store lies on its server, and how that is told.

use plakar_store::{Error, ErrorKind};
use std::fmt::Display;

/// The folder of a store.
#[derive(Debug)]
pub struct Place {
    /// Its path there, from the uppermost folder on.
    root: Vec<u8>,
    location: String,
}

impl Place {
    /// The folder `root`; `location` is for messages.
    pub fn new(root: Vec<u8>, location: String) -> Place {
        Place { root, location }
    }

    /// The folder.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Where it is, for messages.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The path of what is called `name` in it; of itself when that is empty.
    pub fn path(&self, name: &str) -> Vec<u8> {
        match (self.root.as_slice(), name) {
            (root, "") => root.to_vec(),
            (b"/", name) => [b"/", name.as_bytes()].concat(),
            (root, name) => [root, b"/", name.as_bytes()].concat(),
        }
    }

    /// The folder above, if there is one.
    pub fn above(&self) -> Option<&[u8]> {
        let slash = self.root.iter().rposition(|b| *b == b'/')?;
        match slash {
            0 if self.root.len() == 1 => None,
            0 => Some(b"/"),
            slash => Some(&self.root[..slash]),
        }
    }

    /// What was done to what, where.
    pub fn told(&self, operation: &str, what: impl Display) -> String {
        format!("{operation} {what} in {}", self.location)
    }

    /// An error about what is here.
    pub fn refusal(&self, kind: ErrorKind, what: impl Display) -> Error {
        Error::new(kind, format!("{what} in {}", self.location))
    }
}
