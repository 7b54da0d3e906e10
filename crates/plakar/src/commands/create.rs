//! `plakar create`.

use crate::args::{Chunker, Compression, Create};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::location::Location;
use crate::output::Data;
use crate::repo::Purpose;
use crate::{local, passphrase, repo, room};
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::repository::{Encryption, Locked, Options, PACK_BYTES_DEFAULT, create};
use serde_json::json;

/// Creates a repository at each location. All are looked at before the first is made.
pub fn run(context: &Context, args: &Create) -> Result<Code> {
    let places = places(context, args)?;
    for place in &places {
        room::refuse_unless_free(place)?;
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
        let made = make(context, place, &options)?;
        if context.output.json {
            data.json(&json!({
                "location": made.place.to_string(),
                "replica": made.replica,
                "domain": made.domain,
                "encrypted": options.encryption.is_some(),
            }))?;
        }
        context.output.note(&format!("created repository {}", made.place));
    }
    data.end()?;
    Ok(Code::Done)
}

fn places(context: &Context, args: &Create) -> Result<Vec<Location>> {
    if !args.locations.is_empty() {
        if context.on {
            return Err(Failure::usage("the repository to create is named twice"));
        }
        return args.locations.iter().map(|location| Location::parse(location)).collect();
    }
    let place = repo::location(context)?;
    if context.repository.is_none() {
        let above = place.path().parent().expect("the default place lies in a folder");
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

struct Made {
    place: Location,
    replica: String,
    domain: String,
}

fn make(context: &Context, place: &Location, options: &Options<'_>) -> Result<Made> {
    let (store, place) = room::make(context, place)?;
    create(&*store, options).map_err(|e| Failure { code: Code::Failed, ..e.into() })?;
    // The user made another repository here, whatever was here before.
    context.local.forget(&place)?;
    let passphrase = options.encryption.as_ref().map(|encryption| encryption.passphrase);
    let unlocked = Locked::open(store)?.unlock(passphrase)?;
    repo::meet(context, &place, &unlocked, Purpose::Write)?;
    let (replica, domain) = (unlocked.replica().id, unlocked.config().domain);
    Ok(Made { place, replica: replica.hex(), domain: domain.hex() })
}
