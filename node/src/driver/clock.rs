//! The two readings that come with each input.

use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use ottla_core::clock::{Instant, Now, WallTime};

/// Counts from when it was made.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: StdInstant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { begun: StdInstant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Now { monotonic: self.monotonic(), wall: WallTime(wall) }
    }

    pub(crate) fn monotonic(&self) -> Instant {
        Instant(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same moment on tokio's clock.
    pub(crate) fn to_tokio(&self, at: Instant) -> tokio::time::Instant {
        // A year ahead is "never"; what lies beyond the clock's range must not panic.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);
        let wait = at.since(self.monotonic()).min(FAR);
        tokio::time::Instant::now() + wait
    }
}
