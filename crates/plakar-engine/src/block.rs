//! Blocks: several chunks (or nodes) compressed together and sealed once.
//!
//! Small things compress badly alone and cost an index row, a nonce and a request each when they stand
//! alone, so they are appended to one *raw* byte string until it is about [`DATA_RAW_TARGET`] (or, for
//! nodes, [`TREE_RAW_TARGET`]) long, compressed as one zstd frame, and sealed ([`crate::crypto::seal`]):
//!
//! ```text
//! codec u8 | count u16 | raw length u32 | count × item length u32 | payload
//! ```
//!
//! Codec 0: the payload is raw. Codec 1: it is a zstd frame without content size and checksum. Items lie
//! in raw back to back, in order; none is empty. A sealed block says nothing of its length before
//! compression or of its items, and does not depend on the pack it lies in.
//!
//! What was just compressed is decompressed, and the ids of its items compared, before it is trusted:
//! bad memory and faulty compressors have cost other tools data. See [`Compression::verify`].

use crate::codec::{Malformed, Reader};
use crate::crypto::DomainKeys;
use crate::crypto::seal::{Context, Kind, Sealer};
use crate::crypto::xaes::NONCE_LEN;
use crate::error::{Error, Result};
use crate::id::{ChunkId, EpochId, NodeId};
use zstd_safe::{CCtx, CParameter, DCtx};

/// A block of chunks is closed once it holds this many raw bytes.
pub const DATA_RAW_TARGET: usize = 1 << 20;
/// A block of nodes is closed once it holds this many raw bytes: single old nodes are read again.
pub const TREE_RAW_TARGET: usize = 16 << 10;
/// The most raw bytes of a block: a block with one item as large as items get.
pub const RAW_MAX: usize = 15 << 20;
/// The most sealed bytes of a block. An index row has 24 bits for it.
pub const SEALED_MAX: usize = RAW_MAX + (1 << 19);
const _: () = assert!(SEALED_MAX < 1 << 24 && 7 + 4 * ITEMS_MAX < 1 << 18);
/// The most items of a block.
pub const ITEMS_MAX: usize = 1 << 14;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ItemKind {
    /// Chunks of files (and encoded sets of extended attributes).
    Chunk = 1,
    /// Nodes of trees.
    Node = 2,
}

impl ItemKind {
    /// Reads the number of a kind.
    pub fn from_u8(n: u8) -> Option<ItemKind> {
        match n {
            1 => Some(ItemKind::Chunk),
            2 => Some(ItemKind::Node),
            _ => None,
        }
    }

    fn seal_kind(self) -> Kind {
        match self {
            ItemKind::Chunk => Kind::DataBlock,
            ItemKind::Node => Kind::TreeBlock,
        }
    }
}

/// The id of an item together with what it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    /// Chunk or node.
    pub kind: ItemKind,
    /// Its id.
    pub id: [u8; 32],
}

impl ItemId {
    /// The id of `bytes` as an item of `kind`.
    pub fn of(kind: ItemKind, bytes: &[u8], keys: &DomainKeys) -> ItemId {
        match kind {
            ItemKind::Chunk => keys.chunk_id(bytes).into(),
            ItemKind::Node => keys.node_id(bytes).into(),
        }
    }

    /// What an index row knows of it.
    pub fn prefix(&self) -> (ItemKind, [u8; 16]) {
        (self.kind, self.id[..16].try_into().expect("16 of 32"))
    }

    /// The error that this item is nowhere to be found.
    pub fn missing(&self) -> Error {
        let what = match self.kind {
            ItemKind::Chunk => "chunk",
            ItemKind::Node => "node",
        };
        Error::Missing { what, id: crate::id::hex(&self.id) }
    }
}

impl From<ChunkId> for ItemId {
    fn from(id: ChunkId) -> ItemId {
        ItemId { kind: ItemKind::Chunk, id: id.0 }
    }
}

impl From<NodeId> for ItemId {
    fn from(id: NodeId) -> ItemId {
        ItemId { kind: ItemKind::Node, id: id.0 }
    }
}

impl std::fmt::Display for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.kind == ItemKind::Chunk { "chunk" } else { "node" };
        write!(f, "{what} {}", crate::id::hex(&self.id))
    }
}

impl std::fmt::Debug for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({})", self.kind, &crate::id::hex(&self.id)[..8])
    }
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The zstd level; 0 keeps everything as it is.
    pub level: u8,
    /// Whether what was compressed is decompressed and compared before it is trusted.
    pub verify: bool,
}

impl Compression {
    /// The level used when nothing else is asked for.
    pub const LEVEL_DEFAULT: u8 = 3;
}

/// A block that is being filled.
pub struct OpenBlock {
    kind: ItemKind,
    raw: Vec<u8>,
    items: Vec<([u8; 32], u32)>,
}

impl OpenBlock {
    /// An empty one.
    pub fn new(kind: ItemKind) -> OpenBlock {
        OpenBlock { kind, raw: Vec::new(), items: Vec::new() }
    }

    /// What it holds.
    pub fn kind(&self) -> ItemKind {
        self.kind
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many raw bytes it holds.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// Whether it is time to close it.
    pub fn is_full(&self) -> bool {
        let target = match self.kind {
            ItemKind::Chunk => DATA_RAW_TARGET,
            ItemKind::Node => TREE_RAW_TARGET,
        };
        self.raw.len() >= target || self.items.len() >= ITEMS_MAX
    }

    /// Whether an item of `len` bytes still fits.
    pub fn has_room(&self, len: usize) -> bool {
        self.items.is_empty() || (self.raw.len() + len <= RAW_MAX && self.items.len() < ITEMS_MAX)
    }

    /// Appends an item; it must be neither empty nor longer than [`RAW_MAX`], and there must be room.
    pub fn push(&mut self, id: [u8; 32], bytes: &[u8]) {
        assert!(!bytes.is_empty() && bytes.len() <= RAW_MAX && self.has_room(bytes.len()));
        self.raw.extend_from_slice(bytes);
        self.items.push((id, bytes.len() as u32));
    }
}

/// A block as stored, with what its pack's directory and the index say of it.
pub struct SealedBlock {
    /// What it holds.
    pub kind: ItemKind,
    /// The epoch it is sealed under.
    pub epoch: EpochId,
    /// Ids and lengths of its items, in order.
    pub items: Vec<([u8; 32], u32)>,
    /// The sealed bytes.
    pub bytes: Vec<u8>,
}

/// Compresses and seals blocks; one for each thread.
pub struct BlockSealer {
    compression: Compression,
    cctx: CCtx<'static>,
    dctx: DCtx<'static>,
    check: Vec<u8>,
}

impl BlockSealer {
    /// A sealer that compresses like this.
    pub fn new(compression: Compression) -> BlockSealer {
        let mut cctx = CCtx::create();
        let set = |cctx: &mut CCtx, p| cctx.set_parameter(p).expect("zstd knows its parameters");
        set(&mut cctx, CParameter::CompressionLevel(compression.level.into()));
        set(&mut cctx, CParameter::ContentSizeFlag(false));
        BlockSealer { compression, cctx, dctx: DCtx::create(), check: Vec::new() }
    }

    /// Closes `block`, which must not be empty.
    ///
    /// # Errors
    /// [`Error::Damaged`] when what was compressed does not come back, or the items do not have their ids
    /// any more: this machine's memory or the compressor is faulty, and nothing must be stored.
    pub fn seal(&mut self, block: OpenBlock, sealer: &Sealer, keys: &DomainKeys) -> Result<SealedBlock> {
        let OpenBlock { kind, raw, items } = block;
        assert!(!items.is_empty());
        let head = NONCE_LEN + 7 + 4 * items.len();
        let mut out = Vec::with_capacity(head + raw.len() + 64);
        out.resize(NONCE_LEN + 1, 0);
        out.extend_from_slice(&(items.len() as u16).to_le_bytes());
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        items.iter().for_each(|(_, len)| out.extend_from_slice(&len.to_le_bytes()));
        let packed = self.compression.level > 0 && compressible(&raw) && {
            // Room for exactly what is worth keeping, always less than raw: zstd gives up when it does not get there.
            out.resize(head + raw.len() - (raw.len() / 32).max(1), 0);
            match self.cctx.compress2(&mut out[head..], &raw) {
                Ok(len) => {
                    out.truncate(head + len);
                    true
                }
                Err(_) => false,
            }
        };
        if packed {
            out[NONCE_LEN] = 1;
        } else {
            out.truncate(head);
            out.extend_from_slice(&raw);
        }
        if self.compression.verify {
            self.verify(kind, packed, &out[head..], &raw, &items, keys)?;
        }
        sealer.seal_in_place(kind.seal_kind(), Context::default(), &mut out, 0);
        Ok(SealedBlock { kind, epoch: sealer.epoch(), items, bytes: out })
    }

    fn verify(
        &mut self,
        kind: ItemKind,
        packed: bool,
        payload: &[u8],
        raw: &[u8],
        items: &[([u8; 32], u32)],
        keys: &DomainKeys,
    ) -> Result<()> {
        let faulty = |what| Error::damaged("a block that was to be stored", what);
        let mut bytes = payload;
        if packed {
            self.check.resize(raw.len().max(self.check.len()), 0);
            let len = self
                .dctx
                .decompress(&mut self.check[..raw.len()], payload)
                .map_err(|_| faulty("does not decompress: faulty memory?"))?;
            bytes = &self.check[..len];
        }
        for (id, len) in items {
            let item = bytes.split_off(..*len as usize).unwrap_or_default();
            if ItemId::of(kind, item, keys).id != *id {
                return Err(faulty("is not what was read: faulty memory?"));
            }
        }
        Ok(())
    }
}

/// Whether trying to compress `raw` is worth it: looks at a few samples. Noise has all byte values about
/// equally often; text and code are far from it.
fn compressible(raw: &[u8]) -> bool {
    const SAMPLES: usize = 16;
    const SAMPLE: usize = 256;
    if raw.len() < 2 * SAMPLES * SAMPLE {
        return true;
    }
    let mut counts = [0u32; 256];
    let step = (raw.len() - SAMPLE) / (SAMPLES - 1);
    for i in 0..SAMPLES {
        raw[i * step..][..SAMPLE].iter().for_each(|b| counts[usize::from(*b)] += 1);
    }
    // 4,096 samples over 256 values: the sum of squares of noise is 4096²/256 + 4096 = 69,632, with a
    // standard deviation of about 360.
    counts.iter().map(|c| c * c).sum::<u32>() > 73_000
}

/// A block that was opened.
#[derive(Debug)]
pub struct Block {
    kind: ItemKind,
    raw: Vec<u8>,
    /// Where each item ends in `raw`.
    ends: Vec<u32>,
    /// The ids of all items, if they were computed.
    names: Vec<[u8; 32]>,
}

impl Block {
    /// Opens a sealed block; `object` names where it came from.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these are not the bytes that were sealed.
    pub fn open(
        kind: ItemKind,
        epoch: EpochId,
        sealed: Vec<u8>,
        sealer: &Sealer,
        object: &dyn std::fmt::Display,
    ) -> Result<Block> {
        let plain = sealer.open(kind.seal_kind(), epoch, Context::default(), sealed, object)?;
        Block::decode(kind, &plain).map_err(|e| e.of(object))
    }

    /// Proves that these are the bytes that were sealed, and looks no further.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not.
    pub fn authenticate(
        kind: ItemKind,
        epoch: EpochId,
        sealed: Vec<u8>,
        sealer: &Sealer,
        object: &dyn std::fmt::Display,
    ) -> Result<()> {
        sealer.open(kind.seal_kind(), epoch, Context::default(), sealed, object).map(drop)
    }

    /// Decodes the plaintext of a block.
    pub fn decode(kind: ItemKind, plain: &[u8]) -> Result<Block, Malformed> {
        let mut r = Reader::new(plain);
        let codec = r.u8()?;
        let count = usize::from(r.u16()?);
        let raw_len = r.u32()? as usize;
        if count == 0 || count > ITEMS_MAX || raw_len > RAW_MAX {
            return Err(Malformed("absurd block"));
        }
        let mut lengths = Reader::new(r.take(4 * count)?);
        let mut ends = Vec::with_capacity(count);
        let mut end = 0u32;
        for _ in 0..count {
            let len = lengths.u32()?;
            end = end.checked_add(len).filter(|_| len > 0).ok_or(Malformed("absurd length of an item"))?;
            ends.push(end);
        }
        if end as usize != raw_len {
            return Err(Malformed("items do not fill the block"));
        }
        let payload = r.take(r.left())?;
        let raw = match codec {
            0 if payload.len() == raw_len => payload.to_vec(),
            // A frame is never as long as what it holds: so a short one cannot ask for much memory twice.
            1 if payload.len() < raw_len => {
                // One frame and nothing else: what no encoder writes is not read.
                if zstd_safe::find_frame_compressed_size(payload) != Ok(payload.len()) {
                    return Err(Malformed("is not one zstd frame"));
                }
                let mut raw = Vec::with_capacity(raw_len);
                DECOMPRESSOR
                    .with_borrow_mut(|d| d.decompress(&mut raw, payload))
                    .map_err(|_| Malformed("does not decompress"))?;
                raw
            }
            _ => return Err(Malformed("unknown codec")),
        };
        if raw.len() != raw_len {
            return Err(Malformed("decompresses to another length"));
        }
        Ok(Block { kind, raw, ends, names: Vec::new() })
    }

    /// What it holds.
    pub fn kind(&self) -> ItemKind {
        self.kind
    }

    /// How many items it holds.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes its items have together.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// The bytes of item number `ordinal`, if there is one. Not compared with any id: see [`Block::item`].
    pub fn bytes(&self, ordinal: usize) -> Option<&[u8]> {
        let end = *self.ends.get(ordinal)? as usize;
        let start = if ordinal == 0 { 0 } else { self.ends[ordinal - 1] as usize };
        Some(&self.raw[start..end])
    }

    /// Computes the ids of all items, so that [`item`](Self::item), with the same keys, need not.
    pub fn name_items(&mut self, keys: &DomainKeys) {
        let name = |ordinal| ItemId::of(self.kind, self.bytes(ordinal).expect("it counts as many"), keys).id;
        self.names = (0..self.count()).map(name).collect();
    }

    /// The bytes of item number `ordinal`, proven to be the item with this id.
    pub fn item(&self, ordinal: usize, id: &ItemId, keys: &DomainKeys) -> Option<&[u8]> {
        self.bytes(ordinal).filter(|bytes| match self.names.get(ordinal) {
            Some(name) => ItemId { kind: self.kind, id: *name } == *id,
            None => ItemId::of(self.kind, bytes, keys) == *id,
        })
    }
}

thread_local! {
    static DECOMPRESSOR: std::cell::RefCell<DCtx<'static>> = std::cell::RefCell::new(DCtx::create());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::DomainSecret;
    use crate::id::DomainId;

    fn keys() -> DomainKeys {
        DomainKeys::new(&DomainSecret::public())
    }

    fn sealed(items: &[&[u8]], level: u8) -> SealedBlock {
        let keys = keys();
        let mut open = OpenBlock::new(ItemKind::Chunk);
        items.iter().for_each(|bytes| open.push(keys.chunk_id(bytes).0, bytes));
        let mut sealer = BlockSealer::new(Compression { level, verify: true });
        sealer.seal(open, &Sealer::plain(DomainId([0; 16])), &keys).unwrap()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn what_memory_or_the_compressor_spoilt_is_not_sealed() {
        let (keys, text) = (keys(), b"some text ".repeat(2000));
        let plain = Sealer::plain(DomainId([0; 16]));
        let id = keys.chunk_id(&text).0;
        for level in [0, 3] {
            let mut sealer = BlockSealer::new(Compression { level, verify: true });
            // A bit that flipped between reading and compressing.
            for at in [0, 777, text.len() - 1] {
                let mut spoilt = text.clone();
                spoilt[at] ^= 4;
                let mut open = OpenBlock::new(ItemKind::Chunk);
                open.push(id, &spoilt);
                assert!(sealer.seal(open, &plain, &keys).is_err(), "level {level}, {at}");
            }
        }
        // One that flipped in what the compressor made, or that it made wrong.
        let mut sealer = BlockSealer::new(Compression { level: 3, verify: true });
        let items = [(id, text.len() as u32)];
        let mut good = vec![0; text.len()];
        let len = zstd_safe::compress(&mut good[..], &text, 3).unwrap();
        good.truncate(len);
        sealer.verify(ItemKind::Chunk, true, &good, &text, &items, &keys).unwrap();
        for bit in 0..good.len() * 8 {
            let mut spoilt = good.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let told = sealer.verify(ItemKind::Chunk, true, &spoilt, &text, &items, &keys);
            // Not every bit of a frame says something about what is in it.
            let mut bytes = vec![0; text.len()];
            let same = zstd_safe::decompress(&mut bytes[..], &spoilt).is_ok() && bytes == text;
            assert_eq!(told.is_ok(), same, "bit {bit}");
        }
    }

    #[test]
    fn items_come_back() {
        let (text, noise) = (b"abc".repeat(5000), noise(50_000));
        for level in [0, 1, 3, 19] {
            for items in [&[&text[..], b"x", &noise[..]][..], &[&noise[..]], &[b"y"], &[&text[..], &text[..]]]
            {
                let block = sealed(items, level);
                let sealer = Sealer::plain(DomainId([0; 16]));
                let open = Block::open(ItemKind::Chunk, block.epoch, block.bytes, &sealer, &"test").unwrap();
                for (i, bytes) in items.iter().enumerate() {
                    let id = keys().chunk_id(bytes).into();
                    assert_eq!(open.item(i, &id, &keys()).unwrap(), *bytes);
                    assert!(open.item(i + 1, &id, &keys()).is_none_or(|b| b == *bytes));
                }
                assert_eq!(open.count(), items.len());
            }
        }
    }

    #[test]
    fn noise_is_kept_as_it_is_and_text_shrinks() {
        assert_eq!(sealed(&[&noise(1 << 20)], 3).bytes.len(), (1 << 20) + 7 + 4 + 40);
        assert!(sealed(&[&b"some text ".repeat(100_000)], 3).bytes.len() < 10_000);
        assert!(compressible(&b"some text ".repeat(100_000)) && !compressible(&noise(1 << 20)));
    }

    #[test]
    fn an_item_that_changed_in_memory_is_not_stored() {
        let mut open = OpenBlock::new(ItemKind::Chunk);
        open.push(keys().chunk_id(b"what was hashed").0, b"what is there now");
        let mut sealer = BlockSealer::new(Compression { level: 3, verify: true });
        assert!(sealer.seal(open, &Sealer::plain(DomainId([0; 16])), &keys()).is_err());
    }

    #[test]
    fn a_hostile_block_is_refused_without_allocating() {
        let mut plain = vec![1, 1, 0];
        plain.extend_from_slice(&u32::MAX.to_le_bytes());
        plain.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(Block::decode(ItemKind::Chunk, &plain).is_err());
        assert!(Block::decode(ItemKind::Chunk, &[]).is_err());
        assert!(Block::decode(ItemKind::Chunk, &[0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
