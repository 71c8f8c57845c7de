//! The machine as the service runs it, and what operators may see of it.
//!
//! A look is one call of `Machine::view`, between two rounds; the text is made of it afterwards.

use std::any::Any;

use ottla_core::broker::{ClusterView, CompactionView, GroupsView, PartitionView, View};
use ottla_core::machine::Machine;

use crate::metrics::{Family, Point, Points};
use crate::service::Machinery;

/// The broker.
pub(crate) const MACHINERY: Machinery =
    Machinery { make: |config, seed| Box::new(Machine::new(config, seed)), look: |brain| Box::new(Seen::of(brain)) };

/// What one look saw.
#[derive(Debug)]
struct Seen {
    view: Option<View>,
    unanswered: usize,
}

impl Seen {
    fn of(brain: &dyn Any) -> Self {
        let machine = brain.downcast_ref::<Machine>();
        Self { view: machine.map(Machine::view), unanswered: machine.map_or(0, |machine| machine.connections().1) }
    }
}

impl crate::service::Seen for Seen {
    fn metrics(&self) -> Vec<Family> {
        let mut families = vec![Family::gauge(
            "ottla_requests_unanswered",
            "Requests that are being worked on or wait",
            self.unanswered as f64,
        )];
        if let Some(view) = &self.view {
            families.extend(of_broker(view));
            families.extend(of_cluster(&view.cluster));
            families.extend(of_groups(&view.groups));
            families.extend(of_partitions(&view.partitions));
            families.extend(of_cleaner(view));
        }
        families
    }

    fn log_dirs(&self) -> Vec<(String, &'static str)> {
        let dirs = self.view.iter().flat_map(|view| &view.log_dirs);
        dirs.map(|dir| (dir.path.clone(), dir.health)).collect()
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(&self.view).unwrap_or_else(|error| format!("\"{error}\""))
    }
}

fn of_broker(view: &View) -> Vec<Family> {
    let count = |wanted: fn(&PartitionView) -> bool| view.partitions.iter().filter(|it| wanted(it)).count() as f64;
    let metadata = &view.metadata;
    vec![
        Family::gauge("ottla_partitions", "Partitions that have a replica here", count(|_| true)),
        Family::gauge(
            "ottla_partitions_led",
            "Partitions that this broker leads",
            count(|it| it.leader_epoch.is_some()),
        ),
        Family::gauge("ottla_partitions_damaged", "Partitions whose log is damaged", count(|it| it.damaged)),
        Family::gauge(
            "ottla_log_directories_offline",
            "Log directories that failed in this process",
            view.log_dirs.iter().filter(|dir| dir.health == "offline").count() as f64,
        ),
        Family::gauge("ottla_purgatory_requests", "Requests that wait for something", view.purgatory as f64),
        Family::gauge("ottla_fetch_sessions", "Incremental fetch sessions", view.fetch_sessions as f64),
        Family::gauge("ottla_metadata_leader", "1 if this node leads the metadata quorum", f64::from(metadata.leads)),
        Family::gauge("ottla_metadata_epoch", "Epoch of the metadata quorum", f64::from(metadata.epoch)),
        Family::gauge("ottla_metadata_high_watermark", "Committed metadata records", metadata.high_watermark as f64),
        Family::gauge("ottla_metadata_log_end_offset", "End of the metadata log", metadata.log_end as f64),
    ]
}

fn of_cluster(it: &ClusterView) -> Vec<Family> {
    let gauge = |name, help, count: usize| Family::gauge(name, help, count as f64);
    vec![
        gauge("ottla_brokers_active", "Brokers in service, as this node knows", it.active_brokers),
        gauge("ottla_brokers_fenced", "Registered brokers out of service, as this node knows", it.fenced_brokers),
        gauge("ottla_partitions_offline", "Partitions of the cluster that nobody leads", it.offline),
        gauge(
            "ottla_partitions_not_preferred",
            "Partitions of the cluster that another than the preferred replica leads",
            it.led_by_others,
        ),
        gauge("ottla_partitions_reassigning", "Partitions of the cluster that are being moved", it.reassigning),
        gauge(
            "ottla_partitions_under_replicated",
            "Partitions led here with fewer replicas in sync than there are",
            it.under_replicated,
        ),
        gauge(
            "ottla_partitions_under_min_isr",
            "Partitions led here with fewer replicas in sync than min.insync.replicas",
            it.under_min_isr,
        ),
        gauge(
            "ottla_partitions_at_min_isr",
            "Partitions led here with just min.insync.replicas in sync",
            it.at_min_isr,
        ),
    ]
}

fn of_groups(groups: &GroupsView) -> Vec<Family> {
    let labelled = |label: &'static str, points: &[(&str, usize)]| {
        let point =
            |(name, count): &(&str, usize)| Point { labels: vec![(label, (*name).to_owned())], value: *count as f64 };
        Points::Gauge(points.iter().map(point).collect())
    };
    let shards = [("serving", groups.serving), ("loading", groups.loading), ("failed", groups.failed)];
    vec![
        Family {
            name: "ottla_group_partitions",
            help: "Partitions of __consumer_offsets that are led here",
            points: labelled("state", &shards),
        },
        Family {
            name: "ottla_groups",
            help: "Groups that are coordinated here",
            points: labelled("state", &groups.groups),
        },
        Family::gauge("ottla_group_offsets", "Offsets that groups have committed", groups.offsets as f64),
        Family::gauge("ottla_group_requests_waiting", "Requests that wait for a group", groups.asking as f64),
    ]
}

/// Compaction: what was done, and how each compacted partition stands.
fn of_cleaner(view: &View) -> Vec<Family> {
    let totals = &view.cleaner;
    let family = |name, help, value: fn(&CompactionView) -> f64| {
        let point = |it: &PartitionView| {
            let labels = vec![("topic", it.topic.clone()), ("partition", it.partition.to_string())];
            it.compaction.as_ref().map(|compaction| Point { labels, value: value(compaction) })
        };
        Family { name, help, points: Points::Gauge(view.partitions.iter().filter_map(point).collect()) }
    };
    let occupancy = if totals.most_keys == 0 { 0.0 } else { totals.keys as f64 / totals.most_keys as f64 };
    vec![
        Family::counter("ottla_cleaner_passes", "Passes of the cleaner over a log", totals.passes as f64),
        Family::counter("ottla_cleaner_given_up", "Passes that were given up", totals.given_up as f64),
        Family::counter("ottla_cleaner_read_bytes", "Bytes that the cleaner read", totals.bytes_read as f64),
        Family::counter("ottla_cleaner_written_bytes", "Bytes that the cleaner wrote", totals.bytes_written as f64),
        Family::gauge("ottla_cleaner_map_ratio", "How full the last pass's map of keys was", occupancy),
        Family::gauge("ottla_cleaner_map_bytes_max", "Most memory of a map of keys", totals.map_bytes_max as f64),
        family("ottla_partition_dirty_ratio", "Share of what can be compacted that is dirty", |it| it.dirty_ratio),
        family("ottla_partition_clean_offset", "Offset below which the log is compacted", |it| it.clean_to as f64),
        family("ottla_partition_compaction_overdue_seconds", "Time behind max.compaction.lag.ms", |it| {
            it.overdue_ms as f64 / 1000.0
        }),
        family("ottla_partition_uncleanable", "1 if the log is not compacted any more by this process", |it| {
            f64::from(u8::from(it.uncleanable.is_some()))
        }),
    ]
}

fn of_partitions(partitions: &[PartitionView]) -> Vec<Family> {
    let family = |name, help, value: fn(&PartitionView) -> f64| {
        let point = |it: &PartitionView| Point {
            labels: vec![("topic", it.topic.clone()), ("partition", it.partition.to_string())],
            value: value(it),
        };
        Family { name, help, points: Points::Gauge(partitions.iter().map(point).collect()) }
    };
    vec![
        family("ottla_partition_log_start_offset", "First offset that can be read", |it| it.log_start as f64),
        family("ottla_partition_log_end_offset", "Offset after the last record", |it| it.log_end as f64),
        family("ottla_partition_high_watermark", "Offset below which records can be read", |it| {
            it.high_watermark as f64
        }),
        family("ottla_partition_size_bytes", "Bytes of the log's segments", |it| it.size as f64),
    ]
}
