//! All partitions in order, to the members in turn; whoever is not subscribed to the topic is passed over.

use super::{Candidate, Plan, Topics, empty, in_order, wanted};

pub(super) fn assign(members: &[Candidate], topics: &Topics) -> Plan {
    let mut plan = empty(members);
    let order = in_order(members);
    let mut next = 0;
    for partition in wanted(members, topics) {
        let turns = (0..order.len()).map(|step| (next + step) % order.len());
        let found = turns.into_iter().find(|&place| order[place].topics.contains(&partition.topic));
        let place = found.expect("somebody is subscribed to what is wanted");
        plan.get_mut(&order[place].id).expect("every member is in the plan").insert(partition);
        next = (place + 1) % order.len();
    }
    plan
}
