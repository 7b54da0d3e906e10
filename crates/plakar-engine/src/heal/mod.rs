//! Heal: giving a repository back what it has lost, from other repositories.
//!
//! 1. What is damaged or missing in `log/`, `admin/` and `index/` is fetched from a repository of the same domain that has
//!    the same object (`objects`).
//! 2. Every pack is read, as `check` does. Copies that are not what they must be, or cannot be read, are noted as bad, so
//!    that nobody relies on them any more; no pack is deleted.
//! 3. Every visible snapshot is walked. An item that was not seen with the right bytes is stored anew: from another
//!    copy here, else from a repository of the same domain, where it has the same id. Trees are read from there, too,
//!    where they are lost here.
//! 4. What is lost then is looked for in repositories of other domains that have the same snapshot: it is cut anew from
//!    their bytes, which gives the same ids.
//! 5. What was stored is announced by a session that publishes nothing.
//!
//! Afterwards `check` finds nothing wrong, unless something is reported as lost: what nobody has any more.

mod objects;

use crate::block::ItemId;
use crate::check::packs::{self, Verified};
use crate::error::{Error, Result};
use crate::log::Snapshot;
use crate::log::fact::Row;
use crate::read::{CACHE_BYTES_DEFAULT, Reader};
use crate::repository::Repository;
use crate::repository::Unlocked;
use crate::sync::blocks::{Blocks, Wanted};
use crate::sync::diff::Diff;
use crate::sync::lost::Lost;
use crate::sync::stored::ZeroChunk;
use crate::sync::translate::{self, Readers};
use crate::sync::{Counts, Identity, Moving, Run, SyncObserver, SyncOptions, begin};
use crate::write::mark_bad;
use plakar_store::Store;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told what happens during a heal.
pub trait HealObserver {
    /// Something is damaged: a sentence that names it.
    fn damage(&mut self, what: &str);
    /// What is damaged in log or index and nobody has: a sentence that names it.
    fn unmended(&mut self, what: &str);
    /// Nobody has what a snapshot needs: its UUID, a sentence for each path, and how many more there are.
    fn lost(&mut self, snapshot: &str, paths: &[String], more: u64);
    /// So many bytes were read here, so many items stored anew. Called often.
    fn progress(&mut self, read: u64, mended: u64);
}

/// What a heal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealReport {
    /// Problems that were found.
    pub damaged: u64,
    /// Copies that were noted as bad.
    pub bad: u64,
    /// Objects of log and index that were put in place.
    pub objects: u64,
    /// What is still wrong with log and index.
    pub unmended: u64,
    /// Items that were stored anew.
    pub mended: u64,
    /// Snapshots that still need something nobody has.
    pub lost: u64,
}

/// Mends `repo`, whose `store` is given to be written, from `peers`. Of `options`, who writes and how counts; nothing is
/// selected.
///
/// # Errors
/// What keeps it from going on. What was announced before stays. What is lost for good is no error: see
/// [`HealObserver::lost`] and [`HealObserver::unmended`].
pub fn heal(
    repo: Repository,
    store: &Arc<dyn Store>,
    peers: &[Repository],
    options: &SyncOptions,
    observer: &mut dyn HealObserver,
    interrupted: &AtomicBool,
) -> Result<(HealReport, Repository)> {
    let mut repo = repo;
    let mut report = HealReport::default();
    let mut damage = |observer: &mut dyn HealObserver, what: &str| {
        report.damaged += 1;
        observer.damage(what);
    };
    let same = |peer: &&Repository| peer.base.config.domain == repo.base.config.domain;
    let (alike, strangers): (Vec<_>, Vec<_>) = peers.iter().partition(same);
    let mended = objects::mend(&mut repo, &**store, &alike, options.now, interrupted)?;
    mended.damaged.iter().for_each(|what| damage(observer, what));
    mended.left.iter().for_each(|what| observer.unmended(what));
    let mut told = Vec::new();
    let verified = packs::verify(
        &repo,
        &packs::counting(&repo),
        options.workers,
        &mut |what| told.push(what.to_owned()),
        &mut |bytes| observer.progress(bytes, 0),
        interrupted,
    )?;
    told.iter().for_each(|what| damage(observer, what));
    report.objects = mended.objects;
    report.unmended = mended.left.len() as u64;
    report.bad = verified.bad.len() as u64;
    if options.may_admin && !store.capabilities().append_only {
        mark_bad(&mut repo, &**store, &options.author, &verified.bad, options.now)?;
    }

    let others: Vec<_> = alike.iter().map(|peer| Reader::new(peer, CACHE_BYTES_DEFAULT / 4)).collect();
    // What the snapshots are is the same before and after: nothing is published here.
    let state = repo.state.clone();
    let snapshots = state.snapshots();
    let base = repo.base.clone();
    let reader = Reader::new(&repo, CACHE_BYTES_DEFAULT);
    let (session, _) = begin(options, repo, store, &[], &[])?;
    let mut moving = Moving { session, partial: None, counts: Counts::default(), before: 0 };
    let blocks = Blocks::new(&base, &reader).or_from(&others);
    let mut healing =
        Healing { reader: &reader, verified: &verified, mended: HashSet::new(), read: verified.bytes };
    let mut lost = healing.walk(&snapshots, blocks, &mut moving, observer, interrupted)?;
    for stranger in strangers {
        if !lost.is_empty() {
            let mut quiet =
                Quiet { observer: &mut *observer, read: verified.bytes, mended: healing.mended.len() as u64 };
            let mut run = Run::new(options, &mut quiet, interrupted);
            cut_anew(&mut run, stranger, &base, &reader, &snapshots, &lost, &mut moving)?;
            // Another reader, because this one may have opened the log again since, without what waits here.
            let fresh = Reader::new(moving.session.repository(), CACHE_BYTES_DEFAULT / 4);
            lost = healing.still_lost(lost, &fresh);
        }
    }
    report.mended = healing.mended.len() as u64;
    let repo = match report.mended {
        0 => moving.session.give_up(None)?,
        _ => moving.session.publish(None)?.1,
    };
    if !lost.is_empty() {
        let reader = Reader::new(&repo, CACHE_BYTES_DEFAULT);
        for snapshot in &snapshots {
            let (paths, more) = lost.tell_paths(&reader, &snapshot.row.root.node)?;
            if !paths.is_empty() {
                report.lost += 1;
                observer.lost(&snapshot.row.uuid_text(), &paths, more);
            }
        }
    }
    Ok((report, repo))
}

/// What is known while a repository is mended.
struct Healing<'a> {
    reader: &'a Reader,
    verified: &'a Verified,
    mended: HashSet<ItemId>,
    read: u64,
}

impl Healing<'_> {
    /// Whether an item needs nothing: it was seen with the right bytes, and it is found.
    fn is_sound(&self, item: &ItemId, moving: &Moving) -> bool {
        let view = &moving.session.repository().state.view;
        let found = |place: &crate::index::Place| !view.bad(place.pack, place.offset);
        self.mended.contains(item)
            || self.verified.has(item)
                && self.reader.places(item).is_ok_and(|places| places.iter().any(found))
    }

    /// Walks all that is visible, and stores anew what is not sound. Returns what could not be had.
    fn walk(
        &mut self,
        snapshots: &[Snapshot],
        blocks: Blocks,
        moving: &mut Moving,
        observer: &mut dyn HealObserver,
        interrupted: &AtomicBool,
    ) -> Result<Lost> {
        let mut lost = Lost::default();
        let mut diff = Diff::default();
        for snapshot in snapshots {
            diff.add(snapshot.row.root.node, None);
            let mut more = true;
            while more {
                if interrupted.load(Ordering::Relaxed) {
                    moving.session.checkpoint(None)?;
                    return Err(Error::Interrupted);
                }
                let mut wave = Vec::new();
                more = diff.wave(&blocks, &mut wave, &mut lost)?;
                for Wanted { item, owner } in wave {
                    if self.is_sound(&item, moving) {
                        continue;
                    }
                    match blocks.item(&item) {
                        Ok(bytes) => {
                            moving.session.put_item(owner, item, &bytes)?;
                            self.mended.insert(item);
                        }
                        Err(e) => lost.add(item, blocks.lost(e)?),
                    }
                }
                observer.progress(self.read, self.mended.len() as u64);
            }
        }
        Ok(lost)
    }

    /// What of `lost` cannot be read now, either.
    fn still_lost(&mut self, lost: Lost, reader: &Reader) -> Lost {
        let mut still = Lost::default();
        for (item, why) in lost.items() {
            match reader.with_item(item, &mut |_| ()) {
                Ok(()) => drop(self.mended.insert(*item)),
                Err(_) => still.add(*item, why.to_owned()),
            }
        }
        still
    }
}

/// Brings every snapshot that needs something of `lost`, and that `stranger` has too, from there: what is sound here is
/// not stored again.
fn cut_anew(
    run: &mut Run,
    stranger: &Repository,
    base: &Unlocked,
    reader: &Reader,
    snapshots: &[Snapshot],
    lost: &Lost,
    moving: &mut Moving,
) -> Result<()> {
    let theirs: HashMap<_, _> = stranger
        .state
        .snapshots()
        .into_iter()
        .map(|snapshot| (Identity::of(snapshot.row, &stranger.base.keys), snapshot.row.root))
        .collect();
    let source = Reader::new(stranger, CACHE_BYTES_DEFAULT);
    let blocks = Blocks::new(&stranger.base, &source);
    let zeros = ZeroChunk::of(&stranger.base);
    let readers = Readers { source: &source, zeros, blocks: &blocks, destination: reader };
    for snapshot in snapshots {
        let Some(root) = theirs.get(&Identity::of(snapshot.row, &base.keys)) else { continue };
        if !lost.tell_paths(reader, &snapshot.row.root.node)?.0.is_empty() {
            // What the stranger has lost, too, is still lost afterwards.
            translate::translate(run, &readers, root, None, moving)?;
        }
    }
    moving.session.flush()
}

/// Hears of a sync and tells of a heal.
struct Quiet<'a> {
    observer: &'a mut dyn HealObserver,
    read: u64,
    mended: u64,
}

impl SyncObserver for Quiet<'_> {
    fn sent(&mut self, _: &Row, _: &Counts) {}

    fn withheld(&mut self, _: &Row, _: &[String], _: u64) {}

    fn progress(&mut self, progress: &Counts) {
        self.observer.progress(self.read + progress.translated, self.mended);
    }
}
