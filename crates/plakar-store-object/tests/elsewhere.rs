//! The suite of the contract over whatever service somebody names: `scripts/test-object-stores` runs it over two more servers.

use plakar_store::{Store, answers_as_memory_does, conformance};
use plakar_store_object::{ObjectStore, Place, Way};
use std::cell::Cell;

#[test]
#[ignore = "long: PLAKAR_TEST_PLACE names an empty place of a service; scripts/test-object-stores starts two"]
fn a_place_elsewhere_keeps_the_contract() {
    let named = std::env::var("PLAKAR_TEST_PLACE").expect("PLAKAR_TEST_PLACE names a place");
    let made = Cell::new(0);
    let make = || -> Box<dyn Store> {
        made.set(made.get() + 1);
        let place = Place::parse(&format!("{named}/{}", made.get())).unwrap().unwrap();
        Box::new(ObjectStore::create(&place, &Way::default()).unwrap())
    };
    conformance(&make);
    answers_as_memory_does(&make);
}
