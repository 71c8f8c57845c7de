//! Reading records from partitions that the program assigns, or the group does.
//!
//! * `assigned`: where the reader stands in a partition; `lookup`: how it finds out
//! * `nearest`: whom it is read from
//! * `session`: what is asked of each broker (KIP-227); `fetch`: the requests and answers; `chunk`: the records
//!
//! One Fetch is in flight a broker, when nothing of its partitions is buffered: so at most `fetch.max.bytes` wait for
//! the program for each broker, besides one batch a partition, however large it is.
//! A poll takes from the partitions in turn, at most `max.poll.records`.
//!
//! Absent on purpose: what groups do, which assign partitions and keep positions.

mod assigned;
mod chunk;
mod fetch;
mod lookup;
mod nearest;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::clock::Instant;
use crate::rpc::{Answer, Backoff, CallId, Lane, Readiness, Route, RpcError};
use crate::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};

use super::boundary::{Event, PolledRecords, ReadError, Start};
use super::config::{AutoOffsetReset, IsolationLevel, ReaderConfig};
use super::turn::Turn;

use assigned::{Assigned, EARLIEST, LATEST, Leaderless, Phase};
pub(super) use chunk::Place;
use chunk::Terms;
use lookup::{Asked, Found, Question};
use session::Session;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    rules: Rules,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Of which no records are handed out or fetched, by the program's wish.
    paused: BTreeSet<TopicPartition>,
    /// The same, because they are about to be given up.
    held: BTreeSet<TopicPartition>,
    sessions: BTreeMap<BrokerId, Session>,
    /// Look-ups that are in flight.
    lookups: BTreeMap<CallId, Vec<Asked>>,
    poll: Option<Poll>,
    /// The partition that the last poll ended with: the next begins behind it.
    last_polled: Option<TopicPartition>,
    next_generation: u64,
}

/// A program that waits for records.
#[derive(Clone, Copy, Debug)]
struct Poll {
    token: u64,
    until: Instant,
}

/// The configuration, as the parts need it.
#[derive(Clone, Debug)]
struct Rules {
    fetch_max_wait_ms: i32,
    fetch_min_bytes: i32,
    fetch_max_bytes: i32,
    max_partition_fetch_bytes: i32,
    max_poll_records: usize,
    client_rack: Box<str>,
    /// For how long a replica is read from that the leader named.
    named_for: Duration,
    terms: Terms,
    reset: AutoOffsetReset,
    backoff: Backoff,
}

impl Reader {
    pub(super) fn new(config: &ReaderConfig, backoff: Backoff, metadata_max_age: Duration) -> Self {
        let rules = Rules {
            fetch_max_wait_ms: config.fetch_max_wait_ms,
            fetch_min_bytes: config.fetch_min_bytes,
            fetch_max_bytes: config.fetch_max_bytes,
            max_partition_fetch_bytes: config.max_partition_fetch_bytes,
            max_poll_records: config.max_poll_records,
            client_rack: config.client_rack.clone(),
            named_for: metadata_max_age,
            terms: Terms {
                check_crcs: config.check_crcs,
                committed_only: config.isolation_level == IsolationLevel::ReadCommitted,
            },
            reset: config.auto_offset_reset,
            backoff,
        };
        Self {
            rules,
            partitions: BTreeMap::new(),
            paused: BTreeSet::new(),
            held: BTreeSet::new(),
            sessions: BTreeMap::new(),
            lookups: BTreeMap::new(),
            poll: None,
            last_polled: None,
            next_generation: 1,
        }
    }

    /// Reads a partition from a place; from another one, if it is read already.
    pub(super) fn assign(&mut self, partition: TopicPartition, start: Start) {
        let assigned = Assigned::new(self.next_generation, start);
        self.next_generation += 1;
        self.partitions.insert(partition, assigned);
    }

    /// As `assign`, at a place that was right once: it is looked at again before anything is read (KIP-320).
    pub(super) fn assign_at(&mut self, partition: TopicPartition, place: Place) {
        let mut assigned = Assigned::new(self.next_generation, Start::Offset(place.offset));
        if place.epoch.0 >= 0 {
            assigned.phase = Phase::Validating { place };
        }
        self.next_generation += 1;
        self.partitions.insert(partition, assigned);
    }

    /// Reads a partition no more.
    pub(super) fn unassign(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
        self.paused.remove(partition);
        self.held.remove(partition);
    }

    /// Reads nothing more.
    pub(super) fn unassign_all(&mut self) {
        self.partitions.clear();
        self.paused.clear();
        self.held.clear();
    }

    /// Whether a partition is read.
    pub(super) fn is_assigned(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// All that is read.
    pub(super) fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// No records of a partition are handed out until it is resumed.
    pub(super) fn pause(&mut self, partition: TopicPartition) {
        self.paused.insert(partition);
    }

    pub(super) fn resume(&mut self, partition: &TopicPartition) {
        self.paused.remove(partition);
    }

    /// No records of a partition are handed out until it is assigned anew.
    pub(super) fn hold(&mut self, partition: TopicPartition) {
        self.held.insert(partition);
    }

    /// Where the program stands in a partition.
    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Place> {
        self.partitions.get(partition).and_then(Assigned::position)
    }

    /// Whether the program waits for records: it has dealt with all that it was given.
    pub(super) fn is_polling(&self) -> bool {
        self.poll.is_some()
    }

    fn is_silent(&self, partition: &TopicPartition) -> bool {
        self.paused.contains(partition) || self.held.contains(partition)
    }

    /// The program waits for records, until a moment. A poll that waits already ends with nothing.
    pub(super) fn poll(&mut self, token: u64, timeout: Duration, turn: &mut Turn<'_>) {
        if let Some(Poll { token, .. }) = self.poll.replace(Poll { token, until: turn.at() + timeout }) {
            turn.events.push(Event::Polled { token, records: Vec::new() });
        }
    }

    /// Does all that can be done now.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        self.answer_poll(turn);
        if self.partitions.is_empty() {
            return;
        }
        self.note_epochs(turn);
        self.look_up(turn);
        self.fetch(turn);
        let now = turn.at();
        let later = self.partitions.values().map(|it| it.retry_at).filter(|&at| at > now);
        later.for_each(|at| turn.wake.by(at));
    }

    /// The result of a call, if it is ours.
    pub(super) fn on_result(&mut self, call: CallId, result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        if let Some(asked) = self.lookups.remove(&call) {
            return self.on_looked_up(&asked, result, turn);
        }
        let broker = self.sessions.iter().find(|(_, session)| session.call == Some(call)).map(|(&id, _)| id);
        if let Some(broker) = broker {
            self.on_fetched(broker, result, turn);
        }
    }

    fn answer_poll(&mut self, turn: &mut Turn<'_>) {
        let Some(poll) = self.poll else { return };
        let (mut records, mut failed) = (Vec::new(), Vec::new());
        let mut room = self.rules.max_poll_records;
        for partition in self.in_turn() {
            if room == 0 {
                break;
            }
            let (polled, result) = self.take(&partition, room);
            if let Err(error) = result {
                failed.push((partition.clone(), error));
            }
            if !polled.records.is_empty() {
                room -= polled.records.len();
                self.last_polled = Some(partition);
                records.push(polled);
            }
        }
        if records.is_empty() && poll.until > turn.at() {
            turn.wake.by(poll.until);
        } else {
            self.poll = None;
            turn.events.push(Event::Polled { token: poll.token, records });
        }
        // The program hears of damage after the records before it.
        for (partition, error) in failed {
            self.fail(&partition, error, turn);
        }
    }

    /// The partitions with something buffered, those first that come behind the last one polled.
    fn in_turn(&self) -> Vec<TopicPartition> {
        let full = self.partitions.iter().filter(|(partition, it)| it.chunk.is_some() && !self.is_silent(partition));
        let buffered = full.map(|(partition, _)| partition.clone());
        let (mut behind, mut first): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for partition in buffered {
            let side = if Some(&partition) > self.last_polled.as_ref() { &mut first } else { &mut behind };
            side.push(partition);
        }
        first.append(&mut behind);
        first
    }

    /// Takes records of one partition. A chunk that is read to its end makes room for the next Fetch.
    fn take(&mut self, partition: &TopicPartition, room: usize) -> (PolledRecords, Result<(), ReadError>) {
        let assigned = self.partitions.get_mut(partition).expect("it was just seen");
        let chunk = assigned.chunk.as_mut().expect("it was just seen");
        let mut records = Vec::new();
        let result = chunk.take(room, &mut records);
        let place = chunk.place();
        if chunk.is_done() {
            assigned.chunk = None;
            if let Phase::Reading { leader_epoch, .. } = assigned.phase {
                assigned.phase = Phase::Reading { place, leader_epoch };
            }
        }
        (PolledRecords { partition: partition.clone(), records, position: place.offset }, result)
    }

    /// What the metadata says of each partition's leader may call its place into question.
    fn note_epochs(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        let mut failed = Vec::new();
        let waiting = self.partitions.iter_mut().filter(|(_, it)| !matches!(it.phase, Phase::Failed));
        for (partition, assigned) in waiting {
            let topic = turn.metadata.topic(now, &partition.topic);
            let hopeless = topic.error.filter(|code| !is_passing(*code));
            match topic.partitions.get(&partition.partition) {
                _ if hopeless.is_some() => failed.extend(hopeless.map(|code| (partition.clone(), code))),
                Some(known) if known.leader.is_some() => {
                    assigned.leaderless = Leaderless::default();
                    assigned.note_epoch(known.leader_epoch);
                }
                Some(_) | None if assigned.leaderless.next_at > now => turn.wake.by(assigned.leaderless.next_at),
                // What has just been asked for in vain takes its time.
                Some(_) | None => {
                    turn.metadata.request();
                    let Leaderless { next_at, asked } = &mut assigned.leaderless;
                    *asked += 1;
                    *next_at = now + self.rules.backoff.delay(*asked, turn.rng);
                    turn.wake.by(*next_at);
                }
            }
        }
        for (partition, code) in failed {
            // Who assigns it again wants to know what is so then.
            turn.metadata.forget_error(&partition.topic);
            self.fail(&partition, ReadError::Broker(code), turn);
        }
    }

    /// Asks leaders for the places that are not known.
    fn look_up(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        let mut late = Vec::new();
        let mut by_leader: BTreeMap<(BrokerId, bool), Vec<Asked>> = BTreeMap::new();
        for (partition, assigned) in self.partitions.iter().filter(|(_, it)| it.wants_answer(now)) {
            let question = match assigned.phase {
                Phase::Seeking { timestamp } => Question::Time(timestamp),
                Phase::Validating { place } => Question::EndOf(place.epoch),
                Phase::Reading { .. } | Phase::Failed => continue,
            };
            let Some((leader, current)) = turn.metadata.leader_and_epoch(&partition.topic, partition.partition) else {
                continue;
            };
            if is_behind(current, question) && assigned.failures < PATIENCE {
                late.push(partition.clone());
                continue;
            }
            let (partition, generation) = (partition.clone(), assigned.generation);
            let kind = matches!(question, Question::EndOf(_));
            by_leader.entry((leader, kind)).or_default().push(Asked { partition, generation, current, question });
        }
        for partition in late {
            turn.metadata.request();
            delay(self.partitions.get_mut(&partition).expect("it was just seen"), self.rules.backoff, turn);
        }
        for ((leader, _), asked) in by_leader {
            let route = Route::to(leader, Lane::Control);
            match turn.pool.connect(now, route, turn.sink) {
                Readiness::Ready => self.ask(route, asked, turn),
                Readiness::Later(at) => turn.wake.by(at),
                Readiness::Unknown => turn.metadata.request(),
                Readiness::Busy | Readiness::Connecting | Readiness::Idle => {}
            }
        }
    }

    fn ask(&mut self, route: Route, asked: Vec<Asked>, turn: &mut Turn<'_>) {
        let request = lookup::request(&asked, self.rules.terms.committed_only);
        let sent = turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink);
        for it in &asked {
            let assigned = self.partitions.get_mut(&it.partition).expect("it was asked for");
            match sent {
                Ok(_) => assigned.asked = true,
                Err(_) => delay(assigned, self.rules.backoff, turn),
            }
        }
        if let Ok(call) = sent {
            self.lookups.insert(call, asked);
        }
    }

    fn on_looked_up(&mut self, asked: &[Asked], result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        let answer = result.and_then(|answer| answer.decode().map_err(RpcError::Malformed));
        if answer.is_err() {
            turn.metadata.request();
        }
        for it in asked {
            let assigned = self.partitions.get_mut(&it.partition);
            let Some(assigned) = assigned.filter(|assigned| assigned.generation == it.generation) else { continue };
            assigned.asked = false;
            match answer.as_ref().ok().and_then(|response| lookup::find(response, it)) {
                Some(found) if found.code.is_none() => self.on_found(it, found, turn),
                Some(found) if !is_passing(found.code) => {
                    self.fail(&it.partition, ReadError::Broker(found.code), turn);
                }
                Some(_) | None => {
                    turn.metadata.request();
                    delay(assigned, self.rules.backoff, turn);
                }
            }
        }
    }

    fn on_found(&mut self, asked: &Asked, found: Found, turn: &mut Turn<'_>) {
        let assigned = self.partitions.get_mut(&asked.partition).expect("the caller found it");
        let end = Place { offset: Offset(found.offset), epoch: LeaderEpoch(found.epoch) };
        match assigned.phase {
            // Nothing is as young as that: the end.
            Phase::Seeking { timestamp } if found.offset < 0 && timestamp >= 0 => {
                assigned.phase = Phase::Seeking { timestamp: LATEST };
            }
            Phase::Seeking { .. } => {
                // The epoch is that of the record at the place, not of the one before it.
                assigned.stand(Place { epoch: LeaderEpoch(-1), ..end }, asked.current);
                turn.events.push(Event::Position { partition: asked.partition.clone(), offset: end.offset });
            }
            Phase::Validating { place } if end.offset >= place.offset => assigned.stand(place, asked.current),
            Phase::Validating { place } => self.on_truncated(&asked.partition, place, (end, asked.current), turn),
            Phase::Reading { .. } | Phase::Failed => {}
        }
    }

    /// The log was cut below the place: what was read may be there no more (KIP-320).
    fn on_truncated(
        &mut self,
        partition: &TopicPartition,
        place: Place,
        (end, current): (Place, LeaderEpoch),
        turn: &mut Turn<'_>,
    ) {
        let known = end.offset.0 >= 0;
        if self.rules.reset == AutoOffsetReset::None {
            let error = ReadError::Truncated { position: place.offset, end: known.then_some(end.offset) };
            return self.fail(partition, error, turn);
        }
        if !known {
            return self.reset(partition, place.offset, turn);
        }
        let assigned = self.partitions.get_mut(partition).expect("the caller found it");
        assigned.stand(end, current);
        turn.events.push(Event::Truncated { partition: partition.clone(), from: place.offset, to: end.offset });
    }

    /// The place is outside the log: goes where `auto.offset.reset` says.
    fn reset(&mut self, partition: &TopicPartition, offset: Offset, turn: &mut Turn<'_>) {
        let timestamp = match self.rules.reset {
            AutoOffsetReset::Earliest => EARLIEST,
            AutoOffsetReset::Latest => LATEST,
            AutoOffsetReset::None => return self.fail(partition, ReadError::OutOfRange { offset }, turn),
        };
        let assigned = self.partitions.get_mut(partition).expect("the caller found it");
        assigned.phase = Phase::Seeking { timestamp };
        assigned.chunk = None;
    }

    fn fail(&mut self, partition: &TopicPartition, error: ReadError, turn: &mut Turn<'_>) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.phase = Phase::Failed;
            assigned.chunk = None;
        }
        turn.events.push(Event::ReadFailed { partition: partition.clone(), error });
    }
}

/// How often newer metadata is asked for before a leader is asked of an epoch that he seems not to have come to.
const PATIENCE: u32 = 5;

/// Whether the metadata knows of less than is asked for: that leader was replaced, and cannot say how the epoch ended.
fn is_behind(current: LeaderEpoch, question: Question) -> bool {
    matches!(question, Question::EndOf(epoch) if current.0 >= 0 && current < epoch)
}

/// Whether an error in reading may pass, so that the same is asked again.
fn is_passing(code: ErrorCode) -> bool {
    (code.is_retriable() && code != ErrorCode::CORRUPT_MESSAGE) || code == ErrorCode::UNKNOWN_SERVER_ERROR
}

/// Asks again after a while.
fn delay(assigned: &mut Assigned, backoff: Backoff, turn: &mut Turn<'_>) {
    assigned.failures += 1;
    assigned.retry_at = turn.now.monotonic + backoff.delay(assigned.failures, turn.rng);
}
