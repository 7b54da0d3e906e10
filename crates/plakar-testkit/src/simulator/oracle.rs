//! What must be true at every moment: what is visible is whole and is what was pushed; what was acknowledged is visible
//! unless it was removed; what was removed is not.

use super::world::{Collectors, World};
use crate::collecting::reached;
use crate::world::{Restored, check_all, open, restore};
use plakar_engine::Error;
use plakar_engine::block::ItemId;
use plakar_engine::id::{NodeId, SessionId};
use plakar_engine::pack::pack_name;
use plakar_engine::repository::Repository;
use plakar_store::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Removals of one snapshot.
#[derive(Debug, Clone, Copy, Default)]
struct Removing {
    running: u32,
    /// When the last one ended.
    ended: u64,
}

/// What must be true of one store.
#[derive(Default)]
pub struct Ledger {
    /// Snapshots that a client was told are safe, by the second they were made.
    acknowledged: BTreeSet<i64>,
    removing: BTreeMap<i64, Removing>,
    /// Publications that a client was told are removed.
    removed: BTreeSet<SessionId>,
    /// Trees that came back whole, and what they consist of.
    trees: HashMap<NodeId, Arc<BTreeSet<ItemId>>>,
}

impl Ledger {
    /// A client that began at `began` was told that this snapshot is safe.
    pub fn acknowledge(&mut self, made: i64, began: u64) {
        if self.is_left_alone(&made, began) {
            self.acknowledged.insert(made);
        }
    }

    /// Whether nobody removed it since `began`: a removal that runs meanwhile may or may not mean it.
    fn is_left_alone(&self, made: &i64, began: u64) -> bool {
        self.removing.get(made).is_none_or(|removing| removing.running == 0 && removing.ended < began)
    }

    /// Snapshots that a client was told are safe.
    pub fn acknowledged(&self) -> &BTreeSet<i64> {
        &self.acknowledged
    }

    /// A client is about to remove these.
    pub fn removes(&mut self, made: &BTreeSet<i64>) {
        for made in made {
            self.removing.entry(*made).or_default().running += 1;
            self.acknowledged.remove(made);
        }
    }

    /// It has ended; with success if there are sessions.
    pub fn has_removed(&mut self, made: &BTreeSet<i64>, sessions: &[SessionId], now: u64) {
        for made in made {
            let removing = self.removing.entry(*made).or_default();
            removing.running -= 1;
            removing.ended = now;
        }
        self.removed.extend(sessions);
    }
}

/// What is wrong with a snapshot.
enum Wrong {
    /// Something of it is not there. Whoever reads it is told.
    Incomplete(String),
    /// It is something else.
    Other(String),
}

impl From<Wrong> for String {
    fn from(wrong: Wrong) -> String {
        match wrong {
            Wrong::Incomplete(what) | Wrong::Other(what) => what,
        }
    }
}

impl World {
    /// Looks at a store; with `restores`, every byte of every snapshot is read.
    pub fn look_at(&mut self, disk: usize, restores: bool, when: &str) {
        let changes = self.disks[disk].changes;
        if !restores && std::mem::replace(&mut self.seen[disk], changes) == changes {
            return;
        }
        let lenient = self.rotten[disk] || (Some(disk) == self.clone && self.copied_damage);
        // Where something has gone bad, only what is read is known.
        if lenient && !restores && !self.tally.operations.is_multiple_of(5) {
            return;
        }
        self.tally.checks += 1;
        if let Err(loss) = self.check(disk, restores || lenient, lenient) {
            let tick = self.tick;
            self.say(|| format!("{loss}, {when}"));
            self.loss.get_or_insert(format!("store {disk}, request {tick}, {when}: {loss}"));
        }
    }

    fn check(&mut self, disk: usize, restores: bool, lenient: bool) -> Result<(), String> {
        let store = Arc::new(self.disks[disk].frozen());
        let is_clone = Some(disk) == self.clone;
        let repo = match open(store.clone()) {
            Err(Error::NoRepository(_) | Error::Unfinished(_)) if is_clone && !self.cloned => return Ok(()),
            other => other.map_err(|e| format!("it does not open: {e}"))?,
        };
        let damaged = !repo.damaged().is_empty();
        if damaged && !lenient {
            return Err(format!("damage: {:?}", repo.damaged()));
        }
        let snapshots = repo.state().snapshots();
        let (mut visible, mut incomplete) = (BTreeSet::new(), Vec::new());
        for snapshot in &snapshots {
            let (made, root) = (snapshot.row.created.secs, snapshot.row.root.node);
            visible.insert(made);
            // A removal may be what is damaged.
            if self.ledgers[disk].removed.contains(&snapshot.session) && !damaged {
                return Err(format!("snapshot {made} was removed and is there"));
            }
            match self.whole(&repo, &store.0, disk, (made, &root), restores) {
                Ok(()) => {}
                Err(Wrong::Other(what)) => return Err(what),
                Err(Wrong::Incomplete(what)) if lenient => incomplete.push(what),
                // It was removed at the source, or is about to be, and the clone does not know yet.
                Err(Wrong::Incomplete(_)) if is_clone && !self.is_visible(0, snapshot.session) => {}
                Err(Wrong::Incomplete(what)) => return Err(what),
            }
        }
        self.tally.snapshots += visible.len() as u64;
        if let Some(made) = self.ledgers[disk].acknowledged.difference(&visible).next() {
            let what = format!("snapshot {made} was acknowledged and is not there");
            if !lenient {
                return Err(what);
            }
            incomplete.push(what);
        }
        // What went bad is told by whoever looks for it.
        let says_nothing = || check_all(&repo, false).is_ok_and(|(_, said)| said.is_empty());
        match incomplete.first() {
            Some(what) if says_nothing() => Err(format!("a check finds nothing wrong, but {what}")),
            _ => Ok(()),
        }
    }

    /// Whether a publication is visible in a store now.
    fn is_visible(&self, disk: usize, session: SessionId) -> bool {
        let repo = open(Arc::new(self.disks[disk].frozen()));
        repo.is_ok_and(|repo| repo.state().view.visible(session))
    }

    /// Whether a client that was untroubled must have been able to read a snapshot. `before` were the cleanups when it
    /// began.
    pub fn must_be_readable(
        &self,
        client: usize,
        disk: usize,
        session: SessionId,
        before: Collectors,
    ) -> bool {
        // Whoever reads looks once more where something is now, not twice.
        let cleanups = self.collectors[disk].begun - before.begun + before.running;
        self.is_untroubled(client, disk)
            && cleanups <= 1
            && !self.rotten[disk]
            && Some(disk) != self.clone
            && self.is_visible(disk, session)
    }

    /// Whether what was restored of a snapshot is what was pushed, but for what there were problems with.
    pub fn compare(&self, made: i64, restored: &Restored) -> Result<(), String> {
        let Some(expected) = self.known.get(&made) else {
            return Err(format!("nobody pushed snapshot {made}"));
        };
        let Some(expected) = expected else { return Ok(()) };
        let same = match restored.problems.is_empty() {
            true => *expected == restored.entries,
            false => restored.entries.iter().all(|(path, seen)| expected.get(path) == Some(seen)),
        };
        if same { Ok(()) } else { Err(format!("snapshot {made} is not what was pushed")) }
    }

    fn whole(
        &mut self,
        repo: &Repository,
        objects: &BTreeMap<Name, Arc<[u8]>>,
        disk: usize,
        (made, root): (i64, &NodeId),
        restores: bool,
    ) -> Result<(), Wrong> {
        let items = match self.ledgers[disk].trees.get(root) {
            Some(items) if !restores => items.clone(),
            _ => self.comes_back(repo, disk, made, root)?,
        };
        is_whole(repo, objects, &items).map_err(|e| Wrong::Incomplete(format!("snapshot {made}: {e}")))
    }

    /// Restores a snapshot into memory and compares.
    fn comes_back(
        &mut self,
        repo: &Repository,
        disk: usize,
        made: i64,
        root: &NodeId,
    ) -> Result<Arc<BTreeSet<ItemId>>, Wrong> {
        self.tally.restored += 1;
        let restored = restore(repo, root);
        self.compare(made, &restored).map_err(Wrong::Other)?;
        if let Some((path, e)) = restored.problems.first() {
            let path = path.join(&b'/');
            let path = String::from_utf8_lossy(&path);
            return Err(Wrong::Incomplete(format!("snapshot {made}: {path}: {e}")));
        }
        let items = match self.ledgers[disk].trees.get(root) {
            Some(items) => items.clone(),
            None => {
                let reached = reached(repo, root);
                Arc::new(reached.map_err(|e| Wrong::Incomplete(format!("snapshot {made}: {e}")))?)
            }
        };
        self.ledgers[disk].trees.insert(*root, items.clone());
        Ok(items)
    }

    /// Somebody is about to remove these.
    pub fn removes(&mut self, disk: usize, made: &BTreeSet<i64>) {
        self.ledgers[disk].removes(made);
        // The clone may get to know of it at any time.
        if let (0, Some(clone)) = (disk, self.clone) {
            self.ledgers[clone].acknowledged.retain(|one| !made.contains(one));
        }
    }

    /// A clone that was begun at `began` is complete: it has what was `safe` then and was not removed since.
    pub fn has_cloned(&mut self, disk: usize, safe: &BTreeSet<i64>, damaged: u64, began: u64) {
        self.cloned = true;
        self.copied_damage = damaged > 0;
        let here: Vec<_> = safe.iter().filter(|made| self.ledgers[0].is_left_alone(made, began)).collect();
        self.ledgers[disk].acknowledged.extend(here);
    }
}

/// Whether each item lies in a pack that is there and not dead. Packs never change and were read when their items were met
/// first, so this is as good as reading them again.
fn is_whole(
    repo: &Repository,
    objects: &BTreeMap<Name, Arc<[u8]>>,
    items: &BTreeSet<ItemId>,
) -> Result<(), String> {
    let view = &repo.state().view;
    let mut packs = HashMap::new();
    for item in items {
        let places = repo.index().find(item).map_err(|e| e.to_string())?;
        let here = places.iter().any(|place| {
            let len = *packs.entry(place.pack).or_insert_with(|| match view.dead(place.pack) {
                true => 0,
                false => objects.get(&pack_name(&place.pack)).map_or(0, |bytes| bytes.len() as u64),
            });
            u64::from(place.offset) + u64::from(place.sealed_len) <= len
        });
        if !here {
            let places: Vec<_> = places
                .iter()
                .map(|place| {
                    let there = objects.contains_key(&pack_name(&place.pack));
                    let (dead, marked) = (view.dead(place.pack), view.marked(place.pack));
                    format!("{} (there: {there}, marked: {marked}, dead: {dead})", place.pack)
                })
                .collect();
            return Err(format!("{item} is nowhere: {places:?}"));
        }
    }
    Ok(())
}
