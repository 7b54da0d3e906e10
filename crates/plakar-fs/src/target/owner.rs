//! Whose a restored entry becomes.

use crate::owners::Owners;
use plakar_engine::tree::Meta;

/// How the owner of a restored entry is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OwnerPolicy {
    /// The user of the name that was captured, where this machine has one; else the number. Numbers
    /// differ between machines more often than names do.
    #[default]
    Names,
    /// The number that was captured, whatever it is called here: for putting a machine back as it was.
    Numbers,
    /// Nobody in particular: entries stay with whoever restores them, without a word. Setuid and setgid
    /// bits are still only set if that happens to be the owner who was captured.
    Keep,
}

/// The policy and what it needs to know.
#[derive(Debug)]
pub(super) struct Ownership {
    pub policy: OwnerPolicy,
    names: Owners,
}

impl Ownership {
    pub fn new(policy: OwnerPolicy) -> Self {
        Self { policy, names: Owners::read() }
    }

    /// User and group that an entry ought to have.
    pub fn wanted(&self, meta: &Meta) -> (u32, u32) {
        if self.policy == OwnerPolicy::Numbers {
            return (meta.uid, meta.gid);
        }
        let uid = self.names.uid(&meta.user).unwrap_or(meta.uid);
        let gid = self.names.gid(&meta.group).unwrap_or(meta.gid);
        (uid, gid)
    }
}
