//! Syncing between repositories of tests.

use crate::source::{Node, Path, Tree, noise};
use crate::world::{Making, Pushing, Seen, create, expected, healthy, open, push, restore};
use plakar_engine::Result;
use plakar_engine::id::{NodeId, ReplicaId, SessionId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Row;
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::repository::records::Replica;
use plakar_engine::sync::{Counts, Selection, SyncObserver, SyncOptions, SyncReport, sync};
use plakar_engine::write;
use plakar_store::{MemoryStore, Name, ReadStore, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How to sync.
#[derive(Debug, Clone, Default)]
pub struct Syncing {
    /// Which snapshots.
    pub selection: Selection,
    /// When it announces what it sent.
    pub checkpoints: Checkpoints,
    /// Ends it at this call of the observer.
    pub interrupt_at: Option<u64>,
}

/// What an observer was told.
#[derive(Debug, Default)]
pub struct Heard {
    /// UUIDs of what was sent,
    pub sent: Vec<String>,
    /// and the seconds in which that was made.
    pub made: Vec<i64>,
    /// UUIDs of what was withheld, each with what it said of paths.
    pub withheld: Vec<(String, Vec<String>)>,
    /// How often it was told of progress.
    pub calls: u64,
    /// How far it was when it was told last.
    pub last: Counts,
    interrupt_at: Option<u64>,
    interrupted: Arc<AtomicBool>,
}

impl SyncObserver for Heard {
    fn sent(&mut self, row: &Row, _: &Counts) {
        self.sent.push(row.uuid_text());
        self.made.push(row.created.secs);
    }

    fn withheld(&mut self, row: &Row, paths: &[String], more: u64) {
        assert!(!paths.is_empty() && (more == 0 || paths.len() >= 1000));
        self.withheld.push((row.uuid_text(), paths.to_vec()));
    }

    fn progress(&mut self, counts: &Counts) {
        self.last = *counts;
        self.calls += 1;
        if self.interrupt_at == Some(self.calls) {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// Gives `to` what it lacks of `from`. What was heard is told even when it fails.
pub fn sync_stores(
    from: Arc<dyn ReadStore>,
    to: &Arc<dyn Store>,
    syncing: &Syncing,
) -> (Heard, Result<(SyncReport, Repository)>) {
    match open(from).and_then(|source| Ok((source, open(to.clone())?))) {
        Ok((source, destination)) => sync_opened(&source, destination, to, syncing),
        Err(e) => (Heard::default(), Err(e)),
    }
}

/// The same with both sides open already.
pub fn sync_opened(
    source: &Repository,
    destination: Repository,
    to: &Arc<dyn Store>,
    syncing: &Syncing,
) -> (Heard, Result<(SyncReport, Repository)>) {
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut heard =
        Heard { interrupt_at: syncing.interrupt_at, interrupted: interrupted.clone(), ..Heard::default() };
    let options = SyncOptions {
        selection: syncing.selection.clone(),
        author: Author { replica: destination.base().replica().id, writer: WriterId([2; 16]) },
        now: 1_700_000_000,
        workers: 1,
        verify: true,
        may_admin: true,
        checkpoints: syncing.checkpoints,
    };
    let result = sync(source, destination, to, &options, &mut heard, &interrupted);
    (heard, result)
}

/// Syncs everything between healthy repositories; all must go well.
pub fn synced(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> (SyncReport, Repository) {
    let (heard, result) = sync_stores(from.clone(), to, &Syncing::default());
    assert_eq!(heard.withheld, []);
    result.expect("a sync between healthy repositories")
}

/// UUID, time, roots and size of each visible snapshot: what `ls` shows.
pub fn lines(repo: &Repository) -> Vec<String> {
    let line = |row: &Row| {
        let roots: Vec<_> = row.roots.iter().map(|root| String::from_utf8_lossy(&root.0)).collect();
        format!("{} {:?} {} {}", row.uuid_text(), row.created, row.root.totals.bytes, roots.join(", "))
    };
    repo.state().snapshots().iter().map(|snapshot| line(snapshot.row)).collect()
}

/// What a store holds, made into a replica of its own: all objects copied, but the record that is never copied.
pub fn copy_of(objects: &BTreeMap<Name, Vec<u8>>) -> MemoryStore {
    let name = Name::new("replica").expect("a constant name");
    let mut replica = Replica::decode(&objects[&name]).expect("a healthy repository");
    replica.origin = Some(replica.id);
    replica.id = ReplicaId(SessionId::random().0);
    let store = MemoryStore::from_snapshot(objects.clone());
    store.tamper_replace(&name, replica.encode());
    store
}

/// How two repositories are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domains {
    /// Neither encrypted, chunks of the same sizes: one domain.
    Plain,
    /// Encrypted, one a copy of the other when it was empty: one domain.
    Copies,
    /// Encrypted, with keys of their own.
    OtherKeys,
    /// Neither encrypted, chunks of other sizes.
    OtherSizes,
    /// From one that is not encrypted to one that is.
    Sealing,
    /// From one that is encrypted to one that is not.
    Opening,
}

impl Domains {
    /// All of them.
    pub const ALL: [Domains; 6] = [
        Domains::Plain,
        Domains::Copies,
        Domains::OtherKeys,
        Domains::OtherSizes,
        Domains::Sealing,
        Domains::Opening,
    ];

    /// Whether both are of one domain.
    pub fn same(self) -> bool {
        matches!(self, Domains::Plain | Domains::Copies)
    }

    /// Two empty repositories with packs of this length.
    pub fn empty(self, pack_bytes: u32) -> (MemoryStore, MemoryStore) {
        let made = |encrypted, sizes| {
            let store = MemoryStore::new();
            create(&store, Making { encrypted, sizes, pack_bytes }).expect("an empty store");
            store
        };
        let (sizes, other) = (Making::default().sizes, (128, 512, 2048));
        match self {
            Domains::Plain => (made(false, sizes), made(false, sizes)),
            Domains::Copies => {
                let store = made(true, sizes);
                let copy = copy_of(&store.snapshot());
                (store, copy)
            }
            Domains::OtherKeys => (made(true, sizes), made(true, sizes)),
            Domains::OtherSizes => (made(false, sizes), made(false, other)),
            Domains::Sealing => (made(false, sizes), made(true, sizes)),
            Domains::Opening => (made(true, sizes), made(false, sizes)),
        }
    }
}

/// What is in each snapshot, by its UUID.
pub type Known = BTreeMap<String, BTreeMap<Path, Seen>>;

/// A small sync: the destination has the oldest of the source's snapshots and one of its own, and lacks two.
#[derive(Clone)]
pub struct Scene {
    /// The source.
    pub source: BTreeMap<Name, Vec<u8>>,
    /// The destination.
    pub destination: BTreeMap<Name, Vec<u8>>,
    /// What is in the snapshots of both.
    pub known: Known,
    /// The source's: on both sides, then the two to be sent, oldest first.
    pub uuids: Vec<String>,
    /// The destination's own.
    pub own: String,
}

impl Scene {
    /// Chunks, inline files, chunk lists in trees, attributes in a chunk, several packs.
    pub fn new(domains: Domains) -> Scene {
        let (from, to) = domains.empty(4 << 10);
        let (a, b): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(from.clone()), Arc::new(to.clone()));
        let (mut known, mut uuids) = (Known::new(), Vec::new());
        let mut pushed = |store: &Arc<dyn Store>, tree: Tree, now, root| {
            let uuid =
                push(store, &tree, &Pushing { now, root, ..Pushing::default() }).clean().row.uuid_text();
            known.insert(uuid.clone(), expected(&tree));
            uuid
        };
        uuids.push(pushed(&a, Scene::tree(0), 1_700_000_000, "root"));
        synced(&a, &b);
        // It has nothing of the oldest, and something of the newest.
        let mut tree = Tree::default();
        tree.put("own", Node::file(noise(900, 2_000)));
        tree.put("b/changing", Scene::tree(2).at("b/changing").clone());
        let own = pushed(&b, tree, 1_700_000_007, "own");
        uuids.push(pushed(&a, Scene::tree(1), 1_700_000_001, "root"));
        uuids.push(pushed(&a, Scene::tree(2), 1_700_000_002, "root"));
        Scene { source: from.snapshot(), destination: to.snapshot(), known, uuids, own }
    }

    /// What is pushed. Files of different owners are in blocks, and so in packs, of their own.
    pub fn tree(version: u64) -> Tree {
        let mut tree = Tree::default();
        tree.put("a/unchanged", Node::file(noise(1, 3_000)));
        tree.put("b/changing", Node::file(noise(100 + version, 5_000)).owned_by(1));
        tree.put(&format!("c/d/{version}"), Node::file(noise(200 + version, 50)));
        let mut attributes = Node::file(noise(300 + version, 200)).owned_by(2);
        attributes.xattrs = vec![(b"user.x".to_vec(), noise(400 + version, 1_200))];
        tree.put("c/e", attributes);
        let mut long = noise(500, 15_000);
        long[7_000 + version as usize] ^= 1;
        tree.put("f", Node::file(long).owned_by(3));
        tree
    }

    /// Both sides as they are before.
    pub fn stores(&self) -> (MemoryStore, MemoryStore) {
        let copy = |objects: &BTreeMap<_, _>| MemoryStore::from_snapshot(objects.clone());
        (copy(&self.source), copy(&self.destination))
    }

    /// What the destination shows when all is done.
    pub fn all(&self) -> BTreeSet<String> {
        self.uuids.iter().chain([&self.own]).cloned().collect()
    }
}

/// What a repository shows: the UUID of each visible snapshot. It must be healthy, and every snapshot must come back
/// as it is known.
pub fn shown(store: Arc<dyn ReadStore>, known: &Known, case: &str) -> BTreeSet<String> {
    let repo = healthy(store);
    let snapshots = repo.state().snapshots();
    let uuids: BTreeSet<_> = snapshots.iter().map(|s| s.row.uuid_text()).collect();
    assert_eq!(uuids.len(), snapshots.len(), "{case}: each is shown once");
    for snapshot in &snapshots {
        let restored = restore(&repo, &snapshot.row.root.node);
        assert!(restored.problems.is_empty(), "{case}: {:?}", restored.problems);
        assert!(restored.entries == known[&snapshot.row.uuid_text()], "{case}: other entries");
    }
    uuids
}

/// UUID and root of each visible snapshot.
pub fn roots(store: Arc<dyn ReadStore>) -> BTreeMap<String, NodeId> {
    let repo = open(store).expect("a healthy repository opens");
    repo.state().snapshots().iter().map(|s| (s.row.uuid_text(), s.row.root.node)).collect()
}

/// Removes all publications of a snapshot.
pub fn remove(store: &Arc<dyn Store>, uuid: &str) {
    let mut repo = open(store.clone()).expect("a healthy repository opens");
    let sessions: Vec<_> = {
        let snapshots = repo.state().snapshots();
        snapshots.iter().filter(|s| s.row.uuid_text() == uuid).map(|s| s.session).collect()
    };
    let author = Author { replica: repo.base().replica().id, writer: WriterId([4; 16]) };
    write::remove(&mut repo, &**store, &author, &sessions, 1_700_000_000).expect("a healthy store");
}
