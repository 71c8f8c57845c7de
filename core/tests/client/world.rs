//! Clients, their servers, and connections between them that carry whole frames, in virtual time. The servers are
//! the brokers of the model, or the real machine with a disk. Most tests have one client, the first.
//!
//! A connection carries frames in order, each after a drawn latency. When it breaks, what is under way to the
//! client is lost, and what is under way to the broker may yet arrive: the client cannot tell.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use ottla_core::client::{Client, ClientConfig, ClientEffect, ClientEffects, ClientInput, Command, Event};
use ottla_core::clock::{Instant, Now, WallTime};
use ottla_core::machine::ConnId;
use ottla_core::rng::Rng;

use crate::disk::Crash;
use crate::model::Model;
use crate::node::Node;

pub struct World {
    pub seats: Vec<Seat>,
    pub servers: Servers,
    pub now: Instant,
    rng: Rng,
    queue: BTreeMap<(Instant, u64), Happening>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
    next_event: u64,
    /// Chances in 1,000 that a frame breaks its connection, and that a dial fails.
    pub break_chance: u64,
    pub refuse_chance: u64,
    /// The longest latency of a frame, in microseconds.
    pub latency_us: u64,
    /// A broker that nobody can dial.
    pub down: Option<i32>,
    pub dials: u64,
    disk_is_due: bool,
}

/// A client, and what it has told its program.
pub struct Seat {
    pub client: Client,
    pub events: Vec<Event>,
}

/// The first client's.
impl Deref for World {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seats[0]
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Seat {
        &mut self.seats[0]
    }
}

/// Whom the clients speak to.
pub enum Servers {
    Model(Box<Model>),
    Real(Box<Node>),
}

struct Conn {
    /// Which client's.
    who: usize,
    broker: i32,
    /// Frames do not overtake each other.
    last_to_broker: Instant,
    last_to_client: Instant,
}

enum Happening {
    Opened {
        who: usize,
        conn: ConnId,
        token: u64,
        broker: i32,
        up: bool,
    },
    ToBroker {
        conn: ConnId,
        broker: i32,
        frame: Bytes,
    },
    ToClient {
        conn: ConnId,
        frame: Bytes,
    },
    Closed {
        who: usize,
        conn: ConnId,
    },
    /// The real broker learns that a connection is gone.
    Left {
        conn: ConnId,
    },
    /// The real broker's disk does something.
    Disk,
}

impl World {
    pub fn new(config: &ClientConfig, servers: Servers, seed: u64) -> Self {
        Self {
            seats: vec![Seat { client: Client::new(config, seed), events: Vec::new() }],
            servers,
            disk_is_due: false,
            now: Instant(1_000_000_000),
            rng: Rng::new(seed ^ 0x5eed),
            queue: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 1,
            next_event: 0,
            break_chance: 0,
            refuse_chance: 0,
            latency_us: 2_000,
            down: None,
            dials: 0,
        }
    }

    pub fn model(&mut self) -> &mut Model {
        let Servers::Model(model) = &mut self.servers else { panic!("the servers are real") };
        model
    }

    pub fn command(&mut self, command: Command) {
        self.command_of(0, command);
    }

    pub fn command_of(&mut self, who: usize, command: Command) {
        self.step(who, ClientInput::Command(command));
    }

    /// Another client; its number.
    pub fn seat(&mut self, config: &ClientConfig, seed: u64) -> usize {
        self.seats.push(Seat { client: Client::new(config, seed), events: Vec::new() });
        self.seats.len() - 1
    }

    /// A client's process dies, and another takes its place, which knows nothing.
    pub fn replace(&mut self, who: usize, config: &ClientConfig, seed: u64) {
        let open: Vec<_> = self.conns.iter().filter(|(_, conn)| conn.who == who).map(|(&conn, _)| conn).collect();
        open.into_iter().for_each(|conn| self.leave(conn));
        // What is under way to the old one is for nobody.
        self.queue.retain(|_, happening| match happening {
            Happening::Opened { who: whose, .. } | Happening::Closed { who: whose, .. } => *whose != who,
            _ => true,
        });
        self.seats[who] = Seat { client: Client::new(config, seed), events: Vec::new() };
    }

    /// Lets time pass, up to `until`.
    pub fn run_until(&mut self, until: Instant) {
        let mut idle_steps = 0;
        loop {
            let due = |(who, seat): (usize, &Seat)| seat.client.next_deadline().map(|at| (at.max(self.now), who));
            let first = self.seats.iter().enumerate().filter_map(due).min();
            let deadline = first.map(|(at, _)| at);
            let event = self.queue.keys().next().map(|key| key.0);
            let server = self.server_deadline();
            let Some(next) = [deadline, server, event].into_iter().flatten().min().filter(|&at| at <= until) else {
                break;
            };
            idle_steps = if next > self.now { 0 } else { idle_steps + 1 };
            assert!(idle_steps < 10_000, "the client wants time to stand still");
            self.now = next;
            if event == Some(next) {
                let (_, happening) = self.queue.pop_first().unwrap();
                self.happen(happening);
            } else if server == Some(next) {
                self.at_node(Node::on_timeout);
            } else {
                let who = first.expect("somebody's deadline is the next").1;
                self.step(who, ClientInput::Timeout);
                let after = self.seats[who].client.next_deadline();
                assert!(after.is_none_or(|at| at > self.now), "a deadline is later than now after a Timeout");
            }
        }
        self.now = until;
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Opened { who, conn, token, broker, up: true } => {
                let conn_of = Conn { who, broker, last_to_broker: self.now, last_to_client: self.now };
                self.conns.insert(conn, conn_of);
                if matches!(self.servers, Servers::Real(_)) {
                    self.at_node(|node, now| node.on_accepted(now, conn));
                }
                self.step(who, ClientInput::Opened { conn, token, result: Ok(()) });
            }
            Happening::Opened { who, conn, token, .. } => {
                self.step(who, ClientInput::Opened { conn, token, result: Err("refused".into()) });
            }
            Happening::ToBroker { conn, broker, frame } => match &mut self.servers {
                Servers::Model(model) => {
                    let answer = model.answer(broker, &frame[4..]);
                    let wait = if model.held { Duration::from_millis(100) } else { Duration::ZERO };
                    answer.into_iter().for_each(|answer| self.deliver(conn, &answer, wait));
                }
                Servers::Real(_) => self.at_node(|node, now| node.on_frame(now, conn, frame.slice(4..))),
            },
            Happening::Left { conn } => self.at_node(|node, now| node.on_left(now, conn)),
            Happening::Disk => {
                self.disk_is_due = false;
                self.at_node(Node::on_disk);
            }
            Happening::ToClient { conn, frame } => {
                if let Some(who) = self.conns.get(&conn).map(|conn| conn.who) {
                    self.step(who, ClientInput::Frame { conn, bytes: frame });
                }
            }
            Happening::Closed { who, conn } => self.step(who, ClientInput::Closed { conn }),
        }
    }

    /// The real broker dies; what it had queued, and all its connections are gone. Another process finds its disk.
    pub fn restart(&mut self, crash: Crash) {
        for (conn, Conn { who, .. }) in std::mem::take(&mut self.conns) {
            let at = self.later();
            self.put(at, Happening::Closed { who, conn });
        }
        self.at_node(|node, now| node.restart(now, crash));
    }

    fn server_deadline(&self) -> Option<Instant> {
        match &self.servers {
            Servers::Model(_) => None,
            Servers::Real(node) => node.next_deadline().map(|at| at.max(self.now)),
        }
    }

    /// Lets the real broker act, and carries out what it wants.
    fn at_node(&mut self, act: impl FnOnce(&mut Node, Now)) {
        let now = self.clock();
        let Servers::Real(node) = &mut self.servers else { panic!("the model needs no time") };
        act(node, now);
        let (answers, closed) = node.take_output();
        let busy = node.disk_is_busy();
        for (conn, frame) in answers {
            self.deliver(conn, &frame, Duration::ZERO);
        }
        for conn in closed {
            if let Some(Conn { who, .. }) = self.conns.remove(&conn) {
                let at = self.later();
                self.put(at, Happening::Closed { who, conn });
            }
        }
        if busy && !self.disk_is_due {
            self.disk_is_due = true;
            let at = self.now + Duration::from_micros(1 + self.rng.below(500));
            self.put(at, Happening::Disk);
        }
    }

    /// An answer, with its length prefix, goes out after a while.
    fn deliver(&mut self, conn: ConnId, answer: &Bytes, wait: Duration) {
        let at = self.later() + wait;
        let Some(link) = self.conns.get_mut(&conn) else { return };
        link.last_to_client = link.last_to_client.max(at);
        let at = link.last_to_client;
        self.put(at, Happening::ToClient { conn, frame: answer.slice(4..) });
    }

    fn clock(&self) -> Now {
        let wall = WallTime(1_700_000_000_000 + i64::try_from(self.now.0 / 1_000_000).unwrap());
        Now { monotonic: self.now, wall }
    }

    fn step(&mut self, who: usize, input: ClientInput) {
        let now = self.clock();
        let mut out = ClientEffects::new();
        self.seats[who].client.handle(now, input, &mut out);
        for effect in out.drain() {
            match effect {
                ClientEffect::Connect { token, address } => self.dial(who, token, &address),
                ClientEffect::Send { conn, bytes } => self.send(conn, bytes),
                ClientEffect::Close { conn } => self.leave(conn),
                ClientEffect::Event(event) => self.seats[who].events.push(event),
            }
        }
    }

    fn dial(&mut self, who: usize, token: u64, address: &str) {
        self.dials += 1;
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let host = address.strip_suffix(":9092").unwrap();
        let broker = host.strip_prefix("broker").map_or(0, |id| id.parse().unwrap());
        let up = self.rng.below(1_000) >= self.refuse_chance && self.down != Some(broker);
        let at = self.later();
        self.put(at, Happening::Opened { who, conn, token, broker, up });
    }

    fn send(&mut self, conn: ConnId, frame: Bytes) {
        let at = self.later();
        let Some(link) = self.conns.get_mut(&conn) else { return };
        link.last_to_broker = link.last_to_broker.max(at);
        let (at, broker, who) = (link.last_to_broker, link.broker, link.who);
        let breaks = self.rng.below(1_000) < self.break_chance;
        let arrives = !breaks || self.rng.below(2) == 0;
        if breaks {
            self.leave(conn);
            let closed = self.later();
            self.put(closed, Happening::Closed { who, conn });
        }
        if arrives {
            // What was sent before a break may arrive long after it.
            let at = if breaks { at + Duration::from_micros(self.rng.below(50 * self.latency_us)) } else { at };
            self.put(at, Happening::ToBroker { conn, broker, frame });
        }
    }

    /// A connection is gone. The broker learns of it when all that was under way has come.
    fn leave(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() && matches!(self.servers, Servers::Real(_)) {
            let at = self.now + Duration::from_micros(60 * self.latency_us);
            self.put(at, Happening::Left { conn });
        }
    }

    fn later(&mut self) -> Instant {
        self.now + Duration::from_micros(1 + self.rng.below(self.latency_us))
    }

    fn put(&mut self, at: Instant, happening: Happening) {
        self.next_event += 1;
        self.queue.insert((at, self.next_event), happening);
    }
}
