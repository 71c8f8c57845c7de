//! The records of `__cluster_metadata`, with the names, types and versions of Apache Kafka 4.3.1.
//!
//! A record's value is a frame version (1), the record's type and its version, each an unsigned varint, and the
//! body. Bytes after the body are an error, as in Kafka. Which version to write follows from the cluster's
//! `metadata.version`, which this crate does not know.

use crate::primitives::{DecodeError, Reader, Result};
use crate::{Message, Writer};
use std::ops::RangeInclusive;

mod broker;
mod config;
mod log;
mod security;
mod topic;

pub use broker::*;
pub use config::*;
pub use log::*;
pub use security::*;
pub use topic::*;

const FRAME_VERSION: u32 = 1;

macro_rules! metadata_records {
    ($($kind:literal $name:ident $module:ident $record:ident $(<$lt:lifetime>)?;)*) => {
        /// A record of the metadata log.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is a record by its name")]
        pub enum MetadataRecord<'a> { $($name($module::$record $(<$lt>)?),)* }

        impl<'a> MetadataRecord<'a> {
            /// Every type number with its versions.
            pub const TYPES: &'static [(u32, RangeInclusive<i16>)] = &[$(($kind, $module::$record::VERSIONS),)*];

            /// The type's number.
            pub const fn kind(&self) -> u32 {
                match self { $(Self::$name(_) => $kind,)* }
            }

            /// Kafka's name of the type, as in `TopicRecord`.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($record),)* }
            }

            /// The versions that the type has.
            pub const fn versions(&self) -> RangeInclusive<i16> {
                match self { $(Self::$name(_) => $module::$record::VERSIONS,)* }
            }

            fn decode_body(r: &mut Reader<'a>, kind: u32, version: i16) -> Result<Self> {
                match kind {
                    $($kind => Message::decode(r, version).map(Self::$name),)*
                    _ => Err(DecodeError::UnknownRecordType(kind)),
                }
            }

            fn encode_body(&self, w: &mut Writer, version: i16) {
                match self { $(Self::$name(body) => body.encode(w, version),)* }
            }
        }

        $(impl<'a> From<$module::$record $(<$lt>)?> for MetadataRecord<'a> {
            fn from(body: $module::$record $(<$lt>)?) -> Self { Self::$name(body) }
        })*

        #[cfg(test)]
        impl MetadataRecord<'static> {
            pub(crate) fn arbitrary(kind: u32, version: i16, g: &mut crate::arbitrary::Entropy) -> Self {
                match kind {
                    $($kind => Self::$name(crate::arbitrary::message(version, g)),)*
                    _ => panic!("no metadata record has type {kind}"),
                }
            }
        }
    };
}

metadata_records! {
    0 RegisterBroker broker RegisterBrokerRecord<'a>;
    1 UnregisterBroker broker UnregisterBrokerRecord;
    2 Topic topic TopicRecord<'a>;
    3 Partition topic PartitionRecord;
    4 Config config ConfigRecord<'a>;
    5 PartitionChange topic PartitionChangeRecord;
    7 FenceBroker broker FenceBrokerRecord;
    8 UnfenceBroker broker UnfenceBrokerRecord;
    9 RemoveTopic topic RemoveTopicRecord;
    10 DelegationToken security DelegationTokenRecord<'a>;
    11 UserScramCredential security UserScramCredentialRecord<'a>;
    12 FeatureLevel config FeatureLevelRecord<'a>;
    14 ClientQuota config ClientQuotaRecord<'a>;
    15 ProducerIds config ProducerIdsRecord;
    17 BrokerRegistrationChange broker BrokerRegistrationChangeRecord;
    18 AccessControlEntry security AccessControlEntryRecord<'a>;
    19 RemoveAccessControlEntry security RemoveAccessControlEntryRecord;
    20 NoOp log NoOpRecord;
    21 ZkMigrationState log ZkMigrationStateRecord;
    22 RemoveUserScramCredential security RemoveUserScramCredentialRecord<'a>;
    23 BeginTransaction log BeginTransactionRecord<'a>;
    24 EndTransaction log EndTransactionRecord;
    25 AbortTransaction log AbortTransactionRecord<'a>;
    26 RemoveDelegationToken security RemoveDelegationTokenRecord<'a>;
    27 RegisterController broker RegisterControllerRecord<'a>;
    28 ClearElr topic ClearElrRecord<'a>;
}

impl<'a> MetadataRecord<'a> {
    /// Reads a record's value: its frame and its body.
    ///
    /// # Errors
    /// If the frame version, the type or the version is unknown, or what is wrong with the bytes.
    pub fn decode(value: &'a [u8]) -> Result<Self> {
        let mut r = Reader::of_record(value);
        let frame_version = r.uvarint()?;
        if frame_version != FRAME_VERSION {
            return Err(DecodeError::UnknownFrameVersion(frame_version));
        }
        let kind = r.uvarint()?;
        let version = r.uvarint()?;
        let version = i16::try_from(version).map_err(|_| DecodeError::UnsupportedVersion(i16::MAX))?;
        let record = Self::decode_body(&mut r, kind, version)?;
        r.finish()?;
        Ok(record)
    }

    /// Appends a record's value: its frame and its body.
    ///
    /// # Panics
    /// If the type does not have this version.
    pub fn encode(&self, w: &mut Writer, version: i16) {
        w.put_uvarint(FRAME_VERSION);
        w.put_uvarint(self.kind());
        w.put_uvarint(u32::try_from(version).expect("no type has a negative version"));
        self.encode_body(w, version);
    }
}
