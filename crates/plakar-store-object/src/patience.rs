//! Trying again.

use crate::errors::Trouble;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// How long a client waits for a service.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// An answer, or the next piece of something, comes or goes within so long.
    pub idle: Duration,
    /// What may be tried again is tried again for so long after it failed first.
    pub retries: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { idle: Duration::from_secs(60), retries: Duration::from_secs(90) }
    }
}

/// The first wait before something is tried again, which doubles each time,
const WAIT_MIN: Duration = Duration::from_millis(100);
/// up to this.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often it was tried.
pub struct Tries {
    patience: Patience,
    since: Option<Instant>,
    wait: Duration,
}

impl Tries {
    pub fn new(patience: Patience) -> Tries {
        Tries { patience, since: None, wait: WAIT_MIN }
    }

    /// How long to wait before it is tried again; what was wrong, if it is not.
    pub fn again(&mut self, trouble: Trouble) -> Result<Duration, Trouble> {
        if !matches!(trouble, Trouble::Passing(_)) {
            return Err(trouble);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        // Many who were refused at once are not to come back at once.
        let wait = self.wait / 2 + self.wait.mul_f64(random());
        if since.elapsed() + wait > self.patience.retries {
            return Err(trouble);
        }
        self.wait = (self.wait * 2).min(WAIT_MAX);
        Ok(wait)
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
        let passing = || Trouble::Passing("x".into());
        let first = tries.again(passing()).ok().unwrap();
        let second = tries.again(passing()).ok().unwrap();
        assert!((50..=150).contains(&first.as_millis()) && (100..=300).contains(&second.as_millis()));
        let count = (0..100).take_while(|_| tries.again(passing()).is_ok()).count();
        assert!(count < 5, "{count}");
        assert!(Tries::new(Patience::default()).again(Trouble::Absent).is_err(), "what is final is final");
    }
}
