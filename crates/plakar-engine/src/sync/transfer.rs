//! Sending one snapshot within a domain: what the destination lacks, in blocks that are not sealed anew.

use super::blocks::{ASKED_MAX, Blocks, Proven, Wanted, is_most};
use super::lost::Lost;
use super::walk::Walk;
use super::{Moving, Run};
use crate::block::{ItemId, ItemKind, SealedBlock};
use crate::error::Result;
use std::collections::HashSet;

/// So many items are looked for, and sent, together.
const BATCH_MAX: usize = 1 << 15;

/// Stores what a walk finds and the destination lacks, while the walk goes on.
pub fn transfer(run: &mut Run, blocks: &Blocks, walk: Walk, moving: &mut Moving) -> Result<Lost> {
    let (mut batch, mut nodes) = (Vec::new(), 0);
    let mut lost = Lost::default();
    for wave in &walk.waves {
        run.stop_if_interrupted(moving)?;
        let wave = wave?;
        nodes += wave.iter().filter(|wanted| wanted.item.kind == ItemKind::Node).count();
        batch.extend(wave);
        if batch.len() >= BATCH_MAX || nodes >= blocks.nodes_kept() {
            let lacking = lacking(std::mem::take(&mut batch), moving)?;
            send(run, blocks, lacking, moving, &mut lost)?;
            nodes = 0;
        }
    }
    let lacking = lacking(batch, moving)?;
    send(run, blocks, lacking, moving, &mut lost)?;
    lost.append(walk.lost());
    Ok(lost)
}

/// What of `items` the destination lacks, each once.
fn lacking(items: Vec<Wanted>, moving: &mut Moving) -> Result<Vec<Wanted>> {
    let (mut seen, mut lacking) = (HashSet::new(), Vec::new());
    for some in items.chunks(ASKED_MAX) {
        moving.session.prefetch(&some.iter().map(|wanted| wanted.item).collect::<Vec<_>>());
        for wanted in some {
            if seen.insert(wanted.item) && !moving.session.has(&wanted.item)? {
                lacking.push(*wanted);
            }
        }
    }
    Ok(lacking)
}

fn send(
    run: &mut Run,
    blocks: &Blocks,
    batch: Vec<Wanted>,
    moving: &mut Moving,
    lost: &mut Lost,
) -> Result<()> {
    let (groups, mut slow) = blocks.group(batch);
    let mut failed = Vec::new();
    blocks.fetch(groups, run.options.workers, &mut |group, proven| {
        run.stop_if_interrupted(moving)?;
        match proven {
            Ok(proven) => slow.extend(store(proven, group.wanted, moving)?),
            Err(e) => {
                let wanted = group.wanted.into_iter().map(|(_, wanted)| wanted);
                slow.extend(wanted);
                failed.push(e);
            }
        }
        run.stored(moving)
    })?;
    // That one place failed is not the end: there may be others, here or where a cleanup has put it meanwhile.
    if let Some(e) = failed.pop() {
        blocks.lost(e)?;
    }
    for wanted in slow {
        match blocks.item(&wanted.item) {
            Ok(bytes) => {
                if !moving.session.has(&wanted.item)? {
                    moving.session.put_item(wanted.owner, wanted.item, &bytes)?;
                }
            }
            Err(e) => lost.add(wanted.item, blocks.lost(e)?),
        }
        run.stored(moving)?;
    }
    Ok(())
}

/// Stores what is wanted of a block: all of it as it is when most is wanted. Returns what it does not hold.
fn store(proven: Proven, wanted: Vec<(u16, Wanted)>, moving: &mut Moving) -> Result<Vec<Wanted>> {
    let holds = |(ordinal, wanted): &(u16, Wanted)| {
        let found =
            proven.items.get(usize::from(*ordinal)).map(|(id, _)| ItemId { kind: proven.kind, id: *id });
        found == Some(wanted.item)
    };
    let (held, not): (Vec<_>, Vec<_>) = wanted.into_iter().partition(holds);
    let Proven { sealed, items, block, kind, epoch } = proven;
    match block {
        Some(block) if !is_most(&held, &items) || !moving.session.can_open(epoch) => {
            for (ordinal, wanted) in &held {
                let bytes = block.bytes(usize::from(*ordinal)).expect("it was found there");
                moving.counts.items += 1;
                moving.session.put_item(wanted.owner, wanted.item, bytes)?;
            }
        }
        _ if moving.session.can_open(epoch) => {
            moving.counts.blocks += 1;
            moving.counts.items += items.len() as u64;
            moving.session.put_sealed(SealedBlock { kind, epoch, items, bytes: sealed })?;
        }
        // Not to be opened there as it is, nor opened here: the slow way.
        _ => return Ok(not.into_iter().chain(held).map(|(_, wanted)| wanted).collect()),
    }
    Ok(not.into_iter().map(|(_, wanted)| wanted).collect())
}
