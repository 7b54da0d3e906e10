//! `plakar create`.

use crate::args::{Chunker, Compression, Create};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::location::Location;
use crate::output::Data;
use crate::{local, passphrase, repo, room};
use plakar_engine::Error;
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::clone::{CloneOptions, create_like};
use plakar_engine::repository::{Encryption, Locked, Options, PACK_BYTES_DEFAULT, create};
use plakar_store::ReadStore;
use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// Creates a repository at each location. All are looked at before the first is made.
pub fn run(context: &Context, args: &Create) -> Result<Code> {
    let places = places(context, args)?;
    for place in &places {
        room::refuse_unless_free(context, place)?;
    }
    if let Some(peer) = &args.like {
        return create_like_peer(context, peer, &places);
    }
    let passphrase = match args.no_encryption {
        true => None,
        false => Some(passphrase_source(context, args)?.choose("repository passphrase")?),
    };
    let encryption =
        passphrase.as_ref().map(|passphrase| Encryption { passphrase, label: "", cost: passphrase::cost() });
    let kind = args.chunker.map(|chunker| match chunker {
        Chunker::Fastcdc => ChunkerKind::FastCdc,
        Chunker::Prf => ChunkerKind::Prf,
    });
    let mut options = Options {
        encryption,
        chunker: kind.map(ChunkerParams::with_default_sizes),
        compression: level(if args.no_compression { Compression::None } else { args.compression }),
        pack_bytes: PACK_BYTES_DEFAULT,
        now: now().secs,
    };
    let mut data = Data::begin()?;
    for place in &places {
        options.pack_bytes = room::pack_bytes(place);
        make(context, place, &options, &mut data)?;
    }
    data.end()?;
    Ok(Code::Done)
}

/// Where the passphrase comes from; of several repositories, which are to have the same, not from what is written for one.
fn passphrase_source(context: &Context, args: &Create) -> Result<passphrase::Source> {
    match &args.locations[..] {
        [] => context.passphrase(context.named()?),
        [one] => context.passphrase(Some(one)),
        _ => context.passphrase(None),
    }
}

/// Creates empty repositories that share everything with a peer but what is in it. Needs no passphrase.
fn create_like_peer(context: &Context, peer: &OsStr, places: &[Location]) -> Result<Code> {
    let no_hint = |failure| Failure { hint: None, ..failure };
    let (peer, at) = repo::open_store(context, &context.place(peer)?).map_err(no_hint)?;
    let peer: Arc<dyn ReadStore> = peer;
    let locked = Locked::open(peer.clone()).map_err(|e| no_hint(e.into()))?;
    context.local.refuse_downgrade(&at, locked.is_encrypted())?;
    if let Some(place) = places.iter().find(|place| place.lies_in(&at)) {
        return Err(Failure::failed(format!("{place}: lies in the repository that it is to be like")));
    }
    let mut data = Data::begin()?;
    for place in places {
        let (store, place) = room::make(context, place)?;
        let pack_bytes = Some(room::pack_bytes(&place));
        let options = CloneOptions { now: now().secs, workers: context.workers, pack_bytes };
        create_like(&*peer, &*store, &options).map_err(not_made)?;
        context.local.forget(&place)?;
        let locked = Locked::open(store)?;
        repo::meet_locked(context, &place, &locked)?;
        tell(context, &place, &locked, &mut data)?;
    }
    data.end()?;
    Ok(Code::Done)
}

/// Why a repository was not made. What it was to be like may be damaged; that there is none where it was to be is no news.
fn not_made(error: Error) -> Failure {
    let failure = Failure::from(error);
    match failure.code {
        Code::NoRepository => Failure { code: Code::Failed, ..failure },
        _ => failure,
    }
}

fn tell(context: &Context, place: &Location, made: &Locked, data: &mut Data) -> Result<()> {
    if context.output.json {
        data.json(&json!({
            "location": place.text(),
            "replica": made.replica().id.hex(),
            "domain": made.config().domain.hex(),
            "encrypted": made.is_encrypted(),
        }))?;
    }
    context.output.note(&format!("created repository {place}"));
    Ok(())
}

fn places(context: &Context, args: &Create) -> Result<Vec<Location>> {
    if !args.locations.is_empty() {
        if context.on {
            return Err(Failure::usage("the repository to create is named twice"));
        }
        return args.locations.iter().map(|location| context.place(location)).collect();
    }
    let place = repo::location(context)?;
    if context.named()?.is_none() {
        let above = place.path().and_then(Path::parent).expect("the default place lies in a folder");
        local::make_folder(above).map_err(|e| Failure::io(above, &e))?;
    }
    Ok(vec![place])
}

/// The zstd level of each choice.
fn level(compression: Compression) -> u8 {
    match compression {
        Compression::Fast => 1,
        Compression::Default => 3,
        Compression::Small => 9,
        Compression::None => 0,
    }
}

fn make(context: &Context, place: &Location, options: &Options<'_>, data: &mut Data) -> Result<()> {
    let (store, place) = room::make(context, place)?;
    create(&*store, options).map_err(|e| Failure { code: Code::Failed, ..e.into() })?;
    // The user made another repository here, whatever was here before.
    context.local.forget(&place)?;
    let locked = Locked::open(store.clone())?;
    repo::meet_locked(context, &place, &locked)?;
    // That it opens is worth knowing before anything is trusted to it.
    Locked::open(store)?.unlock(options.encryption.as_ref().map(|encryption| encryption.passphrase))?;
    tell(context, &place, &locked, data)
}
