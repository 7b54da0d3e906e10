//! What this client remembers of repositories, by their places: what each was when it was last opened.
//!
//! It guards against two things. A store may answer with another, unencrypted, repository in the place of an encrypted
//! one, so that the next push would tell it everything: that is refused. And a copy that ordinary tools made has the
//! replica id of its original, as if both were one: a *twin*. What is written to a twin is not told apart from what is
//! written to the original, so a twin must be adopted before it is written to.
//!
//! Of twins the one that was opened here first counts as the original; the other is remembered as a copy of it. When the
//! original is gone, or is itself another repository now, then a repository was moved, and there is no twin.

use crate::exit::{Failure, Result};
use crate::local::{Local, absent, write_file};
use crate::location::Location;
use crate::output::{Output, hex_unless_text};
use plakar_engine::id::{DomainId, ReplicaId};
use plakar_engine::repository::Locked;
use plakar_store::Line;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const FOLDER: &str = "known";

/// What a repository is, as far as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its own id.
    pub replica: ReplicaId,
    /// What it shares with its clones.
    pub domain: DomainId,
    /// Whether a passphrase is needed.
    pub encrypted: bool,
}

/// The same as it is written down.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    location: String,
    /// The bytes of the location, in hexadecimal, when the text is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location_hex: Option<String>,
    replica: String,
    domain: String,
    encrypted: bool,
    /// A twin of one that was known before.
    #[serde(default)]
    copy: bool,
}

impl Known {
    fn place(&self) -> Option<Location> {
        let bytes = match &self.location_hex {
            Some(digits) => bytes_of(digits)?,
            None => self.location.clone().into_bytes(),
        };
        Location::parse(OsStr::from_bytes(&bytes)).ok()
    }
}

impl Local {
    /// Refuses an unencrypted repository where an encrypted one was, before anything is told to it.
    pub fn refuse_downgrade(&self, place: &Location, encrypted: bool) -> Result<()> {
        let Some((file, known)) = self.known(place)? else { return Ok(()) };
        if known.encrypted && !encrypted {
            return Err(other(place, &file, "was encrypted when it was last opened here, and now it is not"));
        }
        Ok(())
    }

    /// Refuses another repository where an encrypted one was; else remembers this one. Returns where the original is
    /// if this is its twin.
    pub fn meet(&self, place: &Location, seen: &Seen, output: &Output) -> Result<Option<Location>> {
        let before = self.known(place)?;
        let twin = self.original_of(place, seen.replica);
        let canonical = place.canonical();
        let new = Known {
            location: canonical.text(),
            location_hex: hex_unless_text(canonical.name().as_bytes()),
            replica: seen.replica.hex(),
            domain: seen.domain.hex(),
            encrypted: seen.encrypted,
            copy: twin.is_some(),
        };
        match before {
            Some((_, known)) if known == new => return Ok(twin),
            Some((file, known)) if known.encrypted && (!new.encrypted || known.domain != new.domain) => {
                return Err(other(place, &file, "is not the one that was last opened here"));
            }
            _ => self.remember(place, &new, output),
        }
        Ok(twin)
    }

    /// Takes note that the repository at a place has another id now.
    pub fn adopted(&self, place: &Location, replica: ReplicaId, output: &Output) -> Result<()> {
        match self.known(place)? {
            Some((_, known)) => {
                self.remember(place, &Known { replica: replica.hex(), copy: false, ..known }, output);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Forgets what was at a place, because the user makes a new repository there.
    pub fn forget(&self, place: &Location) -> Result<()> {
        let Some(file) = self.known_file(place) else { return Ok(()) };
        match fs::remove_file(&file) {
            Err(e) if !absent(&e) => Err(Failure::io(&file, &e)),
            _ => Ok(()),
        }
    }

    /// Where another repository with this id is, one that was known before and is not the same one by another name.
    pub fn original_of(&self, place: &Location, replica: ReplicaId) -> Option<Location> {
        let own = self.known_file(place)?;
        let entries = fs::read_dir(own.parent()?).ok()?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        files.into_iter().filter(|file| *file != own).find_map(|file| {
            // What cannot be read says nothing of this place.
            let known: Known = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
            if known.copy || known.replica != replica.hex() {
                return None;
            }
            let there = known.place()?;
            // One on another machine is not asked for this.
            let there_is = there.identity().ok()?;
            let same = place.identity().is_ok_and(|place| place == there_is);
            (!same && is_there(&there, replica)).then_some(there)
        })
    }

    fn remember(&self, place: &Location, known: &Known, output: &Output) {
        let Some(file) = self.known_file(place) else { return };
        let text = serde_json::to_string(known).expect("plain text") + "\n";
        if let Err(e) = write_file(&file, text.as_bytes()) {
            output.note(&format!("cannot remember this repository: {}: {e}", file.display()));
        }
    }

    fn known_file(&self, place: &Location) -> Option<PathBuf> {
        self.place_file(FOLDER, place)
    }

    /// The file for what is remembered of a place.
    pub fn place_file(&self, folder: &str, place: &Location) -> Option<PathBuf> {
        let hash = blake3::hash(place.canonical().name().as_bytes()).to_hex();
        self.state_file(folder, &hash[..32])
    }

    fn known(&self, place: &Location) -> Result<Option<(PathBuf, Known)>> {
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

/// Reads hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Whether a place holds a repository with this id.
fn is_there(place: &Location, replica: ReplicaId) -> bool {
    let locked = place.open(&Line::default()).ok().and_then(|(store, _)| Locked::open(store).ok());
    locked.is_some_and(|locked| locked.replica().id == replica)
}

fn other(place: &Location, file: &Path, what: &str) -> Failure {
    Failure::failed(format!("{place}: the repository at this place {what}"))
        .hint(format!("nothing was sent to it; if this is deliberate, delete {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Output {
        Output::new(false, false, true)
    }

    fn seen(replica: u8, domain: u8, encrypted: bool) -> Seen {
        Seen { replica: ReplicaId([replica; 16]), domain: DomainId([domain; 16]), encrypted }
    }

    #[test]
    fn an_encrypted_repository_is_not_replaced_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::beneath(folder.path());
        let place = Location::Folder(folder.path().to_owned());
        let meet = |replica, domain, encrypted| {
            local.refuse_downgrade(&place, encrypted)?;
            local.meet(&place, &seen(replica, domain, encrypted), &quiet())
        };
        meet(1, 1, false).unwrap();
        meet(2, 2, false).unwrap();
        meet(3, 3, true).unwrap();
        meet(3, 3, true).unwrap();
        meet(4, 3, true).expect("a clone");
        assert!(meet(4, 3, false).unwrap_err().hint.unwrap().contains("state/known/"));
        meet(4, 4, true).unwrap_err();
        local.forget(&place).unwrap();
        local.forget(&place).unwrap();
        meet(5, 5, false).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::beneath(folder.path());
        let place = Location::Folder(folder.path().to_owned());
        local.meet(&place, &seen(1, 1, true), &quiet()).unwrap();
        fs::write(local.known_file(&place).unwrap(), "").unwrap();
        local.refuse_downgrade(&place, false).unwrap_err();
    }

    #[test]
    fn a_place_is_remembered_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::beneath(folder.path());
        let above = folder.path().canonicalize().unwrap();
        for name in [&b"plain"[..], b"odd\xff"] {
            let place = Location::Folder(above.join(OsStr::from_bytes(name)));
            local.meet(&place, &seen(1, 1, false), &quiet()).unwrap();
            assert_eq!(local.known(&place).unwrap().unwrap().1.place(), Some(place));
        }
    }

    #[test]
    fn what_was_written_before_there_were_twins_is_understood() {
        let text = r#"{"location":"/x","replica":"01","domain":"02","encrypted":true}"#;
        let known: Known = serde_json::from_str(text).unwrap();
        assert!(known.encrypted && !known.copy);
    }
}
