//! What a clone of a healthy repository is.

use crate::common::*;
use plakar_engine::Error;
use plakar_engine::clone::{CloneProgress, clone};
use plakar_engine::crypto::slot::Cost;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{DirStore, ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[test]
fn a_clone_is_its_source_under_another_id() {
    for encrypted in [true, false] {
        let source = rich_source(encrypted);
        let copy = MemoryStore::new();
        let report = clone_to(&source, &copy).clean();
        let case = format!("encrypted {encrypted}");
        same_objects(&source, &copy, &case);
        let (first, second) = (replica(&source), replica(&copy));
        assert_ne!(first.id, second.id);
        assert_eq!((second.origin, second.origin_location), (Some(first.id), Some("memory".into())));
        assert_eq!((second.created, second.pack_bytes, second.strong_list), (NOW, first.pack_bytes, true));
        let shared = shared_objects(&copy);
        let counted = shared.iter().filter(|(name, _)| name.as_str() != "config");
        let bytes: u64 = counted.map(|(_, bytes)| bytes.len() as u64).sum();
        let objects = copy.names().len() as u64 - 2;
        assert_eq!((report.objects, report.bytes, report.already), (objects, bytes, 0));
        assert_eq!(whole(&source, &case), whole(&copy, &case));
        assert_eq!(whole(&copy, &case).len(), 2);
        healthy(Arc::new(copy));
    }
}

#[test]
fn a_clone_is_pushed_to_removed_from_and_cloned_again() {
    for encrypted in [true, false] {
        let source = source(encrypted, 2);
        let (copy, third) = (MemoryStore::new(), MemoryStore::new());
        clone_to(&source, &copy).clean();
        let before = source.snapshot();
        let new = push_version(&copy, 2);
        remove_oldest(&copy);
        assert!(source.snapshot() == before, "what is written to a clone is not written to its source");
        clone_to(&copy, &third).clean();
        same_objects(&copy, &third, "chain");
        assert_eq!(replica(&third).origin, Some(replica_id(&copy)));
        let given = whole(&third, "chain");
        assert_eq!(given.len(), 2);
        assert_eq!(given[&new], expected(&tree(2)));
        healthy(Arc::new(third));
    }
}

#[test]
fn folders_are_cloned_and_empty_repositories_too() {
    let temp = tempfile::tempdir().unwrap();
    for (encrypted, pushes) in [(true, 2), (false, 2), (true, 0), (false, 0)] {
        let at = |what: &str| temp.path().join(format!("{what}-{encrypted}-{pushes}"));
        let memory = source(encrypted, pushes);
        let (first, second) = (DirStore::create(at("one")).unwrap(), DirStore::create(at("two")).unwrap());
        clone_to(&memory, &first).clean();
        clone_to(&first, &second).clean();
        let back = MemoryStore::new();
        clone_to(&DirStore::open(at("two")).unwrap(), &back).clean();
        same_objects(&memory, &back, "there and back");
        assert_eq!(replica(&second).origin_location, Some(at("one").display().to_string()));
        let repo = healthy(Arc::new(DirStore::open(at("two")).unwrap()));
        assert_eq!(repo.state().snapshots().len() as u64, pushes);
    }
}

#[test]
fn several_destinations_cost_one_read_of_the_source() {
    let memory = rich_source(true);
    for workers in [1, 4] {
        let source = Counting::new(memory.clone());
        let copies: Vec<MemoryStore> = (0..3).map(|_| MemoryStore::new()).collect();
        // One of them has some of it already, from a clone that ran out of room.
        let full = Faulty::new(copies[1].clone(), 1);
        let is_large = |name: &Name| ["packs/", "index/"].iter().any(|p| name.as_str().starts_with(p));
        let large = memory.snapshot().into_iter().filter(|(name, _)| is_large(name));
        full.set_room(Some(large.map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + 300));
        assert!(matches!(clone_to(&memory, &full).error(), Error::Store(e) if e.kind() == ErrorKind::Full));
        let had = copies[1].names().len() as u64 - 1;
        assert!(had > 2);
        let destinations: Vec<&dyn Store> = copies.iter().map(|copy| copy as &dyn Store).collect();
        let options = plakar_engine::clone::CloneOptions { workers, ..options() };
        let mut steps: Vec<CloneProgress> = Vec::new();
        let results = clone(
            &source,
            &destinations,
            &options,
            &mut |what| panic!("{what}"),
            &mut |step| steps.push(step),
            &AtomicBool::new(false),
        );
        let results: Vec<_> = results.unwrap().into_iter().map(Result::unwrap).collect();
        let total: u64 = memory.snapshot().values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!(source.counts().bytes_read, total, "{workers} workers: every byte is read once");
        assert_eq!(source.counts().get, memory.names().len() as u64);
        copies.iter().for_each(|copy| same_objects(&memory, copy, "several"));
        let ids: BTreeSet<_> = copies.iter().map(|copy| replica_id(copy)).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!((results[0].already, results[1].already), (0, had));
        assert_eq!(results[1].objects + had, results[0].objects);
        let last = steps.last().unwrap();
        assert_eq!((last.objects, last.objects_known), (results[0].objects, results[0].objects));
        assert_eq!((last.bytes, last.bytes_known), (results[0].bytes, results[0].bytes));
        assert!(steps.windows(2).all(|two| two[0].objects < two[1].objects));
    }
}

#[test]
fn a_destination_that_fails_does_not_end_the_others() {
    let source = source(true, 2);
    let other = MemoryStore::new();
    create(&other, Making::default()).unwrap();
    let occupied = other.snapshot();
    for nth in 1..20 {
        let (good, bad) = (MemoryStore::new(), Faulty::new(MemoryStore::new(), 1));
        bad.add(Rule::new(Fault::Error(ErrorKind::Full)).on(Request::Put).nth(nth));
        let destinations: [&dyn Store; 3] = [&bad, &good, &other];
        let results = clone(
            &source,
            &destinations,
            &options(),
            &mut |what| panic!("{what}"),
            &mut |_| {},
            &AtomicBool::new(false),
        );
        let results = results.unwrap();
        if bad.fired() == 0 {
            assert!(nth > 10 && results[0].is_ok());
            return;
        }
        assert!(matches!(&results[0], Err(Error::Store(e)) if e.kind() == ErrorKind::Full), "{nth}");
        assert!(results[1].is_ok());
        assert!(matches!(&results[2], Err(Error::AlreadyThere(_))));
        same_objects(&source, &good, "the good one");
        assert!(other.snapshot() == occupied, "what is there is not touched");
        assert!(open(Arc::new(bad.inner().clone())).is_err());
    }
    panic!("every put failed");
}

#[test]
fn options_are_kept_or_refused() {
    let source = source(false, 1);
    for (asked, wanted) in [(None, Some(4 << 10)), (Some(1 << 20), Some(1 << 20)), (Some(0), None)] {
        let copy = MemoryStore::new();
        let options = plakar_engine::clone::CloneOptions { pack_bytes: asked, ..options() };
        let never = AtomicBool::new(false);
        let result = clone(&source, &[&copy], &options, &mut |_| {}, &mut |_| {}, &never);
        match wanted {
            Some(bytes) => {
                result.unwrap().remove(0).unwrap();
                assert_eq!(replica(&copy).pack_bytes, bytes);
            }
            None => {
                assert!(matches!(result, Err(Error::Refused(_))));
                assert_eq!(copy.names(), []);
            }
        }
    }
}

#[test]
fn a_source_that_cannot_be_opened_gives_the_error_that_opening_gives() {
    let whole = source(true, 1);
    let mut cases: Vec<MemoryStore> = vec![MemoryStore::new()];
    for what in ["config", "replica"] {
        for damage in 0..3 {
            let store = MemoryStore::from_snapshot(whole.snapshot());
            match damage {
                0 => store.tamper_remove(&name(what)),
                1 => store.tamper_flip(&name(what), 200),
                _ => store.tamper_truncate(&name(what), 20),
            };
            cases.push(store);
        }
    }
    let unfinished = MemoryStore::new();
    unfinished.tamper_replace(&name("replica"), whole.get(&name("replica"), 1 << 16).unwrap());
    cases.push(unfinished);
    for store in cases {
        let copy = MemoryStore::new();
        let opened = open(Arc::new(store.clone())).err().expect("it does not open").to_string();
        assert_eq!(clone_to(&store, &copy).error().to_string(), opened);
        assert_eq!(copy.names(), []);
    }
    let lost = MemoryStore::from_snapshot(whole.snapshot());
    lost.tamper_remove(&name("replica"));
    assert!(clone_to(&lost, &MemoryStore::new()).error().to_string().contains("plakar adopt"));
}

#[test]
fn nothing_is_put_where_something_is() {
    let source = source(true, 1);
    assert!(matches!(clone_to(&source, &source).error(), Error::AlreadyThere(_)), "to itself");
    let copy = MemoryStore::new();
    clone_to(&source, &copy).clean();
    assert!(matches!(clone_to(&source, &copy).error(), Error::AlreadyThere(_)), "a finished clone");
    for there in ["something", "packs/ab/cd", "keys/0011223344556677"] {
        let store = MemoryStore::new();
        store.put(&name(there), &[b"x"]).unwrap();
        assert!(matches!(clone_to(&source, &store).error(), Error::AlreadyThere(_)), "{there}");
        assert_eq!(store.names(), [name(there)]);
    }
}

#[test]
fn what_a_repository_does_not_know_is_not_copied() {
    let source = source(true, 1);
    source.put(&name("elsewhere/x"), &[b"x"]).unwrap();
    let copy = MemoryStore::new();
    clone_to(&source, &copy).clean();
    assert!(!copy.names().contains(&name("elsewhere/x")));
    source.tamper_remove(&name("elsewhere/x"));
    same_objects(&source, &copy, "but for that");
}

#[test]
fn passphrases_of_the_source_open_the_clone() {
    let source = rich_source(true);
    let copy = MemoryStore::new();
    clone_to(&source, &copy).clean();
    let locked = || plakar_engine::repository::Locked::open(Arc::new(copy.clone())).unwrap();
    for (passphrase, opens) in [(PASSPHRASE, true), (b"other", true), (b"wrong", false)] {
        assert_eq!(locked().unlock(Some(passphrase)).is_ok(), opens);
    }
    let unlocked = locked().unlock(Some(b"other")).unwrap();
    unlocked.add_key(&copy, "third", b"third", Cost::TEST, 0).unwrap();
    assert!(locked().unlock(Some(b"third")).is_ok());
}
