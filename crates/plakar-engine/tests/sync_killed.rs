//! A sync ends at any moment: asked to stop, or by a power cut on either side. What is visible at the destination is
//! whole, what was announced is not sent again, and the next sync ends where an undisturbed one does.

use plakar_engine::Error;
use plakar_engine::push::Checkpoints;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Store};
use plakar_testkit::collecting::reached;
use plakar_testkit::source::{Node, Random, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;

/// What a pack takes besides its blocks (salt, trailer, nonces, what it says of each item), and besides them a block of
/// its own takes: what was stored in more and smaller packs than without an interruption costs so much for each.
const PACK: u64 = 1_000;
/// The longest pack of a scene: its length is given, but a block goes in whole.
const PACK_MAX: u64 = 24 << 10;

/// A scene, and where a sync ends that nothing disturbs.
struct Whole {
    scene: Scene,
    calls: u64,
    /// How many items it sent as they were.
    items: u64,
    /// The destination's packs afterwards: how many, and how many bytes.
    packs: (u64, u64),
    repeated: usize,
    roots: std::collections::BTreeMap<String, plakar_engine::id::NodeId>,
}

impl Whole {
    fn new(domains: Domains) -> Whole {
        let scene = Scene::new(domains);
        let (from, to) = scene.stores();
        let b: Arc<dyn Store> = Arc::new(to.clone());
        let (heard, result) = sync_stores(Arc::new(from), &b, &Syncing::default());
        let counts = result.unwrap().0.counts;
        assert_eq!(counts.snapshots, 2);
        let (calls, packs, repeated) = (heard.calls, packs(&to), repeated(&to));
        assert_eq!(shown(b.clone(), &scene.known, "undisturbed"), scene.all());
        Whole { scene, calls, items: counts.items, packs, repeated, roots: roots(b) }
    }

    /// The sync after one that ended early. Returns how many bytes lie in packs more than without an interruption, and how
    /// many items were sent now.
    fn goes_on(&self, from: &MemoryStore, to: &MemoryStore, case: &str) -> (u64, u64) {
        let before = packs(to);
        let b: Arc<dyn Store> = Arc::new(to.clone());
        assert!(shown(b.clone(), &self.scene.known, case).is_subset(&self.scene.all()), "{case}");
        assert!(from.snapshot() == self.scene.source, "{case}: the source is as it was");
        let (heard, result) = sync_stores(Arc::new(from.clone()), &b, &Syncing::default());
        assert!(heard.withheld.is_empty(), "{case}: {:?}", heard.withheld);
        let report = result.unwrap_or_else(|e| panic!("{case}: {e}")).0;
        assert_eq!(shown(b.clone(), &self.scene.known, case), self.scene.all(), "{case}");
        assert!(roots(b.clone()) == self.roots, "{case}: other roots");
        assert_eq!(repeated(to), self.repeated, "{case}: something was stored again that was announced");
        let counting = Arc::new(Counting::new(to.clone()));
        let again: Arc<dyn Store> = counting.clone();
        synced(&(Arc::new(from.clone()) as Arc<dyn Store>), &again);
        assert_eq!(counting.counts().put, 0, "{case}: all was done");
        let after = packs(to);
        assert!(after.0 >= before.0);
        let overhead = after.0.saturating_sub(self.packs.0) * PACK;
        (after.1.saturating_sub(self.packs.1 + overhead), report.counts.items)
    }
}

fn packs(store: &MemoryStore) -> (u64, u64) {
    let objects = store.snapshot();
    let packs = objects.iter().filter(|(name, _)| name.as_str().starts_with("packs/"));
    packs.fold((0, 0), |(n, bytes), (_, pack)| (n + 1, bytes + pack.len() as u64))
}

/// How many places the index knows beyond one for each item of what is visible.
fn repeated(store: &MemoryStore) -> usize {
    let repo = open(Arc::new(store.clone())).unwrap();
    let snapshots = repo.state().snapshots();
    let items: std::collections::BTreeSet<_> =
        snapshots.iter().flat_map(|s| reached(&repo, &s.row.root.node).unwrap()).collect();
    items.iter().map(|item| repo.index().find(item).unwrap().len() - 1).sum()
}

/// Announces what it has now and then.
const OFTEN: Checkpoints = Checkpoints {
    first: std::time::Duration::from_secs(3600),
    every: std::time::Duration::from_secs(3600),
    at_most: std::time::Duration::from_secs(3600),
    bytes: 6_000,
};

/// It is asked to stop: it announces all that it has, and the next one sends the rest and nothing else.
#[test]
fn a_sync_that_was_asked_to_stop_goes_on_exactly_there() {
    for domains in Domains::ALL {
        let whole = Whole::new(domains);
        let mut stops = 0;
        for call in 1..=whole.calls {
            for checkpoints in [EVERY_ITEM, OFTEN] {
                let case =
                    format!("{domains:?}: call {call} of {}, {} bytes", whole.calls, checkpoints.bytes);
                let (from, to) = whole.scene.stores();
                let b: Arc<dyn Store> = Arc::new(to.clone());
                let syncing = Syncing { checkpoints, interrupt_at: Some(call), ..Syncing::default() };
                let (heard, result) = sync_stores(Arc::new(from.clone()), &b, &syncing);
                match result {
                    Err(Error::Interrupted) => stops += 1,
                    Ok(_) => assert!(call + 4 > whole.calls, "{case}: it did not stop"),
                    Err(e) => panic!("{case}: {e}"),
                }
                let (more, items) = whole.goes_on(&from, &to, &case);
                assert_eq!(heard.last.items + items, whole.items, "{case}: the rest and nothing else");
                // The blocks that were open when it stopped are two each now.
                assert!(more <= PACK, "{case}: {more} bytes were put twice");
            }
        }
        println!("{domains:?}: {} calls, stopped {stops} times", whole.calls);
        assert!(stops > whole.calls, "{stops} of {}", whole.calls);
    }
}

/// Many blocks are on their way at once when it is asked to stop, or when the destination fails: it ends, and does not wait
/// for what nobody takes any more.
#[test]
fn a_sync_with_many_blocks_on_their_way_ends_at_once() {
    let (from, to) = Domains::Copies.empty(4 << 10);
    let a: Arc<dyn Store> = Arc::new(from.clone());
    let mut tree = Tree::default();
    for n in 0..60u32 {
        // Of so many owners, so many blocks.
        tree.put(&n.to_string(), Node::file(noise(n.into(), 3_000)).owned_by(n));
    }
    push(&a, &tree, &Pushing::default()).clean();
    for (interrupt_at, fails) in [(Some(2), false), (Some(20), false), (None, true)] {
        let (done, waiting) = std::sync::mpsc::channel();
        let to = MemoryStore::from_snapshot(to.snapshot());
        let (a, faulty) = (a.clone(), Arc::new(Faulty::new(to.clone(), 1)));
        let b: Arc<dyn Store> = faulty.clone();
        std::thread::spawn(move || {
            let (source, destination) = (open(a).unwrap(), open(b.clone()).unwrap());
            if fails {
                faulty.add(Rule::new(Fault::Error(ErrorKind::Full)).on(Request::Put));
            }
            let syncing = Syncing { interrupt_at, ..Syncing::default() };
            done.send(sync_opened(&source, destination, &b, &syncing).1.is_err()).unwrap();
        });
        let ended = waiting.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(ended, Ok(true), "interrupted at {interrupt_at:?}");
    }
}

/// The power fails at the destination, and with it goes what had no barrier: at most what came after the last
/// announcement is sent again, which is a pack or two.
#[test]
fn after_a_power_cut_at_the_destination_only_what_was_not_announced_is_sent_again() {
    for domains in Domains::ALL {
        let whole = Whole::new(domains);
        let syncing = Syncing { checkpoints: EVERY_ITEM, ..Syncing::default() };
        let requests = {
            let (from, to) = whole.scene.stores();
            let counting = Arc::new(Counting::new(to));
            let b: Arc<dyn Store> = counting.clone();
            sync_stores(Arc::new(from), &b, &syncing).1.unwrap();
            counting.counts().requests()
        };
        // Into another domain every chunk is announced; some of the requests will do.
        for nth in (1..=requests).step_by(if domains.same() { 1 } else { 7 }) {
            let fault = if nth % 2 == 0 { Fault::CrashAfter } else { Fault::Crash };
            let case = format!("{domains:?}: {fault:?} at request {nth} of {requests}");
            let (from, to) = whole.scene.stores();
            let faulty = Arc::new(Faulty::new(to.clone(), nth));
            faulty.add(Rule::new(fault).nth(nth));
            let b: Arc<dyn Store> = faulty.clone();
            let result = sync_stores(Arc::new(from.clone()), &b, &syncing).1;
            assert!(faulty.is_crashed() || nth + 10 > requests, "{case}: no crash");
            // After the last look only the folding of the log is left.
            assert!(result.is_err() || nth + 10 > requests, "{case}: it said that all is there");
            let (more, _) = whole.goes_on(&from, &to, &case);
            assert!(more <= PACK_MAX, "{case}: {more} bytes were put twice");
        }
        println!("{domains:?}: {requests} requests");
    }
}

/// The source goes away: what was sent until then is announced by nobody, but what was published stays.
#[test]
fn when_the_source_goes_away_what_was_published_stays_and_the_rest_comes_later() {
    for domains in Domains::ALL {
        let whole = Whole::new(domains);
        let syncing = Syncing { checkpoints: EVERY_ITEM, ..Syncing::default() };
        let (mut nth, mut kept, mut random) = (0, 0, Random(5));
        loop {
            nth += 1 + random.below(2);
            let case = format!("{domains:?}: the source is gone at request {nth}");
            let (from, to) = whole.scene.stores();
            let faulty = Arc::new(Faulty::new(from.clone(), nth));
            let (source, b) = (open(faulty.clone()).unwrap(), Arc::new(to.clone()) as Arc<dyn Store>);
            faulty.add(Rule::new(Fault::Crash).nth(nth));
            let (heard, result) = sync_opened(&source, open(b.clone()).unwrap(), &b, &syncing);
            if !faulty.is_crashed() {
                assert!(result.is_ok() && nth > 3, "{case}");
                break;
            }
            assert!(result.is_err(), "{case}: it said that all is there");
            assert!(heard.withheld.is_empty(), "{case}: {:?}", heard.withheld);
            let there = shown(b.clone(), &whole.scene.known, &case);
            assert!(heard.sent.iter().all(|uuid| there.contains(uuid)), "{case}");
            kept += heard.sent.len();
            whole.goes_on(&from, &to, &case);
        }
        println!("{domains:?}: {nth} requests");
        assert!(kept > 0, "sometimes a snapshot was published before");
    }
}
