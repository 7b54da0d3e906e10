//! Fixed keys and values of every format, and what the encoders make of them: the golden vectors of the formats
//! hold these, and the mutated runs begin with them.

use plakar_engine::block::{Block, BlockSealer, Compression, ItemId, ItemKind, OpenBlock, SealedBlock};
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::crypto::keyring::{Epoch, Keyring, RepositoryKey};
use plakar_engine::crypto::seal::{Context, Kind, Sealer, Suite};
use plakar_engine::crypto::slot::{Cost, Slot};
use plakar_engine::crypto::{DomainKeys, DomainSecret};
use plakar_engine::id::{ChunkId, DomainId, EpochId, NodeId, ObjectHash, ReplicaId, SessionId, WriterId};
use plakar_engine::index::segment::{Author, Location, SegmentBuilder};
use plakar_engine::log::fact::{
    Bad, Checkpoint, Digest, Fact, Mark, Partial, Path, Prepared, Published, Row as SnapshotRow, SegmentRef,
    Uuid,
};
use plakar_engine::log::object;
use plakar_engine::pack::{FinishedPack, PackWriter};
use plakar_engine::record;
use plakar_engine::repository::records::{Config, Replica, encode_chunker};
use plakar_engine::tree::node::{ChunkLink, ChunkPage, DirectoryLink, DirectoryPage, encode_xattrs};
use plakar_engine::tree::*;

/// The passphrase of the sample key slot.
pub const PASSPHRASE: &[u8] = b"correct horse battery staple";
/// The time of all samples: 2022-03-05 22:30:58 UTC.
pub const NOW: i64 = 1_646_519_458;
/// The sample's header and place in its object, for bytes that are tied to a place.
pub const CONTEXT: Context = Context { header: &[0x5a; 24], offset: 160 };

/// The secret of the sample domain: bytes 0, 1, 2, … 31.
pub fn secret() -> DomainSecret {
    DomainSecret(std::array::from_fn(|i| i as u8))
}

/// The keys of the sample domain.
pub fn keys() -> DomainKeys {
    DomainKeys::new(&secret())
}

/// Its chunker.
pub fn chunker() -> ChunkerParams {
    ChunkerParams::with_default_sizes(ChunkerKind::Prf)
}

/// Its id.
pub fn domain() -> DomainId {
    secret().id(&encode_chunker(&chunker()))
}

/// Its only epoch.
pub fn epoch() -> Epoch {
    Epoch { id: EpochId([0xe1; 8]), key: [0x77; 32], began: 1_646_519_458 }
}

/// Seals for it.
pub fn sealer() -> Sealer {
    Sealer::encrypted(domain(), &[epoch()])
}

/// Seals for a domain without encryption and with this id.
pub fn plain_sealer() -> Sealer {
    Sealer::plain(domain())
}

/// The key that opens the sample keyring.
pub fn repository_key() -> RepositoryKey {
    RepositoryKey([0x42; 32])
}

/// Who writes the samples.
pub fn author() -> Author {
    Author { replica: ReplicaId([0xa1; 16]), writer: WriterId([0xb2; 16]) }
}

/// An entry without content to speak of: a named pipe.
pub fn entry(name: &[u8]) -> Entry {
    Entry {
        name: name.to_vec(),
        meta: Meta {
            mode: 0o644,
            uid: 1000,
            gid: 100,
            user: b"ann".to_vec(),
            group: b"users".to_vec(),
            mtime: Time { secs: NOW, nanos: 5 },
        },
        xattrs: Xattrs::None,
        link_group: 0,
        flags: 0,
        content: Content::Fifo,
    }
}

/// A row of a chunk list.
pub fn chunk_row(n: u8, len: u32, repeat: u32) -> Row {
    Row { id: ChunkId([n; 32]), len, repeat }
}

/// Totals of a directory.
pub fn totals() -> Totals {
    Totals { directories: 1, files: 2, bytes: 300, errors: 0 }
}

/// An entry of every kind, and of every body a file can have.
pub fn entries() -> Vec<Entry> {
    let file = |size, body| Content::File(Object { size, body });
    let contents = [
        (b"a-inline".as_slice(), file(5, Body::Inline(b"hello".to_vec()))),
        (b"b-rows", file(300, Body::Rows(vec![chunk_row(0xc1, 200, 1), chunk_row(0xc2, 50, 2)]))),
        (b"c-tree", file(1 << 40, Body::Tree(NodeId([0xd0; 32])))),
        (b"d-directory", Content::Directory(Subtree { node: NodeId([0xd1; 32]), totals: totals() })),
        (b"e-symlink", Content::Symlink(b"../target".to_vec())),
        (b"f-fifo", Content::Fifo),
        (b"g-socket", Content::Socket),
        (b"h-char", Content::CharDevice(Device { major: 1, minor: 3 })),
        (b"i-block", Content::BlockDevice(Device { major: 8, minor: 300 })),
    ];
    let mut entries: Vec<_> =
        contents.into_iter().map(|(name, content)| Entry { content, ..entry(name) }).collect();
    entries[0].xattrs = Xattrs::Inline(xattrs());
    entries[0].link_group = 0x1122_3344_5566_7788;
    entries[1].xattrs = Xattrs::Chunk { id: ChunkId([0xc3; 32]), len: 5000 };
    entries[1].flags = FLAG_SPARSE | FLAG_CHANGED;
    entries[5].meta = Meta { mode: 0o7777, mtime: Time { secs: -1, nanos: 999_999_999 }, ..Meta::default() };
    entries[6].flags = FLAG_UNREADABLE;
    entries
}

/// Extended attributes.
pub fn xattrs() -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(b"user.a".to_vec(), Vec::new()), (b"user.b".to_vec(), vec![0, 255])]
}

/// Directory pages: empty, with every kind of entry, with links.
pub fn directory_pages() -> Vec<(&'static str, DirectoryPage)> {
    let link =
        |first: &[u8], n, entries| DirectoryLink { first: first.to_vec(), child: NodeId([n; 32]), entries };
    let links = vec![link(b"a", 0xd2, 100), link(b"m", 0xd3, 30)];
    vec![
        ("empty", DirectoryPage::Entries(Vec::new())),
        ("one-fifo", DirectoryPage::Entries(vec![entry(b"pipe")])),
        ("every-kind", DirectoryPage::Entries(entries())),
        ("links", DirectoryPage::Links(1, links)),
    ]
}

/// Pages of chunk lists: with rows, with links.
pub fn chunk_pages() -> Vec<(&'static str, ChunkPage)> {
    let link = |n, rows, bytes| ChunkLink { child: NodeId([n; 32]), rows, bytes };
    let rows = vec![chunk_row(1, 65_536, 1), chunk_row(2, 262_144, u32::MAX), chunk_row(3, 1, 1)];
    vec![
        ("rows", ChunkPage::Rows(rows)),
        ("links", ChunkPage::Links(1, vec![link(0xd4, 130, 1 << 30), link(0xd5, 16, 70_000)])),
    ]
}

/// A block plaintext of two items, kept as it is.
pub fn kept_block() -> Vec<u8> {
    let mut out = vec![0, 2, 0, 8, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0];
    out.extend_from_slice(b"helloabc");
    out
}

/// The text of the compressed sample block.
pub fn compressible() -> Vec<u8> {
    b"the same line again\n".repeat(10)
}

/// A sealed block of chunks with these items.
pub fn sealed_block(items: &[&[u8]], sealer: &Sealer) -> SealedBlock {
    let mut open = OpenBlock::new(ItemKind::Chunk);
    items.iter().for_each(|bytes| open.push(ItemId::of(ItemKind::Chunk, bytes, &keys()).id, bytes));
    let compression = Compression { level: 3, verify: true };
    BlockSealer::new(compression).seal(open, sealer, &keys()).expect("a healthy block")
}

/// The plaintext of a compressed block.
pub fn packed_block() -> Vec<u8> {
    let block = sealed_block(&[&compressible()], &sealer());
    let open = sealer().open(Kind::DataBlock, block.epoch, Context::default(), block.bytes, &"sample");
    let plain = open.expect("just sealed");
    Block::decode(ItemKind::Chunk, &plain).expect("just encoded");
    plain
}

/// A pack of two blocks of chunks.
pub fn pack(sealer: &Sealer) -> FinishedPack {
    let mut pack = PackWriter::new(sealer, Vec::new());
    pack.push(sealed_block(&[b"hello", b"abc"], sealer));
    pack.push(sealed_block(&[&compressible()], sealer));
    pack.finish(sealer, Vec::new())
}

/// The rows of the sample segment.
pub fn places() -> Vec<(ItemKind, [u8; 32], Location)> {
    let at = |pack, offset, sealed_len, ordinal| {
        let pack = ObjectHash([pack; 32]);
        Location { pack, offset, sealed_len, epoch: epoch().id, ordinal }
    };
    vec![
        (ItemKind::Chunk, [0x11; 32], at(0xf1, 64, 1000, 0)),
        (ItemKind::Chunk, [0x22; 32], at(0xf1, 64, 1000, 1)),
        (ItemKind::Chunk, [0x22; 32], at(0xf2, 64, 500, 0)),
        (ItemKind::Node, [0x11; 32], at(0xf2, 564, 300, 7)),
    ]
}

/// A segment of two shards.
pub fn segment(sealer: &Sealer) -> Vec<u8> {
    let mut builder = SegmentBuilder::default();
    places().iter().for_each(|(kind, id, at)| builder.add(*kind, id, at));
    builder.encode(&author(), sealer)
}

/// The row of a snapshot, every field set.
pub fn row() -> SnapshotRow {
    SnapshotRow {
        uuid: *b"\x01\x23\x45\x67\x89\xab\x4d\xef\x80\x11\x22\x33\x44\x55\x66\x77",
        root: Subtree { node: NodeId([0xd6; 32]), totals: totals() },
        created: Time { secs: NOW, nanos: 123_456_789 },
        took_ms: 1500,
        host: "desk".into(),
        user: "ann".into(),
        command: "push /home/ann".into(),
        roots: vec![Path(b"/home/ann".to_vec())],
        tags: vec!["daily".into()],
        parents: vec![Uuid([0x33; 16])],
        tool: "plakar 0.1.0".into(),
        origin: Some(Digest([0x44; 32])),
    }
}

/// A fact of every variant.
pub fn facts() -> Vec<(&'static str, Fact)> {
    let session = SessionId([0x51; 16]);
    let mark = SessionId([0x52; 16]);
    let pack = ObjectHash([0xf1; 32]);
    let prepared = Prepared {
        session,
        pins: vec![SessionId([0x53; 16])],
        packs: vec![pack],
        segments: vec![SegmentRef::Stored(ObjectHash([0xf3; 32])), SegmentRef::Embedded(vec![1, 2, 3])],
        row: Some(row()),
        partial: None,
    };
    let partial = Partial { root: row().root, source: [0x45; 32] };
    let checkpoint = Checkpoint {
        covers: vec![ObjectHash([0xf4; 32])],
        published: vec![
            Published { session, row: Some(row()), received_ms: NOW * 1000 },
            Published { session: SessionId([0x54; 16]), row: None, received_ms: 0 },
        ],
        removed: vec![SessionId([0x55; 16])],
        dead: vec![pack],
        void: vec![SessionId([0x56; 16])],
        marks: vec![mark],
        bad: vec![Bad { pack, offset: 64 }],
        segments: vec![SegmentRef::Stored(ObjectHash([0xf5; 32]))],
        merged: vec![ObjectHash([0xf3; 32])],
    };
    let first = Prepared { session, pins: vec![SessionId([0x53; 16])], ..Prepared::default() };
    vec![
        ("prepared-first", Fact::Prepared(Box::new(first))),
        (
            "prepared-partial",
            Fact::Prepared(Box::new(Prepared { session, partial: Some(partial), ..Prepared::default() })),
        ),
        ("prepared-last", Fact::Prepared(Box::new(prepared))),
        ("final", Fact::Final(session)),
        ("mark", Fact::Mark(Mark { id: mark, packs: vec![pack], revokes: vec![SessionId([0x57; 16])] })),
        ("dead", Fact::Dead(mark)),
        ("removed", Fact::Removed(session)),
        ("bad", Fact::Bad(Bad { pack, offset: 64 })),
        ("checkpoint", Fact::Checkpoint(Box::new(checkpoint))),
    ]
}

/// The facts of the sample log object: those of the admin class.
pub fn admin_facts() -> Vec<Fact> {
    facts()
        .into_iter()
        .map(|(_, fact)| fact)
        .filter(|f| object::Class::of(f) == object::Class::Admin)
        .collect()
}

/// A stored log object.
pub fn log_object(facts: &[Fact], sealer: &Sealer) -> Vec<u8> {
    object::encode(facts, &author(), sealer, NOW).1
}

/// The plaintext of a log object whose facts are kept as they are.
pub fn kept_log(facts: &[Fact]) -> Vec<u8> {
    let raw = record::encode(&facts.to_vec());
    let mut out = vec![0];
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend(raw);
    out
}

/// The plaintext of a log object whose facts are compressed.
pub fn packed_log() -> Vec<u8> {
    let bytes = log_object(&admin_facts(), &plain_sealer());
    bytes[136 + 24..bytes.len() - 16].to_vec()
}

/// A keyring.
pub fn keyring() -> Keyring {
    let config_digest = *blake3::hash(&config().encode()).as_bytes();
    Keyring { secret: secret().0, epochs: vec![epoch()], config_digest }
}

/// A key slot for [`PASSPHRASE`].
pub fn slot() -> Slot {
    Slot::new("laptop", NOW, PASSPHRASE, Cost::TEST, &repository_key(), domain()).expect("cheap parameters")
}

/// `replica`.
pub fn replica(origin: Option<ReplicaId>) -> Replica {
    Replica {
        id: author().replica,
        created: NOW,
        strong_list: true,
        pack_bytes: 16 << 20,
        origin,
        origin_location: None,
    }
}

/// `replica` of a clone that knows where it is from.
pub fn cloned_replica() -> Replica {
    let origin_location = Some("/backups/first".to_owned());
    Replica { origin_location, ..replica(Some(ReplicaId([0xa2; 16]))) }
}

/// `config`.
pub fn config() -> Config {
    Config::new(domain(), Suite::Xaes, &chunker(), 3, NOW)
}

/// The encoded sample attributes, as a chunk holds them.
pub fn encoded_xattrs() -> Vec<u8> {
    let mut out = Vec::new();
    encode_xattrs(&xattrs(), &mut out);
    out
}

/// The plaintext of the directory of a pack with two blocks.
pub fn pack_directory() -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0];
    let mut block = |offset: u32, sealed_len: u32, kind: u8, items: &[([u8; 32], u32)]| {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&sealed_len.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&epoch().id.0);
        out.extend_from_slice(&(items.len() as u16).to_le_bytes());
        for (id, len) in items {
            out.extend_from_slice(id);
            out.extend_from_slice(&len.to_le_bytes());
        }
    };
    block(64, 1000, 1, &[([0x11; 32], 5), ([0x22; 32], 3)]);
    block(1064, 300, 2, &[([0x33; 32], 6)]);
    out
}

/// What the encoders make of the samples: `format/example` and the bytes. Formats that draw random bytes come out
/// different each time.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    let keys = keys();
    add("domain/secret", secret().0.to_vec());
    add("domain/chunker-parameters", encode_chunker(&chunker()));
    add("domain/id", domain().0.to_vec());
    add("domain/chunk-id-of-abc", keys.chunk_id(b"abc").0.to_vec());
    add("domain/node-id-of-abc", keys.node_id(b"abc").0.to_vec());
    add("domain/row-digest-of-abc", keys.row_digest(b"abc").to_vec());
    add("domain/chunker-key", keys.chunker.to_vec());
    add("domain/paging-level-0-of-abc", keys.paging(0, b"abc").to_le_bytes().to_vec());
    add("domain/paging-level-1-of-abc", keys.paging(1, b"abc").to_le_bytes().to_vec());
    add("domain/link-group-root-2-of-abc", keys.link_group(2, b"abc").to_le_bytes().to_vec());
    add("domain/public-secret", DomainSecret::public().0.to_vec());
    let plain = ChunkerParams::with_default_sizes(ChunkerKind::FastCdc);
    add("domain/public-id", DomainSecret::public().id(&encode_chunker(&plain)).0.to_vec());
    directory_pages().iter().for_each(|(name, page)| add(&format!("directory_page/{name}"), page.encode()));
    chunk_pages().iter().for_each(|(name, page)| add(&format!("chunk_page/{name}"), page.encode()));
    add("xattrs/two", encoded_xattrs());
    add("block/kept", kept_block());
    add("block/zstd", packed_block());
    add("pack_directory/two-blocks", pack_directory());
    for (name, fact) in facts() {
        add(&format!("fact/{name}"), record::encode(&fact));
    }
    add("fact_row/every-field", record::encode(&row()));
    add("fact_row/every-field-digest", row().digest(&keys).0.to_vec());
    add("log_plain/kept", kept_log(&[facts()[3].1.clone()]));
    add("log_plain/zstd", packed_log());
    add("replica/created", replica(None).encode());
    add("replica/cloned", replica(Some(ReplicaId([0xa2; 16]))).encode());
    add("replica/cloned-from-a-place", cloned_replica().encode());
    add("config/encrypted", config().encode());
    add("config/plain", Config::new(domain(), Suite::Plain, &plain, 0, NOW).encode());
    add("keyring_record/one-epoch", record::encode(&keyring()));
    add("keyring/sealed", keyring().seal(&repository_key(), domain()));
    add("slot/laptop", slot().encode());
    add("sealed/page-plain", plain_sealer().seal(Kind::SegmentPage, CONTEXT, b"rows"));
    add("sealed/page-encrypted", sealer().seal(Kind::SegmentPage, CONTEXT, b"rows"));
    add("pack/plain", pack(&plain_sealer()).whole());
    add("pack/encrypted", pack(&sealer()).whole());
    add("segment/plain", segment(&plain_sealer()));
    add("segment/encrypted", segment(&sealer()));
    add("log_object/plain", log_object(&[facts()[3].1.clone()], &plain_sealer()));
    add("log_object/encrypted", log_object(&admin_facts(), &sealer()));
    all
}
