//! Stores: flat sets of named, immutable byte objects.
//!
//! A repository asks little of the place that keeps it: put whole objects, read ranges of them, list
//! names by prefix, delete, and a [`barrier`](Store::barrier) that makes everything before it durable.
//! That is the whole contract, so that a folder, a database file, an object store or a server can
//! keep a repository alike, and so that a wrapper which counts, fails or delays is a store too.
//!
//! What a store must do (a repository loses data on one that does not):
//!
//! 1. An object is there whole or not at all; nobody ever reads a part of one that is being put.
//! 2. After [`barrier`](Store::barrier) returned, every object put before it survives a power cut, as far as whoever
//!    asked for it put it or saw it in a listing, or it lies in no folder: whoever builds on what others put has it
//!    durable with its own. (A store behind somebody who cannot flush says so: [`weakness`](Store::weakness).)
//! 3. [`list`](ReadStore::list) shows every object whose `put` returned before the listing began and
//!    that was not deleted since.
//! 4. Putting the same bytes under the same name again is harmless; putting other bytes changes nothing
//!    and says so.
//!
//! What a store is not: a file system (no renaming, no appending, no directories), a lock service, or
//! a clock that anybody relies on. No conditional put is needed anywhere. A store need not be able to keep
//! an object whose name is a folder of another's (`a` beside `a/b`); a repository has none.
//!
//! A store that is only read is handed around as [`ReadStore`]: code that holds one cannot write.

mod conformance;
mod dir;
mod error;
mod memory;
mod model;
mod moment;
mod name;
mod pace;
mod patience;
mod temporary;
mod touched;
pub mod wrap;

pub use conformance::conformance;
pub use dir::DirStore;
pub use error::{Error, ErrorKind, Result};
pub use memory::MemoryStore;
pub use model::answers_as_memory_does;
pub use moment::{AT_ONE_MOMENT_MAX, at_one_moment};
pub use name::Name;
pub use pace::{Bandwidth, Pace};
pub use patience::{Line, Patience, Silence, Tries};
pub use temporary::{TEMPORARY_PREFIX, is_temporary};
pub use touched::Touched;

/// What a listing says of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The object's name.
    pub name: Name,
    /// Its length in bytes.
    pub len: u64,
    /// When the store received it, in milliseconds since 1970 by the store's own clock; for people
    /// and for retention, never for safety.
    pub received_ms: i64,
}

/// A range of an object, for [`ReadStore::get_ranges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The object.
    pub name: Name,
    /// Where the range begins in it.
    pub offset: u64,
    /// Its length in bytes.
    pub len: usize,
}

/// What a store promises beyond the contract, and what it takes from this client: told to people and kept in a repository's `replica`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Rule 3 holds. A store that cannot promise it is refused by what needs it.
    pub strong_list: bool,
    /// An open object stays readable at no cost per request (a local file): ranges may be small.
    pub local: bool,
    /// This client may add no more than what pushes and syncs store, or nothing at all: it is refused `delete`, and
    /// what is in `admin/`.
    pub append_only: bool,
}

/// The reading half of a store.
pub trait ReadStore: Send + Sync {
    /// `len` bytes of the object from `offset`. Fewer bytes than asked for are an error
    /// ([`ErrorKind::Short`]), so a caller never mistakes a truncated object for a whole one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such object; others as the store meets them.
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// Several ranges, asked for together: far away that is one round trip instead of many. Answers come in the
    /// order of `ranges`, each for itself: one that fails is as [`get_range`](Self::get_range) fails.
    fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
        ranges.iter().map(|range| self.get_range(&range.name, range.offset, range.len)).collect()
    }

    /// The whole object, refused with [`ErrorKind::TooLarge`] when it is longer than `max` bytes, so
    /// that a hostile store cannot make a reader allocate without end.
    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>>;

    /// As [`get`](Self::get), into memory that is there already: what was in `bytes` gives way. After an error it holds
    /// anything. For whoever reads one large object after another.
    fn get_into(&self, name: &Name, max: usize, bytes: &mut Vec<u8>) -> Result<()> {
        *bytes = self.get(name, max)?;
        Ok(())
    }

    /// The object's length in bytes.
    fn len(&self, name: &Name) -> Result<u64>;

    /// Calls `each` for every object whose name begins with `prefix` (as text: `packs/00` and
    /// `packs/` are both prefixes), in any order. Stops at the first error, including one from `each`.
    /// A prefix that nothing bears lists nothing. What is not an object of the store (a stray file, an
    /// unfinished put) is not shown.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()>;

    /// What lies under these prefixes at one moment, sorted by name ([`at_one_moment`]), from a store that can tell in one
    /// request; others answer `None`, and are listed as often as it takes. `known` is what an earlier answer was, or
    /// nothing: what has not changed since need not be sent again.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn list_at_once(&self, _prefixes: &[&str], _known: &[Listed]) -> Result<Option<Vec<Listed>>> {
        Ok(None)
    }

    /// What was read turned out not to be what was stored. A store that keeps what it reads forgets it then, and reads
    /// past it from now on. Whether it may be worth reading again.
    fn doubt(&self) -> bool {
        false
    }

    /// What this store promises beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// Where the store is, for messages: a path or a URL without secrets, on one line.
    fn location(&self) -> String;
}

/// An object on its way into a store, of which nobody sees anything before it is finished. One that is dropped leaves
/// nothing; after an error that is all that can be done with it.
pub trait Draft: Send {
    /// Adds bytes to those before.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when there are more now than were told when it was begun, [`ErrorKind::Full`] when there is
    /// no room; others as the store meets them.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Gives the object its name. That its bytes are what they should be is known to whoever calls this. Durable as
    /// after [`put`](Store::put).
    ///
    /// # Errors
    /// [`ErrorKind::Short`] when there are fewer bytes than were told: nothing was changed; else as [`put`](Store::put).
    /// What could not be flushed is such an error as well ([`ErrorKind::Io`]): nobody has the bytes any more to write them
    /// anew, so whoever has them puts them again.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A store that can also be written.
pub trait Store: ReadStore {
    /// Stores the concatenation of `parts` under `name`. Durable when it returns or at the next
    /// [`barrier`](Store::barrier). Putting the same bytes again is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when `name` holds other bytes, were it only because a disk damaged them:
    /// nothing was changed. [`ErrorKind::Full`] when there is no room. After any error but `Exists` the
    /// object may be there whole or not at all; putting it again settles it.
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()>;

    /// Begins an object of `len` bytes that comes in pieces, so that nobody holds all of it in memory. A store that
    /// cannot take pieces answers `None`, and is given the whole by [`put`](Store::put). A store made of another one
    /// passes this on only if all that it does to a put it does to a draft as well.
    ///
    /// # Errors
    /// As the store meets them. Nothing was changed.
    fn draft(&self, _name: &Name, _len: u64) -> Result<Option<Box<dyn Draft>>> {
        Ok(None)
    }

    /// Removes an object. One that is not there is not an error.
    fn delete(&self, name: &Name) -> Result<()>;

    /// Returns once everything put before would survive a power cut: by this client, and by others as far as it was
    /// listed here or lies in no folder.
    ///
    /// # Errors
    /// After an error nothing put since the last successful barrier may be relied on.
    fn barrier(&self) -> Result<()>;

    /// Why the second rule does not hold here, where what keeps the objects cannot be asked to flush them: in words, to be
    /// told to whoever writes.
    fn weakness(&self) -> Option<String> {
        None
    }
}
