//! Every message in every version against the `kafka-protocol` crate, which is generated from Kafka's schemas.
//!
//! It knows Kafka 4.1: what it lacks, and the metadata records, is compared with the Java client's own bytes in
//! the golden files.

use crate::api::{Request, Response};
use crate::arbitrary::Entropy;
use crate::tests::{GENEROUS, versions};
use crate::{ApiKey, Reader, Writer};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use proptest::prelude::*;

/// The versions that the oracle lacks.
const BEYOND: [(ApiKey, i16); 7] = [
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::InitProducerId, 6),
    (ApiKey::DescribeLogDirs, 5),
    (ApiKey::AddRaftVoter, 1),
    (ApiKey::BrokerHeartbeat, 2),
];

fn known_versions() -> impl Iterator<Item = (ApiKey, i16)> {
    versions().filter(|known| !BEYOND.contains(known))
}

fn their_key(key: ApiKey) -> theirs::ApiKey {
    theirs::ApiKey::try_from(key.code()).expect("the oracle knows the keys of Kafka 4.1")
}

/// What the oracle makes of a request's body: its own bytes for the message that it read.
fn their_request(bytes: &[u8], key: ApiKey, version: i16) -> Vec<u8> {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let read = theirs::RequestKind::decode(their_key(key), &mut bytes, version);
    assert!(bytes.is_empty(), "{key} {version}: {} bytes left of {read:?}", bytes.len());
    let mut written = BytesMut::new();
    read.unwrap().encode(&mut written, version).unwrap();
    written.to_vec()
}

/// What the oracle makes of a response's body.
fn their_response(bytes: &[u8], key: ApiKey, version: i16) -> Vec<u8> {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let read = theirs::ResponseKind::decode(their_key(key), &mut bytes, version);
    assert!(bytes.is_empty(), "{key} {version}: {} bytes left of {read:?}", bytes.len());
    let mut written = BytesMut::new();
    read.unwrap().encode(&mut written, version).unwrap();
    written.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn our_bytes_are_theirs(entropy in prop::collection::vec(any::<u8>(), 0..4096)) {
        for (key, version) in known_versions() {
            let request = Request::arbitrary(key, version, &mut Entropy::new(&entropy));
            let mut w = Writer::new();
            request.encode(&mut w, version);
            let bytes = their_request(w.as_bytes(), key, version);
            prop_assert_eq!(w.as_bytes(), &bytes, "{} {}", key, version);
            let mut r = Reader::with_limits(&bytes, GENEROUS);
            prop_assert_eq!(Request::decode(&mut r, key, version), Ok(request), "{} {}", key, version);

            let response = Response::arbitrary(key, version, &mut Entropy::new(&entropy));
            w.clear();
            response.encode(&mut w, version);
            let bytes = their_response(w.as_bytes(), key, version);
            prop_assert_eq!(w.as_bytes(), &bytes, "{} {}", key, version);
            let mut r = Reader::with_limits(&bytes, GENEROUS);
            prop_assert_eq!(Response::decode(&mut r, key, version), Ok(response), "{} {}", key, version);
        }
    }
}

macro_rules! their_defaults {
    ($($api:ident $request:ident $response:ident;)*) => {
        fn their_default_request(key: ApiKey) -> theirs::RequestKind {
            match key {
                $(ApiKey::$api => theirs::RequestKind::$api(theirs::$request::default()),)*
                other => panic!("{other} is missing below"),
            }
        }

        fn their_default_response(key: ApiKey) -> theirs::ResponseKind {
            match key {
                $(ApiKey::$api => theirs::ResponseKind::$api(theirs::$response::default()),)*
                other => panic!("{other} is missing below"),
            }
        }
    };
}

their_defaults! {
    Produce ProduceRequest ProduceResponse;
    Fetch FetchRequest FetchResponse;
    ListOffsets ListOffsetsRequest ListOffsetsResponse;
    Metadata MetadataRequest MetadataResponse;
    OffsetCommit OffsetCommitRequest OffsetCommitResponse;
    OffsetFetch OffsetFetchRequest OffsetFetchResponse;
    FindCoordinator FindCoordinatorRequest FindCoordinatorResponse;
    JoinGroup JoinGroupRequest JoinGroupResponse;
    Heartbeat HeartbeatRequest HeartbeatResponse;
    LeaveGroup LeaveGroupRequest LeaveGroupResponse;
    SyncGroup SyncGroupRequest SyncGroupResponse;
    DescribeGroups DescribeGroupsRequest DescribeGroupsResponse;
    ListGroups ListGroupsRequest ListGroupsResponse;
    ApiVersions ApiVersionsRequest ApiVersionsResponse;
    CreateTopics CreateTopicsRequest CreateTopicsResponse;
    DeleteTopics DeleteTopicsRequest DeleteTopicsResponse;
    DeleteRecords DeleteRecordsRequest DeleteRecordsResponse;
    InitProducerId InitProducerIdRequest InitProducerIdResponse;
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
    DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse;
    AlterConfigs AlterConfigsRequest AlterConfigsResponse;
    DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse;
    CreatePartitions CreatePartitionsRequest CreatePartitionsResponse;
    DeleteGroups DeleteGroupsRequest DeleteGroupsResponse;
    IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
    OffsetDelete OffsetDeleteRequest OffsetDeleteResponse;
    Vote VoteRequest VoteResponse;
    BeginQuorumEpoch BeginQuorumEpochRequest BeginQuorumEpochResponse;
    EndQuorumEpoch EndQuorumEpochRequest EndQuorumEpochResponse;
    FetchSnapshot FetchSnapshotRequest FetchSnapshotResponse;
    DescribeQuorum DescribeQuorumRequest DescribeQuorumResponse;
    DescribeCluster DescribeClusterRequest DescribeClusterResponse;
    DescribeProducers DescribeProducersRequest DescribeProducersResponse;
    ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
    ListConfigResources ListConfigResourcesRequest ListConfigResourcesResponse;
    DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
    AddRaftVoter AddRaftVoterRequest AddRaftVoterResponse;
    RemoveRaftVoter RemoveRaftVoterRequest RemoveRaftVoterResponse;
    ElectLeaders ElectLeadersRequest ElectLeadersResponse;
    AlterPartitionReassignments AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse;
    ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
    AlterPartition AlterPartitionRequest AlterPartitionResponse;
    BrokerRegistration BrokerRegistrationRequest BrokerRegistrationResponse;
    BrokerHeartbeat BrokerHeartbeatRequest BrokerHeartbeatResponse;
    UnregisterBroker UnregisterBrokerRequest UnregisterBrokerResponse;
    AllocateProducerIds AllocateProducerIdsRequest AllocateProducerIdsResponse;
    UpdateFeatures UpdateFeaturesRequest UpdateFeaturesResponse;
    UpdateRaftVoter UpdateRaftVoterRequest UpdateRaftVoterResponse;
    AssignReplicasToDirs AssignReplicasToDirsRequest AssignReplicasToDirsResponse;
}

#[test]
fn their_defaults_are_read_and_written_alike() {
    for (key, version) in known_versions() {
        let mut bytes = BytesMut::new();
        their_default_request(key).encode(&mut bytes, version).unwrap();
        let request = Request::decode(&mut Reader::new(&bytes), key, version).unwrap();
        let mut w = Writer::new();
        request.encode(&mut w, version);
        assert_eq!(w.as_bytes(), bytes, "{key} {version}");

        bytes.clear();
        their_default_response(key).encode(&mut bytes, version).unwrap();
        let response = Response::decode(&mut Reader::new(&bytes), key, version).unwrap();
        w.clear();
        response.encode(&mut w, version);
        assert_eq!(w.as_bytes(), bytes, "{key} {version}");
    }
}
