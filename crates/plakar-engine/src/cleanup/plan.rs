//! Which packs go. Whatever is chosen here, the look after the Mark decides what of it has to be stored again: this is
//! economy, not safety.

use super::live::Live;
use super::{CleanupOptions, Estimate};
use crate::error::Result;
use crate::id::{ObjectHash, SessionId};
use crate::log::fact::Fact;
use crate::pack::hash_in_pack_name;
use crate::repository::Repository;
use plakar_store::ReadStore;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A pack with so little is small: many of those are made one.
const SMALL_SHARE: u64 = 16;
/// So many small packs are left as they are.
const SMALL_MAX: usize = 16;

/// What a pack is, for choosing.
#[derive(Debug, Clone, Copy, Default)]
struct Worth {
    /// Sealed bytes of blocks in it, as far as they are listed.
    listed: u64,
    /// How much of that is needed and would have to be stored again.
    needed: u64,
    /// Something in it is known to be unreadable,
    bad: bool,
    /// and is needed: it stays for whoever mends it.
    hopeless: bool,
}

/// The packs in the store, and how long each is.
pub type Sizes = HashMap<ObjectHash, Stored>;

/// A pack in the store.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Its length in bytes.
    pub len: u64,
    /// When the store received it, in milliseconds since 1970.
    pub received_ms: i64,
}

/// Lists the packs.
pub fn sizes(store: &dyn ReadStore) -> Result<Sizes> {
    let mut sizes = Sizes::new();
    store.list("packs/", &mut |listed| {
        if let Some(hash) = hash_in_pack_name(&listed.name) {
            sizes.insert(hash, Stored { len: listed.len, received_ms: listed.received_ms });
        }
        Ok(())
    })?;
    Ok(sizes)
}

/// What a run is about to do.
pub struct Chosen {
    /// Packs that go; what is needed of them is stored again.
    pub packs: BTreeSet<ObjectHash>,
    /// Sessions that were silent for too long.
    pub revokes: BTreeSet<SessionId>,
    /// What it comes to.
    pub estimate: Estimate,
}

/// The unfinished sessions of which nothing was heard since a time that `is_old`, given in milliseconds since 1970.
pub fn silent(repo: &Repository, is_old: &dyn Fn(i64) -> bool) -> BTreeSet<SessionId> {
    let mut heard = HashMap::new();
    for (_, object) in repo.log().objects() {
        for fact in &object.facts {
            if let Fact::Prepared(prepared) = fact {
                let at = heard.entry(prepared.session).or_insert(object.received_ms);
                *at = object.received_ms.max(*at);
            }
        }
    }
    let view = &repo.state().view;
    let silent = |session: &SessionId| heard.get(session).is_none_or(|at| is_old(*at));
    view.unfinished_sessions().filter(silent).collect()
}

/// Chooses, after everything needed was noted in `live`.
pub fn choose(
    repo: &Repository,
    live: &Live,
    sizes: &Sizes,
    revokes: BTreeSet<SessionId>,
    options: &CleanupOptions,
) -> Chosen {
    let view = &repo.state().view;
    let worth = worth(repo, live);
    let mut estimate = Estimate { revoked: revokes.len() as u64, ..Estimate::default() };
    let (mut packs, mut partly, mut small) = (BTreeSet::new(), Vec::new(), Vec::new());
    let small_max = u64::from(repo.base().replica().pack_bytes) / SMALL_SHARE;
    for (hash, stored) in sizes {
        let listed = worth.get(hash).copied().unwrap_or_default();
        if view.dead(*hash) {
            estimate.dead_packs += 1;
            estimate.freed += stored.len;
        } else if listed.hopeless {
            estimate.hopeless += 1;
        } else if !view.announced(*hash) && !view.marked(*hash) {
            // A writer may be about to announce it. If it does after all, it sees the Mark.
            if options.is_old(stored.received_ms) {
                estimate.strays += 1;
                packs.insert(*hash);
            }
        } else if view.marked(*hash) || listed.needed == 0 {
            // Of a run that was cut short, or of no use to anybody.
            estimate.moved += listed.needed;
            packs.insert(*hash);
        } else if listed.bad || 4 * (listed.listed - listed.needed) >= listed.listed {
            // With bad bytes a pack can be neither proven by its name nor copied as it is.
            partly.push((*hash, listed));
        } else if stored.len <= small_max {
            small.push((*hash, listed));
        }
    }
    // The most is freed for the least where the least is needed.
    partly.sort_by_key(|(hash, worth)| (!worth.bad, worth.needed * 1000 / worth.listed.max(1), *hash));
    let few = small.len() < SMALL_MAX;
    small.sort_by_key(|(hash, worth)| (worth.listed, *hash));
    for (hash, worth) in partly.into_iter().chain(small.into_iter().filter(|_| !few)) {
        if estimate.moved.saturating_add(worth.needed) > options.max_repack {
            estimate.left += 1;
            continue;
        }
        estimate.repacked += 1;
        estimate.moved += worth.needed;
        packs.insert(hash);
    }
    estimate.packs = packs.len() as u64;
    estimate.freed += packs.iter().map(|hash| sizes[hash].len).sum::<u64>();
    estimate.freed = estimate.freed.saturating_sub(estimate.moved);
    Chosen { packs, revokes, estimate }
}

/// How much of each pack is needed. Of several copies one is: in a pack that may be relied on, the one in the pack that was
/// met last.
fn worth(repo: &Repository, live: &Live) -> HashMap<ObjectHash, Worth> {
    let view = &repo.state().view;
    let blocks = live.blocks();
    let rank = |number: u32| {
        let block = blocks[number as usize];
        let pack = live.pack(block.pack);
        (!view.bad(pack, block.offset), view.may_rely(pack), block.pack)
    };
    let mut needed = vec![0u32; blocks.len()];
    let mut hopeless = HashSet::new();
    live.for_each_needed(&mut |copies| {
        let best = copies.iter().copied().max_by_key(|copy| rank(*copy)).expect("it is listed somewhere");
        needed[best as usize] += 1;
        if !rank(best).0 {
            hopeless.extend(copies.iter().map(|copy| blocks[*copy as usize].pack));
        }
    });
    let mut worth: HashMap<ObjectHash, Worth> = HashMap::new();
    for (block, needed) in blocks.iter().zip(needed) {
        let of_pack = worth.entry(live.pack(block.pack)).or_default();
        let len = u64::from(block.len);
        of_pack.listed += len;
        of_pack.needed += len * u64::from(needed.min(block.items)) / u64::from(block.items.max(1));
        of_pack.bad |= view.bad(live.pack(block.pack), block.offset);
        of_pack.hopeless |= hopeless.contains(&block.pack);
    }
    worth
}
