//! A push ends at any moment: asked to stop, or by a power cut. What was there before stays, the check is clean, and
//! the next push goes on where the last announcement was.

use plakar_engine::Error;
use plakar_engine::id::NodeId;
use plakar_engine::push::Checkpoints;
use plakar_store::wrap::{Counting, Fault, Faulty, Rule};
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::source::{Node, Path, Random, Tree, noise};
use plakar_testkit::world::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How many moments are tried.
const MOMENTS: u64 = 120;
/// What a push puts besides chunks, and besides what each of its small packs says of its chunks: directories, facts.
const FACTS: u64 = 10_000;

/// Announces what it has after about every so many bytes that were read.
const OFTEN: Checkpoints = Checkpoints {
    first: Duration::from_secs(3600),
    every: Duration::from_secs(3600),
    at_most: Duration::from_secs(3600),
    bytes: BYTES,
};
const BYTES: u64 = 6_000;
/// The longest file: what is announced at the end of a file may be so much more.
const FILE_MAX: u64 = 9_000;

struct Scene {
    store: BTreeMap<Name, Vec<u8>>,
    before: [u8; 16],
    before_wanted: BTreeMap<Path, Seen>,
    tree: Tree,
    wanted: BTreeMap<Path, Seen>,
    root: NodeId,
}

impl Scene {
    fn new(encrypted: bool) -> Scene {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, pack_bytes: 8 << 10, ..Making::default() }).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut old = Tree::default();
        old.put("a/old", Node::file(noise(1, 5_000)));
        old.put("b", Node::file(noise(2, 100)));
        let pushed = push(&shared, &old, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
        let mut tree = old.clone();
        for n in 0..40 {
            let len = [90, 1_500, FILE_MAX as usize, 300][n as usize % 4];
            tree.put(&format!("{}/{}/{n}", n % 3, n % 2), Node::file(noise(100 + n, len)));
        }
        let before = store.snapshot();
        let whole = push(&shared, &tree, &at(1)).clean();
        Scene {
            store: before,
            before: pushed.row.uuid,
            before_wanted: expected(&old),
            wanted: expected(&tree),
            tree,
            root: whole.row.root.node,
        }
    }

    fn memory(&self) -> MemoryStore {
        MemoryStore::from_snapshot(self.store.clone())
    }

    /// After a push that ended early: what was there is there, and the next push is whole. Returns how many bytes of
    /// chunks it stored.
    fn goes_on(&self, memory: &MemoryStore, case: &str) -> u64 {
        let repo = healthy(Arc::new(memory.clone()));
        let snapshots = repo.state().snapshots();
        let before = snapshots.iter().find(|s| s.row.uuid == self.before).unwrap_or_else(|| panic!("{case}"));
        let restored = restore(&repo, &before.row.root.node);
        assert!(restored.problems.is_empty() && restored.entries == self.before_wanted, "{case}");
        let counting = Arc::new(Counting::new(memory.clone()));
        let shared: Arc<dyn Store> = counting.clone();
        let pushed = push(&shared, &self.tree, &at(2)).clean();
        assert_eq!(pushed.row.root.node, self.root, "{case}");
        let repo = healthy(shared);
        let restored = restore(&repo, &self.root);
        assert!(restored.problems.is_empty() && restored.entries == self.wanted, "{case}");
        let (new, put) = (pushed.progress.bytes_new, counting.counts().bytes_written);
        assert!(put <= new + new / 8 + FACTS, "{case}: {put} bytes were put for {new} bytes of chunks");
        new
    }
}

fn at(n: i64) -> Pushing<'static> {
    Pushing { now: 1_700_000_000 + n, ..Pushing::default() }
}

/// It is asked to stop: it announces all that it has, and the next push stores the rest and nothing else.
#[test]
fn a_push_that_was_asked_to_stop_goes_on_exactly_there() {
    for encrypted in [true, false] {
        let scene = Scene::new(encrypted);
        let shared: Arc<dyn Store> = Arc::new(scene.memory());
        let whole = push(&shared, &scene.tree, &at(1));
        let calls = whole.calls;
        let new = whole.clean().progress.bytes_new;
        let mut random = Random(77);
        let mut stops = 0;
        for moment in 0..MOMENTS {
            let call = 1 + random.below(calls);
            let case = format!("encrypted {encrypted}, moment {moment}: call {call} of {calls}");
            let memory = scene.memory();
            let shared: Arc<dyn Store> = Arc::new(memory.clone());
            let interrupted = AtomicBool::new(false);
            let pushing = Pushing {
                interrupt_at: Some(call),
                interrupted: Some(&interrupted),
                checkpoints: if moment % 2 == 0 { OFTEN } else { EVERY_ITEM },
                ..at(1)
            };
            let outcome = push(&shared, &scene.tree, &pushing);
            match outcome.result {
                Err(Error::Interrupted) => stops += 1,
                Ok(_) => assert!(call + 8 > calls, "{case}: it did not stop"),
                Err(e) => panic!("{case}: {e}"),
            }
            assert_eq!(scene.goes_on(&memory, &case), new - outcome.last.bytes_new, "{case}");
        }
        assert!(stops > MOMENTS * 8 / 10, "{stops}");
    }
}

/// The power fails, and with it goes what had no barrier: at most what came after the last announcement is stored
/// again.
#[test]
fn after_a_power_cut_at_most_what_came_since_the_last_announcement_is_stored_again() {
    for encrypted in [true, false] {
        let scene = Scene::new(encrypted);
        let pushing = Pushing { checkpoints: OFTEN, ..at(1) };
        let counting = Arc::new(Counting::new(scene.memory()));
        let shared: Arc<dyn Store> = counting.clone();
        let new = push(&shared, &scene.tree, &pushing).clean().progress.bytes_new;
        let requests = counting.counts().requests();
        let mut kept = 0;
        for moment in 0..MOMENTS {
            let nth = 1 + Random(moment).below(requests);
            let fault = if moment % 3 == 0 { Fault::CrashAfter } else { Fault::Crash };
            let case =
                format!("encrypted {encrypted}, seed {moment}: {fault:?} at request {nth} of {requests}");
            let memory = scene.memory();
            let faulty = Arc::new(Faulty::new(memory.clone(), moment));
            faulty.add(Rule::new(fault).nth(nth));
            let shared: Arc<dyn Store> = faulty.clone();
            let outcome = push(&shared, &scene.tree, &pushing);
            assert!(faulty.is_crashed() || nth + 6 > requests, "{case}: no crash");
            let reached = outcome.last.bytes_new;
            let again = scene.goes_on(&memory, &case);
            assert!(again <= new - reached + BYTES + FILE_MAX, "{case}: {again} of {new}, reached {reached}");
            kept += new - again;
        }
        assert!(kept > MOMENTS * new / 4, "{kept}: about half of what was pushed is used on average");
    }
}
