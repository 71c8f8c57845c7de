//! FetchSnapshot (key 59): a replica of the metadata log reads a snapshot of its leader's (KIP-630, KIP-853).

use crate::message::message;
use crate::{ErrorCode, Records, Uuid};

message! {
    FetchSnapshotRequest<'a>: 0..=1, flexible 0..;

    /// A follower reads on in a snapshot.
    struct FetchSnapshotRequest<'a> {
        replica_id: i32 = -1,
        max_bytes: i32 = 0x7fff_ffff,
        topics: Vec<TopicSnapshot<'a>>,
    } tagged {
        0 cluster_id: Option<&'a str> [0..],
    }

    /// The partitions of one topic.
    struct TopicSnapshot<'a> {
        name: &'a str,
        partitions: Vec<PartitionSnapshot>,
    }

    /// Which snapshot, and from where on.
    struct PartitionSnapshot {
        partition: i32,
        /// The epoch that the follower is in.
        current_leader_epoch: i32,
        snapshot_id: SnapshotId,
        /// In bytes.
        position: i64,
    } tagged {
        0 replica_directory_id: Uuid [1..],
    }

    /// The end of the log that a snapshot stands for.
    struct SnapshotId {
        end_offset: i64,
        epoch: i32,
    }
}

message! {
    FetchSnapshotResponse<'a>: 0..=1, flexible 0..;

    /// A piece of a snapshot.
    struct FetchSnapshotResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        topics: Vec<TopicSnapshotResponse<'a>>,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct TopicSnapshotResponse<'a> {
        name: &'a str,
        partitions: Vec<PartitionSnapshotResponse<'a>>,
    }

    /// The piece, and what the leader knows.
    struct PartitionSnapshotResponse<'a> {
        index: i32,
        error_code: ErrorCode,
        snapshot_id: SnapshotIdResponse,
        /// Bytes of the whole snapshot.
        size: i64,
        /// Where the piece begins.
        position: i64,
        /// It may begin and end within a batch.
        unaligned_records: Records<'a>,
    } tagged {
        0 current_leader: LeaderIdAndEpoch [0..],
    }

    /// The end of the log that a snapshot stands for.
    struct SnapshotIdResponse {
        end_offset: i64,
        epoch: i32,
    }

    /// Who leads.
    struct LeaderIdAndEpoch {
        /// -1 if it knows no leader.
        leader_id: i32,
        leader_epoch: i32,
    }

    /// The address of the leader that is named.
    struct NodeEndpoint<'a> {
        node_id: i32 [1..],
        host: &'a str [1..],
        port: u16 [1..],
    }
}
