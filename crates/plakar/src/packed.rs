//! Bytes on their way into an archive: through what packs them, into a file or to standard output.

use crate::args::Packing;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// Where packed bytes go.
pub struct Sink {
    out: BufWriter<File>,
    stopped: Rc<Cell<bool>>,
}

impl Sink {
    /// Bytes go into `file`, until `stopped` is set. What packs them writes an end when it is dropped, and that would make
    /// something whole of what is not.
    pub fn new(file: File, stopped: Rc<Cell<bool>>) -> Sink {
        Sink { out: BufWriter::with_capacity(64 << 10, file), stopped }
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(self) -> io::Result<File> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped.get() {
            return Err(io::Error::other("stopped"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What packs. To be ended by [`finish`](Self::finish).
pub enum Packer {
    /// Nothing does.
    Plain(Sink),
    /// gzip.
    Gzip(GzEncoder<Sink>),
    /// zstd.
    Zstd(ZstdEncoder),
}

impl Packer {
    /// Begins.
    pub fn new(packing: Packing, sink: Sink) -> Packer {
        match packing {
            Packing::Tar => Packer::Plain(sink),
            Packing::Gzip => Packer::Gzip(GzEncoder::new(sink, Compression::default())),
            Packing::Zstd => Packer::Zstd(ZstdEncoder::new(sink)),
        }
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<Sink> {
        match self {
            Packer::Plain(sink) => Ok(sink),
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Plain(sink) => sink.write(bytes),
            Packer::Gzip(encoder) => encoder.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Plain(sink) => sink.flush(),
            Packer::Gzip(encoder) => encoder.flush(),
            Packer::Zstd(encoder) => encoder.sink.flush(),
        }
    }
}

/// One zstd frame, with a checksum. Without [`finish`](Self::finish) it has no end.
pub struct ZstdEncoder {
    sink: Sink,
    context: CCtx<'static>,
    buffer: Vec<u8>,
}

impl ZstdEncoder {
    fn new(sink: Sink) -> ZstdEncoder {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ChecksumFlag(true)).expect("zstd knows its parameters");
        ZstdEncoder { sink, context, buffer: vec![0; CCtx::out_size()] }
    }

    fn finish(mut self) -> io::Result<Sink> {
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            let left = self.context.end_stream(&mut output).map_err(failed)?;
            self.sink.write_all(output.as_slice())?;
            if left == 0 {
                return Ok(self.sink);
            }
        }
    }
}

impl Write for ZstdEncoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            self.context.compress_stream(&mut output, &mut input).map_err(failed)?;
            self.sink.write_all(output.as_slice())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn failed(code: usize) -> io::Error {
    io::Error::other(format!("zstd: {}", zstd_safe::get_error_name(code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_stopped_gets_no_end() {
        let folder = tempfile::tempdir().unwrap();
        for packing in [Packing::Tar, Packing::Gzip, Packing::Zstd] {
            let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
            for path in [&whole, &cut] {
                let stopped = Rc::new(Cell::new(false));
                let mut packer =
                    Packer::new(packing, Sink::new(File::create(path).unwrap(), stopped.clone()));
                packer.write_all(&[7; 300_000]).unwrap();
                if *path == cut {
                    stopped.set(true);
                    assert_eq!(packing == Packing::Tar, packer.finish().is_ok(), "{packing:?}");
                } else {
                    packer.finish().unwrap().end().unwrap();
                }
            }
            let (whole, cut) = (fs::read(whole).unwrap(), fs::read(cut).unwrap());
            assert!(whole.starts_with(&cut), "{packing:?}");
            assert_eq!(whole.len() > cut.len(), packing != Packing::Tar, "{packing:?}");
        }
    }
}
