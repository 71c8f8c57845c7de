//! Shutdowns of several log directories.

use std::time::Duration;

use ottla_core::log::*;
use ottla_core::machine::{DiskError, LogDirId};
use ottla_core::types::{LeaderEpoch, TopicPartition};

use crate::disk::Crash;
use crate::world::{World, batch, small};

/// The mark says that all is durable, and a start looks no further.
#[test]
fn a_directory_that_gets_room_in_the_middle_of_a_stop_is_not_marked_clean() {
    let mut config = small();
    config.dirs = 2;
    let mut prepared = World::new(config);
    let logs = [0, 1].map(|number| prepared.create_of(TopicPartition::new("t", number)));
    prepared.run();
    let bytes = batch(1, 0);
    let facts = ottla_core::record::scan(&bytes, 1 << 20).unwrap();
    let (mut late, mut marked) = (0, 0);
    for (number, steps) in (1..8).flat_map(|number| (0..40).map(move |steps| (number, steps))) {
        let mut world = prepared.clone();
        let append = |world: &mut World, log| {
            let batch = Batch { bytes: bytes.clone(), facts: &facts };
            let (epoch, origin) = (LeaderEpoch(1), AppendOrigin::Client);
            world.logs.append(world.now, log, epoch, batch, origin, true, &mut world.out).unwrap();
        };
        append(&mut world, logs[1]);
        world.disk.fail.insert(world.disk.done + number, DiskError::Full);
        world.run();
        if !world.events.contains(&LogEvent::DirFull { dir: LogDirId(1) }) {
            continue;
        }
        append(&mut world, logs[0]);
        world.logs.shutdown(world.now, None, &mut world.out);
        (0..steps).all(|_| world.step());
        world.pass(Duration::from_secs(1));
        let has_mark = |world: &World| world.disk.names().contains(&"log directory 1/.kafka_cleanshutdown".to_owned());
        while !has_mark(&world) && world.step() {}
        if has_mark(&world) {
            marked += 1;
            let offsets = world.logs.offsets(logs[1]).unwrap();
            assert_eq!(offsets.durable, offsets.log_end, "failing {number}, {steps} steps");
        } else {
            late += 1;
        }
        while world.step() {}
        assert!(world.events.contains(&LogEvent::ShutdownDone), "failing {number}, {steps} steps");
        assert!(world.disk.names().contains(&".kafka_cleanshutdown".to_owned()));
        let boot = world.restart(Crash::Power(steps));
        assert!(boot.logs.iter().all(|log| log.damage.is_none()), "failing {number}, {steps} steps");
    }
    assert!(late > 5 && marked > 0, "{late} late, {marked} marked");
}
