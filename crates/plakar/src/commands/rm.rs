//! `plakar rm`: removes snapshots.

use crate::args::Rm;
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::repo::Purpose;
use crate::{format, refs, repo};
use plakar_engine::id::SessionId;
use plakar_engine::index::segment::Author;
use plakar_engine::write::remove;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Removes snapshots; all of them or, if one cannot be found, none.
pub fn run(context: &Context, args: &Rm) -> Result<Code> {
    if args.references.is_empty() {
        return Err(Failure::usage("need at least one snapshot ID to rm"));
    }
    for word in &args.references {
        let shown = || format::printable(word.as_bytes());
        match refs::split(word) {
            // It would stand for the only snapshot there is.
            (b"", _) => return Err(Failure::usage("rm: an empty snapshot ID removes nothing")),
            (_, Some(_)) => {
                return Err(Failure::usage(format!("rm: {}: only whole snapshots can be removed", shown())));
            }
            (_, None) => {}
        }
    }
    let place = repo::unlock(context, Purpose::Write)?;
    let mut repository = place.open(context)?;
    let (sessions, names): (Vec<_>, Vec<_>) = {
        let snapshots = repository.state().snapshots();
        let mut seen = BTreeSet::new();
        // A session of which only the Final is left has no snapshot to be named by: `check` tells its own ID.
        let lost: BTreeMap<_, _> = repository
            .state()
            .view
            .ended_without_beginning()
            .map(|session| (session.hex(), session))
            .collect();
        let (ids, words): (Vec<_>, Vec<_>) =
            args.references.iter().cloned().partition(|word| lost_session(&lost, word).is_some());
        let references = refs::resolve(&snapshots, &words)?;
        let moving = words.iter().zip(&references).find(|(word, _)| refs::moves(word));
        if let (false, Some((word, reference))) = (args.by_name, moving) {
            let (shown, uuid) = (format::printable(word.as_bytes()), reference.snapshot.row.uuid_text());
            let what = format!("rm: {shown}: is {uuid} now, and another snapshot when there are more");
            return Err(Failure::usage(what).hint(format!("'plakar rm {uuid}' removes it, as does -by-name")));
        }
        let snapshots = references.iter().map(|r| (r.snapshot.session, r.snapshot.row.uuid_text()));
        let lost = ids.iter().filter_map(|word| lost_session(&lost, word)).map(|id| (id, id.hex()));
        snapshots.chain(lost).filter(|(session, _)| seen.insert(*session)).unzip()
    };
    let replica = repository.base().replica().id;
    let author = Author { replica, writer: context.local.writer(&context.output) };
    remove(&mut repository, &*place.store, &author, &sessions, now().secs)?;
    let mut data = Data::begin()?;
    for uuid in names {
        if context.output.json {
            data.json(&json!({ "removed": uuid }))?;
        }
        context.output.note(&format!("removed snapshot {uuid}"));
    }
    data.end()?;
    Ok(Code::Done)
}

fn lost_session(lost: &BTreeMap<String, SessionId>, word: &OsStr) -> Option<SessionId> {
    lost.get(&word.to_str()?.to_ascii_lowercase()).copied()
}
