//! `plakar status`: which snapshots are where, and when they were proven there.

use super::ls::{snapshot_json, snapshot_line};
use super::sync::identified;
use crate::args::Status;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::format;
use crate::location;
use crate::output::Data;
use crate::peer::{Peer, Secrets};
use crate::repo::{self, Purpose};
use crate::several::Several;
use crate::verified::Verified;
use plakar_engine::log::state::Snapshot;
use plakar_engine::repository::Repository;
use plakar_engine::sync::Identity;
use serde_json::json;
use std::collections::BTreeMap;

/// A repository that is looked at.
struct Side<'a> {
    name: &'a str,
    repository: &'a Repository,
    verified: Verified,
}

/// A snapshot, and where it is: numbers of sides, with when it was proven there.
struct Known<'a> {
    snapshot: Snapshot<'a>,
    places: Vec<(usize, Option<i64>)>,
}

/// Lists the snapshots of this repository and of all peers.
pub fn run(context: &Context, args: &Status) -> Result<Code> {
    location::refuse_twice("status", &context.places(&args.peers))?;
    let place = repo::unlock(context, Purpose::Read)?;
    let here = place.open(context)?;
    let secrets = Secrets::of(&args.keys);
    let mut several = Several::new(&context.output);
    let mut peers = Vec::new();
    for typed in &args.peers {
        peers.extend(several.take(Peer::open(context, &place, typed, Purpose::Read, &secrets))?);
    }
    let all = std::iter::once(("here", &here));
    let all = all.chain(peers.iter().map(|peer| (peer.name.as_str(), &peer.repository)));
    let sides: Vec<_> = all
        .map(|(name, repository)| Side {
            name,
            repository,
            verified: context.local.verified(repository.base().replica().id),
        })
        .collect();
    let mut data = Data::begin()?;
    for known in everywhere(&sides) {
        match context.output.json {
            true => {
                let mut value = snapshot_json(&known.snapshot);
                let place = |(side, verified): &(usize, Option<i64>)| {
                    let here = *side == 0;
                    let location = if here { place.location.text() } else { sides[*side].name.into() };
                    json!({ "location": location, "here": here, "verified": verified.map(format::time) })
                };
                value["places"] = known.places.iter().map(place).collect();
                data.json(&value)?;
            }
            false => data.line(&line(&sides, &known))?,
        }
    }
    data.end()?;
    several.end()
}

/// All snapshots there are at any side, oldest first.
fn everywhere<'a>(sides: &[Side<'a>]) -> Vec<Known<'a>> {
    let mut known = BTreeMap::<Identity, Known<'a>>::new();
    for (number, side) in sides.iter().enumerate() {
        for (identity, snapshot) in identified(side.repository) {
            let verified = side.verified.when(&identity);
            let known = known.entry(identity).or_insert(Known { snapshot, places: Vec::new() });
            // Published twice at one side it is there once.
            if known.places.last().is_none_or(|(last, _)| *last != number) {
                known.places.push((number, verified));
            }
        }
    }
    let mut known: Vec<_> = known.into_values().collect();
    known.sort_by_key(|known| (known.snapshot.row.created, known.snapshot.row.uuid));
    known
}

fn line(sides: &[Side], known: &Known) -> String {
    let places = known.places.iter().map(|(side, verified)| match verified {
        Some(secs) => format!("{} (verified {})", sides[*side].name, format::date(*secs)),
        None => format!("{} (never verified)", sides[*side].name),
    });
    format!("{}  {}", snapshot_line(&known.snapshot), places.collect::<Vec<_>>().join(", "))
}
