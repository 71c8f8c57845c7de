//! Of each topic each subscriber has a range, in the order of members; the first have one partition more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Partitions, Subscribers, Topics, subscribers};

pub(super) fn assign(members: &Subscribers, topics: &Topics) -> BTreeMap<Arc<str>, Partitions> {
    let mut assignment: BTreeMap<Arc<str>, Partitions> =
        members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    for (topic, subscribers) in subscribers(members, topics) {
        let count = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        let (share, left) = (topics[&topic] / count, topics[&topic] % count);
        let mut next = 0;
        for (place, member) in (0..).zip(subscribers) {
            let end = next + share + i32::from(place < left);
            if end > next {
                let partitions = assignment.get_mut(member).expect("a subscriber is a member");
                partitions.insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    assignment
}
