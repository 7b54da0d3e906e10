//! Every request of a clone fails once, in every way: an error, or a report of damage, or all is well; a store that is not
//! complete is usable for nothing, and the next run completes it.

use crate::common::*;
use plakar_engine::Error;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore};
use plakar_testkit::stores::{HONEST_FAULTS, LIES};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A clone is complete or not a repository; the next run completes it, and puts nothing again that is there.
fn completes(source: &MemoryStore, copy: &MemoryStore, case: &str) {
    if plakar_testkit::world::open(Arc::new(copy.clone())).is_ok() {
        same_objects(source, copy, case);
    }
    let there: BTreeSet<_> = copy.names().into_iter().collect();
    let complete = there.contains(&name("config"));
    let counting = Counting::new(copy.clone());
    let again = clone_to(source, &counting);
    assert_eq!(again.told, Vec::<String>::new(), "{case}");
    match again.result {
        Ok(report) => {
            assert!(!complete, "{case}");
            let again: Vec<_> = counting.puts().into_iter().filter(|name| there.contains(name)).collect();
            assert!(again.iter().all(|name| name.as_str() == "replica"), "{case}: put again: {again:?}");
            assert_eq!(report.objects + report.already + 2, copy.names().len() as u64, "{case}");
        }
        Err(Error::AlreadyThere(_)) => assert!(complete, "{case}"),
        Err(e) => panic!("{case}: {e}"),
    }
    same_objects(source, copy, case);
    whole(copy, case);
}

#[test]
fn the_destination_fails_at_any_request() {
    let source = source(true, 3);
    remove_oldest(&source);
    let requests = {
        let counting = Counting::new(MemoryStore::new());
        clone_to(&source, &counting).clean();
        counting.counts().requests()
    };
    let (mut failed, mut fine) = (0, 0);
    for fault in HONEST_FAULTS.into_iter().chain(LIES) {
        for nth in 1..=requests {
            let case = format!("{fault:?} at request {nth} of {requests} of the destination");
            let copy = MemoryStore::new();
            let faulty = Faulty::new(copy.clone(), nth);
            faulty.add(Rule::new(fault.clone()).nth(nth));
            let Cloned { result, told } = clone_to(&source, &faulty);
            assert_eq!(told, Vec::<String>::new(), "{case}");
            let wrong = if result.is_ok() { differing(&source, &copy) } else { Vec::new() };
            if !wrong.is_empty() {
                // Bits that a store flips are for a check to find. A `config` that it lost or tore says so itself.
                let is_flip = matches!(fault, Fault::Flip(_));
                assert!(LIES.contains(&fault) && (is_flip || wrong == [name("config")]), "{case}: {wrong:?}");
                assert!(is_flip || plakar_testkit::world::open(Arc::new(copy)).is_err(), "{case}");
                continue;
            }
            // The process ends, and the power fails.
            if !faulty.is_crashed() && fault != Fault::Lose {
                faulty.crash();
            }
            if result.is_ok() {
                same_objects(&source, &copy, &case);
                fine += 1;
            } else {
                failed += 1;
            }
            completes_unless_broken(&source, &copy, &fault, &case);
        }
    }
    println!("{requests} requests: {failed} failed, {fine} did not notice");
    assert!(failed > 4 * requests && fine > 0);
}

/// As [`completes`]; a `replica` that a lying store spoilt says for itself that it must go.
fn completes_unless_broken(source: &MemoryStore, copy: &MemoryStore, fault: &Fault, case: &str) {
    let replica = copy.get(&name("replica"), 1 << 16);
    let spoilt = replica.is_ok_and(|b| plakar_engine::repository::records::Replica::decode(&b).is_err());
    if LIES.contains(fault) && (spoilt || replica_is_lost(copy)) {
        assert!(plakar_testkit::world::open(Arc::new(copy.clone())).is_err(), "{case}");
        assert!(clone_to(source, copy).result.is_err(), "{case}");
        return;
    }
    if matches!(fault, Fault::Truncate(_)) && torn(source, copy) {
        // Torn objects of an unfinished clone are deleted and copied anew.
        clone_to(source, copy).clean();
        return same_objects(source, copy, case);
    }
    completes(source, copy, case);
}

fn replica_is_lost(copy: &MemoryStore) -> bool {
    !copy.names().contains(&name("replica")) && !copy.names().is_empty()
}

/// Objects that are not the same in both, or only in one.
fn differing(source: &MemoryStore, copy: &MemoryStore) -> Vec<Name> {
    let (wanted, there) = (shared_objects(source), shared_objects(copy));
    let names: BTreeSet<_> = wanted.keys().chain(there.keys()).collect();
    names.into_iter().filter(|name| wanted.get(*name) != there.get(*name)).cloned().collect()
}

/// Whether something is there in another length.
fn torn(source: &MemoryStore, copy: &MemoryStore) -> bool {
    let wanted = shared_objects(source);
    shared_objects(copy).iter().any(|(name, bytes)| wanted[name].len() != bytes.len())
}

#[test]
fn the_source_fails_at_any_request() {
    let source = source(true, 3);
    remove_oldest(&source);
    let requests = {
        let counting = Counting::new(source.clone());
        clone_to(&counting, &MemoryStore::new()).clean();
        counting.counts().requests()
    };
    let (mut failed, mut fine) = (0, 0);
    for fault in HONEST_FAULTS.into_iter().chain(LIES) {
        for nth in 1..=requests {
            let case = format!("{fault:?} at request {nth} of {requests} of the source");
            let copy = MemoryStore::new();
            let faulty = Faulty::new(source.clone(), nth);
            faulty.add(Rule::new(fault.clone()).nth(nth));
            let Cloned { result, told } = clone_to(&faulty, &copy);
            assert_eq!(told, Vec::<String>::new(), "{case}: each is asked twice");
            if result.is_ok() {
                same_objects(&source, &copy, &case);
                fine += 1;
            } else {
                failed += 1;
            }
            if !copy.names().is_empty() {
                completes(&source, &copy, &case);
            }
        }
    }
    println!("{requests} requests: {failed} failed, {fine} were tried again");
    assert!(failed > requests && fine > requests);
}

#[test]
fn a_store_that_is_full_at_any_byte_is_completed_when_there_is_room() {
    let source = source(true, 2);
    let total: u64 = source.snapshot().values().map(|bytes| bytes.len() as u64).sum();
    for step in 0..40 {
        let room = total * step / 40;
        let copy = MemoryStore::new();
        let faulty = Faulty::new(copy.clone(), step);
        faulty.set_room(Some(room));
        let error = clone_to(&source, &faulty).error();
        assert!(matches!(error, Error::Store(e) if e.kind() == ErrorKind::Full), "{room} of {total}");
        faulty.crash();
        completes(&source, &copy, &format!("room for {room} of {total} bytes"));
    }
}

/// A listing of the destination that shows too little costs work or an error, never what is there.
#[test]
fn a_destination_that_lists_too_little_is_found_out() {
    let source = source(true, 2);
    for prefix in ["packs/", "log/", "keys/", "keyring/"] {
        for fault in [Fault::Lose, Fault::Truncate(0)] {
            let faulty = Faulty::new(MemoryStore::new(), 1);
            faulty.add(Rule::new(fault).on(Request::List).prefix(prefix).from(2));
            let error = clone_to(&source, &faulty).error();
            assert!(matches!(error, Error::Damaged { .. }), "{prefix}: {error}");
            assert!(!faulty.inner().names().contains(&name("config")));
        }
    }
}
