//! Random histories of three repositories: pushes, removals, syncs in all directions. A model says what each shows
//! after each step; in the end everything comes back as it was pushed, and the three agree.

use plakar_engine::log::fact::Row;
use plakar_engine::sync::Selection;
use plakar_store::wrap::Counting;
use plakar_store::{DirStore, MemoryStore, Store};
use plakar_store_sqlite::SqliteStore;
use plakar_testkit::source::{Node, Piece, Random, Tree, What};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One repository, and what it must show.
struct Side {
    store: Arc<Counting<Arc<dyn Store>>>,
    shown: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// Sides with the same number are of one domain.
    domain: u32,
}

impl Side {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

struct History {
    sides: [Side; 3],
    known: Known,
    random: Random,
    tree: Tree,
    now: i64,
}

/// How the three are related.
#[derive(Debug, Clone, Copy)]
enum Three {
    Plain,
    Copies,
    /// The first and the last are copies, the one between has keys of its own.
    Between,
    /// Encrypted, not encrypted, not encrypted with other chunk sizes.
    Mixed,
}

fn stores(three: Three) -> [(MemoryStore, u32); 3] {
    let made = |encrypted, sizes| {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, sizes, pack_bytes: 16 << 10 }).unwrap();
        store
    };
    let (sizes, other) = (SIZES, (128, 512, 2048));
    match three {
        Three::Plain => [0, 1, 2].map(|_| (made(false, sizes), 0)),
        Three::Copies => {
            let first = made(true, sizes);
            let copies = [copy_of(&first.snapshot()), copy_of(&first.snapshot())];
            let [second, third] = copies;
            [(first, 0), (second, 0), (third, 0)]
        }
        Three::Between => {
            let first = made(true, sizes);
            let copy = copy_of(&first.snapshot());
            [(first, 0), (made(true, sizes), 1), (copy, 0)]
        }
        Three::Mixed => [(made(true, sizes), 0), (made(false, sizes), 1), (made(false, other), 2)],
    }
}

impl History {
    fn new(seed: u64, stores: [(Arc<dyn Store>, u32); 3]) -> History {
        let side = |(store, domain)| Side {
            store: Arc::new(Counting::new(store)),
            shown: BTreeSet::new(),
            removed: BTreeSet::new(),
            domain,
        };
        let tree = Tree::of_everything(seed);
        let sides = stores.map(side);
        History { sides, known: Known::new(), random: Random(seed), tree, now: 1_700_000_000 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    /// Changes the tree as people do.
    fn edit(&mut self) {
        for _ in 0..1 + self.below(6) {
            let paths: Vec<_> = self.tree.0.keys().cloned().collect();
            if paths.is_empty() {
                break;
            }
            let at = paths[self.below(paths.len())].clone();
            let text: Vec<_> = at.iter().map(|name| String::from_utf8_lossy(name)).collect();
            let (text, fresh) = (text.join("/"), format!("new-{}", self.below(40)));
            if at[0] == fresh.as_bytes() {
                continue;
            }
            match self.below(7) {
                0 => _ = self.tree.remove(&text),
                1 => _ = self.tree.rename(&text, &fresh),
                2 | 3 => {
                    let len = self.below(6_000);
                    let owner = self.below(3) as u32;
                    self.tree.put(&fresh, Node::file(self.random.bytes(len)).owned_by(owner));
                }
                4 => self.tree.0.get_mut(&at).unwrap().meta.mode ^= 0o20,
                _ => {
                    let (from, byte) = (self.random.number(), self.random.number() as u8);
                    let node = self.tree.0.get_mut(&at).unwrap();
                    if let What::File(_) = node.what {
                        let mut bytes = node.bytes();
                        let from = from as usize % (bytes.len() + 1);
                        bytes.insert(from, byte);
                        node.what = What::File(vec![Piece::Data(bytes)]);
                        node.meta.mtime.nanos = (u32::from(byte) << 8) + from as u32;
                        node.same_file = 0;
                    }
                }
            }
        }
    }

    fn push(&mut self) {
        let side = self.below(3);
        self.edit();
        // Sometimes at the same second as the one before.
        self.now += self.below(3) as i64;
        let root = ["root", "other"][self.below(2)];
        let pushing = Pushing { now: self.now, root, ..Pushing::default() };
        let uuid = push(&self.sides[side].store(), &self.tree, &pushing).clean().row.uuid_text();
        self.known.insert(uuid.clone(), expected(&self.tree));
        self.sides[side].shown.insert(uuid);
    }

    fn remove(&mut self) {
        let side = self.below(3);
        let number = self.below(self.sides[side].shown.len().max(1));
        if let Some(uuid) = self.sides[side].shown.iter().nth(number).cloned() {
            remove(&self.sides[side].store(), &uuid);
            self.sides[side].shown.remove(&uuid);
            self.sides[side].removed.insert(uuid);
        }
    }

    fn sync(&mut self, from: usize, to: usize, resurrect: bool, follow_removals: bool, select: bool) {
        let source = open(self.sides[from].store()).unwrap();
        let mut selected = self.sides[from].shown.clone();
        if select {
            selected.retain(|_| self.random.below(2) == 0);
        }
        let snapshots = source.state().snapshots();
        let only = snapshots.iter().filter(|s| selected.contains(&s.row.uuid_text())).map(|s| s.session);
        let only = select.then(|| only.collect());
        let before = self.sides[to].shown.clone();
        let [from, to] = self.sides.get_disjoint_mut([from, to]).unwrap();
        let send = |uuid: &&String| !to.shown.contains(*uuid) && (resurrect || !to.removed.contains(*uuid));
        let sent: BTreeSet<_> = selected.iter().filter(send).cloned().collect();
        let goes = |uuid: &&String| from.removed.contains(*uuid) && !from.shown.contains(*uuid);
        let gone: BTreeSet<_> = to.shown.iter().filter(goes).filter(|_| follow_removals).cloned().collect();
        to.shown.extend(sent.iter().cloned());
        to.shown.retain(|uuid| !gone.contains(uuid));
        to.removed.extend(gone.iter().cloned());

        let selection = Selection { only, resurrect, follow_removals };
        let store = to.store();
        from.store.reset();
        let destination = open(store.clone()).unwrap();
        to.store.reset();
        let syncing = Syncing { selection, ..Syncing::default() };
        let (heard, result) = sync_opened(&source, destination, &store, &syncing);
        let report = result.unwrap().0;
        assert_eq!(heard.withheld, []);
        assert_eq!(heard.sent.iter().cloned().collect::<BTreeSet<_>>(), sent);
        assert_eq!(heard.sent.len(), sent.len(), "each once");
        assert_eq!(report.removed, gone.len() as u64);
        let counts = from.store.counts();
        assert_eq!((counts.put, counts.delete, counts.barrier), (0, 0, 0), "the source is only read");
        if sent.is_empty() && gone.is_empty() {
            assert_eq!((counts.requests(), to.store.counts().requests()), (0, 0));
        }
        if sent.is_empty() {
            assert!(to.shown.is_subset(&before));
        }
    }

    fn shows_what_it_must(&self) {
        for side in &self.sides {
            let repo = open(side.store()).unwrap();
            let uuids: Vec<_> = repo.state().snapshots().iter().map(|s| s.row.uuid_text()).collect();
            assert_eq!(uuids.len(), side.shown.len());
            assert_eq!(uuids.into_iter().collect::<BTreeSet<_>>(), side.shown);
        }
    }

    fn rows(&self, side: usize) -> Vec<Row> {
        let repo = open(self.sides[side].store()).unwrap();
        repo.state().snapshots().iter().map(|s| s.row.clone()).collect()
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.below(10) {
                0..4 => self.push(),
                4 => self.remove(),
                _ => {
                    let from = self.below(3);
                    let to = (from + 1 + self.below(2)) % 3;
                    let [resurrect, follow, select] = [4, 4, 3].map(|n| self.below(n) == 0);
                    self.sync(from, to, resurrect, follow, select);
                    if self.below(3) == 0 {
                        self.sync(to, from, false, false, false);
                    }
                }
            }
            self.shows_what_it_must();
        }
        for side in &self.sides {
            assert_eq!(shown(side.store(), &self.known, "in the end"), side.shown);
        }
        // Round and round: twice, since what the last has must come to the one before it.
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2)] {
            self.sync(from, to, true, false, false);
        }
        let wanted = lines(&open(self.sides[0].store()).unwrap());
        for side in &self.sides {
            assert_eq!(lines(&open(side.store()).unwrap()), wanted, "all three agree");
            shown(side.store(), &self.known, "after the ring");
        }
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            if self.sides[a].domain == self.sides[b].domain {
                assert_eq!(self.rows(a), self.rows(b), "within a domain rows are equal, roots and all");
            }
            // And nothing is left to do.
            self.sync(a, b, true, true, false);
            self.sync(b, a, true, true, false);
        }
    }
}

fn in_memory(three: Three, seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        println!("{three:?}, seed {seed}");
        let stores = stores(three).map(|(store, domain)| (Arc::new(store) as Arc<dyn Store>, domain));
        History::new(seed, stores).run(steps);
    }
}

#[test]
fn three_plain_repositories_agree_after_any_history() {
    in_memory(Three::Plain, 0..6, 24);
}

#[test]
fn three_copies_of_an_encrypted_repository_agree_after_any_history() {
    in_memory(Three::Copies, 10..16, 24);
}

#[test]
fn two_copies_with_another_domain_between_them_agree_after_any_history() {
    in_memory(Three::Between, 20..26, 20);
}

#[test]
fn three_domains_agree_after_any_history() {
    in_memory(Three::Mixed, 30..36, 20);
}

/// A folder that goes away in the end.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn repositories_in_memory_in_a_folder_and_in_a_database_agree_after_any_history() {
    for (three, seed) in [(Three::Copies, 40), (Three::Mixed, 41), (Three::Between, 42)] {
        println!("{three:?}, seed {seed}");
        let name = format!("plakar-sync-{}", plakar_engine::id::SessionId::random());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        let mut number = 0;
        let stores = stores(three).map(|(store, domain)| {
            number += 1;
            if number == 1 {
                return (Arc::new(store) as Arc<dyn Store>, domain);
            }
            let place = folder.0.join(number.to_string());
            let other: Arc<dyn Store> = match number {
                2 => Arc::new(DirStore::create(place).unwrap()),
                _ => Arc::new(SqliteStore::create(place).unwrap()),
            };
            store.snapshot().iter().for_each(|(name, bytes)| other.put(name, &[bytes]).unwrap());
            other.barrier().unwrap();
            (other, domain)
        });
        History::new(seed, stores).run(14);
    }
}
