//! What a sync costs follows the difference: requests and bytes are counted at both stores, after opening.

use plakar_store::wrap::{Counting, Counts, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Far;
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::sync::Arc;

/// Two repositories far away, both counted.
struct Pair {
    from: MemoryStore,
    to: MemoryStore,
}

/// What a sync asked of both.
#[derive(Debug)]
struct Cost {
    here: Counts,
    there: Counts,
    report: plakar_engine::sync::SyncReport,
}

impl Pair {
    fn new(domains: Domains) -> Pair {
        let (from, to) = domains.empty(4 << 20);
        Pair { from, to }
    }

    /// Chunks of usual sizes: a file of 32 MiB has five hundred.
    fn with_usual_chunks(encrypted: bool) -> Pair {
        let from = MemoryStore::new();
        let sizes = (16 << 10, 64 << 10, 256 << 10);
        create(&from, Making { encrypted, sizes, pack_bytes: 16 << 20 }).unwrap();
        let to = copy_of(&from.snapshot());
        Pair { from, to }
    }

    fn source(&self) -> Arc<dyn Store> {
        Arc::new(self.from.clone())
    }

    fn push(&self, tree: &Tree, now: i64) {
        push(&self.source(), tree, &Pushing { now, ..Pushing::default() }).clean();
    }

    fn sync(&self, what: &str) -> Cost {
        let here = Arc::new(Counting::new(Far(self.from.clone())));
        let there = Arc::new(Counting::new(Far(self.to.clone())));
        let b: Arc<dyn Store> = there.clone();
        let (source, destination) = (open(here.clone()).unwrap(), open(b.clone()).unwrap());
        here.reset();
        there.reset();
        let (heard, result) = sync_opened(&source, destination, &b, &Syncing::default());
        assert_eq!(heard.withheld, []);
        let cost = Cost { here: here.counts(), there: there.counts(), report: result.unwrap().0 };
        let Cost { here, there, report } = &cost;
        println!(
            "{what}: {} snapshots, {} items, {} blocks as they are, {} bytes of files cut anew\n  source: {} requests, {} bytes\n  destination: {} requests ({} puts, {} lists, {} lengths, {} ranges, {} barriers), {} bytes read, {} written",
            report.counts.snapshots,
            report.counts.items,
            report.counts.blocks,
            report.counts.translated,
            here.requests(),
            here.bytes_read,
            there.requests(),
            there.put,
            there.list,
            there.len,
            there.range,
            there.barrier,
            there.bytes_read,
            there.bytes_written
        );
        assert_eq!((here.put, here.list, here.barrier), (0, 0, 0), "{what}: the source is only read");
        cost
    }

    /// What the destination shows is what the source does.
    fn equal(&self) {
        let to: Arc<dyn Store> = Arc::new(self.to.clone());
        assert_eq!(lines(&healthy(to)), lines(&open(self.source()).unwrap()));
    }
}

/// So deep lie the files of a large tree, the root itself included.
const DEPTH: u64 = 8;

/// 20,000 small files in 400 directories, six deep.
fn large() -> Tree {
    let mut tree = Tree::default();
    for dir in 0..400 {
        for file in 0..50 {
            let seed = dir * 50 + file;
            tree.put(&name(dir, file), Node::file(noise(seed, 150 + seed as usize % 200)));
        }
    }
    tree
}

fn name(dir: u64, file: u64) -> String {
    format!("a{}/b{}/c{}/d{}/e{dir}/f/{file}", dir % 3, dir % 7, dir % 11, dir % 13)
}

/// Changes this many files, scattered over the tree.
fn change(tree: &mut Tree, version: u64, files: u64) {
    for n in 0..files {
        let (dir, file) = ((n * 37 + version) % 400, (n * 11) % 50);
        tree.put(&name(dir, file), Node::file(noise(1_000_000 + version * 1_000 + n, 250)));
    }
}

#[test]
fn one_new_snapshot_with_few_changes_costs_what_changed() {
    for domains in [Domains::Copies, Domains::Plain, Domains::OtherKeys] {
        let pair = Pair::new(domains);
        let mut tree = large();
        pair.push(&tree, 1_000);
        let first = pair.sync(&format!("{domains:?}, all"));
        change(&mut tree, 1, 20);
        pair.push(&tree, 1_001);
        let some = pair.sync(&format!("{domains:?}, 20 of 20,000 files changed"));
        assert_eq!(some.report.counts.snapshots, 1);
        let nothing = pair.sync(&format!("{domains:?}, nothing"));
        assert_eq!((nothing.here.requests(), nothing.there.requests()), (0, 0));
        pair.equal();
        // 20 files, and the directories above them: a tenth of all directories at most.
        assert!(some.here.bytes_read < first.here.bytes_read / 5, "{}", some.here.bytes_read);
        assert!(some.there.bytes_written < first.there.bytes_written / 8, "{}", some.there.bytes_written);
        if domains.same() {
            assert!(some.here.requests() <= 12 + 2 * DEPTH, "{}", some.here.requests());
            assert!(some.there.requests() <= 40, "{}", some.there.requests());
            assert!(first.here.requests() <= 60, "a first sync reads ahead: {}", first.here.requests());
        } else {
            assert!(some.report.counts.translated < 40 * 350, "{}", some.report.counts.translated);
        }
    }
}

/// Files of one directory change; what lies beside it is not read.
#[test]
fn an_equal_subtree_is_not_read_and_a_renamed_one_is_not_sent_again() {
    for domains in [Domains::Copies, Domains::OtherKeys] {
        let pair = Pair::new(domains);
        let mut tree = Tree::default();
        for n in 0..300 {
            tree.put(&format!("big/{}/{n}", n % 20), Node::file(noise(n, 4_000)));
        }
        tree.put("small/file", Node::file(noise(1_000, 3_000)));
        pair.push(&tree, 1_000);
        pair.sync(&format!("{domains:?}, all"));
        tree.put("small/file", Node::file(noise(1_001, 3_000)));
        pair.push(&tree, 1_001);
        let cost = pair.sync(&format!("{domains:?}, one file beside a large tree"));
        assert!(cost.here.bytes_read < 40_000, "{}", cost.here.bytes_read);
        assert!(cost.there.bytes_written < 12_000, "{}", cost.there.bytes_written);

        tree.rename("big", "renamed");
        pair.push(&tree, 1_002);
        let cost = pair.sync(&format!("{domains:?}, a renamed directory of 1.2 MB"));
        assert!(cost.there.bytes_written < 12_000, "{}", cost.there.bytes_written);
        if domains.same() {
            assert!(cost.here.bytes_read < 60_000, "{}", cost.here.bytes_read);
        }
        pair.equal();
    }
}

#[test]
fn a_large_file_with_one_changed_chunk_costs_that_chunk_and_few_pages() {
    for encrypted in [true, false] {
        let pair = Pair::with_usual_chunks(encrypted);
        let mut bytes = noise(1, 32 << 20);
        let mut tree = Tree::default();
        tree.put("a/file", Node::file(bytes.clone()));
        pair.push(&tree, 1_000);
        let first = pair.sync("a file of 32 MiB");
        assert!(first.there.bytes_written > 32 << 20 && first.there.bytes_written < 33 << 20);
        bytes[17 << 20] ^= 1;
        tree.put("a/file", Node::file(bytes));
        pair.push(&tree, 1_001);
        let cost = pair.sync("one byte of it changed");
        assert!(cost.here.bytes_read < 800 << 10, "{}", cost.here.bytes_read);
        assert!(cost.there.bytes_written < 300 << 10, "{}", cost.there.bytes_written);
        assert!(cost.here.requests() <= 16, "{}", cost.here.requests());
        pair.equal();
    }
}

#[test]
fn a_large_directory_with_one_changed_entry_costs_few_pages() {
    let pair = Pair::new(Domains::Copies);
    let mut tree = Tree::default();
    for n in 0..20_000u64 {
        tree.put(&format!("a/{n:06}"), Node::file(noise(n, 40)));
    }
    pair.push(&tree, 1_000);
    let first = pair.sync("a directory of 20,000 entries");
    tree.put("a/012345", Node::file(noise(77_777, 41)));
    pair.push(&tree, 1_001);
    let cost = pair.sync("one of them changed");
    assert!(cost.here.bytes_read < first.here.bytes_read / 15, "{}", cost.here.bytes_read);
    assert!(cost.there.bytes_written < first.there.bytes_written / 20, "{}", cost.there.bytes_written);
    assert!(cost.report.counts.items < 12, "{}", cost.report.counts.items);
    pair.equal();
}

/// A block of which too little is wanted is sealed anew; one of which most is wanted moves whole.
#[test]
fn a_block_moves_whole_only_when_most_of_it_is_wanted() {
    for (kept, whole) in [(5, false), (9, true)] {
        let pair = Pair::new(Domains::Copies);
        let mut tree = Tree::default();
        for n in 0..10 {
            tree.put(&format!("{n}"), Node::file(noise(n, 3_900)));
        }
        // The snapshot that wrote the block is removed before the sync: some of it is wanted by nobody.
        let uuid = push(&pair.source(), &tree, &Pushing { now: 1_000, ..Pushing::default() });
        let uuid = uuid.clean().row.uuid_text();
        for n in kept..10 {
            tree.remove(&format!("{n}"));
        }
        pair.push(&tree, 1_001);
        remove(&pair.source(), &uuid);
        let cost = pair.sync(&format!("{kept} of 10 files are wanted"));
        let (sent, all) = (cost.there.bytes_written, 10 * 3_900);
        assert_eq!(sent > all, whole, "{sent} of {all}");
        pair.equal();
    }
}

/// Oldest first, each compared with the one before it: a history costs what the steps in it do.
#[test]
fn a_history_costs_what_its_steps_do() {
    for domains in [Domains::Copies, Domains::OtherKeys] {
        let pair = Pair::new(domains);
        let mut tree = Tree::default();
        for n in 0..200 {
            tree.put(&format!("{}/{}/{n}", n % 5, n % 20), Node::file(noise(n, 2_000)));
        }
        pair.push(&tree, 1_000);
        let one = pair.sync(&format!("{domains:?}, one snapshot"));
        for version in 1..=20u64 {
            let n = version * 7 % 200;
            let name = format!("{}/{}/{n}", n % 5, n % 20);
            tree.put(&name, Node::file(noise(10_000 + version, 2_000)));
            pair.push(&tree, 1_000 + version as i64);
        }
        let twenty = pair.sync(&format!("{domains:?}, twenty more with a file changed in each"));
        assert_eq!(twenty.report.counts.snapshots, 20);
        assert!(twenty.here.bytes_read < one.here.bytes_read, "{}", twenty.here.bytes_read);
        assert!(twenty.there.bytes_written < one.there.bytes_written / 2, "{}", twenty.there.bytes_written);
        pair.equal();
    }
}

/// One sync in sixteen folds the log of the destination, beside its last steps: that costs two requests, and nothing at
/// all when it fails.
#[test]
fn folding_the_log_costs_little_and_may_fail() {
    let pair = Pair::new(Domains::Copies);
    let mut tree = Tree::default();
    let (mut most, mut folds, mut failing) = (0, 0, None);
    for version in 0..40u64 {
        tree.put("a/file", Node::file(noise(version, 500)));
        pair.push(&tree, 1_000 + version as i64);
        let folded =
            |pair: &Pair| pair.to.names().iter().filter(|n| n.as_str().starts_with("admin/")).count();
        let before = folded(&pair);
        if before == 1 && failing.is_none() {
            // From now on, until some folds have failed.
            failing = Some(0);
        }
        if let Some(times @ 0..20) = &mut failing {
            *times += 1;
            let there = Arc::new(Faulty::new(Far(pair.to.clone()), 0));
            there.add(Rule::new(Fault::Error(ErrorKind::Denied)).on(Request::Put).prefix("admin/"));
            let (source, destination) = (open(pair.source()).unwrap(), open(there.clone()).unwrap());
            let store: Arc<dyn Store> = there.clone();
            let (_, result) = sync_opened(&source, destination, &store, &Syncing::default());
            assert_eq!(result.unwrap().0.counts.snapshots, 1);
            assert_eq!(there.fired() > 0, *times >= 16, "{times}");
            assert_eq!(folded(&pair), before);
        } else {
            let requests = pair.sync("one more").there.requests();
            if folded(&pair) > before {
                folds += 1;
                assert!(requests <= most + 2, "{requests} after at most {most}");
            } else {
                most = most.max(requests);
            }
        }
        pair.equal();
    }
    assert!(folds >= 2, "{folds}");
}
