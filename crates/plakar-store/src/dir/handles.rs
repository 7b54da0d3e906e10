//! Open files, kept because a restore reads many ranges of few packs.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Name;

/// How many files are kept open: well under the usual limit of 1024, for several stores at a time.
const HANDLES_MAX: usize = 64;

/// The files used last.
#[derive(Debug, Default)]
pub struct Handles {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Name, (Arc<File>, u64)>,
    clock: u64,
}

impl Handles {
    /// The open file of that name and its length, unless it is gone from the folder: another process may
    /// have removed a damaged object and put the right one.
    pub fn get(&self, name: &Name) -> Option<(Arc<File>, u64)> {
        let file = {
            let mut state = self.lock();
            state.clock += 1;
            let clock = state.clock;
            let (file, used) = state.open.get_mut(name)?;
            *used = clock;
            file.clone()
        };
        match file.metadata() {
            Ok(metadata) if metadata.nlink() > 0 => Some((file, metadata.len())),
            _ => {
                self.forget(name);
                None
            }
        }
    }

    /// Keeps an open file, and drops the one that was not used for longest when there are too many.
    pub fn keep(&self, name: &Name, file: &Arc<File>) {
        let mut state = self.lock();
        state.clock += 1;
        let clock = state.clock;
        state.open.insert(name.clone(), (file.clone(), clock));
        if state.open.len() > HANDLES_MAX {
            let oldest = state.open.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            oldest.and_then(|name| state.open.remove(&name));
        }
    }

    /// Drops the open file of that name.
    pub fn forget(&self, name: &Name) {
        self.lock().open.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_used_last_stay_open() {
        let name = |n: usize| Name::new(&format!("n{n}")).unwrap();
        let file = Arc::new(tempfile::NamedTempFile::new().unwrap());
        let reopened = Arc::new(file.reopen().unwrap());
        let handles = Handles::default();
        for n in 0..HANDLES_MAX {
            handles.keep(&name(n), &reopened);
        }
        assert!(handles.get(&name(0)).is_some());
        handles.keep(&name(HANDLES_MAX), &reopened);
        assert!(handles.get(&name(0)).is_some() && handles.get(&name(1)).is_none());
        drop(file);
        assert!(handles.get(&name(0)).is_none(), "its file is gone");
    }
}
