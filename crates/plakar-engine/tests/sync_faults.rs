//! A store that fails at any request of a sync, on either side: the sync says so or all is there, nothing that is
//! visible at the destination is incomplete, the source is as it was, and the next sync completes.

use plakar_engine::Error;
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Store};
use plakar_testkit::stores::{HONEST_FAULTS, LIES};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Which side fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// What a sync of a scene asks that nothing disturbs, after both sides were opened.
fn requests(scene: &Scene, side: Side) -> u64 {
    let (from, to) = scene.stores();
    let (here, there) = (Arc::new(Counting::new(from)), Arc::new(Counting::new(to)));
    let b: Arc<dyn Store> = there.clone();
    let (source, destination) = (open(here.clone()).unwrap(), open(b.clone()).unwrap());
    here.reset();
    there.reset();
    sync_opened(&source, destination, &b, &Syncing::default()).1.unwrap();
    match side {
        Side::Source => here.counts().requests(),
        Side::Destination => there.counts().requests(),
    }
}

/// How one disturbed sync went.
struct Went {
    /// Whether the fault happened.
    fired: bool,
    /// Whether the sync said that all went well.
    ok: bool,
    from: MemoryStore,
    to: MemoryStore,
    sent: Vec<String>,
    case: String,
}

/// One sync with one fault; then the power fails or the process ends.
fn disturbed(scene: &Scene, side: Side, rule: Rule, seed: u64, case: String) -> Went {
    let (from, to) = scene.stores();
    let (here, there) = (Arc::new(Faulty::new(from.clone(), seed)), Arc::new(Faulty::new(to.clone(), seed)));
    let b: Arc<dyn Store> = there.clone();
    let (source, destination) = (open(here.clone()).unwrap(), open(b.clone()).unwrap());
    let faulty = if side == Side::Source { &here } else { &there };
    faulty.add(rule);
    let (heard, result) = sync_opened(&source, destination, &b, &Syncing::default());
    if !there.is_crashed() {
        there.crash();
    }
    assert!(from.snapshot() == scene.source, "{case}: the source is as it was");
    let ok = match &result {
        Ok((report, _)) => {
            assert_eq!(heard.sent.len() + heard.withheld.len(), 2, "{case}: both were seen to");
            assert_eq!(report.withheld as usize, heard.withheld.len(), "{case}");
            heard.withheld.is_empty()
        }
        Err(e) => {
            let text = e.to_string();
            let named = text.contains("planned fault") || text.contains("no power") || text.contains(": ");
            assert!(named || matches!(e, Error::Missing { .. }), "{case}: {text}");
            false
        }
    };
    assert!(side == Side::Source || heard.withheld.is_empty(), "{case}: withheld for want of a destination");
    Went { fired: faulty.fired() > 0, ok, from, to, sent: heard.sent, case }
}

impl Went {
    /// What is visible is whole, and includes what was said to be there; the next sync does the rest.
    fn ends_well(&self, scene: &Scene) {
        let b: Arc<dyn Store> = Arc::new(self.to.clone());
        let there = shown(b.clone(), &scene.known, &self.case);
        assert!(there.contains(&scene.own) && there.is_subset(&scene.all()), "{}", self.case);
        let missing: BTreeSet<_> = self.sent.iter().filter(|uuid| !there.contains(*uuid)).collect();
        assert!(missing.is_empty(), "{}: said to be there: {missing:?}", self.case);
        if self.ok {
            assert_eq!(there, scene.all(), "{}: it said that all is there", self.case);
        }
        let (heard, result) = sync_stores(Arc::new(self.from.clone()), &b, &Syncing::default());
        assert!(result.is_ok() && heard.withheld.is_empty(), "{}: {:?}", self.case, result.err());
        assert_eq!(shown(b, &scene.known, &self.case), scene.all(), "{}: the next", self.case);
    }
}

/// Encrypted and within a domain at each request; else at one of `n`.
fn step(domains: Domains, n: usize) -> usize {
    if domains == Domains::Copies { 1 } else { n }
}

const DOMAINS: [Domains; 3] = [Domains::Copies, Domains::Plain, Domains::Sealing];

#[test]
fn a_sync_fails_or_has_sent_all_whatever_request_fails_on_either_side() {
    for domains in DOMAINS {
        let scene = Scene::new(domains);
        for side in [Side::Source, Side::Destination] {
            let requests = requests(&scene, side);
            let (mut cases, mut ok) = (0, 0);
            for (number, fault) in HONEST_FAULTS.into_iter().enumerate() {
                for nth in (1 + number as u64 % 3..=requests).step_by(step(domains, 3)) {
                    let case = format!("{domains:?}: {side:?}: {fault:?} at request {nth} of {requests}");
                    let rule = Rule::new(fault.clone()).nth(nth);
                    let went = disturbed(&scene, side, rule, nth, case);
                    assert!(went.fired || nth + 6 > requests, "{}: never happened", went.case);
                    went.ends_well(&scene);
                    cases += 1;
                    ok += u64::from(went.ok);
                }
            }
            println!(
                "{domains:?}: {side:?}: {requests} requests, {cases} cases, {ok} went well all the same"
            );
        }
    }
}

/// What is read is wrong once, or seems not to be there.
#[test]
fn a_sync_is_not_misled_by_a_request_that_reads_wrong_bytes_on_either_side() {
    for domains in DOMAINS {
        let scene = Scene::new(domains);
        for side in [Side::Source, Side::Destination] {
            let requests = requests(&scene, side);
            let mut cases = 0;
            for request in [Request::Get, Request::Range, Request::Len] {
                for fault in LIES {
                    for nth in (1..=requests).step_by(step(domains, 3)) {
                        let case = format!("{domains:?}: {side:?}: {fault:?} at {request:?} {nth}");
                        let rule = Rule::new(fault.clone()).on(request).nth(nth);
                        let went = disturbed(&scene, side, rule, nth, case);
                        if !went.fired {
                            break;
                        }
                        went.ends_well(&scene);
                        cases += 1;
                    }
                }
            }
            println!("{domains:?}: {side:?}: {cases} cases");
        }
    }
}

/// There is room at the destination for so and so many more bytes.
#[test]
fn a_destination_that_is_full_at_any_byte_keeps_what_it_has_and_takes_the_rest_later() {
    for domains in DOMAINS {
        let scene = Scene::new(domains);
        let needed = {
            let (from, to) = scene.stores();
            let counting = Arc::new(Counting::new(to));
            let b: Arc<dyn Store> = counting.clone();
            sync_stores(Arc::new(from), &b, &Syncing::default()).1.unwrap();
            counting.counts().bytes_written
        };
        for step in 0..24 {
            let room = needed * step / 22;
            let case = format!("{domains:?}: room for {room} of {needed} bytes");
            let (from, to) = scene.stores();
            let faulty = Arc::new(Faulty::new(to.clone(), step));
            faulty.set_room(Some(room));
            let b: Arc<dyn Store> = faulty.clone();
            let (heard, result) = sync_stores(Arc::new(from.clone()), &b, &Syncing::default());
            let full = matches!(&result, Err(Error::Store(e)) if e.kind() == ErrorKind::Full);
            assert!(result.is_ok() || full, "{case}: {:?}", result.err());
            assert!(full || step > 18, "{case}: it was not full");
            faulty.crash();
            Went { fired: true, ok: !full, from, to, sent: heard.sent, case }.ends_well(&scene);
        }
    }
}

/// A put that takes long, one that is done twice, and a barrier that takes long: nothing of it may matter.
#[test]
fn delays_and_repeated_requests_change_nothing() {
    for domains in DOMAINS {
        let scene = Scene::new(domains);
        for side in [Side::Source, Side::Destination] {
            for fault in [Fault::Delay(Duration::from_micros(300)), Fault::Twice] {
                let case = format!("{domains:?}: {side:?}: {fault:?}");
                let went = disturbed(&scene, side, Rule::new(fault), 1, case);
                assert!(went.ok && went.fired, "{}", went.case);
                went.ends_well(&scene);
            }
        }
    }
}

/// An object of the destination is acknowledged and gone, or stored with wrong bytes. A sync may not notice, but a check
/// does, and no snapshot of before suffers.
#[test]
fn a_put_that_was_acknowledged_and_lost_is_found_by_the_check_of_the_destination() {
    for domains in DOMAINS {
        let scene = Scene::new(domains);
        let puts = {
            let (from, to) = scene.stores();
            let counting = Arc::new(Counting::new(to));
            let b: Arc<dyn Store> = counting.clone();
            sync_stores(Arc::new(from), &b, &Syncing::default()).1.unwrap();
            counting.puts().len() as u64
        };
        let mut noticed = 0;
        for fault in [Fault::Lose, Fault::Truncate(100), Fault::Flip(99), Fault::Flip(12_345)] {
            for nth in 1..=puts {
                let case = format!("{domains:?}: {fault:?} at put {nth} of {puts}");
                let (from, to) = scene.stores();
                let faulty = Arc::new(Faulty::new(to.clone(), nth));
                faulty.add(Rule::new(fault.clone()).on(Request::Put).nth(nth));
                let b: Arc<dyn Store> = faulty.clone();
                let (_, result) = sync_stores(Arc::new(from), &b, &Syncing::default());
                assert!(faulty.fired() > 0, "{case}");
                noticed += u64::from(result.is_err());
                let repo = open(Arc::new(to.clone())).unwrap();
                let (_, said) = check_all(&repo, false).unwrap();
                let mut whole = 0;
                for snapshot in repo.state().snapshots() {
                    let uuid = snapshot.row.uuid_text();
                    let restored = restore(&repo, &snapshot.row.root.node);
                    let wanted = &scene.known[&uuid];
                    let right = restored.entries.iter().all(|(path, seen)| wanted.get(path) == Some(seen));
                    assert!(right, "{case}: wrong bytes");
                    let is_whole = restored.problems.is_empty() && restored.entries.len() == wanted.len();
                    assert!(is_whole || !said.is_empty(), "{case}: {uuid} is not whole and nobody says so");
                    let before = uuid == scene.own || uuid == scene.uuids[0];
                    assert!(is_whole || !before, "{case}: {uuid} was there before");
                    whole += usize::from(is_whole);
                }
                let all = whole == scene.known.len();
                assert!(result.is_err() || all || !said.is_empty(), "{case}: found by nobody");
            }
        }
        println!("{domains:?}: {puts} puts × 4, {noticed} noticed by the sync");
        assert!(noticed > 0);
    }
}
