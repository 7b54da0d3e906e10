//! Finding, opening and unlocking the repository.

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::passphrase::{Passphrase, TRIES};
use plakar_engine::Error;
use plakar_engine::crypto::seal::Suite;
use plakar_engine::repository::{Locked, Repository, Unlocked};
use plakar_store::wrap::Counting;
use plakar_store::{DirStore, ErrorKind, Store};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A repository whose keys are known, and where it is kept.
pub struct Place {
    /// Its folder.
    pub path: PathBuf,
    /// To be written through.
    pub store: Arc<dyn Store>,
    /// What is known of it without its log.
    pub unlocked: Unlocked,
    /// What opened it, if it is encrypted.
    pub passphrase: Option<Passphrase>,
}

impl Place {
    /// Reads the log. What is damaged in it is told about.
    pub fn open(&self, context: &Context) -> Result<Repository> {
        let repository = self.unlocked.clone().open()?;
        for what in repository.damaged() {
            context.output.damage(&what);
        }
        Ok(repository)
    }

    /// Device and inode of its folder.
    pub fn identity(&self) -> Result<(u64, u64)> {
        let metadata = std::fs::metadata(&self.path).map_err(|e| Failure::io(&self.path, &e))?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

/// The folder that a repository's name stands for.
pub fn folder_of(typed: &OsStr) -> Result<PathBuf> {
    let bytes = typed.as_bytes();
    let shown = || format::printable(bytes);
    if bytes.is_empty() {
        return Err(Failure::usage("a repository has no empty name"));
    }
    if let Some(scheme) = scheme(bytes) {
        return Err(Failure::failed(format!("{}: repositories at {scheme}:// are not supported", shown()))
            .hint("a repository is a folder, named by its path"));
    }
    if bytes[0] == b'@' {
        return Err(Failure::failed(format!("{}: no repository is known by this name", shown()))
            .hint("a folder whose name begins with '@' is written './@...'"));
    }
    Ok(PathBuf::from(typed))
}

/// What stands before `://`.
fn scheme(bytes: &[u8]) -> Option<&str> {
    let at = bytes.windows(3).position(|three| three == b"://")?;
    let letter = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let scheme = &bytes[..at];
    (at > 0 && scheme.iter().all(letter)).then(|| std::str::from_utf8(scheme).expect("it is ASCII"))
}

/// The folder of the repository that the command line or the environment names.
pub fn folder(context: &Context) -> Result<PathBuf> {
    if let Some(typed) = &context.repository {
        return folder_of(typed);
    }
    default_folder(context)
}

/// The folder of the repository when nobody names one.
pub fn default_folder(context: &Context) -> Result<PathBuf> {
    match &context.local.home {
        Some(home) => Ok(home.join(".plakar").join("store")),
        None => Err(Failure::failed("there is no home directory, so there is no default repository")
            .hint("name one: 'plakar on REPOSITORY ...'")),
    }
}

/// Finds the repository and unlocks it, asking for the passphrase if need be.
pub fn unlock(context: &Context) -> Result<Place> {
    let path = folder(context)?;
    let (store, path) = open_store(&path, context)?;
    let encrypted = Locked::open(store.clone())?.is_encrypted();
    // Before a passphrase is asked for, let alone anything written.
    context.local.refuse_downgrade(&path, encrypted)?;
    let (unlocked, passphrase) = match encrypted {
        false => (Locked::open(store.clone())?.unlock(None)?, None),
        true => {
            let (unlocked, passphrase) = try_passphrases(&store, context)?;
            (unlocked, Some(passphrase))
        }
    };
    // As it is now: the store may have answered otherwise the second time.
    let encrypted = unlocked.config().suite() == Some(Suite::Xaes);
    let domain = unlocked.config().domain;
    context.local.meet(&path, unlocked.replica().id, domain, encrypted, &context.output)?;
    Ok(Place { path, store, unlocked, passphrase })
}

fn try_passphrases(store: &Arc<dyn Store>, context: &Context) -> Result<(Unlocked, Passphrase)> {
    let source = context.passphrase();
    let mut tries = if source.may_try_again() { TRIES } else { 1 };
    loop {
        tries -= 1;
        let passphrase = source.get()?;
        match Locked::open(store.clone())?.unlock(Some(&passphrase)) {
            Ok(unlocked) => return Ok((unlocked, passphrase)),
            Err(e @ Error::WrongPassphrase(_)) if tries > 0 => context.output.warning(&e.to_string()),
            Err(e) => return Err(e.into()),
        }
    }
}

fn open_store(path: &Path, context: &Context) -> Result<(Arc<dyn Store>, PathBuf)> {
    let store = DirStore::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failure::from(Error::NoRepository(path.display().to_string())),
        ErrorKind::Foreign => {
            Failure::new(Code::NoRepository, format!("{}: not a folder, so not a repository", path.display()))
        }
        _ => e.into(),
    })?;
    let path = store.path().to_owned();
    Ok((watched(store, context), path))
}

/// The store, counting what is asked of it if somebody wants to know.
pub fn watched(store: DirStore, context: &Context) -> Arc<dyn Store> {
    if !context.trace {
        return Arc::new(store);
    }
    let counting = Arc::new(Counting::new(store));
    context.counting.borrow_mut().push(counting.clone());
    counting
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
            ("s3://bucket", Some("s3")),
            ("plakar+tls://h", Some("plakar+tls")),
        ] {
            assert_eq!(scheme(typed.as_bytes()), expected, "{typed}");
            assert_eq!(folder_of(OsStr::new(typed)).is_ok(), expected.is_none());
        }
        folder_of(OsStr::new("")).unwrap_err();
        folder_of(OsStr::new("@work")).unwrap_err();
    }
}
