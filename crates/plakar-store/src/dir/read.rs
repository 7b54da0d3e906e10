//! Reading a range of a file into memory.

use std::{cell::RefCell, fs::File, io, os::unix::fs::FileExt};

/// The size from which the C library's allocator usually maps memory for one allocation alone, which then
/// begins 16 bytes into a page.
const MAPPED_BYTES_MIN: usize = 128 << 10;

const PIECE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4096;

thread_local! {
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Exactly `len` bytes from `offset` into `bytes`, instead of what was there; [`io::ErrorKind::UnexpectedEof`] when the
/// file ends before.
///
/// Some processors copy about six times slower when the target lies a few bytes further into its page than
/// the source does, and a large allocation read from the beginning of a file is just that case. So a large
/// range is read in pieces, into a buffer that lies in its page as the range does in the file, and copied
/// on from there: the price is one copy out of the processor's cache.
pub fn exact(file: &File, offset: u64, len: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    bytes.try_reserve(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    if len < MAPPED_BYTES_MIN {
        bytes.resize(len, 0);
        return file.read_exact_at(bytes, offset);
    }
    PIECE.with_borrow_mut(|buffer| {
        buffer.resize(PIECE_BYTES + PAGE_BYTES, 0);
        let aligned = buffer.as_ptr().align_offset(PAGE_BYTES);
        let start = (aligned + (offset % PAGE_BYTES as u64) as usize) % PAGE_BYTES;
        while bytes.len() < len {
            let piece = &mut buffer[start..][..PIECE_BYTES.min(len - bytes.len())];
            file.read_exact_at(piece, offset + bytes.len() as u64)?;
            bytes.extend_from_slice(piece);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_size_and_offset_reads_the_same_bytes() {
        let all: Vec<u8> = (0..600_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&all).unwrap();
        let mut bytes = vec![7; 10];
        for offset in [0, 1, 16, 4080, 4096, 70_001] {
            for len in [0, 1, 65_536, 131_071, 131_072, 131_073, 196_608, 500_000] {
                exact(&file, offset as u64, len, &mut bytes).unwrap();
                assert!(bytes == all[offset..][..len], "{len} at {offset}");
            }
        }
        for (offset, len) in [(599_999, 2), (0, 600_001), (600_001, 1), (500_000, 200_000)] {
            let error = exact(&file, offset, len, &mut bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len} at {offset}");
        }
    }
}
