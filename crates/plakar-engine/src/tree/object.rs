//! Building the chunk list of a file.

use super::node::CHUNK_BYTES_MAX;
use super::pages::{NodeSink, PagesWriter};
use super::{Body, INLINE_BYTES_MAX, Object, ROWS_MAX, Row};
use crate::crypto::DomainKeys;
use crate::error::Result;
use crate::id::ChunkId;

/// Collects the chunks of one file, in order; memory does not grow with their number.
#[derive(Debug, Clone, Default)]
pub struct ObjectWriter {
    size: u64,
    /// The row that may still be repeated.
    last: Option<Row>,
    /// The first rows, as long as they may fit an entry.
    few: Vec<Row>,
    pages: PagesWriter<Row>,
}

impl ObjectWriter {
    /// Appends `repeat` times the chunk `id` of `len` bytes.
    pub fn push(
        &mut self,
        id: ChunkId,
        len: u32,
        mut repeat: u64,
        keys: &DomainKeys,
        sink: &mut dyn NodeSink,
    ) -> Result<()> {
        assert!(len > 0 && len as usize <= CHUNK_BYTES_MAX);
        self.size += u64::from(len) * repeat;
        while repeat > 0 {
            match &mut self.last {
                Some(row) if row.id == id && row.len == len && row.repeat < u32::MAX => {
                    let more = repeat.min((u32::MAX - row.repeat).into());
                    row.repeat += more as u32;
                    repeat -= more;
                }
                last => {
                    if let Some(row) = last.replace(Row { id, len, repeat: 1 }) {
                        self.row(row, keys, sink)?;
                    }
                    repeat -= 1;
                }
            }
        }
        Ok(())
    }

    /// How many bytes it stands for so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn row(&mut self, row: Row, keys: &DomainKeys, sink: &mut dyn NodeSink) -> Result<()> {
        if self.few.len() < ROWS_MAX {
            self.few.push(row);
        }
        self.pages.push(&row, keys, sink)
    }

    /// The object. It must have more than [`INLINE_BYTES_MAX`] bytes; fewer are kept inline and have no
    /// chunks.
    pub fn finish(mut self, keys: &DomainKeys, sink: &mut dyn NodeSink) -> Result<Object> {
        assert!(self.size > INLINE_BYTES_MAX as u64);
        let few = self.pages.waiting() < ROWS_MAX && self.few.len() < ROWS_MAX;
        let last = self.last.take().expect("an object with bytes has a row");
        self.row(last, keys, sink)?;
        let body = if few { Body::Rows(self.few) } else { Body::Tree(self.pages.finish(keys, sink)?) };
        Ok(Object { size: self.size, body })
    }
}
