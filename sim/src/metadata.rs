//! What administrators asked of the metadata, and what they were told: registers, each with the changes of it. In the
//! end each holds what one change has left that may have been the last: of a change that nobody was told the end of,
//! nobody knows when it happened, or whether it did.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Nanos;

/// Something in the metadata that is one thing or another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Register {
    /// Whether a topic is there.
    Topic(String),
    /// A setting of a topic.
    Setting(String, String),
}

/// What a register holds: a topic that is there holds its number of partitions.
pub type Content = Option<String>;

/// A change's number.
pub type ChangeId = usize;

#[derive(Clone, Debug)]
struct Change {
    register: Register,
    leaves: Content,
    asked: Nanos,
    ended: Ended,
    /// Who asked may have asked twice, and been told of the second time: the first may happen later.
    again: bool,
    /// Who asked was told that there is such a topic already.
    exists: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nobody knows: it may happen at any time, or never.
    Unknown,
    Done(Nanos),
    /// It found that there was nothing to do, or had it done itself, when it was asked for a second time on its way: a
    /// broker asks the controller again where no answer comes, as Kafka's do. Later it does not happen.
    Refused(Nanos),
}

/// Every change that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    changes: Vec<Change>,
    /// How many were acknowledged.
    pub acked: u64,
}

impl Asked {
    /// Somebody asks that a register hold this.
    pub fn ask(&mut self, asked: Nanos, register: Register, leaves: Content) -> ChangeId {
        self.changes.push(Change { register, leaves, asked, ended: Ended::Unknown, again: false, exists: false });
        self.changes.len() - 1
    }

    /// It is told that it does.
    pub fn done(&mut self, now: Nanos, change: ChangeId) {
        self.changes[change].ended = Ended::Done(now);
        self.acked += 1;
    }

    /// Who asks again where no answer comes within `patience` is told the end of it.
    pub fn answered(&mut self, now: Nanos, change: ChangeId, patience: Nanos) {
        let it = &mut self.changes[change];
        it.again = now - it.asked > patience;
    }

    /// It is told that there is nothing to do.
    pub fn refused(&mut self, now: Nanos, change: ChangeId) {
        self.changes[change].ended = Ended::Refused(now);
    }

    /// It is told that there is such a topic already: somebody has made it.
    pub fn exists(&mut self, now: Nanos, change: ChangeId) {
        self.refused(now, change);
        self.changes[change].exists = true;
    }

    /// Compares every register with what is there now; answers what is wrong.
    pub fn wrong(&self, holds: impl Fn(&Register) -> Content) -> Option<String> {
        let mut registers: BTreeMap<&Register, Vec<&Change>> = BTreeMap::new();
        for change in &self.changes {
            registers.entry(&change.register).or_default().push(change);
        }
        registers.into_iter().find_map(|(register, changes)| {
            let (found, may) = (holds(register), may_hold(&changes));
            (!may.contains(&found)).then(|| format!("{register:?} holds {found:?}, and may hold {may:?}"))
        })
    }
}

/// What a register may hold: what the changes leave that no other follows for certain.
fn may_hold(changes: &[&Change]) -> BTreeSet<Content> {
    let last_asked = changes.iter().filter(|change| matches!(change.ended, Ended::Done(_))).map(|it| it.asked).max();
    let may_be_last = |change: &&&Change| match change.ended {
        Ended::Unknown => true,
        _ if change.again => true,
        Ended::Done(at) | Ended::Refused(at) => last_asked.is_none_or(|asked| asked <= at),
    };
    // Who is told that there is a topic already has seen that somebody made it.
    let seen = changes.iter().any(|change| change.exists);
    let initial = (last_asked.is_none() && !seen).then_some(None);
    changes.iter().filter(may_be_last).map(|change| change.leaves.clone()).chain(initial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Register {
        Register::Topic("t".into())
    }

    fn some(text: &str) -> Content {
        Some(text.to_owned())
    }

    fn is_wrong(asked: &Asked, found: &Content) -> bool {
        asked.wrong(|_| found.clone()).is_some()
    }

    #[test]
    fn what_was_acknowledged_last_is_there() {
        let mut asked = Asked::default();
        assert!(!is_wrong(&asked, &None));
        let first = asked.ask(1, topic(), some("1"));
        assert!(!is_wrong(&asked, &None) && !is_wrong(&asked, &some("1")) && is_wrong(&asked, &some("2")));
        asked.done(2, first);
        assert!(is_wrong(&asked, &None));
        let second = asked.ask(3, topic(), some("2"));
        assert!(!is_wrong(&asked, &some("1")) && !is_wrong(&asked, &some("2")));
        asked.done(4, second);
        assert!(is_wrong(&asked, &some("1")) && !is_wrong(&asked, &some("2")));
        assert_eq!(asked.acked, 2);
    }

    #[test]
    fn what_was_asked_twice_may_happen_twice() {
        for (answered, expected) in [(11, false), (12, true)] {
            let mut asked = Asked::default();
            let first = asked.ask(1, topic(), some("1"));
            asked.done(answered, first);
            asked.answered(answered, first, 10);
            let second = asked.ask(20, topic(), some("2"));
            asked.done(21, second);
            assert_eq!(!is_wrong(&asked, &some("1")), expected);
            assert!(!is_wrong(&asked, &some("2")) && is_wrong(&asked, &None));
        }
    }

    #[test]
    fn of_two_at_once_either_is_last() {
        let mut asked = Asked::default();
        let (one, two) = (asked.ask(1, topic(), some("1")), asked.ask(2, topic(), some("2")));
        asked.done(3, two);
        asked.done(4, one);
        assert!(!is_wrong(&asked, &some("1")) && !is_wrong(&asked, &some("2")) && is_wrong(&asked, &None));
    }

    #[test]
    fn what_was_refused_happened_before_or_never_and_what_is_unknown_may_at_any_time() {
        let mut asked = Asked::default();
        let refused = asked.ask(1, topic(), some("1"));
        asked.refused(2, refused);
        assert!(!is_wrong(&asked, &some("1")) && !is_wrong(&asked, &None));
        asked.exists(2, refused);
        assert!(is_wrong(&asked, &None), "it was seen");
        asked.ask(2, topic(), some("2"));
        let done = asked.ask(3, topic(), None);
        asked.done(4, done);
        assert!(is_wrong(&asked, &some("1")) && !is_wrong(&asked, &some("2")) && !is_wrong(&asked, &None));
    }
}
