//! What is pushed as it comes: standard input, or what a command prints, as one file.
//!
//! It can be read once, and what it was is known at its end only: a file that was cut short, or that a command which failed
//! has printed, is no backup. So nothing is published unless all of it came ([`Source::end`]).

use crate::exit::{Failure, Result};
use plakar_engine::source::{Bytes, Content, Event, Extras, Item, Source};
use plakar_engine::tree::{Device, Kind, Meta, Time};
use plakar_fs::{Owners, absolute};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How many bytes are read at once,
const PIECE_BYTES: usize = 256 << 10;
/// and how often so many may wait to be stored.
const PIECES_MAX: usize = 4;
/// How long nothing may come before it is looked whether the push was interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// A file that is to be pushed as it comes.
pub struct Stream {
    /// Its path in the snapshot, absolute.
    pub path: Vec<u8>,
    /// What prints it; nothing for standard input.
    command: Vec<OsString>,
}

impl Stream {
    /// A file of this name, beneath `/`, that comes from standard input, or from a command if there is one.
    ///
    /// # Errors
    /// If the name names no file.
    pub fn new(name: &OsStr, command: &[OsString]) -> Result<Stream> {
        let path = absolute(name.as_bytes(), b"/");
        let folder = name.as_bytes().ends_with(b"/") || name.is_empty();
        if path == b"/" || folder {
            return Err(Failure::usage(format!("-stdin: {name:?} is no name of a file")));
        }
        Ok(Stream { path, command: command.to_vec() })
    }

    /// Begins to read it; a command is run now.
    ///
    /// # Errors
    /// If the command cannot be run.
    pub fn open(&self, now: Time, interrupted: Arc<AtomicBool>) -> io::Result<Streamed> {
        let (input, command): (Box<dyn Read + Send>, _) = match self.command.split_first() {
            None => (Box::new(io::stdin()), None),
            Some((program, words)) => {
                let shown = Path::new(program).display().to_string();
                let spawned = Command::new(program).args(words).stdout(Stdio::piped()).spawn();
                let mut child = spawned.map_err(|e| io::Error::new(e.kind(), format!("{shown}: {e}")))?;
                let output = child.stdout.take().expect("it was asked for");
                (Box::new(output), Some(Running { child, shown }))
            }
        };
        let (send, pieces) = sync_channel(PIECES_MAX);
        // A thread, because nothing else can be waited for together with a signal.
        std::thread::Builder::new().name("input".into()).spawn(move || {
            let mut input = input;
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = match input.read(&mut piece) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let over = !matches!(read, Ok(len) if len > 0);
                let piece = read.map(|len| {
                    piece.truncate(len);
                    piece
                });
                if send.send(piece).is_err() || over {
                    return;
                }
            }
        })?;
        let names = self.path[1..].split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        Ok(Streamed {
            names,
            step: 0,
            now,
            owners: Owners::read(),
            bytes: Coming { pieces, piece: Vec::new(), at: 0, over: false, failed: None },
            command,
            interrupted,
        })
    }
}

/// A file that is being read, with the directories above it.
pub struct Streamed {
    names: Vec<Vec<u8>>,
    /// How many events there were: a directory is entered for each name and `/`, then the file, then they are left.
    step: usize,
    now: Time,
    owners: Owners,
    bytes: Coming,
    command: Option<Running>,
    interrupted: Arc<AtomicBool>,
}

struct Running {
    child: Child,
    shown: String,
}

/// What comes.
struct Coming {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    /// Its end was seen.
    over: bool,
    failed: Option<String>,
}

impl Streamed {
    fn made(&self, name: &[u8], kind: Kind) -> Item {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_file = kind == Kind::File;
        Item {
            name: name.to_vec(),
            kind,
            meta: Meta {
                // A dump is nobody else's business.
                mode: if is_file { 0o600 } else { 0o755 },
                uid,
                gid,
                user: self.owners.user(uid).to_vec(),
                group: self.owners.group(gid).to_vec(),
                mtime: self.now,
            },
            size: 0,
            device: Device::default(),
            fingerprint: 0,
            same_file: 0,
            sparse: false,
            ancestor: !is_file,
        }
    }

    fn file(&self) -> Item {
        self.made(self.names.last().expect("a path has a name"), Kind::File)
    }
}

impl Source for Streamed {
    fn next(&mut self) -> Option<Event> {
        let (step, depth) = (self.step, self.names.len());
        self.step += 1;
        Some(match step {
            0 => Event::Enter(self.made(b"", Kind::Directory)),
            _ if step < depth => Event::Enter(self.made(&self.names[step - 1], Kind::Directory)),
            _ if step == depth => Event::Leaf(self.file()),
            _ if step <= 2 * depth => Event::Leave { unreadable: None },
            _ => return None,
        })
    }

    fn path(&self) -> Vec<u8> {
        let inside = self.step.saturating_sub(1).min(self.names.len());
        let path: Vec<u8> = self.names[..inside].iter().flat_map(|name| [b"/", &name[..]].concat()).collect();
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    fn extras(&mut self) -> io::Result<Extras> {
        Ok(Extras::default())
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        Ok(Box::new(self))
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(why) = self.bytes.failed.take() {
            return Err(io::Error::other(why));
        }
        if !self.bytes.over {
            return Err(io::Error::other("not all of it was read"));
        }
        let Some(Running { child, shown }) = &mut self.command else { return Ok(()) };
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("{shown}: {status}"))),
                None if self.interrupted.load(Ordering::Relaxed) => {
                    return Err(io::Error::other(format!("{shown}: interrupted")));
                }
                None => std::thread::sleep(LOOK / 10),
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(Running { child, .. }) = &mut self.command {
            // One that has ended is waited for without being killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bytes for &mut Streamed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = &mut self.bytes;
        while bytes.at == bytes.piece.len() && !bytes.over {
            match bytes.pieces.recv_timeout(LOOK) {
                Ok(Ok(piece)) => {
                    bytes.over = piece.is_empty();
                    (bytes.piece, bytes.at) = (piece, 0);
                }
                Ok(Err(e)) => {
                    bytes.failed = Some(format!("cannot read all of it: {e}"));
                    return Err(e);
                }
                Err(RecvTimeoutError::Timeout) if !self.interrupted.load(Ordering::Relaxed) => {}
                Err(_) => {
                    bytes.failed = Some("interrupted".into());
                    return Err(io::Error::other("interrupted"));
                }
            }
        }
        let len = buf.len().min(bytes.piece.len() - bytes.at);
        buf[..len].copy_from_slice(&bytes.piece[bytes.at..][..len]);
        bytes.at += len;
        Ok(len)
    }

    fn skip_hole(&mut self, _: u64) -> io::Result<u64> {
        Ok(0)
    }
}

impl Content for &mut Streamed {
    fn rewind(&mut self) -> io::Result<()> {
        Err(io::Error::other("what came cannot be read again"))
    }

    fn settled(&mut self) -> io::Result<Option<Item>> {
        Ok(Some(self.file()))
    }

    fn item(&mut self) -> io::Result<Item> {
        Ok(self.file())
    }
}
