//! A shard and a parent in small: a log that takes or refuses batches, a high watermark that may be held, two clocks.

mod consumers;
mod crowds;
mod properties;
mod scripts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{ErrorCode, Uuid};

use super::image::Change;
use super::*;
use crate::clock::{ClockCheck, Instant, Now, WallTime};
use crate::config::BrokerConfig;
use crate::machine::{ConnId, Ticket};
use crate::types::Offset;

/// What a parent sees and does.
struct World {
    shard: Shard,
    settings: GroupSettings,
    topics: Arc<Topics>,
    now: Now,
    clocks: ClockCheck,
    /// Every record, in order; the batches end where `ends` says.
    log: Vec<Record>,
    /// The end of each batch.
    ends: Vec<usize>,
    committed: usize,
    /// Whether the high watermark stays where it is.
    held: bool,
    /// What the next append fails with.
    fails: Option<ErrorCode>,
    asked: u64,
    /// Tickets that are not answered yet.
    open: BTreeSet<Ticket>,
    answers: Vec<(Ticket, Answer)>,
    /// What was appended since it was last looked at.
    appended: Vec<Change>,
}

/// Without the pause between two assignments, but for who asks for it.
fn settings(overrides: &[(&str, &str)]) -> GroupSettings {
    let mut settings = GroupSettings::of(&BrokerConfig::for_test(1, overrides));
    if !overrides.iter().any(|(key, _)| *key == "group.consumer.assignment.interval.ms") {
        settings.consumer_groups.assignment_interval_ms = 0;
    }
    settings
}

impl World {
    fn new(settings: GroupSettings) -> Self {
        let now = Now { monotonic: Instant(0), wall: WallTime(1_000_000_000_000) };
        let mut shard = Shard::new(settings.clone());
        shard.on_loaded(now);
        Self {
            shard,
            settings,
            topics: Arc::default(),
            now,
            clocks: ClockCheck::new(now),
            log: Vec::new(),
            ends: Vec::new(),
            committed: 0,
            held: false,
            fails: None,
            asked: 0,
            open: BTreeSet::new(),
            answers: Vec::new(),
            appended: Vec::new(),
        }
    }

    /// A topic is there with so many partitions, or is no more.
    fn set_topic(&mut self, name: &str, partitions: Option<i32>) {
        let topics = Arc::make_mut(&mut self.topics);
        let (known, version) = (topics.get(name), topics.version() + 1);
        match (partitions, known) {
            (Some(partitions), known) => {
                let id = known.map_or(Uuid(0xa0 + u128::try_from(version).unwrap()), |it| it.id);
                topics.set(&name.into(), Topic { id, partitions }, version);
            }
            (None, Some(known)) => topics.remove(known.id, version),
            (None, None) => {}
        }
        self.shard.set_topics(self.topics.clone());
    }

    fn ask(&mut self, request: &Request<'_>) -> Ticket {
        self.asked += 1;
        let ticket = Ticket { conn: ConnId(1), frame: self.asked };
        self.open.insert(ticket);
        let decision = self.shard.on_request(self.now, request, ticket);
        self.carry_out(decision);
        ticket
    }

    fn carry_out(&mut self, decision: Decision) {
        self.take(decision.answers);
        if decision.records.is_empty() {
            return;
        }
        if let Some(code) = self.fails.take() {
            let answers = self.shard.on_failed(self.now, code);
            return self.take(answers);
        }
        let changes = decision.records.iter().map(|it| records::decode(&it.key, it.value.as_deref()).unwrap());
        self.appended.extend(changes);
        self.log.extend(decision.records);
        self.ends.push(self.log.len());
        self.shard.on_appended(self.now, offset(self.log.len()));
        if !self.held {
            self.commit(self.log.len());
        }
    }

    fn forget(&mut self, batches: Vec<Vec<image::OffsetKey>>) {
        for batch in batches {
            let decision = self.shard.forget_offsets(self.now, batch);
            self.carry_out(decision);
        }
    }

    /// The high watermark rises to so many records.
    fn commit(&mut self, records: usize) {
        self.committed = records;
        let answers = self.shard.on_committed(self.now, offset(records));
        self.take(answers);
    }

    fn take(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            assert!(self.open.remove(&ticket), "#{} is answered twice: {answer}", ticket.frame);
            self.answers.push((ticket, answer));
        }
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= end) {
            self.advance(at.max(self.now.monotonic));
            self.time_out();
        }
        self.advance(end);
    }

    fn time_out(&mut self) {
        let mut turns = 0;
        while self.shard.next_deadline().is_some_and(|at| at <= self.now.monotonic) {
            let decision = self.shard.on_timeout(self.now, self.clocks.confirmed(self.now));
            self.carry_out(decision);
            turns += 1;
            assert!(turns < 10_000, "time-outs never end");
        }
    }

    /// Nobody is told that the time passes.
    fn advance(&mut self, to: Instant) {
        let by = to.since(self.now.monotonic);
        self.now.monotonic = to;
        self.now.wall.0 += i64::try_from(by.as_millis()).unwrap();
    }

    /// The shard goes to another broker, which has what is committed; or has come back, with all there is.
    fn reload(&mut self) {
        let answers = self.shard.unload();
        self.take(answers);
        assert!(self.open.is_empty(), "left parked: {:?}", self.open);
        self.log.truncate(self.committed);
        self.ends.retain(|end| *end <= self.committed);
        self.shard = rebuilt(&self.settings, &self.log);
        self.shard.set_topics(self.topics.clone());
        self.shard.on_loaded(self.now);
    }
}

fn offset(records: usize) -> Offset {
    Offset(i64::try_from(records).unwrap())
}

/// A shard that has read so many records.
fn rebuilt(settings: &GroupSettings, log: &[Record]) -> Shard {
    let mut shard = Shard::new(settings.clone());
    for record in log {
        shard.replay(&record.key, record.value.as_deref()).unwrap();
    }
    shard
}
