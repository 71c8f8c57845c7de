//! Facts for the checkers' own tests, and what all of them have in common.

use ottla_core::types::TopicPartition;

use super::*;
use crate::history::Outcome;

pub(super) fn log() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn refs(batches: &[(i64, u32)]) -> Vec<BatchRef> {
    batches.iter().map(|(offset, crc)| test_ref(*offset, *offset, *crc)).collect()
}

pub(super) fn followed(batches: &[(i64, u32)], promised: i64) -> FollowedLog {
    let mut followed = FollowedLog::default();
    followed.promised = promised;
    refs(batches).into_iter().for_each(|batch| followed.append(batch));
    followed
}

pub(super) fn recovered<T>(found: &[(i64, u32)], check: impl FnOnce(Recovered<'_>) -> T, followed: &FollowedLog) -> T {
    let batches = refs(found);
    check(Recovered { batches: &batches, whole: true, followed, online: true, next: None, start: None })
}

pub(super) fn history(outcomes: &[Outcome]) -> History {
    let mut history = History::default();
    history.partition(&log());
    for outcome in outcomes {
        history.invoke(test_write(*outcome));
    }
    history
}

pub(super) fn acked<T>(value: ValueId, offset: i64, check: impl FnOnce(&Fact<'_>) -> T) -> T {
    let write = test_write(Outcome::Acked { offset });
    check(&Fact::Acked { log: &log(), value, write: &write, offset, followed: None })
}

pub(super) fn acked_in<T>(
    followed: &FollowedLog,
    value: ValueId,
    offset: i64,
    check: impl FnOnce(&Fact<'_>) -> T,
) -> T {
    let write = test_write(Outcome::Acked { offset });
    check(&Fact::Acked { log: &log(), value, write: &write, offset, followed: Some(followed) })
}

pub(super) fn polled<T>(reader: u16, offset: i64, value: ValueId, check: impl FnOnce(&Fact<'_>) -> T) -> T {
    let write = test_write(Outcome::Pending);
    check(&Fact::Polled { reader, partition: 0, offset, value, write: Some(&write) })
}

/// A value is read whose write had this outcome by then.
pub(super) fn polled_of<T>(outcome: Outcome, check: impl FnOnce(&Fact<'_>) -> T) -> T {
    let write = test_write(outcome);
    check(&Fact::Polled { reader: 0, partition: 0, offset: 1, value: 1, write: Some(&write) })
}

/// A batch of one record at `offset` by `producer`, epoch 0.
pub(super) fn appended<T>(offset: i64, producer: i64, sequence: i32, check: impl FnOnce(&Fact<'_>) -> T) -> T {
    let mut batch = test_ref(offset, offset, 1);
    batch.producer = test_producer(producer, sequence);
    check(&Fact::Appended { log: &log(), batch: &batch, end: offset })
}

#[test]
fn every_checker_has_a_code_of_its_own() {
    let mut codes: Vec<&str> =
        [&CODES[..], &GROUP_CODES, &QUORUM_CODES, &REPLICA_CODES].concat().iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), CODES.len() + GROUP_CODES.len() + QUORUM_CODES.len() + REPLICA_CODES.len());
}

#[test]
fn a_fingerprint_has_no_numbers() {
    let one = Violation { invariant: "S1", what: "t-0 ends at 15 after a start, and 1700 was promised".into() };
    let two = Violation { invariant: "S1", what: "t-1 ends at 9 after a start, and 20 was promised".into() };
    assert_eq!(one.fingerprint(), two.fingerprint());
}

#[test]
fn a_run_ends_with_its_first_violation() {
    let mut invariants = Invariants::default();
    assert_eq!(polled(0, 5, 1, |fact| invariants.check(0, fact)), Ok(()));
    let violation = polled(0, 5, 2, |fact| invariants.check(0, fact)).expect_err("another value");
    assert_eq!(violation.invariant, "inconsistent-offsets");
}
