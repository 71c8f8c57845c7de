//! The controller against its log: live images equal a rebuild, and decisions are refused as Kafka refuses them.

use super::*;
use crate::config::{BrokerConfig, Config};
use crate::raft::{ControlRecord, control_records};
use crate::record::{RecordBatch, batches};
use crate::rng::Rng;
use crate::types::BrokerId;
use ottla_wire::Uuid;

/// `__cluster_metadata` of a Kafka 4.3.1 node: topic `t` of two partitions, then three, its settings changed; topic
/// `gone`, deleted; a broker setting; a block of producer ids; a controlled shutdown, and a second start.
const KAFKAS_LOG: &[u8] = include_bytes!("../../tests/data/cluster_metadata_kafka_4_3_1.log");

/// A controller with the log that it writes.
struct Cluster {
    controller: Controller,
    log: Vec<Vec<u8>>,
    end: Offset,
    config: Config,
    rng: Rng,
}

impl Cluster {
    fn new() -> Self {
        let config = Config::new(BrokerConfig::for_test(1, &[]));
        let mut it =
            Self { controller: Controller::default(), log: Vec::new(), end: Offset::ZERO, config, rng: Rng::new(7) };
        it.append(bootstrap());
        let registration = Registration {
            id: BrokerId(1),
            incarnation: Uuid(1),
            endpoints: vec![BrokerEndpoint { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }],
            rack: Some("r1".into()),
            directories: vec![Uuid(9)],
            previous: None,
            ready: true,
        };
        let decision = register(it.controller.speculative(), &it.config, registration, it.end).unwrap();
        it.append(decision.changes);
        it
    }

    fn append(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.log.push(encode(&changes, 0));
        self.end += i64::try_from(changes.len()).unwrap();
        self.controller.on_appended(Extent { end: self.end, ..Extent::default() }, changes);
    }

    fn create(&mut self, name: &str, partitions: i32) -> Result<CreatedTopic, Refused> {
        let topic = NewTopic {
            name: name.into(),
            partitions,
            replication_factor: -1,
            assignments: vec![],
            configs: vec![("retention.ms".into(), Some("5000".into()))],
        };
        let decision = create(self.controller.speculative(), &self.config.broker, &[topic], &mut self.rng);
        self.append(decision.changes);
        decision.answer.into_iter().next().unwrap()
    }

    fn rebuilt(&self) -> MetadataImage {
        let mut image = MetadataImage::default();
        let mut end = Offset::ZERO;
        for bytes in &self.log {
            let changes = decode_batch(&RecordBatch::first_of(bytes).unwrap(), 1 << 20).unwrap();
            end += i64::try_from(changes.len()).unwrap();
            for change in &changes {
                image.replay(end, change);
            }
        }
        image
    }
}

#[test]
fn live_equals_replay() {
    let mut it = Cluster::new();
    it.create("t", 3).unwrap();
    it.create("u", 1).unwrap();
    let more = MorePartitions { name: "t".into(), count: 5, assignments: None };
    let decision = create_partitions(it.controller.speculative(), &it.config.broker, &[more], &mut it.rng);
    it.append(decision.changes);
    let gone = delete(it.controller.speculative(), &it.config.broker, &[TopicChoice::Name("u".into())]);
    it.append(gone.changes);
    let block = allocate(it.controller.speculative(), BrokerId(1), crate::types::BrokerEpoch(1));
    it.append(block.changes);
    assert_eq!(it.controller.speculative(), &it.rebuilt());
    let _ = it.controller.on_committed(it.end);
    assert_eq!(it.controller.committed(), &it.rebuilt());
    assert_eq!(it.rebuilt().topic("t").unwrap().partitions.len(), 5);
}

/// A group would have one coordinator for those who knew the topic before, and another for the rest.
#[test]
fn an_internal_topic_gets_no_more_partitions() {
    let mut it = Cluster::new();
    it.create(OFFSETS_TOPIC, 3).unwrap();
    let more = MorePartitions { name: OFFSETS_TOPIC.into(), count: 5, assignments: None };
    let decision = create_partitions(it.controller.speculative(), &it.config.broker, &[more], &mut it.rng);
    assert!(decision.changes.is_empty());
    assert_eq!(decision.answer[0].as_ref().unwrap_err().code, ErrorCode::INVALID_PARTITIONS);
}

/// The topic has one replica a partition, and there is one broker: two are one too many, however many there are.
#[test]
fn partitions_that_are_added_by_hand_have_as_many_replicas_as_those_before() {
    let mut it = Cluster::new();
    it.create("t", 1).unwrap();
    for (brokers, expected) in [(vec![1], None), (vec![1, 2], Some(ErrorCode::INVALID_REPLICA_ASSIGNMENT))] {
        let more = MorePartitions { name: "t".into(), count: 2, assignments: Some(vec![brokers]) };
        let mut image = it.controller.speculative().clone();
        let second = BrokerImage { fenced: false, ..image.broker(BrokerId(1)).unwrap().clone() };
        image.replay(it.end, &Change::RegisterBroker { id: BrokerId(2), broker: second });
        let decision = create_partitions(&image, &it.config.broker, &[more], &mut it.rng);
        assert_eq!(decision.answer[0].as_ref().err().map(|refused| refused.code), expected);
    }
}

#[test]
fn names_collide_with_those_of_the_same_request_too() {
    let mut it = Cluster::new();
    it.create("a.b", 1).unwrap();
    let topic = |name: &str| NewTopic {
        name: name.into(),
        partitions: 1,
        replication_factor: 1,
        assignments: vec![],
        configs: vec![],
    };
    let wanted = ["a_b", "a-b", "c_d.e", "c.d_e", "c.d"].map(topic);
    let decision = create(it.controller.speculative(), &it.config.broker, &wanted, &mut it.rng);
    let made: Vec<bool> = decision.answer.iter().map(Result::is_ok).collect();
    assert_eq!(made, [false, true, true, false, true]);
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
        previous: None,
        ready: true,
    };
    let decision = register(it.controller.speculative(), &it.config, again, it.end).unwrap();
    assert_eq!(decision.answer.0, it.end.0, "the epoch is the registration's offset");
    it.append(decision.changes);
    let partitions = &it.controller.speculative().topic("t").unwrap().partitions;
    assert!(partitions.iter().all(|partition| partition.leader_epoch.0 == 1 && partition.leader == Some(BrokerId(1))));
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

#[test]
fn a_log_that_kafka_wrote_is_replayed() {
    let mut image = MetadataImage::default();
    let mut voters = None;
    for batch in batches(KAFKAS_LOG) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        for record in control_records(&batch).unwrap() {
            if let ControlRecord::Voters(set) = record {
                voters = Some(set);
            }
        }
        for change in decode_batch(&batch, 1 << 20).unwrap() {
            image.replay(batch.header().next_offset(), &change);
        }
    }
    assert_eq!(voters.unwrap().len(), 1);
    assert_eq!(image.features().find(|(name, _)| *name == "metadata.version"), Some(("metadata.version", 30)));
    assert_eq!(image.topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["t"]);
    let settings = image.overrides(ResourceKind::Topic, "t").unwrap();
    assert_eq!(settings, &[("cleanup.policy".to_owned(), "compact".to_owned())].into());
    assert_eq!(image.overrides(ResourceKind::Broker, "").unwrap().get("message.max.bytes").unwrap(), "2000000");
    let partitions = &image.topic("t").unwrap().partitions;
    assert_eq!(partitions.len(), 3);
    for it in partitions {
        // Kafka's way of a controlled shutdown with eligible leader replicas (KIP-966).
        assert_eq!((it.leader, &*it.isr, &*it.elr), (None, &[][..], &[BrokerId(1)][..]));
        assert_eq!((it.leader_epoch.0, it.partition_epoch), (1, 1));
    }
    let broker = image.broker(BrokerId(1)).unwrap();
    assert!(broker.fenced && broker.shutting_down);
    assert_eq!((broker.epoch.0, broker.endpoints[0].port), (15, 29492));
    assert_eq!(image.next_producer_id(), 1000);
}
