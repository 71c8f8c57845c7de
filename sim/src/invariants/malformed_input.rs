//! W4: malformed input is refused: its connection is closed, or the request is answered with an error. It
//! never crashes or corrupts. Source: Kafka's protocol guide; promise of the wire layer.
//!
//! A panic is reported under this code when the step's input came from a client that sends such things.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "W4";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Refused { conn, closed, answered } = fact else { return Ok(()) };
    if *closed || *answered {
        return Ok(());
    }
    Err(format!("connection {conn} sent a frame that cannot be read, and nothing came of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_ignore_what_cannot_be_read_is_a_violation() {
        let verdict = |closed, answered| check(&Fact::Refused { conn: 1, closed, answered });
        assert_eq!(verdict(true, false), Ok(()));
        assert_eq!(verdict(false, true), Ok(()));
        assert!(verdict(false, false).is_err());
    }
}
