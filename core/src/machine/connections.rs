//! Connections: who is connected, and the order of the answers on each.
//!
//! Requests of one connection are pipelined: each is acted on when it comes, and answered in the order of
//! arrival (Kafka's contract, invariant W1). An answer that is ready before an earlier one waits in its slot.
//! Each frame ends in exactly one last `Send` or one `Done`.
//!
//! Bounded: a connection with `ottla.connection.max.pending.requests` unanswered frames is not read until half of
//! them are answered.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;

use super::{ConnId, Effect, Effects, FileRange, ListenerId};
use crate::api::Reply;
use crate::ingress::Head;
use crate::storage::Pin;

/// One frame that is owed an answer: the connection, and the frame's number on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// On which connection.
    pub conn: ConnId,
    /// Which frame of it, from 0.
    pub frame: u64,
}

/// What a frame is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing, by the protocol: Produce with acks=0.
    Nothing,
    /// One buffer.
    Bytes(Bytes),
    /// Buffers and file ranges in turn: a Fetch.
    Parts(Vec<Part>),
    /// The connection is closed instead, when its turn has come.
    Close,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a log, whose file stays open meanwhile.
    Range(FileRange, Option<Pin>),
}

/// Everyone who is connected.
#[derive(Clone, Debug)]
pub struct Connections {
    open: BTreeMap<ConnId, Connection>,
    in_flight: usize,
}

#[derive(Clone, Debug)]
struct Connection {
    listener: ListenerId,
    peer: SocketAddr,
    /// The frame that `slots` starts with.
    oldest: u64,
    /// A slot for each frame that is not answered yet.
    slots: VecDeque<Slot>,
    paused: bool,
    closing: bool,
}

/// A frame that is not answered yet.
#[derive(Clone, Debug)]
struct Slot {
    head: Head,
    /// The answer, once it is there and waits for its turn.
    answer: Option<Answer>,
}

impl Connections {
    /// No connections; at most `in_flight` unanswered frames on each.
    #[must_use]
    pub fn new(in_flight: usize) -> Self {
        Self { open: BTreeMap::new(), in_flight: in_flight.max(1) }
    }

    /// A client came.
    pub fn on_accepted(&mut self, conn: ConnId, listener: ListenerId, peer: SocketAddr) {
        let connection =
            Connection { listener, peer, oldest: 0, slots: VecDeque::new(), paused: false, closing: false };
        self.open.insert(conn, connection);
    }

    /// A connection is gone: what was owed to it is forgotten.
    pub fn on_closed(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    /// A frame came: gives it its place in the order. `None` if the connection is closing or gone, and the
    /// frame is to be dropped.
    #[must_use]
    pub fn on_frame(&mut self, conn: ConnId, head: Head, out: &mut Effects) -> Option<Ticket> {
        let connection = self.open.get_mut(&conn).filter(|connection| !connection.closing)?;
        let frame = connection.oldest + connection.slots.len() as u64;
        connection.slots.push_back(Slot { head, answer: None });
        if connection.slots.len() >= self.in_flight && !connection.paused {
            connection.paused = true;
            out.push(Effect::PauseReading { conn });
        }
        Some(Ticket { conn, frame })
    }

    /// A frame's answer is ready: it is sent when all before it are, and with it those that waited for it.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer, out: &mut Effects) {
        let Some(connection) = self.open.get_mut(&ticket.conn).filter(|connection| !connection.closing) else { return };
        let place = connection.place(ticket).expect("a frame is answered once");
        let slot = &mut connection.slots[place].answer;
        assert!(slot.is_none(), "a frame is answered once");
        *slot = Some(answer);
        connection.send_ready(ticket.conn, out);
        if connection.paused && connection.slots.len() <= self.in_flight / 2 {
            connection.paused = false;
            out.push(Effect::ResumeReading { conn: ticket.conn });
        }
    }

    /// What the answer to a ticket's frame is encoded for; `None` if nobody waits for it any more.
    #[must_use]
    pub fn reply(&self, ticket: Ticket) -> Option<Reply> {
        let connection = self.open.get(&ticket.conn).filter(|connection| !connection.closing)?;
        let head = connection.place(ticket).map(|place| connection.slots[place].head)?;
        Some(Reply { head, listener: connection.listener })
    }

    /// Closes a connection at once; what it is owed is forgotten.
    pub fn close(&mut self, conn: ConnId, out: &mut Effects) {
        if let Some(connection) = self.open.get_mut(&conn) {
            connection.shut(conn, out);
        }
    }

    /// The listener and the address of a client.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<(ListenerId, SocketAddr)> {
        self.open.get(&conn).map(|connection| (connection.listener, connection.peer))
    }

    /// How many are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many frames are not answered yet, on all connections.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.open.values().map(|connection| connection.slots.len()).sum()
    }
}

impl Connection {
    fn place(&self, ticket: Ticket) -> Option<usize> {
        let place = usize::try_from(ticket.frame.checked_sub(self.oldest)?).ok()?;
        (place < self.slots.len()).then_some(place)
    }

    fn send_ready(&mut self, conn: ConnId, out: &mut Effects) {
        while let Some(answer) = self.slots.front_mut().and_then(|slot| slot.answer.take()) {
            self.slots.pop_front();
            self.oldest += 1;
            match answer {
                Answer::Nothing => out.push(Effect::Done { conn }),
                Answer::Bytes(bytes) => out.push(Effect::Send { conn, bytes, last: true }),
                Answer::Parts(parts) => send_parts(conn, parts, out),
                Answer::Close => return self.shut(conn, out),
            }
        }
    }

    fn shut(&mut self, conn: ConnId, out: &mut Effects) {
        if !self.closing {
            self.closing = true;
            out.push(Effect::Close { conn });
        }
    }
}

fn send_parts(conn: ConnId, parts: Vec<Part>, out: &mut Effects) {
    let count = parts.len();
    for (index, part) in parts.into_iter().enumerate() {
        let last = index + 1 == count;
        out.push(match part {
            Part::Bytes(bytes) => Effect::Send { conn, bytes, last },
            Part::Range(range, _) => Effect::SendRange { conn, range, last },
        });
    }
}
