//! Finding places: offsets by time (ListOffsets), and whether a place is still right (OffsetForLeaderEpoch).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::api::Request;
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::api::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::types::{LeaderEpoch, TopicPartition};

/// One partition in a look-up: what is asked, of which assignment.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) partition: TopicPartition,
    pub(super) generation: u64,
    /// The leader epoch that the metadata names.
    pub(super) current: LeaderEpoch,
    pub(super) question: Question,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The offset of a time.
    Time(i64),
    /// Where an epoch ends.
    EndOf(LeaderEpoch),
}

/// What an answer says of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) code: ErrorCode,
    /// -1: there is none.
    pub(super) offset: i64,
    pub(super) epoch: i32,
}

/// The request that asks all of it; the questions are of one kind.
pub(super) fn request(asked: &[Asked], committed_only: bool) -> Request<'_> {
    if asked.iter().any(|it| matches!(it.question, Question::EndOf(_))) {
        ends(asked)
    } else {
        times(asked, committed_only)
    }
}

fn times(asked: &[Asked], committed_only: bool) -> Request<'_> {
    let mut topics: BTreeMap<&Arc<str>, ListOffsetsTopic<'_>> = BTreeMap::new();
    for it in asked {
        let Question::Time(timestamp) = it.question else { continue };
        let (name, partition_index) = (&it.partition.topic, it.partition.partition);
        let topic = topics.entry(name).or_insert_with(|| ListOffsetsTopic { name, partitions: Vec::new() });
        let current_leader_epoch = it.current.0;
        topic.partitions.push(ListOffsetsPartition { partition_index, current_leader_epoch, timestamp });
    }
    let topics = topics.into_values().collect();
    let isolation_level = i8::from(committed_only);
    ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..ListOffsetsRequest::default() }.into()
}

fn ends(asked: &[Asked]) -> Request<'_> {
    let mut topics: BTreeMap<&Arc<str>, OffsetForLeaderTopic<'_>> = BTreeMap::new();
    for it in asked {
        let Question::EndOf(epoch) = it.question else { continue };
        let (topic, partition) = (&it.partition.topic, it.partition.partition);
        let in_topic = topics.entry(topic).or_insert_with(|| OffsetForLeaderTopic { topic, partitions: Vec::new() });
        let (current_leader_epoch, leader_epoch) = (it.current.0, epoch.0);
        in_topic.partitions.push(OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch });
    }
    OffsetForLeaderEpochRequest { replica_id: -1, topics: topics.into_values().collect() }.into()
}

/// What an answer says of `asked`.
pub(super) fn find(response: &ottla_wire::api::Response<'_>, asked: &Asked) -> Option<Found> {
    use ottla_wire::api::Response;
    let TopicPartition { topic, partition } = &asked.partition;
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other answer is asked for")]
    match response {
        Response::ListOffsets(response) => {
            let topic = response.topics.iter().find(|it| it.name == &**topic)?;
            let found = topic.partitions.iter().find(|it| it.partition_index == *partition)?;
            Some(Found { code: found.error_code, offset: found.offset, epoch: found.leader_epoch })
        }
        Response::OffsetForLeaderEpoch(response) => {
            let topic = response.topics.iter().find(|it| it.topic == &**topic)?;
            let found = topic.partitions.iter().find(|it| it.partition == *partition)?;
            Some(Found { code: found.error_code, offset: found.end_offset, epoch: found.leader_epoch })
        }
        _ => None,
    }
}
