//! A source that changes while it is cloned or while a clone is updated.

use crate::collecting::{Step, collect_everything, sweep};
use crate::common::*;
use crate::resuming::Interrupting;
use plakar_engine::Error;
use plakar_store::{Capabilities, Listed, MemoryStore, Name, ReadStore, Result};
use plakar_testkit::world::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

/// Things happen to this store between the requests of whoever reads it.
struct Moving {
    store: MemoryStore,
    state: Mutex<State>,
}

type Always = Box<dyn FnMut(&MemoryStore, &str) + Send>;

struct State {
    requests: u64,
    /// What happens before which request.
    steps: VecDeque<(u64, Step)>,
    /// What happens before each listing.
    always: Option<Always>,
}

impl Moving {
    /// The first step happens before the nth request, each other so many later.
    fn new(store: &MemoryStore, steps: Vec<Step>, nth: u64, gap: u64) -> Moving {
        let steps = steps.into_iter().enumerate().map(|(n, step)| (nth + gap * n as u64, step)).collect();
        Moving { store: store.clone(), state: Mutex::new(State { requests: 0, steps, always: None }) }
    }

    fn always(store: &MemoryStore, deed: impl FnMut(&MemoryStore, &str) + Send + 'static) -> Moving {
        let moving = Moving::new(store, vec![], 0, 0);
        moving.state.lock().unwrap().always = Some(Box::new(deed));
        moving
    }

    fn request(&self) {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        while state.steps.front().is_some_and(|(at, _)| *at <= state.requests) {
            let (_, step) = state.steps.pop_front().unwrap();
            step(&self.store);
        }
    }

    fn left(&self) -> usize {
        self.state.lock().unwrap().steps.len()
    }

    /// What was to happen later happens now.
    fn rest(&self) {
        let steps = std::mem::take(&mut self.state.lock().unwrap().steps);
        steps.into_iter().for_each(|(_, step)| step(&self.store));
    }
}

impl ReadStore for Moving {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.request();
        self.store.get_range(name, offset, len)
    }
    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.request();
        self.store.get(name, max)
    }
    fn len(&self, name: &Name) -> Result<u64> {
        self.request();
        self.store.len(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.request();
        if let Some(deed) = &mut self.state.lock().unwrap().always {
            deed(&self.store, prefix);
        }
        self.store.list(prefix, each)
    }
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    fn location(&self) -> String {
        "moving".into()
    }
}

fn pushes(version: u64) -> Step {
    Box::new(move |store| {
        push_version(store, version);
    })
}

fn removes() -> Step {
    Box::new(remove_oldest)
}

/// While its `log/` is listed, two equal trees are pushed, and of these the listing shows the second alone. A store may do
/// so: a listing has to show only what was put before it began.
struct Lasting {
    store: MemoryStore,
    listings: AtomicU64,
}

impl ReadStore for Lasting {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.store.get_range(name, offset, len)
    }
    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.store.get(name, max)
    }
    fn len(&self, name: &Name) -> Result<u64> {
        self.store.len(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let names = || self.store.names().into_iter().collect::<BTreeSet<_>>();
        let mut hidden = BTreeSet::new();
        if prefix == "log/" {
            let version = 100 + self.listings.fetch_add(1, SeqCst);
            let before = names();
            push_version(&self.store, version);
            hidden = names().difference(&before).cloned().collect();
            push_version(&self.store, version);
        }
        self.store
            .list(prefix, &mut |listed| if hidden.contains(&listed.name) { Ok(()) } else { each(listed) })
    }
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    fn location(&self) -> String {
        "lasting".into()
    }
}

#[test]
fn a_listing_that_shows_later_objects_and_not_earlier_ones_makes_no_broken_snapshot() {
    let source = before();
    let first = whole(&source, "first");
    let lasting = Lasting { store: source.clone(), listings: AtomicU64::new(0) };
    let copy = MemoryStore::new();
    clone_to(&lasting, &copy).clean();
    let after_clone = lasting.listings.load(SeqCst);
    assert!(after_clone > 2, "the source grew all the while");
    agree(&source, &copy, "cloned");
    let cloned = whole(&copy, "cloned");
    assert!(first.keys().all(|uuid| cloned.contains_key(uuid)), "what was there before is in the clone");
    update_to(&lasting, &copy).clean();
    assert!(lasting.listings.load(SeqCst) > after_clone + 2);
    agree(&source, &copy, "updated");
    let updated = whole(&copy, "updated");
    assert!(cloned.keys().all(|uuid| updated.contains_key(uuid)));
    assert!(updated.len() > cloned.len());
}

/// Snapshots of both are equal, as far as both have them; each is whole. Returns how many only the source has.
fn agree(source: &MemoryStore, copy: &MemoryStore, case: &str) -> usize {
    let (first, second) = (whole(source, case), whole(copy, case));
    for (uuid, entries) in &second {
        assert!(first.get(uuid).is_none_or(|wanted| wanted == entries), "{case}");
    }
    first.keys().filter(|uuid| !second.contains_key(*uuid)).count()
}

type Steps = fn() -> Vec<Step>;

/// What happens at the source, by name.
fn happenings() -> Vec<(&'static str, Steps)> {
    vec![
        ("a push", || vec![pushes(10)]),
        ("two pushes", || vec![pushes(10), pushes(11)]),
        ("a removal", || vec![removes()]),
        ("a collector", collect_everything),
        ("a removal and a collector", || {
            [vec![removes()], collect_everything()].into_iter().flatten().collect()
        }),
        ("a push and a collector", || {
            [vec![pushes(10)], collect_everything()].into_iter().flatten().collect()
        }),
        ("two collectors", || [collect_everything(), collect_everything()].into_iter().flatten().collect()),
    ]
}

/// A source with a history: two snapshots, one of three removed.
fn before() -> MemoryStore {
    let source = source(false, 3);
    remove_oldest(&source);
    source
}

#[test]
fn whatever_happens_at_the_source_the_clone_is_whole() {
    let start = before();
    let (mut cases, mut rounds) = (0, 0);
    for (what, steps) in happenings() {
        for gap in [0, 1, 4] {
            for nth in 1.. {
                let case = format!("{what} before request {nth}, then every {gap}");
                let source = MemoryStore::from_snapshot(start.snapshot());
                let moving = Moving::new(&source, steps(), nth, gap);
                let copy = MemoryStore::new();
                let report = clone_to(&moving, &copy).clean();
                if moving.left() == steps().len() {
                    break;
                }
                moving.rest();
                let missing = agree(&source, &copy, &case);
                assert!(missing <= 2, "{case}: {missing} snapshots are missing");
                rounds += usize::from(report.objects > source.names().len() as u64);
                cases += 1;
                // What it did not take along, it takes along now.
                update_to(&source, &copy).clean();
                assert_eq!(agree(&source, &copy, &case), 0, "{case}");
                assert_eq!(whole(&source, &case).len(), whole(&copy, &case).len(), "{case}");
            }
        }
    }
    println!("{cases} cases, {rounds} times more was copied than the source had in the end");
    assert!(cases > 500 && rounds > 50);
}

#[test]
fn whatever_happens_at_the_source_an_updated_copy_is_whole() {
    let start = source(false, 2);
    let cloned = MemoryStore::new();
    clone_to(&start, &cloned).clean();
    push_version(&start, 2);
    remove_oldest(&start);
    let mut cases = 0;
    for (what, steps) in happenings() {
        for gap in [0, 1, 4] {
            for nth in 1.. {
                let case = format!("{what} before request {nth} of an update, then every {gap}");
                let source = MemoryStore::from_snapshot(start.snapshot());
                let copy = MemoryStore::from_snapshot(cloned.snapshot());
                let moving = Moving::new(&source, steps(), nth, gap);
                update_to(&moving, &copy).clean();
                if moving.left() == steps().len() {
                    break;
                }
                moving.rest();
                agree(&source, &copy, &case);
                update_to(&source, &copy).clean();
                assert_eq!(agree(&source, &copy, &case), 0, "{case}");
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
    assert!(cases > 300);
}

/// A push folds the log, and what the checkpoint covers is deleted.
#[test]
fn a_log_that_is_folded_and_swept_meanwhile_arrives() {
    let start = source(false, 0);
    let (mut version, mut young) = (0, Objects::new());
    // The last state from which one more push folds.
    let start = loop {
        let before = start.snapshot();
        push_version(&start, version);
        if count(&start, "admin/") > 0 {
            break MemoryStore::from_snapshot(before);
        }
        version += 1;
        if version == 12 {
            young = start.snapshot();
        }
    };
    let requests = 3 * start.names().len() as u64;
    let behind = MemoryStore::new();
    clone_to(&MemoryStore::from_snapshot(young), &behind).clean();
    let (mut cases, mut swept, mut cut) = (0, 0, 0);
    for gap in [0, 1, 5] {
        for nth in (1..requests).step_by(3) {
            let case = format!("a push that folds before request {nth}, swept {gap} later");
            let source = MemoryStore::from_snapshot(start.snapshot());
            let moving = Moving::new(&source, vec![pushes(version), sweep()], nth, gap);
            let copy = MemoryStore::new();
            clone_to(&moving, &copy).clean();
            if moving.left() == 2 {
                break;
            }
            swept += usize::from(moving.left() == 0);
            moving.rest();
            assert!(agree(&source, &copy, &case) <= 1, "{case}");
            cases += 1;

            let source = MemoryStore::from_snapshot(start.snapshot());
            let moving = Moving::new(&source, vec![pushes(version), sweep()], nth, gap);
            let copy = MemoryStore::from_snapshot(behind.snapshot());
            // Cut short as well, somewhere.
            let interrupted = AtomicBool::new(false);
            let at_put = Interrupting::at(&copy, 1 + nth % 20, &interrupted);
            // With the log folded there are fewer puts than that.
            let Cloned { result, told } = update_until(&moving, &at_put, &interrupted);
            assert_eq!(told, Vec::<String>::new(), "{case}");
            cut += usize::from(matches!(result, Err(Error::Interrupted)));
            moving.rest();
            agree(&source, &copy, &case);
            update_to(&moving, &copy).clean();
            assert_eq!(agree(&source, &copy, &case), 0, "{case}");
        }
    }
    println!("{cases} cases, swept during {swept}");
    assert!(cases > 60 && swept > 60 && cut > 60, "{cut}");
}

#[test]
fn a_source_that_is_pushed_to_all_the_time_is_cloned() {
    let source = source(false, 1);
    let mut version = 100;
    let moving = Moving::always(&source, move |store, prefix| {
        if prefix == "packs/" {
            version += 1;
            push_version(store, version);
        }
    });
    let copy = MemoryStore::new();
    clone_to(&moving, &copy).clean();
    let (first, second) = (whole(&source, "source").len(), whole(&copy, "copy").len());
    assert!(second > 1 && second < first, "{second} of {first}");
    agree(&source, &copy, "all the time");
}

/// So busy that the clone takes what it has: then a collector must not have been at work.
#[test]
fn a_source_that_is_pushed_to_all_the_time_and_collected_is_cloned_whole() {
    let start = before();
    let (mut cases, mut behind) = (0, 0);
    for (gap, stride) in [(0, 1), (1, 2), (2, 2), (7, 2)] {
        for nth in (1..120).step_by(stride) {
            let case = format!("a collector before request {nth}, then every {gap}, of a busy source");
            let source = MemoryStore::from_snapshot(start.snapshot());
            let steps = [vec![removes()], collect_everything()].into_iter().flatten().collect();
            let moving = Moving::new(&source, steps, nth, gap);
            let mut version = 100;
            moving.state.lock().unwrap().always = Some(Box::new(move |store, prefix| {
                if prefix == "log/" {
                    version += 1;
                    push_version(store, version);
                }
            }));
            let copy = MemoryStore::new();
            clone_to(&moving, &copy).clean();
            moving.rest();
            behind += usize::from(agree(&source, &copy, &case) > 0);
            cases += 1;
        }
    }
    println!("{cases} cases, {behind} times it was not waited for the last push");
    assert!(behind > cases / 2);
}

#[test]
fn a_source_that_is_removed_from_all_the_time_is_given_up_and_cloned_later() {
    let source = source(false, 30);
    let moving = Moving::always(&source, |store, prefix| {
        if prefix == "log/" {
            remove_oldest(store);
        }
    });
    let copy = MemoryStore::new();
    let error = clone_to(&moving, &copy).error();
    assert!(matches!(&error, Error::Refused(what) if what.contains("moving: changes faster")), "{error}");
    assert!(open(Arc::new(copy.clone())).is_err());
    clone_to(&source, &copy).clean();
    same_objects(&source, &copy, "later");
}

/// Objects that are listed and then not there are no damage when they were deleted by the rules.
#[test]
fn what_a_collector_deletes_is_not_told_as_damage() {
    let source = before();
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for nth in 1..40 {
        let source = MemoryStore::from_snapshot(source.snapshot());
        let moving = Moving::new(&source, collect_everything(), nth, 0);
        told.insert(nth, clone_to(&moving, &MemoryStore::new()).told);
    }
    assert!(told.values().all(Vec::is_empty), "{told:?}");
}
