//! Undelete: showing a snapshot again that was removed.
//!
//! A Removed is never taken back, so this is a publication like any other: a new session with the same row. It holds
//! nothing: what was removed may be collected at any moment. So the tree is walked from its root, and every node and
//! chunk of it is asked for:
//!
//! 1. What lies in a pack that may be relied on is relied on.
//! 2. What can still be read elsewhere, in a pack that a collector has marked, is stored again, in whole blocks where
//!    that pays.
//! 3. What is gone is told, and nothing is published.
//!
//! The session pins what was removed, so that a collector which begins meanwhile leaves it alone; nothing relies on that.

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::log::Snapshot;
use crate::log::fact::Row;
use crate::read::{CACHE_BYTES_DEFAULT, Reader};
use crate::repository::Repository;
use crate::sync::blocks::Blocks;
use crate::sync::lost::Lost;
use crate::sync::transfer::transfer;
use crate::sync::walk::{Asking, Walk};
use crate::sync::{Counts, Moving, Run, SyncObserver, SyncOptions, begin};
use crate::tree::Directory;
use crate::write::Ended;
use plakar_store::Store;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How often it is begun again because cleanups took away what it relied on.
const ATTEMPTS_MAX: usize = 3;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undeleted {
    /// The snapshot is visible again.
    Published,
    /// Somebody else did it meanwhile.
    Visible,
    /// Some of it is gone: a sentence for each path, and how many more there are. Nothing was published.
    Gone {
        /// The sentences.
        paths: Vec<String>,
        /// How many more paths there are.
        more: u64,
    },
}

/// The removed snapshots of which there is something left: those whose root can be read. Whether all of it is there only
/// [`undelete`] finds out.
///
/// # Errors
/// What keeps it from being found out; not that something is gone.
pub fn candidates(repo: &Repository) -> Result<Vec<Snapshot<'_>>> {
    let reader = Reader::new(repo, CACHE_BYTES_DEFAULT);
    let mut there = Vec::new();
    for snapshot in repo.state.removed_snapshots() {
        match Directory::open(&reader, &snapshot.row.root.node) {
            Ok(_) => there.push(snapshot),
            Err(e) if e.is_damage() || e.is_not_found() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(there)
}

/// Publishes again what `session` published and somebody removed. `store` is the repository's, to be written. Of `options`,
/// who writes and how counts; nothing is selected. The observer is told of progress only.
///
/// # Errors
/// [`Error::Refused`] when the session has published nothing, or when cleanups keep taking away what is relied on;
/// [`Error::Damaged`] with an unreadable object in `admin/`; [`Error::Interrupted`]; store errors. Nothing was published
/// then, unless the error came from the very last steps.
pub fn undelete(
    repo: Repository,
    store: &Arc<dyn Store>,
    session: SessionId,
    options: &SyncOptions,
    observer: &mut dyn SyncObserver,
    interrupted: &AtomicBool,
) -> Result<(Undeleted, Repository)> {
    let mut repo = repo;
    let removed = repo.state.removed().find(|removed| removed.session == session);
    let Some(row) = removed.map(|removed| removed.row.clone()) else {
        return Err(Error::Refused(format!("{}: session {session} was not removed", repo.location())));
    };
    let mut run = Run::new(options, observer, interrupted);
    for _ in 0..ATTEMPTS_MAX {
        if is_visible(&repo, &row) {
            return Ok((Undeleted::Visible, repo));
        }
        // All that published it: each of them pins the same tree.
        let hints: Vec<_> =
            repo.state.removed().filter(|other| *other.row == row).map(|other| other.session).collect();
        let base = repo.base.clone();
        let reader = Reader::new(&repo, CACHE_BYTES_DEFAULT);
        let asking = Asking::of(&repo);
        let (session, _) = begin(options, repo, store, &[], &hints)?;
        let mut moving = Moving { session, partial: None, counts: Counts::default(), before: 0 };
        let blocks = Blocks::new(&base, &reader);
        let lost: Lost = std::thread::scope(|scope| {
            let walk = Walk::begin(scope, &blocks, row.root.node, None, &asking);
            transfer(&mut run, &blocks, walk, &mut moving)
        })?;
        if !lost.is_empty() {
            // What was stored again is announced all the same. A session that has said nothing must not end.
            moving.session.flush()?;
            let repo = match moving.session.stored_bytes() {
                0 => moving.session.give_up(None)?,
                _ => moving.session.publish(None)?.1,
            };
            let (mut paths, more) = lost.tell_paths(&reader, &row.root.node)?;
            if paths.is_empty() {
                // When it was looked for once more, it was there again.
                paths = lost.items().map(|(item, why)| format!("{item}: {why}")).collect();
            }
            return Ok((Undeleted::Gone { paths, more }, repo));
        }
        if is_visible(moving.session.repository(), &row) {
            return Ok((Undeleted::Visible, moving.session.give_up(None)?));
        }
        let (ended, after) = moving.session.publish(Some(row.clone()))?;
        match ended {
            Ended::Published => return Ok((Undeleted::Published, after)),
            Ended::Lost => repo = after,
        }
    }
    let location = repo.location();
    Err(Error::Refused(format!("{location}: cleanups keep taking away what is to be shown again; try later")))
}

fn is_visible(repo: &Repository, row: &Row) -> bool {
    repo.state.publications().iter().any(|published| published.row == row)
}
