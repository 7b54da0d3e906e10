//! A collector that keeps to the rules, in steps between which others work.

use crate::common::*;
use plakar_engine::block::{Compression, ItemId};
use plakar_engine::id::{NodeId, ObjectHash, SessionId};
use plakar_engine::log::fact::{Fact, Mark};
use plakar_engine::log::object;
use plakar_engine::pack::pack_name;
use plakar_engine::read::Reader;
use plakar_engine::repository::Repository;
use plakar_engine::tree::pages::NodeSink;
use plakar_engine::tree::{Body, Chunks, Content, Directory, NodeSource, Xattrs};
use plakar_engine::write::{Owner, Session, SessionOptions};
use plakar_store::{MemoryStore, Store};
use plakar_testkit::world::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Something that happens at a source.
pub type Step = Box<dyn FnOnce(&MemoryStore) + Send>;

fn reopened(store: &MemoryStore) -> Repository {
    open(Arc::new(store.clone())).unwrap()
}

fn put(store: &MemoryStore, repo: &Repository, fact: Fact) {
    let (sealer, by) = (sealer_of(repo), author(repo));
    let (name, bytes) = object::encode(&[fact], &by, &sealer, NOW);
    store.put(&name, &[&bytes]).unwrap();
    store.barrier().unwrap();
}

/// Unencrypted repositories are sealed by what everybody knows.
fn sealer_of(repo: &Repository) -> plakar_engine::crypto::seal::Sealer {
    plakar_engine::crypto::seal::Sealer::plain(repo.base().config().domain)
}

/// Everything is stored again: all packs are marked, what visible snapshots need is rescued, the packs die and go.
pub fn collect_everything() -> Vec<Step> {
    let run: Arc<Mutex<(SessionId, Vec<ObjectHash>)>> = Arc::default();
    let (a, b, c, d) = (run.clone(), run.clone(), run.clone(), run);
    let mark: Step = Box::new(move |store| {
        let repo = reopened(store);
        let view = &repo.state().view;
        let packs: Vec<_> = view.announced_packs().filter(|pack| !view.dead(*pack)).collect();
        let id = SessionId::random();
        *a.lock().unwrap() = (id, packs.clone());
        put(store, &repo, Fact::Mark(Mark { id, packs, revokes: vec![] }));
    });
    let rescue: Step = Box::new(move |store| {
        assert!(!b.lock().unwrap().1.is_empty());
        rescue(store);
    });
    let die: Step = Box::new(move |store| {
        let repo = reopened(store);
        put(store, &repo, Fact::Dead(c.lock().unwrap().0));
    });
    let delete: Step = Box::new(move |store| {
        d.lock().unwrap().1.iter().for_each(|pack| store.delete(&pack_name(pack)).unwrap());
    });
    vec![mark, rescue, die, delete]
}

/// Deletes the log objects that a checkpoint covers.
pub fn sweep() -> Step {
    Box::new(|store| {
        let repo = reopened(store);
        let covered: BTreeSet<_> = repo.log().covered().iter().copied().collect();
        assert!(!covered.is_empty());
        for name in store.names() {
            if object::hash_in_name(&name).is_some_and(|hash| covered.contains(&hash)) {
                store.delete(&name).unwrap();
            }
        }
    })
}

struct Noting<'a>(&'a Reader, RefCell<BTreeSet<NodeId>>);

impl NodeSource for Noting<'_> {
    fn node(&self, id: &NodeId) -> plakar_engine::Result<Vec<u8>> {
        self.1.borrow_mut().insert(*id);
        self.0.node(id)
    }
}

/// Every item beneath a node.
fn items(source: &Noting, node: &NodeId, chunks: &mut BTreeSet<ItemIdOrd>) {
    let mut entries = Directory::open(source, node).unwrap();
    while let Some(entry) = entries.next_entry().unwrap() {
        if let Xattrs::Chunk { id, .. } = &entry.xattrs {
            chunks.insert(id.0);
        }
        match &entry.content {
            Content::File(object) if !matches!(object.body, Body::Inline(_)) => {
                let mut rows = Chunks::open(source, object).unwrap();
                while let Some(row) = rows.next_row().unwrap() {
                    chunks.insert(row.id.0);
                }
            }
            Content::Directory(subtree) => items(source, &subtree.node, chunks),
            _ => {}
        }
    }
}

type ItemIdOrd = [u8; 32];

fn rescue(store: &MemoryStore) {
    let repo = reopened(store);
    let reader = Reader::new(&repo, 4 << 20);
    let noting = Noting(&reader, RefCell::default());
    let mut chunks = BTreeSet::new();
    for snapshot in repo.state().snapshots() {
        items(&noting, &snapshot.row.root.node, &mut chunks);
    }
    let options = SessionOptions {
        author: author(&repo),
        compression: Compression { level: 1, verify: false },
        workers: 1,
        now: NOW,
        may_admin: false,
    };
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let (mut session, _) = Session::begin(reopened(store), shared, options, &[], &[]).unwrap();
    for id in chunks {
        let item: ItemId = plakar_engine::id::ChunkId(id).into();
        let bytes = reader.with_item(&item, &mut |bytes| bytes.to_vec()).unwrap();
        session.put_chunk(Owner::SELF, &bytes).unwrap();
    }
    for node in noting.1.into_inner() {
        session.put_node(reader.node(&node).unwrap()).unwrap();
    }
    session.publish(None).unwrap();
}

#[test]
fn the_collector_keeps_what_is_visible_and_nothing_else() {
    let source = source(false, 3);
    let before = whole(&source, "before");
    remove_oldest(&source);
    let packs: BTreeSet<_> =
        source.names().into_iter().filter(|name| name.as_str().starts_with("packs/")).collect();
    collect_everything().into_iter().for_each(|step| step(&source));
    let after = whole(&source, "after");
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|(uuid, entries)| before[uuid] == *entries));
    assert!(source.names().iter().all(|name| !packs.contains(name)), "every pack is another");
}
