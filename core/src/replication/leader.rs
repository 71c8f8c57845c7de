//! A partition's leader: who follows it and how far, which of them are in sync, and how far the high watermark goes.
//!
//! | a follower | means |
//! |---|---|
//! | fetches at an offset | its log ends there, in this leader's epoch (after the check for divergence) |
//! | says an offset is flushed | so far it counts under `flush=quorum`; under `flush=async` the fetched offset does |
//! | counts up to the watermark, and up to where the epoch began | it may come into the ISR (KIP-497) |
//! | has not had all of the log for `replica.lag.time.max.ms` | it leaves the ISR |
//!
//! A change of the ISR is the controller's to make. Until it answers, the watermark counts over the *maximal* ISR: what
//! is committed plus what is proposed, so that it is right either way. An offset counts for one registration of a
//! follower and one leader epoch: what comes from an earlier process says nothing about what is there now (KIP-903).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::planted::{Plant, Planted};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

/// What the metadata says of a partition that this broker leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leading {
    /// The epoch it leads in, given after this broker's present registration.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change of the partition.
    pub partition_epoch: i32,
    /// The in-sync replicas, this broker among them.
    pub isr: Vec<BrokerId>,
    /// Every replica.
    pub replicas: Vec<BrokerId>,
}

/// What only a leader has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    node: BrokerId,
    state: Leading,
    /// Where the log ended when it began to lead.
    epoch_start: Offset,
    /// Up to where this broker's own log counts.
    own: Offset,
    followers: BTreeMap<BrokerId, FollowerProgress>,
    proposal: Option<Proposal>,
    planted: Planted,
}

/// A change of the ISR that the controller is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who is to be in sync, each with the registration that it was judged by: another process of it may have less.
    pub isr: Vec<(BrokerId, Option<BrokerEpoch>)>,
    /// The change that it builds on.
    pub partition_epoch: i32,
    /// Whom it named before, when the controller found somebody ineligible.
    refused: Vec<BrokerId>,
}

/// How far a follower has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerProgress {
    /// The registration that it fetches with.
    pub broker_epoch: BrokerEpoch,
    /// Where its log ends; `None` until it has fetched in this epoch.
    pub log_end: Option<Offset>,
    /// Up to where it counts.
    pub counted: Offset,
    /// Where its log starts; `None` until it has said so.
    pub log_start: Option<Offset>,
    /// The high watermark that it was told last, in an answer that may have been lost.
    pub told: Offset,
    /// When it last had all of the log.
    caught_up: Instant,
    /// Its last fetch, and where this log ended then.
    last: (Instant, Offset),
}

/// A follower's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who fetches.
    pub follower: BrokerId,
    /// The registration that it fetches with.
    pub broker_epoch: BrokerEpoch,
    /// Where its log ends.
    pub log_end: Offset,
    /// Up to where it counts.
    pub counted: Offset,
    /// Where its log starts, if it says so.
    pub log_start: Option<Offset>,
}

impl Proposal {
    /// Everyone who may be in sync by it.
    fn named(&self) -> impl Iterator<Item = BrokerId> {
        self.isr.iter().map(|(id, _)| *id).chain(self.refused.iter().copied())
    }
}

impl FollowerProgress {
    /// Whether it has nothing, and begins later than this log does: it may lack what is between (see the follower's
    /// side), and begins anew.
    fn hides_records(&self, log_start: Offset) -> bool {
        self.log_start.is_some_and(|its| its > log_start) && self.log_start == self.log_end
    }
}

impl Leader {
    /// A leader whose log ends at `log_end`, from now on. Who is in sync has `replica.lag.time.max.ms` to show it.
    #[must_use]
    pub fn new(node: BrokerId, state: Leading, log_end: Offset, now: Instant, planted: Planted) -> Self {
        let mut it = Self {
            node,
            state,
            epoch_start: log_end,
            own: Offset::ZERO,
            followers: BTreeMap::new(),
            proposal: None,
            planted,
        };
        it.follow_metadata(now);
        it
    }

    /// What the metadata says.
    #[must_use]
    pub const fn state(&self) -> &Leading {
        &self.state
    }

    /// Its log was cut, as a new leader's may be that was on its way to its last leader's: it begins there.
    pub fn on_cut(&mut self, log_end: Offset) {
        self.own = self.own.min(log_end);
        self.epoch_start = self.epoch_start.min(log_end);
    }

    /// The epoch it leads in.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.state.leader_epoch
    }

    /// Where the log ended when it began to lead.
    #[must_use]
    pub const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// How far each follower has come.
    #[must_use]
    pub const fn followers(&self) -> &BTreeMap<BrokerId, FollowerProgress> {
        &self.followers
    }

    /// The change that the controller is asked for.
    #[must_use]
    pub const fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// The metadata says something else of the partition, in the same leader epoch.
    pub fn on_state(&mut self, now: Instant, state: Leading) {
        self.state = state;
        self.follow_metadata(now);
    }

    fn follow_metadata(&mut self, now: Instant) {
        let decided = |proposal: &Proposal| self.state.partition_epoch > proposal.partition_epoch;
        if self.proposal.as_ref().is_some_and(decided) {
            self.proposal = None;
        }
        let (node, replicas) = (self.node, &self.state.replicas);
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas.iter().filter(|id| **id != node) {
            self.followers.entry(*id).or_insert(FollowerProgress {
                broker_epoch: BrokerEpoch(-1),
                log_end: None,
                counted: Offset::ZERO,
                log_start: None,
                told: Offset::ZERO,
                caught_up: now,
                last: (now, Offset::ZERO),
            });
        }
    }

    /// This broker's own log counts up to there.
    pub fn on_own(&mut self, counted: Offset) {
        self.own = counted;
    }

    /// A follower fetches from a log that ends at `log_end` here. Whether it is one of this partition's.
    pub fn on_fetch(&mut self, now: Instant, fetch: FollowerFetch, log_end: Offset) -> bool {
        let Some(progress) = self.followers.get_mut(&fetch.follower) else { return false };
        if fetch.broker_epoch < progress.broker_epoch || fetch.log_end > log_end {
            return true; // An earlier process of it; or what it says cannot be.
        }
        // It has all that was here: now, or when it last fetched (KIP-16).
        if fetch.log_end >= log_end {
            progress.caught_up = now;
        } else if fetch.log_end >= progress.last.1 {
            progress.caught_up = progress.caught_up.max(progress.last.0);
        }
        progress.broker_epoch = fetch.broker_epoch;
        progress.log_end = Some(fetch.log_end);
        progress.counted = fetch.counted.min(fetch.log_end);
        progress.log_start = fetch.log_start;
        progress.last = (now, log_end);
        true
    }

    /// A follower is told a high watermark.
    pub fn on_told(&mut self, follower: BrokerId, high_watermark: Offset) {
        if let Some(progress) = self.followers.get_mut(&follower) {
            progress.told = high_watermark;
        }
    }

    /// Whether a follower was told less than this high watermark, by all that is known.
    #[must_use]
    pub fn owes(&self, follower: BrokerId, high_watermark: Offset) -> bool {
        self.followers.get(&follower).is_some_and(|progress| progress.told < high_watermark)
    }

    /// Of the followers that are in sync, `may` serve and have what is at `offset`, or are to get it next: the one with
    /// the most of the log. Of those the one that had all of it last, and then the greatest id, as in Kafka (KIP-392).
    /// Who is not in sync may fall behind for ever.
    #[must_use]
    pub fn most_caught_up(&self, offset: Offset, may: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        let serves = |id: BrokerId, it: &FollowerProgress| {
            let has = it.log_start.is_some_and(|start| start <= offset) && it.log_end.is_some_and(|end| offset <= end);
            has && self.state.isr.contains(&id) && may(id)
        };
        let serving = self.followers.iter().filter(|(id, it)| serves(**id, it));
        serving.max_by_key(|(id, it)| (it.log_end, it.caught_up, **id)).map(|(id, _)| *id)
    }

    /// The least offset that counts in the maximal ISR. `None`: somebody has not said yet how far it is, or fewer than
    /// `needed` are in sync, and the watermark stands still (KIP-966).
    #[must_use]
    pub fn high_watermark(&self, needed: usize) -> Option<Offset> {
        if self.state.isr.len() < needed {
            return None;
        }
        let mut least = self.own;
        for id in self.maximal_isr().filter(|id| *id != self.node) {
            let progress = self.followers.get(&id)?;
            progress.log_end?;
            least = least.min(progress.counted);
        }
        Some(least)
    }

    /// Everyone who is in sync, or may be by the controller's word.
    fn maximal_isr(&self) -> impl Iterator<Item = BrokerId> {
        let proposal = self.proposal.as_ref().filter(|_| !self.planted.has(Plant::Isr24));
        let committed = if proposal.is_some() && self.planted.has(Plant::Isr04) { &[][..] } else { &self.state.isr };
        committed.iter().copied().chain(proposal.into_iter().flat_map(Proposal::named))
    }

    /// Proposes the ISR that should be, if that is another: who has caught up with `high_watermark` comes in if it may
    /// be, who has not had all of the log for `max_lag` goes. Whether there is something new to propose.
    pub fn propose(
        &mut self,
        now: Instant,
        (high_watermark, log_start, log_end): (Offset, Offset, Offset),
        max_lag: Duration,
        may_join: impl Fn(BrokerId, BrokerEpoch) -> bool,
    ) -> bool {
        if self.proposal.is_some() {
            return false; // One at a time.
        }
        let node = self.node;
        let stays = |id: BrokerId| {
            let progress = self.followers.get(&id);
            let lags = |it: &FollowerProgress| it.log_end != Some(log_end) && now.since(it.caught_up) > max_lag;
            id == node || progress.is_some_and(|it| !lags(it))
        };
        let joins = |id: BrokerId| {
            let Some(it) = self.followers.get(&id) else { return false };
            let start = if self.planted.has(Plant::Isr03) { Offset::ZERO } else { self.epoch_start };
            // An earlier leader may have committed all that was there when the epoch began, beyond the watermark here.
            let has_all = it.log_end.is_some() && it.counted >= high_watermark.max(start);
            has_all && !it.hides_records(log_start) && may_join(id, it.broker_epoch)
        };
        let in_sync = |id: BrokerId| if self.state.isr.contains(&id) { stays(id) } else { joins(id) };
        let isr: Vec<BrokerId> = self.state.replicas.iter().copied().filter(|id| in_sync(*id)).collect();
        let same = isr.len() == self.state.isr.len() && isr.iter().all(|id| self.state.isr.contains(id));
        if same || !isr.contains(&node) {
            return false;
        }
        let heard = |id: BrokerId| self.followers.get(&id).filter(|progress| progress.log_end.is_some());
        let isr = isr.into_iter().map(|id| (id, heard(id).map(|progress| progress.broker_epoch))).collect();
        self.proposal = Some(Proposal { isr, partition_epoch: self.state.partition_epoch, refused: Vec::new() });
        true
    }

    /// The controller finds somebody ineligible. What was asked before, and not answered, may still arrive and be made
    /// when nobody is any more. So the ISR that is is proposed instead: with that a new partition epoch begins, which
    /// refuses all that was asked before, and until it is known whoever was named counts.
    pub fn on_ineligible(&mut self) {
        let Some(proposal) = &mut self.proposal else { return };
        let present = self.state.isr.iter().map(|id| (*id, None)).collect();
        for (id, _) in std::mem::replace(&mut proposal.isr, present) {
            if !proposal.refused.contains(&id) {
                proposal.refused.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn leader(isr: &[i32]) -> Leader {
        let state = Leading {
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 7,
            isr: isr.iter().copied().map(BrokerId).collect(),
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        };
        Leader::new(BrokerId(1), state, Offset(100), at(0), Planted::default())
    }

    fn fetch(leader: &mut Leader, seconds: u64, follower: i32, log_end: i64, counted: i64) {
        let (follower, broker_epoch) = (BrokerId(follower), BrokerEpoch(5));
        let (log_end, counted, log_start) = (Offset(log_end), Offset(counted), Some(Offset(10)));
        let fetch = FollowerFetch { follower, broker_epoch, log_end, counted, log_start };
        assert!(leader.on_fetch(at(seconds), fetch, Offset(200)));
    }

    #[test]
    fn the_watermark_is_the_least_that_counts_in_the_maximal_isr() {
        let mut it = leader(&[1, 2]);
        it.on_own(Offset(200));
        assert_eq!(it.high_watermark(1), None, "who is in sync has not said how far it is");
        fetch(&mut it, 1, 2, 150, 120);
        assert_eq!(it.high_watermark(1), Some(Offset(120)));
        assert_eq!(it.high_watermark(3), None, "too few are in sync");
        fetch(&mut it, 1, 3, 200, 130);
        assert!(it.propose(at(1), (Offset(120), Offset(0), Offset(200)), MAX_LAG, |_, _| true));
        fetch(&mut it, 1, 2, 200, 200);
        assert_eq!(it.high_watermark(2), Some(Offset(130)), "who may come in counts already");
        it.on_ineligible();
        it.on_ineligible();
        assert_eq!(it.proposal().unwrap().isr, [(BrokerId(1), None), (BrokerId(2), None)], "the ISR that is");
        assert_eq!(it.high_watermark(2), Some(Offset(130)), "what was asked before may still be made");
        it.on_state(at(2), Leading { partition_epoch: 8, ..it.state().clone() });
        assert_eq!((it.high_watermark(2), it.proposal()), (Some(Offset(200)), None));
    }

    #[test]
    fn whose_log_is_cut_leads_from_there() {
        let mut it = leader(&[1, 2]);
        it.on_own(Offset(100));
        it.on_cut(Offset(80));
        fetch(&mut it, 1, 2, 90, 90);
        assert_eq!((it.epoch_start(), it.high_watermark(1)), (Offset(80), Some(Offset(80))));
        it.on_own(Offset(95));
        assert_eq!(it.high_watermark(1), Some(Offset(90)));
    }

    #[test]
    fn who_lags_leaves_when_the_controller_says_so() {
        let mut it = leader(&[1, 2]);
        it.on_own(Offset(200));
        fetch(&mut it, 1, 2, 150, 150);
        assert!(!it.propose(at(10), (Offset(100), Offset(0), Offset(200)), MAX_LAG, |_, _| true));
        assert!(it.propose(at(12), (Offset(100), Offset(0), Offset(200)), MAX_LAG, |_, _| true));
        assert_eq!(it.proposal().unwrap().isr, [(BrokerId(1), None)]);
        assert_eq!(it.high_watermark(1), Some(Offset(150)), "it may still be in sync");
        let state = Leading { isr: vec![BrokerId(1)], partition_epoch: 8, ..it.state().clone() };
        it.on_state(at(12), state);
        assert_eq!((it.high_watermark(1), it.proposal()), (Some(Offset(200)), None));
    }

    #[test]
    fn who_comes_in_has_all_of_the_epoch_and_all_that_is_committed() {
        for (log_end, counted, active, joins) in [
            (100, 100, true, true),
            (99, 99, true, false),
            (100, 89, true, false),
            (100, 95, true, false),
            (100, 100, false, false),
        ] {
            let mut it = leader(&[1]);
            fetch(&mut it, 1, 2, log_end, counted);
            let proposed = it.propose(at(1), (Offset(90), Offset(0), Offset(200)), MAX_LAG, |_, _| active);
            assert_eq!(proposed, joins, "{log_end} {counted} {active}");
        }
    }

    #[test]
    fn who_has_nothing_and_begins_later_comes_not_in() {
        // Followers of these logs begin at 10 ([`fetch`]).
        for (log_start, log_end, joins) in [(0, 10, false), (10, 10, true), (0, 11, true)] {
            let state = leader(&[1]).state().clone();
            let mut it = Leader::new(BrokerId(1), state, Offset(5), at(0), Planted::default());
            fetch(&mut it, 1, 2, log_end, log_end);
            let bounds = (Offset(8), Offset(log_start), Offset(200));
            assert_eq!(it.propose(at(1), bounds, MAX_LAG, |_, _| true), joins, "{log_start} {log_end}");
        }
    }

    #[test]
    fn who_is_proposed_is_the_process_that_was_judged() {
        let mut it = leader(&[1]);
        fetch(&mut it, 1, 2, 200, 200);
        assert!(it.propose(at(1), (Offset(90), Offset(0), Offset(200)), MAX_LAG, |_, _| true));
        let (follower, broker_epoch) = (BrokerId(2), BrokerEpoch(6));
        let (log_end, counted, log_start) = (Offset(0), Offset(0), None);
        let again = FollowerFetch { follower, broker_epoch, log_end, counted, log_start };
        assert!(it.on_fetch(at(2), again, Offset(200)), "it comes back with less");
        assert_eq!(it.proposal().unwrap().isr, [(BrokerId(1), None), (BrokerId(2), Some(BrokerEpoch(5)))]);
    }

    #[test]
    fn what_an_earlier_process_says_does_not_count() {
        let mut it = leader(&[1, 2]);
        it.on_own(Offset(200));
        fetch(&mut it, 1, 2, 150, 150);
        let late = FollowerFetch {
            follower: BrokerId(2),
            broker_epoch: BrokerEpoch(4),
            log_end: Offset(180),
            counted: Offset(180),
            log_start: None,
        };
        it.on_fetch(at(2), late, Offset(200));
        assert_eq!(it.high_watermark(1), Some(Offset(150)));
    }

    #[test]
    fn who_is_read_from_is_in_sync_and_has_the_most_of_the_log() {
        let mut it = leader(&[1, 2, 3]);
        fetch(&mut it, 1, 2, 150, 150);
        fetch(&mut it, 1, 3, 160, 120);
        for (offset, may, expected) in [
            (100, &[2, 3][..], Some(3)),
            (150, &[2], Some(2)),
            (151, &[2], None),
            (151, &[2, 3], Some(3)),
            (10, &[2], Some(2)),
            (9, &[2, 3], None),
            (100, &[], None),
        ] {
            let chosen = it.most_caught_up(Offset(offset), |id| may.contains(&id.0));
            assert_eq!(chosen, expected.map(BrokerId), "{offset} of {may:?}");
        }
        let state = Leading { isr: vec![BrokerId(1), BrokerId(2)], partition_epoch: 8, ..it.state().clone() };
        it.on_state(at(2), state);
        assert_eq!(it.most_caught_up(Offset(100), |_| true), Some(BrokerId(2)), "the other is not in sync");
        fetch(&mut it, 3, 3, 150, 150);
        let state =
            Leading { isr: vec![BrokerId(1), BrokerId(2), BrokerId(3)], partition_epoch: 9, ..it.state().clone() };
        it.on_state(at(3), state);
        assert_eq!(it.most_caught_up(Offset(100), |_| true), Some(BrokerId(3)), "the greater id of two alike");
    }

    #[test]
    fn a_follower_is_owed_a_watermark_until_it_is_told() {
        let mut it = leader(&[1, 2]);
        assert!(it.owes(BrokerId(2), Offset(5)));
        it.on_told(BrokerId(2), Offset(5));
        assert!(!it.owes(BrokerId(2), Offset(5)));
        assert!(it.owes(BrokerId(2), Offset(6)));
        assert!(!it.owes(BrokerId(4), Offset(6)), "it is none of the followers");
    }
}
