//! Room for a new repository: a place where nothing is yet, and what to say of one where something is.

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::Location;
use crate::repo;
use plakar_engine::Error;
use plakar_engine::repository::{Locked, PACK_BYTES_DEFAULT};
use plakar_store::{ErrorKind, Store};
use std::sync::Arc;

/// The length at which packs are closed in a new database: what a put holds up other writers for.
const PACK_BYTES_SQLITE: u32 = 4 << 20;

/// Looks whether something is in the way, before a passphrase is asked for or anything is made.
pub fn refuse_unless_free(place: &Location) -> Result<()> {
    match place {
        Location::Folder(path) => match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(false) => Err(occupied(place)),
            // What else is wrong shows when it is made.
            _ => Ok(()),
        },
        Location::Sqlite(path) if std::fs::symlink_metadata(path).is_ok() => Err(occupied(place)),
        Location::Sqlite(_) => Ok(()),
    }
}

/// What to say of a place that is not free.
pub fn occupied(place: &Location) -> Failure {
    let (store, _) = match place.open() {
        Ok(opened) => opened,
        Err(_) => return something(place),
    };
    match Locked::open(store) {
        Ok(_) => Failure::failed(format!("{place}: there is a repository already")),
        Err(e @ Error::Unfinished(_)) => Failure { code: Code::Failed, ..e.into() },
        Err(_) => something(place),
    }
}

fn something(place: &Location) -> Failure {
    match place {
        Location::Folder(_) => Failure::failed(format!("{place}: the folder is not empty")),
        Location::Sqlite(_) => Failure::failed(format!("{place}: something else is there")),
    }
}

/// Makes an empty store. Also returns where it is, absolute.
pub fn make(context: &Context, place: &Location) -> Result<(Arc<dyn Store>, Location)> {
    let (store, place) = place.create().map_err(|e| cannot(place, e))?;
    Ok((repo::watched(store, context), place))
}

/// Why a store could not be made.
pub fn cannot(place: &Location, error: plakar_store::Error) -> Failure {
    match error.kind() {
        ErrorKind::Exists => occupied(place),
        ErrorKind::NotFound => Failure::failed(format!("{place}: the folder above it is missing")),
        _ => error.into(),
    }
}

/// The length at which packs are closed in a new repository.
pub fn pack_bytes(place: &Location) -> u32 {
    match place {
        Location::Folder(_) => PACK_BYTES_DEFAULT,
        Location::Sqlite(_) => PACK_BYTES_SQLITE,
    }
}
