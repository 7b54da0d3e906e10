//! Whatever is asked of a store, it answers as the store in memory does.

use crate::{ErrorKind, Listed, MemoryStore, Name, ReadStore, Result, Store};

/// So many histories are made up,
const HISTORIES: usize = 48;
/// each of up to so many requests.
const STEPS_MAX: u64 = 60;

/// Few names, so that requests meet. None is a folder of another: no store need bear that.
const NAMES: [&str; 7] =
    ["config", "log/a", "log/b", "packs/aa/0", "packs/aa/1", "packs/ab/0", "packs-old/0"];
const PREFIXES: [&str; 8] = ["", "p", "packs", "packs/", "packs/a", "packs/aa/", "log/a", "x"];

#[derive(Debug, Clone)]
enum Step {
    Put(Name, Vec<u8>),
    Delete(Name),
    Get(Name, usize),
    Range(Name, u64, usize),
    Len(Name),
    List(&'static str),
    Barrier,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Bytes(Vec<u8>),
    Len(u64),
    Listing(Vec<(Name, u64)>),
}

/// Proves that the stores which `make` makes answer as [`MemoryStore`] does, in histories of requests that are made up
/// anew at every call.
///
/// `make` gives an empty store at every call, and what it holds may be thrown away after. It is called some fifty
/// times.
///
/// # Panics
/// At the first history in which an answer differs, with what is left of it when every request that it differs without
/// has been taken out.
pub fn answers_as_memory_does(make: &dyn Fn() -> Box<dyn Store>) {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the system has random numbers");
    let mut random = Random(u64::from_le_bytes(seed));
    for _ in 0..HISTORIES {
        let mut steps: Vec<_> = (0..=random.below(STEPS_MAX)).map(|_| step(&mut random)).collect();
        if difference(make, &steps).is_none() {
            continue;
        }
        for n in (0..steps.len()).rev() {
            let step = steps.remove(n);
            if difference(make, &steps).is_none() {
                steps.insert(n, step);
            }
        }
        panic!("{steps:#?}: {}", difference(make, &steps).expect("it still differs"));
    }
}

/// Numbers as they come: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn step(random: &mut Random) -> Step {
    let name = Name::new(random.of(&NAMES)).expect("a constant name");
    match random.below(13) {
        0..4 => Step::Put(name, (0..random.below(3)).map(|_| random.below(2) as u8).collect()),
        4..6 => Step::Delete(name),
        6..8 => Step::Get(name, random.below(4) as usize),
        8..10 => Step::Range(name, random.below(4), random.below(4) as usize),
        10 => Step::Len(name),
        11 => Step::List(random.of(&PREFIXES)),
        _ => Step::Barrier,
    }
}

/// How the answers of a new store differ first, if they do.
fn difference(make: &dyn Fn() -> Box<dyn Store>, steps: &[Step]) -> Option<String> {
    let (store, memory) = (make(), MemoryStore::new());
    steps.iter().find_map(|step| {
        let (answer, expected) = (answer(&*store, step), answer(&memory, step));
        (answer != expected).then(|| format!("{step:?} gave {answer:?} instead of {expected:?}"))
    })
}

fn answer(store: &dyn Store, step: &Step) -> std::result::Result<Answer, ErrorKind> {
    let ask = || -> Result<Answer> {
        Ok(match step {
            Step::Put(name, bytes) => store.put(name, &[bytes]).map(|()| Answer::Done)?,
            Step::Delete(name) => store.delete(name).map(|()| Answer::Done)?,
            Step::Get(name, max) => Answer::Bytes(store.get(name, *max)?),
            Step::Range(name, offset, len) => Answer::Bytes(store.get_range(name, *offset, *len)?),
            Step::Len(name) => Answer::Len(store.len(name)?),
            Step::List(prefix) => Answer::Listing(listing(store, prefix)?),
            Step::Barrier => store.barrier().map(|()| Answer::Done)?,
        })
    };
    ask().map_err(|e| e.kind())
}

fn listing(store: &dyn ReadStore, prefix: &str) -> Result<Vec<(Name, u64)>> {
    let mut all = Vec::new();
    let add = &mut |listed: Listed| {
        all.push((listed.name, listed.len));
        Ok(())
    };
    store.list(prefix, add)?;
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrap::{Fault, Faulty, Request, Rule};

    /// A store that loses its deletions is found out.
    #[test]
    #[should_panic(expected = "instead of")]
    fn what_answers_otherwise_is_told() {
        answers_as_memory_does(&|| {
            let store = Faulty::new(MemoryStore::new(), 0);
            store.add(Rule::new(Fault::Lose).on(Request::Delete));
            Box::new(store)
        });
    }
}
