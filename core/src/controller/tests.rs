//! The controller against its log: live images equal a rebuild, and decisions are refused as Kafka refuses them.

mod properties;

use super::*;
use crate::config::BrokerConfig;
use crate::record::RecordBatch;
use crate::rng::Rng;
use crate::types::BrokerId;
use ottla_wire::Uuid;

/// A controller with the log that it writes.
struct Cluster {
    controller: Controller,
    /// The batches, each with the offset after it.
    log: Vec<(Offset, Vec<u8>)>,
    end: Offset,
    committed: Offset,
    config: BrokerConfig,
    rng: Rng,
}

impl Cluster {
    fn new() -> Self {
        let config = BrokerConfig::for_test(1, &[]);
        let mut it = Self {
            controller: Controller::default(),
            log: Vec::new(),
            end: Offset::ZERO,
            committed: Offset::ZERO,
            config,
            rng: Rng::new(7),
        };
        it.append(bootstrap());
        let decision = register(it.controller.speculative(), registration(1, 1), it.end).unwrap();
        it.append(decision.changes);
        it
    }

    fn append(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.end += i64::try_from(changes.len()).unwrap();
        self.log.push((self.end, encode(&changes, 0)));
        self.controller.on_appended(self.end, changes);
    }

    fn create(&mut self, name: &str, partitions: i32) -> Result<CreatedTopic, Refused> {
        let topic = NewTopic {
            name: name.into(),
            partitions,
            replication_factor: -1,
            assignments: vec![],
            configs: vec![("retention.ms".into(), Some("5000".into()))],
        };
        let decision = create(self.controller.speculative(), &self.config, &[topic], &mut self.rng);
        self.append(decision.changes);
        decision.answer.into_iter().next().unwrap()
    }

    /// What a reader makes of the log below `end`.
    fn rebuilt(&self, end: Offset) -> MetadataImage {
        let mut image = MetadataImage::default();
        for (batch_end, bytes) in self.log.iter().filter(|(batch_end, _)| *batch_end <= end) {
            let changes = decode_batch(&RecordBatch::first_of(bytes).unwrap(), 1 << 20).unwrap();
            for change in &changes {
                image.replay(*batch_end, change);
            }
        }
        image
    }
}

fn registration(id: i32, incarnation: u128) -> Registration {
    Registration {
        id: BrokerId(id),
        incarnation: Uuid(incarnation),
        endpoints: vec![BrokerEndpoint { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }],
        rack: Some("r1".into()),
        directories: vec![Uuid(9)],
    }
}

#[test]
fn live_equals_replay() {
    let mut it = Cluster::new();
    it.create("t", 3).unwrap();
    it.create("u", 1).unwrap();
    let more = MorePartitions { name: "t".into(), count: 5, assignments: None };
    let decision = create_partitions(it.controller.speculative(), &it.config, &[more], &mut it.rng);
    it.append(decision.changes);
    let gone = delete(it.controller.speculative(), &it.config, &[TopicChoice::Name("u".into())]);
    it.append(gone.changes);
    let block = allocate(it.controller.speculative(), BrokerId(1), crate::types::BrokerEpoch(1));
    it.append(block.changes);
    assert_eq!(it.controller.speculative(), &it.rebuilt(it.end));
    let _ = it.controller.on_committed(it.end);
    assert_eq!(it.controller.committed(), &it.rebuilt(it.end));
    assert_eq!(it.rebuilt(it.end).topic("t").unwrap().partitions.len(), 5);
}

#[test]
fn a_decision_sees_what_is_not_committed_and_a_reader_does_not() {
    let mut it = Cluster::new();
    it.create("t", 1).unwrap();
    assert_eq!(it.create("t", 1).unwrap_err().code, ErrorCode::TOPIC_ALREADY_EXISTS);
    assert!(it.controller.committed().topic("t").is_none());
    it.controller.revert();
    assert!(it.controller.speculative().topic("t").is_none());
}

#[test]
fn a_new_incarnation_raises_the_epoch_of_what_it_led() {
    let mut it = Cluster::new();
    it.create("t", 2).unwrap();
    let again = Registration {
        id: BrokerId(1),
        incarnation: Uuid(2),
        endpoints: vec![],
        rack: None,
        directories: vec![Uuid(9)],
    };
    let decision = register(it.controller.speculative(), again, it.end).unwrap();
    assert_eq!(decision.answer.0, it.end.0, "the epoch is the registration's offset");
    it.append(decision.changes);
    let partitions = &it.controller.speculative().topic("t").unwrap().partitions;
    assert!(partitions.iter().all(|partition| partition.leader_epoch.0 == 1 && partition.leader == Some(BrokerId(1))));
}

#[test]
fn who_is_fenced_leads_nothing_until_it_registers_again() {
    let mut it = Cluster::new();
    it.create("t", 2).unwrap();
    let changes = fence(it.controller.speculative(), BrokerId(1));
    it.append(changes);
    let image = it.controller.speculative();
    let partition = image.partition("t", 0).unwrap();
    assert_eq!((partition.leader, &*partition.isr, partition.leader_epoch.0), (None, &[BrokerId(1)][..], 1));
    assert!(fence(image, BrokerId(1)).is_empty());
    // Nobody can take a new topic meanwhile.
    assert_eq!(it.create("u", 1).unwrap_err().code, ErrorCode::INVALID_REPLICATION_FACTOR);
    let decision = register(it.controller.speculative(), registration(1, 2), it.end).unwrap();
    it.append(decision.changes);
    let partition = it.controller.speculative().partition("t", 0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch.0), (Some(BrokerId(1)), 2));
    // A change that was meant for the incarnation before.
    let (id, epoch) = (BrokerId(1), crate::types::BrokerEpoch(1));
    let delta = BrokerDelta { fenced: Some(true), ..BrokerDelta::default() };
    it.append(vec![Change::BrokerChange { id, epoch, delta }]);
    assert!(it.controller.speculative().is_active(id));
}

#[test]
fn a_partition_passes_to_a_replica_that_is_in_sync() {
    let mut it = Cluster::new();
    let decision = register(it.controller.speculative(), registration(2, 1), it.end).unwrap();
    it.append(decision.changes);
    let topic = NewTopic {
        name: "t".into(),
        partitions: -1,
        replication_factor: -1,
        assignments: vec![(0, vec![1, 2]), (1, vec![2, 1])],
        configs: vec![],
    };
    let decision = create(it.controller.speculative(), &it.config, &[topic], &mut it.rng);
    it.append(decision.changes);
    let changes = fence(it.controller.speculative(), BrokerId(1));
    it.append(changes);
    for (partition, leader_epoch) in [(0, 1), (1, 0)] {
        let it = it.controller.speculative().partition("t", partition).unwrap();
        assert_eq!((it.leader, &*it.isr), (Some(BrokerId(2)), &[BrokerId(2)][..]));
        assert_eq!(it.leader_epoch.0, leader_epoch);
    }
}

#[test]
fn names_and_numbers_are_checked_as_in_kafka() {
    let mut it = Cluster::new();
    it.create("a.b", 1).unwrap();
    let refused = |it: &mut Cluster, name: &str, count| it.create(name, count).unwrap_err().code;
    assert_eq!(refused(&mut it, "a_b", 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(refused(&mut it, "", 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(refused(&mut it, "..", 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(refused(&mut it, "ä", 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(refused(&mut it, &"x".repeat(250), 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(refused(&mut it, "c", 0), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(refused(&mut it, "c", i32::MAX), ErrorCode::POLICY_VIOLATION);
}

#[test]
fn refusals_are_in_kafkas_words() {
    let mut it = Cluster::new();
    let topic = |name: &str, assignments, value: Option<&str>| NewTopic {
        name: name.into(),
        partitions: -1,
        replication_factor: -1,
        assignments,
        configs: vec![("retention.ms".into(), value.map(str::to_owned))],
    };
    let topics = [
        topic("n.1", vec![], Some("1")),
        topic("n_1", vec![], Some("1")),
        topic("null", vec![], None),
        topic("twice", vec![(0, vec![1]), (0, vec![1])], Some("1")),
        topic("gap", vec![(1, vec![1])], Some("1")),
        topic("unknown", vec![(0, vec![7])], Some("1")),
        topic("none", vec![(0, vec![])], Some("1")),
        topic("same", vec![(0, vec![1, 1])], Some("1")),
    ];
    let answer = create(it.controller.speculative(), &it.config, &topics, &mut it.rng).answer;
    let told: Vec<String> =
        answer.iter().map(|it| it.as_ref().map_or_else(|no| no.message.clone(), |_| "ok".into())).collect();
    let expected = [
        "ok",
        "Topic 'n_1' collides with existing topic: n.1",
        "Null value not supported for topic configs: retention.ms",
        "Found multiple manual partition assignments for partition 0",
        "partitions should be a consecutive 0-based integer sequence",
        "The manual partition assignment includes broker 7, but no such broker is registered.",
        "The manual partition assignment includes an empty replica list.",
        "The manual partition assignment includes the broker 1 more than once.",
    ];
    assert_eq!(told, expected);
}

#[test]
fn settings_are_changed_and_checked_as_a_whole() {
    let mut it = Cluster::new();
    it.create("t", 1).unwrap();
    let change = |name: &str, operation, value: Option<&str>| ConfigChange {
        name: name.into(),
        operation,
        value: value.map(str::to_owned),
    };
    let alteration = Alteration {
        kind: 2,
        name: "t".into(),
        changes: vec![
            change("retention.ms", Operation::Delete, None),
            change("cleanup.policy", Operation::Append, Some("compact")),
        ],
        replaces: false,
    };
    let decision = alter(it.controller.speculative(), &it.config, &[alteration]);
    assert_eq!(decision.answer, [Ok(())]);
    it.append(decision.changes);
    let overrides = it.controller.speculative().overrides(ResourceKind::Topic, "t").unwrap();
    assert_eq!(overrides.get("cleanup.policy").map(String::as_str), Some("delete,compact"));
    assert!(!overrides.contains_key("retention.ms"));

    let bad = Alteration {
        kind: 2,
        name: "t".into(),
        changes: vec![change("retention.mss", Operation::Set, Some("1"))],
        replaces: false,
    };
    let decision = alter(it.controller.speculative(), &it.config, &[bad]);
    assert_eq!(decision.answer[0].as_ref().unwrap_err().code, ErrorCode::INVALID_CONFIG);
}
