//! Keeping a clone current.

use crate::common::*;
use crate::resuming::Interrupting;
use plakar_engine::Error;
use plakar_engine::clone::adopt;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, ReadStore, Store};
use plakar_testkit::world::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A source and a clone that has not got its last push and removal.
fn behind(encrypted: bool) -> (MemoryStore, MemoryStore) {
    let source = source(encrypted, 2);
    let copy = MemoryStore::new();
    clone_to(&source, &copy).clean();
    push_version(&source, 2);
    remove_oldest(&source);
    (source, copy)
}

#[test]
fn an_update_brings_what_is_new_and_nothing_else() {
    for encrypted in [true, false] {
        let (source, copy) = behind(encrypted);
        let had = copy.names().len() as u64 - 2;
        let new = source.names().len() as u64 - 2 - had;
        let (read, written) = (Counting::new(source.clone()), Counting::new(copy.clone()));
        let report = update_to(&read, &written).clean();
        assert_eq!((report.objects, report.already), (new, had));
        assert_eq!(read.counts().get, new + 2, "and the two plain objects");
        assert_eq!((written.counts().delete, written.puts().len() as u64), (0, new));
        same_objects(&source, &copy, "updated");
        assert_eq!(whole(&copy, "updated").len(), 2);
        healthy(Arc::new(copy.clone()));
        let report = update_to(&source, &copy).clean();
        assert_eq!((report.objects, report.bytes), (0, 0), "nothing is new");
    }
}

#[test]
fn nothing_is_deleted_when_the_source_has_less() {
    let (source, copy) = behind(false);
    update_to(&source, &copy).clean();
    crate::collecting::collect_everything().into_iter().for_each(|step| step(&source));
    let before = copy.snapshot();
    update_to(&source, &copy).clean();
    let after = copy.snapshot();
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
    assert_eq!(whole(&source, "source"), whole(&copy, "copy"));
}

fn refused(source: &MemoryStore, copy: &MemoryStore, why: &str) {
    let before = copy.snapshot();
    let error = update_to(source, copy).error();
    assert!(matches!(&error, Error::Refused(what) if what.contains(why)), "{why}: {error}");
    assert!(copy.snapshot() == before, "{why}: it is not touched");
}

#[test]
fn only_a_clone_that_wrote_nothing_is_updated() {
    for encrypted in [true, false] {
        let (source, copy) = behind(encrypted);
        push_version(&copy, 7);
        refused(&source, &copy, "has written on its own");
        let (source, copy) = behind(encrypted);
        remove_oldest(&copy);
        refused(&source, &copy, "has written on its own");
        let (source, copy) = behind(encrypted);
        let own = name(&format!("log/20200101t000000z-{}", "0".repeat(64)));
        copy.put(&own, &[b"what is this"]).unwrap();
        refused(&source, &copy, "may be something of the copy's own");
    }
}

#[test]
fn a_segment_of_its_own_counts_as_written() {
    let (source, copy) = behind(false);
    let by = plakar_engine::index::segment::Author {
        replica: replica_id(&copy),
        ..author(&open(Arc::new(copy.clone())).unwrap())
    };
    let sealer = plakar_engine::crypto::seal::Sealer::plain(
        open(Arc::new(copy.clone())).unwrap().base().config().domain,
    );
    let bytes = plakar_engine::index::segment::SegmentBuilder::default().encode(&by, &sealer);
    let hash = plakar_engine::id::ObjectHash(*blake3::hash(&bytes).as_bytes());
    copy.put(&plakar_engine::index::segment::segment_name(&hash), &[&bytes]).unwrap();
    refused(&source, &copy, "has written on its own");
}

#[test]
fn only_a_clone_of_this_source_is_updated() {
    let (source, copy) = behind(true);
    let (_, other) = behind(true);
    refused(&source, &other, "is not a clone of");
    refused(&source, &source.clone(), "is not a clone of");
    let config = other.get(&name("config"), 1 << 16).unwrap();
    let config = plakar_engine::repository::records::Config::decode(&config).unwrap();
    let mut config = config;
    config.compression = 9;
    let changed = MemoryStore::from_snapshot(copy.snapshot());
    changed.tamper_replace(&name("config"), config.encode());
    refused(&source, &changed, "its config is no longer that of");
    let adopted = MemoryStore::from_snapshot(source.snapshot());
    adopt(&adopted, NOW).unwrap();
    refused(&adopted, &copy, "is not a clone of");
    for nowhere in [MemoryStore::new(), unfinished(&source)] {
        let error = update_to(&source, &nowhere).error();
        assert!(matches!(error, Error::NoRepository(_) | Error::Unfinished(_)), "{error}");
    }
}

fn unfinished(source: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    clone_until(source, &copy, &AtomicBool::new(true)).error();
    copy
}

/// A copy is written to while it is updated.
#[test]
fn a_push_to_the_copy_meanwhile_is_found() {
    let (source, copy) = behind(false);
    let pushed = std::sync::Once::new();
    let at_copy = copy.clone();
    let mut told = |_: plakar_engine::clone::CloneProgress| {
        pushed.call_once(|| {
            push_version(&at_copy, 9);
        })
    };
    let never = AtomicBool::new(false);
    let result = plakar_engine::clone::update(&source, &copy, &options(), &mut |_| {}, &mut told, &never);
    assert!(matches!(result, Err(Error::Refused(what)) if what.contains("has written on its own")));
    let admin = |store: &MemoryStore| count(store, "admin/");
    assert_eq!((admin(&source), admin(&copy)), (1, 0), "it is found before anything takes effect");
}

/// Each snapshot that both show is whole; what is listed at the copy only is on its way out.
fn is_valid(source: &MemoryStore, copy: &MemoryStore, case: &str) {
    let wanted = whole(source, case);
    let repo = open(Arc::new(copy.clone())).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(repo.damaged(), Vec::<String>::new(), "{case}");
    assert_eq!(repo.state().view.ended_without_beginning().count(), 0, "{case}");
    for (uuid, (entries, problems)) in given(copy).unwrap() {
        if let Some(wanted) = wanted.get(&uuid) {
            assert!(problems.is_empty() && entries == *wanted, "{case}: {problems:?}");
        }
    }
}

#[test]
fn an_update_interrupted_at_any_put_leaves_a_valid_copy_and_goes_on() {
    // With a collector's work on the way: all packs are others than before.
    let (source, cloned) = behind(false);
    push_version(&source, 3);
    crate::collecting::collect_everything().into_iter().for_each(|step| step(&source));
    let total = {
        let counting = Counting::new(MemoryStore::from_snapshot(cloned.snapshot()));
        update_to(&source, &counting).clean();
        counting.counts().put
    };
    assert!(total > 10, "{total}");
    for nth in 1..total {
        let case = format!("interrupted at put {nth} of {total}");
        let copy = MemoryStore::from_snapshot(cloned.snapshot());
        let interrupted = AtomicBool::new(false);
        let first = update_until(&source, &Interrupting::at(&copy, nth, &interrupted), &interrupted);
        assert!(matches!(first.error(), Error::Interrupted), "{case}");
        is_valid(&source, &copy, &case);
        let counting = Counting::new(copy.clone());
        update_to(&source, &counting).clean();
        assert_eq!(counting.counts().put, total - nth, "{case}");
        assert_eq!(whole(&source, &case), whole(&copy, &case), "{case}");
    }
}

#[test]
fn an_update_with_any_failing_request_leaves_a_valid_copy() {
    let (source, cloned) = behind(true);
    push_version(&source, 3);
    let requests = {
        let counting = Counting::new(MemoryStore::from_snapshot(cloned.snapshot()));
        update_to(&source, &counting).clean();
        counting.counts().requests()
    };
    let mut failed = 0;
    for fault in
        [Fault::Error(ErrorKind::Io), Fault::ErrorAfter(ErrorKind::Full), Fault::Crash, Fault::CrashAfter]
    {
        for nth in 1..=requests {
            let case = format!("{fault:?} at request {nth} of {requests}");
            let copy = MemoryStore::from_snapshot(cloned.snapshot());
            let faulty = Faulty::new(copy.clone(), nth);
            faulty.add(Rule::new(fault.clone()).nth(nth));
            failed += u64::from(update_to(&source, &faulty).result.is_err());
            if !faulty.is_crashed() {
                faulty.crash();
            }
            is_valid(&source, &copy, &case);
            update_to(&source, &copy).clean();
            same_objects(&source, &copy, &case);
        }
    }
    assert!(failed >= 4 * requests - 8, "{failed} of {requests} × 4");
}

#[test]
fn lost_puts_are_found_before_facts_rely_on_them() {
    let (source, copy) = behind(true);
    let faulty = Faulty::new(copy.clone(), 1);
    faulty.add(Rule::new(Fault::Lose).on(Request::Put).prefix("packs/").times(1));
    let facts = || (count(&copy, "log/"), count(&copy, "admin/"));
    let before = facts();
    let error = update_to(&source, &faulty).error();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(facts(), before);
    is_valid(&source, &copy, "lost");
    update_to(&source, &copy).clean();
    same_objects(&source, &copy, "found");
}

#[test]
fn key_slots_come_along_and_stale_ones_are_told() {
    let (source, copy) = behind(true);
    let cost = plakar_engine::crypto::slot::Cost::TEST;
    let unlocked = open(Arc::new(source.clone())).unwrap();
    let added = unlocked.base().add_key(&source, "new", b"new", cost, 0).unwrap();
    assert_eq!(update_to(&source, &copy).clean().stale_key_slots, Vec::<String>::new());
    assert!(copy.names().contains(&name(&format!("keys/{added}"))));
    unlocked.base().remove_key(&source, &added, PASSPHRASE).unwrap();
    assert_eq!(update_to(&source, &copy).clean().stale_key_slots, std::slice::from_ref(&added));
    assert!(copy.names().contains(&name(&format!("keys/{added}"))), "it is told, not taken away");
}

#[test]
fn what_is_damaged_at_the_copy_is_put_anew_if_the_source_is_whole() {
    let (source, whole_copy) = behind(true);
    update_to(&source, &whole_copy).clean();
    for prefix in ["packs/", "log/", "admin/", "keyring/"] {
        let object = source.names().into_iter().find(|name| name.as_str().starts_with(prefix)).unwrap();
        let copy = MemoryStore::from_snapshot(whole_copy.snapshot());
        copy.tamper_truncate(&object, 100);
        let Cloned { result, told } = update_to(&source, &copy);
        assert_eq!((result.unwrap().damaged, told.len()), (1, 1), "{told:?}");
        assert!(told[0].starts_with(object.as_str()) && told[0].contains("put there anew"), "{told:?}");
        same_objects(&source, &copy, prefix);
        // The other way round, the copy keeps what it has.
        let (damaged, copy) = (MemoryStore::from_snapshot(source.snapshot()), whole_copy.clone());
        damaged.tamper_truncate(&object, 100);
        let Cloned { result, told } = update_to(&damaged, &copy);
        assert_eq!((result.unwrap().damaged, told.len()), (1, 1), "{told:?}");
        assert!(told[0].starts_with(object.as_str()) && !told[0].contains("copied"), "{told:?}");
        same_objects(&source, &copy, prefix);
        // And when both are damaged, nothing is touched.
        let copy = MemoryStore::from_snapshot(whole_copy.snapshot());
        copy.tamper_truncate(&object, 60);
        let before = copy.snapshot();
        let Cloned { result, told } = update_to(&damaged, &copy);
        assert_eq!((result.unwrap().damaged, told.len()), (1, 2), "{told:?}");
        assert!(copy.snapshot() == before);
    }
}

#[test]
fn a_relay_of_a_relay_is_kept_current() {
    let (source, relay) = behind(true);
    let end = MemoryStore::new();
    clone_to(&relay, &end).clean();
    update_to(&source, &relay).clean();
    update_to(&relay, &end).clean();
    same_objects(&source, &end, "by way of the relay");
    push_version(&source, 5);
    update_to(&source, &relay).clean();
    update_to(&relay, &end).clean();
    assert_eq!(whole(&source, "source"), whole(&end, "end"));
}

#[test]
fn what_was_copied_damaged_is_mended_once_the_source_is() {
    let whole_source = rich_source(true);
    for object in whole_source.names() {
        let kind = object.as_str().split('/').next().unwrap();
        if kind == "replica" || kind == "config" {
            continue;
        }
        let damaged = MemoryStore::from_snapshot(whole_source.snapshot());
        damaged.tamper_flip(&object, 8 * 12 + 3);
        let copy = MemoryStore::new();
        assert_eq!(clone_to(&damaged, &copy).result.unwrap().damaged, 1, "{object}");
        assert_eq!(count(&copy, "damaged/"), 1);
        // Nothing is new, and the damage is told again.
        let Cloned { result, told } = update_to(&damaged, &copy);
        assert_eq!((result.unwrap().damaged, told.len(), count(&copy, "damaged/")), (1, 1, 1), "{told:?}");
        same_objects(&damaged, &copy, object.as_str());
        // The source is mended, and only what was damaged is read again.
        let (read, written) = (Counting::new(whole_source.clone()), Counting::new(copy.clone()));
        let Cloned { result, told } = update_to(&read, &written);
        assert_eq!((result.unwrap().objects, told.len()), (1, 1), "{told:?}");
        assert_eq!((read.counts().get, count(&copy, "damaged/")), (1 + 2, 0));
        assert!(written.counts().get <= 1 + 2);
        same_objects(&whole_source, &copy, object.as_str());
        healthy(Arc::new(copy.clone()));
        assert_eq!(update_to(&whole_source, &copy).clean().objects, 0);
        // Or the copy was mended in another way.
        let copy = MemoryStore::new();
        clone_to(&damaged, &copy).result.unwrap();
        copy.tamper_flip(&object, 8 * 12 + 3);
        assert_eq!(update_to(&whole_source, &copy).clean().objects, 0);
        assert_eq!(count(&copy, "damaged/"), 0);
    }
}

#[test]
fn what_was_copied_damaged_is_known_for_it_after_any_crash() {
    let whole_source = source(false, 1);
    let pack = whole_source.names().into_iter().find(|name| name.as_str().starts_with("packs/")).unwrap();
    let damaged = MemoryStore::from_snapshot(whole_source.snapshot());
    damaged.tamper_flip(&pack, 999);
    let mut crashes = 0;
    for (request, nth) in
        [Request::Put, Request::Delete, Request::Barrier].iter().flat_map(|r| (1..9).map(move |n| (*r, n)))
    {
        for at_update in [false, true] {
            let store = MemoryStore::new();
            if at_update {
                clone_to(&damaged, &store).result.unwrap();
            }
            let faulty = Faulty::new(store.clone(), nth);
            faulty.add(Rule::new(Fault::CrashAfter).on(request).nth(nth));
            let _ = if at_update { update_to(&whole_source, &faulty) } else { clone_to(&damaged, &faulty) };
            if !faulty.is_crashed() {
                continue;
            }
            crashes += 1;
            faulty.revive();
            faulty.clear();
            if !at_update && clone_to(&damaged, &faulty).result.is_err() {
                // It was complete but for the last answer.
                assert!(store.len(&name("config")).is_ok());
            }
            let _ = update_to(&whole_source, &faulty).result.unwrap();
            same_objects(&whole_source, &store, &format!("{request:?} {nth}, {at_update}"));
        }
    }
    assert!(crashes > 8, "{crashes}");
}
