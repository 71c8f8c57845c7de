//! Fetch (1): records of partitions, versions 4 to 18.
//!
//! Sessions from version 7 on (KIP-227), leader epochs from 9 on (KIP-320), racks from 11 on (KIP-392), diverging
//! epochs from 12 on (KIP-595), topics by id from 13 on (KIP-516). The response's buffers are cut where records belong,
//! and the records go out as file ranges: they never pass through here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::api::fetch::{
    EpochEndOffset, FetchRequest as Wire, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use ottla_wire::frame::encode_response;
use ottla_wire::{ErrorCode, Message, Records, Uuid, Writer};

use super::{Call, Handled, Reply, quorum};
use crate::broker::{Broker, ClientMetadata, FetchOutcome, FetchRequest, Fetched, Follower};
use crate::machine::{Answer, Part};
use crate::replication::SessionPartition;
use crate::types::{BrokerEpoch, BrokerId, Offset};

const READ_COMMITTED: i8 = 1;
/// From here on consumers name their rack, and may read from followers (KIP-392).
const FIRST_WITH_RACK: i16 = 11;

pub(super) fn handle(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, peer, out } = call;
    let wire = Wire::decode(&mut request.reader(), request.head.api_version)?;
    if broker.is_controller_listener(reply.listener) && quorum::is_metadata_fetch(&wire) {
        let call = Call { broker, now, ticket, request, reply, peer, out };
        return quorum::fetch(call, &wire);
    }
    if !broker.is_running() {
        return Ok(Some(Answer::Close));
    }
    let mut partitions = Vec::new();
    for topic in &wire.topics {
        let (name, id) = named(broker, topic.topic, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|it| {
            let mut partition = SessionPartition::new(Arc::clone(&name), id, it.partition);
            partition.fetch_offset = Offset(it.fetch_offset);
            partition.max_bytes = it.partition_max_bytes;
            partition.current_leader_epoch = it.current_leader_epoch;
            partition.last_fetched_epoch = it.last_fetched_epoch;
            partition.counted = Offset(it.counted_offset);
            partition.log_start = Offset(it.log_start_offset);
            partition
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &wire.forgotten_topics_data {
        let (name, id) = named(broker, topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|it| SessionPartition::new(Arc::clone(&name), id, *it)));
    }
    let id = if wire.replica_id >= 0 { wire.replica_id } else { wire.replica_state.replica_id };
    let is_consumer = id < 0 && request.head.api_version >= FIRST_WITH_RACK;
    let fetch = FetchRequest {
        ticket,
        max_wait: Duration::from_millis(u64::try_from(wire.max_wait_ms).unwrap_or(0)),
        min_bytes: u64::try_from(wire.min_bytes).unwrap_or(0),
        max_bytes: u32::try_from(wire.max_bytes).unwrap_or(0),
        read_committed: wire.isolation_level == READ_COMMITTED,
        session: (wire.session_id, wire.session_epoch),
        partitions,
        forgotten,
        follower: (id >= 0)
            .then_some(Follower { id: BrokerId(id), epoch: BrokerEpoch(wire.replica_state.replica_epoch) }),
        client: is_consumer.then(|| ClientMetadata { rack: wire.rack_id.into(), listener: reply.listener }),
    };
    broker.fetch(now, fetch, out);
    Ok(None)
}

pub(super) fn encode(broker: &Broker, reply: Reply, outcome: &FetchOutcome) -> Answer {
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    for it in &outcome.partitions {
        let partition = partition_data(broker, it);
        match responses.last_mut() {
            Some(topic) if topic.topic == &*it.topic.name && topic.topic_id == it.topic.id => {
                topic.partitions.push(partition);
            }
            _ => responses.push(FetchableTopicResponse {
                topic: &it.topic.name,
                topic_id: it.topic.id,
                partitions: vec![partition],
            }),
        }
    }
    let body =
        FetchResponse { error_code: outcome.error, session_id: outcome.session_id, responses, ..Default::default() };
    let mut writer = Writer::new();
    encode_response(&mut writer, reply.head.api_key, reply.head.api_version, reply.head.correlation_id, &body);
    Answer::Parts(parts(writer, outcome))
}

fn partition_data<'a>(broker: &Broker, it: &Fetched) -> PartitionData<'a> {
    let misdirected = matches!(it.error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
    let leader = misdirected.then(|| broker.leader_of(&it.topic, it.partition)).flatten();
    let current_leader = leader.map_or_else(LeaderIdAndEpoch::default, |(leader, epoch)| LeaderIdAndEpoch {
        leader_id: leader.0,
        leader_epoch: epoch.0,
    });
    let diverging_epoch = it
        .diverging
        .map_or_else(EpochEndOffset::default, |(epoch, end)| EpochEndOffset { epoch: epoch.0, end_offset: end.0 });
    PartitionData {
        partition_index: it.partition,
        error_code: it.error,
        high_watermark: it.high_watermark.0,
        last_stable_offset: it.last_stable.0,
        log_start_offset: it.log_start.0,
        records: Some(it.records.map_or(Records::EMPTY, |range| Records::External { len: range.len })),
        current_leader,
        diverging_epoch,
        preferred_read_replica: it.preferred.map_or(-1, |id| id.0),
        ..Default::default()
    }
}

/// Cuts the response where records belong, and puts their ranges there.
fn parts(writer: Writer, outcome: &FetchOutcome) -> Vec<Part> {
    let (bytes, splits) = writer.into_parts();
    let mut rest = Bytes::from(bytes);
    let mut parts = Vec::with_capacity(2 * splits.len() + 1);
    let mut taken = 0;
    let ranges = outcome.partitions.iter().filter_map(|it| Some((it.records.filter(|range| range.len > 0)?, &it.pin)));
    for (split, (range, pin)) in splits.iter().zip(ranges) {
        parts.push(Part::Bytes(rest.split_to(split.position - taken)));
        parts.push(Part::Range(range, pin.clone()));
        taken = split.position;
    }
    if !rest.is_empty() {
        parts.push(Part::Bytes(rest));
    }
    parts
}

/// The topic as its session remembers it: by its id if it was given one, and then with the name, if there is one.
fn named(broker: &Broker, name: &str, id: Uuid) -> (Arc<str>, Uuid) {
    let topic = broker.topic_ref(name, id);
    (topic.name, id)
}
