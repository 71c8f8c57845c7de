//! A member of a group, at the level of frames: it joins, reads what it is given, says that it lives, and commits how
//! far it has come. Now and then it leaves, dies, sleeps through its session, joins again with something new to say, or
//! speaks as who it was a generation ago. When the load is over it comes back, commits, and leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_core::types::TopicPartition;
use ottla_wire::api::find_coordinator::FindCoordinatorResponse;
use ottla_wire::api::heartbeat::HeartbeatResponse;
use ottla_wire::api::join_group::JoinGroupResponse;
use ottla_wire::api::offset_commit::OffsetCommitResponse;
use ottla_wire::api::sync_group::SyncGroupResponse;
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader};

use super::frames::{Assigned, Commit, Identity, Speaker, read_fetched};
use super::place::{Place, Places};
use super::{Groups, RETRY, fate};
use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::draw::Draw;
use crate::groups::{Fate, Me, Op, OpId, PENDING, Peer, Seen};
use crate::time::{MILLISECOND, Nanos};

/// See the module.
#[derive(Clone, Debug)]
pub struct MemberActor {
    params: Groups,
    speaker: Speaker,
    partitions: i32,
    state: State,
    me: Identity,
    /// Who it was, and where.
    before: Option<(Identity, Places)>,
    places: Places,
    asked: BTreeMap<u64, Asked>,
    /// What it says beside its topic.
    news: u8,
    due: Due,
    /// It asks nothing before this.
    wait_until: Nanos,
    until: Nanos,
    hangs_up: bool,
}

/// What it does next.
#[derive(Clone, Debug)]
enum State {
    /// It looks for its coordinator.
    Lost,
    /// It commits, and then joins.
    Revoking,
    /// It joins.
    Out,
    /// It asks for its assignment; a leader knows who else is there.
    Syncing(Option<Vec<Peer>>),
    /// It asks how far others have come.
    Fetching,
    /// It has its place.
    In,
    /// It says that it goes.
    Leaving,
    /// It does nothing any more.
    Done,
}

/// When it does what.
#[derive(Clone, Copy, Debug)]
struct Due {
    heartbeat: Nanos,
    commit: Nanos,
    trouble: Nanos,
    poll: Nanos,
}

/// A request that is not answered.
#[derive(Clone, Debug)]
struct Asked {
    op: OpId,
    at: Nanos,
    /// As whom.
    me: Identity,
    commits: Vec<Commit>,
}

/// How many requests may be unanswered while it has its place.
const PIPELINE: usize = 2;
/// The mean time between two looks for records.
const POLL: Nanos = 150 * MILLISECOND;

impl MemberActor {
    /// A member that belongs to a group from `at` until `until`, or until the load ends.
    #[must_use]
    pub fn new(
        params: &Groups,
        group: &str,
        which: u16,
        partitions: i32,
        (at, until): (Nanos, Nanos),
        draw: Draw,
    ) -> Self {
        let number = if params.twins { which / 2 } else { which };
        let instance = (draw.and(90).below(100) < u64::from(params.fixed)).then(|| format!("i{number}").into());
        let name = format!("{group}m{which}");
        Self {
            params: params.clone(),
            speaker: Speaker::new(group, instance, &name, draw),
            partitions,
            state: State::Lost,
            me: Identity::nobody(),
            before: None,
            places: Places::default(),
            asked: BTreeMap::new(),
            news: 0,
            due: Due { heartbeat: at, commit: at, trouble: at + draw.and(91).exponential(params.trouble.0), poll: at },
            wait_until: at + draw.and(92).below(params.heartbeat.0 + 1),
            until,
            hangs_up: false,
        }
    }

    pub(in crate::workload) fn next_wake(&self, in_flight: usize) -> Nanos {
        match self.state {
            State::Done => u64::MAX,
            State::In if in_flight >= PIPELINE => u64::MAX,
            State::In => self.due.heartbeat.min(self.due.commit).min(self.due.poll).max(self.wait_until),
            State::Lost | State::Revoking | State::Out | State::Syncing(_) | State::Fetching | State::Leaving => {
                if in_flight > 0 {
                    u64::MAX
                } else {
                    self.wait_until
                }
            }
        }
    }

    pub(in crate::workload) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether it is dead, once.
    pub(in crate::workload) const fn hangs_up(&mut self) -> bool {
        std::mem::replace(&mut self.hangs_up, false)
    }

    pub(in crate::workload) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        if self.next_wake(in_flight) > ctx.now {
            return None;
        }
        let tag = ctx.judge.groups.number();
        match &self.state {
            State::Lost => {
                self.expect(ctx, tag, Vec::new());
                Some(self.speaker.find(tag))
            }
            State::Revoking => {
                self.state = State::Out;
                if self.places.are_ahead() { Some(self.commit(ctx, tag)) } else { self.next_ask(ctx, in_flight) }
            }
            State::Out => Some(self.join(ctx, tag)),
            State::Syncing(peers) => {
                let peers = peers.clone();
                Some(self.sync(ctx, tag, peers))
            }
            State::Fetching => {
                self.expect(ctx, tag, Vec::new());
                let partitions: Vec<i32> = self.places.all.iter().map(|place| place.partition).collect();
                Some(self.speaker.fetch_offsets(tag, &self.params.topic, &partitions))
            }
            State::In => self.work(ctx, tag, in_flight),
            State::Leaving => {
                self.expect(ctx, tag, Vec::new());
                let ask = self.speaker.leave(tag, &self.me);
                self.forget();
                Some(ask)
            }
            State::Done => None,
        }
    }

    /// What a member with its place does now.
    fn work(&mut self, ctx: &mut Ctx<'_>, tag: u64, in_flight: usize) -> Option<Ask> {
        if !ctx.load || ctx.now >= self.until {
            return self.finish(ctx, tag, in_flight);
        }
        if ctx.now >= self.due.trouble {
            self.due.trouble = ctx.now + 1 + ctx.draw().exponential(self.params.trouble.0);
            return self.trouble(ctx, tag);
        }
        if ctx.now >= self.due.heartbeat {
            self.due.heartbeat = ctx.now + self.params.heartbeat.0;
            return Some(self.heartbeat(ctx, tag, self.me.clone()));
        }
        if ctx.now >= self.due.commit {
            self.due.commit = ctx.now + 1 + ctx.draw().exponential(self.params.commit.0);
            return self.places.are_ahead().then(|| self.commit(ctx, tag));
        }
        self.due.poll = ctx.now + 1 + ctx.draw().exponential(POLL);
        self.places.next_ask(i16::try_from(tag % 9).unwrap_or(0))
    }

    /// The load is over: it commits what it has, and goes.
    fn finish(&mut self, ctx: &mut Ctx<'_>, tag: u64, in_flight: usize) -> Option<Ask> {
        if in_flight > 0 {
            self.wait_until = ctx.now + RETRY;
            return None;
        }
        if self.places.are_ahead() {
            return Some(self.commit(ctx, tag));
        }
        let leaves = self.speaker.instance.is_none() || ctx.draw().chance(0.5);
        self.state = if leaves { State::Leaving } else { State::Done };
        self.next_ask(ctx, in_flight)
    }

    fn trouble(&mut self, ctx: &mut Ctx<'_>, tag: u64) -> Option<Ask> {
        let rolling = self.params.rolling;
        let most = if rolling { self.params.session.0 / 10 } else { 2 * self.params.session.0 };
        match if rolling { 1 } else { ctx.draw().below(6) } {
            0 => {
                self.state = State::Leaving;
                self.wait_until = ctx.now;
                None
            }
            // It dies, and another comes in its place: soon, as in a rolling restart, or late.
            1 => {
                ctx.judge.groups.deaths += 1;
                self.hangs_up = true;
                self.state = State::Lost;
                self.forget();
                self.before = None;
                self.wait_until = ctx.now + ctx.draw().log_between(10 * MILLISECOND, most);
                None
            }
            // It sleeps; perhaps too long.
            2 => {
                self.wait_until = ctx.now + ctx.draw().log_between(100 * MILLISECOND, most);
                None
            }
            3 => {
                self.news = self.news.wrapping_add(1);
                self.state = State::Revoking;
                None
            }
            // What was on its way when its generation ended.
            4 => {
                let (me, places) = self.before.clone()?;
                let commits = numbered(ctx, &places, |_| true);
                if commits.is_empty() { None } else { Some(self.commit_as(ctx, tag, &me, &places, commits)) }
            }
            _ => {
                let (me, _) = self.before.clone()?;
                Some(self.heartbeat(ctx, tag, me))
            }
        }
    }

    fn expect(&mut self, ctx: &Ctx<'_>, tag: u64, commits: Vec<Commit>) {
        self.asked.insert(tag, Asked { op: tag, at: ctx.now, me: self.me.clone(), commits });
    }

    fn heartbeat(&mut self, ctx: &Ctx<'_>, tag: u64, me: Identity) -> Ask {
        let ask = self.speaker.heartbeat(tag, &me);
        self.asked.insert(tag, Asked { op: tag, at: ctx.now, me, commits: Vec::new() });
        ask
    }

    fn join(&mut self, ctx: &mut Ctx<'_>, tag: u64) -> Ask {
        self.expect(ctx, tag, Vec::new());
        let seen = Seen::Joining { id: &self.me.id, instance: self.speaker.instance.as_deref(), afresh: false };
        ctx.judge.group(self.pending(tag, ctx.now), seen);
        let timeouts = (self.params.session.0, self.params.rebalance.0);
        self.speaker.join(tag, &self.me.id, &self.params.topic, self.news, timeouts)
    }

    fn sync(&mut self, ctx: &mut Ctx<'_>, tag: u64, peers: Option<Vec<Peer>>) -> Ask {
        self.expect(ctx, tag, Vec::new());
        let parts = peers.map(|peers| self.assign(ctx, tag, peers)).unwrap_or_default();
        self.speaker.sync(tag, &self.me, &self.params.topic, &parts, 2 * self.params.rebalance.0)
    }

    /// Gives each partition to one of the members, who take turns from a place that is drawn.
    fn assign(&self, ctx: &mut Ctx<'_>, tag: u64, mut peers: Vec<Peer>) -> Vec<(Arc<str>, Assigned)> {
        let topic = &*self.params.topic;
        ctx.judge.groups.assignments += u64::from(ctx.load);
        let first = ctx.draw().index(peers.len());
        let mut parts: Vec<Assigned> = vec![Assigned { assignment: tag, partitions: Vec::new() }; peers.len()];
        for (partition, turn) in (0..self.partitions).zip(first..) {
            let index = ctx.judge.history.partition(&TopicPartition::new(topic, partition));
            let turn = turn % peers.len();
            peers[turn].partitions.push(index);
            parts[turn].partitions.push(partition);
        }
        ctx.judge.group(self.pending(tag, ctx.now), Seen::Assigning { assignment: tag, peers: &peers });
        peers.into_iter().map(|peer| peer.id).zip(parts).collect()
    }

    fn commit(&mut self, ctx: &mut Ctx<'_>, tag: u64) -> Ask {
        let (me, places) = (self.me.clone(), self.places.clone());
        let commits = numbered(ctx, &places, |place| place.next != place.committed);
        self.commit_as(ctx, tag, &me, &places, commits)
    }

    fn commit_as(&mut self, ctx: &mut Ctx<'_>, tag: u64, me: &Identity, places: &Places, commits: Vec<Commit>) -> Ask {
        let retention = Some(self.params.retention.0).filter(|kept| *kept > 0 && self.speaker.says_retention());
        let group = Arc::clone(&self.speaker.group);
        for commit in &commits {
            let Some(place) = places.all.iter().find(|place| place.partition == commit.partition) else { continue };
            let op = Op { id: commit.id, group: &group, asked: ctx.now, told: PENDING };
            ctx.judge.group(
                op,
                Seen::Committing { partition: place.index, commit: commit.id, offset: commit.offset, retention },
            );
        }
        ctx.judge.groups.note(&group, &self.params.topic);
        let ask = self.speaker.commit(tag, me, &self.params.topic, &commits, retention);
        self.asked.insert(tag, Asked { op: tag, at: ctx.now, me: me.clone(), commits });
        ask
    }

    pub(in crate::workload) fn on_lost(&mut self, ask: &Ask) {
        self.asked.remove(&ask.tag);
        if let State::Syncing(_) | State::Leaving = self.state {
            self.state = State::Out;
        }
    }

    pub(in crate::workload) fn on_answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let Some(asked) = self.asked.remove(&ask.tag) else {
            return self.places.on_answer(ctx, ask, body);
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "a member asks nothing else")]
        match ask.api_key {
            ApiKey::FindCoordinator => self.on_found(ctx, ask, body),
            ApiKey::JoinGroup => self.on_joined(ctx, &asked, ask, body),
            ApiKey::SyncGroup => self.on_synced(ctx, &asked, ask, body),
            ApiKey::OffsetFetch => self.on_fetched(ctx, &asked, ask, body),
            ApiKey::Heartbeat => {
                let error = HeartbeatResponse::decode(body, ask.api_version)?.error_code;
                let may_be_blind = ctx.judge.groups.may_be_blind(&self.op(&asked, ctx.now));
                if error == ErrorCode::REBALANCE_IN_PROGRESS || error == ErrorCode::NONE && !may_be_blind {
                    let seen = Seen::Alive { me: self.me(&asked.me), calm: error == ErrorCode::NONE };
                    ctx.judge.group(self.op(&asked, ctx.now), seen);
                }
                self.heed(ctx, &asked, error);
                Ok(())
            }
            ApiKey::OffsetCommit => self.on_committed(ctx, &asked, ask, body),
            // Whatever it is told of its leaving, it has left.
            _ => {
                let over = !ctx.load || ctx.now >= self.until;
                self.state = if over { State::Done } else { State::Out };
                self.wait_until = ctx.now + ctx.draw().log_between(MILLISECOND, self.params.session.0);
                Ok(())
            }
        }
    }

    fn on_found(&mut self, ctx: &Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let answer = FindCoordinatorResponse::decode(body, ask.api_version)?;
        let error = answer.coordinators.first().map_or(answer.error_code, |it| it.error_code);
        if error == ErrorCode::NONE {
            self.state = State::Out;
        } else {
            self.wait_until = ctx.now + RETRY;
        }
        Ok(())
    }

    fn on_joined(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let answer = JoinGroupResponse::decode(body, ask.api_version)?;
        let op = self.op(asked, ctx.now);
        let instance = self.speaker.instance.clone();
        ctx.judge.group(op, Seen::JoinOver { instance: instance.as_deref() });
        if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED {
            self.me.id = answer.member_id.into();
            return Ok(());
        }
        if answer.error_code != ErrorCode::NONE {
            self.heed(ctx, asked, answer.error_code);
            return Ok(());
        }
        let peers = answer.members.iter().map(|it| Peer {
            id: it.member_id.into(),
            instance: it.group_instance_id.or_else(|| instance_of(it.member_id)).map(Into::into),
            partitions: Vec::new(),
        });
        let peers: Vec<Peer> = peers.collect();
        let seen = Seen::Joined { id: answer.member_id, instance: instance.as_deref(), peers: &peers };
        ctx.judge.group(op, seen);
        if self.me.assignment != 0 {
            self.before = Some((self.me.clone(), std::mem::take(&mut self.places)));
        }
        self.me = Identity { id: answer.member_id.into(), generation: answer.generation_id, assignment: 0 };
        let leads = answer.leader == answer.member_id && !answer.skip_assignment && !peers.is_empty();
        self.state = State::Syncing(leads.then_some(peers));
        Ok(())
    }

    fn on_synced(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let answer = SyncGroupResponse::decode(body, ask.api_version)?;
        if answer.error_code != ErrorCode::NONE {
            self.heed(ctx, asked, answer.error_code);
            return Ok(());
        }
        let part = Assigned::decode(answer.assignment)?;
        self.me.assignment = part.assignment;
        let group = Arc::clone(&self.speaker.group);
        self.places = Places::new(ctx, &group, &self.params.topic, &part.partitions);
        if part.assignment != 0 {
            let indexes = self.places.indexes();
            let seen = Seen::Synced { me: self.me(&self.me), partitions: &indexes };
            ctx.judge.group(self.op(asked, ctx.now), seen);
        }
        self.state = if part.partitions.is_empty() { State::In } else { State::Fetching };
        self.due.heartbeat = ctx.now + self.params.heartbeat.0;
        Ok(())
    }

    fn on_fetched(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let (error, fetched) = read_fetched(ask, body)?;
        if error != ErrorCode::NONE || fetched.iter().any(|it| it.error != ErrorCode::NONE) {
            self.wait_until = ctx.now + RETRY;
            return Ok(());
        }
        let clocks = ctx.judge.groups.clocks;
        for it in fetched {
            let Some(place) = self.places.of_mut(it.partition).copied() else { continue };
            let seen = Seen::Fetched { partition: place.index, found: it.found, clocks };
            ctx.judge.group(self.op(asked, ctx.now), seen);
            if let Some((_, offset)) = it.found {
                self.places.begin(ctx, it.partition, offset);
            }
        }
        self.state = State::In;
        Ok(())
    }

    fn on_committed(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let answer = OffsetCommitResponse::decode(body, ask.api_version)?;
        let mut worst = ErrorCode::NONE;
        for it in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let Some(commit) = asked.commits.iter().find(|commit| commit.partition == it.partition_index) else {
                continue;
            };
            let name = TopicPartition::new(self.params.topic.as_str(), commit.partition);
            let (partition, fate) = (ctx.judge.history.partition(&name), fate(it.error_code));
            let op = Op { id: commit.id, ..self.op(asked, ctx.now) };
            ctx.judge.group(op, Seen::Committed { partition, fate });
            if fate == Fate::Done {
                ctx.judge.group(op, Seen::Alive { me: self.me(&asked.me), calm: false });
                if let Some(place) = self.places.of_mut(commit.partition).filter(|_| self.me.is(&asked.me)) {
                    place.committed = Some(commit.offset);
                }
            } else {
                worst = it.error_code;
            }
        }
        self.heed(ctx, asked, worst);
        Ok(())
    }

    /// What the coordinator says of it.
    fn heed(&mut self, ctx: &mut Ctx<'_>, asked: &Asked, error: ErrorCode) {
        let instance = self.speaker.instance.clone();
        let op = self.op(asked, ctx.now);
        let is_me = self.me.is(&asked.me);
        if error == ErrorCode::UNKNOWN_MEMBER_ID && !asked.me.id.is_empty() {
            let patience = self.params.session.0.min(self.params.rebalance.0);
            let patience = if instance.is_none() && self.me.id == asked.me.id { patience } else { 0 };
            ctx.judge.group(op, Seen::Unknown { id: &asked.me.id, instance: instance.as_deref(), patience });
        }
        if let Some(instance) = instance.as_deref().filter(|_| error == ErrorCode::FENCED_INSTANCE_ID) {
            ctx.judge.group(op, Seen::Fenced { id: &asked.me.id, instance });
        }
        if !is_me || error == ErrorCode::NONE {
            return;
        }
        self.wait_until = ctx.now + RETRY / 10;
        match error {
            ErrorCode::REBALANCE_IN_PROGRESS if matches!(self.state, State::In) => self.state = State::Revoking,
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => self.state = State::Out,
            // A commit of version 9 is told that the group itself is gone: it was empty, and all in it had expired.
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND => {
                self.forget();
                self.state = State::Out;
            }
            // Somebody else is it now: it dies, and is started again.
            ErrorCode::FENCED_INSTANCE_ID => {
                self.forget();
                self.state = if ctx.load { State::Out } else { State::Done };
                self.wait_until = ctx.now + ctx.draw().exponential(self.params.trouble.0);
            }
            // The coordinator is not there, or not ready.
            _ => {
                if let State::Syncing(_) = self.state {
                    self.state = State::Out;
                }
                self.wait_until = ctx.now + RETRY;
            }
        }
    }

    fn forget(&mut self) {
        self.me = Identity::nobody();
        self.places = Places::default();
    }

    fn me<'a>(&'a self, me: &'a Identity) -> Me<'a> {
        Me { id: &me.id, instance: self.speaker.instance.as_deref(), assignment: me.assignment, reads_all: true }
    }

    fn pending(&self, id: OpId, asked: Nanos) -> Op<'_> {
        Op { id, group: &self.speaker.group, asked, told: PENDING }
    }

    fn op(&self, asked: &Asked, told: Nanos) -> Op<'_> {
        Op { told, ..self.pending(asked.op, asked.at) }
    }
}

impl Identity {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.generation == other.generation
    }
}

/// The instance that a static member's id begins with, for leaders whose version is not told it. Ids of the other
/// members here begin with letters that none of theirs do.
fn instance_of(id: &str) -> Option<&str> {
    id.split('-').next().filter(|name| name.starts_with('i'))
}

/// What there is to commit, each with its number.
fn numbered(ctx: &mut Ctx<'_>, places: &Places, wanted: fn(&Place) -> bool) -> Vec<Commit> {
    let known = places.all.iter().filter(|place| wanted(place));
    let known = known.filter_map(|place| Some((place.partition, place.next?)));
    known.map(|(partition, offset)| Commit { id: ctx.judge.groups.number(), partition, offset }).collect()
}
