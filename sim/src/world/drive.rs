//! Driving the machine: rounds of inputs, and its effects, one by one, so that a crash may fall between them.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ottla_core::config::Config;
use ottla_core::ingress::ingress;
use ottla_core::job::{Job, Next};
use ottla_core::machine::{
    ConnId, DiskError, DiskResult, Effect, Effects, FileAction, Input, JobId, ListenerId, OpId, Opened,
};

use super::World;
use super::agenda::{Due, Moment, OperationKind};
use super::node::Process;
use crate::disk::{Completed, Operation};
use crate::draw::Label;
use crate::invariants::Fact;
use crate::logs::Change;
use crate::network::stream::Outgoing;
use crate::network::{Endpoint, Listening, Side, Wire};
use crate::panics;
use crate::trace::Digest;

/// How often, in steps, what the machine has derived from its logs is compared with a rebuild from them.
const DERIVED_STEPS: u64 = 1_000;

/// The same of what the shards of the group coordinator know, for which their logs are read.
const SHARDS_STEPS: u64 = 4_000;

/// What of a step must be judged after it.
struct Stepped {
    /// It was told of a frame that cannot be read.
    malformed: Option<ConnId>,
}

impl World {
    /// Starts a process, unless one runs.
    pub(super) fn start_node(&mut self) {
        if self.node.process.is_some() {
            return;
        }
        self.node.boots += 1;
        if mem::take(&mut self.node.rebooting) {
            self.node.clock.reboot(self.now);
        }
        let config = Config {
            broker: self.setting.config.clone(),
            cluster_id: None,
            new_cluster: !self.node.born,
            several_voters: false,
            planted: self.setting.planted,
        };
        let seed = self.draws.at(Label::MachineSeed, u64::from(self.node.id), self.node.boots).bits();
        self.node.process = Some(Process::new(config, seed, self.now));
        self.network.listen(Endpoint::Node(0), Listening::Yes);
        self.trace.event("start", self.node.boots);
        self.judge.fact(&Fact::Booted);
    }

    /// The machine is told what has happened, and makes its deadline.
    pub(super) fn round(&mut self) {
        let now = self.node.clock.now(self.now);
        let Some(process) = &mut self.node.process else { return };
        let inbox = mem::take(&mut process.inbox);
        let due = process.deadline.is_some_and(|deadline| deadline <= self.now);
        let boot = self.node.boots;
        let mut steps = inbox.len() as u64;
        for input in inbox {
            self.node_step(input);
            if self.node.process.is_none() || self.node.boots != boot {
                return;
            }
        }
        let overdue = |process: &Process| process.machine.next_deadline().is_some_and(|due| due <= now.monotonic);
        if due && self.node.process.as_ref().is_some_and(overdue) {
            steps += 1;
            self.node_step(Input::Timeout);
            if self.node.process.as_ref().is_some_and(overdue) {
                self.judge.report("deadline", "the deadline is still due after a Timeout".into());
            }
        }
        self.rest(steps);
    }

    /// A round took its time.
    fn rest(&mut self, steps: u64) {
        let Some(process) = &mut self.node.process else { return };
        process.rounds += 1;
        let draw = self.draws.at(Label::Round, self.node.boots, process.rounds);
        process.busy_until = self.now + steps * draw.exponential(self.setting.scenario.cluster.step_time.0);
        self.node.refresh_deadline(self.now);
        self.see_tuple();
    }

    fn node_step(&mut self, input: Input) {
        let now = self.node.clock.now(self.now);
        let Some(process) = &mut self.node.process else { return };
        let stepped = Stepped { malformed: malformed(&input) };
        if let Input::Frame { conn, request } = &input
            && let Some(conn) = process.conns.open.get_mut(conn)
        {
            conn.owed.push_back(request.head.correlation_id);
        }
        self.pace.steps += 1;
        self.node.latest_wall_ms = self.node.latest_wall_ms.max(now.wall.0);
        self.trace.begin(self.node.id, now, &input);
        let mut effects = mem::take(&mut process.effects);
        panics::handling(is_from_network(&input));
        process.machine.handle(now, input, &mut effects);
        panics::handling(false);
        self.trace.end(effects.as_slice());
        if let Some(conn) = stepped.malformed {
            self.judge_refusal(conn, effects.as_slice());
        }
        self.carry_out_all(&mut effects);
        if let Some(process) = &mut self.node.process {
            process.effects = effects;
        }
        if self.trace.steps().is_multiple_of(DERIVED_STEPS) {
            self.judge_derived();
        }
        if self.trace.steps().is_multiple_of(SHARDS_STEPS) {
            self.judge_shards();
        }
        if self.trace.wants_digest() {
            self.digest();
        }
    }

    /// Memory and disk go into the trace.
    pub(super) fn digest(&mut self) {
        if let Some(process) = &self.node.process {
            self.trace.digest(Digest::of(&process.machine));
        }
        self.trace.digest(self.node.disk.digest());
    }

    fn judge_refusal(&mut self, conn: ConnId, effects: &[Effect]) {
        let closed = effects.iter().any(|effect| matches!(effect, Effect::Close { conn: other } if *other == conn));
        let sent = |effect: &Effect| matches!(effect, Effect::Send { conn: other, .. } if *other == conn);
        let answered = effects.iter().any(sent);
        if self.conn(conn).is_some_and(|conn| !conn.closing) {
            self.judge.fact(&Fact::Refused { conn: conn.0, closed, answered });
        }
    }

    fn carry_out_all(&mut self, effects: &mut Effects) {
        let boot = self.node.boots;
        for (count, effect) in (1..).zip(effects.drain()) {
            self.carry_out(effect);
            if self.agenda.is_armed() {
                self.on_moment(Moment::Effects(count));
            }
            // The rest of the step is lost with the process.
            if self.node.process.is_none() || self.node.boots != boot {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let effect = match Operation::of(effect) {
            Ok((op, operation)) => return self.issue(op, operation),
            Err(effect) => effect,
        };
        match effect {
            Effect::Send { conn, bytes, last } => self.send_bytes(conn, bytes, last),
            Effect::SendRange { conn, range, last } => {
                if let Some(ino) = self.node.disk.ino(range.file) {
                    let (pos, len) = (u64::from(range.pos), usize::try_from(range.len).unwrap_or(0));
                    self.send(conn, Outgoing::Range { ino, pos, len });
                    self.end_answer(conn, last);
                } else {
                    self.judge.report("driver", format!("{conn} is sent {range}, which is not open"));
                }
            }
            Effect::Done { conn } => {
                if let Some(conn) = self.conn(conn) {
                    conn.owed.pop_front();
                }
            }
            Effect::PauseReading { conn } => self.set_reading(conn, false),
            Effect::ResumeReading { conn } => self.set_reading(conn, true),
            Effect::Close { conn } => {
                if let Some(conn) = self.conn(conn) {
                    conn.closing = true;
                    let wire = conn.wire;
                    self.with_reader(|network, now, read| network.close(now, wire, Side::Acceptor, read));
                }
            }
            Effect::Run { job, work } => self.run_job(job, *work, None),
            Effect::Ready => self.on_ready(),
            Effect::Stopped => self.on_stopped(),
            // Nobody is dialled by a lone broker; what it tells the operator is in the trace.
            Effect::Connect { .. } | Effect::Note(_) => (),
            Effect::Append { .. } | Effect::Write { .. } | Effect::Sync { .. } | Effect::File { .. } => {
                unreachable!("these are file operations")
            }
        }
    }

    fn conn(&mut self, conn: ConnId) -> Option<&mut super::node::Conn> {
        self.node.process.as_mut()?.conns.open.get_mut(&conn)
    }

    /// Answers come in the order of the requests: the first part of one has the correlation id.
    fn send_bytes(&mut self, conn: ConnId, bytes: Bytes, last: bool) {
        if let Some(open) = self.conn(conn)
            && !open.answering
            && let Some(answers) = bytes.get(4..8).and_then(|id| id.first_chunk::<4>())
        {
            let (owed, answers) = (open.owed.front().copied(), i32::from_be_bytes(*answers));
            self.judge.fact(&Fact::Answered { conn: conn.0, owed, answers });
        }
        self.send(conn, Outgoing::Bytes(bytes));
        self.end_answer(conn, last);
    }

    fn end_answer(&mut self, conn: ConnId, last: bool) {
        if let Some(open) = self.conn(conn) {
            open.answering = !last;
            if last {
                open.owed.pop_front();
            }
        }
    }

    fn send(&mut self, conn: ConnId, outgoing: Outgoing) {
        let Some(wire) = self.conn(conn).map(|conn| conn.wire) else { return };
        self.with_reader(|network, now, read| network.send(now, wire, Side::Acceptor, outgoing, read));
        if self.agenda.is_armed() {
            self.on_moment(Moment::Sent);
        }
    }

    fn set_reading(&mut self, conn: ConnId, reading: bool) {
        let Some(wire) = self.conn(conn).map(|conn| conn.wire) else { return };
        self.with_reader(|network, now, read| network.set_reading(now, wire, Side::Acceptor, reading, read));
    }

    fn with_reader(&mut self, act: impl FnOnce(&mut crate::network::Network, u64, crate::network::Reader<'_>)) {
        let disk = &mut self.node.disk;
        act(&mut self.network, self.now, &mut |_, ino, pos, len| disk.read_ino(ino, pos, len).bytes);
        self.count_disk();
    }

    fn issue(&mut self, op: OpId, operation: Operation) {
        self.follow_swap(&operation);
        let was_written = self.judge.logs.is_written();
        if let Some(change) = self.judge.logs.on_issue(op.0, &operation) {
            if let Change::Appended { log, batch, .. } = &change {
                self.judge_vote(log, batch.epoch);
                if !was_written {
                    self.judge_clean_mark(log);
                }
            }
            self.judge.changed(&change);
        }
        let kind = OperationKind::of(&operation);
        let reads = matches!(&operation, Operation::Action(action) if matches!(**action, FileAction::Read { .. }));
        self.node.disk.issue(self.now, op, operation);
        if self.agenda.is_armed() {
            self.on_moment(Moment::Issued(kind));
            let ready = self.node.process.as_ref().is_some_and(|process| process.ready);
            if reads && !ready {
                self.on_moment(Moment::Recovery);
            }
        }
    }

    /// A segment that compaction wrote takes the place of others.
    fn follow_swap(&mut self, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        let FileAction::Rename { from, to } = &**action else { return };
        if !from.name.ends_with(".log.cleaned") || !to.name.ends_with(".log.swap") {
            return;
        }
        let found = self.node.disk.files().into_iter().find(|(_, path, _)| **path == *from.name);
        let Some(bytes) = found.map(|(_, _, ino)| self.node.disk.peek(ino)) else { return };
        if let Some(log) = self.judge.logs.on_swap(&from.name, &bytes) {
            let partition = self.judge.history.partition(&log);
            self.judge.fact(&Fact::Compacted { partition });
            self.trace.event("swap", bytes.len() as u64);
        }
    }

    /// A file operation came to its end.
    pub(super) fn on_disk(&mut self) {
        let done = self.node.disk.step(self.now);
        self.count_disk();
        let Some(done) = done else { return };
        let failed = self.judge_completion(&done);
        let synced = done.sync;
        let io_error = matches!(done.result, DiskResult::Failed(DiskError::Io(_)));
        let Some(process) = &mut self.node.process else { return };
        if failed && !mem::replace(&mut process.failed, true) {
            let durable = self.judge.durable_acks;
            self.judge.history.power_lost(durable);
            self.judge.logs.on_loss(durable);
        }
        if io_error {
            process.read_failed |= !failed;
            self.call_operator(Due::Replace(self.node.boots));
        }
        let Some(process) = &mut self.node.process else { return };
        if let Some(job) = process.jobs.reads.remove(&done.op) {
            return self.resume_job(job, done.result);
        }
        process.inbox.push_back(Input::Disk { op: done.op, result: done.result });
        if synced && self.agenda.is_armed() {
            self.on_moment(Moment::SyncDone);
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
    fn judge_completion(&mut self, done: &Completed) -> bool {
        let failed = matches!(done.result, DiskResult::Failed(DiskError::Io(_)));
        let log = if done.sync {
            self.judge.logs.on_synced(done.op.0, matches!(done.result, DiskResult::Done))
        } else {
            done.file.and_then(|file| self.judge.logs.log_of(file).cloned())
        };
        if let Some(log) = log.filter(|_| failed)
            && let Some(followed) = self.judge.logs.get(&log).cloned()
        {
            self.judge.fact(&Fact::StorageFailed { log: &log, followed: &followed });
        }
        failed && (done.sync || done.file.is_some())
    }

    fn run_job(&mut self, id: JobId, mut job: Job, read: Option<Result<Bytes, ottla_core::machine::DiskError>>) {
        let Some(process) = &mut self.node.process else { return };
        match job.step(read) {
            Next::Read { file, pos, len } => {
                let op = process.jobs.next_read();
                process.jobs.reads.insert(op, id);
                process.jobs.running.insert(id, job);
                let action = FileAction::Read { file, pos, len };
                self.node.disk.issue(self.now, op, Operation::Action(Box::new(action)));
                if self.agenda.is_armed() {
                    self.on_moment(Moment::Recovery);
                }
            }
            Next::Write { file, pos, bytes } => {
                let op = process.jobs.next_read();
                process.jobs.reads.insert(op, id);
                process.jobs.running.insert(id, job);
                let write = Operation::Write { file, pos, head: bytes, rest: Bytes::new() };
                self.issue(op, write);
            }
            Next::Done(report) => process.inbox.push_back(Input::JobDone { job: id, report }),
        }
    }

    fn resume_job(&mut self, id: JobId, result: DiskResult) {
        let job = self.node.process.as_mut().and_then(|process| process.jobs.running.remove(&id));
        let Some(job) = job else { return };
        let read = match result {
            DiskResult::Bytes(bytes) => Ok(bytes),
            DiskResult::Failed(error) => Err(error),
            DiskResult::Done => Ok(Bytes::new()),
            DiskResult::Opened { .. } | DiskResult::Entries(_) | DiskResult::Space(_) => {
                unreachable!("a read answers with bytes and a write with nothing, or they fail")
            }
        };
        self.run_job(id, job, Some(read));
    }

    pub(super) fn on_accepted(&mut self, wire: Wire, from: Endpoint) {
        let Some(process) = &mut self.node.process else { return };
        let conn = process.conns.accept(wire);
        let last = match from {
            Endpoint::Client(id) | Endpoint::Node(id) => u8::try_from(id % 250).unwrap_or(0),
        };
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 10_000));
        let how = Opened::Accepted { listener: ListenerId(0), peer };
        process.inbox.push_back(Input::Opened { conn, how });
    }

    pub(super) fn on_node_bytes(&mut self, wire: Wire, bytes: Bytes) {
        let Some(process) = &mut self.node.process else { return };
        let Some(id) = process.conns.find(wire) else { return };
        let limit = process.conns.inflated_limit;
        let Some(conn) = process.conns.open.get_mut(&id) else { return };
        let mut frames = Vec::new();
        let good = conn.frames.push(bytes, &mut frames).is_ok();
        for frame in frames {
            process.inbox.push_back(match ingress(frame, limit) {
                Ok(request) => Input::Frame { conn: id, request },
                Err(why) => Input::Malformed { conn: id, why: Box::new(why) },
            });
        }
        if !good {
            // As the driver does: nothing after an impossible length can be trusted.
            self.with_reader(|network, now, read| network.close(now, wire, Side::Acceptor, read));
        }
    }

    pub(super) fn on_drained(&mut self, wire: Wire) {
        let Some(process) = &mut self.node.process else { return };
        if let Some(conn) = process.conns.find(wire) {
            process.inbox.push_back(Input::Drained { conn });
        }
    }

    pub(super) fn on_node_closed(&mut self, wire: Wire) {
        let Some(process) = &mut self.node.process else { return };
        if let Some(conn) = process.conns.close(wire) {
            process.inbox.push_back(Input::Closed { conn });
        }
    }

    /// It ended by itself: because it was asked to, or because it cannot start. Its operator starts it anew.
    fn on_stopped(&mut self) {
        self.trace.event("stopped", self.node.boots);
        let asked = self.node.process.as_ref().and_then(|process| process.stopping);
        self.end_process();
        match asked {
            Some(down) => self.agenda.add(self.now.saturating_add(down), Due::StartNode),
            None => self.call_operator(Due::StartNode),
        }
    }

    fn see_tuple(&mut self) {
        let Some(process) = &self.node.process else { return };
        let few = |count: usize| count.min(3) as u64;
        let owed: usize = process.conns.open.values().map(|conn| conn.owed.len()).sum();
        let bits = [
            u64::from(process.ready),
            u64::from(process.failed),
            few(owed),
            few(self.node.disk.in_flight()),
            few(process.jobs.running.len()),
            u64::from(self.node.disk.is_troubled()),
            u64::from(self.node.disk.has_unsynced()),
            self.node.boots.min(3),
            self.stage as u64,
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
