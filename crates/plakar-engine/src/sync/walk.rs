//! The walk of a sync within a domain, on a thread of its own.
//!
//! What has to be read of the source does not depend on what the destination says, but for the base that is compared with,
//! and that is nearly always held. So the walk goes on while the session begins, and while what it found is sent; should
//! the base not be held, it is begun anew. Far away a second thread asks the destination's index about what was found, so
//! that its answers are there when they are needed.

use super::blocks::{ASKED_MAX, Blocks, Wanted};
use super::diff::Diff;
use super::lost::Lost;
use crate::error::Result;
use crate::index::Index;
use crate::repository::Repository;
use crate::tree::NodeId;
use plakar_store::ReadStore;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// The walk is so many waves ahead of what is sent.
const WAVES_AHEAD: usize = 4;

/// A wave; or why the walk has ended early.
type Wave = Result<Vec<Wanted>>;

/// A walk over what one snapshot needs, under way.
pub struct Walk<'s> {
    old: Option<NodeId>,
    /// What it finds. Dropped, it ends the walk.
    pub waves: Receiver<Wave>,
    thread: ScopedJoinHandle<'s, Lost>,
}

impl<'s> Walk<'s> {
    /// Begins to look for what the tree at `root` has that the one at `old`, which the destination has whole, has not.
    pub fn begin<'e>(
        scope: &'s Scope<'s, 'e>,
        blocks: &'e Blocks<'e>,
        root: NodeId,
        old: Option<NodeId>,
        there: &Asking,
    ) -> Walk<'s> {
        let (out, mut waves) = sync_channel(WAVES_AHEAD);
        let thread = scope.spawn(move || walk(blocks, root, old, &out));
        if let Asking::Ahead(index, store) = there.clone() {
            let (out, asked) = sync_channel(WAVES_AHEAD);
            let found = std::mem::replace(&mut waves, asked);
            scope.spawn(move || ask(&index, &*store, found, &out));
        }
        Walk { old, waves, thread }
    }

    /// Whether this tree is the one it compares with.
    pub fn is_from(&self, old: Option<NodeId>) -> bool {
        self.old == old
    }

    /// What the source lacks, once there are no more waves.
    pub fn lost(self) -> Lost {
        drop(self.waves);
        self.thread.join().expect("a walk does not panic")
    }
}

fn walk(blocks: &Blocks, root: NodeId, old: Option<NodeId>, out: &SyncSender<Wave>) -> Lost {
    let mut lost = Lost::default();
    let mut diff = Diff::new(root, old);
    let mut more = true;
    while more {
        let mut found = Vec::new();
        let wave = diff.wave(blocks, &mut found, &mut lost);
        more = matches!(wave, Ok(true));
        if out.send(wave.map(|_| found)).is_err() {
            break;
        }
    }
    lost
}

fn ask(index: &Index, store: &dyn ReadStore, found: Receiver<Wave>, out: &SyncSender<Wave>) {
    for wave in found {
        // Of more, what is read would be forgotten before it is looked up.
        if let Ok(wave) = &wave
            && wave.len() <= ASKED_MAX
        {
            index.prefetch(&wave.iter().map(|wanted| wanted.item).collect::<Vec<_>>(), store);
        }
        if out.send(wave).is_err() {
            return;
        }
    }
}

/// When the index of the destination is asked.
#[derive(Clone)]
pub enum Asking {
    /// It is near.
    WhenNeeded,
    /// It is far away: as soon as something is found, whatever else is waited for meanwhile.
    Ahead(Arc<Index>, Arc<dyn ReadStore>),
}

impl Asking {
    /// How to ask this repository.
    pub fn of(destination: &Repository) -> Asking {
        let store = &destination.base.store;
        match store.capabilities().local {
            true => Asking::WhenNeeded,
            false => Asking::Ahead(destination.index.clone(), store.clone()),
        }
    }
}
