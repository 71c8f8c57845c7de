//! Topics: making them, giving them more partitions, taking them away; with Kafka's checks and codes.
//!
//! Each topic of a request stands or falls by itself; those that stand go into one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::{ErrorCode, Uuid};

use super::image::{MetadataImage, PartitionImage, Resource, ResourceKind};
use super::records::{Change, NewPartition};
use super::{Decision, METADATA_TOPIC, Refused, is_internal};
use crate::config::{BrokerConfig, Overrides, check_topic_overrides};
use crate::rng::Rng;
use crate::types::BrokerId;

/// The longest topic name: a directory's name has room for a partition and `-delete` beside it.
const NAME_MAX: usize = 249;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// -1: `num.partitions`.
    pub partitions: i32,
    /// -1: `default.replication.factor`.
    pub replication_factor: i16,
    /// By hand: each partition with its brokers.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Settings; a null value stands for none.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// Its settings.
    pub overrides: Overrides,
}

/// A topic that is to have more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic's name.
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// By hand: the brokers of each new partition.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic as a request chooses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChoice {
    /// By its name.
    Name(String),
    /// By its id.
    Id(Uuid),
}

/// What each item of a request came to, in its order.
type Results<T> = Vec<Result<T, Refused>>;

/// Makes topics. Ids and the first broker of each placement are drawn from `rng`.
#[must_use]
pub fn create(
    image: &MetadataImage,
    config: &BrokerConfig,
    topics: &[NewTopic],
    rng: &mut Rng,
) -> Decision<Results<CreatedTopic>> {
    let mut seen = BTreeMap::new();
    for topic in topics {
        *seen.entry(topic.name.as_str()).or_insert(0) += 1;
    }
    let mut changes = Vec::new();
    let mut taken = Taken::of(image, topics);
    let mut room = config.limits.max_partitions.saturating_sub(image.partition_count());
    let create_one = |topic: &NewTopic| {
        if seen[topic.name.as_str()] > 1 {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
        }
        taken.check(image, &topic.name)?;
        let overrides = overrides(config, topic)?;
        let placement = placement(image, (config, room), topic, &mut *rng)?;
        room = room.checked_sub(placement.len()).ok_or_else(too_many_partitions)?;
        let created = CreatedTopic {
            id: rng.uuid(),
            partitions: i32::try_from(placement.len()).unwrap_or(i32::MAX),
            replication_factor: placement.first().map_or(-1, |it| i16::try_from(it.len()).unwrap_or(i16::MAX)),
            overrides,
        };
        taken.take(&topic.name);
        record_topic(image, &topic.name, &created, placement, &mut changes);
        Ok(created)
    };
    let answer = topics.iter().map(create_one).collect();
    Decision { changes, answer }
}

/// Takes topics away; the answer has name and id of each.
#[must_use]
pub fn delete(
    image: &MetadataImage,
    config: &BrokerConfig,
    topics: &[TopicChoice],
) -> Decision<Results<(Arc<str>, Uuid)>> {
    let mut changes = Vec::new();
    let mut gone = BTreeSet::new();
    let delete_one = |choice: &TopicChoice| {
        if !config.topics.delete_enabled {
            return Err(Refused::new(ErrorCode::TOPIC_DELETION_DISABLED, "Topic deletion is disabled."));
        }
        let (found, code) = match choice {
            TopicChoice::Name(name) => (image.topic(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicChoice::Id(id) => (image.topic_by_id(*id), ErrorCode::UNKNOWN_TOPIC_ID),
        };
        let topic = found.ok_or_else(|| Refused::new(code, code.message()))?;
        if !gone.insert(topic.id) {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic."));
        }
        changes.push(Change::RemoveTopic { id: topic.id });
        Ok((Arc::clone(&topic.name), topic.id))
    };
    let answer = topics.iter().map(delete_one).collect();
    Decision { changes, answer }
}

/// Gives topics more partitions.
#[must_use]
pub fn create_partitions(
    image: &MetadataImage,
    config: &BrokerConfig,
    topics: &[MorePartitions],
    rng: &mut Rng,
) -> Decision<Results<()>> {
    let mut changes = Vec::new();
    let mut room = config.limits.max_partitions.saturating_sub(image.partition_count());
    let mut seen = BTreeSet::new();
    let answer = topics.iter().map(|more| {
        if !seen.insert(more.name.as_str()) {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
        }
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let topic = image.topic(&more.name).ok_or_else(|| Refused::new(unknown, unknown.message()))?;
        if is_internal(&topic.name) {
            let why = "The number of partitions of an internal topic cannot be changed: what belongs to one by a hash \
                       would be looked for in another.";
            return Err(Refused::new(ErrorCode::INVALID_PARTITIONS, why));
        }
        let have = topic.partitions.len();
        let wanted = usize::try_from(more.count).unwrap_or(0);
        if wanted <= have {
            let only = if wanted == have {
                format!("Topic already has {have} partition(s).")
            } else {
                let MorePartitions { name, count, .. } = more;
                format!("The topic {name} currently has {have} partition(s); {count} would not be an increase.")
            };
            return Err(Refused::new(ErrorCode::INVALID_PARTITIONS, only));
        }
        room = room.checked_sub(wanted - have).ok_or_else(too_many_partitions)?;
        let replicas = topic.partitions.first().map_or(1, |it| it.replicas.len());
        let placement = match &more.assignments {
            Some(by_hand) => checked_placement(image, by_hand, (wanted - have, Some(replicas)))?,
            None => spread(image, wanted - have, replicas, rng)?,
        };
        for (partition, replicas) in (have..).zip(placement) {
            changes.push(new_partition(image, topic.id, partition, replicas));
        }
        Ok(())
    });
    let answer = answer.collect();
    Decision { changes, answer }
}

fn too_many_partitions() -> Refused {
    Refused::new(
        ErrorCode::POLICY_VIOLATION,
        "The cluster would have more partitions than ottla.max.partitions allows.",
    )
}

fn record_topic(
    image: &MetadataImage,
    name: &str,
    created: &CreatedTopic,
    placement: Vec<Vec<BrokerId>>,
    changes: &mut Vec<Change>,
) {
    changes.push(Change::Topic { name: name.to_owned(), id: created.id });
    let resource = Resource { kind: ResourceKind::Topic, name: Arc::from(name) };
    changes.extend(created.overrides.iter().map(|(key, value)| Change::Config {
        resource: resource.clone(),
        name: key.clone(),
        value: Some(value.clone()),
    }));
    let partitions = placement.into_iter().enumerate();
    changes.extend(partitions.map(|(partition, replicas)| new_partition(image, created.id, partition, replicas)));
}

fn new_partition(image: &MetadataImage, topic_id: Uuid, partition: usize, replicas: Vec<BrokerId>) -> Change {
    let in_sync: Vec<BrokerId> = replicas.iter().copied().filter(|id| image.is_active(*id)).collect();
    let directory = |id: &BrokerId| {
        let broker = image.broker(*id);
        // With several directories the broker chooses one; the zero id says "not assigned yet" (KIP-858).
        broker.filter(|it| it.directories.len() == 1).map_or_else(Uuid::default, |it| it.directories[0])
    };
    Change::Partition(NewPartition {
        topic_id,
        partition: i32::try_from(partition).unwrap_or(i32::MAX),
        image: PartitionImage {
            leader: in_sync.first().copied(),
            isr: in_sync,
            directories: replicas.iter().map(directory).collect(),
            replicas,
            ..PartitionImage::default()
        },
    })
}

/// Kafka's rules for names.
fn check_name(name: &str) -> Result<(), Refused> {
    let invalid = |why: String| Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why);
    if name.is_empty() {
        return Err(invalid("Topic name is invalid: the empty string is not allowed".into()));
    }
    if name == "." || name == ".." {
        return Err(invalid(format!("Topic name is invalid: '{name}' is not allowed")));
    }
    if name.len() > NAME_MAX {
        return Err(invalid(format!("Topic name is invalid: the length of '{name}' is longer than {NAME_MAX}")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(invalid(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, \
             '.', '_' and '-'"
        )));
    }
    Ok(())
}

/// The names with `.` or `_` that topics have, those of the same request too: names that differ only by these would
/// share their metrics.
struct Taken(BTreeMap<String, String>);

impl Taken {
    /// All are looked through once, and only if it matters to `wanted`.
    fn of(image: &MetadataImage, wanted: &[NewTopic]) -> Self {
        let matters = wanted.iter().any(|topic| may_collide(&topic.name));
        let names = image.topics().map(|topic| &*topic.name).filter(|name| matters && may_collide(name));
        Self(names.map(|name| (unified(name), name.to_owned())).collect())
    }

    fn check(&self, image: &MetadataImage, name: &str) -> Result<(), Refused> {
        check_name(name)?;
        if image.topic(name).is_some() || name == METADATA_TOPIC {
            return Err(Refused::new(ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
        }
        match self.0.get(&unified(name)).filter(|_| may_collide(name)) {
            Some(other) => {
                let why = format!("Topic '{name}' collides with existing topic: {other}");
                Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why))
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, name: &str) {
        if may_collide(name) {
            self.0.insert(unified(name), name.to_owned());
        }
    }
}

fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn unified(name: &str) -> String {
    name.replace('.', "_")
}

fn overrides(config: &BrokerConfig, topic: &NewTopic) -> Result<Overrides, Refused> {
    let mut overrides = Overrides::new();
    for (name, value) in &topic.configs {
        let null =
            || Refused::new(ErrorCode::INVALID_CONFIG, format!("Null value not supported for topic configs: {name}"));
        overrides.insert(name.clone(), value.clone().ok_or_else(null)?);
    }
    check_topic_overrides(&overrides, &config.topic_defaults)
        .map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.message()))?;
    Ok(overrides)
}

/// Where the partitions of a topic lie; there is `room` for so many.
fn placement(
    image: &MetadataImage,
    (config, room): (&BrokerConfig, usize),
    topic: &NewTopic,
    rng: &mut Rng,
) -> Result<Vec<Vec<BrokerId>>, Refused> {
    if !topic.assignments.is_empty() {
        return placement_by_hand(image, topic);
    }
    let default = i32::try_from(config.topics.num_partitions).unwrap_or(i32::MAX);
    let partitions = if topic.partitions == -1 { default } else { topic.partitions };
    let partitions = usize::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
        Refused::new(ErrorCode::INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    })?;
    if partitions > room {
        return Err(too_many_partitions());
    }
    let default = config.topics.default_replication_factor;
    let replicas = if topic.replication_factor == -1 { default } else { topic.replication_factor };
    let replicas = usize::try_from(replicas).ok().filter(|count| *count > 0).ok_or_else(|| {
        Refused::new(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    })?;
    spread(image, partitions, replicas, rng)
}

fn placement_by_hand(image: &MetadataImage, topic: &NewTopic) -> Result<Vec<Vec<BrokerId>>, Refused> {
    let set = match (topic.replication_factor, topic.partitions) {
        (-1, -1) => None,
        (-1, _) => Some("numPartitions"),
        _ => Some("replication factor"),
    };
    if let Some(set) = set {
        let why = format!("A manual partition assignment was specified, but {set} was not set to -1.");
        return Err(Refused::new(ErrorCode::INVALID_REQUEST, why));
    }
    let mut seen = BTreeSet::new();
    if let Some((twice, _)) = topic.assignments.iter().find(|(partition, _)| !seen.insert(*partition)) {
        let why = format!("Found multiple manual partition assignments for partition {twice}");
        return Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    }
    let by_partition: BTreeMap<i32, &Vec<i32>> = topic.assignments.iter().map(|(index, it)| (*index, it)).collect();
    let consecutive = by_partition.keys().copied().eq(0..i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX));
    if !consecutive {
        return Err(Refused::new(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    let by_hand: Vec<Vec<i32>> = by_partition.into_values().cloned().collect();
    checked_placement(image, &by_hand, (by_hand.len(), None))
}

/// The operator's placement of `count` partitions, each with as many replicas as those before it have.
fn checked_placement(
    image: &MetadataImage,
    by_hand: &[Vec<i32>],
    (count, replicas): (usize, Option<usize>),
) -> Result<Vec<Vec<BrokerId>>, Refused> {
    let invalid = |why: String| Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
    if by_hand.len() != count {
        let given = by_hand.len();
        return Err(invalid(format!(
            "Attempted to add {count} additional partition(s), but only {given} assignment(s) were specified."
        )));
    }
    let replicas = replicas.or_else(|| by_hand.first().map(Vec::len)).unwrap_or(0);
    for (partition, brokers) in by_hand.iter().enumerate() {
        if brokers.is_empty() {
            return Err(invalid("The manual partition assignment includes an empty replica list.".into()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = brokers.iter().find(|id| !seen.insert(**id)) {
            return Err(invalid(format!(
                "The manual partition assignment includes the broker {twice} more than once."
            )));
        }
        if let Some(unknown) = brokers.iter().find(|id| image.broker(BrokerId(**id)).is_none()) {
            return Err(invalid(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            )));
        }
        if brokers.len() != replicas {
            return Err(invalid(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {replicas} replica(s).",
                brokers.len()
            )));
        }
        if !brokers.iter().any(|id| image.is_active(BrokerId(*id))) {
            return Err(invalid(format!(
                "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
                 controlled shutdown."
            )));
        }
    }
    Ok(by_hand.iter().map(|brokers| brokers.iter().copied().map(BrokerId).collect()).collect())
}

/// Spreads replicas over the active brokers and their racks, each partition starting one broker further.
fn spread(
    image: &MetadataImage,
    partitions: usize,
    replicas: usize,
    rng: &mut Rng,
) -> Result<Vec<Vec<BrokerId>>, Refused> {
    let usable: Vec<BrokerId> = image.brokers().map(|(id, _)| id).filter(|id| image.is_active(*id)).collect();
    if usable.is_empty() {
        let why = format!(
            "Unable to replicate the partition {replicas} time(s): All brokers are currently fenced or in controlled \
             shutdown."
        );
        return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    if replicas > usable.len() {
        let why = format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of {replicas} cannot \
             be \
             reached because only {} broker(s) are registered.",
            usable.len()
        );
        return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    let ring = striped(image, &usable);
    let first = usize::try_from(rng.below(ring.len() as u64)).unwrap_or(0);
    Ok((0..partitions).map(|partition| place(&ring, first + partition, replicas)).collect())
}

/// The brokers with their racks, one of each rack in turn: neighbours are in different ones.
fn striped<'a>(image: &'a MetadataImage, usable: &[BrokerId]) -> Vec<(BrokerId, Option<&'a str>)> {
    let mut racks: BTreeMap<Option<&str>, Vec<BrokerId>> = BTreeMap::new();
    for id in usable {
        racks.entry(image.broker(*id).and_then(|broker| broker.rack.as_deref())).or_default().push(*id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let turn = |turn: usize| racks.iter().filter_map(move |(rack, ids)| Some((*ids.get(turn)?, *rack)));
    (0..longest).flat_map(turn).collect()
}

/// One partition's brokers, from a place of the ring on: in as many racks as there are, then whoever is next.
fn place(ring: &[(BrokerId, Option<&str>)], start: usize, replicas: usize) -> Vec<BrokerId> {
    let around = || (0..ring.len()).map(|step| ring[(start + step) % ring.len()]);
    let mut chosen: Vec<(BrokerId, Option<&str>)> = Vec::with_capacity(replicas);
    for (id, rack) in around() {
        if chosen.len() < replicas && chosen.iter().all(|(_, other)| *other != rack) {
            chosen.push((id, rack));
        }
    }
    for (id, rack) in around() {
        if chosen.len() < replicas && chosen.iter().all(|(other, _)| *other != id) {
            chosen.push((id, rack));
        }
    }
    chosen.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_in_as_many_racks_as_there_are() {
        let ring = [(1, "a"), (3, "b"), (2, "a"), (4, "a")].map(|(id, rack)| (BrokerId(id), Some(rack)));
        let placed = |start| place(&ring, start, 3).into_iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!([placed(0), placed(1), placed(2), placed(3)], [[1, 3, 2], [3, 2, 4], [2, 3, 4], [4, 3, 1]]);
        let alike = [1, 2, 3].map(|id| (BrokerId(id), None));
        assert_eq!(place(&alike, 1, 2), [BrokerId(2), BrokerId(3)]);
    }
}
