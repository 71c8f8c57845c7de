//! The library.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::client::{
    Acks, Admin, ClientConfig, ClientError, Codec, Consumer, Error, ErrorCode, FetchedRecord, NewTopic, Offset,
    ProduceRecord, Producer, Resource, Start, TopicPartition, config,
};

use crate::{Cluster, fresh, nobody};

async fn topic(config: &ClientConfig, partitions: i32) -> (Admin, String) {
    let name = fresh("api");
    let admin = Admin::new(config).expect("a valid configuration");
    let new = NewTopic { name: name.as_str().into(), partitions: Some(partitions), ..NewTopic::default() };
    admin.create_topic(new).await.expect("it is created");
    (admin, name)
}

fn record(topic: &str, partition: i32, value: &str) -> ProduceRecord {
    let value = Some(value.to_owned().into());
    ProduceRecord { topic: topic.into(), partition: Some(partition), value, ..ProduceRecord::default() }
}

/// Reads `count` records of one partition.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<FetchedRecord> {
    let mut records = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while records.len() < count {
        assert!(tokio::time::Instant::now() < deadline, "only {} of {count} came", records.len());
        for polled in consumer.poll(Duration::from_secs(1)).await.expect("it can be read") {
            records.extend(polled.records);
        }
    }
    records
}

#[tokio::test]
async fn what_is_written_in_any_codec_is_read_as_it_was() {
    let cluster = Cluster::get();
    let config = config(&cluster.brokers);
    let (_, topic) = topic(&config, 1).await;
    let header = |value: Option<&'static [u8]>| (b"h".as_slice().into(), value.map(Into::into));
    let mut written = Vec::new();
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut config = config.clone();
        config.producer.compression = codec.at_default_level();
        let producer = Producer::new(&config).expect("a valid configuration");
        for number in 0..50 {
            let record = ProduceRecord {
                timestamp_ms: Some(1_700_000_000_000 + number),
                key: (number % 3 > 0).then(|| format!("key {number}").into()),
                value: (number % 5 > 0).then(|| format!("{codec:?} {number} ").repeat(20).into()),
                headers: if number % 2 == 0 {
                    vec![header(Some(b"v")), header(None), header(Some(b""))]
                } else {
                    vec![]
                },
                ..self::record(&topic, 0, "")
            };
            written.push(record.clone());
            drop(producer.enqueue(record).await.expect("there is room"));
        }
        producer.flush().await.expect("it is there");
    }
    let mut consumer = Consumer::new(&config).expect("a valid configuration");
    consumer.assign(TopicPartition::new(topic.as_str(), 0), Start::Earliest).expect("it is there");
    let read = read(&mut consumer, written.len()).await;
    for (offset, (written, read)) in (0..).zip(written.iter().zip(&read)) {
        assert_eq!(read.offset, Offset(offset));
        assert_eq!(Some(read.timestamp_ms), written.timestamp_ms);
        assert_eq!((&read.key, &read.value, &read.headers), (&written.key, &written.value, &written.headers));
    }
    assert_eq!(read.len(), written.len());
}

/// The partitions are those that the Java client's hash gives for these keys: see `partitioner` in the core.
#[tokio::test]
async fn keys_choose_partitions_and_order_is_kept_within_each() {
    let cluster = Cluster::get();
    let config = config(&cluster.brokers);
    let (_, topic) = topic(&config, 4).await;
    let producer = Producer::new(&config).expect("a valid configuration");
    let keyed = |key: &'static str| ProduceRecord { partition: None, key: Some(key.into()), ..record(&topic, 0, "it") };
    for (key, partition) in [("foobar", -790_332_482_i32), ("21", -973_932_308), ("abc", 479_470_107)] {
        let first = producer.send(keyed(key)).await.expect("it is written");
        let second = producer.send(keyed(key)).await.expect("it is written");
        assert_eq!(first.partition.partition, (partition & i32::MAX) % 4, "{key}");
        assert_eq!(second.partition, first.partition);
        assert_eq!(second.offset.expect("acknowledged").0, first.offset.expect("acknowledged").0 + 1);
    }
}

#[tokio::test]
async fn many_records_at_once_have_one_report() {
    let cluster = Cluster::get();
    let mut config = config(&cluster.brokers);
    config.producer.max_request_size = 1_000;
    let (_, topic) = topic(&config, 2).await;
    let producer = Producer::new(&config).expect("a valid configuration");
    let mut records: Vec<_> = (0..5_000).map(|number| record(&topic, number % 2, &number.to_string())).collect();
    records[7].value = Some(vec![0; 2_000].into());
    records[9].partition = Some(77);
    let report = producer.enqueue_all(records).await.expect("there is room").await.expect("it is there");
    assert_eq!(report.delivered, 4_998);
    let failed: BTreeMap<_, _> = report.failed.into_iter().collect();
    let why = |index: usize| match &failed[&index] {
        Error::Failed { error, definite: true, .. } => error.clone(),
        other @ (Error::Failed { .. }
        | Error::Config(_)
        | Error::NoRoom { .. }
        | Error::NoLeader(_)
        | Error::Closed) => {
            panic!("{other}")
        }
    };
    assert!(matches!(why(7), ClientError::RecordTooLarge(_)));
    assert_eq!(why(9), ClientError::NoPartition(77));
    let nothing = producer.enqueue_all(Vec::new()).await.expect("there is room").await.expect("it is there");
    assert_eq!(nothing.delivered, 0);
}

/// A producer waits for room: far more is written than `buffer.memory` holds.
#[tokio::test]
async fn a_small_buffer_memory_slows_down_and_loses_nothing() {
    let cluster = Cluster::get();
    let mut config = config(&cluster.brokers);
    config.producer.buffer_memory = 10_000;
    config.producer.linger_ms = 0;
    let (admin, topic) = topic(&config, 1).await;
    let producer = Producer::new(&config).expect("a valid configuration");
    let text = "x".repeat(900);
    for _ in 0..300 {
        drop(producer.enqueue(record(&topic, 0, &text)).await.expect("there is room in time"));
    }
    producer.flush().await.expect("it is there");
    let end = admin.end_offset(&TopicPartition::new(topic.as_str(), 0)).await;
    assert_eq!(end, Ok(Offset(300)));
}

#[tokio::test]
async fn acks_of_none_and_of_the_leader_are_written_too() {
    let cluster = Cluster::get();
    let base = config(&cluster.brokers);
    let (_, topic) = topic(&base, 1).await;
    for acks in [Acks::None, Acks::Leader] {
        let mut config = base.clone();
        (config.producer.acks, config.producer.enable_idempotence) = (acks, false);
        let producer = Producer::new(&config).expect("a valid configuration");
        let sent = producer.send(record(&topic, 0, "it")).await.expect("it is sent");
        assert_eq!(sent.offset.is_some(), acks == Acks::Leader);
        let partition = TopicPartition::new(topic.as_str(), 0);
        let mut consumer = Consumer::new(&base).expect("a valid configuration");
        consumer.assign(partition, Start::Earliest).expect("it is there");
        read(&mut consumer, if acks == Acks::None { 1 } else { 2 }).await;
    }
}

/// Nobody answers, so that what a program has flushed before it ends must have left.
#[tokio::test]
async fn what_is_flushed_without_acks_has_left() {
    const RECORDS: u16 = 20_000;
    let cluster = Cluster::get();
    let base = config(&cluster.brokers);
    let (admin, topic) = topic(&base, 1).await;
    let mut config = base.clone();
    (config.producer.acks, config.producer.enable_idempotence) = (Acks::None, false);
    let producer = Producer::new(&config).expect("a valid configuration");
    let value = "x".repeat(1_000);
    producer.enqueue_all(vec![record(&topic, 0, &value); usize::from(RECORDS)]).await.expect("there is room");
    producer.flush().await.expect("it is there");
    drop(producer);
    let partition = TopicPartition::new(topic.as_str(), 0);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while admin.end_offset(&partition).await != Ok(Offset(RECORDS.into())) {
        assert!(tokio::time::Instant::now() < deadline, "they do not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_poll_that_is_dropped_loses_nothing() {
    let cluster = Cluster::get();
    let config = config(&cluster.brokers);
    let (_, topic) = topic(&config, 1).await;
    let producer = Producer::new(&config).expect("a valid configuration");
    let mut consumer = Consumer::new(&config).expect("a valid configuration");
    let partition = TopicPartition::new(topic.as_str(), 0);
    consumer.assign(partition.clone(), Start::Earliest).expect("it is there");
    let mut offsets = Vec::new();
    for number in 0..40_u64 {
        producer.send(record(&topic, 0, &number.to_string())).await.expect("it is written");
        // Some of these end in time, others are given up with a poll under way.
        let poll = tokio::time::timeout(Duration::from_micros(number * 150), consumer.poll(Duration::from_secs(1)));
        for polled in poll.await.unwrap_or(Ok(Vec::new())).expect("it can be read") {
            offsets.extend(polled.records.iter().map(|record| record.offset.0));
        }
    }
    let rest = read(&mut consumer, 40 - offsets.len()).await;
    offsets.extend(rest.iter().map(|record| record.offset.0));
    assert_eq!(offsets, (0..40).collect::<Vec<_>>());
    assert_eq!(consumer.position(&partition).await, Some(Offset(40)));
}

#[tokio::test]
async fn a_topic_is_created_described_altered_and_deleted() {
    let cluster = Cluster::get();
    let (admin, topic) = topic(&config(&cluster.brokers), 2).await;
    let again = admin.create_topic(NewTopic { name: topic.as_str().into(), ..NewTopic::default() }).await;
    assert_eq!(again.expect_err("it is there").code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));

    admin.create_partitions(&topic, 5).await.expect("it gets more");
    let entries = vec![("retention.ms".into(), Some("123456".into())), ("segment.ms".into(), Some("777777".into()))];
    admin.alter_configs(Resource::Topic, &topic, entries).await.expect("it is set");
    admin.alter_configs(Resource::Topic, &topic, vec![("segment.ms".into(), None)]).await.expect("it is unset");
    let wrong = vec![("retention.ms".into(), Some("soon".into()))];
    let wrong = admin.alter_configs(Resource::Topic, &topic, wrong).await.expect_err("no number");
    assert_eq!(wrong.code(), Some(ErrorCode::INVALID_CONFIG), "{wrong}");
    let value = |entries: &[ottla::client::ConfigEntry], name: &str| {
        entries.iter().find(|entry| &*entry.name == name).and_then(|entry| entry.value.clone())
    };
    // A broker of Kafka learns of a change a moment after it was acknowledged.
    let mut seen = (Vec::new(), 0);
    for _ in 0..100 {
        let configs = admin.describe_configs(Resource::Topic, &topic).await.expect("it is there");
        let described = admin.describe_topics(&[&topic]).await.expect("it is there");
        seen = (configs, described.topics[0].partitions.len());
        if value(&seen.0, "retention.ms").as_deref() == Some("123456") && seen.1 == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (configs, partitions) = seen;
    assert_eq!((value(&configs, "retention.ms").as_deref(), partitions), (Some("123456"), 5));
    assert_ne!(value(&configs, "segment.ms").as_deref(), Some("777777"));
    let described = admin.describe_topics(&[&topic]).await.expect("it is there");
    assert!(!described.brokers.is_empty());
    admin.delete_topic(&topic).await.expect("it is there");
    assert_eq!(
        admin.delete_topic(&topic).await.expect_err("it is gone").code(),
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    );
    let described = admin.describe_topics(&[&topic]).await.expect("an answer");
    assert_eq!(described.topics[0].error, Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[tokio::test]
async fn records_are_found_by_time_and_deleted() {
    let cluster = Cluster::get();
    let config = config(&cluster.brokers);
    let (admin, topic) = topic(&config, 1).await;
    let producer = Producer::new(&config).expect("a valid configuration");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_millis();
    let first = i64::try_from(now).expect("it fits") - 100_000;
    for number in 0..10 {
        let record = ProduceRecord { timestamp_ms: Some(first + number * 1_000), ..record(&topic, 0, "it") };
        producer.send(record).await.expect("it is written");
    }
    let partition = TopicPartition::new(topic.as_str(), 0);
    assert_eq!(admin.offset_at(&partition, first + 3_500).await, Ok(Some(Offset(4))));
    assert_eq!(admin.offset_at(&partition, first + 60_000).await, Ok(None));
    assert_eq!(admin.delete_records(partition.clone(), Some(Offset(6))).await, Ok(Offset(6)));
    assert_eq!(admin.start_offset(&partition).await, Ok(Offset(6)));
    assert_eq!(admin.end_offset(&partition).await, Ok(Offset(10)));
    let mut consumer = Consumer::new(&config).expect("a valid configuration");
    consumer.assign(partition, Start::Timestamp { ms: first + 8_000 }).expect("it is there");
    assert_eq!(read(&mut consumer, 2).await[0].offset, Offset(8));
}

#[tokio::test]
async fn offsets_of_a_group_are_committed_listed_described_and_deleted() {
    let cluster = Cluster::get();
    let (admin, topic) = topic(&config(&cluster.brokers), 2).await;
    let group = fresh("group");
    let partition = TopicPartition::new(topic.as_str(), 1);
    admin.commit_offsets(&group, vec![(partition.clone(), Offset(17))]).await.expect("it has no members");
    let committed = admin.committed_offsets(&group).await.expect("it is there");
    assert_eq!(
        committed.iter().map(|it| (it.partition.clone(), it.offset)).collect::<Vec<_>>(),
        [(partition, Offset(17))]
    );
    let listed = admin.list_groups().await.expect("a list");
    assert!(listed.iter().any(|it| *it.group == *group && &*it.state == "Empty"), "{listed:?}");
    let described = admin.describe_group(&group).await.expect("it is there");
    assert_eq!((&*described.state, described.members.len()), ("Empty", 0));
    admin.delete_group(&group).await.expect("it is empty");
    let gone = admin.delete_group(&group).await.expect_err("it is gone");
    assert!(gone.to_string().starts_with("GROUP_ID_NOT_FOUND"), "{gone}");
    assert!(admin.describe_group(&group).await.is_err());
}

#[tokio::test]
async fn two_members_share_a_topic_and_what_they_commit_is_kept() {
    let cluster = Cluster::get();
    let mut config = config(&cluster.brokers);
    let (admin, topic) = topic(&config, 2).await;
    let group = fresh("members");
    config.group.group_id = Some(group.as_str().into());
    config.group.enable_auto_commit = false;
    config.reader.auto_offset_reset = ottla::client::AutoOffsetReset::Earliest;
    let producer = Producer::new(&config).expect("a valid configuration");
    for number in 0..20 {
        producer.send(record(&topic, number % 2, "it")).await.expect("it is written");
    }
    let mut members = [(); 2].map(|()| Consumer::new(&config).expect("a valid configuration"));
    for member in &mut members {
        member.subscribe(&[&topic]).expect("it is there");
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // Who has read both partitions before the other came begins anew, as nothing was committed.
    let mut done = 0;
    while done < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{members:?}");
        done = 0;
        for member in &mut members {
            member.poll(Duration::from_millis(50)).await.expect("the group is well");
            let given: Vec<_> = member.assignment().cloned().collect();
            if let [partition] = &given[..] {
                done += u32::from(member.position(partition).await == Some(Offset(10)));
            }
        }
    }
    for mut member in members {
        member.commit().await.expect("it is a member");
        member.close().await.expect("it leaves");
    }
    let committed = admin.committed_offsets(&group).await.expect("it is there");
    assert_eq!(committed.iter().map(|it| it.offset.0).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(&*admin.describe_group(&group).await.expect("it is there").state, "Empty");
}

/// A member of a group, with the group's name, that was given 4 of the 10 records of a topic, while a poll that was
/// dropped has taken 4 more.
async fn member_with_a_dropped_poll(config: &ClientConfig) -> (Admin, TopicPartition, Consumer, String) {
    let (admin, topic) = topic(config, 1).await;
    let group = fresh("dropped");
    let mut config = config.clone();
    config.group.group_id = Some(group.as_str().into());
    config.reader.auto_offset_reset = ottla::client::AutoOffsetReset::Earliest;
    config.reader.max_poll_records = 4;
    let producer = Producer::new(&config).expect("a valid configuration");
    for _ in 0..10 {
        producer.send(record(&topic, 0, "it")).await.expect("it is written");
    }
    let mut member = Consumer::new(&config).expect("a valid configuration");
    member.subscribe(&[&topic]).expect("it is there");
    read(&mut member, 4).await;
    tokio::select! {
        biased;
        polled = member.poll(Duration::from_secs(30)) => panic!("it waits for its turn: {polled:?}"),
        () = std::future::ready(()) => {}
    }
    let partition = TopicPartition::new(topic.as_str(), 0);
    let taken = async {
        while member.position(&partition).await != Some(Offset(8)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken).await.expect("the poll takes them");
    (admin, partition, member, group)
}

async fn committed(admin: &Admin, group: &str) -> Vec<i64> {
    let committed = admin.committed_offsets(group).await.expect("it is there");
    committed.iter().map(|it| it.offset.0).collect()
}

#[tokio::test]
async fn a_member_that_leaves_commits_nothing_that_a_dropped_poll_has_taken() {
    let cluster = Cluster::get();
    let (admin, _, member, group) = member_with_a_dropped_poll(&config(&cluster.brokers)).await;
    member.close().await.expect("it leaves");
    assert_eq!(committed(&admin, &group).await, [4]);
}

#[tokio::test]
async fn a_commit_is_of_what_was_given_and_not_of_what_a_dropped_poll_has_taken() {
    let cluster = Cluster::get();
    let mut config = config(&cluster.brokers);
    config.group.enable_auto_commit = false;
    let (admin, partition, mut member, group) = member_with_a_dropped_poll(&config).await;
    member.commit().await.expect("it is a member");
    assert_eq!(committed(&admin, &group).await, [4]);
    let rest = read(&mut member, 6).await;
    assert_eq!(rest.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
    member.commit().await.expect("it is a member");
    assert_eq!(committed(&admin, &group).await, [10]);
    // A place that nothing was read from is one too.
    member.seek(partition, Start::Offset(Offset(7))).expect("it is read");
    member.commit().await.expect("it is a member");
    assert_eq!(committed(&admin, &group).await, [7]);
}

#[tokio::test]
async fn a_seek_drops_what_a_dropped_poll_has_taken() {
    let cluster = Cluster::get();
    let mut config = config(&cluster.brokers);
    config.group.enable_auto_commit = false;
    let (admin, partition, mut member, group) = member_with_a_dropped_poll(&config).await;
    member.seek(partition, Start::Offset(Offset(1))).expect("it is read");
    let again = read(&mut member, 9).await;
    assert_eq!(again.iter().map(|record| record.offset.0).collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
    member.commit().await.expect("it is a member");
    assert_eq!(committed(&admin, &group).await, [10]);
}

#[tokio::test]
async fn who_cannot_be_reached_is_named() {
    let address = nobody();
    let mut config = config(&address);
    (config.default_api_timeout_ms, config.producer.max_block_ms) = (500, 500);
    let error =
        Admin::new(&config).expect("a valid configuration").describe_cluster().await.expect_err("nobody is there");
    assert!(error.to_string().contains(&format!("cannot connect to {address}: Connection refused")), "{error}");
    let producer = Producer::new(&config).expect("a valid configuration");
    let error = producer.send(record("t", 0, "it")).await.expect_err("nobody is there");
    assert!(error.is_definite() && error.to_string().contains(&address), "{error}");
    let none = Producer::new(&ClientConfig::default()).expect_err("no server is named").to_string();
    assert!(none.contains("bootstrap.servers"), "{none}");
}
