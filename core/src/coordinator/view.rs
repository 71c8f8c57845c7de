//! What a shard takes for true, for whoever holds it against the log (invariant S8).

use std::sync::Arc;

use super::answer::GroupState;
use super::group::Group;
use super::image::{Change, GroupsImage, OffsetKey};
use super::records;
use super::shard::{Record, Shard};

/// A look at a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardView {
    /// What is committed, as the records that would say it anew: one for each key.
    pub committed: Vec<Record>,
    /// Every stable classic group; none while anything is appended that is not committed.
    pub stable: Vec<StableGroup>,
}

/// A group whose members all have their assignments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StableGroup {
    /// Its name.
    pub group: Arc<str>,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members, in order.
    pub members: Vec<Arc<str>>,
}

impl Shard {
    /// A look at what is committed here.
    #[must_use]
    pub fn view(&self) -> ShardView {
        let stable = self.groups.live.values().filter_map(stable).filter(|_| self.is_settled());
        ShardView { committed: committed(&self.committed), stable: stable.collect() }
    }
}

fn stable(group: &Group) -> Option<StableGroup> {
    let Group::Classic(group) = group else { return None };
    let is_stable = group.state_name() == GroupState::Stable;
    is_stable.then(|| StableGroup {
        group: group.id.clone(),
        generation: group.generation,
        members: group.members.keys().cloned().collect(),
    })
}

fn committed(image: &GroupsImage) -> Vec<Record> {
    let groups = image.groups().map(|(group, metadata)| {
        let (group, metadata) = (group.clone(), Some(metadata.clone()));
        Change::Group { group, metadata }
    });
    let mut changes: Vec<Change> = groups.collect();
    for (group, consumers) in image.consumers() {
        let of_group = |change| Change::Consumer { group: group.clone(), change };
        changes.extend(consumers.changes().into_iter().map(of_group));
    }
    for group in image.offset_groups() {
        for (topic, partitions) in image.offsets(group).into_iter().flatten() {
            changes.extend(partitions.iter().map(|(partition, offset)| Change::Offset {
                at: OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition },
                offset: Some(offset.clone()),
            }));
        }
    }
    changes.iter().map(records::encode).collect()
}
