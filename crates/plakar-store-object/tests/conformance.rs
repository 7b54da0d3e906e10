//! The store passes the suite of the contract, over a real server.

mod common;

use common::Bucket;
use plakar_store::{Store, answers_as_memory_does, conformance};

#[test]
fn a_bucket_keeps_the_contract() {
    let bucket = Bucket::new();
    let make = || -> Box<dyn Store> { Box::new(bucket.create_new()) };
    conformance(&make);
    answers_as_memory_does(&make);
}

#[test]
fn so_does_one_that_is_asked_for_another_checksum_or_for_none() {
    for checksum in ["crc32c", "none"] {
        let mut bucket = Bucket::new();
        bucket.way.options.set("checksum", checksum).unwrap();
        conformance(&|| Box::new(bucket.create_new()));
    }
}
