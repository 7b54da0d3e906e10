//! The operations: how each is done, and what follows for what must be true.

use super::broken::{Broken, Role};
use super::disk::Rot;
use super::store::ClientStore;
use super::world::World;
use super::{Simulation, careless};
use crate::source::{Random, Tree};
use crate::syncing::{Heard, Syncing, sync_stores};
use crate::world::{EVERY_ITEM, Pushing, open, push, restore};
use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::clone::{CloneOptions, CloneReport, clone, update};
use plakar_engine::heal::{HealObserver, heal};
use plakar_engine::id::{SessionId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::push::Checkpoints;
use plakar_engine::repair::{RepairObserver, RepairOptions, repair};
use plakar_engine::sync::{Selection, SyncOptions};
use plakar_engine::undelete::{Undeleted, candidates, undelete};
use plakar_engine::{Result, write};
use plakar_store::{ErrorKind, Name, ReadStore, Store};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The second in which the first snapshot is made; each has a second of its own, and is known by it.
pub const MADE: i64 = 1_700_000_000;
const ROOTS: [&str; 2] = ["root", "other"];

/// An operation of one client.
#[derive(Debug, Clone)]
pub enum Deed {
    Push {
        disk: usize,
        root: usize,
        made: i64,
        tree: Box<Short>,
        every_item: bool,
        interrupt_at: Option<u64>,
    },
    Sync {
        from: usize,
        to: usize,
        resurrect: bool,
        every_item: bool,
        interrupt_at: Option<u64>,
    },
    Remove {
        disk: usize,
        all: bool,
        chance: u64,
    },
    Undelete {
        disk: usize,
        nth: u64,
    },
    Cleanup {
        disk: usize,
        now: i64,
        grace: i64,
        max_repack: u64,
    },
    Heal {
        disk: usize,
    },
    Repair {
        disk: usize,
        now: i64,
        grace: i64,
        fast: bool,
    },
    /// Makes a clone of the first store, or brings it up to date.
    Clone {
        to: usize,
    },
    /// Somebody reads while others write.
    Restore {
        disk: usize,
        nth: u64,
    },
    /// Something stored becomes something else by itself.
    Rot {
        disk: usize,
        how: Rot,
        nth: u64,
    },
    Careless {
        disk: usize,
        broken: Broken,
        made: i64,
        nth: u64,
    },
}

/// A tree that is told in few words.
#[derive(Clone)]
pub struct Short(pub Tree);

impl std::fmt::Debug for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} entries", self.0.0.len())
    }
}

impl Deed {
    /// The store that it works at.
    pub fn disk(&self) -> usize {
        match self {
            Deed::Sync { to, .. } | Deed::Clone { to } => *to,
            Deed::Push { disk, .. }
            | Deed::Remove { disk, .. }
            | Deed::Undelete { disk, .. }
            | Deed::Cleanup { disk, .. }
            | Deed::Heal { disk }
            | Deed::Repair { disk, .. }
            | Deed::Restore { disk, .. }
            | Deed::Rot { disk, .. }
            | Deed::Careless { disk, .. } => *disk,
        }
    }

    /// What it is called in a tally.
    pub fn kind(&self) -> &'static str {
        match self {
            Deed::Push { .. } => "push",
            Deed::Sync { .. } => "sync",
            Deed::Remove { .. } => "rm",
            Deed::Undelete { .. } => "undelete",
            Deed::Cleanup { .. } => "cleanup",
            Deed::Heal { .. } => "heal",
            Deed::Repair { .. } => "repair",
            Deed::Clone { .. } => "clone",
            Deed::Restore { .. } => "restore",
            Deed::Rot { .. } => "rot",
            Deed::Careless { .. } => "careless",
        }
    }
}

/// What came of an operation.
#[derive(Default)]
pub struct Done {
    /// Why it failed.
    pub failed: Option<String>,
    /// Something that must never happen.
    bug: Option<String>,
    began: u64,
    /// Snapshots that it said are safe.
    acknowledged: Vec<i64>,
    /// What it was about to remove.
    removing: BTreeSet<i64>,
    removed: Vec<SessionId>,
    /// What the source of a clone had acknowledged when it began, and how much the clone was told to be damaged.
    cloned: Option<(BTreeSet<i64>, u64)>,
}

/// Whoever is told of what happens, and does not listen.
pub struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

impl HealObserver for Quiet {
    fn damage(&mut self, _: &str) {}
    fn unmended(&mut self, _: &str) {}
    fn lost(&mut self, _: &str, _: &[String], _: u64) {}
    fn progress(&mut self, _: u64, _: u64) {}
}

impl RepairObserver for Quiet {
    fn damage(&mut self, _: &str) {}
    fn lost(&mut self, _: &str) {}
    fn progress(&mut self, _: u64) {}
}

/// Does it.
pub fn perform(simulation: &Arc<Simulation>, client: usize, number: u64, deed: &Deed) -> Done {
    let began = simulation.world().tick;
    let mut done = Done { began, ..Done::default() };
    let caught = catch_unwind(AssertUnwindSafe(|| run(simulation, client, number, deed, &mut done)));
    match caught {
        Ok(result) => done.failed = result.err().map(|e| e.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("something");
            done.bug = Some(format!("{deed:?} panicked: {text}"));
        }
    }
    done
}

fn run(simulation: &Arc<Simulation>, client: usize, number: u64, deed: &Deed, done: &mut Done) -> Result<()> {
    let store = |disk: usize, role| -> Arc<dyn Store> {
        Arc::new(ClientStore::new(simulation.clone(), (client, disk, number), role))
    };
    let author = |disk: usize| author(&simulation.replicas, disk);
    let never = AtomicBool::new(false);
    let checkpoints = |every_item| if every_item { EVERY_ITEM } else { Checkpoints::default() };
    match deed {
        Deed::Push { disk, root, made, tree, every_item, interrupt_at } => {
            let pushing = Pushing {
                now: *made,
                root: ROOTS[*root],
                checkpoints: checkpoints(*every_item),
                interrupt_at: *interrupt_at,
                // What did not change is taken from the base whole.
                trust_mtime: made % 4 > 0,
                ..Pushing::default()
            };
            push(&store(*disk, Role::Writer), &tree.0, &pushing).result?;
            done.acknowledged.push(*made);
        }
        Deed::Sync { from, to, resurrect, every_item, interrupt_at } => {
            let syncing = Syncing {
                selection: Selection { resurrect: *resurrect, ..Selection::default() },
                checkpoints: checkpoints(*every_item),
                interrupt_at: *interrupt_at,
            };
            let (heard, result) =
                sync_stores(store(*from, Role::Reader), &store(*to, Role::Writer), &syncing);
            // Snapshots are told one by one as they are safe.
            done.acknowledged.extend(heard.made);
            result?;
        }
        Deed::Remove { disk, all, chance } => {
            let store = store(*disk, Role::Writer);
            let mut repo = open(store.clone())?;
            let sessions: Vec<_> = {
                let snapshots = repo.state().snapshots();
                let made = snapshots.iter().map(|one| one.row.created.secs).collect();
                done.removing = chosen(made, *all, *chance);
                let goes = |made| done.removing.contains(made);
                let sessions = snapshots.iter().filter(|one| goes(&one.row.created.secs));
                sessions.map(|one| one.session).collect()
            };
            simulation.world().removes(*disk, &done.removing);
            write::remove(&mut repo, &*store, &author(*disk), &sessions, MADE)?;
            done.removed = sessions;
        }
        Deed::Undelete { disk, nth } => {
            let store = store(*disk, Role::Writer);
            let repo = open(store.clone())?;
            let there: Vec<_> =
                candidates(&repo)?.iter().map(|one| (one.session, one.row.created.secs)).collect();
            let Some((session, made)) = there.get(*nth as usize % there.len().max(1)) else { return Ok(()) };
            let options = sync_options(author(*disk));
            let shown = undelete(repo, &store, *session, &options, &mut Heard::default(), &never)?;
            if shown.0 == Undeleted::Published {
                done.acknowledged.push(*made);
            }
        }
        Deed::Cleanup { disk, now, grace, max_repack } => {
            let store = store(*disk, Role::Collector);
            let options = cleanup_options(author(*disk), *now, *grace, *max_repack);
            cleanup(open(store.clone())?, &store, &options, &mut Quiet, &never)?;
        }
        Deed::Heal { disk } => {
            let here = store(*disk, Role::Writer);
            let peers = simulation.world().repositories(Some(*disk));
            let peers =
                peers.into_iter().map(|peer| open(store(peer, Role::Reader))).collect::<Result<Vec<_>>>()?;
            heal(open(here.clone())?, &here, &peers, &sync_options(author(*disk)), &mut Quiet, &never)?;
        }
        Deed::Repair { disk, now, grace, fast } => {
            let store = store(*disk, Role::Writer);
            let options =
                RepairOptions { author: author(*disk), now: *now, grace: *grace, fast: *fast, workers: 1 };
            repair(open(store.clone())?, &store, &options, &mut Quiet, &never)?;
        }
        Deed::Clone { to } => {
            let (from, to) = (store(0, Role::Reader), store(*to, Role::Cloner));
            let safe = simulation.world().ledgers[0].acknowledged().clone();
            let report = copied(&*from, &*to, &mut |_| {})?;
            done.cloned = Some((safe, report.damaged));
        }
        Deed::Restore { disk, nth } => {
            let before = simulation.world().collectors[*disk];
            let repo = open(store(*disk, Role::Reader))?;
            let snapshots = repo.state().snapshots();
            let Some(snapshot) = snapshots.get(*nth as usize % snapshots.len().max(1)) else { return Ok(()) };
            let restored = restore(&repo, &snapshot.row.root.node);
            let world = simulation.world();
            let made = snapshot.row.created.secs;
            let wrong = world.compare(made, &restored).err();
            let result = restored.problems.into_iter().next();
            done.bug = match (wrong, &result) {
                (Some(wrong), _) => Some(wrong),
                (None, Some((_, e))) if world.must_be_readable(client, *disk, snapshot.session, before) => {
                    Some(format!("snapshot {made} cannot be read: {e}"))
                }
                _ => None,
            };
            result.map_or(Ok(()), |(_, e)| Err(e))?;
        }
        Deed::Rot { disk, how, nth } => simulation.world().rots(*disk, *how, *nth),
        Deed::Careless { disk, broken, made, nth } => {
            simulation.world().known.insert(*made, None);
            careless::run(&store(*disk, Role::Careless), author(*disk), *broken, *made, *nth)?;
        }
    }
    Ok(())
}

/// Which snapshots are removed, each with all its publications, out of all that there are.
fn chosen(made: BTreeSet<i64>, all: bool, chance: u64) -> BTreeSet<i64> {
    let mut random = Random(chance);
    let mut goes = made;
    let (number, latest) = (goes.len() as u64, goes.last().copied());
    match random.below(5) {
        _ if all => {}
        // It is the base of the next push.
        0..3 => goes.retain(|made| Some(*made) == latest),
        3 => goes.retain(|_| random.below(number) == 0),
        _ => goes.retain(|_| random.below(2) == 0),
    }
    goes
}

fn author(replicas: &[plakar_engine::id::ReplicaId], disk: usize) -> Author {
    Author { replica: replicas[disk], writer: WriterId([7; 16]) }
}

/// Makes a clone, or brings one up to date.
pub fn copied(from: &dyn ReadStore, to: &dyn Store, problem: &mut dyn FnMut(&str)) -> Result<CloneReport> {
    let options = CloneOptions { now: MADE, workers: 1, pack_bytes: None };
    let never = AtomicBool::new(false);
    match to.get(&Name::new("config").expect("a constant name"), 1 << 20) {
        Ok(_) => update(from, to, &options, problem, &mut |_| {}, &never),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            clone(from, &[to], &options, problem, &mut |_| {}, &never)?.remove(0)
        }
        Err(e) => Err(e.into()),
    }
}

/// How a cleanup is done.
pub fn cleanup_options(author: Author, now: i64, grace: i64, max_repack: u64) -> CleanupOptions {
    let compression = Compression { level: 1, verify: false };
    CleanupOptions { author, now, grace, max_repack, workers: 1, compression }
}

/// How a heal or undelete is done.
pub fn sync_options(author: Author) -> SyncOptions {
    SyncOptions {
        selection: Selection::default(),
        author,
        now: MADE,
        workers: 1,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    }
}

/// What follows from an operation that ended.
pub fn settle(world: &mut World, deed: &Deed, done: Done) {
    let disk = deed.disk();
    if let Deed::Cleanup { .. } = deed {
        world.collectors[disk].running -= 1;
    }
    let now = world.tick;
    let ledger = &mut world.ledgers[disk];
    done.acknowledged.iter().for_each(|made| ledger.acknowledge(*made, done.began));
    ledger.has_removed(&done.removing, &done.removed, now);
    if let Some((safe, damaged)) = done.cloned {
        world.has_cloned(disk, &safe, damaged, done.began);
    }
    world.tally.removals += done.removed.len() as u64;
    if let Some(bug) = done.bug {
        world.loss.get_or_insert(bug);
    }
}
