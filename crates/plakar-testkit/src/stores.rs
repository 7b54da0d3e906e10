//! Stores that tests look through: far away, or where something happens between two requests.

use plakar_store::wrap::Fault;
use plakar_store::{Capabilities, ErrorKind, Listed, Name, Range, ReadStore, Result, Store, at_one_moment};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Faults that a store reports, or that change nothing.
pub const HONEST_FAULTS: [Fault; 6] = [
    Fault::Error(ErrorKind::Io),
    Fault::Error(ErrorKind::Full),
    Fault::Error(ErrorKind::Denied),
    Fault::ErrorAfter(ErrorKind::Io),
    Fault::Crash,
    Fault::CrashAfter,
];

/// Faults of a store that says all is well.
pub const LIES: [Fault; 5] =
    [Fault::Truncate(0), Fault::Truncate(40), Fault::Flip(7), Fault::Flip(1_234_567), Fault::Lose];

/// A store that says it is far away: what can be asked for together is.
pub struct Far<S>(pub S);

impl<S: ReadStore> ReadStore for Far<S> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.0.get_range(name, offset, len)
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        self.0.get_ranges(ranges)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.0.get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.0.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.0.list(prefix, each)
    }

    fn list_at_once(&self, prefixes: &[&str], _known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        at_one_moment(&self.0, prefixes).map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { local: false, ..self.0.capabilities() }
    }

    fn location(&self) -> String {
        self.0.location()
    }
}

impl<S: Store> Store for Far<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.0.put(name, parts)
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.0.delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.0.barrier()
    }
}

type Event = Box<dyn FnOnce() + Send>;

/// A store where others are at work: something happens right before the request of a number.
pub struct Meanwhile<S> {
    inner: S,
    state: Mutex<(u64, BTreeMap<u64, Event>)>,
}

impl<S> Meanwhile<S> {
    /// Nothing happens yet.
    pub fn new(inner: S) -> Meanwhile<S> {
        Meanwhile { inner, state: Mutex::new((0, BTreeMap::new())) }
    }

    /// `event` happens right before the `n`th request from now on, from 1. It uses the store behind.
    pub fn before(&self, n: u64, event: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock().expect("no panic while held");
        let at = state.0 + n;
        state.1.insert(at, Box::new(event));
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.state.lock().expect("no panic while held").0
    }

    /// How many events have yet to happen.
    pub fn waiting(&self) -> usize {
        self.state.lock().expect("no panic while held").1.len()
    }

    fn request(&self) -> &S {
        let event = {
            let mut state = self.state.lock().expect("no panic while held");
            state.0 += 1;
            let now = state.0;
            state.1.remove(&now)
        };
        if let Some(event) = event {
            event();
        }
        &self.inner
    }
}

impl<S: ReadStore> ReadStore for Meanwhile<S> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.request().get_range(name, offset, len)
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        self.request().get_ranges(ranges)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.request().get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.request().len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.request().list(prefix, each)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl<S: Store> Store for Meanwhile<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.request().put(name, parts)
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.request().delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.request().barrier()
    }
}
