//! A store on a server.

use crate::body::{Answered, Cut};
use crate::connect::{Address, Connect};
use crate::door::Role;
use crate::link::Link;
use crate::wire::{self, BLAKE3, ERROR, Folder, HERE, LENGTH, LINE_MAX, Line, ROLE, STRONG_LIST};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use plakar_store::{
    Capabilities, Error, ErrorKind, Listed, Name, Patience, Range, ReadStore, Result, Silence, Store, Tries,
};
use std::collections::HashSet;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// What is said of these kinds of error on both sides, and should be said once.
const FOREIGN: &str = ": not a store";
const TOLD: [(ErrorKind, &str); 2] =
    [(ErrorKind::Denied, ": permission denied"), (ErrorKind::Full, ": no space left")];

/// A store on a server. Every request may be made again: none does harm when it is done twice.
pub struct NetStore {
    runtime: Runtime,
    link: Link,
    address: Address,
    location: String,
    patience: Patience,
    silence: Silence,
    capabilities: Capabilities,
}

/// Why there is no answer.
enum Trouble {
    /// It was cut off: made again it may be answered.
    Cut(Cut),
    /// The server said so.
    Said(Error),
}

impl From<Cut> for Trouble {
    fn from(cut: Cut) -> Trouble {
        Trouble::Cut(cut)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Said(error)
    }
}

type Tried<T> = std::result::Result<T, Trouble>;

impl NetStore {
    /// Reaches the store that a server gives access to. `location` names it in messages.
    ///
    /// # Errors
    /// Of the kind `NotFound` when there is none, `Foreign` when what answers does not speak this protocol, `Io` when
    /// nobody does.
    pub fn open(connect: Box<dyn Connect>, location: String, patience: Patience) -> Result<NetStore> {
        NetStore::greet(connect, location, patience, Method::GET)
    }

    /// Has a server make an empty store.
    ///
    /// # Errors
    /// As [`open`](Self::open); of the kind `Exists` when something is there.
    pub fn create(connect: Box<dyn Connect>, location: String, patience: Patience) -> Result<NetStore> {
        NetStore::greet(connect, location, patience, Method::POST)
    }

    fn greet(
        connect: Box<dyn Connect>,
        location: String,
        patience: Patience,
        method: Method,
    ) -> Result<NetStore> {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = threads.map_err(|e| Error::io(location.clone(), e))?;
        let capabilities = Capabilities { strong_list: false, local: false, append_only: false };
        let link = Link::new(connect);
        let address = link.address();
        let silence = Silence::new();
        let mut store = NetStore { runtime, link, address, location, patience, silence, capabilities };
        // Whoever cannot be reached at all is not waited for.
        let (headers, _) = match store.ask(
            &Tries::new(patience, &Silence::new()),
            &method,
            "",
            &store.location,
            &[],
            Bytes::new(),
        ) {
            Ok(answer) => answer,
            Err(Trouble::Said(e)) if e.kind() == ErrorKind::Foreign => {
                let text = e.to_string().replace(FOREIGN, "");
                return Err(Error::new(ErrorKind::Foreign, format!("{}: {text}", store.location)));
            }
            Err(Trouble::Said(e)) => return Err(e),
            Err(Trouble::Cut(why)) => {
                let what = format!("{}: {}: {why}", store.location, store.link.peer());
                return Err(Error::new(ErrorKind::Io, what));
            }
        };
        let Some(strong) = headers.get(STRONG_LIST) else {
            let what = format!("{}: what answers is no server of plakar's", store.location);
            return Err(Error::new(ErrorKind::Foreign, what));
        };
        store.capabilities.strong_list = strong == "yes";
        // Servers that know no roles let everybody do everything.
        let role = headers.get(ROLE).map(|role| role.to_str().ok().and_then(Role::named));
        store.capabilities.append_only = role.is_some_and(|role| role != Some(Role::Admin));
        Ok(store)
    }

    /// Makes a request once more, about an object. What is answered was done.
    fn ask(
        &self,
        tries: &Tries,
        method: &Method,
        path: &str,
        object: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Tried<(HeaderMap, Answered)> {
        let len = body.len() as u64;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{}/{path}", self.address.base, wire::VERSION))
            .header("content-length", len);
        if let Some(token) = &self.address.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).expect("names and hashes need no quotes");
        let idle = self.patience.idle;
        // That the other side is there at all is seen by its pings.
        let longest = idle + Duration::from_secs(len / wire::RATE_MIN);
        let answer = self.runtime.block_on(async { timeout(longest, self.link.send(request, tries)).await });
        let answer = answer.map_err(|_| "there is no answer".to_owned())??;
        let (head, body) = answer.into_parts();
        let mut body = Answered::new(body, self.runtime.handle().clone(), idle);
        if head.status.is_success() {
            return Ok((head.headers, body));
        }
        // Without this header it is somebody else's: that there is no such page says nothing of an object.
        let said = head.headers.get(ERROR).and_then(|value| wire::kind_named(value.to_str().ok()?));
        let Some(kind) = said else {
            let status = head.status;
            return match status.is_server_error() {
                true => Err(Trouble::Cut(format!("the answer is {status}"))),
                false => {
                    let what = format!(
                        "{}: the answer is {status}, not that of a server of plakar's",
                        self.location
                    );
                    Err(Error::new(ErrorKind::Foreign, what).into())
                }
            };
        };
        let text = body.text(wire::TEXT_MAX)?;
        let text = match TOLD.iter().find(|(told, _)| *told == kind) {
            // Why it was refused is known there only.
            Some((_, said)) => {
                let why = text.trim_end_matches(said);
                if why.starts_with(object) { why.to_owned() } else { format!("{object}: {why}") }
            }
            None if kind == ErrorKind::Io || kind == ErrorKind::Foreign => text,
            None => object.to_owned(),
        };
        Err(Error::new(kind, text).into())
    }

    /// Makes a request until it is answered, or for too long.
    fn persist<T>(&self, object: &str, mut attempt: impl FnMut(&Tries) -> Tried<T>) -> Result<T> {
        let mut tries = Tries::new(self.patience, &self.silence);
        loop {
            let tried = attempt(&tries);
            if !matches!(tried, Err(Trouble::Cut(_))) {
                self.silence.end();
            }
            match tried {
                Ok(done) => return Ok(done),
                Err(Trouble::Said(e)) => return Err(e),
                Err(Trouble::Cut(why)) => {
                    let wait = tries.again().ok_or_else(|| {
                        Error::new(ErrorKind::Io, format!("{object}: {}: {why}", self.location))
                    })?;
                    std::thread::sleep(wait);
                }
            }
        }
    }

    /// A request that is answered by nothing but that it was done.
    fn tell(&self, method: &Method, path: &str, object: &str) -> Result<()> {
        self.persist(object, |tries| self.ask(tries, method, path, object, &[], Bytes::new()).map(drop))
    }

    fn ranges(&self, tries: &Tries, ranges: &[Range]) -> Tried<Vec<Result<Vec<u8>>>> {
        let (_, mut answer) =
            self.ask(tries, &Method::POST, "ranges", "ranges", &[], wire::write_ranges(ranges).into())?;
        let mut found = Vec::new();
        for range in ranges {
            let mut tag = Vec::new();
            answer.take(1, &mut tag)?;
            let mut bytes = Vec::new();
            if tag[0] == HERE {
                answer.take(range.len, &mut bytes)?;
                found.push(Ok(bytes));
                continue;
            }
            let mut len = Vec::new();
            answer.take(2, &mut len)?;
            answer.take(u16::from_le_bytes([len[0], len[1]]).into(), &mut bytes)?;
            let kind = wire::kind_numbered(tag[0]).ok_or_else(|| Cut::from("the answer is no answer"))?;
            found.push(Err(match kind {
                ErrorKind::Io => Error::new(kind, String::from_utf8_lossy(&bytes).into_owned()),
                kind => Error::new(kind, range.name.as_str()),
            }));
        }
        answer.end()?;
        Ok(found)
    }
}

/// The state of a folder, of which something is known.
fn folder_in(answer: &mut Answered, prefix: &str, known: &[Listed]) -> Tried<Vec<Listed>> {
    let none = || Trouble::from(Cut::from("the answer is no state of folders"));
    let mut line = Vec::new();
    answer.line(LINE_MAX, &mut line)?;
    let mut state = match &line[..] {
        wire::ALL => Vec::new(),
        wire::AFTER => known.to_vec(),
        _ => return Err(none()),
    };
    let before = state.len();
    loop {
        answer.line(LINE_MAX, &mut line)?;
        match wire::read_line(&line) {
            Some(Line::Listed(one)) if one.name.as_str().starts_with(prefix) => {
                // Sorted, so that none is told twice.
                if state.last().is_some_and(|last| last.name >= one.name) || state.len() == wire::STATE_MAX {
                    return Err(none());
                }
                state.push(one);
            }
            Some(Line::End(count)) if count == (state.len() - before) as u64 => return Ok(state),
            _ => return Err(none()),
        }
    }
}

fn object_path(name: &Name) -> String {
    format!("objects/{name}")
}

fn length_in(headers: &HeaderMap) -> Tried<u64> {
    let len = headers.get(LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    len.ok_or_else(|| Cut::from("the answer tells no length").into())
}

impl ReadStore for NetStore {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.get_ranges(&[Range { name: name.clone(), offset, len }]).remove(0)
    }

    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        let mut found = Vec::with_capacity(ranges.len());
        let mut left = ranges;
        while let Some(first) = left.first() {
            if first.len as u64 > wire::OBJECT_MAX {
                found.push(Err(Error::new(ErrorKind::Short, first.name.as_str())));
                left = &left[1..];
                continue;
            }
            let mut bytes = 0;
            let fits = |range: &&Range| {
                bytes += range.len as u64;
                bytes <= wire::RANGES_BYTES_MAX
            };
            let count = left.iter().take(wire::RANGES_MAX).take_while(fits).count().max(1);
            let (now, later) = left.split_at(count);
            match self.persist(now[0].name.as_str(), |tries| self.ranges(tries, now)) {
                Ok(answers) => found.extend(answers),
                Err(e) => {
                    let failed = |range: &Range| Err(Error::new(e.kind(), format!("{}: {e}", range.name)));
                    found.extend(left.iter().map(failed));
                    return found;
                }
            }
            left = later;
        }
        found
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.get_into(name, max, &mut bytes)?;
        Ok(bytes)
    }

    fn get_into(&self, name: &Name, max: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.persist(name.as_str(), |tries| {
            let (headers, mut answer) =
                self.ask(tries, &Method::GET, &object_path(name), name.as_str(), &[], Bytes::new())?;
            let len = length_in(&headers)?;
            if len > max as u64 {
                return Err(Error::new(ErrorKind::TooLarge, name.as_str()).into());
            }
            bytes.clear();
            answer.take(len as usize, bytes)?;
            answer.end()?;
            Ok(())
        })
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.persist(name.as_str(), |tries| {
            let (headers, _) =
                self.ask(tries, &Method::HEAD, &object_path(name), name.as_str(), &[], Bytes::new())?;
            length_in(&headers)
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        if !wire::is_prefix(prefix) {
            return Ok(());
        }
        // When it is cut off it begins anew, in any order: what was told already is known by its hash.
        let mut told = HashSet::new();
        let path = format!("list?prefix={prefix}");
        self.persist(prefix, |tries| {
            let (_, mut answer) = self.ask(tries, &Method::GET, &path, prefix, &[], Bytes::new())?;
            let (mut line, mut count) = (Vec::new(), 0);
            loop {
                answer.line(LINE_MAX, &mut line)?;
                match wire::read_line(&line) {
                    Some(Line::Listed(listed)) if listed.name.as_str().starts_with(prefix) => {
                        count += 1;
                        let hash = *blake3::hash(listed.name.as_str().as_bytes()).as_bytes();
                        let short: [u8; 16] = hash[..16].try_into().expect("16 of 32");
                        if told.insert(short) {
                            each(listed)?;
                        }
                    }
                    Some(Line::End(all)) if all == count => return Ok(answer.end()?),
                    _ => return Err(Cut::from("the answer is no listing").into()),
                }
            }
        })
    }

    fn list_at_once(&self, prefixes: &[&str], known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        let own = |prefix: &str| -> Vec<Listed> {
            known.iter().filter(|one| one.name.as_str().starts_with(prefix)).cloned().collect()
        };
        let known: Vec<_> = prefixes.iter().map(|prefix| own(prefix)).collect();
        let folders = prefixes.iter().zip(&known).map(|(prefix, known)| Folder::of(prefix, known));
        let body = Bytes::from(wire::write_folders(&folders.collect::<Vec<_>>()));
        let state = self.persist("state", |tries| {
            let (_, mut answer) = self.ask(tries, &Method::POST, "state", "state", &[], body.clone())?;
            let mut state = Vec::new();
            for (prefix, known) in prefixes.iter().zip(&known) {
                state.extend(folder_in(&mut answer, prefix, known)?);
            }
            answer.end()?;
            Ok(state)
        });
        match state {
            Ok(mut state) => {
                state.sort();
                Ok(Some(state))
            }
            // Then it is listed piece by piece.
            Err(e) if e.kind() == ErrorKind::TooLarge => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

impl Store for NetStore {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let bytes = Bytes::from(parts.concat());
        let headers = [(BLAKE3, blake3::hash(&bytes).to_string())];
        let mut again = false;
        self.persist(name.as_str(), |tries| {
            match self.ask(tries, &Method::PUT, &object_path(name), name.as_str(), &headers, bytes.clone()) {
                // It was spoilt on the way.
                Err(Trouble::Said(e)) if e.kind() == ErrorKind::Damaged => Err(Trouble::Cut(e.to_string())),
                // What a server could not flush it has no more: another file may fare better, once.
                Err(Trouble::Said(e)) if e.kind() == ErrorKind::Io && !again => {
                    again = true;
                    Err(Trouble::Cut(e.to_string()))
                }
                result => result.map(drop),
            }
        })
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.tell(&Method::DELETE, &object_path(name), name.as_str())
    }

    fn barrier(&self) -> Result<()> {
        self.tell(&Method::POST, "barrier", "barrier")
    }
}
