//! What the driver counts, for `/metrics`. All counters start at zero and only grow, unless named a gauge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One number that any thread may add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations by powers of two of a microsecond: bucket `i` holds what took less than `2^i` µs.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Count; Self::BUCKETS],
    sum_nanos: Count,
}

impl Histogram {
    /// The last bucket begins at 2^26 µs, 67 s.
    pub const BUCKETS: usize = 28;

    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bits = usize::try_from(u64::BITS - micros.leading_zeros()).unwrap_or(Self::BUCKETS);
        self.buckets[bits.min(Self::BUCKETS - 1)].add(1);
        self.sum_nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// For each bucket its upper bound in seconds (the last is unbounded) and how many it holds.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(bits, count)| {
            let bound =
                if bits + 1 == Self::BUCKETS { f64::INFINITY } else { Duration::from_micros(1 << bits).as_secs_f64() };
            (bound, count.get())
        })
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Count::get).sum()
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.get())
    }
}

/// What the driver counts of connections.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Gauge: those that are open.
    pub open: Count,
    /// Those refused for a limit.
    pub refused: Count,
    /// Those closed because no byte moved.
    pub idle_closed: Count,
}

/// The driver's counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rounds that handled at least one input.
    pub rounds: Count,
    /// Inputs handled; divided by `rounds`, how many share a round.
    pub inputs: Count,
    /// Gauge: inputs that waited when the last round began.
    pub inbox: Count,
    /// Connections.
    pub connections: ConnectionCounters,
    /// Gauge: open files of the log directories.
    pub open_files: Count,
    /// Bytes received.
    pub bytes_in: Count,
    /// Bytes sent from memory.
    pub bytes_out: Count,
    /// Bytes sent from files, by sendfile.
    pub bytes_out_file: Count,
    /// Connections closed within an answer, because a file did not give the rest of it.
    pub unreadable: Count,
    /// File writes asked for.
    pub writes: Count,
    /// `pwritev` calls; the writes less these were merged.
    pub write_calls: Count,
    /// Bytes written to files.
    pub bytes_written: Count,
    /// Each fdatasync and directory fsync.
    pub syncs: Histogram,
    /// Syncs that failed, and those that were given up.
    pub syncs_failed: Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 100, u64::MAX / 1_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1e-6, 1), (2e-6, 1), (4e-6, 2), (128e-6, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 6);
    }
}
