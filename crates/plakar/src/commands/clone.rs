//! `plakar clone`: copies a repository, or keeps a copy current. Needs no passphrase.

use crate::args::Clone;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::location::{self, Location};
use crate::output::Data;
use crate::repo::{self, Purpose};
use crate::room;
use crate::several::Several;
use plakar_engine::clone::{CloneOptions, CloneProgress, CloneReport, clone, update};
use plakar_engine::repository::Locked;
use plakar_engine::{Error, Result as Engine};
use plakar_store::{ReadStore, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A place that is copied to.
struct Target {
    place: Location,
    store: Arc<dyn Store>,
}

/// Copies to each destination. One that fails does not keep the others from being made.
pub fn run(context: &Context, args: &Clone) -> Result<Code> {
    let places = places(context, &args.destinations)?;
    let (source, location) = source(context)?;
    let mut several = Several::new(&context.output);
    let mut targets = Vec::new();
    for place in places {
        let store = refuse_inside(&place, &location).and_then(|()| match args.update {
            true => repo::open_store(context, &place).map_err(missing),
            false => room::for_clone(context, &place),
        });
        let opened = several.take(store)?;
        targets.extend(opened.map(|(store, place)| Target { place, store }));
    }
    let interrupted = interruption()?;
    let mut data = Data::begin()?;
    let results = match args.update {
        true => update_all(context, &*source, &targets, &interrupted)?,
        false => clone_all(context, &*source, &location, &targets, &interrupted)?,
    };
    for (target, result) in targets.iter().zip(results) {
        let done = result.map_err(|e| if args.update { e.into() } else { not_made(&target.place, e) });
        let done = done.and_then(|report| tell(context, target, &report, args.update, &mut data));
        several.take(done)?;
    }
    data.end()?;
    several.end()
}

fn places(context: &Context, destinations: &[OsString]) -> Result<Vec<Location>> {
    if destinations.is_empty() {
        return Err(Failure::usage("clone: at least one destination is required"));
    }
    let places = destinations.iter().map(|typed| context.place(typed)).collect::<Result<Vec<_>>>()?;
    if let Some(place) = location::named_twice(&places) {
        return Err(Failure::usage(format!("clone: {place}: named twice")));
    }
    for place in &places {
        if let Some(outer) = places.iter().find(|outer| place.lies_in(outer)) {
            return Err(Failure::usage(format!(
                "clone: {place}: lies in {outer}, which is to be a copy, too"
            )));
        }
    }
    Ok(places)
}

/// The repository, through a type that cannot write to it, and where it is.
fn source(context: &Context) -> Result<(Arc<dyn ReadStore>, Location)> {
    let (source, location) = repo::open_store(context, &repo::location(context)?)?;
    let source: Arc<dyn ReadStore> = source;
    let locked = Locked::open(source.clone())?;
    context.local.refuse_downgrade(&location, locked.is_encrypted())?;
    if let Some(original) = context.local.original_of(&location, locked.replica().id) {
        repo::mind_twin(context, &location, &original, Purpose::Read)?;
    }
    Ok((source, location))
}

/// What is put into the repository's own folder would be taken for a part of it, or lost in it.
fn refuse_inside(place: &Location, source: &Location) -> Result<()> {
    if place.lies_in(source) {
        return Err(Failure::failed(format!("{place}: lies in the repository itself")));
    }
    Ok(())
}

fn missing(failure: Failure) -> Failure {
    match (failure.code, &failure.hint) {
        (Code::NoRepository, Some(_)) => failure.hint("'plakar clone' without -update makes a copy"),
        _ => failure,
    }
}

/// Makes copies. The source is read once for all that are of the same kind.
fn clone_all(
    context: &Context,
    source: &dyn ReadStore,
    location: &Location,
    targets: &[Target],
    interrupted: &AtomicBool,
) -> Result<Vec<Engine<CloneReport>>> {
    let mut kinds = BTreeMap::<Option<u32>, Vec<usize>>::new();
    for (at, target) in targets.iter().enumerate() {
        let like_source = std::mem::discriminant(&target.place) == std::mem::discriminant(location);
        let pack_bytes = (!like_source).then(|| room::pack_bytes(&target.place));
        kinds.entry(pack_bytes).or_default().push(at);
    }
    let mut results = BTreeMap::new();
    for (pack_bytes, of_kind) in kinds {
        let options = CloneOptions { now: now().secs, workers: context.workers, pack_bytes };
        let stores: Vec<_> = of_kind.iter().map(|at| &*targets[*at].store).collect();
        let mut progress = context.output.progress();
        let done = clone(
            source,
            &stores,
            &options,
            &mut |problem| context.output.damage(problem),
            &mut |done| progress.show(|| shown(done)),
            interrupted,
        );
        drop(progress);
        results.extend(of_kind.into_iter().zip(done.map_err(given_up)?));
    }
    Ok(results.into_values().collect())
}

/// Brings copies up to date, one after the other. Only an interruption ends them all.
fn update_all(
    context: &Context,
    source: &dyn ReadStore,
    targets: &[Target],
    interrupted: &AtomicBool,
) -> Result<Vec<Engine<CloneReport>>> {
    let options = CloneOptions { now: now().secs, workers: context.workers, pack_bytes: None };
    let mut results = Vec::new();
    for target in targets {
        let mut progress = context.output.progress();
        let done = update(
            source,
            &*target.store,
            &options,
            &mut |problem| context.output.damage(problem),
            &mut |done| progress.show(|| shown(done)),
            interrupted,
        );
        results.push(match done {
            Err(e @ Error::Interrupted) => return Err(given_up(e)),
            done => done,
        });
    }
    Ok(results)
}

fn shown(done: CloneProgress) -> String {
    let (read, known) = (format::size(done.bytes), format::size(done.bytes_known));
    format!("{} of {} objects, {read} of {known}", done.objects, done.objects_known)
}

/// Why no copy was completed.
fn given_up(error: Error) -> Failure {
    match error {
        Error::Interrupted => Failure::failed("interrupted; the same command goes on with what was begun"),
        error => error.into(),
    }
}

/// Why a copy was not made. That there is none yet where it was to be is no news.
fn not_made(place: &Location, error: Error) -> Failure {
    match error {
        Error::AlreadyThere(_) => room::occupied_by_repository(place),
        Error::Unfinished(_) => Failure { code: Code::Failed, ..error.into() },
        error => error.into(),
    }
}

fn tell(
    context: &Context,
    target: &Target,
    report: &CloneReport,
    updated: bool,
    data: &mut Data,
) -> Result<()> {
    let (output, place) = (&context.output, &target.place);
    let locked = Locked::open(target.store.clone())?;
    if !updated {
        // The user made another repository here, whatever was here before.
        context.local.forget(place)?;
        repo::meet_locked(context, place, &locked)?;
    }
    if !report.stale_key_slots.is_empty() {
        let slots = report.stale_key_slots.join(" ");
        let what = "has key slots that the source has no longer: what opened it opens it still";
        output.warning(&format!("{place}: {what}; 'plakar on {place} key rm {slots}' removes them"));
    }
    let done = if updated { "updated" } else { "cloned to" };
    let (objects, bytes, already) = (report.objects, format::size(report.bytes), report.already);
    output.summary(&format!("{done} {place}: {objects} objects, {bytes}; {already} were there"));
    if output.json {
        let replica = locked.replica();
        data.json(&json!({
            "location": place.text(),
            "replica": replica.id.hex(),
            "origin": replica.origin.map(|origin| origin.hex()),
            "objects": objects,
            "bytes": report.bytes,
            "already": already,
            "damaged": report.damaged,
            "stale_key_slots": report.stale_key_slots,
        }))?;
    }
    Ok(())
}
