//! `prf`: a Toeplitz digest, then AES; the definition is in the parent module.

use super::{ChunkerParams, table, xof};
use aes::Aes128;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
    consts::U16,
};

/// Bytes in the window. No more, or digests collide: see the parent module.
const WINDOW: usize = 64;
/// Positions encrypted together where AES is done in software.
const BATCH: usize = 64;

type Block = Array<u8, U16>;

pub(super) struct Prf {
    /// What a byte adds on entering the window.
    entering: [u64; 256],
    /// What takes it out again, 64 steps later: the same times x^64.
    leaving: [u64; 256],
    aes: Aes128,
    min: usize,
    avg: usize,
    strict: u64,
    lax: u64,
}

impl Prf {
    pub(super) fn new(params: &ChunkerParams, key: &[u8; 32]) -> Self {
        let entering = table("plakar v1 toeplitz table", key);
        let leaving = entering.map(|word| (0..WINDOW).fold(word, |word, _| times_x(word)));
        let mut aes_key = [0; 16];
        xof("plakar v1 chunker aes key", key).fill(&mut aes_key);
        let bits = params.avg.ilog2();
        Self {
            entering,
            leaving,
            aes: Aes128::new(&aes_key.into()),
            min: params.min as usize,
            avg: params.avg as usize,
            strict: (1 << (bits + 2)) - 1,
            lax: (1 << (bits - 2)) - 1,
        }
    }

    pub(super) fn table_and_masks(&self) -> (&[u64; 256], u64, u64) {
        (&self.entering, self.strict, self.lax)
    }

    /// `data` is longer than `min` and no longer than `max`.
    pub(super) fn cut(&self, data: &[u8]) -> usize {
        self.scan(data, !aes::hardware_accelerated())
    }

    fn scan(&self, data: &[u8], batches: bool) -> usize {
        let mut length = data.len();
        self.aes.encrypt_with_backend(Scan { prf: self, data, batches, length: &mut length });
        length
    }

    /// The digest one byte on.
    #[inline(always)]
    fn roll(&self, digest: u64, entering: u8, leaving: u8) -> u64 {
        times_x(digest) ^ (self.entering[entering as usize] ^ self.leaving[leaving as usize])
    }
}

/// `digest * x` modulo x^64 + x^4 + x^3 + x + 1, without a branch on what is secret.
#[inline(always)]
fn times_x(digest: u64) -> u64 {
    (digest << 1) ^ (((digest as i64) >> 63) as u64 & 0x1b)
}

#[inline(always)]
fn block_of(digest: u64) -> Block {
    u128::from(digest).to_le_bytes().into()
}

#[inline(always)]
fn is_cut(block: &Block, mask: u64) -> bool {
    u64::from_le_bytes(block[..8].try_into().expect("eight bytes")) & mask == 0
}

/// The search for a cut, to be run where the cipher's backend has been chosen: compiled for the processor's
/// AES instructions as a whole, with the round keys in registers.
struct Scan<'a> {
    prf: &'a Prf,
    data: &'a [u8],
    batches: bool,
    /// Where the chunk's length goes, if it is not all of `data`.
    length: &'a mut usize,
}

impl BlockSizeUser for Scan<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Scan<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, aes: &B) {
        let Scan { prf, data, batches, length } = self;
        let avg = prf.avg.min(data.len());
        let mut digest = 0;
        for &byte in &data[prf.min - WINDOW..prf.min] {
            digest = times_x(digest) ^ prf.entering[byte as usize];
        }
        for (start, end, mask) in [(prf.min, avg, prf.strict), (avg, data.len(), prf.lax)] {
            let entering = &data[start..end];
            let leaving = &data[start - WINDOW..end - WINDOW];
            let cut = match batches {
                false => search_each(prf, aes, &mut digest, entering, leaving, mask),
                true => search_batches(prf, aes, &mut digest, entering, leaving, mask),
            };
            if let Some(at) = cut {
                *length = start + at;
                return;
            }
        }
    }
}

/// The first position to cut at, one after the other. The block never leaves its register, and nothing
/// depends on the ciphertext but a branch that is hardly ever taken, so the processor overlaps a dozen
/// positions by itself and its AES unit never waits: faster than batches, which pay for passing through
/// memory.
#[inline(always)]
fn search_each<B: BlockCipherEncBackend<BlockSize = U16>>(
    prf: &Prf,
    aes: &B,
    digest: &mut u64,
    entering: &[u8],
    leaving: &[u8],
    mask: u64,
) -> Option<usize> {
    for (i, (&entering, &leaving)) in entering.iter().zip(leaving).enumerate() {
        let mut block = block_of(*digest);
        aes.encrypt_block((&mut block).into());
        if is_cut(&block, mask) {
            return Some(i);
        }
        *digest = prf.roll(*digest, entering, leaving);
    }
    None
}

/// The same for AES in software, which is bit-sliced: many blocks cost it little more than one.
#[inline(always)]
fn search_batches<B: BlockCipherEncBackend<BlockSize = U16>>(
    prf: &Prf,
    aes: &B,
    digest: &mut u64,
    entering: &[u8],
    leaving: &[u8],
    mask: u64,
) -> Option<usize> {
    let mut blocks = [Block::default(); BATCH];
    for (batch, (entering, leaving)) in entering.chunks(BATCH).zip(leaving.chunks(BATCH)).enumerate() {
        let blocks = &mut blocks[..entering.len()];
        for (block, (&entering, &leaving)) in blocks.iter_mut().zip(entering.iter().zip(leaving)) {
            *block = block_of(*digest);
            *digest = prf.roll(*digest, entering, leaving);
        }
        let (groups, rest) = Array::slice_as_chunks_mut(blocks);
        for group in groups {
            aes.encrypt_par_blocks(group.into());
        }
        for block in rest {
            aes.encrypt_block(block.into());
        }
        if let Some(i) = blocks.iter().position(|block| is_cut(block, mask)) {
            return Some(batch * BATCH + i);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunker::ChunkerKind;

    #[test]
    fn batches_cut_as_single_blocks_do() {
        let params = ChunkerParams { kind: ChunkerKind::Prf, min: 192, avg: 1024, max: 2112 };
        let prf = Prf::new(&params, &[3; 32]);
        let mut data = [0; 2112];
        for seed in 0u64..300 {
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
            let data = &data[..data.len() - seed as usize * 6];
            assert_eq!(prf.scan(data, true), prf.scan(data, false), "seed {seed}");
        }
    }
}
