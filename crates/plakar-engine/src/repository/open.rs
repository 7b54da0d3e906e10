//! Opening a repository.

use super::name;
use super::records::{Config, RECORD_BYTES_MAX, Replica, encode_chunker};
use crate::chunker::Chunker;
use crate::crypto::keyring::{KEYRING_BYTES_MAX, Keyring, RepositoryKey};
use crate::crypto::seal::{Sealer, Suite};
use crate::crypto::slot::{SLOT_BYTES_MAX, SLOTS_MAX, Slot};
use crate::crypto::{DomainKeys, DomainSecret};
use crate::error::{Error, Result, Unfinished};
use crate::id::{DomainId, ObjectHash};
use crate::index::Index;
use crate::index::segment::{Segment, SegmentSource, segment_name};
use crate::log::fact::SegmentRef;
use crate::log::state::View;
use crate::log::{Log, State};
use crate::protocol::Folded;
use plakar_store::{ErrorKind, Name, ReadStore};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The two plain objects of a repository.
pub(crate) struct PlainRecords {
    pub replica: Replica,
    pub config: Config,
    /// `config` as it is stored.
    pub config_bytes: Vec<u8>,
}

impl PlainRecords {
    /// Reads them; the errors are those of [`Locked::open`].
    pub fn read(store: &dyn ReadStore) -> Result<PlainRecords> {
        let here = store.location();
        let (replica, config_bytes) = match (read_record(store, "replica")?, read_record(store, "config")?) {
            (Some(replica), Some(config)) => (replica, config),
            (Some(replica), None) => return Err(unfinished(here, &replica)),
            (None, Some(_)) => {
                let what = "is missing: 'plakar adopt' gives the repository another one";
                return Err(Error::damaged("replica", what));
            }
            (None, None) => return Err(Error::NoRepository(here)),
        };
        let replica = Replica::decode(&replica).map_err(|e| e.of("replica"))?;
        let unsupported =
            |why: String| Error::Unsupported(format!("{here}: this version cannot open it: {why}"));
        let config = Config::decode(&config_bytes)
            .map_err(|e| Config::newer(&config_bytes).map_or_else(|| e.of("config"), unsupported))?;
        if let Some(unknown) = config.unknown() {
            return Err(unsupported(unknown));
        }
        Ok(PlainRecords { replica, config, config_bytes })
    }
}

/// `replica` or `config` as stored, if it is there.
pub(crate) fn read_record(store: &dyn ReadStore, what: &str) -> Result<Option<Vec<u8>>> {
    match store.get(&name(what), RECORD_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// What to say of a `replica` without a `config`.
pub(crate) fn unfinished(place: String, replica: &[u8]) -> Error {
    let clone_of = Replica::decode(replica).ok().and_then(|replica| replica.origin_name());
    Error::Unfinished(Unfinished { place, clone_of })
}

/// A repository whose plain objects were read; nothing in it is believed yet that a key would prove.
pub struct Locked {
    store: Arc<dyn ReadStore>,
    replica: Replica,
    config: Config,
    config_bytes: Vec<u8>,
}

impl Locked {
    /// Looks whether there is a repository.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Unfinished`], [`Error::Unsupported`], [`Error::Damaged`]; store errors.
    pub fn open(store: Arc<dyn ReadStore>) -> Result<Locked> {
        let PlainRecords { replica, config, config_bytes } = PlainRecords::read(&*store)?;
        Ok(Locked { store, replica, config, config_bytes })
    }

    /// The same repository, read through another store: one that keeps what it reads.
    pub fn through(self, store: Arc<dyn ReadStore>) -> Locked {
        Locked { store, ..self }
    }

    /// Whether a passphrase is needed.
    pub fn is_encrypted(&self) -> bool {
        self.config.suite() == Some(Suite::Xaes)
    }

    /// What is this repository's own.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What it shares with its clones.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Unlocks it, with a passphrase if it is encrypted, and without reading its log.
    ///
    /// # Errors
    /// [`Error::NeedsPassphrase`], [`Error::WrongPassphrase`], [`Error::Damaged`] when something is not authentic.
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<Unlocked> {
        if !self.is_encrypted() {
            return self.unlock_by(None);
        }
        let passphrase = passphrase.ok_or_else(|| Error::NeedsPassphrase(self.store.location()))?;
        let key = find_key(&*self.store, passphrase, self.config.domain)?;
        self.unlock_by(Some(key))
    }

    /// Unlocks it with the keys of a repository of the same domain that is open already: a clone needs no passphrase
    /// beside its origin.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock); [`Error::WrongPassphrase`] when it is of another domain.
    pub fn unlock_like(&self, other: &Unlocked) -> Result<Unlocked> {
        if other.config.domain != self.config.domain {
            return Err(Error::WrongPassphrase(self.store.location()));
        }
        self.unlock_by(other.key.clone())
    }

    fn unlock_by(&self, key: Option<RepositoryKey>) -> Result<Unlocked> {
        let domain = self.config.domain;
        let chunker = self.config.chunker().expect("opening refused what it does not know");
        let (secret, sealer, key) = if self.is_encrypted() {
            let key = key.ok_or_else(|| Error::NeedsPassphrase(self.store.location()))?;
            let keyring = read_keyrings(&*self.store, &key, domain)?;
            if keyring.config_digest != *blake3::hash(&self.config_bytes).as_bytes() {
                return Err(Error::damaged("config", "is not the one its keyring vouches for"));
            }
            (DomainSecret(keyring.secret), Sealer::encrypted(domain, &keyring.epochs), Some(key))
        } else {
            (DomainSecret::public(), Sealer::plain(domain), None)
        };
        if secret.id(&encode_chunker(&chunker)) != domain {
            return Err(Error::damaged("config", "names another domain than its secret makes"));
        }
        let keys = DomainKeys::new(&secret);
        let chunker = Chunker::new(&chunker, &keys.chunker);
        Ok(Unlocked {
            store: self.store.clone(),
            replica: self.replica.clone(),
            config: self.config.clone(),
            key,
            keys: Arc::new(keys),
            sealer: Arc::new(sealer),
            chunker: Arc::new(chunker),
        })
    }
}

fn find_key(store: &dyn ReadStore, passphrase: &[u8], domain: DomainId) -> Result<RepositoryKey> {
    let names = list(store, "keys/")?;
    let mut known = Vec::new();
    let mut damage = None;
    for name in names.iter().take(SLOTS_MAX) {
        let slot = store.get(name, SLOT_BYTES_MAX).map_err(Error::from);
        let slot = slot.and_then(|bytes| Slot::decode(&bytes, name.as_str()));
        match slot.and_then(|slot| slot.open(passphrase, domain, &mut known, name.as_str())) {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => {}
            // Another slot may still open.
            Err(e) if e.is_damage() || e.is_not_found() => damage = Some(e),
            Err(e) => return Err(e),
        }
    }
    match damage {
        Some(damage) => Err(damage),
        None if names.is_empty() => Err(Error::damaged("keys/", "there is no key slot")),
        None => Err(Error::WrongPassphrase(store.location())),
    }
}

/// Reads all keyrings and unites their epochs, the latest last. All must vouch for the same config.
fn read_keyrings(store: &dyn ReadStore, key: &RepositoryKey, domain: DomainId) -> Result<Keyring> {
    let mut united: Option<Keyring> = None;
    for name in list(store, "keyring/")? {
        let bytes = store.get(&name, KEYRING_BYTES_MAX)?;
        let mut keyring = Keyring::open(&bytes, key, domain, name.as_str())?;
        let Some(united) = &mut united else {
            united = Some(keyring);
            continue;
        };
        if (united.secret, united.config_digest) != (keyring.secret, keyring.config_digest) {
            return Err(Error::damaged(&name, "belongs to another repository than the other keyrings"));
        }
        united.epochs.append(&mut keyring.epochs);
    }
    let mut keyring = united.ok_or_else(|| Error::damaged("keyring/", "there is no keyring"))?;
    keyring.epochs.sort_by_key(|epoch| (epoch.began, epoch.id));
    keyring.epochs.dedup();
    let mut ids: Vec<_> = keyring.epochs.iter().map(|epoch| epoch.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|two| two[0] == two[1]) {
        return Err(Error::damaged("keyring/", "has two keys for one epoch"));
    }
    Ok(keyring)
}

pub(super) fn list(store: &dyn ReadStore, prefix: &str) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    store.list(prefix, &mut |object| {
        names.push(object.name);
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

/// A repository whose keys are known.
#[derive(Clone)]
pub struct Unlocked {
    pub(crate) store: Arc<dyn ReadStore>,
    pub(crate) replica: Replica,
    pub(crate) config: Config,
    pub(super) key: Option<RepositoryKey>,
    pub(crate) keys: Arc<DomainKeys>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) chunker: Arc<Chunker>,
}

/// An open repository: its keys, its log as last read, and the index that follows from it.
pub struct Repository {
    pub(crate) base: Unlocked,
    pub(crate) log: Log,
    pub(crate) state: Arc<State>,
    pub(crate) index: Arc<Index>,
    /// The segments that the index holds.
    loaded: HashMap<ObjectHash, Arc<Segment>>,
    /// Segments that could not be opened.
    damaged_segments: Vec<(ObjectHash, Error)>,
}

impl Unlocked {
    /// Reads the log and opens the index.
    ///
    /// # Errors
    /// Store errors. What is damaged is kept apart: see [`Repository::damaged`].
    pub fn open(self) -> Result<Repository> {
        let index = Arc::new(Index::new(self.sealer.clone()));
        let mut repository = Repository {
            base: self,
            log: Log::default(),
            state: Arc::default(),
            index,
            loaded: HashMap::new(),
            damaged_segments: Vec::new(),
        };
        repository.refresh()?;
        Ok(repository)
    }

    /// What is this repository's own.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What it shares with its clones.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why something cannot be had, if the store as a whole can still be read.
    ///
    /// # Errors
    /// The error itself, if it says nothing of what is stored: a cable that was pulled is no damage.
    pub(crate) fn lost(&self, error: Error) -> Result<String> {
        if error.is_damage() || error.is_not_found() {
            return Ok(error.to_string());
        }
        if error.is_unreadable() && self.store.len(&name("config")).is_ok() {
            return Ok(error.to_string());
        }
        Err(error)
    }
}

impl Repository {
    /// Reads the log as it is now: a look.
    pub fn refresh(&mut self) -> Result<()> {
        let mut missed = BTreeSet::new();
        loop {
            self.look()?;
            // A cleanup takes away what it has merged: a segment is lost if a log that was read after it was missed still
            // names it.
            let not_found = self.damaged_segments.iter().filter(|(_, e)| e.is_not_found());
            let not_found: BTreeSet<_> = not_found.map(|(hash, _)| *hash).collect();
            if not_found.is_subset(&missed) {
                return Ok(());
            }
            missed.extend(not_found);
        }
    }

    fn look(&mut self) -> Result<()> {
        self.log.read(&*self.base.store, &self.base.sealer)?;
        let mut state = State::of(&self.log);
        self.damaged_segments.clear();
        let merged: Vec<_> = self.loaded.keys().copied().filter(|hash| state.is_merged(hash)).collect();
        if !merged.is_empty() {
            let gone: Vec<_> = merged.iter().filter_map(|hash| self.loaded.remove(hash)).collect();
            self.index.remove(&gone);
        }
        let news = || state.segments().iter().filter(|(hash, _)| !self.loaded.contains_key(hash));
        let name_of = |segment: &SegmentRef| match segment {
            SegmentRef::Stored(hash) => Some(segment_name(hash)),
            SegmentRef::Embedded(_) => None,
        };
        let stored = news().filter_map(|(_, segment)| name_of(segment)).collect();
        let mut stored = Segment::open_stored(&self.base.store, stored, &self.base.sealer).into_iter();
        let mut open = |segment: &SegmentRef| match segment {
            SegmentRef::Stored(_) => stored.next().expect("each was opened"),
            SegmentRef::Embedded(bytes) => {
                Segment::open(SegmentSource::Embedded(bytes.clone()), &self.base.sealer)
            }
        };
        let opened: Vec<_> = news().map(|(hash, segment)| (*hash, open(segment))).collect();
        for (hash, segment) in opened {
            match segment {
                Ok(segment) => drop(self.loaded.insert(hash, self.index.add_open(segment))),
                Err(e) if e.is_damage() || e.is_not_found() => self.damaged_segments.push((hash, e)),
                Err(e) => return Err(e),
            }
        }
        // What a segment names is announced: a checkpoint relies on it instead of listing packs again.
        let announced = state.segments().iter().filter_map(|(hash, _)| self.loaded.get(hash));
        let announced = announced.flat_map(|segment| &segment.packs).copied().collect();
        state.view.add_folded(&Folded { announced, ..View::new().fold() });
        self.state = Arc::new(state);
        Ok(())
    }

    /// Takes a segment that was written just now, before any fact announces it.
    pub(crate) fn add_segment(&mut self, hash: ObjectHash, segment: Segment) {
        self.loaded.insert(hash, self.index.add_open(segment));
    }

    /// What the log says.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The log as last read.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What is known of it without its log.
    pub fn base(&self) -> &Unlocked {
        &self.base
    }

    /// Where it is, for messages.
    pub fn location(&self) -> String {
        self.base.store.location()
    }

    /// This segment, if the index holds it.
    pub(crate) fn segment(&self, hash: &ObjectHash) -> Option<&Arc<Segment>> {
        self.loaded.get(hash)
    }

    /// The segments that count and could not be opened, with the reason.
    pub(crate) fn damaged_segments(&self) -> impl Iterator<Item = &(ObjectHash, Error)> {
        self.damaged_segments.iter()
    }

    /// A sentence for each session of which only the Final is left.
    pub(crate) fn lost_sessions(&self) -> Vec<String> {
        let told = |session| {
            format!(
                "log/: session {session} was published, but what it published is missing: \
                 'plakar heal' gets it from a clone that has it, 'plakar rm {session}' gives it up"
            )
        };
        self.state.view.ended_without_beginning().map(told).collect()
    }

    /// Log objects and index segments that are not what they must be, with the reason. What they said is
    /// missing from the state.
    pub fn damaged(&self) -> Vec<String> {
        let log = self.log.damaged().map(|(_, e)| e.to_string());
        log.chain(self.damaged_segments.iter().map(|(_, e)| e.to_string())).collect()
    }
}
