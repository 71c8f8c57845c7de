//! ListOffsets and OffsetForLeaderEpoch: where in a partition something is.
//!
//! A time is looked up in indexes and, where memory does not reach, on disk; the request then waits for all of its
//! look-ups. Nothing above what a consumer may read is ever named (R7, R8).

use ottla_wire::ErrorCode;

use super::purgatory::WaitKey;
use super::{Broker, Outcome, Pending, TopicRef};
use crate::log::{LogId, TimestampPlan, TimestampQuery};
use crate::machine::{Effects, Ticket};
use crate::types::{LeaderEpoch, Offset};

/// One partition of a ListOffsets request.
#[derive(Clone, Debug)]
pub struct ListOffset {
    /// Which topic.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// The leader epoch that the client believes in; -1 if it does not say.
    pub current_leader_epoch: i32,
    /// What is looked for.
    pub spec: OffsetSpec,
    /// Whether records of open transactions do not count.
    pub read_committed: bool,
}

/// What a ListOffsets request looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The offset after the last record that a consumer may read.
    Latest,
    /// The record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record at or after a time, in ms.
    AtOrAfter(i64),
    /// The last tiered offset: there is none (KIP-1005).
    LatestTiered,
    /// A special time that the request's version does not have.
    Unsupported,
}

/// What one partition answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which topic.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// `NONE`, or why there is nothing.
    pub error: ErrorCode,
    /// In ms; -1 if none.
    pub timestamp: i64,
    /// -1 if none.
    pub offset: Offset,
    /// That of the record; -1 if none.
    pub leader_epoch: LeaderEpoch,
}

/// A ListOffsets that waits for look-ups on disk.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    ticket: Ticket,
    listed: Vec<Listed>,
    outstanding: usize,
}

impl Listed {
    fn new(wanted: &ListOffset) -> Self {
        Self {
            topic: wanted.topic.clone(),
            partition: wanted.partition,
            error: ErrorCode::NONE,
            timestamp: -1,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch(-1),
        }
    }

    fn found(&mut self, plan: TimestampPlan) {
        match plan {
            TimestampPlan::Found { offset, timestamp, leader_epoch } => {
                (self.offset, self.timestamp, self.leader_epoch) = (offset, timestamp, leader_epoch);
            }
            TimestampPlan::NotFound => {}
            TimestampPlan::Pending | TimestampPlan::Storage => self.error = ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Broker {
    /// Looks offsets up, and answers when all are found.
    pub fn list_offsets(&mut self, ticket: Ticket, wanted: Vec<ListOffset>, out: &mut Effects) {
        let key = self.purgatory.key();
        let mut listing = Listing { ticket, listed: Vec::with_capacity(wanted.len()), outstanding: 0 };
        for (place, wanted) in wanted.into_iter().enumerate() {
            let mut listed = Listed::new(&wanted);
            match self.list_offset(&wanted, &mut listed, (key, place), out) {
                Ok(pending) => listing.outstanding += usize::from(pending),
                Err(error) => listed.error = error,
            }
            listing.listed.push(listed);
        }
        if listing.outstanding == 0 {
            self.release(ticket, Outcome::ListOffsets(listing.listed));
        } else {
            self.looking.listings.insert(key, listing);
        }
    }

    /// A look-up on disk is done.
    pub(super) fn on_listed(&mut self, (key, place): (WaitKey, usize), plan: TimestampPlan) {
        let Some(listing) = self.looking.listings.get_mut(&key) else { return };
        listing.listed[place].found(plan);
        listing.outstanding -= 1;
        if listing.outstanding == 0
            && let Some(listing) = self.looking.listings.remove(&key)
        {
            self.release(listing.ticket, Outcome::ListOffsets(listing.listed));
        }
    }

    /// Where the greatest leader epoch at or below `asked` ends, and which it is; (-1, -1) if there is none.
    ///
    /// # Errors
    /// The partition is not led here, or not in the epoch that the client believes in.
    pub fn end_of_epoch(
        &self,
        topic: &TopicRef,
        partition: i32,
        current_leader_epoch: i32,
        asked: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), ErrorCode> {
        let log = self.leading(topic, partition)?;
        self.check_leader_epoch(log, current_leader_epoch)?;
        let found = self.logs.end_offset_for_epoch(log, asked);
        Ok(found.unwrap_or((LeaderEpoch(-1), Offset(-1))))
    }

    /// `true`: the disk was asked, and `on_listed` follows.
    fn list_offset(
        &mut self,
        wanted: &ListOffset,
        listed: &mut Listed,
        place: (WaitKey, usize),
        out: &mut Effects,
    ) -> Result<bool, ErrorCode> {
        let log = self.leading(&wanted.topic, wanted.partition)?;
        self.check_leader_epoch(log, wanted.current_leader_epoch)?;
        let upper = self.readable_end(log, wanted.read_committed);
        let at = |listed: &mut Listed, broker: &Self, offset: Offset| {
            listed.offset = offset;
            let epoch = broker.logs.epoch_of(log, offset).or_else(|| broker.logs.latest_epoch(log));
            listed.leader_epoch = epoch.unwrap_or(LeaderEpoch(-1));
        };
        let query = match wanted.spec {
            OffsetSpec::Earliest => {
                let start = self.logs.offsets(log).unwrap_or_default().log_start;
                at(listed, self, start);
                return Ok(false);
            }
            OffsetSpec::LatestTiered => return Ok(false),
            OffsetSpec::Unsupported => return Err(ErrorCode::UNSUPPORTED_VERSION),
            OffsetSpec::Latest | OffsetSpec::MaxTimestamp | OffsetSpec::AtOrAfter(_) if !self.knows_its_end(log) => {
                return Err(ErrorCode::OFFSET_NOT_AVAILABLE);
            }
            OffsetSpec::Latest => {
                at(listed, self, upper);
                return Ok(false);
            }
            OffsetSpec::MaxTimestamp => TimestampQuery::Greatest,
            OffsetSpec::AtOrAfter(time) => TimestampQuery::AtOrAfter(time),
        };
        let ticket = self.questions.ticket();
        let plan = self.logs.find_timestamp(log, query, upper, ticket, out);
        if plan == TimestampPlan::Pending {
            self.questions.asked.insert(ticket, Pending::Offset(place.0, place.1));
            return Ok(true);
        }
        listed.found(plan);
        Ok(false)
    }

    /// Whether the high watermark has passed where this leader began: before that it may be lower than another leader
    /// has told (KIP-207).
    fn knows_its_end(&self, log: LogId) -> bool {
        let leader = self.replicas.get(log).and_then(|replica| replica.leader());
        let several = leader.filter(|leader| !leader.followers().is_empty());
        several.is_none_or(|leader| self.replicas.high_watermark(log) >= leader.epoch_start())
    }

    fn readable_end(&self, log: LogId, read_committed: bool) -> Offset {
        let high_watermark = self.replicas.high_watermark(log);
        let last_stable = self.logs.last_stable_offset(log).filter(|_| read_committed);
        last_stable.unwrap_or(high_watermark).min(high_watermark)
    }
}
