//! Others at work while a sync runs, on either side: pushes, removals, collections, another sync. Whatever happens
//! between any two of its requests, what the destination shows is whole, and the next sync completes.

use plakar_engine::sync::Selection;
use plakar_store::Store;
use plakar_testkit::collecting::{Collecting, Which, collect};
use plakar_testkit::stores::Meanwhile;
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Push,
    /// Removes the snapshot that is on both sides.
    RemoveBase,
    /// Removes it and collects what nothing needs then.
    RemoveBaseAndCollect,
    /// Removes what is being sent, and collects.
    RemoveAllAndCollect,
    /// Collects, rewriting everything.
    CollectAll,
    /// Marks everything, and so many requests later goes on: looks, rescues, deletes.
    Mark(u64),
    /// Removes the base, marks what nothing needs then, and goes on after the sync.
    RemoveBaseAndMark(u64),
}

/// After the sync.
const NEVER: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// Has something happen before a request of a number.
type Before<'a> = &'a dyn Fn(u64, Box<dyn FnOnce() + Send>);
/// A collection that was begun.
type Begun = Arc<Mutex<Option<Collecting>>>;

fn goes_on(begun: &Begun, store: &Arc<dyn Store>) {
    if let Some(collecting) = begun.lock().unwrap().take() {
        collecting.finish(store);
    }
}

fn does(deed: Deed, store: &Arc<dyn Store>, scene: &Scene, begun: &Begun) {
    if matches!(deed, Deed::RemoveBase | Deed::RemoveBaseAndCollect | Deed::RemoveBaseAndMark(_)) {
        remove(store, &scene.uuids[0]);
    }
    match deed {
        Deed::Push => _ = push(store, &Scene::tree(9), &pushing()).clean(),
        Deed::RemoveBase => {}
        Deed::RemoveBaseAndCollect => _ = collect(store, Which::Unneeded),
        Deed::RemoveAllAndCollect => {
            scene.uuids.iter().for_each(|uuid| remove(store, uuid));
            collect(store, Which::Unneeded);
        }
        Deed::CollectAll => _ = collect(store, Which::All),
        Deed::Mark(_) => *begun.lock().unwrap() = Collecting::begin(store, Which::All),
        Deed::RemoveBaseAndMark(_) => *begun.lock().unwrap() = Collecting::begin(store, Which::Unneeded),
    }
}

fn pushing() -> Pushing<'static> {
    Pushing { now: 1_700_000_009, root: "meanwhile", ..Pushing::default() }
}

/// Shows what a repository shows; what was pushed meanwhile is known by what is in it.
fn shown_with_pushed(store: Arc<dyn Store>, scene: &Scene, case: &str) -> BTreeSet<String> {
    let mut known = scene.known.clone();
    let repo = open(store.clone()).unwrap();
    for snapshot in repo.state().snapshots() {
        if snapshot.row.roots[0].0 == b"/meanwhile" {
            known.insert(snapshot.row.uuid_text(), expected(&Scene::tree(9)));
        }
    }
    shown(store, &known, case)
}

/// One sync with one deed before its `n`th request. `false` when there were not so many.
fn disturbed(scene: &Scene, side: Side, deed: Deed, n: u64, often: bool) -> bool {
    let case = format!("{deed:?} at the {side:?}, before request {n}, announcing often: {often}");
    let (from, to) = scene.stores();
    let (a, b): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(from.clone()), Arc::new(to.clone()));
    let (here, there) = (Arc::new(Meanwhile::new(from)), Arc::new(Meanwhile::new(to)));
    let store: Arc<dyn Store> = there.clone();
    let (source, destination) = (open(here.clone()).unwrap(), open(store.clone()).unwrap());
    let (behind, before): (_, Before) = match side {
        Side::Source => (a.clone(), &|n, event| here.before(n, event)),
        Side::Destination => (b.clone(), &|n, event| there.before(n, event)),
    };
    let begun = Begun::default();
    let (at, world, collection) = (behind.clone(), scene.clone(), begun.clone());
    before(n, Box::new(move || does(deed, &at, &world, &collection)));
    if let Deed::Mark(later) | Deed::RemoveBaseAndMark(later) = deed
        && later != NEVER
    {
        let (at, begun) = (behind.clone(), begun.clone());
        before(n + later, Box::new(move || goes_on(&begun, &at)));
    }
    let checkpoints = if often { EVERY_ITEM } else { Default::default() };
    let syncing = Syncing { checkpoints, ..Syncing::default() };
    let (heard, result) = sync_opened(&source, destination, &store, &syncing);
    let happened = (here.waiting() + there.waiting()) as u64;
    let later = matches!(deed, Deed::Mark(later) | Deed::RemoveBaseAndMark(later) if later != NEVER);
    if happened > u64::from(later) {
        assert!(result.is_ok(), "{case}");
        return false;
    }
    if let Err(e) = &result {
        panic!("{case}: {e}");
    }
    goes_on(&begun, &behind);
    let gone = side == Side::Source && deed == Deed::RemoveAllAndCollect;
    assert!(heard.withheld.is_empty() || gone, "{case}: {:?}", heard.withheld);
    let there = shown_with_pushed(b.clone(), scene, &case);
    let hidden = |uuid: &String| {
        side == Side::Destination && deed == Deed::RemoveAllAndCollect && !there.contains(uuid)
    };
    for uuid in &heard.sent {
        // What others have removed right after it came is no longer shown.
        assert!(there.contains(uuid) || hidden(uuid), "{case}: said to be there");
    }
    let (heard, result) = sync_stores(a.clone(), &b, &Syncing::default());
    assert!(result.is_ok() && heard.withheld.is_empty(), "{case}: the next: {:?}", result.err());
    let there = shown_with_pushed(b.clone(), scene, &case);
    let here = shown_with_pushed(a, scene, &case);
    let repo = open(b).unwrap();
    let removed: BTreeSet<_> = repo.state().removed().map(|s| s.row.uuid_text()).collect();
    assert!(there.contains(&scene.own), "{case}");
    assert!(
        here.iter().all(|uuid| there.contains(uuid) || removed.contains(uuid)),
        "{case}: the next: {there:?}"
    );
    true
}

fn at_every_request(domains: Domains, side: Side, deeds: &[Deed]) {
    let scene = Scene::new(domains);
    let mut cases = 0;
    for deed in deeds {
        for often in [false, true] {
            let mut n = 1;
            while disturbed(&scene, side, *deed, n, often) {
                // Announcing often, and into another domain, there are many more requests; some of them will do.
                n += match (often, domains.same()) {
                    (false, true) => 1,
                    (false, false) => 2,
                    (true, true) => 5,
                    (true, false) => 41,
                };
                cases += 1;
            }
            assert!(n > 4, "{domains:?}, {side:?}, {deed:?}: it asked for something");
        }
    }
    println!("{domains:?}, {side:?}: {cases} cases");
}

const COLLECTING: [Deed; 7] = [
    Deed::RemoveBaseAndCollect,
    Deed::RemoveAllAndCollect,
    Deed::CollectAll,
    Deed::Mark(3),
    Deed::Mark(NEVER),
    Deed::RemoveBaseAndMark(4),
    Deed::RemoveBaseAndMark(NEVER),
];

#[test]
fn pushes_and_removals_at_the_destination_disturb_no_sync() {
    for domains in [Domains::Copies, Domains::OtherKeys] {
        at_every_request(domains, Side::Destination, &[Deed::Push, Deed::RemoveBase]);
    }
}

#[test]
fn pushes_and_removals_at_the_source_disturb_no_sync() {
    for domains in [Domains::Copies, Domains::OtherKeys] {
        at_every_request(domains, Side::Source, &[Deed::Push, Deed::RemoveBase]);
    }
}

#[test]
fn collections_at_the_destination_take_nothing_from_a_sync_within_a_domain() {
    at_every_request(Domains::Plain, Side::Destination, &COLLECTING);
}

#[test]
fn collections_at_the_destination_take_nothing_from_a_sync_across_domains() {
    at_every_request(Domains::OtherSizes, Side::Destination, &COLLECTING);
}

#[test]
fn collections_at_the_source_take_nothing_from_a_sync() {
    for domains in [Domains::Plain, Domains::OtherSizes, Domains::Sealing] {
        at_every_request(domains, Side::Source, &COLLECTING);
    }
}

/// Two syncs of the same snapshots into one repository at once: each may publish what the other does, and neither hurts.
/// A removal that is followed takes all publications away.
#[test]
fn two_syncs_at_once_leave_a_healthy_repository() {
    for domains in [Domains::Plain, Domains::Copies, Domains::OtherKeys] {
        let scene = Scene::new(domains);
        let (mut twice, mut n) = (0, 0);
        loop {
            n += 2;
            let case = format!("{domains:?}: another sync before request {n}");
            let (from, to) = scene.stores();
            let (a, b): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(from.clone()), Arc::new(to.clone()));
            let meanwhile = Arc::new(Meanwhile::new(to));
            let store: Arc<dyn Store> = meanwhile.clone();
            let (source, destination) = (open(a.clone()).unwrap(), open(store.clone()).unwrap());
            let (other_a, other_b) = (a.clone(), b.clone());
            meanwhile.before(n, move || _ = synced(&other_a, &other_b));
            let (_, result) = sync_opened(&source, destination, &store, &Syncing::default());
            assert!(result.is_ok(), "{case}: {:?}", result.err());
            if meanwhile.waiting() > 0 {
                break;
            }
            let repo = healthy(b.clone());
            let snapshots = repo.state().snapshots();
            for snapshot in &snapshots {
                let restored = restore(&repo, &snapshot.row.root.node);
                assert!(restored.entries == scene.known[&snapshot.row.uuid_text()], "{case}");
            }
            let uuids: BTreeSet<_> = snapshots.iter().map(|s| s.row.uuid_text()).collect();
            assert_eq!(uuids, scene.all(), "{case}");
            twice += usize::from(snapshots.len() > uuids.len());
            assert_eq!(synced(&a, &b).0.counts.snapshots, 0, "{case}");
            scene.uuids.iter().for_each(|uuid| remove(&a, uuid));
            let selection = Selection { follow_removals: true, ..Selection::default() };
            sync_stores(a, &b, &Syncing { selection, ..Syncing::default() }).1.unwrap();
            assert_eq!(shown(b, &scene.known, &case), [scene.own.clone()].into(), "{case}: all are gone");
        }
        println!("{domains:?}: {n} requests, {twice} times a snapshot was published twice");
        assert!(n > 10);
    }
}
