//! Whether a topic takes a produced batch, judged by its facts alone.
//!
//! The rules and their error codes are those of Kafka's LogValidator for an append by a client:
//!
//! | what is wrong | code |
//! |---|---|
//! | CRC, or a length that cannot be | CORRUPT_MESSAGE |
//! | no batch, two batches, magic 0 or 1, structure, offsets, count, control batch, sequence | INVALID_RECORD |
//! | a record without a key on a compacted topic | INVALID_RECORD, with the record |
//! | a timestamp out of range, or stamped by a client | INVALID_TIMESTAMP, with the record |
//! | an unknown codec; zstd in Produce below version 7 (KIP-110) | UNSUPPORTED_COMPRESSION_TYPE |
//! | more than max.message.bytes | MESSAGE_TOO_LARGE |
//!
//! Stricter than Kafka where Kafka stores what readers then disagree on: offset deltas with gaps, the
//! LogAppendTime and delete-horizon flags from a client, a transactional batch without a producer. Kafka answers
//! UNKNOWN_SERVER_ERROR to an unknown codec and to records that cannot be inflated; here both have a code.

use std::borrow::Cow;

use ottla_wire::ErrorCode;

use super::NO_TIMESTAMP;
use super::compression::{Codec, Compression, InflateError};
use super::header::{BatchError, Malformation, RecordBatch, TimestampType};
use super::records::RecordProblem;
use super::rewrite::{Rewrite, Stamp};
use super::scan::{BatchFacts, ScanError};

/// What a topic's configuration says of the batches it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// `max.message.bytes`: a whole batch, as stored.
    pub max_message_bytes: u32,
    /// Whether `cleanup.policy` has `compact`.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// `compression.type` with its level; `None` is `producer`.
    pub compression: Option<Compression>,
}

/// A batch that the topic takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The greatest timestamp, in ms, as the log's time index has it.
    pub max_timestamp: i64,
    /// The broker's time, in ms, if the topic stamps it; for the answer.
    pub append_time: Option<i64>,
    /// What must be changed in the batch before it is appended.
    pub rewrite: Rewrite,
}

/// Why a batch is not taken, as the Produce response has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The partition's error code.
    pub code: ErrorCode,
    /// The partition's error message.
    pub message: Cow<'static, str>,
    /// The records that are to blame, as far as the facts tell: [`record_errors`] finds all.
    pub record_errors: Vec<RecordError>,
}

/// A record that is to blame for a refusal (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub message: String,
}

/// Judges a batch. `now_ms` is the broker's wall clock, `produce_version` the request's.
pub fn validate(
    facts: &BatchFacts,
    policy: &TopicPolicy,
    produce_version: i16,
    now_ms: i64,
) -> Result<Accepted, Refusal> {
    if facts.attributes.codec() == Ok(Codec::Zstd) && produce_version < 7 {
        return Err(Refusal::new(
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            "Produce requests before version 7 are not allowed to use zstd compression",
        ));
    }
    check_size(facts.size, policy.max_message_bytes)?;
    check_header(facts)?;
    if let Some(error) = keyless(facts, policy) {
        return Err(Refusal::of_records(ErrorCode::INVALID_RECORD, vec![error]));
    }
    let untimely = untimely(facts, policy, now_ms);
    if !untimely.is_empty() {
        return Err(Refusal::of_records(ErrorCode::INVALID_TIMESTAMP, untimely));
    }
    let append_time = (policy.timestamp_type == TimestampType::LogAppendTime).then_some(now_ms);
    Ok(Accepted {
        max_timestamp: append_time.unwrap_or(facts.timestamps.max),
        append_time,
        rewrite: rewrite(facts, policy, append_time),
    })
}

/// Finds every record that [`validate`] refuses the batch for, which was scanned before.
///
/// At most `inflated_limit` bytes are inflated; a batch that cannot be read has no errors of records.
pub fn record_errors(
    batch: &RecordBatch<'_>,
    policy: &TopicPolicy,
    now_ms: i64,
    inflated_limit: u64,
) -> Vec<RecordError> {
    let mut scratch = Vec::new();
    let Ok(records) = batch.records(&mut scratch, inflated_limit) else {
        return Vec::new();
    };
    (0..)
        .zip(records.flatten())
        .filter_map(|(index, record)| {
            if policy.compacted && record.key.is_none() {
                return Some(RecordError::keyless(index));
            }
            RecordError::untimely(index, record.timestamp, policy, now_ms)
        })
        .collect()
}

impl ScanError {
    /// What a producer is told that sent such bytes.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Empty | Self::Trailing(_) | Self::Batch(BatchError::Cut { .. }) => ErrorCode::INVALID_RECORD,
            Self::Batch(BatchError::Malformed { what, .. }) => match what {
                Malformation::Magic(0 | 1) => ErrorCode::INVALID_RECORD,
                Malformation::Magic(_) | Malformation::Length(_) => ErrorCode::CORRUPT_MESSAGE,
            },
            Self::Crc { .. } => ErrorCode::CORRUPT_MESSAGE,
            Self::Record { problem, .. } => problem.code(),
        };
        let rule = match self {
            Self::Empty | Self::Trailing(_) => ": Produce takes exactly one record batch a partition",
            Self::Batch(BatchError::Malformed { what: Malformation::Magic(_), .. }) => {
                ": Produce takes record batches with magic 2"
            }
            Self::Batch(_) | Self::Crc { .. } | Self::Record { .. } => "",
        };
        Refusal::new(code, format!("{self}{rule}"))
    }
}

impl RecordProblem {
    fn code(self) -> ErrorCode {
        match self {
            Self::Inflate(InflateError::UnknownCodec(_)) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            Self::Inflate(InflateError::TooLarge { .. }) => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Inflate(InflateError::Damaged(_))
            | Self::Cut
            | Self::Number
            | Self::Length
            | Self::HeaderCount(_)
            | Self::HeaderKey
            | Self::Count(_)
            | Self::Remaining
            | Self::OffsetDelta(_) => ErrorCode::INVALID_RECORD,
        }
    }
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }

    fn of_records(code: ErrorCode, record_errors: Vec<RecordError>) -> Self {
        let message = if code == ErrorCode::INVALID_TIMESTAMP {
            "One or more records have been rejected due to invalid timestamp"
        } else {
            "One or more records have been rejected"
        };
        Self { code, message: message.into(), record_errors }
    }
}

pub(super) fn check_size(size: u32, max: u32) -> Result<(), Refusal> {
    if size <= max {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::MESSAGE_TOO_LARGE,
        format!("The record batch has {size} bytes, more than max.message.bytes, which is {max}"),
    ))
}

/// What only a broker may write.
fn check_header(facts: &BatchFacts) -> Result<(), Refusal> {
    let producer = facts.producer;
    let message: Cow<'static, str> = if facts.base_offset.0 != 0 {
        format!("The base offset must be 0, but it is {}", facts.base_offset).into()
    } else if facts.record_count == 0 {
        "The record batch has no records".into()
    } else if !facts.contiguous {
        format!("The offsets of {} records do not run from 0 to {}", facts.record_count, facts.last_offset_delta).into()
    } else if facts.attributes.is_control() {
        "Clients are not allowed to write control records".into()
    } else if facts.attributes.has_delete_horizon() {
        "Clients are not allowed to set a delete horizon".into()
    } else if producer.is_some() && (producer.base_sequence < 0 || producer.epoch.0 < 0) {
        format!(
            "Invalid sequence number {} or epoch {} of producer {}",
            producer.base_sequence, producer.epoch, producer.id
        )
        .into()
    } else if facts.attributes.is_transactional() {
        // Nobody could ever end what it begins: readers of committed records, and the cleaner, would wait for ever.
        "Transactions are not supported yet: produce without transactional.id".into()
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::INVALID_RECORD, message))
}

fn keyless(facts: &BatchFacts, policy: &TopicPolicy) -> Option<RecordError> {
    let index = facts.first_keyless.filter(|_| policy.compacted)?;
    Some(RecordError::keyless(i32::try_from(index).unwrap_or(i32::MAX)))
}

/// The oldest and the newest record, if they are out of range.
fn untimely(facts: &BatchFacts, policy: &TopicPolicy, now_ms: i64) -> Vec<RecordError> {
    if facts.timestamp_type() == TimestampType::LogAppendTime {
        let message = "A producer must not set the timestamp type to LogAppendTime".into();
        return vec![RecordError { batch_index: 0, message }];
    }
    let times = &facts.timestamps;
    let mut ends = [(times.min_offset_delta, times.min), (times.max_offset_delta, times.max)];
    ends.sort_unstable();
    let distinct = if ends[0] == ends[1] { &ends[..1] } else { &ends[..] };
    let errors = distinct.iter().filter_map(|&(index, time)| RecordError::untimely(index, time, policy, now_ms));
    errors.collect()
}

fn rewrite(facts: &BatchFacts, policy: &TopicPolicy, append_time: Option<i64>) -> Rewrite {
    let stamp =
        Stamp { timestamp_type: policy.timestamp_type, max_timestamp: append_time.unwrap_or(facts.timestamps.max) };
    match policy.compression {
        Some(compression) if facts.attributes.codec() != Ok(compression.codec()) => {
            Rewrite::Recompress { compression, stamp }
        }
        // Some clients send a greatest timestamp that is not; the log's time index trusts it.
        _ if append_time.is_some() || facts.timestamps.header_max != facts.timestamps.max => Rewrite::Restamp(stamp),
        _ => Rewrite::Keep,
    }
}

impl RecordError {
    fn keyless(batch_index: i32) -> Self {
        Self { batch_index, message: "Compacted topic cannot accept message without key".into() }
    }

    fn untimely(batch_index: i32, timestamp: i64, policy: &TopicPolicy, now_ms: i64) -> Option<Self> {
        if policy.timestamp_type == TimestampType::LogAppendTime || timestamp == NO_TIMESTAMP {
            return None;
        }
        let age = now_ms.saturating_sub(timestamp);
        if age <= policy.before_max_ms && age.saturating_neg() <= policy.after_max_ms {
            return None;
        }
        let least = now_ms.saturating_sub(policy.before_max_ms);
        let most = now_ms.saturating_add(policy.after_max_ms);
        let message =
            format!("Timestamp {timestamp} is out of range. The timestamp should be within [{least}, {most}]");
        Some(Self { batch_index, message })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, BatchBuilder, BatchOptions, NewRecord, Producer, Timestamps, scan};
    use super::*;
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const NOW: i64 = 1_000_000;
    const POLICY: TopicPolicy = TopicPolicy {
        max_message_bytes: 1000,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: 5000,
        after_max_ms: 100,
        compression: None,
    };
    const FACTS: BatchFacts = BatchFacts {
        size: 500,
        inflated_size: 439,
        base_offset: Offset(0),
        leader_epoch: LeaderEpoch(-1),
        attributes: Attributes(0),
        producer: Producer::NONE,
        record_count: 3,
        last_offset_delta: 2,
        contiguous: true,
        first_keyless: Some(1),
        timestamps: Timestamps { header_max: NOW, max: NOW, max_offset_delta: 2, min: NOW - 10, min_offset_delta: 0 },
    };
    const PRODUCER: Producer = Producer { id: ProducerId(1), epoch: ProducerEpoch(0), base_sequence: 0 };

    fn refused(facts: &BatchFacts, policy: &TopicPolicy) -> ErrorCode {
        validate(facts, policy, 9, NOW).unwrap_err().code
    }

    #[test]
    fn a_good_batch_goes_in_as_it_is() {
        let accepted = validate(&FACTS, &POLICY, 9, NOW).unwrap();
        assert_eq!(accepted.rewrite, Rewrite::Keep);
        assert_eq!((accepted.max_timestamp, accepted.append_time), (NOW, None));
    }

    #[test]
    fn the_header_obeys_kafkas_rules() {
        let flags = Attributes::default();
        let bad = [
            BatchFacts { base_offset: Offset(4), ..FACTS },
            BatchFacts { record_count: 0, ..FACTS },
            BatchFacts { contiguous: false, ..FACTS },
            BatchFacts { attributes: flags.with_control(true), ..FACTS },
            BatchFacts { attributes: flags.with_delete_horizon(true), ..FACTS },
            BatchFacts { attributes: flags.with_transactional(true), ..FACTS },
            BatchFacts { attributes: flags.with_transactional(true), producer: PRODUCER, ..FACTS },
            BatchFacts { producer: Producer { base_sequence: -1, ..PRODUCER }, ..FACTS },
            BatchFacts { producer: Producer { epoch: ProducerEpoch::NONE, ..PRODUCER }, ..FACTS },
        ];
        for facts in bad {
            assert_eq!(refused(&facts, &POLICY), ErrorCode::INVALID_RECORD, "{facts:?}");
        }
    }

    #[test]
    fn a_batch_has_at_most_the_topics_size() {
        for (size, ok) in [(1000, true), (1001, false)] {
            let facts = BatchFacts { size, ..FACTS };
            assert_eq!(validate(&facts, &POLICY, 9, NOW).is_ok(), ok);
        }
        let facts = BatchFacts { size: 1001, ..FACTS };
        assert_eq!(refused(&facts, &POLICY), ErrorCode::MESSAGE_TOO_LARGE);
    }

    #[test]
    fn a_compacted_topic_names_the_record_without_a_key() {
        let policy = TopicPolicy { compacted: true, ..POLICY };
        let refusal = validate(&FACTS, &policy, 9, NOW).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_RECORD);
        assert_eq!(refusal.record_errors, [RecordError::keyless(1)]);
        let keyed = BatchFacts { first_keyless: None, ..FACTS };
        assert!(validate(&keyed, &policy, 9, NOW).is_ok());
    }

    #[test]
    fn timestamps_lie_within_the_topics_bounds() {
        let with =
            |min, max| BatchFacts { timestamps: Timestamps { min, max, header_max: max, ..FACTS.timestamps }, ..FACTS };
        assert!(validate(&with(NOW - 5000, NOW + 100), &POLICY, 9, NOW).is_ok());
        assert!(validate(&with(-1, -1), &POLICY, 9, NOW).is_ok());
        let refusal = validate(&with(NOW - 5001, NOW + 101), &POLICY, 9, NOW).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_TIMESTAMP);
        let indices = refusal.record_errors.iter().map(|error| error.batch_index);
        assert_eq!(indices.collect::<Vec<_>>(), [0, 2]);
        let unbounded = TopicPolicy { before_max_ms: i64::MAX, after_max_ms: i64::MAX, ..POLICY };
        assert!(validate(&with(i64::MIN, i64::MAX), &unbounded, 9, i64::MIN).is_ok());
        let stamped =
            BatchFacts { attributes: FACTS.attributes.with_timestamp_type(TimestampType::LogAppendTime), ..FACTS };
        assert_eq!(refused(&stamped, &POLICY), ErrorCode::INVALID_TIMESTAMP);
    }

    #[test]
    fn the_append_time_is_stamped_whatever_the_producer_said() {
        let policy = TopicPolicy { timestamp_type: TimestampType::LogAppendTime, ..POLICY };
        let mut facts = FACTS;
        facts.timestamps.min = 0;
        let accepted = validate(&facts, &policy, 9, NOW).unwrap();
        let stamp = Stamp { timestamp_type: TimestampType::LogAppendTime, max_timestamp: NOW };
        assert_eq!(accepted.append_time, Some(NOW));
        assert_eq!(accepted.rewrite, Rewrite::Restamp(stamp));
    }

    #[test]
    fn a_wrong_greatest_timestamp_is_put_right() {
        let mut facts = FACTS;
        facts.timestamps.header_max = NOW + 999_999;
        let stamp = Stamp { timestamp_type: TimestampType::CreateTime, max_timestamp: NOW };
        let accepted = validate(&facts, &POLICY, 9, NOW).unwrap();
        assert_eq!(accepted.rewrite, Rewrite::Restamp(stamp));
    }

    #[test]
    fn only_another_codec_is_recompressed() {
        let compression = Compression::Lz4(9);
        let policy = TopicPolicy { compression: Some(compression), ..POLICY };
        let with = |codec| BatchFacts { attributes: FACTS.attributes.with_codec(codec), ..FACTS };
        let rewrite = |codec| validate(&with(codec), &policy, 9, NOW).unwrap().rewrite;
        assert_eq!(rewrite(Codec::Lz4), Rewrite::Keep);
        assert!(matches!(
            rewrite(Codec::None),
            Rewrite::Recompress { compression: to, .. } if to == compression
        ));
    }

    #[test]
    fn zstd_needs_produce_7() {
        let facts = BatchFacts { attributes: FACTS.attributes.with_codec(Codec::Zstd), ..FACTS };
        let refusal = validate(&facts, &POLICY, 6, NOW).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
        assert!(validate(&facts, &POLICY, 7, NOW).is_ok());
    }

    #[test]
    fn scan_errors_have_kafkas_codes() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord::default());
        let good = builder.build();
        let code = |bytes: &[u8]| scan(bytes, 1000).unwrap_err().refusal().code;
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(code(&[]), ErrorCode::INVALID_RECORD);
        assert_eq!(code(&good.repeat(2)), ErrorCode::INVALID_RECORD);
        assert_eq!(code(&good[..60]), ErrorCode::INVALID_RECORD);
        assert_eq!(code(&with(16, 1)), ErrorCode::INVALID_RECORD);
        assert_eq!(code(&with(16, 3)), ErrorCode::CORRUPT_MESSAGE);
        assert_eq!(code(&with(11, 1)), ErrorCode::CORRUPT_MESSAGE);
        assert_eq!(code(&with(17, 0x55)), ErrorCode::CORRUPT_MESSAGE);
        let mut unknown = with(22, 5);
        let crc = crc32c::crc32c(&unknown[21..]);
        unknown[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(code(&unknown), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }

    #[test]
    fn all_records_to_blame_are_found() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (timestamp, key) in [(NOW, None), (NOW, Some(&b"k"[..])), (0, Some(b"k")), (0, None)] {
            builder.append(&NewRecord { timestamp, key, ..NewRecord::default() });
        }
        let bytes = builder.build();
        let batch = RecordBatch::first_of(&bytes).unwrap();
        let policy = TopicPolicy { compacted: true, ..POLICY };
        let errors = record_errors(&batch, &policy, NOW, 1000);
        let indices = errors.iter().map(|error| error.batch_index);
        assert_eq!(indices.collect::<Vec<_>>(), [0, 2, 3]);
    }
}
