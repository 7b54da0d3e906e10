//! A simulator: the real push, sync, removal, undelete, cleanup, heal, repair, clone and restore over simulated stores,
//! interleaved at every request, killed anywhere.
//!
//! The stores do what the contract allows, and what happens to stores: they lose their power and forget what had no barrier,
//! in any order; they fail before and after a request was done, do it late or twice, give short and wrong bytes, fill up,
//! list late where they may; and what they hold goes bad (`disk`, `world`, `store`).
//!
//! Each client is a thread, but only one request is done at a time, and a seed says whose: a client waits until it is its
//! turn. The seed decides what is pushed, removed and so on (`plan`), and for each request of each operation what becomes of
//! it and who is next; when a client is killed, and when a store loses its power. What it does not decide are the random
//! names of sessions, marks and packs, which come from the operating system as always, and which of several threads of one
//! client asks first. So a seed that found something mostly finds it again, at once or after a few attempts, and what
//! happened is told with it.
//!
//! After each operation, after some requests, at each power cut, and in the end, an oracle (`oracle`) looks at what is stored.
//!
//! What rules are for is seen when they are not kept (`broken`): each must be found out.

pub mod broken;
mod careless;
mod deeds;
mod disk;
mod end;
mod oracle;
mod plan;
mod store;
mod tally;
mod world;

use crate::source::Random;
use crate::syncing::copy_of;
use crate::world::{Making, SIZES, create};
pub use broken::Broken;
use deeds::{Deed, Done};
use disk::{Disk, Scope};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::ReplicaId;
use plakar_engine::repository::Locked;
use plakar_engine::repository::records::Replica;
use plakar_store::{Capabilities, MemoryStore, Name, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
pub use tally::Tally;
use world::{Fate, Request, World, no_answer};

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Options {
    /// So many operations, of all clients together.
    pub operations: u64,
    /// So many power cuts.
    pub cuts: u64,
    /// A rule that is not kept.
    pub broken: Option<Broken>,
    /// Whether the stores promise to list everything. They do not do it if they do not promise it.
    pub strong_list: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { operations: 200, cuts: 3, broken: None, strong_list: true }
    }
}

/// What came of a seed.
pub struct Outcome {
    /// What there was.
    pub tally: Tally,
    /// What was lost.
    pub loss: Option<String>,
    /// What happened last.
    pub trace: Vec<String>,
}

/// A simulation in progress.
pub struct Simulation {
    options: Options,
    world: Mutex<World>,
    wake: Vec<Condvar>,
    replicas: Vec<ReplicaId>,
    /// Of each store, if it is not encrypted.
    sealers: Vec<Option<Sealer>>,
    capabilities: Capabilities,
}

/// After so many operations every byte is read again.
const RESTORE_EVERY: u64 = 25;

impl Simulation {
    fn new(seed: u64, options: &Options) -> Simulation {
        let mut random = Random(seed);
        let stores = stores(options, &mut random);
        let scope = [Scope::Everything, Scope::Folders][random.below(2) as usize];
        // Far away some requests of one client are made at the same time, in an order that nobody decides.
        let local = options.broken.is_some() || random.below(10) > 0;
        let capabilities = Capabilities { strong_list: options.strong_list, local, append_only: false };
        let (mut replicas, mut sealers, mut disks) = (Vec::new(), Vec::new(), Vec::new());
        for store in stores {
            let locked = Locked::open(Arc::new(store.clone())).expect("it was made a moment ago");
            replicas.push(locked.replica().id);
            sealers.push((!locked.is_encrypted()).then(|| Sealer::plain(locked.config().domain)));
            disks.push(Disk::new(store.snapshot(), scope));
        }
        // A clone of the first one, yet to be made.
        let others = options.broken.is_none_or(Broken::is_of_others);
        let clone = (others && options.strong_list && random.below(3) == 0).then(|| {
            replicas.push(ReplicaId::default());
            sealers.push(None);
            disks.push(Disk::new(Default::default(), scope));
            disks.len() - 1
        });
        let clients = 2 + random.below(3) as usize;
        let wake = (0..clients).map(|_| Condvar::new()).collect();
        let world = Mutex::new(World::new(options, (disks, clone), replicas.clone(), clients, &mut random));
        Simulation { options: options.clone(), world, wake, replicas, sealers, capabilities }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is this client's turn; it may be over by then.
    fn turn(&self, client: usize) -> MutexGuard<'_, World> {
        let mut world = self.world();
        while world.turn != client && world.loss.is_none() {
            world = self.wake[client].wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        world
    }

    fn pass_on(&self, mut world: MutexGuard<'_, World>, client: usize) {
        world.pass_on(client);
        if world.loss.is_some() {
            self.wake.iter().for_each(Condvar::notify_all);
        } else if world.turn != client {
            self.wake[world.turn].notify_all();
        }
    }

    /// One request, when it is this client's turn.
    fn request<T>(
        &self,
        client: usize,
        disk: usize,
        request: Request,
        name: &str,
        act: impl FnOnce(&mut World, &Fate) -> Result<T>,
    ) -> Result<T> {
        if self.world().is_cut_off(client, disk) {
            return Err(no_answer());
        }
        let mut world = loop {
            let mut world = self.turn(client);
            if world.is_cut_off(client, disk) {
                return Err(no_answer());
            }
            if !world.falls_asleep(client, request, name) {
                break world;
            }
            self.pass_on(world, client);
        };
        let fate = world.fate(client, disk, request, name);
        if !matches!(fate, Ok(Fate::Done | Fate::Twice(_))) {
            world.trouble(client);
        }
        let (fate, result) = match fate {
            Err(e) => (Fate::Done, Err(e)),
            Ok(Fate::DoneAndRefused) => {
                let done = act(&mut world, &Fate::DoneAndRefused);
                (Fate::DoneAndRefused, done.and(Err(no_answer())))
            }
            Ok(fate) => (fate, act(&mut world, &fate)),
        };
        if result.is_ok() && request == Request::Delete {
            match name.starts_with("packs/") {
                true => world.tally.packs_deleted += 1,
                false => world.tally.covered_deleted += 1,
            }
        }
        let tick = world.tick;
        world.say(|| {
            let answer = result.as_ref().err().map(|e| format!(": {e}")).unwrap_or_default();
            let fate = if fate == Fate::Done { String::new() } else { format!(" ({fate:?})") };
            format!("{tick} client {client} store {disk} {request:?} {name}{fate}{answer}")
        });
        // It must be true between any two requests, but to look each time would take too long.
        if request.changes() && result.is_ok() && world.random.below(40) == 0 {
            world.look_at(disk, false, "after a request");
        }
        self.pass_on(world, client);
        result
    }

    /// Ends an operation, looks whether all is well, and plans the next one.
    fn next(&self, client: usize, done: Option<(Deed, Done)>) -> Option<(Deed, u64)> {
        let mut world = self.turn(client);
        if let Some((deed, done)) = done {
            world.running[client] = None;
            let kind = world.tally.kinds.entry(deed.kind()).or_default();
            *kind = (kind.0 + u64::from(done.failed.is_none()), kind.1 + 1);
            world.say(|| format!("client {client} ends {deed:?}: {:?}", done.failed));
            deeds::settle(&mut world, &deed, done);
            let restores = world.tally.operations.is_multiple_of(RESTORE_EVERY);
            world.look_at(deed.disk(), restores, "after an operation");
        }
        let goes_on = world.loss.is_none() && world.deeds < self.options.operations;
        let next = goes_on.then(|| {
            world.begin(client);
            world.tally.operations += 1;
            let deed = plan::plan(&mut world, &self.options, client);
            world.say(|| format!("client {client} begins {deed:?}"));
            if let Some(broken) = self.options.broken {
                world.disturb(client, broken, &deed);
            }
            if let Some(running) = &mut world.running[client] {
                running.disk = deed.disk();
            }
            (deed, world.deeds)
        });
        world.active[client] = next.is_some();
        self.pass_on(world, client);
        next
    }
}

/// Two repositories, or three.
fn stores(options: &Options, random: &mut Random) -> Vec<MemoryStore> {
    // Small packs are put while a session goes on.
    let small = options.broken.is_some_and(Broken::goes_by_halves);
    let pack_bytes =
        [64 << 10, 64 << 10, 64 << 10, 4 << 10][if small { 3 } else { random.below(4) as usize }];
    let made = |encrypted, sizes| {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, sizes, pack_bytes }).expect("an empty store");
        let name = Name::new("replica").expect("a constant name");
        let mut replica = Replica::decode(&store.snapshot()[&name]).expect("it was made a moment ago");
        replica.strong_list = options.strong_list;
        store.tamper_replace(&name, replica.encode());
        store
    };
    let relation = if options.broken.is_some() { 15 } else { random.below(16) };
    match relation {
        0 => {
            let first = made(true, SIZES);
            let copy = copy_of(&first.snapshot());
            vec![first, copy]
        }
        1 => vec![made(false, SIZES), made(true, SIZES)],
        2 => vec![made(false, SIZES), made(false, (128, 512, 2048))],
        3..6 => vec![made(false, SIZES), made(false, SIZES), made(false, SIZES)],
        _ => vec![made(false, SIZES), made(false, SIZES)],
    }
}

/// Simulates what `seed` says.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let simulation = Arc::new(Simulation::new(seed, options));
    std::thread::scope(|scope| {
        for client in 0..simulation.wake.len() {
            let simulation = simulation.clone();
            scope.spawn(move || {
                let mut done = None;
                while let Some((deed, number)) = simulation.next(client, done.take()) {
                    let result = deeds::perform(&simulation, client, number, &deed);
                    done = Some((deed, result));
                }
            });
        }
    });
    let mut world = simulation.world();
    world.tally.changes = world.disks.iter().map(|disk| disk.changes).sum();
    if world.loss.is_none() && options.strong_list {
        end::end(&mut world);
    }
    Outcome {
        tally: std::mem::take(&mut world.tally),
        loss: world.loss.take(),
        trace: std::mem::take(&mut world.trace).into_iter().collect(),
    }
}
