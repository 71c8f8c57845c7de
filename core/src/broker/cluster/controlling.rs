//! The controller: what the leader of the metadata quorum decides about brokers and their partitions.
//!
//! A broker that is silent for `broker.session.timeout.ms` is fenced. Sessions are soft: a new controller gives every
//! broker a whole one. Who hangs up, or was the controller before, has a quarter of it left to show itself: a process
//! that dies closes its connections, and one that lives comes back at once. Safety does not rest on sessions (promise
//! P8): a fenced broker that thinks it leads can commit nothing without an ISR that no longer counts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::{ErrorCode, Uuid};

use super::placing::MOST_PLACES;
use super::{Heartbeat, Standing};
use crate::broker::admin::Answered;
use crate::broker::{Broker, Outcome};
use crate::clock::{Instant, Now};
use crate::controller::{self, Assignment, Change, IsrProposal, MetadataImage, Registration};
use crate::machine::{ConnId, Effects, Level, Ticket};
use crate::planted::Plant;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

/// Who is alive, as the controller sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    /// The quorum's epoch that they are of.
    epoch: LeaderEpoch,
    until: BTreeMap<BrokerId, Instant>,
    /// Who speaks on which connection.
    conns: BTreeMap<ConnId, BrokerId>,
    /// The controller before, as long as this node is none.
    before: Option<BrokerId>,
}

/// Who is probably gone has this part of its session left.
const HASTE: u32 = 4;

impl Broker {
    /// A broker asks to be registered.
    pub fn register_broker(&mut self, now: Now, ticket: Ticket, registration: Registration, out: &mut Effects) {
        let id = registration.id;
        let Some(place) = self.metadata_end().filter(|_| self.is_controller()) else {
            return self.release_admin(ticket, Answered::Registered(Err(ErrorCode::NOT_CONTROLLER)));
        };
        let image = self.metadata.controller.speculative();
        let unclean = controller::may_have_lost(image, &registration);
        match controller::register(image, &self.config, registration, place) {
            Err(refused) => self.release_admin(ticket, Answered::Registered(Err(refused.code))),
            Ok(decision) => {
                if !decision.changes.is_empty() {
                    let (level, but) =
                        if unclean { (Level::Warn, "; it may have lost records") } else { (Level::Info, "") };
                    out.note(level, format!("broker {} is registered{but}", id.0));
                }
                self.touch(now, id, ticket.conn);
                self.commit(now, ticket, decision.changes, Answered::Registered(Ok(decision.answer)), out);
            }
        }
    }

    /// An operator has a broker forgotten.
    pub fn unregister_broker(&mut self, now: Now, ticket: Ticket, id: BrokerId, out: &mut Effects) {
        let image = self.metadata.controller.speculative();
        let decided = controller::unregister(image, &self.config, id);
        let (changes, answer) = match decided {
            Ok(changes) => (changes, Ok(())),
            Err(refused) => (Vec::new(), Err(refused)),
        };
        self.commit(now, ticket, changes, Answered::Unregistered(answer), out);
    }

    /// A broker says how it is.
    pub fn heartbeat_of_broker(&mut self, now: Now, ticket: Ticket, heartbeat: Heartbeat, out: &mut Effects) {
        let (id, epoch) = heartbeat.sender;
        if let Err(error) = self.check_sender(id, epoch) {
            return self.release_admin(ticket, Answered::Alive(Err(error)));
        }
        self.touch(now, id, ticket.conn);
        let (standing, changes) = self.judge_heartbeat(&heartbeat);
        if changes.is_empty() {
            // A quorum that commits slowly must not make a broker look silent that waits for its answer.
            return self.release_admin(ticket, Answered::Alive(Ok(standing)));
        }
        self.commit(now, ticket, changes, Answered::Alive(Ok(standing)), out);
    }

    fn judge_heartbeat(&self, heartbeat: &Heartbeat) -> (Standing, Vec<Change>) {
        let (id, epoch) = heartbeat.sender;
        let (image, config) = (self.metadata.controller.speculative(), &self.config);
        let caught_up = heartbeat.metadata.0 > epoch.0;
        let fenced = image.broker(id).is_none_or(|broker| broker.fenced);
        let may_stop = heartbeat.wants_shutdown && controller::has_left(self.image(), id);
        let changes = if heartbeat.wants_shutdown {
            controller::begin_shutdown(image, config, id)
        } else if heartbeat.wants_fence {
            controller::fence(image, config, id)
        } else if fenced && caught_up {
            controller::unfence(image, config, id)
        } else {
            Vec::new()
        };
        let fenced = heartbeat.wants_fence || fenced && !caught_up;
        (Standing { caught_up, fenced, may_stop }, changes)
    }

    /// A leader asks for other in-sync replicas.
    pub fn alter_partitions(
        &mut self,
        now: Now,
        ticket: Ticket,
        (sender, epoch): (BrokerId, BrokerEpoch),
        proposals: &[IsrProposal],
        out: &mut Effects,
    ) {
        if let Err(error) = self.check_sender(sender, epoch) {
            return self.release_admin(ticket, Answered::AlteredPartitions(Err(error)));
        }
        let mut changes = Vec::new();
        let decide = |proposal: &IsrProposal| {
            let decided = self.decide_isr(sender, proposal);
            let error = decided.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
            changes.extend(decided.ok());
            (proposal.topic_id, proposal.partition, error)
        };
        let answers: Vec<(Uuid, i32, ErrorCode)> = proposals.iter().map(decide).collect();
        self.commit(now, ticket, changes, Answered::AlteredPartitions(Ok(answers)), out);
    }

    /// A broker says where its replicas lie.
    pub fn assign_replicas(
        &mut self,
        now: Now,
        ticket: Ticket,
        (sender, epoch): (BrokerId, BrokerEpoch),
        assignments: &[Assignment],
        out: &mut Effects,
    ) {
        if let Err(error) = self.check_sender(sender, epoch) {
            return self.release_admin(ticket, Answered::Assigned(Err(error)));
        }
        let mut known = BTreeSet::new();
        let once = assignments.iter().all(|it| known.insert((it.topic_id, it.partition)));
        if !once || assignments.len() > MOST_PLACES {
            return self.release_admin(ticket, Answered::Assigned(Err(ErrorCode::INVALID_REQUEST)));
        }
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        for (assignment, decided) in self.decide_places(sender, assignments) {
            answers.push((assignment, decided.as_ref().err().copied().unwrap_or(ErrorCode::NONE)));
            changes.extend(decided.ok().flatten());
        }
        self.commit(now, ticket, changes, Answered::Assigned(Ok(answers)), out);
    }

    pub(super) fn decide_places(
        &self,
        sender: BrokerId,
        assignments: &[Assignment],
    ) -> Vec<(Assignment, Result<Option<Change>, ErrorCode>)> {
        let image = self.metadata.controller.speculative();
        let decide =
            |it: &Assignment| controller::assign(image, &self.config, sender, it).map_err(|refused| refused.code);
        assignments.iter().map(|it| (*it, decide(it))).collect()
    }

    pub(super) fn decide_isr(&self, leader: BrokerId, proposal: &IsrProposal) -> Result<Change, ErrorCode> {
        let image = self.metadata.controller.speculative();
        controller::alter_partition(image, &self.config, leader, proposal).map_err(|refused| refused.code)
    }

    /// A broker asks for a block of producer ids.
    pub fn allocate_for(
        &mut self,
        now: Now,
        ticket: Ticket,
        (sender, epoch): (BrokerId, BrokerEpoch),
        out: &mut Effects,
    ) {
        if let Err(error) = self.check_sender(sender, epoch) {
            return self.release_admin(ticket, Answered::ProducerIdBlock(Err(error)));
        }
        let decision = controller::allocate(self.metadata.controller.speculative(), sender, epoch);
        self.commit(now, ticket, decision.changes, Answered::ProducerIdBlock(Ok(decision.answer)), out);
    }

    /// Whether this node is the controller, and who asks it is registered as it says.
    fn check_sender(&self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), ErrorCode> {
        if !self.is_controller() {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        let known = self.metadata.controller.speculative().broker(id).ok_or(ErrorCode::BROKER_ID_NOT_REGISTERED)?;
        if known.epoch == epoch { Ok(()) } else { Err(ErrorCode::STALE_BROKER_EPOCH) }
    }

    fn touch(&mut self, now: Now, id: BrokerId, conn: ConnId) {
        let until = now.monotonic + self.session_timeout();
        let sessions = &mut self.cluster.sessions;
        sessions.until.insert(id, until);
        sessions.conns.retain(|_, other| *other != id);
        sessions.conns.insert(conn, id);
    }

    /// A connection is gone, perhaps with the broker that spoke on it.
    pub(in crate::broker) fn hasten_session(&mut self, now: Now, conn: ConnId) {
        let until = now.monotonic + self.session_timeout() / HASTE;
        let sessions = &mut self.cluster.sessions;
        if let Some(id) = sessions.conns.remove(&conn)
            && let Some(session) = sessions.until.get_mut(&id)
        {
            *session = until.min(*session);
        }
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.config.broker.sessions.session_timeout_ms)
    }

    /// Fences who was silent for too long, and keeps this node itself in service.
    pub(super) fn attend_to_sessions(&mut self, now: Now, out: &mut Effects) -> bool {
        let Some(raft) = self.metadata.raft() else { return false };
        if !raft.is_leader() {
            self.cluster.sessions.before = raft.leader().or(self.cluster.sessions.before);
            return false;
        }
        if self.cluster.sessions.epoch != raft.epoch() {
            let soon = now.monotonic + self.session_timeout() / HASTE;
            let until = self.cluster.sessions.before.map(|before| (before, soon)).into_iter().collect();
            self.cluster.sessions = Sessions { epoch: raft.epoch(), until, ..Sessions::default() };
        }
        // After a pause everyone seems to have been silent: first the quorum says whether this node still leads it.
        if raft.next_deadline().is_some_and(|due| due <= now.monotonic) {
            return false;
        }
        let node = self.node();
        let timeout = self.session_timeout();
        let image = self.metadata.controller.speculative();
        let (mut changes, mut silent) = (Vec::new(), Vec::new());
        for (id, _) in image.brokers().filter(|(id, broker)| *id != node && !broker.fenced) {
            let until = *self.cluster.sessions.until.entry(id).or_insert(now.monotonic + timeout);
            let one = changes.is_empty() || self.config.planted.has(Plant::Raft29);
            if until <= now.monotonic && one {
                silent.push(id);
                changes.extend(controller::fence(image, &self.config, id));
            }
        }
        if changes.is_empty() && self.is_fenced_by_mistake(image) {
            changes = controller::unfence(image, &self.config, node);
        }
        if changes.is_empty() {
            return self.register_anew(now, out);
        }
        let appended = self.append_changes(now, changes, out).is_some();
        if appended {
            let note = |id: BrokerId| format!("broker {} is silent: it is fenced", id.0);
            silent.into_iter().for_each(|id| out.note(Level::Warn, note(id)));
        } else {
            // A log that takes nothing will not take it at once either: there is room later, or another leader.
            let later = now.monotonic + self.retry_backoff();
            self.cluster.sessions.until.values_mut().for_each(|until| *until = later.max(*until));
        }
        appended
    }

    /// Whether this process is registered and out of service, though it leads the quorum and so knows everything.
    fn is_fenced_by_mistake(&self, image: &MetadataImage) -> bool {
        let own = image.broker(self.node()).filter(|own| own.fenced && !own.shutting_down);
        own.is_some_and(|own| Some(own.epoch) == self.metadata.broker_epoch())
    }

    pub(super) fn sessions_deadline(&self) -> Option<Instant> {
        if !self.metadata.raft().is_some_and(crate::raft::Raft::is_leader) {
            return None;
        }
        let image = self.metadata.controller.speculative();
        let in_service = |id: &BrokerId| *id != self.node() && image.broker(*id).is_some_and(|broker| !broker.fenced);
        self.cluster.sessions.until.iter().filter(|(id, _)| in_service(id)).map(|(_, until)| *until).min()
    }

    /// Where the metadata log ends.
    pub(super) fn metadata_end(&self) -> Option<Offset> {
        Some(self.logs.offsets(self.metadata.log()?)?.log_end)
    }

    fn release_admin(&mut self, ticket: Ticket, answered: Answered) {
        self.release(ticket, Outcome::Admin(Box::new(answered)));
    }
}
