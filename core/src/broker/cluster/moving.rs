//! What operators ask of the controller about partitions: to move them, and who is to lead them.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::Broker;
use crate::broker::admin::{Answered, PartitionResults};
use crate::clock::{Instant, Now};
use crate::controller::{self, ElectionType, Reassignment, Refused};
use crate::machine::{Effects, Ticket};

/// The most preferred leaders that are elected in one batch: the others follow at once.
const BATCH: usize = 1_000;

impl Broker {
    /// Moves partitions, or takes moves back.
    pub fn reassign_partitions(
        &mut self,
        now: Now,
        ticket: Ticket,
        (wanted, may_change_factor): (Vec<Reassignment>, bool),
        out: &mut Effects,
    ) {
        let (image, config) = (self.metadata.controller.speculative(), &self.config);
        let mut changes = Vec::new();
        let mut answers: PartitionResults = Vec::with_capacity(wanted.len());
        let mut seen = BTreeSet::new();
        for it in wanted {
            // Each is decided by what there is before the first: of two the second would undo half of that.
            let decided = if seen.insert((it.topic.clone(), it.partition)) {
                controller::reassign(image, config, &it, may_change_factor)
            } else {
                let what = format!("{}-{} is named twice in one request", it.topic, it.partition);
                Err(Refused::new(ErrorCode::INVALID_REQUEST, what))
            };
            answers.push((it.topic, it.partition, decided.map(|change| changes.extend(change))));
        }
        self.commit(now, ticket, changes, Answered::Reassigned(answers), out);
    }

    /// Elects leaders. `None` stands for every partition; those that need none are then left out of the answer.
    pub fn elect_leaders(
        &mut self,
        now: Now,
        ticket: Ticket,
        kind: ElectionType,
        partitions: Option<Vec<(String, i32)>>,
        out: &mut Effects,
    ) {
        let (image, config) = (self.metadata.controller.speculative(), &self.config);
        let all = partitions.is_none();
        let every = || {
            let topics = image.topics();
            let each =
                topics.flat_map(|topic| (0..).zip(&topic.partitions).map(|(index, _)| (topic.name.to_string(), index)));
            each.collect()
        };
        let mut changes = Vec::new();
        let mut answers: PartitionResults = Vec::new();
        for (topic, index) in partitions.unwrap_or_else(every) {
            let decided = controller::elect(image, config, kind, (&topic, index)).map(|change| changes.push(change));
            let idle = |refused: &Refused| refused.code == ErrorCode::ELECTION_NOT_NEEDED;
            if !all || !decided.as_ref().is_err_and(idle) {
                answers.push((topic, index, decided));
            }
        }
        self.commit(now, ticket, changes, Answered::Elected(answers), out);
    }

    /// Has the preferred leaders lead again, from time to time (`auto.leader.rebalance.enable`).
    pub(super) fn attend_to_balance(&mut self, now: Now, out: &mut Effects) -> bool {
        let topics = &self.config.broker.topics;
        if !topics.auto_leader_rebalance || !self.is_controller() {
            self.cluster.balance_at = None;
            return false;
        }
        let period = Duration::from_secs(topics.leader_imbalance_check_interval_seconds);
        let at = *self.cluster.balance_at.get_or_insert(now.monotonic + period);
        if at > now.monotonic {
            return false;
        }
        let changes = controller::rebalance(self.metadata.controller.speculative(), BATCH);
        let is_all = changes.len() < BATCH;
        let appended = !changes.is_empty() && self.append_changes(now, changes, out).is_some();
        // A log that takes nothing will not take it at once either.
        let wait = if is_all { period } else { self.retry_backoff() };
        self.cluster.balance_at = Some(if appended && !is_all { now.monotonic } else { now.monotonic + wait });
        appended
    }

    pub(super) const fn balance_deadline(&self) -> Option<Instant> {
        self.cluster.balance_at
    }
}
