//! Logs that were durable here once and are not there: lost with their directory, or with the partition that moved
//! away.

use std::sync::Arc;

use super::Broker;
use crate::controller::{PartitionImage, TopicImage};
use crate::types::TopicPartition;

impl Broker {
    /// A log that was not found may lie in a directory that is offline: it is not made anew, empty, elsewhere (P9).
    pub(super) fn take_for_missing(&mut self, topics: &[Arc<TopicImage>]) {
        for topic in topics {
            let partitions = (0..).zip(&topic.partitions).map(|(index, _)| index);
            let absent = partitions.filter(|index| self.replicas.log(&topic.name, *index).is_none());
            let absent: Vec<_> =
                absent.map(|index| (TopicPartition::new(Arc::clone(&topic.name), index), topic.id)).collect();
            self.metadata.missing.extend(absent);
        }
    }

    /// Whether nobody counts on what a log had that is not there any more: another leads, and has all that is
    /// committed; this broker is neither in sync nor eligible, so it follows with an empty log. It may be gone because
    /// the partition had moved away, and is back. But not while a directory is offline that may have it.
    pub(super) fn may_begin_anew(&self, partition: &TopicPartition) -> bool {
        let all_online = self.config.broker.storage.log_dirs().len() == self.metadata.directories.len();
        let node = self.node();
        let known = self.image().partition(&partition.topic, partition.partition);
        let counts = |it: &PartitionImage| it.isr.contains(&node) || it.elr.contains(&node);
        let led = |it: &PartitionImage| it.leader.is_some_and(|leader| leader != node);
        all_online && known.is_some_and(|it| led(it) && !counts(it))
    }
}
