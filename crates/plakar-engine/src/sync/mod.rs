//! Sync: giving a repository the snapshots of another, under the same UUIDs.
//!
//! A sync is a reader on one side and an ordinary writer on the other; facts and packs are never copied. For each
//! snapshot that the destination lacks, oldest first, it opens a session there and
//!
//! 1. compares the snapshot's tree with that of the nearest snapshot which both sides publish, pinned at the
//!    destination: what they share is skipped (`diff`, `walk`);
//! 2. asks the destination's index for what is left, item by item;
//! 3. sends what it lacks: within a domain in blocks as they are sealed (`blocks`, `transfer`), else cut, named and
//!    sealed anew (`translate`);
//! 4. publishes, unless something is lost at the source: then the snapshot is withheld, what was sent of it is kept for
//!    the next time, and the others go on.
//!
//! What both sides publish is taken to be whole at the destination: that it is, `check` proves there, and what it finds
//! `heal` mends. Everything that is sent was authenticated on the way: by its ids or, where much of a pack is moved, by the
//! seals of its blocks and of the directory that names their items. What was announced before a sync was ended is not
//! sent again: the destination's index knows it.

mod ahead;
pub(crate) mod blocks;
pub(crate) mod diff;
mod estimate;
pub(crate) mod lost;
mod plan;
mod run;
pub(crate) mod stored;
pub(crate) mod transfer;
pub(crate) mod translate;
pub(crate) mod walk;

pub use ahead::with_tree_ahead;
pub use estimate::{Estimate, estimate};
pub use plan::{Identity, Plan, Selection};

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::index::segment::Author;
use crate::log::Snapshot;
use crate::log::fact::{Partial, Row};
use crate::push::Checkpoints;
use crate::read::{CACHE_BYTES_DEFAULT, Reader};
use crate::repository::Repository;
use crate::tree::Subtree;
use crate::write::{Ended, remove};
use ahead::Ahead;
use blocks::Blocks;
use lost::Lost;
use plakar_store::Store;
use plan::{Common, CommonGround};
pub(crate) use run::{Moving, Run, begin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use stored::ZeroChunk;
use walk::{Asking, Walk};

/// How often one snapshot is begun again because cleanups at the destination took away what it relied on.
const ATTEMPTS_MAX: usize = 3;

/// How to sync.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// Which snapshots.
    pub selection: Selection,
    /// Who writes at the destination.
    pub author: Author,
    /// Seconds since 1970, for the names of log objects.
    pub now: i64,
    /// How many threads read and prove, and how many seal.
    pub workers: usize,
    /// Whether what is compressed anew is compared before it is trusted.
    pub verify: bool,
    /// Whether this client may write `admin/` at the destination.
    pub may_admin: bool,
    /// When what was sent so far is announced.
    pub checkpoints: Checkpoints,
}

/// Told what happens during a sync.
pub trait SyncObserver {
    /// A snapshot is there now.
    fn sent(&mut self, row: &Row, counts: &Counts);
    /// A snapshot is not there, because the source lacks something: a sentence for each path, and how many more there
    /// are.
    fn withheld(&mut self, row: &Row, paths: &[String], more: u64);
    /// How far it is. Called often.
    fn progress(&mut self, progress: &Counts);
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Snapshots that are there now.
    pub snapshots: u64,
    /// Chunks and nodes.
    pub items: u64,
    /// Blocks that were moved as they were sealed.
    pub blocks: u64,
    /// Bytes of files that were cut anew.
    pub translated: u64,
    /// Bytes put to the destination in packs.
    pub bytes: u64,
}

/// What a sync did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// What was moved.
    pub counts: Counts,
    /// Snapshots that were there before.
    pub present: u64,
    /// Snapshots that the source could not give.
    pub withheld: u64,
    /// Snapshots that were removed at the destination and stay so.
    pub removed_there: u64,
    /// Snapshots that were removed at the destination now, as they were at the source.
    pub removed: u64,
}

/// Sends the snapshots of `source` that `destination` lacks; `store` is the destination's, to be written. Returns what was
/// done, and the destination as it is afterwards.
///
/// # Errors
/// What keeps the whole from going on. What was published before stays; what was announced before is not sent
/// again. Damage at the source is no error: see [`SyncObserver::withheld`].
pub fn sync(
    source: &Repository,
    destination: Repository,
    store: &Arc<dyn Store>,
    options: &SyncOptions,
    observer: &mut dyn SyncObserver,
    interrupted: &AtomicBool,
) -> Result<(SyncReport, Repository)> {
    let mut destination = destination;
    let plan = Plan::new(source, &destination, &options.selection);
    let mut ground = CommonGround::new(source, &destination);
    let mut report = SyncReport {
        present: plan.present,
        removed_there: plan.removed_there.len() as u64,
        ..SyncReport::default()
    };
    let reader = &Reader::new(source, CACHE_BYTES_DEFAULT);
    let sides = Sides { source, reader, store };
    let mut run = Run::new(options, observer, interrupted);
    for (identity, snapshot) in &plan.missing {
        let (sent, after) =
            send(&mut run, &sides, destination, snapshot, identity, &ground, &mut report.counts)?;
        destination = after;
        match sent {
            Sent::Published(session, row) => {
                report.counts.snapshots += 1;
                ground.add(snapshot.row, session, row.root.node);
                run.observer.sent(&row, &report.counts);
            }
            Sent::Withheld(lost) => {
                report.withheld += 1;
                let (mut paths, more) = lost.tell_paths(reader, &snapshot.row.root.node)?;
                if paths.is_empty() {
                    // When it was looked for once more, it was there again.
                    paths = lost.items().map(|(item, why)| format!("{item}: {why}")).collect();
                }
                run.observer.withheld(snapshot.row, &paths, more);
            }
        }
    }
    if !plan.to_remove.is_empty() {
        let sessions: Vec<_> = plan.to_remove.iter().map(|(session, _)| *session).collect();
        remove(&mut destination, &**store, &options.author, &sessions, options.now)?;
        report.removed = sessions.len() as u64;
    }
    Ok((report, destination))
}

/// What a sync reads from, and what it writes to.
struct Sides<'a> {
    source: &'a Repository,
    reader: &'a Reader,
    store: &'a Arc<dyn Store>,
}

enum Sent {
    Published(SessionId, Box<Row>),
    Withheld(Lost),
}

/// Sends one snapshot.
fn send(
    run: &mut Run,
    sides: &Sides,
    destination: Repository,
    snapshot: &Snapshot<'_>,
    identity: &Identity,
    ground: &CommonGround,
    counts: &mut Counts,
) -> Result<(Sent, Repository)> {
    let mut destination = destination;
    let partial = Partial { root: snapshot.row.root, source: partial_digest(identity) };
    for _ in 0..ATTEMPTS_MAX {
        let base = ground.nearest(snapshot.row);
        // What an earlier run has announced is kept until this one has ended.
        let state = destination.state.clone();
        let hints: Vec<_> = state
            .unfinished()
            .filter(|(_, unfinished, _)| unfinished.source == partial.source)
            .map(|(session, ..)| session)
            .collect();
        let bases: Vec<_> = base.iter().map(|base| base.session).collect();
        // Within one domain, blocks are sent as they are sealed.
        let same = sides.source.base.config.domain == destination.base.config.domain;
        let there = same.then(|| Asking::of(&destination));
        let options = run.options;
        let begin = || {
            let (session, held) = begin(options, destination, sides.store, &bases, &hints)?;
            let partial = Some(partial.clone());
            Ok((Moving { session, partial, counts: *counts, before: counts.bytes }, held))
        };
        let (root, lost, mut moving) = bring(run, sides, there, &snapshot.row.root, base, begin)?;
        moving.session.flush()?;
        let id = moving.session.id();
        *counts = Counts { bytes: moving.before + moving.session.stored_bytes(), ..moving.counts };
        let Some(root) = root.filter(|_| lost.is_empty()) else {
            // Announced, so that it is not sent again.
            let after = moving.session.give_up(Some(partial))?;
            return Ok((Sent::Withheld(lost), after));
        };
        let row = row_there(snapshot.row, root, identity, moving.session.repository());
        let there = moving.session.repository().state.clone();
        if let Some(other) = there.snapshots().into_iter().find(|other| *other.row == row) {
            // Somebody else brought it meanwhile.
            let after = moving.session.give_up(None)?;
            return Ok((Sent::Published(other.session, Box::new(row)), after));
        }
        let (ended, after) = moving.session.publish(Some(row.clone()))?;
        match ended {
            Ended::Published => return Ok((Sent::Published(id, Box::new(row)), after)),
            Ended::Lost => destination = after,
        }
    }
    Err(Error::Refused(format!(
        "{}: cleanups keep taking away what this sync relies on; run it again later",
        destination.location()
    )))
}

/// Begins a session at the destination and stores the tree there. Returns its root there, what the source lacks of it,
/// and the session.
fn bring(
    run: &mut Run,
    sides: &Sides,
    there: Option<Asking>,
    root: &Subtree,
    base: Option<&Common>,
    begin: impl FnOnce() -> Result<(Moving, Vec<SessionId>)>,
) -> Result<(Option<Subtree>, Lost, Moving)> {
    let Sides { source, reader, .. } = *sides;
    let blocks = Blocks::new(&source.base, reader);
    let is_held = |held: &[SessionId]| base.filter(|base| held.contains(&base.session));
    let Some(there) = there else {
        let (mut moving, held) = begin()?;
        let destination = Reader::new(moving.session.repository(), CACHE_BYTES_DEFAULT / 4);
        let zeros = ZeroChunk::of(&source.base);
        let readers =
            translate::Readers { source: reader, zeros, blocks: &blocks, destination: &destination };
        let pair = is_held(&held).map(|base| (base.source, base.destination));
        let stop = AtomicBool::new(false);
        return std::thread::scope(|scope| {
            let old = pair.map(|(source, _)| source);
            let ahead = Ahead::begin(scope, &blocks, (root.node, old), true, &stop);
            let (root, lost) = translate::translate(run, &readers, root, pair, &mut moving)?;
            ahead.end()?;
            Ok((root, lost, moving))
        });
    };
    // Within a domain one tree has one root; a base of which that is not true is none.
    let tree =
        |base: Option<&Common>| base.filter(|base| base.source == base.destination).map(|base| base.source);
    std::thread::scope(|scope| {
        let walk = Walk::begin(scope, &blocks, root.node, tree(base), &there);
        let (mut moving, held) = begin()?;
        let old = tree(is_held(&held));
        let walk = match walk.is_from(old) {
            true => walk,
            false => Walk::begin(scope, &blocks, root.node, old, &there),
        };
        let lost = transfer::transfer(run, &blocks, walk, &mut moving)?;
        Ok((Some(*root), lost, moving))
    })
}

/// The row as the destination publishes it. One that was made in the destination's own domain comes home as it was.
fn row_there(row: &Row, root: Subtree, identity: &Identity, destination: &Repository) -> Row {
    let original = Row { root, origin: None, ..row.clone() };
    if original.digest(&destination.base.keys) == identity.digest {
        return original;
    }
    Row { origin: Some(identity.digest.clone()), ..original }
}

/// Who may go on with what an ended sync has sent.
fn partial_digest(identity: &Identity) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("plakar v1 sync");
    hasher.update(&identity.uuid).update(&identity.digest.0);
    *hasher.finalize().as_bytes()
}
