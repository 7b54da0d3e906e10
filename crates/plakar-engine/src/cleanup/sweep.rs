//! Deleting what stands for nothing any more: dead packs, what checkpoints cover, segments that only covered objects name.

use super::live::Live;
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::segment::{Segment, SegmentSource, segment_name};
use crate::log::fact::{Fact, SegmentRef};
use crate::log::object::{self, LOG_BYTES_MAX};
use crate::log::{LogObject, State};
use crate::pack::pack_name;
use crate::repository::Repository;
use plakar_store::{Name, Store};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects of the log.
    pub facts: u64,
    /// Index segments.
    pub segments: u64,
}

/// Deletes those of `packs` that are dead. Returns how many that were and how many bytes they had.
pub fn packs(repo: &Repository, store: &dyn Store, packs: &super::plan::Sizes) -> Result<(u64, u64)> {
    let dead: Vec<_> = packs.iter().filter(|(hash, _)| repo.state().view.dead(**hash)).collect();
    if dead.is_empty() {
        return Ok((0, 0));
    }
    // Another run may have put its Dead a moment ago: it must not fall back when the packs are gone.
    store.barrier()?;
    let mut bytes = 0;
    for (hash, stored) in &dead {
        store.delete(&pack_name(hash))?;
        bytes += stored.len;
    }
    Ok((dead.len() as u64, bytes))
}

/// Deletes what checkpoints cover, once it is proven that what is left says all of it, and the segments that nothing
/// else names.
///
/// # Errors
/// [`Error::Damaged`] when a checkpoint does not say what it covers, and nothing was deleted; store errors.
pub fn covered(repo: &Repository, store: &dyn Store) -> Result<Swept> {
    let base = repo.base();
    let hashes: HashSet<_> = repo.log().covered().iter().copied().collect();
    if hashes.is_empty() {
        return Ok(Swept::default());
    }
    let mut names = BTreeSet::new();
    for folder in ["log/", "admin/"] {
        store.list(folder, &mut |listed| {
            names.extend(
                object::hash_in_name(&listed.name).filter(|h| hashes.contains(h)).map(|_| listed.name),
            );
            Ok(())
        })?;
    }
    let mut objects: BTreeMap<Name, LogObject> = BTreeMap::new();
    for name in names {
        let bytes = store.get(&name, LOG_BYTES_MAX);
        match bytes.map_err(Error::from).and_then(|bytes| object::decode(&name, bytes, &base.sealer)) {
            Ok(facts) => drop(objects.insert(name, LogObject { facts, received_ms: 0 })),
            // Somebody else is deleting, or it is damaged: what it said stands in the checkpoint, and what it was about
            // to name stays.
            Err(e) if e.is_not_found() || e.is_damage() => {}
            Err(e) => return Err(e),
        }
    }
    let before = State::of_objects(objects.values());
    if !repo.state().says(&before) {
        return Err(Error::damaged(
            "admin/",
            "a checkpoint does not say what it covers; nothing of that was deleted",
        ));
    }
    let segments = unnamed(repo, &objects);
    prove_listed(repo, &segments)?;
    // So with a Checkpoint of another client: with what it covers, all would be gone.
    store.barrier()?;
    for segment in &segments {
        store.delete(&segment_name(segment))?;
    }
    for name in objects.keys() {
        store.delete(name)?;
    }
    Ok(Swept { facts: objects.len() as u64, segments: segments.len() as u64 })
}

/// The segments that only covered objects name.
fn unnamed(repo: &Repository, objects: &BTreeMap<Name, LogObject>) -> BTreeSet<ObjectHash> {
    let mut unnamed = BTreeSet::new();
    for fact in objects.values().flat_map(|object| &object.facts) {
        let segments: &[SegmentRef] = match fact {
            Fact::Prepared(prepared) => &prepared.segments,
            Fact::Checkpoint(checkpoint) => &checkpoint.segments,
            _ => &[],
        };
        unnamed.extend(segments.iter().filter_map(|segment| match segment {
            // Another client may be about to name one that was not merged: it read the log before that was covered.
            SegmentRef::Stored(hash) if repo.state().is_merged(hash) => Some(*hash),
            _ => None,
        }));
    }
    unnamed
}

/// Proves that every row of `segments` stands in a segment that counts, unless its pack is dead.
fn prove_listed(repo: &Repository, segments: &BTreeSet<ObjectHash>) -> Result<()> {
    let base = repo.base();
    let dead = |pack: &ObjectHash| repo.state().view.dead(*pack);
    if segments.is_empty() {
        return Ok(());
    }
    let mut live = Live::default();
    live.add(repo.index().segments().iter().map(|segment| &**segment), &base.sealer, &dead, &|_| None)?;
    for hash in segments {
        let source = SegmentSource::Stored(base.store.clone(), segment_name(hash));
        let segment = match Segment::open(source, &base.sealer) {
            Ok(segment) => segment,
            // It is damaged or gone: it says nothing to anybody.
            Err(e) if e.is_not_found() || e.is_damage() => continue,
            Err(e) => return Err(e),
        };
        let mut listed = true;
        let read = segment.for_each(&base.sealer, &mut |kind, id, at| {
            listed &= dead(&at.pack) || live.lists(kind, id, at);
            Ok(())
        });
        match read {
            Ok(()) if listed => {}
            Ok(()) => {
                let what = "lists what no segment that counts does; nothing covered was deleted";
                return Err(Error::damaged(segment_name(hash), what));
            }
            Err(e) if e.is_damage() || e.is_not_found() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
