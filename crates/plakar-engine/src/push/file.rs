//! Reading one file: into chunks, or into the entry itself.

use crate::chunker::Chunker;
use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::id::ChunkId;
use crate::source::Bytes;
use crate::tree::object::ObjectWriter;
use crate::tree::{Body, Chunks, INLINE_BYTES_MAX, Object, Row};
use crate::write::{Owner, Session};
use std::io;
use std::sync::Arc;

/// How many bytes are read ahead of the chunker.
const WINDOW: usize = 1 << 20;
/// Reads are not shorter than this, but at the end of a file.
const READ_MIN: usize = 64 << 10;

/// Reads files, one after the other, through one buffer.
pub struct FileReader {
    chunker: Arc<Chunker>,
    keys: Arc<DomainKeys>,
    /// Larger than the window, so that a part of it begins at a multiple of 4096: reading into other places is
    /// several times slower on some processors.
    buffer: Vec<u8>,
    zero_chunk: Option<(Owner, ChunkId)>,
}

/// Why a file was not read to its end.
pub enum ReadError {
    /// The file cannot be read.
    Source(io::Error),
    /// The repository cannot be written.
    Engine(crate::Error),
}

impl From<crate::Error> for ReadError {
    fn from(e: crate::Error) -> ReadError {
        ReadError::Engine(e)
    }
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> ReadError {
        ReadError::Source(e)
    }
}

/// The chunks that the file had before, as a guess at where it is cut: see [`OldRows::try_at`].
pub struct OldRows<'a> {
    chunks: Chunks<'a>,
    row: Option<Row>,
    offset: u64,
}

impl<'a> OldRows<'a> {
    /// Guesses from this chunk list.
    pub fn new(chunks: Chunks<'a>) -> OldRows<'a> {
        let mut rows = OldRows { chunks, row: None, offset: 0 };
        rows.row = rows.chunks.next_row().ok().flatten();
        rows
    }

    /// The chunk that began at `offset`, if one did and it did not end its file. When the bytes there have this
    /// id, whether they are cut there again is known almost without looking: see [`Chunker::cuts_again`].
    fn try_at(&mut self, offset: u64, size: u64) -> Option<Row> {
        loop {
            let row = self.row?;
            if offset < self.offset + row.bytes() {
                let begins = (offset - self.offset).is_multiple_of(row.len.into());
                return (offset >= self.offset && begins && offset + u64::from(row.len) < size)
                    .then_some(row);
            }
            self.offset += row.bytes();
            self.row = self.chunks.next_row().ok().flatten();
        }
    }
}

impl FileReader {
    /// Cuts files like this.
    pub fn new(chunker: Arc<Chunker>, keys: Arc<DomainKeys>) -> FileReader {
        let size = WINDOW + chunker.params().max as usize;
        FileReader { chunker, keys, buffer: vec![0; size + 4096], zero_chunk: None }
    }

    /// Reads `content` to its end. `old` guesses cut points, `old_size` is how long the file was then; `sparse` says
    /// that it is worth looking for holes; `tick` is called now and then and may end it.
    pub fn read(
        &mut self,
        content: &mut dyn Bytes,
        owner: Owner,
        sparse: bool,
        mut old: Option<(OldRows, u64)>,
        session: &mut Session,
        tick: &mut dyn FnMut(&mut Session, u64) -> Result<()>,
    ) -> Result<Object, ReadError> {
        let align = self.buffer.as_ptr().align_offset(4096).min(4096);
        let max = self.chunker.params().max as usize;
        let zero_cut = self.chunker.zero_cut();
        let mut buffer = std::mem::take(&mut self.buffer);
        let window = &mut buffer[align..];
        let result = (|| {
            let keys = self.keys.clone();
            let mut object = ObjectWriter::default();
            // What is read and not cut yet: window[start..end]; all of it from `zeros_from` on is from a hole, of
            // which `hole` bytes more follow.
            let (mut start, mut end, mut zeros_from, mut hole) = (0, 0, None::<usize>, 0u64);
            let mut ended = false;
            loop {
                while end - start < max && !ended {
                    if window.len() - end < READ_MIN {
                        window.copy_within(start..end, 0);
                        zeros_from = zeros_from.map(|from| from.saturating_sub(start));
                        (start, end) = (0, end - start);
                    }
                    if sparse && hole == 0 {
                        hole = content.skip_hole(2 * max as u64)?;
                        if hole > 0 {
                            zeros_from.get_or_insert(end);
                        }
                    }
                    let room = window.len() - end;
                    if hole > 0 {
                        let n = room.min(hole.min(max as u64) as usize);
                        window[end..end + n].fill(0);
                        hole -= n as u64;
                        end += n;
                        continue;
                    }
                    let room = room.min(WINDOW);
                    match content.read(&mut window[end..end + room]) {
                        Ok(0) => ended = true,
                        Ok(n) => {
                            zeros_from = None;
                            end += n;
                        }
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                if start == end {
                    break;
                }
                if object.size() == 0 && ended && end - start <= INLINE_BYTES_MAX {
                    let bytes = window[start..end].to_vec();
                    return Ok(Object { size: bytes.len() as u64, body: Body::Inline(bytes) });
                }
                let zeros = (end - start) as u64 + hole;
                if zeros_from.is_some_and(|from| start >= from) && zeros >= max as u64 {
                    // As many chunks as the zeros would be cut into, as long as there are `max` of them.
                    let repeat = (zeros - max as u64) / zero_cut as u64 + 1;
                    let id = match self.zero_chunk {
                        Some((of, id)) if of == owner => id,
                        _ => session.put_chunk(owner, &vec![0; zero_cut])?,
                    };
                    self.zero_chunk = Some((owner, id));
                    object.push(id, zero_cut as u32, repeat, &keys, session)?;
                    hole = zeros - repeat * zero_cut as u64;
                    (start, end, zeros_from) = (0, 0, Some(0));
                    tick(session, repeat * zero_cut as u64)?;
                    continue;
                }
                let data = &window[start..end];
                let guess = old.as_mut().and_then(|(rows, size)| rows.try_at(object.size(), *size));
                let known = guess.filter(|row| {
                    let len = row.len as usize;
                    data.len() > len
                        && self.chunker.cuts_again(data, len)
                        && keys.chunk_id(&data[..len]) == row.id
                });
                let (len, id) = match known {
                    Some(row) => (row.len as usize, row.id),
                    None => {
                        let len = self.chunker.cut(data);
                        (len, keys.chunk_id(&data[..len]))
                    }
                };
                session.put_chunk_with_id(owner, id, &data[..len])?;
                object.push(id, len as u32, 1, &keys, session)?;
                start += len;
                tick(session, len as u64)?;
            }
            if object.size() == 0 {
                return Ok(Object { size: 0, body: Body::Inline(Vec::new()) });
            }
            Ok(object.finish(&keys, session)?)
        })();
        self.buffer = buffer;
        result
    }
}
