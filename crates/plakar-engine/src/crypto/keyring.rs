//! The keyring: the secrets of a domain, sealed under the repository key.
//!
//! ```text
//! magic "PLKRING1" | nonce (24) | ciphertext | tag (16)
//! ```
//!
//! `keyring/<hash>` is named by the BLAKE3 hash of its bytes. There may be several (two clients that begin
//! an epoch at once); all of them are united. The repository key R is random; key slots wrap it.

use super::random;
use super::xaes::{NONCE_LEN, Xaes};
use crate::error::{Error, Result};
use crate::id::{DomainId, EpochId};
use crate::record;
use minicbor::{Decode, Encode};
use zeroize::ZeroizeOnDrop;

const MAGIC: &[u8; 8] = b"PLKRING1";
/// The longest keyring that is read, in bytes.
pub const KEYRING_BYTES_MAX: usize = 1 << 20;

/// The random key that opens the keyring; what key slots wrap.
#[derive(Clone, ZeroizeOnDrop)]
pub struct RepositoryKey(pub [u8; 32]);

impl RepositoryKey {
    /// A new one.
    pub fn random() -> RepositoryKey {
        RepositoryKey(random())
    }
}

/// One epoch of seal keys: a new one may begin at any time, old ones are kept for reading.
#[derive(Clone, PartialEq, Eq, Encode, Decode, ZeroizeOnDrop)]
#[cbor(map)]
pub struct Epoch {
    /// Its name in headers and directories.
    #[n(1)]
    #[zeroize(skip)]
    pub id: EpochId,
    /// The key of XAES-256-GCM.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// When it began, in seconds since 1970: the latest (of two of one second, that with the greater id) seals.
    #[n(3)]
    pub began: i64,
}

impl Epoch {
    /// A new one.
    pub fn random(now: i64) -> Epoch {
        Epoch { id: EpochId(random()), key: random(), began: now }
    }
}

/// What a keyring says.
#[derive(Clone, PartialEq, Eq, Encode, Decode, ZeroizeOnDrop)]
#[cbor(map)]
pub struct Keyring {
    /// The domain's secret.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// Its epochs, oldest first.
    #[n(2)]
    pub epochs: Vec<Epoch>,
    /// BLAKE3 of the `config` this keyring belongs to: what authenticates it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub config_digest: [u8; 32],
}

fn aad(domain: DomainId) -> Vec<u8> {
    [b"plakar1 keyring ".as_slice(), &domain.0].concat()
}

impl Keyring {
    /// The bytes of the stored object.
    pub fn seal(&self, key: &RepositoryKey, domain: DomainId) -> Vec<u8> {
        let nonce = random::<NONCE_LEN>();
        let mut plain = record::encode(self);
        let tag = Xaes::new(&key.0).seal(&nonce, &aad(domain), &mut plain);
        [MAGIC.as_slice(), &nonce, &plain, &tag].concat()
    }

    /// Opens a stored object; `object` is its name.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not a keyring sealed under this key for this domain.
    pub fn open(bytes: &[u8], key: &RepositoryKey, domain: DomainId, object: &str) -> Result<Keyring> {
        let damaged = |what| Error::damaged(object, what);
        let sealed = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("not a keyring"))?;
        let (nonce, data) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| damaged("ends early"))?;
        let mut data = data.to_vec();
        let plain = Xaes::new(&key.0)
            .open(nonce, &aad(domain), &mut data)
            .ok_or_else(|| damaged("does not authenticate"))?;
        let keyring: Keyring = record::decode(plain).map_err(|e| e.of(object))?;
        if keyring.epochs.is_empty() || keyring.epochs.len() > 10_000 {
            return Err(damaged("an absurd number of epochs"));
        }
        Ok(keyring)
    }
}
