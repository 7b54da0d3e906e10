//! A store in one SQLite database file.
//!
//! 1. An object is a row with its name, and rows with its bytes in parts of 256 KiB, so that a range is read
//!    without what lies before it; see `docs/format.md`, "SQLite store", for the layout. What SQLite's command-line
//!    tool shows of it is the truth.
//! 2. A put is one transaction. Readers see it when it is committed and wait for nobody; writers, in this process
//!    and in others, wait for each other.
//! 3. A [`barrier`](Store::barrier) flushes the database's log, the file with `-wal` at the end of its name.
//! 4. While a store is open, files named `-wal` and `-shm` lie beside the database and belong to it. When the last
//!    handle is dropped they are gone, and the one file is the whole store. A crash leaves them behind; the next
//!    handle reads them.
//!
//! The database must be on a file system of this machine alone: a place on a network is refused. And a process that
//! has a store open must not open and close the database file by other means, were it to copy it: by a rule of POSIX
//! the process would lose all its locks on it.
//!
//! Not here: objects that come in pieces ([`Store::draft`]). They would be written in the transaction of a put, which would
//! keep every other writer waiting for as long as they come. Whoever has pieces gathers them.
//!
//! Nor is there any detecting of damage. SQLite notices a damaged structure, which is an error then, but not a
//! changed byte within an object, as a file system would not.

mod connect;
mod error;
mod log;
mod network;
mod object;
mod place;
mod schema;
mod writer;

use std::{fs, io, path::Path};

#[cfg(any(doc, test))]
use plakar_store::ErrorKind;
use plakar_store::{Capabilities, Listed, Name, ReadStore, Result, Store};
use rusqlite::{Connection, Transaction, ffi::ErrorCode};

use connect::{Pool, Use, connect};
use error::Failed;
use place::Place;
use writer::Writer;

/// A store in one SQLite database file.
#[derive(Debug)]
pub struct SqliteStore {
    place: Place,
    // Dropped before the writer, so that the connection which can tidy up closes last.
    readers: Pool,
    writer: Option<Writer>,
}

impl SqliteStore {
    /// Makes a database file, mode 0600, and opens it as an empty store. The folder above must be there; the file
    /// survives a power cut when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when `path` is taken by anything, or a file that SQLite kept beside a database of
    /// that name is left, [`ErrorKind::NotFound`] when the folder above is
    /// missing, [`ErrorKind::Denied`] when the folder may not be written or is on a network; others as the file
    /// system reports them. Nothing was changed. A crash may leave a file `<path>.new-<number>`, which is of no use.
    pub fn create(path: impl AsRef<Path>) -> Result<SqliteStore> {
        let place = Place::new(path.as_ref())?;
        let draft = place.draft()?;
        // Nobody ever sees a database that is not whole: it gets its name when it is.
        let named = fill(&draft).and_then(|()| draft.publish(&place));
        for suffix in place::BESIDE.iter().chain(&[""]) {
            // After a rename there is nothing left of that name. A failure leaves what a crash would leave.
            let _ = fs::remove_file(draft.beside(suffix));
        }
        named?;
        SqliteStore::open(&place.path)
    }

    /// Opens the store in the database file `path`, which may be relative or a symbolic link.
    ///
    /// Without permission to write the file, the store can be read as long as the files beside it are there or can be
    /// made; on a file system that nobody can write, it can be read if the last who wrote it had closed it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing is there, [`ErrorKind::Foreign`] when it is no regular file, no SQLite
    /// database, or one of something else, [`ErrorKind::Denied`] when it may not be read or is on a network. Nothing was
    /// changed.
    pub fn open(path: impl AsRef<Path>) -> Result<SqliteStore> {
        let place = Place::existing(path.as_ref())?;
        match SqliteStore::connected(&place, Use::Write) {
            Err(Failed::Sqlite(e))
                if matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
                    && is_unchangeable(&place) =>
            {
                SqliteStore::connected(&place, Use::ReadImmutable)
            }
            other => other,
        }
        .map_err(|failed| place.error("open", "the database", failed))
        .map(|(readers, writer)| SqliteStore { place, readers, writer })
    }

    /// The absolute path of the database file, byte for byte; [`location`](ReadStore::location) is for messages.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The connections of a store: those that read, and the one that writes, if there may be one.
    fn connected(place: &Place, what_for: Use) -> std::result::Result<(Pool, Option<Writer>), Failed> {
        // Only a question makes SQLite open its files.
        let ask = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0))
        };
        let connection = connect(place, what_for).and_then(|connection| ask(&connection).map(|_| connection));
        let connection = connection.map_err(|e| match e.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Failed::Foreign("no SQLite database".into()),
            _ => Failed::Sqlite(e),
        })?;
        if let Some(why) = schema::foreign(&connection)? {
            return Err(Failed::Foreign(why));
        }
        if what_for == Use::ReadImmutable || connection.is_readonly("main")? {
            connection.pragma_update(None, "query_only", true)?;
            let what_for = if what_for == Use::Write { Use::Read } else { what_for };
            return Ok((Pool::new(place, what_for, Some(connection)).map_err(Failed::System)?, None));
        }
        // A copy made by SQLite itself (VACUUM INTO) has no log until it is asked for one.
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
        if mode != "wal" {
            return Err(Failed::System(io::Error::other(format!(
                "SQLite insists on the journal mode {mode}"
            ))));
        }
        ask(&connection)?;
        let readers = Pool::new(place, Use::Read, None).map_err(Failed::System)?;
        Ok((readers, Some(Writer::new(connection, place).map_err(Failed::System)?)))
    }

    /// Asks about an object, in one read transaction.
    fn ask<T>(
        &self,
        operation: &str,
        name: &Name,
        question: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, Failed>,
    ) -> Result<T> {
        self.readers.ask(&self.place, question).map_err(|failed| self.place.error(operation, name, failed))
    }

    fn writer(&self) -> std::result::Result<&Writer, Failed> {
        self.writer.as_ref().ok_or(Failed::ReadOnly("the database may only be read"))
    }
}

impl ReadStore for SqliteStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.ask("read", name, |t| object::read(t, object::must_find(t, name)?, offset, len))
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.ask("read", name, |t| {
            let object = object::must_find(t, name)?;
            let len = usize::try_from(object.len).ok().filter(|len| *len <= max);
            object::read(t, object, 0, len.ok_or(Failed::TooLarge(object.len))?)
        })
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.ask("look at", name, |t| Ok(object::must_find(t, name)?.len))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let failed = |failed| self.place.error("list", format_args!("{prefix:.200}*"), failed);
        // A file that was taken away while open reads as it was; the store is not there all the same.
        self.readers.same_file(&self.place).map_err(failed)?;
        let ask =
            |from: &[u8]| self.readers.ask(&self.place, |t| object::page(t, prefix, from)).map_err(failed);
        object::list(prefix, ask, each)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: true, append_only: false }
    }

    fn location(&self) -> String {
        self.place.location()
    }
}

impl Store for SqliteStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        // Asked first as a reader: what is there needs neither the lock of a writer nor permission to write.
        let found = self.ask("put", name, |t| match object::find(t, name)? {
            Some(found) if object::holds(t, found, parts)? => Ok(true),
            Some(_) => Err(Failed::Other),
            None => Ok(false),
        })?;
        if found {
            return Ok(());
        }
        self.writer()
            .and_then(|writer| writer.put(name, parts))
            .map_err(|failed| self.place.error("put", name, failed))
    }

    fn delete(&self, name: &Name) -> Result<()> {
        if self.ask("delete", name, |t| object::find(t, name))?.is_none() {
            return Ok(());
        }
        self.writer()
            .and_then(|writer| writer.delete(name))
            .map_err(|failed| self.place.error("delete", name, failed))
    }

    /// Flushes the log. Once a flush failed, this handle refuses every later put, delete and barrier, because the
    /// kernel tells of a loss only once: open the store again, and put again what had no barrier.
    fn barrier(&self) -> Result<()> {
        // Through a handle that only reads nothing was put.
        let Some(writer) = &self.writer else { return Ok(()) };
        self.readers
            .same_file(&self.place)
            .and_then(|()| writer.barrier())
            .map_err(|failed| self.place.error("flush", "the log", failed))
    }
}

/// Makes the empty file a database.
fn fill(place: &Place) -> Result<()> {
    let failed = |failed| place.error("create", "the database", failed);
    let connection: Connection = connect(place, Use::Write).map_err(|e| failed(e.into()))?;
    schema::make(&connection).map_err(|e| failed(e.into()))?;
    // Only what is closed can be moved: its log goes with it.
    connection.close().map_err(|(_, e)| failed(e.into()))
}

/// Whether nobody, on any mount, can change the file, and it is whole without the log.
fn is_unchangeable(place: &Place) -> bool {
    let logged = fs::metadata(place.beside("-wal")).is_ok_and(|log| log.len() > 0);
    !logged && network::mount_of(&place.file).is_some_and(|mount| mount.read_only)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_writer_that_waited_too_long_says_for_whom() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store.db");
        let name = Name::new("config").unwrap();
        drop(SqliteStore::create(&path).unwrap());
        let place = Place { patience: Duration::from_millis(900), ..Place::existing(&path).unwrap() };
        let (readers, writer) = SqliteStore::connected(&place, Use::Write).unwrap();
        let store = SqliteStore { place, readers, writer };
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = store.put(&name, &[b"bytes"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().ends_with("another process has been writing for 1 s"), "{error}");
        other.execute_batch("COMMIT").unwrap();
        store.put(&name, &[b"bytes"]).unwrap();
    }
}
