//! References to snapshots, and to what is in them: `SNAPSHOT[:PATH]`.
//!
//! SNAPSHOT is one of
//!
//! ```text
//! PREFIX                         the beginning of its UUID, which only one may have
//! latest                         the one that was made last
//! @HOST                          the one that was made last on that host
//! 2026-11-22, 2026-11-22T10:00   the last one that was made no later than in that day, minute or second of UTC
//! ```
//!
//! and `~N` behind one of the last three is the Nth before it. No UUID begins like any of these; what is hexadecimal is a
//! prefix. An empty PREFIX before a colon fits all, which is of use when there is one snapshot only.
//!
//! SNAPSHOT ends at the first colon that does not belong to a time ([`moment::time_len`]), so PATH may hold more of them. PATH
//! may begin with a slash or not. Snapshots come after each other by the time they claim, but not later than they were
//! received, as in `keep`: a clock that is ahead makes none the latest for ever.
//!
//! `@NAME` of the configuration is a repository or a source; where snapshots are named there are neither.

use crate::exit::{Failure, Result};
use crate::format;
use crate::moment;
use plakar_engine::log::state::Snapshot;
use plakar_engine::tree::Time;
use std::collections::BTreeSet;
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
    let (name, path) = split(word);
    let path = path.map(clean);
    if let Some(name) = Name::parse(name)? {
        return Ok(Reference { snapshot: name.find(snapshots, word)?, path });
    }
    let prefix = name.to_ascii_lowercase();
    let fitting: Vec<_> =
        snapshots.iter().filter(|s| s.row.uuid_text().as_bytes().starts_with(&prefix)).collect();
    match fitting[..] {
        [] => Err(Failure::failed(format!("no snapshot has prefix: {}", format::printable(word.as_bytes())))
            .hint(
                "'plakar ls' lists the snapshots; 'plakar help snapshots' tells what else they are called",
            )),
        [snapshot] => Ok(Reference { snapshot: *snapshot, path }),
        _ => Err(ambiguous(word, &fitting)),
    }
}

/// A name that is another snapshot's when there are more of them.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    of: Of,
    /// So many before that one.
    back: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Of {
    Latest,
    Host(Vec<u8>),
    /// Made before this second.
    Before(i64),
}

impl Name {
    /// `None` when it is a prefix.
    fn parse(name: &[u8]) -> Result<Option<Name>> {
        let (stem, back) = counted(name);
        let of = if stem == b"latest" {
            Of::Latest
        } else if let Some(host) = stem.strip_prefix(b"@") {
            if host.is_empty() {
                return Err(
                    Failure::usage("@ stands for no host").hint("'@HOST' is the latest snapshot of one")
                );
            }
            Of::Host(host.to_vec())
        } else if moment::is_meant(stem) {
            Of::Before(moment::parse(&String::from_utf8_lossy(stem)).map_err(Failure::usage)?.after)
        } else {
            return Ok(None);
        };
        Ok(Some(Name { of, back }))
    }

    fn find<'a>(&self, snapshots: &[Snapshot<'a>], word: &OsStr) -> Result<Snapshot<'a>> {
        let mut fitting: Vec<_> = snapshots.iter().filter(|snapshot| self.fits(snapshot)).collect();
        fitting.sort_by_key(|s| (made(s), s.row.created, s.row.uuid, s.session));
        let (shown, n) = (format::printable(word.as_bytes()), fitting.len());
        if let Some(found) = fitting.into_iter().rev().nth(self.back) {
            return Ok(*found);
        }
        if n > 0 {
            let what = format!("{shown}: there is no such snapshot: {n} of them fit what is before the '~'");
            return Err(Failure::failed(what).hint(format!("the first of them is '~{}'", n - 1)));
        }
        if snapshots.is_empty() {
            let what = format!("{shown}: there are no snapshots");
            return Err(Failure::failed(what).hint("'plakar push' makes one"));
        }
        let (what, hint) = match self.of {
            Of::Host(_) => {
                let hosts: BTreeSet<_> = snapshots.iter().map(|s| s.row.host.as_str()).collect();
                let mut known: Vec<_> =
                    hosts.iter().take(10).map(|h| format::printable(h.as_bytes())).collect();
                known.extend((hosts.len() > 10).then(|| "...".to_owned()));
                ("no snapshot is of this host", format!("there are some of: {}", known.join(", ")))
            }
            Of::Before(_) | Of::Latest => {
                let first = snapshots.iter().map(made).min().expect("there is one");
                ("no snapshot is as old as this", format!("the first is of {}", format::time(first.secs)))
            }
        };
        Err(Failure::failed(format!("{shown}: {what}")).hint(hint))
    }

    fn fits(&self, snapshot: &Snapshot<'_>) -> bool {
        match &self.of {
            Of::Latest => true,
            Of::Host(host) => snapshot.row.host.as_bytes() == host,
            Of::Before(after) => made(snapshot).secs < *after,
        }
    }
}

/// When a snapshot was made: what it claims, but not later than it was received.
fn made(snapshot: &Snapshot<'_>) -> Time {
    let received = snapshot.received_ms;
    let nanos = received.rem_euclid(1000) as u32 * 1_000_000;
    snapshot.row.created.min(Time { secs: received.div_euclid(1000), nanos })
}

/// What is before `~N`, and N; 0 without it.
fn counted(name: &[u8]) -> (&[u8], usize) {
    let Some(at) = name.iter().rposition(|&b| b == b'~') else { return (name, 0) };
    let digits = &name[at + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return (name, 0);
    }
    let digits = std::str::from_utf8(digits).expect("they are digits");
    // More than fit are more than there are.
    (&name[..at], digits.parse().unwrap_or(usize::MAX))
}

/// Whether a word is a name that is another snapshot's when there are more of them, not an ID.
pub fn moves(word: &OsStr) -> bool {
    !matches!(Name::parse(split(word).0), Ok(None))
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

/// What names the snapshot, and what follows the colon behind it.
pub fn split(word: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = word.as_bytes();
    let time = moment::time_len(bytes);
    match bytes[time..].iter().position(|&b| b == b':') {
        Some(at) => (&bytes[..time + at], Some(&bytes[time + at + 1..])),
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
    use plakar_engine::tree::{Subtree, Totals};

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

    /// A snapshot of a host that claims a second, and when it was received.
    fn made_on(n: u8, host: &str, secs: i64) -> Row {
        Row { host: host.into(), created: Time { secs, nanos: 300_000_000 }, ..row(n) }
    }

    #[test]
    fn names_find_the_last_that_fits() {
        const DAY: i64 = 86_400;
        let rows = [
            made_on(1, "a", DAY),
            made_on(2, "b", 2 * DAY - 1),
            made_on(3, "a", 2 * DAY),
            made_on(4, "a", 2 * DAY + 36_005),
            // Its clock is far ahead.
            made_on(5, "b", 900 * DAY),
        ];
        let received = [DAY, 2 * DAY, 2 * DAY + 1, 3 * DAY, 2 * DAY + 10].map(|secs| secs * 1000 + 500);
        let all: Vec<_> = rows
            .iter()
            .zip(received)
            .map(|(row, received_ms)| Snapshot { session: SessionId([0; 16]), row, received_ms })
            .collect();
        let get = |word: &str| {
            resolve_one(&all, OsStr::new(word))
                .map(|r| (r.snapshot.row.uuid[0], r.path))
                .map_err(|e| e.what.unwrap())
        };
        let path = |path: &str| Some(path.as_bytes().to_vec());
        for (word, n, path) in [
            ("latest", 4, None),
            ("latest~0", 4, None),
            ("latest~1:/x", 5, path("x")),
            ("latest~4:x~1", 1, path("x~1")),
            ("@a", 4, None),
            ("@a~2", 1, None),
            ("@b:a:b", 5, path("a:b")),
            ("1970-01-02", 2, None),
            ("1970-01-02:/etc", 2, path("etc")),
            ("1970-01-02~1", 1, None),
            ("1970-01-03T00:00", 5, None),
            ("1970-01-03T00:00:00", 3, None),
            ("1970-01-03T00:00:00Z:00", 3, path("00")),
            ("1970-01-03T00:00:/00", 5, path("00")),
            ("1970-01-03T10:00:04", 5, None),
            ("1970-01-03T10:00:05", 4, None),
            ("1970-01-03T10:00:05~1:/a:b", 5, path("a:b")),
            ("2026-11-22", 4, None),
        ] {
            assert_eq!(get(word), Ok((n, path)), "{word}");
            assert!(moves(OsStr::new(word)), "{word}");
        }
        for (word, what) in [
            ("latest~5", "5 of them fit"),
            ("@b~99999999999999999999999", "2 of them fit"),
            ("@c", "no snapshot is of this host"),
            ("@", "@ stands for no host"),
            ("1970-01-01:/x", "no snapshot is as old as this"),
            ("1970-02-30", "is no time"),
            ("1970-01-02T10", "is no time"),
            ("latest~x", "no snapshot has prefix"),
            ("1970", "no snapshot has prefix"),
        ] {
            assert!(get(word).is_err_and(|e| e.contains(what)), "{word}: {:?}", get(word));
        }
        assert_eq!(get("01"), Ok((1, None)));
        assert!(!moves(OsStr::new("01ababab:latest")) && !moves(OsStr::new("1970")));
        let none = resolve_one(&[], OsStr::new("latest")).err().unwrap();
        assert!(none.what.unwrap().contains("there are no snapshots") && none.hint.is_some());
    }
}
