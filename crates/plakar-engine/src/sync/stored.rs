//! The content of a stored file, read front to back as if it were one on a disk.

use super::translate::Readers;
use crate::block::Block;
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::repository::Unlocked;
use crate::source::Bytes;
use crate::tree::{Chunks, Object, Row};
use std::io;
use std::sync::Arc;

/// What holes are made of in a domain.
#[derive(Debug, Clone, Copy)]
pub struct ZeroChunk {
    id: ChunkId,
    len: u32,
}

impl ZeroChunk {
    /// The chunk that a run of zeros is cut into there.
    pub fn of(base: &Unlocked) -> ZeroChunk {
        let len = base.chunker.zero_cut();
        ZeroChunk { id: base.keys.chunk_id(&vec![0; len]), len: len as u32 }
    }

    fn is(&self, row: &Row) -> bool {
        (row.id, row.len) == (self.id, self.len)
    }
}

/// The content of a stored file.
pub struct Stored<'a> {
    readers: &'a Readers<'a>,
    rows: Chunks<'a>,
    /// What comes next, and how often.
    row: Option<Row>,
    left: u32,
    /// The chunk read last: where it lies, and how much of it was taken.
    chunk: Option<(ChunkId, Arc<Block>, usize)>,
    taken: usize,
    /// Why the last call failed, and for which chunk.
    pub error: Option<(Option<ChunkId>, Error)>,
    /// The chunk that is being read.
    reading: Option<ChunkId>,
}

impl<'a> Stored<'a> {
    /// Opens the content of `object`, which is not inline.
    pub fn open(readers: &'a Readers<'a>, object: &Object) -> Result<Stored<'a>> {
        let rows = Chunks::open(readers.source, object)?;
        Ok(Stored { readers, rows, row: None, left: 0, chunk: None, taken: 0, error: None, reading: None })
    }

    /// Makes sure that it is known what comes next. `None` at the end.
    fn next_row(&mut self) -> Result<Option<Row>> {
        if self.left == 0 {
            self.row = self.rows.next_row()?;
            self.left = self.row.map_or(0, |row| row.repeat);
        }
        Ok(self.row)
    }

    /// What is left of the chunk read last.
    fn bytes(&self) -> &[u8] {
        self.chunk.as_ref().map_or(&[], |(_, block, at)| &block.bytes(*at).unwrap_or_default()[self.taken..])
    }

    fn fill(&mut self) -> Result<()> {
        if !self.bytes().is_empty() {
            return Ok(());
        }
        let Some(row) = self.next_row()? else {
            self.chunk = None;
            self.taken = 0;
            return Ok(());
        };
        self.taken = 0;
        if self.chunk.as_ref().is_none_or(|(id, ..)| *id != row.id) {
            self.chunk = None;
            self.reading = Some(row.id);
            let (block, at) = self.readers.source.find_item(&row.id.into())?;
            self.reading = None;
            self.chunk = Some((row.id, block, at));
        }
        if self.bytes().len() != row.len as usize {
            return Err(Error::damaged(format!("chunk {}", row.id), "is not as long as its file says"));
        }
        self.left -= 1;
        Ok(())
    }

    fn failed(&mut self, error: Error) -> io::Error {
        self.error = Some((self.reading, error));
        io::Error::other("the source cannot be read")
    }
}

impl Bytes for Stored<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.fill().map_err(|e| self.failed(e))?;
        let bytes = self.bytes();
        let n = buf.len().min(bytes.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        self.taken += n;
        Ok(n)
    }

    fn skip_hole(&mut self, min: u64) -> io::Result<u64> {
        if !self.bytes().is_empty() {
            return Ok(0);
        }
        let Some(row) = self.next_row().map_err(|e| self.failed(e))? else { return Ok(0) };
        let hole = u64::from(row.len) * u64::from(self.left);
        if !self.readers.zeros.is(&row) || hole < min {
            return Ok(0);
        }
        self.left = 0;
        Ok(hole)
    }
}
