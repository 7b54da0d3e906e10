//! The bytes of a stored file, read front to back. Every chunk is proven before any of it is given out.

use crate::exit::{Failure, Result};
use crate::format;
use crate::refs::Reference;
use plakar_engine::Error;
use plakar_engine::read::Reader;
use plakar_engine::tree::{Body, Chunks, Content, Entry, FLAG_UNREADABLE, Object, find_path};
use std::io::{self, Read};

/// The file that a reference of a command stands for. No link is followed.
///
/// # Errors
/// When there is none there, or its content was not read when it was pushed.
pub fn find_file(reader: &Reader, reference: &Reference<'_>, command: &str) -> Result<(Entry, Object)> {
    let row = reference.snapshot.row;
    if reference.path().is_empty() {
        return Err(Failure::usage(format!("{command}: missing filename for snapshot {}", row.uuid_text())));
    }
    let cannot = |why: &str| {
        Failure::failed(format!("{command}: could not open file '{}': {why}", reference.shown_path()))
    };
    let entry = find_path(reader, &row.root, reference.path())?
        .ok_or_else(|| cannot("no such path in the snapshot"))?;
    match &entry.content {
        Content::File(_) if entry.flags & FLAG_UNREADABLE != 0 => {
            Err(cannot("its content could not be read when it was pushed"))
        }
        Content::File(object) => {
            let object = object.clone();
            Ok((entry, object))
        }
        content => Err(cannot(&format!("not a regular file but a {}", format::kind(content)))),
    }
}

/// The bytes of a file, from the first on. Memory is that of a chunk.
pub struct Bytes<'a> {
    reader: &'a Reader,
    chunks: Chunks<'a>,
    piece: Vec<u8>,
    /// So many more times does the piece follow itself.
    again: u32,
    /// What of the piece was read.
    at: usize,
}

impl<'a> Bytes<'a> {
    /// Begins at the first byte.
    ///
    /// # Errors
    /// When the list of its chunks cannot be read.
    pub fn open(reader: &'a Reader, object: &Object) -> Result<Bytes<'a>, Error> {
        let chunks = Chunks::open(reader, object)?;
        let piece = match &object.body {
            Body::Inline(bytes) => bytes.clone(),
            _ => Vec::new(),
        };
        Ok(Bytes { reader, chunks, piece, again: 0, at: 0 })
    }

    /// The bytes that follow, as many as are at hand; none at the end. They count as read.
    ///
    /// # Errors
    /// What is wrong with the next chunk; all before it was right.
    pub fn next_piece(&mut self) -> Result<&[u8], Error> {
        if self.at == self.piece.len() && self.again > 0 {
            self.again -= 1;
            self.at = 0;
        } else if self.at == self.piece.len()
            && let Some(row) = self.chunks.next_row()?
        {
            let bytes = self.reader.chunk(&row.id)?;
            if bytes.len() != row.len as usize {
                return Err(Error::damaged(format!("chunk {}", row.id), "is not as long as its file says"));
            }
            (self.piece, self.again, self.at) = (bytes, row.repeat - 1, 0);
        }
        let from = std::mem::replace(&mut self.at, self.piece.len());
        Ok(&self.piece[from..])
    }
}

impl Read for Bytes<'_> {
    /// Errors of the repository are within those that it returns: see [`failure`].
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let all = self.next_piece().map_err(io::Error::other)?;
        let (len, wanted) = (all.len(), all.len().min(buf.len()));
        buf[..wanted].copy_from_slice(&all[..wanted]);
        self.at -= len - wanted;
        Ok(wanted)
    }
}

/// What went wrong where [`Bytes`] were read.
///
/// # Errors
/// The error itself, if it is not one of the repository.
pub fn failure(error: io::Error) -> Result<Failure, io::Error> {
    error.downcast::<Error>().map(Failure::from)
}
