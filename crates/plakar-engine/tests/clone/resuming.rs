//! Clones that were interrupted, and what they are until they are complete.

use crate::common::*;
use plakar_engine::{Error, Unfinished};
use plakar_store::wrap::Counting;
use plakar_store::{Capabilities, Listed, MemoryStore, Name, ReadStore, Result, Store};
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Interrupts whoever uses it, at the nth put.
pub struct Interrupting<'a> {
    pub store: MemoryStore,
    pub left: AtomicU64,
    pub interrupted: &'a AtomicBool,
}

impl<'a> Interrupting<'a> {
    pub fn at(store: &MemoryStore, nth: u64, interrupted: &'a AtomicBool) -> Interrupting<'a> {
        Interrupting { store: store.clone(), left: AtomicU64::new(nth), interrupted }
    }
}

impl ReadStore for Interrupting<'_> {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.store.get_range(name, offset, len)
    }
    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.store.get(name, max)
    }
    fn len(&self, name: &Name) -> Result<u64> {
        self.store.len(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.store.list(prefix, each)
    }
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    fn location(&self) -> String {
        self.store.location()
    }
}

impl Store for Interrupting<'_> {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        if self.left.fetch_sub(1, Relaxed) == 1 {
            self.interrupted.store(true, Relaxed);
        }
        self.store.put(name, parts)
    }
    fn delete(&self, name: &Name) -> Result<()> {
        self.store.delete(name)
    }
    fn barrier(&self) -> Result<()> {
        self.store.barrier()
    }
}

#[test]
fn a_clone_interrupted_at_any_put_goes_on() {
    let source = source(true, 2);
    let total = source.names().len() as u64;
    for nth in 1..=total {
        let copy = MemoryStore::new();
        let interrupted = AtomicBool::new(false);
        let first = clone_until(&source, &Interrupting::at(&copy, nth, &interrupted), &interrupted);
        if nth == total {
            // The last put is that of `config`.
            first.clean();
            same_objects(&source, &copy, "complete");
            continue;
        }
        assert!(matches!(first.error(), Error::Interrupted), "{nth}");
        let there = copy.names();
        assert_eq!(there.len() as u64, nth);
        let unfinished = open(Arc::new(copy.clone())).err().unwrap();
        assert_eq!(
            unfinished.to_string(),
            "memory: an unfinished clone of memory: run the clone again to complete it, or remove it"
        );
        assert!(matches!(create(&copy, Making::default()), Err(Error::Unfinished(_))));
        let read = Counting::new(source.clone());
        let written = Counting::new(copy.clone());
        let report = clone_to(&read, &written).clean();
        assert_eq!((report.already, report.objects), (nth - 1, total - 2 - (nth - 1)));
        let puts: BTreeSet<_> = written.puts().into_iter().collect();
        let again: Vec<_> = there.iter().filter(|name| puts.contains(*name)).collect();
        assert_eq!(again, [&name("replica")], "what was put before is not put again");
        assert_eq!(read.counts().get, total - (nth - 1), "nor read");
        same_objects(&source, &copy, "resumed");
        assert_eq!(replica(&copy).created, NOW);
        healthy(Arc::new(copy));
    }
}

/// An unfinished clone, with `there` objects besides `replica`.
fn unfinished(source: &MemoryStore, there: u64) -> MemoryStore {
    let copy = MemoryStore::new();
    let interrupted = AtomicBool::new(false);
    clone_until(source, &Interrupting::at(&copy, there + 1, &interrupted), &interrupted).error();
    copy
}

#[test]
fn only_the_same_source_completes_a_clone() {
    let (first, other) = (source(true, 2), source(true, 2));
    let copy = unfinished(&first, 3);
    let before = copy.snapshot();
    for begun in [clone_to(&other, &copy).error(), open(Arc::new(copy.clone())).err().unwrap()] {
        let wanted = Unfinished { place: "memory".into(), clone_of: Some("memory".into()) };
        assert!(matches!(begun, Error::Unfinished(what) if what == wanted));
    }
    assert!(copy.snapshot() == before, "it is not touched");
    // Without a place, the id stands for it.
    let mut replica = replica(&copy);
    replica.origin_location = None;
    copy.tamper_replace(&name("replica"), replica.encode());
    let text = open(Arc::new(copy.clone())).err().unwrap().to_string();
    assert!(text.contains(&replica_id(&first).hex()), "{text}");
    clone_to(&first, &copy).clean();
    same_objects(&first, &copy, "completed");
}

#[test]
fn an_unfinished_creation_is_not_cloned_over() {
    let source = source(true, 1);
    let begun = MemoryStore::new();
    for replica in [replica(&source).encode(), b"torn".to_vec()] {
        begun.tamper_replace(&name("replica"), replica);
        let before = begun.snapshot();
        let wanted = Unfinished { place: "memory".into(), clone_of: None };
        assert!(matches!(clone_to(&source, &begun).error(), Error::Unfinished(what) if what == wanted));
        assert!(begun.snapshot() == before);
    }
}

#[test]
fn torn_objects_of_an_unfinished_clone_are_copied_anew() {
    let source = source(true, 2);
    let all = source.names().len() as u64;
    let copy = unfinished(&source, all - 3);
    let torn: Vec<_> = copy.names().into_iter().filter(|name| name.as_str() != "replica").collect();
    torn.iter().for_each(|name| assert!(copy.tamper_truncate(name, 10)));
    let report = clone_to(&source, &copy).clean();
    assert_eq!((report.already, report.objects), (0, all - 2));
    same_objects(&source, &copy, "anew");
}

#[test]
fn a_passphrase_removed_before_the_clone_is_resumed_does_not_open_it() {
    let source = source(true, 2);
    let other = {
        let cost = plakar_engine::crypto::slot::Cost::TEST;
        let unlocked = open(Arc::new(source.clone())).unwrap();
        unlocked.base().add_key(&source, "other", b"other", cost, 0).unwrap()
    };
    let slot = name(&format!("keys/{other}"));
    // Interrupted after the keys.
    let copy = unfinished(&source, source.names().len() as u64 - 4);
    assert!(copy.names().contains(&slot));
    source.tamper_remove(&slot);
    let report = clone_to(&source, &copy).clean();
    assert_eq!(report.stale_key_slots, Vec::<String>::new());
    same_objects(&source, &copy, "without the slot");
}

#[test]
fn a_flag_that_is_set_from_the_beginning_leaves_a_clone_to_be_completed() {
    let source = source(true, 1);
    let copy = MemoryStore::new();
    assert!(matches!(clone_until(&source, &copy, &AtomicBool::new(true)).error(), Error::Interrupted));
    assert_eq!(copy.names(), [name("replica")]);
    let id = replica_id(&copy);
    clone_to(&source, &copy).clean();
    assert_eq!(replica_id(&copy), id, "it keeps the id it was given");
}
