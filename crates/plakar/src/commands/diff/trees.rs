//! Two stored directories, compared name by name. What has the same node is the same and is not read, so it costs what
//! differs.

use super::changes::{Changes, NEW, OLD};
use crate::content::Bytes;
use crate::exit::Result;
use plakar_engine::Error;
use plakar_engine::read::Reader;
use plakar_engine::tree::{Content, Directory, Entry, FLAG_ANCESTOR, FLAG_SPARSE, NodeId, Object};
use std::cmp::Ordering;

/// The entries of a directory, of which the next is known.
pub struct Names<'a> {
    directory: Directory<'a>,
    next: Option<Entry>,
}

impl<'a> Names<'a> {
    /// Opens the directory with this node.
    pub fn open(reader: &'a Reader, node: &NodeId) -> Result<Names<'a>, Error> {
        let mut directory = Directory::open(reader, node)?;
        let next = directory.next_entry()?;
        Ok(Names { directory, next })
    }

    /// What the next entry is called; `None` after the last.
    pub fn name(&self) -> Option<&[u8]> {
        self.next.as_ref().map(|entry| entry.name.as_slice())
    }

    /// The next entry.
    pub fn take(&mut self) -> Result<Option<Entry>, Error> {
        match self.next.take() {
            None => Ok(None),
            Some(entry) => {
                self.next = self.directory.next_entry()?;
                Ok(Some(entry))
            }
        }
    }
}

/// The directories that are compared, either of which may be missing, and how far beneath the first ones they are.
struct Level<'a> {
    sides: [Option<Names<'a>>; 2],
    beneath: Vec<u8>,
}

impl Level<'_> {
    /// What the sides have of the name that is next; nothing after the last.
    fn next(&mut self) -> Result<[Option<Entry>; 2], Error> {
        let names = |side: &'_ Option<Names<'_>>| side.as_ref().and_then(|n| n.name().map(<[u8]>::to_vec));
        let order = match [names(&self.sides[OLD]), names(&self.sides[NEW])] {
            [Some(old), Some(new)] => old.cmp(&new),
            [Some(_), None] => Ordering::Less,
            [None, _] => Ordering::Greater,
        };
        let mut take = |side: usize, wanted: bool| match &mut self.sides[side] {
            Some(names) if wanted => names.take(),
            _ => Ok(None),
        };
        Ok([take(OLD, order.is_le())?, take(NEW, order.is_ge())?])
    }
}

/// Tells of everything that differs beneath two directories, or is in the only one there is.
///
/// The stack is as high as the trees are deep.
pub fn compare(
    changes: &mut Changes<'_>,
    reader: &Reader,
    nodes: [Option<NodeId>; 2],
    beneath: &[u8],
) -> Result<()> {
    let mut stack = Vec::new();
    descend(changes, reader, &mut stack, nodes, beneath.to_vec())?;
    while let Some(level) = stack.last_mut() {
        let pair = match level.next() {
            Ok(pair) => pair,
            Err(e) => {
                // What follows in this directory cannot be found, so nothing can be said of the other's.
                let level = stack.pop().expect("it was there");
                changes.damaged(&level.beneath, e)?;
                continue;
            }
        };
        let Some(entry) = pair.iter().flatten().next() else {
            stack.pop();
            continue;
        };
        let beneath = [level.beneath.as_slice(), b"/", &entry.name].concat();
        match &pair {
            [Some(old), Some(new)] => both(changes, reader, [old, new], &beneath)?,
            [Some(old), None] => changes.only(OLD, old, &beneath)?,
            [None, Some(new)] => changes.only(NEW, new, &beneath)?,
            [None, None] => {}
        }
        let nodes = pair.map(|entry| entry.as_ref().and_then(node));
        descend(changes, reader, &mut stack, nodes, beneath)?;
    }
    Ok(())
}

fn descend<'a>(
    changes: &mut Changes<'_>,
    reader: &'a Reader,
    stack: &mut Vec<Level<'a>>,
    nodes: [Option<NodeId>; 2],
    beneath: Vec<u8>,
) -> Result<()> {
    if nodes[OLD] == nodes[NEW] {
        return Ok(());
    }
    let open = |node: Option<NodeId>| node.map(|node| Names::open(reader, &node)).transpose();
    match (open(nodes[OLD]), open(nodes[NEW])) {
        (Ok(old), Ok(new)) => stack.push(Level { sides: [old, new], beneath }),
        (Err(e), _) | (_, Err(e)) => changes.damaged(&beneath, e)?,
    }
    Ok(())
}

/// The node of a directory.
pub fn node(entry: &Entry) -> Option<NodeId> {
    match &entry.content {
        Content::Directory(subtree) => Some(subtree.node),
        _ => None,
    }
}

/// Tells in what two stored entries differ.
pub fn both(changes: &mut Changes<'_>, reader: &Reader, pair: [&Entry; 2], beneath: &[u8]) -> Result<()> {
    // What was passed on the way to what was pushed was not pushed itself.
    if pair.iter().all(|entry| entry.flags & FLAG_ANCESTOR != 0) {
        return Ok(());
    }
    let contents = match [&pair[OLD].content, &pair[NEW].content] {
        [Content::File(a), Content::File(b)] => {
            let sparse = (pair[OLD].flags | pair[NEW].flags) & FLAG_SPARSE != 0;
            match differ(reader, [a, b], sparse) {
                Ok(differ) => differ,
                Err(e) => {
                    changes.damaged(beneath, e)?;
                    true
                }
            }
        }
        _ => false,
    };
    changes.both(pair, beneath, contents, pair[OLD].xattrs != pair[NEW].xattrs)
}

/// Whether two files have other bytes. The same bytes are cut in the same way, so their chunks say so; where there were holes
/// the bytes themselves are asked, up to the first that differs.
pub fn differ(reader: &Reader, objects: [&Object; 2], sparse: bool) -> Result<bool, Error> {
    if objects[OLD] == objects[NEW] {
        return Ok(false);
    }
    if objects[OLD].size != objects[NEW].size || !sparse {
        return Ok(true);
    }
    let (mut a, mut b) = (Bytes::open(reader, objects[OLD])?, Bytes::open(reader, objects[NEW])?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        if left.is_empty() {
            left = a.next_piece()?.to_vec();
        }
        if right.is_empty() {
            right = b.next_piece()?.to_vec();
        }
        let len = left.len().min(right.len());
        if left[..len] != right[..len] {
            return Ok(true);
        }
        if len == 0 {
            return Ok(left.len() != right.len());
        }
        left.drain(..len);
        right.drain(..len);
    }
}
