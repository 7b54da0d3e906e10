//! What a repository is and everything done to it.

pub mod block;
pub mod check;
pub mod chunker;
pub mod cleanup;
pub mod clone;
pub mod codec;
pub mod crypto;
mod error;
pub mod heal;
pub mod id;
pub mod index;
pub mod log;
pub mod pack;
pub mod protocol;
pub mod push;
pub mod read;
pub mod record;
pub mod repair;
pub mod repository;
pub mod retention;
pub mod source;
pub mod sync;
pub mod tree;
pub mod undelete;
pub mod write;

pub use error::{Error, Result, Unfinished};
