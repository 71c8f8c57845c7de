//! What a decision about one consumer group would make of it, change by change.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_wire::ErrorCode;

use crate::coordinator::consumer_image::{ConsumerChange, ConsumerImage, GroupEpoch, Subscription};
use crate::coordinator::image::Change;
use crate::coordinator::topics::Topics;
use crate::coordinator::turn::Turn;
use crate::planted::Planted;

/// A group as it will be. Most heartbeats change nothing: the image is copied with the first change.
pub(in crate::coordinator) struct Draft<'a> {
    pub group: Arc<str>,
    pub image: Cow<'a, ConsumerImage>,
    pub topics: &'a Topics,
    pub planted: Planted,
    /// In the order in which Kafka, too, can read them.
    pub changes: Vec<Change>,
}

/// Why a request is refused.
#[derive(Debug)]
pub(in crate::coordinator) struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

impl Refused {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl<'a> Draft<'a> {
    pub const fn new(group: Arc<str>, image: Cow<'a, ConsumerImage>, turn: &Turn<'a>) -> Self {
        Self { group, image, topics: turn.topics, planted: turn.settings.planted, changes: Vec::new() }
    }

    pub fn push(&mut self, change: ConsumerChange) {
        self.image.to_mut().replay(&change);
        self.changes.push(Change::Consumer { group: self.group.clone(), change });
    }

    /// Another assignment is needed.
    pub fn bump(&mut self) {
        let epoch = self.image.epoch.epoch.saturating_add(1);
        let metadata_hash = self.metadata_hash();
        self.push(ConsumerChange::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
    }

    /// A member is in the group no more. What follows from that, [`Draft::after_removal`] decides.
    pub fn remove(&mut self, member: &Arc<str>) {
        let regex = self.image.members.get(member).and_then(|it| it.regex.clone());
        self.forget_member(member);
        self.forget_regex(regex);
    }

    pub fn forget_member(&mut self, member: &Arc<str>) {
        self.push(ConsumerChange::Current { member: member.clone(), current: None });
        self.push(ConsumerChange::Target { member: member.clone(), partitions: None });
        self.push(ConsumerChange::Member { member: member.clone(), subscription: None });
    }

    /// Forgets what a regular expression stands for, if nobody is subscribed by it any more.
    pub fn forget_regex(&mut self, regex: Option<Arc<str>>) {
        let Some(regex) = regex.filter(|regex| self.image.regexes.contains_key(regex)) else { return };
        let is_used = |it: &Arc<Subscription>| it.regex.as_ref() == Some(&regex);
        if !self.image.members.values().any(is_used) {
            self.push(ConsumerChange::Regex { regex, resolved: None });
        }
    }

    /// Everything that the log has of the group is taken away.
    pub fn remove_group(&mut self) {
        let members: Vec<Arc<str>> = self.image.members.keys().cloned().collect();
        for member in &members {
            self.forget_member(member);
        }
        let regexes: Vec<Arc<str>> = self.image.regexes.keys().cloned().collect();
        for regex in regexes {
            self.push(ConsumerChange::Regex { regex, resolved: None });
        }
        self.push(ConsumerChange::TargetEpoch(None));
        self.push(ConsumerChange::Epoch(None));
    }
}
