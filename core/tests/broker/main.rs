//! The whole machine on a disk in memory, spoken to in frames: what a start does when storage fails, what is bounded.

#![allow(clippy::wildcard_enum_match_arm, reason = "what a test does not look for it passes over")]
#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

mod consumer_groups;
mod delete_records;
#[path = "../log/disk.rs"]
#[allow(dead_code, dropping_copy_types, reason = "the tests of the logs use more of it")]
mod disk;
mod groups;
#[path = "../client/node.rs"]
#[allow(dead_code, reason = "the tests of the client use more of it")]
mod node;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use disk::Crash;
use ottla_core::machine::DiskError;
use ottla_wire::api::delete_topics::DeleteTopicsRequest;
use ottla_wire::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_wire::api::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::api::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::{ApiKey, ErrorCode, Message, Uuid};
use world::World;

/// A version of Fetch that names topics by their ids.
const BY_ID: i16 = 16;

/// Two directories with six partitions, each with a record.
fn in_two_directories() -> World {
    let mut world = World::new(&[("log.dirs", "/a,/b")]);
    world.create_topic("t", 6);
    for partition in 0..6 {
        assert_eq!(world.produce("t", partition, -1, 1000), Some(ErrorCode::NONE));
    }
    world.run_for(Duration::from_secs(10));
    world
}

#[test]
fn a_start_ends_whatever_fails_and_makes_no_lost_log_anew() {
    let world = in_two_directories();
    let (mut ready, mut stopped, mut without) = (0, 0, 0);
    for nth in 1..250 {
        let mut world = world.clone();
        world.restart(Crash::Kill, Some((nth, DiskError::Io(5))));
        assert!(world.node.ready || world.node.stopped, "operation {nth}: the start hangs");
        if world.node.stopped {
            stopped += 1;
            assert!(!world.node.notes.is_empty(), "operation {nth}: it ends without a reason");
            continue;
        }
        ready += 1;
        let view = world.node.machine.view();
        without += usize::from(view.log_dirs[1].health == "offline");
        for it in view.partitions.iter().filter(|it| it.leader_epoch.is_some()) {
            assert_eq!(it.log_end, 1, "operation {nth}: {}-{} is led without its record", it.topic, it.partition);
        }
        // What is not led now was not lost: the next start finds it.
        world.restart(Crash::Kill, None);
        assert!(world.node.ready, "operation {nth}: {:?}", world.node.notes);
        let view = world.node.machine.view();
        let led = view.partitions.iter().filter(|it| it.leader_epoch.is_some() && it.log_end == 1).count();
        assert_eq!(led, 6, "operation {nth}: {:?}", world.node.notes);
    }
    assert!(
        ready > 50 && stopped > 20 && without > 10,
        "{ready} ready, {without} of them without /b; {stopped} stopped"
    );
}

/// Copies a log to the other directory, as if that had failed, and were back with what it had.
fn copy_to_the_other(world: &mut World, partition: &str) {
    let (here, there) = (format!("{partition}/"), format!("log directory 1/{partition}/"));
    let names = world.node.disk.names();
    for name in names {
        let copy = name.strip_prefix(&there).map(|file| format!("{here}{file}"));
        let Some(copy) = copy.or_else(|| name.strip_prefix(&here).map(|file| format!("{there}{file}"))) else {
            continue;
        };
        let bytes = world.node.disk.bytes(&name).clone();
        world.node.disk.plant(&copy, bytes);
    }
}

#[test]
fn of_two_logs_of_a_partition_the_one_that_the_metadata_knows_counts() {
    let mut world = in_two_directories();
    for partition in 0..6 {
        copy_to_the_other(&mut world, &format!("t-{partition}"));
    }
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::NONE), "the other one is older");
    world.run_for(Duration::from_secs(10));
    world.restart(Crash::Kill, None);
    let view = world.node.machine.view();
    let ends: BTreeMap<i32, (i64, bool)> =
        view.partitions.iter().map(|it| (it.partition, (it.log_end, it.leader_epoch.is_some()))).collect();
    let expected = (0..6).map(|partition| (partition, (if partition == 0 { 2 } else { 1 }, true))).collect();
    assert_eq!(ends, expected, "{:?}", world.node.notes);
    let told = world.node.notes.iter().filter(|note| note.contains("lies in /") && note.contains("remove that in"));
    assert_eq!(told.count(), 6, "{:?}", world.node.notes);
    // What is left alone is in nobody's way, and nothing is written there.
    let request = DeleteTopicsRequest { topic_names: vec!["t"], timeout_ms: 1000, ..Default::default() };
    world.call(ApiKey::DeleteTopics, 5, &request);
    world.create_topic("t", 6);
    for partition in 0..6 {
        assert_eq!(world.produce("t", partition, -1, 1000), Some(ErrorCode::NONE), "{:?}", world.node.notes);
    }
    world.restart(Crash::Kill, None);
    let view = world.node.machine.view();
    assert_eq!(view.partitions.iter().filter(|it| it.leader_epoch.is_some() && it.log_end == 1).count(), 6);
}

#[test]
fn of_two_logs_of_a_partition_that_the_metadata_does_not_know_none_counts() {
    let mut world = in_two_directories();
    let names = world.node.disk.names();
    let beside: Vec<String> = (0..6).map(|partition| format!("t-{partition}")).collect();
    let beside: Vec<_> = beside.iter().filter(|name| names.contains(&format!("log directory 1/{name}"))).collect();
    assert_eq!(beside.len(), 3);
    beside.iter().for_each(|name| copy_to_the_other(&mut world, name));
    // Another directory is there in its place.
    let meta = world.node.disk.bytes("log directory 1/meta.properties");
    let id = meta.windows(13).position(|word| word == b"directory.id=").expect("it has an id") + 13;
    meta[id] = if meta[id] == b'A' { b'B' } else { b'A' };
    world.restart(Crash::Kill, None);
    let view = world.node.machine.view();
    assert_eq!(view.partitions.iter().filter(|it| it.leader_epoch.is_some()).count(), 3, "{:?}", world.node.notes);
    let told = world.node.notes.iter().filter(|note| note.contains("lies in /a and in /b: stop the broker"));
    assert_eq!(told.count(), 3, "{:?}", world.node.notes);
}

#[test]
fn a_first_start_goes_on_without_a_directory_that_fails() {
    let mut without = 0;
    for nth in 1..60 {
        let world = World::starting(&[("log.dirs", "/a,/b")], Some((nth, DiskError::Io(5))));
        assert!(world.node.ready || world.node.stopped, "operation {nth}: the start hangs");
        without += usize::from(world.node.ready && world.node.machine.view().log_dirs[1].health == "offline");
    }
    assert!(without > 3, "{without}");
}

#[test]
fn an_operator_is_told_once() {
    let mut world = World::new(&[]);
    world.create_topic("t", 1);
    let told = |world: &mut World, what: &str| {
        let notes = std::mem::take(&mut world.node.notes);
        assert_eq!(notes.iter().filter(|note| note.contains(what)).count(), 1, "{notes:?}");
        assert_eq!(notes.iter().filter(|note| note.starts_with("log directory")).count(), 1, "{notes:?}");
    };
    world.node.notes.clear();
    world.node.disk.room = 0;
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::KAFKA_STORAGE_ERROR));
    told(&mut world, "is full");
    world.node.disk.room = 1 << 40;
    world.run_for(Duration::from_secs(5));
    told(&mut world, "has room again");
    world.node.disk.fail.insert(world.node.disk.done + 1, DiskError::Io(5));
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::KAFKA_STORAGE_ERROR));
    told(&mut world, "failed and is offline for this process, with its partitions: I/O error 5");
}

/// Without the metadata log nothing can be committed, and what others decide is not heard of any more.
#[test]
fn a_node_stops_that_loses_its_metadata_log() {
    let base = in_two_directories();
    let mut stopped = 0;
    for partition in 0..6 {
        let mut world = base.clone();
        let names = world.node.disk.names();
        let with_metadata = names.iter().any(|name| name.starts_with(&format!("t-{partition}/")));
        world.node.disk.fail.insert(world.node.disk.done + 1, DiskError::Io(5));
        assert_eq!(world.produce("t", partition, -1, 1000), Some(ErrorCode::KAFKA_STORAGE_ERROR));
        world.run_for(Duration::from_secs(10));
        let told = world.node.notes.iter().any(|note| note.contains("without the metadata log"));
        assert_eq!((world.node.stopped, told), (with_metadata, with_metadata), "{:?}", world.node.notes);
        stopped += usize::from(world.node.stopped);
        world.restart(Crash::Kill, None);
        assert!(world.node.ready, "{:?}", world.node.notes);
        let led = world.node.machine.view().partitions.into_iter().filter(|it| it.leader_epoch.is_some()).count();
        assert_eq!(led, 6, "{:?}", world.node.notes);
    }
    assert_eq!(stopped, 3);
}

#[test]
fn a_start_on_a_full_disk_goes_on_when_there_is_room() {
    let mut base = World::new(&[]);
    base.create_topic("t", 1);
    let mut waited = 0;
    for room in (0..3000).step_by(29) {
        let mut world = base.clone();
        world.node.disk.room = room;
        world.restart(Crash::Kill, None);
        assert!(!world.node.stopped, "room for {room} bytes: {:?}", world.node.notes);
        waited += usize::from(!world.node.ready);
        world.node.disk.room = 1 << 40;
        world.run_for(Duration::from_secs(5));
        assert!(world.node.ready, "room for {room} bytes: {:?}", world.node.notes);
        assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::NONE));
        world.create_topic("u", 1);
    }
    assert!(waited > 10, "{waited}");
}

#[test]
fn a_change_that_did_not_fit_is_not_answered_and_not_done() {
    let mut base = World::new(&[]);
    base.create_topic("t", 1);
    let topics = |world: &World| {
        let partitions = world.node.machine.view().partitions;
        let mut topics: Vec<String> = partitions.into_iter().map(|partition| partition.topic).collect();
        topics.sort();
        topics
    };
    let (mut done, mut cut) = (0, 0);
    for room in (0..1500).step_by(13) {
        let mut world = base.clone();
        world.node.disk.room = room;
        let request = world.send_create_topic("u");
        world.run_for(Duration::from_secs(2));
        let is_answered = world.answer_of(request).is_some();
        world.node.disk.room = 1 << 40;
        world.run_for(Duration::from_secs(5));
        world.create_topic("v", 1);
        let before = topics(&world);
        let is_there = before.contains(&"u".to_owned());
        assert!(is_there || world.answer_of(request).is_none(), "room for {room} bytes");
        assert!(is_there || !is_answered, "room for {room} bytes");
        world.restart(Crash::Power(room), None);
        assert!(world.node.ready, "{:?}", world.node.notes);
        assert_eq!(topics(&world), before, "room for {room} bytes");
        (done, cut) = (done + usize::from(is_there), cut + usize::from(!is_there));
    }
    assert!(done > 5 && cut > 5, "{done} done, {cut} cut");
}

/// What the disk is asked for counts as if all of it came.
#[test]
fn an_answer_with_much_to_read_from_the_disk_is_bounded() {
    let mut world = World::new(&[]);
    world.create_topic("t", 4);
    (0..4).for_each(|partition| assert_eq!(world.produce("t", partition, -1, 1000), Some(ErrorCode::NONE)));
    world.run_for(Duration::from_secs(10));
    let partitions =
        (0..4).map(|partition| FetchPartition { partition, partition_max_bytes: 1000, ..Default::default() }).collect();
    let topics = vec![FetchTopic { topic: "t", partitions, ..Default::default() }];
    let request = FetchRequest { min_bytes: 1, max_bytes: 100, topics, ..Default::default() };
    for cold in [false, true] {
        if cold {
            world.restart_in_good_order();
        }
        let answer = world.call(ApiKey::Fetch, 12, &request);
        let answer = FetchResponse::decode(&mut answer.body(), 12).unwrap();
        let sizes = answer.responses[0].partitions.iter();
        let sizes = sizes.map(|it| it.records.and_then(|records| records.as_slice()).map_or(0, <[u8]>::len));
        let sizes: Vec<usize> = sizes.collect();
        assert!(sizes[0] > 50 && sizes[1..] == [0, 0, 0], "{cold} {sizes:?}");
    }
}

#[test]
fn the_purgatory_is_bounded() {
    let mut world = World::new(&[("ottla.purgatory.max.requests", "2")]);
    world.create_topic("t", 1);
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::NONE));
    let parked: Vec<_> = (0..2).map(|_| world.send_fetch("t", 0, 1, 30_000)).collect();
    world.run_for(Duration::from_millis(100));
    assert!(parked.iter().all(|request| world.answer_of(*request).is_none()), "two may wait");
    // The third is answered at once, with nothing, although it would wait as long.
    let third = world.send_fetch("t", 0, 1, 30_000);
    assert!(world.answer_of(third).is_some());
    // A produce is in the log, and it is not said that it will stay there.
    let produce = world.send_produce("t", 0, -1, 30_000);
    assert_eq!(world.produced(produce), Some(ErrorCode::REQUEST_TIMED_OUT));
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.node.machine.view().partitions[0].log_end, 2);
    assert!(parked.iter().all(|request| world.answer_of(*request).is_some()), "its record wakes those who wait");
    assert_eq!(world.produce("t", 0, -1, 30_000), Some(ErrorCode::NONE), "there is room again");
}

/// What nobody waits for is not synced at once: under load that would be one sync after the other.
#[test]
fn only_who_counts_syncs_starts_one() {
    for (flush, durable) in [("async", 0), ("quorum", 1)] {
        let mut world = World::new(&[("flush", flush)]);
        world.create_topic("t", 1);
        let produce = world.send_produce("t", 0, -1, 30_000);
        world.run_for(Duration::from_millis(50));
        assert_eq!(world.produced(produce), Some(ErrorCode::NONE), "{flush}");
        assert_eq!(world.node.machine.view().partitions[0].durable, durable, "{flush}, soon");
        world.run_for(Duration::from_millis(60));
        assert_eq!(world.node.machine.view().partitions[0].durable, 1, "{flush}, in the end");
    }
}

#[test]
fn resources_with_a_configuration_are_listed() {
    let mut world = World::new(&[]);
    world.create_topic("t", 1);
    world.create_topic("u", 1);
    let mut list = |version: i16, types: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let answer = world.call(ApiKey::ListConfigResources, version, &request);
        let answer = ListConfigResourcesResponse::decode(&mut answer.body(), version).unwrap();
        let resources = answer.config_resources.iter().map(|it| (it.resource_type, it.resource_name.to_owned()));
        (answer.error_code, resources.collect::<Vec<_>>())
    };
    let topics = [(2, "t".to_owned()), (2, "u".to_owned())];
    let broker = (4, "1".to_owned());
    assert_eq!(list(1, &[]), (ErrorCode::NONE, [&topics[..], std::slice::from_ref(&broker)].concat()));
    assert_eq!(list(1, &[4]), (ErrorCode::NONE, vec![broker]));
    assert_eq!(list(1, &[2]), (ErrorCode::NONE, topics.to_vec()));
    assert_eq!(list(1, &[16, 32, 8]), (ErrorCode::NONE, vec![]));
    assert_eq!(list(1, &[2, 3]), (ErrorCode::UNSUPPORTED_VERSION, vec![]));
    assert_eq!(list(0, &[]), (ErrorCode::NONE, vec![]), "version 0 knows client metrics only");
}

/// An answer is no greater than what there is to tell: a request of half a megabyte would ask for gigabytes.
#[test]
fn what_is_asked_for_twice_is_told_once() {
    let mut world = World::new(&[]);
    world.create_topic("t", 1);
    let broker = |keys| DescribeConfigsResource { resource_type: 4, resource_name: "1", configuration_keys: keys };
    let resources = vec![broker(None), broker(Some(vec!["log.dirs"])), broker(None), broker(Some(vec!["log.dirs"]))];
    let request = DescribeConfigsRequest { resources, ..Default::default() };
    let answer = world.call(ApiKey::DescribeConfigs, 4, &request);
    let answer = DescribeConfigsResponse::decode(&mut answer.body(), 4).unwrap();
    let told: Vec<usize> = answer.results.iter().map(|it| it.configs.len()).collect();
    assert!(told.len() == 1 && told[0] > 100, "{told:?}");
    let resources = vec![broker(Some(vec!["log.dirs"])), broker(Some(vec!["node.id"]))];
    let answer = world.call(ApiKey::DescribeConfigs, 4, &DescribeConfigsRequest { resources, ..Default::default() });
    let answer = DescribeConfigsResponse::decode(&mut answer.body(), 4).unwrap();
    assert_eq!(answer.results.iter().map(|it| it.configs.len()).collect::<Vec<_>>(), [2]);
    let topic_id = world.topic_id("t");
    for (topic_id, names) in [(Uuid::default(), ["t", "t"]), (topic_id, ["a", "b"])] {
        let topics = names.map(|name| MetadataRequestTopic { name: Some(name), topic_id }).to_vec();
        let answer = world.call(ApiKey::Metadata, 12, &MetadataRequest { topics: Some(topics), ..Default::default() });
        assert_eq!(MetadataResponse::decode(&mut answer.body(), 12).unwrap().topics.len(), 1);
    }
}

/// Batches that wait for a job take memory: no more of them do than there are senders who wait, of acks=0 too.
#[test]
fn a_batch_whose_sender_has_given_up_is_not_recompressed() {
    for acks in [0, 1, -1] {
        let mut world = World::new(&[("compression.type", "gzip")]);
        world.create_topic("t", 1);
        for _ in 0..5 {
            world.send_produce("t", 0, acks, 10);
        }
        world.stall_for(Duration::from_millis(20));
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.node.machine.view().partitions[0].log_end, 1, "the one that had begun");
        world.send_produce("t", 0, acks, 1000);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.node.machine.view().partitions[0].log_end, 2, "acks={acks}");
    }
}

/// A client may have a topic's id from another broker, and ask before this one knows it.
#[test]
fn a_fetch_session_learns_of_a_topic_that_comes_later() {
    // The id that a node gives is the same whenever the same was done before.
    let told = |topic_id: Uuid| {
        let mut world = World::new(&[]);
        let partitions = vec![FetchPartition { partition: 0, partition_max_bytes: 1000, ..Default::default() }];
        let topics = vec![FetchTopic { topic_id, partitions, ..Default::default() }];
        let opens = FetchRequest { session_epoch: 0, min_bytes: 1, max_bytes: 1000, topics, ..Default::default() };
        let answer = world.call(ApiKey::Fetch, BY_ID, &opens);
        let opened = FetchResponse::decode(&mut answer.body(), BY_ID).unwrap();
        let session_id = opened.session_id;
        assert_eq!(opened.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
        world.create_topic("t", 1);
        assert_eq!(world.produce("t", 0, 1, 1000), Some(ErrorCode::NONE));
        let goes_on = FetchRequest { session_id, session_epoch: 1, topics: Vec::new(), ..opens };
        let answer = world.call(ApiKey::Fetch, BY_ID, &goes_on);
        let told = FetchResponse::decode(&mut answer.body(), BY_ID).unwrap();
        assert_eq!((told.error_code, told.session_id), (ErrorCode::NONE, session_id));
        let told = told.responses.iter().flat_map(|topic| topic.partitions.iter().map(|it| it.error_code)).collect();
        (world.topic_id("t"), told)
    };
    let (topic_id, unknown): (Uuid, Vec<ErrorCode>) = told(Uuid(77));
    assert_eq!(unknown, [ErrorCode::UNKNOWN_TOPIC_ID]);
    assert_eq!(told(topic_id), (topic_id, vec![ErrorCode::NONE]));
}
