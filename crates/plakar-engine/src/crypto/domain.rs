//! The secret of a domain and the keys that follow from it.

use crate::id::{ChunkId, DomainId, NodeId};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The random secret that repositories of one domain share: it decides ids, cut points and pages.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DomainSecret(pub [u8; 32]);

impl DomainSecret {
    /// A new one.
    pub fn random() -> DomainSecret {
        DomainSecret(super::random())
    }

    /// The secret, known to everybody, of repositories without encryption.
    pub fn public() -> DomainSecret {
        DomainSecret(blake3::derive_key("plakar v1 domain secret of unencrypted repositories", b""))
    }

    /// The id of the domain that this secret and these encoded chunker parameters make.
    pub fn id(&self, chunker: &[u8]) -> DomainId {
        let mut hasher = blake3::Hasher::new_derive_key("plakar v1 domain id");
        hasher.update(&self.0).update(chunker);
        DomainId(hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32"))
    }
}

/// The keys of a domain. A key for each purpose, so that the content of a file can never pose as a
/// directory, nor a directory as a fact.
#[derive(Clone, ZeroizeOnDrop)]
pub struct DomainKeys {
    chunk: [u8; 32],
    node: [u8; 32],
    fact: [u8; 32],
    /// The key of the chunker.
    pub chunker: [u8; 32],
    paging: [u8; 32],
    links: [u8; 32],
}

impl DomainKeys {
    /// Derives the keys of the domain with this secret.
    pub fn new(secret: &DomainSecret) -> DomainKeys {
        let key = |context| blake3::derive_key(context, &secret.0);
        DomainKeys {
            chunk: key("plakar v1 chunk ids"),
            node: key("plakar v1 node ids"),
            fact: key("plakar v1 fact digests"),
            chunker: key("plakar v1 chunker"),
            paging: key("plakar v1 paging"),
            links: key("plakar v1 hard link groups"),
        }
    }

    /// The id of a chunk with these bytes.
    pub fn chunk_id(&self, bytes: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk, bytes).as_bytes())
    }

    /// The id of a node with these bytes.
    pub fn node_id(&self, bytes: &[u8]) -> NodeId {
        NodeId(*blake3::keyed_hash(&self.node, bytes).as_bytes())
    }

    /// The digest of an encoded snapshot row.
    pub fn row_digest(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.fact, bytes).as_bytes()
    }

    /// The 64 bits that decide whether a page ends after the item with this key at this level.
    pub fn paging(&self, level: u8, key: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.paging);
        hasher.update(&[level]).update(key);
        first_u64(&hasher)
    }

    /// The hard-link group of the file whose first name in tree order is `path` beneath root number
    /// `root`; never 0.
    pub fn link_group(&self, root: u32, path: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.links);
        hasher.update(&root.to_le_bytes()).update(path);
        first_u64(&hasher).max(1)
    }
}

fn first_u64(hasher: &blake3::Hasher) -> u64 {
    u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("8 of 32"))
}
