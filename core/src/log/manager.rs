//! The owner of all logs, of their directories and of every file operation.
//!
//! A parent passes each file completion, each of the logs' job reports and each timeout in, asks and orders in
//! between, drains [`LogManager::events`] after each call, and calls [`LogManager::settle`] at the end of each
//! step, so that the appends of one step share a sync.

use ottla_wire::Uuid;

use super::api::*;
use crate::clock::{Instant, Now};
use crate::job::Report;
use crate::machine::{DiskResult, Effects, JobId, LogDirId, OpId, Path};
use crate::planted::Planted;
use crate::types::{BrokerEpoch, LeaderEpoch, Offset, TopicPartition};

/// Every log of a broker.
#[derive(Clone, Debug)]
pub struct LogManager {
    config: LogManagerConfig,
    planted: Planted,
    events: Vec<LogEvent>,
    next_job: u64,
}

impl LogManager {
    /// Starts nothing.
    #[must_use]
    pub fn new(config: LogManagerConfig, planted: Planted) -> Self {
        Self { config, planted, events: Vec::new(), next_job: 1 }
    }

    /// Reads the directories and recovers every log in them; [`LogEvent::BootDone`] follows.
    pub fn start(&mut self, now: Now, out: &mut Effects) {
        let _ = (now, out, &self.config, self.planted);
        self.events.push(LogEvent::BootDone(Box::default()));
    }

    /// Every completion of a file operation.
    pub fn on_disk(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects) {
        let _ = (now, op, result, out);
    }

    /// Every report of a job that is a log's.
    pub fn on_job(&mut self, now: Now, job: JobId, report: Box<Report>, out: &mut Effects) {
        let _ = (now, job, report, out);
    }

    /// When [`Self::next_deadline`] has come; harmless before.
    pub fn on_timeout(&mut self, now: Now, out: &mut Effects) {
        let _ = (now, out);
    }

    /// When to call [`Self::on_timeout`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// At the end of each step: starts a commit round where one is due.
    pub fn settle(&mut self, now: Now, out: &mut Effects) {
        let _ = (now, out);
    }

    /// What happened since the last call.
    pub fn events(&mut self) -> std::vec::Drain<'_, LogEvent> {
        self.events.drain(..)
    }

    /// A number for a job of the parent's own: jobs share one sequence.
    pub fn next_job(&mut self) -> JobId {
        let job = JobId(self.next_job);
        self.next_job += 1;
        job
    }

    /// The log of a partition.
    #[must_use]
    pub fn find(&self, partition: &TopicPartition) -> Option<LogId> {
        let _ = partition;
        None
    }

    /// Makes a log: directory, `partition.metadata`, first segment. Usable at once; [`LogEvent::Created`] follows
    /// when its names are durable. `None` if the partition has a log, or every directory is offline or full.
    pub fn create(
        &mut self,
        now: Now,
        partition: TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        out: &mut Effects,
    ) -> Option<LogId> {
        let _ = (now, partition, topic_id, config, out);
        None
    }

    /// Appends a batch. `awaited`: somebody waits for it to be durable, so the next round starts at once.
    pub fn append(
        &mut self,
        now: Now,
        log: LogId,
        leader_epoch: LeaderEpoch,
        batch: Batch<'_>,
        origin: AppendOrigin,
        awaited: bool,
        out: &mut Effects,
    ) -> Result<Appended, AppendError> {
        let _ = (now, log, leader_epoch, batch, origin, awaited, out);
        Err(AppendError::NoLog)
    }

    /// Notes the start of a leader epoch at the log's end, as a new leader does before it appends.
    pub fn begin_epoch(&mut self, now: Now, log: LogId, leader_epoch: LeaderEpoch, out: &mut Effects) {
        let _ = (now, log, leader_epoch, out);
    }

    /// How far a log goes; `None` if there is no such log.
    #[must_use]
    pub fn offsets(&self, log: LogId) -> Option<Offsets> {
        let _ = log;
        None
    }

    /// Where records are.
    pub fn read(&mut self, log: LogId, request: ReadRequest, out: &mut Effects) -> ReadPlan {
        let _ = (log, request, out);
        ReadPlan::Storage
    }

    /// Whole batches from `from` on (at most 1 MiB, unless one is larger), as bytes: [`LogEvent::BytesDone`] follows.
    pub fn read_bytes(&mut self, log: LogId, from: Offset, ticket: Ticket, out: &mut Effects) {
        let _ = (log, from, out);
        self.events.push(LogEvent::BytesDone { ticket, bytes: None });
    }

    /// The first record at or after a time, or with the greatest time, below `upper`.
    pub fn find_timestamp(
        &mut self,
        log: LogId,
        query: TimestampQuery,
        upper: Offset,
        ticket: Ticket,
        out: &mut Effects,
    ) -> TimestampPlan {
        let _ = (log, query, upper, ticket, out);
        TimestampPlan::Storage
    }

    /// The end of the greatest epoch at or below `leader_epoch`, and that epoch (KIP-101, KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, log: LogId, leader_epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let _ = (log, leader_epoch);
        None
    }

    /// The latest leader epoch of the log.
    #[must_use]
    pub fn latest_epoch(&self, log: LogId) -> Option<LeaderEpoch> {
        let _ = log;
        None
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, log: LogId, offset: Offset) -> Option<LeaderEpoch> {
        let _ = (log, offset);
        None
    }

    /// Cuts the log so that it ends at `offset` or, if that lies within a batch, before that batch. In memory at
    /// once. Ranges that were handed out above the cut are the caller's to close first.
    pub fn truncate_to(&mut self, now: Now, log: LogId, offset: Offset, out: &mut Effects) {
        let _ = (now, log, offset, out);
    }

    /// Raises the log start offset (DeleteRecords): [`LogEvent::LogStartSaved`] follows when that is durable.
    pub fn advance_log_start(&mut self, now: Now, log: LogId, offset: Offset, out: &mut Effects) {
        let _ = (now, log, offset, out);
    }

    /// Deletes a log. It is gone at once; [`LogEvent::Deleted`] follows when that is durable.
    pub fn delete(&mut self, now: Now, log: LogId, out: &mut Effects) {
        let _ = (now, log, out);
    }

    /// Changes a log's configuration.
    pub fn set_config(&mut self, log: LogId, config: LogConfig) {
        let _ = (log, config);
    }

    /// Says how far the log can no longer change: what producers did below it needs no undoing, and retention
    /// never passes it.
    pub fn set_high_watermark(&mut self, log: LogId, offset: Offset) {
        let _ = (log, offset);
    }

    /// The greatest offset below which no transaction is open, at most the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self, log: LogId) -> Option<Offset> {
        let _ = log;
        None
    }

    /// The producers of a log, for DescribeProducers.
    #[must_use]
    pub fn producers(&self, log: LogId) -> Vec<ProducerView> {
        let _ = log;
        Vec::new()
    }

    /// Saves a file atomically: a new file, synced, renamed into place, the directory synced. [`LogEvent::Saved`]
    /// follows. Saves of one path are durable in the order of the calls.
    pub fn save(&mut self, request: SaveRequest, out: &mut Effects) {
        let _ = (request, out);
    }

    /// Reads a small file: [`LogEvent::Loaded`] follows.
    pub fn load(&mut self, path: Path, ticket: Ticket, out: &mut Effects) {
        let _ = (path, ticket, out);
    }

    /// Syncs all, saves what a start needs, leaves the clean marks: [`LogEvent::ShutdownDone`] follows. Appends
    /// are refused from now on.
    pub fn shutdown(&mut self, now: Now, broker_epoch: BrokerEpoch, out: &mut Effects) {
        let _ = (now, broker_epoch, out);
        self.events.push(LogEvent::ShutdownDone);
    }

    /// One log, for the state page, DescribeLogDirs and the invariants.
    #[must_use]
    pub fn view(&self, log: LogId) -> Option<LogView> {
        let _ = log;
        None
    }

    /// Every log there is.
    pub fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        std::iter::empty()
    }

    /// Whether a directory takes appends.
    #[must_use]
    pub fn is_usable(&self, dir: LogDirId) -> bool {
        let _ = dir;
        true
    }
}
