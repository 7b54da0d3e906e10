//! Checkpoints: what a view says must not depend on which facts were folded when.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::rc::Rc;

use crate::cast::{F, V};
use crate::tables::Visited;
use crate::world::World;

/// Every answer of a view over the small names of a world.
pub fn answers(view: &V) -> impl PartialEq + Debug + use<> {
    let sessions: Vec<_> = (0..24)
        .map(|session| {
            let pins: Vec<u8> = view.pins(session).collect();
            let flags = (view.visible(session), view.finished(session), view.removed(session));
            (flags, view.threatened(session), view.void(session), view.unfinished(session), pins)
        })
        .collect();
    let packs: Vec<_> = (0..64)
        .map(|pack| (view.announced(pack), view.marked(pack), view.dead(pack), view.may_rely(pack)))
        .collect();
    let lists: (Vec<u8>, Vec<u8>, Vec<u8>) = (
        view.visible_sessions().collect(),
        view.unfinished_sessions().collect(),
        view.open_marks().collect(),
    );
    let unfinished = lists.1.iter().copied().collect();
    (sessions, packs, lists, view.kept(&BTreeSet::new()), view.kept(&unfinished))
}

/// A checkpoint of any earlier moment, with what it may cover gone in part or whole, says what the facts say.
pub fn fold_in_many_ways(world: &World, visited: &Visited, number: u32) {
    let all = world.facts_of(visited.states[number as usize].facts);
    let view = |facts: &[Rc<F>]| {
        let mut view = V::new();
        facts.iter().for_each(|fact| view.add(fact));
        view
    };
    let expected = answers(&view(&all));
    let backwards: Vec<_> = all.iter().rev().chain(&all).cloned().collect();
    assert_eq!(answers(&view(&backwards)), expected, "order and repetition must not matter");
    let mut random = u64::from(number) | 1;
    let mut last = None;
    for &moment in &visited.path(number) {
        let set = visited.states[moment as usize].facts;
        if last.replace(set) == Some(set) {
            continue;
        }
        let then = world.facts_of(set);
        let checkpointed = view(&then);
        let folded = checkpointed.fold();
        for kept in 0..4 {
            // None, all, and some of the covered facts are still there.
            let rest = all.iter().filter(|fact| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let covered = then.contains(fact) && checkpointed.may_cover(fact);
                !covered || [false, true, random >> 40 & 1 == 1, random >> 41 & 1 == 1][kept]
            });
            let rest: Vec<_> = rest.cloned().collect();
            let mut before = V::from(&folded);
            rest.iter().for_each(|fact| before.add(fact));
            assert_eq!(answers(&before), expected, "{folded:?} and {rest:?}");
            let mut after = view(&rest);
            after.add_folded(&folded);
            assert_eq!(answers(&after), expected, "{folded:?} after {rest:?}");
            let mut twice = V::from(&before.fold());
            rest.iter().filter(|fact| !before.may_cover(fact)).for_each(|fact| twice.add(fact));
            assert_eq!(answers(&twice), expected, "a checkpoint of a checkpoint");
        }
    }
}
