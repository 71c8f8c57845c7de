//! The requests and responses, one module an API, and [`Request`] and [`Response`] over all of them.
//!
//! Not here: the APIs that this crate does not implement. [`Request::decode`] refuses them.

use crate::frame::RequestHeader;
use crate::primitives::{DecodeError, Reader, Result};
use crate::{ApiKey, Message, Writer};

pub mod add_raft_voter;
pub mod allocate_producer_ids;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod assign_replicas_to_dirs;
pub mod begin_quorum_epoch;
pub mod broker_heartbeat;
pub mod broker_registration;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod end_quorum_epoch;
pub mod fetch;
pub mod fetch_snapshot;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod remove_raft_voter;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;
pub mod update_raft_voter;
pub mod vote;
mod walk;

pub use walk::TopicRef;

macro_rules! apis {
    ($($api:ident $module:ident $request:ident $(<$rlt:lifetime>)?, $response:ident $(<$plt:lifetime>)?;)*) => {
        /// The body of a request.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is an API by its name")]
        pub enum Request<'a> { $($api($module::$request $(<$rlt>)?),)* }

        /// The body of a response.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is an API by its name")]
        pub enum Response<'a> { $($api($module::$response $(<$plt>)?),)* }

        impl ApiKey {
            /// The versions that this crate reads and writes; `None` if it does not have the API.
            pub fn implemented_versions(self) -> Option<std::ops::RangeInclusive<i16>> {
                #[allow(clippy::wildcard_enum_match_arm, reason = "the list above is the list")]
                match self {
                    $(Self::$api => Some($module::$request::VERSIONS),)*
                    _ => None,
                }
            }
        }

        impl<'a> Request<'a> {
            /// What it asks for.
            pub const fn api_key(&self) -> ApiKey {
                match self { $(Self::$api(_) => ApiKey::$api,)* }
            }

            /// Reads the body of a request of this key and version.
            ///
            /// # Errors
            /// [`DecodeError::UnknownApiKey`] if this crate does not have the API, or what is wrong with the bytes.
            pub fn decode(r: &mut Reader<'a>, key: ApiKey, version: i16) -> Result<Self> {
                #[allow(clippy::wildcard_enum_match_arm, reason = "the list above is the list")]
                match key {
                    $(ApiKey::$api => Message::decode(r, version).map(Self::$api),)*
                    _ => Err(DecodeError::UnknownApiKey(key.code())),
                }
            }

            /// Appends the body.
            ///
            /// # Panics
            /// If the API does not have this version.
            pub fn encode(&self, w: &mut Writer, version: i16) {
                match self { $(Self::$api(body) => body.encode(w, version),)* }
            }
        }

        impl<'a> Response<'a> {
            /// What it answers.
            pub const fn api_key(&self) -> ApiKey {
                match self { $(Self::$api(_) => ApiKey::$api,)* }
            }

            /// Reads the body of a response to a request of this key and version.
            ///
            /// # Errors
            /// [`DecodeError::UnknownApiKey`] if this crate does not have the API, or what is wrong with the bytes.
            pub fn decode(r: &mut Reader<'a>, key: ApiKey, version: i16) -> Result<Self> {
                #[allow(clippy::wildcard_enum_match_arm, reason = "the list above is the list")]
                match key {
                    $(ApiKey::$api => Message::decode(r, version).map(Self::$api),)*
                    _ => Err(DecodeError::UnknownApiKey(key.code())),
                }
            }

            /// Appends the body.
            ///
            /// # Panics
            /// If the API does not have this version.
            pub fn encode(&self, w: &mut Writer, version: i16) {
                match self { $(Self::$api(body) => body.encode(w, version),)* }
            }
        }

        #[cfg(test)]
        impl Request<'static> {
            pub(crate) fn arbitrary(key: ApiKey, version: i16, g: &mut crate::arbitrary::Entropy) -> Self {
                match key {
                    $(ApiKey::$api => Self::$api(crate::arbitrary::message(version, g)),)*
                    other => panic!("{other} is not implemented"),
                }
            }
        }

        #[cfg(test)]
        impl Response<'static> {
            pub(crate) fn arbitrary(key: ApiKey, version: i16, g: &mut crate::arbitrary::Entropy) -> Self {
                match key {
                    $(ApiKey::$api => Self::$api(crate::arbitrary::message(version, g)),)*
                    other => panic!("{other} is not implemented"),
                }
            }
        }

        $(
            impl<'a> From<$module::$request $(<$rlt>)?> for Request<'a> {
                fn from(body: $module::$request $(<$rlt>)?) -> Self { Self::$api(body) }
            }

            impl<'a> From<$module::$response $(<$plt>)?> for Response<'a> {
                fn from(body: $module::$response $(<$plt>)?) -> Self { Self::$api(body) }
            }
        )*
    };
}

apis! {
    Produce produce ProduceRequest<'a>, ProduceResponse<'a>;
    Fetch fetch FetchRequest<'a>, FetchResponse<'a>;
    ListOffsets list_offsets ListOffsetsRequest<'a>, ListOffsetsResponse<'a>;
    Metadata metadata MetadataRequest<'a>, MetadataResponse<'a>;
    OffsetCommit offset_commit OffsetCommitRequest<'a>, OffsetCommitResponse<'a>;
    OffsetFetch offset_fetch OffsetFetchRequest<'a>, OffsetFetchResponse<'a>;
    FindCoordinator find_coordinator FindCoordinatorRequest<'a>, FindCoordinatorResponse<'a>;
    JoinGroup join_group JoinGroupRequest<'a>, JoinGroupResponse<'a>;
    Heartbeat heartbeat HeartbeatRequest<'a>, HeartbeatResponse;
    LeaveGroup leave_group LeaveGroupRequest<'a>, LeaveGroupResponse<'a>;
    SyncGroup sync_group SyncGroupRequest<'a>, SyncGroupResponse<'a>;
    DescribeGroups describe_groups DescribeGroupsRequest<'a>, DescribeGroupsResponse<'a>;
    ListGroups list_groups ListGroupsRequest<'a>, ListGroupsResponse<'a>;
    ApiVersions api_versions ApiVersionsRequest<'a>, ApiVersionsResponse<'a>;
    CreateTopics create_topics CreateTopicsRequest<'a>, CreateTopicsResponse<'a>;
    DeleteTopics delete_topics DeleteTopicsRequest<'a>, DeleteTopicsResponse<'a>;
    DeleteRecords delete_records DeleteRecordsRequest<'a>, DeleteRecordsResponse<'a>;
    InitProducerId init_producer_id InitProducerIdRequest<'a>, InitProducerIdResponse;
    OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochRequest<'a>, OffsetForLeaderEpochResponse<'a>;
    DescribeConfigs describe_configs DescribeConfigsRequest<'a>, DescribeConfigsResponse<'a>;
    AlterConfigs alter_configs AlterConfigsRequest<'a>, AlterConfigsResponse<'a>;
    DescribeLogDirs describe_log_dirs DescribeLogDirsRequest<'a>, DescribeLogDirsResponse<'a>;
    CreatePartitions create_partitions CreatePartitionsRequest<'a>, CreatePartitionsResponse<'a>;
    DeleteGroups delete_groups DeleteGroupsRequest<'a>, DeleteGroupsResponse<'a>;
    IncrementalAlterConfigs incremental_alter_configs IncrementalAlterConfigsRequest<'a>, IncrementalAlterConfigsResponse<'a>;
    OffsetDelete offset_delete OffsetDeleteRequest<'a>, OffsetDeleteResponse<'a>;
    Vote vote VoteRequest<'a>, VoteResponse<'a>;
    BeginQuorumEpoch begin_quorum_epoch BeginQuorumEpochRequest<'a>, BeginQuorumEpochResponse<'a>;
    EndQuorumEpoch end_quorum_epoch EndQuorumEpochRequest<'a>, EndQuorumEpochResponse<'a>;
    FetchSnapshot fetch_snapshot FetchSnapshotRequest<'a>, FetchSnapshotResponse<'a>;
    DescribeQuorum describe_quorum DescribeQuorumRequest<'a>, DescribeQuorumResponse<'a>;
    DescribeCluster describe_cluster DescribeClusterRequest, DescribeClusterResponse<'a>;
    DescribeProducers describe_producers DescribeProducersRequest<'a>, DescribeProducersResponse<'a>;
    ConsumerGroupHeartbeat consumer_group_heartbeat ConsumerGroupHeartbeatRequest<'a>, ConsumerGroupHeartbeatResponse<'a>;
    ConsumerGroupDescribe consumer_group_describe ConsumerGroupDescribeRequest<'a>, ConsumerGroupDescribeResponse<'a>;
    ListConfigResources list_config_resources ListConfigResourcesRequest, ListConfigResourcesResponse<'a>;
    DescribeTopicPartitions describe_topic_partitions DescribeTopicPartitionsRequest<'a>, DescribeTopicPartitionsResponse<'a>;
    AddRaftVoter add_raft_voter AddRaftVoterRequest<'a>, AddRaftVoterResponse<'a>;
    RemoveRaftVoter remove_raft_voter RemoveRaftVoterRequest<'a>, RemoveRaftVoterResponse<'a>;
    ElectLeaders elect_leaders ElectLeadersRequest<'a>, ElectLeadersResponse<'a>;
    AlterPartitionReassignments alter_partition_reassignments AlterPartitionReassignmentsRequest<'a>, AlterPartitionReassignmentsResponse<'a>;
    ListPartitionReassignments list_partition_reassignments ListPartitionReassignmentsRequest<'a>, ListPartitionReassignmentsResponse<'a>;
    AlterPartition alter_partition AlterPartitionRequest, AlterPartitionResponse;
    BrokerRegistration broker_registration BrokerRegistrationRequest<'a>, BrokerRegistrationResponse;
    BrokerHeartbeat broker_heartbeat BrokerHeartbeatRequest, BrokerHeartbeatResponse;
    UnregisterBroker unregister_broker UnregisterBrokerRequest, UnregisterBrokerResponse<'a>;
    AllocateProducerIds allocate_producer_ids AllocateProducerIdsRequest, AllocateProducerIdsResponse;
    UpdateFeatures update_features UpdateFeaturesRequest<'a>, UpdateFeaturesResponse<'a>;
    UpdateRaftVoter update_raft_voter UpdateRaftVoterRequest<'a>, UpdateRaftVoterResponse<'a>;
    AssignReplicasToDirs assign_replicas_to_dirs AssignReplicasToDirsRequest, AssignReplicasToDirsResponse;
}

/// Reads the header and the body of a request from a frame without its length prefix.
///
/// # Errors
/// What is wrong with the bytes, an API that this crate does not have, or an unsupported version.
pub fn decode_request(frame: &[u8]) -> Result<(RequestHeader<'_>, Request<'_>)> {
    let mut r = Reader::new(frame);
    let header = RequestHeader::decode(&mut r)?;
    let body = Request::decode(&mut r, header.api_key, header.api_version)?;
    Ok((header, body))
}
