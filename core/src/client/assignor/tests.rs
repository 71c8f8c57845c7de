//! What every assignor promises, over drawn groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Candidate, Plan, Strategy as Assignor, Topic, Topics, cooperative, sticky};
use crate::types::TopicPartition;

const ALL: [Assignor; 4] = [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

fn topic(number: usize) -> Arc<str> {
    format!("t{number}").into()
}

fn id(number: usize) -> Box<str> {
    format!("m{number}").into()
}

fn t(index: i32) -> TopicPartition {
    TopicPartition::new("t0", index)
}

/// The topics of each member, and how many partitions each topic has.
fn group() -> impl Strategy<Value = (Vec<BTreeSet<usize>>, Vec<i32>)> {
    (prop::collection::vec(prop::collection::btree_set(0..4_usize, 0..4), 0..7), prop::collection::vec(0..9_i32, 0..5))
}

fn topics(counts: &[i32]) -> Topics {
    let of_topic = |(number, &partitions)| (topic(number), Topic { partitions, racks: BTreeMap::new() });
    counts.iter().enumerate().map(of_topic).collect()
}

/// Topics whose partitions have replicas in racks, and members in racks, by their numbers and those of partitions.
fn with_racks(members: &mut [Candidate], topics: &mut Topics, seed: u64) {
    let rack = |number: u64| format!("r{}", number % 3);
    for (number, member) in (0..).zip(members) {
        member.rack = (number != 2).then(|| rack(number + seed).into());
    }
    for (number, topic) in (0..).zip(topics.values_mut()) {
        let racks = |index: i32| [rack(u64::from(index.unsigned_abs()) + number + seed / 3), rack(seed)];
        topic.racks = (0..topic.partitions).map(|it| (it, racks(it).map(Arc::from).into())).collect();
    }
}

/// Members that own what a plan gave them in a generation.
fn candidates(subscriptions: &[BTreeSet<usize>], before: &Plan, generation: i32) -> Vec<Candidate> {
    let member = |(number, topics): (usize, &BTreeSet<usize>)| Candidate {
        id: id(number),
        instance_id: None,
        topics: topics.iter().map(|&number| topic(number)).collect(),
        owned: before.get(&id(number)).cloned().unwrap_or_default(),
        generation,
        rack: None,
    };
    subscriptions.iter().enumerate().map(member).collect()
}

fn everybody_reads(count: usize, topics: usize) -> Vec<BTreeSet<usize>> {
    vec![(0..topics).collect(); count]
}

fn check_owners(members: &[Candidate], topics: &Topics, plan: &Plan) -> BTreeSet<TopicPartition> {
    assert_eq!(plan.len(), members.len(), "every member is in it");
    let mut owned = BTreeSet::new();
    for member in members {
        for partition in &plan[&member.id] {
            assert!(member.topics.contains(&partition.topic), "{} has not asked for {partition}", member.id);
            assert!((0..topics[&partition.topic].partitions).contains(&partition.partition), "there is no {partition}");
            assert!(owned.insert(partition.clone()), "{partition} has two owners");
        }
    }
    owned
}

fn wanted(members: &[Candidate], topics: &Topics) -> BTreeSet<TopicPartition> {
    super::wanted(members, topics).into_iter().collect()
}

fn loads(plan: &Plan) -> Vec<usize> {
    plan.values().map(BTreeSet::len).collect()
}

/// How many partitions have another owner than before.
fn moved(before: &Plan, after: &Plan) -> usize {
    let kept = after.iter().map(|(id, has)| before.get(id).map_or(0, |had| has.intersection(had).count()));
    loads(after).iter().sum::<usize>() - kept.sum::<usize>()
}

proptest! {
    #[test]
    fn every_partition_has_one_owner_who_asked_for_it(
        (first, counts) in group(),
        (second, more) in group(),
        seed in prop::option::of(0..9_u64),
    ) {
        for assignor in ALL {
            let (mut members, mut topics_then) = (candidates(&first, &Plan::new(), -1), topics(&counts));
            if let Some(seed) = seed {
                with_racks(&mut members, &mut topics_then, seed);
            }
            let before = assignor.assign(&members, &topics_then);
            prop_assert_eq!(check_owners(&members, &topics_then, &before), wanted(&members, &topics_then));
            // Members come, go and change their minds; topics grow, come and go.
            let (mut members, mut topics_now) = (candidates(&second, &before, 1), topics(&more));
            if let Some(seed) = seed {
                with_racks(&mut members, &mut topics_now, seed + 1);
            }
            let after = assignor.assign(&members, &topics_now);
            let owned = check_owners(&members, &topics_now, &after);
            if !assignor.is_cooperative() {
                prop_assert_eq!(owned, wanted(&members, &topics_now));
            }
        }
    }

    #[test]
    fn members_in_any_order_get_the_same((subscriptions, counts) in group(), turns in 0..7_usize) {
        let mut members = candidates(&subscriptions, &Plan::new(), -1);
        let topics = topics(&counts);
        let plans = ALL.map(|assignor| assignor.assign(&members, &topics));
        if !members.is_empty() {
            let turns = turns % members.len();
            members.rotate_left(turns);
        }
        prop_assert_eq!(ALL.map(|assignor| assignor.assign(&members, &topics)), plans);
    }

    #[test]
    fn where_everybody_reads_everything_it_is_even_and_no_more_moves_than_must(
        count in 1..9_usize,
        later in 1..9_usize,
        counts in prop::collection::vec(0..9_i32, 1..5),
    ) {
        let topics = topics(&counts);
        let total: usize = counts.iter().map(|&it| usize::try_from(it).unwrap()).sum();
        let before = sticky::assign(&candidates(&everybody_reads(count, counts.len()), &Plan::new(), -1), &topics);
        let after = sticky::assign(&candidates(&everybody_reads(later, counts.len()), &before, 1), &topics);
        for plan in [&before, &after] {
            let loads = loads(plan);
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
        }
        // Those who come take what they are to have; those who go leave what they had. No more than that moves.
        let of_first = |plan: &Plan, members: usize| {
            (0..members).map(|number| plan[&id(number)].len()).sum::<usize>()
        };
        let least = if later > count { total - of_first(&after, count) } else { total - of_first(&before, later) };
        prop_assert_eq!(moved(&before, &after), least);
    }

    #[test]
    fn round_robin_is_even_where_everybody_reads_everything(count in 1..9_usize, counts in
        prop::collection::vec(0..9_i32, 1..5)) {
        let members = candidates(&everybody_reads(count, counts.len()), &Plan::new(), -1);
        let loads = loads(&Assignor::RoundRobin.assign(&members, &topics(&counts)));
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    }

    #[test]
    fn range_is_even_in_each_topic((subscriptions, counts) in group()) {
        let (members, topics) = (candidates(&subscriptions, &Plan::new(), -1), topics(&counts));
        let plan = Assignor::Range.assign(&members, &topics);
        for topic in topics.keys() {
            let readers = members.iter().filter(|member| member.topics.contains(topic));
            let loads: Vec<_> =
                readers.map(|it| plan[&it.id].iter().filter(|it| it.topic == *topic).count()).collect();
            prop_assert!(loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1, "{loads:?}");
        }
    }

    #[test]
    fn nobody_has_two_more_than_somebody_to_whom_he_could_give((first, counts) in group(), (second, more) in group()) {
        let before = sticky::assign(&candidates(&first, &Plan::new(), -1), &topics(&counts));
        let (members, topics) = (candidates(&second, &before, 1), topics(&more));
        let plan = sticky::assign(&members, &topics);
        for taker in &members {
            for (giver, has) in &plan {
                let could_give = has.iter().any(|partition| taker.topics.contains(&partition.topic));
                let even = has.len() <= plan[&taker.id].len() + 1;
                prop_assert!(!could_give || even, "{giver} could give to {}", taker.id);
            }
        }
    }

    #[test]
    fn what_is_settled_stays((subscriptions, counts) in group(), seed in prop::option::of(0..9_u64)) {
        let mut topics = topics(&counts);
        let mut members = candidates(&subscriptions, &Plan::new(), -1);
        if let Some(seed) = seed {
            with_racks(&mut members, &mut topics, seed);
        }
        let before = sticky::assign(&members, &topics);
        let mut members = candidates(&subscriptions, &before, 1);
        if let Some(seed) = seed {
            with_racks(&mut members, &mut topics, seed);
        }
        prop_assert_eq!(&sticky::assign(&members, &topics), &before);
        prop_assert_eq!(&cooperative::assign(&members, &topics), &before);
    }

    /// The rounds of a cooperative rebalance: who gives up what he was not given joins again.
    #[test]
    fn a_cooperative_rebalance_ends_and_nobody_owns_what_another_has_not_given_up(
        (first, counts) in group(),
        (second, more) in group(),
    ) {
        let mut owned = sticky::assign(&candidates(&first, &Plan::new(), -1), &topics(&counts));
        let topics = topics(&more);
        let live: BTreeMap<_, _> = (0..second.len()).map(|number| (id(number), ())).collect();
        owned.retain(|id, _| live.contains_key(id));
        for round in 1.. {
            prop_assert!(round <= 3, "it has not ended after two rounds");
            let members = candidates(&second, &owned, round);
            let plan = cooperative::assign(&members, &topics);
            for member in &members {
                let added = plan[&member.id].difference(&member.owned);
                for partition in added {
                    let other = members.iter().find(|other| other.owned.contains(partition));
                    prop_assert!(other.is_none(), "{partition} is another's");
                }
            }
            let given_up = members.iter().any(|member| !member.owned.is_subset(&plan[&member.id]));
            owned = plan;
            if !given_up {
                prop_assert_eq!(check_owners(&members, &topics, &owned), wanted(&members, &topics));
                break;
            }
        }
    }
}

#[test]
fn a_claim_of_an_older_generation_counts_for_nothing_and_two_of_one_neither() {
    let member = |number, owned: &[i32], generation| Candidate {
        owned: owned.iter().map(|&index| t(index)).collect(),
        generation,
        ..candidates(&everybody_reads(number + 1, 1), &Plan::new(), -1).remove(number)
    };
    let topics = topics(&[4]);
    let plan = sticky::assign(&[member(0, &[0, 1], 3), member(1, &[0, 1], 4)], &topics);
    assert_eq!((&plan[&id(0)], &plan[&id(1)]), (&[t(2), t(3)].into(), &[t(0), t(1)].into()));
    let plan = sticky::assign(&[member(0, &[0, 1, 2], 3), member(1, &[3, 1, 2], 3)], &topics);
    assert!(plan[&id(0)].contains(&t(0)) && plan[&id(1)].contains(&t(3)), "{plan:?}");
    let plan = cooperative::assign(&[member(0, &[0, 1, 2], 3), member(1, &[3, 1, 2], 3)], &topics);
    let given: usize = loads(&plan).iter().sum();
    assert_eq!(given, 2, "what both say is theirs both give up first: {plan:?}");
}

#[test]
fn a_static_member_keeps_its_range_under_another_id() {
    let mut members = candidates(&everybody_reads(2, 1), &Plan::new(), -1);
    members[1].instance_id = Some("i".into());
    let plan = Assignor::Range.assign(&members, &topics(&[4]));
    assert_eq!(plan[&id(1)], [t(0), t(1)].into());
}

#[test]
fn names_are_those_of_the_wire() {
    for assignor in ALL {
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::from_name("uniform"), None);
}

/// A topic of which partition `n` has its replicas in the racks `racks[n]`.
fn placed(racks: &[&[&str]]) -> Topic {
    let of = |names: &&[&str]| names.iter().map(|&name| name.into()).collect();
    let partitions = i32::try_from(racks.len()).unwrap();
    Topic { partitions, racks: (0..).zip(racks.iter().map(of)).collect() }
}

fn near(member: &Candidate, topics: &Topics, plan: &Plan) -> usize {
    let rack = member.rack.as_deref().unwrap();
    plan[&member.id].iter().filter(|it| topics[&it.topic].racks[&it.partition].contains(rack)).count()
}

#[test]
fn members_read_in_their_own_racks_and_as_evenly_as_before() {
    let mut members = candidates(&everybody_reads(3, 2), &Plan::new(), -1);
    for (member, rack) in members.iter_mut().zip(["c", "a", "b"]) {
        member.rack = Some(rack.into());
    }
    let racks: [&[&str]; 6] = [&["a", "b"], &["b", "c"], &["c", "a"], &["a", "b"], &["b", "c"], &["c", "a"]];
    let topics = Topics::from([(topic(0), placed(&racks)), (topic(1), placed(&racks))]);
    for assignor in [Assignor::Range, Assignor::Sticky, Assignor::CooperativeSticky] {
        let plan = assignor.assign(&members, &topics);
        assert_eq!(loads(&plan), [4; 3]);
        assert!(members.iter().all(|it| near(it, &topics, &plan) == 4), "{assignor:?}: {plan:?}");
    }
    let plan = Assignor::Range.assign(&members, &topics);
    for has in plan.values() {
        let of = |number| has.iter().filter(|it| it.topic == topic(number)).map(|it| it.partition).collect::<Vec<_>>();
        assert_eq!(of(0), of(1), "who joins topics has the same partitions of each");
    }
}

#[test]
fn a_replica_that_moves_takes_its_reader_along_and_nobody_else() {
    let mut members = candidates(&everybody_reads(2, 1), &Plan::new(), -1);
    (members[0].rack, members[1].rack) = (Some("a".into()), Some("b".into()));
    let topics = Topics::from([(topic(0), placed(&[&["a"], &["a"], &["b"], &["b"]]))]);
    let before = Assignor::Sticky.assign(&members, &topics);
    assert_eq!((&before[&id(0)], &before[&id(1)]), (&[t(0), t(1)].into(), &[t(2), t(3)].into()));
    members.iter_mut().for_each(|member| {
        member.owned = before[&member.id].clone();
        member.generation = 1;
    });
    let topics = Topics::from([(topic(0), placed(&[&["a"], &["b"], &["b"], &["a"]]))]);
    let after = Assignor::Sticky.assign(&members, &topics);
    assert_eq!((&after[&id(0)], &after[&id(1)]), (&[t(0), t(3)].into(), &[t(1), t(2)].into()));
}
