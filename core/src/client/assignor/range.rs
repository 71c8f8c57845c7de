//! Of each topic a range of partitions for each member; the first members have one more if it does not come out even.

use crate::types::TopicPartition;

use super::{Candidate, Plan, Topics, empty, in_order};

pub(super) fn assign(members: &[Candidate], topics: &Topics) -> Plan {
    let mut plan = empty(members);
    let members = in_order(members);
    for (topic, &count) in topics {
        let subscribed: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        let Ok(readers) = i32::try_from(subscribed.len()) else { continue };
        if readers == 0 {
            continue;
        }
        let (each, more) = (count / readers, count % readers);
        let mut next = 0;
        for (place, member) in (0..).zip(subscribed) {
            let end = next + each + i32::from(place < more);
            let range = (next..end).map(|index| TopicPartition::new(topic.clone(), index));
            plan.get_mut(&member.id).expect("every member is in the plan").extend(range);
            next = end;
        }
    }
    plan
}
