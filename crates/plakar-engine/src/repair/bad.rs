//! Copies that cannot be read.

use super::survey::packs_in;
use super::{Packs, RepairObserver, RepairOptions, go_on, only_damage};
use crate::block::{Block, ItemKind};
use crate::check::packs::examine;
use crate::error::Result;
use crate::id::{EpochId, ObjectHash};
use crate::log::fact::Bad;
use crate::pack::pack_name;
use crate::repository::Repository;
use crate::write::mark_bad;
use plakar_store::Store;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;

/// Reads every pack that counts, but those that were `proven` already. Returns the blocks that are not what they must be, and
/// were not known for it.
///
/// Of a pack whose directory cannot be read every block is read that the index lists. One that is not there at all is left
/// to [`missing`].
pub fn find(
    repo: &Repository,
    proven: &HashSet<ObjectHash>,
    options: &RepairOptions,
    observer: &mut dyn RepairObserver,
    interrupted: &AtomicBool,
) -> Result<Vec<Bad>> {
    let view = &repo.state().view;
    let there = packs_in(&*repo.base().store)?;
    let counts = |pack: &ObjectHash| view.announced(*pack) && !proven.contains(pack);
    let packs: Vec<_> = there.into_iter().filter(counts).collect();
    let mut progress = |bytes| observer.progress(bytes);
    let examined = examine(repo, &packs, false, options.workers, &mut progress, interrupted)?;
    let mut bad = Vec::new();
    for (block, what) in examined.damage.blocks {
        if !view.bad(block.pack, block.offset) {
            observer.damage(&what);
            bad.push(block);
        }
    }
    let broken: HashSet<_> = examined.damage.broken.iter().map(|broken| broken.pack).collect();
    for ((pack, offset), (kind, epoch, len)) in blocks_of(repo, &broken) {
        go_on(interrupted)?;
        if view.bad(pack, offset) {
            continue;
        }
        let object = format!("{}, block at {offset}", pack_name(&pack));
        let sealed = repo.base().store.get_range(&pack_name(&pack), offset.into(), len as usize);
        let opened = sealed
            .map_err(crate::Error::from)
            .and_then(|sealed| Block::authenticate(kind, epoch, sealed, &repo.base().sealer, &object));
        match only_damage(opened)? {
            Err(e) if !e.is_not_found() => {
                observer.damage(&e.to_string());
                bad.push(Bad { pack, offset });
            }
            _ => {}
        }
    }
    Ok(bad)
}

/// Puts Bads.
pub fn note(repo: &mut Repository, store: &dyn Store, bad: Vec<Bad>, options: &RepairOptions) -> Result<()> {
    super::refuse_unless_writable(repo)?;
    mark_bad(repo, store, &options.author, &bad, options.now)
}

/// The packs that are announced, not dead, and not there.
pub fn missing(repo: &mut Repository) -> Result<Packs> {
    let there = packs_in(&*repo.base().store)?;
    // What was deleted before that was dead before, and this look shows it.
    repo.refresh()?;
    let mut missing: Packs =
        repo.state().view.announced_packs().filter(|pack| !there.contains(pack)).collect();
    // Announced by somebody since they were listed.
    let mut result = Ok(());
    missing.retain(|pack| match only_damage(repo.base().store.len(&pack_name(pack)).map_err(Into::into)) {
        Ok(Err(e)) => e.is_not_found(),
        Ok(Ok(_)) => false,
        Err(e) => {
            result = Err(e);
            false
        }
    });
    result.map(|()| missing)
}

/// All blocks that the index lists of these packs and that are not known to be bad.
pub fn all_in(repo: &Repository, packs: &Packs) -> Result<Vec<Bad>> {
    let view = &repo.state().view;
    let blocks = blocks_of(repo, &packs.iter().copied().collect());
    let all = blocks.into_keys().map(|(pack, offset)| Bad { pack, offset });
    Ok(all.filter(|bad| !view.bad(bad.pack, bad.offset)).collect())
}

/// Whether the index lists a block of this pack that is not known to be bad.
pub fn is_read(repo: &Repository, pack: &ObjectHash) -> Result<bool> {
    Ok(!repo.state().view.dead(*pack) && !all_in(repo, &vec![*pack])?.is_empty())
}

type Blocks = BTreeMap<(ObjectHash, u32), (ItemKind, EpochId, u32)>;

/// The blocks of these packs, as far as segments list them.
fn blocks_of(repo: &Repository, packs: &HashSet<ObjectHash>) -> Blocks {
    let mut blocks = Blocks::new();
    if packs.is_empty() {
        return blocks;
    }
    for segment in repo.index().segments() {
        // What is wrong with a segment is told elsewhere.
        let _ = segment.for_each(&repo.base().sealer, &mut |kind, _, at| {
            if packs.contains(&at.pack) {
                blocks.insert((at.pack, at.offset), (kind, at.epoch, at.sealed_len));
            }
            Ok(())
        });
    }
    blocks
}
