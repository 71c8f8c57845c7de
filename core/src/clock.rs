//! Time as the machine sees it: a pair of readings that comes in with each input.
//!
//! Order and time-outs use [`Instant`], which never goes back. [`WallTime`] is for what people and records
//! mean by time; it may step, so nothing safe rests on it (promise P8).

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A monotonic reading: nanoseconds since a point that the driver chose at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

/// A wall-clock reading: milliseconds since 1970-01-01 UTC, as in Kafka's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

/// Both readings at the moment of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For time-outs and order.
    pub monotonic: Instant,
    /// For timestamps and retention.
    pub wall: WallTime,
}

/// How far the two clocks may be apart before the wall clock has stepped, in milliseconds.
const MAX_DISAGREEMENT_MS: u64 = 60_000;

/// Both readings at a start, which tell later whether the wall clock may be believed: removal by time is for good, so
/// it needs two clocks to agree (promise P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockCheck {
    started: Now,
}

impl ClockCheck {
    /// From this start on.
    #[must_use]
    pub const fn new(started: Now) -> Self {
        Self { started }
    }

    /// The wall time that both clocks vouch for; `None` while they disagree.
    #[must_use]
    pub fn confirmed(&self, now: Now) -> Option<WallTime> {
        let passed = i64::try_from(now.monotonic.since(self.started.monotonic).as_millis()).unwrap_or(i64::MAX);
        let expected = self.started.wall.0.saturating_add(passed);
        (now.wall.0.abs_diff(expected) <= MAX_DISAGREEMENT_MS).then_some(WallTime(now.wall.0.min(expected)))
    }
}

impl Instant {
    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates: a deadline of `u64::MAX` is "never".
    fn add(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Seconds with microseconds, as in the trace: `12.000345`.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
