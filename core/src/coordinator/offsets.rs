//! Committed offsets: commit, fetch, delete, and expiry.
//!
//! What is committed is kept for as long as somebody may come back to it: `offsets.retention.minutes` after the group
//! became empty, and after the commit. A group that is rebalancing may be subscribed to anything, so nothing of it
//! expires (KAFKA-13636); nor does what a consumer group is subscribed to. Expiry is removal by the wall clock, so it
//! waits until the monotonic clock agrees with it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::answer::{
    CommitAnswer, DeleteOffsetsAnswer, FetchOffsetsAnswer, FetchedOffset, FetchedTopic, PartitionResult, TopicResult,
};
use super::group::{ClassicGroup, ClassicState, Draft, Group};
use super::groups::Groups;
use super::image::{Change, CommittedOffset, GroupsImage, OffsetKey};
use super::request::{CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, FetchOffsetsRequest};
use super::topics::{Topic, Topics};
use super::turn::Turn;
use crate::clock::WallTime;
use crate::planted::Plant;

/// What a batch of tombstones has room for, so that a log takes it with the settings that any log has.
const ROOM: usize = 256 << 10;

/// What a tombstone takes beside the names in it, or a bit less.
const TOMBSTONE: usize = 256;

impl Groups {
    /// Commits offsets.
    pub(super) fn on_commit(&mut self, request: &CommitRequest<'_>, turn: &mut Turn<'_>) -> CommitAnswer {
        if let Err(code) = self.check_commit(request, turn) {
            return request.answer_all(code);
        }
        let (mut good, mut bytes) = (Vec::new(), 0_usize);
        let max = turn.settings.offsets.metadata_max_bytes;
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let error = check_metadata(partition, max);
                if error == ErrorCode::NONE {
                    good.push((topic, partition));
                    let metadata = partition.metadata.map_or(0, str::len);
                    bytes = bytes.saturating_add(request.group.len() + topic.name.len() + metadata);
                }
                PartitionResult { partition: partition.partition, error }
            });
            TopicResult { name: topic.name.into(), id: topic.id, partitions: partitions.collect() }
        });
        let mut answer = CommitAnswer { topics: topics.collect() };
        if good.is_empty() {
            return answer;
        }
        // Each record repeats the names: a small request may ask for gigabytes of them.
        if bytes > turn.settings.max_batch_bytes {
            return request.answer_all(ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
        }
        let Some(group) = self.find_or_create(request.group, turn.settings).map(|group| group.id().clone()) else {
            answer = request.answer_all(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            return answer;
        };
        for (topic, partition) in good {
            turn.outcome.changes.push(committed(&group, topic, partition, request, turn.now.wall));
        }
        answer
    }

    fn check_commit(&self, request: &CommitRequest<'_>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let group = match self.live.get(request.group) {
            Some(Group::Classic(group)) => group,
            Some(Group::Consumer(_)) => {
                return self.image.consumer(request.group).map_or(Ok(()), |image| image.check_commit(request));
            }
            // Who is in no group may commit to one that is not there yet.
            None if request.generation < 0 => return Ok(()),
            None if request.knows_member_epochs => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
            None => return Err(ErrorCode::ILLEGAL_GENERATION),
        };
        let is_looked_at = request.generation < 0 || !turn.settings.planted.has(Plant::Grp12);
        let generation = if is_looked_at { request.generation } else { group.generation };
        group.check_commit(generation, request.member_id, request.instance_id)?;
        if matches!(group.state, ClassicState::Stable | ClassicState::Preparing { .. }) {
            group.renew(request.member_id, turn);
        }
        Ok(())
    }

    /// Forgets offsets of topics that nobody in the group reads.
    pub(super) fn on_delete_offsets(
        &self,
        request: &DeleteOffsetsRequest<'_>,
        turn: &mut Turn<'_>,
    ) -> DeleteOffsetsAnswer {
        let group = match self.check_delete_offsets(request.group) {
            Ok(group) => group,
            Err(error) => return DeleteOffsetsAnswer { error, topics: Vec::new() },
        };
        let of_consumers = self.image.consumer(request.group);
        let (mut topics, mut seen) = (Vec::new(), BTreeSet::new());
        for (topic, partitions) in &request.topics {
            let subscribed = match group {
                Group::Classic(group) => group.is_subscribed(topic),
                Group::Consumer(_) => of_consumers.is_some_and(|image| image.is_subscribed(topic)),
            };
            let error = if subscribed { ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC } else { ErrorCode::NONE };
            let results = partitions.iter().map(|&partition| PartitionResult { partition, error });
            topics.push(TopicResult { name: (*topic).into(), id: Default::default(), partitions: results.collect() });
            if !subscribed {
                let name: Arc<str> = (*topic).into();
                let known = |partition: &i32| self.image.offset(request.group, topic, *partition).is_some();
                let gone = partitions.iter().filter(|it| known(it) && seen.insert((*topic, **it)));
                let gone =
                    gone.map(|&partition| OffsetKey { group: group.id().clone(), topic: name.clone(), partition });
                turn.outcome.changes.extend(gone.map(|at| Change::Offset { at, offset: None }));
            }
        }
        DeleteOffsetsAnswer { error: ErrorCode::NONE, topics }
    }

    fn check_delete_offsets(&self, id: &str) -> Result<&Group, ErrorCode> {
        match self.live.get(id) {
            None if id.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            // What members of another protocol type read, nobody knows.
            Some(Group::Classic(group)) if !group.is_empty() && !group.speaks_consumer() => {
                Err(ErrorCode::NON_EMPTY_GROUP)
            }
            Some(group) => Ok(group),
        }
    }

    /// The offsets of topics that are no more, in batches of which each is to be forgotten at once.
    pub(super) fn offsets_of(&self, topics: &[Arc<str>]) -> Vec<Vec<OffsetKey>> {
        let mut batches = Batches::default();
        for group in self.image.offset_groups() {
            for topic in topics {
                let partitions = self.image.offsets(group).and_then(|offsets| offsets.get(topic));
                for partition in partitions.into_iter().flat_map(BTreeMap::keys) {
                    batches.push(OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition });
                }
            }
        }
        batches.all
    }

    /// The offsets of these topics, and of what there is no more: a deletion that could not be written is made up for.
    pub(super) fn stale_offsets(&self, deleted: &[Arc<str>], topics: &Topics) -> Vec<Vec<OffsetKey>> {
        let mut batches = Batches::default();
        for group in self.image.offset_groups() {
            for (topic, partitions) in self.image.offsets(group).into_iter().flatten() {
                let is_deleted = deleted.contains(topic);
                for (partition, offset) in partitions {
                    if is_deleted || is_stale(topics, topic, *partition, offset) {
                        batches.push(OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition });
                    }
                }
            }
        }
        batches.all
    }

    /// Forgets what has expired, what there is no more, and groups that nothing is left of. `now`: the wall time that
    /// both clocks vouch for; without it nothing expires. Whether all groups have been looked at; else it goes on
    /// where it was, with a group that had more than a batch takes once more.
    pub(super) fn expire(&mut self, now: Option<WallTime>, turn: &mut Turn<'_>) -> bool {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = self.expired_up_to.take();
        let range = (from.as_deref().map_or(Unbounded, Excluded), Unbounded);
        let (mut seen, mut room) = (from.as_ref(), ROOM);
        for (id, group) in self.live.range::<str, _>(range) {
            if !expire_group(group, &self.image, now, &mut room, turn) {
                self.expired_up_to = seen.cloned();
                return false;
            }
            seen = Some(id);
        }
        true
    }
}

/// Offsets to be forgotten, in batches that a log takes.
#[derive(Default)]
struct Batches {
    all: Vec<Vec<OffsetKey>>,
    room: usize,
}

impl Batches {
    fn push(&mut self, at: OffsetKey) {
        if !take_room(&mut self.room, at.group.len() + at.topic.len()) {
            self.room = ROOM;
            take_room(&mut self.room, at.group.len() + at.topic.len());
            self.all.push(Vec::new());
        }
        self.all.last_mut().expect("there is room in it").push(at);
    }
}

/// Whether there is room for a tombstone with names of so many bytes, which is then taken.
fn take_room(room: &mut usize, names: usize) -> bool {
    let left = room.checked_sub(names + TOMBSTONE);
    *room = left.unwrap_or(*room);
    left.is_some()
}

/// Whether the offset is of a topic or a partition that there is no more. Nothing is, before any metadata is known: an
/// offset was committed only where there was a partition, and whoever leads knows what its predecessor knew.
fn is_stale(topics: &Topics, topic: &str, partition: i32, offset: &CommittedOffset) -> bool {
    let is_there = |it: Topic| {
        let is_other = !offset.topic_id.is_zero() && offset.topic_id != it.id;
        partition < it.partitions && !is_other
    };
    topics.version() > 0 && !topics.get(topic).is_some_and(is_there)
}

/// Looks at one group; whether there was room for all that there is to be written.
fn expire_group(
    group: &Group,
    image: &GroupsImage,
    now: Option<WallTime>,
    room: &mut usize,
    turn: &mut Turn<'_>,
) -> bool {
    let id = group.id();
    let mut left = 0;
    for (topic, partitions) in image.offsets(id).into_iter().flatten() {
        for (partition, offset) in partitions {
            if now.is_some_and(|now| is_over(group, image, (topic, offset), now, turn))
                || is_stale(turn.topics, topic, *partition, offset)
            {
                if !take_room(room, id.len() + topic.len()) {
                    return false;
                }
                let at = OffsetKey { group: id.clone(), topic: topic.clone(), partition: *partition };
                turn.outcome.changes.push(Change::Offset { at, offset: None });
            } else {
                left += 1;
            }
        }
    }
    if left > 0 || now.is_none() {
        return true;
    }
    if *room < TOMBSTONE {
        return false;
    }
    let before = turn.outcome.changes.len();
    match (group, image.consumer(id)) {
        (Group::Classic(group), _) => {
            if group.is_empty() && group.pending_joins.is_empty() && image.group(id).is_some() {
                turn.outcome.changes.push(Change::Group { group: id.clone(), metadata: None });
            }
        }
        (Group::Consumer(_), Some(it)) if it.members.is_empty() => {
            let mut draft = Draft::new(id.clone(), Cow::Borrowed(it), turn);
            draft.remove_group();
            turn.outcome.changes.append(&mut draft.changes);
        }
        (Group::Consumer(_), _) => {}
    }
    // A group's end is a few records, for which there is room beyond: it only says when to stop.
    let ends = turn.outcome.changes.len() - before;
    *room = room.saturating_sub(ends * (id.len() + TOMBSTONE));
    true
}

fn is_over(
    group: &Group,
    image: &GroupsImage,
    (topic, offset): (&str, &CommittedOffset),
    now: WallTime,
    turn: &Turn<'_>,
) -> bool {
    let retention_ms = retention_ms(turn.settings.offsets.retention_minutes);
    match group {
        Group::Classic(group) => {
            let early =
                turn.settings.planted.has(Plant::Ofs02) && matches!(group.state, ClassicState::Preparing { .. });
            (early || may_expire(group, topic)) && is_expired(group.empty_since(), offset, retention_ms, now)
        }
        Group::Consumer(of) => {
            let is_read = image.consumer(&of.id).is_some_and(|it| it.is_subscribed(topic));
            !is_read && is_expired(None, offset, retention_ms, now)
        }
    }
}

/// Whether nobody may be reading the topic.
fn may_expire(group: &ClassicGroup, topic: &str) -> bool {
    match group.state {
        ClassicState::Empty => true,
        ClassicState::Stable => group.speaks_consumer() && group.subscribed.is_some() && !group.is_subscribed(topic),
        ClassicState::Preparing { .. } | ClassicState::Completing { .. } => false,
    }
}

/// Whether the offset's time is up: what its client said, or the retention since it was committed and, in a group that
/// had members, since the last one left.
fn is_expired(empty_since: Option<WallTime>, offset: &CommittedOffset, retention_ms: i64, now: WallTime) -> bool {
    if let Some(expires_at) = offset.expires_at {
        return now.0 >= expires_at;
    }
    let last_used = empty_since.map_or(offset.committed_at, |since| since.0.max(offset.committed_at));
    now.0.saturating_sub(last_used) >= retention_ms
}

fn retention_ms(minutes: u64) -> i64 {
    i64::try_from(minutes.saturating_mul(60_000)).unwrap_or(i64::MAX)
}

/// The limit counts what Java calls characters.
fn check_metadata(partition: &CommitPartition<'_>, max: u32) -> ErrorCode {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let metadata = partition.metadata.unwrap_or_default();
    if metadata.len() > max && metadata.encode_utf16().count() > max {
        ErrorCode::OFFSET_METADATA_TOO_LARGE
    } else {
        ErrorCode::NONE
    }
}

fn committed(
    group: &Arc<str>,
    topic: &CommitTopic<'_>,
    partition: &CommitPartition<'_>,
    request: &CommitRequest<'_>,
    now: WallTime,
) -> Change {
    let offset = CommittedOffset {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.unwrap_or_default().into(),
        committed_at: now.0,
        expires_at: request.retention_ms.map(|retention| now.0.saturating_add(retention)),
        topic_id: topic.id,
    };
    let at = OffsetKey { group: group.clone(), topic: topic.name.into(), partition: partition.partition };
    Change::Offset { at, offset: Some(Arc::new(offset)) }
}

/// What has been committed, by an image.
pub(super) fn fetch(image: &GroupsImage, request: &FetchOffsetsRequest<'_>) -> FetchOffsetsAnswer {
    let consumers = image.consumer(request.group);
    if let Some(Err(code)) = consumers.map(|it| it.check_fetch(request.member_id, request.member_epoch)) {
        return FetchOffsetsAnswer::refused(request.group, code);
    }
    let topics = match &request.topics {
        Some(topics) => {
            let fetched = topics.iter().map(|topic| FetchedTopic {
                name: topic.name.into(),
                id: topic.id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|&partition| {
                        let offset = image.offset(request.group, topic.name, partition);
                        // A topic that was made anew has none of the offsets of the one before.
                        let other = |of: &CommittedOffset| {
                            !of.topic_id.is_zero() && !topic.id.is_zero() && of.topic_id != topic.id
                        };
                        fetched(partition, offset.filter(|offset| !other(offset)))
                    })
                    .collect(),
            });
            fetched.collect()
        }
        None => {
            let all = image.offsets(request.group).into_iter().flatten().map(|(topic, partitions)| FetchedTopic {
                name: topic.clone(),
                id: Default::default(),
                partitions: partitions.iter().map(|(partition, offset)| fetched(*partition, Some(offset))).collect(),
            });
            all.collect()
        }
    };
    FetchOffsetsAnswer { group: request.group.into(), error: ErrorCode::NONE, topics }
}

fn fetched(partition: i32, offset: Option<&Arc<CommittedOffset>>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: offset.map_or(-1, |offset| offset.offset),
        leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: offset.map_or_else(|| "".into(), |offset| offset.metadata.clone()),
        error: ErrorCode::NONE,
    }
}
