//! Who acts in a world, on what, and which rule somebody breaks.

use plakar_engine::protocol::*;

pub type F = Fact<u8, u8, u8>;
pub type V = View<u8, u8, u8>;

// Ids that packs hold, as bits: a node and a chunk that everybody needs, and one root per publication.
pub const NODE: u16 = 1;
pub const DATA: u16 = 2;
pub const SHARED: u16 = NODE | DATA;

// Sessions. A rescue's is RESCUE + 4 * collector + 2 * run + attempt; a mark's name is 2 * collector + run.
pub const BASE: u8 = 0;
pub const W1: u8 = 1;
pub const W2: u8 = 2;
pub const UNDELETE: u8 = 3;
pub const RESUMED: u8 = 4;
/// What a clone publishes itself.
pub const CLONED: u8 = 5;
/// What announces packs for whoever stored them.
pub const REPAIR: u8 = 6;
pub const RESCUE: u8 = 8;

pub const MAX_ACTORS: usize = 6;

pub fn own_root(session: u8) -> u16 {
    4 << session
}

/// What a session's root needs. Undeleting publishes the base's tree, which has no id of its own.
pub fn closure(session: u8, root: Root) -> u16 {
    match (session, root) {
        (_, Root::None) => 0,
        (_, Root::Partial) => SHARED,
        (BASE | UNDELETE, Root::Publication) => SHARED,
        (_, Root::Publication) => SHARED | own_root(session),
    }
}

/// A rule that somebody breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    BaseNotPinned,
    BaseLookedAtBeforePinned,
    LostBaseTrusted,
    ThreatenedBaseTrusted,
    PartialRootTrusted,
    PreparedBeforeItsPacks,
    StoredAgainNotAnnounced,
    LookBeforePrepared,
    NoLookBeforeFinal,
    NoLookAfterFinal,
    MarkedReliedOn,
    OwnPacksNotTracked,
    SecondLookSkipped,
    SecondLookListsOnlyNewerNames,
    OthersMarksOverlooked,
    OthersMarkFinished,
    OthersMarkTakenBack,
    OthersMarkFinishedAndOwnTakenBack,
    PinsIgnored,
    PreparedRootsIgnored,
    DeadDespiteFinal,
    RevocationActsAtMark,
    RevocationVoidsNothing,
    RescueNotAnnounced,
    RescueNotLookedAt,
    UndeleteBareFact,
    RemovedNamesSnapshot,
    DeletedBeforeDead,
    CloneListsLogFirst,
    CloneListsPacksFirst,
    CloneListsAdminOnce,
    CloneListsAgainBeforeCopying,
    CloneTakesTheLaterLog,
    CloneTakesLateFinals,
    CloneGoneOverlooked,
    CloneGoneWhileReadOverlooked,
    UpdatePutsAdminFirst,
    UpdatePutsDeadBeforeCheckpoints,
    UpdatePutsFinalsEarly,
    UpdateOfAWrittenClone,
}

#[derive(Clone, Debug)]
pub enum Actor {
    Push(Push),
    Collect(Collect),
    /// Removes a session when it is visible.
    Remove(u8),
    /// A canary's: takes the Removed of the base back.
    UndeleteBare,
    /// Puts a checkpoint of all that may be covered, then deletes that.
    Fold,
    /// Lists the packs there are, then announces those that are not dead, whosever they are: a repair.
    Announce,
    Clone(Cloner),
}

#[derive(Clone, Debug)]
pub struct Push {
    pub session: u8,
    pub bases: Vec<u8>,
    pub hints: Vec<u8>,
    /// May also begin without its bases.
    pub baseless: bool,
    /// Announces what it stored midway.
    pub partial: bool,
    /// Has the source at hand; else it can only copy from packs that still exist.
    pub source: bool,
}

#[derive(Clone, Debug)]
pub struct Collect {
    pub name: u8,
    pub runs: u8,
    pub revoke: bool,
    /// Also proposes every pack there is, so that what lives in them has to be rescued.
    pub compact: bool,
    /// Also proposes packs that no fact names.
    pub orphans: bool,
    /// Also proposes packs that others have marked.
    pub remark: bool,
}

/// Whoever copies the repository; at most one in a world.
#[derive(Clone, Debug)]
pub struct Cloner {
    /// How often: the first run makes the clone, each other updates it.
    pub runs: u8,
    /// How often a run may be cut off.
    pub cuts: u8,
    /// Listings of `log/` last, and show any part of what is put or deleted meanwhile.
    pub lasting: bool,
}

pub fn push(session: u8) -> Push {
    Push { session, bases: vec![BASE], hints: vec![], baseless: true, partial: false, source: true }
}

pub fn collect(name: u8) -> Collect {
    Collect { name, runs: 1, revoke: true, compact: false, orphans: false, remark: false }
}

pub fn undelete() -> Actor {
    let push = push(UNDELETE);
    Actor::Push(Push { bases: vec![], hints: vec![BASE], baseless: false, source: false, ..push })
}

pub fn resume(of: u8) -> Actor {
    Actor::Push(Push { bases: vec![], hints: vec![of], baseless: false, ..push(RESUMED) })
}
