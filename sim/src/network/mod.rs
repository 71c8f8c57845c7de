//! A network of byte streams: cut anywhere, late, lost and sent again, reset, hung, one-way.
//!
//! A connection is two [`stream::Stream`]s. A cut stops what is already in flight; when it heals, what was
//! held comes after a back-off, as TCP's retransmission has it. A reset drops, or does not drop, what is on
//! its way to the node: requests that arrived before it are acted on though nobody waits for the answer.
//! A dial towards a dead process is refused, towards a dead machine or through a cut it hangs.
//!
//! It knows no frames and no clock: the caller steps it when something is due, and reads files for it.

pub mod stream;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::disk::Ino;
use crate::draw::{Draw, Draws, Label};
use crate::time::{MILLISECOND, Nanos, SECOND};
use stream::{Outgoing, Path, Segment, Stream};

/// Who has a network address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A broker.
    Node(u16),
    /// A client.
    Client(u16),
}

/// A connection, for the network; counted from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(pub u64);

/// Which of an endpoint's listeners is dialled, by its place among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door(pub u16);

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who dialled.
    Dialler,
    /// Who was dialled.
    Acceptor,
}

/// How the bytes of a file at an endpoint are read when they leave: (whose, which, from where, how many).
pub type Reader<'a> = &'a mut dyn FnMut(Endpoint, Ino, u64, usize) -> Bytes;

/// What an end learns.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Somebody dialled this door of this endpoint.
    Accepted { wire: Wire, at: Endpoint, door: Door, from: Endpoint },
    /// The dial came up, or did not.
    Dialled { wire: Wire, at: Endpoint, up: bool },
    /// Bytes came.
    Bytes { wire: Wire, side: Side, at: Endpoint, bytes: Bytes },
    /// All that this side sent so far has left it.
    Drained { wire: Wire, side: Side, at: Endpoint },
    /// The connection is gone for this side.
    Closed { wire: Wire, side: Side, at: Endpoint },
}

impl Delivery {
    /// Who learns it.
    #[must_use]
    pub const fn at(&self) -> Endpoint {
        match self {
            Self::Accepted { at, .. }
            | Self::Dialled { at, .. }
            | Self::Bytes { at, .. }
            | Self::Drained { at, .. }
            | Self::Closed { at, .. } => *at,
        }
    }
}

/// What happened to traffic by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    /// A cut held something up.
    Cut,
    /// A reset dropped something.
    Reset,
    /// A connection hung with something on it.
    Hang,
}

/// Who answers a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// A process accepts.
    Yes,
    /// The machine is up, the process is not: refused.
    Refused,
    /// The machine is down.
    Dead,
}

/// All connections.
#[derive(Clone, Debug)]
pub struct Network {
    path: Path,
    draws: Draws,
    wires: BTreeMap<Wire, Connection>,
    queue: BTreeMap<(Nanos, u64), Due>,
    ready: VecDeque<Delivery>,
    cuts: Vec<Cut>,
    listening: BTreeMap<Endpoint, Listening>,
    hits: Vec<Hit>,
    next_wire: u64,
    queued: u64,
}

#[derive(Clone, Debug)]
struct Connection {
    ends: [Endpoint; 2],
    door: Door,
    /// Whether each side still knows the connection.
    known: [bool; 2],
    streams: [Stream; 2],
}

/// Traffic from one set of endpoints to another that does not get through before `until`.
#[derive(Clone, Debug)]
struct Cut {
    from: Endpoint,
    to: Option<Endpoint>,
    until: Nanos,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    /// The dial reaches the other end.
    Syn(Wire),
    /// The answer to it comes back.
    SynAck(Wire, bool),
    /// The first segment in flight from this side arrives at the other.
    Arrive(Wire, Side),
    /// This side learns that the connection was reset.
    Reset(Wire, Side),
}

impl Side {
    const fn index(self) -> usize {
        match self {
            Self::Dialler => 0,
            Self::Acceptor => 1,
        }
    }

    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

impl Network {
    /// A network without connections.
    #[must_use]
    pub const fn new(draws: Draws, path: Path) -> Self {
        Self {
            path,
            draws,
            wires: BTreeMap::new(),
            queue: BTreeMap::new(),
            ready: VecDeque::new(),
            cuts: Vec::new(),
            listening: BTreeMap::new(),
            hits: Vec::new(),
            next_wire: 1,
            queued: 0,
        }
    }

    /// Draws are those of another seed from now on.
    pub const fn reseed(&mut self, draws: Draws) {
        self.draws = draws;
    }

    /// Says who answers at an endpoint from now on.
    pub fn listen(&mut self, at: Endpoint, listening: Listening) {
        self.listening.insert(at, listening);
    }

    /// Dials; `Dialled` comes later, or never.
    pub fn dial(&mut self, now: Nanos, from: Endpoint, to: Endpoint, door: Door) -> Wire {
        let wire = Wire(self.next_wire);
        self.next_wire += 1;
        let streams = [Stream::new(self.path), Stream::new(self.path)];
        let ends = [from, to];
        self.wires.insert(wire, Connection { ends, door, known: [true, false], streams });
        let wait = self.trip(wire, 0);
        self.queue(now + wait, Due::Syn(wire));
        wire
    }

    /// Sends on a connection; nothing happens if it is gone.
    pub fn send(&mut self, now: Nanos, wire: Wire, side: Side, outgoing: Outgoing, read: Reader<'_>) {
        let Some(connection) = self.wires.get_mut(&wire).filter(|connection| connection.known[side.index()]) else {
            return;
        };
        connection.streams[side.index()].push(outgoing);
        self.pump(now, wire, side, read);
    }

    /// Closes in good order: what was sent before still leaves. This side is told when it has.
    pub fn close(&mut self, now: Nanos, wire: Wire, side: Side, read: Reader<'_>) {
        self.send(now, wire, side, Outgoing::End, read);
    }

    /// Stops or resumes the taking of bytes at one side.
    pub fn set_reading(&mut self, now: Nanos, wire: Wire, side: Side, reading: bool, read: Reader<'_>) {
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        let at = connection.ends[side.index()];
        let stream = &mut connection.streams[side.other().index()];
        if reading {
            for bytes in stream.resume() {
                self.ready.push_back(Delivery::Bytes { wire, side, at, bytes });
            }
            self.pump(now, wire, side.other(), read);
        } else {
            stream.reading = false;
        }
    }

    /// When something happens next.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        if !self.ready.is_empty() {
            return Some(0);
        }
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// What an end learns by `now`, if anything.
    pub fn step(&mut self, now: Nanos, read: Reader<'_>) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Some(delivery);
            }
            let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
            match entry.remove() {
                Due::Syn(wire) => self.on_syn(now, wire),
                Due::SynAck(wire, up) => self.on_syn_ack(wire, up),
                Due::Arrive(wire, from) => self.on_arrival(now, wire, from, read),
                Due::Reset(wire, side) => self.tell_closed(wire, side),
            }
        }
    }

    /// Nothing gets from `from` to `to` (or to anyone) before `until`.
    pub fn cut(&mut self, from: Endpoint, to: Option<Endpoint>, until: Nanos) {
        self.cuts.push(Cut { from, to, until });
    }

    /// Resets a connection: both sides learn it, each in its own time. Whether what is on its way to either
    /// side still arrives is drawn.
    pub fn reset(&mut self, now: Nanos, wire: Wire) {
        let draw = self.draws.at(Label::Connection, wire.0, 8);
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        let mut dropped = false;
        for (side, salt) in [(Side::Dialler, 1), (Side::Acceptor, 2)] {
            let stream = &mut connection.streams[side.index()];
            if draw.and(salt).chance(0.5) {
                dropped |= stream.is_busy();
                // Neither does what is sent before the reset is learned arrive: a byte stream has no holes.
                stream.break_off();
            }
        }
        if dropped {
            self.hits.push(Hit::Reset);
        }
        for (side, salt) in [(Side::Dialler, 3), (Side::Acceptor, 4)] {
            let wait = draw.and(salt).exponential(self.path.latency);
            self.queue(now + wait, Due::Reset(wire, side));
        }
    }

    /// A connection hangs: nothing comes through any more, and nobody is told.
    pub fn hang(&mut self, wire: Wire) {
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        connection.streams.iter_mut().for_each(|stream| stream.hung = true);
    }

    /// The process at an endpoint dies: its queues are lost, what is in flight from it is not; its peers
    /// learn the end of each connection.
    pub fn kill(&mut self, now: Nanos, at: Endpoint) {
        let mut read = |_: Endpoint, _: Ino, _: u64, _: usize| Bytes::new();
        for (wire, side) in self.wires_of(at) {
            let Some(connection) = self.wires.get_mut(&wire) else { continue };
            connection.known[side.index()] = false;
            connection.streams[side.index()].lose_queue();
            connection.streams[side.other().index()].lose_all();
            if connection.known[side.other().index()] {
                connection.streams[side.index()].push(Outgoing::End);
                self.pump(now, wire, side, &mut read);
            } else {
                self.wires.remove(&wire);
            }
        }
    }

    /// The machine at an endpoint goes dark: its peers learn nothing until they send after its return.
    pub fn lose_power(&mut self, at: Endpoint) {
        for (wire, side) in self.wires_of(at) {
            let Some(connection) = self.wires.get_mut(&wire) else { continue };
            connection.known[side.index()] = false;
            connection.streams.iter_mut().for_each(Stream::lose_all);
            if !connection.known[side.other().index()] {
                self.wires.remove(&wire);
            }
        }
    }

    /// All connections of an endpoint that it knows of, with its side.
    #[must_use]
    pub fn wires_of(&self, at: Endpoint) -> Vec<(Wire, Side)> {
        let sides = [Side::Dialler, Side::Acceptor];
        // Both, where an endpoint has dialled itself.
        let known = |(wire, connection): (&Wire, &Connection)| {
            let known = sides.map(|side| connection.ends[side.index()] == at && connection.known[side.index()]);
            let known = sides.into_iter().zip(known).filter(|(_, known)| *known);
            known.map(|(side, _)| (*wire, side)).collect::<Vec<_>>()
        };
        self.wires.iter().flat_map(known).collect()
    }

    /// All connections that are up.
    #[must_use]
    pub fn wires(&self) -> Vec<Wire> {
        let up = self.wires.iter().filter(|(_, connection)| connection.known == [true, true]);
        up.map(|(wire, _)| *wire).collect()
    }

    /// Every cut is over.
    pub fn heal(&mut self, now: Nanos) {
        self.cuts.iter_mut().for_each(|cut| cut.until = cut.until.min(now));
    }

    /// Takes what faults did to traffic since the last call.
    pub fn take_hits(&mut self) -> std::vec::Drain<'_, Hit> {
        self.hits.drain(..)
    }

    fn on_syn(&mut self, now: Nanos, wire: Wire) {
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        let ([from, to], door) = (connection.ends, connection.door);
        if let Some(later) = self.blocked(now, wire, from, to) {
            self.queue(later, Due::Syn(wire));
            return;
        }
        let back = now + self.trip(wire, 1);
        match self.listening.get(&to).copied().unwrap_or(Listening::Dead) {
            Listening::Yes => {
                if let Some(connection) = self.wires.get_mut(&wire) {
                    connection.known[1] = true;
                    connection.streams[1].begin(back);
                }
                self.ready.push_back(Delivery::Accepted { wire, at: to, door, from });
                self.queue(back, Due::SynAck(wire, true));
            }
            Listening::Refused => self.queue(back, Due::SynAck(wire, false)),
            // SYNs are sent again, less and less often.
            Listening::Dead => self.queue(now + SECOND, Due::Syn(wire)),
        }
    }

    fn on_syn_ack(&mut self, wire: Wire, up: bool) {
        let Some(connection) = self.wires.get_mut(&wire).filter(|connection| connection.known[0]) else { return };
        let at = connection.ends[0];
        if !up {
            self.wires.remove(&wire);
        }
        self.ready.push_back(Delivery::Dialled { wire, at, up });
    }

    fn on_arrival(&mut self, now: Nanos, wire: Wire, from: Side, read: Reader<'_>) {
        let Some(connection) = self.wires.get(&wire) else { return };
        // It stays where it is, so this is reached once for each direction that had traffic.
        if connection.streams[from.index()].hung {
            self.hits.push(Hit::Hang);
            return;
        }
        let ends = (connection.ends[from.index()], connection.ends[from.other().index()]);
        if let Some(later) = self.blocked(now, wire, ends.0, ends.1) {
            self.hits.push(Hit::Cut);
            self.queue(later, Due::Arrive(wire, from));
            return;
        }
        let connection = self.wires.get_mut(&wire).expect("it was there above");
        let to = from.other();
        let (segment, next) = connection.streams[from.index()].arrive();
        if let Some(next) = next {
            self.queue(next.max(now), Due::Arrive(wire, from));
        }
        match segment {
            None => (),
            Some(_) if !self.wires[&wire].known[to.index()] => self.on_stray(now, wire, from, ends.1),
            Some(Segment::End) => self.on_end(wire, from),
            Some(Segment::Bytes(bytes)) => {
                let stream = &mut self.wires.get_mut(&wire).expect("it was there above").streams[from.index()];
                if let Some(bytes) = stream.receive(bytes) {
                    self.ready.push_back(Delivery::Bytes { wire, side: to, at: ends.1, bytes });
                    self.pump(now, wire, from, read);
                }
            }
        }
    }

    /// Bytes for a process that is no more: its machine, if it is up, answers with a reset.
    fn on_stray(&mut self, now: Nanos, wire: Wire, from: Side, to: Endpoint) {
        if self.listening.get(&to) != Some(&Listening::Dead) {
            let wait = self.trip(wire, 2);
            self.queue(now + wait, Due::Reset(wire, from));
        }
    }

    /// The end of what `from` sent: both sides are done with the connection.
    fn on_end(&mut self, wire: Wire, from: Side) {
        self.tell_closed(wire, from.other());
    }

    fn tell_closed(&mut self, wire: Wire, side: Side) {
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        if std::mem::replace(&mut connection.known[side.index()], false) {
            let at = connection.ends[side.index()];
            self.ready.push_back(Delivery::Closed { wire, side, at });
        }
        if connection.known == [false, false] {
            self.wires.remove(&wire);
        }
    }

    fn pump(&mut self, now: Nanos, wire: Wire, side: Side, read: Reader<'_>) {
        let draws = self.draws;
        let Some(connection) = self.wires.get_mut(&wire) else { return };
        let from = connection.ends[side.index()];
        let stream = &mut connection.streams[side.index()];
        let was_drained = stream.is_drained();
        let identity = wire.0 * 2 + side.index() as u64;
        let draw = |segment| draws.at(Label::Segment, identity, segment);
        let arrival = stream.pump(now, draw, &mut |ino, pos, len| read(from, ino, pos, len));
        let drained = !was_drained && stream.is_drained();
        let closing = stream.is_closing();
        if let Some(arrival) = arrival {
            self.queue(arrival, Due::Arrive(wire, side));
        }
        if drained && closing {
            self.tell_closed(wire, side);
        } else if drained {
            self.ready.push_back(Delivery::Drained { wire, side, at: from });
        }
    }

    /// When a segment that a cut holds up is tried again.
    fn blocked(&mut self, now: Nanos, wire: Wire, from: Endpoint, to: Endpoint) -> Option<Nanos> {
        self.cuts.retain(|cut| cut.until > now);
        let matching = self.cuts.iter().filter(|cut| cut.from == from && cut.to.is_none_or(|end| end == to));
        let until = matching.map(|cut| cut.until).max()?;
        let back_off = self.draws.at(Label::Connection, wire.0, now);
        Some(until.saturating_add(back_off.exponential(200 * MILLISECOND)))
    }

    fn trip(&self, wire: Wire, which: u64) -> Nanos {
        let draw: Draw = self.draws.at(Label::Connection, wire.0, which);
        let mean = self.path.latency;
        mean / 2 + draw.exponential(mean - mean / 2)
    }

    fn queue(&mut self, due: Nanos, what: Due) {
        self.queued += 1;
        self.queue.insert((due, self.queued), what);
    }
}

#[cfg(test)]
mod tests;
