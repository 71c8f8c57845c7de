//! Fetch (key 1): reads records, as a consumer, a follower or an observer of the metadata log.
//!
//! Topics have names up to version 12 and ids from 13 on (KIP-516). From version 7 on there are fetch sessions
//! (KIP-227), from 9 on the leader epoch is fenced (KIP-320), from 12 on logs that diverged are found by the last
//! fetched epoch (KIP-595), and from 15 on a replica names its broker epoch (KIP-903). [`FetchRequest::walk`] reads a
//! request
//! without allocating.

use super::walk::{self, TopicRef};
use crate::message::message;
use crate::primitives::{Reader, Result, Wire};
use crate::{ErrorCode, Records, Uuid};

message! {
    FetchRequest<'a>: 4..=18, flexible 12..;

    /// Where to read from, and how much.
    struct FetchRequest<'a> {
        /// -1 for a consumer. From version 15 on in `replica_state`.
        replica_id: i32 [..=14] = -1,
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32,
        min_bytes: i32,
        /// A bound of the response; the first batch comes whole, however long it is (KIP-74).
        max_bytes: i32 = 0x7fffffff,
        /// 0: read uncommitted; 1: read committed.
        isolation_level: i8,
        /// 0 asks for a new session.
        session_id: i32 [7..],
        /// 0: a full fetch that makes a session; -1: a full fetch that ends it; else an increment.
        session_epoch: i32 [7..] = -1,
        topics: Vec<FetchTopic<'a>>,
        /// Partitions to drop from the session.
        forgotten_topics_data: Vec<ForgottenTopic<'a>> [7..],
        /// For fetching from the closest replica (KIP-392).
        rack_id: &'a str [11..],
    } tagged {
        /// For the metadata log.
        0 cluster_id: Option<&'a str> [12..],
        1 replica_state: ReplicaState [15..],
    }

    /// The replica that fetches (KIP-903).
    struct ReplicaState {
        replica_id: i32 [15..] = -1,
        /// Its broker epoch, or -1.
        replica_epoch: i64 [15..] = -1,
    }

    /// The partitions of one topic to read.
    struct FetchTopic<'a> {
        topic: &'a str [..=12],
        topic_id: Uuid [13..],
        partitions: Vec<FetchPartition>,
    }

    /// Where to read in one partition.
    struct FetchPartition {
        partition: i32,
        /// The leader epoch that the reader knows, or -1.
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64,
        /// The epoch of the record before `fetch_offset`, or -1.
        last_fetched_epoch: i32 [12..] = -1,
        /// That of the fetching replica; -1 for a consumer.
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32,
    } tagged {
        /// For the metadata log (KIP-853).
        0 replica_directory_id: Uuid [17..],
        /// What the follower knows of it, so that a new one is told at once (KIP-1166).
        1 high_watermark: i64 [18..] = i64::MAX,
        /// Ours, between brokers: up to where the follower's log counts (durable, or under `flush=async` written).
        10000 counted_offset: i64 [12..] = -1,
    }

    /// Partitions of one topic to drop from the session.
    struct ForgottenTopic<'a> {
        topic: &'a str [7..=12],
        topic_id: Uuid [13..],
        partitions: Vec<i32> [7..],
    }
}

message! {
    FetchResponse<'a>: 4..=18, flexible 12..;

    /// What was read.
    struct FetchResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [7..],
        session_id: i32 [7..],
        responses: Vec<FetchableTopicResponse<'a>>,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [16..],
    }

    /// What was read of one topic.
    struct FetchableTopicResponse<'a> {
        topic: &'a str [..=12],
        topic_id: Uuid [13..],
        partitions: Vec<PartitionData<'a>>,
    }

    /// What was read of one partition.
    struct PartitionData<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        high_watermark: i64,
        last_stable_offset: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        /// For read committed: the aborted transactions that touch the records.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
        /// The replica to ask instead, or -1 (KIP-392).
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Records<'a>> = Some(Records::EMPTY),
    } tagged {
        /// Where the reader's log differs: the largest epoch not above its own, and that epoch's end.
        0 diverging_epoch: EpochEndOffset [12..],
        /// Sent when the reader asked the wrong broker.
        1 current_leader: LeaderIdAndEpoch [12..],
        /// Sent instead of records that only a snapshot has (KIP-630).
        2 snapshot_id: SnapshotId [12..],
    }

    /// A leader epoch and the offset at which it ends.
    struct EpochEndOffset {
        epoch: i32 [12..] = -1,
        end_offset: i64 [12..] = -1,
    }

    /// The leader of a partition, sent with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1,
        leader_epoch: i32 [12..] = -1,
    }

    /// The end of the log that a snapshot stands for.
    struct SnapshotId {
        end_offset: i64 = -1,
        epoch: i32 = -1,
    }

    /// A producer's aborted records, from an offset to its abort marker.
    struct AbortedTransaction {
        producer_id: i64,
        first_offset: i64,
    }

    /// The address of a leader that is named in the response (KIP-951).
    struct NodeEndpoint<'a> {
        node_id: i32 [16..],
        host: &'a str [16..],
        port: i32 [16..],
        rack: Option<&'a str> [16..],
    }
}

impl<'a> FetchRequest<'a> {
    /// Reads a request without allocating: `fetched` gets each partition to read, `forgotten` each to drop from the
    /// session, and the result has no `topics` and no `forgotten_topics_data`.
    ///
    /// # Errors
    /// As decoding, but for what that would allocate. The closures may have been called before.
    pub fn walk(
        r: &mut Reader<'a>,
        version: i16,
        mut fetched: impl FnMut(TopicRef<'a>, FetchPartition),
        mut forgotten: impl FnMut(TopicRef<'a>, i32),
    ) -> Result<Self> {
        let v = walk::version::<Self>(version)?;
        let mut head = Self::default();
        if version <= 14 {
            head.replica_id = Wire::read(r, v)?;
        }
        head.max_wait_ms = Wire::read(r, v)?;
        head.min_bytes = Wire::read(r, v)?;
        head.max_bytes = Wire::read(r, v)?;
        head.isolation_level = Wire::read(r, v)?;
        if version >= 7 {
            head.session_id = Wire::read(r, v)?;
            head.session_epoch = Wire::read(r, v)?;
        }
        walk::partitions(r, v, &mut fetched)?;
        if version >= 7 {
            walk::partitions(r, v, &mut forgotten)?;
        }
        if version >= 11 {
            head.rack_id = Wire::read(r, v)?;
        }
        r.tags(v, &mut |tag, r| {
            match tag {
                0 => head.cluster_id = Wire::read(r, v)?,
                1 if version >= 15 => head.replica_state = Wire::read(r, v)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(head)
    }
}
