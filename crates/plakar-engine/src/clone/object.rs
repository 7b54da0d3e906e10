//! The kinds of object that a clone copies: where they are, how long they may be, what proves them without a key.

use crate::crypto::keyring::KEYRING_BYTES_MAX;
use crate::crypto::slot::{SLOT_BYTES_MAX, Slot};
use crate::error::Result;
use crate::id::ObjectHash;
use crate::index::segment::segment_name;
use crate::log::object::{LOG_BYTES_MAX, hash_in_name};
use crate::pack::{PACK_BYTES_MAX, pack_name};
use plakar_store::{Name, ReadStore};
use std::collections::BTreeSet;

/// The longest index segment that is copied, in bytes: it is read whole. Merged ones have about 30 MiB.
pub const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// A kind of object, by the folder it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Admin,
    Log,
    Keyring,
    Slot,
    Segment,
    Pack,
}

/// The name under which a copy notes that an object was damaged at the source when it was copied. There is nothing in it.
///
/// Damage shows neither in a length nor in a name, and to read all of a copy at each update would cost too much: so an
/// update looks at those objects that are noted.
pub fn note_of(name: &Name) -> Option<Name> {
    Name::new(&format!("{NOTES}{name}"))
}

/// What the names of notes begin with.
const NOTES: &str = "damaged/";

/// The objects that are noted at a copy.
pub fn noted(store: &dyn ReadStore) -> Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    store.list(NOTES, &mut |note| {
        let name = note.name.as_str().strip_prefix(NOTES).and_then(Name::new);
        names.extend(name.filter(|name| Kind::of(name).is_some()));
        Ok(())
    })?;
    Ok(names)
}

impl Kind {
    /// All of them, in the order in which a source is listed.
    pub const ALL: [Kind; 6] = [Kind::Admin, Kind::Log, Kind::Keyring, Kind::Slot, Kind::Segment, Kind::Pack];

    /// What the names of such objects begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Admin => "admin/",
            Kind::Log => "log/",
            Kind::Keyring => "keyring/",
            Kind::Slot => "keys/",
            Kind::Segment => "index/",
            Kind::Pack => "packs/",
        }
    }

    /// The folder they are in.
    pub fn folder(self) -> &'static str {
        self.prefix().trim_end_matches('/')
    }

    /// The kind of the object with this name, if it is one that is copied.
    pub fn of(name: &Name) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| name.as_str().starts_with(kind.prefix()))
    }

    /// The most bytes that are read of one.
    pub fn bytes_max(self) -> usize {
        match self {
            Kind::Admin | Kind::Log => LOG_BYTES_MAX,
            Kind::Keyring => KEYRING_BYTES_MAX,
            Kind::Slot => SLOT_BYTES_MAX,
            Kind::Segment => SEGMENT_BYTES_MAX,
            Kind::Pack => PACK_BYTES_MAX,
        }
    }

    /// What is wrong with `bytes` under this name, as far as shows without a key.
    ///
    /// All but key slots are named by their hash. A slot has a checksum, which finds damage, not malice.
    pub fn refute(self, name: &Name, bytes: &[u8]) -> Option<&'static str> {
        if self == Kind::Slot {
            return Slot::decode(bytes, name.as_str()).is_err().then_some("is not a whole key slot");
        }
        let hash = ObjectHash(*blake3::hash(bytes).as_bytes());
        let right = match self {
            Kind::Pack => *name == pack_name(&hash),
            Kind::Segment => *name == segment_name(&hash),
            Kind::Keyring => name.as_str().strip_prefix(self.prefix()) == Some(&hash.hex()),
            Kind::Admin | Kind::Log | Kind::Slot => hash_in_name(name) == Some(hash),
        };
        (!right).then_some("its bytes do not hash to its name")
    }
}
