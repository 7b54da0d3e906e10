//! Packs: many blocks in one stored object.
//!
//! A store prefers few large objects; a backup makes many small blocks. A pack is made front to back and
//! never changed:
//!
//! ```text
//! header (64) | sealed blocks, back to back | sealed directory | sealed trailer (56)
//!
//! header     "PLKPACK1" | version u8 = 1 | suite u8 | 0 × 6 | epoch 8 | salt 24 | 0 × 16
//! directory  count u32 | per block: offset u32, sealed length u32, kind u8, epoch 8, items u16,
//!            then per item: id 32, length u32
//! trailer    directory offset u64 | sealed length of the directory u32 | version u32 = 1
//! ```
//!
//! 1. A pack is named `packs/<hh>/<hash>`: the BLAKE3 hash of all its bytes, and the hash's first byte.
//! 2. The salt is random, so that no name is ever used twice; the header ties directory and trailer to
//!    this pack.
//! 3. Nothing but the header is readable without a key; the lengths of chunks and blocks do not show.
//! 4. The directory is sorted by offset, and blocks neither overlap nor reach outside; readers accept gaps
//!    between them.
//!
//! An index is only ever a cache of directories.
//!
//! Not here: which chunks travel together (`write`), which packs may go (gc).

use crate::block::{ITEMS_MAX, ItemKind, RAW_MAX, SEALED_MAX, SealedBlock};
use crate::codec::{Decoded, Malformed, Reader};
use crate::crypto::random;
use crate::crypto::seal::{Context, Kind, OVERHEAD, Sealer};
use crate::crypto::xaes::NONCE_LEN;
use crate::error::{Error, Result};
use crate::id::{EpochId, ObjectHash};
use plakar_store::{Name, ReadStore};

const MAGIC: &[u8; 8] = b"PLKPACK1";
const HEADER_LEN: usize = 64;
const TRAILER_LEN: usize = 16 + OVERHEAD;
/// The count of blocks before a directory.
const COUNT_LEN: usize = 4;
/// What a block takes in a directory, without its items: offset, length, kind, epoch, count,
const ENTRY_LEN: usize = 4 + 4 + 1 + 8 + 2;
/// and an item: id, length.
const ITEM_LEN: usize = 32 + 4;
/// A pack with so many items is full, however short: whoever makes or reads it holds all of them, more than once, and their
/// rows.
const ITEMS_ENOUGH: usize = 1 << 17;
/// The longest pack that is read whole, in bytes.
pub const PACK_BYTES_MAX: usize = 256 << 20;

/// The name of the pack with this hash.
pub fn pack_name(hash: &ObjectHash) -> Name {
    let hex = hash.hex();
    Name::new(&format!("packs/{}/{hex}", &hex[..2])).expect("hexadecimal digits make a name")
}

/// The hash in the name of a pack, if it is one.
pub fn hash_in_pack_name(name: &Name) -> Option<ObjectHash> {
    ObjectHash::from_hex(name.last()).filter(|hash| pack_name(hash) == *name)
}

/// One block as a directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where its sealed bytes begin in the pack.
    pub offset: u32,
    /// How many there are.
    pub sealed_len: u32,
    /// What it holds.
    pub kind: ItemKind,
    /// The epoch it is sealed under.
    pub epoch: EpochId,
    /// Ids and lengths of its items, in order.
    pub items: Vec<([u8; 32], u32)>,
}

/// Puts sealed blocks together to a pack.
pub struct PackWriter {
    bytes: Vec<u8>,
    directory: Vec<BlockEntry>,
    items: usize,
}

/// A pack ready to be stored.
pub struct FinishedPack {
    /// The hash of its bytes: its name.
    pub hash: ObjectHash,
    /// Its bytes up to the directory,
    pub bytes: Vec<u8>,
    /// and from there on: of tiny items the larger part.
    pub end: Vec<u8>,
    /// What it holds.
    pub directory: Vec<BlockEntry>,
}

impl FinishedPack {
    /// All its bytes.
    pub fn whole(&self) -> Vec<u8> {
        [&self.bytes[..], &self.end].concat()
    }
}

impl PackWriter {
    /// An empty pack, sealed like this, in `memory`: what is there gives way.
    pub fn new(sealer: &Sealer, memory: Vec<u8>) -> PackWriter {
        let mut bytes = memory;
        bytes.clear();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[1, sealer.suite() as u8, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&sealer.epoch().0);
        bytes.extend_from_slice(&random::<24>());
        bytes.resize(HEADER_LEN, 0);
        PackWriter { bytes, directory: Vec::new(), items: 0 }
    }

    /// Appends a block.
    pub fn push(&mut self, block: SealedBlock) {
        self.items += block.items.len();
        self.directory.push(BlockEntry {
            offset: self.bytes.len() as u32,
            sealed_len: block.bytes.len() as u32,
            kind: block.kind,
            epoch: block.epoch,
            items: block.items,
        });
        self.bytes.extend_from_slice(&block.bytes);
    }

    /// Appends the blocks of `other`, which was begun for the same session.
    pub fn append(&mut self, other: PackWriter) {
        let moved = (self.bytes.len() - HEADER_LEN) as u32;
        self.items += other.items;
        self.bytes.extend_from_slice(&other.bytes[HEADER_LEN..]);
        let entries = other.directory.into_iter();
        self.directory.extend(entries.map(|entry| BlockEntry { offset: entry.offset + moved, ..entry }));
    }

    /// About how many bytes it would have if it ended here. Its directory counts: of tiny items that compress well it is
    /// the larger part, and whoever reads it holds all of it.
    pub fn len(&self) -> usize {
        self.bytes.len() + ENTRY_LEN * self.directory.len() + ITEM_LEN * self.items
    }

    /// Whether it is to end here, if packs are to have about so many bytes.
    pub fn is_full(&self, pack_bytes: usize) -> bool {
        self.len() >= pack_bytes || self.items >= ITEMS_ENOUGH
    }

    /// Whether it holds no block.
    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// Adds directory and trailer, in `memory`: what is there gives way. `sealer` is the one it was begun with.
    pub fn finish(self, sealer: &Sealer, memory: Vec<u8>) -> FinishedPack {
        let directory_len = COUNT_LEN + ENTRY_LEN * self.directory.len() + ITEM_LEN * self.items;
        let PackWriter { bytes, directory, .. } = self;
        let header = &bytes[..HEADER_LEN];
        let at = bytes.len() as u64;
        let mut end = memory;
        end.clear();
        end.reserve_exact(directory_len + OVERHEAD + TRAILER_LEN);
        end.resize(NONCE_LEN, 0);
        encode_directory(&directory, &mut end);
        sealer.seal_in_place(Kind::PackDirectory, Context { header, offset: at }, &mut end, 0);
        let sealed_len = end.len();
        let mut trailer = at.to_le_bytes().to_vec();
        trailer.extend_from_slice(&(sealed_len as u32).to_le_bytes());
        trailer.extend_from_slice(&1u32.to_le_bytes());
        let context = Context { header, offset: at + sealed_len as u64 };
        end.extend(sealer.seal(Kind::PackTrailer, context, &trailer));
        let hash = blake3::Hasher::new().update(&bytes).update(&end).finalize();
        FinishedPack { hash: ObjectHash(*hash.as_bytes()), bytes, end, directory }
    }
}

fn encode_directory(directory: &[BlockEntry], out: &mut Vec<u8>) {
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    for block in directory {
        out.extend_from_slice(&block.offset.to_le_bytes());
        out.extend_from_slice(&block.sealed_len.to_le_bytes());
        out.push(block.kind as u8);
        out.extend_from_slice(&block.epoch.0);
        out.extend_from_slice(&(block.items.len() as u16).to_le_bytes());
        for (id, len) in &block.items {
            out.extend_from_slice(id);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
}

/// Decodes the plaintext of a directory whose blocks all lie before byte `end` of the pack.
pub fn decode_directory(bytes: &[u8], end: u64) -> Decoded<Vec<BlockEntry>> {
    let mut r = Reader::new(bytes);
    let count = r.u32()? as usize;
    if count > r.left() / (ENTRY_LEN + ITEM_LEN) {
        return Err(Malformed("counts more blocks than there are"));
    }
    let mut directory = Vec::with_capacity(count);
    let mut before = HEADER_LEN as u64;
    for _ in 0..count {
        let (offset, sealed_len) = (r.u32()?, r.u32()?);
        let kind = ItemKind::from_u8(r.u8()?).ok_or(Malformed("unknown kind of block"))?;
        let epoch = EpochId(r.array()?);
        let items = usize::from(r.u16()?);
        if items == 0 || items > ITEMS_MAX || items > r.left() / ITEM_LEN {
            return Err(Malformed("counts more items than there are"));
        }
        if sealed_len as usize > SEALED_MAX || u64::from(offset) < before {
            return Err(Malformed("blocks out of place"));
        }
        before = u64::from(offset) + u64::from(sealed_len);
        directory.push(BlockEntry { offset, sealed_len, kind, epoch, items: decode_items(items, &mut r)? });
    }
    if before > end {
        return Err(Malformed("blocks reach outside"));
    }
    r.end()?;
    Ok(directory)
}

fn decode_items(count: usize, r: &mut Reader) -> Decoded<Vec<([u8; 32], u32)>> {
    let mut items = Vec::with_capacity(count);
    let mut left = RAW_MAX;
    for _ in 0..count {
        let (id, len) = (r.array()?, r.u32()?);
        let rest = left.checked_sub(len as usize).filter(|_| len > 0);
        left = rest.ok_or(Malformed("absurd length of an item"))?;
        items.push((id, len));
    }
    Ok(items)
}

/// Reads the directory of a stored pack: three ranges, whatever the pack's length.
///
/// # Errors
/// [`Error::Damaged`] when it is not a pack or its directory is not what was sealed; store errors.
pub fn read_directory(store: &dyn ReadStore, hash: &ObjectHash, sealer: &Sealer) -> Result<Vec<BlockEntry>> {
    let name = pack_name(hash);
    let len = store.len(&name)?;
    directory_of(&name, len, sealer, &mut |at, len| Ok(store.get_range(&name, at, len)?))
}

/// The directory of a pack that was read whole.
///
/// # Errors
/// [`Error::Damaged`] as [`read_directory`].
pub fn decode_pack(name: &Name, bytes: &[u8], sealer: &Sealer) -> Result<Vec<BlockEntry>> {
    directory_of(name, bytes.len() as u64, sealer, &mut |at, len| Ok(bytes[at as usize..][..len].to_vec()))
}

/// `range` returns as many bytes from as far on as it is asked, which is never outside `len`.
fn directory_of(
    name: &Name,
    len: u64,
    sealer: &Sealer,
    range: &mut dyn FnMut(u64, usize) -> Result<Vec<u8>>,
) -> Result<Vec<BlockEntry>> {
    let damaged = |what| Error::damaged(name, what);
    let Some(trailer_at) = len.checked_sub(TRAILER_LEN as u64).filter(|at| *at >= HEADER_LEN as u64) else {
        return Err(damaged("too short to be a pack"));
    };
    let header = range(0, HEADER_LEN)?;
    let epoch = decode_header(&header, sealer).map_err(|e| e.of(name))?;
    let context = |offset| Context { header: &header, offset };
    let trailer = range(trailer_at, TRAILER_LEN)?;
    let trailer = sealer.open(Kind::PackTrailer, epoch, context(trailer_at), trailer, name)?;
    let mut r = Reader::new(&trailer);
    let (at, sealed_len, version) =
        (|| Ok((r.u64()?, r.u32()?, r.u32()?)))().map_err(|e: Malformed| e.of(name))?;
    if version != 1
        || at < HEADER_LEN as u64
        || at.checked_add(sealed_len.into()).is_none_or(|e| e > trailer_at)
    {
        return Err(damaged("its trailer points outside"));
    }
    let sealed = range(at, sealed_len as usize)?;
    let plain = sealer.open(Kind::PackDirectory, epoch, context(at), sealed, name)?;
    decode_directory(&plain, at).map_err(|e| e.of(name))
}

fn decode_header(bytes: &[u8], sealer: &Sealer) -> Decoded<EpochId> {
    let mut r = Reader::new(bytes);
    r.expect(MAGIC, "not a pack")?;
    r.expect(&[1], "pack of an unknown version")?;
    r.expect(&[sealer.suite() as u8], "sealed by another suite")?;
    r.expect(&[0; 6], "reserved bytes are set")?;
    let epoch = EpochId(r.array()?);
    r.take(24)?;
    r.expect(&[0; 16], "reserved bytes are set")?;
    r.end()?;
    Ok(epoch)
}
