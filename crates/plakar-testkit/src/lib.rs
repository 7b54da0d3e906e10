//! Helpers for tests.

pub mod fuzz;
pub mod samples;
