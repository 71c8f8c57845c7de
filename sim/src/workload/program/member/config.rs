//! How a member goes about it: what its group has in common, what is its own, and what each of its processes draws.

use std::sync::Arc;

use ottla_core::client::assignor::Strategy;
use ottla_core::client::{AutoOffsetReset, ClientConfig, GroupProtocol};
use ottla_core::types::TopicPartition;

use crate::draw::Draw;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::groups::{CoreMembers, Groups, Protocol};
use crate::workload::program::{base_config, size};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub group: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub topics: Vec<(Arc<str>, i32)>,
    pub protocol: Protocol,
    strategies: Vec<Strategy>,
    remote_assignor: Option<&'static str>,
    /// Whether it is there when all has healed: of two that are one instance only the first is.
    pub stays: bool,
    pub until: Nanos,
    /// `session.timeout.ms`
    pub session: Nanos,
    /// `max.poll.interval.ms`
    pub rebalance: Nanos,
    heartbeat: Nanos,
    /// The mean time between two of its own commits.
    pub commit: Nanos,
    pub trouble: Nanos,
    pub longest_away: Nanos,
    pub habits: Habits,
}

/// What a program does in its own way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Whether all that it does beside its work is to die and to come back at once.
    pub rolling: bool,
    /// Whether partitions that are taken away wait for its word.
    pub awaits_release: bool,
    /// Whether it asks for commits.
    pub commits_itself: bool,
    commits_automatically: bool,
    /// How long it deals with what it has polled, on average.
    pub think: Nanos,
    pub poll_ms: u64,
}

/// `partition.assignment.strategy`, as groups have it.
const STRATEGIES: [&[Strategy]; 5] = [
    &[Strategy::Range],
    &[Strategy::RoundRobin],
    &[Strategy::Sticky],
    &[Strategy::CooperativeSticky],
    &[Strategy::Range, Strategy::CooperativeSticky],
];

impl Way {
    pub fn new(
        (params, core): (&Groups, &CoreMembers),
        (group, which): (&str, u16),
        topics: Vec<(Arc<str>, i32)>,
        until: Nanos,
        (of_group, draw): (Draw, Draw),
    ) -> Self {
        let number = if params.twins { which / 2 } else { which };
        let is_static = draw_of(of_group, number).below(100) < u64::from(params.fixed);
        let commits = draw.and(40).below(4);
        Self {
            group: group.into(),
            instance: is_static.then(|| format!("i{number}").into()),
            topics,
            protocol: core.protocol,
            strategies: STRATEGIES[of_group.and(1).index(STRATEGIES.len())].to_vec(),
            remote_assignor: [None, Some("uniform"), Some("range")][of_group.and(2).index(3)],
            stays: !(is_static && params.twins && which % 2 == 1),
            until,
            session: params.session.0,
            rebalance: params.rebalance.0,
            heartbeat: params.heartbeat.0,
            commit: params.commit.0,
            trouble: params.trouble.0,
            longest_away: if params.rolling { params.session.0 / 10 } else { 2 * params.session.0 },
            habits: Habits {
                rolling: params.rolling,
                awaits_release: draw.and(41).chance(0.5),
                commits_itself: commits != 0,
                commits_automatically: commits < 2,
                think: draw.and(42).log_between(MILLISECOND, 300 * MILLISECOND),
                poll_ms: draw.and(43).log_between(10, 5_000),
            },
        }
    }

    /// All that the group reads.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.topics.iter().flat_map(|(topic, count)| (0..*count).map(|it| TopicPartition::new(topic.clone(), it)))
    }

    /// How many topics the group reads, and how many partitions.
    pub fn size(&self) -> (usize, usize) {
        (self.topics.len(), self.partitions().count())
    }

    /// The client of its next process.
    pub fn config(&self, draw: Draw) -> ClientConfig {
        let mut config = base_config(2 * SECOND, draw);
        let ms = |time: Nanos| (time / MILLISECOND).max(2);
        let group = &mut config.group;
        group.group_id = Some((*self.group).into());
        group.group_instance_id = self.instance.as_deref().map(Into::into);
        group.session_timeout_ms = ms(self.session);
        group.heartbeat_interval_ms = ms(self.heartbeat).min(group.session_timeout_ms - 1);
        group.max_poll_interval_ms = ms(self.rebalance);
        group.group_protocol = match self.protocol {
            Protocol::Classic => GroupProtocol::Classic,
            Protocol::Consumer => GroupProtocol::Consumer,
            Protocol::Mixed => [GroupProtocol::Classic, GroupProtocol::Consumer][draw.and(60).index(2)],
        };
        group.group_remote_assignor = self.remote_assignor.map(Into::into);
        group.partition_assignment_strategy.clone_from(&self.strategies);
        group.enable_auto_commit = self.habits.commits_automatically;
        group.auto_commit_interval_ms = ms(self.commit);
        let reader = &mut config.reader;
        reader.fetch_max_wait_ms = i32::try_from(draw.and(61).log_between(10, 1_000)).unwrap_or(500);
        reader.max_partition_fetch_bytes = i32::try_from(size(draw.and(62), 1_000, 1 << 20)).unwrap_or(i32::MAX);
        reader.max_poll_records = size(draw.and(63), 1, 500);
        reader.auto_offset_reset = match draw.and(64).below(10) {
            0 => AutoOffsetReset::Latest,
            1..=3 => AutoOffsetReset::None,
            _ => AutoOffsetReset::Earliest,
        };
        config
    }
}

/// What is drawn for one instance, whoever is it.
fn draw_of(of_group: Draw, number: u16) -> Draw {
    of_group.and(100 + u64::from(number))
}
