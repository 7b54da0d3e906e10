//! A collector: what it proposes, and the walk that finds what is still needed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::rc::Rc;

use plakar_engine::protocol::*;

use crate::cast::{Broken::*, *};
use crate::places::{Local, Next, Run, State};
use crate::world::{Reader, World};

impl World {
    pub fn collect(
        &mut self,
        collect: &Collect,
        state: &State,
        local: &Local,
        out: &mut dyn FnMut(&mut World, u32, u64, Local),
    ) {
        let (facts, packs) = (state.facts, state.packs);
        let reader = Reader::Collecting(collect.name);
        match local.clone() {
            Local::Start => self.first_look(collect, state, 0, out),
            Local::Again(number) => self.first_look(collect, state, number, out),
            Local::Mark(run, plan) => {
                let (collector, fact) = Collector::mark(collect.name * 2 + run.number, plan);
                let facts = self.put(facts, fact);
                if self.broken == DeletedBeforeDead {
                    let doomed = collector.plan().packs.iter().copied().collect();
                    return out(self, facts, packs, Local::Delete(run, doomed));
                }
                out(self, facts, packs, Local::SecondLook(run, collector));
            }
            Local::SecondLook(run, collector) => {
                let next = if self.broken == SecondLookSkipped {
                    let mark = collect.name * 2 + run.number;
                    Next::Die(Fact::Dead { mark }, collector.plan().packs.iter().copied().collect())
                } else {
                    let view = self.second_view(facts, &run, &collector, reader);
                    self.decide(&collector, &view)
                };
                let mine = collector.name() / 2 == collect.name;
                if self.broken == OthersMarkFinishedAndOwnTakenBack && mine && !matches!(next, Next::Die(..))
                {
                    let gone = collector.name();
                    let facts =
                        self.without(facts, |fact| matches!(fact, Fact::Mark { mark, .. } if *mark == gone));
                    return out(self, facts, packs, Local::Done);
                }
                let local = self.follow(collect, run, collector, next);
                out(self, facts, packs, local);
            }
            Local::Rescue(run, collector, from, ids) => {
                // Another run may have deleted what was to be copied: then it has also stored it again.
                let from = from.iter().fold(0, |all, pack| all | 1 << pack);
                if ids & !self.held(packs & from) != 0 {
                    self.seen.insert("rescue came late");
                    return out(self, facts, packs, Local::SecondLook(run, collector));
                }
                let session = RESCUE + 4 * collect.name + 2 * run.number + run.rescues;
                let pack = self.pack(session, run.rescues, ids);
                let mut writer = Writer::rescue(session);
                writer.wrote(pack);
                let local = if self.broken == RescueNotAnnounced {
                    let mark = collect.name * 2 + run.number;
                    let doomed = collector.plan().packs.iter().copied().collect();
                    Local::Die(run, Fact::Dead { mark }, doomed)
                } else {
                    Local::RescuePrepare(run, collector, writer)
                };
                out(self, facts, packs | 1 << pack, local);
            }
            Local::RescuePrepare(run, collector, writer) => {
                let (announced, fact) = writer.prepare();
                let facts = self.put(facts, fact);
                let local = if self.broken == RescueNotLookedAt {
                    let mark = collect.name * 2 + run.number;
                    let doomed = collector.plan().packs.iter().copied().collect();
                    Local::Die(run, Fact::Dead { mark }, doomed)
                } else {
                    Local::RescueLook(run, collector, announced)
                };
                out(self, facts, packs, local);
            }
            Local::RescueLook(run, collector, announced) => {
                let view = self.second_view(facts, &run, &collector, reader);
                let local = match announced.looked(&view) {
                    Verdict::Clean(cleared) => {
                        let next = self.decide(&collector, &view);
                        self.seen.insert("rescued");
                        Local::RescueFinish(run, collector, cleared, next)
                    }
                    // Its own session is abandoned; what it announced by then stays announced.
                    Verdict::StoreAgain(..) if run.rescues == 0 => {
                        self.seen.insert("rescued again");
                        let run = Run { rescues: 1, ..run };
                        Local::SecondLook(run, collector)
                    }
                    _ => self.run_ends(collect, &run),
                };
                out(self, facts, packs, local);
            }
            Local::RescueFinish(run, collector, cleared, next) => {
                let (_, fact) = cleared.finish();
                let facts = self.put(facts, fact);
                let run = Run { rescues: run.rescues + 1, ..run };
                let local = self.follow(collect, run, collector, next);
                out(self, facts, packs, local);
            }
            Local::Die(run, fact, doomed) => {
                let facts = self.put(facts, fact);
                out(self, facts, packs, Local::Delete(run, doomed));
            }
            Local::Delete(run, mut doomed) => {
                let Some(pack) = doomed.pop() else { return };
                let local = match doomed.is_empty() {
                    true => self.run_ends(collect, &run),
                    false => Local::Delete(run, doomed),
                };
                self.seen.insert("deleted");
                out(self, facts, packs & !(1 << pack), local);
            }
            _ => {}
        }
    }

    pub fn run_ends(&mut self, collect: &Collect, run: &Run) -> Local {
        if run.number + 1 < collect.runs { Local::Again(run.number + 1) } else { Local::Done }
    }

    pub fn follow(
        &mut self,
        collect: &Collect,
        run: Run,
        collector: Collector<u8, u8, u8>,
        next: Next,
    ) -> Local {
        match next {
            Next::Stop => self.run_ends(collect, &run),
            Next::Rescue(..) if run.rescues > 1 => self.run_ends(collect, &run),
            Next::Rescue(from, ids) => Local::Rescue(run, collector, from, ids),
            Next::Die(fact, doomed) => Local::Die(run, fact, doomed),
        }
    }

    /// What a walk over `kept` needs.
    pub fn live(kept: &BTreeMap<u8, Root>) -> u16 {
        kept.iter().fold(0, |all, (&session, &root)| all | closure(session, root))
    }

    /// Chooses packs, and sessions to revoke, in every way that the policy allows.
    pub fn first_look(
        &mut self,
        collect: &Collect,
        state: &State,
        number: u8,
        out: &mut dyn FnMut(&mut World, u32, u64, Local),
    ) {
        let view = self.view(state.facts, Reader::Collecting(collect.name));
        let all: Vec<u8> =
            (0..self.packs.values.len() as u8).filter(|pack| state.packs >> pack & 1 == 1).collect();
        let seen = if self.broken == SecondLookListsOnlyNewerNames { state.facts } else { 0 };
        let run = Run { number, rescues: 0, seen };
        if matches!(self.broken, OthersMarkFinished | OthersMarkTakenBack | OthersMarkFinishedAndOwnTakenBack)
        {
            for fact in self.facts_of(state.facts) {
                let Fact::Mark { mark, packs, revokes } = &*fact else { continue };
                if mark / 2 == collect.name || view.open_marks().all(|open| open != *mark) {
                    continue;
                }
                if self.broken == OthersMarkTakenBack {
                    let facts = self.without(state.facts, |other| *other == *fact);
                    out(self, facts, state.packs, Local::Done);
                } else {
                    let plan = Plan {
                        packs: packs.iter().copied().collect(),
                        revokes: revokes.iter().copied().collect(),
                    };
                    let (collector, _) = Collector::mark(*mark, plan);
                    out(self, state.facts, state.packs, Local::SecondLook(run.clone(), collector));
                }
            }
        }
        let mut revocations = vec![BTreeSet::new()];
        if collect.revoke {
            let silent: BTreeSet<u8> =
                view.unfinished_sessions().filter(|&session| session < RESCUE).collect();
            revocations.extend((!silent.is_empty()).then_some(silent));
        }
        let mut plans = BTreeSet::new();
        for revokes in revocations {
            let live = Self::live(&view.kept(&revokes));
            let may_go = |pack: u8| {
                !view.dead(pack)
                    && (collect.orphans || view.announced(pack))
                    && (collect.remark || !view.marked(pack))
            };
            let candidates: Vec<u8> = all.iter().copied().filter(|&pack| may_go(pack)).collect();
            let mut chosen = Vec::new();
            for backwards in [false, true] {
                let mut order = candidates.clone();
                if backwards {
                    order.reverse();
                }
                let mut going = BTreeSet::new();
                for &pack in &order {
                    let stay = |other: &u8| *other != pack && !going.contains(other) && view.may_rely(*other);
                    let left = all.iter().copied().filter(stay).fold(0, |all, other| all | self.ids(other));
                    let ids = if view.announced(pack) { self.ids(pack) } else { 0 };
                    if ids & live & !left == 0 {
                        going.insert(pack);
                    }
                }
                chosen.push(going);
            }
            if collect.compact {
                chosen.push(candidates.into_iter().collect());
            }
            for going in chosen {
                let plan = Plan::new(&view, going, revokes.iter().copied());
                if !plan.packs.is_empty() && plans.insert((plan.packs.clone(), plan.revokes.clone())) {
                    out(self, state.facts, state.packs, Local::Mark(run.clone(), plan));
                }
            }
        }
    }

    /// The log after the Mark, as the collector reads it.
    pub fn second_view(
        &mut self,
        facts: u32,
        run: &Run,
        collector: &Collector<u8, u8, u8>,
        reader: Reader,
    ) -> Rc<V> {
        match self.broken {
            OthersMarkTakenBack | OthersMarkFinishedAndOwnTakenBack => {
                let plan = collector.plan().clone();
                let mut view = (*self.view(facts, reader)).clone();
                view.add(&Collector::mark(collector.name(), plan).1);
                Rc::new(view)
            }
            SecondLookListsOnlyNewerNames => {
                // The clock of the first writer is slow: what it put since the first look sorts before its end.
                let known = self.sets.get(run.seen);
                let new: BTreeSet<F> = self
                    .sets
                    .get(facts)
                    .iter()
                    .filter(|fact| known.binary_search(fact).is_err())
                    .map(|&fact| (*self.facts.get(fact)).clone())
                    .filter(|fact| {
                        matches!(fact, Fact::Prepared { session: W1, .. } | Fact::Final { session: W1 })
                    })
                    .collect();
                let facts = self.without(facts, |fact| new.contains(fact));
                self.view(facts, reader)
            }
            DeadDespiteFinal => {
                let revokes = collector.plan().revokes.clone();
                let facts = self.without(
                    facts,
                    |fact| matches!(fact, Fact::Final { session } if revokes.contains(session)),
                );
                self.view(facts, reader)
            }
            _ => self.view(facts, reader),
        }
    }

    pub fn decide(&mut self, collector: &Collector<u8, u8, u8>, view: &V) -> Next {
        let mut missing = 0;
        let planned = &collector.plan().packs;
        // An index knows nothing of packs that no fact names.
        let known = |pack: u8| if view.announced(pack) { self.ids(pack) } else { 0 };
        let decision = collector.looked(view, |kept, good| {
            let packs = 0..self.packs.values.len() as u8;
            let safe = packs.filter(|&pack| good(pack)).fold(0, |all, pack| all | known(pack));
            missing = Self::live(kept) & !safe;
            // What no pack of the plan holds is another run's to rescue, or an unfinished writer's to store.
            missing &= planned.iter().fold(0, |all, &pack| all | known(pack));
            Ok::<_, Infallible>(planned.iter().copied().filter(|&pack| known(pack) & missing != 0).collect())
        });
        match decision {
            Err(never) => match never {},
            Ok(Decision::Stop(_)) => {
                self.seen.insert("stopped by a Final");
                Next::Stop
            }
            Ok(Decision::Rescue(packs)) => {
                self.seen.insert("rescue needed");
                Next::Rescue(packs.into_iter().collect(), missing)
            }
            Ok(Decision::Dead(fact, doomed)) => Next::Die(fact, doomed),
        }
    }
}
