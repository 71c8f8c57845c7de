//! G3, G4 and G5: the committed offset of a group in a partition is a register. What is fetched is what was written
//! last, by a commit, by a deletion, or by expiry; and an acknowledged commit is there until another write.
//!
//! What is read names its write: by the commit's number, which is fetched with the offset, or by the offset. Several
//! requests may write the same. A write whose fate nobody knows may take effect at any time. Whatever was seen there
//! has taken effect.
//!
//! * G3: what is missing or stale was acknowledged, or seen, before the present process was started;
//! * G5: it is missing, within the same process and before it may expire: at no time since its retention was over has
//!   the group been without members, as far as anyone can tell;
//! * G4: anything else. Source: KAFKA-5600, KAFKA-8069, KAFKA-13636; the documentation of `offsets.retention.minutes`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Op, Seen};
use crate::groups::{Clocks, CommitId, Fate, OpId, PENDING, unnumbered};
use crate::history::PartitionIndex;
use crate::invariants::Violation;
use crate::time::Nanos;

pub(super) const LOST: &str = "G3";
pub(super) const OLD: &str = "G4";
pub(super) const EXPIRED: &str = "G5";

/// A node's clock may run so many times too fast.
const FASTEST: Nanos = 4;

/// So many looks that found nothing are remembered for each group.
const SUSPECTS: usize = 8;

/// What "nothing" is known by: no commit and no request has this number.
const NOTHING: CommitId = 0;
/// Nobody knows by which request.
const SOME: OpId = 0;

/// What was written to each register, and what was seen in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    groups: BTreeMap<Arc<str>, Group>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    registers: BTreeMap<PartitionIndex, Register>,
    /// Deletions of one offset or of all.
    deletions: Vec<(Option<PartitionIndex>, Write)>,
    /// When each member was in the group: the first time that this was known, and the last, of each time that it joined
    /// and may not have been in it just before.
    members: BTreeMap<Arc<str>, Vec<(Nanos, Nanos)>>,
    /// Requests to join of who may not be in it.
    afresh: BTreeSet<OpId>,
    /// Looks that found nothing where only expiry explains it, the last first.
    suspects: Vec<Suspect>,
}

/// See [`Group::suspects`].
#[derive(Clone, Copy, Debug)]
struct Suspect {
    partition: PartitionIndex,
    asked: Nanos,
    told: Nanos,
    clocks: Clocks,
}

#[derive(Clone, Debug, Default)]
struct Register {
    commits: BTreeMap<OpId, Commit>,
    /// What was in the register, between two times: what was known by then to have been written was there before it.
    known: Vec<Known>,
}

/// When a write was asked for, and when it had taken effect; and whether that is so.
#[derive(Clone, Copy, Debug)]
struct Write {
    id: OpId,
    value: CommitId,
    asked: Nanos,
    told: Nanos,
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    write: Write,
    offset: i64,
    retention: Option<Nanos>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    value: CommitId,
    /// By which request.
    by: OpId,
    asked: Nanos,
    told: Nanos,
}

impl Committed {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Result<(), Violation> {
        if !self.groups.contains_key(op.group) {
            self.groups.insert(op.group.into(), Group::default());
        }
        let group = self.groups.get_mut(op.group).expect("it was just made");
        match seen {
            Seen::Committing { partition, commit, offset, retention } => {
                let commit = Commit { write: Write::new(op, *commit), offset: *offset, retention: *retention };
                group.register(*partition).commits.insert(op.id, commit);
            }
            Seen::Committed { partition, fate } => {
                let register = group.register(*partition);
                let Some(commit) = register.commits.get_mut(&op.id) else { return Ok(()) };
                commit.write.end(op, *fate);
                if *fate == Fate::Done {
                    let (value, by) = (commit.write.value, op.id);
                    register.known.push(Known { value, by, asked: op.asked, told: op.told });
                }
            }
            Seen::Denied { partition, commit } => {
                let tried = group.register(*partition).commits.values_mut().filter(|it| it.write.value == *commit);
                tried.for_each(|it| it.write.fate = Fate::Refused);
            }
            Seen::Deleting { partition } => group.deletions.push((*partition, Write::new(op, NOTHING))),
            Seen::Deleted { fate, .. } => {
                if let Some((_, deletion)) = group.deletions.iter_mut().find(|(_, write)| write.id == op.id) {
                    deletion.end(op, *fate);
                }
            }
            Seen::Synced { me, .. } | Seen::Alive { me, .. } => {
                // What a member does not read may expire.
                if me.reads_all {
                    let stays = group.members.entry(me.id.into()).or_insert_with(|| vec![(op.told, op.told)]);
                    if let Some((_, until)) = stays.last_mut() {
                        *until = (*until).max(op.asked);
                    }
                }
                return group.look_again(op).map_err(|(invariant, what, partition)| {
                    let what = format!("{} in partition {partition}: {what}", op.group);
                    Violation { invariant, what }
                });
            }
            Seen::Joining { afresh: true, .. } => {
                group.afresh.insert(op.id);
            }
            Seen::Joined { id, .. } if group.afresh.remove(&op.id) => {
                if let Some(stays) = group.members.get_mut(*id) {
                    stays.push((op.told, op.told));
                }
            }
            Seen::Fetched { partition, found, clocks } => {
                let fetch = Fetch { op, partition: *partition, clocks };
                let judged = match found {
                    Some((id, offset)) => group.found(&fetch, *id, *offset),
                    None => group.found_nothing(&fetch),
                };
                return judged.map_err(|(invariant, what)| {
                    let what = format!("{} in partition {partition}: {what}", op.group);
                    Violation { invariant, what }
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// A look at one register.
struct Fetch<'a> {
    op: &'a Op<'a>,
    partition: PartitionIndex,
    clocks: &'a Clocks,
}

impl Write {
    const fn new(op: &Op<'_>, value: CommitId) -> Self {
        Self { id: op.id, value, asked: op.asked, told: PENDING, fate: Fate::Unknown }
    }

    fn end(&mut self, op: &Op<'_>, fate: Fate) {
        self.fate = fate;
        if fate == Fate::Done {
            self.told = op.told;
        }
    }
}

impl Group {
    fn register(&mut self, partition: PartitionIndex) -> &mut Register {
        self.registers.entry(partition).or_default()
    }

    /// A commit was found there.
    fn found(&mut self, fetch: &Fetch<'_>, value: CommitId, offset: i64) -> Result<(), (&'static str, String)> {
        let made = |it: &&Commit| it.write.value == value;
        let made: Vec<Commit> = self.register(fetch.partition).commits.values().filter(made).copied().collect();
        let Some(last) = made.last() else {
            return Err((OLD, format!("{} is there, which nobody made", name(value))));
        };
        if last.offset != offset {
            return Err((OLD, format!("{} is there with {offset}, and was of {}", name(value), last.offset)));
        }
        let mut writes = made.iter().map(|it| it.write).filter(|write| write.fate != Fate::Refused).rev().peekable();
        if writes.peek().is_none() {
            return Err((OLD, format!("{} is there, and was refused for certain", name(value))));
        }
        let (only, mut after) = (made.len() == 1, None);
        for write in writes {
            after = self.after(fetch, write);
            if after.is_none() {
                let register = self.register(fetch.partition);
                if let Some(commit) = register.commits.get_mut(&write.id).filter(|_| only) {
                    commit.write.told = commit.write.told.min(fetch.op.told);
                }
                register.known.push(Known { value, by: SOME, asked: fetch.op.asked, told: fetch.op.told });
                return Ok(());
            }
        }
        let after = after.expect("one was looked at");
        let what = format!("{} is there, and {} was written after it", name(value), name(after.value));
        Err((if after.told < fetch.clocks.booted { LOST } else { OLD }, what))
    }

    /// Nothing was there. If it can only have expired, that is looked at again when it is known who was in the group.
    fn found_nothing(&mut self, fetch: &Fetch<'_>) -> Result<(), (&'static str, String)> {
        if !self.may_be_empty(fetch)? {
            let (asked, told) = (fetch.op.asked, fetch.op.told);
            self.suspects.truncate(SUSPECTS - 1);
            self.suspects.insert(0, Suspect { partition: fetch.partition, asked, told, clocks: *fetch.clocks });
        }
        let known = Known { value: NOTHING, by: SOME, asked: fetch.op.asked, told: fetch.op.told };
        self.register(fetch.partition).known.push(known);
        Ok(())
    }

    /// Somebody is known to have been in the group up to now.
    fn look_again(&self, op: &Op<'_>) -> Result<(), (&'static str, String, PartitionIndex)> {
        for suspect in self.suspects.iter().filter(|suspect| suspect.told < op.asked) {
            let at = Op { asked: suspect.asked, told: suspect.told, ..*op };
            let fetch = Fetch { op: &at, partition: suspect.partition, clocks: &suspect.clocks };
            self.may_be_empty(&fetch).map_err(|(invariant, what)| (invariant, what, suspect.partition))?;
        }
        Ok(())
    }

    /// Whether something must have emptied a register that nothing is known to have come after; false: only expiry.
    fn may_be_empty(&self, fetch: &Fetch<'_>) -> Result<bool, (&'static str, String)> {
        let mut after = None;
        for write in self.emptied(fetch) {
            after = self.after(fetch, write);
            if after.is_none() {
                return Ok(write.value == NOTHING);
            }
        }
        let after = after.expect("a register is empty at first");
        let what = format!("nothing is there, and {} was written", name(after.value));
        Err((if after.told < fetch.clocks.booted { LOST } else { EXPIRED }, what))
    }

    /// What may have emptied a register: nobody has ever written to it, a deletion, the expiry of a commit.
    fn emptied(&self, fetch: &Fetch<'_>) -> Vec<Write> {
        let empty = |asked, told| Write { id: SOME, value: NOTHING, asked, told, fate: Fate::Done };
        let is_here = |of: &Option<PartitionIndex>| of.is_none_or(|of| of == fetch.partition);
        let deletions = self.deletions.iter().filter(|(of, write)| is_here(of) && write.fate != Fate::Refused);
        let mut emptied: Vec<Write> = deletions.map(|(_, write)| empty(write.asked, write.told)).collect();
        emptied.push(empty(0, 0));
        let Some(register) = self.registers.get(&fetch.partition) else { return emptied };
        let seen = register.known.iter().filter(|known| known.value == NOTHING && known.told < fetch.op.asked);
        emptied.extend(seen.map(|known| empty(known.asked, known.told)));
        let commits = register.commits.values().filter(|it| it.write.fate != Fate::Refused);
        emptied.extend(commits.filter(|it| self.may_have_expired(fetch, it)).map(|it| it.write));
        emptied
    }

    /// Something that is known to have been in the register after a write, and before a look at it.
    fn after(&self, fetch: &Fetch<'_>, write: Write) -> Option<Known> {
        let is_other = |it: &Known| it.value != write.value || it.by != SOME && it.by != write.id;
        let is_later = |it: &Known| is_other(it) && it.told < fetch.op.asked && write.told < it.asked;
        let known = self.registers.get(&fetch.partition).map(|it| &it.known);
        // The latest first: what they are about is most likely lost.
        let mut known = known.into_iter().flatten().rev();
        let found = known.find(|it| is_later(it)).copied();
        found.or_else(|| {
            let done = self
                .deletions
                .iter()
                .filter(|(of, it)| of.is_none_or(|of| of == fetch.partition) && it.fate == Fate::Done);
            let mut gone = done.map(|(_, it)| Known { value: NOTHING, by: SOME, asked: it.asked, told: it.told });
            gone.find(is_later)
        })
    }

    /// Whether a commit's time was up before a look, and at some time since nobody may have been in the group.
    fn may_have_expired(&self, fetch: &Fetch<'_>, commit: &Commit) -> bool {
        let retention = commit.retention.unwrap_or(fetch.clocks.retention);
        let wait = retention.saturating_sub(fetch.clocks.stepped) / FASTEST;
        let from = commit.write.asked.saturating_add(wait);
        from <= fetch.op.told && !self.is_manned(from, fetch.op.told)
    }

    /// Whether somebody was in the group all the time.
    fn is_manned(&self, from: Nanos, to: Nanos) -> bool {
        let mut at = from;
        while at < to {
            let stays = self.members.values().flatten();
            let covering = stays.filter(|(since, _)| *since <= at).map(|(_, until)| *until).max();
            match covering {
                Some(until) if until > at => at = until,
                _ => return false,
            }
        }
        true
    }
}

fn name(value: CommitId) -> String {
    match value {
        NOTHING => "its deletion".into(),
        CommitId::MAX => "a commit without a good number".into(),
        value if value == unnumbered(0) | value => format!("commit of {}", value ^ unnumbered(0)),
        value => format!("commit {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;

    const CLOCKS: Clocks = Clocks { booted: 0, stepped: 0, retention: 1_000_000 };

    #[derive(Default)]
    struct World {
        rules: Committed,
        clocks: Option<Clocks>,
    }

    impl World {
        fn commit(&mut self, id: u64, asked: u64, end: Option<(u64, Fate)>) {
            self.commit_as(id, id, asked, end);
        }

        /// By a request that writes what others may have tried to.
        fn commit_as(&mut self, id: u64, commit: CommitId, asked: u64, end: Option<(u64, Fate)>) {
            let offset = 10 * i64::try_from(commit & 0xff).unwrap();
            let committing = Seen::Committing { partition: 0, commit, offset, retention: None };
            self.rules.check(&op(id, asked, PENDING), &committing).expect("nothing was looked at");
            if let Some((told, fate)) = end {
                self.rules.check(&op(id, asked, told), &Seen::Committed { partition: 0, fate }).expect("nor now");
            }
        }

        fn delete(&mut self, id: u64, asked: u64, end: Option<(u64, Fate)>) {
            self.rules.check(&op(id, asked, PENDING), &Seen::Deleting { partition: None }).expect("nothing");
            if let Some((told, fate)) = end {
                self.rules.check(&op(id, asked, told), &Seen::Deleted { partition: None, fate }).expect("nothing");
            }
        }

        /// What is violated if this is found.
        fn fetch(&mut self, asked: u64, found: Option<u64>) -> Option<&'static str> {
            let found = found.map(|id| (id, 10 * i64::try_from(id & 0xff).unwrap()));
            let clocks = self.clocks.unwrap_or(CLOCKS);
            let seen = Seen::Fetched { partition: 0, found, clocks };
            self.rules.check(&op(99, asked, asked + 1), &seen).err().map(|violation| violation.invariant)
        }
    }

    #[test]
    fn the_last_commit_is_fetched() {
        let mut world = World::default();
        assert_eq!(world.fetch(0, None), None);
        world.commit(1, 10, Some((20, Fate::Done)));
        world.commit(2, 15, Some((25, Fate::Done)));
        assert_eq!(world.clone_fetch(30, Some(1)), None, "they overlap");
        assert_eq!(world.clone_fetch(30, Some(2)), None);
        world.commit(3, 40, Some((50, Fate::Done)));
        assert_eq!(world.clone_fetch(45, Some(2)), None);
        assert_eq!(world.clone_fetch(60, Some(3)), None);
        assert_eq!(world.clone_fetch(60, Some(2)), Some(OLD));
        assert_eq!(world.clone_fetch(60, Some(7)), Some(OLD), "nobody made it");
        assert_eq!(world.clone_fetch(60, None), Some(EXPIRED));
        world.clocks = Some(Clocks { booted: 55, ..CLOCKS });
        assert_eq!(world.clone_fetch(60, None), Some(LOST));
        assert_eq!(world.clone_fetch(60, Some(1)), Some(LOST));
    }

    impl World {
        fn clone_fetch(&self, asked: u64, found: Option<u64>) -> Option<&'static str> {
            World { rules: self.rules.clone(), clocks: self.clocks }.fetch(asked, found)
        }
    }

    #[test]
    fn what_nobody_knows_may_be_there_and_what_was_seen_stays() {
        let mut world = World::default();
        world.commit(1, 10, Some((20, Fate::Done)));
        world.commit(2, 30, None);
        world.commit(3, 30, Some((40, Fate::Refused)));
        assert_eq!(world.fetch(50, Some(1)), None);
        assert_eq!(world.clone_fetch(60, Some(3)), Some(OLD));
        assert_eq!(world.fetch(60, Some(2)), None);
        assert_eq!(world.fetch(70, Some(1)), Some(OLD), "it went back");
        assert_eq!(world.fetch(80, None), Some(EXPIRED));
    }

    #[test]
    fn a_deletion_is_a_write() {
        let mut world = World::default();
        world.commit(1, 10, Some((20, Fate::Done)));
        world.delete(2, 30, None);
        assert_eq!(world.clone_fetch(40, None), None);
        assert_eq!(world.clone_fetch(40, Some(1)), None);
        world.delete(3, 50, Some((60, Fate::Refused)));
        world.delete(4, 70, Some((80, Fate::Done)));
        assert_eq!(world.clone_fetch(90, None), None);
        assert_eq!(world.clone_fetch(90, Some(1)), Some(OLD), "it is back");
    }

    #[test]
    fn what_was_gone_stays_gone() {
        let mut world = World::default();
        world.commit(1, 10, Some((20, Fate::Done)));
        world.delete(2, 30, None);
        assert_eq!(world.fetch(40, None), None);
        assert_eq!(world.fetch(50, None), None);
        assert_eq!(world.fetch(60, Some(1)), Some(OLD));
    }

    #[test]
    fn what_has_no_number_is_known_by_its_offset() {
        let (one, two) = (unnumbered(1), unnumbered(2));
        let mut world = World::default();
        world.commit_as(1, one, 10, Some((20, Fate::Done)));
        world.commit_as(2, two, 30, Some((40, Fate::Done)));
        assert_eq!(world.clone_fetch(50, Some(two)), None);
        assert_eq!(world.clone_fetch(50, Some(one)), Some(OLD));
        assert_eq!(world.clone_fetch(50, Some(unnumbered(3))), Some(OLD), "nobody made it");
        world.commit_as(3, one, 60, None);
        assert_eq!(world.clone_fetch(70, Some(one)), None, "it may have gone back");
        assert_eq!(world.clone_fetch(70, Some(two)), None);
        world.commit_as(4, one, 80, Some((90, Fate::Done)));
        assert_eq!(world.clone_fetch(100, Some(one)), None);
        assert_eq!(world.clone_fetch(100, Some(two)), Some(OLD));
    }

    #[test]
    fn a_commit_that_was_tried_again_is_one() {
        let mut world = World::default();
        world.commit_as(1, 7, 10, None);
        world.commit_as(2, 7, 20, Some((30, Fate::Done)));
        assert_eq!(world.fetch(40, Some(7)), None);
        world.commit_as(3, 8, 50, None);
        let denied = Seen::Denied { partition: 0, commit: 8 };
        assert_eq!(world.rules.check(&op(4, 60, PENDING), &denied), Ok(()));
        assert_eq!(world.clone_fetch(70, Some(8)), Some(OLD), "its client says that it was not made");
        assert_eq!(world.fetch(70, Some(7)), None);
    }

    #[test]
    fn who_joins_with_its_old_id_may_have_been_away() {
        for (afresh, good) in [(false, false), (true, true)] {
            let mut world = World { clocks: Some(Clocks { retention: 400, ..CLOCKS }), ..World::default() };
            world.commit(1, 10, Some((20, Fate::Done)));
            let mut see = |id, asked, seen| world.rules.check(&op(id, asked, asked + 10), &seen).expect("no look");
            see(2, 50, Seen::Alive { me: me("a", 0), calm: true });
            see(3, 200, Seen::Joining { id: "", instance: None, afresh });
            see(3, 200, Seen::Joined { id: "a", instance: None, peers: &[] });
            see(4, 250, Seen::Alive { me: me("a", 0), calm: true });
            assert_eq!(world.fetch(240, None), (!good).then_some(EXPIRED), "afresh: {afresh}");
        }
    }

    #[test]
    fn expiry_waits_for_the_retention_and_for_the_members() {
        let mut world = World { clocks: Some(Clocks { retention: 400, ..CLOCKS }), ..World::default() };
        world.commit(1, 10, Some((20, Fate::Done)));
        assert_eq!(world.clone_fetch(50, None), Some(EXPIRED));
        assert_eq!(world.fetch(120, None), None, "a fast clock says that its time is up");
        let alive = |world: &mut World, id, asked| {
            let seen = Seen::Alive { me: me(id, 0), calm: true };
            world.rules.check(&op(5, asked, asked + 10), &seen).map_err(|violation| violation.invariant)
        };
        let mut other = World { clocks: world.clocks, rules: world.rules.clone() };
        for (id, asked, good) in [("a", 80, true), ("a", 115, true), ("b", 100, true), ("b", 150, false)] {
            let seen = alive(&mut other, id, asked);
            assert_eq!(seen, if good { Ok(()) } else { Err(EXPIRED) }, "somebody was there all the time");
        }
        for (id, asked) in [("a", 80), ("a", 105), ("b", 105), ("b", 150)] {
            assert_eq!(alive(&mut world, id, asked), Ok(()), "for a moment nobody may have been there");
        }
        assert_eq!(world.fetch(260, None), None, "nor now");
        world.commit(2, 300, Some((310, Fate::Done)));
        assert_eq!(world.clone_fetch(320, None), Some(EXPIRED));
        world.clocks = Some(Clocks { retention: 400, stepped: 400, ..CLOCKS });
        assert_eq!(world.clone_fetch(320, None), None, "the clock has jumped");
    }
}
