//! `plakar check`: proves that what is stored can be restored.

use crate::args::Check;
use crate::context::{Context, interruption};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::{refs, repo};
use plakar_engine::check::{CheckOptions, check};
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::find_path;
use serde_json::json;

/// Checks snapshots, or everything.
pub fn run(context: &Context, args: &Check) -> Result<Code> {
    let output = &context.output;
    let place = repo::unlock(context)?;
    // A check of everything tells itself what is damaged in log and index.
    let whole = args.references.is_empty();
    let repository = if whole { place.unlocked.clone().open()? } else { place.open(context)? };
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut what = Vec::new();
    for reference in &references {
        let row = reference.snapshot.row;
        // What is damaged on the way to it is for the check to tell.
        let missing = !reference.path().is_empty()
            && matches!(find_path(&reader, &row.root, reference.path()), Ok(None));
        if missing {
            let (uuid, path) = (row.uuid_text(), reference.shown_path());
            return Err(Failure::failed(format!("{uuid}:{path}: no such path in the snapshot")));
        }
        what.push((reference.snapshot, reference.path().to_vec()));
    }
    let options = CheckOptions { fast: args.fast, workers: context.workers };
    let interrupted = interruption()?;
    let mut progress = output.progress();
    let report = check(
        &repository,
        &what,
        &options,
        &mut |problem| output.damage(problem),
        &mut |bytes| progress.show(|| format!("{} read", format::size(bytes))),
        &interrupted,
    )?;
    drop(progress);
    if output.json {
        let mut data = Data::begin()?;
        data.json(&json!({
            "snapshots": report.snapshots,
            "directories": report.directories,
            "files": report.files,
            "chunks": report.chunks,
            "bytes": report.bytes,
            "damaged": report.damaged + if whole { 0 } else { repository.damaged().len() as u64 },
        }))?;
        data.end()?;
    }
    output.note(&format!(
        "checked {} snapshots: {} directories, {} files, {} read",
        report.snapshots,
        report.directories,
        report.files,
        format::size(report.bytes)
    ));
    Ok(if report.damaged > 0 { Code::Damage } else { Code::Done })
}
