//! One batch on its way: open, built, in flight, to be sent again.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use crate::clock::Instant;
use crate::machine::ConnId;
use crate::record::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, HEADER_LEN, NewRecord, Producer, RecordBatch,
    resequenced_header,
};
use crate::rpc::CallId;

use super::super::ProduceRecord;

#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Batches are counted over all partitions, in the order of their making.
    pub(super) number: u64,
    content: Content,
    /// One for each record, in order.
    pub(super) tokens: Vec<u64>,
    /// What its records take of `buffer.memory`.
    pub(super) memory: usize,
    pub(super) created: Instant,
    pub(super) flight: Option<Flight>,
    /// Requests that it was in.
    pub(super) attempts: u32,
    pub(super) retry_at: Instant,
    pub(super) last_error: Option<ErrorCode>,
    /// Whether an attempt that is over may have been written, for all that we know.
    pub(super) doubtful: bool,
    /// Its place in the producer's sequence, once it has one.
    pub(super) sequence: Option<Producer>,
}

/// The request that a batch is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) call: CallId,
    pub(super) conn: ConnId,
    /// As what it went out.
    pub(super) sequence: Option<Producer>,
}

#[derive(Clone, Debug)]
enum Content {
    Open(Box<BatchBuilder>),
    Built(Vec<u8>),
}

impl Batch {
    pub(super) fn new(number: u64, created: Instant, compression: Compression) -> Self {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        Self {
            number,
            content: Content::Open(Box::new(BatchBuilder::new(options))),
            tokens: Vec::new(),
            memory: 0,
            created,
            flight: None,
            attempts: 0,
            retry_at: Instant(0),
            last_error: None,
            doubtful: false,
            sequence: None,
        }
    }

    /// Whether a record of `size` bytes may be added. Not if the batch has its numbers already, as a half of a split
    /// one has: those behind them are another batch's.
    pub(super) fn has_room(&self, size: usize, batch_size: usize) -> bool {
        match &self.content {
            Content::Open(_) if self.sequence.is_some() => false,
            Content::Open(builder) => builder.is_empty() || builder.len() + size <= batch_size,
            Content::Built(_) => false,
        }
    }

    /// Whether it is worth sending without waiting for more.
    pub(super) fn is_full(&self, batch_size: usize) -> bool {
        match &self.content {
            Content::Open(builder) => self.sequence.is_some() || builder.len() >= batch_size,
            Content::Built(_) => true,
        }
    }

    pub(super) fn append(&mut self, token: u64, record: &ProduceRecord, timestamp_ms: i64) {
        let Content::Open(builder) = &mut self.content else { unreachable!("only a batch with room is appended to") };
        let headers: Vec<_> = record.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        builder.append(&NewRecord {
            timestamp: timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
        self.tokens.push(token);
        self.memory += record.buffered_size();
    }

    /// How many records it has.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.tokens.len()).expect("a batch has less than 2^31 records")
    }

    /// Closes it, if it is open, and gives it its place in the sequence.
    pub(super) fn seal(&mut self) {
        let producer = self.sequence.unwrap_or(Producer::NONE);
        match &mut self.content {
            Content::Open(builder) => {
                let none = Box::new(BatchBuilder::new(BatchOptions::default()));
                let mut builder = std::mem::replace(builder, none);
                builder.set_producer(producer);
                self.content = Content::Built(builder.build());
            }
            Content::Built(bytes) => {
                let header = header(bytes);
                if header.producer != producer {
                    bytes[..HEADER_LEN].copy_from_slice(&resequenced_header(&header, producer));
                }
            }
        }
    }

    /// The bytes of a sealed batch; of an open one, none.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Open(_) => &[],
            Content::Built(bytes) => bytes,
        }
    }

    pub(super) fn deadline(&self, delivery_timeout: Duration) -> Instant {
        self.created + delivery_timeout
    }

    /// Two batches with half of its records each, at the same places of the sequence, for a broker that found it
    /// too large. `None` if it has one record only.
    pub(super) fn split(&self, compression: Compression) -> Option<[Self; 2]> {
        let half = self.tokens.len() / 2;
        if half == 0 {
            return None;
        }
        let batch = RecordBatch::first_of(self.bytes()).expect("we built it");
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, u64::MAX).expect("we built it");
        let mut halves = [(); 2].map(|()| Self::new(self.number, self.created, compression));
        for (index, (record, &token)) in records.zip(&self.tokens).enumerate() {
            let record = record.expect("we built it");
            let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
            let headers = record.headers.iter();
            let headers = headers.map(|(key, value)| (Bytes::copy_from_slice(key), copied(value))).collect();
            let (key, value) = (copied(record.key), copied(record.value));
            let new = ProduceRecord { key, value, headers, ..ProduceRecord::default() };
            halves[usize::from(index >= half)].append(token, &new, record.timestamp);
        }
        if let Some(producer) = self.sequence {
            let delta = halves[0].count();
            halves[0].sequence = Some(producer);
            halves[1].sequence = Some(Producer { base_sequence: producer.sequence_at(delta), ..producer });
        }
        Some(halves)
    }
}

fn header(bytes: &[u8]) -> BatchHeader {
    BatchHeader::parse(bytes).expect("we built it")
}
