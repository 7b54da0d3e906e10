//! What a simulated store holds, and what it forgets.

use crate::source::Random;
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::SessionId;
use plakar_engine::log::fact::Fact;
use plakar_engine::log::object;
use plakar_store::{Capabilities, Error, ErrorKind, Listed, Name, ReadStore, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What the facts of a log object are, as far as broken rules ask for it. Nothing is known of encrypted ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// Kinds of facts.
    pub kinds: u8,
    /// The session of a Prepared or a Final.
    pub session: Option<SessionId>,
}

/// A Prepared without packs, row or partial root: it pins.
pub const PIN: u8 = 1;
/// A Prepared.
pub const PREPARED: u8 = 2;
/// A Prepared that is its session's last.
pub const ROW: u8 = 4;
/// A Final.
pub const FINAL: u8 = 8;
/// A Mark.
pub const MARK: u8 = 16;
/// A Dead.
pub const DEAD: u8 = 32;
/// A Checkpoint.
pub const CHECKPOINT: u8 = 64;

impl Said {
    /// Reads what an object says.
    pub fn of(name: &Name, bytes: &[u8], sealer: Option<&Sealer>) -> Said {
        let mut said = Said::default();
        let Some(sealer) = sealer.filter(|_| matches!(name.folder(), Some("log" | "admin"))) else {
            return said;
        };
        for fact in object::decode(name, bytes.to_vec(), sealer).into_iter().flatten() {
            said.kinds |= match &fact {
                Fact::Prepared(prepared) => {
                    said.session = Some(prepared.session);
                    let pin =
                        prepared.packs.is_empty() && prepared.row.is_none() && prepared.partial.is_none();
                    PREPARED | if prepared.row.is_some() { ROW } else { 0 } | if pin { PIN } else { 0 }
                }
                Fact::Final(session) => {
                    said.session = Some(*session);
                    FINAL
                }
                Fact::Mark(_) => MARK,
                Fact::Dead(_) => DEAD,
                Fact::Checkpoint(_) => CHECKPOINT,
                Fact::Removed(_) | Fact::Bad(_) => 0,
            };
        }
        said
    }

    /// Whether it has a fact of one of these kinds.
    pub fn has(&self, kinds: u8) -> bool {
        self.kinds & kinds != 0
    }
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// What was put.
    pub bytes: Arc<[u8]>,
    /// At which request.
    pub at: u64,
    /// By which deed.
    pub by: u64,
    /// What it says.
    pub said: Said,
    /// Only the operation that put it is shown it, as if it had yet to put it.
    pub hidden: bool,
}

impl Object {
    /// One that was there before everything.
    pub fn old(bytes: Vec<u8>) -> Object {
        Object { bytes: bytes.into(), at: 0, by: 0, said: Said::default(), hidden: false }
    }
}

/// Something that was not done when it was asked for, and may be done yet.
#[derive(Debug)]
struct Late {
    due: u64,
    name: Name,
    object: Option<Object>,
}

/// What survives a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Whatever anybody put before, as in a database.
    Everything,
    /// What anybody put into those folders that the asker put something into or listed, and beside all folders, as where
    /// folders are flushed.
    Folders,
}

/// How something that is stored goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rot {
    /// A bit becomes another.
    Flip,
    /// It ends early.
    Short,
    /// It is not there any more.
    Gone,
}

/// All objects, and for what changed since the last barrier, what was there before.
#[derive(Debug)]
pub struct Disk {
    /// What is there.
    pub objects: BTreeMap<Name, Object>,
    unsynced: Vec<(Name, Vec<Option<Object>>)>,
    late: Vec<Late>,
    /// How often it changed.
    pub changes: u64,
    /// So many bytes can still be put.
    pub room: Option<u64>,
    /// What a barrier here does.
    scope: Scope,
}

/// The first component of a name.
pub fn top(name: &Name) -> &str {
    name.as_str().split('/').next().unwrap_or_default()
}

impl Disk {
    /// Holds these objects, all durable.
    pub fn new(objects: BTreeMap<Name, Vec<u8>>, scope: Scope) -> Disk {
        let objects = objects.into_iter().map(|(name, bytes)| (name, Object::old(bytes))).collect();
        Disk { objects, unsynced: Vec::new(), late: Vec::new(), changes: 0, room: None, scope }
    }

    /// How many objects a power cut may change.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    fn remember(&mut self, name: &Name) {
        self.changes += 1;
        let before = self.objects.get(name).cloned();
        match self.unsynced.iter_mut().find(|(other, _)| other == name) {
            Some((_, states)) => states.push(before),
            None => self.unsynced.push((name.clone(), vec![before])),
        }
    }

    /// Puts an object, by the contract of stores.
    pub fn put(&mut self, name: &Name, object: Object) -> Result<()> {
        if let Some(there) = self.objects.get(name) {
            return match there.bytes == object.bytes {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Exists, name.as_str())),
            };
        }
        let len = object.bytes.len() as u64;
        match &mut self.room {
            Some(room) if *room < len => return Err(Error::new(ErrorKind::Full, name.as_str())),
            Some(room) => *room -= len,
            None => {}
        }
        self.remember(name);
        self.objects.insert(name.clone(), object);
        Ok(())
    }

    /// Takes an object away.
    pub fn delete(&mut self, name: &Name) {
        if self.objects.contains_key(name) {
            self.remember(name);
            self.objects.remove(name);
        }
    }

    /// Puts what this operation has yet to put.
    pub fn show(&mut self, deed: u64) {
        self.objects.values_mut().filter(|object| object.by == deed).for_each(|object| object.hidden = false);
    }

    /// Lets one of the objects go bad whose name begins with one of these. Returns which.
    pub fn rot(&mut self, prefixes: &[&str], how: Rot, nth: u64) -> Option<Name> {
        let names = self.objects.keys();
        let names: Vec<_> =
            names.filter(|name| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix))).collect();
        let name = (*names.get(nth as usize % names.len().max(1))?).clone();
        self.changes += 1;
        // It was durable, and is so now.
        self.unsynced.retain(|(other, _)| *other != name);
        let mut bytes = self.objects.get(&name)?.bytes.to_vec();
        let at = (nth >> 32) as usize % bytes.len().max(1);
        match how {
            Rot::Flip => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (nth % 8)),
            Rot::Short => bytes.truncate(at),
            Rot::Gone => _ = self.objects.remove(&name),
        }
        if let Some(object) = self.objects.get_mut(&name) {
            object.bytes = bytes.into();
        }
        Some(name)
    }

    /// What a client asks for that put something into the folders `touched`, or listed them.
    pub fn barrier(&mut self, touched: &BTreeSet<String>) {
        match self.scope {
            Scope::Everything => self.unsynced.clear(),
            Scope::Folders => {
                let is_safe = |name: &Name| name.folder().is_none() || touched.contains(top(name));
                self.unsynced.retain(|(name, _)| !is_safe(name));
            }
        }
    }

    /// Has something happen at request `due`: a put, or a delete of what has no bytes.
    pub fn later(&mut self, due: u64, name: &Name, object: Option<Object>) {
        self.late.push(Late { due, name: name.clone(), object });
    }

    /// Does what is due.
    pub fn do_late(&mut self, now: u64) {
        while let Some(at) = self.late.iter().position(|late| late.due <= now) {
            let late = self.late.swap_remove(at);
            match late.object {
                // There may be no room, or other bytes: then it is not done at all.
                Some(object) => drop(self.put(&late.name, Object { at: now, ..object })),
                None => self.delete(&late.name),
            }
        }
    }

    /// Cuts the power: each object put or deleted since a barrier falls back, by chance, to any state it had since, or
    /// stays. What was on its way may have been lost. Returns how many fell back.
    pub fn crash(&mut self, random: &mut Random) -> usize {
        let mut fell = 0;
        for (name, mut states) in std::mem::take(&mut self.unsynced) {
            let fate = random.below(states.len() as u64 + 1) as usize;
            if fate < states.len() {
                fell += 1;
                match states.swap_remove(fate) {
                    Some(object) => drop(self.objects.insert(name, object)),
                    None => drop(self.objects.remove(&name)),
                }
            }
        }
        self.late.retain(|_| random.below(2) == 0);
        fell
    }

    /// Lists what `shows` lets through.
    pub fn list(&self, prefix: &str, shows: &dyn Fn(&Object) -> bool) -> Vec<Listed> {
        let from = self.objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let here = from.take_while(|(name, _)| name.as_str().starts_with(prefix));
        let listed = |(name, object): (&Name, &Object)| Listed {
            name: name.clone(),
            len: object.bytes.len() as u64,
            received_ms: object.at as i64 * 1000,
        };
        here.filter(|(_, object)| shows(object)).map(listed).collect()
    }

    /// What is there now, to be read.
    pub fn frozen(&self) -> Frozen {
        let objects = self.objects.iter().filter(|(_, object)| !object.hidden);
        let objects = objects.map(|(name, object)| (name.clone(), object.bytes.clone()));
        Frozen(objects.collect())
    }
}

/// A range of bytes, as the contract wants it.
pub fn range(bytes: &[u8], name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
    let range = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(len)?));
    match range.and_then(|range| bytes.get(range)) {
        Some(part) => Ok(part.to_vec()),
        None => Err(Error::new(ErrorKind::Short, format!("{name}, {len} bytes at {offset}"))),
    }
}

/// What a disk held at one moment.
pub struct Frozen(pub BTreeMap<Name, Arc<[u8]>>);

impl Frozen {
    fn object(&self, name: &Name) -> Result<&Arc<[u8]>> {
        self.0.get(name).ok_or_else(|| Error::new(ErrorKind::NotFound, name.as_str()))
    }
}

impl ReadStore for Frozen {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        range(self.object(name)?, name, offset, len)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        let bytes = self.object(name)?;
        if bytes.len() > max {
            return Err(Error::new(ErrorKind::TooLarge, name.as_str()));
        }
        Ok(bytes.to_vec())
    }

    fn len(&self, name: &Name) -> Result<u64> {
        Ok(self.object(name)?.len() as u64)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let from = self.0.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.as_str().starts_with(prefix)).try_for_each(|(name, bytes)| {
            each(Listed { name: name.clone(), len: bytes.len() as u64, received_ms: 0 })
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: true, append_only: false }
    }

    fn location(&self) -> String {
        "a simulated store".into()
    }
}
