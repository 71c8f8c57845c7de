//! The changes between two images: what a node has to do that took the one for the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::image::{MetadataImage, Resource, ResourceKind};
use super::records::{Change, NewPartition};
use crate::config::Overrides;
use crate::types::{BrokerEpoch, BrokerId};

impl MetadataImage {
    /// The changes that make `new` of this image, but for its end: what goes first. A topic that differs comes whole.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let gone = self.topics().filter(|topic| new.topic_by_id(topic.id).is_none());
        changes.extend(gone.map(|topic| Change::RemoveTopic { id: topic.id }));
        let gone = self.brokers().filter(|(id, _)| new.broker(*id).is_none());
        changes.extend(gone.map(|(id, broker)| Change::UnregisterBroker { id, epoch: broker.epoch }));
        let features: BTreeMap<&str, i16> = self.features().collect();
        let gone = features.keys().filter(|name| !new.features().any(|(new, _)| new == **name));
        changes.extend(gone.map(|name| Change::FeatureLevel { name: (*name).to_owned(), level: 0 }));
        let made = new.features().filter(|(name, level)| features.get(name) != Some(level));
        changes.extend(made.map(|(name, level)| Change::FeatureLevel { name: name.to_owned(), level }));
        let made = new.brokers().filter(|(id, broker)| self.broker(*id) != Some(broker));
        changes.extend(made.map(|(id, broker)| Change::RegisterBroker { id, broker: broker.clone() }));
        for topic in new.topics().filter(|topic| self.topic_by_id(topic.id) != Some(topic)) {
            changes.push(Change::Topic { name: topic.name.to_string(), id: topic.id });
            changes.extend((0..).zip(&topic.partitions).map(|(partition, image)| {
                Change::Partition(NewPartition { topic_id: topic.id, partition, image: image.clone() })
            }));
        }
        for kind in [ResourceKind::Topic, ResourceKind::Broker, ResourceKind::Group] {
            // With a topic that goes its settings go.
            let stays = |name: &Arc<str>| kind != ResourceKind::Topic || self.has_topic_of(name, new);
            let old = self.configs(kind).iter().filter(|(name, _)| stays(name));
            settings(kind, &old.collect(), new.configs(kind), &mut changes);
        }
        if self.next_producer_id() != new.next_producer_id() {
            let (broker, epoch) = (BrokerId(-1), BrokerEpoch(-1));
            changes.push(Change::ProducerIds { broker, epoch, next: new.next_producer_id() });
        }
        changes
    }

    /// Whether a name is not of a topic that `new` has no more.
    fn has_topic_of(&self, name: &str, new: &Self) -> bool {
        self.topic(name).is_none_or(|topic| new.topic_by_id(topic.id).is_some())
    }
}

fn settings(
    kind: ResourceKind,
    old: &BTreeMap<&Arc<str>, &Arc<Overrides>>,
    new: &BTreeMap<Arc<str>, Arc<Overrides>>,
    changes: &mut Vec<Change>,
) {
    let none = Arc::new(Overrides::new());
    let names: std::collections::BTreeSet<&Arc<str>> = old.keys().copied().chain(new.keys()).collect();
    for resource in names {
        let (old, new) = (old.get(resource).copied().unwrap_or(&none), new.get(resource).unwrap_or(&none));
        let change = |name: &String, value: Option<&String>| Change::Config {
            resource: Resource { kind, name: Arc::clone(resource) },
            name: name.clone(),
            value: value.cloned(),
        };
        changes.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| change(name, None)));
        let made = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
        changes.extend(made.map(|(name, value)| change(name, Some(value))));
    }
}
