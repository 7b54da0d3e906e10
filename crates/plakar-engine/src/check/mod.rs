//! Check: proving that a repository holds what it promises.
//!
//! Two proofs, joined by ids:
//!
//! - `packs`: every pack that counts has the bytes that its name says, each of its blocks opens, and each item in them
//!   has the id that the pack's directory says. Every byte is read once, front to back.
//! - `walk`: every visible snapshot is complete: each node and each chunk that can be reached from its root is found
//!   through the index, in a pack that is there, and (unless `fast`) among what the first proof saw.
//!
//! Others may remove and clean up meanwhile: what is wrong with a pack, a segment or a snapshot that counts no more, once it
//! was found wrong, is not told.
//!
//! Equal subtrees are walked once; one with damage is walked for each snapshot, so that each is named. Totals
//! are counted again. Only when single paths are asked for are their chunks read one by one instead of all packs.
//!
//! Memory: eight bytes for each item, 32 for each node.

pub(crate) mod packs;
mod walk;

use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::segment::segment_name;
use crate::log::Snapshot;
use crate::log::fact::SegmentRef;
use crate::read::Reader;
use crate::repository::Repository;
use crate::tree::{Content, Entry, find_path};
use packs::Verified;
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use walk::WALKS_MAX;
use walk::Walk;

/// How thorough a check is.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Of which packs the bytes are proven.
    pub reads: Reads,
    /// How many threads read.
    pub workers: usize,
}

/// Of which packs a check proves the bytes. That everything is there is proven in any case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// Of none.
    Nothing,
    /// Of a share of them, at least of one: those that follow in the order of their names, and after the last the first. So
    /// checks that follow each other read all.
    Some {
        /// More than 0, at most 1.
        share: f64,
        /// The last that was read before.
        after: Option<ObjectHash>,
    },
    /// Of all.
    All,
}

/// Packs whose bytes a check has read, when it was not to read all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// How many,
    pub packs: u64,
    /// of so many.
    pub of: u64,
    /// The last of them.
    pub last: ObjectHash,
    /// Whether the last of all packs was among them: all were read since the first was.
    pub reached_end: bool,
}

/// What a check looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Directories, those in equal subtrees once.
    pub directories: u64,
    /// Everything that is not a directory, likewise.
    pub files: u64,
    /// Chunk references that were followed.
    pub chunks: u64,
    /// Bytes that were read from packs.
    pub bytes: u64,
    /// Problems that were reported.
    pub damaged: u64,
    /// Which packs were read, when only some were to be; `None` if there are none.
    pub sampled: Option<Sampled>,
}

/// Checks snapshots, each with a path inside it (empty = whole); all visible ones, and all packs, when the list is
/// empty. Every problem is told to `problem` in a sentence that names the object or the snapshot and path.
///
/// # Errors
/// Only what keeps the check itself from going on; damage is no error but counted in the report.
pub fn check(
    repo: &Repository,
    what: &[(Snapshot<'_>, Vec<u8>)],
    options: &CheckOptions,
    problem: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let mut damaged = 0;
    let mut problem = |what: &str| {
        damaged += 1;
        problem(what);
    };
    let whole = what.is_empty();
    if whole {
        repo.damaged().iter().for_each(|what| problem(what));
        repo.lost_sessions().iter().for_each(|what| problem(what));
    }
    let mut packs = if whole { packs::counting(repo) } else { Vec::new() };
    if let Reads::Some { share, after } = options.reads {
        (packs, report.sampled) = sample(packs, share, after);
    }
    let verified = if whole && options.reads != Reads::Nothing {
        segments(repo)?.iter().for_each(|(_, what)| problem(what));
        packs::verify(repo, &packs, options.workers, &mut problem, progress, interrupted)?
    } else {
        Verified::default()
    };
    report.bytes = verified.bytes;
    let reader = Reader::new(repo, crate::read::CACHE_BYTES_DEFAULT);
    let proof = match (options.reads, whole) {
        (Reads::All, true) => walk::Proof::Seen(&verified),
        (Reads::All, false) => walk::Proof::Reading,
        _ => walk::Proof::Presence,
    };
    let snapshots = repo.state().snapshots();
    let all: Vec<_> = snapshots.into_iter().map(|snapshot| (snapshot, Vec::new())).collect();
    let mut walk = Walk::new(repo, &reader, proof, interrupted);
    for (snapshot, path) in if whole { &all } else { what } {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        report.snapshots += 1;
        let name = snapshot.row.uuid_text();
        let gone = OnceCell::new();
        let mut problem = |path: &[u8], what: &str| {
            // Its packs may have gone after it was removed, and it was removed before they went: one look is enough.
            if !gone.get_or_init(|| is_gone(repo, snapshot)) {
                problem(&format!("{name}:/{}: {what}", String::from_utf8_lossy(path)));
            }
        };
        if path.iter().all(|b| *b == b'/') {
            walk.root(&snapshot.row.root, &mut problem)?;
        } else {
            match find_path(&reader, &snapshot.row.root, path) {
                Ok(Some(Entry { content: Content::Directory(subtree), .. })) => {
                    walk.directory(&subtree, path, &mut problem)?;
                }
                Ok(Some(entry)) => drop(walk.leaf(&entry, path, &mut problem)?),
                Ok(None) => {
                    let path = String::from_utf8_lossy(path).into_owned();
                    return Err(Error::Refused(format!("{name}:{path}: no such path in the snapshot")));
                }
                Err(e) => problem(path, &repo.base().lost(e)?),
            }
        }
        if !whole && gone.get() == Some(&true) {
            return Err(Error::Refused(format!("{name} was removed while it was checked")));
        }
    }
    (report.directories, report.files, report.chunks) = (walk.directories, walk.files, walk.chunks);
    report.bytes += walk.bytes;
    report.damaged = damaged;
    Ok(report)
}

/// The share of `packs`, which are sorted, that comes after `after`.
fn sample(
    mut packs: Vec<ObjectHash>,
    share: f64,
    after: Option<ObjectHash>,
) -> (Vec<ObjectHash>, Option<Sampled>) {
    let of = packs.len();
    let count = ((of as f64 * share).ceil() as usize).clamp(1, of.max(1));
    let first = after.map_or(0, |after| packs.partition_point(|pack| *pack <= after)) % of.max(1);
    packs.rotate_left(first);
    packs.truncate(count);
    let sampled = packs.last().map(|last| Sampled {
        packs: packs.len() as u64,
        of: of as u64,
        last: *last,
        reached_end: first + count >= of,
    });
    (packs, sampled)
}

/// Whether a snapshot is visible no more. If that cannot be found out, it is not.
fn is_gone(repo: &Repository, snapshot: &Snapshot<'_>) -> bool {
    let now = repo.base().clone().open();
    now.is_ok_and(|now| !now.state().snapshots().iter().any(|one| one.row == snapshot.row))
}

/// The stored segments that count and have not the bytes their name says, each with what is wrong with it; but those that
/// cannot even be opened, which are told of already.
pub(crate) fn segments(repo: &Repository) -> Result<Vec<(ObjectHash, String)>> {
    let mut damaged = Vec::new();
    let mut gone = false;
    for (hash, segment) in repo.state().segments() {
        if matches!(segment, SegmentRef::Stored(_))
            && repo.segment(hash).is_some()
            && let Err(e) = hash_object(repo, &segment_name(hash), hash)
        {
            gone |= e.is_not_found();
            damaged.push((*hash, repo.base().lost(e)?));
        }
    }
    if gone {
        let now = repo.base().clone().open()?;
        damaged.retain(|(hash, _)| now.state().segments().iter().any(|(counts, _)| counts == hash));
    }
    Ok(damaged)
}

/// Proves that a stored object has the bytes that the hash in its name says.
pub(crate) fn hash_object(repo: &Repository, name: &plakar_store::Name, hash: &ObjectHash) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let store = &repo.base().store;
    let len = store.len(name)?;
    let mut hasher = blake3::Hasher::new();
    for at in (0..len).step_by(PIECE as usize) {
        hasher.update(&store.get_range(name, at, (len - at).min(PIECE) as usize)?);
    }
    if *hasher.finalize().as_bytes() == hash.0 {
        Ok(())
    } else {
        Err(Error::damaged(name, "its bytes do not hash to its name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_each_other_until_all_were_read_whatever_comes_and_goes() {
        let pack = |n: u8| ObjectHash([n; 32]);
        let mut packs: Vec<_> = (0..10).map(|n| pack(n * 10)).collect();
        let (mut after, mut read) = (None, Vec::new());
        for round in 0..4 {
            let (some, sampled) = sample(packs.clone(), 0.25, after);
            let sampled = sampled.unwrap();
            assert_eq!((some.len(), sampled.packs), (3, 3));
            assert_eq!(sampled.reached_end, round == 3, "round {round}");
            read.extend(some);
            after = Some(sampled.last);
            // One goes, which was the last, and one comes where it was already.
            packs.retain(|one| *one != sampled.last || round > 0);
            packs.push(pack(5 + round));
            packs.sort();
        }
        assert!(packs.iter().filter(|one| one.0[0] % 10 == 0).all(|one| read.contains(one)), "{read:?}");
        let (some, sampled) = sample(vec![pack(1), pack(2)], 1.0, Some(pack(9)));
        assert_eq!((some, sampled.unwrap().reached_end), (vec![pack(1), pack(2)], true));
        assert_eq!(sample(vec![pack(1)], 1e-9, Some(pack(1))).0, [pack(1)]);
        assert_eq!(sample(Vec::new(), 0.5, None), (Vec::new(), None));
    }
}
