//! Merkle directories: what a snapshot says of a file tree.
//!
//! A directory is a list of entries by name, cut into pages ([`pages`]); each page is a node ([`node`]), named by
//! the keyed hash of its bytes. An entry of a directory names the node of the directory beneath, so equal
//! trees have equal roots and a difference is found without looking at what is equal. The content of a file is
//! a list of chunks, kept in its entry or in pages of its own ([`object`]).

mod entry;
pub mod node;
pub mod object;
pub mod pages;
mod read;

pub use crate::id::NodeId;
pub use entry::*;
pub use read::{Chunks, Directory, NodeSource, find_path};
