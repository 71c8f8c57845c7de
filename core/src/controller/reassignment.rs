//! Partitions that move to other brokers (KIP-455), and elections that an operator asks for (KIP-183, KIP-460).
//!
//! | state | replicas | adding | removing |
//! |---|---|---|---|
//! | at rest | the target | | |
//! | moving | the target, then who goes | who was not there | who goes |
//! | taken back | those before | | |
//!
//! A move is over when everyone who is added is in sync, and without who goes as many have all that is committed as
//! must (`min.insync.replicas`): then who goes, goes, in the same change. Nobody leaves before that, and a move is not
//! taken back or replaced that must be waited for, so it never makes the partition less safe than it was.

use ottla_wire::{ErrorCode, Uuid};

use super::Refused;
use super::image::{MetadataImage, PartitionImage, TopicImage};
use super::partitions::{Election, min_insync_replicas};
use super::records::{Change, PartitionDelta};
use crate::config::Config;
use crate::planted::Plant;
use crate::types::BrokerId;

/// Where a partition is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// Who is to have it; `None` takes a move back.
    pub replicas: Option<Vec<BrokerId>>,
}

/// Which leader an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the replicas, if it is in sync.
    Preferred,
    /// Anyone, though records are lost by it: who is in sync or eligible if somebody is.
    Unclean,
}

/// Begins to move a partition, or takes a move back.
///
/// # Errors
/// Kafka's codes.
pub fn reassign(
    image: &MetadataImage,
    config: &Config,
    wanted: &Reassignment,
    may_change_factor: bool,
) -> Result<Option<Change>, Refused> {
    let (topic, partition) = find(image, &wanted.topic, wanted.partition)?;
    let before = without(&partition.replicas, &partition.adding);
    let target = match &wanted.replicas {
        None if partition.adding.is_empty() && partition.removing.is_empty() => {
            return Err(refused(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS));
        }
        None => before.clone(),
        Some(target) => {
            check_target(image, target)?;
            // Of what is under way, that to which it leads.
            let factor = without(&partition.replicas, &partition.removing).len();
            if !may_change_factor && target.len() != factor {
                let why = format!(
                    "The replication factor is changed from {factor} to {}, which the request does not allow.",
                    target.len()
                );
                return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
            }
            target.clone()
        }
    };
    let (adding, removing) = (without(&target, &before), without(&before, &target));
    let mut next = partition.clone();
    next.replicas = target.iter().chain(&removing).copied().collect();
    (next.adding, next.removing) = (adding, removing);
    // Who was on its way in and is not wanted any more.
    next.isr.retain(|id| next.replicas.contains(id));
    next.elr.retain(|id| next.replicas.contains(id));
    let min_isr = min_insync_replicas(image, config, &topic.name);
    let needed = needed(config, min_isr, partition).min(next.replicas.len());
    if next.isr.is_empty() && !partition.isr.is_empty() || having(&next) < needed {
        let why = format!(
            "Of the replicas that are left {} would have all that is committed, and {needed} must: others on their \
             way in have it, too. Wait until more are in sync, or keep those.",
            having(&next)
        );
        return Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    }
    let (topic_id, joins) = (topic.id, !without(&next.replicas, &partition.replicas).is_empty());
    let delta = changed((image, config), min_isr, partition, finished(next, needed));
    let begun = delta.map(|delta| PartitionDelta { leader: delta.leader.or(begins_anew(partition, joins)), ..delta });
    Ok(begun.map(|delta| change(topic_id, wanted.partition, delta)))
}

/// Where somebody is added, the leader begins a new epoch. Who was here before and has not heard yet that it had to go
/// still fetches, with all that it has; it would be in sync by that, hear of its leaving, and begin with nothing.
pub(super) fn begins_anew(partition: &PartitionImage, joins: bool) -> Option<Option<BrokerId>> {
    (joins && partition.leader.is_some()).then_some(partition.leader)
}

/// How many replicas have all that is committed.
fn having(partition: &PartitionImage) -> usize {
    partition.isr.len() + without(&partition.elr, &partition.isr).len()
}

/// How many must have it at least after a change of who has the partition: as many as must be in sync, if they were
/// before. Kafka leaves one.
pub(super) fn needed(config: &Config, min_isr: usize, before: &PartitionImage) -> usize {
    let min_isr = if config.planted.has(Plant::Isr31) { 1 } else { min_isr };
    having(before).min(min_isr)
}

/// The partition with the move over, if everyone who is added is in sync, and `needed` are left.
pub(super) fn finished(partition: PartitionImage, needed: usize) -> PartitionImage {
    if partition.adding.is_empty() && partition.removing.is_empty() {
        return partition;
    }
    let left = |ids: &[BrokerId]| without(ids, &partition.removing);
    let (replicas, isr, elr) = (left(&partition.replicas), left(&partition.isr), left(&partition.elr));
    let needed = needed.min(replicas.len());
    let next = PartitionImage { replicas, isr, elr, adding: Vec::new(), removing: Vec::new(), ..partition.clone() };
    let are_in = partition.adding.iter().all(|id| partition.isr.contains(id));
    let is_over = are_in && !next.isr.is_empty() && having(&next) >= needed;
    if is_over { next } else { partition }
}

/// What makes `next` of the partition, with an election among those who have it then.
pub(super) fn changed(
    (image, config): (&MetadataImage, &Config),
    min_isr: usize,
    partition: &PartitionImage,
    mut next: PartitionImage,
) -> Option<PartitionDelta> {
    // Whoever leaves the ISR by this change has all that is committed, and stays eligible if too few are left.
    if !config.planted.has(Plant::Isr30) {
        next.elr.extend(without(&without(&partition.isr, &next.isr), &partition.elr));
    }
    // Each directory in its replica's new place: who is elected by it must not be lost.
    next.directories = directories(image, partition, &next.replicas);
    let election = Election::new(&next, min_isr, config.planted);
    let elected = election.decide(|id| image.is_active(id)).unwrap_or_default();
    let isr = elected.isr.clone().unwrap_or_else(|| next.isr.clone());
    let elr = elected.elr.clone().unwrap_or_else(|| next.elr.clone());
    let moved = next.replicas != partition.replicas;
    let delta = PartitionDelta {
        isr: (isr != partition.isr).then_some(isr),
        elr: (elr != partition.elr).then_some(elr),
        replicas: moved.then(|| next.replicas.clone()),
        directories: moved.then_some(next.directories),
        adding: (next.adding != partition.adding).then_some(next.adding),
        removing: (next.removing != partition.removing).then_some(next.removing),
        ..elected
    };
    (delta != PartitionDelta::default()).then_some(delta)
}

/// Each replica's directory: the one it had; for a new one its broker's, if that has one only (KIP-858).
pub(super) fn directories(image: &MetadataImage, partition: &PartitionImage, replicas: &[BrokerId]) -> Vec<Uuid> {
    let directory = |id: &BrokerId| {
        let place = partition.replicas.iter().position(|other| other == id);
        let known = place.and_then(|place| partition.directories.get(place)).copied();
        let only = || image.broker(*id).filter(|it| it.directories.len() == 1).map(|it| it.directories[0]);
        known.or_else(only).unwrap_or_default()
    };
    replicas.iter().map(directory).collect()
}

/// Elects a leader by an operator's word.
///
/// # Errors
/// Kafka's codes: there is no need, or nobody who could be elected.
pub fn elect(
    image: &MetadataImage,
    config: &Config,
    kind: ElectionType,
    (topic, index): (&str, i32),
) -> Result<Change, Refused> {
    let (topic, partition) = find(image, topic, index)?;
    let delta = match kind {
        ElectionType::Preferred => prefer(image, partition)?,
        ElectionType::Unclean => {
            let min_isr = min_insync_replicas(image, config, &topic.name);
            elect_uncleanly((image, config), partition, min_isr)?
        }
    };
    Ok(change(topic.id, index, delta))
}

/// The partitions whose preferred leader could lead and does not.
#[must_use]
pub fn rebalance(image: &MetadataImage, most: usize) -> Vec<Change> {
    let all =
        image.topics().flat_map(|topic| (0..).zip(&topic.partitions).map(move |(index, it)| (topic.id, index, it)));
    let wanting = all.filter_map(|(topic, index, it)| prefer(image, it).ok().map(|delta| change(topic, index, delta)));
    wanting.take(most).collect()
}

fn prefer(image: &MetadataImage, partition: &PartitionImage) -> Result<PartitionDelta, Refused> {
    let preferred = partition.replicas.first().copied();
    if preferred == partition.leader {
        return Err(refused(ErrorCode::ELECTION_NOT_NEEDED));
    }
    match preferred.filter(|id| partition.isr.contains(id) && image.is_active(*id) && !partition.is_lost(*id)) {
        Some(leader) => Ok(PartitionDelta { leader: Some(Some(leader)), ..PartitionDelta::default() }),
        None => Err(refused(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)),
    }
}

fn elect_uncleanly(
    (image, config): (&MetadataImage, &Config),
    partition: &PartitionImage,
    min_isr: usize,
) -> Result<PartitionDelta, Refused> {
    if partition.leader.is_some() {
        return Err(refused(ErrorCode::ELECTION_NOT_NEEDED));
    }
    let election = Election::new(partition, min_isr, config.planted);
    if let Some(delta) = election.decide(|id| image.is_active(id)).filter(|delta| delta.leader.is_some()) {
        return Ok(delta);
    }
    let known = partition.last_known_elr.iter().chain(&partition.replicas).copied();
    let leader = known.into_iter().find(|id| image.is_active(*id) && !partition.is_lost(*id));
    let leader = leader.ok_or_else(|| refused(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE))?;
    Ok(PartitionDelta {
        leader: Some(Some(leader)),
        isr: Some(vec![leader]),
        elr: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        // So it is recorded (promise P7).
        recovering: Some(true),
        ..PartitionDelta::default()
    })
}

fn find<'a>(
    image: &'a MetadataImage,
    topic: &str,
    index: i32,
) -> Result<(&'a TopicImage, &'a PartitionImage), Refused> {
    let unknown = || refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let topic = image.topic(topic).ok_or_else(unknown)?;
    let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index)).ok_or_else(unknown)?;
    Ok((topic, partition))
}

fn check_target(image: &MetadataImage, target: &[BrokerId]) -> Result<(), Refused> {
    let invalid = |why: String| Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if target.is_empty() {
        return invalid("The replica list is empty.".into());
    }
    for (place, id) in target.iter().enumerate() {
        if target[..place].contains(id) {
            return invalid(format!("The replica list has broker {} more than once.", id.0));
        }
        if image.broker(*id).is_none() {
            return invalid(format!("The replica list has broker {}, which is not registered.", id.0));
        }
    }
    Ok(())
}

fn without(ids: &[BrokerId], others: &[BrokerId]) -> Vec<BrokerId> {
    ids.iter().copied().filter(|id| !others.contains(id)).collect()
}

const fn change(topic_id: Uuid, partition: i32, delta: PartitionDelta) -> Change {
    Change::PartitionChange { topic_id, partition, delta }
}

pub(super) fn refused(code: ErrorCode) -> Refused {
    Refused::new(code, code.message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;
    use crate::controller::configs::{Alteration, ConfigChange, Operation, alter};
    use crate::controller::{BrokerImage, IsrProposal, NewPartition, alter_partition};
    use crate::types::{BrokerEpoch, Offset};

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    /// Five brokers, of which `fenced` are out of service, and one partition on the first three, led by the second.
    fn image(isr: &[i32], leader: i32, fenced: &[i32]) -> MetadataImage {
        let mut image = MetadataImage::default();
        for id in 1..=5 {
            let broker = BrokerImage {
                epoch: BrokerEpoch(id.into()),
                counted: BrokerEpoch(id.into()),
                incarnation: Uuid(1),
                endpoints: Vec::new(),
                rack: None,
                fenced: fenced.contains(&id),
                shutting_down: false,
                directories: vec![Uuid(100 + u128::from(id.unsigned_abs()))],
            };
            image.replay(Offset(1), &Change::RegisterBroker { id: BrokerId(id), broker });
        }
        image.replay(Offset(1), &Change::Topic { name: "t".into(), id: Uuid(7) });
        let partition = PartitionImage {
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
            leader: (leader > 0).then_some(BrokerId(leader)),
            directories: vec![Uuid(101), Uuid(102), Uuid(103)],
            ..PartitionImage::default()
        };
        image.replay(Offset(1), &Change::Partition(NewPartition { topic_id: Uuid(7), partition: 0, image: partition }));
        image
    }

    fn config() -> Config {
        Config::new(BrokerConfig::for_test(1, &[]))
    }

    fn moved(image: &mut MetadataImage, replicas: Option<&[i32]>) -> Result<PartitionImage, ErrorCode> {
        let replicas = replicas.map(ids);
        let wanted = Reassignment { topic: "t".into(), partition: 0, replicas };
        let change = reassign(image, &config(), &wanted, true).map_err(|refused| refused.code)?;
        change.iter().for_each(|change| image.replay(Offset(2), change));
        Ok(image.partition("t", 0).unwrap().clone())
    }

    /// The leader asks for an ISR.
    fn in_sync(image: &mut MetadataImage, config: &Config, isr: &[i32]) -> PartitionImage {
        let it = image.partition("t", 0).unwrap();
        let isr = ids(isr).into_iter().map(|id| (id, None)).collect();
        let (leader_epoch, partition_epoch) = (it.leader_epoch, it.partition_epoch);
        let proposal = IsrProposal { topic_id: Uuid(7), partition: 0, leader_epoch, partition_epoch, isr };
        let change = alter_partition(image, config, it.leader.unwrap(), &proposal).unwrap();
        image.replay(Offset(3), &change);
        image.partition("t", 0).unwrap().clone()
    }

    #[test]
    fn a_move_is_over_when_all_who_are_added_are_in_sync() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        let it = moved(&mut image, Some(&[4, 5, 1])).unwrap();
        assert_eq!((&it.replicas, &it.adding, &it.removing), (&ids(&[4, 5, 1, 2, 3]), &ids(&[4, 5]), &ids(&[2, 3])));
        assert_eq!((it.leader, it.leader_epoch.0), (Some(BrokerId(2)), 1), "nobody leaves yet, and others come");
        assert_eq!(it.directories, [104, 105, 101, 102, 103].map(Uuid));
        let it = in_sync(&mut image, &config(), &[1, 2, 3, 4]);
        assert_eq!(it.adding, ids(&[4, 5]), "5 is missing");
        let it = in_sync(&mut image, &config(), &[1, 2, 3, 4, 5]);
        assert_eq!((&it.replicas, &it.isr), (&ids(&[4, 5, 1]), &ids(&[1, 4, 5])));
        assert!(it.adding.is_empty() && it.removing.is_empty());
        assert_eq!((it.leader, it.leader_epoch.0), (Some(BrokerId(4)), 2), "who led has gone");
        assert_eq!(it.directories, [104, 105, 101].map(Uuid));
    }

    #[test]
    fn who_falls_behind_stays_eligible_if_too_few_are_left() {
        let config = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        for (left, eligible) in [(&[2][..], &[1, 3][..]), (&[2, 3], &[])] {
            let image = image(&[1, 2, 3], 2, &[]);
            let isr = ids(left).into_iter().map(|id| (id, None)).collect();
            let (leader_epoch, partition_epoch) = Default::default();
            let proposal = IsrProposal { topic_id: Uuid(7), partition: 0, leader_epoch, partition_epoch, isr };
            let change = alter_partition(&image, &config, BrokerId(2), &proposal).unwrap();
            let Change::PartitionChange { delta, .. } = change else { panic!("{change:?}") };
            assert_eq!((delta.isr, delta.elr.unwrap_or_default()), (Some(ids(left)), ids(eligible)));
        }
    }

    /// It was refused something, and what it asked before may still be on its way.
    #[test]
    fn who_asks_for_the_isr_that_is_makes_void_what_was_asked_before() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        let before = in_sync(&mut image, &config(), &[1, 2]);
        let (leader_epoch, partition_epoch) = (before.leader_epoch, before.partition_epoch);
        let isr = ids(&[1, 2, 3]).into_iter().map(|id| (id, None)).collect();
        let late = IsrProposal { topic_id: Uuid(7), partition: 0, leader_epoch, partition_epoch, isr };
        let after = in_sync(&mut image, &config(), &[1, 2]);
        assert_eq!(after, PartitionImage { partition_epoch: partition_epoch + 1, ..before });
        let refused = alter_partition(&image, &config(), BrokerId(2), &late).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_UPDATE_VERSION);
    }

    /// It fetches in the epoch that it knows, in which it is not counted any more.
    #[test]
    fn who_comes_back_before_it_hears_that_it_had_to_go_is_not_in_sync_by_what_it_had() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        let knows = moved(&mut image, Some(&[1, 2])).unwrap().leader_epoch;
        let it = moved(&mut image, Some(&[1, 2, 3])).unwrap();
        assert_eq!((it.adding, it.leader), (ids(&[3]), Some(BrokerId(2))));
        assert!(it.leader_epoch > knows);
        assert_eq!(moved(&mut image, Some(&[2, 1, 3])).unwrap().leader_epoch, it.leader_epoch, "nobody else comes");
    }

    #[test]
    fn a_move_is_taken_back() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        assert_eq!(moved(&mut image, None), Err(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS));
        moved(&mut image, Some(&[4, 5])).unwrap();
        in_sync(&mut image, &config(), &[1, 2, 3, 4]);
        let it = moved(&mut image, None).unwrap();
        assert_eq!((&it.replicas, &it.isr), (&ids(&[1, 2, 3]), &ids(&[1, 2, 3])));
        assert!(it.adding.is_empty() && it.removing.is_empty());
    }

    #[test]
    fn a_move_that_would_throw_the_last_copy_away_is_not_taken_back() {
        for (isr, elr) in [(&[4][..], &[][..]), (&[], &[4])] {
            let mut image = image(&[1, 2, 3], 2, &[]);
            moved(&mut image, Some(&[4, 5])).unwrap();
            let delta = PartitionDelta { isr: Some(ids(isr)), elr: Some(ids(elr)), ..PartitionDelta::default() };
            image.replay(Offset(3), &change(Uuid(7), 0, delta));
            assert_eq!(moved(&mut image, None), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT), "{isr:?} {elr:?}");
            assert_eq!(moved(&mut image, Some(&[1, 5])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
            assert!(moved(&mut image, Some(&[4, 1])).is_ok());
        }
    }

    /// What is committed lies on the disks of those who are in sync, also of those who are on their way.
    #[test]
    fn nobody_leaves_whose_copy_is_needed() {
        let two = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        let moved = |image: &mut MetadataImage, replicas: Option<&[i32]>| {
            let wanted = Reassignment { topic: "t".into(), partition: 0, replicas: replicas.map(ids) };
            let change = reassign(image, &two, &wanted, true).map_err(|refused| refused.code)?;
            change.iter().for_each(|change| image.replay(Offset(2), change));
            Ok(image.partition("t", 0).unwrap().clone())
        };
        let mut image = image(&[1, 2, 3], 2, &[]);
        moved(&mut image, Some(&[1, 3, 4])).unwrap();
        let it = in_sync(&mut image, &two, &[2, 4]);
        assert_eq!((it.isr, it.removing), (ids(&[2, 4]), ids(&[2])), "without 2 only 4 would have it");
        let refused = Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT);
        assert_eq!(moved(&mut image, None), refused, "without 4 only 2 would");
        assert_eq!(moved(&mut image, Some(&[1, 3, 5])), refused);
        assert_eq!(moved(&mut image, Some(&[4])).map(|it| it.isr), Ok(ids(&[4])), "one copy is asked for");
        let mut image = super::tests::image(&[1, 2, 3], 2, &[]);
        moved(&mut image, Some(&[1, 3, 4])).unwrap();
        in_sync(&mut image, &two, &[2, 4]);
        let it = in_sync(&mut image, &two, &[2, 3, 4]);
        assert_eq!((it.replicas, it.isr), (ids(&[1, 3, 4]), ids(&[3, 4])));
    }

    /// As many as must be in sync are, so the high watermark moves without those who were eligible.
    #[test]
    fn who_was_eligible_is_not_where_fewer_must_be_in_sync_now() {
        let two = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        let one = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "1")]));
        let set = |kind: i8, name: &str, value: Option<&str>| {
            let (operation, value) = (if value.is_some() { Operation::Set } else { Operation::Delete }, value);
            let change =
                ConfigChange { name: "min.insync.replicas".into(), operation, value: value.map(str::to_owned) };
            Alteration { kind, name: name.into(), changes: vec![change], replaces: false }
        };
        for (config, before, after, left) in [
            (&two, None, set(2, "t", Some("1")), &[][..]),
            (&two, None, set(4, "", Some("1")), &[]),
            (&two, None, set(2, "t", Some("3")), &[1, 3]),
            (&two, Some(set(2, "t", Some("2"))), set(4, "", Some("1")), &[1, 3]),
            (&one, Some(set(2, "t", Some("2"))), set(2, "t", None), &[]),
            (&one, Some(set(4, "", Some("2"))), set(4, "", None), &[]),
        ] {
            let mut image = image(&[1, 2, 3], 2, &[]);
            let alter = |image: &mut MetadataImage, what: &Alteration| {
                let decision = alter(image, config, std::slice::from_ref(what));
                assert_eq!(decision.answer, [Ok(())]);
                decision.changes.iter().for_each(|change| image.replay(Offset(4), change));
            };
            before.iter().for_each(|before| alter(&mut image, before));
            assert_eq!(in_sync(&mut image, config, &[2]).elr, ids(&[1, 3]));
            alter(&mut image, &after);
            assert_eq!(image.partition("t", 0).unwrap().elr, ids(left), "{before:?} {after:?}");
        }
    }

    #[test]
    fn whom_the_leader_takes_out_stays_eligible_where_too_few_are_left() {
        let config = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        let mut image = image(&[1, 2, 3], 2, &[]);
        let it = in_sync(&mut image, &config, &[1, 2]);
        assert_eq!((it.isr, it.elr), (ids(&[1, 2]), vec![]));
        let it = in_sync(&mut image, &config, &[2]);
        assert_eq!((it.isr, it.elr), (ids(&[2]), ids(&[1])), "who left earlier has not all");
        let it = in_sync(&mut image, &config, &[2, 3]);
        assert_eq!((it.isr, it.elr), (ids(&[2, 3]), vec![]));
        in_sync(&mut image, &config, &[1, 2, 3]);
        let it = in_sync(&mut image, &config, &[2]);
        assert_eq!((it.isr, it.elr), (ids(&[2]), ids(&[1, 3])));
    }

    #[test]
    fn replicas_only_go_at_once() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        let it = moved(&mut image, Some(&[3, 1])).unwrap();
        assert_eq!((&it.replicas, &it.isr, it.leader), (&ids(&[3, 1]), &ids(&[1, 3]), Some(BrokerId(3))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        for target in [&[][..], &[1, 1], &[1, 9]] {
            assert_eq!(moved(&mut image, Some(target)), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT), "{target:?}");
        }
        let wanted = Reassignment { topic: "t".into(), partition: 0, replicas: Some(ids(&[1, 2])) };
        let refused = reassign(&image, &config(), &wanted, false).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_REPLICATION_FACTOR);
    }

    #[test]
    fn the_factor_that_must_stay_is_that_of_the_move_under_way() {
        let mut image = image(&[1, 2, 3], 2, &[]);
        let _ = moved(&mut image, Some(&[4, 5])).unwrap();
        for (replicas, expected) in [(vec![4, 1], None), (vec![4, 1, 2], Some(ErrorCode::INVALID_REPLICATION_FACTOR))] {
            let wanted = Reassignment { topic: "t".into(), partition: 0, replicas: Some(ids(&replicas)) };
            let refused = reassign(&image, &config(), &wanted, false).err().map(|refused| refused.code);
            assert_eq!(refused, expected, "{replicas:?}");
        }
    }

    #[test]
    fn the_preferred_leader_leads_if_it_is_in_sync() {
        let elect = |image: &MetadataImage| {
            let elected = elect(image, &config(), ElectionType::Preferred, ("t", 0));
            elected.map(drop).map_err(|refused| refused.code)
        };
        assert_eq!(elect(&image(&[1, 2], 2, &[])), Ok(()));
        assert_eq!(elect(&image(&[1, 2], 1, &[])), Err(ErrorCode::ELECTION_NOT_NEEDED));
        assert_eq!(elect(&image(&[2, 3], 2, &[])), Err(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE));
        assert_eq!(elect(&image(&[1, 2], 2, &[1])), Err(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE));
        assert_eq!(rebalance(&image(&[1, 2], 2, &[]), 9).len(), 1);
        assert_eq!(rebalance(&image(&[1, 2], 1, &[]), 9).len(), 0);
    }

    #[test]
    fn an_unclean_election_is_recorded() {
        let mut image = image(&[], 0, &[1, 2]);
        let change = elect(&image, &config(), ElectionType::Unclean, ("t", 0)).unwrap();
        image.replay(Offset(2), &change);
        let it = image.partition("t", 0).unwrap().clone();
        assert_eq!((it.leader, &it.isr, it.recovering), (Some(BrokerId(3)), &ids(&[3]), true));
        let again = elect(&image, &config(), ElectionType::Unclean, ("t", 0));
        assert_eq!(again.unwrap_err().code, ErrorCode::ELECTION_NOT_NEEDED);
        image.replay(
            Offset(3),
            &Change::BrokerChange {
                id: BrokerId(1),
                epoch: BrokerEpoch(1),
                delta: crate::controller::BrokerDelta { fenced: Some(false), ..Default::default() },
            },
        );
        assert!(!in_sync(&mut image, &config(), &[3, 1]).recovering);
    }
}
