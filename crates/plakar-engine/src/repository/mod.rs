//! Repositories: creating one, opening one, and what an open one knows.

mod create;
mod keys;
mod open;
pub mod records;

pub(crate) use create::refuse_unless_empty;
pub use create::{Encryption, Options, PACK_BYTES_DEFAULT, create};
pub use keys::KeySlot;
pub use open::{Locked, Repository, Unlocked};
pub(crate) use open::{PlainRecords, read_record, unfinished};

use plakar_store::Name;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a constant name")
}
