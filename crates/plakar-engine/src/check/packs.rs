//! Proving packs: every byte, read once.

use crate::block::{Block, ItemId};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::pack::{PACK_BYTES_MAX, decode_pack, pack_name};
use crate::repository::Repository;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What was seen to be whole.
#[derive(Default)]
pub struct Verified {
    /// A number for each item that was proven, sorted.
    items: Vec<u64>,
    /// Bytes that were read.
    pub bytes: u64,
}

fn number(item: &ItemId) -> u64 {
    // Ids are keyed hashes: their first bytes tell them apart.
    u64::from_le_bytes(item.id[..8].try_into().expect("8 of 32")) ^ item.kind as u64
}

impl Verified {
    /// Whether an item was seen somewhere, with the right bytes.
    pub fn has(&self, item: &ItemId) -> bool {
        self.items.binary_search(&number(item)).is_ok()
    }
}

/// Reads every pack that is announced and not dead.
pub fn verify(
    repo: &Repository,
    workers: usize,
    problem: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<Verified> {
    let view = &repo.state().view;
    let mut packs: Vec<ObjectHash> = view.announced_packs().filter(|pack| !view.dead(*pack)).collect();
    packs.sort_unstable();
    let next = AtomicUsize::new(0);
    let bytes = AtomicU64::new(0);
    let running = AtomicUsize::new(workers.clamp(1, packs.len().max(1)));
    let found = Mutex::new((Vec::new(), Vec::<String>::new(), None::<Error>));
    let work = || {
        let mut items = Vec::new();
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            let mut damage = Vec::new();
            let result = verify_pack(repo, pack, &mut items, &mut damage);
            let mut found = found.lock().expect("no panic while held");
            found.1.append(&mut damage);
            match result {
                Ok(len) => {
                    bytes.fetch_add(len, Ordering::Relaxed);
                }
                Err(e) if e.is_damage() || e.is_not_found() => found.1.push(e.to_string()),
                Err(e) => {
                    found.2.get_or_insert(e);
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                }
            }
        }
        found.lock().expect("no panic while held").0.append(&mut items);
        running.fetch_sub(1, Ordering::AcqRel);
    };
    std::thread::scope(|scope| {
        for _ in 0..running.load(Ordering::Relaxed) {
            scope.spawn(work);
        }
        while running.load(Ordering::Acquire) > 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            progress(bytes.load(Ordering::Relaxed));
        }
    });
    let (mut items, damage, error) = found.into_inner().expect("no panic while held");
    if let Some(e) = error {
        return Err(e);
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    damage.iter().for_each(|what| problem(what));
    items.sort_unstable();
    items.dedup();
    Ok(Verified { items, bytes: bytes.into_inner() })
}

fn verify_pack(
    repo: &Repository,
    hash: &ObjectHash,
    items: &mut Vec<u64>,
    damage: &mut Vec<String>,
) -> Result<u64> {
    let base = repo.base();
    let name = pack_name(hash);
    let bytes = base.store.get(&name, PACK_BYTES_MAX)?;
    if *blake3::hash(&bytes).as_bytes() != hash.0 {
        damage.push(format!("{name}: its bytes do not hash to its name"));
    }
    let directory = decode_pack(&name, &bytes, &base.sealer)?;
    for entry in directory {
        let object = format!("{name}, block at {}", entry.offset);
        let sealed = bytes[entry.offset as usize..][..entry.sealed_len as usize].to_vec();
        let block = match Block::open(entry.kind, entry.epoch, sealed, &base.sealer, &object) {
            Ok(block) => block,
            Err(e) => {
                damage.push(e.to_string());
                continue;
            }
        };
        if block.count() != entry.items.len() {
            damage.push(format!("{object}: holds another number of items than its pack's directory says"));
        }
        for (ordinal, (id, len)) in entry.items.iter().enumerate() {
            let item = ItemId { kind: entry.kind, id: *id };
            match block.item(ordinal, &item, &base.keys) {
                Some(bytes) if bytes.len() == *len as usize => items.push(number(&item)),
                Some(_) => {
                    damage.push(format!("{object}: {item} is not as long as its pack's directory says"))
                }
                None => damage.push(format!("{object}: does not hold {item}")),
            }
        }
    }
    Ok(bytes.len() as u64)
}
