//! References to snapshots, and to what is in them: `PREFIX[:PATH]`.
//!
//! PREFIX is the beginning of a snapshot's UUID; an empty one before a colon fits all, which is of use when there is one
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
/// When one stands for no snapshot, or for several; when a word is empty, which is a variable that was not set rather than
/// a snapshot.
pub fn resolve<'a>(snapshots: &[Snapshot<'a>], words: &[OsString]) -> Result<Vec<Reference<'a>>> {
    words.iter().map(|word| resolve_one(snapshots, word)).collect()
}

fn resolve_one<'a>(snapshots: &[Snapshot<'a>], word: &OsStr) -> Result<Reference<'a>> {
    if word.is_empty() {
        return Err(Failure::usage("an empty snapshot ID stands for nothing"));
    }
    let (prefix, path) = split(word);
    let prefix = prefix.to_ascii_lowercase();
    let fitting: Vec<_> =
        snapshots.iter().filter(|s| s.row.uuid_text().as_bytes().starts_with(&prefix)).collect();
    match fitting[..] {
        [] => Err(Failure::failed(format!("no snapshot has prefix: {}", format::printable(word.as_bytes())))),
        [snapshot] => Ok(Reference { snapshot: *snapshot, path: path.map(clean) }),
        _ => Err(ambiguous(word, &fitting)),
    }
}

/// A longer reference tells snapshots apart, unless they have one UUID: then only their times are told.
fn ambiguous(word: &OsStr, fitting: &[&Snapshot<'_>]) -> Failure {
    let (n, shown) = (fitting.len(), format::printable(word.as_bytes()));
    let first = fitting[0].row.uuid;
    if fitting.iter().any(|snapshot| snapshot.row.uuid != first) {
        return Failure::failed(format!("snapshot ID is ambiguous: {shown} (matches {n} snapshots)"));
    }
    let times: Vec<_> = fitting.iter().map(|s| format::exact_time(s.row.created)).collect();
    let (uuid, times) = (fitting[0].row.uuid_text(), times.join(", "));
    Failure::failed(format!(
        "snapshot ID is ambiguous: {shown} ({n} different snapshots have {uuid}: of {times})"
    ))
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
        assert_eq!(get(":"), Err("snapshot ID is ambiguous: : (matches 3 snapshots)".into()));
        assert_eq!(get(""), Err("an empty snapshot ID stands for nothing".into()));
        let mut twins = [row(0x3a), row(0x3a)];
        twins[1].created = Time { secs: 1, nanos: 5 };
        let session = |n| SessionId([n; 16]);
        let snapshots_of =
            |n: u8| Snapshot { session: session(n), row: &twins[usize::from(n)], received_ms: 0 };
        let alike = resolve_one(&[snapshots_of(0), snapshots_of(1)], OsStr::new("3a"));
        let what = alike.err().unwrap().what.unwrap();
        assert!(what.ends_with("abab: of 1970-01-01T00:00:00Z, 1970-01-01T00:00:01.000000005Z)"), "{what}");
        let one = &snapshots[2..];
        assert_eq!(resolve_one(one, OsStr::new(":/x")).unwrap_or_else(|_| panic!()).path(), b"x");
    }
}
