//! Reading ahead of a translation or a restore, on a thread of its own.
//!
//! Cutting, naming and sealing keep the other threads busy; that what they need is read, opened and proven costs as much
//! again as naming it, and far away it is waited for. What the new tree has and the old one has not is what a translation
//! reads, so the same walk as within a domain says what comes next. It may be wrong about that, or meet something that
//! cannot be read: then the translation finds nothing prepared, reads itself, and tells. Only that the source is gone as a
//! whole is told in the end, even if the translation needed nothing more of it: whether it did is chance.

use super::blocks::Blocks;
use super::diff::Diff;
use super::lost::Lost;
use crate::block::{ItemId, ItemKind};
use crate::error::Result;
use crate::id::NodeId;
use crate::read::Reader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

/// Calls `work`, which reads the tree at `root` with `reader` from front to back. Where the store is far away, its nodes are read
/// ahead of it, many in one request.
///
/// # Errors
/// What `work` returns.
pub fn with_tree_ahead<T>(reader: &Reader, root: NodeId, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if !reader.is_far() {
        return work();
    }
    let (blocks, stop) = (Blocks::new(reader.base(), reader), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ahead = Ahead::begin(scope, &blocks, (root, None), false, &stop);
        work()
    })
}

/// Reads ahead until it is ended or dropped.
pub struct Ahead<'s, 'e> {
    blocks: &'e Blocks<'e>,
    stop: &'e AtomicBool,
    thread: Option<ScopedJoinHandle<'s, Result<()>>>,
}

impl<'s, 'e> Ahead<'s, 'e> {
    /// Begins to read what the tree at `root` has that the one at `old` has not: its nodes, and `chunks` as well if asked to.
    pub fn begin(
        scope: &'s Scope<'s, 'e>,
        blocks: &'e Blocks<'e>,
        (root, old): (NodeId, Option<NodeId>),
        chunks: bool,
        stop: &'e AtomicBool,
    ) -> Ahead<'s, 'e> {
        let thread = scope.spawn(move || read(blocks, root, old, chunks, stop));
        Ahead { blocks, stop, thread: Some(thread) }
    }

    /// Ends it.
    ///
    /// # Errors
    /// What it met, if that says that the source is gone as a whole.
    pub fn end(mut self) -> Result<()> {
        self.blocks.reader.stop_ahead(self.stop);
        let ended = self.thread.take().expect("it is ended once").join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Ahead<'_, '_> {
    fn drop(&mut self) {
        self.blocks.reader.stop_ahead(self.stop);
    }
}

fn read(
    blocks: &Blocks,
    root: NodeId,
    old: Option<NodeId>,
    with_chunks: bool,
    stop: &AtomicBool,
) -> Result<()> {
    let mut diff = Diff::new(root, old);
    if blocks.are_near() {
        diff = diff.one_by_one();
    }
    let mut more = true;
    while more && !stop.load(Ordering::Relaxed) {
        let mut found = Vec::new();
        more = diff.wave(blocks, &mut found, &mut Lost::default())?;
        let items = found.iter().map(|wanted| wanted.item);
        let (nodes, chunks): (Vec<ItemId>, Vec<ItemId>) = items.partition(|item| item.kind == ItemKind::Node);
        for node in &nodes {
            if !blocks.hand_over(node, stop)? {
                return Ok(());
            }
        }
        if !with_chunks {
            continue;
        }
        if !blocks.are_near() {
            blocks.reader.prefetch(&chunks);
        }
        blocks.reader.read_ahead(&chunks, stop)?;
    }
    Ok(())
}
