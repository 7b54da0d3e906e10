//! `plakar pull`: restores snapshots, or parts of them.

use crate::args::{Overwrite, Owner, Pull};
use crate::context::{Context, interruption};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::find_path;
use plakar_fs::restore::{self, RestoreOptions, restore};
use plakar_fs::target::OwnerPolicy;
use serde_json::json;
use std::path::Path;

/// Restores each reference into the directory. All are found before anything is made.
pub fn run(context: &Context, args: &Pull) -> Result<Code> {
    let output = &context.output;
    if args.references.is_empty() {
        return Err(Failure::usage("need at least one snapshot ID to pull"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    for reference in &references {
        let row = reference.snapshot.row;
        if !reference.path().is_empty() && find_path(&reader, &row.root, reference.path())?.is_none() {
            let (uuid, path) = (row.uuid_text(), reference.shown_path());
            return Err(Failure::failed(format!("{uuid}:{path}: no such path in the snapshot")));
        }
    }
    let owners = match args.owner {
        Owner::Number => OwnerPolicy::Numbers,
        Owner::Name if args.numeric_ids => OwnerPolicy::Numbers,
        Owner::Name => OwnerPolicy::Names,
        Owner::None => OwnerPolicy::Keep,
    };
    let overwrite = match args.overwrite {
        Overwrite::Always => restore::Overwrite::Always,
        Overwrite::Changed => restore::Overwrite::Changed,
        Overwrite::Newer => restore::Overwrite::Newer,
        Overwrite::Never => restore::Overwrite::Never,
    };
    let options = RestoreOptions { owners, overwrite, workers: context.workers };
    let target = args.path.as_deref().unwrap_or(Path::new("."));
    let interrupted = interruption()?;
    let mut data = Data::begin()?;
    let mut code = Code::Done;
    for reference in &references {
        let mut progress = output.progress();
        let done = restore(
            &reader,
            &reference.snapshot.row.root,
            reference.path(),
            args.rebase,
            target,
            &options,
            &mut |path, what| output.problem(path, what),
            &mut |done| {
                progress.show(|| format!("{} files, {} restored", done.files, format::size(done.bytes)));
            },
            &interrupted,
        )?;
        drop(progress);
        if done.damaged > 0 {
            code = code.max(Code::Damage);
        } else if done.problems > 0 {
            code = code.max(Code::Problems);
        }
        let uuid = reference.snapshot.row.uuid_text();
        if output.json {
            data.json(&json!({
                "uuid": uuid,
                "directories": done.directories,
                "files": done.files,
                "bytes": done.bytes,
                "kept": done.kept,
                "problems": done.problems,
                "damaged": done.damaged,
            }))?;
        }
        output.note(&format!(
            "restored {} files and {} directories of {uuid}, {}",
            done.files,
            done.directories,
            format::size(done.bytes)
        ));
    }
    data.end()?;
    Ok(code)
}
