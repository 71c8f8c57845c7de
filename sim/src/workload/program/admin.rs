//! A program that changes topics with core's client: as the one at the level of frames does.

use ottla_core::client::{AdminRequest, ClientConfig, Command, Event, Resource};
use ottla_core::types::{Offset, TopicPartition};

use super::{LOOK, base_config};
use crate::client::Ctx;
use crate::draw::Draw;
use crate::metadata::ChangeId;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::Admin;
use crate::workload::admin::{Change, draw_change};

/// Within less the client asks nothing again: the least that `retry.backoff.ms` comes to.
const PATIENCE: Nanos = 75 * MILLISECOND;

/// See the module.
#[derive(Clone, Debug)]
pub struct Manager {
    params: Admin,
    partitions: i32,
    next_at: Nanos,
    until: Nanos,
    /// The request that has not ended, and what it is to leave in the metadata.
    waiting: Option<(u64, Option<ChangeId>)>,
    asked: u64,
    over: bool,
}

impl Manager {
    /// A program that changes things from `at` until `until`, or until the load ends, and the client that it uses.
    #[must_use]
    pub fn new(params: &Admin, partitions: i32, at: Nanos, until: Nanos, draw: Draw) -> (Self, ClientConfig) {
        let config = base_config(2 * SECOND, draw);
        let (waiting, asked, over) = (None, 0, false);
        (Self { params: params.clone(), partitions, next_at: at, until, waiting, asked, over }, config)
    }

    pub(super) const fn next_wake(&self) -> Nanos {
        if self.waiting.is_some() { u64::MAX } else { self.next_at }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.over && self.waiting.is_none()
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.waiting.is_some())
    }

    pub(super) fn next_command(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        self.over |= !ctx.load;
        if self.over || self.waiting.is_some() || ctx.now < self.next_at {
            return None;
        }
        if ctx.now >= self.until {
            self.next_at = ctx.now + LOOK;
            return None;
        }
        self.next_at = ctx.now + 1 + ctx.draw().exponential(self.params.every.0);
        let change = draw_change(&self.params, self.partitions, ctx)?;
        self.asked += 1;
        self.waiting = Some((self.asked, change.ask(&self.params.topic, ctx)));
        let request = self.request(change);
        Some(Command::Admin { token: self.asked, request: Box::new(request) })
    }

    /// Answers whether the event was to be expected.
    pub(super) fn on_event(&mut self, ctx: &mut Ctx<'_>, event: &Event) -> bool {
        let (Event::AdminDone { token, .. } | Event::AdminFailed { token, .. }) = event else { return false };
        let Some((_, change)) = self.waiting.take_if(|(waiting, _)| waiting == token) else { return false };
        match (change, event) {
            (Some(change), Event::AdminDone { .. }) => ctx.judge.metadata.done(ctx.now, change),
            (Some(change), Event::AdminFailed { definite: true, .. }) => ctx.judge.metadata.refused(ctx.now, change),
            _ => (),
        }
        if let Some(change) = change {
            ctx.judge.metadata.answered(ctx.now, change, PATIENCE);
        }
        true
    }

    fn request(&self, change: Change) -> AdminRequest {
        match change {
            Change::Create { name, partitions } => {
                AdminRequest::CreateTopic { name: name.into(), partitions, replication_factor: 1, configs: Vec::new() }
            }
            Change::Delete { name } => AdminRequest::DeleteTopic { name: name.into() },
            Change::DeleteRecords { partition, before } => AdminRequest::DeleteRecords {
                partition: TopicPartition::new(self.params.topic.as_str(), partition),
                before: before.map(Offset),
            },
            Change::Move { .. } | Change::Elect => unreachable!("a scenario that asks for it is refused"),
            Change::Alter { key, value } => AdminRequest::AlterConfigs {
                resource: Resource::Topic,
                name: self.params.topic.as_str().into(),
                entries: vec![(key.into(), value.map(Into::into))],
            },
        }
    }
}
