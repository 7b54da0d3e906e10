//! Objects that come in pieces: they are there whole, durable and proven, or nothing is left of them; and whoever is slow keeps
//! nobody else waiting.

mod servers;

use plakar_net::{Guest, Limits, NetStore, Role};
use plakar_store::wrap::{Fault, Faulty, Request, Rule};
use plakar_store::{Capabilities, DirStore, Draft, Error, ErrorKind, Listed, Name, ReadStore, Result, Store};
use servers::{PATIENCE, Server, Tickets, Wanted, client};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Bytes without a short period.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect()
}

/// Longer than what a server holds as a whole.
const LEN: usize = 5 << 20;

/// A folder on a server.
struct World {
    temp: tempfile::TempDir,
    server: Server,
}

impl World {
    fn new(limits: Limits) -> World {
        let temp = tempfile::tempdir().unwrap();
        let server = Server::with(Some(Arc::new(DirStore::create(temp.path()).unwrap())), limits);
        World { temp, server }
    }

    /// Every file, those that are not objects with them, once nothing is on its way any more.
    fn files(&self) -> Vec<String> {
        settled(self.temp.path())
    }

    /// Begins to put an object, over HTTP/1.1, and says no more than these bytes of it.
    fn begin(&self, path: &str, bytes: &[u8], said: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (hash, len) = (blake3::hash(bytes), bytes.len());
        let head = format!(
            "PUT /v1/objects/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\nplakar-blake3: {hash}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes[..said]).unwrap();
        stream
    }
}

fn walk(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), files),
            false => files.push(entry.file_name().into_string().unwrap()),
        }
    }
}

fn all_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    walk(folder, &mut files);
    files.sort();
    files
}

fn settled(folder: &Path) -> Vec<String> {
    let began = Instant::now();
    loop {
        let files = all_files(folder);
        if !files.iter().any(|file| file.starts_with(".tmp-")) || began.elapsed() > Duration::from_secs(10) {
            return files;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answered(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_came_in_pieces_is_there_whole() {
    let world = World::new(Limits::default());
    let store = client(world.server.tcp());
    for len in [1 << 20, (1 << 20) + 1, LEN, 2 * LEN + 77] {
        let (object, bytes) = (name(&format!("packs/ab/{len}")), noise(len));
        for _ in 0..2 {
            store.put(&object, &[&bytes[..9], &bytes[9..]]).unwrap();
            assert!(store.get(&object, len).unwrap() == bytes);
        }
        let mut other = bytes.clone();
        other[len / 2] ^= 1;
        assert_eq!(store.put(&object, &[&other]).unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(store.put(&object, &[&bytes[1..]]).unwrap_err().kind(), ErrorKind::Exists);
        assert!(store.get(&object, len).unwrap() == bytes);
    }
    assert_eq!(world.files().len(), 4);
}

#[test]
fn what_is_not_what_was_said_leaves_nothing() {
    let world = World::new(Limits { idle: Duration::from_secs(1), ..Limits::default() });
    let bytes = noise(LEN);
    let other = blake3::hash(b"other").to_string();
    // Not what the name says, nor what the header says: all of it came.
    let stream = world.begin(&format!("packs/ab/{other}"), &bytes, LEN);
    let answer = answered(stream);
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("plakar-error: damaged"), "{answer}");
    assert_eq!(all_files(world.temp.path()), [""; 0], "it is gone when that is answered");
    let mut wrong = bytes.clone();
    wrong[LEN - 1] ^= 1;
    let mut stream = world.begin("packs/ab/wrong", &bytes, LEN - 1);
    stream.write_all(&wrong[LEN - 1..]).unwrap();
    assert!(answered(stream).contains("plakar-error: damaged"));
    assert_eq!(all_files(world.temp.path()), [""; 0]);
    // It breaks off, with and without anybody who listens, or stands still.
    let cut = world.begin("packs/ab/cut", &bytes, LEN / 2);
    cut.shutdown(Shutdown::Write).unwrap();
    let answer = answered(cut);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    drop(world.begin("packs/ab/gone", &bytes, LEN / 2));
    let still = world.begin("packs/ab/still", &bytes, LEN / 2);
    let began = Instant::now();
    while all_files(world.temp.path()).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "what has come is on the disk already");
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = answered(still);
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("nothing came for long"), "{answer}");
    assert_eq!(world.files(), [""; 0]);
    client(world.server.tcp()).list("", &mut |listed| panic!("{listed:?}")).unwrap();
}

#[test]
fn who_is_slow_keeps_nobody_waiting() {
    let world = World::new(Limits { idle: Duration::from_secs(15), ..Limits::default() });
    let bytes = noise(LEN);
    // More than there is room for, which those get that came first.
    let slow: Vec<_> = (0..160).map(|n| world.begin(&format!("packs/ab/{n}"), &bytes, 600_000)).collect();
    let (store, began) = (client(world.server.tcp()), Instant::now());
    assert_eq!(store.len(&name("config")).unwrap_err().kind(), ErrorKind::NotFound);
    store.list("", &mut |listed| panic!("{listed:?}")).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "nobody's thread is held");
    let on_their_way = || all_files(world.temp.path()).len();
    while on_their_way() < 128 {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", on_their_way());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(on_their_way(), 128, "so many at once");
    // Whoever goes makes room.
    drop(slow);
    store.put(&name("packs/ab/new"), &[&bytes]).unwrap();
    assert_eq!(world.files(), ["new"]);
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
}

#[test]
fn a_quota_counts_what_is_on_its_way() {
    let temp = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(DirStore::create(temp.path()).unwrap());
    let tickets = Tickets::default();
    let guest = Guest {
        name: "limited".into(),
        role: Role::Append,
        repository: None,
        quota: Some(LEN as u64 * 2 + 1000),
    };
    let token = tickets.add(guest, None);
    let server = Server::wanted(Wanted { tickets, ..Wanted::of(Some(store)) });
    let store = NetStore::open(server.named("", Some(&token)), "it".into(), PATIENCE).unwrap();
    let bytes = noise(LEN + 1);
    let put = |bytes: &[u8]| {
        let object = name(&format!("packs/ab/{}", blake3::hash(bytes)));
        store.put(&object, &[bytes]).map_err(|e| e.kind())
    };
    put(&bytes[..LEN]).unwrap();
    let mut cut = TcpStream::connect(&server.address).unwrap();
    let (hash, len) = (blake3::hash(&bytes[1..]), LEN);
    let head = format!(
        "PUT /v1/objects/packs/ab/{hash} HTTP/1.1\r\nhost: x\r\nauthorization: bearer {token}\r\n\
         content-length: {len}\r\nplakar-blake3: {hash}\r\n\r\n"
    );
    cut.write_all(head.as_bytes()).unwrap();
    cut.write_all(&bytes[1..LEN / 2]).unwrap();
    let began = Instant::now();
    while all_files(temp.path()).len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "it never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Told before any of it is read.
    assert_eq!(put(&bytes), Err(ErrorKind::Full));
    assert_eq!(put(&bytes[..LEN]), Ok(()), "it is there already");
    drop(cut);
    assert_eq!(settled(temp.path()).len(), 1);
    assert_eq!(put(&bytes[1..]), Ok(()), "what never came counts no more");
    assert_eq!(put(&bytes[..1001]), Err(ErrorKind::Full));
    assert_eq!(all_files(temp.path()).len(), 2);
}

/// A folder whose first drafts fail in the end, as those do that could not be flushed.
struct Flushless(DirStore, Arc<AtomicUsize>);

struct Unflushed(Box<dyn Draft>, Arc<AtomicUsize>);

impl Draft for Unflushed {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { Err(Error::new(ErrorKind::Io, "the disk failed")) } else { self.0.finish() }
    }
}

impl ReadStore for Flushless {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.0.get_range(name, offset, len)
    }

    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.0.get(name, max)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.0.len(name)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.0.list(prefix, each)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn location(&self) -> String {
        self.0.location()
    }
}

impl Store for Flushless {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        self.0.put(name, parts)
    }

    fn draft(&self, name: &Name, len: u64) -> Result<Option<Box<dyn Draft>>> {
        let draft = self.0.draft(name, len)?;
        Ok(draft.map(|draft| Box::new(Unflushed(draft, self.1.clone())) as Box<dyn Draft>))
    }

    fn delete(&self, name: &Name) -> Result<()> {
        self.0.delete(name)
    }

    fn barrier(&self) -> Result<()> {
        self.0.barrier()
    }
}

#[test]
fn what_a_server_could_not_store_is_sent_once_more() {
    let temp = tempfile::tempdir().unwrap();
    let failures = Arc::new(AtomicUsize::new(1));
    let behind = Flushless(DirStore::create(temp.path()).unwrap(), failures.clone());
    let server = Server::start(Arc::new(behind));
    let (store, bytes) = (client(server.tcp()), noise(LEN));
    store.put(&name("packs/ab/a"), &[&bytes]).unwrap();
    assert!(store.get(&name("packs/ab/a"), LEN).unwrap() == bytes);
    failures.store(2, Ordering::SeqCst);
    let e = store.put(&name("packs/ab/b"), &[&bytes]).unwrap_err();
    assert_eq!((e.kind(), failures.load(Ordering::SeqCst)), (ErrorKind::Io, 0));
    assert!(e.to_string().contains("the disk failed"), "{e}");
    assert_eq!(settled(temp.path()), ["a"]);
}

#[test]
fn faults_of_a_put_stay_faults_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let behind = Arc::new(Faulty::new(DirStore::create(temp.path()).unwrap(), 0));
    let server = Server::start(behind.clone());
    let (store, bytes) = (client(server.tcp()), noise(LEN));
    behind.add(Rule::new(Fault::Error(ErrorKind::Full)).on(Request::Put).times(1));
    assert_eq!(store.put(&name("packs/ab/a"), &[&bytes]).unwrap_err().kind(), ErrorKind::Full);
    behind.add(Rule::new(Fault::Error(ErrorKind::Io)).on(Request::Put).times(1));
    store.put(&name("packs/ab/a"), &[&bytes]).unwrap();
    assert_eq!(behind.fired(), 2);
}
