//! What this client keeps on this machine: a little state, which it should not lose, and a cache, which it may.
//!
//! ```text
//! ~/.local/state/plakar/writer          who this client is: 32 hexadecimal digits, random
//! ~/.local/state/plakar/known/<place>   what the repository at a place was when it was last opened (`known`)
//! ~/.local/state/plakar/newest/<place>  which publication was the newest there (`newest`)
//! ~/.local/state/plakar/verified/<id>   which snapshots of a repository were proven, and when (`verified`)
//! ~/.local/state/plakar/servers/<host>  the fingerprint that a server is known by (`pins`)
//! ~/.local/state/plakar/server/<place>  the certificate of a server of that place, and its tokens (`tokenfile`)
//! ~/.cache/plakar/hints/<domain>/<what> hints of pushes (`plakar_engine::push`)
//! ~/.cache/plakar/far/<what>            what was read of repositories elsewhere (`kept`)
//! ```
//!
//! `<place>` is the hash of the canonical location, `<what>` that of host and roots or of what a repository is, `<id>` a
//! replica id.
//! XDG_STATE_HOME and XDG_CACHE_HOME are respected. A failure to write any of it costs time or a safeguard, never a
//! backup: it is a note.

use crate::output::Output;
use plakar_engine::crypto::random;
use plakar_engine::id::{DomainId, WriterId, hex};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// This user on this machine.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// The home directory.
    pub home: Option<PathBuf>,
    state: Option<PathBuf>,
    cache: Option<PathBuf>,
    config: Option<PathBuf>,
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
        let config = folder("XDG_CONFIG_HOME", ".config");
        Local { state: folder("XDG_STATE_HOME", ".local/state"), cache, config, home }
    }

    /// All of it beneath one folder.
    #[cfg(test)]
    pub fn beneath(folder: &Path) -> Local {
        let beneath = |name| Some(folder.join(name));
        Local { home: None, state: beneath("state"), cache: beneath("cache"), config: beneath("config") }
    }

    /// A file of the state, if there is a place for it.
    pub fn state_file(&self, folder: &str, name: &str) -> Option<PathBuf> {
        Some(self.state.as_ref()?.join(folder).join(name))
    }

    /// What the user wrote down, if there is a place for it (`config`).
    pub fn config_file(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.join("config.toml"))
    }

    /// A folder of the cache, if there is to be one.
    pub fn cache_folder(&self, folder: &str) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join(folder))
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
}

/// Whether something is simply not there.
pub fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
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
pub fn write_file(file: &Path, bytes: &[u8]) -> io::Result<()> {
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

    #[test]
    fn the_writer_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (local, output) = (Local::beneath(folder.path()), Output::new(false, false, true));
        let writer = local.writer(&output);
        assert_eq!(local.writer(&output), writer);
        assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 1);
        fs::write(folder.path().join("state/writer"), "nonsense").unwrap();
        assert_ne!(local.writer(&output), writer, "an id that cannot be read is not kept, and no error");
    }
}
