//! Invariants, one a file, named as the literature names them; [`CODES`], [`GROUP_CODES`], [`QUORUM_CODES`] and
//! [`REPLICA_CODES`] list them.
//!
//! Each is a small checker that looks at [`Fact`]s: what a step touched, what a client saw, what a restart
//! found. It keeps what it needs of the past and knows nothing of the world, so that a synthetic history can
//! break it in its test. The first violation ends a run.

mod ack_truth;
mod by_offset;
mod by_reader;
mod checkpoint_soundness;
mod committed_is_durable;
mod coordinator_replay;
mod duplicate;
mod error_truth;
mod fail_stop;
mod false_alarm;
mod group;
mod inconsistent_offsets;
mod indexes_agree;
mod interior_damage;
mod last_of_key;
mod live_equals_replay;
mod log_start;
mod lost_write;
mod malformed_input;
mod no_bad_crc;
mod no_duplicate;
mod nonmonotonic_poll;
mod offset_uniqueness;
mod poll_skip;
mod quorum;
mod read_stability;
mod recovered_prefix;
mod replication;
mod response_order;
mod segment_order;
mod send_order;
mod sequence_contiguity;

use std::fmt;

use ottla_core::record::Producer;
use ottla_core::types::TopicPartition;

use crate::groups::{Op, Seen};
use crate::history::{History, PartitionIndex, ValueId, Write};
use crate::logs::{BatchRef, FollowedLog, SegmentImage};
use crate::stored::Kept;

pub use by_reader::ByReader;
pub use coordinator_replay::Coordinated;
pub use group::{CODES as GROUP_CODES, OLD};
pub use live_equals_replay::{Derived, ProducerRow};
pub use quorum::{CODES as QUORUM_CODES, Part, QuorumFact, Seen as QuorumSeen};
pub use replication::{CODES as REPLICA_CODES, ReplicaEvent, ReplicaFact, Stands, holders, is_same, most_held};

/// Something that a checker may look at.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// The machine appends a batch to a log that ended at `end` before.
    Appended { log: &'a TopicPartition, batch: &'a BatchRef, end: i64 },
    /// What the machine appends next to a log it has from its leader; whether that does not begin where the log ended.
    Copied { log: &'a TopicPartition, producer: Producer, skips: bool },
    /// A replica is made that begins there: of what was below it knows nothing, nor who produced it.
    Forgotten { partition: PartitionIndex, below: i64 },
    /// The machine makes a segment for a log that ends at `end`.
    Rolled { log: &'a TopicPartition, segment: i64, end: i64 },
    /// The machine cuts a log; it ends at `end` now.
    Cut { log: &'a TopicPartition, end: i64 },
    /// A write or a sync of a log failed with an error that is not "full".
    StorageFailed { log: &'a TopicPartition, followed: &'a FollowedLog },
    /// A process starts, after a crash or a stop.
    Booted,
    /// The process serves.
    Ready,
    /// A log as a start left it.
    Recovered { log: &'a TopicPartition, found: Recovered<'a> },
    /// A saved file claims that a log is durable up to `claims`; it can be read up to `end`.
    Claimed { file: &'a str, log: &'a TopicPartition, claims: i64, end: i64 },
    /// The machine takes a log for damaged; `disk_failed`: the disk has damaged something, or failed to read.
    OutOfService { log: &'a TopicPartition, disk_failed: bool },
    /// A segment with its indexes, at rest.
    Indexed { log: &'a TopicPartition, segment: &'a SegmentImage },
    /// What the machine has derived from a log, and the log.
    Derived { log: &'a TopicPartition, derived: Derived<'a> },
    /// A process appends to a log, and after a power loss the mark of the last clean stop may be there.
    CleanMark { log: &'a TopicPartition },
    /// The machine leads a log in an epoch; the epochs of its vote that a power loss may leave: `None` where it may
    /// leave nothing that can be read.
    Led { log: &'a TopicPartition, epoch: i32, saved: &'a [Option<i32>] },
    /// A partition has moved from the node to others.
    Moved { log: &'a TopicPartition },
    /// Something about the metadata quorum of several nodes.
    Quorum(QuorumFact<'a>),
    /// Something about a replicated partition.
    Replica(ReplicaFact<'a>),
    /// Where the machine has a log begin, what it counts as committed, and where it may begin at most: nobody asked for
    /// more to be deleted, and nothing expires.
    Begins { log: &'a TopicPartition, start: i64, high_watermark: i64, may_begin: i64 },
    /// The machine counts a log as committed up to an offset.
    Committed { log: &'a TopicPartition, high_watermark: i64, followed: &'a FollowedLog },
    /// A batch was refused as out of sequence, and all that its client sent before it was acknowledged.
    OutOfSequence { log: &'a TopicPartition, producer: Producer },
    /// A client learns that its value lies at `offset`.
    Acked { log: &'a TopicPartition, value: ValueId, write: &'a Write, offset: i64, followed: Option<&'a FollowedLog> },
    /// A client reads a value.
    Polled { reader: u16, partition: PartitionIndex, offset: i64, value: ValueId, write: Option<&'a Write> },
    /// A reader starts anew, at a place of its choice; `None` if it does not know it yet.
    Sought { reader: u16, partition: PartitionIndex, to: Option<i64> },
    /// A log comes from another broker, up to `end`, and may have holes.
    Inherited { partition: PartitionIndex, end: i64 },
    /// A log is compacted: from now on it may have holes below an offset.
    Compacted { partition: PartitionIndex, below: i64 },
    /// A reader got a batch whose CRC is wrong, or that cannot be read.
    BadBatch { partition: PartitionIndex, offset: i64 },
    /// A response leaves: the request it must answer, and the one it does; `None` where there is none.
    Answered { conn: u64, owed: Option<i32>, answers: i32 },
    /// A frame that cannot be read was handed in, and the step's effects closed the connection or answered.
    Refused { conn: u64, closed: bool, answered: bool },
    /// A client asks something about a group, or is told.
    Group { op: Op<'a>, seen: Seen<'a> },
    /// What a shard of the group coordinator takes for committed, and what its log says.
    Coordinated { log: &'a TopicPartition, shard: Coordinated<'a> },
    /// A compacted log as it lies on the disk in the end: what is there of each key, from its start on.
    Kept { partition: PartitionIndex, start: i64, kept: &'a Kept, tombstones_stay: bool, history: &'a History },
    /// Everything is read, from the first offset (by partition) to the end.
    AllRead { history: &'a History, starts: &'a [i64] },
}

/// What a start made of a log.
#[derive(Clone, Copy, Debug)]
pub struct Recovered<'a> {
    /// What the log holds now, on the disk.
    pub batches: &'a [BatchRef],
    /// Whether that is all that its files hold.
    pub whole: bool,
    /// What was ever appended to it, and what it owes.
    pub followed: &'a FollowedLog,
    /// Whether the machine serves it.
    pub online: bool,
    /// The offset that the machine gives next, if it leads it.
    pub next: Option<i64>,
    /// Where the machine has it begin, if it leads it.
    pub start: Option<i64>,
}

/// What was violated, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's code.
    pub invariant: &'static str,
    /// One sentence.
    pub what: String,
}

/// A checker's verdict: a sentence on what is wrong.
pub type Verdict = Result<(), String>;

/// All checkers.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    nodes: Vec<OfNode>,
    ack_truth: ack_truth::AckTruth,
    read_stability: read_stability::ReadStability,
    inconsistent_offsets: inconsistent_offsets::InconsistentOffsets,
    duplicate: duplicate::Duplicate,
    nonmonotonic_poll: nonmonotonic_poll::NonmonotonicPoll,
    poll_skip: poll_skip::PollSkip,
    send_order: send_order::SendOrder,
    last_of_key: last_of_key::LastOfKey,
    groups: group::GroupRules,
    quorum: quorum::QuorumRules,
    replication: replication::ReplicationRules,
}

/// The checkers of what one node does with its own logs: another's log of the same name is another log to them.
#[derive(Clone, Debug, Default)]
struct OfNode {
    recovered_prefix: recovered_prefix::RecoveredPrefix,
    segment_order: segment_order::SegmentOrder,
    fail_stop: fail_stop::FailStop,
    offset_uniqueness: offset_uniqueness::OffsetUniqueness,
    no_duplicate: no_duplicate::NoDuplicate,
    sequence_contiguity: sequence_contiguity::SequenceContiguity,
    log_start: log_start::LogStart,
}

impl OfNode {
    fn forget(&mut self, log: &TopicPartition) {
        self.segment_order.forget(log);
        self.fail_stop.forget(log);
        self.offset_uniqueness.forget(log);
        self.no_duplicate.forget(log);
        self.sequence_contiguity.forget(log);
        self.log_start.forget(log);
    }
}

/// Every code, with what it says.
pub const CODES: [(&str, &str); 26] = [
    (recovered_prefix::CODE, "a log after a crash is a prefix of what it was, and holds all that was promised"),
    (indexes_agree::CODE, "indexes agree with their log"),
    (no_bad_crc::CODE, "no batch with a bad CRC is served"),
    (checkpoint_soundness::CODE, "a saved file claims only what is durable"),
    (interior_damage::CODE, "damage is never taken for a torn tail"),
    (false_alarm::CODE, "what the disk did not damage is not taken out of service"),
    (fail_stop::CODE, "after a failed write or sync nothing later in that log is acknowledged"),
    (segment_order::CODE, "segments have their own base offsets, and offsets within 2^31 of them"),
    (live_equals_replay::CODE, "what is derived from a log equals a rebuild from it"),
    (no_duplicate::CODE, "a sequence number is appended once"),
    (sequence_contiguity::CODE, "sequence numbers have no gaps, and what follows is taken"),
    (ack_truth::CODE, "an acknowledged offset holds that record"),
    (read_stability::CODE, "what was read once is read again"),
    (offset_uniqueness::CODE, "an offset means one batch, and offsets grow"),
    (committed_is_durable::CODE, "what counts as committed is durable"),
    (response_order::CODE, "responses come in the order of their requests"),
    (malformed_input::CODE, "malformed input is refused and harms nobody"),
    (inconsistent_offsets::CODE, "an offset has one value"),
    (duplicate::CODE, "a value has one offset"),
    (lost_write::CODE, "what was acknowledged is read"),
    (log_start::CODE, "a log begins at or below what is committed, and goes forward"),
    (last_of_key::CODE, "of each key the last value stays, whatever compaction takes"),
    (nonmonotonic_poll::CODE, "a reader goes forward"),
    (poll_skip::CODE, "a reader passes nothing over"),
    (error_truth::CODE, "what was refused for certain never appears"),
    (send_order::CODE, "a client's records lie in the order in which it sent them"),
];

impl Invariants {
    /// Shows a fact to the rules of the client history alone.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_history(&mut self, fact: &Fact<'_>) -> Result<(), Violation> {
        self.groups.check(fact)?;
        of(inconsistent_offsets::CODE, self.inconsistent_offsets.check(fact))?;
        of(duplicate::CODE, self.duplicate.check(fact))?;
        of(lost_write::CODE, lost_write::check(fact))?;
        of(last_of_key::CODE, self.last_of_key.check(fact))?;
        of(nonmonotonic_poll::CODE, self.nonmonotonic_poll.check(fact))
    }

    /// Shows a fact to every checker. It is of the node at place `at`, of its logs and its process; what clients see
    /// concerns the node that holds what they read or wrote.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&mut self, at: usize, fact: &Fact<'_>) -> Result<(), Violation> {
        if let Fact::Polled { .. } = fact {
            return self.check_polled(fact);
        }
        if let Fact::Group { .. } = fact {
            return self.groups.check(fact);
        }
        if self.nodes.len() <= at {
            self.nodes.resize_with(at + 1, OfNode::default);
        }
        if let Fact::Quorum(of_quorum) = fact {
            if let QuorumFact::Wiped = of_quorum {
                self.nodes[at] = OfNode::default();
            }
            return self.quorum.check(at, fact);
        }
        if let Fact::Replica(_) = fact {
            return self.replication.check(at, fact);
        }
        let node = &mut self.nodes[at];
        if let Fact::Moved { log } = fact {
            node.forget(log);
            return Ok(());
        }
        of(recovered_prefix::CODE, node.recovered_prefix.check(fact))?;
        of(indexes_agree::CODE, indexes_agree::check(fact))?;
        of(no_bad_crc::CODE, no_bad_crc::check(fact))?;
        of(checkpoint_soundness::CODE, checkpoint_soundness::check(fact))?;
        of(interior_damage::CODE, interior_damage::check(fact))?;
        of(false_alarm::CODE, false_alarm::check(fact))?;
        of(fail_stop::CODE, node.fail_stop.check(fact))?;
        of(segment_order::CODE, node.segment_order.check(fact))?;
        of(live_equals_replay::CODE, live_equals_replay::check(fact))?;
        of(live_equals_replay::CODE, coordinator_replay::check(fact))?;
        of(no_duplicate::CODE, node.no_duplicate.check(fact))?;
        of(sequence_contiguity::CODE, node.sequence_contiguity.check(fact))?;
        of(ack_truth::CODE, self.ack_truth.check(fact))?;
        of(offset_uniqueness::CODE, node.offset_uniqueness.check(fact))?;
        of(committed_is_durable::CODE, committed_is_durable::check(fact))?;
        of(log_start::CODE, node.log_start.check(fact))?;
        self.quorum.check(at, fact)?;
        of(response_order::CODE, response_order::check(fact))?;
        of(malformed_input::CODE, malformed_input::check(fact))?;
        of(inconsistent_offsets::CODE, self.inconsistent_offsets.check(fact))?;
        of(duplicate::CODE, self.duplicate.check(fact))?;
        of(lost_write::CODE, lost_write::check(fact))?;
        of(last_of_key::CODE, self.last_of_key.check(fact))?;
        of(nonmonotonic_poll::CODE, self.nonmonotonic_poll.check(fact))?;
        of(read_stability::CODE, self.read_stability.check(fact))?;
        of(poll_skip::CODE, self.poll_skip.check(fact))?;
        of(error_truth::CODE, error_truth::check(fact))?;
        of(send_order::CODE, self.send_order.check(fact))?;
        Ok(())
    }

    /// The checkers that look at what is read: by far the most facts are of this kind.
    fn check_polled(&mut self, fact: &Fact<'_>) -> Result<(), Violation> {
        of(ack_truth::CODE, self.ack_truth.check(fact))?;
        of(inconsistent_offsets::CODE, self.inconsistent_offsets.check(fact))?;
        of(duplicate::CODE, self.duplicate.check(fact))?;
        of(nonmonotonic_poll::CODE, self.nonmonotonic_poll.check(fact))?;
        of(read_stability::CODE, self.read_stability.check(fact))?;
        of(poll_skip::CODE, self.poll_skip.check(fact))?;
        of(last_of_key::CODE, self.last_of_key.check(fact))?;
        of(error_truth::CODE, error_truth::check(fact))?;
        of(send_order::CODE, self.send_order.check(fact))
    }
}

fn of(invariant: &'static str, verdict: Verdict) -> Result<(), Violation> {
    verdict.map_err(|what| Violation { invariant, what })
}

impl Violation {
    /// What stays the same when the run around it changes: which invariant, and the sentence without numbers.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text: String = self.what.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        while text.contains("##") {
            text = text.replace("##", "#");
        }
        format!("{}: {text}", self.invariant)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A batch as a broker stores it, for tests.
#[cfg(test)]
pub(crate) fn test_batch(base: i64, epoch: i32, values: &[&[u8]]) -> bytes::Bytes {
    use ottla_core::record::{BatchBuilder, BatchOptions, NewRecord};
    use ottla_core::types::{LeaderEpoch, Offset};
    let options =
        BatchOptions { base_offset: Offset(base), leader_epoch: LeaderEpoch(epoch), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(&NewRecord { timestamp: base, key: None, value: Some(value), headers: &[] });
    }
    builder.build().into()
}

/// A producer of epoch 0, for tests.
#[cfg(test)]
pub(crate) fn test_producer(id: i64, base_sequence: i32) -> Producer {
    use ottla_core::types::{ProducerEpoch, ProducerId};
    Producer { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence }
}

/// A write of acks=all, for tests.
#[cfg(test)]
pub(crate) fn test_write(outcome: crate::history::Outcome) -> Write {
    Write {
        partition: 0,
        client: 0,
        acks: -1,
        idempotent: true,
        in_order: true,
        invoked: 0,
        outcome,
        promised: matches!(outcome, crate::history::Outcome::Acked { .. }),
        read: false,
        key: None,
        deletes: false,
    }
}

/// A batch reference of one record, for tests.
#[cfg(test)]
pub(crate) fn test_ref(base: i64, last: i64, crc: u32) -> BatchRef {
    BatchRef {
        base,
        last,
        epoch: 0,
        crc,
        pos: base.unsigned_abs() * 100,
        segment: 0,
        producer: Producer::NONE,
        max_timestamp: base,
        control: false,
    }
}

#[cfg(test)]
mod tests;
