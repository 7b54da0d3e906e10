//! Segments: immutable sorted tables of index rows.
//!
//! ```text
//! header (160) | per shard: sealed pages, sealed shard head | sealed segment head
//!
//! header        "PLKINDX1" | version u8 = 1 | suite u8 | 0 × 6 | epoch 8 | salt 24 | replica 16 | writer 16
//!               | head offset u64 | sealed length of the head u32 | 0 × 4 | signature 64
//! page          136 rows of 30 bytes; the last page of a shard may have fewer, none has none
//! shard head    first keys: u64 × pages | filter
//! segment head  packs u32 | hash 32 each | epochs u16 | id 8 each | shards u32 | per shard: kind u8,
//!               prefix bits u8, prefix u32, rows u32, offset of its pages u64, offset of its head u64,
//!               sealed length of its head u32
//! ```
//!
//! 1. A segment is named `index/<hash>`, the BLAKE3 hash of its bytes; one of at most [`EMBEDDED_MAX`] bytes
//!    may instead travel inside the fact that announces it.
//! 2. Rows are sorted by kind, then id, then pack, offset, ordinal; none occurs twice.
//! 3. A shard holds the rows of one kind whose ids begin with its prefix (the number that the first bits of
//!    the id make, big-endian). Shards are sorted by kind and prefix; empty ones are left out; one
//!    kind has shards of one width, the smallest that keeps them at no more than 2^18 rows on average.
//! 4. First keys are the first 8 bytes of each page's first id, as big-endian numbers.
//! 5. The signature is room for one: 64 zero bytes until writers sign.
//! 6. The header up to the writer enters the associated data of everything that is sealed here.
//!
//! Opening reads the header and the segment head; a shard's head is read when it is first asked, a page when the
//! filter says that it may hold an answer.

use super::filter::{Filter, key};
use super::row::IndexRow;
use crate::block::{ItemId, ItemKind, SEALED_MAX};
use crate::codec::{Decoded, Malformed, Reader};
use crate::crypto::random;
use crate::crypto::seal::{Context, Kind, OVERHEAD, Sealer};
use crate::error::{Error, Result};
use crate::id::{EpochId, ObjectHash, ReplicaId, WriterId};
use plakar_store::{ErrorKind, Name, Range, ReadStore};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

const MAGIC: &[u8; 8] = b"PLKINDX1";
const HEADER_LEN: usize = 160;
/// What of the header everything sealed is tied to: all before the head's place, which is known last.
const BOUND_LEN: usize = 80;
/// Rows in a full page.
pub const PAGE_ROWS: usize = 136;
const PAGE_STRIDE: u64 = (PAGE_ROWS * IndexRow::LEN + OVERHEAD) as u64;
const SHARD_ROWS: usize = 1 << 18;
/// So many pages are read together by who reads all: about 1 MiB.
const RUN_PAGES: usize = 256;
/// So many heads of shards are read together by who reads all: at most 3 MiB.
const HEADS_AT_ONCE: usize = 8;
/// The most bytes of a segment that travels inside a Prepared fact.
pub const EMBEDDED_MAX: usize = 64 << 10;
const HEAD_MAX: usize = 64 << 20;
/// The most epochs of the blocks that one segment lists.
pub const EPOCHS_MAX: usize = 256;

/// The name of the segment with this hash.
pub fn segment_name(hash: &ObjectHash) -> Name {
    Name::new(&format!("index/{hash}")).expect("hexadecimal digits make a name")
}

/// The hash in the name of a segment, if it is one.
pub fn hash_in_segment_name(name: &Name) -> Option<ObjectHash> {
    ObjectHash::from_hex(name.last()).filter(|hash| segment_name(hash) == *name)
}

/// Who writes: stands in the plain header of every segment and log object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The repository written to.
    pub replica: ReplicaId,
    /// The client that writes.
    pub writer: WriterId,
}

/// Collects rows for a segment.
#[derive(Default)]
pub struct SegmentBuilder {
    packs: Vec<ObjectHash>,
    pack_numbers: HashMap<ObjectHash, u32>,
    epochs: Vec<EpochId>,
    rows: Vec<IndexRow>,
}

/// Where an item lies, for [`SegmentBuilder::add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// The pack.
    pub pack: ObjectHash,
    /// Where the sealed block begins in it.
    pub offset: u32,
    /// How many bytes the sealed block has.
    pub sealed_len: u32,
    /// The epoch it is sealed under.
    pub epoch: EpochId,
    /// Which of its items.
    pub ordinal: u16,
}

impl SegmentBuilder {
    /// Forgets all rows, but keeps the memory for others.
    pub fn clear(&mut self) {
        let SegmentBuilder { packs, pack_numbers, epochs, rows } = self;
        packs.clear();
        pack_numbers.clear();
        epochs.clear();
        rows.clear();
    }

    /// Adds a row.
    pub fn add(&mut self, kind: ItemKind, id: &[u8], at: &Location) {
        let next = self.packs.len() as u32;
        let pack = *self.pack_numbers.entry(at.pack).or_insert(next);
        if pack == next {
            self.packs.push(at.pack);
        }
        let epoch = self.epochs.iter().position(|e| *e == at.epoch).unwrap_or_else(|| {
            self.epochs.push(at.epoch);
            self.epochs.len() - 1
        });
        self.rows.push(IndexRow {
            kind,
            id: id[..super::ID_PREFIX_LEN].try_into().expect("ids are longer"),
            pack,
            offset: at.offset,
            sealed_len: at.sealed_len,
            ordinal: at.ordinal,
            epoch: u8::try_from(epoch).expect("a segment has at most 256 epochs"),
        });
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its rows, as kind and first bytes of the id.
    pub fn keys(&self) -> impl Iterator<Item = (ItemKind, [u8; super::ID_PREFIX_LEN])> {
        self.rows.iter().map(|row| (row.kind, row.id))
    }

    /// Whether `segment`, read back, has exactly the rows that were encoded.
    pub fn is_equal(&self, segment: &Segment, sealer: &Sealer) -> Result<bool> {
        let mut rows = self.rows.iter();
        let mut equal = true;
        segment.for_each(sealer, &mut |kind, id, at| {
            equal &= rows.next().is_some_and(|row| {
                let place = Location {
                    pack: self.packs[row.pack as usize],
                    offset: row.offset,
                    sealed_len: row.sealed_len,
                    epoch: self.epochs[usize::from(row.epoch)],
                    ordinal: row.ordinal,
                };
                (row.kind, &row.id, &place) == (kind, id, at)
            });
            Ok(())
        })?;
        Ok(equal && rows.next().is_none())
    }

    /// The stored bytes.
    pub fn encode(&mut self, author: &Author, sealer: &Sealer) -> Vec<u8> {
        self.rows.sort_unstable();
        self.rows.dedup();
        let salt = random::<24>();
        let mut out = Vec::with_capacity(HEADER_LEN + self.rows.len() * (IndexRow::LEN + 2) + 4096);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[1, sealer.suite() as u8, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&sealer.epoch().0);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&author.replica.0);
        out.extend_from_slice(&author.writer.0);
        let bound = out.clone();
        out.resize(HEADER_LEN, 0);

        let mut head = (self.packs.len() as u32).to_le_bytes().to_vec();
        self.packs.iter().for_each(|hash| head.extend_from_slice(&hash.0));
        head.extend_from_slice(&(self.epochs.len() as u16).to_le_bytes());
        self.epochs.iter().for_each(|epoch| head.extend_from_slice(&epoch.0));
        let mut shards = Vec::new();
        for of_kind in self.rows.chunk_by(|a, b| a.kind == b.kind) {
            let bits = prefix_bits(of_kind.len());
            shards.extend(
                of_kind.chunk_by(|a, b| prefix(&a.id, bits) == prefix(&b.id, bits)).map(|s| (bits, s)),
            );
        }
        head.extend_from_slice(&(shards.len() as u32).to_le_bytes());
        for (bits, rows) in shards {
            let (pages_at, head_at, head_len) = encode_shard(rows, &bound, sealer, &mut out);
            head.extend_from_slice(&[rows[0].kind as u8, bits]);
            head.extend_from_slice(&prefix(&rows[0].id, bits).to_le_bytes());
            head.extend_from_slice(&(rows.len() as u32).to_le_bytes());
            head.extend_from_slice(&pages_at.to_le_bytes());
            head.extend_from_slice(&head_at.to_le_bytes());
            head.extend_from_slice(&head_len.to_le_bytes());
        }
        let at = out.len() as u64;
        let sealed = sealer.seal(Kind::SegmentHead, Context { header: &bound, offset: at }, &head);
        let head_at = bound.len();
        out[head_at..head_at + 8].copy_from_slice(&at.to_le_bytes());
        out[head_at + 8..head_at + 12].copy_from_slice(&(sealed.len() as u32).to_le_bytes());
        out.extend_from_slice(&sealed);
        out
    }
}

fn encode_shard(rows: &[IndexRow], header: &[u8], sealer: &Sealer, out: &mut Vec<u8>) -> (u64, u64, u32) {
    let pages_at = out.len() as u64;
    let mut head = Vec::new();
    let mut page = Vec::with_capacity(PAGE_ROWS * IndexRow::LEN);
    for rows in rows.chunks(PAGE_ROWS) {
        head.extend_from_slice(&order_key(&rows[0].id).to_le_bytes());
        page.clear();
        rows.iter().for_each(|row| row.encode(&mut page));
        let context = Context { header, offset: out.len() as u64 };
        out.extend(sealer.seal(Kind::SegmentPage, context, &page));
    }
    let mut keys: Vec<u64> = rows.iter().map(|row| key(&row.id)).collect();
    keys.sort_unstable();
    keys.dedup();
    if let Some(filter) = Filter::build(&keys) {
        filter.encode(&mut head);
    }
    let head_at = out.len() as u64;
    let sealed = sealer.seal(Kind::ShardHead, Context { header, offset: head_at }, &head);
    out.extend_from_slice(&sealed);
    (pages_at, head_at, sealed.len() as u32)
}

/// How many bits of the id tell the shards of `rows` rows apart.
fn prefix_bits(rows: usize) -> u8 {
    rows.div_ceil(SHARD_ROWS).next_power_of_two().trailing_zeros() as u8
}

fn prefix(id: &[u8], bits: u8) -> u32 {
    let first = u32::from_be_bytes(id[..4].try_into().expect("ids are longer"));
    first.checked_shr(32 - u32::from(bits)).unwrap_or(0)
}

fn order_key(id: &[u8]) -> u64 {
    u64::from_be_bytes(id[..8].try_into().expect("ids are longer"))
}

/// Gives the page at an offset: from memory, or by calling what reads it.
pub type Pages<'p> = dyn FnMut(u64, &mut dyn FnMut() -> Result<Vec<u8>>) -> Result<Arc<[u8]>> + 'p;
/// Called with each row: what it is about, the first bytes of its id, and where it lies.
pub type EachRow<'r> = dyn FnMut(ItemKind, &[u8; super::ID_PREFIX_LEN], &Location) -> Result<()> + 'r;

/// Where the bytes of a segment are.
pub enum SegmentSource {
    /// An object of its own.
    Stored(Arc<dyn ReadStore>, Name),
    /// Carried by the fact that announced it.
    Embedded(Vec<u8>),
}

impl SegmentSource {
    fn range(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        match self {
            SegmentSource::Stored(store, name) => Ok(store.get_range(name, offset, len)?),
            SegmentSource::Embedded(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|at| bytes.get(at..at.checked_add(len)?))
                .map(<[u8]>::to_vec)
                .ok_or_else(|| Error::damaged(self, "ends early")),
        }
    }

    fn len(&self) -> Result<u64> {
        match self {
            SegmentSource::Stored(store, name) => Ok(store.len(name)?),
            SegmentSource::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }
}

impl std::fmt::Display for SegmentSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SegmentSource::Stored(_, name) => name.fmt(f),
            SegmentSource::Embedded(_) => f.write_str("segment inside a fact"),
        }
    }
}

struct Shard {
    kind: ItemKind,
    bits: u8,
    prefix: u32,
    rows: u32,
    pages_at: u64,
    head_at: u64,
    head_len: u32,
    head: OnceLock<ShardHead>,
}

impl Shard {
    fn pages(&self) -> usize {
        (self.rows as usize).div_ceil(PAGE_ROWS)
    }
}

struct ShardHead {
    first_keys: Vec<u64>,
    filter: Option<Filter>,
}

/// Pages that lie beside each other.
pub(crate) struct Run {
    kind: ItemKind,
    /// Offset and sealed length of each.
    pages: Vec<(u64, usize)>,
    /// Where they begin.
    pub at: u64,
    /// How many bytes they have.
    pub len: usize,
}

/// A segment of which the header was read.
struct Begun {
    source: SegmentSource,
    epoch: EpochId,
    bound: Vec<u8>,
    /// Where its head begins,
    at: u64,
    /// and how many bytes that has.
    len: usize,
}

impl Begun {
    fn new(source: SegmentSource, header: &[u8], sealer: &Sealer) -> Result<Begun> {
        let (epoch, at, len) = decode_header(header, sealer).map_err(|e| e.of(&source))?;
        let begun = Begun { source, epoch, bound: header[..BOUND_LEN].to_vec(), at, len: len as usize };
        let is_inside = at >= HEADER_LEN as u64 && at < u64::MAX - HEAD_MAX as u64 && begun.len <= HEAD_MAX;
        if is_inside { Ok(begun) } else { Err(begun.points_outside()) }
    }

    /// Where the segment ends.
    fn end(&self) -> u64 {
        self.at + self.len as u64
    }

    fn points_outside(&self) -> Error {
        Error::damaged(&self.source, "its header points outside")
    }

    fn open(self, head: Vec<u8>, sealer: &Sealer) -> Result<Segment> {
        let Begun { source, epoch, bound, at, .. } = self;
        let head =
            sealer.open(Kind::SegmentHead, epoch, Context { header: &bound, offset: at }, head, &source)?;
        let (packs, epochs, shards) = decode_head(&head, at).map_err(|e| e.of(&source))?;
        Ok(Segment { source, epoch, bound, packs, epochs, shards })
    }
}

/// A segment that is open for searching.
pub struct Segment {
    source: SegmentSource,
    epoch: EpochId,
    /// What of the header everything sealed in it is tied to.
    bound: Vec<u8>,
    /// The packs its rows name.
    pub packs: Vec<ObjectHash>,
    epochs: Vec<EpochId>,
    shards: Vec<Shard>,
}

impl Segment {
    /// Opens a segment: reads its header and head.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these are not the bytes of a segment sealed in this domain; store errors.
    pub fn open(source: SegmentSource, sealer: &Sealer) -> Result<Segment> {
        let bytes = match &source {
            SegmentSource::Stored(store, name) => {
                return Segment::open_stored(store, vec![name.clone()], sealer).remove(0);
            }
            SegmentSource::Embedded(bytes) => bytes.len() as u64,
        };
        let header = source.range(0, HEADER_LEN)?;
        let begun = Begun::new(source, &header, sealer)?;
        if begun.end() != bytes {
            return Err(begun.points_outside());
        }
        let head = begun.source.range(begun.at, begun.len)?;
        begun.open(head, sealer)
    }

    /// Opens segments of one store, in two requests however many they are.
    pub(crate) fn open_stored(
        store: &Arc<dyn ReadStore>,
        names: Vec<Name>,
        sealer: &Sealer,
    ) -> Vec<Result<Segment>> {
        let header = |name: &Name| Range { name: name.clone(), offset: 0, len: HEADER_LEN };
        // What asks for nothing is a request as well.
        let get = |ranges: Vec<Range>| if ranges.is_empty() { Vec::new() } else { store.get_ranges(&ranges) };
        let headers = get(names.iter().map(header).collect());
        let begin = |(name, header): (Name, plakar_store::Result<Vec<u8>>)| {
            Begun::new(SegmentSource::Stored(store.clone(), name.clone()), &header?, sealer)
                .map(|begun| (name, begun))
        };
        let begun: Vec<Result<_>> = names.into_iter().zip(headers).map(begin).collect();
        // A head, and the byte after it, which must not be there.
        let ends = |(name, begun): &(Name, Begun)| {
            [(begun.at, begun.len), (begun.end(), 1)].map(|(offset, len)| Range {
                name: name.clone(),
                offset,
                len,
            })
        };
        let mut answers = get(begun.iter().flatten().flat_map(ends).collect()).into_iter();
        let mut next = || answers.next().expect("each range is answered");
        let finish = |begun: Result<(Name, Begun)>| {
            let (_, begun) = begun?;
            match (next(), next()) {
                (Ok(head), Err(after)) if after.kind() == ErrorKind::Short => begun.open(head, sealer),
                (Err(e), _) if e.kind() != ErrorKind::Short => Err(e.into()),
                (Ok(_), Err(e)) => Err(e.into()),
                _ => Err(begun.points_outside()),
            }
        };
        begun.into_iter().map(finish).collect()
    }

    /// The same segment, as it is stored: what is read of it from now on comes from there.
    pub(crate) fn stored_as(self, store: Arc<dyn ReadStore>, name: Name) -> Segment {
        Segment { source: SegmentSource::Stored(store, name), ..self }
    }

    /// The name of the object it is, unless it travels in a fact.
    pub(crate) fn name(&self) -> Option<&Name> {
        match &self.source {
            SegmentSource::Stored(_, name) => Some(name),
            SegmentSource::Embedded(_) => None,
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|s| u64::from(s.rows)).sum()
    }

    /// The epochs that the blocks it lists are sealed under.
    pub fn epochs(&self) -> impl Iterator<Item = EpochId> {
        self.epochs.iter().copied()
    }

    /// How many bytes it has as stored.
    pub fn stored_len(&self) -> Result<u64> {
        self.source.len()
    }

    /// Calls `found` with the place of every row about `item`. `page` reads a page, or knows it already.
    pub fn find(
        &self,
        item: &ItemId,
        sealer: &Sealer,
        page: &mut Pages,
        found: &mut dyn FnMut(Location),
    ) -> Result<()> {
        let Some(shard) = self.shard_number(item).map(|number| &self.shards[number]) else { return Ok(()) };
        for number in self.head(shard, sealer)?.pages_of(item) {
            let (at, _) = page_range(shard, number);
            let bytes = page(at, &mut || self.read_page(shard, number, sealer))?;
            for row in rows_from(&bytes, shard.kind, item) {
                found(self.location(&row)?);
            }
        }
        Ok(())
    }

    /// The shard that [`find`](Self::find) asks for `item`, if its head has to be read for it.
    pub(super) fn head_wanted(&self, item: &ItemId) -> Option<usize> {
        let number = self.shard_number(item)?;
        let known = self.shards[number].head.get().is_some();
        (!known && matches!(self.source, SegmentSource::Stored(..))).then_some(number)
    }

    /// The shards whose heads were not read yet, and where those lie.
    pub(super) fn heads_unknown(&self) -> Vec<(usize, Range)> {
        let SegmentSource::Stored(_, name) = &self.source else { return Vec::new() };
        let unknown = self.shards.iter().enumerate().filter(|(_, shard)| shard.head.get().is_none());
        let range =
            |shard: &Shard| Range { name: name.clone(), offset: shard.head_at, len: shard.head_len as usize };
        unknown.map(|(number, shard)| (number, range(shard))).collect()
    }

    /// Takes the bytes of a head that [`heads_unknown`](Self::heads_unknown) named.
    pub(super) fn give_head(&self, number: usize, sealed: Vec<u8>, sealer: &Sealer) -> Result<()> {
        let shard = &self.shards[number];
        let head = self.open_head(shard, sealed, sealer)?;
        shard.head.get_or_init(|| head);
        Ok(())
    }

    /// The pages that [`find`](Self::find) would read for `items`, by shard, as far as that can be told without reading.
    pub(super) fn pages_wanted(&self, items: &[ItemId]) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut wanted = BTreeMap::<_, BTreeSet<_>>::new();
        if matches!(self.source, SegmentSource::Embedded(_)) {
            return wanted;
        }
        for item in items {
            if let Some(number) = self.shard_number(item)
                && let Some(head) = self.shards[number].head.get()
            {
                wanted.entry(number).or_default().extend(head.pages_of(item));
            }
        }
        wanted
    }

    /// How many pages a shard has.
    pub(super) fn pages_in(&self, shard: usize) -> usize {
        self.shards[shard].pages()
    }

    /// Where a page of a shard lies: the offset that it is known by, and its range. `None` when it need not be read.
    pub(super) fn page_at(&self, shard: usize, number: usize) -> Option<(u64, Range)> {
        let SegmentSource::Stored(_, name) = &self.source else { return None };
        let (offset, len) = page_range(&self.shards[shard], number);
        Some((offset, Range { name: name.clone(), offset, len }))
    }

    /// Opens the bytes of the page at this offset.
    pub(super) fn open_page(&self, at: u64, sealed: Vec<u8>, sealer: &Sealer) -> Result<Vec<u8>> {
        let context = Context { header: &self.bound, offset: at };
        sealer.open(Kind::SegmentPage, self.epoch, context, sealed, &self.source)
    }

    /// Reads the heads of the shards that were not read yet, and keeps nothing of them: for whoever acts only on a segment
    /// of which everything can be read.
    ///
    /// # Errors
    /// [`Error::Damaged`] when one is not what was sealed; store errors.
    pub(crate) fn look_at_heads(&self, sealer: &Sealer) -> Result<()> {
        let SegmentSource::Stored(store, _) = &self.source else { return Ok(()) };
        for heads in self.heads_unknown().chunks(HEADS_AT_ONCE) {
            let ranges: Vec<_> = heads.iter().map(|(_, range)| range.clone()).collect();
            for ((number, _), sealed) in heads.iter().zip(store.get_ranges(&ranges)) {
                self.open_head(&self.shards[*number], sealed?, sealer)?;
            }
        }
        Ok(())
    }

    /// Calls `each` with every row, in order.
    pub fn for_each(&self, sealer: &Sealer, each: &mut EachRow) -> Result<()> {
        for run in self.runs() {
            let sealed = self.source.range(run.at, run.len)?;
            self.for_each_in(&run, &sealed, sealer, each)?;
        }
        Ok(())
    }

    /// Calls `each` with every row of the pages that can be read, whatever is wrong with the others.
    pub(crate) fn for_each_readable(
        &self,
        sealer: &Sealer,
        each: &mut dyn FnMut(ItemKind, &[u8; super::ID_PREFIX_LEN], &Location),
    ) -> Result<()> {
        for run in self.runs() {
            for &(at, len) in &run.pages {
                let page = Run { kind: run.kind, pages: vec![(at, len)], at, len };
                let sealed = self.source.range(at, len);
                let mut row = |kind, id: &[u8; super::ID_PREFIX_LEN], place: &Location| {
                    each(kind, id, place);
                    Ok(())
                };
                match sealed.and_then(|sealed| self.for_each_in(&page, &sealed, sealer, &mut row)) {
                    Err(e) if !(e.is_damage() || e.is_not_found()) => return Err(e),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Its rows in runs of pages, in order, as whoever reads all of them reads them.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        self.shards.iter().flat_map(|shard| {
            (0..shard.pages()).step_by(RUN_PAGES).map(move |first| {
                let pages = first..shard.pages().min(first + RUN_PAGES);
                let pages: Vec<_> = pages.map(|number| page_range(shard, number)).collect();
                let (at, len) = (pages[0].0, pages.iter().map(|(_, len)| len).sum());
                Run { kind: shard.kind, pages, at, len }
            })
        })
    }

    /// Calls `each` with every row of a run, whose bytes these are.
    pub(crate) fn for_each_in(
        &self,
        run: &Run,
        sealed: &[u8],
        sealer: &Sealer,
        each: &mut EachRow,
    ) -> Result<()> {
        let mut rest = sealed;
        for (at, len) in &run.pages {
            let ends_early = || Error::damaged(&self.source, "ends early");
            let (page, after) = rest.split_at_checked(*len).ok_or_else(ends_early)?;
            rest = after;
            let bytes = self.open_page(*at, page.to_vec(), sealer)?;
            let mut r = Reader::new(&bytes);
            while r.left() > 0 {
                let row = IndexRow::decode(run.kind, &mut r).map_err(|e| e.of(&self.source))?;
                each(run.kind, &row.id, &self.location(&row)?)?;
            }
        }
        Ok(())
    }

    fn shard_number(&self, item: &ItemId) -> Option<usize> {
        let bits = self.shards.iter().find(|s| s.kind == item.kind)?.bits;
        let wanted = (item.kind, prefix(&item.id, bits));
        self.shards.binary_search_by_key(&wanted, |s| (s.kind, s.prefix)).ok()
    }

    fn head<'a>(&self, shard: &'a Shard, sealer: &Sealer) -> Result<&'a ShardHead> {
        if let Some(head) = shard.head.get() {
            return Ok(head);
        }
        let sealed = self.source.range(shard.head_at, shard.head_len as usize)?;
        let head = self.open_head(shard, sealed, sealer)?;
        Ok(shard.head.get_or_init(|| head))
    }

    fn open_head(&self, shard: &Shard, sealed: Vec<u8>, sealer: &Sealer) -> Result<ShardHead> {
        let context = Context { header: &self.bound, offset: shard.head_at };
        let plain = sealer.open(Kind::ShardHead, self.epoch, context, sealed, &self.source)?;
        decode_shard_head(&plain, shard.pages()).map_err(|e| e.of(&self.source))
    }

    fn read_page(&self, shard: &Shard, number: usize, sealer: &Sealer) -> Result<Vec<u8>> {
        let (at, len) = page_range(shard, number);
        self.open_page(at, self.source.range(at, len)?, sealer)
    }

    fn location(&self, row: &IndexRow) -> Result<Location> {
        let outside = || Error::damaged(&self.source, "a row points outside its tables");
        if row.sealed_len as usize > SEALED_MAX {
            return Err(outside());
        }
        Ok(Location {
            pack: *self.packs.get(row.pack as usize).ok_or_else(outside)?,
            offset: row.offset,
            sealed_len: row.sealed_len,
            epoch: *self.epochs.get(usize::from(row.epoch)).ok_or_else(outside)?,
            ordinal: row.ordinal,
        })
    }
}

impl ShardHead {
    /// The numbers of the pages that may hold rows about `item`.
    fn pages_of(&self, item: &ItemId) -> std::ops::Range<usize> {
        if self.filter.as_ref().is_some_and(|f| !f.may_contain(key(&item.id))) {
            return 0..0;
        }
        let wanted = order_key(&item.id);
        // The last page that begins before the wanted key may still hold it; so may all that begin with it.
        let first = self.first_keys.partition_point(|k| *k < wanted).saturating_sub(1);
        first..self.first_keys.partition_point(|k| *k <= wanted).max(first)
    }
}

/// Offset and sealed length of a page.
fn page_range(shard: &Shard, number: usize) -> (u64, usize) {
    let rows = (shard.rows as usize - number * PAGE_ROWS).min(PAGE_ROWS);
    (shard.pages_at + number as u64 * PAGE_STRIDE, rows * IndexRow::LEN + OVERHEAD)
}

/// The rows of a page about `item`: found by halving, then one after the other.
fn rows_from(page: &[u8], kind: ItemKind, item: &ItemId) -> impl Iterator<Item = IndexRow> {
    let rows = page.len() / IndexRow::LEN;
    let row = move |n: usize| &page[n * IndexRow::LEN..][..IndexRow::LEN];
    let (mut low, mut high) = (0, rows);
    while low < high {
        let mid = (low + high) / 2;
        if row(mid)[..super::ID_PREFIX_LEN] < item.id[..super::ID_PREFIX_LEN] {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    let id = item.id;
    (low..rows)
        .map(move |n| IndexRow::decode(kind, &mut Reader::new(row(n))).expect("a row has as many bytes"))
        .take_while(move |row| row.id == id[..super::ID_PREFIX_LEN])
}

fn decode_header(bytes: &[u8], sealer: &Sealer) -> Decoded<(EpochId, u64, u32)> {
    let mut r = Reader::new(bytes);
    r.expect(MAGIC, "not an index segment")?;
    r.expect(&[1], "index segment of an unknown version")?;
    r.expect(&[sealer.suite() as u8], "sealed by another suite")?;
    r.expect(&[0; 6], "reserved bytes are set")?;
    let epoch = EpochId(r.array()?);
    r.take(24 + 32)?;
    let found = (epoch, r.u64()?, r.u32()?);
    r.expect(&[0; 4], "reserved bytes are set")?;
    r.take(64)?;
    r.end()?;
    Ok(found)
}

type Head = (Vec<ObjectHash>, Vec<EpochId>, Vec<Shard>);

fn decode_head(bytes: &[u8], end: u64) -> Decoded<Head> {
    const SHARD: usize = 1 + 1 + 4 + 4 + 8 + 8 + 4;
    let mut r = Reader::new(bytes);
    let packs = r.u32()? as usize;
    if packs > r.left() / 32 {
        return Err(Malformed("counts more packs than there are"));
    }
    let packs = (0..packs).map(|_| Ok(ObjectHash(r.array()?))).collect::<Decoded<Vec<_>>>()?;
    let epochs = r.u16()?;
    if usize::from(epochs) > EPOCHS_MAX {
        return Err(Malformed("counts more epochs than rows can tell apart"));
    }
    let epochs = (0..epochs).map(|_| Ok(EpochId(r.array()?))).collect::<Decoded<Vec<_>>>()?;
    let count = r.u32()? as usize;
    if count > r.left() / SHARD {
        return Err(Malformed("counts more shards than there are"));
    }
    let mut shards: Vec<Shard> = Vec::with_capacity(count);
    for _ in 0..count {
        let shard = Shard {
            kind: ItemKind::from_u8(r.u8()?).ok_or(Malformed("unknown kind of row"))?,
            bits: r.u8()?,
            prefix: r.u32()?,
            rows: r.u32()?,
            pages_at: r.u64()?,
            head_at: r.u64()?,
            head_len: r.u32()?,
            head: OnceLock::new(),
        };
        let pages = u64::from(shard.rows).div_ceil(PAGE_ROWS as u64);
        let pages_len = u64::from(shard.rows) * IndexRow::LEN as u64 + pages * OVERHEAD as u64;
        let ordered = shards.last().is_none_or(|before| {
            let same_kind = before.kind == shard.kind;
            (before.kind, before.prefix) < (shard.kind, shard.prefix)
                && (!same_kind || before.bits == shard.bits)
        });
        let sane = shard.rows > 0
            && shard.bits <= 24
            && u64::from(shard.prefix) < 1 << shard.bits
            && shard.pages_at.checked_add(pages_len) == Some(shard.head_at)
            && shard.head_at.checked_add(shard.head_len.into()).is_some_and(|e| e <= end)
            && ordered;
        if !sane {
            return Err(Malformed("absurd shard"));
        }
        shards.push(shard);
    }
    r.end()?;
    Ok((packs, epochs, shards))
}

fn decode_shard_head(bytes: &[u8], pages: usize) -> Decoded<ShardHead> {
    let mut r = Reader::new(bytes);
    if pages > r.left() / 8 {
        return Err(Malformed("has fewer first keys than pages"));
    }
    let first_keys = (0..pages).map(|_| r.u64()).collect::<Decoded<Vec<_>>>()?;
    if !first_keys.is_sorted() {
        return Err(Malformed("first keys out of order"));
    }
    let filter = match r.left() {
        0 => None,
        n => Some(Filter::decode(r.take(n)?)?),
    };
    Ok(ShardHead { first_keys, filter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keyring::Epoch;
    use crate::id::DomainId;

    fn sealer() -> Sealer {
        Sealer::encrypted(DomainId([1; 16]), &[Epoch { id: EpochId([1; 8]), key: [2; 32], began: 0 }])
    }

    fn item(kind: ItemKind, n: u32) -> ItemId {
        ItemId { kind, id: *blake3::hash(&n.to_le_bytes()).as_bytes() }
    }

    fn location(n: u32) -> Location {
        let pack = ObjectHash([n as u8 % 7; 32]);
        Location { pack, offset: n, sealed_len: n % 1000 + 1, epoch: EpochId([1; 8]), ordinal: n as u16 }
    }

    fn segment(count: u32) -> Segment {
        let mut builder = SegmentBuilder::default();
        for n in 0..count {
            let kind = if n % 3 == 0 { ItemKind::Node } else { ItemKind::Chunk };
            builder.add(kind, &item(kind, n).id, &location(n));
        }
        let author = Author { replica: ReplicaId([3; 16]), writer: WriterId([4; 16]) };
        Segment::open(SegmentSource::Embedded(builder.encode(&author, &sealer())), &sealer()).unwrap()
    }

    fn find(segment: &Segment, item: &ItemId) -> Vec<Location> {
        let mut found = Vec::new();
        let mut page = |_, read: &mut dyn FnMut() -> Result<Vec<u8>>| Ok(read()?.into());
        segment.find(item, &sealer(), &mut page, &mut |at| found.push(at)).unwrap();
        found
    }

    #[test]
    fn every_row_is_found_and_no_other() {
        for count in [1, 2, 135, 136, 137, 5_000, 700_000] {
            let segment = segment(count);
            assert_eq!(segment.rows(), count.into());
            for n in (0..count).step_by(1 + count as usize / 3000) {
                let kind = if n % 3 == 0 { ItemKind::Node } else { ItemKind::Chunk };
                let other = if n % 3 == 0 { ItemKind::Chunk } else { ItemKind::Node };
                assert_eq!(find(&segment, &item(kind, n)), [location(n)], "{n} of {count}");
                assert!(find(&segment, &item(other, n)).is_empty());
                assert!(find(&segment, &item(kind, n + count)).is_empty());
            }
        }
    }

    #[test]
    fn an_item_in_many_places_is_found_in_all() {
        let mut builder = SegmentBuilder::default();
        let id = item(ItemKind::Chunk, 0);
        (0..400).for_each(|n| builder.add(id.kind, &id.id, &location(n)));
        (1..400).for_each(|n| builder.add(id.kind, &item(id.kind, n).id, &location(n)));
        let author = Author { replica: ReplicaId([3; 16]), writer: WriterId([4; 16]) };
        let bytes = builder.encode(&author, &sealer());
        let segment = Segment::open(SegmentSource::Embedded(bytes), &sealer()).unwrap();
        assert_eq!(find(&segment, &id).len(), 400);
    }
}
