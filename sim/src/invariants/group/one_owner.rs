//! G1: no partition is two members' at once. Source: KAFKA-16147; the consumer's own contract.
//!
//! Of one assignment of a classic group that is seen from what members are told. Of two generations
//! [`super::fencing`] says that one is over.
//!
//! Of two clients' holds on a partition it is seen from when the coordinator has taken each for a member. One that held
//! it before something happened and after it, all the time, held it then; so the coordinator gave it to nobody else in
//! between, and took nobody else for a member who held it. That needs no order of epochs: a zombie has a hold, but no
//! coordinator that says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::groups::{AssignmentId, HoldId};
use crate::history::PartitionIndex;
use crate::time::Nanos;

pub(super) const CODE: &str = "G1";

/// So many of the last times at which somebody had a partition are remembered for each.
const TIMES: usize = 256;

/// Remembers whose each partition is in each assignment, and who held it when.
#[derive(Clone, Debug, Default)]
pub(super) struct OneOwner {
    owners: BTreeMap<(AssignmentId, PartitionIndex), Owner>,
    holders: BTreeMap<(Arc<str>, PartitionIndex), Holders>,
}

#[derive(Clone, Debug)]
struct Owner {
    id: Arc<str>,
    instance: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
struct Holders {
    /// Who has held it by which hold: it did so before the one time, and after the other.
    holds: BTreeMap<HoldId, (u16, Nanos, Nanos)>,
    /// Whose it was at some time between two.
    times: VecDeque<(u16, Nanos, Nanos)>,
}

impl OneOwner {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        match seen {
            Seen::Synced { me, partitions } => {
                for partition in *partitions {
                    let new = || Owner { id: me.id.into(), instance: me.instance.map(Into::into) };
                    let owner = self.owners.entry((me.assignment, *partition)).or_insert_with(new);
                    // A static member that has restarted has another id, and what it had.
                    let is_same =
                        *owner.id == *me.id || me.instance.is_some() && owner.instance.as_deref() == me.instance;
                    if !is_same {
                        let (group, one, other) = (op.group, &owner.id, me.id);
                        return Err(format!("{group}: partition {partition} is {one}'s and {other}'s at once"));
                    }
                }
                Ok(())
            }
            Seen::Holds { client, holds } => holds.iter().try_for_each(|(partition, hold)| {
                let judged = self.holders(op, *partition).hold(*client, *hold, (op.asked, op.told));
                judged.map_err(|other| at_once(op, *partition, *client, other))
            }),
            Seen::Given { client, partitions } => partitions.iter().try_for_each(|partition| {
                let holders = self.holders(op, *partition);
                let judged = holders.note(*client, (op.asked, op.told));
                judged.map_err(|other| at_once(op, *partition, *client, other))
            }),
            _ => Ok(()),
        }
    }

    fn holders(&mut self, op: &Op<'_>, partition: PartitionIndex) -> &mut Holders {
        self.holders.entry((op.group.into(), partition)).or_default()
    }
}

fn at_once(op: &Op<'_>, partition: PartitionIndex, client: u16, other: u16) -> String {
    format!("{}: partition {partition} is client {client}'s and client {other}'s at once", op.group)
}

impl Holders {
    /// It was held all the time between the question and the answer. Answers who else had it at the same time.
    fn hold(&mut self, client: u16, hold: HoldId, (asked, told): (Nanos, Nanos)) -> Result<(), u16> {
        let (_, first, last) = self.holds.entry(hold).or_insert((client, told, asked));
        (*first, *last) = ((*first).min(told), (*last).max(asked));
        let (first, last) = (*first, *last);
        let within = |(other, asked, told): &&(u16, Nanos, Nanos)| *other != client && first < *asked && *told < last;
        match self.times.iter().find(within) {
            Some((other, ..)) => Err(*other),
            None => self.note(client, (asked, told)),
        }
    }

    /// It was this client's at some time between two. Answers who else held it then.
    fn note(&mut self, client: u16, (asked, told): (Nanos, Nanos)) -> Result<(), u16> {
        if self.times.len() == TIMES {
            self.times.pop_front();
        }
        self.times.push_back((client, asked, told));
        let around = |(other, first, last): &&(u16, Nanos, Nanos)| *other != client && *first < asked && told < *last;
        match self.holds.values().find(around) {
            Some((other, ..)) => Err(*other),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;
    use crate::groups::Me;

    #[test]
    fn one_assignment_gives_a_partition_to_one_member() {
        let mut checker = OneOwner::default();
        let mut synced = |me, partitions| checker.check(&op(1, 0, 1), &Seen::Synced { me, partitions });
        assert_eq!(synced(me("a", 1), &[0, 1]), Ok(()));
        assert_eq!(synced(me("a", 1), &[0, 1]), Ok(()));
        assert_eq!(synced(me("b", 1), &[2]), Ok(()));
        assert_eq!(synced(me("b", 2), &[0]), Ok(()), "the next assignment is another");
        assert!(synced(me("b", 1), &[1]).is_err());
    }

    #[test]
    fn an_instance_keeps_what_it_had() {
        let mut checker = OneOwner::default();
        let mut synced = |id, instance| {
            let me = Me { instance: Some(instance), ..me(id, 1) };
            checker.check(&op(1, 0, 1), &Seen::Synced { me, partitions: &[0] })
        };
        assert_eq!(synced("a", "i"), Ok(()));
        assert_eq!(synced("b", "i"), Ok(()));
        assert!(synced("c", "j").is_err());
    }

    fn holds(checker: &mut OneOwner, client: u16, hold: HoldId, asked: Nanos) -> Verdict {
        checker.check(&op(1, asked, asked + 5), &Seen::Holds { client, holds: &[(0, hold)] })
    }

    #[test]
    fn who_holds_a_partition_before_and_after_holds_it_between() {
        for (given, good) in [(12, true), (16, false), (33, false), (36, true), (50, true)] {
            for late in [false, true] {
                let mut checker = OneOwner::default();
                let given = op(2, given, given + 4);
                let give =
                    |checker: &mut OneOwner| checker.check(&given, &Seen::Given { client: 2, partitions: &[1, 0] });
                assert_eq!(holds(&mut checker, 1, 7, 10), Ok(()));
                let early = if late { Ok(()) } else { give(&mut checker) };
                assert_eq!(early, Ok(()), "it may have been given up since");
                let again = holds(&mut checker, 1, 7, 38);
                let judged = if late { again.and_then(|()| give(&mut checker)) } else { again };
                assert_eq!(judged.is_ok(), good, "{given:?} {late}");
            }
        }
    }

    #[test]
    fn a_hold_that_has_ended_says_nothing_of_the_next() {
        let mut checker = OneOwner::default();
        assert_eq!(holds(&mut checker, 1, 7, 10), Ok(()));
        assert_eq!(holds(&mut checker, 2, 8, 20), Ok(()));
        assert_eq!(holds(&mut checker, 1, 9, 30), Ok(()), "it had given it up");
        assert!(holds(&mut checker, 2, 8, 40).is_err());
    }
}
