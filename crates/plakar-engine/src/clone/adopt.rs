//! A replica id for a copy that ordinary tools made.

use crate::crypto::random;
use crate::error::{Error, Result};
use crate::id::ReplicaId;
use crate::repository::records::Replica;
use crate::repository::{PACK_BYTES_DEFAULT, name, read_record, unfinished};
use plakar_store::Store;

/// Gives the repository in `store` a new random replica id, and returns that. The id it had becomes its origin;
/// everything else stays. Nobody else may write to it meanwhile.
///
/// A store replaces nothing, so `replica` is deleted and put; a repository that is left without one says so when it is
/// opened, and adopting it again mends it. One whose `replica` is damaged is mended as well: what that said of packs and
/// origin is lost.
///
/// # Errors
/// [`Error::NoRepository`], [`Error::Unfinished`]; store errors. After an error the repository has its old id, or the new
/// one, or none: adopt it again.
pub fn adopt(store: &dyn Store, now: i64) -> Result<ReplicaId> {
    let record = match read_record(store, "replica") {
        Err(e) if e.is_damage() => Some(Vec::new()),
        record => record?,
    };
    let config = match read_record(store, "config") {
        // It is there; what is in it, opening will tell.
        Err(e) if e.is_damage() => true,
        config => config?.is_some(),
    };
    match (&record, config) {
        (_, true) => {}
        (Some(bytes), false) => return Err(unfinished(store.location(), bytes)),
        (None, false) => return Err(Error::NoRepository(store.location())),
    }
    let old = record.and_then(|bytes| Replica::decode(&bytes).ok());
    let replica = Replica {
        id: ReplicaId(random()),
        created: now,
        strong_list: store.capabilities().strong_list,
        pack_bytes: old.as_ref().map_or(PACK_BYTES_DEFAULT, |old| old.pack_bytes),
        origin: old.map(|old| old.id),
        origin_location: None,
    };
    let at = name("replica");
    store.delete(&at)?;
    store.put(&at, &[&replica.encode()])?;
    store.barrier()?;
    Ok(replica.id)
}
