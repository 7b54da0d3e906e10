//! Helpers for tests.

pub mod fuzz;
pub mod samples;
pub mod source;
pub mod syncing;
pub mod world;
