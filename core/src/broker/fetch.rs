//! Fetch: from offsets to ranges of log files.
//!
//! A fetch is evaluated when it comes and, while it is parked, whenever a log that it reads moves on. It is
//! answered when `min_bytes` can be read, when a partition has something else to say (an error, a diverged
//! epoch), at `max_wait_ms`, or when a later frame comes on its connection. The tail of a log answers from memory;
//! what lies further back may need reads first, and the fetch then waits for those and is answered with them.
//!
//! R7: nothing at or above the high watermark is served (read_committed: the last stable offset), but to replicas: they
//! get all that is written, and what they say of themselves moves the watermark.
//!
//! | a consumer's fetch from a follower (KIP-392), at an offset | is answered |
//! |---|---|
//! | from its log start up to its high watermark | as by the leader, up to that; at the watermark it waits |
//! | above, up to its log end | nothing yet: it may be committed, and not known here |
//! | elsewhere | OFFSET_OUT_OF_RANGE: whether there is something, the leader knows |

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::purgatory::WaitKey;
use super::{Broker, ClientMetadata, Follower, Outcome, Pending, TopicRef};
use crate::clock::{Instant, Now};
use crate::log::{LogId, ReadPlan, ReadRequest};
use crate::machine::{Effects, FileRange, Ticket};
use crate::planted::Plant;
use crate::replication::{Fetching, Replica, SessionPartition, SessionRefusal, Told};
use crate::storage::Pin;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// A fetch request of a consumer or a follower.
#[derive(Debug)]
pub struct FetchRequest {
    /// Who is to be answered.
    pub ticket: Ticket,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Fewer are worth waiting for.
    pub min_bytes: u64,
    /// The most for all partitions together; the first batch may be larger.
    pub max_bytes: u32,
    /// Whether records of open transactions are left out.
    pub read_committed: bool,
    /// Session id and epoch; (0, -1) for none.
    pub session: (i32, i32),
    /// What to read.
    pub partitions: Vec<SessionPartition>,
    /// What the session is to forget.
    pub forgotten: Vec<SessionPartition>,
    /// Who fetches, if that is a replica.
    pub follower: Option<Follower>,
    /// What a consumer says of itself. Without it, it is served by leaders only.
    pub client: Option<ClientMetadata>,
}

/// What a fetch is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOutcome {
    /// An error of the session, with no partitions.
    pub error: ErrorCode,
    /// 0 for none.
    pub session_id: i32,
    /// In the order they were asked for; those with nothing new are left out of an incremental session.
    pub partitions: Vec<Fetched>,
}

/// What one partition gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Which topic, as the client named it.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// `NONE`, or why there is nothing.
    pub error: ErrorCode,
    /// -1 with an error.
    pub high_watermark: Offset,
    /// -1 with an error.
    pub last_stable: Offset,
    /// -1 with an error.
    pub log_start: Offset,
    /// Where the log that the client follows parts from ours (KIP-320): the greatest epoch both know, and its end.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The replica that the consumer is to read from instead; then there are no records.
    pub preferred: Option<BrokerId>,
    /// The records: whole batches.
    pub records: Option<FileRange>,
    /// Keeps their file open until the answer has left.
    pub pin: Option<Pin>,
}

/// A fetch that waits for records.
#[derive(Clone, Debug)]
pub struct DelayedFetch {
    /// Who is to be answered.
    pub ticket: Ticket,
    /// When it is answered with what there is.
    pub deadline: Instant,
    min_bytes: u64,
    max_bytes: u32,
    read_committed: bool,
    /// What is not committed is served too, to replicas.
    follower: Option<BrokerId>,
    client: Option<ClientMetadata>,
    fetching: Fetching,
    logs: Vec<Option<LogId>>,
}

/// A fetch that waits for reads of the disk.
#[derive(Clone, Debug)]
pub(super) struct ReadingFetch {
    fetch: DelayedFetch,
    fetched: Vec<Fetched>,
    outstanding: usize,
}

/// What a fetch would be answered with now.
struct Evaluation {
    fetched: Vec<Fetched>,
    bytes: u64,
    reads: usize,
    urgent: bool,
}

/// Up to where records are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    /// The last stable offset.
    ReadCommitted,
    /// The high watermark.
    ReadUncommitted,
    /// All that is written.
    Replica,
}

impl DelayedFetch {
    /// The logs that it reads.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.logs.iter().copied().flatten()
    }

    const fn isolation(&self) -> Isolation {
        match (self.follower.is_some(), self.read_committed) {
            (true, _) => Isolation::Replica,
            (false, true) => Isolation::ReadCommitted,
            (false, false) => Isolation::ReadUncommitted,
        }
    }
}

impl Fetched {
    fn new(partition: &SessionPartition) -> Self {
        let none = Offset(-1);
        Self {
            topic: TopicRef { name: partition.topic.clone(), id: partition.topic_id },
            partition: partition.partition,
            error: ErrorCode::NONE,
            high_watermark: none,
            last_stable: none,
            log_start: none,
            diverging: None,
            preferred: None,
            records: None,
            pin: None,
        }
    }

    fn told(&self) -> Option<Told> {
        let quiet = self.error == ErrorCode::NONE && self.diverging.is_none() && self.preferred.is_none();
        quiet.then_some(Told { high_watermark: self.high_watermark, log_start: self.log_start })
    }
}

impl Broker {
    /// Serves a fetch now, or parks it.
    pub fn fetch(&mut self, now: Now, request: FetchRequest, out: &mut Effects) {
        let FetchRequest { ticket, max_wait, min_bytes, read_committed, client, .. } = request;
        let FetchRequest { session, partitions, forgotten, .. } = request;
        let matched = self.sessions.on_request(now.monotonic, session, partitions, &forgotten, &mut self.rng);
        let fetching = match matched {
            Ok(fetching) => fetching,
            Err(refusal) => {
                let outcome = FetchOutcome { error: refusal_code(refusal), session_id: 0, partitions: Vec::new() };
                return self.release(ticket, Outcome::Fetch(outcome));
            }
        };
        let any_replica = client.is_some();
        let logs = fetching.partitions.iter().map(|it| self.readable(it, any_replica).ok()).collect();
        let max_bytes = request.max_bytes.min(self.config.broker.fetch.max_bytes);
        let deadline = now.monotonic + max_wait;
        if let Some(follower) = request.follower {
            self.note_follower(now, follower, &fetching, out);
        }
        let follower = request.follower.map(|follower| follower.id);
        let fetch =
            DelayedFetch { ticket, deadline, min_bytes, max_bytes, read_committed, follower, client, fetching, logs };
        let wait = !max_wait.is_zero() && !fetch.fetching.partitions.is_empty();
        let key = self.purgatory.key();
        self.serve(key, fetch, wait, out);
    }

    /// What a follower's fetch says of its logs counts when it comes, where they do not diverge.
    fn note_follower(&mut self, now: Now, follower: Follower, fetching: &Fetching, out: &mut Effects) {
        for partition in &fetching.partitions {
            let Ok(log) = self.fetchable(partition, false) else { continue };
            if self.diverged(log, partition).is_none() || self.config.planted.has(Plant::Rep10) {
                self.on_follower(now, log, follower, partition, out);
            }
        }
    }

    /// Something was written to a log: its followers may have it before it is committed.
    pub(super) fn wake_followers(&mut self, log: LogId, out: &mut Effects) {
        for key in self.purgatory.fetches_of(log) {
            if self.purgatory.fetch(key).is_some_and(|fetch| fetch.follower.is_some())
                && let Some(fetch) = self.purgatory.take_fetch(key)
            {
                self.serve(key, fetch, true, out);
            }
        }
    }

    /// A log moved on: the fetches parked on it are looked at again.
    pub(super) fn wake_fetches(&mut self, log: LogId, out: &mut Effects) {
        for key in self.purgatory.fetches_of(log) {
            if let Some(fetch) = self.purgatory.take_fetch(key) {
                self.serve(key, fetch, true, out);
            }
        }
    }

    /// A parked fetch is answered with what there is: its time is up, or its connection has other wishes.
    pub(super) fn give_up_fetch(&mut self, key: WaitKey, out: &mut Effects) -> bool {
        let Some(fetch) = self.purgatory.take_fetch(key) else { return false };
        self.serve(key, fetch, false, out);
        true
    }

    /// A read that a fetch waits for is done.
    pub(super) fn on_fetch_read(&mut self, (key, place): (WaitKey, usize), plan: ReadPlan) {
        let Some(reading) = self.looking.fetches.get_mut(&key) else { return };
        let fetched = &mut reading.fetched[place];
        fetched.read(plan);
        fetched.pin = fetched.records.map(|range| self.logs.pin(range));
        reading.outstanding -= 1;
        if reading.outstanding == 0
            && let Some(ReadingFetch { fetch, fetched, .. }) = self.looking.fetches.remove(&key)
        {
            self.finish_fetch(&fetch, fetched);
        }
    }

    fn serve(&mut self, key: WaitKey, fetch: DelayedFetch, wait: bool, out: &mut Effects) {
        let evaluation = self.evaluate(key, &fetch, out);
        let Evaluation { fetched, bytes, reads, urgent } = evaluation;
        if reads > 0 {
            self.looking.fetches.insert(key, ReadingFetch { fetch, fetched, outstanding: reads });
        } else if wait && !urgent && bytes < fetch.min_bytes && !self.purgatory.is_full() {
            self.purgatory.park_fetch(key, fetch);
        } else {
            self.finish_fetch(&fetch, fetched);
        }
    }

    fn finish_fetch(&mut self, fetch: &DelayedFetch, fetched: Vec<Fetched>) {
        let Fetching { session_id, incremental, partitions } = &fetch.fetching;
        let mut answered = Vec::with_capacity(fetched.len());
        for ((partition, log), fetched) in partitions.iter().zip(&fetch.logs).zip(fetched) {
            if let (Some(follower), Some(log)) = (fetch.follower, log)
                && self.selects_by_rack()
                && let Some(leader) = self.replicas.get_mut(*log).and_then(Replica::leader_mut)
            {
                leader.on_told(follower, fetched.high_watermark);
            }
            let news = self.sessions.tell(*session_id, partition, fetched.told(), fetched.records.is_some());
            if news || !incremental {
                answered.push(fetched);
            }
        }
        let outcome = FetchOutcome { error: ErrorCode::NONE, session_id: *session_id, partitions: answered };
        self.release(fetch.ticket, Outcome::Fetch(outcome));
    }

    fn evaluate(&mut self, key: WaitKey, fetch: &DelayedFetch, out: &mut Effects) -> Evaluation {
        let mut it = Evaluation { fetched: Vec::new(), bytes: 0, reads: 0, urgent: false };
        it.fetched.reserve(fetch.fetching.partitions.len());
        let mut left = fetch.max_bytes;
        for (place, partition) in fetch.fetching.partitions.iter().enumerate() {
            let min_one = it.bytes == 0 && it.reads == 0;
            let limits = (left, min_one);
            let (fetched, asked) = self.read_partition(partition, fetch, limits, (key, place), out);
            let bytes = fetched.records.map_or(0, |range| range.len);
            // What the disk is asked for may all come.
            left = left.saturating_sub(asked.unwrap_or(bytes));
            it.bytes += u64::from(bytes);
            it.reads += usize::from(asked.is_some());
            it.urgent |= fetched.told().is_none() || self.owes_watermark(fetch, place, fetched.high_watermark);
            it.fetched.push(fetched);
        }
        it
    }

    /// Reads one partition; the number says that the disk was asked for so many bytes, and will answer.
    fn read_partition(
        &mut self,
        partition: &SessionPartition,
        fetch: &DelayedFetch,
        (left, min_one_batch): (u32, bool),
        place: (WaitKey, usize),
        out: &mut Effects,
    ) -> (Fetched, Option<u32>) {
        let mut fetched = Fetched::new(partition);
        let log = match self.fetchable(partition, fetch.client.is_some()) {
            Ok(log) => log,
            Err(error) => {
                fetched.refuse(error);
                return (fetched, None);
            }
        };
        let high_watermark = self.replicas.high_watermark(log);
        let last_stable = self.logs.last_stable_offset(log).unwrap_or(high_watermark);
        fetched.high_watermark = high_watermark;
        fetched.last_stable = last_stable;
        let offsets = self.logs.offsets(log).unwrap_or_default();
        fetched.log_start = offsets.log_start;
        let follows = self.replicas.get(log).is_some_and(|replica| replica.following().is_some());
        if follows && partition.fetch_offset > high_watermark && !self.config.planted.has(Plant::Isr18) {
            // Up to its log's end it may be committed, and not known here yet: that is waited for.
            if partition.fetch_offset > offsets.log_end {
                fetched.refuse_offset(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            return (fetched, None);
        }
        fetched.diverging = self.diverged(log, partition);
        if fetched.diverging.is_some() {
            return (fetched, None);
        }
        fetched.preferred =
            fetch.client.as_ref().and_then(|client| self.nearest_replica(log, client, partition.fetch_offset));
        if fetched.preferred.is_some() {
            return (fetched, None);
        }
        let max_bytes = u32::try_from(partition.max_bytes).unwrap_or(0).min(left);
        let upper = match fetch.isolation() {
            // There is no room for more: the disk need not look for it.
            _ if max_bytes == 0 && !min_one_batch => Offset::ZERO,
            _ if follows && self.config.planted.has(Plant::Isr18) => offsets.written,
            Isolation::ReadCommitted => last_stable,
            Isolation::ReadUncommitted => high_watermark,
            Isolation::Replica => offsets.written,
        };
        let ticket = self.questions.ticket();
        let request = ReadRequest { from: partition.fetch_offset, max_bytes, min_one_batch, upper, ticket };
        let plan = self.logs.read(log, request, out);
        if plan == ReadPlan::Pending {
            self.questions.asked.insert(ticket, Pending::Fetch(place.0, place.1));
            return (fetched, Some(max_bytes));
        }
        fetched.read(plan);
        fetched.pin = fetched.records.map(|range| self.logs.pin(range));
        (fetched, None)
    }

    /// The log of a partition that this broker leads, or has any replica of.
    fn readable(&self, partition: &SessionPartition, any_replica: bool) -> Result<LogId, ErrorCode> {
        let topic = TopicRef { name: Arc::clone(&partition.topic), id: partition.topic_id };
        let replica = self.replica_of(&topic, partition.partition)?;
        match replica.following() {
            Some(_) if any_replica => Ok(replica.log),
            Some(_) | None => self.leading(&topic, partition.partition),
        }
    }

    fn fetchable(&self, partition: &SessionPartition, any_replica: bool) -> Result<LogId, ErrorCode> {
        let log = self.readable(partition, any_replica)?;
        self.check_leader_epoch(log, partition.current_leader_epoch)?;
        Ok(log)
    }

    /// Whether a follower is to hear of a high watermark now: consumers read there up to what it knows. Where they do
    /// not, the next records tell it soon enough.
    fn owes_watermark(&self, fetch: &DelayedFetch, place: usize, high_watermark: Offset) -> bool {
        let Some(follower) = fetch.follower.filter(|_| self.selects_by_rack()) else { return false };
        let log = fetch.logs.get(place).copied().flatten();
        let leader = log.and_then(|log| self.replicas.get(log)).and_then(Replica::leader);
        leader.is_some_and(|leader| leader.owes(follower, high_watermark))
    }

    fn diverged(&self, log: LogId, partition: &SessionPartition) -> Option<(LeaderEpoch, Offset)> {
        let last = LeaderEpoch(partition.last_fetched_epoch);
        let (epoch, end) = self.logs.end_offset_for_epoch(log, last).filter(|_| last.0 >= 0)?;
        let earlier = epoch < last && !self.config.planted.has(Plant::Rep02);
        (earlier || end < partition.fetch_offset).then_some((epoch, end))
    }
}

impl Fetched {
    fn read(&mut self, plan: ReadPlan) {
        match plan {
            ReadPlan::Ready { range, .. } => self.records = Some(range),
            ReadPlan::Empty => {}
            ReadPlan::OutOfRange => self.refuse_offset(ErrorCode::OFFSET_OUT_OF_RANGE),
            ReadPlan::Pending | ReadPlan::Storage => self.refuse(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    fn refuse_offset(&mut self, error: ErrorCode) {
        let log_start = self.log_start;
        self.refuse(error);
        self.log_start = log_start;
    }

    fn refuse(&mut self, error: ErrorCode) {
        let none = Offset(-1);
        self.error = error;
        (self.high_watermark, self.last_stable, self.log_start) = (none, none, none);
        (self.diverging, self.records) = (None, None);
    }
}

const fn refusal_code(refusal: SessionRefusal) -> ErrorCode {
    match refusal {
        SessionRefusal::NotFound => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        SessionRefusal::WrongEpoch => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
    }
}
