//! The chunkers once more, straight from their definition: one position at a time, nothing rolled but the
//! gear.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};

/// The first `len` bytes of BLAKE3's extended output for `seed` as eight little-endian bytes.
pub fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
    data
}

fn xof(context: &str, key: &[u8; 32], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_derive_key(context).update(key).finalize_xof().fill(&mut out);
    out
}

/// The table of `kind`.
pub fn table(kind: ChunkerKind, key: &[u8; 32]) -> Vec<u64> {
    let context = match kind {
        ChunkerKind::FastCdc => "plakar v1 gear table",
        ChunkerKind::Prf => "plakar v1 toeplitz table",
    };
    let bytes = xof(context, key, 2048);
    bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// The AES key of `prf`.
pub fn aes_key(key: &[u8; 32]) -> [u8; 16] {
    xof("plakar v1 chunker aes key", key, 16).try_into().unwrap()
}

/// The product of two polynomials modulo x^64 + x^4 + x^3 + x + 1.
pub fn multiply(mut a: u64, b: u64) -> u64 {
    let mut product = 0;
    for bit in 0..64 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        let out = a >> 63;
        a <<= 1;
        if out == 1 {
            a ^= 0x1b;
        }
    }
    product
}

/// The digest of a window.
pub fn digest(table: &[u64], window: &[u8; 64]) -> u64 {
    (0..64).fold(0, |sum, j| sum ^ multiply(1 << (63 - j), table[window[j] as usize]))
}

/// The ciphertext that decides.
pub fn ciphertext(aes_key: &[u8; 16], digest: u64) -> [u8; 16] {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&digest.to_le_bytes());
    let mut block = block.into();
    Aes128::new(aes_key.into()).encrypt_block(&mut block);
    block.into()
}

/// The masks, strict first.
pub fn masks(params: &ChunkerParams) -> [u64; 2] {
    let bits = (0..32).find(|bits| 1 << bits == params.avg).expect("a power of two");
    [bits + 2, bits - 2].map(|ones| match params.kind {
        ChunkerKind::FastCdc => (63 - ones..=62).map(|bit| 1 << bit).sum(),
        ChunkerKind::Prf => (0..ones).map(|bit| 1u64 << bit).sum(),
    })
}

/// A chunker to compare with.
pub struct Reference {
    params: ChunkerParams,
    table: Vec<u64>,
    aes_key: [u8; 16],
}

impl Reference {
    /// Under the same parameters and key as the other.
    pub fn new(params: &ChunkerParams, key: &[u8; 32]) -> Reference {
        Reference { params: *params, table: table(params.kind, key), aes_key: aes_key(key) }
    }

    /// The length of the first chunk.
    pub fn cut(&self, data: &[u8]) -> usize {
        let [min, avg, max] = [self.params.min, self.params.avg, self.params.max].map(|size| size as usize);
        if data.len() <= min {
            return data.len();
        }
        let [strict, lax] = masks(&self.params);
        let end = data.len().min(max);
        let mut fp = 0u64;
        for n in min..end {
            let word = match self.params.kind {
                ChunkerKind::FastCdc => {
                    fp = fp.wrapping_mul(2).wrapping_add(self.table[data[n] as usize]);
                    fp
                }
                ChunkerKind::Prf => {
                    let digest = digest(&self.table, data[n - 64..n].try_into().unwrap());
                    u64::from_le_bytes(ciphertext(&self.aes_key, digest)[..8].try_into().unwrap())
                }
            };
            if word & if n < avg { strict } else { lax } == 0 {
                return n;
            }
        }
        end
    }
}
