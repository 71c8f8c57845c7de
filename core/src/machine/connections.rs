//! Connections: who is connected, and the order of the answers on each.
//!
//! Requests of one connection are pipelined: each is acted on when it comes, and answered in the order of
//! arrival (Kafka's contract, invariant W1). An answer that is ready before an earlier one waits in its slot.
//! Each frame ends in exactly one last `Send` or one `Done`.
//!
//! Bounded: a connection with `ottla.connection.max.pending.requests` unanswered frames is not read until half of
//! them are answered, nor is one with more than `ottla.connection.max.unsent.bytes` of answers that wait for their turn
//! until half of these have had it.

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

impl Answer {
    /// Bytes of it that are in memory.
    fn memory(&self) -> usize {
        let of_part = |part: &Part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 };
        match self {
            Self::Nothing | Self::Close => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(of_part).sum(),
        }
    }
}

/// Everyone who is connected.
#[derive(Clone, Debug)]
pub struct Connections {
    open: BTreeMap<ConnId, Connection>,
    in_flight: usize,
    unsent_bytes: usize,
}

#[derive(Clone, Debug)]
struct Connection {
    listener: ListenerId,
    peer: SocketAddr,
    /// The frame that `slots` starts with.
    oldest: u64,
    /// A slot for each frame that is not answered yet.
    slots: VecDeque<Slot>,
    /// Bytes of the answers that wait for their turn.
    waiting: usize,
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
    /// No connections; at most `in_flight` unanswered frames on each, and not much more than `unsent_bytes` of answers
    /// that wait for one before them.
    #[must_use]
    pub fn new(in_flight: usize, unsent_bytes: usize) -> Self {
        Self { open: BTreeMap::new(), in_flight: in_flight.max(1), unsent_bytes }
    }

    /// A client came.
    pub fn on_accepted(&mut self, conn: ConnId, listener: ListenerId, peer: SocketAddr) {
        let connection =
            Connection { listener, peer, oldest: 0, slots: VecDeque::new(), waiting: 0, paused: false, closing: false };
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
        connection.waiting += answer.memory();
        *slot = Some(answer);
        connection.send_ready(ticket.conn, out);
        let is_calm = connection.slots.len() <= self.in_flight / 2 && connection.waiting <= self.unsent_bytes / 2;
        if connection.paused && is_calm {
            connection.paused = false;
            out.push(Effect::ResumeReading { conn: ticket.conn });
        } else if !connection.paused && connection.waiting > self.unsent_bytes {
            connection.paused = true;
            out.push(Effect::PauseReading { conn: ticket.conn });
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
            self.waiting -= answer.memory();
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

#[cfg(test)]
mod tests {
    use ottla_wire::ApiKey;

    use super::*;

    const CONN: ConnId = ConnId(1);

    /// What happens to the connection, from this on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a test does not look for it passes over")]
    fn told(out: &mut Effects) -> Vec<&'static str> {
        let effects = out.drain();
        let what = effects.filter_map(|effect| match effect {
            Effect::PauseReading { .. } => Some("pause"),
            Effect::ResumeReading { .. } => Some("resume"),
            Effect::Send { .. } => Some("send"),
            _ => None,
        });
        what.collect()
    }

    #[test]
    fn answers_that_wait_for_a_long_poll_are_bounded() {
        let mut connections = Connections::new(10, 1000);
        connections.on_accepted(CONN, ListenerId(0), ([127, 0, 0, 1], 9092).into());
        let mut out = Effects::new();
        let head = Head { api_key: ApiKey::Metadata, api_version: 1, correlation_id: 0 };
        let tickets: Vec<Ticket> =
            (0..4).map(|_| connections.on_frame(CONN, head, &mut out).expect("it is open")).collect();
        let large = || Answer::Bytes(vec![0; 501].into());
        connections.answer(tickets[2], large(), &mut out);
        assert_eq!(told(&mut out), [""; 0]);
        connections.answer(tickets[1], large(), &mut out);
        assert_eq!(told(&mut out), ["pause"]);
        connections.answer(tickets[0], large(), &mut out);
        assert_eq!(told(&mut out), ["send", "send", "send", "resume"]);
        connections.answer(tickets[3], large(), &mut out);
        assert_eq!(told(&mut out), ["send"]);
    }
}
