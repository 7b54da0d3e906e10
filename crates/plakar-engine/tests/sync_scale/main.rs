//! What a sync of a large repository costs: round trips and bytes, counted at both stores, after opening and keys.

mod large;

use large::{Large, Shape};
use plakar_engine::clone::{CloneOptions, create_like};
use plakar_store::wrap::{Cached, Request};
use plakar_store::{DirStore, Store};
use plakar_testkit::distant::{Distant, RoundTrips, Table};
use plakar_testkit::syncing::{Syncing, lines, sync_opened};
use plakar_testkit::world::{Making, SIZES, create, open};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many directories are above a file, the root included.
const DEPTH: u64 = 9;
/// The most dependent round trips of a sync of one snapshot.
const TRIPS_MAX: u64 = 12 + 2 * DEPTH;

/// What is to be synced, and what that may cost.
struct World {
    shape: Shape,
    snapshots: u64,
    /// How many files change in each snapshot.
    changes: usize,
    /// The most bytes besides the data when nothing is kept from the sync before, and when something is.
    bytes_max: [u64; 2],
}

/// What one sync asked of both sides.
struct Cost {
    trips: u64,
    source: Table,
    destination: Table,
    /// How many objects of the log count at the destination afterwards.
    log: usize,
}

impl Cost {
    fn bytes(&self) -> u64 {
        self.source.total().bytes + self.destination.total().bytes
    }

    /// Whether the log of the destination was folded, as one sync in sixteen does.
    fn folds(&self) -> bool {
        let puts = |((kind, folder), _): (&(Request, String), _)| *kind == Request::Put && folder == "admin";
        self.destination.0.iter().any(puts)
    }

    fn print(&self, what: &str) {
        println!("{what}: {} dependent round trips, {} bytes", self.trips, self.bytes());
        print!("  source\n{}  destination\n{}", self.source, self.destination);
    }
}

/// Two repositories of one domain in folders, and what is kept of them.
struct Pair {
    from: Arc<DirStore>,
    to: Arc<DirStore>,
    kept: PathBuf,
}

impl Pair {
    fn new(folder: &Path) -> Pair {
        let store = |name| Arc::new(DirStore::create(folder.join(name)).unwrap());
        let (from, to) = (store("from"), store("to"));
        create(&*from, Making { encrypted: true, sizes: SIZES, pack_bytes: 16 << 20 }).unwrap();
        create_like(&*from, &*to, &CloneOptions::default()).unwrap();
        Pair { from, to, kept: folder.join("kept") }
    }

    /// Syncs so many snapshots, with or without what is kept.
    fn sync(&self, snapshots: u64, kept: bool, held: Duration) -> Cost {
        let trips = Arc::new(RoundTrips::default());
        let distant = |store: &Arc<DirStore>| Arc::new(Distant::new(store.clone(), held, &trips));
        let (here, there) = (distant(&self.from), distant(&self.to));
        let near = |store: &Arc<_>, name| -> Arc<dyn Store> {
            match kept {
                true => Arc::new(Cached::new(Arc::clone(store), &self.kept.join(name), 1 << 30)),
                false => Arc::clone(store) as _,
            }
        };
        let (from, to) = (near(&here, "from"), near(&there, "to"));
        let (source, destination) = (open(from).unwrap(), open(to.clone()).unwrap());
        drop((here.take(), there.take()));
        trips.reset();
        let (heard, result) = sync_opened(&source, destination, &to, &Syncing::default());
        assert_eq!(heard.withheld, []);
        let (report, destination) = result.unwrap();
        assert_eq!(report.counts.snapshots, snapshots);
        let log = destination.log().objects().count();
        let cost = Cost { trips: trips.count(), source: here.take(), destination: there.take(), log };
        assert_eq!(lines(&source), lines(&destination));
        cost
    }
}

const HELD: Duration = Duration::from_millis(5);
/// Where there is one attempt only: on a busy machine, too, requests of several threads overlap.
const HELD_LONG: Duration = Duration::from_millis(40);
/// A log that is folded soon has so many objects.
const LOG_LONG: usize = 44;

impl World {
    fn run(&self) {
        let World { shape, snapshots, changes, .. } = *self;
        let temp = tempfile::tempdir().unwrap();
        let pair = Pair::new(temp.path());
        let mut large = Large::new(pair.from.clone(), shape);
        let begun = Instant::now();
        for _ in 0..snapshots {
            large.snapshot(changes);
        }
        println!("{} files, {snapshots} snapshots: made in {:?}", shape.all_files(), begun.elapsed());
        let begun = Instant::now();
        pair.sync(snapshots, true, Duration::ZERO).print("all");
        println!("synced in {:?}", begun.elapsed());

        for kept in [true, false] {
            let nothing = pair.sync(0, kept, HELD);
            assert!(nothing.trips <= 4 && nothing.bytes() <= 64 << 10, "{}", nothing.bytes());
            assert_eq!(nothing.source.total().requests + nothing.destination.total().requests, 0);
        }
        let mut log = 0;
        for kept in [true, false] {
            let mut trips = Vec::new();
            for _ in 0..3 {
                let cost = self.one_more(&mut large, &pair, kept, HELD);
                assert!(!cost.folds(), "chosen so that none of these does");
                trips.push(cost.trips);
                log = cost.log;
            }
            // Whoever comes late makes the way longer.
            assert!(trips.iter().min() <= Some(&TRIPS_MAX), "{trips:?}");
        }
        // Until the destination has folded its log; the source has done so meanwhile, and what is kept of an index that was
        // merged is of no use.
        for kept in [true, false] {
            let folding = (0..20).find_map(|_| {
                let held = if log < LOG_LONG { Duration::ZERO } else { HELD_LONG };
                let cost = self.one_more(&mut large, &pair, kept, held);
                log = cost.log;
                cost.folds().then_some((cost.trips, held))
            });
            let (trips, held) = folding.expect("one in sixteen does");
            assert_eq!(held, HELD_LONG, "it was not to be foreseen");
            // Done beside the rest, it takes no round trip of its own. But this is one attempt, and with nothing kept the
            // index that the source has just merged is read anew.
            let more = if kept { 0 } else { 3 };
            assert!(trips <= TRIPS_MAX + more, "with a fold: {trips}");
        }
    }

    fn one_more(&self, large: &mut Large, pair: &Pair, kept: bool, held: Duration) -> Cost {
        let data = large.snapshot(self.changes);
        let cost = pair.sync(1, kept, held);
        // Read once, put once.
        let besides = cost.bytes().saturating_sub(2 * data);
        let with = if kept { "with" } else { "without" };
        cost.print(&format!("one more {with} what is kept, {besides} bytes besides {data} of data"));
        assert!(besides <= self.bytes_max[usize::from(kept)], "{besides}");
        cost
    }
}

#[test]
fn a_small_change_to_twenty_thousand_files_is_synced_in_few_round_trips() {
    let shape = Shape { fan: [5, 5, 2, 2, 2, 1, 1, 1], files: 100 };
    World { shape, snapshots: 5, changes: 20, bytes_max: [1 << 20, 512 << 10] }.run();
}

#[test]
#[ignore = "long: cargo test --release -p plakar-engine --test sync_scale -- --ignored --nocapture"]
fn a_small_change_to_a_million_files_is_synced_in_few_round_trips() {
    let shape = Shape { fan: [5, 5, 5, 5, 2, 2, 2, 2], files: 100 };
    World { shape, snapshots: 100, changes: 100, bytes_max: [8 << 20, 2 << 20] }.run();
}
