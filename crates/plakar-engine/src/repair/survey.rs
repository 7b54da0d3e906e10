//! What there is: which segments are lost, and which packs are not listed.

use super::{Packs, RepairObserver, RepairReport, go_on, only_damage, walk};
use crate::block::ItemKind;
use crate::check::hash_object;
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::index::ID_PREFIX_LEN;
use crate::index::segment::{Location, segment_name};
use crate::log::fact::SegmentRef;
use crate::pack::{BlockEntry, hash_in_pack_name, pack_name, read_directory};
use crate::repository::Repository;
use plakar_store::ReadStore;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicBool;

/// What rows come to: how many there are, and the sum of a hash of each, keyed for each run. Equal sums mean equal rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    rows: u64,
    sum: u64,
}

/// Adds up rows.
#[derive(Default)]
pub struct Summing(RandomState);

impl Summing {
    fn add(&self, to: &mut Sum, kind: ItemKind, id: &[u8; ID_PREFIX_LEN], at: &Location) {
        let row = (kind, id, at.offset, at.sealed_len, at.epoch, at.ordinal);
        to.rows += 1;
        to.sum = to.sum.wrapping_add(self.0.hash_one(row));
    }

    /// What the rows come to that a directory gives.
    fn of_directory(&self, pack: &ObjectHash, directory: &[BlockEntry]) -> Sum {
        let mut sum = Sum::default();
        for_each_row(pack, directory, &mut |kind, id, at| self.add(&mut sum, kind, id, at));
        sum
    }
}

/// Calls `each` with every row that a pack's directory gives.
pub fn for_each_row(
    pack: &ObjectHash,
    directory: &[BlockEntry],
    each: &mut dyn FnMut(ItemKind, &[u8; ID_PREFIX_LEN], &Location),
) {
    for block in directory {
        for (ordinal, (id, _)) in block.items.iter().enumerate() {
            let at = Location {
                pack: *pack,
                offset: block.offset,
                sealed_len: block.sealed_len,
                epoch: block.epoch,
                ordinal: ordinal as u16,
            };
            each(block.kind, id.first_chunk().expect("ids are longer"), &at);
        }
    }
}

/// For each pack, what the rows of each segment come to that lists it.
type Sums = HashMap<ObjectHash, Vec<Sum>>;

/// What was found.
#[derive(Default)]
pub struct Survey {
    /// Segments that count and are lost or damaged, and in which way.
    pub lost: BTreeMap<ObjectHash, String>,
    /// Packs that are announced and that no segment lists wholly.
    pub unlisted: Packs,
    /// Packs that nobody announced and that are not dead, if they are to be announced.
    pub strays: Packs,
    /// How many there are, if they are left alone.
    left: u64,
    /// Packs whose directory cannot be read.
    pub unreadable: BTreeSet<ObjectHash>,
    /// Those of them of which a segment that is damaged lists more than any that is whole.
    pub salvage: BTreeSet<ObjectHash>,
    missing: u64,
}

impl Survey {
    /// Looks at all segments that count and at all packs. What is damaged is told.
    pub fn make(
        repo: &mut Repository,
        observer: &mut dyn RepairObserver,
        interrupted: &AtomicBool,
    ) -> Result<Survey> {
        let mut found = Survey::default();
        let summing = Summing::default();
        let mut sums = Sums::new();
        found.segments(repo, &summing, &mut sums, interrupted)?;
        found.lost.values().for_each(|what| observer.damage(what));
        // Whatever a lost segment listed was there before any fact named it: so all of that is listed now.
        found.packs(repo, &summing, &sums, observer, interrupted)?;
        found.choose_strays(repo, observer, interrupted)?;
        found.salvageable(repo, &summing, &sums)?;
        Ok(found)
    }

    /// What would be done about it.
    pub fn report(&self) -> RepairReport {
        RepairReport {
            segments: self.lost.len() as u64,
            packs: (self.unlisted.len() + self.strays.len()) as u64,
            strays: self.strays.len() as u64,
            left: self.left,
            unreadable: self.unreadable.len() as u64,
            missing: self.missing,
            ..RepairReport::default()
        }
    }

    fn segments(
        &mut self,
        repo: &mut Repository,
        summing: &Summing,
        sums: &mut Sums,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let mut suspects = BTreeMap::new();
        for (hash, segment) in repo.state().segments() {
            go_on(interrupted)?;
            if let Err(e) = only_damage(read_segment(repo, hash, segment, summing, sums))? {
                suspects.insert(*hash, e);
            }
        }
        if suspects.is_empty() {
            return Ok(());
        }
        // A cleanup may have deleted what it merged: only then a fact that was put before says so.
        repo.refresh()?;
        for (hash, segment) in repo.state().segments() {
            let Some(e) = suspects.remove(hash) else { continue };
            if only_damage(read_segment(repo, hash, segment, summing, sums))?.is_err() {
                let what = match segment {
                    SegmentRef::Stored(_) if e.is_not_found() => {
                        format!("{}: is missing", segment_name(hash))
                    }
                    SegmentRef::Stored(_) => e.to_string(),
                    SegmentRef::Embedded(_) => format!("index segment {hash}, inside a fact: {e}"),
                };
                self.lost.insert(*hash, what);
            }
        }
        Ok(())
    }

    fn packs(
        &mut self,
        repo: &Repository,
        summing: &Summing,
        sums: &Sums,
        observer: &mut dyn RepairObserver,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let view = &repo.state().view;
        let there = packs_in(&*repo.base().store)?;
        for pack in &there {
            go_on(interrupted)?;
            if view.dead(*pack) {
                continue;
            }
            if !view.announced(*pack) {
                self.strays.push(*pack);
                continue;
            }
            match only_damage(read_directory(&*repo.base().store, pack, &repo.base().sealer))? {
                Ok(directory) => {
                    let sum = summing.of_directory(pack, &directory);
                    if !sums.get(pack).is_some_and(|sums| sums.contains(&sum)) {
                        self.unlisted.push(*pack);
                    }
                }
                // Deleted since it was listed: it was dead.
                Err(e) if e.is_not_found() => {}
                Err(e) => {
                    observer.damage(&e.to_string());
                    self.unreadable.insert(*pack);
                }
            }
        }
        for pack in view.announced_packs().filter(|pack| !there.contains(pack)) {
            self.missing += 1;
            observer.damage(&format!("{}: is missing", pack_name(&pack)));
        }
        Ok(())
    }

    /// Chooses packs without a directory of which segments that are damaged list something.
    fn salvageable(&mut self, repo: &Repository, summing: &Summing, sums: &Sums) -> Result<()> {
        for hash in self.lost.keys().filter(|_| !self.unreadable.is_empty()) {
            let Some(segment) = repo.segment(hash) else { continue };
            let mut readable: HashMap<ObjectHash, Sum> = HashMap::new();
            segment.for_each_readable(&repo.base().sealer, &mut |kind, id, at| {
                if self.unreadable.contains(&at.pack) {
                    summing.add(readable.entry(at.pack).or_default(), kind, id, at);
                }
            })?;
            let known = |(pack, sum): &(ObjectHash, Sum)| sums.get(pack).is_some_and(|s| s.contains(sum));
            self.salvage.extend(readable.into_iter().filter(|one| !known(one)).map(|(pack, _)| pack));
        }
        Ok(())
    }

    /// Leaves packs alone that nobody announced, unless something is known to be lost: it may be in them.
    fn choose_strays(
        &mut self,
        repo: &Repository,
        observer: &mut dyn RepairObserver,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        if self.strays.is_empty() {
            return Ok(());
        }
        let known = !self.lost.is_empty() || repo.log().damaged().next().is_some();
        // A Final without its Prepared is among what a walk tells.
        if !known && walk(repo, &mut |_| (), interrupted)?.wrong == 0 {
            self.left = std::mem::take(&mut self.strays).len() as u64;
        }
        for pack in std::mem::take(&mut self.strays) {
            go_on(interrupted)?;
            match only_damage(read_directory(&*repo.base().store, &pack, &repo.base().sealer))? {
                Ok(_) => self.strays.push(pack),
                Err(e) if e.is_not_found() => {}
                Err(e) => {
                    observer.damage(&e.to_string());
                    self.unreadable.insert(pack);
                }
            }
        }
        Ok(())
    }
}

/// The packs in the store, in the order of their names.
pub fn packs_in(store: &dyn ReadStore) -> Result<BTreeSet<ObjectHash>> {
    let mut packs = BTreeSet::new();
    store.list("packs/", &mut |listed| {
        packs.extend(hash_in_pack_name(&listed.name));
        Ok(())
    })?;
    Ok(packs)
}

/// Reads all of a segment and notes what it lists.
fn read_segment(
    repo: &Repository,
    hash: &ObjectHash,
    segment: &SegmentRef,
    summing: &Summing,
    sums: &mut Sums,
) -> Result<()> {
    let name = segment_name(hash);
    let Some(opened) = repo.segment(hash) else {
        let why = repo.damaged_segments().find(|(damaged, _)| damaged == hash);
        return Err(match why {
            Some((_, Error::Store(e))) => Error::Store(plakar_store::Error::new(e.kind(), e.to_string())),
            Some((_, e)) => Error::damaged("index", e.to_string()),
            None => Error::damaged(name, "was not opened"),
        });
    };
    if matches!(segment, SegmentRef::Stored(_)) {
        hash_object(repo, &name, hash)?;
    }
    let mut here: HashMap<ObjectHash, Sum> = HashMap::new();
    opened.for_each(&repo.base().sealer, &mut |kind, id, at| {
        summing.add(here.entry(at.pack).or_default(), kind, id, at);
        Ok(())
    })?;
    for (pack, sum) in here {
        let known = sums.entry(pack).or_default();
        if !known.contains(&sum) {
            known.push(sum);
        }
    }
    Ok(())
}
