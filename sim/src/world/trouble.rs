//! Faults: what each does to the world, when it is over, and whether it landed.

use ottla_core::machine::Input;

use super::World;
use super::agenda::{Due, Moment};
use super::targets::concerns;
use crate::client::user::User;
use crate::disk::{Hit, Loss, PAGE};
use crate::draw::{Label, name_hash};
use crate::faults::{Class, ClockFault, ConnectionFault, DiskError, FailingOp, FullDisk, How, Rot, RotKind, SlowDisk};
use crate::logs::read_logs;
use crate::network::{self, Listening};
use crate::scenario::Action;
use crate::time::{MILLISECOND, Nanos, SECOND};

/// A clock that is right.
const RIGHT: u64 = 1_000_000;
/// A step of wall time by less than this crosses no deadline.
const NOTICEABLE_STEP_MS: i64 = 60_000;

impl World {
    /// Something happened that events wait for.
    pub(super) fn on_moment(&mut self, at: usize, moment: Moment) {
        let setting = std::sync::Arc::clone(&self.setting);
        let events = &setting.scenario.events;
        let leader = self.leader();
        while let Some(event) = self.agenda.on_moment(moment, |event| concerns(events[event].target, at, leader)) {
            let delay = events[event].when.delay;
            if delay == 0 {
                self.start_event(event, Some(at));
            } else {
                self.agenda.add(self.now.saturating_add(delay), Due::Start(event, Some(at)));
            }
        }
    }

    /// An event starts; its trigger went off at this node.
    pub(super) fn start_event(&mut self, index: usize, at: Option<usize>) {
        let setting = std::sync::Arc::clone(&self.setting);
        let event = &setting.scenario.events[index];
        let until = event.lasts.map_or(u64::MAX, |lasts| self.now.saturating_add(lasts));
        self.trace.event("event", index as u64);
        match &event.action {
            Action::Produce(_) | Action::Read(_) | Action::Admin(_) | Action::Raw(_) | Action::Groups(_) => {
                self.add_clients(&event.action, until);
                if until < u64::MAX {
                    self.agenda.add(until, Due::End(index, 0));
                }
            }
            Action::Connection(fault) => self.disturb_connections(fault, &event.name),
            Action::Restart(restart) => {
                for (turn, at) in (0..).zip(self.targets(event, at)) {
                    match restart.apart.0 * turn {
                        0 => self.strike(index, at, until),
                        later => self.agenda.add(self.now.saturating_add(later), Due::Strike(index, at)),
                    }
                }
            }
            Action::Kill(_)
            | Action::PowerLoss(_)
            | Action::Pause(_)
            | Action::SlowDisk(_)
            | Action::FullDisk(_)
            | Action::DiskError(_)
            | Action::Rot(_)
            | Action::Clock(_)
            | Action::Cut(_)
            | Action::Wipe(_)
            | Action::Compacted(_) => {
                for at in self.targets(event, at) {
                    self.strike(index, at, until);
                }
            }
        }
    }

    /// A node meets a fault.
    pub(super) fn strike(&mut self, index: usize, at: usize, until: Nanos) {
        let setting = std::sync::Arc::clone(&self.setting);
        let event = &setting.scenario.events[index];
        match &event.action {
            Action::Kill(_) | Action::PowerLoss(_) | Action::Restart(_) if !self.may_go_down(at) => return,
            Action::Kill(kill) => self.kill(at, kill.down.0),
            Action::PowerLoss(loss) => self.lose_power(at, loss.down.0),
            Action::Restart(restart) => self.shut_down(at, restart.grace.0, restart.down.0),
            Action::Pause(_) => self.pause(at, until),
            Action::SlowDisk(slow) => self.slow_disk(at, slow, until),
            Action::FullDisk(full) => self.fill_disk(at, full),
            Action::DiskError(error) => self.arm_error(at, error),
            Action::Rot(rot) => self.rot(at, rot, &event.name),
            Action::Clock(fault) => self.disturb_clock(at, fault, until),
            Action::Cut(cut) => self.cut(at, cut, &event.name, until),
            Action::Wipe(wipe) => self.wipe(at, wipe.down.0),
            Action::Compacted(compacted) => self.inherit(at, compacted),
            Action::Produce(_)
            | Action::Read(_)
            | Action::Admin(_)
            | Action::Raw(_)
            | Action::Groups(_)
            | Action::Connection(_) => (),
        }
        if until < u64::MAX {
            self.agenda.add(until, Due::End(index, at));
        }
    }

    /// An event is over.
    pub(super) fn end_event(&mut self, index: usize, at: usize) {
        let setting = std::sync::Arc::clone(&self.setting);
        let action = &setting.scenario.events[index].action;
        if let Action::SlowDisk(_) = action {
            self.nodes[at].disk.faults.slow_down(1);
        } else if let Action::FullDisk(_) = action {
            self.empty_disk(at);
        } else if let Action::Clock(fault) = action
            && fault.rate_ppm.is_some()
        {
            self.set_rate(at, RIGHT);
        }
    }

    /// The process dies.
    pub(super) fn kill(&mut self, at: usize, down: Nanos) {
        self.dose.give(Class::Kill);
        if self.is_at_work(at) {
            self.dose.land(Class::Kill);
        }
        if self.nodes[at].process.is_some() {
            self.trace.event("kill", self.nodes[at].occurrence(self.nodes[at].boots));
            self.end_process(at);
        }
        self.agenda.add(self.now.saturating_add(down), Due::StartNode(at));
    }

    /// The process is no more, however it ended. Its machine stays up.
    pub(super) fn end_process(&mut self, at: usize) {
        self.judge_alarms(at);
        self.note_failure(at);
        self.nodes[at].process = None;
        self.note_split();
        self.nodes[at].paused_until = 0;
        // The next start looks past what memory shows of a failed sync.
        let evict = std::mem::take(&mut self.nodes[at].evict) || self.nodes[at].disk.has_failed_to_sync();
        self.nodes[at].disk.kill();
        if evict {
            self.nodes[at].disk.evict();
        }
        self.network.kill(self.now, self.nodes[at].endpoint());
        self.network.listen(self.nodes[at].endpoint(), Listening::Refused);
        let images = read_logs(&self.nodes[at].disk);
        self.judge.logs[at].on_crash(&images, None);
        self.note_deleted(at);
        self.judge_claims(at, &images);
    }

    /// What a failed sync left in memory the next start does not trust; the process may have died before it heard.
    fn note_failure(&mut self, at: usize) {
        if self.nodes[at].disk.has_failed_to_sync() {
            self.judge.on_loss(at);
        }
    }

    /// The power goes.
    pub(super) fn lose_power(&mut self, at: usize, down: Nanos) {
        self.dose.give(Class::PowerLoss);
        self.judge_alarms(at);
        self.nodes[at].process = None;
        self.note_split();
        self.nodes[at].paused_until = 0;
        self.nodes[at].rebooting = true;
        let loss: Loss = self.nodes[at].disk.lose_power();
        if loss.landed() {
            self.dose.land(Class::PowerLoss);
        }
        self.trace.event("power loss", u64::from(loss.pages + loss.torn + loss.sizes + loss.names));
        self.network.lose_power(self.nodes[at].endpoint());
        self.network.listen(self.nodes[at].endpoint(), Listening::Dead);
        let durable = self.judge.durable_acks;
        self.judge.history.power_lost(durable);
        let images = read_logs(&self.nodes[at].disk);
        self.judge.logs[at].on_crash(&images, Some(durable));
        self.note_deleted(at);
        self.judge_claims(at, &images);
        if self.trace.is_digesting() {
            self.digest(at);
        }
        self.agenda.add(self.now.saturating_add(down), Due::StartNode(at));
    }

    fn shut_down(&mut self, at: usize, grace: Nanos, down: Nanos) {
        self.dose.give(Class::Restart);
        let at_work = self.is_at_work(at);
        let boot = self.nodes[at].boots;
        let Some(process) = &mut self.nodes[at].process else { return };
        process.inbox.push_back(Input::Shutdown);
        process.stopping = Some(down);
        self.agenda.add(self.now.saturating_add(grace), Due::GraceOver(at, boot));
        if at_work {
            self.dose.land(Class::Restart);
        }
    }

    /// Who did not stop in time is killed.
    pub(super) fn grace_over(&mut self, at: usize, boot: u64) {
        let Some(process) = self.nodes[at].process.as_ref().filter(|_| self.nodes[at].boots == boot) else { return };
        let down = process.stopping.unwrap_or(0);
        self.trace.event("grace is over", boot);
        self.end_process(at);
        self.agenda.add(self.now.saturating_add(down), Due::StartNode(at));
    }

    /// A process of which something is out of service is started anew, if it is still the same.
    pub(super) fn replace(&mut self, at: usize, boot: u64) {
        let process = self.nodes[at].process.as_ref().filter(|process| process.is_out_of_service());
        if process.is_some() && self.nodes[at].boots == boot {
            self.trace.event("replaced", boot);
            self.end_process(at);
            self.start_node(at);
        }
    }

    fn pause(&mut self, at: usize, until: Nanos) {
        self.dose.give(Class::Pause);
        let until = until.min(self.now + 60 * SECOND);
        let Some(process) = &self.nodes[at].process else { return };
        let client = self.clients.iter().filter_map(User::request_deadline).min();
        if process.deadline.into_iter().chain(client).any(|deadline| deadline < until) {
            self.dose.land(Class::Pause);
        }
        self.nodes[at].paused_until = self.nodes[at].paused_until.max(until);
    }

    fn slow_disk(&mut self, at: usize, slow: &SlowDisk, until: Nanos) {
        self.dose.give(Class::SlowDisk);
        if slow.stall {
            self.nodes[at].disk.faults.stall(until.min(self.now + 60 * SECOND));
        } else {
            self.nodes[at].disk.faults.slow_down(slow.factor);
        }
    }

    fn fill_disk(&mut self, at: usize, full: &FullDisk) {
        self.dose.give(Class::FullDisk);
        match full.writes {
            Some(writes) => self.nodes[at].disk.faults.arm_full(writes),
            None => self.nodes[at].disk.set_free_space(full.free),
        }
    }

    fn empty_disk(&mut self, at: usize) {
        self.nodes[at].disk.faults.arm_full(0);
        self.nodes[at].disk.set_free_space(u64::MAX);
    }

    fn arm_error(&mut self, at: usize, error: &DiskError) {
        self.dose.give(FailingOp::class(error.op.kind()));
        self.nodes[at].disk.faults.arm_errors(error.op.kind(), error.count);
    }

    /// Bits of replicas flip on fewer nodes than must be in sync (P5).
    fn rot(&mut self, at: usize, rot: &Rot, name: &str) {
        let replicated = self.nodes.len() > 1;
        if replicated && !self.may_lose_disk(at) {
            return;
        }
        if rot.kind != RotKind::None {
            self.dose.give(Class::Rot);
        }
        match rot.kind {
            RotKind::Bit => {
                for turn in 0..u64::from(rot.count) {
                    let wanted = |path: &str| path.starts_with(&rot.under) && path.ends_with(&rot.file);
                    let hit = self.nodes[at].disk.rot(name_hash(name) ^ turn, wanted);
                    if let Some((ino, path)) = hit {
                        self.trace.event("rot", u64::from(ino));
                        self.judge.logs[at].damage(&path, replicated);
                        if replicated {
                            self.judge.replicated.rotten.insert(at);
                        }
                    }
                }
            }
            RotKind::LostWrite => self.nodes[at].disk.faults.arm_lost_writes(rot.count),
            RotKind::MisdirectedWrite => self.nodes[at].disk.faults.arm_misdirected_writes(rot.count),
            RotKind::None => (),
        }
        // What a process wrote or has checked it sends without another look, as sendfile does: what rots under it
        // is for the next process to find.
        if rot.evict && rot.kind == RotKind::None && !self.judge.logs[at].rotten {
            self.nodes[at].disk.evict();
        } else {
            self.nodes[at].evict |= rot.evict;
        }
    }

    fn disturb_clock(&mut self, at: usize, fault: &ClockFault, until: Nanos) {
        self.dose.give(Class::Clock);
        if fault.step_ms != 0 {
            let by = if fault.back { -fault.step_ms } else { fault.step_ms };
            self.nodes[at].clock.step_wall(by);
            self.judge.groups.clocks.stepped += by.unsigned_abs() * MILLISECOND;
            if by.abs() >= NOTICEABLE_STEP_MS && self.nodes[at].process.is_some() {
                self.dose.land(Class::Clock);
            }
        }
        if let Some(rate) = fault.rate_ppm {
            let right = self.deadline(at);
            self.set_rate(at, rate);
            let crossed = |due: Option<Nanos>| due.is_some_and(|due| self.now < due && due <= until);
            // It fires before its time, or does not when its time comes.
            if right != self.deadline(at) && (crossed(right) || crossed(self.deadline(at))) {
                self.dose.land(Class::Clock);
            }
        }
    }

    fn deadline(&self, at: usize) -> Option<Nanos> {
        self.nodes[at].process.as_ref().and_then(|process| process.deadline)
    }

    pub(super) fn set_rate(&mut self, at: usize, rate: u64) {
        self.nodes[at].clock.set_rate(self.now, rate);
        self.nodes[at].refresh_deadline(self.now);
    }

    fn disturb_connections(&mut self, fault: &ConnectionFault, name: &str) {
        self.dose.give(if fault.how == How::Reset { Class::Reset } else { Class::Hang });
        let wires = self.network.wires();
        let always = self.draws.named(Label::Event, name, 0).index(wires.len().max(1));
        for (index, wire) in wires.into_iter().enumerate() {
            let draw = self.draws.named(Label::Event, name, 1 + index as u64);
            if index == always || draw.below(100) < u64::from(fault.share) {
                match fault.how {
                    How::Reset => self.network.reset(self.now, wire),
                    How::Hang => self.network.hang(wire),
                }
            }
        }
        self.count_network();
    }

    /// Whether a process runs that has something in flight: a file operation, or a request without an answer.
    fn is_at_work(&self, at: usize) -> bool {
        let owed = || self.clients.iter().any(|client| client.in_flight() > 0);
        self.nodes[at].process.is_some() && (self.nodes[at].disk.in_flight() > 0 || owed())
    }

    /// What the network's faults ran into.
    pub(super) fn count_network(&mut self) {
        for hit in self.network.take_hits() {
            self.dose.land(match hit {
                network::Hit::Cut => Class::Cut,
                network::Hit::Reset => Class::Reset,
                network::Hit::Hang => Class::Hang,
            });
        }
    }

    /// What the disk's faults ran into.
    pub(super) fn count_disk(&mut self, at: usize) {
        if !self.nodes[at].disk.faults.has_hits() {
            return;
        }
        let hits: Vec<Hit> = self.nodes[at].disk.faults.take_hits().collect();
        for hit in hits {
            match hit {
                Hit::Error(kind) => self.dose.land(FailingOp::class(kind)),
                Hit::NoSpace => self.dose.land(Class::FullDisk),
                Hit::Slow => self.dose.land(Class::SlowDisk),
                Hit::RotRead => self.dose.land(Class::Rot),
                Hit::SentGoneBad(ino, page) => {
                    let files = self.nodes[at].disk.files();
                    if let Some((_, path, _)) = files.iter().find(|(_, _, other)| *other == ino) {
                        self.judge.logs[at].excuse(path, (page * PAGE) as u64..((page + 1) * PAGE) as u64);
                    }
                }
                Hit::LostWrite(ino) | Hit::Misdirected(ino) => {
                    let files = self.nodes[at].disk.files();
                    if let Some((_, path, _)) = files.iter().find(|(_, _, other)| *other == ino) {
                        self.judge.logs[at].damage_by_write(path);
                    }
                }
            }
        }
    }
}
