//! Reading chunks and nodes: found through the index, opened, and proven by their ids.

use crate::block::{Block, ItemId};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{ChunkId, NodeId, ObjectHash};
use crate::index::{Index, Place};
use crate::log::State;
use crate::pack::pack_name;
use crate::repository::{Repository, Unlocked};
use crate::tree::NodeSource;
use lru::LruCache;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, RwLock};

/// How many bytes of opened blocks a reader keeps, unless told otherwise.
pub const CACHE_BYTES_DEFAULT: usize = 32 << 20;

/// Reads items of a repository. May be shared between threads. It cannot write.
pub struct Reader {
    base: Unlocked,
    now: RwLock<(Arc<State>, Arc<Index>)>,
    cache: Mutex<Cache>,
    looked: Mutex<HashSet<Option<ObjectHash>>>,
}

struct Cache {
    blocks: LruCache<(ObjectHash, u32), Arc<Block>>,
    bytes: usize,
    bytes_max: usize,
}

impl Reader {
    /// Reads from `repository` as it was last refreshed, keeping up to `cache_bytes` of opened blocks.
    pub fn new(repository: &Repository, cache_bytes: usize) -> Reader {
        Reader {
            base: repository.base.clone(),
            now: RwLock::new((repository.state.clone(), repository.index.clone())),
            cache: Mutex::new(Cache { blocks: LruCache::unbounded(), bytes: 0, bytes_max: cache_bytes }),
            looked: Mutex::default(),
        }
    }

    /// The keys that items are named by.
    pub fn keys(&self) -> &DomainKeys {
        &self.base.keys
    }

    /// Reads together what [`places`](Self::places) will ask the index about these items.
    pub fn prefetch(&self, items: &[ItemId]) {
        let index = self.now.read().expect("no panic while held").1.clone();
        index.prefetch(items, &*self.base.store);
    }

    /// Where `item` may be read, the best place first: not in packs that are dead, last where a copy is known to be
    /// bad.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no place; index and store errors.
    pub fn places(&self, item: &ItemId) -> Result<Vec<Place>> {
        let (state, index) = self.now.read().expect("no panic while held").clone();
        let mut places = index.find(item)?;
        places.retain(|place| !state.view.dead(place.pack));
        places.sort_by_key(|place| state.view.bad(place.pack, place.offset));
        if places.is_empty() { Err(item.missing()) } else { Ok(places) }
    }

    /// The block at `place`, opened; from the cache if it was read lately.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not what was stored there; store errors.
    pub fn block(&self, item: &ItemId, place: &Place) -> Result<Arc<Block>> {
        let key = (place.pack, place.offset);
        if let Some(block) = self.cache.lock().expect("no panic while held").blocks.get(&key) {
            return Ok(block.clone());
        }
        let block = Arc::new(self.read_block(item, place)?);
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.bytes += block.raw_len();
        if let Some((_, old)) = cache.blocks.push(key, block.clone()) {
            cache.bytes -= old.raw_len();
        }
        while cache.bytes > cache.bytes_max && cache.blocks.len() > 1 {
            let (_, old) = cache.blocks.pop_lru().expect("there are more than one");
            cache.bytes -= old.raw_len();
        }
        Ok(block)
    }

    fn read_block(&self, item: &ItemId, place: &Place) -> Result<Block> {
        let name = pack_name(&place.pack);
        let object = format!("{name}, block at {}", place.offset);
        let sealed = self.base.store.get_range(&name, place.offset.into(), place.sealed_len as usize)?;
        Block::open(item.kind, place.epoch, sealed, &self.base.sealer, &object)
    }

    /// Calls `use_it` with the bytes of `item`, proven to be the item with this id. Other copies are tried when one is
    /// damaged; when a pack is gone the log is read again first.
    ///
    /// # Errors
    /// [`Error::Missing`], or what was wrong with the last copy that was tried.
    pub fn with_item<T>(&self, item: &ItemId, use_it: &mut dyn FnMut(&[u8]) -> T) -> Result<T> {
        let result = self.try_places(item, use_it);
        match result {
            Err(e) if e.is_not_found() || matches!(e, Error::Missing { .. }) => {
                self.look_again(item)?;
                self.try_places(item, use_it)
            }
            result => result,
        }
    }

    fn try_places<T>(&self, item: &ItemId, use_it: &mut dyn FnMut(&[u8]) -> T) -> Result<T> {
        let mut last = None;
        for place in self.places(item)? {
            let block = match self.block(item, &place) {
                Ok(block) => block,
                Err(e) if e.is_damage() || e.is_not_found() => {
                    last = Some(e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            match block.item(place.ordinal.into(), item, &self.base.keys) {
                Some(bytes) => return Ok(use_it(bytes)),
                None => {
                    let object = format!("{}, block at {}", pack_name(&place.pack), place.offset);
                    last = Some(Error::damaged(object, format!("does not hold {item}")));
                }
            }
        }
        Err(last.expect("there was a place"))
    }

    /// Reads the log again, unless it was read since the pack of this item (`None`: of items that are in no pack) was
    /// first missed. Whoever takes away a pack has announced before where else its items are: to look once is
    /// enough, and to look for each item would take for ever.
    fn look_again(&self, item: &ItemId) -> Result<()> {
        let packs =
            self.places(item).map(|places| places.into_iter().map(|place| Some(place.pack)).collect());
        let packs: Vec<_> = packs.unwrap_or_else(|_| vec![None]);
        // Held while looking: whoever misses the same pack meanwhile waits for what is found.
        let mut looked = self.looked.lock().expect("no panic while held");
        if packs.iter().all(|pack| looked.contains(pack)) {
            return Ok(());
        }
        let fresh = self.base.clone().open()?;
        *self.now.write().expect("no panic while held") = (fresh.state, fresh.index);
        looked.extend(packs);
        Ok(())
    }

    /// The bytes of a chunk.
    pub fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.with_item(&(*id).into(), &mut |bytes| bytes.to_vec())
    }
}

impl NodeSource for Reader {
    fn node(&self, id: &NodeId) -> Result<Vec<u8>> {
        self.with_item(&(*id).into(), &mut |bytes| bytes.to_vec())
    }
}
