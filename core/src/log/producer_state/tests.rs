//! Idempotence as KIP-98 and KIP-360 have it; truncation against the states that were; each planted bug showing itself.

use super::*;
use proptest::prelude::*;

const ID: ProducerId = ProducerId(7);

fn state() -> ProducerState {
    ProducerState::new(MAX_PRODUCERS, Planted::default())
}

fn batch(id: i64, epoch: i16, first: i32, records: i32) -> ProducerBatch {
    ProducerBatch {
        producer: Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: first },
        last_offset_delta: records - 1,
        is_transactional: false,
        max_timestamp: 1000,
    }
}

fn transactional(id: i64, epoch: i16, first: i32, records: i32) -> ProducerBatch {
    ProducerBatch { is_transactional: true, ..batch(id, epoch, first, records) }
}

const fn marker(commit: bool, coordinator_epoch: i32) -> EndTxnMarker {
    EndTxnMarker { commit, coordinator_epoch }
}

/// Ten records a batch from sequence 0 and offset 100 on.
fn after(batches: i32) -> ProducerState {
    let mut state = state();
    for round in 0..batches {
        let next = batch(7, 0, round * 10, 10);
        assert_eq!(state.check(&next), Check::Accept);
        state.apply(&next, Offset(100 + i64::from(round) * 10));
    }
    state
}

fn duplicate(base: i64) -> Check {
    Check::Duplicate { base_offset: Offset(base), last_offset: Offset(base + 9), timestamp: 1000 }
}

#[test]
fn five_batches_are_remembered_with_their_offsets() {
    let state = after(7);
    for round in 2..7 {
        assert_eq!(state.check(&batch(7, 0, round * 10, 10)), duplicate(100 + i64::from(round) * 10));
    }
    // Older ones are known to be in the log, but not where.
    assert_eq!(state.check(&batch(7, 0, 10, 10)), Check::ForgottenDuplicate);
    assert_eq!(state.check(&batch(7, 0, 70, 10)), Check::Accept);
}

#[test]
fn the_last_below_an_offset_is_known_as_far_as_batches_are_remembered() {
    // Seven batches of two records; the last five are remembered.
    let state = after(7);
    let (_, entry) = state.iter().next().unwrap();
    let last = |offset| entry.last_below(Offset(offset)).map(|(_, sequence)| sequence);
    let remembered = entry.recent.as_slice();
    let (first, newest) = (remembered[0], *remembered.last().unwrap());
    assert_eq!(last(i64::MAX), Some(newest.last_sequence));
    assert_eq!(last(first.last_offset.0 + 1), Some(first.last_sequence));
    assert_eq!(last(first.last_offset.0), None);
}

#[test]
fn what_does_not_follow_is_out_of_order() {
    let state = after(7);
    assert_eq!(state.check(&batch(7, 0, 71, 10)), Check::OutOfOrderSequence);
    assert_eq!(state.check(&batch(7, 0, 65, 10)), Check::OutOfOrderSequence);
    assert_eq!(state.check(&batch(7, 0, 1_000_000, 1)), Check::OutOfOrderSequence);
    // Of what came before the first batch that is known nothing is claimed.
    let mut state = ProducerState::new(MAX_PRODUCERS, Planted::default());
    state.apply(&batch(7, 0, 50, 10), Offset(0));
    assert_eq!(state.check(&batch(7, 0, 40, 10)), Check::OutOfOrderSequence);
}

#[test]
fn any_first_sequence_is_taken_where_nothing_is_known() {
    assert_eq!(state().check(&batch(7, 3, 42, 1)), Check::Accept);
    assert_eq!(after(1).check(&batch(8, 3, 42, 1)), Check::Accept);
}

#[test]
fn epochs_fence() {
    let mut state = after(1);
    assert_eq!(state.check(&batch(7, 1, 10, 10)), Check::OutOfOrderSequence);
    assert_eq!(state.check(&batch(7, 1, 0, 10)), Check::Accept);
    state.apply(&batch(7, 1, 0, 10), Offset(110));
    // Invariant I5; even a batch that the lower epoch did write.
    assert_eq!(state.check(&batch(7, 0, 0, 10)), Check::InvalidProducerEpoch);
    assert_eq!(state.check(&batch(7, 0, 10, 10)), Check::InvalidProducerEpoch);
    assert_eq!(state.check(&batch(7, 1, 0, 10)), duplicate(110));
}

#[test]
fn sequences_wrap() {
    let mut state = state();
    let last = batch(7, 0, i32::MAX - 3, 10);
    assert_eq!(last.last_sequence(), 5);
    state.apply(&last, Offset(0));
    assert_eq!(state.check(&last), duplicate(0));
    assert_eq!(state.check(&batch(7, 0, 6, 1)), Check::Accept);
    let mut state = ProducerState::new(MAX_PRODUCERS, Planted::default());
    state.apply(&batch(7, 0, i32::MAX, 1), Offset(0));
    assert_eq!(state.check(&batch(7, 0, 0, 1)), Check::Accept);
}

#[test]
fn an_aborted_batch_is_no_answer() {
    let mut state = state();
    state.apply(&transactional(7, 0, 0, 10), Offset(0));
    assert_eq!(state.check(&batch(7, 0, 10, 1)), Check::InvalidTxnState);
    let aborted = state.apply_marker(ID, ProducerEpoch(0), marker(false, 3), 1000, Offset(10)).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_stable_offset), (Offset(0), Offset(11)));
    assert_eq!(state.check(&transactional(7, 0, 0, 10)), Check::OutOfOrderSequence);
    assert_eq!(state.check(&transactional(7, 0, 10, 10)), Check::Accept);
}

#[test]
fn markers_of_older_coordinators_and_producers_are_refused() {
    let mut state = state();
    state.apply(&transactional(7, 1, 0, 10), Offset(0));
    let check = |state: &ProducerState, epoch, coordinator| {
        state.check_marker(ID, ProducerEpoch(epoch), marker(true, coordinator))
    };
    assert_eq!(check(&state, 0, 3), MarkerCheck::InvalidProducerEpoch);
    assert_eq!(check(&state, 1, 3), MarkerCheck::Accept);
    state.apply_marker(ID, ProducerEpoch(1), marker(true, 3), 1000, Offset(10));
    assert_eq!(check(&state, 1, 2), MarkerCheck::CoordinatorFenced);
    // A marker that ends nothing.
    assert_eq!(state.apply_marker(ID, ProducerEpoch(1), marker(true, 3), 1000, Offset(11)), None);
}

#[test]
fn the_first_unstable_offset_waits_for_the_marker_to_be_replicated() {
    let mut state = state();
    state.apply(&transactional(7, 0, 0, 10), Offset(5));
    state.apply(&transactional(8, 0, 0, 10), Offset(15));
    assert_eq!(state.first_unstable_offset(), Some(Offset(5)));
    let ended = state.apply_marker(ID, ProducerEpoch(0), marker(true, 0), 1000, Offset(25)).unwrap();
    assert_eq!(ended.last_stable_offset, Offset(15));
    state.on_high_watermark(Offset(25));
    assert_eq!(state.first_unstable_offset(), Some(Offset(5)));
    state.on_high_watermark(Offset(26));
    assert_eq!(state.first_unstable_offset(), Some(Offset(15)));
    state.apply_marker(ProducerId(8), ProducerEpoch(0), marker(true, 0), 1000, Offset(26));
    state.on_high_watermark(Offset(27));
    assert_eq!(state.first_unstable_offset(), None);
}

#[test]
fn deletion_of_records_leaves_producers_and_expiry_does_not() {
    let mut state = after(2);
    state.apply(&transactional(8, 0, 0, 1), Offset(120));
    state.on_log_start(Offset(121));
    assert_eq!(state.check(&batch(7, 0, 10, 10)), duplicate(110));
    state.expire(WallTime(1_999), 1000);
    assert_eq!(state.len(), 2);
    state.expire(WallTime(2_000), 1000);
    assert_eq!(state.len(), 1, "an open transaction does not expire");
}

#[test]
fn memory_is_bounded() {
    let mut state = ProducerState::new(20, Planted::default());
    for id in 0..100 {
        let next = ProducerBatch { max_timestamp: id, ..batch(id, 0, 0, 1) };
        state.apply(&next, Offset(id));
        assert!(state.len() <= 20);
    }
    assert!(state.get(ProducerId(99)).is_some());
    assert_eq!(state.truncate_to(Offset(50)), Truncated::Rebuild);
}

#[test]
fn what_cannot_be_undone_is_rebuilt() {
    let mut state = after(3);
    state.on_high_watermark(Offset(120));
    assert_eq!(state.truncate_to(Offset(115)), Truncated::Rebuild);
    let mut state = after(3);
    state.on_high_watermark(Offset(120));
    assert_eq!(state.truncate_to(Offset(120)), Truncated::Done);
    assert_eq!(state, after(2));
}

/// What a log can hold, for the properties: few producers, so that they meet themselves.
#[derive(Clone, Debug)]
enum Entry {
    Batch { id: i64, epoch: i16, records: i32, transactional: bool },
    Marker { id: i64, epoch: i16, commit: bool },
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        4 => (0i64..4, 0i16..3, 1i32..4, any::<bool>()).prop_map(|(id, epoch, records, transactional)| {
            Entry::Batch { id, epoch, records, transactional }
        }),
        1 => (0i64..4, 0i16..3, any::<bool>()).prop_map(|(id, epoch, commit)| Entry::Marker { id, epoch, commit }),
    ]
}

/// Applies what a correct leader would have appended. Returns the states after each entry with the end offsets.
fn run(entries: &[Entry], state: &mut ProducerState, from: Offset) -> Vec<(Offset, ProducerState)> {
    let mut offset = from;
    let mut history = Vec::new();
    for entry in entries {
        match *entry {
            Entry::Batch { id, epoch, records, transactional } => {
                let known = state.get(ProducerId(id)).filter(|known| known.epoch.0 == epoch);
                let first = known.map_or(0, |known| next_sequence(known.last_sequence));
                let next = ProducerBatch { is_transactional: transactional, ..batch(id, epoch, first, records) };
                if state.check(&next) != Check::Accept {
                    continue;
                }
                state.apply(&next, offset);
                offset += i64::from(records);
            }
            Entry::Marker { id, epoch, commit } => {
                if state.check_marker(ProducerId(id), ProducerEpoch(epoch), marker(commit, 0)) != MarkerCheck::Accept {
                    continue;
                }
                state.apply_marker(ProducerId(id), ProducerEpoch(epoch), marker(commit, 0), 1000, offset);
                offset += 1;
            }
        }
        history.push((offset, state.clone()));
    }
    history
}

proptest! {
    /// Truncation gives exactly the earlier state, wherever it cuts above the high watermark.
    #[test]
    fn truncation_restores(
        entries in prop::collection::vec(entry(), 1..40),
        cut in any::<prop::sample::Index>(),
        watermark in any::<prop::sample::Index>(),
    ) {
        let mut live = state();
        let history = run(&entries, &mut live, Offset::ZERO);
        prop_assume!(!history.is_empty());
        let cut = cut.index(history.len());
        live.on_high_watermark(history[watermark.index(cut + 1)].0);
        prop_assert_eq!(live.truncate_to(history[cut].0), Truncated::Done);
        prop_assert_eq!(&live, &history[cut].1);
    }

    /// A retry of any of the last five batches gets the offset of the first attempt; nothing is appended twice.
    #[test]
    fn retries_get_their_offsets(
        sizes in prop::collection::vec(1i32..2000, 1..20),
        start in prop_oneof![Just(0), (i32::MAX - 3000)..=i32::MAX],
    ) {
        let mut state = state();
        let mut sent = Vec::new();
        let (mut first, mut offset) = (start, Offset(40));
        for records in sizes {
            let next = batch(7, 0, first, records);
            prop_assert_eq!(state.check(&next), Check::Accept);
            state.apply(&next, offset);
            sent.push((next, offset));
            first = next_sequence(next.last_sequence());
            offset += i64::from(records);
        }
        for (age, (retry, offset)) in sent.iter().rev().enumerate() {
            let expected = if age < REMEMBERED_BATCHES {
                let last_offset = *offset + retry.last_offset_delta.into();
                Check::Duplicate { base_offset: *offset, last_offset, timestamp: 1000 }
            } else {
                Check::ForgottenDuplicate
            };
            prop_assert_eq!(state.check(retry), expected);
        }
    }
}

/// Each switch makes the state break what the same steps keep without it.
#[cfg(feature = "planted-bugs")]
mod planted {
    use super::*;

    fn with(plant: Plant, batches: i32) -> ProducerState {
        let mut state = ProducerState::new(MAX_PRODUCERS, Planted::default().with(plant));
        for round in 0..batches {
            state.apply(&batch(7, 0, round * 10, 10), Offset(100 + i64::from(round) * 10));
        }
        state
    }

    #[test]
    fn idem_04_a_retry_is_appended_again() {
        let mut state = with(Plant::Idem04, 2);
        state.on_log_start(Offset(120));
        assert_eq!(state.check(&batch(7, 0, 10, 10)), Check::Accept);
    }

    #[test]
    fn idem_06_a_retry_of_the_fourth_in_flight_is_an_error() {
        let state = with(Plant::Idem06, 5);
        assert_eq!(state.check(&batch(7, 0, 30, 10)), Check::OutOfOrderSequence);
        assert_eq!(state.check(&batch(7, 0, 40, 10)), duplicate(140));
    }

    #[test]
    fn idem_07_the_sequence_after_the_last_is_refused() {
        let mut state = with(Plant::Idem07, 0);
        state.apply(&batch(7, 0, i32::MAX, 1), Offset(0));
        assert_eq!(state.check(&batch(7, 0, 0, 1)), Check::OutOfOrderSequence);
    }

    #[test]
    fn idem_09_a_snapshot_of_records_that_are_no_more_stays() {
        let planted = Planted::default().with(Plant::Idem09);
        assert!(crate::log::producer_snapshot::above(&[Offset(11)], Offset(10), planted).is_empty());
    }

    #[test]
    fn idem_11_a_duplicate_gets_offset_0() {
        let Check::Duplicate { base_offset, .. } = with(Plant::Idem11, 1).check(&batch(7, 0, 0, 10)) else {
            panic!("it is a duplicate")
        };
        assert_eq!(base_offset, Offset::ZERO);
    }

    #[test]
    fn idem_14_a_truncated_batch_is_still_a_duplicate() {
        let mut state = with(Plant::Idem14, 2);
        assert_eq!(state.truncate_to(Offset(110)), Truncated::Done);
        assert_eq!(state.check(&batch(7, 0, 10, 10)), duplicate(110));
    }
}
