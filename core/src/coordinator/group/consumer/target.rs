//! From what members want to what they are to have: the topics, the epoch of the group, the target assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::Uuid;

use super::draft::Draft;
use super::regex;
use crate::clock::WallTime;
use crate::coordinator::assignor::{Assignor, Shape, Subscriber, Subscribers};
use crate::coordinator::consumer_image::{ConsumerChange, ConsumerImage, ResolvedRegex, TargetEpoch};
use crate::coordinator::settings::GroupSettings;
use crate::coordinator::topics::Topic;

impl Draft<'_> {
    /// Looks which topics the group's subscriptions stand for: `changed` if they, or the topics that there are, may
    /// be others than before. A group that reads other topics, or more partitions, is in another epoch.
    pub fn refresh(&mut self, bump: bool, changed: bool, now: WallTime) {
        if !bump && !changed {
            return;
        }
        self.resolve(changed, now);
        if bump || self.metadata_hash() != self.image.epoch.metadata_hash {
            self.bump();
        }
    }

    /// Looks up regular expressions: the new ones, or all.
    fn resolve(&mut self, all: bool, now: WallTime) {
        let used: BTreeSet<Arc<str>> = self.image.members.values().filter_map(|it| it.regex.clone()).collect();
        for regex in used {
            let known = self.image.regexes.get(&regex);
            if known.is_some() && !all {
                continue;
            }
            let topics = regex::resolve(&regex, self.topics);
            if known.is_none_or(|known| known.topics != topics) {
                let resolved = ResolvedRegex { topics, version: self.topics.version(), resolved_at: now.0 };
                self.push(ConsumerChange::Regex { regex, resolved: Some(Arc::new(resolved)) });
            }
        }
    }

    /// Of the topics that the group is subscribed to: another one if there are others, or other partitions, or if their
    /// replicas are in other racks (KIP-1101).
    pub fn metadata_hash(&self) -> i64 {
        let image = &self.image;
        let names: BTreeSet<&Arc<str>> = image.members.values().flat_map(|it| image.topics_of(it)).collect();
        let mut hash = Fnv::default();
        let mut found = false;
        for (name, topic) in names.into_iter().filter_map(|name| Some((name, self.topics.get(name)?))) {
            found = true;
            hash.write(name.as_bytes());
            hash.write(&topic.id.0.to_be_bytes());
            hash.write(&topic.partitions.to_be_bytes());
            for racks in self.topics.racks(topic.id) {
                hash.write(&racks.len().to_be_bytes());
                racks.iter().for_each(|rack| hash.write(rack.as_bytes()));
            }
        }
        if found { hash.0.cast_signed() } else { 0 }
    }

    /// How long the target assignment of the group's epoch has still to wait, in milliseconds: two are not made one
    /// soon after the other, so that many members who come at once make few. `None`: there is one already.
    pub fn assignment_due_in(&self, settings: &GroupSettings, now: WallTime) -> Option<u64> {
        let TargetEpoch { epoch, made_at } = self.image.target_epoch;
        let interval = settings.assignment_interval_of(&self.group);
        // A clock that was set back must not hold it up.
        let since = u64::try_from(now.0 - made_at).ok().filter(|_| made_at > 0).unwrap_or(interval);
        (self.image.epoch.epoch > epoch).then(|| interval.saturating_sub(since))
    }

    /// Makes the target assignment of the group's epoch, if there is none yet and it is time.
    pub fn assign(&mut self, settings: &GroupSettings, now: WallTime) {
        if self.assignment_due_in(settings, now) != Some(0) {
            return;
        }
        let (epoch, allowed) = (self.image.epoch.epoch, &settings.consumer_groups.assignors);
        let (mut subscribers, mut topics) = (Subscribers::new(), BTreeMap::new());
        for (member, subscription) in &self.image.members {
            let wanted = self.image.topics_of(subscription).filter_map(|name| self.topics.get(name));
            let wanted: Vec<_> = wanted.collect();
            let shape = |topic: &Topic| Shape { partitions: topic.partitions, racks: self.topics.racks(topic.id) };
            topics.extend(wanted.iter().map(|topic| (topic.id, shape(topic))));
            let assigned = self.image.targets.get(member).map(|it| (**it).clone()).unwrap_or_default();
            let topics: BTreeSet<Uuid> = wanted.iter().map(|topic| topic.id).collect();
            let instance_id = subscription.instance_id.clone();
            let rack = subscription.rack_id.clone();
            subscribers.insert(member.clone(), Subscriber { instance_id, topics, assigned, rack });
        }
        for (member, partitions) in preferred(&self.image, allowed).assign(&subscribers, &topics) {
            let is_same = self.image.targets.get(&member).is_some_and(|it| **it == partitions);
            if !is_same {
                self.push(ConsumerChange::Target { member, partitions: Some(Arc::new(partitions)) });
            }
        }
        self.push(ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch, made_at: now.0 })));
    }
}

/// The assignor that most members want, of those that have a wish; else the first that is configured.
pub(in crate::coordinator) fn preferred(image: &ConsumerImage, allowed: &[String]) -> Assignor {
    let known = |name: &str| allowed.iter().any(|it| it == name).then(|| Assignor::from_name(name)).flatten();
    let mut votes = BTreeMap::<Assignor, usize>::new();
    for wanted in image.members.values().filter_map(|it| known(it.assignor.as_deref()?)) {
        *votes.entry(wanted).or_default() += 1;
    }
    let most = votes.into_iter().max_by_key(|(assignor, votes)| (*votes, std::cmp::Reverse(*assignor)));
    let default = || allowed.iter().find_map(|name| known(name)).unwrap_or(Assignor::Uniform);
    most.map_or_else(default, |(assignor, _)| assignor)
}

/// FNV-1a of 64 bits: what is hashed is nobody's secret, and the hash is only held against an older one.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// With its length before it, so that no two rows of texts are alike.
    fn write(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
