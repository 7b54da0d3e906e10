//! All that a seed decides: who goes on, what fails, when the power is cut. And what must be true of it.

use super::Options;
use super::broken::{Broken, Role};
use super::deeds::Deed;
use super::disk::{Disk, Rot};
use super::oracle::Ledger;
use super::plan::{MIXES, Mix, WRITERS_AND_COLLECTORS};
use super::tally::Tally;
use crate::source::{Random, Tree};
use crate::world::Seen;
use plakar_engine::id::ReplicaId;
use plakar_store::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Get,
    Range,
    Len,
    List,
    Put,
    Delete,
    Barrier,
}

impl Request {
    /// Whether it may change what is stored, or what survives.
    pub fn changes(self) -> bool {
        matches!(self, Request::Put | Request::Delete | Request::Barrier)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is not done.
    Refused(ErrorKind),
    /// It is done, and the answer is an error.
    DoneAndRefused,
    /// The answer is an error; it is done at this later request.
    Late(u64),
    /// It is done, and again at this later request.
    Twice(u64),
    /// A bit of what is read is another.
    Flip(u64),
    /// What is read ends early.
    Short(u64),
}

/// How often what goes wrong: once in so many requests, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Errors of any kind.
    pub errors: u64,
    /// Reads that lie.
    pub lies: u64,
    /// Puts and deletes that are done twice.
    pub twice: u64,
    /// Once in so many operations a store fills up for a while.
    pub full: u64,
    /// Once in so many operations something that is stored goes bad.
    pub rot: u64,
}

/// How many requests: all of them, those that change something, and puts of facts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts([u64; 3]);

impl Counts {
    fn after(self, request: Request, name: &str) -> Counts {
        let fact = request == Request::Put && (name.starts_with("log/") || name.starts_with("admin/"));
        let Counts([all, changes, facts]) = self;
        Counts([all + 1, changes + u64::from(request.changes()), facts + u64::from(fact)])
    }
}

/// Which of the counts is that of changes,
const CHANGES: usize = 1;
/// and which that of facts.
const FACTS: usize = 2;

/// One of an operation's own requests: the one that makes this count so high.
#[derive(Debug, Clone, Copy)]
struct Moment(usize, u64);

impl Moment {
    fn of(random: &mut Random) -> Moment {
        match random.below(5) {
            0 => Moment(0, 1 + random.below(60)),
            1 => Moment(CHANGES, 1 + random.below(10)),
            2 => Moment(FACTS, 1 + random.below(12)),
            _ => Moment(FACTS, 1 + random.below(3)),
        }
    }

    /// Whether it is the request between these.
    fn is_between(self, before: Counts, after: Counts) -> bool {
        before.0[self.0] < self.1 && after.0[self.0] == self.1
    }
}

/// An operation in progress.
#[derive(Debug, Clone)]
pub struct Running {
    number: u64,
    /// The store that it writes to.
    pub disk: usize,
    counts: Counts,
    /// When it is killed.
    kill: Option<Moment>,
    /// When it sleeps, and for how many requests of others.
    sleep: Option<(Moment, u64)>,
    sleeps_until: u64,
    before_fact: bool,
    /// Whether somebody removed something meanwhile.
    noticed: bool,
    /// Something that it asked for was not done, or the answer was wrong.
    troubled: bool,
    /// Nothing it asks for is done any more.
    dead: bool,
    /// The same for single stores, which lost their power meanwhile.
    cut: Vec<bool>,
}

/// Cleanups of one store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Collectors {
    /// At work now.
    pub running: u64,
    /// Ever.
    pub begun: u64,
}

/// So many lines of what happened are kept.
const TRACE_MAX: usize = 3_000;

/// Everything, at one moment.
pub struct World {
    seed: u64,
    /// Decides about the request or the plan that is at hand; see `draws_for`.
    pub random: Random,
    /// How many requests there were.
    pub tick: u64,
    /// Whose turn it is.
    pub turn: usize,
    /// Which clients have something to do.
    pub active: Vec<bool>,
    /// What each client does.
    pub running: Vec<Option<Running>>,
    /// The stores.
    pub disks: Vec<Disk>,
    /// How often each had changed when it was looked at last.
    pub seen: Vec<u64>,
    /// What must be true of each.
    pub ledgers: Vec<Ledger>,
    /// The repositories' ids.
    pub replicas: Vec<ReplicaId>,
    /// The store that is a clone of the first, or is to become one,
    pub clone: Option<usize>,
    /// and whether it is complete.
    pub cloned: bool,
    /// Stores in which something went bad: not all must be whole there, but what is not must be told.
    pub rotten: Vec<bool>,
    /// Whether the clone got something bad without being told anew.
    pub copied_damage: bool,
    /// Who cleans up each store.
    pub collectors: Vec<Collectors>,
    /// What is in each snapshot, by the second it was made; nothing for those of which only is known that they
    /// must be whole.
    pub known: BTreeMap<i64, Option<BTreeMap<crate::source::Path, Seen>>>,
    /// The store that a client cleans up next, having removed something from it.
    pub cleans: Vec<Option<usize>>,
    /// What is pushed next, for each root.
    pub trees: Vec<Tree>,
    /// What was pushed before.
    pub old: Vec<Tree>,
    /// How many operations have begun.
    pub deeds: u64,
    /// In the middle of these operations the power is cut.
    pub cuts: Vec<u64>,
    /// So many requests ago it was time.
    cut_in: Option<i64>,
    weather: Weather,
    /// How often what is done.
    pub mix: Mix,
    /// So many of 100 are in the first store.
    pub centre: u64,
    /// The same client goes on with this chance in 100.
    sticky: u64,
    /// What there was so far.
    pub tally: Tally,
    /// What went wrong.
    pub loss: Option<String>,
    /// What happened last.
    pub trace: VecDeque<String>,
}

impl World {
    /// What a seed makes of it.
    pub fn new(
        options: &Options,
        (disks, clone): (Vec<Disk>, Option<usize>),
        replicas: Vec<ReplicaId>,
        clients: usize,
        random: &mut Random,
    ) -> World {
        let weather = match options.broken {
            // What breaks is to be found whatever the weather.
            Some(_) => Weather { twice: 0, ..Weather::default() },
            None => Weather {
                errors: [0, 0, 400, 80][random.below(4) as usize],
                lies: [0, 0, 0, 300][random.below(4) as usize],
                twice: [0, 100][random.below(2) as usize],
                full: [0, 0, 0, 12][random.below(4) as usize],
                rot: [0, 0, 0, 0, 20, 80][random.below(6) as usize],
            },
        };
        let (mut mix, centre) = MIXES[random.below(MIXES.len() as u64) as usize];
        if !options.broken.is_none_or(Broken::is_of_others) {
            mix[WRITERS_AND_COLLECTORS..].fill(0);
        }
        let mut cuts: Vec<_> = (0..options.cuts).map(|_| 2 + random.below(options.operations)).collect();
        cuts.sort_unstable();
        World {
            seed: random.number(),
            random: Random(0),
            tick: 1,
            turn: 0,
            active: vec![true; clients],
            running: vec![None; clients],
            seen: vec![0; disks.len()],
            ledgers: disks.iter().map(|_| Ledger::default()).collect(),
            replicas,
            clone,
            cloned: false,
            rotten: vec![false; disks.len()],
            copied_damage: false,
            collectors: vec![Collectors::default(); disks.len()],
            disks,
            known: BTreeMap::new(),
            cleans: vec![None; clients],
            trees: vec![Tree::default(); 2],
            old: Vec::new(),
            deeds: 0,
            cuts,
            cut_in: None,
            weather,
            mix,
            centre,
            sticky: [40, 80, 95, 99][random.below(4) as usize],
            tally: Tally::default(),
            loss: None,
            trace: VecDeque::new(),
        }
    }

    /// Whether what is read may be a lie.
    pub fn lies(&self) -> bool {
        self.weather.lies > 0
    }

    /// All stores that can be opened but this one.
    pub fn repositories(&self, but: Option<usize>) -> Vec<usize> {
        let is_there = |disk: &usize| Some(*disk) != but && (Some(*disk) != self.clone || self.cloned);
        (0..self.disks.len()).filter(is_there).collect()
    }

    /// Whether something goes bad now.
    pub fn rots_now(&mut self) -> bool {
        self.one_in(self.weather.rot)
    }

    fn is_busy(&self, disk: usize) -> bool {
        self.running.iter().flatten().any(|running| running.disk == disk)
    }

    /// A clone of the first store is made or brought up to date.
    pub fn begins_clone(&mut self, clone: usize) {
        self.copied_damage |= self.lies();
        self.rotten[clone] |= self.rotten[0];
    }

    /// Something goes bad.
    pub fn rots(&mut self, disk: usize, how: Rot, nth: u64) {
        // A damaged log is mended out of a clone only, and nobody knows of a fact that is not there.
        let log = self.cloned && how != Rot::Gone && nth.is_multiple_of(8);
        let prefixes: &[&str] = if log { &["log/", "admin/"] } else { &["packs/", "index/"] };
        if let Some(name) = self.disks[disk].rot(prefixes, how, nth) {
            self.rotten[disk] = true;
            // It is copied as it is.
            let clone = self.clone.filter(|clone| disk == 0 && self.is_busy(*clone));
            clone.into_iter().for_each(|clone| self.rotten[clone] = true);
            self.tally.rots += 1;
            self.say(|| format!("store {disk}: {name} goes bad: {how:?}"));
        }
    }

    /// What is drawn next follows from the seed, the number of the operation and that of its request, and from nothing
    /// else: a client that does something a little earlier than last time changes as little as possible.
    pub fn draws_for(&mut self, deed: u64, request: u64) {
        let of_deed = Random(self.seed ^ deed.wrapping_mul(0x9e37_79b9)).number();
        self.random = Random(Random(of_deed ^ request).number());
    }

    /// A client is not answered as it should be.
    pub fn trouble(&mut self, client: usize) {
        self.running[client].iter_mut().for_each(|running| running.troubled = true);
    }

    /// Whether nothing that a client asked this store for went wrong.
    pub fn is_untroubled(&self, client: usize, disk: usize) -> bool {
        let running = self.running[client].as_ref();
        running.is_some_and(|running| !running.troubled && !running.dead && !running.cut[disk])
    }

    fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.random.below(n) == 0
    }

    /// Notes what happened.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(what());
    }

    /// A client begins an operation.
    pub fn begin(&mut self, client: usize) {
        self.deeds += 1;
        self.draws_for(self.deeds, u64::MAX);
        if self.cuts.first().is_some_and(|at| *at <= self.deeds) && self.cut_in.is_none() {
            self.cuts.remove(0);
            self.cut_in = Some(-(self.random.below(60) as i64));
        }
        if self.one_in(self.weather.full) {
            let disk = self.random.below(self.disks.len() as u64) as usize;
            self.disks[disk].room = match self.disks[disk].room {
                None => Some(self.random.below(6_000)),
                Some(_) => None,
            };
        }
        let kill = self.one_in(8).then(|| Moment::of(&mut self.random));
        let sleep = self.one_in(2).then(|| {
            let long = [30, 150, 600, 1500][self.random.below(4) as usize];
            (Moment::of(&mut self.random), 1 + self.random.below(long))
        });
        let cut = vec![false; self.disks.len()];
        let (disk, counts, sleeps_until) = (0, Counts::default(), 0);
        let number = self.deeds;
        let (before_fact, noticed, troubled, dead) = (false, false, false, false);
        self.running[client] = Some(Running {
            number,
            disk,
            counts,
            kill,
            sleep,
            sleeps_until,
            before_fact,
            noticed,
            troubled,
            dead,
            cut,
        });
    }

    /// Disturbs a client so that what the broken rule is for happens more often.
    pub fn disturb(&mut self, client: usize, broken: Broken, deed: &Deed) {
        let is = |role| match deed {
            Deed::Push { .. } | Deed::Sync { .. } => role == Role::Writer,
            Deed::Cleanup { .. } => role == Role::Collector,
            _ => false,
        };
        let (sleeps, kills) = (self.random.below(3) > 0, self.random.below(2) == 0);
        let long = 100 + self.random.below(400);
        let at = 1 + self.random.below(16);
        let running = self.running[client].as_mut().expect("it has begun");
        if let Some((_, fact)) = broken.sleeps().iter().find(|(role, _)| sleeps && is(*role)) {
            running.sleep = Some((Moment(FACTS, *fact), long));
        }
        if broken.kills() && kills && is(Role::Collector) {
            running.kill = Some(Moment(CHANGES, at));
        }
    }

    /// Who is next.
    pub fn pass_on(&mut self, client: usize) {
        let awake = |one: usize| self.running[one].as_ref().is_none_or(|r| r.sleeps_until <= self.tick);
        let stays = self.random.below(100) < self.sticky;
        if stays && self.active[client] && awake(client) {
            return;
        }
        let active = || (0..self.active.len()).filter(|one| self.active[*one]);
        let mut able: Vec<_> = active().filter(|one| awake(*one)).collect();
        if able.is_empty() {
            able = active().collect();
        }
        if !able.is_empty() {
            self.turn = able[self.random.below(able.len() as u64) as usize];
        }
    }

    /// The store of a client that sleeps and was not noticed yet, when it is noticed now: more often when it sleeps before
    /// it puts a fact.
    pub fn notices_sleeper(&mut self) -> Option<usize> {
        let draw = self.random.below(8);
        let asleep = |running: &&mut Running| running.sleeps_until > self.tick && !running.noticed;
        let asleep = self.running.iter_mut().flatten().find(asleep)?;
        if draw > if asleep.before_fact { 4 } else { 0 } {
            return None;
        }
        asleep.noticed = true;
        // Nobody writes to a clone; what matters to it happens at its source.
        Some(if Some(asleep.disk) == self.clone { 0 } else { asleep.disk })
    }

    /// Whether a client sleeps before this request instead of making it now.
    pub fn falls_asleep(&mut self, client: usize, request: Request, name: &str) -> bool {
        let running = self.running[client].as_mut().expect("only operations ask");
        let (before, after) = (running.counts, running.counts.after(request, name));
        let Some((at, long)) = running.sleep.take_if(|(at, _)| at.is_between(before, after)) else {
            return false;
        };
        running.before_fact = at.0 == FACTS;
        running.sleeps_until = self.tick + long;
        let (number, Counts([nth, ..])) = (running.number, running.counts);
        self.draws_for(number, u64::MAX >> 1 ^ nth);
        self.say(|| format!("client {client} sleeps before {request:?} {name}"));
        true
    }

    /// Whether a client is cut off from a store: then its requests need no turn.
    pub fn is_cut_off(&self, client: usize, disk: usize) -> bool {
        let running = self.running[client].as_ref();
        self.loss.is_some() || running.is_none_or(|running| running.dead || running.cut[disk])
    }

    /// What becomes of a request, before it is done. An error ends it.
    pub fn fate(&mut self, client: usize, disk: usize, request: Request, name: &str) -> Result<Fate> {
        self.tick += 1;
        self.tally.requests += 1;
        let now = self.tick;
        let running = self.running[client].as_mut().expect("only operations ask");
        let before = running.counts;
        running.counts = before.after(request, name);
        let (number, Counts([nth, ..])) = (running.number, running.counts);
        self.draws_for(number, nth);
        self.disks.iter_mut().for_each(|disk| disk.do_late(now));
        if self.cut_now(disk) {
            self.cut_in = None;
            self.cut_power(disk);
            return Err(no_answer());
        }
        let running = self.running[client].as_mut().expect("only operations ask");
        let killed = running.kill.is_some_and(|at| at.is_between(before, running.counts));
        if killed {
            running.dead = true;
            self.tally.kills += 1;
            self.say(|| format!("client {client} is killed"));
            return match self.random.below(3) {
                0 => Err(no_answer()),
                1 => Ok(Fate::DoneAndRefused),
                _ => Ok(self.late()),
            };
        }
        let reads = matches!(request, Request::Get | Request::Range);
        let changes = request.changes() && request != Request::Barrier;
        let fate = if self.one_in(self.weather.errors) {
            match self.random.below(3) {
                0 => Fate::Refused(ErrorKind::Io),
                1 => Fate::DoneAndRefused,
                _ => self.late(),
            }
        } else if reads && self.one_in(self.weather.lies) {
            match self.random.below(2) {
                0 => Fate::Flip(self.random.number() >> 8),
                _ => Fate::Short(self.random.number() >> 8),
            }
        } else if changes && self.one_in(self.weather.twice) {
            Fate::Twice(now + 1 + self.random.below(400))
        } else {
            Fate::Done
        };
        self.tally.faults += u64::from(fate != Fate::Done);
        match fate {
            Fate::Refused(kind) => Err(Error::new(kind, "a simulated failure")),
            Fate::Late(_) if !changes => Err(no_answer()),
            fate => Ok(fate),
        }
    }

    fn late(&mut self) -> Fate {
        let soon = [10, 100, 2000][self.random.below(3) as usize];
        Fate::Late(self.tick + 1 + self.random.below(soon))
    }

    /// Whether the power is cut now: mostly when there is something to lose.
    fn cut_now(&mut self, disk: usize) -> bool {
        let Some(since) = &mut self.cut_in else { return false };
        *since += 1;
        let since = *since;
        since > 0 && (since > 400 || (self.disks[disk].unsynced() > 0 && self.random.below(3) == 0))
    }

    fn cut_power(&mut self, disk: usize) {
        let fell = self.disks[disk].crash(&mut self.random);
        self.tally.cuts += 1;
        self.tally.fell_back += fell as u64;
        self.say(|| format!("store {disk} loses its power: {fell} objects fall back"));
        for running in self.running.iter_mut().flatten() {
            running.cut[disk] = true;
        }
        self.look_at(disk, true, "after a power cut");
    }
}

/// What a client is told that is not answered any more.
pub fn no_answer() -> Error {
    Error::new(ErrorKind::Io, "no answer (simulated)")
}
