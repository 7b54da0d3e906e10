//! Facts: the statements that a log is made of, reduced to what decides safety.

use std::fmt::Debug;
use std::hash::Hash;

/// What names a session, a pack or a mark: small, copied freely, compared and hashed.
pub trait Id: Copy + Ord + Hash + Debug {}

impl<T: Copy + Ord + Hash + Debug> Id for T {}

/// What a Prepared asks a collector to keep for its session. The order is that of importance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// Nothing: a first Prepared that only pins, or a rescue.
    #[default]
    None,
    /// What an unfinished session has stored so far: a hint for whoever resumes it, never a promise.
    Partial,
    /// What becomes visible with the session's Final.
    Publication,
}

/// One immutable statement. `S` names sessions, `P` packs and `M` marks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact<S, P, M> {
    /// A session says what it stored and what must not go away under it. A session may put several; together
    /// they say the union of what each says.
    Prepared {
        /// Who says it.
        session: S,
        /// Sessions whose roots are kept until this session ends.
        pins: Vec<S>,
        /// Packs of its own, durable by now, that others may rely on.
        packs: Vec<P>,
        /// What is kept for this session itself.
        root: Root,
    },
    /// The session ends; its publication, if it has one, becomes visible. Put once.
    Final {
        /// The session that ends.
        session: S,
    },
    /// A collector intends to make packs go and sessions void. By itself it only warns.
    Mark {
        /// The name of this intention, never used twice.
        mark: M,
        /// Packs that nobody may rely on from now on.
        packs: Vec<P>,
        /// Sessions that become void if this mark becomes dead.
        revokes: Vec<S>,
    },
    /// The packs of a mark are gone for good and its sessions are void.
    Dead {
        /// The mark, put by the same run.
        mark: M,
    },
    /// A publication is no longer visible. It names one session, never all that publish the same snapshot.
    Removed {
        /// The publication.
        session: S,
    },
    /// A block of a pack was found damaged: it is tried last and never counted as a copy.
    Bad {
        /// The pack.
        pack: P,
        /// Which of its blocks.
        block: u32,
    },
}
