//! Record batches, format v2 (magic 2): looked at in place, built, checked, and never copied without need.
//!
//! * [`header`]: the 61 bytes before the records, and the walk over concatenated batches
//! * [`scan`]: one look at every record of a batch; says what the bytes are ([`BatchFacts`])
//! * [`policy`]: whether a topic takes a batch with those facts, and with which error it refuses
//! * [`records`]: the records themselves, as slices of the batch or of its inflated bytes
//! * [`builder`]: writes batches; [`control`]: control records; [`rewrite`]: recompression, new timestamps;
//!   [`retain`]: what compaction leaves of a batch
//! * [`compression`] and [`zstd_frames`]: the codecs, bounded; [`varint`]: the integers inside a record
//!
//! Invariants: nothing here panics on any bytes, and nothing reserves memory for a number that was only read.
//! A CRC covers a batch from byte 21 on, so the base offset and the leader epoch, which the leader assigns,
//! are written without touching what the producer sent.
//!
//! Absent on purpose: the formats with magic 0 and 1, which no supported client sends (KIP-724 and KIP-896
//! took them out of Kafka 4.0), and with them down-conversion.

mod builder;
mod compression;
mod control;
mod header;
mod policy;
mod records;
mod retain;
mod rewrite;
mod scan;
mod varint;
mod zstd_frames;

#[cfg(test)]
mod tests;

pub use builder::{BatchBuilder, BatchOptions, NewRecord};
pub use compression::{Codec, Compression, InflateError};
pub use control::{ControlType, EndTxnMarker, control_batch};
pub use header::{
    Attributes, BatchError, BatchHead, BatchHeader, Batches, HEADER_LEN, Malformation, Producer, RecordBatch,
    TimestampType, batches,
};
pub use policy::{Accepted, RecordError, Refusal, TopicPolicy, record_errors, validate};
pub use records::{Headers, Record, RecordProblem, Records};
pub use retain::{emptied, retain};
pub use rewrite::{Rewrite, Stamp, resequenced_header, restamped_header, rewrite};
pub use scan::{BatchFacts, ScanError, Timestamps, scan, scan_batch};

/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// The base sequence of a batch that has none.
pub const NO_SEQUENCE: i32 = -1;
