//! Identifiers: a type for each, so that they cannot be confused.

use std::fmt;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The identifier as lower-case hexadecimal digits.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads what [`hex`](Self::hex) wrote.
            pub fn from_hex(text: &str) -> Option<Self> {
                unhex(text).map(Self)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?.try_into();
                bytes.map($name).map_err(|_| minicbor::decode::Error::message("identifier of a wrong length"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.hex()[..8])
            }
        }
    };
}

id_type!(
    /// Names a chunk: keyed BLAKE3 of its plaintext under the domain's chunk key.
    ChunkId, 32);
id_type!(
    /// Names a node: keyed BLAKE3 of its bytes under the domain's node key.
    NodeId, 32);
id_type!(
    /// Names a stored object (a pack, a segment, a log object): BLAKE3 of its bytes as stored.
    ObjectHash, 32);
id_type!(
    /// A repository of its own: random, never copied; a clone mints its own.
    ReplicaId, 16);
id_type!(
    /// What repositories share that cut, name and seal alike.
    DomainId, 16);
id_type!(
    /// One writer's run towards exactly one publication: random.
    SessionId, 16);
id_type!(
    /// Whoever writes: random, kept by a client for a repository.
    WriterId, 16);
id_type!(
    /// One epoch of seal keys.
    EpochId, 8);

impl SessionId {
    /// A new one.
    pub fn random() -> SessionId {
        SessionId(crate::crypto::random())
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Reads exactly `N` bytes of lower-case hexadecimal digits.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (o, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *o = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}
