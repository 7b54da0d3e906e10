//! Hints: what a walk saw that does not belong in a repository.
//!
//! A file need not be read again when nothing about it changed, and what tells that best (change time, inode
//! number, device) differs between equal trees, so it is kept here: in a local file for each (domain,
//! source), named by the session that it describes. It may be lost or cut short at any time; then files are
//! read again.
//!
//! The file holds one record for each item in tree order: depth uv | name bs | fingerprint u64.

use crate::codec::Writer as _;
use crate::id::SessionId;
use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// How many sessions are remembered of one source.
const KEPT: usize = 4;

fn path(folder: &Path, session: SessionId) -> PathBuf {
    folder.join(format!("{session}.hints"))
}

/// Writes the hints of a session.
pub struct HintsWriter {
    out: Option<BufWriter<File>>,
}

impl HintsWriter {
    /// Begins the file. When it cannot be written there are no hints, which costs time only.
    pub fn create(folder: Option<&Path>, session: SessionId) -> HintsWriter {
        let create = |folder| {
            fs::create_dir_all(folder)?;
            File::create(path(folder, session))
        };
        let file = folder.and_then(|folder| create(folder).ok());
        HintsWriter { out: file.map(|file| BufWriter::with_capacity(1 << 16, file)) }
    }

    /// Appends a record.
    pub fn write(&mut self, depth: usize, name: &[u8], fingerprint: u64) {
        let Some(out) = &mut self.out else { return };
        let mut record = Vec::with_capacity(name.len() + 12);
        record.uv(depth as u64);
        record.bs(name);
        record.extend_from_slice(&fingerprint.to_le_bytes());
        if out.write_all(&record).is_err() {
            self.out = None;
        }
    }

    /// What was written describes this session's tree as well: it is found for that one instead.
    pub fn give_to(mut self, folder: &Path, session: SessionId, other: SessionId) {
        self.flush();
        if self.out.is_some() {
            // Else those of before stay, which costs time only.
            let _ = fs::rename(path(folder, session), path(folder, other));
        }
    }

    /// Makes sure that what was written so far is found by the next run.
    pub fn flush(&mut self) {
        if self.out.as_mut().is_some_and(|out| out.flush().is_err()) {
            self.out = None;
        }
    }
}

/// Forgets all but the latest few sessions of a source.
pub fn tidy(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "hints"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT) {
        // One that stays does no harm.
        let _ = fs::remove_file(path);
    }
}

/// Reads the hints of a session, alongside a walk.
pub struct HintsReader {
    input: BufReader<File>,
    next: Option<(usize, Vec<u8>, u64)>,
}

impl HintsReader {
    /// Opens the hints of a session, if there are any.
    pub fn open(folder: Option<&Path>, session: SessionId) -> Option<HintsReader> {
        let file = File::open(path(folder?, session)).ok()?;
        let mut reader = HintsReader { input: BufReader::with_capacity(1 << 16, file), next: None };
        reader.advance();
        Some(reader)
    }

    fn advance(&mut self) {
        self.next = self.read().ok();
    }

    fn read(&mut self) -> io::Result<(usize, Vec<u8>, u64)> {
        let depth = self.uv()? as usize;
        let len = self.uv()?;
        if len > 255 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; len as usize];
        self.input.read_exact(&mut name)?;
        let mut fingerprint = [0; 8];
        self.input.read_exact(&mut fingerprint)?;
        Ok((depth, name, u64::from_le_bytes(fingerprint)))
    }

    fn uv(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// The fingerprint of the item at `depth` with this name, in the directory that the walk is in; 0 when it is not
    /// known. Items must be asked for in tree order.
    pub fn find(&mut self, depth: usize, name: &[u8]) -> u64 {
        while let Some((d, n, fingerprint)) = &self.next {
            // Deeper records belong to a sibling that was passed over.
            match (d.cmp(&depth), n.as_slice().cmp(name)) {
                (Ordering::Greater, _) | (Ordering::Equal, Ordering::Less) => self.advance(),
                (Ordering::Equal, Ordering::Equal) => {
                    let fingerprint = *fingerprint;
                    self.advance();
                    return fingerprint;
                }
                (Ordering::Less, _) | (Ordering::Equal, Ordering::Greater) => return 0,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_a_walk_that_changed() {
        let folder = std::env::temp_dir().join(format!("plakar-hints-{}", SessionId::random()));
        let session = SessionId::random();
        let mut out = HintsWriter::create(Some(&folder), session);
        let records: [(usize, &[u8], u64); 7] = [
            (0, b"a", 1),
            (1, b"x", 2),
            (1, b"y", 3),
            (0, b"b", 4),
            (0, b"c", 5),
            (1, b"x", 6),
            (0, b"d", 7),
        ];
        records.iter().for_each(|(d, n, f)| out.write(*d, n, *f));
        out.flush();
        let mut hints = HintsReader::open(Some(&folder), session).unwrap();
        // `a` is gone, `aa` with an `x` is new, `b` stays, `c` has lost `x` and gained `w`.
        assert_eq!(hints.find(0, b"aa"), 0);
        assert_eq!(hints.find(1, b"x"), 0);
        assert_eq!(hints.find(0, b"b"), 4);
        assert_eq!(hints.find(0, b"c"), 5);
        assert_eq!(hints.find(1, b"w"), 0);
        assert_eq!(hints.find(0, b"d"), 7);
        assert_eq!(hints.find(0, b"e"), 0);
        tidy(&folder);
        fs::remove_dir_all(&folder).unwrap();
    }
}
