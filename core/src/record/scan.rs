//! One look at every record of a batch, before the machine sees it.
//!
//! A scan says what the bytes are; [`super::policy`] decides whether a topic takes them. It checks the CRC, that
//! each record parses to exactly its end and the last one to the end of the batch, that offsets rise within
//! the batch, and finds what a broker must know: timestamps, records without a key, the inflated size. It
//! touches lengths and deltas only, and inflates through a window of 64 KiB, so a compression bomb costs time
//! up to the caller's limit and no memory.
//!
//! It takes every batch that may lie in a log: control batches, batches of which compaction took records or
//! all of them, any base offset. What only a client may not send is a fact here and a rule in the policy.

use crate::types::{LeaderEpoch, Offset};

use super::compression::{Codec, InflateError, Inflater};
use super::header::{Attributes, BatchError, BatchHeader, Producer, RecordBatch, TimestampType};
use super::records::RecordProblem;
use super::{NO_TIMESTAMP, varint};

/// What a batch is, as plain data: the machine decides on this and never looks at the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// Bytes of the whole batch.
    pub size: u32,
    /// Bytes of its records when inflated.
    pub inflated_size: u64,
    /// As the header has it.
    pub base_offset: Offset,
    /// As the header has it; -1 from a client.
    pub leader_epoch: LeaderEpoch,
    /// Codec and flags; the codec exists.
    pub attributes: Attributes,
    /// As the header has it.
    pub producer: Producer,
    /// Records that there are, equal to what the header says.
    pub record_count: u32,
    /// As the header has it; not below any record's offset delta.
    pub last_offset_delta: i32,
    /// Whether the offset deltas are 0, 1, … without a gap, and the last one is the header's.
    pub contiguous: bool,
    /// Index of the first record without a key.
    pub first_keyless: Option<u32>,
    /// The records' timestamps.
    pub timestamps: Timestamps,
}

/// The timestamps of a batch, in ms. Those of the records are as the producer set them, even if the broker
/// has stamped the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// What the header says is the greatest.
    pub header_max: i64,
    /// The greatest; -1 if no record has one.
    pub max: i64,
    /// Offset delta of the first record with the greatest.
    pub max_offset_delta: i32,
    /// The least of the records that have one; -1 if none has.
    pub min: i64,
    /// Offset delta of the first record with the least.
    pub min_offset_delta: i32,
}

/// Why bytes are no good batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// There are no bytes at all.
    #[error("there is no record batch")]
    Empty,
    /// They do not begin with a whole batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Something follows the batch.
    #[error("{0} bytes follow the record batch")]
    Trailing(usize),
    /// The content is not what was sent.
    #[error("the stored CRC {stored:#010x} is not the computed {computed:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes say.
        computed: u32,
    },
    /// The records are not well-formed, though the CRC is right.
    #[error("record {index}: {problem}")]
    Record {
        /// Which record, from 0.
        index: u32,
        /// What is wrong.
        problem: RecordProblem,
    },
}

/// Scans bytes that must be exactly one batch. At most `inflated_limit` bytes of records are inflated.
pub fn scan(bytes: &[u8], inflated_limit: u64) -> Result<BatchFacts, ScanError> {
    if bytes.is_empty() {
        return Err(ScanError::Empty);
    }
    let batch = RecordBatch::first_of(bytes)?;
    match bytes.len() - batch.bytes().len() {
        0 => scan_batch(&batch, inflated_limit),
        trailing => Err(ScanError::Trailing(trailing)),
    }
}

/// Scans one batch of a run, as the recovery of a segment does.
pub fn scan_batch(batch: &RecordBatch<'_>, inflated_limit: u64) -> Result<BatchFacts, ScanError> {
    batch.check_crc()?;
    let header = batch.header();
    let at = |index| move |problem| ScanError::Record { index, problem };
    let codec = header.attributes.codec().map_err(RecordProblem::Inflate);
    let (walk, inflated_size) = match codec.map_err(at(0))? {
        Codec::None => {
            let mut records = Plain::new(batch.payload());
            (Walk::over(header, &mut records)?, records.position())
        }
        codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
            let records = Window::new(codec, batch.payload(), inflated_limit);
            let mut records = records.map_err(|error| at(0)(error.into()))?;
            (Walk::over(header, &mut records)?, records.position())
        }
    };
    Ok(walk.facts(batch, inflated_size))
}

/// What was seen on the way through the records.
struct Walk {
    index: u32,
    last_delta: i32,
    contiguous: bool,
    first_keyless: Option<u32>,
    /// Greatest timestamp delta, with its offset delta.
    max: (i64, i32),
    min: (i64, i32),
}

impl Walk {
    fn over(header: &BatchHeader, records: &mut impl Source) -> Result<Self, ScanError> {
        let mut walk = Self {
            index: 0,
            last_delta: -1,
            contiguous: true,
            first_keyless: None,
            max: (NO_TIMESTAMP, -1),
            min: (NO_TIMESTAMP, -1),
        };
        let done = walk.all(header, records);
        let index = walk.index;
        done.map_err(|problem| ScanError::Record { index, problem })?;
        Ok(walk)
    }

    fn all(&mut self, header: &BatchHeader, records: &mut impl Source) -> Result<(), RecordProblem> {
        let count = u32::try_from(header.record_count).map_err(|_| RecordProblem::Count(header.record_count))?;
        while self.index < count {
            let fields = records.record()?;
            if fields.offset_delta <= self.last_delta || fields.offset_delta > header.last_offset_delta {
                return Err(RecordProblem::OffsetDelta(fields.offset_delta));
            }
            self.contiguous &= fields.offset_delta == self.last_delta + 1;
            self.last_delta = fields.offset_delta;
            if fields.keyless && self.first_keyless.is_none() {
                self.first_keyless = Some(self.index);
            }
            self.timestamp(header, &fields);
            self.index += 1;
        }
        self.contiguous &= self.last_delta == header.last_offset_delta;
        if records.is_at_end()? { Ok(()) } else { Err(RecordProblem::Remaining) }
    }

    fn timestamp(&mut self, header: &BatchHeader, fields: &Fields) {
        let timestamp = header.base_timestamp.wrapping_add(fields.timestamp_delta);
        if timestamp == NO_TIMESTAMP {
            return;
        }
        if timestamp > self.max.0 {
            self.max = (timestamp, fields.offset_delta);
        }
        if timestamp < self.min.0 || self.min.1 < 0 {
            self.min = (timestamp, fields.offset_delta);
        }
    }

    fn facts(self, batch: &RecordBatch<'_>, inflated_size: u64) -> BatchFacts {
        let header = batch.header();
        BatchFacts {
            size: u32::try_from(batch.bytes().len()).expect("a batch's length is an int32 on the wire"),
            inflated_size,
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            attributes: header.attributes,
            producer: header.producer,
            record_count: self.index,
            last_offset_delta: header.last_offset_delta,
            contiguous: self.contiguous,
            first_keyless: self.first_keyless,
            timestamps: Timestamps {
                header_max: header.max_timestamp,
                max: self.max.0,
                max_offset_delta: self.max.1,
                min: self.min.0,
                min_offset_delta: self.min.1,
            },
        }
    }
}

impl BatchFacts {
    /// The offset of the last record, as the header has it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// What the timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }
}

/// What a scan reads of a record.
struct Fields {
    timestamp_delta: i64,
    offset_delta: i32,
    keyless: bool,
}

/// Where inflated bytes come from. The two sources differ in what is at hand at once.
trait Source {
    /// The next bytes: at least [`varint::MAX_LEN`] of them, or all that are left.
    fn peek(&mut self) -> Result<&[u8], RecordProblem>;
    /// Goes on by bytes that were peeked at.
    fn advance(&mut self, count: usize);
    /// Goes on by any number of bytes.
    fn skip(&mut self, count: u64) -> Result<(), RecordProblem>;
    /// Bytes gone over.
    fn position(&self) -> u64;

    fn is_at_end(&mut self) -> Result<bool, RecordProblem> {
        Ok(self.peek()?.is_empty())
    }

    #[inline]
    fn i32(&mut self) -> Result<i32, RecordProblem> {
        let bytes = self.peek()?;
        let (value, len) = varint::read_i32(bytes).ok_or_else(|| no_number(bytes, 5))?;
        self.advance(len);
        Ok(value)
    }

    #[inline]
    fn i64(&mut self) -> Result<i64, RecordProblem> {
        let bytes = self.peek()?;
        let (value, len) = varint::read_i64(bytes).ok_or_else(|| no_number(bytes, varint::MAX_LEN))?;
        self.advance(len);
        Ok(value)
    }

    /// Goes over a length and so many bytes; says whether it was negative, which means null.
    #[inline]
    fn sized(&mut self) -> Result<bool, RecordProblem> {
        match u64::try_from(self.i32()?) {
            Ok(len) => self.skip(len).map(|()| false),
            Err(_) => Ok(true),
        }
    }

    fn record(&mut self) -> Result<Fields, RecordProblem> {
        self.any_record()
    }

    #[inline]
    fn any_record(&mut self) -> Result<Fields, RecordProblem> {
        let len = u64::try_from(self.i32()?).map_err(|_| RecordProblem::Length)?;
        let end = self.position() + len;
        self.skip(1)?;
        let timestamp_delta = self.i64()?;
        let offset_delta = self.i32()?;
        let keyless = self.sized()?;
        self.sized()?;
        let headers = self.i32()?;
        if headers != 0 {
            self.headers(headers, end)?;
        }
        if self.position() != end {
            return Err(RecordProblem::Length);
        }
        Ok(Fields { timestamp_delta, offset_delta, keyless })
    }

    #[cold]
    fn headers(&mut self, count: i32, end: u64) -> Result<(), RecordProblem> {
        let left = u64::try_from(count).map_err(|_| RecordProblem::HeaderCount(count))?;
        if left > end.saturating_sub(self.position()) {
            return Err(RecordProblem::HeaderCount(count));
        }
        for _ in 0..left {
            if self.sized()? {
                return Err(RecordProblem::HeaderKey);
            }
            self.sized()?;
        }
        Ok(())
    }
}

fn no_number(bytes: &[u8], most: usize) -> RecordProblem {
    if bytes.len() < most { RecordProblem::Cut } else { RecordProblem::Number }
}

/// Records that are not compressed: all bytes are at hand.
struct Plain<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Plain<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }
}

impl Plain<'_> {
    /// Reads a record as nearly all are: no number of more than three bytes, no headers, not at the very end.
    /// Anything else is left to the general way, which also tells what is wrong with it.
    #[inline]
    fn common_record(&mut self) -> Option<Fields> {
        let head = self.rest.first_chunk()?;
        let mut at = 0;
        let body_len = usize::try_from(varint::read_near(head, &mut at)?).ok()?;
        let end = at + body_len;
        at += 1;
        let timestamp_delta = varint::read_near(head, &mut at)?;
        let offset_delta = varint::read_near(head, &mut at)?;
        let key_len = varint::read_near(head, &mut at)?;
        at += usize::try_from(key_len).unwrap_or(0);
        let head = self.rest.get(at..)?.first_chunk()?;
        let mut value_at = 0;
        let value_len = varint::read_near(head, &mut value_at)?;
        at += value_at + usize::try_from(value_len).unwrap_or(0);
        if at + 1 != end || *self.rest.get(at)? != 0 {
            return None;
        }
        self.rest = &self.rest[end..];
        Some(Fields { timestamp_delta: i64::from(timestamp_delta), offset_delta, keyless: key_len < 0 })
    }
}

impl Source for Plain<'_> {
    #[inline]
    fn record(&mut self) -> Result<Fields, RecordProblem> {
        match self.common_record() {
            Some(fields) => Ok(fields),
            None => self.any_record(),
        }
    }

    #[inline]
    fn peek(&mut self) -> Result<&[u8], RecordProblem> {
        Ok(self.rest)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<(), RecordProblem> {
        let count = usize::try_from(count).map_err(|_| RecordProblem::Cut)?;
        self.rest = self.rest.get(count..).ok_or(RecordProblem::Cut)?;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        (self.len - self.rest.len()) as u64
    }
}

/// Records that are inflated piece by piece.
struct Window<'a> {
    inflater: Inflater<'a>,
    buffer: Box<[u8]>,
    /// What of the buffer is inflated and not yet gone over.
    start: usize,
    end: usize,
    position: u64,
    ended: bool,
}

/// Inflated bytes that are held at once: a block of an LZ4 frame behind the rest of the one before.
const WINDOW: usize = (64 << 10) + 16;

impl<'a> Window<'a> {
    fn new(codec: Codec, bytes: &'a [u8], limit: u64) -> Result<Self, InflateError> {
        // A small batch is not worth a big window.
        let window = bytes.len().saturating_mul(8).clamp(1 << 10, WINDOW);
        Ok(Self {
            inflater: Inflater::new(codec, bytes, limit)?,
            buffer: vec![0; window].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            ended: false,
        })
    }

    /// Inflates until there are enough bytes for any number, or no more.
    #[cold]
    fn refill(&mut self) -> Result<(), RecordProblem> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < varint::MAX_LEN && !self.ended {
            let read = self.inflater.read(&mut self.buffer[self.end..])?;
            self.end += read;
            self.ended = read == 0;
        }
        Ok(())
    }
}

impl Source for Window<'_> {
    #[inline]
    fn peek(&mut self) -> Result<&[u8], RecordProblem> {
        if self.end - self.start < varint::MAX_LEN && !self.ended {
            self.refill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<(), RecordProblem> {
        let mut left = usize::try_from(count).map_err(|_| RecordProblem::Cut)?;
        while left > self.end - self.start {
            left -= self.end - self.start;
            self.start = self.end;
            self.refill()?;
            if self.end == 0 {
                return Err(RecordProblem::Cut);
            }
        }
        self.start += left;
        self.position += count;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.position
    }
}
