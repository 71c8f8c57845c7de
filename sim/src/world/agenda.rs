//! What is to happen, and when: events by the clock, and events that wait for something in the run.

use std::collections::BTreeMap;

use ottla_core::machine::FileAction;

use crate::disk::Operation;
use crate::scenario::{Event, Trigger};
use crate::time::Nanos;

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// An event starts; its trigger went off at this node.
    Start(usize, Option<usize>),
    /// An event reaches another of its nodes.
    Strike(usize, usize),
    /// An event begins to wait for its trigger.
    Arm(usize),
    /// An event is over for a node.
    End(usize, usize),
    /// The process of this node is started, unless one runs.
    StartNode(usize),
    /// This incarnation of a node has had its time to stop.
    GraceOver(usize, u64),
    /// The storage of this incarnation of a node failed: its operator starts it anew.
    Replace(usize, u64),
    /// Load and faults are over.
    Heal,
    /// Several nodes have been at rest for long enough.
    Rested,
    /// Everything must be done by now, or more records must have been read than these.
    GiveUp(u64),
}

/// What is to happen.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    due: BTreeMap<(Nanos, u64), Due>,
    added: u64,
    armed: Vec<Armed>,
}

/// An event that waits.
#[derive(Clone, Copy, Debug)]
struct Armed {
    event: usize,
    trigger: Trigger,
    seen: u64,
}

/// Something that an event may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So many effects of this step were carried out.
    Effects(u64),
    /// A file operation was issued; what it was.
    Issued(OperationKind),
    /// A sync ended.
    SyncDone,
    /// A read or a slice of a job was begun before the machine is ready, or by a job.
    Recovery,
    /// A part of an answer was handed to the network.
    Sent,
    /// A node of several leads the quorum.
    Elected,
}

/// The operations that triggers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// A write.
    Write,
    /// A sync of a file.
    Sync,
    /// A sync of a directory.
    SyncDir,
    /// A rename.
    Rename,
    /// Another.
    Other,
}

impl OperationKind {
    /// The kind of an operation.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Write { .. } => Self::Write,
            Operation::Sync { .. } => Self::Sync,
            Operation::Action(action) => match **action {
                FileAction::SyncDir { .. } => Self::SyncDir,
                FileAction::Rename { .. } => Self::Rename,
                FileAction::MakeDir { .. }
                | FileAction::List { .. }
                | FileAction::Open { .. }
                | FileAction::CloseFile { .. }
                | FileAction::SetLen { .. }
                | FileAction::Forget { .. }
                | FileAction::Remove { .. }
                | FileAction::Read { .. }
                | FileAction::FreeSpace { .. } => Self::Other,
            },
        }
    }
}

impl Agenda {
    /// The agenda of these events.
    #[must_use]
    pub fn new(events: &[Event]) -> Self {
        let mut agenda = Self::default();
        for (index, event) in events.iter().enumerate() {
            let when = &event.when;
            match when.on {
                None => agenda.add(when.at.saturating_add(when.delay), Due::Start(index, None)),
                Some(_) => agenda.add(when.at, Due::Arm(index)),
            }
        }
        agenda
    }

    /// Adds something.
    pub fn add(&mut self, at: Nanos, due: Due) {
        self.added += 1;
        self.due.insert((at, self.added), due);
    }

    /// When the next thing is due.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        self.due.first_key_value().map_or(u64::MAX, |((at, _), _)| *at)
    }

    /// Takes what is due.
    pub fn take(&mut self, now: Nanos) -> Option<Due> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// An event begins to wait.
    pub fn arm(&mut self, event: usize, trigger: Trigger) {
        self.armed.push(Armed { event, trigger, seen: 0 });
    }

    /// Whether anything waits: if not, moments need not be told.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }

    /// A moment has come, for those events that it `concerns`: the one that it sets off, which then waits no more.
    pub fn on_moment(&mut self, moment: Moment, concerns: impl Fn(usize) -> bool) -> Option<usize> {
        for index in 0..self.armed.len() {
            if concerns(self.armed[index].event) && self.armed[index].is_due(moment) {
                return Some(self.armed.remove(index).event);
            }
        }
        None
    }

    /// No event happens any more. Whoever looks after the node still does.
    pub fn clear_events(&mut self) {
        self.armed.clear();
        let stays = |due: &Due| match due {
            Due::StartNode(_) | Due::GraceOver(..) | Due::Replace(..) | Due::Rested | Due::GiveUp(_) => true,
            Due::Start(..) | Due::Strike(..) | Due::Arm(_) | Due::End(..) | Due::Heal => false,
        };
        self.due.retain(|_, due| stays(due));
    }
}

impl Armed {
    fn is_due(&mut self, moment: Moment) -> bool {
        let (counts, wanted) = match (self.trigger, moment) {
            // Not a count of moments: the first step that has so many.
            (Trigger::Effect(wanted), Moment::Effects(count)) => return wanted == count,
            (Trigger::DiskOp(wanted), Moment::Issued(_)) => (true, wanted),
            (Trigger::Write(wanted), Moment::Issued(kind)) => (kind == OperationKind::Write, wanted),
            (Trigger::Sync(wanted), Moment::Issued(kind)) => {
                (matches!(kind, OperationKind::Sync | OperationKind::SyncDir), wanted)
            }
            (Trigger::SyncDir(wanted), Moment::Issued(kind)) => (kind == OperationKind::SyncDir, wanted),
            (Trigger::Rename(wanted), Moment::Issued(kind)) => (kind == OperationKind::Rename, wanted),
            (Trigger::SyncDone(wanted), Moment::SyncDone)
            | (Trigger::Recovery(wanted), Moment::Recovery)
            | (Trigger::Send(wanted), Moment::Sent)
            | (Trigger::Elected(wanted), Moment::Elected) => (true, wanted),
            _ => (false, 0),
        };
        self.seen += u64::from(counts);
        counts && self.seen >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_for_its_count() {
        let mut agenda = Agenda::default();
        agenda.arm(7, Trigger::Write(2));
        let write = Moment::Issued(OperationKind::Write);
        assert_eq!(agenda.on_moment(Moment::Issued(OperationKind::Sync), |_| true), None);
        assert_eq!(agenda.on_moment(write, |_| true), None);
        assert_eq!(agenda.on_moment(write, |_| false), None);
        assert_eq!(agenda.on_moment(write, |event| event == 7), Some(7));
        assert!(!agenda.is_armed());
        // The sync of a directory is a sync.
        for (event, trigger) in [(8, Trigger::Sync(1)), (9, Trigger::SyncDir(1))] {
            agenda.arm(event, trigger);
        }
        assert_eq!(agenda.on_moment(Moment::Issued(OperationKind::Sync), |_| true), Some(8));
        assert_eq!(agenda.on_moment(Moment::Issued(OperationKind::Sync), |_| true), None);
        assert_eq!(agenda.on_moment(Moment::Issued(OperationKind::SyncDir), |_| true), Some(9));
    }

    #[test]
    fn an_effect_is_the_first_step_with_so_many() {
        let mut agenda = Agenda::default();
        agenda.arm(1, Trigger::Effect(3));
        assert_eq!([1, 2, 1].map(|count| agenda.on_moment(Moment::Effects(count), |_| true)), [None; 3]);
        assert_eq!(agenda.on_moment(Moment::Effects(3), |_| true), Some(1));
    }

    #[test]
    fn what_is_due_comes_in_order() {
        let mut agenda = Agenda::default();
        agenda.add(20, Due::Heal);
        agenda.add(10, Due::StartNode(1));
        agenda.add(10, Due::GiveUp(0));
        assert_eq!((agenda.next_due(), agenda.take(9)), (10, None));
        assert_eq!(
            [20, 20, 20, 20].map(|now| agenda.take(now)),
            [Some(Due::StartNode(1)), Some(Due::GiveUp(0)), Some(Due::Heal), None]
        );
    }
}
