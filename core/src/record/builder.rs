//! Writes record batches.
//!
//! Records are encoded as they are appended; [`BatchBuilder::build`] compresses them and fills the header in.
//! The base timestamp is the first record's, as in Kafka, unless a delete horizon takes its place (KIP-534).
//!
//! Absent on purpose: limits. Whoever appends asks [`BatchBuilder::len`] first; only a batch past 2^31 bytes
//! is refused, because no header can say its length.

use crate::types::{LeaderEpoch, Offset};

use super::compression::Compression;
use super::header::{Attributes, BatchHeader, CRC_AT, CRC_START, HEADER_LEN, LENGTH_END, Producer, TimestampType};
use super::records::Record;
use super::{NO_TIMESTAMP, varint};

/// What a batch says of all its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// The offset of the first record; 0 as a client sends it.
    pub base_offset: Offset,
    /// The leader's epoch; -1 as a client sends it.
    pub leader_epoch: LeaderEpoch,
    /// Codec and level.
    pub compression: Compression,
    /// `Some(ms)`: the broker's time of appending stands for every record's.
    pub append_time: Option<i64>,
    /// Who produces it.
    pub producer: Producer,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// Whether its records are control records.
    pub control: bool,
    /// When its tombstones may go, in ms; set by compaction.
    pub delete_horizon_ms: Option<i64>,
}

/// A record to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// In ms; -1 is none.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<&'a [u8]>,
    /// `None` is null, a tombstone.
    pub value: Option<&'a [u8]>,
    /// Key and value of each header.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A batch being written.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, and the records.
    bytes: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        Self {
            options,
            bytes: vec![0; HEADER_LEN],
            count: 0,
            last_offset_delta: -1,
            base_timestamp: options.delete_horizon_ms,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Appends a record at the next offset.
    pub fn append(&mut self, record: &NewRecord<'_>) {
        self.append_at(self.last_offset_delta + 1, record);
    }

    /// Appends a record at an offset delta of one's own, as compaction does, which leaves gaps.
    ///
    /// # Panics
    /// If the delta is not above the last one.
    pub fn append_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) {
        let headers = record.headers.iter().copied();
        self.encode(offset_delta, (record.timestamp, record.key, record.value), (record.headers.len(), headers));
    }

    /// Appends a record of another batch, with its offset, timestamp and headers.
    ///
    /// # Panics
    /// If its offset is not above the last one, or more than 2^31 from the base offset.
    pub fn append_record(&mut self, record: &Record<'_>) {
        let offset_delta = i32::try_from(record.offset - self.options.base_offset)
            .expect("a record keeps to the offsets of its batch");
        self.encode(
            offset_delta,
            (record.timestamp, record.key, record.value),
            (record.headers.len(), record.headers.iter()),
        );
    }

    fn encode<'a>(
        &mut self,
        offset_delta: i32,
        (timestamp, key, value): (i64, Option<&[u8]>, Option<&[u8]>),
        (header_count, headers): (usize, impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone),
    ) {
        assert!(offset_delta > self.last_offset_delta, "offsets rise within a batch");
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base);
        let header_count = length(header_count);
        let size = 1
            + varint::len_i64(timestamp_delta)
            + varint::len_i32(offset_delta)
            + sized_len(key)
            + sized_len(value)
            + varint::len_i32(header_count)
            + headers.clone().map(|(key, value)| sized_len(Some(key)) + sized_len(value)).sum::<usize>();
        let out = &mut self.bytes;
        varint::write_i32(out, length(size));
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, offset_delta);
        write_sized(out, key);
        write_sized(out, value);
        varint::write_i32(out, header_count);
        for (key, value) in headers {
            write_sized(out, Some(key));
            write_sized(out, value);
        }
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Keeps the batch's last offset where it was, although its last records may be gone (compaction).
    pub fn keep_last_offset_delta(&mut self, last_offset_delta: i32) {
        self.last_offset_delta = self.last_offset_delta.max(last_offset_delta);
    }

    /// Bytes written so far, before compression.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records it has.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Says who produces it: a client knows that only when it sends the batch.
    pub fn set_producer(&mut self, producer: Producer) {
        self.options.producer = producer;
    }

    /// The whole batch.
    pub fn build(mut self) -> Vec<u8> {
        let compression = self.options.compression;
        if compression != Compression::None && self.count > 0 {
            let mut compressed = vec![0; HEADER_LEN];
            compression.compress(&self.bytes[HEADER_LEN..], &mut compressed);
            self.bytes = compressed;
        } else {
            self.options.compression = Compression::None;
        }
        let header = self.header();
        seal(&mut self.bytes, header);
        self.bytes
    }

    fn header(&self) -> BatchHeader {
        let options = &self.options;
        let timestamp_type = match options.append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        BatchHeader {
            base_offset: options.base_offset,
            leader_epoch: options.leader_epoch,
            attributes: Attributes::default()
                .with_codec(options.compression.codec())
                .with_timestamp_type(timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control)
                .with_delete_horizon(options.delete_horizon_ms.is_some()),
            last_offset_delta: self.last_offset_delta.max(0),
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: options.append_time.unwrap_or(self.max_timestamp),
            producer: options.producer,
            record_count: self.count,
            ..BatchHeader::default()
        }
    }
}

impl Default for BatchOptions {
    /// A batch as a client without idempotence sends it.
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
            compression: Compression::None,
            append_time: None,
            producer: Producer::NONE,
            transactional: false,
            control: false,
            delete_horizon_ms: None,
        }
    }
}

/// Writes `header` over the first bytes of `batch`, with its length and CRC computed.
///
/// # Panics
/// If the batch has 2^31 bytes or more.
pub(super) fn seal(batch: &mut [u8], mut header: BatchHeader) {
    header.batch_length = length(batch.len() - LENGTH_END);
    batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
}

fn length(len: usize) -> i32 {
    i32::try_from(len).expect("nobody builds a batch of 2 GiB: message.max.bytes is an int32")
}

fn sized_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len_i32(length(bytes.len())) + bytes.len())
}

fn write_sized(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write_i32(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => varint::write_i32(out, -1),
    }
}
