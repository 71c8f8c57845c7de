//! Followers: this broker fetches what others lead, one fetch a leader for all partitions that it leads (KIP-74).
//!
//! A fetch names, for each partition, where the log ends, its last epoch, and up to where it counts. The leader answers
//! with records, or with where the two logs part: the end of the greatest epoch that both know. The follower cuts
//! there and asks again, until they agree (KIP-101, KIP-279, KIP-595).
//!
//! | a fetch to a leader is | when |
//! |---|---|
//! | sent | none is under way |
//! | sent behind the one that waits there | what counts here has risen, or what was refused is due again |
//!
//! The leader answers a fetch that waits when another comes behind it.
//!
//! Batches are taken as they are: offsets, epochs and producers are the leader's. One that does not continue the log,
//! or whose CRC is wrong, is not taken, nor what follows it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

use super::{Ask, PeerCallId, Purpose, Said, To};
use crate::broker::{Broker, Phase};
use crate::clock::{Instant, Now};
use crate::log::leader_epoch_cache::EpochEnd;
use crate::log::{AppendOrigin, Batch, LogId};
use crate::machine::{Effects, Level};
use crate::planted::Plant;
use crate::record::{self, RecordBatch};
use crate::replication::{Following, Replica};
use crate::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};

/// So many partitions are named in a fetch: with a topic for each they are fewer elements than a request may have.
const MOST_FETCHED: usize = 40_000;

/// After an answer that says no: the metadata is on its way, here or there. And before those that found no room in a
/// fetch are asked for.
const REFUSED_BACKOFF: Duration = Duration::from_millis(50);

/// One partition of a follower's fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchFrom {
    /// Which partition, by name.
    pub partition: TopicPartition,
    /// And by id.
    pub topic_id: Uuid,
    /// The epoch in which it is followed.
    pub leader_epoch: LeaderEpoch,
    /// Where the log ends.
    pub offset: Offset,
    /// The epoch of its last record.
    pub last_epoch: Option<LeaderEpoch>,
    /// Where it starts.
    pub log_start: Offset,
    /// Up to where it counts.
    pub counted: Offset,
}

/// What a leader has for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFrom {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
    /// `NONE`, or why it has nothing.
    pub error: ErrorCode,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Where its log starts.
    pub log_start: Offset,
    /// Where the two logs part.
    pub diverging: Option<EpochEnd>,
    /// Whole batches.
    pub records: Bytes,
}

/// What is followed here, by leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    leaders: BTreeMap<BrokerId, Fetcher>,
}

/// What a fetch asks for, by topic and partition: which log, and in which epoch.
type Wanted = BTreeMap<(Uuid, i32), (LogId, LeaderEpoch)>;

/// The fetches to one leader.
#[derive(Clone, Debug, Default)]
struct Fetcher {
    logs: BTreeSet<LogId>,
    /// Who is asked for first. An answer has room for so much: who gave records is asked for last the next time, as in
    /// Kafka, or those behind would get nothing as long as there is more of it.
    first: LogId,
    /// The fetches under way.
    under_way: VecDeque<(PeerCallId, Wanted)>,
    /// How often in a row none was answered in its time: each has twice that of the one before. A dead connection is
    /// noticed soon, and what a slow one brings arrives in the end.
    timeouts: u32,
    /// Some log is not followed any more that was, at least not in that epoch.
    left: bool,
    /// There is something that the leader does not know.
    news: bool,
    /// When it was heard of last, or asked first.
    heard_at: Instant,
    /// Nothing is asked before this.
    not_before: Instant,
    /// When a log that was refused is asked for again, beside what is under way.
    again: Option<Instant>,
}

impl Broker {
    /// A log is followed from now on.
    pub(in crate::broker) fn follow(&mut self, log: LogId, leader: BrokerId, leader_epoch: LeaderEpoch) {
        if self.is_storage_offline(log) {
            return;
        }
        let Some(replica) = self.replicas.get_mut(log) else { return };
        let same = |it: &Following| it.leader == leader && it.leader_epoch == leader_epoch;
        if replica.following().is_some_and(same) {
            return;
        }
        let cutting = replica.following().is_some_and(|it| it.cutting);
        replica.become_follower(Following { leader, leader_epoch, cutting, not_before: Instant(0) });
        self.unfollow(log);
        let fetcher = self.cluster.following.leaders.entry(leader).or_default();
        fetcher.logs.insert(log);
        (fetcher.news, fetcher.not_before) = (true, Instant(0));
    }

    /// A log is not followed any more.
    pub(in crate::broker) fn unfollow(&mut self, log: LogId) {
        self.cluster.following.leaders.retain(|_, fetcher| {
            fetcher.left |= fetcher.logs.remove(&log);
            !fetcher.logs.is_empty() || !fetcher.under_way.is_empty()
        });
    }

    /// What counts of a log here has risen: its leader is told.
    pub(in crate::broker) fn tell_leader(&mut self, log: LogId) {
        let following = self.replicas.get(log).and_then(Replica::following);
        let fetcher = following.and_then(|it| self.cluster.following.leaders.get_mut(&it.leader));
        if let Some(fetcher) = fetcher {
            fetcher.news = true;
        }
    }

    /// Whether this broker takes what leaders say. One that stops does not: its logs are said to be clean up to where
    /// they end, and a cut would make that a lie.
    const fn takes_fetched(&self) -> bool {
        !matches!(self.phase, Phase::Stopping | Phase::Stopped)
    }

    pub(super) fn attend_to_followed(&mut self, now: Now) {
        if !self.takes_fetched() {
            return;
        }
        self.give_up_fetches();
        let due = |fetcher: &Fetcher| fetcher.is_due(now.monotonic);
        let leaders = self.cluster.following.leaders.iter().filter(|(_, fetcher)| due(fetcher));
        let leaders: Vec<BrokerId> = leaders.map(|(id, _)| *id).collect();
        for leader in leaders {
            self.fetch_from(now, leader);
        }
    }

    /// A fetch that says nothing about any log here any more is not waited for: its leader may hang, or be gone with
    /// its machine, and what is asked of it next would wait behind that.
    fn give_up_fetches(&mut self) {
        for (leader, fetcher) in &mut self.cluster.following.leaders {
            if !std::mem::take(&mut fetcher.left) {
                continue;
            }
            let follows = |(log, epoch): &(LogId, LeaderEpoch)| {
                let following = self.replicas.get(*log).and_then(Replica::following);
                following.is_some_and(|it| it.leader == *leader && it.leader_epoch == *epoch)
            };
            if let Some((call, asked)) = fetcher.under_way.front()
                && !asked.values().any(follows)
            {
                self.cluster.calls.given_up.push(*call);
            }
        }
    }

    pub(super) fn followed_deadline(&self) -> Option<Instant> {
        if !self.takes_fetched() {
            return None;
        }
        let fetchers = self.cluster.following.leaders.values().filter(|it| !it.logs.is_empty());
        let due = fetchers.filter_map(|it| match it.under_way.len() {
            0 => Some(it.not_before),
            1 => it.again.map(|again| again.max(it.not_before)),
            _ => None,
        });
        due.min()
    }

    fn fetch_from(&mut self, now: Now, leader: BrokerId) {
        let Some(fetcher) = self.cluster.following.leaders.get(&leader) else { return };
        let mut wanted = Vec::new();
        let mut asked = Wanted::new();
        let mut later: Option<Instant> = None;
        let mut rest = None;
        for log in fetcher.in_turn() {
            if wanted.len() == MOST_FETCHED {
                // Not at once: two fetches would chase each other, for the leader answers one that waits when another
                // comes behind it.
                let soon = now.monotonic + REFUSED_BACKOFF;
                (rest, later) = (Some(*log), Some(later.map_or(soon, |at| at.min(soon))));
                break;
            }
            let Some(replica) = self.replicas.get(*log) else { continue };
            let Some(following) = replica.following().filter(|it| !it.cutting) else { continue };
            if following.not_before > now.monotonic {
                later = Some(later.map_or(following.not_before, |at| at.min(following.not_before)));
                continue;
            }
            let its = (replica.topic_id, replica.partition.partition);
            asked.insert(its, (*log, following.leader_epoch));
            wanted.push(self.fetch_of(*log, replica, following.leader_epoch));
        }
        let Some(fetcher) = self.cluster.following.leaders.get_mut(&leader) else { return };
        (fetcher.news, fetcher.again) = (false, later);
        fetcher.first = rest.unwrap_or(fetcher.first);
        if wanted.is_empty() {
            // A log that is being cut says when that is done.
            fetcher.not_before = later.unwrap_or(Instant(u64::MAX));
            return;
        }
        let ask = Ask::Fetch { partitions: wanted, timeouts: fetcher.timeouts };
        let call = self.cluster.calls.ask(To::Broker(leader), ask, Purpose::Fetch(leader));
        if fetcher.under_way.is_empty() {
            fetcher.heard_at = now.monotonic;
        }
        fetcher.under_way.push_back((call, asked));
    }

    fn fetch_of(&self, log: LogId, replica: &Replica, leader_epoch: LeaderEpoch) -> FetchFrom {
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let last_epoch = self.logs.epoch_of(log, offsets.log_end + -1);
        FetchFrom {
            partition: replica.partition.clone(),
            topic_id: replica.topic_id,
            leader_epoch,
            offset: offsets.log_end,
            last_epoch: last_epoch.filter(|_| !self.config.planted.has(Plant::Rep09)),
            log_start: offsets.log_start,
            counted: if self.counts_durable() { offsets.durable } else { offsets.written },
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Now,
        (leader, call): (BrokerId, PeerCallId),
        said: Option<Said>,
        out: &mut Effects,
    ) {
        let backoff = self.retry_backoff();
        let Some(fetcher) = self.cluster.following.leaders.get_mut(&leader) else { return };
        let Some(place) = fetcher.under_way.iter().position(|(its, _)| *its == call) else { return };
        let asked = fetcher.under_way.remove(place).map(|(_, asked)| asked).unwrap_or_default();
        // What fails sooner has failed for another reason, and what comes later has needed its time.
        let soonest = Duration::from_millis(self.config.broker.quorum.request_timeout_ms);
        let is_late = fetcher.heard_at + soonest <= now.monotonic;
        fetcher.heard_at = now.monotonic;
        let Some(Said::Fetched(Ok(fetched))) = said else {
            fetcher.not_before = now.monotonic + backoff;
            fetcher.timeouts = fetcher.timeouts.saturating_add(u32::from(is_late && said.is_none()));
            return;
        };
        if !is_late {
            fetcher.timeouts = 0;
        }
        let has_records = |it: &&FetchedFrom| !it.records.is_empty();
        let last = fetched.iter().rev().find(has_records).and_then(|it| asked.get(&(it.topic_id, it.partition)));
        if let Some((log, _)) = last {
            fetcher.first = LogId(log.0.wrapping_add(1));
        }
        if !self.takes_fetched() {
            return;
        }
        for it in fetched {
            let Some(&(log, epoch)) = asked.get(&(it.topic_id, it.partition)) else { continue };
            let following = self.replicas.get(log).and_then(Replica::following);
            // An answer to what was asked of another leader, or in another epoch, says nothing about this one's log.
            let any = self.config.planted.has(Plant::Rep06);
            let current = |it: &&Following| any || it.leader == leader && it.leader_epoch == epoch;
            if following.filter(current).is_some_and(|following| !following.cutting) {
                self.take_fetched(now, log, &it, out);
            }
        }
    }

    fn take_fetched(&mut self, now: Now, log: LogId, it: &FetchedFrom, out: &mut Effects) {
        if self.hides_records(log, it.log_start) {
            if !self.has_room(log) {
                return self.back_off(now, log, REFUSED_BACKOFF);
            }
            let why = "is empty here, and begins later than its leader's log: it is made anew from there";
            return self.make_anew(now, log, why, out);
        }
        if it.error != ErrorCode::NONE {
            return self.on_refused(now, log, it, out);
        }
        if let Some(theirs) = it.diverging {
            if self.config.planted.has(Plant::Rep08) {
                self.take_watermark(log, it.high_watermark, out);
            }
            return self.on_diverging(now, log, theirs, out);
        }
        if let Err(why) = self.replicate_all(now, log, &it.records, out) {
            let partition = self.replicas.get(log).map(|replica| replica.partition.clone());
            let partition = partition.map_or_else(String::new, |partition| partition.to_string());
            out.note(Level::Warn, format!("{partition}: the leader sent what is not taken: {why}"));
            self.back_off(now, log, REFUSED_BACKOFF);
        }
        self.take_watermark(log, it.high_watermark, out);
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let start = it.log_start.min(self.replicas.high_watermark(log));
        if start > offsets.log_start {
            self.logs.advance_log_start(now, log, start, out);
        }
    }

    /// The leader's watermark counts as far as the log is written here: a full disk takes the rest back. Consumers may
    /// wait for it here (KIP-392).
    fn take_watermark(&mut self, log: LogId, leaders: Offset, out: &mut Effects) {
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let Some(replica) = self.replicas.get_mut(log) else { return };
        let written = match self.config.planted {
            planted if planted.has(Plant::Rep22) => leaders,
            planted if planted.has(Plant::Rep24) => offsets.log_end,
            _ => offsets.written,
        };
        let rises = replica.on_leaders_watermark(leaders, written);
        // A log that was begun anew within a batch stands below what is known to be committed until it has the batch.
        self.logs.set_high_watermark(log, replica.high_watermark().min(offsets.log_end));
        if rises {
            self.wake_fetches(log, out);
        }
    }

    /// Whether a log has nothing, and goes on from where the leader's has, or will have, more below: what an unclean
    /// election has thrown away was deleted here, and its offsets are given again. While this broker is in sync all
    /// that is below was committed, and is deleted for good.
    fn hides_records(&self, log: LogId, leaders_start: Offset) -> bool {
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let is_later = offsets.log_start == offsets.log_end && (0..offsets.log_start.0).contains(&leaders_start.0);
        is_later
            && self.replicas.get(log).is_some_and(|replica| {
                let image = self.image().partition_by_id(replica.topic_id, replica.partition.partition);
                image.is_some_and(|image| !image.counts_on(self.node()))
            })
    }

    fn on_refused(&mut self, now: Now, log: LogId, it: &FetchedFrom, out: &mut Effects) {
        let offsets = self.logs.offsets(log).unwrap_or_default();
        if it.error == ErrorCode::OFFSET_OUT_OF_RANGE && it.log_start > offsets.log_end {
            // What lies between is deleted at the leader: this log goes on where the leader's begins.
            self.logs.begin_at(now, log, it.log_start, out);
            if let Some(replica) = self.replicas.get_mut(log)
                && !self.config.planted.has(Plant::Rep17)
            {
                replica.on_log_start(it.log_start);
            }
            return self.tell_leader(log);
        }
        self.back_off(now, log, REFUSED_BACKOFF);
    }

    fn back_off(&mut self, now: Now, log: LogId, wait: Duration) {
        let Some(following) = self.replicas.get_mut(log).and_then(Replica::following_mut) else { return };
        let at = now.monotonic + wait;
        following.not_before = at;
        if let Some(fetcher) = self.cluster.following.leaders.get_mut(&following.leader) {
            fetcher.again = Some(fetcher.again.map_or(at, |again| again.min(at)));
        }
    }

    /// The leader's log differs.
    fn on_diverging(&mut self, now: Now, log: LogId, theirs: EpochEnd, out: &mut Effects) {
        let log_end = self.logs.offsets(log).unwrap_or_default().log_end;
        let to = if self.config.planted.has(Plant::Rep01) {
            Some(self.replicas.high_watermark(log)).filter(|to| *to < log_end)
        } else {
            self.logs.epochs(log).and_then(|epochs| epochs.cut_for(theirs, log_end))
        };
        // What makes no sense is asked again.
        let Some(to) = to else { return self.back_off(now, log, REFUSED_BACKOFF) };
        let Some(replica) = self.replicas.get_mut(log) else { return };
        let (partition, committed) = (replica.partition.clone(), replica.high_watermark());
        let level = if to < committed { Level::Warn } else { Level::Info };
        out.note(level, format!("{partition} is cut from {log_end} to {to}: its leader goes on from there"));
        self.cut_to(now, log, to, out);
    }

    fn cut_to(&mut self, now: Now, log: LogId, to: Offset, out: &mut Effects) {
        if let Some(following) = self.replicas.get_mut(log).and_then(Replica::following_mut) {
            following.cutting = true;
        }
        self.logs.truncate_to(now, log, to, out);
    }

    /// A truncation is done: what is asked next is asked from there. A log that was begun anew may have gone on since.
    pub(in crate::broker) fn on_truncated(&mut self, log: LogId) {
        let log_end = self.logs.offsets(log).unwrap_or_default().log_end;
        let Some(replica) = self.replicas.get_mut(log) else { return };
        replica.on_cut(log_end);
        let high_watermark = replica.high_watermark();
        if let Some(leader) = replica.leader_mut() {
            leader.on_cut(log_end);
            let epoch = leader.leader_epoch();
            self.logs.begin_epoch(log, epoch);
            return;
        }
        let Some(following) = replica.following_mut() else { return };
        following.cutting = false;
        let leader = following.leader;
        self.logs.set_high_watermark(log, high_watermark);
        if let Some(fetcher) = self.cluster.following.leaders.get_mut(&leader) {
            (fetcher.news, fetcher.not_before) = (true, Instant(0));
        }
    }

    /// Appends what the leader sent, as far as it can be read and continues this log. What is here already is passed
    /// over: two fetches may have been under way.
    fn replicate_all(&mut self, now: Now, log: LogId, records: &Bytes, out: &mut Effects) -> Result<(), String> {
        for batch in record::batches(records) {
            let batch = batch.map_err(|error| error.to_string())?;
            let offsets = self.logs.offsets(log).unwrap_or_default();
            let (base, mut end) = (batch.header().base_offset, offsets.log_end);
            if batch.header().next_offset() <= end {
                if self.config.planted.has(Plant::Rep13) && base > offsets.log_start {
                    self.cut_to(now, log, base, out);
                    return Ok(());
                }
                continue;
            }
            if base < end && offsets.log_start == end && !self.config.planted.has(Plant::Rep18) {
                // The leader's log starts within this batch, which comes whole.
                self.logs.begin_at(now, log, base, out);
                end = base;
            }
            self.replicate_one(now, log, (records, &batch), end, out)?;
        }
        Ok(())
    }

    fn replicate_one(
        &mut self,
        now: Now,
        log: LogId,
        (records, batch): (&Bytes, &RecordBatch<'_>),
        end: Offset,
        out: &mut Effects,
    ) -> Result<(), String> {
        batch.check_crc().map_err(|error| error.to_string())?;
        let header = *batch.header();
        let following = self.replicas.get(log).and_then(Replica::following).ok_or("it is not followed")?;
        // By its last record: this broker may have led later, and appended nothing.
        let earlier = self.logs.epoch_of(log, end + -1).is_some_and(|latest| header.leader_epoch < latest);
        let earlier = earlier && !self.config.planted.has(Plant::Rep02);
        // A compacted log has gaps, and a batch may begin before what retention has left.
        if header.base_offset < end || header.leader_epoch > following.leader_epoch || earlier {
            let (base, epoch) = (header.base_offset, header.leader_epoch);
            return Err(format!("a batch at {base} of epoch {epoch} does not continue a log that ends at {end}"));
        }
        let facts = record::scan(batch.bytes(), u64::MAX).map_err(|error| error.to_string())?;
        let whole = Batch { bytes: records.slice_ref(batch.bytes()), facts: &facts };
        let (epoch, awaited) = (header.leader_epoch, self.counts_durable());
        let appended = self.logs.append(now, log, epoch, whole, AppendOrigin::Replica, awaited, out);
        appended.map(drop).map_err(|error| format!("the log does not take it: {error:?}"))
    }
}

impl Fetcher {
    /// The logs, from who is asked for first.
    fn in_turn(&self) -> impl Iterator<Item = &LogId> {
        self.logs.range(self.first..).chain(self.logs.range(..self.first))
    }

    fn is_due(&self, now: Instant) -> bool {
        let may = match self.under_way.len() {
            0 => true,
            1 => self.news || self.again.is_some_and(|again| again <= now),
            _ => false,
        };
        may && !self.logs.is_empty() && self.not_before <= now
    }
}
