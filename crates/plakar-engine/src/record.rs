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

/// Encodes a record behind a magic.
pub fn encode_file<T: Encode<()>>(magic: &[u8; 8], record: &T) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend(encode(record));
    out
}

/// Decodes what [`encode_file`] wrote.
pub fn decode_file<T: Encode<()> + for<'b> Decode<'b, ()>>(magic: &[u8; 8], bytes: &[u8]) -> Decoded<T> {
    decode(bytes.strip_prefix(magic).ok_or(Malformed("wrong magic"))?)
}
