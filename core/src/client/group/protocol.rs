//! What the members of a group tell each other: subscriptions and assignments, in bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::consumer_protocol::{
    AssignedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription, CooperativeUserData, OwnedPartitions,
    StickyUserData,
};
use ottla_wire::{DecodeError, Message, Reader, Writer};

use crate::types::TopicPartition;

use super::super::assignor::{Candidate, Strategy};

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

const SUBSCRIPTION_VERSION: i16 = 3;
const ASSIGNMENT_VERSION: i16 = 3;

/// What a member says of itself.
pub(super) struct Standing<'a> {
    pub(super) topics: &'a BTreeSet<Arc<str>>,
    /// What it owns now, and in which generation.
    pub(super) owned: &'a BTreeSet<TopicPartition>,
    pub(super) generation: i32,
    /// What it was assigned last, and in which generation.
    pub(super) previous: (&'a BTreeSet<TopicPartition>, i32),
    pub(super) rack: &'a str,
}

/// A member's metadata for a strategy.
pub(super) fn subscription(strategy: Strategy, standing: &Standing<'_>) -> Vec<u8> {
    let owned = by_topic(standing.owned.iter().map(|it| (it, it.partition)));
    let owned = owned.into_iter().map(|(topic, partitions)| OwnedPartitions { topic, partitions });
    let user_data = user_data(strategy, standing);
    let subscription = ConsumerProtocolSubscription {
        topics: standing.topics.iter().map(|topic| &**topic).collect(),
        user_data: user_data.as_deref(),
        owned_partitions: owned.collect(),
        generation_id: standing.generation,
        rack_id: Some(standing.rack).filter(|rack| !rack.is_empty()),
    };
    let mut writer = Writer::new();
    subscription.encode_versioned(&mut writer, SUBSCRIPTION_VERSION);
    writer.into_bytes()
}

fn user_data(strategy: Strategy, standing: &Standing<'_>) -> Option<Vec<u8>> {
    let mut writer = Writer::new();
    match strategy {
        Strategy::Range | Strategy::RoundRobin => return None,
        Strategy::Sticky => {
            let (partitions, generation) = standing.previous;
            StickyUserData { previous_assignment: listed(partitions), generation }.encode(&mut writer, 1);
        }
        Strategy::CooperativeSticky => {
            CooperativeUserData { generation: standing.generation }.encode(&mut writer, 0);
        }
    }
    Some(writer.into_bytes())
}

/// What a member's metadata for a strategy says.
pub(super) fn candidate(
    strategy: Strategy,
    (id, instance_id): (&str, Option<&str>),
    metadata: &[u8],
) -> Result<Candidate, DecodeError> {
    let subscription = ConsumerProtocolSubscription::decode_versioned(metadata)?;
    let owned = subscription.owned_partitions.iter();
    let owned = owned.flat_map(|it| it.partitions.iter().map(|&index| TopicPartition::new(it.topic, index)));
    let (mut owned, mut generation): (BTreeSet<_>, _) = (owned.collect(), subscription.generation_id);
    // Data that cannot be read are a member's own affair: then nothing is known of what it had.
    let user_data = subscription.user_data.filter(|data| !data.is_empty());
    match (strategy, user_data) {
        (Strategy::Sticky, Some(data)) => {
            if let Ok(data) = StickyUserData::decode_any(data) {
                owned = unlisted(&data.previous_assignment);
                generation = data.generation;
            }
        }
        (Strategy::CooperativeSticky, Some(data)) if generation < 0 => {
            generation = CooperativeUserData::decode(&mut Reader::new(data), 0).map_or(generation, |it| it.generation);
        }
        (Strategy::Range | Strategy::RoundRobin, _) | (Strategy::Sticky | Strategy::CooperativeSticky, _) => {}
    }
    Ok(Candidate {
        id: id.into(),
        instance_id: instance_id.map(Into::into),
        topics: subscription.topics.iter().map(|&topic| topic.into()).collect(),
        owned,
        generation,
        rack: subscription.rack_id.filter(|rack| !rack.is_empty()).map(Into::into),
    })
}

/// A member's part.
pub(super) fn assignment(partitions: &BTreeSet<TopicPartition>) -> Vec<u8> {
    let assignment = ConsumerProtocolAssignment { assigned_partitions: listed(partitions), user_data: None };
    let mut writer = Writer::new();
    assignment.encode_versioned(&mut writer, ASSIGNMENT_VERSION);
    writer.into_bytes()
}

/// What a member's part says. Nothing: the leader has forgotten it, so that there is nothing for it.
pub(super) fn part(bytes: &[u8]) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    Ok(unlisted(&ConsumerProtocolAssignment::decode_versioned(bytes)?.assigned_partitions))
}

/// Groups what belongs to partitions by their topics.
pub(super) fn by_topic<'a, T>(all: impl Iterator<Item = (&'a TopicPartition, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    all.for_each(|(partition, it)| topics.entry(&partition.topic).or_default().push(it));
    topics
}

fn listed(partitions: &BTreeSet<TopicPartition>) -> Vec<AssignedPartitions<'_>> {
    let topics = by_topic(partitions.iter().map(|it| (it, it.partition)));
    topics.into_iter().map(|(topic, partitions)| AssignedPartitions { topic, partitions }).collect()
}

fn unlisted(topics: &[AssignedPartitions<'_>]) -> BTreeSet<TopicPartition> {
    let partitions = topics.iter().flat_map(|it| {
        let topic: Arc<str> = it.topic.into();
        it.partitions.iter().map(move |&index| TopicPartition::new(topic.clone(), index))
    });
    partitions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(indexes: &[i32]) -> BTreeSet<TopicPartition> {
        indexes.iter().map(|&index| TopicPartition::new("t", index)).collect()
    }

    #[test]
    fn what_a_member_says_of_itself_the_leader_reads() {
        let topics = BTreeSet::from(["t".into(), "u".into()]);
        let (owned, previous) = (partitions(&[1, 2]), partitions(&[3]));
        let standing = Standing { topics: &topics, owned: &owned, generation: 4, previous: (&previous, 3), rack: "r" };
        for (strategy, of, generation) in [
            (Strategy::Range, &owned, 4),
            (Strategy::RoundRobin, &owned, 4),
            (Strategy::Sticky, &previous, 3),
            (Strategy::CooperativeSticky, &owned, 4),
        ] {
            let read = candidate(strategy, ("m", Some("i")), &subscription(strategy, &standing)).unwrap();
            let (id, instance_id, rack) = ("m".into(), Some("i".into()), Some("r".into()));
            assert_eq!(
                read,
                Candidate { id, instance_id, topics: topics.clone(), owned: of.clone(), generation, rack }
            );
        }
        assert_eq!(part(&assignment(&owned)), Ok(owned));
        assert_eq!(part(b""), Ok(BTreeSet::new()));
        assert!(part(b"\0\x01\0").is_err());
    }

    /// Bytes as Kafka's StickyAssignor writes them: version 1 of its user data.
    #[test]
    fn the_sticky_assignors_data_are_those_of_the_java_client() {
        let topics = BTreeSet::new();
        let (none, previous) = (BTreeSet::new(), partitions(&[0, 5]));
        let standing = Standing { topics: &topics, owned: &none, generation: 7, previous: (&previous, 6), rack: "" };
        let data = user_data(Strategy::Sticky, &standing).unwrap();
        let expected = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x06";
        assert_eq!(data, expected);
        assert_eq!(user_data(Strategy::CooperativeSticky, &standing).unwrap(), b"\0\0\0\x07");
        let older = StickyUserData::decode_any(&expected[..expected.len() - 4]).unwrap();
        assert_eq!((older.generation, unlisted(&older.previous_assignment)), (-1, previous));
    }

    /// What kafka-clients 4.3.1 writes for members of these topics that own t-1, t-2 and u-0 since generation 4.
    #[test]
    fn bytes_are_those_of_the_java_client() {
        let topics = BTreeSet::from(["t".into(), "u".into()]);
        let mut owned = partitions(&[1, 2]);
        owned.insert(TopicPartition::new("u", 0));
        let standing = Standing { topics: &topics, owned: &owned, generation: 4, previous: (&owned, 4), rack: "r" };
        let written: [(Strategy, &[u8]); 4] = [
            (
                Strategy::Range,
                b"\0\x03\0\0\0\x02\0\x01t\0\x01u\xff\xff\xff\xff\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\
              \x01u\0\0\0\x01\0\0\0\0\0\0\0\x04\0\x01r",
            ),
            (
                Strategy::RoundRobin,
                b"\0\x03\0\0\0\x02\0\x01t\0\x01u\xff\xff\xff\xff\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\
              \x01u\0\0\0\x01\0\0\0\0\0\0\0\x04\0\x01r",
            ),
            (
                Strategy::Sticky,
                b"\0\x03\0\0\0\x02\0\x01t\0\x01u\0\0\0\x22\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01u\0\
              \0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01u\0\0\0\x01\0\0\0\
              \0\0\0\0\x04\0\x01r",
            ),
            (
                Strategy::CooperativeSticky,
                b"\0\x03\0\0\0\x02\0\x01t\0\x01u\0\0\0\x04\0\0\0\x04\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\
              \x02\0\x01u\0\0\0\x01\0\0\0\0\0\0\0\x04\0\x01r",
            ),
        ];
        for (strategy, bytes) in written {
            assert_eq!(subscription(strategy, &standing), bytes, "{strategy:?}");
        }
        let given: &[u8] =
            b"\0\x03\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01u\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(assignment(&owned), given);
        assert_eq!(part(given), Ok(owned));
    }
}
