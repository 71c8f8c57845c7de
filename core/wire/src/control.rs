//! Control records: the ends of transactions in any log, and what the quorum writes into the metadata log.
//!
//! A control record's key is a version (0) and a type. The value of COMMIT and ABORT is a version (0) and
//! [`EndTxnMarker`]; the other values are the message alone, whose first field repeats its version. Kafka reads
//! a newer version of a key or a marker as version 0, and so does this.

use crate::Uuid;
use crate::message::{NEVER, message};
use crate::primitives::{DecodeError, Reader, Result};
use crate::{Message, Writer};

/// What a control record is, by its key. Other numbers exist: a reader skips what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlRecordType(pub i16);

impl ControlRecordType {
    /// A transaction was aborted.
    pub const ABORT: Self = Self(0);
    /// A transaction was committed.
    pub const COMMIT: Self = Self(1);
    /// [`LeaderChangeMessage`].
    pub const LEADER_CHANGE: Self = Self(2);
    /// [`SnapshotHeaderRecord`].
    pub const SNAPSHOT_HEADER: Self = Self(3);
    /// [`SnapshotFooterRecord`].
    pub const SNAPSHOT_FOOTER: Self = Self(4);
    /// [`KRaftVersionRecord`].
    pub const KRAFT_VERSION: Self = Self(5);
    /// [`VotersRecord`].
    pub const KRAFT_VOTERS: Self = Self(6);

    /// Reads a control record's key.
    ///
    /// # Errors
    /// If it has fewer than four bytes or a negative version.
    pub fn decode_key(key: &[u8]) -> Result<Self> {
        let mut r = Reader::new(key);
        version_prefix(&mut r)?;
        Ok(Self(i16::from_be_bytes(r.array()?)))
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.0.to_be_bytes();
        [0, 0, high, low]
    }
}

impl EndTxnMarker {
    /// Reads the value of a COMMIT or ABORT marker, with its version.
    ///
    /// # Errors
    /// If it is cut or has a negative version.
    pub fn decode_value(value: &[u8]) -> Result<Self> {
        let mut r = Reader::new(value);
        version_prefix(&mut r)?;
        Self::decode(&mut r, 0)
    }

    /// Appends the value of a COMMIT or ABORT marker, with its version.
    pub fn encode_value(&self, w: &mut Writer) {
        w.put(&0i16.to_be_bytes());
        self.encode(w, 0);
    }
}

fn version_prefix(r: &mut Reader<'_>) -> Result<()> {
    let version = i16::from_be_bytes(r.array()?);
    if version < 0 { Err(DecodeError::UnsupportedVersion(version)) } else { Ok(()) }
}

message! {
    LeaderChangeMessage: 0..=1, flexible 0..;

    /// A leader of the metadata log was elected (KIP-595).
    struct LeaderChangeMessage {
        /// The version of this message.
        version: i16,
        leader_id: i32,
        voters: Vec<Voter>,
        granting_voters: Vec<Voter>,
    }

    /// A voter.
    struct Voter {
        voter_id: i32,
        voter_directory_id: Uuid [1..],
    }
}

message! {
    SnapshotHeaderRecord: 0..=0, flexible 0..;

    /// Opens a snapshot (KIP-630).
    struct SnapshotHeaderRecord {
        /// The version of this message.
        version: i16,
        last_contained_log_timestamp: i64,
    }
}

message! {
    SnapshotFooterRecord: 0..=0, flexible 0..;

    /// Ends a snapshot.
    struct SnapshotFooterRecord {
        /// The version of this message.
        version: i16,
    }
}

message! {
    KRaftVersionRecord: 0..=0, flexible 0..;

    /// The level of `kraft.version` (KIP-853).
    struct KRaftVersionRecord {
        /// The version of this message.
        version: i16,
        kraft_version: i16,
    }
}

message! {
    VotersRecord<'a>: 0..=0, flexible 0..;

    /// The voter set (KIP-853).
    struct VotersRecord<'a> {
        /// The version of this message.
        version: i16,
        voters: Vec<VotersRecordVoter<'a>>,
    }

    /// A voter and its addresses.
    struct VotersRecordVoter<'a> {
        voter_id: i32,
        voter_directory_id: Uuid,
        endpoints: Vec<Endpoint<'a>>,
        kraft_version_feature: KRaftVersionFeature,
    }

    /// An address of a voter on one listener.
    struct Endpoint<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
    }

    /// The levels of `kraft.version` that a voter supports.
    struct KRaftVersionFeature {
        min_supported_version: i16,
        max_supported_version: i16,
    }
}

message! {
    EndTxnMarker: 0..=0, flexible NEVER;

    /// The value of a COMMIT or ABORT marker, after its version.
    struct EndTxnMarker {
        coordinator_epoch: i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_markers_are_those_of_kafka() {
        assert_eq!(ControlRecordType::COMMIT.key(), [0, 0, 0, 1]);
        assert_eq!(ControlRecordType::decode_key(&[0, 0, 0, 6]), Ok(ControlRecordType::KRAFT_VOTERS));
        assert_eq!(ControlRecordType::decode_key(&[0, 9, 0, 6]), Ok(ControlRecordType::KRAFT_VOTERS));
        assert!(ControlRecordType::decode_key(&[0, 0, 0]).is_err());
        assert!(ControlRecordType::decode_key(&[255, 0, 0, 0]).is_err());
        let mut w = Writer::new();
        let marker = EndTxnMarker { coordinator_epoch: 258 };
        marker.encode_value(&mut w);
        assert_eq!(w.as_bytes(), [0, 0, 0, 0, 1, 2]);
        assert_eq!(EndTxnMarker::decode_value(w.as_bytes()), Ok(marker));
    }
}
