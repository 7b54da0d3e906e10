//! Connections, and the few that are kept for reading.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OpenFlags, Transaction, config::DbConfig, limits::Limit};

use crate::{error::Failed, log, place::Place};

/// The longest row or statement that SQLite may handle: four times what the longest row of ours needs, so that a
/// damaged length makes nobody allocate.
const ROW_BYTES_MAX: i32 = 1 << 20;

/// How many idle connections for reading are kept; each has two files open.
const IDLE_MAX: usize = 8;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Puts: pages of a whole put of the usual size fit into its cache, and go to the log once each.
    Write,
    /// Reading: many may be open.
    Read,
    /// Reading what nobody changes: no locks, no log, no files beside the database.
    ReadImmutable,
}

/// Opens the database, which must be there. SQLite looks at nothing before the first question.
pub fn connect(place: &Place, what_for: Use) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match what_for {
        Use::ReadImmutable => {
            let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(&place.file), flags)?
        }
        // Readers too: whoever comes first after a crash reads the log anew, and that is writing. Where the file
        // may only be read, SQLite falls back to that.
        _ => Connection::open_with_flags(&place.file, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?,
    };
    connection.busy_timeout(place.patience)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_BYTES_MAX)?;
    // The file may be a stranger's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    let (cache_kib, only) = match what_for {
        Use::Write => (32 << 10, "OFF"),
        Use::Read | Use::ReadImmutable => (4 << 10, "ON"),
    };
    connection.execute_batch(&format!(
        "PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {};
         PRAGMA query_only = {only};",
        log::BYTES_MAX
    ))?;
    Ok(connection)
}

/// The file as a URI with which SQLite takes it for unchangeable.
fn immutable(file: &Path) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' => uri.push(*byte),
            other => uri.extend(format!("%{other:02x}").into_bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri).into()
}

/// Connections for reading: as many as there are readers at a time.
#[derive(Debug)]
pub struct Pool {
    what_for: Use,
    /// The file that was opened first. Another one under its name is another store.
    inode: (u64, u64),
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// A pool that begins with one connection, open on the file that bears the name now.
    pub fn new(place: &Place, what_for: Use, first: Option<Connection>) -> std::io::Result<Pool> {
        Ok(Pool { what_for, inode: place.inode()?, idle: Mutex::new(first.into_iter().collect()) })
    }

    /// Asks in one read transaction: everything asked is of one moment. A reader waits for nobody but one who
    /// recovers the log after a crash.
    pub fn ask<T>(
        &self,
        place: &Place,
        question: impl FnOnce(&Transaction<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = connect(place, self.what_for)?;
                self.same_file(place)?;
                connection
            }
        };
        let transaction = connection.unchecked_transaction()?;
        let answer = question(&transaction);
        // Nothing was written; a failure to end the transaction shows in the next line.
        drop(transaction);
        let mut idle = self.lock();
        if idle.len() < IDLE_MAX && connection.is_autocommit() {
            idle.push(connection);
        }
        answer
    }

    /// Fails when the database was taken away or replaced since it was opened.
    pub fn same_file(&self, place: &Place) -> Result<(), Failed> {
        match place.inode() {
            Ok(inode) if inode == self.inode => Ok(()),
            Ok(_) => Err(Failed::System(std::io::Error::other("another file has taken its place"))),
            Err(e) => Err(Failed::System(e)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
