//! A store that keeps what was read of another in a local folder.
//!
//! Far away, what a run asks first is what the last run asked: the log, heads and pages of the index, blocks of trees.
//! Those are small and never change, because objects are named by their hash. They are kept as the store gave them, sealed;
//! whoever reads them proves them as if they came from the store. Listings, lengths, whole objects and everything that is
//! in no other folder are never kept: what there is now, only the store can say.
//!
//! The folder may be deleted at any time, used by several processes at once, be read-only, or lie on a full disk. That
//! costs requests; it is never an error. `kept` says how, and [`trouble`](Cached::trouble) tells why nothing more is kept.
//!
//! One limit: what is kept is what the store said. Bytes that were damaged on the way here are found out by whoever opens
//! them, but stay in the folder. So whoever meets damage in what came through this store says so
//! ([`doubt`](ReadStore::doubt), [`forget`](Cached::forget)), and what judges the store itself (a check, a heal) reads past
//! it.

mod kept;
mod record;

use crate::{Capabilities, Listed, Name, Range, ReadStore, Result, Store};
use kept::Kept;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest range of an index segment that is kept, in bytes: the head of a full shard is a third of it.
const INDEX_RANGE_MAX: usize = 1 << 20;
/// The longest range of a log object that is kept, in bytes: the whole of it, but for the checkpoints of very many snapshots.
const LOG_RANGE_MAX: usize = 4 << 20;
/// The longest range of a pack that is kept, in bytes: a block of nodes. The contents of files are in longer ones.
const PACK_RANGE_MAX: usize = 32 << 10;

/// Keeps small ranges that were read of another store.
pub struct Cached<S> {
    inner: S,
    kept: Mutex<Kept>,
    /// What was deleted through this store.
    deleted: Mutex<HashSet<Name>>,
    /// What was kept was not what it must be: nothing is any more.
    doubted: AtomicBool,
}

impl<S> Cached<S> {
    /// Keeps ranges of `inner` in `folder`, which is made if it is not there and belongs to one repository: about
    /// `max_bytes` at most, those that were used last. Memory: about 50 bytes for each range.
    pub fn new(inner: S, folder: &Path, max_bytes: u64) -> Cached<S> {
        Cached {
            inner,
            kept: Mutex::new(Kept::open(folder, max_bytes)),
            deleted: Mutex::default(),
            doubted: AtomicBool::default(),
        }
    }

    /// The store behind; what is asked of it directly is neither kept nor answered from what is.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Forgets everything that is kept, for this and all later users of the folder: to be called when something that was
    /// read through this store turned out not to be what it must be.
    pub fn forget(&self) {
        self.kept().forget();
    }

    /// Why nothing more can be kept in the folder, if so.
    pub fn trouble(&self) -> Option<String> {
        self.kept().trouble().map(ToString::to_string)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a range is of those that are kept.
    fn keeps(&self, name: &Name, len: usize) -> bool {
        let max = match name.as_str().split_once('/') {
            Some(("index", _)) => INDEX_RANGE_MAX,
            Some(("log" | "admin", _)) => LOG_RANGE_MAX,
            Some(("packs", _)) => PACK_RANGE_MAX,
            _ => 0,
        };
        let deleted = || self.deleted.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        (1..=max).contains(&len) && !deleted() && !self.doubted.load(Relaxed)
    }

    /// A range, if it is kept.
    fn find(&self, name: &Name, offset: u64, len: usize) -> Option<Vec<u8>> {
        if !self.keeps(name, len) {
            return None;
        }
        let place = self.kept().find(name, offset, len)?;
        let bytes = place.read(name, offset, len)?;
        if place.old {
            self.kept().keep(name, offset, &bytes);
        }
        Some(bytes)
    }

    /// Keeps an answer of the store behind, if it is one to be kept.
    fn learn(&self, name: &Name, offset: u64, len: usize, answer: &Result<Vec<u8>>) {
        if let Ok(bytes) = answer
            && bytes.len() == len
            && self.keeps(name, len)
        {
            self.kept().keep(name, offset, bytes);
        }
    }
}

impl<S: ReadStore> ReadStore for Cached<S> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        if let Some(bytes) = self.find(name, offset, len) {
            return Ok(bytes);
        }
        let answer = self.inner.get_range(name, offset, len);
        self.learn(name, offset, len, &answer);
        answer
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        let found: Vec<_> = ranges.iter().map(|r| self.find(&r.name, r.offset, r.len)).collect();
        let unknown: Vec<_> =
            ranges.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(r, _)| r.clone()).collect();
        let answers = if unknown.is_empty() { Vec::new() } else { self.inner.get_ranges(&unknown) };
        for (range, answer) in unknown.iter().zip(&answers) {
            self.learn(&range.name, range.offset, range.len, answer);
        }
        let mut answers = answers.into_iter();
        let answer = |found: Option<_>| found.map(Ok).or_else(|| answers.next());
        found.into_iter().map_while(answer).collect()
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.inner.get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.inner.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.inner.list(prefix, each)
    }

    fn list_at_once(&self, prefixes: &[&str], known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        self.inner.list_at_once(prefixes, known)
    }

    fn doubt(&self) -> bool {
        if !self.doubted.swap(true, Relaxed) {
            self.forget();
        }
        // Whoever asked at the same time has the same doubts.
        true
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl<S: Store> Store for Cached<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.inner.put(name, parts)
    }

    fn delete(&self, name: &Name) -> Result<()> {
        // Before, so that nobody is given what may be gone already.
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        self.inner.delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.inner.barrier()
    }
}
