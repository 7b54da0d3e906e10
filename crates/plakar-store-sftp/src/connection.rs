//! One connection: many requests on their way at once, and who waits for which answer.
//!
//! Whoever asks writes; one thread reads, hands each answer to whoever waits for it, and notices when there is none for
//! too long. A connection that broke stays broken: whoever waits is told, and a new one is made ([`crate::link`]).
//! Neither side ever waits for the other for ever: both pipes are only touched when they are ready.

use crate::connect::Pipes;
use crate::wire::{self, Extension, Limits, PACKET_MAX, Reply, Request, status};
use plakar_store::{Bandwidth, Pace};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So often a thread that waits for a pipe looks whether it still should.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// A program that has closed its pipes is about to end.
const ENDING: Duration = Duration::from_secs(2);
/// How much is read and written at once: what every server does, what is asked for at most, and what is worth asking for.
const PIECE: (u64, u64, u64) = (32 << 10, (PACKET_MAX - 1024) as u64, 4 << 10);
/// Bytes that may be on their way each way for one call,
const WINDOW: usize = 4 << 20;
/// and at most what takes so many seconds at the pace that is allowed.
const WINDOW_SECONDS: u64 = 10;
/// Open files and folders of one call, when the server does not say that it has more or fewer.
const HANDLES: u64 = 64;

/// Why there is no answer: in words, because nothing follows from it but asking again.
pub type Cut = String;

/// Why something was not done.
#[derive(Debug)]
pub enum Trouble {
    /// It was cut off: asked again it may be answered.
    Cut(Cut),
    /// It was refused.
    Said(plakar_store::Error),
}

impl From<plakar_store::Error> for Trouble {
    fn from(error: plakar_store::Error) -> Trouble {
        Trouble::Said(error)
    }
}

/// What comes of an attempt.
pub type Tried<T> = std::result::Result<T, Trouble>;

/// What an answer is that is none.
pub fn nonsense(what: impl Display) -> Trouble {
    Trouble::Cut(format!("the answer is no answer: {what}"))
}

/// What a server can do, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// It makes hard links.
    pub links: bool,
    /// It renames over what is there.
    pub replaces: bool,
    /// It flushes files.
    pub flushes: bool,
    /// It tells how much room there is.
    pub tells_room: bool,
    /// Bytes of one read,
    pub read: u32,
    /// and of one write.
    pub write: u32,
    /// Bytes that may be on their way to this side for one call,
    pub read_window: usize,
    /// and to the server.
    pub write_window: usize,
    /// Handles of one call.
    pub handles: usize,
}

/// A connection.
pub struct Connection {
    shared: Arc<Shared>,
    write: Mutex<Write>,
    pipes: Mutex<Option<std::process::Child>>,
    abilities: Abilities,
}

struct Write {
    pipe: OwnedFd,
    pace: Option<Arc<Pace>>,
}

type Answer = (usize, Result<Reply, Cut>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// When bytes moved last, in milliseconds after `since`.
    moved: AtomicU64,
    since: Instant,
    idle: Duration,
}

#[derive(Default)]
struct Waiting {
    next: u32,
    /// Who waits, and what for; nobody for some.
    calls: HashMap<u32, Option<(usize, Sender<Answer>)>>,
    broken: Option<Cut>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves(&self) {
        self.moved.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Nothing has moved for too long.
    fn is_stuck(&self) -> bool {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(moved) > self.idle
    }

    /// Tells all who wait, and all who come. The first reason stays.
    fn fail(&self, why: &str) {
        let mut waiting = self.waiting();
        waiting.broken.get_or_insert_with(|| why.to_owned());
        for (tag, sender) in waiting.calls.drain().filter_map(|(_, call)| call) {
            // Whoever has gone meanwhile need not know.
            let _ = sender.send((tag, Err(why.to_owned())));
        }
    }

    fn broken(&self) -> Option<Cut> {
        self.waiting().broken.clone()
    }

    fn deliver(&self, id: u32, reply: Reply) -> Result<(), Cut> {
        let call = self.waiting().calls.remove(&id);
        match call {
            None => Err("it answers what was not asked".into()),
            Some(None) => Ok(()),
            Some(Some((tag, sender))) => {
                let _ = sender.send((tag, Ok(reply)));
                Ok(())
            }
        }
    }
}

impl Connection {
    /// Greets the server at the other end, which answers within `idle`, and says something within that from then on
    /// whenever something was asked.
    ///
    /// # Errors
    /// When what is there is no server of SFTP, or ends.
    pub fn greet(pipes: Pipes, bandwidth: &Bandwidth, idle: Duration) -> Result<Connection, Cut> {
        let Pipes { read, write, child } = pipes;
        for pipe in [&read, &write] {
            rustix::io::ioctl_fionbio(pipe, true).map_err(|e| e.to_string())?;
        }
        let shared =
            Shared { waiting: Mutex::default(), moved: AtomicU64::new(0), since: Instant::now(), idle };
        let shared = Arc::new(shared);
        let abilities = Abilities {
            links: false,
            replaces: false,
            flushes: false,
            tells_room: false,
            read: 0,
            write: 0,
            read_window: window(&bandwidth.download),
            write_window: window(&bandwidth.upload),
            handles: 0,
        };
        let write = Mutex::new(Write { pipe: write, pace: bandwidth.upload.clone() });
        let mut made = Connection { shared: shared.clone(), write, pipes: Mutex::new(child), abilities };
        let from = Polled { pipe: read, pace: bandwidth.download.clone(), shared };
        let mut from = BufReader::with_capacity(64 << 10, from);
        // Until it has answered this, the thread that reads is this one.
        made.shared.waiting().calls.insert(u32::MAX, None);
        made.put_out(&wire::hello()).map_err(|why| made.ended(why))?;
        let packet = read_packet(&mut from).map_err(|why| made.ended(why))?;
        made.shared.waiting().calls.clear();
        let (version, names) = wire::read_hello(&packet).ok_or("what answers does not speak SFTP")?;
        if version != wire::SPOKEN {
            return Err(format!("what answers speaks version {version} of SFTP, not {}", wire::SPOKEN));
        }
        let shared = made.shared.clone();
        let reading = thread::Builder::new().name("sftp".into());
        reading.spawn(move || read_all(&mut from, &shared)).map_err(|e| e.to_string())?;
        let knows = |name: &[u8]| names.iter().any(|known| known == name);
        let limits = if knows(Extension::LIMITS) { made.limits()? } else { Limits::default() };
        let piece = |told: u64, pace: &Option<Arc<Pace>>| {
            let most = if told == 0 { PIECE.0 } else { told.min(PIECE.1) };
            let even = pace.as_ref().map_or(u64::MAX, |pace| pace.piece() as u64);
            most.min(even.max(PIECE.2)).max(1) as u32
        };
        made.abilities = Abilities {
            links: knows(Extension::LINK),
            replaces: knows(Extension::REPLACE),
            flushes: knows(Extension::FLUSH),
            tells_room: knows(Extension::ROOM),
            read: piece(limits.read, &bandwidth.download),
            write: piece(limits.write, &bandwidth.upload),
            handles: if limits.handles == 0 { HANDLES } else { (limits.handles / 4).clamp(1, 2 * HANDLES) }
                as usize,
            ..made.abilities
        };
        Ok(made)
    }

    /// What the server can do.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Why it cannot be used any more, if it cannot.
    pub fn broken(&self) -> Option<Cut> {
        self.shared.broken()
    }

    /// Asks one thing and waits for the answer.
    pub fn ask(&self, request: &Request) -> Tried<Reply> {
        let calls = Calls::new(self);
        calls.send(0, request)?;
        Ok(calls.next()?.1)
    }

    /// Asks what needs no answer.
    pub fn tell(&self, request: &Request) {
        // If it is not heard, whoever asks next learns why.
        let _ = self.begin(None, request);
    }

    fn limits(&self) -> Result<Limits, Cut> {
        match self.ask(&Request::Limits) {
            Ok(Reply::Extended(bytes)) => {
                wire::read_limits(&bytes).ok_or_else(|| "its limits are none".into())
            }
            Ok(Reply::Status(..)) => Ok(Limits::default()),
            Ok(_) => Err("its limits are none".into()),
            Err(Trouble::Cut(why)) => Err(self.ended(why)),
            Err(Trouble::Said(e)) => Err(e.to_string()),
        }
    }

    fn begin(&self, call: Option<(usize, Sender<Answer>)>, request: &Request) -> Result<(), Cut> {
        let id = {
            let mut waiting = self.shared.waiting();
            if let Some(why) = &waiting.broken {
                return Err(why.clone());
            }
            // One that is still waited for after so many others is not given again.
            while waiting.calls.contains_key(&waiting.next) {
                waiting.next = waiting.next.wrapping_add(1);
            }
            if waiting.calls.is_empty() {
                self.shared.moves();
            }
            let id = waiting.next;
            waiting.next = id.wrapping_add(1);
            waiting.calls.insert(id, call);
            id
        };
        self.put_out(&request.packet(id))
    }

    fn put_out(&self, packet: &[u8]) -> Result<(), Cut> {
        let out = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = out.send(packet, &self.shared);
        // What was sent in part leaves nothing that could follow it.
        sent.map_err(|e| e.to_string()).inspect_err(|why| self.shared.fail(why))
    }

    /// A reason, and how the program ended, if it has: its exit status says more than that a pipe is closed.
    fn ended(&self, why: Cut) -> Cut {
        let mut child = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child.as_mut() else { return why };
        let began = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return format!("{why} ({status})"),
                Ok(None) if began.elapsed() < ENDING => thread::sleep(Duration::from_millis(10)),
                _ => return why,
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What was asked without waiting, to remove a file say, is done before the program is ended.
        let began = Instant::now();
        let is_owed = || {
            let waiting = self.shared.waiting();
            waiting.broken.is_none() && !waiting.calls.is_empty()
        };
        while is_owed() && began.elapsed() < ENDING {
            thread::sleep(Duration::from_millis(1));
        }
        self.shared.fail("it was closed");
        let child = self.pipes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            // Nothing is waited for any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn window(pace: &Option<Arc<Pace>>) -> usize {
    let most = pace.as_ref().map_or(u64::MAX, |pace| pace.bytes_per_second().saturating_mul(WINDOW_SECONDS));
    usize::try_from(most).unwrap_or(WINDOW).min(WINDOW)
}

/// Requests that are made together, and their answers in whatever order they come.
pub struct Calls<'c> {
    connection: &'c Connection,
    sender: Sender<Answer>,
    receiver: Receiver<Answer>,
    /// How many answers are to come.
    awaited: Cell<usize>,
}

impl<'c> Calls<'c> {
    /// None yet.
    pub fn new(connection: &'c Connection) -> Calls<'c> {
        let (sender, receiver) = channel();
        Calls { connection, sender, receiver, awaited: Cell::new(0) }
    }

    /// What they go over.
    pub fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Sends one. Its answer bears the tag.
    pub fn send(&self, tag: usize, request: &Request) -> Tried<()> {
        self.awaited.set(self.awaited.get() + 1);
        self.connection.begin(Some((tag, self.sender.clone())), request).map_err(Trouble::Cut)
    }

    /// The next answer. To be called as often as [`send`](Self::send) was.
    pub fn next(&self) -> Tried<(usize, Reply)> {
        assert!(self.awaited.get() > 0, "an answer to nothing is waited for");
        self.awaited.set(self.awaited.get() - 1);
        let (tag, reply) = self.receiver.recv().expect("a sender is here");
        match reply.map_err(Trouble::Cut)? {
            Reply::Status(status::NO_CONNECTION | status::CONNECTION_LOST, text) => Err(Trouble::Cut(text)),
            reply => Ok((tag, reply)),
        }
    }
}

fn read_all(from: &mut BufReader<Polled>, shared: &Shared) {
    loop {
        let read = read_packet(from).and_then(|packet| {
            let (id, reply) = wire::read_reply(&packet).ok_or("it sends what is no answer")?;
            shared.deliver(id, reply)
        });
        if let Err(why) = read {
            shared.fail(&why);
            return;
        }
    }
}

fn read_packet(from: &mut impl Read) -> Result<Vec<u8>, Cut> {
    let mut len = [0; 4];
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => "it ended".to_owned(),
        _ => e.to_string(),
    };
    from.read_exact(&mut len).map_err(failed)?;
    let len = u32::from_be_bytes(len) as usize;
    if len == 0 || len > PACKET_MAX {
        return Err(format!(
            "what answers does not speak SFTP, or a shell there has something to say first (it begins with {:?})",
            String::from_utf8_lossy(&(len as u32).to_be_bytes())
        ));
    }
    let mut packet = vec![0; len];
    from.read_exact(&mut packet).map_err(failed)?;
    Ok(packet)
}

/// A pipe that is read when there is something in it.
struct Polled {
    pipe: OwnedFd,
    pace: Option<Arc<Pace>>,
    shared: Arc<Shared>,
}

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.pace.as_ref().map_or(usize::MAX, |pace| pace.piece()).min(buffer.len());
        loop {
            match rustix::io::read(&self.pipe, &mut buffer[..most]) {
                Ok(read) => {
                    self.shared.moves();
                    pause(&self.pace, read);
                    return Ok(read);
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    ready(&self.pipe, PollFlags::IN)?;
                    let nothing_is_asked = self.shared.waiting().calls.is_empty();
                    self.shared.look_after(nothing_is_asked)?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Write {
    fn send(&self, mut bytes: &[u8], shared: &Shared) -> io::Result<()> {
        let piece = self.pace.as_ref().map_or(usize::MAX, |pace| pace.piece());
        shared.moves();
        while !bytes.is_empty() {
            match rustix::io::write(&self.pipe, &bytes[..bytes.len().min(piece)]) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    shared.moves();
                    pause(&self.pace, written);
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    ready(&self.pipe, PollFlags::OUT)?;
                    shared.look_after(false)?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Whether to go on waiting.
    fn look_after(&self, nothing_is_asked: bool) -> io::Result<()> {
        if let Some(why) = self.broken() {
            return Err(io::Error::other(why));
        }
        match self.is_stuck() && !nothing_is_asked {
            true => Err(io::Error::other("it does not answer")),
            false => Ok(()),
        }
    }
}

fn ready(pipe: &OwnedFd, what: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(pipe, what)], Some(&LOOK)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn pause(pace: &Option<Arc<Pace>>, bytes: usize) {
    let wait = pace.as_ref().map(|pace| pace.take(bytes)).filter(|wait| !wait.is_zero());
    if let Some(wait) = wait {
        thread::sleep(wait);
    }
}
