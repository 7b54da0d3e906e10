//! When a push announces what it stored so far.

use std::time::{Duration, Instant};

/// When a push announces what it stored so far.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoints {
    /// After this time for the first time.
    pub first: Duration,
    /// Then after this time, twice that, and so on.
    pub every: Duration,
    /// But not later than after this time.
    pub at_most: Duration,
    /// Or when so many bytes were read since the last.
    pub bytes: u64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints {
            first: Duration::from_secs(30),
            every: Duration::from_secs(120),
            at_most: Duration::from_secs(900),
            bytes: 1 << 30,
        }
    }
}

/// When the next checkpoint is due.
pub struct Schedule {
    limits: Checkpoints,
    last: Instant,
    wait: Duration,
    next_wait: Duration,
    /// Bytes read since the last.
    pub bytes: u64,
}

impl Schedule {
    pub fn new(limits: &Checkpoints) -> Schedule {
        Schedule {
            limits: *limits,
            last: Instant::now(),
            wait: limits.first,
            next_wait: limits.every,
            bytes: 0,
        }
    }

    pub fn is_due(&self) -> bool {
        self.bytes >= self.limits.bytes || self.last.elapsed() >= self.wait
    }

    pub fn done(&mut self) {
        self.last = Instant::now();
        self.wait = self.next_wait.min(self.limits.at_most);
        self.next_wait = (self.wait * 2).min(self.limits.at_most);
        self.bytes = 0;
    }
}
