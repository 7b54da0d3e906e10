//! Undelete: what was removed is shown again, whole, until some of it is collected; then it says what is gone.

use plakar_engine::Result;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Row;
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Counts, Plan, Selection, SyncObserver, SyncOptions};
use plakar_engine::undelete::{Undeleted, candidates, undelete};
use plakar_store::wrap::{Fault, Faulty, Rule};
use plakar_store::{ErrorKind, MemoryStore, Store};
use plakar_testkit::collecting::{Collecting, Which, collect};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Meanwhile;
use plakar_testkit::syncing::{Known, Syncing, remove, shown, sync_stores, synced};
use plakar_testkit::world::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

struct Quiet;

impl SyncObserver for Quiet {
    fn sent(&mut self, _: &Row, _: &Counts) {}
    fn withheld(&mut self, _: &Row, _: &[String], _: u64) {}
    fn progress(&mut self, _: &Counts) {}
}

fn try_undelete(store: &Arc<dyn Store>, uuid: &str) -> Result<(Undeleted, Repository)> {
    let repo = open(store.clone())?;
    let removed = repo.state().removed_snapshots();
    let session = removed.iter().find(|one| one.row.uuid_text() == uuid).expect("it was removed").session;
    drop(removed);
    let options = SyncOptions {
        selection: Selection::default(),
        author: Author { replica: repo.base().replica().id, writer: WriterId([6; 16]) },
        now: 1_700_000_000,
        workers: 2,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    };
    undelete(repo, store, session, &options, &mut Quiet, &AtomicBool::new(false))
}

fn undeleted(store: &Arc<dyn Store>, uuid: &str) -> Undeleted {
    try_undelete(store, uuid).expect("the store works").0
}

/// Not encrypted, so that the collector of tests can work on it.
fn new_store() -> (MemoryStore, Arc<dyn Store>) {
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, ..Making::default() }).unwrap();
    (store.clone(), Arc::new(store))
}

fn tree(seed: u64, files: u64) -> Tree {
    let mut tree = Tree::default();
    for n in 0..files {
        tree.put(&format!("d{}/f{n}", n % 3), Node::file(noise(seed * 1000 + n, 5_000)));
    }
    tree
}

fn pushed(store: &Arc<dyn Store>, tree: &Tree, now: i64, known: &mut Known) -> String {
    let uuid = push(store, tree, &Pushing { now, ..Pushing::default() }).clean().row.uuid_text();
    known.insert(uuid.clone(), expected(tree));
    uuid
}

/// Two snapshots that share most, the first of them removed.
fn scene() -> (MemoryStore, Arc<dyn Store>, Known, [String; 2]) {
    let (raw, store) = new_store();
    let mut known = Known::new();
    let (first, mut second) = (tree(1, 30), tree(1, 20));
    second.put("new", Node::file(noise(77, 9_000)));
    let one = pushed(&store, &first, 1_000, &mut known);
    let two = pushed(&store, &second, 2_000, &mut known);
    remove(&store, &one);
    (raw, store, known, [one, two])
}

fn candidates_of(store: &Arc<dyn Store>) -> Vec<String> {
    let repo = open(store.clone()).unwrap();
    candidates(&repo).unwrap().iter().map(|one| one.row.uuid_text()).collect()
}

#[test]
fn what_was_removed_is_shown_again_and_may_be_removed_again() {
    let (_, store, known, [one, two]) = scene();
    let row = open(store.clone()).unwrap().state().removed_snapshots()[0].row.clone();
    for _ in 0..3 {
        assert_eq!(shown(store.clone(), &known, "removed"), [two.clone()].into());
        assert_eq!(candidates_of(&store), std::slice::from_ref(&one));
        let packs = |repo: &Repository| repo.state().view.announced_packs().count();
        let before = packs(&open(store.clone()).unwrap());
        assert_eq!(undeleted(&store, &one), Undeleted::Published);
        let repo = healthy(store.clone());
        assert_eq!(packs(&repo), before, "everything is there: nothing is stored");
        assert_eq!(shown(store.clone(), &known, "undeleted"), [one.clone(), two.clone()].into());
        assert_eq!(candidates_of(&store), [""; 0]);
        assert!(repo.state().snapshots().iter().any(|shown| *shown.row == row), "it is the same snapshot");
        assert!(repo.state().unfinished().next().is_none());
        remove(&store, &one);
    }
    // Two at the same time make one.
    let (early, late) = (try_undelete(&store, &one), open(store.clone()).unwrap());
    assert_eq!(early.unwrap().0, Undeleted::Published);
    drop(late);
    assert_eq!(open(store.clone()).unwrap().state().snapshots().len(), 2);
}

/// While a collector is at work: what lies only in packs that are marked is stored again, before it is dead.
#[test]
fn what_lies_in_marked_packs_is_stored_again() {
    for which in [Which::Unneeded, Which::All] {
        let (_, store) = new_store();
        let mut known = Known::new();
        let one = pushed(&store, &tree(1, 20), 1_000, &mut known);
        let two = pushed(&store, &tree(2, 20), 2_000, &mut known);
        remove(&store, &one);
        let collecting = Collecting::begin(&store, which).unwrap();
        assert_eq!(undeleted(&store, &one), Undeleted::Published);
        collecting.finish(&store);
        healthy(store.clone());
        assert_eq!(shown(store.clone(), &known, "collected"), [one, two].into());
    }
}

#[test]
fn what_is_gone_is_told_and_nothing_is_published() {
    let (_, store, mut known, [one, two]) = scene();
    assert!(collect(&store, Which::All) > 0);
    // Of the tree that is shared, something is left; of the rest nothing.
    assert_eq!(candidates_of(&store), [""; 0]);
    let Undeleted::Gone { paths, more } = undeleted(&store, &one) else { panic!("it is gone") };
    assert_eq!((paths.len(), more), (1, 0), "{paths:?}");
    healthy(store.clone());
    assert_eq!(shown(store.clone(), &known, "gone"), [two.clone()].into());

    // The same tree with one chunk lost: its path is told, and only that.
    let (raw, store) = new_store();
    known.clear();
    let mut base = tree(5, 12);
    let keep = pushed(&store, &base, 1_000, &mut known);
    let packs: Vec<_> = raw.names().into_iter().filter(|name| name.as_str().starts_with("packs/")).collect();
    base.put("d1/last", Node::file(noise(99, 6_000)));
    let goes = pushed(&store, &base, 2_000, &mut known);
    let mixed: Vec<_> = raw.names().into_iter().filter(|n| n.as_str().starts_with("packs/")).collect();
    let mixed: Vec<_> = mixed.into_iter().filter(|name| !packs.contains(name)).collect();
    remove(&store, &goes);
    assert_eq!(mixed.len(), 1);
    // The end of the pack, where its directory is, is not asked for: blocks are.
    assert!(raw.tamper_truncate(&mixed[0], 3_000));
    let Undeleted::Gone { paths, .. } = undeleted(&store, &goes) else { panic!("it is gone") };
    assert!(!paths.is_empty());
    let repo = open(store.clone()).unwrap();
    assert!(!repo.state().snapshots().iter().any(|shown| shown.row.uuid_text() == goes));
    assert_eq!(repo.state().snapshots()[0].row.uuid_text(), keep);
    let (_, said) = check_all(&repo, true).unwrap();
    assert_eq!(said, [""; 0], "what is visible is as it was, and the log is in order");
}

/// A pack disappears between any two requests, or the store fails at any of them: what is visible afterwards is whole.
#[test]
fn whatever_happens_meanwhile_what_is_visible_is_whole() {
    let (raw, _, known, [one, two]) = scene();
    let start = raw.snapshot();
    let mut n = 0;
    loop {
        n += 1;
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(start.clone()));
        let meanwhile = Arc::new(Meanwhile::new(inner.clone()));
        let behind = inner.clone();
        meanwhile.before(n, move || _ = collect(&behind, Which::All));
        let store: Arc<dyn Store> = meanwhile.clone();
        let result = try_undelete(&store, &one);
        let shown = shown(inner.clone(), &known, &format!("collected at {n}"));
        assert!(shown.contains(&two));
        match result {
            Ok((Undeleted::Published, _)) => assert!(shown.contains(&one), "{n}"),
            Ok((Undeleted::Gone { .. }, _)) => assert!(!shown.contains(&one), "{n}"),
            other => panic!("{n}: {:?}", other.map(|(undeleted, _)| undeleted)),
        }
        healthy(inner);
        if meanwhile.waiting() > 0 {
            break;
        }
    }
    assert!(n > 15, "{n}");
    let mut cases = 0;
    for nth in 1..=n {
        for fault in
            [Fault::Crash, Fault::CrashAfter, Fault::Error(ErrorKind::Io), Fault::Error(ErrorKind::Full)]
        {
            let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(start.clone()), nth));
            faulty.add(Rule::new(fault.clone()).nth(nth));
            let store: Arc<dyn Store> = faulty.clone();
            let result = try_undelete(&store, &one);
            if faulty.is_crashed() {
                faulty.revive();
            }
            faulty.clear();
            let visible = shown(store.clone(), &known, &format!("{fault:?} at {nth}"));
            assert!(visible.contains(&two));
            if matches!(result, Ok((Undeleted::Published, _))) {
                assert!(visible.contains(&one), "{fault:?} at {nth}");
            }
            if !visible.contains(&one) {
                assert_eq!(undeleted(&store, &one), Undeleted::Published, "{fault:?} at {nth}");
            }
            healthy(store);
            cases += 1;
        }
    }
    println!("{n} requests, {cases} faults");
}

/// Removed here stays removed here; undeleted here is there like any other, and goes wherever others go.
#[test]
fn a_sync_takes_what_is_undeleted_for_what_is_there() {
    let (_, here, known, [one, two]) = scene();
    let (_, there) = new_store();
    let both = || [one.clone(), two.clone()].into();
    assert_eq!(synced(&here, &there).0.counts.snapshots, 1);
    assert_eq!(undeleted(&here, &one), Undeleted::Published);
    let (source, destination) = (open(here.clone()).unwrap(), open(there.clone()).unwrap());
    let follow = Selection { follow_removals: true, ..Selection::default() };
    let plan = Plan::new(&source, &destination, &follow);
    assert_eq!((plan.missing.len(), plan.present, plan.to_remove.len()), (1, 1, 0));
    assert_eq!(synced(&here, &there).0.counts.snapshots, 1);
    assert_eq!(shown(there.clone(), &known, "sent"), both());
    // Nothing is to be done, whatever is asked, either way.
    for (from, to) in [(&here, &there), (&there, &here)] {
        let syncing = Syncing { selection: follow.clone(), ..Syncing::default() };
        let report = sync_stores(from.clone(), to, &syncing).1.unwrap().0;
        assert_eq!((report.counts.snapshots, report.removed, report.removed_there), (0, 0, 0));
    }
    // Removed at both sides and undeleted at one: the other side's removal holds, until it is undeleted there.
    remove(&here, &one);
    remove(&there, &one);
    assert_eq!(undeleted(&here, &one), Undeleted::Published);
    assert_eq!(synced(&here, &there).0.removed_there, 1);
    assert_eq!(synced(&there, &here).0.present, 1);
    assert_eq!(shown(here, &known, "here"), both());
    assert_eq!(undeleted(&there, &one), Undeleted::Published);
    assert_eq!(shown(there, &known, "there"), both());
}
