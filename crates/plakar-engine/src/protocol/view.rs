//! A view: what the facts read so far say together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Fact, Folded, Id, Root};

/// The union of facts, kept as answers.
///
/// Facts may be added in any order and any number of times: the answers are the same. Each fact costs what it
/// names, each question about one name a lookup. A name that no fact mentions answers `false`.
#[derive(Clone, Debug)]
pub struct View<S, P, M> {
    sessions: BTreeMap<S, Session<S>>,
    packs: HashMap<P, Pack>,
    marks: BTreeMap<M, Mark<S, P>>,
    bad: BTreeSet<(P, u32)>,
}

// Every flag is only ever raised: that is what makes the order of facts irrelevant.
#[derive(Clone, Debug)]
struct Session<S> {
    prepared: bool,
    /// It has said more than what it pins.
    spoke: bool,
    finished: bool,
    removed: bool,
    threatened: bool,
    void: bool,
    root: Root,
    pins: BTreeSet<S>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pack {
    announced: bool,
    marked: bool,
    dead: bool,
}

// Once a mark is both named and dead, what it named lives on in the flags above and is dropped here.
#[derive(Clone, Debug)]
struct Mark<S, P> {
    named: bool,
    dead: bool,
    packs: BTreeSet<P>,
    revokes: BTreeSet<S>,
}

impl<S> Default for Session<S> {
    fn default() -> Self {
        Session {
            prepared: false,
            spoke: false,
            finished: false,
            removed: false,
            threatened: false,
            void: false,
            root: Root::None,
            pins: BTreeSet::new(),
        }
    }
}

impl<S> Session<S> {
    fn visible(&self) -> bool {
        self.root == Root::Publication && self.finished && !self.void && !self.removed
    }

    fn unfinished(&self) -> bool {
        self.prepared && !self.finished && !self.void
    }
}

impl<S: Id, P: Id, M: Id> View<S, P, M> {
    /// A view of nothing.
    pub fn new() -> Self {
        View {
            sessions: BTreeMap::new(),
            packs: HashMap::new(),
            marks: BTreeMap::new(),
            bad: BTreeSet::new(),
        }
    }

    /// Adds what `fact` says.
    pub fn add(&mut self, fact: &Fact<S, P, M>) {
        match fact {
            Fact::Prepared { session, pins, packs, root } => {
                let session = self.session_mut(*session);
                session.prepared = true;
                // A first Prepared only pins. The only one of a rescue that found all stored already says nothing at all.
                session.spoke |= *root != Root::None || !packs.is_empty() || pins.is_empty();
                session.root = session.root.max(*root);
                session.pins.extend(pins);
                packs.iter().for_each(|&pack| self.pack_mut(pack).announced = true);
            }
            Fact::Final { session } => self.session_mut(*session).finished = true,
            Fact::Removed { session } => self.session_mut(*session).removed = true,
            Fact::Bad { pack, block } => {
                self.bad.insert((*pack, *block));
            }
            Fact::Mark { mark, packs, revokes } => {
                packs.iter().for_each(|&pack| self.pack_mut(pack).marked = true);
                revokes.iter().for_each(|&session| self.session_mut(session).threatened = true);
                let known = self.mark_mut(*mark);
                known.named = true;
                known.packs.extend(packs);
                known.revokes.extend(revokes);
                self.settle(*mark);
            }
            Fact::Dead { mark } => {
                self.mark_mut(*mark).dead = true;
                self.settle(*mark);
            }
        }
    }

    /// Adds what a checkpoint says. See [`Folded`].
    pub fn add_folded(&mut self, folded: &Folded<S, P, M>) {
        for &(session, root) in &folded.finished {
            let session = self.session_mut(session);
            session.prepared = true;
            session.spoke = true;
            session.finished = true;
            session.root = session.root.max(root);
        }
        for &(session, root) in &folded.void {
            let session = self.session_mut(session);
            session.threatened = true;
            session.void = true;
            session.root = session.root.max(root);
        }
        folded.removed.iter().for_each(|&session| self.session_mut(session).removed = true);
        folded.announced.iter().for_each(|&pack| self.pack_mut(pack).announced = true);
        folded.dead.iter().for_each(|&pack| self.kill(pack));
        for &mark in &folded.marks {
            let known = self.mark_mut(mark);
            known.named = true;
            known.dead = true;
            self.settle(mark);
        }
        self.bad.extend(&folded.bad);
    }

    /// Everything in this view that stays true for good: what a checkpoint of it says.
    pub fn fold(&self) -> Folded<S, P, M> {
        let sessions_where = |which: fn(&Session<S>) -> bool| {
            self.sessions
                .iter()
                .filter(move |(_, session)| which(session))
                .map(|(&name, session)| (name, session.root))
        };
        let packs_where = |which: fn(&Pack) -> bool| {
            let mut names: Vec<P> =
                self.packs.iter().filter(|(_, pack)| which(pack)).map(|(&name, _)| name).collect();
            names.sort_unstable();
            names
        };
        Folded {
            finished: sessions_where(|session| session.finished && session.prepared).collect(),
            void: sessions_where(|session| session.void).collect(),
            removed: sessions_where(|session| session.removed).map(|(name, _)| name).collect(),
            announced: packs_where(|pack| pack.announced && !pack.dead),
            dead: packs_where(|pack| pack.dead),
            marks: self
                .marks
                .iter()
                .filter(|(_, mark)| mark.named && mark.dead)
                .map(|(&name, _)| name)
                .collect(),
            bad: self.bad.iter().copied().collect(),
        }
    }

    /// Whether [`fold`](Self::fold) says all that matters of `fact`, which was added to this view before.
    ///
    /// Refused are the Prepared of sessions that have not ended, whose pins and roots are still at work, and a
    /// Mark without its Dead: leaving that out would take it back.
    pub fn may_cover(&self, fact: &Fact<S, P, M>) -> bool {
        match fact {
            Fact::Prepared { session, .. } => {
                self.sessions.get(session).is_some_and(|session| session.finished || session.void)
            }
            // A Final says nothing without its Prepared, so it waits for it.
            Fact::Final { session } => self.sessions.get(session).is_some_and(|session| session.prepared),
            Fact::Mark { mark, .. } | Fact::Dead { mark } => {
                self.marks.get(mark).is_some_and(|mark| mark.named && mark.dead)
            }
            Fact::Removed { .. } | Fact::Bad { .. } => true,
        }
    }

    /// Whether `session` is a publication with a Final, neither void nor removed.
    pub fn visible(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(Session::visible)
    }

    /// Every visible session, in the order of their names.
    pub fn visible_sessions(&self) -> impl Iterator<Item = S> + '_ {
        self.sessions.iter().filter(|(_, session)| session.visible()).map(|(&name, _)| name)
    }

    /// Whether `session` has a Final, be it visible or not.
    pub fn finished(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.finished)
    }

    /// Every session with a Final whose last Prepared is not there: it was lost, since it was put first. What
    /// ends without a root (a rescue) pins nothing. Of one that was removed nobody wants to know, nor of one
    /// that is void: it publishes nothing, and once its Prepareds are covered, its end may still come.
    pub fn ended_without_beginning(&self) -> impl Iterator<Item = S> + '_ {
        let lost = |session: &Session<S>| {
            session.finished
                && !session.removed
                && !session.void
                && (!session.spoke || session.root == Root::Partial)
        };
        self.sessions.iter().filter(move |(_, session)| lost(session)).map(|(&name, _)| name)
    }

    /// Whether a Removed names `session`.
    pub fn removed(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.removed)
    }

    /// Whether any mark revokes `session`, dead or not.
    pub fn threatened(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.threatened)
    }

    /// Whether a dead mark revokes `session`: its publication and its roots count for nothing, whatever it
    /// puts later. What it announced stays announced.
    pub fn void(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.void)
    }

    /// Whether `session` has a Prepared, no Final, and is not void.
    pub fn unfinished(&self, session: S) -> bool {
        self.sessions.get(&session).is_some_and(Session::unfinished)
    }

    /// Every unfinished session, in the order of their names.
    pub fn unfinished_sessions(&self) -> impl Iterator<Item = S> + '_ {
        self.sessions.iter().filter(|(_, session)| session.unfinished()).map(|(&name, _)| name)
    }

    /// What `session` pins: nothing unless it is unfinished.
    pub fn pins(&self, session: S) -> impl Iterator<Item = S> + '_ {
        let session = self.sessions.get(&session).filter(|session| session.unfinished());
        session.into_iter().flat_map(|session| session.pins.iter().copied())
    }

    /// The sessions whose roots a collector keeps that is about to revoke `revokes`, each with the most that
    /// it ever named: all visible ones, all unfinished ones, and all that those pin.
    ///
    /// Of a session with several Prepared every root of the kind given here counts, since facts have no order.
    pub fn kept(&self, revokes: &BTreeSet<S>) -> BTreeMap<S, Root> {
        let mut kept = BTreeMap::new();
        for (&name, session) in &self.sessions {
            let unfinished = session.unfinished() && !revokes.contains(&name);
            if session.visible() || unfinished {
                kept.insert(name, session.root);
            }
            if unfinished {
                let pinned = session.pins.iter().filter_map(|pin| Some((*pin, self.sessions.get(pin)?.root)));
                kept.extend(pinned);
            }
        }
        kept.retain(|_, root| *root != Root::None);
        kept
    }

    /// Whether some Prepared names `pack`, void or not, and it is not dead.
    pub fn announced(&self, pack: P) -> bool {
        self.packs.get(&pack).is_some_and(|pack| pack.announced && !pack.dead)
    }

    /// Every announced pack, in no order.
    pub fn announced_packs(&self) -> impl Iterator<Item = P> + '_ {
        self.packs.iter().filter(|(_, pack)| pack.announced && !pack.dead).map(|(&name, _)| name)
    }

    /// Whether any mark names `pack`, dead or not.
    pub fn marked(&self, pack: P) -> bool {
        self.packs.get(&pack).is_some_and(|pack| pack.marked)
    }

    /// Whether a dead mark names `pack`: it is deleted or about to be.
    pub fn dead(&self, pack: P) -> bool {
        self.packs.get(&pack).is_some_and(|pack| pack.dead)
    }

    /// Every dead pack, in no order. Whoever may delete at all may delete these.
    pub fn dead_packs(&self) -> impl Iterator<Item = P> + '_ {
        self.packs.iter().filter(|(_, pack)| pack.dead).map(|(&name, _)| name)
    }

    /// Whether what lies in `pack` may be used instead of storing it again: announced, neither marked nor dead.
    pub fn may_rely(&self, pack: P) -> bool {
        self.packs.get(&pack).is_some_and(|pack| pack.announced && !pack.marked && !pack.dead)
    }

    /// Marks without their Dead. Only the run that put one finishes it; the packs of an abandoned one are marked again.
    pub fn open_marks(&self) -> impl Iterator<Item = M> + '_ {
        self.marks.iter().filter(|(_, mark)| mark.named && !mark.dead).map(|(&name, _)| name)
    }

    /// Whether `mark` is there, dead or not.
    pub fn knows_mark(&self, mark: M) -> bool {
        self.marks.get(&mark).is_some_and(|mark| mark.named)
    }

    /// Whether a Bad names this block of `pack`.
    pub fn bad(&self, pack: P, block: u32) -> bool {
        self.bad.contains(&(pack, block))
    }

    fn session_mut(&mut self, session: S) -> &mut Session<S> {
        self.sessions.entry(session).or_default()
    }

    fn pack_mut(&mut self, pack: P) -> &mut Pack {
        self.packs.entry(pack).or_default()
    }

    fn mark_mut(&mut self, mark: M) -> &mut Mark<S, P> {
        self.marks.entry(mark).or_insert_with(|| Mark {
            named: false,
            dead: false,
            packs: BTreeSet::new(),
            revokes: BTreeSet::new(),
        })
    }

    fn kill(&mut self, pack: P) {
        let pack = self.pack_mut(pack);
        pack.marked = true;
        pack.dead = true;
    }

    fn settle(&mut self, mark: M) {
        let known = self.mark_mut(mark);
        if !known.dead {
            return;
        }
        let packs = std::mem::take(&mut known.packs);
        let revokes = std::mem::take(&mut known.revokes);
        packs.into_iter().for_each(|pack| self.kill(pack));
        for session in revokes {
            let session = self.session_mut(session);
            session.threatened = true;
            session.void = true;
        }
    }
}

impl<S: Id, P: Id, M: Id> Default for View<S, P, M> {
    fn default() -> Self {
        View::new()
    }
}

impl<S: Id, P: Id, M: Id> Extend<Fact<S, P, M>> for View<S, P, M> {
    fn extend<I: IntoIterator<Item = Fact<S, P, M>>>(&mut self, facts: I) {
        facts.into_iter().for_each(|fact| self.add(&fact));
    }
}
