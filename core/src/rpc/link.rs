//! One route's way to its peer: idle, dialling or up, and how often it failed.

use crate::clock::Instant;

use super::Readiness;
use super::connection::Connection;

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    /// Failures in a row; a handshake ends the row.
    pub(super) failures: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Not connected, and not to be before this.
    Idle { retry_at: Instant },
    /// The driver was asked to dial.
    Dialling { token: u64, deadline: Instant },
    /// The connection is up; perhaps the handshake goes on.
    Up(Box<Connection>),
}

impl Default for Link {
    fn default() -> Self {
        Self { phase: Phase::Idle { retry_at: Instant(0) }, failures: 0 }
    }
}

impl Link {
    pub(super) fn readiness(&self, now: Instant, max_in_flight: usize) -> Readiness {
        match &self.phase {
            Phase::Idle { retry_at } if *retry_at > now => Readiness::Later(*retry_at),
            Phase::Idle { .. } => Readiness::Idle,
            Phase::Dialling { .. } => Readiness::Connecting,
            Phase::Up(connection) if connection.versions().is_none() => Readiness::Connecting,
            Phase::Up(connection) if connection.in_flight() < max_in_flight => Readiness::Ready,
            Phase::Up(_) => Readiness::Busy,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle { .. } => None,
            Phase::Dialling { deadline, .. } => Some(*deadline),
            Phase::Up(connection) => connection.deadline(),
        }
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        match &self.phase {
            Phase::Up(connection) => Some(connection),
            Phase::Idle { .. } | Phase::Dialling { .. } => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.phase {
            Phase::Up(connection) => Some(connection),
            Phase::Idle { .. } | Phase::Dialling { .. } => None,
        }
    }
}
