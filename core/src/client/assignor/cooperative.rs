//! The sticky assignment in two steps (KIP-429): what somebody else says that he owns is not given to its new owner
//! yet. Its old owner sees that he does not have it any more, gives it up and joins again; the next generation has it.

use super::{Candidate, Plan, Topics, sticky};

pub(super) fn assign(members: &[Candidate], topics: &Topics) -> Plan {
    let mut plan = sticky::assign(members, topics);
    for (owner, partitions) in &mut plan {
        partitions
            .retain(|partition| members.iter().all(|other| other.id == *owner || !other.owned.contains(partition)));
    }
    plan
}
