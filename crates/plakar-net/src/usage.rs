//! How many bytes a repository has, for those who may only make it so long.

use plakar_store::{Error, ErrorKind, Name, Result, Store};
use std::sync::{Arc, Mutex};

/// What is known of it. It is counted when it is needed, and kept up from then on; what others than this server put or
/// delete shows when it is counted again, which is done before anybody is refused.
#[derive(Default)]
pub struct Usage(Mutex<Known>);

#[derive(Default)]
struct Known {
    stored: Option<u64>,
    /// On its way.
    coming: u64,
}

/// What the quota was found to have room for, until this is dropped.
pub struct Coming {
    usage: Arc<Usage>,
    len: u64,
}

impl Coming {
    /// It is stored now.
    pub fn stored(self) {
        if let Some(stored) = &mut self.usage.known().stored {
            *stored += self.len;
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.usage.known().coming -= self.len;
    }
}

impl Usage {
    /// Puts an object, unless that would be more than `quota` allows.
    pub fn put(
        self: &Arc<Self>,
        store: &dyn Store,
        name: &Name,
        bytes: &[u8],
        quota: Option<u64>,
    ) -> Result<()> {
        let coming = self.promise(store, name, bytes.len() as u64, quota)?;
        store.put(name, &[bytes])?;
        store.barrier()?;
        coming.stored();
        Ok(())
    }

    /// Promises an object of so many bytes that it will not be more than `quota` allows.
    pub fn promise(
        self: &Arc<Self>,
        store: &dyn Store,
        name: &Name,
        len: u64,
        quota: Option<u64>,
    ) -> Result<Coming> {
        // What is there already takes no more room, whatever comes of putting it.
        let len = if store.len(name).is_ok() { 0 } else { len };
        if len > 0 {
            self.reserve(store, name, len, quota)?;
        }
        Ok(Coming { usage: self.clone(), len })
    }

    /// Deletes an object.
    pub fn delete(&self, store: &dyn Store, name: &Name) -> Result<()> {
        let len = store.len(name).unwrap_or(0);
        store.delete(name)?;
        if let Some(stored) = &mut self.known().stored {
            *stored = stored.saturating_sub(len);
        }
        Ok(())
    }

    /// Forgets what was counted: it is another store now.
    pub fn forget(&self) {
        self.known().stored = None;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().expect("no panic while held")
    }

    fn reserve(&self, store: &dyn Store, name: &Name, len: u64, quota: Option<u64>) -> Result<()> {
        let mut known = self.known();
        if let Some(quota) = quota {
            let fits = |known: &Known| known.stored.is_some_and(|n| n + known.coming + len <= quota);
            if !fits(&known) {
                known.stored = Some(count(store)?);
            }
            if !fits(&known) {
                let what = format!("{name}: the quota of {quota} bytes is used up");
                return Err(Error::new(ErrorKind::Full, what));
            }
        }
        known.coming += len;
        Ok(())
    }
}

fn count(store: &dyn Store) -> Result<u64> {
    let mut sum = 0;
    store.list("", &mut |listed| {
        sum += listed.len;
        Ok(())
    })?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_store::{MemoryStore, ReadStore};

    #[test]
    fn nobody_makes_it_longer_than_it_may_be() {
        let (store, usage) = (MemoryStore::new(), Arc::new(Usage::default()));
        let name = |text| Name::new(text).unwrap();
        let put =
            |text, len, quota| usage.put(&store, &name(text), &vec![1; len], quota).map_err(|e| e.kind());
        store.put(&name("config"), &[&[0; 10]]).unwrap();
        assert_eq!(put("a", 60, Some(100)), Ok(()));
        assert_eq!(put("b", 31, Some(100)), Err(ErrorKind::Full));
        assert!(store.len(&name("b")).is_err(), "nothing was put");
        assert_eq!(put("a", 60, Some(100)), Ok(()), "it is there already");
        assert_eq!(put("a", 61, Some(100)), Err(ErrorKind::Exists));
        assert_eq!(put("b", 30, Some(100)), Ok(()), "to the byte");
        assert_eq!(put("c", 0, Some(100)), Ok(()));
        assert_eq!(put("d", 1, Some(100)), Err(ErrorKind::Full));
        assert_eq!(put("d", 50, None), Ok(()));
        assert_eq!(put("e", 1, Some(150)), Err(ErrorKind::Full));
        usage.delete(&store, &name("d")).unwrap();
        assert_eq!(put("e", 1, Some(101)), Ok(()));
        // What others delete shows, too.
        store.delete(&name("a")).unwrap();
        assert_eq!(put("f", 60, Some(101)), Ok(()));
        assert_eq!(put("g", 1, Some(101)), Err(ErrorKind::Full));
        // What is on its way counts until it is there, or will never be.
        let promise = |text, len| usage.promise(&store, &name(text), len, Some(111)).map_err(|e| e.kind());
        let coming = promise("g", 10).unwrap();
        assert_eq!(promise("h", 1).map(drop), Err(ErrorKind::Full));
        assert_eq!(promise("f", 60).map(drop), Ok(()), "it is there already");
        drop(coming);
        promise("g", 10).unwrap().stored();
        assert_eq!(usage.known().stored, Some(111));
        assert_eq!(usage.known().coming, 0);
    }
}
