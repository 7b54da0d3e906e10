//! What belongs to the repository itself, left out of what is pushed to it.
//!
//! For a folder the walk does it. A database is a file, with others beside it while it is open. They must not even be
//! opened: whoever closes a file loses all locks that his process has on it, and SQLite relies on its locks.

use crate::exit::{Failure, Result};
use crate::format;
use crate::location::{Identity, Location};
use plakar_engine::source::{Content, Event, Extras, Item, Source};
use plakar_engine::tree::Kind;
use plakar_fs::Walk;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What SQLite appends to the name of a database for the files beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What belongs to a repository. Of one on another machine there is nothing here.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// The folder or file without links to it.
    path: Option<PathBuf>,
    folder: Option<Identity>,
    /// The database and what may be beside it.
    files: Vec<PathBuf>,
}

impl Own {
    /// What belongs to the repository at a place.
    pub fn of(place: &Location) -> Result<Own> {
        let Some(path) = place.path() else { return Ok(Own::default()) };
        let failed = |e| Failure::io(path, &e);
        let path = fs::canonicalize(path).map_err(failed)?;
        match place {
            Location::Sqlite(_) => {
                let beside = |suffix: &&str| {
                    let mut name = path.clone().into_os_string();
                    name.push(suffix);
                    PathBuf::from(name)
                };
                let files = std::iter::once(path.clone()).chain(BESIDE.iter().map(beside)).collect();
                Ok(Own { path: Some(path), folder: None, files })
            }
            _ => {
                let folder = Some(place.identity().map_err(failed)?);
                Ok(Own { path: Some(path), folder, files: Vec::new() })
            }
        }
    }

    /// Refuses to push what is the repository or lies in it: nothing would be pushed of that.
    pub fn refuse(&self, roots: &[Vec<u8>]) -> Result<()> {
        let inside = |root: &&Vec<u8>| {
            let root = Path::new(OsStr::from_bytes(root)).canonicalize();
            root.is_ok_and(|root| {
                let inside = self.path.as_ref().is_some_and(|path| root.starts_with(path));
                inside || self.files.contains(&root)
            })
        };
        match roots.iter().find(inside) {
            Some(root) => {
                let root = format::printable(root);
                Err(Failure::failed(format!("{root}: lies in the repository itself"))
                    .hint("nothing was pushed"))
            }
            None => Ok(()),
        }
    }

    /// A walk without it. The paths of what was left out are told in `skipped` once the walk is over.
    pub fn leave_out(&self, mut walk: Walk, skipped: Rc<RefCell<BTreeSet<Vec<u8>>>>) -> Others {
        if let Some((dev, ino)) = self.folder {
            walk.exclude_identity(dev, ino);
        }
        Others { walk, files: self.files.clone(), skipped }
    }
}

/// What a walk meets, but for the repository.
pub struct Others {
    walk: Walk,
    files: Vec<PathBuf>,
    skipped: Rc<RefCell<BTreeSet<Vec<u8>>>>,
}

impl Others {
    fn is_own(&self, item: &Item) -> bool {
        if self.files.is_empty() || item.kind != Kind::File {
            return false;
        }
        // It is met under its name, unless it has several.
        let named = self.files.iter().any(|file| file.file_name() == Some(OsStr::from_bytes(&item.name)));
        if !named && item.same_file == 0 {
            return false;
        }
        let identity =
            |path: &Path| fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
        let met = identity(&PathBuf::from(OsString::from_vec(self.walk.path())));
        met.is_ok_and(|met| self.files.iter().any(|file| identity(file).is_ok_and(|own| own == met)))
    }
}

impl Source for Others {
    fn next(&mut self) -> Option<Event> {
        loop {
            match self.walk.next() {
                Some(Event::Leaf(item)) if self.is_own(&item) => {
                    self.skipped.borrow_mut().insert(self.walk.path());
                }
                None => {
                    self.skipped.borrow_mut().extend(self.walk.skipped().iter().cloned());
                    return None;
                }
                event => return event,
            }
        }
    }

    fn path(&self) -> Vec<u8> {
        self.walk.path()
    }

    fn extras(&mut self) -> io::Result<Extras> {
        self.walk.extras()
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        self.walk.open()
    }
}
