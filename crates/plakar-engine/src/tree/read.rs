//! Reading trees: entries of a directory and chunks of a file, one after the other, in bounded memory.

use super::node::{ChunkLink, ChunkPage, DirectoryLink, DirectoryPage};
use super::{Body, Content, Entry, NodeId, Object, Row, Subtree};
use crate::error::{Error, Result};
use std::collections::VecDeque;

/// Where nodes come from.
pub trait NodeSource {
    /// The bytes of a node, proven to be the node with this id.
    fn node(&self, id: &NodeId) -> Result<Vec<u8>>;
}

/// The entries of a directory, in order of their names. Reads one page a level at a time.
pub struct Directory<'a> {
    source: &'a dyn NodeSource,
    /// What is still to be visited of the pages on the way, uppermost first.
    links: Vec<(u8, VecDeque<DirectoryLink>)>,
    entries: VecDeque<Entry>,
    last: Option<Vec<u8>>,
    node: NodeId,
}

impl<'a> Directory<'a> {
    /// Opens the directory with this node.
    pub fn open(source: &'a dyn NodeSource, node: &NodeId) -> Result<Directory<'a>> {
        let mut directory =
            Directory { source, links: Vec::new(), entries: VecDeque::new(), last: None, node: *node };
        directory.descend(node, None)?;
        Ok(directory)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(format!("directory node {}", self.node), what)
    }

    fn descend(&mut self, node: &NodeId, link: Option<(u8, &DirectoryLink)>) -> Result<()> {
        self.node = *node;
        let bytes = self.source.node(node)?;
        let page = DirectoryPage::decode(&bytes).map_err(|e| e.of(format!("directory node {node}")))?;
        let (level, first) = match &page {
            DirectoryPage::Entries(entries) => (0, entries.first().map(|e| &e.name)),
            DirectoryPage::Links(level, links) => (*level, links.first().map(|l| &l.first)),
        };
        if let Some((above, link)) = link
            && (level + 1 != above || first != Some(&link.first))
        {
            return Err(self.damaged("is not the page its link says"));
        }
        match page {
            DirectoryPage::Entries(entries) => self.entries = entries.into(),
            DirectoryPage::Links(level, links) => self.links.push((level, links.into())),
        }
        Ok(())
    }

    /// The page that was read last.
    pub(crate) fn page(&self) -> NodeId {
        self.node
    }

    /// The next entry; `None` after the last.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                if self.last.as_ref().is_some_and(|last| *last >= entry.name) {
                    return Err(self.damaged("names out of order"));
                }
                self.last = Some(entry.name.clone());
                return Ok(Some(entry));
            }
            let Some((level, links)) = self.links.last_mut() else { return Ok(None) };
            let level = *level;
            match links.pop_front() {
                Some(link) => self.descend(&link.child.clone(), Some((level, &link)))?,
                None => drop(self.links.pop()),
            }
        }
    }

    /// The entry with this name. Reads one page a level; to be called on a directory just opened.
    pub fn find(mut self, name: &[u8]) -> Result<Option<Entry>> {
        while let Some((level, links)) = self.links.pop() {
            let at = links.partition_point(|link| link.first.as_slice() <= name);
            if at == 0 {
                return Ok(None);
            }
            let link = links[at - 1].clone();
            self.descend(&link.child, Some((level, &link)))?;
        }
        Ok(self.entries.into_iter().find(|entry| entry.name == name))
    }
}

/// The rows of a file's chunk list, in order. Reads one page a level at a time.
pub struct Chunks<'a> {
    source: &'a dyn NodeSource,
    links: Vec<(u8, VecDeque<ChunkLink>)>,
    rows: VecDeque<Row>,
    left: u64,
    node: NodeId,
}

impl<'a> Chunks<'a> {
    /// Opens the chunk list of an object. An object that is kept inline has none.
    pub fn open(source: &'a dyn NodeSource, object: &Object) -> Result<Chunks<'a>> {
        let mut chunks = Chunks {
            source,
            links: Vec::new(),
            rows: VecDeque::new(),
            left: object.size,
            node: NodeId([0; 32]),
        };
        match &object.body {
            Body::Inline(_) => chunks.left = 0,
            Body::Rows(rows) => chunks.rows = rows.iter().copied().collect(),
            Body::Tree(node) => chunks.descend(node, None)?,
        }
        Ok(chunks)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(format!("chunk list node {}", self.node), what)
    }

    fn descend(&mut self, node: &NodeId, above: Option<u8>) -> Result<()> {
        self.node = *node;
        let bytes = self.source.node(node)?;
        let page = ChunkPage::decode(&bytes).map_err(|e| e.of(format!("chunk list node {node}")))?;
        let level = match &page {
            ChunkPage::Rows(_) => 0,
            ChunkPage::Links(level, _) => *level,
        };
        if above.is_some_and(|above| level + 1 != above) {
            return Err(self.damaged("is not of the level its link says"));
        }
        match page {
            ChunkPage::Rows(rows) => self.rows = rows.into(),
            ChunkPage::Links(level, links) => self.links.push((level, links.into())),
        }
        Ok(())
    }

    /// The next row; `None` after the last. All rows together are exactly as long as the object says.
    pub fn next_row(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                self.left = self
                    .left
                    .checked_sub(row.bytes())
                    .ok_or_else(|| self.damaged("is longer than its object says"))?;
                return Ok(Some(row));
            }
            match self.links.last_mut() {
                None if self.left > 0 => return Err(self.damaged("is shorter than its object says")),
                None => return Ok(None),
                Some((level, links)) => {
                    let level = *level;
                    match links.pop_front() {
                        Some(link) => self.descend(&link.child, Some(level))?,
                        None => drop(self.links.pop()),
                    }
                }
            }
        }
    }
}

/// Finds the entry at `path` (components joined by slashes; empty ones are skipped) beneath `root`. `Ok(None)`
/// when there is none; the root itself has no entry.
pub fn find_path(source: &dyn NodeSource, root: &Subtree, path: &[u8]) -> Result<Option<Entry>> {
    let mut at = *root;
    let mut parts = path.split(|b| *b == b'/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let Some(entry) = Directory::open(source, &at.node)?.find(part)? else { return Ok(None) };
        if parts.peek().is_none() {
            return Ok(Some(entry));
        }
        match entry.content {
            Content::Directory(subtree) => at = subtree,
            _ => return Ok(None),
        }
    }
    Ok(None)
}
