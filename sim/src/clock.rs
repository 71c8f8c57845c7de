//! The clocks of one node: monotonic time may drift and freeze, wall time may also step. Neither is shared.
//!
//! A node's monotonic time runs at its own rate and never goes back. Its wall time is its monotonic time plus
//! an offset that steps. The world turns a deadline of the node into its own time by [`Clock::world_time`].

use ottla_core::clock::{Instant, Now, WallTime};

use crate::time::{MILLISECOND, Nanos};

/// The wall time at which runs begin: 2026-01-01 UTC, in ms.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// The clocks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// World time at which the present rate began.
    since: Nanos,
    /// Monotonic time at that moment.
    monotonic: Nanos,
    /// How fast it runs, against the world, in parts per million.
    rate_ppm: u64,
    /// What wall time is ahead of monotonic time.
    wall_offset_ms: i64,
}

impl Clock {
    /// A clock that runs at `rate_ppm` (1,000,000 is right) and whose wall time is off by `offset_ms`.
    #[must_use]
    pub const fn new(rate_ppm: u64, offset_ms: i64) -> Self {
        Self { since: 0, monotonic: 0, rate_ppm, wall_offset_ms: EPOCH_MS.saturating_add(offset_ms) }
    }

    /// What the node reads now.
    #[must_use]
    pub fn now(&self, world: Nanos) -> Now {
        let monotonic = self.monotonic(world);
        let elapsed_ms = i64::try_from(monotonic / MILLISECOND).unwrap_or(i64::MAX);
        Now { monotonic: Instant(monotonic), wall: WallTime(self.wall_offset_ms.saturating_add(elapsed_ms)) }
    }

    /// When the world's time is so late that this clock shows `deadline`; `None` while it stands still.
    #[must_use]
    pub fn world_time(&self, deadline: Instant) -> Option<Nanos> {
        let left = deadline.0.saturating_sub(self.monotonic);
        if left == 0 {
            return Some(self.since);
        }
        let wait = (u128::from(left) * 1_000_000).div_ceil(u128::from(self.rate_ppm.max(1)));
        (self.rate_ppm > 0).then(|| self.since.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Runs at another rate from now on; 0 freezes it.
    pub fn set_rate(&mut self, world: Nanos, rate_ppm: u64) {
        self.monotonic = self.monotonic(world);
        self.since = world;
        self.rate_ppm = rate_ppm;
    }

    /// Wall time steps by so much, forward or back.
    pub const fn step_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    /// The machine boots: monotonic time starts anew, wall time goes on.
    pub fn reboot(&mut self, world: Nanos) {
        let wall = self.now(world).wall.0;
        self.since = world;
        self.monotonic = 0;
        self.wall_offset_ms = wall;
    }

    fn monotonic(&self, world: Nanos) -> Nanos {
        let elapsed = u128::from(world.saturating_sub(self.since)) * u128::from(self.rate_ppm) / 1_000_000;
        self.monotonic.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        for rate in [1, 999_000, 1_000_000, 1_000_001, 2_000_000] {
            let mut clock = Clock::new(1_000_000, 0);
            clock.set_rate(5 * SECOND, rate);
            let deadline = Instant(5 * SECOND + 1_234_567);
            let world = clock.world_time(deadline).expect("it runs");
            assert!(clock.now(world).monotonic >= deadline);
            assert!(clock.now(world - 1).monotonic < deadline || rate > 1_000_000);
        }
    }

    #[test]
    fn monotonic_time_never_goes_back() {
        let mut clock = Clock::new(1_000_000, 0);
        let mut last = 0;
        for (world, rate) in [(10, 0), (20, 500_000), (1000, 3_000_000), (1001, 0), (5000, 1_000_000)] {
            clock.set_rate(world * SECOND, rate);
            clock.step_wall(-3_600_000);
            let now = clock.now(world * SECOND).monotonic.0;
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_frozen_clock_has_no_deadlines_ahead() {
        let mut clock = Clock::new(1_000_000, 0);
        clock.set_rate(SECOND, 0);
        assert_eq!(clock.world_time(Instant(2 * SECOND)), None);
        assert_eq!(clock.world_time(Instant(SECOND)), Some(SECOND));
    }

    #[test]
    fn wall_time_survives_a_reboot_and_steps() {
        let mut clock = Clock::new(1_000_000, 0);
        let before = clock.now(10 * SECOND).wall.0;
        clock.reboot(10 * SECOND);
        assert_eq!(clock.now(10 * SECOND), Now { monotonic: Instant(0), wall: WallTime(before) });
        clock.step_wall(-500);
        assert_eq!(clock.now(10 * SECOND).wall.0, before - 500);
    }
}
