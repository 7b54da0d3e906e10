//! A writer: one session on its way to one Final.
//!
//! Each state is a type, and each step consumes it, so that a Final cannot be had without the clean look that
//! must come before, nor a success without the look that must come after:
//!
//! ```text
//! [Pinning] ──looked──► Writer ──prepare──► Announced ──looked──► Cleared ──finish──► Finished ──looked──► Outcome
//!                         ▲                     │ some packs are doomed
//!                         └─────────────────────┘
//! ```
//!
//! There are two ways to use what is already stored. What hangs under a base that is *held* is used whole: the
//! pin protects it and no pack is named. Everything else is asked of the index id by id: a node that is found
//! proves nothing about its children, and the pack it lies in is told to [`Writer::relies_on`]. What a hint
//! describes belongs to the second kind.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Id, Root, View};

/// A session whose first Prepared was handed out: put it, then look.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pinning<S, P> {
    writer: Writer<S, P>,
    bases: Vec<S>,
}

/// What became of the bases of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pins<S> {
    /// Complete, and kept so until the session ends: their trees may be used whole.
    pub held: Vec<S>,
    /// Not to be trusted: no longer visible, or about to be void.
    pub lost: Vec<S>,
}

/// A session that captures: it stores packs and relies on packs of others.
///
/// It remembers each pack that its publication needs, its own included, until a look has shown that they stay.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer<S, P> {
    session: S,
    rescue: bool,
    pins: Vec<S>,
    relied: BTreeSet<P>,
    // Own packs, and whether a Prepared names them yet.
    own: BTreeMap<P, bool>,
}

/// A session whose last Prepared was handed out: put it, then look.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announced<S, P> {
    writer: Writer<S, P>,
}

/// What a look after a Prepared says.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict<S, P> {
    /// Nothing it needs is doomed: finish.
    Clean(Cleared<S>),
    /// These packs are marked or dead and were forgotten, in the order of their names. Store what was needed of
    /// them again, or rely on other packs for it, tell the writer, and prepare again.
    StoreAgain(Writer<S, P>, Vec<P>),
    /// A mark revokes the session. It must not go on; a new session may take its root as a hint.
    Revoked,
}

/// A session that may finish.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cleared<S> {
    session: S,
}

/// A session whose Final was handed out: put it, then look.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finished<S> {
    session: S,
}

/// How a session ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its publication is visible until somebody removes it.
    Published,
    /// A mark revokes it: it may vanish, so this is not a success.
    Revoked,
}

impl<S: Id, P: Id> Writer<S, P> {
    /// Begins a session without bases. It captures at once.
    pub fn begin(session: S) -> Self {
        Writer { session, rescue: false, pins: Vec::new(), relied: BTreeSet::new(), own: BTreeMap::new() }
    }

    /// Begins a session that wants to use `bases` whole, and to have the roots of `hints` kept while it lasts.
    ///
    /// Bases are publications. Hints may be anything: an unfinished session to resume, a removed one to undelete;
    /// keeping them saves work, but nothing of them is trusted. The fact is to be put before either is used.
    pub fn pin<M: Id>(session: S, bases: &[S], hints: &[S]) -> (Pinning<S, P>, Fact<S, P, M>) {
        let mut writer = Writer::begin(session);
        writer.pins = bases.iter().chain(hints).copied().collect();
        let fact = writer.prepared(Root::None);
        (Pinning { writer, bases: bases.to_vec() }, fact)
    }

    /// Begins a session that publishes nothing: a collector's, to store again what it is about to delete.
    pub fn rescue(session: S) -> Self {
        Writer { rescue: true, ..Writer::begin(session) }
    }

    /// The session's name.
    pub fn session(&self) -> S {
        self.session
    }

    /// Tells that the publication needs something in `pack`, which others stored.
    ///
    /// Ask [`View::may_rely`] of the last look first: what it refuses is refused again at the end. Telling twice
    /// is harmless, and so is a pack of this session's own.
    pub fn relies_on(&mut self, pack: P) {
        if !self.own.contains_key(&pack) {
            self.relied.insert(pack);
        }
    }

    /// Tells that this session stored `pack`, durable before the next fact is put.
    pub fn wrote(&mut self, pack: P) {
        self.relied.remove(&pack);
        self.own.entry(pack).or_insert(false);
    }

    /// The packs of this session that no Prepared names yet, in the order of their names.
    pub fn unannounced(&self) -> impl Iterator<Item = P> + '_ {
        self.own.iter().filter(|(_, announced)| !**announced).map(|(&pack, _)| pack)
    }

    /// Announces, midway, what was stored so far: it may be relied on, and a later session may resume from it.
    ///
    /// No look is owed for it, because nothing trusts it.
    pub fn checkpoint<M: Id>(&mut self) -> Fact<S, P, M> {
        self.prepared(if self.rescue { Root::None } else { Root::Partial })
    }

    /// Ends capturing: announces what is left, and the publication.
    pub fn prepare<M: Id>(mut self) -> (Announced<S, P>, Fact<S, P, M>) {
        let fact = self.prepared(if self.rescue { Root::None } else { Root::Publication });
        (Announced { writer: self }, fact)
    }

    fn prepared<M: Id>(&mut self, root: Root) -> Fact<S, P, M> {
        let packs = self.unannounced().collect();
        self.own.values_mut().for_each(|announced| *announced = true);
        Fact::Prepared { session: self.session, pins: self.pins.clone(), packs, root }
    }
}

impl<S: Id, P: Id> Pinning<S, P> {
    /// Takes the look that followed the first Prepared.
    ///
    /// A base that is visible there and that no mark revokes stays complete until this session ends, removed or
    /// not. Being visible is not enough: of a base whose Final came after the collector's second look, the Dead
    /// may still be on its way, and that collector has not seen this pin.
    pub fn looked<M: Id>(self, view: &View<S, P, M>) -> (Writer<S, P>, Pins<S>) {
        let (held, lost) =
            self.bases.into_iter().partition(|&base| view.visible(base) && !view.threatened(base));
        (self.writer, Pins { held, lost })
    }
}

impl<S: Id, P: Id> Announced<S, P> {
    /// Takes the look that followed the last Prepared.
    pub fn looked<M: Id>(mut self, view: &View<S, P, M>) -> Verdict<S, P> {
        let writer = &mut self.writer;
        // A rescue publishes nothing that could become void, and what it announced stays announced.
        if view.threatened(writer.session) && !writer.rescue {
            return Verdict::Revoked;
        }
        let needed = writer.relied.iter().chain(writer.own.keys());
        let doomed: BTreeSet<P> = needed.copied().filter(|&pack| !view.may_rely(pack)).collect();
        if doomed.is_empty() {
            return Verdict::Clean(Cleared { session: writer.session });
        }
        writer.relied.retain(|pack| !doomed.contains(pack));
        writer.own.retain(|pack, _| !doomed.contains(pack));
        Verdict::StoreAgain(self.writer, doomed.into_iter().collect())
    }
}

impl<S: Id> Cleared<S> {
    /// The Final. Put it, then look; only a rescue may do without that look.
    pub fn finish<P: Id, M: Id>(self) -> (Finished<S>, Fact<S, P, M>) {
        (Finished { session: self.session }, Fact::Final { session: self.session })
    }
}

impl<S: Id> Finished<S> {
    /// Takes the look that followed the Final.
    pub fn looked<P: Id, M: Id>(self, view: &View<S, P, M>) -> Outcome {
        if view.threatened(self.session) { Outcome::Revoked } else { Outcome::Published }
    }
}
