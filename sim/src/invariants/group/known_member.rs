//! G9: a coordinator answers from all that its log says, of a group that it leads: it knows who is in it. So nobody is
//! unknown who was in its place a moment ago, no group is missing, or deleted, that somebody is in, and none is there
//! that was deleted. Source: KAFKA-10614 (answers from what is not loaded), Redpanda #4900 (a deleted group returns),
//! the session timeout's own contract.
//!
//! A member id is never given out twice. So who is a member before and after was one all the time, if nobody joined
//! with that id: a consumer group (KIP-848) takes a classic member that it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::groups::{Fate, OpId};
use crate::time::Nanos;

pub(super) const CODE: &str = "G9";

/// A node's clock may run so many times too fast.
const FASTEST: Nanos = 4;

/// Remembers who was in which group, and when it was said not to be there.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownMember {
    groups: BTreeMap<Arc<str>, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    members: BTreeMap<Arc<str>, Life>,
    /// When the group was said not to be there, or was deleted: between two times.
    gone: Vec<(Nanos, Nanos)>,
    /// When the last deletion was asked for, and when it was done.
    deleted: Option<(Nanos, Nanos)>,
    /// Requests that may make the group, and may yet take effect; and when the last one ended.
    making: BTreeSet<OpId>,
    made: Option<Nanos>,
    /// Requests to join, be it with an id that the group does not know.
    afresh: BTreeSet<OpId>,
}

impl Known {
    /// A group that was deleted is there again if somebody has made it again.
    fn listed(&self, op: &Op<'_>) -> Verdict {
        match self.deleted {
            Some((asked, told))
                if told < op.asked && self.making.is_empty() && self.made.is_none_or(|it| it < asked) =>
            {
                Err(format!("{} was deleted, and is there again though nobody has made it", op.group))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Life {
    /// It was a member before this.
    since: Nanos,
    /// It had its place, and nobody was to join again, after this.
    calm: Option<Nanos>,
}

impl KnownMember {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        match seen {
            Seen::Synced { me, .. } => self.alive(op, me.id, true),
            Seen::Alive { me, calm } => self.alive(op, me.id, *calm),
            Seen::Unknown { id, patience, .. } => self.unknown(op, id, *patience),
            Seen::Listed { there: false } => {
                self.group(op).gone.push((op.asked, op.told));
                Ok(())
            }
            Seen::Deleted { partition: None, fate: Fate::Done } => {
                let known = self.group(op);
                known.gone.push((op.asked, op.told));
                known.deleted = known.deleted.max(Some((op.asked, op.told)));
                Ok(())
            }
            Seen::Joining { id, afresh, .. } => {
                let known = self.group(op);
                known.making.insert(op.id);
                if *afresh {
                    known.members.remove(*id);
                    known.afresh.insert(op.id);
                }
                Ok(())
            }
            Seen::Joined { id, .. } => {
                let known = self.group(op);
                if known.afresh.remove(&op.id) {
                    known.members.remove(*id);
                }
                Ok(())
            }
            Seen::Committing { .. } => {
                self.group(op).making.insert(op.id);
                Ok(())
            }
            Seen::JoinOver { .. } | Seen::Committed { fate: Fate::Done | Fate::Refused, .. } => {
                let known = self.group(op);
                known.making.remove(&op.id);
                known.made = known.made.max(Some(op.told));
                Ok(())
            }
            Seen::Listed { there: true } => self.group(op).listed(op),
            _ => Ok(()),
        }
    }

    fn group(&mut self, op: &Op<'_>) -> &mut Known {
        self.groups.entry(op.group.into()).or_default()
    }

    fn alive(&mut self, op: &Op<'_>, id: &str, calm: bool) -> Verdict {
        let known = self.group(op);
        let life = known.members.entry(id.into()).or_insert(Life { since: op.told, calm: None });
        if calm {
            life.calm = life.calm.max(Some(op.asked));
        }
        let since = life.since;
        match known.gone.iter().find(|(asked, told)| since < *asked && *told < op.asked) {
            Some(_) => Err(format!("{} was said not to be there, or deleted, while {id} was in it", op.group)),
            None => Ok(()),
        }
    }

    fn unknown(&mut self, op: &Op<'_>, id: &str, patience: Nanos) -> Verdict {
        let calm = self.group(op).members.get(id).and_then(|life| life.calm);
        let silent = calm.filter(|calm| *calm <= op.asked).map(|calm| op.told - calm);
        match silent {
            Some(silent) if silent.saturating_mul(FASTEST) < patience => {
                Err(format!("{} does not know {id}, which was there {} ms ago", op.group, silent / 1_000_000))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;
    use crate::groups::PENDING;

    fn synced(checker: &mut KnownMember, asked: u64, told: u64) -> Verdict {
        checker.check(&op(1, asked, told), &Seen::Synced { me: me("m", 1), partitions: &[] })
    }

    #[test]
    fn a_member_is_forgotten_when_its_time_is_up() {
        let mut checker = KnownMember::default();
        let mut unknown = |asked, patience| {
            checker.check(&op(1, asked, asked + 1), &Seen::Unknown { id: "m", instance: None, patience })
        };
        assert_eq!(unknown(0, 1_000), Ok(()), "it never was one");
        assert_eq!(synced(&mut checker, 5, 10), Ok(()));
        let mut unknown = |asked, patience| {
            checker.check(&op(1, asked, asked + 1), &Seen::Unknown { id: "m", instance: None, patience })
        };
        assert!(unknown(100, 1_000).is_err());
        assert_eq!(unknown(300, 1_000), Ok(()));
        assert_eq!(unknown(100, 0), Ok(()), "it has left");
    }

    #[test]
    fn a_group_with_a_member_is_there() {
        for (asked, told, good) in [(5, 15, true), (12, 15, false), (12, 25, true)] {
            let mut checker = KnownMember::default();
            assert_eq!(synced(&mut checker, 5, 10), Ok(()));
            assert_eq!(checker.check(&op(2, asked, told), &Seen::Listed { there: false }), Ok(()));
            assert_eq!(synced(&mut checker, 20, 30).is_ok(), good);
        }
    }

    #[test]
    fn a_member_that_joins_afresh_with_its_id_was_none_before() {
        for (afresh, good) in [(true, true), (false, false)] {
            let mut checker = KnownMember::default();
            assert_eq!(synced(&mut checker, 5, 10), Ok(()));
            let deleted = Seen::Deleted { partition: None, fate: Fate::Done };
            assert_eq!(checker.check(&op(2, 12, 15), &deleted), Ok(()));
            let joining = Seen::Joining { id: "", instance: None, afresh };
            assert_eq!(checker.check(&op(1, 16, PENDING), &joining), Ok(()));
            let over = [Seen::JoinOver { instance: None }, Seen::Joined { id: "m", instance: None, peers: &[] }];
            over.iter().for_each(|seen| assert_eq!(checker.check(&op(1, 16, 30), seen), Ok(())));
            assert_eq!(synced(&mut checker, 20, 30).is_ok(), good);
        }
    }

    #[test]
    fn a_deleted_group_stays_away_until_somebody_makes_it() {
        let mut checker = KnownMember::default();
        let mut see = |id, asked, told, seen| checker.check(&op(id, asked, told), &seen);
        let committing = Seen::Committing { partition: 0, commit: 1, offset: 1, retention: None };
        assert_eq!(see(1, 0, PENDING, committing), Ok(()));
        assert_eq!(see(1, 0, 5, Seen::Committed { partition: 0, fate: Fate::Done }), Ok(()));
        assert_eq!(see(2, 6, 8, Seen::Listed { there: true }), Ok(()));
        assert_eq!(see(3, 9, 12, Seen::Deleted { partition: None, fate: Fate::Done }), Ok(()));
        assert_eq!(see(4, 11, 13, Seen::Listed { there: true }), Ok(()), "it may have been before");
        assert!(see(5, 14, 15, Seen::Listed { there: true }).is_err());
        assert_eq!(see(6, 16, PENDING, committing), Ok(()));
        assert_eq!(see(7, 17, 18, Seen::Listed { there: true }), Ok(()));
    }
}
