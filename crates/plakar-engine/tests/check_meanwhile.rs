//! A check while others remove and clean up: what is there at its end was there all the time, so it finds nothing wrong.

use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Meanwhile;
use plakar_testkit::tidying::{clean, remove_made};
use plakar_testkit::world::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const MADE: i64 = 1_700_000_000;

fn tree(from: u64, to: u64, bytes: usize) -> Tree {
    let mut tree = Tree::default();
    for file in from..to {
        tree.put(&format!("dir-{}/file-{file}", file % 3), Node::file(noise(file, bytes)));
    }
    tree
}

/// Two snapshots, which share a third of their files of so many bytes; what they share lies in packs of which a cleanup
/// keeps little.
fn scene(bytes: usize) -> BTreeMap<Name, Vec<u8>> {
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, pack_bytes: 3 * bytes as u32, ..Making::default() }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    push(&shared, &tree(0, 9, bytes), &Pushing { now: MADE, ..Pushing::default() }).clean();
    let mut third = tree(0, 12, bytes);
    (0..12).filter(|n| n % 3 > 0).for_each(|n| _ = third.remove(&format!("dir-{}/file-{n}", n % 3)));
    push(&shared, &third, &Pushing { now: MADE + 1, ..Pushing::default() }).clean();
    store.snapshot()
}

#[test]
fn a_check_takes_nothing_for_damage_that_was_removed_or_moved_meanwhile() {
    // Where a segment travels in a fact, and where it is an object of its own.
    for bytes in [3_000, 320_000] {
        let start = scene(bytes);
        let stored = start.keys().any(|name| name.as_str().starts_with("index/"));
        assert_eq!(stored, bytes > 3_000);
        let cases: u64 = [true, false].into_iter().map(|fast| disturbed(&start, fast)).sum();
        assert!(cases > 30, "{cases}");
    }
}

/// Removes and cleans up before each request of a check. Returns how many there are.
fn disturbed(start: &BTreeMap<Name, Vec<u8>>, fast: bool) -> u64 {
    for nth in 1.. {
        let case = format!("before request {nth} of a check, fast: {fast}");
        let behind: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(start.clone()));
        let store = Arc::new(Meanwhile::new(behind.clone()));
        store.before(nth, move || {
            remove_made(&behind, &[MADE]).unwrap();
            assert!(clean(&behind).unwrap().packs > 0);
        });
        let repo = open(store.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (_, said) = check_all(&repo, fast).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(said, Vec::<String>::new(), "{case}");
        if store.waiting() > 0 {
            return nth - 1;
        }
    }
    unreachable!("a check comes to an end")
}
