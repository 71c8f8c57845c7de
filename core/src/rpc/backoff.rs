//! How long to wait before a retry: twice as long each time, with a fifth more or less (KIP-580), by the seed.

use std::time::Duration;

use crate::rng::Rng;

/// The bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first, in ms, before jitter.
    pub first_ms: u64,
    /// The longest, in ms, before jitter.
    pub max_ms: u64,
}

impl Backoff {
    /// The wait after `failures` failures in a row, counted from 1.
    pub fn delay(self, failures: u32, rng: &mut Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let micros = self.first_ms.saturating_mul(1 << doublings).min(self.max_ms).saturating_mul(1_000);
        let least = micros - micros / 5;
        Duration::from_micros(least.saturating_add(rng.below(micros / 5 * 2 + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_stray_by_a_fifth() {
        let backoff = Backoff { first_ms: 50, max_ms: 1_000 };
        let mut rng = Rng::new(7);
        for (failures, exact_ms) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1_000), (100, 1_000)] {
            for _ in 0..100 {
                let delay = backoff.delay(failures, &mut rng);
                let exact = Duration::from_millis(exact_ms);
                assert!(delay >= exact * 4 / 5 && delay <= exact * 6 / 5, "{failures} failures: {delay:?}");
            }
        }
    }
}
