//! What comes into the client and what goes out.

mod group;

pub use group::{CommittedPosition, GroupCommand, GroupEvent};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use crate::machine::ConnId;
use crate::record::ScanError;
use crate::rpc::{Action, RpcError};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

use super::admin::{AdminReply, AdminRequest};
use group::Listed;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// A dial that [`ClientEffect::Connect`] asked for came to an end. `conn` is a number that the driver never
    /// used before; on `Err` it means nothing.
    Opened { conn: ConnId, token: u64, result: Result<(), Box<str>> },
    /// A whole frame came, without its length prefix.
    Frame { conn: ConnId, bytes: Bytes },
    /// A connection is gone, whoever closed it.
    Closed { conn: ConnId },
    /// `Client::next_deadline` has come.
    Timeout,
    /// The program wants something.
    Command(Command),
}

/// What a program can ask for. Tokens are its own: they come back in events, and need not differ.
#[derive(Clone, Debug)]
pub enum Command {
    /// Write a record. Ends in one [`Event::Delivered`] or [`Event::Failed`] with the token.
    Produce { token: u64, record: Box<ProduceRecord> },
    /// Send everything that lingers. Ends in one [`Event::Flushed`], when all records that were handed in before
    /// are delivered or failed.
    Flush { token: u64 },
    /// Read a partition from a place; if it is read already, from this place now.
    Assign { partition: TopicPartition, start: Start },
    /// Read a partition no more.
    Unassign { partition: TopicPartition },
    /// Take records, `max.poll.records` at most, and wait for them so long. Ends in one [`Event::Polled`]. One poll
    /// waits at a time: another ends it with nothing.
    Poll { token: u64, timeout_ms: u64 },
    /// Hand out no records of partitions until they are resumed; nothing more is fetched of them.
    Pause { partitions: Vec<TopicPartition> },
    /// Hand out records of partitions again.
    Resume { partitions: Vec<TopicPartition> },
    /// Go on reading somewhere else, in a partition that is assigned. Nothing happens if it is not.
    Seek { partition: TopicPartition, start: Start },
    /// Something of the group of `group.id`.
    Group(GroupCommand),
    /// Change or ask something. Ends in one [`Event::AdminDone`] or [`Event::AdminFailed`].
    Admin { token: u64, request: Box<AdminRequest> },
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this offset. If it is outside the log, `auto.offset.reset` decides.
    Offset(Offset),
    /// At the first record that is left.
    Earliest,
    /// At the end.
    Latest,
    /// At the first record as young as this, or at the end if none is.
    Timestamp {
        /// Since 1970.
        ms: i64,
    },
}

/// A record that was read. Its bytes are slices of what came over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Where it stands.
    pub offset: Offset,
    /// The epoch of the leader that appended it; -1 if it is not known.
    pub leader_epoch: LeaderEpoch,
    /// In ms since 1970.
    pub timestamp_ms: i64,
    /// `None` is null.
    pub key: Option<Bytes>,
    /// `None` is null, a tombstone.
    pub value: Option<Bytes>,
    /// Key and value of each header.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// What one poll took of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolledRecords {
    /// Of which partition.
    pub partition: TopicPartition,
    /// In the order of their offsets; never empty.
    pub records: Vec<FetchedRecord>,
    /// Where the next record will come from: the last one's offset + 1, or more.
    pub position: Offset,
}

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceRecord {
    /// To which topic.
    pub topic: Arc<str>,
    /// To which partition; `None`: by the key as Java's producer chooses, or, without a key, any.
    pub partition: Option<i32>,
    /// In ms since 1970; `None`: the time of the command.
    pub timestamp_ms: Option<i64>,
    /// `None` is null.
    pub key: Option<Bytes>,
    /// `None` is null, a tombstone.
    pub value: Option<Bytes>,
    /// Key and value of each header.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// One thing for the driver to do, or for the program to know.
#[derive(Clone, Debug)]
pub enum ClientEffect {
    /// Dial `host:port`; answered by [`ClientInput::Opened`] with the token.
    Connect { token: u64, address: Box<str> },
    /// Send bytes, which have their length prefix.
    Send { conn: ConnId, bytes: Bytes },
    /// Close a connection; what still comes of it is ignored.
    Close { conn: ConnId },
    /// Tell the program.
    Event(Event),
}

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record was written, and acknowledged as `acks` asks.
    Delivered {
        token: u64,
        partition: TopicPartition,
        /// Not known with acks=0, and for some duplicates.
        offset: Option<Offset>,
    },
    /// A record was not acknowledged.
    Failed {
        token: u64,
        error: ClientError,
        /// Whether the record will never appear. Otherwise it may have been written, or be written yet.
        definite: bool,
    },
    /// A flush is over.
    Flushed { token: u64 },
    /// A poll is over.
    Polled { token: u64, records: Vec<PolledRecords> },
    /// The place of a time was found, or `auto.offset.reset` chose it: reading goes on from there.
    Position { partition: TopicPartition, offset: Offset },
    /// The log was cut below what was read (KIP-320): records from `to` on may never have been committed. Reading
    /// goes on from there.
    Truncated { partition: TopicPartition, from: Offset, to: Offset },
    /// A partition is not read any more, until it is assigned again.
    ReadFailed { partition: TopicPartition, error: ReadError },
    /// Something of the group.
    Group(GroupEvent),
    /// An administrative request was done.
    AdminDone { token: u64, reply: AdminReply },
    /// An administrative request was not done, or, if that is not definite, perhaps it was.
    AdminFailed { token: u64, error: ClientError, definite: bool },
}

/// Why a partition is not read any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The broker said so.
    #[error("{code}: {message}", code = .0, message = .0.message())]
    Broker(ErrorCode),
    /// What the broker sent cannot be read.
    #[error("the records at offset {offset} are damaged: {error}")]
    Damaged { offset: Offset, error: ScanError },
    /// The group has not committed a position, and `auto.offset.reset` is none.
    #[error("the group has no position")]
    NoPosition,
    /// The position is outside the log, and `auto.offset.reset` is none.
    #[error("the offset {offset} is outside the log")]
    OutOfRange { offset: Offset },
    /// The log was cut below the position, and `auto.offset.reset` is none.
    #[error("the log was cut below the position {position}")]
    Truncated { position: Offset, end: Option<Offset> },
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The broker said so.
    #[error("{code}: {message}", code = .0, message = .0.message())]
    Broker(ErrorCode),
    /// The broker said so, and why.
    #[error("{code}: {message}")]
    Refused { code: ErrorCode, message: Box<str> },
    /// The connection broke, or no answer came.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It took longer than `delivery.timeout.ms`; the last error, if there was one, says why.
    #[error("not delivered within delivery.timeout.ms{}", last(*.0))]
    DeliveryTimeout(Option<ErrorCode>),
    /// The topic's metadata did not come within `max.block.ms`.
    #[error("no metadata of the topic within max.block.ms{}", last(*.0))]
    NoMetadata(Option<ErrorCode>),
    /// The topic has no such partition.
    #[error("the topic has no partition {0}")]
    NoPartition(i32),
    /// Records take all of `buffer.memory`.
    #[error("buffer.memory is full")]
    BufferFull,
    /// The record is larger than `max.request.size`.
    #[error("a record of {0} bytes exceeds max.request.size")]
    RecordTooLarge(usize),
    /// The command needs `group.id`.
    #[error("there is no group.id")]
    NoGroup,
    /// The group has gone on without this member, so that its positions count no more: what it read may be another
    /// member's by now.
    #[error("the group has rebalanced, and partitions may have gone to another member")]
    Rebalanced,
    /// It took longer than `default.api.timeout.ms`; the last error, if there was one, says why.
    #[error("not done within default.api.timeout.ms{}", last(*.0))]
    ApiTimeout(Option<ErrorCode>),
    /// An earlier record's fate is unknown, and with it this one's.
    #[error("the broker lost track of the producer's sequence, and an earlier attempt may have been written")]
    SequenceLost,
}

/// The sink that effects go to. The caller owns it and uses it again for each step.
#[derive(Clone, Debug, Default)]
pub struct ClientEffects {
    list: Vec<ClientEffect>,
    /// What a step tells the program; moved behind its actions when it ends.
    pub(super) events: Vec<Event>,
}

impl ClientEffects {
    /// An empty sink.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new(), events: Vec::new() }
    }

    /// The effects so far, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[ClientEffect] {
        &self.list
    }

    /// Takes all effects out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, ClientEffect> {
        self.list.drain(..)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn finish(&mut self, actions: &mut Vec<Action>) {
        self.list.extend(actions.drain(..).map(ClientEffect::from));
        self.list.extend(self.events.drain(..).map(ClientEffect::Event));
    }
}

impl ClientError {
    /// What the broker said, if it was the broker who said no.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker(code) | Self::Refused { code, .. } => Some(*code),
            Self::DeliveryTimeout(code) | Self::NoMetadata(code) | Self::ApiTimeout(code) => *code,
            Self::Rpc(_)
            | Self::NoPartition(_)
            | Self::BufferFull
            | Self::RecordTooLarge(_)
            | Self::NoGroup
            | Self::Rebalanced
            | Self::SequenceLost => None,
        }
    }
}

impl ProduceRecord {
    /// What it takes of `buffer.memory`: an upper bound of its bytes in a batch of its own.
    #[must_use]
    pub fn buffered_size(&self) -> usize {
        const LENGTHS_AND_DELTAS: usize = 36;
        const HEADER_LENGTHS: usize = 10;
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(key, value)| key.len() + len(value) + HEADER_LENGTHS);
        LENGTHS_AND_DELTAS + len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}

fn last(code: Option<ErrorCode>) -> String {
    code.map(|code| format!(", last because of {code}")).unwrap_or_default()
}

impl From<Action> for ClientEffect {
    fn from(action: Action) -> Self {
        match action {
            Action::Connect { token, address } => Self::Connect { token, address },
            Action::Send { conn, bytes } => Self::Send { conn, bytes },
            Action::Close { conn } => Self::Close { conn },
        }
    }
}

impl fmt::Display for ClientEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { token, address } => write!(f, "connect {address} token={token}"),
            Self::Send { conn, bytes } => write!(f, "{conn} send {} B", bytes.len()),
            Self::Close { conn } => write!(f, "{conn} close"),
            Self::Event(event) => event.fmt(f),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { token, partition, offset: Some(offset) } => {
                write!(f, "delivered {token} {partition}@{offset}")
            }
            Self::Delivered { token, partition, offset: None } => write!(f, "delivered {token} {partition}"),
            Self::Failed { token, error, definite: true } => write!(f, "failed {token}: {error}"),
            Self::Failed { token, error, definite: false } => write!(f, "in doubt {token}: {error}"),
            Self::Flushed { token } => write!(f, "flushed {token}"),
            Self::Polled { token, records } => {
                write!(f, "polled {token}")?;
                records.iter().try_for_each(|it| write!(f, " {it}"))
            }
            Self::Position { partition, offset } => write!(f, "position {partition}@{offset}"),
            Self::Truncated { partition, from, to } => write!(f, "truncated {partition} from {from} to {to}"),
            Self::ReadFailed { partition, error } => write!(f, "read failed {partition}: {error}"),
            Self::Group(event) => event.fmt(f),
            Self::AdminDone { token, reply } => write!(f, "done {token} {reply:?}"),
            Self::AdminFailed { token, error, definite: true } => write!(f, "refused {token}: {error}"),
            Self::AdminFailed { token, error, definite: false } => write!(f, "in doubt {token}: {error}"),
        }
    }
}

impl fmt::Display for ClientInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { conn, token, result: Ok(()) } => write!(f, "{conn} opened token={token}"),
            Self::Opened { token, result: Err(why), .. } => write!(f, "dial token={token} failed: {why}"),
            Self::Frame { conn, bytes } => write!(f, "{conn} frame {} B", bytes.len()),
            Self::Closed { conn } => write!(f, "{conn} closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce { token, record } => write!(f, "produce {token} to {}", record.topic),
            Self::Flush { token } => write!(f, "flush {token}"),
            Self::Assign { partition, start } => write!(f, "assign {partition} {start:?}"),
            Self::Unassign { partition } => write!(f, "unassign {partition}"),
            Self::Poll { token, timeout_ms } => write!(f, "poll {token} for {timeout_ms} ms"),
            Self::Pause { partitions } => write!(f, "pause{}", Listed(partitions)),
            Self::Resume { partitions } => write!(f, "resume{}", Listed(partitions)),
            Self::Seek { partition, start } => write!(f, "seek {partition} {start:?}"),
            Self::Group(command) => command.fmt(f),
            Self::Admin { token, request } => write!(f, "admin {token} {request:?}"),
        }
    }
}

/// As in `t-0@3..7`.
impl fmt::Display for PolledRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.records.first().map_or(self.position, |record| record.offset);
        write!(f, "{}@{first}..{}", self.partition, self.position)
    }
}
