//! A store that fails as it is told.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{
    Request,
    plan::{Fault, Past, Random, Rule},
};
use crate::{Capabilities, Error, ErrorKind, Listed, Name, ReadStore, Result, Store, memory::flip};

/// Fails on the way to another store, by [`Rule`]s, and can lose its power.
///
/// Without rules it behaves as the inner store does. Requests of one thread fail reproducibly: the same
/// rules, the same seed and the same requests give the same faults. What is put, deleted and flushed through
/// it goes to the inner store one after the other; reads do not wait for each other.
///
/// To be able to lose what had no barrier it keeps the bytes of objects that were deleted since the last
/// one in memory.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    random: Random,
    past: Past,
    room: Option<u64>,
    crashed: bool,
    fired: u64,
}

impl<S> Faulty<S> {
    /// No faults yet; `seed` decides whatever is left to chance.
    pub fn new(inner: S, seed: u64) -> Faulty<S> {
        let state = State {
            rules: Vec::new(),
            random: Random(seed),
            past: Past::new(),
            room: None,
            crashed: false,
            fired: 0,
        };
        Faulty { inner, state: Mutex::new(state) }
    }

    /// Adds a rule. Every rule sees every request; of those that fire, the one added first decides.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Takes all rules and the limit of room away. A crashed store stays so.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.room = None;
    }

    /// From now on there is room for so many bytes of new objects; a put that needs more is refused with
    /// [`ErrorKind::Full`] and nothing is stored. Deleting gives room back.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// How often a rule decided about a request.
    pub fn fired(&self) -> u64 {
        self.lock().fired
    }

    /// Whether the power is off.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Gives the power back. What the crash took is gone; rules stay.
    pub fn revive(&self) {
        self.lock().crashed = false;
    }

    /// The store behind, which never fails: what is done there directly is seen here and never lost.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Faulty<S> {
    /// Cuts the power: every request fails until [`revive`](Faulty::revive), and each object put or deleted
    /// since the last barrier falls back, by chance, to any state it had since then, or stays.
    ///
    /// # Panics
    /// When the inner store fails.
    pub fn crash(&self) {
        self.cut(&mut self.lock());
    }

    fn cut(&self, state: &mut State) {
        state.crashed = true;
        for (name, mut states) in std::mem::take(&mut state.past) {
            let fate = state.random.below(states.len() as u64 + 1) as usize;
            if fate < states.len() {
                self.inner.delete(&name).expect("the store behind works");
                if let Some(bytes) = states.swap_remove(fate) {
                    self.inner.put(&name, &[&bytes]).expect("the store behind works");
                }
            }
        }
    }

    /// What happens to a request before it is done: the fault to see to later, if there is one.
    fn before(&self, request: Request, name: Option<&str>) -> Result<Option<Fault>> {
        let mut state = self.lock();
        if state.crashed {
            return Err(cut_off(request, name));
        }
        let State { rules, random, .. } = &mut *state;
        let mut fault = None;
        for rule in rules {
            if rule.fires(request, name, random) {
                fault.get_or_insert_with(|| rule.fault.clone());
            }
        }
        state.fired += u64::from(fault.is_some());
        match fault {
            Some(Fault::Error(kind)) => Err(planned(kind, request, name)),
            Some(Fault::Crash) => {
                self.cut(&mut state);
                Err(cut_off(request, name))
            }
            Some(Fault::Delay(time)) => {
                drop(state);
                thread::sleep(time);
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// What happens to a request that was done.
    fn after(
        &self,
        state: &mut State,
        fault: Option<Fault>,
        request: Request,
        name: Option<&str>,
    ) -> Result<()> {
        match fault {
            Some(Fault::ErrorAfter(kind)) => Err(planned(kind, request, name)),
            Some(Fault::CrashAfter) => {
                self.cut(state);
                Err(cut_off(request, name))
            }
            _ => Ok(()),
        }
    }

    /// The state for a request that changes something. The power may have failed while it was delayed.
    fn changing(&self, request: Request, name: Option<&str>) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.crashed { Err(cut_off(request, name)) } else { Ok(state) }
    }

    fn read(&self, request: Request, name: &Name, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let text = Some(name.as_str());
        let fault = self.before(request, text)?;
        let mut bytes = read()?;
        match fault {
            Some(Fault::Lose) => return Err(planned(ErrorKind::NotFound, request, text)),
            Some(Fault::Flip(bit)) => flip(&mut bytes, bit),
            Some(Fault::Truncate(keep)) if keep < bytes.len() => {
                if request == Request::Range {
                    return Err(planned(ErrorKind::Short, request, text));
                }
                bytes.truncate(keep);
            }
            fault => self.after(&mut self.lock(), fault, request, text)?,
        }
        Ok(bytes)
    }
}

impl<S: Store> ReadStore for Faulty<S> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.read(Request::Range, name, || self.inner.get_range(name, offset, len))
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.read(Request::Get, name, || self.inner.get(name, max))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        let text = Some(name.as_str());
        let fault = self.before(Request::Len, text)?;
        let len = self.inner.len(name)?;
        if fault == Some(Fault::Lose) {
            return Err(planned(ErrorKind::NotFound, Request::Len, text));
        }
        self.after(&mut self.lock(), fault, Request::Len, text)?;
        Ok(len)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let fault = self.before(Request::List, Some(prefix))?;
        let mut left = match fault {
            Some(Fault::Truncate(keep)) => keep,
            Some(Fault::Lose) => 0,
            _ => usize::MAX,
        };
        self.inner.list(prefix, &mut |listed| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            each(listed)
        })?;
        self.after(&mut self.lock(), fault, Request::List, Some(prefix))
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

impl<S: Store> Store for Faulty<S> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let text = Some(name.as_str());
        let fault = self.before(Request::Put, text)?;
        let damaged = match fault {
            Some(Fault::Lose) => return Ok(()),
            Some(Fault::Truncate(keep)) => Some(parts.concat().into_iter().take(keep).collect()),
            Some(Fault::Flip(bit)) => {
                let mut bytes = parts.concat();
                flip(&mut bytes, bit);
                Some(bytes)
            }
            _ => None,
        };
        let mut state = self.changing(Request::Put, text)?;
        match self.inner.len(name) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let len = parts.iter().map(|part| part.len() as u64).sum();
                match &mut state.room {
                    Some(room) if *room < len => return Err(planned(ErrorKind::Full, Request::Put, text)),
                    Some(room) => *room -= len,
                    None => {}
                }
                state.past.entry(name.clone()).or_default().push(None);
            }
            // What is there already does not change.
            other => drop(other?),
        }
        match damaged {
            Some(bytes) => self.inner.put(name, &[&bytes[..]])?,
            None => self.inner.put(name, parts)?,
        }
        if fault == Some(Fault::Twice) {
            self.inner.put(name, parts)?;
        }
        self.after(&mut state, fault, Request::Put, text)
    }

    fn delete(&self, name: &Name) -> Result<()> {
        let text = Some(name.as_str());
        let fault = self.before(Request::Delete, text)?;
        if fault == Some(Fault::Lose) {
            return Ok(());
        }
        let mut state = self.changing(Request::Delete, text)?;
        match self.inner.get(name, usize::MAX) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            bytes => {
                let bytes = bytes?;
                if let Some(room) = &mut state.room {
                    *room += bytes.len() as u64;
                }
                state.past.entry(name.clone()).or_default().push(Some(bytes));
                self.inner.delete(name)?;
                if fault == Some(Fault::Twice) {
                    self.inner.delete(name)?;
                }
            }
        }
        self.after(&mut state, fault, Request::Delete, text)
    }

    fn barrier(&self) -> Result<()> {
        let fault = self.before(Request::Barrier, None)?;
        if fault == Some(Fault::Lose) {
            return Ok(());
        }
        let mut state = self.changing(Request::Barrier, None)?;
        self.inner.barrier()?;
        if fault == Some(Fault::Twice) {
            self.inner.barrier()?;
        }
        state.past.clear();
        self.after(&mut state, fault, Request::Barrier, None)
    }
}

fn planned(kind: ErrorKind, request: Request, name: Option<&str>) -> Error {
    Error::new(kind, format!("{request:?} {} (planned fault)", name.unwrap_or_default()))
}

fn cut_off(request: Request, name: Option<&str>) -> Error {
    Error::new(ErrorKind::Io, format!("{request:?} {} (no power)", name.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MemoryStore;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn faulty(rule: Rule) -> Faulty<MemoryStore> {
        let store = Faulty::new(MemoryStore::new(), 1);
        store.put(&name("packs/a"), &[b"first"]).unwrap();
        store.barrier().unwrap();
        store.add(rule);
        store
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn rules_narrow_by_kind_prefix_and_number() {
        let rule = Rule::new(Fault::Error(ErrorKind::Io)).on(Request::Put).prefix("log/").nth(2);
        let store = faulty(rule);
        store.put(&name("log/a"), &[]).unwrap();
        store.put(&name("packs/b"), &[]).unwrap();
        store.get(&name("log/a"), 0).unwrap();
        assert_eq!(kind(store.put(&name("log/b"), &[])), ErrorKind::Io);
        store.put(&name("log/b"), &[]).unwrap();
        assert_eq!(store.fired(), 1);
    }

    #[test]
    fn chance_follows_the_seed() {
        let outcomes = |seed| {
            let store = Faulty::new(MemoryStore::new(), seed);
            store.add(Rule::new(Fault::Error(ErrorKind::Io)).one_in(3));
            (0..60).map(|_| store.barrier().is_err()).collect::<Vec<bool>>()
        };
        assert_eq!(outcomes(7), outcomes(7));
        assert_ne!(outcomes(7), outcomes(8));
        assert!((8..32).contains(&outcomes(7).iter().filter(|failed| **failed).count()));
    }

    #[test]
    fn errors_come_before_or_after_the_deed() {
        let store = faulty(Rule::new(Fault::Error(ErrorKind::Full)).on(Request::Put).times(1));
        assert_eq!(kind(store.put(&name("packs/b"), &[b"x"])), ErrorKind::Full);
        assert_eq!(kind(store.len(&name("packs/b"))), ErrorKind::NotFound);
        store.add(Rule::new(Fault::ErrorAfter(ErrorKind::Full)).on(Request::Put).times(1));
        assert_eq!(kind(store.put(&name("packs/b"), &[b"x"])), ErrorKind::Full);
        assert_eq!(store.len(&name("packs/b")).unwrap(), 1);
    }

    #[test]
    fn room_is_counted() {
        let store = faulty(Rule::new(Fault::Delay(Duration::from_millis(1))));
        store.set_room(Some(6));
        store.put(&name("packs/b"), &[b"1234"]).unwrap();
        store.put(&name("packs/b"), &[b"1234"]).unwrap();
        assert_eq!(kind(store.put(&name("packs/c"), &[b"12", b"3"])), ErrorKind::Full);
        store.delete(&name("packs/b")).unwrap();
        store.put(&name("packs/c"), &[b"123456"]).unwrap();
        store.clear();
        store.put(&name("packs/d"), &[b"1"]).unwrap();
    }

    #[test]
    fn it_lies_when_told_to() {
        let a = name("packs/a");
        let store = faulty(Rule::new(Fault::Truncate(2)));
        assert_eq!(store.get(&a, 9).unwrap(), b"fi");
        assert_eq!(kind(store.get_range(&a, 0, 3)), ErrorKind::Short);
        assert_eq!(store.get_range(&a, 3, 2).unwrap(), b"st");
        store.put(&name("packs/b"), &[b"torn"]).unwrap();
        assert_eq!(store.inner().get(&name("packs/b"), 9).unwrap(), b"to");

        let store = faulty(Rule::new(Fault::Flip(40)));
        assert_eq!(store.get(&a, 9).unwrap(), b"girst");
        store.put(&name("packs/b"), &[b"", b"b"]).unwrap();
        assert_eq!(store.inner().get(&name("packs/b"), 9).unwrap(), b"c");

        let store = faulty(Rule::new(Fault::Lose));
        store.put(&name("packs/b"), &[b"b"]).unwrap();
        store.delete(&a).unwrap();
        store.list("", &mut |listed| panic!("{listed:?}")).unwrap();
        assert_eq!(kind(store.len(&a)), ErrorKind::NotFound);
        assert_eq!(store.inner().names(), [a]);
    }

    #[test]
    fn a_crash_takes_only_what_had_no_barrier() {
        let (kept, put, deleted) = (name("kept"), name("put"), name("deleted"));
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let store = Faulty::new(MemoryStore::new(), seed);
            store.put(&kept, &[b"k"]).unwrap();
            store.put(&deleted, &[b"d"]).unwrap();
            store.barrier().unwrap();
            store.put(&put, &[b"p"]).unwrap();
            store.add(Rule::new(Fault::CrashAfter).on(Request::Delete));
            assert_eq!(kind(store.delete(&deleted)), ErrorKind::Io);
            assert!(store.is_crashed());
            assert_eq!(kind(store.get(&kept, 9)), ErrorKind::Io);
            assert_eq!(kind(store.barrier()), ErrorKind::Io);
            store.revive();
            assert_eq!(store.get(&kept, 9).unwrap(), b"k");
            outcomes.insert((store.len(&put).is_ok(), store.len(&deleted).is_ok()));
        }
        assert_eq!(outcomes.len(), 4, "every mixture happens: {outcomes:?}");
    }

    #[test]
    fn a_barrier_that_lied_protects_nothing() {
        let lost = (0..64).filter(|seed| {
            let store = Faulty::new(MemoryStore::new(), *seed);
            store.add(Rule::new(Fault::Lose).on(Request::Barrier));
            store.put(&name("a"), &[b"a"]).unwrap();
            store.barrier().unwrap();
            store.crash();
            store.inner().names().is_empty()
        });
        assert!((16..48).contains(&lost.count()));
    }
}
