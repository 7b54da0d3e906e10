//! A line to a machine far away: what goes through it takes its time, goes only so fast, and may be cut.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What waits to go through may be as long as this takes: what a router on the way keeps before it takes no more.
const QUEUE: Duration = Duration::from_millis(100);
/// Read at once. Small, so that what is asked meanwhile does not wait long behind it.
const PIECE: usize = 16 << 10;

/// How far, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// From one end to the other.
    pub delay: Duration,
    /// In each direction, all connections together.
    pub bytes_per_second: u64,
}

/// Forwards connections to a server.
pub struct Line {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    shape: Shape,
    server: String,
    /// When each direction will have sent what it took.
    free: [Mutex<Instant>; 2],
    bytes: [AtomicU64; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Line {
    /// Listens on this machine, and forwards to `server`.
    ///
    /// # Errors
    /// When nobody can listen.
    pub fn to(server: &str, listen: &str, shape: Shape) -> io::Result<Line> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            shape,
            server: server.to_owned(),
            free: [Instant::now(), Instant::now()].map(Mutex::new),
            bytes: Default::default(),
            state: Mutex::default(),
        });
        let line = Line { address, shared: shared.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever cannot be connected finds out by being hung up on.
                let _ = shared.connect(client);
            }
        });
        Ok(line)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many bytes went to the server, and how many came from it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.bytes[0].load(Relaxed), self.shared.bytes[1].load(Relaxed))
    }

    /// Cuts it: nothing goes through, and nobody is told. Whoever connects meanwhile waits in vain.
    pub fn cut(&self) {
        self.shared.state().is_cut = true;
    }

    /// Mends it. Connections from before are gone by then.
    pub fn mend(&self) {
        let mut state = self.shared.state();
        state.is_cut = false;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Bytes on their way, each piece with when it arrives; none is the end.
#[derive(Default)]
struct OnTheWay {
    pieces: Mutex<VecDeque<(Instant, Option<Vec<u8>>)>>,
    more: Condvar,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(&self.server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            let one = stream.try_clone()?;
            self.state().open.push(one);
        }
        for (way, from, to) in [(0, &client, &server), (1, &server, &client)] {
            let on_the_way = Arc::new(OnTheWay::default());
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let (shared, entry, exit) = (self.clone(), on_the_way.clone(), on_the_way);
            thread::spawn(move || shared.take(way, from, &entry));
            let shared = self.clone();
            thread::spawn(move || shared.give(to, &exit));
        }
        Ok(())
    }

    fn take(&self, way: usize, mut from: TcpStream, entry: &OnTheWay) {
        let mut buffer = [0; PIECE];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let now = Instant::now();
            let sent = {
                let mut free = self.free[way].lock().expect("no panic while held");
                let takes = Duration::from_secs_f64(read as f64 / self.shape.bytes_per_second as f64);
                *free = now.max(*free) + takes;
                *free
            };
            self.bytes[way].fetch_add(read as u64, Relaxed);
            let piece = (read > 0).then(|| buffer[..read].to_vec());
            let mut pieces = entry.pieces.lock().expect("no panic while held");
            pieces.push_back((sent + self.shape.delay, piece));
            entry.more.notify_one();
            drop(pieces);
            if read == 0 {
                return;
            }
            thread::sleep((sent - now).saturating_sub(QUEUE));
        }
    }

    fn give(&self, mut to: TcpStream, exit: &OnTheWay) {
        loop {
            let (at, piece) = {
                let mut pieces = exit.pieces.lock().expect("no panic while held");
                loop {
                    match pieces.pop_front() {
                        Some(piece) => break piece,
                        None => pieces = exit.more.wait(pieces).expect("no panic while held"),
                    }
                }
            };
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if self.state().is_cut {
                continue;
            }
            let Some(piece) = piece else {
                let _ = to.shutdown(Shutdown::Write);
                return;
            };
            if to.write_all(&piece).is_err() {
                // Nobody takes what comes behind it.
                return;
            }
        }
    }
}
