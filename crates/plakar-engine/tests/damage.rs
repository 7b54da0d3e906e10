//! Every object of a small repository, damaged in every way: nobody panics, nobody hands out wrong bytes, the check
//! names what is wrong, and what is healthy comes back.
//!
//! What cannot be noticed is listed in [`unnoticed`], each with its reason; a case that is neither noticed nor listed
//! fails, and so does one that is listed and noticed. The numbers of cases are asserted, so that none vanishes.

use plakar_engine::block::ItemId;
use plakar_engine::check::{CheckOptions, Reads, check};
use plakar_engine::id::{ObjectHash, SessionId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Fact, SegmentRef};
use plakar_engine::read::Reader;
use plakar_engine::repository::Repository;
use plakar_engine::tree::{Body, Chunks, Content, Directory, NodeId, NodeSource, Subtree, Xattrs};
use plakar_engine::write;
use plakar_engine::{Error, tree::Entry};
use plakar_store::wrap::Counting;
use plakar_store::{MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Path, Random, Tree, hash, noise};
use plakar_testkit::world::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Replica,
    Config,
    Keyring,
    /// The slot of the passphrase that is used.
    Slot,
    /// A slot of another passphrase.
    OtherSlot,
    Pack,
    Segment,
    /// Holds the Prepared that publishes a visible snapshot, or announces packs of one.
    Prepared,
    /// The first Prepared of a session: it pins its base and says nothing else.
    Pin,
    Final,
    /// The Prepared of a push that was interrupted.
    Unfinished,
    /// Covered by the checkpoint.
    Covered,
    Checkpoint,
    /// Removes a snapshot, after the checkpoint.
    Removal,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    /// The last byte is gone.
    Shorter,
    Half,
    Empty,
    Removed,
    /// One bit is wrong: in the first byte, in the last, or (by seed) anywhere.
    FirstBit,
    LastBit,
    AnyBit(u64),
    /// It has the bytes of another object of its kind.
    Swapped,
    /// As many random bytes.
    Random,
}

const DAMAGES: [Damage; 13] = [
    Damage::Shorter,
    Damage::Half,
    Damage::Empty,
    Damage::Removed,
    Damage::FirstBit,
    Damage::LastBit,
    Damage::AnyBit(1),
    Damage::AnyBit(2),
    Damage::AnyBit(3),
    Damage::AnyBit(4),
    Damage::AnyBit(5),
    Damage::Swapped,
    Damage::Random,
];

/// Why a full check finds nothing wrong, where that is so.
fn unnoticed(role: Role, damage: Damage, encrypted: bool) -> Option<&'static str> {
    let bit = matches!(damage, Damage::FirstBit | Damage::LastBit | Damage::AnyBit(_));
    match (role, damage) {
        (Role::Covered, _) => Some("a checkpoint says the same: nobody reads it"),
        (Role::OtherSlot, _) => Some("only whoever knows its passphrase can tell"),
        (Role::Pin, Damage::Removed) => Some("its session has ended, so what it pinned no longer matters"),
        (Role::Final, Damage::Removed) => Some("the same as a push that was interrupted before its end"),
        (Role::Unfinished, Damage::Removed) => Some("the same as a push that was interrupted earlier"),
        (Role::Removal, Damage::Removed) => Some("the snapshot is there again, whole"),
        (Role::Replica, Damage::Swapped) => Some("not sealed: nothing else says which replica this is"),
        (Role::Replica, _) if bit => Some("not sealed: some of its bits are numbers that may be anything"),
        (Role::Config, _) if bit && !encrypted => Some("not sealed: no keyring vouches for it"),
        (Role::Slot, _) if bit => Some("its label and time are not sealed"),
        _ => None,
    }
}

/// Listed in [`unnoticed`], and some bits of it are noticed all the same.
fn depends_on_the_bit(role: Role) -> bool {
    matches!(role, Role::Replica | Role::Config | Role::Slot)
}

/// Bytes of a pack.
type Place = (ObjectHash, Range<u64>);

/// A snapshot as it must be.
struct Known {
    uuid: [u8; 16],
    root: NodeId,
    wanted: BTreeMap<Path, Seen>,
    /// Where everything lies that is needed to restore a path.
    needs: BTreeMap<Path, Vec<Place>>,
    /// What its listing depends on.
    told_by: BTreeSet<Name>,
}

struct World {
    encrypted: bool,
    objects: BTreeMap<Name, Vec<u8>>,
    roles: BTreeMap<Name, Role>,
    snapshots: Vec<Known>,
    /// Which packs an object makes known.
    announces: HashMap<Name, BTreeSet<ObjectHash>>,
    tree: Tree,
}

const NOW: i64 = 1_700_000_000;
/// The time of the second push, as names of log objects have it.
const SECOND_PUSH: &str = "20231114t221322z";

fn author(repo: &Repository) -> Author {
    Author { replica: repo.base().replica().id, writer: WriterId([2; 16]) }
}

impl World {
    fn new(encrypted: bool) -> World {
        let memory = MemoryStore::new();
        create(&memory, Making { encrypted, sizes: (128, 256, 512), pack_bytes: 256 << 10 }).unwrap();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        if encrypted {
            let cost = plakar_engine::crypto::slot::Cost::TEST;
            open(store.clone()).unwrap().base().add_key(&*store, "other", b"other", cost, 0).unwrap();
        }
        // Unchanged pushes until the log is folded: the first snapshot is told of by a checkpoint only.
        let mut old = Tree::of_everything(1);
        old.put("only-in-the-first", Node::file(noise(5, 3_000)));
        let mut now = NOW;
        let mut pushed = |tree: &Tree| {
            now += 1;
            push(&store, tree, &Pushing { now, ..Pushing::default() }).clean()
        };
        let first = pushed(&old);
        while count(&memory, "admin/") == 0 {
            pushed(&old);
        }
        // A cleanup took what is covered but what the second push said.
        let covered = |name: &&Name| name.as_str().starts_with("log/");
        assert_eq!(healthy(store.clone()).log().objects().filter(|(name, _)| covered(name)).count(), 0);
        for name in memory.names().iter().filter(covered) {
            assert!(name.as_str().contains(SECOND_PUSH) || memory.tamper_remove(name));
        }
        let seconds = count(&memory, "log/");
        assert_eq!(seconds, 3);
        let mut repo = healthy(store.clone());
        let others: Vec<SessionId> = {
            let snapshots = repo.state().snapshots();
            snapshots.iter().filter(|s| s.row.uuid != first.row.uuid).map(|s| s.session).collect()
        };
        let by = author(&repo);
        write::remove(&mut repo, &*store, &by, &others, NOW).unwrap();
        // Enough chunks for a segment of its own, and a small one.
        let mut tree = Tree::of_everything(1);
        tree.put("many-chunks", Node::file(noise(2, 620_000)));
        let second = pushed(&tree);
        tree.put("new", Node::file(noise(3, 2_000))).remove("many-chunks").remove("c-rows");
        let third = pushed(&tree);
        tree.put("interrupted", Node::file(noise(4, 4_000)));
        let interrupted = AtomicBool::new(false);
        let stopped = push(
            &store,
            &tree,
            &Pushing {
                root: "elsewhere",
                interrupted: Some(&interrupted),
                interrupt_at: Some(40),
                ..Pushing::default()
            },
        );
        assert!(matches!(stopped.result, Err(Error::Interrupted)));

        let repo = healthy(store.clone());
        let trees = [
            (first, old.clone()),
            (second, {
                let mut tree = Tree::of_everything(1);
                tree.put("many-chunks", Node::file(noise(2, 620_000)));
                tree
            }),
            (third, {
                let mut tree = tree.clone();
                tree.remove("interrupted");
                tree
            }),
        ];
        let mut world = World {
            encrypted,
            objects: memory.snapshot(),
            roles: BTreeMap::new(),
            snapshots: Vec::new(),
            announces: HashMap::new(),
            tree,
        };
        world.find_roles(&repo);
        for (pushed, tree) in trees {
            let root = pushed.row.root.node;
            let told_by = world.telling(&repo, pushed.row.uuid);
            let needs = needs(&repo, &root);
            let wanted = expected(&tree);
            assert!(wanted.keys().all(|path| needs.contains_key(path)));
            world.snapshots.push(Known { uuid: pushed.row.uuid, root, wanted, needs, told_by });
        }
        assert_eq!(repo.state().snapshots().len(), 3);
        world
    }

    fn find_roles(&mut self, repo: &Repository) {
        let of_segment = |segment: &SegmentRef| {
            let hash = match segment {
                SegmentRef::Stored(hash) => *hash,
                SegmentRef::Embedded(bytes) => ObjectHash(hash(bytes)),
            };
            let places = repo.index().segments();
            let number = repo.state().segments().iter().position(|(known, _)| *known == hash).unwrap();
            (hash, places[number].packs.clone())
        };
        let state = repo.state();
        for (name, object) in repo.log().objects() {
            let mut packs = BTreeSet::new();
            let mut roles = BTreeSet::new();
            for fact in &object.facts {
                let segments = match fact {
                    Fact::Prepared(prepared) => {
                        packs.extend(&prepared.packs);
                        roles.insert(match state.view.visible(prepared.session) {
                            false => Role::Unfinished,
                            true if prepared.row.is_none() && prepared.packs.is_empty() => Role::Pin,
                            true => Role::Prepared,
                        });
                        &prepared.segments[..]
                    }
                    Fact::Checkpoint(checkpoint) => {
                        roles.insert(Role::Checkpoint);
                        &checkpoint.segments[..]
                    }
                    Fact::Final(_) => {
                        roles.insert(Role::Final);
                        &[]
                    }
                    Fact::Removed(_) => {
                        roles.insert(Role::Removal);
                        &[]
                    }
                    other => panic!("{other:?}"),
                };
                for segment in segments {
                    let (hash, of) = of_segment(segment);
                    if matches!(segment, SegmentRef::Stored(_)) {
                        let name = plakar_engine::index::segment::segment_name(&hash);
                        self.announces.insert(name, of.iter().copied().collect());
                    }
                    packs.extend(of);
                }
            }
            assert_eq!(roles.len(), 1, "{name}: {roles:?}");
            self.roles.insert(name.clone(), roles.pop_first().unwrap());
            self.announces.insert(name.clone(), packs);
        }
        let slots = repo.base().key_slots(PASSPHRASE).unwrap();
        for name in self.objects.keys() {
            let role = match name.as_str().split('/').next().unwrap() {
                "replica" => Role::Replica,
                "config" => Role::Config,
                "keyring" => Role::Keyring,
                "keys" if slots.iter().any(|slot| slot.current && slot.id == name.last()) => Role::Slot,
                "keys" => Role::OtherSlot,
                "packs" => Role::Pack,
                "index" => Role::Segment,
                _ => Role::Covered,
            };
            self.roles.entry(name.clone()).or_insert(role);
        }
    }

    /// The log objects without which a snapshot is not listed.
    fn telling(&self, repo: &Repository, uuid: [u8; 16]) -> BTreeSet<Name> {
        let snapshots = repo.state().snapshots();
        let session = snapshots.iter().find(|s| s.row.uuid == uuid).unwrap().session;
        let tells = |fact: &Fact| match fact {
            Fact::Prepared(prepared) => prepared.session == session && prepared.row.is_some(),
            Fact::Final(ended) => *ended == session,
            Fact::Checkpoint(checkpoint) => checkpoint.published.iter().any(|p| p.session == session),
            _ => false,
        };
        let objects = repo.log().objects().filter(|(_, object)| object.facts.iter().any(tells));
        objects.map(|(name, _)| name.clone()).collect()
    }

    /// What the damage makes unreadable.
    fn lost(&self, name: &Name, damage: Damage, now: Option<&[u8]>) -> Vec<Place> {
        let whole = |packs: &BTreeSet<ObjectHash>| packs.iter().map(|pack| (*pack, 0..u64::MAX)).collect();
        match self.roles[name] {
            Role::Pack => {
                let pack = ObjectHash::from_hex(name.last()).unwrap();
                let before = &self.objects[name];
                let Some(now) = now else { return vec![(pack, 0..u64::MAX)] };
                if matches!(damage, Damage::Swapped | Damage::Random) {
                    return vec![(pack, 0..u64::MAX)];
                }
                let differs = |at: &usize| now.get(*at) != before.get(*at);
                let from = (0..before.len()).find(differs).unwrap();
                let to = (0..before.len()).rev().find(differs).unwrap();
                vec![(pack, from as u64..to as u64 + 1)]
            }
            _ => self.announces.get(name).map(whole).unwrap_or_default(),
        }
    }

    fn damaged(&self, name: &Name, damage: Damage) -> (MemoryStore, Option<Vec<u8>>) {
        let store = MemoryStore::from_snapshot(self.objects.clone());
        let before = &self.objects[name];
        let seed = before.len() as u64 * 31 + name.as_str().len() as u64;
        let bits = before.len() as u64 * 8;
        let changed = match damage {
            Damage::Shorter => store.tamper_truncate(name, before.len() - 1),
            Damage::Half => store.tamper_truncate(name, before.len() / 2),
            Damage::Empty => store.tamper_truncate(name, 0),
            Damage::Removed => store.tamper_remove(name),
            Damage::FirstBit => store.tamper_flip(name, Random(seed).below(8)),
            Damage::LastBit => store.tamper_flip(name, bits - 1 - Random(seed).below(8)),
            Damage::AnyBit(n) => store.tamper_flip(name, Random(seed + n).number()),
            Damage::Random => {
                store.tamper_replace(name, noise(seed, before.len()));
                true
            }
            Damage::Swapped => {
                let folder = name.as_str().split('/').next().unwrap();
                let same = |other: &&Name| *other != name && other.as_str().split('/').next() == Some(folder);
                let other = match self.objects.keys().find(same) {
                    Some(other) => self.objects[other].clone(),
                    // The only one of its kind: another repository's.
                    None => foreign(self.encrypted, folder),
                };
                store.tamper_replace(name, other);
                true
            }
        };
        assert!(changed, "{name} {damage:?}");
        let now = store.get(name, usize::MAX).ok();
        (store, now)
    }

    /// One case. Returns whether opening or a full check noticed.
    fn try_case(&self, name: &Name, damage: Damage) -> bool {
        let role = self.roles[name];
        let case = format!("{role:?} {name}, {damage:?}, encrypted {}", self.encrypted);
        let (memory, now) = self.damaged(name, damage);
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let repo = match open(store.clone()) {
            Ok(repo) => repo,
            Err(e) => {
                let text = e.to_string();
                let kind = name.as_str().split('/').next().unwrap();
                // A key that was wrapped for another `config` does not open.
                let named = text.contains(kind)
                    || (role == Role::Config && text.contains("keys/"))
                    || matches!(e, Error::Unfinished(_) | Error::WrongPassphrase(_) | Error::Unsupported(_));
                assert!(named, "{case}: {text}");
                let plain = matches!(role, Role::Replica | Role::Config | Role::Keyring | Role::Slot);
                assert!(plain, "{case}: the whole repository does not open: {text}");
                let pushed = push(&store, &self.tree, &Pushing { now: NOW + 5_000, ..Pushing::default() });
                assert!(pushed.result.is_err(), "{case}: what cannot be opened is not written to");
                return true;
            }
        };
        let lost = self.lost(name, damage, now.as_deref());
        let is_lost = |place: &Place| {
            lost.iter().any(|(pack, range)| {
                *pack == place.0 && range.start < place.1.end && place.1.start < range.end
            })
        };
        let (mut missing, mut differs) = (0, 0);
        for known in &self.snapshots {
            let snapshots = repo.state().snapshots();
            let Some(snapshot) = snapshots.iter().find(|s| s.row.uuid == known.uuid) else {
                // Under the `config` of another domain nothing in the log is authentic.
                let tells = known.told_by.contains(name) || (role, damage) == (Role::Config, Damage::Swapped);
                assert!(tells, "{case}: a snapshot is gone that it does not tell of");
                missing += 1;
                continue;
            };
            assert_eq!(snapshot.row.root.node, known.root, "{case}");
            let restored = restore(&repo, &known.root);
            for (path, seen) in &restored.entries {
                // Which name of a hard-linked file comes first depends on which came back.
                let (mut seen, mut wanted) = (seen.clone(), known.wanted.get(path).expect(&case).clone());
                (seen.first_name, wanted.first_name) = (None, None);
                assert_eq!(seen, wanted, "{case}: {path:?}: wrong bytes");
            }
            for (path, places) in &known.needs {
                let healthy = !places.iter().any(is_lost);
                if healthy && !path.is_empty() {
                    assert!(restored.entries.contains_key(path), "{case}: {path:?} is healthy");
                }
            }
            differs += usize::from(restored.entries.len() != known.wanted.len());
            let reported = !restored.problems.is_empty();
            assert_eq!(reported, restored.entries.len() != known.wanted.len(), "{case}: reported");
            restored.problems.iter().for_each(|(_, e)| assert!(is_damage(e), "{case}: {e}"));
        }
        let again = repo.state().snapshots().len() + missing - self.snapshots.len();
        assert!(again == 0 || matches!(role, Role::Removal | Role::Checkpoint | Role::Covered), "{case}");

        let (fast, fast_said) = check_all(&repo, true).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (full, said) = check_all(&repo, false).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert!(said.iter().all(|what| what.contains('/') || what.contains(": ")), "{case}: {said:?}");
        assert!(full.damaged > 0 || differs == 0, "{case}: differs and is not found");
        if matches!(role, Role::Pack | Role::Segment | Role::Prepared | Role::Checkpoint) && full.damaged > 0
        {
            // An object of the log that is gone can only be missed: then what it told of is named.
            let gone = damage == Damage::Removed;
            let names = |what: &String| {
                what.contains(name.last()) || (gone && (what.contains("session") || what.contains(":/root")))
            };
            let named = said.iter().any(names);
            assert!(named, "{case}: {said:?}");
        }
        // What is missing altogether needs no reading.
        if full.damaged > 0 && damage == Damage::Removed && (differs > 0 || role == Role::Segment) {
            assert!(fast.damaged > 0, "{case}: {fast_said:?}");
        }

        let outcome = push(&store, &self.tree, &Pushing { now: NOW + 5_000, ..Pushing::default() });
        match outcome.result {
            Ok(pushed) => {
                assert_eq!(outcome.problems, [], "{case}");
                let repo = open(store.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
                let snapshots = repo.state().snapshots();
                let new = *snapshots.iter().find(|s| s.row.uuid == pushed.row.uuid).expect(&case);
                let options = CheckOptions { reads: Reads::All, workers: 1 };
                let mut told = Vec::new();
                let mut problem = |what: &str| told.push(what.to_owned());
                let never = AtomicBool::new(false);
                let new = [(new, Vec::new())];
                let report = check(&repo, &new, &options, &mut problem, &mut |_| {}, &never);
                report.unwrap_or_else(|e| panic!("{case}: {e}"));
                let restored = restore(&repo, &pushed.row.root.node);
                let wanted = expected(&self.tree);
                assert!(restored.entries.iter().all(|(path, seen)| wanted[path].content == seen.content));
                assert_eq!(told.is_empty(), restored.problems.is_empty(), "{case}: {told:?}");
                // A push looks whether packs are there and long enough; to read them all is for the check.
                let unseen = role == Role::Pack && damage != Damage::Removed && damage != Damage::Empty;
                assert!(told.is_empty() || unseen, "{case}: the new snapshot: {told:?}");
            }
            Err(e) => {
                let admin = matches!(role, Role::Checkpoint | Role::Removal);
                assert!(admin || is_damage(&e), "{case}: the next push: {e}");
                assert!(e.to_string().contains(": "), "{case}: {e}");
            }
        }
        full.damaged > 0
    }
}

fn is_damage(e: &Error) -> bool {
    e.is_damage() || e.is_not_found()
}

fn count(store: &MemoryStore, prefix: &str) -> usize {
    store.names().iter().filter(|name| name.as_str().starts_with(prefix)).count()
}

/// An object of another repository.
fn foreign(encrypted: bool, folder: &str) -> Vec<u8> {
    let store = MemoryStore::new();
    // Other chunk sizes, so that unencrypted ones are of different domains as well.
    create(&store, Making { encrypted, sizes: (256, 512, 1024), pack_bytes: 64 << 10 }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let mut tree = Tree::default();
    tree.put("file", Node::file(noise(9, if folder == "index" { 1_500_000 } else { 1_000 })));
    push(&shared, &tree, &Pushing::default()).clean();
    if folder == "admin" {
        let mut repo = open(shared.clone()).unwrap();
        let session = repo.state().snapshots()[0].session;
        let by = author(&repo);
        write::remove(&mut repo, &*shared, &by, &[session], NOW).unwrap();
    }
    let objects = store.snapshot();
    let found = objects.iter().find(|(name, _)| name.as_str().split('/').next() == Some(folder));
    found.unwrap_or_else(|| panic!("{folder}")).1.clone()
}

/// Reads through another source and notes what is asked for.
struct Noting<'a>(&'a Reader, RefCell<Vec<ItemId>>);

impl NodeSource for Noting<'_> {
    fn node(&self, id: &NodeId) -> plakar_engine::Result<Vec<u8>> {
        self.1.borrow_mut().push((*id).into());
        self.0.node(id)
    }
}

/// For every path in a snapshot: where everything lies that restoring it reads.
fn needs(repo: &Repository, root: &NodeId) -> BTreeMap<Path, Vec<Place>> {
    let reader = Reader::new(repo, 4 << 20);
    let mut needs = BTreeMap::new();
    let places = |items: &[ItemId]| {
        let place = |item: &ItemId| {
            let places = repo.index().find(item).unwrap();
            places
                .into_iter()
                .map(|at| (at.pack, at.offset.into()..u64::from(at.offset) + u64::from(at.sealed_len)))
        };
        items.iter().flat_map(place).collect::<Vec<_>>()
    };
    fn walk(
        reader: &Reader,
        node: &NodeId,
        path: &Path,
        above: &[ItemId],
        each: &mut dyn FnMut(Path, &[ItemId]),
    ) {
        let noting = Noting(reader, RefCell::default());
        let mut entries = Directory::open(&noting, node).unwrap();
        let mut all: Vec<Entry> = Vec::new();
        while let Some(entry) = entries.next_entry().unwrap() {
            all.push(entry);
        }
        // Pages are read one after the other: to be sure of an entry all of them are needed.
        let above = [above, &noting.1.borrow()].concat();
        for entry in all {
            let path: Path = path.iter().cloned().chain([entry.name.clone()]).collect();
            let noting = Noting(reader, RefCell::default());
            let mut items = above.clone();
            if let Xattrs::Chunk { id, .. } = &entry.xattrs {
                items.push((*id).into());
            }
            if let Content::File(object) = &entry.content
                && !matches!(object.body, Body::Inline(_))
            {
                let mut chunks = Chunks::open(&noting, object).unwrap();
                while let Some(row) = chunks.next_row().unwrap() {
                    items.push(row.id.into());
                }
                items.extend(noting.1.borrow().iter().copied());
            }
            each(path[1..].to_vec(), &items);
            if let Content::Directory(Subtree { node, .. }) = &entry.content {
                walk(reader, node, &path, &above, each);
            }
        }
    }
    walk(&reader, root, &Path::new(), &[], &mut |path, items| {
        needs.insert(path, places(items));
    });
    needs
}

/// How many objects of each kind there are; each is damaged in every way.
fn run(encrypted: bool, expected: &[(Role, usize)]) {
    let world = World::new(encrypted);
    let mut counts: BTreeMap<Role, usize> = BTreeMap::new();
    let mut quiet: BTreeMap<(Role, &str), usize> = BTreeMap::new();
    for (name, role) in &world.roles {
        *counts.entry(*role).or_default() += 1;
        for damage in DAMAGES {
            let noticed = world.try_case(name, damage);
            match unnoticed(*role, damage, encrypted) {
                None => assert!(noticed, "{role:?} {name}, {damage:?}: nobody noticed"),
                Some(why) if !noticed => *quiet.entry((*role, why)).or_default() += 1,
                Some(_) => {
                    assert!(depends_on_the_bit(*role), "{role:?} {name}, {damage:?}: noticed after all")
                }
            }
        }
    }
    println!("objects × {} kinds of damage: {counts:?}", DAMAGES.len());
    quiet.iter().for_each(|((role, why), n)| println!("{n} × {role:?} not noticed: {why}"));
    assert_eq!(counts, expected.iter().copied().collect());
}

/// The objects of the unencrypted repository: so many of each kind.
const PLAIN: [(Role, usize); 11] = [
    (Role::Replica, 1),
    (Role::Config, 1),
    (Role::Pack, 5),
    (Role::Segment, 1),
    (Role::Prepared, 2),
    (Role::Pin, 2),
    (Role::Final, 2),
    (Role::Unfinished, 1),
    (Role::Covered, 3),
    (Role::Checkpoint, 1),
    (Role::Removal, 1),
];

#[test]
fn damage_to_any_object_of_an_encrypted_repository_is_named_and_never_gives_wrong_bytes() {
    let sealed = [(Role::Keyring, 1), (Role::Slot, 1), (Role::OtherSlot, 1)];
    run(true, &[&PLAIN[..], &sealed].concat());
}

#[test]
fn damage_to_any_object_of_a_plain_repository_is_named_and_never_gives_wrong_bytes() {
    run(false, &PLAIN);
}

/// A pack with a thousand chunks is gone: the log is read again to see where they are now, once and not for each.
#[test]
fn a_lost_pack_costs_one_more_look_at_the_log() {
    let memory = MemoryStore::new();
    create(&memory, Making { pack_bytes: 1 << 20, ..Making::default() }).unwrap();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let mut tree = Tree::default();
    for n in 0..300 {
        tree.put(&format!("{n}"), Node::file(noise(n, 3_000)));
    }
    push(&store, &tree, &Pushing::default()).clean();
    let counting = Arc::new(Counting::new(memory.clone()));
    let repo = open(counting.clone()).unwrap();
    memory.names().iter().filter(|name| name.as_str().starts_with("packs/")).for_each(|pack| {
        // The directories stay readable: all but the largest.
        if memory.len(pack).unwrap() > 500_000 {
            memory.tamper_remove(pack);
        }
    });
    counting.reset();
    let root = repo.state().snapshots()[0].row.root.node;
    let restored = restore(&repo, &root);
    let (_, said) = check_all(&repo, false).unwrap();
    assert!(restored.problems.len() >= 300 || restored.problems[0].0.is_empty(), "{restored:?}");
    assert!(!said.is_empty());
    assert!(counting.counts().list < 20, "{:?}", counting.counts());
}
