//! All segments that count, searched together.

use super::segment::{Location, Segment, SegmentSource};
use crate::block::ItemId;
use crate::crypto::seal::Sealer;
use crate::error::Result;
use lru::LruCache;
use plakar_store::{Range, ReadStore};
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Where an item lies; to be proven by reading it.
pub type Place = Location;

/// How many pages (of about 4 KiB) are kept.
const PAGES_CACHED: usize = 4096;

/// All heads are read together if they have no more bytes than this.
const HEADS_AHEAD_BYTES: usize = 2 << 20;
/// All pages of a shard are read together if one in so many is wanted,
const PAGES_SHARE: usize = 16;
/// and if that makes no more pages than this, in all.
const PAGES_AHEAD: usize = 1024;

/// Where parts of segments lie: by the segment's number, and a number that tells its parts apart.
type Parts = BTreeMap<(usize, u64), Range>;
/// Pages by the serial number of their segment and offset.
type PageCache = LruCache<(u64, u64), Arc<[u8]>>;
/// A segment and its serial number, which no other ever has.
type Numbered = (u64, Arc<Segment>);

/// The segments that count, searched together. Memory: the filters of the shards that were asked (about nine
/// bits a row) and a bounded number of pages.
pub struct Index {
    sealer: Arc<Sealer>,
    segments: RwLock<Vec<Numbered>>,
    pages: Mutex<PageCache>,
    next: AtomicU64,
}

impl Index {
    /// An index without segments.
    pub fn new(sealer: Arc<Sealer>) -> Index {
        let size = NonZeroUsize::new(PAGES_CACHED).expect("not zero");
        Index {
            sealer,
            segments: RwLock::default(),
            pages: Mutex::new(LruCache::new(size)),
            next: AtomicU64::new(0),
        }
    }

    /// Opens one more segment.
    pub fn add(&self, source: SegmentSource) -> Result<Arc<Segment>> {
        Ok(self.add_open(Segment::open(source, &self.sealer)?))
    }

    /// Takes one that is open.
    pub(crate) fn add_open(&self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        self.segments.write().expect("no panic while held").push((serial, segment.clone()));
        segment
    }

    /// Forgets segments that count no more.
    pub(crate) fn remove(&self, gone: &[Arc<Segment>]) {
        let mut segments = self.segments.write().expect("no panic while held");
        segments.retain(|(_, segment)| !gone.iter().any(|gone| Arc::ptr_eq(gone, segment)));
    }

    /// The segments, in the order they were added.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.numbered().into_iter().map(|(_, segment)| segment).collect()
    }

    fn numbered(&self) -> Vec<Numbered> {
        self.segments.read().expect("no panic while held").clone()
    }

    /// Reads from `store`, which is the one its segments are in, what [`find`](Self::find) will ask for about these
    /// items: in two requests, however many they are. What fails will fail there.
    ///
    /// Somewhat more than that, because what is asked next is much like it: all heads that were not read yet, if they
    /// are few; and all pages of a small shard, if a good part of them is wanted.
    pub fn prefetch(&self, items: &[ItemId], store: &dyn ReadStore) {
        let segments = self.numbered();
        for ((number, shard), sealed) in read(heads_wanted(&segments, items), store) {
            let _ = segments[number].1.give_head(shard as usize, sealed, &self.sealer);
        }
        for ((number, at), sealed) in read(self.pages_wanted(&segments, items), store) {
            let (serial, segment) = &segments[number];
            if let Ok(page) = segment.open_page(at, sealed, &self.sealer) {
                self.pages.lock().expect("no panic while held").put((*serial, at), page.into());
            }
        }
    }

    fn pages_wanted(&self, segments: &[Numbered], items: &[ItemId]) -> Parts {
        let known = self.pages.lock().expect("no panic while held");
        let (mut parts, mut ahead) = (Parts::new(), PAGES_AHEAD);
        for (number, (serial, segment)) in segments.iter().enumerate() {
            for (shard, mut pages) in segment.pages_wanted(items) {
                let all = segment.pages_in(shard);
                if all <= ahead && pages.len() * PAGES_SHARE >= all {
                    pages = (0..all).collect();
                }
                let before = parts.len();
                let ranges = pages.into_iter().filter_map(|page| segment.page_at(shard, page));
                let unknown = ranges.filter(|(at, _)| !known.contains(&(*serial, *at)));
                parts.extend(unknown.map(|(at, range)| ((number, at), range)));
                ahead = ahead.saturating_sub(parts.len() - before);
            }
        }
        parts
    }

    /// Every place where `item` may lie, newest segment first. In which of them it may be relied on, and in which
    /// it still is, the log tells.
    ///
    /// # Errors
    /// Store errors; and what is wrong with a damaged segment, but only when no other knows a place.
    pub fn find(&self, item: &ItemId) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        let mut damage = None;
        let segments = self.segments.read().expect("no panic while held");
        for (serial, segment) in segments.iter().rev() {
            let mut page = |at, read: &mut dyn FnMut() -> Result<Vec<u8>>| {
                if let Some(page) = self.pages.lock().expect("no panic while held").get(&(*serial, at)) {
                    return Ok(page.clone());
                }
                let page: Arc<[u8]> = read()?.into();
                self.pages.lock().expect("no panic while held").put((*serial, at), page.clone());
                Ok(page)
            };
            match segment.find(item, &self.sealer, &mut page, &mut |place| places.push(place)) {
                Ok(()) => {}
                Err(e) if e.is_damage() || e.is_not_found() => damage = Some(e),
                Err(e) => return Err(e),
            }
        }
        match damage {
            Some(e) if places.is_empty() => Err(e),
            _ => Ok(places),
        }
    }
}

/// The heads that are needed to look for `items`, or all that were not read yet.
fn heads_wanted(segments: &[Numbered], items: &[ItemId]) -> Parts {
    let needed: HashSet<_> = segments
        .iter()
        .enumerate()
        .flat_map(|(number, (_, segment))| {
            items.iter().filter_map(move |i| Some((number, segment.head_wanted(i)?)))
        })
        .collect();
    if needed.is_empty() {
        return Parts::new();
    }
    let unknown = segments.iter().enumerate().flat_map(|(number, (_, segment))| {
        segment.heads_unknown().into_iter().map(move |(shard, range)| ((number, shard), range))
    });
    let mut unknown: Vec<_> = unknown.collect();
    if unknown.iter().map(|(_, range)| range.len).sum::<usize>() > HEADS_AHEAD_BYTES {
        unknown.retain(|(part, _)| needed.contains(part));
    }
    unknown.into_iter().map(|((number, shard), range)| ((number, shard as u64), range)).collect()
}

/// Reads parts together; those that cannot be read are left out.
fn read(parts: Parts, store: &dyn ReadStore) -> Vec<((usize, u64), Vec<u8>)> {
    let ranges: Vec<_> = parts.values().cloned().collect();
    let answers = if ranges.is_empty() { Vec::new() } else { store.get_ranges(&ranges) };
    parts.into_keys().zip(answers).filter_map(|(part, answer)| Some((part, answer.ok()?))).collect()
}
