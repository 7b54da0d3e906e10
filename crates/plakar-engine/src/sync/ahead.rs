//! Reading ahead of a translation, on a thread of its own.
//!
//! Cutting, naming and sealing keep the other threads busy; that what they need is read, opened and proven costs as much
//! again as naming it, and far away it is waited for. What the new tree has and the old one has not is what a translation
//! reads, so the same walk as within a domain says what comes next. It may be wrong about that, or meet something that
//! cannot be read: then the translation finds nothing prepared, reads itself, and tells.

use super::blocks::Blocks;
use super::diff::Diff;
use super::lost::Lost;
use crate::block::{ItemId, ItemKind};
use crate::tree::NodeId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

/// Reads ahead until it is dropped.
pub struct Ahead<'e> {
    blocks: &'e Blocks<'e>,
    stop: &'e AtomicBool,
}

impl<'e> Ahead<'e> {
    /// Begins to read what the tree at `root` has that the one at `old` has not.
    pub fn begin<'s>(
        scope: &'s Scope<'s, 'e>,
        blocks: &'e Blocks<'e>,
        root: NodeId,
        old: Option<NodeId>,
        stop: &'e AtomicBool,
    ) -> Ahead<'e> {
        scope.spawn(move || read(blocks, root, old, stop));
        Ahead { blocks, stop }
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.blocks.reader.stop_ahead(self.stop);
    }
}

fn read(blocks: &Blocks, root: NodeId, old: Option<NodeId>, stop: &AtomicBool) {
    let mut diff = Diff::new(root, old);
    if blocks.are_near() {
        diff = diff.one_by_one();
    }
    let mut more = true;
    while more && !stop.load(Ordering::Relaxed) {
        let mut found = Vec::new();
        more = matches!(diff.wave(blocks, &mut found, &mut Lost::default()), Ok(true));
        let items = found.iter().map(|wanted| wanted.item);
        let (nodes, chunks): (Vec<ItemId>, Vec<ItemId>) = items.partition(|item| item.kind == ItemKind::Node);
        if !nodes.iter().all(|node| blocks.hand_over(node, stop)) {
            return;
        }
        if !blocks.are_near() {
            blocks.reader.prefetch(&chunks);
        }
        blocks.reader.read_ahead(&chunks, stop);
    }
}
