//! Every store of this crate passes the suite of the contract.

use std::{cell::RefCell, path::Path, sync::Arc};

use plakar_store::{
    DirStore, MemoryStore, Name, Store, answers_as_memory_does, conformance,
    wrap::{Cached, Counting, Faulty},
};

#[test]
fn memory() {
    conformance(&|| Box::new(MemoryStore::new()));
}

/// Makes stores in folders of their own, which are removed in the end.
fn in_folders<S: Store + 'static>(make: fn(&Path) -> S) -> impl Fn() -> Box<dyn Store> {
    let temps = RefCell::new(Vec::new());
    move || {
        let temp = tempfile::tempdir().unwrap();
        let store = make(temp.path());
        temps.borrow_mut().push(temp);
        Box::new(store)
    }
}

#[test]
fn dir() {
    let make = in_folders(|folder| DirStore::create(folder).unwrap());
    conformance(&make);
    answers_as_memory_does(&make);
}

#[test]
fn a_folder_takes_pieces_and_so_does_what_points_to_it() {
    let make = in_folders(|folder| {
        let inner: Arc<dyn Store> = Arc::new(DirStore::create(folder).unwrap());
        Box::new(inner)
    });
    let object = Name::new("packs/ab/cd").unwrap();
    assert!(make().draft(&object, 1).unwrap().is_some());
    conformance(&make);
}

#[test]
fn what_changes_a_put_is_not_passed_by_pieces() {
    let temp = tempfile::tempdir().unwrap();
    let store = Faulty::new(DirStore::create(temp.path()).unwrap(), 0);
    assert!(store.draft(&Name::new("packs/ab/cd").unwrap(), 1).unwrap().is_none());
}

#[test]
fn counting() {
    conformance(&|| Box::new(Counting::new(MemoryStore::new())));
}

#[test]
fn faulty_without_faults() {
    conformance(&|| Box::new(Faulty::new(MemoryStore::new(), 0)));
}

#[test]
fn cached() {
    let make = in_folders(|folder| Cached::new(MemoryStore::new(), folder, 1 << 20));
    conformance(&make);
    answers_as_memory_does(&make);
}

#[test]
fn pointers_to_stores() {
    conformance(&|| {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Box::new(Box::new(inner))
    });
}
