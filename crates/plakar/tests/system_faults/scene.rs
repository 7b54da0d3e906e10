//! Repositories in which every command has something to do, and what is to be seen of them.

use crate::common::tree::{Look, look, noise};
use crate::common::{Ran, World};
use plakar_engine::repository::{Locked, Repository};
use plakar_store::{DirStore, Name, ReadStore, Store};
use plakar_store_sqlite::SqliteStore;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

const SECRET: &str = "secret";

/// Names of the repositories: that which commands are about, one of the same domain with snapshots of both, a clone that
/// lacks the last ones, and one that is still to be made.
pub const PLACES: [&str; 4] = ["repo", "other", "behind", "new"];

pub struct Scene {
    pub world: World,
    sqlite: bool,
    /// Snapshots: the last one, the first one, and one that was removed.
    id: String,
    pub old: String,
    gone: String,
    /// A pack that `other` has the contents of.
    pack: Name,
    /// The checkpoint in which a cleanup said again what was said before it.
    checkpoint: Name,
}

/// What is to be seen of all of it, but for names that are drawn anew each time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Of each repository that opens: its snapshots,
    pub snapshots: BTreeMap<&'static str, BTreeSet<String>>,
    /// how many key slots,
    slots: BTreeMap<&'static str, usize>,
    /// and how many packs it has.
    pub packs: BTreeMap<&'static str, usize>,
    /// What was restored.
    out: BTreeMap<PathBuf, Look>,
}

impl Seen {
    /// Whether another shows the same, where a snapshot that was made may have another name. Packs do not count: one that
    /// failed may have left some.
    pub fn is_like(&self, other: &Seen) -> bool {
        let sizes = |seen: &Seen| -> Vec<_> { seen.snapshots.values().map(BTreeSet::len).collect() };
        let out =
            |seen: &Seen| -> Vec<_> { seen.out.iter().map(|(p, look)| (p.clone(), look.content)).collect() };
        let places = |seen: &Seen| -> Vec<_> { seen.snapshots.keys().copied().collect() };
        places(self) == places(other)
            && sizes(self) == sizes(other)
            && self.slots == other.slots
            && out(self) == out(other)
    }
}

impl Scene {
    pub fn new(sqlite: bool) -> Scene {
        let mut world = World::in_memory().with("PLAKAR_PASSPHRASE", SECRET);
        let place = |name: &str| if sqlite { format!("sqlite://{name}") } else { name.to_owned() };
        world.set("PLAKAR_REPOSITORY", &place("repo"));
        for n in 0..6 {
            world.write(&format!("data/{n}"), noise(n, 10_000));
        }
        world.write("key", "more secret");
        world.ok("create");
        world.ok(&format!("create -like {} {}", place("repo"), place("other")));
        let push = |on: &str| {
            world.ok(&format!("on {} push data", place(on)));
            world.ok(&format!("on {} ls", place(on))).lines().last().unwrap()[20..58].trim().to_owned()
        };
        let old = push("repo");
        world.ok(&format!("clone {}", place("behind")));
        world.write("data/gone", noise(10, 10_000));
        let gone = push("repo");
        world.ok(&format!("sync {}", place("other")));
        world.ok("cleanup");
        let store = open_store(&world, sqlite, "repo");
        let (pack, checkpoint) = (names(&*store, "packs/").remove(0), names(&*store, "admin/").remove(0));
        drop(store);
        world.write("data/elsewhere", noise(11, 10_000));
        push("other");
        world.ok(&format!("rm {gone}"));
        world.shell("rm data/gone data/elsewhere").succeeded();
        world.write("data/more", noise(12, 10_000));
        let id = push("repo");
        world.shell("mkdir ../saved && cp -a . ../saved/work && cp -a ../home ../saved").succeeded();
        Scene { world, sqlite, id, old, gone, pack, checkpoint }
    }

    /// All as it was at first; for what mends, something is missing.
    pub fn restore(&self, words: &str) {
        let store = || open_store(&self.world, self.sqlite, "repo");
        self.world.shell("cd .. && rm -rf work home && cp -a saved/work saved/home .").succeeded();
        match words.split(' ').next() {
            Some("heal") => store().delete(&self.pack).unwrap(),
            Some("repair") => store().delete(&self.checkpoint).unwrap(),
            _ => {}
        }
    }

    /// The words, with names in the place of what stands for them.
    pub fn words(&self, words: &str) -> String {
        let place = |name: &str| if self.sqlite { format!("sqlite://{name}") } else { name.to_owned() };
        let words = words.replace("ID", &self.id).replace("OLD", &self.old).replace("GONE", &self.gone);
        let words = words.replace("DATA", &self.world.text("work/data"));
        let words = words.replace("OTHER", &place("other")).replace("BEHIND", &place("behind"));
        words.replace("NEW", &place("new"))
    }

    pub fn run(&self, words: &str) -> Ran {
        self.world.line(&self.words(words))
    }

    /// Proves all that can be restored from these, as far as they are there.
    pub fn check(&self, places: &[&str]) {
        for place in places.iter().filter(|place| self.open(place).is_some()) {
            let on = if self.sqlite { format!("sqlite://{place}") } else { (*place).to_owned() };
            self.world.ok(&format!("on {on} check"));
        }
    }

    /// Everything that repositories consist of.
    pub fn objects(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for place in ["repo", "other", "behind"].map(|place| self.world.path("work").join(place)) {
            match self.sqlite {
                true => {
                    let name = place.to_str().unwrap();
                    paths.extend(["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{name}{end}"))));
                }
                false => {
                    paths.extend(look(&place).into_keys().map(|path| match path.as_os_str().is_empty() {
                        true => place.clone(),
                        false => place.join(path),
                    }))
                }
            }
        }
        paths
    }

    pub fn look(&self) -> Seen {
        let mut seen = Seen::default();
        for place in PLACES {
            if let Some((repo, store)) = self.open(place) {
                let uuids = repo.state().snapshots().iter().map(|one| one.row.uuid_text()).collect();
                seen.snapshots.insert(place, uuids);
                seen.slots.insert(place, names(&*store, "keys/").len());
                seen.packs.insert(place, names(&*store, "packs/").len());
            }
        }
        let out = self.world.path("work/out");
        if out.exists() {
            seen.out = look(&out);
        }
        seen
    }

    fn open(&self, place: &str) -> Option<(Repository, Arc<dyn Store>)> {
        if !self.world.path("work").join(place).exists() {
            return None;
        }
        let store = open_store(&self.world, self.sqlite, place);
        let read: Arc<dyn ReadStore> = store.clone();
        let opened = Locked::open(read).and_then(|l| l.unlock(Some(SECRET.as_bytes())));
        opened.and_then(|unlocked| unlocked.open()).ok().map(|repo| (repo, store))
    }
}

fn open_store(world: &World, sqlite: bool, place: &str) -> Arc<dyn Store> {
    let path = world.path("work").join(place);
    if sqlite { Arc::new(SqliteStore::open(path).unwrap()) } else { Arc::new(DirStore::open(path).unwrap()) }
}

fn names(store: &dyn Store, prefix: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let each = &mut |listed: plakar_store::Listed| {
        names.push(listed.name);
        Ok(())
    };
    store.list(prefix, each).unwrap();
    names.sort();
    names
}
