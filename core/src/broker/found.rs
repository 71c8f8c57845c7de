//! What a start finds of partitions: logs that become replicas, or remnants; and logs that were durable here once and
//! are not there: lost with their directory, or with the partition that moved away.

use std::sync::Arc;

use super::Broker;
use crate::clock::Now;
use crate::controller::TopicImage;
use crate::log::{FoundLog, LogId};
use crate::machine::{Effects, Level, LogDirId};
use crate::planted::Plant;
use crate::replication::Replica;
use crate::types::TopicPartition;

impl Broker {
    /// At the start: the logs that were found become the replicas that the metadata knows. What it does not know is
    /// a remnant of a deleted topic, and is removed: a topic made again must not inherit its records (KAFKA-14616). But
    /// not a damaged one that cannot say whose it is.
    pub(super) fn adopt_logs(&mut self, now: Now, out: &mut Effects) {
        self.apply_broker_settings(out);
        self.on_topics_changed(None);
        let mut found = std::mem::take(&mut self.metadata.found);
        found.sort_by_key(|found| !self.is_placed(&found.partition, found.dir));
        for found in found {
            self.adopt(now, found, out);
        }
        let topics: Vec<Arc<TopicImage>> = self.image().topics().cloned().collect();
        if self.config.broker.storage.log_dirs().len() > self.metadata.directories.len() {
            self.take_for_missing(&topics);
        }
        for topic in &topics {
            self.apply_topic(now, topic, out);
        }
    }

    /// Takes in a log that the start found, or removes it, if it is certain that it is no topic's of the cluster.
    fn adopt(&mut self, now: Now, found: FoundLog, out: &mut Effects) {
        let FoundLog { log, partition, topic_id, damage, high_watermark, dir, offsets } = found;
        // A log gets its topic's id before its first record: one that has records and no id could not be read.
        let unsure = topic_id.is_zero() && (damage.is_some() || offsets.log_end > offsets.log_start);
        let image = self.image();
        let known = image.topic(&partition.topic).filter(|topic| topic.id == topic_id || unsure);
        let known = known.filter(|_| image.partition(&partition.topic, partition.partition).is_some());
        let Some(topic) = known.cloned() else {
            let now_named = image.topic(&partition.topic).map(|topic| topic.id);
            if now_named.is_some_and(|id| self.metadata.missing.contains(&(partition.clone(), id))) {
                out.note(Level::Error, format!("{partition} names another topic than was durable there: left alone"));
            } else if unsure {
                out.note(Level::Error, format!("{partition} does not say of which topic it is: left alone"));
            } else {
                out.note(Level::Warn, format!("{partition} belongs to no topic of the cluster any more: removed"));
                self.logs.delete(now, log, out);
            }
            return;
        };
        if let Some(other) = self.replicas.log(&partition.topic, partition.partition) {
            return self.leave_double(&partition, (other, log), out);
        }
        let config = self.config.broker.topic(&self.overrides_of(&topic.name));
        let high_watermark = if self.config.planted.has(Plant::Isr19) { offsets.log_end } else { high_watermark };
        self.replicas.insert(Replica::new(partition, topic.id, log, high_watermark), &config);
        let is_damaged = damage.as_ref().is_some_and(|damage| !damage.unreadable);
        let why = match damage {
            Some(damage) => format!("is damaged ({damage}); nothing of it is served or cut"),
            None if self.logs.is_offline(dir) => "is offline with its directory".to_owned(),
            None if unsure => "does not say of which topic it is; nothing of it is served or cut".to_owned(),
            None => return,
        };
        if is_damaged && !unsure {
            self.mark_damaged(log, false);
        } else {
            self.replicas.mark_unusable(log);
        }
        self.take_offline(log, &why, out);
    }

    /// Makes the logs of replicas that have none, and anew those that are damaged: there was no room when it was due.
    pub(super) fn make_missing_logs(&mut self, now: Now, out: &mut Effects) {
        let node = self.node();
        let is_due = |topic: &TopicImage| {
            let mut partitions = (0..).zip(&topic.partitions).filter(|(_, it)| it.replicas.contains(&node));
            partitions.any(|(index, it)| {
                let log = self.replicas.log(&topic.name, index);
                log.is_none_or(|log| self.may_repair(log, it))
            })
        };
        let due: Vec<Arc<TopicImage>> = self.image().topics().filter(|topic| is_due(topic)).cloned().collect();
        for topic in due {
            self.apply_topic(now, &topic, out);
        }
    }

    /// Whether the metadata has the replica of a partition in this directory.
    fn is_placed(&self, partition: &TopicPartition, dir: LogDirId) -> bool {
        let known = self.image().partition(&partition.topic, partition.partition);
        let known = known.and_then(|partition| partition.directory(self.node()));
        known.is_some() && known == self.metadata.directories.get(&dir).copied()
    }

    /// A second log of a partition: a directory that had failed is back, and has what was made anew elsewhere since.
    /// It is left alone; and if the metadata does not say which of the two it is, so is the first.
    fn leave_double(&mut self, partition: &TopicPartition, (first, second): (LogId, LogId), out: &mut Effects) {
        self.logs.set_aside(second, first);
        let [one, two] = [first, second].map(|log| self.logs.view(log).map_or(LogDirId(0), |view| view.dir));
        let [here, there] = [one, two].map(|dir| self.dir_name(dir).to_owned());
        if self.is_placed(partition, one) {
            let told = format!("{partition} lies in {there} too, and is the one in {here}: remove that in {there}");
            return out.note(Level::Error, told);
        }
        self.replicas.mark_unusable(first);
        let why = format!("lies in {here} and in {there}: stop the broker, and remove the one that is older");
        self.take_offline(first, &why, out);
    }

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
        all_online && known.is_some_and(|it| it.is_led_by_other(node) && !it.counts_on(node))
    }
}
