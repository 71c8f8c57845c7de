//! How a shard comes and goes: the topic is made, a log is led and read, a log is lost.

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::{Hosted, RETRY};
use crate::broker::admin::Answered;
use crate::broker::{Broker, Outcome, Pending};
use crate::clock::{Instant, Now};
use crate::controller::{self, NewTopic, OFFSETS_TOPIC};
use crate::coordinator::Shard;
use crate::log::LogId;
use crate::machine::{Effects, Level, Ticket};
use crate::planted::{Plant, Planted};
use crate::record::{self, RecordBatch};
use crate::types::{Offset, TopicPartition};

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The log is read: from `next`, up to `until`.
    Loading { next: Offset, until: Offset },
    /// It could not be read just now, as while it is cut: it is read anew then.
    Unread { again: Instant },
    /// It is read, and not all of it is committed.
    Settling { until: Offset },
    /// Requests are served.
    Serving,
    /// The log cannot be read.
    Failed,
}

impl Phase {
    pub(super) const fn is_loading(self) -> bool {
        matches!(self, Self::Loading { .. } | Self::Unread { .. } | Self::Settling { .. })
    }
}

impl Broker {
    /// Finds the coordinators of groups; the first who asks has the topic made that their state lives in.
    pub fn find_coordinators(&mut self, now: Now, ticket: Ticket, groups: Vec<String>, out: &mut Effects) {
        if self.image().topic(OFFSETS_TOPIC).is_some() {
            return self.release(ticket, Outcome::Admin(Box::new(Answered::Coordinators(groups))));
        }
        let topic = controller::offsets_topic(&self.config.broker);
        if !self.is_controller() {
            // It is on its way: who asks again finds it.
            self.ask_for_topics(vec![topic]);
            return self.release(ticket, Outcome::Admin(Box::new(Answered::Coordinators(groups))));
        }
        let image = self.metadata.controller.speculative();
        let decision = controller::create(image, &self.config.broker, &[topic], &mut self.rng);
        let refused = decision.answer.into_iter().find_map(Result::err);
        // It may be on its way: the answer then waits for it.
        if let Some(refused) = refused.filter(|refused| refused.code != ErrorCode::TOPIC_ALREADY_EXISTS)
            && !self.coordinator.told
        {
            self.coordinator.told = true;
            let why =
                format!("{OFFSETS_TOPIC} cannot be made, and there are no groups without it: {}", refused.message);
            out.note(Level::Error, why);
        }
        self.commit(now, ticket, decision.changes, Answered::Coordinators(groups), out);
    }

    /// The topic of that name as it is made when a client's wish for it comes first.
    pub(in crate::broker) fn wanted_topic(&self, name: &str) -> NewTopic {
        if name == OFFSETS_TOPIC {
            return controller::offsets_topic(&self.config.broker);
        }
        NewTopic {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }

    /// A partition is led here from now on: if it has groups, they are read.
    pub(in crate::broker) fn coordinate(&mut self, now: Now, log: LogId, out: &mut Effects) {
        let Some(replica) = self.replicas.get(log).filter(|replica| replica.leader().is_some()) else { return };
        let TopicPartition { topic, partition } = replica.partition.clone();
        let hosted = self.coordinator.shards.get(&partition).filter(|hosted| hosted.log == log);
        if &*topic != OFFSETS_TOPIC || hosted.is_some_and(|hosted| hosted.phase != Phase::Failed) {
            return;
        }
        self.resign_groups(log);
        if self.coordinator.spread.is_none() {
            let count = self.image().topic(OFFSETS_TOPIC).map_or(0, |topic| topic.partitions.len());
            self.coordinator.spread = i32::try_from(count).ok().filter(|count| *count > 0);
        }
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let mut shard = Shard::new(self.group_settings());
        shard.set_topics(self.coordinator.topics.clone());
        let hosted = Hosted {
            log,
            phase: Phase::Loading { next: offsets.log_start, until: offsets.log_end },
            shard,
            deadline: None,
            not_before: None,
            awaits_write: false,
            deleted: Vec::new(),
        };
        self.coordinator.shards.insert(partition, hosted);
        self.coordinator.by_log.insert(log, partition);
        self.load_on(now, partition, out);
    }

    /// Reads on, or goes over to the next phase at the end.
    fn load_on(&mut self, now: Now, partition: i32, out: &mut Effects) {
        let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
        let Phase::Loading { next, until } = hosted.phase else { return };
        let log = hosted.log;
        if next < until {
            let ticket = self.questions.ask(Pending::Groups(log));
            return self.logs.read_bytes(log, next, ticket, out);
        }
        hosted.phase = Phase::Settling { until };
        if self.replicas.high_watermark(log) >= until {
            self.serve_groups(now, partition, out);
        }
    }

    /// More of a log is written, which a shard waits for that reads it.
    pub(in crate::broker) fn load_further(&mut self, now: Now, log: LogId, out: &mut Effects) {
        let Some(&partition) = self.coordinator.by_log.get(&log) else { return };
        let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
        if std::mem::take(&mut hosted.awaits_write) {
            self.load_on(now, partition, out);
        }
    }

    /// More of a shard's log is here.
    pub(in crate::broker) fn on_group_bytes(&mut self, now: Now, log: LogId, bytes: Option<Bytes>, out: &mut Effects) {
        let Some(&partition) = self.coordinator.by_log.get(&log) else { return };
        let inflated_limit = u64::from(self.config.broker.limits.batch_max_inflated_bytes);
        let planted = self.config.planted;
        let written = self.logs.offsets(log).unwrap_or_default().written;
        let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
        let Phase::Loading { until, .. } = hosted.phase else { return };
        let Some(bytes) = bytes else {
            // Where it is damaged, or its directory has failed, it is led here no more.
            hosted.phase = Phase::Unread { again: now.monotonic + RETRY };
            return self.coordinator.reschedule(partition);
        };
        if bytes.is_empty() && written < until {
            // What a cut holds back is not written yet, and belongs to it.
            hosted.awaits_write = true;
            return;
        }
        match hosted.replay(&bytes, inflated_limit, planted) {
            Ok(()) => self.load_on(now, partition, out),
            Err(why) => {
                // To go on would forget what the record says: an offset of long ago would be handed out as the last.
                hosted.phase = Phase::Failed;
                let what = "the groups of this partition are not served";
                out.note(Level::Error, format!("{OFFSETS_TOPIC}-{partition}: {why}; {what}"));
            }
        }
    }

    /// All that the log has is read and committed.
    pub(super) fn serve_groups(&mut self, now: Now, partition: i32, out: &mut Effects) {
        let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
        hosted.phase = Phase::Serving;
        hosted.shard.on_loaded(now);
        let deleted = std::mem::take(&mut hosted.deleted);
        let stale = hosted.shard.stale_offsets(&deleted);
        self.forget_offsets(now, partition, stale, out);
        self.coordinator.reschedule(partition);
    }

    /// A log is led here no more: neither are its groups.
    pub(in crate::broker) fn resign_groups(&mut self, log: LogId) {
        let Some(partition) = self.coordinator.by_log.remove(&log) else { return };
        let Some(mut hosted) = self.coordinator.shards.remove(&partition) else { return };
        if let Some(deadline) = hosted.deadline {
            self.coordinator.deadlines.remove(&(deadline, partition));
        }
        self.questions.forget(Pending::Groups(log));
        let answers = hosted.shard.unload();
        self.deliver(answers);
    }

    /// There was no room for the end of a log: the groups are what the rest of it says.
    pub(in crate::broker) fn reload_groups(&mut self, now: Now, log: LogId, out: &mut Effects) {
        let Some(partition) = self.coordinator.by_log.get(&log) else { return };
        let deleted = self.coordinator.shards.get(partition).map(|hosted| hosted.deleted.clone());
        self.resign_groups(log);
        self.coordinate(now, log, out);
        if let Some(partition) = self.coordinator.by_log.get(&log)
            && let Some(hosted) = self.coordinator.shards.get_mut(partition)
        {
            hosted.deleted = deleted.unwrap_or_default();
        }
    }
}

impl Hosted {
    /// Replays whole batches, from the one that is wanted next on.
    fn replay(&mut self, bytes: &[u8], inflated_limit: u64, planted: Planted) -> Result<(), String> {
        let Phase::Loading { mut next, until } = self.phase else { return Ok(()) };
        if bytes.is_empty() {
            next = until; // There is nothing more, whatever the end was said to be.
        }
        for batch in record::batches(bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            let replayed = self.replay_batch(&batch, inflated_limit, planted);
            replayed
                .map_err(|why| format!("the batch at offset {} cannot be read: {why}", batch.header().base_offset))?;
            next = batch.header().next_offset();
        }
        self.phase = Phase::Loading { next, until };
        Ok(())
    }

    fn replay_batch(&mut self, batch: &RecordBatch<'_>, inflated_limit: u64, planted: Planted) -> Result<(), String> {
        batch.check_crc().map_err(|error| error.to_string())?;
        if batch.header().attributes.is_control() {
            return Ok(());
        }
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, inflated_limit).map_err(|problem| problem.to_string())?;
        let most = if planted.has(Plant::Ofs04) { 1 } else { usize::MAX };
        for record in records.take(most) {
            let record = record.map_err(|problem| problem.to_string())?;
            let key = record.key.unwrap_or_default();
            self.shard.replay(key, record.value).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
