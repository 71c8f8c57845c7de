//! Incremental fetch sessions (KIP-227): what a client fetches is remembered, so that a request names only
//! what changed and a response only what is new.
//!
//! | request epoch | meaning                                                                     |
//! |---------------|-----------------------------------------------------------------------------|
//! | -1            | a full fetch without a session; the one it names is closed                  |
//! | 0             | a full fetch that opens a session, in place of the one it names             |
//! | n             | incremental: must be the epoch that the session expects next (INVALID_FETCH_SESSION_EPOCH) |
//!
//! W2: an incremental session answers as full fetches would. A partition is left out of an incremental
//! response only when it has no records, no error, and nothing that the client was not told before. Partitions
//! that gave records go to the end of the order, so that none starves.
//!
//! Bounded: [`Limits::slots`] sessions (`max.incremental.fetch.session.cache.slots`); a full cache gives way only a
//! session that was idle for two minutes, else the new client goes on without one. A session holds
//! [`Limits::partitions`] partitions at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::Uuid;

use crate::clock::Instant;
use crate::rng::Rng;
use crate::types::Offset;

/// How long a session must have been idle to give way to a new one (KIP-227).
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// What is remembered of one partition of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPartition {
    /// The topic's name; empty if the client spoke of its id and the id is unknown.
    pub topic: Arc<str>,
    /// The topic's id; zero if the client spoke of its name.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
    /// From where it fetches.
    pub fetch_offset: Offset,
    /// At most this many bytes, the first batch excepted.
    pub max_bytes: i32,
    /// The leader epoch that the client believes in; -1 if it does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that it has; -1 if it does not say.
    pub last_fetched_epoch: i32,
    /// Of a follower: up to where its log counts; -1 if it does not say.
    pub counted: Offset,
    /// Of a follower: where its log starts; -1 if it does not say.
    pub log_start: Offset,
    told: Option<Told>,
}

/// What a client was told of a partition last, besides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The log start offset.
    pub log_start: Offset,
}

/// Which topic a client means: by id where it gave one, by name otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    topic_id: Uuid,
    topic: Arc<str>,
    partition: i32,
}

/// Bounds of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many sessions.
    pub slots: usize,
    /// How many partitions in each.
    pub partitions: usize,
}

/// Every session of this broker.
#[derive(Clone, Debug)]
pub struct FetchSessions {
    sessions: BTreeMap<i32, FetchSession>,
    limits: Limits,
}

/// One client's session.
#[derive(Clone, Debug)]
pub struct FetchSession {
    next_epoch: i32,
    used: Instant,
    next_turn: u64,
    by_turn: BTreeMap<u64, SessionPartition>,
    turns: BTreeMap<Key, u64>,
}

/// What one fetch request is to be served.
#[derive(Clone, Debug)]
pub struct Fetching {
    /// The session's id for the response; 0 for none.
    pub session_id: i32,
    /// Whether partitions with nothing new are left out of the response.
    pub incremental: bool,
    /// In the order in which they are served.
    pub partitions: Vec<SessionPartition>,
}

/// Why a request cannot be matched with a session. The client starts again with a full fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefusal {
    /// FETCH_SESSION_ID_NOT_FOUND
    NotFound,
    /// INVALID_FETCH_SESSION_EPOCH
    WrongEpoch,
}

impl SessionPartition {
    /// A partition as a request names it.
    #[must_use]
    pub const fn new(topic: Arc<str>, topic_id: Uuid, partition: i32) -> Self {
        Self {
            topic,
            topic_id,
            partition,
            fetch_offset: Offset::ZERO,
            max_bytes: 0,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            counted: Offset(-1),
            log_start: Offset(-1),
            told: None,
        }
    }

    fn key(&self) -> Key {
        let by_id = self.topic_id != Uuid::default();
        let topic = if by_id { Arc::from("") } else { Arc::clone(&self.topic) };
        Key { topic_id: self.topic_id, topic, partition: self.partition }
    }
}

impl FetchSessions {
    /// An empty cache.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { sessions: BTreeMap::new(), limits }
    }

    /// Matches a request with a session, opening or closing one as it asks.
    ///
    /// # Errors
    /// The session is not here any more, or the epoch is not the one expected.
    pub fn on_request(
        &mut self,
        now: Instant,
        (session_id, epoch): (i32, i32),
        partitions: Vec<SessionPartition>,
        forgotten: &[SessionPartition],
        rng: &mut Rng,
    ) -> Result<Fetching, SessionRefusal> {
        if epoch > 0 {
            return self.go_on(now, session_id, epoch, partitions, forgotten);
        }
        self.sessions.remove(&session_id);
        let opens = epoch == 0 && !partitions.is_empty() && partitions.len() <= self.limits.partitions;
        let session_id = if opens && self.make_room(now) { self.open(now, &partitions, rng) } else { 0 };
        Ok(Fetching { session_id, incremental: false, partitions })
    }

    /// Whether an answer must name this partition, now that it would say `told` and hold records or an error.
    #[must_use]
    pub fn tell(
        &mut self,
        session_id: i32,
        partition: &SessionPartition,
        told: Option<Told>,
        has_records: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&session_id) else { return true };
        let key = partition.key();
        let Some(&turn) = session.turns.get(&key) else { return true };
        let known = session.by_turn.get_mut(&turn).expect("each key's turn holds its partition");
        let news = told.is_none() || known.told != told;
        known.told = told;
        if has_records {
            let partition = session.by_turn.remove(&turn).expect("found above");
            session.put(key, partition);
        }
        news || has_records
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn go_on(
        &mut self,
        now: Instant,
        session_id: i32,
        epoch: i32,
        partitions: Vec<SessionPartition>,
        forgotten: &[SessionPartition],
    ) -> Result<Fetching, SessionRefusal> {
        let session = self.sessions.get_mut(&session_id).ok_or(SessionRefusal::NotFound)?;
        if session.next_epoch != epoch {
            return Err(SessionRefusal::WrongEpoch);
        }
        session.next_epoch = epoch.checked_add(1).unwrap_or(1);
        session.used = now;
        for partition in partitions {
            session.update(partition);
        }
        for partition in forgotten {
            session.forget(partition);
        }
        let partitions: Vec<_> = session.by_turn.values().cloned().collect();
        if partitions.is_empty() || partitions.len() > self.limits.partitions {
            self.sessions.remove(&session_id);
            // Nothing is left to fetch, or too much to remember: the client sees the session end.
            let session_id = 0;
            return Ok(Fetching { session_id, incremental: true, partitions });
        }
        Ok(Fetching { session_id, incremental: true, partitions })
    }

    fn open(&mut self, now: Instant, partitions: &[SessionPartition], rng: &mut Rng) -> i32 {
        let mut session =
            FetchSession { next_epoch: 1, used: now, next_turn: 0, by_turn: BTreeMap::new(), turns: BTreeMap::new() };
        for partition in partitions {
            session.update(partition.clone());
        }
        loop {
            let id = i32::try_from(rng.below(i32::MAX as u64)).expect("below i32::MAX") + 1;
            if let std::collections::btree_map::Entry::Vacant(place) = self.sessions.entry(id) {
                place.insert(session);
                return id;
            }
        }
    }

    /// Whether there is room for one more session, after the idlest has given way if it may.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() < self.limits.slots {
            return true;
        }
        let idlest = self.sessions.iter().min_by_key(|(_, session)| session.used);
        let evictable = idlest.filter(|(_, session)| now.since(session.used) > EVICTABLE_AFTER).map(|(id, _)| *id);
        evictable.is_some_and(|id| self.sessions.remove(&id).is_some())
    }
}

impl FetchSession {
    fn update(&mut self, partition: SessionPartition) {
        let key = partition.key();
        match self.turns.get(&key).and_then(|turn| self.by_turn.get_mut(turn)) {
            Some(known) => *known = SessionPartition { told: known.told, ..partition },
            None => self.put(key, partition),
        }
    }

    fn forget(&mut self, partition: &SessionPartition) {
        if let Some(turn) = self.turns.remove(&partition.key()) {
            self.by_turn.remove(&turn);
        }
    }

    fn put(&mut self, key: Key, partition: SessionPartition) {
        self.by_turn.insert(self.next_turn, partition);
        self.turns.insert(key, self.next_turn);
        self.next_turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, fetch_offset: i64) -> SessionPartition {
        let mut it = SessionPartition::new(Arc::from(topic), Uuid::default(), 0);
        it.fetch_offset = Offset(fetch_offset);
        it
    }

    fn told(high_watermark: i64) -> Option<Told> {
        Some(Told { high_watermark: Offset(high_watermark), log_start: Offset::ZERO })
    }

    fn cache(slots: usize) -> (FetchSessions, Rng) {
        (FetchSessions::new(Limits { slots, partitions: 10 }), Rng::new(1))
    }

    #[test]
    fn an_incremental_fetch_is_served_everything_and_told_only_what_is_new() {
        let (mut cache, mut rng) = cache(1);
        let all = vec![partition("a", 0), partition("b", 0)];
        let id = cache.on_request(Instant(0), (0, 0), all, &[], &mut rng).unwrap().session_id;
        assert!(cache.tell(id, &partition("a", 0), told(5), true));
        assert!(cache.tell(id, &partition("b", 0), told(0), false), "the first time everything is news");

        let turn = cache.on_request(Instant(1), (id, 1), vec![partition("a", 5)], &[], &mut rng).unwrap();
        let order: Vec<_> = turn.partitions.iter().map(|it| (&*it.topic, it.fetch_offset.0)).collect();
        assert_eq!(order, [("b", 0), ("a", 5)], "what gave records goes to the end");
        assert!(!cache.tell(id, &partition("b", 0), told(0), false));
        assert!(cache.tell(id, &partition("b", 0), told(1), false));
        assert!(cache.tell(id, &partition("b", 0), None, false), "an error is always told");
        assert!(cache.tell(id, &partition("b", 0), told(1), false), "and what follows it too");
    }

    #[test]
    fn epochs_must_follow_and_forgotten_partitions_end_a_session() {
        let (mut cache, mut rng) = cache(1);
        let id = cache.on_request(Instant(0), (0, 0), vec![partition("a", 0)], &[], &mut rng).unwrap().session_id;
        let refusal = cache.on_request(Instant(0), (id, 2), vec![], &[], &mut rng).unwrap_err();
        assert_eq!(refusal, SessionRefusal::WrongEpoch);
        let refusal = cache.on_request(Instant(0), (id + 1, 1), vec![], &[], &mut rng).unwrap_err();
        assert_eq!(refusal, SessionRefusal::NotFound);
        let end = cache.on_request(Instant(0), (id, 1), vec![], &[partition("a", 0)], &mut rng).unwrap();
        assert_eq!((end.session_id, end.partitions.len()), (0, 0));
        assert!(cache.is_empty());
    }

    #[test]
    fn a_full_cache_gives_way_only_what_is_idle() {
        let (mut cache, mut rng) = cache(1);
        let first = cache.on_request(Instant(0), (0, 0), vec![partition("a", 0)], &[], &mut rng).unwrap().session_id;
        assert_ne!(first, 0);
        let minute = Instant(60_000_000_000);
        assert_eq!(cache.on_request(minute, (0, 0), vec![partition("a", 0)], &[], &mut rng).unwrap().session_id, 0);
        let later = Instant(121_000_000_000);
        assert_ne!(cache.on_request(later, (0, 0), vec![partition("a", 0)], &[], &mut rng).unwrap().session_id, 0);
        assert_eq!(cache.len(), 1);
    }
}
