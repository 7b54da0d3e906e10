//! One function for each decoder of the engine: whatever the bytes are it does not panic, and what it decodes
//! encodes to the same bytes again. The fuzz targets and the tests on stable drive the same functions.
//!
//! Bytes that are sealed would be refused at their checksum whatever else is wrong with them. So the functions for
//! stored objects take an object of a domain without encryption and mend its checksums first: what is tested is
//! what a writer who holds the keys could do.
//!
//! Exempt from encoding to the same bytes: what draws random bytes (salts), and zstd frames, of which many hold the
//! same; these decode again to the same value.

use crate::samples;
use plakar_engine::block::{Block, ITEMS_MAX, ItemId, ItemKind, RAW_MAX};
use plakar_engine::codec::{Reader, Writer};
use plakar_engine::crypto::keyring::Keyring;
use plakar_engine::crypto::seal::{Context, Kind, OVERHEAD};
use plakar_engine::crypto::slot::Slot;
use plakar_engine::id::{EpochId, NodeId, ObjectHash, SessionId, unhex};
use plakar_engine::index::segment::SegmentSource;
use plakar_engine::index::{Index, IndexRow};
use plakar_engine::log::object::{self, Class};
use plakar_engine::log::{Fact, Row as SnapshotRow, Snapshot};
use plakar_engine::pack::{self, BlockEntry};
use plakar_engine::record;
use plakar_engine::repository::records::{Config, Replica};
use plakar_engine::retention::{Age, Policy, Reason, decide};
use plakar_engine::tree::node::{ChunkPage, DirectoryPage, decode_xattrs, encode_xattrs};
use plakar_engine::tree::{Body, Chunks, Directory, NodeSource, Object, Subtree, Totals, find_path};
use plakar_store::{MemoryStore, Name};
use std::sync::Arc;

/// A function of this module.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Target); 21] = [
    ("numbers", numbers),
    ("hex_id", hex_id),
    ("directory_page", directory_page),
    ("chunk_page", chunk_page),
    ("xattrs", xattrs),
    ("tree", tree),
    ("block", block),
    ("pack_directory", pack_directory),
    ("pack", pack),
    ("index_rows", index_rows),
    ("segment", segment),
    ("fact", fact),
    ("fact_row", fact_row),
    ("log_plain", log_plain),
    ("log_object", log_object),
    ("sealed", sealed),
    ("keyring", keyring),
    ("keyring_record", keyring_record),
    ("slot", slot),
    ("repository_records", repository_records),
    ("age", age),
];

/// Bytes to begin with, for the function with this name: made by the encoders.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let named = |prefixes: &[&str]| {
        let is = |name: &str| prefixes.iter().any(|p| name.split('/').next() == Some(p));
        samples::all().into_iter().filter(|(name, _)| is(name)).map(|(_, bytes)| bytes).collect::<Vec<_>>()
    };
    match target {
        "numbers" => vec![vec![0x80, 0x01], vec![0xff; 9], vec![3, 1, 2, 3], vec![0; 20]],
        "hex_id" => vec![samples::domain().hex().into_bytes()],
        "tree" => tree_seeds(),
        "index_rows" => {
            let mut page = Vec::new();
            for pack in 0..4 {
                let (id, kind) = ([pack as u8; 16], ItemKind::Chunk);
                let row = IndexRow { kind, id, pack, offset: 64, sealed_len: 1 << 20, ordinal: 3, epoch: 0 };
                row.encode(&mut page);
            }
            vec![page]
        }
        "fact" => named(&["fact"]),
        "repository_records" => named(&["replica", "config"]),
        "age" => ["0", "30d", "1y6m2w3d12h", "9999999y", "0h", "007d"].map(|age| age.into()).to_vec(),
        "keyring" => named(&["keyring"]),
        // The encrypted ones end at their checksum: they are seeds too, of what a stranger could do.
        other => named(&[other]),
    }
}

/// Ages as they are typed for a policy. One is shown as what means the same, and whatever it is, the newest snapshot is not
/// older than the newest.
pub fn age(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(age) = text.parse::<Age>() else { return };
    let shown = age.to_string();
    assert_eq!(shown.parse(), Ok(age), "{shown}");
    assert_eq!(age.is_zero(), shown == "0");
    let row = samples::row();
    for received_ms in [i64::MIN, -1, 0, 1_700_000_000_000, i64::MAX] {
        let snapshot = Snapshot { session: SessionId([1; 16]), row: &row, received_ms };
        let policy = Policy { within: Some(age), min_age: age, trust_times: true, ..Policy::default() };
        let groups = decide(&[snapshot], &policy, received_ms).expect("the newest is kept");
        assert!(
            groups
                .iter()
                .all(|group| group.decisions.iter().all(|one| one.reasons.contains(&Reason::Within))),
            "{shown}"
        );
    }
}

/// LEB128 numbers, byte strings, counts: in their only form.
pub fn numbers(data: &[u8]) {
    let mut r = Reader::new(data);
    let mut again = Vec::new();
    while let Ok(n) = r.uv() {
        again.uv(n);
    }
    assert!(data.starts_with(&again));
    let mut r = Reader::new(data);
    let mut again = Vec::new();
    while r.left() > 0
        && let Ok(bytes) = r.bs(100)
    {
        again.bs(bytes);
    }
    assert!(data.starts_with(&again));
    for each in 1..4 {
        let mut r = Reader::new(data);
        if let Ok(n) = r.count(each) {
            assert!(n * each <= r.left());
        }
    }
}

/// Identifiers in hexadecimal digits.
pub fn hex_id(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(unhex::<16>(text).is_none_or(|id| plakar_engine::id::hex(&id) == text));
        assert!(ObjectHash::from_hex(text).is_none_or(|id| id.hex() == text));
        if let Some(name) = Name::new(text) {
            assert!(object::hash_in_name(&name).is_none_or(|hash| text.ends_with(&hash.hex())));
        }
    }
}

/// Nodes of directories.
pub fn directory_page(data: &[u8]) {
    if let Ok(page) = DirectoryPage::decode(data) {
        assert!(page.encode() == data, "{page:?}");
    }
}

/// Nodes of chunk lists.
pub fn chunk_page(data: &[u8]) {
    if let Ok(page) = ChunkPage::decode(data) {
        assert!(page.encode() == data, "{page:?}");
    }
}

/// Extended attributes as a chunk holds them.
pub fn xattrs(data: &[u8]) {
    if let Ok(list) = decode_xattrs(data) {
        let mut again = Vec::new();
        encode_xattrs(&list, &mut again);
        assert!(again == data, "{list:?}");
    }
}

/// Nodes that hang together in any way, circles among them: node number n has the id n, n, n…
struct Tangle<'a>(Vec<&'a [u8]>);

impl NodeSource for Tangle<'_> {
    fn node(&self, id: &NodeId) -> plakar_engine::Result<Vec<u8>> {
        let found = self.0.get(usize::from(id.0[0])).map(|bytes| bytes.to_vec());
        found.ok_or(plakar_engine::Error::Missing { what: "node", id: id.hex() })
    }
}

/// A tree of hostile nodes: each a length (u16) and its bytes. Reading it ends, in order and within the sizes.
pub fn tree(data: &[u8]) {
    const ENTRIES_MOST: usize = 5000;
    let mut nodes = Vec::new();
    let mut r = Reader::new(data);
    while let Ok(len) = r.u16() {
        let Ok(node) = r.take(usize::from(len).min(r.left())) else { break };
        nodes.push(node);
    }
    let root = NodeId([0; 32]);
    let source = Tangle(nodes);
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut whole = false;
    if let Ok(mut directory) = Directory::open(&source, &root) {
        while names.len() < ENTRIES_MOST {
            match directory.next_entry() {
                Ok(Some(entry)) => names.push(entry.name),
                Ok(None) => {
                    whole = true;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    assert!(names.is_sorted_by(|a, b| a < b));
    for name in names.iter().step_by(1 + names.len() / 8) {
        let found = Directory::open(&source, &root).and_then(|directory| directory.find(name));
        assert!(!whole || found.is_ok_and(|entry| entry.is_some_and(|entry| entry.name == *name)));
        let _ = find_path(
            &source,
            &Subtree { node: root, totals: Totals::default() },
            &[name, b"/a/b".as_slice()].concat(),
        );
    }
    for size in [97, 300, 1 << 20, u64::MAX] {
        let Ok(mut chunks) = Chunks::open(&source, &Object { size, body: Body::Tree(root) }) else {
            continue;
        };
        let mut sum = 0u64;
        for _ in 0..ENTRIES_MOST {
            match chunks.next_row() {
                Ok(Some(row)) => {
                    sum = sum.checked_add(row.bytes()).filter(|s| *s <= size).expect("within the size")
                }
                Ok(None) => {
                    assert_eq!(sum, size);
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

fn tree_seeds() -> Vec<Vec<u8>> {
    use plakar_engine::tree::node::{ChunkLink, DirectoryLink};
    let concat = |nodes: &[Vec<u8>]| {
        let mut out = Vec::new();
        for node in nodes {
            out.extend_from_slice(&(node.len() as u16).to_le_bytes());
            out.extend_from_slice(node);
        }
        out
    };
    let id = |n| NodeId([n; 32]);
    let pipes =
        |names: &[&[u8]]| DirectoryPage::Entries(names.iter().map(|n| samples::entry(n)).collect()).encode();
    let link = |first: &[u8], n| DirectoryLink { first: first.to_vec(), child: id(n), entries: 2 };
    let links = |level, links: &[(&[u8], u8)]| {
        DirectoryPage::Links(level, links.iter().map(|(first, n)| link(first, *n)).collect()).encode()
    };
    let rows =
        |ns: &[u8]| ChunkPage::Rows(ns.iter().map(|n| samples::chunk_row(*n, 50, 1)).collect()).encode();
    let chunk_links = |level, ns: &[u8]| {
        let links = ns.iter().map(|n| ChunkLink { child: id(*n), rows: 2, bytes: 100 });
        ChunkPage::Links(level, links.collect()).encode()
    };
    vec![
        concat(&[pipes(&[b"a", b"b"])]),
        concat(&[links(1, &[(b"a", 1), (b"c", 2)]), pipes(&[b"a", b"b"]), pipes(&[b"c", b"d"])]),
        concat(&[links(2, &[(b"a", 1)]), links(1, &[(b"a", 2)]), pipes(&[b"a", b"b"])]),
        concat(&[links(1, &[(b"a", 0)])]),
        concat(&[chunk_links(1, &[1, 2, 1]), rows(&[1, 2]), rows(&[3, 4])]),
        concat(&[chunk_links(2, &[1, 1]), chunk_links(1, &[2]), rows(&[3, 4, 5])]),
        concat(&[chunk_links(1, &[0])]),
    ]
}

/// Plaintexts of blocks. The same bytes again unless the payload is a zstd frame.
pub fn block(data: &[u8]) {
    for kind in [ItemKind::Chunk, ItemKind::Node] {
        let Ok(block) = Block::decode(kind, data) else { continue };
        assert!((1..=ITEMS_MAX).contains(&block.count()) && block.raw_len() <= RAW_MAX);
        let items: Vec<_> =
            (0..block.count()).map(|n| block.bytes(n).expect("as many as it counts")).collect();
        assert!(items.iter().all(|item| !item.is_empty()) && block.bytes(block.count()).is_none());
        assert_eq!(items.iter().map(|item| item.len()).sum::<usize>(), block.raw_len());
        let mut again = vec![data[0]];
        again.extend_from_slice(&(items.len() as u16).to_le_bytes());
        again.extend_from_slice(&(block.raw_len() as u32).to_le_bytes());
        items.iter().for_each(|item| again.extend_from_slice(&(item.len() as u32).to_le_bytes()));
        match data[0] {
            0 => again.extend(items.concat()),
            _ => assert!(data.len() - again.len() < block.raw_len()),
        }
        assert!(data.starts_with(&again) && (data[0] == 1 || data.len() == again.len()));
    }
}

/// Encodes the directory of a pack, as its description says.
pub fn encode_pack_directory(directory: &[BlockEntry]) -> Vec<u8> {
    let mut out = (directory.len() as u32).to_le_bytes().to_vec();
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
    out
}

/// Directories of packs.
pub fn pack_directory(data: &[u8]) {
    for end in [u64::from(u32::MAX), 2000] {
        let Ok(directory) = pack::decode_directory(data, end) else { continue };
        assert!(encode_pack_directory(&directory) == data, "{directory:?}");
        let mut at = 64;
        for block in &directory {
            assert!(u64::from(block.offset) >= at && !block.items.is_empty());
            at = u64::from(block.offset) + u64::from(block.sealed_len);
        }
        assert!(at <= end);
    }
}

/// Mends the checksum of the sealed bytes of length `len` at `at`, if they are within `object`.
fn mend(object: &mut [u8], at: u64, len: u64, kind: Kind, header: &[u8]) -> Option<Vec<u8>> {
    let (start, end) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(len)?).ok()?);
    let sealed = object.get_mut(start..end).filter(|bytes| bytes.len() >= OVERHEAD)?;
    let plain = sealed[24..sealed.len() - 16].to_vec();
    let context = Context { header, offset: at };
    sealed.copy_from_slice(&samples::plain_sealer().seal(kind, context, &plain));
    Some(plain)
}

/// Whole packs of a domain without encryption, their checksums mended.
pub fn pack(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() >= 120 {
        bytes[16..24].fill(0);
        let header = bytes[..64].to_vec();
        let trailer_at = bytes.len() as u64 - 56;
        let trailer = mend(&mut bytes, trailer_at, 56, Kind::PackTrailer, &header).expect("long enough");
        let mut r = Reader::new(&trailer);
        let (at, len) = (r.u64().expect("sixteen bytes"), r.u32().expect("sixteen bytes"));
        // Mended last, because a hostile directory may lie over the trailer.
        mend(&mut bytes, at, len.into(), Kind::PackDirectory, &header);
    }
    let (store, hash) = (MemoryStore::new(), ObjectHash([1; 32]));
    let total = bytes.len() as u64;
    store.tamper_replace(&pack::pack_name(&hash), bytes);
    for sealer in [samples::plain_sealer(), samples::sealer()] {
        if let Ok(directory) = pack::read_directory(&store, &hash, &sealer) {
            assert!(directory.iter().all(|b| u64::from(b.offset) + u64::from(b.sealed_len) <= total));
        }
    }
}

/// Rows of the index.
pub fn index_rows(data: &[u8]) {
    let mut r = Reader::new(data);
    let mut again = Vec::new();
    while let Ok(row) = IndexRow::decode(ItemKind::Node, &mut r) {
        row.encode(&mut again);
    }
    assert!(data.starts_with(&again) && again.len() == data.len() / IndexRow::LEN * IndexRow::LEN);
}

/// Segments of a domain without encryption, their checksums mended. Every row of a segment that lists its rows in
/// order where they belong is found.
pub fn segment(data: &[u8]) {
    let mut bytes = data.to_vec();
    mend_segment(&mut bytes);
    let sealer = Arc::new(samples::plain_sealer());
    let index = Index::new(sealer.clone());
    if let Ok(segment) = index.add(SegmentSource::Embedded(bytes)) {
        let mut rows = Vec::new();
        let read = segment.for_each(&sealer, &mut |kind, id, at| {
            rows.push((kind, *id, *at));
            Ok(())
        });
        assert!(read.is_err() || rows.len() as u64 == segment.rows());
        for (kind, id, _) in rows.iter().step_by(1 + rows.len() / 20) {
            let mut item = ItemId { kind: *kind, id: [0; 32] };
            item.id[..16].copy_from_slice(id);
            let _ = index.find(&item);
        }
    }
    let encrypted = Index::new(Arc::new(samples::sealer()));
    assert!(encrypted.add(SegmentSource::Embedded(data.to_vec())).is_err() || data[9] == 1);
}

fn mend_segment(bytes: &mut [u8]) -> Option<()> {
    bytes.get_mut(16..24)?.fill(0);
    let header = bytes.get(..80)?.to_vec();
    let mut r = Reader::new(bytes.get(80..92)?);
    let (head_at, head_len) = (r.u64().ok()?, r.u32().ok()?);
    let head = mend(bytes, head_at, head_len.into(), Kind::SegmentHead, &header)?;
    let mut r = Reader::new(&head);
    let packs = r.u32().ok()? as usize;
    r.take(packs.checked_mul(32)?).ok()?;
    let epochs = usize::from(r.u16().ok()?);
    r.take(8 * epochs).ok()?;
    let shards = r.u32().ok()?;
    for _ in 0..shards.min(8) {
        r.take(6).ok()?;
        let (rows, pages_at, at, len) = (r.u32().ok()?, r.u64().ok()?, r.u64().ok()?, r.u32().ok()?);
        let (mut left, mut page_at) = (u64::from(rows), pages_at);
        while left > 0 {
            let len = left.min(136) * 30 + 40;
            if mend(bytes, page_at, len, Kind::SegmentPage, &header).is_none() {
                break;
            }
            left -= left.min(136);
            page_at += len;
        }
        mend(bytes, at, len.into(), Kind::ShardHead, &header);
    }
    mend(bytes, head_at, head_len.into(), Kind::SegmentHead, &header);
    Some(())
}

/// Facts, alone and in lists.
pub fn fact(data: &[u8]) {
    if let Ok(fact) = record::decode::<Fact>(data) {
        assert!(record::encode(&fact) == data, "{fact:?}");
        assert!(["log/", "admin/"].contains(&Class::of(&fact).folder()));
    }
    if let Ok(facts) = record::decode::<Vec<Fact>>(data) {
        assert!(record::encode(&facts) == data, "{facts:?}");
    }
}

/// Rows of snapshots.
pub fn fact_row(data: &[u8]) {
    if let Ok(row) = record::decode::<SnapshotRow>(data) {
        assert!(record::encode(&row) == data && row.created.nanos < 1_000_000_000, "{row:?}");
        assert_eq!(row.uuid_text().len(), 36);
    }
}

/// Plaintexts of log objects. The same bytes again unless the payload is a zstd frame.
pub fn log_plain(data: &[u8]) {
    if let Ok(facts) = object::decode_plain(data) {
        assert!(!facts.is_empty());
        let kept = samples::kept_log(&facts);
        assert!(if data[0] == 0 {
            kept == data
        } else {
            kept[1..5] == data[1..5] && data.len() < kept.len()
        });
    }
}

/// Log objects of a domain without encryption, checksum and name mended.
pub fn log_object(data: &[u8]) {
    let mut bytes = data.to_vec();
    let mut class = Class::Log;
    if bytes.len() >= 136 {
        bytes[16..24].fill(0);
        let header = bytes[..72].to_vec();
        class = if bytes[10] == 2 { Class::Admin } else { Class::Log };
        let kind = if class == Class::Admin { Kind::AdminFacts } else { Kind::LogFacts };
        let len = bytes.len() as u64 - 136;
        mend(&mut bytes, 136, len, kind, &header);
    }
    let name = format!("{}20220305t223058z-{}", class.folder(), blake3::hash(&bytes).to_hex());
    let name = Name::new(&name).expect("digits and letters make a name");
    assert!(object::decode(&name, bytes.clone(), &samples::sealer()).is_err() || bytes[9] == 1);
    if let Ok(facts) = object::decode(&name, bytes, &samples::plain_sealer()) {
        let (name, bytes) =
            object::encode(&facts, &samples::author(), &samples::plain_sealer(), samples::NOW);
        assert!(name.as_str().starts_with(class.folder()));
        assert_eq!(object::decode(&name, bytes, &samples::plain_sealer()).expect("just encoded"), facts);
    }
}

/// Sealed bytes, as they are.
pub fn sealed(data: &[u8]) {
    for sealer in [samples::plain_sealer(), samples::sealer()] {
        for epoch in [sealer.epoch(), EpochId([9; 8])] {
            for context in [samples::CONTEXT, Context::default()] {
                if let Ok(plain) = sealer.open(Kind::SegmentPage, epoch, context, data.to_vec(), &"bytes") {
                    assert!(plain == data[24..data.len() - 16] || sealer.suite() as u8 == 1);
                }
            }
        }
    }
}

/// Keyrings, as they are stored.
pub fn keyring(data: &[u8]) {
    let opened = Keyring::open(data, &samples::repository_key(), samples::domain(), "keyring/0");
    assert!(opened.is_err() || data.len() > 48);
}

/// Records inside keyrings.
pub fn keyring_record(data: &[u8]) {
    if let Ok(keyring) = record::decode::<Keyring>(data) {
        assert!(record::encode(&keyring) == data);
    }
}

/// Key slots.
pub fn slot(data: &[u8]) {
    if let Ok(slot) = Slot::decode(data, "keys/0") {
        assert!(slot.encode() == data, "{slot:?}");
        assert!(u64::from(slot.cost.memory_kib) <= 1 << 20);
    }
}

/// `replica` and `config`.
pub fn repository_records(data: &[u8]) {
    if let Ok(replica) = Replica::decode(data) {
        assert!(replica.encode() == data, "{replica:?}");
    }
    if let Ok(config) = Config::decode(data) {
        assert!(config.encode() == data, "{config:?}");
        assert!(config.unknown().is_some() || (config.suite().is_some() && config.chunker().is_some()));
    }
}

/// Makes hostile bytes of good ones, the same ones for the same seed.
pub struct Mutator(u64);

impl Mutator {
    /// A mutator with this seed.
    pub fn new(seed: u64) -> Mutator {
        Mutator(seed)
    }

    /// The next number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n.max(1) as u64) as usize
    }

    /// One of `corpus`, with one to four changes: bits flipped, bytes overwritten by telling values, cut out, put in,
    /// doubled, taken from another one.
    pub fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        const TELLING: [u8; 12] = [0, 1, 2, 15, 16, 0x18, 0x5f, 0x7f, 0x80, 0x9f, 0xfe, 0xff];
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(9) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = TELLING[self.below(TELLING.len())],
                3 if at < bytes.len() => {
                    let end = (at + 1 + self.below(4)).min(bytes.len());
                    let value = TELLING[self.below(TELLING.len())];
                    bytes[at..end].fill(value);
                }
                4 => bytes.truncate(at),
                5 => {
                    let more = (0..=self.below(4)).map(|_| self.number() as u8).collect::<Vec<_>>();
                    bytes.splice(at..at, more);
                }
                6 => {
                    let end = (at + 1 + self.below(40)).min(bytes.len());
                    drop(bytes.drain(at..end));
                }
                7 => {
                    let end = (at + 1 + self.below(40)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(60)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        bytes
    }
}
