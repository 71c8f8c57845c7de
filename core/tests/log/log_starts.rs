//! Where logs begin is saved once for all that begin later meanwhile.

use std::time::Duration;

use ottla_core::log::*;
use ottla_core::types::{Offset, TopicPartition};

use crate::disk::Crash;
use crate::world::{World, batch, partition, small};
use crate::{filled, logged};

/// How many saves of log starts were begun since the last call.
fn saves(world: &mut World) -> usize {
    let trace = world.disk.trace.replace(Vec::new()).unwrap_or_default();
    let is_save = |line: &&String| line.contains("create log-start-offset-checkpoint");
    trace.iter().filter(is_save).count()
}

fn saved(world: &World) -> Vec<Offset> {
    let saved = |event: &LogEvent| match event {
        LogEvent::LogStartSaved { offset, .. } => Some(*offset),
        _ => None,
    };
    world.events.iter().filter_map(saved).collect()
}

#[test]
fn thousands_of_raises_of_a_log_need_two_saves() {
    let mut world = World::new(small());
    let log = world.create();
    world.append(&batch(50, 0), true).unwrap();
    for _ in 0..60 {
        world.append(&batch(50, 0), true).unwrap();
    }
    world.run();
    world.disk.trace = Some(Vec::new());
    let raise = |world: &mut World, offsets: std::ops::Range<i64>| {
        for offset in offsets {
            world.logs.advance_log_start(world.now, log, Offset(offset), &mut world.out);
        }
        world.settle();
    };
    raise(&mut world, 1..1000);
    // The save is under way, and what comes until it is over shares the next.
    world.step();
    raise(&mut world, 1000..2000);
    world.step();
    raise(&mut world, 2000..3000);
    let mut told = 0;
    while world.step() {
        let all = saved(&world);
        if all.len() > told {
            told = all.len();
            let mut crashed = world.clone();
            crashed.restart(Crash::Power(told as u64));
            assert!(Some(&crashed.offsets().log_start) >= all.iter().max(), "what is told is durable");
        }
    }
    world.run();
    assert_eq!(saved(&world), (1..3000).map(Offset).collect::<Vec<_>>());
    assert_eq!(saves(&mut world), 2);
    let first = world.logs.view(world.log()).unwrap().segments[0].0;
    assert!(first > Offset(2900), "the segments below go: {first}");
}

#[test]
fn logs_that_expire_together_need_one_save() {
    let logs = 100;
    let mut world = World::new(small());
    let wall = world.now.wall.0;
    for number in 0..logs {
        let name = TopicPartition::new("t", number);
        let log = world.create_of(name.clone());
        if name != partition() {
            let bytes = batch(1, wall);
            let facts = ottla_core::record::scan(&bytes, 1 << 20).unwrap();
            let batch = Batch { bytes, facts: &facts };
            let epoch = ottla_core::types::LeaderEpoch(1);
            world.logs.append(world.now, log, epoch, batch, AppendOrigin::Client, false, &mut world.out).unwrap();
            world.logs.set_high_watermark(log, Offset(1));
        }
    }
    world.run();
    world.disk.trace = Some(Vec::new());
    world.pass(Duration::from_secs(8 * 24 * 3600));
    world.run();
    assert_eq!(saved(&world).len(), usize::try_from(logs).unwrap() - 1);
    assert_eq!(saves(&mut world), 1);
    world.restart(Crash::Power(1));
    let starts = world.boot().logs.iter().filter(|log| log.offsets.log_start == Offset(1)).count();
    assert_eq!(starts, usize::try_from(logs).unwrap() - 1);
}

/// Where a damaged log begins and ends is not what a start makes up in place of segments that it does not see: a save
/// for another log would tell it to the next start, which would take all below for deleted.
#[test]
fn segments_that_are_put_back_are_the_log_again() {
    for start in [Offset(0), Offset(3)] {
        let (mut world, batches) = filled(40);
        world.delete_records(start);
        let other = TopicPartition::new("u", 0);
        world.create_of(other.clone());
        world.run();
        let (whole, end) = (logged(&batches), world.offsets().log_end);
        let segments = world.disk.names().into_iter().filter(|name| name.starts_with("t-0/") && name.ends_with(".log"));
        let segments: Vec<_> = segments.collect();
        let taken: Vec<_> = segments.into_iter().map(|name| (world.disk.take(&name), name)).collect();
        for again in [false, true] {
            let boot = world.restart(Crash::Kill);
            let found = boot.logs.iter().find(|log| log.partition == partition()).unwrap();
            assert!(found.damage.is_some(), "again {again}");
            assert_eq!((found.offsets.log_start, found.offsets.log_end), (start, end), "again {again}");
            world.delete_records(end);
            world.raise_another(&other);
        }
        for (bytes, name) in taken {
            world.disk.plant(&name, bytes);
        }
        let boot = world.restart(Crash::Kill);
        assert!(boot.logs.iter().all(|log| log.damage.is_none()));
        assert_eq!((world.offsets().log_start, world.offsets().log_end), (start, end));
        assert!(whole.ends_with(&world.read_all(start).unwrap()));
    }
}
