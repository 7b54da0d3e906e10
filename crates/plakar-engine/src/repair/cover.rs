//! Ending it: what names a lost segment is said again, but for that segment.

use super::{RepairOptions, refuse_unless_writable};
use crate::error::{Error, Result};
use crate::id::{ObjectHash, SessionId};
use crate::log::LogObject;
use crate::log::fact::{Fact, Mark, SegmentRef};
use crate::log::object::hash_in_name;
use crate::protocol::{Collector, Decision, Plan};
use crate::repository::Repository;
use crate::write::put_facts;
use plakar_store::Store;
use std::collections::{BTreeMap, BTreeSet, HashSet};

type Lost = BTreeMap<ObjectHash, String>;

fn segments_of(object: &LogObject) -> impl Iterator<Item = &SegmentRef> {
    object.facts.iter().flat_map(|fact| match fact {
        Fact::Prepared(prepared) => prepared.segments.iter(),
        Fact::Checkpoint(checkpoint) => checkpoint.segments.iter(),
        _ => [].iter(),
    })
}

fn names_lost(object: &LogObject, lost: &Lost) -> bool {
    segments_of(object).any(|segment| lost.contains_key(&segment.hash()))
}

/// The sessions that name a lost segment, have not ended, and were not heard of for long. None while an object of the
/// log cannot be read: it may be the end of one of them.
pub fn silent(repo: &Repository, lost: &Lost, options: &RepairOptions) -> BTreeSet<SessionId> {
    if lost.is_empty() || repo.log().damaged().next().is_some() {
        return BTreeSet::new();
    }
    let mut naming = HashSet::new();
    for (_, object) in repo.log().objects().filter(|(_, object)| names_lost(object, lost)) {
        for fact in &object.facts {
            if let Fact::Prepared(prepared) = fact {
                naming.insert(prepared.session);
            }
        }
    }
    let mut silent = crate::cleanup::silent(repo, &|received_ms| options.is_old(received_ms));
    silent.retain(|session| naming.contains(session));
    silent
}

/// Gives up sessions that keep facts from being covered, as a collector does, but for that no pack is marked: so nothing
/// needs a rescue. Returns how many.
pub fn revoke(repo: &mut Repository, store: &dyn Store, lost: &Lost, options: &RepairOptions) -> Result<u64> {
    let plan = Plan::new(&repo.state().view, [], silent(repo, lost, options));
    if plan.is_empty() {
        return Ok(0);
    }
    let put = |fact, repo: &Repository| put_facts(&[fact], store, &options.author, repo.base(), options.now);
    let revokes: Vec<_> = plan.revokes.iter().copied().collect();
    let count = revokes.len() as u64;
    let (collector, _) = Collector::mark(SessionId::random(), plan);
    put(Fact::Mark(Mark { id: collector.name(), packs: Vec::new(), revokes }), repo)?;
    repo.refresh()?;
    refuse_unless_writable(repo)?;
    if !repo.state().view.knows_mark(collector.name()) || repo.log().damaged().next().is_some() {
        // The store does not show what was put, or hides what may be an end: the mark stays open.
        return Ok(0);
    }
    let decision = collector.looked(&repo.state().view, |_, _| Ok::<_, Error>(BTreeSet::new()))?;
    match decision {
        Decision::Dead(..) => {
            put(Fact::Dead(collector.name()), repo)?;
            repo.refresh()?;
            Ok(count)
        }
        // One of them has just ended: its facts can be covered now, and the others wait for the next run.
        _ => Ok(0),
    }
}

/// Puts a Checkpoint that covers every object that names a `lost` segment and may be covered, and that names `made`
/// instead: they and the other segments list all that can be listed. Returns how many lost segments no object names any more.
///
/// Of a session whose end is there and whose beginning is not, nothing is covered: that it was lost would be forgotten.
pub fn cover(
    repo: &mut Repository,
    store: &dyn Store,
    lost: &Lost,
    made: &[SegmentRef],
    options: &RepairOptions,
) -> Result<u64> {
    refuse_unless_writable(repo)?;
    let Some((mut checkpoint, coverable)) = repo.state().fold(repo.log()) else { return Ok(0) };
    let coverable: HashSet<_> = coverable.into_iter().collect();
    let broken: HashSet<_> = repo.state().view.ended_without_beginning().collect();
    let is_whole = |object: &LogObject| {
        object.facts.iter().all(|fact| match fact {
            Fact::Prepared(prepared) => !broken.contains(&prepared.session),
            Fact::Final(session) => !broken.contains(session),
            _ => true,
        })
    };
    let readable = |segment: &SegmentRef| {
        let hash = segment.hash();
        lost.contains_key(&hash) || repo.segment(&hash).is_some()
    };
    let covered: Vec<_> = repo
        .log()
        .objects()
        .filter(|(name, object)| coverable.contains(*name) && names_lost(object, lost) && is_whole(object))
        // One that was lost since packs were listed is for the next run.
        .filter(|(_, object)| segments_of(object).all(readable))
        .collect();
    if covered.is_empty() {
        return Ok(0);
    }
    checkpoint.published.retain(|published| !broken.contains(&published.session));
    let covers = covered.iter().filter_map(|(name, _)| hash_in_name(name));
    checkpoint.covers = covers.chain(repo.log().covered().iter().copied()).collect();
    let mut seen = HashSet::new();
    let named = covered.iter().flat_map(|(_, object)| segments_of(object)).chain(made);
    let named = named.filter(|segment| !lost.contains_key(&segment.hash()));
    checkpoint.segments = named.filter(|segment| seen.insert(segment.hash())).cloned().collect();
    let fact = Fact::Checkpoint(Box::new(checkpoint));
    put_facts(&[fact], store, &options.author, repo.base(), options.now)?;
    repo.refresh()?;
    let left: HashSet<_> = repo.state().segments().iter().map(|(hash, _)| *hash).collect();
    Ok(lost.keys().filter(|hash| !left.contains(hash)).count() as u64)
}
