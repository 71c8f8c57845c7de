//! What a part of the client works with while it has its turn: the layers below it, and where its results go.

use crate::clock::{Instant, Now};
use crate::rng::Rng;
use crate::rpc::{Lane, Pool, Route, Sink};

use super::Event;
use super::metadata::{Metadata, Pick};

pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) rng: &'a mut Rng,
    pub(super) pool: &'a mut Pool,
    pub(super) metadata: &'a mut Metadata,
    pub(super) wake: &'a mut Wake,
    pub(super) sink: &'a mut Sink,
    pub(super) events: &'a mut Vec<Event>,
}

impl Turn<'_> {
    /// The monotonic time.
    pub(super) fn at(&self) -> Instant {
        self.now.monotonic
    }

    /// A connection to any broker that can take a call now. Without one, some broker is dialled or waited for.
    pub(super) fn any_broker(&mut self, lane: Lane) -> Option<Route> {
        match self.metadata.any_broker(self.now.monotonic, lane, self.pool, self.rng, self.sink) {
            Pick::Ready(route) => Some(route),
            Pick::Wait(at) => {
                at.into_iter().for_each(|at| self.wake.by(at));
                None
            }
        }
    }
}

/// The earliest moment at which time alone makes something due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wake(Option<Instant>);

impl Wake {
    /// Something is due at `at`.
    pub(super) fn by(&mut self, at: Instant) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn at(self) -> Option<Instant> {
        self.0
    }

    pub(super) fn is_due(self, now: Instant) -> bool {
        self.0.is_some_and(|at| at <= now)
    }
}
