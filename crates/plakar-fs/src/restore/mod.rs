//! Restore: writing a tree of a repository into a directory.
//!
//! The tree is walked in its order. Small files are gathered into batches (`batch`); a batch asks for its
//! chunks in the order in which they lie in packs, on several threads, so that each block is fetched and opened
//! once. Large files are streamed. Directories get their modes and times after everything in them, hard
//! links are made after the file they name.
//!
//! A file is there with all its bytes, each chunk proven by its id, or it is not there: one with damaged chunks is
//! reported and left out, and everything else is restored.

mod batch;

use crate::target::{Attributes, Look, OwnerPolicy, Problem, Target, TargetDir, What};
use batch::{Batch, FileJob};
use plakar_engine::read::Reader;
use plakar_engine::sync::with_tree_ahead;
use plakar_engine::tree::node::decode_xattrs;
use plakar_engine::tree::{
    Content, Device, Directory, Entry, FLAG_ANCESTOR, FLAG_BARE, FLAG_CHANGED, FLAG_UNREADABLE, Kind, Meta,
    Subtree, Xattrs, find_path,
};
use plakar_engine::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file with more bytes is streamed on its own.
const LARGE_BYTES: u64 = 16 << 20;
/// Directories on the way down that are held open, at most.
const HANDLES_MAX: usize = 64;
/// Directories that wait to be finished, at most.
const WAITING_MAX: usize = 4096;

/// How a tree is restored.
#[derive(Debug, Clone, Copy)]
pub struct RestoreOptions {
    /// Who becomes the owner.
    pub owners: OwnerPolicy,
    /// What becomes of what is there already.
    pub overwrite: Overwrite,
    /// How many threads fetch and write.
    pub workers: usize,
}

/// Which of the files that are there already, or whatever else is there that is no directory, are replaced by what the
/// snapshot has of the same name. Directories are used again in any case, and get the modes and times of the snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// All.
    #[default]
    Always,
    /// What is of another kind, size or modification time. Modes and owners alone are no difference.
    Changed,
    /// What was modified before what the snapshot has.
    Newer,
    /// None.
    Never,
}

impl Overwrite {
    /// Whether what is there stays.
    fn keeps(self, there: &Look, entry: &Entry) -> bool {
        let size = match &entry.content {
            Content::File(object) => object.size,
            _ => there.size,
        };
        let new = (entry.content.kind(), size, entry.meta.mtime);
        match self {
            Self::Always => false,
            // Of what has no bytes, its name and time are all that there is to compare, and it costs nothing to make.
            Self::Changed => {
                entry.content.kind() == Kind::File && new == (there.kind, there.size, there.mtime)
            }
            Self::Newer => there.mtime >= entry.meta.mtime,
            Self::Never => true,
        }
    }
}

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Directories.
    pub directories: u64,
    /// Everything that is not a directory.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What was there and stayed as it was, as [`RestoreOptions::overwrite`] says.
    pub kept: u64,
    /// What could not be done, or not exactly.
    pub problems: u64,
    /// Of these, entries left out because stored data is damaged or missing.
    pub damaged: u64,
}

/// Restores what lies at `path` (names joined by slashes; empty = everything) in the tree beneath `root` into the
/// directory `target`, which is made if it is missing. With `rebase`, what `path` names lands directly in
/// `target`: the entries of a directory, or the file under its own name; else under its whole path.
///
/// # Errors
/// When `path` is not in the tree, the target cannot be opened, or the run is interrupted. What concerns single
/// entries is told to `problem` and counted.
#[allow(clippy::too_many_arguments)]
pub fn restore(
    reader: &Reader,
    root: &Subtree,
    path: &[u8],
    rebase: bool,
    target: &Path,
    options: &RestoreOptions,
    problem: &mut dyn FnMut(&[u8], &str),
    progress: &mut dyn FnMut(&Restored),
    interrupted: &AtomicBool,
) -> Result<Restored> {
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).collect();
    let entry = match names.is_empty() {
        true => None,
        false => Some(find_path(reader, root, path)?.ok_or_else(|| {
            Error::Refused(format!("{}: no such path in the snapshot", String::from_utf8_lossy(path)))
        })?),
    };
    let io = |source| Error::Io { what: target.display().to_string(), source };
    let target = Target::open(target, options.owners).map_err(io)?;
    let mut run = Run {
        reader,
        target: target.clone(),
        overwrite: options.overwrite,
        workers: options.workers.max(1),
        problem,
        progress,
        interrupted,
        done: Restored::default(),
        batch: Batch::default(),
        waiting: Vec::new(),
        links: Vec::new(),
        groups: HashMap::new(),
        unmade: HashSet::new(),
    };
    let mut into = target.root();
    if let Some((_, above)) = names.split_last().filter(|_| !rebase) {
        let mut so_far = Vec::new();
        for name in above {
            so_far.extend_from_slice(b"/");
            so_far.extend_from_slice(name);
            let known = find_path(reader, root, &so_far)?;
            let entry =
                known.ok_or_else(|| Error::damaged("a directory", "lost an entry it had a moment ago"))?;
            match run.way_down(&into, &entry) {
                Some(dir) => into = dir,
                None => return Ok(run.done),
            }
        }
    }
    let beneath = match &entry {
        None => Some(root.node),
        Some(Entry { content: Content::Directory(subtree), .. }) => Some(subtree.node),
        Some(_) => None,
    };
    let work = || {
        match entry {
            None => run.children(&into, &root.node)?,
            Some(Entry { content: Content::Directory(subtree), .. }) if rebase => {
                let entry = find_path(reader, root, path)?.expect("it was there a moment ago");
                run.children(&into, &subtree.node)?;
                run.waiting.push(Waiting::new(&into, entry));
            }
            Some(entry) => run.entry(&Arc::new(into), entry)?,
        }
        run.flush()?;
        Ok(run.done)
    };
    match beneath {
        Some(node) => with_tree_ahead(reader, node, work),
        None => work(),
    }
}

/// A restore in progress.
struct Run<'a> {
    reader: &'a Reader,
    target: Target,
    overwrite: Overwrite,
    workers: usize,
    problem: &'a mut dyn FnMut(&[u8], &str),
    progress: &'a mut dyn FnMut(&Restored),
    interrupted: &'a AtomicBool,
    done: Restored,
    batch: Batch,
    /// Directories that were left, in that order: to be finished after the batch.
    waiting: Vec<Waiting>,
    /// Further names of files, to be made after the batch.
    links: Vec<Link>,
    /// The first restored name of each hard-linked file.
    groups: HashMap<u64, First>,
    /// Paths at which an entry could not be made: what lies there, if anything, was there before.
    unmade: HashSet<Vec<u8>>,
}

/// A directory that is being restored.
struct Level<'a> {
    dir: Option<Arc<TargetDir>>,
    path: Vec<u8>,
    entries: Directory<'a>,
    /// Its entry; none for the target itself.
    entry: Option<Entry>,
}

impl<'a> Level<'a> {
    fn new(dir: TargetDir, entries: Directory<'a>, entry: Option<Entry>) -> Level<'a> {
        Level { path: dir.path().to_vec(), dir: Some(Arc::new(dir)), entries, entry }
    }
}

struct Waiting {
    path: Vec<u8>,
    /// It was only on the way to what was captured.
    ancestor: bool,
    meta: Meta,
    xattrs: Xattrs,
}

impl Waiting {
    fn new(dir: &TargetDir, entry: Entry) -> Waiting {
        let ancestor = entry.flags & FLAG_ANCESTOR != 0;
        Waiting { path: dir.path().to_vec(), ancestor, meta: entry.meta, xattrs: entry.xattrs }
    }
}

struct Link {
    dir: Arc<TargetDir>,
    entry: Entry,
    first: (Vec<u8>, Vec<u8>),
}

/// Where the first name of a file is, and all that must be equal for another entry to be a name of it.
struct First {
    dir: Vec<u8>,
    name: Vec<u8>,
    entry: Entry,
}

impl<'a> Run<'a> {
    fn report(&mut self, path: &[u8], what: &str) {
        self.done.problems += 1;
        (self.problem)(if path.is_empty() { b"." } else { path }, what);
    }

    fn report_problem(&mut self, problem: Problem) {
        let what = format!("{}: {}", problem.what, problem.source);
        self.report(&problem.path, &what);
    }

    /// Reports an entry that cannot be restored because of what is stored. Errors that are not about this entry
    /// end the run.
    fn report_damage(&mut self, path: &[u8], error: Error) -> Result<()> {
        if !error.is_damage() && !error.is_not_found() {
            return Err(error);
        }
        self.done.damaged += 1;
        self.report(path, &error.to_string());
        Ok(())
    }

    /// Goes down into a directory on the way to what is restored. One that is there already is left as it is.
    fn way_down(&mut self, into: &TargetDir, entry: &Entry) -> Option<TargetDir> {
        let path = join(into.path(), &entry.name);
        if let Ok(dir) = self.target.directory(&path) {
            return Some(dir);
        }
        match into.directory(&entry.name) {
            Ok(dir) => {
                self.waiting.push(Waiting::new(&dir, entry.clone()));
                Some(dir)
            }
            Err(problem) => {
                self.report_problem(problem);
                None
            }
        }
    }

    /// Restores the entries of the directory `node`, and everything beneath them.
    fn children(&mut self, into: &TargetDir, node: &plakar_engine::id::NodeId) -> Result<()> {
        // The directories on the way down: not recursion, because a tree may be deeper than a stack.
        let mut levels: Vec<Level> = Vec::new();
        match Directory::open(self.reader, node) {
            Ok(entries) => levels.push(Level::new(into.clone(), entries, None)),
            Err(e) => return self.report_damage(into.path(), e),
        }
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { return Ok(()) };
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let dir = match &level.dir {
                Some(dir) => dir.clone(),
                None => match self.target.directory(&level.path) {
                    Ok(dir) => level.dir.insert(Arc::new(dir)).clone(),
                    Err(problem) => {
                        self.report_problem(problem);
                        levels.pop();
                        continue;
                    }
                },
            };
            match level.entries.next_entry() {
                Ok(Some(entry)) => match entry.content {
                    Content::Directory(subtree) => {
                        let made = dir.directory(&entry.name);
                        let made = match made {
                            Ok(made) => made,
                            Err(problem) => {
                                self.report_problem(problem);
                                continue;
                            }
                        };
                        self.note_flags(made.path(), &entry);
                        // Handles are few: those far above are closed and opened again on the way up.
                        if depth >= HANDLES_MAX {
                            level.dir = None;
                        }
                        match Directory::open(self.reader, &subtree.node) {
                            Ok(entries) => levels.push(Level::new(made, entries, Some(entry))),
                            Err(e) => {
                                self.report_damage(made.path(), e)?;
                                self.leave(&made, entry)?;
                            }
                        }
                    }
                    _ => self.entry(&dir, entry)?,
                },
                over => {
                    if let Err(e) = over {
                        self.report_damage(dir.path(), e)?;
                    }
                    let level = levels.pop().expect("it was looked at just now");
                    if let Some(entry) = level.entry {
                        self.leave(&dir, entry)?;
                    }
                }
            }
        }
    }

    fn leave(&mut self, dir: &TargetDir, entry: Entry) -> Result<()> {
        self.done.directories += 1;
        self.waiting.push(Waiting::new(dir, entry));
        if self.waiting.len() >= WAITING_MAX { self.flush() } else { Ok(()) }
    }

    /// Says what is already known to be wrong with an entry since it was captured.
    fn note_flags(&mut self, path: &[u8], entry: &Entry) {
        if entry.flags & FLAG_UNREADABLE != 0 {
            self.report(path, "could not be read, or not all of it, when the snapshot was made");
        } else if entry.flags & FLAG_BARE != 0 {
            self.report(path, "its attributes could not be read when the snapshot was made");
        } else if entry.flags & FLAG_CHANGED != 0 {
            self.report(path, "changed while the snapshot was made: its bytes may be from different moments");
        }
    }

    /// Restores one entry; a directory with everything beneath.
    fn entry(&mut self, dir: &Arc<TargetDir>, entry: Entry) -> Result<()> {
        let path = join(dir.path(), &entry.name);
        if let Content::Directory(subtree) = entry.content {
            return match dir.directory(&entry.name) {
                Ok(made) => {
                    self.note_flags(made.path(), &entry);
                    self.children(&made, &subtree.node)?;
                    self.leave(&made, entry)
                }
                Err(problem) => {
                    self.report_problem(problem);
                    Ok(())
                }
            };
        }
        if self.overwrite != Overwrite::Always {
            // Before it is remembered for its other names: they are not linked to what is there, whatever that is.
            match dir.look(&entry.name) {
                Ok(Some(there)) if there.kind != Kind::Directory && self.overwrite.keeps(&there, &entry) => {
                    self.done.kept += 1;
                    return Ok(());
                }
                Ok(_) => {}
                Err(problem) => {
                    self.report_problem(problem);
                    return Ok(());
                }
            }
        }
        self.note_flags(&path, &entry);
        if entry.flags & FLAG_UNREADABLE != 0 {
            // There is nothing to be restored of it; an empty file in its place would be a lie.
            return Ok(());
        }
        if entry.link_group != 0 {
            let same = |first: &First| {
                (&first.entry.content, &first.entry.meta, &first.entry.xattrs)
                    == (&entry.content, &entry.meta, &entry.xattrs)
            };
            match self.groups.get(&entry.link_group) {
                Some(first) if same(first) => {
                    let first = (first.dir.clone(), first.name.clone());
                    self.links.push(Link { dir: dir.clone(), entry, first });
                    return if self.links.len() >= WAITING_MAX { self.flush() } else { Ok(()) };
                }
                // Not the same file after all, whatever the snapshot says.
                Some(_) => {}
                None => {
                    let first =
                        First { dir: dir.path().to_vec(), name: entry.name.clone(), entry: entry.clone() };
                    self.groups.insert(entry.link_group, first);
                }
            }
        }
        self.one(dir, entry)
    }

    /// Restores one entry that is neither a directory nor a further name.
    fn one(&mut self, dir: &Arc<TargetDir>, entry: Entry) -> Result<()> {
        let path = join(dir.path(), &entry.name);
        let xattrs = match xattrs_of(self.reader, &entry.xattrs) {
            Ok(xattrs) => xattrs,
            Err(e) => {
                self.report_damage(&path, e)?;
                Vec::new()
            }
        };
        if let Content::File(object) = &entry.content {
            let large = object.size > LARGE_BYTES;
            let job = match FileJob::new(self.reader, dir.clone(), &entry, xattrs, large) {
                Ok(job) => job,
                Err(e) => {
                    self.not_made(&path);
                    return self.report_damage(&path, e);
                }
            };
            if large {
                self.flush()?;
                let outcome = batch::stream(self.reader, job, object, self.workers, &mut |bytes| {
                    self.done.bytes += bytes;
                    (self.progress)(&self.done);
                    if self.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
                })?;
                return self.settle(vec![outcome]);
            }
            self.batch.push(job);
            return if self.batch.is_full() { self.flush() } else { Ok(()) };
        }
        let attributes = Attributes { meta: &entry.meta, xattrs: &xattrs };
        let mut problems = Vec::new();
        let mut report = |problem| problems.push(problem);
        let device = |kind, device: &Device, report: &mut dyn FnMut(Problem)| {
            dir.special(&entry.name, kind, *device, &attributes, report)
        };
        let none = Device::default();
        let made = match &entry.content {
            Content::Symlink(target) => dir.symlink(&entry.name, target, &attributes, &mut report),
            Content::Fifo => device(Kind::Fifo, &none, &mut report),
            Content::Socket => device(Kind::Socket, &none, &mut report),
            Content::CharDevice(number) => device(Kind::CharDevice, number, &mut report),
            Content::BlockDevice(number) => device(Kind::BlockDevice, number, &mut report),
            Content::File(_) | Content::Directory(_) => unreachable!("dealt with above"),
        };
        match made {
            Ok(()) => self.done.files += 1,
            Err(problem) => {
                self.not_made(&path);
                problems.push(problem);
            }
        }
        problems.into_iter().for_each(|problem| self.report_problem(problem));
        Ok(())
    }

    /// Writes the files of the batch, then the links to them, then finishes the directories that were left.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let outcomes = batch.write(self.reader, self.workers)?;
        self.settle(outcomes)?;
        for Link { dir, entry, first } in std::mem::take(&mut self.links) {
            let made = !self.unmade.contains(&join(&first.0, &first.1))
                && self
                    .target
                    .directory(&first.0)
                    .and_then(|from| dir.link(&entry.name, &from, &first.1))
                    .is_ok();
            match made {
                true => self.done.files += 1,
                // The first name is not there, or this file system has no links: a file of its own will do.
                false => self.one(&dir, entry)?,
            }
        }
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            let outcomes = batch.write(self.reader, self.workers)?;
            self.settle(outcomes)?;
        }
        for Waiting { path, ancestor, meta, xattrs } in std::mem::take(&mut self.waiting) {
            let xattrs = match xattrs_of(self.reader, &xattrs) {
                Ok(xattrs) => xattrs,
                Err(e) => {
                    self.report_damage(&path, e)?;
                    Vec::new()
                }
            };
            match self.target.directory(&path) {
                Ok(dir) => {
                    let mut problems = Vec::new();
                    dir.finish(&Attributes { meta: &meta, xattrs: &xattrs }, &mut |p| problems.push(p));
                    // Nobody asked for `/home` itself, which an ordinary user could not own anyway.
                    problems.retain(|p| !(ancestor && matches!(p.what, What::Owner | What::SetId)));
                    problems.into_iter().for_each(|problem| self.report_problem(problem));
                }
                Err(problem) => self.report_problem(problem),
            }
        }
        (self.progress)(&self.done);
        Ok(())
    }

    /// Remembers that nothing was made at `path`, so that no other name is linked to what lies there.
    fn not_made(&mut self, path: &[u8]) {
        if !self.groups.is_empty() {
            self.unmade.insert(path.to_vec());
        }
    }

    fn settle(&mut self, outcomes: Vec<batch::Outcome>) -> Result<()> {
        for outcome in outcomes {
            if !outcome.made {
                self.not_made(&outcome.path);
            }
            outcome.problems.into_iter().for_each(|problem| self.report_problem(problem));
            match outcome.damage {
                Some(e) => self.report_damage(&outcome.path, e)?,
                None if outcome.made => {
                    self.done.files += 1;
                    self.done.bytes += outcome.bytes;
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// The extended attributes themselves.
fn xattrs_of(reader: &Reader, xattrs: &Xattrs) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    match xattrs {
        Xattrs::None => Ok(Vec::new()),
        Xattrs::Inline(list) => Ok(list.clone()),
        Xattrs::Chunk { id, .. } => {
            let bytes = reader.chunk(id)?;
            decode_xattrs(&bytes)
                .map_err(|e| Error::damaged(format!("extended attributes in chunk {id}"), e.0))
        }
    }
}
