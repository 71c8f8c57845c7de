//! Who keeps up with what this broker leads: followers' fetches, and the ISR that follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::{Ask, Purpose, Said, To};
use crate::broker::Broker;
use crate::clock::{Instant, Now};
use crate::controller::IsrProposal;
use crate::log::LogId;
use crate::machine::Effects;
use crate::planted::Plant;
use crate::replication::{FollowerFetch, SessionPartition};
use crate::types::{BrokerEpoch, BrokerId, Offset};

/// The most that is proposed in one request: what a frame may have is bounded.
const MOST_PROPOSALS: usize = 2250;

/// Proposals for other in-sync replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct InSync {
    /// Those that are to be asked for, and when.
    due: BTreeMap<LogId, Instant>,
    /// When it is looked next whether somebody lags.
    lag_at: Option<Instant>,
}

/// A follower, in the registration that it fetches with, and up to where its log counts, if it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Who.
    pub id: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
}

impl Broker {
    /// A follower's fetch came, and its log does not diverge.
    pub(in crate::broker) fn on_follower(
        &mut self,
        now: Now,
        log: LogId,
        follower: Follower,
        fetch: &SessionPartition,
        out: &mut Effects,
    ) {
        let registered = self.image().broker(follower.id).is_some_and(|known| known.epoch == follower.epoch);
        // One that does not say what is durable there counts only where what is written does.
        let log_end = fetch.fetch_offset;
        let counted = match fetch.counted {
            _ if self.config.planted.has(Plant::Isr23) => log_end,
            Offset(-1) if self.counts_durable() => Offset::ZERO,
            Offset(-1) => log_end,
            counted => counted,
        };
        let end = self.logs.offsets(log).unwrap_or_default().log_end;
        let Some(leader) = self.replicas.get_mut(log).and_then(|replica| replica.leader_mut()) else { return };
        let log_start = Some(fetch.log_start).filter(|start| start.0 >= 0);
        let fetch = FollowerFetch { follower: follower.id, broker_epoch: follower.epoch, log_end, counted, log_start };
        if !registered || !leader.on_fetch(now.monotonic, fetch, end) {
            return;
        }
        self.consider_isr(now, log);
        self.on_watermark(now, log, out);
    }

    /// Proposes another ISR where there should be one.
    pub(in crate::broker) fn consider_isr(&mut self, now: Now, log: LogId) {
        let max_lag = Duration::from_millis(self.config.broker.replication.lag_time_max_ms);
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let high_watermark = self.replicas.high_watermark(log);
        let bounds = (high_watermark, offsets.log_start, offsets.log_end);
        let image = self.metadata.image();
        let any = self.config.planted.has(Plant::Isr06);
        let may_join = |id: BrokerId, epoch: BrokerEpoch| {
            image.is_active(id) && image.broker(id).is_some_and(|known| any || known.epoch == epoch)
        };
        let Some(leader) = self.replicas.get_mut(log).and_then(|replica| replica.leader_mut()) else { return };
        if leader.propose(now.monotonic, bounds, max_lag, may_join) {
            self.cluster.in_sync.due.insert(log, now.monotonic);
        }
    }

    /// Asks for what is proposed, and looks who lags. Whether this node decided it itself.
    pub(super) fn attend_to_isr(&mut self, now: Now, out: &mut Effects) -> bool {
        self.look_for_laggards(now);
        let logs = self.cluster.in_sync.next(now.monotonic);
        if logs.is_empty() {
            return false;
        }
        let timeout = Duration::from_millis(self.config.broker.quorum.request_timeout_ms);
        let mut proposals = Vec::new();
        let mut asked = BTreeSet::new();
        for log in logs {
            match self.proposal_of(log) {
                Some(proposal) => {
                    proposals.push(proposal);
                    asked.insert(log);
                    // Should the answer be lost with the controller.
                    self.cluster.in_sync.due.insert(log, now.monotonic + timeout);
                }
                None => {
                    self.cluster.in_sync.due.remove(&log);
                }
            }
        }
        let Some(epoch) = self.metadata.broker_epoch().filter(|_| !proposals.is_empty()) else { return false };
        let node = self.node();
        if self.is_controller() {
            return self.decide_own_isr(now, &asked, &proposals, out);
        }
        match self.controller() {
            Some(controller) => {
                let ask = Ask::AlterPartitions { sender: (node, epoch), proposals };
                self.cluster.calls.ask(To::Controller(controller), ask, Purpose::Isr(asked));
            }
            None => self.ask_again_for(now, &asked),
        }
        false
    }

    fn decide_own_isr(
        &mut self,
        now: Now,
        asked: &BTreeSet<LogId>,
        proposals: &[IsrProposal],
        out: &mut Effects,
    ) -> bool {
        let mut changes = Vec::new();
        for (log, proposal) in asked.iter().zip(proposals) {
            match self.decide_isr(self.node(), proposal) {
                Ok(change) => changes.push(change),
                Err(error) => self.on_isr_decided(now, *log, error),
            }
        }
        !changes.is_empty() && self.append_changes(now, changes, out).is_some()
    }

    fn proposal_of(&self, log: LogId) -> Option<IsrProposal> {
        let replica = self.replicas.get(log)?;
        let leader = replica.leader()?;
        let proposal = leader.proposal()?;
        Some(IsrProposal {
            topic_id: replica.topic_id,
            partition: replica.partition.partition,
            leader_epoch: leader.leader_epoch(),
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr.clone(),
        })
    }

    fn ask_again_for(&mut self, now: Now, logs: &BTreeSet<LogId>) {
        let at = now.monotonic + self.retry_backoff();
        self.cluster.in_sync.due.extend(logs.iter().map(|log| (*log, at)));
    }

    pub(super) fn on_isr_answer(&mut self, now: Now, logs: &BTreeSet<LogId>, said: Option<Said>) {
        let Some(Said::Altered(Ok(answers))) = said else { return self.ask_again_for(now, logs) };
        let answers: BTreeMap<_, _> = answers.into_iter().map(|(id, index, error)| ((id, index), error)).collect();
        for log in logs {
            let Some(replica) = self.replicas.get(*log) else { continue };
            if let Some(error) = answers.get(&(replica.topic_id, replica.partition.partition)) {
                self.on_isr_decided(now, *log, *error);
            }
        }
    }

    /// What became of a proposal. It counts in the high watermark until the metadata tells what is: what was asked
    /// before, of this controller or another, may have been made though its answer was lost, or be made yet, and then
    /// who was let in may lead.
    fn on_isr_decided(&mut self, now: Now, log: LogId, error: ErrorCode) {
        let again = now.monotonic + self.retry_backoff();
        let Some(leader) = self.replicas.get_mut(log).and_then(|replica| replica.leader_mut()) else { return };
        match error {
            ErrorCode::INELIGIBLE_REPLICA => {
                leader.on_ineligible();
                self.cluster.in_sync.due.insert(log, again);
            }
            ErrorCode::NOT_CONTROLLER => {
                self.cluster.in_sync.due.insert(log, again);
            }
            // Should the metadata not come, it is asked again after a request's time.
            _ => {}
        }
    }

    /// From time to time, since a follower that is gone says nothing.
    fn look_for_laggards(&mut self, now: Now) {
        let period = Duration::from_millis(self.config.broker.replication.lag_time_max_ms / 2);
        let at = *self.cluster.in_sync.lag_at.get_or_insert(now.monotonic + period);
        if at > now.monotonic {
            return;
        }
        self.cluster.in_sync.lag_at = Some(now.monotonic + period);
        let has_followers = |log: &LogId| {
            let leader = self.replicas.get(*log).and_then(|replica| replica.leader());
            leader.is_some_and(|leader| !leader.followers().is_empty())
        };
        let led: Vec<LogId> = self.replicas.iter().map(|replica| replica.log).filter(has_followers).collect();
        for log in led {
            self.consider_isr(now, log);
        }
    }

    pub(super) fn isr_deadline(&self) -> Option<Instant> {
        let it = &self.cluster.in_sync;
        it.due.values().copied().chain(it.lag_at).min()
    }
}

impl InSync {
    /// What is asked for next: of what is due, as much as fits a request. The rest is due still.
    fn next(&self, now: Instant) -> BTreeSet<LogId> {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        due.map(|(log, _)| *log).take(MOST_PROPOSALS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_at_once_fits_a_request() {
        let many = u32::try_from(MOST_PROPOSALS).unwrap() * 2 + 10;
        let mut it = InSync { due: (0..many).map(|log| (LogId(log), Instant(1))).collect(), lag_at: None };
        let mut asked = BTreeSet::new();
        for expected in [MOST_PROPOSALS, MOST_PROPOSALS, 10, 0] {
            let next = it.next(Instant(1));
            assert_eq!(next.len(), expected);
            it.due.extend(next.iter().map(|log| (*log, Instant(2))));
            asked.extend(next);
        }
        assert_eq!(asked.len(), it.due.len());
    }
}
