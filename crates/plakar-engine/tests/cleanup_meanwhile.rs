//! Others at work while a cleanup runs, and cleanups while a push runs: whatever happens between any two requests, what
//! is visible afterwards is whole, and what was acknowledged is there.

use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::{NodeId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::Fact;
use plakar_engine::log::object::encode;
use plakar_engine::{Error, Result};
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Meanwhile;
use plakar_testkit::world::*;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

/// A whole cleanup that has no patience with anybody.
fn clean(store: &Arc<dyn Store>) -> Result<()> {
    let repo = open(store.clone())?;
    let options = CleanupOptions {
        author: Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) },
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: false },
    };
    cleanup(repo, store, &options, &mut Quiet, &AtomicBool::new(false)).map(drop)
}

fn remove_all(store: &Arc<dyn Store>) {
    let mut repo = open(store.clone()).unwrap();
    let sessions: Vec<_> = repo.state().snapshots().iter().map(|one| one.session).collect();
    let author = Author { replica: repo.base().replica().id, writer: WriterId([8; 16]) };
    plakar_engine::write::remove(&mut repo, &**store, &author, &sessions, 2_000_000_000).unwrap();
}

/// `from` to `to` of the files that there are.
fn tree(from: u64, to: u64) -> Tree {
    let mut tree = Tree::default();
    for file in from..to {
        tree.put(&format!("dir-{}/file-{file}", file % 3), Node::file(noise(file, 3_000)));
    }
    tree
}

/// What was pushed, by the root of its tree: one domain, so one tree has one root.
type Known = Arc<Mutex<BTreeMap<NodeId, Tree>>>;

fn push_known(store: &Arc<dyn Store>, tree: Tree, now: i64, known: &Known) -> Result<NodeId> {
    let pushed = push(store, &tree, &Pushing { now, ..Pushing::default() }).result?;
    let root = pushed.row.root.node;
    known.lock().unwrap().insert(root, tree);
    Ok(root)
}

/// A removed snapshot of twelve files, a visible one of every third of them, and the store.
fn scene() -> (BTreeMap<Name, Vec<u8>>, NodeId, Known) {
    let known = Known::default();
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, pack_bytes: 8 << 10, ..Making::default() }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    push_known(&shared, tree(0, 12), 1_700_000_000, &known).unwrap();
    remove_all(&shared);
    let mut third = tree(0, 12);
    (0..12).filter(|n| n % 3 > 0).for_each(|n| _ = third.remove(&format!("dir-{}/file-{n}", n % 3)));
    let root = push_known(&shared, third, 1_700_000_001, &known).unwrap();
    // What is pushed meanwhile is known before, should that push be visible and yet not succeed.
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(store.snapshot()));
    push_known(&copy, tree(3, 14), 1_700_000_009, &known).unwrap();
    (store.snapshot(), root, known)
}

/// Everything visible is whole; `must` are visible. Then all of it survives another cleanup.
fn sound(store: &Arc<dyn Store>, known: &Known, must: &[NodeId], case: &str) {
    for round in ["after it", "after another cleanup"] {
        let repo = open(store.clone()).unwrap();
        assert_eq!(repo.damaged(), Vec::<String>::new(), "{case}, {round}");
        let mut roots = Vec::new();
        for snapshot in repo.state().snapshots() {
            let root = snapshot.row.root.node;
            roots.push(root);
            let restored = restore(&repo, &root);
            assert!(restored.problems.is_empty(), "{case}, {round}: {:?}", restored.problems);
            assert!(restored.entries == expected(&known.lock().unwrap()[&root]), "{case}, {round}");
        }
        assert!(must.iter().all(|root| roots.contains(root)), "{case}, {round}: something is not visible");
        let (_, said) = check_all(&repo, false).unwrap();
        assert_eq!(said, Vec::<String>::new(), "{case}, {round}");
        clean(store).unwrap_or_else(|e| panic!("{case}, {round}: {e}"));
    }
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Relies on what the cleanup is about to take.
    Push,
    PushAndRemove,
    Clean,
    PushAndClean,
}

#[test]
fn a_cleanup_during_which_others_work_takes_nothing_that_is_needed() {
    let (start, root, known) = scene();
    for deed in [Deed::Push, Deed::PushAndRemove, Deed::Clean, Deed::PushAndClean] {
        let (mut nth, mut given_up) = (1, 0);
        loop {
            let case = format!("{deed:?} before request {nth} of a cleanup");
            let behind: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(start.clone()));
            let through = Arc::new(Meanwhile::new(behind.clone()));
            let must = Arc::new(Mutex::new(vec![root]));
            let (store, known_then, must_then) = (behind.clone(), known.clone(), must.clone());
            through.before(nth, move || match deed {
                Deed::Clean => clean(&store).unwrap(),
                _ => {
                    let again = push_known(&store, tree(3, 14), 1_700_000_009, &known_then).unwrap();
                    must_then.lock().unwrap().push(again);
                    if let Deed::PushAndRemove = deed {
                        remove_all(&store);
                        must_then.lock().unwrap().clear();
                    }
                    if let Deed::PushAndClean = deed {
                        clean(&store).unwrap();
                    }
                }
            });
            let shared: Arc<dyn Store> = through.clone();
            match clean(&shared) {
                Ok(()) => {}
                Err(Error::Refused(_)) => given_up += 1,
                Err(e) => panic!("{case}: {e}"),
            }
            sound(&behind, &known, &must.lock().unwrap(), &case);
            if through.waiting() > 0 {
                break;
            }
            nth += 1;
        }
        println!("{deed:?}: {nth} moments, given up {given_up} times");
        assert!(nth > 50 && given_up == 0);
    }
}

#[test]
fn a_push_during_which_others_clean_up_is_whole_or_says_that_it_is_not() {
    let (start, root, known) = scene();
    for cleanups in [1, 2] {
        let (mut nth, mut failed) = (1, 0);
        loop {
            let case = format!("{cleanups} cleanups from request {nth} of a push");
            let behind: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(start.clone()));
            let through = Arc::new(Meanwhile::new(behind.clone()));
            for number in 0..cleanups {
                let store = behind.clone();
                through.before(nth + 5 * number, move || clean(&store).unwrap());
            }
            let shared: Arc<dyn Store> = through.clone();
            let mut must = vec![root];
            match push_known(&shared, tree(3, 14), 1_700_000_009, &known) {
                Ok(again) => must.push(again),
                // It took the push for dead: that is told.
                Err(Error::Revoked) => failed += 1,
                Err(e) => panic!("{case}: {e}"),
            }
            // A push that failed in its last steps may be visible all the same; its tree is known.
            sound(&behind, &known, &must, &case);
            if through.waiting() > 0 {
                break;
            }
            nth += 1;
        }
        println!("{cleanups} cleanups: {nth} moments, revoked {failed} times");
        assert!(nth > 20 && failed > 0);
    }
}

/// A client that read the log before a cleanup puts the Checkpoint it made of that afterwards. It names segments that the
/// cleanup has deleted; nobody misses them.
#[test]
fn a_checkpoint_of_an_earlier_moment_names_nothing_that_is_missed() {
    let known = Known::default();
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, ..Making::default() }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let mut must = Vec::new();
    for number in 0..3 {
        // Enough rows for a segment that is an object of its own.
        let mut many = tree(0, 1);
        (0..700)
            .for_each(|n| _ = many.put(&format!("many/{n}"), Node::file(noise(1_000 * number + n, 5_000))));
        must.push(push_known(&shared, many, 1_700_000_000 + number as i64, &known).unwrap());
    }
    let segments = |store: &MemoryStore| {
        let objects = store.snapshot();
        objects.keys().filter(|name| name.as_str().starts_with("index/")).cloned().collect::<Vec<_>>()
    };
    let before = segments(&store);
    assert!(before.len() > 1, "{before:?}");
    let earlier = open(shared.clone()).unwrap();
    let (mut checkpoint, _) = earlier.state().fold(earlier.log()).unwrap();
    checkpoint.segments = earlier.state().segments().iter().map(|(_, segment)| segment.clone()).collect();
    clean(&shared).unwrap();
    assert!(before.iter().all(|name| !segments(&store).contains(name)), "they were merged and deleted");
    let author = Author { replica: earlier.base().replica().id, writer: WriterId([9; 16]) };
    let sealer = Sealer::plain(earlier.base().config().domain);
    let (name, bytes) = encode(&[Fact::Checkpoint(Box::new(checkpoint))], &author, &sealer, 1_700_000_100);
    store.put(&name, &[&bytes]).unwrap();
    sound(&shared, &known, &must, "with a checkpoint of an earlier moment");
    healthy(shared);
}
