//! What the source has lost: why, and which paths need it.

use crate::block::ItemId;
use crate::check::WALKS_MAX;
use crate::error::Result;
use crate::read::Reader;
use crate::tree::{Chunks, Content, Directory, Entry, NodeId, Xattrs};
use std::collections::{BTreeMap, HashMap, HashSet};

/// So many paths of one snapshot are named; the rest is counted.
const PATHS_MAX: usize = 1000;

/// Items that cannot be had, each with the reason.
#[derive(Debug, Default)]
pub struct Lost {
    items: BTreeMap<ItemId, String>,
    /// What is known to need them already.
    paths: Vec<String>,
    more: u64,
}

impl Lost {
    /// Notes an item.
    pub fn add(&mut self, item: ItemId, why: String) {
        self.items.entry(item).or_insert(why);
    }

    /// Takes over what another one notes.
    pub fn append(&mut self, mut other: Lost) {
        self.items.append(&mut other.items);
        self.paths.append(&mut other.paths);
        self.more += other.more;
    }

    /// Notes that something at a path cannot be had.
    pub fn add_path(&mut self, path: &[u8], why: &str) {
        if self.paths.len() < PATHS_MAX {
            self.paths.push(sentence(path, why));
        } else {
            self.more += 1;
        }
    }

    /// Counts what cannot be had at paths that nobody wants to hear of any more.
    pub fn add_unnamed(&mut self) {
        self.more += 1;
    }

    /// How many paths it has named and counted so far.
    pub fn told(&self) -> u64 {
        self.paths.len() as u64 + self.more
    }

    /// Whether everything was there.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.paths.is_empty()
    }

    /// One sentence for each path of the tree at `root` that cannot be restored, and how many more there are; none when
    /// the tree needs nothing of this.
    ///
    /// # Errors
    /// What keeps it from being found out; not damage.
    pub fn tell_paths(&self, reader: &Reader, root: &NodeId) -> Result<(Vec<String>, u64)> {
        let mut told = Told { items: &self.items, paths: self.paths.clone(), more: self.more };
        if !self.items.is_empty() {
            told.walk(reader, root)?;
        }
        Ok((told.paths, told.more))
    }

    /// What cannot be had, each with the reason.
    pub fn items(&self) -> impl Iterator<Item = (&ItemId, &str)> {
        self.items.iter().map(|(item, why)| (item, why.as_str()))
    }
}

fn sentence(path: &[u8], why: &str) -> String {
    format!("/{}: {why}", String::from_utf8_lossy(path))
}

/// A walk that tells paths.
struct Told<'i> {
    items: &'i BTreeMap<ItemId, String>,
    paths: Vec<String>,
    more: u64,
}

impl Told<'_> {
    fn count(&self) -> u64 {
        self.paths.len() as u64 + self.more
    }

    fn tell(&mut self, path: &[u8], why: &str) {
        if self.paths.len() < PATHS_MAX {
            self.paths.push(sentence(path, why));
        } else {
            self.more += 1;
        }
    }

    fn walk(&mut self, reader: &Reader, root: &NodeId) -> Result<()> {
        let (mut whole, mut walked) = (HashSet::new(), HashMap::<NodeId, u32>::new());
        let mut levels = Vec::new();
        self.enter(reader, root, Vec::new(), &mut levels)?;
        while let Some((directory, path, node, told)) = levels.last_mut() {
            match directory.next_entry() {
                Ok(Some(entry)) => {
                    let path = match path.is_empty() {
                        true => entry.name.clone(),
                        false => [path, b"/".as_slice(), &entry.name].concat(),
                    };
                    self.entry(reader, &entry, &path)?;
                    if let Content::Directory(subtree) = &entry.content
                        && !whole.contains(&subtree.node)
                    {
                        if walked.get(&subtree.node).is_some_and(|walks| *walks >= WALKS_MAX) {
                            self.more += 1;
                            continue;
                        }
                        self.enter(reader, &subtree.node, path, &mut levels)?;
                    }
                }
                Ok(None) => {
                    if *told == self.count() {
                        whole.insert(*node);
                    } else {
                        *walked.entry(*node).or_default() += 1;
                    }
                    levels.pop();
                }
                Err(e) => {
                    let path = path.clone();
                    *walked.entry(*node).or_default() += 1;
                    levels.pop();
                    self.tell_error(e, &path)?;
                }
            }
        }
        Ok(())
    }

    fn enter<'a>(
        &mut self,
        reader: &'a Reader,
        node: &NodeId,
        path: Vec<u8>,
        levels: &mut Vec<(Directory<'a>, Vec<u8>, NodeId, u64)>,
    ) -> Result<()> {
        match Directory::open(reader, node) {
            Ok(directory) => levels.push((directory, path, *node, self.count())),
            Err(e) => self.tell_error(e, &path)?,
        }
        Ok(())
    }

    fn entry(&mut self, reader: &Reader, entry: &Entry, path: &[u8]) -> Result<()> {
        let why = |item: ItemId| self.items.get(&item).map(|why| format!("{item}: {why}"));
        if let Xattrs::Chunk { id, .. } = &entry.xattrs
            && let Some(why) = why((*id).into())
        {
            self.tell(path, &why);
            return Ok(());
        }
        let Content::File(object) = &entry.content else { return Ok(()) };
        let mut rows = match Chunks::open(reader, object) {
            Ok(rows) => rows,
            Err(e) => return self.tell_error(e, path),
        };
        loop {
            match rows.next_row() {
                Ok(Some(row)) => {
                    let item = ItemId::from(row.id);
                    if let Some(why) = self.items.get(&item).map(|why| format!("{item}: {why}")) {
                        self.tell(path, &why);
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(e) => return self.tell_error(e, path),
            }
        }
    }

    fn tell_error(&mut self, error: crate::Error, path: &[u8]) -> Result<()> {
        if error.is_damage() || error.is_not_found() || matches!(error, crate::Error::Store(_)) {
            self.tell(path, &error.to_string());
            return Ok(());
        }
        Err(error)
    }
}
