//! What this client keeps on this machine: a little state, which it should not lose, and a cache, which it may.
//!
//! ```text
//! ~/.local/state/plakar/writer          who this client is: 32 hexadecimal digits, random
//! ~/.local/state/plakar/known/<place>   what the repository at a place was when it was last opened
//! ~/.cache/plakar/hints/<domain>/<what> hints of pushes (`plakar_engine::push`)
//! ```
//!
//! `<place>` is the hash of the canonical path, `<what>` that of host and roots. XDG_STATE_HOME and XDG_CACHE_HOME
//! are respected. A failure to write any of it costs time or a safeguard, never a backup: it is a note.
//!
//! `known` is a safeguard against a store that answers with another, unencrypted, repository in the place of an
//! encrypted one, so that the next push would tell it everything.

use crate::exit::{Failure, Result};
use crate::output::Output;
use plakar_engine::crypto::random;
use plakar_engine::id::{DomainId, ReplicaId, WriterId, hex};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// This user on this machine.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// The home directory.
    pub home: Option<PathBuf>,
    state: Option<PathBuf>,
    cache: Option<PathBuf>,
}

/// What is remembered of a repository.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    location: String,
    replica: String,
    domain: String,
    encrypted: bool,
}

impl Local {
    /// Finds the folders. `cache` is where the user wants the cache, `no_cache` that there is to be none.
    pub fn new(cache: Option<&Path>, no_cache: bool) -> Local {
        let home = absolute_variable("HOME").or_else(home_of_this_user);
        let folder = |variable, beneath: &str| {
            let base = absolute_variable(variable).or_else(|| Some(home.as_ref()?.join(beneath)));
            Some(base?.join("plakar"))
        };
        let cache = match (no_cache, cache) {
            (true, _) => None,
            (false, Some(cache)) => Some(cache.to_owned()),
            (false, None) => folder("XDG_CACHE_HOME", ".cache"),
        };
        Local { state: folder("XDG_STATE_HOME", ".local/state"), cache, home }
    }

    /// Who this client is: the same in every run, if that can be kept.
    pub fn writer(&self, output: &Output) -> WriterId {
        let kept = self.state.as_ref().map(|state| writer_in(state));
        match kept {
            Some(Ok(writer)) => writer,
            Some(Err(e)) => {
                output.note(&format!("the id of this client cannot be kept: {e}"));
                WriterId(random())
            }
            None => WriterId(random()),
        }
    }

    /// Where hints are kept for pushes of `roots` from `host`; made if need be.
    pub fn hints(&self, domain: DomainId, host: &str, roots: &[Vec<u8>], output: &Output) -> Option<PathBuf> {
        let mut hasher = blake3::Hasher::new_derive_key("plakar v1 hints folder");
        for part in std::iter::once(host.as_bytes()).chain(roots.iter().map(Vec::as_slice)) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let what = hasher.finalize().to_hex();
        let folder = self.cache.as_ref()?.join("hints").join(domain.hex()).join(&what[..32]);
        match make_folder(&folder) {
            Ok(()) => Some(folder),
            Err(e) => {
                output.note(&format!("hints cannot be kept: {}: {e}", folder.display()));
                None
            }
        }
    }

    /// Refuses an unencrypted repository where an encrypted one was, before anything is told to it.
    pub fn refuse_downgrade(&self, place: &Path, encrypted: bool) -> Result<()> {
        let Some((file, known)) = self.known(place)? else { return Ok(()) };
        if known.encrypted && !encrypted {
            return Err(other(place, &file, "was encrypted when it was last opened here, and now it is not"));
        }
        Ok(())
    }

    /// Refuses another repository where an encrypted one was; else remembers this one.
    pub fn meet(
        &self,
        place: &Path,
        replica: ReplicaId,
        domain: DomainId,
        encrypted: bool,
        output: &Output,
    ) -> Result<()> {
        let new = Known {
            location: place.to_string_lossy().into_owned(),
            replica: replica.hex(),
            domain: domain.hex(),
            encrypted,
        };
        match self.known(place)? {
            Some((_, known)) if known == new => return Ok(()),
            Some((file, known)) if known.encrypted && (!encrypted || known.domain != new.domain) => {
                return Err(other(place, &file, "is not the one that was last opened here"));
            }
            _ => {}
        }
        let Some(file) = self.known_file(place) else { return Ok(()) };
        let text = serde_json::to_string(&new).expect("plain text") + "\n";
        if let Err(e) = write_file(&file, text.as_bytes()) {
            output.note(&format!("cannot remember this repository: {}: {e}", file.display()));
        }
        Ok(())
    }

    /// Forgets what was at a place, because the user makes a new repository there.
    pub fn forget(&self, place: &Path) -> Result<()> {
        let Some(file) = self.known_file(place) else { return Ok(()) };
        match fs::remove_file(&file) {
            Err(e) if !absent(&e) => Err(Failure::io(&file, &e)),
            _ => Ok(()),
        }
    }

    fn known_file(&self, place: &Path) -> Option<PathBuf> {
        let place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let hash = blake3::hash(place.as_os_str().as_bytes()).to_hex();
        Some(self.state.as_ref()?.join("known").join(&hash[..32]))
    }

    fn known(&self, place: &Path) -> Result<Option<(PathBuf, Known)>> {
        let Some(file) = self.known_file(place) else { return Ok(None) };
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(e) if absent(&e) => return Ok(None),
            Err(e) => return Err(Failure::io(&file, &e)),
        };
        // It may have said that the repository is encrypted: guessing that it did not would defeat it.
        let known = serde_json::from_slice(&text).map_err(|e| {
            Failure::failed(format!("{}: not what was written there: {e}", file.display()))
                .hint("it remembers what the repository was; delete it to trust the repository as it is now")
        })?;
        Ok(Some((file, known)))
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn other(place: &Path, file: &Path, what: &str) -> Failure {
    Failure::failed(format!("{}: the repository at this place {what}", place.display()))
        .hint(format!("nothing was sent to it; if this is deliberate, delete {}", file.display()))
}

fn writer_in(state: &Path) -> io::Result<WriterId> {
    let file = state.join("writer");
    let read = || fs::read_to_string(&file).map(|text| WriterId::from_hex(text.trim_end()));
    match read() {
        Ok(Some(writer)) => return Ok(writer),
        Ok(None) => {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{}: not an id", file.display())));
        }
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        Err(_) => {}
    }
    make_folder(state)?;
    let writer = WriterId(random());
    let temporary = write_temporary(&file, format!("{}\n", writer.hex()).as_bytes())?;
    // Of two runs that come first, one keeps its id and the other takes it over.
    let linked = fs::hard_link(&temporary, &file);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(writer),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            read()?.ok_or_else(|| ErrorKind::InvalidData.into())
        }
        Err(e) => Err(e),
    }
}

/// Writes a file whole or not at all.
fn write_file(file: &Path, bytes: &[u8]) -> io::Result<()> {
    make_folder(file.parent().expect("it lies in a folder"))?;
    let temporary = write_temporary(file, bytes)?;
    fs::rename(&temporary, file).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn write_temporary(file: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let temporary = file.with_extension(format!("{}.tmp", hex(&random::<8>())));
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    match out.write_all(bytes) {
        Ok(()) => Ok(temporary),
        Err(e) => {
            let _ = fs::remove_file(&temporary);
            Err(e)
        }
    }
}

/// Makes a folder that only its owner looks into, and those above it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A path from the environment; one that is not absolute is ignored, as XDG wants it.
fn absolute_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home_of_this_user() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = fs::read("/etc/passwd").ok()?;
    let mut lines = passwd.split(|&b| b == b'\n').map(|line| line.split(|&b| b == b':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.get(2) == Some(&uid.as_bytes()))?;
    let home = PathBuf::from(std::ffi::OsString::from_vec(fields.get(5)?.to_vec()));
    home.is_absolute().then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(folder: &Path) -> Local {
        Local { home: None, state: Some(folder.join("state")), cache: Some(folder.join("cache")) }
    }

    fn quiet() -> Output {
        Output::new(false, false, true)
    }

    #[test]
    fn the_writer_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let local = local(folder.path());
        let writer = local.writer(&quiet());
        assert_eq!(local.writer(&quiet()), writer);
        assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 1);
        fs::write(folder.path().join("state/writer"), "nonsense").unwrap();
        assert_ne!(local.writer(&quiet()), writer, "an id that cannot be read is not kept, and no error");
    }

    #[test]
    fn an_encrypted_repository_is_not_replaced_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let local = local(folder.path());
        let place = folder.path();
        let meet = |replica, domain, encrypted| {
            local.refuse_downgrade(place, encrypted)?;
            local.meet(place, ReplicaId([replica; 16]), DomainId([domain; 16]), encrypted, &quiet())
        };
        meet(1, 1, false).unwrap();
        meet(2, 2, false).unwrap();
        meet(3, 3, true).unwrap();
        meet(3, 3, true).unwrap();
        meet(4, 3, true).expect("a clone");
        assert!(meet(4, 3, false).unwrap_err().hint.unwrap().contains("state/known/"));
        meet(4, 4, true).unwrap_err();
        local.forget(place).unwrap();
        local.forget(place).unwrap();
        meet(5, 5, false).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let local = local(folder.path());
        local.meet(folder.path(), ReplicaId([1; 16]), DomainId([1; 16]), true, &quiet()).unwrap();
        fs::write(local.known_file(folder.path()).unwrap(), "").unwrap();
        local.refuse_downgrade(folder.path(), false).unwrap_err();
    }
}
