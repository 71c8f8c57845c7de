//! A leader's snapshot, which takes the place of this node's log and of all that it knew.
//!
//! Kept -> saved -> the log begins anew -> the images -> the broker does what differs. It is durable under its name
//! before anything of the log goes: whatever crashes in between, a start finds the old log, or the snapshot.

use super::{Broker, snapshot_path};
use crate::clock::Now;
use crate::controller::Snapshot;
use crate::machine::{Effects, Level};
use crate::raft::{Piece, SnapshotId};
use crate::storage::MAX_FILE;

impl Broker {
    /// A piece of a snapshot of the leader's came.
    pub(in crate::broker) fn on_piece(&mut self, now: Now, piece: &Piece, out: &mut Effects) {
        if piece.size > MAX_FILE {
            let size = piece.size;
            let text =
                format!("the snapshot up to {} has {size} bytes, more than {MAX_FILE}: it is not taken", piece.id);
            out.note(Level::Error, text);
            return self.end_installation(now, piece.id, None, out);
        }
        let partial = &mut self.metadata.snapshots.partial;
        if piece.position == 0 {
            partial.clear();
        }
        let follows = partial.len() as u64 == piece.position;
        partial.extend_from_slice(&piece.bytes);
        if !piece.last {
            return;
        }
        let bytes = std::mem::take(partial).freeze();
        let whole = if follows { Snapshot::decode(piece.id, &bytes).ok() } else { None };
        let Some(snapshot) = whole else {
            let text = format!("the snapshot of the metadata up to {} came damaged: it is not taken", piece.id);
            out.note(Level::Warn, text);
            return self.end_installation(now, piece.id, None, out);
        };
        let snapshots = &mut self.metadata.snapshots;
        if snapshots.kept.contains_key(&piece.id) {
            snapshots.installing = Some(Box::new(snapshot));
            return self.install_snapshot(now, out);
        }
        match snapshots.saving.get_mut(&piece.id) {
            Some((_, fetched)) => *fetched = Some(Box::new(snapshot)),
            None => {
                let name = (piece.id, snapshot.last_timestamp);
                self.save_snapshot(name, bytes, Some(Box::new(snapshot)), out);
            }
        }
    }

    /// A snapshot takes the place of the log, if the log has not more by now. While the log is being cut it waits.
    pub(in crate::broker) fn install_snapshot(&mut self, now: Now, out: &mut Effects) {
        let Some(snapshot) = self.metadata.snapshots.installing.take() else { return };
        let (id, Some(log)) = (snapshot.id, self.metadata.log()) else { return };
        let end = self.logs.offsets(log).unwrap_or_default().log_end;
        let leads = self.metadata.raft().is_some_and(crate::raft::Raft::is_leader);
        if leads || !id.is_ahead_of(self.metadata_epoch(log, end), end) {
            return self.end_installation(now, id, None, out);
        }
        self.logs.begin_at(now, log, id.end, out);
        let offsets = self.logs.offsets(log).unwrap_or_default();
        if (offsets.log_start, offsets.log_end) != (id.end, id.end) {
            self.metadata.snapshots.installing = Some(snapshot);
            return;
        }
        out.note(Level::Info, format!("the metadata goes on behind the leader's snapshot up to {id}"));
        self.end_installation(now, id, Some(snapshot), out);
    }

    /// The log begins behind a snapshot, or goes on as it is.
    fn end_installation(&mut self, now: Now, id: SnapshotId, taken: Option<Box<Snapshot>>, out: &mut Effects) {
        let was_running = self.is_running();
        let is_taken = taken.is_some();
        let mut learned = Vec::new();
        let mut voters = None;
        if let Some(snapshot) = taken {
            self.drop_snapshots_before(id, out);
            let Snapshot { last_timestamp, image, voters: named, .. } = *snapshot;
            learned = self.metadata.controller.install(image, last_timestamp);
            voters = named;
        }
        if let Some(outcome) = self.with_raft(|raft, _| raft.on_installed(now, id, voters, is_taken)) {
            self.on_raft(now, outcome, out);
        }
        if is_taken {
            self.on_metadata_progress(now, out);
        }
        if was_running && is_taken {
            self.act_on(now, &learned, out);
        }
    }

    /// Those that are older than what the log begins with go.
    pub(super) fn drop_snapshots_before(&mut self, id: SnapshotId, out: &mut Effects) {
        let older: Vec<SnapshotId> = self.metadata.snapshots.kept.range(..id).map(|(id, _)| *id).collect();
        for older in older {
            self.forget_snapshot(older);
            self.logs.remove(snapshot_path(older), out);
        }
        self.tell_snapshots();
    }
}
