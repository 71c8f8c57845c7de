//! Where this broker's replicas lie, for the controller (KIP-858): which is how others come to lead what it cannot use;
//! and damaged logs, which are made anew from the others (promise P5).
//!
//! | the log here | the metadata | then |
//! |---|---|---|
//! | is usable | has it elsewhere, or has it lost | the controller is told the directory |
//! | is offline or damaged | has it here | the controller is told that it is lost: others lead |
//! | is damaged | has it lost, another leads in a later epoch, and nobody counts on it | it goes, and is made anew |
//!
//! A damaged log goes only when its leader began a new epoch after the damage was found: by then nothing that was
//! fetched of the old log can bring this replica into the ISR with a new one that has nothing yet.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Ask, Purpose, Said, To};
use crate::broker::Broker;
use crate::clock::{Instant, Now};
use crate::controller::{Assignment, LOST, PartitionImage};
use crate::log::LogId;
use crate::machine::Effects;
use crate::planted::Plant;
use crate::types::{BrokerId, LeaderEpoch};

/// The most that is told in one request, as in Kafka.
pub(super) const MOST_PLACES: usize = 2250;

/// What the controller does not know yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Placing {
    unsettled: BTreeSet<LogId>,
    due: Instant,
    asked: bool,
}

impl Broker {
    /// A log, or what the metadata says of it, changed: whether the controller is to be told where it lies.
    pub(in crate::broker) fn place(&mut self, log: LogId) {
        let unsettled = self.misplaced(log).is_some();
        let placing = &mut self.cluster.placing;
        if !unsettled {
            // What was told has arrived: the rest follows.
            if placing.unsettled.remove(&log) {
                placing.due = Instant(0);
            }
        } else if placing.unsettled.insert(log) {
            placing.due = Instant(0);
        }
    }

    /// What the controller is to be told of a log.
    fn misplaced(&self, log: LogId) -> Option<Assignment> {
        let replica = self.replicas.get(log)?;
        let (topic_id, partition, node) = (replica.topic_id, replica.partition.partition, self.node());
        let image = self.image().partition_by_id(topic_id, partition)?;
        let known = image.directory(node)?;
        let directory = if !self.is_storage_offline(log) {
            self.directory_of(log).filter(|directory| *directory != known)
        } else {
            let since = self.replicas.damaged_since(log);
            let waits = image.is_led_by_other(node) && since.is_some_and(|since| !may_go(image, node, since));
            match known {
                LOST if !waits => None,
                // It was lost before, and that no epoch has begun since is because that was never taken back.
                LOST if !image.counts_on(node) => self.directory_of(log),
                _ => Some(LOST),
            }
        };
        directory.map(|directory| Assignment { topic_id, partition, directory })
    }

    /// A log is damaged: this process uses it no more. One that could not be read may be whole: the next process sees.
    pub(in crate::broker) fn mark_damaged(&mut self, log: LogId, unreadable: bool) {
        if unreadable {
            return self.replicas.mark_unusable(log);
        }
        let Some(replica) = self.replicas.get(log) else { return };
        let (topic_id, partition) = (replica.topic_id, replica.partition.partition);
        let epoch = self.image().partition_by_id(topic_id, partition).map(|image| image.leader_epoch);
        self.replicas.mark_damaged(log, epoch.unwrap_or_default());
    }

    /// Whether a log is damaged, and can be made anew from its leader, in its directory.
    pub(in crate::broker) fn may_repair(&self, log: LogId, image: &PartitionImage) -> bool {
        let node = self.node();
        self.has_room(log)
            && self.replicas.damaged_since(log).is_some_and(|since| {
                let early = self.config.planted.has(Plant::Rep25) && image.is_led_by_other(node);
                early || may_go(image, node, since)
            })
    }

    /// Whether there is room in the directory of a log.
    pub(super) fn has_room(&self, log: LogId) -> bool {
        self.logs.view(log).is_some_and(|view| self.logs.is_usable(view.dir))
    }

    /// Tells what is due. Whether this node decided it itself.
    pub(super) fn attend_to_placing(&mut self, now: Now, out: &mut Effects) -> bool {
        let placing = &self.cluster.placing;
        if placing.unsettled.is_empty() || placing.asked || placing.due > now.monotonic {
            return false;
        }
        // Who is alone keeps to itself what is lost: nobody else could lead. But it takes back what it told others.
        let is_alone = self.is_alone();
        let said = |log: &LogId| self.misplaced(*log).filter(|it| !is_alone || it.directory != LOST);
        let (lost, others): (Vec<_>, Vec<_>) =
            placing.unsettled.iter().filter_map(said).partition(|assignment| assignment.directory == LOST);
        let assignments: Vec<Assignment> = lost.into_iter().chain(others).take(MOST_PLACES).collect();
        if assignments.is_empty() {
            self.cluster.placing.unsettled.clear();
            return false;
        }
        self.cluster.placing.due = now.monotonic + self.retry_backoff();
        let Some(epoch) = self.metadata.broker_epoch().filter(|_| self.is_running()) else { return false };
        if self.is_controller() {
            self.cluster.placing.due = now.monotonic + self.patience();
            let changes = self.decide_places(self.node(), &assignments).into_iter();
            let changes: Vec<_> = changes.filter_map(|(_, decided)| decided.ok().flatten()).collect();
            return !changes.is_empty() && self.append_changes(now, changes, out).is_some();
        }
        if let Some(controller) = self.controller() {
            let ask = Ask::AssignReplicas { sender: (self.node(), epoch), assignments };
            self.cluster.placing.asked = true;
            self.cluster.calls.ask(To::Controller(controller), ask, Purpose::Placing);
        }
        false
    }

    /// The controller knows now, and the metadata will say so; or it does not.
    pub(super) fn on_placed(&mut self, now: Now, said: Option<&Said>) {
        let told = matches!(said, Some(Said::Assigned(Ok(()))));
        let wait = if told { self.patience() } else { self.retry_backoff() };
        self.cluster.placing.asked = false;
        self.cluster.placing.due = now.monotonic + wait;
    }

    pub(super) fn placing_deadline(&self) -> Option<Instant> {
        let placing = &self.cluster.placing;
        (!placing.unsettled.is_empty() && !placing.asked).then_some(placing.due)
    }

    /// How long the metadata is waited for.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.config.broker.quorum.request_timeout_ms)
    }
}

/// Whether nobody counts, or can come to count, on what a log had that was damaged in the epoch `since`.
fn may_go(image: &PartitionImage, node: BrokerId, since: LeaderEpoch) -> bool {
    image.is_led_by_other(node) && !image.counts_on(node) && image.leader_epoch > since
}
