//! G8: a member is told what the leader of its generation gave it, and nothing else. Source: the contract of SyncGroup.

use std::collections::BTreeMap;

use super::{Op, Seen, Verdict};
use crate::groups::{AssignmentId, Peer};

pub(super) const CODE: &str = "G8";

/// Remembers what leaders handed in.
#[derive(Clone, Debug, Default)]
pub(super) struct AsAssigned {
    assignments: BTreeMap<AssignmentId, Vec<Peer>>,
}

impl AsAssigned {
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        if let Seen::Assigning { assignment, peers } = seen {
            self.assignments.insert(*assignment, peers.to_vec());
        }
        let Seen::Synced { me, partitions } = seen else { return Ok(()) };
        let Some(peers) = self.assignments.get(&me.assignment) else {
            return Err(format!("{}: {} is told assignment {}, which nobody made", op.group, me.id, me.assignment));
        };
        let is_me =
            |peer: &&Peer| *peer.id == *me.id || me.instance.is_some() && peer.instance.as_deref() == me.instance;
        if peers.iter().filter(is_me).any(|peer| peer.partitions == *partitions) {
            return Ok(());
        }
        let given: Vec<_> = peers.iter().filter(is_me).map(|peer| &peer.partitions).collect();
        Err(format!("{}: {} is told that it has {partitions:?}, and its leader gave it {given:?}", op.group, me.id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;

    #[test]
    fn a_member_has_what_its_leader_gave_it() {
        let mut checker = AsAssigned::default();
        let peer =
            |id: &str, partitions: &[usize]| Peer { id: id.into(), instance: None, partitions: partitions.into() };
        let peers = [peer("a", &[0, 1]), peer("b", &[])];
        assert_eq!(checker.check(&op(1, 0, 1), &Seen::Assigning { assignment: 7, peers: &peers }), Ok(()));
        let mut synced = |me, partitions| checker.check(&op(2, 0, 1), &Seen::Synced { me, partitions });
        assert_eq!(synced(me("a", 7), &[0, 1]), Ok(()));
        assert_eq!(synced(me("b", 7), &[]), Ok(()));
        assert!(synced(me("b", 7), &[0, 1]).is_err());
        assert!(synced(me("c", 7), &[]).is_err());
        assert!(synced(me("a", 8), &[0, 1]).is_err());
    }
}
