//! Golden vectors: bytes of every format, frozen in `data/golden.txt`. What is there stays readable for ever; where
//! encoding draws nothing at random, the same values give the same bytes.
//!
//! After a change of a format that is meant: `PLAKAR_BLESS=1 cargo test -p plakar-engine --test golden -- --nocapture`
//! prints a new file.

use plakar_engine::block::{Block, ItemId, ItemKind};
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::codec::Reader;
use plakar_engine::crypto::keyring::Keyring;
use plakar_engine::crypto::seal::{Kind, Suite};
use plakar_engine::crypto::slot::{Cost, Slot};
use plakar_engine::id::{DomainId, ObjectHash, ReplicaId, hex};
use plakar_engine::index::segment::{Segment, SegmentSource};
use plakar_engine::index::{Index, IndexRow};
use plakar_engine::log::object::{self, Class};
use plakar_engine::log::{Fact, Row};
use plakar_engine::pack;
use plakar_engine::record;
use plakar_engine::repository::records::{Config, Replica};
use plakar_engine::tree::node::{ChunkPage, DirectoryPage, decode_xattrs};
use plakar_store::{MemoryStore, Name, ReadStore};
use plakar_testkit::{fuzz, samples};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Formats that draw random bytes, or leave it to a compressor what they look like: decoded only.
const DECODED_ONLY: [&str; 11] = [
    "block/zstd",
    "log_plain/zstd",
    "keyring/sealed",
    "slot/laptop",
    "sealed/page-encrypted",
    "pack/plain",
    "pack/encrypted",
    "segment/plain",
    "segment/encrypted",
    "log_object/plain",
    "log_object/encrypted",
];

static GOLDEN: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let lines = include_str!("data/golden.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (name, digits) = line.split_once(" = ").expect("name = digits");
            let byte = |n: usize| u8::from_str_radix(&digits[n..n + 2], 16).expect("hexadecimal digits");
            (name.to_owned(), (0..digits.len()).step_by(2).map(byte).collect())
        })
        .collect()
});

fn golden(name: &str) -> Vec<u8> {
    GOLDEN.get(name).unwrap_or_else(|| panic!("no vector {name}")).clone()
}

fn suites() -> [(&'static str, plakar_engine::crypto::seal::Sealer); 2] {
    [("plain", samples::plain_sealer()), ("encrypted", samples::sealer())]
}

#[test]
fn every_sample_encodes_to_its_vector() {
    let all = samples::all();
    if std::env::var_os("PLAKAR_BLESS").is_some() {
        println!("# Golden vectors: `format/example = bytes`, see ../golden.rs.");
        all.iter().for_each(|(name, bytes)| println!("{name} = {}", hex(bytes)));
        return;
    }
    let names: Vec<_> = all.iter().map(|(name, _)| name.clone()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert!(GOLDEN.keys().eq(&sorted), "each example has its vector and each vector its example");
    for (name, bytes) in all {
        if !DECODED_ONLY.contains(&&*name) {
            assert_eq!(hex(&bytes), hex(&golden(&name)), "{name}");
        }
    }
}

#[test]
fn the_keys_of_a_domain_follow_from_its_secret() {
    // Computed here from the description, not by the code that is tested.
    let secret = golden("domain/secret");
    let key = |context| blake3::derive_key(context, &secret);
    let keyed = |context, data: &[u8]| *blake3::keyed_hash(&key(context), data).as_bytes();
    assert_eq!(golden("domain/chunk-id-of-abc"), keyed("plakar v1 chunk ids", b"abc"));
    assert_eq!(golden("domain/node-id-of-abc"), keyed("plakar v1 node ids", b"abc"));
    assert_eq!(golden("domain/row-digest-of-abc"), keyed("plakar v1 fact digests", b"abc"));
    assert_eq!(golden("domain/chunker-key"), key("plakar v1 chunker"));
    assert_eq!(golden("domain/paging-level-0-of-abc"), keyed("plakar v1 paging", b"\0abc")[..8]);
    assert_eq!(golden("domain/paging-level-1-of-abc"), keyed("plakar v1 paging", b"\x01abc")[..8]);
    assert_eq!(
        golden("domain/link-group-root-2-of-abc"),
        keyed("plakar v1 hard link groups", b"\x02\0\0\0abc")[..8]
    );
    let id = |secret: &[u8], parameters: &[u8]| {
        blake3::derive_key("plakar v1 domain id", &[secret, parameters].concat())[..16].to_vec()
    };
    let parameters = golden("domain/chunker-parameters");
    assert_eq!(
        parameters,
        [&[2][..], &16384u32.to_le_bytes(), &65536u32.to_le_bytes(), &262144u32.to_le_bytes()].concat()
    );
    assert_eq!(golden("domain/id"), id(&secret, &parameters));
    let public = blake3::derive_key("plakar v1 domain secret of unencrypted repositories", b"");
    assert_eq!(golden("domain/public-secret"), public);
    assert_eq!(golden("domain/public-id"), id(&public, &[&[1], &parameters[1..]].concat()));
}

#[test]
fn nodes() {
    for (name, page) in samples::directory_pages() {
        assert_eq!(DirectoryPage::decode(&golden(&format!("directory_page/{name}"))), Ok(page), "{name}");
    }
    for (name, page) in samples::chunk_pages() {
        assert_eq!(ChunkPage::decode(&golden(&format!("chunk_page/{name}"))), Ok(page), "{name}");
    }
    assert_eq!(decode_xattrs(&golden("xattrs/two")), Ok(samples::xattrs()));
}

#[test]
fn one_entry_byte_by_byte() {
    let expected = [
        b"PN".as_slice(),    // node
        &[1, 1, 0],          // version, a directory, level
        &[1],                // one entry
        &[4, 0],             // a named pipe, no bits
        b"\x04pipe",         // its name
        &[0xa4, 0x03],       // mode 0644
        &[0xe8, 0x07],       // uid 1000
        &[100],              // gid
        b"\x03ann\x05users", // their names
        &1_646_519_458i64.to_le_bytes(),
        &5u32.to_le_bytes(),
    ]
    .concat();
    assert_eq!(golden("directory_page/one-fifo"), expected);
}

#[test]
fn blocks() {
    let kept = Block::decode(ItemKind::Chunk, &golden("block/kept")).unwrap();
    assert_eq!((kept.count(), kept.bytes(0), kept.bytes(1)), (2, Some(&b"hello"[..]), Some(&b"abc"[..])));
    let packed = Block::decode(ItemKind::Chunk, &golden("block/zstd")).unwrap();
    assert_eq!((packed.count(), packed.bytes(0)), (1, Some(&samples::compressible()[..])));
}

#[test]
fn packs_and_the_blocks_in_them() {
    let directory = pack::decode_directory(&golden("pack_directory/two-blocks"), 1364).unwrap();
    assert_eq!(
        directory.iter().map(|b| (b.offset, b.sealed_len)).collect::<Vec<_>>(),
        [(64, 1000), (1064, 300)]
    );
    assert_eq!(directory.iter().map(|b| b.kind).collect::<Vec<_>>(), [ItemKind::Chunk, ItemKind::Node]);
    assert_eq!(directory[0].items, [([0x11; 32], 5), ([0x22; 32], 3)]);
    assert!(directory.iter().all(|b| b.epoch == samples::epoch().id));
    let keys = samples::keys();
    for (suite, sealer) in suites() {
        let bytes = golden(&format!("pack/{suite}"));
        let hash = ObjectHash(*blake3::hash(&bytes).as_bytes());
        let (store, name) = (MemoryStore::new(), pack::pack_name(&hash));
        assert!(name.as_str().starts_with(&format!("packs/{}/", &hash.hex()[..2])));
        store.tamper_replace(&name, bytes);
        let directory = pack::read_directory(&store, &hash, &sealer).unwrap();
        assert_eq!(directory.iter().map(|b| b.items.len()).collect::<Vec<_>>(), [2, 1]);
        let mut items = Vec::new();
        for entry in directory {
            let sealed = store.get_range(&name, entry.offset.into(), entry.sealed_len as usize).unwrap();
            let block = Block::open(entry.kind, entry.epoch, sealed, &sealer, &name).unwrap();
            for (n, (id, len)) in entry.items.iter().enumerate() {
                let item =
                    block.item(n, &ItemId { kind: entry.kind, id: *id }, &keys).expect("the id is its id");
                assert_eq!(item.len(), *len as usize);
                items.push(item.to_vec());
            }
        }
        assert_eq!(items, [b"hello".to_vec(), b"abc".to_vec(), samples::compressible()]);
    }
}

#[test]
fn segments_and_their_rows() {
    for (suite, sealer) in suites() {
        let bytes = golden(&format!("segment/{suite}"));
        let header = &bytes[..160];
        assert_eq!(
            &header[..16],
            [b"PLKINDX1".as_slice(), &[1, sealer.suite() as u8, 0, 0, 0, 0, 0, 0]].concat()
        );
        assert_eq!(header[48..80], [[0xa1; 16], [0xb2; 16]].concat());
        assert_eq!(header[92..], [0; 68]);
        let segment = Segment::open(SegmentSource::Embedded(bytes.clone()), &sealer).unwrap();
        assert_eq!(
            (segment.rows(), &segment.packs[..]),
            (4, &[ObjectHash([0xf1; 32]), ObjectHash([0xf2; 32])][..])
        );
        let mut listed = Vec::new();
        segment
            .for_each(&sealer, &mut |kind, id, at| {
                listed.push((kind, *id, *at));
                Ok(())
            })
            .unwrap();
        let expected = samples::places();
        assert_eq!(
            listed,
            expected
                .iter()
                .map(|(kind, id, at)| (*kind, id[..16].try_into().unwrap(), *at))
                .collect::<Vec<_>>()
        );
        let index = Index::new(Arc::new(sealer));
        index.add(SegmentSource::Embedded(bytes)).unwrap();
        for (kind, id, at) in &expected {
            assert!(index.find(&ItemId { kind: *kind, id: *id }).unwrap().contains(at));
        }
        assert!(index.find(&ItemId { kind: ItemKind::Node, id: [0x22; 32] }).unwrap().is_empty());
    }
    // One row, byte by byte: the first page of the segment that is not encrypted begins with it.
    let bytes = golden("segment/plain");
    let expected = [
        &[0x11; 16][..],      // the id's first half
        &0u32.to_le_bytes(),  // the pack's number
        &64u32.to_le_bytes(), // offset of the block
        &[0xe8, 0x03, 0],     // its sealed length, 1000
        &0u16.to_le_bytes(),  // which of its items
        &[0],                 // the epoch's number
    ]
    .concat();
    assert_eq!(bytes[160 + 24..][..IndexRow::LEN], expected);
    let row = IndexRow::decode(ItemKind::Chunk, &mut Reader::new(&expected)).unwrap();
    assert_eq!(
        (row.id, row.pack, row.offset, row.sealed_len, row.ordinal, row.epoch),
        ([0x11; 16], 0, 64, 1000, 0, 0)
    );
}

#[test]
fn facts_and_log_objects() {
    for (name, fact) in samples::facts() {
        assert_eq!(record::decode::<Fact>(&golden(&format!("fact/{name}"))), Ok(fact), "{name}");
    }
    let row = samples::row();
    assert_eq!(row.uuid_text(), "01234567-89ab-4def-8011-223344556677");
    assert_eq!(record::decode::<Row>(&golden("fact_row/every-field")), Ok(row));
    let digest = samples::keys().row_digest(&golden("fact_row/every-field"));
    assert_eq!(golden("fact_row/every-field-digest"), digest);
    let last = || vec![samples::facts()[3].1.clone()];
    assert_eq!(object::decode_plain(&golden("log_plain/kept")), Ok(last()));
    assert_eq!(object::decode_plain(&golden("log_plain/zstd")), Ok(samples::admin_facts()));
    for (suite, sealer) in suites() {
        let (class, facts) =
            if suite == "plain" { (Class::Log, last()) } else { (Class::Admin, samples::admin_facts()) };
        let bytes = golden(&format!("log_object/{suite}"));
        assert_eq!(
            &bytes[..16],
            [b"PLKFACT1".as_slice(), &[1, sealer.suite() as u8, class as u8, 0, 0, 0, 0, 0]].concat()
        );
        assert_eq!(bytes[40..136], [[0xa1; 16].as_slice(), &[0xb2; 16], &[0; 64]].concat());
        let name = format!("{}20220305t223058z-{}", class.folder(), blake3::hash(&bytes).to_hex());
        assert_eq!(object::decode(&Name::new(&name).unwrap(), bytes, &sealer).unwrap(), facts);
    }
    // A fact byte by byte: variant 2 of one field, a session.
    assert_eq!(golden("fact/final"), [&[0x82, 2, 0x81, 0x50][..], &[0x51; 16]].concat());
}

#[test]
fn plain_records() {
    let origin = Some(ReplicaId([0xa2; 16]));
    assert_eq!(Replica::decode(&golden("replica/created")), Ok(samples::replica(None)));
    assert_eq!(Replica::decode(&golden("replica/cloned")), Ok(samples::replica(origin)));
    assert_eq!(Replica::decode(&golden("replica/cloned-from-a-place")), Ok(samples::cloned_replica()));
    let config = Config::decode(&golden("config/encrypted")).unwrap();
    assert_eq!(config, samples::config());
    assert_eq!(
        (config.suite(), config.chunker(), config.unknown()),
        (Some(Suite::Xaes), Some(samples::chunker()), None)
    );
    assert_eq!((config.domain, config.compression, config.created), (samples::domain(), 3, samples::NOW));
    let plain = Config::decode(&golden("config/plain")).unwrap();
    let chunker = ChunkerParams::with_default_sizes(ChunkerKind::FastCdc);
    assert_eq!((plain.suite(), plain.chunker(), plain.compression), (Some(Suite::Plain), Some(chunker), 0));
}

#[test]
fn keys_and_sealed_bytes() {
    let slot = Slot::decode(&golden("slot/laptop"), "keys/0").unwrap();
    assert_eq!((&*slot.label, slot.created, slot.cost), ("laptop", samples::NOW, Cost::TEST));
    let open =
        |passphrase: &[u8]| slot.open(passphrase, samples::domain(), &mut Vec::new(), "keys/0").unwrap();
    assert_eq!(open(samples::PASSPHRASE).unwrap().0, samples::repository_key().0);
    assert!(open(b"another passphrase").is_none());

    let open =
        |domain| Keyring::open(&golden("keyring/sealed"), &samples::repository_key(), domain, "keyring/0");
    let keyring = open(samples::domain()).unwrap();
    assert!(keyring == samples::keyring());
    assert_eq!(keyring.config_digest, *blake3::hash(&golden("config/encrypted")).as_bytes());
    assert!(open(DomainId([0; 16])).is_err());
    assert!(record::decode::<Keyring>(&golden("keyring_record/one-epoch")) == Ok(samples::keyring()));

    for (suite, sealer) in suites() {
        let sealed = golden(&format!("sealed/page-{suite}"));
        let open = |kind| sealer.open(kind, sealer.epoch(), samples::CONTEXT, sealed.clone(), &"page");
        assert_eq!(open(Kind::SegmentPage).unwrap(), b"rows");
        assert!(open(Kind::ShardHead).is_err());
    }
    // Sealed without encryption, byte by byte.
    let aad =
        [b"plakar1".as_slice(), &[7, 0], &samples::domain().0, &[0; 8], &[0x5a; 24], &160u64.to_le_bytes()]
            .concat();
    let tag = blake3::keyed_hash(&[0; 32], &[&aad[..], b"rows"].concat());
    assert_eq!(golden("sealed/page-plain"), [&[0; 24][..], b"rows", &tag.as_bytes()[..16]].concat());
}

#[test]
fn every_vector_goes_through_the_function_of_its_format() {
    for (name, bytes) in GOLDEN.iter() {
        let format = name.split('/').next().unwrap();
        for (target, law) in fuzz::ALL {
            if target == format || target == "repository_records" {
                law(bytes);
            }
        }
    }
}
