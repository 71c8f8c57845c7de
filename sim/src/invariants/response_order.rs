//! W1: the responses of a connection come in the order of its requests, and match them.
//! Source: Kafka's protocol guide.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "W1";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Answered { conn, owed, answers } = fact else { return Ok(()) };
    match owed {
        Some(owed) if owed == answers => Ok(()),
        Some(owed) => Err(format!("connection {conn} is owed the answer to {owed}, and gets that to {answers}")),
        None => Err(format!("connection {conn} is owed nothing, and gets the answer to {answers}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_out_of_turn_is_a_violation() {
        let verdict = |owed, answers| check(&Fact::Answered { conn: 1, owed, answers });
        assert_eq!(verdict(Some(3), 3), Ok(()));
        assert!(verdict(Some(3), 4).is_err());
        assert!(verdict(None, 4).is_err());
    }
}
