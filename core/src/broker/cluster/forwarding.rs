//! What only the controller can do, asked by a client of this node: it is asked on, as it came, and so answered.
//!
//! While there is no controller, or it cannot be reached, it waits, until `request.timeout.ms` is over; so does what
//! was sent, for its answer. Should this node become the controller, the client is to ask it anew: its connection is
//! closed. What was sent and is not answered is not sent again, or it might be carried out for a second time behind
//! what others asked since: the client's connection is closed, and the client, who knows what it can make of that, asks
//! anew. (Kafka's brokers ask again.)

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ask, Purpose, Said, To};
use crate::broker::{Broker, Outcome};
use crate::clock::{Instant, Now};
use crate::controller::NewTopic;
use crate::ingress;
use crate::machine::{ConnId, Ticket};
use crate::types::BrokerEpoch;

/// Clients' requests that are on their way to the controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarding {
    last: u64,
    waiting: BTreeMap<u64, Forward>,
}

#[derive(Clone, Debug)]
struct Forward {
    ticket: Ticket,
    request: ingress::Request,
    until: Instant,
    /// `None`: it is asked now.
    due: Option<Instant>,
}

impl Broker {
    /// Asks the controller what a client asks; its answer becomes this node's.
    pub fn forward(&mut self, now: Now, ticket: Ticket, request: &ingress::Request) {
        if self.is_alone() {
            return self.release(ticket, Outcome::Close);
        }
        let timeout = Duration::from_millis(self.config.broker.network.request_timeout_ms);
        let it = &mut self.cluster.forwarding;
        it.last += 1;
        let until = now.monotonic + timeout;
        it.waiting.insert(it.last, Forward { ticket, request: request.clone(), until, due: Some(now.monotonic) });
    }

    /// Asks the controller for topics that clients need, unless it is asked already. They ask again until the topics
    /// are there, and there may be many of them.
    pub(in crate::broker) fn ask_for_topics(&mut self, mut topics: Vec<NewTopic>) {
        let Some(controller) = self.controller() else { return };
        for call in self.cluster.calls.open.values() {
            if let Purpose::Topics(asked) = &call.purpose {
                topics.retain(|topic| !asked.contains(&topic.name));
            }
        }
        if !topics.is_empty() {
            let names = topics.iter().map(|topic| topic.name.clone()).collect();
            self.cluster.calls.ask(To::Controller(controller), Ask::CreateTopics(topics), Purpose::Topics(names));
        }
    }

    /// Asks the controller for a block of producer ids, unless it is asked already.
    pub(in crate::broker) fn ask_for_producer_ids(&mut self, epoch: BrokerEpoch) {
        let asked = self.cluster.calls.open.values().any(|it| matches!(it.purpose, Purpose::ProducerIds));
        let sender = (self.node(), epoch);
        match self.controller() {
            _ if asked => {}
            Some(controller) => {
                self.cluster.calls.ask(
                    To::Controller(controller),
                    Ask::AllocateProducerIds { sender },
                    Purpose::ProducerIds,
                );
            }
            None => self.take_producer_ids(None),
        }
    }

    /// A client is gone: nobody waits for what is asked on for it, and what is not sent yet stays here.
    pub(in crate::broker) fn stop_forwarding_for(&mut self, conn: ConnId) {
        let waiting = &mut self.cluster.forwarding.waiting;
        let before = waiting.len();
        waiting.retain(|_, it| it.ticket.conn != conn);
        if waiting.len() < before {
            let waits = |which: &u64| waiting.contains_key(which);
            self.cluster.calls.open.retain(|_, it| !matches!(&it.purpose, Purpose::Forward(which) if !waits(which)));
        }
    }

    pub(super) fn on_producer_ids(&mut self, said: Option<Said>) {
        let block = match said {
            Some(Said::ProducerIds(Ok(block))) => Some(block),
            _ => None,
        };
        self.take_producer_ids(block);
    }

    pub(super) fn attend_to_forwards(&mut self, now: Now) {
        let due = |it: &Forward| it.due.is_some_and(|due| due <= now.monotonic);
        let waiting = &self.cluster.forwarding.waiting;
        let due: Vec<u64> = waiting.iter().filter(|(_, it)| due(it)).map(|(which, _)| *which).collect();
        let (controller, backoff) = (self.controller(), self.retry_backoff());
        let decides = self.is_controller();
        for which in due {
            let Some(it) = self.cluster.forwarding.waiting.get_mut(&which) else { continue };
            if it.until <= now.monotonic || decides {
                let ticket = it.ticket;
                self.cluster.forwarding.waiting.remove(&which);
                self.release(ticket, Outcome::Close);
                continue;
            }
            let Some(controller) = controller else {
                it.due = Some(now.monotonic + backoff);
                continue;
            };
            it.due = None;
            let ask = Ask::Forward { request: it.request.clone(), until: it.until };
            self.cluster.calls.ask(To::Controller(controller), ask, Purpose::Forward(which));
        }
    }

    pub(super) fn forwards_deadline(&self) -> Option<Instant> {
        self.cluster.forwarding.waiting.values().filter_map(|it| it.due).min()
    }

    pub(super) fn on_forwarded(&mut self, which: u64, said: Option<Said>) {
        let Some(it) = self.cluster.forwarding.waiting.remove(&which) else { return };
        let outcome = match said {
            Some(Said::Forwarded(version, frame)) => Outcome::Forwarded { version, frame },
            _ => Outcome::Close,
        };
        self.release(it.ticket, outcome);
    }

    /// It was not sent.
    pub(super) fn forward_again(&mut self, now: Now, which: u64) {
        let due = now.monotonic + self.retry_backoff();
        if let Some(it) = self.cluster.forwarding.waiting.get_mut(&which) {
            it.due = Some(due);
        }
    }
}
