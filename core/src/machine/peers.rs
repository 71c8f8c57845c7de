//! The other nodes: connections to them, and what this node asks on them, as one of the quorum and as a broker.
//!
//! A call waits for its connection as long as that comes up; it fails with it, and whoever asked tries again. Fetches
//! wait at the leader, so they have a connection of their own; so has what clients ask the controller for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{ConnId, Effect, Effects};
use crate::api::brokers::{self, FetchBounds};
use crate::api::quorum::{self, Asker};
use crate::broker::{Ask, Broker, PeerCall, PeerCallId, To};
use crate::clock::{Instant, Now};
use crate::config::BrokerConfig;
use crate::raft::{Call, CallId, Destination, Request};
use crate::rpc::{self, Action, Answer, Lane, Outcome, Peer, Pool, Readiness, Route, RpcConfig, Sink};
use crate::types::BrokerId;

/// The connections to the other nodes.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    pool: Pool,
    bootstrap: u16,
    bounds: FetchBounds,
    /// `controller.quorum.request.timeout.ms`
    timeout_ms: u64,
    /// `request.timeout.ms`
    slow_timeout_ms: u64,
    /// `replica.socket.timeout.ms`
    fetch_timeout_ms: u64,
    /// Calls that wait for their connection.
    waiting: Vec<(Route, Asked)>,
    /// Calls that were sent.
    sent: BTreeMap<rpc::CallId, Sent>,
    sink: Sink,
}

/// A call, as whom this node makes it.
#[derive(Clone, Debug)]
enum Asked {
    Quorum(Call),
    Broker(PeerCall),
}

/// Whose a call is that was sent, and what its answer is read by.
#[derive(Clone, Debug)]
enum Sent {
    Quorum(CallId),
    Broker(PeerCallId, Box<Ask>),
}

impl Peers {
    /// No connections yet.
    pub(super) fn new(config: &BrokerConfig, seed: u64) -> Self {
        let mut sink = Sink::default();
        let rpc = RpcConfig {
            client_id: format!("broker-{}", config.node.id).into(),
            request_timeout_ms: config.quorum.request_timeout_ms,
            socket_connection_setup_timeout_ms: config.quorum.request_timeout_ms,
            reconnect_backoff_ms: config.quorum.retry_backoff_ms,
            // A node that comes back is to be followed soon.
            reconnect_backoff_max_ms: config.quorum.retry_backoff_ms.saturating_mul(10),
            ..RpcConfig::default()
        };
        let mut pool = Pool::new(rpc, seed);
        let mut bootstrap = 0;
        for server in &config.quorum.bootstrap_servers {
            pool.set_address(Peer::Bootstrap(bootstrap), server, &mut sink);
            bootstrap += 1;
        }
        let replication = &config.replication;
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let bounds = FetchBounds {
            max_wait_ms: i32::try_from(replication.fetch_wait_max_ms).unwrap_or(i32::MAX),
            min_bytes: number(replication.fetch_min_bytes),
            max_bytes: number(replication.fetch_response_max_bytes),
            partition_max_bytes: number(replication.fetch_max_bytes),
        };
        let (timeout_ms, slow_timeout_ms) = (config.quorum.request_timeout_ms, config.network.request_timeout_ms);
        let fetch_timeout_ms = replication.socket_timeout_ms;
        let (waiting, sent) = (Vec::new(), BTreeMap::new());
        Self { pool, bootstrap, bounds, timeout_ms, slow_timeout_ms, fetch_timeout_ms, waiting, sent, sink }
    }

    /// A dial came to its end.
    pub(super) fn on_opened(&mut self, now: Now, opened: (ConnId, u64), result: Result<(), Box<str>>) {
        self.pool.on_opened(now.monotonic, opened, result, &mut self.sink);
    }

    /// An answer came.
    pub(super) fn on_answer(&mut self, now: Now, conn: ConnId, frame: Bytes) {
        self.pool.on_frame(now.monotonic, conn, frame, &mut self.sink);
    }

    /// A connection is gone, perhaps one of these.
    pub(super) fn on_closed(&mut self, now: Now, conn: ConnId) {
        self.pool.on_closed(now.monotonic, conn, &mut self.sink);
    }

    /// Time has passed.
    pub(super) fn on_timeout(&mut self, now: Now) {
        if self.next_deadline().is_some_and(|due| due <= now.monotonic) {
            self.pool.on_timeout(now.monotonic, &mut self.sink);
        }
    }

    /// When [`Self::on_timeout`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pool.next_deadline()
    }

    /// The end of a step: what the broker asks goes out, and it is told what became of what it asked. That may make it
    /// ask again; what fails at once is asked again later, so there is an end to it. Whether there was anything.
    pub(super) fn settle(&mut self, now: Now, broker: &mut Broker, out: &mut Effects) -> bool {
        let calls = broker.take_calls().into_iter().map(Asked::Quorum);
        let calls: Vec<Asked> = calls.chain(broker.take_peer_calls().into_iter().map(Asked::Broker)).collect();
        for call in broker.take_given_up() {
            self.give_up(now, call);
        }
        let outcomes = std::mem::take(&mut self.sink.outcomes);
        let any = !calls.is_empty() || !outcomes.is_empty() || !self.sink.actions.is_empty();
        for outcome in outcomes {
            self.on_outcome(now, outcome, broker, out);
        }
        for call in calls {
            self.ask(now, call, broker, out);
        }
        for action in self.sink.actions.drain(..) {
            out.push(match action {
                Action::Connect { token, address } => Effect::Connect { token, address },
                Action::Send { conn, bytes } => Effect::Send { conn, bytes, last: true },
                Action::Close { conn } => Effect::Close { conn },
            });
        }
        any
    }

    fn ask(&mut self, now: Now, asked: Asked, broker: &mut Broker, out: &mut Effects) {
        let Some(route) = self.route(&asked, broker) else { return fail(now, &asked, broker, out) };
        match self.pool.connect(now.monotonic, route, &mut self.sink) {
            Readiness::Ready => self.send(now, route, asked, broker, out),
            Readiness::Connecting => self.waiting.push((route, asked)),
            Readiness::Busy | Readiness::Idle | Readiness::Later(_) | Readiness::Unknown => {
                fail(now, &asked, broker, out);
            }
        }
    }

    fn route(&mut self, asked: &Asked, broker: &Broker) -> Option<Route> {
        match asked {
            Asked::Quorum(call) => self.route_in_quorum(call, broker),
            Asked::Broker(call) => self.route_to_broker(call, broker),
        }
    }

    fn route_to_broker(&mut self, call: &PeerCall, broker: &Broker) -> Option<Route> {
        let lane = match &call.ask {
            Ask::Fetch { .. } => Lane::Fetch,
            Ask::Forward { .. } | Ask::CreateTopics(_) => Lane::Slow,
            Ask::DescribeCluster
            | Ask::Register(_)
            | Ask::Heartbeat(_)
            | Ask::AlterPartitions { .. }
            | Ask::AssignReplicas { .. }
            | Ask::AllocateProducerIds { .. } => Lane::Broker,
        };
        let (peer, endpoint) = match call.to {
            To::Controller(id) => (Peer::Controller(id), broker.quorum_endpoint(id)),
            To::Broker(id) => (Peer::Broker(id), broker.broker_endpoint(id)),
            To::Anyone(count) => {
                let place = count.checked_rem(u64::from(self.bootstrap))?;
                (Peer::Bootstrap(u16::try_from(place).ok()?), None)
            }
        };
        if let Some((host, port)) = endpoint {
            self.pool.set_address(peer, &format!("{host}:{port}"), &mut self.sink);
        }
        Some(Route { peer, lane })
    }

    fn route_in_quorum(&mut self, call: &Call, broker: &Broker) -> Option<Route> {
        let lane = match &call.request {
            Request::Fetch(_) | Request::FetchSnapshot(_) => Lane::Fetch,
            Request::Vote(_)
            | Request::Begin(_)
            | Request::End(_)
            | Request::AddVoter(_)
            | Request::UpdateVoter(_)
            | Request::RemoveVoter(_) => Lane::Control,
        };
        let peer = match call.to {
            Destination::Node(id) => {
                if let Some((host, port)) = broker.quorum_endpoint(id) {
                    self.pool.set_address(Peer::Controller(id), &format!("{host}:{port}"), &mut self.sink);
                }
                Peer::Controller(id)
            }
            Destination::Anyone(count) => {
                let others: Vec<BrokerId> = broker.other_voters().collect();
                let servers = u64::from(self.bootstrap);
                let place = count.checked_rem(servers + others.len() as u64)?;
                match usize::try_from(place.checked_sub(servers).unwrap_or(u64::MAX)) {
                    Ok(place) if place < others.len() => {
                        let (host, port) = broker.quorum_endpoint(others[place])?;
                        let peer = Peer::Controller(others[place]);
                        self.pool.set_address(peer, &format!("{host}:{port}"), &mut self.sink);
                        peer
                    }
                    _ => Peer::Bootstrap(u16::try_from(place).ok()?),
                }
            }
        };
        Some(Route { peer, lane })
    }

    fn send(&mut self, now: Now, route: Route, asked: Asked, broker: &mut Broker, out: &mut Effects) {
        let sent = match &asked {
            Asked::Quorum(call) => self.send_in_quorum(now, route, call, broker),
            Asked::Broker(call) => {
                let deadline = self.deadline(now, &call.ask);
                brokers::with_request(broker, self.bounds, &call.ask, |request, cap| {
                    self.pool.send_until(deadline, route, (request, cap), &mut self.sink).ok()
                })
                .flatten()
            }
        };
        match (sent, asked) {
            (Some(sent), Asked::Quorum(call)) => {
                self.sent.insert(sent, Sent::Quorum(call.id));
            }
            (Some(sent), Asked::Broker(call)) => {
                broker.on_peer_sent(call.id);
                self.sent.insert(sent, Sent::Broker(call.id, Box::new(call.ask)));
            }
            (None, asked) => fail(now, &asked, broker, out),
        }
    }

    fn give_up(&mut self, now: Now, given_up: PeerCallId) {
        let its = |sent: &Sent| matches!(sent, Sent::Broker(call, _) if *call == given_up);
        if let Some(call) = self.sent.iter().find(|(_, sent)| its(sent)).map(|(call, _)| *call) {
            self.pool.give_up(now.monotonic, call, &mut self.sink);
        }
    }

    /// When a call is given up, and with it its connection and all that waits for answers there. So what waits for a
    /// commit is given time, and some even if its client has none left.
    fn deadline(&self, now: Now, ask: &Ask) -> Instant {
        let soon = now.monotonic + Duration::from_millis(self.timeout_ms);
        match ask {
            Ask::Forward { until, .. } => soon.max(*until),
            Ask::CreateTopics(_) => now.monotonic + Duration::from_millis(self.slow_timeout_ms),
            Ask::DescribeCluster
            | Ask::Register(_)
            | Ask::Heartbeat(_)
            | Ask::AlterPartitions { .. }
            | Ask::AssignReplicas { .. }
            | Ask::AllocateProducerIds { .. } => soon,
            // Its answer is large, and counts only when it is whole.
            Ask::Fetch { timeouts, .. } => {
                let patience = self.timeout_ms.saturating_mul(1 << (*timeouts).min(16));
                now.monotonic + Duration::from_millis(patience.min(self.fetch_timeout_ms.max(self.timeout_ms)))
            }
        }
    }

    fn send_in_quorum(&mut self, now: Now, route: Route, call: &Call, broker: &Broker) -> Option<rpc::CallId> {
        let most = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
        let quorum = &broker.config().broker.quorum;
        let fetch_max_bytes = most(quorum.fetch_max_bytes);
        let fetch_snapshot_max_bytes = most(quorum.fetch_snapshot_max_bytes);
        let (node, endpoints) = broker.quorum_node()?;
        let cluster_id = broker.cluster_id();
        let asker = Asker { cluster_id, node, endpoints: &endpoints, fetch_max_bytes, fetch_snapshot_max_bytes };
        let request = quorum::request_of(asker, &call.request);
        self.pool.send(now.monotonic, route, (&request, i16::MAX), &mut self.sink).ok()
    }

    fn on_outcome(&mut self, now: Now, outcome: Outcome, broker: &mut Broker, out: &mut Effects) {
        match outcome {
            Outcome::Answered(answer) => self.on_answered(now, &answer, broker, out),
            Outcome::Failed { call, .. } => match self.sent.remove(&call) {
                Some(Sent::Quorum(call)) => broker.on_quorum_response(now, call, None, out),
                Some(Sent::Broker(call, _)) => broker.on_peer_answer(now, call, None, out),
                None => {}
            },
            Outcome::Up { route } => {
                for asked in self.take_waiting(route) {
                    // One that was given up meanwhile would be carried out behind what took its place.
                    if !matches!(&asked, Asked::Broker(call) if !broker.awaits(call.id)) {
                        self.ask(now, asked, broker, out);
                    }
                }
            }
            Outcome::Down { route, .. } => {
                if matches!(route, Route { peer: Peer::Controller(_), lane: Lane::Broker }) {
                    broker.on_controller_lost(now);
                }
                for asked in self.take_waiting(route) {
                    fail(now, &asked, broker, out);
                }
            }
        }
    }

    fn on_answered(&mut self, now: Now, answer: &Answer, broker: &mut Broker, out: &mut Effects) {
        let call = match self.sent.remove(&answer.call) {
            Some(Sent::Quorum(call)) => call,
            Some(Sent::Broker(call, ask)) => {
                return broker.on_peer_answer(now, call, brokers::said(&ask, answer), out);
            }
            None => return,
        };
        let said = answer.decode().ok().and_then(|wire| quorum::response_of(&wire));
        let (response, address) = said.map_or((None, None), |(response, address)| (Some(response), address));
        if let Some((leader, address)) = address
            && broker.quorum_endpoint(leader).is_none()
        {
            self.pool.set_address(Peer::Controller(leader), &address, &mut self.sink);
        }
        broker.on_quorum_response(now, call, response, out);
    }

    fn take_waiting(&mut self, route: Route) -> Vec<Asked> {
        let waiting = std::mem::take(&mut self.waiting);
        let (due, rest) = waiting.into_iter().partition::<Vec<_>, _>(|(its, _)| *its == route);
        self.waiting = rest;
        due.into_iter().map(|(_, asked)| asked).collect()
    }
}

/// It was not sent.
fn fail(now: Now, asked: &Asked, broker: &mut Broker, out: &mut Effects) {
    match asked {
        Asked::Quorum(call) => broker.on_quorum_response(now, call.id, None, out),
        Asked::Broker(call) => broker.on_peer_unsent(now, call.id, out),
    }
}
