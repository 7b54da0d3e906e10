//! Reading one regular file.

use crate::meta::{Describer, Stat};
use plakar_engine::source::{Bytes, Content, Item};
use plakar_engine::tree::Kind;
use rustix::fd::OwnedFd;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::io;

/// A regular file that is being read. Its position is kept here, not in the handle, so that looking for
/// holes does not move it.
pub(crate) struct OpenFile<'a> {
    describer: &'a mut Describer,
    name: Vec<u8>,
    handle: OwnedFd,
    /// As it was when it was opened or last rewound.
    stat: Stat,
    position: u64,
    /// Up to here no hole is looked for: there is data, or a hole that was too small.
    data_until: u64,
}

impl<'a> OpenFile<'a> {
    /// Takes over a handle that was just opened.
    pub fn new(describer: &'a mut Describer, name: Vec<u8>, handle: OwnedFd) -> io::Result<Self> {
        let stat = Stat::of_handle(&handle)?;
        if stat.kind() != Some(Kind::File) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no longer a regular file"));
        }
        Ok(Self { describer, name, handle, stat, position: 0, data_until: 0 })
    }

    /// The first byte of data at or after `from`; `None` if there is none.
    fn next_data(&self, from: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.handle, SeekFrom::Data(from)) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            // A file system that knows nothing of holes: all is data.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some(from)),
            Err(e) => Err(e.into()),
        }
    }

    /// The first byte of a hole at or after `from`.
    fn next_hole(&self, from: u64) -> io::Result<u64> {
        match rustix::fs::seek(&self.handle, SeekFrom::Hole(from)) {
            Ok(at) => Ok(at),
            Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP) => Ok(u64::MAX),
            Err(e) => Err(e.into()),
        }
    }
}

impl Bytes for OpenFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // A read that ran on into a hole would only hide where the hole begins.
        let known = self.data_until.saturating_sub(self.position);
        let len = if known == 0 { buf.len() } else { buf.len().min(known.try_into().unwrap_or(usize::MAX)) };
        let read = loop {
            match rustix::io::pread(&self.handle, &mut buf[..len], self.position) {
                Err(Errno::INTR) => {}
                result => break result?,
            }
        };
        self.position += read as u64;
        Ok(read)
    }

    fn skip_hole(&mut self, min: u64) -> io::Result<u64> {
        if !self.stat.sparse || self.position < self.data_until {
            return Ok(0);
        }
        let data = self.next_data(self.position)?;
        let end = match data {
            Some(at) => at,
            None => Stat::of_handle(&self.handle)?.size,
        };
        self.data_until = match data {
            Some(at) => self.next_hole(at)?,
            None => u64::MAX,
        };
        let hole = end.saturating_sub(self.position);
        if hole < min.max(1) {
            return Ok(0);
        }
        self.position = end;
        Ok(hole)
    }
}

impl Content for OpenFile<'_> {
    fn rewind(&mut self) -> io::Result<()> {
        self.stat = Stat::of_handle(&self.handle)?;
        self.position = 0;
        self.data_until = 0;
        Ok(())
    }

    fn settled(&mut self) -> io::Result<Option<Item>> {
        let now = Stat::of_handle(&self.handle)?;
        let same = now.same_state(&self.stat);
        Ok(same.then(|| self.describer.item(&self.name, &now, Kind::File, false)))
    }

    fn item(&mut self) -> io::Result<Item> {
        let now = Stat::of_handle(&self.handle)?;
        Ok(self.describer.item(&self.name, &now, Kind::File, false))
    }
}
