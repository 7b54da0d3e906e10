//! Blocks of the source, on their way: read, found to be what was sealed, and still sealed.

use crate::block::{Block, ItemId, ItemKind, TREE_RAW_TARGET};
use crate::error::{Error, Result};
use crate::id::{EpochId, NodeId, ObjectHash};
use crate::index::Place;
use crate::pack::{pack_name, read_directory};
use crate::read::Reader;
use crate::repository::Unlocked;
use crate::write::Owner;
use lru::LruCache;
use plakar_store::Range;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

/// How many sealed bytes of tree blocks are kept: what a walk has read need not be read again to be moved.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Far away, so many bytes are asked for together;
const WAVE_BYTES: usize = 8 << 20;
/// here, so many: they are still in the processor's cache when they are proven.
const WAVE_HERE_BYTES: usize = 1 << 20;
/// Blocks of one pack that are no further apart are read as one range.
const GAP_MAX: u64 = 32 << 10;

/// The directory of a pack is read when so many of its blocks are wanted.
const LISTED_MIN: usize = 16;
/// and, far away, so many bytes: to decompress less takes no longer than the three round trips to its directory.
const LISTED_FAR_MIN: u64 = 4 << 20;
/// An index is asked for so many items together: what it reads for them is kept until they are looked up.
pub const ASKED_MAX: usize = 1 << 10;

/// An item that the destination lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The item.
    pub item: ItemId,
    /// Whose it is, should it be sealed anew.
    pub owner: Owner,
}

/// What is wanted of one block.
pub struct Group {
    place: Place,
    kind: ItemKind,
    /// The wanted items and which of the block's they are.
    pub wanted: Vec<(u16, Wanted)>,
    kept: Option<Arc<Opened>>,
    /// What its pack's directory says it holds, where that was read.
    listed: Option<Items>,
}

/// Ids and lengths of the items of a block, in order.
type Items = Vec<([u8; 32], u32)>;

/// A group, and its block as it was read.
type Read = (Group, Result<Vec<u8>>);

/// A block that was opened, and its bytes as they lie there.
pub struct Opened {
    sealed: Vec<u8>,
    block: Arc<Block>,
}

/// A block that is what was sealed.
pub struct Proven {
    /// Its bytes as they lie there.
    pub sealed: Vec<u8>,
    /// Ids and lengths of its items, in order: computed again, or as the sealed directory of its pack says.
    pub items: Items,
    /// Its items, unless most of them are wanted and it is listed: then it need not be opened any further.
    pub block: Option<Arc<Block>>,
    /// What kind of items.
    pub kind: ItemKind,
    /// The epoch it is sealed under.
    pub epoch: EpochId,
}

/// Reads blocks of a repository.
pub struct Blocks<'a> {
    base: &'a Unlocked,
    /// The slow way, and the last one: it tries all places, and reads the log again.
    pub reader: &'a Reader,
    /// Who else may have what this repository has lost: repositories of the same domain.
    others: &'a [Reader],
    kept: Mutex<Kept>,
    local: bool,
}

/// Tree blocks that were read lately.
struct Kept {
    blocks: LruCache<(ObjectHash, u32), Arc<Opened>>,
    bytes: usize,
}

impl Kept {
    fn put(&mut self, place: &Place, opened: Arc<Opened>) {
        self.bytes += opened.sealed.len();
        if let Some((_, old)) = self.blocks.push(key(place), opened) {
            self.bytes -= old.sealed.len();
        }
        while self.bytes > KEPT_BYTES_MAX && self.blocks.len() > 1 {
            let (_, old) = self.blocks.pop_lru().expect("there are more than one");
            self.bytes -= old.sealed.len();
        }
    }

    fn take(&mut self, place: &Place) -> Option<Arc<Opened>> {
        let opened = self.blocks.pop(&key(place))?;
        self.bytes -= opened.sealed.len();
        Some(opened)
    }
}

impl<'a> Blocks<'a> {
    /// Reads from the repository that `base` is of; `reader` reads from the same.
    pub fn new(base: &'a Unlocked, reader: &'a Reader) -> Blocks<'a> {
        let local = base.store.capabilities().local;
        let kept = Mutex::new(Kept { blocks: LruCache::unbounded(), bytes: 0 });
        Blocks { base, reader, others: &[], kept, local }
    }

    /// Nodes that this repository has lost are read from `others`.
    pub fn or_from(self, others: &'a [Reader]) -> Blocks<'a> {
        Blocks { others, ..self }
    }

    /// Reads together what the next calls of [`node`](Self::node) will ask for, if that saves anything.
    pub fn prefetch(&self, nodes: &[NodeId]) {
        if self.local {
            return;
        }
        let items: Vec<ItemId> = nodes.iter().map(|node| (*node).into()).collect();
        self.reader.prefetch(&items);
        let mut places: Vec<Place> = Vec::new();
        for item in &items {
            let first = self.reader.places(item).ok().and_then(|places| places.first().copied());
            places.extend(first.filter(|place| !self.kept().blocks.contains(&key(place))));
        }
        places.sort_by_key(key);
        places.dedup_by_key(|place| key(place));
        if places.is_empty() {
            return;
        }
        let ranges: Vec<_> = places.iter().map(range).collect();
        for (place, sealed) in places.iter().zip(self.base.store.get_ranges(&ranges)) {
            if let Ok(opened) = sealed.map_err(Error::from).and_then(|bytes| self.open(place, bytes)) {
                self.kept().put(place, Arc::new(opened));
            }
        }
    }

    /// The bytes of a node, proven.
    ///
    /// # Errors
    /// [`Error::Missing`], what was wrong with the last copy that was tried; that the source is gone.
    pub fn node(&self, id: &NodeId) -> Result<Vec<u8>> {
        let item = ItemId::from(*id);
        for place in self.reader.places(&item).unwrap_or_default() {
            let kept = self.kept().blocks.get(&key(&place)).cloned();
            let opened = match kept {
                Some(opened) => opened,
                None => {
                    let Range { name, offset, len } = range(&place);
                    let bytes = self.base.store.get_range(&name, offset, len).map_err(Error::from);
                    let opened = match bytes.and_then(|bytes| self.open(&place, bytes)) {
                        Ok(opened) => Arc::new(opened),
                        Err(e) => {
                            self.lost(e)?;
                            continue;
                        }
                    };
                    self.kept().put(&place, opened.clone());
                    opened
                }
            };
            if let Some(bytes) = opened.block.item(place.ordinal.into(), &item, &self.base.keys) {
                return Ok(bytes.to_vec());
            }
        }
        self.item(&item)
    }

    /// Gives the reader what `node` was just read from, to be asked for soon. `false` when told to stop meanwhile.
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub fn hand_over(&self, node: &ItemId, stop: &AtomicBool) -> Result<bool> {
        let Some(place) = self.reader.first_place(node)? else { return Ok(true) };
        let opened = self.kept().blocks.get(&key(&place)).cloned();
        Ok(opened.is_none_or(|opened| self.reader.keep_ahead(&place, opened.block.clone(), stop)))
    }

    /// Whether requests take no time worth counting.
    pub fn are_near(&self) -> bool {
        self.local
    }

    /// The bytes of an item, proven, wherever they can be had: the slow way.
    pub fn item(&self, item: &ItemId) -> Result<Vec<u8>> {
        let result = self.reader.with_item(item, &mut <[u8]>::to_vec);
        match &result {
            Err(e) if e.is_damage() || e.is_not_found() || e.is_unreadable() => {
                let mut others = self.others.iter();
                others.find_map(|other| other.with_item(item, &mut <[u8]>::to_vec).ok()).map_or(result, Ok)
            }
            _ => result,
        }
    }

    fn open(&self, place: &Place, sealed: Vec<u8>) -> Result<Opened> {
        let object = place_name(place);
        let block = Block::open(ItemKind::Node, place.epoch, sealed.clone(), &self.base.sealer, &object)?;
        Ok(Opened { sealed, block: Arc::new(block) })
    }

    /// So many nodes may wait to be moved without being forgotten, should that matter.
    pub fn nodes_kept(&self) -> usize {
        if self.local { usize::MAX } else { KEPT_BYTES_MAX / (2 * TREE_RAW_TARGET) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while held")
    }

    /// What is wanted, by blocks, in the order in which they lie in packs, packs in the order they were met; and what no
    /// place is known for.
    pub fn group(&self, wanted: Vec<Wanted>) -> (Vec<Group>, Vec<Wanted>) {
        let (mut groups, mut packs, mut nowhere) = (HashMap::new(), HashMap::new(), Vec::new());
        for (number, one) in wanted.iter().enumerate() {
            if !self.local && number % ASKED_MAX == 0 {
                let next = wanted[number..].iter().take(ASKED_MAX);
                self.reader.prefetch(&next.map(|wanted| wanted.item).collect::<Vec<_>>());
            }
            let Some(place) = self.reader.places(&one.item).ok().and_then(|p| p.first().copied()) else {
                nowhere.push(*one);
                continue;
            };
            let next = packs.len();
            let pack = *packs.entry(place.pack).or_insert(next);
            let group = groups.entry((pack, place.offset)).or_insert_with(|| Group {
                place,
                kind: one.item.kind,
                wanted: Vec::new(),
                kept: self.kept().take(&place),
                listed: None,
            });
            group.wanted.push((place.ordinal, *one));
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(key, _)| *key);
        (groups.into_iter().map(|(_, group)| group).collect(), nowhere)
    }

    /// Reads `groups`, proves them on `workers` threads, and calls `each` with every one. Bytes in memory: two waves and
    /// a few blocks.
    ///
    /// # Errors
    /// What `each` returns; it ends everything. That the source is gone. A block that cannot be read is told to `each`.
    pub fn fetch(
        &self,
        mut groups: Vec<Group>,
        workers: usize,
        each: &mut dyn FnMut(Group, Result<Proven>) -> Result<()>,
    ) -> Result<()> {
        self.list(&mut groups)?;
        let (to_workers, queue) = sync_channel(2 * workers);
        let (results, proven) = sync_channel(2);
        let queue = Arc::new(Mutex::new(queue));
        std::thread::scope(|scope| {
            scope.spawn(move || self.read(groups, to_workers));
            for _ in 0..workers {
                let (queue, results) = (queue.clone(), results.clone());
                scope.spawn(move || self.prove(&queue, results));
            }
            // What each thread reads from is gone when those who take from it have ended: so none waits for ever.
            drop((queue, results));
            // Dropped on the way out, so that the threads end.
            let proven = proven;
            proven.iter().try_for_each(|(group, result)| each(group, result))
        })
    }

    /// How many sealed bytes these have, and in how many runs they lie.
    pub fn size(groups: &[Group]) -> (u64, u64) {
        let bytes = groups.iter().map(|group| u64::from(group.place.sealed_len)).sum();
        let ranges: Vec<_> = groups.iter().map(|group| range(&group.place)).collect();
        let runs = ranges.chunk_by(joins).count() as u64;
        (bytes, runs)
    }

    fn read(&self, groups: Vec<Group>, out: SyncSender<Read>) {
        let mut groups = groups.into_iter().peekable();
        let wave_bytes = if self.local { WAVE_HERE_BYTES } else { WAVE_BYTES };
        while groups.peek().is_some() {
            let (mut wave, mut bytes) = (Vec::new(), 0);
            while let Some(group) = groups.next_if(|_| bytes < wave_bytes) {
                bytes += group.place.sealed_len as usize;
                wave.push(group);
            }
            let mut runs: Vec<Range> = Vec::new();
            // Which run holds each block; none for what is kept.
            let mut of: Vec<Option<usize>> = Vec::new();
            for group in &wave {
                of.push(group.kept.is_none().then(|| {
                    let next = range(&group.place);
                    match runs.last_mut().filter(|run| joins(run, &next)) {
                        Some(run) => run.len = (next.offset - run.offset) as usize + next.len,
                        None => runs.push(next),
                    }
                    runs.len() - 1
                }));
            }
            let answers = if runs.is_empty() { Vec::new() } else { self.base.store.get_ranges(&runs) };
            for (group, run) in wave.into_iter().zip(of) {
                let part = |run: usize| {
                    let start = (u64::from(group.place.offset) - runs[run].offset) as usize;
                    answers[run].as_ref().ok()?.get(start..start + group.place.sealed_len as usize)
                };
                let sealed = match run {
                    None => Ok(Vec::new()),
                    Some(run) => part(run).map(<[u8]>::to_vec).map_or_else(
                        // What is wrong may be with another block of the run.
                        || {
                            let Range { name, offset, len } = range(&group.place);
                            self.base.store.get_range(&name, offset, len).map_err(Error::from)
                        },
                        Ok,
                    ),
                };
                if out.send((group, sealed)).is_err() {
                    return;
                }
            }
        }
    }

    fn prove(&self, queue: &Mutex<Receiver<Read>>, out: SyncSender<(Group, Result<Proven>)>) {
        loop {
            let next = queue.lock().expect("no panic while held").recv();
            let Ok((mut group, sealed)) = next else { return };
            let proven = sealed.and_then(|bytes| self.prove_block(&mut group, bytes));
            if out.send((group, proven)).is_err() {
                return;
            }
        }
    }

    /// Reads the directories of packs of which much is wanted: a few requests, that spare decompressing all of it. One
    /// that cannot be read spares nothing.
    fn list(&self, groups: &mut [Group]) -> Result<()> {
        for of_pack in groups.chunk_by_mut(|a, b| a.place.pack == b.place.pack) {
            let bytes: u64 = of_pack.iter().map(|group| u64::from(group.place.sealed_len)).sum();
            if of_pack.len() < LISTED_MIN || (!self.local && bytes < LISTED_FAR_MIN) {
                continue;
            }
            let directory = match read_directory(&*self.base.store, &of_pack[0].place.pack, &self.base.sealer)
            {
                Ok(directory) => directory,
                Err(e) => {
                    self.lost(e)?;
                    continue;
                }
            };
            let blocks: HashMap<_, _> = directory.into_iter().map(|entry| (entry.offset, entry)).collect();
            for group in of_pack {
                let place = &group.place;
                let entry = blocks.get(&place.offset).filter(|entry| {
                    (entry.sealed_len, entry.epoch, entry.kind) == (place.sealed_len, place.epoch, group.kind)
                });
                group.listed = entry.map(|entry| entry.items.clone());
            }
        }
        Ok(())
    }

    fn prove_block(&self, group: &mut Group, sealed: Vec<u8>) -> Result<Proven> {
        let base = self.base;
        let (kind, epoch) = (group.kind, group.place.epoch);
        if group.kept.is_none()
            && let Some(items) = group.listed.take()
            && is_most(&group.wanted, &items)
        {
            Block::authenticate(kind, epoch, sealed.clone(), &base.sealer, &place_name(&group.place))?;
            return Ok(Proven { sealed, items, block: None, kind, epoch });
        }
        let (sealed, block) = match group.kept.take().map(Arc::try_unwrap) {
            Some(Ok(kept)) => (kept.sealed, kept.block),
            // The walk is just reading it.
            Some(Err(kept)) => (kept.sealed.clone(), self.open(&group.place, kept.sealed.clone())?.block),
            None => {
                let object = place_name(&group.place);
                let block = Block::open(kind, epoch, sealed.clone(), &base.sealer, &object)?;
                (sealed, Arc::new(block))
            }
        };
        let item = |ordinal| {
            let bytes = block.bytes(ordinal).expect("it counts as many");
            (ItemId::of(kind, bytes, &base.keys).id, bytes.len() as u32)
        };
        let items = (0..block.count()).map(item).collect();
        Ok(Proven { sealed, items, block: Some(block), kind, epoch })
    }

    /// Why something cannot be had, if the source as a whole can still be read.
    ///
    /// # Errors
    /// The error itself, if it says nothing of what is stored there.
    pub fn lost(&self, error: Error) -> Result<String> {
        self.base.lost(error)
    }
}

/// Whether so much of a block is wanted that all of it is moved: below sixty per cent, what is not wanted would cost more
/// than sealing anew.
pub fn is_most(wanted: &[(u16, Wanted)], items: &[([u8; 32], u32)]) -> bool {
    let len = |(_, len): &([u8; 32], u32)| u64::from(*len);
    let wanted: u64 = wanted.iter().filter_map(|(at, _)| items.get(usize::from(*at))).map(len).sum();
    10 * wanted >= 6 * items.iter().map(len).sum::<u64>()
}

fn key(place: &Place) -> (ObjectHash, u32) {
    (place.pack, place.offset)
}

fn range(place: &Place) -> Range {
    Range { name: pack_name(&place.pack), offset: place.offset.into(), len: place.sealed_len as usize }
}

fn place_name(place: &Place) -> String {
    format!("{}, block at {}", pack_name(&place.pack), place.offset)
}

fn joins(run: &Range, next: &Range) -> bool {
    let end = run.offset + run.len as u64;
    let together = next.offset + next.len as u64 - run.offset.min(next.offset);
    run.name == next.name
        && next.offset >= end
        && next.offset - end <= GAP_MAX
        && together <= WAVE_BYTES as u64
}
