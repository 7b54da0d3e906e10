//! Helpers for tests.

pub mod collecting;
pub mod distant;
pub mod fuzz;
pub mod line;
pub mod samples;
pub mod simulator;
pub mod source;
pub mod stores;
pub mod syncing;
pub mod tidying;
pub mod world;
