//! What the tests share: OpenSSH's own server on pipes, and whatever comes between.

#![allow(dead_code, reason = "not every test file uses all of it")]

pub mod between;

use plakar_store::{Bandwidth, ErrorKind, Name, Patience, ReadStore, Result};
use plakar_store_sftp::{Connect, Program, SftpStore};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where OpenSSH's server is, by distribution.
const SERVERS: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];

/// OpenSSH's server. Without it nothing here can be told.
pub fn server() -> PathBuf {
    let there = SERVERS.iter().map(PathBuf::from).find(|path| path.exists());
    there.expect("OpenSSH's sftp-server is needed: openssh-sftp-server on Debian")
}

/// It, with its flags.
pub fn program(flags: &[&str]) -> Program {
    Program { program: server().into(), arguments: flags.iter().map(Into::into).collect() }
}

/// Waits for nothing long.
pub const SHORT: Patience = Patience { idle: Duration::from_secs(5), retries: Duration::from_secs(2) };

pub fn open(connect: impl Connect + 'static, path: &Path) -> Result<SftpStore> {
    let path = path.as_os_str().as_encoded_bytes();
    SftpStore::open(Box::new(connect), path, "sftp://test".into(), &Bandwidth::default(), SHORT)
}

pub fn create(connect: impl Connect + 'static, path: &Path) -> Result<SftpStore> {
    let path = path.as_os_str().as_encoded_bytes();
    SftpStore::create(Box::new(connect), path, "sftp://test".into(), &Bandwidth::default(), SHORT)
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn names(store: &dyn ReadStore, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    let add = &mut |listed: plakar_store::Listed| {
        names.push(listed.name.as_str().to_owned());
        Ok(())
    };
    store.list(prefix, add).unwrap();
    names.sort();
    names
}

pub fn fails<T: Debug>(kind: ErrorKind, result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

/// Bytes without a short period.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let at = |n: u64| ((n + 1).wrapping_mul(seed * 2 + 0x9e37_79b9_7f4a_7c15) >> 29) as u8;
    (0..len as u64).map(at).collect()
}

/// In memory where that can be had: for what flushes so often that a disk would take its time.
pub fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// True if the rest of the test is to be left out, because we are not root.
pub fn needs_root() -> bool {
    !rustix::process::geteuid().is_root() && skipped("this needs root")
}

/// Says that something cannot be told here, which fails where everything must.
pub fn skipped(why: &str) -> bool {
    println!("skipped: {why}");
    assert!(std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|v| v != "1"), "skipped: {why}");
    true
}
