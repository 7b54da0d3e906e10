//! Repair: making the index good again out of the packs, and noting which copies are bad. Nothing is deleted.
//!
//! An index is only ever a cache of pack directories. So what a lost segment listed can be listed again:
//!
//! 1. Every segment that counts is read (`survey`), and so is the directory of every pack in the store that is not dead.
//!    A pack counts as listed when one segment has all the rows that its directory gives.
//! 2. The others are listed in new segments (`listing`), announced by a session that publishes nothing.
//! 3. A Checkpoint says again what the facts said that name a lost segment, but for that segment (`cover`): from then on
//!    nobody looks for it any more. What a session says that has not ended cannot be covered; such a session is given up
//!    first when nothing was heard of it for long.
//! 4. Every pack is read, and blocks that are not what they must be are noted (`bad`).
//! 5. All visible snapshots are walked: what is missing then is lost here.
//!
//! Anybody may write meanwhile. Ended at any moment it leaves what there was and perhaps more; the next run goes on.
//!
//! *Packs that nobody announced* may belong to a writer at work, or be such that only a lost segment named. They are left
//! alone unless something is known to be lost. Announcing one early harms nobody: a collector that marks it and a writer
//! that relies on it look as they do for any other pack, one that is marked already stays so, and its own writer announces it
//! again. But what is announced must be durable, and its writer may not have come to its barrier: so its bytes are put
//! again, which changes nothing, before the barrier that comes before the Prepared.

mod bad;
mod cover;
mod listing;
mod survey;

use crate::check::{CheckOptions, Reads, check};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::segment::Author;
use crate::pack::pack_name;
use crate::repository::Repository;
use plakar_store::Store;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use survey::Survey;

/// How to repair.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// Who writes.
    pub author: Author,
    /// Seconds since 1970.
    pub now: i64,
    /// Sessions that have not ended and whose segments are lost are given up when nothing was heard of them for so many
    /// seconds. No matter of safety: such a writer sees it and does its work again.
    pub grace: i64,
    /// Does not read what is in packs, only where it is.
    pub fast: bool,
    /// How many threads read.
    pub workers: usize,
}

impl RepairOptions {
    fn is_old(&self, received_ms: i64) -> bool {
        received_ms <= (self.now - self.grace).saturating_mul(1000).saturating_add(999)
    }
}

/// What a repair did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Segments that count and are lost or damaged.
    pub segments: u64,
    /// Packs that are listed anew.
    pub packs: u64,
    /// How many of them nobody had announced, as far as can be told.
    pub strays: u64,
    /// Packs that nobody announced and that are left alone.
    pub left: u64,
    /// Packs whose directory cannot be read.
    pub unreadable: u64,
    /// Packs that are announced and not there.
    pub missing: u64,
    /// Copies that are noted as bad.
    pub bad: u64,
    /// Sessions that are given up.
    pub revoked: u64,
    /// Lost segments that nobody looks for any more.
    pub given_up: u64,
    /// What is wrong all the same, in as many sentences.
    pub lost: u64,
}

/// Told what happens during a repair.
pub trait RepairObserver {
    /// Something is damaged: a sentence that names it. It may be made good.
    fn damage(&mut self, what: &str);
    /// Something is wrong and stays so: a sentence that names the object, or the snapshot and path.
    fn lost(&mut self, what: &str);
    /// So many bytes of packs were read. Called often.
    fn progress(&mut self, read: u64);
}

/// What [`repair`] would do now. Writes nothing.
///
/// # Errors
/// As [`repair`].
pub fn estimate(
    repo: Repository,
    options: &RepairOptions,
    observer: &mut dyn RepairObserver,
    interrupted: &AtomicBool,
) -> Result<RepairReport> {
    let mut repo = repo;
    let found = Survey::make(&mut repo, observer, interrupted)?;
    let mut report = found.report();
    let silent = cover::silent(&repo, &found.lost, options);
    report.revoked = silent.len() as u64;
    if !options.fast {
        report.bad = bad::find(&repo, &HashSet::new(), options, observer, interrupted)?.len() as u64;
    }
    for what in log_damage(&repo) {
        observer.lost(&what);
        report.lost += 1;
    }
    Ok(report)
}

/// Repairs `repo`, whose `store` is given to be written. Returns what was done and the repository as it is afterwards.
///
/// # Errors
/// [`Error::Damaged`] when an object in `admin/` cannot be read: nothing may be written then; [`Error::Refused`] when
/// the store does not promise to list everything. [`Error::Interrupted`], store errors: what was done until then stays,
/// and the next run goes on. What is lost for good is no error: see [`RepairObserver::lost`].
pub fn repair(
    repo: Repository,
    store: &Arc<dyn Store>,
    options: &RepairOptions,
    observer: &mut dyn RepairObserver,
    interrupted: &AtomicBool,
) -> Result<(RepairReport, Repository)> {
    let mut repo = repo;
    refuse_unless_writable(&repo)?;
    let found = Survey::make(&mut repo, observer, interrupted)?;
    let mut report = found.report();
    let listed = listing::list(&mut repo, store, &found, options, observer, interrupted)?;
    report.bad += listed.bad;
    if !found.lost.is_empty() {
        report.revoked = cover::revoke(&mut repo, &**store, &found.lost, options)?;
        repo = repo.base().clone().open()?;
        // What one of these may have known, and nobody else can say, is not given up while somebody needs it.
        let in_vain = found.unreadable.is_empty() || !walk(&repo, &mut |_| (), interrupted)?.incomplete;
        if in_vain {
            report.given_up = cover::cover(&mut repo, &**store, &found.lost, &listed.segments, options)?;
        }
        // Without the segments that are lost.
        repo = repo.base().clone().open()?;
    }
    if !options.fast {
        let bad = bad::find(&repo, &listed.proven, options, observer, interrupted)?;
        report.bad += bad.len() as u64;
        bad::note(&mut repo, &**store, bad, options)?;
    }
    report.lost = tell_lost(&mut repo, store, &found, options, observer, &mut report.bad, interrupted)?;
    Ok((report, repo))
}

fn refuse_unless_writable(repo: &Repository) -> Result<()> {
    if !repo.base().replica().strong_list {
        let why =
            "its store does not promise to list everything that was put, so nothing can be written safely";
        return Err(Error::Refused(format!("{}: {why}", repo.location())));
    }
    let unread = repo.log().damaged().find(|(name, _)| name.as_str().starts_with("admin/"));
    match unread {
        None => Ok(()),
        Some((name, e)) => {
            let why = "nothing may be written while it cannot be read, so nothing was repaired: 'plakar heal from' a copy of this repository may bring it back";
            Err(Error::damaged(name, format!("{why}: {e}")))
        }
    }
}

fn log_damage(repo: &Repository) -> Vec<String> {
    let say = |(name, e): (&plakar_store::Name, &Error)| {
        let what = match name.as_str().starts_with("admin/") {
            true => "it may say what was removed or deleted, so nothing may be written",
            false => "it may have been a snapshot",
        };
        format!("{e}: {what}; no pack says it again, but 'plakar heal from' a copy of this repository may")
    };
    repo.log().damaged().map(say).collect()
}

/// What a walk over all visible snapshots says.
struct Walked {
    /// How much is wrong.
    wrong: u64,
    /// Whether something that a snapshot needs is missing.
    incomplete: bool,
}

/// Walks all that is visible; everything that is wrong is told in a sentence.
fn walk(repo: &Repository, tell: &mut dyn FnMut(&str), interrupted: &AtomicBool) -> Result<Walked> {
    let options = CheckOptions { reads: Reads::Nothing, workers: 1 };
    let wrong = check(repo, &[], &options, tell, &mut |_| {}, interrupted)?.damaged;
    // The others are about a snapshot.
    let of_log = repo.damaged().len() + repo.state().view.ended_without_beginning().count();
    Ok(Walked { wrong, incomplete: wrong > of_log as u64 })
}

/// Walks all that is visible and tells what is wrong; returns how much that is.
fn tell_lost(
    repo: &mut Repository,
    store: &Arc<dyn Store>,
    found: &Survey,
    options: &RepairOptions,
    observer: &mut dyn RepairObserver,
    bad: &mut u64,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let of_log: HashSet<_> = repo.log().damaged().map(|(_, e)| e.to_string()).collect();
    log_damage(repo).iter().for_each(|what| observer.lost(what));
    let mut tell = |what: &str| {
        if !of_log.contains(what) {
            observer.lost(what);
        }
    };
    let walked = walk(repo, &mut tell, interrupted)?;
    let mut said = Vec::new();
    let kept = repo.state().segments().iter().filter(|(hash, _)| found.lost.contains_key(hash)).count();
    if kept > 0 {
        let why = match walked.incomplete {
            true => "lost segments are not given up while snapshots miss what one of them may have listed",
            false => {
                "pushes that have not ended name lost segments: run 'plakar repair' again when they have, or after -grace"
            }
        };
        said.push(why.to_owned());
    }
    let missing = bad::missing(repo)?;
    if !walked.incomplete {
        // Nobody needs them: so nobody is to count on them, and a check need not tell of them for ever.
        let rows = bad::all_in(repo, &missing)?;
        *bad += rows.len() as u64;
        bad::note(repo, &**store, rows, options)?;
    }
    for pack in &found.unreadable {
        if !options.fast && bad::is_read(repo, pack)? {
            let what = "its directory cannot be read; what the index lists of it can be, and 'plakar heal from' a copy stores that anew";
            said.push(format!("{}: {what}", pack_name(pack)));
        }
    }
    said.iter().for_each(|what| observer.lost(what));
    Ok(walked.wrong + said.len() as u64)
}

fn go_on(interrupted: &AtomicBool) -> Result<()> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// What is wrong with something that was to be read; an error that says nothing of it is returned.
fn only_damage<T>(result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) if e.is_damage() || e.is_not_found() => Ok(Err(e)),
        Err(e) => Err(e),
    }
}

type Packs = Vec<ObjectHash>;
