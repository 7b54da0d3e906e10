//! Key slots: the repository key, wrapped for one passphrase each.
//!
//! `keys/<id>` is a magic, "PLKSLOT1", a record and a checksum. Argon2id stretches the passphrase; from its output follow
//! the key that wraps and a commitment, which tells a wrong passphrase from damage and makes sure that one slot
//! opens under one passphrase only (GCM alone commits to nothing).

use super::keyring::RepositoryKey;
use super::random;
use super::xaes::{NONCE_LEN, Xaes};
use crate::codec::{Decoded, Malformed};
use crate::error::{Error, Result};
use crate::id::DomainId;
use crate::record;
use argon2::{Algorithm, Argon2, Params, Version};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"PLKSLOT1";
/// The longest slot that is read, in bytes.
pub const SLOT_BYTES_MAX: usize = 4096;
/// The most slots of one repository that are tried.
pub const SLOTS_MAX: usize = 64;

/// How dear a guess is: parameters of Argon2id (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cost {
    /// Memory in KiB.
    #[n(1)]
    pub memory_kib: u32,
    /// Passes over it.
    #[n(2)]
    pub passes: u32,
    /// Lanes.
    #[n(3)]
    pub lanes: u32,
}

impl Cost {
    /// The second recommended choice of RFC 9106: 64 MiB, 3 passes, 4 lanes.
    pub const DEFAULT: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// As little as Argon2 allows: for tests.
    pub const TEST: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// The most memory that a stored slot may ask for, in KiB: a hostile one must not take down the reader.
    pub const MEMORY_KIB_MAX: u32 = 1 << 20;
    /// The most passes times memory (in KiB) that a stored slot may ask for.
    pub const WORK_MAX: u64 = 16 << 20;

    fn check(&self) -> Decoded<()> {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        let sane = (1..=64).contains(&self.lanes)
            && (8 * self.lanes..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
            && self.passes >= 1
            && work <= Self::WORK_MAX;
        if sane { Ok(()) } else { Err(Malformed("absurd Argon2 parameters")) }
    }
}

/// One key slot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slot {
    /// What its owner calls it.
    #[n(1)]
    pub label: String,
    /// When it was made, in seconds since 1970.
    #[n(2)]
    pub created: i64,
    /// How the passphrase is stretched.
    #[n(3)]
    pub cost: Cost,
    /// The salt of the stretching.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub salt: [u8; 16],
    /// Commits to the stretched passphrase.
    #[cbor(n(5), with = "minicbor::bytes")]
    commitment: [u8; 32],
    /// Nonce, wrapped repository key, tag.
    #[cbor(n(6), with = "minicbor::bytes")]
    wrapped: [u8; 72],
}

/// A stretched passphrase.
pub struct Stretched {
    salt: [u8; 16],
    cost: Cost,
    wrap: Zeroizing<[u8; 32]>,
    commitment: [u8; 32],
}

impl Stretched {
    fn new(passphrase: &[u8], salt: [u8; 16], cost: Cost) -> Result<Stretched> {
        let failed = |e| Error::Refused(format!("cannot stretch the passphrase: {e}"));
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &salt, &mut *out)
            .map_err(failed)?;
        Ok(Stretched {
            salt,
            cost,
            wrap: Zeroizing::new(blake3::derive_key("plakar v1 key slot wrap", &*out)),
            commitment: blake3::derive_key("plakar v1 key slot commitment", &*out),
        })
    }
}

/// What else the wrapped key vouches for: domain, creation time, label.
fn aad(domain: DomainId, created: i64, label: &str) -> Vec<u8> {
    [b"plakar1 key slot ".as_slice(), &domain.0, &created.to_le_bytes(), label.as_bytes()].concat()
}

impl Slot {
    /// Wraps `key` for `passphrase`.
    pub fn new(
        label: &str,
        created: i64,
        passphrase: &[u8],
        cost: Cost,
        key: &RepositoryKey,
        domain: DomainId,
    ) -> Result<Slot> {
        let stretched = Stretched::new(passphrase, random(), cost)?;
        let nonce = random::<NONCE_LEN>();
        let mut wrapped = [0; 72];
        wrapped[..24].copy_from_slice(&nonce);
        wrapped[24..56].copy_from_slice(&key.0);
        let tag = Xaes::new(&stretched.wrap).seal(&nonce, &aad(domain, created, label), &mut wrapped[24..56]);
        wrapped[56..].copy_from_slice(&tag);
        Ok(Slot {
            label: label.to_owned(),
            created,
            cost,
            salt: stretched.salt,
            commitment: stretched.commitment,
            wrapped,
        })
    }

    /// The bytes of the stored object.
    pub fn encode(&self) -> Vec<u8> {
        record::encode_file(MAGIC, self)
    }

    /// Reads a stored object; `object` is its name.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no slot or asks for absurd work.
    pub fn decode(bytes: &[u8], object: &str) -> Result<Slot> {
        let slot: Slot = record::decode_file(MAGIC, bytes).map_err(|e| e.of(object))?;
        slot.cost.check().map_err(|e| e.of(object))?;
        Ok(slot)
    }

    /// The repository key, or `None` when this slot was made for another passphrase. `known` keeps what was
    /// stretched already: equal salts cost once.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the passphrase is right but the wrapped key is not what was wrapped.
    pub fn open(
        &self,
        passphrase: &[u8],
        domain: DomainId,
        known: &mut Vec<Stretched>,
        object: &str,
    ) -> Result<Option<RepositoryKey>> {
        let found = known.iter().position(|s| s.salt == self.salt && s.cost == self.cost);
        let at = match found {
            Some(at) => at,
            None => {
                known.push(Stretched::new(passphrase, self.salt, self.cost)?);
                known.len() - 1
            }
        };
        // The commitment is public, so comparing it need not take constant time.
        if known[at].commitment != self.commitment {
            return Ok(None);
        }
        let mut data = Zeroizing::new(self.wrapped[24..].to_vec());
        let nonce = self.wrapped[..24].try_into().expect("24 bytes");
        let plain = Xaes::new(&known[at].wrap)
            .open(nonce, &aad(domain, self.created, &self.label), &mut data)
            .ok_or_else(|| Error::damaged(object, "the wrapped key does not authenticate"))?;
        Ok(Some(RepositoryKey((&*plain).try_into().expect("32 bytes were wrapped"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_opens_for_its_passphrase_only() {
        let (key, domain) = (RepositoryKey([5; 32]), DomainId([1; 16]));
        let slot = Slot::new("me", 0, b"right", Cost::TEST, &key, domain).unwrap();
        let slot = Slot::decode(&slot.encode(), "keys/0").unwrap();
        let open =
            |slot: &Slot, passphrase: &[u8], domain| slot.open(passphrase, domain, &mut Vec::new(), "keys/0");
        assert!(open(&slot, b"right", domain).unwrap().is_some_and(|k| k.0 == key.0));
        assert!(open(&slot, b"wrong", domain).unwrap().is_none());
        assert!(open(&slot, b"right", DomainId([2; 16])).is_err());
        let mut bad = slot.clone();
        bad.wrapped[30] ^= 1;
        assert!(open(&bad, b"right", domain).is_err());
    }

    #[test]
    fn absurd_costs_are_refused_before_any_work() {
        let (key, domain) = (RepositoryKey([5; 32]), DomainId([1; 16]));
        let mut slot = Slot::new("me", 0, b"x", Cost::TEST, &key, domain).unwrap();
        for (memory_kib, passes, lanes) in [
            (u32::MAX, 1, 1),
            (8, u32::MAX, 1),
            (8, 1, 0),
            (8, 1, 64),
            (0, 1, 1),
            (8, 0, 1),
            (1 << 20, 17, 4),
        ] {
            slot.cost = Cost { memory_kib, passes, lanes };
            assert!(Slot::decode(&slot.encode(), "keys/0").is_err(), "{:?}", slot.cost);
        }
    }
}
