//! A store in memory, for tests and for what need not outlive a process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Capabilities, Error, ErrorKind, Listed, Name, ReadStore, Result, Store};

/// A store in memory. A clone is the same store, not a copy of it.
///
/// Everything is "durable" when put returns: a process that ends takes all of it along. To lose what had
/// no barrier, wrap it in [`Faulty`](crate::wrap::Faulty).
///
/// The methods named `tamper_` do what the contract forbids, as a failing disk or an adversary would.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<Name, Object>>>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Arc<[u8]>,
    received_ms: i64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// A store that holds `objects`, all received now.
    pub fn from_snapshot(objects: BTreeMap<Name, Vec<u8>>) -> MemoryStore {
        let store = MemoryStore::new();
        for (name, bytes) in objects {
            store.tamper_replace(&name, bytes);
        }
        store
    }

    /// A copy of everything in the store at one moment.
    pub fn snapshot(&self) -> BTreeMap<Name, Vec<u8>> {
        self.lock().iter().map(|(name, object)| (name.clone(), object.bytes.to_vec())).collect()
    }

    /// The names of all objects, in order.
    pub fn names(&self) -> Vec<Name> {
        self.lock().keys().cloned().collect()
    }

    /// Puts `bytes` under `name` whatever was there.
    pub fn tamper_replace(&self, name: &Name, bytes: impl Into<Vec<u8>>) {
        let bytes: Vec<u8> = bytes.into();
        self.lock().insert(name.clone(), Object { bytes: bytes.into(), received_ms: now_ms() });
    }

    /// Takes an object away; tells whether it was there.
    pub fn tamper_remove(&self, name: &Name) -> bool {
        self.lock().remove(name).is_some()
    }

    /// Cuts an object to at most `len` bytes; tells whether that changed it.
    pub fn tamper_truncate(&self, name: &Name, len: usize) -> bool {
        self.tamper(name, |bytes| bytes.truncate(len))
    }

    /// Flips one bit of an object, counted from its first byte's lowest and modulo its length; tells
    /// whether that changed it (an empty object cannot change).
    pub fn tamper_flip(&self, name: &Name, bit: u64) -> bool {
        self.tamper(name, |bytes| flip(bytes, bit))
    }

    fn tamper(&self, name: &Name, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut objects = self.lock();
        let Some(object) = objects.get_mut(name) else { return false };
        let mut bytes = object.bytes.to_vec();
        change(&mut bytes);
        let changed = bytes[..] != object.bytes[..];
        object.bytes = bytes.into();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, name: &Name) -> Result<Arc<[u8]>> {
        match self.lock().get(name) {
            Some(object) => Ok(object.bytes.clone()),
            None => Err(Error::new(ErrorKind::NotFound, name.as_str())),
        }
    }
}

impl ReadStore for MemoryStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = self.object(name)?;
        let range = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(len)?));
        match range.and_then(|range| bytes.get(range)) {
            Some(part) => Ok(part.to_vec()),
            None => Err(Error::new(ErrorKind::Short, format!("{name}, {len} bytes at {offset}"))),
        }
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        let bytes = self.object(name)?;
        if bytes.len() > max {
            return Err(Error::new(ErrorKind::TooLarge, format!("{name}, {} bytes", bytes.len())));
        }
        Ok(bytes.to_vec())
    }

    fn len(&self, name: &Name) -> Result<u64> {
        Ok(self.object(name)?.len() as u64)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        // Collected first, so that `each` may use the store.
        let listed: Vec<Listed> = self
            .lock()
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, object)| Listed {
                name: name.clone(),
                len: object.bytes.len() as u64,
                received_ms: object.received_ms,
            })
            .collect();
        listed.into_iter().try_for_each(each)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: true, append_only: false }
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

impl Store for MemoryStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let bytes = parts.concat();
        let mut objects = self.lock();
        match objects.get(name) {
            Some(object) if object.bytes[..] == bytes[..] => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Exists, name.as_str())),
            None => {
                objects.insert(name.clone(), Object { bytes: bytes.into(), received_ms: now_ms() });
                Ok(())
            }
        }
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.lock().remove(name);
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}

/// Flips bit `bit` of `bytes`, modulo their length.
pub(crate) fn flip(bytes: &mut [u8], bit: u64) {
    if !bytes.is_empty() {
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_store_and_a_snapshot_is_not() {
        let name = Name::new("packs/ab/cd").unwrap();
        let store = MemoryStore::new();
        store.clone().put(&name, &[b"one", b"two"]).unwrap();
        let before = store.snapshot();
        assert!(store.tamper_flip(&name, 9) && store.tamper_truncate(&name, 2));
        assert_eq!(store.get(&name, 9).unwrap(), [b'o', b'n' ^ 2]);
        assert!(store.tamper_remove(&name) && !store.tamper_remove(&name) && store.names().is_empty());
        assert_eq!(MemoryStore::from_snapshot(before).get(&name, 9).unwrap(), b"onetwo");
    }
}
