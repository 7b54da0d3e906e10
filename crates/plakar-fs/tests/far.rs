//! What a restore asks of a repository far away, counted and not timed: how often it waits for an answer, however many
//! requests are on their way together.

use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_fs::restore::{Overwrite, RestoreOptions, restore};
use plakar_fs::target::OwnerPolicy;
use plakar_store::{MemoryStore, Store};
use plakar_testkit::distant::{Distant, RoundTrips};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::world::{Making, Pushing, create, open, push};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const FILES: u64 = 10_000;
/// Round trips after opening.
const TRIPS_MAX: u64 = 12;

#[test]
fn ten_thousand_small_files_come_back_in_few_round_trips() {
    let memory = MemoryStore::new();
    let sizes = (16 << 10, 64 << 10, 256 << 10);
    create(&memory, Making { encrypted: true, sizes, pack_bytes: 16 << 20 }).unwrap();
    let near: Arc<dyn Store> = Arc::new(memory.clone());
    let mut tree = Tree::default();
    let content = |n: u64| noise(n, 600 + n as usize % 2_000);
    for n in 0..FILES {
        tree.put(&format!("{}/{n}", n % 100), Node::file(content(n)));
    }
    let row = push(&near, &tree, &Pushing::default()).clean().row;
    let stored: usize = memory.snapshot().values().map(Vec::len).sum();
    // What a run does not get done at once is asked for later: the least of some is what there is to wait for.
    let mut least = u64::MAX;
    for run in 0..3 {
        let trips = Arc::new(RoundTrips::default());
        let distant = Arc::new(Distant::new(memory.clone(), Duration::from_millis(30), &trips));
        let repository = open(distant.clone()).unwrap();
        let opening = (trips.count(), distant.take());
        trips.reset();
        let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
        let target = tempfile::tempdir().unwrap();
        let options =
            RestoreOptions { owners: OwnerPolicy::Numbers, overwrite: Overwrite::Always, workers: 2 };
        let mut problems = Vec::new();
        let restored = restore(
            &reader,
            &row.root,
            b"",
            false,
            target.path(),
            &options,
            &mut |path, what| problems.push(format!("{}: {what}", String::from_utf8_lossy(path))),
            &mut |_| (),
            &AtomicBool::new(false),
        );
        assert_eq!((restored.unwrap().files, problems), (FILES, vec![]));
        for n in (0..FILES).step_by(97) {
            let file = target.path().join(Pushing::default().root).join(format!("{}/{n}", n % 100));
            assert_eq!(std::fs::read(file).unwrap(), content(n));
        }
        let asked = distant.take();
        println!(
            "run {run}: {} round trips, after {} of opening:\n{}{asked}",
            trips.count(),
            opening.0,
            opening.1
        );
        let bytes = asked.total().bytes as usize;
        assert!(bytes <= stored + stored / 20, "{bytes} bytes were fetched of {stored}");
        least = least.min(trips.count());
    }
    assert!(least <= TRIPS_MAX, "{least} round trips");
}
