//! Settings of topics, brokers and groups: incremental changes (KIP-339) and the old replacing ones, checked as a
//! whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::image::{MetadataImage, Resource, ResourceKind};
use super::partitions::{MIN_INSYNC_REPLICAS, count_anew};
use super::records::Change;
use super::{Decision, Refused};
use crate::config::{
    BrokerConfig, Config, Overrides, Scope, check_broker_change, check_group_overrides, check_topic_overrides, find,
};
use crate::types::BrokerId;

/// What is to happen to one resource's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// The kind's number, as the request has it.
    pub kind: i8,
    /// The resource's name.
    pub name: String,
    /// What is to happen.
    pub changes: Vec<ConfigChange>,
    /// Whether settings that are not named go back to their defaults (AlterConfigs).
    pub replaces: bool,
}

/// What is to happen to one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its key.
    pub name: String,
    /// Set, take away, or change a list.
    pub operation: Operation,
    /// The value, where the operation takes one.
    pub value: Option<String>,
}

/// The operations of IncrementalAlterConfigs; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value is set.
    Set = 0,
    /// The default comes back.
    Delete = 1,
    /// Items are added to a list.
    Append = 2,
    /// Items are taken from a list.
    Subtract = 3,
}

impl Operation {
    /// The operation of a number of the protocol's.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// Changes settings; each resource stands or falls by itself.
#[must_use]
pub fn alter(image: &MetadataImage, config: &Config, alterations: &[Alteration]) -> Decision<Vec<Result<(), Refused>>> {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    let answer = alterations.iter().map(|it| {
        if !seen.insert((it.kind, it.name.as_str())) {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once."));
        }
        let resource = resource(image, it)?;
        let before = image.overrides(resource.kind, &resource.name).cloned().unwrap_or_default();
        let after = apply(&before, &resource, &config.broker, it)?;
        check(&before, &after, &resource, &config.broker)?;
        changes.extend(difference(&before, &after, &resource));
        Ok(())
    });
    let answer = answer.collect();
    let is_count = |it: &Change| matches!(it, Change::Config { name, .. } if name == MIN_INSYNC_REPLICAS);
    if changes.iter().any(is_count) {
        let mut next = image.clone();
        changes.iter().for_each(|it| next.replay(image.end(), it));
        // First, should they not all be in one batch.
        changes.splice(..0, count_anew(&next, config));
    }
    Decision { changes, answer }
}

fn resource(image: &MetadataImage, it: &Alteration) -> Result<Resource, Refused> {
    let unsupported = || Refused::new(ErrorCode::INVALID_REQUEST, format!("Unexpected resource type {}.", it.kind));
    let kind = ResourceKind::from_code(it.kind).ok_or_else(unsupported)?;
    match kind {
        ResourceKind::Topic if image.topic(&it.name).is_none() => {
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return Err(Refused::new(unknown, format!("The topic '{}' does not exist.", it.name)));
        }
        ResourceKind::Broker if !it.name.is_empty() => {
            let known = it.name.parse().ok().and_then(|id| image.broker(BrokerId(id)));
            known
                .ok_or_else(|| Refused::new(ErrorCode::INVALID_REQUEST, format!("Broker {} is not known.", it.name)))?;
        }
        ResourceKind::Group if it.name.is_empty() => {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Default group resources are not allowed."));
        }
        ResourceKind::Topic | ResourceKind::Broker | ResourceKind::Group => {}
    }
    Ok(Resource { kind, name: Arc::from(&*it.name) })
}

fn apply(
    before: &Overrides,
    resource: &Resource,
    config: &BrokerConfig,
    it: &Alteration,
) -> Result<Overrides, Refused> {
    let mut after = if it.replaces { Overrides::new() } else { before.clone() };
    let mut seen = BTreeSet::new();
    for change in &it.changes {
        if !seen.insert(&change.name) {
            let why = format!("The setting {} appears more than once.", change.name);
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, why));
        }
        let value = match change.operation {
            Operation::Delete => None,
            Operation::Set => Some(given(change)?.to_owned()),
            Operation::Append | Operation::Subtract => Some(edit_list(&after, resource, config, change)?),
        };
        match value {
            Some(value) => after.insert(change.name.clone(), value),
            None => after.remove(&change.name),
        };
    }
    Ok(after)
}

fn given(change: &ConfigChange) -> Result<&str, Refused> {
    let missing = || Refused::new(ErrorCode::INVALID_REQUEST, format!("Null value not supported for {}.", change.name));
    change.value.as_deref().ok_or_else(missing)
}

fn edit_list(
    current: &Overrides,
    resource: &Resource,
    config: &BrokerConfig,
    change: &ConfigChange,
) -> Result<String, Refused> {
    let scope = scope(resource.kind);
    let is_list = find(scope, &change.name).is_some_and(|key| key.kind.is_list());
    if !is_list {
        let why = format!("Can't {:?} to key {} because its type is not LIST.", change.operation, change.name);
        return Err(Refused::new(ErrorCode::INVALID_CONFIG, why));
    }
    let default = match resource.kind {
        ResourceKind::Topic => config.topic_defaults.text(&change.name),
        ResourceKind::Broker => config.layers.text(&change.name),
        // No setting of a group is a list.
        ResourceKind::Group => None,
    };
    let old = current.get(&change.name).map(String::as_str).or(default).unwrap_or_default();
    let items =
        |text: &str| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
    let (mut list, edit): (Vec<String>, Vec<String>) = (items(old), items(given(change)?));
    if change.operation == Operation::Append {
        for item in edit {
            if !list.contains(&item) {
                list.push(item);
            }
        }
    } else {
        list.retain(|item| !edit.contains(item));
    }
    Ok(list.join(","))
}

fn check(before: &Overrides, after: &Overrides, resource: &Resource, config: &BrokerConfig) -> Result<(), Refused> {
    match resource.kind {
        ResourceKind::Topic => check_topic_overrides(after, &config.topic_defaults)
            .map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.message())),
        ResourceKind::Broker => check_broker_change(before, after, resource.name.is_empty(), config)
            .map_err(|error| Refused::new(ErrorCode::INVALID_REQUEST, error.message())),
        ResourceKind::Group => check_group_overrides(after, config)
            .map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.message())),
    }
}

fn difference<'a>(
    before: &'a Overrides,
    after: &'a Overrides,
    resource: &'a Resource,
) -> impl Iterator<Item = Change> + 'a {
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let set = set.map(|(name, value)| (name, Some(value.clone())));
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, None));
    set.chain(gone).map(|(name, value)| Change::Config { resource: resource.clone(), name: name.clone(), value })
}

/// The table that a resource's settings are in.
const fn scope(kind: ResourceKind) -> Scope {
    match kind {
        ResourceKind::Topic => Scope::Topic,
        ResourceKind::Broker => Scope::Broker,
        ResourceKind::Group => Scope::Group,
    }
}
