//! Putting an object: write a file without an object's name, flush it, name it, as the store in a folder does.
//!
//! Three round trips: look and open; write, flush and close; name. The draft has a server do what concerns one file in
//! the order in which it is asked.

use crate::connection::{Calls, Connection, Tried, Trouble};
use crate::place::Place;
use crate::read::{self, Part};
use crate::refusal::{self, Refusal};
use crate::wire::{Attributes, READ, Request, WRITE_NEW, status};
use plakar_store::{Error, ErrorKind, Name, TEMPORARY_PREFIX};
use std::io;

/// Files are for their owner to read: nobody ever changes one.
pub const FILE_MODE: u32 = 0o400;
/// Folders are for their owner alone.
pub const FOLDER_MODE: u32 = 0o700;
/// So often something may come between before it is not tried again.
const ROUNDS_MAX: u32 = 8;

/// One put, over one connection.
pub struct Put<'p> {
    pub connection: &'p Connection,
    pub place: &'p Place,
    pub name: &'p Name,
    pub parts: &'p [&'p [u8]],
}

/// What became of a temporary file.
enum Written {
    /// It holds the bytes, flushed.
    Whole,
    /// Its flush failed: a file whose flush failed is never flushed again.
    Unflushed(Refusal),
}

/// What became of giving a file its name.
enum Named {
    Done,
    /// Something bears the name.
    Taken,
    /// The temporary file was removed meanwhile.
    Swept,
}

impl Put<'_> {
    /// Puts. While it is at work `temporary` is the path of the file that is left if it is cut off.
    pub fn run(&self, temporary: &mut Option<Vec<u8>>) -> Tried<()> {
        let path = self.place.path(self.name.as_str());
        // What is there holds the bytes but could not be flushed.
        let mut replace = false;
        let mut again = false;
        for _ in 0..ROUNDS_MAX {
            let own = self.temporary_path()?;
            *temporary = Some(own.clone());
            let (found, opened) = self.look_and_open(&path, &own)?;
            if let (Some(found), false) = (found, replace) {
                self.discard(opened.as_ref().ok(), temporary);
                match self.compare(found, &path)? {
                    Some(true) => return Ok(()),
                    Some(false) => replace = true,
                    None => {}
                }
                continue;
            }
            let handle = opened.map_err(|refusal| self.failed(&refusal, 0))?;
            let written = self.write(&handle, temporary)?;
            let named = match written {
                Written::Whole if replace => self.replace(&own, &path)?,
                Written::Whole => self.publish(&own, &path)?,
                Written::Unflushed(refusal) if again => {
                    self.discard(None, temporary);
                    return Err(self.failed(&refusal, 0));
                }
                Written::Unflushed(_) => {
                    again = true;
                    self.discard(None, temporary);
                    continue;
                }
            };
            match named {
                Ok(Named::Done) => {
                    *temporary = None;
                    return Ok(());
                }
                Ok(Named::Taken) => self.discard(None, temporary),
                Ok(Named::Swept) if again => {
                    *temporary = None;
                    return Err(self.io("the temporary file was removed meanwhile"));
                }
                Ok(Named::Swept) => again = true,
                Err(refusal) => {
                    let error = self.failed(&refusal, 0);
                    self.discard(None, temporary);
                    return Err(error);
                }
            }
        }
        Err(self.io("what is there changes all the time"))
    }

    fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    fn told(&self) -> String {
        self.place.told("put", self.name)
    }

    fn io(&self, why: &str) -> Trouble {
        Error::io(self.told(), io::Error::other(why.to_owned())).into()
    }

    /// Why a write was refused; `left` of its bytes may need room.
    fn failed(&self, refusal: &Refusal, left: u64) -> Trouble {
        let root = self.place.root();
        match refusal.error_of_writing(self.connection, root, left, self.told()) {
            Ok(error) => error.into(),
            Err(trouble) => trouble,
        }
    }

    fn temporary_path(&self) -> Tried<Vec<u8>> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| self.io(&e.to_string()))?;
        let last = format!("{TEMPORARY_PREFIX}{:016x}", u64::from_ne_bytes(random));
        Ok(self.place.path(&match self.name.folder() {
            Some(folder) => format!("{folder}/{last}"),
            None => last,
        }))
    }

    /// What bears the name, and a new file beside it, if it could be made.
    fn look_and_open(&self, path: &[u8], own: &[u8]) -> Tried<(Option<Attributes>, refusal::Done<Vec<u8>>)> {
        let calls = Calls::new(self.connection);
        calls.send(0, &Request::Lstat(path))?;
        calls.send(1, &Request::Open(own, WRITE_NEW, FILE_MODE))?;
        let (mut found, mut opened) = (None, None);
        for _ in 0..2 {
            match calls.next()? {
                (0, reply) => found = Some(refusal::attributes(reply)?),
                (_, reply) => opened = Some(refusal::handle(reply)?),
            }
        }
        let (found, mut opened) = (found.expect("asked"), opened.expect("asked"));
        let found = found.map_err(|refusal| refusal.error(self.told()))?;
        if let (None, Err(refusal), Some(folder)) = (found, &opened, self.name.folder())
            && refusal.is_missing()
        {
            self.make_folder(folder)?;
            opened = refusal::handle(self.connection.ask(&Request::Open(own, WRITE_NEW, FILE_MODE))?)?;
        }
        Ok((found, opened))
    }

    /// Makes a folder, and those above it where they are missing.
    fn make_folder(&self, folder: &str) -> Tried<()> {
        let make = || -> Tried<_> {
            refusal::done(self.connection.ask(&Request::Mkdir(&self.place.path(folder), FOLDER_MODE))?)
        };
        let mut made = make()?;
        if let (Err(refusal), Some((above, _))) = (&made, folder.rsplit_once('/'))
            && refusal.is_missing()
        {
            self.make_folder(above)?;
            made = make()?;
        }
        let Err(refusal) = made else { return Ok(()) };
        // Somebody else may have made it.
        match refusal::attributes(self.connection.ask(&Request::Lstat(&self.place.path(folder)))?)? {
            Ok(Some(found)) if found.is_folder() => Ok(()),
            _ => Err(self.failed(&refusal, 0)),
        }
    }

    /// Writes, flushes and closes.
    fn write(&self, handle: &[u8], temporary: &mut Option<Vec<u8>>) -> Tried<Written> {
        let abilities = self.connection.abilities();
        let calls = Calls::new(self.connection);
        // The tag of a write is its length.
        let (mut moving, mut failed, mut asked) = (0, None, 0usize);
        let mut answer = |moving: &mut usize, asked: &mut usize| -> Tried<()> {
            let (len, reply) = calls.next()?;
            (*moving, *asked) = (*moving - len, *asked - 1);
            if let Err(refusal) = refusal::done(reply)? {
                failed.get_or_insert(refusal);
            }
            Ok(())
        };
        for (offset, pieces) in Pieces::new(self.parts, abilities.write as usize) {
            let len: usize = pieces.iter().map(|piece| piece.len()).sum();
            while asked > 0 && moving + len > abilities.write_window {
                answer(&mut moving, &mut asked)?;
            }
            calls.send(len, &Request::Write(handle, offset, &pieces))?;
            (moving, asked) = (moving + len, asked + 1);
        }
        let flushing = Calls::new(self.connection);
        if abilities.flushes {
            flushing.send(0, &Request::Flush(handle))?;
        }
        let closing = Calls::new(self.connection);
        closing.send(0, &Request::Close(handle))?;
        while asked > 0 {
            answer(&mut moving, &mut asked)?;
        }
        let flushed = if abilities.flushes { refusal::done(flushing.next()?.1)? } else { Ok(()) };
        let closed = refusal::done(closing.next()?.1)?;
        // Servers that write when a file is closed tell of it then.
        if let Some(refusal) = failed.or(closed.err()) {
            let error = self.failed(&refusal, self.len());
            self.discard(None, temporary);
            return Err(error);
        }
        Ok(flushed.map_or_else(Written::Unflushed, |()| Written::Whole))
    }

    /// Gives a file its name unless something bears it.
    fn publish(&self, own: &[u8], path: &[u8]) -> Tried<refusal::Done<Named>> {
        let links = self.connection.abilities().links;
        let mut why = None;
        if links {
            match refusal::done(self.connection.ask(&Request::Link(own, path))?)? {
                Ok(()) => {
                    self.connection.tell(&Request::Remove(own));
                    return Ok(Ok(Named::Done));
                }
                Err(refusal) => why = Some(refusal),
            }
        }
        // What stands in the way has no status of its own.
        for can_rename in [true, false] {
            let calls = Calls::new(self.connection);
            if why.is_some() {
                calls.send(0, &Request::Lstat(path))?;
                calls.send(1, &Request::Lstat(own))?;
                let mut is_there = [false; 2];
                for _ in 0..2 {
                    let (tag, reply) = calls.next()?;
                    is_there[tag] = refusal::attributes(reply)?.is_ok_and(|found| found.is_some());
                }
                match is_there {
                    [true, _] => return Ok(Ok(Named::Taken)),
                    [false, false] => return Ok(Ok(Named::Swept)),
                    [false, true] => {}
                }
            }
            if can_rename {
                // Not every file system has links.
                match refusal::done(self.connection.ask(&Request::Rename(own, path))?)? {
                    Ok(()) => return Ok(Ok(Named::Done)),
                    Err(refusal) => why = Some(refusal),
                }
            }
        }
        Ok(Err(why.expect("it was refused")))
    }

    /// Gives a file its name, taking it from another file with the same bytes.
    fn replace(&self, own: &[u8], path: &[u8]) -> Tried<refusal::Done<Named>> {
        if !self.connection.abilities().replaces {
            return Err(self.io("what is there cannot be flushed, nor replaced"));
        }
        let replaced = refusal::done(self.connection.ask(&Request::Replace(own, path))?)?;
        Ok(replaced.map(|()| Named::Done))
    }

    /// Whether what bears the name holds the bytes: flushed, or such that it could not be; `None` if it has gone.
    fn compare(&self, found: Attributes, path: &[u8]) -> Tried<Option<bool>> {
        let exists = |what: &str| {
            Trouble::Said(self.place.refusal(ErrorKind::Exists, format_args!("{}{what}", self.name)))
        };
        if !found.is_file() {
            return Err(exists(" (not a regular file)"));
        }
        let len = self.len();
        if found.size != Some(len) {
            return Err(exists(""));
        }
        let mut read = read::fetch(self.connection, self.place, &[(self.name, Part::Whole(len as usize))])?;
        let bytes = match read.remove(0) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mut rest = bytes.as_slice();
        let is_equal = self.parts.iter().all(|part| match rest.split_at_checked(part.len()) {
            Some((here, after)) if here == *part => {
                rest = after;
                true
            }
            _ => false,
        });
        if !is_equal || !rest.is_empty() {
            return Err(exists(""));
        }
        // Whoever put them there, an ordinary copy say, may not have flushed them.
        flush(self.connection, path).map(|flushed| {
            flushed.map_or_else(|refusal| (!refusal.is_missing()).then_some(false), |()| Some(true))
        })
    }

    /// Removes the temporary file, as far as anybody can tell.
    fn discard(&self, handle: Option<&Vec<u8>>, temporary: &mut Option<Vec<u8>>) {
        if let Some(handle) = handle {
            self.connection.tell(&Request::Close(handle));
        }
        if let Some(own) = temporary.take() {
            self.connection.tell(&Request::Remove(&own));
        }
    }
}

/// Flushes a file, or a folder on servers that open folders as well. A server that cannot flush at all has done it. What a
/// file system has no such thing for is said with these two.
pub fn flush(connection: &Connection, path: &[u8]) -> Tried<refusal::Done<()>> {
    if !connection.abilities().flushes {
        return Ok(Ok(()));
    }
    let handle = match refusal::handle(connection.ask(&Request::Open(path, READ, 0))?)? {
        Ok(handle) => handle,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let flushed = refusal::done(connection.ask(&Request::Flush(&handle))?)?;
    connection.tell(&Request::Close(&handle));
    Ok(tolerated(flushed))
}

/// A flush that failed only because there is no such thing where it was asked for has succeeded.
pub fn tolerated(flushed: refusal::Done<()>) -> refusal::Done<()> {
    match flushed {
        Err(refusal) if matches!(refusal.code, status::BAD_MESSAGE | status::UNSUPPORTED) => Ok(()),
        flushed => flushed,
    }
}

/// The concatenation of parts in pieces of one length, but for the last. Nothing is copied.
struct Pieces<'p> {
    parts: &'p [&'p [u8]],
    /// How much of the first is done.
    done: usize,
    offset: u64,
    len: usize,
}

impl<'p> Pieces<'p> {
    fn new(parts: &'p [&'p [u8]], len: usize) -> Pieces<'p> {
        Pieces { parts, done: 0, offset: 0, len }
    }
}

impl<'p> Iterator for Pieces<'p> {
    type Item = (u64, Vec<&'p [u8]>);

    fn next(&mut self) -> Option<(u64, Vec<&'p [u8]>)> {
        let (mut pieces, mut left) = (Vec::new(), self.len);
        while left > 0
            && let Some(first) = self.parts.first()
        {
            let piece = &first[self.done..][..left.min(first.len() - self.done)];
            if !piece.is_empty() {
                pieces.push(piece);
            }
            (self.done, left) = (self.done + piece.len(), left - piece.len());
            if self.done == first.len() {
                (self.parts, self.done) = (&self.parts[1..], 0);
            }
        }
        let offset = self.offset;
        self.offset += (self.len - left) as u64;
        (!pieces.is_empty()).then_some((offset, pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_parts_in_order() {
        let sizes = [0usize, 1, 99, 100, 101, 3, 0, 250, 7];
        let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for len in [1, 7, 100, 1000] {
            let mut all = Vec::new();
            for (offset, pieces) in Pieces::new(&parts, len) {
                assert_eq!(offset, all.len() as u64);
                all.extend(pieces.concat());
                assert!(all.len().is_multiple_of(len) || all.len() == 561);
            }
            assert!(all == parts.concat(), "{len}");
        }
        assert!(Pieces::new(&[], 9).next().is_none() && Pieces::new(&[b"", b""], 9).next().is_none());
    }
}
