//! The walk over what must stay.

use super::live::{Live, Met};
use crate::block::ItemId;
use crate::error::{Error, Result};
use crate::id::{NodeId, SessionId};
use crate::log::State;
use crate::protocol::Root;
use crate::read::Reader;
use crate::sync::lost::Lost;
use crate::tree::node::{ChunkPage, DirectoryPage};
use crate::tree::{Body, Content, Entry, NodeSource, Xattrs};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a node is a page of.
#[derive(Clone, Copy)]
enum Page {
    Directory,
    Chunks,
}

/// Notes everything that the trees of `kept` need. What is visible must be whole: it comes first, so that what is met
/// again under something unfinished was walked strictly before. Trees that were walked before cost nothing.
///
/// `skipped` says whether something unfinished that could not be read was passed over, and is for the next call: what is
/// beneath that is not noted, and may be visible by then, so then everything is walked again.
///
/// # Errors
/// [`Error::Damaged`] with a path when something visible cannot be read; store errors.
pub fn walk(
    live: &mut Live,
    reader: &Reader,
    state: &State,
    kept: &BTreeMap<SessionId, Root>,
    skipped: &mut bool,
    interrupted: &AtomicBool,
) -> Result<()> {
    if std::mem::take(skipped) {
        live.forget();
    }
    let (whole, hints): (Vec<_>, Vec<_>) =
        kept.iter().partition(|(session, _)| state.view.visible(**session));
    for (session, _) in whole {
        let root = state.root(*session, Root::Publication);
        let root = root.ok_or_else(|| Error::damaged("log/", "a visible snapshot has no tree"))?;
        if let Err((item, e)) = reach(live, reader, root, None, interrupted) {
            return Err(refusal(reader, root, item, e));
        }
    }
    for (session, kind) in hints {
        if let Some(root) = state.root(*session, *kind) {
            reach(live, reader, root, Some(skipped), interrupted).map_err(|(_, e)| e)?;
        }
    }
    Ok(())
}

fn refusal(reader: &Reader, root: NodeId, item: ItemId, error: Error) -> Error {
    if !(error.is_damage() || error.is_not_found()) {
        return error;
    }
    let mut lost = Lost::default();
    lost.add(item, error.to_string());
    let paths = lost.tell_paths(reader, &root).map(|(paths, _)| paths).unwrap_or_default();
    let what = paths.first().cloned().unwrap_or_else(|| format!("{item}: {error}"));
    let why = "a visible snapshot needs it, so nothing is deleted: 'plakar heal' may mend it, or remove the snapshot";
    Error::damaged(what, why)
}

/// Walks one tree; what is missing is an error, or told to `skipped`. The error says at which item.
fn reach(
    live: &mut Live,
    reader: &Reader,
    root: NodeId,
    mut skipped: Option<&mut bool>,
    interrupted: &AtomicBool,
) -> Result<(), (ItemId, Error)> {
    let mut waiting = vec![(Page::Directory, root)];
    while let Some((page, node)) = waiting.pop() {
        let item = ItemId::from(node);
        if interrupted.load(Ordering::Relaxed) {
            return Err((item, Error::Interrupted));
        }
        match live.need(&item) {
            Met::Again => continue,
            Met::First => {}
            Met::Nowhere => match &mut skipped {
                Some(skipped) => {
                    **skipped = true;
                    continue;
                }
                None => return Err((item, item.missing())),
            },
        }
        let found = reader.node(&node).and_then(|bytes| read_page(page, node, &bytes));
        let (below, chunks) = match (found, &mut skipped) {
            (Ok(found), _) => found,
            // That writer has yet to look.
            (Err(e), Some(skipped)) if e.is_damage() || e.is_not_found() => {
                **skipped = true;
                continue;
            }
            (Err(e), _) => return Err((item, e)),
        };
        for chunk in chunks {
            match (live.need(&chunk), &mut skipped) {
                (Met::First | Met::Again, _) => {}
                (Met::Nowhere, Some(skipped)) => **skipped = true,
                (Met::Nowhere, None) => return Err((chunk, chunk.missing())),
            }
        }
        // The last is taken first.
        waiting.extend(below.into_iter().rev());
    }
    Ok(())
}

/// The nodes and the chunks that a node names.
type Named = (Vec<(Page, NodeId)>, Vec<ItemId>);

fn read_page(page: Page, node: NodeId, bytes: &[u8]) -> Result<Named> {
    let malformed = |e: crate::codec::Malformed| e.of(format!("node {node}"));
    let (mut below, mut chunks) = Named::default();
    match page {
        Page::Directory => match DirectoryPage::decode(bytes).map_err(malformed)? {
            DirectoryPage::Links(_, links) => {
                below.extend(links.iter().map(|link| (Page::Directory, link.child)));
            }
            DirectoryPage::Entries(entries) => {
                entries.iter().for_each(|entry| read_entry(entry, &mut below, &mut chunks));
            }
        },
        Page::Chunks => match ChunkPage::decode(bytes).map_err(malformed)? {
            ChunkPage::Links(_, links) => below.extend(links.iter().map(|link| (Page::Chunks, link.child))),
            ChunkPage::Rows(rows) => chunks.extend(rows.iter().map(|row| ItemId::from(row.id))),
        },
    }
    Ok((below, chunks))
}

fn read_entry(entry: &Entry, below: &mut Vec<(Page, NodeId)>, chunks: &mut Vec<ItemId>) {
    if let Xattrs::Chunk { id, .. } = &entry.xattrs {
        chunks.push((*id).into());
    }
    match &entry.content {
        Content::Directory(subtree) => below.push((Page::Directory, subtree.node)),
        Content::File(object) => match &object.body {
            Body::Inline(_) => {}
            Body::Rows(rows) => chunks.extend(rows.iter().map(|row| ItemId::from(row.id))),
            Body::Tree(node) => below.push((Page::Chunks, *node)),
        },
        _ => {}
    }
}
