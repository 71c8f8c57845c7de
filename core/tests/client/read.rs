//! What is read is the log, in order and without a gap, whatever breaks; and what cannot be, the reader says.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::client::{AutoOffsetReset, ClientConfig, Command, Event, FetchedRecord, IsolationLevel, Start};
use ottla_core::record::{
    BatchBuilder, BatchHead, BatchOptions, Codec, EndTxnMarker, NewRecord, Producer, RecordBatch,
};
use ottla_core::rng::Rng;
use ottla_core::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};

use crate::model::{Model, Partition};
use crate::world::{Servers, World};

fn config() -> ClientConfig {
    let mut config = ClientConfig { bootstrap_servers: vec!["bootstrap:9092".into()], ..ClientConfig::default() };
    config.reader.auto_offset_reset = AutoOffsetReset::Earliest;
    config
}

fn world(config: &ClientConfig, model: Model, seed: u64) -> World {
    World::new(config, Servers::Model(Box::new(model)), seed)
}

fn t(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

impl Partition {
    /// Appends a batch of records with these values.
    pub fn write(&mut self, values: &[u64], options: BatchOptions) {
        let mut builder = BatchBuilder::new(options);
        for value in values {
            let value = value.to_string();
            builder.append(&NewRecord { timestamp: 5, value: Some(value.as_bytes()), ..NewRecord::default() });
        }
        self.put(&builder.build());
    }

    fn put(&mut self, batch: &[u8]) {
        let count = RecordBatch::first_of(batch).unwrap().header().last_offset_delta + 1;
        let head = BatchHead::new(Offset(self.end), LeaderEpoch(self.leader_epoch), batch.len() - 16);
        self.log.extend_from_slice(&head.0);
        self.log.extend_from_slice(&batch[16..]);
        self.end += i64::from(count);
    }
}

/// A model with three partitions whose records have the values 0, 1, …
pub fn written(seed: u64, count: u64) -> Model {
    let mut model = Model::new(seed, 3, 3);
    let mut rng = Rng::new(seed);
    for partition in &mut model.topics.get_mut("t").unwrap().partitions {
        let mut next = 0;
        while next < count {
            let many = 1 + rng.below(20).min(count - next - 1);
            let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
            let compression = codecs[rng.below(5) as usize].at_default_level();
            let values: Vec<_> = (next..next + many).collect();
            partition.write(&values, BatchOptions { compression, ..BatchOptions::default() });
            next += many;
        }
    }
    model
}

/// Polls until all three partitions gave `count` records, or time is over. Other events are returned.
fn poll(world: &mut World, count: usize) -> (BTreeMap<i32, Vec<u64>>, Vec<String>) {
    let mut read: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    let mut others = Vec::new();
    for _ in 0..2_000 {
        world.command(Command::Poll { token: 0, timeout_ms: 100 });
        world.run_for(Duration::from_millis(150));
        for event in std::mem::take(&mut world.events) {
            match event {
                Event::Polled { records, .. } => {
                    for polled in records {
                        let values = polled.records.iter().map(value);
                        read.entry(polled.partition.partition).or_default().extend(values);
                    }
                }
                other => others.push(other.to_string()),
            }
        }
        if read.len() == 3 && read.values().all(|values| values.len() >= count) {
            break;
        }
    }
    (read, others)
}

pub fn value(record: &FetchedRecord) -> u64 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

fn assign_all(world: &mut World, start: Start) {
    for partition in 0..3 {
        world.command(Command::Assign { partition: t(partition), start });
    }
}

#[test]
fn every_version_of_fetch_reads_the_log() {
    for fetch_max in [4, 6, 7, 11, 12, 13, 15, 18] {
        let mut model = written(1, 200);
        model.fetch_max = fetch_max;
        let mut config = config();
        config.reader.max_partition_fetch_bytes = 300;
        config.reader.max_poll_records = 37;
        let mut world = world(&config, model, 1);
        assign_all(&mut world, Start::Earliest);
        let (read, mut others) = poll(&mut world, 200);
        others.sort();
        for values in read.values() {
            assert!(values.iter().copied().eq(0..200), "version {fetch_max}: {values:?}");
        }
        assert_eq!(others, ["position t-0@0", "position t-1@0", "position t-2@0"].map(String::from), "{fetch_max}");
    }
}

#[test]
fn a_session_names_only_what_changed() {
    let mut world = world(&config(), written(1, 50), 1);
    assign_all(&mut world, Start::Earliest);
    poll(&mut world, 50);
    let before = world.model().sessions.named;
    world.run_for(Duration::from_secs(1));
    let sessions = &world.model().sessions;
    assert_eq!(sessions.named, before, "nothing changes at the end of a log");
    assert!((1..=3).contains(&sessions.made), "{} sessions", sessions.made);
}

#[test]
fn the_log_is_read_in_order_whatever_breaks() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let mut model = written(seed, 300);
        model.sessions.lose = rng.below(200);
        let mut config = config();
        config.reader.max_partition_fetch_bytes = 200 + rng.below(2_000) as i32;
        config.reader.max_poll_records = 10 + rng.below(100) as usize;
        let mut world = world(&config, model, seed);
        world.break_chance = rng.below(100);
        world.refuse_chance = rng.below(200);
        world.latency_us = 100 + rng.below(20_000);
        assign_all(&mut world, Start::Offset(Offset(7)));
        let mut read: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for _ in 0..60 {
            let partition = rng.below(3) as usize;
            let leader = rng.below(3) as i32;
            let topic = world.model().topics.get_mut("t").unwrap();
            topic.partitions[partition].leader = leader;
            topic.partitions[partition].leader_epoch += 1;
            world.command(Command::Poll { token: 0, timeout_ms: 100 });
            world.run_for(Duration::from_millis(200));
            collect(&mut world, &mut read);
        }
        for _ in 0..300 {
            world.command(Command::Poll { token: 0, timeout_ms: 100 });
            world.run_for(Duration::from_millis(200));
            collect(&mut world, &mut read);
        }
        assert_eq!(read.len(), 3, "seed {seed}");
        for (partition, values) in &read {
            assert!(values.iter().copied().eq(7..300), "seed {seed}: {partition}: {values:?}");
        }
    }
}

fn collect(world: &mut World, read: &mut BTreeMap<i32, Vec<u64>>) {
    for event in std::mem::take(&mut world.events) {
        let Event::Polled { records, .. } = event else { panic!("{event}") };
        for polled in records {
            read.entry(polled.partition.partition).or_default().extend(polled.records.iter().map(value));
        }
    }
}

#[test]
fn a_log_that_was_cut_below_what_was_read_is_noticed() {
    for (reset, expected) in [
        (AutoOffsetReset::Latest, "truncated t-0 from 10 to 4"),
        (AutoOffsetReset::None, "read failed t-0: the log was cut below the position 10"),
    ] {
        let mut config = config();
        config.reader.auto_offset_reset = reset;
        config.metadata_max_age_ms = 1_000;
        let mut model = Model::new(1, 1, 1);
        let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
        partition.write(&[0, 1, 2, 3], BatchOptions::default());
        partition.leader_epoch = 1;
        let cut = partition.log.len();
        partition.write(&[4, 5, 6, 7, 8, 9], BatchOptions::default());
        let mut world = world(&config, model, 1);
        world.command(Command::Assign { partition: t(0), start: Start::Offset(Offset(0)) });
        world.command(Command::Poll { token: 0, timeout_ms: 1_000 });
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.events.pop().unwrap().to_string(), "polled 0 t-0@0..10");

        // An unclean election: another log takes the place of what was read.
        let partition = &mut world.model().topics.get_mut("t").unwrap().partitions[0];
        partition.log.truncate(cut);
        partition.end = 4;
        partition.leader_epoch = 2;
        partition.write(&[104, 105, 106, 107, 108, 109, 110, 111], BatchOptions::default());
        world.run_for(Duration::from_secs(3));
        world.command(Command::Poll { token: 1, timeout_ms: 1_000 });
        world.run_for(Duration::from_secs(2));
        let events: Vec<_> = world.events.iter().map(ToString::to_string).collect();
        assert_eq!(events[0], expected);
        let polled = if reset == AutoOffsetReset::None { "polled 1" } else { "polled 1 t-0@4..12" };
        assert_eq!(events[1], polled);
    }
}

#[test]
fn an_offset_outside_the_log_goes_where_the_setting_says() {
    for (reset, at, expected) in [
        (AutoOffsetReset::Earliest, 99, "position t-0@0"),
        (AutoOffsetReset::Latest, 99, "position t-0@3"),
        (AutoOffsetReset::None, 99, "read failed t-0: the offset 99 is outside the log"),
    ] {
        let mut config = config();
        config.reader.auto_offset_reset = reset;
        let mut model = Model::new(1, 1, 1);
        model.topics.get_mut("t").unwrap().partitions[0].write(&[0, 1, 2], BatchOptions::default());
        let mut world = world(&config, model, 1);
        world.command(Command::Assign { partition: t(0), start: Start::Offset(Offset(at)) });
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.events[0].to_string(), expected);
    }
}

#[test]
fn damaged_records_are_never_handed_out() {
    let mut model = Model::new(1, 1, 1);
    let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
    partition.write(&[0, 1, 2], BatchOptions::default());
    let good = partition.log.len();
    partition.write(&[3, 4, 5], BatchOptions::default());
    partition.log[good + 70] ^= 1;
    let mut world = world(&config(), model, 1);
    world.command(Command::Assign { partition: t(0), start: Start::Earliest });
    world.command(Command::Poll { token: 0, timeout_ms: 1_000 });
    world.run_for(Duration::from_secs(2));
    let events: Vec<_> = world.events.iter().map(ToString::to_string).collect();
    assert_eq!(events[0], "position t-0@0");
    assert_eq!(events[1], "polled 0 t-0@0..3");
    let damaged = "read failed t-0: the records at offset 3 are damaged: the stored CRC";
    assert!(events[2].starts_with(damaged), "{events:?}");
    world.command(Command::Poll { token: 1, timeout_ms: 1_000 });
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.events[3].to_string(), "polled 1", "it stays failed until it is assigned again");
}

#[test]
fn read_committed_sees_no_aborted_record_and_nobody_sees_a_marker() {
    let of = |id: i64, base_sequence| BatchOptions {
        producer: Producer { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence },
        transactional: true,
        ..BatchOptions::default()
    };
    let marker =
        |id: i64, commit| EndTxnMarker { commit, coordinator_epoch: 0 }.to_batch(ProducerId(id), ProducerEpoch(0), 5);
    for (isolation_level, expected) in [
        (IsolationLevel::ReadUncommitted, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (IsolationLevel::ReadCommitted, vec![0, 2, 4, 5, 7]),
    ] {
        let mut model = Model::new(1, 1, 1);
        let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
        partition.write(&[0], BatchOptions::default());
        partition.aborted.push((7, partition.end));
        partition.write(&[1], of(7, 0));
        partition.write(&[2], of(8, 0));
        partition.write(&[3], of(7, 1));
        partition.put(&marker(7, false));
        partition.write(&[4], of(7, 2));
        partition.put(&marker(8, true));
        partition.put(&marker(7, true));
        partition.write(&[5], BatchOptions::default());
        partition.aborted.push((8, partition.end));
        partition.write(&[6], of(8, 1));
        partition.put(&marker(8, false));
        partition.write(&[7], of(8, 2));
        partition.put(&marker(8, true));
        let end = partition.end;
        let mut config = config();
        config.reader.isolation_level = isolation_level;
        let mut world = world(&config, model, 1);
        world.command(Command::Assign { partition: t(0), start: Start::Offset(Offset(0)) });
        world.command(Command::Poll { token: 0, timeout_ms: 1_000 });
        world.run_for(Duration::from_secs(2));
        let [Event::Polled { records, .. }] = &world.events[..] else { panic!("{:?}", world.events) };
        let values: Vec<_> = records[0].records.iter().map(value).collect();
        assert_eq!(values, expected, "{isolation_level:?}");
        world.command(Command::Poll { token: 1, timeout_ms: 100 });
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.client.position(&t(0)), Some(Offset(end)), "it stands behind the last marker");
    }
}

/// The simulator branches worlds: a copy goes on as the original does.
#[test]
fn a_copy_goes_on_as_the_original_does() {
    let run = |copied: bool| {
        let mut model = written(3, 100);
        model.sessions.lose = 50;
        let mut world = world(&config(), model, 3);
        world.break_chance = 50;
        assign_all(&mut world, Start::Earliest);
        let mut log = Vec::new();
        for turn in 0..50 {
            world.command(Command::Poll { token: turn, timeout_ms: 100 });
            world.run_for(Duration::from_millis(120));
            if copied {
                world.client = world.client.clone();
            }
            log.extend(world.events.drain(..).map(|event| event.to_string()));
        }
        log
    };
    assert_eq!(run(true), run(false));
}
