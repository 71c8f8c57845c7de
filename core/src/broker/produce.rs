//! Produce: from batches to acknowledgements.
//!
//! A batch is looked up, judged by its facts, appended, and then waits for the progress that its `acks` asks for.
//! A topic that recompresses or stamps batches has them rewritten by a job first; the batches of a partition keep
//! their order of arrival around it, so each partition has a queue that is empty unless a job runs.
//!
//! What a duplicate is answered with is the first attempt's offset, and it too waits until that is committed: an
//! acknowledgement always means the same (I3).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::purgatory::{ProduceWait, Progress, WaitKey};
use super::{Broker, Outcome, TopicRef};
use crate::clock::{Instant, Now};
use crate::ingress::Scanned;
use crate::job::{Job, Recompress};
use crate::log::{AppendError, AppendOrigin, Appended, Batch, LogId};
use crate::machine::{Effect, Effects, JobId, Ticket};
use crate::record::{self, BatchFacts, RecordBatch, RecordError, Refusal, Rewrite};
use crate::types::Offset;

/// A produce request, its batches already looked at by `ingress`.
#[derive(Debug)]
pub struct ProduceRequest {
    /// Who is to be answered.
    pub ticket: Ticket,
    /// 0: nobody; 1: when written; -1: when on every in-sync replica.
    pub acks: i16,
    /// The request's version: an old one may not send what its clients cannot read (KIP-110).
    pub version: i16,
    /// How long to wait for that.
    pub timeout: Duration,
    /// One a partition.
    pub batches: Vec<ProduceBatch>,
}

/// What a produce request brings to one partition.
#[derive(Debug)]
pub struct ProduceBatch {
    /// Which topic.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// The records, a slice of the frame.
    pub bytes: Bytes,
    /// What `ingress` found them to be.
    pub scanned: Scanned,
}

/// What became of one partition of a produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Which topic.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// `NONE` if the records are in the log.
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: Option<Box<str>>,
    /// The records that are wrong, where some are (KIP-467).
    pub record_errors: Vec<RecordError>,
    /// The first record's offset; -1 with an error.
    pub base_offset: Offset,
    /// The broker's timestamp in ms; -1 if the producer's stand.
    pub log_append_time: i64,
    /// Where the log starts; -1 with an error.
    pub log_start: Offset,
}

/// A produce that waits.
#[derive(Clone, Debug)]
pub struct DelayedProduce {
    /// Who is to be answered.
    pub ticket: Ticket,
    /// When it gives up.
    pub deadline: Instant,
    acks: i16,
    /// Each partition's outcome, if nothing goes wrong while it waits.
    produced: Vec<Produced>,
    /// Which of them still wait.
    waiting: Vec<bool>,
}

/// A batch that waits for its turn on a partition where a job runs.
#[derive(Clone, Debug)]
struct QueuedBatch {
    /// Who waits for it: with acks=0 only the connection, which reads no more than so much ahead.
    wait: (WaitKey, usize),
    acks: i16,
    bytes: Bytes,
    facts: BatchFacts,
    rewrite: Rewrite,
    append_time: Option<i64>,
}

/// The batches of one partition that stand behind a job, the one that the job works on first.
#[derive(Clone, Debug, Default)]
struct RewriteQueue {
    running: Option<JobId>,
    batches: VecDeque<QueuedBatch>,
}

/// The partitions where jobs run, and which job is whose.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrites {
    queues: BTreeMap<LogId, RewriteQueue>,
    pub(super) jobs: BTreeMap<JobId, LogId>,
}

/// What an append came to.
enum Step {
    /// It is answered.
    Done(Produced),
    /// It is in the log, and is answered when the log has got to the offset.
    Wait { log: LogId, until: Offset, produced: Produced },
    /// A job has it first, or stands before it.
    Queue { log: LogId, batch: QueuedBatch, produced: Produced },
}

impl Produced {
    fn new(topic: TopicRef, partition: i32, error: ErrorCode) -> Self {
        Self {
            topic,
            partition,
            error,
            message: None,
            record_errors: Vec::new(),
            base_offset: Offset(-1),
            log_append_time: -1,
            log_start: Offset(-1),
        }
    }

    fn fail(&mut self, error: ErrorCode) {
        *self = Self::new(self.topic.clone(), self.partition, error);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.fail(refusal.code);
        self.message = Some(refusal.message.into());
        self.record_errors = refusal.record_errors;
    }

    fn appended(&mut self, appended: &Appended, append_time: Option<i64>) {
        self.base_offset = appended.base_offset;
        self.log_append_time = append_time.unwrap_or(-1);
        self.log_start = appended.log_start_offset;
    }
}

impl Broker {
    /// Appends what a producer sends, and answers it now or later.
    pub fn produce(&mut self, now: Now, request: ProduceRequest, out: &mut Effects) {
        let ProduceRequest { ticket, acks, version, timeout, batches } = request;
        let key = self.purgatory.key();
        let mut produced = Vec::with_capacity(batches.len());
        let mut waiting = Vec::with_capacity(batches.len());
        let mut waits = Vec::new();
        let mut queued = Vec::new();
        for (place, batch) in batches.into_iter().enumerate() {
            let step = self.take_batch(now, (acks, version), (key, place), batch, out);
            waiting.push(!matches!(step, Step::Done(_)));
            produced.push(match step {
                Step::Done(produced) => produced,
                Step::Wait { log, until, produced } => {
                    waits.push((log, until, place));
                    produced
                }
                Step::Queue { log, batch, produced } => {
                    queued.push((log, batch));
                    produced
                }
            });
        }
        if !waiting.contains(&true) {
            self.release(ticket, Outcome::Produce { produced, acks });
        } else {
            let deadline = now.monotonic + timeout;
            let delayed = DelayedProduce { ticket, deadline, acks, produced, waiting };
            if self.purgatory.is_full() {
                self.time_out(delayed);
            } else {
                self.purgatory.park_produce(key, delayed, progress(acks), waits.into_iter());
            }
        }
        for (log, batch) in queued {
            self.rewrites.queues.entry(log).or_default().batches.push_back(batch);
            self.advance_queue(now, log, out);
        }
    }

    /// A log got further: those who waited for it are answered.
    pub(super) fn release_produces(&mut self, log: LogId, progress: Progress, reached: Offset) {
        while let Some(wait) = self.purgatory.release_produce(log, progress, reached) {
            self.finish_place((wait.key, wait.place), None);
        }
    }

    /// A log failed, or lost what lay at `from` and above: those who wait for that are told so.
    pub(super) fn fail_produces(&mut self, log: LogId, from: Offset, error: ErrorCode) {
        for wait in self.purgatory.drain_produces(log, from) {
            self.finish_place((wait.key, wait.place), Some(error));
        }
    }

    /// A produce waited too long.
    pub(super) fn give_up_produce(&mut self, key: WaitKey) -> bool {
        let Some(produce) = self.purgatory.take_produce(key) else { return false };
        self.time_out(produce);
        true
    }

    /// Answers a produce that does not wait any more. Its records may still become durable: the outcome is indefinite.
    fn time_out(&mut self, mut produce: DelayedProduce) {
        for (produced, _) in produce.produced.iter_mut().zip(&produce.waiting).filter(|(_, waiting)| **waiting) {
            produced.fail(ErrorCode::REQUEST_TIMED_OUT);
        }
        self.release(produce.ticket, Outcome::Produce { produced: produce.produced, acks: produce.acks });
    }

    /// A recompressing job is done: its batch is appended, and those behind it go on.
    pub(super) fn on_recompressed(
        &mut self,
        now: Now,
        log: LogId,
        result: Result<(Bytes, BatchFacts), Refusal>,
        out: &mut Effects,
    ) {
        let Some(queue) = self.rewrites.queues.get_mut(&log) else { return };
        queue.running = None;
        if let Some(mut batch) = queue.batches.pop_front() {
            match result {
                Ok((bytes, facts)) => {
                    (batch.bytes, batch.facts) = (bytes, facts);
                    self.append_queued(now, log, &batch, out);
                }
                Err(refusal) => self.settle_queued(&batch, |produced| {
                    produced.refuse(refusal);
                    None
                }),
            }
        }
        self.advance_queue(now, log, out);
    }

    fn take_batch(
        &mut self,
        now: Now,
        (acks, version): (i16, i16),
        wait: (WaitKey, usize),
        batch: ProduceBatch,
        out: &mut Effects,
    ) -> Step {
        let ProduceBatch { topic, partition, mut bytes, scanned } = batch;
        let mut produced = Produced::new(topic, partition, ErrorCode::NONE);
        if !matches!(acks, -1..=1) {
            produced.fail(ErrorCode::INVALID_REQUIRED_ACKS);
            return Step::Done(produced);
        }
        let log = match self.producible(&produced.topic, partition, acks) {
            Ok(log) => log,
            Err(error) => {
                produced.fail(error);
                return Step::Done(produced);
            }
        };
        let policy = *self.replicas.policy(log).expect("what is led here has a policy");
        let judged = scanned.map_err(|error| error.refusal());
        let judged = judged.and_then(|facts| Ok((facts, record::validate(&facts, &policy, version, now.wall.0)?)));
        let (mut facts, accepted) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                produced.refuse(refusal);
                return Step::Done(produced);
            }
        };
        if let Rewrite::Restamp(stamp) = accepted.rewrite {
            bytes = restamped(&bytes, &accepted.rewrite);
            facts.attributes = facts.attributes.with_timestamp_type(stamp.timestamp_type);
            facts.timestamps.header_max = stamp.max_timestamp;
        }
        let recompresses = matches!(accepted.rewrite, Rewrite::Recompress { .. });
        if recompresses || self.rewrites.queues.contains_key(&log) {
            let rewrite = if recompresses { accepted.rewrite } else { Rewrite::Keep };
            let append_time = accepted.append_time;
            return Step::Queue {
                log,
                batch: QueuedBatch { wait, acks, bytes, facts, rewrite, append_time },
                produced,
            };
        }
        match self.append(now, log, bytes, &facts, acks, out) {
            Ok(appended) => {
                produced.appended(&appended, accepted.append_time);
                match self.awaited(log, acks, &appended) {
                    Some(until) => Step::Wait { log, until, produced },
                    None => Step::Done(produced),
                }
            }
            Err(error) => {
                produced.fail(error);
                Step::Done(produced)
            }
        }
    }

    fn append(
        &mut self,
        now: Now,
        log: LogId,
        bytes: Bytes,
        facts: &BatchFacts,
        acks: i16,
        out: &mut Effects,
    ) -> Result<Appended, ErrorCode> {
        let leader = self.replicas.get(log).and_then(|replica| replica.leader());
        let leader_epoch = leader.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?.leader_epoch();
        let batch = Batch { bytes, facts };
        let awaited = acks == -1 && self.counts_durable();
        let appended = self.logs.append(now, log, leader_epoch, batch, AppendOrigin::Client, awaited, out);
        appended.map_err(error_code)
    }

    /// How far the log must get before the batch is acknowledged. A duplicate may be of a batch for which it is already
    /// there, and then nothing need ever happen again to tell so.
    fn awaited(&self, log: LogId, acks: i16, appended: &Appended) -> Option<Offset> {
        if acks == 0 {
            return None;
        }
        let until = appended.last_offset + 1;
        let reached = match progress(acks) {
            Progress::Written => self.logs.offsets(log).map_or(Offset::ZERO, |offsets| offsets.written),
            Progress::Committed => self.replicas.high_watermark(log),
        };
        (!appended.duplicate || until > reached).then_some(until)
    }

    /// Appends what needs no job, up to the next batch that does, and starts that one's.
    fn advance_queue(&mut self, now: Now, log: LogId, out: &mut Effects) {
        loop {
            let queue = self.rewrites.queues.get_mut(&log);
            let Some(queue) = queue.filter(|queue| queue.running.is_none()) else { return };
            let Some(batch) = queue.batches.front() else {
                self.rewrites.queues.remove(&log);
                return;
            };
            // Who sent it was told that its time is up, or that there is no room to wait: memory for as much as anyone
            // sends is not to be had.
            if self.purgatory.produce_mut(batch.wait.0).is_none() {
                queue.batches.pop_front();
                continue;
            }
            if batch.rewrite == Rewrite::Keep {
                let batch = queue.batches.pop_front().expect("it has a front");
                self.append_queued(now, log, &batch, out);
                continue;
            }
            let job = self.logs.next_job();
            queue.running = Some(job);
            let work = Recompress {
                batch: batch.bytes.clone(),
                rewrite: batch.rewrite,
                max_message_bytes: self.replicas.policy(log).map_or(u32::MAX, |policy| policy.max_message_bytes),
                inflated_limit: u64::from(self.config.broker.limits.batch_max_inflated_bytes),
            };
            self.rewrites.jobs.insert(job, log);
            return out.push(Effect::Run { job, work: Box::new(Job::Recompress(work)) });
        }
    }

    fn append_queued(&mut self, now: Now, log: LogId, batch: &QueuedBatch, out: &mut Effects) {
        let appended = self.append(now, log, batch.bytes.clone(), &batch.facts, batch.acks, out);
        let awaited = appended.as_ref().ok().and_then(|appended| self.awaited(log, batch.acks, appended));
        self.settle_queued(batch, |produced| match appended {
            Ok(appended) => {
                produced.appended(&appended, batch.append_time);
                awaited.map(|until| (log, until))
            }
            Err(error) => {
                produced.fail(error);
                None
            }
        });
    }

    /// Notes what became of a queued batch with whoever waits for it: it waits on for a log's progress, or is done.
    fn settle_queued(&mut self, batch: &QueuedBatch, outcome: impl FnOnce(&mut Produced) -> Option<(LogId, Offset)>) {
        let (key, place) = batch.wait;
        let Some(produce) = self.purgatory.produce_mut(key) else { return };
        match outcome(&mut produce.produced[place]) {
            Some((log, until)) => {
                self.purgatory.wait_produce(log, progress(batch.acks), ProduceWait { until, key, place });
            }
            None => self.finish_place((key, place), None),
        }
    }

    /// One partition of a waiting produce is done; the last one answers it.
    fn finish_place(&mut self, (key, place): (WaitKey, usize), error: Option<ErrorCode>) {
        let Some(produce) = self.purgatory.produce_mut(key) else { return };
        produce.waiting[place] = false;
        if let Some(error) = error {
            produce.produced[place].fail(error);
        }
        if !produce.waiting.contains(&true)
            && let Some(produce) = self.purgatory.take_produce(key)
        {
            self.release(produce.ticket, Outcome::Produce { produced: produce.produced, acks: produce.acks });
        }
    }
}

const fn progress(acks: i16) -> Progress {
    if acks == 1 { Progress::Written } else { Progress::Committed }
}

/// The batch with the header that the topic's timestamp type asks for: one copy, for topics that ask for it.
fn restamped(bytes: &Bytes, rewrite: &Rewrite) -> Bytes {
    let batch = RecordBatch::first_of(bytes).expect("the scan found one whole batch");
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let stamped = record::rewrite(&batch, rewrite, size, 0);
    Bytes::from(stamped.expect("a restamp changes no length and inflates nothing"))
}

/// Kafka's code for a log's refusal.
pub(super) const fn error_code(error: AppendError) -> ErrorCode {
    match error {
        AppendError::Storage => ErrorCode::KAFKA_STORAGE_ERROR,
        AppendError::NoLog => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        AppendError::OutOfOrderSequence => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::InvalidProducerEpoch => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::InvalidTxnState => ErrorCode::INVALID_TXN_STATE,
        AppendError::CoordinatorFenced => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        AppendError::DuplicateSequence => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        AppendError::TooLarge => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::OffsetTaken => ErrorCode::UNKNOWN_SERVER_ERROR,
        AppendError::InvalidRecord => ErrorCode::INVALID_RECORD,
    }
}
