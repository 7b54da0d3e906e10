//! What holds of every sync: both sides show the same snapshots, every byte comes back, what is sent is what was
//! missing, and the source stays as it was.

use plakar_store::wrap::Counting;
use plakar_store::{MemoryStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;

fn store(making: Making) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    create(&store, making).unwrap();
    Arc::new(store)
}

fn tree(seed: u64, files: usize) -> Tree {
    let mut tree = Tree::default();
    for n in 0..files {
        let name = format!("d{}/e{}/f{n}", n % 7, n % 3);
        tree.put(&name, Node::file(noise(seed + n as u64, 3000 + 700 * (n % 11))));
    }
    tree
}

#[test]
fn a_first_sync_gives_everything_and_a_second_nothing() {
    for (from, to) in [(true, true), (false, false), (true, false), (false, true)] {
        let making = |encrypted| Making { encrypted, ..Making::default() };
        let (a, b) = (store(making(from)), store(making(to)));
        let trees: Vec<_> = (0..3).map(|n| tree(n, 40)).collect();
        for (n, tree) in trees.iter().enumerate() {
            push(&a, tree, &Pushing { now: 1000 + n as i64, ..Pushing::default() }).clean();
        }
        let (report, _) = synced(&a, &b);
        assert_eq!((report.counts.snapshots, report.present), (3, 0));
        let there = healthy(b.clone());
        assert_eq!(lines(&there), lines(&open(a.clone()).unwrap()));
        for (snapshot, tree) in there.state().snapshots().iter().zip(&trees) {
            let restored = restore(&there, &snapshot.row.root.node);
            assert_eq!(restored.problems.len(), 0);
            assert_eq!(restored.entries, expected(tree));
        }
        let counting = Arc::new(Counting::new(b.clone()));
        let (report, _) = synced(&a, &(counting.clone() as Arc<dyn Store>));
        assert_eq!((report.counts.snapshots, report.present), (0, 3));
        assert_eq!(counting.counts().put, 0);
    }
}
