//! One partition of `__consumer_offsets` and everything that its records say.
//!
//! | event           | speculative image and groups    | committed image            | who waits              |
//! |-----------------|---------------------------------|----------------------------|------------------------|
//! | a decision      | decides from them               |                            |                        |
//! | appended        | replays its records             |                            | for their end          |
//! | not appended    | as if it had not been decided   |                            | is told so             |
//! | committed       | what rests on it goes on        | replays it                 | is answered            |
//! | time out        |                                 |                            | is told to try again   |
//!
//! The parent appends the records of each [`Decision`] at once, as one batch, and says how that went before it asks
//! anything else: [`Shard::on_appended`] or [`Shard::on_failed`]. Invariants: each ticket is answered once; an answer
//! that saw something that is not committed waits until it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::answer::{Answer, GroupState};
use super::consumer_image::ConsumerChange;
use super::groups::{Groups, Unwritten};
use super::image::{Change, GroupMetadata, GroupsImage, OffsetKey};
use super::request::Request;
use super::settings::GroupSettings;
use super::timers::{Timer, Timers};
use super::topics::Topics;
use super::turn::{Followup, Outcome, Turn};
use super::{offsets, records};
use crate::clock::{Instant, Now, WallTime};
use crate::machine::Ticket;
use crate::planted::Plant;
use crate::types::Offset;

/// A record for `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key, in one of Kafka's schemas.
    pub key: Vec<u8>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// What its key and value take, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// What a request or the time that has passed leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// To be appended as one atomic batch; perhaps none.
    pub records: Vec<Record>,
    /// What can be said at once, in order.
    pub answers: Vec<(Ticket, Answer)>,
}

/// A record of `__consumer_offsets` that cannot be read, though its batch's CRC is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group record cannot be read: {0}")]
pub struct ReplayError(pub String);

/// The groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug)]
pub struct Shard {
    settings: GroupSettings,
    topics: Arc<Topics>,
    /// What is committed: for readers.
    pub(super) committed: GroupsImage,
    /// What will be, if the log does not fail: for decisions.
    pub(super) groups: Groups,
    pub(super) timers: Timers,
    /// What was decided and is being appended.
    decided: Option<Outcome>,
    /// What is appended and not committed, in the order of the log.
    appended: VecDeque<Batch>,
    /// In how many of these batches something follows from their being committed.
    followups: usize,
    /// Answers that wait for the log, in its order.
    pub(super) waiting: VecDeque<Waiting>,
}

#[derive(Clone, Debug)]
struct Batch {
    end: Offset,
    deadline: Instant,
    changes: Vec<Change>,
    followup: Option<Followup>,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    until: Offset,
    deadline: Instant,
    pub ticket: Ticket,
    answer: Answer,
}

impl Shard {
    /// A shard that knows no records yet.
    #[must_use]
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            topics: Arc::default(),
            committed: GroupsImage::default(),
            groups: Groups::default(),
            timers: Timers::default(),
            decided: None,
            appended: VecDeque::new(),
            followups: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The settings are others from now on; what was timed by the old ones stays so until it is timed anew.
    pub fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// The topics that there are from now on. Groups look at them when their members are next heard of.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.topics = topics;
    }

    /// A record of the log, in order, before [`Shard::on_loaded`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        let mut change = records::decode(key, value)?;
        if let Change::Offset { offset: Some(offset), .. } = &mut change
            && self.settings.planted.has(Plant::Ofs03)
        {
            Arc::make_mut(offset).expires_at.get_or_insert(-1);
        }
        self.committed.replay(&change);
        Ok(())
    }

    /// The log was replayed up to its end, all of which is committed: sessions begin anew.
    pub fn on_loaded(&mut self, now: Now) {
        self.groups = Groups::load(self.committed.clone());
        let (groups, mut turn) = self.turn(now);
        groups.start(&mut turn);
        let outcome = turn.outcome;
        assert!(outcome.changes.is_empty() && outcome.answers.is_empty(), "nobody waits yet");
        self.set_expiry(now);
    }

    /// A request. It is answered exactly once: here, or by a later event.
    pub fn on_request(&mut self, now: Now, request: &Request<'_>, ticket: Ticket) -> Decision {
        if let Request::FetchOffsets(it) = request {
            // Whoever is not told of transactions that are under way is told what is committed, at once.
            if !it.require_stable {
                let answer = Answer::FetchOffsets(offsets::fetch(&self.committed, it));
                return Decision { records: Vec::new(), answers: vec![(ticket, answer)] };
            }
        }
        let (groups, mut turn) = self.turn(now);
        groups.on_request(request, ticket, &mut turn);
        let outcome = turn.outcome;
        self.conclude(now, outcome)
    }

    /// The offsets of topics that are no more, in batches for [`Shard::forget_offsets`].
    #[must_use]
    pub fn offsets_of(&self, topics: &[Arc<str>]) -> Vec<Vec<OffsetKey>> {
        self.groups.offsets_of(topics)
    }

    /// The same, and those of all that there is no more.
    #[must_use]
    pub fn stale_offsets(&self, deleted: &[Arc<str>]) -> Vec<Vec<OffsetKey>> {
        self.groups.stale_offsets(deleted, &self.topics)
    }

    /// Their topics are no more, and neither are they.
    pub fn forget_offsets(&mut self, now: Now, offsets: Vec<OffsetKey>) -> Decision {
        let changes = offsets.into_iter().map(|at| Change::Offset { at, offset: None }).collect();
        self.conclude(now, Outcome { changes, ..Outcome::default() })
    }

    /// Time has passed. One deadline at a time: to be called until [`Shard::next_deadline`] lies ahead. `confirmed`:
    /// the wall time that may be believed, as the process has known its clocks from its start on, not from the shard's.
    pub fn on_timeout(&mut self, now: Now, confirmed: Option<WallTime>) -> Decision {
        let answers = self.give_up_waiting(now);
        if !answers.is_empty() {
            return Decision { records: Vec::new(), answers };
        }
        let Some((due, timer)) = self.timers.pop_due(now.monotonic) else { return Decision::default() };
        if timer == Timer::Expiry {
            return self.expire(now, confirmed);
        }
        let (groups, mut turn) = self.turn(now);
        groups.on_timer(&timer, now.monotonic.since(due), &mut turn);
        let outcome = turn.outcome;
        self.conclude(now, outcome)
    }

    /// When [`Shard::on_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.next_timer(), self.next_late()].into_iter().flatten().min()
    }

    /// When a timer is due, which may ask for records.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// When somebody has waited too long for the log; that asks for no records.
    #[must_use]
    pub fn next_late(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|waiting| waiting.deadline);
        let mut batches = self.appended.iter().filter(|_| self.followups > 0);
        let followup = batches.find(|batch| batch.followup.is_some()).map(|batch| batch.deadline);
        [waiting, followup].into_iter().flatten().min()
    }

    /// The last decision's records are in the log; `end` is the offset after them.
    ///
    /// # Panics
    /// If there is no such decision.
    pub fn on_appended(&mut self, now: Now, end: Offset) {
        let outcome = self.decided.take().expect("records are appended once for each decision");
        let (groups, mut turn) = self.turn(now);
        groups.replay(&outcome.changes, &mut turn);
        let more = turn.outcome;
        assert!(more.changes.is_empty() && more.answers.is_empty(), "what is written has been decided");
        let deadline = now.monotonic + self.commit_timeout();
        let Outcome { changes, answers, followup } = outcome;
        self.followups += usize::from(followup.is_some());
        self.appended.push_back(Batch { end, deadline, changes, followup });
        self.wait(end, deadline, answers);
    }

    /// The last decision's records are not in the log and will never be; why, by the log's error code.
    ///
    /// # Panics
    /// If there is no such decision.
    #[must_use]
    pub fn on_failed(&mut self, now: Now, code: ErrorCode) -> Vec<(Ticket, Answer)> {
        let outcome = self.decided.take().expect("records are appended once for each decision");
        let mut told: Vec<_> = outcome
            .answers
            .into_iter()
            .map(|(ticket, answer)| {
                let code = append_error(&answer, code);
                (ticket, answer.failed(code))
            })
            .collect();
        if let Some(followup) = outcome.followup {
            let unwritten = Unwritten::Never(group_error(code));
            told.extend(self.follow_up(now, followup, Err(unwritten)));
        }
        let (groups, mut turn) = self.turn(now);
        groups.forget(&outcome.changes, &mut turn);
        told
    }

    /// The log is committed up to here: the answers that rest on it.
    #[must_use]
    pub fn on_committed(&mut self, now: Now, high_watermark: Offset) -> Vec<(Ticket, Answer)> {
        let mut told = Vec::new();
        while self.appended.front().is_some_and(|batch| batch.end <= high_watermark) {
            let batch = self.appended.pop_front().expect("it has a front");
            for change in &batch.changes {
                self.committed.replay(change);
            }
            while self.waiting.front().is_some_and(|waiting| waiting.until <= batch.end) {
                let waiting = self.waiting.pop_front().expect("it has a front");
                told.push((waiting.ticket, waiting.answer));
            }
            if let Some(followup) = batch.followup {
                self.followups -= 1;
                told.extend(self.follow_up(now, followup, Ok(())));
            }
        }
        told
    }

    /// The shard is another broker's now: NOT_COORDINATOR for everyone who waits. What it knew is gone.
    #[must_use]
    pub fn unload(&mut self) -> Vec<(Ticket, Answer)> {
        let old = std::mem::replace(self, Self::new(self.settings.clone()));
        let decided = old.decided.into_iter().flat_map(|outcome| outcome.answers);
        let waiting = old.waiting.into_iter().map(|waiting| (waiting.ticket, waiting.answer));
        let held = waiting.chain(decided).map(|(ticket, answer)| (ticket, answer.failed(ErrorCode::NOT_COORDINATOR)));
        held.chain(old.groups.parked()).collect()
    }

    /// The state of each group, in the order of their names.
    pub fn states(&self) -> impl Iterator<Item = GroupState> {
        self.groups.states()
    }

    /// How many offsets are in the log.
    #[must_use]
    pub fn offsets_count(&self) -> usize {
        self.groups.image.offsets_count()
    }

    /// Whether all that was decided is committed.
    pub(super) fn is_settled(&self) -> bool {
        self.decided.is_none() && self.appended.is_empty()
    }

    fn turn(&mut self, now: Now) -> (&mut Groups, Turn<'_>) {
        let (settings, topics, timers) = (&self.settings, &*self.topics, &mut self.timers);
        (&mut self.groups, Turn { now, settings, topics, timers, outcome: Outcome::default() })
    }

    /// What is decided goes to the log; what only saw the state waits for what the state rests on.
    fn conclude(&mut self, now: Now, mut outcome: Outcome) -> Decision {
        assert!(self.decided.is_none(), "the parent says how an append went before it asks anything else");
        if !outcome.changes.is_empty() {
            let records = self.records(&outcome.changes);
            let is_commit = outcome.answers.iter().all(|(_, answer)| matches!(answer, Answer::Commit(_)));
            let early = is_commit && self.settings.planted.has(Plant::Ofs08);
            let answers = if early { std::mem::take(&mut outcome.answers) } else { Vec::new() };
            self.decided = Some(outcome);
            return Decision { records, answers };
        }
        match self.appended.back().map(|batch| batch.end) {
            None => Decision { records: Vec::new(), answers: outcome.answers },
            Some(end) => {
                self.wait(end, now.monotonic + self.commit_timeout(), outcome.answers);
                Decision::default()
            }
        }
    }

    /// The records of these changes. They repeat long names: of more than a log takes only so many are made that it
    /// refuses them.
    fn records(&self, changes: &[Change]) -> Vec<Record> {
        let mut bytes = 0;
        let has_room = |record: &Record| {
            let has_room = bytes <= self.settings.max_batch_bytes;
            bytes += record.size();
            has_room
        };
        let written = changes.iter().filter(|change| !self.is_left_out(change));
        written.map(|change| self.record(change)).take_while(has_room).collect()
    }

    /// GRP-17: what is not written, though it is taken for written.
    fn is_left_out(&self, change: &Change) -> bool {
        let is_raised =
            matches!(change, Change::Consumer { change: ConsumerChange::Epoch(Some(it)), .. } if it.epoch > 1);
        is_raised && self.settings.planted.has(Plant::Grp17)
    }

    fn record(&self, change: &Change) -> Record {
        if let Change::Group { group, metadata: None } = change
            && self.settings.planted.has(Plant::Ofs05)
        {
            let metadata = Some(Arc::new(GroupMetadata::nobody()));
            return records::encode(&Change::Group { group: group.clone(), metadata });
        }
        records::encode(change)
    }

    fn wait(&mut self, until: Offset, deadline: Instant, answers: Vec<(Ticket, Answer)>) {
        let waiting = answers.into_iter().map(|(ticket, answer)| Waiting { until, deadline, ticket, answer });
        self.waiting.extend(waiting);
    }

    /// `offsets.commit.timeout.ms`
    const fn commit_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.offsets.commit_timeout_ms)
    }

    /// Who has waited too long for the log is told to try again; what they asked for may yet be committed.
    fn give_up_waiting(&mut self, now: Now) -> Vec<(Ticket, Answer)> {
        let mut told = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.deadline <= now.monotonic) {
            let waiting = self.waiting.pop_front().expect("it has a front");
            told.push((waiting.ticket, waiting.answer.failed(Unwritten::Late.code())));
        }
        for index in 0..self.appended.len() {
            let batch = &mut self.appended[index];
            if batch.deadline > now.monotonic {
                break;
            }
            if let Some(followup) = batch.followup.take() {
                self.followups -= 1;
                told.extend(self.follow_up(now, followup, Err(Unwritten::Late)));
            }
        }
        told
    }

    fn follow_up(&mut self, now: Now, followup: Followup, how: Result<(), Unwritten>) -> Vec<(Ticket, Answer)> {
        let (groups, mut turn) = self.turn(now);
        groups.follow_up(followup, how, &mut turn);
        assert!(turn.outcome.changes.is_empty(), "members that wait for an assignment are in the group");
        turn.outcome.answers
    }

    fn expire(&mut self, now: Now, confirmed: Option<WallTime>) -> Decision {
        let (groups, mut turn) = self.turn(now);
        let seen_all = groups.expire(confirmed, &mut turn);
        let outcome = turn.outcome;
        if seen_all {
            self.set_expiry(now);
        } else {
            self.timers.set(Timer::Expiry, now.monotonic);
        }
        self.conclude(now, outcome)
    }

    fn set_expiry(&mut self, now: Now) {
        let interval = Duration::from_millis(self.settings.offsets.retention_check_interval_ms);
        self.timers.set(Timer::Expiry, now.monotonic + interval);
    }
}

/// What clients are told of a log that does not take records.
fn append_error(answer: &Answer, code: ErrorCode) -> ErrorCode {
    match (answer, code) {
        (Answer::Commit(_), ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE) => {
            ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        }
        _ => group_error(code),
    }
}

fn group_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::REQUEST_TIMED_OUT => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => ErrorCode::UNKNOWN_SERVER_ERROR,
        other => other,
    }
}
