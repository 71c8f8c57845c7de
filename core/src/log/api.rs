//! What is said between the owner of the logs and its parent: identities, answers and events.
//!
//! Plain data. An answer that needs the disk carries the ticket that the parent gave with its question.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::cleaner::plan::CompactionRules;
use super::compaction::CleanerConfig;
use crate::machine::{DiskError, FileRange, LogDirId, Path};
use crate::record::BatchFacts;
pub use crate::storage::LogId;
use crate::types::{BrokerEpoch, LeaderEpoch, Offset, TopicPartition};

/// What a parent knows a pending question by. The parent chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A log's own configuration, under Kafka's topic keys. Bytes and milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`
    pub index_size_max_bytes: u32,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is without limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay: Duration,
    /// Whether `cleanup.policy` has `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// What that means.
    pub compaction: CompactionRules,
}

/// What holds for all logs of a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct LogManagerConfig {
    /// How many log directories there are (`log.dirs`).
    pub dirs: u16,
    /// For logs found at start, until [`super::LogManager::set_config`] says otherwise; but retention and compaction
    /// wait for that.
    pub default_log: LogConfig,
    /// The longest that an append stays without a sync when nobody waits for it.
    pub flush_max_delay: Duration,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub high_watermark_checkpoint_interval: Duration,
    /// `producer.id.expiration.ms`, in milliseconds of wall time.
    pub producer_id_expiration_ms: i64,
    /// `ottla.checkpoint.bytes`: after so many a log's indexes and producers are saved, also within a segment: what
    /// a restart after a crash reads again at most, beside what was not durable.
    pub checkpoint_bytes: u32,
    /// `ottla.flush.journal.bytes`: how far a flush journal is zeroed in advance.
    pub flush_journal_bytes: u32,
    /// How many older segments are kept open and indexed.
    pub cold_segments: usize,
    /// Compaction.
    pub cleaner: CleanerConfig,
}

/// Who appends, which decides who gives the offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client's batch: gets the next offsets; its sequence numbers are checked.
    Client,
    /// The broker's own batch, as leader (coordinators, the metadata log's leader): gets the next offsets.
    Coordinator,
    /// A batch that a leader sent: keeps its offsets and its leader epoch.
    Replica,
}

/// One batch to append.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The whole batch as it came; it is never copied.
    pub bytes: Bytes,
    /// What [`crate::record::scan`] said of it.
    pub facts: &'a BatchFacts,
}

/// Where an appended batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record.
    pub base_offset: Offset,
    /// Of the last record.
    pub last_offset: Offset,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// Whether the log had the batch already: nothing was written, and the offsets are the first attempt's.
    pub duplicate: bool,
}

/// Why a batch is not appended. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The log directory is offline or full, or the log is damaged or going: KAFKA_STORAGE_ERROR.
    Storage,
    /// There is no such log (any more): NOT_LEADER_OR_FOLLOWER.
    NoLog,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    OutOfOrderSequence,
    /// INVALID_PRODUCER_EPOCH
    InvalidProducerEpoch,
    /// INVALID_TXN_STATE
    InvalidTxnState,
    /// TRANSACTION_COORDINATOR_FENCED: a marker of an older coordinator.
    CoordinatorFenced,
    /// A duplicate that is older than the batches that are remembered: DUPLICATE_SEQUENCE_NUMBER.
    DuplicateSequence,
    /// The batch is larger than a segment: RECORD_LIST_TOO_LARGE.
    TooLarge,
    /// A replica's batch lies below the log's end: its offsets are taken.
    OffsetTaken,
    /// The control batch cannot be read: INVALID_RECORD.
    InvalidRecord,
}

/// How far a log goes, and how far what it holds is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset after the last appended record, whether or not it is written yet.
    pub log_end: Offset,
    /// Below it all is in the page cache: it survives the process.
    pub written: Offset,
    /// Below it all is synced, directory entries and flush journal too: it survives power loss.
    pub durable: Offset,
}

/// A question for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The batch that holds this offset comes first.
    pub from: Offset,
    /// At most so many bytes, cut at a batch's end.
    pub max_bytes: u32,
    /// Whether the first batch comes even if it is larger than `max_bytes` (KIP-74).
    pub min_one_batch: bool,
    /// Only batches below it: HighWatermark, LastStableOffset or LogEndOffset.
    pub upper: Offset,
    /// For [`LogEvent::ReadDone`].
    pub ticket: Ticket,
}

/// The answer to a [`ReadRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPlan {
    /// Whole batches, written or checked by this process. `end` is the offset after them, or less.
    Ready { range: FileRange, end: Offset },
    /// There is nothing between `from` and `upper`, or nothing that fits.
    Empty,
    /// `from` lies below the log's start or above its end.
    OutOfRange,
    /// The disk is asked; [`LogEvent::ReadDone`] follows with another plan than this one.
    Pending,
    /// The directory is offline, the log is damaged or gone: KAFKA_STORAGE_ERROR.
    Storage,
}

/// The answer to a question for a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampPlan {
    /// The first record that matches.
    Found { offset: Offset, timestamp: i64, leader_epoch: LeaderEpoch },
    /// No record does.
    NotFound,
    /// The disk is asked; [`LogEvent::TimestampDone`] follows.
    Pending,
    /// The directory is offline, the log is damaged or gone: KAFKA_STORAGE_ERROR.
    Storage,
}

/// What is asked of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampQuery {
    /// The first record at or after this time, in ms.
    AtOrAfter(i64),
    /// The first record with the greatest timestamp (KIP-734).
    Greatest,
}

/// Damage: bytes that were durable are not what they were. Such a log is never truncated here (promise P5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The base offset of the segment.
    pub segment: Offset,
    /// From which byte of it on.
    pub pos: u32,
    /// What is wrong, as a clause.
    pub why: String,
    /// Nobody knows what the bytes are: they could not be read. The next process may be able to.
    pub unreadable: bool,
}

/// A log that was found at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// Its number from now on.
    pub log: LogId,
    /// By the directory's name.
    pub partition: TopicPartition,
    /// From `partition.metadata`; zero if there is none.
    pub topic_id: Uuid,
    /// Where it lies.
    pub dir: LogDirId,
    /// How far it goes.
    pub offsets: Offsets,
    /// The checkpointed one, at most the log's end.
    pub high_watermark: Offset,
    /// Set if it must not be used.
    pub damage: Option<Damage>,
}

/// What the start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Every log, by directory and name.
    pub logs: Vec<FoundLog>,
    /// Logs that the flush journal knows and the directory lacks: they are lost, unless they were deleted.
    pub missing: Vec<(LogDirId, TopicPartition, Uuid)>,
    /// For each directory: the BrokerEpoch of its clean-shutdown mark, `None` after an unclean shutdown.
    pub clean: Vec<Option<BrokerEpoch>>,
    /// Directories that could not be read.
    pub offline: Vec<LogDirId>,
    /// What lies beside the metadata log and is no part of it: names and lengths.
    pub beside_metadata: Vec<(Box<str>, u64)>,
}

/// What a parent must know. Drained after each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Every directory is read and every log recovered.
    BootDone(Box<Boot>),
    /// The names of a new log are durable.
    Created { log: LogId },
    /// `Offsets::written` rose to this.
    Written { log: LogId, end: Offset },
    /// `Offsets::durable` rose to this.
    Durable { log: LogId, end: Offset },
    /// There was no room: what lay at `end` and above was not written and is gone.
    Cut { log: LogId, end: Offset },
    /// A truncation is done, as far as readers and appends can tell.
    Truncated { log: LogId, end: Offset },
    /// Answers a pending [`ReadRequest`].
    ReadDone { ticket: Ticket, plan: ReadPlan },
    /// Answers a pending read of bytes: whole batches, empty at the end, `None` if they cannot be read.
    BytesDone { ticket: Ticket, bytes: Option<Bytes> },
    /// Answers a pending question for a timestamp.
    TimestampDone { ticket: Ticket, plan: TimestampPlan },
    /// A raised log start offset is durable.
    LogStartSaved { log: LogId, offset: Offset },
    /// Retention or DeleteRecords raised the log start offset.
    LogStartRaised { log: LogId, offset: Offset },
    /// A deleted log's name is gone, durably. Its files follow later.
    Deleted { log: LogId },
    /// A saved file is durable under its name.
    Saved { ticket: Ticket },
    /// A file that was asked for: `Ok(None)` if it is not there.
    Loaded { ticket: Ticket, result: Result<Option<Bytes>, DiskError> },
    /// The directory failed. Nothing in it is acknowledged any more by this process (promise P6).
    DirOffline { dir: LogDirId, error: DiskError },
    /// There is no room; appends are refused.
    DirFull { dir: LogDirId },
    /// There is room again.
    DirSpace { dir: LogDirId },
    /// The log is offline: it must be repaired from its peers.
    Damaged { log: LogId, damage: Box<Damage> },
    /// All is synced and the clean marks are durable.
    ShutdownDone,
}

/// What a saved file is, for those who save it.
#[derive(Clone, Debug)]
pub struct SaveRequest {
    /// Where; its directory must be there.
    pub path: Path,
    /// The whole file.
    pub bytes: Bytes,
    /// For [`LogEvent::Saved`].
    pub ticket: Ticket,
}

/// What DescribeProducers asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerView {
    /// `producer.id`
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Of its last record; -1 if it has none.
    pub last_sequence: i32,
    /// Where its last remembered batch ends; `None` if none is remembered.
    pub last_offset: Option<Offset>,
    /// Of its last batch, in ms.
    pub last_timestamp: i64,
    /// Of its last marker; -1 if it has none.
    pub coordinator_epoch: i32,
    /// Where its open transaction began.
    pub current_txn_start_offset: Option<Offset>,
}

/// What a log has derived from its batches: at every moment what a rebuild from them would give (invariant S8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedView {
    /// Whose log.
    pub partition: TopicPartition,
    /// How far it goes.
    pub offsets: Offsets,
    /// As it was last set.
    pub high_watermark: Offset,
    /// Each epoch with its first offset.
    pub leader_epochs: Vec<(LeaderEpoch, Offset)>,
    /// Its producers.
    pub producers: Vec<ProducerView>,
}

/// How much of a log there is, for DescribeLogDirs and the state page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Which log.
    pub log: LogId,
    /// Whose.
    pub partition: TopicPartition,
    /// Of the topic.
    pub topic_id: Uuid,
    /// Where it lies.
    pub dir: LogDirId,
    /// How far it goes.
    pub offsets: Offsets,
    /// As it was last set.
    pub high_watermark: Offset,
    /// Bytes of all segments.
    pub size: u64,
    /// Base offset and bytes of each segment.
    pub segments: Vec<(Offset, u32)>,
    /// Each epoch with its first offset.
    pub leader_epochs: Vec<(LeaderEpoch, Offset)>,
    /// Whether it is damaged.
    pub damaged: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            index_interval_bytes: 4096,
            index_size_max_bytes: 10 << 20,
            retention_ms: WEEK_MS,
            retention_bytes: -1,
            file_delete_delay: Duration::from_secs(60),
            delete: true,
            compact: false,
            compaction: CompactionRules::default(),
        }
    }
}

impl Default for LogManagerConfig {
    fn default() -> Self {
        Self {
            dirs: 1,
            default_log: LogConfig::default(),
            flush_max_delay: Duration::from_millis(10),
            retention_check_interval: Duration::from_secs(300),
            high_watermark_checkpoint_interval: Duration::from_secs(5),
            producer_id_expiration_ms: 86_400_000,
            checkpoint_bytes: 64 << 20,
            flush_journal_bytes: 0,
            cold_segments: 64,
            cleaner: CleanerConfig::default(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} from byte {}: {}", self.segment, self.pos, self.why)
    }
}
