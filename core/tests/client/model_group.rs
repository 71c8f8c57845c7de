//! The model's side of groups: a coordinator of one group with one member, which refuses what it is told to.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::rng::Rng;
use ottla_wire::api::Request;
use ottla_wire::api::consumer_group_heartbeat::{
    AssignedPartitions, Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use ottla_wire::api::find_coordinator::{Coordinator, FindCoordinatorResponse};
use ottla_wire::api::heartbeat::HeartbeatResponse;
use ottla_wire::api::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::api::leave_group::LeaveGroupResponse;
use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupResponse};
use ottla_wire::frame::RequestHeader;
use ottla_wire::{ErrorCode, Uuid};

use crate::model::{Model, reply};

#[derive(Default)]
pub struct Group {
    /// The broker that coordinates it.
    pub coordinator: i32,
    member_id: String,
    generation: i32,
    members_made: u32,
    /// Chances in 1,000 that a request is refused, and that the coordinator moves.
    pub refuse: u64,
    pub shift: u64,
    /// Refused with this next, whatever it is.
    pub next: Option<ErrorCode>,
    /// The next heartbeat of KIP-848 is refused with this.
    pub next_beat: Option<ErrorCode>,
    /// Member ids and epochs of those that came.
    pub beats: Vec<(String, i32)>,
    /// Offset and leader epoch of each partition.
    pub committed: BTreeMap<(String, i32), (i64, i32)>,
    /// How many requests were refused, and with what.
    pub refused: BTreeMap<ErrorCode, u32>,
    pub left: bool,
    /// All commits of its members are refused with this.
    pub no_commits: Option<ErrorCode>,
    /// Whether positions may go back: the log was cut.
    pub may_go_back: bool,
}

const PASSING: [ErrorCode; 3] =
    [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR];

const OF_MEMBERS: [ErrorCode; 3] =
    [ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID];

impl Model {
    pub(super) fn of_group(&mut self, broker: i32, header: &RequestHeader<'_>, request: &Request<'_>) -> Bytes {
        let names: BTreeMap<Uuid, String> = self.topics.iter().map(|(name, topic)| (topic.id, name.clone())).collect();
        let Self { rng, group, brokers, .. } = self;
        if rng.below(1_000) < group.shift {
            group.coordinator = i32::try_from(rng.below(u64::from(brokers.unsigned_abs()))).unwrap();
        }
        let is_coordinator = broker == group.coordinator;
        let refusal = if let Request::FindCoordinator(_) = request {
            (rng.below(1_000) < group.refuse).then_some(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        } else if !is_coordinator {
            Some(ErrorCode::NOT_COORDINATOR)
        } else {
            group.refusal(request, rng)
        };
        let code = refusal.unwrap_or(ErrorCode::NONE);
        if code.is_error() {
            *group.refused.entry(code).or_default() += 1;
        }
        match request {
            Request::FindCoordinator(request) => {
                let host = format!("broker{}", group.coordinator);
                let key = request.coordinator_keys.first().copied().unwrap_or(request.key);
                let found = Coordinator {
                    key,
                    node_id: group.coordinator,
                    host: &host,
                    port: 9092,
                    error_code: code,
                    ..Coordinator::default()
                };
                let response = FindCoordinatorResponse {
                    error_code: code,
                    node_id: group.coordinator,
                    host: &host,
                    port: 9092,
                    coordinators: if header.api_version >= 4 { vec![found] } else { Vec::new() },
                    ..FindCoordinatorResponse::default()
                };
                reply(header, &response)
            }
            Request::ConsumerGroupHeartbeat(request) => {
                let all = self.topics.values().map(|topic| AssignedPartitions {
                    topic_id: topic.id,
                    partitions: (0..i32::try_from(topic.partitions.len()).unwrap()).collect(),
                });
                group.beat(code, header, (request, all.collect()))
            }
            Request::JoinGroup(request) => group.join(code, header, request),
            Request::SyncGroup(request) => group.sync(code, header, request),
            Request::Heartbeat(request) => {
                let code = group.judge(code, request.member_id, request.generation_id);
                reply(header, &HeartbeatResponse { error_code: code, ..HeartbeatResponse::default() })
            }
            Request::LeaveGroup(_) => {
                (group.left, group.member_id) = (true, String::new());
                reply(header, &LeaveGroupResponse::default())
            }
            Request::OffsetCommit(request) => group.commit(code, header, (request, &names)),
            Request::OffsetFetch(request) => group.fetch(code, header, (request, &names)),
            other => panic!("not in the model: {}", other.api_key()),
        }
    }
}

impl Group {
    fn refusal(&mut self, request: &Request<'_>, rng: &mut Rng) -> Option<ErrorCode> {
        if self.next.is_some() {
            return self.next.take();
        }
        if rng.below(1_000) >= self.refuse {
            return None;
        }
        let mut codes = PASSING.to_vec();
        match request {
            Request::JoinGroup(_) => codes.extend([ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS]),
            Request::SyncGroup(_) | Request::Heartbeat(_) => codes.extend(OF_MEMBERS),
            Request::OffsetCommit(_) => {
                codes.extend(OF_MEMBERS);
                codes.push(ErrorCode::REQUEST_TIMED_OUT);
            }
            Request::OffsetFetch(_) => codes.push(ErrorCode::UNSTABLE_OFFSET_COMMIT),
            _ => {}
        }
        let code = codes[usize::try_from(rng.below(codes.len() as u64)).unwrap()];
        // What it says is so.
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID => self.member_id.clear(),
            ErrorCode::ILLEGAL_GENERATION => self.generation += 1,
            _ => {}
        }
        Some(code)
    }

    fn judge(&self, code: ErrorCode, member_id: &str, generation: i32) -> ErrorCode {
        if code.is_error() {
            code
        } else if member_id != self.member_id || member_id.is_empty() {
            ErrorCode::UNKNOWN_MEMBER_ID
        } else if generation != self.generation {
            ErrorCode::ILLEGAL_GENERATION
        } else {
            ErrorCode::NONE
        }
    }

    /// Whoever joins is given everything.
    fn beat(
        &mut self,
        code: ErrorCode,
        header: &RequestHeader<'_>,
        (request, topic_partitions): (&ConsumerGroupHeartbeatRequest<'_>, Vec<AssignedPartitions>),
    ) -> Bytes {
        self.beats.push((request.member_id.to_owned(), request.member_epoch));
        let error_code = if code.is_error() { code } else { self.next_beat.take().unwrap_or(ErrorCode::NONE) };
        let joins = request.member_epoch == 0 && error_code.is_none();
        if joins {
            self.generation += 1;
            request.member_id.clone_into(&mut self.member_id);
        }
        let response = ConsumerGroupHeartbeatResponse {
            error_code,
            member_id: Some(request.member_id),
            member_epoch: if request.member_epoch < 0 { request.member_epoch } else { self.generation },
            heartbeat_interval_ms: 500,
            assignment: joins.then_some(Assignment { topic_partitions }),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        reply(header, &response)
    }

    fn join(&mut self, code: ErrorCode, header: &RequestHeader<'_>, request: &JoinGroupRequest<'_>) -> Bytes {
        let refuse = |error_code, member_id| {
            reply(header, &JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() })
        };
        if code.is_error() {
            return refuse(code, "");
        }
        if request.member_id.is_empty() {
            self.members_made += 1;
            self.member_id = format!("member-{}", self.members_made);
            if header.api_version >= 4 {
                return refuse(ErrorCode::MEMBER_ID_REQUIRED, &self.member_id);
            }
        } else if request.member_id != self.member_id {
            return refuse(ErrorCode::UNKNOWN_MEMBER_ID, "");
        }
        self.generation += 1;
        let protocol = request.protocols.first().unwrap();
        let member = JoinGroupResponseMember {
            member_id: &self.member_id,
            group_instance_id: None,
            metadata: protocol.metadata,
        };
        let response = JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some(request.protocol_type),
            protocol_name: Some(protocol.name),
            leader: &self.member_id,
            member_id: &self.member_id,
            members: vec![member],
            ..JoinGroupResponse::default()
        };
        reply(header, &response)
    }

    fn sync(&self, code: ErrorCode, header: &RequestHeader<'_>, request: &SyncGroupRequest<'_>) -> Bytes {
        let error_code = self.judge(code, request.member_id, request.generation_id);
        let assignment = request.assignments.first().filter(|_| error_code.is_none());
        let assignment = assignment.map(|it| it.assignment).unwrap_or_default();
        reply(header, &SyncGroupResponse { error_code, assignment, ..SyncGroupResponse::default() })
    }

    fn commit(
        &mut self,
        code: ErrorCode,
        header: &RequestHeader<'_>,
        (request, names): (&OffsetCommitRequest<'_>, &BTreeMap<Uuid, String>),
    ) -> Bytes {
        assert!(header.api_version < 10 || request.topics.iter().all(|it| names.contains_key(&it.topic_id)));
        let code = self.judge(code, request.member_id, request.generation_id_or_member_epoch);
        let error_code = self.no_commits.filter(|_| code.is_none()).unwrap_or(code);
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|it| {
                // What timed out may have been done all the same.
                if error_code.is_none() || error_code == ErrorCode::REQUEST_TIMED_OUT {
                    let position = (it.committed_offset, it.committed_leader_epoch);
                    let name = names.get(&topic.topic_id).map_or(topic.name, |name| name);
                    let before = self.committed.insert((name.to_owned(), it.partition_index), position);
                    let forward = before.is_none_or(|before| before.0 <= position.0);
                    assert!(forward || self.may_go_back, "{before:?}, then {position:?}");
                }
                OffsetCommitResponsePartition { partition_index: it.partition_index, error_code }
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
        });
        reply(header, &OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() })
    }

    fn fetch(
        &self,
        code: ErrorCode,
        header: &RequestHeader<'_>,
        (request, names): (&OffsetFetchRequest<'_>, &BTreeMap<Uuid, String>),
    ) -> Bytes {
        assert!(header.api_version < 7 || request.require_stable);
        let unstable = code == ErrorCode::UNSTABLE_OFFSET_COMMIT;
        let (whole, each) = if unstable { (ErrorCode::NONE, code) } else { (code, ErrorCode::NONE) };
        let of = |topic: &str, index: i32| {
            self.committed.get(&(topic.to_owned(), index)).copied().filter(|_| each.is_none()).unwrap_or((-1, -1))
        };
        let older = request.topics.iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|&partition_index| {
                let (committed_offset, committed_leader_epoch) = of(topic.name, partition_index);
                OffsetFetchResponsePartition {
                    partition_index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: None,
                    error_code: each,
                }
            });
            OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
        });
        let newer = request.groups.iter().map(|group| {
            let topics = group.topics.iter().flatten().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|&partition_index| {
                    let name = names.get(&topic.topic_id).map_or(topic.name, |name| name);
                    let (committed_offset, committed_leader_epoch) = of(name, partition_index);
                    OffsetFetchResponsePartitions {
                        partition_index,
                        committed_offset,
                        committed_leader_epoch,
                        metadata: None,
                        error_code: each,
                    }
                });
                OffsetFetchResponseTopics {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                }
            });
            OffsetFetchResponseGroup { group_id: group.group_id, topics: topics.collect(), error_code: whole }
        });
        let response = OffsetFetchResponse {
            topics: older.collect(),
            error_code: whole,
            groups: newer.collect(),
            ..OffsetFetchResponse::default()
        };
        reply(header, &response)
    }
}
