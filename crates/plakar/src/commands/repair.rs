//! `plakar repair`: makes the index good again out of the packs, and notes which copies are bad.

use crate::args::Repair;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Result};
use crate::format;
use crate::output::{Data, Output, Progress};
use crate::repo::{self, Purpose};
use plakar_engine::index::segment::Author;
use plakar_engine::repair::{RepairObserver, RepairOptions, RepairReport, estimate, repair};
use serde_json::json;

/// Repairs, or tells what that would do.
pub fn run(context: &Context, args: &Repair) -> Result<Code> {
    let output = &context.output;
    let place = repo::unlock(context, if args.dry_run { Purpose::Read } else { Purpose::Write })?;
    let repository = place.unlocked.clone().open()?;
    let mut data = Data::begin()?;
    let options = RepairOptions {
        author: Author { replica: repository.base().replica().id, writer: context.local.writer(output) },
        now: now().secs,
        grace: args.grace,
        fast: args.fast,
        workers: context.workers,
    };
    let interrupted = interruption()?;
    let mut telling = Telling { output, progress: output.progress() };
    let result = match args.dry_run {
        true => estimate(repository, &options, &mut telling, &interrupted),
        false => {
            repair(repository, &place.store, &options, &mut telling, &interrupted).map(|(report, _)| report)
        }
    };
    drop(telling);
    let report = result?;
    tell(output, &mut data, &report, args.dry_run)?;
    data.end()?;
    let is_damaged = report.lost > 0 || args.dry_run && found(&report) > 0;
    Ok(if is_damaged { Code::Damage } else { Code::Done })
}

/// How much was found to be wrong.
fn found(report: &RepairReport) -> u64 {
    report.segments + report.packs + report.unreadable + report.missing + report.bad
}

fn tell(output: &Output, data: &mut Data, report: &RepairReport, dry_run: bool) -> Result<()> {
    let RepairReport { segments, packs, strays, left, unreadable, missing, bad, revoked, given_up, lost } =
        *report;
    if output.json {
        return data.json(&json!({
            "dry_run": dry_run,
            "segments": segments,
            "packs_listed": packs,
            "packs_announced": strays,
            "packs_left": left,
            "packs_unreadable": unreadable,
            "packs_missing": missing,
            "bad": bad,
            "abandoned_sessions": revoked,
            "segments_given_up": given_up,
            "lost": lost,
        }));
    }
    let would = if dry_run { "would be " } else { "" };
    let lines = [
        (segments, format!("{segments} index segments are lost or damaged")),
        (packs, format!("{packs} packs {would}listed anew")),
        (strays, format!("{strays} of them belong to no push that said so")),
        (left, format!("{left} packs that belong to no push that said so are left alone")),
        (revoked, format!("{revoked} pushes that never ended {would}given up")),
        (bad, format!("{bad} blocks {would}noted as damaged")),
    ];
    let mut lines = lines.iter().filter(|(n, _)| *n > 0).map(|(_, line)| line);
    if dry_run {
        return lines.try_for_each(|line| data.line(line));
    }
    lines.for_each(|line| output.note(line));
    output.summary(&match (found(report), lost) {
        (0, 0) => "nothing to repair".to_owned(),
        (_, 0) => format!("{packs} packs listed anew, {bad} blocks noted as damaged: all is whole"),
        _ => format!("{packs} packs listed anew, {bad} blocks noted as damaged; {lost} problems are left"),
    });
    Ok(())
}

struct Telling<'a> {
    output: &'a Output,
    progress: Progress<'a>,
}

impl RepairObserver for Telling<'_> {
    fn damage(&mut self, what: &str) {
        self.output.warning(what);
    }

    fn lost(&mut self, what: &str) {
        self.output.damage(what);
    }

    fn progress(&mut self, read: u64) {
        self.progress.show(|| format!("{} read", format::size(read)));
    }
}
