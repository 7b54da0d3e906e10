//! Sealing: how stored bytes are encrypted and authenticated.
//!
//! ```text
//! nonce (24) | ciphertext | tag (16)
//! ```
//!
//! Suite 1 is XAES-256-GCM under the key of an epoch. Suite 0, of repositories without encryption, has a
//! zero nonce, the plaintext itself, and for a tag the first 16 bytes of BLAKE3 (keyed with 32 zero
//! bytes) of associated data and plaintext: it finds damage, not malice.
//!
//! The associated data binds what the bytes are: format, kind, suite, domain, epoch, and for what lies at
//! a fixed place in one object also that place ([`Context`]). A block of chunks or nodes has no such
//! place: it does not depend on the pack it lies in and may be moved unopened.

use super::keyring::Epoch;
use super::random;
use super::xaes::{NONCE_LEN, TAG_LEN, Xaes};
use crate::error::{Error, Result};
use crate::id::{DomainId, EpochId};

/// How many bytes sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// How the bytes of a repository are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    /// Not encrypted.
    Plain = 0,
    /// XAES-256-GCM.
    Xaes = 1,
}

impl Suite {
    /// Reads the number of a suite.
    pub fn from_u8(n: u8) -> Option<Suite> {
        match n {
            0 => Some(Suite::Plain),
            1 => Some(Suite::Xaes),
            _ => None,
        }
    }
}

/// What is sealed: bytes of one kind never open as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A block of chunks.
    DataBlock = 1,
    /// A block of nodes.
    TreeBlock = 2,
    /// The directory of a pack.
    PackDirectory = 3,
    /// The trailer of a pack.
    PackTrailer = 4,
    /// The head of an index segment.
    SegmentHead = 5,
    /// The head of one shard of a segment.
    ShardHead = 6,
    /// A page of rows of a segment.
    SegmentPage = 7,
    /// Facts in `log/`.
    LogFacts = 8,
    /// Facts in `admin/`.
    AdminFacts = 9,
}

/// Where in one object sealed bytes belong: the object's plain header, and an offset in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The header, in which a salt was drawn for the object; as much of it as its format says. Empty for what may
    /// move.
    pub header: &'a [u8],
    /// Offset of the sealed bytes in the object.
    pub offset: u64,
}

/// Seals and opens for one domain.
pub struct Sealer {
    domain: DomainId,
    suite: Suite,
    /// Newest last; new bytes are sealed under the last.
    epochs: Vec<(EpochId, Xaes)>,
}

impl Sealer {
    /// For a domain without encryption.
    pub fn plain(domain: DomainId) -> Sealer {
        Sealer { domain, suite: Suite::Plain, epochs: Vec::new() }
    }

    /// For a domain with these epochs, oldest first; there must be one at least.
    pub fn encrypted(domain: DomainId, epochs: &[Epoch]) -> Sealer {
        assert!(!epochs.is_empty());
        let epochs = epochs.iter().map(|e| (e.id, Xaes::new(&e.key))).collect();
        Sealer { domain, suite: Suite::Xaes, epochs }
    }

    /// How this domain is sealed.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The epoch that new bytes are sealed under.
    pub fn epoch(&self) -> EpochId {
        self.epochs.last().map_or(EpochId([0; 8]), |(id, _)| *id)
    }

    /// Whether what was sealed under this epoch can be opened.
    pub fn knows(&self, epoch: EpochId) -> bool {
        match self.suite {
            Suite::Plain => epoch == self.epoch(),
            Suite::Xaes => self.key(epoch).is_some(),
        }
    }

    fn aad(&self, kind: Kind, epoch: EpochId, context: Context) -> Vec<u8> {
        let mut aad = Vec::with_capacity(128);
        aad.extend_from_slice(b"plakar1");
        aad.extend_from_slice(&[kind as u8, self.suite as u8]);
        aad.extend_from_slice(&self.domain.0);
        aad.extend_from_slice(&epoch.0);
        if !context.header.is_empty() {
            aad.extend_from_slice(context.header);
            aad.extend_from_slice(&context.offset.to_le_bytes());
        }
        aad
    }

    fn key(&self, epoch: EpochId) -> Option<&Xaes> {
        self.epochs.iter().find(|(id, _)| *id == epoch).map(|(_, key)| key)
    }

    /// Seals what stands in `out` from `start` on, under the newest epoch: the first [`NONCE_LEN`] bytes
    /// there are room for the nonce; the tag is appended.
    pub fn seal_in_place(&self, kind: Kind, context: Context, out: &mut Vec<u8>, start: usize) {
        let aad = self.aad(kind, self.epoch(), context);
        let (nonce, plain) = out[start..].split_at_mut(NONCE_LEN);
        let tag = match self.suite {
            Suite::Plain => {
                nonce.fill(0);
                checksum(&aad, plain)
            }
            Suite::Xaes => {
                let fresh = random::<NONCE_LEN>();
                nonce.copy_from_slice(&fresh);
                self.key(self.epoch()).expect("the newest epoch is there").seal(&fresh, &aad, plain)
            }
        };
        out.extend_from_slice(&tag);
    }

    /// Seals `plain` under the newest epoch.
    pub fn seal(&self, kind: Kind, context: Context, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.resize(NONCE_LEN, 0);
        out.extend_from_slice(plain);
        self.seal_in_place(kind, context, &mut out, 0);
        out
    }

    /// Opens what [`seal`](Self::seal) made under `epoch`.
    ///
    /// # Errors
    /// [`Error::Damaged`], naming `object`, when the bytes are not exactly what was sealed as this kind,
    /// in this domain, at this place.
    pub fn open(
        &self,
        kind: Kind,
        epoch: EpochId,
        context: Context,
        mut sealed: Vec<u8>,
        object: &dyn std::fmt::Display,
    ) -> Result<Vec<u8>> {
        let damaged = |what| Error::damaged(object, what);
        if sealed.len() < OVERHEAD {
            return Err(damaged("too short to be sealed bytes"));
        }
        let aad = self.aad(kind, epoch, context);
        let nonce: [u8; NONCE_LEN] = sealed[..NONCE_LEN].try_into().expect("long enough");
        let plain_len = sealed.len() - OVERHEAD;
        match self.suite {
            Suite::Plain => {
                let (plain, tag) = sealed[NONCE_LEN..].split_at(plain_len);
                if nonce != [0; NONCE_LEN] || checksum(&aad, plain) != tag {
                    return Err(damaged("checksum does not match"));
                }
            }
            Suite::Xaes => {
                let key = self.key(epoch).ok_or_else(|| damaged("sealed under an unknown epoch"))?;
                let data = &mut sealed[NONCE_LEN..];
                key.open(&nonce, &aad, data).ok_or_else(|| damaged("does not authenticate"))?;
            }
        }
        sealed.truncate(NONCE_LEN + plain_len);
        sealed.drain(..NONCE_LEN);
        Ok(sealed)
    }
}

fn checksum(aad: &[u8], plain: &[u8]) -> [u8; TAG_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(&[0; 32]);
    hasher.update(aad).update(plain);
    hasher.finalize().as_bytes()[..TAG_LEN].try_into().expect("16 of 32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealers() -> [Sealer; 2] {
        let epochs = [1, 2].map(|n| Epoch { id: EpochId([n; 8]), key: [n; 32], began: 0 });
        [Sealer::plain(DomainId([7; 16])), Sealer::encrypted(DomainId([7; 16]), &epochs)]
    }

    #[test]
    fn opens_only_as_what_it_was_sealed() {
        for sealer in sealers() {
            let here = Context { header: b"header", offset: 9 };
            let sealed = sealer.seal(Kind::SegmentPage, here, b"rows");
            let open = |kind, epoch, context, sealed: &[u8]| {
                sealer.open(kind, epoch, context, sealed.to_vec(), &"page").ok()
            };
            let epoch = sealer.epoch();
            assert_eq!(open(Kind::SegmentPage, epoch, here, &sealed).unwrap(), b"rows");
            assert!(open(Kind::ShardHead, epoch, here, &sealed).is_none());
            assert!(open(Kind::SegmentPage, EpochId([1; 8]), here, &sealed).is_none());
            assert!(open(Kind::SegmentPage, EpochId([9; 8]), here, &sealed).is_none());
            assert!(open(Kind::SegmentPage, epoch, Context { offset: 8, ..here }, &sealed).is_none());
            assert!(open(Kind::SegmentPage, epoch, Context::default(), &sealed).is_none());
            for i in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[i] ^= 1;
                assert!(open(Kind::SegmentPage, epoch, here, &bad).is_none(), "bit of byte {i}");
                assert!(open(Kind::SegmentPage, epoch, here, &sealed[..i]).is_none(), "cut at {i}");
            }
        }
    }

    #[test]
    fn a_nonce_is_never_used_twice() {
        let [_, sealer] = sealers();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(sealer.seal(Kind::DataBlock, Context::default(), b"")[..24].to_vec()));
        }
    }
}
