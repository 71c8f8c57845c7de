//! The records of `__consumer_offsets`, with the names, types and versions of Apache Kafka 4.3.1.
//!
//! A record's key begins with its type, an `i16`, and has no other version than 0; a value begins with its version,
//! and is absent where the record removes what the key names. Bytes after either are an error here. Records of share
//! and streams groups have other types: a reader skips a record whose type it does not know.

use crate::primitives::{DecodeError, Reader, Result};
use crate::{Message, Writer};
use std::ops::RangeInclusive;

mod classic;
mod consumer;
mod offset;

pub use classic::*;
pub use consumer::*;
pub use offset::*;

macro_rules! group_records {
    ($($kind:literal $name:ident $module:ident $key:ident, $value:ident $(<$lt:lifetime>)?;)*) => {
        /// A record of a group: what it is of, and what it is, or `None` if it is no more.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is a record by its name")]
        pub enum GroupRecord<'a> { $($name($module::$key<'a>, Option<$module::$value $(<$lt>)?>),)* }

        impl<'a> GroupRecord<'a> {
            /// Every type number with the versions of its value.
            pub const TYPES: &'static [(i16, RangeInclusive<i16>)] = &[$(($kind, $module::$value::VERSIONS),)*];

            /// The type's number.
            pub const fn kind(&self) -> i16 {
                match self { $(Self::$name(..) => $kind,)* }
            }

            /// Kafka's name of the type, as in `OffsetCommit`.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(..) => stringify!($name),)* }
            }

            fn decode_bodies(kind: i16, key: &mut Reader<'a>, value: Option<(&mut Reader<'a>, i16)>) -> Result<Self> {
                match kind {
                    $($kind => {
                        let key = Message::decode(key, KEY_VERSION)?;
                        let value = value.map(|(r, version)| Message::decode(r, version)).transpose()?;
                        Ok(Self::$name(key, value))
                    })*
                    _ => Err(DecodeError::UnknownGroupRecordType(kind)),
                }
            }

            fn encode_key_body(&self, w: &mut Writer) {
                match self { $(Self::$name(key, _) => key.encode(w, KEY_VERSION),)* }
            }

            /// Appends the record's value with its version in front; nothing if the record removes. Whether it has one.
            ///
            /// # Panics
            /// If the type's value does not have this version.
            pub fn encode_value(&self, w: &mut Writer, version: i16) -> bool {
                match self {
                    $(Self::$name(_, Some(value)) => {
                        w.put(&version.to_be_bytes());
                        value.encode(w, version);
                        true
                    })*
                    $(Self::$name(_, None) => false,)*
                }
            }
        }

        #[cfg(test)]
        impl GroupRecord<'static> {
            pub(crate) fn arbitrary(kind: i16, version: i16, g: &mut crate::arbitrary::Entropy) -> Self {
                match kind {
                    $($kind => Self::$name(
                        crate::arbitrary::message(KEY_VERSION, g),
                        (g.below(4) > 0).then(|| crate::arbitrary::message(version, g)),
                    ),)*
                    _ => panic!("no group record has type {kind}"),
                }
            }
        }
    };
}

const KEY_VERSION: i16 = 0;

group_records! {
    0 LegacyOffsetCommit offset LegacyOffsetCommitKey, LegacyOffsetCommitValue<'a>;
    1 OffsetCommit offset OffsetCommitKey, OffsetCommitValue<'a>;
    2 GroupMetadata classic GroupMetadataKey, GroupMetadataValue<'a>;
    3 ConsumerGroupMetadata consumer ConsumerGroupMetadataKey, ConsumerGroupMetadataValue;
    4 ConsumerGroupPartitionMetadata consumer
        ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue<'a>;
    5 ConsumerGroupMemberMetadata consumer ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue<'a>;
    6 ConsumerGroupTargetAssignmentMetadata consumer
        ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue;
    7 ConsumerGroupTargetAssignmentMember consumer
        ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue;
    8 ConsumerGroupCurrentMemberAssignment consumer
        ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue;
    16 ConsumerGroupRegularExpression consumer
        ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue<'a>;
}

impl<'a> GroupRecord<'a> {
    /// Reads a record's key and value.
    ///
    /// # Errors
    /// [`DecodeError::UnknownGroupRecordType`], if the value's version is unknown, or what is wrong with the bytes.
    pub fn decode(key: &'a [u8], value: Option<&'a [u8]>) -> Result<Self> {
        let mut key = Reader::of_record(key);
        let kind = i16::from_be_bytes(key.array()?);
        let mut value = value.map(Reader::of_record);
        let versioned = match &mut value {
            None => None,
            Some(r) => {
                let version = i16::from_be_bytes(r.array()?);
                Some((r, version))
            }
        };
        let record = Self::decode_bodies(kind, &mut key, versioned)?;
        key.finish()?;
        value.map_or(Ok(()), |r| r.finish())?;
        Ok(record)
    }

    /// Appends the record's key with its type in front.
    pub fn encode_key(&self, w: &mut Writer) {
        w.put(&self.kind().to_be_bytes());
        self.encode_key_body(w);
    }
}
