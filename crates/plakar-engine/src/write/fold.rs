//! Folding: keeping the log short and the index in few pieces.
//!
//! Every push adds a few log objects and a segment. Whoever commits folds them once there are many: a Checkpoint
//! says again, in one object, what those that can be covered said, and segments that are small are merged
//! into one. Nothing is deleted here: what a checkpoint covers may go later. Two clients that fold
//! at once do no harm, because facts are a set and the index a multimap.
//!
//! For the same reason a fold may be of the log as it was a while ago, and may happen beside anything else: what it
//! covers and says again stays true.

use super::session::{put_facts, put_segment};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::ID_PREFIX_LEN;
use crate::index::segment::{Author, EPOCHS_MAX, Location, Segment, SegmentBuilder, hash_in_segment_name};
use crate::log::State;
use crate::log::fact::{Fact, SegmentRef};
use crate::log::state::Checkpoint;
use crate::repository::{Repository, Unlocked};
use plakar_store::{Name, Range, Store};
use std::collections::HashSet;
use std::sync::Arc;

/// The log is folded once so many objects count.
const OBJECTS_MAX: usize = 48;
/// Segments with fewer rows are merged, if smaller ones have as many together.
const SMALL_ROWS: u64 = 1 << 18;
/// A merge has at most so many rows: about 30 MiB as stored, 50 MiB in memory.
const MERGE_ROWS_MAX: u64 = 1 << 20;
/// Far away, so many bytes of the segments to be merged are read together.
const TOGETHER_BYTES: usize = 8 << 20;

/// Folds log and index if there is enough to fold.
pub fn fold(repo: &mut Repository, store: &dyn Store, author: &Author, now: i64) -> Result<()> {
    let Some(fold) = Fold::due(repo)? else { return Ok(()) };
    let merged = fold.merge(store, author)?;
    put_facts(&[merged.checkpoint()], store, author, repo.base(), now)?;
    merged.keep(repo);
    repo.refresh()
}

/// Folds whatever can be folded and merges whatever is worth it: that is a cleanup's to do. Segments of which a quarter lists
/// dead packs are written anew, too.
pub fn fold_all(repo: &mut Repository, store: &dyn Store, author: &Author, now: i64) -> Result<()> {
    let Some(fold) = Fold::all(repo)? else { return Ok(()) };
    let merged = fold.merge(store, author)?;
    put_facts(&[merged.checkpoint()], store, author, repo.base(), now)?;
    merged.keep(repo);
    repo.refresh()
}

/// A fold that is to be done.
pub struct Fold {
    base: Unlocked,
    state: Arc<State>,
    /// What is to be put, but for the segments.
    checkpoint: Checkpoint,
    /// Segments that stay as they are,
    kept: Vec<SegmentRef>,
    /// and those that become one, group by group.
    merged: Vec<Group>,
}

/// Segments that become one.
type Group = Vec<Arc<Segment>>;

/// A fold of which only the Checkpoint has yet to be put.
pub struct Merged {
    checkpoint: Checkpoint,
    /// The segments that were made, durable.
    made: Vec<(ObjectHash, Segment)>,
}

impl Fold {
    /// What is to be folded of the log as last read, if that is enough.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a segment could not be opened: what it lists cannot be listed by another.
    pub fn due(repo: &Repository) -> Result<Option<Fold>> {
        if repo.log().objects().count() < OBJECTS_MAX {
            return Ok(None);
        }
        let Some((checkpoint, covered)) = repo.state().fold(repo.log()) else { return Ok(None) };
        if covered.len() < OBJECTS_MAX / 2 {
            return Ok(None);
        }
        let (kept, merged) = choose(repo, named(repo, covered))?;
        let merged = Vec::from_iter(Some(merged).filter(|merged| !merged.is_empty()));
        let (base, state) = (repo.base().clone(), repo.state.clone());
        Ok(Some(Fold { base, state, checkpoint, kept, merged }))
    }

    /// Everything that can be folded of the log as last read; nothing if that would change nothing.
    fn all(repo: &Repository) -> Result<Option<Fold>> {
        let Some((checkpoint, covered)) = repo.state().fold(repo.log()) else { return Ok(None) };
        let objects = covered.len();
        let (kept, merged) = choose_all(repo, named(repo, covered))?;
        if objects < 2 && merged.is_empty() {
            return Ok(None);
        }
        let (base, state) = (repo.base().clone(), repo.state.clone());
        Ok(Some(Fold { base, state, checkpoint, kept, merged }))
    }

    /// Makes one segment of each group, that lists what those do, but rows of dead packs; durable when this returns.
    pub fn merge(self, store: &dyn Store, author: &Author) -> Result<Merged> {
        let Fold { base, state, mut checkpoint, kept, merged } = self;
        checkpoint.segments = kept;
        let stored = merged.iter().flatten().filter_map(|segment| segment.name());
        checkpoint.merged.extend(stored.filter_map(hash_in_segment_name));
        let mut made = Vec::new();
        let mut stored = false;
        for group in merged {
            let mut rows = SegmentBuilder::default();
            rows_of(&group, &base, &state, &mut rows)?;
            if rows.is_empty() {
                continue;
            }
            // Proven equal to what it stands for before anything may rely on that: read back as stored.
            let (segment, opened) = put_segment(&mut rows, store, author, &base)?;
            stored |= matches!(segment, SegmentRef::Stored(_));
            made.push((segment.hash(), opened));
            checkpoint.segments.push(segment);
        }
        if stored {
            store.barrier()?;
        }
        Ok(Merged { checkpoint, made })
    }
}

impl Merged {
    /// What is to be put.
    pub fn checkpoint(&self) -> Fact {
        Fact::Checkpoint(Box::new(self.checkpoint.clone()))
    }

    /// Takes over what the Checkpoint names, once that was put: it was read already, and need not be opened again.
    pub fn keep(self, repo: &mut Repository) {
        for (hash, segment) in self.made {
            repo.add_segment(hash, segment);
        }
    }
}

/// The segments that these log objects name.
fn named(repo: &Repository, objects: Vec<Name>) -> Vec<SegmentRef> {
    let objects: HashSet<_> = objects.into_iter().collect();
    let mut refs = Vec::new();
    for (_, object) in repo.log().objects().filter(|(name, _)| objects.contains(*name)) {
        for fact in &object.facts {
            match fact {
                Fact::Prepared(prepared) => refs.extend(prepared.segments.iter().cloned()),
                Fact::Checkpoint(checkpoint) => refs.extend(checkpoint.segments.iter().cloned()),
                _ => {}
            }
        }
    }
    refs
}

/// These segments, each once, as they are open.
fn opened(repo: &Repository, refs: Vec<SegmentRef>) -> Result<Vec<(SegmentRef, Arc<Segment>)>> {
    let mut seen = HashSet::new();
    let counts = |segment: &SegmentRef| !repo.state().is_merged(&segment.hash());
    let distinct = refs.into_iter().filter(|segment| counts(segment) && seen.insert(segment.hash()));
    let open = |segment: SegmentRef| {
        let hash = segment.hash();
        let cannot = Error::damaged(format!("index segment {hash}"), "cannot be merged: it cannot be read");
        Ok((segment, repo.segment(&hash).ok_or(cannot)?.clone()))
    };
    distinct.map(open).collect()
}

/// Which of these segments stay as they are, and which become one each, when no work is spared.
fn choose_all(repo: &Repository, refs: Vec<SegmentRef>) -> Result<(Vec<SegmentRef>, Vec<Group>)> {
    let (view, sealer) = (&repo.state().view, &repo.base().sealer);
    let (mut kept, mut small) = (Vec::new(), Vec::new());
    for (segment, opened) in opened(repo, refs)? {
        let mut dead = 0;
        if opened.packs.iter().any(|pack| view.dead(*pack)) {
            opened.for_each(sealer, &mut |_, _, at| {
                dead += u64::from(view.dead(at.pack));
                Ok(())
            })?;
        }
        let wasteful = dead > 0 && 4 * dead >= opened.rows();
        match opened.rows() < SMALL_ROWS || wasteful {
            true => small.push((opened.rows() - dead, wasteful, segment, opened)),
            false => kept.push(segment),
        }
    }
    small.sort_by_key(|(rows, ..)| *rows);
    let mut merged = Vec::new();
    let mut small = small.into_iter().peekable();
    while small.peek().is_some() {
        let (mut group, mut sum, mut epochs) = (Vec::new(), 0, HashSet::new());
        while let Some(next) = small.next_if(|(rows, _, _, opened)| {
            epochs.extend(opened.epochs());
            group.is_empty() || sum + rows <= MERGE_ROWS_MAX && epochs.len() <= EPOCHS_MAX
        }) {
            sum += next.0;
            group.push(next);
        }
        match group.len() == 1 && !group[0].1 {
            true => kept.extend(group.into_iter().map(|(_, _, segment, _)| segment)),
            false => merged.push(group.into_iter().map(|(.., opened)| opened).collect()),
        }
    }
    Ok((kept, merged))
}

/// Which of these segments stay as they are, and which become one.
fn choose(repo: &Repository, refs: Vec<SegmentRef>) -> Result<(Vec<SegmentRef>, Group)> {
    let (mut kept, mut small) = (Vec::new(), Vec::new());
    for (segment, opened) in opened(repo, refs)? {
        match opened.rows() < SMALL_ROWS {
            true => small.push((segment, opened)),
            false => kept.push(segment),
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
        kept.extend(merged.drain(..).map(|(segment, _)| segment));
    }
    Ok((kept, merged.into_iter().map(|(_, opened)| opened).collect()))
}

/// Adds all rows of `segments` to `rows`, but those of dead packs. Far away, they are read in few requests.
fn rows_of(
    segments: &[Arc<Segment>],
    base: &Unlocked,
    state: &State,
    rows: &mut SegmentBuilder,
) -> Result<()> {
    let mut add = |kind, id: &[u8; ID_PREFIX_LEN], at: &Location| {
        if !state.view.dead(at.pack) {
            rows.add(kind, id, at);
        }
        Ok(())
    };
    let (mut stored, mut here) = (Vec::new(), Vec::new());
    for segment in segments {
        match segment.name() {
            Some(name) => stored.push((segment, name)),
            None => here.push(segment),
        }
    }
    here.into_iter().try_for_each(|segment| segment.for_each(&base.sealer, &mut add))?;
    let runs =
        stored.into_iter().flat_map(|(segment, name)| segment.runs().map(move |run| (segment, name, run)));
    let mut runs = runs.peekable();
    let together = if base.store.capabilities().local { 1 } else { TOGETHER_BYTES };
    while runs.peek().is_some() {
        let (mut wave, mut ranges, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((segment, name, run)) = runs.next_if(|_| bytes < together) {
            bytes += run.len;
            ranges.push(Range { name: name.clone(), offset: run.at, len: run.len });
            wave.push((segment, run));
        }
        for ((segment, run), sealed) in wave.into_iter().zip(base.store.get_ranges(&ranges)) {
            segment.for_each_in(&run, &sealed?, &base.sealer, &mut add)?;
        }
    }
    Ok(())
}
