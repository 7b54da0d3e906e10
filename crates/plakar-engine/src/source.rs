//! What a push reads from: the engine's view of a tree that is being captured.
//!
//! The engine does not know how files are captured. It asks a [`Source`] for one item after another, in
//! *tree order*: a directory before what it holds, the entries of a directory by name (as bytes), a
//! directory's whole subtree at its place among its siblings. For each leaf it decides whether what it
//! already has will do, and only if not asks for the rest: extended attributes, link target, content.

use crate::tree::{Device, Kind, Meta, Time};
use std::io;

/// One directory entry as a walk saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The last component of its path, as bytes; the root of a source has an empty one.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Mode, owners, modification time.
    pub meta: Meta,
    /// Length in bytes of a regular file as the walk saw it; 0 for everything else.
    pub size: u64,
    /// For device nodes.
    pub device: Device,
    /// A value that changes whenever the entry may have changed in a way that size and modification
    /// time do not show (made of ctime, inode number, device); 0 = not known, never trust it. Kept in
    /// local hints, never in a repository.
    pub fingerprint: u64,
    /// Two entries of one source bear the same non-zero value exactly when they are the same file
    /// under two names; 0 when the file has one name only. Stays inside one run.
    pub same_file: u64,
    /// Fewer bytes are allocated than the file is long.
    pub sparse: bool,
    /// Reached only on the way to a root that was asked for: its other entries are not captured.
    pub ancestor: bool,
}

/// What comes next in tree order.
#[derive(Debug)]
pub enum Event {
    /// A directory begins; what follows up to the matching `Leave` lies in it.
    Enter(Item),
    /// The directory entered last and not yet left is over. `unreadable` tells why its entries could not all be listed.
    Leave {
        /// Why the listing is not whole, if it is not.
        unreadable: Option<io::Error>,
    },
    /// Anything but a directory.
    Leaf(Item),
    /// An entry of which nothing but the name could be learned. (One that vanished while its directory was
    /// being listed is left out altogether.)
    Failed {
        /// The last component of its path.
        name: Vec<u8>,
        /// Why.
        error: io::Error,
    },
}

/// What an item has besides what the walk saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Extras {
    /// Extended attributes (ACLs and capabilities are extended attributes), by name, sorted.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where a symbolic link points; empty for everything else.
    pub target: Vec<u8>,
}

/// A source of items in tree order.
pub trait Source {
    /// The next event; `None` after the last. A root, and everything beneath it, comes inside the
    /// `Enter` and `Leave` of its ancestors, beginning with `/` (an `Enter` with an empty name).
    fn next(&mut self) -> Option<Event>;

    /// The path of the item of the last event, for messages.
    fn path(&self) -> Vec<u8>;

    /// Extended attributes and link target of the item of the last `Enter` or `Leaf`.
    fn extras(&mut self) -> io::Result<Extras>;

    /// Opens the regular file of the last `Leaf` for reading. Fails when by now something else lies
    /// there (a fifo put in its place is never waited for).
    fn open(&mut self) -> io::Result<Box<dyn Content + '_>>;

    /// Asked once, after the last event and before anything is published: whether that was all. If not, nothing is
    /// published. For sources that learn only at their end whether what they yielded is of any use.
    ///
    /// # Errors
    /// Why not, in a sentence for the user.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes, read front to back.
pub trait Bytes {
    /// Reads into `buf`, as `std::io::Read` does: 0 means the end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// If a hole of at least `min` bytes begins exactly where the next `read` would, moves past it and
    /// returns its length; else 0. A hole never reaches past the end of the file.
    fn skip_hole(&mut self, min: u64) -> io::Result<u64>;
}

/// The content of one file.
pub trait Content: Bytes {
    /// Starts again from the first byte, with the file as it is now.
    fn rewind(&mut self) -> io::Result<()>;

    /// Looks at the file again: its item as it is now, with `None` when size, modification or change time differ from
    /// what they were when it was opened or last rewound (it changed while it was read).
    fn settled(&mut self) -> io::Result<Option<Item>>;

    /// The item as it is now, changed or not.
    fn item(&mut self) -> io::Result<Item>;
}

/// A point in time that never was: for items that have none.
pub const NO_TIME: Time = Time { secs: 0, nanos: 0 };
