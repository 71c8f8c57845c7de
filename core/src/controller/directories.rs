//! Where replicas lie, as their brokers say (KIP-858): in one of their log directories, or in none that they can use.
//!
//! A replica that is lost is led by nobody from there, and counts no more. As in Kafka it is lost if its directory
//! failed; with us also if only its own log is damaged (promise P5). Its leader begins a new epoch, be it the same one:
//! what the replica fetched before proves nothing of the log that it has from then on.

use ottla_wire::{ErrorCode, Uuid};

use super::Refused;
use super::image::{MetadataImage, PartitionImage};
use super::partitions::{Election, find_by_id, min_insync_replicas};
use super::reassignment::{begins_anew, directories, refused};
use super::records::{Change, PartitionDelta};
use crate::config::Config;
use crate::types::BrokerId;

/// The directory of what lies in no directory that can be used. Kafka's `DirectoryId.LOST`.
pub const LOST: Uuid = Uuid(1);

/// Whether an id of a directory says where a replica is not: in none, in one that is [`LOST`]. Kafka's `DirectoryId`
/// keeps the first hundred.
#[must_use]
pub const fn is_reserved(directory: Uuid) -> bool {
    directory.0 < 100
}

/// A broker says where its replica of a partition lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Which topic.
    pub topic_id: Uuid,
    /// Which partition of it.
    pub partition: i32,
    /// The directory's id, or [`LOST`].
    pub directory: Uuid,
}

impl PartitionImage {
    /// The directory of a broker's replica; the zero id if it is not known, `None` if it has none.
    #[must_use]
    pub fn directory(&self, id: BrokerId) -> Option<Uuid> {
        let place = self.replicas.iter().position(|other| *other == id)?;
        Some(self.directories.get(place).copied().unwrap_or_default())
    }

    /// Whether a broker's replica lies where it cannot be used.
    #[must_use]
    pub fn is_lost(&self, id: BrokerId) -> bool {
        self.directory(id) == Some(LOST)
    }
}

/// A broker's replica lies there: what changes by it. In a directory that the broker is not registered with it is lost.
///
/// # Errors
/// There is no such partition, or the broker has no replica of it.
pub fn assign(
    image: &MetadataImage,
    config: &Config,
    id: BrokerId,
    assignment: &Assignment,
) -> Result<Option<Change>, Refused> {
    let Assignment { topic_id, partition: index, directory } = *assignment;
    let (topic, partition) = find_by_id(image, topic_id, index)?;
    let place = partition.replicas.iter().position(|other| *other == id);
    let place = place.ok_or_else(|| refused(ErrorCode::NOT_LEADER_OR_FOLLOWER))?;
    let is_usable = image.broker(id).is_some_and(|broker| broker.directories.contains(&directory));
    if !is_usable && partition.is_lost(id) && !partition.counts_on(id) {
        return Ok(None);
    }
    let mut next = partition.clone();
    next.directories = directories(image, partition, &partition.replicas);
    next.directories[place] = if is_usable { directory } else { LOST };
    let min_isr = min_insync_replicas(image, config, &topic.name);
    let elected = if is_usable {
        // It waited for this replica, perhaps.
        let election = next.leader.is_none().then(|| Election::new(&next, min_isr, config.planted));
        election.and_then(|election| election.decide(|other| image.is_active(other))).unwrap_or_default()
    } else {
        lose((image, config), &next, id, min_isr)
    };
    let moved = next.directories != partition.directories;
    let delta = PartitionDelta { directories: moved.then_some(next.directories), ..elected };
    let changes = delta != PartitionDelta::default();
    Ok(changes.then_some(Change::PartitionChange { topic_id, partition: index, delta }))
}

/// Others lead, and this replica counts no more. Where nobody else can it stays eligible: its disk may come back.
fn lose(
    (image, config): (&MetadataImage, &Config),
    partition: &PartitionImage,
    id: BrokerId,
    min_isr: usize,
) -> PartitionDelta {
    let decide = |unclean: Option<BrokerId>| {
        let isr = partition.isr.iter().copied().filter(|other| *other != id).collect();
        let election = Election { isr, unclean, ..Election::new(partition, min_isr, config.planted) };
        election.decide(|other| image.is_active(other)).unwrap_or_default()
    };
    let unclean = decide(Some(id));
    let others_lead = unclean.leader.unwrap_or(partition.leader).is_some();
    let delta = if others_lead { unclean } else { decide(None) };
    PartitionDelta { leader: delta.leader.or(begins_anew(partition, true)), ..delta }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;
    use crate::controller::{BrokerImage, NewPartition, Reassignment, reassign};
    use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

    const TOPIC: Uuid = Uuid(77);

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    /// Brokers 1 to 3, each with the directories 11 and 12 and so on, and a partition on them that broker 1 leads.
    fn image(isr: &[i32], elr: &[i32]) -> MetadataImage {
        let mut image = MetadataImage::default();
        let mut apply = |change: Change| image.replay(Offset(0), &change);
        for id in ids(&[1, 2, 3]) {
            let own = u128::from(id.0.unsigned_abs()) * 10;
            let broker = BrokerImage {
                epoch: BrokerEpoch(0),
                counted: BrokerEpoch(0),
                incarnation: Uuid(own),
                endpoints: Vec::new(),
                rack: None,
                fenced: false,
                shutting_down: false,
                directories: vec![Uuid(own + 1), Uuid(own + 2)],
            };
            apply(Change::RegisterBroker { id, broker });
        }
        apply(Change::Topic { name: "t".into(), id: TOPIC });
        let partition = PartitionImage {
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
            elr: ids(elr),
            leader: Some(BrokerId(1)),
            ..PartitionImage::default()
        };
        apply(Change::Partition(NewPartition { topic_id: TOPIC, partition: 0, image: partition }));
        image
    }

    /// Lets a broker say where its replica lies; the partition then.
    fn assigned(image: &mut MetadataImage, id: i32, directory: u128) -> PartitionImage {
        let config = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        let assignment = Assignment { topic_id: TOPIC, partition: 0, directory: Uuid(directory) };
        if let Some(change) = assign(image, &config, BrokerId(id), &assignment).unwrap() {
            image.replay(Offset(9), &change);
        }
        image.partition_by_id(TOPIC, 0).unwrap().clone()
    }

    #[test]
    fn a_replica_lies_where_its_broker_says() {
        let mut image = image(&[1, 2, 3], &[]);
        let it = assigned(&mut image, 2, 22);
        assert_eq!(
            (it.directories, it.leader_epoch, it.partition_epoch),
            (vec![Uuid(0), Uuid(22), Uuid(0)], LeaderEpoch(0), 1)
        );
        assert_eq!(assigned(&mut image, 2, 22).partition_epoch, 1, "nothing new");
        assert!(assigned(&mut image, 2, 31).is_lost(BrokerId(2)), "it is no directory of this broker");
    }

    #[test]
    fn others_lead_what_is_lost() {
        let mut image = image(&[1, 2, 3], &[]);
        let it = assigned(&mut image, 1, LOST.0);
        assert_eq!((it.leader, it.isr, it.elr), (Some(BrokerId(2)), ids(&[2, 3]), vec![]));
        let it = assigned(&mut image, 3, LOST.0);
        assert_eq!((it.leader, it.leader_epoch, it.isr), (Some(BrokerId(2)), LeaderEpoch(2), ids(&[2])), "a new epoch");
        assert_eq!(assigned(&mut image, 3, LOST.0).leader_epoch, LeaderEpoch(2), "known");
    }

    #[test]
    fn the_last_copy_that_is_lost_waits_for_its_disk() {
        let mut image = image(&[1], &[]);
        let it = assigned(&mut image, 1, LOST.0);
        assert_eq!((it.leader, it.isr, it.elr), (None, vec![], ids(&[1])));
        let it = assigned(&mut image, 2, 21);
        assert_eq!(it.leader, None, "it has not what is committed");
        let it = assigned(&mut image, 1, 11);
        assert_eq!((it.leader, it.isr, it.elr), (Some(BrokerId(1)), ids(&[1]), vec![]));
    }

    #[test]
    fn a_lost_replica_keeps_its_place_when_the_partition_moves() {
        let mut image = image(&[1, 2, 3], &[]);
        assigned(&mut image, 1, LOST.0);
        let config = Config::new(BrokerConfig::for_test(1, &[]));
        let wanted = Reassignment { topic: "t".into(), partition: 0, replicas: Some(ids(&[2, 3])) };
        let change = reassign(&image, &config, &wanted, true).unwrap().unwrap();
        image.replay(Offset(10), &change);
        let it = image.partition_by_id(TOPIC, 0).unwrap();
        assert_eq!((it.leader, it.leader_epoch), (Some(BrokerId(2)), LeaderEpoch(1)), "it leads on");
        assert!(!it.is_lost(BrokerId(2)));
    }

    #[test]
    fn who_has_no_replica_says_nothing_of_it() {
        let image = image(&[1], &[]);
        let config = Config::new(BrokerConfig::for_test(1, &[("min.insync.replicas", "2")]));
        let code = |id: i32, topic_id: Uuid, partition: i32| {
            let assignment = Assignment { topic_id, partition, directory: LOST };
            assign(&image, &config, BrokerId(id), &assignment).unwrap_err().code
        };
        assert_eq!(code(4, TOPIC, 0), ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(code(1, TOPIC, 1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(code(1, Uuid(5), 0), ErrorCode::UNKNOWN_TOPIC_ID);
    }
}
