//! Pieces of snapshots for the nodes that ask this leader. A file is read whole and looked at before any of it leaves:
//! nobody is sent what rotted here (P5). It is forgotten when it was read to its end.

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::{Question, snapshot_path};
use crate::broker::{Broker, Outcome, Pending};
use crate::clock::Now;
use crate::controller::Snapshot;
use crate::machine::{DiskError, Effects, Level, Ticket};
use crate::raft::{self, ReplyBody, SnapshotId};

/// A snapshot that is being read by others.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    /// `None` until it is here.
    bytes: Option<Bytes>,
    waiting: Vec<(Ticket, raft::Reply)>,
}

impl Broker {
    /// Answers with a piece of a snapshot.
    pub(in crate::broker) fn answer_piece(
        &mut self,
        ticket: Ticket,
        id: SnapshotId,
        reply: raft::Reply,
        out: &mut Effects,
    ) {
        let serving = self.metadata.snapshots.serving.entry(id).or_default();
        if let Some(bytes) = serving.bytes.clone() {
            return self.send_piece(ticket, id, reply, &bytes);
        }
        serving.waiting.push((ticket, reply));
        if serving.waiting.len() == 1 {
            let question = self.questions.ask(Pending::Snapshot(Question::Read(id)));
            self.logs.load(snapshot_path(id), question, out);
        }
    }

    fn send_piece(&mut self, ticket: Ticket, id: SnapshotId, reply: raft::Reply, bytes: &Bytes) {
        let ReplyBody::Snapshot { position, max_bytes, .. } = reply.body else { return };
        let most = max_bytes.min(self.config.broker.quorum.fetch_snapshot_max_bytes) as usize;
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let end = bytes.len().min(from.saturating_add(most));
        if end == bytes.len() {
            self.metadata.snapshots.serving.remove(&id);
        }
        self.release(ticket, Outcome::Quorum(Box::new((reply, bytes.slice(from..end)))));
    }

    /// A snapshot's file is here, or cannot be read.
    pub(in crate::broker) fn on_snapshot_read(
        &mut self,
        now: Now,
        id: SnapshotId,
        result: Result<Option<Bytes>, DiskError>,
        out: &mut Effects,
    ) {
        let Some(serving) = self.metadata.snapshots.serving.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut serving.waiting);
        let whole = match result {
            Ok(Some(bytes)) => Snapshot::decode(id, &bytes).map(|_| bytes).map_err(|corrupt| corrupt.why),
            Ok(None) => Err("it is not there".to_owned()),
            Err(error) => Err(format!("it cannot be read: {error}")),
        };
        match whole {
            Ok(bytes) => {
                serving.bytes = Some(bytes.clone());
                waiting.into_iter().for_each(|(ticket, reply)| self.send_piece(ticket, id, reply, &bytes));
            }
            Err(why) => {
                out.note(Level::Error, format!("the snapshot of the metadata up to {id} is not served: {why}"));
                self.metadata.snapshots.serving.entry(id).or_default().waiting = waiting;
                self.forget_snapshot(id);
                self.tell_snapshots();
                self.metadata.snapshots.damaged.insert(id);
                self.metadata.snapshots.overdue = true;
                self.consider_snapshot(now, out);
            }
        }
    }

    /// Nobody can read it any more.
    pub(super) fn refuse_readers(&mut self, id: SnapshotId) {
        let serving = self.metadata.snapshots.serving.remove(&id).unwrap_or_default();
        for (ticket, reply) in serving.waiting {
            let reply = raft::Reply { error: ErrorCode::SNAPSHOT_NOT_FOUND, ..reply };
            self.release(ticket, Outcome::Quorum(Box::new((reply, Bytes::new()))));
        }
    }
}
