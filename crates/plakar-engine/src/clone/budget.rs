//! A bound on the bytes that threads hold at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that may be held, by all threads together.
pub struct Budget {
    max: u64,
    held: Mutex<u64>,
    freed: Condvar,
}

/// Bytes taken from a budget; given back when this is dropped.
pub struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// At most `max` bytes at once.
    pub fn new(max: u64) -> Budget {
        Budget { max, held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` more may be held. What is longer than the whole budget may be held alone.
    pub fn take(&self, bytes: u64) -> Share<'_> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while *held > 0 && held.saturating_add(bytes) > self.max {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held = held.saturating_add(bytes);
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_sub(self.bytes);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn no_more_is_held_than_the_budget_or_one_that_is_longer() {
        let (budget, now, most) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0));
        let work = |bytes: u64| {
            for _ in 0..200 {
                let share = budget.take(bytes);
                let held = now.fetch_add(bytes, SeqCst) + bytes;
                assert!(held <= 100 || held == bytes, "{held}");
                most.fetch_max(held, SeqCst);
                std::thread::yield_now();
                now.fetch_sub(bytes, SeqCst);
                drop(share);
            }
        };
        std::thread::scope(|scope| {
            for bytes in [30, 40, 60, 250] {
                scope.spawn(move || work(bytes));
            }
        });
        assert_eq!(most.load(SeqCst), 250, "what is longer than the budget goes alone");
    }

    #[test]
    fn a_hostile_length_does_not_overflow() {
        let budget = Budget::new(10);
        drop(budget.take(u64::MAX));
        drop(budget.take(10));
        assert_eq!(*budget.held.lock().unwrap(), 0);
    }
}
