//! This node as a broker among others: what it asks them, and what it is asked as the controller.
//!
//! * [`lifecycle`]: it is registered, says that it is alive, comes into service
//! * [`controlling`]: what the leader of the metadata quorum decides about brokers and partitions; [`moving`]: by an
//!   operator's word
//! * [`placing`]: in which directories its replicas lie, and what becomes of damaged ones
//! * [`following`]: it fetches what others lead; [`in_sync`]: who keeps up with what it leads
//! * [`forwarding`]: what only the controller can do, asked by a client of this node
//!
//! Everything here is driven by state: at the end of each step [`Broker::attend`] looks at what is due, and asks. A
//! call that fails is due again a little later. So nothing has to be remembered across a change of the controller.

mod controlling;
mod following;
mod forwarding;
mod in_sync;
mod lifecycle;
mod moving;
mod placing;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

pub use self::following::{FetchFrom, FetchedFrom};
pub use self::in_sync::Follower;
use super::Broker;
use crate::clock::{Instant, Now};
use crate::controller::{Assignment, IsrProposal, NewTopic, Registration};
use crate::ingress;
use crate::log::LogId;
use crate::machine::Effects;
use crate::types::{BrokerEpoch, BrokerId, Offset};

/// One call of this broker's. Counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerCallId(pub u64);

/// Something to be asked. It ends in exactly one call of [`Broker::on_peer_answer`].
#[derive(Clone, Debug)]
pub struct PeerCall {
    /// Which one.
    pub id: PeerCallId,
    /// Whom.
    pub to: To,
    /// What.
    pub ask: Ask,
}

/// Whom a broker asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The controller, on this node.
    Controller(BrokerId),
    /// This broker.
    Broker(BrokerId),
    /// Any of `controller.quorum.bootstrap.servers`, another each time: the count of such calls.
    Anyone(u64),
}

/// What a broker asks another.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A node of a cluster that it is to join: which cluster that is.
    DescribeCluster,
    /// The controller: to be registered.
    Register(Registration),
    /// The controller: whether it is in service.
    Heartbeat(Heartbeat),
    /// The controller: for other in-sync replicas.
    AlterPartitions {
        /// Who asks, in which registration.
        sender: (BrokerId, BrokerEpoch),
        /// For each partition.
        proposals: Vec<IsrProposal>,
    },
    /// The controller: to know where replicas lie.
    AssignReplicas {
        /// Who says so, in which registration.
        sender: (BrokerId, BrokerEpoch),
        /// For each replica.
        assignments: Vec<Assignment>,
    },
    /// The controller: for a block of producer ids.
    AllocateProducerIds {
        /// Who asks, in which registration.
        sender: (BrokerId, BrokerEpoch),
    },
    /// The controller: what this broker needs itself.
    CreateTopics(Vec<NewTopic>),
    /// The controller: what a client wants.
    Forward {
        /// As it came.
        request: ingress::Request,
        /// How long the client is kept waiting.
        until: Instant,
    },
    /// A leader: for records.
    Fetch {
        /// Of these partitions.
        partitions: Vec<FetchFrom>,
        /// How many fetches in a row before it were not answered in their time.
        timeouts: u32,
    },
}

/// What was answered.
#[derive(Clone, Debug)]
pub enum Said {
    /// To [`Ask::DescribeCluster`]: the cluster's id.
    Cluster(String),
    /// To [`Ask::Register`].
    Registered(Result<BrokerEpoch, ErrorCode>),
    /// To [`Ask::Heartbeat`].
    Alive(Result<Standing, ErrorCode>),
    /// To [`Ask::AlterPartitions`]: what became of each.
    Altered(Result<Vec<(Uuid, i32, ErrorCode)>, ErrorCode>),
    /// To [`Ask::AssignReplicas`].
    Assigned(Result<(), ErrorCode>),
    /// To [`Ask::AllocateProducerIds`].
    ProducerIds(Result<std::ops::Range<i64>, ErrorCode>),
    /// To [`Ask::CreateTopics`].
    Created,
    /// To [`Ask::Forward`]: the whole frame, without its length, and the version that it is in.
    Forwarded(i16, Bytes),
    /// To [`Ask::Fetch`].
    Fetched(Result<Vec<FetchedFrom>, ErrorCode>),
}

/// How a broker is (BrokerHeartbeat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who, in which registration.
    pub sender: (BrokerId, BrokerEpoch),
    /// How far it has read the metadata.
    pub metadata: Offset,
    /// It wants to be out of service.
    pub wants_fence: bool,
    /// It wants to stop.
    pub wants_shutdown: bool,
}

/// What the controller makes of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has read the metadata up to its registration.
    pub caught_up: bool,
    /// Whether it is out of service.
    pub fenced: bool,
    /// Whether it may stop: it leads nothing any more.
    pub may_stop: bool,
}

/// What this node knows of its calls to the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    life: lifecycle::Life,
    sessions: controlling::Sessions,
    following: following::Followed,
    in_sync: in_sync::InSync,
    placing: placing::Placing,
    forwarding: forwarding::Forwarding,
    /// When preferred leaders are looked for next.
    balance_at: Option<Instant>,
    calls: Calls,
}

/// What was asked and is not answered.
#[derive(Clone, Debug, Default)]
struct Calls {
    last: PeerCallId,
    /// To be sent.
    new: Vec<PeerCall>,
    /// To be waited for no longer.
    given_up: Vec<PeerCallId>,
    open: BTreeMap<PeerCallId, OpenCall>,
    /// The controller, this node or another, as it was when it was looked last.
    controller: Option<BrokerId>,
}

/// A call that is not answered.
#[derive(Clone, Debug)]
struct OpenCall {
    to: To,
    purpose: Purpose,
    /// It went out: something may come of it, whatever becomes of the answer.
    sent: bool,
}

/// What a call is for.
#[derive(Clone, Debug)]
enum Purpose {
    Join,
    Life,
    ProducerIds,
    /// These are to be made.
    Topics(BTreeSet<String>),
    Isr(BTreeSet<LogId>),
    Placing,
    Forward(u64),
    Fetch(BrokerId),
}

impl Calls {
    fn ask(&mut self, to: To, ask: Ask, purpose: Purpose) -> PeerCallId {
        self.last.0 += 1;
        self.open.insert(self.last, OpenCall { to, purpose, sent: false });
        self.new.push(PeerCall { id: self.last, to, ask });
        self.last
    }
}

impl Broker {
    /// What is due is done and asked. Whether anything changed here that the logs must act on.
    pub(super) fn attend(&mut self, now: Now, out: &mut Effects) -> bool {
        if self.is_alone() {
            return self.attend_to_placing(now, out);
        }
        if self.is_running() && self.may_stop(now) {
            self.stop(now, out);
            return true;
        }
        self.forget_controller(now, out);
        self.attend_to_joining(now);
        self.attend_to_life(now);
        self.attend_to_forwards(now);
        self.attend_to_followed(now);
        let mut decided = self.attend_to_leaving(now, out);
        decided |= self.attend_to_sessions(now, out) | self.attend_to_balance(now, out);
        decided |= self.attend_to_placing(now, out);
        self.attend_to_isr(now, out) || decided
    }

    /// There is another controller, perhaps this node: what the one before was asked is asked anew. That one may be
    /// paused, and would be waited for.
    fn forget_controller(&mut self, now: Now, out: &mut Effects) {
        let controller = if self.is_controller() { Some(self.node()) } else { self.controller() };
        if controller.is_none() || controller == self.cluster.calls.controller {
            return;
        }
        self.cluster.calls.controller = controller;
        let is_other = |to: To| matches!(to, To::Controller(id) if Some(id) != controller);
        let open = self.cluster.calls.open.iter().filter(|(_, it)| is_other(it.to));
        let open: Vec<(PeerCallId, bool)> = open.map(|(call, it)| (*call, it.sent)).collect();
        for (call, sent) in open {
            if sent {
                self.on_peer_answer(now, call, None, out);
            } else {
                self.on_peer_unsent(now, call, out);
            }
        }
    }

    /// When [`Self::attend`] has something to do.
    pub(super) fn attention(&self) -> Option<Instant> {
        if self.is_alone() {
            return self.placing_deadline();
        }
        let deadlines = [
            self.life_deadline(),
            self.forwards_deadline(),
            self.followed_deadline(),
            self.sessions_deadline(),
            self.isr_deadline(),
            self.placing_deadline(),
            self.balance_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What this broker asks others, since the last call.
    pub fn take_peer_calls(&mut self) -> Vec<PeerCall> {
        let mut new = mem::take(&mut self.cluster.calls.new);
        new.retain(|call| self.awaits(call.id));
        new
    }

    /// What this broker does not wait for any longer, since the last call: it is to fail.
    pub fn take_given_up(&mut self) -> Vec<PeerCallId> {
        mem::take(&mut self.cluster.calls.given_up)
    }

    /// What this broker asked went out.
    pub fn on_peer_sent(&mut self, call: PeerCallId) {
        if let Some(it) = self.cluster.calls.open.get_mut(&call) {
            it.sent = true;
        }
    }

    /// What this broker asked was answered; `None` if that failed, and nobody knows what came of it.
    pub fn on_peer_answer(&mut self, now: Now, call: PeerCallId, said: Option<Said>, out: &mut Effects) {
        match self.cluster.calls.open.remove(&call).map(|it| it.purpose) {
            Some(Purpose::Join) => self.on_cluster_described(now, said, out),
            Some(Purpose::Life) => self.on_life_answer(now, said.as_ref()),
            Some(Purpose::ProducerIds) => self.on_producer_ids(said),
            Some(Purpose::Isr(logs)) => self.on_isr_answer(now, &logs, said),
            Some(Purpose::Placing) => self.on_placed(now, said.as_ref()),
            Some(Purpose::Forward(which)) => self.on_forwarded(which, said),
            Some(Purpose::Fetch(leader)) => self.on_fetched(now, (leader, call), said, out),
            Some(Purpose::Topics(_)) | None => {}
        }
    }

    /// What this broker asked was not sent: for certain nothing came of it.
    pub fn on_peer_unsent(&mut self, now: Now, call: PeerCallId, out: &mut Effects) {
        if let Some(&OpenCall { purpose: Purpose::Forward(which), .. }) = self.cluster.calls.open.get(&call) {
            self.cluster.calls.open.remove(&call);
            return self.forward_again(now, which);
        }
        self.on_peer_answer(now, call, None, out);
    }

    /// Whether somebody here waits for the answer to a call: if not, it need not be sent.
    #[must_use]
    pub fn awaits(&self, call: PeerCallId) -> bool {
        self.cluster.calls.open.contains_key(&call)
    }

    /// Where another broker takes what brokers ask each other.
    #[must_use]
    pub fn broker_endpoint(&self, id: BrokerId) -> Option<(&str, u16)> {
        let name = &self.config.broker.listeners.inter_broker;
        let endpoint = self.image().broker(id)?.endpoints.iter().find(|endpoint| endpoint.name == *name)?;
        Some((&endpoint.host, endpoint.port))
    }

    /// Whether there is nobody else: then nobody is asked anything, and no time is spent on it.
    pub(super) fn is_alone(&self) -> bool {
        let Some(raft) = self.metadata.raft() else {
            return self.config.broker.quorum.bootstrap_servers.is_empty();
        };
        let node = self.node();
        let only_voter = raft.voters().is_some_and(|voters| voters.iter().all(|(key, _)| key.id == node));
        only_voter && self.image().brokers().all(|(id, _)| id == node)
    }

    /// Whether this node decides what the metadata says.
    #[must_use]
    pub fn is_controller(&self) -> bool {
        self.metadata.raft().is_some_and(crate::raft::Raft::is_leader) || self.leads_for_ever()
    }

    /// Who does, if that is another node.
    fn controller(&self) -> Option<BrokerId> {
        self.metadata.raft()?.leader().filter(|leader| *leader != self.node())
    }

    fn retry_backoff(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.config.broker.quorum.retry_backoff_ms.max(1))
    }
}
