//! The store as one operation of one client sees it.

use super::Simulation;
use super::broken::{Broken, Role};
use super::disk::{CHECKPOINT, DEAD, FINAL, MARK, Object, PIN, PREPARED, ROW, Said, range, top};
use super::world::{Fate, Request, World};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Fact;
use plakar_engine::log::object;
use plakar_store::{Capabilities, Error, ErrorKind, Listed, Name, ReadStore, Result, Store};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// Each request waits for its turn.
pub struct ClientStore {
    simulation: Arc<Simulation>,
    client: usize,
    disk: usize,
    /// The number of the operation.
    deed: u64,
    /// The rule that this one does not keep.
    broken: Option<Broken>,
    own: Mutex<Own>,
}

/// What it did so far, as far as broken rules ask.
#[derive(Default)]
struct Own {
    /// What it put something into, or listed.
    touched: BTreeSet<String>,
    /// When it listed something.
    listed: u64,
    /// It is shown what was put before that, and what it put itself.
    stale: Option<u64>,
    /// Kinds of facts that it put.
    put: u8,
    /// Whether it deleted something.
    deleted: bool,
}

impl ClientStore {
    /// For the operation with this number.
    pub fn new(
        simulation: Arc<Simulation>,
        (client, disk, deed): (usize, usize, u64),
        role: Role,
    ) -> ClientStore {
        let broken = simulation.options.broken.filter(|broken| broken.role().is_none_or(|who| who == role));
        let own = Mutex::default();
        ClientStore { simulation, client, disk, deed, broken, own }
    }

    /// For repositories that are not encrypted.
    fn sealer(&self) -> Option<&Sealer> {
        self.simulation.sealers[self.disk].as_ref()
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().expect("no panic while held")
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn request<T>(
        &self,
        request: Request,
        name: &str,
        act: impl FnOnce(&mut World, &Fate) -> Result<T>,
    ) -> Result<T> {
        self.simulation.request(self.client, self.disk, request, name, act)
    }

    fn read(
        &self,
        request: Request,
        name: &Name,
        read: impl FnOnce(&Arc<[u8]>) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        self.request(request, name.as_str(), |world, fate| {
            let object = world.disks[self.disk].objects.get(name);
            let object = object.ok_or_else(|| Error::new(ErrorKind::NotFound, name.as_str()))?;
            let mut bytes = read(&object.bytes)?;
            match fate {
                Fate::Flip(bit) if !bytes.is_empty() => {
                    let at = (bit / 8) as usize % bytes.len();
                    bytes[at] ^= 1 << (bit % 8);
                }
                Fate::Short(_) if request == Request::Range => {
                    return Err(Error::new(ErrorKind::Short, name.as_str()));
                }
                Fate::Short(keep) => bytes.truncate(*keep as usize % (bytes.len() + 1)),
                _ => {}
            }
            Ok(bytes)
        })
    }

    /// Whether this listing shows an object.
    fn shows(&self, own: &Own, world: &World, object: &Object) -> bool {
        if object.by == self.deed {
            return true;
        }
        if object.hidden {
            return false;
        }
        let said = &object.said;
        if own.stale.is_some_and(|since| object.at > since) {
            return false;
        }
        match self.broken {
            Some(Broken::MarksNotSeen | Broken::OtherMarksNotSeen) => !said.has(MARK),
            Some(Broken::EndedNotSeen) => !(own.put & MARK != 0 && said.has(FINAL) && object.at > own.listed),
            Some(Broken::UnfinishedNotWalked) => {
                let finals = world.disks[self.disk].objects.values().filter(|other| other.said.has(FINAL));
                !said.has(PREPARED) || finals.map(|other| other.said.session).any(|s| s == said.session)
            }
            _ if self.is(Broken::ListsLate) || !self.simulation.capabilities.strong_list => {
                object.at == 0 || object.at + 40 <= world.tick
            }
            _ => true,
        }
    }

    fn put_now(&self, name: &Name, bytes: &[u8], said: Said) -> Result<()> {
        self.own().touched.insert(top(name).to_owned());
        self.request(Request::Put, name.as_str(), |world, fate| {
            let hidden = match self.broken {
                Some(Broken::AnnouncedAfterLooking) => said.has(ROW),
                Some(Broken::DeletesBeforeDead) => said.has(DEAD),
                _ => false,
            };
            let object = Object { bytes: bytes.into(), at: world.tick, by: self.deed, said, hidden };
            let disk = &mut world.disks[self.disk];
            if said.has(FINAL) {
                disk.show(self.deed);
            }
            match fate {
                Fate::Late(due) => {
                    disk.later(*due, name, Some(object));
                    return Err(Error::new(ErrorKind::Io, format!("{name}: no answer")));
                }
                Fate::Twice(due) => disk.later(*due, name, Some(object.clone())),
                _ => {}
            }
            disk.put(name, object)
        })
    }

    /// A checkpoint that says less.
    fn forgetful(&self, name: &Name, bytes: &[u8]) -> Option<(Name, Vec<u8>)> {
        let sealer = self.sealer()?;
        let mut facts = object::decode(name, bytes.to_vec(), sealer).ok()?;
        for fact in &mut facts {
            if let Fact::Checkpoint(checkpoint) = fact {
                checkpoint.published.pop();
            }
        }
        let author = Author { replica: self.simulation.replicas[self.disk], writer: WriterId([9; 16]) };
        Some(object::encode(&facts, &author, sealer, 1_700_000_000))
    }
}

impl ReadStore for ClientStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.read(Request::Range, name, |bytes| range(bytes, name, offset, len))
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.read(Request::Get, name, |bytes| match bytes.len() > max {
            true => Err(Error::new(ErrorKind::TooLarge, name.as_str())),
            false => Ok(bytes.to_vec()),
        })
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.request(Request::Len, name.as_str(), |world, _| {
            let object = world.disks[self.disk].objects.get(name);
            let object = object.ok_or_else(|| Error::new(ErrorKind::NotFound, name.as_str()))?;
            Ok(object.bytes.len() as u64)
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let listed = self.request(Request::List, prefix, |world, _| {
            let mut own = self.own();
            if std::mem::take(&mut own.deleted) {
                world.disks[self.disk].show(self.deed);
            }
            own.touched.insert(prefix.split('/').next().unwrap_or_default().to_owned());
            let listed =
                world.disks[self.disk].list(prefix, &|object: &Object| self.shows(&own, world, object));
            if own.stale.is_none() && own.put & MARK == 0 {
                own.listed = world.tick;
            }
            if self.is(Broken::ReaderLooksOnce) && prefix.starts_with("log") {
                own.stale.get_or_insert(world.tick);
            }
            Ok(listed)
        })?;
        listed.into_iter().try_for_each(each)
    }

    fn capabilities(&self) -> Capabilities {
        self.simulation.capabilities
    }

    fn location(&self) -> String {
        "a simulated store".into()
    }
}

impl Store for ClientStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let bytes = parts.concat();
        let said = match self.simulation.options.broken {
            Some(_) => Said::of(name, &bytes, self.sealer()),
            None => Said::default(),
        };
        if self.is(Broken::CheckpointForgets)
            && said.has(CHECKPOINT)
            && let Some((name, bytes)) = self.forgetful(name, &bytes)
        {
            return self.put_now(&name, &bytes, said);
        }
        if self.is(Broken::PinTooLate) && said.has(PIN) {
            return Ok(());
        }
        self.put_now(name, &bytes, said)?;
        let mut own = self.own();
        own.put |= said.kinds;
        let (from, until) = match self.broken {
            Some(Broken::PinNotLookedAt) => (PIN, ROW),
            Some(Broken::NoLookBeforeFinal) => (ROW, FINAL),
            Some(Broken::NoLastLook) => (FINAL, 0),
            Some(Broken::NoSecondLook) => (MARK, DEAD),
            _ => (0, 0),
        };
        if said.has(until) {
            own.stale = None;
        } else if said.has(from) {
            own.stale = Some(own.listed);
        }
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.own().touched.insert(top(name).to_owned());
        self.request(Request::Delete, name.as_str(), |world, fate| {
            let disk = &mut world.disks[self.disk];
            match fate {
                Fate::Late(due) => {
                    disk.later(*due, name, None);
                    return Err(Error::new(ErrorKind::Io, format!("{name}: no answer")));
                }
                Fate::Twice(due) => disk.later(*due, name, None),
                _ => {}
            }
            disk.delete(name);
            self.own().deleted = true;
            Ok(())
        })
    }

    fn barrier(&self) -> Result<()> {
        let put = self.own().put;
        let skipped = match self.broken {
            Some(Broken::NoBarriers | Broken::CloneNotFlushed) => true,
            Some(Broken::BarrierOnlyAfterFinal) => put & FINAL == 0,
            Some(Broken::DeadNotFlushed) => put & DEAD != 0,
            Some(Broken::CheckpointNotFlushed) => put & CHECKPOINT != 0,
            _ => false,
        };
        if skipped {
            return Ok(());
        }
        // A folder is flushed by whoever put something into it or saw something there, once.
        let touched = std::mem::take(&mut self.own().touched);
        self.request(Request::Barrier, "", |world, _| {
            world.disks[self.disk].barrier(&touched);
            Ok(())
        })
    }
}
