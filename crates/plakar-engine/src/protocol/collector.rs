//! A collector: one run that makes packs go and silent sessions void.
//!
//! ```text
//! Plan ──mark──► Collector ──looked──► Dead: put it, then delete the packs
//!                    ▲        │ └────► Stop: a session it revokes has ended; the mark stays open for good
//!                    └────────┘
//!                      Rescue: store again, as a writer does, what is still needed; then look again
//! ```
//!
//! Which packs to choose is economy: whatever a plan names, the look after the Mark decides what has to be
//! rescued, and nothing dies before that. The mark of a run that crashed is nobody's to finish: its packs count
//! as gone, and a later run names them again in a mark of its own.
//!
//! Not here: the walk over roots, the choice of packs, the clock that finds a session silent.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Id, Root, View};

/// What a run intends: the packs to make go and the sessions to revoke.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan<S, P> {
    /// Packs, announced or abandoned before they were.
    pub packs: BTreeSet<P>,
    /// Sessions that have not ended.
    pub revokes: BTreeSet<S>,
}

/// A run whose Mark was handed out: put it, then look.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collector<S, P, M> {
    mark: M,
    plan: Plan<S, P>,
}

/// What a look after the Mark says.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision<S, P, M> {
    /// These sessions ended although the mark revokes them. The run is over and nothing may be deleted; a later
    /// run may name the packs again.
    Stop(Vec<S>),
    /// What is needed of these packs has to be stored again by a [`Writer::rescue`](super::Writer::rescue), and
    /// its clean look given to [`Collector::looked`]. If it can no longer be read, another run was faster: look again.
    Rescue(Vec<P>),
    /// Put this fact; then, and only then, delete these packs.
    Dead(Fact<S, P, M>, Vec<P>),
}

impl<S: Id, P: Id> Plan<S, P> {
    /// Of what a policy proposes, keeps what a mark may name: packs that are not dead, sessions that are unfinished.
    pub fn new<M: Id>(
        view: &View<S, P, M>,
        packs: impl IntoIterator<Item = P>,
        revokes: impl IntoIterator<Item = S>,
    ) -> Self {
        Plan {
            packs: packs.into_iter().filter(|&pack| !view.dead(pack)).collect(),
            revokes: revokes.into_iter().filter(|&session| view.unfinished(session)).collect(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.revokes.is_empty()
    }
}

impl<S: Id, P: Id, M: Id> Collector<S, P, M> {
    /// Begins: hands out the Mark. `mark` is a name that no other run uses.
    pub fn mark(mark: M, plan: Plan<S, P>) -> (Self, Fact<S, P, M>) {
        let packs = plan.packs.iter().copied().collect();
        let revokes = plan.revokes.iter().copied().collect();
        (Collector { mark, plan }, Fact::Mark { mark, packs, revokes })
    }

    /// The name of the mark.
    pub fn name(&self) -> M {
        self.mark
    }

    /// What this run intends.
    pub fn plan(&self) -> &Plan<S, P> {
        &self.plan
    }

    /// Takes a look that followed the Mark: the first one, the clean look of a rescue, or any later one.
    ///
    /// `needed` walks the roots it is given (see [`View::kept`]) and returns those of the plan's packs that hold
    /// something which no good pack holds. Its second argument says whether a pack is good; of a good pack,
    /// blocks that are bad do not count. What cannot be read under a visible session must be an error; under
    /// an unfinished one it is skipped, because that writer has yet to look.
    ///
    /// # Errors
    /// Those of `needed`: nothing was decided, and nothing may be deleted.
    ///
    /// # Panics
    /// If `view` does not show the Mark: it was not read after it.
    pub fn looked<E>(
        &self,
        view: &View<S, P, M>,
        needed: impl FnOnce(&BTreeMap<S, Root>, &dyn Fn(P) -> bool) -> Result<BTreeSet<P>, E>,
    ) -> Result<Decision<S, P, M>, E> {
        assert!(view.knows_mark(self.mark), "the look must come after the mark");
        let ended: Vec<S> =
            self.plan.revokes.iter().copied().filter(|&session| view.finished(session)).collect();
        if !ended.is_empty() {
            return Ok(Decision::Stop(ended));
        }
        // The plan's own packs are not good either: the view shows them as marked.
        let needed = needed(&view.kept(&self.plan.revokes), &|pack| view.may_rely(pack))?;
        assert!(needed.is_subset(&self.plan.packs), "only what the plan names can need a rescue");
        if !needed.is_empty() {
            return Ok(Decision::Rescue(needed.into_iter().collect()));
        }
        Ok(Decision::Dead(Fact::Dead { mark: self.mark }, self.plan.packs.iter().copied().collect()))
    }
}
