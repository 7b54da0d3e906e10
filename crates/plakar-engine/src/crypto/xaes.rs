//! XAES-256-GCM: AES-256-GCM with a nonce long enough to be drawn at random.
//!
//! As C2SP specifies it (c2sp.org/XAES-256-GCM): the first 12 of the 24 nonce bytes and the key give a
//! fresh key through two AES calls (NIST SP 800-108r1 with CMAC), the other 12 are the nonce of
//! AES-256-GCM under that key. Random nonces are good for 2^80 messages of a key.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Length of a nonce in bytes.
pub const NONCE_LEN: usize = 24;
/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// One key of XAES-256-GCM, expanded.
pub struct Xaes {
    cipher: Aes256,
    k1: [u8; 16],
}

impl Xaes {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Xaes {
        let cipher = Aes256::new(key.into());
        let mut l = [0; 16].into();
        cipher.encrypt_block(&mut l);
        let l = u128::from_be_bytes(l.into());
        // Doubling in GF(2^128), as CMAC makes its subkeys; without a branch on the secret bit.
        let k1 = (l << 1) ^ (0x87 & 0u128.wrapping_sub(l >> 127));
        Xaes { cipher, k1: k1.to_be_bytes() }
    }

    fn key(&self, nonce: &[u8; NONCE_LEN]) -> (LessSafeKey, Nonce) {
        let mut derived = [0; 32];
        for (i, half) in derived.chunks_exact_mut(16).enumerate() {
            let mut block = [0; 16];
            block[..4].copy_from_slice(&[0, i as u8 + 1, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            block.iter_mut().zip(self.k1).for_each(|(b, k)| *b ^= k);
            let mut block = block.into();
            self.cipher.encrypt_block(&mut block);
            half.copy_from_slice(&block);
        }
        let key = UnboundKey::new(&AES_256_GCM, &derived).expect("the key has the right length");
        let short = nonce[12..].try_into().expect("twelve are left");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key(short))
    }

    /// Encrypts `data` in place; returns the tag.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let (key, nonce) = self.key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), data);
        tag.expect("no message is over the limit of GCM").as_ref().try_into().expect("tags have 16 bytes")
    }

    /// Decrypts `data`, a ciphertext and its tag, in place; returns the plaintext, or `None` when it was
    /// not sealed under this key, nonce and associated data.
    pub fn open<'a>(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (key, nonce) = self.key(nonce);
        key.open_in_place(nonce, Aad::from(aad), data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{hex, unhex};
    use sha3::digest::{ExtendableOutput, Update, XofReader};

    fn sealed(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = data.to_vec();
        let tag = Xaes::new(key).seal(nonce, aad, &mut out);
        out.extend_from_slice(&tag);
        out
    }

    #[test]
    fn the_vectors_of_the_specification() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        assert_eq!(
            hex(&sealed(&[1; 32], nonce, b"", b"XAES-256-GCM")),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
        );
        assert_eq!(
            hex(&sealed(&[3; 32], nonce, b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM")),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
        );
    }

    /// The accumulated vector of the specification: 10,000 random messages of random lengths.
    #[test]
    fn the_accumulated_vector_of_the_specification() {
        let mut source = sha3::Shake128::default().finalize_xof();
        let mut digest = sha3::Shake128::default();
        for _ in 0..10_000 {
            let mut key = [0; 32];
            source.read(&mut key);
            let mut nonce = [0; 24];
            source.read(&mut nonce);
            let mut piece = || {
                let mut len = [0];
                source.read(&mut len);
                let mut bytes = vec![0; usize::from(len[0])];
                source.read(&mut bytes);
                bytes
            };
            let (plain, aad) = (piece(), piece());
            let mut out = sealed(&key, &nonce, &aad, &plain);
            digest.update(&out);
            assert_eq!(Xaes::new(&key).open(&nonce, &aad, &mut out), Some(&mut plain.clone()[..]));
        }
        let mut sum = [0; 32];
        digest.finalize_xof().read(&mut sum);
        let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
        assert_eq!(sum, unhex::<32>(expected).unwrap());
    }
}
