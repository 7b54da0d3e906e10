//! Cleanup: giving back the space of what no snapshot needs any more.
//!
//! Any number of pushes, syncs and other cleanups may run meanwhile: there is no lock, and no clock has a say in what is
//! safe. The order is that of a [`Collector`]:
//!
//! 1. Everything that visible snapshots and unfinished sessions need is noted (`live`, `walk`).
//! 2. Packs are chosen (`plan`): those that nobody needs, those that a quarter is not needed of, those in which something
//!    that is not needed is known to be bad, those that an earlier cleanup has marked and not finished, many small ones. A
//!    Mark names them.
//! 3. The log is read again. What anything in it needs of the marked packs is stored again (`rescue`), and the log read
//!    once more, until nothing is needed. Then comes the Dead, and then the packs are deleted.
//! 4. The log is folded, the index merged, and what that covers deleted (`sweep`), once it is proven that nothing of it is
//!    lost.
//!
//! Ended at any moment it leaves a whole repository; the next one finishes its work. What cannot be read under a visible
//! snapshot stops it before anything is deleted.

mod going;
mod live;
mod plan;
mod rescue;
mod rows;
mod sweep;
mod walk;

use crate::block::Compression;
use crate::error::{Error, Result};
use crate::id::{ObjectHash, SessionId};
use crate::index::segment::{Author, Segment};
use crate::log::fact::{Fact, Mark};
use crate::protocol::{Collector, Decision, Plan};
use crate::read::Reader;
use crate::repository::Repository;
use crate::write::{SessionOptions, fold_all, put_facts};
use going::Going;
use live::Live;
use plakar_store::Store;
pub(crate) use plan::silent;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How much of opened blocks is kept while walking: each node is read once.
const CACHE_BYTES: usize = 8 << 20;
/// So often something new is found to be needed of what is marked; then others are faster than this run.
const LOOKS_MAX: usize = 10;

/// How to clean up.
#[derive(Debug, Clone)]
pub struct CleanupOptions {
    /// Who writes.
    pub author: Author,
    /// Seconds since 1970.
    pub now: i64,
    /// Packs that nobody announced and sessions that are not finished are left alone for so many seconds after they were
    /// last heard of. No matter of safety: a writer that is still there afterwards sees what happened and does its work again.
    pub grace: i64,
    /// At most so many bytes are stored again to free others.
    pub max_repack: u64,
    /// How many threads compress and seal.
    pub workers: usize,
    /// How much to compress what is sealed anew, and whether to verify that.
    pub compression: Compression,
}

impl CleanupOptions {
    fn is_old(&self, received_ms: i64) -> bool {
        received_ms <= (self.now - self.grace).saturating_mul(1000).saturating_add(999)
    }

    fn session(&self) -> SessionOptions {
        SessionOptions {
            author: self.author,
            compression: self.compression,
            workers: self.workers,
            now: self.now,
            // The log is folded once, in the end.
            may_admin: false,
        }
    }
}

/// What a cleanup would do, as far as that can be told before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Packs that go.
    pub packs: u64,
    /// How many of them hold something that is needed, which is stored again,
    pub repacked: u64,
    /// and about how many bytes that is.
    pub moved: u64,
    /// Packs that an earlier run declared dead and that are still there.
    pub dead_packs: u64,
    /// Packs that no writer announced.
    pub strays: u64,
    /// Packs that are left as they are, because it would be too much to store again.
    pub left: u64,
    /// Packs that are left because something in them is needed and damaged.
    pub hopeless: u64,
    /// Sessions that are taken for dead.
    pub revoked: u64,
    /// About how many bytes become free.
    pub freed: u64,
}

/// What a cleanup did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// What was intended.
    pub estimate: Estimate,
    /// Packs that were deleted,
    pub packs: u64,
    /// and how many bytes they had.
    pub bytes: u64,
    /// Sealed bytes that were read to be stored again.
    pub moved: u64,
    /// Objects of the log that were deleted.
    pub facts: u64,
    /// Index segments that were deleted.
    pub segments: u64,
    /// Sessions that ended while this run wanted to revoke them. Then nothing was deleted: run it again.
    pub ended_meanwhile: u64,
}

/// Told what happens during a cleanup.
pub trait CleanupObserver {
    /// What it is about to do.
    fn planned(&mut self, estimate: &Estimate);
    /// So many sealed bytes were read to be stored again. Called often.
    fn moved(&mut self, bytes: u64);
}

/// What [`cleanup`] would do now. Writes nothing.
///
/// # Errors
/// As [`cleanup`].
pub fn estimate(repo: &Repository, options: &CleanupOptions, interrupted: &AtomicBool) -> Result<Estimate> {
    let mut run = Run { live: Live::default(), known: Vec::new(), skipped: false, interrupted };
    Ok(run.choose(repo, options)?.0.estimate)
}

/// Cleans up `repo`, whose store is given to be written. Returns what was done and the repository as it is afterwards.
///
/// # Errors
/// [`Error::Damaged`] and [`Error::Refused`] when something that must be read cannot be: then nothing was deleted.
/// [`Error::Interrupted`], store errors: whatever was done until then may stay, and the next run goes on.
pub fn cleanup(
    repo: Repository,
    store: &Arc<dyn Store>,
    options: &CleanupOptions,
    observer: &mut dyn CleanupObserver,
    interrupted: &AtomicBool,
) -> Result<(CleanupReport, Repository)> {
    let mut repo = repo;
    let mut report = CleanupReport::default();
    let mut run = Run { live: Live::default(), known: Vec::new(), skipped: false, interrupted };
    let (chosen, mut sizes) = run.choose(&repo, options)?;
    report.estimate = chosen.estimate;
    observer.planned(&chosen.estimate);
    let plan = Plan::new(&repo.state().view, chosen.packs, chosen.revokes);
    if !plan.is_empty() {
        repo = run.collect(repo, store, plan, options, observer, &mut report)?;
    }
    if report.ended_meanwhile == 0 {
        // What earlier runs declared dead, too.
        (report.packs, report.bytes) = sweep::packs(&repo, &**store, &sizes)?;
    }
    sizes.clear();
    drop(run);
    fold_all(&mut repo, &**store, &options.author, options.now)?;
    let swept = sweep::covered(&repo, &**store)?;
    (report.facts, report.segments) = (swept.facts, swept.segments);
    store.barrier()?;
    Ok((report, repo))
}

/// What is known during a run.
struct Run<'a> {
    live: Live,
    /// The segments of the index that are in `live`.
    known: Vec<Arc<Segment>>,
    skipped: bool,
    interrupted: &'a AtomicBool,
}

impl Run<'_> {
    fn choose(&mut self, repo: &Repository, options: &CleanupOptions) -> Result<(plan::Chosen, plan::Sizes)> {
        if !repo.base().replica().strong_list {
            let why = "its store does not promise to list everything that was put, so nothing can be deleted safely";
            return Err(Error::Refused(format!("{}: {why}", repo.location())));
        }
        let revokes = plan::silent(repo, &|received_ms| options.is_old(received_ms));
        self.look(repo, &revokes, &BTreeSet::new())?;
        let sizes = plan::sizes(&*repo.base().store)?;
        if !sizes.is_empty() && repo.log().objects().next().is_none() {
            // Every pack would be nobody's; but whoever stores the first one says so before.
            let why = "says nothing, and there are packs, so nothing is deleted: if it was lost, 'plakar heal from' a copy brings it back";
            return Err(Error::damaged("log/", why));
        }
        Ok((plan::choose(repo, &self.live, &sizes, revokes, options), sizes))
    }

    /// Notes what the log, as it was read last, needs. `packs` are about to go.
    fn look(
        &mut self,
        repo: &Repository,
        revokes: &BTreeSet<SessionId>,
        packs: &BTreeSet<ObjectHash>,
    ) -> Result<()> {
        // What cannot be read may say that something is needed.
        if let Some(damage) = repo.damaged().into_iter().next() {
            let why = "nothing is deleted while it cannot be read; see 'plakar repair'";
            return Err(Error::damaged(damage, why));
        }
        // What it published is not seen to be needed, and its packs look like nobody's.
        if let Some(lost) = repo.lost_sessions().into_iter().next() {
            return Err(Error::damaged(lost, "nothing is deleted before that"));
        }
        let view = &repo.state().view;
        let segments = repo.index().segments();
        let known = |segment: &Arc<Segment>| self.known.iter().any(|known| Arc::ptr_eq(known, segment));
        let news = segments.iter().filter(|segment| !known(segment)).map(|segment| &**segment);
        let goes = |pack: &ObjectHash| match packs.contains(pack) {
            true => Some(true),
            false => view.may_rely(*pack).then_some(false),
        };
        self.live.add(news, &repo.base().sealer, &|pack| view.dead(*pack), &goes)?;
        self.known = segments;
        let reader = Reader::new(repo, CACHE_BYTES);
        let kept = view.kept(revokes);
        walk::walk(&mut self.live, &reader, repo.state(), &kept, &mut self.skipped, self.interrupted)
    }

    /// From the Mark to the Dead.
    fn collect(
        &mut self,
        repo: Repository,
        store: &Arc<dyn Store>,
        plan: Plan<SessionId, ObjectHash>,
        options: &CleanupOptions,
        observer: &mut dyn CleanupObserver,
        report: &mut CleanupReport,
    ) -> Result<Repository> {
        let mut repo = repo;
        let (collector, _) = Collector::mark(SessionId::random(), plan);
        let packs = collector.plan().packs.iter().copied().collect();
        let revokes = collector.plan().revokes.iter().copied().collect();
        let put = |fact: Fact, repo: &Repository| {
            put_facts(&[fact], &**store, &options.author, repo.base(), options.now)
        };
        put(Fact::Mark(Mark { id: collector.name(), packs, revokes }), &repo)?;
        for _ in 0..LOOKS_MAX {
            repo.refresh()?;
            let view = &repo.state().view;
            if !view.knows_mark(collector.name()) {
                return Err(Error::damaged(
                    "admin/",
                    "the store does not show what was put there a moment ago",
                ));
            }
            let decision = collector.looked(view, |_, _| {
                let Plan { packs, revokes } = collector.plan();
                self.look(&repo, revokes, packs)?;
                if let Some(needed) = Going::new(&self.live, view, packs).needed() {
                    return Ok(needed);
                }
                (self.live, self.known) = (Live::default(), Vec::new());
                self.look(&repo, revokes, packs)?;
                let needed = Going::new(&self.live, view, packs).needed();
                Ok::<_, Error>(needed.expect("nothing was forgotten since"))
            })?;
            match decision {
                Decision::Stop(ended) => {
                    report.ended_meanwhile = ended.len() as u64;
                    return Ok(repo);
                }
                Decision::Rescue(packs) => {
                    let mut moved = |bytes| {
                        report.moved += bytes;
                        observer.moved(report.moved);
                    };
                    let state = repo.state.clone();
                    let going = Going::new(&self.live, &state.view, &collector.plan().packs);
                    let wanted = rescue::Wanted { live: &self.live, going: &going, packs: &packs };
                    repo = rescue::rescue(repo, store, &wanted, options, &mut moved, self.interrupted)?;
                }
                Decision::Dead(..) => {
                    put(Fact::Dead(collector.name()), &repo)?;
                    repo.refresh()?;
                    return Ok(repo);
                }
            }
        }
        let why = "what other clients need of the packs that go changes faster than it is stored again; run it later";
        Err(Error::Refused(format!("{}: {why}", repo.location())))
    }
}
