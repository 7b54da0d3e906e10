//! Rules of the order of writers and collectors, taken out one by one.
//!
//! The code under test knows nothing of this: between it and the store stands something that makes it behave as if it did
//! not keep the rule. A look that is skipped is one that shows what the look before it showed; a barrier that is skipped
//! does nothing; a Prepared that comes too late is held back. What cannot be had so is an operation of its own
//! (`careless`).

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A writer never flushes.
    NoBarriers,
    /// A writer flushes nothing before its Final is put.
    BarrierOnlyAfterFinal,
    /// A writer does not look after the Prepared that pins its base.
    PinNotLookedAt,
    /// A writer pins its base only when it has used it.
    PinTooLate,
    /// A writer puts its last Prepared after the look that clears it.
    AnnouncedAfterLooking,
    /// A writer does not look before its Final.
    NoLookBeforeFinal,
    /// A writer relies on packs that are marked, and does not see that it is revoked.
    MarksNotSeen,
    /// A writer does not look after its Final.
    NoLastLook,
    /// A collector does not look after its Mark.
    NoSecondLook,
    /// A collector walks from visible snapshots only.
    UnfinishedNotWalked,
    /// A collector takes the packs that another has marked for good.
    OtherMarksNotSeen,
    /// A collector goes on although a session that it revokes has ended.
    EndedNotSeen,
    /// A collector finishes what others have marked.
    FinishesOthers,
    /// A collector deletes packs before its Dead is put, and puts that when they are gone.
    DeletesBeforeDead,
    /// A collector does not flush its Dead before it deletes.
    DeadNotFlushed,
    /// What a Checkpoint covers is deleted before the Checkpoint is durable.
    CheckpointNotFlushed,
    /// A Checkpoint forgets something of what it covers.
    CheckpointForgets,
    /// Whoever reads does not look again when something is gone.
    ReaderLooksOnce,
    /// A clone is never flushed.
    CloneNotFlushed,
    /// Showing a removed snapshot again asks for its root only: "the node is in the index, so what is beneath it is".
    UndeleteAsksForRootOnly,
    /// Showing a removed snapshot again is a Final, without a look.
    UndeleteDoesNotLook,
    /// What an unfinished session described is published as it is.
    ResumeDoesNotAsk,
    /// The store lists what was put only after a while, and says that it lists all.
    ListsLate,
}

impl Broken {
    /// All of them.
    pub const ALL: [Broken; 23] = [
        Broken::NoBarriers,
        Broken::BarrierOnlyAfterFinal,
        Broken::PinNotLookedAt,
        Broken::PinTooLate,
        Broken::AnnouncedAfterLooking,
        Broken::NoLookBeforeFinal,
        Broken::MarksNotSeen,
        Broken::NoLastLook,
        Broken::NoSecondLook,
        Broken::UnfinishedNotWalked,
        Broken::OtherMarksNotSeen,
        Broken::EndedNotSeen,
        Broken::FinishesOthers,
        Broken::DeletesBeforeDead,
        Broken::DeadNotFlushed,
        Broken::CheckpointNotFlushed,
        Broken::CheckpointForgets,
        Broken::ReaderLooksOnce,
        Broken::CloneNotFlushed,
        Broken::UndeleteAsksForRootOnly,
        Broken::UndeleteDoesNotLook,
        Broken::ResumeDoesNotAsk,
        Broken::ListsLate,
    ];

    /// Who does not keep it.
    pub fn role(self) -> Option<Role> {
        use Broken::*;
        match self {
            NoBarriers
            | BarrierOnlyAfterFinal
            | PinNotLookedAt
            | PinTooLate
            | AnnouncedAfterLooking
            | NoLookBeforeFinal
            | MarksNotSeen
            | NoLastLook => Some(Role::Writer),
            NoSecondLook | UnfinishedNotWalked | OtherMarksNotSeen | EndedNotSeen | DeletesBeforeDead
            | DeadNotFlushed | CheckpointNotFlushed | CheckpointForgets => Some(Role::Collector),
            ReaderLooksOnce => Some(Role::Reader),
            CloneNotFlushed => Some(Role::Cloner),
            ListsLate => None,
            FinishesOthers | UndeleteAsksForRootOnly | UndeleteDoesNotLook | ResumeDoesNotAsk => {
                Some(Role::Careless)
            }
        }
    }

    /// Who is disturbed more than usual, so that the loss is not too rare for an ordinary run: it sleeps before this one of
    /// the facts that it puts.
    pub fn sleeps(self) -> &'static [(Role, u64)] {
        match self {
            // Its base is marked before it is pinned, and can still be read.
            Broken::PinNotLookedAt => &[(Role::Writer, 1), (Role::Collector, 2)],
            // Its base goes when it was read.
            Broken::PinTooLate => &[(Role::Writer, 1)],
            // Whom it is about to revoke ends meanwhile.
            Broken::EndedNotSeen => &[(Role::Collector, 1)],
            // Its packs go meanwhile.
            Broken::DeletesBeforeDead => &[(Role::Writer, 3)],
            _ => &[],
        }
    }

    /// Whether all is removed while a writer sleeps: nothing but its pin keeps its base.
    pub fn is_of_pins(self) -> bool {
        matches!(self, Broken::PinNotLookedAt | Broken::PinTooLate)
    }

    /// Whether readers and clones matter to it.
    pub fn is_of_others(self) -> bool {
        matches!(self, Broken::ReaderLooksOnce | Broken::CloneNotFlushed)
    }

    /// Whether collectors are killed on their way more than usual.
    pub fn kills(self) -> bool {
        self == Broken::DeletesBeforeDead
    }

    /// Whether what is removed goes by halves: packs are small, and those that hold something of use stay.
    pub fn goes_by_halves(self) -> bool {
        matches!(self, Broken::UndeleteAsksForRootOnly | Broken::ResumeDoesNotAsk)
    }
}

/// Who asks a store for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A push, a sync at its destination, a heal, a repair, a removal, an undelete.
    Writer,
    /// A cleanup.
    Collector,
    /// Whoever only reads: a restore, a sync at its source, a heal at its peers, a clone at its source.
    Reader,
    /// A clone or an update at its destination.
    Cloner,
    /// An operation that was made to break a rule.
    Careless,
}
