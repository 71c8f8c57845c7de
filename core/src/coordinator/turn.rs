//! One event at a shard: what it may use, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::Answer;
use super::group::Member;
use super::image::Change;
use super::settings::GroupSettings;
use super::timers::{Timer, Timers};
use super::topics::Topics;
use crate::clock::Now;
use crate::machine::Ticket;
use crate::planted::Plant;

/// What one event may use.
pub(super) struct Turn<'a> {
    pub now: Now,
    pub settings: &'a GroupSettings,
    pub topics: &'a Topics,
    pub timers: &'a mut Timers,
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// To be appended as one batch.
    pub changes: Vec<Change>,
    /// What may be said when they are committed.
    pub answers: Vec<(Ticket, Answer)>,
    /// What happens to a group when they are.
    pub followup: Option<Followup>,
}

/// What waits for a batch beside answers.
#[derive(Clone, Debug)]
pub(super) enum Followup {
    /// The members of this generation have their assignments.
    Assigned { group: Arc<str>, generation: i32, assignments: BTreeMap<Arc<str>, Bytes> },
    /// A static member was replaced; if that cannot be written, the old one is still who it was.
    Replaced { group: Arc<str>, new: Arc<str>, old: Box<Member> },
}

impl Turn<'_> {
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let answer = if self.settings.planted.has(Plant::Grp05) { answer.unfenced() } else { answer };
        self.outcome.answers.push((ticket, answer));
    }

    pub fn set(&mut self, timer: Timer, after: Duration) {
        self.timers.set(timer, self.now.monotonic + after);
    }

    /// The member's session begins anew.
    pub fn renew_session(&mut self, group: &Arc<str>, member: &Member) {
        let timer = Timer::Session { group: group.clone(), member: member.id.clone() };
        self.set(timer, member.session_timeout());
    }
}
