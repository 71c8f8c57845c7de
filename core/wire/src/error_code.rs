//! Kafka's error codes, as of Apache Kafka 4.3.1.

use crate::primitives::{Reader, Result, Version, Wire};
use crate::writer::Writer;
use std::fmt;

/// An error code of the protocol. Any number is one: a peer may be newer than this list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($($code:literal $name:ident $retriable:literal $text:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $text] pub const $name: Self = Self($code);)*

            /// Every known code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Kafka's name, as in `NOT_LEADER_OR_FOLLOWER`; `None` for a code that this list lacks.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)* _ => None }
            }

            /// What it means, in a sentence.
            pub const fn message(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "An error that this version does not know." }
            }

            /// Whether a client may repeat the request and hope.
            pub const fn is_retriable(self) -> bool {
                match self.0 { $($code => $retriable,)* _ => false }
            }
        }
    };
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR false "An error that the broker did not foresee; its log has more.";
    0 NONE false "No error.";
    1 OFFSET_OUT_OF_RANGE false "The offset is outside the range of offsets that the log has.";
    2 CORRUPT_MESSAGE true "The records failed a check: their checksum, their size, or a missing key on a compacted topic.";
    3 UNKNOWN_TOPIC_OR_PARTITION true "This broker does not know the topic or the partition.";
    4 INVALID_FETCH_SIZE false "The size to fetch is invalid.";
    5 LEADER_NOT_AVAILABLE true "The partition has no leader at present.";
    6 NOT_LEADER_OR_FOLLOWER true "This broker is not the partition's leader, or has no replica of it.";
    7 REQUEST_TIMED_OUT true "The request took longer than it may.";
    8 BROKER_NOT_AVAILABLE false "The broker is not available.";
    9 REPLICA_NOT_AVAILABLE true "The replica is not available.";
    10 MESSAGE_TOO_LARGE false "A record batch is larger than the topic allows.";
    11 STALE_CONTROLLER_EPOCH false "The request comes from a controller that has been replaced.";
    12 OFFSET_METADATA_TOO_LARGE false "The metadata of a committed offset is too long.";
    13 NETWORK_EXCEPTION true "The connection broke before the response came.";
    14 COORDINATOR_LOAD_IN_PROGRESS true "The coordinator is still loading.";
    15 COORDINATOR_NOT_AVAILABLE true "There is no coordinator at present.";
    16 NOT_COORDINATOR true "Another broker is the coordinator.";
    17 INVALID_TOPIC_EXCEPTION false "The topic's name is invalid, or the operation is not allowed on this topic.";
    18 RECORD_LIST_TOO_LARGE false "A record batch is larger than a segment of the log.";
    19 NOT_ENOUGH_REPLICAS true "Fewer replicas are in sync than the topic requires.";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND true "The records were written, but fewer replicas are in sync than the topic requires.";
    21 INVALID_REQUIRED_ACKS false "The required acks are none of 0, 1 and -1.";
    22 ILLEGAL_GENERATION false "The generation is not the group's present one.";
    23 INCONSISTENT_GROUP_PROTOCOL false "The member's protocols are not among those of the group.";
    24 INVALID_GROUP_ID false "The group id is invalid.";
    25 UNKNOWN_MEMBER_ID false "The group has no such member.";
    26 INVALID_SESSION_TIMEOUT false "The session timeout is outside the range that the broker allows.";
    27 REBALANCE_IN_PROGRESS false "The group is rebalancing; join again.";
    28 INVALID_COMMIT_OFFSET_SIZE false "The committed offset and its metadata are too large.";
    29 TOPIC_AUTHORIZATION_FAILED false "No permission for the topic.";
    30 GROUP_AUTHORIZATION_FAILED false "No permission for the group.";
    31 CLUSTER_AUTHORIZATION_FAILED false "No permission for the cluster.";
    32 INVALID_TIMESTAMP false "The record's timestamp is too far from the broker's time.";
    33 UNSUPPORTED_SASL_MECHANISM false "The broker does not have this SASL mechanism.";
    34 ILLEGAL_SASL_STATE false "The request does not fit the state of the SASL exchange.";
    35 UNSUPPORTED_VERSION false "The broker does not have this version of the API.";
    36 TOPIC_ALREADY_EXISTS false "A topic with this name exists.";
    37 INVALID_PARTITIONS false "The number of partitions is invalid.";
    38 INVALID_REPLICATION_FACTOR false "The replication factor is below 1 or above the number of brokers.";
    39 INVALID_REPLICA_ASSIGNMENT false "The assignment of replicas is invalid.";
    40 INVALID_CONFIG false "A configuration is invalid.";
    41 NOT_CONTROLLER true "Another node is the controller.";
    42 INVALID_REQUEST false "The request contradicts itself or cannot be understood.";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT false "The log's record format lacks what the request needs.";
    44 POLICY_VIOLATION false "The request violates a policy of the cluster.";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER false "The batch does not continue the producer's sequence.";
    46 DUPLICATE_SEQUENCE_NUMBER false "The batch was written before.";
    47 INVALID_PRODUCER_EPOCH false "The producer's epoch is not the present one.";
    48 INVALID_TXN_STATE false "The transaction's state does not allow the operation.";
    49 INVALID_PRODUCER_ID_MAPPING false "The producer id does not belong to the transactional id.";
    50 INVALID_TRANSACTION_TIMEOUT false "The transaction timeout is longer than the broker allows.";
    51 CONCURRENT_TRANSACTIONS true "Another operation on the same transaction is under way.";
    52 TRANSACTION_COORDINATOR_FENCED false "The transaction coordinator has been replaced by another.";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED false "No permission for the transactional id.";
    54 SECURITY_DISABLED false "The cluster has no security features enabled.";
    55 OPERATION_NOT_ATTEMPTED false "The operation was not tried, since another in the same request failed.";
    56 KAFKA_STORAGE_ERROR true "The disk that holds the log failed.";
    57 LOG_DIR_NOT_FOUND false "The broker has no such log directory.";
    58 SASL_AUTHENTICATION_FAILED false "SASL authentication failed.";
    59 UNKNOWN_PRODUCER_ID false "The broker has no record of this producer id; its records may have expired.";
    60 REASSIGNMENT_IN_PROGRESS false "The partition is being reassigned.";
    61 DELEGATION_TOKEN_AUTH_DISABLED false "Delegation tokens are not enabled.";
    62 DELEGATION_TOKEN_NOT_FOUND false "There is no such delegation token.";
    63 DELEGATION_TOKEN_OWNER_MISMATCH false "The principal neither owns the delegation token nor may renew it.";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED false "Delegation tokens cannot be had over this connection.";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED false "No permission for the delegation token.";
    66 DELEGATION_TOKEN_EXPIRED false "The delegation token has expired.";
    67 INVALID_PRINCIPAL_TYPE false "The type of the principal is not supported.";
    68 NON_EMPTY_GROUP false "The group has members.";
    69 GROUP_ID_NOT_FOUND false "There is no such group.";
    70 FETCH_SESSION_ID_NOT_FOUND true "There is no such fetch session.";
    71 INVALID_FETCH_SESSION_EPOCH true "The epoch of the fetch session is not the expected one.";
    72 LISTENER_NOT_FOUND true "The leader has no listener of the name that the request came in by.";
    73 TOPIC_DELETION_DISABLED false "Deletion of topics is switched off.";
    74 FENCED_LEADER_EPOCH true "The leader epoch is older than the broker's.";
    75 UNKNOWN_LEADER_EPOCH true "The leader epoch is newer than the broker's.";
    76 UNSUPPORTED_COMPRESSION_TYPE false "The client cannot read the compression of the partition's records.";
    77 STALE_BROKER_EPOCH false "The broker's epoch is not the one that it was registered with.";
    78 OFFSET_NOT_AVAILABLE true "A new leader does not know its high watermark yet.";
    79 MEMBER_ID_REQUIRED false "The member must join again with the id that it was given.";
    80 PREFERRED_LEADER_NOT_AVAILABLE true "The preferred leader is not available.";
    81 GROUP_MAX_SIZE_REACHED false "The group is full.";
    82 FENCED_INSTANCE_ID false "Another consumer has taken this group.instance.id.";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE true "No replica is eligible to lead.";
    84 ELECTION_NOT_NEEDED true "The partition has the leader that was asked for.";
    85 NO_REASSIGNMENT_IN_PROGRESS false "The partition is not being reassigned.";
    86 GROUP_SUBSCRIBED_TO_TOPIC false "The group is subscribed to the topic.";
    87 INVALID_RECORD false "A record in the batch is invalid.";
    88 UNSTABLE_OFFSET_COMMIT true "Some offsets wait for the end of a transaction.";
    89 THROTTLING_QUOTA_EXCEEDED true "The quota is used up for now.";
    90 PRODUCER_FENCED false "A newer producer has the same transactional id.";
    91 RESOURCE_NOT_FOUND false "There is no such resource.";
    92 DUPLICATE_RESOURCE false "The request names the same resource twice.";
    93 UNACCEPTABLE_CREDENTIAL false "The credential does not meet the requirements.";
    94 INCONSISTENT_VOTER_SET false "A node is not among the voters that the other knows.";
    95 INVALID_UPDATE_VERSION false "The feature's new version is invalid.";
    96 FEATURE_UPDATE_FAILED false "The features could not be updated.";
    97 PRINCIPAL_DESERIALIZATION_FAILURE false "The principal in a forwarded request could not be read.";
    98 SNAPSHOT_NOT_FOUND false "There is no such snapshot.";
    99 POSITION_OUT_OF_RANGE false "The position is outside the snapshot.";
    100 UNKNOWN_TOPIC_ID true "This broker does not know the topic id.";
    101 DUPLICATE_BROKER_REGISTRATION false "Another broker is registered with this id.";
    102 BROKER_ID_NOT_REGISTERED false "No broker is registered with this id.";
    103 INCONSISTENT_TOPIC_ID true "The topic id in the request is not that of the log.";
    104 INCONSISTENT_CLUSTER_ID false "The cluster id in the request is not that of this cluster.";
    105 TRANSACTIONAL_ID_NOT_FOUND false "There is no such transactional id.";
    106 FETCH_SESSION_TOPIC_ID_ERROR true "The fetch session mixes topic names and topic ids.";
    107 INELIGIBLE_REPLICA false "A replica of the new in-sync set must not be in it.";
    108 NEW_LEADER_ELECTED false "The change was made, and the partition has a new leader.";
    109 OFFSET_MOVED_TO_TIERED_STORAGE false "The offset is in tiered storage only.";
    110 FENCED_MEMBER_EPOCH false "The coordinator has fenced this member epoch; give up all partitions and join again.";
    111 UNRELEASED_INSTANCE_ID false "The group.instance.id is in use by another member.";
    112 UNSUPPORTED_ASSIGNOR false "The coordinator does not have this assignor.";
    113 STALE_MEMBER_EPOCH false "The member epoch is old; take the new one from a heartbeat.";
    114 MISMATCHED_ENDPOINT_TYPE false "The endpoint is of another type than the request needs.";
    115 UNSUPPORTED_ENDPOINT_TYPE false "The type of the endpoint is not supported.";
    116 UNKNOWN_CONTROLLER_ID false "There is no such controller.";
    117 UNKNOWN_SUBSCRIPTION_ID false "The telemetry subscription is unknown or out of date.";
    118 TELEMETRY_TOO_LARGE false "The telemetry is larger than the broker takes.";
    119 INVALID_REGISTRATION false "The controller refuses the registration.";
    120 TRANSACTION_ABORTABLE false "The transaction must be aborted; the producer may go on after that.";
    121 INVALID_RECORD_STATE false "The state of the records does not allow the acknowledgement.";
    122 SHARE_SESSION_NOT_FOUND true "There is no such share session.";
    123 INVALID_SHARE_SESSION_EPOCH true "The epoch of the share session is not the expected one.";
    124 FENCED_STATE_EPOCH false "The state epoch of the share group is not the expected one.";
    125 INVALID_VOTER_KEY false "The voter's key is not that of the node that got the request.";
    126 DUPLICATE_VOTER false "The node is a voter.";
    127 VOTER_NOT_FOUND false "The node is not a voter.";
    128 INVALID_REGULAR_EXPRESSION false "The regular expression is invalid.";
    129 REBOOTSTRAP_REQUIRED false "The client's metadata is too old; it should bootstrap again.";
    130 STREAMS_INVALID_TOPOLOGY false "The topology is invalid.";
    131 STREAMS_INVALID_TOPOLOGY_EPOCH false "The topology's epoch is invalid.";
    132 STREAMS_TOPOLOGY_FENCED false "The topology's epoch is out of date.";
    133 SHARE_SESSION_LIMIT_REACHED true "The broker has as many share sessions as it may have.";
}

impl ErrorCode {
    /// Whether this is no error.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this is an error.
    pub const fn is_error(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl Wire<'_> for ErrorCode {
    const LEAST: usize = 2;

    #[inline]
    fn read(r: &mut Reader<'_>, v: Version) -> Result<Self> {
        i16::read(r, v).map(Self)
    }

    #[inline]
    fn write(&self, w: &mut Writer, v: Version) {
        self.0.write(w, v);
    }
}
