//! A snapshot of the metadata (KIP-630), as Kafka writes and reads it: batches, whose offsets count from 0.
//!
//! | batch | records |
//! |---|---|
//! | the first, control | SnapshotHeader; KRaftVersion and Voters, if the log names any (KIP-853) |
//! | data | the image: `metadata.version` first, each topic before its partitions |
//! | the last, control | SnapshotFooter: without it the file is not whole |
//!
//! The same log gives the same bytes on every node: nothing in it is of its writer. What the image does not hold
//! (quotas, credentials, access control of another cluster's log) is not in its snapshots either.

use ottla_wire::Writer;

use super::image::MetadataImage;
use super::records::{Change, DecodeError, append_change, decode_batch};
use crate::log::Corrupt;
use crate::planted::{Plant, Planted};
use crate::raft::{ControlRecord, SnapshotId, VoterSet, control_records, snapshot_footer, snapshot_header};
use crate::record::{self, BatchBuilder, BatchOptions, RecordBatch};
use crate::types::Offset;

/// A batch is closed when it has so many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// What a snapshot says.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Which end of the log it stands for.
    pub id: SnapshotId,
    /// The timestamp of the last batch of the log that is in it.
    pub last_timestamp: i64,
    /// The voters as of there, if the log names any.
    pub voters: Option<VoterSet>,
    /// What the log says up to there.
    pub image: MetadataImage,
}

impl Snapshot {
    /// The file. Nothing else may be written into it.
    #[must_use]
    pub fn encode(&self, planted: Planted) -> Vec<u8> {
        let epoch = self.id.epoch;
        let mut file = snapshot_header(epoch, self.last_timestamp, self.voters.as_ref());
        let mut base_offset = Offset(if self.voters.is_some() { 3 } else { 1 });
        let new_batch = |base_offset| {
            BatchBuilder::new(BatchOptions { base_offset, leader_epoch: epoch, ..BatchOptions::default() })
        };
        let mut batch = new_batch(base_offset);
        let mut value = Writer::new();
        for change in self.image.dump() {
            if planted.has(Plant::Raft38) && matches!(change, Change::Config { .. }) {
                continue;
            }
            append_change(&mut batch, &change, self.last_timestamp, &mut value);
            if batch.len() >= BATCH_BYTES {
                base_offset += i64::from(batch.record_count());
                file.extend(std::mem::replace(&mut batch, new_batch(base_offset)).build());
            }
        }
        if !batch.is_empty() {
            base_offset += i64::from(batch.record_count());
            file.extend(batch.build());
        }
        file.extend(snapshot_footer(base_offset, epoch, self.last_timestamp));
        file
    }

    /// Reads a file, all of it.
    ///
    /// # Errors
    /// It is not whole, or not what was written, or not of this log end.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut snapshot = Self { id, last_timestamp: 0, voters: None, image: MetadataImage::default() };
        snapshot.image.advance(id.end);
        let (mut next, mut is_whole) = (Offset::ZERO, false);
        for batch in record::batches(bytes) {
            let batch = batch.map_err(|error| Corrupt::new(error.to_string()))?;
            batch.check_crc().map_err(|error| Corrupt::new(error.to_string()))?;
            let header = *batch.header();
            if is_whole || header.base_offset != next || header.leader_epoch != id.epoch {
                return Err(Corrupt::new(format!("a batch at {} is out of place", header.base_offset)));
            }
            is_whole = snapshot.take(&batch, next == Offset::ZERO)?;
            next = header.next_offset();
        }
        if is_whole { Ok(snapshot) } else { Err(Corrupt::new("it has no end")) }
    }

    /// Takes in one batch. Whether it is the last.
    fn take(&mut self, batch: &RecordBatch<'_>, is_first: bool) -> Result<bool, Corrupt> {
        let controls = control_records(batch)?;
        let opens = matches!(controls.first(), Some(ControlRecord::SnapshotHeader { .. }));
        if opens != is_first {
            return Err(Corrupt::new("its header is not at its beginning"));
        }
        let mut is_last = false;
        for control in controls {
            match control {
                ControlRecord::SnapshotHeader { last_timestamp } => self.last_timestamp = last_timestamp,
                ControlRecord::Voters(voters) => self.voters = Some(voters),
                ControlRecord::SnapshotFooter => is_last = true,
                ControlRecord::LeaderChange { .. } | ControlRecord::KRaftVersion(_) | ControlRecord::Other => {}
            }
        }
        let changes = decode_batch(batch, u64::from(u32::MAX));
        let end = self.id.end;
        for change in changes.map_err(|error: DecodeError| Corrupt::new(error.to_string()))? {
            self.image.replay(end, &change);
        }
        Ok(is_last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_wire::Uuid;

    use super::super::*;
    use super::*;
    use crate::raft::{Voter, VoterEndpoint, VoterKey};
    use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch};

    fn id() -> SnapshotId {
        SnapshotId { end: Offset(77), epoch: LeaderEpoch(5) }
    }

    fn partition(topic_id: Uuid, index: i32) -> Change {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let image = PartitionImage {
            replicas: ids(&[1, 2, 3, 4]),
            isr: ids(&[2]),
            elr: ids(&[3]),
            last_known_elr: ids(&[1]),
            removing: ids(&[1]),
            adding: ids(&[4]),
            recovering: index == 1,
            leader: (index != 2).then_some(BrokerId(2)),
            leader_epoch: LeaderEpoch(9),
            partition_epoch: 12,
            directories: vec![Uuid(1), Uuid(2), Uuid(3), Uuid(4)],
        };
        Change::Partition(NewPartition { topic_id, partition: index, image })
    }

    /// An image that has something of every kind.
    fn image() -> MetadataImage {
        let mut changes = bootstrap();
        for id in 1..4 {
            let broker = BrokerImage {
                epoch: BrokerEpoch(i64::from(id)),
                counted: BrokerEpoch(1),
                incarnation: Uuid(7),
                endpoints: vec![BrokerEndpoint { name: "PLAINTEXT".into(), host: "h".into(), port: 9092 }],
                rack: (id == 1).then(|| "r".to_owned()),
                fenced: id == 2,
                shutting_down: id == 3,
                directories: vec![Uuid(8)],
            };
            changes.push(Change::RegisterBroker { id: BrokerId(id), broker });
        }
        for (topic, name) in [(10, "a"), (11, "b")] {
            changes.push(Change::Topic { name: name.into(), id: Uuid(topic) });
            changes.extend((0..3).map(|index| partition(Uuid(topic), index)));
        }
        for (kind, name) in [
            (ResourceKind::Topic, "a"),
            (ResourceKind::Broker, ""),
            (ResourceKind::Broker, "1"),
            (ResourceKind::Group, "g"),
        ] {
            let resource = Resource { kind, name: name.into() };
            changes.push(Change::Config { resource, name: "k".into(), value: Some(name.into()) });
        }
        changes.push(Change::ProducerIds { broker: BrokerId(1), epoch: BrokerEpoch(1), next: 3_000 });
        let mut image = MetadataImage::default();
        changes.iter().for_each(|change| image.replay(Offset(77), change));
        image
    }

    fn snapshot() -> Snapshot {
        let endpoints = vec![VoterEndpoint { name: "CONTROLLER".into(), host: "h".into(), port: 9093 }];
        let voter = Voter { endpoints, max_kraft_version: 1 };
        let key = VoterKey { id: BrokerId(1), directory_id: Uuid(3) };
        let voters = VoterSet::new(BTreeMap::from([(key, voter)]));
        Snapshot { id: id(), last_timestamp: 1234, voters, image: image() }
    }

    #[test]
    fn it_is_read_as_it_was_written_whatever_is_in_it() {
        let whole = snapshot();
        assert_eq!(Snapshot::decode(id(), &whole.encode(Planted::default())).unwrap(), whole);
        let bare = Snapshot { voters: None, image: MetadataImage::default(), ..whole };
        let read = Snapshot::decode(id(), &bare.encode(Planted::default())).unwrap();
        assert_eq!((read.voters, read.image.end(), read.last_timestamp), (None, Offset(77), 1234));
    }

    #[test]
    fn its_batches_are_kafkas_control_data_control_and_count_from_0() {
        let bytes = snapshot().encode(Planted::default());
        let batches: Vec<_> = record::batches(&bytes).map(Result::unwrap).collect();
        let control: Vec<bool> = batches.iter().map(|batch| batch.header().attributes.is_control()).collect();
        assert_eq!(control, [true, false, true]);
        let mut next = Offset::ZERO;
        for batch in &batches {
            assert_eq!((batch.header().base_offset, batch.header().leader_epoch), (next, LeaderEpoch(5)));
            next = batch.header().next_offset();
        }
        let first = control_records(&batches[0]).unwrap();
        assert!(
            matches!(
                &first[..],
                [
                    ControlRecord::SnapshotHeader { last_timestamp: 1234 },
                    ControlRecord::KRaftVersion(1),
                    ControlRecord::Voters(_)
                ]
            ),
            "{first:?}"
        );
        assert_eq!(control_records(&batches[2]).unwrap(), [ControlRecord::SnapshotFooter]);
    }

    #[test]
    fn a_large_one_has_batches_of_bounded_size() {
        let mut large = snapshot();
        for topic in 100..5_000_u128 {
            large.image.replay(Offset(77), &Change::Topic { name: format!("topic-{topic}"), id: Uuid(topic) });
            large.image.replay(Offset(77), &partition(Uuid(topic), 0));
        }
        let bytes = large.encode(Planted::default());
        let sizes: Vec<usize> = record::batches(&bytes).map(|batch| batch.unwrap().bytes().len()).collect();
        assert!(sizes.len() > 4 && sizes.iter().all(|size| *size < BATCH_BYTES + 1024), "{sizes:?}");
        assert_eq!(Snapshot::decode(id(), &bytes).unwrap(), large);
    }

    #[test]
    fn what_is_cut_changed_or_of_another_end_is_noticed() {
        let bytes = snapshot().encode(Planted::default());
        for end in 0..bytes.len() {
            assert!(Snapshot::decode(id(), &bytes[..end]).is_err(), "{end}");
        }
        for place in 0..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[place] ^= 0x10;
            assert!(Snapshot::decode(id(), &rotten).is_err(), "{place}");
        }
        let other = SnapshotId { epoch: LeaderEpoch(6), ..id() };
        assert!(Snapshot::decode(other, &bytes).is_err());
        assert!(Snapshot::decode(id(), &[&bytes[..], &bytes[..]].concat()).is_err());
    }

    #[test]
    fn the_changes_between_two_images_make_one_of_the_other() {
        let old = image();
        let mut new = MetadataImage::default();
        let dropped = |change: &Change| match change {
            Change::Topic { id, .. } | Change::Partition(NewPartition { topic_id: id, .. }) => *id == Uuid(10),
            Change::RegisterBroker { id, .. } => *id == BrokerId(3),
            Change::Config { resource, .. } => resource.name.as_ref() == "a" || resource.name.as_ref() == "g",
            Change::UnregisterBroker { .. }
            | Change::BrokerChange { .. }
            | Change::RemoveTopic { .. }
            | Change::PartitionChange { .. }
            | Change::FeatureLevel { .. }
            | Change::ProducerIds { .. }
            | Change::Other => false,
        };
        for change in old.dump().iter().filter(|change| !dropped(change)) {
            new.replay(Offset(90), change);
        }
        // Made again under its name, and another has more partitions.
        new.replay(Offset(90), &Change::Topic { name: "a".into(), id: Uuid(20) });
        new.replay(Offset(90), &partition(Uuid(20), 0));
        new.replay(Offset(90), &partition(Uuid(11), 3));
        let value = Some("v".to_owned());
        let resource = Resource { kind: ResourceKind::Broker, name: "1".into() };
        new.replay(Offset(90), &Change::Config { resource, name: "l".into(), value });
        new.replay(Offset(90), &Change::ProducerIds { broker: BrokerId(1), epoch: BrokerEpoch(1), next: 4_000 });
        for (from, to) in [(&old, &new), (&new, &old), (&MetadataImage::default(), &new), (&old, &old)] {
            let mut made = from.clone();
            made.advance(to.end());
            from.changes_to(to).iter().for_each(|change| made.replay(to.end(), change));
            assert!(&made == to);
        }
        assert!(old.changes_to(&old).is_empty());
        assert_eq!(old.changes_to(&new).iter().filter(|it| matches!(it, Change::RemoveTopic { .. })).count(), 1);
    }
}
