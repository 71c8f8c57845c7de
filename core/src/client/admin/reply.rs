//! What brokers answer, as the program gets it.

use ottla_wire::api::Response;
use ottla_wire::api::describe_configs::DescribeConfigsResourceResult;
use ottla_wire::api::describe_log_dirs::{Compaction, DescribeLogDirsResponse};
use ottla_wire::api::metadata::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use ottla_wire::{ErrorCode, Uuid};

use crate::types::{BrokerId, LeaderEpoch, Offset};

use super::super::boundary::ClientError;
use super::groups::{self, CommittedOffset, GroupDescription, ListedGroup};
use super::quorum::{self, QuorumDescription};

/// What an [`AdminRequest`](super::AdminRequest) is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// It is done.
    Done,
    /// The topic is there; the id is zero from brokers that do not say.
    TopicCreated { id: Uuid },
    /// Where the log starts now.
    LogStart { offset: Offset },
    /// An offset, -1 if there is none, with the leader epoch and the timestamp of its record (-1: not known).
    Offset { offset: Offset, leader_epoch: LeaderEpoch, timestamp_ms: i64 },
    /// The brokers, and the topics that were asked for.
    Cluster(Box<ClusterDescription>),
    /// The metadata quorum.
    Quorum(Box<QuorumDescription>),
    /// Settings, in the broker's order.
    Configs(Vec<ConfigEntry>),
    /// The logs that were asked for, in the order of their indexes.
    Logs(Vec<LogDescription>),
    /// The groups that the broker coordinates.
    Groups(Vec<ListedGroup>),
    /// A group.
    Group(Box<GroupDescription>),
    /// What a group has committed.
    Offsets(Vec<CommittedOffset>),
}

/// The cluster as a broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// `None` from brokers that do not say.
    pub cluster_id: Option<Box<str>>,
    /// Where changes go to; `None` if there is none at present.
    pub controller: Option<BrokerId>,
    /// In the order of their ids.
    pub brokers: Vec<BrokerDescription>,
    /// In the order of their names.
    pub topics: Vec<TopicDescription>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its number.
    pub id: BrokerId,
    /// Where it is.
    pub host: Box<str>,
    /// Where it listens.
    pub port: i32,
    /// `broker.rack`
    pub rack: Option<Box<str>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Box<str>,
    /// Zero from brokers before Kafka 2.8.
    pub id: Uuid,
    /// Whether it is one of the brokers' own.
    pub internal: bool,
    /// Why nothing is known of it, if that is so.
    pub error: Option<ErrorCode>,
    /// In the order of their indexes.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index, from 0.
    pub index: i32,
    /// Who leads it, if anybody.
    pub leader: Option<BrokerId>,
    /// -1 from brokers that do not say.
    pub leader_epoch: LeaderEpoch,
    /// Who has it.
    pub replicas: Vec<BrokerId>,
    /// Who has all of it.
    pub in_sync: Vec<BrokerId>,
    /// Who is not there, or has lost its disk.
    pub offline: Vec<BrokerId>,
}

/// A partition's log on a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDescription {
    /// The partition's index.
    pub index: i32,
    /// The directory that it lies in.
    pub dir: Box<str>,
    /// Bytes of its segments.
    pub size: i64,
    /// How it stands with its compaction: told by Ottla, where the topic is compacted.
    pub compaction: Option<CompactionDescription>,
}

/// How a log stands with its compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionDescription {
    /// Below it each key is there once.
    pub clean_to: Offset,
    /// Bytes that were cleaned before.
    pub clean_bytes: i64,
    /// Bytes that were not, and can be now.
    pub dirty_bytes: i64,
    /// Whether it is being cleaned.
    pub is_running: bool,
    /// Why it is not cleaned any more, if that is so.
    pub uncleanable: Option<Box<str>>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its key.
    pub name: Box<str>,
    /// `None` if it is not set, or not to be seen.
    pub value: Option<Box<str>>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it takes a restart to change it.
    pub read_only: bool,
    /// Whether its value is not to be seen.
    pub sensitive: bool,
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// Set for the broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    Brokers,
    /// The broker's own file.
    File,
    /// Nobody set it.
    Default,
    /// Something that we do not know, by its number on the wire.
    Other(i8),
}

/// A broker's no.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    message: Option<Box<str>>,
}

impl Refusal {
    /// An error if the code is one.
    pub(super) fn check(code: ErrorCode, message: Option<&str>) -> Result<(), Self> {
        let message = message.filter(|text| !text.is_empty()).map(Into::into);
        if code.is_error() { Err(Self { code, message }) } else { Ok(()) }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<Refusal> for ClientError {
    fn from(Refusal { code, message }: Refusal) -> Self {
        match message {
            Some(message) => Self::Refused { code, message },
            None => Self::Broker(code),
        }
    }
}

/// What an answer says.
pub(super) fn reply(response: &Response<'_>) -> Result<AdminReply, Refusal> {
    fn first<T>(items: &[T]) -> Result<&T, Refusal> {
        items.first().ok_or_else(|| ErrorCode::UNKNOWN_SERVER_ERROR.into())
    }
    let done = |code, message| Refusal::check(code, message).map(|()| AdminReply::Done);
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other answer is asked for")]
    match response {
        Response::CreateTopics(response) => {
            let it = first(&response.topics)?;
            Refusal::check(it.error_code, it.error_message)?;
            Ok(AdminReply::TopicCreated { id: it.topic_id })
        }
        Response::DeleteTopics(response) => {
            first(&response.responses).and_then(|it| done(it.error_code, it.error_message))
        }
        Response::CreatePartitions(response) => {
            first(&response.results).and_then(|it| done(it.error_code, it.error_message))
        }
        Response::DeleteRecords(response) => {
            let it = first(&first(&response.topics)?.partitions)?;
            Refusal::check(it.error_code, None)?;
            Ok(AdminReply::LogStart { offset: Offset(it.low_watermark) })
        }
        Response::IncrementalAlterConfigs(response) => {
            first(&response.responses).and_then(|it| done(it.error_code, it.error_message))
        }
        Response::DescribeConfigs(response) => {
            let it = first(&response.results)?;
            Refusal::check(it.error_code, it.error_message)?;
            Ok(AdminReply::Configs(it.configs.iter().map(config).collect()))
        }
        Response::ListOffsets(response) => {
            let it = first(&first(&response.topics)?.partitions)?;
            Refusal::check(it.error_code, None)?;
            let (offset, leader_epoch) = (Offset(it.offset), LeaderEpoch(it.leader_epoch));
            Ok(AdminReply::Offset { offset, leader_epoch, timestamp_ms: it.timestamp })
        }
        Response::Metadata(response) => {
            Refusal::check(response.error_code, None)?;
            Ok(AdminReply::Cluster(Box::new(cluster(response))))
        }
        Response::DescribeQuorum(response) => {
            quorum::described(response).map(|quorum| AdminReply::Quorum(Box::new(quorum)))
        }
        Response::RemoveRaftVoter(response) => done(response.error_code, response.error_message),
        Response::DescribeLogDirs(response) => {
            Refusal::check(response.error_code, None)?;
            Ok(AdminReply::Logs(logs(response)))
        }
        Response::ListGroups(response) => {
            Refusal::check(response.error_code, None)?;
            Ok(AdminReply::Groups(response.groups.iter().map(groups::listed).collect()))
        }
        Response::DescribeGroups(response) => described(groups::classic(first(&response.groups)?)),
        Response::ConsumerGroupDescribe(response) => described(groups::next_generation(first(&response.groups)?)),
        Response::OffsetFetch(response) => groups::offsets(response).map(AdminReply::Offsets),
        Response::OffsetCommit(response) => groups::committed(response).map(|()| AdminReply::Done),
        Response::DeleteGroups(response) => first(&response.results).and_then(|it| done(it.error_code, None)),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()),
    }
}

fn described(group: Result<GroupDescription, Refusal>) -> Result<AdminReply, Refusal> {
    group.map(|group| AdminReply::Group(Box::new(group)))
}

fn cluster(response: &MetadataResponse<'_>) -> ClusterDescription {
    let broker = response.brokers.iter().map(|it| BrokerDescription {
        id: BrokerId(it.node_id),
        host: it.host.into(),
        port: it.port,
        rack: it.rack.map(Into::into),
    });
    let mut brokers: Vec<_> = broker.collect();
    brokers.sort_by_key(|broker| broker.id);
    let mut topics: Vec<_> = response.topics.iter().map(topic).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    ClusterDescription {
        cluster_id: response.cluster_id.map(Into::into),
        controller: Some(response.controller_id).filter(|&id| id >= 0).map(BrokerId),
        brokers,
        topics,
    }
}

fn topic(topic: &MetadataResponseTopic<'_>) -> TopicDescription {
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicDescription {
        name: topic.name.unwrap_or_default().into(),
        id: topic.topic_id,
        internal: topic.is_internal,
        error: Some(topic.error_code).filter(|code| code.is_error()),
        partitions,
    }
}

fn partition(partition: &MetadataResponsePartition) -> PartitionDescription {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    PartitionDescription {
        index: partition.partition_index,
        leader: Some(partition.leader_id).filter(|&id| id >= 0).map(BrokerId),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: ids(&partition.replica_nodes),
        in_sync: ids(&partition.isr_nodes),
        offline: ids(&partition.offline_replicas),
    }
}

fn logs(response: &DescribeLogDirsResponse<'_>) -> Vec<LogDescription> {
    let compaction = |it: &Compaction<'_>| CompactionDescription {
        clean_to: Offset(it.clean_to),
        clean_bytes: it.clean_bytes,
        dirty_bytes: it.dirty_bytes,
        is_running: it.is_running,
        uncleanable: it.uncleanable.map(Into::into),
    };
    let described = response.results.iter().flat_map(|dir| {
        let partitions = dir.topics.iter().flat_map(|topic| &topic.partitions).filter(|it| !it.is_future_key);
        partitions.map(|it| LogDescription {
            index: it.partition_index,
            dir: dir.log_dir.into(),
            size: it.partition_size,
            compaction: (it.compaction.clean_to >= 0).then(|| compaction(&it.compaction)),
        })
    });
    let mut logs: Vec<_> = described.collect();
    logs.sort_by_key(|log| log.index);
    logs
}

fn config(entry: &DescribeConfigsResourceResult<'_>) -> ConfigEntry {
    ConfigEntry {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        source: match entry.config_source {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::Brokers,
            4 => ConfigSource::File,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        },
        read_only: entry.read_only,
        sensitive: entry.is_sensitive,
    }
}
