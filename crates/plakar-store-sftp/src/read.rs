//! Reading: of many objects at a time, so that a batch costs three round trips, whatever is in it.
//!
//! An object is looked at, opened, read in pieces, closed; many are at different points of that at once. Looked at first,
//! because a server that opens a pipe waits for somebody to write into it.

use crate::connection::{Calls, Connection, Tried, nonsense};
use crate::place::Place;
use crate::refusal;
use crate::wire::{READ, Reply, Request, status};
use plakar_store::{Error, ErrorKind, Name, Result};
use std::collections::{HashMap, VecDeque};

/// So much memory is taken for an object before any of it has come.
const RESERVED_MAX: usize = 64 << 20;

/// What is wanted of an object.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// From where, how much.
    Range(u64, usize),
    /// All of it, unless that is more than so many bytes.
    Whole(usize),
}

/// Reads parts of objects, in their order.
pub fn fetch(
    connection: &Connection,
    place: &Place,
    wanted: &[(&Name, Part)],
) -> Tried<Vec<Result<Vec<u8>>>> {
    let mut objects: Vec<Object> = Vec::new();
    let mut known = HashMap::new();
    for (at, (name, _)) in wanted.iter().enumerate() {
        let object = *known.entry(*name).or_insert_with(|| {
            objects.push(Object {
                path: place.path(name.as_str()),
                parts: Vec::new(),
                is_opened: false,
                handle: None,
                pieces: 0,
            });
            objects.len() - 1
        });
        objects[object].parts.push(at);
    }
    let found = wanted.iter().map(|_| Ok(Vec::new())).collect();
    let calls = Calls::new(connection);
    Fetch { calls, place, wanted, objects, found, reads: Vec::new(), queue: VecDeque::new(), moving: 0 }.run()
}

struct Object {
    path: Vec<u8>,
    /// What is wanted of it.
    parts: Vec<usize>,
    /// It was found, and is being opened, or open.
    is_opened: bool,
    handle: Option<Vec<u8>>,
    /// How many pieces are to be asked for, or have yet to come.
    pieces: usize,
}

/// A piece that is to be read; before it is asked for it may be of any length.
#[derive(Clone, Copy)]
struct Piece {
    object: usize,
    part: usize,
    /// Where it lies in the object,
    offset: u64,
    /// and in the part.
    at: usize,
    len: usize,
}

struct Fetch<'f> {
    calls: Calls<'f>,
    place: &'f Place,
    wanted: &'f [(&'f Name, Part)],
    objects: Vec<Object>,
    found: Vec<Result<Vec<u8>>>,
    /// All that were asked for, by their tag without the number of objects.
    reads: Vec<Piece>,
    queue: VecDeque<Piece>,
    /// Bytes on their way.
    moving: usize,
}

impl Fetch<'_> {
    fn run(mut self) -> Tried<Vec<Result<Vec<u8>>>> {
        let handles = self.calls.connection().abilities().handles;
        let (mut begun, mut ended) = (0, 0);
        while ended < self.objects.len() {
            while begun < self.objects.len() && begun - ended < handles {
                self.calls.send(begun, &Request::Lstat(&self.objects[begun].path))?;
                begun += 1;
            }
            let (tag, reply) = self.calls.next()?;
            let is_ended = match tag.checked_sub(self.objects.len()) {
                Some(read) => self.read(self.reads[read], reply)?,
                None => self.advance(tag, reply)?,
            };
            ended += usize::from(is_ended) + self.ask_for_pieces()?;
        }
        Ok(self.found)
    }

    /// An object was looked at, or opened. Whether nothing more is asked of it.
    fn advance(&mut self, object: usize, reply: Reply) -> Tried<bool> {
        match self.objects[object].is_opened {
            false => self.looked_at(object, reply),
            true => match refusal::handle(reply)? {
                Ok(handle) => {
                    self.objects[object].handle = Some(handle);
                    Ok(false)
                }
                // It ends with its pieces, which nobody asks for any more.
                Err(refusal) => {
                    self.fail(object, |place, name| refusal.error(place.told("open", name)));
                    Ok(false)
                }
            },
        }
    }

    fn fail(&mut self, object: usize, error: impl Fn(&Place, &Name) -> Error) {
        for part in &self.objects[object].parts {
            self.found[*part] = Err(error(self.place, self.wanted[*part].0));
        }
    }

    fn looked_at(&mut self, object: usize, reply: Reply) -> Tried<bool> {
        let size = match refusal::attributes(reply)? {
            Ok(Some(found)) if found.is_file() => {
                found.size.ok_or_else(|| nonsense("a file without a length"))?
            }
            Ok(_) => {
                self.fail(object, |place, name| place.refusal(ErrorKind::NotFound, name));
                return Ok(true);
            }
            Err(refusal) => {
                self.fail(object, |place, name| refusal.error(place.told("open", name)));
                return Ok(true);
            }
        };
        let mut pieces = 0;
        for part in self.objects[object].parts.clone() {
            match self.bounds(part, size) {
                Ok((_, 0)) => {}
                Ok((offset, len)) => {
                    self.queue.push_back(Piece { object, part, offset, at: 0, len });
                    pieces += 1;
                }
                Err(e) => self.found[part] = Err(e),
            }
        }
        self.objects[object].pieces = pieces;
        if pieces > 0 {
            self.objects[object].is_opened = true;
            self.calls.send(object, &Request::Open(&self.objects[object].path, READ, 0))?;
        }
        Ok(pieces == 0)
    }

    /// Where a part lies in an object of so many bytes. Asked before anything is allocated, so that a wrong length costs
    /// nothing.
    fn bounds(&mut self, part: usize, size: u64) -> Result<(u64, usize)> {
        let (name, wanted) = self.wanted[part];
        let (offset, len) = match wanted {
            Part::Range(offset, len) => (offset, len),
            Part::Whole(max) => match usize::try_from(size) {
                Ok(size) if size <= max => (0, size),
                _ => {
                    return Err(self
                        .place
                        .refusal(ErrorKind::TooLarge, format_args!("{name}, {size} bytes")));
                }
            },
        };
        if offset.checked_add(len as u64).is_none_or(|end| end > size) {
            let what = format_args!("{name}, {len} bytes at {offset} of {size}");
            return Err(self.place.refusal(ErrorKind::Short, what));
        }
        let mut bytes = Vec::new();
        let reserved = bytes.try_reserve_exact(len.min(RESERVED_MAX));
        reserved
            .map_err(|_| Error::io(self.place.told("read", name), std::io::ErrorKind::OutOfMemory.into()))?;
        self.found[part] = Ok(bytes);
        Ok((offset, len))
    }

    /// Asks for as much as may be on its way. What is long is cut only now: a length is nothing but a claim. Returns how many
    /// objects have ended, because nothing more is wanted of them.
    fn ask_for_pieces(&mut self) -> Tried<usize> {
        let abilities = self.calls.connection().abilities();
        let (mut later, mut ended) = (VecDeque::new(), 0);
        while let Some(piece) = self.queue.pop_front() {
            // The rest of what has failed is not read.
            if self.found[piece.part].is_err() {
                ended += usize::from(self.let_go(piece.object));
                continue;
            }
            let len = piece.len.min(abilities.read as usize);
            if self.moving > 0 && self.moving + len > abilities.read_window {
                self.queue.push_front(piece);
                break;
            }
            let Some(handle) = &self.objects[piece.object].handle else {
                later.push_back(piece);
                continue;
            };
            let tag = self.objects.len() + self.reads.len();
            self.calls.send(tag, &Request::Read(handle, piece.offset, len as u32))?;
            self.reads.push(Piece { len, ..piece });
            self.moving += len;
            if len < piece.len {
                let (offset, at, len) = (piece.offset + len as u64, piece.at + len, piece.len - len);
                self.queue.push_front(Piece { offset, at, len, ..piece });
                self.objects[piece.object].pieces += 1;
            }
        }
        // Those of objects that are not open yet stay before all others.
        later.append(&mut self.queue);
        self.queue = later;
        Ok(ended)
    }

    /// One piece less of an object. Whether it was the last; then it is closed.
    fn let_go(&mut self, object: usize) -> bool {
        let object = &mut self.objects[object];
        object.pieces -= 1;
        if object.pieces == 0
            && let Some(handle) = object.handle.take()
        {
            self.calls.connection().tell(&Request::Close(&handle));
        }
        object.pieces == 0
    }

    /// A piece came, or not. Whether it was the last of its object.
    fn read(&mut self, piece: Piece, reply: Reply) -> Tried<bool> {
        self.moving -= piece.len;
        let name = self.wanted[piece.part].0;
        match reply {
            Reply::Data(bytes) if bytes.is_empty() || bytes.len() > piece.len => {
                return Err(nonsense("bytes"));
            }
            Reply::Data(bytes) => {
                let (end, read) = (piece.at + bytes.len(), bytes.len());
                if let Ok(found) = &mut self.found[piece.part] {
                    if found.len() < end {
                        found.resize(end, 0);
                    }
                    found[piece.at..end].copy_from_slice(&bytes);
                }
                if read < piece.len {
                    let (offset, len) = (piece.offset + read as u64, piece.len - read);
                    self.queue.push_front(Piece { offset, at: end, len, ..piece });
                    return Ok(false);
                }
            }
            Reply::Status(status::EOF, _) => {
                self.found[piece.part] = Err(self.place.refusal(ErrorKind::Short, name));
            }
            reply => match refusal::done(reply)? {
                Err(refusal) => self.found[piece.part] = Err(refusal.error(self.place.told("read", name))),
                Ok(()) => return Err(nonsense("no bytes")),
            },
        }
        Ok(self.let_go(piece.object))
    }
}
