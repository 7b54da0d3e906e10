//! Which copy of something needed has to be stored again before packs go.

use super::live::{BlockNumber, Live};
use crate::id::ObjectHash;
use crate::log::state::View;
use std::collections::BTreeSet;

/// What is to be known of the packs of a run to tell, as of one look.
pub struct Going<'a> {
    live: &'a Live,
    view: &'a View,
    /// By the numbers that `live` gives packs: whether it goes, and whether what is in it may be relied on.
    packs: Vec<(bool, bool)>,
}

impl<'a> Going<'a> {
    /// Asks the log as it was read last.
    pub fn new(live: &'a Live, view: &'a View, packs: &BTreeSet<ObjectHash>) -> Going<'a> {
        let state = |number| {
            let pack = live.pack(number);
            (packs.contains(&pack), view.may_rely(pack))
        };
        Going { live, view, packs: (0..live.packs() as u32).map(state).collect() }
    }

    /// Of all copies of an item, the one to be stored again. `None` when there is a good one that stays, or none that goes.
    pub fn copy(&self, copies: &[BlockNumber]) -> Option<BlockNumber> {
        let mut going = None;
        for copy in copies {
            let block = self.live.blocks()[*copy as usize];
            if self.is_good(*copy) {
                return None;
            }
            let goes = self.packs[block.pack as usize].0;
            let bad = self.view.bad(self.live.pack(block.pack), block.offset);
            // A bad copy is better than none: whoever reads it will say so.
            if goes && (going.is_none() || !bad) {
                going = Some(*copy);
            }
        }
        going
    }

    /// The packs that hold a copy to be stored again. `None` when that cannot be told, because a copy which was forgotten
    /// for a better one may be wanted after all.
    pub fn needed(&self) -> Option<BTreeSet<ObjectHash>> {
        let (mut needed, mut sure) = (BTreeSet::new(), true);
        let block = |copy: BlockNumber| self.live.blocks()[copy as usize];
        self.live.for_each_needed(&mut |copies| match self.copy(copies) {
            Some(copy) => _ = needed.insert(block(copy).pack),
            None => sure &= !self.live.replaced() || copies.iter().any(|copy| self.is_good(*copy)),
        });
        sure.then(|| needed.into_iter().map(|number| self.live.pack(number)).collect())
    }

    fn is_good(&self, copy: BlockNumber) -> bool {
        let block = self.live.blocks()[copy as usize];
        self.packs[block.pack as usize].1 && !self.view.bad(self.live.pack(block.pack), block.offset)
    }
}
