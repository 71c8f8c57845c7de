//! Driving the machine: rounds of inputs, and its effects, one by one, so that a crash may fall between them.

use std::mem;

use bytes::Bytes;
use ottla_core::config::Config;
use ottla_core::job::{Job, Next};
use ottla_core::machine::{ConnId, DiskError, DiskResult, Effect, Effects, FileAction, Input, JobId, OpId};

use super::World;
use super::agenda::{Due, Moment, OperationKind};
use super::node::{Owed, Process};
use super::quorum::vote_of;
use crate::disk::{Completed, Operation};
use crate::draw::Label;
use crate::invariants::Fact;
use crate::logs::Change;
use crate::network::Listening;
use crate::network::stream::Outgoing;
use crate::panics;
use crate::trace::Digest;

/// How often, in steps, what the machine has derived from its logs is compared with a rebuild from them.
const DERIVED_STEPS: u64 = 1_000;

/// The same of what the shards of the group coordinator know, for which their logs are read.
const SHARDS_STEPS: u64 = 4_000;

/// What the nodes of a cluster of several are told; a lone one draws its own.
const CLUSTER_ID: &str = "b3R0bGEtc2ltdWxhdGVkLQ";

/// What of a step must be judged after it.
struct Stepped {
    /// It was told of a frame that cannot be read.
    malformed: Option<ConnId>,
}

impl World {
    /// Starts a node's process, unless one runs.
    pub(super) fn start_node(&mut self, at: usize) {
        if self.nodes[at].process.is_some() {
            return;
        }
        self.nodes[at].boots += 1;
        if mem::take(&mut self.nodes[at].rebooting) {
            self.nodes[at].clock.reboot(self.now);
        }
        let several = self.nodes.len() > 1;
        let config = Config {
            broker: self.setting.configs[at].clone(),
            cluster_id: several.then(|| CLUSTER_ID.to_owned()),
            // The operator's word, for one node, until something came of it.
            new_cluster: at == 0 && !self.nodes[at].born,
            planted: self.setting.planted,
        };
        let seed = self.draws.at(Label::MachineSeed, u64::from(self.nodes[at].id), self.nodes[at].boots).bits();
        self.nodes[at].process = Some(Process::new(config, seed, self.now));
        self.network.listen(self.nodes[at].endpoint(), Listening::Yes);
        self.trace.event("start", self.nodes[at].occurrence(self.nodes[at].boots));
        self.judge.of_node(at, &Fact::Booted);
    }

    /// The machine is told what has happened, and makes its deadline.
    pub(super) fn round(&mut self, at: usize) {
        let now = self.nodes[at].clock.now(self.now);
        let Some(process) = &mut self.nodes[at].process else { return };
        let inbox = mem::take(&mut process.inbox);
        let due = process.deadline.is_some_and(|deadline| deadline <= self.now);
        let boot = self.nodes[at].boots;
        let mut steps = inbox.len() as u64;
        for input in inbox {
            self.node_step(at, input);
            if self.nodes[at].process.is_none() || self.nodes[at].boots != boot {
                return;
            }
        }
        let overdue = |process: &Process| process.machine.next_deadline().is_some_and(|due| due <= now.monotonic);
        if due && self.nodes[at].process.as_ref().is_some_and(overdue) {
            steps += 1;
            self.node_step(at, Input::Timeout);
            if self.nodes[at].process.as_ref().is_some_and(overdue) {
                self.judge.report("deadline", "the deadline is still due after a Timeout".into());
            }
        }
        self.rest(at, steps);
    }

    /// A round took its time.
    fn rest(&mut self, at: usize, steps: u64) {
        let boot = self.nodes[at].occurrence(self.nodes[at].boots);
        let Some(process) = &mut self.nodes[at].process else { return };
        process.rounds += 1;
        let draw = self.draws.at(Label::Round, boot, process.rounds);
        process.busy_until = self.now + steps * draw.exponential(self.setting.scenario.cluster.step_time.0);
        self.nodes[at].refresh_deadline(self.now);
        self.see_tuple(at);
    }

    fn node_step(&mut self, at: usize, input: Input) {
        let node = &mut self.nodes[at];
        let now = node.clock.now(self.now);
        let Some(process) = &mut node.process else { return };
        let stepped = Stepped { malformed: malformed(&input) };
        let mut asks = None;
        if let Input::Frame { conn, request } = &input
            && let Some(conn) = process.conns.known.get_mut(conn)
        {
            let vote = vote_of(request);
            conn.owed.push_back(Owed { correlation: request.head.correlation_id, vote });
            asks = vote;
        }
        self.pace.steps += 1;
        node.latest_wall_ms = node.latest_wall_ms.max(now.wall.0);
        self.trace.begin(node.id, now, &input);
        let mut effects = mem::take(&mut process.effects);
        panics::handling(is_from_network(&input));
        process.machine.handle(now, input, &mut effects);
        panics::handling(false);
        self.judge.groups.note_loading(self.now, at, process.machine.loads_groups());
        self.trace.end(effects.as_slice());
        if let Some(conn) = stepped.malformed {
            self.judge_refusal(at, conn, effects.as_slice());
        }
        if let Some(vote) = asks {
            self.judge_candidate(vote);
        }
        // Before the process may be killed halfway: what it has decided is decided.
        self.note_watermarks(at);
        self.look_at_quorum(at);
        self.note_mended(at);
        self.carry_out_all(at, &mut effects);
        if let Some(process) = &mut self.nodes[at].process {
            process.effects = effects;
        }
        self.look_at_replicas(at);
        if self.trace.steps().is_multiple_of(DERIVED_STEPS) {
            self.judge_derived(at);
        }
        if self.trace.steps().is_multiple_of(SHARDS_STEPS) {
            self.judge_shards(at);
        }
        if self.trace.wants_digest() {
            self.digest(at);
        }
    }

    /// A node's memory and disk go into the trace.
    pub(super) fn digest(&mut self, at: usize) {
        if let Some(process) = &self.nodes[at].process {
            self.trace.digest(Digest::of(&process.machine));
        }
        self.trace.digest(self.nodes[at].disk.digest());
    }

    fn judge_refusal(&mut self, at: usize, conn: ConnId, effects: &[Effect]) {
        let closed = effects.iter().any(|effect| matches!(effect, Effect::Close { conn: other } if *other == conn));
        let sent = |effect: &Effect| matches!(effect, Effect::Send { conn: other, .. } if *other == conn);
        let answered = effects.iter().any(sent);
        if self.conn(at, conn).is_some_and(|conn| !conn.closing) {
            self.judge.of_node(at, &Fact::Refused { conn: conn.0, closed, answered });
        }
    }

    fn carry_out_all(&mut self, at: usize, effects: &mut Effects) {
        let boot = self.nodes[at].boots;
        for (count, effect) in (1..).zip(effects.drain()) {
            self.carry_out(at, effect);
            if self.agenda.is_armed() {
                self.on_moment(at, Moment::Effects(count));
            }
            // The rest of the step is lost with the process.
            if self.nodes[at].process.is_none() || self.nodes[at].boots != boot {
                return;
            }
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let effect = match Operation::of(effect) {
            Ok((op, operation)) => return self.issue(at, op, operation),
            Err(effect) => effect,
        };
        match effect {
            Effect::Send { conn, bytes, last } => self.send_bytes(at, conn, bytes, last),
            Effect::SendRange { conn, range, last } => {
                if let Some(ino) = self.nodes[at].disk.ino(range.file) {
                    let (pos, len) = (u64::from(range.pos), usize::try_from(range.len).unwrap_or(0));
                    self.send(at, conn, Outgoing::Range { ino, pos, len });
                    self.end_answer(at, conn, last);
                } else {
                    self.judge.report("driver", format!("{conn} is sent {range}, which is not open"));
                }
            }
            Effect::Done { conn } => {
                if let Some(conn) = self.conn(at, conn) {
                    conn.owed.pop_front();
                }
            }
            Effect::PauseReading { conn } => self.set_reading(at, conn, false),
            Effect::ResumeReading { conn } => self.set_reading(at, conn, true),
            Effect::Close { conn } => self.close(at, conn),
            Effect::Connect { token, address } => self.dial(at, token, &address),
            Effect::Run { job, work } => self.run_job(at, job, *work, None),
            Effect::Ready => self.on_ready(at),
            Effect::Stopped => self.on_stopped(at),
            // What it tells the operator is in the trace.
            Effect::Note(_) => (),
            Effect::Append { .. } | Effect::Write { .. } | Effect::Sync { .. } | Effect::File { .. } => {
                unreachable!("these are file operations")
            }
        }
    }

    fn issue(&mut self, at: usize, op: OpId, operation: Operation) {
        self.follow_swap(at, &operation);
        self.judge_snapshot(at, &operation);
        let before = self.before_cut(at, &operation);
        let was_written = self.judge.logs[at].written;
        self.note_begun(at, &operation);
        if let Some(change) = self.judge.logs[at].on_issue(op.0, &operation) {
            if let Change::Appended { log, batch, end } = &change {
                self.judge_vote(at, log, batch.epoch);
                self.on_metadata_appended(at, log, batch, &operation);
                self.on_replica_appended(at, log, (batch, *end));
                if !was_written {
                    self.judge_clean_mark(at, log);
                }
            }
            self.judge.changed(at, &change);
        }
        self.after_cut(at, &before);
        self.judge_cut(at, &operation);
        let kind = OperationKind::of(&operation);
        let reads = matches!(&operation, Operation::Action(action) if matches!(**action, FileAction::Read { .. }));
        self.nodes[at].disk.issue(self.now, op, operation);
        if self.agenda.is_armed() {
            self.on_moment(at, Moment::Issued(kind));
            let ready = self.nodes[at].process.as_ref().is_some_and(|process| process.ready);
            if reads && !ready {
                self.on_moment(at, Moment::Recovery);
            }
        }
    }

    /// A segment that compaction wrote takes the place of others.
    fn follow_swap(&mut self, at: usize, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        let FileAction::Rename { from, to } = &**action else { return };
        if !from.name.ends_with(".log.cleaned") || !to.name.ends_with(".log.swap") {
            return;
        }
        let found = self.nodes[at].disk.files().into_iter().find(|(_, path, _)| **path == *from.name);
        let Some(bytes) = found.map(|(_, _, ino)| self.nodes[at].disk.peek(ino)) else { return };
        if let Some(log) = self.judge.logs[at].on_swap(&from.name, &bytes) {
            let below = self.judge.logs[at].get(&log).map_or(0, |followed| followed.holes);
            self.judge.compacted(&log, below);
            self.trace.event("swap", bytes.len() as u64);
        }
    }

    /// A file operation came to its end.
    pub(super) fn on_disk(&mut self, at: usize) {
        let done = self.nodes[at].disk.step(self.now);
        self.count_disk(at);
        let Some(done) = done else { return };
        let failed = self.judge_completion(at, &done);
        let synced = done.sync;
        let io_error = matches!(done.result, DiskResult::Failed(DiskError::Io(_)));
        let Some(process) = &mut self.nodes[at].process else { return };
        if failed && !mem::replace(&mut process.failed, true) {
            self.judge.on_loss(at);
        }
        if io_error {
            process.read_failed |= !failed;
            self.call_operator(Due::Replace(at, self.nodes[at].boots));
        }
        let Some(process) = &mut self.nodes[at].process else { return };
        if let Some(job) = process.jobs.reads.remove(&done.op) {
            return self.resume_job(at, job, done.result);
        }
        process.inbox.push_back(Input::Disk { op: done.op, result: done.result });
        if synced && self.agenda.is_armed() {
            self.on_moment(at, Moment::SyncDone);
        }
    }

    /// Somebody looks after the node in a while, if the scenario has an operator.
    fn call_operator(&mut self, due: Due) {
        let wait = self.setting.scenario.cluster.restart_failed.0;
        if wait > 0 {
            self.agenda.add(self.now.saturating_add(wait), due);
        }
    }

    /// Answers whether the storage failed.
    fn judge_completion(&mut self, at: usize, done: &Completed) -> bool {
        let failed = matches!(done.result, DiskResult::Failed(DiskError::Io(_)));
        let log = if done.sync {
            self.judge.logs[at].on_synced(done.op.0, matches!(done.result, DiskResult::Done))
        } else {
            done.file.and_then(|file| self.judge.logs[at].log_of(file).cloned())
        };
        if let Some(log) = log.filter(|_| failed)
            && let Some(followed) = self.judge.logs[at].get(&log).cloned()
        {
            self.judge.of_node(at, &Fact::StorageFailed { log: &log, followed: &followed });
        }
        failed && (done.sync || done.file.is_some())
    }

    fn run_job(
        &mut self,
        at: usize,
        id: JobId,
        mut job: Job,
        read: Option<Result<Bytes, ottla_core::machine::DiskError>>,
    ) {
        let Some(process) = &mut self.nodes[at].process else { return };
        match job.step(read) {
            Next::Read { file, pos, len } => {
                let op = process.jobs.next_read();
                process.jobs.reads.insert(op, id);
                process.jobs.running.insert(id, job);
                let action = FileAction::Read { file, pos, len };
                self.nodes[at].disk.issue(self.now, op, Operation::Action(Box::new(action)));
                if self.agenda.is_armed() {
                    self.on_moment(at, Moment::Recovery);
                }
            }
            Next::Write { file, pos, bytes } => {
                let op = process.jobs.next_read();
                process.jobs.reads.insert(op, id);
                process.jobs.running.insert(id, job);
                let write = Operation::Write { file, pos, head: bytes, rest: Bytes::new() };
                self.issue(at, op, write);
            }
            Next::Done(report) => process.inbox.push_back(Input::JobDone { job: id, report }),
        }
    }

    fn resume_job(&mut self, at: usize, id: JobId, result: DiskResult) {
        let job = self.nodes[at].process.as_mut().and_then(|process| process.jobs.running.remove(&id));
        let Some(job) = job else { return };
        let read = match result {
            DiskResult::Bytes(bytes) => Ok(bytes),
            DiskResult::Failed(error) => Err(error),
            DiskResult::Done => Ok(Bytes::new()),
            DiskResult::Opened { .. } | DiskResult::Entries(_) | DiskResult::Space(_) => {
                unreachable!("a read answers with bytes and a write with nothing, or they fail")
            }
        };
        self.run_job(at, id, job, Some(read));
    }

    /// It ended by itself: because it was asked to, or because it cannot start. Its operator starts it anew.
    fn on_stopped(&mut self, at: usize) {
        self.trace.event("stopped", self.nodes[at].occurrence(self.nodes[at].boots));
        let asked = self.nodes[at].process.as_ref().and_then(|process| process.stopping);
        self.end_process(at);
        match asked {
            Some(down) => self.agenda.add(self.now.saturating_add(down), Due::StartNode(at)),
            None => self.call_operator(Due::StartNode(at)),
        }
    }

    fn see_tuple(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let few = |count: usize| count.min(3) as u64;
        let owed: usize = process.conns.known.values().map(|conn| conn.owed.len()).sum();
        let bits = [
            u64::from(process.ready),
            u64::from(process.failed),
            few(owed),
            few(self.nodes[at].disk.in_flight()),
            few(process.jobs.running.len()),
            u64::from(self.nodes[at].disk.is_troubled()),
            u64::from(self.nodes[at].disk.has_unsynced()),
            self.nodes[at].boots.min(3),
            self.stage.number(),
        ];
        let tuple = bits.iter().fold(0, |tuple, bits| tuple << 2 | bits);
        if let Err(place) = self.tuples.binary_search(&tuple) {
            self.tuples.insert(place, tuple);
        }
    }
}

const fn malformed(input: &Input) -> Option<ConnId> {
    match input {
        Input::Malformed { conn, .. } => Some(*conn),
        Input::Opened { .. }
        | Input::Frame { .. }
        | Input::Answer { .. }
        | Input::Drained { .. }
        | Input::Closed { .. }
        | Input::Disk { .. }
        | Input::JobDone { .. }
        | Input::Shutdown
        | Input::Timeout => None,
    }
}

/// Whether an input says what somebody else wrote.
const fn is_from_network(input: &Input) -> bool {
    match input {
        Input::Opened { .. }
        | Input::Frame { .. }
        | Input::Answer { .. }
        | Input::Malformed { .. }
        | Input::Drained { .. }
        | Input::Closed { .. } => true,
        Input::Disk { .. } | Input::JobDone { .. } | Input::Shutdown | Input::Timeout => false,
    }
}
