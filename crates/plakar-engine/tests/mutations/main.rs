//! Every object of a small repository, damaged in every way, and everything that may then be done to it: what comes of it
//! stands in [`outcomes`], nobody panics, nothing wrong is handed on, what came back before comes back afterwards, and when
//! the right bytes are there again, all is.
//!
//! What opening, a check, a restore and a push make of damage is gone into by the tests of `damage`.

mod scene;

use plakar_engine::heal::{HealObserver, heal};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::push::Checkpoints;
use plakar_engine::repair::{RepairObserver, RepairOptions, repair};
use plakar_engine::sync::{Selection, SyncOptions};
use plakar_engine::{Error, Result};
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::syncing::{Syncing, shown, sync_stores};
use plakar_testkit::world::{Pushing, check_all, open, push, restore};
use scene::{DAMAGES, Damage, Objects, Role, Scene, clean, come_back};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What is done to the damaged repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Ls,
    Check,
    Pull,
    Push,
    SyncFrom,
    SyncTo,
    Cleanup,
    Repair,
    Heal,
}

const ACTS: [Act; 9] = [
    Act::Ls,
    Act::Check,
    Act::Pull,
    Act::Push,
    Act::SyncFrom,
    Act::SyncTo,
    Act::Cleanup,
    Act::Repair,
    Act::Heal,
];

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was done, and nothing was said.
    Done,
    /// It was done as far as it can be, and what is wrong was said.
    Told,
    /// It was not done, and why was said.
    Refused,
}

#[derive(Default)]
struct Heard(Vec<String>);

impl RepairObserver for Heard {
    fn damage(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
    fn lost(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
    fn progress(&mut self, _: u64) {}
}

impl HealObserver for Heard {
    fn damage(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
    fn unmended(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
    fn lost(&mut self, snapshot: &str, paths: &[String], _: u64) {
        self.0.extend(paths.iter().map(|path| format!("{snapshot}: {path}")));
    }
    fn progress(&mut self, _: u64, _: u64) {}
}

fn shared(objects: &Objects) -> Arc<dyn Store> {
    Arc::new(MemoryStore::from_snapshot(objects.clone()))
}

/// What was said while something was done.
type Said = Result<Vec<String>>;

fn list(store: &Arc<dyn Store>) -> Said {
    Ok(open(store.clone())?.damaged())
}

fn pull(store: &Arc<dyn Store>) -> Said {
    let repo = open(store.clone())?;
    let mut said = repo.damaged();
    for snapshot in repo.state().snapshots() {
        let problems = restore(&repo, &snapshot.row.root.node).problems;
        said.extend(problems.iter().map(|(path, e)| format!("{path:?}: {e}")));
    }
    Ok(said)
}

fn pushed(scene: &Scene, store: &Arc<dyn Store>) -> Said {
    let before = list(store)?;
    let outcome = push(store, &scene.tree, &Pushing { now: 1_700_000_100, ..Pushing::default() });
    assert_eq!(outcome.problems, []);
    outcome.result.map(|_| before)
}

fn synced(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> Said {
    let mut said = list(from)?;
    said.extend(list(to)?);
    let (heard, result) = sync_stores(from.clone(), to, &Syncing::default());
    said.extend(
        heard
            .withheld
            .into_iter()
            .flat_map(|(uuid, paths)| paths.into_iter().map(move |p| format!("{uuid}: {p}"))),
    );
    result.map(|_| said)
}

fn repaired(store: &Arc<dyn Store>) -> Said {
    let repo = open(store.clone())?;
    let author = Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) };
    let options = RepairOptions { author, now: 4_000_000_000, grace: 0, fast: false, workers: 1 };
    let mut heard = Heard::default();
    repair(repo, store, &options, &mut heard, &AtomicBool::new(false))?;
    Ok(heard.0)
}

fn healed(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) -> Said {
    let repo = open(store.clone())?;
    let options = SyncOptions {
        selection: Selection::default(),
        author: Author { replica: repo.base().replica().id, writer: WriterId([3; 16]) },
        now: 1_700_000_000,
        workers: 1,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    };
    let mut heard = Heard::default();
    heal(repo, store, &[open(peer.clone())?], &options, &mut heard, &AtomicBool::new(false))?;
    Ok(heard.0)
}

/// A damaged repository.
struct Case<'a> {
    scene: &'a Scene,
    name: &'a Name,
    role: Role,
    damage: Damage,
    objects: Objects,
    /// What comes back of it as it is.
    before: BTreeMap<String, usize>,
}

impl Case<'_> {
    fn try_act(&self, act: Act) -> Outcome {
        let scene = self.scene;
        let case = format!(
            "{act:?}, {:?} {}, {:?}, encrypted {}",
            self.role, self.name, self.damage, scene.encrypted
        );
        let memory = MemoryStore::from_snapshot(self.objects.clone());
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let neighbour = match act {
            Act::SyncFrom => &scene.empty,
            Act::SyncTo => &scene.other,
            _ => &scene.clone,
        };
        let peer_memory = MemoryStore::from_snapshot(neighbour.clone());
        let peer: Arc<dyn Store> = Arc::new(peer_memory.clone());
        let said = match act {
            Act::Ls => list(&store),
            Act::Check => open(store.clone()).and_then(|repo| check_all(&repo, false)).map(|(_, said)| said),
            Act::Pull => pull(&store),
            Act::Push => pushed(scene, &store),
            Act::SyncFrom => synced(&store, &peer),
            Act::SyncTo => synced(&peer, &store),
            Act::Cleanup => clean(&store).map(|()| Vec::new()),
            Act::Repair => repaired(&store),
            Act::Heal => healed(&store, &peer),
        };
        if let Err(e) = &said {
            let text = e.to_string();
            assert!(text.contains(": ") || matches!(e, Error::Missing { .. }), "{case}: {text}");
        }
        match act {
            Act::SyncFrom => self.has_what_is_whole(&peer, &case),
            _ => assert!(peer_memory.snapshot() == *neighbour, "{case}: it was to be read only"),
        }
        let after = memory.snapshot();
        if after != self.objects {
            assert!(
                matches!(act, Act::Push | Act::SyncTo | Act::Cleanup | Act::Repair | Act::Heal),
                "{case}"
            );
            if !matches!(act, Act::Cleanup | Act::Heal) {
                assert!(self.objects.keys().all(|name| after.contains_key(name)), "{case}: deleted");
            }
            self.takes_nothing_away(&store, act, &case);
            if act == Act::Heal && said.is_ok() {
                // A clone has everything.
                let there = shown(store.clone(), &scene.known, &case);
                assert!(there.is_superset(&scene.visible), "{case}: {there:?}");
            }
            self.comes_back_with_its_bytes(&memory, act, said.is_ok(), &case);
        }
        match said {
            Ok(said) if said.is_empty() => Outcome::Done,
            Ok(_) => Outcome::Told,
            Err(_) => Outcome::Refused,
        }
    }

    fn takes_nothing_away(&self, store: &Arc<dyn Store>, act: Act, case: &str) {
        let after = come_back(store, self.scene, case);
        for (uuid, count) in &self.before {
            // That it was removed comes back.
            let is_removed = act == Act::Heal && !self.scene.visible.contains(uuid);
            assert!(
                is_removed || after.get(uuid) >= Some(count),
                "{case}: {uuid} came back before: {:?} {after:?}",
                self.before
            );
        }
    }

    /// What was synced from the damaged repository is right, and nothing that is whole was kept back; the rest
    /// follows when the damage is mended.
    fn has_what_is_whole(&self, peer: &Arc<dyn Store>, case: &str) {
        let known = &self.scene.known;
        let there = shown(peer.clone(), known, case);
        for (uuid, count) in &self.before {
            assert!(there.contains(uuid) || *count < known[uuid].len(), "{case}: {uuid} is whole");
        }
        if there.is_superset(&self.scene.visible) {
            return;
        }
        let (heard, result) = sync_stores(shared(&self.scene.objects), peer, &Syncing::default());
        assert!(result.is_ok() && heard.withheld.is_empty(), "{case}: {:?}", result.err());
        let there = shown(peer.clone(), known, case);
        assert!(there.is_superset(&self.scene.visible), "{case}: {there:?}");
    }

    /// Whatever was done meanwhile: the right bytes in their place, and all is as it was or better.
    fn comes_back_with_its_bytes(&self, memory: &MemoryStore, act: Act, done: bool, case: &str) {
        let scene = self.scene;
        if act == Act::Cleanup && done && given_up(self.role, self.damage) {
            return;
        }
        memory.tamper_replace(self.name, scene.objects[self.name].clone());
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let repo = open(store.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(repo.damaged(), Vec::<String>::new(), "{case}");
        let (_, said) = check_all(&repo, false).unwrap_or_else(|e| panic!("{case}: {e}"));
        // What was noted as bad stays so: it is read when there is nothing better, and stored anew by whoever pushes it.
        let is_known = |what: &String| act == Act::Repair && what.contains("are known to be bad");
        assert!(said.iter().all(is_known), "{case}: {said:?}");
        let back = come_back(&store, scene, case);
        for uuid in &scene.visible {
            assert_eq!(back.get(uuid), Some(&scene.known[uuid].len()), "{case}: {uuid}");
        }
        if act == Act::SyncTo && done {
            assert!(back.contains_key(&scene.news), "{case}");
        }
    }
}

/// What a cleanup cannot know of: nothing tells that something is missing.
fn given_up(role: Role, damage: Damage) -> bool {
    damage == Damage::Removed && matches!(role, Role::Final | Role::Unfinished)
}

/// What may come of it.
fn outcomes(role: Role, damage: Damage, act: Act) -> &'static [Outcome] {
    use Act::*;
    use Outcome::*;
    match (role, damage, act) {
        // Not sealed: nothing else says which replica this is.
        (Role::Replica, Damage::Swapped, _) => &[Done],
        (Role::Replica | Role::Config | Role::Keyring | Role::Slot, ..) => &[Refused],
        // The others tell when they read what is damaged, which only some snapshots need.
        (Role::Pack, _, Check | Heal) => &[Told],
        (Role::Pack, _, Ls | Push | SyncTo) => &[Done],
        (Role::Pack, _, Pull | SyncFrom) => &[Done, Told],
        (Role::Pack, _, Cleanup) => &[Done, Refused],
        // Another pack under its name is as good as a pack when nobody needs what was in this one.
        (Role::Pack, Damage::Swapped, Repair) => &[Done, Told],
        (Role::Pack, _, Repair) => &[Told],
        // Only a clone remembers them. What they told is as if it had not happened, and of what nobody ended, ended
        // without a snapshot, or was removed, nobody misses it.
        (Role::Pin | Role::Final | Role::Unfinished | Role::Removal, Damage::Removed, Heal) => &[Told],
        (Role::Pin | Role::Final | Role::Unfinished | Role::Removal, Damage::Removed, _) => &[Done],
        // The end tells that there was a beginning.
        (Role::Prepared, Damage::Removed, Check | Repair | Heal) => &[Told],
        (Role::Prepared, Damage::Removed, Cleanup) => &[Refused],
        (Role::Prepared, Damage::Removed, _) => &[Done],
        // What it told of is missed where a snapshot needs it; repair lists the packs again, and has nothing to say.
        (Role::Checkpoint, Damage::Removed, Ls | Push | SyncTo | Repair) => &[Done],
        (Role::Checkpoint, Damage::Removed, Cleanup) => &[Refused],
        (Role::Checkpoint, Damage::Removed, _) => &[Told],
        // It may be a Mark.
        (Role::Checkpoint | Role::Removal, _, Push | SyncTo | Cleanup | Repair) => &[Refused],
        (Role::Checkpoint | Role::Removal, ..) => &[Told],
        // A page of it is read when something in it is wanted.
        (Role::Segment, Damage::AnyBit, Ls | Push | SyncTo) => &[Done, Told],
        (Role::Segment | Role::Prepared | Role::Pin | Role::Final | Role::Unfinished, _, Cleanup) => {
            &[Refused]
        }
        (Role::Segment | Role::Prepared | Role::Pin | Role::Final | Role::Unfinished, ..) => &[Told],
    }
}

fn run(encrypted: bool, damages: &[Damage]) {
    let scene = Scene::new(encrypted);
    let roles: BTreeSet<Role> = scene.roles.values().copied().collect();
    assert_eq!(roles.len(), if encrypted { 12 } else { 10 }, "{roles:?}");
    let mut counts = BTreeMap::<Outcome, usize>::new();
    for (name, role) in &scene.roles {
        for damage in damages {
            let Some(store) = scene.damaged(name, *damage) else { continue };
            let objects = store.snapshot();
            let before =
                come_back(&(Arc::new(store) as Arc<dyn Store>), &scene, &format!("{name} {damage:?}"));
            let case = Case { scene: &scene, name, role: *role, damage: *damage, objects, before };
            for act in ACTS {
                let outcome = case.try_act(act);
                let wanted = outcomes(*role, *damage, act);
                assert!(wanted.contains(&outcome), "{act:?}, {role:?} {name}, {damage:?}: {outcome:?}");
                *counts.entry(outcome).or_default() += 1;
            }
        }
    }
    println!("{} objects, {} cases: {counts:?}", scene.roles.len(), counts.values().sum::<usize>());
}

#[test]
fn whatever_is_done_to_a_damaged_encrypted_repository_loses_nothing() {
    run(true, &DAMAGES);
}

#[test]
fn whatever_is_done_to_a_damaged_plain_repository_loses_nothing() {
    run(false, &[Damage::AnyBit, Damage::Half, Damage::Removed, Damage::Swapped]);
}
