//! Programs that use core's client, one a file: what they ask of it, and what they make of its events.

mod admin;
mod member;
mod read;
mod write;

pub use admin::Manager;
pub use member::Member;
pub use read::Reader;
pub use write::Writer;

use bytes::Bytes;
use ottla_core::client::{Client, ClientConfig, Command, Event};

use crate::client::Ctx;
use crate::draw::Draw;
use crate::network::Wire;
use crate::time::{MILLISECOND, Nanos, SECOND};

/// What a client is used for.
#[derive(Clone, Debug)]
pub enum Program {
    /// It writes.
    Write(Box<Writer>),
    /// It reads.
    Read(Box<Reader>),
    /// It changes topics.
    Admin(Box<Manager>),
    /// It belongs to a group.
    Member(Box<Member>),
}

/// How long a program waits before it tries again what failed.
const RETRY: Nanos = 100 * MILLISECOND;
/// How often a program that has nothing to do looks whether the load is over.
const LOOK: Nanos = SECOND;

impl Program {
    /// When it wants to ask something that depends on time alone.
    #[must_use]
    pub fn next_wake(&self) -> Nanos {
        match self {
            Self::Write(program) => program.next_wake(),
            Self::Read(program) => program.next_wake(),
            Self::Admin(program) => program.next_wake(),
            Self::Member(program) => program.next_wake(),
        }
    }

    /// Whether it will never ask anything again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Write(program) => program.is_done(),
            Self::Read(program) => program.is_done(),
            Self::Admin(program) => program.is_done(),
            Self::Member(program) => program.is_done(),
        }
    }

    /// How many of its commands have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        match self {
            Self::Write(program) => program.in_flight(),
            Self::Read(program) => program.in_flight(),
            Self::Admin(program) => program.in_flight(),
            Self::Member(program) => program.in_flight(),
        }
    }

    /// What it asks for now, if anything.
    pub fn next_command(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        match self {
            Self::Write(program) => program.next_command(ctx),
            Self::Read(program) => program.next_command(ctx),
            Self::Admin(program) => program.next_command(ctx),
            Self::Member(program) => program.next_command(ctx),
        }
    }

    /// Its process has ended: whatever it had is gone, and the next one has a client with this configuration.
    pub fn ends(&mut self, ctx: &mut Ctx<'_>) -> Option<ClientConfig> {
        match self {
            Self::Member(program) => program.ends(ctx),
            Self::Write(_) | Self::Read(_) | Self::Admin(_) => None,
        }
    }

    /// The client sends a frame, with its length.
    pub fn overhear_request(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes) {
        if let Self::Member(program) = self {
            program.overhear_request(ctx, wire, frame);
        }
    }

    /// The client is about to get a frame, without its length.
    pub fn overhear_answer(&mut self, ctx: &mut Ctx<'_>, wire: Wire, frame: &Bytes) {
        if let Self::Member(program) = self {
            program.overhear_answer(ctx, wire, frame);
        }
    }

    /// The client has done something: where it stands may be known now.
    pub fn look(&mut self, ctx: &mut Ctx<'_>, client: &Client) {
        if let Self::Member(program) = self {
            program.look(ctx, client);
        }
    }

    /// The client has news. An event that nothing was asked for breaks the client's promise.
    pub fn on_event(&mut self, ctx: &mut Ctx<'_>, event: Event) {
        let text = event.to_string();
        let wanted = match self {
            Self::Write(program) => program.on_event(ctx, event),
            Self::Read(program) => program.on_event(ctx, event),
            Self::Admin(program) => program.on_event(ctx, &event),
            Self::Member(program) => program.on_event(ctx, event),
        };
        if !wanted {
            ctx.judge.report("client", format!("client {} is told what it did not ask for: {text}", ctx.id));
        }
    }
}

/// What the clients of all programs have in common; times that nobody says are drawn.
fn base_config(request_timeout: Nanos, draw: Draw) -> ClientConfig {
    let request_timeout_ms = (request_timeout / MILLISECOND).max(1);
    let mut config = ClientConfig {
        metadata_max_age_ms: draw.and(1).log_between(1_000, 300_000),
        // Topics are made by the set-up, with all their partitions, or not at all.
        allow_auto_create_topics: false,
        default_api_timeout_ms: draw.and(2).log_between(2_000, 30_000),
        ..ClientConfig::default()
    };
    config.rpc.client_id = "sim".into();
    config.rpc.request_timeout_ms = request_timeout_ms;
    config.rpc.socket_connection_setup_timeout_ms = draw.and(3).log_between(500, 10_000);
    config
}

/// Part of a draw as a size.
fn size(draw: Draw, low: u64, high: u64) -> usize {
    usize::try_from(draw.log_between(low, high)).unwrap_or(usize::MAX)
}
