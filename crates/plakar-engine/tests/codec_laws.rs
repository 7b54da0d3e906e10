//! What holds of every codec: what was encoded decodes to the same; whatever decodes encodes to the same bytes;
//! and no decoder asks for much more memory than it was given bytes.
//!
//! Memory is counted by the allocator of this test binary, for each thread by itself. What zstd allocates for itself
//! is not seen by it: that is bounded by the windows decoders allow.
#![allow(unsafe_code)]

use plakar_engine::block::*;
use plakar_engine::codec::Writer;
use plakar_engine::crypto::keyring::Keyring;
use plakar_engine::crypto::seal::{Context, Kind as SealKind};
use plakar_engine::crypto::slot::Slot;
use plakar_engine::id::*;
use plakar_engine::index::segment::{Location, Segment, SegmentBuilder, SegmentSource};
use plakar_engine::index::{Index, IndexRow};
use plakar_engine::log::fact::{
    Bad, Checkpoint, Digest, Fact, Mark, Partial, Path, Prepared, Published, SegmentRef, Uuid,
};
use plakar_engine::log::{Row as SnapshotRow, object};
use plakar_engine::pack::{self, BlockEntry};
use plakar_engine::record;
use plakar_engine::repository::records::{Config, Replica};
use plakar_engine::tree::node::{
    ChunkLink, ChunkPage, DirectoryLink, DirectoryPage, decode_xattrs, encode_xattrs,
};
use plakar_engine::tree::*;
use plakar_store::{MemoryStore, Name, ReadStore};
use plakar_testkit::fuzz::{self, Mutator};
use plakar_testkit::samples;
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

/// Counts what each thread has allocated, and the most it ever had.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, whose contract is the same; counting neither
// allocates nor unwinds, because the counters are plain cells made at compile time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: see above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` had allocated at once beyond what was there before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let done = work();
    (done, (PEAK.get() - before) as usize)
}

const CONSTANT: usize = 1 << 20;

/// The decoders whose memory is bounded by 4 × input + 1 MiB, whatever the input. Log objects and compressed blocks
/// are not among them: they are bounded by what they may become (`RAW_MAX`), see below.
type Decoder = (&'static str, fn(&[u8]));

const BOUNDED: [Decoder; 11] = [
    ("directory_page", |data| drop(DirectoryPage::decode(data))),
    ("chunk_page", |data| drop(ChunkPage::decode(data))),
    ("xattrs", |data| drop(decode_xattrs(data))),
    ("pack_directory", |data| drop(pack::decode_directory(data, u32::MAX.into()))),
    ("segment", |data| drop(Segment::open(SegmentSource::Embedded(data.to_vec()), &samples::plain_sealer()))),
    ("fact", |data| drop(record::decode::<Fact>(data))),
    ("fact_row", |data| drop(record::decode::<SnapshotRow>(data))),
    ("keyring", |data| {
        drop(Keyring::open(data, &samples::repository_key(), samples::domain(), "keyring/0"));
    }),
    ("keyring_record", |data| drop(record::decode::<Keyring>(data))),
    ("slot", |data| drop(Slot::decode(data, "keys/0"))),
    ("repository_records", |data| {
        drop(Replica::decode(data));
        drop(Config::decode(data));
    }),
];

fn assert_bounded(name: &str, decode: fn(&[u8]), data: &[u8]) {
    let (_, peak) = peak_of(|| decode(data));
    assert!(peak <= 4 * data.len() + CONSTANT, "{name}: {peak} bytes for {}: {data:02x?}", data.len());
}

#[test]
fn no_decoder_asks_for_much_more_memory_than_it_is_given_bytes() {
    let mut random = Mutator::new(1);
    for (name, decode) in BOUNDED {
        let seeds = fuzz::seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        // Half a megabyte of anything after what a good one begins with: counts that are too great by little.
        let tails = [vec![0; 1 << 19], vec![1; 1 << 19], vec![0xff; 1 << 19]];
        for seed in &seeds {
            for cut in 0..=seed.len() {
                let tail = &tails[random.below(3)];
                let sizes = [(1usize << 19) / 3, 1 << 19, (1 << 19) / 19, 255, u32::MAX as usize];
                let mut claim = seed[..cut].to_vec();
                match random.below(4) {
                    0 => claim.uv(sizes[random.below(5)] as u64),
                    1 => claim.extend_from_slice(&(sizes[random.below(5)] as u32).to_le_bytes()),
                    2 => claim.extend([
                        [0x9b, 0xbb, 0x5b, 0x7b][random.below(4)],
                        0,
                        0,
                        0,
                        0,
                        0,
                        7,
                        0xff,
                        0xff,
                    ]),
                    _ => {}
                }
                claim.extend_from_slice(tail);
                assert_bounded(name, decode, &claim);
            }
        }
        for _ in 0..2000 {
            assert_bounded(name, decode, &random.mutate(&seeds));
        }
    }
}

#[test]
fn a_count_that_nothing_follows_gets_no_memory() {
    // As many attributes, blocks, items as could be there at the very least; none of them is any good.
    let mut list = Vec::new();
    list.uv((4 << 20) / 3);
    list.resize(4 << 20, 0);
    assert_bounded("xattrs", BOUNDED[2].1, &list);
    let mut page = DirectoryPage::Entries(vec![Entry {
        xattrs: Xattrs::Inline(samples::xattrs()),
        ..samples::entry(b"x")
    }])
    .encode();
    let at = page.windows(6).position(|w| w == b"user.a").unwrap() - 2;
    page.truncate(at);
    page.extend_from_slice(&list);
    assert_bounded("directory_page", BOUNDED[0].1, &page);
    let one = BlockEntry {
        offset: 64,
        sealed_len: 100,
        kind: ItemKind::Chunk,
        epoch: EpochId([0; 8]),
        items: vec![([1; 32], 1)],
    };
    let many = (0..40_000).map(|n| BlockEntry { offset: 64 + 100 * n, ..one.clone() }).collect::<Vec<_>>();
    let mut directory = fuzz::encode_pack_directory(&many);
    assert_bounded("pack_directory", BOUNDED[3].1, &directory);
    let absurd = (directory.len() as u32 - 4) / 19;
    directory[..4].copy_from_slice(&absurd.to_le_bytes());
    assert_bounded("pack_directory", BOUNDED[3].1, &directory);
}

#[test]
fn what_is_compressed_is_bounded_by_what_it_says_and_by_the_cap() {
    // A block that says it holds 15 MiB gets as much once, and no byte more.
    let raw_max = RAW_MAX as u32;
    let bomb = zstd(&vec![0; RAW_MAX]);
    for (says, fine) in [(raw_max, true), (raw_max - 1, false), (raw_max + 1, false), (u32::MAX, false)] {
        let mut plain = vec![1, 1, 0];
        plain.extend_from_slice(&says.to_le_bytes());
        plain.extend_from_slice(&says.to_le_bytes());
        plain.extend_from_slice(&bomb);
        let (block, peak) = peak_of(|| Block::decode(ItemKind::Chunk, &plain));
        assert_eq!(block.is_ok(), fine, "{says}");
        assert!(peak <= RAW_MAX + CONSTANT, "{peak}");
    }
    // A log object that says it becomes 400 MiB gets memory as it becomes so.
    let mut plain = vec![1];
    plain.extend_from_slice(&(400u32 << 20).to_le_bytes());
    plain.extend_from_slice(&zstd(&[0; 1000]));
    let (log, peak) = peak_of(|| object::decode_plain(&plain));
    assert!(log.is_err() && peak <= CONSTANT, "{peak}");
}

fn zstd(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(raw.len())];
    let len = zstd_safe::compress(&mut out[..], raw, 3).unwrap();
    out.truncate(len);
    out
}

// ---- values -------------------------------------------------------------------------------------------------

fn bytes(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

fn id32() -> impl Strategy<Value = [u8; 32]> {
    // Few different ones, so that equal ids meet.
    (0..6u8).prop_map(|n| [n; 32])
}

fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(n, shift)| n >> shift)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    bytes(1..8).prop_filter("a name", |name| node::is_name(name))
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn time() -> impl Strategy<Value = Time> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| Time { secs, nanos })
}

fn meta() -> impl Strategy<Value = Meta> {
    (0..=0o7777u16, any_number(), any_number(), bytes(0..6), bytes(0..6), time()).prop_map(
        |(mode, uid, gid, user, group, mtime)| Meta {
            mode,
            uid: uid as u32,
            gid: gid as u32,
            user,
            group,
            mtime,
        },
    )
}

fn xattrs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = bytes(1..10).prop_filter("a name", |name| !name.contains(&0));
    prop::collection::btree_map(name, bytes(0..40), 1..6).prop_map(|map| map.into_iter().collect())
}

fn totals() -> impl Strategy<Value = Totals> {
    (any_number(), any_number(), any_number(), any_number())
        .prop_map(|(directories, files, bytes, errors)| Totals { directories, files, bytes, errors })
}

fn subtree() -> impl Strategy<Value = Subtree> {
    (id32(), totals()).prop_map(|(node, totals)| Subtree { node: NodeId(node), totals })
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let row = (id32(), 1..=node::CHUNK_BYTES_MAX as u32, 1..=u32::MAX);
    prop::collection::vec(row, 1..=most).prop_map(|rows| {
        let mut rows: Vec<_> =
            rows.into_iter().map(|(id, len, repeat)| Row { id: ChunkId(id), len, repeat }).collect();
        rows.dedup_by_key(|row| (row.id, row.len));
        rows
    })
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        bytes(0..=INLINE_BYTES_MAX)
            .prop_map(|bytes| Object { size: bytes.len() as u64, body: Body::Inline(bytes) }),
        rows(ROWS_MAX)
            .prop_map(|rows| Object { size: rows.iter().map(Row::bytes).sum(), body: Body::Rows(rows) })
            .prop_filter("more than is kept inline", |object| object.size > INLINE_BYTES_MAX as u64),
        (97..=u64::MAX, id32()).prop_map(|(size, node)| Object { size, body: Body::Tree(NodeId(node)) }),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let device =
        || (any_number(), any_number()).prop_map(|(a, b)| Device { major: a as u32, minor: b as u32 });
    let target = bytes(1..200).prop_filter("a target", |target| !target.contains(&0));
    prop_oneof![
        4 => object().prop_map(Content::File),
        2 => subtree().prop_map(Content::Directory),
        1 => target.prop_map(Content::Symlink),
        1 => Just(Content::Fifo),
        1 => Just(Content::Socket),
        1 => device().prop_map(Content::CharDevice),
        1 => device().prop_map(Content::BlockDevice),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let xattrs = prop_oneof![
        2 => Just(Xattrs::None),
        1 => xattrs().prop_map(Xattrs::Inline),
        1 => (id32(), 1..=node::CHUNK_BYTES_MAX as u32)
            .prop_map(|(id, len)| Xattrs::Chunk { id: ChunkId(id), len }),
    ];
    let group = prop_oneof![Just(0), any::<u64>()];
    (name(), meta(), xattrs, group, any::<u8>().prop_map(|flags| flags & FLAGS_KNOWN), content()).prop_map(
        |(name, meta, xattrs, link_group, flags, content)| Entry {
            name,
            meta,
            xattrs,
            link_group,
            flags,
            content,
        },
    )
}

fn directory_page() -> impl Strategy<Value = DirectoryPage> {
    let entries = prop::collection::vec(entry(), 0..12).prop_map(|mut entries| {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        DirectoryPage::Entries(entries)
    });
    let links = prop::collection::btree_map(name(), (id32(), any_number()), 1..12);
    let links = (1..=node::LEVEL_MAX, links).prop_map(|(level, links)| {
        let link = |(first, (child, entries))| DirectoryLink { first, child: NodeId(child), entries };
        DirectoryPage::Links(level, links.into_iter().map(link).collect())
    });
    prop_oneof![entries, links]
}

fn chunk_page() -> impl Strategy<Value = ChunkPage> {
    let link = (id32(), any_number(), any_number());
    let link = link.prop_map(|(child, rows, bytes)| ChunkLink { child: NodeId(child), rows, bytes });
    prop_oneof![
        rows(12).prop_map(ChunkPage::Rows),
        (1..=node::LEVEL_MAX, prop::collection::vec(link, 1..12))
            .prop_map(|(level, links)| ChunkPage::Links(level, links)),
    ]
}

fn items_of_a_block() -> impl Strategy<Value = Vec<([u8; 32], u32)>> {
    prop::collection::vec((id32(), 1..5000u32), 1..5)
}

fn few<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..4)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId)
}

fn hash() -> impl Strategy<Value = ObjectHash> {
    id32().prop_map(ObjectHash)
}

fn segment_ref() -> impl Strategy<Value = SegmentRef> {
    prop_oneof![hash().prop_map(SegmentRef::Stored), bytes(0..300).prop_map(SegmentRef::Embedded)]
}

fn row() -> impl Strategy<Value = SnapshotRow> {
    let who = (text(), text(), text(), text());
    let lists = (few(bytes(0..20)), few(text()), few(any::<[u8; 16]>()), prop::option::of(id32()));
    (any::<[u8; 16]>(), subtree(), time(), any_number(), who, lists).prop_map(
        |(uuid, root, created, took_ms, (host, user, command, tool), (roots, tags, parents, origin))| {
            SnapshotRow {
                uuid,
                root,
                created,
                took_ms,
                host,
                user,
                command,
                roots: roots.into_iter().map(Path).collect(),
                tags,
                parents: parents.into_iter().map(Uuid).collect(),
                tool,
                origin: origin.map(Digest),
            }
        },
    )
}

fn bad() -> impl Strategy<Value = Bad> {
    (hash(), any::<u32>()).prop_map(|(pack, offset)| Bad { pack, offset })
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let published = (session(), prop::option::of(row()), any::<i64>())
        .prop_map(|(session, row, received_ms)| Published { session, row, received_ms });
    let lists = (few(hash()), few(published), few(session()), few(hash()), few(session()), few(session()));
    (lists, few(bad()), few(segment_ref()), few(hash())).prop_map(
        |((covers, published, removed, dead, void, marks), bad, segments, merged)| Checkpoint {
            covers,
            published,
            removed,
            dead,
            void,
            marks,
            bad,
            segments,
            merged,
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let partial = (subtree(), id32()).prop_map(|(root, source)| Partial { root, source });
    let said =
        (few(session()), few(hash()), few(segment_ref()), prop::option::of(row()), prop::option::of(partial));
    let prepared = (session(), said).prop_map(|(session, (pins, packs, segments, row, partial))| {
        Fact::Prepared(Box::new(Prepared { session, pins, packs, segments, row, partial }))
    });
    let mark = (session(), few(hash()), few(session()))
        .prop_map(|(id, packs, revokes)| Fact::Mark(Mark { id, packs, revokes }));
    prop_oneof![
        prepared,
        session().prop_map(Fact::Final),
        mark,
        session().prop_map(Fact::Dead),
        session().prop_map(Fact::Removed),
        bad().prop_map(Fact::Bad),
        checkpoint().prop_map(|checkpoint| Fact::Checkpoint(Box::new(checkpoint))),
    ]
}

/// Hostile relatives of good bytes, through the function that knows the law of their format.
fn mutated(law: fuzz::Target, good: Vec<u8>, seed: u64) {
    law(&good);
    let corpus = [good];
    let mut random = Mutator::new(seed);
    (0..24).for_each(|_| law(&random.mutate(&corpus)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn directory_pages_come_back_and_only_from_their_bytes(page in directory_page(), seed: u64) {
        let bytes = page.encode();
        prop_assert_eq!(DirectoryPage::decode(&bytes), Ok(page));
        mutated(fuzz::directory_page, bytes, seed);
    }

    #[test]
    fn chunk_pages_come_back_and_only_from_their_bytes(page in chunk_page(), seed: u64) {
        let bytes = page.encode();
        prop_assert_eq!(ChunkPage::decode(&bytes), Ok(page));
        mutated(fuzz::chunk_page, bytes, seed);
    }

    #[test]
    fn attributes_come_back_and_only_from_their_bytes(list in xattrs(), seed: u64) {
        let mut bytes = Vec::new();
        encode_xattrs(&list, &mut bytes);
        prop_assert_eq!(decode_xattrs(&bytes), Ok(list));
        mutated(fuzz::xattrs, bytes, seed);
    }

    #[test]
    fn facts_come_back_and_only_from_their_bytes(fact in fact(), seed: u64) {
        let bytes = record::encode(&fact);
        prop_assert_eq!(record::decode::<Fact>(&bytes), Ok(fact));
        mutated(fuzz::fact, bytes, seed);
    }

    #[test]
    fn rows_of_snapshots_come_back_and_only_from_their_bytes(row in row(), seed: u64) {
        let bytes = record::encode(&row);
        prop_assert_eq!(record::decode::<SnapshotRow>(&bytes), Ok(row));
        mutated(fuzz::fact_row, bytes, seed);
    }

    #[test]
    fn log_objects_come_back(facts in prop::collection::vec(fact(), 1..6), admin: bool, seed: u64) {
        let class = if admin { object::Class::Admin } else { object::Class::Log };
        let facts: Vec<_> = facts.into_iter().filter(|f| object::Class::of(f) == class).collect();
        prop_assume!(!facts.is_empty());
        for sealer in [samples::sealer(), samples::plain_sealer()] {
            let (name, bytes) = object::encode(&facts, &samples::author(), &sealer, samples::NOW);
            prop_assert_eq!(&object::decode(&name, bytes.clone(), &sealer).unwrap(), &facts);
            let elsewhere = name.as_str().replace("admin/", "x/").replace("log/", "admin/");
            let elsewhere = Name::new(&elsewhere).unwrap();
            prop_assert!(object::decode(&elsewhere, bytes, &sealer).is_err());
        }
        prop_assert_eq!(&object::decode_plain(&samples::kept_log(&facts)).unwrap(), &facts);
        mutated(fuzz::log_plain, samples::kept_log(&facts), seed);
        mutated(fuzz::log_object, samples::log_object(&facts, &samples::plain_sealer()), seed);
    }

    #[test]
    fn pack_directories_come_back_and_only_from_their_bytes(
        blocks in prop::collection::vec((0..50u32, 60..100u32, any::<bool>(), items_of_a_block()), 0..8),
        seed: u64,
    ) {
        let mut at = 64;
        let directory: Vec<_> = blocks.into_iter().map(|(gap, sealed_len, nodes, items)| {
            let kind = if nodes { ItemKind::Node } else { ItemKind::Chunk };
            let offset = at + gap;
            at = offset + sealed_len;
            BlockEntry { offset, sealed_len, kind, epoch: EpochId([seed as u8; 8]), items }
        }).collect();
        let bytes = fuzz::encode_pack_directory(&directory);
        prop_assert_eq!(pack::decode_directory(&bytes, at.into()), Ok(directory.clone()));
        prop_assert!(pack::decode_directory(&bytes, u64::from(at) - 1).is_err());
        mutated(fuzz::pack_directory, bytes, seed);
    }

    #[test]
    fn blocks_and_packs_come_back(
        items in prop::collection::vec((bytes(1..100), 1..40usize), 1..6), level in 0..5u8, seed: u64,
    ) {
        let items: Vec<_> = items.into_iter().map(|(piece, times)| piece.repeat(times)).collect();
        let keys = samples::keys();
        for sealer in [samples::sealer(), samples::plain_sealer()] {
            let mut blocks = BlockSealer::new(Compression { level, verify: true });
            let mut pack = pack::PackWriter::new(&sealer, Vec::new());
            for kind in [ItemKind::Chunk, ItemKind::Node] {
                let mut open = OpenBlock::new(kind);
                items.iter().for_each(|item| open.push(ItemId::of(kind, item, &keys).id, item));
                let sealed = blocks.seal(open, &sealer, &keys).unwrap();
                let block = Block::open(kind, sealed.epoch, sealed.bytes.clone(), &sealer, &"block").unwrap();
                prop_assert_eq!(block.count(), items.len());
                for (n, item) in items.iter().enumerate() {
                    let id = ItemId::of(kind, item, &keys);
                    prop_assert_eq!(block.item(n, &id, &keys), Some(&item[..]));
                    prop_assert_eq!(sealed.items[n], (id.id, item.len() as u32));
                }
                let other = if kind == ItemKind::Chunk { ItemKind::Node } else { ItemKind::Chunk };
                let as_other = Block::open(other, sealed.epoch, sealed.bytes.clone(), &sealer, &"block");
                prop_assert!(as_other.is_err());
                let kind = if kind == ItemKind::Chunk { SealKind::DataBlock } else { SealKind::TreeBlock };
                let plain = sealer.open(kind, sealed.epoch, Context::default(), sealed.bytes.clone(), &"block");
                mutated(fuzz::block, plain.unwrap(), seed);
                pack.push(sealed);
            }
            let finished = pack.finish(&sealer, Vec::new());
            let store = MemoryStore::new();
            let name = pack::pack_name(&finished.hash);
            store.tamper_replace(&name, finished.whole());
            let directory = pack::read_directory(&store, &finished.hash, &sealer).unwrap();
            prop_assert_eq!(&directory, &finished.directory);
            for entry in &directory {
                let bytes = store.get_range(&name, entry.offset.into(), entry.sealed_len as usize).unwrap();
                let block = Block::open(entry.kind, entry.epoch, bytes, &sealer, &"block").unwrap();
                prop_assert_eq!(block.count(), entry.items.len());
            }
            mutated(fuzz::pack, finished.whole(), seed);
        }
    }

    #[test]
    fn segments_come_back_sorted_and_without_duplicates(
        places in prop::collection::vec(
            (any::<bool>(), 0..30u16, 0..5u8, 0..5u32, 1..=SEALED_MAX as u32, 0..3u16, 0..4u8), 0..500,
        ),
        seed: u64,
    ) {
        use std::collections::BTreeSet;
        for sealer in [samples::sealer(), samples::plain_sealer()] {
            let mut builder = SegmentBuilder::default();
            let mut expected = BTreeSet::new();
            for &(node, id, pack, offset, sealed_len, ordinal, epoch) in &places {
                let kind = if node { ItemKind::Node } else { ItemKind::Chunk };
                // Ids of one page and of one filter key that differ in their last bytes only, too.
                let mut full = *blake3::hash(&(id / 3).to_le_bytes()).as_bytes();
                full[15] = (id % 3) as u8;
                let (pack, epoch) = (ObjectHash([pack; 32]), EpochId([epoch; 8]));
                let at = Location { pack, offset, sealed_len, epoch, ordinal };
                builder.add(kind, &full, &at);
                expected.insert((kind, full, at.pack, offset, sealed_len, ordinal, at.epoch));
            }
            let bytes = builder.encode(&samples::author(), &sealer);
            let index = Index::new(Arc::new(samples::sealer()));
            let plain = Index::new(Arc::new(samples::plain_sealer()));
            let index = if sealer.suite() as u8 == 1 { index } else { plain };
            let segment = index.add(SegmentSource::Embedded(bytes.clone())).unwrap();
            prop_assert_eq!(segment.rows(), expected.len() as u64);
            prop_assert!(builder.is_equal(&segment, &sealer).unwrap());
            let mut listed = Vec::new();
            segment.for_each(&sealer, &mut |kind, id, at| {
                listed.push((kind, *id, *at));
                Ok(())
            }).unwrap();
            prop_assert!(listed.is_sorted_by_key(|(kind, id, _)| (*kind, *id)));
            for kind in [ItemKind::Chunk, ItemKind::Node] {
                for id in 0..33u16 {
                    let mut full = *blake3::hash(&(id / 3).to_le_bytes()).as_bytes();
                    full[15] = (id % 3) as u8;
                    let found = index.find(&ItemId { kind, id: full }).unwrap();
                    let found: BTreeSet<_> = found
                        .into_iter()
                        .map(|at| (kind, full, at.pack, at.offset, at.sealed_len, at.ordinal, at.epoch))
                        .collect();
                    let wanted: BTreeSet<_> =
                        expected.iter().filter(|row| (row.0, row.1) == (kind, full)).copied().collect();
                    prop_assert_eq!(found, wanted);
                }
            }
            if places.len() < 100 {
                mutated(fuzz::segment, bytes, seed);
            }
        }
    }

    #[test]
    fn keyrings_come_back_and_only_under_their_key_and_domain(
        secret in id32(),
        epochs in prop::collection::vec((any::<[u8; 8]>(), id32()), 1..5),
        digest in id32(),
        seed: u64,
    ) {
        use plakar_engine::crypto::keyring::{Epoch, RepositoryKey};
        let epochs = epochs.into_iter().map(|(id, key)| Epoch { id: EpochId(id), key, began: 0 }).collect();
        let keyring = Keyring { secret, epochs, config_digest: digest };
        let sealed = keyring.seal(&samples::repository_key(), samples::domain());
        let open = |bytes: &[u8], key: &RepositoryKey, domain| Keyring::open(bytes, key, domain, "keyring/0");
        prop_assert!(open(&sealed, &samples::repository_key(), samples::domain()).unwrap() == keyring);
        prop_assert!(open(&sealed, &RepositoryKey([0; 32]), samples::domain()).is_err());
        prop_assert!(open(&sealed, &samples::repository_key(), DomainId([0; 16])).is_err());
        let mut random = Mutator::new(seed);
        let corpus = [sealed];
        for _ in 0..24 {
            let bytes = random.mutate(&corpus);
            let opened = open(&bytes, &samples::repository_key(), samples::domain());
            prop_assert!(opened.is_err() || bytes == corpus[0]);
        }
        mutated(fuzz::keyring_record, record::encode(&keyring), seed);
    }

    #[test]
    fn replica_and_config_come_back_and_only_from_their_bytes(
        id: [u8; 16],
        created: i64,
        strong_list: bool,
        pack_bytes in 1..=128u32 << 20,
        cloned: bool,
        place: Option<String>,
        level in 0..=22u8,
        seed: u64,
    ) {
        use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
        use plakar_engine::crypto::seal::Suite;
        let origin = cloned.then_some(ReplicaId([7; 16]));
        let origin_location = place.filter(|_| cloned);
        let replica = Replica { id: ReplicaId(id), created, strong_list, pack_bytes, origin, origin_location };
        prop_assert_eq!(Replica::decode(&replica.encode()), Ok(replica.clone()));
        let kind = if cloned { ChunkerKind::Prf } else { ChunkerKind::FastCdc };
        let suite = if strong_list { Suite::Plain } else { Suite::Xaes };
        let chunker = ChunkerParams::with_default_sizes(kind);
        let config = Config::new(DomainId(id), suite, &chunker, level, created);
        let again = Config::decode(&config.encode()).unwrap();
        prop_assert_eq!((again.suite(), again.chunker(), again.unknown()), (Some(suite), Some(chunker), None));
        prop_assert_eq!(&again, &config);
        mutated(fuzz::repository_records, replica.encode(), seed);
        mutated(fuzz::repository_records, config.encode(), seed);
    }
}

// ---- single promises ----------------------------------------------------------------------------------------

#[test]
fn a_short_block_comes_back_whatever_its_compressed_length() {
    // With less than 32 bytes a frame may come out exactly as long as what it holds.
    let (keys, sealer) = (samples::keys(), samples::plain_sealer());
    let mut random = Mutator::new(5);
    for level in [1, 3, 19] {
        let mut blocks = BlockSealer::new(Compression { level, verify: true });
        for len in 1..48 {
            for different in 0..=len {
                let mut item: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
                item[different..].fill(7);
                let mut open = OpenBlock::new(ItemKind::Chunk);
                open.push(keys.chunk_id(&item).0, &item);
                let sealed = blocks.seal(open, &sealer, &keys).unwrap();
                let block = Block::open(ItemKind::Chunk, sealed.epoch, sealed.bytes, &sealer, &"block");
                assert_eq!(block.expect("what was sealed opens").bytes(0), Some(&item[..]), "{item:02x?}");
            }
        }
    }
}

#[test]
fn a_block_with_the_longest_chunk_has_its_row() {
    let (keys, sealer) = (samples::keys(), samples::plain_sealer());
    let mut noise = vec![0; RAW_MAX];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    assert!(plakar_engine::chunker::ChunkerParams::MAX_MOST as usize <= RAW_MAX, "every chunk fits a block");
    let mut open = OpenBlock::new(ItemKind::Chunk);
    let id = keys.chunk_id(&noise);
    open.push(id.0, &noise);
    let sealed =
        BlockSealer::new(Compression { level: 0, verify: false }).seal(open, &sealer, &keys).unwrap();
    let sealed_len = sealed.bytes.len() as u32;
    assert!(sealed_len as usize <= SEALED_MAX);
    let row = |sealed_len| {
        let mut bytes = Vec::new();
        let (id, kind) = ([1; 16], ItemKind::Chunk);
        IndexRow { kind, id, pack: 0, offset: 64, sealed_len, ordinal: 0, epoch: 0 }.encode(&mut bytes);
        IndexRow::decode(kind, &mut plakar_engine::codec::Reader::new(&bytes)).unwrap().sealed_len
    };
    assert_eq!(row(sealed_len), sealed_len);
    assert_eq!(row(SEALED_MAX as u32), SEALED_MAX as u32);
}

#[test]
fn a_segment_lists_blocks_of_256_epochs() {
    let sealer = samples::plain_sealer();
    let mut builder = SegmentBuilder::default();
    let at = |n: u8| Location {
        pack: ObjectHash([1; 32]),
        offset: 64,
        sealed_len: 1,
        epoch: EpochId([n; 8]),
        ordinal: 0,
    };
    (0..=255u8).for_each(|n| builder.add(ItemKind::Chunk, &[n; 32], &at(n)));
    let index = Index::new(Arc::new(samples::plain_sealer()));
    index.add(SegmentSource::Embedded(builder.encode(&samples::author(), &sealer))).unwrap();
    for n in 0..=255u8 {
        assert_eq!(index.find(&ItemId { kind: ItemKind::Chunk, id: [n; 32] }).unwrap(), [at(n)]);
    }
}

/// The plaintext of a log object: this payload, said to become `len` bytes.
fn log_plain(len: usize, payload: &[u8]) -> Vec<u8> {
    [&[1][..], &(len as u32).to_le_bytes(), payload].concat()
}

/// A frame whose last block is empty.
fn flushed(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(raw.len()) + 100];
    let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
    let mut input = zstd_safe::InBuffer::around(raw);
    let mut compressor = zstd_safe::CCtx::create();
    compressor.init(3).unwrap();
    while input.pos < raw.len() {
        compressor.compress_stream(&mut output, &mut input).unwrap();
    }
    while compressor.flush_stream(&mut output).unwrap() > 0 {}
    while compressor.end_stream(&mut output).unwrap() > 0 {}
    let len = output.pos();
    out.truncate(len);
    out
}

#[test]
fn a_log_object_is_one_whole_frame_of_the_length_it_says() {
    let facts: Vec<_> = (0..20_000u32)
        .map(|n| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            Fact::Removed(SessionId(id))
        })
        .collect();
    // Lengths around the steps in which the decoder grows its output.
    for count in [10, 6_552, 6_553, 6_554, 20_000] {
        let raw = record::encode(&facts[..count].to_vec());
        let frame = zstd(&raw);
        assert_eq!(object::decode_plain(&log_plain(raw.len(), &frame)).unwrap(), facts[..count]);
        assert!(object::decode_plain(&log_plain(raw.len() - 1, &frame)).is_err());
        assert!(object::decode_plain(&log_plain(raw.len() + 1, &frame)).is_err());
        assert!(object::decode_plain(&log_plain(raw.len(), &[&frame[..], &[0]].concat())).is_err());
        assert!(object::decode_plain(&log_plain(raw.len(), &[&frame[..], &zstd(b"")].concat())).is_err());
        for cut in frame.len().saturating_sub(20)..frame.len() {
            assert!(object::decode_plain(&log_plain(raw.len(), &frame[..cut])).is_err(), "cut at {cut}");
        }
        // Everything is there, but not the empty block that ends the frame.
        let open_ended = flushed(&raw);
        assert_eq!(object::decode_plain(&log_plain(raw.len(), &open_ended)).unwrap(), facts[..count]);
        let unfinished = &open_ended[..open_ended.len() - 3];
        assert!(object::decode_plain(&log_plain(raw.len(), unfinished)).is_err(), "{count} facts, no end");
        // A frame that holds more than is said: whatever comes first is not taken for all.
        let more = zstd(&[&raw[..], &vec![0; raw.len()]].concat());
        assert!(object::decode_plain(&log_plain(raw.len(), &more)).is_err(), "{count} facts and more");
    }
}

#[test]
fn a_log_object_says_something() {
    assert!(object::decode_plain(&samples::kept_log(&[])).is_err());
    assert!(object::decode_plain(&samples::kept_log(&samples::admin_facts())).is_ok());
}

#[test]
fn absurd_times_are_refused() {
    let mut row = samples::row();
    row.created.nanos = 1_000_000_000;
    assert!(record::decode::<SnapshotRow>(&record::encode(&row)).is_err());
}

#[test]
fn absurd_lengths_of_packs_are_refused() {
    for (pack_bytes, fine) in
        [(0, false), (1, true), (128 << 20, true), ((128 << 20) + 1, false), (u32::MAX, false)]
    {
        let replica = Replica { pack_bytes, ..samples::replica(None) };
        assert_eq!(Replica::decode(&replica.encode()).is_ok(), fine, "{pack_bytes}");
    }
}

#[test]
fn absurd_places_of_origins_are_refused() {
    let place = |len, origin| Replica {
        origin_location: Some("x".repeat(len)),
        ..samples::replica(Some(ReplicaId([1; 16])).filter(|_| origin))
    };
    for (len, origin, fine) in [(0, true, true), (4096, true, true), (4097, true, false), (1, false, false)] {
        let decoded = Replica::decode(&place(len, origin).encode());
        assert_eq!(decoded.is_ok(), fine, "{len} bytes, origin: {origin}");
    }
}

#[test]
fn items_of_no_length_are_refused() {
    let items = |len| vec![([1; 32], 5), ([2; 32], len)];
    let directory = |len| {
        let entry = BlockEntry {
            offset: 64,
            sealed_len: 100,
            kind: ItemKind::Chunk,
            epoch: EpochId([0; 8]),
            items: items(len),
        };
        fuzz::encode_pack_directory(&[entry])
    };
    for (len, fine) in
        [(0, false), (1, true), (RAW_MAX as u32 - 5, true), (RAW_MAX as u32 - 4, false), (u32::MAX, false)]
    {
        assert_eq!(pack::decode_directory(&directory(len), 1000).is_ok(), fine, "{len}");
    }
}

#[test]
fn a_slot_comes_back_and_only_from_its_bytes() {
    let slot = samples::slot();
    assert_eq!(Slot::decode(&slot.encode(), "keys/0").unwrap(), slot);
    (0..20).for_each(|seed| mutated(fuzz::slot, slot.encode(), seed));
}
