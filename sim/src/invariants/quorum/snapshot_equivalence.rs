//! M11 SnapshotEquivalence: a snapshot says what the log says up to its end, no more and no less, with the voters and
//! the producer ids; it ends where a committed batch ends, and has that batch's epoch. Source: KIP-630; KAFKA-14618,
//! 13357; NATS #6888, #7556.
//!
//! Judged when a node gives one its name, whether it wrote it or had it from its leader.

use std::collections::BTreeMap;

use ottla_core::controller::{MetadataImage, Snapshot};

use super::super::Verdict;
use super::{BatchRef, Committed};

pub(super) const CODE: &str = "M11";

/// So many images are kept to compare with: a snapshot is of one that its node had a moment ago, or its leader a while
/// ago.
const KEPT: usize = 512;

/// Remembers what the log says at its committed ends, and the voters that each batch names.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotEquivalence {
    images: BTreeMap<i64, MetadataImage>,
    named: BTreeMap<(i64, i32), Vec<i32>>,
}

impl SnapshotEquivalence {
    /// A node has this for the committed metadata.
    pub(super) fn note_image(&mut self, image: &MetadataImage) {
        let end = image.end().0;
        self.images.entry(end).or_insert_with(|| image.clone());
        if self.images.len() > KEPT {
            self.images.pop_first();
        }
    }

    /// A batch names the voters.
    pub(super) fn note_voters(&mut self, batch: &BatchRef, voters: Option<&[i32]>) {
        if let Some(voters) = voters {
            self.named.insert((batch.base, batch.epoch), voters.to_vec());
        }
    }

    /// A snapshot gets its name; `None`: it is not whole.
    pub(super) fn check(&self, at: usize, snapshot: Option<&Snapshot>, committed: &Committed) -> Verdict {
        let Some(snapshot) = snapshot else { return Err(format!("n{at} has a snapshot that is not whole")) };
        let (id, end) = (snapshot.id, snapshot.id.end.0);
        let last = committed.holding(end - 1);
        if let Some(last) = last.filter(|last| (last.last + 1, last.epoch) != (end, id.epoch.0)) {
            let (last, epoch) = (last.last, last.epoch);
            return Err(format!(
                "n{at} has a snapshot up to {id}; the batch there goes up to {last}, of epoch {epoch}"
            ));
        }
        if self.images.get(&end).is_some_and(|known| *known != snapshot.image) {
            return Err(format!("n{at} has a snapshot up to {id} that does not say what the log says"));
        }
        let below = committed.batches.iter().rev().filter(|batch| batch.base < end);
        let named = below.filter_map(|batch| self.named.get(&(batch.base, batch.epoch))).next();
        let voters = snapshot.voters.iter().flat_map(|voters| voters.iter()).map(|(key, _)| key.id.0);
        let voters: Vec<i32> = voters.collect();
        match named.filter(|_| last.is_some()) {
            Some(named) if *named != voters => {
                Err(format!("n{at} has a snapshot up to {id} with voters {voters:?}; the log names {named:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, committed};
    use super::*;
    use ottla_core::controller::Change;
    use ottla_core::raft::SnapshotId;
    use ottla_core::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

    fn image(end: i64, next: i64) -> MetadataImage {
        let mut image = MetadataImage::default();
        image.replay(Offset(end), &Change::ProducerIds { broker: BrokerId(1), epoch: BrokerEpoch(1), next });
        image
    }

    fn verdict(end: i64, epoch: i32, next: i64) -> Verdict {
        let mut checker = SnapshotEquivalence::default();
        checker.note_image(&image(2, 1000));
        let id = SnapshotId { end: Offset(end), epoch: LeaderEpoch(epoch) };
        let snapshot = Snapshot { id, last_timestamp: 0, voters: None, image: image(end, next) };
        checker.check(0, Some(&snapshot), &committed(&[(1, 1), (2, 2), (2, 3)]))
    }

    #[test]
    fn it_says_what_the_log_says_up_to_its_end() {
        assert_eq!(verdict(2, 2, 1000), Ok(()));
        assert!(verdict(2, 2, 0).is_err());
        assert!(verdict(2, 1, 1000).is_err());
        assert!(SnapshotEquivalence::default().check(0, None, &committed(&[(1, 1)])).is_err());
    }

    #[test]
    fn it_names_the_voters() {
        let mut checker = SnapshotEquivalence::default();
        checker.note_voters(&batch(0, 1, 1), Some(&[0, 1]));
        let id = SnapshotId { end: Offset(1), epoch: LeaderEpoch(1) };
        let snapshot = Snapshot { id, last_timestamp: 0, voters: None, image: image(1, 0) };
        assert!(checker.check(0, Some(&snapshot), &committed(&[(1, 1)])).is_err());
    }
}
