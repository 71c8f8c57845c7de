//! What a part of the client works with while it has its turn: the layers below it, and where its results go.

use crate::clock::{Instant, Now};
use crate::rng::Rng;
use crate::rpc::{Pool, Sink};

use super::Event;
use super::metadata::Metadata;

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
