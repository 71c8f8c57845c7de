//! Who is to read what, decided here instead of by a member (KIP-848).
//!
//! An assignment is legal if each partition of each subscribed topic has exactly one owner, who is subscribed to its
//! topic. Both assignors give legal ones, from the same members and topics the same one.
//!
//! * `uniform`: as many partitions for one as for another, as far as subscriptions allow, and as few as possible move;
//! * `range`: of each topic a range, the same one of topics with equally many partitions, so that they can be joined.
//!
//! Where members and brokers say in which racks they are, both then bring partitions nearer to their readers, as those
//! of the Java client do (KIP-881): they stay as even, and what goes together does so still. Kafka's own coordinator
//! knows the racks and leaves them alone.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::Uuid;

use crate::racks::Racks;

/// Partitions by topic; a topic without any is not there.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// How target assignments are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// Even, and sticky.
    Uniform,
    /// Ranges, alike for topics that are alike.
    Range,
}

/// What an assignor is told of a member.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// The order of members is that of their instances, so that it outlives a restart.
    pub instance_id: Option<Arc<str>>,
    /// The topics that it wants to read.
    pub topics: BTreeSet<Uuid>,
    /// Its last target assignment.
    pub assigned: Partitions,
    /// Where it is, if it says so.
    pub rack: Option<Arc<str>>,
}

/// What an assignor is told of a topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape<'a> {
    /// How many partitions it has.
    pub partitions: i32,
    /// In which racks the replicas of each are; none, where nobody says so.
    pub racks: &'a [Racks],
}

/// The members, by id.
pub type Subscribers = BTreeMap<Arc<str>, Subscriber>;

/// The topics, by id.
pub type Topics<'a> = BTreeMap<Uuid, Shape<'a>>;

impl Assignor {
    /// By its name in requests and in `group.consumer.assignors`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name in requests and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Each member's partitions; every member is in it.
    #[must_use]
    pub fn assign(self, members: &Subscribers, topics: &Topics<'_>) -> BTreeMap<Arc<str>, Partitions> {
        match self {
            Self::Uniform => uniform::assign(members, topics),
            Self::Range => range::assign(members, topics),
        }
    }
}

impl<'a> Shape<'a> {
    /// Where the replicas of a partition are.
    fn racks_of(&self, partition: i32) -> &'a Racks {
        static NOWHERE: Racks = Racks::new();
        usize::try_from(partition).ok().and_then(|place| self.racks.get(place)).unwrap_or(&NOWHERE)
    }
}

/// The members of each topic that exists, in the order of members.
fn subscribers<'a>(members: &'a Subscribers, topics: &Topics<'_>) -> BTreeMap<Uuid, Vec<&'a Arc<str>>> {
    let mut order: Vec<_> = members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id.as_ref(), *id));
    let mut of_topics: BTreeMap<Uuid, Vec<&Arc<str>>> = BTreeMap::new();
    for (id, member) in order {
        for topic in member.topics.iter().filter(|topic| topics.contains_key(topic)) {
            of_topics.entry(*topic).or_default().push(id);
        }
    }
    of_topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: usize) -> Arc<str> {
        format!("m{number}").into()
    }

    /// Members with the topics that each is subscribed to, and how many partitions each topic has.
    fn group() -> impl Strategy<Value = (Vec<BTreeSet<usize>>, Vec<i32>)> {
        (
            prop::collection::vec(prop::collection::btree_set(0..4_usize, 0..4), 0..7),
            prop::collection::vec(0..9_i32, 0..5),
        )
    }

    fn spec(members: &[BTreeSet<usize>], before: &BTreeMap<Arc<str>, Partitions>) -> Subscribers {
        let member = |(number, topics): (usize, &BTreeSet<usize>)| {
            let topics = topics.iter().map(|topic| Uuid(*topic as u128)).collect();
            let assigned = before.get(&id(number)).cloned().unwrap_or_default();
            (id(number), Subscriber { topics, assigned, ..Subscriber::default() })
        };
        members.iter().enumerate().map(member).collect()
    }

    fn topics(partitions: &[i32]) -> Topics<'static> {
        let shape = |partitions: &i32| Shape { partitions: *partitions, racks: &[] };
        partitions.iter().enumerate().map(|(topic, count)| (Uuid(topic as u128), shape(count))).collect()
    }

    /// Racks of partitions, by their numbers, and members in racks.
    fn place(members: &mut Subscribers, seed: usize) -> Vec<Racks> {
        let rack = |number: usize| Arc::from(format!("r{}", number % 3));
        for (number, member) in members.values_mut().enumerate() {
            member.rack = (number != 2).then(|| rack(number + seed));
        }
        (0..9).map(|index| Racks::from([rack(index + seed / 3), rack(seed)])).collect()
    }

    fn load(partitions: &Partitions) -> usize {
        partitions.values().map(BTreeSet::len).sum()
    }

    fn check_legal(members: &Subscribers, topics: &Topics<'_>, assignment: &BTreeMap<Arc<str>, Partitions>) {
        assert!(assignment.keys().eq(members.keys()));
        let mut owned = BTreeSet::new();
        for (member, partitions) in assignment {
            for (topic, partitions) in partitions {
                assert!(members[member].topics.contains(topic), "{member} has not asked for {topic}");
                assert!(!partitions.is_empty());
                for partition in partitions {
                    assert!((0..topics[topic].partitions).contains(partition));
                    assert!(owned.insert((*topic, *partition)), "{topic}-{partition} has two owners");
                }
            }
        }
        let wanted = topics.iter().filter(|(topic, _)| members.values().any(|it| it.topics.contains(topic)));
        let wanted: usize = wanted.map(|(_, it)| usize::try_from(it.partitions).unwrap()).sum();
        assert_eq!(owned.len(), wanted, "a partition has no owner");
    }

    fn moved(before: &BTreeMap<Arc<str>, Partitions>, after: &BTreeMap<Arc<str>, Partitions>) -> usize {
        let kept = |member: &Arc<str>, topic: &Uuid| {
            let partitions = before.get(member).and_then(|it| it.get(topic)).cloned().unwrap_or_default();
            after[member].get(topic).map_or(0, |it| it.intersection(&partitions).count())
        };
        let all: usize = after.values().map(load).sum();
        let kept: usize = after.iter().flat_map(|(id, it)| it.keys().map(move |topic| kept(id, topic))).sum();
        all - kept
    }

    proptest! {
        #[test]
        fn assignments_are_legal_and_the_same_again((members, partitions) in group(), (others, more) in group()) {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let (first, first_topics) = (spec(&members, &BTreeMap::new()), topics(&partitions));
                let before = assignor.assign(&first, &first_topics);
                check_legal(&first, &first_topics, &before);
                prop_assert_eq!(&assignor.assign(&spec(&members, &before), &first_topics), &before, "it settles");
                // Members come and go and change their minds; topics grow, come and go.
                let (second, second_topics) = (spec(&others, &before), topics(&more));
                check_legal(&second, &second_topics, &assignor.assign(&second, &second_topics));
            }
        }

        #[test]
        fn with_racks_too_assignments_are_legal_and_the_same_again(
            (members, partitions) in group(),
            (others, more) in group(),
            seed in 0..9_usize,
        ) {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let mut first = spec(&members, &BTreeMap::new());
                let racks = place(&mut first, seed);
                let mut first_topics = topics(&partitions);
                first_topics.values_mut().for_each(|it| it.racks = &racks);
                let before = assignor.assign(&first, &first_topics);
                check_legal(&first, &first_topics, &before);
                let mut again = spec(&members, &before);
                place(&mut again, seed);
                prop_assert_eq!(&assignor.assign(&again, &first_topics), &before, "it settles");
                let mut second = spec(&others, &before);
                let racks = place(&mut second, seed + 1);
                let mut second_topics = topics(&more);
                second_topics.values_mut().for_each(|it| it.racks = &racks);
                check_legal(&second, &second_topics, &assignor.assign(&second, &second_topics));
            }
        }

        #[test]
        fn uniform_is_even_where_everyone_reads_everything(count in 1..9_usize, later in 1..9_usize, partitions in
            prop::collection::vec(0..9_i32, 1..5)) {
            let all: BTreeSet<usize> = (0..partitions.len()).collect();
            let topics = topics(&partitions);
            let total: usize = partitions.iter().map(|it| usize::try_from(*it).unwrap()).sum();
            let before = Assignor::Uniform.assign(&spec(&vec![all.clone(); count], &BTreeMap::new()), &topics);
            let after = Assignor::Uniform.assign(&spec(&vec![all; later], &before), &topics);
            let loads: Vec<usize> = after.values().map(load).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
            // Those who come take what they are to have; those who go leave what they had. No more than that moves.
            let quota = |members: usize, of: usize| of * (total / members) + of.min(total % members);
            let least = if later > count { total - quota(later, count) } else { total - quota(count, later) };
            prop_assert_eq!(moved(&before, &after), least);
        }

        #[test]
        fn uniform_takes_from_nobody_for_somebody_who_has_as_much((members, partitions) in group()) {
            let (members, topics) = (spec(&members, &BTreeMap::new()), topics(&partitions));
            let assignment = Assignor::Uniform.assign(&members, &topics);
            for (one, has) in &assignment {
                for (other, may) in &members {
                    let could_give = has.keys().any(|topic| may.topics.contains(topic));
                    let is_even = load(has) <= load(&assignment[other]) + 1;
                    prop_assert!(!could_give || is_even, "{one} could give to {other}");
                }
            }
        }
    }

    #[test]
    fn range_gives_the_same_range_of_topics_that_are_alike() {
        let members = spec(&[BTreeSet::from([0, 1]), BTreeSet::from([0, 1])], &BTreeMap::new());
        let assignment = Assignor::Range.assign(&members, &topics(&[5, 5]));
        for topic in [Uuid(0), Uuid(1)] {
            assert_eq!(assignment[&id(0)][&topic], BTreeSet::from([0, 1, 2]));
            assert_eq!(assignment[&id(1)][&topic], BTreeSet::from([3, 4]));
        }
    }

    #[test]
    fn a_static_member_keeps_its_range_under_another_id() {
        let mut members = spec(&[BTreeSet::from([0]), BTreeSet::from([0])], &BTreeMap::new());
        members.get_mut(&id(1)).unwrap().instance_id = Some("i".into());
        let assignment = Assignor::Range.assign(&members, &topics(&[4]));
        assert_eq!(assignment[&id(1)][&Uuid(0)], BTreeSet::from([0, 1]));
    }
    #[test]
    fn members_read_in_their_own_racks_and_as_evenly_as_before() {
        let all: BTreeSet<usize> = [0, 1].into();
        let mut members = spec(&[all.clone(), all.clone(), all], &BTreeMap::new());
        for (member, rack) in members.values_mut().zip(["c", "a", "b"]) {
            member.rack = Some(rack.into());
        }
        let racks: Vec<Racks> = ["ab", "bc", "ca", "ab", "bc", "ca"]
            .iter()
            .map(|names| names.chars().map(|name| name.to_string().into()).collect())
            .collect();
        let mut topics = topics(&[6, 6]);
        topics.values_mut().for_each(|it| it.racks = &racks);
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let assignment = assignor.assign(&members, &topics);
            for (id, has) in &assignment {
                let rack = members[id].rack.as_deref().unwrap();
                let is_near = |index: &i32| racks[usize::try_from(*index).unwrap()].contains(rack);
                assert_eq!(load(has), 4);
                assert!(has.values().flatten().all(is_near), "{assignor:?}: {id} has {has:?}");
                assert!(assignor == Assignor::Uniform || has[&Uuid(0)] == has[&Uuid(1)]);
            }
        }
    }
}
