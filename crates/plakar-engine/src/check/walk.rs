//! Walking snapshots: proving that everything they need is there.

use super::packs::Verified;
use crate::block::ItemId;
use crate::error::{Error, Result};
use crate::id::{NodeId, ObjectHash};
use crate::pack::pack_name;
use crate::read::Reader;
use crate::repository::Repository;
use crate::tree::node::decode_xattrs;
use crate::tree::{Chunks, Content, Directory, Entry, Subtree, Totals, Xattrs};
use plakar_store::ErrorKind;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked of a chunk.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// To be found through the index in a pack that is there.
    Presence,
    /// That, and to have been seen in a pack with the right bytes.
    Seen(&'a Verified),
    /// To be read.
    Reading,
}

/// Told about a problem at a path.
pub type Problem<'p> = dyn FnMut(&[u8], &str) + 'p;

/// A directory beneath which something is wrong is walked for so many of the paths that lead to it. In a hostile tree of forty
/// directories there may be as many as 2^40.
pub(crate) const WALKS_MAX: u32 = 1000;

/// Walks trees, each healthy subtree once.
pub struct Walk<'a> {
    repo: &'a Repository,
    reader: &'a Reader,
    proof: Proof<'a>,
    interrupted: &'a AtomicBool,
    /// Directories beneath which nothing is wrong.
    healthy: HashSet<NodeId>,
    /// How often each of the others was walked.
    walked: HashMap<NodeId, u32>,
    /// Chunks that were read and found right.
    read: HashSet<ItemId>,
    /// How long packs are; `None` = it is not there.
    packs: HashMap<ObjectHash, Option<u64>>,
    pub directories: u64,
    pub files: u64,
    pub chunks: u64,
    pub bytes: u64,
}

/// A directory that is being walked.
struct Level<'a> {
    entries: Directory<'a>,
    subtree: Subtree,
    path: Vec<u8>,
    totals: Totals,
    healthy: bool,
}

impl<'a> Walk<'a> {
    pub fn new(
        repo: &'a Repository,
        reader: &'a Reader,
        proof: Proof<'a>,
        interrupted: &'a AtomicBool,
    ) -> Walk<'a> {
        Walk {
            repo,
            reader,
            proof,
            interrupted,
            healthy: HashSet::new(),
            walked: HashMap::new(),
            read: HashSet::new(),
            packs: HashMap::new(),
            directories: 0,
            files: 0,
            chunks: 0,
            bytes: 0,
        }
    }

    /// Walks a whole snapshot.
    pub fn root(&mut self, root: &Subtree, problem: &mut Problem) -> Result<()> {
        self.directory(root, b"", problem)
    }

    /// Walks a directory and everything beneath it.
    pub fn directory(&mut self, subtree: &Subtree, path: &[u8], problem: &mut Problem) -> Result<()> {
        let mut levels: Vec<Level> = Vec::new();
        if !self.enter(&mut levels, subtree, path.to_vec(), problem)? {
            return Ok(());
        }
        while let Some(level) = levels.last_mut() {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match level.entries.next_entry() {
                Ok(Some(entry)) => {
                    level.totals.add(&entry);
                    let path = [&level.path[..], b"/", &entry.name].concat();
                    let path = path.strip_prefix(b"/").unwrap_or(&path).to_vec();
                    let healthy = match &entry.content {
                        Content::Directory(subtree) => {
                            self.directories += 1;
                            let attributes = self.xattrs(&entry, &path, problem)?;
                            let subtree = *subtree;
                            attributes & (self.enter(&mut levels, &subtree, path, problem)?)
                        }
                        _ => {
                            self.files += 1;
                            self.leaf(&entry, &path, problem)?
                        }
                    };
                    if !healthy {
                        levels.iter_mut().for_each(|level| level.healthy = false);
                    }
                }
                Ok(None) => {
                    let level = levels.pop().expect("it was looked at just now");
                    if level.totals != level.subtree.totals {
                        problem(&level.path, "its totals are not those of what lies beneath");
                        levels.iter_mut().for_each(|level| level.healthy = false);
                    } else if level.healthy {
                        self.healthy.insert(level.subtree.node);
                        continue;
                    }
                    *self.walked.entry(level.subtree.node).or_default() += 1;
                }
                Err(e) => {
                    let level = levels.pop().expect("it was looked at just now");
                    self.report(e, &level.path, problem)?;
                    levels.iter_mut().for_each(|level| level.healthy = false);
                    *self.walked.entry(level.subtree.node).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Begins a directory unless it is known to be healthy. `false` when it cannot be read.
    fn enter(
        &mut self,
        levels: &mut Vec<Level<'a>>,
        subtree: &Subtree,
        path: Vec<u8>,
        problem: &mut Problem,
    ) -> Result<bool> {
        if self.healthy.contains(&subtree.node) {
            return Ok(true);
        }
        if self.walked.get(&subtree.node).is_some_and(|walks| *walks >= WALKS_MAX) {
            problem(&path, &format!("what is wrong beneath it was told {WALKS_MAX} times"));
            return Ok(false);
        }
        match Directory::open(self.reader, &subtree.node) {
            Ok(entries) => {
                let totals = Totals::default();
                levels.push(Level { entries, subtree: *subtree, path, totals, healthy: true });
                Ok(true)
            }
            Err(e) => {
                self.report(e, &path, problem)?;
                Ok(false)
            }
        }
    }

    /// Proves everything that an entry which is no directory needs; `false` when something is wrong.
    pub fn leaf(&mut self, entry: &Entry, path: &[u8], problem: &mut Problem) -> Result<bool> {
        let mut healthy = self.xattrs(entry, path, problem)?;
        let Content::File(object) = &entry.content else { return Ok(healthy) };
        let mut chunks = match Chunks::open(self.reader, object) {
            Ok(chunks) => chunks,
            Err(e) => {
                self.report(e, path, problem)?;
                return Ok(false);
            }
        };
        loop {
            match chunks.next_row() {
                Ok(Some(row)) => {
                    self.chunks += 1;
                    if let Err(e) = self.chunk(&row.id.into(), Some(row.len)) {
                        self.report(e, path, problem)?;
                        healthy = false;
                    }
                }
                Ok(None) => return Ok(healthy),
                Err(e) => {
                    self.report(e, path, problem)?;
                    return Ok(false);
                }
            }
        }
    }

    fn xattrs(&mut self, entry: &Entry, path: &[u8], problem: &mut Problem) -> Result<bool> {
        let Xattrs::Chunk { id, len } = &entry.xattrs else { return Ok(true) };
        let result = self.chunk(&(*id).into(), Some(*len)).and_then(|()| match self.proof {
            Proof::Presence => Ok(()),
            _ => decode_xattrs(&self.reader.chunk(id)?).map(drop).map_err(|e| e.of(format!("chunk {id}"))),
        });
        match result {
            Ok(()) => Ok(true),
            Err(e) => {
                self.report(e, path, problem)?;
                Ok(false)
            }
        }
    }

    fn chunk(&mut self, item: &ItemId, len: Option<u32>) -> Result<()> {
        match self.proof {
            Proof::Presence => self.is_there(item),
            Proof::Seen(verified) if verified.has(item) => self.is_there(item),
            // Not seen with the right bytes anywhere: reading it tells what is wrong.
            Proof::Seen(_) | Proof::Reading => {
                if self.read.contains(item) {
                    return Ok(());
                }
                let found = self.reader.with_item(item, &mut |bytes| bytes.len())?;
                if len.is_some_and(|len| len as usize != found) {
                    return Err(Error::damaged(item, "is not as long as its file says"));
                }
                self.bytes += found as u64;
                self.read.insert(*item);
                Ok(())
            }
        }
    }

    /// Whether an item is found through the index, in a pack that is there and long enough: as the log is now, if not as it
    /// was.
    fn is_there(&mut self, item: &ItemId) -> Result<()> {
        match self.is_where_it_was(item) {
            Err(e) if e.is_damage() && self.reader.look_again(item)? => self.is_where_it_was(item),
            result => result,
        }
    }

    fn is_where_it_was(&mut self, item: &ItemId) -> Result<()> {
        let mut missing = None;
        for place in self.reader.places(item)? {
            if self.repo.state().view.bad(place.pack, place.offset) {
                let why = format!("the only copies of {item} are known to be bad");
                missing.get_or_insert(Error::damaged(pack_name(&place.pack), why));
                continue;
            }
            let len = match self.packs.get(&place.pack) {
                Some(len) => *len,
                None => {
                    let len = match self.repo.base().store.len(&pack_name(&place.pack)) {
                        Ok(len) => Some(len),
                        Err(e) if e.kind() == ErrorKind::NotFound => None,
                        Err(e) => return Err(e.into()),
                    };
                    self.packs.insert(place.pack, len);
                    len
                }
            };
            let end = u64::from(place.offset) + u64::from(place.sealed_len);
            match len {
                Some(len) if len >= end => return Ok(()),
                Some(_) => {
                    missing = Some(Error::damaged(pack_name(&place.pack), format!("ends before {item}")))
                }
                None => {
                    missing = Some(Error::damaged(pack_name(&place.pack), format!("is missing, with {item}")))
                }
            }
        }
        Err(missing.unwrap_or_else(|| item.missing()))
    }

    /// Tells of damage at a path; what is not damage ends the walk.
    fn report(&self, e: Error, path: &[u8], problem: &mut Problem) -> Result<()> {
        let what = self.repo.base().lost(e)?;
        problem(path, &what);
        Ok(())
    }
}
