//! Faults, one a file: what a scenario says of it, and what it does to the world.
//!
//! A fault has *landed* only when something ran into it ([`Class`], counted by the dose): a kill in an idle
//! moment, a cut without traffic and an error that no operation met prove nothing.

mod clock;
mod compacted;
mod connection;
mod cut;
mod disk_error;
mod full_disk;
mod kill;
mod pause;
mod power_loss;
mod restart;
mod rot;
mod slow_disk;
mod wipe;

pub use clock::ClockFault;
pub use compacted::Compacted;
pub use connection::{ConnectionFault, How};
pub use cut::{Cut, Direction, Off};
pub use disk_error::{DiskError, FailingOp};
pub use full_disk::FullDisk;
pub use kill::Kill;
pub use pause::Pause;
pub use power_loss::PowerLoss;
pub use restart::Restart;
pub use rot::{Rot, RotKind};
pub use slow_disk::SlowDisk;
pub use wipe::Wipe;

use std::fmt;

/// The classes that the dose counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The process died with work in flight.
    Kill,
    /// A power loss dropped or tore something that was not synced.
    PowerLoss,
    /// A controlled shutdown fell on unanswered requests or open work.
    Restart,
    /// A pause outlasted a timeout.
    Pause,
    /// An operation took ten times as long, at least.
    SlowDisk,
    /// A write met a full disk.
    FullDisk,
    /// A read failed.
    ReadError,
    /// A write failed.
    WriteError,
    /// A sync failed.
    SyncError,
    /// Damaged bytes were read from the platter.
    Rot,
    /// A step was so great that removal by time must notice; or a timer went off too early or too late.
    Clock,
    /// A cut held traffic up.
    Cut,
    /// A reset dropped traffic.
    Reset,
    /// A connection hung with traffic on it.
    Hang,
}

impl Class {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Restart,
        Self::Pause,
        Self::SlowDisk,
        Self::FullDisk,
        Self::ReadError,
        Self::WriteError,
        Self::SyncError,
        Self::Rot,
        Self::Clock,
        Self::Cut,
        Self::Reset,
        Self::Hang,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power loss",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::ReadError => "read error",
            Self::WriteError => "write error",
            Self::SyncError => "sync error",
            Self::Rot => "rot",
            Self::Clock => "clock",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Hang => "hang",
        })
    }
}
