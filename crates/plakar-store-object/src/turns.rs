//! One put of a name at a time, where the service itself does not see to it that nothing is replaced.

use plakar_store::Name;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Names that somebody in this process is putting.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<HashSet<Name>>,
    given_back: Condvar,
}

/// Held for as long as it is one's turn.
pub struct Turn<'t> {
    turns: &'t Turns,
    name: &'t Name,
}

impl Turns {
    /// Waits until nobody else is putting `name`.
    pub fn take<'t>(&'t self, name: &'t Name) -> Turn<'t> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.given_back.wait_while(taken, |taken| taken.contains(name));
        free.unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        Turn { turns: self, name }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
        self.turns.given_back.notify_all();
    }
}
