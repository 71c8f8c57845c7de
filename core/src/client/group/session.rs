//! Staying in the group, and leaving it: heartbeats, the time between polls, LeaveGroup.

use ottla_wire::ErrorCode;
use ottla_wire::api::heartbeat::HeartbeatRequest;
use ottla_wire::api::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::api::{Request, Response};

use crate::clock::Instant;
use crate::rpc::{Answer, CallId, Lane, RpcError};

use super::super::boundary::{ClientError, Event, GroupEvent};
use super::super::reader::Reader;
use super::super::turn::Turn;
use super::commits::Order;
use super::{Group, Identity, Phase, Rules, blames_coordinator, places};

#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeat {
    call: Option<CallId>,
    next_at: Instant,
    /// When the coordinator last said that it knows us.
    heard_at: Instant,
    failures: u32,
}

/// The way out.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    endings: Vec<Ending>,
    /// What is not done by then is left undone.
    until: Instant,
    call: Option<CallId>,
}

/// What the program asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Unsubscribe { token: u64 },
    Close { token: u64 },
}

impl Heartbeat {
    /// A generation begins.
    pub(super) fn begin(&mut self, now: Instant, rules: &Rules) {
        *self = Self { call: None, next_at: now + rules.heartbeat_interval, heard_at: now, failures: 0 };
    }

    /// What is in flight is of the generation that ends.
    pub(super) fn end(&mut self) {
        self.call = None;
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.call == Some(call)
    }
}

impl Leaving {
    pub(super) fn owns(&self, call: CallId) -> bool {
        self.call == Some(call)
    }
}

impl Group {
    /// Sends a heartbeat, if one is due.
    pub(super) fn beat(&mut self, turn: &mut Turn<'_>) {
        let lives = matches!(
            self.phase,
            Phase::Preparing { .. } | Phase::SharingOut(_) | Phase::Syncing { .. } | Phase::Stable { .. }
        );
        if !lives || !self.identity.is_member() {
            return;
        }
        let now = turn.at();
        if self.heartbeat.heard_at + self.rules.session_timeout <= now {
            // Whoever does not answer is not the coordinator any more; the true one will say whether we are members.
            self.coordinator.lose();
            self.heartbeat = Heartbeat { call: None, heard_at: now, ..self.heartbeat };
        }
        turn.wake.by(self.heartbeat.heard_at + self.rules.session_timeout);
        if self.heartbeat.call.is_some() {
            return;
        }
        if self.heartbeat.next_at > now {
            return turn.wake.by(self.heartbeat.next_at);
        }
        let Some(route) = self.coordinator.route(Lane::Group, &self.rules, turn) else { return };
        let request = Request::from(HeartbeatRequest {
            group_id: &self.rules.group_id,
            generation_id: self.identity.generation,
            member_id: &self.identity.member_id,
            group_instance_id: self.rules.instance_id.as_deref(),
        });
        self.heartbeat.next_at = now + self.rules.heartbeat_interval;
        match turn.pool.send(now, route, (&request, i16::MAX), turn.sink) {
            Ok(call) => self.heartbeat.call = Some(call),
            Err(_) => turn.wake.by(self.heartbeat.next_at),
        }
    }

    pub(super) fn on_beat(&mut self, result: Result<&Answer, RpcError>, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.heartbeat.call = None;
        let code = match result.map(Answer::decode) {
            Ok(Ok(Response::Heartbeat(response))) => response.error_code,
            Ok(_) | Err(_) => ErrorCode::NOT_COORDINATOR,
        };
        match code {
            ErrorCode::NONE => {
                self.heartbeat.heard_at = turn.at();
                self.heartbeat.failures = 0;
            }
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.heartbeat.heard_at = turn.at();
                // Before it is stable the answer to SyncGroup says the same.
                self.rejoin |= matches!(self.phase, Phase::Stable { .. });
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => self.become_unknown(code, reader, turn),
            code if code.is_retriable() => {
                if blames_coordinator(code) {
                    self.coordinator.lose();
                }
                self.heartbeat.failures += 1;
                let delay = self.rules.backoff.delay(self.heartbeat.failures, turn.rng);
                self.heartbeat.next_at = turn.now.monotonic + delay;
            }
            code => self.fail(ClientError::Broker(code), reader, turn),
        }
    }

    /// A program that does not poll, or does not release what it has to give up, keeps others from reading: the
    /// member leaves, and comes again with the next poll.
    pub(super) fn watch_polls(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        let now = turn.at();
        if reader.is_polling() {
            self.polls.last_at = now;
        }
        // While others join, nothing waits for the program.
        if !self.identity.is_member() || matches!(self.phase, Phase::Joining { .. } | Phase::Leaving(_)) {
            return;
        }
        let waits = self.handover.as_ref().and_then(|handover| handover.awaited_until());
        let until = (self.polls.last_at + self.rules.max_poll_interval).min(waits.unwrap_or(Instant(u64::MAX)));
        if until > now {
            return turn.wake.by(until);
        }
        if (self.rules.instance_id.is_none() || self.rules.is_served())
            && let Some(route) = self.coordinator.route(Lane::Group, &self.rules, turn)
        {
            // Nobody waits for the answer: if it is lost the session ends all the same.
            let _call = self.send_leave(route, turn);
        }
        self.lose(reader, turn);
        self.identity.generation = -1;
        if !self.rules.is_served() {
            self.identity = Identity::none();
        }
        self.phase = Phase::Preparing { begun: false };
    }

    /// The program wants to leave.
    pub(super) fn leave(&mut self, ending: Ending, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.wanted = None;
        if let Phase::Leaving(leaving) = &mut self.phase {
            return leaving.endings.push(ending);
        }
        let until = turn.at() + self.rules.request_timeout;
        if self.rules.auto_commit.is_some() && self.identity.is_member() {
            let positions = self.uncommitted(places(self.owned.iter(), reader));
            let order = Order { token: None, positions, retry: true };
            self.commits.add(order, self.identity.clone(), until, turn.events);
        }
        self.owned.iter().for_each(|partition| reader.hold(partition.clone()));
        // What is held is released by this.
        self.handover = None;
        self.phase = Phase::Leaving(Leaving { endings: vec![ending], until, call: None });
    }

    /// Goes on leaving. Whether that is over.
    pub(super) fn go(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) -> bool {
        let Phase::Leaving(leaving) = &self.phase else { return false };
        let now = turn.at();
        // Where the coordinator shares out, a member has an id from its first heartbeat on: that may be on its way.
        let goes = self.rules.instance_id.is_none() || self.rules.is_served();
        let knows = !self.identity.member_id.is_empty() && goes;
        if leaving.until <= now || (!knows && self.commits.is_idle()) {
            // A commit took all the time. Nobody waits for the answer, but the others need not wait for the session.
            if knows
                && leaving.call.is_none()
                && let Some(route) = self.coordinator.route(Lane::Group, &self.rules, turn)
            {
                let _call = self.send_leave(route, turn);
            }
            self.gone(reader, turn);
            return true;
        }
        turn.wake.by(leaving.until);
        if leaving.call.is_some() || !self.commits.is_idle() {
            return false;
        }
        let Some(route) = self.coordinator.route(Lane::Group, &self.rules, turn) else { return false };
        let sent = self.send_leave(route, turn);
        let Phase::Leaving(leaving) = &mut self.phase else { return false };
        match sent {
            Ok(call) => leaving.call = Some(call),
            Err(_) => leaving.until = now,
        }
        sent.is_err()
    }

    fn send_leave(&mut self, route: crate::rpc::Route, turn: &mut Turn<'_>) -> Result<CallId, RpcError> {
        if self.rules.is_served() {
            return self.send_leave_served(route, turn);
        }
        let member_id = &*self.identity.member_id;
        let request = Request::from(LeaveGroupRequest {
            group_id: &self.rules.group_id,
            member_id,
            members: vec![MemberIdentity { member_id, ..MemberIdentity::default() }],
        });
        turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink)
    }

    /// The member is out, as far as can be told.
    pub(super) fn gone(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        let Phase::Leaving(leaving) = std::mem::replace(&mut self.phase, Phase::Out) else { return };
        self.drop_all(reader);
        self.identity = Identity::none();
        for ending in leaving.endings {
            end(ending, reader, turn);
        }
        if self.wanted.is_some() {
            self.enter(turn.at());
        }
    }

    /// Without a group there is nothing to leave.
    pub(super) fn leave_at_once(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.gone(reader, turn);
    }
}

fn end(ending: Ending, reader: &mut Reader, turn: &mut Turn<'_>) {
    turn.events.push(match ending {
        Ending::Unsubscribe { token } => Event::Group(GroupEvent::Unsubscribed { token }),
        Ending::Close { token } => {
            reader.unassign_all();
            Event::Group(GroupEvent::Closed { token })
        }
    });
}
