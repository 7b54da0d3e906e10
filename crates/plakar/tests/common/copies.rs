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
