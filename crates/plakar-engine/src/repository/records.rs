//! The two plain objects of a repository: `replica`, written first, and `config`, written last.

use crate::chunker::{ChunkerKind, ChunkerParams};
use crate::codec::{Decoded, Malformed};
use crate::crypto::seal::Suite;
use crate::id::{DomainId, ReplicaId};
use crate::record;
use minicbor::{Decode, Encode};

const REPLICA_MAGIC: &[u8; 8] = b"PLKREPL1";
const CONFIG_MAGIC: &[u8; 8] = b"PLKCONF1";
/// The longest `replica` or `config` that is read, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 10;
/// The most bytes at which packs may be closed: with their last block and their directory they stay below what is read
/// whole ([`crate::pack::PACK_BYTES_MAX`]).
pub const PACK_TARGET_MAX: u32 = 128 << 20;

/// The longest place of an origin that is kept, in bytes.
pub const ORIGIN_LOCATION_MAX: usize = 4096;

/// `replica`: what is this repository's own and never copied.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Replica {
    /// Its random id.
    #[n(1)]
    pub id: ReplicaId,
    /// When it was made, in seconds since 1970.
    #[n(2)]
    pub created: i64,
    /// A listing of its store shows every put that returned before.
    #[n(3)]
    pub strong_list: bool,
    /// Packs are closed at this length, in bytes.
    #[n(4)]
    pub pack_bytes: u32,
    /// The repository it was cloned from.
    #[n(5)]
    pub origin: Option<ReplicaId>,
    /// Where that was, for people: at most [`ORIGIN_LOCATION_MAX`] bytes. Only next to an origin.
    #[n(6)]
    pub origin_location: Option<String>,
}

/// `config`: what a repository shares with its clones.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Config {
    /// Its domain.
    #[n(1)]
    pub domain: DomainId,
    /// How it is sealed: see [`Suite`].
    #[n(2)]
    suite: u8,
    /// How files are cut: see [`ChunkerKind`].
    #[n(3)]
    chunker: u8,
    /// The shortest chunk that is not the end of a file, in bytes.
    #[n(4)]
    chunk_min: u32,
    /// The length chunks have about on average.
    #[n(5)]
    chunk_avg: u32,
    /// The longest chunk.
    #[n(6)]
    chunk_max: u32,
    /// The zstd level of new blocks; 0 = not compressed.
    #[n(7)]
    pub compression: u8,
    /// Numbers of features that a reader must know; version 1 has none.
    #[n(8)]
    features: Vec<u32>,
    /// When it was made, in seconds since 1970.
    #[n(9)]
    pub created: i64,
}

impl Replica {
    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        record::encode_file(REPLICA_MAGIC, self)
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Decoded<Replica> {
        let replica: Replica = record::decode_file(REPLICA_MAGIC, bytes)?;
        if !(1..=PACK_TARGET_MAX).contains(&replica.pack_bytes) {
            return Err(Malformed("absurd length of packs"));
        }
        if let Some(location) = &replica.origin_location
            && (replica.origin.is_none() || location.len() > ORIGIN_LOCATION_MAX)
        {
            return Err(Malformed("absurd place of an origin"));
        }
        Ok(replica)
    }

    /// What to call the repository that it was cloned from, for people: its place, else its id. `None` when it is no
    /// clone.
    pub fn origin_name(&self) -> Option<String> {
        let origin = self.origin?;
        Some(self.origin_location.clone().unwrap_or_else(|| origin.hex()))
    }
}

impl Config {
    /// A config of version 1.
    pub fn new(
        domain: DomainId,
        suite: Suite,
        chunker: &ChunkerParams,
        compression: u8,
        created: i64,
    ) -> Config {
        Config {
            domain,
            suite: suite as u8,
            chunker: chunker.kind.id(),
            chunk_min: chunker.min,
            chunk_avg: chunker.avg,
            chunk_max: chunker.max,
            compression,
            features: Vec::new(),
            created,
        }
    }

    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        record::encode_file(CONFIG_MAGIC, self)
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Decoded<Config> {
        let config: Config = record::decode_file(CONFIG_MAGIC, bytes)?;
        if config.compression > 22 {
            return Err(Malformed("absurd compression level"));
        }
        Ok(config)
    }

    /// What says that bytes which cannot be decoded are a config all the same, of another version.
    pub fn newer(bytes: &[u8]) -> Option<String> {
        let (magic, record) = bytes.split_first_chunk::<8>()?;
        if magic[..7] == CONFIG_MAGIC[..7] && magic[7].is_ascii_digit() && magic != CONFIG_MAGIC {
            return Some(format!("it is of version {} of the format", char::from(magic[7])));
        }
        // A feature may come with fields of its own.
        let config = minicbor::decode::<Config>(record).ok().filter(|_| magic == CONFIG_MAGIC)?;
        (!config.features.is_empty()).then(|| config.unknown()).flatten()
    }

    /// What this version does not know of it, if there is something.
    pub fn unknown(&self) -> Option<String> {
        if !self.features.is_empty() {
            return Some(format!("it needs features {:?} of a newer version", self.features));
        }
        if Suite::from_u8(self.suite).is_none() {
            return Some(format!("it is sealed by suite {}", self.suite));
        }
        self.chunker().is_none().then(|| format!("it is cut by chunker {}", self.chunker))
    }

    /// How it is sealed.
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_u8(self.suite)
    }

    /// How files are cut.
    pub fn chunker(&self) -> Option<ChunkerParams> {
        let kind = ChunkerKind::from_id(self.chunker)?;
        let params = ChunkerParams { kind, min: self.chunk_min, avg: self.chunk_avg, max: self.chunk_max };
        params.validate().is_ok().then_some(params)
    }
}

/// The chunker parameters as they enter the domain id: kind u8, min, avg, max u32.
pub fn encode_chunker(params: &ChunkerParams) -> Vec<u8> {
    let mut out = vec![params.kind.id()];
    [params.min, params.avg, params.max].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
    out
}
