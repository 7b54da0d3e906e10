//! `sync -dry-run`: what would be moved. Nothing is changed, at either side.

use super::chosen::Chosen;
use super::transfer::{Way, snapshots, with};
use super::words::Direction;
use crate::commands::ls::{snapshot_json, snapshot_line};
use crate::context::Context;
use crate::exit::Result;
use crate::format;
use crate::output::Data;
use crate::peer::Peer;
use plakar_engine::log::fact::uuid_text;
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Selection, estimate};
use serde_json::json;
use std::sync::atomic::AtomicBool;

/// Prints the plan of each peer and direction. What would come from one peer and go on to another is not in it.
pub fn run(
    context: &Context,
    here: &Repository,
    peers: &[Peer],
    direction: Direction,
    chosen: &Chosen,
    selection: &Selection,
    interrupted: &AtomicBool,
) -> Result<()> {
    let mut data = Data::begin()?;
    for peer in peers {
        let there = &peer.repository;
        for (way, source, destination) in [(Direction::From, there, here), (Direction::To, here, there)] {
            if direction == way || direction == Direction::With {
                let selection = Selection { only: chosen.sessions(source), ..selection.clone() };
                let way = Way { direction: way, peer: &peer.name };
                plan(context, &way, source, destination, &selection, interrupted, &mut data)?;
            }
        }
    }
    data.end()
}

fn plan(
    context: &Context,
    way: &Way,
    source: &Repository,
    destination: &Repository,
    selection: &Selection,
    interrupted: &AtomicBool,
    data: &mut Data,
) -> Result<()> {
    let (plan, estimates) = estimate(source, destination, selection, interrupted)?;
    let (mut items, mut bytes, mut requests) = (0, 0, 0);
    for ((_, snapshot), estimate) in plan.missing.iter().zip(&estimates) {
        items += estimate.items;
        bytes += estimate.bytes;
        requests += estimate.requests;
        if context.output.json {
            let estimate =
                json!({ "items": estimate.items, "bytes": estimate.bytes, "requests": estimate.requests });
            let cost = with(json!({ "result": "missing" }), estimate);
            let snapshot = json!({ "snapshot": snapshot.row.uuid_text(), "row": snapshot_json(snapshot) });
            data.json(&with(way.json(), with(snapshot, cost)))?;
        } else {
            data.line(&snapshot_line(snapshot))?;
        }
    }
    let removals: Vec<_> = plan.to_remove.iter().map(|(_, uuid)| uuid_text(uuid)).collect();
    let missing = plan.missing.len() as u64;
    if context.output.json {
        let conflicts: Vec<_> = plan.conflicts.iter().map(uuid_text).collect();
        let all = json!({
            "dry_run": true,
            "snapshots": missing,
            "items": items,
            "bytes": bytes,
            "requests": requests,
            "present": plan.present,
            "removed_there": plan.removed_there.len(),
            "to_remove": removals,
            "conflicts": conflicts,
        });
        return data.json(&with(way.json(), all));
    }
    for uuid in removals {
        data.line(&format!("{uuid}: would be removed {}", way.destination()))?;
    }
    let verb = if way.direction == Direction::From { "receive" } else { "send" };
    let (moved, peer) = (format::size(bytes), way.peer);
    let missing = snapshots(missing);
    data.line(&format!("{peer}: would {verb} {missing}: {items} items, {moved}, {requests} requests"))
}
