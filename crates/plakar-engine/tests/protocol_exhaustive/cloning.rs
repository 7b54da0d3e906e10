//! A cloner: it copies the repository while the others work in it, and then perhaps brings the copy up to date.
//!
//! Its steps are those of `clone` in the engine (`run`, `listing`): list `admin/`, `log/`, `packs/`; copy packs; list
//! again; put the log that was listed. It changes nothing at the source, so where it stands is kept apart from the
//! others, and once it is done nothing else has to be explored.
//!
//! Copying packs is one step here. Packs only ever go away, so whatever is copied one by one contains what
//! is copied at the very last moment before the second listing; the same holds for what lies in a listing of packs.
//! A listing of `log/` may last, and then shows any part of what is put or deleted meanwhile. One of `admin/` need not:
//! what is put there meanwhile either is in it, as if it had come before, or shows in the second listing.
//!
//! Not here: keys and segments, which no fact of the model needs; damage; the number of rounds after which it is given up.

use plakar_engine::protocol::*;

use crate::cast::{Broken::*, *};
use crate::places::State;
use crate::world::World;

/// Where the cloner stands, and what its copy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Copying {
    phase: Phase,
    /// Runs that ended: a clone, then updates.
    runs: u8,
    /// Runs that were cut off.
    cuts: u8,
    /// Whether the last run ended: else the copy may list what the source removed.
    ended: bool,
    /// Rounds that went to writers who only add.
    grown: u8,
    /// While it runs: what was visible when it began. Afterwards: what of that should be in the copy and is not.
    due: u16,
    /// The listing that is copied.
    listed: Option<Listed>,
    /// The one that is being read.
    now: Listed,
    /// The Finals of an earlier one.
    earlier: Option<u32>,
    /// The copy.
    facts: u32,
    packs: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    List(u8),
    /// `log/` is being listed; what it held when that began.
    Listing(u8, u32),
    Copy,
    Put(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Listed {
    admin: u32,
    log: u32,
    packs: u64,
}

/// A part of a fact set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `admin/`, and what of it is a single Dead or Removed, and the rest.
    Admin,
    ShortAdmin,
    LongAdmin,
    /// `log/`, and its Finals, and the rest.
    Log,
    Finals,
    LongLog,
    Packs,
}

impl Part {
    fn has(self, fact: Option<&F>) -> bool {
        let is_short = matches!(fact, Some(Fact::Dead { .. } | Fact::Removed { .. } | Fact::Final { .. }));
        let is_log = matches!(fact, Some(Fact::Prepared { .. } | Fact::Final { .. }));
        match self {
            Part::Admin => !is_log,
            Part::ShortAdmin => !is_log && is_short,
            Part::LongAdmin => !is_log && !is_short,
            Part::Log => is_log,
            Part::Finals => is_log && is_short,
            Part::LongLog => is_log && !is_short,
            Part::Packs => false,
        }
    }
}

fn lacks(all: &[u32], one: u32) -> bool {
    all.binary_search(&one).is_err()
}

/// Subsets: all of a few; of many, none, all, each one, and all but one.
fn subsets(of: &[u32]) -> Vec<Vec<u32>> {
    if of.len() <= 4 {
        let chosen = |bits: u32| (0..of.len()).filter(move |n| bits >> n & 1 == 1).map(|n| of[n]).collect();
        return (0..1 << of.len()).map(chosen).collect();
    }
    let without = |one: &u32| of.iter().copied().filter(|other| other != one).collect();
    let single = |one: &u32| vec![*one];
    let most = of.iter().map(without).chain(of.iter().map(single));
    most.chain([vec![], of.to_vec()]).collect()
}

impl World {
    /// Those of a fact set's objects that lie in one folder.
    pub fn part(&mut self, set: u32, part: Part) -> u32 {
        if let Some(&known) = self.parts.get(&(set, part)) {
            return known;
        }
        let mut numbers = (*self.sets.get(set)).clone();
        numbers.retain(|&number| part.has(self.fact(number).as_deref()));
        let known = self.sets.number(numbers);
        self.parts.insert((set, part), known);
        known
    }

    fn union(&mut self, set: u32, more: &[u32]) -> u32 {
        let mut numbers = (*self.sets.get(set)).clone();
        numbers.extend(more);
        numbers.sort_unstable();
        numbers.dedup();
        self.sets.number(numbers)
    }

    fn difference(&self, set: u32, without: u32) -> Vec<u32> {
        let without = self.sets.get(without);
        self.sets.get(set).iter().copied().filter(|&number| lacks(&without, number)).collect()
    }

    /// Nobody has begun to clone.
    pub fn no_copy(&mut self) -> u32 {
        let none = self.sets.number(Vec::new());
        let now = Listed { admin: none, log: none, packs: 0 };
        self.copies.number(Copying { facts: none, now, ..Copying::default() })
    }

    /// Whether the cloner has nothing left to do.
    pub fn cloned(&self, clone: &Cloner, copy: u32) -> bool {
        let copying = &self.copies.values[copy as usize];
        copying.phase == Phase::Idle && copying.runs == clone.runs
    }

    /// Every place that one request of the cloner leads to.
    pub fn clone_steps(&mut self, clone: &Cloner, state: &State) -> Vec<u32> {
        let at = (*self.copies.get(state.copy)).clone();
        let mut next = Vec::new();
        match at.phase {
            Phase::Idle if at.runs == clone.runs => return Vec::new(),
            Phase::Idle => {
                let due = self.shown(state.facts).visible;
                let begun = Copying { due, phase: Phase::List(0), ended: false, ..at };
                self.list(clone, state, begun, 0, &mut next);
            }
            Phase::List(stage) => self.list(clone, state, at.clone(), stage, &mut next),
            Phase::Listing(stage, begin) => {
                let end = self.part(state.facts, Part::Log);
                let (gone, new) = (self.difference(begin, end), self.difference(end, begin));
                let unsure: Vec<u32> = gone.iter().chain(&new).copied().collect();
                let mut sure = (*self.sets.get(begin)).clone();
                sure.retain(|number| !gone.contains(number));
                let sure = self.sets.number(sure);
                for shown in subsets(&unsure) {
                    let log = self.union(sure, &shown);
                    let now = Listed { log, ..at.now };
                    self.listed(Copying { now, ..at.clone() }, stage, &mut next);
                }
            }
            Phase::Copy => next.push(self.copied(&at, state)),
            Phase::Put(step) => self.put_listed(clone, state, &at, step, &mut next),
        }
        // Cut off, it may begin again; what is in its copy stays.
        if at.phase != Phase::Idle && at.cuts < clone.cuts {
            next.push(self.cut(&at, at.facts));
        }
        next.into_iter().map(|copying| self.copies.number(copying)).collect()
    }

    fn cut(&mut self, at: &Copying, facts: u32) -> Copying {
        let cuts = at.cuts + 1;
        Copying { cuts, facts, ..self.idle(at) }
    }

    /// Between two runs: only what is in the copy matters.
    fn idle(&mut self, at: &Copying) -> Copying {
        let none = self.sets.number(Vec::new());
        let now = Listed { admin: none, log: none, packs: 0 };
        let (facts, packs, runs, cuts) = (at.facts, at.packs, at.runs, at.cuts);
        Copying { facts, packs, runs, cuts, now, ..Copying::default() }
    }

    fn order(&self) -> [Part; 3] {
        match self.broken {
            CloneListsLogFirst => [Part::Log, Part::Admin, Part::Packs],
            CloneListsPacksFirst => [Part::Packs, Part::Admin, Part::Log],
            _ => [Part::Admin, Part::Log, Part::Packs],
        }
    }

    fn list(&mut self, clone: &Cloner, state: &State, at: Copying, stage: u8, next: &mut Vec<Copying>) {
        let mut now = at.now;
        match self.order()[stage as usize] {
            Part::Log if clone.lasting => {
                let phase = Phase::Listing(stage, self.part(state.facts, Part::Log));
                return next.push(Copying { phase, ..at });
            }
            Part::Log => now.log = self.part(state.facts, Part::Log),
            Part::Packs => now.packs = state.packs,
            _ => now.admin = self.part(state.facts, Part::Admin),
        }
        self.listed(Copying { now, ..at }, stage, next);
    }

    /// One folder was listed: the next, or, after the last, what the listing as a whole says.
    fn listed(&mut self, at: Copying, stage: u8, next: &mut Vec<Copying>) {
        if stage < 2 {
            return next.push(Copying { phase: Phase::List(stage + 1), ..at });
        }
        let now = at.now;
        let none = self.sets.number(Vec::new());
        let nothing = Listed { admin: none, log: none, packs: 0 };
        let Some(first) = at.listed else {
            let phase =
                if self.broken == CloneListsAgainBeforeCopying { Phase::List(0) } else { Phase::Copy };
            return next.push(Copying { phase, listed: Some(now), now: nothing, ..at });
        };
        let changed = |one: u32, other: u32| !self.difference(one, other).is_empty();
        let mut moved = changed(now.admin, first.admin);
        if self.broken != CloneGoneOverlooked {
            moved |= changed(first.admin, now.admin) || changed(first.log, now.log);
        }
        moved &= self.broken != CloneListsAdminOnce;
        let grew = changed(now.log, first.log) || now.packs & !first.packs != 0;
        if moved || grew && at.grown < GROWING_ROUNDS {
            self.seen.insert(if moved { "admin moved" } else { "source grew" });
            let grown = if moved { at.grown } else { at.grown + 1 };
            let earlier = Some(self.part(first.log, Part::Finals));
            let phase =
                if self.broken == CloneListsAgainBeforeCopying { Phase::List(0) } else { Phase::Copy };
            return next.push(Copying { phase, grown, earlier, listed: Some(now), now: nothing, ..at });
        }
        let mut taken = first;
        if grew {
            self.seen.insert("taken while it grew");
            if self.broken == CloneTakesTheLaterLog {
                taken.log = now.log;
            }
            if self.broken != CloneTakesLateFinals {
                let finals = self.part(taken.log, Part::Finals);
                let late = self.difference(finals, at.earlier.unwrap_or(none));
                let mut log = (*self.sets.get(taken.log)).clone();
                log.retain(|number| !late.contains(number));
                taken.log = self.sets.number(log);
            }
        }
        let phase = if self.broken == CloneListsAgainBeforeCopying { Phase::Copy } else { Phase::Put(0) };
        next.push(Copying { phase, grown: 0, earlier: None, listed: Some(taken), now: nothing, ..at });
    }

    fn copied(&mut self, at: &Copying, state: &State) -> Copying {
        let listed = at.listed.map_or(0, |listed| listed.packs);
        if listed & !state.packs != 0 {
            self.seen.insert("pack gone before it was copied");
        }
        let phase = if self.broken == CloneListsAgainBeforeCopying { Phase::Put(0) } else { Phase::List(0) };
        Copying { phase, packs: at.packs | listed & state.packs, ..at.clone() }
    }

    /// In which order facts are put, with a barrier after each part.
    fn put_order(&self) -> [Part; 4] {
        use Part::*;
        match self.broken {
            UpdatePutsAdminFirst => [LongAdmin, ShortAdmin, LongLog, Finals],
            UpdatePutsDeadBeforeCheckpoints => [LongLog, ShortAdmin, LongAdmin, Finals],
            UpdatePutsFinalsEarly => [Finals, LongLog, LongAdmin, ShortAdmin],
            _ => [LongLog, LongAdmin, ShortAdmin, Finals],
        }
    }

    /// What the copy lacks of one part of the listed log.
    fn lacking(&mut self, at: &Copying, step: u8) -> Vec<u32> {
        let Some(listed) = at.listed else { return Vec::new() };
        let part = self.put_order()[step as usize];
        let from = if matches!(part, Part::LongAdmin | Part::ShortAdmin) { listed.admin } else { listed.log };
        let objects = self.part(from, part);
        self.difference(objects, at.facts)
    }

    fn put_listed(&mut self, clone: &Cloner, state: &State, at: &Copying, step: u8, next: &mut Vec<Copying>) {
        let lacking = self.lacking(at, step);
        let there = self.sets.get(state.facts);
        let (gone, here): (Vec<u32>, Vec<u32>) =
            lacking.into_iter().partition(|&number| lacks(&there, number));
        if at.cuts < clone.cuts {
            for some in subsets(&here) {
                let facts = self.union(at.facts, &some);
                let cut = self.cut(at, facts);
                next.push(cut);
            }
        }
        let facts = self.union(at.facts, &here);
        let at = Copying { facts, ..at.clone() };
        if !gone.is_empty() && self.broken != CloneGoneWhileReadOverlooked {
            // A sweeper was faster: what it deleted must not be missing, so everything is listed anew.
            self.seen.insert("fact gone before it was copied");
            let earlier = at.listed.map(|listed| self.part(listed.log, Part::Finals));
            return next.push(Copying { phase: Phase::List(0), listed: None, earlier, ..at });
        }
        if step < 3 {
            return next.push(Copying { phase: Phase::Put(step + 1), ..at });
        }
        self.seen.insert(if at.runs == 0 { "cloned" } else { "updated" });
        let mut done = Copying { runs: at.runs + 1, ended: true, ..self.idle(&at) };
        // Nothing visible becomes visible again, so what is visible now was so all the while.
        let at_both = at.due & self.shown(state.facts).visible;
        done.due = at_both & !self.shown(done.facts).visible;
        if self.broken == UpdateOfAWrittenClone && done.runs == 1 {
            self.write_to_copy(&mut done);
        }
        next.push(done);
    }

    /// The clone gets a snapshot of its own, which relies on packs that the source stored.
    fn write_to_copy(&mut self, copying: &mut Copying) {
        let relied = self.shown(copying.facts).relied & copying.packs;
        if self.held(relied) & SHARED != SHARED {
            return;
        }
        let pack = self.pack(CLONED, 0, own_root(CLONED));
        let prepared =
            Fact::Prepared { session: CLONED, pins: vec![], packs: vec![pack], root: Root::Publication };
        copying.facts = self.put(copying.facts, prepared);
        copying.facts = self.put(copying.facts, Fact::Final { session: CLONED });
        copying.packs |= 1 << pack;
    }

    /// What is wrong with the copy in this state, if anything.
    pub fn wrong_copy(&mut self, state: &State) -> Option<String> {
        let at = self.copies.get(state.copy);
        if at.runs == 0 {
            // It has no `config`, so nobody can open it.
            return None;
        }
        if at.ended {
            if at.due != 0 {
                return Some(format!("the clone lacks visible sessions {:#b}", at.due));
            }
            let shown = self.shown(at.facts);
            let lost = shown.relied & !at.packs;
            // Whoever writes to the clone relies on them. A broken rule has to show in what a reader misses as well, but
            // for these two: no Final is taken that came after the earlier listing, which keeps readers safe from them.
            let writers_only = matches!(self.broken, CloneListsPacksFirst | CloneTakesTheLaterLog);
            if lost != 0 && (self.broken == Nothing || writers_only) {
                return Some(format!("the clone announces packs {lost:#b} that it does not have"));
            }
            return self.incomplete(&self.read(at.facts, crate::world::Reader::Anybody), at.packs, u16::MAX);
        }
        // While an update runs, or after it was cut off, the source may have removed what the copy still lists.
        let visible = self.shown(state.facts).visible;
        let more = match at.phase {
            Phase::Put(step) => {
                let there = self.sets.get(state.facts);
                let mut lacking = self.lacking(&at, step);
                lacking.retain(|&number| !lacks(&there, number));
                subsets(&lacking)
            }
            _ => vec![vec![]],
        };
        more.into_iter().find_map(|more| {
            let mut view = self.read(at.facts, crate::world::Reader::Anybody);
            more.iter().for_each(|&number| self.add_number(&mut view, number));
            self.incomplete(&view, at.packs, visible)
        })
    }

    fn incomplete(&self, view: &V, packs: u64, of: u16) -> Option<String> {
        let alive = view.announced_packs().fold(0, |all, pack| all | 1 << pack);
        let held = self.held(alive & packs);
        let lacks = |session: &u8| closure(*session, Root::Publication) & !held;
        let mut visible =
            view.visible_sessions().filter(|&session| session < RESCUE && of >> session & 1 == 1);
        let session = visible.find(|session| lacks(session) != 0)?;
        Some(format!("in the clone, visible session {session} lacks {:#b}", lacks(&session)))
    }

    /// Where the cloner stands, for a trace.
    pub fn describe_copy(&self, copy: u32) -> String {
        let at = &self.copies.values[copy as usize];
        let facts = self.facts_of(at.facts);
        let packs: Vec<u8> = (0..64).filter(|pack| at.packs >> pack & 1 == 1).collect();
        format!("{:?}, copy: {facts:?} packs {packs:?}", at.phase)
    }
}

/// The fewest rounds after which an earlier listing is at hand; the engine goes round more often.
const GROWING_ROUNDS: u8 = 1;
