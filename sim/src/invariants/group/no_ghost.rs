//! G10: members are bounded: nobody is one who has not come back with the id that it was given (KIP-394), so that a
//! client whose answers are lost leaves none behind. Source: KAFKA-7824, KAFKA-7610.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Op, Seen, Verdict};

pub(super) const CODE: &str = "G10";

/// How the ids begin of those whose version of JoinGroup does not know of this.
pub const OLD: &str = "old-";

/// Remembers who has come back.
#[derive(Clone, Debug, Default)]
pub(super) struct NoGhost {
    came_back: BTreeSet<Arc<str>>,
}

impl NoGhost {
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        if let Seen::Joining { id, .. } = seen
            && !id.is_empty()
        {
            self.came_back.insert((*id).into());
        }
        let Seen::Joined { peers, .. } = seen else { return Ok(()) };
        let is_ghost = |id: &str| !id.starts_with(OLD) && !self.came_back.contains(id);
        match peers.iter().find(|peer| peer.instance.is_none() && is_ghost(&peer.id)) {
            Some(ghost) => Err(format!("{}: {} is a member, and nobody has come with that id", op.group, ghost.id)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::op;
    use super::*;
    use crate::groups::Peer;

    #[test]
    fn a_member_has_come_back_with_its_id() {
        let mut checker = NoGhost::default();
        let mut joined = |id: &str, instance: Option<&str>| {
            let instance = instance.map(Into::into);
            let peers = [Peer { id: id.into(), instance, partitions: Vec::new() }];
            checker.check(&op(1, 0, 1), &Seen::Joined { id: "a", instance: None, peers: &peers })
        };
        assert!(joined("a", None).is_err());
        assert_eq!(joined("old-a", None), Ok(()));
        assert_eq!(joined("i-1", Some("i")), Ok(()));
        assert_eq!(checker.check(&op(2, 2, 3), &Seen::Joining { id: "a", instance: None, afresh: false }), Ok(()));
        let peers = [Peer { id: "a".into(), instance: None, partitions: Vec::new() }];
        assert_eq!(checker.check(&op(3, 4, 5), &Seen::Joined { id: "a", instance: None, peers: &peers }), Ok(()));
    }
}
