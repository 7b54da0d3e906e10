//! The filter of a shard: tells at no cost that an id is not there.
//!
//! A binary fuse filter with 8-bit fingerprints (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller Than
//! Xor Filters", 2022), built over the first 8 bytes of the ids as little-endian numbers. Stored as
//!
//! ```text
//! seed u64 | segment length u32 | segment length mask u32 | segment count length u32 | fingerprints
//! ```
//!
//! About 9 bits an id, 0.4 % of the ids that are not there pass it; none that is there is turned away.

use crate::codec::{Decoded, Malformed, Reader};
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef};

const DESCRIPTOR_LEN: usize = 20;

/// A filter over the ids of one shard.
pub struct Filter {
    descriptor: [u8; DESCRIPTOR_LEN],
    fingerprints: Box<[u8]>,
}

/// What the filter knows of an id.
pub fn key(id: &[u8]) -> u64 {
    u64::from_le_bytes(id[..8].try_into().expect("ids have at least 8 bytes"))
}

impl Filter {
    /// Builds the filter of these keys, in which none may occur twice. `None` in the unlikely case that it
    /// cannot be built; then there is none, which costs time only.
    pub fn build(keys: &[u64]) -> Option<Filter> {
        const { assert!(BinaryFuse8::DESCRIPTOR_LEN == DESCRIPTOR_LEN) };
        let built = BinaryFuse8::try_from(keys).ok()?;
        let mut descriptor = [0; DESCRIPTOR_LEN];
        built.dma_copy_descriptor_to(&mut descriptor);
        Some(Filter { descriptor, fingerprints: built.fingerprints })
    }

    /// Whether the key may be there.
    pub fn may_contain(&self, key: u64) -> bool {
        BinaryFuse8Ref::from_dma(&self.descriptor, &self.fingerprints).contains(&key)
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.descriptor);
        out.extend_from_slice(&self.fingerprints);
    }

    /// Reads the stored form, all of `bytes`. A filter that would look outside its fingerprints, or
    /// has more of them than it looks at, is refused.
    pub fn decode(bytes: &[u8]) -> Decoded<Filter> {
        let mut r = Reader::new(bytes);
        let descriptor = r.array::<DESCRIPTOR_LEN>()?;
        let mut d = Reader::new(&descriptor[8..]);
        let (length, mask, count) = (d.u32()?, d.u32()?, d.u32()?);
        let fingerprints = r.take(r.left())?;
        let sane = length.is_power_of_two()
            && length <= 1 << 18
            && mask == length - 1
            && count > 0
            && count % length == 0
            && fingerprints.len() as u64 == u64::from(count) + 2 * u64::from(length);
        if !sane {
            return Err(Malformed("absurd filter"));
        }
        Ok(Filter { descriptor, fingerprints: fingerprints.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_256_that_is_not_there_passes_and_none_that_is_there_is_turned_away() {
        let keys = |from: u64, to: u64| {
            let one = |n: u64| key(blake3::hash(&n.to_le_bytes()).as_bytes());
            (from..to).map(one).collect::<Vec<_>>()
        };
        for len in [1, 2, 100, 36_000, 262_144] {
            let there = keys(0, len);
            let filter = Filter::build(&there).unwrap();
            assert!(there.iter().all(|key| filter.may_contain(*key)), "{len}");
            let absent = keys(1 << 40, (1 << 40) + 100_000);
            let passed = absent.iter().filter(|key| filter.may_contain(**key)).count();
            println!("{len}: {passed}");
            assert!((300..500).contains(&passed), "{len}: {passed} of 100,000");
        }
    }
}
