//! Every store of this crate passes the suite of the contract.

use std::{cell::RefCell, path::Path, sync::Arc};

use plakar_store::{
    DirStore, MemoryStore, Store, answers_as_memory_does, conformance,
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
