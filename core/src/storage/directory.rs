//! A log directory: its health, its journal, and which of its logs have something to sync.
//!
//! Online -> Full (no room; reads go on, appends are refused) -> Online when there is room;
//! Online or Full -> Offline (a write or sync failed), for the rest of this process.

use crate::clock::Instant;
use crate::machine::LogDirId;

use super::LogId;
use super::commit::Round;
use super::journal::Journal;

/// Whether a directory can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Online,
    Full,
    Offline,
}

/// One log directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) id: LogDirId,
    pub(crate) health: Health,
    /// How many logs lie in it.
    pub(crate) logs: usize,
    pub(crate) journal: Journal,
    /// The streams that the next round covers, each once.
    pub(crate) dirty: Vec<LogId>,
    pub(crate) round: Option<Round>,
    /// The last round's lists, for the next one.
    spare: Round,
    /// The names in the directory itself have changed.
    pub(crate) root_dirty: bool,
    pub(crate) next_space_poll: Option<Instant>,
    /// Recovery has come to its end: what it changed is known, and which logs there are. No round starts before: the
    /// first one writes the journal anew, and one that leaves out a log would tell the next start that nothing of it
    /// was ever durable.
    pub(crate) is_ready: bool,
    wanted: bool,
    round_at: Option<Instant>,
}

impl Directory {
    pub(crate) fn new(id: LogDirId, journal: Journal) -> Self {
        Self {
            id,
            health: Health::Online,
            logs: 0,
            journal,
            dirty: Vec::new(),
            round: None,
            spare: Round::new(),
            root_dirty: false,
            next_space_poll: None,
            is_ready: false,
            wanted: false,
            round_at: None,
        }
    }

    /// A stream has something new to sync: a round starts by `by` at the latest.
    pub(crate) fn round_by(&mut self, by: Instant) {
        self.round_at = Some(self.round_at.map_or(by, |at| at.min(by)));
    }

    /// A stream that could not be covered waits for the next round, whatever that is due to.
    pub(crate) fn put_back(&mut self, stream: LogId) {
        self.dirty.push(stream);
    }

    /// Somebody waits: the next round starts as soon as none is in flight.
    pub(crate) fn want_round(&mut self) {
        self.wanted = true;
    }

    pub(crate) fn round_is_due(&self, now: Instant) -> bool {
        let due = self.wanted || self.round_at.is_some_and(|at| at <= now);
        due && self.can_start() && !self.dirty.is_empty()
    }

    /// A round that takes all streams that are dirty.
    pub(crate) fn take_round(&mut self) -> Round {
        self.wanted = false;
        self.round_at = None;
        let mut round = std::mem::replace(&mut self.spare, Round::new());
        std::mem::swap(&mut round.logs, &mut self.dirty);
        round
    }

    /// A round is over.
    pub(crate) fn give_back(&mut self, mut round: Round) {
        round.clear();
        self.spare = round;
    }

    pub(crate) fn fail(&mut self) {
        self.health = Health::Offline;
        self.round = None;
        self.dirty.clear();
        self.next_space_poll = None;
        self.wanted = false;
        self.round_at = None;
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let round = self.round_at.filter(|_| self.can_start() && !self.dirty.is_empty());
        [self.next_space_poll, round].into_iter().flatten().min()
    }

    fn can_start(&self) -> bool {
        self.is_ready && self.round.is_none() && self.health != Health::Offline && !self.journal.blocked
    }
}
