//! What a push compares with: the trees of an earlier snapshot and of an unfinished session.

use super::hints::HintsReader;
use crate::block::ItemId;
use crate::error::Result;
use crate::read::Reader;
use crate::tree::node::ChunkPage;
use crate::tree::{Body, Content, Directory, Entry, NodeId, NodeSource, Object, Row, Xattrs};
use crate::write::Session;
use std::collections::HashSet;

/// A tree to compare with.
pub struct Base {
    /// The root directory of its tree.
    pub root: NodeId,
    /// Whether the session holds it: its tree is whole and stays so. What it says of one that is not held is only a
    /// hint, and every chunk is asked for.
    pub held: bool,
    /// What the walk saw when it was made.
    pub hints: Option<HintsReader>,
}

/// One directory of a base, read alongside the walk.
pub struct BaseDir<'r> {
    /// Which base.
    pub base: usize,
    entries: Directory<'r>,
    next: Option<Entry>,
    /// Its pages that were read so far, but for those that only link to others.
    pages: HashSet<NodeId>,
}

impl<'r> BaseDir<'r> {
    /// Opens a directory of base number `base`. A directory that cannot be read is as good as none: then its
    /// files are read again.
    pub fn open(base: usize, reader: &'r Reader, node: &NodeId) -> Option<BaseDir<'r>> {
        let mut entries = Directory::open(reader, node).ok()?;
        let next = entries.next_entry().ok()?;
        let pages = HashSet::from([*node, entries.page()]);
        Some(BaseDir { base, entries, next, pages })
    }

    /// Whether this is a page of it that was read, and so one that is stored.
    pub fn has(&self, page: &NodeId) -> bool {
        self.pages.contains(page)
    }

    fn advance(&mut self) {
        self.next = self.entries.next_entry().ok().flatten();
        self.pages.insert(self.entries.page());
    }

    /// The entry with this name. Names must be asked for in order.
    pub fn find(&mut self, name: &[u8]) -> Option<Entry> {
        while self.next.as_ref().is_some_and(|entry| entry.name.as_slice() < name) {
            self.advance();
        }
        let found = self.next.take_if(|entry| entry.name == name)?;
        self.advance();
        Some(found)
    }
}

/// Whether everything that `entry` (not a directory) needs is stored, so that it may be used as it is; the session
/// then relies on it.
pub fn is_stored(entry: &Entry, reader: &Reader, session: &mut Session) -> Result<bool> {
    if let Xattrs::Chunk { id, .. } = &entry.xattrs
        && !session.has(&(*id).into())?
    {
        return Ok(false);
    }
    match &entry.content {
        Content::File(Object { body: Body::Rows(rows), .. }) => rows_are_stored(rows, session),
        Content::File(Object { body: Body::Tree(node), .. }) => list_is_stored(node, reader, session),
        _ => Ok(true),
    }
}

fn rows_are_stored(rows: &[Row], session: &mut Session) -> Result<bool> {
    for row in rows {
        if !session.has(&ItemId::from(row.id))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list_is_stored(node: &NodeId, reader: &Reader, session: &mut Session) -> Result<bool> {
    if !session.has(&(*node).into())? {
        return Ok(false);
    }
    let page = match reader.node(node).map(|bytes| ChunkPage::decode(&bytes)) {
        Ok(Ok(page)) => page,
        _ => return Ok(false),
    };
    match page {
        ChunkPage::Rows(rows) => rows_are_stored(&rows, session),
        ChunkPage::Links(_, links) => {
            for link in links {
                if !list_is_stored(&link.child, reader, session)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}
