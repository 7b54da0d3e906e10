//! Folding: keeping the log short and the index in few pieces.
//!
//! Every push adds a few log objects and a segment. Whoever commits folds them once there are many: a Checkpoint
//! says again, in one object, what those that can be covered said, and segments that are small are merged
//! into one. Nothing is deleted here: what a checkpoint covers may go later. Two clients that fold
//! at once do no harm, because facts are a set and the index a multimap.

use super::session::{put_facts, put_segment};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::segment::{Author, EPOCHS_MAX, Segment, SegmentBuilder, SegmentSource, segment_name};
use crate::log::fact::{Fact, SegmentRef};
use crate::repository::Repository;
use plakar_store::Store;
use std::collections::HashSet;

/// The log is folded once so many objects count.
const OBJECTS_MAX: usize = 48;
/// Segments with fewer rows are merged, if smaller ones have as many together.
const SMALL_ROWS: u64 = 1 << 18;
/// A merge has at most so many rows: about 30 MiB as stored, 50 MiB in memory.
const MERGE_ROWS_MAX: u64 = 1 << 20;

/// Folds log and index if there is enough to fold.
pub fn fold(repo: &mut Repository, store: &dyn Store, author: &Author, now: i64) -> Result<()> {
    if repo.log().objects().count() < OBJECTS_MAX {
        return Ok(());
    }
    let Some((mut checkpoint, covered)) = repo.state().fold(repo.log()) else { return Ok(()) };
    if covered.len() < OBJECTS_MAX / 2 {
        return Ok(());
    }
    let covered: HashSet<_> = covered.into_iter().collect();
    let mut refs: Vec<SegmentRef> = Vec::new();
    for (name, object) in repo.log().objects() {
        if covered.contains(name) {
            for fact in &object.facts {
                match fact {
                    Fact::Prepared(prepared) => refs.extend(prepared.segments.iter().cloned()),
                    Fact::Checkpoint(checkpoint) => refs.extend(checkpoint.segments.iter().cloned()),
                    _ => {}
                }
            }
        }
    }
    checkpoint.segments = merge(repo, store, author, refs)?;
    put_facts(&[Fact::Checkpoint(Box::new(checkpoint))], store, author, repo, now)?;
    repo.refresh()
}

/// What lists the same rows as `refs`, but those of dead packs, in fewer segments.
fn merge(
    repo: &Repository,
    store: &dyn Store,
    author: &Author,
    refs: Vec<SegmentRef>,
) -> Result<Vec<SegmentRef>> {
    let sealer = &repo.base().sealer;
    let (mut kept, mut small, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for segment in refs {
        let (hash, source) = match &segment {
            SegmentRef::Stored(hash) => {
                (*hash, SegmentSource::Stored(repo.base().store.clone(), segment_name(hash)))
            }
            SegmentRef::Embedded(bytes) => {
                (ObjectHash(*blake3::hash(bytes).as_bytes()), SegmentSource::Embedded(bytes.clone()))
            }
        };
        if !seen.insert(hash) {
            continue;
        }
        let opened = Segment::open(source, sealer)?;
        if opened.rows() < SMALL_ROWS {
            small.push((segment, opened));
        } else {
            kept.push(segment);
        }
    }
    small.sort_by_key(|(_, opened)| opened.rows());
    let (mut merged, mut rows, mut epochs) = (Vec::new(), 0, HashSet::new());
    for (segment, opened) in small {
        // A row is written again only into a segment twice as large; so few are, and few segments stay.
        let doubles = merged.is_empty() || opened.rows() <= rows;
        let embedded = matches!(segment, SegmentRef::Embedded(_));
        epochs.extend(opened.epochs());
        let fits = rows + opened.rows() <= MERGE_ROWS_MAX && epochs.len() <= EPOCHS_MAX;
        if fits && (doubles || embedded) {
            rows += opened.rows();
            merged.push((segment, opened));
        } else {
            kept.push(segment);
        }
    }
    if merged.len() < 2 {
        kept.extend(merged.into_iter().map(|(segment, _)| segment));
        return Ok(kept);
    }
    let mut builder = SegmentBuilder::default();
    for (_, segment) in &merged {
        segment.for_each(sealer, &mut |kind, id, at| {
            if !repo.state().view.dead(at.pack) {
                builder.add(kind, id, at);
            }
            Ok(())
        })?;
    }
    if builder.is_empty() {
        return Ok(kept);
    }
    let bytes = builder.encode(author, sealer);
    let segment = put_segment(store, bytes)?;
    // Proven equal to what it stands for before anything may rely on that: read back as stored.
    let source = match &segment {
        SegmentRef::Stored(hash) => SegmentSource::Stored(repo.base().store.clone(), segment_name(hash)),
        SegmentRef::Embedded(bytes) => SegmentSource::Embedded(bytes.clone()),
    };
    if !builder.is_equal(&Segment::open(source, sealer)?, sealer)? {
        return Err(Error::damaged("a merged index segment", "does not list what it was made of"));
    }
    store.barrier()?;
    kept.push(segment);
    Ok(kept)
}
