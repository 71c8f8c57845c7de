//! What an error code means for a batch: whether it may have been written, and what to do next.

use ottla_wire::ErrorCode;

/// What becomes of a batch that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was written before: a duplicate is a success.
    Duplicate,
    /// It is sent again, after a wait.
    Retry,
    /// The broker does not know where the producer's sequence stands: a new epoch, then again.
    NewEpoch,
    /// The producer id is of no use: a new one, then again.
    NewId,
    /// It is sent in two halves.
    Split,
    /// It fails.
    Fail,
}

/// What the client knows of a batch when an error code comes for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Nothing before it in its partition is unresolved.
    pub(super) first: bool,
    /// It got another place in the sequence since it was sent.
    pub(super) moved: bool,
    /// It has more than one record.
    pub(super) divisible: bool,
}

/// What to do about `code`.
pub(super) fn verdict(code: ErrorCode, facts: Facts) -> Verdict {
    match code {
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Verdict::Duplicate,
        // Its number is not the next because an earlier batch was not written: that one comes first.
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID if facts.moved || !facts.first => {
            Verdict::Retry
        }
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => Verdict::NewEpoch,
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED if facts.moved => Verdict::Retry,
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => Verdict::NewId,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE if facts.divisible => Verdict::Split,
        code if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Fail,
    }
}

/// Whether an answer with this code proves that its request wrote nothing.
///
/// The others may come from a leader that had appended the batch and then lost its office or its followers, or
/// that failed half way: what it appended may stay. Codes that are not known here are taken to be of that kind.
pub(super) fn proves_absence(code: ErrorCode) -> bool {
    const CHECKED_BEFORE_THE_APPEND: &[ErrorCode] = &[
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::INVALID_TOPIC_EXCEPTION,
        ErrorCode::RECORD_LIST_TOO_LARGE,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::INVALID_REQUIRED_ACKS,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ErrorCode::INVALID_TIMESTAMP,
        ErrorCode::UNSUPPORTED_VERSION,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
        ErrorCode::POLICY_VIOLATION,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::PRODUCER_FENCED,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ErrorCode::INVALID_RECORD,
    ];
    CHECKED_BEFORE_THE_APPEND.contains(&code)
}

/// Whether the metadata may be to blame.
pub(super) fn blames_metadata(code: ErrorCode) -> bool {
    const WRONG_PLACE: &[ErrorCode] = &[
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::REPLICA_NOT_AVAILABLE,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::INCONSISTENT_TOPIC_ID,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ];
    WRONG_PLACE.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Facts = Facts { first: true, moved: false, divisible: true };

    #[test]
    fn a_gap_before_an_unresolved_batch_is_waited_out_and_any_other_ends_the_epoch() {
        let gap = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        assert_eq!(verdict(gap, FIRST), Verdict::NewEpoch);
        assert_eq!(verdict(gap, Facts { first: false, ..FIRST }), Verdict::Retry);
        assert_eq!(verdict(gap, Facts { moved: true, ..FIRST }), Verdict::Retry);
    }

    #[test]
    fn what_a_leader_may_say_after_it_appended_proves_nothing() {
        for code in [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::UNKNOWN_SERVER_ERROR,
            ErrorCode(9_999),
        ] {
            assert!(!proves_absence(code), "{code}");
        }
        assert!(proves_absence(ErrorCode::NOT_ENOUGH_REPLICAS));
    }

    #[test]
    fn a_batch_that_is_too_large_is_split_while_it_can_be() {
        assert_eq!(verdict(ErrorCode::MESSAGE_TOO_LARGE, FIRST), Verdict::Split);
        assert_eq!(verdict(ErrorCode::MESSAGE_TOO_LARGE, Facts { divisible: false, ..FIRST }), Verdict::Fail);
    }
}
