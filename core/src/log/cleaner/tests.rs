//! Passes over logs that are drawn, beside a model that cleans nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::plan::{Part, groups};
use super::*;
use crate::clock::WallTime;
use crate::job::Next;
use crate::log::LogConfig;
use crate::log::segment::Segment;
use crate::log::txn_index::AbortedTxn;
use crate::planted::Planted;
use crate::record::{
    BatchBuilder, BatchHeader, BatchOptions, Codec, EndTxnMarker, NO_SEQUENCE, NewRecord, Producer, batches,
};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const RETENTION: i64 = 1000;

/// A batch to be drawn.
#[derive(Clone, Debug)]
enum Drawn {
    /// Of a producer (0: none), in a transaction or not, with keys and whether each has a value.
    Records { codec: u8, producer: i64, transactional: bool, records: Vec<(u8, bool)> },
    /// Its transaction ends, if one is open.
    End { producer: i64, commit: bool },
    /// The segment ends.
    Roll,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let records = proptest::collection::vec((0..12_u8, proptest::bool::weighted(0.7)), 1..6);
    prop_oneof![
        6 => (0..5_u8, 0..4_i64, any::<bool>(), records).prop_map(|(codec, producer, transactional, records)| {
            Drawn::Records { codec, producer, transactional, records }
        }),
        2 => (1..4_i64, any::<bool>()).prop_map(|(producer, commit)| Drawn::End { producer, commit }),
        1 => Just(Drawn::Roll),
    ]
}

/// A record of the model: key, value and whose transaction it is of.
#[derive(Clone, Debug)]
struct Was {
    key: u8,
    value: Option<i64>,
    aborted: bool,
}

/// A log, and all that was ever in it.
#[derive(Default)]
struct Log {
    segments: Vec<(Offset, Offset, Vec<u8>)>,
    model: BTreeMap<Offset, Was>,
    aborted: Vec<AbortedTxn>,
    /// Open transactions: where each began.
    open: BTreeMap<i64, Offset>,
    producers: BTreeMap<ProducerId, (ProducerEpoch, i32)>,
    sequences: BTreeMap<i64, i32>,
    end: Offset,
    clean: Offset,
    /// By when the tombstone at an offset may go.
    horizons: BTreeMap<Offset, i64>,
}

impl Log {
    fn of(drawn: &[Drawn]) -> Self {
        let mut log = Self { segments: vec![(Offset(0), Offset(0), Vec::new())], ..Self::default() };
        drawn.iter().for_each(|drawn| log.append(drawn));
        // What is open at the end is decided: only what is below the last stable offset is cleaned.
        for producer in 1..4 {
            log.append(&Drawn::End { producer, commit: false });
        }
        log
    }

    fn append(&mut self, drawn: &Drawn) {
        match drawn {
            Drawn::Roll => self.segments.push((self.end, self.end, Vec::new())),
            Drawn::End { producer, commit } => self.end_txn(*producer, *commit),
            Drawn::Records { codec, producer, transactional, records } => {
                let is_open = self.open.contains_key(producer);
                self.append_records(*codec, *producer, *producer > 0 && (*transactional || is_open), records);
            }
        }
    }

    fn append_records(&mut self, codec: u8, producer: i64, transactional: bool, records: &[(u8, bool)]) {
        let count = i32::try_from(records.len()).unwrap();
        let base_sequence = self.sequences.entry(producer).or_default();
        let whose = match producer {
            0 => Producer::NONE,
            id => Producer { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence: *base_sequence },
        };
        *base_sequence += count;
        if producer > 0 {
            self.producers.insert(ProducerId(producer), (ProducerEpoch(0), *base_sequence - 1));
        }
        if transactional {
            self.open.entry(producer).or_insert(self.end);
        }
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: self.end,
            leader_epoch: LeaderEpoch(3),
            compression: Codec::from_id(codec.into()).unwrap().at_default_level(),
            producer: whose,
            transactional,
            ..BatchOptions::default()
        });
        for (delta, &(key, has_value)) in (0..).zip(records) {
            let offset = self.end + delta;
            let value = has_value.then(|| offset.0.to_be_bytes());
            let (key_bytes, value_bytes) = ([key], value.as_ref().map(|value| &value[..]));
            builder.append(&NewRecord { timestamp: 5, key: Some(&key_bytes), value: value_bytes, headers: &[] });
            self.model.insert(offset, Was { key, value: has_value.then_some(offset.0), aborted: false });
        }
        self.push(&builder.build());
    }

    fn end_txn(&mut self, producer: i64, commit: bool) {
        let Some(first_offset) = self.open.remove(&producer) else { return };
        let mut marker =
            EndTxnMarker { commit, coordinator_epoch: 1 }.to_batch(ProducerId(producer), ProducerEpoch(0), 5);
        marker[..8].copy_from_slice(&self.end.0.to_be_bytes());
        if !commit {
            let (producer_id, last_offset) = (ProducerId(producer), self.end);
            self.aborted.push(AbortedTxn {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset: last_offset + 1,
            });
            let of_it = self.records_of(producer, first_offset);
            of_it.iter().for_each(|offset| self.model.get_mut(offset).unwrap().aborted = true);
        }
        self.push(&marker);
    }

    /// The offsets of a producer's records from `first` on, as the log has them.
    fn records_of(&self, producer: i64, first: Offset) -> Vec<Offset> {
        let all = self.segments.iter().flat_map(|(_, _, bytes)| batches(bytes).map(Result::unwrap));
        let own = all.filter(|batch| batch.header().producer.id.0 == producer && batch.header().base_offset >= first);
        own.flat_map(|batch| (batch.header().base_offset.0..=batch.header().last_offset().0).map(Offset)).collect()
    }

    fn push(&mut self, batch: &[u8]) {
        let (_, end, bytes) = self.segments.last_mut().unwrap();
        bytes.extend_from_slice(batch);
        self.end = BatchHeader::parse(batch).unwrap().next_offset();
        *end = self.end;
    }

    /// One pass over all but the last segment.
    fn pass(&mut self, map_bytes: u64, segment_bytes: u64, now: Option<i64>) {
        let last = self.segments.pop().unwrap();
        let aborted = || AbortedTxns::new(self.aborted.clone());
        let mut mapping = Mapping::new(OffsetMap::new(map_bytes, 5, Planted::default()), self.clean, last.0);
        for (_, end, bytes) in &self.segments {
            if *end > self.clean && !bytes.is_empty() {
                let (clean, _) = run(Stage::Map(mapping, aborted()), bytes, false);
                let Stage::Map(went_on, _) = clean.stage else { unreachable!() };
                mapping = went_on;
            }
        }
        let (end, map) = (mapping.end, mapping.map);
        assert!(
            end > self.clean || self.clean >= last.0 || self.segments.iter().all(|it| it.1 <= self.clean),
            "no step"
        );
        let rules = Rules {
            now,
            delete_retention_ms: RETENTION,
            aborted: aborted(),
            producers: self.producers.iter().map(|(id, last)| (*id, Some(*last))).collect(),
            planted: Planted::default(),
        };
        let mut filter = Box::new(Filter::new(map, end, rules));
        let part = |(base, end, bytes): &(Offset, Offset, Vec<u8>)| Part {
            base: *base,
            end: *end,
            size: u32::try_from(bytes.len()).unwrap(),
            oldest: None,
            newest: None,
        };
        let parts: Vec<Part> = self.segments.iter().map(part).collect();
        let old = std::mem::take(&mut self.segments);
        for group in groups(&parts, segment_bytes) {
            let config = LogConfig { index_interval_bytes: 100, ..LogConfig::default() };
            let segment = Segment::new(group[0].base, FileId(2), &config, WallTime(0));
            let mut output = Box::new(Output::new(FileId(2), segment, config));
            let mut bytes = Vec::new();
            let last_part = group.iter().rposition(|part| part.size > 0);
            for (index, part) in group.iter().enumerate().filter(|(_, part)| part.size > 0) {
                let source = &old.iter().find(|it| it.0 == part.base && !it.2.is_empty()).unwrap().2;
                let (clean, written) = run(Stage::Filter(filter, output), source, Some(index) == last_part);
                let Stage::Filter(next_filter, next_output) = clean.stage else { unreachable!() };
                (filter, output) = (next_filter, next_output);
                bytes.extend(written);
            }
            assert_eq!(output.segment.size as usize, bytes.len());
            let (base, end) = (group[0].base, group.last().unwrap().end);
            if let Some(batch) = batches(&bytes).last() {
                let is_empty_after = old.iter().rfind(|it| it.0 >= base && it.1 <= end && !it.2.is_empty());
                let last = is_empty_after.map_or(end, |it| it.1);
                assert_eq!(batch.unwrap().header().next_offset(), last, "the last batch tells where a segment ends");
            }
            self.segments.push((base, end, bytes));
        }
        self.note_horizons(end, now);
        self.clean = end;
        self.segments.push(last);
    }

    /// What is a tombstone below `end` may go so long after now, if it was not allowed to before.
    fn note_horizons(&mut self, end: Offset, now: Option<i64>) {
        let Some(now) = now else { return };
        for (offset, was) in self.model.range(..end).filter(|(_, was)| was.value.is_none()) {
            if !was.aborted {
                self.horizons.entry(*offset).or_insert(now + RETENTION);
            }
        }
    }

    /// What a reader that follows transactions sees.
    fn read(&self) -> Vec<(Offset, u8, Option<i64>)> {
        let mut seen = Vec::new();
        let aborted = AbortedTxns::new(self.aborted.clone());
        let mut last = Offset(-1);
        for (base, _, bytes) in &self.segments {
            for batch in batches(bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                let header = batch.header();
                assert!(header.base_offset > last && header.base_offset >= *base, "offsets ascend");
                last = header.last_offset();
                if header.attributes.is_control() || aborted.has(header) {
                    continue;
                }
                let mut scratch = Vec::new();
                for record in batch.records(&mut scratch, 1 << 20).unwrap() {
                    let record = record.unwrap();
                    let value = record.value.map(|value| i64::from_be_bytes(value.try_into().unwrap()));
                    seen.push((record.offset, record.key.unwrap()[0], value));
                }
            }
        }
        seen
    }

    fn check(&self, now: i64) {
        let seen = self.read();
        for (offset, key, value) in &seen {
            let was = &self.model[offset];
            assert_eq!((*key, *value, false), (was.key, was.value, was.aborted), "{offset} is what it was");
        }
        let last = |of: &mut dyn Iterator<Item = (Offset, u8, Option<i64>)>| -> BTreeMap<u8, (Offset, Option<i64>)> {
            of.map(|(offset, key, value)| (key, (offset, value))).collect()
        };
        let is = last(&mut seen.iter().copied());
        let committed = self.model.iter().filter(|(_, was)| !was.aborted);
        let was = last(&mut committed.map(|(offset, was)| (*offset, was.key, was.value)));
        for (key, (offset, value)) in &was {
            let may_be_gone = value.is_none() && self.horizons.get(offset).is_some_and(|horizon| now >= *horizon);
            match is.get(key) {
                Some(found) => assert_eq!(found, &(*offset, *value), "key {key}"),
                None => assert!(may_be_gone, "key {key} at {offset} is gone"),
            }
        }
        let mut below: Vec<u8> = seen.iter().filter(|it| it.0 < self.clean).map(|it| it.1).collect();
        below.sort_unstable();
        assert!(below.is_sorted_by(|a, b| a < b), "a clean key is there once: {below:?}");
        self.check_producers();
    }

    fn check_producers(&self) {
        let all =
            || self.segments.iter().flat_map(|(_, _, bytes)| batches(bytes).map(|batch| *batch.unwrap().header()));
        for (id, (epoch, last_sequence)) in &self.producers {
            let is_last = |header: &BatchHeader| {
                (header.producer.id, header.producer.epoch, header.last_sequence()) == (*id, *epoch, *last_sequence)
            };
            assert!(all().any(|header| is_last(&header)), "{id:?} goes on at {last_sequence}");
        }
        // What was aborted and is still there can be told from what was committed.
        let mut open = BTreeSet::new();
        for header in all().filter(|header| header.attributes.is_transactional()) {
            if header.attributes.is_control() {
                assert!(header.record_count == 0 || header.producer.base_sequence == NO_SEQUENCE);
                open.remove(&header.producer.id);
            } else {
                open.insert(header.producer.id);
            }
        }
        assert!(open.is_empty(), "transactions without an end: {open:?}");
    }
}

/// Runs a walk over `source` in small runs; what it wrote.
fn run(stage: Stage, source: &[u8], is_last: bool) -> (Clean, Vec<u8>) {
    let len = u32::try_from(source.len()).unwrap();
    let mut clean = Box::new(Clean::new(stage, Source { file: FileId(1), len, is_last }, 100));
    let mut written = Vec::new();
    let mut done = None;
    loop {
        let (rest, next) = clean.step(done.take());
        match next {
            Next::Read { pos, len, .. } => {
                // As if slices were small: a batch that is cut is gone on with.
                let pos = usize::try_from(pos).unwrap();
                done = Some(Ok(Bytes::copy_from_slice(&source[pos..pos + len as usize])));
            }
            Next::Write { pos, bytes, .. } => {
                assert!(pos >= written.len() as u64, "one after the other");
                written.extend_from_slice(&bytes);
                done = Some(Ok(Bytes::new()));
            }
            Next::Done(report) => {
                let Report::Clean(mut over) = *report else { unreachable!() };
                assert_eq!(over.failed, None);
                if over.is_over() {
                    return (*over, written);
                }
                over.resume(100);
                clean = over;
                continue;
            }
        }
        clean = rest.expect("it goes on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_last_value_of_each_key_stays(
        drawn in proptest::collection::vec(drawn(), 1..80),
        map_bytes in prop_oneof![Just(0_u64), Just(2000), Just(1 << 20)],
        segment_bytes in prop_oneof![Just(1_u64), Just(1500), Just(1 << 20)],
        times in proptest::collection::vec((0..700_i64, proptest::bool::weighted(0.8)), 1..6),
    ) {
        let mut log = Log::of(&drawn);
        let mut now = 0;
        log.check(now);
        for (passed, is_believed) in times {
            now += passed;
            log.append(&Drawn::Roll);
            log.pass(map_bytes, segment_bytes, is_believed.then_some(now));
            log.check(now);
            log.append(&Drawn::Records { codec: 4, producer: 0, transactional: false, records: vec![(3, true)] });
        }
    }
}

#[test]
fn in_the_end_only_the_last_values_are_left() {
    let drawn: Vec<Drawn> = (0..200_u8)
        .map(|key| Drawn::Records {
            codec: 0,
            producer: 0,
            transactional: false,
            records: vec![(key % 10, key >= 195)],
        })
        .collect();
    let mut log = Log::of(&drawn);
    for now in [0, RETENTION, 2 * RETENTION] {
        log.append(&Drawn::Roll);
        log.pass(1 << 20, 1 << 20, Some(now));
        log.check(now);
    }
    let left = log.read();
    assert_eq!(left.iter().map(|(_, key, _)| *key).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    // A batch for each, and nothing else.
    assert_eq!(log.segments.iter().flat_map(|(_, _, bytes)| batches(bytes)).count(), 5);
}

#[test]
fn a_batch_that_is_cut_or_flipped_ends_the_pass() {
    let log =
        Log::of(&[Drawn::Records { codec: 0, producer: 0, transactional: false, records: vec![(1, true), (2, true)] }]);
    let good = &log.segments[0].2;
    let mut flipped = good.clone();
    flipped[70] ^= 1;
    for bytes in [&flipped[..], &good[..good.len() - 1]] {
        let mapping = Mapping::new(OffsetMap::new(0, 1, Planted::default()), Offset(0), Offset(9));
        let len = u32::try_from(bytes.len()).unwrap();
        let source = Source { file: FileId(1), len, is_last: true };
        let clean = Box::new(Clean::new(Stage::Map(mapping, AbortedTxns::default()), source, 1 << 20));
        let (rest, _) = clean.step(None);
        let (_, next) = rest.unwrap().step(Some(Ok(Bytes::copy_from_slice(bytes))));
        let Next::Done(report) = next else { panic!("it goes on") };
        let Report::Clean(over) = *report else { unreachable!() };
        assert!(matches!(over.failed, Some(Failure::Content(_))), "{:?}", over.failed);
    }
}

#[test]
fn a_large_batch_is_read_in_slices_and_written_as_it_is() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![7; 3 << 20];
    builder.append(&NewRecord { timestamp: 1, key: Some(b"k"), value: Some(&value), headers: &[] });
    let batch = builder.build();
    let config = LogConfig::default();
    let segment = Segment::new(Offset(0), FileId(2), &config, WallTime(0));
    let rules = Rules {
        now: None,
        delete_retention_ms: 0,
        aborted: AbortedTxns::default(),
        producers: BTreeMap::new(),
        planted: Planted::default(),
    };
    let filter = Box::new(Filter::new(OffsetMap::new(0, 1, Planted::default()), Offset(1), rules));
    let output = Box::new(Output::new(FileId(2), segment, config));
    let (_, written) = run(Stage::Filter(filter, output), &batch, true);
    assert!(written == batch);
}
