//! How many bytes a repository has, for those who may only make it so long.

use plakar_store::{Error, ErrorKind, Name, Result, Store};
use std::sync::Mutex;

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

impl Usage {
    /// Puts an object, unless that would be more than `quota` allows.
    pub fn put(&self, store: &dyn Store, name: &Name, bytes: &[u8], quota: Option<u64>) -> Result<()> {
        let put = || store.put(name, &[bytes]).and_then(|()| store.barrier());
        let len = bytes.len() as u64;
        // What is there already takes no more room, whatever comes of putting it.
        if store.len(name).is_ok() {
            return put();
        }
        self.reserve(store, name, len, quota)?;
        let done = put();
        let mut known = self.known();
        known.coming -= len;
        if let (Ok(()), Some(stored)) = (&done, &mut known.stored) {
            *stored += len;
        }
        done
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
        let (store, usage) = (MemoryStore::new(), Usage::default());
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
    }
}
