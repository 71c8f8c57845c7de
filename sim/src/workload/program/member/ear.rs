//! What passes on the connections of core's client when it is a member of a group, told to the judge: what it asks of
//! its coordinator, when, and what it is answered; as whom; and what it held from the question to the answer.
//!
//! Nothing is changed on its way. What belongs to no request that was heard is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::client::{ClientConfig, GroupProtocol};
use ottla_core::types::TopicPartition;
use ottla_wire::api::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_wire::api::join_group::JoinGroupResponse;
use ottla_wire::api::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_wire::api::offset_fetch::OffsetFetchResponse;
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupResponse};
use ottla_wire::api::{Request, Response};
use ottla_wire::consumer_protocol::ConsumerProtocolAssignment;
use ottla_wire::frame::{PREFIX_LEN, RequestHeader, ResponseHeader};
use ottla_wire::{ApiKey, ErrorCode, Reader, Uuid};

use super::config::Way;
use crate::client::Ctx;
use crate::groups::{AssignmentId, Fate, HoldId, Me, Op, OpId, PENDING, Peer, Seen, commit_of};
use crate::history::PartitionIndex;
use crate::network::Wire;
use crate::time::Nanos;
use crate::workload::groups::{Protocol, fate, fetched};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    group: Arc<str>,
    instance: Option<Arc<str>>,
    /// Silence for so long may cost a member its place.
    patience: Patience,
    /// Whether all in the group are led by a member, so that a generation has one assignment.
    is_led: bool,
    asked: BTreeMap<(Wire, i32), Asked>,
    /// Whether it has been subscribed to less than all.
    reads_less: bool,
    /// As whom it is known: its last id.
    id: Arc<str>,
    /// The assignment that it has, of which generation.
    assignment: (i32, AssignmentId),
    /// The generation whose assignment it has asked for and been told.
    synced: i32,
    /// Who is in its generation, if it leads.
    peers: Vec<Peer>,
    served: Served,
    /// It has given up a heartbeat of this id, perhaps the one by which it wanted to join. That may come late, over a
    /// connection that is no more, and raise the member's epoch: the answer is lost, and the next heartbeat that does
    /// not say what it has is fenced.
    given_up: Option<Arc<str>>,
    /// It has said of this id that it leaves.
    left: Option<Arc<str>>,
    topics: BTreeMap<Uuid, Arc<str>>,
    /// What it was last told that the group has committed.
    positions: BTreeMap<TopicPartition, i64>,
}

#[derive(Clone, Copy, Debug)]
enum Patience {
    /// So long.
    Own(Nanos),
    /// The coordinator's, or so long.
    Coordinators(Nanos),
}

/// Of a member of KIP-848.
#[derive(Clone, Debug, Default)]
struct Served {
    /// What it is to have.
    target: BTreeSet<(Uuid, i32)>,
    /// What it has said that it has.
    owned: BTreeSet<(Uuid, i32)>,
    /// Whether it has been given something else since.
    is_awaited: bool,
}

/// A request that has no answer.
#[derive(Clone, Debug)]
struct Asked {
    op: OpId,
    at: Nanos,
    key: ApiKey,
    version: i16,
    id: Arc<str>,
    generation: i32,
    what: What,
    holds: Vec<(PartitionIndex, HoldId)>,
}

#[derive(Clone, Debug)]
enum What {
    /// Nothing that its answer does not say.
    Nothing,
    /// Commits, each a request of its own.
    Commits(Vec<(OpId, TopicPartition)>),
    /// It joins, or says what it has.
    Served { joins: bool, owned: Option<BTreeSet<(Uuid, i32)>> },
}

impl Ear {
    pub fn new(way: &Way, config: &ClientConfig) -> Self {
        let own = way.session.min(way.rebalance);
        let is_classic = config.group.group_protocol == GroupProtocol::Classic;
        Self {
            group: way.group.clone(),
            instance: way.instance.clone(),
            patience: if is_classic { Patience::Own(own) } else { Patience::Coordinators(way.rebalance) },
            is_led: way.protocol == Protocol::Classic,
            asked: BTreeMap::new(),
            reads_less: false,
            id: "".into(),
            assignment: (-1, 0),
            synced: -1,
            peers: Vec::new(),
            served: Served::default(),
            given_up: None,
            left: None,
            topics: BTreeMap::new(),
            positions: BTreeMap::new(),
        }
    }

    /// It subscribes, to all that the group reads or to less.
    pub fn subscribes(&mut self, to_all: bool) {
        self.reads_less |= !to_all;
    }

    /// What it was last told that the group has committed.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.positions.get(partition).copied()
    }

    /// It begins elsewhere.
    pub fn forget_position(&mut self, partition: &TopicPartition) {
        self.positions.remove(partition);
    }

    /// A frame leaves, with its length.
    pub fn on_request(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes, holds: &[(PartitionIndex, HoldId)]) {
        let mut reader = Reader::new(frame.get(PREFIX_LEN..).unwrap_or_default());
        let Ok(head) = RequestHeader::decode(&mut reader) else { return };
        let (key, version) = (head.api_key, head.api_version);
        let Ok(request) = Request::decode(&mut reader, key, version) else { return };
        let op = ctx.judge.groups.number();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not about groups")]
        let (id, generation, what) = match &request {
            Request::JoinGroup(it) => {
                let seen = Seen::Joining { id: it.member_id, instance: self.instance.as_deref(), afresh: !self.is_led };
                ctx.judge.group(self.pending(op, ctx.now), seen);
                (it.member_id, -1, What::Nothing)
            }
            Request::SyncGroup(it) => {
                self.on_sharing_out(ctx, op, it);
                (it.member_id, it.generation_id, What::Nothing)
            }
            Request::Heartbeat(it) => (it.member_id, it.generation_id, What::Nothing),
            Request::LeaveGroup(it) => {
                let id = it.members.first().map_or(it.member_id, |member| member.member_id);
                self.left = Some(id.into());
                (id, -1, What::Nothing)
            }
            Request::OffsetCommit(it) => {
                let what = What::Commits(self.on_commits(ctx, it));
                (it.member_id, it.generation_id_or_member_epoch, what)
            }
            Request::ConsumerGroupHeartbeat(it) => {
                let what = self.on_served_request(ctx, op, it);
                (it.member_id, it.member_epoch, what)
            }
            Request::OffsetFetch(_) | Request::Metadata(_) => ("", -1, What::Nothing),
            _ => return,
        };
        let (id, at, holds) = (id.into(), ctx.now, holds.to_vec());
        self.asked.insert((wire, head.correlation_id), Asked { op, at, key, version, id, generation, what, holds });
    }

    /// The leader hands in what each is to read.
    fn on_sharing_out(&self, ctx: &mut Ctx<'_>, assignment: AssignmentId, request: &SyncGroupRequest<'_>) {
        if request.assignments.is_empty() || !self.is_led {
            return;
        }
        ctx.judge.groups.assignments += u64::from(ctx.load);
        let parts = request.assignments.iter().map(|part| Peer {
            id: part.member_id.into(),
            instance: self.peers.iter().find(|peer| *peer.id == *part.member_id).and_then(|peer| peer.instance.clone()),
            partitions: indexes(ctx, &read_part(part.assignment)),
        });
        let peers: Vec<Peer> = parts.collect();
        ctx.judge.group(self.pending(assignment, ctx.now), Seen::Assigning { assignment, peers: &peers });
        ctx.judge.groups.assign(&self.group, request.generation_id, assignment, &peers);
    }

    fn on_commits(&self, ctx: &mut Ctx<'_>, request: &OffsetCommitRequest<'_>) -> Vec<(OpId, TopicPartition)> {
        let mut commits = Vec::new();
        for topic in &request.topics {
            let topic_name = self.name_of(topic.topic_id, topic.name);
            ctx.judge.groups.note(&self.group, &topic_name);
            for it in &topic.partitions {
                let name = TopicPartition::new(topic_name.clone(), it.partition_index);
                let id = ctx.judge.groups.number();
                let (partition, offset) = (ctx.judge.history.partition(&name), it.committed_offset);
                let commit = commit_of(it.committed_metadata.unwrap_or_default(), offset);
                let seen = Seen::Committing { partition, commit, offset, retention: None };
                ctx.judge.group(self.pending(id, ctx.now), seen);
                commits.push((id, name));
            }
        }
        commits
    }

    /// A topic that is named by its id, or, where that is none, by its name.
    fn name_of(&self, id: Uuid, name: &str) -> Arc<str> {
        match self.topics.get(&id) {
            _ if id == Uuid::ZERO => name.into(),
            Some(name) => name.clone(),
            None => id.to_string().into(),
        }
    }

    fn on_served_request(&mut self, ctx: &mut Ctx<'_>, op: OpId, request: &ConsumerGroupHeartbeatRequest<'_>) -> What {
        let joins = request.member_epoch == 0;
        if joins {
            let seen = Seen::Joining { id: "", instance: self.instance.as_deref(), afresh: true };
            ctx.judge.group(self.pending(op, ctx.now), seen);
        }
        if request.member_epoch < 0 {
            self.left = Some(request.member_id.into());
        }
        // It asks again only when it has given up the last.
        let given_up = self.asked.extract_if(.., |_, asked| asked.key == ApiKey::ConsumerGroupHeartbeat);
        self.given_up = given_up.last().map(|(_, asked)| asked.id).or(self.given_up.take());
        What::Served { joins, owned: request.topic_partitions.as_deref().map(by_id) }
    }

    /// A frame comes, without its length.
    pub fn on_answer(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes, holds: &[(PartitionIndex, HoldId)]) {
        let Some(correlation) = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes)) else { return };
        let Some(mut asked) = self.asked.remove(&(wire, correlation)) else { return };
        let mut reader = Reader::new(frame);
        let head = ResponseHeader::decode(&mut reader, asked.key, asked.version);
        let Ok(answer) = head.and_then(|_| Response::decode(&mut reader, asked.key, asked.version)) else { return };
        asked.holds.retain(|hold| holds.contains(hold));
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else was asked")]
        match &answer {
            Response::JoinGroup(it) => self.on_joined(ctx, &asked, it),
            Response::SyncGroup(it) => self.on_synced(ctx, &asked, it, holds),
            Response::Heartbeat(it) => {
                let may_be_blind = ctx.judge.groups.may_be_blind(&self.op(&asked, ctx.now));
                if it.error_code == ErrorCode::REBALANCE_IN_PROGRESS
                    || it.error_code == ErrorCode::NONE && !may_be_blind
                {
                    // Who has not asked for its assignment in time is no member any more.
                    let calm = it.error_code == ErrorCode::NONE && asked.generation == self.synced;
                    self.lives(ctx, &asked, calm, &asked.holds);
                }
                self.heed(ctx, &asked, it.error_code);
            }
            Response::OffsetCommit(it) => self.on_committed(ctx, &asked, it),
            Response::OffsetFetch(it) => self.on_fetched(ctx, &asked, it),
            Response::ConsumerGroupHeartbeat(it) => self.on_served(ctx, &asked, it, holds),
            Response::Metadata(it) => {
                let named = it.topics.iter().filter_map(|topic| Some((topic.topic_id, topic.name?.into())));
                self.topics.extend(named);
            }
            _ => {}
        }
    }

    fn on_joined(&mut self, ctx: &mut Ctx<'_>, asked: &Asked, answer: &JoinGroupResponse<'_>) {
        let (op, instance) = (self.op(asked, ctx.now), self.instance.clone());
        ctx.judge.group(op, Seen::JoinOver { instance: instance.as_deref() });
        if answer.error_code != ErrorCode::NONE {
            return self.heed(ctx, asked, answer.error_code);
        }
        let peers = answer.members.iter().map(|it| Peer {
            id: it.member_id.into(),
            instance: it.group_instance_id.map(Into::into),
            partitions: Vec::new(),
        });
        let peers: Vec<Peer> = peers.collect();
        let seen = Seen::Joined { id: answer.member_id, instance: instance.as_deref(), peers: &peers };
        ctx.judge.group(op, seen);
        self.peers = peers;
        self.id = answer.member_id.into();
        (self.assignment, self.synced) = ((answer.generation_id, 0), -1);
    }

    fn on_synced(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        answer: &SyncGroupResponse<'_>,
        holds: &[(PartitionIndex, HoldId)],
    ) {
        if answer.error_code != ErrorCode::NONE {
            return self.heed(ctx, asked, answer.error_code);
        }
        self.synced = asked.generation;
        let partitions = indexes(ctx, &read_part(answer.assignment));
        if self.is_led {
            let is_me = |peer: &Peer| peer.id == asked.id || self.instance.is_some() && peer.instance == self.instance;
            let is_told = |peer: &Peer| is_me(peer) && peer.partitions == partitions;
            self.assignment = (asked.generation, ctx.judge.groups.assignment(&self.group, asked.generation, is_told));
            let seen = Seen::Synced { me: self.me(asked), partitions: &partitions };
            ctx.judge.group(self.op(asked, ctx.now), seen);
        } else {
            self.lives(ctx, asked, true, &[]);
        }
        self.given(ctx, asked, partitions, holds);
    }

    fn on_committed(&mut self, ctx: &mut Ctx<'_>, asked: &Asked, answer: &OffsetCommitResponse<'_>) {
        let What::Commits(commits) = &asked.what else { return };
        let (mut worst, mut done) = (ErrorCode::NONE, Vec::new());
        for (topic, it) in answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |it| (topic, it))) {
            let name = TopicPartition::new(self.name_of(topic.topic_id, topic.name), it.partition_index);
            let Some((id, _)) = commits.iter().find(|(_, of)| *of == name) else { continue };
            let (partition, fate) = (ctx.judge.history.partition(&name), fate(it.error_code));
            ctx.judge.group(Op { id: *id, ..self.op(asked, ctx.now) }, Seen::Committed { partition, fate });
            if fate == Fate::Done {
                done.extend(asked.holds.iter().filter(|(held, _)| *held == partition));
            } else {
                worst = it.error_code;
            }
        }
        if worst == ErrorCode::NONE && asked.generation >= 0 {
            self.lives(ctx, asked, false, &done);
        }
        self.heed(ctx, asked, worst);
    }

    fn on_fetched(&mut self, ctx: &mut Ctx<'_>, asked: &Asked, answer: &OffsetFetchResponse<'_>) {
        let (error, fetched) = fetched(answer, |id, name| self.name_of(id, name).to_string());
        let clocks = ctx.judge.groups.clocks;
        for it in fetched.into_iter().filter(|it| (error, it.error) == (ErrorCode::NONE, ErrorCode::NONE)) {
            let name = TopicPartition::new(it.topic.as_str(), it.partition);
            let partition = ctx.judge.history.partition(&name);
            ctx.judge.group(self.op(asked, ctx.now), Seen::Fetched { partition, found: it.found, clocks });
            match it.found {
                Some((_, offset)) => self.positions.insert(name, offset),
                None => self.positions.remove(&name),
            };
        }
    }

    fn on_served(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        answer: &ConsumerGroupHeartbeatResponse<'_>,
        holds: &[(PartitionIndex, HoldId)],
    ) {
        let What::Served { joins, owned } = &asked.what else { return };
        let (op, instance) = (self.op(asked, ctx.now), self.instance.clone());
        if *joins {
            ctx.judge.group(op, Seen::JoinOver { instance: instance.as_deref() });
        }
        if asked.generation < 0 || answer.error_code != ErrorCode::NONE {
            return self.heed(ctx, asked, answer.error_code);
        }
        if *joins {
            let seen = Seen::Joined { id: &asked.id, instance: instance.as_deref(), peers: &[] };
            ctx.judge.group(op, seen);
            self.id = asked.id.clone();
            self.served = Served::default();
        }
        if let Some(owned) = owned {
            self.served.owned.clone_from(owned);
            self.served.is_awaited = false;
        }
        if let Some(assignment) = &answer.assignment {
            let parts = assignment.topic_partitions.iter();
            self.served.target = parts.flat_map(|it| it.partitions.iter().map(|index| (it.topic_id, *index))).collect();
            self.served.is_awaited = true;
        }
        // Who has something to give up has its time for that; also something that it was given, and is not to have any
        // more, before it took it.
        let calm = !self.served.is_awaited && self.served.owned.is_subset(&self.served.target);
        self.lives(ctx, asked, calm, &asked.holds);
        let topics = &self.topics;
        let named = self.served.target.iter().filter(|_| answer.assignment.is_some());
        let named = named.filter_map(|(id, index)| Some(TopicPartition::new(topics.get(id)?.clone(), *index)));
        let partitions = indexes(ctx, &named.collect::<Vec<_>>());
        self.given(ctx, asked, partitions, holds);
    }

    /// The coordinator takes it for a member, which has held these since it asked.
    fn lives(&self, ctx: &mut Ctx<'_>, asked: &Asked, calm: bool, holds: &[(PartitionIndex, HoldId)]) {
        let op = self.op(asked, ctx.now);
        ctx.judge.group(op, Seen::Alive { me: self.me(asked), calm });
        if !holds.is_empty() {
            ctx.judge.group(op, Seen::Holds { client: ctx.id, holds });
        }
    }

    /// It is told what it has; what of that it does not hold is new.
    fn given(
        &self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        mut partitions: Vec<PartitionIndex>,
        holds: &[(PartitionIndex, HoldId)],
    ) {
        partitions.retain(|partition| holds.iter().all(|(held, _)| held != partition));
        let seen = Seen::Given { client: ctx.id, partitions: &partitions };
        ctx.judge.group(self.op(asked, ctx.now), seen);
    }

    /// What the coordinator says of it, when it says no.
    fn heed(&self, ctx: &mut Ctx<'_>, asked: &Asked, error: ErrorCode) {
        let (op, instance) = (self.op(asked, ctx.now), self.instance.as_deref());
        let is_unknown = error == ErrorCode::UNKNOWN_MEMBER_ID || error == ErrorCode::FENCED_MEMBER_EPOCH;
        if is_unknown && !asked.id.is_empty() {
            let may_be_late = error == ErrorCode::FENCED_MEMBER_EPOCH && self.given_up == Some(asked.id.clone());
            let excused = instance.is_some() || asked.id != self.id || self.left == Some(asked.id.clone());
            let patience = match self.patience {
                _ if excused || may_be_late => 0,
                Patience::Own(own) => own,
                Patience::Coordinators(rebalance) => ctx.judge.groups.consumer_session.min(rebalance),
            };
            ctx.judge.group(op, Seen::Unknown { id: &asked.id, instance, patience });
        }
        if let Some(instance) = instance.filter(|_| error == ErrorCode::FENCED_INSTANCE_ID) {
            ctx.judge.group(op, Seen::Fenced { id: &asked.id, instance });
        }
    }

    fn me<'a>(&'a self, asked: &'a Asked) -> Me<'a> {
        let (generation, assignment) = self.assignment;
        let is_now = asked.id == self.id && asked.generation == generation;
        Me {
            id: &asked.id,
            instance: self.instance.as_deref(),
            assignment: if is_now { assignment } else { 0 },
            reads_all: !self.reads_less,
        }
    }

    fn pending(&self, id: OpId, asked: Nanos) -> Op<'_> {
        Op { id, group: &self.group, asked, told: PENDING }
    }

    fn op(&self, asked: &Asked, told: Nanos) -> Op<'_> {
        Op { told, ..self.pending(asked.op, asked.at) }
    }
}

/// A member's part of an assignment; none, if its leader has forgotten it.
fn read_part(bytes: &[u8]) -> Vec<TopicPartition> {
    let read = ConsumerProtocolAssignment::decode_versioned(bytes).unwrap_or_default();
    let parts = read.assigned_partitions.iter();
    parts.flat_map(|it| it.partitions.iter().map(|index| TopicPartition::new(it.topic, *index))).collect()
}

/// The places of partitions in the history, in their order.
fn indexes(ctx: &mut Ctx<'_>, partitions: &[TopicPartition]) -> Vec<PartitionIndex> {
    let mut indexes: Vec<_> = partitions.iter().map(|it| ctx.judge.history.partition(it)).collect();
    indexes.sort_unstable();
    indexes
}

fn by_id(owned: &[TopicPartitions]) -> BTreeSet<(Uuid, i32)> {
    owned.iter().flat_map(|it| it.partitions.iter().map(|index| (it.topic_id, *index))).collect()
}
