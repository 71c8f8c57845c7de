//! The leader: how far each voter's durable log goes, and what is committed by it.

use std::collections::BTreeMap;

use super::voter_set::{VoterKey, VoterSet};
use crate::types::{LeaderEpoch, Offset};

/// It was elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    epoch: LeaderEpoch,
    /// The offset of its first batch. Nothing is committed before that is.
    epoch_start: Offset,
    /// The durable end of each voter's log, as far as it is known.
    voter_ends: BTreeMap<VoterKey, Offset>,
}

impl Leader {
    /// A leader of `epoch`, whose first batch lies at `epoch_start`.
    pub(super) const fn new(epoch: LeaderEpoch, epoch_start: Offset) -> Self {
        Self { epoch, epoch_start, voter_ends: BTreeMap::new() }
    }

    /// Its epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The offset of its first batch.
    #[must_use]
    pub const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The durable end of each voter's log that has said one.
    pub fn voter_ends(&self) -> impl Iterator<Item = (VoterKey, Offset)> {
        self.voter_ends.iter().map(|(voter, end)| (*voter, *end))
    }

    /// Notes that a voter's log is durable up to `end`.
    pub(super) fn note_end(&mut self, voter: VoterKey, end: Offset) {
        let known = self.voter_ends.entry(voter).or_insert(end);
        *known = end.max(*known);
    }

    /// What is durable on a majority of `voters`, if that has a batch of this epoch (Raft, figure 8).
    pub(super) fn committed(&self, voters: &VoterSet) -> Option<Offset> {
        let end_of = |(voter, _)| self.voter_ends.get(&voter).copied().unwrap_or(Offset::ZERO);
        let mut ends: Vec<Offset> = voters.iter().map(end_of).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let committed = ends[voters.majority() - 1];
        (committed > self.epoch_start).then_some(committed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::voter_set::Voter;
    use super::*;
    use crate::types::BrokerId;
    use ottla_wire::Uuid;
    use proptest::prelude::*;

    fn key(id: usize) -> VoterKey {
        VoterKey { id: BrokerId(i32::try_from(id).unwrap()), directory_id: Uuid(7) }
    }

    proptest! {
        /// Committed is the greatest offset that more than half of the voters have, in whatever order they said so.
        #[test]
        fn a_majority_has_what_is_committed(
            ends in prop::collection::vec(0i64..20, 1..8),
            start in 0i64..10,
            strangers in prop::collection::vec(0i64..40, 0..4),
        ) {
            let voters = VoterSet::new((0..ends.len()).map(|id| (key(id), Voter::default())).collect()).unwrap();
            let mut leader = Leader::new(LeaderEpoch(1), Offset(start));
            for (id, end) in strangers.iter().enumerate() {
                leader.note_end(VoterKey { directory_id: Uuid(8), ..key(id) }, Offset(*end));
            }
            for (id, end) in ends.iter().enumerate() {
                leader.note_end(key(id), Offset(*end));
                leader.note_end(key(id), Offset(*end - 1));
            }
            let has = |offset: i64| ends.iter().filter(|end| **end >= offset).count() * 2 > ends.len();
            let expected = (start + 1..40).rev().find(|offset| has(*offset)).map(Offset);
            prop_assert_eq!(leader.committed(&voters), expected);
        }
    }
}
