//! One way between this repository and one peer.

use super::Syncing;
use super::words::Direction;
use crate::context::{Context, now};
use crate::exit::{Failure, Result};
use crate::format;
use crate::output::{Data, Progress};
use plakar_engine::Error;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Row, uuid_text};
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Counts, Plan, Selection, SyncObserver, SyncOptions, SyncReport, sync};
use plakar_store::Store;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which way, and the name of the peer.
pub struct Way<'a> {
    /// `To` or `From`.
    pub direction: Direction,
    /// As it was typed.
    pub peer: &'a str,
}

impl Way<'_> {
    /// `to` or `from`.
    pub fn word(&self) -> &'static str {
        if self.direction == Direction::From { "from" } else { "to" }
    }

    /// Where what is moved ends up.
    pub fn destination(&self) -> String {
        if self.direction == Direction::From { "here".into() } else { format!("at {}", self.peer) }
    }

    /// The beginning of each JSON object.
    pub fn json(&self) -> Value {
        json!({ "peer": self.peer, "direction": self.word() })
    }
}

/// An object with the fields of both.
pub fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

impl Syncing<'_> {
    /// Brings to `destination`, which is written through `store`, what it lacks of `source`. Returns it as it is then.
    pub fn transfer(
        &mut self,
        way: &Way,
        source: &Repository,
        destination: Repository,
        store: &Arc<dyn Store>,
    ) -> Result<Repository> {
        let (context, output) = (self.context, &self.context.output);
        let selection = Selection { only: self.chosen.sessions(source), ..self.selection.clone() };
        let plan = Plan::new(source, &destination, &selection);
        let (conflicts, to_remove) = (plan.conflicts, plan.to_remove);
        for uuid in &conflicts {
            if self.told_conflicts.insert(*uuid) {
                let what = "two different snapshots have this UUID; both are kept";
                output.warning(&format!("{}: {what}", uuid_text(uuid)));
            }
        }
        let options = SyncOptions {
            selection,
            author: Author { replica: destination.base().replica().id, writer: context.local.writer(output) },
            now: now().secs,
            workers: context.workers,
            verify: true,
            may_admin: true,
            checkpoints: Checkpoints::default(),
        };
        let data = &mut self.data;
        let mut observer = Telling { context, way, data, progress: output.progress(), nobody: None };
        let result = sync(source, destination, store, &options, &mut observer, &self.interrupted);
        let nobody = observer.nobody.take();
        drop(observer);
        let (report, after) = result.map_err(|e| failed(way, e))?;
        if let Some(failure) = nobody {
            return Err(failure);
        }
        for (_, uuid) in to_remove {
            output.note(&format!("removed snapshot {} {}", uuid_text(&uuid), way.destination()));
        }
        output.summary(&summary(way, &report));
        if report.removed_there > 0 {
            let (n, there) = (snapshots(report.removed_there), way.destination());
            output.summary(&format!("{n} stay away, because they were removed {there}: see -resurrect"));
        }
        if output.json {
            let counts = report.counts;
            let conflicts: Vec<_> = conflicts.iter().map(uuid_text).collect();
            let done = json!({
                "snapshots": counts.snapshots,
                "items": counts.items,
                "blocks": counts.blocks,
                "translated": counts.translated,
                "bytes": counts.bytes,
                "present": report.present,
                "withheld": report.withheld,
                "removed_there": report.removed_there,
                "removed": report.removed,
                "conflicts": conflicts,
            });
            self.data.json(&with(way.json(), done))?;
        }
        Ok(after)
    }
}

fn failed(way: &Way, error: Error) -> Failure {
    let sync = format!("sync {} {}", way.word(), way.peer);
    match error {
        Error::Interrupted => {
            Failure::failed(format!("{sync}: interrupted; what was moved so far is kept for the next sync"))
        }
        error => {
            let Failure { code, what, hint } = error.into();
            Failure { code, what: what.map(|what| format!("{sync}: {what}")), hint }
        }
    }
}

/// So many snapshots.
pub fn snapshots(n: u64) -> String {
    if n == 1 { "1 snapshot".into() } else { format!("{n} snapshots") }
}

fn summary(way: &Way, report: &SyncReport) -> String {
    let (done, word) = if way.direction == Direction::From { ("received", "from") } else { ("sent", "to") };
    let counts = &report.counts;
    let mut text = format!("{done} {} {word} {}: ", snapshots(counts.snapshots), way.peer);
    if counts.translated > 0 {
        text += &format!("{} cut anew, ", format::size(counts.translated));
    } else {
        text += &format!("{} blocks, ", counts.blocks);
    }
    text += &format!("{}; {} were there", format::size(counts.bytes), report.present);
    if report.withheld > 0 {
        text += &format!("; {} withheld", report.withheld);
    }
    if report.removed > 0 {
        text += &format!("; {} removed", report.removed);
    }
    text
}

struct Telling<'a> {
    context: &'a Context,
    way: &'a Way<'a>,
    data: &'a mut Data,
    progress: Progress<'a>,
    /// Set when nobody reads what is printed. The sync goes on to its end all the same: it was asked for.
    nobody: Option<Failure>,
}

impl Telling<'_> {
    fn json(&mut self, value: Value) {
        if self.context.output.json
            && self.nobody.is_none()
            && let Err(failure) = self.data.json(&with(self.way.json(), value))
        {
            self.nobody = Some(failure);
        }
    }
}

impl SyncObserver for Telling<'_> {
    fn sent(&mut self, row: &Row, _: &Counts) {
        self.json(json!({ "snapshot": row.uuid_text(), "result": "sent" }));
    }

    fn withheld(&mut self, row: &Row, paths: &[String], more: u64) {
        let (output, uuid) = (&self.context.output, row.uuid_text());
        let (word, peer) = (self.way.word(), self.way.peer);
        for path in paths {
            output.damage(&format!("{uuid}:{path}"));
        }
        let more_paths = if more > 0 { format!(", nor can {more} paths more") } else { String::new() };
        output.damage(&format!(
            "{uuid}: withheld in the sync {word} {peer}: it cannot be given whole{more_paths}"
        ));
        self.json(json!({ "snapshot": uuid, "result": "withheld", "paths": paths, "more": more }));
    }

    fn progress(&mut self, done: &Counts) {
        let (word, peer) = (self.way.word(), self.way.peer);
        self.progress.show(|| {
            let (items, moved) = (done.items, format::size(done.bytes));
            format!("{word} {peer}: {} snapshots, {items} items, {moved}", done.snapshots)
        });
    }
}
