//! Reading chunks and nodes: found through the index, opened, and proven by their ids.

use crate::block::{Block, ItemId, ItemKind};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{ChunkId, NodeId, ObjectHash};
use crate::index::{Index, Place};
use crate::log::State;
use crate::pack::pack_name;
use crate::repository::{Repository, Unlocked};
use crate::tree::NodeSource;
use lru::LruCache;
use plakar_store::Range;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};

/// How many bytes of opened blocks a reader keeps, unless told otherwise.
pub const CACHE_BYTES_DEFAULT: usize = 32 << 20;
/// So many sealed bytes are asked for together when blocks are read ahead.
const AHEAD_BYTES: usize = 2 << 20;

/// Reads items of a repository. May be shared between threads. It cannot write.
pub struct Reader {
    base: Unlocked,
    now: RwLock<(Arc<State>, Arc<Index>)>,
    cache: Mutex<Cache>,
    /// Told when there are fewer blocks that were read ahead and not asked for yet.
    room: Condvar,
    looked: Mutex<HashSet<Option<ObjectHash>>>,
}

type Key = (ObjectHash, u32);

struct Cache {
    blocks: LruCache<Key, Cached>,
    bytes: usize,
    bytes_max: usize,
    /// Bytes of blocks that were read ahead and not asked for yet.
    unread: usize,
}

struct Cached {
    block: Arc<Block>,
    unread: bool,
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<Block>> {
        let cached = self.blocks.get_mut(key)?;
        if std::mem::take(&mut cached.unread) {
            self.unread -= cached.block.raw_len();
        }
        Some(cached.block.clone())
    }

    fn put(&mut self, key: Key, block: Arc<Block>, unread: bool) {
        self.bytes += block.raw_len();
        self.unread += if unread { block.raw_len() } else { 0 };
        let replaced = self.blocks.push(key, Cached { block, unread });
        replaced.into_iter().for_each(|(_, old)| self.gone(&old));
        while self.bytes > self.bytes_max && self.blocks.len() > 1 {
            let (_, old) = self.blocks.pop_lru().expect("there are more than one");
            self.gone(&old);
        }
    }

    fn gone(&mut self, old: &Cached) {
        self.bytes -= old.block.raw_len();
        self.unread -= if old.unread { old.block.raw_len() } else { 0 };
    }
}

impl Reader {
    /// Reads from `repository` as it was last refreshed, keeping up to `cache_bytes` of opened blocks.
    pub fn new(repository: &Repository, cache_bytes: usize) -> Reader {
        Reader {
            base: repository.base.clone(),
            now: RwLock::new((repository.state.clone(), repository.index.clone())),
            cache: Mutex::new(Cache {
                blocks: LruCache::unbounded(),
                bytes: 0,
                bytes_max: cache_bytes,
                unread: 0,
            }),
            room: Condvar::new(),
            looked: Mutex::default(),
        }
    }

    pub(crate) fn base(&self) -> &Unlocked {
        &self.base
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

    /// Whether requests take so long that what is wanted soon should be asked for together.
    pub fn is_far(&self) -> bool {
        !self.base.store.capabilities().local
    }

    /// Calls `each` with the number of each place, and the block there, in this order. They are read in one request and opened
    /// one by one; those that are read are not remembered. None where that failed: whoever wants an item of it
    /// asks for that, then.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn for_each_block<E>(
        &self,
        places: &[(ItemKind, Place)],
        each: &mut dyn FnMut(usize, Option<Arc<Block>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let known: Vec<_> =
            places.iter().map(|(_, place)| self.cache().get(&(place.pack, place.offset))).collect();
        let unknown = places.iter().zip(&known).filter(|(_, known)| known.is_none());
        let ranges: Vec<_> = unknown.map(|((_, place), _)| range(place)).collect();
        let sealed = if ranges.is_empty() { Vec::new() } else { self.base.store.get_ranges(&ranges) };
        let mut sealed = sealed.into_iter();
        for (number, ((kind, place), known)) in places.iter().zip(known).enumerate() {
            let read = || {
                let sealed = sealed.next().expect("each range is answered").ok()?;
                let object = pack_name(&place.pack);
                Block::open(*kind, place.epoch, sealed, &self.base.sealer, &object).ok().map(Arc::new)
            };
            each(number, known.or_else(read))?;
        }
        Ok(())
    }

    /// The block at `place`, opened; from the cache if it was read lately.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not what was stored there; store errors.
    pub fn block(&self, item: &ItemId, place: &Place) -> Result<Arc<Block>> {
        let key = (place.pack, place.offset);
        if let Some(block) = self.cache().get(&key) {
            self.room.notify_all();
            return Ok(block);
        }
        let block = Arc::new(self.read_block(item, place)?);
        self.cache().put(key, block.clone(), false);
        self.room.notify_all();
        Ok(block)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("no panic while held")
    }

    /// Reads the blocks of `items`, in this order, before they are asked for, and proves their items: never more than a
    /// quarter of what is kept, so it waits while nobody asks. What cannot be read is left to who asks.
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub(crate) fn read_ahead(&self, items: &[ItemId], stop: &AtomicBool) -> Result<()> {
        let mut met = HashSet::new();
        let mut places = Vec::new();
        for item in items {
            let first = self.first_place(item)?;
            places.extend(first.filter(|p| met.insert((p.pack, p.offset))).map(|place| (item.kind, place)));
        }
        let mut places = places.into_iter().peekable();
        while places.peek().is_some() {
            let (mut wave, mut ranges, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((kind, place)) = places.next_if(|_| bytes < AHEAD_BYTES) {
                if !self.cache().blocks.contains(&(place.pack, place.offset)) {
                    ranges.push(range(&place));
                    wave.push((kind, place));
                    bytes += place.sealed_len as usize;
                }
            }
            for ((kind, place), sealed) in wave.into_iter().zip(self.base.store.get_ranges(&ranges)) {
                let sealed = match sealed {
                    Ok(sealed) => sealed,
                    Err(e) => {
                        self.lost(e.into())?;
                        continue;
                    }
                };
                let object = pack_name(&place.pack);
                let Ok(mut block) = Block::open(kind, place.epoch, sealed, &self.base.sealer, &object) else {
                    continue;
                };
                block.name_items(&self.base.keys);
                if !self.keep_ahead(&place, Arc::new(block), stop) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The best place of `item`, if one is known.
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub(crate) fn first_place(&self, item: &ItemId) -> Result<Option<Place>> {
        match self.places(item) {
            Ok(places) => Ok(places.first().copied()),
            Err(e) => self.lost(e).map(|_| None),
        }
    }

    /// Why something cannot be had, if the store as a whole can still be read.
    ///
    /// # Errors
    /// The error itself, if it says nothing of what is stored.
    pub(crate) fn lost(&self, error: Error) -> Result<String> {
        self.base.lost(error)
    }

    /// Keeps a block that will be asked for, as soon as there is room. `false` when told to stop meanwhile.
    pub(crate) fn keep_ahead(&self, place: &Place, block: Arc<Block>, stop: &AtomicBool) -> bool {
        let mut cache = self.cache();
        while cache.unread >= cache.bytes_max / 4 && !stop.load(Ordering::Relaxed) {
            cache = self.room.wait(cache).expect("no panic while held");
        }
        let key = (place.pack, place.offset);
        if !cache.blocks.contains(&key) {
            cache.put(key, block, true);
        }
        !stop.load(Ordering::Relaxed)
    }

    /// Ends what reads ahead with this flag.
    pub(crate) fn stop_ahead(&self, stop: &AtomicBool) {
        // Held, so that nobody is between looking at the flag and waiting.
        let _cache = self.cache();
        stop.store(true, Ordering::Relaxed);
        self.room.notify_all();
    }

    fn read_block(&self, item: &ItemId, place: &Place) -> Result<Block> {
        let Range { name, offset, len } = range(place);
        let object = format!("{name}, block at {offset}");
        let sealed = self.base.store.get_range(&name, offset, len)?;
        Block::open(item.kind, place.epoch, sealed, &self.base.sealer, &object)
    }

    /// The block that holds `item` and which of its items it is, proven to be the one with this id. Other copies are tried
    /// when one is damaged; when a pack is gone the log is read again first.
    ///
    /// # Errors
    /// [`Error::Missing`], or what was wrong with the last copy that was tried.
    pub fn find_item(&self, item: &ItemId) -> Result<(Arc<Block>, usize)> {
        let result = self.try_places(item);
        match result {
            Err(e) if e.is_not_found() || matches!(e, Error::Missing { .. }) => {
                self.look_again(item)?;
                self.try_places(item)
            }
            // It may be that only what is kept of the store is damaged.
            Err(e) if e.is_damage() && self.base.store.doubt() => self.try_places(item),
            result => result,
        }
    }

    /// Calls `use_it` with the bytes of `item`.
    ///
    /// # Errors
    /// As [`find_item`](Self::find_item).
    pub fn with_item<T>(&self, item: &ItemId, use_it: &mut dyn FnMut(&[u8]) -> T) -> Result<T> {
        let (block, ordinal) = self.find_item(item)?;
        Ok(use_it(block.bytes(ordinal).expect("it was found there")))
    }

    fn try_places(&self, item: &ItemId) -> Result<(Arc<Block>, usize)> {
        let mut last = None;
        for place in self.places(item)? {
            let block = match self.block(item, &place) {
                Ok(block) => block,
                Err(e) if e.is_damage() || e.is_not_found() || e.is_unreadable() => {
                    last = Some(e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let ordinal = place.ordinal.into();
            if block.item(ordinal, item, &self.base.keys).is_some() {
                return Ok((block, ordinal));
            }
            let object = format!("{}, block at {}", pack_name(&place.pack), place.offset);
            last = Some(Error::damaged(object, format!("does not hold {item}")));
        }
        Err(last.expect("there was a place"))
    }

    /// Reads the log again, unless it was read since the pack of this item (`None`: of items that are in no pack) was
    /// first missed. Whoever takes away a pack has announced before where else its items are: to look once is
    /// enough, and to look for each item would take for ever. Whether it is worth trying again.
    pub(crate) fn look_again(&self, item: &ItemId) -> Result<bool> {
        let packs =
            self.places(item).map(|places| places.into_iter().map(|place| Some(place.pack)).collect());
        let packs: Vec<_> = packs.unwrap_or_else(|_| vec![None]);
        // Held while looking: whoever misses the same pack meanwhile waits for what is found.
        let mut looked = self.looked.lock().expect("no panic while held");
        if packs.iter().all(|pack| looked.contains(pack)) {
            return Ok(false);
        }
        let fresh = self.base.clone().open()?;
        *self.now.write().expect("no panic while held") = (fresh.state, fresh.index);
        looked.extend(packs);
        Ok(true)
    }

    /// The bytes of a chunk.
    pub fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.with_item(&(*id).into(), &mut |bytes| bytes.to_vec())
    }
}

fn range(place: &Place) -> Range {
    Range { name: pack_name(&place.pack), offset: place.offset.into(), len: place.sealed_len as usize }
}

impl NodeSource for Reader {
    fn node(&self, id: &NodeId) -> Result<Vec<u8>> {
        self.with_item(&(*id).into(), &mut |bytes| bytes.to_vec())
    }
}
