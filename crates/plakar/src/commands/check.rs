//! `plakar check`: proves that what is stored can be restored.

use crate::args::Check;
use crate::commands::heal;
use crate::commands::sync::identified;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::refs::Reference;
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::check::{CheckOptions, Reads, Sampled, check};
use plakar_engine::log::state::Snapshot;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::repository::Repository;
use plakar_engine::sync::Identity;
use plakar_engine::tree::find_path;
use serde_json::json;
use std::collections::HashSet;

/// Checks snapshots, or everything.
pub fn run(context: &Context, args: &Check) -> Result<Code> {
    let output = &context.output;
    let heals = !args.heal_from.is_empty();
    let place = repo::unlock(context, if heals { Purpose::Write } else { Purpose::Read })?;
    let mut data = Data::begin()?;
    let healed = match heals {
        true => {
            let here = place.unlocked.clone().open()?;
            heal::from_peers(context, &place, here, &args.heal_from, &args.keys, &mut data)
        }
        false => Ok(Code::Done),
    };
    // Whoever could not help, the check is done all the same, and says how it is.
    let unhealed = match healed {
        Ok(_) => None,
        Err(failure) if failure.what.is_none() => Some(failure),
        Err(failure) => return Err(failure),
    };
    // A check of everything tells itself what is damaged in log and index.
    let whole = args.references.is_empty();
    let repository = if whole { place.unlocked.clone().open()? } else { place.open(context)? };
    if whole {
        // For other commands it is a warning: they do what was asked with what is there.
        match context.local.rolled_back(&place.location, &repository) {
            Some(what) => context.output.damage(&what),
            None => context.local.saw(&place.location, &repository, &context.output),
        }
    }
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
    let replica = repository.base().replica().id;
    let samples = context.local.samples(replica);
    let reads = match args.sample {
        Some(share) => Reads::Some { share, after: samples.after() },
        None if args.fast => Reads::Nothing,
        None => Reads::All,
    };
    let options = CheckOptions { reads, workers: context.workers };
    let interrupted = interruption()?;
    let mut proofs = Proofs::of(&repository, &references, reads == Reads::All);
    let began = now().secs;
    let mut progress = output.progress();
    let report = check(
        &repository,
        &what,
        &options,
        &mut |problem| {
            proofs.refute(problem);
            output.damage(problem);
        },
        &mut |bytes| progress.show(|| format!("{} read", format::size(bytes))),
        &interrupted,
    )?;
    drop(progress);
    proofs.remember(context, &repository, began);
    let samples = report.sampled.map(|sampled| samples.with(&sampled, began));
    if let Some(samples) = &samples {
        context.local.remember_samples(replica, samples, output);
    }
    let all_since = samples.and_then(|samples| samples.all_since());
    if output.json {
        data.json(&json!({
            "snapshots": report.snapshots,
            "directories": report.directories,
            "files": report.files,
            "chunks": report.chunks,
            "bytes": report.bytes,
            "damaged": report.damaged + if whole { 0 } else { repository.damaged().len() as u64 },
            "packs_read": report.sampled.map(|sampled| sampled.packs),
            "packs": report.sampled.map(|sampled| sampled.of),
            "all_packs_read_since": all_since.map(format::time),
        }))?;
    }
    data.end()?;
    output.note(&format!(
        "checked {} snapshots: {} directories, {} files, {} read",
        report.snapshots,
        report.directories,
        report.files,
        format::size(report.bytes)
    ));
    if let Some(Sampled { packs, of, .. }) = report.sampled {
        let since = all_since.map(|secs| format!("; each was read since {}", format::time(secs)));
        output.note(&format!("read {packs} of {of} packs{}", since.unwrap_or_default()));
    }
    match unhealed {
        _ if report.damaged > 0 => Ok(Code::Damage),
        Some(failure) => Err(failure),
        None => Ok(Code::Done),
    }
}

/// The snapshots that a check proves, as far as nothing was found to be wrong with them.
struct Proofs {
    /// Which are looked at whole and byte by byte, with the beginning of every sentence about them.
    proven: Vec<(Identity, String)>,
    all: HashSet<Identity>,
}

impl Proofs {
    fn of(repository: &Repository, references: &[Reference<'_>], reads_all: bool) -> Proofs {
        let identified = identified(repository);
        let whole = |snapshot: &Snapshot<'_>| {
            let is_meant = |r: &Reference<'_>| r.snapshot.session == snapshot.session && r.path().is_empty();
            references.is_empty() || references.iter().any(is_meant)
        };
        let proven = identified.iter().filter(|(_, snapshot)| reads_all && whole(snapshot));
        Proofs {
            proven: proven.map(|(i, s)| (i.clone(), format!("{}:", s.row.uuid_text()))).collect(),
            all: identified.iter().map(|(identity, _)| identity.clone()).collect(),
        }
    }

    /// Something is wrong.
    fn refute(&mut self, problem: &str) {
        self.proven.retain(|(_, beginning)| !problem.starts_with(beginning));
    }

    fn remember(self, context: &Context, repository: &Repository, secs: i64) {
        let proven: Vec<_> = self.proven.into_iter().map(|(identity, _)| identity).collect();
        if !proven.is_empty() {
            let replica = repository.base().replica().id;
            context.local.remember_verified(replica, &proven, &self.all, secs, &context.output);
        }
    }
}
