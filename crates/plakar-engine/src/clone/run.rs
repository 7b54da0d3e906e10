//! The steps that cloning and updating share: copying what a source holds, although it may change meanwhile.
//!
//! 1. List the source ([`Listing::read`]), copy its packs and segments.
//! 2. List it again. If `admin/` changed or something of the log has gone, begin again, copying only what is new. If
//!    it only grew, go round a few times more, which takes along what was pushed meanwhile; then what was listed
//!    first is good enough, but for Finals that the listing before that did not show.
//! 3. Put keys, then the log that was listed, in four steps with a barrier after each.
//!
//! What writers put while this goes on is left to the next run: a Prepared is copied only if the packs it names were
//! listed after it. And a Final only if `log/` was listed whole once more after it had been shown, or showed nothing
//! new: of what is put while a listing lasts, that may show what came later and not what came before it. All the
//! Prepareds that a published snapshot needs were put before its Final, so a listing that began later shows them.

use super::copy::{Event, Job, Replace, copy};
use super::destination::Destination;
use super::listing::{Change, Listing};
use super::object::Kind;
use super::{CloneOptions, CloneProgress};
use crate::error::{Error, Result};
use plakar_store::{Name, ReadStore};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// How often it is begun again before it is given up.
const ROUNDS_MAX: usize = 20;
/// How many of these rounds go to writers who only add.
const GROWING_ROUNDS: usize = 3;
/// The stored length of a log object with nothing but one Final, or one Dead, or one Removed of one session: a header
/// of 136 bytes, 40 for sealing, 5 before the facts, and 21. No other fact is as short. The length shows without a key.
pub const SHORTEST_BYTES: u64 = 202;

/// An object of the source, with its length as listed.
type Object = (Name, Kind, u64);

/// When a destination is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is copied.
    Begin,
    /// Before its keys and log get anything new; packs and segments are durable.
    BeforeFacts,
    /// Everything is there, and durable.
    End,
}

/// What makes sure of a destination; an error ends it.
pub type Gate<'g> = &'g dyn Fn(&mut Destination, &Listing, Moment) -> Result<()>;

/// One run, of one source and some destinations.
pub struct Run<'a> {
    pub source: &'a dyn ReadStore,
    pub destinations: Vec<Destination<'a>>,
    pub replace: Replace,
    pub options: &'a CloneOptions,
    pub problem: &'a mut dyn FnMut(&str),
    pub progress: &'a mut dyn FnMut(CloneProgress),
    pub interrupted: &'a AtomicBool,
    pub done: CloneProgress,
    /// Objects of which a problem was told, so that none is told twice.
    pub told: BTreeSet<(Name, String)>,
}

impl Run<'_> {
    /// Copies everything but `replica` and `config`. Returns what the source held, as it was copied.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; [`Error::Refused`] when the source changes faster than it can be copied; errors of the
    /// source. What was put stays, and is durable as far as a barrier still succeeds. A destination that fails ends
    /// alone.
    pub fn copy(&mut self, encrypted: bool, gate: Gate) -> Result<Listing> {
        let copied = self.rounds(encrypted, gate);
        if copied.is_err() {
            // So that the next run need not do it again.
            self.each(|destination| Ok(destination.store.barrier()?));
        }
        copied
    }

    fn rounds(&mut self, encrypted: bool, gate: Gate) -> Result<Listing> {
        let mut listing = Listing::read(self.source)?;
        self.each(|destination| gate(destination, &listing, Moment::Begin));
        let mut growing = 0;
        // The Finals of the listing before.
        let mut earlier = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let objects = [Kind::Segment, Kind::Pack].map(|kind| Self::all_of(&listing, kind)).concat();
            let unread = self.transfer(objects)?;
            let again = Listing::read(self.source)?;
            match listing.change(&again) {
                Change::None => {}
                Change::Grew if growing == GROWING_ROUNDS => {
                    listing.leave_out(Kind::Log, |name, len| is_short(len) && !earlier.contains(name));
                }
                change => {
                    growing += usize::from(change == Change::Grew);
                    earlier = finals(&listing);
                    listing = again;
                    continue;
                }
            }
            self.tell_unread(unread, &again);
            self.each(|destination| Ok(destination.store.barrier()?));
            self.each(|destination| gate(destination, &listing, Moment::BeforeFacts));
            if encrypted {
                self.tell_missing_keys(&listing);
            }
            if let Some(now) = self.facts(&listing)? {
                earlier = finals(&listing);
                listing = now;
                continue;
            }
            self.each(|destination| gate(destination, &listing, Moment::End));
            return Ok(listing);
        }
        let here = self.source.location();
        Err(Error::Refused(format!(
            "{here}: changes faster than it can be copied; run it again when less is going on there"
        )))
    }

    /// Puts keys and log. If something of them has gone from the source meanwhile, it stops before anything that may
    /// depend on it, and returns what the source holds now.
    ///
    /// Nobody reads an unfinished clone, but a copy that is kept current may be read at any moment, and the power may
    /// fail at any. Hence this order, with a barrier after each step:
    ///
    /// 1. Keys, because facts may be sealed by an epoch that is new.
    /// 2. `log/` but its shortest objects: what was announced. A Dead must not be seen before the Prepared of the
    ///    rescue that it depends on, or readers would pass over the dead pack and know no other.
    /// 3. `admin/` but its shortest objects: Checkpoints, which stand for Prepareds that are no longer in `log/`.
    /// 4. The rest of `admin/`: a single Dead or Removed.
    /// 5. The rest of `log/`: Finals. With the names' order a Final might come before Prepareds of other sessions whose
    ///    packs it relies on, and before the Removed that takes its snapshot away again.
    ///
    /// So whatever is visible at the source is, at each moment, either not visible in the copy yet or complete in it.
    /// What the source removed may for a moment still be listed in the copy and not be whole.
    fn facts(&mut self, listing: &Listing) -> Result<Option<Listing>> {
        let keys = [Kind::Keyring, Kind::Slot].map(|kind| Self::all_of(listing, kind)).concat();
        let (shorter_log, longer_log) = by_length(Self::all_of(listing, Kind::Log));
        let (shorter_admin, longer_admin) = by_length(Self::all_of(listing, Kind::Admin));
        for step in [keys, longer_log, longer_admin, shorter_admin, shorter_log] {
            let unread = self.transfer(step)?;
            self.each(|destination| Ok(destination.store.barrier()?));
            if !unread.is_empty() {
                let now = Listing::read(self.source)?;
                if unread.keys().any(|name| !now.has(name)) {
                    return Ok(Some(now));
                }
                self.tell_unread(unread, &now);
            }
        }
        Ok(None)
    }

    fn all_of(listing: &Listing, kind: Kind) -> Vec<Object> {
        listing.of(kind).iter().map(|(name, len)| (name.clone(), kind, *len)).collect()
    }

    /// Copies objects to the destinations that lack them. Returns what could not be read.
    fn transfer(&mut self, objects: Vec<Object>) -> Result<BTreeMap<Name, Error>> {
        if self.interrupted.load(Relaxed) {
            return Err(Error::Interrupted);
        }
        let mut jobs = Vec::new();
        for (name, kind, len) in objects {
            let lacking = |(n, destination): (usize, &Destination)| {
                destination.lacks(&name, len).filter(|_| destination.is_alive()).map(|there| (n, there))
            };
            let to: Vec<_> = self.destinations.iter().enumerate().filter_map(lacking).collect();
            if !to.is_empty() {
                self.done.objects_known += 1;
                self.done.bytes_known += len;
                jobs.push(Job { name, kind, len, to });
            }
        }
        let mut unread = BTreeMap::new();
        let stores = self.destinations.iter().map(|d| d.is_alive().then_some(d.store)).collect();
        let (source, replace, workers) = (self.source, self.replace, self.options.workers);
        copy(source, stores, jobs, replace, workers, self.interrupted, &mut |event| match event {
            Event::Done { bytes } => {
                self.done.objects += 1;
                self.done.bytes += bytes;
                (self.progress)(self.done);
            }
            Event::Delivered { to, name, listed, len, put } => {
                self.destinations[to].delivered(name, listed, len, put);
            }
            Event::Damaged { name, what, to } => self.tell(&name, &what, &to),
            Event::Unread { name, error } => drop(unread.insert(name, error)),
            Event::Failed { to, error } => self.destinations[to].fail(error),
        })?;
        Ok(unread)
    }

    /// Tells of a problem with an object, once, for these destinations.
    fn tell(&mut self, name: &Name, what: &str, to: &[usize]) {
        if self.told.insert((name.clone(), what.to_owned())) {
            (self.problem)(&format!("{name}: {what}"));
        }
        to.iter().for_each(|to| self.destinations[*to].damaged(name));
    }

    /// Tells of what could not be read, as far as the source still lists it.
    fn tell_unread(&mut self, unread: BTreeMap<Name, Error>, now: &Listing) {
        for (name, error) in unread {
            if now.has(&name) {
                let lacking = |n: &usize| self.destinations[*n].is_missing(&name);
                let to: Vec<usize> = (0..self.destinations.len()).filter(lacking).collect();
                self.tell(&name, &format!("cannot be read and is left out: {error}"), &to);
            }
        }
    }

    /// Without a key nothing else shows that an encrypted repository can no longer be opened.
    fn tell_missing_keys(&mut self, listing: &Listing) {
        let all: Vec<usize> = (0..self.destinations.len()).collect();
        for (kind, what) in [(Kind::Keyring, "there is no keyring"), (Kind::Slot, "there is no key slot")] {
            if listing.of(kind).is_empty() {
                self.tell(&crate::repository::name(kind.folder()), what, &all);
            }
        }
    }

    /// Does something to each destination that has not failed.
    pub fn each(&mut self, mut deed: impl FnMut(&mut Destination) -> Result<()>) {
        self.destinations.iter_mut().for_each(|destination| destination.attempt(&mut deed));
    }
}

/// The shortest log objects, and the others.
fn by_length(objects: Vec<Object>) -> (Vec<Object>, Vec<Object>) {
    objects.into_iter().partition(|(_, _, len)| is_short(*len))
}

/// Whether a log object of this length holds a single Final, Dead or Removed.
fn is_short(len: u64) -> bool {
    len <= SHORTEST_BYTES
}

/// The Finals of a listing.
fn finals(listing: &Listing) -> BTreeSet<Name> {
    listing.of(Kind::Log).iter().filter(|(_, len)| is_short(**len)).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random;
    use crate::crypto::seal::Sealer;
    use crate::id::{DomainId, ObjectHash, ReplicaId, SessionId, WriterId};
    use crate::index::segment::Author;
    use crate::log::fact::{Bad, Checkpoint, Fact, Mark, Prepared};
    use crate::log::object::encode;

    #[test]
    fn the_shortest_log_objects_are_those_of_a_single_final_dead_or_removed() {
        let sealer = Sealer::plain(DomainId([7; 16]));
        let author = Author { replica: ReplicaId([1; 16]), writer: WriterId([2; 16]) };
        let len = |facts: &[Fact]| encode(facts, &author, &sealer, 0).1.len() as u64;
        for _ in 0..50 {
            let session = SessionId(random());
            let short = [Fact::Final(session), Fact::Dead(SessionId(random())), Fact::Removed(session)];
            short.iter().for_each(|fact| assert_eq!(len(std::slice::from_ref(fact)), SHORTEST_BYTES));
            let prepared = Prepared { session, ..Prepared::default() };
            let long = [
                Fact::Prepared(Box::new(prepared)),
                Fact::Mark(Mark { id: SessionId(random()), packs: vec![], revokes: vec![] }),
                Fact::Bad(Bad { pack: ObjectHash(random()), offset: 0 }),
            ];
            long.iter()
                .for_each(|fact| assert!(len(std::slice::from_ref(fact)) > SHORTEST_BYTES, "{fact:?}"));
            assert!(len(&[Fact::Removed(session), Fact::Removed(SessionId(random()))]) > SHORTEST_BYTES);
        }
        let covers = vec![ObjectHash(random())];
        let checkpoint = Checkpoint { covers, ..Checkpoint::default() };
        assert!(len(&[Fact::Checkpoint(Box::new(checkpoint))]) > SHORTEST_BYTES);
    }
}
