//! What a program and the group that it is a member of have to say to each other.

use std::fmt;
use std::sync::Arc;

use crate::types::{LeaderEpoch, Offset, TopicPartition};

use super::ClientError;

/// What a program can ask for. All needs `group.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// Join the group of `group.id` to read these topics, or, if it is joined, read these instead of others. What of
    /// them is to be read here comes in [`GroupEvent::Assigned`], [`GroupEvent::Revoked`] and [`GroupEvent::Lost`].
    /// Partitions come and go only while a poll waits, or when one is begun: what was polled before is taken to be
    /// dealt with then. Said again of the same topics by the leader of a classic group, it asks for a rebalance
    /// (KIP-568).
    Subscribe {
        topics: Vec<Arc<str>>,
        /// Whether partitions that are taken away are kept from their next owner until [`GroupCommand::Release`].
        await_release: bool,
    },
    /// The same, of the topics whose whole names a regular expression matches, as they come and go; Kafka's own topics
    /// are left out by members of the classic protocol. Without one that can be read it ends in [`GroupEvent::Failed`].
    SubscribePattern {
        /// As RE2 has it.
        pattern: Box<str>,
        /// As in [`GroupCommand::Subscribe`].
        await_release: bool,
    },
    /// The program is done with the partitions of [`GroupEvent::Revoked`]: what it wanted to commit it has asked for
    /// before, and its commits are waited for. Must come within `max.poll.interval.ms`, or the member leaves the
    /// group and has lost all.
    Release,
    /// Give all partitions of the group up and leave it: what was polled is committed first, if commits are
    /// automatic. A static member's place waits for it until its session is over. Ends in one
    /// [`GroupEvent::Unsubscribed`], within `request.timeout.ms`.
    Unsubscribe { token: u64 },
    /// Keep positions as the group's. Ends in one [`GroupEvent::Committed`] or [`GroupEvent::CommitFailed`]. Commits
    /// are made in their order, each when the one before has ended. One who is not subscribed commits as somebody
    /// outside of the group, which must have no members then.
    Commit {
        token: u64,
        /// `None`: the positions of all that is read, or, under a subscription, of all that was assigned.
        positions: Option<Vec<(TopicPartition, CommittedPosition)>>,
        /// Whether to try again what may succeed then, until `default.api.timeout.ms` is over: a synchronous commit.
        retry: bool,
    },
    /// Ask which positions the group has kept. Ends in one [`GroupEvent::PositionsKept`] or
    /// [`GroupEvent::PositionsNotKnown`].
    FetchCommitted { token: u64, partitions: Vec<TopicPartition> },
    /// Leave the group as [`GroupCommand::Unsubscribe`] does, and read nothing more. Ends in one
    /// [`GroupEvent::Closed`].
    Close { token: u64 },
}

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// Partitions to read, beside those that were assigned before; reading begins where the group has committed, or
    /// where `auto.offset.reset` says.
    Assigned { partitions: Vec<TopicPartition> },
    /// Partitions are taken away: no more of their records come. Until [`GroupCommand::Release`], if that was asked
    /// for, their positions can be committed; else they are given up at once.
    Revoked { partitions: Vec<TopicPartition> },
    /// Partitions are gone, and may belong to another member already: their positions cannot be committed.
    Lost { partitions: Vec<TopicPartition> },
    /// Positions were kept.
    Committed {
        /// `None`: an automatic commit.
        token: Option<u64>,
        positions: Vec<(TopicPartition, CommittedPosition)>,
    },
    /// Positions were not kept; or, if that is not definite, perhaps they were. Of an automatic commit nothing is
    /// said: the next one mends it.
    CommitFailed { token: u64, error: ClientError, definite: bool },
    /// The positions that the group has kept; `None` where it has none.
    PositionsKept { token: u64, positions: Vec<(TopicPartition, Option<CommittedPosition>)> },
    /// Which positions the group has kept could not be found out.
    PositionsNotKnown { token: u64, error: ClientError },
    /// The group cannot be joined, or the member was thrown out of it, for a reason that no retry mends: nothing is
    /// subscribed to any more. What was assigned was lost before.
    Failed { error: ClientError },
    /// The group was left: nothing of it is read any more.
    Unsubscribed { token: u64 },
    /// The client reads nothing any more.
    Closed { token: u64 },
}

/// A position that a group has kept, or is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedPosition {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The epoch of the leader that appended the record before it (KIP-320); -1 if it is not known.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the program wants to keep with it.
    pub metadata: Box<str>,
}

impl fmt::Display for GroupCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe { topics, .. } => write!(f, "subscribe {}", topics.join(" ")),
            Self::SubscribePattern { pattern, .. } => write!(f, "subscribe /{pattern}/"),
            Self::Release => f.write_str("release"),
            Self::Unsubscribe { token } => write!(f, "unsubscribe {token}"),
            Self::Commit { token, .. } => write!(f, "commit {token}"),
            Self::FetchCommitted { token, partitions } => write!(f, "fetch committed {token}{}", Listed(partitions)),
            Self::Close { token } => write!(f, "close {token}"),
        }
    }
}

impl fmt::Display for GroupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned { partitions } => write!(f, "assigned{}", Listed(partitions)),
            Self::Revoked { partitions } => write!(f, "revoked{}", Listed(partitions)),
            Self::Lost { partitions } => write!(f, "lost{}", Listed(partitions)),
            Self::Committed { token, positions } => {
                match token {
                    Some(token) => write!(f, "committed {token}")?,
                    None => f.write_str("committed automatically")?,
                }
                positions.iter().try_for_each(|(partition, it)| write!(f, " {partition}@{}", it.offset))
            }
            Self::CommitFailed { token, error, definite: true } => write!(f, "commit failed {token}: {error}"),
            Self::CommitFailed { token, error, definite: false } => write!(f, "commit in doubt {token}: {error}"),
            Self::PositionsKept { token, positions } => {
                write!(f, "positions {token}")?;
                positions.iter().try_for_each(|(partition, it)| match it {
                    Some(it) => write!(f, " {partition}@{}", it.offset),
                    None => write!(f, " {partition}@none"),
                })
            }
            Self::PositionsNotKnown { token, error } => write!(f, "positions not known {token}: {error}"),
            Self::Failed { error } => write!(f, "group failed: {error}"),
            Self::Unsubscribed { token } => write!(f, "unsubscribed {token}"),
            Self::Closed { token } => write!(f, "closed {token}"),
        }
    }
}

/// Partitions, each behind a space.
pub(super) struct Listed<'a>(pub(super) &'a [TopicPartition]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|partition| write!(f, " {partition}"))
    }
}
