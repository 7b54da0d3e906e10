//! The exploration itself, breadth first, so that a trace is as short as can be.

use std::collections::BTreeSet;

use crate::cast::{Actor, Broken, MAX_ACTORS};
use crate::folding::fold_in_many_ways;
use crate::places::State;
use crate::tables::Visited;
use crate::world::World;

pub struct Explored {
    pub states: usize,
    /// What is wrong, and the way there.
    pub violation: Option<(String, Vec<String>)>,
    pub seen: BTreeSet<&'static str>,
}

/// Visits every state; stops at the first that is wrong. Every `sample`th state has its log folded in many ways.
pub fn explore(actors: &[Actor], broken: Broken, sample: usize) -> Explored {
    let mut world = World::new(actors, broken);
    let mut visited = Visited::new();
    let first = world.first();
    visited.add(first, 0);
    let mut number = 0;
    while number < visited.states.len() {
        let state = visited.states[number];
        if let Some(what) = world.violation(&state) {
            let trace = trace(&world, &visited, number as u32);
            return Explored {
                states: visited.states.len(),
                violation: Some((what, trace)),
                seen: world.seen,
            };
        }
        if sample != 0 && number % sample == 0 {
            fold_in_many_ways(&world, &visited, number as u32);
        }
        number += 1;
        if let Some(Actor::Clone(clone)) = actors.iter().find(|actor| matches!(actor, Actor::Clone(_))) {
            // What others do later does not change the copy, and is explored in worlds without one.
            if world.cloned(clone, state.copy) {
                continue;
            }
            for copy in world.clone_steps(clone, &state) {
                visited.add(State { copy, ..state }, number as u32 - 1);
            }
        }
        for actor in 0..actors.len() {
            for &(facts, packs, local) in world.steps(actor, &state).iter() {
                let mut at = state.at;
                at[actor] = local;
                visited.add(State { facts, packs, at, ..state }, number as u32 - 1);
            }
        }
    }
    Explored { states: visited.states.len(), violation: None, seen: world.seen }
}

pub fn trace(world: &World, visited: &Visited, number: u32) -> Vec<String> {
    let name = |local: u16| {
        let text = format!("{:?}", world.locals.values[local as usize]);
        text.split(['(', ' ']).next().unwrap_or_default().to_owned()
    };
    let path = visited.path(number);
    let step = |pair: &[u32]| {
        let (from, to) = (visited.states[pair[0] as usize], visited.states[pair[1] as usize]);
        if from.copy != to.copy {
            return format!("clone: -> {}", world.describe_copy(to.copy));
        }
        let actor = (0..MAX_ACTORS).find(|&actor| from.at[actor] != to.at[actor]).unwrap_or(0);
        let old = world.sets.get(from.facts);
        let put = world.sets.get(to.facts);
        let put = put.iter().filter(|fact| old.binary_search(fact).is_err());
        let put: Vec<_> = put.map(|&fact| world.fact(fact)).collect();
        let packs: Vec<u8> = (0..64).filter(|pack| (from.packs ^ to.packs) >> pack & 1 == 1).collect();
        format!("{actor}: {} -> {} {put:?} packs {packs:?}", name(from.at[actor]), name(to.at[actor]))
    };
    path.windows(2).map(step).collect()
}
