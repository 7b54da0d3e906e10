//! Sources to be cloned, and what a clone of one must be.

use plakar_engine::clone::{CloneOptions, CloneReport, clone, update};
use plakar_engine::id::{ReplicaId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::repository::Repository;
use plakar_engine::repository::records::Replica;
use plakar_engine::{Error, Result, write};
use plakar_store::{MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Path, Tree, noise};
use plakar_testkit::world::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub const NOW: i64 = 1_700_000_000;

pub type Objects = BTreeMap<Name, Vec<u8>>;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Small, with chunks, a chunk tree, inline files, and attributes in a chunk.
pub fn tree(version: u64) -> Tree {
    let mut tree = Tree::default();
    tree.put("a/unchanged", Node::file(noise(1, 3_000)));
    tree.put("b/changing", Node::file(noise(version, 8_000)));
    tree.put(&format!("c/{version}"), Node::file(noise(version, 50)));
    let mut attributes = Node::file(noise(version, 200));
    attributes.xattrs = vec![(b"user.x".to_vec(), noise(version, 1_200))];
    tree.put("d", attributes);
    tree
}

pub fn push_version(store: &MemoryStore, version: u64) -> [u8; 16] {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let pushing = Pushing { now: NOW + version as i64, ..Pushing::default() };
    push(&store, &tree(version), &pushing).clean().row.uuid
}

pub fn author(repo: &Repository) -> Author {
    Author { replica: repo.base().replica().id, writer: WriterId([2; 16]) }
}

/// Removes the oldest visible snapshot.
pub fn remove_oldest(store: &MemoryStore) {
    let mut repo = open(Arc::new(store.clone())).unwrap();
    let session = repo.state().snapshots()[0].session;
    let by = author(&repo);
    write::remove(&mut repo, store, &by, &[session], NOW).unwrap();
}

/// A repository with so many snapshots that were pushed.
pub fn source(encrypted: bool, pushes: u64) -> MemoryStore {
    let store = MemoryStore::new();
    create(&store, Making { encrypted, pack_bytes: 4 << 10, ..Making::default() }).unwrap();
    for version in 0..pushes {
        push_version(&store, version);
    }
    store
}

/// One with three snapshots of which one is removed, an index segment of its own, and (if it is encrypted) two key slots.
pub fn rich_source(encrypted: bool) -> MemoryStore {
    let store = MemoryStore::new();
    create(&store, Making { encrypted, sizes: (128, 256, 512), pack_bytes: 128 << 10 }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    if encrypted {
        let cost = plakar_engine::crypto::slot::Cost::TEST;
        open(shared.clone()).unwrap().base().add_key(&*shared, "other", b"other", cost, 0).unwrap();
    }
    push_version(&store, 0);
    let mut large = tree(1);
    large.put("many-chunks", Node::file(noise(7, 620_000)));
    push(&shared, &large, &Pushing { now: NOW + 1, ..Pushing::default() }).clean();
    push_version(&store, 2);
    remove_oldest(&store);
    assert_eq!(count(&store, "index/"), 1);
    store
}

pub fn count(store: &MemoryStore, prefix: &str) -> usize {
    store.names().iter().filter(|name| name.as_str().starts_with(prefix)).count()
}

pub fn options() -> CloneOptions {
    CloneOptions { now: NOW, workers: 1, pack_bytes: None }
}

/// What came of a clone or an update, and what it told.
pub struct Cloned {
    pub result: Result<CloneReport>,
    pub told: Vec<String>,
}

impl Cloned {
    /// The report of one that met no problem.
    pub fn clean(self) -> CloneReport {
        assert_eq!(self.told, Vec::<String>::new());
        let report = self.result.expect("a clone of a healthy source to a healthy store");
        assert_eq!(report.damaged, 0);
        report
    }

    pub fn error(self) -> Error {
        self.result.expect_err("it must fail")
    }
}

pub fn clone_to(source: &dyn ReadStore, destination: &dyn Store) -> Cloned {
    clone_until(source, destination, &AtomicBool::new(false))
}

pub fn clone_until(source: &dyn ReadStore, destination: &dyn Store, interrupted: &AtomicBool) -> Cloned {
    let mut told = Vec::new();
    let mut problem = |what: &str| told.push(what.to_owned());
    let all = clone(source, &[destination], &options(), &mut problem, &mut |_| {}, interrupted);
    Cloned { result: all.and_then(|mut all| all.remove(0)), told }
}

pub fn update_to(source: &dyn ReadStore, destination: &dyn Store) -> Cloned {
    update_until(source, destination, &AtomicBool::new(false))
}

pub fn update_until(source: &dyn ReadStore, destination: &dyn Store, interrupted: &AtomicBool) -> Cloned {
    let mut told = Vec::new();
    let mut problem = |what: &str| told.push(what.to_owned());
    let result = update(source, destination, &options(), &mut problem, &mut |_| {}, interrupted);
    Cloned { result, told }
}

/// All objects but `replica`.
pub fn shared_objects(store: &MemoryStore) -> Objects {
    let mut objects = store.snapshot();
    objects.remove("replica");
    objects.retain(|name, _| !name.as_str().starts_with("damaged/"));
    objects
}

pub fn replica(store: &dyn ReadStore) -> Replica {
    Replica::decode(&store.get(&name("replica"), 1 << 16).unwrap()).unwrap()
}

pub fn replica_id(store: &dyn ReadStore) -> ReplicaId {
    replica(store).id
}

/// Everything but `replica` is byte for byte the same.
pub fn same_objects(one: &MemoryStore, other: &MemoryStore, case: &str) {
    let (one, other) = (shared_objects(one), shared_objects(other));
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other), "{case}");
    assert!(one == other, "{case}: other bytes");
}

/// What a snapshot gives back: what is whole, and where it is not.
pub type Given = (BTreeMap<Path, Seen>, Vec<Path>);

/// Every visible snapshot by its UUID, restored; or why the repository does not open.
pub fn given(store: &MemoryStore) -> Result<BTreeMap<[u8; 16], Given>, String> {
    let repo = open(Arc::new(store.clone())).map_err(|e| e.to_string())?;
    let snapshots = repo.state().snapshots();
    let restored = snapshots.iter().map(|snapshot| {
        let restored = restore(&repo, &snapshot.row.root.node);
        let problems = restored.problems.into_iter().map(|(path, _)| path).collect();
        (snapshot.row.uuid, (restored.entries, problems))
    });
    Ok(restored.collect())
}

/// Opens a healthy repository and restores its snapshots, all of which must be whole.
pub fn whole(store: &MemoryStore, case: &str) -> BTreeMap<[u8; 16], BTreeMap<Path, Seen>> {
    let repo = open(Arc::new(store.clone())).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(repo.damaged(), Vec::<String>::new(), "{case}");
    let (_, said) = check_all(&repo, true).unwrap();
    assert_eq!(said, Vec::<String>::new(), "{case}");
    let given = given(store).unwrap();
    let whole = given.into_iter().map(|(uuid, (entries, problems))| {
        assert_eq!(problems, Vec::<Path>::new(), "{case}");
        (uuid, entries)
    });
    whole.collect()
}
