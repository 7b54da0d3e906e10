//! `plakar info`: what there is to know about the repository, or about snapshots.

use super::ls::snapshot_json;
use super::version::FORMAT;
use crate::args::Info;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::repo::{Place, Purpose};
use crate::{refs, repo};
use plakar_engine::chunker::ChunkerKind;
use plakar_engine::crypto::seal::Suite;
use plakar_engine::log::state::Snapshot;
use plakar_engine::repository::Repository;
use plakar_store::ReadStore;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

/// Prints lines of `Name: value`.
pub fn run(context: &Context, args: &Info) -> Result<Code> {
    let place = repo::unlock(context, Purpose::Read)?;
    let repository = place.open(context)?;
    let mut data = Data::begin()?;
    if args.references.is_empty() {
        about_repository(context, &place, &repository, &mut data)?;
    } else {
        let snapshots = repository.state().snapshots();
        let references = refs::resolve(&snapshots, &args.references)?;
        if references.iter().any(|reference| reference.path.is_some()) {
            return Err(Failure::usage("info tells about whole snapshots: leave out ':PATH'"));
        }
        for (at, reference) in references.iter().enumerate() {
            match context.output.json {
                true => data.json(&snapshot_json(&reference.snapshot))?,
                false => {
                    if at > 0 {
                        data.line("")?;
                    }
                    about_snapshot(&reference.snapshot, &mut data)?;
                }
            }
        }
    }
    data.end()?;
    Ok(Code::Done)
}

fn about_snapshot(snapshot: &Snapshot<'_>, data: &mut Data) -> Result<()> {
    let row = snapshot.row;
    let totals = row.root.totals;
    let text = |text: &str| format::printable(text.as_bytes());
    let roots: Vec<_> = row.roots.iter().map(|root| format::printable(&root.0)).collect();
    let tags: Vec<_> = row.tags.iter().map(|tag| text(tag)).collect();
    for (name, value) in [
        ("Uuid", row.uuid_text()),
        ("CreationTime", format::time(row.created.secs)),
        ("Duration", format!("{:.3}s", row.took_ms as f64 / 1000.0)),
        ("Version", text(&row.tool)),
        ("Hostname", text(&row.host)),
        ("Username", text(&row.user)),
        ("CommandLine", text(&row.command)),
        ("Roots", roots.join(", ")),
        ("Tags", tags.join(", ")),
        ("Directories", totals.directories.to_string()),
        ("Files", totals.files.to_string()),
        ("Errors", totals.errors.to_string()),
        ("Size", format::size_and_bytes(totals.bytes)),
    ] {
        data.line(format!("{name}: {value}").trim_end())?;
    }
    Ok(())
}

/// Number and length of the objects of one kind.
#[derive(Default, Clone, Copy)]
struct Objects {
    number: u64,
    bytes: u64,
}

fn about_repository(
    context: &Context,
    place: &Place,
    repository: &Repository,
    data: &mut Data,
) -> Result<()> {
    let (replica, config) = (place.unlocked.replica(), place.unlocked.config());
    let snapshots = repository.state().snapshots();
    let logical =
        snapshots.iter().fold(0u64, |sum, snapshot| sum.saturating_add(snapshot.row.root.totals.bytes));
    let stored = stored(&*place.store)?;
    let all = stored.values().fold(0, |sum, objects| sum + objects.bytes);
    let encryption = match config.suite() {
        Some(Suite::Plain) | None => "no",
        Some(Suite::Xaes) => "XAES-256-GCM",
    };
    let chunker = config.chunker().map(|params| {
        let kind = match params.kind {
            ChunkerKind::FastCdc => "fastcdc",
            ChunkerKind::Prf => "prf",
        };
        (kind, params.min, params.avg, params.max)
    });
    let (kind, min, avg, max) = chunker.unwrap_or(("unknown", 0, 0, 0));
    if context.output.json {
        let stored: serde_json::Map<_, _> = stored
            .iter()
            .map(|(kind, o)| (kind.clone(), json!({ "objects": o.number, "bytes": o.bytes })))
            .collect();
        return data.json(&json!({
            "location": place.location.text(),
            "replica": replica.id.hex(),
            "domain": config.domain.hex(),
            "created": format::time(replica.created),
            "origin": replica.origin.map(|origin| origin.hex()),
            "origin_location": replica.origin_location,
            "format": FORMAT,
            "encrypted": config.suite() == Some(Suite::Xaes),
            "compression": config.compression,
            "chunker": { "kind": kind, "min": min, "avg": avg, "max": max },
            "pack_bytes": replica.pack_bytes,
            "snapshots": snapshots.len(),
            "size": logical,
            "stored_bytes": all,
            "stored": stored,
        }));
    }
    let compression = match config.compression {
        0 => "no".to_owned(),
        level => format!("zstd level {level}"),
    };
    let mut lines = vec![
        ("Location", format::printable(place.location.name().as_bytes())),
        ("RepositoryID", replica.id.hex()),
        ("DomainID", config.domain.hex()),
        ("CreationTime", format::time(replica.created)),
        ("Version", FORMAT.to_string()),
        ("Encryption", encryption.to_owned()),
        ("Compression", compression),
        ("Chunker", format!("{kind}, chunks of {} to {} KiB, about {}", min >> 10, max >> 10, avg >> 10)),
        ("Snapshots", snapshots.len().to_string()),
        ("Size", format::size_and_bytes(logical)),
        ("Stored", format::size_and_bytes(all)),
    ];
    if let Some(origin) = replica.origin {
        let place = replica
            .origin_location
            .as_ref()
            .map(|place| format!(" at {}", format::printable(place.as_bytes())));
        lines.insert(2, ("Origin", origin.hex() + &place.unwrap_or_default()));
    }
    let of = |kind: &str| stored.get(kind).copied().unwrap_or_default();
    let shown = |objects: Objects| format!("{} in {} objects", format::size(objects.bytes), objects.number);
    lines.push(("Packs", shown(of("packs"))));
    lines.push(("Index", shown(of("index"))));
    let (log, admin) = (of("log"), of("admin"));
    lines.push(("Log", shown(Objects { number: log.number + admin.number, bytes: log.bytes + admin.bytes })));
    for (name, value) in lines {
        data.line(&format!("{name}: {value}"))?;
    }
    Ok(())
}

/// What is stored, by the first part of the objects' names.
fn stored(store: &dyn ReadStore) -> Result<BTreeMap<String, Objects>> {
    let mut stored = BTreeMap::<String, Objects>::new();
    store.list("", &mut |object| {
        let kind = object.name.as_str().split('/').next().unwrap_or_default();
        let objects = stored.entry(kind.to_owned()).or_default();
        objects.number += 1;
        objects.bytes += object.len;
        Ok(())
    })?;
    Ok(stored)
}
