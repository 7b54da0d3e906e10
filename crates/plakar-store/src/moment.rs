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

    /// As a log goes: numbers come one after the other, and now and then a checkpoint that covers all of them until then;
    /// only then what it covers is deleted. So whatever is told, every number up to the last is told or covered. Listed once,
    /// in this order of folders, it would not be: a later checkpoint has taken away what the listed one does not cover.
    #[test]
    fn what_is_told_of_a_log_has_no_gap() {
        let store = MemoryStore::new();
        let is_done = AtomicBool::new(false);
        store.put(&name("admin/0".into()), &[]).unwrap();
        let (mut told, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut covered = 0;
                for n in 1..20_000 {
                    store.put(&name(format!("log/{n}")), &[]).unwrap();
                    if n % 3 == 0 {
                        store.put(&name(format!("admin/{n}")), &[]).unwrap();
                        store.delete(&name(format!("admin/{covered}"))).unwrap();
                        for old in covered + 1..=n {
                            store.delete(&name(format!("log/{old}"))).unwrap();
                        }
                        covered = n;
                    }
                    if n % 5 == 0 {
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                }
                is_done.store(true, Ordering::SeqCst);
            });
            while !is_done.load(Ordering::SeqCst) {
                let Ok(all) = at_one_moment(&store, &["admin/", "log/"]) else {
                    refused += 1;
                    continue;
                };
                let of = |folder: &str| -> Vec<usize> {
                    let own = all.iter().filter(|one| one.name.as_str().starts_with(folder));
                    own.map(|one| one.name.last().parse().unwrap()).collect()
                };
                let (log, checkpoints) = (of("log/"), of("admin/"));
                let covered = *checkpoints.iter().max().expect("there is always one");
                let last = log.iter().copied().max().unwrap_or(covered);
                let lost: Vec<_> = (covered + 1..=last).filter(|n| !log.contains(n)).collect();
                assert!(lost.is_empty(), "{log:?} after {covered}");
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
