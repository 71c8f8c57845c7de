//! The topics that there are, as far as groups need to know them.
//!
//! The parent has one for all shards and keeps it true; a shard sees the one that it was last given.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::Uuid;

use crate::racks::Racks;

/// Topics by name and by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<Uuid, Arc<str>>,
    /// Of topics whose brokers say where they are: the racks of each partition's replicas.
    racks: BTreeMap<Uuid, Arc<[Racks]>>,
    version: i64,
}

/// One topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// A topic that is made anew under the same name is another one.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

impl Topics {
    /// A topic is there, or has grown; `version` is the offset of the metadata that says so.
    pub fn set(&mut self, name: &Arc<str>, topic: Topic, version: i64) {
        let before = self.by_name.insert(name.clone(), topic);
        if before == Some(topic) {
            return;
        }
        if let Some(before) = before {
            self.names.remove(&before.id);
            self.racks.remove(&before.id);
        }
        self.names.insert(topic.id, name.clone());
        self.version = version;
    }

    /// A topic is no more.
    pub fn remove(&mut self, id: Uuid, version: i64) {
        if let Some(name) = self.names.remove(&id) {
            self.by_name.remove(&name);
            self.racks.remove(&id);
            self.version = version;
        }
    }

    /// In which racks the replicas of a topic's partitions are.
    pub fn place(&mut self, id: Uuid, racks: &[Racks], version: i64) {
        let is_known = racks.iter().any(|racks| !racks.is_empty());
        let before = if is_known { self.racks.insert(id, racks.into()) } else { self.racks.remove(&id) };
        if before.as_deref() != is_known.then_some(racks) {
            self.version = version;
        }
    }

    /// In which racks the replicas of a topic's partitions are; none, as long as brokers do not say it.
    #[must_use]
    pub fn racks(&self, id: Uuid) -> &[Racks] {
        self.racks.get(&id).map_or(&[], |racks| racks)
    }

    /// A topic by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Topic> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic.
    #[must_use]
    pub fn name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// The offset of the metadata in which something was last different.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_made_anew_is_another_one() {
        let mut topics = Topics::default();
        let name: Arc<str> = "t".into();
        topics.set(&name, Topic { id: Uuid(1), partitions: 3 }, 5);
        topics.set(&name, Topic { id: Uuid(1), partitions: 3 }, 6);
        assert_eq!(topics.version(), 5, "nothing is different");
        topics.set(&name, Topic { id: Uuid(2), partitions: 3 }, 7);
        assert_eq!((topics.name(Uuid(1)), topics.name(Uuid(2)), topics.version()), (None, Some(&name), 7));
        topics.remove(Uuid(1), 8);
        assert_eq!((topics.get("t").map(|it| it.id), topics.version()), (Some(Uuid(2)), 7));
        topics.remove(Uuid(2), 9);
        assert_eq!((topics.get("t"), topics.version()), (None, 9));
    }

    #[test]
    fn where_replicas_are_is_part_of_what_a_topic_is() {
        let mut topics = Topics::default();
        topics.set(&"t".into(), Topic { id: Uuid(1), partitions: 2 }, 5);
        topics.place(Uuid(1), &[Racks::new(), Racks::new()], 6);
        assert_eq!((topics.racks(Uuid(1)), topics.version()), (&[][..], 5), "nobody says where");
        let racks = [Racks::from(["a".into()]), Racks::from(["b".into()])];
        topics.place(Uuid(1), &racks, 7);
        topics.place(Uuid(1), &racks, 8);
        assert_eq!((topics.racks(Uuid(1)), topics.version()), (&racks[..], 7));
        topics.place(Uuid(1), &[Racks::new(), Racks::new()], 9);
        assert_eq!((topics.racks(Uuid(1)), topics.version()), (&[][..], 9));
    }
}
