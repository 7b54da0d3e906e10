//! Which folders a barrier has to flush: for stores that keep objects as files in folders.

use std::collections::BTreeSet;

/// The folders that the next barrier must flush. The root is the empty path.
#[derive(Debug, Default)]
pub struct Touched {
    touched: BTreeSet<String>,
    /// Folders whose own names, up to the root, are durable: those above need no flush any more.
    anchored: BTreeSet<String>,
}

impl Touched {
    /// Notes that something was named, removed or seen in `path`. The folder itself may have been made a moment
    /// ago, by this process or another, so the first time all folders above it count as touched too.
    pub fn touch(&mut self, path: &str) {
        if !self.anchored.contains(path) {
            for (slash, _) in path.match_indices('/') {
                self.touched.insert(path[..slash].to_owned());
            }
            self.touched.insert(String::new());
        }
        self.touched.insert(path.to_owned());
    }

    /// What is to be flushed now. What is touched from here on is for the next barrier.
    pub fn take(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// What was taken was not flushed.
    pub fn give_back(&mut self, folders: &BTreeSet<String>) {
        self.touched.extend(folders.iter().cloned());
    }

    /// What was taken was flushed.
    pub fn flushed(&mut self, folders: BTreeSet<String>) {
        self.anchored.extend(folders);
    }
}
