//! Repositories: creating one, opening one, and what an open one knows.

mod create;
mod keys;
mod open;
pub mod records;

pub use create::{Encryption, Options, PACK_BYTES_DEFAULT, create};
pub use keys::KeySlot;
pub use open::{Locked, Repository, Unlocked};

use plakar_store::Name;

fn name(text: &str) -> Name {
    Name::new(text).expect("a constant name")
}
