//! All segments that count, searched together.

use super::segment::{Location, Segment, SegmentSource};
use crate::block::ItemId;
use crate::crypto::seal::Sealer;
use crate::error::Result;
use lru::LruCache;
use plakar_store::{Range, ReadStore};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, RwLock};

/// Where an item lies; to be proven by reading it.
pub type Place = Location;

/// How many pages (of about 4 KiB) are kept.
const PAGES_CACHED: usize = 4096;

/// A part of a segment by its number, or one that another number tells apart, and where it lies.
type Part = ((usize, u64), Range);
/// Pages by segment number and offset.
type PageCache = LruCache<(usize, u64), Arc<[u8]>>;

/// The segments that count, searched together. Memory: the filters of the shards that were asked (about nine
/// bits a row) and a bounded number of pages.
pub struct Index {
    sealer: Arc<Sealer>,
    segments: RwLock<Vec<Arc<Segment>>>,
    pages: Mutex<PageCache>,
}

impl Index {
    /// An index without segments.
    pub fn new(sealer: Arc<Sealer>) -> Index {
        let size = NonZeroUsize::new(PAGES_CACHED).expect("not zero");
        Index { sealer, segments: RwLock::default(), pages: Mutex::new(LruCache::new(size)) }
    }

    /// Opens one more segment.
    pub fn add(&self, source: SegmentSource) -> Result<Arc<Segment>> {
        let segment = Arc::new(Segment::open(source, &self.sealer)?);
        self.segments.write().expect("no panic while held").push(segment.clone());
        Ok(segment)
    }

    /// The segments, in the order they were added.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().expect("no panic while held").clone()
    }

    /// Reads from `store`, which is the one its segments are in, what [`find`](Self::find) will ask for about these
    /// items: in two requests, however many they are. What fails will fail there.
    pub fn prefetch(&self, items: &[ItemId], store: &dyn ReadStore) {
        let segments = self.segments();
        let wanted = |of: &dyn Fn(usize, &Segment, &ItemId) -> Vec<Part>| {
            let each = segments.iter().enumerate();
            let all =
                each.flat_map(|(number, segment)| items.iter().flat_map(move |i| of(number, segment, i)));
            let wanted: BTreeMap<_, _> = all.collect();
            let ranges: Vec<_> = wanted.values().cloned().collect();
            let answers = if ranges.is_empty() { Vec::new() } else { store.get_ranges(&ranges) };
            let found = wanted.into_keys().zip(answers).filter_map(|(key, answer)| Some((key, answer.ok()?)));
            found.collect::<Vec<_>>()
        };
        let heads = wanted(&|number, segment, item| {
            segment
                .head_wanted(item)
                .map(|(shard, range)| ((number, shard as u64), range))
                .into_iter()
                .collect()
        });
        for ((number, shard), sealed) in heads {
            let _ = segments[number].give_head(shard as usize, sealed, &self.sealer);
        }
        let pages = wanted(&|number, segment, item| {
            let pages = self.pages.lock().expect("no panic while held");
            let unknown =
                segment.pages_wanted(item).into_iter().filter(|(at, _)| !pages.contains(&(number, *at)));
            unknown.map(|(at, range)| ((number, at), range)).collect()
        });
        for ((number, at), sealed) in pages {
            if let Ok(page) = segments[number].open_page(at, sealed, &self.sealer) {
                self.pages.lock().expect("no panic while held").put((number, at), page.into());
            }
        }
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
        for (number, segment) in segments.iter().enumerate().rev() {
            let mut page = |at, read: &mut dyn FnMut() -> Result<Vec<u8>>| {
                if let Some(page) = self.pages.lock().expect("no panic while held").get(&(number, at)) {
                    return Ok(page.clone());
                }
                let page: Arc<[u8]> = read()?.into();
                self.pages.lock().expect("no panic while held").put((number, at), page.clone());
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
