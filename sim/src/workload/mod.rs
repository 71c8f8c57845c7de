//! Workloads, one a file: what a scenario says of each, and the clients that carry it out.

mod admin;
mod groups;
mod load;
mod produce;
pub mod program;
mod raw;
mod read;
mod setup;

pub use admin::{Admin, AdminActor};
pub use groups::{CoreMembers, Groups, MemberActor, Members, Protocol, SoloActor};
pub use produce::{Produce, ProduceActor};
pub use raw::{Raw, RawActor};
pub use read::{Read, ReadActor};
pub use setup::SetupActor;

use ottla_wire::Reader;
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::time::Nanos;

/// Which client carries a workload out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One that makes its frames itself, in any version, and is as simple as it can be.
    #[default]
    Frames,
    /// The one that programs use: `ottla_core::client`.
    Core,
}

/// What a client at the level of frames does.
#[derive(Clone, Debug)]
pub enum Actor {
    /// Makes the topics that a run begins with.
    Setup(SetupActor),
    /// Writes.
    Produce(Box<ProduceActor>),
    /// Reads.
    Read(Box<ReadActor>),
    /// Changes topics.
    Admin(AdminActor),
    /// Belongs to a group.
    Member(Box<MemberActor>),
    /// Is in no group, and commits, looks and deletes.
    Solo(Box<SoloActor>),
    /// Sends what no good client sends.
    Raw(RawActor),
}

impl Actor {
    /// When it wants to ask something, given how many of its requests are not answered.
    #[must_use]
    pub fn next_wake(&self, in_flight: usize) -> Nanos {
        match self {
            Self::Setup(actor) => actor.next_wake(in_flight),
            Self::Produce(actor) => actor.next_wake(in_flight),
            Self::Read(actor) => actor.next_wake(in_flight),
            Self::Admin(actor) => actor.next_wake(in_flight),
            Self::Member(actor) => actor.next_wake(in_flight),
            Self::Solo(actor) => actor.next_wake(in_flight),
            Self::Raw(actor) => actor.next_wake(in_flight),
        }
    }

    /// Whether it will never ask anything again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Setup(actor) => actor.is_done(),
            Self::Produce(actor) => actor.is_done(),
            Self::Read(actor) => actor.is_done(),
            Self::Admin(actor) => actor.is_done(),
            Self::Member(actor) => actor.is_done(),
            Self::Solo(actor) => actor.is_done(),
            Self::Raw(actor) => actor.is_done(),
        }
    }

    /// What it asks now, if anything.
    pub fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        match self {
            Self::Setup(actor) => actor.next_ask(ctx, in_flight),
            Self::Produce(actor) => actor.next_ask(ctx, in_flight),
            Self::Read(actor) => actor.next_ask(ctx, in_flight),
            Self::Admin(actor) => actor.next_ask(ctx, in_flight),
            Self::Member(actor) => actor.next_ask(ctx, in_flight),
            Self::Solo(actor) => actor.next_ask(ctx, in_flight),
            Self::Raw(actor) => actor.next_ask(ctx, in_flight),
        }
    }

    /// Whether it gives its connection up, as one does that dies, or that has to ask another node.
    pub fn hangs_up(&mut self) -> bool {
        match self {
            Self::Member(actor) => actor.hangs_up(),
            Self::Solo(actor) => actor.hangs_up(),
            Self::Setup(actor) => actor.hangs_up(),
            Self::Admin(actor) => actor.hangs_up(),
            Self::Produce(_) | Self::Read(_) | Self::Raw(_) => false,
        }
    }

    /// An answer came; answers whether the connection can go on.
    pub fn on_answer(&mut self, ctx: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> bool {
        let read = match self {
            Self::Setup(actor) => actor.on_answer(ctx, ask, body),
            Self::Produce(actor) => actor.on_answer(ctx, ask, body),
            Self::Read(actor) => actor.on_answer(ctx, ask, body),
            Self::Admin(actor) => actor.on_answer(ctx, ask, body),
            Self::Member(actor) => actor.on_answer(ctx, ask, body),
            Self::Solo(actor) => actor.on_answer(ctx, ask, body),
            Self::Raw(actor) => actor.on_answer(ctx, ask, body),
        };
        if let Err(error) = &read {
            let what = format!("an answer to {:?} {} cannot be read: {error}", ask.api_key, ask.api_version);
            ctx.judge.report("W1", what);
        }
        read.is_ok()
    }

    /// A request that has no answer was sent.
    pub fn on_unanswered(&mut self, ctx: &mut Ctx<'_>, ask: &Ask) {
        if let Self::Produce(actor) = self {
            actor.on_unanswered(ctx, ask);
        }
    }

    /// A request was sent, and its connection is gone.
    pub fn on_lost(&mut self, ctx: &mut Ctx<'_>, ask: &Ask) {
        match self {
            Self::Produce(actor) => actor.on_lost(ctx, ask),
            Self::Member(actor) => actor.on_lost(ask),
            Self::Solo(actor) => actor.on_lost(ask),
            Self::Admin(actor) => actor.on_lost(),
            Self::Setup(_) | Self::Read(_) | Self::Raw(_) => (),
        }
    }

    /// The connection is up.
    pub fn on_up(&mut self, ctx: &mut Ctx<'_>) {
        if let Self::Read(actor) = self {
            actor.on_up(ctx);
        }
    }

    /// The connection is gone, and every request on it was reported lost.
    pub fn on_down(&mut self, ctx: &mut Ctx<'_>) {
        if let Self::Produce(actor) = self {
            actor.on_down(ctx);
        }
    }
}
