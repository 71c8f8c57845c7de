//! InitProducerId (22) and DescribeProducers (61).
//!
//! Idempotent producers get a fresh id each time. Transactional ids need a transaction coordinator, which there is not
//! yet: FindCoordinator finds none, so no client gets as far as this.

use std::collections::BTreeSet;

use ottla_wire::api::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ottla_wire::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, respond};
use crate::machine::Answer;

pub(super) fn init(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = InitProducerIdRequest::decode(&mut request.reader(), reply.head.api_version)?;
    if wire.transactional_id.is_some() {
        let body = InitProducerIdResponse { error_code: ErrorCode::NOT_COORDINATOR, ..Default::default() };
        return Ok(Some(respond(reply.head, &body)));
    }
    broker.init_producer_id(now, ticket, out);
    Ok(None)
}

pub(super) fn encode_init(reply: Reply, producer_id: i64) -> Answer {
    respond(reply.head, &InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() })
}

pub(super) fn describe(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeProducersRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let mut seen = BTreeSet::new();
    let topics = wire.topics.iter().map(|topic| {
        let topic_ref = broker.topic_ref(topic.name, Uuid::default());
        // Each but once: no answer is greater than what there is to tell.
        let asked = topic.partition_indexes.iter().copied().filter(|index| seen.insert((topic.name, *index)));
        let partitions = asked.map(|partition_index| match broker.describe_producers(&topic_ref, partition_index) {
            Err(error_code) => PartitionResponse { partition_index, error_code, ..Default::default() },
            Ok(producers) => {
                let active_producers = producers.into_iter().map(|it| ProducerState {
                    producer_id: it.producer_id,
                    producer_epoch: i32::from(it.producer_epoch),
                    last_sequence: it.last_sequence,
                    last_timestamp: it.last_timestamp,
                    coordinator_epoch: it.coordinator_epoch,
                    current_txn_start_offset: it.current_txn_start_offset.map_or(-1, |offset| offset.0),
                });
                let active_producers = active_producers.collect();
                PartitionResponse { partition_index, active_producers, ..Default::default() }
            }
        });
        TopicResponse { name: topic.name, partitions: partitions.collect() }
    });
    let topics = topics.collect();
    Ok(Some(respond(reply.head, &DescribeProducersResponse { topics, ..Default::default() })))
}
