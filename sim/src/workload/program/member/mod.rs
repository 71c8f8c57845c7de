//! A member of a group that is core's client: it reads what it is given and commits how far it has come, as programs do
//! it. Now and then it leaves, ends, dies, does not poll for too long, or reads other topics; when it is a process
//! again it may speak the other protocol. When the load is over it reads on until everybody is there and all is shared
//! out, commits, and closes.
//!
//! What it sends and is told passes by an [`Ear`](ear::Ear), which tells the judge.

mod config;
mod ear;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::client::{
    Client, ClientConfig, Command, CommittedPosition, Event, GroupCommand, GroupEvent, GroupProtocol, PolledRecords,
    ReadError, Start,
};
use ottla_core::types::{LeaderEpoch, Offset, TopicPartition};

use super::read::judge_record;
use super::{LOOK, RETRY};
use crate::client::Ctx;
use crate::draw::Draw;
use crate::groups::{CommitId, HoldId, Op, PENDING, Seen};
use crate::history::PartitionIndex;
use crate::invariants::Fact;
use crate::network::Wire;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::groups::{CoreMembers, Groups};
use config::Way;
use ear::Ear;

/// See the module.
#[derive(Clone, Debug)]
pub struct Member {
    way: Way,
    ear: Ear,
    life: Life,
    /// What it holds.
    holds: BTreeMap<TopicPartition, Hold>,
    /// Whether it wants to read all topics, or only the first.
    reads_all: bool,
    /// Whether it has been given its part since it last subscribed to something, or came back.
    is_placed: bool,
    /// Whether it is a static member of the classic protocol.
    keeps_place: bool,
    /// What is to be asked for next.
    queue: VecDeque<Command>,
    /// How many commands it has given a number.
    tokens: u64,
    /// The poll that has not ended.
    poll: Option<u64>,
    /// Commits that have not ended.
    commits: BTreeMap<u64, Vec<(PartitionIndex, CommitId)>>,
    /// The commit that it waits for before it does anything else.
    awaited: Option<u64>,
    due: Due,
    /// Whether its process has ended.
    ended: bool,
    /// How many processes it was before this one.
    lives: u64,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Not begun.
    New,
    /// It is a member, or on its way there.
    In,
    /// It leaves, by the command of this number: with its whole process, or not.
    Leaving { token: u64, ends: bool },
    /// No member, until then.
    Out { until: Nanos },
    /// It does nothing any more.
    Done,
}

/// How long after the load it asks for a rebalance if all is not shared out then, and how often.
const FIRST_NUDGE: Nanos = 5 * SECOND;
const NUDGE: Nanos = 30 * SECOND;

/// When it does what.
#[derive(Clone, Copy, Debug)]
struct Due {
    commit: Nanos,
    trouble: Nanos,
    poll: Nanos,
    /// When it is to release what was revoked.
    release: Option<Nanos>,
    /// It asks for no commit before this.
    retry: Nanos,
    /// When it is to ask for a rebalance; see [`Member::finish`].
    nudge: Option<Nanos>,
    /// When it looks at the world again.
    look: Nanos,
}

/// A partition that it was given.
#[derive(Clone, Copy, Debug)]
struct Hold {
    id: HoldId,
    index: PartitionIndex,
    /// Whether it is known where it begins.
    begun: bool,
    /// What comes next, once it is known.
    next: Option<i64>,
    epoch: LeaderEpoch,
    /// How far it has asked for a commit of its own.
    committed: Option<i64>,
}

impl Member {
    /// A member of a group from `at` until `until`, or until the load ends, and its first client. One draw is the
    /// group's, and one is its own.
    #[must_use]
    pub fn new(
        (params, core): (&Groups, &CoreMembers),
        (group, which): (&str, u16),
        topics: Vec<(Arc<str>, i32)>,
        (at, until): (Nanos, Nanos),
        (of_group, draw): (Draw, Draw),
    ) -> (Self, ClientConfig) {
        let way = Way::new((params, core), (group, which), topics, until, (of_group, draw));
        let config = way.config(draw);
        let begin = at + draw.and(50).below(params.heartbeat.0 + 1);
        let trouble = begin + draw.and(51).exponential(params.trouble.0);
        let member = Self {
            ear: Ear::new(&way, &config),
            way,
            life: Life::New,
            holds: BTreeMap::new(),
            reads_all: true,
            is_placed: false,
            keeps_place: keeps_place(&config),
            queue: VecDeque::new(),
            tokens: 0,
            poll: None,
            commits: BTreeMap::new(),
            awaited: None,
            due: Due { commit: begin, trouble, poll: begin, release: None, retry: 0, nudge: None, look: at },
            ended: false,
            lives: 0,
        };
        (member, config)
    }

    pub(super) fn next_wake(&self) -> Nanos {
        let due = match self.life {
            Life::Done => return u64::MAX,
            Life::New | Life::Leaving { .. } => u64::MAX,
            Life::Out { until } => until,
            Life::In => {
                let poll = if self.poll.is_none() && self.awaited.is_none() { self.due.poll } else { u64::MAX };
                poll.min(self.due.commit).min(self.due.trouble).min(self.due.release.unwrap_or(u64::MAX))
            }
        };
        due.min(self.due.look)
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.life, Life::Done)
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.poll.is_some()) + self.commits.len()
    }

    /// See [`super::Program::ends`].
    pub(super) fn ends(&mut self, ctx: &mut Ctx<'_>) -> Option<ClientConfig> {
        if !std::mem::take(&mut self.ended) {
            return None;
        }
        ctx.judge.groups.deaths += 1;
        self.lives += 1;
        let draw = ctx.draw();
        let config = self.way.config(draw);
        self.ear = Ear::new(&self.way, &config);
        self.keeps_place = keeps_place(&config);
        self.reads_all |= draw.and(52).chance(0.5);
        self.forget(ctx);
        self.queue.clear();
        self.commits.clear();
        (self.poll, self.awaited, self.due.release) = (None, None, None);
        Some(config)
    }

    pub(super) fn next_command(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        if let Life::New = self.life {
            self.life = Life::Out { until: self.due.poll };
            if self.way.stays {
                ctx.judge.groups.expect(&self.way.group, ctx.id, self.way.size());
            }
        }
        let over = !ctx.load || ctx.now >= self.way.until;
        self.due.look = ctx.now + if over { RETRY } else { LOOK };
        if let Some(command) = self.queue.pop_front() {
            return Some(command);
        }
        match self.life {
            Life::New | Life::Done | Life::Leaving { .. } => None,
            Life::Out { .. } if over && !self.way.stays => {
                self.life = Life::Done;
                None
            }
            Life::Out { until } if until <= ctx.now => {
                self.life = Life::In;
                Some(self.subscribe(ctx))
            }
            Life::Out { until } => {
                if over {
                    self.life = Life::Out { until: until.min(ctx.now + RETRY) };
                }
                None
            }
            Life::In if over => self.finish(ctx),
            Life::In => self.work(ctx),
        }
    }

    fn subscribe(&mut self, ctx: &mut Ctx<'_>) -> Command {
        self.due.poll = ctx.now;
        self.is_placed = false;
        self.ear.subscribes(self.reads_all);
        let count = if self.reads_all { self.way.topics.len() } else { 1 };
        let topics = self.way.topics.iter().take(count).map(|(topic, _)| topic.clone()).collect();
        Command::Group(GroupCommand::Subscribe { topics, await_release: self.way.habits.awaits_release })
    }

    /// What a member does while the load goes on.
    fn work(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        if self.due.release.is_some_and(|at| at <= ctx.now) {
            self.due.release = None;
            return Some(Command::Group(GroupCommand::Release));
        }
        if self.due.trouble <= ctx.now {
            self.due.trouble = ctx.now + 1 + ctx.draw().exponential(self.way.trouble);
            return self.trouble(ctx);
        }
        if self.due.commit <= ctx.now {
            self.due.commit = ctx.now + 1 + ctx.draw().exponential(self.way.commit);
            let style = ctx.draw();
            return (self.awaited.is_none() && self.way.habits.commits_itself)
                .then(|| self.commit(ctx, style.chance(0.5), style.and(1).chance(0.7)))
                .flatten();
        }
        self.poll(ctx)
    }

    fn poll(&mut self, ctx: &Ctx<'_>) -> Option<Command> {
        if self.poll.is_some() || self.awaited.is_some() || self.due.poll > ctx.now {
            return None;
        }
        let token = self.token();
        self.poll = Some(token);
        Some(Command::Poll { token, timeout_ms: self.way.habits.poll_ms })
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// Commits: `numbered` positions of its own, or whatever the client takes for its positions.
    fn commit(&mut self, ctx: &mut Ctx<'_>, waits: bool, numbered: bool) -> Option<Command> {
        let holds: Vec<TopicPartition> = self.holds.keys().cloned().collect();
        self.commit_of(ctx, &holds, waits, numbered)
    }

    fn commit_of(
        &mut self,
        ctx: &mut Ctx<'_>,
        partitions: &[TopicPartition],
        waits: bool,
        numbered: bool,
    ) -> Option<Command> {
        let (mut positions, mut ids) = (Vec::new(), Vec::new());
        if ctx.now < self.due.retry {
            return None;
        }
        for partition in partitions {
            let Some(hold) = self.holds.get_mut(partition) else { continue };
            let Some(next) = hold.next.filter(|next| hold.committed != Some(*next)) else { continue };
            let number = ctx.judge.groups.number();
            hold.committed = Some(next);
            ids.push((hold.index, number));
            let position = CommittedPosition {
                offset: Offset(next),
                leader_epoch: hold.epoch,
                metadata: number.to_string().into(),
            };
            positions.push((partition.clone(), position));
        }
        if positions.is_empty() {
            return None;
        }
        let (token, retry) = (self.token(), waits);
        self.commits.insert(token, if numbered { ids } else { Vec::new() });
        self.awaited = waits.then_some(token).or(self.awaited);
        let positions = numbered.then_some(positions);
        Some(Command::Group(GroupCommand::Commit { token, positions, retry }))
    }

    /// The load is over: it reads on until all is shared out, commits, and goes.
    ///
    /// A static member of the classic protocol that comes back finds the assignment as it was, even if it wants to read
    /// something else now, or died between the two rebalances in which a partition goes over from it to another
    /// (KIP-429): that changes nothing before the next rebalance, with Kafka, too. So all ask for one, because only
    /// the leader's word counts when it says nothing new.
    fn finish(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        if !self.way.stays {
            self.end(ctx, ctx.now);
            return None;
        }
        if self.due.release.take().is_some() {
            return Some(Command::Group(GroupCommand::Release));
        }
        let nudge = *self.due.nudge.get_or_insert(ctx.now + FIRST_NUDGE);
        let is_placed = self.is_placed || !self.keeps_place;
        if is_placed && !self.reads_all {
            self.reads_all = true;
            return Some(self.subscribe(ctx));
        }
        if self.reads_all && nudge <= ctx.now {
            self.due.nudge = Some(ctx.now + NUDGE);
            return Some(self.subscribe(ctx));
        }
        (self.due.commit, self.due.trouble) = (u64::MAX, u64::MAX);
        self.due.poll = self.due.poll.min(ctx.now);
        if !ctx.judge.groups.settles(&self.way.group) || self.awaited.is_some() {
            return self.poll(ctx);
        }
        if let Some(commit) = self.commit(ctx, true, true) {
            return Some(commit);
        }
        Some(self.leave(true))
    }

    fn leave(&mut self, ends: bool) -> Command {
        let token = self.token();
        self.life = Life::Leaving { token, ends };
        Command::Group(if ends { GroupCommand::Close { token } } else { GroupCommand::Unsubscribe { token } })
    }

    fn trouble(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        let kinds = if self.way.topics.len() > 1 && self.is_placed { 7 } else { 6 };
        match if self.way.habits.rolling { 2 } else { ctx.draw().below(kinds) } {
            0 => Some(self.leave(false)),
            1 => Some(self.leave(true)),
            2 => {
                let until = ctx.now + ctx.draw().log_between(10 * MILLISECOND, self.way.longest_away);
                self.end(ctx, until);
                None
            }
            // It is busy, perhaps for too long.
            3 | 4 => {
                self.due.poll = ctx.now + ctx.draw().log_between(100 * MILLISECOND, 2 * self.way.rebalance);
                None
            }
            5 => {
                let token = self.token();
                let partitions = self.way.partitions().collect();
                self.commits.insert(token, Vec::new());
                Some(Command::Group(GroupCommand::FetchCommitted { token, partitions }))
            }
            _ => {
                self.reads_all = !self.reads_all;
                Some(self.subscribe(ctx))
            }
        }
    }

    /// Its process is no more, and another comes then.
    fn end(&mut self, ctx: &mut Ctx<'_>, until: Nanos) {
        self.ended = true;
        self.life = Life::Out { until };
        self.forget(ctx);
    }

    /// It holds nothing, and is no member.
    fn forget(&mut self, ctx: &mut Ctx<'_>) {
        self.holds.clear();
        self.is_placed = false;
        ctx.judge.groups.stand(&self.way.group, ctx.id, None);
    }

    /// Answers whether the event was to be expected.
    pub(super) fn on_event(&mut self, ctx: &mut Ctx<'_>, event: Event) -> bool {
        match event {
            Event::Polled { token, records } => {
                let think = ctx.draw().exponential(if ctx.load { self.way.habits.think } else { 0 });
                self.due.poll = self.due.poll.max(ctx.now + think);
                let expected = self.poll.take_if(|poll| *poll == token).is_some();
                expected && records.iter().all(|polled| self.on_polled(ctx, polled))
            }
            Event::Position { partition, offset } | Event::Truncated { partition, to: offset, .. } => {
                self.begin(ctx, &partition, offset.0, false);
                true
            }
            Event::ReadFailed { partition, error } => {
                self.on_read_failed(ctx, partition, &error);
                true
            }
            Event::Group(event) => self.on_group_event(ctx, event),
            Event::Delivered { .. }
            | Event::Failed { .. }
            | Event::Flushed { .. }
            | Event::AdminDone { .. }
            | Event::AdminFailed { .. } => false,
        }
    }

    fn on_group_event(&mut self, ctx: &mut Ctx<'_>, event: GroupEvent) -> bool {
        match event {
            GroupEvent::Assigned { partitions } => self.take(ctx, partitions),
            GroupEvent::Revoked { partitions } => self.on_revoked(ctx, &partitions),
            GroupEvent::Lost { partitions } => {
                self.is_placed = false;
                self.drop(ctx, &partitions);
            }
            GroupEvent::Committed { token: None, .. } => {}
            GroupEvent::Committed { token: Some(token), .. }
            | GroupEvent::PositionsKept { token, .. }
            | GroupEvent::PositionsNotKnown { token, .. } => return self.on_done(token).is_some(),
            GroupEvent::CommitFailed { token, definite, .. } => {
                let Some(commits) = self.on_done(token) else { return false };
                for (partition, commit) in commits.into_iter().filter(|_| definite) {
                    ctx.judge.group(self.look_at(ctx.now), Seen::Denied { partition, commit });
                }
                self.due.retry = ctx.now + RETRY;
                self.holds.values_mut().for_each(|hold| hold.committed = None);
            }
            GroupEvent::Failed { .. } => {
                self.forget(ctx);
                let wait = ctx.draw().exponential(if ctx.load { self.way.trouble } else { RETRY });
                self.life = Life::Out { until: ctx.now + RETRY / 10 + wait };
            }
            GroupEvent::Unsubscribed { token } => return self.on_left(ctx, token, false),
            GroupEvent::Closed { token } => return self.on_left(ctx, token, true),
        }
        true
    }

    /// A command has ended; answers which commits it was.
    fn on_done(&mut self, token: u64) -> Option<Vec<(PartitionIndex, CommitId)>> {
        self.awaited.take_if(|awaited| *awaited == token);
        self.commits.remove(&token)
    }

    fn on_left(&mut self, ctx: &mut Ctx<'_>, token: u64, ends: bool) -> bool {
        let expected = matches!(self.life, Life::Leaving { token: other, ends: how } if other == token && how == ends);
        self.forget(ctx);
        let wait = ctx.draw().log_between(MILLISECOND, self.way.longest_away);
        let over = (!ctx.load || ctx.now >= self.way.until) && ctx.judge.groups.settles(&self.way.group);
        self.life = if over && ends { Life::Done } else { Life::Out { until: ctx.now + wait } };
        self.ended = ends && !over;
        expected
    }

    fn take(&mut self, ctx: &mut Ctx<'_>, partitions: Vec<TopicPartition>) {
        self.is_placed = true;
        for partition in partitions {
            let index = ctx.judge.history.partition(&partition);
            let (id, epoch) = (ctx.judge.groups.number(), LeaderEpoch(-1));
            self.holds.insert(partition, Hold { id, index, begun: false, next: None, epoch, committed: None });
        }
        self.stand(ctx);
    }

    /// What is taken away is committed first, by who waits to be asked; at once or later it is released.
    fn on_revoked(&mut self, ctx: &mut Ctx<'_>, partitions: &[TopicPartition]) {
        if self.way.habits.awaits_release {
            let commit = if ctx.draw().chance(0.7) { self.commit_of(ctx, partitions, true, true) } else { None };
            self.queue.extend(commit);
            let late = ctx.draw();
            let wait = if late.chance(0.2) { late.and(1).log_between(MILLISECOND, 2 * self.way.rebalance) } else { 0 };
            self.due.release = Some(ctx.now + wait);
        }
        self.drop(ctx, partitions);
    }

    fn drop(&mut self, ctx: &mut Ctx<'_>, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| {
            self.holds.remove(partition);
        });
        self.stand(ctx);
    }

    fn stand(&self, ctx: &mut Ctx<'_>) {
        let holds = self.holds.values().map(|hold| hold.index).collect::<BTreeSet<_>>();
        ctx.judge.groups.stand(&self.way.group, ctx.id, Some(holds));
    }

    fn on_polled(&mut self, ctx: &mut Ctx<'_>, polled: &PolledRecords) -> bool {
        let Some(hold) = self.holds.get_mut(&polled.partition) else { return false };
        for record in &polled.records {
            judge_record(ctx, ctx.id, hold.index, record);
            hold.epoch = record.leader_epoch;
        }
        hold.next = Some(polled.position.0);
        let seen = Seen::Passed { partition: hold.index, next: polled.position.0 };
        ctx.judge.group(self.look_at(ctx.now), seen);
        true
    }

    /// It goes on where a program would.
    fn on_read_failed(&mut self, ctx: &mut Ctx<'_>, partition: TopicPartition, error: &ReadError) {
        let Some(hold) = self.holds.get_mut(&partition) else { return };
        let start = match error {
            ReadError::Damaged { offset, .. } => {
                ctx.judge.refused_bad(hold.index, offset.0);
                Start::Latest
            }
            ReadError::OutOfRange { .. } | ReadError::Truncated { .. } | ReadError::NoPosition => Start::Earliest,
            ReadError::Broker(_) => hold.next.map_or(Start::Earliest, |next| Start::Offset(Offset(next))),
        };
        (hold.begun, hold.next) = (false, None);
        ctx.judge.fact(&Fact::Sought { reader: ctx.id, partition: hold.index, to: None });
        self.ear.forget_position(&partition);
        self.queue.push_back(Command::Seek { partition, start });
    }

    /// It begins to read there, because somebody has committed that, or not.
    fn begin(&mut self, ctx: &mut Ctx<'_>, partition: &TopicPartition, at: i64, committed: bool) {
        let index = ctx.judge.history.partition(partition);
        // What is being taken away may be found, and committed, as long as it is not released.
        if let Some(hold) = self.holds.get_mut(partition) {
            (hold.begun, hold.next) = (true, Some(at));
            ctx.judge.fact(&Fact::Sought { reader: ctx.id, partition: index, to: Some(at) });
        }
        ctx.judge.group(self.look_at(ctx.now), Seen::Began { partition: index, at, committed });
    }

    /// See [`super::Program::look`].
    pub(super) fn look(&mut self, ctx: &mut Ctx<'_>, client: &Client) {
        let new = self.holds.iter().filter(|(_, hold)| !hold.begun);
        let known = new.filter_map(|(partition, _)| Some((partition.clone(), client.position(partition)?.0)));
        let known: Vec<(TopicPartition, i64)> = known.collect();
        for (partition, at) in known {
            let committed = self.ear.position(&partition) == Some(at);
            self.begin(ctx, &partition, at, committed);
        }
    }

    pub(super) fn overhear_request(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes) {
        let holds = self.holding();
        self.ear.on_request(ctx, wire, frame, &holds);
    }

    pub(super) fn overhear_answer(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes) {
        let holds = self.holding();
        self.ear.on_answer(ctx, wire, frame, &holds);
    }

    fn holding(&self) -> Vec<(PartitionIndex, HoldId)> {
        self.holds.values().map(|hold| (hold.index, hold.id)).collect()
    }

    /// Something that it does by itself.
    fn look_at(&self, now: Nanos) -> Op<'_> {
        Op { id: 0, group: &self.way.group, asked: now, told: PENDING }
    }
}

/// Whether a process that comes back is given what the one before it had.
fn keeps_place(config: &ClientConfig) -> bool {
    config.group.group_protocol == GroupProtocol::Classic && config.group.group_instance_id.is_some()
}
