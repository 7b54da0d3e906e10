//! Cloning: copying a repository, without any key.
//!
//! A repository is a set of immutable objects that prove themselves, so a copy of them all is a repository. A *clone*
//! has its own replica id and shares everything else with its source: keys, domain, snapshots. Every byte is proven on
//! the way by the hash in the name of its object; what is damaged is told and copied as it is, so that a clone is no more
//! and no less damaged than its source. The clone notes what that was, in `damaged/`.
//!
//! - [`clone`] makes new repositories. One that was interrupted goes on where it was: `replica` is put first and names
//!   the source, `config` last, and without `config` a store is usable for nothing.
//! - [`update`] brings to a clone what its source got since. It must not have been written to.
//! - [`create_like`] makes an empty repository in the same domain.
//! - [`adopt`] gives a copy that ordinary tools made a replica id of its own.
//!
//! `run` holds the order of steps, which keeps a copy whole although writers and collectors work at the source;
//! `listing` why that is enough; `copy` the threads.
//!
//! Not here: exchanging snapshots between repositories that both are written to.

mod adopt;
mod budget;
mod copy;
mod destination;
mod like;
mod listing;
mod object;
mod run;
mod update;

pub use adopt::adopt;
pub use like::create_like;
pub use object::SEGMENT_BYTES_MAX;
pub(crate) use run::SHORTEST_BYTES;
pub use update::update;

use crate::crypto::random;
use crate::crypto::seal::Suite;
use crate::error::{Error, Result};
use crate::id::ReplicaId;
use crate::repository::records::{ORIGIN_LOCATION_MAX, PACK_TARGET_MAX, Replica};
use crate::repository::{PlainRecords, name, read_record, refuse_unless_empty, unfinished};
use copy::Replace;
use destination::Destination;
use object::Kind;
use plakar_store::{ErrorKind, ReadStore, Store};
use run::{Moment, Run};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a copy is made.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// Seconds since 1970: when the copy was made.
    pub now: i64,
    /// How many threads read, prove and put; at least one is used.
    pub workers: usize,
    /// The length at which packs that are written to the copy later are closed, in bytes; `None` = as at the source.
    /// An update does not look at it.
    pub pack_bytes: Option<u32>,
}

/// What came of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloneReport {
    /// Objects that were put, `replica` and `config` not counted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of the source that were there from before.
    pub already: u64,
    /// Objects of which a problem was told.
    pub damaged: u64,
    /// Ids of key slots that the copy has and the source has not (any more): what they open stays open here. After a
    /// clone there are none.
    pub stale_key_slots: Vec<String>,
}

/// How far it is. Objects that several destinations lack count once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloneProgress {
    /// Objects that were copied.
    pub objects: u64,
    /// Bytes that were read of them.
    pub bytes: u64,
    /// Objects to be copied, as far as is known; it grows.
    pub objects_known: u64,
    /// Their bytes.
    pub bytes_known: u64,
}

/// Copies a repository to empty stores, or completes clones of it there that were interrupted. Each object is read once,
/// whatever the number of destinations. Memory: 64 MiB of objects (or one that is longer), and about 150 bytes for
/// the name of each object, for the source and for each destination.
///
/// `problem` is told, in a sentence that names the object, of each that is damaged (it is copied as it is) or cannot be
/// read (it is left out); see [`CloneReport::damaged`].
///
/// The results are those of the destinations, in their order: one that fails does not end the others. Among their
/// errors are [`Error::AlreadyThere`] and [`Error::Unfinished`] (of another clone, or of a creation) for stores that hold
/// something else, which are not touched.
///
/// # Errors
/// What opening the source would give ([`Error::NoRepository`], [`Error::Unfinished`], [`Error::Damaged`],
/// [`Error::Unsupported`]); [`Error::Interrupted`]; [`Error::Refused`] when the source changes too fast, or for absurd
/// options; store errors of the source. After an error, of one destination or of all, a destination is an unfinished clone
/// that can be completed, or untouched, or (after the very last steps) complete.
pub fn clone(
    source: &dyn ReadStore,
    destinations: &[&dyn Store],
    options: &CloneOptions,
    problem: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(CloneProgress),
    interrupted: &AtomicBool,
) -> Result<Vec<Result<CloneReport>>> {
    let origin = PlainRecords::read(source)?;
    let replica = replica_of_clone(source, &origin.replica, options)?;
    let begin = |store| begin(store, &replica).unwrap_or_else(|e| Destination::failed(store, e));
    let mut run = Run {
        source,
        destinations: destinations.iter().copied().map(begin).collect(),
        replace: Replace::Always,
        options,
        problem,
        progress,
        interrupted,
        done: CloneProgress::default(),
        told: BTreeSet::new(),
    };
    if !run.destinations.iter().any(Destination::is_alive) {
        return Ok(run.destinations.into_iter().map(Destination::failure).collect());
    }
    let listing = run.copy(is_encrypted(&origin), &|destination, listing, moment| match moment {
        Moment::Begin => Ok(()),
        // An earlier run may have brought a passphrase that was removed since.
        Moment::BeforeFacts => destination.delete(&destination.stale_key_slots(listing)),
        Moment::End => destination.prove_listed(&Kind::ALL),
    })?;
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    run.each(|destination| {
        destination.store.put(&name("config"), &[&origin.config_bytes])?;
        Ok(destination.store.barrier()?)
    });
    Ok(run.destinations.into_iter().map(|destination| destination.report(&listing)).collect())
}

fn is_encrypted(origin: &PlainRecords) -> bool {
    origin.config.suite() == Some(Suite::Xaes)
}

/// The record of a new clone, but for its id and what its store promises.
fn replica_of_clone(source: &dyn ReadStore, origin: &Replica, options: &CloneOptions) -> Result<Replica> {
    let mut location = source.location();
    location.truncate(location.floor_char_boundary(ORIGIN_LOCATION_MAX));
    Ok(Replica {
        id: ReplicaId(random()),
        created: options.now,
        strong_list: false,
        pack_bytes: pack_bytes(options.pack_bytes, origin)?,
        origin: Some(origin.id),
        origin_location: Some(location),
    })
}

/// What new packs are to be like: as asked for, else as at the source.
fn pack_bytes(asked: Option<u32>, origin: &Replica) -> Result<u32> {
    match asked {
        Some(bytes) if !(1..=PACK_TARGET_MAX).contains(&bytes) => {
            Err(Error::Refused(format!("packs of {bytes} bytes cannot be made")))
        }
        asked => Ok(asked.unwrap_or(origin.pack_bytes)),
    }
}

/// Puts `replica` to an empty store, or finds that this clone was begun there.
fn begin<'a>(store: &'a dyn Store, replica: &Replica) -> Result<Destination<'a>> {
    let here = || store.location();
    match store.len(&name("config")) {
        Ok(_) => return Err(Error::AlreadyThere(here())),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    let bytes = match read_record(store, "replica")? {
        Some(bytes) => match Replica::decode(&bytes) {
            // Put again below: whoever put it may not have come to the barrier.
            Ok(begun) if begun.origin == replica.origin => bytes,
            _ => return Err(unfinished(here(), &bytes)),
        },
        None => {
            refuse_unless_empty(store)?;
            let strong_list = store.capabilities().strong_list;
            Replica { id: ReplicaId(random()), strong_list, ..replica.clone() }.encode()
        }
    };
    store.put(&name("replica"), &[&bytes])?;
    store.barrier()?;
    Destination::new(store)
}
