//! How long a store that is elsewhere is waited for, and when it is tried again.

use crate::Bandwidth;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// How long is waited for a store that is elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// An answer, or the next piece of one, comes within so long.
    pub idle: Duration,
    /// What was cut off is asked again for so long after that.
    pub retries: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { idle: Duration::from_secs(120), retries: Duration::from_secs(90) }
    }
}

/// How the line to a store that is elsewhere is used. The default is as fast as it goes, with the usual patience.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// How fast.
    pub bandwidth: Bandwidth,
    /// How long is waited for the other end.
    pub patience: Patience,
}

/// The first wait before something is tried again, which doubles each time,
const WAIT_MIN: Duration = Duration::from_millis(100);
/// up to this.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Whoever is asked again has at least so long to say that it is there: less would be no attempt.
const ATTEMPT_MIN: Duration = Duration::from_secs(5);

/// The attempts at one thing: when it failed first, how long to wait before the next, and when to give up.
#[derive(Debug)]
pub struct Tries {
    patience: Patience,
    /// When it failed first.
    since: Option<Instant>,
    wait: Duration,
}

impl Tries {
    /// Nothing was tried yet.
    pub fn new(patience: Patience) -> Tries {
        Tries { patience, since: None, wait: WAIT_MIN }
    }

    /// Whether an attempt failed: it may have been done all the same.
    pub fn failed(&self) -> bool {
        self.since.is_some()
    }

    /// An attempt failed: how long to wait before the next. `None` if it was tried for long enough.
    pub fn again(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // Many who were cut off at once are not to come back at once.
        let wait = self.wait / 2 + self.wait.mul_f64(random());
        if since.elapsed() + wait > self.patience.retries {
            return None;
        }
        self.wait = (self.wait * 2).min(WAIT_MAX);
        Some(wait)
    }

    /// When an attempt that begins now must have shown that somebody is there at all, once one has failed: whoever waits
    /// for so long is not to wait as long again for somebody who takes a connection and says nothing.
    pub fn deadline(&self) -> Option<Instant> {
        let end = self.since? + self.patience.retries;
        Some(end.max(Instant::now() + ATTEMPT_MIN))
    }
}

/// From 0 up to 1. Nothing depends on how random it is.
fn random() -> f64 {
    let hash = RandomState::new().build_hasher().finish();
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut tries = Tries::new(Patience { retries: Duration::from_secs(1), ..Patience::default() });
        assert!(!tries.failed() && tries.deadline().is_none());
        let first = tries.again().unwrap();
        let second = tries.again().unwrap();
        assert!((50..=150).contains(&first.as_millis()) && (100..=300).contains(&second.as_millis()));
        assert!(tries.failed() && tries.deadline().unwrap() > Instant::now() + ATTEMPT_MIN / 2);
        let count = (0..100).take_while(|_| tries.again().is_some()).count();
        assert!(count < 5, "{count}");
    }

    #[test]
    fn whoever_has_much_patience_gives_an_attempt_what_is_left_of_it() {
        let minute = Duration::from_secs(60);
        let mut tries = Tries::new(Patience { retries: minute, ..Patience::default() });
        let before = Instant::now();
        tries.again().unwrap();
        let deadline = tries.deadline().unwrap();
        assert!(deadline >= before + minute && deadline <= Instant::now() + minute);
    }
}
