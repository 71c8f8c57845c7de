//! One partition that is read: where the reader stands in it, and what was fetched ahead.
//!
//! | it is | on | becomes |
//! |---|---|---|
//! | seeking | the offset of a time was found (ListOffsets) | reading |
//! | reading | the leader epoch changed, and the epoch of the last record is known | validating (KIP-320) |
//! | validating | the log has that record still (OffsetForLeaderEpoch) | reading |
//! | validating | the log was cut below the position | reading at the cut, or failed, by `auto.offset.reset` |
//! | reading | OFFSET_OUT_OF_RANGE | seeking, or failed, by `auto.offset.reset` |
//! | any | an error that will not pass | failed, until it is assigned again |

use crate::clock::Instant;
use crate::types::LeaderEpoch;

use super::super::boundary::Start;
use super::chunk::{Chunk, Place};
use super::nearest::Source;

#[derive(Clone, Debug)]
pub(super) struct Assigned {
    /// Which assignment this is: answers to an older one are not for it.
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// What was fetched and not polled.
    pub(super) chunk: Option<Chunk>,
    /// Whether a look-up for it is in flight.
    pub(super) asked: bool,
    pub(super) retry_at: Instant,
    pub(super) failures: u32,
    /// Whom it is fetched from; look-ups are the leader's.
    pub(super) source: Source,
    pub(super) leaderless: Leaderless,
}

/// How often its leader was asked for since none is known, and when to ask again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaderless {
    pub(super) next_at: Instant,
    pub(super) asked: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Looking for the offset of a time, in ms, or -1: the end, -2: the start.
    Seeking { timestamp: i64 },
    /// Asking whether the log has the record before the place still.
    Validating { place: Place },
    /// The place is where to fetch next; it was right under this leader epoch.
    Reading { place: Place, leader_epoch: LeaderEpoch },
    /// Not to be read.
    Failed,
}

/// The special timestamps of ListOffsets.
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

impl Assigned {
    pub(super) fn new(generation: u64, start: Start) -> Self {
        let unknown = LeaderEpoch(-1);
        let phase = match start {
            Start::Offset(offset) => Phase::Reading { place: Place { offset, epoch: unknown }, leader_epoch: unknown },
            Start::Earliest => Phase::Seeking { timestamp: EARLIEST },
            Start::Latest => Phase::Seeking { timestamp: LATEST },
            Start::Timestamp { ms } => Phase::Seeking { timestamp: ms.max(0) },
        };
        let (retry_at, source, leaderless) = (Instant(0), Source::Leader, Leaderless::default());
        Self { generation, phase, chunk: None, asked: false, retry_at, failures: 0, source, leaderless }
    }

    /// The place of the next record that the program gets.
    pub(super) fn position(&self) -> Option<Place> {
        match (&self.chunk, self.phase) {
            (Some(chunk), _) => Some(chunk.place()),
            (None, Phase::Validating { place } | Phase::Reading { place, .. }) => Some(place),
            (None, Phase::Seeking { .. } | Phase::Failed) => None,
        }
    }

    /// The leader's epoch is `current`: a place that was right under another must be looked at again.
    pub(super) fn note_epoch(&mut self, current: LeaderEpoch) {
        if let Phase::Validating { place } = self.phase
            && current.0 < 0
        {
            // A broker that says no epochs cannot be asked of them.
            self.phase = Phase::Reading { place, leader_epoch: current };
        }
        if let Phase::Reading { place, leader_epoch } = self.phase
            && leader_epoch != current
            && self.chunk.is_none()
        {
            self.phase = if place.epoch.0 >= 0 && current.0 >= 0 {
                Phase::Validating { place }
            } else {
                Phase::Reading { place, leader_epoch: current }
            };
        }
    }

    /// The place to fetch from, if it is to be fetched now.
    pub(super) fn fetchable(&self, now: Instant) -> Option<Place> {
        match self.phase {
            Phase::Reading { place, .. } if self.chunk.is_none() && self.retry_at <= now => Some(place),
            Phase::Reading { .. } | Phase::Seeking { .. } | Phase::Validating { .. } | Phase::Failed => None,
        }
    }

    /// Whether a look-up should be sent.
    pub(super) fn wants_answer(&self, now: Instant) -> bool {
        let looks = matches!(self.phase, Phase::Seeking { .. } | Phase::Validating { .. });
        looks && !self.asked && self.retry_at <= now
    }

    /// It stands at a place that was found or found right.
    pub(super) fn stand(&mut self, place: Place, leader_epoch: LeaderEpoch) {
        self.phase = Phase::Reading { place, leader_epoch };
        self.chunk = None;
        self.failures = 0;
    }
}
