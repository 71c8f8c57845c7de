//! Partitions that this broker holds a replica of.
//!
//! | role     | appends        | high watermark                          | serves                    |
//! |----------|----------------|-----------------------------------------|---------------------------|
//! | Leader   | from producers | least counted offset over the maximal ISR | up to the high watermark |
//! | Offline  | refused        | stands still                            | nothing                   |
//!
//! What counts is the *durable* offset under `flush=quorum`, the *written* one under `flush=async`
//! (docs/architecture.md). A replica is offline while its log directory has failed or its log is damaged: it
//! refuses to lead rather than lead with less than it promised (promise P9).
//!
//! Absent still: followers. They come with the cluster; the high watermark is already computed over a set.

mod fetch_session;
mod high_watermark;

pub use fetch_session::{FetchSessions, Fetching, Limits, SessionPartition, SessionRefusal, Told};
pub use high_watermark::high_watermark;

use ottla_wire::Uuid;

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
    Leader(Leader),
    Offline,
}

/// What only a leader has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The epoch it leads in, given after this broker's present registration.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync replicas, this broker among them.
    pub isr: Vec<BrokerId>,
    /// How many replicas the partition has.
    pub replication_factor: usize,
}

impl Replica {
    /// A replica that does not serve yet. `high_watermark` is what is known to be safe of its log.
    #[must_use]
    pub const fn new(partition: TopicPartition, topic_id: Uuid, log: LogId, high_watermark: Offset) -> Self {
        Self { partition, topic_id, log, high_watermark, role: Role::Offline }
    }

    /// Leads from now on.
    pub fn become_leader(&mut self, leader: Leader) {
        self.role = Role::Leader(leader);
    }

    /// Serves nothing from now on.
    pub fn become_offline(&mut self) {
        self.role = Role::Offline;
    }

    /// What only a leader has; `None` if this broker does not lead the partition.
    #[must_use]
    pub const fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Offline => None,
        }
    }

    /// Below which every record is on every in-sync replica.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// This broker's own counted offset rose: how far the high watermark moves, if it does.
    ///
    /// It never goes back, and stands still while the ISR is smaller than `min.insync.replicas` (KIP-966), which
    /// no more replicas can be asked for than the partition has.
    #[must_use]
    pub fn on_progress(&mut self, counted: Offset, min_insync_replicas: usize) -> Option<Offset> {
        let Role::Leader(leader) = &self.role else { return None };
        let needed = min_insync_replicas.min(leader.replication_factor);
        let counted = high_watermark(&[counted], leader.isr.len(), needed)?;
        if counted <= self.high_watermark {
            return None;
        }
        self.high_watermark = counted;
        Some(counted)
    }

    /// The log was cut from the left (`DeleteRecords`): a watermark below its start would be of no record.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.high_watermark = self.high_watermark.max(log_start);
    }
}
