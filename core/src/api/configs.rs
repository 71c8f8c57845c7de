//! DescribeConfigs (32), AlterConfigs (33), IncrementalAlterConfigs (44), ListConfigResources (74), for topics,
//! brokers and groups.
//!
//! DescribeConfigs tells synonyms from version 1 on (KIP-226), types and docs from 3 on (KIP-569). ListConfigResources
//! lists more than client metrics from version 1 on (KIP-1142).

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::api::alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};
use ottla_wire::api::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::api::incremental_alter_configs as incremental;
use ottla_wire::api::list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::{ApiKey, ErrorCode, Message};

use super::{Call, Handled, Reply, once, respond};
use crate::broker::Broker;
use crate::config::{Described, describe_broker, describe_cluster_default, describe_group, describe_topic};
use crate::controller::{Alteration, ConfigChange, Operation, Refused, ResourceKind};
use crate::machine::Answer;

pub(super) fn describe(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeConfigsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let wanted = wanted(&wire.resources);
    let resources = once(&wire.resources, |it| (it.resource_type, it.resource_name));
    let described = resources.iter().map(|resource| {
        let mut rows = describe_resource(broker, resource.resource_type, resource.resource_name)?;
        let wanted = &wanted[&(resource.resource_type, resource.resource_name)];
        rows.retain(|row| wanted.as_ref().is_none_or(|names| names.contains(row.key.0.name)));
        Ok(rows)
    });
    let described: Vec<Result<Vec<Described>, Refused>> = described.collect();
    let results = resources.iter().zip(&described).map(|(resource, described)| {
        let rows = described.iter().flatten();
        DescribeConfigsResult {
            error_code: described.as_ref().err().map_or(ErrorCode::NONE, |refused| refused.code),
            error_message: described.as_ref().err().map(|refused| &*refused.message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: rows.map(|row| setting(row, wire.include_synonyms, wire.include_documentation)).collect(),
        }
    });
    Ok(Some(respond(reply.head, &DescribeConfigsResponse { results: results.collect(), ..Default::default() })))
}

/// The settings that are asked for of each resource, which is told once; `None`: all.
fn wanted<'a>(resources: &[DescribeConfigsResource<'a>]) -> BTreeMap<(i8, &'a str), Option<BTreeSet<&'a str>>> {
    let mut wanted = BTreeMap::new();
    for it in resources {
        let keys = wanted.entry((it.resource_type, it.resource_name)).or_insert_with(|| Some(BTreeSet::new()));
        match it.configuration_keys.as_ref().filter(|named| !named.is_empty()) {
            Some(named) => keys.iter_mut().for_each(|keys| keys.extend(named)),
            None => *keys = None,
        }
    }
    wanted
}

fn describe_resource(broker: &Broker, kind: i8, name: &str) -> Result<Vec<Described>, Refused> {
    let config = &broker.config().broker;
    match ResourceKind::from_code(kind) {
        Some(ResourceKind::Topic) if broker.topic(name).is_none() => {
            let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            Err(Refused::new(code, code.message()))
        }
        Some(ResourceKind::Topic) => {
            let overrides = broker.image().overrides(ResourceKind::Topic, name).cloned().unwrap_or_default();
            Ok(describe_topic(&overrides, &config.layers))
        }
        Some(ResourceKind::Broker) if name.is_empty() => Ok(describe_cluster_default(&config.layers.cluster)),
        Some(ResourceKind::Broker) if name == config.node.id.to_string() => Ok(describe_broker(&config.layers)),
        Some(ResourceKind::Broker) => {
            let why = format!("Unexpected broker id, expected {} or empty string, but received {name}", config.node.id);
            Err(Refused::new(ErrorCode::INVALID_REQUEST, why))
        }
        Some(ResourceKind::Group) if name.is_empty() => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "Group name must not be empty"))
        }
        Some(ResourceKind::Group) => {
            let overrides = broker.image().overrides(ResourceKind::Group, name).cloned().unwrap_or_default();
            Ok(describe_group(&overrides, &config.layers))
        }
        None => Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {kind}"))),
    }
}

fn setting(row: &Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult<'_> {
    let key = row.key.0;
    let synonyms = row.synonyms.iter().filter(|_| synonyms).map(|it| DescribeConfigsSynonym {
        name: it.name,
        value: it.value.as_deref(),
        source: it.source as i8,
    });
    DescribeConfigsResourceResult {
        name: key.name,
        value: row.value.as_deref(),
        read_only: key.is_read_only(),
        config_source: row.source as i8,
        is_sensitive: key.is_sensitive(),
        synonyms: synonyms.collect(),
        config_type: key.kind.wire_type(),
        documentation: documentation.then_some(key.doc),
    }
}

/// The kinds of resources that a client may ask for, by version. Of broker loggers and client metrics there are
/// none here.
const LISTED: [&[i8]; 2] = [&[16], &[2, 4, 8, 16, 32]];

pub(super) fn list(call: &Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let version = reply.head.api_version;
    let wanted = ListConfigResourcesRequest::decode(&mut request.reader(), version)?.resource_types;
    let known = LISTED[usize::from(version > 0)];
    let error_code =
        if wanted.iter().all(|kind| known.contains(kind)) { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_VERSION };
    let is_wanted = |kind: &i8| (wanted.is_empty() || wanted.contains(kind)) && error_code == ErrorCode::NONE;
    let mut listed: Vec<(i8, String)> = Vec::new();
    for &kind in known.iter().filter(|kind| is_wanted(kind)) {
        match ResourceKind::from_code(kind) {
            Some(ResourceKind::Topic) => {
                listed.extend(broker.image().topics().map(|topic| (kind, topic.name.to_string())));
            }
            Some(ResourceKind::Broker) => {
                listed.extend(broker.image().brokers().map(|(id, _)| (kind, id.0.to_string())));
            }
            Some(ResourceKind::Group) => {
                let groups = broker.image().configs(ResourceKind::Group).keys();
                listed.extend(groups.map(|name| (kind, name.to_string())));
            }
            None => {}
        }
    }
    let config_resources =
        listed.iter().map(|(kind, name)| ConfigResource { resource_name: name, resource_type: *kind }).collect();
    Ok(Some(respond(reply.head, &ListConfigResourcesResponse { error_code, config_resources, ..Default::default() })))
}

pub(super) fn alter(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = AlterConfigsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let alterations = wire.resources.iter().map(|resource| {
        // A null value is the default, which is what settings that are not named go back to.
        let set = resource.configs.iter().filter(|it| it.value.is_some());
        let changes = set.map(|it| change(it.name, Operation::Set, it.value));
        Alteration {
            kind: resource.resource_type,
            name: resource.resource_name.to_owned(),
            changes: changes.collect(),
            replaces: true,
        }
    });
    let alterations = alterations.collect();
    broker.alter_configs(now, ticket, alterations, wire.validate_only, out);
    Ok(None)
}

pub(super) fn alter_incrementally(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = incremental::IncrementalAlterConfigsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let alterations = wire.resources.iter().map(|resource| {
        let changes = resource.configs.iter().map(|it| {
            // An operation that nobody knows is refused like a value that is missing.
            let operation = Operation::from_code(it.config_operation);
            change(it.name, operation.unwrap_or(Operation::Set), it.value.filter(|_| operation.is_some()))
        });
        Alteration {
            kind: resource.resource_type,
            name: resource.resource_name.to_owned(),
            changes: changes.collect(),
            replaces: false,
        }
    });
    let alterations = alterations.collect();
    broker.alter_configs(now, ticket, alterations, wire.validate_only, out);
    Ok(None)
}

fn change(name: &str, operation: Operation, value: Option<&str>) -> ConfigChange {
    ConfigChange { name: name.to_owned(), operation, value: value.map(str::to_owned) }
}

pub(super) fn encode_altered(reply: Reply, results: &[(i8, String, Result<(), Refused>)]) -> Answer {
    let code = |result: &Result<(), Refused>| result.as_ref().err().map_or(ErrorCode::NONE, |refused| refused.code);
    if reply.head.api_key == ApiKey::AlterConfigs {
        let responses = results.iter().map(|(kind, name, result)| AlterConfigsResourceResponse {
            error_code: code(result),
            error_message: result.as_ref().err().map(|refused| &*refused.message),
            resource_type: *kind,
            resource_name: name,
        });
        return respond(reply.head, &AlterConfigsResponse { responses: responses.collect(), ..Default::default() });
    }
    let responses = results.iter().map(|(kind, name, result)| incremental::AlterConfigsResourceResponse {
        error_code: code(result),
        error_message: result.as_ref().err().map(|refused| &*refused.message),
        resource_type: *kind,
        resource_name: name,
    });
    let body = incremental::IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() };
    respond(reply.head, &body)
}
