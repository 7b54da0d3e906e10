//! Reading the log: all of it, every time.

use super::fact::Fact;
use super::object::{self, Class, LOG_BYTES_MAX};
use crate::crypto::seal::Sealer;
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use plakar_store::{Listed, Name, Range, ReadStore};
use std::collections::{BTreeMap, HashSet};

/// How often the listings may differ before it is given up: writers do not put that fast.
const ROUNDS_MAX: usize = 100;

/// New objects that have no more bytes together are asked for together, far away.
const TOGETHER_BYTES: u64 = 4 << 20;

/// So many objects of `log/` are read though a Checkpoint may cover them, to wait once less.
const FEW: usize = 64;

/// One log object that counts: its facts and when the store received it.
pub struct LogObject {
    /// What it says.
    pub facts: Vec<Fact>,
    /// When the store received it, in milliseconds since 1970.
    pub received_ms: i64,
}

/// The log as of the last reading.
///
/// Reading lists `log/`, then `admin/`, whole, again until two rounds show the same names; never from a
/// cache and never only what is newer: a slow writer's Prepared may appear under an old name. A store that can tell what
/// was there at one moment is asked for that instead ([`ReadStore::list_at_once`]). Objects are immutable and named by
/// their hash, so the bytes of one that was read before need not be read again, were it by an earlier process
/// ([`Cached`](plakar_store::wrap::Cached)).
#[derive(Default)]
pub struct Log {
    objects: BTreeMap<Name, LogObject>,
    covered: HashSet<ObjectHash>,
    /// What is covered and still there.
    still_there: Vec<ObjectHash>,
    damaged: BTreeMap<Name, Error>,
    /// What the store told last of one moment, if it can.
    told: Vec<Listed>,
}

impl Log {
    /// Reads the log as it is now.
    ///
    /// # Errors
    /// Store errors. Objects that are damaged are no error here: see [`damaged`](Self::damaged).
    pub fn read(&mut self, store: &dyn ReadStore, sealer: &Sealer) -> Result<()> {
        if self.read_at_once(store, sealer)? {
            return Ok(());
        }
        let far = !store.capabilities().local;
        let mut names = list(store)?;
        let mut missed = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let (gone, again) = if far {
                // The second listing need not wait for what the first one named.
                std::thread::scope(|scope| {
                    let again = scope.spawn(|| list(store));
                    let gone = self.fetch(store, sealer, &names);
                    (gone, again.join().expect("a listing does not panic"))
                })
            } else {
                (self.fetch(store, sealer, &names), list(store))
            };
            let (gone, again) = (gone?, again?);
            // What is listed before and after, and not there in between, is asked for once more.
            if again == names && gone == missed {
                self.settle(&names, gone);
                return Ok(());
            }
            (names, missed) = (again, gone);
        }
        Err(Error::Refused(format!("{}: the log changes faster than it can be read", store.location())))
    }

    /// Reads it from a store that can tell what is there at one moment. Whether this one can, and what it told is there.
    fn read_at_once(&mut self, store: &dyn ReadStore, sealer: &Sealer) -> Result<bool> {
        // Twice: what is gone by the time it is read is not listed again.
        for _ in 0..2 {
            let folders = [Class::Log.folder(), Class::Admin.folder()];
            let Some(told) = store.list_at_once(&folders, &self.told)? else { return Ok(false) };
            let named =
                |one: &Listed| (one.name.clone(), Named { len: one.len, received_ms: one.received_ms });
            let names: Names = told.iter().map(named).collect();
            self.told = told;
            if self.fetch(store, sealer, &names)?.is_empty() {
                self.settle(&names, Vec::new());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was read is what was there at a moment, but for what is gone.
    fn settle(&mut self, names: &Names, gone: Vec<Name>) {
        let hashes = names.keys().filter_map(object::hash_in_name);
        self.still_there = hashes.filter(|hash| self.covered.contains(hash)).collect();
        self.objects.retain(|name, _| names.contains_key(name));
        self.damaged.retain(|name, _| names.contains_key(name));
        let lost = |name: Name| (name.clone(), Error::damaged(name, "is listed, but is not there"));
        self.damaged.extend(gone.into_iter().map(lost));
    }

    /// Reads what is new of `names`. Returns what was not there.
    fn fetch(&mut self, store: &dyn ReadStore, sealer: &Sealer, names: &Names) -> Result<Vec<Name>> {
        let mut gone = Vec::new();
        let news: Vec<_> = names.iter().rev().filter(|(name, _)| !self.knows(name)).collect();
        // Checkpoints are in `admin/` and mostly younger than what they cover: meeting them first saves requests, but waits
        // once more where the store is far.
        let (mut admin, mut log): (Vec<_>, Vec<_>) =
            news.into_iter().partition(|(name, _)| name.as_str().starts_with(Class::Admin.folder()));
        if !store.capabilities().local && log.len() <= FEW {
            admin.append(&mut log);
        }
        for mut group in [admin, log] {
            group.retain(|(name, _)| !self.knows(name));
            for some in portions(&group) {
                self.fetch_some(store, sealer, some, &mut gone)?;
            }
        }
        let covered = &self.covered;
        let is_covered = |name: &Name| object::hash_in_name(name).is_some_and(|h| covered.contains(&h));
        self.objects.retain(|name, _| !is_covered(name));
        self.damaged.retain(|name, _| !is_covered(name));
        gone.retain(|name| !is_covered(name));
        Ok(gone)
    }

    /// Reads these. Adds to `gone` what was not there.
    fn fetch_some(
        &mut self,
        store: &dyn ReadStore,
        sealer: &Sealer,
        some: &[(&Name, &Named)],
        gone: &mut Vec<Name>,
    ) -> Result<()> {
        let mut together = ask(store, some).into_iter();
        for &(name, object) in some {
            let asked = together.next();
            if self.knows(name) {
                continue;
            }
            let get = || store.get(name, LOG_BYTES_MAX);
            let read = |bytes: plakar_store::Result<Vec<u8>>| object::decode(name, bytes?, sealer);
            let facts = match read(asked.unwrap_or_else(get)) {
                // It may be that only what is kept of the store is damaged.
                Err(e) if e.is_damage() && store.doubt() => read(get()),
                facts => facts,
            };
            match facts {
                Ok(facts) => {
                    for fact in &facts {
                        if let Fact::Checkpoint(checkpoint) = fact {
                            self.covered.extend(&checkpoint.covers);
                        }
                    }
                    self.damaged.remove(name);
                    let received_ms = object.received_ms;
                    self.objects.insert(name.clone(), LogObject { facts, received_ms });
                }
                // Gone since it was listed: the next round shows what stands for it.
                Err(e) if e.is_not_found() => gone.push(name.clone()),
                Err(e) if e.is_damage() => drop(self.damaged.insert(name.clone(), e)),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn knows(&self, name: &Name) -> bool {
        self.objects.contains_key(name)
            || object::hash_in_name(name).is_some_and(|hash| self.covered.contains(&hash))
    }

    /// Objects that a checkpoint covers and that are still there: the next checkpoint covers them too, because it
    /// will be all that a reader looks at.
    pub fn covered(&self) -> &[ObjectHash] {
        &self.still_there
    }

    /// The hashes of all objects that a checkpoint covers, whether they are still there or not.
    pub(crate) fn covered_hashes(&self) -> impl Iterator<Item = ObjectHash> {
        self.covered.iter().copied()
    }

    /// The objects that count: those that no checkpoint covers.
    pub fn objects(&self) -> impl Iterator<Item = (&Name, &LogObject)> {
        self.objects.iter()
    }

    /// Objects that could not be read as what they must be. What they said is not known: one in `log/` may have been
    /// a snapshot; with one in `admin/` nothing may be written, because it may have been a mark.
    pub fn damaged(&self) -> impl Iterator<Item = (&Name, &Error)> {
        self.damaged.iter()
    }
}

/// What is listed of a log object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named {
    len: u64,
    received_ms: i64,
}

type Names = BTreeMap<Name, Named>;

/// Lists both folders, on a store far away at the same time. That is as good as one after the other: names are never
/// used twice, so what two rounds agree on is what was there between them.
fn list(store: &dyn ReadStore) -> Result<Names> {
    let folder = |class: Class| -> Result<Names> {
        let mut names = Names::new();
        store.list(class.folder(), &mut |object| {
            names.insert(object.name, Named { len: object.len, received_ms: object.received_ms });
            Ok(())
        })?;
        Ok(names)
    };
    let (log, admin) = if store.capabilities().local {
        let log = folder(Class::Log)?;
        (Ok(log), folder(Class::Admin))
    } else {
        std::thread::scope(|scope| {
            let admin = scope.spawn(|| folder(Class::Admin));
            (folder(Class::Log), admin.join().expect("a listing does not panic"))
        })
    };
    let mut names = log?;
    names.append(&mut admin?);
    Ok(names)
}

/// These objects in portions that are little enough to be asked for together.
fn portions<'g, 'n>(group: &'g [(&'n Name, &'n Named)]) -> impl Iterator<Item = &'g [(&'n Name, &'n Named)]> {
    let mut rest = group;
    std::iter::from_fn(move || {
        let mut bytes = 0u64;
        let fits = |(_, object): &&(&Name, &Named)| {
            bytes = bytes.saturating_add(object.len);
            bytes <= TOGETHER_BYTES
        };
        let some = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (portion, others) = rest.split_at(some);
        rest = others;
        Some(portion).filter(|portion| !portion.is_empty())
    })
}

/// Reads these objects in one request, if that is one from far away and not for a single great one.
fn ask(store: &dyn ReadStore, some: &[(&Name, &Named)]) -> Vec<plakar_store::Result<Vec<u8>>> {
    if store.capabilities().local || some.iter().any(|(_, object)| object.len > TOGETHER_BYTES) {
        return Vec::new();
    }
    let range = |(name, object): &(&Name, &Named)| Range {
        name: (*name).clone(),
        offset: 0,
        len: object.len as usize,
    };
    store.get_ranges(&Vec::from_iter(some.iter().map(range)))
}
