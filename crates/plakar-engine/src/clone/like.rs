//! An empty repository like another.

use super::object::Kind;
use super::{CloneOptions, is_encrypted, pack_bytes};
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::id::ReplicaId;
use crate::repository::records::Replica;
use crate::repository::{PlainRecords, name, refuse_unless_empty};
use plakar_store::{ReadStore, Store};

/// Makes an empty repository in the domain of `source`, in an empty store and without any key: the same passphrases
/// open it, and sealed bytes move between the two as they are. It is no clone: it has no origin.
///
/// # Errors
/// As [`create`](crate::repository::create) for `destination`, and as opening it would for `source`. [`Error::Damaged`]
/// when a keyring or a key slot of the source is not whole: nobody should have to find out later which passphrase
/// still opens the new one. After an error the store holds at most an unfinished repository.
pub fn create_like(source: &dyn ReadStore, destination: &dyn Store, options: &CloneOptions) -> Result<()> {
    let like = PlainRecords::read(source)?;
    let pack_bytes = pack_bytes(options.pack_bytes, &like.replica)?;
    refuse_unless_empty(destination)?;
    let replica = Replica {
        id: ReplicaId(random()),
        created: options.now,
        strong_list: destination.capabilities().strong_list,
        pack_bytes,
        origin: None,
        origin_location: None,
    };
    destination.put(&name("replica"), &[&replica.encode()])?;
    destination.barrier()?;
    for (kind, none) in [(Kind::Keyring, "there is no keyring"), (Kind::Slot, "there is no key slot")] {
        let names = super::listing::list(source, kind)?;
        if names.is_empty() && is_encrypted(&like) {
            return Err(Error::damaged(kind.prefix(), none));
        }
        for name in names.keys() {
            let bytes = source.get(name, kind.bytes_max())?;
            if let Some(wrong) = kind.refute(name, &bytes) {
                return Err(Error::damaged(name, wrong));
            }
            destination.put(name, &[&bytes])?;
        }
    }
    destination.barrier()?;
    destination.put(&name("config"), &[&like.config_bytes])?;
    destination.barrier()?;
    Ok(())
}
