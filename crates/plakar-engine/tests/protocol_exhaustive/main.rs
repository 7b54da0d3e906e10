//! Every interleaving of small worlds: nothing visible is lost, nothing acknowledged becomes void.
//!
//! The actors drive the real `Writer`, `Collector` and `View`; the test adds only what those leave to their
//! callers: which ids a pack holds, what a publication needs, which packs a collector proposes. The engine's cloner
//! works on objects and knows no facts, so the order in which it lists and puts is told again here. One step is one
//! store request: read the log, put a fact, put a pack, delete a pack. A crash is an actor that is never
//! scheduled again, so it suffices to look at every reachable state, not only at the last ones.
//!
//! In every state: each visible session finds all it needs in packs that exist, are announced and not dead; and
//! each acknowledged session is visible or was removed by name. A clone that is complete shows what was visible at the
//! source from its beginning to its end, has every pack that whoever writes to it may rely on, and each session that is
//! visible in it finds there all that it needs. While it is updated, this holds at each moment, power cuts included, for
//! what is visible at the source as well.
//!
//! All of it at once (2 writers, 2 collectors, removal, undelete, resume, rescue) has too many states, so it is
//! covered by several worlds, each explored to the end. The larger ones are left to a long run: the largest has 21
//! million states, which takes two minutes and 2 GiB.
//!
//! Then each rule is broken on purpose, by an actor that skips a step or reads a log in which something is
//! missing, and the exploration must find the loss. Nothing in the engine knows of these switches.
//!
//! Not here: looks that last (only a cloner's listings do), bad blocks, lists that are not whole (except as a broken
//! rule), stores that lie.

mod cast;
mod cloning;
mod collecting;
mod exploring;
mod folding;
mod places;
mod pushing;
mod sweeping;
mod tables;
mod world;

use std::time::Instant;

use plakar_engine::protocol::*;

use cast::{Broken::*, *};
use exploring::explore;

/// Explores a world to the end: nothing may be wrong, and each of `must_happen` must be possible.
#[track_caller]
fn sound(title: &str, actors: &[Actor], must_happen: &[&str]) {
    let start = Instant::now();
    let explored = explore(actors, Nothing, 0);
    println!(
        "{title}: {} states, {:.1} s, {:?}",
        explored.states,
        start.elapsed().as_secs_f32(),
        explored.seen
    );
    if let Some((what, trace)) = explored.violation {
        panic!("{title}: {what}\n  {}", trace.join("\n  "));
    }
    for what in must_happen {
        assert!(explored.seen.contains(what), "{title}: never {what}");
    }
}

/// Explores a world in which a rule is broken: a loss must be found. `TRACE=1` shows the way to it.
#[track_caller]
fn caught(broken: Broken, actors: &[Actor]) {
    let explored = explore(actors, broken, 0);
    let Some((what, trace)) = explored.violation else {
        panic!("{broken:?} goes unnoticed in {} states", explored.states);
    };
    println!("{broken:?}: {what} after {} steps, {} states", trace.len(), explored.states);
    if std::env::var_os("TRACE").is_some() {
        println!("  {}", trace.join("\n  "));
    }
}

fn w(session: u8) -> Actor {
    Actor::Push(push(session))
}

fn g(name: u8) -> Actor {
    Actor::Collect(collect(name))
}

/// One clone of the repository.
fn cloner() -> Actor {
    Actor::Clone(Cloner { runs: 1, cuts: 0, lasting: false })
}

/// A clone, and an update of it.
fn updater() -> Actor {
    Actor::Clone(Cloner { runs: 2, cuts: 0, lasting: false })
}

/// A cloner whose listings last.
fn slow(runs: u8) -> Actor {
    Actor::Clone(Cloner { runs, cuts: 0, lasting: true })
}

/// Whatever it does, it may be cut off once and begin again.
fn cut(runs: u8) -> Actor {
    Actor::Clone(Cloner { runs, cuts: 1, lasting: false })
}

const RM: Actor = Actor::Remove(BASE);

/// A collector that does all that a policy could ask for.
fn eager(name: u8) -> Actor {
    Actor::Collect(Collect { compact: true, orphans: true, remark: true, ..collect(name) })
}

/// A push that announces midway, so that another can resume it.
fn partial(session: u8) -> Actor {
    Actor::Push(Push { bases: vec![], hints: vec![], baseless: true, partial: true, ..push(session) })
}

/// A push on top of what another session publishes.
fn on_top_of(session: u8, base: u8) -> Actor {
    Actor::Push(Push { bases: vec![base], ..push(session) })
}

fn twice(name: u8) -> Actor {
    Actor::Collect(Collect { runs: 2, ..collect(name) })
}

fn gentle(name: u8) -> Actor {
    Actor::Collect(Collect { revoke: false, ..collect(name) })
}

fn pinned(session: u8) -> Actor {
    Actor::Push(Push { baseless: false, ..push(session) })
}

fn baseless(session: u8) -> Actor {
    Actor::Push(Push { bases: vec![], ..push(session) })
}

// What has to be possible in a world with removals and revocations, for the absence of losses to mean anything.
const LIVELY: &[&str] =
    &["published", "stored again", "revoked before Final", "revoked after Final", "deleted"];
const PINNED: &[&str] = &["published", "base held", "base lost", "deleted", "stopped by a Final"];
const RESCUED: &[&str] =
    &["published", "deleted", "rescue needed", "rescued", "rescued again", "rescue came late"];

// With somebody who announces packs for others.
const REPAIRED: &[&str] =
    &["published", "stored again", "deleted", "announced for others", "announced what is marked"];

// And in a world that is cloned.
const CLONED: &[&str] = &["cloned", "admin moved", "taken while it grew", "pack gone before it was copied"];
const CLONED_FROM_RESCUES: &[&str] =
    &["cloned", "rescued", "admin moved", "taken while it grew", "pack gone before it was copied"];
const UPDATED: &[&str] = &["updated", "admin moved", "taken while it grew", "pack gone before it was copied"];
const UPDATED_WHILE_IT_GREW: &[&str] = &["updated", "taken while it grew"];

macro_rules! worlds {
    ($($(#[$attribute:meta])* $name:ident: $must_happen:expr, [$($actor:expr),*];)*) => {
        $(#[test] $(#[$attribute])* fn $name() { sound(stringify!($name), &[$($actor),*], $must_happen); })*
    };
}

worlds! {
    one_writer_an_eager_collector_and_a_removal: LIVELY, [w(W1), eager(0), RM];
    one_writer_two_collectors_and_a_removal: LIVELY, [w(W1), g(0), g(1), RM];
    one_writer_two_collectors_that_run_twice: RESCUED, [w(W1), twice(0), twice(1), RM];
    two_writers_an_eager_collector_and_a_removal: PINNED, [w(W1), w(W2), eager(0), RM];
    two_writers_and_two_collectors: &["published", "base held", "stopped by a Final"], [w(W1), w(W2), g(0), g(1)];
    two_writers_two_collectors_and_a_removal_without_revocation: RESCUED,
        [pinned(W1), baseless(W2), gentle(0), gentle(1), RM];
    an_undelete_and_two_eager_collectors: RESCUED, [undelete(), eager(0), eager(1), RM];
    an_undelete_a_writer_and_an_eager_collector: LIVELY, [undelete(), w(W1), eager(0), RM];
    a_resume_and_an_eager_collector: LIVELY, [partial(W1), resume(W1), eager(0), RM];
    an_undelete_a_resume_and_a_collector: LIVELY, [undelete(), partial(W1), resume(W1), g(0), RM];
    a_push_on_another_and_two_collectors: RESCUED, [w(W1), on_top_of(W2, W1), g(0), g(1)];
    a_push_on_another_with_both_bases_removed: PINNED,
        [w(W1), on_top_of(W2, W1), eager(0), RM, Actor::Remove(W1)];
    a_repair_a_writer_an_eager_collector_and_a_removal: REPAIRED, [w(W1), eager(0), RM, Actor::Announce];
    a_repair_two_writers_and_a_collector: &["published", "announced for others"],
        [w(W1), w(W2), g(0), Actor::Announce];
    a_repair_and_two_eager_collectors: &["rescued", "announced for others", "announced what is marked"],
        [eager(0), eager(1), Actor::Announce];
    a_clone_of_a_writer_a_collector_and_a_removal: CLONED, [w(W1), g(0), RM, cloner()];
    a_clone_of_a_writer_and_an_eager_collector: CLONED_FROM_RESCUES, [w(W1), eager(0), cloner()];
    a_clone_of_two_collectors_and_a_removal: CLONED_FROM_RESCUES, [eager(0), g(1), RM, cloner()];
    a_clone_of_an_undelete_and_an_eager_collector: CLONED_FROM_RESCUES, [undelete(), eager(0), RM, cloner()];
    a_clone_while_facts_are_folded: CLONED_FROM_RESCUES, [eager(0), Actor::Fold, cloner()];
    a_slow_clone_of_two_writers: &["cloned", "taken while it grew"], [partial(W1), w(W2), slow(1)];
    a_slow_update_of_two_writers: UPDATED_WHILE_IT_GREW, [partial(W1), w(W2), slow(2)];
    a_slow_clone_while_facts_are_folded: &["cloned", "taken while it grew", "fact gone before it was copied"],
        [w(W1), Actor::Fold, RM, slow(1)];
    an_update_of_two_collectors_and_a_removal: UPDATED, [eager(0), g(1), RM, updater()];
    an_update_of_a_writer_and_a_collector: UPDATED, [w(W1), g(0), updater()];
    an_update_while_facts_are_folded: UPDATED, [eager(0), Actor::Fold, updater()];
    a_clone_and_an_update_cut_off: UPDATED, [eager(0), RM, cut(2)];
    a_clone_and_an_update_of_two_writers_cut_off: UPDATED_WHILE_IT_GREW, [partial(W1), w(W2), cut(2)];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_clone_of_a_writer_an_eager_collector_and_a_removal: CLONED_FROM_RESCUES,
        [w(W1), eager(0), RM, cloner()];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_slow_clone_of_a_writer_and_an_eager_collector: CLONED_FROM_RESCUES, [w(W1), eager(0), slow(1)];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_clone_of_a_writer_and_an_eager_collector_cut_off: CLONED_FROM_RESCUES, [w(W1), eager(0), cut(1)];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_clone_cut_off_while_facts_are_folded: CLONED_FROM_RESCUES, [eager(0), RM, Actor::Fold, cut(1)];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_an_update_while_facts_are_folded: UPDATED, [eager(0), RM, Actor::Fold, updater()];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_an_update_of_a_writer_and_an_eager_collector: UPDATED, [w(W1), eager(0), updater()];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_one_writer_two_eager_collectors_and_a_removal: RESCUED, [w(W1), eager(0), eager(1), RM];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_one_writer_three_collectors_and_a_removal: RESCUED, [w(W1), g(0), g(1), g(2), RM];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_push_on_another_two_collectors_and_a_removal: RESCUED,
        [w(W1), on_top_of(W2, W1), g(0), g(1), RM];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_a_resume_and_two_collectors: RESCUED, [partial(W1), resume(W1), g(0), g(1), RM];
    #[ignore = "long: cargo test --release -p plakar-engine --test protocol_exhaustive -- --ignored"]
    long_two_writers_two_collectors_and_a_removal: RESCUED, [w(W1), w(W2), g(0), g(1), RM];
}

macro_rules! broken {
    ($($name:ident: $broken:ident, [$($actor:expr),*];)*) => {
        $(#[test] fn $name() { caught($broken, &[$($actor),*]); })*
    };
}

broken! {
    without_a_pin_a_base_is_lost: BaseNotPinned, [pinned(W1), g(0), RM];
    a_base_looked_at_before_it_is_pinned_is_lost: BaseLookedAtBeforePinned, [pinned(W1), g(0), RM];
    a_base_no_longer_visible_is_lost: LostBaseTrusted, [pinned(W1), g(0), RM];
    a_base_that_a_mark_revokes_is_lost: ThreatenedBaseTrusted, [w(W1), on_top_of(W2, W1), g(0), RM];
    a_partial_root_is_not_complete: PartialRootTrusted, [partial(W1), resume(W1), g(0), RM];
    packs_announced_before_they_are_there_mislead_others: PreparedBeforeItsPacks, [w(W1), w(W2), g(0), RM];
    packs_stored_again_must_be_announced: StoredAgainNotAnnounced, [w(W1), g(0), RM];
    a_look_before_the_prepared_sees_too_little: LookBeforePrepared, [w(W1), g(0), RM];
    a_final_needs_a_look: NoLookBeforeFinal, [w(W1), g(0), RM];
    a_success_needs_a_look_after_the_final: NoLookAfterFinal, [w(W1), g(0), RM];
    marked_packs_must_not_be_relied_on: MarkedReliedOn, [w(W1), g(0), RM];
    own_packs_may_be_marked_too: OwnPacksNotTracked, [w(W1), eager(0), RM];
    a_mark_needs_a_second_look: SecondLookSkipped, [w(W1), g(0), RM];
    a_list_from_the_last_name_on_misses_a_slow_clock: SecondLookListsOnlyNewerNames, [w(W1), g(0), RM];
    packs_that_others_marked_are_gone: OthersMarksOverlooked, [w(W1), g(0), g(1), RM];
    a_mark_that_others_take_back_kills: OthersMarkTakenBack, [w(W1), g(0), g(1), RM];
    a_mark_that_others_finish_cannot_be_taken_back: OthersMarkFinishedAndOwnTakenBack, [w(W1), g(0), g(1), RM];
    pins_protect_removed_bases: PinsIgnored, [w(W1), g(0), RM];
    prepared_roots_protect_unfinished_sessions: PreparedRootsIgnored, [w(W1), g(0), RM];
    a_final_stops_its_revocation: DeadDespiteFinal, [w(W1), g(0), RM];
    a_revocation_acts_with_the_dead_not_with_the_mark: RevocationActsAtMark, [w(W1), g(0), RM];
    a_revocation_voids_a_late_final: RevocationVoidsNothing, [w(W1), g(0), RM];
    a_rescue_must_be_announced: RescueNotAnnounced, [w(W1), eager(0), RM];
    a_rescue_must_look: RescueNotLookedAt, [eager(0), eager(1)];
    an_undelete_is_a_publication: UndeleteBareFact, [g(0), RM, Actor::UndeleteBare];
    a_removal_names_one_publication: RemovedNamesSnapshot, [undelete(), g(0), RM];
    packs_are_deleted_after_the_dead: DeletedBeforeDead, [w(W1), g(0), RM];
    a_clone_lists_admin_before_the_log: CloneListsLogFirst, [w(W1), eager(0), cloner()];
    a_clone_lists_packs_after_the_log: CloneListsPacksFirst, [w(W1), w(W2), cloner()];
    a_clone_lists_admin_again: CloneListsAdminOnce, [w(W1), eager(0), cloner()];
    a_clone_lists_again_when_packs_are_copied: CloneListsAgainBeforeCopying, [eager(0), cloner()];
    a_clone_takes_the_log_listed_before_packs: CloneTakesTheLaterLog, [w(W1), w(W2), cloner()];
    a_clone_takes_finals_of_an_earlier_listing: CloneTakesLateFinals, [partial(W1), w(W2), slow(1)];
    a_fact_gone_before_it_is_read_is_missing: CloneGoneWhileReadOverlooked, [RM, Actor::Fold, cloner()];
    an_update_puts_announcements_before_admin: UpdatePutsAdminFirst, [eager(0), updater()];
    an_update_puts_checkpoints_before_the_dead: UpdatePutsDeadBeforeCheckpoints, [eager(0), Actor::Fold, updater()];
    an_update_puts_finals_last: UpdatePutsFinalsEarly, [partial(W1), updater()];
    a_clone_that_has_written_is_not_updated: UpdateOfAWrittenClone, [eager(0), RM, updater()];
}

/// As long as no mark is ever taken back, finishing somebody else's loses nothing: a later look decides no worse.
/// The two rules guard each other, so only both together are a loss above.
#[test]
fn finishing_the_mark_of_others_alone_loses_nothing() {
    let explored = explore(&[w(W1), g(0), g(1), RM], OthersMarkFinished, 0);
    assert_eq!(explored.violation, None);
}

/// A cloner that does not mind what has gone between two listings loses nothing either: a checkpoint covered it, which is
/// new in `admin/` or was listed already. The engine minds all the same, because a key slot that has gone must not come back.
#[test]
fn what_has_gone_between_two_listings_was_covered() {
    let explored = explore(&[eager(0), Actor::Fold, cloner()], CloneGoneOverlooked, 0);
    assert_eq!(explored.violation, None);
    assert!(explored.seen.contains("deleted") && explored.seen.contains("fact gone before it was copied"));
}

#[test]
fn a_checkpoint_says_what_the_facts_it_covers_said() {
    let start = Instant::now();
    for (sample, actors) in [
        (1009, vec![w(W1), twice(0), twice(1), RM]),
        (1009, vec![undelete(), partial(W1), resume(W1), g(0), RM]),
        (101, vec![w(W1), on_top_of(W2, W1), g(0), g(1)]),
    ] {
        let explored = explore(&actors, Nothing, sample);
        assert_eq!(explored.violation, None);
        println!("one of {sample} of {} states, {:.1} s", explored.states, start.elapsed().as_secs_f32());
    }
}

#[test]
fn a_checkpoint_leaves_what_is_still_at_work() {
    let (_, pin) = Writer::<u8, u8>::pin(W1, &[BASE], &[]);
    let mark = Fact::Mark { mark: 0, packs: vec![1], revokes: vec![W1] };
    let bad = Fact::Bad { pack: 1, block: 7 };
    let mut view = V::new();
    view.extend([pin.clone(), mark.clone(), bad.clone()]);
    assert!(!view.may_cover(&pin) && !view.may_cover(&mark) && view.may_cover(&bad));
    assert!(V::from(&view.fold()).bad(1, 7));
    view.add(&Fact::Dead { mark: 0 });
    assert!(view.may_cover(&pin) && view.may_cover(&mark));
}
