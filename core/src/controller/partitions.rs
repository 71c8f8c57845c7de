//! Who leads a partition, and whose copies count: elections, in-sync replicas, eligible leader replicas (KIP-966).
//!
//! | replica       | has                                          | leads                                     |
//! |---------------|----------------------------------------------|-------------------------------------------|
//! | in the ISR    | everything below the high watermark          | if its broker is active                   |
//! | in the ELR    | the same: the watermark stood still since it left | when nobody in the ISR can           |
//! | the last known leader | perhaps more than the others         | by an operator's word only (promise P7)   |
//!
//! The high watermark stands still while the ISR is smaller than `min.insync.replicas`; who leaves an ISR that is, or
//! thereby becomes, that small has all that is committed, and stays eligible. Kafka elects the last known leader by
//! itself; it may have lost records, so we do not.

use ottla_wire::{ErrorCode, Uuid};

use super::Refused;
use super::image::{MetadataImage, PartitionImage, ResourceKind, TopicImage};
use super::reassignment::{changed, finished, needed, refused};
use super::records::{Change, PartitionDelta};
use crate::config::{Config, Scope, find};
use crate::planted::{Plant, Planted};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch};

/// The in-sync replicas that a leader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// Which topic.
    pub topic_id: Uuid,
    /// Which partition of it.
    pub partition: i32,
    /// The epoch that its sender leads in.
    pub leader_epoch: LeaderEpoch,
    /// The change that it builds on.
    pub partition_epoch: i32,
    /// Each with the epoch of the registration that it fetches with, where that is known (KIP-903).
    pub isr: Vec<(BrokerId, Option<BrokerEpoch>)>,
}

/// Decides a partition's state anew.
pub(super) struct Election<'a> {
    pub partition: &'a PartitionImage,
    /// Who is in sync from now on.
    pub isr: Vec<BrokerId>,
    /// Who may have lost what it had: it is neither in sync nor eligible any more.
    pub unclean: Option<BrokerId>,
    /// Whoever comes with that id later has nothing.
    pub for_good: bool,
    /// `min.insync.replicas`
    pub min_isr: usize,
    /// The leader begins a new epoch, be it the same one.
    pub anew: bool,
    pub planted: Planted,
}

impl<'a> Election<'a> {
    /// Whoever is in sync stays so, and the leader stays if it can.
    pub(super) fn new(partition: &'a PartitionImage, min_isr: usize, planted: Planted) -> Self {
        let isr = partition.isr.clone();
        Self { partition, isr, unclean: None, for_good: false, min_isr, anew: false, planted }
    }

    /// What changes of the partition, if anything does. `may_lead`: whose brokers are active. What is lost is not led.
    pub(super) fn decide(self, may_lead: impl Fn(BrokerId) -> bool) -> Option<PartitionDelta> {
        let Self { partition, mut isr, unclean, for_good, min_isr, anew, planted } = self;
        // Where there is one copy, nobody else could have more; who is on its way in has less.
        let is_copy = |id: &BrokerId| !partition.adding.contains(id) || partition.counts_on(*id);
        let is_other = |id: &&BrokerId| unclean != Some(**id) && is_copy(id);
        let unclean = unclean.filter(|_| for_good || partition.replicas.iter().any(|id| is_other(&id)));
        isr.retain(|id| unclean != Some(*id));
        let whoever_is_left = if planted.has(Plant::Isr26) { usize::MAX } else { min_isr };
        let mut elr = eligible(partition, &isr, unclean, whoever_is_left);
        let may_lead = |id: BrokerId| planted.has(Plant::Isr28) || may_lead(id) && !partition.is_lost(id);
        let keeps = partition.leader.filter(|leader| isr.contains(leader) && may_lead(*leader) && !anew);
        let first = |among: &[BrokerId]| {
            let mut replicas = partition.replicas.iter().copied();
            replicas.find(|id| among.contains(id) && may_lead(*id))
        };
        let leader = keeps.or_else(|| first(&isr)).or_else(|| {
            let eligible = first(&elr)?;
            isr = vec![eligible];
            elr = self::eligible(partition, &isr, unclean, whoever_is_left);
            Some(eligible)
        });
        let leader = leader.or_else(|| {
            let any = first(&partition.replicas).filter(|_| planted.has(Plant::Isr02))?;
            (isr, elr) = (vec![any], Vec::new());
            Some(any)
        });
        // Who led last is known as long as nobody does: an operator's word goes to it first.
        let last_known = if leader.is_some() { Some(Vec::new()) } else { partition.leader.map(|last| vec![last]) };
        let delta = PartitionDelta {
            leader: (leader != partition.leader || anew && leader.is_some()).then_some(leader),
            isr: (isr != partition.isr).then_some(isr),
            elr: (elr != partition.elr).then_some(elr),
            last_known_elr: last_known.filter(|last| *last != partition.last_known_elr),
            ..PartitionDelta::default()
        };
        (delta != PartitionDelta::default()).then_some(delta)
    }
}

/// Who has everything that is committed and is not in `isr`.
fn eligible(partition: &PartitionImage, isr: &[BrokerId], unclean: Option<BrokerId>, min_isr: usize) -> Vec<BrokerId> {
    if isr.len() >= min_isr.min(partition.replicas.len()) {
        return Vec::new();
    }
    let before = |id: &BrokerId| partition.elr.contains(id) || partition.isr.contains(id);
    let stays = |id: &BrokerId| before(id) && !isr.contains(id) && unclean != Some(*id);
    partition.replicas.iter().copied().filter(stays).collect()
}

/// The partitions that `concerns`, each decided anew: who is in sync is said by `isr`.
pub(super) fn decide_all(
    (image, config): (&MetadataImage, &Config),
    concerns: impl Fn(&PartitionImage) -> bool,
    elect: impl Fn(&PartitionImage, usize) -> Option<PartitionDelta>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for topic in image.topics() {
        let mut min_isr = None;
        for (partition, it) in (0..).zip(&topic.partitions).filter(|(_, it)| concerns(it)) {
            let min_isr = *min_isr.get_or_insert_with(|| min_insync_replicas(image, config, &topic.name));
            let delta = elect(it, min_isr);
            let change = |delta| Change::PartitionChange { topic_id: topic.id, partition, delta };
            changes.extend(delta.map(change));
        }
    }
    changes
}

/// How a broker leaves what it leads and is in sync with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// It will have all that it has: it is fenced, or on its way out.
    Whole,
    /// It is back, and cannot prove that it has all that it had.
    Unproven,
    /// It is forgotten: whoever comes with its id has nothing.
    ForGood,
}

/// The changes of partitions when a broker's copies cease to count.
pub(super) fn leave(image: &MetadataImage, config: &Config, id: BrokerId, leaves: Leaves) -> Vec<Change> {
    let unclean = leaves != Leaves::Whole;
    let for_good = leaves == Leaves::ForGood;
    let concerns =
        |it: &PartitionImage| it.leader == Some(id) || it.isr.contains(&id) || unclean && it.elr.contains(&id);
    decide_all((image, config), concerns, |partition, min_isr| {
        let isr = partition.isr.iter().copied().filter(|other| *other != id).collect();
        let unclean = unclean.then_some(id);
        let election = Election { isr, unclean, for_good, ..Election::new(partition, min_isr, config.planted) };
        election.decide(|other| other != id && image.is_active(other))
    })
}

/// The changes of partitions when a broker may lead: it leads what waits for it.
pub(super) fn join(image: &MetadataImage, config: &Config, id: BrokerId) -> Vec<Change> {
    let concerns = |it: &PartitionImage| it.leader.is_none() && it.counts_on(id);
    decide_all((image, config), concerns, |partition, min_isr| {
        let election = Election::new(partition, min_isr, config.planted);
        election.decide(|other| other == id || image.is_active(other))
    })
}

/// A leader asks for other in-sync replicas, or for those that are: then only a new partition epoch begins, and what it
/// asked before and heard nothing of comes too late.
///
/// # Errors
/// Kafka's codes: who asks does not lead, builds on what is past, or names who may not be in sync.
pub fn alter_partition(
    image: &MetadataImage,
    config: &Config,
    leader: BrokerId,
    proposal: &IsrProposal,
) -> Result<Change, Refused> {
    let (topic, partition) = find_by_id(image, proposal.topic_id, proposal.partition)?;
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch {
        return Err(refused(ErrorCode::NOT_CONTROLLER)); // Another controller has decided more than this one knows.
    }
    if partition.leader != Some(leader) {
        return Err(refused(ErrorCode::INVALID_REQUEST));
    }
    if proposal.leader_epoch < partition.leader_epoch {
        return Err(refused(ErrorCode::FENCED_LEADER_EPOCH));
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(refused(ErrorCode::INVALID_UPDATE_VERSION));
    }
    // Whoever names more than there are replicas is not compared with himself a million times.
    if proposal.isr.len() > partition.replicas.len() {
        return Err(refused(ErrorCode::INVALID_REQUEST));
    }
    let isr: Vec<BrokerId> = proposal.isr.iter().map(|(id, _)| *id).collect();
    let distinct = isr.iter().enumerate().all(|(place, id)| !isr[..place].contains(id));
    if !distinct || !isr.contains(&leader) || !isr.iter().all(|id| partition.replicas.contains(id)) {
        return Err(refused(ErrorCode::INVALID_REQUEST));
    }
    let counts = |(id, epoch): &(BrokerId, Option<BrokerEpoch>)| {
        let known = image.broker(*id).filter(|_| image.is_active(*id));
        let any = config.planted.has(Plant::Isr06);
        known.is_some_and(|broker| any || epoch.is_none_or(|epoch| epoch == broker.epoch))
    };
    if !proposal.isr.iter().all(counts) {
        return Err(refused(ErrorCode::INELIGIBLE_REPLICA));
    }
    let min_isr = min_insync_replicas(image, config, &topic.name);
    let index = proposal.partition;
    let next = finished(PartitionImage { isr, ..partition.clone() }, needed(config, min_isr, partition));
    let as_it_is = || PartitionDelta { isr: Some(partition.isr.clone()), ..PartitionDelta::default() };
    let delta = changed((image, config), min_isr, partition, next).unwrap_or_else(as_it_is);
    // A leader that was elected uncleanly has recovered when it asks for others.
    let recovering = partition.recovering.then_some(false);
    let delta = PartitionDelta { recovering, ..delta };
    Ok(Change::PartitionChange { topic_id: proposal.topic_id, partition: index, delta })
}

/// A partition, and its topic, by the topic's id.
pub(super) fn find_by_id(
    image: &MetadataImage,
    topic_id: Uuid,
    index: i32,
) -> Result<(&TopicImage, &PartitionImage), Refused> {
    let topic = image.topic_by_id(topic_id).ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_ID))?;
    let unknown = || refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    Ok((topic, image.partition_by_id(topic_id, index).ok_or_else(unknown)?))
}

/// `min.insync.replicas` of a topic by the image, be it committed or not: what is decided after a change of it counts
/// with the change.
pub(super) fn min_insync_replicas(image: &MetadataImage, config: &Config, topic: &str) -> usize {
    let dynamic = |kind, name| image.overrides(kind, name)?.get(MIN_INSYNC_REPLICAS).map(String::as_str);
    let text = dynamic(ResourceKind::Topic, topic).or_else(|| dynamic(ResourceKind::Broker, ""));
    let fixed = || config.broker.layers.fixed.get(MIN_INSYNC_REPLICAS).map(|(text, _)| text);
    let default = || find(Scope::Broker, MIN_INSYNC_REPLICAS)?.default;
    // A text that is no number was refused when it was given.
    text.or_else(fixed).or_else(default).and_then(|text| text.trim().parse().ok()).unwrap_or(usize::MAX)
}

/// The setting that says how many must have a record before it is committed.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// The changes of partitions with a change of [`MIN_INSYNC_REPLICAS`], which `image` has already. Who is eligible has
/// all that is committed only as long as too few are in sync for more to be: where fewer do now, nobody is any more.
/// Where nobody leads, nothing has been committed since.
pub(super) fn count_anew(image: &MetadataImage, config: &Config) -> Vec<Change> {
    let concerns = |it: &PartitionImage| it.leader.is_some() && !it.elr.is_empty();
    decide_all((image, config), concerns, |partition, min_isr| {
        Election::new(partition, min_isr, config.planted).decide(|id| image.is_active(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    fn partition(isr: &[i32], elr: &[i32], leader: i32) -> PartitionImage {
        PartitionImage {
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
            elr: ids(elr),
            leader: (leader > 0).then_some(BrokerId(leader)),
            ..PartitionImage::default()
        }
    }

    /// Leader, ISR and ELR after an election of a partition that needs two in sync, and whether an epoch began.
    fn elected(
        before: &PartitionImage,
        isr: &[i32],
        unclean: Option<i32>,
        active: &[i32],
    ) -> (i32, Vec<i32>, Vec<i32>, bool) {
        let (unclean, planted) = (unclean.map(BrokerId), Planted::default());
        let election = Election { isr: ids(isr), unclean, ..Election::new(before, 2, planted) };
        let delta = election.decide(|id| active.contains(&id.0)).unwrap_or_default();
        let numbers = |new: Option<Vec<BrokerId>>, old: &[BrokerId]| {
            new.unwrap_or_else(|| old.to_vec()).iter().map(|id| id.0).collect()
        };
        let leader = delta.leader.unwrap_or(before.leader).map_or(0, |id| id.0);
        (leader, numbers(delta.isr, &before.isr), numbers(delta.elr, &before.elr), delta.leader.is_some())
    }

    #[test]
    fn the_first_of_the_replicas_that_is_in_sync_leads() {
        let whole = partition(&[1, 2, 3], &[], 1);
        assert_eq!(elected(&whole, &[2, 3], None, &[2, 3]), (2, vec![2, 3], vec![], true));
        assert_eq!(elected(&whole, &[1, 3], None, &[1, 3]), (1, vec![1, 3], vec![], false), "the leader stays");
        assert_eq!(elected(&whole, &[1, 2, 3], None, &[1, 2, 3]), (1, vec![1, 2, 3], vec![], false));
    }

    #[test]
    fn who_leaves_an_isr_that_is_too_small_stays_eligible() {
        let two = partition(&[1, 2], &[], 1);
        assert_eq!(elected(&two, &[2], None, &[2]), (2, vec![2], vec![1], true));
        let one = partition(&[2], &[1], 2);
        assert_eq!(elected(&one, &[], None, &[]), (0, vec![], vec![1, 2], true));
        let none = partition(&[], &[1, 2], 0);
        assert_eq!(elected(&none, &[], None, &[1]), (1, vec![1], vec![2], true));
        assert_eq!(elected(&none, &[], None, &[3]), (0, vec![], vec![1, 2], false), "it has not what is committed");
        assert_eq!(elected(&one, &[2, 3], None, &[2, 3]), (2, vec![2, 3], vec![], false), "enough are in sync again");
    }

    #[test]
    fn who_may_have_lost_records_is_not_elected_by_itself() {
        let one = partition(&[2], &[1], 2);
        assert_eq!(elected(&one, &[], Some(2), &[2]), (0, vec![], vec![1], true));
        let last = partition(&[2], &[], 2);
        let (unclean, planted) = (Some(BrokerId(2)), Planted::default());
        let election = Election { unclean, ..Election::new(&last, 1, planted) };
        let delta = election.decide(|_| true).unwrap();
        assert_eq!((delta.leader, delta.last_known_elr), (Some(None), Some(ids(&[2]))));
        let single = PartitionImage { replicas: ids(&[2]), ..last };
        let election = Election { unclean, anew: true, ..Election::new(&single, 1, planted) };
        assert_eq!(election.decide(|_| true).unwrap().leader, Some(Some(BrokerId(2))), "nobody else could have more");
        let election = Election { unclean, for_good: true, ..Election::new(&single, 1, planted) };
        let delta = election.decide(|_| true).unwrap();
        assert_eq!((delta.leader, delta.isr, delta.elr), (Some(None), Some(vec![]), None), "it is forgotten");
        let moves = PartitionImage { replicas: ids(&[1, 2]), adding: ids(&[1]), removing: ids(&[2]), ..single };
        let election = Election { unclean, anew: true, ..Election::new(&moves, 1, planted) };
        assert_eq!(election.decide(|_| true).unwrap().leader, Some(Some(BrokerId(2))), "who comes in has less");
    }

    #[test]
    fn who_led_last_is_known_until_somebody_leads() {
        let before = partition(&[2], &[], 2);
        let gone = Election { isr: Vec::new(), ..Election::new(&before, 1, Planted::default()) };
        let gone = gone.decide(|_| false).unwrap();
        assert_eq!((gone.leader, gone.elr, gone.last_known_elr), (Some(None), Some(ids(&[2])), Some(ids(&[2]))));
        let gone = PartitionImage { last_known_elr: ids(&[2]), ..partition(&[], &[2], 0) };
        let back = Election { unclean: Some(BrokerId(2)), ..Election::new(&gone, 1, Planted::default()) };
        let back = back.decide(|_| true).unwrap();
        assert_eq!((back.leader, back.elr, back.last_known_elr), (None, Some(vec![]), None));
        let back = Election::new(&gone, 1, Planted::default()).decide(|_| true).unwrap();
        assert_eq!((back.leader, back.last_known_elr), (Some(Some(BrokerId(2))), Some(vec![])));
    }
}
