//! ListOffsets (2), by time, and OffsetForLeaderEpoch (23), by leader epoch.
//!
//! -1 is the end that a consumer may read to, -2 the log's start, -3 the record with the greatest timestamp (from
//! version 7 on); any other is the first record at or after that time. The tiers (-4, -5, -6) answer as for a log
//! that is all local.

use ottla_wire::api::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest as Wire, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_wire::api::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, respond};
use crate::broker::{ListOffset, Listed, OffsetSpec};
use crate::machine::Answer;
use crate::types::LeaderEpoch;

const READ_COMMITTED: i8 = 1;

pub(super) fn handle(call: Call<'_>) -> Handled {
    let Call { broker, ticket, request, out, .. } = call;
    let wire = Wire::decode(&mut request.reader(), request.head.api_version)?;
    let read_committed = wire.isolation_level == READ_COMMITTED;
    let mut wanted = Vec::new();
    for topic in &wire.topics {
        let topic_ref = broker.topic_ref(topic.name, Uuid::default());
        wanted.extend(topic.partitions.iter().map(|it| ListOffset {
            topic: topic_ref.clone(),
            partition: it.partition_index,
            current_leader_epoch: it.current_leader_epoch,
            spec: spec(it.timestamp, request.head.api_version),
            read_committed,
        }));
    }
    broker.list_offsets(ticket, wanted, out);
    Ok(None)
}

const fn spec(timestamp: i64, version: i16) -> OffsetSpec {
    match timestamp {
        -1 => OffsetSpec::Latest,
        -2 => OffsetSpec::Earliest,
        -3 if version >= 7 => OffsetSpec::MaxTimestamp,
        -4 if version >= 8 => OffsetSpec::Earliest,
        -5 if version >= 9 => OffsetSpec::LatestTiered,
        -6 if version >= 11 => OffsetSpec::Earliest,
        at if at >= 0 => OffsetSpec::AtOrAfter(at),
        _ => OffsetSpec::Unsupported,
    }
}

/// Before version 5 there is no word for a leader that does not know its watermark yet (KIP-207).
const fn error_code(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::OFFSET_NOT_AVAILABLE if version < 5 => ErrorCode::LEADER_NOT_AVAILABLE,
        error => error,
    }
}

pub(super) fn encode(reply: Reply, listed: &[Listed]) -> Answer {
    let mut topics: Vec<ListOffsetsTopicResponse<'_>> = Vec::new();
    for it in listed {
        let partition = ListOffsetsPartitionResponse {
            partition_index: it.partition,
            error_code: error_code(it.error, reply.head.api_version),
            timestamp: it.timestamp,
            offset: it.offset.0,
            leader_epoch: it.leader_epoch.0,
        };
        match topics.last_mut() {
            Some(topic) if topic.name == &*it.topic.name => topic.partitions.push(partition),
            _ => topics.push(ListOffsetsTopicResponse { name: &it.topic.name, partitions: vec![partition] }),
        }
    }
    respond(reply.head, &ListOffsetsResponse { topics, ..Default::default() })
}

pub(super) fn handle_epochs(call: Call<'_>) -> Handled {
    let Call { broker, request, .. } = call;
    let wire = OffsetForLeaderEpochRequest::decode(&mut request.reader(), request.head.api_version)?;
    let mut topics = Vec::with_capacity(wire.topics.len());
    for topic in &wire.topics {
        let topic_ref = broker.topic_ref(topic.topic, Uuid::default());
        let partitions = topic.partitions.iter().map(|it| {
            let asked = LeaderEpoch(it.leader_epoch);
            let found = broker.end_of_epoch(&topic_ref, it.partition, it.current_leader_epoch, asked);
            let (error_code, leader_epoch, end_offset) = match found {
                Ok((epoch, end)) => (ErrorCode::NONE, epoch.0, end.0),
                Err(error) => (error, -1, -1),
            };
            EpochEndOffset { error_code, partition: it.partition, leader_epoch, end_offset }
        });
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions: partitions.collect() });
    }
    Ok(Some(respond(request.head, &OffsetForLeaderEpochResponse { topics, ..Default::default() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_client_is_told_in_words_that_it_knows() {
        let told = |version| error_code(ErrorCode::OFFSET_NOT_AVAILABLE, version);
        assert_eq!((told(4), told(5)), (ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::OFFSET_NOT_AVAILABLE));
        assert_eq!(error_code(ErrorCode::FENCED_LEADER_EPOCH, 4), ErrorCode::FENCED_LEADER_EPOCH);
    }
}
