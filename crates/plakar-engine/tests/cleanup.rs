//! Cleanup: what nobody needs goes, what anybody needs stays, whenever it is ended.

use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, CleanupReport, Estimate, cleanup, estimate};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::push::Pushed;
use plakar_engine::write::remove;
use plakar_engine::{Error, Result};
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::world::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const AUTHOR: WriterId = WriterId([7; 16]);

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

fn options(store: &Arc<dyn Store>) -> CleanupOptions {
    let replica = open(store.clone()).unwrap().base().replica().id;
    CleanupOptions {
        author: Author { replica, writer: AUTHOR },
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: true },
    }
}

fn clean(store: &Arc<dyn Store>) -> Result<CleanupReport> {
    clean_with(store, &options(store))
}

fn clean_with(store: &Arc<dyn Store>, options: &CleanupOptions) -> Result<CleanupReport> {
    let repo = open(store.clone())?;
    cleanup(repo, store, options, &mut Quiet, &AtomicBool::new(false)).map(|(report, _)| report)
}

fn removed(store: &Arc<dyn Store>, which: &[&Pushed]) {
    let mut repo = open(store.clone()).unwrap();
    let author = options(store).author;
    let snapshots = repo.state().snapshots();
    let meant = snapshots.iter().filter(|one| which.iter().any(|pushed| *one.row == pushed.row));
    let sessions: Vec<_> = meant.map(|one| one.session).collect();
    drop(snapshots);
    remove(&mut repo, &**store, &author, &sessions, 2_000_000_000).unwrap();
}

fn bytes(store: &dyn ReadStore, prefix: &str) -> u64 {
    let mut bytes = 0;
    store
        .list(prefix, &mut |listed| {
            bytes += listed.len;
            Ok(())
        })
        .unwrap();
    bytes
}

fn new_store(encrypted: bool) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    create(&store, Making { encrypted, ..Making::default() }).unwrap();
    Arc::new(store)
}

/// Files of noise, so that nothing shrinks.
fn tree(seed: u64, files: u64) -> Tree {
    let mut tree = Tree::default();
    for file in 0..files {
        tree.put(&format!("dir-{}/file-{file}", file % 7), Node::file(noise(seed * 1000 + file, 6_000)));
    }
    tree
}

fn comes_back(store: &Arc<dyn Store>, pushed: &Pushed, tree: &Tree) {
    let restored = restore(&open(store.clone()).unwrap(), &pushed.row.root.node);
    assert!(restored.problems.is_empty(), "{:?}", restored.problems);
    assert_eq!(restored.entries, expected(tree));
}

#[test]
fn what_only_a_removed_snapshot_needed_goes_and_the_rest_stays() {
    for encrypted in [true, false] {
        let store = new_store(encrypted);
        let (first, second) = (tree(1, 40), tree(2, 40));
        let one = push(&store, &first, &Pushing::default()).clean();
        let alone = bytes(&*store, "packs/");
        let two = push(&store, &second, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
        assert_eq!(clean(&store).unwrap().packs, 0, "both are needed");
        removed(&store, &[&one]);
        let told =
            estimate(&open(store.clone()).unwrap(), &options(&store), &AtomicBool::new(false)).unwrap();
        let before = bytes(&*store, "packs/");
        let report = clean(&store).unwrap();
        let freed = before - bytes(&*store, "packs/");
        assert!(freed > alone * 8 / 10, "{freed} of {alone} came back");
        assert!(told.freed.abs_diff(freed) < alone / 10, "{told:?} was promised, {freed} came back");
        assert_eq!(report.estimate, told);
        comes_back(&store, &two, &second);
        healthy(store.clone());
        let again = clean(&store).unwrap();
        assert_eq!((again.packs, again.moved), (0, 0), "nothing is left to do");
    }
}

#[test]
fn a_pack_that_is_partly_needed_is_emptied_first() {
    let store = new_store(true);
    let first = tree(1, 60);
    let one = push(&store, &first, &Pushing::default()).clean();
    let mut second = first.clone();
    for file in (0..60).filter(|file| file % 3 != 0) {
        second.remove(&format!("dir-{}/file-{file}", file % 7));
    }
    let two = push(&store, &second, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
    removed(&store, &[&one]);
    let before = bytes(&*store, "packs/");
    let little = CleanupOptions { max_repack: 0, ..options(&store) };
    let report = clean_with(&store, &little).unwrap();
    assert_eq!((report.moved, report.estimate.repacked), (0, 0));
    assert!(report.estimate.left > 0);
    let report = clean(&store).unwrap();
    assert!(report.moved > 0 && report.packs > 0, "{report:?}");
    let after = bytes(&*store, "packs/");
    assert!(after * 2 < before, "{before} -> {after}");
    comes_back(&store, &two, &second);
    healthy(store);
}

/// A push that was cut short protects what it stored until it has been silent for too long.
#[test]
fn what_an_unfinished_push_stored_stays_for_the_grace_period() {
    let store = new_store(true);
    let first = tree(1, 40);
    let cut = push(
        &store,
        &first,
        &Pushing { checkpoints: EVERY_ITEM, interrupt_at: Some(30), ..Pushing::default() },
    );
    assert!(matches!(cut.result, Err(Error::Interrupted)));
    let stored = bytes(&*store, "packs/");
    assert!(stored > 0);
    let patient = CleanupOptions { grace: 7 * 86_400, now: 0, ..options(&store) };
    let report = clean_with(&store, &patient).unwrap();
    assert_eq!((report.estimate.revoked, report.estimate.strays), (0, 0));
    let resumed = push(&store, &first, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
    comes_back(&store, &resumed, &first);
    healthy(store.clone());

    let cut = push(
        &store,
        &tree(9, 40),
        &Pushing { checkpoints: EVERY_ITEM, interrupt_at: Some(30), ..Pushing::default() },
    );
    assert!(cut.result.is_err());
    let report = clean(&store).unwrap();
    assert!(report.estimate.revoked > 0 && report.packs > 0, "{report:?}");
    comes_back(&store, &resumed, &first);
    healthy(store);
}

/// A first push is ended after each of its requests: what it leaves goes, and none of it looks like a lost log.
#[test]
fn what_a_first_push_left_goes() {
    let empty = MemoryStore::new();
    create(&empty, Making { pack_bytes: 1 << 13, ..Making::default() }).unwrap();
    let start = empty.snapshot();
    let tree = tree(1, 40);
    let mut unannounced = 0;
    for nth in 1.. {
        let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(start.clone()), nth));
        faulty.add(Rule::new(Fault::CrashAfter).nth(nth));
        let store: Arc<dyn Store> = faulty.clone();
        let ended = push(&store, &tree, &Pushing::default()).result.is_ok();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(faulty.inner().snapshot()));
        let (facts, packs) = (objects(&*store, "log/"), objects(&*store, "packs/"));
        unannounced += u64::from(packs > 0 && facts == 1);
        let report = clean(&store).unwrap_or_else(|e| panic!("after request {nth}: {e}"));
        let published = !healthy(store.clone()).state().snapshots().is_empty();
        assert_eq!(objects(&*store, "packs/") > 0, published, "after request {nth}: {report:?}");
        if ended {
            break;
        }
    }
    assert!(unannounced > 3, "{unannounced}");
}

/// What lies in the log is gone, wholly or but for an end: packs that nobody announced are not taken for nobody's.
#[test]
fn nothing_is_deleted_when_the_log_has_lost_something() {
    for (kept, named) in [(0, "log/: says nothing"), (1, "was published, but what it published is missing")] {
        let store = new_store(true);
        let tree = tree(1, 40);
        let pushed = push(&store, &tree, &Pushing::default()).clean();
        let all = listed(&*store, "log/");
        let lens: Vec<_> = all.iter().map(|name| store.len(name).unwrap()).collect();
        let shortest = *lens.iter().min().unwrap();
        // The end says only that.
        let lost: Vec<_> = all.iter().zip(lens).filter(|(_, len)| kept == 0 || *len > shortest).collect();
        assert_eq!(lost.len() + kept, all.len());
        let lost: Vec<_> =
            lost.iter().map(|(name, _)| (*name, store.get(name, usize::MAX).unwrap())).collect();
        lost.iter().for_each(|(name, _)| store.delete(name).unwrap());
        let before = listed(&*store, "");
        let refused = clean(&store).unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
        assert_eq!(listed(&*store, ""), before);
        lost.iter().for_each(|(name, bytes)| store.put(name, &[bytes]).unwrap());
        assert_eq!(clean(&store).unwrap().packs, 0);
        healthy(store.clone());
        comes_back(&store, &pushed, &tree);
    }
}

fn listed(store: &dyn ReadStore, prefix: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let mut add = |listed: plakar_store::Listed| {
        names.push(listed.name);
        Ok(())
    };
    store.list(prefix, &mut add).unwrap();
    names.sort();
    names
}

fn objects(store: &dyn ReadStore, prefix: &str) -> usize {
    let mut count = 0;
    let mut one_more = |_| {
        count += 1;
        Ok(())
    };
    store.list(prefix, &mut one_more).unwrap();
    count
}

/// Log and index stay short, however often something is pushed.
#[test]
fn a_thousand_pushes_leave_few_objects_and_open_with_few_requests() {
    let store = new_store(false);
    let mut tree = tree(1, 3);
    let mut last = None;
    for number in 0..1_000 {
        tree.put("new", Node::file(noise(number, 300)));
        let now = 1_700_000_000 + number as i64;
        last = Some(push(&store, &tree, &Pushing { now, ..Pushing::default() }).clean());
    }
    let before = objects(&*store, "log/") + objects(&*store, "admin/") + objects(&*store, "index/");
    assert!(before > 1_000);
    let report = clean(&store).unwrap();
    assert!(report.facts > 1_000, "{report:?}");
    let after = objects(&*store, "log/") + objects(&*store, "admin/") + objects(&*store, "index/");
    println!("{before} objects before, {after} after; {} packs", objects(&*store, "packs/"));
    assert!(after <= 8, "{after} objects are left");
    let counting = Arc::new(Counting::new(store.clone()));
    let repo = open(counting.clone()).unwrap();
    assert_eq!(repo.state().snapshots().len(), 1_000);
    let requests = counting.counts().requests();
    assert!(requests <= 20, "{requests} requests to open");
    comes_back(&store, &last.unwrap(), &tree);
    let again = clean(&store).unwrap();
    assert_eq!((again.packs, again.facts, again.segments), (0, 0, 0), "nothing is left to do");
    healthy(store);
}

/// Two snapshots, of which the first is removed: some packs go whole, some in part.
fn scene() -> (MemoryStore, Pushed, Tree) {
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, ..Making::default() }).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let first = tree(1, 24);
    let one = push(&shared, &first, &Pushing::default()).clean();
    let mut second = first.clone();
    (0..24).filter(|n| n % 3 != 0).for_each(|n| _ = second.remove(&format!("dir-{}/file-{n}", n % 7)));
    let two = push(&shared, &second, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
    removed(&shared, &[&one]);
    (store, two, second)
}

/// A power cut before any request, or a request that fails: nothing is lost, and the next run frees as much.
#[test]
fn a_cleanup_that_is_ended_anywhere_harms_nobody_and_is_finished_by_the_next() {
    let (store, two, second) = scene();
    let start = store.snapshot();
    let undisturbed: Arc<dyn Store> = Arc::new(store.clone());
    let counting = Arc::new(Counting::new(store));
    let counted: Arc<dyn Store> = counting.clone();
    clean(&counted).unwrap();
    let (requests, packs) = (counting.counts().requests(), bytes(&*undisturbed, "packs/"));
    assert!(requests > 60, "{requests}");
    let mut cases = 0;
    for nth in 1..=requests {
        for fault in [
            Fault::Crash,
            Fault::Error(ErrorKind::Io),
            Fault::CrashAfter,
            Fault::ErrorAfter(ErrorKind::Io),
            Fault::Error(ErrorKind::Full),
        ] {
            let case = format!("{fault:?} at {nth}");
            let store = MemoryStore::from_snapshot(start.clone());
            let faulty = Arc::new(Faulty::new(store.clone(), nth));
            faulty.add(Rule::new(fault).nth(nth));
            let through: Arc<dyn Store> = faulty.clone();
            let result = open(through.clone()).and_then(|repo| {
                let options =
                    options(&(Arc::new(MemoryStore::from_snapshot(start.clone())) as Arc<dyn Store>));
                cleanup(repo, &through, &options, &mut Quiet, &AtomicBool::new(false))
            });
            if faulty.is_crashed() {
                faulty.revive();
                assert!(result.is_err(), "{case}");
            }
            faulty.clear();
            cases += 1;
            comes_back(&through, &two, &second);
            clean(&through).unwrap_or_else(|e| panic!("{case}: {e}"));
            comes_back(&through, &two, &second);
            healthy(through.clone());
            let left = bytes(&*through, "packs/");
            assert!(left <= packs + packs / 4, "{case}: {left} bytes are left instead of {packs}");
        }
    }
    println!("{cases} cases");
}

/// What another run put is deleted for only once it is durable: a Checkpoint or a Dead that falls back in a power cut
/// must not leave what it stood for deleted.
#[test]
fn nothing_is_deleted_for_a_fact_of_another_run_that_may_fall_back() {
    let (store, two, second) = scene();
    let start = store.snapshot();
    let author = options(&(Arc::new(store) as Arc<dyn Store>));
    let run = |store: &Arc<dyn Store>| {
        open(store.clone())
            .and_then(|repo| cleanup(repo, store, &author, &mut Quiet, &AtomicBool::new(false)).map(drop))
    };
    let (mut cases, mut deleted) = (0, 0);
    // The first run ends before it could flush what it put last.
    for barrier in 1.. {
        let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(start.clone()), barrier));
        faulty.add(Rule::new(Fault::Error(ErrorKind::Io)).on(Request::Barrier).nth(barrier));
        let through: Arc<dyn Store> = faulty.clone();
        if run(&through).is_ok() {
            break;
        }
        let ended = faulty.inner().snapshot();
        for delete in 1.. {
            // The state that is not flushed yet is made again, and then the power fails while the second run deletes.
            let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(start.clone()), delete));
            let through: Arc<dyn Store> = faulty.clone();
            for (name, bytes) in ended.iter().filter(|(name, _)| !start.contains_key(*name)) {
                if name.folder() != Some("admin") {
                    through.put(name, &[bytes]).unwrap();
                }
            }
            start
                .keys()
                .filter(|name| !ended.contains_key(*name))
                .for_each(|name| through.delete(name).unwrap());
            through.barrier().unwrap();
            for (name, bytes) in ended.iter().filter(|(name, _)| !start.contains_key(*name)) {
                through.put(name, &[bytes]).unwrap();
            }
            faulty.add(Rule::new(Fault::CrashAfter).on(Request::Delete).nth(delete));
            let result = run(&through);
            if !faulty.is_crashed() {
                result.unwrap();
                break;
            }
            deleted += 1;
            faulty.revive();
            faulty.clear();
            comes_back(&through, &two, &second);
            run(&through).unwrap();
            comes_back(&through, &two, &second);
            healthy(through);
        }
        cases += 1;
    }
    println!("{cases} ends of the first run, {deleted} of the second");
    assert!(cases > 4 && deleted > 20);
}
