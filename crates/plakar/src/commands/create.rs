//! `plakar create`.

use crate::args::{Chunker, Compression, Create};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::{local, passphrase, repo};
use plakar_engine::Error;
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::repository::{Encryption, Locked, Options, PACK_BYTES_DEFAULT, create};
use plakar_store::{DirStore, ErrorKind};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Creates a repository at each location. All are looked at before the first is made.
pub fn run(context: &Context, args: &Create) -> Result<Code> {
    let places = places(context, args)?;
    for place in &places {
        refuse_unless_free(place)?;
    }
    let passphrase = match args.no_encryption {
        true => None,
        false => Some(context.passphrase().choose("repository passphrase")?),
    };
    let encryption =
        passphrase.as_ref().map(|passphrase| Encryption { passphrase, label: "", cost: passphrase::cost() });
    let kind = args.chunker.map(|chunker| match chunker {
        Chunker::Fastcdc => ChunkerKind::FastCdc,
        Chunker::Prf => ChunkerKind::Prf,
    });
    let options = Options {
        encryption,
        chunker: kind.map(ChunkerParams::with_default_sizes),
        compression: level(if args.no_compression { Compression::None } else { args.compression }),
        pack_bytes: PACK_BYTES_DEFAULT,
        now: now().secs,
    };
    let mut data = Data::begin()?;
    for place in &places {
        let made = make(context, place, &options)?;
        if context.output.json {
            data.json(&json!({
                "location": made.path.to_string_lossy(),
                "replica": made.replica,
                "domain": made.domain,
                "encrypted": options.encryption.is_some(),
            }))?;
        }
        context.output.note(&format!("created repository {}", made.path.display()));
    }
    data.end()?;
    Ok(Code::Done)
}

fn places(context: &Context, args: &Create) -> Result<Vec<PathBuf>> {
    if !args.locations.is_empty() {
        if context.on {
            return Err(Failure::usage("the repository to create is named twice"));
        }
        return args.locations.iter().map(|location| repo::folder_of(location)).collect();
    }
    let place = repo::folder(context)?;
    if context.repository.is_none() {
        let above = place.parent().expect("the default place lies in a folder");
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

/// Looks whether something is in the way before a passphrase is asked for.
fn refuse_unless_free(place: &Path) -> Result<()> {
    let empty = std::fs::read_dir(place).map(|mut entries| entries.next().is_none());
    match empty {
        Ok(false) => Err(occupied(place)),
        // What else is wrong shows when it is made.
        _ => Ok(()),
    }
}

/// What to say of a folder that is not empty.
fn occupied(place: &Path) -> Failure {
    let there = DirStore::open(place).map_err(Error::from).and_then(|store| Locked::open(Arc::new(store)));
    let shown = place.display();
    match there {
        Ok(_) => Failure::failed(format!("{shown}: there is a repository already")),
        Err(e @ Error::Unfinished(_)) => Failure { code: Code::Failed, ..e.into() },
        Err(_) => Failure::failed(format!("{shown}: the folder is not empty")),
    }
}

struct Made {
    path: PathBuf,
    replica: String,
    domain: String,
}

fn make(context: &Context, place: &Path, options: &Options<'_>) -> Result<Made> {
    let store = DirStore::create(place).map_err(|e| match e.kind() {
        ErrorKind::Exists => occupied(place),
        ErrorKind::NotFound => {
            Failure::failed(format!("{}: the folder above it is missing", place.display()))
        }
        _ => e.into(),
    })?;
    let path = store.path().to_owned();
    let store = repo::watched(store, context);
    create(&*store, options).map_err(|e| Failure { code: Code::Failed, ..e.into() })?;
    // The user made another repository here, whatever was here before.
    context.local.forget(&path)?;
    let passphrase = options.encryption.as_ref().map(|encryption| encryption.passphrase);
    let unlocked = Locked::open(store)?.unlock(passphrase)?;
    let (replica, domain) = (unlocked.replica().id, unlocked.config().domain);
    context.local.meet(&path, replica, domain, passphrase.is_some(), &context.output)?;
    Ok(Made { path, replica: replica.hex(), domain: domain.hex() })
}
