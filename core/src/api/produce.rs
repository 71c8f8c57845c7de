//! Produce (0): record batches for partitions, versions 3 to 13.
//!
//! Topics are named up to version 12 and go by id from 13 on (KIP-516). From 8 on a refusal names the record
//! (KIP-467), from 10 on a misdirected producer is told the leader (KIP-951). With acks=0 there is no
//! response; an error closes the connection, which is all that such a producer can be told.

use std::time::Duration;

use ottla_wire::api::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceRequest as Wire,
    ProduceResponse, TopicProduceResponse,
};
use ottla_wire::{ErrorCode, Message};

use super::{Call, Handled, Reply, respond};
use crate::broker::{Broker, ProduceBatch, ProduceRequest, Produced};
use crate::machine::Answer;

pub(super) fn handle(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, out, .. } = call;
    let wire = Wire::decode(&mut request.reader(), request.head.api_version)?;
    let scanned = request.scanned.iter().flat_map(|scanned| scanned.iter()).cloned();
    let partitions = wire.topic_data.iter().flat_map(|topic| topic.partition_data.iter().map(move |it| (topic, it)));
    let batches = partitions.zip(scanned).map(|((topic, partition), scanned)| {
        let records = partition.records.and_then(|records| records.as_slice()).unwrap_or_default();
        ProduceBatch {
            topic: broker.topic_ref(topic.name, topic.topic_id),
            partition: partition.index,
            // An empty slice lies in no frame.
            bytes: if records.is_empty() { bytes::Bytes::new() } else { request.frame.slice_ref(records) },
            scanned,
        }
    });
    let batches = batches.collect();
    let timeout = Duration::from_millis(u64::try_from(wire.timeout_ms).unwrap_or(0));
    broker.produce(
        now,
        ProduceRequest { ticket, acks: wire.acks, version: request.head.api_version, timeout, batches },
        out,
    );
    Ok(None)
}

pub(super) fn encode(broker: &Broker, reply: Reply, produced: &[Produced], acks: i16) -> Answer {
    if acks == 0 {
        let failed = produced.iter().any(|it| it.error != ErrorCode::NONE);
        return if failed { Answer::Close } else { Answer::Nothing };
    }
    let mut responses: Vec<TopicProduceResponse<'_>> = Vec::new();
    for it in produced {
        let partition = partition_response(broker, it);
        match responses.last_mut() {
            Some(topic) if topic.name == &*it.topic.name && topic.topic_id == it.topic.id => {
                topic.partition_responses.push(partition);
            }
            _ => responses.push(TopicProduceResponse {
                name: &it.topic.name,
                topic_id: it.topic.id,
                partition_responses: vec![partition],
            }),
        }
    }
    let misdirected = produced.iter().any(|it| it.error == ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let endpoints = broker.endpoints(reply.listener).filter(|_| misdirected);
    let node_endpoints =
        endpoints.map(|it| NodeEndpoint { node_id: it.id.0, host: it.host, port: i32::from(it.port), rack: it.rack });
    let body = ProduceResponse { responses, node_endpoints: node_endpoints.collect(), ..Default::default() };
    respond(reply.head, &body)
}

fn partition_response<'a>(broker: &Broker, it: &'a Produced) -> PartitionProduceResponse<'a> {
    let record_errors = it.record_errors.iter().map(|error| BatchIndexAndErrorMessage {
        batch_index: error.batch_index,
        batch_index_error_message: Some(&error.message),
    });
    let leader = (it.error == ErrorCode::NOT_LEADER_OR_FOLLOWER).then(|| broker.leader_of(&it.topic, it.partition));
    let current_leader = leader.flatten().map_or_else(LeaderIdAndEpoch::default, |(leader, epoch)| LeaderIdAndEpoch {
        leader_id: leader.0,
        leader_epoch: epoch.0,
    });
    PartitionProduceResponse {
        index: it.partition,
        error_code: it.error,
        base_offset: it.base_offset.0,
        log_append_time_ms: it.log_append_time,
        log_start_offset: it.log_start.0,
        record_errors: record_errors.collect(),
        error_message: it.message.as_deref(),
        current_leader,
    }
}
