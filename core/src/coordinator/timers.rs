//! What is due when, for all groups of a shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Instant;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A member that says nothing until then is removed.
    Session { group: Arc<str>, member: Arc<str> },
    /// A member of a consumer group that has not given up by then what it is to give up is removed.
    Revoke { group: Arc<str>, member: Arc<str> },
    /// A member of a consumer group that speaks the classic protocol and has not joined again, or asked for its
    /// assignment, by then is removed.
    Rejoin { group: Arc<str>, member: Arc<str> },
    /// Who has not joined by then is left out of the generation.
    Join { group: Arc<str> },
    /// Who has not asked for its assignment by then is removed.
    Sync { group: Arc<str> },
    /// Expired offsets are looked for.
    Expiry,
}

/// Each timer at most once.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a timer, whatever it was set to before.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(old) = self.at.insert(timer.clone(), at) {
            self.queue.remove(&(old, timer.clone()));
        }
        self.queue.insert((at, timer));
    }

    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.queue.remove(&(at, timer.clone()));
        }
    }

    pub fn is_set(&self, timer: &Timer) -> bool {
        self.at.contains_key(timer)
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due, and since when it is.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        let (at, timer) = self.queue.pop_first()?;
        self.at.remove(&timer);
        Some((at, timer))
    }

    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Timer> {
        self.at.keys()
    }
}
