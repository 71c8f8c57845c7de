//! A client in no group: it commits in groups of its own, which have no members, asks what is committed, there and in
//! the groups of others, looks at groups, and deletes them. In the end one asks what all groups have committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ottla_core::types::TopicPartition;
use ottla_wire::api::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_wire::api::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use ottla_wire::api::list_groups::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::api::offset_commit::OffsetCommitResponse;
use ottla_wire::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader};

use super::frames::{Commit, Identity, Speaker, read_fetched};
use super::{Groups, RETRY, fate};
use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::draw::Draw;
use crate::groups::{Fate, Op, OpId, PENDING, Seen};
use crate::history::PartitionIndex;
use crate::time::{MILLISECOND, Nanos};

/// See the module.
#[derive(Clone, Debug)]
pub struct SoloActor {
    params: Groups,
    speaker: Speaker,
    partitions: i32,
    /// How many groups of its own it has had.
    owned: u32,
    /// Groups of others.
    others: Vec<Arc<str>>,
    asked: BTreeMap<u64, Asked>,
    /// What is left to ask in the end: groups with their topics. `None`: it is no end.
    audit: Option<VecDeque<(Arc<str>, Arc<str>)>>,
    /// A look that was not answered, and is taken again.
    again: Option<(Arc<str>, Arc<str>)>,
    next_at: Nanos,
    until: Nanos,
    stopped: bool,
    /// Whether other nodes may coordinate its groups.
    is_among_several: bool,
    hangs_up: bool,
}

/// A request that is not answered.
#[derive(Clone, Debug)]
struct Asked {
    op: OpId,
    at: Nanos,
    group: Arc<str>,
    topic: Arc<str>,
    partition: i32,
}

impl SoloActor {
    /// A client that does so from `at` until `until`, or until the load ends.
    #[must_use]
    pub fn new(params: &Groups, which: u16, partitions: i32, (at, until): (Nanos, Nanos), draw: Draw) -> Self {
        Self {
            params: params.clone(),
            speaker: Speaker::new(&format!("solo{which}-0"), None, "solo", draw),
            partitions,
            owned: 0,
            others: (0..params.groups).map(|number| params.name(number).into()).collect(),
            asked: BTreeMap::new(),
            audit: None,
            again: None,
            next_at: at,
            until,
            stopped: false,
            is_among_several: false,
            hangs_up: false,
        }
    }

    /// The same, where there are so many nodes.
    #[must_use]
    pub fn among(self, nodes: usize) -> Self {
        Self { is_among_several: nodes > 1, ..self }
    }

    /// A client that asks once what is committed in these groups, each with its topic.
    #[must_use]
    pub fn audit(groups: Vec<(Arc<str>, Arc<str>)>, partitions: i32, at: Nanos, draw: Draw) -> Self {
        let audit = Some(groups.into());
        Self { audit, ..Self::new(&Groups::default(), 0, partitions, (at, u64::MAX), draw) }
    }

    pub(in crate::workload) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight > 0 || self.stopped { u64::MAX } else { self.next_at }
    }

    pub(in crate::workload) const fn is_done(&self) -> bool {
        self.stopped
    }

    /// It is told that another node coordinates the group: it tries the next one.
    pub(in crate::workload) const fn hangs_up(&mut self) -> bool {
        std::mem::replace(&mut self.hangs_up, false)
    }

    pub(in crate::workload) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        let over = match &self.audit {
            Some(left) => left.is_empty(),
            None => !ctx.load || ctx.now >= self.until,
        };
        self.stopped |= over && in_flight == 0;
        if in_flight > 0 || self.stopped || ctx.now < self.next_at {
            return None;
        }
        let tag = ctx.judge.groups.number();
        if let Some((group, topic)) = self.audit.as_ref().and_then(|left| left.front().cloned()) {
            return Some(self.fetch(ctx, tag, &group, &topic));
        }
        if let Some((group, topic)) = self.again.take() {
            return Some(self.fetch(ctx, tag, &group, &topic));
        }
        self.next_at = ctx.now + 1 + ctx.draw().exponential(self.params.every.0);
        let own = Arc::clone(&self.speaker.group);
        let other = self.others.get(ctx.draw().index(self.others.len())).unwrap_or(&own).clone();
        let some = if ctx.draw().chance(0.7) { &own } else { &other };
        let topic: Arc<str> = self.params.topic.as_str().into();
        Some(match ctx.draw().below(12) {
            0..=3 => self.commit(ctx, tag),
            4..=5 => self.fetch(ctx, tag, &own, &topic),
            6 => self.fetch(ctx, tag, &other, &topic),
            7 => self.list(ctx, tag),
            8 => self.describe(ctx, tag, if self.params.are_classic() { some } else { &own }),
            9 => self.delete_offset(ctx, tag, some),
            10 => self.delete(ctx, tag, some),
            _ => self.delete(ctx, tag, &own),
        })
    }

    fn expect(&mut self, ctx: &Ctx<'_>, op: OpId, group: &Arc<str>, topic: &Arc<str>, partition: i32) {
        let asked = Asked { op, at: ctx.now, group: group.clone(), topic: topic.clone(), partition };
        self.asked.insert(op, asked);
    }

    fn commit(&mut self, ctx: &mut Ctx<'_>, tag: u64) -> Ask {
        let partition = i32::try_from(ctx.draw().below(u64::from(self.partitions.unsigned_abs()))).unwrap_or(0);
        let offset = i64::try_from(ctx.draw().below(1_000_000)).unwrap_or(0);
        let kept = self.params.retention.0;
        let kept = Some(kept).filter(|kept| *kept > 0 && self.speaker.says_retention() && ctx.draw().chance(0.5));
        let (group, topic): (Arc<str>, Arc<str>) = (self.speaker.group.clone(), self.params.topic.as_str().into());
        self.expect(ctx, tag, &group, &topic, partition);
        ctx.judge.groups.note(&group, &topic);
        let index = index_of(ctx, &topic, partition);
        let op = Op { id: tag, group: &group, asked: ctx.now, told: PENDING };
        ctx.judge.group(op, Seen::Committing { partition: index, commit: tag, offset, retention: kept });
        let commits = [Commit { id: tag, partition, offset }];
        self.speaker.commit(tag, &Identity::nobody(), &topic, &commits, kept)
    }

    fn fetch(&mut self, ctx: &Ctx<'_>, tag: u64, group: &Arc<str>, topic: &Arc<str>) -> Ask {
        self.expect(ctx, tag, group, topic, -1);
        let partitions: Vec<i32> = (0..self.partitions).collect();
        self.speaker.about(group).fetch_offsets(tag, topic, &partitions)
    }

    fn list(&mut self, ctx: &mut Ctx<'_>, tag: u64) -> Ask {
        let nothing: Arc<str> = "".into();
        self.expect(ctx, tag, &nothing, &nothing, -1);
        Ask::new(ApiKey::ListGroups, version(ctx, 6), tag, &ListGroupsRequest::default())
    }

    fn describe(&mut self, ctx: &mut Ctx<'_>, tag: u64, group: &Arc<str>) -> Ask {
        self.expect(ctx, tag, group, group, -1);
        let request = DescribeGroupsRequest { groups: vec![&**group], include_authorized_operations: false };
        let mut ask = Ask::new(ApiKey::DescribeGroups, version(ctx, 7), tag, &request);
        ask.patience = 5_000 * MILLISECOND;
        ask
    }

    fn delete_offset(&mut self, ctx: &mut Ctx<'_>, tag: u64, group: &Arc<str>) -> Ask {
        let partition = i32::try_from(ctx.draw().below(u64::from(self.partitions.unsigned_abs()))).unwrap_or(0);
        let topic: Arc<str> = self.params.topic.as_str().into();
        self.expect(ctx, tag, group, &topic, partition);
        let index = index_of(ctx, &topic, partition);
        let op = Op { id: tag, group, asked: ctx.now, told: PENDING };
        ctx.judge.group(op, Seen::Deleting { partition: Some(index) });
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: partition }];
        let topics = vec![OffsetDeleteRequestTopic { name: &topic, partitions }];
        let mut ask = Ask::new(ApiKey::OffsetDelete, 0, tag, &OffsetDeleteRequest { group_id: group, topics });
        ask.patience = 5_000 * MILLISECOND;
        ask
    }

    fn delete(&mut self, ctx: &mut Ctx<'_>, tag: u64, group: &Arc<str>) -> Ask {
        self.expect(ctx, tag, group, group, -1);
        let op = Op { id: tag, group, asked: ctx.now, told: PENDING };
        ctx.judge.group(op, Seen::Deleting { partition: None });
        let request = DeleteGroupsRequest { groups_names: vec![&**group] };
        let mut ask = Ask::new(ApiKey::DeleteGroups, version(ctx, 3), tag, &request);
        ask.patience = 5_000 * MILLISECOND;
        ask
    }

    pub(in crate::workload) fn on_lost(&mut self, ask: &Ask) {
        let asked = self.asked.remove(&ask.tag).filter(|_| ask.api_key == ApiKey::OffsetFetch);
        self.again = asked.filter(|_| self.audit.is_none()).map(|asked| (asked.group, asked.topic));
    }

    pub(in crate::workload) fn on_answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let Some(asked) = self.asked.remove(&ask.tag) else { return Ok(()) };
        let op = Op { id: asked.op, group: &asked.group, asked: asked.at, told: ctx.now };
        #[expect(clippy::wildcard_enum_match_arm, reason = "it asks nothing else")]
        match ask.api_key {
            ApiKey::OffsetCommit => {
                let answer = OffsetCommitResponse::decode(body, ask.api_version)?;
                for it in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                    let partition = index_of(ctx, &asked.topic, it.partition_index);
                    ctx.judge.group(op, Seen::Committed { partition, fate: fate(it.error_code) });
                    self.note(it.error_code);
                }
            }
            ApiKey::OffsetFetch => self.on_fetched(ctx, &asked, ask, body)?,
            ApiKey::ListGroups => {
                let answer = ListGroupsResponse::decode(body, ask.api_version)?;
                for it in &answer.groups {
                    ctx.judge.group(Op { group: it.group_id, ..op }, Seen::Listed { there: true });
                }
            }
            ApiKey::DescribeGroups => {
                let answer = DescribeGroupsResponse::decode(body, ask.api_version)?;
                for it in &answer.groups {
                    self.note(it.error_code);
                    if let ErrorCode::NONE | ErrorCode::GROUP_ID_NOT_FOUND = it.error_code {
                        ctx.judge.group(op, Seen::Listed { there: it.group_state != "Dead" });
                    }
                }
            }
            ApiKey::OffsetDelete => {
                let answer = OffsetDeleteResponse::decode(body, ask.api_version)?;
                let of_partition = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
                let error = of_partition.map_or(answer.error_code, |it| it.error_code);
                self.note(error);
                let partition = Some(index_of(ctx, &asked.topic, asked.partition));
                // Neither a group's error nor a partition's: nothing was said.
                let fate = if of_partition.is_none() && error == ErrorCode::NONE { Fate::Unknown } else { fate(error) };
                ctx.judge.group(op, Seen::Deleted { partition, fate });
            }
            ApiKey::DeleteGroups => {
                let answer = DeleteGroupsResponse::decode(body, ask.api_version)?;
                let error = answer.results.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |it| it.error_code);
                self.note(error);
                ctx.judge.group(op, Seen::Deleted { partition: None, fate: fate(error) });
                if error == ErrorCode::GROUP_ID_NOT_FOUND {
                    ctx.judge.group(op, Seen::Listed { there: false });
                }
                if error == ErrorCode::NONE && asked.group == self.speaker.group {
                    self.owned += 1;
                    let stem = asked.group.split('-').next().unwrap_or_default();
                    self.speaker.group = format!("{stem}-{}", self.owned).into();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, error: ErrorCode) {
        self.hangs_up |= self.is_among_several && error == ErrorCode::NOT_COORDINATOR;
    }

    fn on_fetched(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked,
        ask: &Ask,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let (error, fetched) = read_fetched(ask, body)?;
        if error != ErrorCode::NONE || fetched.iter().any(|it| it.error != ErrorCode::NONE) {
            self.note(error);
            fetched.iter().for_each(|it| self.note(it.error));
            // As a client that must know where to begin: as often as it may.
            self.next_at = ctx.now + RETRY / 10;
            self.again = self.audit.is_none().then(|| (asked.group.clone(), asked.topic.clone()));
            return Ok(());
        }
        let clocks = ctx.judge.groups.clocks;
        let op = Op { id: asked.op, group: &asked.group, asked: asked.at, told: ctx.now };
        for it in fetched {
            let partition = index_of(ctx, &it.topic, it.partition);
            ctx.judge.group(op, Seen::Fetched { partition, found: it.found, clocks });
        }
        if let Some(left) = &mut self.audit {
            left.pop_front();
        }
        Ok(())
    }
}

fn version(ctx: &mut Ctx<'_>, versions: u64) -> i16 {
    i16::try_from(ctx.draw().below(versions)).unwrap_or(0)
}

fn index_of(ctx: &mut Ctx<'_>, topic: &str, partition: i32) -> PartitionIndex {
    ctx.judge.history.partition(&TopicPartition::new(topic, partition))
}
