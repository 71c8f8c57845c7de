//! A client of the world, of either kind.

use bytes::Bytes;

use super::hosted::Hosted;
use super::{Client, Ctx, Want};
use crate::network::Wire;
use crate::time::Nanos;

/// See the module.
#[derive(Clone, Debug)]
pub enum User {
    /// One connection, and frames of its own making.
    Frames(Box<Client>),
    /// Core's client.
    Core(Box<Hosted>),
}

impl User {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> u16 {
        match self {
            Self::Frames(client) => client.id,
            Self::Core(client) => client.id,
        }
    }

    /// How many draws it has made.
    pub const fn steps_mut(&mut self) -> &mut u64 {
        match self {
            Self::Frames(client) => &mut client.steps,
            Self::Core(client) => &mut client.steps,
        }
    }

    /// When it wants to be called if nothing happens.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        match self {
            Self::Frames(client) => client.next_due(),
            Self::Core(client) => client.next_due(),
        }
    }

    /// Whether it will never ask anything again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Frames(client) => client.actor.is_done(),
            Self::Core(client) => client.program.is_done(),
        }
    }

    /// How much of what it asked for has no answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        match self {
            Self::Frames(client) => client.in_flight(),
            Self::Core(client) => client.program.in_flight(),
        }
    }

    /// When it gives up a request that it waits for.
    #[must_use]
    pub fn request_deadline(&self) -> Option<Nanos> {
        match self {
            Self::Frames(client) => client.request_deadline(),
            Self::Core(client) => client.request_deadline(),
        }
    }

    /// It dialled: this is the connection.
    pub fn dialling(&mut self, now: Nanos, wire: Wire) {
        match self {
            Self::Frames(client) => client.dialling(now, wire),
            Self::Core(client) => client.dialling(wire),
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, ctx: &mut Ctx<'_>, out: &mut Vec<Want>) {
        match self {
            Self::Frames(client) => client.on_time(ctx, out),
            Self::Core(client) => client.on_time(ctx, out),
        }
    }

    /// The dial came up, or did not.
    pub fn on_dialled(&mut self, ctx: &mut Ctx<'_>, wire: Wire, up: bool, out: &mut Vec<Want>) {
        match self {
            Self::Frames(client) => client.on_dialled(ctx, wire, up, out),
            Self::Core(client) => client.on_dialled(ctx, wire, up, out),
        }
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, ctx: &mut Ctx<'_>, wire: Wire, bytes: Bytes, out: &mut Vec<Want>) {
        match self {
            Self::Frames(client) => client.on_bytes(ctx, wire, bytes, out),
            Self::Core(client) => client.on_bytes(ctx, wire, bytes, out),
        }
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, ctx: &mut Ctx<'_>, wire: Wire, out: &mut Vec<Want>) {
        match self {
            Self::Frames(client) => client.on_closed(ctx, wire),
            Self::Core(client) => client.on_closed(ctx, wire, out),
        }
    }
}
