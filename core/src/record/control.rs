//! Control records: what brokers write into a log for each other, and no client is shown.
//!
//! The key says what a control record is: version (int16) and type (int16). A reader takes a newer version as
//! the one it knows, because fields are only ever added, and passes over a type that it does not know.
//!
//! | type | value | written by |
//! |---|---|---|
//! | 0 abort, 1 commit | [`EndTxnMarker`] | a transaction coordinator, through the partition's leader |
//! | 2 LeaderChange | its schema | the metadata quorum's leader, first in its epoch |
//! | 3 SnapshotHeader, 4 SnapshotFooter | theirs | the first and the last record of a snapshot (KIP-630) |
//! | 5 KRaftVersion, 6 KRaftVoters | theirs | the metadata quorum's leader (KIP-853) |
//!
//! Absent on purpose: the schemas of the values, which are messages of the wire.

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::NO_SEQUENCE;
use super::builder::{BatchBuilder, BatchOptions, NewRecord};
use super::header::Producer;
use super::records::Record;

/// What a control record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
    /// A leader of the metadata quorum begins its epoch.
    LeaderChange,
    /// A snapshot begins.
    SnapshotHeader,
    /// A snapshot is complete.
    SnapshotFooter,
    /// The version of the quorum's protocol, `kraft.version`.
    KRaftVersion,
    /// The voters of the quorum.
    KRaftVoters,
    /// One that this version does not know.
    Unknown(i16),
}

/// The end of a producer's transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Committed or aborted.
    pub commit: bool,
    /// The epoch of the coordinator that decided it; an older one's marker is refused.
    pub coordinator_epoch: i32,
}

impl ControlType {
    /// Reads the key of a control record; `None` if it is none.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (version, rest) = key.split_first_chunk::<2>()?;
        let number = i16::from_be_bytes(*rest.first_chunk::<2>()?);
        (i16::from_be_bytes(*version) >= 0).then_some(match number {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            other => Self::Unknown(other),
        })
    }

    /// What a record of a control batch is; `None` if its key is none of a control record's.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        Self::from_key(record.key?)
    }

    /// The key of such a control record.
    pub fn to_key(self) -> [u8; 4] {
        let number: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(number) => number,
        };
        let [high, low] = number.to_be_bytes();
        [0, 0, high, low]
    }
}

impl EndTxnMarker {
    /// Reads the marker in a record of a control batch; `None` if it is another control record, or none.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        let commit = match ControlType::of(record)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter
            | ControlType::KRaftVersion
            | ControlType::KRaftVoters
            | ControlType::Unknown(_) => return None,
        };
        let (version, rest) = record.value?.split_first_chunk::<2>()?;
        let coordinator_epoch = i32::from_be_bytes(*rest.first_chunk::<4>()?);
        (i16::from_be_bytes(*version) >= 0).then_some(Self { commit, coordinator_epoch })
    }

    /// The control batch that holds the marker alone. The leader that appends it writes offset and epoch.
    pub fn to_batch(self, id: ProducerId, epoch: ProducerEpoch, timestamp: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Producer { id, epoch, base_sequence: NO_SEQUENCE },
            transactional: true,
            control: true,
            ..BatchOptions::default()
        });
        let kind = if self.commit { ControlType::Commit } else { ControlType::Abort };
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        builder.append(&NewRecord { timestamp, key: Some(&kind.to_key()), value: Some(&value), headers: &[] });
        builder.build()
    }
}

/// A control batch of the metadata log or a snapshot, with the values as the wire encodes them.
pub fn control_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: i64,
    records: &[(ControlType, &[u8])],
) -> Vec<u8> {
    let mut builder =
        BatchBuilder::new(BatchOptions { base_offset, leader_epoch, control: true, ..BatchOptions::default() });
    for (kind, value) in records {
        builder.append(&NewRecord { timestamp, key: Some(&kind.to_key()), value: Some(value), headers: &[] });
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::super::{RecordBatch, scan};
    use super::*;

    #[test]
    fn markers_round_trip_and_have_kafkas_size() {
        for commit in [false, true] {
            let marker = EndTxnMarker { commit, coordinator_epoch: 42 };
            let bytes = marker.to_batch(ProducerId(9), ProducerEpoch(1), 1000);
            // 61 bytes of header and 17 of one record, as Kafka's markers have.
            assert_eq!(bytes.len(), 78);
            let facts = scan(&bytes, 0).unwrap();
            assert!(facts.attributes.is_control() && facts.attributes.is_transactional());
            let batch = RecordBatch::first_of(&bytes).unwrap();
            let mut scratch = Vec::new();
            let mut records = batch.records(&mut scratch, 0).unwrap();
            let record = records.next().unwrap().unwrap();
            assert_eq!(EndTxnMarker::of(&record), Some(marker));
            assert!(records.next().is_none());
        }
    }

    #[test]
    fn keys_round_trip_and_short_or_negative_ones_are_none() {
        for number in -1..9_i16 {
            let [high, low] = number.to_be_bytes();
            let kind = ControlType::from_key(&[0, 0, high, low]).unwrap();
            assert_eq!(kind.to_key(), [0, 0, high, low]);
            // A newer version is read as this one, longer keys too.
            assert_eq!(ControlType::from_key(&[0, 1, high, low, 7]), Some(kind));
        }
        assert_eq!(ControlType::from_key(&[0, 0, 0]), None);
        assert_eq!(ControlType::from_key(&[0xff, 0xff, 0, 0]), None);
    }

    #[test]
    fn a_control_batch_holds_its_values() {
        let records = [(ControlType::LeaderChange, &b"leader"[..]), (ControlType::KRaftVersion, &b"version"[..])];
        let bytes = control_batch(Offset(5), LeaderEpoch(2), 1, &records);
        let batch = RecordBatch::first_of(&bytes).unwrap();
        assert!(batch.header().attributes.is_control());
        let mut scratch = Vec::new();
        let read: Vec<_> = batch
            .records(&mut scratch, 0)
            .unwrap()
            .map(|record| {
                let record = record.unwrap();
                (ControlType::of(&record).unwrap(), record.value.unwrap())
            })
            .collect();
        assert_eq!(read, records);
    }
}
