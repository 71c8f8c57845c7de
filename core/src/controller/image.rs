//! What the metadata log describes, at one offset of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::Uuid;

use super::brokers::METADATA_VERSION;
use super::records::{BrokerDelta, Change, NewPartition, PartitionDelta};
use crate::config::Overrides;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

/// The cluster at one offset of its metadata log.
///
/// A copy shares its topics and brokers with the original: publishing one costs a pointer for each, and a change
/// copies the one topic that it touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    end: Offset,
    topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    names: BTreeMap<Uuid, Arc<str>>,
    brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    topic_configs: BTreeMap<Arc<str>, Arc<Overrides>>,
    group_configs: BTreeMap<Arc<str>, Arc<Overrides>>,
    broker_configs: BTreeMap<Arc<str>, Arc<Overrides>>,
    features: BTreeMap<Arc<str>, i16>,
    next_producer_id: i64,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id: a topic made again under the same name is another topic.
    pub id: Uuid,
    /// Its partitions; the place is the index.
    pub partitions: Vec<PartitionImage>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionImage {
    /// Who has it; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// Whose copies are complete up to the high watermark.
    pub isr: Vec<BrokerId>,
    /// Who is not in the ISR and yet has all committed records (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Who was the last to lead when ISR and ELR became empty (KIP-966). It leads only by an operator's word.
    pub last_known_elr: Vec<BrokerId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Whether the leader was elected uncleanly and has not recovered yet (KIP-704).
    pub recovering: bool,
    /// `None` while nobody may lead.
    pub leader: Option<BrokerId>,
    /// Raised whenever a leader is chosen, be it the same one.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change.
    pub partition_epoch: i32,
    /// The log directory of each replica (KIP-858).
    pub directories: Vec<Uuid>,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// The offset of its registration.
    pub epoch: BrokerEpoch,
    /// The last registration in which it was in service, or came without proof. Nothing was counted on its logs after
    /// that: whoever has all that they had then has all.
    pub counted: BrokerEpoch,
    /// Drawn at each start of the process.
    pub incarnation: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<BrokerEndpoint>,
    /// `broker.rack`
    pub rack: Option<String>,
    /// Whether it may not lead.
    pub fenced: bool,
    /// Whether it is on its way out (KIP-841).
    pub shutting_down: bool,
    /// Its log directories.
    pub directories: Vec<Uuid>,
}

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

/// What settings can be given to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Of which kind.
    pub kind: ResourceKind,
    /// A topic's name, a broker's id, or nothing for all brokers.
    pub name: Arc<str>,
}

/// The kinds of resources; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them.
    Broker = 4,
    /// A group, whether or not there is one of that name.
    Group = 32,
}

impl ResourceKind {
    /// The kind of a number of the protocol's.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// The protocol's number.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::Group => 32,
        }
    }
}

impl MetadataImage {
    /// The offset after the last batch that was replayed.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// A topic by its name. Who needs it for longer shares it: it may have many partitions.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// A topic by its id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topic(self.names.get(&id)?)
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// The topics whose names are at or after `name`.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a TopicImage> {
        self.topics
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, topic)| &**topic)
    }

    /// One partition of a topic.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// One partition of the topic with this id.
    #[must_use]
    pub fn partition_by_id(&self, topic: Uuid, partition: i32) -> Option<&PartitionImage> {
        self.topic_by_id(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerImage> {
        self.brokers.get(&id).map(|broker| &**broker)
    }

    /// Every registered broker, by id.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &BrokerImage)> {
        self.brokers.iter().map(|(id, broker)| (*id, &**broker))
    }

    /// Whether a broker may be given replicas and leaderships.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| !broker.fenced && !broker.shutting_down)
    }

    /// The settings that a resource was given.
    #[must_use]
    pub fn overrides(&self, kind: ResourceKind, name: &str) -> Option<&Overrides> {
        self.configs(kind).get(name).map(|overrides| &**overrides)
    }

    /// Every finalized feature with its level, by name.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (&**name, *level))
    }

    /// The first producer id that was never given out.
    #[must_use]
    pub const fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// All that the log says below `end` is known: a batch may say nothing that is held here.
    pub fn advance(&mut self, end: Offset) {
        self.end = end;
    }

    /// Applies one record; `end` is the offset after its batch. What it speaks of and is not there is ignored: the
    /// log of a cluster with other features must not stop us.
    pub fn replay(&mut self, end: Offset, change: &Change) {
        self.end = end;
        match change {
            Change::RegisterBroker { id, broker } => {
                self.brokers.insert(*id, Arc::new(broker.clone()));
            }
            Change::UnregisterBroker { id, .. } => {
                self.brokers.remove(id);
            }
            Change::BrokerChange { id, epoch, delta } => {
                // What was meant for an earlier incarnation is not for this one (KIP-380).
                if let Some(broker) = self.brokers.get_mut(id).filter(|broker| broker.epoch == *epoch) {
                    Arc::make_mut(broker).change(delta);
                }
            }
            Change::Topic { name, id } => self.add_topic(name, *id),
            Change::RemoveTopic { id } => self.remove_topic(*id),
            Change::Partition(partition) => self.add_partition(partition),
            Change::PartitionChange { topic_id, partition, delta } => {
                if let Some(it) = self.partition_mut(*topic_id, *partition) {
                    it.change(delta);
                }
            }
            Change::Config { resource, name, value } => self.set_config(resource, name, value.as_deref()),
            Change::FeatureLevel { name, level: 0 } => {
                self.features.remove(&**name);
            }
            Change::FeatureLevel { name, level } => {
                self.features.insert(Arc::from(&**name), *level);
            }
            Change::ProducerIds { next, .. } => self.next_producer_id = *next,
            Change::Other => {}
        }
    }

    /// The changes that make this image of an empty one, as a snapshot has them: `metadata.version` first, each topic
    /// before its partitions, and the producer ids that were given out (IDEM-13).
    #[must_use]
    pub fn dump(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let features = self.features.iter().map(|(name, level)| (name.as_ref() != METADATA_VERSION, name, level));
        let mut features: Vec<_> = features.collect();
        features.sort();
        let feature =
            |(_, name, level): (bool, &Arc<str>, &i16)| Change::FeatureLevel { name: name.to_string(), level: *level };
        changes.extend(features.into_iter().map(feature));
        let broker = |(id, broker): (BrokerId, &BrokerImage)| Change::RegisterBroker { id, broker: broker.clone() };
        changes.extend(self.brokers().map(broker));
        for topic in self.topics() {
            changes.push(Change::Topic { name: topic.name.to_string(), id: topic.id });
            let partitions = (0..).zip(&topic.partitions);
            changes.extend(partitions.map(|(partition, image)| {
                Change::Partition(NewPartition { topic_id: topic.id, partition, image: image.clone() })
            }));
        }
        for kind in [ResourceKind::Topic, ResourceKind::Broker, ResourceKind::Group] {
            for (name, overrides) in self.configs(kind) {
                let resource = Resource { kind, name: Arc::clone(name) };
                changes.extend(overrides.iter().map(|(name, value)| Change::Config {
                    resource: resource.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                }));
            }
        }
        if self.next_producer_id > 0 {
            let (broker, epoch) = (BrokerId(-1), BrokerEpoch(-1));
            changes.push(Change::ProducerIds { broker, epoch, next: self.next_producer_id });
        }
        changes
    }

    fn add_topic(&mut self, name: &str, id: Uuid) {
        let name: Arc<str> = Arc::from(name);
        self.names.insert(id, Arc::clone(&name));
        let topic = TopicImage { name: Arc::clone(&name), id, partitions: Vec::new() };
        self.topics.insert(name, Arc::new(topic));
    }

    fn remove_topic(&mut self, id: Uuid) {
        if let Some(name) = self.names.remove(&id) {
            self.topics.remove(&name);
            self.topic_configs.remove(&name);
        }
    }

    fn add_partition(&mut self, new: &NewPartition) {
        let Some(topic) = self.topic_mut(new.topic_id) else { return };
        let Ok(place) = usize::try_from(new.partition) else { return };
        // Partitions are made in order; a gap would be a damaged log, whose records have a CRC.
        if place == topic.partitions.len() {
            topic.partitions.push(new.image.clone());
        } else if let Some(partition) = topic.partitions.get_mut(place) {
            *partition = new.image.clone();
        }
    }

    fn topic_mut(&mut self, topic_id: Uuid) -> Option<&mut TopicImage> {
        self.topics.get_mut(self.names.get(&topic_id)?).map(Arc::make_mut)
    }

    fn partition_mut(&mut self, topic_id: Uuid, partition: i32) -> Option<&mut PartitionImage> {
        self.topic_mut(topic_id)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// The settings of every resource of a kind that was given some, by name.
    #[must_use]
    pub const fn configs(&self, kind: ResourceKind) -> &BTreeMap<Arc<str>, Arc<Overrides>> {
        match kind {
            ResourceKind::Topic => &self.topic_configs,
            ResourceKind::Broker => &self.broker_configs,
            ResourceKind::Group => &self.group_configs,
        }
    }

    fn set_config(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        let configs = match resource.kind {
            ResourceKind::Topic => &mut self.topic_configs,
            ResourceKind::Broker => &mut self.broker_configs,
            ResourceKind::Group => &mut self.group_configs,
        };
        let overrides = Arc::make_mut(configs.entry(Arc::clone(&resource.name)).or_default());
        match value {
            Some(value) => {
                overrides.insert(name.to_owned(), value.to_owned());
            }
            None => {
                overrides.remove(name);
            }
        }
        if overrides.is_empty() {
            configs.remove(&resource.name);
        }
    }
}

impl BrokerImage {
    fn change(&mut self, delta: &BrokerDelta) {
        self.fenced = delta.fenced.unwrap_or(self.fenced);
        if !self.fenced {
            self.counted = self.epoch;
        }
        self.shutting_down |= delta.shutting_down;
        if let Some(directories) = &delta.directories {
            self.directories.clone_from(directories);
        }
    }
}

impl PartitionImage {
    /// Whether it is counted on what a broker has of it.
    #[must_use]
    pub fn counts_on(&self, id: BrokerId) -> bool {
        self.isr.contains(&id) || self.elr.contains(&id)
    }

    /// Whether somebody leads, and that is another broker.
    #[must_use]
    pub fn is_led_by_other(&self, id: BrokerId) -> bool {
        self.leader.is_some_and(|leader| leader != id)
    }

    /// Kafka's rule: whoever names a leader, be it the same, begins a new leader epoch.
    fn change(&mut self, delta: &PartitionDelta) {
        let set = |list: &mut Vec<BrokerId>, new: &Option<Vec<BrokerId>>| {
            if let Some(new) = new {
                list.clone_from(new);
            }
        };
        set(&mut self.isr, &delta.isr);
        set(&mut self.elr, &delta.elr);
        set(&mut self.last_known_elr, &delta.last_known_elr);
        set(&mut self.replicas, &delta.replicas);
        set(&mut self.removing, &delta.removing);
        set(&mut self.adding, &delta.adding);
        if let Some(directories) = &delta.directories {
            self.directories.clone_from(directories);
        }
        if let Some(leader) = delta.leader {
            self.leader = leader;
            // Saturating, as a record may hold any epoch.
            self.leader_epoch.0 = self.leader_epoch.0.saturating_add(1);
        }
        self.recovering = delta.recovering.unwrap_or(self.recovering);
        self.partition_epoch = self.partition_epoch.saturating_add(1);
    }
}
