//! Syncs that move most of large packs: their directories are read, and their blocks are not opened.

use plakar_store::wrap::Counting;
use plakar_store::{MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;

/// Twenty-four files of a megabyte: as many blocks, in one pack.
fn source(making: Making) -> (MemoryStore, Tree, Name) {
    let empty = MemoryStore::new();
    create(&empty, making).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(empty.snapshot()));
    let mut tree = Tree::default();
    for n in 0..24 {
        tree.put(&format!("d/f{n:02}"), Node::file(noise(n, 1 << 20)));
    }
    push(&store, &tree, &Pushing::default()).clean();
    let full = MemoryStore::new();
    let mut largest = (0, None);
    let copy = &mut |listed: plakar_store::Listed| {
        full.put(&listed.name, &[&store.get(&listed.name, usize::MAX)?])?;
        if listed.name.as_str().starts_with("packs/") && listed.len > largest.0 {
            largest = (listed.len, Some(listed.name));
        }
        Ok(())
    };
    store.list("", copy).unwrap();
    assert!(largest.0 > 24 << 20, "one pack holds them all");
    (full, tree, largest.1.unwrap())
}

fn makings() -> [Making; 2] {
    let sizes = (16 << 10, 64 << 10, 256 << 10);
    [true, false].map(|encrypted| Making { encrypted, sizes, pack_bytes: 64 << 20 })
}

/// An empty repository of the same domain, and what is asked of it.
fn empty_like(store: &MemoryStore) -> Arc<Counting<MemoryStore>> {
    let copy = MemoryStore::new();
    let plain = ["config", "keyring/", "keys/", "replica"];
    for (name, bytes) in store.snapshot() {
        if plain.iter().any(|what| name.as_str().starts_with(what)) {
            copy.put(&name, &[&bytes]).unwrap();
        }
    }
    Arc::new(Counting::new(copy_of(&copy.snapshot())))
}

#[test]
fn whole_packs_arrive_and_all_of_them_can_be_restored() {
    for making in makings() {
        let (full, tree, _) = source(making);
        let there = empty_like(&full);
        let from: Arc<dyn Store> = Arc::new(full);
        let to: Arc<dyn Store> = there.clone();
        let (report, repo) = synced(&from, &to);
        assert!(report.counts.blocks >= 24, "{report:?}");
        let root = repo.state().snapshots()[0].row.root.node;
        assert_eq!(restore(&repo, &root).entries, expected(&tree));
        healthy(to);
    }
}

#[test]
fn damage_in_a_block_that_is_not_opened_is_noticed_and_named() {
    for making in makings() {
        let (full, tree, pack) = source(making);
        let len = full.len(&pack).unwrap();
        // In the first block, in one in the middle, and in the directory, which costs nothing but time.
        for (at, lost) in [(1000, 1), (len / 2, 1), (len - 500, 0)] {
            let hurt = MemoryStore::from_snapshot(full.snapshot());
            let mut bytes = hurt.get(&pack, usize::MAX).unwrap();
            bytes[at as usize] ^= 1;
            hurt.delete(&pack).unwrap();
            hurt.put(&pack, &[&bytes]).unwrap();
            let to: Arc<dyn Store> = empty_like(&full);
            let from: Arc<dyn Store> = Arc::new(hurt);
            let (heard, result) = sync_stores(from.clone(), &to, &Syncing::default());
            result.unwrap();
            assert_eq!(heard.withheld.len(), lost, "byte {at}");
            let repo = healthy(to.clone());
            assert_eq!(repo.state().snapshots().len(), 1 - lost);
            if let Some((_, paths)) = heard.withheld.first() {
                assert!((1..=2).contains(&paths.len()), "{paths:?}");
                assert!(paths.iter().all(|path| path.starts_with("/root/d/f")), "{paths:?}");
            }
            // Once it is whole again, only that is sent.
            let whole: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(full.snapshot()));
            let counting = Arc::new(Counting::new(to));
            let again: Arc<dyn Store> = counting.clone();
            let (_, repo) = synced(&whole, &again);
            let root = repo.state().snapshots()[0].row.root.node;
            assert_eq!(restore(&repo, &root).entries, expected(&tree));
            assert!(counting.counts().bytes_written < 3 << 20, "{:?}", counting.counts());
        }
    }
}
