//! The file with the tokens of a server, which is read anew whenever it has changed: who is removed is out at once.
//!
//! ```text
//! ~/.local/state/plakar/server/<place>/tokens
//! ```
//!
//! `<place>` is the hash of the canonical location of what is served, so that a token opens nothing else.

use crate::context::now;
use crate::exit::{Failure, Result};
use crate::local::{Local, absent, make_folder, write_file};
use crate::location::Location;
use plakar_net::{Door, Guest, Tokens};
use plakar_store::{Error, ErrorKind};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;

/// The folder of what a server of this place keeps.
pub fn folder(local: &Local, place: &Location) -> Result<PathBuf> {
    let hash = blake3::hash(place.canonical().name().as_bytes()).to_hex();
    local.state_file("server", &hash[..32]).ok_or_else(|| {
        Failure::failed("there is no home directory, so there is no place for the tokens of a server")
            .hint("XDG_STATE_HOME names one")
    })
}

/// A file of tokens.
pub struct TokenFile {
    file: PathBuf,
    /// What was read, and of which file.
    read: Mutex<Option<(Stamp, Tokens)>>,
    /// Who comes without a token is let in as long as nobody ever made one.
    free: bool,
}

/// What changes with a file.
type Stamp = (u64, i64, i64, u64);

impl TokenFile {
    /// The tokens of a server of this place.
    pub fn of(local: &Local, place: &Location, free: bool) -> Result<TokenFile> {
        Ok(TokenFile { file: folder(local, place)?.join("tokens"), read: Mutex::default(), free })
    }

    /// All tokens; `None` if there never was one.
    pub fn tokens(&self) -> io::Result<Option<Tokens>> {
        let text = match fs::read_to_string(&self.file) {
            Err(e) if absent(&e) => return Ok(None),
            text => text?,
        };
        let tokens = Tokens::read(&text);
        tokens.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no file of tokens"))
    }

    /// Changes what is in the file, alone.
    pub fn change<T>(&self, change: impl FnOnce(&mut Tokens) -> Result<T>) -> Result<T> {
        let failed = |e: io::Error| Failure::io(&self.file, &e);
        make_folder(self.file.parent().expect("it lies in a folder")).map_err(failed)?;
        let lock = File::create(self.file.with_extension("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        let mut tokens = self.tokens().map_err(failed)?.unwrap_or_default();
        let changed = change(&mut tokens)?;
        write_file(&self.file, tokens.write().as_bytes()).map_err(failed)?;
        Ok(changed)
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.file) {
            Err(e) if absent(&e) => Ok(None),
            metadata => metadata.map(|m| Some((m.ino(), m.mtime(), m.mtime_nsec(), m.len()))),
        }
    }

    fn admit_now(&self, token: Option<&str>) -> io::Result<plakar_store::Result<Guest>> {
        let mut read = self.read.lock().expect("no panic while held");
        let stamp = self.stamp()?;
        if read.as_ref().map(|(stamp, _)| *stamp) != stamp {
            *read = stamp.zip(self.tokens()?);
        }
        Ok(match &*read {
            None if self.free => Ok(Guest::anybody()),
            None => Tokens::default().admit(token, now().secs),
            Some((_, tokens)) => tokens.admit(token, now().secs),
        })
    }
}

impl Door for TokenFile {
    fn admit(&self, token: Option<&str>) -> plakar_store::Result<Guest> {
        let admitted = self.admit_now(token);
        // Where it lies is nobody's business.
        admitted.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the server cannot read its tokens")))
    }
}
