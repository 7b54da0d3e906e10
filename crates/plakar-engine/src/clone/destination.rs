//! One destination of a clone: what it has, what was done to it, and whether it failed.

use super::CloneReport;
use super::copy::There;
use super::listing::{Listing, list};
use super::object::{Kind, noted};
use crate::error::{Error, Result};
use plakar_store::{Name, Store};
use std::collections::{BTreeSet, HashMap};

/// A store that is written to.
pub struct Destination<'a> {
    pub store: &'a dyn Store,
    /// What it has under names that are copied.
    has: HashMap<Name, Had>,
    /// What was damaged when it was copied, by an earlier run, and was not looked at again yet.
    noted: BTreeSet<Name>,
    objects: u64,
    bytes: u64,
    /// Objects of which a problem was told.
    damaged: BTreeSet<Name>,
    failed: Option<Error>,
}

struct Had {
    len: u64,
    /// The length for which it was found good enough: the source's, as listed.
    listed: u64,
    /// Whether it was there before this run.
    before: bool,
}

impl<'a> Destination<'a> {
    /// Looks at what a store has.
    ///
    /// # Errors
    /// Store errors.
    pub fn new(store: &'a dyn Store) -> Result<Destination<'a>> {
        let mut has = HashMap::new();
        for kind in Kind::ALL {
            let objects = list(store, kind)?.into_iter();
            has.extend(objects.map(|(name, len)| (name, Had { len, listed: len, before: true })));
        }
        let noted = noted(store)?;
        Ok(Destination { store, has, noted, objects: 0, bytes: 0, damaged: BTreeSet::new(), failed: None })
    }

    /// One that failed before anything was done.
    pub fn failed(store: &'a dyn Store, error: Error) -> Destination<'a> {
        let (has, noted, damaged) = Default::default();
        Destination { store, has, noted, objects: 0, bytes: 0, damaged, failed: Some(error) }
    }

    /// Whether it goes on.
    pub fn is_alive(&self) -> bool {
        self.failed.is_none()
    }

    /// It failed: it gets nothing more.
    pub fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    /// Does something to it, unless it failed; when that fails, it did.
    pub fn attempt(&mut self, deed: impl FnOnce(&mut Destination<'a>) -> Result<()>) {
        if self.is_alive()
            && let Err(e) = deed(self)
        {
            self.fail(e);
        }
    }

    /// What is there in place of an object that is to be copied; `None` when there is nothing to do.
    pub fn lacks(&self, name: &Name, len: u64) -> Option<There> {
        match self.has.get(name) {
            None => Some(There::Nothing),
            Some(had) => (had.listed != len || self.noted.contains(name)).then_some(There::Other),
        }
    }

    /// Whether it has nothing under this name.
    pub fn is_missing(&self, name: &Name) -> bool {
        !self.has.contains_key(name)
    }

    /// It has an object now: just `put`, or kept.
    pub fn delivered(&mut self, name: Name, listed: u64, len: u64, put: bool) {
        if put {
            self.objects += 1;
            self.bytes += len;
        }
        self.noted.remove(&name);
        let before = !put && self.has.get(&name).is_some_and(|had| had.before);
        self.has.insert(name, Had { len, listed, before });
    }

    /// A problem with an object was told that concerns this destination.
    pub fn damaged(&mut self, name: &Name) {
        self.damaged.insert(name.clone());
    }

    /// The key slots it has and a source has not.
    pub fn stale_key_slots(&self, source: &Listing) -> Vec<Name> {
        let is_stale =
            |name: &&Name| Kind::of(name) == Some(Kind::Slot) && !source.of(Kind::Slot).contains_key(*name);
        let mut stale: Vec<Name> = self.has.keys().filter(is_stale).cloned().collect();
        stale.sort();
        stale
    }

    /// Takes key slots away.
    ///
    /// # Errors
    /// Store errors; some may have gone.
    pub fn delete(&mut self, names: &[Name]) -> Result<()> {
        for name in names {
            self.store.delete(name)?;
            self.has.remove(name);
        }
        Ok(())
    }

    /// Makes sure that the store shows all it took of these kinds: one that acknowledges and loses is found out before
    /// anything relies on it.
    ///
    /// # Errors
    /// [`Error::Damaged`]; store errors.
    pub fn prove_listed(&self, kinds: &[Kind]) -> Result<()> {
        for kind in kinds {
            let shown = list(self.store, *kind)?;
            for (name, had) in &self.has {
                if Kind::of(name) == Some(*kind) && shown.get(name) != Some(&had.len) {
                    let what = "was put, but the store does not show it as it was put";
                    return Err(Error::damaged(format!("{}: {name}", self.store.location()), what));
                }
            }
        }
        Ok(())
    }

    /// Why it failed before anything was done; nothing, if it did not.
    pub fn failure(self) -> Result<CloneReport> {
        self.failed.map_or_else(|| Ok(CloneReport::default()), Err)
    }

    /// What came of it.
    pub fn report(self, source: &Listing) -> Result<CloneReport> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        let stale = self.stale_key_slots(source);
        let was_there = |name: &Name| self.has.get(name).is_some_and(|had| had.before);
        let listed = Kind::ALL.into_iter().flat_map(|kind| source.of(kind).keys());
        Ok(CloneReport {
            objects: self.objects,
            bytes: self.bytes,
            already: listed.filter(|name| was_there(name)).count() as u64,
            damaged: self.damaged.len() as u64,
            stale_key_slots: stale.iter().map(|name| name.last().to_owned()).collect(),
        })
    }
}
