//! Where the database file is, and whether SQLite can do its work there.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use plakar_store::{Error, ErrorKind, Result};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::{Errno, retry_on_intr},
};

use crate::{log, network};

/// How long a writer waits for other processes' writers. A put holds the lock for as long as its bytes take to
/// be written, a barrier not at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest path that SQLite opens, with room for what it appends.
const PATH_BYTES_MAX: usize = 500;

/// What SQLite appends to the name of a database, for the files that it keeps beside it.
pub const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// The place of a database file.
#[derive(Debug)]
pub struct Place {
    /// Absolute, as it was given.
    pub path: PathBuf,
    /// The same without links: beside it lie the files that SQLite appends `-wal` and `-shm` to.
    pub file: PathBuf,
    /// How long a writer waits for others.
    pub patience: Duration,
}

impl Place {
    /// The place of a regular file that is there.
    ///
    /// The file is looked at and never opened here: a process that closes a file loses all its POSIX locks on
    /// it, so a look into it would take away the locks of other handles of this process.
    pub fn existing(path: &Path) -> Result<Place> {
        let path = absolute(path)?;
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::NotADirectory => Error::new(ErrorKind::Foreign, path.display().to_string()),
            _ => Error::io(format!("open {}", path.display()), e),
        };
        if !fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(Error::new(ErrorKind::Foreign, format!("{}: no file", path.display())));
        }
        let file = fs::canonicalize(&path).map_err(failed)?;
        Place { path, file, patience: PATIENCE }.usable()
    }

    /// The place of a file that is to be made in a folder that is there.
    pub fn new(path: &Path) -> Result<Place> {
        let path = absolute(path)?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
        let failed = |e| Error::io(format!("create {}", path.display()), e);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let file = fs::canonicalize(folder).map_err(failed)?.join(name);
        let place = Place { path, file, patience: PATIENCE };
        // They belong to a database that was moved away, may hold what it lacks, and would be taken for the new one's.
        match BESIDE.iter().map(|suffix| place.beside(suffix)).find(|file| fs::symlink_metadata(file).is_ok())
        {
            Some(left) => Err(exists(&left)),
            None => place.usable(),
        }
    }

    /// An empty file of its own beside the place, to be made a database there and then [published](Self::publish).
    pub fn draft(&self) -> Result<Place> {
        let failed = |e| Error::io(format!("create {}", self.location()), e);
        // A number is taken when somebody was killed; then the next one is free.
        for number in std::process::id().. {
            let file = self.beside(&format!(".new-{number}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
                Ok(_) => return Ok(Place { path: self.path.clone(), file, patience: self.patience }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Gives a draft the name of `place`, durably, unless something bears it.
    pub fn publish(&self, place: &Place) -> Result<()> {
        let renamed =
            retry_on_intr(|| renameat_with(CWD, &self.file, CWD, &place.file, RenameFlags::NOREPLACE));
        let named = match renamed {
            // A file system that cannot rename without replacing.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(&self.file, &place.file),
            other => other.map_err(io::Error::from),
        };
        let folder = place.file.parent().unwrap_or(&place.file);
        named.and_then(|()| log::flush_names(folder)).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => exists(&place.path),
            _ => Error::io(format!("create {}", place.location()), e),
        })
    }

    /// The file that SQLite keeps beside the database under the same name and `suffix`.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut file = self.file.clone().into_os_string();
        file.push(suffix);
        file.into()
    }

    /// For messages.
    pub fn location(&self) -> String {
        format!("sqlite://{}", self.path.display()).replace('\n', "\\x0a")
    }

    /// Device and number of the file that bears the name now.
    pub fn inode(&self) -> io::Result<(u64, u64)> {
        fs::metadata(&self.file).map(|metadata| (metadata.dev(), metadata.ino()))
    }

    fn usable(self) -> Result<Place> {
        let failed = |e| Error::io(format!("open {}", self.location()), e);
        if self.file.as_os_str().len() > PATH_BYTES_MAX {
            let why = format!("SQLite opens no path of more than {PATH_BYTES_MAX} bytes");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidFilename, why)));
        }
        let folder = self.file.parent().unwrap_or(&self.file);
        match network::refusal_of(folder).map_err(failed)? {
            Some(kind) => {
                let why = format!(
                    "the file system ({kind}) is shared with other machines, which the locks and the shared memory \
                     of SQLite do not reach; use a store in a folder there"
                );
                Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, why)))
            }
            None => Ok(self),
        }
    }
}

/// Something has the place already.
pub fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::Exists, format!("{}: something is there", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io(format!("open {}", path.display()), e))
}
