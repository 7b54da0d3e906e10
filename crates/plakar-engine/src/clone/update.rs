//! Bringing to a clone what its source got since.

use super::copy::Replace;
use super::destination::Destination;
use super::listing::{Listing, list};
use super::object::Kind;
use super::run::{Moment, Run};
use super::{CloneOptions, CloneProgress, CloneReport, is_encrypted};
use crate::error::{Error, Result};
use crate::id::ReplicaId;
use crate::repository::PlainRecords;
use plakar_store::{ErrorKind, Name, ReadStore, Store};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

/// Brings `destination`, a finished clone of `source`, up to date, without any key. Nothing is ever deleted there, except
/// that an object which is damaged there is put anew from a whole one. Only an object whose length differs, or that was
/// damaged when it was copied, is looked at for that: anything else is for a check.
///
/// It may be read meanwhile. What is visible at the source is, at each moment, complete in the copy or not visible yet;
/// what was removed at the source may for a moment be listed there and not be whole. It must not be written to: its own
/// snapshots may rely on packs that the source's collector deletes. A copy that has written anything of its own
/// is refused, and this is looked for before, during and after.
///
/// See [`clone`](super::clone) for the arguments.
///
/// # Errors
/// [`Error::Refused`] when the destination is no clone of the source, differs in `config`, or has written of its own;
/// what opening either would give; [`Error::Interrupted`]; store errors. After an error the destination is a valid
/// repository, and the next update goes on.
pub fn update(
    source: &dyn ReadStore,
    destination: &dyn Store,
    options: &CloneOptions,
    problem: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(CloneProgress),
    interrupted: &AtomicBool,
) -> Result<CloneReport> {
    let origin = PlainRecords::read(source)?;
    let copy = PlainRecords::read(destination)?;
    let (from, here) = (source.location(), destination.location());
    if copy.replica.origin != Some(origin.replica.id) {
        return Err(Error::Refused(format!("{here}: is not a clone of {from}")));
    }
    if copy.config_bytes != origin.config_bytes {
        return Err(Error::Refused(format!("{here}: its config is no longer that of {from}")));
    }
    let mut run = Run {
        source,
        destinations: vec![Destination::new(destination)?],
        replace: Replace::Damaged,
        options,
        problem,
        progress,
        interrupted,
        done: CloneProgress::default(),
        told: BTreeSet::new(),
    };
    let own = Own { id: copy.replica.id, others: Default::default() };
    let listing = run.copy(is_encrypted(&origin), &|destination, listing, moment| {
        if moment == Moment::BeforeFacts {
            destination.prove_listed(&[Kind::Segment, Kind::Pack])?;
        }
        own.refuse(destination.store, listing)
    })?;
    let destination = run.destinations.remove(0);
    destination.report(&listing)
}

/// Looks for what a copy has written itself.
struct Own {
    id: ReplicaId,
    /// Objects that bear another id.
    others: std::cell::RefCell<BTreeSet<Name>>,
}

impl Own {
    /// Refuses a copy with an object that bears its own id. What the source has as well is not the copy's.
    fn refuse(&self, store: &dyn Store, source: &Listing) -> Result<()> {
        let here = store.location();
        let mut others = self.others.borrow_mut();
        for kind in [Kind::Log, Kind::Admin, Kind::Segment] {
            for name in list(store, kind)?.into_keys() {
                if source.has(&name) || others.contains(&name) {
                    continue;
                }
                match written_to(store, kind, &name)? {
                    Written::Gone => {}
                    Written::To(id) if id == self.id => {
                        let what = "has written on its own since it was cloned: use sync";
                        return Err(Error::Refused(format!("{here}: {what} ({name})")));
                    }
                    Written::To(_) => drop(others.insert(name)),
                    Written::Unknown => {
                        let what = "is damaged and not at the source: it may be something of the copy's own";
                        return Err(Error::Refused(format!("{here}: {name} {what}")));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The repository that a log object or segment was written to, by its plain header.
enum Written {
    To(ReplicaId),
    Unknown,
    Gone,
}

fn written_to(store: &dyn Store, kind: Kind, name: &Name) -> Result<Written> {
    let (magic, at) = if kind == Kind::Segment { (b"PLKINDX1", 48) } else { (b"PLKFACT1", 40) };
    match store.get_range(name, 0, at + ReplicaId::LEN) {
        Ok(header) => Ok(match header[at..].try_into() {
            Ok(id) if header.starts_with(magic) => Written::To(ReplicaId(id)),
            _ => Written::Unknown,
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Written::Gone),
        Err(e) if e.kind() == ErrorKind::Short => Ok(Written::Unknown),
        Err(e) => Err(e.into()),
    }
}
