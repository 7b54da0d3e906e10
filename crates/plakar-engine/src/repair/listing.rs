//! Listing packs anew.

use super::survey::{Survey, for_each_row};
use super::{RepairObserver, RepairOptions, go_on, only_damage};
use crate::check::packs::{Damage, verify_blocks};
use crate::error::{Error, Result};
use crate::id::{EpochId, ObjectHash, SessionId};
use crate::index::segment::{EPOCHS_MAX, SegmentBuilder};
use crate::log::fact::{Bad, Fact, Prepared, SegmentRef};
use crate::pack::{BlockEntry, PACK_BYTES_MAX, decode_pack, pack_name, read_directory};
use crate::protocol::{self, Verdict};
use crate::repository::Repository;
use crate::write::{mark_bad, put_facts, put_segment};
use plakar_store::{ErrorKind, Store};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A segment is made once there are so many rows: about 30 MiB as stored, 100 MiB in memory while it is made.
const ROWS_MAX: usize = 1 << 20;

type Writer = protocol::Writer<SessionId, ObjectHash>;

/// What was listed anew.
#[derive(Default)]
pub struct Listed {
    /// The segments that list it.
    pub segments: Vec<SegmentRef>,
    /// Packs that were read whole.
    pub proven: HashSet<ObjectHash>,
    /// How many copies were noted as bad.
    pub bad: u64,
}

/// Lists in new segments what `found` says that no segment lists, and announces it.
pub fn list(
    repo: &mut Repository,
    store: &Arc<dyn Store>,
    found: &Survey,
    options: &RepairOptions,
    observer: &mut dyn RepairObserver,
    interrupted: &AtomicBool,
) -> Result<Listed> {
    let mut listing = Listing {
        repo,
        store: &**store,
        options,
        session: SessionId::random(),
        writer: None,
        builder: SegmentBuilder::default(),
        packs: BTreeSet::new(),
        epochs: HashSet::new(),
        bad: Vec::new(),
        listed: Listed::default(),
    };
    for pack in &found.unlisted {
        go_on(interrupted)?;
        let base = listing.repo.base();
        // Readable a moment ago: what is gone since is for the walk to tell.
        if let Ok(directory) = only_damage(read_directory(&*base.store, pack, &base.sealer))? {
            listing.add(pack, &directory)?;
        }
    }
    listing.salvage(found)?;
    let mut read = 0;
    for pack in &found.strays {
        go_on(interrupted)?;
        read += listing.add_stray(pack, observer)?;
        observer.progress(read);
    }
    listing.end()
}

struct Listing<'a> {
    repo: &'a mut Repository,
    store: &'a dyn Store,
    options: &'a RepairOptions,
    session: SessionId,
    writer: Option<Writer>,
    builder: SegmentBuilder,
    /// The packs and epochs of the rows in it.
    packs: BTreeSet<ObjectHash>,
    epochs: HashSet<EpochId>,
    /// What is to be noted before these are announced.
    bad: Vec<Bad>,
    listed: Listed,
}

impl Listing<'_> {
    /// Adds all rows of a pack: into one segment, if that can be.
    fn add(&mut self, pack: &ObjectHash, directory: &[BlockEntry]) -> Result<()> {
        if self.builder.len() >= ROWS_MAX {
            self.announce()?;
        }
        for block in directory {
            self.make_room(block.epoch)?;
            let builder = &mut self.builder;
            let one = std::slice::from_ref(block);
            for_each_row(pack, one, &mut |kind, id, at| builder.add(kind, id, at));
            self.packs.insert(*pack);
        }
        Ok(())
    }

    fn make_room(&mut self, epoch: EpochId) -> Result<()> {
        if self.epochs.len() == EPOCHS_MAX && !self.epochs.contains(&epoch) {
            self.announce()?;
        }
        self.epochs.insert(epoch);
        Ok(())
    }

    /// Adds what damaged segments still say of packs whose own directory says nothing.
    fn salvage(&mut self, found: &Survey) -> Result<()> {
        for hash in found.lost.keys().filter(|_| !found.salvage.is_empty()) {
            let Some(segment) = self.repo.segment(hash).cloned() else { continue };
            let mut rows = Vec::new();
            segment.for_each_readable(&self.repo.base().sealer, &mut |kind, id, at| {
                if found.salvage.contains(&at.pack) {
                    rows.push((kind, *id, *at));
                }
            })?;
            for (kind, id, at) in rows {
                if self.builder.len() >= ROWS_MAX {
                    self.announce()?;
                }
                self.make_room(at.epoch)?;
                self.builder.add(kind, &id, &at);
                self.packs.insert(at.pack);
            }
        }
        Ok(())
    }

    /// Adds a pack that nobody announced, as far as can be told. Its writer may be at work, and it is not durable before
    /// that writer's barrier: so what is there is put once more. Returns how many bytes were read.
    fn add_stray(&mut self, pack: &ObjectHash, observer: &mut dyn RepairObserver) -> Result<u64> {
        let (base, name) = (self.repo.base().clone(), pack_name(pack));
        let bytes = base.store.get(&name, PACK_BYTES_MAX).map_err(Error::from);
        let read = bytes.and_then(|bytes| Ok((decode_pack(&name, &bytes, &base.sealer)?, bytes)));
        let (directory, bytes) = match only_damage(read)? {
            Ok(read) => read,
            Err(e) => {
                if !e.is_not_found() {
                    observer.damage(&e.to_string());
                }
                return Ok(0);
            }
        };
        let mut damage = Damage::default();
        verify_blocks(&base, pack, &directory, &bytes, &mut Vec::new(), &mut damage);
        match self.store.put(&name, &[&bytes]) {
            Ok(()) => {}
            // It has other bytes each time it is read.
            Err(e) if e.kind() == ErrorKind::Exists => {
                observer.damage(&e.to_string());
                return Ok(0);
            }
            Err(e) => return Err(e.into()),
        }
        for (bad, what) in damage.blocks {
            if !self.repo.state().view.bad(bad.pack, bad.offset) {
                observer.damage(&what);
                self.bad.push(bad);
            }
        }
        self.add(pack, &directory)?;
        self.listed.proven.insert(*pack);
        Ok(bytes.len() as u64)
    }

    /// Makes a segment of what was added, and announces it: midway, because a run that is cut short later need not do it
    /// again.
    fn announce(&mut self) -> Result<()> {
        let Some(segment) = self.make_segment()? else { return Ok(()) };
        let fact = self.writer.as_mut().expect("a segment was made").checkpoint::<SessionId>();
        self.put_prepared(&fact, segment)
    }

    fn make_segment(&mut self) -> Result<Option<SegmentRef>> {
        if self.builder.is_empty() {
            return Ok(None);
        }
        let (author, now) = (&self.options.author, self.options.now);
        // Known to be bad before anybody may rely on it.
        let bad = std::mem::take(&mut self.bad);
        self.listed.bad += bad.len() as u64;
        mark_bad(self.repo, self.store, author, &bad, now)?;
        let mut rows = std::mem::take(&mut self.builder);
        let (segment, opened) = put_segment(&mut rows, self.store, author, self.repo.base())?;
        drop(rows);
        self.epochs.clear();
        self.repo.add_segment(segment.hash(), opened);
        let writer = self.writer.get_or_insert_with(|| Writer::rescue(self.session));
        std::mem::take(&mut self.packs).into_iter().for_each(|pack| writer.wrote(pack));
        self.store.barrier()?;
        self.listed.segments.push(segment.clone());
        Ok(Some(segment))
    }

    fn put_prepared(
        &self,
        fact: &protocol::Fact<SessionId, ObjectHash, SessionId>,
        segment: SegmentRef,
    ) -> Result<()> {
        let protocol::Fact::Prepared { session, packs, .. } = fact else {
            unreachable!("a writer prepares with a Prepared")
        };
        let (session, packs) = (*session, packs.clone());
        let prepared = Prepared { session, packs, segments: vec![segment], ..Prepared::default() };
        self.put(Fact::Prepared(Box::new(prepared)))
    }

    fn put(&self, fact: Fact) -> Result<()> {
        put_facts(&[fact], self.store, &self.options.author, self.repo.base(), self.options.now)
    }

    /// Announces the rest, looks, and ends the session.
    fn end(mut self) -> Result<Listed> {
        let last = self.make_segment()?;
        let Some(mut writer) = self.writer.take() else { return Ok(self.listed) };
        let mut last = Some(last);
        loop {
            let (announced, fact) = writer.prepare::<SessionId>();
            if let Some(segment) = last.take() {
                if let Some(segment) = segment {
                    self.put_prepared(&fact, segment)?;
                }
                self.repo.refresh()?;
                super::refuse_unless_writable(self.repo)?;
            }
            match announced.looked(&self.repo.state().view) {
                Verdict::Clean(cleared) => {
                    let (finished, _) = cleared.finish::<ObjectHash, SessionId>();
                    self.put(Fact::Final(self.session))?;
                    self.repo.refresh()?;
                    let _ = finished.looked(&self.repo.state().view);
                    return Ok(self.listed);
                }
                // A collector has marked them. Nothing is published here that needs them: they stay listed, for
                // readers, and nobody relies on them.
                Verdict::StoreAgain(rest, _) => writer = rest,
                Verdict::Revoked => return Err(Error::Revoked),
            }
        }
    }
}
