//! Creating a repository.

use super::name;
use super::open::{read_record, unfinished};
use super::records::{Config, PACK_TARGET_MAX, Replica, encode_chunker};
use crate::chunker::{ChunkerKind, ChunkerParams};
use crate::crypto::DomainSecret;
use crate::crypto::keyring::{Epoch, Keyring, RepositoryKey};
use crate::crypto::random;
use crate::crypto::seal::Suite;
use crate::crypto::slot::{Cost, Slot};
use crate::error::{Error, Result};
use crate::id::{ReplicaId, hex};
use plakar_store::{ErrorKind, Name, Store};

/// Packs are closed at about this length unless something else is asked for, in bytes.
pub const PACK_BYTES_DEFAULT: u32 = 16 << 20;

/// What a new repository is to be like.
pub struct Options<'a> {
    /// How it is encrypted; `None` = not at all.
    pub encryption: Option<Encryption<'a>>,
    /// How files are cut; `None` = the default for encrypted or unencrypted repositories.
    pub chunker: Option<ChunkerParams>,
    /// The zstd level; 0 = not compressed.
    pub compression: u8,
    /// Packs are closed at about this length, in bytes.
    pub pack_bytes: u32,
    /// Seconds since 1970.
    pub now: i64,
}

/// How a new repository is encrypted.
pub struct Encryption<'a> {
    /// Opens it.
    pub passphrase: &'a [u8],
    /// What the key slot is called.
    pub label: &'a str,
    /// How dear a guess is.
    pub cost: Cost,
}

/// Makes a repository in an empty store: `replica` first, `config` last, so that one whose creation was cut
/// short is known for what it is.
///
/// # Errors
/// [`Error::AlreadyThere`] or [`Error::Unfinished`] when the store holds anything; store errors. After an error the
/// store holds at most an unfinished repository.
pub fn create(store: &dyn Store, options: &Options) -> Result<()> {
    refuse_unless_empty(store)?;
    let kind = if options.encryption.is_some() { ChunkerKind::Prf } else { ChunkerKind::FastCdc };
    let chunker = options.chunker.unwrap_or(ChunkerParams::with_default_sizes(kind));
    chunker.validate().map_err(|e| Error::Refused(e.to_string()))?;
    if !(1..=PACK_TARGET_MAX).contains(&options.pack_bytes) {
        return Err(Error::Refused(format!("packs of {} bytes cannot be made", options.pack_bytes)));
    }
    let replica = Replica {
        id: ReplicaId(random()),
        created: options.now,
        strong_list: store.capabilities().strong_list,
        pack_bytes: options.pack_bytes,
        origin: None,
        origin_location: None,
    };
    store.put(&name("replica"), &[&replica.encode()])?;
    store.barrier()?;

    let secret = match options.encryption {
        Some(_) => DomainSecret::random(),
        None => DomainSecret::public(),
    };
    let domain = secret.id(&encode_chunker(&chunker));
    let suite = if options.encryption.is_some() { Suite::Xaes } else { Suite::Plain };
    let config = Config::new(domain, suite, &chunker, options.compression, options.now).encode();
    if let Some(encryption) = &options.encryption {
        let key = RepositoryKey::random();
        let keyring = Keyring {
            secret: secret.0,
            epochs: vec![Epoch::random(options.now)],
            config_digest: *blake3::hash(&config).as_bytes(),
        };
        let bytes = keyring.seal(&key, domain);
        let keyring_name = format!("keyring/{}", blake3::hash(&bytes).to_hex());
        store.put(&name(&keyring_name), &[&bytes])?;
        let Encryption { passphrase, label, cost } = *encryption;
        let slot = Slot::new(label, options.now, passphrase, cost, &key, domain)?;
        store.put(&slot_name(), &[&slot.encode()])?;
        store.barrier()?;
    }
    store.put(&name("config"), &[&config])?;
    store.barrier()?;
    Ok(())
}

/// A name for a new key slot.
pub(super) fn slot_name() -> Name {
    name(&format!("keys/{}", hex(&random::<8>())))
}

/// Makes sure that a store holds nothing.
///
/// # Errors
/// [`Error::AlreadyThere`], [`Error::Unfinished`]; store errors.
pub(crate) fn refuse_unless_empty(store: &dyn Store) -> Result<()> {
    match store.len(&name("config")) {
        Ok(_) => return Err(Error::AlreadyThere(store.location())),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    if let Some(replica) = read_record(store, "replica")? {
        return Err(unfinished(store.location(), &replica));
    }
    let mut any = false;
    store.list("", &mut |_| {
        any = true;
        Ok(())
    })?;
    if any { Err(Error::AlreadyThere(store.location())) } else { Ok(()) }
}
