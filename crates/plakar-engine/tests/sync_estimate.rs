//! What a sync would move is what it moves.

use plakar_engine::sync::{Estimate, Selection, estimate};
use plakar_store::wrap::Counting;
use plakar_store::{MemoryStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn tree(seed: u64) -> Tree {
    let mut tree = Tree::default();
    for n in 0..60 {
        let changes = if n % 10 == 0 { seed } else { 0 };
        tree.put(
            &format!("d{}/f{n}", n % 7),
            Node::file(noise(n + 1000 * changes, 3000 + 700 * (n as usize % 11))),
        );
    }
    tree
}

fn estimated(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> Vec<Estimate> {
    let (source, destination) = (open(from.clone()).unwrap(), open(to.clone()).unwrap());
    let (plan, estimates) =
        estimate(&source, &destination, &Selection::default(), &AtomicBool::new(false)).unwrap();
    assert_eq!(plan.missing.len(), estimates.len());
    estimates
}

#[test]
fn a_sync_moves_what_was_estimated_and_estimating_changes_nothing() {
    for there in [true, false] {
        let store = MemoryStore::new();
        create(&store, Making::default()).unwrap();
        let b: Arc<Counting<MemoryStore>> = if there {
            Arc::new(Counting::new(MemoryStore::from_snapshot(store.snapshot())))
        } else {
            let other = MemoryStore::new();
            create(&other, Making { encrypted: false, ..Making::default() }).unwrap();
            Arc::new(Counting::new(other))
        };
        let a: Arc<dyn Store> = Arc::new(store);
        let to: Arc<dyn Store> = b.clone();
        for n in 0..3 {
            push(&a, &tree(n), &Pushing { now: 1000 + n as i64, ..Pushing::default() }).clean();
        }
        let estimates = estimated(&a, &to);
        assert_eq!((estimates.len(), b.counts().put), (3, 0));
        assert!(estimates[0].bytes > 5 * estimates[1].bytes && estimates[1].bytes > 0, "{estimates:?}");
        let (report, _) = synced(&a, &to);
        let items: u64 = estimates.iter().map(|e| e.items).sum();
        let bytes: u64 = estimates.iter().map(|e| e.bytes).sum();
        if there {
            assert_eq!(report.counts.items, items);
        }
        let apart = report.counts.bytes.abs_diff(bytes);
        assert!(apart < bytes / 4, "{bytes} were estimated and {} moved", report.counts.bytes);
        assert_eq!(estimated(&a, &to), []);
        push(&a, &tree(9), &Pushing { now: 2000, ..Pushing::default() }).clean();
        let last = estimated(&a, &to);
        assert!(last.len() == 1 && last[0].bytes < bytes / 3, "{last:?}");
    }
}
