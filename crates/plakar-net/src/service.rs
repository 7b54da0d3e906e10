//! What a server answers: the contract of a store, request by request.

use crate::arriving::{Arriving, Half, Room};
use crate::door::{Guest, asks_for};
use crate::serve::WINDOW;
use crate::usage::Usage;
use crate::wire::{self, BLAKE3, ERROR, HERE, LENGTH, ROLE, STRONG_LIST};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request, Response, StatusCode};
use plakar_store::{Error, ErrorKind, Listed, Name, Result, Store, at_one_moment};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Objects and listings are sent in pieces of about so many bytes.
pub const PIECE: usize = 256 << 10;

/// An object of at most so many bytes is held until it is put, even if the store takes pieces: so short a time that nothing
/// is won by them.
const WHOLE_MAX: u64 = 1 << 20;

/// What is reckoned for an object that comes in pieces: what may have come before it is asked for, which is more than the
/// piece that is written. It is also how the number of such objects is bounded.
const DRAFT_BYTES: u64 = WINDOW as u64;

/// Where the store is that a server gives access to, or is to be.
pub trait Place: Send + Sync {
    /// Opens the store that is there.
    ///
    /// # Errors
    /// Of the kind `NotFound` when there is none.
    fn open(&self) -> Result<Arc<dyn Store>>;

    /// Makes an empty store.
    ///
    /// # Errors
    /// Of the kind `Exists` when something is there.
    fn create(&self) -> Result<Arc<dyn Store>>;
}

/// What a server allows all its clients together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many bytes of objects on their way to the store may be held; of one that comes in pieces, a few megabytes are
    /// reckoned. Whoever comes next waits.
    pub memory: u64,
    /// Whoever says nothing for so long, or takes nothing, is given up.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory: 2 * wire::OBJECT_MAX, idle: Duration::from_secs(60) }
    }
}

/// The end of an answer that could not be finished.
#[derive(Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer could not be finished")
    }
}

impl std::error::Error for Broken {}

/// The body of an answer: all of it, or one that is sent while it is made.
pub type Sent = Either<Full<Bytes>, Channel<Bytes, Broken>>;
pub type Answer = Response<Sent>;

/// Gives access to one store. Whoever may do what is told with each request. Everything that is in a request is taken for hostile.
pub struct Service {
    place: Box<dyn Place>,
    store: Mutex<Option<Arc<dyn Store>>>,
    usage: Arc<Usage>,
    room: Arc<Room>,
    limits: Limits,
}

impl Service {
    /// Gives access to the store in a place.
    pub fn new(place: Box<dyn Place>, limits: Limits) -> Arc<Service> {
        Service::beside(place, limits, Room::new(&limits))
    }

    /// The same, with others that share the memory.
    pub(crate) fn beside(place: Box<dyn Place>, limits: Limits, room: Arc<Room>) -> Arc<Service> {
        Arc::new(Service { place, store: Mutex::default(), usage: Arc::default(), room, limits })
    }

    pub(crate) fn idle(&self) -> Duration {
        self.limits.idle
    }

    /// Whether somebody found a store there.
    pub(crate) fn is_open(&self) -> bool {
        self.store.lock().expect("no panic while held").is_some()
    }

    /// Answers one request of a guest about `path`, which begins with the version.
    pub(crate) async fn answer(
        self: Arc<Self>,
        path: &str,
        guest: &Guest,
        request: Request<Incoming>,
    ) -> Answer {
        let method = request.method().clone();
        let rest = match after_version(path) {
            Ok(rest) => rest,
            Err(e) => return for_method(&method, refused(&e)),
        };
        let (what, after) = rest.split_once('/').unwrap_or((rest, ""));
        let object = match what {
            "objects" => match Name::new(after) {
                Some(name) => Some(name),
                None => return malformed("no name of an object"),
            },
            _ => None,
        };
        // Before anything of the body is read.
        if asks_for(&method, what, object.as_ref()) > guest.role {
            let what = format!("'{}' may only {}", guest.name, guest.role.name());
            return for_method(&method, refused(&Error::new(ErrorKind::Denied, what)));
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let result = match (method.as_str(), what, object) {
            ("GET", "", _) => self.hello(false, guest).await,
            ("POST", "", _) => self.hello(true, guest).await,
            ("GET", "objects", Some(name)) => self.get(name).await,
            ("HEAD", "objects", Some(name)) => self.len(name).await,
            ("PUT", "objects", Some(name)) => self.put(name, guest.quota, request).await,
            ("DELETE", "objects", Some(name)) => self.delete(name).await,
            ("POST", "barrier", _) => self.with_store(|store| store.barrier()).await.map(|()| done()),
            ("POST", "ranges", _) => self.ranges(request).await,
            ("POST", "state", _) => self.state(request).await,
            ("GET", "list", _) => {
                match query.strip_prefix("prefix=").filter(|prefix| wire::is_prefix(prefix)) {
                    Some(prefix) => self.list(prefix.to_owned()).await,
                    None => return malformed("no prefix of names"),
                }
            }
            _ => return malformed("no such request"),
        };
        result.unwrap_or_else(|e| for_method(&method, refused(&e)))
    }

    fn store(&self, creates: bool) -> Result<Arc<dyn Store>> {
        let mut known = self.store.lock().expect("no panic while held");
        if creates {
            *known = Some(self.place.create()?);
        }
        if known.is_none() {
            *known = Some(self.place.open()?);
        }
        Ok(known.clone().expect("it was opened"))
    }

    /// Forgets a store that is gone, so that what is in its place now is found: such a store lists nothing at all.
    fn forget_what_is_gone(&self) {
        let mut known = self.store.lock().expect("no panic while held");
        if known.as_ref().is_some_and(|store| store.list("none", &mut |_| Ok(())).is_err()) {
            *known = None;
            self.usage.forget();
        }
    }

    /// Uses the store.
    async fn with_store<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let service = self.clone();
        aside(move || act(&*service.store(false)?)).await
    }

    async fn hello(self: &Arc<Self>, creates: bool, guest: &Guest) -> Result<Answer> {
        let service = self.clone();
        aside(move || {
            service.forget_what_is_gone();
            if creates { service.store(true).map(drop) } else { Ok(()) }
        })
        .await?;
        let strong = self.with_store(|store| Ok(store.capabilities().strong_list)).await?;
        let answer = Response::builder()
            .header(STRONG_LIST, if strong { "yes" } else { "no" })
            .header(ROLE, guest.role.name());
        Ok(answer.body(Either::Left(Full::default())).expect("its parts are constant"))
    }

    async fn len(self: &Arc<Self>, name: Name) -> Result<Answer> {
        let len = self.with_store(move |store| store.len(&name)).await?;
        let answer = Response::builder().header(LENGTH, len);
        Ok(answer.body(Either::Left(Full::default())).expect("its parts are constant"))
    }

    async fn get(self: &Arc<Self>, name: Name) -> Result<Answer> {
        let of = name.clone();
        let len = self.with_store(move |store| store.len(&of)).await?;
        let (mut sender, channel) = Channel::new(1);
        let (service, idle) = (self.clone(), self.limits.idle);
        tokio::spawn(async move {
            let mut at = 0;
            while at < len {
                let (of, piece) = (name.clone(), (len - at).min(PIECE as u64) as usize);
                let read = service.with_store(move |store| store.get_range(&of, at, piece)).await;
                let Ok(bytes) = read else { return sender.abort(Broken) };
                if !matches!(timeout(idle, sender.send_data(bytes.into())).await, Ok(Ok(()))) {
                    return sender.abort(Broken);
                }
                at += piece as u64;
            }
        });
        let mut answer = Response::new(Either::Right(channel));
        answer.headers_mut().insert(LENGTH, len.into());
        Ok(answer)
    }

    async fn delete(self: &Arc<Self>, name: Name) -> Result<Answer> {
        let service = self.clone();
        self.with_store(move |store| service.usage.delete(store, &name)).await?;
        Ok(done())
    }

    async fn put(
        self: &Arc<Self>,
        name: Name,
        quota: Option<u64>,
        request: Request<Incoming>,
    ) -> Result<Answer> {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let promised = header(BLAKE3).and_then(|hex| blake3::Hash::from_hex(hex).ok());
        let len = header(CONTENT_LENGTH.as_str()).and_then(|len| len.parse::<u64>().ok());
        let (Some(promised), Some(len)) = (promised, len) else {
            return Ok(malformed("an object comes with its length and its hash"));
        };
        if len > wire::OBJECT_MAX {
            return Err(Error::new(ErrorKind::TooLarge, name.as_str()));
        }
        let mut arriving = Arriving::new(request.into_body(), len, self.limits.idle);
        let promised = Promised { name, len, hash: promised, quota };
        // Whoever is told that it is stored may be sure of it.
        if len <= WHOLE_MAX || !self.put_in_pieces(&promised, &mut arriving).await? {
            let _room = self.room.take(len).await;
            let body = arriving.all().await?;
            promised.keep(blake3::hash(&body))?;
            let service = self.clone();
            self.with_store(move |store| service.usage.put(store, &promised.name, &body, promised.quota))
                .await?;
        }
        Ok(done())
    }

    /// Puts what arrives piece by piece. Whether the store can; if not nothing was read.
    async fn put_in_pieces(self: &Arc<Self>, promised: &Promised, arriving: &mut Arriving) -> Result<bool> {
        let _room = self.room.take(DRAFT_BYTES).await;
        let (service, begun) = (self.clone(), promised.clone());
        let begun = aside(move || {
            let store = service.store(false)?;
            let coming = service.usage.promise(&*store, &begun.name, begun.len, begun.quota)?;
            Ok(store.draft(&begun.name, begun.len)?.map(|draft| Half::new(store, draft, coming)))
        });
        let Some(mut half) = begun.await? else { return Ok(false) };
        loop {
            let piece = match arriving.piece(PIECE).await {
                Ok(piece) => piece,
                Err(e) => {
                    half.leave().await;
                    return Err(e);
                }
            };
            if piece.is_empty() {
                break;
            }
            // Only while there is something to do: nobody has a thread who makes others wait.
            half = aside(move || half.add(&piece)).await?;
        }
        let promised = promised.clone();
        aside(move || half.finish(&|hash| promised.keep(hash))).await?;
        Ok(true)
    }

    async fn ranges(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer> {
        let body = self.read(request.into_body(), (wire::RANGES_MAX * wire::LINE_MAX) as u64).await?;
        let Some(ranges) = wire::read_ranges(&body) else { return Ok(malformed("no list of ranges")) };
        Ok(self.streamed(move |store, out| {
            for range in ranges {
                // Longer ones are sent as they are read, so that nobody makes this server hold many at once.
                let first = range.len.min(PIECE);
                let rest = range.offset.checked_add(range.len as u64);
                let end = rest.ok_or_else(|| Error::new(ErrorKind::Short, range.name.as_str()));
                let is_there = |end: u64| match range.len <= PIECE || store.len(&range.name)? >= end {
                    true => Ok(()),
                    false => Err(Error::new(ErrorKind::Short, range.name.as_str())),
                };
                let read =
                    end.and_then(is_there).and_then(|()| store.get_range(&range.name, range.offset, first));
                match read {
                    Ok(bytes) => {
                        out.write(&[HERE])?;
                        out.write(&bytes)?;
                    }
                    Err(e) => {
                        let mut error = Vec::new();
                        wire::write_range_error(&e, &mut error);
                        out.write(&error)?;
                        continue;
                    }
                }
                for at in (first..range.len).step_by(PIECE) {
                    let piece = (range.len - at).min(PIECE);
                    out.write(&store.get_range(&range.name, range.offset + at as u64, piece)?)?;
                }
            }
            out.flush()
        }))
    }

    async fn list(self: &Arc<Self>, prefix: String) -> Result<Answer> {
        // That it can be opened is told by the status.
        self.with_store(|_| Ok(())).await?;
        Ok(self.streamed(move |store, out| {
            let (mut count, mut line) = (0, Vec::new());
            store.list(&prefix, &mut |listed| {
                count += 1;
                line.clear();
                wire::write_listed(&listed, &mut line);
                out.write(&line)
            })?;
            line.clear();
            wire::write_end(count, &mut line);
            out.write(&line)?;
            out.flush()
        }))
    }

    async fn state(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer> {
        let body = self.read(request.into_body(), (wire::FOLDERS_MAX * wire::LINE_MAX) as u64).await?;
        let Some(folders) = wire::read_folders(&body) else { return Ok(malformed("no list of folders")) };
        let (listed, folders) = self
            .with_store(move |store| {
                let prefixes: Vec<_> = folders.iter().map(|folder| folder.prefix.as_str()).collect();
                Ok((at_one_moment(store, &prefixes)?, folders))
            })
            .await?;
        Ok(self.streamed(move |_, out| {
            let mut line = Vec::new();
            for folder in &folders {
                let own = |one: &&Listed| one.name.as_str().starts_with(&folder.prefix);
                let own: Vec<_> = listed.iter().filter(own).cloned().collect();
                let known = folder.knows(&own);
                out.write(if known.is_some() { wire::AFTER } else { wire::ALL })?;
                out.write(b"\n")?;
                let new = &own[known.unwrap_or(0)..];
                for one in new {
                    line.clear();
                    wire::write_listed(one, &mut line);
                    out.write(&line)?;
                }
                line.clear();
                wire::write_end(new.len() as u64, &mut line);
                out.write(&line)?;
            }
            out.flush()
        }))
    }

    /// An answer that is sent while it is made. What fails on the way breaks it off.
    fn streamed(
        self: &Arc<Self>,
        make: impl FnOnce(&dyn Store, &mut Out) -> Result<()> + Send + 'static,
    ) -> Answer {
        let (sender, channel) = Channel::new(1);
        let service = self.clone();
        spawn_blocking(move || {
            let mut out = Out { sender, pending: Vec::new(), idle: service.limits.idle };
            let made = service.store(false).and_then(|store| make(&*store, &mut out));
            if made.is_err() {
                out.sender.abort(Broken);
            }
        });
        Response::new(Either::Right(channel))
    }

    /// The body of a request, of at most so many bytes.
    async fn read(&self, body: Incoming, max: u64) -> Result<Vec<u8>> {
        Arriving::new(body, max, self.limits.idle).all().await
    }
}

/// What is said of an object before it comes.
#[derive(Clone)]
struct Promised {
    name: Name,
    len: u64,
    hash: blake3::Hash,
    quota: Option<u64>,
}

impl Promised {
    /// Whether it is what was said, by its hash.
    fn keep(&self, hash: blake3::Hash) -> Result<()> {
        let named = wire::hash_in(&self.name);
        if hash != self.hash || named.is_some_and(|named| named != *hash.as_bytes()) {
            let what = format!("{}: what arrived is not what its hash says", self.name);
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        Ok(())
    }
}

/// Does what takes its time where that keeps nobody else waiting.
pub async fn aside<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(act).await;
    done.unwrap_or_else(|e| Err(Error::new(ErrorKind::Io, format!("the server failed: {e}"))))
}

/// What follows the version that is spoken here.
pub fn after_version(path: &str) -> Result<&str> {
    let (version, rest) = path.split_once('/').unwrap_or((path, ""));
    if version != wire::VERSION {
        let what = format!("this server speaks plakar's protocol {}", wire::VERSION);
        return Err(Error::new(ErrorKind::Foreign, what));
    }
    Ok(rest)
}

/// Where an answer is written that is sent while it is made.
struct Out {
    sender: Sender<Bytes, Broken>,
    pending: Vec<u8>,
    idle: Duration,
}

impl Out {
    /// Sends some bytes after what was written before.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() { Ok(()) } else { self.send(pending) }
    }

    /// Sends these bytes at once. Waits until there is room for them.
    fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        let sent = Handle::current().block_on(timeout(self.idle, self.sender.send_data(bytes.into())));
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::new(ErrorKind::Io, "whoever asked has gone")),
        }
    }
}

fn done() -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// An answer to a `HEAD` has no body.
pub fn for_method(method: &Method, answer: Answer) -> Answer {
    match *method {
        Method::HEAD => answer.map(|_| Either::Left(Full::default())),
        _ => answer,
    }
}

pub fn refused(error: &Error) -> Answer {
    let answer = Response::builder()
        .status(wire::kind_status(error.kind()))
        .header(ERROR, wire::kind_name(error.kind()))
        .header("content-type", "text/plain; charset=utf-8");
    let text = Either::Left(Full::from(wire::text_of(error)));
    answer.body(text).expect("its parts are constant")
}

/// The answer to what is no request of this protocol.
fn malformed(why: &str) -> Answer {
    let mut answer = refused(&Error::new(ErrorKind::Io, why));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}
