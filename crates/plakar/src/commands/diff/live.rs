//! What is stored, compared with what is there now. Files are read and their chunks named; nothing of their stored bytes is
//! fetched.

use super::changes::{Changes, NEW, OLD};
use super::trees::{self, Names};
use crate::exit::{Failure, Result};
use plakar_engine::Error;
use plakar_engine::read::Reader;
use plakar_engine::source::{Content as LiveContent, Event, Item, Source};
use plakar_engine::tree::node::decode_xattrs;
use plakar_engine::tree::{
    Body, Chunks, Content, Entry, FLAG_BARE, FLAG_UNREADABLE, Kind, NodeId, Object, Subtree, Totals, Xattrs,
};
use plakar_fs::Walk;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// What is stored of where the comparison begins.
pub struct Stored {
    /// None of the root of a snapshot.
    pub entry: Option<Entry>,
    /// Its directory, if it is one.
    pub node: Option<NodeId>,
}

/// A directory of the machine that the walk is in, and what is stored of it.
struct Level<'a> {
    names: Known<'a>,
    beneath: Vec<u8>,
}

enum Known<'a> {
    /// These names are still to come.
    Names(Box<Names<'a>>),
    /// Nothing is stored of it.
    Nothing,
    /// What is stored is damaged: nothing can be said.
    Unknown,
}

/// What is stored of one entry.
enum Match {
    Stored(Box<Entry>),
    Nothing,
    Unknown,
}

/// Tells of everything that is otherwise on this machine at the absolute path `root`, which is so far beneath what is
/// compared.
pub fn compare(
    changes: &mut Changes<'_>,
    reader: &Reader,
    stored: Stored,
    root: &[u8],
    above: &[u8],
) -> Result<()> {
    let roots = [OsStr::from_bytes(root).to_owned()];
    let mut walk = Walk::new(&roots).map_err(|e| Failure::failed(e.to_string()))?;
    let mut begin = Some(stored);
    let mut stack: Vec<Level<'_>> = Vec::new();
    while let Some(event) = walk.next() {
        match event {
            // What leads to the root.
            Event::Enter(item) if item.ancestor => {}
            Event::Enter(item) | Event::Leaf(item) => {
                let is_directory = item.kind == Kind::Directory;
                let (beneath, matched, from_top) = match begin.take() {
                    Some(top) => (
                        above.to_vec(),
                        top.entry.map_or(Match::Unknown, |e| Match::Stored(Box::new(e))),
                        Some(top.node),
                    ),
                    None => {
                        let Some(level) = stack.last_mut() else { continue };
                        let beneath = [level.beneath.as_slice(), b"/", &item.name].concat();
                        (beneath, find(changes, reader, level, &item.name)?, None)
                    }
                };
                let mut node = None;
                let known = !matches!(matched, Match::Unknown);
                match &matched {
                    Match::Stored(entry) => {
                        node = trees::node(entry);
                        look_at(changes, reader, &mut walk, entry, &item, &beneath)?;
                        if let (Some(node), false) = (node, is_directory) {
                            trees::compare(changes, reader, [Some(node), None], &beneath)?;
                        }
                    }
                    Match::Nothing => changes.only(NEW, &entry_of(&item, Vec::new()), &beneath)?,
                    Match::Unknown => {}
                }
                if let Some(top) = from_top {
                    node = top;
                }
                if is_directory {
                    let names = match node.map(|node| Names::open(reader, &node)) {
                        Some(Ok(names)) => Known::Names(Box::new(names)),
                        Some(Err(e)) => {
                            changes.damaged(&beneath, e)?;
                            Known::Unknown
                        }
                        None if known => Known::Nothing,
                        None => Known::Unknown,
                    };
                    stack.push(Level { names, beneath });
                }
            }
            Event::Leave { unreadable } => {
                let Some(mut level) = stack.pop() else { continue };
                match unreadable {
                    // What was not listed may be there.
                    Some(error) => changes.problem(&level.beneath, &error.to_string()),
                    None => gone(changes, reader, &mut level, None)?,
                }
            }
            Event::Failed { name, error } => {
                if let Some(level) = stack.last_mut() {
                    let beneath = [level.beneath.as_slice(), b"/", &name].concat();
                    find(changes, reader, level, &name)?;
                    changes.problem(&beneath, &error.to_string());
                } else {
                    changes.problem(above, &error.to_string());
                }
            }
        }
    }
    Ok(())
}

/// What is stored under this name. What comes before it is not there any more.
fn find(changes: &mut Changes<'_>, reader: &Reader, level: &mut Level<'_>, name: &[u8]) -> Result<Match> {
    gone(changes, reader, level, Some(name))?;
    match &mut level.names {
        Known::Unknown => Ok(Match::Unknown),
        Known::Names(names) if names.name() == Some(name) => match names.take() {
            Ok(Some(entry)) => Ok(Match::Stored(Box::new(entry))),
            Ok(None) => Ok(Match::Unknown),
            Err(e) => {
                changes.damaged(&level.beneath, e)?;
                level.names = Known::Unknown;
                Ok(Match::Unknown)
            }
        },
        Known::Names(_) | Known::Nothing => Ok(Match::Nothing),
    }
}

/// Tells of what is stored before a name, or of all that is left, and is not there any more.
fn gone(
    changes: &mut Changes<'_>,
    reader: &Reader,
    level: &mut Level<'_>,
    before: Option<&[u8]>,
) -> Result<()> {
    loop {
        let Known::Names(names) = &mut level.names else { return Ok(()) };
        match names.name() {
            Some(name) if before.is_none_or(|before| name < before) => {}
            _ => return Ok(()),
        }
        match names.take() {
            Ok(Some(entry)) => {
                let beneath = [level.beneath.as_slice(), b"/", &entry.name].concat();
                changes.only(OLD, &entry, &beneath)?;
                trees::compare(changes, reader, [trees::node(&entry), None], &beneath)?;
            }
            Ok(None) => return Ok(()),
            Err(e) => {
                changes.damaged(&level.beneath, e)?;
                level.names = Known::Unknown;
            }
        }
    }
}

/// Tells in what the item of the last event differs from what is stored of it.
fn look_at(
    changes: &mut Changes<'_>,
    reader: &Reader,
    walk: &mut Walk,
    stored: &Entry,
    item: &Item,
    beneath: &[u8],
) -> Result<()> {
    let (xattrs, target) = match walk.extras() {
        Ok(extras) => (Some(extras.xattrs), extras.target),
        Err(e) => {
            changes.problem(beneath, &e.to_string());
            (None, Vec::new())
        }
    };
    let attributes = match (xattrs, stored_xattrs(reader, &stored.xattrs)) {
        (Some(_), _) if stored.flags & (FLAG_BARE | FLAG_UNREADABLE) != 0 => false,
        (Some(now), Ok(then)) => now != then,
        (None, Ok(_)) => false,
        (_, Err(e)) => {
            changes.damaged(beneath, e)?;
            false
        }
    };
    let mut contents = false;
    if let (Content::File(object), Kind::File) = (&stored.content, item.kind) {
        if stored.flags & FLAG_UNREADABLE != 0 {
            changes.problem(beneath, "cannot be compared: its content could not be read when it was pushed");
        } else if object.size != item.size {
            contents = true;
        } else {
            match walk
                .open()
                .and_then(|mut content| Ok((same(reader, object, &mut *content)?, content.settled()?)))
            {
                Ok((Ok(_), None)) => changes.problem(beneath, "changed while it was compared"),
                Ok((Ok(same), Some(_))) => contents = !same,
                Ok((Err(e), _)) => changes.damaged(beneath, e)?,
                Err(e) => changes.problem(beneath, &e.to_string()),
            }
        }
    }
    let mut now = entry_of(item, target);
    now.flags = stored.flags;
    if matches!((&stored.content, &now.content), (Content::Symlink(_), Content::Symlink(to)) if to.is_empty())
    {
        // Where it points could not be read, which is told already.
        now.content = stored.content.clone();
    }
    changes.both([stored, &now], beneath, contents, attributes)
}

/// What a walk saw, as far as it is shown.
fn entry_of(item: &Item, target: Vec<u8>) -> Entry {
    let content = match item.kind {
        Kind::File => Content::File(Object { size: item.size, body: Body::Inline(Vec::new()) }),
        Kind::Directory => Content::Directory(Subtree { node: NodeId([0; 32]), totals: Totals::default() }),
        Kind::Symlink => Content::Symlink(target),
        Kind::Fifo => Content::Fifo,
        Kind::Socket => Content::Socket,
        Kind::CharDevice => Content::CharDevice(item.device),
        Kind::BlockDevice => Content::BlockDevice(item.device),
    };
    Entry {
        name: item.name.clone(),
        meta: item.meta.clone(),
        xattrs: Xattrs::None,
        link_group: 0,
        flags: 0,
        content,
    }
}

type List = Vec<(Vec<u8>, Vec<u8>)>;

fn stored_xattrs(reader: &Reader, xattrs: &Xattrs) -> Result<List, Error> {
    match xattrs {
        Xattrs::None => Ok(List::new()),
        Xattrs::Inline(list) => Ok(list.clone()),
        Xattrs::Chunk { id, .. } => {
            decode_xattrs(&reader.chunk(id)?).map_err(|e| e.of(format!("extended attributes, chunk {id}")))
        }
    }
}

/// Whether a file has the bytes that are stored: as long as it is chunk by chunk what its name says. The outer error is the
/// machine's, the inner one the repository's.
fn same(reader: &Reader, object: &Object, content: &mut dyn LiveContent) -> io::Result<Result<bool, Error>> {
    let mut buffer = Vec::new();
    if let Body::Inline(bytes) = &object.body {
        return Ok(Ok(read(content, &mut buffer, bytes.len())? && buffer == *bytes && at_end(content)?));
    }
    let mut chunks = match Chunks::open(reader, object) {
        Ok(chunks) => chunks,
        Err(e) => return Ok(Err(e)),
    };
    loop {
        let row = match chunks.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Ok(at_end(content)?)),
            Err(e) => return Ok(Err(e)),
        };
        for _ in 0..row.repeat {
            if !read(content, &mut buffer, row.len as usize)? || reader.keys().chunk_id(&buffer) != row.id {
                return Ok(Ok(false));
            }
        }
    }
}

/// Reads so many bytes; `false` if there are fewer.
fn read(content: &mut dyn LiveContent, buffer: &mut Vec<u8>, len: usize) -> io::Result<bool> {
    buffer.resize(len, 0);
    let mut at = 0;
    while at < len {
        match content.read(&mut buffer[at..])? {
            0 => return Ok(false),
            n => at += n,
        }
    }
    Ok(true)
}

fn at_end(content: &mut dyn LiveContent) -> io::Result<bool> {
    Ok(content.read(&mut [0])? == 0)
}
