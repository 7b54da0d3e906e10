//! When everybody has gone.

use super::deeds::{Quiet, cleanup_options, copied, sync_options};
use super::disk::Object;
use super::world::World;
use crate::source::Random;
use crate::syncing::{Syncing, sync_stores};
use crate::world::open;
use plakar_engine::Result;
use plakar_engine::cleanup::cleanup;
use plakar_engine::heal::{HealReport, heal};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::repair::{RepairOptions, repair};
use plakar_store::{MemoryStore, Name, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The power is cut once more, and then everything works: what has rotted is mended, each store is cleaned up, and gives
/// the others all it has.
pub fn end(world: &mut World) {
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for disk in 0..world.disks.len() {
        world.draws_for(u64::MAX, disk as u64);
        let mut random = Random(world.random.number());
        world.disks[disk].crash(&mut random);
        world.look_at(disk, true, "in the end");
        let objects = world.disks[disk].frozen().0.into_iter();
        let objects = objects.map(|(name, bytes)| (name, bytes.to_vec()));
        stores.push(Arc::new(MemoryStore::from_snapshot(objects.collect())));
    }
    // A read that lied may have made somebody note that something is bad that is not.
    if world.loss.is_some() || world.lies() {
        return;
    }
    let repositories = world.repositories(world.clone);
    let mended = repositories.iter().all(|disk| !world.rotten[*disk] || mended(world, &stores, *disk));
    if !mended || world.loss.is_some() {
        return;
    }
    for (at, disk) in repositories.iter().enumerate() {
        let other = repositories[(at + 1) % repositories.len()];
        if let Err(why) = tidied(&stores[*disk], &stores[other]) {
            world.loss = Some(format!("store {disk} {why} in the end"));
            return;
        }
        look(world, &stores, *disk, "after the last cleanup");
    }
    let Some(disk) = world.clone.filter(|disk| !world.rotten[*disk]) else { return };
    let safe = world.ledgers[0].acknowledged().clone();
    let mut said = Vec::new();
    match copied(&*stores[0], &*stores[disk], &mut |what| said.push(what.to_owned())) {
        Ok(report) if report.damaged == 0 => world.has_cloned(disk, &safe, 0, world.tick),
        other => {
            world.loss = Some(format!("store {disk} cannot be made a clone in the end: {other:?}, {said:?}"));
        }
    }
    look(world, &stores, disk, "after the last clone");
}

fn look(world: &mut World, stores: &[Arc<dyn Store>], disk: usize, when: &str) {
    world.disks[disk].objects = objects_of(&*stores[disk]);
    world.look_at(disk, true, when);
}

/// Mends what has rotted from all others. When nothing is said to be lost then, all must be whole.
fn mended(world: &mut World, stores: &[Arc<dyn Store>], disk: usize) -> bool {
    let store = &stores[disk];
    let author = Author { replica: world.replicas[disk], writer: WriterId([7; 16]) };
    let never = AtomicBool::new(false);
    let peers = world.repositories(Some(disk));
    let mend = || -> Result<HealReport> {
        let peers: Vec<_> = peers.iter().flat_map(|peer| open(stores[*peer].clone())).collect();
        let (healed, _) =
            heal(open(store.clone())?, store, &peers, &sync_options(author), &mut Quiet, &never)?;
        let options = RepairOptions { author, now: 1 << 40, grace: 0, fast: false, workers: 1 };
        let (repaired, _) = repair(open(store.clone())?, store, &options, &mut Quiet, &never)?;
        // What is repaired may show what was lost before.
        match repaired.lost {
            0 => Ok(healed),
            _ => Ok(heal(open(store.clone())?, store, &peers, &sync_options(author), &mut Quiet, &never)?.0),
        }
    };
    let is_whole = mend().is_ok_and(|report| report.lost == 0 && report.unmended == 0);
    world.rotten[disk] = !is_whole;
    world.tally.mended += u64::from(is_whole);
    look(world, stores, disk, "after the last heal");
    is_whole
}

/// Cleans up a store, and gives another what it has.
fn tidied(store: &Arc<dyn Store>, other: &Arc<dyn Store>) -> Result<(), String> {
    let never = AtomicBool::new(false);
    let cleaned = open(store.clone()).and_then(|repo| {
        let author = Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) };
        let options = cleanup_options(author, 1 << 40, 0, u64::MAX);
        cleanup(repo, store, &options, &mut Quiet, &never)
    });
    cleaned.map_err(|e| format!("cannot be cleaned up: {e}"))?;
    let (heard, result) = sync_stores(store.clone(), other, &Syncing::default());
    result.map_err(|e| format!("cannot be synced: {e}"))?;
    match heard.withheld.is_empty() {
        true => Ok(()),
        false => Err(format!("withholds {:?}", heard.withheld)),
    }
}

fn objects_of(store: &dyn Store) -> BTreeMap<Name, Object> {
    let mut names = Vec::new();
    let listed = store.list("", &mut |listed| {
        names.push(listed.name);
        Ok(())
    });
    listed.expect("memory can be listed");
    let object = |name: Name| {
        let bytes = store.get(&name, usize::MAX).expect("it was listed");
        (name, Object::old(bytes))
    };
    names.into_iter().map(object).collect()
}
