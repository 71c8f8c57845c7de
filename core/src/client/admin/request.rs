//! What can be asked, as it goes out.

use ottla_wire::api::Request;
use ottla_wire::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::api::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::api::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::api::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use ottla_wire::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::api::list_groups::ListGroupsRequest;
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::api::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::{ErrorCode, Uuid};

use crate::types::{BrokerId, Offset, TopicPartition};

use super::super::coordination::LAST_WITH_NAMES;
use super::{groups, quorum};

/// One thing to change or to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Create a topic; -1: the broker's default. Answered by [`AdminReply::TopicCreated`](super::AdminReply).
    CreateTopic { name: Box<str>, partitions: i32, replication_factor: i16, configs: Vec<(Box<str>, Box<str>)> },
    /// Delete a topic.
    DeleteTopic { name: Box<str> },
    /// Give a topic more partitions, so that it has `count` in all.
    CreatePartitions { name: Box<str>, count: i32 },
    /// Delete what lies before an offset; `None`: all. Answered by `LogStart`.
    DeleteRecords { partition: TopicPartition, before: Option<Offset> },
    /// Set keys, or, with `None`, set them no more; all or none.
    AlterConfigs { resource: Resource, name: Box<str>, entries: Vec<(Box<str>, Option<Box<str>>)> },
    /// All settings. Answered by `Configs`.
    DescribeConfigs { resource: Resource, name: Box<str> },
    /// The offset of a time in ms, or of -1: the end, -2: the start. Answered by `Offset`.
    ListOffset { partition: TopicPartition, timestamp: i64 },
    /// The brokers and these topics; `None`: all topics. Nothing is created. Answered by `Cluster`.
    Describe { topics: Option<Vec<Box<str>>> },
    /// The metadata quorum. Answered by `Quorum`.
    DescribeQuorum,
    /// Take the vote of a node with this directory away.
    RemoveVoter { voter: BrokerId, directory_id: Uuid },
    /// A topic's partitions on a broker. Answered by `Logs`. The broker is one that a `Describe` named.
    DescribeLogs { broker: BrokerId, topic: Box<str>, partitions: Vec<i32> },
    /// The groups that a broker coordinates. Answered by `Groups`. The broker is one that a `Describe` named.
    ListGroups { broker: BrokerId },
    /// A group and its members, as one of KIP-848 or as a classic one: where it is the other, the error is
    /// GROUP_ID_NOT_FOUND. Answered by `Group`.
    DescribeGroup { group: Box<str>, kip_848: bool },
    /// What a group has committed. Answered by `Offsets`.
    FetchOffsets { group: Box<str> },
    /// Set a group's offsets from outside; it has to be without members.
    CommitOffsets { group: Box<str>, offsets: Vec<(TopicPartition, Offset)> },
    /// Delete a group that has no members.
    DeleteGroup { group: Box<str> },
}

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic, by its name.
    Topic,
    /// A broker, by its id; the empty name is all of them.
    Broker,
}

/// Who can do it.
pub(super) enum Addressee<'a> {
    /// Any broker, which forwards what the controller has to decide.
    Any,
    /// A partition's leader.
    Leader(&'a TopicPartition),
    /// This one.
    Broker(BrokerId),
    /// A group's coordinator.
    Coordinator(&'a str),
}

impl AdminRequest {
    pub(super) fn addressee(&self) -> Addressee<'_> {
        match self {
            Self::DeleteRecords { partition, .. } | Self::ListOffset { partition, .. } => Addressee::Leader(partition),
            Self::ListGroups { broker } | Self::DescribeLogs { broker, .. } => Addressee::Broker(*broker),
            Self::DescribeGroup { group, .. }
            | Self::FetchOffsets { group }
            | Self::CommitOffsets { group, .. }
            | Self::DeleteGroup { group } => Addressee::Coordinator(group),
            Self::AlterConfigs { resource: Resource::Broker, name, .. }
            | Self::DescribeConfigs { resource: Resource::Broker, name } => of_broker(name),
            Self::CreateTopic { .. }
            | Self::DeleteTopic { .. }
            | Self::CreatePartitions { .. }
            | Self::AlterConfigs { .. }
            | Self::DescribeConfigs { .. }
            | Self::DescribeQuorum
            | Self::RemoveVoter { .. }
            | Self::Describe { .. } => Addressee::Any,
        }
    }

    /// Whether an error may pass. That a topic is not there is the controller's last word on changes to it, but a
    /// partition's leader may be the first not to know of it.
    pub(super) fn may_pass(&self, code: ErrorCode) -> bool {
        let absent = code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        code.is_retriable() && !(absent && matches!(self.addressee(), Addressee::Any))
    }

    /// The request, and the highest version that it can be sent in. `current` is the leader epoch, for a leader.
    pub(super) fn to_wire(&self, timeout_ms: i32, current: i32) -> (Request<'_>, i16) {
        let request = match self {
            Self::CreateTopic { name, partitions, replication_factor, configs } => {
                let configs = configs.iter();
                let configs = configs.map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
                let topic = CreatableTopic {
                    name,
                    num_partitions: *partitions,
                    replication_factor: *replication_factor,
                    configs: configs.collect(),
                    ..CreatableTopic::default()
                };
                CreateTopicsRequest { topics: vec![topic], timeout_ms, validate_only: false }.into()
            }
            Self::DeleteTopic { name } => delete_topic(name, timeout_ms),
            Self::CreatePartitions { name, count } => {
                let topics = vec![CreatePartitionsTopic { name, count: *count, assignments: None }];
                CreatePartitionsRequest { topics, timeout_ms, validate_only: false }.into()
            }
            Self::DeleteRecords { partition, before } => delete_records(partition, *before, timeout_ms),
            Self::AlterConfigs { resource, name, entries } => alter(resource.code(), name, entries),
            Self::DescribeConfigs { resource, name } => describe_configs(resource.code(), name),
            Self::ListOffset { partition, timestamp } => list_offset(partition, *timestamp, current, timeout_ms),
            Self::Describe { topics } => describe(topics.as_deref()),
            Self::DescribeQuorum => quorum::describe(),
            Self::RemoveVoter { voter, directory_id } => quorum::remove(*voter, *directory_id),
            Self::DescribeLogs { topic, partitions, .. } => describe_logs(topic, partitions),
            Self::ListGroups { .. } => ListGroupsRequest::default().into(),
            Self::DescribeGroup { group, kip_848 } => groups::describe(group, *kip_848),
            Self::FetchOffsets { group } => return (groups::fetch_offsets(group), LAST_WITH_NAMES),
            Self::CommitOffsets { group, offsets } => {
                return (groups::commit_offsets(group, offsets), LAST_WITH_NAMES);
            }
            Self::DeleteGroup { group } => groups::delete(group),
        };
        (request, i16::MAX)
    }
}

/// A broker's own settings are known to it alone; those of all brokers to each, and what is no id is refused by any.
fn of_broker(name: &str) -> Addressee<'_> {
    let id = name.parse().ok().filter(|&id| id >= 0);
    id.map_or(Addressee::Any, |id| Addressee::Broker(BrokerId(id)))
}

fn delete_topic(name: &str, timeout_ms: i32) -> Request<'_> {
    let topics = vec![DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO }];
    DeleteTopicsRequest { topics, topic_names: vec![name], timeout_ms }.into()
}

fn delete_records(partition: &TopicPartition, before: Option<Offset>, timeout_ms: i32) -> Request<'_> {
    let offset = before.map_or(-1, |offset| offset.0);
    let partitions = vec![DeleteRecordsPartition { partition_index: partition.partition, offset }];
    let topics = vec![DeleteRecordsTopic { name: &partition.topic, partitions }];
    DeleteRecordsRequest { topics, timeout_ms }.into()
}

fn list_offset(partition: &TopicPartition, timestamp: i64, current: i32, timeout_ms: i32) -> Request<'_> {
    let partition_index = partition.partition;
    let partitions = vec![ListOffsetsPartition { partition_index, current_leader_epoch: current, timestamp }];
    let topics = vec![ListOffsetsTopic { name: &partition.topic, partitions }];
    ListOffsetsRequest { replica_id: -1, topics, timeout_ms, ..ListOffsetsRequest::default() }.into()
}

fn alter<'a>(resource_type: i8, resource_name: &'a str, entries: &'a [(Box<str>, Option<Box<str>>)]) -> Request<'a> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let entry = |(name, value): &'a (Box<str>, Option<Box<str>>)| AlterableConfig {
        name,
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.as_deref(),
    };
    let configs = entries.iter().map(entry).collect();
    let resources = vec![AlterConfigsResource { resource_type, resource_name, configs }];
    IncrementalAlterConfigsRequest { resources, validate_only: false }.into()
}

fn describe_configs(resource_type: i8, resource_name: &str) -> Request<'_> {
    let resources = vec![DescribeConfigsResource { resource_type, resource_name, configuration_keys: None }];
    DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() }.into()
}

fn describe_logs<'a>(topic: &'a str, partitions: &[i32]) -> Request<'a> {
    let topics = vec![DescribableLogDirTopic { topic, partitions: partitions.to_vec() }];
    DescribeLogDirsRequest { topics: Some(topics) }.into()
}

fn describe(topics: Option<&[Box<str>]>) -> Request<'_> {
    let topic = |name| MetadataRequestTopic { name: Some(name), topic_id: Uuid::ZERO };
    let topics = topics.map(|names| names.iter().map(|name| topic(&**name)).collect());
    MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() }.into()
}

impl Resource {
    /// The number on the wire.
    const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_settings_are_asked_of_that_broker_and_those_of_all_of_any() {
        let asked = |name: &str| AdminRequest::DescribeConfigs { resource: Resource::Broker, name: name.into() };
        assert!(matches!(asked("3").addressee(), Addressee::Broker(BrokerId(3))));
        assert!(matches!(asked("").addressee(), Addressee::Any));
        assert!(matches!(asked("-1").addressee(), Addressee::Any));
        let (resource, entries) = (Resource::Topic, Vec::new());
        let topic = AdminRequest::AlterConfigs { resource, name: "3".into(), entries };
        assert!(matches!(topic.addressee(), Addressee::Any));
    }
}
