//! Clients: [`hosted`] is core's own, the one that programs use; [`user`] is either kind. What follows is the
//! other kind, clients at the level of frames: one connection each, dialled again when it is lost.
//!
//! A [`Client`] owns the connection: dialling, back-off, correlation, time-outs. What is asked, and what an
//! answer means, is its [`Actor`]'s. An answer that does not come leaves a request's fate unknown.
//!
//! These are not the clients that users run: they pick the version of each request themselves, and trust
//! nobody.

pub mod ask;
pub mod hosted;
pub mod user;

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_wire::Reader;

use crate::draw::{Draw, Draws, Label};
use crate::frames::Frames;
use crate::judge::Judge;
use crate::network::Wire;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::Actor;
use ask::Ask;

/// The largest response that a client takes.
const MAX_RESPONSE: usize = 64 << 20;

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its number.
    pub id: u16,
    /// What it does.
    pub actor: Actor,
    link: Link,
    sent: VecDeque<Sent>,
    correlation: i32,
    attempts: u32,
    /// How many connections it has lost: each time it tries the next node.
    lost: u64,
    /// How many draws it has made.
    pub steps: u64,
    request_timeout: Nanos,
    /// Requests that got no answer in time.
    pub timeouts: u64,
}

#[derive(Clone, Debug)]
enum Link {
    Down {
        retry_at: Nanos,
    },
    Dialling {
        wire: Wire,
        until: Nanos,
    },
    Up {
        wire: Wire,
        frames: Frames,
    },
    /// Something hostile was sent: whatever comes is not looked at, and then it is closed.
    Spoilt {
        wire: Wire,
        until: Nanos,
    },
}

/// A request that is not answered yet.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it was.
    pub ask: Ask,
    correlation: i32,
    until: Nanos,
}

/// What a client's actor sees of the world.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The client's number.
    pub id: u16,
    /// The world's time.
    pub now: Nanos,
    /// The client's wall clock, in ms.
    pub wall_ms: i64,
    /// Who judges what it sees.
    pub judge: &'a mut Judge,
    /// Where its draws come from.
    pub draws: Draws,
    /// How many draws it has made.
    pub steps: &'a mut u64,
    /// Whether load goes on; else only what was begun is finished.
    pub load: bool,
}

/// Whom a client dials.
#[derive(Clone, Debug)]
pub enum Target {
    /// Any node, another with each number.
    Bootstrap(u64),
    /// Who has this address.
    Address(Box<str>),
}

/// What a client wants of the network.
#[derive(Clone, Debug)]
pub enum Want {
    /// A connection.
    Dial(Target),
    /// To send this.
    Send(Wire, Bytes),
    /// To send what is not meant to be understood.
    SendBad(Wire, Bytes),
    /// To be rid of the connection.
    Close(Wire),
}

impl Ctx<'_> {
    /// The client's next draw.
    pub const fn draw(&mut self) -> Draw {
        *self.steps += 1;
        self.draws.at(Label::Workload, self.id as u64, *self.steps)
    }
}

impl Client {
    /// A client that will dial at once.
    #[must_use]
    pub const fn new(id: u16, actor: Actor, request_timeout: Nanos) -> Self {
        Self {
            id,
            actor,
            link: Link::Down { retry_at: 0 },
            sent: VecDeque::new(),
            correlation: 0,
            attempts: 0,
            lost: 0,
            steps: 0,
            request_timeout,
            timeouts: 0,
        }
    }

    /// When it wants to be called if nothing happens.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        match &self.link {
            Link::Down { .. } if self.actor.is_done() => u64::MAX,
            Link::Down { retry_at } => *retry_at,
            Link::Dialling { until, .. } | Link::Spoilt { until, .. } => *until,
            Link::Up { .. } => {
                let timeout = self.sent.front().map_or(u64::MAX, |sent| sent.until);
                timeout.min(self.actor.next_wake(self.sent.len()))
            }
        }
    }

    /// How many requests are unanswered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// When it gives up a request that it waits for.
    #[must_use]
    pub fn request_deadline(&self) -> Option<Nanos> {
        self.sent.front().map(|sent| sent.until)
    }

    /// It dialled: this is the connection.
    pub fn dialling(&mut self, now: Nanos, wire: Wire) {
        self.link = Link::Dialling { wire, until: now.saturating_add(self.request_timeout) };
    }

    /// Time has passed.
    pub fn on_time(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>) {
        match &self.link {
            Link::Down { retry_at } if *retry_at <= ctx.now && !self.actor.is_done() => {
                out.push(Want::Dial(Target::Bootstrap(u64::from(self.id) + self.lost)));
            }
            Link::Dialling { wire, until } | Link::Spoilt { wire, until } if *until <= ctx.now => {
                out.push(Want::Close(*wire));
                self.lose(ctx);
            }
            Link::Up { wire, .. } if self.sent.front().is_some_and(|sent| sent.until <= ctx.now) => {
                self.timeouts += 1;
                out.push(Want::Close(*wire));
                self.lose(ctx);
            }
            Link::Up { .. } => self.ask(ctx, out),
            Link::Down { .. } | Link::Dialling { .. } | Link::Spoilt { .. } => (),
        }
    }

    /// The dial came up, or did not.
    pub fn on_dialled(&mut self, ctx: &mut Ctx<'_>, wire: Wire, up: bool, out: &mut Vec<Want>) {
        match &self.link {
            Link::Dialling { wire: dialled, .. } if *dialled == wire => {
                if !up {
                    return self.lose(ctx);
                }
                self.attempts = 0;
                self.link = Link::Up { wire, frames: Frames::new(MAX_RESPONSE) };
                self.actor.on_up(ctx);
                self.ask(ctx, out);
            }
            // It was given up meanwhile.
            Link::Down { .. } | Link::Dialling { .. } | Link::Up { .. } | Link::Spoilt { .. } => {
                out.push(Want::Close(wire));
            }
        }
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, ctx: &mut Ctx<'_>, wire: Wire, bytes: Bytes, out: &mut Vec<Want>) {
        let Link::Up { wire: up, frames } = &mut self.link else { return };
        if *up != wire {
            return;
        }
        let mut whole = Vec::new();
        let good = frames.push(bytes, &mut whole).is_ok();
        for frame in whole {
            if !self.on_frame(ctx, &frame) {
                out.push(Want::Close(wire));
                return self.lose(ctx);
            }
        }
        if !good {
            ctx.judge.report("W1", format!("client {} got a frame with an impossible length", self.id));
        }
        self.ask(ctx, out);
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, ctx: &mut Ctx<'_>, wire: Wire) {
        let ours = match &self.link {
            Link::Down { .. } => false,
            Link::Dialling { wire: up, .. } | Link::Up { wire: up, .. } | Link::Spoilt { wire: up, .. } => *up == wire,
        };
        if ours {
            self.lose(ctx);
        }
    }

    /// One whole response; answers whether the connection can go on.
    fn on_frame(&mut self, ctx: &mut Ctx<'_>, frame: &Bytes) -> bool {
        let correlation = frame.first_chunk().map(|bytes: &[u8; 4]| i32::from_be_bytes(*bytes));
        let owed = self.sent.front().map(|sent| sent.correlation);
        if correlation.is_none() || correlation != owed {
            let what = format!("client {} is owed the answer to {owed:?}, and gets that to {correlation:?}", self.id);
            ctx.judge.report("W1", what);
            return false;
        }
        let sent = self.sent.pop_front().expect("something is owed");
        match sent.ask.body(frame) {
            Some(at) => {
                let mut reader = Reader::new(&frame[at..]);
                self.actor.on_answer(ctx, &sent.ask, &mut reader)
            }
            None => {
                let what = format!("client {} cannot read the header of an answer to {:?}", self.id, sent.ask.api_key);
                ctx.judge.report("W1", what);
                false
            }
        }
    }

    /// Sends what the actor wants to ask.
    fn ask(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>) {
        let Link::Up { wire, .. } = &self.link else { return };
        let wire = *wire;
        while let Some(mut ask) = self.actor.next_ask(ctx, self.sent.len()) {
            self.correlation += 1;
            let send: fn(Wire, Bytes) -> Want = if ask.hostile { Want::SendBad } else { Want::Send };
            out.push(send(wire, ask.frame(self.correlation)));
            if ask.hostile {
                self.link = Link::Spoilt { wire, until: ctx.now + 300 * MILLISECOND };
                return;
            }
            if ask.answered {
                let until = ctx.now.saturating_add(self.request_timeout + ask.patience);
                self.sent.push_back(Sent { ask, correlation: self.correlation, until });
            } else {
                self.actor.on_unanswered(ctx, &ask);
            }
        }
        if self.actor.hangs_up() {
            out.push(Want::Close(wire));
            self.lose(ctx);
        }
    }

    fn lose(&mut self, ctx: &mut Ctx<'_>) {
        for sent in std::mem::take(&mut self.sent) {
            self.actor.on_lost(ctx, &sent.ask);
        }
        self.actor.on_down(ctx);
        self.attempts += 1;
        self.lost += 1;
        let back_off = (20 * MILLISECOND) << self.attempts.min(6);
        let wait = ctx.draw().between(back_off / 2, back_off).min(SECOND);
        self.link = Link::Down { retry_at: ctx.now + wait };
    }
}
