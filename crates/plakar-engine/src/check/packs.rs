//! Proving packs: every byte, read once.
//!
//! What is known to be bad (a Bad fact says so) is no news: it is neither counted as proven unless it is, nor told. That
//! what was in it is whole elsewhere is the walk's to prove.

use crate::block::{Block, ItemId};
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::log::fact::Bad;
use crate::pack::{BlockEntry, PACK_BYTES_MAX, decode_pack, pack_name};
use crate::repository::{Repository, Unlocked};
use plakar_store::ErrorKind;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What was seen to be whole.
#[derive(Default)]
pub struct Verified {
    /// A number for each item that was proven, sorted.
    items: Vec<u64>,
    /// Bytes that were read.
    pub bytes: u64,
    /// Blocks that are not what they must be, and were not known for it.
    pub bad: Vec<Bad>,
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

/// Every pack that is announced and not dead, sorted.
pub fn counting(repo: &Repository) -> Vec<ObjectHash> {
    let mut packs: Vec<ObjectHash> = repo.state().view.announced_packs().collect();
    packs.sort_unstable();
    packs
}

/// Reads these packs.
pub fn verify(
    repo: &Repository,
    packs: &[ObjectHash],
    workers: usize,
    problem: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<Verified> {
    let Examined { items, bytes, mut damage } = examine(repo, packs, true, workers, progress, interrupted)?;
    if !damage.broken.is_empty() {
        // Whoever took a pack away has declared it dead before.
        let now = repo.base().clone().open()?;
        damage.broken.retain(|broken| !now.state().view.dead(broken.pack));
    }
    let bad = damage.tell(repo, problem)?;
    Ok(Verified { items, bytes, bad })
}

/// What was found in packs.
pub struct Examined {
    /// A number for each item that was proven, sorted, if they are to be remembered.
    items: Vec<u64>,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong.
    pub damage: Damage,
}

/// Reads these packs.
pub fn examine(
    repo: &Repository,
    packs: &[ObjectHash],
    remember: bool,
    workers: usize,
    progress: &mut dyn FnMut(u64),
    interrupted: &AtomicBool,
) -> Result<Examined> {
    let next = AtomicUsize::new(0);
    let bytes = AtomicU64::new(0);
    let running = AtomicUsize::new(workers.clamp(1, packs.len().max(1)));
    let found = Mutex::new((Vec::new(), Damage::default(), None::<Error>));
    let work = || {
        let mut items = Vec::new();
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            let mut damage = Damage::default();
            let result = verify_pack(repo, pack, &mut items, &mut damage);
            if !remember {
                items.clear();
            }
            let mut found = found.lock().expect("no panic while held");
            found.1.append(damage);
            match result {
                Ok(len) => {
                    bytes.fetch_add(len, Ordering::Relaxed);
                }
                Err(e) => {
                    // Who may not read it today may do so tomorrow: it is told, and not noted for good.
                    let is_denied = matches!(&e, Error::Store(e) if e.kind() == ErrorKind::Denied);
                    match repo.base().lost(e) {
                        Ok(what) => found.1.broken.push(Broken { pack: *pack, what, is_denied }),
                        Err(e) => {
                            found.2.get_or_insert(e);
                            next.store(usize::MAX / 2, Ordering::Relaxed);
                        }
                    }
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
    items.sort_unstable();
    items.dedup();
    Ok(Examined { items, bytes: bytes.into_inner(), damage })
}

/// What is wrong with packs.
#[derive(Default)]
pub struct Damage {
    /// Single blocks, and what to say.
    pub blocks: Vec<(Bad, String)>,
    /// Packs that are gone, cannot be read, or are not the bytes their name says.
    pub broken: Vec<Broken>,
}

/// A pack of which nothing was proven.
pub struct Broken {
    /// The pack.
    pub pack: ObjectHash,
    /// What to say.
    pub what: String,
    is_denied: bool,
}

impl Damage {
    fn append(&mut self, mut other: Damage) {
        self.blocks.append(&mut other.blocks);
        self.broken.append(&mut other.broken);
    }

    /// Tells what was not known. Returns the blocks; of a broken pack all that the index names.
    fn tell(self, repo: &Repository, problem: &mut dyn FnMut(&str)) -> Result<Vec<Bad>> {
        let view = &repo.state().view;
        let mut bad = BTreeSet::new();
        for (block, what) in self.blocks {
            if !view.bad(block.pack, block.offset) {
                problem(&what);
                bad.insert(block);
            }
        }
        if self.broken.is_empty() {
            return Ok(bad.into_iter().collect());
        }
        let of_broken: HashMap<_, _> = self.broken.iter().map(|b| (b.pack, b)).collect();
        let mut known: HashMap<ObjectHash, bool> = HashMap::new();
        for segment in repo.index().segments() {
            // A segment that cannot be read is told of elsewhere.
            let _ = segment.for_each(&repo.base().sealer, &mut |_, _, at| {
                if let Some(broken) = of_broken.get(&at.pack) {
                    let is_known = view.bad(at.pack, at.offset);
                    *known.entry(at.pack).or_insert(true) &= is_known;
                    if !is_known && !broken.is_denied {
                        bad.insert(Bad { pack: at.pack, offset: at.offset });
                    }
                }
                Ok(())
            });
        }
        for Broken { pack, what, .. } in &self.broken {
            if !known.get(pack).is_some_and(|known| *known) {
                problem(what);
            }
        }
        Ok(bad.into_iter().collect())
    }
}

fn verify_pack(
    repo: &Repository,
    hash: &ObjectHash,
    items: &mut Vec<u64>,
    damage: &mut Damage,
) -> Result<u64> {
    let base = repo.base();
    let name = pack_name(hash);
    let bytes = base.store.get(&name, PACK_BYTES_MAX)?;
    let whole = *blake3::hash(&bytes).as_bytes() == hash.0;
    let directory = decode_pack(&name, &bytes, &base.sealer)?;
    let healthy = verify_blocks(base, hash, &directory, &bytes, items, damage);
    if !whole && healthy {
        // What nobody reads is damaged: nothing is lost with it, but nothing says so of the next byte.
        return Err(Error::damaged(name, "its bytes do not hash to its name"));
    }
    Ok(bytes.len() as u64)
}

/// Proves the blocks of a pack that has these bytes. `false` when one is not what it must be.
pub fn verify_blocks(
    base: &Unlocked,
    hash: &ObjectHash,
    directory: &[BlockEntry],
    bytes: &[u8],
    items: &mut Vec<u64>,
    damage: &mut Damage,
) -> bool {
    let name = pack_name(hash);
    let mut healthy = true;
    for entry in directory {
        let object = format!("{name}, block at {}", entry.offset);
        let sealed = bytes[entry.offset as usize..][..entry.sealed_len as usize].to_vec();
        let block = match Block::open(entry.kind, entry.epoch, sealed, &base.sealer, &object) {
            Ok(block) => block,
            Err(e) => {
                healthy = false;
                damage.blocks.push((Bad { pack: *hash, offset: entry.offset }, e.to_string()));
                continue;
            }
        };
        let mut bad = |what: String| {
            healthy = false;
            damage.blocks.push((Bad { pack: *hash, offset: entry.offset }, format!("{object}: {what}")));
        };
        if block.count() != entry.items.len() {
            bad("holds another number of items than its pack's directory says".into());
        }
        for (ordinal, (id, len)) in entry.items.iter().enumerate() {
            let item = ItemId { kind: entry.kind, id: *id };
            match block.item(ordinal, &item, &base.keys) {
                Some(bytes) if bytes.len() == *len as usize => items.push(number(&item)),
                Some(_) => bad(format!("{item} is not as long as its pack's directory says")),
                None => bad(format!("does not hold {item}")),
            }
        }
    }
    healthy
}
