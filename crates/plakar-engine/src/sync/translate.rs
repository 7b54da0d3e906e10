//! Sending one snapshot into another domain: named, cut and sealed anew.
//!
//! Another domain has another secret or other chunk sizes, hence other cuts, other ids and other pages; only what a
//! file says of itself stays. What spares the work is a snapshot that both sides publish: its two trees say the same
//! of every path in two languages, so wherever the new tree of the source equals its old one, the destination's old one
//! is taken over. That pair of trees is the translation map; no other is kept.

use super::blocks::Blocks;
use super::lost::Lost;
use super::stored::{Stored, ZeroChunk};
use super::{Moving, Run};
use crate::block::ItemId;
use crate::check::WALKS_MAX;
use crate::error::{Error, Result};
use crate::push::{FileReader, OldRows, ReadError};
use crate::read::Reader;
use crate::tree::pages::PagesWriter;
use crate::tree::{Body, Chunks, Content, Directory, Entry, NodeId, Object, Subtree, Totals, Xattrs};
use crate::write::{Owner, Session};
use std::collections::HashMap;

/// So many translated directories are remembered within one snapshot.
const KNOWN_MAX: usize = 1 << 18;

/// Where a translation reads from.
pub struct Readers<'a> {
    /// The source.
    pub source: &'a Reader,
    /// The chunk of zeros at the source.
    pub zeros: ZeroChunk,
    /// Tells damage at the source from its end.
    pub blocks: &'a Blocks<'a>,
    /// The destination.
    pub destination: &'a Reader,
}

/// The directories of one path: in the tree to be sent, and in the two that stand for each other.
struct Level<'a> {
    entries: Directory<'a>,
    pair: Option<Pair<'a>>,
    /// The entry of the directory itself, but for what is beneath.
    entry: Option<Entry>,
    node: NodeId,
    path: Vec<u8>,
    pages: PagesWriter<Entry>,
    totals: Totals,
    /// How much was lost before it.
    lost: u64,
}

/// The same directory in both languages.
struct Pair<'a> {
    source: Cursor<'a>,
    destination: Cursor<'a>,
}

/// Entries by name, asked for in order.
struct Cursor<'a> {
    reader: &'a Reader,
    directory: Directory<'a>,
    next: Option<Entry>,
}

impl Pair<'_> {
    fn find(&mut self, name: &[u8]) -> Result<Option<(Entry, Entry)>> {
        let Some(source) = self.source.find(name)? else { return Ok(None) };
        Ok(self.destination.find(name)?.map(|destination| (source, destination)))
    }
}

impl<'a> Cursor<'a> {
    fn open(reader: &'a Reader, node: &NodeId) -> Result<Option<Cursor<'a>>> {
        match Directory::open(reader, node) {
            Ok(directory) => {
                let mut cursor = Cursor { reader, directory, next: None };
                cursor.advance()?;
                Ok(Some(cursor))
            }
            Err(e) => reader.lost(e).map(|_| None),
        }
    }

    /// A directory that cannot be read to its end has no more entries: what is not found is translated.
    fn advance(&mut self) -> Result<()> {
        self.next = match self.directory.next_entry() {
            Ok(next) => next,
            Err(e) => self.reader.lost(e).map(|_| None)?,
        };
        Ok(())
    }

    fn find(&mut self, name: &[u8]) -> Result<Option<Entry>> {
        while self.next.as_ref().is_some_and(|next| next.name.as_slice() < name) {
            self.advance()?;
        }
        let found = self.next.take_if(|next| next.name == name);
        if found.is_some() {
            self.advance()?;
        }
        Ok(found)
    }
}

/// Makes the tree `root` of the source at the destination. `pair` are the roots of a snapshot that both sides have,
/// the destination's held. Returns its root there, unless something is lost.
pub fn translate(
    run: &mut Run,
    readers: &Readers,
    root: &Subtree,
    pair: Option<(NodeId, NodeId)>,
    moving: &mut Moving,
) -> Result<(Option<Subtree>, Lost)> {
    let keys = moving.session.keys();
    let chunker = moving.session.repository().base.chunker.clone();
    let files = FileReader::new(chunker, keys.clone());
    let mut worker =
        Worker { run, readers, files, known: HashMap::new(), walked: HashMap::new(), lost: Lost::default() };
    let mut levels: Vec<Level> = Vec::new();
    worker.enter(&mut levels, None, &root.node, Vec::new(), pair)?;
    while let Some(level) = levels.last_mut() {
        worker.run.stop_if_interrupted(moving)?;
        match level.entries.next_entry() {
            Ok(Some(entry)) => {
                let path = match level.path.is_empty() {
                    true => entry.name.clone(),
                    false => [&level.path, b"/".as_slice(), &entry.name].concat(),
                };
                let known = match &mut level.pair {
                    Some(pair) => pair.find(&entry.name)?,
                    None => None,
                };
                if let Some(done) = worker.entry(entry, known, path, &mut levels, moving)? {
                    let level = levels.last_mut().expect("a leaf leaves its directory");
                    level.totals.add(&done);
                    level.pages.push(&done, &keys, &mut moving.session)?;
                }
            }
            Ok(None) => {
                let level = levels.pop().expect("it was looked at just now");
                let node = level.pages.finish(&keys, &mut moving.session)?;
                let subtree = Subtree { node, totals: level.totals };
                // What lost something must be told of again wherever it is met again.
                if worker.lost.told() > level.lost {
                    *worker.walked.entry(level.node).or_default() += 1;
                } else if worker.known.len() < KNOWN_MAX {
                    worker.known.insert(level.node, subtree);
                }
                let Some(mut entry) = level.entry else {
                    return Ok((worker.lost.is_empty().then_some(subtree), worker.lost));
                };
                entry.content = Content::Directory(subtree);
                let above = levels.last_mut().expect("all but the root have one above");
                above.totals.add(&entry);
                above.pages.push(&entry, &keys, &mut moving.session)?;
            }
            Err(e) => {
                let level = levels.pop().expect("it was looked at just now");
                *worker.walked.entry(level.node).or_default() += 1;
                worker.lost(Some(level.node.into()), e, &level.path)?;
            }
        }
    }
    Ok((None, worker.lost))
}

struct Worker<'r, 'o, 's> {
    run: &'r mut Run<'o>,
    readers: &'s Readers<'s>,
    files: FileReader,
    /// What became of directories that were met in this tree.
    known: HashMap<NodeId, Subtree>,
    /// How often directories were walked in which something is lost.
    walked: HashMap<NodeId, u32>,
    lost: Lost,
}

impl<'s> Worker<'_, '_, 's> {
    /// Notes that something at a path cannot be had: `item`, if it is known which.
    fn lost(&mut self, item: Option<ItemId>, error: Error, path: &[u8]) -> Result<()> {
        let why = self.readers.blocks.lost(error)?;
        // Many an error names it.
        match item.map(|item| item.to_string()).filter(|item| !why.contains(item)) {
            Some(item) => self.lost.add_path(path, &format!("{item}: {why}")),
            None => self.lost.add_path(path, &why),
        }
        Ok(())
    }

    fn enter(
        &mut self,
        levels: &mut Vec<Level<'s>>,
        entry: Option<Entry>,
        node: &NodeId,
        path: Vec<u8>,
        pair: Option<(NodeId, NodeId)>,
    ) -> Result<()> {
        let entries = match Directory::open(self.readers.source, node) {
            Ok(entries) => entries,
            Err(e) => return self.lost(Some((*node).into()), e, &path),
        };
        let pair = match pair {
            Some((source, destination)) => {
                let source = Cursor::open(self.readers.source, &source)?;
                let destination = Cursor::open(self.readers.destination, &destination)?;
                source.zip(destination).map(|(source, destination)| Pair { source, destination })
            }
            None => None,
        };
        let (pages, totals) = (PagesWriter::default(), Totals::default());
        let lost = self.lost.told();
        levels.push(Level { entries, pair, entry, node: *node, path, pages, totals, lost });
        Ok(())
    }

    /// Translates an entry; `known` is what stood there before, on both sides. `None` when it is a directory, which is
    /// entered, or when something of it is lost.
    fn entry(
        &mut self,
        mut entry: Entry,
        known: Option<(Entry, Entry)>,
        path: Vec<u8>,
        levels: &mut Vec<Level<'s>>,
        moving: &mut Moving,
    ) -> Result<Option<Entry>> {
        let (old, there) = known.unzip();
        if old.as_ref() == Some(&entry) {
            return Ok(there);
        }
        let owner = Owner(entry.meta.uid);
        if let Xattrs::Chunk { id, .. } = &entry.xattrs {
            entry.xattrs = match (&old, &there) {
                (Some(old), Some(there)) if old.xattrs == entry.xattrs => there.xattrs.clone(),
                _ => match self.readers.source.chunk(id) {
                    Ok(bytes) => {
                        let id = moving.session.put_chunk(owner, &bytes)?;
                        Xattrs::Chunk { id, len: bytes.len() as u32 }
                    }
                    Err(e) => {
                        self.lost(Some((*id).into()), e, &path)?;
                        return Ok(None);
                    }
                },
            };
        }
        let (old, there) = (old.map(|old| old.content), there.map(|there| there.content));
        match &entry.content {
            Content::Directory(subtree) => {
                let pair = match (&old, &there) {
                    (Some(Content::Directory(old)), Some(Content::Directory(there))) => Some((old, *there)),
                    _ => None,
                };
                let same = pair.filter(|(old, _)| old.node == subtree.node).map(|(_, there)| there);
                match same.or_else(|| self.known.get(&subtree.node).copied()) {
                    Some(done) => entry.content = Content::Directory(done),
                    // Enough was told of it, and the snapshot is withheld anyway.
                    None if self.walked.get(&subtree.node).is_some_and(|walks| *walks >= WALKS_MAX) => {
                        self.lost.add_unnamed();
                        return Ok(None);
                    }
                    None => {
                        let pair = pair.map(|(old, there)| (old.node, there.node));
                        let node = subtree.node;
                        self.enter(levels, Some(entry), &node, path, pair)?;
                        return Ok(None);
                    }
                }
            }
            Content::File(object) => {
                let there = match (old, there) {
                    (Some(Content::File(old)), Some(Content::File(there))) if old == *object => {
                        entry.content = Content::File(there);
                        return Ok(Some(entry));
                    }
                    (_, Some(Content::File(there))) => Some(there),
                    _ => None,
                };
                match self.object(object, there.as_ref(), owner, moving)? {
                    Ok(done) => entry.content = Content::File(done),
                    Err((item, e)) => {
                        self.lost(item, e, &path)?;
                        return Ok(None);
                    }
                }
            }
            _ => {}
        }
        Ok(Some(entry))
    }

    /// Cuts a file anew; `guess` says where it was cut before. What is wrong with the source is the inner error.
    fn object(
        &mut self,
        object: &Object,
        guess: Option<&Object>,
        owner: Owner,
        moving: &mut Moving,
    ) -> Result<Result<Object, (Option<ItemId>, Error)>> {
        if let Body::Inline(_) = object.body {
            return Ok(Ok(object.clone()));
        }
        let mut content = match Stored::open(self.readers, object) {
            Ok(content) => content,
            Err(e) => return Ok(Err((None, e))),
        };
        let guess = guess.and_then(|guess| {
            let rows = Chunks::open(self.readers.destination, guess).ok()?;
            Some((OldRows::new(rows), guess.size))
        });
        let Moving { session, counts, .. } = moving;
        let run = &mut *self.run;
        let mut tick = |session: &mut Session, bytes: u64| run.translated(session, counts, bytes);
        match self.files.read(&mut content, owner, true, guess, session, &mut tick) {
            Ok(done) => Ok(Ok(done)),
            Err(ReadError::Engine(e)) => Err(e),
            Err(ReadError::Source(e)) => Ok(Err(match content.error.take() {
                Some((chunk, error)) => (chunk.map(ItemId::from), error),
                None => (None, Error::Io { what: "a stored file".into(), source: e }),
            })),
        }
    }
}
