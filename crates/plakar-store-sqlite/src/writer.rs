//! The writing half: one connection that all threads take turns with, its log, and space that is given back.
//!
//! A put is one transaction, so an object is there whole or not at all, and a killed writer leaves nothing to
//! sweep: what it wrote to the log without a commit is written over. The price is that the log grows by an
//! object's length at a time, which is what a log is for. The write lock is taken when the transaction begins, so two
//! writers wait for each other and never find themselves both half-way.
//!
//! Space: pages of deleted objects go to the list of free pages, where the next put finds them. A barrier after
//! deletes gives them back to the file system, as many as were freed since the last barrier and no more, so that its
//! cost is bounded by the deletes'; it moves pages from the end of the file into the gaps. Not at the end of a
//! handle: a process that is killed has none, and nobody looks at errors there.
//!
//! A disk that fills up: the log can be copied back only where the database has room to grow, so a log that took the
//! last of it would leave no way to delete anything. Before every change there must be room for the log and for its
//! copy, and before a put some more, which is kept for deletes.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plakar_store::Name;
use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};

use crate::{error::Failed, log::Log, object, place::Place, schema::PAGE_BYTES};

/// Pages that a commit changes besides an object's own bytes: the leaves of two tables, and pages that tell of
/// pages. An estimate, for the length of the log.
const PAGES_BESIDES: u64 = 4;

/// How many pages are moved in one transaction, while other writers wait.
const PAGES_AT_ONCE: u64 = 16;

/// What a put leaves free on the disk, so that objects can still be deleted.
const RESERVE_BYTES: u64 = 1 << 20;

/// The writing half of a store.
#[derive(Debug)]
pub struct Writer {
    connection: Mutex<Connection>,
    log: Log,
    patience: Duration,
    /// Pages freed by deletes of this handle since its last barrier.
    freed: AtomicU64,
}

impl Writer {
    /// A writer on a connection that may write, to a database in WAL mode on which it has begun to read.
    pub fn new(connection: Connection, place: &Place) -> std::io::Result<Writer> {
        let log = Log::open(place)?;
        let connection = Mutex::new(connection);
        Ok(Writer { connection, log, patience: place.patience, freed: AtomicU64::new(0) })
    }

    /// Puts an object.
    pub fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<(), Failed> {
        let len = object::total(parts)?;
        self.change(len + len / 16, RESERVE_BYTES, |transaction| {
            // Only now is it certain that nobody else puts the same name.
            match object::find(transaction, name)? {
                Some(found) if object::holds(transaction, found, parts)? => Ok(None),
                Some(_) => Err(Failed::Other),
                None => object::write(transaction, name, parts, now_ms()).map(Some),
            }
        })
        .map(|_| ())
    }

    /// Removes an object, if it is there.
    pub fn delete(&self, name: &Name) -> Result<(), Failed> {
        let removed = self.change(0, 0, |transaction| {
            let Some(found) = object::find(transaction, name)? else { return Ok(None) };
            object::remove(transaction, name, found)?;
            Ok(Some(found.len))
        })?;
        if let Some(len) = removed {
            self.freed.fetch_add(len / PAGE_BYTES + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes a change in a transaction of its own that appends about `bytes` to the log, unless `change` finds
    /// that there is none to make. At least `reserve` bytes stay free on the disk.
    fn change<T>(
        &self,
        bytes: u64,
        reserve: u64,
        change: impl Fn(&Transaction<'_>) -> Result<Option<T>, Failed>,
    ) -> Result<Option<T>, Failed> {
        let bytes = bytes + PAGES_BESIDES * PAGE_BYTES;
        let mut connection = self.lock();
        self.impatient(&connection, |connection| self.log.make_room(connection, bytes, reserve))?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        if changed.is_some() {
            transaction.commit()?;
            self.log.grew(&connection, bytes)?;
        }
        Ok(changed)
    }

    /// Makes everything before durable, then gives space back, if deletes freed some.
    pub fn barrier(&self) -> Result<(), Failed> {
        self.log.flush()?;
        let freed = self.freed.swap(0, Ordering::Relaxed);
        if freed == 0 {
            return Ok(());
        }
        let connection = self.lock();
        // Space can wait, and a barrier should not wait for other writers.
        match self.impatient(&connection, |connection| self.give_back(connection, freed)) {
            // The file becomes shorter only when the log is copied back.
            Ok(given) if given > 0 => self.log.copy_back(&connection),
            Ok(_) => Ok(()),
            // The disk is full, or somebody writes: the next barrier tries again.
            Err(_) => {
                self.freed.fetch_add(freed, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Gives back at most `most` free pages; tells how many.
    fn give_back(&self, connection: &Connection, most: u64) -> Result<u64, Failed> {
        let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let all = u64::try_from(free).unwrap_or(0).min(most);
        let mut given = 0;
        while given < all {
            let now = PAGES_AT_ONCE.min(all - given);
            let bytes = (now + PAGES_BESIDES) * PAGE_BYTES;
            self.log.make_room(connection, bytes, 0)?;
            // Each page is a row without columns; the transaction ends after the last.
            let mut moving = connection.prepare(&format!("PRAGMA incremental_vacuum({now})"))?;
            let mut moved = moving.query(())?;
            while moved.next()?.is_some() {}
            given += now;
            self.log.grew(connection, bytes)?;
        }
        Ok(given)
    }

    /// Does something without waiting for other connections.
    fn impatient<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        connection.busy_timeout(Duration::ZERO)?;
        let done = work(connection);
        connection.busy_timeout(self.patience)?;
        done
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    /// The last connection that closes copies the log into the database and removes it: SQLite does that by itself. Not
    /// so after a failed flush, when the log may be all there is.
    fn drop(&mut self) {
        if self.log.is_broken() {
            // Without effect if it fails: then SQLite tries to copy.
            let _ = self.lock().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64)
}
