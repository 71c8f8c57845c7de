//! The hard state: what the records of one partition of `__consumer_offsets` say.
//!
//! [`GroupsImage::replay`] is the only thing that changes it, live and on reload alike, so it equals a rebuild from the
//! log (S8).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::consumer_image::{ConsumerChange, ConsumerImage};

/// One change of the hard state: one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An offset is committed; `None` takes it away.
    Offset { at: OffsetKey, offset: Option<Arc<CommittedOffset>> },
    /// A generation of a classic group; `None`: the group is gone.
    Group { group: Arc<str>, metadata: Option<Arc<GroupMetadata>> },
    /// Something of a consumer group.
    Consumer { group: Arc<str>, change: ConsumerChange },
    /// A record of a kind that is not used here.
    Other,
}

/// Whose offset of which partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// Which group.
    pub group: Arc<str>,
    /// Which topic.
    pub topic: Arc<str>,
    /// Which partition of it.
    pub partition: i32,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be read.
    pub offset: i64,
    /// Of the last record read; -1: unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Arc<str>,
    /// When, in milliseconds of the wall clock.
    pub committed_at: i64,
    /// When it expires, if the client said so itself.
    pub expires_at: Option<i64>,
    /// Of the topic then; zero: unknown.
    pub topic_id: Uuid,
}

/// One generation of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Empty if it has none.
    pub protocol_type: Arc<str>,
    /// Its number.
    pub generation: i32,
    /// What the group speaks in it.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Option<Arc<str>>,
    /// Since when the group is in this state, in milliseconds of the wall clock; -1: unknown.
    pub since: i64,
    /// In the order of their ids.
    pub members: Vec<MemberMetadata>,
}

impl GroupMetadata {
    /// OFS-05: a group without members, where there should be none.
    pub(super) fn nobody() -> Self {
        let (protocol_type, members) = ("".into(), Vec::new());
        Self { protocol_type, generation: 0, protocol: None, leader: None, since: -1, members }
    }
}

/// One member of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The client's name.
    pub client_id: Arc<str>,
    /// Where it was.
    pub client_host: Arc<str>,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it says in the group's protocol.
    pub subscription: Bytes,
    /// In the group's protocol.
    pub assignment: Bytes,
}

/// The offsets of one group, by topic and partition.
pub type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, Arc<CommittedOffset>>>;

/// Everything that the records say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupsImage {
    groups: BTreeMap<Arc<str>, Arc<GroupMetadata>>,
    consumers: BTreeMap<Arc<str>, ConsumerImage>,
    offsets: BTreeMap<Arc<str>, GroupOffsets>,
}

impl GroupsImage {
    /// The last generation of a classic group.
    pub fn group(&self, group: &str) -> Option<&Arc<GroupMetadata>> {
        self.groups.get(group)
    }

    /// All classic groups that have had a generation.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<GroupMetadata>)> {
        self.groups.iter()
    }

    /// A consumer group.
    pub fn consumer(&self, group: &str) -> Option<&ConsumerImage> {
        self.consumers.get(group)
    }

    /// All consumer groups.
    pub fn consumers(&self) -> impl Iterator<Item = (&Arc<str>, &ConsumerImage)> {
        self.consumers.iter()
    }

    /// What a group has committed.
    pub fn offsets(&self, group: &str) -> Option<&GroupOffsets> {
        self.offsets.get(group)
    }

    /// How many offsets are committed.
    pub fn offsets_count(&self) -> usize {
        self.offsets.values().flat_map(GroupOffsets::values).map(BTreeMap::len).sum()
    }

    /// All groups that have committed something.
    pub fn offset_groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.offsets.keys()
    }

    /// One offset.
    pub fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<&Arc<CommittedOffset>> {
        self.offsets.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether the records say anything of a group.
    pub fn knows(&self, group: &str) -> bool {
        self.groups.contains_key(group) || self.consumers.contains_key(group) || self.offsets.contains_key(group)
    }

    /// Follows one record.
    pub fn replay(&mut self, change: &Change) {
        match change {
            Change::Offset { at, offset: Some(offset) } => {
                let topics = self.offsets.entry(at.group.clone()).or_default();
                topics.entry(at.topic.clone()).or_default().insert(at.partition, offset.clone());
            }
            Change::Offset { at, offset: None } => self.remove_offset(at),
            Change::Group { group, metadata: Some(metadata) } => {
                self.groups.insert(group.clone(), metadata.clone());
            }
            Change::Group { group, metadata: None } => {
                self.groups.remove(group);
            }
            Change::Consumer { group, change } => self.replay_consumer(group, change),
            Change::Other => {}
        }
    }

    fn replay_consumer(&mut self, group: &Arc<str>, change: &ConsumerChange) {
        match change {
            ConsumerChange::Epoch(None) => {
                self.consumers.remove(group);
            }
            ConsumerChange::Epoch(Some(_))
            | ConsumerChange::Member { subscription: Some(_), .. }
            | ConsumerChange::Regex { resolved: Some(_), .. }
            | ConsumerChange::TargetEpoch(Some(_))
            | ConsumerChange::Target { partitions: Some(_), .. }
            | ConsumerChange::Current { current: Some(_), .. } => {
                self.consumers.entry(group.clone()).or_default().replay(change);
            }
            // What is taken away twice is no group's.
            ConsumerChange::Member { .. }
            | ConsumerChange::Regex { .. }
            | ConsumerChange::TargetEpoch(None)
            | ConsumerChange::Target { .. }
            | ConsumerChange::Current { .. } => {
                if let Some(image) = self.consumers.get_mut(group) {
                    image.replay(change);
                }
            }
        }
    }

    fn remove_offset(&mut self, at: &OffsetKey) {
        let Some(topics) = self.offsets.get_mut(&at.group) else { return };
        if let Some(partitions) = topics.get_mut(&at.topic) {
            partitions.remove(&at.partition);
            if partitions.is_empty() {
                topics.remove(&at.topic);
            }
        }
        if topics.is_empty() {
            self.offsets.remove(&at.group);
        }
    }
}
