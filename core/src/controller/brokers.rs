//! Brokers: registration and fencing; and what a new cluster is born with.
//!
//! A node leads only in a LeaderEpoch given after its present registration. Registering a new incarnation takes the
//! earlier one's place and raises the epoch of every partition that it led, in one atomic batch: a leader that lost
//! power and came back with a shorter log must never write other records at the same offsets in the same epoch.

use ottla_wire::{ErrorCode, Uuid};

use super::image::{BrokerEndpoint, BrokerImage, MetadataImage, PartitionImage};
use super::partitions::{self, Election, Leaves};
use super::records::{BrokerDelta, Change};
use super::{Decision, Refused};
use crate::config::Config;
use crate::planted::Plant;
use crate::types::{BrokerEpoch, BrokerId, Offset};

/// A feature that this version has, and its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The least level.
    pub min: i16,
    /// The greatest level.
    pub max: i16,
    /// What a new cluster starts with; 0 is "off".
    pub initial: i16,
}

/// The feature that decides how the other records are written.
pub(super) const METADATA_VERSION: &str = "metadata.version";

/// The features that this version has. `metadata.version` 30 is 4.3-IV0.
pub const FEATURES: &[Feature] = &[
    Feature { name: METADATA_VERSION, min: 7, max: 30, initial: 30 },
    // 1: consumer groups (KIP-848). They are served at 0, too: there is no older broker that would not know them.
    Feature { name: "group.version", min: 0, max: 1, initial: 1 },
];

/// A broker that asks to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which broker.
    pub id: BrokerId,
    /// Drawn at this start of its process.
    pub incarnation: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<BrokerEndpoint>,
    /// `broker.rack`
    pub rack: Option<String>,
    /// Its log directories.
    pub directories: Vec<Uuid>,
    /// The last registration that its disk knew when it started, if it can prove that it has lost nothing that counted
    /// by then.
    pub previous: Option<BrokerEpoch>,
    /// Whether it may lead at once: it has read all of the metadata. Others wait for a heartbeat that says so.
    pub ready: bool,
}

/// What a new cluster's metadata begins with.
#[must_use]
pub fn bootstrap() -> Vec<Change> {
    let initial = FEATURES.iter().filter(|feature| feature.initial > 0);
    initial.map(|feature| Change::FeatureLevel { name: feature.name.to_owned(), level: feature.initial }).collect()
}

/// Registers a broker; `next` is the offset that the batch will get, which becomes its epoch.
///
/// What its earlier incarnation led, somebody else leads from now on, or itself in a new epoch, if it is ready and
/// nobody else can. Unless it proves that it has lost nothing, its copies count no more until they are in sync again.
/// (Kafka wants the very last registration to be proven, and only a clean shutdown does that.)
///
/// # Errors
/// There is no such offset.
pub fn register(
    image: &MetadataImage,
    config: &Config,
    registration: Registration,
    next: Offset,
) -> Result<Decision<BrokerEpoch>, Refused> {
    let unclean = may_have_lost(image, &registration) && !config.planted.has(Plant::Isr09);
    let Registration { id, incarnation, endpoints, rack, directories, ready, .. } = registration;
    let known = image.broker(id);
    if let Some(known) = known
        && known.incarnation == incarnation
    {
        return Ok(Decision { changes: Vec::new(), answer: known.epoch });
    }
    if next.0 < 0 {
        return Err(Refused::new(ErrorCode::INVALID_REQUEST, "a registration has an offset"));
    }
    let epoch = BrokerEpoch(next.0);
    let counted = known.filter(|_| !ready && !unclean).map_or(epoch, |known| known.counted);
    let (fenced, shutting_down) = (!ready, false);
    let broker = BrokerImage { epoch, counted, incarnation, endpoints, rack, fenced, shutting_down, directories };
    let mut changes = vec![Change::RegisterBroker { id, broker }];
    if config.planted.has(Plant::Isr29) {
        return Ok(Decision { changes, answer: epoch });
    }
    if ready {
        changes.extend(come_back(image, config, id, unclean));
    } else {
        let leaves = if unclean { Leaves::Unproven } else { Leaves::Whole };
        changes.extend(partitions::leave(image, config, id, leaves));
    }
    Ok(Decision { changes, answer: epoch })
}

/// Whether a broker that was registered before cannot prove that it has all that counted.
#[must_use]
pub fn may_have_lost(image: &MetadataImage, registration: &Registration) -> bool {
    let Registration { id, incarnation, directories, previous, .. } = registration;
    image.broker(*id).filter(|known| known.incarnation != *incarnation).is_some_and(|known| {
        let lost = known.directories.iter().any(|directory| !directories.contains(directory));
        // Of a registration in which it was never in service its disk may know nothing, and need not.
        lost || previous.is_none_or(|previous| previous < known.counted)
    })
}

/// A broker that is ready is back: what it led it leads anew, unless others are in sync or its copy counts no more.
fn come_back(image: &MetadataImage, config: &Config, id: BrokerId, unclean: bool) -> Vec<Change> {
    let concerns = |it: &PartitionImage| it.leader == Some(id) || it.counts_on(id) && (unclean || it.leader.is_none());
    partitions::decide_all((image, config), concerns, |partition, min_isr| {
        let (unclean, anew) = (unclean.then_some(id), partition.leader == Some(id));
        let election = Election { unclean, anew, ..Election::new(partition, min_isr, config.planted) };
        election.decide(|other| other == id || image.is_active(other))
    })
}

/// Forgets a broker. Whoever comes with its id later is another, so nothing that it has counts any more, be it the only
/// copy: who leads that then, an operator says.
///
/// # Errors
/// It is not registered, or in service: it would only register again. (Kafka takes that, too.)
pub fn unregister(image: &MetadataImage, config: &Config, id: BrokerId) -> Result<Vec<Change>, Refused> {
    let unknown = || Refused::new(ErrorCode::BROKER_ID_NOT_REGISTERED, ErrorCode::BROKER_ID_NOT_REGISTERED.message());
    let known = image.broker(id).ok_or_else(unknown)?;
    if !known.fenced {
        let text = format!("broker {} is in service: stop it first", id.0);
        return Err(Refused::new(ErrorCode::INVALID_REQUEST, text));
    }
    let epoch = known.epoch;
    let mut changes = partitions::leave(image, config, id, Leaves::ForGood);
    changes.push(Change::UnregisterBroker { id, epoch });
    Ok(changes)
}

/// Takes a broker out of service: it was silent for too long. What it led others lead, or nobody until it is back.
#[must_use]
pub fn fence(image: &MetadataImage, config: &Config, id: BrokerId) -> Vec<Change> {
    let Some(broker) = image.broker(id).filter(|broker| !broker.fenced) else { return Vec::new() };
    let delta = BrokerDelta { fenced: Some(true), ..BrokerDelta::default() };
    let mut changes = vec![Change::BrokerChange { id, epoch: broker.epoch, delta }];
    changes.extend(partitions::leave(image, config, id, Leaves::Whole));
    changes
}

/// Takes a broker into service: it is alive and knows what is led where.
#[must_use]
pub fn unfence(image: &MetadataImage, config: &Config, id: BrokerId) -> Vec<Change> {
    let Some(broker) = image.broker(id).filter(|broker| broker.fenced) else { return Vec::new() };
    let delta = BrokerDelta { fenced: Some(false), ..BrokerDelta::default() };
    let mut changes = vec![Change::BrokerChange { id, epoch: broker.epoch, delta }];
    changes.extend(partitions::join(image, config, id));
    changes
}

/// A broker is on its way out (KIP-841): what it leads others lead before it goes.
#[must_use]
pub fn begin_shutdown(image: &MetadataImage, config: &Config, id: BrokerId) -> Vec<Change> {
    let Some(broker) = image.broker(id).filter(|broker| !broker.shutting_down) else { return Vec::new() };
    let delta = BrokerDelta { shutting_down: true, ..BrokerDelta::default() };
    let mut changes = vec![Change::BrokerChange { id, epoch: broker.epoch, delta }];
    changes.extend(partitions::leave(image, config, id, Leaves::Whole));
    changes
}

/// Whether a broker on its way out leads nothing any more.
#[must_use]
pub fn has_left(image: &MetadataImage, id: BrokerId) -> bool {
    let leads = || image.topics().flat_map(|topic| &topic.partitions).any(|it| it.leader == Some(id));
    image.broker(id).is_some_and(|broker| broker.shutting_down) && !leads()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;
    use crate::controller::records::NewPartition;

    /// A registration of broker 1 by a process that asks with this proof, and the state after it.
    fn registered(
        image: &mut MetadataImage,
        process: u128,
        previous: Option<i64>,
        next: i64,
    ) -> (bool, BrokerEpoch, BrokerEpoch) {
        let registration = Registration {
            id: BrokerId(1),
            incarnation: Uuid(process),
            endpoints: Vec::new(),
            rack: None,
            directories: vec![Uuid(7)],
            previous: previous.map(BrokerEpoch),
            ready: false,
        };
        let unclean = may_have_lost(image, &registration);
        let config = Config::new(BrokerConfig::for_test(1, &[]));
        let decision = register(image, &config, registration, Offset(next)).unwrap();
        decision.changes.iter().for_each(|change| image.replay(Offset(next), change));
        let known = image.broker(BrokerId(1)).unwrap();
        (unclean, known.epoch, known.counted)
    }

    fn serve(image: &mut MetadataImage) {
        let changes = unfence(image, &Config::new(BrokerConfig::for_test(1, &[])), BrokerId(1));
        changes.iter().for_each(|change| image.replay(Offset(0), change));
    }

    #[test]
    fn the_last_registration_that_was_in_service_is_to_be_proven() {
        let mut image = MetadataImage::default();
        assert_eq!(registered(&mut image, 1, None, 10), (false, BrokerEpoch(10), BrokerEpoch(10)));
        serve(&mut image);
        // Two processes in a row that die before their disk knows that they are registered.
        assert_eq!(registered(&mut image, 2, Some(10), 20), (false, BrokerEpoch(20), BrokerEpoch(10)));
        assert_eq!(registered(&mut image, 3, Some(10), 30), (false, BrokerEpoch(30), BrokerEpoch(10)));
        serve(&mut image);
        assert_eq!(image.broker(BrokerId(1)).unwrap().counted, BrokerEpoch(30));
        // A disk that has not been there since cannot prove that it has all.
        assert_eq!(registered(&mut image, 4, Some(20), 40), (true, BrokerEpoch(40), BrokerEpoch(40)));
        assert_eq!(registered(&mut image, 5, None, 50), (true, BrokerEpoch(50), BrokerEpoch(50)));
    }

    #[test]
    fn who_is_forgotten_is_another_when_it_comes_back() {
        let (mut image, config) = (MetadataImage::default(), Config::new(BrokerConfig::for_test(1, &[])));
        assert_eq!(unregister(&image, &config, BrokerId(1)).unwrap_err().code, ErrorCode::BROKER_ID_NOT_REGISTERED);
        registered(&mut image, 1, None, 10);
        let changes = unregister(&image, &config, BrokerId(1)).unwrap();
        assert_eq!(changes, [Change::UnregisterBroker { id: BrokerId(1), epoch: BrokerEpoch(10) }]);
        changes.iter().for_each(|change| image.replay(Offset(11), change));
        assert_eq!(image.broker(BrokerId(1)), None);
    }

    /// Topic 1 has its one replica on broker 1; topic 3 has three, of which broker 1 leads.
    fn with_topics(image: &mut MetadataImage) {
        for count in [1, 3] {
            let topic_id = Uuid(count);
            image.replay(Offset(0), &Change::Topic { name: format!("t{count}"), id: topic_id });
            let replicas: Vec<BrokerId> = (1..).take(usize::try_from(count).unwrap()).map(BrokerId).collect();
            let (isr, leader) = (replicas.clone(), Some(BrokerId(1)));
            let partition = PartitionImage { replicas, isr, leader, ..PartitionImage::default() };
            image.replay(Offset(0), &Change::Partition(NewPartition { topic_id, partition: 0, image: partition }));
        }
    }

    #[test]
    fn nothing_counts_of_who_comes_with_the_id_of_one_that_is_forgotten() {
        let (mut image, config) = (MetadataImage::default(), Config::new(BrokerConfig::for_test(1, &[])));
        registered(&mut image, 1, None, 10);
        serve(&mut image);
        with_topics(&mut image);
        let stands = |image: &MetadataImage, topic: &str| {
            let it = image.partition(topic, 0).unwrap();
            let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
            (it.leader.map(|id| id.0), numbers(&it.isr), numbers(&it.elr))
        };
        let replay = |image: &mut MetadataImage, changes: Vec<Change>| {
            changes.iter().for_each(|change| image.replay(Offset(20), change));
        };
        assert!(unregister(&image, &config, BrokerId(1)).is_err(), "it is in service");
        let silent = fence(&image, &config, BrokerId(1));
        replay(&mut image, silent);
        // It may be back: it alone has what was committed.
        assert_eq!(stands(&image, "t1"), (None, vec![], vec![1]));
        assert_eq!(stands(&image, "t3"), (None, vec![2, 3], vec![]));
        let forgotten = unregister(&image, &config, BrokerId(1)).unwrap();
        replay(&mut image, forgotten);
        assert_eq!(stands(&image, "t1"), (None, vec![], vec![]));
        // Another with its id comes into service.
        assert_eq!(registered(&mut image, 2, None, 30), (false, BrokerEpoch(30), BrokerEpoch(30)));
        serve(&mut image);
        assert_eq!(stands(&image, "t1"), (None, vec![], vec![]));
        assert_eq!(stands(&image, "t3"), (None, vec![2, 3], vec![]));
        // Only an operator's word has it lead.
        let word = crate::controller::elect(&image, &config, crate::controller::ElectionType::Unclean, ("t1", 0));
        replay(&mut image, vec![word.unwrap()]);
        assert_eq!(stands(&image, "t1"), (Some(1), vec![1], vec![]));
        assert!(image.partition("t1", 0).unwrap().recovering, "it is recorded");
    }

    #[test]
    fn a_broker_has_left_when_it_leads_nothing() {
        let (mut image, config) = (MetadataImage::default(), Config::new(BrokerConfig::for_test(1, &[])));
        registered(&mut image, 1, None, 10);
        serve(&mut image);
        assert!(!has_left(&image, BrokerId(1)), "it was not asked to go");
        with_topics(&mut image);
        let changes = begin_shutdown(&image, &config, BrokerId(1));
        let (first, rest) = changes.split_first().unwrap();
        image.replay(Offset(20), first);
        assert!(!has_left(&image, BrokerId(1)), "it leads still");
        rest.iter().for_each(|change| image.replay(Offset(20), change));
        assert!(has_left(&image, BrokerId(1)));
    }
}
