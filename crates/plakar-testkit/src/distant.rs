//! A store far away, that tells what was asked of it and what had to wait for what.
//!
//! A request that begins after another has ended may depend on it; one that overlaps it cannot. The longest chain of
//! requests, each of which began after the one before had ended, is the number of dependent round trips: what a client
//! waits for, however many requests it sends at once. Every request is held for a while, so that what is sent at once
//! overlaps. A thread that is late can only make a chain longer, never shorter: the least of several runs is right.

use plakar_store::wrap::Request;
use plakar_store::{Capabilities, Listed, Name, Range, ReadStore, Result, Store, at_one_moment};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a listing costs for each object beside its name: its length, and when it was received.
const LISTED_BYTES: u64 = 16;

/// Counts the dependent round trips of the stores that share it.
#[derive(Debug, Default)]
pub struct RoundTrips {
    /// The longest chain of requests that have ended.
    ended: AtomicU64,
}

impl RoundTrips {
    /// The length of the longest chain so far.
    pub fn count(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Counts from nothing again. Not while a request is under way.
    pub fn reset(&self) {
        self.ended.store(0, Ordering::SeqCst);
    }
}

/// What was asked, in requests of one kind for objects of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// How many requests.
    pub requests: u64,
    /// How many ranges, lengths, objects put, objects listed.
    pub objects: u64,
    /// How many bytes came back or were put; of a listing, its names and 16 bytes for each.
    pub bytes: u64,
}

impl Asked {
    /// Both together.
    pub fn and(self, other: Asked) -> Asked {
        Asked {
            requests: self.requests + other.requests,
            objects: self.objects + other.objects,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// What was asked, by the kind of request and the folder of the (first) object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table(pub BTreeMap<(Request, String), Asked>);

impl Table {
    /// All of it.
    pub fn total(&self) -> Asked {
        self.0.values().fold(Asked::default(), |sum, asked| sum.and(*asked))
    }

    /// What was asked in requests of these kinds.
    pub fn of(&self, kinds: &[Request]) -> Asked {
        let of = self.0.iter().filter(|((kind, _), _)| kinds.contains(kind));
        of.fold(Asked::default(), |sum, (_, asked)| sum.and(*asked))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, folder), asked) in &self.0 {
            let Asked { requests, objects, bytes } = asked;
            writeln!(
                f,
                "    {:<8} {folder:<10} {requests:>6} × {objects:>7} of {bytes:>10} bytes",
                format!("{kind:?}")
            )?;
        }
        Ok(())
    }
}

/// A store that says it is far away and takes its time.
pub struct Distant<S> {
    inner: S,
    trips: Arc<RoundTrips>,
    held: Duration,
    asked: Mutex<Table>,
}

impl<S> Distant<S> {
    /// `inner`, far away; every request takes `held` longer (some milliseconds, for round trips to be counted right), and
    /// `trips` is shared with the stores that are used together with it.
    pub fn new(inner: S, held: Duration, trips: &Arc<RoundTrips>) -> Distant<S> {
        Distant { inner, trips: trips.clone(), held, asked: Mutex::default() }
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Table {
        std::mem::take(&mut *self.asked.lock().expect("no panic while held"))
    }

    /// One request about objects in the folder of `name`; `answer` returns how many objects and bytes it moved.
    fn request<T>(&self, kind: Request, name: &str, answer: impl FnOnce(&S) -> (T, u64, u64)) -> T {
        let chain = self.trips.count() + 1;
        let (result, objects, bytes) = answer(&self.inner);
        std::thread::sleep(self.held);
        self.trips.ended.fetch_max(chain, Ordering::SeqCst);
        let folder = name.split('/').next().unwrap_or_default().to_owned();
        let mut asked = self.asked.lock().expect("no panic while held");
        let entry = asked.0.entry((kind, folder)).or_default();
        *entry = entry.and(Asked { requests: 1, objects, bytes });
        result
    }
}

fn len(answer: &Result<Vec<u8>>) -> u64 {
    answer.as_ref().map_or(0, |bytes| bytes.len() as u64)
}

impl<S: ReadStore> ReadStore for Distant<S> {
    fn get_range(&self, name: &Name, offset: u64, count: usize) -> Result<Vec<u8>> {
        self.request(Request::Range, name.as_str(), |inner| {
            let answer = inner.get_range(name, offset, count);
            let bytes = len(&answer);
            (answer, 1, bytes)
        })
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        let first = ranges.first().map_or("", |range| range.name.as_str());
        self.request(Request::Range, first, |inner| {
            let answers = inner.get_ranges(ranges);
            let bytes = answers.iter().map(len).sum();
            (answers, ranges.len() as u64, bytes)
        })
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.request(Request::Get, name.as_str(), |inner| {
            let answer = inner.get(name, max);
            let bytes = len(&answer);
            (answer, 1, bytes)
        })
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.request(Request::Len, name.as_str(), |inner| (inner.len(name), 1, 0))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.request(Request::List, prefix, |inner| {
            let (mut objects, mut bytes) = (0, 0);
            let result = inner.list(prefix, &mut |listed| {
                objects += 1;
                bytes += listed.name.as_str().len() as u64 + LISTED_BYTES;
                each(listed)
            });
            (result, objects, bytes)
        })
    }

    fn list_at_once(&self, prefixes: &[&str], _known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        let first = prefixes.first().copied().unwrap_or_default();
        self.request(Request::List, first, |inner| {
            let answer = at_one_moment(inner, prefixes);
            let all = answer.as_deref().unwrap_or_default();
            let bytes = all.iter().map(|one| one.name.as_str().len() as u64 + LISTED_BYTES).sum();
            let objects = all.len() as u64;
            (answer.map(Some), objects, bytes)
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { local: false, ..self.inner.capabilities() }
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl<S: Store> Store for Distant<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.request(Request::Put, name.as_str(), |inner| (inner.put(name, parts), 1, bytes))
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.request(Request::Delete, name.as_str(), |inner| (inner.delete(name), 1, 0))
    }

    fn barrier(&self) -> Result<()> {
        self.request(Request::Barrier, "", |inner| (inner.barrier(), 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_store::{MemoryStore, conformance};

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    #[test]
    fn it_is_a_store() {
        conformance(&|| Box::new(Distant::new(MemoryStore::new(), Duration::ZERO, &Arc::default())));
    }

    #[test]
    fn what_overlaps_is_one_round_trip_and_what_follows_is_another() {
        let trips = Arc::new(RoundTrips::default());
        let distant = || Distant::new(MemoryStore::new(), Duration::from_millis(20), &trips);
        let (here, there) = (distant(), distant());
        here.put(&name("packs/a"), &[b"123"]).unwrap();
        there.put(&name("packs/a"), &[b"123"]).unwrap();
        assert_eq!(trips.count(), 2);
        trips.reset();
        let least = (0..3).map(|_| {
            trips.reset();
            std::thread::scope(|scope| {
                for store in [&here, &there] {
                    scope.spawn(|| store.get(&name("packs/a"), 3).unwrap());
                    scope.spawn(|| store.len(&name("packs/a")).unwrap());
                }
            });
            trips.count()
        });
        assert_eq!(least.min(), Some(1));
        here.len(&name("packs/b")).unwrap_err();
        let ranges = [("packs/a", 1), ("log/a", 1), ("packs/a", 2)];
        let ranges = ranges.map(|(text, len)| Range { name: name(text), offset: 0, len });
        assert_eq!(here.get_ranges(&ranges).iter().filter(|answer| answer.is_ok()).count(), 2);
        here.list("packs/", &mut |_| Ok(())).unwrap();
        assert!(trips.count() >= 4);
        let table = here.take();
        assert_eq!(table.of(&[Request::Range]), Asked { requests: 1, objects: 3, bytes: 3 });
        assert_eq!(table.of(&[Request::List]), Asked { requests: 1, objects: 1, bytes: 7 + 16 });
        assert_eq!(table.of(&[Request::Put]).bytes, 3);
        assert_eq!(here.take(), Table::default());
    }
}
