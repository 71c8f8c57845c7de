//! As many partitions for one as for another, and as few as possible move.
//!
//! Everyone keeps what it has and may have. What nobody has goes to the subscriber with the least. Then, as long as one
//! has two partitions more than another who could have one of them, one moves. Each such move makes the squares of the
//! loads smaller in sum, so it comes to an end. Where everyone reads everything, no load then differs from another by
//! more than one, and nothing has moved that need not, but for what moves to be nearer to its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::Uuid;

use super::{Partitions, Subscribers, Topics, subscribers};
use crate::racks::{Racks, bring_nearer};

pub(super) fn assign(members: &Subscribers, topics: &Topics<'_>) -> BTreeMap<Arc<str>, Partitions> {
    let mut of_topics: Vec<(Uuid, Vec<&Arc<str>>)> = subscribers(members, topics).into_iter().collect();
    // Those that fewest can have come first: the others even out what is uneven by then.
    of_topics.sort_by_key(|(topic, subscribers)| (subscribers.len(), *topic));
    let mut shares = Shares::keep(members, topics);
    for (topic, subscribers) in &of_topics {
        shares.hand_out(*topic, topics[topic].partitions, subscribers);
    }
    let mut moved = true;
    while moved {
        moved = false;
        for (topic, subscribers) in &of_topics {
            moved |= shares.even_out(*topic, subscribers);
        }
        moved = moved || shares.bring_nearer(members, topics);
    }
    shares.partitions
}

struct Shares {
    partitions: BTreeMap<Arc<str>, Partitions>,
    loads: BTreeMap<Arc<str>, usize>,
    owned: BTreeSet<(Uuid, i32)>,
}

impl Shares {
    /// What members have and may still have. Of two who have the same partition, the first keeps it.
    fn keep(members: &Subscribers, topics: &Topics<'_>) -> Self {
        let mut shares = Self { partitions: BTreeMap::new(), loads: BTreeMap::new(), owned: BTreeSet::new() };
        for (id, member) in members {
            let mut kept = Partitions::new();
            for (topic, partitions) in member.assigned.iter().filter(|(topic, _)| member.topics.contains(topic)) {
                let exists =
                    |partition: &&i32| topics.get(topic).is_some_and(|it| (0..it.partitions).contains(partition));
                for &partition in partitions.iter().filter(exists) {
                    if shares.owned.insert((*topic, partition)) {
                        kept.entry(*topic).or_default().insert(partition);
                    }
                }
            }
            shares.loads.insert(id.clone(), kept.values().map(BTreeSet::len).sum());
            shares.partitions.insert(id.clone(), kept);
        }
        shares
    }

    /// Gives each partition that nobody has to the one with the least.
    fn hand_out(&mut self, topic: Uuid, count: i32, subscribers: &[&Arc<str>]) {
        let mut poorest: BTreeSet<(usize, usize)> =
            subscribers.iter().enumerate().map(|(place, id)| (self.loads[*id], place)).collect();
        for partition in 0..count {
            if self.owned.insert((topic, partition)) {
                let (load, place) = poorest.pop_first().expect("a subscribed topic has a subscriber");
                self.give(subscribers[place], topic, partition);
                poorest.insert((load + 1, place));
            }
        }
    }

    /// Moves partitions of a topic from those with the most to those with the least; whether any has moved.
    fn even_out(&mut self, topic: Uuid, subscribers: &[&Arc<str>]) -> bool {
        let mut moved = false;
        loop {
            let owners = subscribers.iter().filter(|id| self.partitions[**id].contains_key(&topic));
            let richest = owners.max_by_key(|id| self.loads[**id]);
            let poorest = subscribers.iter().min_by_key(|id| self.loads[**id]);
            let (Some(&richest), Some(&poorest)) = (richest, poorest) else { return moved };
            if self.loads[richest] < self.loads[poorest] + 2 {
                return moved;
            }
            let partition = self.take(richest, topic);
            self.give(poorest, topic, partition);
            moved = true;
        }
    }

    /// Swaps and moves partitions so that more of them are read in their own racks; whether any has moved.
    fn bring_nearer(&mut self, members: &Subscribers, topics: &Topics<'_>) -> bool {
        if members.values().all(|it| it.rack.is_none()) || topics.values().all(|it| it.racks.is_empty()) {
            return false;
        }
        let mut owned: Vec<(Uuid, i32, usize, bool)> = Vec::new();
        for (place, (id, member)) in members.iter().enumerate() {
            for (topic, partitions) in &self.partitions[id] {
                let had = member.assigned.get(topic);
                let is_new = |index: i32| had.is_none_or(|had| !had.contains(&index));
                owned.extend(partitions.iter().map(|&index| (*topic, index, place, is_new(index))));
            }
        }
        // What has just moved may as well move once more.
        owned.sort_by_key(|(.., is_new)| *is_new);
        // Where everyone reads everything, topics are alike.
        let differ = members.values().zip(members.values().skip(1)).any(|(one, next)| one.topics != next.topics);
        let kind =
            |(topic, index, ..): &(Uuid, i32, usize, bool)| (differ.then_some(*topic), topics[topic].racks_of(*index));
        let units: Vec<(Option<Uuid>, &Racks)> = owned.iter().map(kind).collect();
        let readers: Vec<_> = members.values().map(|it| (it.rack.as_deref(), &it.topics)).collect();
        let mut owners: Vec<usize> = owned.iter().map(|(_, _, place, _)| *place).collect();
        let any = bring_nearer(&mut owners, &readers, &units, |(rack, reads), (topic, racks)| {
            let may = topic.as_ref().is_none_or(|topic| reads.contains(topic));
            may.then(|| usize::from(rack.is_some_and(|rack| racks.contains(rack))))
        });
        let ids: Vec<&Arc<str>> = members.keys().collect();
        for ((topic, index, before, _), now) in owned.into_iter().zip(owners) {
            if before != now {
                self.take_one(ids[before], topic, index);
                self.give(ids[now], topic, index);
            }
        }
        any
    }

    fn give(&mut self, member: &Arc<str>, topic: Uuid, partition: i32) {
        let partitions = self.partitions.get_mut(member).expect("a subscriber is a member");
        partitions.entry(topic).or_default().insert(partition);
        *self.loads.get_mut(member).expect("a subscriber is a member") += 1;
    }

    fn take(&mut self, member: &Arc<str>, topic: Uuid) -> i32 {
        let last = *self.partitions[member][&topic].last().expect("a topic without partitions is not there");
        self.take_one(member, topic, last);
        last
    }

    fn take_one(&mut self, member: &Arc<str>, topic: Uuid, partition: i32) {
        let partitions = self.partitions.get_mut(member).expect("a subscriber is a member");
        let of_topic = partitions.get_mut(&topic).expect("it owns one of the topic");
        of_topic.remove(&partition);
        if of_topic.is_empty() {
            partitions.remove(&topic);
        }
        *self.loads.get_mut(member).expect("a subscriber is a member") -= 1;
    }
}
