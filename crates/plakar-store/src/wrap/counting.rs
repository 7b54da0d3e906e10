//! A store that counts what is asked of it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Request;
use crate::{Capabilities, Listed, Name, Range, ReadStore, Result, Store};

/// Counts requests and bytes on their way to another store, which behaves as if it stood alone.
#[derive(Debug, Default)]
pub struct Counting<S> {
    inner: S,
    requests: [AtomicU64; 7],
    listed: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    puts: Mutex<Vec<Name>>,
}

/// What was counted. Requests count whether they succeed or not, bytes only when they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests for a range, or for several ranges together.
    pub range: u64,
    /// Requests for a whole object.
    pub get: u64,
    /// Requests for a length.
    pub len: u64,
    /// Listings begun.
    pub list: u64,
    /// Puts, those of bytes that were there already included.
    pub put: u64,
    /// Deletions.
    pub delete: u64,
    /// Barriers.
    pub barrier: u64,
    /// Objects shown by listings.
    pub listed: u64,
    /// Bytes of objects that were read.
    pub bytes_read: u64,
    /// Bytes of objects that were put.
    pub bytes_written: u64,
}

impl Counts {
    /// The number of all requests together.
    pub fn requests(&self) -> u64 {
        self.range + self.get + self.len + self.list + self.put + self.delete + self.barrier
    }
}

impl<S> Counting<S> {
    /// Counts what is asked of `inner`, from nothing.
    pub fn new(inner: S) -> Counting<S> {
        Counting {
            inner,
            requests: Default::default(),
            listed: Default::default(),
            bytes_read: Default::default(),
            bytes_written: Default::default(),
            puts: Default::default(),
        }
    }

    /// The store that is counted; what is asked of it directly is not.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What was counted until now. While other threads work the numbers need not belong to one moment.
    pub fn counts(&self) -> Counts {
        let requests = |request: Request| self.requests[request as usize].load(Relaxed);
        Counts {
            range: requests(Request::Range),
            get: requests(Request::Get),
            len: requests(Request::Len),
            list: requests(Request::List),
            put: requests(Request::Put),
            delete: requests(Request::Delete),
            barrier: requests(Request::Barrier),
            listed: self.listed.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }

    /// The names that were put with success, in the order in which the puts returned.
    pub fn puts(&self) -> Vec<Name> {
        self.puts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts from nothing again.
    pub fn reset(&self) {
        for counter in self.requests.iter().chain([&self.listed, &self.bytes_read, &self.bytes_written]) {
            counter.store(0, Relaxed);
        }
        self.puts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn count(&self, request: Request) {
        self.requests[request as usize].fetch_add(1, Relaxed);
    }

    fn read(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.bytes_read.fetch_add(bytes.len() as u64, Relaxed);
        bytes
    }
}

impl<S: ReadStore> ReadStore for Counting<S> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.count(Request::Range);
        self.inner.get_range(name, offset, len).map(|bytes| self.read(bytes))
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        self.count(Request::Range);
        let answers = self.inner.get_ranges(ranges).into_iter();
        answers.map(|answer| answer.map(|bytes| self.read(bytes))).collect()
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.count(Request::Get);
        self.inner.get(name, max).map(|bytes| self.read(bytes))
    }

    fn get_into(&self, name: &Name, max: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.count(Request::Get);
        self.inner.get_into(name, max, bytes)?;
        self.bytes_read.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.count(Request::Len);
        self.inner.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.count(Request::List);
        self.inner.list(prefix, &mut |listed| {
            self.listed.fetch_add(1, Relaxed);
            each(listed)
        })
    }

    fn list_at_once(&self, prefixes: &[&str], known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        let listed = self.inner.list_at_once(prefixes, known)?;
        if let Some(listed) = &listed {
            self.count(Request::List);
            self.listed.fetch_add(listed.len() as u64, Relaxed);
        }
        Ok(listed)
    }

    fn doubt(&self) -> bool {
        self.inner.doubt()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl<S: Store> Store for Counting<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.count(Request::Put);
        self.inner.put(name, parts)?;
        self.bytes_written.fetch_add(parts.iter().map(|part| part.len() as u64).sum(), Relaxed);
        self.puts.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.count(Request::Delete);
        self.inner.delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.count(Request::Barrier);
        self.inner.barrier()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn requests_count_always_and_bytes_when_they_arrive() {
        let store = Counting::new(MemoryStore::new());
        let name = |text| Name::new(text).unwrap();
        store.put(&name("b"), &[b"123", b"45"]).unwrap();
        store.put(&name("a"), &[b"1"]).unwrap();
        store.put(&name("a"), &[b"2"]).unwrap_err();
        store.get(&name("b"), 5).unwrap();
        store.get(&name("b"), 4).unwrap_err();
        store.get_range(&name("b"), 1, 2).unwrap();
        let range = |text, len| Range { name: name(text), offset: 0, len };
        let answers = store.get_ranges(&[range("b", 5), range("b", 6), range("c", 0), range("a", 1)]);
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        store.list("", &mut |_| Ok(())).unwrap();
        store.len(&name("c")).unwrap_err();
        store.delete(&name("c")).unwrap();
        store.barrier().unwrap();
        let counts = Counts {
            range: 2,
            get: 2,
            len: 1,
            list: 1,
            put: 3,
            delete: 1,
            barrier: 1,
            listed: 2,
            bytes_read: 13,
            bytes_written: 6,
        };
        assert_eq!((store.counts(), store.counts().requests()), (counts, 11));
        assert_eq!(store.puts(), [name("b"), name("a")]);
        store.reset();
        assert_eq!((store.counts(), store.puts()), (Counts::default(), vec![]));
    }
}
