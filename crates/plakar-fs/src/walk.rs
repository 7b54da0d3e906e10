//! The walk: directories and files as a source of items, in tree order.
//!
//! A stack holds one level per directory between `/` and where the walk stands. Each level keeps its
//! listing, so that what is announced never depends on a second look, and the innermost ones keep an open
//! handle, through which everything in them is opened: no path is ever put together for that, so a
//! directory may lie as deep as the file system lets it, and nobody can lead the walk astray by putting
//! a link in the place of a directory.
//!
//! 1. At most [`HANDLES_MAX`] levels have a handle. One that is come back to without is opened again, as
//!    `..` of the directory that is left or from its root on down, and counts only if device and inode
//!    are still the same; else what is beneath it is reported as unreadable.
//! 2. Links are followed where they were typed: roots, and directories on the way to roots. Never below.
//! 3. Every entry that was listed is announced, or reported as failed, or noted as skipped.

use crate::ahead::Ahead;
use crate::content::OpenFile;
use crate::exclude::Excludes;
use crate::leaving::Here;
use crate::lister::{self, Buffer, Directory, Listed, Listing, Opened, Rules, open_directory};
use crate::meta::{Describer, Identity, Stat};
use crate::roots::{self, RootsError, Way};
use crate::xattr::{self, Carrier};
use plakar_engine::source::{Content, Event, Extras, Source};
use plakar_engine::tree::Kind;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags};
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::sync::Arc;

/// The most levels that keep a handle. Fewer if the process may hold few.
const HANDLES_MAX: usize = 64;
/// Threads that list ahead.
const THREADS: usize = 2;

/// A walk over files and directories of this machine.
///
/// What is captured is what lies beneath the roots it was made with, in one tree that begins with `/`.
/// Other file systems mounted beneath a root are walked into, unless [`Walk::exclude`] says otherwise.
///
/// Roots are made absolute by their letters alone, as the working directory was when the walk was made,
/// and appear under that path even if it leads through links. A root in another root is covered by it.
#[derive(Debug)]
pub struct Walk {
    roots: Vec<Vec<u8>>,
    way: Option<Way>,
    rules: Rules,
    threads: usize,
    handles_max: usize,
    describer: Describer,
    skipped: Vec<Vec<u8>>,
    left_out: u64,
    /// Starts with the first event, when the rules are settled.
    ahead: Option<Ahead>,
    buffer: Buffer,
    levels: Vec<Level>,
    /// Of the item of the last event.
    path: Vec<u8>,
    /// What `extras` and `open` are about.
    current: Current,
    /// Opened for its attributes and kept in case its content is wanted as well.
    opened: Option<OwnedFd>,
}

#[derive(Debug, Clone, Copy)]
enum Current {
    None,
    /// The innermost level.
    Directory,
    /// This entry of the innermost level.
    Leaf {
        at: usize,
    },
}

/// A directory the walk is in.
#[derive(Debug)]
struct Level {
    place: Place,
    stat: Stat,
    handle: Option<Arc<OwnedFd>>,
    listing: Arc<Listing>,
    /// The next entry.
    at: usize,
    /// Length of its path; a path below it begins with that many bytes.
    path_len: usize,
    unreadable: Option<io::Error>,
}

#[derive(Debug)]
enum Place {
    /// Only on the way to a root; what it leads to, in the order of the listing.
    Ancestor(Vec<Way>),
    Root,
    Below,
}

impl Walk {
    /// Prepares a walk; nothing is read before the first event. Without roots there is no event.
    ///
    /// # Errors
    /// If any of the roots is not there or cannot be looked at: all of those, with reasons.
    pub fn new(roots: &[OsString]) -> Result<Self, RootsError> {
        let roots = roots::resolve(roots)?;
        let way = (!roots.is_empty()).then(|| Way::to(&roots));
        Ok(Self {
            roots,
            way,
            rules: Rules { euid: rustix::process::geteuid().as_raw(), ..Rules::default() },
            threads: THREADS,
            handles_max: HANDLES_MAX,
            describer: Describer::new(),
            skipped: Vec::new(),
            left_out: 0,
            ahead: None,
            buffer: Buffer::new(),
            levels: Vec::new(),
            path: Vec::new(),
            current: Current::None,
            opened: None,
        })
    }

    /// The roots, absolute, in the order they were typed, without those that another covers.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// Keeps out of the directory with these device and inode numbers (as in `st_dev` and `st_ino`),
    /// wherever it is met, for instance the repository itself. It counts before the first event.
    pub fn exclude_identity(&mut self, dev: u64, ino: u64) {
        self.rules.excluded.push((dev, ino));
    }

    /// Leaves out what these say, beneath the roots; a root itself was asked for. It counts before the first
    /// event.
    pub fn exclude(&mut self, excludes: Arc<Excludes>) {
        self.rules.excludes = Some(excludes).filter(|excludes| !excludes.is_empty());
    }

    /// Lets a change of the change time alone be none. It counts before the first event.
    pub fn ignore_ctime(&mut self) {
        self.describer.ignore_ctime = true;
    }

    /// How many files and directories were left out so far; what is in those directories does not count.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many threads list directories ahead, 2 unless told; with 0 the walk is all alone. It counts
    /// before the first event.
    pub fn list_ahead(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// The paths of excluded directories met so far: nothing of them was announced.
    pub fn skipped(&self) -> &[Vec<u8>] {
        &self.skipped
    }

    fn start(&mut self, way: Way) -> Option<Event> {
        // Most of what the process may hold open is for others: packs, files that are read.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(limit / 4).unwrap_or(usize::MAX).max(2);
        self.handles_max = share.min(HANDLES_MAX);
        self.ahead = Some(Ahead::new(self.rules.clone(), self.threads, share));
        match Stat::of(CWD, c"/", true) {
            Ok(stat) if way.root => self.enter_root(c"/", stat),
            Ok(stat) => Some(self.enter_ancestor(c"/", stat, way)),
            Err(e) => Some(Event::Failed { name: Vec::new(), error: e.into() }),
        }
    }

    /// The next entry of the innermost directory; `None` if it was skipped.
    fn entry(&mut self) -> Option<Event> {
        let level = self.levels.last_mut().expect("there is an entry in it");
        let (at, listing) = (level.at, level.listing.clone());
        level.at += 1;
        let way = match &mut level.place {
            Place::Ancestor(ways) => Some(std::mem::take(&mut ways[at])),
            _ => None,
        };
        let entry = &listing.entries[at];
        let name = listing.name(entry);
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());

        let failed = |error: io::Error| Some(Event::Failed { name: name.to_bytes().to_vec(), error });
        match (entry.failed, entry.stat.is_directory(), way) {
            (Some(error), ..) => failed(error.into()),
            (None, true, None) => self.enter_below(&listing, entry),
            (None, true, Some(way)) if way.root => self.enter_root(name, entry.stat),
            (None, true, Some(way)) => Some(self.enter_ancestor(name, entry.stat, way)),
            (None, false, Some(way)) if !way.root => failed(io::ErrorKind::NotADirectory.into()),
            (None, false, _) => {
                self.current = Current::Leaf { at };
                let kind = entry.stat.kind().expect("without one it would have failed");
                Some(Event::Leaf(self.describer.item(name.to_bytes(), &entry.stat, kind, false)))
            }
        }
    }

    /// Enters a directory that was met on the way to a root. It need not be readable, only searchable.
    fn enter_ancestor(&mut self, name: &CStr, stat: Stat, way: Way) -> Event {
        let (names, ways): (Vec<_>, Vec<_>) = way.beneath.into_iter().unzip();
        let path = self.c_path(self.path.len());
        let opened = lister::open(CWD, &path, OFlags::PATH | OFlags::DIRECTORY).and_then(|handle| {
            let stat = Stat::of_handle(&handle)?;
            Ok((Arc::new(handle), stat))
        });
        let place = Place::Ancestor(ways);
        match opened {
            Ok((handle, stat)) => {
                let listing = Listing::of(handle.as_fd(), names.iter().map(Vec::as_slice));
                self.enter(name, place, Directory { handle, stat, listing: Arc::new(listing), error: None })
            }
            Err(e) => self.enter_closed(name, place, stat, e.into()),
        }
    }

    fn enter_root(&mut self, name: &CStr, stat: Stat) -> Option<Event> {
        let path = self.c_path(self.path.len());
        let ahead = self.ahead.as_ref().expect("the walk has started");
        let here = Here { path: self.path.clone(), ..Here::default() };
        let opened = open_directory(CWD, &path, here, &stat, true, ahead.rules(), &mut self.buffer);
        if let Ok(Opened::Listed(directory)) = &opened {
            ahead.entered(directory);
        }
        self.enter_opened(name, Place::Root, stat, opened)
    }

    fn enter_below(&mut self, listing: &Listing, entry: &Listed) -> Option<Event> {
        let parent = self.handle(self.levels.len() - 1);
        let ahead = self.ahead.as_ref().expect("the walk has started");
        let name = listing.name(entry);
        let opened = match (ahead.take(parent.as_ref().ok()), parent) {
            (Some(opened), _) => Ok(opened),
            (None, Err(e)) => Err(e),
            (None, Ok(parent)) => {
                let (rules, buffer) = (ahead.rules(), &mut self.buffer);
                let here = rules.here(&listing.here, name);
                let opened = open_directory(parent, name, here, &entry.stat, false, rules, buffer);
                if let Ok(Opened::Listed(directory)) = &opened {
                    ahead.entered(directory);
                }
                opened
            }
        };
        self.enter_opened(name, Place::Below, entry.stat, opened)
    }

    fn enter_opened(
        &mut self,
        name: &CStr,
        place: Place,
        listed: Stat,
        opened: io::Result<Opened>,
    ) -> Option<Event> {
        match opened {
            Ok(Opened::Listed(directory)) => Some(self.enter(name, place, directory)),
            Ok(Opened::Excluded) => {
                self.skipped.push(self.shown_path());
                None
            }
            Err(e) => Some(self.enter_closed(name, place, listed, e)),
        }
    }

    fn enter(&mut self, name: &CStr, place: Place, directory: Directory) -> Event {
        let Directory { handle, stat, listing, error } = directory;
        self.left_out += listing.left_out;
        self.push(
            name,
            Level { place, stat, handle: Some(handle), listing, at: 0, path_len: 0, unreadable: error },
        )
    }

    /// Enters a directory that could not be opened: it is announced, and nothing in it.
    fn enter_closed(&mut self, name: &CStr, place: Place, stat: Stat, error: io::Error) -> Event {
        let listing = Arc::default();
        self.push(
            name,
            Level { place, stat, handle: None, listing, at: 0, path_len: 0, unreadable: Some(error) },
        )
    }

    fn push(&mut self, name: &CStr, mut level: Level) -> Event {
        level.path_len = self.path.len();
        let ancestor = matches!(level.place, Place::Ancestor(_));
        let name = if self.levels.is_empty() { &[] } else { name.to_bytes() };
        let item = self.describer.item(name, &level.stat, Kind::Directory, ancestor);
        self.levels.push(level);
        if let Some(outer) = self.levels.len().checked_sub(self.handles_max + 1) {
            self.levels[outer].handle = None;
        }
        self.current = Current::Directory;
        Event::Enter(item)
    }

    fn leave(&mut self) -> Event {
        let level = self.levels.pop().expect("there is a level to leave");
        // The cheap way back, while the directory that is left is still open. If it fails, the long way
        // is tried when the handle is needed.
        if let (Some(parent), Some(handle), Place::Below) =
            (self.levels.last_mut(), &level.handle, &level.place)
            && parent.handle.is_none()
        {
            let flags = OFlags::RDONLY
                | OFlags::DIRECTORY
                | OFlags::NOFOLLOW
                | self.rules.spare_atime(parent.stat.uid);
            parent.handle = lister::open(handle, c"..", flags)
                .ok()
                .filter(|handle| is(handle, parent.stat.identity()))
                .map(Arc::new);
        }
        Event::Leave { unreadable: level.unreadable }
    }

    /// The handle of a level, opened again if need be.
    fn handle(&mut self, at: usize) -> io::Result<Arc<OwnedFd>> {
        if let Some(handle) = &self.levels[at].handle {
            return Ok(handle.clone());
        }
        // From the nearest level that is open, or that is found by its path because it was typed.
        let mut from = at;
        while self.levels[from].handle.is_none() && matches!(self.levels[from].place, Place::Below) {
            from -= 1;
        }
        let mut handle = match &self.levels[from].handle {
            Some(handle) => handle.clone(),
            None => {
                let path = self.c_path(self.levels[from].path_len);
                self.reopen(CWD, &path, from, OFlags::empty())?
            }
        };
        for below in from + 1..=at {
            let parent = &self.levels[below - 1];
            let name = parent.listing.name(&parent.listing.entries[parent.at - 1]);
            handle = self.reopen(handle, name, below, OFlags::NOFOLLOW)?;
        }
        self.levels[at].handle = Some(handle.clone());
        Ok(handle)
    }

    /// Opens the directory of a level by a name it had, and makes sure that it is still that directory.
    fn reopen(&self, dir: impl AsFd, name: &CStr, at: usize, follow: OFlags) -> io::Result<Arc<OwnedFd>> {
        let level = &self.levels[at];
        let access = match level.place {
            Place::Ancestor(_) => OFlags::PATH,
            _ => OFlags::RDONLY | self.rules.spare_atime(level.stat.uid),
        };
        let handle = lister::open(dir, name, access | OFlags::DIRECTORY | follow)?;
        if !is(&handle, level.stat.identity()) {
            return Err(io::Error::other("the directory was moved or replaced while it was walked"));
        }
        Ok(Arc::new(handle))
    }

    /// The first bytes of the current path, for the kernel.
    fn c_path(&self, len: usize) -> CString {
        let path: &[u8] = if len == 0 { b"/" } else { &self.path[..len] };
        CString::new(path).expect("a path made of names holds no NUL")
    }

    fn shown_path(&self) -> Vec<u8> {
        if self.path.is_empty() { b"/".to_vec() } else { self.path.clone() }
    }

    /// The leaf of the last event: its entry, and whether it is itself a root (then links are followed).
    fn leaf(&self, at: usize) -> (Arc<Listing>, Listed, bool) {
        let level = &self.levels[self.levels.len() - 1];
        (level.listing.clone(), level.listing.entries[at], matches!(level.place, Place::Ancestor(_)))
    }

    /// Opens a regular file. Should a fifo or a terminal lie in its place by now, this does not wait.
    fn open_file(&mut self, at: usize) -> io::Result<OwnedFd> {
        let dir = self.handle(self.levels.len() - 1)?;
        let (listing, entry, root) = self.leaf(at);
        let mut flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | self.rules.spare_atime(entry.stat.uid);
        if !root {
            flags |= OFlags::NOFOLLOW;
        }
        match lister::open(dir, listing.name(&entry), flags) {
            // A link or a socket.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => Err(no_longer_regular()),
            result => Ok(result?),
        }
    }

    fn directory_extras(&mut self) -> io::Result<Extras> {
        let last = self.levels.len() - 1;
        let level = &self.levels[last];
        let xattrs = match (&level.handle, &level.place) {
            (Some(handle), Place::Ancestor(_)) => xattr::read(Carrier::Followed(&xattr::path_of(handle)))?,
            (Some(handle), _) => xattr::read(Carrier::Handle(handle.as_fd()))?,
            // It could not be opened for reading; attributes may be read all the same.
            (None, Place::Below) => {
                let parent = self.handle(last - 1)?;
                let level = &self.levels[last - 1];
                let mut path = Vec::new();
                xattr::path_in(
                    &mut path,
                    parent,
                    level.listing.name(&level.listing.entries[level.at - 1]).to_bytes(),
                );
                xattr::read(Carrier::Path(&path))?
            }
            (None, _) => xattr::read(Carrier::Followed(self.c_path(level.path_len).as_bytes()))?,
        };
        Ok(Extras { xattrs, target: Vec::new() })
    }

    fn leaf_extras(&mut self, at: usize) -> io::Result<Extras> {
        let (listing, entry, root) = self.leaf(at);
        let kind = entry.stat.kind();
        if kind == Some(Kind::File) && self.opened.is_none() {
            // Through an open file is the cheapest way, if the content is wanted next. One that may not
            // be opened still has attributes.
            self.opened = self.open_file(at).ok();
        }
        if let Some(handle) = &self.opened {
            return Ok(Extras { xattrs: xattr::read(Carrier::Handle(handle.as_fd()))?, target: vec![] });
        }
        let dir = self.handle(self.levels.len() - 1)?;
        let name = listing.name(&entry);
        let mut path = Vec::new();
        xattr::path_in(&mut path, &dir, name.to_bytes());
        let xattrs = xattr::read(if root { Carrier::Followed(&path) } else { Carrier::Path(&path) })?;
        let mut target = Vec::new();
        if kind == Some(Kind::Symlink) {
            target = rustix::fs::readlinkat(&dir, name, Vec::new())?.into_bytes();
        }
        Ok(Extras { xattrs, target })
    }
}

impl Source for Walk {
    fn next(&mut self) -> Option<Event> {
        if let Some(way) = self.way.take()
            && let Some(event) = self.start(way)
        {
            return Some(event);
        }
        loop {
            self.current = Current::None;
            self.opened = None;
            let level = self.levels.last()?;
            self.path.truncate(level.path_len);
            if level.at == level.listing.entries.len() {
                return Some(self.leave());
            }
            if let Some(event) = self.entry() {
                return Some(event);
            }
        }
    }

    fn path(&self) -> Vec<u8> {
        self.shown_path()
    }

    fn extras(&mut self) -> io::Result<Extras> {
        match self.current {
            Current::None => Err(io::Error::other("there is no item")),
            Current::Directory => self.directory_extras(),
            Current::Leaf { at } => self.leaf_extras(at),
        }
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        let Current::Leaf { at } = self.current else { return Err(io::Error::other("there is no file")) };
        let (listing, entry, _) = self.leaf(at);
        if entry.stat.kind() != Some(Kind::File) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let handle = match self.opened.take() {
            Some(handle) => handle,
            None => self.open_file(at)?,
        };
        let name = listing.name(&entry).to_bytes().to_vec();
        Ok(Box::new(OpenFile::new(&mut self.describer, name, handle)?))
    }
}

fn is(handle: &OwnedFd, identity: Identity) -> bool {
    Stat::of_handle(handle).is_ok_and(|stat| stat.identity() == identity)
}

fn no_longer_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "is no longer a regular file")
}
