//! A listing of several folders as of one moment.

use crate::{Error, ErrorKind, Listed, ReadStore, Result};

/// How often listings may differ before it is given up: writers do not put that fast.
const ROUNDS_MAX: usize = 100;
/// More objects are not listed at once: folders that are read whole have fewer.
pub const AT_ONE_MOMENT_MAX: usize = 1_000_000;

/// What lies under these prefixes, sorted by name: lists them until two rounds agree. Then all of it was there at a moment
/// between both, provided that no name is ever used again after it was deleted. What came after the first round and went
/// before the second may be missing: in a log that is never so, since what takes an object away leaves another there.
///
/// # Errors
/// Those of listings; [`ErrorKind::TooLarge`] when there are over a million objects, [`ErrorKind::Io`] when they change
/// faster than they can be listed.
pub fn at_one_moment(store: &dyn ReadStore, prefixes: &[&str]) -> Result<Vec<Listed>> {
    let mut before = round(store, prefixes)?;
    for _ in 0..ROUNDS_MAX {
        let again = round(store, prefixes)?;
        if again == before {
            return Ok(again);
        }
        before = again;
    }
    let what = format!("{}: what is there changes faster than it can be listed", store.location());
    Err(Error::new(ErrorKind::Io, what))
}

fn round(store: &dyn ReadStore, prefixes: &[&str]) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for prefix in prefixes {
        store.list(prefix, &mut |one| {
            if listed.len() == AT_ONE_MOMENT_MAX {
                return Err(Error::new(ErrorKind::TooLarge, *prefix));
            }
            listed.push(one);
            Ok(())
        })?;
    }
    listed.sort();
    listed.dedup();
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrap::{Fault, Faulty, Request, Rule};
    use crate::{MemoryStore, Name, Store};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn name(text: String) -> Name {
        Name::new(&text).unwrap()
    }

    /// Every object that comes replaces the one before, in another folder: at each moment there is one, or both. What
    /// comes and goes between two rounds may be missing, but what is told was there together.
    #[test]
    fn what_is_told_was_there_at_one_moment() {
        let store = MemoryStore::new();
        let folder = |n: usize| ["b", "a", "c"][n % 3];
        let is_done = AtomicBool::new(false);
        store.put(&name("b/0".into()), &[]).unwrap();
        let (mut told, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..20_000 {
                    store.put(&name(format!("{}/{n}", folder(n))), &[]).unwrap();
                    store.delete(&name(format!("{}/{}", folder(n - 1), n - 1))).unwrap();
                    if n % 5 == 0 {
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                }
                is_done.store(true, Ordering::SeqCst);
            });
            while !is_done.load(Ordering::SeqCst) {
                let Ok(all) = at_one_moment(&store, &["a/", "b/", "c/"]) else {
                    refused += 1;
                    continue;
                };
                let numbers: Vec<usize> = all.iter().map(|one| one.name.last().parse().unwrap()).collect();
                if numbers.is_empty() {
                    continue;
                }
                let (least, most) = (*numbers.iter().min().unwrap(), *numbers.iter().max().unwrap());
                assert!(most - least < 2 && numbers.len() == most - least + 1, "{numbers:?}");
                told += 1;
            }
        });
        assert!(told > 0, "{refused} times it was too fast");
    }

    #[test]
    fn what_cannot_be_listed_is_an_error() {
        let store = Faulty::new(MemoryStore::new(), 0);
        store.add(Rule::new(Fault::Error(ErrorKind::Denied)).on(Request::List));
        assert_eq!(at_one_moment(&store, &["a/"]).unwrap_err().kind(), ErrorKind::Denied);
    }
}
