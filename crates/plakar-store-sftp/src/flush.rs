//! Making names durable.
//!
//! What is flushed here are folders, which OpenSSH's server opens as it does files. Objects themselves are flushed before
//! they get their names. A server may lose its power and be back before anybody here gives up, without the names that were
//! not flushed: so after a connection was made anew, what was put over an earlier one is looked for.

use crate::connection::{Calls, Connection, Tried};
use crate::link::Link;
use crate::place::Place;
use crate::put::tolerated;
use crate::refusal::{self, Refusal};
use crate::wire::{READ, Reply, Request};
use plakar_store::{Error, Name, Result, Touched};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the next barrier has to see to.
#[derive(Debug, Default)]
pub struct Barrier {
    since: Mutex<Since>,
    /// Held while flushing, so that a barrier never returns before one that took over its folders did.
    /// True once a flush failed.
    broken: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Since {
    touched: Touched,
    /// What was put, and over which connection.
    put: BTreeMap<Name, u64>,
}

/// Why folders were not flushed.
enum Unflushed {
    /// One could not be opened: nothing is lost.
    Unopened(String, Refusal),
    /// The server told of a loss, which it does only once.
    Lost(Refusal),
}

impl Barrier {
    /// Notes that something was named, removed or seen in a folder.
    pub fn touch(&self, folder: &str) {
        lock(&self.since).touched.touch(folder);
    }

    /// Notes that an object was put over a connection.
    pub fn put(&self, name: &Name, connection: u64) {
        let mut since = lock(&self.since);
        since.touched.touch(name.folder().unwrap_or(""));
        since.put.insert(name.clone(), connection);
    }

    /// Notes that an object is not to be there any more.
    pub fn deleted(&self, name: &Name) {
        lock(&self.since).put.remove(name);
    }

    /// Flushes what was touched since the last success, if folders can be flushed.
    pub fn pass(&self, link: &Link, place: &Place, folders_open: bool) -> Result<()> {
        let mut broken = lock(&self.broken);
        let failed = |why: String| Error::io(place.told("flush", "folders"), io::Error::other(why));
        if *broken {
            return Err(failed("an earlier flush failed; open the store again".into()));
        }
        let (touched, put) = {
            let mut since = lock(&self.since);
            (since.touched.take(), std::mem::take(&mut since.put))
        };
        let passed = link.persist("barrier", |number, connection, _| {
            let flushed = if folders_open { flush_folders(connection, place, &touched)? } else { Ok(()) };
            if let Err(why) = flushed {
                return Ok(Err(why));
            }
            let doubtful = put.iter().filter(|(_, over)| **over != number).map(|(name, _)| name);
            match first_missing(connection, place, doubtful)? {
                None => Ok(Ok(())),
                Some(name) => {
                    let why = format!("{name} has gone since it was put: the server has lost what it had");
                    Err(failed(why).into())
                }
            }
        });
        let result = match passed {
            Ok(Ok(())) => {
                lock(&self.since).touched.flushed(touched);
                return Ok(());
            }
            Ok(Err(Unflushed::Lost(refusal))) => {
                *broken = true;
                Err(refusal.error(place.told("flush", "folders")))
            }
            Ok(Err(Unflushed::Unopened(folder, refusal))) => {
                Err(refusal.error(place.told("flush", format_args!("folder {folder}/"))))
            }
            Err(e) => Err(e),
        };
        let mut since = lock(&self.since);
        since.touched.give_back(&touched);
        // What was put again meanwhile is known by its newer connection.
        for (name, over) in put {
            since.put.entry(name).or_insert(over);
        }
        result
    }
}

/// Opens folders, flushes them, and closes them; several are at different points of that at once.
fn flush_folders(
    connection: &Connection,
    place: &Place,
    folders: &BTreeSet<String>,
) -> Tried<std::result::Result<(), Unflushed>> {
    let folders: Vec<&String> = folders.iter().collect();
    let paths: Vec<Vec<u8>> = folders.iter().map(|folder| place.path(folder)).collect();
    let mut handles: Vec<Option<Vec<u8>>> = vec![None; folders.len()];
    let calls = Calls::new(connection);
    let most = connection.abilities().handles;
    let (mut begun, mut ended, mut outcome) = (0, 0, Ok(()));
    while ended < folders.len() {
        while begun < folders.len() && begun - ended < most {
            calls.send(begun, &Request::Open(&paths[begun], READ, 0))?;
            begun += 1;
        }
        let (at, reply) = calls.next()?;
        match (reply, handles[at].take()) {
            (Reply::Handle(handle), None) => {
                calls.send(at, &Request::Flush(&handle))?;
                handles[at] = Some(handle);
                continue;
            }
            (reply, Some(handle)) => {
                connection.tell(&Request::Close(&handle));
                if let Err(refusal) = tolerated(refusal::done(reply)?) {
                    outcome = Err(Unflushed::Lost(refusal));
                }
            }
            (reply, None) => {
                if let Err(refusal) = refusal::handle(reply)?
                    && outcome.is_ok()
                {
                    outcome = Err(Unflushed::Unopened(folders[at].clone(), refusal));
                }
            }
        }
        ended += 1;
    }
    Ok(outcome)
}

/// The first of some objects that is not there.
fn first_missing<'n>(
    connection: &Connection,
    place: &Place,
    names: impl Iterator<Item = &'n Name>,
) -> Tried<Option<&'n Name>> {
    let names: Vec<&Name> = names.collect();
    let calls = Calls::new(connection);
    for some in names.chunks(connection.abilities().handles) {
        for (at, name) in some.iter().enumerate() {
            calls.send(at, &Request::Lstat(&place.path(name.as_str())))?;
        }
        let mut missing = None;
        for _ in some {
            let (at, reply) = calls.next()?;
            // What cannot be looked at is not known to be there.
            if !refusal::attributes(reply)?.is_ok_and(|found| found.is_some()) {
                missing = Some(some[at]);
            }
        }
        if missing.is_some() {
            return Ok(missing);
        }
    }
    Ok(None)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
