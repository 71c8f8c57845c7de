//! Of each topic each subscriber has a range, in the order of members; the first have one partition more. Topics with
//! as many partitions and the same subscribers go together: a member has the same partitions of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Partitions, Subscribers, Topics, subscribers};
use crate::racks;

pub(super) fn assign(members: &Subscribers, topics: &Topics<'_>) -> BTreeMap<Arc<str>, Partitions> {
    let mut assignment: BTreeMap<Arc<str>, Partitions> =
        members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    let mut alike: BTreeMap<(i32, Vec<&Arc<str>>), Vec<_>> = BTreeMap::new();
    for (topic, subscribers) in subscribers(members, topics) {
        alike.entry((topics[&topic].partitions, subscribers)).or_default().push(topic);
    }
    for ((count, subscribers), together) in alike {
        let racks: Vec<_> = subscribers.iter().map(|id| members[*id].rack.as_deref()).collect();
        let units = (0..count).map(|index| together.iter().map(|topic| topics[topic].racks_of(index)).collect());
        let owners = racks::ranges(&racks, &units.collect::<Vec<_>>());
        for (index, owner) in (0..).zip(owners) {
            let partitions = assignment.get_mut(subscribers[owner]).expect("a subscriber is a member");
            for topic in &together {
                partitions.entry(*topic).or_default().insert(index);
            }
        }
    }
    assignment
}
