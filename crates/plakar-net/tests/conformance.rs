//! A store on a server passes the suite of the contract, and answers as the store in memory does.

mod servers;

use plakar_store::{DirStore, MemoryStore, Store, answers_as_memory_does, conformance};
use servers::{Server, client};
use std::cell::RefCell;
use std::sync::Arc;

/// Makes stores, each on a server of its own, which ends in the end.
fn served(make: impl Fn() -> Arc<dyn Store>) -> impl Fn() -> Box<dyn Store> {
    let servers = RefCell::new(Vec::new());
    move || {
        let server = Server::start(make());
        let store = client(server.tcp());
        servers.borrow_mut().push(server);
        Box::new(store)
    }
}

#[test]
fn a_store_in_memory_on_a_server() {
    let make = served(|| Arc::new(MemoryStore::new()));
    conformance(&make);
    answers_as_memory_does(&make);
}

#[test]
fn a_folder_on_a_server() {
    let temps = RefCell::new(Vec::new());
    let make = served(|| {
        let temp = tempfile::tempdir().unwrap();
        let store = DirStore::create(temp.path()).unwrap();
        temps.borrow_mut().push(temp);
        Arc::new(store)
    });
    conformance(&make);
}
