//! What of the partitions is given up, taken and lost, and what is committed without being asked for.

use std::collections::BTreeSet;

use crate::clock::Instant;
use crate::planted::Plant;
use crate::types::TopicPartition;

use super::super::boundary::{Event, GroupEvent, ReadError, Start};
use super::super::config::AutoOffsetReset;
use super::super::reader::{Place, Reader};
use super::super::turn::Turn;
use super::commits::{Order, Positions};
use super::positions::Found;
use super::{Group, Phase, committed, places};

/// Partitions that are about to be given up.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    partitions: BTreeSet<TopicPartition>,
    released: bool,
    /// When the program must have released them.
    until: Instant,
}

impl Handover {
    /// Until when the program's word is awaited, if it is.
    pub(super) fn awaited_until(&self) -> Option<Instant> {
        (!self.released).then_some(self.until)
    }
}

impl Group {
    /// The program is done with what was revoked.
    pub(super) fn release(&mut self) {
        if let Some(handover) = &mut self.handover {
            handover.released = true;
        }
    }

    /// Begins to prepare for the next generation: commits, and gives up what must be. A poll waits, so the program
    /// has dealt with all that it was given.
    pub(super) fn prepare(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.phase = Phase::Preparing { begun: true };
        let unwanted =
            |it: &&TopicPartition| self.wanted.as_ref().is_none_or(|wanted| !wanted.topics.contains(&it.topic));
        let cooperative = self.rules.is_cooperative();
        let partitions = self.owned.iter().filter(|it| !cooperative || unwanted(it)).cloned().collect();
        self.commit_before_joining(reader, turn);
        self.give_up(partitions, reader, turn);
    }

    /// Takes the part that the leader gave us. A poll waits.
    pub(super) fn take_part(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        let Phase::Stable { part } = &mut self.phase else { return };
        let mut part = part.take().unwrap_or_default();
        let (all, wanted) = (part.len(), self.wanted.as_ref());
        part.retain(|it| wanted.is_some_and(|wanted| wanted.topics.contains(&it.topic)));
        // What nobody here wants was wanted when we joined.
        self.rejoin |= part.len() < all;
        let revoked: BTreeSet<_> = self.owned.difference(&part).cloned().collect();
        let added: Vec<_> = part.difference(&self.owned).cloned().collect();
        if !revoked.is_empty() {
            self.phase = Phase::Preparing { begun: false };
            self.commit_before_joining(reader, turn);
        }
        self.give_up(revoked, reader, turn);
        self.take(added, reader, turn);
        self.previous = (part, self.identity.generation);
    }

    /// Takes partitions, and says so even if there are none: the group has settled.
    pub(super) fn take(&mut self, added: Vec<TopicPartition>, reader: &mut Reader, turn: &mut Turn<'_>) {
        for partition in &added {
            reader.unassign(partition);
            self.owned.insert(partition.clone());
            self.fetches.await_position(partition.clone());
        }
        turn.events.push(Event::Group(GroupEvent::Assigned { partitions: added }));
    }

    pub(super) fn give_up(&mut self, partitions: BTreeSet<TopicPartition>, reader: &mut Reader, turn: &mut Turn<'_>) {
        if partitions.is_empty() {
            return;
        }
        if !self.rules.planted.has(Plant::Ofs09) {
            partitions.iter().for_each(|partition| reader.hold(partition.clone()));
        }
        turn.events.push(Event::Group(GroupEvent::Revoked { partitions: partitions.iter().cloned().collect() }));
        let released = !self.wanted.as_ref().is_some_and(|wanted| wanted.await_release);
        let until = turn.at() + self.rules.max_poll_interval;
        self.handover = Some(Handover { partitions, released, until });
    }

    /// Gives up what was released, when what was read of it is committed. Whether there was something.
    pub(super) fn hand_over(&mut self, reader: &mut Reader) -> bool {
        let ready = self.handover.as_ref().is_some_and(|handover| handover.released) && self.commits.is_idle();
        let Some(handover) = self.handover.take_if(|_| ready) else { return false };
        handover.partitions.iter().for_each(|partition| self.drop_partition(partition, reader));
        true
    }

    /// Everything may be another member's already.
    pub(super) fn lose(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) {
        if !self.owned.is_empty() {
            turn.events.push(Event::Group(GroupEvent::Lost { partitions: self.owned.iter().cloned().collect() }));
        }
        self.commits.lapse();
        self.drop_all(reader);
    }

    pub(super) fn drop_all(&mut self, reader: &mut Reader) {
        for partition in std::mem::take(&mut self.owned) {
            self.drop_partition(&partition, reader);
        }
        self.handover = None;
        self.shared_out = None;
    }

    fn drop_partition(&mut self, partition: &TopicPartition, reader: &mut Reader) {
        self.owned.remove(partition);
        self.fetches.forget(partition);
        self.commits.forget(partition);
        self.polls.dealt_with.remove(partition);
        reader.unassign(partition);
    }

    /// The coordinator has said where partitions begin.
    pub(super) fn begin_to_read(
        &mut self,
        found: Vec<(TopicPartition, Found)>,
        reader: &mut Reader,
        turn: &mut Turn<'_>,
    ) {
        for (partition, found) in found {
            let error = match (found, self.rules.reset) {
                (Ok(Some(position)), _) => {
                    self.commits.learn(partition.clone(), position.offset);
                    let place = Place { offset: position.offset, epoch: position.leader_epoch };
                    reader.assign_at(partition, place);
                    continue;
                }
                (Ok(None), AutoOffsetReset::Earliest) => {
                    reader.assign(partition, Start::Earliest);
                    continue;
                }
                (Ok(None), AutoOffsetReset::Latest) => {
                    reader.assign(partition, Start::Latest);
                    continue;
                }
                (Ok(None), AutoOffsetReset::None) => ReadError::NoPosition,
                (Err(code), _) => ReadError::Broker(code),
            };
            turn.events.push(Event::ReadFailed { partition, error });
        }
    }

    /// Commits what the program has dealt with, if it is time.
    pub(super) fn commit_automatically(&mut self, reader: &Reader, turn: &mut Turn<'_>) {
        let Some(interval) = self.rules.auto_commit else { return };
        if !matches!(self.phase, Phase::Stable { .. } | Phase::Served(_)) || self.owned.is_empty() {
            return;
        }
        let now = turn.at();
        if self.polls.next_auto_commit > now {
            return turn.wake.by(self.polls.next_auto_commit);
        }
        self.polls.next_auto_commit = now + interval;
        turn.wake.by(self.polls.next_auto_commit);
        let positions = if reader.is_polling() {
            places(self.owned.iter(), reader)
        } else {
            let dealt_with = self.polls.dealt_with.iter();
            dealt_with.map(|(partition, place)| (partition.clone(), committed(*place))).collect()
        };
        let order = Order { token: None, positions: self.uncommitted(positions), retry: false };
        self.commits.add(order, self.identity.clone(), now + interval, turn.events);
    }

    /// Commits where the program stands, before others may go on from there.
    pub(super) fn commit_before_joining(&mut self, reader: &Reader, turn: &mut Turn<'_>) {
        if self.rules.auto_commit.is_none() || !self.identity.is_member() {
            return;
        }
        let positions = self.uncommitted(places(self.owned.iter(), reader));
        let deadline = turn.at() + self.rules.api_timeout.min(self.rules.max_poll_interval);
        let order = Order { token: None, positions, retry: true };
        self.commits.add(order, self.identity.clone(), deadline, turn.events);
    }

    /// What of it is not known to be committed.
    pub(super) fn uncommitted(&self, mut positions: Positions) -> Positions {
        positions.retain(|partition, position| !self.commits.is_known(partition, position.offset));
        positions
    }
}
