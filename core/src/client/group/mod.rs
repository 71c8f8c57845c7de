//! A member of a group: who reads what with others, and how far the group has come.
//!
//! * `coordinator`: the broker that knows the group; `protocol`: what members tell each other
//! * `entry`: joining and sharing out; `session`: staying and leaving; `rebalance`: what is given up and taken
//! * `served`: the same where the coordinator shares out (KIP-848); `commits`, `positions`: what the group has read
//!
//! | the member is | on | becomes |
//! |---|---|---|
//! | out | Subscribe | preparing |
//! | preparing | a poll waits; what has to be given up is, and all commits have ended | joining |
//! | joining | everybody has joined: it leads, or another does | sharing out, or syncing |
//! | sharing out | the metadata of all topics are there | syncing |
//! | syncing | its part came | stable |
//! | stable | a poll waits: the part is taken, and something has to be given up for it (KIP-429) | preparing |
//! | stable | REBALANCE_IN_PROGRESS, other topics, other partitions | preparing |
//! | joining, syncing | an error that may pass | joining |
//! | any | UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION | joining; everything is lost |
//! | any | no poll, or no Release, within `max.poll.interval.ms` | preparing, and it has left; everything is lost |
//! | any | FENCED_INSTANCE_ID, no permission, … | out; everything is lost |
//! | any | Unsubscribe | leaving, then out |
//! | preparing | a poll waits, and the coordinator shares out | served |
//!
//! Invariants: partitions come and go only while a poll waits, unless they are lost; JoinGroup goes out when no commit
//! is under way, so what was committed in a generation is there when the next one begins.

mod commits;
mod coordinator;
mod entry;
mod positions;
mod protocol;
mod rebalance;
mod served;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::clock::Instant;
use crate::pattern::Pattern;
use crate::planted::Planted;
use crate::rpc::{Answer, CallId, RpcError};
use crate::types::TopicPartition;

use super::assignor::{Strategy, Topics};
use super::boundary::{ClientError, CommittedPosition, Event, GroupCommand, GroupEvent, Start};
use super::config::{AutoOffsetReset, ClientConfig, GroupProtocol};
use super::reader::{Place, Reader};
use super::turn::Turn;

use commits::{Commits, Order, Positions, Verdict};
use coordinator::Coordinator;
use entry::SharingOut;
use positions::Fetches;
use rebalance::Handover;
use served::Served;
use session::{Ending, Heartbeat, Leaving};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Group {
    rules: Rules,
    coordinator: Coordinator,
    /// What the program wants to read; `None`: nothing.
    wanted: Option<Wanted>,
    identity: Identity,
    phase: Phase,
    retry: Retry,
    /// The group rebalances, or has to, so it must be joined again.
    rejoin: bool,
    heartbeat: Heartbeat,
    /// The group's topics when this member, as its leader, shared them out; and whether racks counted.
    shared_out: Option<(Topics, bool)>,
    owned: BTreeSet<TopicPartition>,
    /// What of it is about to be given up.
    handover: Option<Handover>,
    /// The last part, and its generation.
    previous: (BTreeSet<TopicPartition>, i32),
    commits: Commits,
    fetches: Fetches,
    polls: Polls,
}

/// The configuration, as the parts need it.
#[derive(Clone, Debug)]
struct Rules {
    /// Empty: none.
    group_id: Box<str>,
    instance_id: Option<Box<str>>,
    session_timeout: Duration,
    heartbeat_interval: Duration,
    max_poll_interval: Duration,
    strategies: Vec<Strategy>,
    protocol: GroupProtocol,
    remote_assignor: Option<Box<str>>,
    /// How often to commit without being asked.
    auto_commit: Option<Duration>,
    reset: AutoOffsetReset,
    rack: Box<str>,
    request_timeout: Duration,
    api_timeout: Duration,
    backoff: crate::rpc::Backoff,
    planted: Planted,
}

#[derive(Clone, Debug)]
struct Wanted {
    /// Under a pattern: as far as is known, and only in the classic protocol.
    topics: BTreeSet<Arc<str>>,
    pattern: Option<Pattern>,
    await_release: bool,
}

/// As whom the coordinator knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// Empty: not at all yet.
    member_id: Box<str>,
    /// -1: in none.
    generation: i32,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No member.
    Out,
    /// About to join: `begun` when it was said what is given up.
    Preparing { begun: bool },
    /// JoinGroup is in flight, or is to be.
    Joining { call: Option<CallId> },
    /// It leads, and waits for metadata.
    SharingOut(Box<SharingOut>),
    /// SyncGroup is in flight, or is to be with everybody's part, if it leads.
    Syncing { call: Option<CallId>, strategy: Strategy, parts: Vec<(Box<str>, Vec<u8>)> },
    /// In a generation; the part is there until it is taken.
    Stable { part: Option<BTreeSet<TopicPartition>> },
    /// A member of a group whose coordinator shares out.
    Served(Served),
    /// On its way out.
    Leaving(Leaving),
}

/// When to try again what failed.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    at: Instant,
    failures: u32,
}

/// What the program's polls say.
#[derive(Clone, Debug, Default)]
struct Polls {
    /// When a poll was last seen to wait.
    last_at: Instant,
    /// Where the program stood at its last poll: it has dealt with all before.
    dealt_with: BTreeMap<TopicPartition, Place>,
    next_auto_commit: Instant,
}

impl Group {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let ms = Duration::from_millis;
        let group = &config.group;
        let rules = Rules {
            group_id: group.group_id.clone().unwrap_or_default(),
            instance_id: group.group_instance_id.clone(),
            session_timeout: ms(group.session_timeout_ms),
            heartbeat_interval: ms(group.heartbeat_interval_ms),
            max_poll_interval: ms(group.max_poll_interval_ms),
            strategies: group.partition_assignment_strategy.clone(),
            protocol: group.group_protocol,
            remote_assignor: group.group_remote_assignor.clone(),
            auto_commit: group.enable_auto_commit.then(|| ms(group.auto_commit_interval_ms)),
            reset: config.reader.auto_offset_reset,
            rack: config.reader.client_rack.clone(),
            request_timeout: ms(config.rpc.request_timeout_ms),
            api_timeout: ms(config.default_api_timeout_ms),
            backoff: config.backoff(),
            planted: config.planted,
        };
        Self {
            rules,
            coordinator: Coordinator::default(),
            wanted: None,
            identity: Identity::none(),
            phase: Phase::Out,
            retry: Retry::default(),
            rejoin: false,
            heartbeat: Heartbeat::default(),
            shared_out: None,
            owned: BTreeSet::new(),
            handover: None,
            previous: (BTreeSet::new(), -1),
            commits: Commits::default(),
            fetches: Fetches::default(),
            polls: Polls::default(),
        }
    }

    /// As whom the coordinator knows us, if it does: member id and generation.
    pub(super) fn member(&self) -> Option<(&str, i32)> {
        self.identity.is_member().then_some((&self.identity.member_id, self.identity.generation))
    }

    /// What was assigned and neither given up nor lost.
    pub(super) fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.iter()
    }

    pub(super) fn command(&mut self, command: GroupCommand, reader: &mut Reader, turn: &mut Turn<'_>) {
        match command {
            GroupCommand::Subscribe { topics, await_release } => self.subscribe(topics, await_release, turn),
            GroupCommand::SubscribePattern { pattern, await_release } => {
                self.subscribe_pattern(&pattern, await_release, reader, turn);
            }
            GroupCommand::Release => self.release(),
            GroupCommand::Unsubscribe { token } => self.leave(Ending::Unsubscribe { token }, reader, turn),
            GroupCommand::Commit { token, positions, retry } => self.commit(token, positions, retry, reader, turn),
            GroupCommand::FetchCommitted { token, partitions } => self.fetch_committed(token, partitions, turn),
            GroupCommand::Close { token } => self.leave(Ending::Close { token }, reader, turn),
        }
    }

    fn subscribe(&mut self, topics: Vec<Arc<str>>, await_release: bool, turn: &mut Turn<'_>) {
        if self.rules.group_id.is_empty() {
            return turn.events.push(Event::Group(GroupEvent::Failed { error: ClientError::NoGroup }));
        }
        self.want(Wanted { topics: topics.into_iter().collect(), pattern: None, await_release }, turn);
    }

    fn subscribe_pattern(&mut self, pattern: &str, await_release: bool, reader: &mut Reader, turn: &mut Turn<'_>) {
        let refused = |error| Event::Group(GroupEvent::Failed { error });
        if self.rules.group_id.is_empty() {
            return turn.events.push(refused(ClientError::NoGroup));
        }
        match Pattern::new(pattern) {
            Ok(pattern) => self.want(Wanted { topics: BTreeSet::new(), pattern: Some(pattern), await_release }, turn),
            Err(_) => {
                let error = ClientError::Broker(ErrorCode::INVALID_REGULAR_EXPRESSION);
                // Whoever is out has nothing to lose, and whoever leaves goes on leaving: but both are told.
                if matches!(self.phase, Phase::Out | Phase::Leaving(_)) {
                    self.wanted = None;
                    return turn.events.push(refused(error));
                }
                self.fail(error, reader, turn);
            }
        }
    }

    fn want(&mut self, wanted: Wanted, turn: &mut Turn<'_>) {
        self.wanted = Some(wanted);
        self.follow_pattern(turn);
        match self.phase {
            Phase::Out => self.enter(turn.at()),
            // It joins again when it has left.
            Phase::Leaving(_) => {}
            Phase::Preparing { .. }
            | Phase::Joining { .. }
            | Phase::SharingOut(_)
            | Phase::Syncing { .. }
            | Phase::Stable { .. }
            | Phase::Served(_) => self.rejoin = true,
        }
    }

    fn enter(&mut self, now: Instant) {
        self.phase = Phase::Preparing { begun: false };
        self.retry = Retry::default();
        self.polls.last_at = now;
    }

    /// The program polls: it has dealt with all that it was given.
    pub(super) fn on_poll(&mut self, reader: &Reader, now: Instant) {
        self.polls.last_at = now;
        if self.rules.auto_commit.is_some() {
            let places = self.owned.iter().filter_map(|it| Some((it.clone(), reader.position(it)?)));
            self.polls.dealt_with = places.collect();
        }
    }

    /// The program goes on elsewhere.
    pub(super) fn seek(&mut self, partition: TopicPartition, start: Start, reader: &mut Reader) {
        if self.owned.contains(&partition) || reader.is_assigned(&partition) {
            self.fetches.forget(&partition);
            self.polls.dealt_with.remove(&partition);
            reader.assign(partition, start);
        }
    }

    fn commit(
        &mut self,
        token: u64,
        positions: Option<Vec<(TopicPartition, CommittedPosition)>>,
        retry: bool,
        reader: &Reader,
        turn: &mut Turn<'_>,
    ) {
        let outside = matches!(self.phase, Phase::Out);
        let refusal = if self.rules.group_id.is_empty() {
            Some(ClientError::NoGroup)
        } else {
            let moves_on = !outside && (!self.identity.is_member() || self.waits_for_commits());
            moves_on.then_some(ClientError::Rebalanced)
        };
        if let Some(error) = refusal {
            return turn.events.push(Event::Group(GroupEvent::CommitFailed { token, error, definite: true }));
        }
        let positions = match positions {
            Some(positions) => positions.into_iter().collect(),
            None if outside => places(reader.assigned(), reader),
            None => places(self.owned.iter(), reader),
        };
        let identity = if outside { Identity::none() } else { self.identity.clone() };
        let deadline = turn.at() + self.rules.api_timeout;
        self.commits.add(Order { token: Some(token), positions, retry }, identity, deadline, turn.events);
    }

    /// Whether it joins when all commits have ended: another one would hold that up.
    fn waits_for_commits(&self) -> bool {
        let released = self.handover.as_ref().is_none_or(|handover| handover.awaited_until().is_none());
        matches!(self.phase, Phase::Preparing { begun: true }) && released
    }

    fn fetch_committed(&mut self, token: u64, partitions: Vec<TopicPartition>, turn: &mut Turn<'_>) {
        if self.rules.group_id.is_empty() {
            return turn
                .events
                .push(Event::Group(GroupEvent::PositionsNotKnown { token, error: ClientError::NoGroup }));
        }
        self.fetches.ask(token, partitions, turn.at() + self.rules.api_timeout, turn.events);
    }

    /// Does all that can be done now.
    pub(super) fn pump(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        if self.rules.group_id.is_empty() {
            return self.leave_at_once(reader, turn);
        }
        self.watch_polls(reader, turn);
        self.follow_pattern(turn);
        self.commit_automatically(reader, turn);
        loop {
            self.commits.pump(&self.identity, &mut self.coordinator, &self.rules, turn);
            if !self.advance(reader, turn) {
                break;
            }
        }
        self.beat(turn);
        self.beat_served(turn);
        self.fetches.pump(&self.identity, &mut self.coordinator, &self.rules, turn);
    }

    /// Under a pattern a member of the classic protocol wants what it matches now, and says so to the others.
    fn follow_pattern(&mut self, turn: &mut Turn<'_>) {
        let pattern = self.wanted.as_ref().and_then(|wanted| wanted.pattern.as_ref());
        turn.metadata.watch(pattern);
        if pattern.is_none() || self.rules.is_served() {
            return;
        }
        let (Some(wanted), Some(matched)) = (&mut self.wanted, turn.metadata.matched()) else { return };
        if wanted.topics != *matched {
            wanted.topics = matched.clone();
            // Whoever is on the way in says it when it joins.
            self.rejoin |= !matches!(self.phase, Phase::Out | Phase::Leaving(_) | Phase::Preparing { .. });
        }
    }

    /// Whether it is known which topics the program wants, as far as a member has to know it to join.
    fn knows_topics(&self, turn: &Turn<'_>) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.pattern.is_none()) || turn.metadata.matched().is_some()
    }

    /// One transition, if it is due. Whether there was one.
    fn advance(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) -> bool {
        if self.hand_over(reader) {
            return true;
        }
        let polling = reader.is_polling();
        match &self.phase {
            Phase::Preparing { .. } if polling && self.rules.is_served() => {
                self.phase = Phase::Served(Served::default())
            }
            Phase::Served(_) => return self.reconcile(reader, turn),
            Phase::Preparing { begun: false }
                if polling && self.handover.is_none() && (self.rules.is_served() || self.knows_topics(turn)) =>
            {
                self.prepare(reader, turn);
            }
            Phase::Preparing { begun: true } if self.handover.is_none() && self.commits.is_idle() => {
                self.phase = Phase::Joining { call: None };
            }
            Phase::Joining { call: None } => {
                self.join(turn);
                return false;
            }
            Phase::SharingOut(_) => return self.share_out(turn),
            Phase::Syncing { call: None, .. } => {
                self.sync(turn);
                return false;
            }
            Phase::Stable { part: Some(_) } if polling => self.take_part(reader, turn),
            Phase::Stable { part: None } if self.rejoin || self.topics_changed(turn) => {
                self.phase = Phase::Preparing { begun: false };
            }
            Phase::Leaving(_) => return self.go(reader, turn),
            Phase::Out
            | Phase::Preparing { .. }
            | Phase::Joining { .. }
            | Phase::Syncing { .. }
            | Phase::Stable { .. } => return false,
        }
        true
    }

    /// The result of a call, if it is ours.
    pub(super) fn on_result(
        &mut self,
        call: CallId,
        result: Result<&Answer, RpcError>,
        reader: &mut Reader,
        turn: &mut Turn<'_>,
    ) {
        if self.coordinator.owns(call) {
            if let Err(code) = self.coordinator.on_result(result, &self.rules, turn) {
                self.fail(ClientError::Broker(code), reader, turn);
            }
            return;
        }
        if self.commits.owns(call) {
            let verdict = self.commits.on_result(result, &self.identity, &mut self.coordinator, &self.rules, turn);
            return self.on_verdict(verdict, reader, turn);
        }
        if self.heartbeat.owns(call) {
            return self.on_beat(result, reader, turn);
        }
        match &self.phase {
            Phase::Joining { call: Some(ours) } if *ours == call => self.on_joined(result, reader, turn),
            Phase::Syncing { call: Some(ours), .. } if *ours == call => self.on_synced(result, reader, turn),
            Phase::Served(served) if served.owns(call) => self.on_beat_served(result, reader, turn),
            Phase::Leaving(leaving) if leaving.owns(call) => self.gone(reader, turn),
            Phase::Out
            | Phase::Preparing { .. }
            | Phase::Joining { .. }
            | Phase::SharingOut(_)
            | Phase::Syncing { .. }
            | Phase::Stable { .. }
            | Phase::Served(_)
            | Phase::Leaving(_) => {
                let found = self.fetches.on_result(call, result, &mut self.coordinator, &self.rules, turn);
                self.begin_to_read(found, reader, turn);
            }
        }
    }

    /// What an answer says of the member.
    fn on_verdict(&mut self, verdict: Verdict, reader: &mut Reader, turn: &mut Turn<'_>) {
        match verdict {
            Verdict::Unchanged => {}
            Verdict::Rebalancing => self.rejoin |= matches!(self.phase, Phase::Stable { .. } | Phase::Served(_)),
            Verdict::Unknown(code) => self.become_unknown(code, reader, turn),
            Verdict::Hopeless(code) => self.fail(ClientError::Broker(code), reader, turn),
        }
    }

    /// No retry mends it.
    fn fail(&mut self, error: ClientError, reader: &mut Reader, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Out => return,
            Phase::Leaving(_) => return self.gone(reader, turn),
            Phase::Preparing { .. }
            | Phase::Joining { .. }
            | Phase::SharingOut(_)
            | Phase::Syncing { .. }
            | Phase::Stable { .. }
            | Phase::Served(_) => {}
        }
        self.lose(reader, turn);
        self.identity = Identity::none();
        self.wanted = None;
        self.phase = Phase::Out;
        turn.events.push(Event::Group(GroupEvent::Failed { error }));
    }

    /// Waits before the next attempt to get into the group.
    fn delay(&mut self, turn: &mut Turn<'_>) {
        self.retry.failures += 1;
        self.retry.at = turn.now.monotonic + self.rules.backoff.delay(self.retry.failures, turn.rng);
        turn.wake.by(self.retry.at);
    }
}

impl Rules {
    /// Whether the coordinator shares out.
    fn is_served(&self) -> bool {
        self.protocol == GroupProtocol::Consumer
    }

    /// Whether members keep their partitions while the group rebalances: only if all that may be chosen say so.
    fn is_cooperative(&self) -> bool {
        self.strategies.iter().all(|strategy| strategy.is_cooperative())
    }
}

impl Identity {
    fn none() -> Self {
        Self { member_id: "".into(), generation: -1 }
    }

    fn is_member(&self) -> bool {
        self.generation >= 0
    }
}

/// The positions of partitions, as far as they are known.
fn places<'a>(partitions: impl Iterator<Item = &'a TopicPartition>, reader: &Reader) -> Positions {
    partitions.filter_map(|it| Some((it.clone(), committed(reader.position(it)?)))).collect()
}

fn committed(place: Place) -> CommittedPosition {
    CommittedPosition { offset: place.offset, leader_epoch: place.epoch, metadata: "".into() }
}

/// Whether an error in a group's calls means that the coordinator is to be looked for again.
fn blames_coordinator(code: ErrorCode) -> bool {
    commits::blames_coordinator(code)
}
