//! Log objects: facts as stored.
//!
//! ```text
//! header (136) | sealed facts
//!
//! header   "PLKFACT1" | version u8 = 1 | suite u8 | class u8 | 0 × 5 | epoch 8 | salt 16 | replica 16
//!          | writer 16 | signature 64
//! facts    codec u8 | raw length u32 | payload; raw: a CBOR array of facts
//! ```
//!
//! Class 1 is what writers say (`log/`), class 2 what takes away or folds (`admin/`). They are kept apart so
//! that a store which cannot read facts can still keep an append-only client from removing anything: facts
//! that take away are refused, with the whole object, when they are found in `log/`, and sealed bytes of one class
//! do not open as the other.
//!
//! The name is `<folder>/<time>-<hash>`: the writer's clock as `20220305t223058z`, for people only, and the
//! BLAKE3 hash of the object's bytes. All of the header but the signature enters the associated data of the facts. The signature is room for one: zero bytes until writers sign.

use super::fact::Fact;
use crate::codec::{Malformed, Reader};
use crate::crypto::random;
use crate::crypto::seal::{Context, Kind, Sealer};
use crate::error::{Error, Result};
use crate::id::{EpochId, ObjectHash, ReplicaId};
use crate::index::segment::Author;
use crate::record;
use plakar_store::{ErrorKind, Name, ReadStore};

const MAGIC: &[u8; 8] = b"PLKFACT1";
const HEADER_LEN: usize = 136;
/// What of the header the sealed facts are tied to: all but the signature.
const BOUND: std::ops::Range<usize> = 0..72;
/// The longest log object that is read, in bytes.
pub const LOG_BYTES_MAX: usize = 64 << 20;
const RAW_MAX: usize = 64 << 20;
/// The largest window of a zstd frame that is read: 8 MiB, which is what a hostile one makes the decoder allocate.
const WINDOW_LOG_MAX: u32 = 23;

/// Who may say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// What any writer says.
    Log = 1,
    /// What takes away or folds.
    Admin = 2,
}

impl Class {
    /// The folder such objects are kept in, with its slash.
    pub fn folder(self) -> &'static str {
        match self {
            Class::Log => "log/",
            Class::Admin => "admin/",
        }
    }

    /// That of the folder in this name.
    pub fn in_name(name: &Name) -> Class {
        if name.as_str().starts_with(Class::Admin.folder()) { Class::Admin } else { Class::Log }
    }

    fn seal_kind(self) -> Kind {
        match self {
            Class::Log => Kind::LogFacts,
            Class::Admin => Kind::AdminFacts,
        }
    }

    /// Where this fact belongs.
    pub fn of(fact: &Fact) -> Class {
        match fact {
            Fact::Prepared(_) | Fact::Final(_) => Class::Log,
            Fact::Mark(_) | Fact::Dead(_) | Fact::Removed(_) | Fact::Bad(_) | Fact::Checkpoint(_) => {
                Class::Admin
            }
        }
    }
}

/// Encodes facts, all of one class, as the bytes and the name of a stored object. `now` is in seconds since 1970.
pub fn encode(facts: &[Fact], author: &Author, sealer: &Sealer, now: i64) -> (Name, Vec<u8>) {
    let class = Class::of(&facts[0]);
    assert!(facts.iter().all(|fact| Class::of(fact) == class), "facts of one class");
    let salt = random::<16>();
    let raw = record::encode(&facts.to_vec());
    let mut plain = vec![1];
    plain.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let mut packed = vec![0; raw.len()];
    match zstd_safe::compress(&mut packed[..], &raw, 3) {
        Ok(len) if len < raw.len() => plain.extend_from_slice(&packed[..len]),
        _ => {
            plain[0] = 0;
            plain.extend_from_slice(&raw);
        }
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[1, sealer.suite() as u8, class as u8, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&sealer.epoch().0);
    out.extend_from_slice(&salt);
    out.extend_from_slice(&author.replica.0);
    out.extend_from_slice(&author.writer.0);
    let bound = out.clone();
    out.resize(HEADER_LEN, 0);
    let context = Context { header: &bound, offset: HEADER_LEN as u64 };
    out.extend(sealer.seal(class.seal_kind(), context, &plain));
    (name_of(class, now, &ObjectHash(*blake3::hash(&out).as_bytes())), out)
}

/// The name under which an object with this hash is put now, in seconds since 1970.
pub fn name_of(class: Class, now: i64, hash: &ObjectHash) -> Name {
    let name = format!("{}{}-{}", class.folder(), compact_time(now), hash.hex());
    Name::new(&name).expect("digits and letters make a name")
}

/// Decodes a stored object found under `name`.
///
/// # Errors
/// [`Error::Damaged`] when it is not, byte for byte, what was put under this name in this domain, or says what does not
/// belong in its folder.
pub fn decode(name: &Name, bytes: Vec<u8>, sealer: &Sealer) -> Result<Vec<Fact>> {
    let damaged = |what| Error::damaged(name, what);
    if hash_in_name(name) != Some(ObjectHash(*blake3::hash(&bytes).as_bytes())) {
        return Err(damaged("its bytes do not hash to its name"));
    }
    let class = Class::in_name(name);
    let epoch = decode_header(&bytes, class, sealer).map_err(|e| e.of(name))?;
    let context = Context { header: &bytes[BOUND], offset: HEADER_LEN as u64 };
    let plain = sealer.open(class.seal_kind(), epoch, context, bytes[HEADER_LEN..].to_vec(), name)?;
    let facts = decode_plain(&plain).map_err(|e| e.of(name))?;
    if facts.iter().any(|fact| Class::of(fact) != class) {
        return Err(damaged("says what does not belong in its folder"));
    }
    Ok(facts)
}

fn decode_header(bytes: &[u8], class: Class, sealer: &Sealer) -> Result<EpochId, Malformed> {
    let mut r = Reader::new(bytes);
    r.expect(MAGIC, "not a log object")?;
    r.expect(&[1], "log object of an unknown version")?;
    r.expect(&[sealer.suite() as u8], "sealed by another suite")?;
    r.expect(&[class as u8], "in the wrong folder")?;
    r.expect(&[0; 5], "reserved bytes are set")?;
    let epoch = EpochId(r.array()?);
    r.take(HEADER_LEN - 24)?;
    Ok(epoch)
}

/// Decodes the plaintext of a log object.
pub fn decode_plain(plain: &[u8]) -> Result<Vec<Fact>, Malformed> {
    let mut r = Reader::new(plain);
    let (codec, raw_len) = (r.u8()?, r.u32()? as usize);
    let payload = r.take(r.left())?;
    let facts: Vec<Fact> = match codec {
        0 if payload.len() == raw_len => record::decode(payload)?,
        1 if payload.len() < raw_len && raw_len <= RAW_MAX => record::decode(&decompress(payload, raw_len)?)?,
        _ => return Err(Malformed("unknown codec")),
    };
    if facts.is_empty() { Err(Malformed("says nothing")) } else { Ok(facts) }
}

thread_local! {
    // A log has many small objects: to make one of these for each takes longer than to decompress.
    static DECOMPRESSOR: std::cell::RefCell<zstd_safe::DCtx<'static>> = std::cell::RefCell::new({
        let mut decompressor = zstd_safe::DCtx::create();
        let window = zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX);
        decompressor.set_parameter(window).expect("zstd knows its parameters");
        decompressor
    });
}

fn decompress(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Malformed> {
    DECOMPRESSOR.with_borrow_mut(|decoder| {
        let forget = zstd_safe::ResetDirective::SessionOnly;
        decoder.reset(forget).expect("what was begun before can be forgotten");
        // Grown while it is filled: a few bytes that claim to become many get no memory for it.
        let mut raw = Vec::new();
        let mut input = zstd_safe::InBuffer::around(payload);
        loop {
            let before = (raw.len(), input.pos);
            raw.resize((before.0 + (1 << 17)).min(raw_len), 0);
            let mut output = zstd_safe::OutBuffer::around_pos(&mut raw[..], before.0);
            let left = decoder
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| Malformed("does not decompress"))?;
            let end = output.pos();
            raw.truncate(end);
            // Only a frame that has come to its end is known to hold no more than it says.
            if left == 0 {
                break;
            }
            if (end, input.pos) == before {
                return Err(Malformed("decompresses to another length"));
            }
        }
        if raw.len() != raw_len || input.pos != payload.len() {
            return Err(Malformed("decompresses to another length"));
        }
        Ok(raw)
    })
}

/// The repository that a log object was written to, by its plain header; `None` when it is no log object.
///
/// # Errors
/// Store errors.
pub fn replica_in(store: &dyn ReadStore, name: &Name) -> Result<Option<ReplicaId>> {
    const AT: usize = 40;
    match store.get_range(name, 0, AT + ReplicaId::LEN) {
        Ok(header) if header.starts_with(MAGIC) => Ok(header[AT..].try_into().ok().map(ReplicaId)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Short => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The hash in the name of a log object.
pub fn hash_in_name(name: &Name) -> Option<ObjectHash> {
    ObjectHash::from_hex(name.last().rsplit_once('-')?.1)
}

/// `20220305t223058z`.
fn compact_time(secs: i64) -> String {
    let time = jiff::Timestamp::from_second(secs).unwrap_or_default();
    time.strftime("%Y%m%dt%H%M%Sz").to_string().replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DomainId, SessionId, WriterId};

    fn author() -> Author {
        Author { replica: ReplicaId([1; 16]), writer: WriterId([2; 16]) }
    }

    #[test]
    fn facts_come_back_and_only_from_their_folder() {
        let sealer = Sealer::plain(DomainId([0; 16]));
        let facts: Vec<_> = (0..100).map(|n| Fact::Removed(SessionId([n; 16]))).collect();
        let (name, bytes) = encode(&facts, &author(), &sealer, 1_646_519_458);
        assert!(name.as_str().starts_with("admin/20220305t223058z-"), "{name}");
        assert_eq!(decode(&name, bytes.clone(), &sealer).unwrap(), facts);
        let moved = Name::new(&name.as_str().replace("admin/", "log/")).unwrap();
        assert!(decode(&moved, bytes.clone(), &sealer).is_err());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(decode(&name, bad, &sealer).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_few_bytes_that_claim_to_become_many_are_refused() {
        let mut plain = vec![1];
        plain.extend_from_slice(&(RAW_MAX as u32).to_le_bytes());
        plain.extend_from_slice(&zstd_safe_frame(b"short"));
        assert!(decode_plain(&plain).is_err());
    }

    fn zstd_safe_frame(bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 100];
        let len = zstd_safe::compress(&mut out[..], bytes, 3).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(compact_time(0), "19700101t000000z");
        assert_eq!(compact_time(951_782_400), "20000229t000000z");
        assert_eq!(compact_time(-1), "19691231t235959z");
        compact_time(i64::MIN);
        compact_time(i64::MAX);
    }
}
