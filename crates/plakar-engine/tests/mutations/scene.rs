//! A small repository with an object of every kind, and its neighbours: where it syncs to, where from, and a clone.

use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Fact;
use plakar_engine::repository::Repository;
use plakar_engine::{Error, Result};
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::source::{Node, Random, Tree, noise};
use plakar_testkit::syncing::{Known, copy_of, remove};
use plakar_testkit::world::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Replica,
    Config,
    Keyring,
    Slot,
    Pack,
    Segment,
    /// Publishes a visible snapshot, or announces packs of one.
    Prepared,
    /// The first Prepared of a session: it pins its base and says nothing else.
    Pin,
    Final,
    /// The Prepared of a push that was interrupted.
    Unfinished,
    Checkpoint,
    /// Removes a snapshot.
    Removal,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// One bit is wrong: in the first byte, in the last, or (by seed) anywhere.
    FirstBit,
    LastBit,
    AnyBit,
    Half,
    OneByte,
    Empty,
    Removed,
    /// Some bytes follow it.
    Longer,
    /// It has the bytes of another object of its kind.
    Swapped,
}

pub const DAMAGES: [Damage; 9] = [
    Damage::FirstBit,
    Damage::LastBit,
    Damage::AnyBit,
    Damage::Half,
    Damage::OneByte,
    Damage::Empty,
    Damage::Removed,
    Damage::Longer,
    Damage::Swapped,
];

pub type Objects = BTreeMap<Name, Vec<u8>>;

pub struct Scene {
    pub encrypted: bool,
    /// The repository that is damaged.
    pub objects: Objects,
    pub roles: BTreeMap<Name, Role>,
    /// Of the same domain, with nothing in it.
    pub empty: Objects,
    /// Of the same domain, with the first snapshots and one of its own.
    pub other: Objects,
    /// A clone.
    pub clone: Objects,
    /// What is in each snapshot, those that were removed and that of the other among them.
    pub known: Known,
    /// What is visible.
    pub visible: BTreeSet<String>,
    /// The snapshot of the other.
    pub news: String,
    /// What is pushed next.
    pub tree: Tree,
}

const NOW: i64 = 1_700_000_000;

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

/// Cleans up; everything is old.
pub fn clean(store: &Arc<dyn Store>) -> Result<()> {
    let repo = open(store.clone())?;
    let options = CleanupOptions {
        author: Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) },
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: true },
    };
    cleanup(repo, store, &options, &mut Quiet, &AtomicBool::new(false)).map(drop)
}

impl Scene {
    pub fn new(encrypted: bool) -> Scene {
        let memory = MemoryStore::new();
        create(&memory, Making { encrypted, sizes: (128, 256, 512), pack_bytes: 128 << 10 }).unwrap();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let empty = copy_of(&memory.snapshot()).snapshot();
        let mut known = Known::new();
        let mut pushed = |store: &Arc<dyn Store>, tree: &Tree, now| {
            let uuid = push(store, tree, &Pushing { now, ..Pushing::default() }).clean().row.uuid_text();
            known.insert(uuid.clone(), expected(tree));
            uuid
        };
        // The first snapshots are told of by a checkpoint, and one of them is removed.
        let mut tree = Tree::of_everything(1);
        tree.put("only-in-the-first", Node::file(noise(5, 3_000)));
        let first = pushed(&store, &tree, NOW);
        tree.put("only-in-the-removed", Node::file(noise(6, 3_000)));
        let removed = pushed(&store, &tree, NOW + 1);
        clean(&store).unwrap();
        tree.remove("only-in-the-first").remove("only-in-the-removed");
        // The other goes its own way from here.
        let other = copy_of(&memory.snapshot());
        let mut elsewhere = tree.clone();
        elsewhere.put("elsewhere", Node::file(noise(7, 3_000)));
        let news = pushed(&(Arc::new(other.clone()) as Arc<dyn Store>), &elsewhere, NOW + 2);
        // Enough chunks for a segment of its own, and a small one.
        tree.put("many-chunks", Node::file(noise(2, 720_000)));
        let second = pushed(&store, &tree, NOW + 3);
        tree.put("new", Node::file(noise(3, 2_000))).remove("many-chunks").remove("c-rows");
        let third = pushed(&store, &tree, NOW + 4);
        remove(&store, &removed);
        let interrupted = AtomicBool::new(false);
        tree.put("interrupted", Node::file(noise(4, 4_000)));
        let pushing = Pushing {
            root: "elsewhere",
            interrupted: Some(&interrupted),
            interrupt_at: Some(40),
            ..Pushing::default()
        };
        assert!(matches!(push(&store, &tree, &pushing).result, Err(Error::Interrupted)));
        let objects = memory.snapshot();
        let mut scene = Scene {
            encrypted,
            roles: BTreeMap::new(),
            empty,
            other: other.snapshot(),
            clone: copy_of(&objects).snapshot(),
            objects,
            known,
            visible: [first, second, third].into(),
            news,
            tree,
        };
        scene.find_roles(&healthy(store));
        scene
    }

    fn find_roles(&mut self, repo: &Repository) {
        let view = &repo.state().view;
        for (name, object) in repo.log().objects() {
            let role = |fact: &Fact| match fact {
                Fact::Prepared(prepared) if !view.visible(prepared.session) => match prepared.row {
                    None if view.finished(prepared.session) => Role::Prepared,
                    _ => Role::Unfinished,
                },
                Fact::Prepared(prepared) if prepared.row.is_none() && prepared.packs.is_empty() => Role::Pin,
                Fact::Prepared(_) => Role::Prepared,
                Fact::Checkpoint(_) => Role::Checkpoint,
                Fact::Final(_) => Role::Final,
                Fact::Removed(_) => Role::Removal,
                other => panic!("{other:?}"),
            };
            let roles: BTreeSet<_> = object.facts.iter().map(role).collect();
            assert_eq!(roles.len(), 1, "{name}: {roles:?}");
            self.roles.insert(name.clone(), roles.into_iter().next().unwrap());
        }
        for name in self.objects.keys() {
            let role = match folder(name) {
                "replica" => Role::Replica,
                "config" => Role::Config,
                "keyring" => Role::Keyring,
                "keys" => Role::Slot,
                "packs" => Role::Pack,
                "index" => Role::Segment,
                _ => *self.roles.get(name).unwrap_or_else(|| panic!("{name}: nobody reads it")),
            };
            self.roles.insert(name.clone(), role);
        }
    }

    /// The repository with one object damaged; `None` when the damage changes nothing.
    pub fn damaged(&self, name: &Name, damage: Damage) -> Option<MemoryStore> {
        let store = MemoryStore::from_snapshot(self.objects.clone());
        let before = &self.objects[name];
        let seed = before.len() as u64 * 31 + name.as_str().len() as u64;
        let bits = before.len() as u64 * 8;
        let changed = match damage {
            Damage::FirstBit => store.tamper_flip(name, Random(seed).below(8)),
            Damage::LastBit => store.tamper_flip(name, bits - 1 - Random(seed).below(8)),
            Damage::AnyBit => store.tamper_flip(name, Random(seed + 1).number()),
            Damage::Half => store.tamper_truncate(name, before.len() / 2),
            Damage::OneByte => store.tamper_truncate(name, 1),
            Damage::Empty => store.tamper_truncate(name, 0),
            Damage::Removed => store.tamper_remove(name),
            Damage::Longer => {
                store.tamper_replace(name, [&before[..], &before[..before.len().min(50)]].concat());
                true
            }
            Damage::Swapped => {
                let same = |other: &&Name| *other != name && folder(other) == folder(name);
                let here = self.objects.keys().find(same).map(|other| self.objects[other].clone());
                let alike = |other: &&Name| folder(other) == folder(name);
                let there = self.other.iter().find(|(other, _)| alike(other)).map(|(_, bytes)| bytes.clone());
                let bytes = here.or(there).filter(|bytes| bytes != before);
                bytes.is_some_and(|bytes| {
                    store.tamper_replace(name, bytes);
                    true
                })
            }
        };
        changed.then_some(store)
    }
}

/// What comes before the first slash in a name.
pub fn folder(name: &Name) -> &str {
    name.as_str().split('/').next().unwrap()
}

/// How many paths come back right of each snapshot that is listed.
pub fn come_back(store: &Arc<dyn Store>, scene: &Scene, case: &str) -> BTreeMap<String, usize> {
    let Ok(repo) = open(store.clone()) else { return BTreeMap::new() };
    let pushed = expected(&scene.tree);
    let each = |snapshot: plakar_engine::log::Snapshot| {
        let uuid = snapshot.row.uuid_text();
        let restored = restore(&repo, &snapshot.row.root.node);
        let wanted = scene.known.get(&uuid).unwrap_or(&pushed);
        for (path, seen) in &restored.entries {
            // Which name of a hard-linked file comes first depends on which came back.
            let (mut seen, mut wanted) = (seen.clone(), wanted.get(path).expect(case).clone());
            (seen.first_name, wanted.first_name) = (None, None);
            assert_eq!(seen, wanted, "{case}: {path:?}: wrong bytes");
        }
        let is_whole = restored.entries.len() == wanted.len();
        assert_eq!(restored.problems.is_empty(), is_whole, "{case}: what is lost is told");
        (uuid, restored.entries.len())
    };
    repo.state().snapshots().into_iter().map(each).collect()
}
