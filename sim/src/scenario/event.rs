//! One event of an exact file: when, for how long, and what.

use serde::Deserialize;
use toml::{Table, Value};

use super::{ScenarioError, Span};
use crate::faults;
use crate::time::Nanos;
use crate::workload;

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Event {
    /// What its draws hang on.
    pub name: String,
    /// When it starts.
    pub when: When,
    /// How long it lasts, where that means something; to the end otherwise.
    pub lasts: Option<Nanos>,
    /// Which nodes it happens to, where it happens to nodes.
    pub target: Target,
    /// What happens.
    pub action: Action,
}

/// Which of several nodes something happens to. Whoever is not named is drawn or found when it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// `any`: the one at which the event's trigger went off, or else one that is drawn.
    #[default]
    Any,
    /// `node:1`
    Node(u16),
    /// `leader`: who leads the quorum then; if nobody does, one that is drawn.
    Leader,
    /// `follower`: one of the others.
    Follower,
    /// `minority`: less than half of them, drawn.
    Minority,
    /// `majority`: more than half of them, drawn.
    Majority,
    /// `all`
    All,
}

/// When an event starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Not before this.
    pub at: Nanos,
    /// Then, when this has happened; at once if nothing is named.
    pub on: Option<Trigger>,
    /// So long after it. 0: exactly there, between two effects.
    pub delay: Nanos,
}

/// Something in a run that an event can wait for, counted from the event's `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `effect:3`: a step has three effects, and the third was just carried out.
    Effect(u64),
    /// `disk-op:56`: the 56th file operation was issued.
    DiskOp(u64),
    /// `write:5`: the fifth write was issued.
    Write(u64),
    /// `sync:2`: the second sync was issued.
    Sync(u64),
    /// `sync-dir:2`: the second sync of a directory was issued: names have changed and are not durable.
    SyncDir(u64),
    /// `sync-done:2`: the second sync ended, and the machine does not know yet.
    SyncDone(u64),
    /// `rename:1`: the first rename was issued.
    Rename(u64),
    /// `recovery:4`: the fourth read of a start before it is ready, or slice of a job.
    Recovery(u64),
    /// `send:3`: the third part of an answer was just handed to the network.
    Send(u64),
    /// `elected:2`: a quorum of several has elected its second leader.
    Elected(u64),
}

/// What happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Clients write.
    Produce(workload::Produce),
    /// Clients read.
    Read(workload::Read),
    /// A client changes topics.
    Admin(workload::Admin),
    /// A client sends what no good client sends.
    Raw(workload::Raw),
    /// Consumers share topics in groups.
    Groups(workload::Groups),
    /// The process dies.
    Kill(faults::Kill),
    /// The power goes.
    PowerLoss(faults::PowerLoss),
    /// The process is asked to stop, and is started again.
    Restart(faults::Restart),
    /// The process stands still.
    Pause(faults::Pause),
    /// The disk is slow.
    SlowDisk(faults::SlowDisk),
    /// The disk is full.
    FullDisk(faults::FullDisk),
    /// Operations on files fail.
    DiskError(faults::DiskError),
    /// Bits flip, or writes go astray.
    Rot(faults::Rot),
    /// Clocks step, drift, freeze.
    Clock(faults::ClockFault),
    /// Traffic is cut off, one way or both.
    Cut(faults::Cut),
    /// A connection is reset, or hangs.
    Connection(faults::ConnectionFault),
    /// The disk is replaced.
    Wipe(faults::Wipe),
    /// The process is started on logs that a cleaner went over.
    Compacted(faults::Compacted),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timing {
    #[serde(default)]
    name: String,
    #[serde(default)]
    at: Span,
    on: Option<String>,
    #[serde(default)]
    delay: Span,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    target: Option<String>,
}

const TIMING: [&str; 6] = ["name", "at", "on", "delay", "for", "target"];

impl Event {
    pub(super) fn from_value(value: Value) -> Result<Self, ScenarioError> {
        let Value::Table(mut rest) = value else { return Err(ScenarioError::new("event", "is not a table")) };
        let mut timing = Table::new();
        for key in TIMING {
            timing.extend(rest.remove_entry(key));
        }
        let place = timing.get("name").and_then(Value::as_str).unwrap_or("event").to_owned();
        let wrong = |error: toml::de::Error| ScenarioError::new(&place, &error.to_string());
        let timing: Timing = timing.try_into().map_err(wrong)?;
        if rest.len() != 1 {
            let keys: Vec<&str> = rest.keys().map(String::as_str).collect();
            let why = format!("has {} actions ({}), and needs one", keys.len(), keys.join(", "));
            return Err(ScenarioError::new(&place, &why));
        }
        let on = timing.on.map(|text| Trigger::parse(&text));
        let on = on.transpose().map_err(|why| ScenarioError::new(&place, &why))?;
        let target = timing.target.map_or(Ok(Target::Any), |text| Target::parse(&text));
        let target = target.map_err(|why| ScenarioError::new(&place, &why))?;
        Ok(Self {
            name: timing.name,
            when: When { at: timing.at.0, on, delay: timing.delay.0 },
            lasts: timing.lasts.map(|span| span.0),
            target,
            action: Value::Table(rest).try_into().map_err(wrong)?,
        })
    }
}

impl Action {
    /// Whether it is load rather than trouble: shrinking takes it away last.
    #[must_use]
    pub const fn is_workload(&self) -> bool {
        matches!(self, Self::Produce(_) | Self::Read(_) | Self::Admin(_) | Self::Raw(_) | Self::Groups(_))
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "leader" => Ok(Self::Leader),
            "follower" => Ok(Self::Follower),
            "minority" => Ok(Self::Minority),
            "majority" => Ok(Self::Majority),
            "all" => Ok(Self::All),
            _ => {
                let node = text.strip_prefix("node:").and_then(|number| number.parse().ok());
                node.map(Self::Node).ok_or_else(|| {
                    format!("`{text}`: a target is any, node:N, leader, follower, minority, majority or all")
                })
            }
        }
    }
}

impl Trigger {
    fn parse(text: &str) -> Result<Self, String> {
        let (what, count) = text.split_once(':').unwrap_or((text, "1"));
        let count: u64 = count.parse().map_err(|_| format!("`{text}`: `{count}` is not a count"))?;
        match what {
            "effect" => Ok(Self::Effect(count)),
            "disk-op" => Ok(Self::DiskOp(count)),
            "write" => Ok(Self::Write(count)),
            "sync" => Ok(Self::Sync(count)),
            "sync-dir" => Ok(Self::SyncDir(count)),
            "sync-done" => Ok(Self::SyncDone(count)),
            "rename" => Ok(Self::Rename(count)),
            "recovery" => Ok(Self::Recovery(count)),
            "send" => Ok(Self::Send(count)),
            "elected" => Ok(Self::Elected(count)),
            _ => Err(format!(
                "`{text}`: an event waits for effect, disk-op, write, sync, sync-dir, sync-done, rename, recovery, \
                 send, elected"
            )),
        }
    }
}
