//! How long a store that is elsewhere is waited for, and when it is tried again.

use crate::Bandwidth;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};
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

/// Since when a store does not answer, for all that ask it: whoever comes later waits no longer than who waits already, so
/// that what asks for many things one after the other does not wait for each of them.
#[derive(Debug, Default)]
pub struct Silence(Mutex<Option<Instant>>);

impl Silence {
    /// Nobody was kept waiting.
    pub fn new() -> Silence {
        Silence::default()
    }

    /// Somebody was answered, were it with an error.
    pub fn end(&self) {
        *self.since() = None;
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempts at one thing: since when it fails, how long to wait before the next, and when to give up.
#[derive(Debug)]
pub struct Tries<'s> {
    silence: &'s Silence,
    patience: Patience,
    /// When it failed first, or the silence began in which it did.
    since: Option<Instant>,
    wait: Duration,
}

impl<'s> Tries<'s> {
    /// Nothing was tried yet. All that is asked of a store shares its silence.
    pub fn new(patience: Patience, silence: &'s Silence) -> Tries<'s> {
        Tries { silence, patience, since: None, wait: WAIT_MIN }
    }

    /// Whether an attempt failed: it may have been done all the same.
    pub fn failed(&self) -> bool {
        self.since.is_some()
    }

    /// An attempt failed: how long to wait before the next. `None` if it was tried for long enough.
    pub fn again(&mut self) -> Option<Duration> {
        let began = || *self.silence.since().get_or_insert_with(Instant::now);
        let since = *self.since.get_or_insert_with(began);
        // Many who were cut off at once are not to come back at once.
        let wait = self.wait / 2 + self.wait.mul_f64(random());
        if since.elapsed() + wait > self.patience.retries {
            return None;
        }
        self.wait = (self.wait * 2).min(WAIT_MAX);
        Some(wait)
    }

    /// When an attempt that begins now must have shown that somebody is there at all, by whoever was there before: who waits
    /// for so long already is not to wait as long again for somebody who takes a connection and says nothing.
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        let since = self.since.or(*self.silence.since()).unwrap_or(now);
        (since + self.patience.retries).max(now + ATTEMPT_MIN)
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
        let silence = Silence::new();
        let patience = Patience { retries: Duration::from_secs(1), ..Patience::default() };
        let mut tries = Tries::new(patience, &silence);
        assert!(!tries.failed());
        let first = tries.again().unwrap();
        let second = tries.again().unwrap();
        assert!((50..=150).contains(&first.as_millis()) && (100..=300).contains(&second.as_millis()));
        assert!(tries.failed() && tries.deadline() > Instant::now() + ATTEMPT_MIN / 2);
        let count = (0..100).take_while(|_| tries.again().is_some()).count();
        assert!(count < 5, "{count}");
    }

    #[test]
    fn whoever_has_much_patience_gives_an_attempt_what_is_left_of_it() {
        let minute = Duration::from_secs(60);
        let silence = Silence::new();
        let mut tries = Tries::new(Patience { retries: minute, ..Patience::default() }, &silence);
        let before = Instant::now();
        assert!(tries.deadline() >= before + minute);
        tries.again().unwrap();
        let deadline = tries.deadline();
        assert!(deadline >= before + minute && deadline <= Instant::now() + minute);
    }

    #[test]
    fn whoever_comes_late_waits_no_longer_than_the_others() {
        let silence = Silence::new();
        let patience = Patience { retries: Duration::from_millis(400), ..Patience::default() };
        let mut first = Tries::new(patience, &silence);
        while let Some(wait) = first.again() {
            std::thread::sleep(wait);
        }
        std::thread::sleep(patience.retries);
        let mut second = Tries::new(patience, &silence);
        assert!(!second.failed());
        assert!(second.deadline() <= Instant::now() + ATTEMPT_MIN, "its one attempt is no long one");
        assert!(second.again().is_none());
        silence.end();
        assert!(second.again().is_none(), "that another was answered says nothing of this");
        let mut third = Tries::new(patience, &silence);
        assert!(third.again().is_some());
    }
}
