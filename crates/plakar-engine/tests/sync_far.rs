//! Far away a sync reads ahead, before it knows what the destination says. Nothing may come of that but speed.

use plakar_store::wrap::{Fault, Faulty, Request, Rule};
use plakar_store::{MemoryStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Far;
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;

/// Directories beneath directories, files with and without chunks.
fn tree(version: u64) -> Tree {
    let mut tree = Tree::default();
    for n in 0..300u64 {
        let seed = if n % 50 == 7 { 1_000 * version + n } else { n };
        tree.put(
            &format!("a{}/b{}/c{}/{n}", n % 3, n % 5, n % 7),
            Node::file(noise(seed, 30 + n as usize * 9)),
        );
    }
    tree
}

struct Pair {
    from: MemoryStore,
    to: MemoryStore,
    known: Known,
}

impl Pair {
    /// Two versions at the source, the first at the destination, too.
    fn new() -> Pair {
        let (from, to) = Domains::Copies.empty(32 << 10);
        let mut pair = Pair { from, to, known: Known::new() };
        pair.push(1);
        synced(&pair.here(), &pair.there());
        pair.push(2);
        pair
    }

    fn here(&self) -> Arc<dyn Store> {
        Arc::new(Far(self.from.clone()))
    }

    fn there(&self) -> Arc<dyn Store> {
        Arc::new(Far(self.to.clone()))
    }

    /// Returns the UUID.
    fn push(&mut self, version: u64) -> String {
        let (tree, now) = (tree(version), 1_700_000_000 + version as i64);
        let pushed = push(&self.here(), &tree, &Pushing { now, ..Pushing::default() }).clean();
        let uuid = pushed.row.uuid_text();
        self.known.insert(uuid.clone(), expected(&tree));
        uuid
    }
}

#[test]
fn far_away_the_same_comes_of_a_sync() {
    let pair = Pair::new();
    synced(&pair.here(), &pair.there());
    assert_eq!(roots(pair.there()), roots(pair.here()));
    assert_eq!(shown(pair.there(), &pair.known, "far").len(), 2);
}

/// The snapshot that the walk compares with while the session begins turns out to be removed: everything is compared with
/// nothing then, and nothing is missing.
#[test]
fn a_base_that_is_removed_meanwhile_is_not_relied_on() {
    let pair = Pair::new();
    let there = pair.there();
    let (source, destination) = (open(pair.here()).unwrap(), open(there.clone()).unwrap());
    let common: Vec<_> = roots(pair.there()).into_keys().collect();
    remove(&there, &common[0]);
    let (heard, result) = sync_opened(&source, destination, &there, &Syncing::default());
    let (report, _) = result.unwrap();
    assert_eq!((heard.sent.len(), heard.withheld.len(), report.counts.snapshots), (1, 0, 1));
    let shown = shown(there, &pair.known, "removed meanwhile");
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), heard.sent);
}

/// Whatever request of the source fails while the session begins, and after: an error, or all is there; and the next
/// sync completes.
#[test]
fn a_source_that_fails_while_it_is_read_ahead_ends_the_sync() {
    let mut failed = 0;
    for nth in 1..=24 {
        let pair = Pair::new();
        let faulty = Arc::new(Faulty::new(Far(pair.from.clone()), nth));
        let there = pair.there();
        let (source, destination) = (open(faulty.clone()).unwrap(), open(there.clone()).unwrap());
        faulty.add(Rule::new(Fault::Error(plakar_store::ErrorKind::Io)).on(Request::Range).nth(nth));
        let (heard, result) = sync_opened(&source, destination, &there, &Syncing::default());
        let all = result.is_ok() && heard.withheld.is_empty();
        failed += u64::from(faulty.fired() > 0 && !all);
        assert!(faulty.fired() > 0 || nth > 4, "request {nth} never happened");
        let shown_now = shown(there.clone(), &pair.known, "after a fault");
        assert_eq!(shown_now.len(), 1 + heard.sent.len());
        assert!(!all || shown_now.len() == 2, "it said that all is there");
        synced(&pair.here(), &there);
        assert_eq!(shown(there, &pair.known, "the next").len(), 2);
    }
    println!("{failed} failed");
}
