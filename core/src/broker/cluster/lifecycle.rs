//! This broker in the cluster: registered, alive, in service, on its way out (KIP-631).
//!
//! | it is | it asks the controller | until |
//! |---|---|---|
//! | of no cluster yet | anyone of `controller.quorum.bootstrap.servers`: which cluster theirs is | one says so |
//! | not registered | to be registered | it has an epoch |
//! | out of service | with heartbeats, soon one after the other | the metadata says that it is in service |
//! | in service | with heartbeats, each `broker.heartbeat.interval.ms` | |
//! | to stop | with heartbeats that say so | it leads nothing, or a session would have lapsed |
//!
//! It serves from when its *own* metadata says that this very process is in service: what was led before it was
//! registered it does not lead (promise P1). The controller asks itself nothing: whether it is alive it knows.

use std::time::Duration;

use ottla_wire::{ErrorCode, Uuid};

use super::{Ask, Heartbeat, Purpose, Said, Standing, To};
use crate::broker::Broker;
use crate::broker::boot::Phase;
use crate::clock::{Instant, Now};
use crate::controller::{self, Registration};
use crate::machine::Effects;
use crate::types::Offset;

/// How often a broker that is not in service yet asks whether it is.
const SOON: Duration = Duration::from_millis(50);

/// Where this broker is in its life.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// Drawn once a process.
    incarnation: Option<Uuid>,
    /// When it asks next.
    due: Instant,
    asked: bool,
    /// How often it asked which cluster it is to join.
    joins: u64,
    /// It was asked to stop, and does so then at the latest.
    stops: Option<Instant>,
}

impl Broker {
    /// Who this process is.
    pub(in crate::broker) fn incarnation(&mut self) -> Uuid {
        *self.cluster.life.incarnation.get_or_insert_with(|| self.rng.uuid())
    }

    /// What this broker tells of itself; `ready`: it has read all of the metadata.
    pub(in crate::broker) fn registration(&mut self, ready: bool) -> Registration {
        Registration {
            id: self.node(),
            incarnation: self.incarnation(),
            endpoints: self.advertised(),
            rack: self.config.broker.node.rack.clone(),
            directories: self.metadata.directories.values().copied().collect(),
            previous: self.metadata.proven,
            ready,
        }
    }

    /// Whether the committed metadata has this very process in service.
    pub(in crate::broker) fn is_in_service(&self) -> bool {
        let incarnation = self.cluster.life.incarnation;
        let known = self.image().broker(self.node());
        known.is_some_and(|known| Some(known.incarnation) == incarnation && !known.fenced)
    }

    /// This node leads no more. If it registered itself and that is not committed, it may never be: it asks the next
    /// controller, who tells it its epoch if it was.
    pub(in crate::broker) fn doubt_registration(&mut self) {
        let incarnation = self.cluster.life.incarnation;
        let known = self.image().broker(self.node());
        if known.is_none_or(|known| Some(known.incarnation) != incarnation) {
            self.metadata.set_broker_epoch(None);
        }
    }

    /// This broker was unregistered while it was cut off, or never heard that it is registered, and leads the quorum
    /// now: there is nobody else to ask.
    pub(super) fn register_anew(&mut self, now: Now, out: &mut Effects) -> bool {
        let own = self.metadata.controller.speculative().broker(self.node());
        let is_known = own.is_some_and(|own| Some(own.epoch) == self.metadata.broker_epoch());
        let incarnation = self.cluster.life.incarnation;
        let is_other = own.is_some_and(|own| Some(own.incarnation) != incarnation);
        if is_known || is_other || !self.is_running() {
            return false;
        }
        let (registration, end) = (self.registration(true), self.metadata_end().unwrap_or_default());
        let image = self.metadata.controller.speculative();
        let Ok(decision) = controller::register(image, &self.config, registration, end) else { return false };
        let is_registered = decision.changes.is_empty();
        let appended = !is_registered && self.append_changes(now, decision.changes, out).is_some();
        if appended || is_registered {
            self.metadata.set_broker_epoch(Some(decision.answer));
        }
        appended
    }

    /// Another process of this node's id is registered: two of them must not go on.
    pub(in crate::broker) fn check_incarnation(&mut self, out: &mut Effects) {
        let (epoch, incarnation) = (self.metadata.broker_epoch(), self.cluster.life.incarnation);
        let known = self.image().broker(self.node());
        let newer = known.is_some_and(|known| epoch.is_some_and(|epoch| known.epoch > epoch));
        if newer && known.is_some_and(|known| Some(known.incarnation) != incarnation) {
            let why = format!("another process was started as node {}: give each a node.id of its own", self.node().0);
            self.refuse(&why, out);
        }
    }

    /// The connection to the controller is gone: it is told at once that this broker is not.
    pub fn on_controller_lost(&mut self, now: Now) {
        self.cluster.life.due = self.cluster.life.due.min(now.monotonic + self.retry_backoff());
    }

    /// A node that belongs to no cluster asks which it is to join.
    pub(super) fn attend_to_joining(&mut self, now: Now) {
        let joins = matches!(self.phase, Phase::Joining(_));
        if !joins || self.cluster.life.asked || self.cluster.life.due > now.monotonic {
            return;
        }
        self.cluster.life.joins += 1;
        self.cluster.life.asked = true;
        self.cluster.calls.ask(To::Anyone(self.cluster.life.joins), Ask::DescribeCluster, Purpose::Join);
    }

    pub(super) fn on_cluster_described(&mut self, now: Now, said: Option<Said>, out: &mut Effects) {
        self.cluster.life.asked = false;
        self.cluster.life.due = now.monotonic + self.retry_backoff();
        if let Some(Said::Cluster(cluster_id)) = said {
            self.join(now, &cluster_id, out);
        }
    }

    /// It is to stop, and others could lead what it leads: whether it waits for that (KIP-841).
    pub(in crate::broker) fn begin_leaving(&mut self, now: Now) -> bool {
        let waits = self.config.broker.sessions.controlled_shutdown && !self.is_alone() && self.is_in_service();
        if !waits || !self.is_running() || self.cluster.life.stops.is_some() {
            return waits && self.cluster.life.stops.is_some();
        }
        let timeout = Duration::from_millis(self.config.broker.sessions.session_timeout_ms);
        self.cluster.life.stops = Some(now.monotonic + timeout);
        self.cluster.life.due = now.monotonic;
        true
    }

    /// What a broker on its way out asks of the controller this one decides itself, also if it became it just now.
    pub(super) fn attend_to_leaving(&mut self, now: Now, out: &mut Effects) -> bool {
        if self.cluster.life.stops.is_none() || !self.is_controller() {
            return false;
        }
        let image = self.metadata.controller.speculative();
        let changes = controller::begin_shutdown(image, &self.config, self.node());
        !changes.is_empty() && self.append_changes(now, changes, out).is_some()
    }

    /// Whether it was asked to stop, and may: it leads nothing any more, or has waited long enough.
    pub(in crate::broker) fn may_stop(&self, now: Now) -> bool {
        let Some(stops) = self.cluster.life.stops else { return false };
        let leaves = self.image().broker(self.node()).is_some_and(|own| own.shutting_down);
        let leads = self.replicas.iter().any(|replica| replica.leader().is_some());
        stops <= now.monotonic || leaves && !leads
    }

    pub(super) fn attend_to_life(&mut self, now: Now) {
        let lives = matches!(self.phase, Phase::Electing | Phase::Running);
        if !lives || self.cluster.life.asked || self.cluster.life.due > now.monotonic {
            return;
        }
        let Some(controller) = self.controller() else {
            let interval = Duration::from_millis(self.config.broker.sessions.heartbeat_interval_ms);
            let wait = if self.is_controller() { interval } else { self.retry_backoff() };
            self.cluster.life.due = now.monotonic + wait;
            return;
        };
        let ask = match self.metadata.broker_epoch() {
            None => Ask::Register(self.registration(false)),
            Some(epoch) => Ask::Heartbeat(Heartbeat {
                sender: (self.node(), epoch),
                // What the disk does not know yet a crash makes unknown: this broker could not prove it afterwards.
                metadata: self.image().end().min(self.durable_metadata()),
                wants_fence: false,
                wants_shutdown: self.cluster.life.stops.is_some(),
            }),
        };
        self.cluster.life.asked = true;
        self.cluster.calls.ask(To::Controller(controller), ask, Purpose::Life);
    }

    fn durable_metadata(&self) -> Offset {
        let offsets = self.metadata.log().and_then(|log| self.logs.offsets(log));
        offsets.map_or(Offset::ZERO, |offsets| offsets.durable)
    }

    pub(super) fn life_deadline(&self) -> Option<Instant> {
        let lives = matches!(self.phase, Phase::Joining(_) | Phase::Electing | Phase::Running);
        let due = (lives && !self.cluster.life.asked).then_some(self.cluster.life.due);
        let stops = self.cluster.life.stops.filter(|_| self.is_running());
        [due, stops].into_iter().flatten().min()
    }

    pub(super) fn on_life_answer(&mut self, now: Now, said: Option<&Said>) {
        let interval = Duration::from_millis(self.config.broker.sessions.heartbeat_interval_ms);
        let wait = match said {
            Some(Said::Registered(Ok(epoch))) => {
                self.metadata.set_broker_epoch(Some(*epoch));
                Duration::ZERO
            }
            Some(Said::Alive(Ok(Standing { fenced: false, .. })))
                if self.is_in_service() && self.cluster.life.stops.is_none() =>
            {
                interval
            }
            Some(Said::Alive(Err(ErrorCode::BROKER_ID_NOT_REGISTERED))) => {
                // An operator has forgotten it, or it was never committed.
                self.metadata.set_broker_epoch(None);
                SOON.min(interval)
            }
            Some(_) => SOON.min(interval),
            None => self.retry_backoff().max(SOON.min(interval)),
        };
        self.cluster.life.asked = false;
        self.cluster.life.due = now.monotonic + wait;
    }
}
