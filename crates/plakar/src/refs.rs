//! References to snapshots, and to what is in them: `PREFIX[:PATH]`.
//!
//! PREFIX is the beginning of a snapshot's UUID; an empty one fits all, which is of use when there is one
//! snapshot only. It ends at the first colon, so PATH may hold more of them. PATH may begin with a slash or not.

use crate::exit::{Failure, Result};
use crate::format;
use plakar_engine::log::state::Snapshot;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a reference stands for.
pub struct Reference<'a> {
    /// The snapshot.
    pub snapshot: Snapshot<'a>,
    /// The path, if there was a colon: components joined by single slashes, none before or after; empty for all.
    pub path: Option<Vec<u8>>,
}

impl Reference<'_> {
    /// The path; empty for the whole snapshot.
    pub fn path(&self) -> &[u8] {
        self.path.as_deref().unwrap_or_default()
    }

    /// The path with a slash before it, for messages.
    pub fn shown_path(&self) -> String {
        format!("/{}", format::printable(self.path()))
    }
}

/// Finds out what references stand for.
///
/// # Errors
/// When one stands for no snapshot, or for several.
pub fn resolve<'a>(snapshots: &[Snapshot<'a>], words: &[OsString]) -> Result<Vec<Reference<'a>>> {
    words.iter().map(|word| resolve_one(snapshots, word)).collect()
}

fn resolve_one<'a>(snapshots: &[Snapshot<'a>], word: &OsStr) -> Result<Reference<'a>> {
    let (prefix, path) = split(word);
    let prefix = prefix.to_ascii_lowercase();
    let mut fitting = snapshots.iter().filter(|s| s.row.uuid_text().as_bytes().starts_with(&prefix));
    let shown = || format::printable(word.as_bytes());
    match (fitting.next(), fitting.count()) {
        (None, _) => Err(Failure::failed(format!("no snapshot has prefix: {}", shown()))),
        (Some(snapshot), 0) => Ok(Reference { snapshot: *snapshot, path: path.map(clean) }),
        (Some(_), more) => {
            let n = more + 1;
            Err(Failure::failed(format!("snapshot ID is ambiguous: {} (matches {n} snapshots)", shown())))
        }
    }
}

/// The prefix, and what follows the first colon.
pub fn split(word: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&b| b == b':') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

fn clean(path: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_engine::id::{NodeId, SessionId};
    use plakar_engine::log::fact::Row;
    use plakar_engine::tree::{Subtree, Time, Totals};

    fn row(first: u8) -> Row {
        let mut uuid = [0xab; 16];
        uuid[0] = first;
        Row {
            uuid,
            root: Subtree { node: NodeId([0; 32]), totals: Totals::default() },
            created: Time::default(),
            took_ms: 0,
            host: String::new(),
            user: String::new(),
            command: String::new(),
            roots: vec![],
            tags: vec![],
            parents: vec![],
            tool: String::new(),
            origin: None,
        }
    }

    #[test]
    fn a_prefix_must_fit_exactly_one() {
        let rows = [row(0x3a), row(0x3b), row(0xcd)];
        let snapshots: Vec<_> =
            rows.iter().map(|row| Snapshot { session: SessionId([0; 16]), row, received_ms: 0 }).collect();
        let get = |word: &str| {
            resolve_one(&snapshots, OsStr::new(word))
                .map(|r| (r.snapshot.row.uuid[0], r.path))
                .map_err(|e| e.what.unwrap())
        };
        assert_eq!(get("c"), Ok((0xcd, None)));
        assert_eq!(get("3BAB"), Ok((0x3b, None)));
        assert_eq!(get("cdababab-abab-abab-abab-abababababab"), Ok((0xcd, None)));
        assert_eq!(get("cd:"), Ok((0xcd, Some(b"".to_vec()))));
        assert_eq!(get("cd:/etc//./passwd/"), Ok((0xcd, Some(b"etc/passwd".to_vec()))));
        assert_eq!(get("cd:a:b"), Ok((0xcd, Some(b"a:b".to_vec()))));
        assert_eq!(get("e:/x"), Err("no snapshot has prefix: e:/x".into()));
        assert_eq!(get("3:/x"), Err("snapshot ID is ambiguous: 3:/x (matches 2 snapshots)".into()));
        assert_eq!(get(""), Err("snapshot ID is ambiguous:  (matches 3 snapshots)".into()));
        let one = &snapshots[2..];
        assert_eq!(resolve_one(one, OsStr::new(":/x")).unwrap_or_else(|_| panic!()).path(), b"x");
    }
}
