//! Key slots of an open repository: adding and removing passphrases.

use super::create::slot_name;
use super::open::{Unlocked, list};
use crate::crypto::slot::{Cost, SLOT_BYTES_MAX, SLOTS_MAX, Slot};
use crate::error::{Error, Result};
use plakar_store::{Name, Store};

/// One key slot, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// The last part of its name: what `key rm` takes.
    pub id: String,
    /// What its owner calls it; `None` when it cannot be read.
    pub label: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Whether the passphrase that was given opens it.
    pub current: bool,
}

impl Unlocked {
    /// All key slots. `passphrase` is the one that unlocked the repository.
    pub fn key_slots(&self, passphrase: &[u8]) -> Result<Vec<KeySlot>> {
        let mut known = Vec::new();
        let mut slots = Vec::new();
        for name in list(&*self.store, "keys/")? {
            let id = name.last().to_owned();
            let bytes = self.store.get(&name, SLOT_BYTES_MAX).map_err(Error::from);
            let slot = bytes.and_then(|bytes| Slot::decode(&bytes, name.as_str()));
            slots.push(match slot {
                Ok(slot) => {
                    let opened = slot.open(passphrase, self.config.domain, &mut known, name.as_str());
                    let current = matches!(opened, Ok(Some(_)));
                    KeySlot { id, label: Some(slot.label), created: slot.created, current }
                }
                Err(e) if e.is_damage() => KeySlot { id, label: None, created: 0, current: false },
                Err(e) => return Err(e),
            });
        }
        slots.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(slots)
    }

    /// Adds a passphrase; returns the id of its slot. `store` is this repository's, to be written.
    ///
    /// # Errors
    /// [`Error::Refused`] when the repository is not encrypted or has as many slots as are ever tried.
    pub fn add_key(
        &self,
        store: &dyn Store,
        label: &str,
        passphrase: &[u8],
        cost: Cost,
        now: i64,
    ) -> Result<String> {
        let key = self.key.as_ref().ok_or_else(|| self.not_encrypted())?;
        if list(&*self.store, "keys/")?.len() >= SLOTS_MAX {
            return Err(Error::Refused(format!("a repository has at most {SLOTS_MAX} key slots")));
        }
        let slot = Slot::new(label, now, passphrase, cost, key, self.config.domain)?;
        let name = slot_name();
        store.put(&name, &[&slot.encode()])?;
        store.barrier()?;
        Ok(name.last().to_owned())
    }

    /// Removes the slot with this id, but never the last one that can be read.
    pub fn remove_key(&self, store: &dyn Store, id: &str, passphrase: &[u8]) -> Result<()> {
        if self.key.is_none() {
            return Err(self.not_encrypted());
        }
        let slots = self.key_slots(passphrase)?;
        if !slots.iter().any(|slot| slot.id == id) {
            return Err(Error::Refused(format!("no key slot has the id {id}")));
        }
        if !slots.iter().any(|slot| slot.id != id && slot.label.is_some()) {
            return Err(Error::Refused(
                "the last key slot is not removed: nothing could open the repository".into(),
            ));
        }
        let name = Name::new(&format!("keys/{id}")).expect("it was listed under this name");
        store.delete(&name)?;
        store.barrier()?;
        Ok(())
    }

    fn not_encrypted(&self) -> Error {
        Error::Refused(format!("{}: is not encrypted: it has no keys", self.store.location()))
    }
}
