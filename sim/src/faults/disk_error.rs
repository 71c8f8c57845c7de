//! Operations on files fail with EIO.

use serde::Deserialize;

use super::Class;
use crate::disk::OpKind;

/// `disk_error = { op = "sync", count = 1 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskError {
    /// Which operations.
    pub op: FailingOp,
    /// How many.
    pub count: u32,
}

/// What can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailingOp {
    /// Reads.
    Read,
    /// Writes and truncations.
    Write,
    /// Syncs of files and directories: what they covered is lost, and the next one succeeds.
    #[default]
    Sync,
    /// Opens.
    Open,
}

impl Default for DiskError {
    fn default() -> Self {
        Self { op: FailingOp::Sync, count: 1 }
    }
}

impl FailingOp {
    /// The same for the disk.
    #[must_use]
    pub const fn kind(self) -> OpKind {
        match self {
            Self::Read => OpKind::Read,
            Self::Write => OpKind::Write,
            Self::Sync => OpKind::Sync,
            Self::Open => OpKind::Open,
        }
    }

    /// What the dose counts it as.
    #[must_use]
    pub const fn class(kind: OpKind) -> Class {
        match kind {
            OpKind::Read => Class::ReadError,
            OpKind::Write | OpKind::Open => Class::WriteError,
            OpKind::Sync => Class::SyncError,
        }
    }
}
