//! G7: an instance id is one member (KIP-345). A leader is told of each instance once. Who has taken an instance over
//! stays it until somebody else does; and whoever was it before is told so, and not that it is unknown, or it would
//! take the instance back. Source: KAFKA-8500, KAFKA-10284, KAFKA-8715.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::groups::{OpId, PENDING};
use crate::time::Nanos;

pub(super) const CODE: &str = "G7";

/// Remembers who took which instance over, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct OneInstance {
    instances: BTreeMap<(Arc<str>, Arc<str>), Instance>,
}

#[derive(Clone, Debug, Default)]
struct Instance {
    /// Who has asked for it without an id: the request, when it was sent and answered.
    claims: Vec<(OpId, Nanos, Nanos)>,
    members: BTreeMap<Arc<str>, Holder>,
    /// Others that were told that they are unknown: between two times.
    unknown: Vec<(Arc<str>, Nanos, Nanos)>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    /// The request that made it the instance, and when that was sent.
    by: OpId,
    asked: Nanos,
    /// It was the instance before this.
    since: Nanos,
    /// It has had an assignment since, so the log knows it: one that has only joined dies with the coordinator, and
    /// then the log's word holds, which is the one before it.
    settled: bool,
}

impl OneInstance {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        match seen {
            Seen::Joining { id: "", instance: Some(instance), .. } => {
                self.instance(op, instance).claims.push((op.id, op.asked, PENDING));
                Ok(())
            }
            Seen::JoinOver { instance: Some(instance) } => {
                let mut claims = self.instance(op, instance).claims.iter_mut();
                if let Some(claim) = claims.find(|(id, ..)| *id == op.id) {
                    claim.2 = op.told;
                }
                Ok(())
            }
            Seen::Joined { id, instance, peers } => {
                if let Some(instance) = instance {
                    let instance = self.instance(op, instance);
                    let claimed = instance.claims.iter().any(|(by, ..)| *by == op.id);
                    if claimed {
                        let holder = Holder { by: op.id, asked: op.asked, since: op.told, settled: false };
                        instance.members.insert((*id).into(), holder);
                    }
                }
                let mut seen: Vec<&str> = peers.iter().filter_map(|peer| peer.instance.as_deref()).collect();
                seen.sort_unstable();
                match seen.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(pair) => Err(format!("{} has two members that are instance {}", op.group, pair[0])),
                    None => Ok(()),
                }
            }
            Seen::Fenced { id, instance } => self.instance(op, instance).fenced(op, id),
            Seen::Unknown { id, instance: Some(instance), .. } => {
                self.instance(op, instance).unknown.push(((*id).into(), op.asked, op.told));
                Ok(())
            }
            Seen::Synced { me, .. } => match me.instance {
                Some(instance) => self.instance(op, instance).alive(op, me.id, true),
                None => Ok(()),
            },
            Seen::Alive { me, calm } => match me.instance {
                Some(instance) => self.instance(op, instance).alive(op, me.id, *calm),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn instance(&mut self, op: &Op<'_>, instance: &str) -> &mut Instance {
        self.instances.entry((op.group.into(), instance.into())).or_default()
    }
}

impl Instance {
    /// Another is the instance: that another has asked for it since, or may have.
    fn fenced(&self, op: &Op<'_>, id: &str) -> Verdict {
        let Some(holder) = self.members.get(id).filter(|holder| holder.settled) else { return Ok(()) };
        let rival =
            |(by, asked, told): &(OpId, Nanos, Nanos)| *by != holder.by && *told >= holder.asked && *asked <= op.told;
        if self.claims.iter().any(rival) {
            return Ok(());
        }
        Err(format!("{}: {id} is fenced, and nobody else has asked for its instance since", op.group))
    }

    /// It was the instance all the time, so who else asked as it had to be told so.
    /// A commit, or a heartbeat while others join, does not show that it has an assignment.
    fn alive(&mut self, op: &Op<'_>, id: &str, has_assignment: bool) -> Verdict {
        let Some(holder) = self.members.get_mut(id) else { return Ok(()) };
        holder.settled |= has_assignment;
        let since = holder.since;
        let wrong =
            self.unknown.iter().find(|(other, asked, told)| **other != *id && since < *asked && *told < op.asked);
        match wrong {
            Some((other, ..)) => {
                Err(format!("{}: {other} was told that it is unknown, while {id} was its instance", op.group))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;
    use crate::groups::{Me, Peer};

    fn claim(checker: &mut OneInstance, id: &str, number: u64, asked: u64, told: u64) {
        let joining = Seen::Joining { id: "", instance: Some("i"), afresh: false };
        assert_eq!(checker.check(&op(number, asked, PENDING), &joining), Ok(()));
        if told < PENDING {
            let joined = Seen::Joined { id, instance: Some("i"), peers: &[] };
            assert_eq!(checker.check(&op(number, asked, told), &Seen::JoinOver { instance: Some("i") }), Ok(()));
            assert_eq!(checker.check(&op(number, asked, told), &joined), Ok(()));
        }
    }

    #[test]
    fn a_leader_sees_each_instance_once() {
        let peer =
            |id: &str, instance: &str| Peer { id: id.into(), instance: Some(instance.into()), partitions: Vec::new() };
        for (other, good) in [("j", true), ("i", false)] {
            let peers = [peer("a", "i"), peer("b", other)];
            let joined = Seen::Joined { id: "a", instance: Some("i"), peers: &peers };
            assert_eq!(OneInstance::default().check(&op(1, 0, 1), &joined).is_ok(), good);
        }
    }

    #[test]
    fn who_is_fenced_has_a_rival() {
        let fenced = Seen::Fenced { id: "b", instance: "i" };
        let mut checker = OneInstance::default();
        claim(&mut checker, "a", 1, 0, 5);
        claim(&mut checker, "b", 2, 6, 9);
        assert_eq!(checker.check(&op(3, 10, 11), &fenced), Ok(()), "the log may not know it yet");
        let alive = Seen::Alive { me: Me { instance: Some("i"), ..me("b", 1) }, calm: true };
        assert_eq!(checker.check(&op(3, 10, 11), &alive), Ok(()));
        assert!(checker.check(&op(3, 12, 13), &fenced).is_err(), "a came before it");
        claim(&mut checker, "", 4, 14, PENDING);
        assert_eq!(checker.check(&op(5, 15, 16), &fenced), Ok(()));
        let mut checker = OneInstance::default();
        claim(&mut checker, "a", 1, 0, 7);
        claim(&mut checker, "b", 2, 6, 9);
        assert_eq!(checker.check(&op(3, 10, 11), &alive), Ok(()));
        assert_eq!(checker.check(&op(3, 12, 13), &fenced), Ok(()), "a may have come after it");
    }

    #[test]
    fn who_was_the_instance_is_told_so() {
        let mut checker = OneInstance::default();
        claim(&mut checker, "a", 1, 0, 5);
        claim(&mut checker, "b", 2, 6, 9);
        let unknown = Seen::Unknown { id: "a", instance: Some("i"), patience: 0 };
        let alive = Seen::Alive { me: Me { instance: Some("i"), ..me("b", 0) }, calm: true };
        assert_eq!(checker.check(&op(3, 8, 12), &unknown), Ok(()));
        assert_eq!(checker.check(&op(4, 20, 21), &alive), Ok(()), "that may have been before b came");
        assert_eq!(checker.check(&op(5, 10, 12), &unknown), Ok(()));
        assert!(checker.check(&op(6, 20, 21), &alive).is_err());
    }
}
