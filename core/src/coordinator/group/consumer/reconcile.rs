//! From what a member owns to what it is to own: revoke, then assign.
//!
//! | state      | the member                                     | then                                               |
//! |------------|------------------------------------------------|----------------------------------------------------|
//! | Stable     | has what it is to have at its epoch            | there is another target: it goes on towards it     |
//! | Unrevoked  | is to give up partitions, in its present epoch | it says that it has: its epoch is the next one     |
//! | Unreleased | waits for what others have still to give up    | it is given what has become free                   |
//!
//! A partition is given to a member only when no other may own it: neither has it nor has still to give it up.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::Uuid;

use super::draft::Draft;
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{ConsumerChange, CurrentAssignment, MemberState, Owned};
use crate::planted::Plant;

/// GRP-01: the epoch of what nobody remembers.
const FORGOTTEN: i32 = -1;

impl Draft<'_> {
    /// Takes a member as far as it can go; `owned` is what it says it has, if it says so.
    pub fn reconcile(&mut self, member: &Arc<str>, owned: Option<&Partitions>) -> Arc<CurrentAssignment> {
        let before = self.image.current_of(member);
        let next = match before.state {
            MemberState::Stable if before.epoch == self.image.target_epoch.epoch => None,
            MemberState::Unrevoked if owns_any(owned, &before.revoking) => {
                self.planted.has(Plant::Grp01).then(|| self.keep_again(member, &before))
            }
            MemberState::Unrevoked => Some(self.next(member, &before, before.epoch.saturating_add(1), owned)),
            MemberState::Stable | MemberState::Unreleased => Some(self.next(member, &before, before.epoch, owned)),
        };
        match next.filter(|next| *next != *before) {
            None => before,
            Some(next) => {
                let next = Arc::new(next);
                self.push(ConsumerChange::Current { member: member.clone(), current: Some(next.clone()) });
                next
            }
        }
    }

    /// What the member owns next. `epoch` is its own if it has first to give something up; else it is the target's.
    fn next(
        &self,
        member: &Arc<str>,
        before: &CurrentAssignment,
        epoch: i32,
        owned: Option<&Partitions>,
    ) -> CurrentAssignment {
        let nothing = Arc::default();
        let target = self.image.targets.get(member).unwrap_or(&nothing);
        let is_target =
            |topic: &Uuid, partition: &i32| target.get(topic).is_some_and(|partitions| partitions.contains(partition));
        let (mut assigned, mut revoking) = (Owned::new(), Owned::new());
        for (topic, partitions) in &before.assigned {
            for (partition, given_at) in partitions {
                let side = if is_target(topic, partition) { &mut assigned } else { &mut revoking };
                side.entry(*topic).or_default().insert(*partition, *given_at);
            }
        }
        if owns_any(owned, &revoking) {
            return at_epoch(before, epoch, MemberState::Unrevoked, (assigned, revoking));
        }
        let target_epoch = self.image.target_epoch.epoch;
        let wanted = target.iter().flat_map(|(topic, partitions)| partitions.iter().map(|it| (*topic, *it)));
        let has = |owned: &Owned, (topic, partition): (Uuid, i32)| {
            owned.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
        };
        let missing: BTreeSet<(Uuid, i32)> = wanted.filter(|it| !has(&assigned, *it)).collect();
        let taken = self.taken(member, &missing);
        for (topic, partition) in missing.difference(&taken) {
            assigned.entry(*topic).or_default().insert(*partition, target_epoch);
        }
        let state = if taken.is_empty() { MemberState::Stable } else { MemberState::Unreleased };
        at_epoch(before, target_epoch, state, (assigned, Owned::new()))
    }

    /// GRP-01: what it is to give up and is to have again it keeps, at no epoch.
    fn keep_again(&self, member: &str, before: &CurrentAssignment) -> CurrentAssignment {
        let mut next = before.clone();
        for (topic, partitions) in &mut next.revoking {
            let target = self.image.targets.get(member).and_then(|target| target.get(topic));
            partitions.retain(|partition, _| {
                let again = target.is_some_and(|target| target.contains(partition));
                if again {
                    next.assigned.entry(*topic).or_default().insert(*partition, FORGOTTEN);
                }
                !again
            });
        }
        next.revoking.retain(|_, partitions| !partitions.is_empty());
        if next.revoking.is_empty() {
            next.state = MemberState::Stable;
        }
        next
    }

    /// Those of the partitions that another member may own.
    pub fn taken(&self, member: &Arc<str>, partitions: &BTreeSet<(Uuid, i32)>) -> BTreeSet<(Uuid, i32)> {
        let mut taken = BTreeSet::new();
        if partitions.is_empty() || self.planted.has(Plant::Grp02) {
            return taken;
        }
        let others = self.image.current.iter().filter(|(id, _)| *id != member);
        for (topic, held) in others.flat_map(|(_, it)| it.assigned.iter().chain(&it.revoking)) {
            let remembered = |epoch: &i32| *epoch != FORGOTTEN || !self.planted.has(Plant::Grp01);
            let held = held.iter().filter(|(_, epoch)| remembered(epoch));
            let held = held.map(|(partition, _)| (*topic, *partition));
            taken.extend(held.filter(|it| partitions.contains(it)));
        }
        taken
    }
}

fn at_epoch(
    before: &CurrentAssignment,
    epoch: i32,
    state: MemberState,
    (assigned, revoking): (Owned, Owned),
) -> CurrentAssignment {
    // A member that only gets more in its epoch is still known by the epoch before it.
    let previous_epoch = if epoch == before.epoch { before.previous_epoch } else { before.epoch };
    CurrentAssignment { epoch, previous_epoch, state, assigned, revoking }
}

/// Whether the member has, or may have, any of these. Who does not say what it has may have everything.
fn owns_any(owned: Option<&Partitions>, of: &Owned) -> bool {
    let Some(owned) = owned else { return !of.is_empty() };
    let of_topic = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| {
        of.get(topic).is_some_and(|of| partitions.iter().any(|partition| of.contains_key(partition)))
    };
    owned.iter().any(of_topic)
}
