//! `plakar find`: where in the snapshots something is.

use super::ls::{entry_json, entry_line};
use crate::args::Find;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::refs::Reference;
use crate::repo::Purpose;
use crate::wanted::Wanted;
use crate::{format, refs, repo};
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{Content, Directory, Entry, NodeId, find_path};
use std::collections::HashSet;

/// Prints what is wanted of each snapshot. Whether there was anything is the answer.
pub fn run(context: &Context, args: &Find) -> Result<Code> {
    let (wanted, words) = Wanted::of(args)?;
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = match words {
        [] => snapshots.iter().map(|snapshot| Reference { snapshot: *snapshot, path: None }).collect(),
        words => refs::resolve(&snapshots, words)?,
    };
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut starts = Vec::new();
    for reference in &references {
        let row = reference.snapshot.row;
        let entry = match reference.path() {
            b"" => None,
            path => Some(find_path(&reader, &row.root, path)?.ok_or_else(|| {
                let (uuid, path) = (row.uuid_text(), reference.shown_path());
                Failure::failed(format!("{uuid}:{path}: no such path in the snapshot"))
            })?),
        };
        starts.push((reference, entry));
    }
    let mut search = Search {
        context,
        reader: &reader,
        data: Data::begin()?,
        wanted,
        uuid: String::new(),
        barren: HashSet::new(),
        any: false,
    };
    for (reference, entry) in starts {
        search.uuid = reference.snapshot.row.uuid_text();
        match entry {
            None => search.beneath(&reference.snapshot.row.root.node, Vec::new())?,
            Some(entry) => {
                let path = [b"/", reference.path()].concat();
                search.look_at(&entry, &path)?;
                if let Content::Directory(subtree) = &entry.content {
                    search.beneath(&subtree.node, path)?;
                }
            }
        }
    }
    search.data.end()?;
    Ok(if search.any { Code::Done } else { Code::NO })
}

/// So many directories in which nothing is are remembered: some 30 MB. Then all are forgotten, and looked at once more.
const BARREN_MAX: usize = 1 << 19;

/// A directory, and if paths matter, where it is.
type Key = [u8; 16];

struct Search<'a> {
    context: &'a Context,
    reader: &'a Reader,
    data: Data,
    wanted: Wanted,
    /// The snapshot that is looked at.
    uuid: String,
    /// Directories with nothing in or beneath them that is wanted. Snapshots share most of theirs, so nearly all of what is
    /// looked at again is what there is to print.
    barren: HashSet<Key>,
    any: bool,
}

/// A directory on the way down.
struct Level<'a> {
    directory: Directory<'a>,
    path: Vec<u8>,
    key: Key,
    /// Nothing was found in it, and nothing was damaged.
    barren: bool,
}

impl<'a> Search<'a> {
    /// Looks at everything beneath a directory. What is damaged is told about; the rest is looked at.
    ///
    /// The stack is as high as the tree is deep and holds a page of each directory on the way.
    fn beneath(&mut self, node: &NodeId, path: Vec<u8>) -> Result<()> {
        let mut stack: Vec<Level<'a>> = Vec::new();
        self.descend(&mut stack, node, path)?;
        while let Some(level) = stack.last_mut() {
            match level.directory.next_entry() {
                Ok(Some(entry)) => {
                    let path = [level.path.as_slice(), b"/", &entry.name].concat();
                    level.barren &= !self.look_at(&entry, &path)?;
                    if let Content::Directory(subtree) = &entry.content {
                        self.descend(&mut stack, &subtree.node, path)?;
                    }
                }
                Ok(None) => {
                    let level = stack.pop().expect("it was there");
                    self.leave(&mut stack, level);
                }
                Err(e) => {
                    // What follows in this directory cannot be found.
                    let mut level = stack.pop().expect("it was there");
                    self.damaged(&level.path, e)?;
                    level.barren = false;
                    self.leave(&mut stack, level);
                }
            }
        }
        Ok(())
    }

    fn descend(&mut self, stack: &mut Vec<Level<'a>>, node: &NodeId, path: Vec<u8>) -> Result<()> {
        let key = self.key(node, &path);
        if self.barren.contains(&key) || !self.wanted.may_be_beneath(&path) {
            return Ok(());
        }
        match Directory::open(self.reader, node) {
            Ok(directory) => stack.push(Level { directory, path, key, barren: true }),
            Err(e) => {
                self.damaged(&path, e)?;
                stack.iter_mut().rev().take(1).for_each(|above| above.barren = false);
            }
        }
        Ok(())
    }

    fn leave(&mut self, stack: &mut [Level<'a>], level: Level<'a>) {
        if level.barren {
            if self.barren.len() >= BARREN_MAX {
                self.barren.clear();
            }
            self.barren.insert(level.key);
        } else if let Some(above) = stack.last_mut() {
            above.barren = false;
        }
    }

    fn key(&self, node: &NodeId, path: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&node.0);
        if self.wanted.minds_paths() {
            hasher.update(path);
        }
        hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32")
    }

    /// Prints the entry if it is wanted; whether it is.
    fn look_at(&mut self, entry: &Entry, path: &[u8]) -> Result<bool> {
        if !self.wanted.is(entry, path) {
            return Ok(false);
        }
        self.any = true;
        if self.context.output.json {
            let mut value = entry_json(entry, path);
            value["snapshot"] = self.uuid.as_str().into();
            self.data.json(&value)?;
        } else {
            let shown = format!("{}:{}", self.uuid, format::printable(path));
            self.data.line(&entry_line(entry, &shown))?;
        }
        Ok(true)
    }

    fn damaged(&self, path: &[u8], error: plakar_engine::Error) -> Result<()> {
        if !error.is_damage() && !error.is_not_found() {
            return Err(error.into());
        }
        let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
        self.context.output.damage(&format!("{}:{path}: {error}", self.uuid));
        Ok(())
    }
}
