//! Consumers that share topics in groups, and others that commit, look at groups and delete them.
//!
//! * [`member`]: one member at the level of frames: it joins, reads, commits, leaves, dies, sleeps, and comes back;
//!   [`place`]: where it is; [`frames`]: what it sends
//! * [`solo`]: a client in no group, and who reads what all groups have committed in the end

mod frames;
mod member;
mod place;
mod solo;

pub use member::MemberActor;
pub use solo::SoloActor;

pub(super) use frames::fetched;

use ottla_wire::ErrorCode;
use serde::Deserialize;

use crate::groups::Fate;
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos};

/// Who the members of groups are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Members {
    /// Clients at the level of frames, of the classic protocol.
    #[default]
    Frames,
    /// Core's client.
    Core(CoreMembers),
}

/// `client = { core = { protocol = "mixed", also = "u" } }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoreMembers {
    /// Which protocol they speak.
    pub protocol: Protocol,
    /// A second topic that they read, and sometimes do not; none if it is empty.
    pub also: String,
}

/// `group.protocol`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The one in which a member shares out, by an assignor that is drawn for each group.
    #[default]
    Classic,
    /// That of KIP-848.
    Consumer,
    /// Now the one and now the other: the group goes over while its members are in it.
    Mixed,
}

/// `groups = { topic = "t", groups = 2, members = 3 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// Who the members are.
    pub client: Members,
    /// What they read.
    pub topic: String,
    /// How many groups.
    pub groups: u16,
    /// How many members each has.
    pub members: u16,
    /// `session.timeout.ms`
    pub session: Span,
    /// `max.poll.interval.ms`
    pub rebalance: Span,
    /// `heartbeat.interval.ms`
    pub heartbeat: Span,
    /// The mean time between two commits of a member.
    pub commit: Span,
    /// The mean time between two things that a member does beside its work: it leaves, dies, sleeps, joins again.
    pub trouble: Span,
    /// Of a hundred members, so many are static.
    pub fixed: u32,
    /// Whether all that a member does beside its work is to die and to come back at once: a rolling restart.
    pub rolling: bool,
    /// Whether static members come in twos that are one instance.
    pub twins: bool,
    /// Of members that say themselves how long an offset is kept, how long; nobody does if 0.
    pub retention: Span,
    /// How many clients there are beside, in no group.
    pub others: u16,
    /// The mean time between two requests of these.
    pub every: Span,
}

impl Groups {
    /// The name of a group.
    #[must_use]
    pub fn name(&self, group: u16) -> String {
        match self.client {
            Members::Frames => format!("g{group}"),
            Members::Core(_) => format!("c{group}"),
        }
    }

    /// Whether a group may be one of KIP-848, which those who ask about classic ones do not find.
    fn are_classic(&self) -> bool {
        !matches!(&self.client, Members::Core(core) if core.protocol != Protocol::Classic)
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            client: Members::Frames,
            topic: "t".into(),
            groups: 1,
            members: 3,
            session: Span(6_000 * MILLISECOND),
            rebalance: Span(6_000 * MILLISECOND),
            heartbeat: Span(500 * MILLISECOND),
            commit: Span(500 * MILLISECOND),
            trouble: Span(5_000 * MILLISECOND),
            fixed: 50,
            rolling: false,
            twins: false,
            retention: Span(0),
            others: 1,
            every: Span(300 * MILLISECOND),
        }
    }
}

/// How long a client waits before it tries again.
const RETRY: Nanos = 100 * MILLISECOND;

/// What an error says of a change: whether it is certain that it was not made.
pub(super) fn fate(error: ErrorCode) -> Fate {
    match error {
        ErrorCode::NONE => Fate::Done,
        ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::STALE_MEMBER_EPOCH
        | ErrorCode::FENCED_MEMBER_EPOCH
        | ErrorCode::REBALANCE_IN_PROGRESS
        | ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::GROUP_ID_NOT_FOUND
        | ErrorCode::NON_EMPTY_GROUP
        | ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::INVALID_GROUP_ID
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Fate::Refused,
        _ => Fate::Unknown,
    }
}
