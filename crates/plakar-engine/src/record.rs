//! Records that evolve: deterministic CBOR with integer keys (RFC 8949, section 4.2.1).
//!
//! Maps with integer keys in rising order, definite lengths, shortest integers, no floats, no tags.
//! Absent fields are left out. Whatever is not exactly what an encoder writes is refused, so that
//! `decode(b) = v` implies `encode(v) = b`; a reader refuses keys it does not know (they come with a new
//! version or feature).

use crate::codec::{Decoded, Malformed};
use minicbor::{Decode, Encode};

/// Encodes a record.
pub fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    minicbor::to_vec(record).expect("encoding into memory does not fail")
}

/// Decodes a record and makes sure that these are the bytes an encoder writes for it.
pub fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Decoded<T> {
    let record = minicbor::decode::<T>(bytes).map_err(|_| Malformed("not a record of this kind"))?;
    if encode(&record) == bytes { Ok(record) } else { Err(Malformed("record not in canonical form")) }
}

/// Encodes a record as a plain stored object: magic, record, and the first eight bytes of the BLAKE3 hash of both.
/// The checksum finds damage, where nothing is sealed that would; it does not keep anybody from changing anything.
pub fn encode_file<T: Encode<()>>(magic: &[u8; 8], record: &T) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend(encode(record));
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    out
}

/// Decodes what [`encode_file`] wrote.
pub fn decode_file<T: Encode<()> + for<'b> Decode<'b, ()>>(magic: &[u8; 8], bytes: &[u8]) -> Decoded<T> {
    let rest = bytes.strip_prefix(magic).ok_or(Malformed("wrong magic"))?;
    let (record, sum) = rest.split_last_chunk::<CHECKSUM_LEN>().ok_or(Malformed("ends early"))?;
    if checksum(&bytes[..bytes.len() - CHECKSUM_LEN]) != *sum {
        return Err(Malformed("its checksum does not match"));
    }
    decode(record)
}

const CHECKSUM_LEN: usize = 8;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    blake3::hash(bytes).as_bytes()[..CHECKSUM_LEN].try_into().expect("8 of 32")
}
