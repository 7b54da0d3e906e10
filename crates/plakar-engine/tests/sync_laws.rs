//! What holds of every sync: both sides show the same snapshots, every byte comes back, what is sent is what was
//! missing, and the source stays as it was.

use plakar_engine::block::Compression;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Row;
use plakar_engine::sync::{Plan, Selection};
use plakar_engine::write::{Ended, Session, SessionOptions};
use plakar_store::wrap::Counting;
use plakar_store::{MemoryStore, Store};
use plakar_testkit::collecting::{Collecting, Which, collect};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;

fn tree(seed: u64, files: usize) -> Tree {
    let mut tree = Tree::default();
    for n in 0..files {
        let name = format!("d{}/e{}/f{n}", n % 7, n % 3);
        tree.put(&name, Node::file(noise(seed + n as u64, 3000 + 700 * (n % 11))));
    }
    tree
}

fn shared(store: &MemoryStore) -> Arc<dyn Store> {
    Arc::new(store.clone())
}

fn at(now: i64) -> Pushing<'static> {
    Pushing { now, ..Pushing::default() }
}

/// Pushes and notes what is in it. Returns its UUID.
fn pushed(store: &Arc<dyn Store>, tree: &Tree, now: i64, known: &mut Known) -> String {
    let uuid = push(store, tree, &at(now)).clean().row.uuid_text();
    known.insert(uuid.clone(), expected(tree));
    uuid
}

fn set(uuids: &[&String]) -> BTreeSet<String> {
    uuids.iter().map(|uuid| (*uuid).clone()).collect()
}

/// Publishes another snapshot in `store`: what `change` makes of the row of one that is there. The tree stays.
fn publish_like(store: &Arc<dyn Store>, uuid: &str, change: impl FnOnce(&mut Row)) {
    let repo = open(store.clone()).unwrap();
    let (session, mut row) = {
        let snapshots = repo.state().snapshots();
        let like = snapshots.iter().find(|s| s.row.uuid_text() == uuid).unwrap();
        (like.session, like.row.clone())
    };
    change(&mut row);
    let options = SessionOptions {
        author: Author { replica: repo.base().replica().id, writer: WriterId([5; 16]) },
        compression: Compression { level: 1, verify: true },
        workers: 1,
        now: 1_700_000_000,
        may_admin: false,
    };
    let (session, held) = Session::begin(repo, store.clone(), options, &[session], &[]).unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(session.publish(Some(row)).unwrap().0, Ended::Published);
}

#[test]
fn a_first_sync_gives_everything_and_a_second_asks_nothing_of_either_store() {
    for domains in Domains::ALL {
        println!("{domains:?}");
        let (from, to) = domains.empty(32 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        for n in 0..3 {
            pushed(&a, &tree(n, 40), 1000 + n as i64, &mut known);
        }
        pushed(&a, &Tree::of_everything(1), 1003, &mut known);
        let before = from.snapshot();
        let (report, _) = synced(&a, &b);
        assert_eq!((report.counts.snapshots, report.present), (4, 0));
        assert_eq!(shown(b.clone(), &known, "after the first"), known.keys().cloned().collect());
        assert_eq!(lines(&open(b.clone()).unwrap()), lines(&open(a.clone()).unwrap()));
        let (here, there) = (roots(a.clone()), roots(b.clone()));
        assert_eq!(here == there, domains.same(), "roots are equal within a domain, and only there");

        let (here, there) = (Arc::new(Counting::new(from.clone())), Arc::new(Counting::new(to.clone())));
        let store: Arc<dyn Store> = there.clone();
        let (source, destination) = (open(here.clone()).unwrap(), open(store.clone()).unwrap());
        here.reset();
        there.reset();
        let (_, result) = sync_opened(&source, destination, &store, &Syncing::default());
        let report = result.unwrap().0;
        assert_eq!((report.counts.snapshots, report.present, report.counts.bytes), (0, 4, 0));
        assert_eq!((here.counts().requests(), there.counts().requests()), (0, 0));
        assert!(from.snapshot() == before, "the source is as it was");
    }
}

/// A→B→C equals A→C, and what comes home to its own domain is what it was there.
#[test]
fn a_snapshot_is_the_same_whichever_way_it_came() {
    for domains in Domains::ALL {
        println!("{domains:?}");
        let (from, through) = domains.empty(32 << 10);
        let (through_b, straight) = (copy_of(&from.snapshot()), copy_of(&from.snapshot()));
        let (a, b, c, d) = (shared(&from), shared(&through), shared(&through_b), shared(&straight));
        let mut known = Known::new();
        pushed(&a, &Tree::of_everything(2), 1000, &mut known);
        pushed(&a, &tree(1, 30), 1001, &mut known);
        pushed(&a, &tree(2, 30), 1002, &mut known);
        synced(&a, &b);
        synced(&b, &c);
        synced(&a, &d);
        for (store, name) in [(&b, "B"), (&c, "C"), (&d, "D")] {
            assert_eq!(shown(store.clone(), &known, name).len(), 3);
        }
        let rows = |store: &Arc<dyn Store>| -> Vec<Row> {
            open(store.clone()).unwrap().state().snapshots().iter().map(|s| s.row.clone()).collect()
        };
        assert!(rows(&a).iter().all(|row| row.origin.is_none()));
        assert!(rows(&b).iter().all(|row| row.origin.is_none() == domains.same()));
        assert_eq!(rows(&c), rows(&a));
        assert_eq!(rows(&d), rows(&a));
        // They know each other as the same: nothing is left to send, in any direction.
        for (from, to) in [(&c, &a), (&d, &b), (&c, &d), (&b, &a), (&a, &c)] {
            let (report, _) = synced(from, to);
            assert_eq!((report.counts.snapshots, report.present), (0, 3));
        }
    }
}

#[test]
fn a_root_is_the_same_with_a_base_without_one_and_after_the_base_was_removed() {
    for domains in Domains::ALL {
        println!("{domains:?}");
        let (from, empty) = domains.empty(32 << 10);
        let a = shared(&from);
        let mut known = Known::new();
        let mut newer = Tree::of_everything(3);
        newer.put("d-chunk-tree", Node::file(noise(9, 31_000))).remove("h").rename("k/l", "moved");
        let older = pushed(&a, &Tree::of_everything(3), 1000, &mut known);
        let uuid = pushed(&a, &newer, 1001, &mut known);
        let only = |uuid: &str| {
            let repo = open(a.clone()).unwrap();
            let snapshots = repo.state().snapshots();
            let session = snapshots.iter().find(|s| s.row.uuid_text() == uuid).unwrap().session;
            Selection { only: Some([session].into()), ..Selection::default() }
        };
        let send = |to: &Arc<dyn Store>, uuid: &str| {
            let syncing = Syncing { selection: only(uuid), ..Syncing::default() };
            let report = sync_stores(a.clone(), to, &syncing).1.unwrap().0;
            assert_eq!(report.counts.snapshots, 1, "exactly what was selected is sent");
        };
        let with = shared(&MemoryStore::from_snapshot(empty.snapshot()));
        synced(&a, &with);
        let without = shared(&MemoryStore::from_snapshot(empty.snapshot()));
        send(&without, &uuid);
        let removed = shared(&MemoryStore::from_snapshot(empty.snapshot()));
        send(&removed, &older);
        remove(&removed, &older);
        send(&removed, &uuid);
        // The other way round: the base is the snapshot after it.
        let after = shared(&MemoryStore::from_snapshot(empty.snapshot()));
        send(&after, &uuid);
        send(&after, &older);
        assert_eq!(shown(with.clone(), &known, "with"), set(&[&uuid, &older]));
        assert_eq!(shown(without.clone(), &known, "without"), set(&[&uuid]));
        assert_eq!(shown(removed.clone(), &known, "removed"), set(&[&uuid]));
        let wanted = roots(with);
        for store in [without, removed, after] {
            for (uuid, root) in roots(store) {
                assert_eq!(root, wanted[&uuid]);
            }
        }
    }
}

#[test]
fn what_was_removed_stays_removed_unless_it_is_asked_for() {
    for domains in [Domains::Copies, Domains::OtherKeys] {
        for folded in [false, true] {
            println!("{domains:?}, the log folded: {folded}");
            let (from, to) = domains.empty(32 << 10);
            let (a, b) = (shared(&from), shared(&to));
            let mut known = Known::new();
            let first = pushed(&a, &tree(1, 10), 1000, &mut known);
            let second = pushed(&a, &tree(2, 10), 1001, &mut known);
            let third = pushed(&a, &tree(3, 10), 1002, &mut known);
            synced(&a, &b);
            remove(&b, &first);
            remove(&a, &third);
            let mut own = BTreeSet::new();
            while folded && to.names().iter().all(|name| !is_checkpoint(&to, name)) {
                own.insert(pushed(&b, &tree(4, 2), 2000 + own.len() as i64, &mut known));
            }
            assert_eq!(folded, !own.is_empty());
            let showing = |uuids: &[&String]| set(uuids).union(&own).cloned().collect::<BTreeSet<_>>();
            let sync = |selection| sync_stores(a.clone(), &b, &Syncing { selection, ..Syncing::default() });

            let report = sync(Selection::default()).1.unwrap().0;
            assert_eq!((report.counts.snapshots, report.present, report.removed_there), (0, 1, 1));
            assert_eq!(shown(b.clone(), &known, "removed there"), showing(&[&second, &third]));
            // It comes back to A, where nobody removed it, and A's removal holds against B.
            let report = synced(&b, &a).0;
            assert_eq!((report.counts.snapshots, report.removed_there), (own.len() as u64, 1));

            let report = sync(Selection { follow_removals: true, ..Selection::default() }).1.unwrap().0;
            assert_eq!((report.removed, report.counts.snapshots), (1, 0));
            assert_eq!(shown(b.clone(), &known, "followed"), showing(&[&second]));
            let report = sync(Selection { follow_removals: true, ..Selection::default() }).1.unwrap().0;
            assert_eq!((report.removed, report.counts.snapshots), (0, 0), "once");

            let report = sync(Selection { resurrect: true, ..Selection::default() }).1.unwrap().0;
            assert_eq!((report.counts.snapshots, report.removed_there), (1, 0));
            assert_eq!(shown(b.clone(), &known, "resurrected"), showing(&[&first, &second]));
            let report = sync(Selection { resurrect: true, ..Selection::default() }).1.unwrap().0;
            assert_eq!(report.counts.snapshots, 0, "once");
        }
    }
}

fn is_checkpoint(store: &MemoryStore, name: &plakar_store::Name) -> bool {
    let repo = open(shared(store)).unwrap();
    let says = |fact: &plakar_engine::log::Fact| matches!(fact, plakar_engine::log::Fact::Checkpoint(_));
    repo.log().objects().any(|(at, object)| at == name && object.facts.iter().any(says))
}

#[test]
fn two_snapshots_with_one_uuid_are_both_kept_on_both_sides() {
    for domains in [Domains::Plain, Domains::Copies, Domains::Sealing, Domains::OtherKeys] {
        println!("{domains:?}");
        let (from, to) = domains.empty(32 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        let uuid = pushed(&a, &tree(1, 10), 1000, &mut known);
        let other = pushed(&b, &tree(2, 10), 1000, &mut known);
        let row = open(a.clone()).unwrap().state().snapshots()[0].row.clone();
        publish_like(&b, &other, |like| like.uuid = row.uuid);
        {
            let (source, destination) = (open(a.clone()).unwrap(), open(b.clone()).unwrap());
            let plan = Plan::new(&source, &destination, &Selection::default());
            assert_eq!((plan.conflicts, plan.missing.len()), (vec![row.uuid], 1));
        }
        synced(&a, &b);
        synced(&b, &a);
        for store in [&a, &b] {
            let repo = healthy(store.clone());
            let snapshots = repo.state().snapshots();
            let uuids: Vec<_> = snapshots.iter().map(|s| s.row.uuid_text()).collect();
            assert_eq!((uuids.len(), uuids.iter().filter(|u| **u == uuid).count()), (3, 2));
            let contents: BTreeSet<_> = snapshots
                .iter()
                .filter(|s| s.row.uuid == row.uuid)
                .map(|s| {
                    let restored = restore(&repo, &s.row.root.node).entries;
                    known.iter().find(|(_, entries)| **entries == restored).expect("whole").0
                })
                .collect();
            assert_eq!(contents, BTreeSet::from([&uuid, &other]));
        }
        assert_eq!(lines(&open(a.clone()).unwrap()), lines(&open(b.clone()).unwrap()));
        assert_eq!(synced(&a, &b).0.counts.snapshots + synced(&b, &a).0.counts.snapshots, 0);
    }
}

#[test]
fn snapshots_of_one_moment_and_one_name_are_not_taken_for_each_other() {
    for domains in [Domains::Plain, Domains::OtherKeys] {
        let (from, to) = domains.empty(32 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        let first = pushed(&a, &tree(1, 10), 1000, &mut known);
        synced(&a, &b);
        // Another tree, and then the same tree again.
        let second = pushed(&a, &tree(2, 10), 1000, &mut known);
        let third = pushed(&a, &tree(1, 10), 1000, &mut known);
        assert_eq!(synced(&a, &b).0.counts.snapshots, 2);
        assert_eq!(shown(b.clone(), &known, "equal times"), set(&[&first, &second, &third]));
        assert_eq!(lines(&open(a).unwrap()), lines(&open(b).unwrap()));
    }
}

/// A copy, on which snapshots are removed and their packs collected, and a push at the source that uses those packs.
#[test]
fn what_a_copy_has_collected_is_sent_again_when_it_is_needed() {
    for finished in [true, false] {
        let (from, _) = Domains::Plain.empty(8 << 10);
        let a = shared(&from);
        let mut known = Known::new();
        let both = tree(1, 30);
        let (mut some, mut rest) = (both.clone(), both.clone());
        some.0.retain(|path, _| path[0] == b"d1" || path[0] == b"d3");
        rest.remove("d1").remove("d3");
        let first = pushed(&a, &some, 1000, &mut known);
        let second = pushed(&a, &rest, 1001, &mut known);
        let copy = copy_of(&from.snapshot());
        let b = shared(&copy);
        remove(&b, &first);
        let packs = count(&copy, "packs/");
        if finished {
            assert!(collect(&b, Which::Unneeded) > 0 && count(&copy, "packs/") < packs);
        } else {
            assert!(Collecting::begin(&b, Which::Unneeded).is_some());
        }
        let puts = from.names().len();
        let third = pushed(&a, &both, 1002, &mut known);
        assert!(from.names().len() < puts + 5, "the push stores next to nothing");
        let report = synced(&a, &b).0;
        assert_eq!((report.counts.snapshots, report.removed_there), (1, 1));
        assert!(report.counts.bytes > 20_000, "what was collected is sent: {report:?}");
        assert_eq!(shown(b.clone(), &known, "the copy"), set(&[&second, &third]));
        // And when all was rewritten meanwhile.
        collect(&b, Which::All);
        assert_eq!(shown(b.clone(), &known, "the copy, rewritten"), set(&[&second, &third]));
        let report = sync_stores(
            a.clone(),
            &b,
            &Syncing {
                selection: Selection { resurrect: true, ..Selection::default() },
                ..Syncing::default()
            },
        );
        assert_eq!(report.1.unwrap().0.counts.snapshots, 1);
        assert_eq!(shown(b.clone(), &known, "resurrected"), set(&[&first, &second, &third]));
    }
}

fn count(store: &MemoryStore, prefix: &str) -> usize {
    store.names().iter().filter(|name| name.as_str().starts_with(prefix)).count()
}

/// What two repositories have apart from each other comes together the same whichever is asked first.
#[test]
fn syncs_of_disjoint_snapshots_may_come_in_any_order() {
    for domains in Domains::ALL {
        let empty = domains.empty(32 << 10);
        let (a, b) = (shared(&copy_of(&empty.0.snapshot())), shared(&copy_of(&empty.1.snapshot())));
        let mut known = Known::new();
        for now in [1_000, 1_002] {
            pushed(&a, &tree(now as u64, 20), now, &mut known);
            pushed(&b, &tree(now as u64 / 2, 20), now + 1, &mut known);
        }
        // The third is of the domain of the first, or of the second's, or of one of its own.
        let own = Domains::OtherKeys.empty(32 << 10).0;
        for third in [empty.0.snapshot(), empty.1.snapshot(), own.snapshot()] {
            let (one, two) = (shared(&copy_of(&third)), shared(&copy_of(&third)));
            synced(&a, &one);
            synced(&b, &one);
            synced(&b, &two);
            synced(&a, &two);
            let rows = |store: &Arc<dyn Store>| -> Vec<Row> {
                assert_eq!(shown(store.clone(), &known, "both").len(), 4);
                open(store.clone()).unwrap().state().snapshots().iter().map(|s| s.row.clone()).collect()
            };
            assert_eq!(rows(&one), rows(&two), "rows and roots are equal");
        }
    }
}

/// All that a row says comes along: only root and origin are the destination's own.
#[test]
fn tags_parents_and_all_else_that_a_row_says_come_along() {
    for domains in Domains::ALL {
        let (from, to) = domains.empty(32 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        let uuid = pushed(&a, &tree(1, 5), 1_000, &mut known);
        publish_like(&a, &uuid, |row| {
            row.uuid[0] ^= 0xff;
            row.tags = vec!["daily".into(), "gr\u{fc}n".into()];
            row.parents = vec![plakar_engine::log::fact::Uuid([7; 16])];
            row.host = "elsewhere".into();
            row.took_ms = 12_345;
        });
        synced(&a, &b);
        let rows = |store: &Arc<dyn Store>| -> Vec<Row> {
            let repo = open(store.clone()).unwrap();
            let plain = |row: &Row| Row { origin: None, ..row.clone() };
            repo.state().snapshots().iter().map(|s| plain(s.row)).collect()
        };
        let (here, there) = (rows(&a), rows(&b));
        assert_eq!((here.len(), there.len()), (2, 2));
        for (here, mut there) in here.into_iter().zip(there) {
            assert_eq!(there.root.totals, here.root.totals);
            there.root = here.root;
            assert_eq!(there, here);
        }
    }
}

/// A file that changed and has the name, length and times it had.
#[test]
fn other_bytes_under_an_unchanged_name_length_and_time_are_sent() {
    for domains in Domains::ALL {
        let (from, to) = domains.empty(32 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        let mut tree = tree(1, 5);
        pushed(&a, &tree, 1_000, &mut known);
        synced(&a, &b);
        let old = tree.at("d1/e1/f1").clone();
        tree.put("d1/e1/f1", Node { meta: old.meta.clone(), ..Node::file(noise(99, old.size() as usize)) });
        pushed(&a, &tree, 1_001, &mut known);
        synced(&a, &b);
        assert_eq!(shown(b, &known, "both"), known.keys().cloned().collect());
    }
}

/// Sharing between snapshots survives: the destination is not larger than the source.
#[test]
fn what_snapshots_share_is_stored_once_at_the_destination() {
    for domains in Domains::ALL {
        let (from, to) = domains.empty(64 << 10);
        let (a, b) = (shared(&from), shared(&to));
        let mut known = Known::new();
        let mut tree = tree(1, 40);
        for now in 0..8 {
            tree.put(&format!("new/{now}"), Node::file(noise(700 + now, 2_000)));
            pushed(&a, &tree, 1_000 + now as i64, &mut known);
            if now % 3 == 0 {
                synced(&a, &b);
            }
        }
        synced(&a, &b);
        let bytes = |store: &MemoryStore| -> usize {
            let objects = store.snapshot();
            objects.iter().filter(|(name, _)| name.as_str().starts_with("packs/")).map(|(_, b)| b.len()).sum()
        };
        assert!(bytes(&to) < bytes(&from) * 11 / 10, "{domains:?}: {} of {}", bytes(&to), bytes(&from));
        assert_eq!(shown(b, &known, "all").len(), 8);
    }
}

#[test]
fn a_snapshot_that_was_published_twice_is_one_and_is_removed_as_one() {
    let empty = MemoryStore::new();
    create(&empty, Making::default()).unwrap();
    let a: Arc<dyn Store> = Arc::new(empty);
    let pushed = push(&a, &Tree::of_everything(1), &Pushing::default()).clean();
    publish_like(&a, &pushed.row.uuid_text(), |_| {});
    let repo = open(a.clone()).unwrap();
    assert_eq!((repo.state().publications().len(), repo.state().snapshots().len()), (2, 1));
    assert_eq!(lines(&repo).len(), 1);
    remove(&a, &pushed.row.uuid_text());
    let repo = open(a).unwrap();
    assert_eq!((repo.state().publications().len(), repo.state().removed().count()), (0, 2));
}
