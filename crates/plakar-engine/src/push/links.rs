//! Hard links: which names belong to one file.

use std::collections::HashMap;

/// The link groups of the files with several names that this run has met.
#[derive(Default)]
pub struct LinkGroups(HashMap<u64, u64>);

impl LinkGroups {
    /// The group of the file that the walk knows as `same_file`; made by `first` when it is met for the first time.
    pub fn of(&mut self, same_file: u64, first: impl FnOnce() -> u64) -> u64 {
        *self.0.entry(same_file).or_insert_with(first)
    }
}
