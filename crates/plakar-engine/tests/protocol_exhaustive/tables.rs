//! Tables that keep millions of states small.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use crate::places::State;

/// Gives equal values equal small numbers.
pub struct Interned<T> {
    pub values: Vec<Rc<T>>,
    pub numbers: HashMap<Rc<T>, u32, Mixer>,
}

impl<T: Eq + Hash> Interned<T> {
    pub fn new() -> Self {
        Interned { values: Vec::new(), numbers: HashMap::default() }
    }

    pub fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let value = Rc::new(value);
        let number = self.values.len() as u32;
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    pub fn get(&self, number: u32) -> Rc<T> {
        self.values[number as usize].clone()
    }
}

/// A fast hash for tables that nobody attacks.
#[derive(Clone, Copy, Default)]
pub struct Mixer;

pub struct Mixing(u64);

impl BuildHasher for Mixer {
    type Hasher = Mixing;
    fn build_hasher(&self) -> Mixing {
        Mixing(0)
    }
}

impl Hasher for Mixing {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// States in the order found, each with the one it was reached from.
pub struct Visited {
    pub states: Vec<State>,
    pub parents: Vec<u32>,
    pub table: Vec<u32>,
}

impl Visited {
    pub fn new() -> Self {
        Visited { states: Vec::new(), parents: Vec::new(), table: vec![u32::MAX; 1 << 12] }
    }

    pub fn slot(table: &[u32], states: &[State], state: &State) -> usize {
        let mask = table.len() - 1;
        let mut slot = Mixer.hash_one(state) as usize & mask;
        while table[slot] != u32::MAX && states[table[slot] as usize] != *state {
            slot = (slot + 1) & mask;
        }
        slot
    }

    pub fn add(&mut self, state: State, parent: u32) {
        let slot = Self::slot(&self.table, &self.states, &state);
        if self.table[slot] != u32::MAX {
            return;
        }
        self.table[slot] = self.states.len() as u32;
        self.states.push(state);
        self.parents.push(parent);
        if self.states.len() * 2 > self.table.len() {
            let mut table = vec![u32::MAX; self.table.len() * 2];
            for (number, state) in self.states.iter().enumerate() {
                let slot = Self::slot(&table, &self.states, state);
                table[slot] = number as u32;
            }
            self.table = table;
        }
    }

    /// From the first state to this one.
    pub fn path(&self, mut number: u32) -> Vec<u32> {
        let mut path = vec![number];
        while number != 0 {
            number = self.parents[number as usize];
            path.push(number);
        }
        path.reverse();
        path
    }
}
