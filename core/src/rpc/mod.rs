//! Outgoing calls: connections to brokers, as a pure machine that the client and the broker itself share.
//!
//! * [`Pool`]: one link a [`Route`] (a peer, and what the connection is for): dialling, back-off, the handshake,
//!   time-outs. Its owner asks [`Pool::readiness`], sends when that is [`Readiness::Ready`], and gets one
//!   [`Outcome`] for each call.
//! * [`Versions`]: what a broker speaks; each request goes out in the highest version that both sides have.
//! * [`Backoff`]: exponential, with jitter from the seed.
//!
//! | link | on | becomes |
//! |---|---|---|
//! | idle | `connect`, after the back-off | dialling |
//! | dialling | opened | handshaking: ApiVersions is sent (KIP-511: again in an older version if refused) |
//! | dialling | refused, or too late | idle, backing off |
//! | handshaking | its answer | ready |
//! | handshaking, ready | closed; a frame that makes no sense; a call without an answer in time | idle, backing off |
//!
//! Invariants: a call ends in exactly one outcome; answers come in the order of the requests, so a correlation id
//! out of order closes the connection; at most `max_in_flight` calls are unanswered on a link.
//!
//! A Fetch that waits at a broker delays what stands behind it on its connection; therefore a route names a
//! [`Lane`], and each lane is a connection of its own.
//!
//! Absent on purpose: a queue of unsent requests (whoever wants to send waits until the link is ready, so that
//! each request is made from the latest facts), name resolution and framing (the driver's), authentication.

mod backoff;
mod connection;
mod link;
mod pool;
#[cfg(test)]
mod tests;
mod versions;

pub use backoff::Backoff;
pub use connection::Answer;
pub use pool::Pool;
pub use versions::Versions;

use std::fmt;

use bytes::Bytes;
use ottla_wire::{ApiKey, DecodeError};

use crate::machine::ConnId;
use crate::types::BrokerId;

/// One call. The pool counts them from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A broker whose id is known.
    Broker(BrokerId),
    /// An entry of `bootstrap.servers`, by its place.
    Bootstrap(u16),
    /// A node of the metadata quorum, where controllers are reached.
    Controller(BrokerId),
}

/// What a connection is for. Calls of different lanes do not delay each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Calls that are answered at once.
    Control,
    /// Produce, which waits for acknowledgements.
    Produce,
    /// Fetch, which waits for records.
    Fetch,
    /// Calls that wait for others: the administration's.
    Slow,
    /// Calls to a group's coordinator.
    Group,
    /// What a broker tells the controller about itself, which waits until it is committed.
    Broker,
    /// JoinGroup and SyncGroup, which wait for a group's other members.
    Join,
}

/// One connection's place: whom it goes to and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// To whom.
    pub peer: Peer,
    /// What for.
    pub lane: Lane,
}

/// Whether a call can be sent on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Now.
    Ready,
    /// When one that is in flight is answered.
    Busy,
    /// When the connection is up.
    Connecting,
    /// When `connect` is called.
    Idle,
    /// When `connect` is called, not before this: the last attempt failed.
    Later(crate::clock::Instant),
    /// Never: nobody has said where the peer is.
    Unknown,
}

/// What the pool asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial `host:port`; answered by `on_opened` with the same token.
    Connect { token: u64, address: Box<str> },
    /// Send bytes, which have their length prefix.
    Send { conn: ConnId, bytes: Bytes },
    /// Close a connection. Whatever still comes of it is ignored.
    Close { conn: ConnId },
}

/// What the pool tells its owner.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A call was answered.
    Answered(Answer),
    /// A call failed; whether the broker acted on it is not known.
    Failed { call: CallId, error: RpcError },
    /// A link is ready for calls.
    Up { route: Route },
    /// A link failed, dialled or up; all its calls have failed before.
    Down { route: Route, why: Box<str> },
}

/// Where actions and outcomes go. The caller owns it and uses it again.
#[derive(Clone, Debug, Default)]
pub struct Sink {
    /// For the driver.
    pub actions: Vec<Action>,
    /// For the owner of the pool.
    pub outcomes: Vec<Outcome>,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The connection broke before the answer came.
    #[error("the connection broke before the answer came")]
    Disconnected,
    /// No answer came within `request.timeout.ms`.
    #[error("no answer came in time")]
    TimedOut,
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Malformed(DecodeError),
    /// The broker has no version of the API that we have; nothing was sent.
    #[error("the broker has no version of {0} that we have")]
    UnsupportedVersion(ApiKey),
}

/// What a client's configuration says of connections. Fields have the names of Kafka's client configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// `client.id`, sent with each request.
    pub client_id: Box<str>,
    /// The longest wait for an answer.
    pub request_timeout_ms: u64,
    /// The longest wait for a connection, handshake included.
    pub socket_connection_setup_timeout_ms: u64,
    /// The first wait before dialling again.
    pub reconnect_backoff_ms: u64,
    /// The longest such wait.
    pub reconnect_backoff_max_ms: u64,
    /// Unanswered calls on one link.
    pub max_in_flight_requests_per_connection: usize,
}

impl Default for RpcConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            client_id: "ottla".into(),
            request_timeout_ms: 30_000,
            socket_connection_setup_timeout_ms: 10_000,
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 1_000,
            max_in_flight_requests_per_connection: 5,
        }
    }
}

impl Route {
    /// The connection to `broker` for `lane`.
    #[must_use]
    pub const fn to(broker: BrokerId, lane: Lane) -> Self {
        Self { peer: Peer::Broker(broker), lane }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call{}", self.0)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(id) => id.fmt(f),
            Self::Bootstrap(place) => write!(f, "bootstrap{place}"),
            Self::Controller(id) => write!(f, "controller{id}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.peer, self.lane)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { token, address } => write!(f, "connect {address} token={token}"),
            Self::Send { conn, bytes } => write!(f, "{conn} send {} B", bytes.len()),
            Self::Close { conn } => write!(f, "{conn} close"),
        }
    }
}
