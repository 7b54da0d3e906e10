//! Where an actor stands between two requests.

use std::collections::BTreeSet;

use plakar_engine::protocol::*;

use crate::cast::{F, MAX_ACTORS};

/// Where an actor stands; states of the real protocol inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    Start,
    Done,
    /// The packs that were there.
    Listed(u64),
    // Pushing.
    PinLook(Pinning<u8, u8>),
    LateFact(Box<Local>, F),
    Store(Have, Writer<u8, u8>, u16),
    Midway(Have, Writer<u8, u8>),
    Prepare(Have, Writer<u8, u8>),
    Look(Have, Announced<u8, u8>),
    Finish(Cleared<u8>),
    LastLook(Finished<u8>),
    Acked,
    Failed,
    // Collecting.
    Again(u8),
    Mark(Run, Plan<u8, u8>),
    SecondLook(Run, Collector<u8, u8, u8>),
    Rescue(Run, Collector<u8, u8, u8>, BTreeSet<u8>, u16),
    RescuePrepare(Run, Collector<u8, u8, u8>, Writer<u8, u8>),
    RescueLook(Run, Collector<u8, u8, u8>, Announced<u8, u8>),
    RescueFinish(Run, Collector<u8, u8, u8>, Cleared<u8>, Next),
    Die(Run, F, Vec<u8>),
    Delete(Run, Vec<u8>),
    // Folding: the checkpoint, and how much of what it covers is deleted.
    Fold(u32),
    Sweep(u32, u8),
}

/// What a push has so far, beside what the protocol remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Have {
    /// Ids under a base used whole.
    pub trusted: u16,
    /// Packs relied on or written.
    pub packs: u64,
    /// Packs written.
    pub written: u8,
    /// How often it had to store again.
    pub again: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub number: u8,
    pub rescues: u8,
    /// The fact set of the first look; only used by the canary that needs it.
    pub seen: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    Stop,
    Rescue(BTreeSet<u8>, u16),
    Die(F, Vec<u8>),
}

/// All of a world at one moment, every part interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub facts: u32,
    pub packs: u64,
    pub at: [u16; MAX_ACTORS],
    /// Where the cloner stands, which has too many places for a `u16`.
    pub copy: u32,
}
