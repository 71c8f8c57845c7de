//! How answers and changes are written in traces and in text scripts.

mod consumer;

use std::fmt::{self, Display, Formatter};

use ottla_wire::ErrorCode;

use super::answer::{Answer, FetchedTopic, JoinAnswer, SyncAnswer, TopicResult};
use super::image::{Change, GroupMetadata};

/// As in `a, b`.
struct List<I>(I);

/// Bytes of a protocol that nobody here knows; binary ones by their number.
struct Text<'a>(&'a [u8]);

/// An instance of a static member, as in `@i`.
struct Instance<'a>(Option<&'a str>);

impl<I: Iterator<Item: Display> + Clone> Display for List<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.clone().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.contains(char::is_control) => write!(f, "'{text}'"),
            _ => write!(f, "{} B", self.0.len()),
        }
    }
}

impl Display for Instance<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |instance| write!(f, "@{instance}"))
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(it) => it.fmt(f),
            Self::Sync(it) => it.fmt(f),
            Self::Heartbeat(error) => write!(f, "Heartbeat {error}"),
            Self::Leave(it) => {
                let members = it.members.iter().map(|member| {
                    let instance = Instance(member.instance_id.as_deref()).to_string();
                    format!("{}{instance} {}", member.member_id, member.error)
                });
                write!(f, "Leave {}: {}", it.error, List(members))
            }
            Self::ConsumerHeartbeat(it) => it.fmt(f),
            Self::ConsumerDescribe(it) => it.fmt(f),
            Self::Commit(it) => write!(f, "Commit {}", List(it.topics.iter())),
            Self::FetchOffsets(it) => write!(f, "Offsets {} {}: {}", it.group, it.error, List(it.topics.iter())),
            Self::Describe(it) => {
                let members = it.members.iter().map(|member| {
                    let instance = Instance(member.instance_id.as_deref()).to_string();
                    let (id, assignment) = (&member.member_id, Text(&member.assignment));
                    format!("{id}{instance} of {}{} has {assignment}", member.client_id, member.client_host)
                });
                let (state, kind, protocol) = (it.state, &it.protocol_type, &it.protocol);
                write!(f, "Group {} {} {state} '{kind}' '{protocol}': {}", it.group, it.error, List(members))
            }
            Self::List { error, groups } => {
                let groups =
                    groups.iter().map(|it| format!("{} {} {} '{}'", it.group, it.kind, it.state, it.protocol_type));
                write!(f, "Groups {error}: {}", List(groups))
            }
            Self::Delete { groups } => {
                write!(f, "Delete {}", List(groups.iter().map(|(group, error)| format!("{group} {error}"))))
            }
            Self::DeleteOffsets(it) => write!(f, "DeleteOffsets {}: {}", it.error, List(it.topics.iter())),
        }
    }
}

impl Display for JoinAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.error != ErrorCode::NONE {
            return write!(f, "Join {} as '{}'", self.error, self.member_id);
        }
        let protocol = self.protocol.as_deref().unwrap_or_default();
        write!(f, "Join generation {} {protocol} as {}, leader {}", self.generation, self.member_id, self.leader)?;
        if !self.members.is_empty() {
            let members = self.members.iter().map(|it| {
                let instance = Instance(it.instance_id.as_deref()).to_string();
                format!("{}{instance} {}", it.member_id, Text(&it.metadata))
            });
            write!(f, " of {}", List(members))?;
        }
        f.write_str(if self.skip_assignment { ", no assignment needed" } else { "" })
    }
}

impl Display for SyncAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.error != ErrorCode::NONE {
            return write!(f, "Sync {}", self.error);
        }
        write!(f, "Sync {} {}", self.protocol.as_deref().unwrap_or_default(), Text(&self.assignment))
    }
}

impl Display for TopicResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        List(self.partitions.iter().map(|it| format!("{}-{} {}", self.name, it.partition, it.error))).fmt(f)
    }
}

impl Display for FetchedTopic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let partitions = self.partitions.iter().map(|it| {
            let note = if it.metadata.is_empty() { String::new() } else { format!(" '{}'", it.metadata) };
            format!("{}-{}={}{note}", self.name, it.partition, it.offset)
        });
        List(partitions).fmt(f)
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset { at, offset: Some(offset) } => {
                write!(f, "{} {}-{}={}", at.group, at.topic, at.partition, offset.offset)
            }
            Self::Offset { at, offset: None } => write!(f, "{} {}-{} is gone", at.group, at.topic, at.partition),
            Self::Group { group, metadata: Some(it) } => write!(f, "{group} {it}"),
            Self::Group { group, metadata: None } => write!(f, "{group} is gone"),
            Self::Consumer { group, change } => write!(f, "{group} {change}"),
            Self::Other => f.write_str("another kind of record"),
        }
    }
}

impl Display for GroupMetadata {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|it| {
            let instance = Instance(it.instance_id.as_deref()).to_string();
            format!("{}{instance} has {}", it.id, Text(&it.assignment))
        });
        write!(f, "generation {} '{}' '{protocol}': {}", self.generation, self.protocol_type, List(members))
    }
}
