//! How a long list becomes pages: so that one change rewrites one page a level, wherever it is.
//!
//! Up to [`SINGLE_MAX`] items are one page. Of more, a page ends after an item whose keyed hash has its low
//! six bits zero, not before [`PAGE_MIN`] items and after [`PAGE_MAX`] at the latest; what is left at
//! the end is the last page. The pages are a list again, one level up, cut by the same rule; the
//! first level with a single page is the root. Only counts and keys decide, never bytes or values, so a changed
//! file moves no boundary; the hash is keyed, so nobody can choose names that all end a page.

use super::node::{ChunkLink, DirectoryLink, Form, Item, LEVEL_MAX, encode_head};
use super::{Entry, NodeId, Row};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};

/// Up to so many items are one page.
pub const SINGLE_MAX: usize = 128;
/// The fewest items of a page that is not the last.
pub const PAGE_MIN: usize = 16;
/// The most items of a page.
pub const PAGE_MAX: usize = 256;
const BOUNDARY: u64 = 63;

/// Takes finished nodes and says their ids.
pub trait NodeSink {
    /// Stores a node, unless it is there already, and returns its id.
    fn put_node(&mut self, bytes: Vec<u8>) -> Result<NodeId>;
}

/// What can be made into pages.
pub trait Paged: Item {
    /// What links to a page of it.
    type Link: Item + Clone;
    /// The form of its nodes.
    const FORM: Form;
    /// What it adds to the sums in the links above: items, bytes.
    fn sums(&self) -> (u64, u64);
    /// A link to a page that begins with the item with key `first` and has these sums.
    fn link(first: Vec<u8>, child: NodeId, sums: (u64, u64)) -> Self::Link;
    /// The key and the sums of a link.
    fn link_sums(link: &Self::Link) -> (u64, u64);
}

impl Paged for Entry {
    type Link = DirectoryLink;
    const FORM: Form = Form::Directory;

    fn sums(&self) -> (u64, u64) {
        (1, 0)
    }

    fn link(first: Vec<u8>, child: NodeId, (entries, _): (u64, u64)) -> DirectoryLink {
        DirectoryLink { first, child, entries }
    }

    fn link_sums(link: &DirectoryLink) -> (u64, u64) {
        (link.entries, 0)
    }
}

impl Paged for Row {
    type Link = ChunkLink;
    const FORM: Form = Form::Chunks;

    fn sums(&self) -> (u64, u64) {
        (1, self.bytes())
    }

    fn link(_: Vec<u8>, child: NodeId, (rows, bytes): (u64, u64)) -> ChunkLink {
        ChunkLink { child, rows, bytes }
    }

    fn link_sums(link: &ChunkLink) -> (u64, u64) {
        (link.rows, link.bytes)
    }
}

/// One level of pages in the making. Holds at most one page of items (or as many as fit a single one).
#[derive(Debug, Clone, Default)]
struct Level {
    /// Encoded items, and where each ends; `first` is the key of the first.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    keys: Vec<Box<[u8]>>,
    sums: Vec<(u64, u64)>,
    /// More than a single page's worth came: pages are cut as they fill.
    many: bool,
}

/// Makes pages of items that come in order, in bounded memory.
#[derive(Debug)]
pub struct PagesWriter<T> {
    levels: Vec<Level>,
    items: std::marker::PhantomData<fn(T)>,
}

impl<T> Clone for PagesWriter<T> {
    fn clone(&self) -> Self {
        PagesWriter { levels: self.levels.clone(), items: std::marker::PhantomData }
    }
}

impl<T> Default for PagesWriter<T> {
    fn default() -> Self {
        PagesWriter { levels: vec![Level::default()], items: std::marker::PhantomData }
    }
}

impl<T: Paged> PagesWriter<T> {
    /// Appends an item.
    pub fn push(&mut self, item: &T, keys: &DomainKeys, sink: &mut dyn NodeSink) -> Result<()> {
        self.levels[0].push(item, item.sums());
        self.settle(0, keys, sink)
    }

    /// How many items wait in memory; all there are, as long as they fit a single page.
    pub fn waiting(&self) -> usize {
        self.levels[0].ends.len()
    }

    /// Writes what is left and returns the root.
    pub fn finish(mut self, keys: &DomainKeys, sink: &mut dyn NodeSink) -> Result<NodeId> {
        let mut at = 0;
        loop {
            let last = self.levels.len() == at + 1;
            let level = &mut self.levels[at];
            if last && (!level.many || level.ends.is_empty()) {
                // A level whose pages were all cut has a level above, so this is a single page.
                let count = level.ends.len();
                return sink.put_node(level.page::<T>(at as u8, count));
            }
            if !level.ends.is_empty() {
                let count = level.ends.len();
                self.cut(at, count, sink)?;
            }
            at += 1;
            if self.levels.len() == at + 1 && self.levels[at].ends.len() == 1 {
                // A single page below: it is the root itself.
                let link = self.levels[at].bytes.clone();
                return Ok(child_of::<T>(&link));
            }
            self.settle(at, keys, sink)?;
        }
    }

    /// Cuts all pages of level `at` that are complete by now, and so on upwards.
    fn settle(&mut self, at: usize, keys: &DomainKeys, sink: &mut dyn NodeSink) -> Result<()> {
        let level = &mut self.levels[at];
        if level.many {
            if level.ends_page(at as u8, level.ends.len(), keys) {
                let count = level.ends.len();
                self.cut(at, count, sink)?;
                return self.settle(at + 1, keys, sink);
            }
        } else if level.ends.len() > SINGLE_MAX {
            level.many = true;
            let mut end = 1;
            while end <= self.levels[at].ends.len() {
                if self.levels[at].ends_page(at as u8, end, keys) {
                    self.cut(at, end, sink)?;
                    self.settle(at + 1, keys, sink)?;
                    end = 0;
                }
                end += 1;
            }
        }
        Ok(())
    }

    /// Makes a page of the first `count` items of level `at` and links it from the level above.
    fn cut(&mut self, at: usize, count: usize, sink: &mut dyn NodeSink) -> Result<()> {
        if at >= usize::from(LEVEL_MAX) {
            return Err(Error::Refused("a list too long for its pages".into()));
        }
        let level = &mut self.levels[at];
        let first = level.keys[0].to_vec();
        let sums = level.sums[..count]
            .iter()
            .fold((0, 0), |a: (u64, u64), b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        let child = sink.put_node(level.page::<T>(at as u8, count))?;
        if self.levels.len() == at + 1 {
            self.levels.push(Level::default());
        }
        let link = T::link(first.clone(), child, sums);
        let sums = T::link_sums(&link);
        self.levels[at + 1].push(&link, sums);
        Ok(())
    }
}

impl Level {
    fn push(&mut self, item: &impl Item, sums: (u64, u64)) {
        item.encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.keys.push(item.key().into());
        self.sums.push(sums);
    }

    /// Whether a page of the first `count` items ends there.
    fn ends_page(&self, level: u8, count: usize, keys: &DomainKeys) -> bool {
        count == PAGE_MAX || (count >= PAGE_MIN && keys.paging(level, &self.keys[count - 1]) & BOUNDARY == 0)
    }

    /// Takes the first `count` items out, as a node.
    fn page<T: Paged>(&mut self, level: u8, count: usize) -> Vec<u8> {
        let len = if count == 0 { 0 } else { self.ends[count - 1] };
        let mut node = Vec::with_capacity(len + 16);
        encode_head(T::FORM, level, count, &mut node);
        node.extend(self.bytes.drain(..len));
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|end| *end -= len);
        self.keys.drain(..count);
        self.sums.drain(..count);
        node
    }
}

/// The child that an encoded link leads to.
fn child_of<T: Paged>(link: &[u8]) -> NodeId {
    let at = match T::FORM {
        // A name is at most 255 bytes long: its length takes one byte or two.
        Form::Directory if link[0] & 0x80 != 0 => {
            2 + (usize::from(link[0] & 0x7f) | usize::from(link[1]) << 7)
        }
        Form::Directory => 1 + usize::from(link[0]),
        Form::Chunks => 0,
    };
    NodeId(link[at..at + 32].try_into().expect("a link holds its child"))
}
