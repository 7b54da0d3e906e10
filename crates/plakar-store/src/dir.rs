//! A store in a folder of a local file system.
//!
//! An object is a regular file under its own name, mode 0400 because nobody ever changes one; the slashes
//! of a name are folders, mode 0700, made when first needed and never removed.
//!
//! 1. Bytes go to a temporary file in the folder where they will stay (`.tmp-` and 16 hexadecimal digits:
//!    no [`Name`] has a dot), are flushed to the disk, and only then get their name, by an operation that
//!    cannot replace another file.
//! 2. A file whose flush failed is never flushed again: the kernel reports a lost write once and then
//!    calls the lost pages clean. Its bytes are written anew, to another file.
//! 3. A [`barrier`](Store::barrier) flushes every folder touched or listed since the last one and, the first time,
//!    those above it: what another process has put and not flushed yet is seen, and may be built upon.
//! 4. Inside the folder nothing but folders and regular files is looked at: symbolic links are not
//!    followed, pipes and devices are not waited for, and what has no [`Name`] is not shown.
//!
//! The folder is opened once; moving it while it is open does no harm. Copying it with ordinary tools while
//! nobody writes gives an equal store, except for the times.
//!
//! Not here: locks (none are needed), sharing by a group (only the owner has access), and a promise for
//! file systems that can neither rename without replacing nor link: those refuse every put.

mod barrier;
mod draft;
mod folder;
mod handles;
mod put;
mod read;
mod walk;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

use crate::{Capabilities, Draft, Error, ErrorKind, Listed, Name, ReadStore, Result, Store};
use folder::Entry;

/// A store in a folder of a local file system.
#[derive(Debug)]
pub struct DirStore {
    path: PathBuf,
    root: OwnedFd,
    handles: handles::Handles,
    barrier: Arc<barrier::Barrier>,
}

impl DirStore {
    /// Makes the folder `path`, mode 0700, and opens it as an empty store. The folder above must be there;
    /// the new one survives a power cut when this returns. An empty folder is taken as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when the folder has anything in it, [`ErrorKind::Foreign`] when `path` is no
    /// folder, [`ErrorKind::NotFound`] when the folder above is missing. Nothing was changed, or an
    /// empty folder is left.
    pub fn create(path: impl AsRef<Path>) -> Result<DirStore> {
        let path = absolute(path.as_ref())?;
        let made = match retry_on_intr(|| rustix::fs::mkdir(&path, Mode::RWXU)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(Error::io(format!("create {}", path.display()), e.into())),
        };
        let store = DirStore::open(&path)?;
        let what = || format!("create {}", path.display());
        if !made && !folder::is_empty(&store.root).map_err(|e| Error::io(what(), e))? {
            let what = format!("{}: the folder is not empty", path.display());
            return Err(Error::new(ErrorKind::Exists, what));
        }
        barrier::flush_new_root(&store.root, &path).map_err(|e| Error::io(what(), e))?;
        Ok(store)
    }

    /// Opens the store in the folder `path`, which may be relative or a symbolic link. What is in it is not
    /// looked at.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing is there, [`ErrorKind::Foreign`] when it is not a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<DirStore> {
        let path = absolute(path.as_ref())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())) {
            Ok(root) => Ok(DirStore { path, root, handles: Default::default(), barrier: Default::default() }),
            Err(Errno::NOTDIR) => Err(Error::new(ErrorKind::Foreign, path.display().to_string())),
            Err(e) => Err(Error::io(format!("open {}", path.display()), e.into())),
        }
    }

    /// The absolute path of the folder, byte for byte; [`location`](ReadStore::location) is for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the temporary files that are older than `older_than` by this machine's clock, and tells how
    /// many there were. They are what crashes leave; a put at work has one too, and one that loses it begins
    /// again once and then fails, so `older_than` should be longer than the longest put.
    ///
    /// # Errors
    /// As the file system reports them; what was removed before stays removed.
    pub fn sweep_temporaries(&self, older_than: Duration) -> Result<u64> {
        walk::sweep(&self.root, older_than).map_err(|e| self.error("sweep", "temporary files", e))
    }

    fn error(&self, operation: &str, what: impl std::fmt::Display, source: io::Error) -> Error {
        failure(&self.path, operation, what, source)
    }

    fn refusal(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        refusal(&self.path, kind, what)
    }

    /// An open file and its length, from the cache when `keep`; a file opened anew is kept there then.
    fn file(&self, name: &Name, keep: bool) -> Result<(Arc<File>, u64)> {
        if let Some((file, len)) = self.handles.get(name) {
            return Ok((file, len));
        }
        match self.entry(name).map_err(|e| self.error("open", name, e))? {
            Entry::File(file, len) => {
                let file = Arc::new(file);
                if keep {
                    self.handles.keep(name, &file);
                }
                Ok((file, len))
            }
            Entry::Missing | Entry::Other => Err(self.refusal(ErrorKind::NotFound, name)),
        }
    }

    fn entry(&self, name: &Name) -> io::Result<Entry> {
        match folder::open(self.root.as_fd(), name.folder().unwrap_or(""))? {
            Some(folder) => folder::entry(folder.as_fd(), name.last()),
            None => Ok(Entry::Missing),
        }
    }

    fn read(&self, name: &Name, file: &File, offset: u64, len: usize, bytes: &mut Vec<u8>) -> Result<()> {
        read::exact(file, offset, len, bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.refusal(ErrorKind::Short, name),
            _ => self.error("read", name, e),
        })
    }
}

impl ReadStore for DirStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (file, there) = self.file(name, true)?;
        // Asked before anything is allocated, so that a wrong length costs nothing.
        if offset.checked_add(len as u64).is_none_or(|end| end > there) {
            let what = format!("{name}, {len} bytes at {offset} of {there}");
            return Err(self.refusal(ErrorKind::Short, what));
        }
        let mut bytes = Vec::new();
        self.read(name, &file, offset, len, &mut bytes)?;
        Ok(bytes)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.get_into(name, max, &mut bytes)?;
        Ok(bytes)
    }

    fn get_into(&self, name: &Name, max: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let (file, len) = self.file(name, false)?;
        match usize::try_from(len) {
            Ok(len) if len <= max => self.read(name, &file, 0, len, bytes),
            _ => Err(self.refusal(ErrorKind::TooLarge, format!("{name}, {len} bytes"))),
        }
    }

    fn len(&self, name: &Name) -> Result<u64> {
        let found = folder::open(self.root.as_fd(), name.folder().unwrap_or(""))
            .and_then(|folder| folder.map_or(Ok(None), |folder| folder::stat(folder.as_fd(), name.last())))
            .map_err(|e| self.error("look at", name, e))?;
        found.map(|(len, _)| len).ok_or_else(|| self.refusal(ErrorKind::NotFound, name))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let failed = |folder: &str, e| self.error("list", format_args!("{folder}/"), e);
        // A folder that was removed while open reads as an empty one; an empty answer would be a lie.
        if folder::is_removed(&self.root).map_err(|e| failed("", e))? {
            return Err(Error::new(ErrorKind::NotFound, self.location()));
        }
        walk::list(self.root.as_fd(), prefix, &|folder| self.barrier.touch(folder), &failed, each)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: true, append_only: false }
    }

    fn location(&self) -> String {
        location(&self.path)
    }
}

impl Store for DirStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.put_flushed_by(name, parts, &File::sync_all)
    }

    /// Its bytes are on the disk twice while an equal object is there.
    fn draft(&self, name: &Name, len: u64) -> Result<Option<Box<dyn Draft>>> {
        Ok(Some(Box::new(draft::DirDraft::new(self, name, len)?)))
    }

    fn delete(&self, name: &Name) -> Result<()> {
        let inside = name.folder().unwrap_or("");
        let removed = folder::open(self.root.as_fd(), inside).and_then(|folder| match folder {
            Some(folder) => remove(&folder, name.last()),
            None => Ok(false),
        });
        // Only now, so that no reader can keep the old file again after this.
        self.handles.forget(name);
        if removed.map_err(|e| self.error("delete", name, e))? {
            self.barrier.touch(inside);
        }
        Ok(())
    }

    /// Flushes the folders. Once a flush failed, this handle refuses every later barrier, because the
    /// kernel tells of a loss only once: open the store again and put again.
    fn barrier(&self) -> Result<()> {
        self.barrier.pass(self.root.as_fd()).map_err(|e| self.error("flush", "folders", e))
    }
}

/// Removes what is no folder; a folder of that name is no object, so there is nothing to remove then.
fn remove(folder: &OwnedFd, last: &str) -> io::Result<bool> {
    match retry_on_intr(|| rustix::fs::unlinkat(folder, last, AtFlags::empty())) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::ISDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn location(path: &Path) -> String {
    path.display().to_string().replace('\n', "\\x0a")
}

fn failure(path: &Path, operation: &str, what: impl std::fmt::Display, source: io::Error) -> Error {
    Error::io(format!("{operation} {what} in {}", location(path)), source)
}

fn refusal(path: &Path, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
    Error::new(kind, format!("{what} in {}", location(path)))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io(format!("open {}", path.display()), e))
}
