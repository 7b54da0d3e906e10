//! A real S3 server for tests: `s3s-fs`, which proves signatures, over a folder, in this process, on a port of its own.
//!
//! A bucket is a folder. What can go wrong with a server can be planned: see [`Fault`]. Used from tests only.

mod buckets;
mod fault;
mod serve;

pub use fault::Fault;
pub use serve::{ACCESS_KEY, Asked, SECRET_KEY, Server};
