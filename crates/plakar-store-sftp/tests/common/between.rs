//! What may come between a client and OpenSSH's server: a line that is cut, and somebody who answers in the server's place.

use super::program;
use plakar_store_sftp::{Connect, Pipes};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// No cut.
pub const NEVER: u64 = u64::MAX;

/// A line to OpenSSH's server on which one connection, and no later one, breaks after so many bytes each way.
#[derive(Clone)]
pub struct Line {
    /// Bytes to the server and from it that are still let through.
    pub left: [Arc<AtomicU64>; 2],
    /// Bytes that went each way.
    pub went: [Arc<AtomicU64>; 2],
    /// Connections that were made.
    pub made: Arc<AtomicU64>,
}

impl Line {
    pub fn new() -> Line {
        let at = |n| [Arc::new(AtomicU64::new(n)), Arc::new(AtomicU64::new(n))];
        Line { left: at(NEVER), went: at(0), made: Arc::default() }
    }

    pub fn bytes(&self) -> [u64; 2] {
        [0, 1].map(|way| self.went[way].load(Ordering::SeqCst))
    }

    /// From now on the line breaks after so many bytes one way, once.
    pub fn cut(&self, way: usize, bytes: u64) {
        self.left[way].store(bytes, Ordering::SeqCst);
    }

    pub fn connections(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }
}

/// Both sides of a client's connection, and a server.
struct Ends {
    client: Pipes,
    from_client: PipeReader,
    to_client: PipeWriter,
    child: Arc<Mutex<std::process::Child>>,
    from_server: ChildStdout,
    to_server: ChildStdin,
}

fn ends() -> io::Result<Ends> {
    let ((read, to_client), (from_client, write)) = (pipe()?, pipe()?);
    let mut child =
        Command::new(program(&[]).program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (from_server, to_server) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let client = Pipes { read: read.into(), write: write.into(), child: None };
    Ok(Ends { client, from_client, to_client, child: Arc::new(Mutex::new(child)), from_server, to_server })
}

fn end(child: &Mutex<std::process::Child>) {
    let mut child = child.lock().unwrap();
    let _ = child.kill();
    let _ = child.wait();
}

impl Connect for Line {
    fn connect(&self) -> io::Result<Pipes> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let Ends { client, from_client, to_client, child, from_server, to_server } = ends()?;
        for (way, mut from, mut to) in [
            (0, Box::new(from_client) as Box<dyn Read + Send>, Box::new(to_server) as Box<dyn Write + Send>),
            (1, Box::new(from_server), Box::new(to_client)),
        ] {
            let (line, child) = (self.clone(), child.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = from.read(&mut buffer) {
                    let left = line.left[way].load(Ordering::SeqCst);
                    let now = left.min(read as u64) as usize;
                    if to.write_all(&buffer[..now]).is_err() {
                        break;
                    }
                    line.went[way].fetch_add(now as u64, Ordering::SeqCst);
                    if left != NEVER {
                        line.left[way].store(left - now as u64, Ordering::SeqCst);
                        if now as u64 == left {
                            line.left[way].store(NEVER, Ordering::SeqCst);
                            break;
                        }
                    }
                }
                // Either way ends both.
                drop(to);
                end(&child);
            });
        }
        Ok(client)
    }

    fn peer(&self) -> String {
        "a line".into()
    }
}

/// What is said in a server's place: the rest of a packet behind the number of the request, with its kind first; or
/// nothing, and the server is asked. It is shown the packet without its length, and how many were asked before.
pub type Say = dyn Fn(&[u8], u64) -> Option<Vec<u8>> + Send + Sync;

/// OpenSSH's server, with somebody who answers some things in its place.
pub struct Meddler(pub Arc<Say>, pub Arc<AtomicU64>);

impl Meddler {
    pub fn new(say: impl Fn(&[u8], u64) -> Option<Vec<u8>> + Send + Sync + 'static) -> Meddler {
        Meddler(Arc::new(say), Arc::default())
    }
}

/// Kinds of requests.
pub const OPEN: u8 = 3;
pub const WRITE: u8 = 6;
pub const EXTENDED: u8 = 200;

/// Whether a request is one of an extension.
pub fn is_extension(packet: &[u8], name: &str) -> bool {
    packet[0] == EXTENDED && packet[9..].starts_with(name.as_bytes())
}

/// A status, with what is said of it.
pub fn status(code: u32, text: &str) -> Vec<u8> {
    let mut out = vec![101];
    out.extend(code.to_be_bytes());
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text.as_bytes());
    out.extend([0; 4]);
    out
}

/// A packet: its length, its kind, the number of the request, the rest.
pub fn answer(id: [u8; 4], said: &[u8]) -> Vec<u8> {
    let len = said.len() as u32 + 4;
    [&len.to_be_bytes()[..], &said[..1], &id, &said[1..]].concat()
}

/// The next packet without its length.
pub fn packet(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len).ok()?;
    let mut packet = vec![0; u32::from_be_bytes(len) as usize];
    from.read_exact(&mut packet).ok()?;
    Some(packet)
}

impl Connect for Meddler {
    fn connect(&self) -> io::Result<Pipes> {
        let Ends { client, mut from_client, to_client, child, mut from_server, mut to_server } = ends()?;
        let (say, asked, to_client) = (self.0.clone(), self.1.clone(), Arc::new(Mutex::new(to_client)));
        let back = to_client.clone();
        thread::spawn(move || {
            while let Some(packet) = packet(&mut from_client) {
                let count = asked.fetch_add(1, Ordering::SeqCst);
                let said = if packet[0] == 1 { None } else { say(&packet, count) };
                let sent = match said {
                    Some(said) => {
                        let id = packet[1..5].try_into().unwrap();
                        back.lock().unwrap().write_all(&answer(id, &said))
                    }
                    None => {
                        to_server.write_all(&[&(packet.len() as u32).to_be_bytes(), &packet[..]].concat())
                    }
                };
                if sent.is_err() {
                    break;
                }
            }
            drop(to_server);
            let _ = child.lock().unwrap().wait();
        });
        thread::spawn(move || {
            while let Some(packet) = packet(&mut from_server) {
                let bytes = [&(packet.len() as u32).to_be_bytes(), &packet[..]].concat();
                if to_client.lock().unwrap().write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        Ok(client)
    }

    fn peer(&self) -> String {
        "a meddler".into()
    }
}
