//! What clients of the group coordinator did and saw: the part of the history that is about groups.
//!
//! A request has a number, and the times at which it was sent and answered; one that is never answered may take effect
//! at any time. What a commit writes is known by its number, which is the metadata beside the offset; what a leader
//! hands in is known by a number among its user data. So whoever is told an offset or an assignment knows whose it is.
//! Core's client keeps no such numbers with what it commits by itself, which is known by the offset alone, and hands in
//! none: its assignments are known by their generation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::PartitionIndex;
use crate::time::Nanos;

/// A request's number.
pub type OpId = u64;

/// An assignment's number; 0 is none.
pub type AssignmentId = u64;

/// What a commit is known by where it is read: its number, or, without one, its offset.
pub type CommitId = u64;

/// A member's hold on a partition: from when it takes it until it gives it up or loses it.
pub type HoldId = u64;

/// What a commit without a number is known by.
#[must_use]
pub const fn unnumbered(offset: i64) -> CommitId {
    1 << 63 | offset.unsigned_abs()
}

/// The commit that a note beside an offset names; one that nobody made if it names none.
#[must_use]
pub fn commit_of(note: &str, offset: i64) -> CommitId {
    match note.split(' ').next() {
        None | Some("") => unnumbered(offset),
        Some(number) => number.parse().unwrap_or(CommitId::MAX),
    }
}

/// A request about a group.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// Its number.
    pub id: OpId,
    /// Which group.
    pub group: &'a str,
    /// When it was sent.
    pub asked: Nanos,
    /// When its answer came; [`PENDING`] before.
    pub told: Nanos,
}

/// "No answer has come."
pub const PENDING: Nanos = u64::MAX;

/// A member, as it takes itself to be.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// Its id.
    pub id: &'a str,
    /// Of a static member.
    pub instance: Option<&'a str>,
    /// The assignment that it has.
    pub assignment: AssignmentId,
    /// Whether it has been subscribed to all that the group reads as long as it is a member.
    pub reads_all: bool,
}

/// A member as the leader of its generation sees it, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: Arc<str>,
    /// Of a static member.
    pub instance: Option<Arc<str>>,
    /// What it is to read.
    pub partitions: Vec<PartitionIndex>,
}

impl Peer {
    /// Whether it is among `others`, or somebody in its place, and is given the same.
    fn is_in(&self, others: &[Self]) -> bool {
        let is_it = |other: &Self| match &self.instance {
            Some(instance) => other.instance.as_ref() == Some(instance),
            None => other.id == self.id,
        };
        others.iter().any(|other| is_it(other) && other.partitions == self.partitions)
    }
}

/// How a change ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is not, and never will be.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a client asks a coordinator, and what it is told.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It is about to join; without an id at first. `afresh`: the group may take an id that it does not know, as
    /// KIP-848's do.
    Joining { id: &'a str, instance: Option<&'a str>, afresh: bool },
    /// Its JoinGroup has an answer, whatever it is.
    JoinOver { instance: Option<&'a str> },
    /// It is in a generation; the leader is told who else is.
    Joined { id: &'a str, instance: Option<&'a str>, peers: &'a [Peer] },
    /// A leader is about to hand in an assignment.
    Assigning { assignment: AssignmentId, peers: &'a [Peer] },
    /// It has its part of an assignment.
    Synced { me: Me<'a>, partitions: &'a [PartitionIndex] },
    /// The coordinator takes it for a member with this assignment; `calm`: and nobody is to join again.
    Alive { me: Me<'a>, calm: bool },
    /// The coordinator does not know it, whom silence of `patience` may have cost its place (0: or anything else).
    Unknown { id: &'a str, instance: Option<&'a str>, patience: Nanos },
    /// The coordinator knows another as this instance.
    Fenced { id: &'a str, instance: &'a str },
    /// It is about to commit an offset, to be kept for `retention` if it says so itself.
    Committing { partition: PartitionIndex, commit: CommitId, offset: i64, retention: Option<Nanos> },
    /// What came of that.
    Committed { partition: PartitionIndex, fate: Fate },
    /// A client says for certain that none of the requests took effect by which it tried to make a commit.
    Denied { partition: PartitionIndex, commit: CommitId },
    /// What is committed: what the commit is known by, and the offset.
    Fetched { partition: PartitionIndex, found: Option<(CommitId, i64)>, clocks: Clocks },
    /// Somebody is about to delete an offset, or a group with all of its offsets.
    Deleting { partition: Option<PartitionIndex> },
    /// What came of that.
    Deleted { partition: Option<PartitionIndex>, fate: Fate },
    /// A list or a description says whether there is such a group.
    Listed { there: bool },
    /// A member begins to read here; `committed`: because somebody has committed that.
    Began { partition: PartitionIndex, at: i64, committed: bool },
    /// A member has read up to here.
    Passed { partition: PartitionIndex, next: i64 },
    /// The coordinator takes a client for a member, which holds these from the question to the answer.
    Holds { client: u16, holds: &'a [(PartitionIndex, HoldId)] },
    /// The coordinator gives these to a client.
    Given { client: u16, partitions: &'a [PartitionIndex] },
}

/// What expiry may make of a run's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// When the process that runs was started.
    pub booted: Nanos,
    /// How far the node's wall clock has stepped, there and back.
    pub stepped: Nanos,
    /// `offsets.retention.minutes`
    pub retention: Nanos,
}

/// From when to when something was so, in order; the last may go on.
type Spells = Vec<(Nanos, Nanos)>;

/// An assignment that was handed in.
type Assigned = (AssignmentId, Vec<Peer>);

/// Numbers, clocks, and which groups there were.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    ops: OpId,
    /// What expiry depends on.
    pub clocks: Clocks,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session: Nanos,
    /// In how many partitions they live; 0 stands for one.
    pub shards: i32,
    /// By partition of the coordinators, from when to when a node took itself for one that another had become.
    splits: BTreeMap<i32, Spells>,
    /// By node, from when to when it read what its groups are.
    loading: BTreeMap<usize, Spells>,
    /// By partition of the coordinators, the latest epoch that somebody has led it in.
    newest: BTreeMap<i32, i32>,
    /// By group and generation, those that were handed in, the last one last.
    assigned: BTreeMap<(Arc<str>, i32), Vec<Assigned>>,
    /// By group, the generation of the last one.
    last_assigned: BTreeMap<Arc<str>, i32>,
    rooms: BTreeMap<Arc<str>, Room>,
    /// How many assignments leaders have made while the load went on.
    pub assignments: u64,
    /// How many members have died, and come back.
    pub deaths: u64,
    names: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Groups {
    /// The number of another request, or of another assignment.
    pub const fn number(&mut self) -> OpId {
        self.ops += 1;
        self.ops
    }

    /// A leader without numbers hands in an assignment. Handed in again, by itself or by who came in its place, before
    /// any other of its group it is the same.
    pub fn assign(&mut self, group: &Arc<str>, generation: i32, assignment: AssignmentId, peers: &[Peer]) {
        let last = self.last_assigned.insert(group.clone(), generation) == Some(generation);
        let made = self.assigned.entry((group.clone(), generation)).or_default();
        let is_same = |known: &[Peer]| known.len() == peers.len() && known.iter().all(|it| it.is_in(peers));
        let known = made.last().filter(|(_, known)| last && is_same(known)).map(|(known, _)| *known);
        made.push((known.unwrap_or(assignment), peers.to_vec()));
    }

    /// Which assignment of its generation a member was told: one that gives it just that, else the last; 0 if none was
    /// handed in.
    #[must_use]
    pub fn assignment(&self, group: &Arc<str>, generation: i32, is_told: impl Fn(&Peer) -> bool) -> AssignmentId {
        let made = self.assigned.get(&(group.clone(), generation)).map_or(&[][..], Vec::as_slice);
        let told = made.iter().rev().find(|(_, peers)| peers.iter().any(&is_told));
        told.or(made.last()).map_or(0, |(assignment, _)| *assignment)
    }

    /// A client is to be in a group that reads so many partitions of so many topics when all has healed.
    pub fn expect(&mut self, group: &Arc<str>, client: u16, (topics, partitions): (usize, usize)) {
        let room = self.rooms.entry(group.clone()).or_default();
        (room.topics, room.partitions) = (topics, partitions);
        room.members.insert(client, None);
    }

    /// What a client holds, if it is in the group.
    pub fn stand(&mut self, group: &Arc<str>, client: u16, holds: Option<BTreeSet<PartitionIndex>>) {
        if let Some(room) = self.rooms.get_mut(group)
            && let Some(member) = room.members.get_mut(&client)
        {
            *member = holds;
        }
    }

    /// Whether everybody is in the group, and all that it reads is shared out evenly; once it was so, it stays said.
    pub fn settles(&mut self, group: &Arc<str>) -> bool {
        let Some(room) = self.rooms.get_mut(group) else { return true };
        room.settled |= room.is_shared_out();
        room.settled
    }

    /// These lead the partitions that coordinators live in, each in an epoch of it: whether one of them does so no
    /// more, and does not know it. That somebody has led later counts, be that process dead by now.
    pub fn note_split(&mut self, now: Nanos, leading: &[(i32, i32)]) {
        for &(partition, epoch) in leading {
            let newest = self.newest.entry(partition).or_insert(epoch);
            *newest = (*newest).max(epoch);
        }
        for (partition, newest) in &self.newest {
            let is_split = leading.iter().any(|(led, epoch)| led == partition && newest > epoch);
            note(self.splits.entry(*partition).or_default(), now, is_split);
        }
    }

    /// Whether a node reads what its groups are.
    pub fn note_loading(&mut self, now: Nanos, node: usize, is_loading: bool) {
        note(self.loading.entry(node).or_default(), now, is_loading);
    }

    /// Whether who answered a heartbeat between these times may not have known the group yet: then it says NONE, as
    /// Kafka does, so that nobody joins again for that.
    #[must_use]
    pub fn may_be_blind(&self, op: &Op<'_>) -> bool {
        let mut later =
            self.loading.values().flat_map(|it| it.iter().rev().take_while(|(_, until)| *until >= op.asked));
        later.any(|(since, _)| *since <= op.told)
    }

    /// As of when what a client is told by a coordinator may be: who is one no more, and does not know it yet, answers
    /// from what it knew when the other became it, as Kafka's does. What it writes is never committed.
    #[must_use]
    pub fn as_of(&self, group: &str, asked: Nanos) -> Nanos {
        let splits = self.splits.get(&self.shard_of(group)).map_or(&[][..], Vec::as_slice);
        let overlapping = splits.iter().rev().take_while(|(_, until)| *until >= asked);
        overlapping.map(|(since, _)| *since).fold(asked, Nanos::min)
    }

    /// The partition that a group's coordinator lives in: by Java's hash of its name, as in Kafka.
    fn shard_of(&self, group: &str) -> i32 {
        let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        hash.checked_abs().unwrap_or(0) % self.shards.max(1)
    }

    /// There is a group that reads a topic.
    pub fn note(&mut self, group: &str, topic: &str) {
        if !self.names.iter().any(|(known, of)| **known == *group && **of == *topic) {
            self.names.insert((group.into(), topic.into()));
        }
    }

    /// Every group that somebody has committed to, with its topic.
    pub fn names(&self) -> impl Iterator<Item = &(Arc<str>, Arc<str>)> {
        self.names.iter()
    }
}

/// Whether something is so from now on.
fn note(spells: &mut Spells, now: Nanos, is_so: bool) {
    match spells.last_mut().filter(|(_, until)| *until == PENDING) {
        Some((_, until)) if !is_so => *until = now,
        None if is_so => spells.push((now, PENDING)),
        _ => {}
    }
}

/// Who is to be in a group, and what each holds.
#[derive(Clone, Debug, Default)]
struct Room {
    topics: usize,
    partitions: usize,
    members: BTreeMap<u16, Option<BTreeSet<PartitionIndex>>>,
    settled: bool,
}

impl Room {
    /// Every assignor here is even in each topic, or over all of them.
    fn is_shared_out(&self) -> bool {
        let Some(holds) = self.members.values().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return false };
        let union: BTreeSet<_> = holds.iter().copied().flatten().collect();
        let sizes = || holds.iter().map(|it| it.len());
        let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        union.len() == self.partitions && sizes().sum::<usize>() == self.partitions && most - least <= self.topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_settled_when_all_is_shared_out_evenly_among_all() {
        let group: Arc<str> = "g".into();
        for (holds, good) in [
            ([Some(&[0, 1][..]), Some(&[2, 3])], true),
            ([Some(&[0, 1, 2]), Some(&[3])], false),
            ([Some(&[0, 1, 2]), Some(&[2, 3])], false),
            ([Some(&[0, 1]), Some(&[2])], false),
            ([Some(&[0, 1, 2, 3]), None], false),
        ] {
            let mut groups = Groups::default();
            (1..3).for_each(|client| groups.expect(&group, client, (1, 4)));
            for (client, holds) in (1..).zip(holds) {
                groups.stand(&group, client, holds.map(|it| it.iter().copied().collect()));
            }
            assert_eq!(groups.settles(&group), good, "{holds:?}");
            groups.stand(&group, 1, None);
            assert_eq!(groups.settles(&group), good, "who goes then goes in peace");
        }
    }

    #[test]
    fn an_assignment_is_known_by_its_generation_and_by_what_it_gives() {
        let group: Arc<str> = "g".into();
        let mut groups = Groups::default();
        let peer = |partitions: &[usize]| Peer { id: "a".into(), instance: None, partitions: partitions.into() };
        groups.assign(&group, 1, 7, &[peer(&[0])]);
        groups.assign(&group, 1, 8, &[peer(&[1])]);
        groups.assign(&group, 1, 9, &[peer(&[1])]);
        groups.assign(&group, 2, 10, &[peer(&[3])]);
        groups.assign(&group, 1, 11, &[peer(&[3])]);
        groups.assign(&group, 2, 12, &[peer(&[3])]);
        let told = |generation, partitions: &[usize]| {
            groups.assignment(&group, generation, |peer| peer.partitions == partitions)
        };
        assert_eq!([told(1, &[0]), told(1, &[1]), told(1, &[2]), told(2, &[3]), told(3, &[0])], [7, 8, 11, 12, 0]);
    }

    #[test]
    fn who_is_asked_during_a_split_may_answer_from_before_it() {
        let mut groups = Groups::default();
        let (old, new) = ((0, 7), (0, 8));
        for (now, leading) in [(5, &[old][..]), (10, &[old, new]), (15, &[old]), (20, &[new]), (30, &[(0, 9), new])] {
            groups.note_split(now, leading);
        }
        assert_eq!([5, 12, 20, 21, 29, 40].map(|asked| groups.as_of("g", asked)), [5, 10, 10, 21, 29, 30]);
    }

    #[test]
    fn who_is_asked_while_it_loads_may_know_nothing() {
        let mut groups = Groups::default();
        for (now, is_loading) in [(5, false), (10, true), (15, true), (20, false), (30, true)] {
            groups.note_loading(now, 0, is_loading);
            groups.note_loading(now, 1, false);
        }
        let blind = |asked, told| groups.may_be_blind(&Op { id: 1, group: "g", asked, told });
        assert_eq!(
            [(5, 9), (5, 10), (12, 13), (20, 25), (21, 29), (40, 50)].map(|(asked, told)| blind(asked, told)),
            [false, true, true, true, false, true]
        );
    }

    #[test]
    fn a_commit_is_known_by_its_number_or_its_offset() {
        assert_eq!(commit_of("12", 5), 12);
        assert_eq!(commit_of("", 5), unnumbered(5));
        assert_eq!(commit_of("what", 5), CommitId::MAX);
    }
}
