//! A group goes over from one protocol to the other while its members are in it (`group.consumer.migration.policy`).
//!
//! | from     | to       | when                                                  |
//! |----------|----------|-------------------------------------------------------|
//! | classic  | consumer | somebody joins by ConsumerGroupHeartbeat               |
//! | consumer | classic  | the last member that does not speak classic has gone  |
//!
//! Members keep what they have, and are told to join again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

use super::classic::{assignment_of, encode_assignment, owned_by, subscription_of};
use super::draft::{Draft, Refused};
use crate::clock::WallTime;
use crate::config::MigrationPolicy;
use crate::coordinator::consumer_image::{
    ClassicMember, ConsumerChange, CurrentAssignment, GroupEpoch, MemberState, Owned, Subscription, TargetEpoch,
    partitions_of,
};
use crate::coordinator::group::protocols::spoken_by_all;
use crate::coordinator::group::{CONSUMER, ClassicGroup, Member};
use crate::coordinator::image::{Change, GroupMetadata, MemberMetadata};
use crate::coordinator::settings::GroupSettings;

/// The version of assignments that every member can read.
const OLDEST: i16 = 0;

impl Draft<'_> {
    /// Takes over a classic group: its generation becomes everyone's epoch. Who has never been in a generation has
    /// nothing to keep, and will join again.
    pub fn take_in(&mut self, group: &ClassicGroup, settings: &GroupSettings, now: WallTime) -> Result<(), Refused> {
        let refused = |why: &str| {
            let what = format!("Group {} is not a consumer group: {why}.", group.id);
            Refused::new(ErrorCode::GROUP_ID_NOT_FOUND, what)
        };
        let max = usize::try_from(settings.consumer_groups.max_size).unwrap_or(usize::MAX);
        let policy = settings.consumer_groups.migration_policy;
        if !matches!(policy, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional) {
            return Err(refused("the policy is against its going over"));
        }
        if !group.speaks_consumer() || group.members.len() > max {
            return Err(refused("its members cannot be in one"));
        }
        self.changes.push(Change::Group { group: group.id.clone(), metadata: None });
        let protocol = group.protocol.clone().unwrap_or_default();
        let old: Vec<&Member> = group.members.values().filter(|member| !member.is_new).collect();
        let (mut owned, mut taken) = (Vec::new(), BTreeSet::new());
        for member in &old {
            let of = Subscription {
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                ..Subscription::default()
            };
            let subscription = subscription_of(&member.protocols, &protocol, of, member.session_timeout_ms);
            let assigned = assignment_of(&member.assignment, group.generation, self.topics);
            let (Some(subscription), Some(mut assigned)) = (subscription, assigned) else {
                return Err(refused("what its members say cannot be read"));
            };
            // A leader may have given one partition to two; here it is one member's.
            for (topic, partitions) in &mut assigned {
                partitions.retain(|partition, _| taken.insert((*topic, *partition)));
            }
            assigned.retain(|_, partitions| !partitions.is_empty());
            owned.push(assigned);
            let (member, subscription) = (member.id.clone(), Some(Arc::new(subscription)));
            self.push(ConsumerChange::Member { member, subscription });
        }
        // In a rebalance nobody is assigned anything yet, and who rebalances cooperatively goes on with what it has.
        for (place, (topic, partition)) in self.claims(&old, &protocol) {
            if taken.insert((topic, partition)) {
                owned[place].entry(topic).or_default().insert(partition, group.generation);
            }
        }
        // Held against no topics yet, as with Kafka, so that another assignment is made: the leader may have been
        // between the two rebalances of KIP-429, and who comes in a static member's place asks for nothing new.
        let epoch = GroupEpoch { epoch: group.generation, metadata_hash: 0 };
        self.push(ConsumerChange::Epoch(Some(epoch)));
        for (member, assigned) in old.iter().zip(&owned) {
            let partitions = Some(Arc::new(partitions_of(assigned)));
            self.push(ConsumerChange::Target { member: member.id.clone(), partitions });
        }
        self.push(ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch: group.generation, made_at: now.0 })));
        for (member, assigned) in old.iter().zip(owned) {
            let current = CurrentAssignment {
                epoch: group.generation,
                previous_epoch: group.generation,
                state: MemberState::Stable,
                assigned,
                revoking: Owned::new(),
            };
            self.push(ConsumerChange::Current { member: member.id.clone(), current: Some(Arc::new(current)) });
        }
        Ok(())
    }

    /// What members said that they own when they joined last, each by its place: of two that own the same, first who
    /// did so in the later generation (KIP-792).
    fn claims(&self, members: &[&Member], protocol: &str) -> Vec<(usize, (Uuid, i32))> {
        let mut claims = Vec::new();
        for (place, member) in members.iter().enumerate() {
            let Some((_, metadata)) = member.protocols.iter().find(|(name, _)| **name == *protocol) else { continue };
            let (generation, owned) = owned_by(metadata, self.topics);
            let owned = owned.iter().flat_map(|(topic, partitions)| partitions.iter().map(|it| (*topic, *it)));
            claims.extend(owned.map(|it| (generation, place, it)));
        }
        claims.sort_by_key(|(generation, ..)| std::cmp::Reverse(*generation));
        claims.into_iter().map(|(_, place, it)| (place, it)).collect()
    }

    /// Members are gone: another assignment is needed, unless those who are left go back to the classic protocol.
    pub fn after_removal(&mut self, settings: &GroupSettings, now: WallTime) {
        let allowed = matches!(
            settings.consumer_groups.migration_policy,
            MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional
        );
        let members = &self.image.members;
        let all_classic = !members.is_empty() && members.values().all(|it| it.classic.is_some());
        let max = usize::try_from(settings.groups.max_size).unwrap_or(usize::MAX);
        match self.as_classic(now).filter(|_| allowed && all_classic && members.len() <= max) {
            None => self.bump(),
            Some(metadata) => {
                self.remove_group();
                let group = self.group.clone();
                self.changes.push(Change::Group { group, metadata: Some(Arc::new(metadata)) });
            }
        }
    }

    /// The group as a generation of a classic one; nobody leads it, so it is rebalanced as soon as it is one. `None`:
    /// its members have no protocol in common.
    fn as_classic(&self, now: WallTime) -> Option<GroupMetadata> {
        let classic: Option<Vec<(&Arc<str>, &Subscription, &ClassicMember)>> =
            self.image.members.iter().map(|(id, it)| Some((id, &**it, it.classic.as_ref()?))).collect();
        let classic = classic?;
        let common = spoken_by_all(classic.iter().map(|(_, _, it)| &it.protocols))?;
        let (_, _, first) = classic.first()?;
        let protocol = first.protocols.iter().map(|(name, _)| name).find(|name| common.contains(&***name))?.clone();
        let members = classic.into_iter().map(|(id, subscription, classic)| {
            let metadata = classic.protocols.iter().find(|(name, _)| *name == protocol).map(|(_, it)| it.clone());
            MemberMetadata {
                id: id.clone(),
                instance_id: subscription.instance_id.clone(),
                client_id: subscription.client_id.clone(),
                client_host: subscription.client_host.clone(),
                rebalance_timeout_ms: subscription.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                subscription: metadata.unwrap_or_else(Bytes::new),
                assignment: encode_assignment(&partitions_of(&self.image.current_of(id).assigned), self.topics, OLDEST),
            }
        });
        let members = members.collect();
        Some(GroupMetadata {
            protocol_type: CONSUMER.into(),
            generation: self.image.epoch.epoch,
            protocol: Some(protocol),
            leader: None,
            since: now.0,
            members,
        })
    }
}
