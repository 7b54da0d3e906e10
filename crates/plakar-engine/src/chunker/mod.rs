//! Chunkers: where a file's bytes are cut, decided by the bytes themselves.
//!
//! A chunk is what is stored once. Cutting by content lets the cuts fall into step again after an insertion,
//! so that an edit costs the chunks it touches and not the rest of the file. Cuts decide chunk ids, so they
//! are format: the same bytes under the same key and parameters are cut the same way for ever, by every
//! version.
//!
//! # What both chunkers share
//!
//! The parameters are three sizes in bytes, `min < avg < max`, and an algorithm; all belong to the domain.
//! The input is the bytes from the start of a chunk to the end of the file, `data`, of which a chunker looks
//! at the first `max` at most. With `end = min(len(data), max)`, the length of the chunk is
//!
//! 1. `len(data)` if that is `min` or less (so 0 for no data, and no chunk);
//! 2. else the smallest `n`, `min <= n < end`, for which the algorithm says "cut" under the mask for `n`:
//!    the *strict* mask while `n < avg`, the *lax* one from `avg` on;
//! 3. else `end`.
//!
//! The next chunk starts over with the bytes that follow: nothing is carried across a cut. With
//! `bits = log2(avg)`, strict masks have `bits + 2` ones and lax masks `bits - 2` (normalised chunking, level
//! 2): sizes gather around `avg`, and few chunks are cut at `max` for want of a better place.
//!
//! Secrets come from the domain's chunker subkey `K`, 32 bytes. `XOF(context)` is the output of BLAKE3 in
//! derive-key mode with that context string and `K` as the key material, as long as needed; a table is 256
//! words of 64 bits taken from it in order, little-endian.
//!
//! # `fastcdc` (id 1)
//!
//! Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication"
//! (USENIX ATC 2016), and "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
//! Systems" (IEEE TPDS 2020).
//!
//! ```text
//! G       = table of XOF("plakar v1 gear table")
//! strict  = bits 63 - (bits + 2) .. 62, that is (2^(bits + 2) - 1) << (63 - (bits + 2))
//! lax     = bits 63 - (bits - 2) .. 62
//! fp      = 0
//! for n from min to end - 1:
//!     fp = 2 * fp + G[data[n]]  mod 2^64
//!     cut at n if fp & mask(n) = 0
//! ```
//!
//! As in the paper, the byte that decides is the first of the next chunk, and the hash starts empty at `min`:
//! the bytes before are never looked at. The paper scatters its mask bits, so that each looks back far; a bit
//! looks back as many bytes as there are bits up to and including it, hence contiguous bits as high as
//! possible do that best. Bit 63 is left out so that an implementation that takes two bytes a step may keep
//! its hash shifted by one.
//!
//! A gear table is not a secret once chunk lengths of known files are seen (Truong et al., "Breaking and
//! Fixing Content-Defined Chunking", CCS 2025, eprint 2025/558; Alexeev, Percival, Zhang, "Chunking Attacks
//! on File Backup Services using Content-Defined Chunking", eprint 2025/532). This chunker is for plain
//! domains.
//!
//! # `prf` (id 2)
//!
//! A universal hash of the last 64 bytes, then a pseudo-random function, and only that one's output decides:
//! the construction of eprint 2025/558. The hash is a tabulated LFSR-Toeplitz hash after Krawczyk,
//! "LFSR-based Hashing and Authentication" (CRYPTO '94); the function is AES-128.
//!
//! ```text
//! T       = table of XOF("plakar v1 toeplitz table")
//! A       = first 16 bytes of XOF("plakar v1 chunker aes key")
//! strict  = 2^(bits + 2) - 1
//! lax     = 2^(bits - 2) - 1
//! D(n)    = sum over j = 0 .. 63 of x^(63 - j) * T[data[n - 64 + j]]
//! C(n)    = AES-128 under A of the 16-byte block: D(n) little-endian, then eight zero bytes
//! cut at n if the first eight bytes of C(n), little-endian, & mask(n) = 0,   n from min to end - 1
//! ```
//!
//! `D` is computed in GF(2^64): a word is a polynomial over GF(2), bit `i` the coefficient of `x^i`; the sum is
//! exclusive or; products are reduced modulo `P = x^64 + x^4 + x^3 + x + 1`, which is irreducible and public.
//! So multiplying by `x` shifts left by one and, if a one falls out, exclusive-ors `0x1b`. It rolls:
//!
//! ```text
//! D(n + 1) = x * D(n) + T[data[n]] + x^64 * T[data[n - 64]]
//! ```
//!
//! Two different windows collide with probability 2^-64 exactly over the choice of `T`: their difference is a
//! sum of `c[v] * T[v]` where some `c[v]` is a polynomial other than zero of degree below 64, hence
//! invertible. The window must not be longer, and the multiplication must not be a rotation, or this fails.
//! Who observes cuts learns at most which windows are equal, and nothing of the keys. The bound of that
//! proof, n^2 / 2^65 for n different windows, reaches one at some 6 GiB in one domain. No attack is known
//! beyond: two windows that collide merely get the same answer, and it shows only where that answer is to
//! cut. A wider digest would be another id.
//!
//! # Zeros
//!
//! Of a run of zeros the chunkers see the same window everywhere, so it is cut at the same length over and
//! over, nearly always `max`. [`Chunker::zero_cut`] knows that length: a hole need not be read to be cut.
//!
//! Not here: reading files, the window over them (`max` bytes ahead, or all that is left), chunk ids.

mod fastcdc;
mod prf;

use std::fmt;
use std::sync::Arc;

/// The algorithms; their numbers are kept in the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkerKind {
    /// Gear hash, two masks: fast, and no secret. The default of plain domains.
    FastCdc = 1,
    /// Toeplitz digest, then AES: cuts that tell nothing of the key.
    Prf = 2,
}

impl ChunkerKind {
    /// The number that stands for this algorithm in a domain.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The algorithm a number stands for, if this version knows it.
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::FastCdc),
            2 => Some(Self::Prf),
            _ => None,
        }
    }
}

/// How files are cut in a domain. Immutable there: other parameters share no chunks with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkerParams {
    /// The algorithm.
    pub kind: ChunkerKind,
    /// No chunk is shorter, in bytes, but the last of a file. A multiple of 64.
    pub min: u32,
    /// Chunk lengths gather around this, in bytes; the mean is a little above. A power of two.
    pub avg: u32,
    /// No chunk is longer, in bytes. A multiple of 64.
    pub max: u32,
}

impl ChunkerParams {
    /// The smallest `min`: twice the window of `prf`.
    pub const MIN_LEAST: u32 = 128;
    /// The largest `max`: 15 MiB, so that a block with one chunk stays below 16 MiB.
    pub const MAX_MOST: u32 = 15 << 20;

    /// 16, 64 and 256 KiB: what new domains get.
    pub const fn with_default_sizes(kind: ChunkerKind) -> Self {
        Self { kind, min: 16 << 10, avg: 64 << 10, max: 256 << 10 }
    }

    /// Whether a chunker can be made of these; parameters read from outside are checked with this.
    ///
    /// # Errors
    /// What is wrong with them, the first thing found.
    pub fn validate(&self) -> Result<(), ParamsError> {
        if self.min < Self::MIN_LEAST {
            return Err(ParamsError::MinTooSmall);
        }
        if self.max > Self::MAX_MOST {
            return Err(ParamsError::MaxTooLarge);
        }
        if self.min >= self.avg || self.avg >= self.max {
            return Err(ParamsError::Order);
        }
        if !self.avg.is_power_of_two() {
            return Err(ParamsError::AvgNotPowerOfTwo);
        }
        // Whole windows keep room for implementations that take several bytes a step.
        if !self.min.is_multiple_of(64) || !self.max.is_multiple_of(64) {
            return Err(ParamsError::NotMultipleOf64);
        }
        Ok(())
    }
}

/// Why parameters are no chunker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsError {
    /// `min` is below [`ChunkerParams::MIN_LEAST`].
    MinTooSmall,
    /// `max` is above [`ChunkerParams::MAX_MOST`].
    MaxTooLarge,
    /// Not `min < avg < max`.
    Order,
    /// `avg` is not a power of two.
    AvgNotPowerOfTwo,
    /// `min` or `max` is not a multiple of 64.
    NotMultipleOf64,
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinTooSmall => "the minimum chunk size is below 128 bytes",
            Self::MaxTooLarge => "the maximum chunk size is above 15 MiB",
            Self::Order => "the chunk sizes are not in order (minimum < average < maximum)",
            Self::AvgNotPowerOfTwo => "the average chunk size is not a power of two",
            Self::NotMultipleOf64 => "the minimum or maximum chunk size is not a multiple of 64",
        })
    }
}

impl std::error::Error for ParamsError {}

/// Cuts files. Holds tables and no state: one serves any number of threads and files, and cloning it is
/// cheap.
#[derive(Clone)]
pub struct Chunker {
    params: ChunkerParams,
    zero_cut: usize,
    algorithm: Algorithm,
}

#[derive(Clone)]
enum Algorithm {
    FastCdc(Arc<fastcdc::FastCdc>),
    Prf(Arc<prf::Prf>),
}

impl Chunker {
    /// A chunker under a domain's chunker subkey. Takes about as long as cutting `max` bytes.
    ///
    /// # Panics
    /// If the parameters do not [validate](ChunkerParams::validate).
    pub fn new(params: &ChunkerParams, key: &[u8; 32]) -> Chunker {
        if let Err(error) = params.validate() {
            panic!("{error}: {params:?}");
        }
        let algorithm = match params.kind {
            ChunkerKind::FastCdc => Algorithm::FastCdc(Arc::new(fastcdc::FastCdc::new(params, key))),
            ChunkerKind::Prf => Algorithm::Prf(Arc::new(prf::Prf::new(params, key))),
        };
        let mut chunker = Chunker { params: *params, zero_cut: 0, algorithm };
        chunker.zero_cut = chunker.cut(&vec![0; params.max as usize]);
        chunker
    }

    /// What it was made with.
    pub fn params(&self) -> &ChunkerParams {
        &self.params
    }

    /// The length of the first chunk of `data`, which must hold `max` bytes at least or all that is left of
    /// the file. Zero only if `data` is empty.
    pub fn cut(&self, data: &[u8]) -> usize {
        if data.len() <= self.params.min as usize {
            return data.len();
        }
        let data = &data[..data.len().min(self.params.max as usize)];
        match &self.algorithm {
            Algorithm::FastCdc(fastcdc) => fastcdc.cut(data),
            Algorithm::Prf(prf) => prf.cut(data),
        }
    }

    /// Whether the first `len` bytes of `data` are a chunk, when they were one elsewhere (and not the end of a
    /// file there) and more follow. Where that chunk could have ended earlier depends on its own bytes, but with
    /// `fastcdc` the byte that decides is the next one.
    pub fn cuts_again(&self, data: &[u8], len: usize) -> bool {
        if len < self.params.min as usize || len >= self.params.max as usize {
            return len == self.params.max as usize;
        }
        match &self.algorithm {
            Algorithm::FastCdc(fastcdc) => fastcdc.cuts_at(data, len),
            Algorithm::Prf(_) => true,
        }
    }

    /// The length of the chunk that `max` or more zero bytes begin with.
    pub fn zero_cut(&self) -> usize {
        self.zero_cut
    }

    /// The table and the two masks, strict first: for vectors and oracles, and as secret as the key.
    #[doc(hidden)]
    pub fn table_and_masks(&self) -> (&[u64; 256], u64, u64) {
        match &self.algorithm {
            Algorithm::FastCdc(fastcdc) => fastcdc.table_and_masks(),
            Algorithm::Prf(prf) => prf.table_and_masks(),
        }
    }
}

impl fmt::Debug for Chunker {
    /// Without the tables, which are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker").field("params", &self.params).finish_non_exhaustive()
    }
}

/// BLAKE3 in derive-key mode: `context`, and the chunker subkey as key material.
fn xof(context: &str, key: &[u8; 32]) -> blake3::OutputReader {
    blake3::Hasher::new_derive_key(context).update(key).finalize_xof()
}

/// 256 little-endian words of `XOF(context)`.
fn table(context: &str, key: &[u8; 32]) -> [u64; 256] {
    let mut xof = xof(context, key);
    std::array::from_fn(|_| {
        let mut word = [0; 8];
        xof.fill(&mut word);
        u64::from_le_bytes(word)
    })
}
