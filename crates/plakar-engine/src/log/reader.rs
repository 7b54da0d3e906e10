//! Reading the log: all of it, every time.

use super::fact::Fact;
use super::object::{self, Class, LOG_BYTES_MAX};
use crate::crypto::seal::Sealer;
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use plakar_store::{Name, ReadStore};
use std::collections::{BTreeMap, HashSet};

/// How often the listings may differ before it is given up: writers do not put that fast.
const ROUNDS_MAX: usize = 100;

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
/// cache and never only what is newer: a slow writer's Prepared may appear under an old name. Objects are
/// immutable, so the bytes of one that was read before need not be read again.
#[derive(Default)]
pub struct Log {
    objects: BTreeMap<Name, LogObject>,
    covered: HashSet<ObjectHash>,
    /// What is covered and still there.
    still_there: Vec<ObjectHash>,
    damaged: BTreeMap<Name, Error>,
}

impl Log {
    /// Reads the log as it is now.
    ///
    /// # Errors
    /// Store errors. Objects that are damaged are no error here: see [`damaged`](Self::damaged).
    pub fn read(&mut self, store: &dyn ReadStore, sealer: &Sealer) -> Result<()> {
        let mut names = list(store)?;
        let mut missed = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let gone = self.fetch(store, sealer, &names)?;
            let again = list(store)?;
            // What is listed before and after, and not there in between, is asked for once more.
            if again == names && gone == missed {
                let hashes = names.keys().filter_map(object::hash_in_name);
                self.still_there = hashes.filter(|hash| self.covered.contains(hash)).collect();
                self.objects.retain(|name, _| names.contains_key(name));
                self.damaged.retain(|name, _| names.contains_key(name));
                let lost = |name: Name| (name.clone(), Error::damaged(name, "is listed, but is not there"));
                self.damaged.extend(gone.into_iter().map(lost));
                return Ok(());
            }
            (names, missed) = (again, gone);
        }
        Err(Error::Refused(format!("{}: the log changes faster than it can be read", store.location())))
    }

    /// Reads what is new of `names`. Returns what was not there.
    fn fetch(
        &mut self,
        store: &dyn ReadStore,
        sealer: &Sealer,
        names: &BTreeMap<Name, i64>,
    ) -> Result<Vec<Name>> {
        let mut gone = Vec::new();
        // Checkpoints are in `admin/` and mostly younger than what they cover: meeting them first saves requests.
        let (admin, log): (Vec<_>, Vec<_>) =
            names.iter().rev().partition(|(name, _)| name.as_str().starts_with(Class::Admin.folder()));
        for (name, received_ms) in admin.into_iter().chain(log) {
            let hash = object::hash_in_name(name);
            let known = self.objects.contains_key(name) || hash.is_some_and(|h| self.covered.contains(&h));
            if known {
                continue;
            }
            let facts = match store.get(name, LOG_BYTES_MAX) {
                Ok(bytes) => object::decode(name, bytes, sealer),
                Err(e) => Err(e.into()),
            };
            match facts {
                Ok(facts) => {
                    for fact in &facts {
                        if let Fact::Checkpoint(checkpoint) = fact {
                            self.covered.extend(&checkpoint.covers);
                        }
                    }
                    self.damaged.remove(name);
                    self.objects.insert(name.clone(), LogObject { facts, received_ms: *received_ms });
                }
                // Gone since it was listed: the next round shows what stands for it.
                Err(e) if e.is_not_found() => gone.push(name.clone()),
                Err(e) if e.is_damage() => drop(self.damaged.insert(name.clone(), e)),
                Err(e) => return Err(e),
            }
        }
        let covered = &self.covered;
        let is_covered = |name: &Name| object::hash_in_name(name).is_some_and(|h| covered.contains(&h));
        self.objects.retain(|name, _| !is_covered(name));
        self.damaged.retain(|name, _| !is_covered(name));
        gone.retain(|name| !is_covered(name));
        Ok(gone)
    }

    /// Objects that a checkpoint covers and that are still there: the next checkpoint covers them too, because it
    /// will be all that a reader looks at.
    pub fn covered(&self) -> &[ObjectHash] {
        &self.still_there
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

fn list(store: &dyn ReadStore) -> Result<BTreeMap<Name, i64>> {
    let mut names = BTreeMap::new();
    for class in [Class::Log, Class::Admin] {
        store.list(class.folder(), &mut |object| {
            names.insert(object.name, object.received_ms);
            Ok(())
        })?;
    }
    Ok(names)
}
