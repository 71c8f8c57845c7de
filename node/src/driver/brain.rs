//! The seam between driver and machine. It exists for the driver's own tests, which script a stub in the
//! machine's place; nothing else implements it.

use std::any::Any;

use ottla_core::clock::{Instant, Now};
use ottla_core::machine::{Effects, Input, Machine};

/// What the driver needs of a machine.
pub trait Brain: Any + Send {
    /// One step.
    fn handle(&mut self, now: Now, input: Input, out: &mut Effects);
    /// When to call with [`Input::Timeout`], if nothing else happens.
    fn next_deadline(&self) -> Option<Instant>;
}

impl Brain for Machine {
    fn handle(&mut self, now: Now, input: Input, out: &mut Effects) {
        Self::handle(self, now, input, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }
}
