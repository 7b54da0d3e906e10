//! A world: its store, its log as each reader sees it, and what must hold.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use plakar_engine::protocol::*;

use crate::cast::{Broken::*, *};
use crate::cloning::{Copying, Part};
use crate::places::{Local, State};
use crate::sweeping::Checkpoint;
use crate::tables::{Interned, Mixer};

/// Which log somebody reads; it differs only under a broken rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    Anybody,
    Pinning,
    Pushing(u8),
    /// A push at its last look, where it would have noticed that its own packs are not announced.
    Deciding(u8),
    Collecting(u8),
}

/// What the invariants need of a fact set.
#[derive(Clone, Copy)]
pub struct Shown {
    pub visible: u16,
    pub removed: u16,
    /// Packs announced and not dead.
    pub alive: u64,
    /// Packs that may be relied on.
    pub relied: u64,
}

/// What one request changes: the facts, the packs, and where the actor stands.
pub type Step = (u32, u64, u16);

type Remembered = HashMap<(u8, u16, u32, u64), Rc<[Step]>, Mixer>;

pub struct World {
    pub actors: Vec<Actor>,
    pub broken: Broken,
    pub facts: Interned<F>,
    /// Numbers of facts, or of checkpoints.
    pub sets: Interned<Vec<u32>>,
    pub checkpoints: Interned<Checkpoint>,
    pub parts: HashMap<(u32, Part), u32, Mixer>,
    pub copies: Interned<Copying>,
    pub locals: Interned<Local>,
    /// Owner, number and the ids it holds.
    pub packs: Interned<(u8, u8, u16)>,
    pub shown: Vec<Option<Shown>>,
    pub views: HashMap<(u32, Reader), Rc<V>, Mixer>,
    pub steps: Remembered,
    pub seen: BTreeSet<&'static str>,
}

impl World {
    pub fn new(actors: &[Actor], broken: Broken) -> Self {
        assert!(actors.len() <= MAX_ACTORS);
        World {
            actors: actors.to_vec(),
            broken,
            facts: Interned::new(),
            sets: Interned::new(),
            checkpoints: Interned::new(),
            parts: HashMap::default(),
            copies: Interned::new(),
            locals: Interned::new(),
            packs: Interned::new(),
            shown: Vec::new(),
            views: HashMap::default(),
            steps: HashMap::default(),
            seen: BTreeSet::new(),
        }
    }

    /// The base is published, its node and its chunk each in a pack; nobody has begun.
    pub fn first(&mut self) -> State {
        let packs = vec![self.pack(BASE, 0, NODE), self.pack(BASE, 1, DATA)];
        let existing = packs.iter().fold(0, |all, pack| all | 1 << pack);
        let none = self.sets.number(Vec::new());
        let prepared = Fact::Prepared { session: BASE, pins: vec![], packs, root: Root::Publication };
        let facts = self.put(none, prepared);
        let facts = self.put(facts, Fact::Final { session: BASE });
        State { facts, packs: existing, at: [self.local(Local::Start); MAX_ACTORS], copy: self.no_copy() }
    }

    pub fn local(&mut self, local: Local) -> u16 {
        self.locals.number(local).try_into().expect("few places to stand")
    }

    pub fn pack(&mut self, owner: u8, number: u8, ids: u16) -> u8 {
        let pack = self.packs.number((owner, number, ids));
        assert!(pack < 64);
        pack as u8
    }

    pub fn ids(&self, pack: u8) -> u16 {
        self.packs.values[pack as usize].2
    }

    pub fn put(&mut self, set: u32, fact: F) -> u32 {
        let fact = self.facts.number(fact);
        let mut facts = (*self.sets.get(set)).clone();
        match facts.binary_search(&fact) {
            Ok(_) => set,
            Err(place) => {
                facts.insert(place, fact);
                self.sets.number(facts)
            }
        }
    }

    pub fn without(&mut self, set: u32, unwanted: impl Fn(&F) -> bool) -> u32 {
        let mut facts = (*self.sets.get(set)).clone();
        facts.retain(|&number| !self.fact(number).is_some_and(|fact| unwanted(&fact)));
        self.sets.number(facts)
    }

    pub fn facts_of(&self, set: u32) -> Vec<Rc<F>> {
        self.sets.get(set).iter().filter_map(|&number| self.fact(number)).collect()
    }

    pub fn view(&mut self, set: u32, reader: Reader) -> Rc<V> {
        let reader = if self.broken == Nothing { Reader::Anybody } else { reader };
        if let Some(view) = self.views.get(&(set, reader)) {
            return view.clone();
        }
        if self.views.len() > 20_000 {
            self.views.clear();
        }
        let view = Rc::new(self.read(set, reader));
        self.views.insert((set, reader), view.clone());
        view
    }

    /// Reads a fact set, the way a reader does who breaks a rule.
    pub fn read(&self, set: u32, reader: Reader) -> V {
        let facts = self.facts_of(set);
        let dead: BTreeSet<u8> = facts
            .iter()
            .filter_map(|fact| if let Fact::Dead { mark } = **fact { Some(mark) } else { None })
            .collect();
        let finished = |name: u8| facts.iter().any(|fact| **fact == Fact::Final { session: name });
        let mut view = V::new();
        if let (StoredAgainNotAnnounced | LookBeforePrepared, Reader::Deciding(session)) =
            (self.broken, reader)
        {
            // The look itself would refuse own packs that no Prepared names: that has to be broken as well.
            let own = (0..self.packs.values.len() as u8)
                .filter(|&pack| self.packs.values[pack as usize].0 == session);
            view.add(&Fact::Prepared {
                session: u8::MAX,
                pins: vec![],
                packs: own.collect(),
                root: Root::None,
            });
        }
        for fact in &facts {
            let mut fact = (**fact).clone();
            match (&mut fact, self.broken, reader) {
                (Fact::Mark { mark, revokes, .. }, ThreatenedBaseTrusted, Reader::Pinning)
                    if !dead.contains(mark) =>
                {
                    revokes.clear();
                }
                (Fact::Mark { mark, packs, .. }, MarkedReliedOn, Reader::Pushing(_))
                    if !dead.contains(mark) =>
                {
                    packs.clear();
                }
                (Fact::Mark { packs, .. }, OwnPacksNotTracked, Reader::Pushing(session)) => {
                    packs.retain(|&pack| self.packs.values[pack as usize].0 != session);
                }
                (Fact::Mark { mark, packs, .. }, OthersMarksOverlooked, Reader::Collecting(name))
                    if *mark / 2 != name && !dead.contains(mark) =>
                {
                    packs.clear();
                }
                (Fact::Prepared { pins, .. }, PinsIgnored, Reader::Collecting(_)) => pins.clear(),
                (Fact::Prepared { session, root, .. }, PreparedRootsIgnored, Reader::Collecting(_))
                    if !finished(*session) =>
                {
                    *root = Root::None;
                }
                (Fact::Mark { revokes, .. }, RevocationVoidsNothing, Reader::Anybody) => revokes.clear(),
                (Fact::Mark { revokes, .. }, RevocationActsAtMark, _) => {
                    let revokes = revokes.clone();
                    view.add(&Fact::Mark { mark: u8::MAX, packs: vec![], revokes });
                    view.add(&Fact::Dead { mark: u8::MAX });
                }
                (Fact::Removed { session: BASE }, RemovedNamesSnapshot, _) => {
                    view.add(&Fact::Removed { session: UNDELETE });
                }
                _ => {}
            }
            view.add(&fact);
        }
        self.checkpoints(set).iter().for_each(|checkpoint| view.add_folded(&checkpoint.0));
        view
    }

    pub fn shown(&mut self, set: u32) -> Shown {
        if self.shown.len() <= set as usize {
            self.shown.resize(set as usize + 1, None);
        }
        if let Some(shown) = self.shown[set as usize] {
            return shown;
        }
        let view = self.read(set, Reader::Anybody);
        let shown = Shown {
            visible: view.visible_sessions().fold(0, |all, session| all | 1 << session),
            removed: (0..RESCUE)
                .filter(|&session| self.named_in_removed(set, session))
                .fold(0, |all, s| all | 1 << s),
            alive: view.announced_packs().fold(0, |all, pack| all | 1 << pack),
            relied: view
                .announced_packs()
                .filter(|&pack| view.may_rely(pack))
                .fold(0, |all, pack| all | 1 << pack),
        };
        self.shown[set as usize] = Some(shown);
        shown
    }

    pub fn named_in_removed(&self, set: u32, session: u8) -> bool {
        self.facts_of(set).iter().any(|fact| **fact == Fact::Removed { session })
            || self.checkpoints(set).iter().any(|checkpoint| checkpoint.0.removed.contains(&session))
    }

    pub fn held(&self, packs: u64) -> u16 {
        (0..64).filter(|pack| packs >> pack & 1 == 1).fold(0, |all, pack| all | self.ids(pack))
    }

    /// What is wrong in this state, if anything.
    pub fn violation(&mut self, state: &State) -> Option<String> {
        let shown = self.shown(state.facts);
        let held = self.held(shown.alive & state.packs);
        for session in (0..RESCUE).filter(|session| shown.visible >> session & 1 == 1) {
            let lost = closure(session, Root::Publication) & !held;
            if lost != 0 {
                return Some(format!("visible session {session} lacks {lost:#b}"));
            }
        }
        for (number, actor) in self.actors.iter().enumerate() {
            let Actor::Push(push) = actor else { continue };
            let acked = *self.locals.values[state.at[number] as usize] == Local::Acked;
            if acked && (shown.visible | shown.removed) >> push.session & 1 == 0 {
                return Some(format!("acknowledged session {} is not visible", push.session));
            }
        }
        self.wrong_copy(state)
    }

    fn announce(&mut self, state: &State, local: &Local, out: &mut dyn FnMut(&mut World, u32, u64, Local)) {
        match *local {
            Local::Start => {
                let view = self.view(state.facts, Reader::Anybody);
                let dead = view.dead_packs().fold(0, |all, pack| all | 1u64 << pack);
                let listed = state.packs & !dead;
                if (0..64).any(|pack| listed >> pack & 1 == 1 && !view.announced(pack)) {
                    out(self, state.facts, state.packs, Local::Listed(listed));
                }
            }
            Local::Listed(packs) => {
                let packs: Vec<u8> = (0..64).filter(|pack| packs >> pack & 1 == 1).collect();
                let view = self.view(state.facts, Reader::Anybody);
                if packs.iter().any(|pack| view.marked(*pack)) {
                    self.seen.insert("announced what is marked");
                }
                let fact = Fact::Prepared { session: REPAIR, pins: vec![], packs, root: Root::None };
                let facts = self.put(state.facts, fact);
                self.seen.insert("announced for others");
                out(self, facts, state.packs, Local::Done);
            }
            _ => {}
        }
    }

    /// Every state that one request of `actor` leads to. What it depends on is small, so it is remembered.
    pub fn steps(&mut self, number: usize, state: &State) -> Rc<[Step]> {
        let key = (number as u8, state.at[number], state.facts, state.packs);
        if let Some(steps) = self.steps.get(&key) {
            return steps.clone();
        }
        if self.steps.len() > 2_000_000 {
            self.steps.clear();
        }
        let local = self.locals.get(state.at[number].into());
        let mut steps = Vec::new();
        let mut out = |world: &mut World, facts: u32, packs: u64, local: Local| {
            let local = world.local(local);
            steps.push((facts, packs, local));
        };
        match self.actors[number].clone() {
            Actor::Push(push) => self.push(&push, state, &local, &mut out),
            Actor::Collect(collect) => self.collect(&collect, state, &local, &mut out),
            Actor::Fold => self.sweep(state, &local, &mut out),
            Actor::Announce => self.announce(state, &local, &mut out),
            // It changes nothing that anybody else sees.
            Actor::Clone(_) => {}
            Actor::Remove(session) => {
                if *local == Local::Start && self.shown(state.facts).visible >> session & 1 == 1 {
                    let facts = self.put(state.facts, Fact::Removed { session });
                    out(self, facts, state.packs, Local::Done);
                }
            }
            Actor::UndeleteBare => {
                let removed = Fact::Removed { session: BASE };
                if *local == Local::Start && self.facts_of(state.facts).iter().any(|fact| **fact == removed) {
                    let facts = self.without(state.facts, |fact| *fact == removed);
                    out(self, facts, state.packs, Local::Done);
                }
            }
        }
        let steps: Rc<[_]> = steps.into();
        self.steps.insert(key, steps.clone());
        steps
    }
}
