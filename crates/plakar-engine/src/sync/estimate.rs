//! What a sync would move, without moving it.

use super::blocks::{Blocks, Wanted};
use super::diff::Diff;
use super::lost::Lost;
use super::plan::{CommonGround, Plan, Selection};
use crate::block::ItemId;
use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::read::{CACHE_BYTES_DEFAULT, Reader};
use crate::repository::Repository;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Facts that a session puts: a first Prepared, the last one, a Final; and the segment.
const FACTS: u64 = 4;

/// What one snapshot would cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Chunks and nodes that the destination lacks. Into another domain: that neither side's common snapshots have.
    pub items: u64,
    /// Sealed bytes of the blocks they are in at the source: what is read, and about what is stored.
    pub bytes: u64,
    /// Requests to read them and to store them, those to find them out not counted.
    pub requests: u64,
}

/// Finds out what [`sync`](super::sync) would do. Reads trees at the source and the index at the destination, and no
/// content.
///
/// # Errors
/// As a sync; but what the source lacks is not found out.
pub fn estimate<'a>(
    source: &'a Repository,
    destination: &Repository,
    selection: &Selection,
    interrupted: &AtomicBool,
) -> Result<(Plan<'a>, Vec<Estimate>)> {
    let plan = Plan::new(source, destination, selection);
    let mut ground = CommonGround::new(source, destination);
    let reader = Reader::new(source, CACHE_BYTES_DEFAULT);
    let there = (source.base.config.domain == destination.base.config.domain).then_some(destination);
    let mut sent = HashSet::new();
    let mut estimates = Vec::new();
    for (_, snapshot) in &plan.missing {
        let root = snapshot.row.root.node;
        let blocks = Blocks::new(&source.base, &reader);
        let mut diff = Diff::new(root, ground.nearest(snapshot.row).map(|base| base.source));
        let mut estimate = Estimate::default();
        let (mut more, mut missing) = (true, Vec::new());
        while more {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let mut wave = Vec::new();
            more = diff.wave(&blocks, &mut wave, &mut Lost::default())?;
            for wanted in wave {
                if sent.insert(wanted.item.prefix()) && !there.is_some_and(|there| has(there, &wanted.item)) {
                    missing.push(wanted);
                }
            }
            if missing.len() >= 1 << 16 || !more {
                estimate.add(std::mem::take(&mut missing), &blocks);
            }
        }
        let packs = estimate.bytes.div_ceil(destination.base.replica.pack_bytes.into());
        estimate.requests += packs + FACTS;
        estimates.push(estimate);
        // As if it had been sent.
        ground.add(snapshot.row, SessionId::default(), root);
    }
    Ok((plan, estimates))
}

fn has(there: &Repository, item: &ItemId) -> bool {
    let view = &there.state.view;
    let places = there.index.find(item).unwrap_or_default();
    places.iter().any(|place| view.may_rely(place.pack) && !view.bad(place.pack, place.offset))
}

impl Estimate {
    fn add(&mut self, missing: Vec<Wanted>, blocks: &Blocks) {
        self.items += missing.len() as u64;
        let (groups, _) = blocks.group(missing);
        let (bytes, runs) = Blocks::size(&groups);
        self.bytes += bytes;
        self.requests += runs;
    }
}
