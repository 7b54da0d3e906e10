//! A store in a folder of another machine, reached by SFTP: nothing of plakar's is needed there.
//!
//! Version 3 of the protocol, which OpenSSH's server and nearly all others speak, over the pipes of a program: the user's
//! own `ssh`. What lies there is what a store in a folder ([`plakar_store::DirStore`]) keeps: on that machine the same
//! folder can be opened as one, by others at the same time, too.
//!
//! 1. Bytes go to a temporary file in the folder where they will stay, are flushed, and only then get their name, by an
//!    operation that cannot replace another file: a hard link, or the renaming of the draft, which is refused when
//!    something bears the name. (The draft's word is all there is for that on a server that has no hard links.)
//! 2. Whatever is asked may be asked again: a connection that breaks is made anew, for as long as [`Patience`] says, and a
//!    put that was cut off is settled by comparing what bears the name.
//! 3. Nobody waits for one answer before asking the next thing: what belongs together is under way together.
//! 4. A server is believed nothing that would cost memory: lengths of packets, of files and of folders are compared with
//!    what was asked for, and memory is taken for what has come.
//!
//! # What is durable
//!
//! *Objects* are flushed with `fsync@openssh.com`. *Names* are flushed by flushing their folders, at each
//! [`barrier`](Store::barrier): OpenSSH's server opens a folder as it does a file, although the draft has nothing of that
//! kind. With both, the contract of stores holds as in a folder, as far as the server's disk keeps what it says. After a
//! connection was made anew, a barrier also looks whether what was put before is still there, for a server that lost its
//! power and is back.
//!
//! A server that cannot flush files, or opens no folders, leaves it to its file system what survives a power cut: usually
//! all but the last seconds, but nobody promises that. Such a store works, and says so ([`weakness`](Store::weakness)).
//!
//! Not here: locks, other versions of the protocol, and following what an ordinary user may have put into the folder: the
//! last part of a name is looked at itself, but a link in place of one of the folders in between is followed.

mod connect;
mod connection;
mod flush;
mod link;
mod place;
mod put;
mod read;
mod refusal;
mod walk;
mod wire;

pub use connect::{Connect, Pipes, Program};

use connection::{Calls, Connection, Tried, Trouble, nonsense};
use flush::Barrier;
use link::Link;
use place::Place;
use plakar_store::{
    Bandwidth, Capabilities, Error, ErrorKind, Listed, Name, Patience, Range, ReadStore, Result, Store,
    is_temporary,
};
use put::Put;
use read::Part;
use std::time::Duration;
use wire::{READ, Reply, Request};

/// A store in a folder of another machine.
pub struct SftpStore {
    link: Link,
    place: Place,
    folders_open: bool,
    weakness: Option<&'static str>,
    barrier: Barrier,
}

/// A folder that was found.
struct Found {
    root: Vec<u8>,
    folders_open: bool,
    flushes: bool,
}

impl SftpStore {
    /// Opens the store in the folder `path` of a server, which may be relative to where the server begins, or a link. What
    /// is in it is not looked at. `location` names it in messages.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing is there, [`ErrorKind::Foreign`] when it is not a folder, [`ErrorKind::Io`]
    /// when nobody answers, or in another language. Whoever cannot be reached at all is not waited for.
    pub fn open(
        connect: Box<dyn Connect>,
        path: &[u8],
        location: String,
        bandwidth: &Bandwidth,
        patience: Patience,
    ) -> Result<SftpStore> {
        let link = Link::new(connect, bandwidth.clone(), patience, location);
        let found = link.once(|connection| find(connection, path, link.location()))?;
        Ok(SftpStore::of(link, found))
    }

    /// Makes the folder `path`, mode 0700, and opens it as an empty store. The folder above must be there. An empty folder
    /// is taken as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ErrorKind::Exists`] when the folder has anything in it, [`ErrorKind::NotFound`] when the
    /// folder above is missing. Nothing was changed, or an empty folder is left.
    pub fn create(
        connect: Box<dyn Connect>,
        path: &[u8],
        location: String,
        bandwidth: &Bandwidth,
        patience: Patience,
    ) -> Result<SftpStore> {
        let link = Link::new(connect, bandwidth.clone(), patience, location);
        let found = link.once(|connection| make(connection, path, link.location()))?;
        let store = SftpStore::of(link, found);
        store.flush_new_root()?;
        Ok(store)
    }

    fn of(link: Link, found: Found) -> SftpStore {
        let weakness = match (found.flushes, found.folders_open) {
            (false, _) => Some("the server cannot flush files to its disk"),
            (true, false) => Some("the server cannot flush folders to its disk"),
            (true, true) => None,
        };
        let place = Place::new(found.root, link.location().to_owned());
        let folders_open = found.folders_open && found.flushes;
        SftpStore { link, place, folders_open, weakness, barrier: Barrier::default() }
    }

    /// Whether nothing is in the folder but files that were on their way to become objects: what making a store leaves
    /// when it is cut short.
    ///
    /// # Errors
    /// As the server reports them.
    pub fn is_as_good_as_empty(&self) -> Result<bool> {
        let held = self.read_folders(vec![String::new()])?;
        Ok(held.iter().flat_map(|(_, entries)| entries).all(|(entry, _)| is_temporary(entry.as_bytes())))
    }

    /// Removes the temporary files that are older than `older_than` by the server's clock, and tells how many there were.
    /// They are what crashes and cut connections leave; a put at work has one too, so `older_than` should be longer than
    /// the longest put.
    ///
    /// # Errors
    /// As the server reports them; what was removed before stays removed.
    pub fn sweep_temporaries(&self, older_than: Duration) -> Result<u64> {
        let (mut pending, mut temporaries) = (vec![String::new()], Vec::new());
        while !pending.is_empty() {
            let folders = std::mem::take(&mut pending);
            for (folder, entries) in self.read_folders(folders)? {
                for (entry, is) in entries {
                    let full = join(&folder, &entry);
                    if is_temporary(entry.as_bytes()) && is.is_file() {
                        temporaries.push((full, is.modified.unwrap_or_default()));
                    } else if is.is_folder() && Name::new(&full).is_some() {
                        pending.push(full);
                    }
                }
            }
        }
        if temporaries.is_empty() {
            return Ok(0);
        }
        let oldest = u64::from(self.now()?).saturating_sub(older_than.as_secs());
        let mut swept = 0;
        for (path, modified) in temporaries {
            // As old as asked for to the second is not older.
            if older_than.is_zero() || u64::from(modified) < oldest {
                let told = || self.place.told("sweep", &path);
                swept += self.link.persist(&path, |_, connection, _| {
                    match refusal::done(connection.ask(&Request::Remove(&self.place.path(&path)))?)? {
                        Ok(()) => Ok(1),
                        Err(refusal) if refusal.is_missing() => Ok(0),
                        Err(refusal) => Err(refusal.error(told()).into()),
                    }
                })?;
            }
        }
        Ok(swept)
    }

    /// The server's clock, by a file that is made for it.
    fn now(&self) -> Result<u32> {
        let mut random = [0; 8];
        let told = |_| Error::new(ErrorKind::Io, self.place.told("ask", "the time"));
        getrandom::fill(&mut random).map_err(told)?;
        let last = format!("{}{:016x}", plakar_store::TEMPORARY_PREFIX, u64::from_ne_bytes(random));
        let path = self.place.path(&last);
        self.link.persist("the time", |_, connection, _| {
            let failed = |refusal: refusal::Refusal| refusal.error(self.place.told("ask", "the time"));
            let open = Request::Open(&path, wire::WRITE_NEW, put::FILE_MODE);
            if let Ok(handle) = refusal::handle(connection.ask(&open)?)? {
                connection.tell(&Request::Close(&handle));
            }
            let found = refusal::attributes(connection.ask(&Request::Lstat(&path))?)?;
            connection.tell(&Request::Remove(&path));
            Ok(found.map_err(failed)?.and_then(|found| found.modified).unwrap_or_default())
        })
    }

    /// What folders hold; those that are missing, or are none, are left out.
    fn read_folders(&self, folders: Vec<String>) -> Result<Vec<(String, walk::Entries)>> {
        let first = folders.first().cloned().unwrap_or_default();
        let found = self.link.persist(&first, |_, connection, _| {
            let mut found = walk::read_folders(connection, &self.place, &folders)?;
            // A server that has no word for it.
            for (entries, folder) in found.iter_mut().zip(&folders) {
                if entries.as_ref().is_err_and(|refusal| !refusal.is_missing()) {
                    let lstat = Request::Lstat(&self.place.path(folder));
                    if refusal::attributes(connection.ask(&lstat)?)?
                        .is_ok_and(|is| is.is_some_and(|is| is.is_file()))
                    {
                        *entries = Ok(Vec::new());
                    }
                }
            }
            Ok(found)
        })?;
        let mut read = Vec::new();
        for (folder, entries) in folders.into_iter().zip(found) {
            match entries {
                Ok(entries) => read.push((folder, entries)),
                Err(refusal) if refusal.is_missing() => {}
                Err(refusal) => {
                    return Err(refusal.error(self.place.told("list", format_args!("{folder}/"))));
                }
            }
        }
        Ok(read)
    }

    /// Makes a new store's folder and its name durable, as far as it may be opened.
    fn flush_new_root(&self) -> Result<()> {
        if !self.folders_open {
            return Ok(());
        }
        let places = [Some(self.place.root()), self.place.above()];
        places.into_iter().flatten().try_for_each(|path| {
            self.link.persist("create", |_, connection, _| match put::flush(connection, path)? {
                Err(refusal) if path == self.place.root() => {
                    Err(refusal.error(format!("create {}", self.place.location())).into())
                }
                // A folder that may be passed through but not read cannot be flushed from here.
                _ => Ok(()),
            })
        })
    }
}

/// Finds a folder, without links on the way to it.
fn find(connection: &Connection, path: &[u8], location: &str) -> Tried<Found> {
    let path = if path.is_empty() { b"." } else { path };
    let told = || format!("open {location}");
    match refusal::attributes(connection.ask(&Request::Stat(path))?)? {
        Ok(Some(found)) if found.is_folder() => {}
        Ok(Some(_)) => return Err(Error::new(ErrorKind::Foreign, location).into()),
        Ok(None) => return Err(Error::new(ErrorKind::NotFound, location).into()),
        Err(refusal) => return Err(refusal.error(told()).into()),
    }
    let calls = Calls::new(connection);
    calls.send(0, &Request::Realpath(path))?;
    calls.send(1, &Request::Open(path, READ, 0))?;
    let (mut root, mut folders_open) = (None, false);
    for _ in 0..2 {
        match calls.next()? {
            (0, Reply::Names(mut names)) if names.len() == 1 => root = names.pop().map(|(name, _)| name),
            (0, reply) => match refusal::done(reply)? {
                Ok(()) => return Err(nonsense("a path")),
                Err(refusal) => return Err(refusal.error(told()).into()),
            },
            (_, Reply::Handle(handle)) => {
                folders_open = true;
                connection.tell(&Request::Close(&handle));
            }
            _ => {}
        }
    }
    let root = root.filter(|root| root.starts_with(b"/")).ok_or_else(|| nonsense("a path"))?;
    Ok(Found { root, folders_open, flushes: connection.abilities().flushes })
}

fn make(connection: &Connection, path: &[u8], location: &str) -> Tried<Found> {
    let told = || format!("create {location}");
    let made = refusal::done(connection.ask(&Request::Mkdir(path, put::FOLDER_MODE))?)?;
    let found = match (find(connection, path, location), &made) {
        // Why nothing is there is known by what came of making it.
        (Err(Trouble::Said(e)), Err(refusal)) if e.kind() == ErrorKind::NotFound => {
            let above =
                path.iter().rposition(|b| *b == b'/').map_or(&b"."[..], |slash| &path[..slash.max(1)]);
            return Err(refusal.error_of_writing(connection, above, 0, told())?.into());
        }
        (found, _) => found?,
    };
    if made.is_err() {
        let place = Place::new(found.root.clone(), location.to_owned());
        let held = walk::read_folders(connection, &place, &[String::new()])?.remove(0);
        let held = held.map_err(|refusal| refusal.error(told()))?;
        if !held.is_empty() {
            let what = format!("{location}: the folder is not empty");
            return Err(Error::new(ErrorKind::Exists, what).into());
        }
    }
    Ok(found)
}

fn join(folder: &str, entry: &str) -> String {
    if folder.is_empty() { entry.to_owned() } else { format!("{folder}/{entry}") }
}

impl ReadStore for SftpStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.fetch(&[(name, Part::Range(offset, len))])?.remove(0)
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        let wanted: Vec<_> =
            ranges.iter().map(|range| (&range.name, Part::Range(range.offset, range.len))).collect();
        self.fetch(&wanted).unwrap_or_else(|e| {
            let failed = |range: &Range| Err(Error::new(e.kind(), format!("{}: {e}", range.name)));
            ranges.iter().map(failed).collect()
        })
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.fetch(&[(name, Part::Whole(max))])?.remove(0)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        let path = self.place.path(name.as_str());
        self.link.persist(name.as_str(), |_, connection, _| {
            match refusal::attributes(connection.ask(&Request::Lstat(&path))?)? {
                Ok(Some(found)) if found.is_file() => found.size.ok_or_else(|| nonsense("no length")),
                Ok(_) => Err(self.place.refusal(ErrorKind::NotFound, name).into()),
                Err(refusal) => Err(refusal.error(self.place.told("look at", name)).into()),
            }
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let inside = prefix.rsplit_once('/').map_or("", |(inside, _)| inside);
        // A prefix that no name begins with, were it `../`, is not even looked up.
        if prefix.starts_with('/') || !inside.is_empty() && Name::new(inside).is_none() {
            return Ok(());
        }
        let mut pending = vec![inside.to_owned()];
        let mut read_any = false;
        while !pending.is_empty() {
            let folders = std::mem::take(&mut pending);
            for (folder, entries) in self.read_folders(folders)? {
                read_any = true;
                self.barrier.touch(&folder);
                for (entry, is) in entries {
                    let full = join(&folder, &entry);
                    if !full.starts_with(prefix) {
                        continue;
                    }
                    let Some(name) = Name::new(&full) else { continue };
                    if is.is_folder() {
                        pending.push(full);
                    } else if is.is_file() {
                        let received_ms = i64::from(is.modified.unwrap_or_default()) * 1000;
                        each(Listed { name, len: is.size.unwrap_or_default(), received_ms })?;
                    }
                }
            }
        }
        // Without the folder of the store, an empty answer would be a lie.
        if !read_any {
            self.link.persist(prefix, |_, connection, _| {
                match refusal::attributes(connection.ask(&Request::Lstat(self.place.root()))?)? {
                    Ok(Some(found)) if found.is_folder() => Ok(()),
                    _ => Err(Error::new(ErrorKind::NotFound, self.place.location()).into()),
                }
            })?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: false, append_only: false }
    }

    fn location(&self) -> String {
        self.place.location().to_owned()
    }
}

impl SftpStore {
    fn fetch(&self, wanted: &[(&Name, Part)]) -> Result<Vec<Result<Vec<u8>>>> {
        let Some((first, _)) = wanted.first() else { return Ok(Vec::new()) };
        self.link.persist(first.as_str(), |_, connection, _| read::fetch(connection, &self.place, wanted))
    }
}

impl Store for SftpStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let mut temporary: Option<Vec<u8>> = None;
        let number = self.link.persist(name.as_str(), |number, connection, _| {
            if let Some(left) = temporary.take() {
                connection.tell(&Request::Remove(&left));
            }
            Put { connection, place: &self.place, name, parts }.run(&mut temporary)?;
            Ok(number)
        })?;
        self.barrier.put(name, number);
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<()> {
        let path = self.place.path(name.as_str());
        self.barrier.deleted(name);
        let inside = name.folder().unwrap_or("");
        let removed = self.link.persist(name.as_str(), |_, connection, again| {
            let refusal = match refusal::done(connection.ask(&Request::Remove(&path))?)? {
                Ok(()) => return Ok(true),
                Err(refusal) if refusal.is_missing() && !again => return Ok(false),
                Err(refusal) if refusal.is_missing() => {
                    // It may have been removed before the connection broke.
                    let folder = connection.ask(&Request::Lstat(&self.place.path(inside)))?;
                    return Ok(refusal::attributes(folder)?.is_ok_and(|found| found.is_some()));
                }
                Err(refusal) => refusal,
            };
            // A folder of that name is no object, so there is nothing to remove then.
            match refusal::attributes(connection.ask(&Request::Lstat(&path))?)? {
                Ok(Some(found)) if found.is_folder() => Ok(false),
                Ok(None) => Ok(false),
                _ => {
                    let told = self.place.told("delete", name);
                    Err(refusal.error_of_writing(connection, self.place.root(), 0, told)?.into())
                }
            }
        })?;
        if removed {
            self.barrier.touch(inside);
        }
        Ok(())
    }

    /// Flushes the folders, where that can be done. Once a flush failed, this handle refuses every later barrier, because
    /// a server tells of a loss only once: open the store again and put again.
    fn barrier(&self) -> Result<()> {
        self.barrier.pass(&self.link, &self.place, self.folders_open)
    }

    fn weakness(&self) -> Option<String> {
        let why = self.weakness?;
        Some(format!(
            "{}: {why}: what was stored last may be gone after a power cut there",
            self.place.location()
        ))
    }
}
