//! The log of the database: what a barrier flushes, and when the log is copied back into the file.
//!
//! What SQLite promises in WAL mode with `synchronous = NORMAL`, and how a barrier follows from it:
//!
//! 1. A commit appends its pages to the `-wal` file, each with a checksum over all that precedes it in the log,
//!    and flushes nothing. After a power cut the log is read up to the first page that is not whole, so what is
//!    left is a prefix of the commits. Flushing the `-wal` file therefore makes every commit durable that it held
//!    when the flush began.
//! 2. A checkpoint flushes the log, copies its pages into the database, and flushes that. Only after this may the
//!    log begin anew, over the old pages. So what has left the log is durable.
//! 3. The `-wal` file is neither removed nor replaced while anybody is connected, and this handle is.
//!
//! A barrier is thus one flush of one file, by a descriptor of our own that is kept open: the kernel reports a
//! write that was lost once to each descriptor, so no report is taken by somebody else. (Locks of SQLite are on
//! the database and on the `-shm` file; closing a descriptor of the `-wal` file loses none.) A commit with
//! `synchronous = FULL` would flush the same file, and write a page more.
//!
//! SQLite's own checkpoints, after a commit that made the log long, drop the error of a failed flush, and the next
//! flush of the same file succeeds although bytes were lost. So they are switched off, and made here, where an
//! error is seen: once one failed, this handle neither writes, nor copies the log back, nor passes a barrier.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, ffi::ErrorCode};
use rustix::io::Errno;

use crate::{error::Failed, place::Place};

/// How long the log may become before it is copied back. Copying costs two flushes, so it is not done for every
/// small object; and opening a database after a crash means reading the whole log.
pub const BYTES_MAX: u64 = 64 << 20;

/// How a file is flushed: a parameter, so that tests can let it fail.
type Flush<'a> = &'a dyn Fn(&File) -> io::Result<()>;

/// The `-wal` file of a database that this process is connected to.
#[derive(Debug)]
pub struct Log {
    file: File,
    folder: PathBuf,
    /// About how long the log is: what was appended by this handle since it was last copied back, and what was
    /// found when it was opened.
    bytes: AtomicU64,
    /// Whether the names in the folder are durable. Held while flushing, so that a barrier never returns before
    /// one that began earlier.
    named: Mutex<bool>,
    broken: AtomicBool,
}

impl Log {
    /// The log of a database in WAL mode, on which a connection has begun to read: the file is there then.
    pub fn open(place: &Place) -> io::Result<Log> {
        let file = File::open(place.beside("-wal"))?;
        let bytes = AtomicU64::new(file.metadata()?.len());
        let folder = place.file.parent().unwrap_or(&place.file).to_owned();
        Ok(Log { file, folder, bytes, named: Mutex::new(false), broken: AtomicBool::new(false) })
    }

    /// Fails once a flush failed.
    pub fn intact(&self) -> Result<(), Failed> {
        match self.is_broken() {
            true => Err(Failed::System(io::Error::other("an earlier flush failed; open the store again"))),
            false => Ok(()),
        }
    }

    /// Whether a flush failed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Makes durable whatever was committed before, by anybody.
    pub fn flush(&self) -> Result<(), Failed> {
        self.flushed_by(&File::sync_data)
    }

    fn flushed_by(&self, flush: Flush) -> Result<(), Failed> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        self.intact()?;
        let metadata = self.file.metadata().map_err(Failed::System)?;
        if metadata.nlink() == 0 {
            return Err(Failed::System(io::Error::other("the -wal file was removed while in use")));
        }
        let flushed = |done: io::Result<()>| {
            done.map_err(|e| {
                self.broken.store(true, Ordering::Release);
                Failed::System(e)
            })
        };
        flushed(flush(&self.file))?;
        if !*named {
            // The log's name may be as young as its bytes. SQLite flushes it only when it flushes the log itself.
            flushed(flush_names(&self.folder))?;
            *named = true;
        }
        Ok(())
    }

    /// Notes that a commit appended about so many bytes, and copies the log back once it is long.
    pub fn grew(&self, connection: &Connection, bytes: u64) -> Result<(), Failed> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes >= BYTES_MAX { self.copy_back(connection) } else { Ok(()) }
    }

    /// Copies the log into the database as far as readers let it; they are not waited for.
    ///
    /// What was committed stays committed whatever happens. Nothing is said when there is no room for it, or
    /// when another process is doing the same: the log holds it all, and the next commit tries again.
    pub fn copy_back(&self, connection: &Connection) -> Result<(), Failed> {
        self.checkpoint(connection, "PASSIVE")
    }

    /// Sees to it that `bytes` more can be appended to the log, all of it copied back, and `reserve` bytes be left. If
    /// need be the log is emptied and its room given back, unless somebody reads or writes.
    ///
    /// Without this a log could take the last room on a disk, and then there would be none to copy it to.
    pub fn make_room(&self, connection: &Connection, bytes: u64, reserve: u64) -> Result<(), Failed> {
        self.intact()?;
        let needed = bytes.saturating_mul(2) + reserve;
        if self.room()? >= self.bytes.load(Ordering::Relaxed) + needed {
            return Ok(());
        }
        self.checkpoint(connection, "TRUNCATE")?;
        // A delete may try with less: much of what it appends is in the database already.
        if reserve > 0 && self.room()? < needed {
            return Err(Failed::System(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// What is free on the disk for whoever owns this process.
    fn room(&self) -> Result<u64, Failed> {
        let stat = rustix::fs::fstatvfs(&self.file).map_err(|e| Failed::System(e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn checkpoint(&self, connection: &Connection, mode: &str) -> Result<(), Failed> {
        self.intact()?;
        let done = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        match done {
            Ok((0, pages, copied)) if pages == copied => self.bytes.store(0, Ordering::Relaxed),
            Ok(_) => {}
            Err(e)
                if matches!(e.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)) => {}
            Err(e) => {
                self.broken.store(true, Ordering::Release);
                return Err(e.into());
            }
        }
        Ok(())
    }
}

/// Makes the names in a folder durable. A file system that has no such thing for folders says so with two errors,
/// and keeps names by other means.
pub fn flush_names(folder: &Path) -> io::Result<()> {
    let flushed = match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            // A folder that may be passed through but not read cannot be flushed alone.
            rustix::fs::sync();
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    match flushed {
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOTSUP)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn log() -> (tempfile::TempDir, Log) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("db-wal"), "log").unwrap();
        let file = temp.path().join("db");
        let place = Place { path: file.clone(), file, patience: std::time::Duration::ZERO };
        let log = Log::open(&place).unwrap();
        (temp, log)
    }

    #[test]
    fn every_barrier_flushes_the_log() {
        let (_temp, log) = log();
        let flushes = Cell::new(0);
        for n in 1..4 {
            let flush = |_: &File| {
                flushes.set(flushes.get() + 1);
                Ok(())
            };
            log.flushed_by(&flush).unwrap();
            assert_eq!(flushes.get(), n);
        }
    }

    #[test]
    fn after_a_failed_flush_no_barrier_succeeds_and_nothing_is_copied_back() {
        let (_temp, log) = log();
        log.flush().unwrap();
        assert!(log.flushed_by(&|_| Err(io::Error::other("lost"))).is_err());
        assert!(log.is_broken() && log.intact().is_err());
        assert!(log.flushed_by(&|_| panic!("flushed again")).is_err());
        let connection = Connection::open_in_memory().unwrap();
        assert!(log.copy_back(&connection).is_err());
    }

    #[test]
    fn a_log_that_was_removed_is_not_durable() {
        let (temp, log) = log();
        std::fs::remove_file(temp.path().join("db-wal")).unwrap();
        let Err(Failed::System(e)) = log.flush() else { panic!("flushed what nobody finds again") };
        assert!(e.to_string().contains("removed"), "{e}");
    }
}
