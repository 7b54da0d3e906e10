//! What a repository's name stands for: a folder, a file that is a SQLite database, either of them on another machine, or a
//! place in an object store.
//!
//! A folder is named by its path, a database by `sqlite://` and its path, which is relative unless it begins with a
//! slash: `sqlite://backups.db`, `sqlite:///mnt/disk/backups.db`. The bytes of a path stand for themselves. For what is reached with
//! ssh see [`crate::ssh`] and [`crate::sftp`], for what is on a server [`crate::url`], for object stores [`crate::object`].

use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::object::Object;
use crate::sftp::{self, Sftp};
use crate::ssh::{self, Ssh};
use crate::url::Url;
use plakar_engine::Error;
use plakar_store::{DirStore, ErrorKind, Line, ReadStore, Store, is_temporary};
use plakar_store_object::Options;
use plakar_store_sqlite::SqliteStore;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SQLITE: &[u8] = b"sqlite://";

/// Device and inode number.
pub type Identity = (u64, u64);

/// Where a repository is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// A database file.
    Sqlite(PathBuf),
    /// On another machine.
    Ssh(Ssh),
    /// In a folder of another machine.
    Sftp(Sftp),
    /// On a server.
    Server(Url),
    /// In an object store.
    Object(Object),
}

impl Location {
    /// What a name stands for. Nothing is looked at.
    ///
    /// # Errors
    /// For a name that stands for nothing.
    pub fn parse(typed: &OsStr) -> Result<Location> {
        let bytes = typed.as_bytes();
        let shown = || format::printable(bytes);
        if bytes.is_empty() {
            return Err(Failure::usage("a repository has no empty name"));
        }
        match bytes.strip_prefix(SQLITE) {
            Some(b"") => return Err(Failure::usage(format!("{}: which file?", shown()))),
            Some(path) => return Ok(Location::Sqlite(PathBuf::from(OsStr::from_bytes(path)))),
            None => {}
        }
        if bytes.starts_with(ssh::SCHEME) {
            let parsed = Ssh::parse(typed).map(Location::Ssh);
            return parsed.map_err(|why| Failure::usage(format!("{}: {why}", shown())));
        }
        if bytes.starts_with(sftp::SCHEME) {
            let parsed = Sftp::parse(typed).map(Location::Sftp);
            return parsed.map_err(|why| Failure::usage(format!("{}: {why}", shown())));
        }
        if let Some(parsed) = Url::parse(typed) {
            let failed = |why| Failure::usage(format!("{}: {why}", shown()));
            return parsed.map(Location::Server).map_err(failed);
        }
        if let Some(parsed) = Object::parse(typed) {
            let failed = |why| Failure::usage(format!("{}: {why}", shown()));
            return parsed.map(Location::Object).map_err(failed);
        }
        if let Some(scheme) = scheme(bytes) {
            return Err(Failure::failed(format!(
                "{}: repositories at {scheme}:// are not supported",
                shown()
            ))
            .hint(
                "a repository is a folder, named by its path, a file, named by 'sqlite://' and its path, one of \
                 them elsewhere, 'ssh://HOST/PATH' or 'sftp://HOST/PATH', on a server, 'plakar://HOST/NAME', or in a \
                 bucket, 's3://BUCKET/PREFIX'",
            ));
        }
        if bytes[0] == b'@' {
            return Err(Failure::failed(format!("{}: no repository is known by this name", shown()))
                .hint("a folder whose name begins with '@' is written './@...'"));
        }
        Ok(Location::Folder(PathBuf::from(typed)))
    }

    /// The same place, reached with these options where it has none of its own, if it is one that takes options.
    pub fn with(self, options: &Options) -> Location {
        match self {
            Location::Object(object) => Location::Object(object.with(options)),
            other => other,
        }
    }

    /// What to say of a place in an object store whose bucket is missing, if that is what is wrong.
    pub fn missing_bucket(&self, error: &plakar_store::Error) -> Option<Failure> {
        match self {
            Location::Object(object) => object.missing_bucket(error),
            _ => None,
        }
    }

    /// The folder or the file, if it is here.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Location::Folder(path) | Location::Sqlite(path) => Some(path),
            Location::Ssh(_) | Location::Sftp(_) | Location::Server(_) | Location::Object(_) => None,
        }
    }

    /// As it would be typed, byte for byte.
    pub fn name(&self) -> OsString {
        match self {
            Location::Folder(path) => path.clone().into_os_string(),
            Location::Sqlite(path) => OsString::from_vec([SQLITE, path.as_os_str().as_bytes()].concat()),
            Location::Ssh(ssh) => ssh.name().to_owned(),
            Location::Sftp(sftp) => sftp.name().to_owned(),
            Location::Server(url) => url.name().to_owned(),
            Location::Object(object) => object.name().to_owned(),
        }
    }

    /// As it would be typed, as far as that is text: for JSON.
    pub fn text(&self) -> String {
        self.name().to_string_lossy().into_owned()
    }

    /// The same place with another path to it.
    fn at(&self, path: PathBuf) -> Location {
        match self {
            Location::Folder(_) => Location::Folder(path),
            Location::Sqlite(_) => Location::Sqlite(path),
            Location::Ssh(_) | Location::Sftp(_) | Location::Server(_) | Location::Object(_) => self.clone(),
        }
    }

    /// The same place without links on the way to it, as far as it is there.
    pub fn canonical(&self) -> Location {
        if let Location::Object(object) = self {
            return Location::Object(object.canonical());
        }
        let Some(path) = self.path() else { return self.clone() };
        if let Ok(path) = fs::canonicalize(path) {
            return self.at(path);
        }
        // It is to be made.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let above = absolute.parent().and_then(|above| fs::canonicalize(above).ok());
        match (above, absolute.file_name()) {
            (Some(above), Some(last)) => self.at(above.join(last)),
            _ => self.at(absolute),
        }
    }

    /// Device and inode of the folder or the file: the same by whatever name it is reached.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn identity(&self) -> io::Result<Identity> {
        let elsewhere = || io::Error::from(io::ErrorKind::Unsupported);
        let metadata = fs::metadata(self.path().ok_or_else(elsewhere)?)?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Whether it is somewhere in another place.
    pub fn lies_in(&self, outer: &Location) -> bool {
        if let (Location::Object(inner), Location::Object(outer)) = (self, outer) {
            return inner.lies_in(outer);
        }
        let (inner, outer) = (self.canonical(), outer.canonical());
        let both = inner.path().zip(outer.path());
        inner != outer && both.is_some_and(|(inner, outer)| inner.starts_with(outer))
    }

    /// Whether both are one place, by whatever names.
    fn is_same(&self, other: &Location) -> bool {
        let same_file = || matches!((self.identity(), other.identity()), (Ok(a), Ok(b)) if a == b);
        self.canonical() == other.canonical() || same_file()
    }

    /// Opens the store that is there; what is elsewhere, over a line that is used as `line` says. Also returns where that is,
    /// absolute.
    ///
    /// # Errors
    /// With [`Code::NoRepository`] when there is none.
    pub fn open(&self, line: &Line) -> Result<(Arc<dyn Store>, Location)> {
        let opened = self.open_store(line);
        opened.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                let missing =
                    self.missing_bucket(&e).map(|failure| Failure { code: Code::NoRepository, ..failure });
                missing.unwrap_or_else(|| Error::NoRepository(self.to_string()).into())
            }
            ErrorKind::Foreign => match self {
                Location::Folder(_) => {
                    Failure::new(Code::NoRepository, format!("{self}: not a folder, so not a repository"))
                }
                Location::Sqlite(_)
                | Location::Ssh(_)
                | Location::Sftp(_)
                | Location::Server(_)
                | Location::Object(_) => Failure::new(Code::NoRepository, e.to_string()),
            },
            _ => e.into(),
        })
    }

    /// As [`open`](Self::open), with the store's own errors.
    pub fn open_store(&self, line: &Line) -> plakar_store::Result<(Arc<dyn Store>, Location)> {
        match self {
            Location::Folder(path) => {
                let store = DirStore::open(path)?;
                let path = store.path().to_owned();
                Ok((Arc::new(store), Location::Folder(path)))
            }
            Location::Sqlite(path) => {
                let store = SqliteStore::open(path)?;
                let path = store.path().to_owned();
                Ok((Arc::new(store), Location::Sqlite(path)))
            }
            Location::Ssh(ssh) => Ok((Arc::new(ssh.open(line)?), self.clone())),
            Location::Sftp(sftp) => Ok((Arc::new(sftp.open(line)?), self.clone())),
            Location::Server(url) => Ok((Arc::new(url.open(line)?), self.clone())),
            Location::Object(object) => Ok((Arc::new(object.open(line)?), self.clone())),
        }
    }

    /// Makes an empty store, or opens one in which nothing is but what making it has left, if that was cut short before the first
    /// object. Also returns where that is, absolute.
    ///
    /// # Errors
    /// Of the kind `Exists` when something is there, were it no object.
    pub fn create(&self, line: &Line) -> plakar_store::Result<(Arc<dyn Store>, Location)> {
        match self {
            Location::Folder(path) => {
                let store = DirStore::create(path).or_else(|e| left(e, || reopened(path)))?;
                let path = store.path().to_owned();
                Ok((Arc::new(store), Location::Folder(path)))
            }
            Location::Sqlite(path) => {
                let store = SqliteStore::create(path).or_else(|e| left(e, || reopened_database(path)))?;
                let path = store.path().to_owned();
                Ok((Arc::new(store), Location::Sqlite(path)))
            }
            // What is there is for the other side to say: a listing shows nothing that is no object, such as somebody's photos.
            Location::Ssh(ssh) => Ok((Arc::new(ssh.create(line)?), self.clone())),
            Location::Server(url) => Ok((Arc::new(url.create(line)?), self.clone())),
            Location::Sftp(sftp) => {
                let reopened = || {
                    let store = sftp.open(line)?;
                    Ok(store.is_as_good_as_empty()?.then_some(store))
                };
                let store = sftp.create(line).or_else(|e| left(e, reopened))?;
                Ok((Arc::new(store), self.clone()))
            }
            // Making one puts nothing.
            Location::Object(object) => Ok((Arc::new(object.create(line)?), self.clone())),
        }
    }
}

/// What is there already, if it may be taken for a new store.
fn left<S>(
    error: plakar_store::Error,
    reopened: impl FnOnce() -> plakar_store::Result<Option<S>>,
) -> plakar_store::Result<S> {
    match error.kind() {
        // Why it cannot be looked at is of no more interest than that it is there.
        ErrorKind::Exists => reopened().ok().flatten().ok_or(error),
        _ => Err(error),
    }
}

/// The store in a folder, if nothing is there but files that were on their way to become objects.
fn reopened(path: &Path) -> plakar_store::Result<Option<DirStore>> {
    let store = DirStore::open(path)?;
    let entries = fs::read_dir(path).map_err(|e| plakar_store::Error::io(path.display().to_string(), e))?;
    let is_left =
        |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| is_temporary(entry.file_name().as_bytes()));
    let mut entries = entries;
    Ok(entries.all(is_left).then_some(store))
}

/// The store in a database, if it is one, and empty.
fn reopened_database(path: &Path) -> plakar_store::Result<Option<SqliteStore>> {
    let store = SqliteStore::open(path)?;
    let mut empty = true;
    store.list("", &mut |_| {
        empty = false;
        Ok(())
    })?;
    Ok(empty.then_some(store))
}

/// For messages, on one line. They escape what else would steer a terminal.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().replace('\n', "\\x0a"))
    }
}

/// The first place that was named before already.
pub fn named_twice(places: &[Location]) -> Option<&Location> {
    let again = |(at, place): &(usize, &Location)| places[..*at].iter().any(|other| other.is_same(place));
    places.iter().enumerate().find(again).map(|(_, place)| place)
}

/// Refuses a command line that names a place twice.
pub fn refuse_twice(command: &str, places: &[Location]) -> Result<()> {
    match named_twice(places) {
        Some(place) => Err(Failure::usage(format!("{command}: {place}: named twice"))),
        None => Ok(()),
    }
}

/// What stands before `://`.
fn scheme(bytes: &[u8]) -> Option<&str> {
    let at = bytes.windows(3).position(|three| three == b"://")?;
    let letter = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let scheme = &bytes[..at];
    (at > 0 && scheme.iter().all(letter)).then(|| std::str::from_utf8(scheme).expect("it is ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_not_a_folder() {
        for (typed, expected) in [
            ("/a/b", None),
            ("a", None),
            ("./x://y", None),
            ("://x", None),
            ("s9://bucket", Some("s9")),
            ("plakar+tls://h", Some("plakar+tls")),
        ] {
            assert_eq!(scheme(typed.as_bytes()), expected, "{typed}");
            assert_eq!(Location::parse(OsStr::new(typed)).is_ok(), expected.is_none());
        }
        let sqlite =
            |typed: &str| Location::parse(OsStr::new(typed)).ok().and_then(|l| l.path().map(Path::to_owned));
        assert_eq!(sqlite("sqlite:///a/b.db"), Some("/a/b.db".into()));
        assert_eq!(sqlite("sqlite://b.db"), Some("b.db".into()));
        assert_eq!(sqlite("sqlite://"), None);
        Location::parse(OsStr::new("")).unwrap_err();
        Location::parse(OsStr::new("@work")).unwrap_err();
    }

    #[test]
    fn a_canonical_location_is_the_same_by_every_way_to_it() {
        let temporary = tempfile::tempdir().unwrap();
        let real = temporary.path().canonicalize().unwrap();
        fs::create_dir(real.join("there")).unwrap();
        std::os::unix::fs::symlink("there", real.join("link")).unwrap();
        let canonical = |path: &str| Location::Folder(real.join(path)).canonical();
        assert_eq!(canonical("link"), Location::Folder(real.join("there")));
        assert_eq!(canonical("there/../link"), Location::Folder(real.join("there")));
        assert_eq!(canonical("link/new"), Location::Folder(real.join("there/new")), "as far as it is there");
        assert_eq!(canonical("no/where"), Location::Folder(real.join("no/where")));
        let there = Location::Folder(real.join("there"));
        assert_eq!(canonical("link").identity().unwrap(), there.identity().unwrap());
        assert_eq!(Location::parse(&there.name()).unwrap(), there);
        let database = Location::Sqlite(real.join("link/x.db")).canonical();
        assert_eq!(database, Location::Sqlite(real.join("there/x.db")));
        assert_eq!(Location::parse(&database.name()).unwrap(), database);
    }
}
