//! A snapshot carries every bit of the image: properties over images with every kind of content.

use ottla_core::controller::{
    BrokerDelta, BrokerEndpoint, BrokerImage, Change, MetadataImage, NewPartition, PartitionDelta, PartitionImage,
    Resource, ResourceKind, Snapshot,
};
use ottla_core::planted::Planted;
use ottla_core::raft::SnapshotId;
use ottla_core::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use ottla_wire::Uuid;
use proptest::prelude::*;

const END: Offset = Offset(5_000);

fn some_brokers() -> impl Strategy<Value = Vec<BrokerId>> {
    prop::collection::vec((0..5).prop_map(BrokerId), 0..4)
}

fn some_ids() -> impl Strategy<Value = Vec<Uuid>> {
    prop::collection::vec((0..6_u128).prop_map(Uuid), 0..4)
}

fn broker() -> impl Strategy<Value = BrokerImage> {
    let endpoint = (prop::sample::select(vec!["PLAINTEXT", "CONTROLLER"]), "[a-z]{0,8}", any::<u16>());
    let endpoint = endpoint.prop_map(|(name, host, port)| BrokerEndpoint { name: name.to_owned(), host, port });
    let (epoch, rack) = (0..4_000_i64, prop::option::of("[a-z]{0,4}"));
    // One that was never in service was counted before.
    let counted = prop::option::of(0..4_000_i64);
    (epoch, counted, any::<u128>(), prop::collection::vec(endpoint, 0..3), rack, any::<[bool; 2]>(), some_ids())
        .prop_map(|(epoch, counted, incarnation, endpoints, rack, [fenced, shutting_down], directories)| BrokerImage {
            epoch: BrokerEpoch(epoch),
            counted: BrokerEpoch(counted.unwrap_or(epoch)),
            incarnation: Uuid(incarnation),
            endpoints,
            rack,
            fenced,
            shutting_down,
            directories,
        })
}

fn partition() -> impl Strategy<Value = PartitionImage> {
    let lists = prop::array::uniform6(some_brokers());
    let leader = prop::option::of((0..5).prop_map(BrokerId));
    (lists, any::<bool>(), leader, 0..i32::MAX, 0..i32::MAX, some_ids()).prop_map(
        |([replicas, isr, elr, last_known_elr, removing, adding], recovering, leader, epoch, partition_epoch, ids)| {
            PartitionImage {
                replicas,
                isr,
                elr,
                last_known_elr,
                removing,
                adding,
                recovering,
                leader,
                leader_epoch: LeaderEpoch(epoch),
                partition_epoch,
                directories: ids,
            }
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    let kind = prop::sample::select(vec![ResourceKind::Topic, ResourceKind::Broker, ResourceKind::Group]);
    (kind, prop::sample::select(vec!["", "1", "t-1", "g"]))
        .prop_map(|(kind, name)| Resource { kind, name: name.into() })
}

/// What a log may say, about few things, so that one record speaks of what another has made.
fn change() -> impl Strategy<Value = Change> {
    let id = || (0..5).prop_map(BrokerId);
    let topic = || (0..6_u128).prop_map(Uuid);
    let epoch = || (0..4_000_i64).prop_map(BrokerEpoch);
    let features = prop::sample::select(vec!["metadata.version", "group.version", "another"]);
    let shaped = (prop::option::of(any::<bool>()), any::<bool>(), prop::option::of(some_ids()));
    let shaped = shaped.prop_map(|(fenced, shutting_down, directories)| BrokerDelta {
        fenced,
        shutting_down,
        directories: directories.filter(|it| !it.is_empty()),
    });
    let moved = (prop::option::of(prop::option::of(id())), prop::option::of(some_brokers()), some_brokers());
    let moved = moved.prop_map(|(leader, isr, elr)| PartitionDelta {
        leader,
        isr,
        elr: Some(elr),
        ..PartitionDelta::default()
    });
    prop_oneof![
        2 => (id(), broker()).prop_map(|(id, broker)| Change::RegisterBroker { id, broker }),
        1 => (id(), epoch()).prop_map(|(id, epoch)| Change::UnregisterBroker { id, epoch }),
        2 => (id(), epoch(), shaped).prop_map(|(id, epoch, delta)| Change::BrokerChange { id, epoch, delta }),
        // A topic keeps its id for ever, and one made again under its name has another.
        3 => topic().prop_map(|id| Change::Topic { name: format!("t-{}", id.0 % 3), id }),
        1 => topic().prop_map(|id| Change::RemoveTopic { id }),
        5 => (topic(), 0..4, partition()).prop_map(|(topic_id, partition, image)| {
            Change::Partition(NewPartition { topic_id, partition, image })
        }),
        2 => (topic(), 0..4, moved).prop_map(|(topic_id, partition, delta)| {
            Change::PartitionChange { topic_id, partition, delta }
        }),
        4 => (resource(), "[a-c]", prop::option::of("[a-z]{0,5}"))
            .prop_map(|(resource, name, value)| Change::Config { resource, name, value }),
        2 => (features, 0..4_i16).prop_map(|(name, level)| Change::FeatureLevel { name: name.to_owned(), level }),
        1 => (id(), epoch(), 0..100_000_i64)
            .prop_map(|(broker, epoch, next)| Change::ProducerIds { broker, epoch, next }),
        1 => Just(Change::Other),
    ]
}

/// An image that a log of such records has come to. A controller makes no topic whose name is taken.
fn image() -> impl Strategy<Value = MetadataImage> {
    prop::collection::vec(change(), 0..80).prop_map(|changes| {
        let mut image = MetadataImage::default();
        for change in changes {
            let is_taken = |image: &MetadataImage| {
                let Change::Topic { name, id } = &change else { return false };
                image.topic(name).is_some() || image.topic_by_id(*id).is_some()
            };
            if !is_taken(&image) {
                image.replay(END, &change);
            }
        }
        image.advance(END);
        image
    })
}

proptest! {
    #[test]
    fn an_image_is_read_back_as_it_was_written(image in image(), last_timestamp in any::<i64>()) {
        let id = SnapshotId { end: END, epoch: LeaderEpoch(3) };
        let snapshot = Snapshot { id, last_timestamp, voters: None, image };
        let read = Snapshot::decode(id, &snapshot.encode(Planted::default()));
        prop_assert_eq!(read.expect("it is whole"), snapshot);
    }

    #[test]
    fn what_differs_makes_one_image_of_the_other(old in image(), new in image()) {
        let mut made = old.clone();
        old.changes_to(&new).iter().for_each(|change| made.replay(END, change));
        prop_assert_eq!(made, new);
    }
}
