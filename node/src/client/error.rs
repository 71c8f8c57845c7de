//! Why a client could not do what it was asked.

use ottla_core::client::{ClientError, ReadError};
use ottla_core::types::{Offset, TopicPartition};
use ottla_wire::ErrorCode;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It failed.
    #[error("{error}{}", behind(.trouble.as_deref()))]
    Failed {
        /// Why.
        error: ClientError,
        /// Whether it certainly was not done. Otherwise it may have been, or be done yet.
        definite: bool,
        /// Why no connection could be made of late, if that was so.
        trouble: Option<Box<str>>,
    },
    /// Nobody leads the partition: none of its replicas is there, or none may.
    #[error("{0} has no leader; a broker that has all of it must come back")]
    NoLeader(TopicPartition),
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(Box<str>),
    /// There was no room in `buffer.memory` within `max.block.ms`.
    #[error("buffer.memory was full for max.block.ms{}", behind(.trouble.as_deref()))]
    NoRoom {
        /// Why no connection could be made of late, if that was so.
        trouble: Option<Box<str>>,
    },
    /// The client's task is gone: its runtime was shut down.
    #[error("the client has been shut down")]
    Closed,
}

/// What a consumer has to hear. It goes on with its other partitions at the next poll.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// A partition is not read any more, until it is assigned again.
    #[error("{partition}: {error}")]
    Partition {
        /// Which.
        partition: TopicPartition,
        /// Why.
        error: ReadError,
    },
    /// The log was cut below what was read: records from `to` on may never have been committed (KIP-320). Reading goes
    /// on from there.
    #[error("{partition}: the log was cut from {from} to {to}; records in between were read and are gone")]
    Truncated {
        /// Of which partition.
        partition: TopicPartition,
        /// Where the reader was.
        from: Offset,
        /// Where it is now.
        to: Offset,
    },
    /// The group cannot be joined, or has thrown this member out: nothing is subscribed to any more.
    #[error("the group: {error}")]
    Group {
        /// Why.
        error: ClientError,
    },
    /// The client's task is gone: its runtime was shut down.
    #[error("the client has been shut down")]
    Closed,
}

impl Error {
    /// Whether it certainly was not done.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        match self {
            Self::Failed { definite, .. } => *definite,
            Self::NoLeader(_) | Self::Config(_) | Self::NoRoom { .. } => true,
            Self::Closed => false,
        }
    }

    /// What the broker said, if it was the broker who said no.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Failed { error, .. } => error.code(),
            Self::NoLeader(_) | Self::Config(_) | Self::NoRoom { .. } | Self::Closed => None,
        }
    }
}

fn behind(trouble: Option<&str>) -> String {
    trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default()
}
