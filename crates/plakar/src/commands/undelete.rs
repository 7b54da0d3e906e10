//! `plakar undelete`: shows snapshots again that were removed.

use super::ls::{snapshot_json, snapshot_line};
use crate::args::Undelete;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::output::{Data, Output, Progress};
use crate::repo::{self, Place, Purpose};
use crate::{format, refs};
use plakar_engine::id::SessionId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::Snapshot;
use plakar_engine::log::fact::Row;
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Counts, Selection, SyncObserver, SyncOptions};
use plakar_engine::undelete::{Undeleted, candidates, undelete};
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Shows snapshots again; if one of them cannot be found, none. Without any, lists those of which something is left.
pub fn run(context: &Context, args: &Undelete) -> Result<Code> {
    for word in &args.references {
        let shown = || format::printable(word.as_bytes());
        match refs::split(word) {
            // It would stand for the only one there is.
            (b"", _) => return Err(Failure::usage("undelete: an empty snapshot ID stands for nothing")),
            (_, Some(_)) => {
                let what = format!("undelete: {}: only whole snapshots can be undeleted", shown());
                return Err(Failure::usage(what));
            }
            (_, None) => {}
        }
    }
    let purpose = if args.references.is_empty() { Purpose::Read } else { Purpose::Write };
    let place = repo::unlock(context, purpose)?;
    let repository = place.open(context)?;
    if args.references.is_empty() {
        return list(context, &repository);
    }
    let meant = resolve(&repository, &args.references)?;
    show_again(context, &place, repository, &meant)
}

fn list(context: &Context, repository: &Repository) -> Result<Code> {
    let mut data = Data::begin()?;
    for snapshot in candidates(repository)? {
        match context.output.json {
            true => data.json(&snapshot_json(&snapshot))?,
            false => data.line(&snapshot_line(&snapshot))?,
        }
    }
    data.end()?;
    Ok(Code::Done)
}

/// What the references stand for among what was removed, each once.
fn resolve(repository: &Repository, words: &[OsString]) -> Result<Vec<(SessionId, String)>> {
    let (removed, visible) = (repository.state().removed_snapshots(), repository.state().snapshots());
    for word in words {
        let prefix = word.as_bytes().to_ascii_lowercase();
        let fits = |snapshot: &Snapshot<'_>| snapshot.row.uuid_text().as_bytes().starts_with(&prefix);
        if !removed.iter().any(fits) {
            let shown = format::printable(word.as_bytes());
            return Err(Failure::failed(match visible.iter().any(fits) {
                true => format!("{shown}: is not removed"),
                false => format!("no removed snapshot has prefix: {shown}"),
            }));
        }
    }
    let mut seen = BTreeSet::new();
    let references = refs::resolve(&removed, words)?;
    let once = references.iter().filter(|reference| seen.insert(reference.snapshot.session));
    Ok(once.map(|reference| (reference.snapshot.session, reference.snapshot.row.uuid_text())).collect())
}

fn show_again(
    context: &Context,
    place: &Place,
    repository: Repository,
    meant: &[(SessionId, String)],
) -> Result<Code> {
    let output = &context.output;
    let options = SyncOptions {
        selection: Selection::default(),
        author: Author { replica: repository.base().replica().id, writer: context.local.writer(output) },
        now: now().secs,
        workers: context.workers,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    };
    let mut repository = Some(repository);
    let interrupted = interruption()?;
    let mut data = Data::begin()?;
    let mut each = |(session, uuid): &(SessionId, String)| -> Result<()> {
        let mut telling = Telling(output.progress());
        let here = repository.take().expect("it comes back unless all has ended");
        let (undeleted, after) =
            undelete(here, &place.store, *session, &options, &mut telling, &interrupted)?;
        drop(telling);
        repository = Some(after);
        match undeleted {
            Undeleted::Published | Undeleted::Visible => {
                if output.json {
                    data.json(&json!({ "undeleted": uuid }))?;
                }
                output.note(&format!("undeleted snapshot {uuid}"));
            }
            Undeleted::Gone { paths, more } => tell_gone(output, uuid, &paths, more),
        }
        Ok(())
    };
    let result = meant.iter().try_for_each(&mut each);
    // What was done is told, even if the rest failed.
    data.end()?;
    result.map(|()| Code::Done)
}

fn tell_gone(output: &Output, uuid: &str, paths: &[String], more: u64) {
    paths.iter().for_each(|path| output.damage(&format!("{uuid}:{path}")));
    if more > 0 {
        output.damage(&format!("{uuid}: {more} paths more are gone"));
    }
    output.damage(&format!("{uuid}: is not shown again, because some of it is gone"));
}

struct Telling<'a>(Progress<'a>);

impl SyncObserver for Telling<'_> {
    fn sent(&mut self, _: &Row, _: &Counts) {}

    fn withheld(&mut self, _: &Row, _: &[String], _: u64) {}

    fn progress(&mut self, done: &Counts) {
        self.0.show(|| format!("{} stored again", format::size(done.bytes)));
    }
}
