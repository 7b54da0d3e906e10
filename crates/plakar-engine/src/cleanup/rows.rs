//! Rows in little memory, found by their names.
//!
//! They are sorted by name, and those whose names begin with the same two bytes stand together; so these bytes are not kept,
//! but where each such group begins. Of the number of a block only as many bytes are kept as are needed for twice as many
//! blocks as there were. That makes 12 to 14 bytes a row, and 256 KiB.

use super::live::BlockNumber;
use std::ops::Range;

/// What a row is about.
pub type RowName = [u8; 12];

/// How many bytes of a name are told by the group it is in.
const SHARED: usize = 2;
const GROUPS: usize = 1 << (8 * SHARED);
/// How many bytes of a name are kept.
const REST: usize = size_of::<RowName>() - SHARED;
const UNSORTED: usize = size_of::<RowName>() + size_of::<BlockNumber>();

/// Rows that are being collected: a name, and after it a number whose first byte is the highest.
#[derive(Default)]
pub struct Unsorted(Vec<[u8; UNSORTED]>);

impl Unsorted {
    /// Makes room for so many more.
    pub fn reserve(&mut self, rows: usize) {
        self.0.reserve(rows);
    }

    /// Adds one.
    pub fn push(&mut self, name: &RowName, block: BlockNumber) {
        let mut row = [0; UNSORTED];
        row[..name.len()].copy_from_slice(name);
        row[name.len()..].copy_from_slice(&block.to_be_bytes());
        self.0.push(row);
    }
}

/// Sorted rows, none of them twice.
pub struct Rows {
    /// The number of the first row of each group, and of all rows.
    starts: Vec<u32>,
    /// Rows of `width` bytes: the rest of a name, the number of a block.
    bytes: Vec<u8>,
    width: usize,
}

impl Rows {
    /// Takes rows about `blocks` blocks.
    pub fn new(rows: Unsorted, blocks: usize) -> Rows {
        let Unsorted(mut rows) = rows;
        rows.sort_unstable_by_key(|row| u128::from_be_bytes(*row));
        rows.dedup();
        let count = rows.len();
        let mut starts = Vec::with_capacity(GROUPS + 1);
        for (number, row) in rows.iter().enumerate() {
            starts.resize(group(row) + 1, number as u32);
        }
        starts.resize(GROUPS + 1, u32::try_from(count).expect("that many take more memory than there is"));
        let bits = u64::BITS - (2 * blocks as u64).leading_zeros();
        let number_len = bits.div_ceil(8).min(BlockNumber::BITS / 8) as usize;
        let width = REST + number_len;
        // In place: no row comes to lie where one is that was not moved yet.
        let mut bytes = rows.into_flattened();
        for row in 0..count {
            let (from, to) = (row * UNSORTED, row * width);
            bytes.copy_within(from + SHARED..from + SHARED + REST, to);
            bytes.copy_within(from + UNSORTED - number_len..from + UNSORTED, to + REST);
        }
        bytes.truncate(count * width);
        bytes.shrink_to_fit();
        Rows { starts, bytes, width }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Those with this name, by their numbers.
    pub fn find(&self, name: &RowName) -> Range<usize> {
        let group = group(name);
        let (mut low, end) = (self.starts[group] as usize, self.starts[group + 1] as usize);
        let mut high = end;
        while low < high {
            let middle = (low + high) / 2;
            match *self.rest(middle) < name[SHARED..] {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low..(low..end).find(|row| *self.rest(*row) != name[SHARED..]).unwrap_or(end)
    }

    /// Calls `each` with every name, and the numbers of the rows with it, in order.
    pub fn for_each_name(&self, each: &mut dyn FnMut(&RowName, Range<usize>)) {
        for group in 0..GROUPS {
            let (mut row, end) = (self.starts[group] as usize, self.starts[group + 1] as usize);
            while row < end {
                let rest = self.rest(row);
                let after = (row..end).find(|row| self.rest(*row) != rest).unwrap_or(end);
                let mut name = RowName::default();
                name[..SHARED].copy_from_slice(&(group as u16).to_be_bytes());
                name[SHARED..].copy_from_slice(rest);
                each(&name, row..after);
                row = after;
            }
        }
    }

    /// The block of a row.
    pub fn block(&self, row: usize) -> BlockNumber {
        let number = &self.bytes[row * self.width + REST..(row + 1) * self.width];
        number.iter().fold(0, |number, byte| number << 8 | BlockNumber::from(*byte))
    }

    /// Gives a row another block, if there is room for its number.
    pub fn set_block(&mut self, row: usize, block: BlockNumber) -> bool {
        let number = &mut self.bytes[row * self.width + REST..(row + 1) * self.width];
        let block = block.to_be_bytes();
        let (high, low) = block.split_at(block.len() - number.len());
        let fits = high.iter().all(|byte| *byte == 0);
        if fits {
            number.copy_from_slice(low);
        }
        fits
    }

    fn rest(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.width..][..REST]
    }
}

fn group(name: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([name[0], name[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Names that share none, one, two or more of their first bytes, and some of them all.
    fn name(n: u32) -> RowName {
        let mut name = [0; 12];
        name[(n % 7) as usize] = (n % 251) as u8;
        name[8..].copy_from_slice(&(n / 3).to_be_bytes());
        name
    }

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        for blocks in [1, 127, 128, 40_000, 1 << 23, (1 << 23) - 1, u32::MAX] {
            for count in [0, 1, 2, 1000, 20_000] {
                let block = |n: u32| n.wrapping_mul(0x9e37_79b9) % blocks;
                let (mut rows, mut model) = (Unsorted::default(), BTreeMap::<_, BTreeSet<_>>::new());
                for n in (0..count).chain(0..count / 5) {
                    rows.push(&name(n), block(n));
                    model.entry(name(n)).or_default().insert(block(n));
                }
                let mut rows = Rows::new(rows, blocks as usize);
                assert_eq!(rows.len(), model.values().map(BTreeSet::len).sum::<usize>());
                let blocks_of = |rows: &Rows, range: Range<usize>| range.map(|row| rows.block(row)).collect();
                let mut all = BTreeMap::new();
                rows.for_each_name(&mut |name, range| {
                    assert_eq!(rows.find(name), range);
                    assert!(all.insert(*name, blocks_of(&rows, range)).is_none());
                });
                assert_eq!(all, model);
                for n in count..2 * count {
                    let wanted = model.get(&name(n)).cloned().unwrap_or_default();
                    assert_eq!(blocks_of(&rows, rows.find(&name(n))), wanted);
                }
                // Twice as many blocks have room.
                if let Some((first, others)) = model.iter().next() {
                    let row = rows.find(first).start;
                    let next = blocks.saturating_mul(2) - 1;
                    assert!(rows.set_block(row, next));
                    assert_eq!(rows.block(row), next);
                    let room = rows.set_block(row, u32::MAX);
                    assert_eq!(rows.block(row), if room { u32::MAX } else { next });
                    assert_eq!(rows.find(first).len(), others.len());
                }
            }
        }
    }
}
