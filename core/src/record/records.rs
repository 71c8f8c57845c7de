//! The records inside a batch, as slices of its inflated bytes.
//!
//! A record is a length, an attribute byte that has no meaning yet, a timestamp delta, an offset delta, the
//! key, the value and the headers; lengths are varints, -1 (or any negative one) is null (KIP-98, KIP-82).

use crate::types::Offset;

use super::header::{BatchHeader, Producer, TimestampType};
use super::{InflateError, varint};

/// A record, borrowed from the inflated bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it stands in its partition.
    pub offset: Offset,
    /// In ms: the record's own, or the batch's if the broker stamped that.
    pub timestamp: i64,
    /// The producer's sequence number; -1 without a producer.
    pub sequence: i32,
    /// What compaction keeps the last of.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// The headers of a record: well-formed, and read as they are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: i32,
    bytes: &'a [u8],
}

/// What is wrong with the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// The records cannot be inflated.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// The bytes end inside a record.
    #[error("the bytes end inside a record")]
    Cut,
    /// An integer has more bytes than its type.
    #[error("a number is too long")]
    Number,
    /// The fields of a record end before or after its length says.
    #[error("a record's fields do not end where its length says")]
    Length,
    /// The number of headers is negative, or more than the record has room for.
    #[error("a record says that it has {0} headers")]
    HeaderCount(i32),
    /// The key of a header is null.
    #[error("a header has no key")]
    HeaderKey,
    /// The batch says that it has a negative number of records.
    #[error("the batch says that it has {0} records")]
    Count(i32),
    /// Bytes follow the last record.
    #[error("bytes follow the last record")]
    Remaining,
    /// An offset is not above the one before, or lies outside the batch.
    #[error("the offset delta {0} is out of order")]
    OffsetDelta(i32),
}

/// The records of a batch, in order. After an error it ends; the last one may be that bytes remain.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    left: i32,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
    producer: Producer,
}

impl<'a> Records<'a> {
    /// The records in `inflated`, the bytes that the header describes.
    pub fn new(header: &BatchHeader, inflated: &'a [u8]) -> Self {
        let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            cursor: Cursor { rest: inflated },
            left: header.record_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: stamped.then_some(header.max_timestamp),
            producer: header.producer,
        }
    }

    /// Bytes after the last record that was read.
    pub(super) fn remaining(&self) -> usize {
        self.cursor.rest.len()
    }

    fn read(&mut self) -> Result<Record<'a>, RecordProblem> {
        let len = self.cursor.i32()?;
        let mut body = Cursor { rest: self.cursor.take(len)?.ok_or(RecordProblem::Length)? };
        body.take(1)?;
        let timestamp_delta = body.i64()?;
        let offset_delta = body.i32()?;
        let key = body.sized()?;
        let value = body.sized()?;
        let headers = body.headers()?;
        if !body.rest.is_empty() {
            return Err(RecordProblem::Length);
        }
        let base = self.base_offset.0;
        Ok(Record {
            offset: Offset(base.wrapping_add(i64::from(offset_delta))),
            timestamp: self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            sequence: self.producer.sequence_at(offset_delta),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let problem = match self.left {
                count @ ..0 => Some(RecordProblem::Count(count)),
                _ => (!self.cursor.rest.is_empty()).then_some(RecordProblem::Remaining),
            };
            self.left = 0;
            self.cursor.rest = &[];
            return problem.map(Err);
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.cursor.rest = &[];
        }
        Some(record)
    }
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each header's key and value, in order; a key may come again.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone + use<'a> {
        let mut cursor = Cursor { rest: self.bytes };
        (0..self.count).map(move |_| cursor.header().expect("the headers were read once when the record was"))
    }
}

/// Reads fields off the front of bytes.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn i32(&mut self) -> Result<i32, RecordProblem> {
        let (value, len) = varint::read_i32(self.rest).ok_or_else(|| self.no_number(5))?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    fn i64(&mut self) -> Result<i64, RecordProblem> {
        let (value, len) = varint::read_i64(self.rest).ok_or_else(|| self.no_number(varint::MAX_LEN))?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    fn no_number(&self, most: usize) -> RecordProblem {
        if self.rest.len() < most { RecordProblem::Cut } else { RecordProblem::Number }
    }

    /// `len` bytes; `None` if it is negative.
    fn take(&mut self, len: i32) -> Result<Option<&'a [u8]>, RecordProblem> {
        let Ok(len) = usize::try_from(len) else {
            return Ok(None);
        };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordProblem::Cut)?;
        self.rest = rest;
        Ok(Some(taken))
    }

    /// A length and so many bytes.
    fn sized(&mut self) -> Result<Option<&'a [u8]>, RecordProblem> {
        let len = self.i32()?;
        self.take(len)
    }

    fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), RecordProblem> {
        let key = self.sized()?.ok_or(RecordProblem::HeaderKey)?;
        Ok((key, self.sized()?))
    }

    /// The headers; that they are read here is what lets [`Headers::iter`] not fail.
    fn headers(&mut self) -> Result<Headers<'a>, RecordProblem> {
        let count = self.i32()?;
        if count < 0 {
            return Err(RecordProblem::HeaderCount(count));
        }
        let all = self.rest;
        for _ in 0..count {
            self.header()?;
        }
        let bytes = &all[..all.len() - self.rest.len()];
        Ok(Headers { count, bytes })
    }
}
