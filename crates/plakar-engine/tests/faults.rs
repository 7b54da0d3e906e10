//! A store that fails at any request: a push says so or has published a snapshot that is whole, what was there
//! before stays as it was, and the next push succeeds.
//!
//! Every kind of fault at every request of a push, a check and a restore. What is left to chance (which of the puts
//! without a barrier a power cut takes) follows from the number of the request.

use plakar_engine::Error;
use plakar_engine::repository::Repository;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Path, Tree, noise};
use plakar_testkit::stores::{HONEST_FAULTS, LIES};
use plakar_testkit::world::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A repository at some moment, and a push into it.
struct Scene {
    store: BTreeMap<Name, Vec<u8>>,
    /// What is in the snapshots that are there.
    before: Vec<([u8; 16], BTreeMap<Path, Seen>)>,
    tree: Tree,
    wanted: BTreeMap<Path, Seen>,
}

/// Small, with chunks, inline files, a chunk tree, attributes in a chunk, and several packs.
fn tree(version: u64) -> Tree {
    let mut tree = Tree::default();
    tree.put("a/unchanged", Node::file(noise(1, 3_000)));
    tree.put("b/changing", Node::file(noise(version, 8_000)));
    tree.put(&format!("c/{version}"), Node::file(noise(version, 50)));
    let mut attributes = Node::file(noise(version, 200));
    attributes.xattrs = vec![(b"user.x".to_vec(), noise(version, 1_200))];
    tree.put("d", attributes);
    tree
}

fn at(version: u64) -> Pushing<'static> {
    Pushing { now: 1_700_000_000 + version as i64, checkpoints: often(), ..Pushing::default() }
}

/// Announces what it has now and then.
fn often() -> plakar_engine::push::Checkpoints {
    plakar_engine::push::Checkpoints { bytes: 4_000, ..Default::default() }
}

impl Scene {
    /// After this many pushes.
    fn after(encrypted: bool, pushes: u64) -> Scene {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, pack_bytes: 4 << 10, ..Making::default() }).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut before = Vec::new();
        for version in 0..pushes {
            let tree = tree(version);
            let pushed = push(&shared, &tree, &at(version)).clean();
            before.push((pushed.row.uuid, expected(&tree)));
        }
        healthy(shared);
        let tree = tree(pushes);
        Scene { store: store.snapshot(), before, wanted: expected(&tree), tree }
    }

    /// The first number of pushes after which one more folds the log.
    fn folding(encrypted: bool) -> Scene {
        let pushes = (1..60).find(|pushes| {
            let scene = Scene::after(encrypted, *pushes);
            let store: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(scene.store.clone()));
            push(&store, &scene.tree, &at(*pushes)).clean();
            names(&*store, "admin/") > 0
        });
        Scene::after(encrypted, pushes.expect("after some pushes the log is folded"))
    }

    fn version(&self) -> u64 {
        self.before.len() as u64
    }

    fn memory(&self) -> MemoryStore {
        MemoryStore::from_snapshot(self.store.clone())
    }

    /// How many requests of each kind a push makes that nothing disturbs.
    fn requests(&self) -> u64 {
        let store = Arc::new(Counting::new(self.memory()));
        let shared: Arc<dyn Store> = store.clone();
        push(&shared, &self.tree, &at(self.version())).clean();
        store.counts().requests()
    }

    /// Every snapshot that was there before is there, with everything in it.
    fn earlier_snapshots_are_whole(&self, repo: &Repository, case: &str) {
        for (uuid, wanted) in &self.before {
            let snapshots = repo.state().snapshots();
            let snapshot = snapshots.iter().find(|s| s.row.uuid == *uuid).unwrap_or_else(|| panic!("{case}"));
            same(repo, &snapshot.row.root.node, wanted, case);
        }
    }
}

fn same(repo: &Repository, root: &plakar_engine::id::NodeId, wanted: &BTreeMap<Path, Seen>, case: &str) {
    let restored = restore(repo, root);
    assert!(restored.problems.is_empty(), "{case}: {:?}", restored.problems);
    assert!(restored.entries == *wanted, "{case}: other entries");
}

fn names(store: &dyn Store, prefix: &str) -> usize {
    let mut n = 0;
    store
        .list(prefix, &mut |_| {
            n += 1;
            Ok(())
        })
        .unwrap();
    n
}

/// An error that names what failed: "what: how".
fn is_named(e: &Error, case: &str) {
    let text = e.to_string();
    let named = text.contains("planned fault") || text.contains("no power") || text.contains(": ");
    assert!(named || matches!(e, Error::Missing { .. }), "{case}: {text}");
}

/// One push with one fault. Returns whether the fault happened, and whether the push said that it succeeded.
fn disturbed(scene: &Scene, rule: Rule, seed: u64, case: &str) -> (bool, bool) {
    let memory = scene.memory();
    let store = Arc::new(Faulty::new(memory.clone(), seed));
    store.add(rule);
    let shared: Arc<dyn Store> = store.clone();
    let result = push(&shared, &scene.tree, &at(scene.version())).result;
    if !store.is_crashed() {
        // The process ends, and the machine goes on for a while or not.
        store.crash();
    }
    store.clear();
    store.revive();
    let repo = healthy(shared.clone());
    scene.earlier_snapshots_are_whole(&repo, case);
    let snapshots = repo.state().snapshots();
    let new = snapshots.iter().find(|s| scene.before.iter().all(|(uuid, _)| s.row.uuid != *uuid));
    match &result {
        Ok(pushed) => {
            let new = new.unwrap_or_else(|| panic!("{case}: it said that it published"));
            assert_eq!(new.row, &pushed.row, "{case}");
        }
        Err(e) => is_named(e, case),
    }
    if let Some(new) = new {
        same(&repo, &new.row.root.node, &scene.wanted, case);
    }
    let again = push(&shared, &scene.tree, &at(scene.version() + 1));
    assert!(again.result.is_ok(), "{case}: the next push: {:?}", again.result.err());
    let again = again.clean();
    let repo = healthy(shared);
    scene.earlier_snapshots_are_whole(&repo, case);
    same(&repo, &again.row.root.node, &scene.wanted, case);
    (store.fired() > 0, result.is_ok())
}

fn scenes(encrypted: bool) -> [(&'static str, Scene); 3] {
    [
        ("first push", Scene::after(encrypted, 0)),
        ("push with a base", Scene::after(encrypted, 2)),
        ("push that folds", Scene::folding(encrypted)),
    ]
}

/// One request fails, before or after it was done, for want of room or because the power does.
#[test]
fn a_push_fails_or_has_published_whatever_request_fails() {
    for (number, (name, scene)) in scenes(true).into_iter().enumerate() {
        let requests = scene.requests();
        let mut published = 0;
        for fault in HONEST_FAULTS {
            for nth in 1..=requests {
                let case = format!("{name}: {fault:?} at request {nth} of {requests}");
                let (fired, ok) = disturbed(&scene, Rule::new(fault.clone()).nth(nth), nth, &case);
                assert!(fired || nth > requests - 6, "{case}: never happened");
                published += u64::from(ok);
            }
        }
        println!(
            "{name}: {requests} requests × {} faults, {published} published all the same",
            HONEST_FAULTS.len()
        );
        // A failure after the last look costs a fold only.
        let least = if number == 2 { 1 } else { 0 };
        assert!(published >= least);
    }
}

/// What is read is wrong once, or seems not to be there: a cable, a cache, a store that is not what it says.
#[test]
fn a_push_is_not_misled_by_a_request_that_reads_wrong_bytes() {
    for (name, scene) in scenes(true) {
        let requests = scene.requests();
        for request in [Request::Get, Request::Range, Request::Len] {
            for fault in LIES {
                for nth in 1..=requests {
                    let case = format!("{name}: {fault:?} at {request:?} {nth}");
                    let rule = Rule::new(fault.clone()).on(request).nth(nth);
                    let (fired, _) = disturbed(&scene, rule, nth, &case);
                    if !fired {
                        break;
                    }
                }
            }
        }
    }
}

/// There is room for so and so many more bytes.
#[test]
fn a_store_that_is_full_at_any_byte_keeps_what_it_has() {
    let scene = Scene::after(true, 2);
    let needed = {
        let store = Arc::new(Counting::new(scene.memory()));
        let shared: Arc<dyn Store> = store.clone();
        push(&shared, &scene.tree, &at(scene.version())).clean();
        store.counts().bytes_written
    };
    let mut full = 0;
    for step in 0..60 {
        let room = needed * step / 56;
        let case = format!("room for {room} of {needed} bytes");
        let store = Arc::new(Faulty::new(scene.memory(), step));
        store.set_room(Some(room));
        let shared: Arc<dyn Store> = store.clone();
        let result = push(&shared, &scene.tree, &at(scene.version())).result;
        store.clear();
        scene.earlier_snapshots_are_whole(&healthy(shared.clone()), &case);
        match result {
            Ok(pushed) => same(&healthy(shared.clone()), &pushed.row.root.node, &scene.wanted, &case),
            Err(Error::Store(e)) => {
                assert_eq!(e.kind(), ErrorKind::Full, "{case}: {e}");
                full += 1;
            }
            Err(e) => panic!("{case}: {e}"),
        }
        push(&shared, &scene.tree, &at(scene.version() + 1)).clean();
        healthy(shared);
    }
    assert!((50..60).contains(&full), "{full} times it was full");
}

/// An object is acknowledged and gone, or stored with wrong bytes: no push can notice, but nothing else suffers, and
/// the check names it.
#[test]
fn a_put_that_was_acknowledged_and_lost_is_found_by_the_check() {
    for (name, scene) in scenes(true) {
        let puts = {
            let store = Arc::new(Counting::new(scene.memory()));
            let shared: Arc<dyn Store> = store.clone();
            push(&shared, &scene.tree, &at(scene.version())).clean();
            store.puts()
        };
        let mut unnoticed = Vec::new();
        for fault in [Fault::Lose, Fault::Truncate(100), Fault::Flip(99), Fault::Flip(12_345)] {
            for nth in 1..=puts.len() as u64 {
                let case = format!("{name}: {fault:?} at put {nth} of {}", puts.len());
                let store = Arc::new(Faulty::new(scene.memory(), nth));
                store.add(Rule::new(fault.clone()).on(Request::Put).nth(nth));
                let shared: Arc<dyn Store> = store.clone();
                let result = push(&shared, &scene.tree, &at(scene.version())).result;
                assert!(store.fired() > 0, "{case}");
                store.clear();
                let repo = open(shared.clone()).unwrap();
                scene.earlier_snapshots_are_whole(&repo, &case);
                let (_, said) = check_all(&repo, false).unwrap();
                let published = result.as_ref().ok().and_then(|pushed| {
                    let snapshots = repo.state().snapshots();
                    snapshots.into_iter().find(|s| s.row.uuid == pushed.row.uuid).map(|s| s.row.root.node)
                });
                let whole = published.is_some_and(|root| {
                    let restored = restore(&repo, &root);
                    let right = |(at, seen): (&Path, &Seen)| scene.wanted.get(at) == Some(seen);
                    assert!(restored.entries.iter().all(right), "{case}: wrong bytes");
                    restored.problems.is_empty() && restored.entries.len() == scene.wanted.len()
                });
                if result.is_ok() && !whole && said.is_empty() {
                    unnoticed.push(case);
                }
            }
        }
        println!("{name}: {} puts × 4, found neither by push nor by check: {unnoticed:#?}", puts.len());
        assert_eq!(unnoticed, Vec::<String>::new());
    }
}

/// A check and a restore of a healthy repository over a store that fails once: they say so, or what they say is right.
#[test]
fn a_check_or_restore_over_a_failing_store_says_so_or_is_right() {
    let scene = Scene::after(true, 3);
    let work = |store: Arc<dyn ReadStore>| -> Result<Vec<Restored>, Error> {
        let repo = open(store)?;
        let (_, said) = check_all(&repo, false)?;
        if let Some(what) = said.first() {
            return Err(Error::Refused(what.clone()));
        }
        if let Some(what) = repo.damaged().first() {
            return Err(Error::Refused(what.clone()));
        }
        Ok(repo.state().snapshots().iter().map(|s| restore(&repo, &s.row.root.node)).collect())
    };
    let counting = Arc::new(Counting::new(scene.memory()));
    work(counting.clone()).unwrap();
    let requests = counting.counts().requests();
    let mut cases = 0;
    for fault in HONEST_FAULTS.into_iter().chain(LIES) {
        for nth in 1..=requests {
            let case = format!("{fault:?} at request {nth} of {requests}");
            let store = Arc::new(Faulty::new(scene.memory(), nth));
            store.add(Rule::new(fault.clone()).nth(nth));
            match work(store.clone()) {
                Err(e) => is_named(&e, &case),
                Ok(restored) => {
                    assert_eq!(restored.len(), scene.before.len(), "{case}");
                    for one in &restored {
                        let right = scene.before.iter().any(|(_, wanted)| {
                            one.entries.iter().all(|(at, seen)| wanted.get(at) == Some(seen))
                                && (one.entries.len() == wanted.len() || !one.problems.is_empty())
                        });
                        assert!(right, "{case}");
                        one.problems.iter().for_each(|(_, e)| is_named(e, &case));
                    }
                }
            }
            cases += 1;
        }
    }
    println!("{cases} cases");
}
