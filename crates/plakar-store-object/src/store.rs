//! The store itself.

use crate::errors::{Trouble, judge};
use crate::place::{Place, Service};
use crate::service;
use crate::transport::{MAX, Transport};
use crate::turns::Turns;
use crate::way::Way;
use bytes::Bytes;
use futures_core::Stream;
use opendal::options::{ListOptions, ReadOptions, WriteOptions};
use opendal::{Buffer, HttpTransporter, Lister, Operator};
use plakar_store::{
    Capabilities, Error, ErrorKind, Listed, Name, Patience, Range, ReadStore, Result, Silence, Store, Tries,
};
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// So many requests for ranges are under way at once.
const AT_ONCE: usize = 32;
/// So many objects of a listing are taken from it before they are told.
const LISTED_AT_ONCE: usize = 1_000;
/// No object is longer, whatever anybody asks for.
const OBJECT_MAX: u64 = 1 << 40;
/// Whoever cannot be reached at all is not waited for.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Services answer sooner than servers that flush disks.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A store in a bucket, or in what a service has instead.
pub struct ObjectStore {
    runtime: Runtime,
    far: Arc<Far>,
    turns: Turns,
}

/// What requests need.
struct Far {
    operator: Operator,
    service: Service,
    location: String,
    patience: Patience,
    silence: Silence,
    at_once: Semaphore,
    /// The service refuses to replace what is there.
    refuses: AtomicBool,
    /// It was spoken with.
    met: AtomicBool,
    /// Its listings are in order, and can begin behind a name.
    goes_on: bool,
}

type Tried<T> = std::result::Result<T, Trouble>;

impl ObjectStore {
    /// Opens the store that is at a place.
    ///
    /// # Errors
    /// Of the kind `NotFound` when nothing is there, or the bucket is missing, `Denied` when the service refuses the
    /// credentials or there are none, `Io` when it cannot be reached. Nothing was changed.
    pub fn open(place: &Place, way: &Way) -> Result<ObjectStore> {
        let store = ObjectStore::reach(place, way)?;
        if store.is_empty(place)? {
            return Err(Error::new(ErrorKind::NotFound, place.to_string()));
        }
        Ok(store)
    }

    /// Opens a place where nothing is as an empty store. The bucket must be there. Nothing is written.
    ///
    /// # Errors
    /// As [`open`](Self::open); of the kind `Exists` when anything is there.
    pub fn create(place: &Place, way: &Way) -> Result<ObjectStore> {
        let store = ObjectStore::reach(place, way)?;
        if !store.is_empty(place)? {
            return Err(Error::new(ErrorKind::Exists, place.to_string()));
        }
        Ok(store)
    }

    fn reach(place: &Place, way: &Way) -> Result<ObjectStore> {
        let location = place.to_string();
        let failed = |e| Error::io(location.clone(), e);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        let patience = Patience { idle: way.patience.idle.min(IDLE_MAX), ..way.patience };
        let transport =
            HttpTransporter::new(Transport::new(way.bandwidth.clone(), patience.idle).map_err(failed)?);
        let operator = runtime.block_on(service::operator(place, way, transport));
        let operator = operator.map_err(|why| Error::new(ErrorKind::Io, format!("{location}: {why}")))?;
        let capability = operator.info().capability();
        let refuses = AtomicBool::new(capability.write_with_if_not_exists);
        let far = Far {
            operator,
            service: place.service,
            location,
            patience,
            silence: Silence::new(),
            at_once: Semaphore::new(AT_ONCE),
            refuses,
            met: AtomicBool::new(false),
            // Directory buckets of S3 have no order.
            goes_on: capability.list_with_start_after && !place.bucket.ends_with("--x-s3"),
        };
        Ok(ObjectStore { runtime, far: Arc::new(far), turns: Turns::default() })
    }

    /// Whether no object is there: the first request, and so what shows whether there is a way to the bucket.
    fn is_empty(&self, place: &Place) -> Result<bool> {
        let far = &self.far;
        let first = || async {
            let options = ListOptions { recursive: true, limit: Some(2), ..ListOptions::default() };
            let mut lister = far.operator.lister_options("", options).await?;
            while let Some(entry) = next(&mut lister).await? {
                // Some services keep an empty object in the place of a folder.
                if entry.metadata().is_file() && !entry.path().is_empty() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let patience = Patience { retries: far.patience.retries.min(FIRST_PATIENCE), ..far.patience };
        let hint = service::credentials_hint(place.service);
        let location = &far.location;
        let empty =
            self.runtime.block_on(far.persist_for(patience, first)).or_else(|trouble| match trouble {
                // A folder that is not there has nothing in it.
                Trouble::Absent if place.service.has_folders() => Ok(true),
                Trouble::NoBucket | Trouble::Absent => {
                    Err(Error::new(ErrorKind::NotFound, format!("{location}: the bucket {}", place.bucket)))
                }
                Trouble::NoCredentials => Err(Error::new(
                    ErrorKind::Denied,
                    format!("{location}: no credentials were found; they come from {hint}"),
                )),
                Trouble::Final(ErrorKind::Denied, why) => {
                    let why = if why.is_empty() { "the service refuses".to_owned() } else { why };
                    Err(Error::new(ErrorKind::Denied, format!("{location}: {why}")))
                }
                Trouble::Passing(why) | Trouble::Final(_, why) => {
                    Err(Error::new(ErrorKind::Io, format!("{location}: {why}")))
                }
                trouble => Err(trouble.about("listing", location)),
            })?;
        far.met.store(true, Relaxed);
        Ok(empty)
    }
}

/// The next entry.
async fn next(lister: &mut Lister) -> opendal::Result<Option<opendal::Entry>> {
    poll_fn(|cx| Pin::new(&mut *lister).poll_next(cx)).await.transpose()
}

impl Far {
    /// Tries something until it is done or will not be, or for too long.
    async fn persist_for<T, F>(&self, patience: Patience, mut attempt: impl FnMut() -> F) -> Tried<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let mut tries = Tries::new(patience, &self.silence);
        loop {
            let trouble = match attempt().await {
                Ok(done) => {
                    self.silence.end();
                    return Ok(done);
                }
                Err(e) => judge(&e),
            };
            if !matches!(trouble, Trouble::Passing(_)) {
                self.silence.end();
            }
            // Credentials that were there and are not to be had now will be there again.
            let trouble = match trouble {
                Trouble::NoCredentials if self.met.load(Relaxed) => Trouble::Passing("no credentials".into()),
                trouble => trouble,
            };
            tokio::time::sleep(trouble.again(&mut tries)?).await;
        }
    }

    async fn persist<T, F>(&self, attempt: impl FnMut() -> F) -> Tried<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        self.persist_for(self.patience, attempt).await
    }

    fn error(&self, object: &str, trouble: Trouble) -> Error {
        trouble.about(object, &self.location)
    }

    async fn range(&self, name: &Name, offset: u64, len: usize) -> Tried<Vec<u8>> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= OBJECT_MAX);
        let Some(end) = end.filter(|_| len > 0) else {
            // Nobody is asked for nothing, nor for more than there can be; but whether there is such an object is.
            let there = self.len(name).await?;
            return if end.is_some_and(|end| end <= there) { Ok(Vec::new()) } else { Err(Trouble::Beyond) };
        };
        let _permit = self.at_once.acquire().await;
        self.refuse_folder(name).await?;
        let read = || async {
            let options = ReadOptions { range: (offset..end).into(), ..ReadOptions::default() };
            self.operator.read_options(name.as_str(), options).await
        };
        let bytes = self.persist(read).await?;
        match bytes.len() == len {
            true => Ok(bytes.to_vec()),
            false => {
                Err(Trouble::Final(ErrorKind::Io, "the answer is not as long as what was asked for".into()))
            }
        }
    }

    async fn whole(&self, name: &Name, max: usize) -> Tried<Vec<u8>> {
        self.refuse_folder(name).await?;
        // How long it is stands before its bytes: what is too long is not read.
        let read = || MAX.scope(max as u64, async { self.operator.read(name.as_str()).await });
        let bytes = self.persist(read).await?;
        if bytes.len() > max { Err(Trouble::TooLarge) } else { Ok(bytes.to_vec()) }
    }

    /// A folder that is asked for may be answered with a page for people, which is no object.
    async fn refuse_folder(&self, name: &Name) -> Tried<()> {
        if self.service.has_folders() {
            self.len(name).await?;
        }
        Ok(())
    }

    async fn len(&self, name: &Name) -> Tried<u64> {
        let found = self.persist(|| self.operator.stat(name.as_str())).await?;
        if found.is_file() { Ok(found.content_length()) } else { Err(Trouble::Absent) }
    }

    async fn put(&self, name: &Name, bytes: Bytes) -> Tried<()> {
        if !self.refuses.load(Relaxed) {
            match self.len(name).await {
                Ok(_) => return self.compare(name, &bytes).await,
                Err(Trouble::Absent) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let write = |if_not_exists| {
            let body = Buffer::from(bytes.clone());
            let options = WriteOptions { if_not_exists, ..WriteOptions::default() };
            async move { self.operator.write_options(name.as_str(), body, options).await }
        };
        let refuses = self.refuses.load(Relaxed);
        match self.persist(|| write(refuses)).await {
            Ok(_) => Ok(()),
            // It may have been this put itself, of which the first answer was lost.
            Err(Trouble::Taken) => self.compare(name, &bytes).await,
            Err(Trouble::Unsupported) if refuses => {
                self.refuses.store(false, Relaxed);
                Box::pin(self.put(name, bytes)).await
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the object that is there is this one.
    async fn compare(&self, name: &Name, bytes: &Bytes) -> Tried<()> {
        match self.whole(name, bytes.len()).await {
            Ok(there) if there == bytes[..] => Ok(()),
            Ok(_) | Err(Trouble::TooLarge) => Err(Trouble::Taken),
            Err(trouble) => Err(trouble),
        }
    }

    async fn delete(&self, name: &Name) -> Tried<()> {
        if self.service.has_folders() {
            // What is deleted of a folder is all that is in it.
            match self.len(name).await {
                Ok(_) => {}
                Err(Trouble::Absent) => return Ok(()),
                Err(trouble) => return Err(trouble),
            }
        }
        match self.persist(|| self.operator.delete(name.as_str())).await {
            Err(Trouble::Absent) => Ok(()),
            done => done,
        }
    }

    /// The objects that a listing shows next; fewer than many are the last.
    async fn page(&self, lister: &mut Lister, prefix: &str) -> opendal::Result<Vec<Listed>> {
        let mut page = Vec::new();
        while page.len() < LISTED_AT_ONCE {
            let Some(entry) = next(lister).await? else { break };
            let Some(name) = Name::new(entry.path()).filter(|name| name.as_str().starts_with(prefix)) else {
                continue;
            };
            let mut found = entry.metadata().clone();
            if !found.is_file() {
                continue;
            }
            if found.last_modified().is_none() {
                found = self.operator.stat(name.as_str()).await?;
            }
            let received_ms =
                found.last_modified().map_or(0, |time| time.into_inner().as_millisecond().max(0));
            page.push(Listed { name, len: found.content_length(), received_ms });
        }
        Ok(page)
    }

    /// What to ask for all that begins with a prefix.
    fn above<'p>(&self, prefix: &'p str) -> &'p str {
        if !self.service.has_folders() {
            return prefix;
        }
        prefix.rfind('/').map_or("", |slash| &prefix[..=slash])
    }
}

impl ReadStore for ObjectStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        let found = self.runtime.block_on(self.far.range(name, offset, len));
        found.map_err(|trouble| self.far.error(name.as_str(), trouble))
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for (at, range) in ranges.iter().cloned().enumerate() {
                let far = self.far.clone();
                tasks.spawn(async move {
                    let found = far.range(&range.name, range.offset, range.len).await;
                    (at, found.map_err(|trouble| far.error(range.name.as_str(), trouble)))
                });
            }
            let mut found: Vec<_> = ranges.iter().map(|_| None).collect();
            while let Some(done) = tasks.join_next().await {
                let (at, answer) = done.expect("a task ends without a panic, and nobody aborts it");
                found[at] = Some(answer);
            }
            found.into_iter().map(|answer| answer.expect("each task was waited for")).collect()
        })
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        let found = self.runtime.block_on(self.far.whole(name, max));
        found.map_err(|trouble| self.far.error(name.as_str(), trouble))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        let found = self.runtime.block_on(self.far.len(name));
        found.map_err(|trouble| self.far.error(name.as_str(), trouble))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        if !is_prefix(prefix) {
            return Ok(());
        }
        let far = &self.far;
        // What lies in a folder does not lie in an object of its name.
        let folder = Name::new(far.above(prefix).trim_end_matches('/')).filter(|_| far.service.has_folders());
        if let Some(folder) = folder {
            match self.runtime.block_on(far.len(&folder)) {
                Ok(_) => return Ok(()),
                Err(Trouble::Absent) => {}
                Err(trouble) => return Err(far.error(prefix, trouble)),
            }
        }
        // When it is cut off it goes on behind what was told last, where that is known to be possible. Else it begins anew,
        // in any order: what was told already is known by its hash.
        let (hasher, mut told) = ([RandomState::new(), RandomState::new()], HashSet::new());
        let mut last: Option<Name> = None;
        let mut goes_on = far.goes_on;
        let mut tries = Tries::new(far.patience, &far.silence);
        'anew: loop {
            let start_after = last.as_ref().filter(|_| goes_on).map(|name| name.as_str().to_owned());
            let options = ListOptions { recursive: true, start_after, ..ListOptions::default() };
            let mut lister = None;
            loop {
                let page = self.runtime.block_on(async {
                    let lister = match &mut lister {
                        Some(lister) => lister,
                        none => none
                            .insert(far.operator.lister_options(far.above(prefix), options.clone()).await?),
                    };
                    far.page(lister, prefix).await
                });
                let page = match page.map_err(|e| judge(&e)) {
                    Ok(page) => {
                        far.silence.end();
                        page
                    }
                    // A folder that is not there has nothing in it.
                    Err(Trouble::Absent) if far.service.has_folders() => return Ok(()),
                    Err(trouble) => {
                        let wait = trouble.again(&mut tries).map_err(|trouble| far.error(prefix, trouble))?;
                        std::thread::sleep(wait);
                        continue 'anew;
                    }
                };
                let is_last = page.len() < LISTED_AT_ONCE;
                for listed in page {
                    let hash = [&hasher[0], &hasher[1]].map(|hasher| hasher.hash_one(listed.name.as_str()));
                    if told.insert(hash) {
                        // What moves is not cut off.
                        tries = Tries::new(far.patience, &far.silence);
                        goes_on &= last.as_ref().is_none_or(|last| *last < listed.name);
                        last = Some(listed.name.clone());
                        each(listed)?;
                    }
                }
                if is_last {
                    return Ok(());
                }
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { strong_list: true, local: false, append_only: false }
    }

    fn location(&self) -> String {
        self.far.location.clone()
    }
}

/// Whether a name can begin so.
fn is_prefix(prefix: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'/';
    prefix.len() <= 200 && !prefix.starts_with('/') && !prefix.contains("//") && prefix.bytes().all(plain)
}

impl Store for ObjectStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let bytes = Bytes::from(parts.concat());
        let _turn = (!self.far.refuses.load(Relaxed)).then(|| self.turns.take(name));
        let done = self.runtime.block_on(self.far.put(name, bytes));
        done.map_err(|trouble| self.far.error(name.as_str(), trouble))
    }

    fn delete(&self, name: &Name) -> Result<()> {
        let done = self.runtime.block_on(self.far.delete(name));
        done.map_err(|trouble| self.far.error(name.as_str(), trouble))
    }

    /// What was acknowledged is durable already.
    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}
