//! A push in progress: from the events of a source to nodes and chunks.

use super::base::{self, Base, BaseDir};
use super::file::{FileReader, OldRows, ReadError};
use super::hints::HintsWriter;
use super::links::LinkGroups;
use super::schedule::Schedule;
use super::{Observer, Progress, PushOptions};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::log::fact::Partial;
use crate::read::Reader;
use crate::source::{Event, Item, Source};
use crate::tree::node::{encode_xattrs, is_name, is_target};
use crate::tree::pages::{NodeSink, PagesWriter};
use crate::tree::{
    Body, Chunks, Content, Entry, FLAG_ANCESTOR, FLAG_BARE, FLAG_CHANGED, FLAG_SPARSE, FLAG_UNREADABLE,
    FLAGS_PROBLEM, Kind, NodeId, Object, Subtree, Totals, XATTRS_INLINE_MAX, Xattrs, find_path,
};
use crate::write::{Owner, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often a file that changes while it is read is read again.
const READ_ATTEMPTS: usize = 3;

/// A push in progress.
pub struct Push<'a> {
    pub reader: &'a Reader,
    pub keys: Arc<DomainKeys>,
    pub session: Session,
    pub bases: Vec<Base>,
    pub options: &'a PushOptions,
    pub observer: &'a mut dyn Observer,
    pub interrupted: &'a AtomicBool,
    pub files: FileReader,
    pub hints: HintsWriter,
    pub links: LinkGroups,
    /// The directories from the root to the current item.
    pub frames: Vec<Frame<'a>>,
    pub root: Option<Subtree>,
    /// The roots that were asked for, by path, as they were captured; none if that is all of it.
    pub tops: Vec<(Vec<u8>, Entry)>,
    pub progress: Progress,
    pub source_digest: [u8; 32],
    pub schedule: Schedule,
}

/// A directory that is being captured.
pub struct Frame<'a> {
    /// Its entry, but for what lies beneath.
    entry: Entry,
    pages: PagesWriter<Entry>,
    totals: Totals,
    bases: Vec<BaseDir<'a>>,
}

impl<'a> Push<'a> {
    /// Captures everything that `source` yields.
    pub fn walk(&mut self, source: &mut dyn Source) -> Result<()> {
        while let Some(event) = source.next() {
            self.stop_if_interrupted()?;
            match event {
                Event::Enter(item) => self.enter(storable(item), source)?,
                Event::Leave { unreadable } => self.leave(unreadable, source)?,
                Event::Leaf(item) => self.leaf(storable(item), source)?,
                Event::Failed { name, error } => self.failed(name, &error, source)?,
            }
            if self.schedule.is_due() {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    fn stop_if_interrupted(&mut self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            self.checkpoint()?;
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    fn problem(&mut self, source: &dyn Source, what: &str) {
        self.observer.problem(&source.path(), what);
    }

    fn told(&mut self) {
        self.progress.bytes_new = self.session.new_chunk_bytes();
        self.progress.bytes_stored = self.session.stored_bytes();
        self.observer.progress(&self.progress);
    }

    fn enter(&mut self, item: Item, source: &mut dyn Source) -> Result<()> {
        self.progress.items += 1;
        let mut bases = Vec::new();
        let mut entry = Entry {
            name: item.name.clone(),
            meta: item.meta.clone(),
            xattrs: Xattrs::None,
            link_group: 0,
            flags: if item.ancestor { FLAG_ANCESTOR } else { 0 },
            content: Content::Directory(Subtree {
                node: crate::id::NodeId([0; 32]),
                totals: Totals::default(),
            }),
        };
        let depth = self.frames.len();
        match self.frames.last_mut() {
            None => {
                for (number, base) in self.bases.iter().enumerate() {
                    bases.extend(BaseDir::open(number, self.reader, &base.root));
                }
            }
            Some(above) => {
                for dir in &mut above.bases {
                    if let Some(old) = dir.find(&item.name)
                        && let Content::Directory(subtree) = &old.content
                    {
                        bases.extend(BaseDir::open(dir.base, self.reader, &subtree.node));
                    }
                }
            }
        }
        if depth > 0 {
            if !is_name(&item.name) {
                return Err(Error::Refused(format!("a source named an entry {:?}", item.name)));
            }
            self.hints.write(depth - 1, &item.name, 0);
            for base in &mut self.bases {
                if let Some(hints) = &mut base.hints {
                    hints.find(depth - 1, &item.name);
                }
            }
            match source.extras() {
                Ok(extras) => entry.xattrs = self.store_xattrs(&extras.xattrs, &item, source)?,
                Err(e) => {
                    entry.flags |= FLAG_BARE;
                    self.problem(source, &format!("cannot read its attributes: {e}"));
                }
            }
        }
        self.frames.push(Frame { entry, pages: PagesWriter::default(), totals: Totals::default(), bases });
        self.told();
        Ok(())
    }

    fn leave(&mut self, unreadable: Option<std::io::Error>, source: &mut dyn Source) -> Result<()> {
        let frame =
            self.frames.pop().ok_or_else(|| Error::Refused("a source left more than it entered".into()))?;
        let mut entry = frame.entry;
        if let Some(e) = unreadable {
            entry.flags |= FLAG_UNREADABLE;
            self.problem(source, &format!("cannot list all of the directory: {e}"));
        }
        let mut pages = Pages { session: &mut self.session, all: &self.bases, beside: &frame.bases };
        let node = frame.pages.finish(&self.keys, &mut pages)?;
        let subtree = Subtree { node, totals: frame.totals };
        if !self.frames.is_empty() {
            entry.content = Content::Directory(subtree);
            self.note_top(&entry);
        }
        match self.frames.last_mut() {
            Some(above) => add(above, entry, &self.keys, &self.bases, &mut self.session),
            None => {
                self.root = Some(subtree);
                Ok(())
            }
        }
    }

    fn leaf(&mut self, item: Item, source: &mut dyn Source) -> Result<()> {
        self.progress.items += 1;
        if !is_name(&item.name) {
            return Err(Error::Refused(format!("a source named an entry {:?}", item.name)));
        }
        let depth = self.frames.len();
        let link_group = self.link_group(&item, source);
        let above =
            self.frames.last_mut().ok_or_else(|| Error::Refused("a leaf outside any directory".into()))?;
        let mut old_entries: Vec<(usize, u64, Entry)> = Vec::new();
        for dir in &mut above.bases {
            if let Some(old) = dir.find(&item.name) {
                old_entries.push((dir.base, 0, old));
            }
        }
        self.hints.write(depth - 1, &item.name, item.fingerprint);
        for (number, base) in self.bases.iter_mut().enumerate() {
            if let Some(hints) = &mut base.hints {
                let seen = hints.find(depth - 1, &item.name);
                old_entries.iter_mut().filter(|(n, ..)| *n == number).for_each(|(_, f, _)| *f = seen);
            }
        }
        for (number, seen, old) in &old_entries {
            if is_unchanged(self.options, &item, *seen, old) && self.may_take_over(*number, old)? {
                let mut entry = old.clone();
                entry.meta = item.meta.clone();
                entry.link_group = link_group;
                self.told();
                return self.add_to_current(entry);
            }
        }
        let old = old_entries.into_iter().next().map(|(_, _, old)| old);
        let entry = self.capture(item, link_group, old, source)?;
        self.told();
        self.add_to_current(entry)
    }

    /// Records an entry of which nothing but the name is known.
    fn failed(&mut self, name: Vec<u8>, error: &std::io::Error, source: &dyn Source) -> Result<()> {
        self.progress.items += 1;
        self.problem(source, &format!("cannot be looked at: {error}"));
        if !is_name(&name) {
            // A name too long for any file system of ours; the report is all that is left of it.
            return Ok(());
        }
        self.add_to_current(Entry {
            name,
            meta: Default::default(),
            xattrs: Xattrs::None,
            link_group: 0,
            flags: FLAG_UNREADABLE,
            content: Content::File(Object { size: 0, body: Body::Inline(Vec::new()) }),
        })
    }

    fn add_to_current(&mut self, entry: Entry) -> Result<()> {
        self.note_top(&entry);
        let above = self.frames.last_mut().expect("a leaf lies in a directory");
        add(above, entry, &self.keys, &self.bases, &mut self.session)
    }

    /// Notes an entry of the innermost directory, if it is a root.
    fn note_top(&mut self, entry: &Entry) {
        let beneath_root = |frame: &Frame| frame.entry.flags & FLAG_ANCESTOR == 0;
        if entry.flags & FLAG_ANCESTOR != 0 || self.frames.last().is_none_or(beneath_root) {
            return;
        }
        let names = self.frames[1..].iter().map(|frame| &frame.entry.name).chain([&entry.name]);
        let path = names.flat_map(|name| [b"/", &name[..]].concat()).collect();
        self.tops.push((path, entry.clone()));
    }

    /// Whether what was captured is what lies at the same paths in the tree of `old`, of the same roots. What is only on the
    /// way to them does not count: who pushes a home directory does not mean `/home`.
    pub fn is_as_in(&self, old: &Subtree) -> Result<bool> {
        if self.root == Some(*old) {
            return Ok(true);
        }
        for (path, entry) in &self.tops {
            match find_path(self.reader, old, path) {
                Ok(Some(found)) if found == *entry => {}
                Err(e) if !e.is_damage() && !e.is_not_found() => return Err(e),
                _ => return Ok(false),
            }
        }
        Ok(!self.tops.is_empty())
    }

    /// The hard-link group of an item: made of the first path under which this run meets the file.
    fn link_group(&mut self, item: &Item, source: &dyn Source) -> u64 {
        if item.same_file == 0 {
            return 0;
        }
        let keys = &self.keys;
        self.links.of(item.same_file, || {
            let path = source.path();
            // Relative to its root, so that the same tree elsewhere has the same groups.
            let roots = self.options.roots.iter().enumerate();
            let inside = roots.filter_map(|(n, root)| Some((n, path.strip_prefix(root.as_slice())?)));
            let (number, relative) = inside.min_by_key(|(_, rest)| rest.len()).unwrap_or((0, &path));
            keys.link_group(number as u32, relative)
        })
    }

    fn may_take_over(&mut self, base: usize, old: &Entry) -> Result<bool> {
        Ok(self.bases[base].held || base::is_stored(old, self.reader, &mut self.session)?)
    }

    /// Captures an item that is new or may have changed.
    fn capture(
        &mut self,
        item: Item,
        link_group: u64,
        old: Option<Entry>,
        source: &mut dyn Source,
    ) -> Result<Entry> {
        let mut entry = Entry {
            name: item.name.clone(),
            meta: item.meta.clone(),
            xattrs: Xattrs::None,
            link_group,
            flags: 0,
            content: Content::Fifo,
        };
        let extras = match source.extras() {
            Ok(extras) => extras,
            Err(e) => {
                entry.flags |= FLAG_BARE;
                self.problem(source, &format!("cannot read its attributes: {e}"));
                Default::default()
            }
        };
        entry.xattrs = self.store_xattrs(&extras.xattrs, &item, source)?;
        entry.content = match item.kind {
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            Kind::CharDevice => Content::CharDevice(item.device),
            Kind::BlockDevice => Content::BlockDevice(item.device),
            Kind::Symlink if !is_target(&extras.target) => {
                // Nothing says where it points: what can be said of it is that it was there.
                if entry.flags & FLAG_BARE == 0 {
                    self.problem(source, "points to what no link can point to");
                }
                entry.flags |= FLAG_UNREADABLE;
                Content::Symlink(b"?".to_vec())
            }
            Kind::Symlink => Content::Symlink(extras.target),
            Kind::Directory => return Err(Error::Refused("a source yielded a directory as a leaf".into())),
            Kind::File => {
                let empty = Object { size: 0, body: Body::Inline(Vec::new()) };
                // One that says it is empty is read too: some file systems say so of files that are not.
                match self.read_file(&item, old.as_ref(), &mut entry, source) {
                    Ok(object) => Content::File(object),
                    Err(ReadError::Engine(e)) => return Err(e),
                    Err(ReadError::Source(e)) => {
                        entry.flags |= FLAG_UNREADABLE;
                        self.problem(source, &format!("cannot read: {e}"));
                        Content::File(empty)
                    }
                }
            }
        };
        Ok(entry)
    }

    fn owner(&self, item: &Item) -> Owner {
        if item.meta.uid == self.options.uid { Owner::SELF } else { Owner(item.meta.uid) }
    }

    fn read_file(
        &mut self,
        item: &Item,
        old: Option<&Entry>,
        entry: &mut Entry,
        source: &mut dyn Source,
    ) -> Result<Object, ReadError> {
        let path = source.path();
        let owner = self.owner(item);
        let mut content = source.open()?;
        self.progress.files_read += 1;
        for attempt in 1.. {
            let old = old.and_then(|old| match &old.content {
                Content::File(object) if matches!(object.body, Body::Rows(_) | Body::Tree(_)) => {
                    Some((OldRows::new(Chunks::open(self.reader, object).ok()?), object.size))
                }
                _ => None,
            });
            let (progress, interrupted) = (&mut self.progress, self.interrupted);
            let (schedule, observer) = (&mut self.schedule, &mut *self.observer);
            let mut tick = |session: &mut Session, bytes: u64| {
                progress.bytes_read += bytes;
                schedule.bytes += bytes;
                progress.bytes_new = session.new_chunk_bytes();
                progress.bytes_stored = session.stored_bytes();
                observer.progress(progress);
                if interrupted.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                if schedule.is_due() {
                    session.checkpoint(None)?;
                    schedule.done();
                }
                Ok(())
            };
            let object =
                self.files.read(&mut *content, owner, item.sparse, old, &mut self.session, &mut tick);
            let object = match object {
                // What was stored of this file so far is announced too, with a root that does not hold the file yet.
                Err(ReadError::Engine(Error::Interrupted)) => {
                    drop(content);
                    self.checkpoint()?;
                    return Err(Error::Interrupted.into());
                }
                object => object?,
            };
            let now = match content.settled()? {
                Some(now) => now,
                None if attempt < READ_ATTEMPTS => {
                    content.rewind()?;
                    continue;
                }
                None => {
                    entry.flags |= FLAG_CHANGED;
                    self.observer.problem(&path, "changed while it was read");
                    content.item()?
                }
            };
            let now = storable(now);
            entry.meta = now.meta;
            if now.sparse {
                entry.flags |= FLAG_SPARSE;
            }
            return Ok(object);
        }
        unreachable!("the last attempt returns")
    }

    fn store_xattrs(
        &mut self,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        item: &Item,
        source: &dyn Source,
    ) -> Result<Xattrs> {
        if xattrs.is_empty() {
            return Ok(Xattrs::None);
        }
        if xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= XATTRS_INLINE_MAX {
            return Ok(Xattrs::Inline(xattrs.to_vec()));
        }
        let mut bytes = Vec::new();
        encode_xattrs(xattrs, &mut bytes);
        if bytes.len() > crate::block::RAW_MAX {
            self.problem(source, "has too many extended attributes: they are not captured");
            return Ok(Xattrs::None);
        }
        let id = self.session.put_chunk(self.owner(item), &bytes)?;
        Ok(Xattrs::Chunk { id, len: bytes.len() as u32 })
    }

    /// Announces what was stored so far, with a root that holds what was captured so far.
    fn checkpoint(&mut self) -> Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let mut beneath: Option<Entry> = None;
        let mut root = None;
        for frame in self.frames.iter().rev() {
            let mut copy = Frame {
                entry: frame.entry.clone(),
                pages: frame.pages.clone(),
                totals: frame.totals,
                bases: Vec::new(),
            };
            if let Some(entry) = beneath.take() {
                add(&mut copy, entry, &self.keys, &self.bases, &mut self.session)?;
            }
            let node = copy.pages.finish(&self.keys, &mut self.session)?;
            let subtree = Subtree { node, totals: copy.totals };
            beneath = Some(Entry { content: Content::Directory(subtree), ..copy.entry });
            root = Some(subtree);
        }
        let root = root.expect("there is a frame");
        self.hints.flush();
        self.session.checkpoint(Some(Partial { root, source: self.source_digest }))?;
        self.schedule.done();
        Ok(())
    }
}

/// Whether an item is as it was, when its fingerprint was `seen`.
pub fn is_unchanged(options: &PushOptions, item: &Item, seen: u64, old: &Entry) -> bool {
    let same = old.content.kind() == item.kind
        && old.meta.mtime == item.meta.mtime
        && old.flags & FLAGS_PROBLEM == 0
        && match &old.content {
            Content::File(object) => object.size == item.size,
            _ => true,
        };
    let hinted = seen != 0 && seen == item.fingerprint;
    let trusted = hinted || (options.trust_mtime && item.kind == Kind::File && old.meta == item.meta);
    same && trusted && !options.force
}

/// An item as it can be stored: some file systems hand out times and names that a reader refuses, and one such
/// entry must not make its whole directory unreadable.
fn storable(mut item: Item) -> Item {
    item.meta.mode &= 0o7777;
    item.meta.mtime.nanos = item.meta.mtime.nanos.min(999_999_999);
    item.meta.user.truncate(255);
    item.meta.group.truncate(255);
    item
}

/// Adds a finished entry to its directory.
fn add(
    above: &mut Frame,
    entry: Entry,
    keys: &DomainKeys,
    bases: &[Base],
    session: &mut Session,
) -> Result<()> {
    above.totals.add(&entry);
    let mut pages = Pages { session, all: bases, beside: &above.bases };
    above.pages.push(&entry, keys, &mut pages)
}

/// Takes the pages of a directory. Those that are as they were in a base that is held are used without asking for them, as
/// all that is held is: else one change in a large tree would ask for the packs of every directory beside it.
struct Pages<'p, 'r> {
    session: &'p mut Session,
    all: &'p [Base],
    beside: &'p [BaseDir<'r>],
}

impl NodeSink for Pages<'_, '_> {
    fn put_node(&mut self, bytes: Vec<u8>) -> Result<NodeId> {
        let held = |page: &NodeId| self.beside.iter().any(|dir| self.all[dir.base].held && dir.has(page));
        self.session.put_node_unless(bytes, &mut { held })
    }
}
