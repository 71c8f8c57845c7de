//! Partitions that this broker holds a replica of.
//!
//! | role       | appends             | high watermark                            | serves                            |
//! |------------|---------------------|-------------------------------------------|-----------------------------------|
//! | Leader     | from producers      | least counted offset over the maximal ISR | up to it; all to followers        |
//! | Follower   | what its leader has | its leader's, as far as its log goes      | up to it, to consumers (KIP-392)  |
//! | Leaderless | refused             | stands still                              | nothing                           |
//! | Offline    | refused             | stands still                              | nothing                           |
//!
//! What counts is the *durable* offset under `flush=quorum`, the *written* one under `flush=async`
//! (docs/architecture.md). A replica is offline while its log directory has failed or its log is damaged: it refuses to
//! lead rather than lead with less than it promised (promise P9).

mod fetch_session;
mod leader;

pub use fetch_session::{FetchSessions, Fetching, Limits, SessionPartition, SessionRefusal, Told};
pub use leader::{FollowerFetch, FollowerProgress, Leader, Leading, Proposal};

use ottla_wire::Uuid;

use crate::clock::Instant;
use crate::log::LogId;
use crate::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};

/// This broker's replica of one partition.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Which partition, by name.
    pub partition: TopicPartition,
    /// The topic's id: a topic made again under the same name is another topic.
    pub topic_id: Uuid,
    /// Its log.
    pub log: LogId,
    high_watermark: Offset,
    role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Leader(Box<Leader>),
    Follower(Following),
    Leaderless,
    Offline,
}

/// Whom a follower follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// The leader.
    pub leader: BrokerId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The log is being cut to where both agree: nothing is fetched meanwhile.
    pub cutting: bool,
    /// Nothing is fetched before this: the last answer was an error.
    pub not_before: Instant,
}

impl Replica {
    /// A replica that does not serve yet. `high_watermark` is what is known to be safe of its log.
    #[must_use]
    pub const fn new(partition: TopicPartition, topic_id: Uuid, log: LogId, high_watermark: Offset) -> Self {
        Self { partition, topic_id, log, high_watermark, role: Role::Offline }
    }

    /// Leads from now on.
    pub fn become_leader(&mut self, leader: Leader) {
        self.role = Role::Leader(Box::new(leader));
    }

    /// Follows from now on.
    pub fn become_follower(&mut self, following: Following) {
        self.role = Role::Follower(following);
    }

    /// Serves nothing from now on.
    pub fn become_offline(&mut self) {
        self.role = Role::Offline;
    }

    /// Waits for a leader from now on.
    pub fn become_leaderless(&mut self) {
        self.role = Role::Leaderless;
    }

    /// Whether its log cannot be used.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        matches!(self.role, Role::Offline)
    }

    /// What only a leader has; `None` if this broker does not lead the partition.
    #[must_use]
    pub fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Leaderless | Role::Offline => None,
        }
    }

    /// The same, to change it.
    pub fn leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Leaderless | Role::Offline => None,
        }
    }

    /// The epoch of the leader, this broker or the one that it follows; `None` if there is none.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match &self.role {
            Role::Leader(leader) => Some(leader.leader_epoch()),
            Role::Follower(following) => Some(following.leader_epoch),
            Role::Leaderless | Role::Offline => None,
        }
    }

    /// Whom it follows; `None` if it does not.
    #[must_use]
    pub const fn following(&self) -> Option<&Following> {
        match &self.role {
            Role::Follower(following) => Some(following),
            Role::Leader(_) | Role::Leaderless | Role::Offline => None,
        }
    }

    /// The same, to change it.
    pub const fn following_mut(&mut self) -> Option<&mut Following> {
        match &mut self.role {
            Role::Follower(following) => Some(following),
            Role::Leader(_) | Role::Leaderless | Role::Offline => None,
        }
    }

    /// Below which every record is on every in-sync replica.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Something that counts rose at its leader: how far the high watermark moves, if it does.
    ///
    /// It never goes back, and stands still while the ISR is smaller than `min.insync.replicas` (KIP-966), which
    /// no more replicas can be asked for than the partition has.
    #[must_use]
    pub fn advance(&mut self, min_insync_replicas: usize) -> Option<Offset> {
        let leader = self.leader()?;
        let counted = leader.high_watermark(min_insync_replicas.min(leader.state().replicas.len()))?;
        self.raise(counted)
    }

    /// A follower learns of its leader's high watermark, and has the log written up to there. Whether its own rises.
    pub fn on_leaders_watermark(&mut self, high_watermark: Offset, written: Offset) -> bool {
        self.raise(high_watermark.min(written)).is_some()
    }

    fn raise(&mut self, to: Offset) -> Option<Offset> {
        let rises = to > self.high_watermark;
        self.high_watermark = self.high_watermark.max(to);
        rises.then_some(to)
    }

    /// The log was cut at its end: a watermark beyond that would be of no record.
    pub fn on_cut(&mut self, log_end: Offset) {
        self.high_watermark = self.high_watermark.min(log_end);
    }

    /// The log was cut from the left (`DeleteRecords`): a watermark below its start would be of no record.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.high_watermark = self.high_watermark.max(log_start);
    }
}
