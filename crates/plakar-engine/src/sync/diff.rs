//! What a tree has that an earlier one has not.
//!
//! Both trees are read from the source, which has them both. Everything beneath the old one is at the destination,
//! because a snapshot that is visible there has it and is pinned; so equal nodes are skipped with all that is beneath
//! them, pages of large directories and of long chunk lists included. What is left is listed, a wave at a time: the
//! pages that can be read together are read together, so that the number of waves follows the depth of the tree.
//!
//! Without an old tree everything is listed. That a listed item is at the destination already proves nothing about
//! what is beneath it: it is not sent, but the walk goes on.
//!
//! Memory: a few hundred pages, and 16 bytes for each node that was seen.

use super::blocks::{Blocks, Wanted};
use super::lost::Lost;
use crate::block::ItemId;
use crate::error::Result;
use crate::id::NodeId;
use crate::tree::node::{ChunkPage, DirectoryLink, DirectoryPage};
use crate::tree::{Body, Content, Entry, Object, Row, Xattrs};
use crate::write::Owner;
use std::collections::{HashMap, HashSet};

/// So many nodes are looked at in one wave, unless told otherwise.
const WAVE_NODES: usize = 128;
/// So many nodes are remembered; more are walked again when they are met again.
const SEEN_MAX: usize = 1 << 20;
/// So many old pages of a chunk list are compared with a new one.
const OLD_PAGES_MAX: usize = 16;

/// A walk over what is new.
pub struct Diff {
    /// So many nodes are looked at in one wave.
    wave: usize,
    tasks: Vec<Task>,
    seen: HashSet<[u8; 16]>,
}

/// A node to be looked at.
struct Task {
    what: What,
    node: NodeId,
    /// Pages of the old tree that may hold some of the same.
    old: Vec<NodeId>,
    /// It was listed before and comes back with other old pages.
    again: bool,
}

enum What {
    /// A page of a directory, all of whose names come before this one.
    Directory { until: Option<Vec<u8>> },
    /// A page of the chunk list of a file.
    Chunks { owner: Owner },
}

impl Default for Diff {
    fn default() -> Diff {
        Diff { wave: WAVE_NODES, tasks: Vec::new(), seen: HashSet::new() }
    }
}

impl Diff {
    /// What the tree at `root` has that the one at `old` has not.
    pub fn new(root: NodeId, old: Option<NodeId>) -> Diff {
        let mut diff = Diff::default();
        diff.add(root, old);
        diff
    }

    /// One more tree: what was met before is not listed again.
    pub fn add(&mut self, root: NodeId, old: Option<NodeId>) {
        self.push(What::Directory { until: None }, root, old.into_iter().collect());
    }

    /// Looks at nodes one by one: nearly in the order in which a tree is read from front to back.
    pub fn one_by_one(self) -> Diff {
        Diff { wave: 1, ..self }
    }

    fn push(&mut self, what: What, node: NodeId, old: Vec<NodeId>) {
        let key = node.0[..16].try_into().expect("16 of 32");
        if old.contains(&node) || self.seen.contains(&key) {
            return;
        }
        if self.seen.len() < SEEN_MAX {
            self.seen.insert(key);
        }
        self.tasks.push(Task { what, node, old, again: false });
    }

    /// Looks at the next wave of nodes and appends what is new to `out`; what cannot be read is told to `lost`. `false`
    /// when there is nothing left.
    pub fn wave(&mut self, blocks: &Blocks, out: &mut Vec<Wanted>, lost: &mut Lost) -> Result<bool> {
        let from = self.tasks.len().saturating_sub(self.wave);
        let wave = self.tasks.split_off(from);
        let nodes: Vec<_> = wave.iter().flat_map(|t| t.old.iter().chain([&t.node])).copied().collect();
        blocks.prefetch(&nodes);
        let first_new = self.tasks.len();
        for task in wave.into_iter().rev() {
            let bytes = match blocks.node(&task.node) {
                Ok(bytes) => bytes,
                Err(e) => {
                    lost.add(task.node.into(), blocks.lost(e)?);
                    continue;
                }
            };
            if !task.again {
                out.push(Wanted { item: task.node.into(), owner: Owner::NODES });
            }
            let mut old = Vec::new();
            for id in &task.old {
                match blocks.node(id) {
                    Ok(bytes) => old.push((*id, bytes)),
                    // It costs time only, unless nothing can be read any more.
                    Err(e) => drop(blocks.lost(e)?),
                }
            }
            let malformed = match task.what {
                What::Directory { until } => DirectoryPage::decode(&bytes).map(|page| {
                    self.directory(&task.node, &page, until, &old, out);
                }),
                What::Chunks { owner } => ChunkPage::decode(&bytes).map(|page| {
                    self.chunks(&page, owner, &old, out);
                }),
            };
            if let Err(e) = malformed {
                lost.add(task.node.into(), e.of(format!("node {}", task.node)).to_string());
            }
        }
        // The last is taken first: so what comes first in the tree is sent first.
        self.tasks[first_new..].reverse();
        Ok(!self.tasks.is_empty())
    }

    fn directory(
        &mut self,
        node: &NodeId,
        page: &DirectoryPage,
        until: Option<Vec<u8>>,
        old: &[(NodeId, Vec<u8>)],
        out: &mut Vec<Wanted>,
    ) {
        let old: Vec<_> =
            old.iter().filter_map(|(id, bytes)| Some((*id, DirectoryPage::decode(bytes).ok()?))).collect();
        let (level, first) = match page {
            DirectoryPage::Entries(entries) => (0, entries.first().map(|e| &e.name)),
            DirectoryPage::Links(level, links) => (*level, links.first().map(|l| &l.first)),
        };
        let Some(first) = first else { return };
        let until = until.as_deref();
        if old.iter().any(|(_, page)| level_of(page) > level) {
            // The old directory had more levels: down to the same one first.
            let below = old.iter().flat_map(|(id, page)| match page {
                DirectoryPage::Links(above, links) if *above > level => overlapping(links, first, until),
                _ => vec![*id],
            });
            let old = below.collect();
            let what = What::Directory { until: until.map(<[u8]>::to_vec) };
            self.tasks.push(Task { what, node: *node, old, again: true });
            return;
        }
        match page {
            DirectoryPage::Links(_, links) => {
                let lower: Vec<_> =
                    old.iter().filter(|(_, page)| level_of(page) < level).map(|(id, _)| *id).collect();
                let same: Vec<DirectoryLink> = old
                    .iter()
                    .filter(|(_, page)| level_of(page) == level)
                    .flat_map(|(_, page)| match page {
                        DirectoryPage::Links(_, links) => links.clone(),
                        DirectoryPage::Entries(_) => Vec::new(),
                    })
                    .collect();
                let known: HashSet<_> = same.iter().map(|link| link.child).collect();
                for (at, link) in links.iter().enumerate() {
                    if known.contains(&link.child) {
                        continue;
                    }
                    let next = links.get(at + 1).map(|next| next.first.as_slice()).or(until);
                    let mut old = overlapping(&same, &link.first, next);
                    old.extend(&lower);
                    let what = What::Directory { until: next.map(<[u8]>::to_vec) };
                    self.push(what, link.child, old);
                }
            }
            DirectoryPage::Entries(entries) => {
                let known: HashMap<&[u8], &Entry> = old
                    .iter()
                    .flat_map(|(_, page)| match page {
                        DirectoryPage::Entries(entries) => entries.as_slice(),
                        DirectoryPage::Links(..) => &[],
                    })
                    .map(|entry| (entry.name.as_slice(), entry))
                    .collect();
                for entry in entries {
                    self.entry(entry, known.get(entry.name.as_slice()).copied(), out);
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry, old: Option<&Entry>, out: &mut Vec<Wanted>) {
        let owner = Owner(entry.meta.uid);
        if let Xattrs::Chunk { id, .. } = &entry.xattrs
            && old.is_none_or(|old| old.xattrs != entry.xattrs)
        {
            out.push(Wanted { item: (*id).into(), owner });
        }
        match &entry.content {
            Content::Directory(subtree) => {
                let old = match old.map(|old| &old.content) {
                    Some(Content::Directory(old)) => vec![old.node],
                    _ => Vec::new(),
                };
                self.push(What::Directory { until: None }, subtree.node, old);
            }
            Content::File(object) => {
                let old = match old.map(|old| &old.content) {
                    Some(Content::File(old)) => Some(old),
                    _ => None,
                };
                self.object(object, old, owner, out);
            }
            _ => {}
        }
    }

    fn object(&mut self, object: &Object, old: Option<&Object>, owner: Owner, out: &mut Vec<Wanted>) {
        match &object.body {
            Body::Inline(_) => {}
            Body::Rows(rows) => {
                let known: &[Row] = match old.map(|old| &old.body) {
                    Some(Body::Rows(old)) => old,
                    _ => &[],
                };
                let new = rows.iter().filter(|row| known.iter().all(|old| old.id != row.id));
                out.extend(new.map(|row| Wanted { item: row.id.into(), owner }));
            }
            Body::Tree(node) => {
                let old = match old.map(|old| &old.body) {
                    Some(Body::Tree(old)) => vec![*old],
                    _ => Vec::new(),
                };
                self.push(What::Chunks { owner }, *node, old);
            }
        }
    }

    fn chunks(&mut self, page: &ChunkPage, owner: Owner, old: &[(NodeId, Vec<u8>)], out: &mut Vec<Wanted>) {
        let old: Vec<_> = old.iter().filter_map(|(_, bytes)| ChunkPage::decode(bytes).ok()).collect();
        let below = || {
            old.iter().flat_map(|page| match page {
                ChunkPage::Links(_, links) => links.iter().map(|link| link.child).collect(),
                ChunkPage::Rows(_) => Vec::new(),
            })
        };
        match page {
            ChunkPage::Rows(rows) => {
                let known: HashSet<ItemId> = old
                    .iter()
                    .flat_map(|page| match page {
                        ChunkPage::Rows(rows) => rows.as_slice(),
                        ChunkPage::Links(..) => &[],
                    })
                    .map(|row| row.id.into())
                    .collect();
                let new = rows.iter().map(|row| ItemId::from(row.id)).filter(|item| !known.contains(item));
                out.extend(new.map(|item| Wanted { item, owner }));
            }
            ChunkPage::Links(_, links) => {
                let (known, new): (HashSet<_>, HashSet<_>) =
                    (below().collect(), links.iter().map(|link| link.child).collect());
                // Chunks have no names: a page that changed is compared with all that went.
                let gone: Vec<_> = below().filter(|id| !new.contains(id)).take(OLD_PAGES_MAX).collect();
                for link in links.iter().filter(|link| !known.contains(&link.child)) {
                    self.push(What::Chunks { owner }, link.child, gone.clone());
                }
            }
        }
    }
}

fn level_of(page: &DirectoryPage) -> u8 {
    match page {
        DirectoryPage::Entries(_) => 0,
        DirectoryPage::Links(level, _) => *level,
    }
}

/// The children of `links`, in order, that may hold names from `first` on, before `until`.
fn overlapping(links: &[DirectoryLink], first: &[u8], until: Option<&[u8]>) -> Vec<NodeId> {
    let begins_before = |link: &DirectoryLink| until.is_none_or(|until| link.first.as_slice() < until);
    let reaches = |at: usize| links.get(at + 1).is_none_or(|next| next.first.as_slice() > first);
    let all = links.iter().enumerate();
    all.filter(|(at, link)| begins_before(link) && reaches(*at)).map(|(_, link)| link.child).collect()
}
