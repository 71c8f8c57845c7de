//! A log manager on a model disk, driven until nothing is left to do.

use std::time::Duration;

use bytes::Bytes;
use ottla_core::clock::{Instant, Now, WallTime};
use ottla_core::log::*;
use ottla_core::machine::{DiskError, Effects, Input};
use ottla_core::planted::Planted;
use ottla_core::record::{self, BatchBuilder, BatchOptions, NewRecord, Producer};
use ottla_core::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use ottla_wire::Uuid;

use crate::disk::{Crash, Disk};

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) logs: LogManager,
    pub(crate) now: Now,
    pub(crate) events: Vec<LogEvent>,
    pub(crate) config: LogManagerConfig,
    planted: Planted,
    pub(crate) out: Effects,
    tickets: u64,
}

pub(crate) const TOPIC: Uuid = Uuid(7);

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Small limits, so that every branch is near.
pub(crate) fn small() -> LogManagerConfig {
    LogManagerConfig {
        default_log: LogConfig {
            segment_bytes: 2000,
            index_interval_bytes: 100,
            index_size_max_bytes: 1 << 12,
            file_delete_delay: Duration::from_millis(100),
            ..LogConfig::default()
        },
        checkpoint_bytes: 700,
        cold_segments: 2,
        ..LogManagerConfig::default()
    }
}

impl World {
    /// A new one on an empty disk, started.
    pub(crate) fn new(config: LogManagerConfig) -> Self {
        Self::with(config, Planted::default())
    }

    /// The same with planted bugs.
    pub(crate) fn with(config: LogManagerConfig, planted: Planted) -> Self {
        let mut world = Self {
            planted,
            disk: Disk::new(),
            logs: LogManager::new(config.clone(), planted),
            now: Now { monotonic: Instant(1_000_000_000), wall: WallTime(1_700_000_000_000) },
            events: Vec::new(),
            config,
            out: Effects::new(),
            tickets: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.logs.start(self.now, &mut self.out);
        self.run();
    }

    /// A crash and a new start; what the start found.
    pub(crate) fn restart(&mut self, crash: Crash) -> Boot {
        self.crash(crash);
        self.start();
        self.configured()
    }

    /// A kill and a new start, of which the operation with this number fails.
    pub(crate) fn restart_failing(&mut self, number: u64, error: DiskError) -> Boot {
        self.crash(Crash::Kill);
        self.disk.fail.insert(self.disk.done + number, error);
        self.start();
        self.configured()
    }

    /// A start is over: the logs that it found are configured as those that are made.
    fn configured(&mut self) -> Boot {
        let boot = self.boot();
        for found in &boot.logs {
            self.logs.set_config(found.log, self.config.default_log.clone());
        }
        boot
    }

    /// A kill, and so many operations of a new start, each late enough for what is due, of which one may fail.
    /// Whether it has so many.
    pub(crate) fn restart_slowly(&mut self, operations: u64, failing: Option<u64>) -> bool {
        self.crash(Crash::Kill);
        self.disk.fail.extend(failing.map(|number| (self.disk.done + number, DiskError::Io(5))));
        self.logs.start(self.now, &mut self.out);
        (0..operations).all(|_| {
            self.pass(Duration::from_millis(11));
            self.step()
        })
    }

    /// The directory fails, if it has not failed yet.
    pub(crate) fn fail_directory(&mut self) {
        self.disk.fail.insert(self.disk.done + 1, DiskError::Io(5));
        let config = self.config.default_log.clone();
        self.logs.create(self.now, TopicPartition::new("failing", 0), TOPIC, config, None, &mut self.out);
        self.run();
    }

    fn crash(&mut self, crash: Crash) {
        self.disk.crash(crash);
        self.out = Effects::new();
        self.events.clear();
        self.logs = LogManager::new(self.config.clone(), self.planted);
    }

    pub(crate) fn boot(&mut self) -> Boot {
        let boot = |event: &LogEvent| match event {
            LogEvent::BootDone(boot) => Some((**boot).clone()),
            _ => None,
        };
        self.events.iter().find_map(boot).expect("the start is over")
    }

    /// The end of a step: effects go to the disk, events are kept.
    pub(crate) fn settle(&mut self) {
        self.logs.settle(self.now, &mut self.out);
        self.events.extend(self.logs.take_events());
        for effect in self.out.drain() {
            self.disk.push(effect);
        }
    }

    /// One operation of the disk. `false` if there was none.
    pub(crate) fn step(&mut self) -> bool {
        self.settle();
        let stepped = self.step_unsettled();
        if stepped {
            self.settle();
        }
        stepped
    }

    /// The same, in the middle of a step: what it brings is to be looked at first.
    pub(crate) fn step_unsettled(&mut self) -> bool {
        match self.disk.step() {
            Some(Input::Disk { op, result }) => self.logs.on_disk(self.now, op, result, &mut self.out),
            Some(Input::JobDone { job, report }) => self.logs.on_job(self.now, job, report, &mut self.out),
            Some(other) => panic!("no completion: {other}"),
            None => return false,
        }
        true
    }

    /// Until the disk has nothing to do, and no round is due within 20 ms.
    pub(crate) fn run(&mut self) {
        let until = self.now.monotonic + Duration::from_millis(20);
        loop {
            while self.step() {}
            match self.logs.next_deadline() {
                Some(at) if at <= until => self.pass(at.since(self.now.monotonic)),
                _ => return,
            }
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic + time;
        self.now.wall.0 += i64::try_from(time.as_millis()).unwrap();
        self.logs.on_timeout(self.now, &mut self.out);
        self.settle();
    }

    pub(crate) fn create(&mut self) -> LogId {
        self.create_of(partition())
    }

    pub(crate) fn create_of(&mut self, partition: TopicPartition) -> LogId {
        let config = self.config.default_log.clone();
        let log = self.logs.create(self.now, partition, TOPIC, config, None, &mut self.out).expect("it is new");
        self.settle();
        log
    }

    pub(crate) fn log(&self) -> LogId {
        self.logs.find(&partition()).expect("the log is there")
    }

    pub(crate) fn append(&mut self, bytes: &Bytes, awaited: bool) -> Result<Appended, AppendError> {
        self.append_as(bytes, AppendOrigin::Client, LeaderEpoch(1), awaited)
    }

    pub(crate) fn append_as(
        &mut self,
        bytes: &Bytes,
        origin: AppendOrigin,
        epoch: LeaderEpoch,
        awaited: bool,
    ) -> Result<Appended, AppendError> {
        let facts = record::scan(bytes, 1 << 20).expect("the batch is well-formed");
        let batch = Batch { bytes: bytes.clone(), facts: &facts };
        let log = self.log();
        let result = self.logs.append(self.now, log, epoch, batch, origin, awaited, &mut self.out);
        self.settle();
        result
    }

    /// Appends a batch to the log of another partition; where that ends then.
    pub(crate) fn append_to(&mut self, partition: &TopicPartition) -> (LogId, Offset) {
        let log = self.logs.find(partition).expect("the log is there");
        let bytes = batch(1, 1000);
        let facts = record::scan(&bytes, 1 << 20).expect("the batch is well-formed");
        let (batch, origin) = (Batch { bytes, facts: &facts }, AppendOrigin::Client);
        let appended = self.logs.append(self.now, log, LeaderEpoch(1), batch, origin, true, &mut self.out);
        self.settle();
        (log, appended.expect("it takes appends").last_offset + 1)
    }

    /// The log of another partition begins later, so that the starts of all logs of the directory are saved.
    pub(crate) fn raise_another(&mut self, partition: &TopicPartition) {
        let (log, end) = self.append_to(partition);
        self.run();
        self.logs.set_high_watermark(log, end);
        self.logs.advance_log_start(self.now, log, end, &mut self.out);
        self.run();
        assert!(self.events.contains(&LogEvent::LogStartSaved { log, offset: end }));
    }

    pub(crate) fn offsets(&self) -> Offsets {
        self.logs.offsets(self.log()).unwrap()
    }

    /// Everything from an offset on that may be read, as bytes.
    pub(crate) fn read_all(&mut self, from: Offset) -> Result<Vec<u8>, ReadPlan> {
        let (mut at, mut all) = (from, Vec::new());
        loop {
            match self.read(at, 500) {
                ReadPlan::Ready { range, end } => {
                    let bytes = self.bytes_of(at, range);
                    assert!(end > at, "a range brings the reader on");
                    all.extend(bytes);
                    at = end;
                }
                ReadPlan::Empty => return Ok(all),
                other => return Err(other),
            }
        }
    }

    /// The plan for a read, waited for.
    pub(crate) fn read(&mut self, from: Offset, max_bytes: u32) -> ReadPlan {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let request = ReadRequest { from, max_bytes, min_one_batch: true, upper: Offset(i64::MAX), ticket };
        let log = self.log();
        match self.logs.read(log, request, &mut self.out) {
            ReadPlan::Pending => {}
            plan => return plan,
        }
        let answer = |event: &LogEvent| match event {
            LogEvent::ReadDone { ticket: other, plan } if *other == ticket => Some(*plan),
            _ => None,
        };
        while !self.events.iter().any(|event| answer(event).is_some()) && self.step() {}
        let plan = self.events.iter().find_map(answer).expect("a pending read is answered");
        if let ReadPlan::Ready { range, .. } = plan {
            assert!(self.disk.is_kept(range.file), "{range} is of a file that goes before the answer is taken");
        }
        self.run();
        plan
    }

    fn bytes_of(&mut self, from: Offset, range: ottla_core::machine::FileRange) -> Vec<u8> {
        if let Ok(bytes) = self.disk.read(range.file, range.pos.into(), range.len) {
            return bytes.to_vec();
        }
        // It was closed since.
        let view = self.logs.view(self.log()).unwrap();
        let base = view.segments.iter().rev().find(|(base, _)| *base <= from).unwrap().0;
        let file = self.disk.bytes(&format!("t-0/{:020}.log", base.0)).clone();
        file[range.pos as usize..(range.pos + range.len) as usize].to_vec()
    }

    pub(crate) fn find(&mut self, query: TimestampQuery) -> TimestampPlan {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let log = self.log();
        let plan = self.logs.find_timestamp(log, query, Offset(i64::MAX), ticket, &mut self.out);
        if plan != TimestampPlan::Pending {
            return plan;
        }
        self.run();
        let answer = |event: &LogEvent| match event {
            LogEvent::TimestampDone { ticket: other, plan } if *other == ticket => Some(*plan),
            _ => None,
        };
        self.events.iter().find_map(answer).expect("a pending question is answered")
    }

    pub(crate) fn truncate(&mut self, offset: Offset) {
        let log = self.log();
        self.logs.truncate_to(self.now, log, offset, &mut self.out);
        self.settle();
    }

    pub(crate) fn begin_at(&mut self, offset: Offset) {
        let log = self.log();
        self.logs.begin_at(self.now, log, offset, &mut self.out);
        self.settle();
    }

    pub(crate) fn delete_records(&mut self, offset: Offset) {
        let log = self.log();
        self.logs.advance_log_start(self.now, log, offset, &mut self.out);
        self.settle();
    }

    pub(crate) fn delete(&mut self) {
        let log = self.log();
        self.logs.delete(self.now, log, &mut self.out);
        self.settle();
    }

    pub(crate) fn set_high_watermark(&mut self, offset: Offset) {
        let log = self.log();
        self.logs.set_high_watermark(log, offset);
    }

    /// A clean stop.
    pub(crate) fn shutdown(&mut self) {
        self.logs.shutdown(self.now, Some(ottla_core::types::BrokerEpoch(5)), &mut self.out);
        self.run();
        assert!(self.events.contains(&LogEvent::ShutdownDone), "the shutdown is over");
    }
}

/// A batch of `count` records.
pub(crate) fn batch(count: usize, timestamp: i64) -> Bytes {
    produced(Producer::NONE, count, timestamp)
}

/// A batch of an idempotent producer.
pub(crate) fn idempotent(id: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    let producer = Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: sequence };
    produced(producer, count, 1000)
}

fn produced(producer: Producer, count: usize, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    for index in 0..count {
        let value = format!("value {index} of {count} at {timestamp}");
        builder.append(&NewRecord {
            timestamp: timestamp + i64::try_from(index).unwrap(),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build().into()
}
