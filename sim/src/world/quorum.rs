//! What is seen of the metadata quorum of several nodes: each one's part after each step, what they append and cut,
//! whom they vote for, and whether all of them are at rest when nothing troubles them any more.

use bytes::Bytes;
use ottla_core::controller::{METADATA_TOPIC, Snapshot};
use ottla_core::ingress::Request;
use ottla_core::machine::{FileAction, LogDirId, Machine, Path};
use ottla_core::raft::{ControlRecord, QuorumState, Raft, SavedElection, SnapshotId, control_records};
use ottla_core::record::RecordBatch;
use ottla_core::types::{LeaderEpoch, Offset, TopicPartition};
use ottla_wire::api::vote::{VoteRequest, VoteResponse};
use ottla_wire::frame::{PREFIX_LEN, RequestHeader, ResponseHeader};
use ottla_wire::{ApiKey, Message, Reader, Uuid};

use super::agenda::Moment;
use super::node::Vote;
use super::{Stage, World, new_disk};
use crate::disk::Operation;
use crate::invariants::{Fact, Part, QuorumFact};
use crate::logs::BatchRef;
use crate::time::Nanos;

impl World {
    /// A machine made a step: what became of its part in the quorum?
    pub(super) fn look_at_quorum(&mut self, at: usize) {
        if self.nodes.len() == 1 {
            return;
        }
        let boots = self.nodes[at].boots;
        let Some(process) = &mut self.nodes[at].process else { return };
        let Some((raft, _)) = process.machine.quorum() else { return };
        let part = part(raft, boots);
        let before = std::mem::replace(&mut process.part, part);
        if part == before {
            return;
        }
        let directory = raft.node().directory_id;
        self.nodes[at].directory = directory;
        let Some((raft, _)) = self.quorum_of(at) else { return };
        let (voters, log) = (self.voters_with_disks(raft), raft.log());
        let log = (log.start.0, log.end.0, log.last_epoch.map(|epoch| epoch.0));
        if part.high_watermark != before.high_watermark {
            // The cluster is born: nobody may found it a second time.
            self.nodes[0].born = true;
        }
        self.judge.quorum_seen(at, part, log, &voters);
        self.judge_image(at);
        if part.leads.is_some() && (before.leads, before.epoch) != (part.leads, part.epoch) {
            let epoch = u64::from(part.epoch.unsigned_abs());
            self.trace.event("elected", self.nodes[at].occurrence(epoch));
            self.dose.elections += 1;
            self.on_moment(at, Moment::Elected);
        }
        if self.stage == Stage::Finishing {
            self.advance_stage();
        }
    }

    fn quorum_of(&self, at: usize) -> Option<(&Raft, Offset)> {
        self.nodes[at].process.as_ref()?.machine.quorum()
    }

    /// The voters that a node knows, by their numbers; `!number` where the disk is gone on which one voted.
    fn voters_with_disks(&self, raft: &Raft) -> Vec<i32> {
        let voters = raft.voters().into_iter().flat_map(|voters| voters.iter());
        let known = voters.map(|(key, _)| {
            let node = usize::try_from(key.id.0).ok().and_then(|at| self.nodes.get(at));
            let is_there = node.is_some_and(|node| node.directory == key.directory_id);
            if is_there { key.id.0 } else { !key.id.0 }
        });
        known.collect()
    }

    /// The disk is replaced, if a majority of the voters keep theirs.
    pub(super) fn wipe(&mut self, at: usize, down: Nanos) {
        let raft = self.leader().and_then(|leader| self.quorum_of(leader)).map(|(raft, _)| raft);
        let Some(voters) = raft.map(|raft| self.voters_with_disks(raft)) else { return };
        let keep = voters.iter().filter(|voter| **voter >= 0 && **voter != number(at)).count();
        if voters.len() < self.nodes.len() || keep * 2 <= voters.len() || !self.may_lose_disk(at) {
            return;
        }
        self.trace.event("wipe", self.nodes[at].occurrence(0));
        self.lose_power(at, down);
        let node = &mut self.nodes[at];
        node.wipes += 1;
        node.directory = Uuid::ZERO;
        node.disk = new_disk(&self.setting.scenario, self.draws, node.id, node.wipes);
        self.judge.logs[at].on_wipe();
        self.judge.replicated.lost.insert(at);
        self.judge.replicated.unknown.insert(at);
        self.judge.of_node(at, &Fact::Quorum(QuorumFact::Wiped));
    }

    fn judge_image(&mut self, at: usize) {
        if let Some(process) = &self.nodes[at].process {
            let image = process.machine.image();
            self.judge.of_node(at, &Fact::Quorum(QuorumFact::Image { image }));
        }
        self.judge_decided(at);
    }

    /// A node appends to its metadata log.
    pub(super) fn on_metadata_appended(
        &mut self,
        at: usize,
        log: &TopicPartition,
        batch: &BatchRef,
        operation: &Operation,
    ) {
        if self.nodes.len() == 1 || &*log.topic != METADATA_TOPIC {
            return;
        }
        let boots = self.nodes[at].boots;
        let machine = self.nodes[at].process.as_ref().map(|process| &process.machine);
        let Some((raft, _)) = machine.and_then(Machine::quorum) else { return };
        let part = part(raft, boots);
        let named = voters_of(operation);
        self.judge.metadata_appended(at, batch, part, named.as_deref());
    }

    /// A node gives a snapshot its name: it says what the log says.
    pub(super) fn judge_snapshot(&mut self, at: usize, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        let FileAction::Rename { from, to } = &**action else { return };
        let file = to.name.rsplit('/').next().unwrap_or_default();
        let Some(id) = SnapshotId::from_file_name(file) else { return };
        if self.nodes.len() == 1 || self.judge.logs[at].rotten {
            return;
        }
        let files = self.nodes[at].disk.files();
        let Some((_, _, ino)) = files.into_iter().find(|(_, path, _)| **path == *from.name) else { return };
        let snapshot = Snapshot::decode(id, &self.nodes[at].disk.peek(ino)).ok();
        self.trace.event("snapshot", self.nodes[at].occurrence(id.end.0.unsigned_abs()));
        let is_leaders = |raft: &Raft| raft.download().is_some_and(|download| download.id == id);
        let taken = self.quorum_of(at).is_some_and(|(raft, _)| is_leaders(raft));
        self.dose.snapshots[0] += 1;
        self.dose.snapshots[1] += u64::from(taken);
        self.judge.of_node(at, &Fact::Quorum(QuorumFact::Snapshot { snapshot: snapshot.as_ref() }));
    }

    /// What a node's metadata log holds, if this may cut it, and not because it is found torn at a start; and up to
    /// where it is synced.
    pub(super) fn before_cut(&self, at: usize, operation: &Operation) -> (Vec<BatchRef>, i64) {
        let Operation::Action(action) = operation else { return (Vec::new(), 0) };
        let may_cut =
            matches!(**action, FileAction::SetLen { .. } | FileAction::Remove { .. } | FileAction::Rename { .. });
        let machine = self.nodes[at].process.as_ref().map(|process| &process.machine);
        if !may_cut || self.nodes.len() == 1 || machine.and_then(Machine::quorum).is_none() {
            return (Vec::new(), 0);
        }
        let log = self.judge.logs[at].get(&TopicPartition::new(METADATA_TOPIC, 0));
        log.map(|log| (log.batches.clone(), log.synced)).unwrap_or_default()
    }

    /// It was carried out.
    pub(super) fn after_cut(&mut self, at: usize, (before, synced): &(Vec<BatchRef>, i64)) {
        let Some(last) = before.last() else { return };
        let log = self.judge.logs[at].get(&TopicPartition::new(METADATA_TOPIC, 0));
        let kept = log.map_or(&[][..], |log| &log.batches);
        if kept.len() == before.len() {
            return;
        }
        if kept.last() != Some(last) {
            self.trace.event("cut", self.nodes[at].occurrence(last.base.unsigned_abs()));
            self.dose.truncations += 1;
        }
        // What was never written, for want of room, was never there; and what is in a snapshot may go.
        let start = self.quorum_of(at).map_or(0, |(raft, _)| raft.log().start.0);
        let gone = |batch: &&BatchRef| kept.binary_search_by_key(&batch.base, |kept| kept.base).is_err();
        let lost = before.iter().filter(|batch| batch.last < *synced && batch.last >= start).filter(gone);
        let lost: Vec<BatchRef> = lost.copied().collect();
        self.judge.of_node(at, &Fact::Quorum(QuorumFact::Cut { lost: &lost }));
    }

    /// A candidate asks for votes: its own it has given itself.
    pub(super) fn judge_candidate(&mut self, vote: Vote) {
        if let Ok(candidate) = usize::try_from(vote.candidate)
            && self.nodes.get(candidate).is_some_and(|node| node.directory == vote.directory)
        {
            self.judge_voted(candidate, vote);
        }
    }

    /// A voter answers who asked it for its vote.
    pub(super) fn judge_ballot(&mut self, at: usize, vote: Vote, answer: &Bytes) {
        let mut reader = Reader::new(&answer[PREFIX_LEN..]);
        let header = ResponseHeader::decode(&mut reader, ApiKey::Vote, vote.version);
        let answer = header.ok().and_then(|_| VoteResponse::decode(&mut reader, vote.version).ok());
        let granted = answer.is_some_and(|answer| {
            answer.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.vote_granted)
        });
        if granted {
            self.judge_voted(at, vote);
        }
    }

    fn judge_voted(&mut self, at: usize, vote: Vote) {
        if self.nodes.len() == 1 || self.judge.logs[at].rotten {
            return;
        }
        let file = format!("{METADATA_TOPIC}-0/quorum-state");
        let left = self.nodes[at].disk.after_power_loss(&Path::new(LogDirId(0), file));
        let said = |bytes: &Option<Bytes>| {
            let election = SavedElection::parse(bytes.as_ref()?).ok()?;
            Some((election.epoch.0, election.voted.map(|voted| voted.id.0)))
        };
        let saved: Vec<_> = left.iter().map(said).collect();
        let Vote { epoch, candidate, .. } = vote;
        self.judge.of_node(at, &Fact::Quorum(QuorumFact::Voted { epoch, candidate, saved: &saved }));
    }

    /// Who leads the quorum, as its leader has it: of two that think so the one of the later epoch.
    pub(super) fn leader(&self) -> Option<usize> {
        let led = self.nodes.iter().enumerate().filter_map(|(at, node)| {
            let part = node.process.as_ref()?.part;
            part.leads.map(|_| (part.epoch, at))
        });
        led.max().map(|(_, at)| at)
    }

    /// Whether one leads, every voter follows it, and all know all that is committed. If so, its epoch.
    pub(super) fn settled(&self) -> Result<LeaderEpoch, String> {
        let leader = self.leader().ok_or("nobody leads the quorum")?;
        let (raft, end) = self.quorum_of(leader).ok_or("nobody leads the quorum")?;
        let missing: Vec<usize> = (0..self.nodes.len()).filter(|at| !voters(raft).contains(&number(*at))).collect();
        if !missing.is_empty() {
            return Err(format!("nodes {missing:?} are no voters yet"));
        }
        for at in 0..self.nodes.len() {
            let Some((own, own_end)) = self.quorum_of(at) else { return Err(format!("n{at} is not up")) };
            if self.nodes[at].process.as_ref().is_some_and(|process| process.stopping.is_some()) {
                return Err(format!("n{at} is to stop"));
            }
            let follows = own.epoch() == raft.epoch() && own.leader() == Some(raft.node().id);
            let knows = own_end == end && own.high_watermark() == Some(end);
            if !follows || !knows {
                let (epoch, committed) = (own.epoch(), own.high_watermark());
                return Err(format!("n{at} is in epoch {epoch} with {committed:?} of {end} committed"));
            }
        }
        if let Some(process) = &self.nodes[leader].process {
            self.all_in_sync(process.machine.image())?;
        }
        Ok(raft.epoch())
    }
}

/// A node's own part in the quorum.
fn part(raft: &Raft, boots: u64) -> Part {
    let leads = if let QuorumState::Leader(leader) = raft.role() { Some(leader.epoch_start().0) } else { None };
    Part { boots, epoch: raft.epoch().0, leads, high_watermark: raft.high_watermark().map(|end| end.0) }
}

fn number(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}

/// The voters that a node knows, by their numbers.
fn voters(raft: &Raft) -> Vec<i32> {
    raft.voters().into_iter().flat_map(|voters| voters.iter()).map(|(key, _)| key.id.0).collect()
}

/// The voters that a batch names, if it does.
fn voters_of(operation: &Operation) -> Option<Vec<i32>> {
    let Operation::Write { head, rest, .. } = operation else { return None };
    let bytes = [&head[..], rest].concat();
    let records = control_records(&RecordBatch::first_of(&bytes).ok()?).ok()?;
    records.into_iter().find_map(|record| match record {
        ControlRecord::Voters(set) => Some(set.iter().map(|(key, _)| key.id.0).collect()),
        ControlRecord::LeaderChange { .. }
        | ControlRecord::KRaftVersion(_)
        | ControlRecord::SnapshotHeader { .. }
        | ControlRecord::SnapshotFooter
        | ControlRecord::Other => None,
    })
}

/// The vote that a request asks for; none if it only asks whether it would be given.
pub(super) fn vote_of(request: &Request) -> Option<Vote> {
    if request.head.api_key != ApiKey::Vote {
        return None;
    }
    let version = request.head.api_version;
    let mut reader = Reader::new(&request.frame);
    RequestHeader::decode(&mut reader).ok()?;
    let asked = VoteRequest::decode(&mut reader, version).ok()?;
    let stands = asked.topics.first()?.partitions.first()?;
    let (epoch, candidate, directory) = (stands.replica_epoch, stands.replica_id, stands.replica_directory_id);
    (!stands.pre_vote).then_some(Vote { version, epoch, candidate, directory })
}
