//! A store that can tell what its log is at one moment: it is read in one look, and says the same.

use plakar_store::wrap::Counting;
use plakar_store::{Capabilities, Listed, MemoryStore, Name, ReadStore, Result, Store};
use plakar_testkit::source::{Node, Tree};
use plakar_testkit::stores::Far;
use plakar_testkit::world::*;
use std::sync::Arc;

fn pushed(store: &Arc<dyn Store>, seconds: i64) -> String {
    let mut tree = Tree::default();
    tree.put("f", Node::file(seconds.to_string().into_bytes()));
    let pushing = Pushing { now: 1_700_000_000 + seconds, ..Pushing::default() };
    push(store, &tree, &pushing).clean().row.uuid_text()
}

fn uuids(repository: &plakar_engine::repository::Repository) -> Vec<String> {
    repository.state().snapshots().iter().map(|one| one.row.uuid_text()).collect()
}

#[test]
fn a_log_in_which_nothing_is_new_costs_one_request() {
    let memory = MemoryStore::new();
    create(&memory, Making::default()).unwrap();
    let near: Arc<dyn Store> = Arc::new(memory.clone());
    let mut made = vec![pushed(&near, 1)];
    let counting = Arc::new(Counting::new(Far(memory.clone())));
    let mut repository = open(counting.clone()).unwrap();
    assert_eq!(uuids(&repository), made);
    let looks = |repository: &mut plakar_engine::repository::Repository| {
        counting.reset();
        repository.refresh().unwrap();
        let counts = counting.counts();
        (counts.list, counts.requests())
    };
    assert_eq!(looks(&mut repository), (1, 1));
    made.push(pushed(&near, 2));
    // The log, and what is new of it.
    assert_eq!(looks(&mut repository), (1, 2));
    let mut seen = uuids(&repository);
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
    assert_eq!(looks(&mut repository), (1, 1));
}

/// Names an object that is not there, and one that is there no longer.
struct Forgetful {
    inner: Far<MemoryStore>,
    also: Vec<Listed>,
}

impl ReadStore for Forgetful {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.inner.get_range(name, offset, len)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.inner.get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.inner.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.inner.list(prefix, each)?;
        let own = |one: &&Listed| one.name.as_str().starts_with(prefix);
        self.also.iter().filter(own).try_for_each(|one| each(one.clone()))
    }

    fn list_at_once(&self, prefixes: &[&str], known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        let mut all = self.inner.list_at_once(prefixes, known)?.unwrap();
        all.extend(self.also.iter().cloned());
        all.sort();
        Ok(Some(all))
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[test]
fn what_is_told_to_be_there_and_is_not_is_damage() {
    let memory = MemoryStore::new();
    create(&memory, Making::default()).unwrap();
    let near: Arc<dyn Store> = Arc::new(memory.clone());
    let (first, second) = (pushed(&near, 1), pushed(&near, 2));
    let lost = {
        let mut log = Vec::new();
        let add = &mut |one: Listed| {
            log.push(one);
            Ok(())
        };
        memory.list("log/", add).unwrap();
        log.sort_by_key(|one| one.len);
        log
    };
    assert!(lost.len() > 2);
    for one in lost {
        let damaged = MemoryStore::from_snapshot(memory.snapshot());
        damaged.delete(&one.name).unwrap();
        let forgetful = Forgetful { inner: Far(damaged), also: vec![one.clone()] };
        let repository = open(Arc::new(forgetful)).unwrap();
        let told: Vec<_> = repository.damaged().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(one.name.as_str())), "{}: {told:?}", one.name);
        assert!(uuids(&repository).iter().all(|uuid| [&first, &second].contains(&uuid)));
    }
}
