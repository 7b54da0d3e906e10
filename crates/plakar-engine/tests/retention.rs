//! What a policy keeps: the rules one by one; and that no clock of a client, no first sync of old snapshots, no clone costs a
//! good one.

use jiff::Timestamp;
use plakar_engine::clone::{CloneOptions, clone};
use plakar_engine::id::{NodeId, SessionId};
use plakar_engine::log::Snapshot;
use plakar_engine::log::fact::{Path, Row};
use plakar_engine::repository::Repository;
use plakar_engine::retention::{Age, Decision, Group, GroupBy, Policy, Reason, Refused, decide};
use plakar_engine::tree::{Subtree, Time, Totals};
use plakar_store::{Capabilities, Listed, MemoryStore, Name, ReadStore, Result, Store};
use plakar_testkit::source::{Node, Tree};
use plakar_testkit::syncing::{Domains, synced};
use plakar_testkit::world::{Making, Pushing, create, open, push};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn secs(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second()
}

/// Rows, and when each was received, in seconds.
#[derive(Debug, Clone, Default)]
struct Made(Vec<(Row, i64)>);

impl Made {
    /// One more, claimed at `created`, received then and there.
    fn at(&mut self, created: i64) -> &mut Row {
        self.received(created, created)
    }

    fn received(&mut self, created: i64, received: i64) -> &mut Row {
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&(self.0.len() as u64).to_be_bytes());
        let row = Row {
            uuid,
            root: Subtree { node: NodeId([0; 32]), totals: Totals::default() },
            created: Time { secs: created, nanos: 0 },
            took_ms: 0,
            host: "host".into(),
            user: String::new(),
            command: String::new(),
            roots: vec![Path(b"/home".to_vec())],
            tags: Vec::new(),
            parents: Vec::new(),
            tool: String::new(),
            origin: None,
        };
        self.0.push((row, received));
        &mut self.0.last_mut().unwrap().0
    }

    fn snapshots(&self) -> Vec<Snapshot<'_>> {
        let session = |n: usize| {
            let mut session = SessionId([0; 16]);
            session.0[..8].copy_from_slice(&(n as u64).to_le_bytes());
            session
        };
        let all = self.0.iter().enumerate();
        all.map(|(n, (row, received))| Snapshot {
            session: session(n),
            row,
            received_ms: received.saturating_mul(1000),
        })
        .collect()
    }

    /// The numbers of those that are kept.
    fn kept(&self, policy: &Policy) -> BTreeSet<usize> {
        let snapshots = self.snapshots();
        kept(&decide(&snapshots, policy, NOW * 1000).unwrap()).iter().map(number).collect()
    }
}

const NOW: i64 = 4_000_000_000;

fn number(decision: &&Decision<'_>) -> usize {
    u64::from_be_bytes(decision.snapshot.row.uuid[..8].try_into().unwrap()) as usize
}

fn kept<'g, 'a>(groups: &'g [Group<'a>]) -> Vec<&'g Decision<'a>> {
    groups.iter().flat_map(|group| &group.decisions).filter(|one| one.is_kept()).collect()
}

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy { group_by: GroupBy::HOST_AND_ROOTS, ..Policy::default() };
    change(&mut policy);
    policy
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    numbers.into_iter().collect()
}

#[test]
fn each_rule_keeps_what_it_says() {
    let mut made = Made::default();
    for time in [
        "2024-12-29T10:00:00Z", // 0: Sunday of week 52
        "2024-12-30T10:00:00Z", // 1: Monday of week 1 of 2025
        "2024-12-31T23:59:59Z", // 2
        "2025-01-01T00:00:00Z", // 3
        "2025-01-05T08:00:00Z", // 4: Sunday of the same week
        "2025-01-05T08:59:59Z", // 5
        "2025-01-05T09:00:00Z", // 6
        "2025-02-01T00:00:00Z", // 7
    ] {
        made.at(secs(time));
    }
    let period = |at: usize, n| made.kept(&policy(|p| p.periods[at] = n));
    assert_eq!(made.kept(&policy(|p| p.last = 3)), numbers([5, 6, 7]));
    assert_eq!(period(0, 3), numbers([5, 6, 7]), "hours");
    assert_eq!(period(1, 3), numbers([3, 6, 7]), "days");
    assert_eq!(period(2, 3), numbers([0, 6, 7]), "weeks by ISO 8601");
    assert_eq!(period(3, 2), numbers([6, 7]), "months");
    assert_eq!(period(3, 100), numbers([2, 6, 7]), "months");
    assert_eq!(period(4, 2), numbers([2, 7]), "years");
    let within = |text: &str| made.kept(&policy(|p| p.within = Some(text.parse().unwrap())));
    assert_eq!(within("26d15h"), numbers([6, 7]), "from the newest, not from now");
    assert_eq!(within("1m"), numbers([3, 4, 5, 6, 7]), "a month by the calendar");
    assert_eq!(within("9999999y").len(), 8);
    made.0[2].0.tags = vec!["a".into(), "keep".into()];
    made.0[4].0.tags = vec!["keeper".into()];
    assert_eq!(made.kept(&policy(|p| p.tags = vec!["none".into(), "keep".into()])), numbers([2]));
    // Rules add up, and each says so.
    let both = policy(|p| {
        p.last = 1;
        p.periods = [0, 2, 0, 0, 0];
        p.tags = vec!["keep".into()];
    });
    let snapshots = made.snapshots();
    let groups = decide(&snapshots, &both, NOW * 1000).unwrap();
    let told: BTreeMap<_, Vec<_>> = kept(&groups)
        .iter()
        .map(|one| {
            let reasons =
                one.reasons.iter().map(|r| format!("{} {}", r.rule(), r.detail().unwrap_or_default()));
            (number(one), reasons.collect())
        })
        .collect();
    let expected: BTreeMap<_, Vec<String>> = [
        (2, vec!["tag keep".into()]),
        (6, vec!["daily 2025-01-05".into()]),
        (7, vec!["last 1".into(), "daily 2025-02-01".into()]),
    ]
    .into();
    assert_eq!(told, expected);
}

#[test]
fn groups_do_not_see_each_other() {
    let mut made = Made::default();
    for n in 0..6 {
        let row = made.at(DAY * n);
        row.host = format!("host-{}", n % 2);
        let mut roots = vec![Path(b"/a".to_vec()), Path(b"/b".to_vec())];
        roots.rotate_left((n / 2 % 2) as usize);
        row.roots = roots;
        row.tags = vec![format!("tag-{}", n / 3)];
    }
    let last = |group_by| made.kept(&policy(|p| (p.last, p.group_by) = (1, group_by)));
    let none = GroupBy::default();
    assert_eq!(last(GroupBy::HOST_AND_ROOTS), numbers([4, 5]), "the order of roots does not matter");
    assert_eq!(last(GroupBy { host: true, ..none }), numbers([4, 5]));
    assert_eq!(last(GroupBy { roots: true, ..none }), numbers([5]));
    assert_eq!(last(GroupBy { tags: true, ..none }), numbers([2, 5]));
    assert_eq!(last(none), numbers([5]));
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let mut made = Made::default();
    made.at(0).tags = vec!["good".into()];
    made.at(DAY).host = "other".into();
    let snapshots = made.snapshots();
    let refused = |policy: &Policy| decide(&snapshots, policy, NOW * 1000).unwrap_err();
    assert_eq!(refused(&policy(|_| ())), Refused::NoRule);
    assert_eq!(refused(&policy(|p| p.min_age = Age::days(100_000))), Refused::NoRule);
    assert!(decide(&[], &policy(|_| ()), 0).is_err());
    // What is only too young to go does not make it a policy that keeps something.
    let by_tag = policy(|p| (p.tags, p.min_age) = (vec!["good".into()], Age::days(100_000)));
    let Refused::KeepsNothing(groups) = refused(&by_tag) else { panic!() };
    assert_eq!(groups.iter().map(|group| group.host.as_deref()).collect::<Vec<_>>(), [Some("other")]);
    let all_together = policy(|p| (p.tags, p.group_by) = (vec!["good".into()], GroupBy::default()));
    assert!(decide(&snapshots, &all_together, NOW * 1000).is_ok());
    assert!(decide(&[], &by_tag, 0).unwrap().is_empty());
}

#[test]
fn nothing_goes_before_it_is_old_enough() {
    let mut made = Made::default();
    made.at(NOW - 3 * DAY);
    made.at(NOW - DAY);
    made.at(NOW - DAY + 1);
    made.at(NOW - 10);
    made.at(NOW + HOUR);
    let young = policy(|p| (p.last, p.min_age) = (1, Age::days(1)));
    assert_eq!(made.kept(&young), numbers([2, 3, 4]));
    let snapshots = made.snapshots();
    let groups = decide(&snapshots, &young, NOW * 1000).unwrap();
    assert_eq!(kept(&groups)[0].reasons, [Reason::TooYoung]);
    assert_eq!(made.kept(&policy(|p| p.last = 1)), numbers([4]), "without a least age a store may be ahead");
    // A clock here that is wrong makes nothing go that a rule keeps, and one that is behind keeps more.
    for now in [i64::MIN, 0, i64::MAX] {
        let groups = decide(&snapshots, &young, now).unwrap();
        assert!(kept(&groups).iter().any(|one| number(one) == 4), "{now}");
        assert!(now > 0 || kept(&groups).len() == 5);
    }
}

#[test]
fn ages_are_read_and_written() {
    for (text, shown) in [("30d", "30d"), ("1y6m12h", "1y6m12h"), ("2w", "2w"), ("0", "0"), ("0d", "0")] {
        assert_eq!(text.parse::<Age>().unwrap().to_string(), shown);
    }
    for text in
        ["", "d", "30", "-1d", "1.5d", "30 d", "12h1y", "1d1d", "1x", "4294967296d", "99999999d", "1d0"]
    {
        assert!(text.parse::<Age>().is_err(), "{text}");
    }
}

/// Two weeks of daily snapshots.
fn fortnight() -> Made {
    let mut made = Made::default();
    (0..14).for_each(|n| _ = made.at(NOW - (20 - n) * DAY));
    made
}

fn policies() -> Vec<Policy> {
    vec![
        policy(|p| p.last = 3),
        policy(|p| p.periods = [0, 7, 0, 0, 0]),
        policy(|p| p.periods = [5, 3, 2, 6, 1]),
        policy(|p| p.within = Some(Age::days(5))),
    ]
}

#[test]
fn a_clock_of_a_client_that_is_wrong_costs_no_other_snapshot() {
    let good = fortnight();
    // Far ahead, far behind, absurdly so; a hundred of each, pushed in the middle, just now, and with each good one's time.
    let claims = [NOW + 100 * 365 * DAY, 0, -DAY, i64::MAX, i64::MIN, NOW - 15 * DAY, NOW + 3 * DAY];
    for policy in policies() {
        let before = good.kept(&policy);
        assert!(before.len() < 14);
        for claim in claims {
            let mut with = good.clone();
            (0..100).for_each(|n| _ = with.received(claim.saturating_add(n), NOW - 100 + n));
            let after = with.kept(&policy);
            assert!(after.is_superset(&before), "{policy:?} with {claim}: {before:?} -> {after:?}");
        }
    }
    // What is a little ahead counts when it was received.
    let mut little = Made::default();
    little.at(secs("2025-01-01T12:00:00Z"));
    little.received(secs("2025-01-02T01:00:00Z"), secs("2025-01-01T23:00:00Z"));
    assert_eq!(little.kept(&policy(|p| p.periods[1] = 5)), numbers([1]));
}

/// The machine whose clock begins in 1970 whenever it starts: its snapshots are good ones.
#[test]
fn what_a_client_without_a_clock_pushes_is_not_displaced_by_itself() {
    let mut made = Made::default();
    (0..10).for_each(|n| _ = made.received(n * 60, NOW - (10 - n) * DAY));
    assert_eq!(made.kept(&policy(|p| p.periods = [0, 7, 4, 12, 1])).len(), 10);
    // Whoever knows better can say so.
    assert_eq!(made.kept(&policy(|p| (p.periods[1], p.trust_times) = (7, true))), numbers([9]));
}

#[test]
fn a_first_sync_of_old_snapshots_costs_none_that_was_there() {
    let good = fortnight();
    for policy in policies() {
        let before = good.kept(&policy);
        let mut with = good.clone();
        // One for each day of the last year and an hour later than the good ones, all received in one night.
        (0..300).for_each(|n| _ = with.received(NOW - (303 - n) * DAY + HOUR, NOW - HOUR + n));
        let after = with.kept(&policy);
        assert!(after.is_superset(&before), "{policy:?}: {before:?} -> {after:?}");
    }
    // Nor are they dropped for having come together.
    let mut empty = Made::default();
    (0..300).for_each(|n| _ = empty.received(NOW - (400 - n) * DAY, NOW - HOUR + n));
    for policy in policies() {
        assert_eq!(empty.kept(&policy).len(), 300);
    }
    // What is pushed afterwards takes over.
    (0..10).for_each(|n| _ = empty.at(NOW + n * DAY));
    assert_eq!(empty.kept(&policy(|p| p.last = 3)), numbers([307, 308, 309]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever is received later elsewhere, what is kept here is kept there; and the same if times are trusted.
    #[test]
    fn a_copy_keeps_what_its_origin_keeps(
        snapshots in prop::collection::vec((0..400 * DAY, 0..60 * DAY, 0..2u8), 1..60),
        copied in prop::collection::vec(0..3u8, 60),
        (last, periods) in (0..5u64, prop::array::uniform5(0..5u64)),
        within in prop::option::of(0..100u32),
    ) {
        let mut origin = Made::default();
        for (ago, delay, host) in &snapshots {
            // Most are received at once.
            let delay = if delay % 5 > 0 { 30 } else { *delay };
            origin.received(NOW - 500 * DAY - ago, NOW - 500 * DAY - ago + delay).host = host.to_string();
        }
        let mut copy = origin.clone();
        for ((_, received), how) in copy.0.iter_mut().zip(&copied) {
            // As a checkpoint says, by a sync soon after, by a late one.
            *received += [0, 5 * HOUR, 100 * DAY][usize::from(*how)];
        }
        let mut policy = policy(|p| (p.last, p.periods, p.within) = (last, periods, within.map(Age::days)));
        if policy.last == 0 && policy.within.is_none() && policy.periods == [0; 5] {
            policy.last = 1;
        }
        prop_assert!(copy.kept(&policy).is_superset(&origin.kept(&policy)));
        policy.trust_times = true;
        prop_assert_eq!(copy.kept(&policy), origin.kept(&policy));
    }

    /// What is not believed displaces nothing, whatever it claims.
    #[test]
    fn what_is_not_believed_displaces_nothing(
        good in prop::collection::vec((0..400 * DAY, 0..48 * HOUR), 1..40),
        bad in prop::collection::vec((0..500 * DAY, 48 * HOUR + 1..900 * DAY, any::<bool>()), 0..40),
        (last, periods) in (1..5u64, prop::array::uniform5(0..5u64)),
        within in prop::option::of(0..100u32),
    ) {
        let mut made = Made::default();
        good.iter().for_each(|(ago, delay)| _ = made.received(NOW - ago, NOW - ago + delay));
        let policy = policy(|p| (p.last, p.periods, p.within) = (last, periods, within.map(Age::days)));
        let before = made.kept(&policy);
        for (ago, off, ahead) in &bad {
            let received = NOW - ago;
            made.received(if *ahead { received + off } else { received - off }, received);
        }
        prop_assert!(made.kept(&policy).is_superset(&before));
    }
}

/// A store in memory with a clock of its own.
struct Clocked {
    inner: MemoryStore,
    now: Arc<AtomicI64>,
    received: Mutex<BTreeMap<Name, i64>>,
}

impl Clocked {
    fn over(inner: MemoryStore, now: &Arc<AtomicI64>) -> Arc<dyn Store> {
        Arc::new(Clocked { inner, now: now.clone(), received: Mutex::default() })
    }
}

impl ReadStore for Clocked {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.inner.get_range(name, offset, len)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.inner.get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.inner.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let received = self.received.lock().unwrap();
        self.inner.list(prefix, &mut |listed| {
            let received_ms = received.get(&listed.name).copied().unwrap_or(0);
            each(Listed { received_ms, ..listed })
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl Store for Clocked {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let now = self.now.load(Ordering::Relaxed) * 1000;
        self.received.lock().unwrap().entry(name.clone()).or_insert(now);
        self.inner.put(name, parts)
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.inner.delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.inner.barrier()
    }
}

/// What a policy keeps, by the UUIDs.
fn keeps(repo: &Repository, policy: &Policy, now: i64) -> BTreeSet<String> {
    let snapshots = repo.state().snapshots();
    let groups = decide(&snapshots, policy, now * 1000).unwrap();
    kept(&groups).iter().map(|one| one.snapshot.row.uuid_text()).collect()
}

/// Really pushed, cloned and synced, by stores whose clocks go on: part of what was cloned was folded into a checkpoint and
/// part was not.
#[test]
fn after_clone_and_sync_the_same_policy_keeps_the_same_snapshots() {
    let now = Arc::new(AtomicI64::new(0));
    let set = |secs: i64| now.store(secs, Ordering::Relaxed);
    let begin = 1_700_000_000;
    let (here, other) = Domains::OtherKeys.empty(32 << 10);
    let (here, synced_to) = (Clocked::over(here, &now), Clocked::over(other, &now));
    let push_at = |store: &Arc<dyn Store>, at: i64| {
        set(at);
        let mut tree = Tree::default();
        tree.put("f", Node::file(at.to_string()));
        push(store, &tree, &Pushing { now: at, ..Pushing::default() }).clean();
    };
    // Four months of a push every 30 hours.
    let last = begin + 95 * 30 * HOUR;
    (0..96).for_each(|n| push_at(&here, begin + n * 30 * HOUR));
    set(last + 10 * DAY);
    let cloned_to = Clocked::over(MemoryStore::new(), &now);
    let options = CloneOptions { now: last, workers: 1, pack_bytes: None };
    let never = AtomicBool::new(false);
    let cloned = clone(&here, &[&cloned_to], &options, &mut |what| panic!("{what}"), &mut |_| {}, &never);
    assert!(cloned.unwrap().into_iter().all(|one| one.is_ok()));
    synced(&here, &synced_to);
    let policies = [
        policy(|p| p.last = 7),
        policy(|p| p.periods = [0, 7, 5, 3, 1]),
        policy(|p| (p.last, p.within) = (1, Some(Age::days(40)))),
        policy(|p| (p.last, p.min_age) = (1, Age::days(1))),
    ];
    let (origin, clone, copy) = (open(here.clone()), open(cloned_to.clone()), open(synced_to.clone()));
    let (origin, clone, copy) = (origin.unwrap(), clone.unwrap(), copy.unwrap());
    let later = last + 30 * DAY;
    for policy in &policies {
        let here = keeps(&origin, policy, later);
        assert!(here.len() < 40);
        for (name, there) in [("clone", &clone), ("sync", &copy)] {
            let kept = keeps(there, policy, later);
            assert!(kept.is_superset(&here), "{name}: {policy:?}: {here:?} {kept:?}");
            // To whom it is known where they came from, they count as they did there.
            let trusting = Policy { trust_times: true, ..policy.clone() };
            assert_eq!(keeps(there, &trusting, later), here, "{name}: {policy:?}");
            // On the very day nothing that came goes, if there is a least age.
            if !policy.min_age.is_zero() && name == "sync" {
                assert_eq!(keeps(there, &trusting, last + 10 * DAY).len(), 96);
            }
        }
    }
    // A clone of which most was folded into checkpoints keeps little more.
    assert!(keeps(&clone, &policies[1], later).len() < 96);

    // Pushed here and synced every day, both come to keep the same.
    for n in 1..=16 {
        let at = later + n * DAY;
        push_at(&here, at);
        set(at + HOUR);
        synced(&here, &synced_to);
        synced(&here, &cloned_to);
    }
    let end = later + 20 * DAY;
    let here = keeps(&open(here).unwrap(), &policies[0], end);
    for there in [synced_to, cloned_to] {
        assert_eq!(keeps(&open(there).unwrap(), &policies[0], end), here);
    }
}

/// A hostile client that may push, with any time it likes: what is there already stays, in the clone as well.
#[test]
fn a_hostile_client_costs_no_snapshot_in_a_clone_either() {
    let now = Arc::new(AtomicI64::new(0));
    let store = MemoryStore::new();
    create(&store, Making::default()).unwrap();
    let store = Clocked::over(store, &now);
    let begin = secs("2025-01-01T12:00:00Z");
    let push_at = |at: i64, received: i64| {
        now.store(received, Ordering::Relaxed);
        let mut tree = Tree::default();
        tree.put("f", Node::file(format!("{at} {received}")));
        push(&store, &tree, &Pushing { now: at, ..Pushing::default() }).clean().row.uuid_text()
    };
    let good: Vec<_> = (0..60).map(|n| push_at(begin + n * DAY, begin + n * DAY)).collect();
    let attack = begin + 70 * DAY;
    for n in 0..30 {
        // The newest of each day, as it says; or of the days to come.
        push_at(begin + n * 2 * DAY + 5 * HOUR, attack + n);
        push_at(attack + n * 3 * DAY + 3 * DAY, attack + n);
    }
    let policy = policy(|p| p.periods = [0, 7, 0, 12, 0]);
    let expected: BTreeSet<_> = [30, 53, 54, 55, 56, 57, 58, 59].map(|n| good[n].clone()).into();
    let repo = open(store.clone()).unwrap();
    let kept = keeps(&repo, &policy, attack + 100 * DAY);
    assert!(kept.is_superset(&expected), "{:?}", expected.difference(&kept));

    now.store(attack + 10 * DAY, Ordering::Relaxed);
    let copy = Clocked::over(MemoryStore::new(), &now);
    let options = CloneOptions { now: attack, workers: 1, pack_bytes: None };
    let never = AtomicBool::new(false);
    clone(&store, &[&copy], &options, &mut |what| panic!("{what}"), &mut |_| {}, &never).unwrap();
    let kept = keeps(&open(copy).unwrap(), &policy, attack + 100 * DAY);
    assert!(kept.is_superset(&expected), "{:?}", expected.difference(&kept));
}
