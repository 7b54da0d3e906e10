//! Whatever is asked of a database, it answers as the store in memory does.

use plakar_store::{ErrorKind, Listed, MemoryStore, Name, ReadStore, Result, Store};
use plakar_store_sqlite::SqliteStore;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put(Name, Vec<u8>),
    Delete(Name),
    Get(Name, usize),
    Range(Name, u64, usize),
    Len(Name),
    List(String),
    Barrier,
}

fn step() -> impl Strategy<Value = Step> {
    // No name is a folder of another here: no store need bear that.
    const NAMES: &[&str] =
        &["config", "log/a", "log/b", "packs/aa/0", "packs/aa/1", "packs/ab/0", "packs-old/0"];
    let name = prop::sample::select(NAMES).prop_map(|text| Name::new(text).unwrap());
    let bytes = prop::collection::vec(0u8..2, 0..3);
    const PREFIXES: &[&str] = &["", "p", "packs", "packs/", "packs/a", "packs/aa/", "log/a", "x"];
    let prefix = prop::sample::select(PREFIXES);
    prop_oneof![
        4 => (name.clone(), bytes).prop_map(|(name, bytes)| Step::Put(name, bytes)),
        2 => name.clone().prop_map(Step::Delete),
        2 => (name.clone(), 0usize..4).prop_map(|(name, max)| Step::Get(name, max)),
        2 => (name.clone(), 0u64..4, 0usize..4).prop_map(|(name, offset, len)| Step::Range(name, offset, len)),
        1 => name.prop_map(Step::Len),
        1 => prefix.prop_map(|prefix| Step::List(prefix.into())),
        1 => Just(Step::Barrier),
    ]
}

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Bytes(Vec<u8>),
    Len(u64),
    Listing(Vec<(Name, u64)>),
}

fn answer(store: &dyn Store, step: &Step) -> std::result::Result<Answer, ErrorKind> {
    let ask = || -> Result<Answer> {
        Ok(match step {
            Step::Put(name, bytes) => store.put(name, &[bytes]).map(|()| Answer::Done)?,
            Step::Delete(name) => store.delete(name).map(|()| Answer::Done)?,
            Step::Get(name, max) => Answer::Bytes(store.get(name, *max)?),
            Step::Range(name, offset, len) => Answer::Bytes(store.get_range(name, *offset, *len)?),
            Step::Len(name) => Answer::Len(store.len(name)?),
            Step::List(prefix) => Answer::Listing(listing(store, prefix)?),
            Step::Barrier => store.barrier().map(|()| Answer::Done)?,
        })
    };
    ask().map_err(|e| e.kind())
}

fn listing(store: &dyn ReadStore, prefix: &str) -> Result<Vec<(Name, u64)>> {
    let mut all = Vec::new();
    let add = &mut |listed: Listed| {
        all.push((listed.name, listed.len));
        Ok(())
    };
    store.list(prefix, add)?;
    all.sort();
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_database_answers_as_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        let temp = tempfile::tempdir().unwrap();
        let database = SqliteStore::create(temp.path().join("store.db")).unwrap();
        let memory = MemoryStore::new();
        for step in &steps {
            prop_assert_eq!(answer(&database, step), answer(&memory, step), "{:?}", step);
        }
    }
}
