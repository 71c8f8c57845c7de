//! Consumer groups, written out.

use std::fmt::{self, Display, Formatter};

use ottla_wire::ErrorCode;

use super::{Instance, List};
use crate::coordinator::answer::{ConsumerHeartbeatAnswer, DescribedConsumerGroup, DescribedPartitions};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{ConsumerChange, CurrentAssignment, Subscription, partitions_of};

/// As in `topic:0+1 other:2`.
struct Places<'a>(&'a Partitions);

impl Display for Places<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (place, (topic, partitions)) in self.0.iter().enumerate() {
            let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
            write!(f, "{}{topic}:{}", if place == 0 { "" } else { " " }, partitions.join("+"))?;
        }
        Ok(())
    }
}

impl Display for ConsumerHeartbeatAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.error != ErrorCode::NONE {
            return write!(f, "Member {}", self.error);
        }
        write!(f, "Member {} epoch {}", self.member_id.as_deref().unwrap_or_default(), self.member_epoch)?;
        self.assignment.as_ref().map_or(Ok(()), |assignment| write!(f, " has {}", Places(assignment)))
    }
}

impl Display for DescribedConsumerGroup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let members = self.members.iter().map(|it| {
            let instance = Instance(it.subscription.instance_id.as_deref()).to_string();
            let kind = if it.subscription.classic.is_some() { " classic" } else { "" };
            let (has, wants) = (List(it.assigned.iter()), List(it.target.iter()));
            format!("{}{instance}{kind} at {} has [{has}] of [{wants}]", it.member_id, it.epoch)
        });
        let Self { group, error, state, epoch, target_epoch, assignor, .. } = self;
        write!(
            f,
            "Consumers {group} {error} {state} epoch {epoch} target {target_epoch} '{assignor}': {}",
            List(members)
        )
    }
}

impl Display for DescribedPartitions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let partitions: Vec<String> = self.partitions.iter().map(i32::to_string).collect();
        write!(f, "{}:{}", self.name, partitions.join("+"))
    }
}

impl Display for ConsumerChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(Some(it)) => write!(f, "epoch {}", it.epoch),
            Self::Epoch(None) => f.write_str("is a consumer group no more"),
            Self::Member { member, subscription: Some(it) } => write!(f, "{member} {it}"),
            Self::Member { member, subscription: None } => write!(f, "{member} is gone"),
            Self::Regex { regex, resolved: Some(it) } => write!(f, "/{regex}/ is {}", List(it.topics.iter())),
            Self::Regex { regex, resolved: None } => write!(f, "/{regex}/ is gone"),
            Self::TargetEpoch(Some(it)) => write!(f, "target epoch {}", it.epoch),
            Self::TargetEpoch(None) => f.write_str("target epoch is gone"),
            Self::Target { member, partitions: Some(it) } => write!(f, "{member} is to have {}", Places(it)),
            Self::Target { member, partitions: None } => write!(f, "{member} has no target"),
            Self::Current { member, current: Some(it) } => write!(f, "{member} {it}"),
            Self::Current { member, current: None } => write!(f, "{member} has no assignment"),
        }
    }
}

impl Display for Subscription {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.instance_id.is_some() {
            write!(f, "{} ", Instance(self.instance_id.as_deref()))?;
        }
        write!(f, "subscribes [{}]", List(self.topics.iter()))?;
        if let Some(regex) = &self.regex {
            write!(f, " /{regex}/")?;
        }
        if let Some(classic) = &self.classic {
            write!(f, " by {}", List(classic.protocols.iter().map(|(name, _)| name)))?;
        }
        Ok(())
    }
}

impl Display for CurrentAssignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (has, gives) = (partitions_of(&self.assigned), partitions_of(&self.revoking));
        let Self { epoch, previous_epoch, state, .. } = self;
        write!(f, "at {epoch} after {previous_epoch} {state:?} has {}", Places(&has))?;
        if gives.is_empty() { Ok(()) } else { write!(f, ", gives up {}", Places(&gives)) }
    }
}
