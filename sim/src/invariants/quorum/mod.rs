//! The rules of the metadata quorum, M1 to M12, one a file. They see every node: its part in the quorum after
//! each step that changes it, what it appends to its metadata log and cuts from it, and whom it votes for.
//!
//! [`Committed`] is the truth that no node knows: all that any leader ever counted as committed. M13 waits for brokers
//! that read from followers; M14 is judged by what happens when all is healed.

mod config_safety;
mod controller_fencing;
mod durable_majority;
mod election_safety;
mod epoch_monotone;
mod high_watermark;
mod leader_completeness;
mod log_matching;
mod no_truncation;
mod snapshot_equivalence;
mod state_machine_safety;
mod vote_once;

use ottla_core::controller::{METADATA_TOPIC, MetadataImage, Snapshot};
use ottla_core::types::TopicPartition;

use super::{Fact, Verdict, Violation, of};
use crate::logs::{BatchRef, FollowedLog, Logs};

/// Something about the quorum.
#[derive(Clone, Copy, Debug)]
pub enum QuorumFact<'a> {
    /// A node's part in the quorum has changed.
    Seen(Seen<'a>),
    /// A node's vote in an epoch counts for somebody; what its file may say of `(epoch, vote)` after a power loss:
    /// `None` where it may say nothing that can be read.
    Voted { epoch: i32, candidate: i32, saved: &'a [Option<(i32, Option<i32>)>] },
    /// A node appends to its metadata log.
    Appended { batch: &'a BatchRef, part: Part, voters: Option<&'a [i32]>, logs: &'a [Logs] },
    /// A node cuts these from its metadata log, and not because it found them torn or not durable at its start.
    Cut { lost: &'a [BatchRef] },
    /// A node's disk was replaced: it is another from now on.
    Wiped,
    /// What a node takes for the committed metadata.
    Image { image: &'a MetadataImage },
    /// A node gives a snapshot its name; `None`: one that is not whole.
    Snapshot { snapshot: Option<&'a Snapshot> },
}

/// A node's own part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How often it was started.
    pub boots: u64,
    /// The epoch that it is in.
    pub epoch: i32,
    /// Where its own epoch begins, if it leads.
    pub leads: Option<i64>,
    /// Below it, it counts its log as committed.
    pub high_watermark: Option<i64>,
}

/// A node, and what can be seen of the others' logs.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its own part.
    pub part: Part,
    /// Where its log begins for it: what lies below is in a snapshot.
    pub start: i64,
    /// Where its log ends for it, and in which epoch. Behind a truncation the files say something else for a while.
    pub end: (i64, Option<i32>),
    /// The voters that it knows, by their numbers; `!number` where the disk is gone on which one voted.
    pub voters: &'a [i32],
    /// Every node's logs.
    pub logs: &'a [Logs],
}

/// All rules of the quorum.
#[derive(Clone, Debug, Default)]
pub(super) struct QuorumRules {
    committed: Committed,
    leader_completeness: leader_completeness::LeaderCompleteness,
    election_safety: election_safety::ElectionSafety,
    vote_once: vote_once::VoteOnce,
    epoch_monotone: epoch_monotone::EpochMonotone,
    high_watermark: high_watermark::HighWatermark,
    durable_majority: durable_majority::DurableMajority,
    state_machine_safety: state_machine_safety::StateMachineSafety,
    config_safety: config_safety::ConfigSafety,
    snapshot_equivalence: snapshot_equivalence::SnapshotEquivalence,
}

/// Every code, with what it says.
pub const CODES: [(&str, &str); 12] = [
    (election_safety::CODE, "an epoch has one leader"),
    (vote_once::CODE, "a node votes once in an epoch, and a vote that counts is durable"),
    (epoch_monotone::CODE, "a node's epoch never falls, whatever crashes"),
    (log_matching::CODE, "two logs that have the same offset in the same epoch have the same there and before"),
    (leader_completeness::CODE, "who leads has all that was committed before"),
    (high_watermark::CODE, "what counts as committed only grows"),
    (no_truncation::CODE, "what is committed is not cut"),
    (state_machine_safety::CODE, "what is applied at an offset is the same everywhere"),
    (config_safety::CODE, "voters change one at a time, each change after the last is committed"),
    (snapshot_equivalence::CODE, "a snapshot says what the log says up to its end"),
    ("M13", "what was acknowledged of the metadata is there when all is healed"),
    (controller_fencing::CODE, "in each epoch only its leader writes"),
];

/// All that was ever committed in the metadata log, in order and from its beginning. What no leader was seen to count
/// before it went into snapshots is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    batches: Vec<BatchRef>,
}

impl Committed {
    /// The offset after the last.
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.last + 1)
    }

    /// The batch that begins at an offset.
    fn at(&self, base: i64) -> Option<&BatchRef> {
        self.batches.binary_search_by_key(&base, |batch| batch.base).ok().map(|place| &self.batches[place])
    }

    /// The batch that holds an offset.
    fn holding(&self, offset: i64) -> Option<&BatchRef> {
        let place = self.batches.partition_point(|batch| batch.last < offset);
        self.batches.get(place).filter(|batch| batch.base <= offset)
    }

    /// A leader counts its log as committed up to an offset. What waits behind a truncation is in no file yet.
    fn learn(&mut self, log: &FollowedLog, high_watermark: i64) {
        let known = self.end();
        let from = log.batches.partition_point(|batch| batch.base < known);
        let news = log.batches[from..].iter().take_while(|batch| batch.last < high_watermark);
        self.batches.extend(news.copied());
    }
}

impl QuorumRules {
    /// Shows a fact about the node at place `at` to every rule.
    pub(super) fn check(&mut self, at: usize, fact: &Fact<'_>) -> Result<(), Violation> {
        if let Fact::Booted = fact {
            self.high_watermark.forget(at);
        }
        if let Fact::Led { log, epoch, saved } = fact {
            return of(vote_once::CODE, vote_once::check_led(log, *epoch, saved));
        }
        let Fact::Quorum(fact) = fact else { return Ok(()) };
        match fact {
            QuorumFact::Seen(seen) => self.on_seen(at, seen),
            QuorumFact::Voted { epoch, candidate, saved } => {
                self.epoch_monotone.acts(at, *epoch);
                of(vote_once::CODE, self.vote_once.check(at, (*epoch, *candidate), saved))
            }
            QuorumFact::Appended { batch, part, voters, logs } => {
                let leaders = &self.election_safety;
                of(election_safety::CODE, leaders.judge(at, part))?;
                of(log_matching::CODE, log_matching::check(at, batch, logs))?;
                of(controller_fencing::CODE, controller_fencing::check(at, batch, part, logs, leaders))?;
                self.snapshot_equivalence.note_voters(batch, *voters);
                of(config_safety::CODE, self.config_safety.check(&logs[at], batch, part, *voters))
            }
            QuorumFact::Cut { lost } => of(no_truncation::CODE, no_truncation::check(lost, &self.committed)),
            QuorumFact::Wiped => {
                self.vote_once.forget(at);
                self.epoch_monotone.forget(at);
                Ok(())
            }
            QuorumFact::Snapshot { snapshot } => {
                let rules = &self.snapshot_equivalence;
                of(snapshot_equivalence::CODE, rules.check(at, *snapshot, &self.committed))
            }
            QuorumFact::Image { image } => {
                self.snapshot_equivalence.note_image(image);
                of(state_machine_safety::CODE, self.state_machine_safety.check_image(at, image))
            }
        }
    }

    fn on_seen(&mut self, at: usize, seen: &Seen<'_>) -> Result<(), Violation> {
        let part = &seen.part;
        of(epoch_monotone::CODE, self.epoch_monotone.check(at, part))?;
        let elected = self.election_safety.check(at, part).map_err(|what| of_code(election_safety::CODE, what))?;
        if elected {
            self.leader_completeness.on_elected(at, part, &self.committed);
        }
        let rotten = seen.logs.iter().any(|logs| logs.rotten);
        let in_files = |log: &&FollowedLog| (log.end(), log.batches.last().map(|last| last.epoch)) == seen.end;
        let log = metadata(&seen.logs[at]).filter(in_files).filter(|_| !rotten);
        of(high_watermark::CODE, self.high_watermark.check(at, part, seen.end.0))?;
        let Some(log) = log else { return Ok(()) };
        let leaders = &mut self.leader_completeness;
        of(leader_completeness::CODE, leaders.check(at, part, seen.start, log, &self.committed))?;
        let Some(high_watermark) = part.high_watermark else { return Ok(()) };
        let committed = &self.committed;
        of(state_machine_safety::CODE, state_machine_safety::check_log(at, log, high_watermark, committed))?;
        of(durable_majority::CODE, self.durable_majority.check(at, seen, log))?;
        // One that resigns may have counted more in the same step.
        if self.election_safety.leader(part.epoch) == Some((at, part.boots)) {
            self.committed.learn(log, high_watermark);
        }
        Ok(())
    }
}

fn of_code(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

/// A node's metadata log.
fn metadata(logs: &Logs) -> Option<&FollowedLog> {
    logs.get(&TopicPartition::new(METADATA_TOPIC, 0))
}

/// Whether two batches are the same: no CRC covers offset and epoch, so all three are compared.
fn is_same(one: &BatchRef, other: &BatchRef) -> bool {
    (one.base, one.last, one.epoch, one.crc) == (other.base, other.last, other.epoch, other.crc)
}

#[cfg(test)]
mod tests {
    use super::super::test_ref;
    use super::*;

    /// The logs of nodes whose metadata logs hold one-record batches of these epochs and contents.
    pub(super) fn logs(nodes: &[&[(i32, u32)]]) -> Vec<Logs> {
        nodes.iter().map(|batches| of_batches(batches)).collect()
    }

    fn of_batches(batches: &[(i32, u32)]) -> Logs {
        let mut logs = Logs::default();
        let log = logs.entry(&TopicPartition::new(METADATA_TOPIC, 0));
        (0..).zip(batches).for_each(|(base, (epoch, crc))| log.append(batch(base, *epoch, *crc)));
        log.synced = log.end();
        logs
    }

    pub(super) fn batch(base: i64, epoch: i32, crc: u32) -> BatchRef {
        BatchRef { epoch, ..test_ref(base, base, crc) }
    }

    pub(super) fn committed(batches: &[(i32, u32)]) -> Committed {
        let mut committed = Committed::default();
        committed.learn(metadata(&of_batches(batches)).expect("it was just made"), i64::MAX);
        committed
    }

    /// A leader's part, whose epoch began at `start`.
    pub(super) fn leads(epoch: i32, start: i64, high_watermark: Option<i64>) -> Part {
        Part { boots: 1, epoch, leads: Some(start), high_watermark }
    }

    #[test]
    fn what_is_committed_is_learned_once_and_in_order() {
        let logs = logs(&[&[(1, 7), (1, 8), (2, 9)]]);
        let log = metadata(&logs[0]).expect("it is there");
        let mut committed = Committed::default();
        committed.learn(log, 2);
        assert_eq!(committed.end(), 2);
        committed.learn(log, 3);
        assert_eq!((committed.end(), committed.batches.len()), (3, 3));
        assert_eq!(committed.at(2).map(|batch| batch.crc), Some(9));
    }
}
