//! The producers' state in a file, `<offset>.snapshot`: Kafka's format, version 1, and a tail of ours.
//!
//! ```text
//! version i16 = 1 | crc u32 | count i32 | count × 46 bytes of Kafka's | tail
//! ```
//!
//! The CRC-32C covers all that follows it. Kafka's entry has only the last batch of a producer, so a broker that
//! starts from it would answer four of five retries with an error. The tail has the rest; Kafka's readers
//! check its CRC and stop before it. A snapshot that Kafka wrote has no tail and is read without.
//!
//! ```text
//! magic u32 | per entry, in order: contiguous u32 | batches u8 | batches × 24 bytes
//! ```
//!
//! A snapshot that is damaged or torn is [`Corrupt`] and never loaded in part (KAFKA-9892): an older one is, and
//! the batches after it are applied.

use std::collections::BTreeMap;

use super::producer_state::{ProducerEntry, ProducerState, REMEMBERED_BATCHES, Recent, RememberedBatch};
use super::{Corrupt, field};
use crate::planted::{Plant, Planted};
use crate::types::{Offset, ProducerEpoch, ProducerId};

/// What a snapshot holds.
pub type Producers = BTreeMap<ProducerId, ProducerEntry>;

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const COUNT_AT: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_LEN: usize = 46;
const BATCH_LEN: usize = 24;
/// "OTP1"
const TAIL_MAGIC: u32 = 0x4f54_5031;

/// The file for `state`, whose name has its end offset.
#[must_use]
pub fn encode(state: &ProducerState) -> Vec<u8> {
    let entries = state.iter();
    let count = i32::try_from(entries.len()).expect("max_producers is below 2^31");
    let mut bytes = Vec::with_capacity(ENTRIES_AT + entries.len() * (ENTRY_LEN + 5 + BATCH_LEN));
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(count.to_be_bytes());
    entries.for_each(|(id, entry)| put_entry(&mut bytes, id, entry));
    bytes.extend(TAIL_MAGIC.to_be_bytes());
    state.iter().for_each(|(_, entry)| put_tail(&mut bytes, entry));
    let crc = crc32c::crc32c(&bytes[COUNT_AT..]);
    bytes[CRC_AT..COUNT_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads a file, ours or Kafka's.
///
/// # Errors
/// If it is torn, damaged, or of another version.
pub fn parse(bytes: &[u8]) -> Result<Producers, Corrupt> {
    if bytes.len() < ENTRIES_AT {
        return Err(Corrupt::new(format!("it has {} bytes", bytes.len())));
    }
    let version = i16::from_be_bytes(field(bytes, 0));
    if version != VERSION {
        return Err(Corrupt::new(format!("its version is {version}")));
    }
    let crc = u32::from_be_bytes(field(bytes, CRC_AT));
    if crc != crc32c::crc32c(&bytes[COUNT_AT..]) {
        return Err(Corrupt::new("its CRC does not match"));
    }
    let count = usize::try_from(i32::from_be_bytes(field(bytes, COUNT_AT))).unwrap_or(usize::MAX);
    let entries = count.checked_mul(ENTRY_LEN).and_then(|len| bytes[ENTRIES_AT..].split_at_checked(len));
    let (entries, tail) = entries.ok_or_else(|| Corrupt::new("it is shorter than its count says"))?;
    let mut list: Vec<(ProducerId, ProducerEntry)> = entries.chunks_exact(ENTRY_LEN).map(entry).collect();
    if tail.first_chunk() == Some(&TAIL_MAGIC.to_be_bytes()) {
        let mut tail = &tail[4..];
        for (_, entry) in &mut list {
            take_tail(&mut tail, entry).ok_or_else(|| Corrupt::new("its tail is too short"))?;
        }
    }
    Ok(list.into_iter().collect())
}

/// Which of the snapshots at `offsets` must go when the log is cut to end at `end_offset`: those above it
/// describe records that are no more (KAFKA-5829).
#[must_use]
pub fn above(offsets: &[Offset], end_offset: Offset, planted: Planted) -> Vec<Offset> {
    if planted.has(Plant::Idem09) {
        return Vec::new();
    }
    offsets.iter().copied().filter(|&offset| offset > end_offset).collect()
}

fn put_entry(bytes: &mut Vec<u8>, id: ProducerId, entry: &ProducerEntry) {
    let last = entry.recent.last();
    bytes.extend(id.0.to_be_bytes());
    bytes.extend(entry.epoch.0.to_be_bytes());
    bytes.extend(entry.last_sequence.to_be_bytes());
    bytes.extend(last.map_or(-1, |last| last.last_offset.0).to_be_bytes());
    bytes.extend(last.map_or(0, |last| last.offset_delta).to_be_bytes());
    bytes.extend(entry.last_timestamp.to_be_bytes());
    bytes.extend(entry.coordinator_epoch.to_be_bytes());
    bytes.extend(entry.txn_first_offset.map_or(-1, |first| first.0).to_be_bytes());
}

fn entry(bytes: &[u8]) -> (ProducerId, ProducerEntry) {
    let mut entry = ProducerEntry::new(ProducerEpoch(i16::from_be_bytes(field(bytes, 8))));
    entry.last_sequence = i32::from_be_bytes(field(bytes, 10));
    entry.last_timestamp = i64::from_be_bytes(field(bytes, 26));
    entry.coordinator_epoch = i32::from_be_bytes(field(bytes, 34));
    let txn_first_offset = Offset(i64::from_be_bytes(field(bytes, 38)));
    entry.txn_first_offset = (txn_first_offset >= Offset::ZERO).then_some(txn_first_offset);
    let last = RememberedBatch {
        last_sequence: entry.last_sequence,
        offset_delta: i32::from_be_bytes(field(bytes, 22)),
        last_offset: Offset(i64::from_be_bytes(field(bytes, 14))),
        timestamp: entry.last_timestamp,
    };
    if is_possible(&last) && last.last_sequence >= 0 {
        entry.recent.push(last);
        entry.contiguous = u32::try_from(last.offset_delta).map_or(1, |delta| delta.saturating_add(1));
    }
    (ProducerId(i64::from_be_bytes(field(bytes, 0))), entry)
}

fn put_tail(bytes: &mut Vec<u8>, entry: &ProducerEntry) {
    let batches = entry.recent.as_slice();
    bytes.extend(entry.contiguous.to_be_bytes());
    bytes.push(u8::try_from(batches.len()).expect("there are at most five"));
    for batch in batches {
        bytes.extend(batch.last_sequence.to_be_bytes());
        bytes.extend(batch.offset_delta.to_be_bytes());
        bytes.extend(batch.last_offset.0.to_be_bytes());
        bytes.extend(batch.timestamp.to_be_bytes());
    }
}

fn take_tail(tail: &mut &[u8], entry: &mut ProducerEntry) -> Option<()> {
    let (head, rest) = tail.split_first_chunk::<5>()?;
    let count = usize::from(head[4]);
    if count > REMEMBERED_BATCHES {
        return None;
    }
    let (batches, rest) = rest.split_at_checked(count * BATCH_LEN)?;
    entry.contiguous = u32::from_be_bytes(field(head, 0));
    entry.recent = Recent::default();
    for batch in batches.chunks_exact(BATCH_LEN) {
        let batch = RememberedBatch {
            last_sequence: i32::from_be_bytes(field(batch, 0)),
            offset_delta: i32::from_be_bytes(field(batch, 4)),
            last_offset: Offset(i64::from_be_bytes(field(batch, 8))),
            timestamp: i64::from_be_bytes(field(batch, 16)),
        };
        is_possible(&batch).then(|| entry.recent.push(batch))?;
    }
    *tail = rest;
    Some(())
}

/// Whether a batch of that many records can end at that offset.
fn is_possible(batch: &RememberedBatch) -> bool {
    batch.offset_delta >= 0 && batch.last_offset >= Offset(batch.offset_delta.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::producer_state::{MAX_PRODUCERS, ProducerBatch};
    use crate::record::{EndTxnMarker, Producer};

    fn state() -> ProducerState {
        let mut state = ProducerState::new(MAX_PRODUCERS, Planted::default());
        for round in 0..7 {
            let batch = ProducerBatch {
                producer: Producer { id: ProducerId(3), epoch: ProducerEpoch(1), base_sequence: round * 2 },
                last_offset_delta: 1,
                is_transactional: round == 6,
                max_timestamp: 1000 + i64::from(round),
            };
            state.apply(&batch, Offset(i64::from(round) * 2));
        }
        let marker = EndTxnMarker { commit: true, coordinator_epoch: 5 };
        state.apply_marker(ProducerId(4), ProducerEpoch(0), marker, 2000, Offset(14));
        state
    }

    fn restored(bytes: &[u8]) -> ProducerState {
        let producers = parse(bytes).unwrap();
        ProducerState::restore(producers, Offset(15), MAX_PRODUCERS, Planted::default())
    }

    #[test]
    fn all_that_is_known_survives() {
        let state = state();
        assert_eq!(state.get(ProducerId(3)).unwrap().recent.as_slice().len(), 5);
        assert_eq!(restored(&encode(&state)), state);
        assert_eq!(restored(&encode(&state)).first_unstable_offset(), Some(Offset(12)));
    }

    #[test]
    fn reads_what_kafka_writes() {
        // Written by Kafka 4.3.1 at the end of seven batches of one record each.
        let file = [
            "00016d86ff65",
            "00000001",
            "0000000000000000",
            "0000",
            "00000006",
            "0000000000000006",
            "00000000",
            "000001a1fa80a6de",
            "ffffffff",
            "ffffffffffffffff",
        ];
        let hex = file.concat();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let producers = parse(&bytes).unwrap();
        let entry = producers[&ProducerId(0)];
        assert_eq!((producers.len(), entry.epoch, entry.last_sequence), (1, ProducerEpoch(0), 6));
        assert_eq!((entry.coordinator_epoch, entry.txn_first_offset), (-1, None));
        assert_eq!(entry.recent.last().unwrap().base_offset(), Offset(6));
    }

    #[test]
    fn a_snapshot_without_a_tail_has_the_last_batch() {
        let mut bytes = encode(&state());
        bytes.truncate(ENTRIES_AT + 2 * ENTRY_LEN);
        let crc = crc32c::crc32c(&bytes[COUNT_AT..]);
        bytes[CRC_AT..COUNT_AT].copy_from_slice(&crc.to_be_bytes());
        let state = restored(&bytes);
        let recent = state.get(ProducerId(3)).unwrap().recent;
        assert_eq!(recent.as_slice().len(), 1);
        assert_eq!(recent.last().unwrap().base_offset(), Offset(12));
        assert!(state.get(ProducerId(4)).unwrap().recent.as_slice().is_empty());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let whole = encode(&state());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            assert!(parse(&bytes).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn snapshots_above_a_cut_go() {
        let offsets = [Offset(5), Offset(10), Offset(11)];
        assert_eq!(above(&offsets, Offset(10), Planted::default()), [Offset(11)]);
    }
}
