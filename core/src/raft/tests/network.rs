//! A quorum in a small world that loses, delays and repeats messages, cuts nodes off, and takes what is not synced
//! from those that crash; and the invariants, looked at with every step.
//!
//! One entry of a log is one offset. What it holds is its place in one arena, with the entry before it: two logs that
//! hold the same entry must be the same up to it (M4).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::super::*;
use crate::clock::WallTime;
use crate::machine::ConnId;
use crate::record::RecordBatch;

const MS: u64 = 1_000_000;

/// What one run is made of.
#[derive(Clone, Debug)]
pub(in crate::raft) struct Plan {
    pub voters: i32,
    /// Nodes that join as observers, and are to become voters.
    pub joining: i32,
    /// How many of a thousand messages are lost.
    pub loss: u64,
    /// How often something bad happens to a node, on average; never if 0.
    pub trouble_ms: u64,
    /// How long a vote takes to be durable, at most.
    pub save_ms: u64,
    pub planted: Planted,
}

#[derive(Clone, Debug)]
struct Entry {
    epoch: LeaderEpoch,
    /// The entry before it, and its offset.
    before: Option<u32>,
    offset: usize,
    voters: Option<VoterSet>,
}

struct Machine {
    key: VoterKey,
    raft: Option<Raft>,
    boots: u64,
    log: Vec<u32>,
    synced_log: Vec<u32>,
    syncing: Option<Vec<u32>>,
    file: Option<Vec<u8>>,
    saving: Option<(SaveId, Vec<u8>)>,
    epochs: Epochs,
    timer: u64,
}

enum Due {
    Request { from: usize, boots: u64, to: usize, call: CallId, request: Request },
    Response { to: usize, boots: u64, call: CallId, response: Option<Response> },
    Timeout { node: usize, timer: u64 },
    Synced { node: usize, boots: u64 },
    Saved { node: usize, boots: u64 },
    Start { node: usize },
    Trouble,
    Propose,
}

/// The world, with what was seen in it.
pub(in crate::raft) struct Network {
    plan: Plan,
    rng: Rng,
    pub now: u64,
    nodes: Vec<Machine>,
    arena: Vec<Entry>,
    queue: BTreeMap<(u64, u64), Due>,
    queued: u64,
    /// Whose requests wait at whom.
    asking: BTreeMap<Ticket, (usize, u64, CallId)>,
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    quiet: bool,
    leaders: BTreeMap<LeaderEpoch, usize>,
    votes: BTreeMap<(VoterKey, LeaderEpoch), VoterKey>,
    committed: Vec<u32>,
    pub violation: Option<String>,
}

impl Network {
    pub fn new(plan: Plan, seed: u64) -> Self {
        let nodes = (0..plan.voters + plan.joining).map(|id| Machine {
            key: VoterKey { id: BrokerId(id), directory_id: Uuid(0xd0) },
            raft: None,
            boots: 0,
            log: Vec::new(),
            synced_log: Vec::new(),
            syncing: None,
            file: None,
            saving: None,
            epochs: Epochs::new(),
            timer: 0,
        });
        let mut network = Self {
            nodes: nodes.collect(),
            plan,
            rng: Rng::new(seed),
            now: 0,
            arena: Vec::new(),
            queue: BTreeMap::new(),
            queued: 0,
            asking: BTreeMap::new(),
            cut: BTreeSet::new(),
            calm: false,
            quiet: false,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: Vec::new(),
            violation: None,
        };
        for node in 0..network.nodes.len() {
            let at = network.rng.below(50 * MS);
            network.add(at, Due::Start { node });
        }
        network.add(0, Due::Propose);
        if network.plan.trouble_ms > 0 {
            network.add(500 * MS, Due::Trouble);
        }
        network
    }

    /// Runs on for so many milliseconds, or to the first violation.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms * MS;
        while self.violation.is_none()
            && let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until)
        {
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            self.on_due(due);
        }
        self.now = until;
    }

    /// Nothing bad happens any more: who is down is started, and all hear each other.
    pub fn heal(&mut self) {
        self.calm = true;
        self.cut.clear();
        for node in 0..self.nodes.len() {
            if self.nodes[node].raft.is_none() {
                self.add(self.now, Due::Start { node });
            }
        }
    }

    /// Leaders write nothing more.
    pub fn quieten(&mut self) {
        self.quiet = true;
    }

    /// What each node is.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for machine in &self.nodes {
            let Some(raft) = &machine.raft else {
                text.push_str("down; ");
                continue;
            };
            let (id, role, epoch, end) = (machine.key.id, raft.role(), raft.epoch(), machine.log.len());
            let committed = raft.high_watermark().unwrap_or(Offset(-1));
            let _ = write!(text, "{id} {role} epoch={epoch} end={end} committed={committed}; ");
        }
        text
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.cut.extend([(node, other), (other, node)]);
        }
    }

    pub fn leader(&self) -> Option<(usize, LeaderEpoch)> {
        let led = |(node, machine): (usize, &Machine)| {
            let raft = machine.raft.as_ref().filter(|raft| raft.is_leader())?;
            Some((node, raft.epoch()))
        };
        self.nodes.iter().enumerate().filter_map(led).max_by_key(|(_, epoch)| *epoch)
    }

    /// Whether every node agrees with the leader, knows all that was committed, and is known where it is.
    pub fn is_settled(&self) -> bool {
        let Some((leader, epoch)) = self.leader() else { return false };
        self.nodes.iter().all(|machine| {
            let Some(raft) = &machine.raft else { return false };
            raft.epoch() == epoch
                && raft.leader() == Some(self.nodes[leader].key.id)
                && machine.log == self.nodes[leader].log
                && raft.high_watermark() == Some(end_of(&machine.log))
                && raft.is_voter()
                && !raft.is_outdated()
        })
    }

    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    /// A node comes back with another disk, which is empty.
    pub fn wipe(&mut self, node: usize) {
        self.crash(node, true);
        let machine = &mut self.nodes[node];
        machine.key.directory_id = Uuid(machine.key.directory_id.0 + 1);
        machine.file = None;
        machine.log.clear();
        machine.synced_log.clear();
        machine.epochs = Epochs::new();
        self.add(self.now, Due::Start { node });
    }

    fn add(&mut self, at: u64, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }

    fn report(&mut self, what: impl std::fmt::Display) {
        self.violation.get_or_insert(format!("at {} ms: {what}", self.now / MS));
    }

    fn clock(&self) -> Now {
        let wall = i64::try_from(self.now / MS).unwrap();
        Now { monotonic: Instant(self.now), wall: WallTime(wall) }
    }

    fn on_due(&mut self, due: Due) {
        let now = self.clock();
        match due {
            Due::Start { node } => self.start(node),
            Due::Request { from, boots, to, call, request } => {
                let ticket = Ticket { conn: ConnId(to as u64), frame: self.queued };
                self.asking.insert(ticket, (from, boots, call));
                self.with(to, |raft, epochs| raft.on_request(now, ticket, request, epochs));
            }
            Due::Response { to, boots, call, response } if self.nodes[to].boots == boots => {
                self.with(to, |raft, epochs| raft.on_response(now, call, response, epochs));
            }
            Due::Timeout { node, timer } if self.nodes[node].timer == timer => {
                let due = |raft: &mut Raft| raft.next_deadline().is_some_and(|due| due <= now.monotonic);
                self.with(node, |raft, _| if due(raft) { raft.on_timeout(now) } else { Outcome::default() });
                if self.nodes[node].raft.as_mut().is_some_and(due) {
                    self.report(format!("the deadline of node {node} does not move"));
                }
            }
            Due::Synced { node, boots } if self.nodes[node].boots == boots => {
                let machine = &mut self.nodes[node];
                machine.synced_log = machine.syncing.take().unwrap();
                self.tell_log(node);
                self.sync(node);
            }
            Due::Saved { node, boots } if self.nodes[node].boots == boots => {
                let (id, bytes) = self.nodes[node].saving.take().unwrap();
                self.save(node, bytes);
                self.with(node, |raft, _| raft.on_saved(id, now));
            }
            Due::Trouble => self.trouble(),
            Due::Propose => self.propose(),
            Due::Response { .. } | Due::Timeout { .. } | Due::Synced { .. } | Due::Saved { .. } => {}
        }
    }

    fn with(&mut self, node: usize, act: impl FnOnce(&mut Raft, &Epochs) -> Outcome) {
        let machine = &mut self.nodes[node];
        let Some(raft) = &mut machine.raft else { return };
        let outcome = act(raft, &machine.epochs);
        self.carry_out(node, outcome);
    }

    fn start(&mut self, node: usize) {
        let now = self.clock();
        let machine = &mut self.nodes[node];
        if machine.raft.is_some() {
            return;
        }
        machine.boots += 1;
        let mut voters = VoterHistory::default();
        for (offset, entry) in (0..).zip(&machine.log) {
            if let Some(set) = &self.arena[*entry as usize].voters {
                voters.add(Offset(offset), set.clone());
            }
        }
        let first = |id| (VoterKey { id: BrokerId(id), directory_id: Uuid(0xd0) }, Voter::default());
        let is_first = node < usize::try_from(self.plan.voters).unwrap();
        let born = VoterSet::new((0..self.plan.voters).map(first).collect()).filter(|_| is_first);
        let start = Start {
            node: machine.key,
            saved: machine.file.as_ref().map(|bytes| SavedElection::parse(bytes).unwrap()),
            voters,
            born,
            end_offset: end_of(&machine.log),
            last_epoch: machine.log.last().map(|entry| self.arena[*entry as usize].epoch),
            snapshots: BTreeMap::new(),
            seed: self.rng.next_u64(),
        };
        // Each start is at another address.
        let port = u16::try_from(machine.boots).unwrap_or(u16::MAX);
        let endpoint = VoterEndpoint { name: "C".into(), host: "h".into(), port };
        let config = RaftConfig {
            election_timeout: Duration::from_secs(1),
            fetch_timeout: Duration::from_secs(2),
            retry_backoff: Duration::from_millis(20),
            fetch_wait: Duration::from_millis(500),
            voter: Voter { endpoints: vec![endpoint], max_kraft_version: KRAFT_VERSION },
            joins: true,
        };
        machine.raft = Some(Raft::new(start, config, self.plan.planted).unwrap());
        self.with(node, |raft, _| raft.on_start(now));
        self.tell_log(node);
        self.sync(node);
    }

    /// Carries an outcome out, in the order of its fields.
    fn carry_out(&mut self, node: usize, outcome: Outcome) {
        let now = self.clock();
        let Outcome { save, truncate, append, lead, change, high_watermark, calls, replies, broken, .. } = outcome;
        if let Some(save) = save {
            self.nodes[node].saving = Some((save.id, save.bytes));
            let (at, boots) = (self.now + self.rng.below(self.plan.save_ms * MS), self.nodes[node].boots);
            self.add(at, Due::Saved { node, boots });
        }
        if let Some(why) = broken {
            self.report(format!("M5 node {node}: {why}"));
        }
        if let Some(to) = truncate {
            self.truncate(node, usize::try_from(to.0).unwrap());
        }
        // What is sent tells what the node was before it goes on: the order of the driver's queue.
        self.send(node, calls, replies);
        if let Some(lead) = lead {
            self.on_elected(node, lead.epoch);
            self.write(node, lead.epoch, &lead.batch);
        }
        if let Some(batch) = change {
            let epoch = self.nodes[node].raft.as_ref().unwrap().epoch();
            self.write(node, epoch, &batch);
        }
        if let Some(records) = append {
            let taken = self.replicate(node, &records);
            self.with(node, |raft, _| raft.on_appended(now, taken));
        }
        if let Some(high_watermark) = high_watermark {
            self.on_committed(node, usize::try_from(high_watermark.0).unwrap());
        }
        self.set_timer(node);
    }

    fn set_timer(&mut self, node: usize) {
        let Some(due) = self.nodes[node].raft.as_ref().and_then(Raft::next_deadline) else { return };
        let at = due.0.max(self.now);
        self.nodes[node].timer += 1;
        let timer = self.nodes[node].timer;
        self.add(at, Due::Timeout { node, timer });
    }

    fn send(&mut self, node: usize, calls: Vec<Call>, replies: Vec<(Ticket, Reply)>) {
        let boots = self.nodes[node].boots;
        for Call { id, to, request } in calls {
            self.note_candidate(node, &request);
            let count = self.nodes.len();
            let to = match to {
                Destination::Node(id) => usize::try_from(id.0).unwrap(),
                Destination::Anyone(which) => usize::try_from(which).unwrap() % count,
            };
            match self.trip(node, to) {
                Some(at) => {
                    if self.rng.below(50) == 0 {
                        let request = request.clone();
                        let again = at + self.rng.below(300 * MS);
                        // Nobody waits for the answer to the copy.
                        self.add(again, Due::Request { from: node, boots: 0, to, call: id, request });
                    }
                    self.add(at, Due::Request { from: node, boots, to, call: id, request });
                    // Whoever has no answer by then gives it up.
                    self.add(at + 1_500 * MS, Due::Response { to: node, boots, call: id, response: None });
                }
                None => self.add(self.now + 300 * MS, Due::Response { to: node, boots, call: id, response: None }),
            }
        }
        for (ticket, reply) in replies {
            self.note_vote(node, &reply, ticket);
            let Some((to, boots, call)) = self.asking.remove(&ticket) else {
                return self.report(format!("node {node} answers {ticket:?} twice"));
            };
            let response = Some(self.read(node, reply));
            if let Some(at) = self.trip(node, to) {
                self.add(at, Due::Response { to, boots, call, response });
            }
        }
    }

    /// When a message arrives, if it does.
    fn trip(&mut self, from: usize, to: usize) -> Option<u64> {
        let lost = self.rng.below(1000) < self.plan.loss && !self.calm;
        let wait = if self.rng.below(10) == 0 { 200 * MS } else { 5 * MS };
        let at = self.now + MS / 10 + self.rng.below(wait);
        (!lost && !self.cut.contains(&(from, to))).then_some(at)
    }

    /// An answer with what the log has: what is on its way is what was there when it left.
    fn read(&self, node: usize, reply: Reply) -> Response {
        let Reply { error, known, body } = reply;
        let body = match body {
            ReplyBody::Vote { granted } => ResponseBody::Vote { granted },
            ReplyBody::Begin | ReplyBody::End | ReplyBody::Voters { .. } | ReplyBody::Snapshot { .. } => {
                ResponseBody::Heard
            }
            ReplyBody::Fetch { high_watermark, found } => {
                let log = &self.nodes[node].log;
                let (diverging, from) = match found {
                    Found::Log(from) => (None, usize::try_from(from.0).unwrap()),
                    Found::Diverging(end) => (Some(end), log.len()),
                    Found::Nothing | Found::Snapshot(_) => (None, log.len()),
                };
                let entries = log.iter().skip(from).take(5).flat_map(|entry| entry.to_be_bytes());
                ResponseBody::Fetch { high_watermark, diverging, snapshot: None, records: Bytes::from_iter(entries) }
            }
        };
        Response { error, known, body }
    }

    fn write(&mut self, node: usize, epoch: LeaderEpoch, batch: &[u8]) {
        let controls = control_records(&RecordBatch::first_of(batch).unwrap()).unwrap();
        let voters = controls.into_iter().find_map(|control| match control {
            ControlRecord::Voters(voters) => Some(voters),
            ControlRecord::LeaderChange { .. }
            | ControlRecord::KRaftVersion(_)
            | ControlRecord::SnapshotHeader { .. }
            | ControlRecord::SnapshotFooter
            | ControlRecord::Other => None,
        });
        self.append_new(node, epoch, voters);
    }

    fn append_new(&mut self, node: usize, epoch: LeaderEpoch, voters: Option<VoterSet>) {
        if voters.is_some() {
            self.judge_change(node, epoch);
        }
        let log = &self.nodes[node].log;
        let entry = Entry { epoch, before: log.last().copied(), offset: log.len(), voters };
        self.arena.push(entry);
        let entry = u32::try_from(self.arena.len() - 1).unwrap();
        self.append(node, entry);
    }

    /// A leader changes the voters: nothing of that is open, and it has committed something itself.
    fn judge_change(&mut self, node: usize, epoch: LeaderEpoch) {
        let log = &self.nodes[node].log;
        let is_birth = log.iter().all(|entry| self.arena[*entry as usize].voters.is_none());
        let is_own = |entry: &u32| self.arena[*entry as usize].epoch == epoch;
        // It may know that more is committed than was carried out here.
        let knows = self.nodes[node].raft.as_ref().and_then(Raft::high_watermark).unwrap_or(Offset::ZERO);
        let committed = self.committed.len().max(usize::try_from(knows.0).unwrap());
        let open = log.iter().skip(committed);
        if open.filter(|entry| self.arena[**entry as usize].voters.is_some()).count() > 0 {
            self.report(format!("M10 node {node} changes the voters while another change is not committed"));
        } else if !is_birth && !log.iter().take(committed).any(is_own) {
            self.report(format!(
                "M10 node {node} changes the voters before it has committed a record of epoch {epoch}"
            ));
        }
    }

    fn append(&mut self, node: usize, entry: u32) {
        let now = self.clock();
        let Entry { epoch, offset, voters, .. } = self.arena[entry as usize].clone();
        let machine = &mut self.nodes[node];
        let offset = Offset(i64::try_from(offset).unwrap());
        machine.epochs.assign(epoch, offset);
        machine.log.push(entry);
        self.tell_log(node);
        if let Some(voters) = voters {
            self.with(node, |raft, _| raft.on_voters(now, offset, voters));
        }
        self.sync(node);
    }

    fn replicate(&mut self, node: usize, records: &[u8]) -> bool {
        for entry in records.chunks(4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap())) {
            let Entry { before, offset, .. } = self.arena[entry as usize];
            let log = &self.nodes[node].log;
            if offset != log.len() {
                return false;
            }
            if before != log.last().copied() {
                self.report(format!("M4 node {node} appends at {offset} to another log than the leader's"));
                return false;
            }
            self.append(node, entry);
        }
        true
    }

    fn truncate(&mut self, node: usize, to: usize) {
        if self.nodes[node].log.len() > to && self.nodes[node].log[to..].iter().any(|it| self.committed.contains(it)) {
            self.report(format!("M8 node {node} cuts its log to {to}, and with it what is committed"));
        }
        let machine = &mut self.nodes[node];
        machine.log.truncate(to);
        machine.epochs.truncate_end(end_of(&machine.log));
        self.tell_log(node);
        self.sync(node);
    }

    fn tell_log(&mut self, node: usize) {
        let now = self.clock();
        let machine = &self.nodes[node];
        let same = machine.log.iter().zip(&machine.synced_log).take_while(|(one, other)| one == other).count();
        let last_epoch = machine.log.last().map(|entry| self.arena[*entry as usize].epoch);
        let (end, durable) = (end_of(&machine.log), end_of(&machine.log[..same]));
        let log = LogState { start: Offset::ZERO, end, written: end, durable, last_epoch };
        self.with(node, |raft, _| raft.on_log(now, log));
    }

    fn sync(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        if machine.syncing.is_none() && machine.synced_log != machine.log {
            machine.syncing = Some(machine.log.clone());
            let slow = if self.rng.below(10) == 0 { 500 * MS } else { 10 * MS };
            let (at, boots) = (self.now + self.rng.below(slow), machine.boots);
            self.add(at, Due::Synced { node, boots });
        }
    }

    fn save(&mut self, node: usize, bytes: Vec<u8>) {
        let epoch_of = |bytes: &[u8]| SavedElection::parse(bytes).unwrap().epoch;
        let before = self.nodes[node].file.as_deref().map(epoch_of);
        if before.is_some_and(|before| epoch_of(&bytes) < before) {
            self.report(format!("M3 the epoch of node {node} falls"));
        }
        self.nodes[node].file = Some(bytes);
    }

    /// The process dies, and if power is lost with it what is not synced is there in part.
    fn crash(&mut self, node: usize, power: bool) {
        let keep = self.rng.next_u64();
        let arena = &self.arena;
        let machine = &mut self.nodes[node];
        machine.raft = None;
        machine.boots += 1;
        machine.syncing = None;
        let saving = machine.saving.take();
        if power && machine.log.starts_with(&machine.synced_log) {
            let unsynced = machine.log.len() - machine.synced_log.len();
            let kept = usize::try_from(keep % (unsynced as u64 + 1)).unwrap();
            machine.log.truncate(machine.synced_log.len() + kept);
        } else if power {
            machine.log.clone_from(&machine.synced_log);
        }
        machine.synced_log.clone_from(&machine.log);
        machine.epochs = Epochs::new();
        for (offset, entry) in (0..).zip(&machine.log) {
            machine.epochs.assign(arena[*entry as usize].epoch, Offset(offset));
        }
        if let Some((_, bytes)) = saving.filter(|_| !power || keep & 1 << 40 != 0) {
            self.save(node, bytes);
        }
    }

    /// Something bad, and the next.
    fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap();
        match self.rng.below(4) {
            0 | 1 if self.nodes[node].raft.is_some() => {
                let power = self.rng.below(2) == 0;
                let back = self.now + self.rng.below(3_000 * MS);
                self.crash(node, power);
                self.add(back, Due::Start { node });
            }
            2 => self.isolate(node),
            _ => self.cut.clear(),
        }
        let next = self.now + self.rng.below(2 * self.plan.trouble_ms * MS);
        self.add(next, Due::Trouble);
    }

    /// Each leader writes a record, also one that does not know yet that it is none any more.
    fn propose(&mut self) {
        for node in 0..self.nodes.len() {
            let epoch = self.nodes[node].raft.as_ref().filter(|raft| raft.is_leader()).map(Raft::epoch);
            // At the moment of its election it has not written its first batch yet.
            let begun = |epoch| self.nodes[node].log.last().is_some_and(|it| self.arena[*it as usize].epoch == epoch);
            if let Some(epoch) = epoch.filter(|epoch| begun(*epoch) && !self.quiet) {
                self.append_new(node, epoch, None);
            }
        }
        let next = self.now + self.rng.below(100 * MS);
        self.add(next, Due::Propose);
    }

    fn note_candidate(&mut self, node: usize, request: &Request) {
        if let Request::Vote(vote) = request
            && !vote.pre_vote
        {
            self.note(self.nodes[node].key, vote.epoch, vote.candidate);
        }
    }

    fn note_vote(&mut self, node: usize, reply: &Reply, ticket: Ticket) {
        let voted = self.nodes[node].raft.as_ref().and_then(|raft| raft.ballot.voted);
        let from = self.asking.get(&ticket).map(|(from, ..)| self.nodes[*from].key);
        if reply.body == (ReplyBody::Vote { granted: true }) && voted == from {
            self.note(self.nodes[node].key, reply.known.epoch, voted.unwrap());
        }
    }

    fn note(&mut self, voter: VoterKey, epoch: LeaderEpoch, candidate: VoterKey) {
        // Who has the same id has the same vote to give, whatever directory it names.
        let identity = VoterKey { directory_id: Uuid(0), ..voter };
        let before = *self.votes.entry((identity, epoch)).or_insert(candidate);
        if before.id != candidate.id {
            self.report(format!("M2 {} votes for {} and {} in epoch {epoch}", voter.id, before.id, candidate.id));
        }
    }

    fn on_elected(&mut self, node: usize, epoch: LeaderEpoch) {
        let before = *self.leaders.entry(epoch).or_insert(node);
        if before != node {
            self.report(format!("M1 {before} and {node} lead in epoch {epoch}"));
        }
        if !self.nodes[node].log.starts_with(&self.committed) {
            self.report(format!("M5 {node} leads in epoch {epoch} without all that is committed"));
        }
    }

    fn on_committed(&mut self, node: usize, end: usize) {
        let log = self.nodes[node].log[..end].to_vec();
        let same = end.min(self.committed.len());
        if log[..same] != self.committed[..same] {
            return self.report(format!("M9 node {node} takes another log for committed up to {end}"));
        }
        if end <= self.committed.len() {
            return;
        }
        let raft = self.nodes[node].raft.as_ref().unwrap();
        let has = |machine: &Machine| machine.synced_log.starts_with(&log);
        let durable = self.nodes.iter().filter(|machine| has(machine)).map(|machine| machine.key);
        let majority = raft.voters().is_some_and(|voters| voters.is_majority(durable));
        self.committed = log;
        if !majority {
            self.report(format!("M6 node {node} commits up to {end}, which no majority has durably"));
        }
    }
}

fn end_of(log: &[u32]) -> Offset {
    Offset(i64::try_from(log.len()).unwrap())
}
