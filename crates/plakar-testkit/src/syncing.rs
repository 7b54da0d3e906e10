//! Syncing between repositories of tests.

use crate::world::open;
use plakar_engine::Result;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Row;
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Counts, Selection, SyncObserver, SyncOptions, SyncReport, sync};
use plakar_store::{ReadStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How to sync.
#[derive(Debug, Clone, Default)]
pub struct Syncing {
    /// Which snapshots.
    pub selection: Selection,
    /// When it announces what it sent.
    pub checkpoints: Checkpoints,
    /// Ends it at this call of the observer.
    pub interrupt_at: Option<u64>,
}

/// What an observer was told.
#[derive(Debug, Default)]
pub struct Heard {
    /// UUIDs of what was sent.
    pub sent: Vec<String>,
    /// UUIDs of what was withheld, each with what it said of paths.
    pub withheld: Vec<(String, Vec<String>)>,
    /// How often it was told of progress.
    pub calls: u64,
    interrupt_at: Option<u64>,
    interrupted: Arc<AtomicBool>,
}

impl SyncObserver for Heard {
    fn sent(&mut self, row: &Row, _: &Counts) {
        self.sent.push(row.uuid_text());
    }

    fn withheld(&mut self, row: &Row, paths: &[String], more: u64) {
        assert!(!paths.is_empty() && (more == 0 || paths.len() >= 1000));
        self.withheld.push((row.uuid_text(), paths.to_vec()));
    }

    fn progress(&mut self, _: &Counts) {
        self.calls += 1;
        if self.interrupt_at == Some(self.calls) {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// Gives `to` what it lacks of `from`. What was heard is told even when it fails.
pub fn sync_stores(
    from: Arc<dyn ReadStore>,
    to: &Arc<dyn Store>,
    syncing: &Syncing,
) -> (Heard, Result<(SyncReport, Repository)>) {
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut heard =
        Heard { interrupt_at: syncing.interrupt_at, interrupted: interrupted.clone(), ..Heard::default() };
    let result = (|| {
        let source = open(from)?;
        let destination = open(to.clone())?;
        let options = SyncOptions {
            selection: syncing.selection.clone(),
            author: Author { replica: destination.base().replica().id, writer: WriterId([2; 16]) },
            now: 1_700_000_000,
            workers: 1,
            verify: true,
            may_admin: true,
            checkpoints: syncing.checkpoints,
        };
        sync(&source, destination, to, &options, &mut heard, &interrupted)
    })();
    (heard, result)
}

/// Syncs everything between healthy repositories; all must go well.
pub fn synced(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> (SyncReport, Repository) {
    let (heard, result) = sync_stores(from.clone(), to, &Syncing::default());
    assert_eq!(heard.withheld, []);
    result.expect("a sync between healthy repositories")
}

/// UUID, time, roots and size of each visible snapshot: what `ls` shows.
pub fn lines(repo: &Repository) -> Vec<String> {
    let line = |row: &Row| {
        let roots: Vec<_> = row.roots.iter().map(|root| String::from_utf8_lossy(&root.0)).collect();
        format!("{} {:?} {} {}", row.uuid_text(), row.created, row.root.totals.bytes, roots.join(", "))
    };
    repo.state().snapshots().iter().map(|snapshot| line(snapshot.row)).collect()
}
