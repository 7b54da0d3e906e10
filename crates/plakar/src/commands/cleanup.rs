//! `plakar cleanup`: gives back the space of what no snapshot needs any more.

use crate::args::Cleanup;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::location::Location;
use crate::output::{Data, Output, Progress};
use crate::repo::{self, Purpose};
use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, CleanupReport, Estimate, cleanup, estimate};
use plakar_engine::index::segment::Author;
use plakar_store::DirStore;
use serde_json::{Value, json};
use std::time::Duration;

/// Files of unfinished puts are left alone for at least so many seconds.
const TEMPORARIES_GRACE: i64 = 86_400;

/// Cleans up, or tells what that would do.
pub fn run(context: &Context, args: &Cleanup) -> Result<Code> {
    let output = &context.output;
    let place = repo::unlock(context, if args.dry_run { Purpose::Read } else { Purpose::Write })?;
    let repository = place.unlocked.clone().open()?;
    // What is hidden may need what looks like nobody's.
    if let Some(what) = context.local.rolled_back(&place.location, &repository) {
        return Err(Failure::new(Code::Damage, what)
            .hint("nothing was deleted; 'plakar heal from' a copy may bring it back, and after the next push it is forgotten"));
    }
    let mut data = Data::begin()?;
    let options = CleanupOptions {
        author: Author { replica: repository.base().replica().id, writer: context.local.writer(output) },
        now: now().secs,
        grace: args.grace,
        max_repack: args.max_repack.unwrap_or(u64::MAX),
        workers: context.workers,
        compression: Compression { level: repository.base().config().compression, verify: true },
    };
    let interrupted = interruption()?;
    if args.dry_run {
        let estimate = estimate(&repository, &options, &interrupted)?;
        match output.json {
            true => data.json(&json!({ "dry_run": planned(&estimate) }))?,
            false => lines(&estimate, &mut data)?,
        }
        data.end()?;
        return Ok(Code::Done);
    }
    let mut telling = Telling { output, progress: output.progress(), of: 0 };
    let result = cleanup(repository, &place.store, &options, &mut telling, &interrupted);
    drop(telling);
    let (report, _) = result?;
    let old = Duration::from_secs(args.grace.max(TEMPORARIES_GRACE) as u64);
    let swept = match &place.location {
        Location::Folder(path) => DirStore::open(path).and_then(|store| store.sweep_temporaries(old)),
        Location::Sftp(sftp) => sftp.open(&context.line).and_then(|store| store.sweep_temporaries(old)),
        _ => Ok(0),
    };
    swept.map_err(plakar_engine::Error::from)?;
    tell(output, &mut data, &report)?;
    data.end()?;
    if report.ended_meanwhile > 0 {
        let why =
            "a push that was taken for dead has just ended; nothing was deleted but what was dead before";
        return Err(Failure::failed(format!("{}: {why}", place.location)).hint("run 'plakar cleanup' again"));
    }
    Ok(Code::Done)
}

fn planned(estimate: &Estimate) -> Value {
    json!({
        "packs": estimate.packs + estimate.dead_packs,
        "repacked": estimate.repacked,
        "moved": estimate.moved,
        "freed": estimate.freed,
        "left": estimate.left,
        "damaged": estimate.hopeless,
        "abandoned_packs": estimate.strays,
        "abandoned_sessions": estimate.revoked,
    })
}

fn lines(estimate: &Estimate, data: &mut Data) -> Result<()> {
    let Estimate { packs, repacked, moved, dead_packs, strays, left, hopeless, revoked, freed } = *estimate;
    data.line(&format!("{} packs would be deleted, {} freed", packs + dead_packs, format::size(freed)))?;
    let more = [
        (
            repacked,
            format!(
                "{repacked} of them hold {} that is needed and would be stored again",
                format::size(moved)
            ),
        ),
        (strays, format!("{strays} of them belong to no push that ever said so")),
        (revoked, format!("{revoked} pushes that never ended would be given up")),
        (left, format!("{left} packs would stay because of -max-repack")),
        (hopeless, format!("{hopeless} packs would stay because something needed in them is damaged")),
    ];
    more.iter().filter(|(n, _)| *n > 0).try_for_each(|(_, line)| data.line(line))
}

fn tell(output: &Output, data: &mut Data, report: &CleanupReport) -> Result<()> {
    let CleanupReport { estimate, packs, bytes, moved, facts, segments, .. } = *report;
    output.summary(&match packs + facts + segments {
        0 => "nothing to clean up".to_owned(),
        _ => format!(
            "{packs} packs deleted, {} freed, {} stored again; {} objects of log and index deleted",
            format::size(bytes.saturating_sub(moved)),
            format::size(moved),
            facts + segments
        ),
    });
    if estimate.hopeless > 0 {
        let left = estimate.hopeless;
        output.warning(&format!(
            "{left} packs are left as they are: something needed in them is damaged; see 'plakar heal'"
        ));
    }
    if output.json {
        data.json(&json!({
            "planned": planned(&estimate),
            "packs": packs,
            "bytes": bytes,
            "moved": moved,
            "facts": facts,
            "segments": segments,
        }))?;
    }
    Ok(())
}

struct Telling<'a> {
    output: &'a Output,
    progress: Progress<'a>,
    of: u64,
}

impl CleanupObserver for Telling<'_> {
    fn planned(&mut self, estimate: &Estimate) {
        self.of = estimate.moved;
        if self.output.verbose && !self.output.json {
            let packs = estimate.packs + estimate.dead_packs;
            self.output
                .note(&format!("{packs} packs go, about {} of them is needed", format::size(estimate.moved)));
        }
    }

    fn moved(&mut self, bytes: u64) {
        self.progress
            .show(|| format!("{} of about {} stored again", format::size(bytes), format::size(self.of)));
    }
}
