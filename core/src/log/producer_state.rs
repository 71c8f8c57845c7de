//! What a partition remembers of each producer: the idempotence of KIP-98 and KIP-360.
//!
//! A producer numbers its records; a batch is appended only if it begins where the last one ended. The last five
//! batches are remembered, so that one of the up to five in flight, sent again, is answered with the offset it
//! got the first time. Where nothing is known of a producer any sequence is taken as its first (KIP-360).
//!
//! [`ProducerState::check`] decides about a client's batch; [`ProducerState::apply`] and
//! [`ProducerState::apply_marker`] take what is in the log, on leader, follower and at recovery alike, without
//! judging it. Above the high watermark each of them leaves an undo entry: a truncation goes back to exactly the
//! state before (KAFKA-12153), or says that the state must be rebuilt from a snapshot.
//!
//! | marker seen | batches remembered | sequence goes on at |
//! |---|---|---|
//! | none, or commit | the last five | the next |
//! | abort | none: an aborted batch is no answer to a retry | the next |
//! | a higher epoch | none | 0 |
//!
//! Invariants: I1, I2, I5; S8 (a function of the log, but for expiry). Memory is bounded by `max_producers` and
//! [`MAX_UNDO`]. Absent on purpose: clocks; expiry is told the time, and is not called when it is in doubt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::txn_index::AbortedTxn;
use crate::clock::WallTime;
use crate::planted::{Plant, Planted};
use crate::record::{BatchFacts, BatchHeader, EndTxnMarker, Producer};
use crate::types::{Offset, ProducerEpoch, ProducerId};

/// How many batches of a producer are remembered: as many as a client may have in flight.
pub const REMEMBERED_BATCHES: usize = 5;
/// How many producers a partition remembers, if its owner does not say otherwise.
pub const MAX_PRODUCERS: usize = 100_000;
/// How many batches above the high watermark can be undone one by one.
pub const MAX_UNDO: usize = 16_384;

/// What the check of a batch needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Id, epoch and first sequence. There is an id.
    pub producer: Producer,
    /// Records in it, less one.
    pub last_offset_delta: i32,
    /// Whether it belongs to a transaction.
    pub is_transactional: bool,
    /// In ms.
    pub max_timestamp: i64,
}

/// What is to be done with a client's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is the next one.
    Accept,
    /// It is in the log already, and this is where. The answer waits until that is as safe as a first attempt's.
    Duplicate { base_offset: Offset, last_offset: Offset, timestamp: i64 },
    /// It is in the log already, but where is forgotten: DUPLICATE_SEQUENCE_NUMBER.
    ForgottenDuplicate,
    /// Something between is missing: OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrderSequence,
    /// A later instance of the producer has written: INVALID_PRODUCER_EPOCH.
    InvalidProducerEpoch,
    /// The producer's transaction is open and the batch is outside of it: INVALID_TXN_STATE.
    InvalidTxnState,
}

/// What is to be done with a marker that a coordinator sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerCheck {
    /// It may be appended.
    Accept,
    /// The producer has a later epoch: INVALID_PRODUCER_EPOCH.
    InvalidProducerEpoch,
    /// A later coordinator has written: TRANSACTION_COORDINATOR_FENCED.
    CoordinatorFenced,
}

/// What a truncation of the state came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Truncated {
    /// It is what it was at that offset.
    Done,
    /// The way back is not known: load a snapshot at or below the offset and apply the batches from there on.
    Rebuild,
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RememberedBatch {
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// Its records, less one.
    pub offset_delta: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its greatest timestamp, in ms.
    pub timestamp: i64,
}

/// One producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The highest epoch seen.
    pub epoch: ProducerEpoch,
    /// Of the last marker; -1 if there was none.
    pub coordinator_epoch: i32,
    /// Of the last batch or marker, in ms.
    pub last_timestamp: i64,
    /// Where its open transaction began.
    pub txn_first_offset: Option<Offset>,
    /// Of the last record of this epoch; -1 if there is none.
    pub last_sequence: i32,
    /// How many records up to the last are known to follow one another without a gap.
    pub contiguous: u32,
    /// The last batches of this epoch.
    pub recent: Recent,
}

/// The last batches of a producer, oldest first; in place, because each batch of a log changes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    list: [RememberedBatch; REMEMBERED_BATCHES],
    len: u8,
}

/// The producers of one partition.
#[derive(Clone, Debug)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeSet<(Offset, ProducerId)>,
    /// Ended transactions whose marker is above the high watermark: first offset, marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
    undo: VecDeque<Undo>,
    /// Below it nothing can be undone.
    undo_floor: Offset,
    high_watermark: Offset,
    end_offset: Offset,
    max_producers: usize,
    planted: Planted,
}

/// How to take back what a batch or marker did.
#[derive(Clone, Copy, Debug)]
struct Undo {
    last_offset: Offset,
    id: ProducerId,
    before: Option<ProducerEntry>,
}

impl ProducerState {
    /// No producers.
    #[must_use]
    pub fn new(max_producers: usize, planted: Planted) -> Self {
        Self::restore(BTreeMap::new(), Offset::ZERO, max_producers, planted)
    }

    /// What a snapshot at `end_offset` holds.
    #[must_use]
    pub fn restore(
        producers: BTreeMap<ProducerId, ProducerEntry>,
        end_offset: Offset,
        max_producers: usize,
        planted: Planted,
    ) -> Self {
        let ongoing = producers.iter().filter_map(|(&id, entry)| Some((entry.txn_first_offset?, id)));
        Self {
            ongoing: ongoing.collect(),
            producers,
            unreplicated: BTreeMap::new(),
            undo: VecDeque::new(),
            undo_floor: end_offset,
            high_watermark: Offset::ZERO,
            end_offset,
            max_producers: max_producers.max(1),
            planted,
        }
    }

    /// Judges a client's batch. It changes nothing: [`Self::apply`] does, once the batch has its offset.
    #[must_use]
    pub fn check(&self, batch: &ProducerBatch) -> Check {
        let Some(entry) = self.producers.get(&batch.producer.id) else {
            return Check::Accept;
        };
        if batch.producer.epoch < entry.epoch {
            return Check::InvalidProducerEpoch;
        }
        let first = batch.producer.base_sequence;
        if batch.producer.epoch > entry.epoch {
            return if first == 0 { Check::Accept } else { Check::OutOfOrderSequence };
        }
        if let Some(first_attempt) = entry.recent.find(first, batch.last_sequence()) {
            return self.duplicate(first_attempt);
        }
        if entry.txn_first_offset.is_some() && !batch.is_transactional {
            return Check::InvalidTxnState;
        }
        if self.follows(entry.last_sequence, first) {
            return Check::Accept;
        }
        if entry.covers(batch) && !self.planted.has(Plant::Idem06) {
            return Check::ForgottenDuplicate;
        }
        Check::OutOfOrderSequence
    }

    /// Judges a marker of a transaction coordinator.
    #[must_use]
    pub fn check_marker(&self, id: ProducerId, epoch: ProducerEpoch, marker: EndTxnMarker) -> MarkerCheck {
        match self.producers.get(&id) {
            Some(entry) if epoch < entry.epoch => MarkerCheck::InvalidProducerEpoch,
            Some(entry) if marker.coordinator_epoch < entry.coordinator_epoch => MarkerCheck::CoordinatorFenced,
            _ => MarkerCheck::Accept,
        }
    }

    /// Takes a batch of the log that begins at `base_offset`.
    pub fn apply(&mut self, batch: &ProducerBatch, base_offset: Offset) {
        let last_offset = base_offset + batch.last_offset_delta.into();
        let id = batch.producer.id;
        let before = self.before(id);
        let mut entry =
            before.map_or(ProducerEntry::new(batch.producer.epoch), |before| before.in_epoch(batch.producer.epoch));
        entry.push(batch, last_offset);
        if self.planted.has(Plant::Idem06) {
            entry.recent.keep_last();
        }
        if batch.is_transactional && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(base_offset);
        }
        self.change(id, before, Some(entry), last_offset);
    }

    /// Takes a marker of the log. Returns the transaction that it ended, if it ended one; `last_stable_offset` is
    /// then the one just after it, for the transaction index if the marker aborts.
    pub fn apply_marker(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        marker: EndTxnMarker,
        timestamp: i64,
        offset: Offset,
    ) -> Option<AbortedTxn> {
        let before = self.before(id);
        let mut entry = before.map_or(ProducerEntry::new(epoch), |before| before.in_epoch(epoch));
        let first_offset = entry.txn_first_offset.take();
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = timestamp;
        if !marker.commit {
            // What was aborted is no answer to a retry, and its sequences may come again.
            entry.recent = Recent::default();
            entry.contiguous = 0;
        }
        self.change(id, before, Some(entry), offset);
        let first_offset = first_offset?;
        if offset >= self.high_watermark {
            self.unreplicated.insert(first_offset, offset);
        }
        let next_open = self.ongoing.first().map(|&(first, _)| first);
        Some(AbortedTxn {
            producer_id: id,
            first_offset,
            last_offset: offset,
            last_stable_offset: next_open.unwrap_or(offset + 1),
        })
    }

    /// Notes that the log goes up to `end_offset`, whoever wrote what is in it.
    pub fn advance(&mut self, end_offset: Offset) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// Forgets how to undo what is below the high watermark: that is never truncated.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if high_watermark <= self.high_watermark {
            return;
        }
        self.high_watermark = high_watermark;
        while self.undo.pop_front_if(|undo| undo.last_offset < high_watermark).is_some() {}
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Goes back to what the state was when the log ended at `end_offset`.
    pub fn truncate_to(&mut self, end_offset: Offset) -> Truncated {
        if end_offset >= self.end_offset {
            return Truncated::Done;
        }
        let below = end_offset < self.undo_floor.max(self.high_watermark.min(self.end_offset));
        self.end_offset = end_offset;
        if self.planted.has(Plant::Idem14) {
            return Truncated::Done;
        }
        if below {
            return Truncated::Rebuild;
        }
        while let Some(undo) = self.undo.pop_back_if(|undo| undo.last_offset >= end_offset) {
            self.set(undo.id, undo.before);
        }
        self.unreplicated.retain(|_, marker| *marker < end_offset);
        Truncated::Done
    }

    /// Notes that records below `log_start` are deleted. Producers stay: a retry may still come (KIP-360).
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= log_start);
        self.end_offset = self.end_offset.max(log_start);
        if self.planted.has(Plant::Idem04) {
            let gone = |entry: &ProducerEntry| entry.recent.last().is_none_or(|last| last.last_offset < log_start);
            let gone: Vec<ProducerId> =
                self.producers.iter().filter(|(_, entry)| gone(entry)).map(|(&id, _)| id).collect();
            gone.into_iter().for_each(|id| self.set(id, None));
        }
    }

    /// Forgets the producers that were silent for `expiration_ms` of wall time and have no open transaction.
    pub fn expire(&mut self, now: WallTime, expiration_ms: i64) {
        let fresh = |entry: &ProducerEntry| now.0.saturating_sub(entry.last_timestamp) < expiration_ms;
        self.producers.retain(|_, entry| entry.txn_first_offset.is_some() || fresh(entry));
    }

    /// The first offset whose transaction is not decided below the high watermark; readers with `read_committed`
    /// stop there. `None`: they stop at the high watermark.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.ongoing.first().map(|&(first, _)| first);
        let unreplicated = self.unreplicated.first_key_value().map(|(&first, _)| first);
        open.into_iter().chain(unreplicated).min()
    }

    /// Up to where the log is taken: the offset that names a snapshot of this.
    #[must_use]
    pub const fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&id)
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(&id, entry)| (id, entry))
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    fn duplicate(&self, first_attempt: &RememberedBatch) -> Check {
        let forget = self.planted.has(Plant::Idem11);
        Check::Duplicate {
            base_offset: if forget { Offset::ZERO } else { first_attempt.base_offset() },
            last_offset: first_attempt.last_offset,
            timestamp: first_attempt.timestamp,
        }
    }

    /// Whether a batch that begins with sequence `first` comes right after `last`. After 2^31 - 1 comes 0.
    fn follows(&self, last: i32, first: i32) -> bool {
        if self.planted.has(Plant::Idem07) {
            return first == last.wrapping_add(1);
        }
        first == next_sequence(last)
    }

    /// The entry as it is, and room for another if there is none.
    fn before(&mut self, id: ProducerId) -> Option<ProducerEntry> {
        let before = self.producers.get(&id).copied();
        if before.is_none() && self.producers.len() >= self.max_producers {
            self.evict();
        }
        before
    }

    /// Forgets a tenth of the producers: those silent for longest by the log's own timestamps, so that it is the
    /// same at each replay. What this forgets no undo brings back.
    fn evict(&mut self) {
        let idle = self.producers.iter().filter(|(_, entry)| entry.txn_first_offset.is_none());
        let mut idle: Vec<(i64, ProducerId)> = idle.map(|(&id, entry)| (entry.last_timestamp, id)).collect();
        idle.sort_unstable();
        idle.truncate((self.max_producers / 10).max(1));
        for (_, id) in idle {
            self.producers.remove(&id);
        }
        self.undo.clear();
        self.undo_floor = self.end_offset;
    }

    fn change(
        &mut self,
        id: ProducerId,
        before: Option<ProducerEntry>,
        after: Option<ProducerEntry>,
        last_offset: Offset,
    ) {
        self.set(id, after);
        self.end_offset = self.end_offset.max(last_offset + 1);
        if last_offset < self.high_watermark {
            return;
        }
        if self.undo.len() >= MAX_UNDO
            && let Some(oldest) = self.undo.pop_front()
        {
            self.undo_floor = oldest.last_offset + 1;
        }
        self.undo.push_back(Undo { last_offset, id, before });
    }

    /// The only place that changes a producer: the open transactions follow.
    fn set(&mut self, id: ProducerId, entry: Option<ProducerEntry>) {
        let first = entry.and_then(|entry| entry.txn_first_offset);
        let old = match entry {
            Some(entry) => self.producers.insert(id, entry),
            None => self.producers.remove(&id),
        };
        let old_first = old.and_then(|old| old.txn_first_offset);
        if old_first != first {
            old_first.map(|old_first| self.ongoing.remove(&(old_first, id)));
            first.map(|first| self.ongoing.insert((first, id)));
        }
    }
}

impl PartialEq for ProducerState {
    /// As invariant S8 compares a live state with a rebuilt one: what the log says, not how to undo it.
    fn eq(&self, other: &Self) -> bool {
        self.producers == other.producers && self.ongoing == other.ongoing && self.end_offset == other.end_offset
    }
}

impl ProducerBatch {
    /// The sequence of its last record.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.producer.sequence_at(self.last_offset_delta)
    }
}

impl From<&BatchHeader> for ProducerBatch {
    fn from(header: &BatchHeader) -> Self {
        Self {
            producer: header.producer,
            last_offset_delta: header.last_offset_delta,
            is_transactional: header.attributes.is_transactional(),
            max_timestamp: header.max_timestamp,
        }
    }
}

impl From<&BatchFacts> for ProducerBatch {
    fn from(facts: &BatchFacts) -> Self {
        Self {
            producer: facts.producer,
            last_offset_delta: facts.last_offset_delta,
            is_transactional: facts.attributes.is_transactional(),
            max_timestamp: facts.timestamps.max,
        }
    }
}

impl ProducerEntry {
    /// A producer of which only the epoch is known.
    #[must_use]
    pub fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            last_sequence: -1,
            contiguous: 0,
            recent: Recent::default(),
        }
    }

    /// The same in `epoch`: sequences begin anew in another one.
    fn in_epoch(self, epoch: ProducerEpoch) -> Self {
        if self.epoch == epoch {
            return self;
        }
        Self { epoch, last_sequence: -1, contiguous: 0, recent: Recent::default(), ..self }
    }

    fn push(&mut self, batch: &ProducerBatch, last_offset: Offset) {
        let records = u32::try_from(batch.last_offset_delta).map_or(1, |delta| delta.saturating_add(1));
        let follows = self.contiguous > 0 && batch.producer.base_sequence == next_sequence(self.last_sequence);
        self.contiguous = if follows { self.contiguous.saturating_add(records).min(HALF) } else { records };
        self.last_sequence = batch.last_sequence();
        self.last_timestamp = batch.max_timestamp;
        self.recent.push(RememberedBatch {
            last_sequence: self.last_sequence,
            offset_delta: batch.last_offset_delta,
            last_offset,
            timestamp: batch.max_timestamp,
        });
    }

    /// Whether all records of `batch` are known to be in the log: they are among those without a gap.
    fn covers(&self, batch: &ProducerBatch) -> bool {
        let behind = self.last_sequence.wrapping_sub(batch.producer.base_sequence) & i32::MAX;
        let behind = u32::try_from(behind).expect("the sign bit is masked off");
        let records = u32::try_from(batch.last_offset_delta).map_or(1, |delta| delta.saturating_add(1));
        behind < self.contiguous && records <= behind + 1
    }
}

/// Sequences wrap at 2^31: only a distance below half of that says which of two is the earlier.
const HALF: u32 = 1 << 30;

const fn next_sequence(last: i32) -> i32 {
    last.wrapping_add(1) & i32::MAX
}

impl ProducerEntry {
    /// Epoch and sequence of its last record below an offset, -1 if the epoch has none; `None` if that is forgotten, or
    /// of an earlier epoch.
    #[must_use]
    pub fn last_below(&self, offset: Offset) -> Option<(ProducerEpoch, i32)> {
        if self.recent.as_slice().is_empty() {
            return Some((self.epoch, self.last_sequence));
        }
        let last = self.recent.as_slice().iter().rfind(|batch| batch.last_offset < offset);
        last.map(|last| (self.epoch, last.last_sequence))
    }
}

impl Recent {
    /// The remembered batches, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[RememberedBatch] {
        &self.list[..usize::from(self.len)]
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<&RememberedBatch> {
        self.as_slice().last()
    }

    /// Adds a batch; the oldest goes if there are five.
    pub fn push(&mut self, batch: RememberedBatch) {
        if usize::from(self.len) == REMEMBERED_BATCHES {
            self.list.rotate_left(1);
        } else {
            self.len += 1;
        }
        self.list[usize::from(self.len) - 1] = batch;
    }

    fn find(&self, first: i32, last: i32) -> Option<&RememberedBatch> {
        self.as_slice().iter().find(|batch| batch.last_sequence == last && batch.first_sequence() == first)
    }

    fn keep_last(&mut self) {
        if let Some(&last) = self.last() {
            *self = Self::default();
            self.push(last);
        }
    }
}

impl RememberedBatch {
    /// The offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }

    /// The sequence of its first record.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

#[cfg(test)]
mod tests;
