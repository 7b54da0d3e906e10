//! One row of the index.

use crate::block::{ItemId, ItemKind};
use crate::codec::{Decoded, Reader, Writer};

/// How many bytes of an id a row holds: enough to find, while every read proves all 32.
pub const ID_PREFIX_LEN: usize = 16;

/// One row: an item lies in this block, at this place among its items. Sorted by kind, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexRow {
    /// Chunk or node.
    pub kind: ItemKind,
    /// The first bytes of its id.
    pub id: [u8; ID_PREFIX_LEN],
    /// Which pack, by its number in the segment's table.
    pub pack: u32,
    /// Where the sealed block begins in the pack.
    pub offset: u32,
    /// How many bytes the sealed block has.
    pub sealed_len: u32,
    /// Which item of the block.
    pub ordinal: u16,
    /// The epoch the block is sealed under, by its number in the segment's table.
    pub epoch: u8,
}

impl IndexRow {
    /// Length of an encoded row in bytes.
    pub const LEN: usize = 30;

    /// Whether this row is about `item`, as far as it can tell.
    pub fn is(&self, item: &ItemId) -> bool {
        self.kind == item.kind && self.id == item.id[..ID_PREFIX_LEN]
    }

    /// id 16 | pack u32 | offset u32 | sealed length u24 | ordinal u16 | epoch u8; the kind is the shard's.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.pack.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.u24(self.sealed_len);
        out.extend_from_slice(&self.ordinal.to_le_bytes());
        out.push(self.epoch);
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(kind: ItemKind, r: &mut Reader) -> Decoded<IndexRow> {
        Ok(IndexRow {
            kind,
            id: r.array()?,
            pack: r.u32()?,
            offset: r.u32()?,
            sealed_len: r.u24()?,
            ordinal: r.u16()?,
            epoch: r.u8()?,
        })
    }
}
