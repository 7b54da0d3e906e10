//! What there was.

use std::collections::BTreeMap;

/// How many of what there was.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tally {
    pub operations: u64,
    /// Of each kind: how many succeeded, and how many there were.
    pub kinds: BTreeMap<&'static str, (u64, u64)>,
    pub requests: u64,
    pub cuts: u64,
    pub fell_back: u64,
    pub kills: u64,
    pub faults: u64,
    pub checks: u64,
    pub restored: u64,
    pub snapshots: u64,
    pub removals: u64,
    pub packs_deleted: u64,
    pub covered_deleted: u64,
    pub rots: u64,
    pub mended: u64,
    pub changes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.operations += other.operations;
        for (kind, (succeeded, all)) in other.kinds {
            let kind = self.kinds.entry(kind).or_default();
            *kind = (kind.0 + succeeded, kind.1 + all);
        }
        self.requests += other.requests;
        self.cuts += other.cuts;
        self.fell_back += other.fell_back;
        self.kills += other.kills;
        self.faults += other.faults;
        self.checks += other.checks;
        self.restored += other.restored;
        self.snapshots += other.snapshots;
        self.removals += other.removals;
        self.packs_deleted += other.packs_deleted;
        self.covered_deleted += other.covered_deleted;
        self.rots += other.rots;
        self.mended += other.mended;
        self.changes += other.changes;
    }
}
