//! How fast bytes may go: for stores that share a line with somebody.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Who was idle may be so far ahead, and not more: what is not used is not saved up.
const AHEAD: Duration = Duration::from_millis(50);

/// A number of bytes a second, for all who take from it together.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: NonZeroU64,
    /// When all that was taken is through.
    through: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second.
    pub fn new(bytes_per_second: NonZeroU64) -> Pace {
        Pace { bytes_per_second, through: Mutex::new(Instant::now()) }
    }

    /// Takes so many bytes: how long whoever moved them, or is about to, has to wait before it goes on.
    pub fn take(&self, bytes: usize) -> Duration {
        self.take_at(Instant::now(), bytes)
    }

    fn take_at(&self, now: Instant, bytes: usize) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut through = self.through.lock().unwrap_or_else(|e| e.into_inner());
        let begin = (*through).max(now.checked_sub(AHEAD).unwrap_or(now));
        *through = begin + takes;
        through.saturating_duration_since(now)
    }

    /// What it was made with.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second.get()
    }

    /// How many bytes may go at once so that they go evenly: a tenth of a second of them, within reason.
    pub fn piece(&self) -> usize {
        (self.bytes_per_second.get() / 10).clamp(1 << 10, 256 << 10) as usize
    }
}

/// The pace each way; none is as fast as it goes.
#[derive(Debug, Clone, Default)]
pub struct Bandwidth {
    /// What goes to a store.
    pub upload: Option<Arc<Pace>>,
    /// What comes from it.
    pub download: Option<Arc<Pace>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_more_waits_longer() {
        let pace = Pace::new(NonZeroU64::new(1_000).unwrap());
        let begin = Instant::now() + Duration::from_secs(10);
        let ms = |wait: Duration| wait.as_millis();
        assert_eq!(ms(pace.take_at(begin, 1_000)), 950, "as if it had begun a little earlier");
        assert_eq!(ms(pace.take_at(begin, 500)), 1_450, "all who take share it");
        let later = begin + Duration::from_secs(60);
        assert_eq!(ms(pace.take_at(later, 1_000)), 950, "a minute of doing nothing counts for nothing");
        assert_eq!(ms(pace.take_at(later, 0)), 950);
    }
}
