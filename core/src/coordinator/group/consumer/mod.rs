//! Consumer groups (KIP-848): members say what they want, and are told one by one what they are to own.
//!
//! | state       | is                                                                        |
//! |-------------|---------------------------------------------------------------------------|
//! | Empty       | nobody is in it                                                            |
//! | Assigning   | the group's epoch is above that of the target assignment                   |
//! | Reconciling | some member is not at the target's epoch, or has not all that it is to have |
//! | Stable      | everyone has what it is to have                                            |
//!
//! Nearly everything is hard state: a decision is a [`Draft`] over the image, whose changes are written and replayed.
//! Three epochs chase each other: the group's, raised when members or topics change; the target assignment's; each
//! member's, which fences it, and its commits.
//!
//! * `heartbeat`, `leave`: what members say; `target`: what they are to have; `reconcile`: how each gets there;
//!   `regex`: subscriptions by pattern; `classic`: members of the classic protocol; `convert`: from one to the other.
//!
//! Invariants: at any time a partition is one member's, of those that it may own or has still to give up (G1); no
//! member's epoch is above the target's, nor that above the group's; an instance is one member's.

mod classic;
mod convert;
mod draft;
mod heartbeat;
mod leave;
mod reconcile;
mod regex;
mod target;

pub(in crate::coordinator) use draft::{Draft, Refused};
pub(in crate::coordinator) use heartbeat::check as check_heartbeat;

use std::sync::Arc;

use ottla_wire::ErrorCode;

use crate::coordinator::answer::{DescribedConsumer, DescribedConsumerGroup, DescribedPartitions, GroupState};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{ConsumerImage, partitions_of};
use crate::coordinator::request::CommitRequest;
use crate::coordinator::topics::Topics;

/// The epoch of a member that leaves.
pub(in crate::coordinator) const LEFT: i32 = -1;
/// The epoch of a static member that leaves and will be back.
pub(in crate::coordinator) const LEFT_FOR_A_WHILE: i32 = -2;

/// What is not in the log of a consumer group.
#[derive(Clone, Debug)]
pub(in crate::coordinator) struct ConsumerGroup {
    pub id: Arc<str>,
    /// The version of the topics that its subscriptions were last held against; `None`: since the start, none.
    pub seen_topics: Option<i64>,
}

impl ConsumerGroup {
    pub const fn new(id: Arc<str>) -> Self {
        Self { id, seen_topics: None }
    }
}

impl ConsumerImage {
    pub(in crate::coordinator) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch.epoch > self.target_epoch.epoch {
            GroupState::Assigning
        } else if self.members.keys().all(|member| self.is_reconciled(member)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The group, as ConsumerGroupDescribe shows it.
    pub(in crate::coordinator) fn describe(
        &self,
        group: &Arc<str>,
        assignors: &[String],
        topics: &Topics,
    ) -> DescribedConsumerGroup {
        let nothing = Arc::default();
        let members = self.members.iter().map(|(member, subscription)| {
            let current = self.current_of(member);
            DescribedConsumer {
                member_id: member.clone(),
                epoch: current.epoch,
                subscription: subscription.clone(),
                assigned: described(&partitions_of(&current.assigned), topics),
                target: described(self.targets.get(member).unwrap_or(&nothing), topics),
            }
        });
        DescribedConsumerGroup {
            error: ErrorCode::NONE,
            message: None,
            group: group.clone(),
            state: self.state(),
            epoch: self.epoch.epoch,
            target_epoch: self.target_epoch.epoch,
            assignor: target::preferred(self, assignors).name().into(),
            members: members.collect(),
        }
    }

    /// Whether these offsets may be committed in the member's name. What it was given in an epoch is its to commit from
    /// that epoch on: a commit may cross with the heartbeat that takes the member further (KIP-1251).
    pub(in crate::coordinator) fn check_commit(&self, request: &CommitRequest<'_>) -> Result<(), ErrorCode> {
        if request.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        // Who is told that it is unknown would join again, and take its instance back.
        let owner = request.instance_id.and_then(|instance| self.instances.get(instance));
        if owner.is_some_and(|owner| **owner != *request.member_id) {
            return Err(ErrorCode::FENCED_INSTANCE_ID);
        }
        let subscription = self.members.get(request.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let is_classic = subscription.classic.is_some();
        if !is_classic && !request.knows_member_epochs {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let current = self.current_of(request.member_id);
        if request.generation == current.epoch {
            return Ok(());
        }
        let places = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|it| (topic.id, it.partition)));
        let mut given = places.map(|(topic, partition)| current.given_at(topic, partition));
        let may = request.generation < current.epoch && given.all(|at| at.is_some_and(|at| at <= request.generation));
        match may {
            true => Ok(()),
            false if is_classic => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// Whether a member may ask for the group's offsets; who names no member may.
    pub(in crate::coordinator) fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(member) = member.filter(|member| !(member.is_empty() && epoch < 0)) else { return Ok(()) };
        let subscription = self.members.get(member).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match epoch == self.current_of(member).epoch {
            true => Ok(()),
            false if subscription.classic.is_some() => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }
}

/// With the names of the topics; those that are no more have none.
fn described(partitions: &Partitions, topics: &Topics) -> Vec<DescribedPartitions> {
    let named = partitions.iter().filter_map(|(id, partitions)| {
        let name = topics.name(*id)?.clone();
        Some(DescribedPartitions { id: *id, name, partitions: partitions.iter().copied().collect() })
    });
    named.collect()
}
