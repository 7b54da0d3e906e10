//! What others are given access to: the bytes at a location, or in a folder of repositories.

use crate::location::Location;
use plakar_net::{Place, Repositories};
use plakar_store::{Error, ErrorKind, Line, Name, ReadStore, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The store at a location.
pub struct Served(pub Location);

impl Place for Served {
    fn open(&self) -> plakar_store::Result<Arc<dyn Store>> {
        self.0.open_store(&Line::default()).map(|(store, _)| store)
    }

    fn create(&self) -> plakar_store::Result<Arc<dyn Store>> {
        self.0.create(&Line::default()).map(|(store, _)| store)
    }
}

/// As [`Served`], to whom a path leads that others chose: what is there is given to nobody unless it is a repository, or is
/// about to be one.
struct Guarded(Served);

impl Place for Guarded {
    fn open(&self) -> plakar_store::Result<Arc<dyn Store>> {
        let store = self.0.open()?;
        if is_repository(&*store) || is_empty(&self.0.0, &*store)? {
            return Ok(store);
        }
        Err(Error::new(ErrorKind::NotFound, "no repository is served here"))
    }

    fn create(&self) -> plakar_store::Result<Arc<dyn Store>> {
        self.0.create()
    }
}

fn is_repository(store: &dyn ReadStore) -> bool {
    ["replica", "config"].iter().any(|name| store.len(&Name::new(name).expect("a name")).is_ok())
}

fn is_empty(place: &Location, store: &dyn ReadStore) -> plakar_store::Result<bool> {
    if let Location::Folder(path) = place {
        let entries = fs::read_dir(path).map_err(|e| Error::io(place.to_string(), e))?;
        return Ok(entries.count() == 0);
    }
    let mut empty = true;
    store.list("", &mut |_| {
        empty = false;
        Ok(())
    })?;
    Ok(empty)
}

/// What a server gives access to.
pub enum Offer {
    /// One repository.
    One(Location),
    /// Those in a folder, by their names.
    Several(PathBuf),
}

/// What lies in a repository's folder, and so tells it from a folder of repositories.
const PARTS: [&str; 9] =
    ["replica", "config", "keys", "keyring", "log", "admin", "index", "packs", "damaged"];

impl Offer {
    /// What is at a location: a folder with nothing of a repository in it is one of repositories.
    pub fn of(location: &Location) -> Offer {
        match location {
            Location::Folder(path) if path.is_dir() && !PARTS.iter().any(|part| path.join(part).exists()) => {
                Offer::Several(path.clone())
            }
            location => Offer::One(location.clone()),
        }
    }
}

impl Repositories for Offer {
    fn place(&self, name: &str) -> Option<Box<dyn Place>> {
        let location = match self {
            Offer::One(location) if name.is_empty() => location.clone(),
            Offer::Several(folder) if !name.is_empty() => inside(&folder.join(name))?,
            _ => return None,
        };
        Some(Box::new(Guarded(Served(location))))
    }
}

/// What lies there, or may be made there. A link may lead anywhere, so it is none.
fn inside(path: &Path) -> Option<Location> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Some(Location::Sqlite(path.to_owned())),
        Ok(metadata) if !metadata.is_dir() => None,
        _ => Some(Location::Folder(path.to_owned())),
    }
}
