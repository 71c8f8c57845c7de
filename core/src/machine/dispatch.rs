//! The machine: one step at a time, from an input to its effects.

use super::connections::{Answer, Connections, Ticket};
use super::peers::Peers;
use super::{ConnId, Effect, Effects, Input, Level, Opened};
use crate::api::{self, Call};
use crate::broker::{Broker, View};
use crate::clock::{Instant, Now};
use crate::config::Config;
use crate::controller::MetadataImage;
use crate::coordinator::ShardView;
use crate::ingress::{Malformed, Request};
use crate::log::{DerivedView, LogId};
use crate::raft::Raft;
use crate::replication::Replica;
use crate::types::{BrokerEpoch, Offset, TopicPartition};

/// A node's whole logic.
#[derive(Clone, Debug)]
pub struct Machine {
    broker: Broker,
    connections: Connections,
    peers: Peers,
    started: bool,
}

impl Machine {
    /// A machine that has read nothing yet; its first step, whatever it is, begins to.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let limits = &config.broker.limits;
        let connections = Connections::new(limits.connection_max_pending_requests, limits.connection_max_unsent_bytes);
        let peers = Peers::new(&config.broker, seed);
        Self { broker: Broker::new(config, seed), connections, peers, started: false }
    }

    /// One whole step.
    ///
    /// # Panics
    /// If an invariant is broken. Nothing that a socket or a disk says can do that.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Effects) {
        if !self.started {
            self.started = true;
            self.broker.start(now, out);
        }
        match input {
            Input::Opened { conn, how } => self.on_opened(now, conn, how, out),
            Input::Frame { conn, request } => self.on_frame(now, conn, &request, out),
            Input::Answer { conn, frame } => self.peers.on_answer(now, conn, frame),
            Input::Malformed { conn, why } => self.on_malformed(conn, &why, out),
            Input::Drained { .. } => {}
            Input::Closed { conn } => self.on_closed(now, conn),
            Input::Disk { op, result } => self.broker.on_disk(now, op, result, out),
            Input::JobDone { job, report } => self.broker.on_job(now, job, *report, out),
            Input::Shutdown => self.broker.shutdown(now, out),
            Input::Timeout => {
                self.broker.on_timeout(now, out);
                self.peers.on_timeout(now);
            }
        }
        self.broker.settle(now, out);
        while self.peers.settle(now, &mut self.broker, out) {
            self.broker.settle(now, out);
        }
        self.answer_released(out);
    }

    /// When `Input::Timeout` is due: at or after this. `None`: not before something else comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant(0));
        }
        [self.broker.next_deadline(), self.peers.next_deadline()].into_iter().flatten().min()
    }

    /// A look at everything.
    #[must_use]
    pub fn view(&self) -> View {
        self.broker.view()
    }

    /// What each log has derived from its batches, for invariant S8.
    pub fn derived(&self) -> impl Iterator<Item = DerivedView> {
        self.broker.derived()
    }

    /// Each partition that this node holds a replica of, for the invariants of replication.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.broker.held()
    }

    /// Where a replica's log begins, and where it ends.
    #[must_use]
    pub fn log_range(&self, log: LogId) -> std::ops::Range<Offset> {
        self.broker.log_range(log)
    }

    /// The epoch of this process's registration, if it has one.
    #[must_use]
    pub const fn registered(&self) -> Option<BrokerEpoch> {
        self.broker.registered()
    }

    /// What each shard of the group coordinator takes for committed, and its log, for invariant S8.
    pub fn shards(&self) -> impl Iterator<Item = (TopicPartition, ShardView)> {
        self.broker.shards()
    }

    /// Whether a shard of the group coordinator still reads its log.
    #[must_use]
    pub fn loads_groups(&self) -> bool {
        self.broker.loads_groups()
    }

    /// This node in the metadata quorum, and where its log ends; `None` before that is read.
    #[must_use]
    pub fn quorum(&self) -> Option<(&Raft, Offset)> {
        self.broker.quorum()
    }

    /// The committed metadata.
    #[must_use]
    pub const fn image(&self) -> &MetadataImage {
        self.broker.image()
    }

    /// The connections, and the frames on them that are not answered yet.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        (self.connections.len(), self.connections.unanswered())
    }

    fn on_opened(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut Effects) {
        match how {
            Opened::Accepted { listener, peer } if self.broker.serves(listener) => {
                self.connections.on_accepted(conn, listener, peer);
            }
            // No client is served before the metadata says what is led here.
            Opened::Accepted { .. } => out.push(Effect::Close { conn }),
            Opened::Dialled { token, result } => self.peers.on_opened(now, (conn, token), result),
        }
    }

    fn on_frame(&mut self, now: Now, conn: ConnId, request: &Request, out: &mut Effects) {
        let Some(ticket) = self.connections.on_frame(conn, request.head, out) else { return };
        self.broker.on_next_frame(conn, out);
        let (Some(reply), Some((_, peer))) = (self.connections.reply(ticket), self.connections.peer(conn)) else {
            return;
        };
        let handled = api::handle(Call { broker: &mut self.broker, now, ticket, request, reply, peer, out });
        match handled {
            Ok(Some(answer)) => self.answer(ticket, answer, out),
            Ok(None) => {}
            Err(error) => {
                let why = Malformed { head: Some(request.head), error };
                self.note_malformed(conn, &why, out);
                self.answer(ticket, Answer::Close, out);
            }
        }
    }

    fn on_malformed(&mut self, conn: ConnId, why: &Malformed, out: &mut Effects) {
        self.note_malformed(conn, why, out);
        self.connections.close(conn, out);
    }

    fn on_closed(&mut self, now: Now, conn: ConnId) {
        self.peers.on_closed(now, conn);
        self.connections.on_closed(conn);
        self.broker.on_closed(now, conn);
    }

    fn answer_released(&mut self, out: &mut Effects) {
        let mut released = self.broker.released();
        for (ticket, outcome) in released.drain(..) {
            if let Some(reply) = self.connections.reply(ticket) {
                let answer = api::encode(&self.broker, reply, outcome);
                self.answer(ticket, answer, out);
            }
        }
        self.broker.give_back(released);
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, out: &mut Effects) {
        self.connections.answer(ticket, answer, out);
    }

    fn note_malformed(&self, conn: ConnId, why: &Malformed, out: &mut Effects) {
        let peer = self.connections.peer(conn).map_or_else(|| "a client".to_owned(), |(_, peer)| peer.to_string());
        out.note(Level::Warn, format!("{peer} is disconnected: {why}"));
    }
}
