//! Facts: the small immutable statements that a log is made of.
//!
//! Each is a record ([`crate::record`]); a stored log object holds a list of them. What follows from them together,
//! in whatever order and however often they are met, is [`crate::protocol`]'s to say.

use crate::id::{NodeId, ObjectHash, SessionId};
use crate::tree::{Subtree, Time, Totals};
use minicbor::{Decode, Encode};

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Fact {
    /// What a session pins, has stored, and is about to publish.
    #[n(1)]
    Prepared(#[n(0)] Box<Prepared>),
    /// A session is published.
    #[n(2)]
    Final(#[n(0)] SessionId),
    /// Packs that a gc is about to delete, and sessions it takes for dead.
    #[n(3)]
    Mark(#[n(0)] Mark),
    /// The packs of a mark are gone, the sessions it revokes void.
    #[n(4)]
    Dead(#[n(0)] MarkId),
    /// A publication is removed.
    #[n(5)]
    Removed(#[n(0)] SessionId),
    /// A copy that cannot be read: to be tried last and never counted.
    #[n(6)]
    Bad(#[n(0)] Bad),
    /// Says again, in one object, what others said.
    #[n(7)]
    Checkpoint(#[n(0)] Box<Checkpoint>),
}

/// Names a mark: random.
pub type MarkId = SessionId;

/// See [`Fact::Prepared`]. A session has several: what they say adds up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Prepared {
    /// The session.
    #[n(1)]
    pub session: SessionId,
    /// Sessions whose publications (or partial roots) must stay whole until this one has ended.
    #[n(2)]
    pub pins: Vec<SessionId>,
    /// Packs it has stored since its last Prepared.
    #[n(3)]
    pub packs: Vec<ObjectHash>,
    /// Index segments for them.
    #[n(4)]
    pub segments: Vec<SegmentRef>,
    /// What it publishes, in its last Prepared.
    #[n(5)]
    pub row: Option<Row>,
    /// How far it is, in those before.
    #[n(6)]
    pub partial: Option<Partial>,
}

/// Where an index segment is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SegmentRef {
    /// A stored object.
    #[n(1)]
    Stored(#[n(0)] ObjectHash),
    /// Here.
    #[n(2)]
    Embedded(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

impl SegmentRef {
    /// The hash of the segment's bytes, which tells segments apart wherever they are.
    pub fn hash(&self) -> ObjectHash {
        match self {
            SegmentRef::Stored(hash) => *hash,
            SegmentRef::Embedded(bytes) => ObjectHash(*blake3::hash(bytes).as_bytes()),
        }
    }
}

/// What an unfinished session has captured so far.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Partial {
    /// The root of a tree that holds what was captured.
    #[n(1)]
    pub root: Subtree,
    /// A digest of host and roots: who may go on from here.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub source: [u8; 32],
}

/// A snapshot: what a publication makes visible.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Row {
    /// Its name: a random (version 4) UUID, kept by clone and sync.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub uuid: [u8; 16],
    /// Its tree: the directory `/` that holds the roots and the way to them.
    #[n(2)]
    pub root: Subtree,
    /// When the push began, by the client's clock.
    #[n(3)]
    pub created: Time,
    /// How long it took, in milliseconds.
    #[n(4)]
    pub took_ms: u64,
    /// The machine pushed from.
    #[n(5)]
    pub host: String,
    /// Who pushed.
    #[n(6)]
    pub user: String,
    /// The command that was given, its words joined by spaces.
    #[n(7)]
    pub command: String,
    /// The roots as they were typed, made absolute.
    #[cbor(n(8))]
    pub roots: Vec<Path>,
    /// What its owner calls it.
    #[n(9)]
    pub tags: Vec<String>,
    /// Snapshots that it was compared with.
    #[cbor(n(10))]
    pub parents: Vec<Uuid>,
    /// The program that wrote it.
    #[n(11)]
    pub tool: String,
    /// The digest of the row it was made from, when it came from another domain.
    #[n(12)]
    pub origin: Option<Digest>,
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub $inner);
    };
}

bytes_newtype!(
    /// A path: any bytes.
    Path, Vec<u8>);
bytes_newtype!(
    /// The UUID of a snapshot.
    Uuid, [u8; 16]);
bytes_newtype!(
    /// The keyed digest of a row.
    Digest, [u8; 32]);

/// See [`Fact::Mark`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mark {
    /// Its name.
    #[n(1)]
    pub id: MarkId,
    /// The packs.
    #[n(2)]
    pub packs: Vec<ObjectHash>,
    /// The sessions.
    #[n(3)]
    pub revokes: Vec<SessionId>,
}

/// See [`Fact::Bad`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Bad {
    /// The pack.
    #[n(1)]
    pub pack: ObjectHash,
    /// Where the sealed block begins in it.
    #[n(2)]
    pub offset: u32,
}

/// See [`Fact::Checkpoint`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Checkpoint {
    /// The log objects it stands for, by the hash in their names.
    #[n(1)]
    pub covers: Vec<ObjectHash>,
    /// Publications, each with when this store received it.
    #[n(2)]
    pub published: Vec<Published>,
    /// Removed publications.
    #[n(3)]
    pub removed: Vec<SessionId>,
    /// Packs that are dead.
    #[n(4)]
    pub dead: Vec<ObjectHash>,
    /// Sessions that are void.
    #[n(5)]
    pub void: Vec<SessionId>,
    /// Marks that are dead.
    #[n(6)]
    pub marks: Vec<MarkId>,
    /// Copies that cannot be read.
    #[n(7)]
    pub bad: Vec<Bad>,
    /// Segments that list all that the covered ones list, dead packs left out; the packs they name are announced.
    #[n(8)]
    pub segments: Vec<SegmentRef>,
    /// Segments that were merged into others and need not be read any more, whoever names them: what they list, dead packs
    /// left out, stands in segments of checkpoints.
    #[n(9)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub merged: Vec<ObjectHash>,
}

/// One publication in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Published {
    /// The session that published it.
    #[n(1)]
    pub session: SessionId,
    /// The snapshot; none for a session that only stored something (a rescue, a heal).
    #[n(2)]
    pub row: Option<Row>,
    /// When this store received it, in milliseconds since 1970.
    #[n(3)]
    pub received_ms: i64,
}

impl Row {
    /// The digest of a row: what tells two snapshots with one UUID apart.
    pub fn digest(&self, keys: &crate::crypto::DomainKeys) -> Digest {
        Digest(keys.row_digest(&crate::record::encode(self)))
    }

    /// Its UUID in the usual form.
    pub fn uuid_text(&self) -> String {
        uuid_text(&self.uuid)
    }
}

/// A UUID in the usual form: 8-4-4-4-12 hexadecimal digits.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex = crate::id::hex(uuid);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A random UUID (version 4).
pub fn random_uuid() -> [u8; 16] {
    let mut uuid = crate::crypto::random::<16>();
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

// Trees are encoded by hand elsewhere; here they are records.
impl<C> Encode<C> for Subtree {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(5)?;
        NodeId::encode(&self.node, e, c)?;
        let t = &self.totals;
        for n in [t.directories, t.files, t.bytes, t.errors] {
            e.u64(n)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Subtree {
    fn decode(d: &mut minicbor::Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(5) {
            return Err(minicbor::decode::Error::message("a subtree has five parts"));
        }
        let node = NodeId::decode(d, c)?;
        let totals = Totals { directories: d.u64()?, files: d.u64()?, bytes: d.u64()?, errors: d.u64()? };
        Ok(Subtree { node, totals })
    }
}

impl<C> Encode<C> for Time {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.i64(self.secs)?.u32(self.nanos)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Time {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a time has two parts"));
        }
        let time = Time { secs: d.i64()?, nanos: d.u32()? };
        if time.nanos > 999_999_999 {
            return Err(minicbor::decode::Error::message("absurd time"));
        }
        Ok(time)
    }
}
