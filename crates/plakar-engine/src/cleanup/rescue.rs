//! Storing again, as a writer does, what is still needed of packs that are about to go.

use super::CleanupOptions;
use super::going::Going;
use super::live::Live;
use crate::block::{Block, ItemId, ItemKind, SealedBlock};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::log::fact::Bad;
use crate::pack::{BlockEntry, pack_name, read_directory};
use crate::repository::Repository;
use crate::write::{Owner, Session, mark_bad};
use plakar_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What has to be stored again.
pub struct Wanted<'a> {
    /// What is needed.
    pub live: &'a Live,
    /// Which copies of that.
    pub going: &'a Going<'a>,
    /// The packs they are in.
    pub packs: &'a [ObjectHash],
}

/// Why a pack could not be emptied.
struct Unreadable {
    bad: Option<Bad>,
    error: Error,
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Unreadable {
        Unreadable { bad: None, error }
    }
}

/// Stores again what is `wanted`, and announces it. Whole blocks are moved as they are sealed when all of
/// their items are needed. `moved` hears of the sealed bytes that were read.
///
/// # Errors
/// What cannot be read is noted as bad, so that the next run leaves its pack where it is; store errors.
pub fn rescue(
    repo: Repository,
    store: &Arc<dyn Store>,
    wanted: &Wanted,
    options: &CleanupOptions,
    moved: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<Repository> {
    let mut session = Session::rescue(repo, store.clone(), options.session())?;
    for pack in wanted.packs {
        let result = empty(&mut session, store, wanted, pack, moved, interrupted);
        match result {
            Ok(()) => {}
            // Another run was faster; what it stored again shows in the next look.
            Err(e) if e.error.is_not_found() => {}
            Err(Unreadable { bad, error }) => {
                let mut repo = session.give_up(None)?;
                if let Some(bad) = bad {
                    mark_bad(&mut repo, &**store, &options.author, &[bad], options.now)?;
                }
                return Err(match error.is_damage() {
                    true => Error::damaged(
                        error,
                        "a snapshot needs it, so nothing was deleted: 'plakar heal' may mend it",
                    ),
                    false => error,
                });
            }
        }
    }
    // Another run may have taken what this one stored, or relied on: what is needed then shows in the next look.
    session.publish(None).map(|(_, repo)| repo)
}

fn empty(
    session: &mut Session,
    store: &Arc<dyn Store>,
    wanted: &Wanted,
    pack: &ObjectHash,
    moved: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<(), Unreadable> {
    let sealer = session.repository().base().sealer.clone();
    let mut copies = Vec::new();
    for entry in read_directory(&**store, pack, &sealer)? {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        let here = wanted.live.block_at(pack, entry.offset);
        let mut items = Vec::new();
        for (ordinal, (id, _)) in entry.items.iter().enumerate() {
            let item = ItemId { kind: entry.kind, id: *id };
            wanted.live.copies_of_needed(&item, &mut copies);
            if here.is_some() && wanted.going.copy(&copies) == here {
                items.push((ordinal, item));
            }
        }
        if items.is_empty() {
            continue;
        }
        let sealed = store.get_range(&pack_name(pack), entry.offset.into(), entry.sealed_len as usize);
        let sealed = sealed.map_err(Error::from)?;
        moved(sealed.len() as u64);
        let unreadable = |error: Error| Unreadable {
            bad: error.is_damage().then_some(Bad { pack: *pack, offset: entry.offset }),
            error,
        };
        store_block(session, pack, &entry, sealed, &items).map_err(unreadable)?;
    }
    Ok(())
}

fn store_block(
    session: &mut Session,
    pack: &ObjectHash,
    entry: &BlockEntry,
    sealed: Vec<u8>,
    wanted: &[(usize, ItemId)],
) -> Result<()> {
    let (keys, sealer) = (session.keys(), session.repository().base().sealer.clone());
    let object = format!("{}, block at {}", pack_name(pack), entry.offset);
    let block = Block::open(entry.kind, entry.epoch, sealed.clone(), &sealer, &object)?;
    let proven = |ordinal: usize, item: &ItemId| {
        let bytes = block.item(ordinal, item, &keys);
        bytes.ok_or_else(|| Error::damaged(&object, format!("does not hold {item}")))
    };
    if wanted.len() == entry.items.len() {
        wanted.iter().try_for_each(|(ordinal, item)| proven(*ordinal, item).map(drop))?;
        let items = entry.items.clone();
        return session.put_sealed(SealedBlock {
            kind: entry.kind,
            epoch: entry.epoch,
            items,
            bytes: sealed,
        });
    }
    for (ordinal, item) in wanted {
        let owner = if item.kind == ItemKind::Node { Owner::NODES } else { Owner::MOVED };
        session.put_item(owner, *item, proven(*ordinal, item)?)?;
    }
    Ok(())
}
