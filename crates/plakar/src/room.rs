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
pub fn refuse_unless_free(context: &Context, place: &Location) -> Result<()> {
    match place {
        Location::Folder(path) => match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(false) => Err(occupied(context, place)),
            // What else is wrong shows when it is made.
            _ => Ok(()),
        },
        Location::Sqlite(path) if std::fs::symlink_metadata(path).is_ok() => Err(occupied(context, place)),
        // What is elsewhere tells when it is made.
        Location::Sqlite(_)
        | Location::Ssh(_)
        | Location::Sftp(_)
        | Location::Server(_)
        | Location::Object(_) => Ok(()),
    }
}

/// What to say of a place that is not free.
pub fn occupied(context: &Context, place: &Location) -> Failure {
    let (store, _) = match place.open(&context.line) {
        Ok(opened) => opened,
        Err(_) => return something(place),
    };
    match Locked::open(store) {
        Ok(_) => occupied_by_repository(place),
        Err(e @ Error::Unfinished(_)) => Failure { code: Code::Failed, ..e.into() },
        Err(_) => something(place),
    }
}

/// What to say of a place where there is a repository.
pub fn occupied_by_repository(place: &Location) -> Failure {
    Failure::failed(format!("{place}: there is a repository already"))
}

fn something(place: &Location) -> Failure {
    match place {
        Location::Folder(_) | Location::Sftp(_) => {
            Failure::failed(format!("{place}: the folder is not empty"))
        }
        _ => Failure::failed(format!("{place}: something else is there")),
    }
}

/// Makes an empty store. Also returns where it is, absolute.
pub fn make(context: &Context, place: &Location) -> Result<(Arc<dyn Store>, Location)> {
    let (store, place) = place.create(&context.line).map_err(|e| cannot(context, place, e))?;
    repo::tell_weakness(context, &*store);
    Ok((repo::watched(store, context), place))
}

/// Makes an empty store for a clone, or opens one where a clone was begun. Whether it was this one, cloning will tell.
pub fn for_clone(context: &Context, place: &Location) -> Result<(Arc<dyn Store>, Location)> {
    let (store, at) = match place.create(&context.line) {
        Err(e) if e.kind() == ErrorKind::Exists => {
            let (store, at) = place.open(&context.line).map_err(|_| something(place))?;
            match Locked::open(store.clone()) {
                Err(Error::Unfinished(_)) => (store, at),
                _ => return Err(occupied(context, place)),
            }
        }
        created => created.map_err(|e| cannot(context, place, e))?,
    };
    repo::tell_weakness(context, &*store);
    Ok((repo::watched(store, context), at))
}

/// Why a store could not be made.
fn cannot(context: &Context, place: &Location, error: plakar_store::Error) -> Failure {
    match error.kind() {
        ErrorKind::Exists => occupied(context, place),
        ErrorKind::NotFound if matches!(place, Location::Server(_)) => {
            Failure::failed(format!("{place}: the server has no place for a repository of this name"))
        }
        ErrorKind::NotFound => place
            .missing_bucket(&error)
            .unwrap_or_else(|| Failure::failed(format!("{place}: the folder above it is missing"))),
        _ => error.into(),
    }
}

/// The length at which packs are closed in a new repository.
pub fn pack_bytes(place: &Location) -> u32 {
    match place {
        Location::Sqlite(_) => PACK_BYTES_SQLITE,
        Location::Ssh(ssh) if ssh.is_sqlite() => PACK_BYTES_SQLITE,
        Location::Folder(_)
        | Location::Ssh(_)
        | Location::Sftp(_)
        | Location::Server(_)
        | Location::Object(_) => PACK_BYTES_DEFAULT,
    }
}
