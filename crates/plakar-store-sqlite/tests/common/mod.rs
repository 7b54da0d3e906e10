//! What the tests of this crate share.
#![allow(dead_code)] // Each test takes what it needs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use plakar_store::{ErrorKind, Listed, Name, ReadStore, Result};
use plakar_store_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

/// Belongs to nobody on any usual system.
pub const NOBODY: u32 = 65534;

/// What a process that a test started finds its work in.
pub const CHILD: &str = "PLAKAR_SQLITE_CHILD";

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    let error = result.unwrap_err();
    println!("{error}");
    error.kind()
}

/// Bytes without a short period, others for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// Numbers that follow from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A seed from the environment, or a new one; printed, so that a failure can be had again.
pub fn seed() -> u64 {
    let given = std::env::var("PLAKAR_TEST_SEED").ok().map(|text| text.parse().unwrap());
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = given.unwrap_or_else(now);
    println!("again with PLAKAR_TEST_SEED={seed}");
    seed
}

pub fn listing(store: &dyn ReadStore, prefix: &str) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    let add = &mut |listed: Listed| {
        assert!(all.insert(listed.name.as_str().to_owned(), listed.len).is_none(), "shown twice");
        Ok(())
    };
    store.list(prefix, add).map(|()| all)
}

pub fn names(store: &dyn ReadStore) -> Vec<String> {
    listing(store, "").unwrap().into_keys().collect()
}

/// The database behind the store's back. Only through SQLite: see the crate's documentation.
pub fn behind(path: &Path) -> Connection {
    assert!(path.exists(), "SQLite would make it");
    Connection::open(path).unwrap()
}

/// What SQLite says of the structure of the whole file.
pub fn assert_sound(path: &Path) {
    let said: String = behind(path).query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn skip(reason: &str) {
    assert!(std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|value| value != "1"), "not skipped: {reason}");
    println!("skipped: {reason}");
}

/// A folder with a database, and this program in it, so that it can run again in another process or as another user.
pub struct Stage {
    pub temp: TempDir,
}

impl Stage {
    pub fn new() -> Stage {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // By another process: a child that another thread starts meanwhile would keep it open for writing, and so busy.
        let copied = Command::new("cp")
            .arg(std::env::current_exe().unwrap())
            .arg(temp.path().join("program"))
            .status();
        assert!(copied.unwrap().success());
        fs::create_dir(temp.path().join("user")).unwrap();
        Stage { temp }
    }

    pub fn folder(&self) -> PathBuf {
        self.temp.path().join("user")
    }

    pub fn database(&self) -> PathBuf {
        self.folder().join("store.db")
    }

    /// This program, running only its test `child`, in the folder.
    pub fn command(&self, action: &str) -> Command {
        let mut command = Command::new(self.temp.path().join("program"));
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
        command.env(CHILD, action).current_dir(self.folder());
        command
    }

    pub fn run(&self, action: &str) {
        assert_passed(&self.command(action).output().unwrap());
    }

    pub fn run_as_nobody(&self, action: &str) {
        assert_passed(&self.command(action).uid(NOBODY).gid(NOBODY).output().unwrap());
    }

    pub fn create(&self) -> SqliteStore {
        SqliteStore::create(self.database()).unwrap()
    }
}

fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the child did run: {text}");
}

/// A small file system of its own, while it lives.
pub struct Mount {
    temp: TempDir,
}

impl Mount {
    /// `None` if this machine does not let us.
    pub fn tmpfs(options: &str) -> Option<Mount> {
        if !is_root() {
            skip("only root can mount");
            return None;
        }
        let temp = tempfile::tempdir().unwrap();
        match mount(&["-t", "tmpfs", "-o", options, "tmpfs"], temp.path()) {
            Ok(()) => Some(Mount { temp }),
            Err(e) => {
                skip(&format!("mounting a tmpfs: {e}"));
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    pub fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], self.path()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a store may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> std::result::Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
