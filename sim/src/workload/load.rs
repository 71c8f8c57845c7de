//! When a client that writes writes: batches at random times, in phases.

use crate::client::Ctx;
use crate::time::{MILLISECOND, Nanos, SECOND};

use super::Produce;

/// The load of one client.
#[derive(Clone, Debug)]
pub(super) struct Load {
    every: Nanos,
    records: u64,
    partitions: u64,
    phases: bool,
    phase: Phase,
    /// When the next batch is due.
    pub next_at: Nanos,
}

/// A stretch of even load.
#[derive(Clone, Copy, Debug)]
struct Phase {
    until: Nanos,
    /// The mean time between batches, in hundredths of the scenario's; 0 is idle.
    pace: u64,
    hot: Option<i32>,
}

/// Records to write together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub partition: i32,
    pub count: u64,
}

impl Load {
    /// The load that begins at `at`.
    pub(super) fn new(params: &Produce, partitions: i32, at: Nanos) -> Self {
        Self {
            every: params.every.0,
            records: u64::from(params.records.max(1)),
            partitions: u64::from(partitions.unsigned_abs()),
            phases: params.phases,
            phase: Phase { until: 0, pace: 100, hot: None },
            next_at: at,
        }
    }

    /// What to write now, when it is time; then `next_at` is later. Nothing while the load idles.
    pub(super) fn burst(&mut self, ctx: &mut Ctx<'_>) -> Option<Burst> {
        if self.phases && ctx.now >= self.phase.until {
            self.phase = next_phase(ctx, self.partitions);
        }
        if self.phase.pace == 0 {
            self.next_at = self.phase.until;
            return None;
        }
        let mean = self.every * self.phase.pace / 100;
        self.next_at = ctx.now + 1 + ctx.draw().exponential(mean);
        let drawn = ctx.draw().below(self.partitions);
        let partition = self.phase.hot.unwrap_or_else(|| i32::try_from(drawn).unwrap_or(0));
        Some(Burst { partition, count: ctx.draw().between(1, self.records) })
    }
}

fn next_phase(ctx: &mut Ctx<'_>, partitions: u64) -> Phase {
    let until = ctx.now + ctx.draw().log_between(100 * MILLISECOND, 10 * SECOND);
    let hot = ctx.draw().below(partitions);
    let hot = i32::try_from(hot).unwrap_or(0);
    let (pace, hot) = match ctx.draw().below(8) {
        0 => (0, None),
        1 => (1000, None),
        2 => (5, None),
        3 => (20, Some(hot)),
        _ => (100, None),
    };
    Phase { until, pace, hot }
}
