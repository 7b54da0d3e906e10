//! Reading and writing fixed little-endian layouts.
//!
//! Integers are little-endian. `uv` is an unsigned LEB128 number in its shortest form, `bs` a `uv` length
//! and that many bytes. Every reader is total: it returns [`Malformed`] for anything an encoder would not
//! have written, checks every length against what is left before it takes or allocates anything, and
//! refuses trailing bytes, so that `decode(b) = v` implies `encode(v) = b`.

use crate::error::Error;
use std::fmt;

/// Bytes that no encoder would have written; says what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Malformed {
    /// The error that `object` is damaged in this way.
    pub fn of(self, object: impl ToString) -> Error {
        Error::damaged(object, self.0)
    }
}

/// What a decoder returns.
pub type Decoded<T> = Result<T, Malformed>;

/// Takes a slice apart from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Decoded<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed("ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returns as many as asked"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Decoded<u32> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self) -> Decoded<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// An LEB128 number in its shortest form.
    pub fn uv(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed("number over 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Malformed("number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(Malformed("number over 64 bits"))
    }

    /// An LEB128 number that fits 32 bits.
    pub fn uv32(&mut self) -> Decoded<u32> {
        u32::try_from(self.uv()?).map_err(|_| Malformed("number over 32 bits"))
    }

    /// An LEB128 count of things of which each takes at least `each` bytes: bounded by what is left.
    pub fn count(&mut self, each: usize) -> Decoded<usize> {
        let n = self.uv()?;
        if n > (self.left() / each) as u64 {
            return Err(Malformed("counts more than there is"));
        }
        Ok(n as usize)
    }

    /// A length of at most `max` and that many bytes.
    pub fn bs(&mut self, max: usize) -> Decoded<&'a [u8]> {
        let n = self.uv()?;
        if n > max as u64 {
            return Err(Malformed("longer than allowed"));
        }
        self.take(n as usize)
    }

    /// Bytes that must be exactly these (a magic, a version).
    pub fn expect(&mut self, bytes: &[u8], what: &'static str) -> Decoded<()> {
        if self.take(bytes.len())? == bytes { Ok(()) } else { Err(Malformed(what)) }
    }

    /// That nothing is left.
    pub fn end(self) -> Decoded<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("trailing bytes")) }
    }
}

/// Appends to a vector; the mirror image of [`Reader`].
pub trait Writer {
    /// Three bytes; the value must fit.
    fn u24(&mut self, value: u32);
    /// An LEB128 number.
    fn uv(&mut self, value: u64);
    /// A length and the bytes.
    fn bs(&mut self, bytes: &[u8]);
}

impl Writer for Vec<u8> {
    fn u24(&mut self, value: u32) {
        assert!(value < 1 << 24);
        self.extend_from_slice(&value.to_le_bytes()[..3]);
    }

    fn uv(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn bs(&mut self, bytes: &[u8]) {
        self.uv(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_only_in_their_shortest_form(value: u64, junk: Vec<u8>) {
            let mut bytes = Vec::new();
            bytes.uv(value);
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.uv(), Ok(value));
            prop_assert!(r.end().is_ok());
            let mut r = Reader::new(&junk);
            if let Ok(v) = r.uv() {
                let mut again = Vec::new();
                again.uv(v);
                prop_assert_eq!(&again[..], &junk[..junk.len() - r.left()]);
            }
        }
    }

    #[test]
    fn counts_are_bounded_by_what_is_left() {
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).count(1),
            Err(Malformed("counts more than there is"))
        );
        assert_eq!(Reader::new(&[2, 0, 0]).count(1), Ok(2));
        assert_eq!(Reader::new(&[2, 0, 0]).count(2), Err(Malformed("counts more than there is")));
    }
}
