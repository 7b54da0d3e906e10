//! A sync in progress.

use super::{Counts, SyncObserver, SyncOptions};
use crate::block::Compression;
use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::log::fact::Partial;
use crate::push::Schedule;
use crate::repository::Repository;
use crate::write::{Session, SessionOptions};
use plakar_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A sync in progress, as far as it is the same for all snapshots.
pub struct Run<'o> {
    pub options: &'o SyncOptions,
    pub observer: &'o mut dyn SyncObserver,
    interrupted: &'o AtomicBool,
    schedule: Schedule,
}

/// One snapshot on its way.
pub struct Moving {
    pub session: Session,
    /// What describes it to a later run.
    pub partial: Option<Partial>,
    pub counts: Counts,
    /// Bytes of the snapshots before.
    pub before: u64,
}

impl<'o> Run<'o> {
    pub fn new(
        options: &'o SyncOptions,
        observer: &'o mut dyn SyncObserver,
        interrupted: &'o AtomicBool,
    ) -> Run<'o> {
        Run { options, observer, interrupted, schedule: Schedule::new(&options.checkpoints) }
    }

    pub fn stop_if_interrupted(&mut self, moving: &mut Moving) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            moving.session.checkpoint(moving.partial.clone())?;
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    /// To be called whenever something was given to the session.
    pub fn stored(&mut self, moving: &mut Moving) -> Result<()> {
        let bytes = moving.before + moving.session.stored_bytes();
        self.schedule.bytes += bytes - std::mem::replace(&mut moving.counts.bytes, bytes);
        self.observer.progress(&moving.counts);
        if self.schedule.is_due() {
            moving.session.checkpoint(moving.partial.clone())?;
            self.schedule.done();
        }
        Ok(())
    }

    /// The same, in the middle of a file that is cut anew.
    pub fn translated(&mut self, session: &mut Session, counts: &mut Counts, bytes: u64) -> Result<()> {
        counts.translated += bytes;
        self.schedule.bytes += bytes;
        self.observer.progress(counts);
        if self.schedule.is_due() || self.interrupted.load(Ordering::Relaxed) {
            session.checkpoint(None)?;
            self.schedule.done();
        }
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

/// Begins a session at the destination.
pub fn begin(
    options: &SyncOptions,
    destination: Repository,
    store: &Arc<dyn Store>,
    bases: &[SessionId],
    hints: &[SessionId],
) -> Result<(Session, Vec<SessionId>)> {
    let level = destination.base.config.compression;
    let session = SessionOptions {
        author: options.author,
        compression: Compression { level, verify: options.verify },
        workers: options.workers,
        now: options.now,
        may_admin: options.may_admin,
    };
    Session::begin(destination, store.clone(), session, bases, hints)
}
