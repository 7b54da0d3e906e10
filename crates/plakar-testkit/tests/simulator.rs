//! The simulator (`plakar_testkit::simulator`) over many seeds, and over each rule taken out.
//!
//! A seed is 200 operations and three power cuts. An operation is a whole push, sync, removal, cleanup and so on, of about
//! 40 requests.
//!
//! - `PLAKAR_SIMULATOR_SEED=…` takes this seed, again and again: the names of sessions and packs are drawn anew each time,
//!   so that it may need a few.
//! - `PLAKAR_SIMULATOR_SEEDS=…` takes so many, `PLAKAR_SIMULATOR_FROM=…` from this one on.
//!
//! A million:
//!
//! ```text
//! PLAKAR_SIMULATOR_SEEDS=1000000 cargo test --release -p plakar-testkit --test simulator -- --ignored --nocapture
//! ```

use plakar_testkit::simulator::{Broken, Options, Outcome, Tally, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// As many as an ordinary run has.
const SEEDS: u64 = 1_000;
/// So often one seed is taken.
const AGAIN: u64 = 50;

/// What came of some seeds.
#[derive(Default)]
struct Found {
    tally: Tally,
    runs: u64,
    lost: Option<(u64, Outcome)>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// Runs seeds on all processors until one shows a loss.
fn over(options: &Options, many: u64) -> Found {
    let (one, from) = (number("PLAKAR_SIMULATOR_SEED"), number("PLAKAR_SIMULATOR_FROM").unwrap_or(0));
    let many = if one.is_some() { AGAIN } else { many };
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let found = Mutex::new(Found::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= many {
                break;
            }
            let seed = one.unwrap_or(from + number);
            let mut outcome = run(seed, options);
            let mut found = found.lock().unwrap();
            found.tally += std::mem::take(&mut outcome.tally);
            found.runs += 1;
            if found.runs.is_multiple_of(10_000) {
                println!("{} seeds: {:?}", found.runs, found.tally);
            }
            if outcome.loss.is_some() {
                stop.store(true, Ordering::Relaxed);
                found.lost.get_or_insert((seed, outcome));
            }
        }
    };
    // Of the clients of one seed only one works at a time, and it takes a while to wake the next.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap()
}

fn nothing_is_lost(many: u64) {
    let began = Instant::now();
    let found = over(&Options::default(), many);
    println!("{} seeds in {:.1} s: {:?}", found.runs, began.elapsed().as_secs_f64(), found.tally);
    if let Some((seed, outcome)) = found.lost {
        outcome.trace.iter().for_each(|line| println!("{line}"));
        let again = format!(
            "PLAKAR_SIMULATOR_SEED={seed} cargo test -p plakar-testkit --test simulator nothing_is_lost"
        );
        panic!("seed {seed}: {}\nwhat happened stands above; again: {again}", outcome.loss.unwrap());
    }
    // Whatever there is was done, and not in vain.
    if found.runs >= 200 {
        assert!(found.tally.kinds.values().all(|(succeeded, _)| *succeeded > 0), "{:?}", found.tally);
    }
}

#[test]
fn nothing_is_lost_over_a_thousand_seeds() {
    nothing_is_lost(number("PLAKAR_SIMULATOR_SEEDS").unwrap_or(SEEDS));
}

#[test]
#[ignore = "long: 20,000 seeds, or as many as PLAKAR_SIMULATOR_SEEDS says"]
fn nothing_is_lost_over_as_many_seeds_as_asked_for() {
    nothing_is_lost(number("PLAKAR_SIMULATOR_SEEDS").unwrap_or(20 * SEEDS));
}

/// Where a store does not promise to list everything, nothing is written at all.
#[test]
fn where_lists_are_late_nothing_is_written() {
    let found = over(&Options { strong_list: false, ..Options::default() }, 20);
    let loss = found.lost.map(|(seed, outcome)| (seed, outcome.loss));
    assert_eq!((loss, found.tally.changes), (None, 0));
    assert!(found.tally.requests > 1_000);
}

/// Without the rule, some seed of an ordinary run shows a loss.
fn is_found(broken: Broken) {
    let began = Instant::now();
    let options = Options { broken: Some(broken), ..Options::default() };
    let found = over(&options, number("PLAKAR_SIMULATOR_SEEDS").unwrap_or(SEEDS));
    let (runs, took) = (found.runs, began.elapsed().as_secs_f64());
    let Some((seed, outcome)) = found.lost else {
        panic!("{broken:?}: no loss in {runs} seeds: {:?}", found.tally);
    };
    if number("PLAKAR_SIMULATOR_SEED").is_some() {
        outcome.trace.iter().for_each(|line| println!("{line}"));
    }
    println!("{broken:?}: seed {seed}, the {runs}th, after {took:.1} s: {}", outcome.loss.unwrap());
}

macro_rules! found_out {
    ($($name:ident: $broken:ident;)*) => {
        mod rule {
            use super::{Broken, is_found};
            $(#[test]
            fn $name() {
                is_found(Broken::$broken);
            })*
        }

        #[test]
        fn every_rule_has_its_test() {
            assert_eq!(Broken::ALL.to_vec(), [$(Broken::$broken),*]);
        }
    };
}

found_out! {
    packs_are_flushed: NoBarriers;
    packs_are_flushed_before_the_final: BarrierOnlyAfterFinal;
    a_base_is_looked_at_after_it_is_pinned: PinNotLookedAt;
    a_base_is_pinned_before_it_is_used: PinTooLate;
    packs_are_announced_before_the_look: AnnouncedAfterLooking;
    a_look_comes_before_the_final: NoLookBeforeFinal;
    what_is_marked_is_not_relied_on: MarksNotSeen;
    a_look_comes_after_the_final: NoLastLook;
    a_collector_looks_after_its_mark: NoSecondLook;
    unfinished_sessions_are_walked: UnfinishedNotWalked;
    what_another_collector_marked_is_gone: OtherMarksNotSeen;
    a_collector_stops_when_a_revoked_session_has_ended: EndedNotSeen;
    nobody_finishes_the_mark_of_another: FinishesOthers;
    packs_are_deleted_after_the_dead: DeletesBeforeDead;
    a_dead_is_flushed_before_packs_are_deleted: DeadNotFlushed;
    a_checkpoint_is_flushed_before_anything_covered_is_deleted: CheckpointNotFlushed;
    a_checkpoint_says_all_that_it_covers: CheckpointForgets;
    a_reader_looks_again: ReaderLooksOnce;
    a_clone_is_flushed: CloneNotFlushed;
    an_undelete_asks_for_every_item: UndeleteAsksForRootOnly;
    an_undelete_looks: UndeleteDoesNotLook;
    a_resumed_root_is_a_hint: ResumeDoesNotAsk;
    a_store_lists_what_was_put: ListsLate;
}
