//! The store passes the suite of the contract.

use std::cell::RefCell;

use plakar_store::{Store, answers_as_memory_does, conformance};
use plakar_store_sqlite::SqliteStore;

#[test]
fn a_database_keeps_the_contract() {
    let temps = RefCell::new(Vec::new());
    let make = || -> Box<dyn Store> {
        let temp = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(temp.path().join("store.db")).unwrap();
        temps.borrow_mut().push(temp);
        Box::new(store)
    };
    conformance(&make);
    answers_as_memory_does(&make);
}
