//! Writing: how chunks and nodes become durable and a snapshot visible.
//!
//! `pipeline` compresses and seals blocks on several threads and puts packs; `session` is one writer's run:
//! it knows what is stored already, announces what it stored, and follows [`crate::protocol`] to one
//! publication; `fold` keeps log and index short.

mod fold;
mod pipeline;
mod session;

pub(crate) use fold::fold_all;
pub use pipeline::Stored;
pub use session::{Ended, Owner, Session, SessionOptions, mark_bad, remove};
pub(crate) use session::{put_facts, put_segment};
