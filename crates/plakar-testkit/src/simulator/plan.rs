//! What each client does next.

use super::Options;
use super::broken::{Broken, Role};
use super::deeds::{Deed, MADE, Short};
use super::disk::Rot;
use super::world::World;
use crate::source::{Node, Random, Tree, noise};
use crate::world::expected;

/// How often what is done: so many pushes, syncs, removals, cleanups, heals, undeletes; repairs, clones, restores.
pub type Mix = [u64; 9];

/// Those that seeds choose from, each with how many of 100 operations are in the first store.
pub const MIXES: [(Mix, u64); 4] = [
    ([44, 14, 24, 15, 3, 4, 2, 5, 6], 75),
    ([32, 40, 12, 14, 2, 4, 2, 5, 6], 50),
    ([38, 8, 30, 21, 3, 12, 2, 4, 8], 90),
    ([60, 6, 18, 14, 2, 4, 2, 3, 4], 90),
];
/// Of a mix, only what rules of writers and collectors are about.
pub const WRITERS_AND_COLLECTORS: usize = 6;

/// What comes next.
pub fn plan(world: &mut World, options: &Options, client: usize) -> Deed {
    let mut random = Random(world.random.number());
    let stores = world.repositories(world.clone).len() as u64;
    // Most happens in one place, so that it meets.
    let disk = if random.below(100) < world.centre { 0 } else { 1 + random.below(stores - 1) as usize };
    let other = (disk + 1 + random.below(stores - 1) as usize) % stores as usize;
    let made = MADE + world.deeds as i64;
    // Each is a fact, and a long log takes long to read.
    let every_item = random.below(16) == 0;
    let interrupt_at = (random.below(5) == 0).then(|| 1 + random.below(12));
    if let Some(broken) = options.broken.filter(|broken| broken.role() == Some(Role::Careless))
        && random.below(6) == 0
    {
        return Deed::Careless { disk, broken, made, nth: random.number() };
    }
    if let Some(disk) = world.cleans[client].take() {
        return cleanup_of(world, options, &mut random, disk);
    }
    // Whoever sleeps is to wake up in another world.
    if let Some(disk) = world.notices_sleeper() {
        world.cleans[client] = Some(disk);
        let all = random.below(3) == 0 || options.broken.is_some_and(Broken::is_of_pins);
        return Deed::Remove { disk, all, chance: random.number() };
    }
    if world.rots_now() {
        let how = [Rot::Flip, Rot::Flip, Rot::Short, Rot::Gone][random.below(4) as usize];
        let disk = random.below(world.disks.len() as u64) as usize;
        return Deed::Rot { disk, how, nth: random.number() };
    }
    let mut draw = random.below(world.mix.iter().sum());
    let kind = world.mix.iter().position(|share| match draw.checked_sub(*share) {
        None => true,
        Some(left) => {
            draw = left;
            false
        }
    });
    match (kind, world.clone) {
        (Some(0), _) => {
            let root = random.below(4).saturating_sub(2) as usize;
            let tree = Box::new(Short(next_tree(world, root, &mut random)));
            world.known.insert(made, Some(expected(&tree.0)));
            Deed::Push { disk, root, made, tree, every_item, interrupt_at }
        }
        (Some(1), clone) => {
            // A clone gives, and takes from its source only.
            let other = clone.filter(|_| world.cloned && random.below(8) == 0).unwrap_or(other);
            let gives = random.below(2) == 0 && Some(other) != clone;
            let (from, to) = if gives { (disk, other) } else { (other, disk) };
            Deed::Sync { from, to, resurrect: random.below(3) == 0, every_item, interrupt_at }
        }
        (Some(2), _) => {
            world.cleans[client] = (random.below(2) == 0).then_some(disk);
            Deed::Remove { disk, all: false, chance: random.number() }
        }
        (Some(3), _) => cleanup_of(world, options, &mut random, disk),
        (Some(4), _) => Deed::Heal { disk },
        (Some(5), _) => Deed::Undelete { disk, nth: random.number() },
        (Some(6), _) => {
            let (now, grace) = (world.tick as i64, [0, 60, 100_000][random.below(3) as usize]);
            Deed::Repair { disk, now, grace, fast: random.below(2) == 0 }
        }
        (Some(7), Some(to)) => {
            world.begins_clone(to);
            Deed::Clone { to }
        }
        _ => {
            let disk = world.clone.filter(|_| world.cloned && random.below(4) == 0).unwrap_or(disk);
            Deed::Restore { disk, nth: random.number() }
        }
    }
}

fn cleanup_of(world: &mut World, options: &Options, random: &mut Random, disk: usize) -> Deed {
    let grace = [0, 0, 60, 100_000][random.below(4) as usize];
    let halves = options.broken.is_some_and(Broken::goes_by_halves);
    let max_repack = [u64::MAX, u64::MAX, 3_000, 0][if halves { 3 } else { random.below(4) as usize }];
    let collectors = &mut world.collectors[disk];
    collectors.running += 1;
    collectors.begun += 1;
    Deed::Cleanup { disk, now: world.tick as i64, grace, max_repack }
}

/// A little different from what was pushed last, or as something before: much of that is stored, and nobody may need it
/// any more.
fn next_tree(world: &mut World, root: usize, random: &mut Random) -> Tree {
    if random.below(3) == 0 && !world.old.is_empty() {
        return world.old[random.below(world.old.len() as u64) as usize].clone();
    }
    edit(&mut world.trees[root], random);
    world.old.push(world.trees[root].clone());
    world.trees[root].clone()
}

/// Files come out of a few, so that much is stored already, or was.
fn edit(tree: &mut Tree, random: &mut Random) {
    const LENS: [usize; 6] = [40, 180, 700, 1_500, 2_500, 5_000];
    for _ in 0..1 + random.below(3) {
        let at = match random.below(3) {
            0 => format!("d{}/f{}", random.below(2), random.below(3)),
            _ => format!("f{}", random.below(5)),
        };
        match random.below(5) {
            0 => _ = tree.remove(&at),
            _ => {
                let content = random.below(14);
                let bytes = noise(content, LENS[content as usize % LENS.len()]);
                let mut file = Node::file(bytes).owned_by(1000 + (content % 2) as u32);
                // Equal times mean equal contents: a push that trusts them is right.
                file.meta.mtime.secs = content as i64;
                tree.put(&at, file);
            }
        }
    }
    if tree.0.is_empty() {
        tree.put("d0/f0", Node::file(noise(1, 900)));
    }
}
