//! Connections as the processes at their ends know them: accepted ones, on which others ask, and dialled ones, on which
//! a node asks others.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ottla_core::ingress::ingress;
use ottla_core::machine::{ConnId, Input, ListenerId, Opened};

use super::World;
use super::agenda::Moment;
use super::node::Conn;
use crate::invariants::Fact;
use crate::network::stream::Outgoing;
use crate::network::{Delivery, Door, Endpoint, Network, Reader, Side, Wire};

impl World {
    /// The network does what is due.
    pub(super) fn on_network(&mut self) {
        let mut delivery = None;
        self.with_reader(|network, now, read| delivery = network.step(now, read));
        self.count_network();
        let Some(delivery) = delivery else { return };
        match delivery.at() {
            Endpoint::Node(at) => self.on_node_delivery(usize::from(at), delivery),
            Endpoint::Client(id) => self.on_client_delivery(usize::from(id), delivery),
        }
    }

    fn on_node_delivery(&mut self, at: usize, delivery: Delivery) {
        match delivery {
            Delivery::Accepted { wire, door, from, .. } => self.on_accepted(at, wire, door, from),
            Delivery::Dialled { wire, up, .. } => self.on_node_dialled(at, wire, up),
            Delivery::Bytes { wire, side, bytes, .. } => self.on_node_bytes(at, (wire, side), bytes),
            Delivery::Drained { wire, side, .. } => self.on_drained(at, (wire, side)),
            Delivery::Closed { wire, side, .. } => self.on_node_closed(at, (wire, side)),
        }
    }

    fn on_client_delivery(&mut self, index: usize, delivery: Delivery) {
        match delivery {
            Delivery::Dialled { wire, up, .. } => self.with_client(index, |client, ctx, out| {
                client.on_dialled(ctx, wire, up, out);
            }),
            Delivery::Bytes { wire, bytes, .. } => {
                self.read_along(|cross| cross.on_answers(wire, bytes.clone()));
                self.with_client(index, |client, ctx, out| client.on_bytes(ctx, wire, bytes, out));
            }
            Delivery::Closed { wire, .. } => {
                self.with_client(index, |client, ctx, out| client.on_closed(ctx, wire, out));
                self.stop_reading_along(wire);
            }
            // Nobody dials a client.
            Delivery::Accepted { .. } | Delivery::Drained { .. } => (),
        }
    }

    /// A machine dials another node, or itself.
    pub(super) fn dial(&mut self, at: usize, token: u64, address: &str) {
        let Some((to, door)) = self.setting.find(address) else {
            return self.judge.report("driver", format!("n{at} dials {address}, where nobody can be"));
        };
        let (from, to) = (self.nodes[at].endpoint(), self.nodes[to].endpoint());
        let wire = self.network.dial(self.now, from, to, door);
        if let Some(process) = &mut self.nodes[at].process {
            process.conns.dials.insert(wire, token);
        }
    }

    fn on_accepted(&mut self, at: usize, wire: Wire, Door(door): Door, from: Endpoint) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let conn = process.conns.open((wire, Side::Acceptor));
        let (network, id) = match from {
            Endpoint::Client(id) => (0, id),
            Endpoint::Node(id) => (1, id),
        };
        let last = u8::try_from(id % 250).unwrap_or(0);
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, network, last), 10_000));
        let how = Opened::Accepted { listener: ListenerId(door), peer };
        process.inbox.push_back(Input::Opened { conn, how });
    }

    fn on_node_dialled(&mut self, at: usize, wire: Wire, up: bool) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let Some(token) = process.conns.dials.remove(&wire) else { return };
        let (conn, result) = match up {
            true => (process.conns.open((wire, Side::Dialler)), Ok(())),
            false => (process.conns.next_id(), Err("refused".into())),
        };
        process.inbox.push_back(Input::Opened { conn, how: Opened::Dialled { token, result } });
    }

    fn on_node_bytes(&mut self, at: usize, end: (Wire, Side), bytes: Bytes) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let Some(id) = process.conns.find(end) else { return };
        let limit = process.conns.inflated_limit;
        let Some(conn) = process.conns.known.get_mut(&id) else { return };
        let mut frames = Vec::new();
        let good = conn.frames.push(bytes, &mut frames).is_ok();
        for frame in frames {
            process.inbox.push_back(match end.1 {
                Side::Dialler => Input::Answer { conn: id, frame },
                Side::Acceptor => match ingress(frame, limit) {
                    Ok(request) => Input::Frame { conn: id, request },
                    Err(why) => Input::Malformed { conn: id, why: Box::new(why) },
                },
            });
        }
        if !good {
            // As the driver does: nothing after an impossible length can be trusted.
            self.with_reader(|network, now, read| network.close(now, end.0, end.1, read));
        }
    }

    fn on_drained(&mut self, at: usize, end: (Wire, Side)) {
        let Some(process) = &mut self.nodes[at].process else { return };
        if let Some(conn) = process.conns.find(end) {
            process.inbox.push_back(Input::Drained { conn });
        }
    }

    fn on_node_closed(&mut self, at: usize, end: (Wire, Side)) {
        let Some(process) = &mut self.nodes[at].process else { return };
        if let Some(conn) = process.conns.close(end) {
            process.inbox.push_back(Input::Closed { conn });
        }
    }

    /// A connection as the process at its end knows it.
    pub(super) fn conn(&mut self, at: usize, conn: ConnId) -> Option<&mut Conn> {
        self.nodes[at].process.as_mut()?.conns.known.get_mut(&conn)
    }

    /// Answers come in the order of the requests: the first part of one has the correlation id.
    pub(super) fn send_bytes(&mut self, at: usize, conn: ConnId, bytes: Bytes, last: bool) {
        if let Some(open) = self.conn(at, conn)
            && open.end.1 == Side::Acceptor
            && !open.answering
            && let Some(answers) = bytes.get(4..8).and_then(|id| id.first_chunk::<4>())
        {
            let (owed, answers) = (open.owed.front().copied(), i32::from_be_bytes(*answers));
            let vote = owed.and_then(|owed| owed.vote);
            let owed = owed.map(|owed| owed.correlation);
            self.judge.of_node(at, &Fact::Answered { conn: conn.0, owed, answers });
            if let Some(vote) = vote {
                self.judge_ballot(at, vote, &bytes);
            }
        }
        self.send(at, conn, Outgoing::Bytes(bytes));
        self.end_answer(at, conn, last);
    }

    pub(super) fn end_answer(&mut self, at: usize, conn: ConnId, last: bool) {
        if let Some(open) = self.conn(at, conn) {
            open.answering = !last;
            if last {
                open.owed.pop_front();
            }
        }
    }

    pub(super) fn send(&mut self, at: usize, conn: ConnId, outgoing: Outgoing) {
        let Some((wire, side)) = self.conn(at, conn).map(|conn| conn.end) else { return };
        self.with_reader(|network, now, read| network.send(now, wire, side, outgoing, read));
        if self.agenda.is_armed() {
            self.on_moment(at, Moment::Sent);
        }
    }

    pub(super) fn close(&mut self, at: usize, conn: ConnId) {
        if let Some(conn) = self.conn(at, conn) {
            conn.closing = true;
            let (wire, side) = conn.end;
            self.with_reader(|network, now, read| network.close(now, wire, side, read));
        }
    }

    pub(super) fn set_reading(&mut self, at: usize, conn: ConnId, reading: bool) {
        let Some((wire, side)) = self.conn(at, conn).map(|conn| conn.end) else { return };
        self.with_reader(|network, now, read| network.set_reading(now, wire, side, reading, read));
    }

    /// Lets the network do something for which it may have to read files: of the node that sends them.
    fn with_reader(&mut self, act: impl FnOnce(&mut Network, u64, Reader<'_>)) {
        let nodes = &mut self.nodes;
        act(&mut self.network, self.now, &mut |whose, ino, pos, len| match whose {
            Endpoint::Node(at) => nodes[usize::from(at)].disk.read_ino(ino, pos, len).bytes,
            Endpoint::Client(_) => Bytes::new(),
        });
        for at in 0..self.nodes.len() {
            self.count_disk(at);
        }
    }
}
