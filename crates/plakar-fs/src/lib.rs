//! Capture of file systems, and what a safe restore is made of.
//!
//! [`Walk`] is the engine's source for files and directories of this machine; [`target`] creates what a
//! snapshot holds beneath a directory, and nowhere else.
//!
//! Both work through directory handles and single names. Names are bytes, paths may be longer than the
//! kernel takes in one call, and no link is followed except where the user typed one. Linux only; some
//! of it needs `/proc`.

pub mod restore;
pub mod target;

mod ahead;
mod content;
mod exclude;
mod leaving;
mod lister;
mod meta;
mod open;
mod owners;
mod roots;
mod walk;
mod xattr;

pub use exclude::{Besides, Excludes};
pub use owners::Owners;
pub use roots::{RootsError, absolute};
pub use walk::Walk;
