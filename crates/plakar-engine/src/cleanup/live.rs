//! What is needed: a bit for each row of the index.
//!
//! All rows are kept in memory, 16 bytes each, sorted by a keyed hash of kind and id: 64 bits to find a row by and 32 more
//! to tell two apart. The keys are drawn for each run, so that nobody can prepare ids that are taken for each other, and by
//! accident that happens to ten million rows once in 10^15 runs. Ten million chunks take 160 MB and a few more for their
//! blocks.

use crate::block::{ItemId, ItemKind};
use crate::crypto::seal::Sealer;
use crate::error::Result;
use crate::id::ObjectHash;
use crate::index::segment::Segment;
use crate::index::{ID_PREFIX_LEN, Place};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: u64,
    check: u32,
    block: BlockNumber,
}

impl Row {
    fn is(&self, (key, check): (u64, u32)) -> bool {
        (self.key, self.check) == (key, check)
    }
}

/// Rows that were read together, sorted, with a bit for each.
struct Run {
    rows: Vec<Row>,
    live: Vec<u64>,
}

impl Run {
    fn find(&self, name: (u64, u32)) -> std::ops::Range<usize> {
        // The keys are spread evenly: a row is near where its key would be.
        let guess = ((u128::from(name.0) * self.rows.len() as u128) >> 64) as usize;
        let (mut from, mut to, mut step) = (guess, guess, 64);
        while from > 0 && (self.rows[from - 1].key, self.rows[from - 1].check) >= name {
            from = from.saturating_sub(step);
            step *= 2;
        }
        step = 64;
        while to < self.rows.len() && (self.rows[to].key, self.rows[to].check) <= name {
            to = (to + step).min(self.rows.len());
            step *= 2;
        }
        let some = &self.rows[from..to];
        let first = from + some.partition_point(|row| (row.key, row.check) < name);
        let len = self.rows[first..to].iter().take_while(|row| row.is(name)).count();
        first..first + len
    }

    fn is_live(&self, row: usize) -> bool {
        self.live[row / 64] >> (row % 64) & 1 == 1
    }

    fn set_live(&mut self, row: usize) {
        self.live[row / 64] |= 1 << (row % 64);
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
        let mut rows = Vec::new();
        for segment in segments {
            if self.runs.is_empty() {
                rows.reserve(usize::try_from(segment.rows()).unwrap_or(0));
            }
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
                let (key, check) = self.name(kind, id);
                if goes(&at.pack) == Some(false) && self.replace((key, check), block, goes) {
                    return Ok(());
                }
                rows.push(Row { key, check, block });
                Ok(())
            })?;
        }
        rows.sort_unstable();
        // Two segments may say the same.
        rows.dedup();
        if rows.is_empty() {
            return Ok(());
        }
        let mut run = Run { live: vec![0; rows.len().div_ceil(64)], rows };
        for number in 0..run.rows.len() {
            let row = run.rows[number];
            let name = (row.key, row.check);
            let before =
                self.runs.iter().map(|run| (run, run.find(name))).filter(|(_, found)| !found.is_empty());
            let (mut known, mut live) = (false, false);
            for (run, found) in before {
                live |= run.is_live(found.start);
                known |= run.rows[found].iter().any(|one| one.block == row.block);
            }
            if live {
                run.set_live(number);
            }
            if !known {
                self.blocks[row.block as usize].items += 1;
            }
        }
        self.runs.push(run);
        Ok(())
    }

    /// Puts `block` where a copy in a pack that goes is listed, or says that there is none.
    fn replace(
        &mut self,
        name: (u64, u32),
        block: BlockNumber,
        goes: &dyn Fn(&ObjectHash) -> Option<bool>,
    ) -> bool {
        for run in &mut self.runs {
            for row in run.find(name) {
                let old = run.rows[row].block;
                let old_pack = self.packs[self.blocks[old as usize].pack as usize];
                if goes(&old_pack) == Some(true) {
                    run.rows[row].block = block;
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

    fn name(&self, kind: ItemKind, id: &[u8; ID_PREFIX_LEN]) -> (u64, u32) {
        let [one, other] = &self.hashers;
        (one.hash_one((kind, id)), other.hash_one((kind, id)) as u32)
    }

    fn name_of(&self, item: &ItemId) -> (u64, u32) {
        let (kind, id) = item.prefix();
        self.name(kind, &id)
    }

    /// Notes that `item` is needed.
    pub fn need(&mut self, item: &ItemId) -> Met {
        let name = self.name_of(item);
        let mut met = Met::Nowhere;
        for run in &mut self.runs {
            for row in run.find(name) {
                met = match run.is_live(row) {
                    true => Met::Again,
                    false => Met::First,
                };
                run.set_live(row);
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
            let found = run.find(name);
            if found.clone().next().is_some_and(|row| run.is_live(row)) {
                copies.extend(run.rows[found].iter().map(|row| row.block));
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
        self.runs.iter().any(|run| run.rows[run.find(name)].iter().any(|row| row.block == *block))
    }

    /// Calls `each` with the blocks that list one needed item, once for each needed item.
    pub fn for_each_needed(&self, each: &mut dyn FnMut(&[BlockNumber])) {
        let mut copies = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            let mut row = 0;
            while row < run.rows.len() {
                let name = (run.rows[row].key, run.rows[row].check);
                let same = run.rows[row..].iter().take_while(|other| other.is(name)).count();
                let first = self.runs[..number].iter().all(|before| before.find(name).is_empty());
                if run.is_live(row) && first {
                    copies.clear();
                    copies.extend(run.rows[row..row + same].iter().map(|row| row.block));
                    for later in &self.runs[number + 1..] {
                        copies.extend(later.rows[later.find(name)].iter().map(|row| row.block));
                    }
                    each(&copies);
                }
                row += same;
            }
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
        self.runs.iter_mut().for_each(|run| run.live.fill(0));
    }
}
