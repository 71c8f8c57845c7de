//! The log against a model: any order of what is done to it, any interleaving with the disk, any crash.
//!
//! The model is the list of batches that were appended, and what was promised of them. After a crash the log must
//! be a prefix of what it was (S1), with everything that was promised: durable offsets survive power loss,
//! written ones a kill. Indexes, epochs and producers must be those of that prefix (S2, S8), nothing that was cut
//! may come back once what replaced it is durable, and after a failed write or sync nothing is promised (S6).

use std::time::Duration;

use bytes::Bytes;
use ottla_core::log::*;
use ottla_core::machine::DiskError;
use ottla_core::planted::Planted;
use ottla_core::record;
use ottla_core::types::{LeaderEpoch, Offset};
use proptest::prelude::*;

use crate::disk::Crash;
use crate::world::{World, batch, idempotent, small};

/// Something that is done.
#[derive(Clone, Debug)]
enum Op {
    Append {
        count: usize,
        awaited: bool,
        /// So many ms older than the newest: records come in any order of their timestamps.
        late: i64,
    },
    Produce {
        producer: u8,
        count: usize,
    },
    /// A producer sends one of its last batches again.
    Retry {
        producer: u8,
        back: usize,
    },
    Steps(usize),
    Run,
    Pass(u64),
    /// Cut at this share of the log, in 256ths, and go on at once or when all is done.
    Truncate {
        share: u8,
        run: bool,
    },
    DeleteRecords(u8),
    Commit(u8),
    Read(u8),
    /// The first record that is not older than so many ms after the first timestamp, or the newest of all.
    Find(Option<i64>),
    Kill,
    PowerLoss(u64),
    CleanRestart,
    /// The operation after so many fails.
    Fail(u64),
    /// So many bytes can be written, and then some time passes and there is room again.
    Full(u64),
}

/// One batch that is in the log.
#[derive(Clone, Debug, PartialEq)]
struct Logged {
    base: i64,
    end: i64,
    epoch: i32,
    /// Of its first record; each one after it is a ms younger.
    timestamp: i64,
    sent: Bytes,
}

#[derive(Clone, Debug, Default)]
struct Model {
    batches: Vec<Logged>,
    /// What the log may be found to be instead, until the truncations since are durable.
    before: Vec<Vec<Logged>>,
    /// Where the log begins if it has no batches.
    floor: i64,
    epoch: i32,
    log_start: i64,
    /// The least that a start may find, as far as it was promised.
    saved_start: i64,
    timestamp: i64,
    sequences: [i32; 2],
    offline: bool,
    dir_offline: bool,
    /// An operation was made to fail since the last start.
    failing: bool,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..4_usize, any::<bool>(), late()).prop_map(|(count, awaited, late)| Op::Append { count, awaited, late }),
        4 => (0..2_u8, 1..4_usize).prop_map(|(producer, count)| Op::Produce { producer, count }),
        2 => (0..2_u8, 0..5_usize).prop_map(|(producer, back)| Op::Retry { producer, back }),
        8 => (1..12_usize).prop_map(Op::Steps),
        3 => Just(Op::Run),
        1 => (1..400_u64).prop_map(Op::Pass),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(share, run)| Op::Truncate { share, run }),
        1 => any::<u8>().prop_map(Op::DeleteRecords),
        2 => any::<u8>().prop_map(Op::Commit),
        2 => any::<u8>().prop_map(Op::Read),
        1 => prop::option::weighted(0.8, 0..600_i64).prop_map(Op::Find),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(Op::PowerLoss),
        1 => Just(Op::CleanRestart),
        1 => (1..20_u64).prop_map(Op::Fail),
        1 => (0..2000_u64).prop_map(Op::Full),
    ]
}

fn late() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 0..400_i64]
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.floor, |last| last.end)
    }

    fn bytes(&self, from: i64) -> Vec<u8> {
        let mut all = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.end > from) {
            let head = record::BatchHead::new(Offset(batch.base), LeaderEpoch(batch.epoch), batch.sent.len() - 16);
            all.extend(head.0);
            all.extend_from_slice(&batch.sent[16..]);
        }
        all
    }

    fn append(&mut self, world: &mut World, sent: Bytes, awaited: bool) {
        let count = i64::from(record::scan(&sent, 1 << 20).unwrap().record_count);
        match world.append_as(&sent, AppendOrigin::Client, LeaderEpoch(self.epoch), awaited) {
            Ok(appended) => {
                assert!(!appended.duplicate);
                assert_eq!(appended.base_offset.0, self.end());
                let (base, end) = (self.end(), self.end() + count);
                let epoch = self.epoch;
                let timestamp = record::scan(&sent, 1 << 20).unwrap().timestamps.max + 1 - count;
                self.batches.push(Logged { base, end, epoch, timestamp, sent });
            }
            Err(AppendError::Storage) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn truncate(&mut self, world: &mut World, share: u8, run: bool) {
        let end = self.at_share(share).max(self.log_start);
        if !self.offline {
            world.truncate(Offset(end));
            if run {
                world.run();
            }
            self.epoch += 1;
        }
    }

    /// A batch that is among the last five of its producer is known, wherever it lies (I1, I3).
    fn retry(&mut self, world: &mut World, producer: u8, back: usize) {
        let of = |logged: &&Logged| {
            let facts = record::scan(&logged.sent, 1 << 20).unwrap();
            facts.producer.id.0 == i64::from(producer) + 1
        };
        let Some(logged) = self.batches.iter().rev().filter(of).nth(back).cloned() else {
            return;
        };
        match world.append_as(&logged.sent, AppendOrigin::Client, LeaderEpoch(self.epoch), true) {
            Ok(again) => assert_eq!((again.duplicate, again.base_offset.0), (true, logged.base)),
            Err(AppendError::Storage) => {}
            Err(other) => panic!("a retry of {}: {other:?}", logged.base),
        }
    }

    /// The log was cut, by us or because it was full.
    fn cut(&mut self, end: i64, first_segment: i64) {
        self.before.push(self.batches.clone());
        self.batches.retain(|batch| batch.end <= end);
        if self.end() < end || end <= first_segment {
            // Nothing that is left lies at or above the log start: the log begins anew.
            self.batches.clear();
            self.floor = end;
        }
        assert_eq!(self.end(), end, "a cut is at the end of a batch");
        self.rewind();
    }

    fn rewind(&mut self) {
        for (producer, sequence) in self.sequences.iter_mut().enumerate() {
            let of =
                |logged: &&Logged| record::scan(&logged.sent, 1 << 20).unwrap().producer.id.0 == producer as i64 + 1;
            let last = self.batches.iter().rev().find(of);
            *sequence = last.map_or(0, |logged| {
                let facts = record::scan(&logged.sent, 1 << 20).unwrap();
                facts.producer.base_sequence + facts.last_offset_delta + 1
            });
        }
    }

    /// Takes note of what was said since the last look.
    fn listen(&mut self, world: &mut World) {
        for event in std::mem::take(&mut world.events) {
            match event {
                LogEvent::Cut { end, .. } | LogEvent::Truncated { end, .. } if end.0 < self.end() => {
                    let first = world.logs.view(world.log()).unwrap().segments[0].0;
                    self.cut(end.0, first.0);
                }
                LogEvent::Written { .. } | LogEvent::Durable { .. } => assert!(!self.dir_offline, "S6: {event:?}"),
                LogEvent::DirOffline { .. } => (self.offline, self.dir_offline) = (true, true),
                LogEvent::LogStartSaved { offset, .. } => self.saved_start = self.saved_start.max(offset.0),
                LogEvent::Damaged { damage, .. } => {
                    assert!(self.failing, "nothing was damaged: {damage}");
                    self.offline = true;
                }
                _ => {}
            }
        }
        let offsets = world.offsets();
        assert!(offsets.durable <= offsets.written && offsets.written <= offsets.log_end, "{offsets:?}");
        assert_eq!(offsets.log_end.0, self.end());
        self.log_start = offsets.log_start.0;
    }

    /// What was found after a crash must be one of the logs that it can have been.
    fn check_found(&mut self, world: &mut World, promised: i64) {
        let boot = world.boot();
        let found = &boot.logs[0];
        assert_eq!(found.damage, None);
        let end = found.offsets.log_end.0;
        let start = found.offsets.log_start.0;
        // A log that begins anew promises nothing below its first batch.
        assert!(end >= promised || promised <= self.floor, "S1: {promised} was promised, and {end} is there");
        assert!(start >= self.saved_start.min(end), "the log start fell from {} to {start}", self.saved_start);
        let mut candidates = vec![self.batches.clone()];
        candidates.append(&mut self.before);
        let all = world.read_all(Offset(start)).expect("the log can be read");
        let same = |batches: &Vec<Logged>| {
            let model = Model {
                floor: if batches.is_empty() { end } else { self.floor.min(end) },
                batches: batches.iter().take_while(|batch| batch.end <= end).cloned().collect(),
                ..Self::default()
            };
            let is_it = model.end() == end || model.batches.is_empty() && end <= start;
            (is_it && model.bytes(start) == all).then_some(model.batches)
        };
        let found = candidates.iter().find_map(same);
        let there = || -> Vec<_> {
            let batches = record::batches(&all).map(|batch| *batch.expect("it was checked").header());
            batches.map(|header| (header.base_offset.0, header.leader_epoch.0, header.size())).collect()
        };
        let brief = |log: &Vec<Logged>| log.iter().map(|batch| (batch.base, batch.epoch, batch.sent.len())).collect();
        self.batches = found.unwrap_or_else(|| {
            let candidates: Vec<Vec<(i64, i32, usize)>> = candidates.iter().map(brief).collect();
            panic!("S1: {:?} up to {end} never was; {candidates:?} were", there())
        });
        self.floor = self.batches.first().map_or(end, |first| first.base);
        self.epoch += 1;
        self.offline = false;
        (self.failing, self.dir_offline) = (false, false);
        self.log_start = start;
        self.saved_start = self.saved_start.min(start);
        self.rewind();
        self.check_derived(world);
        world.events.clear();
    }

    /// Epochs and producers are those of the batches.
    fn check_derived(&mut self, world: &mut World) {
        let view = world.logs.view(world.log()).unwrap();
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in &self.batches {
            if epochs.last().is_none_or(|last| last.0.0 < batch.epoch) {
                epochs.push((LeaderEpoch(batch.epoch), Offset(batch.base)));
            }
        }
        let first = epochs.iter().rfind(|epoch| epoch.1.0 <= self.log_start).copied();
        epochs.retain(|epoch| first.is_none_or(|first| *epoch >= first));
        if let Some(first) = epochs.first_mut() {
            first.1 = first.1.max(Offset(self.log_start));
        }
        let mut found = view.leader_epochs;
        if let Some(first) = found.first_mut() {
            first.1 = first.1.max(Offset(self.log_start));
        }
        if self.log_start < self.end() {
            assert_eq!(found, epochs, "R10");
        }
        for producer in 0..2_usize {
            let id = producer as i64 + 1;
            let known = world.logs.producers(world.log());
            let known = known.iter().find(|view| view.producer_id == id).map(|view| view.last_sequence + 1);
            if self.batches.is_empty() {
                // Producers outlive records that were deleted, and not records that were cut: either may be so here.
                self.sequences[producer] = known.unwrap_or(0);
            }
            assert_eq!(known.unwrap_or(0), self.sequences[producer], "S8: producer {id}");
        }
    }

    fn check_read(&mut self, world: &mut World, share: u8) {
        let from = self.at_share(share);
        let mut plan = world.read(Offset(from), 1);
        if plan == ReadPlan::Storage {
            // A truncation may still look for its place: until it has, the log gives nothing.
            world.run();
            self.listen(world);
            plan = world.read(Offset(from), 1);
        }
        self.listen(world);
        let written = world.offsets().written.0;
        if self.offline || from < self.log_start || from > self.end() {
            return;
        }
        let holds = self.batches.iter().find(|batch| batch.end > from);
        match (plan, holds) {
            (ReadPlan::Ready { range, end }, Some(batch)) => {
                assert_eq!(range.len as usize, batch.sent.len());
                assert_eq!(end.0, batch.end);
            }
            (ReadPlan::Empty, holds) => assert!(holds.is_none_or(|batch| batch.end > written)),
            (plan, holds) => panic!("{from}: {plan:?} for {holds:?}"),
        }
    }

    /// Look-ups by time see every record, whatever the order of the timestamps.
    fn check_find(&mut self, world: &mut World, after: Option<i64>) {
        world.run();
        self.listen(world);
        if self.offline {
            return;
        }
        let query = after.map_or(TimestampQuery::Greatest, |after| TimestampQuery::AtOrAfter(600 + after));
        let plan = world.find(query);
        self.listen(world);
        let written = world.offsets().written.0;
        let records = self
            .batches
            .iter()
            .flat_map(|batch| (batch.base..batch.end).map(|offset| (offset, batch.timestamp + (offset - batch.base))));
        let visible: Vec<_> = records.filter(|(offset, _)| (self.log_start..written).contains(offset)).collect();
        let wanted = match query {
            TimestampQuery::AtOrAfter(target) => visible.iter().find(|record| record.1 >= target),
            TimestampQuery::Greatest => visible.iter().rev().max_by_key(|record| record.1),
        };
        match (plan, wanted) {
            (TimestampPlan::Found { offset, timestamp, .. }, Some(wanted)) => {
                assert_eq!((offset.0, timestamp), *wanted, "{query:?}");
            }
            (TimestampPlan::NotFound, None) => {}
            (TimestampPlan::Storage, _) if self.offline => {}
            (plan, wanted) => panic!("{query:?}: {plan:?} for {wanted:?}"),
        }
    }

    fn at_share(&self, share: u8) -> i64 {
        self.end() * i64::from(share) / 255
    }

    fn apply(&mut self, op: &Op, world: &mut World) {
        self.timestamp += 7;
        match *op {
            Op::Append { count, awaited, late } => self.append(world, batch(count, self.timestamp - late), awaited),
            Op::Produce { producer, count } => {
                let sequence = self.sequences[usize::from(producer)];
                let before = self.end();
                self.append(world, idempotent(i64::from(producer) + 1, 0, sequence, count), true);
                if self.end() > before {
                    self.sequences[usize::from(producer)] += i32::try_from(count).unwrap();
                }
            }
            Op::Retry { producer, back } => self.retry(world, producer, back),
            Op::Steps(count) => {
                for _ in 0..count {
                    world.step();
                }
            }
            Op::Run => {
                world.run();
                self.listen(world);
                let usable = world.logs.is_usable(ottla_core::machine::LogDirId(0));
                if !self.offline && usable && world.offsets().durable == world.offsets().log_end {
                    self.before.clear();
                }
            }
            Op::Pass(ms) => world.pass(Duration::from_millis(ms)),
            Op::Truncate { share, run } => self.truncate(world, share, run),
            Op::DeleteRecords(share) => {
                let offset = self.at_share(share / 2).min(world.offsets().durable.0);
                world.delete_records(Offset(offset));
            }
            Op::Commit(share) => {
                let offset = self.at_share(share).min(world.offsets().durable.0);
                world.set_high_watermark(Offset(offset));
            }
            Op::Read(share) => self.check_read(world, share),
            Op::Find(after) => self.check_find(world, after),
            Op::Kill => {
                let promised = if self.offline { world.offsets().durable.0 } else { world.offsets().written.0 };
                world.restart(Crash::Kill);
                self.check_found(world, promised);
            }
            Op::PowerLoss(seed) => {
                let promised = world.offsets().durable.0;
                world.restart(Crash::Power(seed));
                self.check_found(world, promised);
            }
            Op::CleanRestart => self.restart_cleanly(world),
            Op::Fail(after) => {
                self.failing = true;
                world.disk.fail.insert(world.disk.done + after, DiskError::Io(5));
            }
            Op::Full(room) => {
                world.disk.room = room;
                world.run();
                world.disk.room = u64::MAX / 2;
                world.pass(Duration::from_secs(2));
            }
        }
        self.listen(world);
        if !self.offline {
            check_indexes(world);
        }
    }
}

impl Model {
    /// A clean stop and a start, unless the directory is offline.
    fn restart_cleanly(&mut self, world: &mut World) {
        if self.offline {
            return;
        }
        world.run();
        self.listen(world);
        if self.offline {
            return;
        }
        world.disk.room = u64::MAX / 2;
        world.disk.fail.clear();
        world.pass(Duration::from_secs(2));
        world.run();
        self.listen(world);
        world.shutdown();
        self.listen(world);
        let end = self.end();
        let boot = world.restart(Crash::Power(3));
        assert!(boot.clean[0].is_some());
        self.check_found(world, end);
    }
}

/// The index files say nothing that the batches on the disk do not, at any moment (S2).
fn check_indexes(world: &mut World) {
    for name in world.disk.names() {
        let Some(stem) = name.strip_suffix(".log").map(str::to_owned) else {
            continue;
        };
        let base = Offset(stem.rsplit('/').next().unwrap().parse().unwrap());
        let log = world.disk.bytes(&name).clone();
        let mut pos = 0;
        let batches: Vec<_> = record::batches(&log)
            .map_while(Result::ok)
            .map(|batch| {
                pos += batch.header().size();
                (pos - batch.header().size(), *batch.header())
            })
            .collect();
        let names = world.disk.names();
        let mut read = |suffix: &str| {
            let file = format!("{stem}.{suffix}");
            names.contains(&file).then(|| world.disk.bytes(&file).clone())
        };
        if let Some(bytes) = read("index") {
            let index = offset_index::OffsetIndex::parse(base, usize::MAX, &bytes, u32::MAX).expect("it rises");
            for entry in index.entries() {
                let is_it = |(pos, header): &(usize, record::BatchHeader)| {
                    *pos == entry.position as usize && header.last_offset() == entry.offset
                };
                assert!(batches.iter().any(is_it), "S2: {name}: {entry:?}");
            }
        }
        if let Some(bytes) = read("timeindex") {
            let index = time_index::TimeIndex::parse(base, usize::MAX, &bytes, Offset(i64::MAX)).expect("it rises");
            for entry in index.entries() {
                let up_to: Vec<_> = batches.iter().filter(|(_, it)| it.last_offset() <= entry.offset).collect();
                let is_there = up_to.last().is_some_and(|(_, last)| last.last_offset() == entry.offset);
                let is_greatest = up_to.iter().all(|(_, it)| it.max_timestamp <= entry.timestamp);
                assert!(is_there && is_greatest, "S2: {name}: {entry:?}");
            }
        }
    }
}

fn check(ops: &[Op], planted: Planted) {
    // Now it grows, and now it is zeroed in advance.
    let flush_journal_bytes = if ops.len().is_multiple_of(2) { 0 } else { 300 };
    let mut world = World::with(LogManagerConfig { flush_journal_bytes, ..small() }, planted);
    world.create();
    world.run();
    world.events.clear();
    let mut model = Model { epoch: 1, timestamp: 1000, ..Model::default() };
    for op in ops {
        model.apply(op, &mut world);
    }
    let promised = world.offsets().durable.0;
    world.restart(Crash::Power(77));
    model.check_found(&mut world, promised);
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(400),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_log_is_what_the_model_says(ops in prop::collection::vec(op(), 1..80)) {
        check(&ops, Planted::default());
    }
}

/// The bugs that can be planted here are found by the model within so many cases. LOG-03 needs 1,600 and more.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    use ottla_core::planted::Plant;
    use proptest::test_runner::TestRunner;
    let plants = [
        Plant::Log01,
        Plant::Log02,
        Plant::Log04,
        Plant::Log05,
        Plant::Log14,
        Plant::Log16,
        Plant::Log18,
        Plant::Log23,
        Plant::Idem06,
        Plant::Idem09,
        Plant::Idem14,
    ];
    for plant in plants {
        let config =
            ProptestConfig { max_shrink_iters: 0, cases: 10_000, failure_persistence: None, ..Default::default() };
        let cases = std::cell::Cell::new(0);
        let result = TestRunner::new(config).run(&prop::collection::vec(op(), 1..80), |ops| {
            cases.set(cases.get() + 1);
            check(&ops, Planted::default().with(plant));
            Ok(())
        });
        assert!(result.is_err(), "{plant} is not found in {} cases", cases.get());
    }
}
