//! Even, and sticky (KIP-54): what members own stays where it is, what nobody owns goes to those who have least, and
//! then single partitions move from those who have more to those who may have them and have at least two less.
//!
//! Each move makes the sum of the squares of the loads smaller, so it ends. Where everybody reads everything no
//! assignment that is as even moves less, but for what moves to be nearer to its reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::racks::{Racks, bring_nearer};
use crate::types::TopicPartition;

use super::{Candidate, Plan, Topics, empty, in_order, wanted};

pub(super) fn assign(members: &[Candidate], topics: &Topics) -> Plan {
    let mut plan = empty(members);
    let order = in_order(members);
    let claims = claims(&order);
    let mut free = Vec::new();
    for partition in wanted(members, topics) {
        let owner = claims.get(&partition).copied().flatten();
        match owner.filter(|owner| owner.topics.contains(&partition.topic)) {
            Some(owner) => {
                give(&mut plan, owner, partition);
            }
            None => free.push(partition),
        }
    }
    for partition in free {
        let readers = order.iter().filter(|member| member.topics.contains(&partition.topic));
        let least = readers.min_by_key(|member| plan[&member.id].len());
        give(&mut plan, least.expect("somebody is subscribed to what is wanted"), partition);
    }
    while level(&order, &mut plan) || settle_racks(&order, topics, &mut plan) {}
    plan
}

/// Swaps and moves partitions so that more of them are read in their own racks. Whether there was one.
fn settle_racks(order: &[&Candidate], topics: &Topics, plan: &mut Plan) -> bool {
    if order.iter().all(|member| member.rack.is_none()) || topics.values().all(|topic| topic.racks.is_empty()) {
        return false;
    }
    let owned = order.iter().enumerate().flat_map(|(place, member)| plan[&member.id].iter().map(move |it| (it, place)));
    let mut owned: Vec<(TopicPartition, usize)> = owned.map(|(partition, place)| (partition.clone(), place)).collect();
    // What has just moved may as well move once more.
    owned.sort_by_key(|(partition, place)| !order[*place].owned.contains(partition));
    // Where everybody reads everything, topics are alike.
    let differ = order.iter().any(|member| member.topics != order[0].topics);
    let kind = |(it, _): &(TopicPartition, usize)| {
        (differ.then(|| it.topic.clone()), topics[&it.topic].racks_of(it.partition).clone())
    };
    let units: Vec<(Option<Arc<str>>, Racks)> = owned.iter().map(kind).collect();
    let members: Vec<_> = order.iter().map(|member| (member.rack.as_deref(), &member.topics)).collect();
    let mut owners: Vec<usize> = owned.iter().map(|(_, place)| *place).collect();
    let any = bring_nearer(&mut owners, &members, &units, |(rack, reads), (topic, racks)| {
        let may = topic.as_ref().is_none_or(|topic| reads.contains(topic));
        may.then(|| usize::from(rack.is_some_and(|rack| racks.contains(rack))))
    });
    for ((partition, before), now) in owned.into_iter().zip(owners) {
        if before != now {
            plan.get_mut(&order[before].id).expect("every member is in the plan").remove(&partition);
            give(plan, order[now], partition);
        }
    }
    any
}

/// Whose each partition is: of those who say that it is theirs the one of the latest generation; nobody's if two of
/// that generation say so, for then one of them is wrong.
fn claims<'a>(members: &[&'a Candidate]) -> BTreeMap<&'a TopicPartition, Option<&'a Candidate>> {
    let mut claims: BTreeMap<&TopicPartition, (i32, Option<&Candidate>)> = BTreeMap::new();
    for &member in members {
        for partition in &member.owned {
            let claim = claims.entry(partition).or_insert((i32::MIN, None));
            match member.generation.cmp(&claim.0) {
                std::cmp::Ordering::Greater => *claim = (member.generation, Some(member)),
                std::cmp::Ordering::Equal => claim.1 = None,
                std::cmp::Ordering::Less => {}
            }
        }
    }
    claims.into_iter().map(|(partition, (_, owner))| (partition, owner)).collect()
}

/// Moves one partition to a member who has least of all that somebody can give to. Whether there was one.
fn level(order: &[&Candidate], plan: &mut Plan) -> bool {
    let mut poorest = order.to_vec();
    poorest.sort_by_key(|member| plan[&member.id].len());
    for taker in &poorest {
        let least = plan[&taker.id].len();
        let richest = poorest.iter().rev().take_while(|giver| plan[&giver.id].len() > least + 1);
        let found = richest.filter_map(|giver| Some((giver, surplus(giver, taker, plan)?))).next();
        if let Some((giver, partition)) = found {
            plan.get_mut(&giver.id).expect("every member is in the plan").remove(&partition);
            return give(plan, taker, partition);
        }
    }
    false
}

/// What `giver` has that `taker` may have; rather something that `giver` did not own before.
fn surplus(giver: &Candidate, taker: &Candidate, plan: &Plan) -> Option<TopicPartition> {
    let fit = || plan[&giver.id].iter().rev().filter(|it| taker.topics.contains(&it.topic));
    fit().find(|it| !giver.owned.contains(it)).or_else(|| fit().next()).cloned()
}

fn give(plan: &mut Plan, member: &Candidate, partition: TopicPartition) -> bool {
    plan.get_mut(&member.id).expect("every member is in the plan").insert(partition)
}
