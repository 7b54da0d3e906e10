//! What is needed: a bit for each row of the index.
//!
//! All rows are kept in memory, each named by a keyed hash of kind and id, of 96 bits. The keys are drawn for each run, so
//! that nobody can prepare ids that are taken for each other, and by accident that happens to ten million rows once in
//! 10^15 runs. Ten million chunks take 120 to 140 MB and a few more for their blocks; 160 MB while they are read.

use super::rows::{RowName, Rows, Unsorted};
use crate::block::{ItemId, ItemKind};
use crate::crypto::seal::Sealer;
use crate::error::Result;
use crate::id::ObjectHash;
use crate::index::segment::Segment;
use crate::index::{ID_PREFIX_LEN, Place};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Which block: a number of this run.
pub type BlockNumber = u32;

/// A block that the index lists.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// The pack it lies in: a number of this run.
    pub pack: u32,
    /// Where it begins.
    pub offset: u32,
    /// How many bytes it has.
    pub len: u32,
    /// How many of its items the index lists.
    pub items: u32,
}

/// A bit for each row.
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, row: usize) -> bool {
        self.0[row / 64] >> (row % 64) & 1 == 1
    }

    fn set(&mut self, row: usize) {
        self.0[row / 64] |= 1 << (row % 64);
    }
}

/// Rows that were read together, and which of them are needed: of those with one name all or none.
struct Run {
    rows: Rows,
    live: Bits,
}

impl Run {
    fn blocks(&self, rows: Range<usize>) -> impl Iterator<Item = BlockNumber> {
        rows.map(|row| self.rows.block(row))
    }

    fn is_live(&self, rows: &Range<usize>) -> bool {
        !rows.is_empty() && self.live.get(rows.start)
    }
}

/// What came of marking an item as needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// No row is about it.
    Nowhere,
    /// It was not needed before.
    First,
    /// It was.
    Again,
}

/// All rows of an index, and which of them are about something that is needed.
#[derive(Default)]
pub struct Live {
    hashers: [RandomState; 2],
    runs: Vec<Run>,
    blocks: Vec<Listed>,
    block_numbers: HashMap<(u32, u32), BlockNumber>,
    packs: Vec<ObjectHash>,
    pack_numbers: HashMap<ObjectHash, u32>,
    replaced: bool,
}

impl Live {
    /// Adds the rows of `segments`, but those for which `left_out` says that their pack does not matter. A copy in a pack
    /// that may be relied on takes the place of one in a pack that `goes`, so that what was stored again takes no more
    /// memory; [`replaced`](Self::replaced) says whether that happened.
    ///
    /// # Errors
    /// Those of reading the segments.
    pub fn add<'s>(
        &mut self,
        segments: impl IntoIterator<Item = &'s Segment>,
        sealer: &Sealer,
        left_out: &dyn Fn(&ObjectHash) -> bool,
        goes: &dyn Fn(&ObjectHash) -> Option<bool>,
    ) -> Result<()> {
        let mut rows = Unsorted::default();
        for segment in segments {
            if self.runs.is_empty() {
                rows.reserve(usize::try_from(segment.rows()).unwrap_or(0));
            }
            segment.look_at_heads(sealer)?;
            segment.for_each(sealer, &mut |kind, id, at| {
                if left_out(&at.pack) {
                    return Ok(());
                }
                let next = self.packs.len() as u32;
                let pack = *self.pack_numbers.entry(at.pack).or_insert(next);
                if pack == next {
                    self.packs.push(at.pack);
                }
                let next = self.blocks.len() as BlockNumber;
                let block = *self.block_numbers.entry((pack, at.offset)).or_insert(next);
                if block == next {
                    self.blocks.push(Listed { pack, offset: at.offset, len: at.sealed_len, items: 0 });
                }
                let name = self.name(kind, id);
                if goes(&at.pack) == Some(false) && self.replace(&name, block, goes) {
                    return Ok(());
                }
                rows.push(&name, block);
                Ok(())
            })?;
        }
        // Two segments may say the same.
        let rows = Rows::new(rows, self.blocks.len());
        if rows.is_empty() {
            return Ok(());
        }
        let mut live = Bits(vec![0; rows.len().div_ceil(64)]);
        rows.for_each_name(&mut |name, found| {
            let before: Vec<_> = self.runs.iter().map(|run| (run, run.rows.find(name))).collect();
            let is_live = before.iter().any(|(run, found)| run.is_live(found));
            for row in found {
                let block = rows.block(row);
                if is_live {
                    live.set(row);
                }
                if !before.iter().any(|(run, found)| run.blocks(found.clone()).any(|one| one == block)) {
                    self.blocks[block as usize].items += 1;
                }
            }
        });
        self.runs.push(Run { rows, live });
        Ok(())
    }

    /// Puts `block` where a copy in a pack that goes is listed, or says that there is none.
    fn replace(
        &mut self,
        name: &RowName,
        block: BlockNumber,
        goes: &dyn Fn(&ObjectHash) -> Option<bool>,
    ) -> bool {
        for run in &mut self.runs {
            for row in run.rows.find(name) {
                let old = run.rows.block(row);
                let old_pack = self.packs[self.blocks[old as usize].pack as usize];
                if goes(&old_pack) == Some(true) && run.rows.set_block(row, block) {
                    self.blocks[block as usize].items += 1;
                    self.replaced = true;
                    return true;
                }
            }
        }
        false
    }

    /// Whether copies in packs that go were forgotten for better ones.
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    fn name(&self, kind: ItemKind, id: &[u8; ID_PREFIX_LEN]) -> RowName {
        let [one, other] = &self.hashers;
        let mut name = RowName::default();
        name[..8].copy_from_slice(&one.hash_one((kind, id)).to_be_bytes());
        name[8..].copy_from_slice(&other.hash_one((kind, id)).to_be_bytes()[..4]);
        name
    }

    fn name_of(&self, item: &ItemId) -> RowName {
        let (kind, id) = item.prefix();
        self.name(kind, &id)
    }

    /// Notes that `item` is needed.
    pub fn need(&mut self, item: &ItemId) -> Met {
        let name = self.name_of(item);
        let mut met = Met::Nowhere;
        for run in &mut self.runs {
            for row in run.rows.find(&name) {
                met = match run.live.get(row) {
                    true => Met::Again,
                    false => Met::First,
                };
                run.live.set(row);
            }
        }
        met
    }

    /// The blocks that list `item`, if it was noted as needed; else none. In the order of
    /// [`for_each_needed`](Self::for_each_needed).
    pub fn copies_of_needed(&self, item: &ItemId, copies: &mut Vec<BlockNumber>) {
        copies.clear();
        let name = self.name_of(item);
        for run in &self.runs {
            let found = run.rows.find(&name);
            if run.is_live(&found) {
                copies.extend(run.blocks(found));
            }
        }
    }

    /// The number of the block at this place, if it is listed.
    pub fn block_at(&self, pack: &ObjectHash, offset: u32) -> Option<BlockNumber> {
        self.block_numbers.get(&(*self.pack_numbers.get(pack)?, offset)).copied()
    }

    /// Whether there is a row that says that the item with this id lies at `place`, whichever of the block's it is.
    pub fn lists(&self, kind: ItemKind, id: &[u8; ID_PREFIX_LEN], place: &Place) -> bool {
        let pack = self.pack_numbers.get(&place.pack);
        let Some(block) = pack.and_then(|pack| self.block_numbers.get(&(*pack, place.offset))) else {
            return false;
        };
        let name = self.name(kind, id);
        self.runs.iter().any(|run| run.blocks(run.rows.find(&name)).any(|listed| listed == *block))
    }

    /// Calls `each` with the blocks that list one needed item, once for each needed item.
    pub fn for_each_needed(&self, each: &mut dyn FnMut(&[BlockNumber])) {
        let mut copies = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            run.rows.for_each_name(&mut |name, found| {
                let first = || self.runs[..number].iter().all(|before| before.rows.find(name).is_empty());
                if run.is_live(&found) && first() {
                    copies.clear();
                    copies.extend(run.blocks(found));
                    for later in &self.runs[number + 1..] {
                        copies.extend(later.blocks(later.rows.find(name)));
                    }
                    each(&copies);
                }
            });
        }
    }

    /// All blocks, by number.
    pub fn blocks(&self) -> &[Listed] {
        &self.blocks
    }

    /// The pack with this number.
    pub fn pack(&self, number: u32) -> ObjectHash {
        self.packs[number as usize]
    }

    /// How many packs have numbers.
    pub fn packs(&self) -> usize {
        self.packs.len()
    }

    /// Forgets what is needed.
    pub fn forget(&mut self) {
        self.runs.iter_mut().for_each(|run| run.live.0.fill(0));
    }
}
