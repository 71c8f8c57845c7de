//! Committed offsets: OffsetCommit (8), OffsetFetch (9), OffsetDelete (47).
//!
//! Topics are named by id from version 10 of the first two on. What a request says of topics that are not there is
//! answered here, and the groups are not asked about it. OffsetFetch asks for one group up to version 7, then for many
//! (KIP-709); before version 2 it has no code for a whole group, and each partition is told it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_wire::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup as FetchGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, respond};
use crate::broker::{About, Broker, GroupAnswers};
use crate::coordinator::{
    Answer as Said, CommitAnswer, CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsAnswer,
    DeleteOffsetsRequest, FetchOffsetsAnswer, FetchOffsetsRequest, FetchTopic, FetchedOffset, FetchedTopic,
    PartitionResult, Request, TopicResult,
};
use crate::machine::Answer;

/// The first version of OffsetCommit that knows the errors of member epochs (KIP-848).
const MEMBER_EPOCHS: i16 = 9;
/// The first version of OffsetCommit and of OffsetFetch that names topics by id.
const BY_ID: i16 = 10;
/// The first version of OffsetFetch that asks for many groups.
const MANY_GROUPS: i16 = 8;
/// The first version of OffsetFetch that has a code for a whole group.
const GROUP_CODE: i16 = 2;

/// A topic that is there.
struct Known {
    name: Arc<str>,
    id: Uuid,
    partitions: i32,
}

impl Known {
    fn of(broker: &Broker, name: &str, id: Uuid) -> Option<Self> {
        let topic = if id.is_zero() { broker.topic(name) } else { broker.image().topic_by_id(id) }?;
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        Some(Self { name: Arc::clone(&topic.name), id: topic.id, partitions })
    }

    fn has(&self, partition: i32) -> bool {
        (0..self.partitions).contains(&partition)
    }
}

pub(super) fn commit(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let version = reply.head.api_version;
    let wire = OffsetCommitRequest::decode(&mut request.reader(), version)?;
    let known: Vec<_> = wire.topics.iter().map(|it| Known::of(broker, it.name, it.topic_id)).collect();
    let unknown = if version >= BY_ID { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let (mut topics, mut refused) = (Vec::new(), Vec::new());
    for (it, known) in wire.topics.iter().zip(&known) {
        let exists = |partition: i32| known.as_ref().is_some_and(|known| known.has(partition));
        let (there, absent): (Vec<_>, Vec<_>) = it.partitions.iter().partition(|it| exists(it.partition_index));
        if let Some(known) = known.as_ref().filter(|_| !there.is_empty()) {
            let partitions = there.into_iter().map(|it| CommitPartition {
                partition: it.partition_index,
                offset: it.committed_offset,
                leader_epoch: it.committed_leader_epoch,
                metadata: it.committed_metadata,
            });
            topics.push(CommitTopic { name: &known.name, id: known.id, partitions: partitions.collect() });
        }
        if !absent.is_empty() {
            let error = if known.is_some() { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { unknown };
            let partitions = absent.into_iter().map(|it| PartitionResult { partition: it.partition_index, error });
            let id = known.as_ref().map_or(it.topic_id, |known| known.id);
            refused.push(TopicResult { name: it.name.into(), id, partitions: partitions.collect() });
        }
    }
    let commit = CommitRequest {
        group: wire.group_id,
        generation: wire.generation_id_or_member_epoch,
        member_id: wire.member_id,
        instance_id: wire.group_instance_id,
        knows_member_epochs: version >= MEMBER_EPOCHS,
        retention_ms: (wire.retention_time_ms >= 0).then_some(wire.retention_time_ms),
        topics,
    };
    let requests = [Request::Commit(commit)];
    let nothing_left = matches!(&requests, [Request::Commit(it)] if it.topics.is_empty()) && !refused.is_empty();
    let gathered =
        GroupAnswers { answers: vec![Said::Commit(CommitAnswer { topics: refused })], about: About::Nothing };
    broker.ask_groups(now, ticket, if nothing_left { &[] } else { &requests }, gathered, out);
    Ok(None)
}

pub(super) fn encode_committed(reply: Reply, said: &GroupAnswers) -> Answer {
    let results = said.answers.iter().filter_map(|it| if let Said::Commit(it) = it { Some(&it.topics) } else { None });
    let topics = by_topic(results.flatten(), reply.head.api_version >= BY_ID).into_iter().map(|(topic, partitions)| {
        let partitions = partitions
            .into_iter()
            .map(|it| OffsetCommitResponsePartition { partition_index: it.partition, error_code: it.error })
            .collect();
        OffsetCommitResponseTopic { name: &topic.name, topic_id: topic.id, partitions }
    });
    respond(reply.head, &OffsetCommitResponse { topics: topics.collect(), ..Default::default() })
}

/// One entry a topic, in the order in which they come; what was refused here and what was decided there come together.
fn by_topic<'a>(
    results: impl Iterator<Item = &'a TopicResult>,
    by_id: bool,
) -> Vec<(&'a TopicResult, Vec<PartitionResult>)> {
    let mut places = BTreeMap::new();
    let mut topics: Vec<(&TopicResult, Vec<PartitionResult>)> = Vec::new();
    for it in results {
        let key = if by_id { ("", it.id) } else { (&*it.name, Uuid::default()) };
        let place = *places.entry(key).or_insert(topics.len());
        if place == topics.len() {
            topics.push((it, Vec::new()));
        }
        topics[place].1.extend_from_slice(&it.partitions);
    }
    topics
}

pub(super) fn fetch(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let version = reply.head.api_version;
    let wire = OffsetFetchRequest::decode(&mut request.reader(), version)?;
    let require_stable = wire.require_stable;
    let groups = groups_of(wire, version);
    let topics = || groups.iter().flat_map(|group| group.topics.iter().flatten());
    let mut gathered = GroupAnswers::default();
    if version < GROUP_CODE {
        let asked = topics().map(|it| (Arc::from(it.name), it.partition_indexes.clone()));
        gathered.about = About::Partitions(asked.collect());
    }
    let named: Vec<_> = topics().map(|it| named(broker, it, version)).collect();
    let mut named = named.iter();
    let mut requests = Vec::with_capacity(groups.len());
    // Each but once: what is told of a partition may be long.
    let mut seen = BTreeSet::new();
    for group in &groups {
        let mut absent = Vec::new();
        let topics = group.topics.as_ref().map(|topics| {
            let wanted = topics.iter().filter_map(|it| match named.next().expect("each topic has its place") {
                Some((name, id)) => {
                    let is_new = |partition: &i32| seen.insert((group.group_id, &**name, *partition));
                    let partitions = it.partition_indexes.iter().copied().filter(is_new).collect();
                    Some(FetchTopic { name, id: *id, partitions })
                }
                None => {
                    absent.push(unknown_topic(it));
                    None
                }
            });
            wanted.collect()
        });
        if !absent.is_empty() {
            let answer = FetchOffsetsAnswer { group: group.group_id.into(), error: ErrorCode::NONE, topics: absent };
            gathered.answers.push(Said::FetchOffsets(answer));
        }
        let FetchGroup { group_id: group, member_id, member_epoch, .. } = *group;
        requests.push(Request::FetchOffsets(FetchOffsetsRequest {
            group,
            member_id,
            member_epoch,
            require_stable,
            topics,
        }));
    }
    broker.ask_groups(now, ticket, &requests, gathered, out);
    Ok(None)
}

/// The groups as the newer versions have them.
fn groups_of(wire: OffsetFetchRequest<'_>, version: i16) -> Vec<FetchGroup<'_>> {
    if version >= MANY_GROUPS {
        // Who asks for all that a group has committed needs to be told once.
        let mut all = BTreeSet::new();
        let is_new = |group: &FetchGroup<'_>| group.topics.is_some() || all.insert(group.group_id.to_owned());
        return wire.groups.into_iter().filter(is_new).collect();
    }
    let topics = wire.topics.map(|topics| {
        let topics = topics.into_iter().map(|it| OffsetFetchRequestTopics {
            name: it.name,
            topic_id: Uuid::default(),
            partition_indexes: it.partition_indexes,
        });
        topics.collect()
    });
    vec![FetchGroup { group_id: wire.group_id, topics, ..Default::default() }]
}

/// Name and id of a topic: a topic that was made anew is not to be told the offsets of the one before, even if it is
/// asked for by name. `None`: it is asked for by an id that nobody has.
fn named(broker: &Broker, it: &OffsetFetchRequestTopics<'_>, version: i16) -> Option<(Arc<str>, Uuid)> {
    if version < BY_ID {
        return Some((it.name.into(), broker.topic(it.name).map_or_else(Uuid::default, |topic| topic.id)));
    }
    broker.image().topic_by_id(it.topic_id).map(|topic| (Arc::clone(&topic.name), topic.id))
}

fn unknown_topic(it: &OffsetFetchRequestTopics<'_>) -> FetchedTopic {
    let nothing = |&partition: &i32| nothing(partition, ErrorCode::UNKNOWN_TOPIC_ID);
    let partitions = it.partition_indexes.iter().map(nothing).collect();
    FetchedTopic { name: "".into(), id: it.topic_id, partitions }
}

/// No offset.
fn nothing(partition: i32, error: ErrorCode) -> FetchedOffset {
    FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: "".into(), error }
}

pub(super) fn encode_fetched(broker: &Broker, reply: Reply, said: &GroupAnswers) -> Answer {
    let version = reply.head.api_version;
    let mut groups: Vec<OffsetFetchResponseGroup<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for it in &said.answers {
        let Said::FetchOffsets(it) = it else { continue };
        let place = *places.entry(&*it.group).or_insert(groups.len());
        if place == groups.len() {
            groups.push(OffsetFetchResponseGroup { group_id: &it.group, ..Default::default() });
        }
        let group = &mut groups[place];
        if it.error.is_error() {
            group.error_code = it.error;
        }
        group.topics.extend(it.topics.iter().filter_map(|topic| fetched_topic(broker, topic, version)));
    }
    for group in groups.iter_mut().filter(|group| group.error_code.is_error()) {
        group.topics.clear();
    }
    if version >= MANY_GROUPS {
        return respond(reply.head, &OffsetFetchResponse { groups, ..Default::default() });
    }
    let group = groups.pop().unwrap_or_default();
    let refused = if group.error_code.is_error() { refused_topics(&said.about, group.error_code) } else { Vec::new() };
    let topics = group.topics.into_iter().chain(refused).map(|it| OffsetFetchResponseTopic {
        name: it.name,
        partitions: it.partitions.iter().map(old_partition).collect(),
    });
    let body = OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    };
    respond(reply.head, &body)
}

/// A topic as it is told; `None` if it was asked for with all the others, by somebody who must have its id, and is
/// no more.
fn fetched_topic<'a>(broker: &Broker, it: &'a FetchedTopic, version: i16) -> Option<OffsetFetchResponseTopics<'a>> {
    let known = || broker.topic(&it.name).map(|topic| topic.id);
    let topic_id = if version >= BY_ID && it.id.is_zero() { known()? } else { it.id };
    let partitions = it.partitions.iter().map(|it| OffsetFetchResponsePartitions {
        partition_index: it.partition,
        committed_offset: it.offset,
        committed_leader_epoch: it.leader_epoch,
        metadata: Some(&it.metadata),
        error_code: it.error,
    });
    Some(OffsetFetchResponseTopics { name: &it.name, topic_id, partitions: partitions.collect() })
}

/// For a version without a code for the group: each partition that was asked for is told it.
fn refused_topics(about: &About, error_code: ErrorCode) -> Vec<OffsetFetchResponseTopics<'_>> {
    let About::Partitions(asked) = about else { return Vec::new() };
    let refused = |partition_index: &i32| OffsetFetchResponsePartitions {
        partition_index: *partition_index,
        committed_offset: -1,
        metadata: Some(""),
        error_code,
        ..Default::default()
    };
    let topics = asked.iter().map(|(name, partitions)| OffsetFetchResponseTopics {
        name,
        partitions: partitions.iter().map(refused).collect(),
        ..Default::default()
    });
    topics.collect()
}

fn old_partition<'a>(it: &OffsetFetchResponsePartitions<'a>) -> OffsetFetchResponsePartition<'a> {
    OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
    }
}

pub(super) fn delete(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = OffsetDeleteRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let (mut topics, mut refused) = (Vec::new(), Vec::new());
    for it in &wire.topics {
        let known = Known::of(broker, it.name, Uuid::default());
        let exists = |partition: &i32| known.as_ref().is_some_and(|known| known.has(*partition));
        let partitions = it.partitions.iter().map(|it| it.partition_index);
        let (there, absent): (Vec<i32>, Vec<i32>) = partitions.partition(exists);
        if !there.is_empty() {
            topics.push((it.name, there));
        }
        if !absent.is_empty() {
            let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            let partitions = absent.into_iter().map(|partition| PartitionResult { partition, error });
            refused.push(TopicResult { name: it.name.into(), id: Uuid::default(), partitions: partitions.collect() });
        }
    }
    let gathered = Said::DeleteOffsets(DeleteOffsetsAnswer { error: ErrorCode::NONE, topics: refused });
    let gathered = GroupAnswers { answers: vec![gathered], about: About::Nothing };
    let request = Request::DeleteOffsets(DeleteOffsetsRequest { group: wire.group_id, topics });
    broker.ask_groups(now, ticket, &[request], gathered, out);
    Ok(None)
}

pub(super) fn encode_deleted(reply: Reply, said: &GroupAnswers) -> Answer {
    let said = said.answers.iter().filter_map(|it| if let Said::DeleteOffsets(it) = it { Some(it) } else { None });
    let said: Vec<&DeleteOffsetsAnswer> = said.collect();
    if let Some(refused) = said.iter().find(|it| it.error.is_error()) {
        return respond(reply.head, &OffsetDeleteResponse { error_code: refused.error, ..Default::default() });
    }
    let topics = by_topic(said.into_iter().flat_map(|it| &it.topics), false).into_iter().map(|(topic, partitions)| {
        let partitions = partitions
            .into_iter()
            .map(|it| OffsetDeleteResponsePartition { partition_index: it.partition, error_code: it.error })
            .collect();
        OffsetDeleteResponseTopic { name: &topic.name, partitions }
    });
    respond(reply.head, &OffsetDeleteResponse { topics: topics.collect(), ..Default::default() })
}
