//! One range that is kept, as it lies in a file.
//!
//! ```text
//! "PLKKEPT1" | offset u64 | length u32 | length of the name u8 | name | bytes | sum u64     (little-endian)
//! ```
//!
//! The sum is 64-bit FNV-1a over all before it. It has to find writes that were cut short and bits that rotted, not
//! malice: each step of it is a bijection, so that a single wrong byte never passes, and anything else passes once in 2^64.
//! What passes is proven by whoever reads the repository, like everything that comes from a store.

use crate::Name;

const MAGIC: &[u8; 8] = b"PLKKEPT1";
/// What comes before the name.
pub const HEAD_LEN: usize = 8 + 8 + 4 + 1;
const SUM_LEN: usize = 8;

/// What the first bytes of a record say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    offset: u64,
    len: u32,
    name_len: u8,
}

impl Head {
    /// `None` when no record begins like this.
    pub fn decode(bytes: &[u8]) -> Option<Head> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let name_len = *rest.first()?;
        let (offset, len) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*len));
        (magic == MAGIC).then_some(Head { offset, len, name_len })
    }

    /// The length of the whole record.
    pub fn record_len(&self) -> u64 {
        (HEAD_LEN + SUM_LEN) as u64 + u64::from(self.name_len) + u64::from(self.len)
    }

    /// The key of the range, when the name comes next in `rest`.
    pub fn key(&self, rest: &[u8]) -> Option<u64> {
        Some(key(rest.get(..self.name_len.into())?, self.offset, self.len as usize))
    }
}

/// What a range is looked for by; another range may have the same.
pub fn key(name: &[u8], offset: u64, len: usize) -> u64 {
    let key = fnv(fnv(FNV_BASIS, name), &offset.to_le_bytes());
    fnv(key, &(len as u64).to_le_bytes())
}

/// The record of a range of at most 2^32 bytes.
pub fn encode(name: &Name, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let mut record = Vec::with_capacity(HEAD_LEN + name.len() + bytes.len() + SUM_LEN);
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&offset.to_le_bytes());
    record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    record.push(name.len() as u8);
    record.extend_from_slice(name);
    record.extend_from_slice(bytes);
    let sum = fnv(FNV_BASIS, &record);
    record.extend_from_slice(&sum.to_le_bytes());
    record
}

/// The bytes in a record, if it is whole and the one of this range.
pub fn decode(mut record: Vec<u8>, name: &Name, offset: u64, len: usize) -> Option<Vec<u8>> {
    let head = Head::decode(&record)?;
    let (start, wanted) = (HEAD_LEN + usize::from(head.name_len), name.as_str().as_bytes());
    let (content, sum) = record.split_last_chunk::<SUM_LEN>()?;
    let whole =
        head.record_len() == record.len() as u64 && fnv(FNV_BASIS, content) == u64::from_le_bytes(*sum);
    let same =
        whole && head.offset == offset && head.len as usize == len && &record[HEAD_LEN..start] == wanted;
    if !same {
        return None;
    }
    record.truncate(start + len);
    record.drain(..start);
    Some(record)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

fn fnv(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_fnv_1a() {
        assert_eq!(fnv(FNV_BASIS, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(FNV_BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(FNV_BASIS, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_record_gives_back_its_range_and_nothing_else() {
        let (name, other) = (Name::new("index/a").unwrap(), Name::new("index/b").unwrap());
        let record = encode(&name, 7, b"bytes");
        let head = Head::decode(&record).unwrap();
        assert_eq!(head.record_len(), record.len() as u64);
        assert_eq!(head.key(&record[HEAD_LEN..]), Some(key(b"index/a", 7, 5)));
        assert_eq!(decode(record.clone(), &name, 7, 5).as_deref(), Some(&b"bytes"[..]));
        for (name, offset, len) in [(&other, 7, 5), (&name, 8, 5), (&name, 7, 4), (&name, 7, 6)] {
            assert_eq!(decode(record.clone(), name, offset, len), None);
        }
        for at in 0..record.len() {
            let mut flipped = record.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(decode(flipped, &name, 7, 5), None, "bit in byte {at}");
            assert_eq!(decode(record[..at].to_vec(), &name, 7, 5), None, "cut at {at}");
        }
        let longer = [&record[..], b"\0"].concat();
        assert_eq!(decode(longer, &name, 7, 5), None);
    }
}
