//! Core's own client, driven as a program's driver does it: its connections, its clock, framing, deadlines.
//!
//! It is the client that programs use, so its accumulator, retries, sessions and back-off are under the same
//! faults as the broker. What it is told to do, and what its events mean, is its
//! [`Program`](crate::workload::program::Program)'s.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_core::client::{Client as Machine, ClientConfig, ClientEffect, ClientEffects, ClientInput};
use ottla_core::machine::ConnId;
use ottla_core::planted::Planted;

use super::{Ctx, MAX_RESPONSE, Target, Want};
use crate::clock::Clock;
use crate::draw::Label;
use crate::frames::Frames;
use crate::network::Wire;
use crate::time::Nanos;
use crate::workload::program::Program;

/// One client.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// Its number.
    pub id: u16,
    /// What it does.
    pub program: Program,
    machine: Machine,
    /// The bugs that each of its processes carries.
    planted: Planted,
    clock: Clock,
    /// Dials that the network was asked for, or is to be asked for.
    dials: VecDeque<Dial>,
    links: Vec<Link>,
    /// How many draws it has made.
    pub steps: u64,
    /// How many processes it was before this one.
    lives: u64,
    /// Whom each of them asks first.
    servers: Vec<Box<str>>,
    due: Nanos,
    effects: ClientEffects,
}

/// A connection that is to come up.
#[derive(Clone, Copy, Debug)]
struct Dial {
    token: u64,
    /// Once it is known.
    wire: Option<Wire>,
    /// Whose it is.
    life: u64,
}

/// A connection that is up.
#[derive(Clone, Debug)]
struct Link {
    wire: Wire,
    frames: Frames,
}

impl Hosted {
    /// A client that begins at `now`.
    #[must_use]
    pub fn new(id: u16, program: Program, config: &ClientConfig, seed: u64, clock: Clock, now: Nanos) -> Self {
        Self {
            id,
            program,
            machine: Machine::new(config, seed),
            planted: config.planted,
            clock,
            dials: VecDeque::new(),
            links: Vec::new(),
            steps: 0,
            lives: 0,
            servers: config.bootstrap_servers.clone(),
            due: now,
            effects: ClientEffects::new(),
        }
    }

    /// When it wants to be called if nothing happens.
    #[must_use]
    pub const fn next_due(&self) -> Nanos {
        self.due
    }

    /// When it gives up a request that it waits for.
    #[must_use]
    pub fn request_deadline(&self) -> Option<Nanos> {
        self.machine.request_deadline().and_then(|deadline| self.clock.world_time(deadline))
    }

    /// The oldest dial that has no connection yet has this one.
    pub fn dialling(&mut self, wire: Wire) {
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.wire.is_none()) {
            dial.wire = Some(wire);
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>) {
        let now = self.clock.now(ctx.now).monotonic;
        let overdue = |machine: &Machine| machine.next_deadline().is_some_and(|due| due <= now);
        if overdue(&self.machine) {
            self.step(ctx, out, ClientInput::Timeout);
            if overdue(&self.machine) {
                ctx.judge.report("deadline", format!("client {}: still due after a Timeout", self.id));
            }
        }
        self.go_on(ctx, out);
    }

    /// The dial came up, or did not.
    pub fn on_dialled(&mut self, ctx: &mut Ctx<'_>, wire: Wire, up: bool, out: &mut Vec<Want>) {
        let Some(place) = self.dials.iter().position(|dial| dial.wire == Some(wire)) else { return };
        let Dial { token, life, .. } = self.dials.remove(place).expect("it was just found");
        if life != self.lives {
            out.push(Want::Close(wire));
            return;
        }
        if up {
            self.links.push(Link { wire, frames: Frames::new(MAX_RESPONSE) });
        }
        let result = if up { Ok(()) } else { Err("refused".into()) };
        self.step(ctx, out, ClientInput::Opened { conn: ConnId(wire.0), token, result });
        self.go_on(ctx, out);
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, ctx: &mut Ctx<'_>, wire: Wire, bytes: Bytes, out: &mut Vec<Want>) {
        let Some(link) = self.links.iter_mut().find(|link| link.wire == wire) else { return };
        let mut frames = Vec::new();
        if link.frames.push(bytes, &mut frames).is_err() {
            ctx.judge.report("W1", format!("client {} got a frame with an impossible length", self.id));
        }
        for bytes in frames {
            self.program.overhear_answer(ctx, wire, &bytes);
            self.step(ctx, out, ClientInput::Frame { conn: ConnId(wire.0), bytes });
        }
        self.go_on(ctx, out);
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, ctx: &mut Ctx<'_>, wire: Wire, out: &mut Vec<Want>) {
        self.links.retain(|link| link.wire != wire);
        self.step(ctx, out, ClientInput::Closed { conn: ConnId(wire.0) });
        self.go_on(ctx, out);
    }

    fn step(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>, input: ClientInput) {
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.handle(self.clock.now(ctx.now), input, &mut effects);
        for effect in effects.drain() {
            match effect {
                ClientEffect::Connect { token, address } => {
                    self.dials.push_back(Dial { token, wire: None, life: self.lives });
                    out.push(Want::Dial(Target::Address(address)));
                }
                ClientEffect::Send { conn, bytes } => {
                    self.program.overhear_request(ctx, Wire(conn.0), &bytes);
                    out.push(Want::Send(Wire(conn.0), bytes));
                }
                ClientEffect::Close { conn } => {
                    self.links.retain(|link| link.wire.0 != conn.0);
                    out.push(Want::Close(Wire(conn.0)));
                }
                ClientEffect::Event(event) => self.program.on_event(ctx, event),
            }
        }
        self.effects = effects;
        self.program.look(ctx, &self.machine);
    }

    /// The process dies, and another comes in its place, which knows nothing.
    fn die(&mut self, ctx: &Ctx<'_>, out: &mut Vec<Want>, config: ClientConfig) {
        self.lives += 1;
        out.extend(self.links.drain(..).map(|link| Want::Close(link.wire)));
        let seed = ctx.draws.at(Label::ClientSeed, u64::from(self.id), 1 + self.lives);
        let config = ClientConfig { bootstrap_servers: self.servers.clone(), planted: self.planted, ..config };
        self.machine = Machine::new(&config, seed.bits());
    }

    /// Lets the program ask for what it wants now, and says when time alone makes something due.
    fn go_on(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>) {
        while let Some(command) = self.program.next_command(ctx) {
            self.step(ctx, out, ClientInput::Command(command));
        }
        if let Some(config) = self.program.ends(ctx) {
            self.die(ctx, out, config);
        }
        self.due = if self.program.is_done() {
            u64::MAX
        } else {
            let deadline = self.machine.next_deadline().and_then(|due| self.clock.world_time(due));
            deadline.unwrap_or(u64::MAX).min(self.program.next_wake())
        };
    }
}
