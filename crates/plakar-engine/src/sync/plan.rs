//! Which snapshots a sync moves.

use crate::crypto::DomainKeys;
use crate::id::SessionId;
use crate::log::Snapshot;
use crate::log::fact::{Digest, Row};
use crate::repository::Repository;
use crate::tree::NodeId;
use std::collections::{HashMap, HashSet};

/// What makes a snapshot the same everywhere: its UUID, and the digest of its row in the repository where it was made.
/// Never its time, its name, or its place in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The UUID.
    pub uuid: [u8; 16],
    /// The digest of the row, under the keys of the domain it was made in.
    pub digest: Digest,
}

impl Identity {
    /// The identity of a snapshot in the domain with these keys.
    pub fn of(row: &Row, keys: &DomainKeys) -> Identity {
        Identity { uuid: row.uuid, digest: row.origin.clone().unwrap_or_else(|| row.digest(keys)) }
    }
}

/// What is to be done, and what not.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Snapshots to be sent, oldest first.
    pub missing: Vec<(Identity, Snapshot<'a>)>,
    /// How many of the source's are at the destination.
    pub present: u64,
    /// Snapshots that are not sent because they were removed at the destination.
    pub removed_there: Vec<Snapshot<'a>>,
    /// Publications at the destination to be removed, because they were removed at the source.
    pub to_remove: Vec<(SessionId, [u8; 16])>,
    /// UUIDs that two different snapshots have.
    pub conflicts: Vec<[u8; 16]>,
}

/// What is to be considered.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these publications of the source; `None` = all.
    pub only: Option<HashSet<SessionId>>,
    /// Sends what was removed at the destination, too.
    pub resurrect: bool,
    /// Removes at the destination what was removed at the source.
    pub follow_removals: bool,
}

impl<'a> Plan<'a> {
    /// Compares two repositories. Reads nothing.
    pub fn new(source: &'a Repository, destination: &Repository, selection: &Selection) -> Plan<'a> {
        let (here, there) = (&source.base.keys, &destination.base.keys);
        let visible: HashSet<_> =
            destination.state.snapshots().iter().map(|s| Identity::of(s.row, there)).collect();
        let removed: HashSet<_> = destination.state.removed().map(|s| Identity::of(s.row, there)).collect();
        let uuids: HashSet<_> = visible.iter().map(|identity| identity.uuid).collect();
        let mut plan = Plan::default();
        let mut seen = HashSet::new();
        let mut uuids_sent = HashSet::new();
        for snapshot in source.state.snapshots() {
            if selection.only.as_ref().is_some_and(|only| !only.contains(&snapshot.session)) {
                continue;
            }
            let identity = Identity::of(snapshot.row, here);
            if !seen.insert(identity.clone()) {
                continue;
            }
            let other = !uuids_sent.insert(identity.uuid)
                || (uuids.contains(&identity.uuid) && !visible.contains(&identity));
            if other && !plan.conflicts.contains(&identity.uuid) {
                plan.conflicts.push(identity.uuid);
            }
            if visible.contains(&identity) {
                plan.present += 1;
            } else if removed.contains(&identity) && !selection.resurrect {
                plan.removed_there.push(snapshot);
            } else {
                plan.missing.push((identity, snapshot));
            }
        }
        if selection.follow_removals {
            let kept: HashSet<_> =
                source.state.snapshots().iter().map(|s| Identity::of(s.row, here)).collect();
            let gone: HashSet<_> = source.state.removed().map(|s| Identity::of(s.row, here)).collect();
            let published = destination.state.snapshots().into_iter();
            let identities = published.map(|s| (s.session, Identity::of(s.row, there)));
            let to_remove =
                identities.filter(|(_, identity)| gone.contains(identity) && !kept.contains(identity));
            plan.to_remove = to_remove.map(|(session, identity)| (session, identity.uuid)).collect();
        }
        plan
    }
}

/// A snapshot that both sides publish.
#[derive(Debug, Clone)]
pub struct Common {
    /// What published it at the destination.
    pub session: SessionId,
    /// Its tree at the source.
    pub source: NodeId,
    /// Its tree at the destination.
    pub destination: NodeId,
    created: crate::tree::Time,
    host: String,
    roots: Vec<Vec<u8>>,
}

/// The snapshots that both sides publish, growing as snapshots are sent.
#[derive(Debug, Default)]
pub struct CommonGround {
    all: Vec<Common>,
}

impl CommonGround {
    /// What both have now.
    pub fn new(source: &Repository, destination: &Repository) -> CommonGround {
        let (here, there) = (&source.base.keys, &destination.base.keys);
        let state = &destination.state;
        let sound: HashMap<_, _> = state
            .snapshots()
            .into_iter()
            .filter(|s| !state.view.threatened(s.session))
            .map(|s| (Identity::of(s.row, there), (s.session, s.row.root.node)))
            .collect();
        let mut ground = CommonGround::default();
        for snapshot in source.state.snapshots() {
            if let Some((session, root)) = sound.get(&Identity::of(snapshot.row, here)) {
                ground.add(snapshot.row, *session, *root);
            }
        }
        ground
    }

    /// One more: `session` published it at the destination, with this tree.
    pub fn add(&mut self, row: &Row, session: SessionId, destination: NodeId) {
        self.all.push(Common {
            session,
            source: row.root.node,
            destination,
            created: row.created,
            host: row.host.clone(),
            roots: row.roots.iter().map(|root| root.0.clone()).collect(),
        });
    }

    /// The one that `row` is most likely to share most with: of the same roots and host, the last before it, else the
    /// first after it.
    pub fn nearest(&self, row: &Row) -> Option<&Common> {
        let same_roots = |common: &Common| common.roots.iter().eq(row.roots.iter().map(|root| &root.0));
        let nearness = |common: &Common| {
            let before = common.created <= row.created;
            let (a, b) = if before { (common.created, row.created) } else { (row.created, common.created) };
            let apart = i128::from(b.secs) - i128::from(a.secs);
            (same_roots(common), common.host == row.host, before, std::cmp::Reverse(apart))
        };
        self.all.iter().max_by_key(|common| nearness(common))
    }
}
