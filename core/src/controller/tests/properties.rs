//! Random decisions, commits and losses: the images always equal a rebuild from the log (S8), and a dump of one
//! makes it again.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::types::BrokerEpoch;

/// One thing that happens to a controller.
#[derive(Clone, Debug)]
enum Step {
    Create { name: usize, partitions: i32, config: usize, by_hand: bool },
    Delete { name: usize, by_id: bool },
    Grow { name: usize, count: i32 },
    Alter { kind: i8, name: usize, key: usize, operation: i8, value: usize, replaces: bool },
    Register { id: i32, incarnation: u128 },
    Fence { id: i32 },
    Allocate { id: i32 },
    Commit { batches: usize },
    Revert,
}

const NAMES: &[&str] = &["a", "b", "a.b", "a_b", "long-name", "", "x y"];
const BROKERS: &[&str] = &["1", "2", "", "9"];
const SETTINGS: &[(&str, &[&str])] = &[
    ("retention.ms", &["1", "-1", "x"]),
    ("cleanup.policy", &["compact", "delete", "compact,delete"]),
    ("max.message.bytes", &["100", "1048576"]),
    ("log.retention.ms", &["5"]),
];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), -1..5i32, 0..5usize, any::<bool>())
            .prop_map(|(name, partitions, config, by_hand)| Step::Create { name, partitions, config, by_hand }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, by_id)| Step::Delete { name, by_id }),
        2 => (name.clone(), 0..8i32).prop_map(|(name, count)| Step::Grow { name, count }),
        4 => (prop_oneof![Just(2i8), Just(4), Just(16)], name, 0..SETTINGS.len(), 0..5i8, 0..3usize, any::<bool>())
            .prop_map(|(kind, name, key, operation, value, replaces)| {
                Step::Alter { kind, name, key, operation, value, replaces }
            }),
        2 => (1..4i32, 1..5u128).prop_map(|(id, incarnation)| Step::Register { id, incarnation }),
        1 => (1..4i32).prop_map(|id| Step::Fence { id }),
        1 => (1..4i32).prop_map(|id| Step::Allocate { id }),
        3 => (0..9usize).prop_map(|batches| Step::Commit { batches }),
        1 => Just(Step::Revert),
    ]
}

impl Cluster {
    fn take(&mut self, step: &Step) {
        let image = self.controller.speculative();
        let changes = match step {
            Step::Create { name, partitions, config, by_hand } => {
                let topic = new_topic(*name, *partitions, *config, *by_hand);
                create(image, &self.config, &[topic], &mut self.rng).changes
            }
            Step::Delete { name, by_id } => {
                let id = image.topic(NAMES[*name]).map(|topic| topic.id).filter(|_| *by_id);
                let choice = id.map_or_else(|| TopicChoice::Name(NAMES[*name].into()), TopicChoice::Id);
                delete(image, &self.config, &[choice]).changes
            }
            Step::Grow { name, count } => {
                let more = MorePartitions { name: NAMES[*name].into(), count: *count, assignments: None };
                create_partitions(image, &self.config, &[more], &mut self.rng).changes
            }
            Step::Alter { kind, name, key, operation, value, replaces } => {
                let names = if *kind == 2 { NAMES } else { BROKERS };
                let (key, values) = SETTINGS[*key];
                let Some(operation) = Operation::from_code(*operation) else { return };
                let value = (operation != Operation::Delete).then(|| values[value % values.len()].to_owned());
                let change = ConfigChange { name: key.into(), operation, value };
                let name = names[name % names.len()].into();
                let alteration = Alteration { kind: *kind, name, changes: vec![change], replaces: *replaces };
                alter(image, &self.config, &[alteration]).changes
            }
            Step::Register { id, incarnation } => {
                register(image, registration(*id, *incarnation), self.end).map_or_else(|_| vec![], |it| it.changes)
            }
            Step::Fence { id } => fence(image, BrokerId(*id)),
            Step::Allocate { id } => allocate(image, BrokerId(*id), BrokerEpoch(0)).changes,
            Step::Commit { batches } => return self.commit(*batches),
            Step::Revert => return self.revert(),
        };
        self.append(changes);
    }

    fn commit(&mut self, batches: usize) {
        let open = self.log.iter().map(|(end, _)| *end).filter(|end| *end > self.committed);
        if let Some(end) = open.take(batches).last() {
            self.committed = end;
            let _ = self.controller.on_committed(end);
        }
    }

    /// The log loses what was not committed, and the controller hears of it.
    fn revert(&mut self) {
        self.log.retain(|(end, _)| *end <= self.committed);
        self.end = self.committed;
        self.controller.revert();
    }
}

fn new_topic(name: usize, partitions: i32, config: usize, by_hand: bool) -> NewTopic {
    let configs = SETTINGS.get(config).map(|(key, values)| ((*key).to_owned(), Some(values[0].to_owned())));
    let assignments = if by_hand { (0..partitions).map(|partition| (partition, vec![1])).collect() } else { vec![] };
    NewTopic {
        name: NAMES[name].into(),
        partitions: if by_hand { -1 } else { partitions },
        replication_factor: -1,
        assignments,
        configs: configs.into_iter().collect(),
    }
}

/// What holds of an image whatever happened.
fn check(image: &MetadataImage, before: &MetadataImage) {
    for topic in image.topics() {
        let old = before.topic_by_id(topic.id);
        assert_eq!(image.topic_by_id(topic.id), image.topic(&topic.name));
        for (place, it) in topic.partitions.iter().enumerate() {
            assert!(it.isr.iter().all(|id| it.replicas.contains(id)), "{it:?}");
            assert!(it.leader.is_none_or(|leader| it.isr.contains(&leader)), "{it:?}");
            assert_eq!(it.directories.len(), it.replicas.len());
            if let Some(old) = old.and_then(|old| old.partitions.get(place)) {
                assert!(it.leader_epoch >= old.leader_epoch && it.partition_epoch >= old.partition_epoch);
                assert!(it.leader == old.leader || it.leader_epoch > old.leader_epoch);
            }
        }
    }
    assert!(image.next_producer_id() >= before.next_producer_id());
    let ids: BTreeSet<Uuid> = image.topics().map(|topic| topic.id).collect();
    assert_eq!(ids.len(), image.topics().count(), "two topics have one id");
}

fn again(image: &MetadataImage) -> MetadataImage {
    let mut copy = MetadataImage::default();
    // As a snapshot is read: through the wire.
    let batch = encode(&image.dump(), 0);
    let changes = decode_batch(&RecordBatch::first_of(&batch).unwrap(), 1 << 20).unwrap();
    changes.iter().for_each(|change| copy.replay(image.end(), change));
    copy
}

proptest! {
    #[test]
    fn live_equals_replay_whatever_happens(steps in prop::collection::vec(step(), 0..60)) {
        let mut it = Cluster::new();
        for step in &steps {
            let (before, lost) = (it.controller.speculative().clone(), matches!(step, Step::Revert));
            it.take(step);
            prop_assert_eq!(it.controller.speculative(), &it.rebuilt(it.end));
            prop_assert_eq!(it.controller.committed(), &it.rebuilt(it.committed));
            if !lost {
                check(it.controller.speculative(), &before);
            }
        }
        let image = it.controller.speculative();
        prop_assert_eq!(&again(image), image);
    }
}
