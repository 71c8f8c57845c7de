//! All links: who is where, what is dialled, and what becomes of each call.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ApiKey;
use ottla_wire::api::Request;

use crate::clock::Instant;
use crate::machine::ConnId;
use crate::rng::Rng;

use super::connection::{Connection, Received, Terms};
use super::link::{Link, Phase};
use super::{Action, Backoff, CallId, Outcome, Peer, Readiness, Route, RpcConfig, RpcError, Sink};

/// Connections to brokers. See the module for the contract.
#[derive(Clone, Debug)]
pub struct Pool {
    config: RpcConfig,
    rng: Rng,
    addresses: BTreeMap<Peer, Box<str>>,
    links: BTreeMap<Route, Link>,
    /// The routes of connections that are up.
    conns: BTreeMap<ConnId, Route>,
    /// The routes of tokens that are not answered.
    tokens: BTreeMap<u64, Route>,
    next_token: u64,
    next_call: u64,
}

impl Pool {
    /// No links yet.
    #[must_use]
    pub fn new(config: RpcConfig, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            addresses: BTreeMap::new(),
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: 1,
            next_call: 1,
        }
    }

    /// Says where a peer is, as `host:port`. If it was elsewhere, its links are closed.
    pub fn set_address(&mut self, peer: Peer, address: &str, sink: &mut Sink) {
        match self.addresses.get(&peer) {
            Some(known) if &**known == address => return,
            Some(_) => self.forget(peer, sink),
            None => {}
        }
        self.addresses.insert(peer, address.into());
    }

    /// Forgets a peer: its links are closed, their calls fail.
    pub fn forget(&mut self, peer: Peer, sink: &mut Sink) {
        self.addresses.remove(&peer);
        let routes: Vec<_> = self.links.keys().filter(|route| route.peer == peer).copied().collect();
        for route in routes {
            self.shut(route, Instant(0), "the peer is elsewhere or gone", sink);
            self.links.remove(&route);
        }
    }

    /// Whether a call can be sent on `route` now, and if not, what it waits for.
    #[must_use]
    pub fn readiness(&self, now: Instant, route: Route) -> Readiness {
        if !self.addresses.contains_key(&route.peer) {
            return Readiness::Unknown;
        }
        let max_in_flight = self.config.max_in_flight_requests_per_connection;
        self.links.get(&route).map_or(Readiness::Idle, |link| link.readiness(now, max_in_flight))
    }

    /// As [`Pool::readiness`], but an idle link is dialled.
    #[must_use]
    pub fn connect(&mut self, now: Instant, route: Route, sink: &mut Sink) -> Readiness {
        let readiness = self.readiness(now, route);
        if readiness != Readiness::Idle {
            return readiness;
        }
        self.dial(now, route, sink);
        Readiness::Connecting
    }

    /// The highest version of an API that both sides have; `None` also while the link is not ready.
    #[must_use]
    pub fn version(&self, route: Route, key: ApiKey) -> Option<i16> {
        let connection = self.links.get(&route).and_then(Link::connection)?;
        connection.versions()?.common(key, i16::MAX)
    }

    /// The connection that a call on `route` would go out on now.
    #[must_use]
    pub fn conn(&self, route: Route) -> Option<ConnId> {
        self.links.get(&route).and_then(Link::connection).map(Connection::conn)
    }

    /// Sends a request in the highest common version, `cap` at most.
    ///
    /// # Errors
    /// [`RpcError::UnsupportedVersion`] if there is none; nothing was sent.
    ///
    /// # Panics
    /// If the link is not up: ask [`Pool::readiness`] first.
    pub fn send(
        &mut self,
        now: Instant,
        route: Route,
        what: (&Request<'_>, i16),
        sink: &mut Sink,
    ) -> Result<CallId, RpcError> {
        let deadline = now + ms(self.config.request_timeout_ms);
        self.send_until(deadline, route, what, sink)
    }

    /// As [`Pool::send`], for a call that may take until `deadline`, whatever `request.timeout.ms` says.
    ///
    /// # Errors
    /// As [`Pool::send`].
    ///
    /// # Panics
    /// As [`Pool::send`].
    pub fn send_until(
        &mut self,
        deadline: Instant,
        route: Route,
        (request, cap): (&Request<'_>, i16),
        sink: &mut Sink,
    ) -> Result<CallId, RpcError> {
        let terms = Terms { client_id: &self.config.client_id, deadline };
        let connection = self.links.get_mut(&route).and_then(Link::connection_mut);
        let connection = connection.expect("nobody sends on a link that is not ready");
        let versions = connection.versions().expect("nobody sends on a link that is not ready");
        let key = request.api_key();
        let version = versions.common(key, cap).ok_or(RpcError::UnsupportedVersion(key))?;
        let call = CallId(self.next_call);
        self.next_call += 1;
        connection.send(call, (request, version), terms, &mut sink.actions);
        Ok(call)
    }

    /// A dial that `Action::Connect` asked for came to an end. On `Err` there is no connection.
    pub fn on_opened(
        &mut self,
        now: Instant,
        (conn, token): (ConnId, u64),
        result: Result<(), Box<str>>,
        sink: &mut Sink,
    ) {
        let Some(route) = self.tokens.remove(&token) else {
            // It came too late: the dial was given up.
            if result.is_ok() {
                sink.actions.push(Action::Close { conn });
            }
            return;
        };
        match result {
            Ok(()) => {
                let deadline = now + ms(self.config.socket_connection_setup_timeout_ms);
                let terms = Terms { client_id: &self.config.client_id, deadline };
                let connection = Connection::open(conn, terms, &mut sink.actions);
                self.conns.insert(conn, route);
                self.links.entry(route).or_default().phase = Phase::Up(Box::new(connection));
            }
            Err(why) => self.shut(route, now, &why, sink),
        }
    }

    /// A whole frame came, without its length prefix.
    pub fn on_frame(&mut self, now: Instant, conn: ConnId, frame: Bytes, sink: &mut Sink) {
        let Some(&route) = self.conns.get(&conn) else { return };
        let deadline = now + ms(self.config.socket_connection_setup_timeout_ms);
        let terms = Terms { client_id: &self.config.client_id, deadline };
        let link = self.links.get_mut(&route).expect("a connection's route has a link");
        let connection = link.connection_mut().expect("a known connection is up");
        match connection.on_frame(frame, terms, &mut sink.actions) {
            Ok(Received::Answer(answer)) => sink.outcomes.push(Outcome::Answered(answer)),
            Ok(Received::Handshaken) => {
                link.failures = 0;
                sink.outcomes.push(Outcome::Up { route });
            }
            Ok(Received::AskedAgain) => {}
            Err(why) => self.shut(route, now, &why, sink),
        }
    }

    /// A connection is gone.
    pub fn on_closed(&mut self, now: Instant, conn: ConnId, sink: &mut Sink) {
        if let Some(route) = self.conns.remove(&conn) {
            self.shut(route, now, "the peer closed the connection", sink);
        }
    }

    /// Time has passed: what is overdue is given up.
    pub fn on_timeout(&mut self, now: Instant, sink: &mut Sink) {
        let due = self.links.iter().filter(|(_, link)| link.deadline().is_some_and(|deadline| deadline <= now));
        let due: Vec<_> = due.map(|(&route, _)| route).collect();
        for route in due {
            self.shut(route, now, "no answer in time", sink);
        }
    }

    /// Nobody waits for a call any more, nor for what is behind it: its link is closed, which fails them.
    pub fn give_up(&mut self, now: Instant, call: CallId, sink: &mut Sink) {
        let waits = |link: &Link| link.connection().is_some_and(|it| it.calls(now).any(|(its, _)| its == call));
        if let Some(route) = self.links.iter().find(|(_, link)| waits(link)).map(|(&route, _)| route) {
            self.shut(route, now, "the answer is of no use any more", sink);
        }
    }

    /// When `on_timeout` must be called. Back-off is not in it: whoever is told [`Readiness::Later`] minds that.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(Link::deadline).min()
    }

    fn dial(&mut self, now: Instant, route: Route, sink: &mut Sink) {
        let token = self.next_token;
        self.next_token += 1;
        let deadline = now + ms(self.config.socket_connection_setup_timeout_ms);
        self.tokens.insert(token, route);
        self.links.entry(route).or_default().phase = Phase::Dialling { token, deadline };
        let address = self.addresses.get(&route.peer).expect("only known peers are dialled").clone();
        sink.actions.push(Action::Connect { token, address });
    }

    /// Gives a link up, whatever it is at: its calls fail, and it backs off.
    fn shut(&mut self, route: Route, now: Instant, why: &str, sink: &mut Sink) {
        let link = self.links.entry(route).or_default();
        link.failures = link.failures.saturating_add(1);
        let config = &self.config;
        let backoff = Backoff { first_ms: config.reconnect_backoff_ms, max_ms: config.reconnect_backoff_max_ms };
        let retry_at = now + backoff.delay(link.failures, &mut self.rng);
        match std::mem::replace(&mut link.phase, Phase::Idle { retry_at }) {
            Phase::Idle { .. } => {}
            Phase::Dialling { token, .. } => {
                self.tokens.remove(&token);
            }
            Phase::Up(connection) => {
                let conn = connection.conn();
                if self.conns.remove(&conn).is_some() {
                    sink.actions.push(Action::Close { conn });
                }
                sink.outcomes.extend(connection.calls(now).map(|(call, late)| {
                    let error = if late { RpcError::TimedOut } else { RpcError::Disconnected };
                    Outcome::Failed { call, error }
                }));
            }
        }
        sink.outcomes.push(Outcome::Down { route, why: why.into() });
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
