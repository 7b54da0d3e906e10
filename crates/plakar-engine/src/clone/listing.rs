//! What a source holds, and whether it stood still.

use super::object::Kind;
use crate::error::Result;
use plakar_store::{Name, ReadStore};
use std::collections::BTreeMap;

/// The names and lengths of all that a clone copies.
///
/// Memory: about 150 bytes an object, of which a repository has one in some 16 MiB.
pub struct Listing {
    objects: [BTreeMap<Name, u64>; 6],
}

/// How a later listing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that was listed first is missing in what the later one shows, and nothing is new.
    None,
    /// Writers put more; nobody took anything away.
    Grew,
    /// Something was put into `admin/`, or has gone from the log or the keys: a passphrase that was removed must not
    /// open the copy.
    Moved,
}

impl Listing {
    /// Lists a source: `admin/` first, then `log/`, and packs last.
    ///
    /// The order matters. If `admin/` shows the same names once the packs were copied, it did not change from before
    /// `log/` was listed until then. So the log that was listed is one that the repository had at a moment in
    /// between, whole, but for what was put while `log/` was being listed, which `run` sees to: a Dead that is in it was
    /// put after the Prepared of whatever had to be rescued first, and no pack that this log relies on was deleted,
    /// since a Dead comes before each deletion. With `log/` first, a rescue and its Dead might fall between the two,
    /// and the Dead alone would be copied.
    pub fn read(source: &dyn ReadStore) -> Result<Listing> {
        let mut objects: [BTreeMap<Name, u64>; 6] = Default::default();
        for kind in Kind::ALL {
            objects[kind as usize] = list(source, kind)?;
        }
        Ok(Listing { objects })
    }

    /// The objects of one kind, with their lengths, in order of names.
    pub fn of(&self, kind: Kind) -> &BTreeMap<Name, u64> {
        &self.objects[kind as usize]
    }

    /// Whether it shows an object.
    pub fn has(&self, name: &Name) -> bool {
        Kind::of(name).is_some_and(|kind| self.of(kind).contains_key(name))
    }

    /// Leaves out objects of one kind, by name and length.
    pub fn leave_out(&mut self, kind: Kind, unwanted: impl Fn(&Name, u64) -> bool) {
        self.objects[kind as usize].retain(|name, len| !unwanted(name, *len));
    }

    /// How `later`, read after everything of this one was copied, differs.
    pub fn change(&self, later: &Listing) -> Change {
        let has_new = |kind| later.of(kind).keys().any(|name| !self.of(kind).contains_key(name));
        let has_lost = |kind| self.of(kind).keys().any(|name| !later.of(kind).contains_key(name));
        let lasting = [Kind::Admin, Kind::Log, Kind::Keyring, Kind::Slot];
        if has_new(Kind::Admin) || lasting.into_iter().any(has_lost) {
            Change::Moved
        } else if Kind::ALL.into_iter().any(has_new) {
            Change::Grew
        } else {
            // A pack or segment that has gone was dead before, or was taken away by no rule of ours; either way the
            // source has it no more.
            Change::None
        }
    }
}

/// The objects of one kind in a store, with their lengths.
pub fn list(store: &dyn ReadStore, kind: Kind) -> Result<BTreeMap<Name, u64>> {
    let mut objects = BTreeMap::new();
    store.list(kind.prefix(), &mut |object| {
        objects.insert(object.name, object.len);
        Ok(())
    })?;
    Ok(objects)
}
