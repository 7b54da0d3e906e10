//! Names of objects in a store.

use std::{borrow::Borrow, fmt};

/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// A name: parts of lower-case letters, digits and `-`, joined by single slashes.
///
/// So narrow that it means the same on every store: no dots (no `..`, no hidden or temporary files),
/// no upper case (stores that fold case), nothing to quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name, or `None` when `text` is not one.
    pub fn new(text: &str) -> Option<Name> {
        let part = |p: &str| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        (text.len() <= NAME_BYTES_MAX && text.split('/').all(part)).then(|| Name(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last slash, if there is one.
    pub fn folder(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// What stands after the last slash.
    pub fn last(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }
}

/// Names order, hash and compare as their text does, so a map of names can be asked by text.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for good in ["config", "packs/ab/abcdef", "log/20220305t223058z-00ff"] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a.b", "A", "a b", "a\0", &"a".repeat(201)] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }
}
