//! What a start finds: the newest snapshot that is whole, and the log behind it.
//!
//! One that is damaged is skipped, with a line in the log, and an older one is used if the log reaches back to it; if
//! there is none, the node does not start: with less than it had it might lead, or vote (P5, P9).

use bytes::Bytes;

use super::{Kept, snapshot_path};
use crate::broker::boot::{Phase, Question, Replaying};
use crate::broker::{Broker, Pending};
use crate::clock::Now;
use crate::controller::Snapshot;
use crate::log::LogId;
use crate::machine::{DiskError, Effects, Level};
use crate::raft::SnapshotId;
use crate::types::Offset;

impl Broker {
    /// Looks for snapshots among what lies beside the metadata log; the replay of the log follows.
    pub(in crate::broker) fn find_snapshots(&mut self, now: Now, beside: &[(Box<str>, u64)], out: &mut Effects) {
        let Phase::Replaying(replaying) = &mut self.phase else { return };
        let found = beside.iter().filter_map(|(name, len)| Some((SnapshotId::from_file_name(name)?, *len)));
        replaying.snapshots = found.collect();
        self.try_snapshot(now, out);
    }

    /// Reads the newest of those that are not tried.
    fn try_snapshot(&mut self, now: Now, out: &mut Effects) {
        let Phase::Replaying(replaying) = &mut self.phase else { return };
        match replaying.snapshots.last_key_value().map(|(id, _)| *id) {
            Some(id) => {
                let ticket = self.questions.ask(Pending::Boot(Question::Snapshot(id)));
                self.logs.load(snapshot_path(id), ticket, out);
            }
            None => self.replay_from(now, None, out),
        }
    }

    /// A snapshot's file was read.
    pub(in crate::broker) fn on_snapshot_loaded(
        &mut self,
        now: Now,
        id: SnapshotId,
        result: Result<Option<Bytes>, DiskError>,
        out: &mut Effects,
    ) {
        let Phase::Replaying(replaying) = &mut self.phase else { return };
        let why = match result {
            Ok(bytes) => match Snapshot::decode(id, &bytes.unwrap_or_default()) {
                Ok(snapshot) => return self.replay_from(now, Some(snapshot), out),
                Err(corrupt) => {
                    self.metadata.snapshots.damaged.insert(id);
                    format!("is damaged ({corrupt})")
                }
            },
            Err(error) => format!("cannot be read ({error})"),
        };
        replaying.snapshots.remove(&id);
        let file = id.file_name();
        out.note(Level::Error, format!("the snapshot {file} of the metadata {why}: it is skipped"));
        self.metadata.snapshots.overdue = true;
        self.try_snapshot(now, out);
    }

    /// Replays the log behind a snapshot, or from 0.
    fn replay_from(&mut self, now: Now, snapshot: Option<Snapshot>, out: &mut Effects) {
        let Some(log) = self.metadata.log() else { return };
        let start = self.logs.offsets(log).unwrap_or_default().log_start;
        let reached = snapshot.as_ref().map_or(Offset::ZERO, |snapshot| snapshot.id.end);
        if reached < start {
            let why = format!(
                "the metadata log begins at {start}, and no snapshot of what lies before can be read: restore one into \
                 its directory from another node, or give this node an empty directory and let it join anew"
            );
            return self.refuse(&why, out);
        }
        if let Some(snapshot) = snapshot {
            self.begin_behind(now, log, start, snapshot, out);
        }
        self.read_on(log, reached, out);
    }

    fn begin_behind(&mut self, now: Now, log: LogId, start: Offset, snapshot: Snapshot, out: &mut Effects) {
        let Phase::Replaying(replaying) = &mut self.phase else { return };
        let id = snapshot.id;
        let Replaying { next, last_epoch, voters, snapshots: found, .. } = &mut **replaying;
        (*next, *last_epoch) = (id.end, Some(id.epoch));
        if let Some(named) = snapshot.voters {
            // Before its end, so that no cut takes it away.
            voters.add(id.end + -1, named);
        }
        let found = std::mem::take(found);
        let kept = found.iter().filter(|(id, _)| id.end >= start);
        let kept = kept.map(|(id, bytes)| (*id, Kept { bytes: *bytes, last_timestamp: None }));
        self.metadata.snapshots.kept = kept.collect();
        if let Some(kept) = self.metadata.snapshots.kept.get_mut(&id) {
            kept.last_timestamp = Some(snapshot.last_timestamp);
        }
        for gone in found.into_keys().filter(|id| id.end < start) {
            self.logs.remove(snapshot_path(gone), out);
        }
        let _ = self.metadata.controller.install(snapshot.image, snapshot.last_timestamp);
        let end = self.logs.offsets(log).unwrap_or_default().log_end;
        if id.is_ahead_of(self.logs.epoch_of(log, end + -1), end) {
            out.note(Level::Info, format!("the metadata log goes on behind the snapshot up to {id}"));
            self.logs.begin_at(now, log, id.end, out);
            self.drop_snapshots_before(id, out);
        }
        self.logs.set_high_watermark(log, id.end);
    }
}
