//! What tests of several repositories share.

use super::World;
use super::tree::{Look, look};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

/// All regular files beneath a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Changes one byte in the middle of each object in a folder of a repository; returns how many there were.
pub fn damage(folder: &Path) -> usize {
    let objects = files(folder);
    for object in &objects {
        let mut bytes = fs::read(object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(object).unwrap();
        fs::write(object, bytes).unwrap();
    }
    objects.len()
}

impl World {
    /// Makes unencrypted repositories, the default one among them, and something to push.
    pub fn with_repositories(names: &[&str]) -> World {
        let world = World::new();
        world.ok("create -no-encryption");
        for name in names {
            world.ok(&format!("create -no-encryption {name}"));
        }
        world.write("data/f", "content".repeat(1000));
        world
    }

    /// The folder of the default repository.
    pub fn store(&self) -> PathBuf {
        self.path("home/.plakar/store")
    }

    /// Pushes something new to a repository, or to the default one; returns the UUID.
    pub fn push_new(&self, repository: &str, what: &str) -> String {
        self.write(&format!("data/{what}"), what.repeat(500));
        let on = if repository.is_empty() { String::new() } else { format!("on {repository} ") };
        let pushed = json(&self.ok(&format!("{on}-json push data")));
        pushed["uuid"].as_str().unwrap().to_owned()
    }

    /// UUIDs of the snapshots of a repository, sorted.
    pub fn uuids_on(&self, repository: &str) -> Vec<String> {
        let listed = self.ok(&format!("on {repository} ls"));
        let mut uuids: Vec<_> = listed.lines().map(|line| line[20..58].trim().to_owned()).collect();
        uuids.sort();
        uuids
    }

    /// Every file of a folder of the world, with its bytes and times.
    pub fn bytes_of(&self, folder: &Path) -> BTreeMap<PathBuf, Look> {
        look(folder)
    }
}

/// Makes a SQLite database that is none of ours: with one empty table, byte by byte as the format wants it.
pub fn make_foreign_database(path: &Path) {
    let page = 4096_usize;
    let mut bytes = vec![0; 2 * page];
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
    // Change counter, pages, schema cookie and format, encoding, version that the counter is valid for, version of SQLite.
    for (at, value) in [(24, 1_u32), (28, 2), (40, 1), (44, 4), (56, 1), (92, 1), (96, 3_045_000)] {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    // The schema: a leaf with one row, (table, t, t, 2, CREATE TABLE t(x)).
    let sql = b"CREATE TABLE t(x)";
    let mut record = vec![6, 23, 15, 15, 1, 13 + 2 * sql.len() as u8];
    record.extend_from_slice(b"tablett\x02");
    record.extend_from_slice(sql);
    let cell = [&[record.len() as u8, 1][..], &record].concat();
    let at = page - cell.len();
    bytes[at..page].copy_from_slice(&cell);
    bytes[100..110].copy_from_slice(&[
        13,
        0,
        0,
        0,
        1,
        (at >> 8) as u8,
        at as u8,
        0,
        (at >> 8) as u8,
        at as u8,
    ]);
    // The table: an empty leaf.
    bytes[page..page + 8].copy_from_slice(&[13, 0, 0, 0, 0, 0x10, 0, 0]);
    fs::write(path, bytes).unwrap();
}
