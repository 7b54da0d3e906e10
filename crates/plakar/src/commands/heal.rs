//! `plakar heal`: gets back what this repository has lost from repositories that have it.

use crate::args::{Heal, PeerKeys};
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::{Data, Output, Progress};
use crate::peer::{Peer, Secrets};
use crate::repo::{self, Place, Purpose};
use crate::several::Several;
use plakar_engine::heal::{HealObserver, HealReport, heal};
use plakar_engine::index::segment::Author;
use plakar_engine::push::Checkpoints;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Selection, SyncOptions};
use serde_json::json;
use std::ffi::OsString;

/// Mends this repository from the others.
pub fn run(context: &Context, args: &Heal) -> Result<Code> {
    let peers = match args.words.split_first() {
        Some((from, peers)) if from == "from" => peers,
        _ => &args.words,
    };
    if peers.is_empty() {
        return Err(
            Failure::usage("heal: missing repository to heal from").hint("'plakar heal from REPOSITORY...'")
        );
    }
    let place = repo::unlock(context, Purpose::Write)?;
    let mut data = Data::begin()?;
    // What is damaged in log and index, the heal tells itself.
    let here = place.unlocked.clone().open()?;
    let code = from_peers(context, &place, here, peers, &args.keys, &mut data)?;
    data.end()?;
    Ok(code)
}

/// Mends the repository at `place`, open as `here`, from these. One that cannot be opened is told, and the others help without it.
pub fn from_peers(
    context: &Context,
    place: &Place,
    here: Repository,
    typed: &[OsString],
    keys: &PeerKeys,
    data: &mut Data,
) -> Result<Code> {
    let output = &context.output;
    let mut several = Several::new(output);
    let mut peers = Vec::new();
    for typed in typed {
        let peer = Peer::open(context, place, typed, Purpose::Read, &Secrets::of(keys));
        peers.extend(several.take(peer)?.map(|peer| peer.repository));
    }
    if peers.is_empty() {
        return several.end();
    }
    let options = SyncOptions {
        selection: Selection::default(),
        author: Author { replica: here.base().replica().id, writer: context.local.writer(output) },
        now: now().secs,
        workers: context.workers,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    };
    let mut telling = Telling { output, progress: output.progress() };
    let interrupted = interruption()?;
    let (report, _) = heal(here, &place.store, &peers, &options, &mut telling, &interrupted)?;
    drop(telling);
    tell(output, data, &report)?;
    several.end()
}

fn tell(output: &Output, data: &mut Data, report: &HealReport) -> Result<()> {
    let HealReport { damaged, bad, objects, unmended, mended, lost } = *report;
    let done = format!(
        "{damaged} problems found, {objects} objects of log and index put anew, {mended} chunks and nodes stored anew"
    );
    output.summary(&match (damaged + mended, unmended, lost) {
        (0, 0, 0) => "nothing to heal".to_owned(),
        (_, 0, 0) => format!("{done}: all is whole"),
        (_, _, 0) => format!("{done}, {unmended} problems left"),
        (_, 0, _) => format!("{done}, {lost} snapshots not whole"),
        _ => format!("{done}, {unmended} problems left, {lost} snapshots not whole"),
    });
    if output.json {
        data.json(&json!({
            "damaged": damaged,
            "bad": bad,
            "objects": objects,
            "unmended": unmended,
            "mended": mended,
            "lost": lost,
        }))?;
    }
    Ok(())
}

struct Telling<'a> {
    output: &'a Output,
    progress: Progress<'a>,
}

impl HealObserver for Telling<'_> {
    fn damage(&mut self, what: &str) {
        self.output.warning(what);
    }

    fn unmended(&mut self, what: &str) {
        self.output.damage(&format!("not mended: {what}"));
    }

    fn lost(&mut self, snapshot: &str, paths: &[String], more: u64) {
        paths.iter().for_each(|path| self.output.damage(&format!("{snapshot}:{path}")));
        if more > 0 {
            self.output.damage(&format!("{snapshot}: {more} paths more are lost"));
        }
    }

    fn progress(&mut self, read: u64, mended: u64) {
        self.progress.show(|| format!("{} read, {mended} chunks and nodes stored anew", format::size(read)));
    }
}
