//! The header of a record batch, and the walk over a run of batches.
//!
//! | bytes | field | | bytes | field |
//! |---|---|---|---|---|
//! | 0..8 | base offset | | 27..35 | base timestamp (or delete horizon) |
//! | 8..12 | length of what follows | | 35..43 | max timestamp |
//! | 12..16 | partition leader epoch | | 43..51 | producer id |
//! | 16 | magic | | 51..53 | producer epoch |
//! | 17..21 | CRC-32C of 21.. | | 53..57 | base sequence |
//! | 21..23 | attributes | | 57..61 | record count |
//! | 23..27 | last offset delta | | 61.. | records |
//!
//! Source: KIP-98; the delete horizon is KIP-534. All integers are big-endian.

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::compression::Codec;
use super::records::{RecordProblem, Records};
use super::{InflateError, NO_SEQUENCE, NO_TIMESTAMP, ScanError};

/// Bytes before the first record.
pub const HEADER_LEN: usize = 61;
/// Base offset and length: what the length does not count.
pub(super) const LENGTH_END: usize = 12;
/// Where the CRC lies, and where the bytes begin that it covers.
pub(super) const CRC_AT: usize = 17;
pub(super) const CRC_START: usize = 21;
/// The one format there is.
pub(super) const MAGIC: i8 = 2;
const MAGIC_AT: usize = 16;
/// The least length of a message of magic 0.
const SHORTEST_OLD: i32 = 14;

/// A batch's header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the record with offset delta 0, whether or not compaction has left it.
    pub base_offset: Offset,
    /// Bytes after the length field; the batch has 12 more.
    pub batch_length: i32,
    /// The epoch of the leader that appended it; -1 as a client sends it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last offset, as a distance from the base offset; compaction leaves it.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are added to; the delete horizon if that flag is set.
    pub base_timestamp: i64,
    /// The greatest timestamp of the records, in ms; the append time if the timestamp type is that.
    pub max_timestamp: i64,
    /// Who produced it, if it is idempotent.
    pub producer: Producer,
    /// Records in the batch; 0 in what compaction leaves of an empty batch.
    pub record_count: i32,
}

/// The three fields that make a batch idempotent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// -1 if there is none.
    pub id: ProducerId,
    /// -1 if there is none.
    pub epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 if there is none, as in a control batch.
    pub base_sequence: i32,
}

/// A batch's attributes: codec in bits 0..3, then flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

/// Who said what a record's timestamp means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer: the time of creation.
    #[default]
    CreateTime,
    /// The broker: the time of appending, one for the whole batch.
    LogAppendTime,
}

/// One whole batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RecordBatch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

/// The first 16 bytes of an appended batch: all that a leader changes of what a producer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead(pub [u8; 16]);

/// Why the bytes do not begin with a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the batch. A torn tail, or the end of what a Fetch was given.
    #[error("the batch at byte {at} is cut: {have} of {need} bytes")]
    Cut {
        /// Where the batch begins, in bytes from the start of the run.
        at: usize,
        /// Bytes there are from there on.
        have: usize,
        /// Bytes there must be, as far as the bytes tell.
        need: usize,
    },
    /// The bytes cannot be a batch, however they go on.
    #[error("the batch at byte {at} is malformed: {what}")]
    Malformed {
        /// Where the batch begins, in bytes from the start of the run.
        at: usize,
        /// What is wrong with it.
        what: Malformation,
    },
}

/// What makes bytes no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// The length is less than a header needs.
    #[error("its length {0} is less than a header needs")]
    Length(i32),
    /// The magic is not 2; 0 and 1 are the formats of before Kafka 0.11.
    #[error("its magic is {0}")]
    Magic(i8),
}

/// The batches of a run, in order. After an error it ends.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

/// Walks over concatenated batches, as a segment, a Produce request or a Fetch response holds them.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, at: 0, failed: false }
}

impl<'a> Batches<'a> {
    /// Bytes walked over so far: where the next batch begins, or the one that an error was about.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RecordBatch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        if self.failed {
            return None;
        }
        match RecordBatch::first_of(rest) {
            Ok(batch) => {
                self.at += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error.moved(self.at)))
            }
        }
    }
}

impl<'a> RecordBatch<'a> {
    /// The batch that `bytes` begin with; what follows it is not looked at.
    pub fn first_of(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let len = BatchHeader::whole_len(bytes)?;
        let bytes = bytes.get(..len).ok_or(BatchError::Cut { at: 0, have: bytes.len(), need: len })?;
        let header = BatchHeader::parse(bytes)?;
        Ok(Self { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header and all.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they lie in the batch: compressed, if the batch is.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Computes the CRC of the bytes, and compares it with the header's.
    pub fn check_crc(&self) -> Result<(), ScanError> {
        let computed = crc32c::crc32c(&self.bytes[CRC_START..]);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(ScanError::Crc { stored: self.header.crc, computed })
    }

    /// The records' bytes, inflated into `scratch` if they are compressed, `limit` bytes at most.
    pub fn inflated<'b>(&self, scratch: &'b mut Vec<u8>, limit: u64) -> Result<&'b [u8], InflateError>
    where
        'a: 'b,
    {
        match self.header.attributes.codec()? {
            Codec::None => Ok(self.payload()),
            codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
                scratch.clear();
                codec.inflate(self.payload(), limit, scratch)?;
                Ok(scratch)
            }
        }
    }

    /// The records, read from the batch or from `scratch`, into which at most `limit` bytes are inflated.
    pub fn records<'b>(&self, scratch: &'b mut Vec<u8>, limit: u64) -> Result<Records<'b>, RecordProblem>
    where
        'a: 'b,
    {
        Ok(Records::new(&self.header, self.inflated(scratch, limit)?))
    }
}

impl BatchHeader {
    /// Reads a header off the first 61 bytes; the batch itself need not be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let whole = Self::whole_len(bytes)?;
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Cut { at: 0, have: bytes.len(), need: whole });
        };
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(header, 0))),
            batch_length: i32::from_be_bytes(field(header, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(header, 12))),
            crc: u32::from_be_bytes(field(header, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(header, 21))),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer: Producer {
                id: ProducerId(i64::from_be_bytes(field(header, 43))),
                epoch: ProducerEpoch(i16::from_be_bytes(field(header, 51))),
                base_sequence: i32::from_be_bytes(field(header, 53)),
            },
            record_count: i32::from_be_bytes(field(header, 57)),
        })
    }

    /// Writes the header's 61 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        bytes[16..17].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer.id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer.epoch.0.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.producer.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// The length of the whole batch in bytes, as soon as the bytes tell it.
    ///
    /// The length and the magic are judged as far as they are there, so that a tail which could never have
    /// become a batch is malformed and not cut.
    pub fn whole_len(bytes: &[u8]) -> Result<usize, BatchError> {
        let cut = |need| BatchError::Cut { at: 0, have: bytes.len(), need };
        let Some(start) = bytes.first_chunk::<LENGTH_END>() else {
            return Err(cut(HEADER_LEN));
        };
        let length = i32::from_be_bytes(field(start, 8));
        let whole = usize::try_from(length).ok().map(|rest| rest + LENGTH_END);
        let Some(whole) = whole.filter(|&whole| whole >= HEADER_LEN) else {
            // A message of magic 0 or 1 may be shorter than our header: its magic says more than its length.
            let what = match bytes.get(MAGIC_AT) {
                Some(&magic @ 0..=1) if length >= SHORTEST_OLD => Malformation::Magic(magic.cast_signed()),
                _ => Malformation::Length(length),
            };
            return Err(BatchError::Malformed { at: 0, what });
        };
        match bytes.get(MAGIC_AT).map(|magic| magic.cast_signed()) {
            None => Err(cut(whole)),
            Some(MAGIC) => Ok(whole),
            Some(other) => Err(BatchError::Malformed { at: 0, what: Malformation::Magic(other) }),
        }
    }

    /// The length of the whole batch in bytes.
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length).map_or(HEADER_LEN, |rest| rest + LENGTH_END)
    }

    /// The offset of the batch's last record, whether or not compaction has left it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// The sequence number of the last record; -1 if the batch has none.
    pub fn last_sequence(&self) -> i32 {
        self.producer.sequence_at(self.last_offset_delta)
    }

    /// When the tombstones and markers of the batch may go, in ms (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

impl Producer {
    /// The mark of a batch that is not idempotent.
    pub const NONE: Self = Self { id: ProducerId::NONE, epoch: ProducerEpoch::NONE, base_sequence: NO_SEQUENCE };

    /// Whether there is a producer id.
    pub fn is_some(self) -> bool {
        self.id.0 >= 0
    }

    /// The sequence number of the record at `offset_delta`. After 2^31 - 1 comes 0.
    pub fn sequence_at(self, offset_delta: i32) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(offset_delta) & i32::MAX
    }
}

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec of the records; an error for the three numbers that mean none.
    pub fn codec(self) -> Result<Codec, InflateError> {
        Codec::from_id(self.0 & Self::CODEC)
    }

    /// What the timestamps mean.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether its records are control records, which clients never see.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | codec.id())
    }

    /// The same with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// The same, transactional or not.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// The same, control batch or not.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// The same, with a delete horizon or without.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, flag: i16, on: bool) -> Self {
        if on { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }
}

impl BatchHead {
    /// The head of a batch of which `rest_len` bytes, from byte 16 on, follow.
    ///
    /// # Panics
    /// If the rest is longer than a batch can be (2^31 bytes); every batch that was read is shorter.
    pub fn new(base_offset: Offset, leader_epoch: LeaderEpoch, rest_len: usize) -> Self {
        let length = i32::try_from(rest_len + 4).expect("a batch's length is an int32 on the wire");
        let mut head = [0; 16];
        head[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
        head[8..12].copy_from_slice(&length.to_be_bytes());
        head[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
        Self(head)
    }
}

impl BatchError {
    fn moved(self, by: usize) -> Self {
        match self {
            Self::Cut { at, have, need } => Self::Cut { at: at + by, have, need },
            Self::Malformed { at, what } => Self::Malformed { at: at + by, what },
        }
    }
}

impl Default for BatchHeader {
    /// An empty batch at offset 0 with neither timestamp, producer nor leader epoch.
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            batch_length: 49,
            leader_epoch: LeaderEpoch(-1),
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer: Producer::NONE,
            record_count: 0,
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes by its bounds")
}
