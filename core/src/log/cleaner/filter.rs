//! What of a batch stays.
//!
//! | record | stays |
//! |---|---|
//! | at or above the end of the pass | yes |
//! | of an aborted transaction; without a key | no |
//! | its key has a later one below the end | no |
//! | a tombstone | until its batch's delete horizon has passed (KIP-534) |
//! | any other | yes |
//!
//! A batch of which nothing stays goes, but its header stays of the last batch of each producer that is known (its
//! next sequence follows from it), and of the last batch of what becomes one segment, which tells where that ends.
//! The marker of a transaction stays as long as a batch of it does, and from then on until the horizon that it is
//! given has passed. What a transaction had is asked of the batches on the way, from the log's first on (KAFKA-8351).
//!
//! A horizon is set by the first pass whose end lies above the whole batch, and only by a clock that can be believed.

use std::collections::{BTreeMap, BTreeSet};

use super::offset_map::OffsetMap;
use crate::log::txn_index::AbortedTxn;
use crate::planted::{Plant, Planted};
use crate::record::{self, BatchHeader, EndTxnMarker, Record, RecordBatch, RecordProblem};
use crate::types::{Offset, ProducerEpoch, ProducerId};

/// Records of one batch are inflated up to this size.
pub(super) const INFLATE_LIMIT: u64 = 1 << 30;

/// What holds for a whole pass.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The time by which tombstones go, in ms; `None`: none goes and none gets a horizon.
    pub(crate) now: Option<i64>,
    /// `delete.retention.ms`
    pub(crate) delete_retention_ms: i64,
    /// The aborted transactions.
    pub(crate) aborted: AbortedTxns,
    /// The producers that are known: epoch and last sequence of what cannot be cut any more, -1 if the epoch has no
    /// record; none if nobody remembers which that is: then any may be the last.
    pub(crate) producers: BTreeMap<ProducerId, Option<(ProducerEpoch, i32)>>,
    pub(crate) planted: Planted,
}

/// The aborted transactions of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct AbortedTxns {
    /// By producer, and then in the order of the log.
    list: Vec<AbortedTxn>,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, as this.
    Rewrite(Vec<u8>),
    /// It goes.
    Drop,
}

/// A walk over the batches of a log, from its first on, that says what stays.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    map: OffsetMap,
    /// Where the pass ends: at and above it all stays.
    end: Offset,
    rules: Rules,
    /// Producers with a batch since their last marker.
    open: BTreeSet<ProducerId>,
    kept: Vec<bool>,
    scratch: Vec<u8>,
}

/// What was found in the records of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    kept: usize,
    tombstones: bool,
}

impl AbortedTxns {
    pub(crate) fn new(mut list: Vec<AbortedTxn>) -> Self {
        list.sort_unstable_by_key(|aborted| (aborted.producer_id, aborted.first_offset));
        Self { list }
    }

    /// The aborted transaction that a producer's batch belongs to.
    fn covering(&self, id: ProducerId, offset: Offset) -> Option<&AbortedTxn> {
        let after = self.list.partition_point(|aborted| (aborted.producer_id, aborted.first_offset) <= (id, offset));
        let before = self.list.get(after.checked_sub(1)?)?;
        (before.producer_id == id && offset < before.last_offset).then_some(before)
    }

    /// The one that a marker ended.
    pub(crate) fn ended_by(&self, id: ProducerId, marker: Offset) -> Option<AbortedTxn> {
        self.covering(id, marker + -1).copied().filter(|aborted| aborted.last_offset == marker)
    }

    /// Whether a batch was aborted.
    pub(super) fn has(&self, header: &BatchHeader) -> bool {
        header.attributes.is_transactional() && self.covering(header.producer.id, header.base_offset).is_some()
    }
}

impl Filter {
    /// A pass whose keys are in `map`, up to `end`.
    pub(crate) fn new(map: OffsetMap, end: Offset, rules: Rules) -> Self {
        Self { map, end, rules, open: BTreeSet::new(), kept: Vec::new(), scratch: Vec::new() }
    }

    pub(super) fn aborted(&self) -> &AbortedTxns {
        &self.rules.aborted
    }

    /// What becomes of the next batch. `is_last`: its header stays in any case.
    pub(crate) fn judge(&mut self, batch: &RecordBatch<'_>, is_last: bool) -> Result<Verdict, RecordProblem> {
        let header = batch.header();
        if header.base_offset >= self.end {
            return Ok(Verdict::Keep);
        }
        if header.attributes.is_control() {
            return self.judge_control(batch, is_last);
        }
        if header.attributes.is_transactional() {
            self.open.insert(header.producer.id);
        }
        // The buffer goes out of itself for the time that the records in it are looked at.
        let mut scratch = std::mem::take(&mut self.scratch);
        let verdict = batch
            .inflated(&mut scratch, INFLATE_LIMIT)
            .map_err(RecordProblem::from)
            .and_then(|inflated| self.judge_records(batch, inflated, is_last));
        self.scratch = scratch;
        verdict
    }

    fn judge_records(
        &mut self,
        batch: &RecordBatch<'_>,
        inflated: &[u8],
        is_last: bool,
    ) -> Result<Verdict, RecordProblem> {
        let header = batch.header();
        let found = self.look_at_records(header, inflated)?;
        if found.kept == 0 {
            return Ok(self.without_records(header, is_last));
        }
        let old = header.delete_horizon_ms();
        let is_whole = header.last_offset() < self.end;
        let horizon = if found.tombstones && is_whole { self.horizon(old) } else { old };
        if found.kept == self.kept.len() && horizon == old {
            return Ok(Verdict::Keep);
        }
        record::retain(batch, inflated, &self.kept, horizon).map(Verdict::Rewrite)
    }

    /// Notes of each record whether it stays.
    fn look_at_records(&mut self, header: &BatchHeader, inflated: &[u8]) -> Result<Found, RecordProblem> {
        let is_aborted = self.rules.aborted.has(header);
        let is_past_horizon = self.is_past(header.delete_horizon_ms());
        let mut found = Found::default();
        let mut last = None;
        self.kept.clear();
        for record in record::Records::new(header, inflated) {
            let record = record?;
            // They are written anew, and a builder takes them in order only.
            if last.is_some_and(|last| record.offset <= last) || record.offset > header.last_offset() {
                return Err(RecordProblem::OffsetDelta(0));
            }
            last = Some(record.offset);
            let stays = record.offset >= self.end || !is_aborted && self.stays(&record, is_past_horizon);
            found.kept += usize::from(stays);
            found.tombstones |= stays && record.value.is_none() && record.offset < self.end;
            self.kept.push(stays);
        }
        Ok(found)
    }

    fn stays(&self, record: &Record<'_>, is_past_horizon: bool) -> bool {
        let Some(key) = record.key else {
            return false;
        };
        let is_latest = self.map.get(key).is_none_or(|latest| latest <= record.offset);
        is_latest && (record.value.is_some() || !is_past_horizon)
    }

    /// A batch of which nothing stays.
    fn without_records(&self, header: &BatchHeader, is_last: bool) -> Verdict {
        if !is_last && !self.is_last_of_producer(header) {
            return Verdict::Drop;
        }
        if header.record_count == 0 {
            return Verdict::Keep;
        }
        Verdict::Rewrite(record::emptied(header))
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if self.rules.planted.has(Plant::Cmp20) {
            return false;
        }
        let known = self.rules.producers.get(&header.producer.id).filter(|_| header.producer.is_some());
        known.is_some_and(|last| {
            // Without a record of its epoch a producer is known by its marker.
            last.is_none_or(|last| last == (header.producer.epoch, header.last_sequence()))
        })
    }

    fn judge_control(&mut self, batch: &RecordBatch<'_>, is_last: bool) -> Result<Verdict, RecordProblem> {
        let header = batch.header();
        if header.record_count == 0 {
            return Ok(self.without_records(header, is_last));
        }
        let mut scratch = Vec::new();
        let record = batch.records(&mut scratch, INFLATE_LIMIT)?.next().transpose()?;
        if record.and_then(|record| EndTxnMarker::of(&record)).is_none() {
            return Ok(Verdict::Keep);
        }
        let has_records = self.open.remove(&header.producer.id);
        let horizon = header.delete_horizon_ms();
        if has_records {
            return Ok(Verdict::Keep);
        }
        if self.is_past(horizon) {
            return Ok(self.without_records(header, is_last));
        }
        match self.horizon(horizon) {
            new if new == horizon => Ok(Verdict::Keep),
            new => record::retain(batch, batch.payload(), &[true], new).map(Verdict::Rewrite),
        }
    }

    fn is_past(&self, horizon: Option<i64>) -> bool {
        horizon.zip(self.rules.now).is_some_and(|(horizon, now)| now >= horizon)
    }

    /// The horizon that stands, or the one that is set now.
    fn horizon(&self, old: Option<i64>) -> Option<i64> {
        let stay_ms = if self.rules.planted.has(Plant::Cmp03) { 0 } else { self.rules.delete_retention_ms };
        let new = self.rules.now.map(|now| now.saturating_add(stay_ms));
        old.or(new)
    }
}
