//! One file an API key: decode the request, one call of the broker's, encode the answer.
//!
//! Wire versions are known here and nowhere below: a domain outcome becomes a body of the version that the
//! request had. `handle` answers at once or says that the broker will; `encode` makes the answer of what the
//! broker releases.
//!
//! Only what is in [`SUPPORTED`] is advertised: a client switches features off by what is missing (KIP-35).

mod admin;
mod api_versions;
pub(crate) mod brokers;
mod configs;
mod consumer_groups;
mod describe;
mod features;
mod fetch;
mod find_coordinator;
mod group_admin;
mod group_offsets;
mod groups;
mod list_offsets;
mod metadata;
mod partitions;
mod produce;
mod producers;
pub(crate) mod quorum;
mod snapshots;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use ottla_wire::frame::encode_response;
use ottla_wire::{ApiKey, DecodeError, Message, Writer};

use crate::broker::{Answered, Broker, GroupAnswers, Outcome};
use crate::clock::Now;
use crate::coordinator::Answer as Said;
use crate::ingress::{Head, Request};
use crate::machine::{Answer, Effects, ListenerId, Ticket};

/// The APIs that are answered, in the versions of Apache Kafka 4.3.
pub const SUPPORTED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::DescribeQuorum,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::UnregisterBroker,
    ApiKey::UpdateFeatures,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// What is answered on the listeners of `controller.listener.names` beside them, or in another way.
pub const QUORUM: &[ApiKey] = &[
    ApiKey::Fetch,
    ApiKey::Vote,
    ApiKey::BeginQuorumEpoch,
    ApiKey::EndQuorumEpoch,
    ApiKey::FetchSnapshot,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::UpdateRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UnregisterBroker,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::BrokerRegistration,
    ApiKey::BrokerHeartbeat,
    ApiKey::AlterPartition,
    ApiKey::AllocateProducerIds,
    ApiKey::AssignReplicasToDirs,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::CreatePartitions,
    ApiKey::AlterConfigs,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
];

/// What only the controller can do or knows: another node asks it on.
const FORWARDED: &[ApiKey] = &[
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::CreatePartitions,
    ApiKey::AlterConfigs,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::UnregisterBroker,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// What controllers that do not lead answer themselves: who leads, or what they know.
const OF_EVERY_CONTROLLER: &[ApiKey] =
    &[ApiKey::DescribeQuorum, ApiKey::AddRaftVoter, ApiKey::UpdateRaftVoter, ApiKey::RemoveRaftVoter];

/// Everything a handler is given.
pub(crate) struct Call<'a> {
    /// The broker that answers.
    pub broker: &'a mut Broker,
    /// When.
    pub now: Now,
    /// Who is to be answered.
    pub ticket: Ticket,
    /// The request.
    pub request: &'a Request,
    /// What its answer is encoded for.
    pub reply: Reply,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where effects go.
    pub out: &'a mut Effects,
}

/// What an answer is encoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// API, version and correlation id of the request.
    pub head: Head,
    /// The listener that the client came to: it is told the addresses of that one.
    pub listener: ListenerId,
}

/// `Some` is the answer; `None` means that the broker releases an [`Outcome`] for the ticket, now or later.
pub(crate) type Handled = Result<Option<Answer>, DecodeError>;

/// Acts on a request.
///
/// # Errors
/// The body cannot be read, or has a version that we do not: the connection is to be closed.
pub(crate) fn handle(mut call: Call<'_>) -> Handled {
    let Head { api_key, api_version, .. } = call.request.head;
    let of_quorum = QUORUM.contains(&api_key) && call.broker.is_controller_listener(call.reply.listener);
    let known = (of_quorum || SUPPORTED.contains(&api_key)) && api_key.versions().contains(&api_version);
    if !known && api_key != ApiKey::ApiVersions {
        return Err(DecodeError::UnsupportedVersion(api_version));
    }
    if !of_quorum && !call.broker.is_running() && api_key != ApiKey::ApiVersions {
        return Ok(Some(Answer::Close));
    }
    let is_answered = of_quorum && OF_EVERY_CONTROLLER.contains(&api_key);
    if FORWARDED.contains(&api_key) && !call.broker.is_controller() && !is_answered {
        return forward(&mut call);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is supported is listed above")]
    match api_key {
        ApiKey::Produce => produce::handle(call),
        ApiKey::Fetch => fetch::handle(call),
        ApiKey::ListOffsets => list_offsets::handle(call),
        ApiKey::OffsetForLeaderEpoch => list_offsets::handle_epochs(call),
        ApiKey::Metadata => metadata::handle(call),
        ApiKey::DescribeTopicPartitions => metadata::handle_partitions(call),
        ApiKey::FindCoordinator => find_coordinator::handle(call),
        ApiKey::JoinGroup => groups::join(call),
        ApiKey::SyncGroup => groups::sync(call),
        ApiKey::Heartbeat => groups::heartbeat(call),
        ApiKey::LeaveGroup => groups::leave(call),
        ApiKey::ConsumerGroupHeartbeat => consumer_groups::heartbeat(call),
        ApiKey::ConsumerGroupDescribe => consumer_groups::describe(call),
        ApiKey::OffsetCommit => group_offsets::commit(call),
        ApiKey::OffsetFetch => group_offsets::fetch(call),
        ApiKey::OffsetDelete => group_offsets::delete(call),
        ApiKey::DescribeGroups => group_admin::describe(call),
        ApiKey::ListGroups => group_admin::list(call),
        ApiKey::DeleteGroups => group_admin::delete(call),
        ApiKey::ApiVersions => api_versions::handle(&call),
        ApiKey::CreateTopics => admin::create_topics(call),
        ApiKey::DeleteTopics => admin::delete_topics(call),
        ApiKey::CreatePartitions => admin::create_partitions(call),
        ApiKey::DeleteRecords => admin::delete_records(call),
        ApiKey::InitProducerId => producers::init(call),
        ApiKey::DescribeProducers => producers::describe(call),
        ApiKey::DescribeConfigs => configs::describe(call),
        ApiKey::AlterConfigs => configs::alter(call),
        ApiKey::IncrementalAlterConfigs => configs::alter_incrementally(call),
        ApiKey::ListConfigResources => configs::list(&call),
        ApiKey::DescribeLogDirs => describe::log_dirs(call),
        ApiKey::DescribeCluster => describe::cluster(call),
        ApiKey::DescribeQuorum => describe::quorum(call),
        ApiKey::Vote => quorum::vote(call),
        ApiKey::BeginQuorumEpoch => quorum::begin(call),
        ApiKey::EndQuorumEpoch => quorum::end(call),
        ApiKey::FetchSnapshot => snapshots::handle(call),
        ApiKey::AddRaftVoter => quorum::add_voter(call),
        ApiKey::UpdateRaftVoter => quorum::update_voter(call),
        ApiKey::RemoveRaftVoter => quorum::remove_voter(call),
        ApiKey::UnregisterBroker => brokers::unregister(call),
        ApiKey::UpdateFeatures => features::update(call),
        ApiKey::ElectLeaders => partitions::elect(call),
        ApiKey::AlterPartitionReassignments => partitions::reassign(call),
        ApiKey::ListPartitionReassignments => partitions::list_reassignments(&call),
        ApiKey::BrokerRegistration => brokers::register(call),
        ApiKey::BrokerHeartbeat => brokers::heartbeat(call),
        ApiKey::AlterPartition => brokers::alter_partition(call),
        ApiKey::AllocateProducerIds => brokers::allocate(call),
        ApiKey::AssignReplicasToDirs => brokers::assign(call),
        _ => Err(DecodeError::UnknownApiKey(api_key.code())),
    }
}

/// Asks the controller on. One that is none any more is asked by another node: that one looks for the next.
fn forward(call: &mut Call<'_>) -> Handled {
    if call.broker.is_controller_listener(call.reply.listener) {
        return Ok(Some(Answer::Close));
    }
    // What cannot be read is refused here.
    let Head { api_key, api_version, .. } = call.request.head;
    ottla_wire::api::Request::decode(&mut call.request.reader(), api_key, api_version)?;
    call.broker.forward(call.now, call.ticket, call.request);
    Ok(None)
}

/// Makes the answer of what the broker released.
pub(crate) fn encode(broker: &Broker, reply: Reply, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Produce { produced, acks } => produce::encode(broker, reply, &produced, acks),
        Outcome::Fetch(fetched) => fetch::encode(broker, reply, &fetched),
        Outcome::ListOffsets(listed) => list_offsets::encode(reply, &listed),
        Outcome::Admin(answered) => match *answered {
            Answered::Created(results) => admin::encode_created(broker, reply, &results),
            Answered::Deleted(results) => admin::encode_deleted(reply, &results),
            Answered::MorePartitions(results) => admin::encode_partitions(reply, &results),
            Answered::Altered(results) => configs::encode_altered(reply, &results),
            Answered::DeletedRecords(deleted) => admin::encode_deleted_records(reply, &deleted),
            Answered::Coordinators(groups) => find_coordinator::encode(broker, reply, &groups),
            Answered::ProducerId(producer_id) => producers::encode_init(reply, producer_id),
            Answered::Metadata { topics, refused } => metadata::encode(broker, reply, &topics, &refused),
            Answered::Registered(it) => brokers::encode_registered(reply, it),
            Answered::FeaturesUpdated(it) => features::encode(reply, &it),
            Answered::Unregistered(it) => brokers::encode_unregistered(reply, &it),
            Answered::Alive(it) => brokers::encode_alive(reply, it),
            Answered::Assigned(it) => brokers::encode_assigned(reply, it),
            Answered::AlteredPartitions(it) => brokers::encode_altered(broker, reply, &it),
            Answered::Reassigned(results) => partitions::encode_reassigned(reply, &results),
            Answered::Elected(results) => partitions::encode_elected(reply, &results),
            Answered::ProducerIdBlock(it) => brokers::encode_allocated(reply, it),
        },
        Outcome::Groups(said) => encode_groups(broker, reply, &said),
        Outcome::Quorum(said) => quorum::encode(broker, reply, &said.0, &said.1),
        Outcome::Forwarded { version, frame } => brokers::encode_forwarded(reply, version, frame),
        Outcome::Close => Answer::Close,
    }
}

fn encode_groups(broker: &Broker, reply: Reply, said: &GroupAnswers) -> Answer {
    match said.answers.first() {
        Some(Said::Join(it)) => return groups::encode_join(reply, it),
        Some(Said::Sync(it)) => return groups::encode_sync(reply, it),
        Some(Said::Heartbeat(code)) => return groups::encode_heartbeat(reply, *code),
        Some(Said::Leave(it)) => return groups::encode_leave(reply, it),
        Some(Said::ConsumerHeartbeat(it)) => return consumer_groups::encode_heartbeat(reply, it),
        _ => {}
    }
    // What asks many may be answered by none: the request says what it is.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other API has groups answer")]
    match reply.head.api_key {
        ApiKey::OffsetCommit => group_offsets::encode_committed(reply, said),
        ApiKey::OffsetFetch => group_offsets::encode_fetched(broker, reply, said),
        ApiKey::OffsetDelete => group_offsets::encode_deleted(reply, said),
        ApiKey::ConsumerGroupDescribe => consumer_groups::encode_described(reply, said),
        ApiKey::DescribeGroups => group_admin::encode_described(reply, said),
        ApiKey::ListGroups => group_admin::encode_listed(reply, said),
        ApiKey::DeleteGroups => group_admin::encode_deleted(reply, said),
        _ => Answer::Close,
    }
}

/// Each but once, by its key: no answer is greater than what there is to tell, however often a request names it.
fn once<T, K: Ord>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(key(item))).collect()
}

/// An answer that is one message.
pub(crate) fn respond<'a>(head: Head, body: &impl Message<'a>) -> Answer {
    // Enough for most answers on the hot path.
    let mut writer = Writer::with_capacity(256);
    encode_response(&mut writer, head.api_key, head.api_version, head.correlation_id, body);
    Answer::Bytes(Bytes::from(writer.into_bytes()))
}
