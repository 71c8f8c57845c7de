//! M6 DurableMajority: what a leader counts as committed is on the disks of a majority of the voters, and survives a
//! power loss there. Source: KIP-595; KAFKA-10533, 17332 (followers that fetched before they flushed).

use std::collections::BTreeMap;

use ottla_core::controller::METADATA_TOPIC;
use ottla_core::types::TopicPartition;

use super::{Seen, Verdict, is_same, metadata};
use crate::logs::{FollowedLog, Logs};

pub(super) const CODE: &str = "M6";

/// Remembers up to where each leader was judged: what is on a majority's disks may leave one of them later.
#[derive(Clone, Debug, Default)]
pub(super) struct DurableMajority {
    judged: BTreeMap<usize, (i32, i64)>,
}

impl DurableMajority {
    pub(super) fn check(&mut self, at: usize, seen: &Seen<'_>, log: &FollowedLog) -> Verdict {
        let (Some(start), Some(high_watermark)) = (seen.part.leads, seen.part.high_watermark) else { return Ok(()) };
        // What it knew as a follower another leader has counted.
        if high_watermark <= start {
            return Ok(());
        }
        let now = (seen.part.epoch, high_watermark);
        if self.judged.insert(at, now).is_some_and(|judged| judged >= now) {
            return Ok(());
        }
        let Some(last) = log.find(high_watermark - 1) else { return Ok(()) };
        // What a node has deleted is in a snapshot of its, which was durable before.
        let is_there = |logs: &Logs| {
            let theirs = metadata(logs);
            let synced = theirs.filter(|theirs| theirs.synced >= high_watermark);
            synced.and_then(|theirs| theirs.find(last.base)).is_some_and(|theirs| is_same(theirs, last))
                || theirs.is_some_and(|theirs| theirs.deletes(last.last))
        };
        // What a disk had that is gone nobody can tell: its node may have said so before. What came later it never had.
        let may_have_had = |logs: &Logs| logs.had(&TopicPartition::new(METADATA_TOPIC, 0)) > last.last;
        let has_it = |voter: &&i32| match usize::try_from(**voter) {
            Ok(at) => seen.logs.get(at).is_some_and(is_there),
            Err(_) => usize::try_from(!**voter).is_ok_and(|at| seen.logs.get(at).is_some_and(may_have_had)),
        };
        let durable = seen.voters.iter().filter(has_it).count();
        if durable * 2 > seen.voters.len() {
            return Ok(());
        }
        let of = seen.voters.len();
        Err(format!("n{at} counts {high_watermark} as committed, which is durable on {durable} of {of} voters"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{leads, logs};
    use super::*;
    use crate::logs::Logs;

    fn verdict(logs: &[Logs], high_watermark: i64) -> Verdict {
        let seen =
            Seen { part: leads(2, 0, Some(high_watermark)), start: 0, end: (2, Some(2)), voters: &[0, 1, 2], logs };
        DurableMajority::default().check(0, &seen, metadata(&logs[0]).expect("it is there"))
    }

    #[test]
    fn two_of_three_have_it_on_their_disks() {
        let mut logs = logs(&[&[(1, 1), (2, 2)], &[(1, 1), (2, 2)], &[(1, 1)]]);
        assert_eq!(verdict(&logs, 2), Ok(()));
        logs[1].entry(&ottla_core::types::TopicPartition::new(super::super::METADATA_TOPIC, 0)).synced = 1;
        assert_eq!(verdict(&logs, 1), Ok(()));
        assert!(verdict(&logs, 2).is_err());
        // One of them may have said that it had it before its disk was gone, and nothing of what came later.
        let verdict = |logs: &[Logs]| {
            let seen = Seen { part: leads(2, 0, Some(2)), start: 0, end: (2, Some(2)), voters: &[0, !1, 2], logs };
            DurableMajority::default().check(0, &seen, metadata(&logs[0]).expect("it is there"))
        };
        assert!(verdict(&logs).is_err());
        logs[1].on_wipe();
        assert_eq!(verdict(&logs), Ok(()));
    }

    #[test]
    fn another_record_at_the_same_offset_is_not_it() {
        let logs = logs(&[&[(1, 1), (2, 2)], &[(1, 1), (1, 7)], &[(1, 1)]]);
        assert!(verdict(&logs, 2).is_err());
    }
}
