//! Every store of this crate passes the suite of the contract.

use std::{cell::RefCell, sync::Arc};

use plakar_store::{
    DirStore, MemoryStore, Store, conformance,
    wrap::{Cached, Counting, Faulty},
};

#[test]
fn memory() {
    conformance(&|| Box::new(MemoryStore::new()));
}

#[test]
fn dir() {
    let temps = RefCell::new(Vec::new());
    conformance(&|| {
        let temp = tempfile::tempdir().unwrap();
        let store = DirStore::create(temp.path()).unwrap();
        temps.borrow_mut().push(temp);
        Box::new(store)
    });
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
    let temps = RefCell::new(Vec::new());
    conformance(&|| {
        let temp = tempfile::tempdir().unwrap();
        let store = Cached::new(MemoryStore::new(), temp.path(), 1 << 20);
        temps.borrow_mut().push(temp);
        Box::new(store)
    });
}

#[test]
fn pointers_to_stores() {
    conformance(&|| {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Box::new(Box::new(inner))
    });
}
