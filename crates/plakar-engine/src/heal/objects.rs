//! Mending objects of `log/`, `admin/` and `index/`: what is damaged or missing here is fetched from repositories of the
//! same domain that have it, by the hash in its name.
//!
//! Bytes are put in place only when they hash to the name and decode under the keys of this repository. A store replaces
//! nothing, so what is damaged is deleted first. In `log/` and `admin/` the right bytes are put under a second name before
//! that (the time in a name is for people only): at no moment does a look miss a fact that may be a Mark, and a crash
//! leaves at least one whole copy. A segment may be missing for a moment, which is the same to everybody as a damaged
//! one; the facts still name it.
//!
//! What is missing altogether is known in two cases only: an object that bears this repository's own replica id was put
//! here once; and a Final whose Prepared is gone. Any other fact that another repository has may be its own: it does not
//! concern this one.
//!
//! Not here: a segment that nobody has. What only it knew is stored anew by the walk.

use crate::check;
use crate::clone::{SEGMENT_BYTES_MAX, SHORTEST_BYTES};
use crate::error::{Error, Result};
use crate::id::{ObjectHash, ReplicaId, SessionId};
use crate::index::segment::{Segment, SegmentSource, segment_name};
use crate::log::fact::Fact;
use crate::log::object::{Class, LOG_BYTES_MAX, decode, hash_in_name, name_of, replica_in};
use crate::repository::{Repository, Unlocked};
use plakar_store::{ErrorKind, Name, ReadStore, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

/// What came of it.
#[derive(Default)]
pub struct Mended {
    /// What was wrong, in sentences.
    pub damaged: Vec<String>,
    /// What still is.
    pub left: Vec<String>,
    /// Objects that were put in place.
    pub objects: u64,
}

/// Mends what it can and reads the log again.
///
/// # Errors
/// [`Error::Interrupted`]; store errors, also of a peer that is gone as a whole. What was put in place by then stays.
pub fn mend(
    repo: &mut Repository,
    store: &dyn Store,
    peers: &[&Repository],
    now: i64,
    interrupted: &AtomicBool,
) -> Result<Mended> {
    let segments = check::segments(repo)?;
    let unopened = repo.damaged_segments().map(|(hash, _)| *hash);
    let wanted: BTreeSet<_> = unopened.chain(segments.iter().map(|(hash, _)| *hash)).collect();
    let mut mended = Mended { damaged: wrong(repo, segments), ..Mended::default() };
    let logs = peers.iter().map(|peer| Holder::of(&peer.base)).collect::<Result<Vec<_>>>()?;
    let own = Holder::of(&repo.base)?;
    let mending = Mending { base: &repo.base, store, own: &own, peers: &logs, now, interrupted };
    let broken: Vec<_> = repo.log.damaged().map(|(name, _)| name.clone()).collect();
    for name in broken {
        mended.objects += u64::from(mending.log_object(&name)?);
    }
    for hash in wanted {
        mended.objects += u64::from(mending.segment(&hash)?);
    }
    let lost = repo.state.view.ended_without_beginning().collect();
    for name in mending.missing(repo, &lost)? {
        mended.damaged.push(format!("{name}: is missing"));
        mended.objects += 1;
    }
    if mended.objects > 0 {
        repo.refresh()?;
        mended.left = wrong(repo, check::segments(repo)?);
    } else {
        mended.left = mended.damaged.clone();
    }
    Ok(mended)
}

/// What is wrong with log and index, these segments among it, in sentences.
fn wrong(repo: &Repository, segments: Vec<(ObjectHash, String)>) -> Vec<String> {
    let mut wrong = repo.damaged();
    wrong.extend(repo.lost_sessions());
    wrong.extend(segments.into_iter().map(|(_, what)| what));
    wrong
}

/// What a repository has in `log/` and `admin/`.
struct Holder<'a> {
    base: &'a Unlocked,
    /// Names with lengths, by folder and hash.
    objects: HashMap<(Class, ObjectHash), BTreeMap<Name, u64>>,
}

impl Holder<'_> {
    fn of(base: &Unlocked) -> Result<Holder<'_>> {
        let mut objects: HashMap<_, BTreeMap<_, _>> = HashMap::new();
        for class in [Class::Log, Class::Admin] {
            base.store.list(class.folder(), &mut |object| {
                if let Some(hash) = hash_in_name(&object.name) {
                    objects.entry((class, hash)).or_default().insert(object.name, object.len);
                }
                Ok(())
            })?;
        }
        Ok(Holder { base, objects })
    }

    /// An object, unless it cannot be had.
    fn get(&self, name: &Name, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        match self.base.store.get(name, bytes_max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) => self.base.lost(e.into()).map(|_| None),
        }
    }

    /// The repository that an object was written to, as its header says.
    fn replica(&self, name: &Name) -> Result<Option<ReplicaId>> {
        match replica_in(&*self.base.store, name) {
            Ok(replica) => Ok(replica),
            Err(e) => self.base.lost(e).map(|_| None),
        }
    }
}

struct Mending<'a> {
    base: &'a Unlocked,
    store: &'a dyn Store,
    own: &'a Holder<'a>,
    peers: &'a [Holder<'a>],
    now: i64,
    interrupted: &'a AtomicBool,
}

impl Mending<'_> {
    /// Puts in place an object of `log/` or `admin/` that is damaged; `false` when nobody has it.
    fn log_object(&self, name: &Name) -> Result<bool> {
        let Some(hash) = hash_in_name(name) else { return Ok(false) };
        let key = (Class::in_name(name), hash);
        for holder in std::iter::once(self.own).chain(self.peers) {
            for there in holder.objects.get(&key).into_iter().flat_map(BTreeMap::keys) {
                let is_own = std::ptr::eq(holder, self.own);
                if is_own && there == name {
                    continue;
                }
                let Some(bytes) = self.whole(holder, there, name)? else { continue };
                let second = if is_own { there.clone() } else { self.put_beside(key, &bytes)? };
                self.store.delete(name)?;
                self.store.put(name, &[&bytes])?;
                self.store.barrier()?;
                self.prove(name, &bytes)?;
                self.store.delete(&second)?;
                self.store.barrier()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The bytes that a holder has under the name `there`, if they are those that belong under `name` here.
    fn whole(&self, holder: &Holder, there: &Name, name: &Name) -> Result<Option<Vec<u8>>> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let Some(bytes) = holder.get(there, LOG_BYTES_MAX)? else { return Ok(None) };
        Ok(decode(name, bytes.clone(), &self.base.sealer).is_ok().then_some(bytes))
    }

    /// Puts the bytes of an object under a second name; it is durable and proven when this returns.
    fn put_beside(&self, (class, hash): (Class, ObjectHash), bytes: &[u8]) -> Result<Name> {
        for later in 0.. {
            let second = name_of(class, self.now.saturating_add(later), &hash);
            match self.store.put(&second, &[bytes]) {
                Ok(()) => {
                    self.store.barrier()?;
                    self.prove(&second, bytes)?;
                    return Ok(second);
                }
                // What is damaged may lie there.
                Err(e) if e.kind() == ErrorKind::Exists && later < 100 => {}
                Err(e) => return Err(e.into()),
            }
        }
        unreachable!("the last one returns")
    }

    /// Reads back what was put: what else has it is deleted next.
    fn prove(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        match self.store.get(name, LOG_BYTES_MAX) {
            Ok(found) if found == bytes => Ok(()),
            Ok(_) => Err(Error::damaged(name, "does not read back as it was put")),
            Err(e) => Err(e.into()),
        }
    }

    /// Puts in place a segment that is damaged or missing; `false` when nobody has it.
    fn segment(&self, hash: &ObjectHash) -> Result<bool> {
        let name = segment_name(hash);
        for peer in self.peers {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let Some(bytes) = peer.get(&name, SEGMENT_BYTES_MAX)? else { continue };
            if *blake3::hash(&bytes).as_bytes() != hash.0
                || Segment::open(SegmentSource::Embedded(bytes.clone()), &self.base.sealer).is_err()
            {
                continue;
            }
            self.store.delete(&name)?;
            self.store.put(&name, &[&bytes])?;
            self.store.barrier()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Puts back what was here and is gone. Returns the names.
    ///
    /// The order is that of an update of a clone, for the same reason: at each moment, what is visible is announced.
    fn missing(&self, repo: &Repository, lost: &BTreeSet<SessionId>) -> Result<Vec<Name>> {
        let mut steps = BTreeMap::<(bool, bool), BTreeMap<Name, Vec<u8>>>::new();
        let covered: BTreeSet<_> = repo.log.covered_hashes().collect();
        let mut found = BTreeSet::new();
        let own_id = self.base.replica.id;
        for peer in self.peers {
            // A copy by other tools bears the same id, and so does what was written to it since.
            let is_twin = peer.base.replica.id == own_id;
            for (key, names) in &peer.objects {
                let (class, hash) = key;
                if self.own.objects.contains_key(key) || covered.contains(hash) || found.contains(key) {
                    continue;
                }
                for (name, len) in names {
                    let is_short = *len <= SHORTEST_BYTES;
                    let was_here = !is_twin && peer.replica(name)? == Some(own_id);
                    let may_be_lost = !lost.is_empty() && *class == Class::Log && !is_short;
                    if !was_here && !may_be_lost {
                        continue;
                    }
                    let Some(bytes) = self.whole(peer, name, name)? else { continue };
                    let facts = decode(name, bytes.clone(), &self.base.sealer)?;
                    let begins = |fact: &Fact| matches!(fact, Fact::Prepared(p) if lost.contains(&p.session));
                    if was_here || facts.iter().any(begins) {
                        found.insert(*key);
                        // Long ones of `log/`, long ones of `admin/`, short ones of `admin/`, short ones of `log/`.
                        let is_second = is_short == (*class == Class::Log);
                        steps.entry((is_short, is_second)).or_default().insert(name.clone(), bytes);
                        break;
                    }
                }
            }
        }
        let mut put = Vec::new();
        for step in steps.into_values() {
            for (name, bytes) in step {
                self.store.put(&name, &[&bytes])?;
                put.push(name);
            }
            self.store.barrier()?;
        }
        Ok(put)
    }
}
