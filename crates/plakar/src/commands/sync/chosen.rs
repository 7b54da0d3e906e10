//! Which snapshots a sync is about: those that were named, found at the side that gives them.

use crate::exit::{Failure, Result};
use crate::{format, refs};
use plakar_engine::id::SessionId;
use plakar_engine::log::state::Snapshot;
use plakar_engine::read::Reader;
use plakar_engine::repository::Repository;
use plakar_engine::sync::Identity;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The visible snapshots of a repository, each with what makes it the same elsewhere.
pub fn identified(repository: &Repository) -> Vec<(Identity, Snapshot<'_>)> {
    let reader = Reader::new(repository, 0);
    let snapshots = repository.state().snapshots().into_iter();
    snapshots.map(|snapshot| (Identity::of(snapshot.row, reader.keys()), snapshot)).collect()
}

/// The snapshots that were named; `None` = all.
pub struct Chosen(Option<HashSet<Identity>>);

impl Chosen {
    /// Each word must be the beginning of the UUID of one snapshot, wherever among `givers` it is.
    pub fn find<'a>(words: &[OsString], givers: impl Iterator<Item = &'a Repository>) -> Result<Chosen> {
        if words.is_empty() {
            return Ok(Chosen(None));
        }
        if let Some(word) = words.iter().find(|word| refs::split(word).1.is_some()) {
            let shown = format::printable(word.as_bytes());
            return Err(Failure::usage(format!("sync: {shown}: only whole snapshots can be synced")));
        }
        let all: BTreeMap<_, _> = givers.flat_map(identified).collect();
        let snapshots: Vec<_> = all.values().copied().collect();
        let references = refs::resolve(&snapshots, words)?;
        let named =
            |snapshot: &Snapshot<'_>| references.iter().any(|r| std::ptr::eq(r.snapshot.row, snapshot.row));
        Ok(Chosen(Some(all.iter().filter(|(_, s)| named(s)).map(|(i, _)| i.clone()).collect())))
    }

    /// What they are called at one of the sides that give.
    pub fn sessions(&self, giver: &Repository) -> Option<HashSet<SessionId>> {
        let chosen = self.0.as_ref()?;
        let all = identified(giver).into_iter();
        Some(all.filter(|(identity, _)| chosen.contains(identity)).map(|(_, s)| s.session).collect())
    }
}
