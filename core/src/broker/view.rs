//! What can be seen of a broker from outside: for the state page, the metrics, and the simulator's invariants.

use std::ops::Range;

use serde::Serialize;

use super::Broker;
use super::boot::Phase;
use crate::log::{CleanerTotals, CleanerView, DerivedView, LogId, LogView};
use crate::machine::LogDirId;
use crate::replication::Replica;
use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

/// A look at a broker. It borrows nothing and is made when somebody asks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Where the broker is on its way.
    pub phase: &'static str,
    /// The cluster's id.
    pub cluster_id: String,
    /// `node.id`
    pub node_id: i32,
    /// The epoch of its registration.
    pub broker_epoch: Option<i64>,
    /// The metadata log.
    pub metadata: MetadataView,
    /// The brokers, and how the partitions stand.
    pub cluster: ClusterView,
    /// Every log directory.
    pub log_dirs: Vec<LogDirView>,
    /// Requests that wait.
    pub purgatory: usize,
    /// Fetch sessions.
    pub fetch_sessions: usize,
    /// The groups that are coordinated here.
    pub groups: GroupsView,
    /// What the cleaner has done since the start.
    pub cleaner: CleanerTotals,
    /// Every partition here.
    pub partitions: Vec<PartitionView>,
}

/// The groups that are coordinated here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupsView {
    /// Partitions of `__consumer_offsets` that serve their groups.
    pub serving: usize,
    /// Those that are still being read.
    pub loading: usize,
    /// Those that cannot be read.
    pub failed: usize,
    /// Groups in each state that one is in.
    pub groups: Vec<(&'static str, usize)>,
    /// Offsets that groups have committed.
    pub offsets: usize,
    /// Requests that wait for a group.
    pub asking: usize,
}

/// One log directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogDirView {
    /// Its path, as configured.
    pub path: String,
    /// `online`; `full`, which is read and not written; or `offline` for this process.
    pub health: &'static str,
}

/// The cluster, by this node's committed metadata: counts of brokers and of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterView {
    /// Brokers in service.
    pub active_brokers: usize,
    /// Registered brokers that are out of service.
    pub fenced_brokers: usize,
    /// Partitions that nobody leads.
    pub offline: usize,
    /// Partitions that another than the preferred replica leads.
    pub led_by_others: usize,
    /// Of what this broker leads: partitions with fewer in sync than replicas.
    pub under_replicated: usize,
    /// Those with fewer in sync than `min.insync.replicas`: they take no acks=all.
    pub under_min_isr: usize,
    /// Those with just as many.
    pub at_min_isr: usize,
    /// Partitions that are being moved.
    pub reassigning: usize,
}

/// The metadata log and its quorum.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetadataView {
    /// Whether this node leads the quorum.
    pub leads: bool,
    /// The quorum's epoch.
    pub epoch: i32,
    /// Below it records are committed.
    pub high_watermark: i64,
    /// The offset after its last record.
    pub log_end: i64,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionView {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The topic's id.
    pub topic_id: String,
    /// The epoch in which this broker leads it; `None` if it does not.
    pub leader_epoch: Option<i32>,
    /// Below it every record is on every in-sync replica.
    pub high_watermark: i64,
    /// The first offset that can be read.
    pub log_start: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// Below it all survives the process.
    pub written: i64,
    /// Below it all survives power loss.
    pub durable: i64,
    /// Bytes of its segments.
    pub size: u64,
    /// Base offset and bytes of each segment.
    pub segments: Vec<(i64, u32)>,
    /// Each leader epoch with its first offset.
    pub leader_epochs: Vec<(i32, i64)>,
    /// Whether the log is damaged.
    pub damaged: bool,
    /// How it stands with its compaction; `None` if it is not compacted.
    pub compaction: Option<CompactionView>,
}

/// How a log stands with its compaction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompactionView {
    /// Below it the log is clean.
    pub clean_to: i64,
    /// Up to where it can be cleaned.
    pub cleanable_to: i64,
    /// The share of that which is dirty.
    pub dirty_ratio: f64,
    /// For how long a record has been older than `max.compaction.lag.ms`, in ms.
    pub overdue_ms: u64,
    /// Whether it is being cleaned.
    pub running: bool,
    /// Why it is not cleaned any more by this process.
    pub uncleanable: Option<String>,
}

impl Broker {
    /// A look at everything.
    #[must_use]
    pub fn view(&self) -> View {
        let partitions = self.replicas.iter().filter_map(|replica| {
            let log = self.logs.view(replica.log)?;
            let leader_epoch = replica.leader().map(|leader| leader.leader_epoch().0);
            let compaction = self.logs.cleaner_view(replica.log).map(compaction_view);
            Some(PartitionView { compaction, ..partition_view(log, leader_epoch, replica.high_watermark()) })
        });
        View {
            phase: self.phase_name(),
            cluster_id: self.metadata.cluster_id.clone(),
            node_id: self.node().0,
            broker_epoch: self.metadata.broker_epoch().map(|epoch| epoch.0),
            metadata: self.metadata_view(),
            cluster: self.cluster_view(),
            log_dirs: self.log_dirs_view(),
            purgatory: self.purgatory.len(),
            fetch_sessions: self.sessions.len(),
            groups: self.groups_view(),
            cleaner: self.logs.cleaner_totals(),
            partitions: partitions.collect(),
        }
    }

    /// What each log here has derived from its batches, the metadata log's included.
    pub fn derived(&self) -> impl Iterator<Item = DerivedView> {
        self.logs.derived()
    }

    /// Each partition that this broker holds a replica of.
    pub fn held(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter()
    }

    /// Where a log begins, and where it ends.
    #[must_use]
    pub fn log_range(&self, log: LogId) -> Range<Offset> {
        let offsets = self.logs.offsets(log).unwrap_or_default();
        offsets.log_start..offsets.log_end
    }

    /// The epoch of this process's registration.
    #[must_use]
    pub const fn registered(&self) -> Option<BrokerEpoch> {
        self.metadata.broker_epoch()
    }

    fn log_dirs_view(&self) -> Vec<LogDirView> {
        let dirs = (0..).map(LogDirId).zip(self.config.broker.storage.log_dirs());
        let health = |dir| match (self.logs.is_usable(dir), self.logs.is_offline(dir)) {
            (true, _) => "online",
            (false, true) => "offline",
            (false, false) => "full",
        };
        dirs.map(|(dir, path)| LogDirView { path: path.clone(), health: health(dir) }).collect()
    }

    fn cluster_view(&self) -> ClusterView {
        let (image, node) = (self.image(), self.node());
        let mut view = ClusterView::default();
        for (_, broker) in image.brokers() {
            *(if broker.fenced { &mut view.fenced_brokers } else { &mut view.active_brokers }) += 1;
        }
        for topic in image.topics() {
            let least = self.config.broker.topic(&self.overrides_of(&topic.name)).safety.min_insync_replicas;
            for it in &topic.partitions {
                let (in_sync, least) = (it.isr.len(), usize::try_from(least).unwrap_or(0).min(it.replicas.len()));
                let is_ours = it.leader == Some(node);
                view.offline += usize::from(it.leader.is_none());
                view.led_by_others += usize::from(it.leader.is_some() && it.leader.as_ref() != it.replicas.first());
                view.reassigning += usize::from(!it.adding.is_empty() || !it.removing.is_empty());
                // Replicas that a move adds are not missed before they are there.
                let settled = it.replicas.len() - it.adding.len();
                view.under_replicated += usize::from(is_ours && it.isr.len() < settled);
                view.under_min_isr += usize::from(is_ours && in_sync < least);
                view.at_min_isr += usize::from(is_ours && in_sync == least);
            }
        }
        view
    }

    fn metadata_view(&self) -> MetadataView {
        let Some(raft) = self.metadata.raft() else { return MetadataView::default() };
        let offsets = self.metadata.log().and_then(|log| self.logs.offsets(log)).unwrap_or_default();
        MetadataView {
            leads: raft.is_leader(),
            epoch: raft.epoch().0,
            high_watermark: raft.high_watermark().unwrap_or_default().0,
            log_end: offsets.log_end.0,
        }
    }

    const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Recovering => "recovering",
            Phase::Reading(_) => "reading",
            Phase::Joining(_) => "joining",
            Phase::Formatting(_) => "formatting",
            Phase::Replaying(_) => "replaying",
            Phase::Electing => "electing",
            Phase::Registering(_) => "registering",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

fn partition_view(log: LogView, leader_epoch: Option<i32>, high_watermark: Offset) -> PartitionView {
    let epochs = log.leader_epochs.into_iter().map(|(LeaderEpoch(epoch), start)| (epoch, start.0));
    PartitionView {
        topic: log.partition.topic.to_string(),
        partition: log.partition.partition,
        topic_id: log.topic_id.to_string(),
        leader_epoch,
        high_watermark: high_watermark.0,
        log_start: log.offsets.log_start.0,
        log_end: log.offsets.log_end.0,
        written: log.offsets.written.0,
        durable: log.offsets.durable.0,
        size: log.size,
        segments: log.segments.into_iter().map(|(base, size)| (base.0, size)).collect(),
        leader_epochs: epochs.collect(),
        damaged: log.damaged,
        compaction: None,
    }
}

fn compaction_view(cleaner: CleanerView) -> CompactionView {
    CompactionView {
        clean_to: cleaner.clean_to.0,
        cleanable_to: cleaner.dirt.end.0,
        dirty_ratio: cleaner.dirt.ratio(),
        overdue_ms: cleaner.dirt.overdue_ms,
        running: cleaner.is_running,
        uncleanable: cleaner.uncleanable,
    }
}
