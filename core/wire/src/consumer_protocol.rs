//! What consumers of a classic group tell each other through the coordinator: JoinGroup's metadata and SyncGroup's
//! assignments of the protocol type `consumer`.
//!
//! Each begins with its version, an `i16`. A newer version is read as the newest that is known, and what follows is
//! left alone: members of one group may be of different ages.

use crate::message::{NEVER, message};
use crate::primitives::{DecodeError, Reader, Result};
use crate::{Message, Writer};

message! {
    ConsumerProtocolSubscription<'a>: 0..=3, flexible NEVER;

    /// What a consumer wants to read, and what it owns.
    struct ConsumerProtocolSubscription<'a> {
        topics: Vec<&'a str>,
        user_data: Option<&'a [u8]>,
        /// What it owns in a cooperative rebalance (KIP-429).
        owned_partitions: Vec<OwnedPartitions<'a>> [1..],
        /// The generation in which it owned them (KIP-792), or -1.
        generation_id: i32 [2..] = -1,
        rack_id: Option<&'a str> [3..],
    }

    /// Partitions of one topic.
    struct OwnedPartitions<'a> {
        topic: &'a str [1..],
        partitions: Vec<i32> [1..],
    }
}

message! {
    ConsumerProtocolAssignment<'a>: 0..=3, flexible NEVER;

    /// What a consumer is to read.
    struct ConsumerProtocolAssignment<'a> {
        assigned_partitions: Vec<AssignedPartitions<'a>>,
        user_data: Option<&'a [u8]>,
    }

    /// Partitions of one topic.
    struct AssignedPartitions<'a> {
        topic: &'a str,
        partitions: Vec<i32>,
    }
}

message! {
    StickyUserData<'a>: 0..=1, flexible NEVER;

    /// What a member of a group that uses the eager `sticky` assignor adds to its subscription: as that rebalance
    /// gives everything up first, the owned partitions do not say it. Without a version of its own.
    struct StickyUserData<'a> {
        previous_assignment: Vec<AssignedPartitions<'a>>,
        generation: i32 [1..] = -1,
    }
}

message! {
    CooperativeUserData: 0..=0, flexible NEVER;

    /// The generation of the owned partitions, for members that do not know of KIP-792.
    struct CooperativeUserData {
        generation: i32 = -1,
    }
}

impl<'a> StickyUserData<'a> {
    /// Reads the data of either version: the older one ends before the generation.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode_any(bytes: &'a [u8]) -> Result<Self> {
        Self::decode(&mut Reader::new(bytes), 1).or_else(|_| Self::decode(&mut Reader::new(bytes), 0))
    }
}

impl<'a> ConsumerProtocolSubscription<'a> {
    /// Reads a subscription with its version.
    ///
    /// # Errors
    /// If its version is negative, or what is wrong with the bytes.
    pub fn decode_versioned(bytes: &'a [u8]) -> Result<Self> {
        decode_versioned(bytes)
    }

    /// Appends the subscription with its version.
    ///
    /// # Panics
    /// If there is no such version.
    pub fn encode_versioned(&self, w: &mut Writer, version: i16) {
        encode_versioned(self, w, version);
    }
}

impl<'a> ConsumerProtocolAssignment<'a> {
    /// Reads an assignment with its version.
    ///
    /// # Errors
    /// If its version is negative, or what is wrong with the bytes.
    pub fn decode_versioned(bytes: &'a [u8]) -> Result<Self> {
        decode_versioned(bytes)
    }

    /// Appends the assignment with its version.
    ///
    /// # Panics
    /// If there is no such version.
    pub fn encode_versioned(&self, w: &mut Writer, version: i16) {
        encode_versioned(self, w, version);
    }
}

fn decode_versioned<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<M> {
    let mut r = Reader::new(bytes);
    let version = i16::from_be_bytes(r.array()?);
    if version < 0 {
        return Err(DecodeError::UnsupportedVersion(version));
    }
    M::decode(&mut r, version.min(*M::VERSIONS.end()))
}

fn encode_versioned<'a>(message: &impl Message<'a>, w: &mut Writer, version: i16) {
    w.put(&version.to_be_bytes());
    message.encode(w, version);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::{self, Entropy};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(entropy in prop::collection::vec(any::<u8>(), 0..1024)) {
            for version in ConsumerProtocolSubscription::VERSIONS {
                let mut w = Writer::new();
                let subscription: ConsumerProtocolSubscription<'_> =
                    arbitrary::message(version, &mut Entropy::new(&entropy));
                subscription.encode_versioned(&mut w, version);
                prop_assert_eq!(ConsumerProtocolSubscription::decode_versioned(w.as_bytes()), Ok(subscription));
                w.clear();
                let assignment: ConsumerProtocolAssignment<'_> =
                    arbitrary::message(version, &mut Entropy::new(&entropy));
                assignment.encode_versioned(&mut w, version);
                prop_assert_eq!(ConsumerProtocolAssignment::decode_versioned(w.as_bytes()), Ok(assignment));
            }
        }
    }

    #[test]
    fn newer_members_are_understood_as_far_as_they_are_known() {
        let mut w = Writer::new();
        let subscription = ConsumerProtocolSubscription { topics: vec!["t"], generation_id: 7, ..Default::default() };
        subscription.encode_versioned(&mut w, 3);
        w.put(b"of a later version");
        let mut bytes = w.into_bytes();
        bytes[1] = 9;
        assert_eq!(ConsumerProtocolSubscription::decode_versioned(&bytes), Ok(subscription));
        assert_eq!(ConsumerProtocolAssignment::decode_versioned(&[255, 255]), Err(DecodeError::UnsupportedVersion(-1)));
        assert!(ConsumerProtocolAssignment::decode_versioned(&[0]).is_err());
    }
}
