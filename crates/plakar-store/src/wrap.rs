//! Stores made of other stores: one that counts, one that fails as it is told, one that keeps what it has read. A
//! reference, a box or an [`Arc`](std::sync::Arc) of a store is a store as well.

mod cached;
mod counting;
mod faulty;
mod plan;
mod shared;

pub use cached::Cached;
pub use counting::{Counting, Counts};
pub use faulty::Faulty;
pub use plan::{Fault, Rule};

/// The kinds of request that a store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// [`get_range`](crate::ReadStore::get_range).
    Range,
    /// [`get`](crate::ReadStore::get).
    Get,
    /// [`len`](crate::ReadStore::len).
    Len,
    /// [`list`](crate::ReadStore::list).
    List,
    /// [`put`](crate::Store::put).
    Put,
    /// [`delete`](crate::Store::delete).
    Delete,
    /// [`barrier`](crate::Store::barrier).
    Barrier,
}
