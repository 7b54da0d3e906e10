//! A folder: it puts a checkpoint, then deletes what that covers.

use std::rc::Rc;

use plakar_engine::protocol::*;

use crate::cast::*;
use crate::places::{Local, State};
use crate::world::World;

/// What a checkpoint says, and the facts that it covers.
pub type Checkpoint = (Folded<u8, u8, u8>, Vec<u32>);

/// Numbers in a fact set that are those of checkpoints.
pub const CHECKPOINT: u32 = 1 << 31;

impl World {
    /// The fact of this number, unless it is a checkpoint.
    pub fn fact(&self, number: u32) -> Option<Rc<F>> {
        (number & CHECKPOINT == 0).then(|| self.facts.get(number))
    }

    pub fn checkpoints(&self, set: u32) -> Vec<Rc<Checkpoint>> {
        let numbers = self.sets.get(set);
        let checkpoints = numbers.iter().filter(|&&number| number & CHECKPOINT != 0);
        checkpoints.map(|number| self.checkpoints.get(number & !CHECKPOINT)).collect()
    }

    pub fn add_number(&self, view: &mut V, number: u32) {
        match self.fact(number) {
            Some(fact) => view.add(&fact),
            None => view.add_folded(&self.checkpoints.get(number & !CHECKPOINT).0),
        }
    }

    pub fn sweep(&mut self, state: &State, local: &Local, out: &mut dyn FnMut(&mut World, u32, u64, Local)) {
        match *local {
            Local::Start => {
                let mut view = V::new();
                let numbers = self.sets.get(state.facts);
                numbers.iter().for_each(|&number| self.add_number(&mut view, number));
                let covered: Vec<u32> = numbers
                    .iter()
                    .copied()
                    .filter(|&number| self.fact(number).is_some_and(|fact| view.may_cover(&fact)))
                    .collect();
                let number = self.checkpoints.number((view.fold(), covered));
                out(self, state.facts, state.packs, Local::Fold(number));
            }
            Local::Fold(number) => {
                let mut facts = (*self.sets.get(state.facts)).clone();
                facts.push(number | CHECKPOINT);
                facts.sort_unstable();
                let facts = self.sets.number(facts);
                self.seen.insert("folded");
                out(self, facts, state.packs, Local::Sweep(number, 0));
            }
            Local::Sweep(number, done) => {
                let Some(&covered) = self.checkpoints.get(number).1.get(done as usize) else { return };
                let mut facts = (*self.sets.get(state.facts)).clone();
                facts.retain(|&fact| fact != covered);
                let facts = self.sets.number(facts);
                out(self, facts, state.packs, Local::Sweep(number, done + 1));
            }
            _ => {}
        }
    }
}
