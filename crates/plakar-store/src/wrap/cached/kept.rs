//! Ranges kept in a folder: two files, to which records are only ever appended.
//!
//! `newer` takes what comes. Once it would exceed half of what is allowed it becomes `older`, in one renaming, and what
//! was older before is gone. What is found in the older one moves on to the newer by being kept again, so what is in use
//! stays.
//!
//! Any number of processes may use the folder at once. A record is one write at the end of the file; whoever appends
//! looks first whether the file is still the one by that name, and takes up the one that is. A record that another
//! process added later is not seen, which costs a request. When two make the newer file the older one at the same
//! moment, what was kept so far may be lost, which costs requests.
//!
//! Nothing here is ever an error: what cannot be read is not there, and after the first write that fails nothing more is
//! kept. Why is remembered, for whoever asks.

use super::record::{self, HEAD_LEN, Head};
use crate::Name;
use crate::name::NAME_BYTES_MAX;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NEWER: &str = "newer";
const OLDER: &str = "older";

/// Ranges kept in a folder.
pub struct Kept {
    folder: PathBuf,
    /// How long each of the two files may become, in bytes.
    half: u64,
    newer: Option<Generation>,
    older: Option<Generation>,
    /// Whether more may be kept.
    taking: bool,
    /// Why no more is.
    trouble: Option<io::Error>,
}

/// One file, and where in it each range lies.
struct Generation {
    file: Arc<File>,
    /// Device and inode.
    id: (u64, u64),
    /// Where the record of each key lies: offset and length.
    places: HashMap<u64, (u64, u64)>,
    /// Records reach to the end. What follows a torn one is never found, so nothing must be added there.
    whole: bool,
}

/// Where a record lies.
pub struct Place {
    file: Arc<File>,
    at: u64,
    len: u64,
    /// Whether it would go away next.
    pub old: bool,
}

impl Place {
    /// The bytes of this range, if its record is whole.
    pub fn read(&self, name: &Name, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut record = vec![0; usize::try_from(self.len).ok()?];
        self.file.read_exact_at(&mut record, self.at).ok()?;
        record::decode(record, name, offset, len)
    }
}

impl Kept {
    /// What is kept in `folder`, which is made if it is not there: at most about `max` bytes.
    pub fn open(folder: &Path, max: u64) -> Kept {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let older = File::open(folder.join(OLDER)).ok().and_then(Generation::read);
        let (folder, half) = (folder.to_path_buf(), max / 2);
        let mut kept = Kept { folder, half, newer: None, older, taking: true, trouble: None };
        kept.done(made);
        kept.take_up();
        kept
    }

    /// Why nothing more is kept, if so. That somebody deleted the folder meanwhile is no trouble.
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref().filter(|e| e.kind() != ErrorKind::NotFound)
    }

    /// What came of a change to the folder, if it was one for the better; else nothing more is kept.
    fn done<T>(&mut self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                self.taking = false;
                self.trouble.get_or_insert(e);
                None
            }
        }
    }

    /// Where this range may lie.
    pub fn find(&self, name: &Name, offset: u64, len: usize) -> Option<Place> {
        let key = record::key(name.as_str().as_bytes(), offset, len);
        [(&self.newer, false), (&self.older, true)].into_iter().find_map(|(generation, old)| {
            let generation = generation.as_ref()?;
            let (at, len) = *generation.places.get(&key)?;
            Some(Place { file: generation.file.clone(), at, len, old })
        })
    }

    /// Keeps a range, if it can be kept.
    pub fn keep(&mut self, name: &Name, offset: u64, bytes: &[u8]) {
        let record = record::encode(name, offset, bytes);
        let len = record.len() as u64;
        if !self.taking || len > self.half {
            return;
        }
        let now = fs::metadata(self.folder.join(NEWER)).ok();
        let here = self.newer.as_ref().map(|newer| newer.id);
        let mut end = now.as_ref().map_or(0, Metadata::len);
        if here.is_none() || now.map(|now| id(&now)) != here {
            // Another process, or a person, took it away: what we know of it is still good.
            self.older = self.newer.take().or(self.older.take());
            end = self.take_up();
        }
        if self.newer.as_ref().is_some_and(|newer| !newer.whole || end + len > self.half) {
            let renamed = fs::rename(self.folder.join(NEWER), self.folder.join(OLDER));
            self.done(renamed);
            self.older = self.newer.take();
            self.take_up();
        }
        let Some(newer) = self.newer.as_mut().filter(|_| self.taking) else { return };
        match newer.append(&record) {
            Ok(Some(at)) => {
                let key = record::key(name.as_str().as_bytes(), offset, bytes.len());
                newer.places.insert(key, (at, len));
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Where the room ends, the next write would say so.
            Ok(None) => drop(self.done::<()>(Err(ErrorKind::StorageFull.into()))),
            Err(e) => drop(self.done::<()>(Err(e))),
        }
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        for file in [NEWER, OLDER] {
            let _ = fs::remove_file(self.folder.join(file));
        }
        (self.newer, self.older) = (None, None);
    }

    /// Opens the newer file as it is now, or begins one. Returns its length.
    fn take_up(&mut self) -> u64 {
        if !self.taking {
            // A folder that cannot be made may be there all the same, to be read.
            self.newer = File::open(self.folder.join(NEWER)).ok().and_then(Generation::read);
            return 0;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(self.folder.join(NEWER));
        let file = self.done(file).or_else(|| File::open(self.folder.join(NEWER)).ok());
        self.newer = file.and_then(Generation::read);
        self.newer.as_ref().and_then(|newer| newer.file.metadata().ok()).map_or(0, |now| now.len())
    }
}

impl Generation {
    /// Reads where everything lies.
    fn read(file: File) -> Option<Generation> {
        let now = file.metadata().ok()?;
        let (mut places, mut at) = (HashMap::new(), 0);
        let mut bytes = [0; HEAD_LEN + NAME_BYTES_MAX];
        while at < now.len() {
            let read = file.read_at(&mut bytes, at).ok()?;
            let (head, rest) = bytes[..read].split_at(read.min(HEAD_LEN));
            let Some(head) = Head::decode(head) else { break };
            let Some(key) = head.key(rest) else { break };
            let len = head.record_len();
            if at + len > now.len() {
                break;
            }
            places.insert(key, (at, len));
            at += len;
        }
        Some(Generation { file: Arc::new(file), id: id(&now), places, whole: at == now.len() })
    }

    /// Adds a record in one write. Returns where it lies; `None` when only a part of it was written.
    fn append(&self, record: &[u8]) -> io::Result<Option<u64>> {
        let mut file = &*self.file;
        if file.write(record)? < record.len() {
            return Ok(None);
        }
        // After a write at the end of a file, that is where the descriptor stands.
        Ok(file.stream_position()?.checked_sub(record.len() as u64))
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
