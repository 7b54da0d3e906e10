//! Empty repositories like another, and ids for copies that ordinary tools made.

use crate::common::*;
use plakar_engine::Error;
use plakar_engine::clone::{CloneOptions, adopt, create_like};
use plakar_engine::repository::{Locked, PACK_BYTES_DEFAULT};
use plakar_store::wrap::{Counting, Fault, Faulty, Rule};
use plakar_store::{MemoryStore, ReadStore, Store};
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;

#[test]
fn a_repository_like_another_is_empty_and_of_its_domain() {
    for encrypted in [true, false] {
        let source = source(encrypted, 1);
        let like = MemoryStore::new();
        create_like(&source, &like, &options()).unwrap();
        let (first, second) = (replica(&source), replica(&like));
        assert_ne!(first.id, second.id);
        assert_eq!((second.origin, second.origin_location.clone()), (None, None));
        assert_eq!((second.pack_bytes, second.created), (first.pack_bytes, NOW));
        let shared = ["config", "keys/", "keyring/"];
        let mut wanted = shared_objects(&source);
        wanted.retain(|name, _| shared.iter().any(|prefix| name.as_str().starts_with(prefix)));
        assert!(shared_objects(&like) == wanted);
        let [one, other] = [&source, &like].map(|store| open(Arc::new(store.clone())).unwrap());
        assert_eq!(one.base().config().domain, other.base().config().domain);
        assert_eq!(other.state().snapshots().len(), 0);
        // The same tree has the same ids in both.
        push_version(&source, 4);
        push_version(&like, 4);
        let roots = [&source, &like].map(|store| {
            let repo = healthy(Arc::new(store.clone()));
            repo.state().snapshots().last().unwrap().row.root
        });
        assert_eq!(roots[0].node, roots[1].node);
    }
}

#[test]
fn what_is_not_whole_is_not_likened() {
    let options = CloneOptions { pack_bytes: Some(7 << 20), ..options() };
    let source = source(true, 1);
    let like = MemoryStore::new();
    create_like(&source, &like, &options).unwrap();
    assert_eq!(replica(&like).pack_bytes, 7 << 20);
    assert!(matches!(create_like(&source, &like, &options), Err(Error::AlreadyThere(_))));
    assert!(matches!(create_like(&source, &source, &options), Err(Error::AlreadyThere(_))));
    let there = MemoryStore::new();
    there.put(&name("x"), &[b"x"]).unwrap();
    assert!(matches!(create_like(&source, &there, &options), Err(Error::AlreadyThere(_))));
    assert!(matches!(
        create_like(&MemoryStore::new(), &MemoryStore::new(), &options),
        Err(Error::NoRepository(_))
    ));
    let absurd = CloneOptions { pack_bytes: Some(0), ..options.clone() };
    assert!(matches!(create_like(&source, &MemoryStore::new(), &absurd), Err(Error::Refused(_))));
    for object in source.names() {
        if !["keys", "keyring"].contains(&object.folder().unwrap_or("")) {
            continue;
        }
        for gone in [false, true] {
            let damaged = MemoryStore::from_snapshot(source.snapshot());
            assert!(if gone { damaged.tamper_remove(&object) } else { damaged.tamper_flip(&object, 300) });
            let like = MemoryStore::new();
            assert!(matches!(create_like(&damaged, &like, &options), Err(Error::Damaged { .. })), "{object}");
            assert!(matches!(open(Arc::new(like)), Err(Error::Unfinished(_))));
        }
    }
}

#[test]
fn a_creation_that_fails_anywhere_is_unfinished() {
    let source = source(true, 0);
    let requests = {
        let counting = Counting::new(MemoryStore::new());
        create_like(&source, &counting, &options()).unwrap();
        counting.counts().requests()
    };
    for nth in 1..=requests {
        let like = MemoryStore::new();
        let faulty = Faulty::new(like.clone(), nth);
        faulty.add(Rule::new(Fault::Crash).nth(nth));
        assert!(create_like(&source, &faulty, &options()).is_err());
        match open(Arc::new(like.clone())) {
            Ok(_) => assert!(nth == requests && shared_objects(&like) == shared_objects(&source)),
            Err(e) => assert!(matches!(e, Error::Unfinished(_) | Error::NoRepository(_)), "{nth}: {e}"),
        }
    }
}

#[test]
fn an_adopted_copy_has_an_id_of_its_own() {
    let source = source(true, 2);
    let copy = MemoryStore::from_snapshot(source.snapshot());
    let id = adopt(&copy, NOW + 5).unwrap();
    let (first, second) = (replica(&source), replica(&copy));
    assert_ne!(first.id, id);
    assert_eq!((second.id, second.origin, second.origin_location.clone()), (id, Some(first.id), None));
    assert_eq!((second.pack_bytes, second.created, second.strong_list), (first.pack_bytes, NOW + 5, true));
    same_objects(&source, &copy, "adopted");
    push_version(&copy, 3);
    assert_eq!(healthy(Arc::new(copy)).state().snapshots().len(), 3);
}

#[test]
fn adopting_mends_a_replica_that_is_damaged_or_missing() {
    let source = source(true, 2);
    for damage in 0..3 {
        let copy = MemoryStore::from_snapshot(source.snapshot());
        match damage {
            0 => copy.tamper_remove(&name("replica")),
            1 => copy.tamper_flip(&name("replica"), 99),
            _ => {
                copy.tamper_replace(&name("replica"), vec![0; 100_000]);
                true
            }
        };
        assert!(open(Arc::new(copy.clone())).is_err());
        let id = adopt(&copy, NOW).unwrap();
        let made = replica(&copy);
        assert_eq!((made.id, made.origin, made.pack_bytes), (id, None, PACK_BYTES_DEFAULT));
        same_objects(&source, &copy, "adopted");
        healthy(Arc::new(copy));
    }
}

#[test]
fn what_is_no_repository_is_not_adopted() {
    assert!(matches!(adopt(&MemoryStore::new(), NOW), Err(Error::NoRepository(_))));
    let begun = MemoryStore::new();
    begun.tamper_replace(&name("replica"), replica(&source(false, 0)).encode());
    let before = begun.snapshot();
    assert!(matches!(adopt(&begun, NOW), Err(Error::Unfinished(_))));
    assert!(begun.snapshot() == before);
}

#[test]
fn adopting_again_mends_what_a_crash_left() {
    let source = source(true, 1);
    let mut left = BTreeSet::new();
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for nth in 1..=5 {
            for seed in 0..8 {
                let copy = MemoryStore::from_snapshot(source.snapshot());
                let faulty = Faulty::new(copy.clone(), seed);
                faulty.add(Rule::new(fault.clone()).nth(nth));
                assert!(adopt(&faulty, NOW).is_err(), "{fault:?} {nth}");
                match Locked::open(Arc::new(copy.clone())) {
                    Ok(locked) => {
                        let old = locked.replica().id == replica_id(&source);
                        left.insert(if old { "old" } else { "new" });
                    }
                    Err(e) => {
                        assert!(e.to_string().contains("plakar adopt"), "{e}");
                        left.insert("none");
                    }
                }
                let id = adopt(&copy, NOW).unwrap();
                assert_eq!(replica_id(&copy), id);
                same_objects(&source, &copy, "mended");
                healthy(Arc::new(copy));
            }
        }
    }
    assert_eq!(left, BTreeSet::from(["old", "new", "none"]));
}

#[test]
fn a_source_is_only_read() {
    let source = source(true, 1);
    let before = source.snapshot();
    let reading: &dyn ReadStore = &source;
    clone_to(reading, &MemoryStore::new()).clean();
    create_like(reading, &MemoryStore::new(), &options()).unwrap();
    assert!(source.snapshot() == before);
}
