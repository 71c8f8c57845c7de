//! CreateTopics (19), DeleteTopics (20), CreatePartitions (37), DeleteRecords (21).
//!
//! Each item of a request stands or falls by itself. CreateTopics tells the settings from version 5 on (KIP-525) and
//! the topic's id from 7 on; DeleteTopics takes ids from version 6 on.

use std::time::Duration;

use ottla_wire::api::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_wire::api::create_topics::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::api::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_wire::api::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, respond};
use crate::broker::{Broker, DeletedRecords, DeletedTopic};
use crate::config::describe_topic;
use crate::controller::{CreatedTopic, MorePartitions, NewTopic, Refused, TopicChoice};
use crate::machine::Answer;
use crate::types::Offset;

pub(super) fn create_topics(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = CreateTopicsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let topics = wire.topics.iter().map(|topic| NewTopic {
        name: topic.name.to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(|it| (it.partition_index, it.broker_ids.clone())).collect(),
        configs: topic.configs.iter().map(|it| (it.name.to_owned(), it.value.map(str::to_owned))).collect(),
    });
    let topics = topics.collect();
    broker.create_topics(now, ticket, topics, wire.validate_only, out);
    Ok(None)
}

pub(super) fn encode_created(
    broker: &Broker,
    reply: Reply,
    results: &[(String, Result<CreatedTopic, Refused>)],
) -> Answer {
    let described: Vec<_> = results
        .iter()
        .map(|(_, result)| match result {
            Ok(created) => describe_topic(&created.overrides, &broker.config().broker.layers),
            Err(_) => Vec::new(),
        })
        .collect();
    let topics = results.iter().zip(&described).map(|((name, result), described)| match result {
        Ok(created) => CreatableTopicResult {
            name,
            topic_id: created.id,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: Some(
                described
                    .iter()
                    .map(|it| CreatableTopicConfigs {
                        name: it.key.0.name,
                        value: it.value.as_deref(),
                        read_only: it.key.0.is_read_only(),
                        config_source: it.source as i8,
                        is_sensitive: it.key.0.is_sensitive(),
                    })
                    .collect(),
            ),
            ..Default::default()
        },
        Err(refused) => CreatableTopicResult {
            name,
            error_code: refused.code,
            error_message: Some(&refused.message),
            ..Default::default()
        },
    });
    respond(reply.head, &CreateTopicsResponse { topics: topics.collect(), ..Default::default() })
}

pub(super) fn delete_topics(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = DeleteTopicsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let by_name = wire.topic_names.iter().map(|name| TopicChoice::Name((*name).to_owned()));
    let either = wire.topics.iter().map(|it| match it.name {
        Some(name) => TopicChoice::Name(name.to_owned()),
        None => TopicChoice::Id(it.topic_id),
    });
    broker.delete_topics(now, ticket, by_name.chain(either).collect(), out);
    Ok(None)
}

pub(super) fn encode_deleted(reply: Reply, results: &[(TopicChoice, Result<DeletedTopic, Refused>)]) -> Answer {
    let responses = results.iter().map(|(choice, result)| match (choice, result) {
        (_, Ok((name, id))) => DeletableTopicResult { name: Some(name), topic_id: *id, ..Default::default() },
        (TopicChoice::Name(name), Err(refused)) => DeletableTopicResult {
            name: Some(name),
            error_code: refused.code,
            error_message: Some(&refused.message),
            ..Default::default()
        },
        (TopicChoice::Id(id), Err(refused)) => DeletableTopicResult {
            name: None,
            topic_id: *id,
            error_code: refused.code,
            error_message: Some(&refused.message),
        },
    });
    respond(reply.head, &DeleteTopicsResponse { responses: responses.collect(), ..Default::default() })
}

pub(super) fn create_partitions(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = CreatePartitionsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let topics = wire.topics.iter().map(|topic| MorePartitions {
        name: topic.name.to_owned(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|it| it.iter().map(|it| it.broker_ids.clone()).collect()),
    });
    let topics = topics.collect();
    broker.create_partitions(now, ticket, topics, wire.validate_only, out);
    Ok(None)
}

pub(super) fn encode_partitions(reply: Reply, results: &[(String, Result<(), Refused>)]) -> Answer {
    let results = results.iter().map(|(name, result)| CreatePartitionsTopicResult {
        name,
        error_code: result.as_ref().err().map_or(ErrorCode::NONE, |refused| refused.code),
        error_message: result.as_ref().err().map(|refused| &*refused.message),
    });
    respond(reply.head, &CreatePartitionsResponse { results: results.collect(), ..Default::default() })
}

pub(super) fn delete_records(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = DeleteRecordsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let partitions = wire.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |it| (topic.name, it)));
    let partitions =
        partitions.map(|(name, it)| (broker.topic_ref(name, Uuid::default()), it.partition_index, Offset(it.offset)));
    let partitions = partitions.collect();
    let timeout = Duration::from_millis(u64::try_from(wire.timeout_ms).unwrap_or(0));
    broker.delete_records(now, ticket, (partitions, timeout), out);
    Ok(None)
}

pub(super) fn encode_deleted_records(reply: Reply, deleted: &[DeletedRecords]) -> Answer {
    let mut topics: Vec<DeleteRecordsTopicResult<'_>> = Vec::new();
    for it in deleted {
        let partition = DeleteRecordsPartitionResult {
            partition_index: it.partition,
            low_watermark: it.low_watermark.0,
            error_code: it.error,
        };
        match topics.last_mut() {
            Some(topic) if topic.name == &*it.topic.name => topic.partitions.push(partition),
            _ => topics.push(DeleteRecordsTopicResult { name: &it.topic.name, partitions: vec![partition] }),
        }
    }
    respond(reply.head, &DeleteRecordsResponse { topics, ..Default::default() })
}
