//! Of each topic a range of partitions for each member; the first members have one more if it does not come out even.
//! Topics with as many partitions and the same readers go together: a reader has the same partitions of each.

use std::collections::BTreeMap;

use crate::racks;
use crate::types::TopicPartition;

use super::{Candidate, Plan, Topics, empty, in_order};

pub(super) fn assign(members: &[Candidate], topics: &Topics) -> Plan {
    let mut plan = empty(members);
    let order = in_order(members);
    let mut alike: BTreeMap<(i32, Vec<usize>), Vec<_>> = BTreeMap::new();
    for (name, topic) in topics {
        let readers = (0..order.len()).filter(|&place| order[place].topics.contains(name));
        alike.entry((topic.partitions, readers.collect())).or_default().push((name, topic));
    }
    for ((count, readers), topics) in alike {
        let racks: Vec<_> = readers.iter().map(|&place| order[place].rack.as_deref()).collect();
        let units = (0..count).map(|index| topics.iter().map(|(_, topic)| topic.racks_of(index)).collect());
        let owners = racks::ranges(&racks, &units.collect::<Vec<_>>());
        for (index, owner) in (0..).zip(owners) {
            let partitions = topics.iter().map(|(name, _)| TopicPartition::new((*name).clone(), index));
            plan.get_mut(&order[readers[owner]].id).expect("every member is in the plan").extend(partitions);
        }
    }
    plan
}
