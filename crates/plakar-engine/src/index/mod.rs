//! The index: where each chunk and node lies.
//!
//! An index is only ever a cache of pack directories. It consists of immutable sorted [`segment`]s; which
//! ones count is told by the log. It is a multimap: the same id may be listed several times (two writers,
//! heals), and a lookup yields all places. Nothing is ever deleted from it: a place in a pack that is dead is
//! passed over.

mod filter;
mod reader;
mod row;
pub mod segment;

pub use reader::{Index, Place};
pub use row::{ID_PREFIX_LEN, IndexRow};
