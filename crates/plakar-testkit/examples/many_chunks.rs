//! Makes a repository in a folder with two snapshots of many tiny chunks, the first of them removed: of every three
//! thousand chunks, only two thousand are needed still. What `scripts/memory` cleans up.
//!
//!   cargo run --release -p plakar-testkit --example many_chunks -- FOLDER COUNT

use plakar_engine::block::Compression;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Path, Row, random_uuid};
use plakar_engine::tree::object::ObjectWriter;
use plakar_engine::tree::pages::PagesWriter;
use plakar_engine::tree::{Content, Entry, Meta, Subtree, Time, Totals, Xattrs};
use plakar_engine::write::{Ended, Owner, Session, SessionOptions, remove};
use plakar_store::{DirStore, Store};
use plakar_testkit::world::{Making, create, open};
use std::sync::Arc;

fn main() {
    let mut words = std::env::args().skip(1);
    let (folder, count) = (words.next().expect("a folder"), words.next().expect("a count"));
    let count: u64 = count.parse().expect("a number of chunks");
    let store: Arc<dyn Store> = Arc::new(DirStore::create(&folder).expect("a folder that can be made"));
    create(&*store, Making { encrypted: false, pack_bytes: 16 << 20, ..Making::default() })
        .expect("an empty folder");
    let mut first = None;
    for (created, needed) in [(1_700_000_000, false), (1_700_000_001, true)] {
        let chunks = (0..count).filter(|n| !needed || n / 1000 % 3 != 0);
        let session = publish(&store, chunks, created);
        first = first.or(Some(session));
    }
    let mut repo = open(store.clone()).expect("it was just made");
    let author = Author { replica: repo.base().replica().id, writer: WriterId([1; 16]) };
    remove(&mut repo, &*store, &author, &[first.expect("there are two")], 1_700_000_002)
        .expect("a healthy folder");
}

fn publish(
    store: &Arc<dyn Store>,
    chunks: impl Iterator<Item = u64>,
    created: i64,
) -> plakar_engine::id::SessionId {
    let repo = open(store.clone()).expect("it was just made");
    let author = Author { replica: repo.base().replica().id, writer: WriterId([1; 16]) };
    let compression = Compression { level: 0, verify: false };
    let options = SessionOptions { author, compression, workers: 1, now: created, may_admin: true };
    let (mut session, _) = Session::begin(repo, store.clone(), options, &[], &[]).expect("a healthy folder");
    let keys = session.keys();
    let mut file = ObjectWriter::default();
    for number in chunks {
        let bytes = format!("{number:0256}");
        let id = session.put_chunk(Owner::SELF, bytes.as_bytes()).expect("a healthy folder");
        file.push(id, 256, 1, &keys, &mut session).expect("a healthy folder");
    }
    let meta = Meta { mtime: Time { secs: created, nanos: 0 }, ..Meta::default() };
    let content = Content::File(file.finish(&keys, &mut session).expect("a healthy folder"));
    let entry =
        Entry { name: b"file".to_vec(), meta, xattrs: Xattrs::None, content, link_group: 0, flags: 0 };
    let (mut pages, mut totals) = (PagesWriter::default(), Totals::default());
    totals.add(&entry);
    pages.push(&entry, &keys, &mut session).expect("a healthy folder");
    let node = pages.finish(&keys, &mut session).expect("a healthy folder");
    let row = Row {
        uuid: random_uuid(),
        root: Subtree { node, totals },
        created: Time { secs: created, nanos: 0 },
        took_ms: 0,
        host: "host".into(),
        user: "user".into(),
        command: String::new(),
        roots: vec![Path(b"/file".to_vec())],
        tags: Vec::new(),
        parents: Vec::new(),
        tool: "many_chunks".into(),
        origin: None,
    };
    let id = session.id();
    let (ended, _) = session.publish(Some(row)).expect("a healthy folder");
    assert_eq!(ended, Ended::Published);
    id
}
