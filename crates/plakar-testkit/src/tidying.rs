//! Cleanups without patience, and removals, of whole repositories.

use crate::world::open;
use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, CleanupReport, Estimate, cleanup};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::write::remove;
use plakar_engine::{Result, repository::Repository};
use plakar_store::Store;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Whoever is told of what a cleanup does, and does not listen.
pub struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

/// Who cleans up and removes here.
pub fn author(repo: &Repository) -> Author {
    Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) }
}

/// A cleanup that has no patience with anybody, and moves whatever it can.
pub fn options(repo: &Repository) -> CleanupOptions {
    CleanupOptions {
        author: author(repo),
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: false },
    }
}

/// Cleans up so.
pub fn clean(store: &Arc<dyn Store>) -> Result<CleanupReport> {
    let repo = open(store.clone())?;
    let options = options(&repo);
    cleanup(repo, store, &options, &mut Quiet, &AtomicBool::new(false)).map(|(report, _)| report)
}

/// Removes the snapshots that were made in these seconds; all of them if there are none.
pub fn remove_made(store: &Arc<dyn Store>, made: &[i64]) -> Result<()> {
    let mut repo = open(store.clone())?;
    let snapshots = repo.state().snapshots();
    let goes = snapshots.iter().filter(|one| made.is_empty() || made.contains(&one.row.created.secs));
    let sessions: Vec<_> = goes.map(|one| one.session).collect();
    let author = author(&repo);
    remove(&mut repo, &**store, &author, &sessions, 2_000_000_000)
}
