//! A program that reads with core's reader: from wherever it likes while the load goes on, and on to the end of
//! each log when it is over.

use ottla_core::client::{
    AutoOffsetReset, ClientConfig, Command, Event, FetchedRecord, IsolationLevel, PolledRecords, ReadError, Start,
};
use ottla_core::types::{Offset, TopicPartition};

use super::{LOOK, RETRY, base_config, size};
use crate::client::Ctx;
use crate::draw::Draw;
use crate::history::{PartitionIndex, TOMBSTONE_NUMBER};
use crate::invariants::Fact;
use crate::known::number;
use crate::logs::FollowedLog;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::Read;

/// How long the client waits for an answer, besides what the broker may: as long as Kafka's. Megabytes through a
/// small window over a network that loses take more than a moment.
const TIMEOUT: Nanos = 30 * SECOND;

/// The most fetches that a client begins to make when the load is over, of all its partitions together: on a slow
/// network 40 seconds of the 120 that are left, of which a request that a power loss swallowed may take 30.
const FAR: usize = 300;
/// As many bytes of an answer hold a batch more, as far as that matters here.
const USUAL_BATCH: i32 = 10_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Tells it from others in the history.
    reader: u16,
    /// How many batches before the end of a log it begins to read again when the load is over.
    far: usize,
    places: Vec<Place>,
    /// The poll that has not ended.
    poll: Option<u64>,
    polls: u64,
    poll_ms: u64,
    seek: Nanos,
    seek_at: Nanos,
    until: Nanos,
    done: bool,
    /// Whether it reads everything, once.
    all: bool,
}

/// Where it is in one partition.
#[derive(Clone, Debug)]
struct Place {
    partition: TopicPartition,
    index: Option<PartitionIndex>,
    /// Where its log began, as it was told first.
    from: Option<i64>,
    /// What comes next, once it is known.
    next: Option<i64>,
    assigned: bool,
    /// Whether to read it no more, before it is assigned again.
    leave: bool,
    /// When it is to be assigned, and where to begin.
    assign: Option<(Nanos, Start)>,
}

impl Reader {
    /// A program that reads from `at` until `until`, or until the load ends, and the client that it uses.
    #[must_use]
    pub fn new(
        params: &Read,
        partitions: i32,
        at: Nanos,
        until: Nanos,
        which: u16,
        draw: Draw,
    ) -> (Self, ClientConfig) {
        let mut config = base_config(params.max_wait.0 + TIMEOUT, draw);
        let reader = &mut config.reader;
        reader.fetch_max_wait_ms = i32::try_from(params.max_wait.0 / MILLISECOND).unwrap_or(i32::MAX);
        reader.fetch_min_bytes = params.min_bytes;
        reader.fetch_max_bytes = params.max_bytes;
        reader.max_partition_fetch_bytes = i32::try_from(size(draw.and(20), 100, 1 << 20)).unwrap_or(i32::MAX);
        reader.max_poll_records = size(draw.and(21), 1, 500);
        reader.auto_offset_reset =
            [AutoOffsetReset::Earliest, AutoOffsetReset::Latest, AutoOffsetReset::None][draw.and(22).index(3)];
        // Nothing here is transactional: both must read the same.
        reader.isolation_level =
            [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted][draw.and(23).index(2)];
        let place = |partition| Place {
            partition: TopicPartition::new(params.topic.as_str(), partition),
            index: None,
            from: None,
            next: None,
            assigned: false,
            leave: false,
            assign: Some((at, Start::Earliest)),
        };
        let answer = config.reader.max_partition_fetch_bytes.min(config.reader.fetch_max_bytes);
        let program = Self {
            reader: which,
            far: FAR * usize::try_from(1 + answer / USUAL_BATCH).unwrap_or(1)
                / usize::try_from(partitions).unwrap_or(1).max(1),
            places: (0..partitions).map(place).collect(),
            poll: None,
            polls: 0,
            poll_ms: draw.and(24).log_between(1, 5_000),
            seek: params.seek.0,
            seek_at: at.saturating_add(params.seek.0),
            until,
            done: false,
            all: false,
        };
        (program, config)
    }

    /// A program that reads all there is, when load and faults are over.
    #[must_use]
    pub fn all(topic: &str, partitions: i32, at: Nanos, which: u16, draw: Draw) -> (Self, ClientConfig) {
        let params = Read { topic: topic.to_owned(), ..Read::default() };
        let (mut program, mut config) = Self::new(&params, partitions, at, u64::MAX, which, draw);
        config.reader.max_partition_fetch_bytes = params.max_bytes;
        (program.far, program.seek_at, program.all) = (usize::MAX, u64::MAX, true);
        (program, config)
    }

    /// Where each log begins that one who reads everything has read to its end.
    pub fn starts(&self) -> impl Iterator<Item = (PartitionIndex, i64)> {
        let read = self.places.iter().filter(|_| self.all && self.done);
        read.filter_map(|place| Some((place.index?, place.from?)))
    }

    pub(super) fn next_wake(&self) -> Nanos {
        let assign = self.places.iter().filter_map(|place| place.assign.map(|(at, _)| at)).min();
        self.seek_at.min(assign.unwrap_or(u64::MAX))
    }

    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.poll.is_some())
    }

    pub(super) fn next_command(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        if self.done {
            return None;
        }
        if ctx.now >= self.seek_at {
            self.wander(ctx);
        }
        if !ctx.load {
            self.places.iter_mut().for_each(|place| place.hurry(ctx, self.far));
        }
        let reader = self.reader;
        if let Some(command) = self.places.iter_mut().find_map(|place| place.next_command(ctx, reader)) {
            return Some(command);
        }
        if self.poll.is_some() {
            return None;
        }
        if !ctx.load && self.places.iter().all(|place| place.is_at_the_end(ctx)) {
            self.done = true;
            return None;
        }
        self.polls += 1;
        self.poll = Some(self.polls);
        Some(Command::Poll { token: self.polls, timeout_ms: self.poll_ms })
    }

    /// Answers whether the event was to be expected.
    pub(super) fn on_event(&mut self, ctx: &mut Ctx<'_>, event: Event) -> bool {
        match event {
            Event::Polled { token, records } => {
                let expected = self.poll.take_if(|poll| *poll == token).is_some();
                expected && records.iter().all(|polled| self.on_polled(ctx, polled))
            }
            Event::Position { partition, offset } | Event::Truncated { partition, to: offset, .. } => {
                let reader = self.reader;
                self.place(&partition).is_some_and(|place| place.stand(ctx, reader, offset.0))
            }
            Event::ReadFailed { partition, error } => self.on_failed(ctx, &partition, &error),
            Event::Delivered { .. }
            | Event::Failed { .. }
            | Event::Flushed { .. }
            | Event::Group(_)
            | Event::AdminDone { .. }
            | Event::AdminFailed { .. } => false,
        }
    }

    fn on_polled(&mut self, ctx: &mut Ctx<'_>, polled: &PolledRecords) -> bool {
        let reader = self.reader;
        let Some(place) = self.place(&polled.partition) else { return false };
        let Some(index) = place.index else { return false };
        for record in &polled.records {
            judge_record(ctx, reader, index, record);
        }
        place.next = Some(polled.position.0);
        place.assigned
    }

    fn on_failed(&mut self, ctx: &mut Ctx<'_>, partition: &TopicPartition, error: &ReadError) -> bool {
        let Some(place) = self.place(partition) else { return false };
        let start = match error {
            // It goes on behind it, as a program would.
            ReadError::Damaged { offset, .. } => {
                let index = ctx.judge.history.partition(partition);
                ctx.judge.refused_bad(index, offset.0);
                Start::Latest
            }
            ReadError::OutOfRange { .. } | ReadError::Truncated { .. } | ReadError::NoPosition => Start::Earliest,
            ReadError::Broker(_) => place.next.map_or(Start::Earliest, |next| Start::Offset(Offset(next))),
        };
        place.assign.get_or_insert((ctx.now + RETRY, start));
        std::mem::replace(&mut place.assigned, false)
    }

    /// Starts again elsewhere in some partitions, and stays away from some for a while.
    fn wander(&mut self, ctx: &mut Ctx<'_>) {
        if !ctx.load {
            self.seek_at = u64::MAX;
            return;
        }
        if ctx.now >= self.until {
            self.seek_at = ctx.now + LOOK;
            return;
        }
        self.seek_at = ctx.now + 1 + ctx.draw().exponential(self.seek);
        for place in &mut self.places {
            let next = u64::try_from(place.next.unwrap_or(0)).unwrap_or(0);
            let start = match ctx.draw().below(8) {
                0 => Start::Earliest,
                1 => Start::Latest,
                2 => {
                    let back = ctx.draw().below(60_000);
                    Start::Timestamp { ms: ctx.wall_ms - i64::try_from(back).unwrap_or(0) }
                }
                3..=5 => Start::Offset(Offset(i64::try_from(ctx.draw().below(next + 1)).unwrap_or(0))),
                _ => continue,
            };
            let away = if ctx.draw().chance(0.2) { ctx.draw().below(SECOND) } else { 0 };
            place.leave = away > 0 && place.assigned;
            place.assign = Some((ctx.now + away, start));
        }
    }

    fn place(&mut self, partition: &TopicPartition) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.partition == *partition)
    }
}

/// A reader is given a record.
pub(super) fn judge_record(ctx: &mut Ctx<'_>, reader: u16, partition: PartitionIndex, record: &FetchedRecord) {
    let value = record.value.as_deref().and_then(|value| value.split_first_chunk::<8>());
    let of_tombstone = || record.headers.iter().find(|(name, _)| **name == *TOMBSTONE_NUMBER)?.1.as_deref();
    let id = number(record.value.as_deref().or_else(of_tombstone));
    // Clients write a number and zeros: what differs has slipped through the reader's own check.
    if ctx.judge.history.write(id).is_some() && value.is_some_and(|(_, rest)| rest.iter().any(|byte| *byte != 0)) {
        ctx.judge.fact(&Fact::BadBatch { partition, offset: record.offset.0 });
    }
    ctx.judge.polled(reader, partition, record.offset.0, id);
}

impl Place {
    fn next_command(&mut self, ctx: &mut Ctx<'_>, reader: u16) -> Option<Command> {
        if std::mem::take(&mut self.leave) {
            self.assigned = false;
            return Some(Command::Unassign { partition: self.partition.clone() });
        }
        let (_, start) = self.assign.take_if(|(at, _)| *at <= ctx.now || !ctx.load)?;
        self.assigned = true;
        self.next = match start {
            Start::Offset(offset) => Some(offset.0),
            Start::Earliest | Start::Latest | Start::Timestamp { .. } => None,
        };
        let index = ctx.judge.history.partition(&self.partition);
        self.index = Some(index);
        ctx.judge.fact(&Fact::Sought { reader, partition: index, to: self.next });
        Some(Command::Assign { partition: self.partition.clone(), start })
    }

    /// Who gets a batch an answer, of a network that is slow, would read until long after the run: it goes on nearer
    /// the end. Everything is read by others then.
    fn hurry(&mut self, ctx: &Ctx<'_>, far: usize) {
        let batches = ctx.judge.followed(&self.partition).map_or(&[][..], |log| &log.batches);
        let from = batches.len().checked_sub(far).map_or(0, |at| batches[at].base);
        if self.assigned && self.assign.is_none() && self.next.is_some_and(|next| next < from) {
            self.assign = Some((ctx.now, Start::Offset(Offset(from))));
        }
    }

    /// Answers whether it is read at all.
    fn stand(&mut self, ctx: &mut Ctx<'_>, reader: u16, offset: i64) -> bool {
        self.next = Some(offset);
        self.from.get_or_insert(offset);
        if let Some(partition) = self.index {
            ctx.judge.fact(&Fact::Sought { reader, partition, to: self.next });
        }
        self.assigned
    }

    /// Whether it has read all that the node ever wrote here and did not cut.
    fn is_at_the_end(&self, ctx: &Ctx<'_>) -> bool {
        let end = ctx.judge.followed(&self.partition).map_or(0, FollowedLog::end);
        self.assigned && self.next.is_some_and(|next| next >= end)
    }
}
