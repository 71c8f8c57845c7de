//! This node in the metadata quorum: what others ask of it, what it asks of them, and a follower's log.
//!
//! Raft decides ([`crate::raft`]); here its decisions meet the log and the images. A follower's batches go into the
//! speculative image when they are appended, are cut out of it with the log, and become committed with the high
//! watermark: as a leader's own.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;

use super::boot::Phase;
use super::{Broker, Outcome, Pending};
use crate::clock::Now;
use crate::controller::{self, Extent};
use crate::log::{self, AppendOrigin, Batch};
use crate::machine::{Effects, Level, Ticket};
use crate::planted::Plant;
use crate::raft::{self, Call, CallId, Epochs, Found, Raft, ReplyBody, VoterEndpoint, VoterKey};
use crate::record::{self, RecordBatch};
use crate::types::{BrokerId, Offset};

/// What the quorum says to others.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    /// To be asked.
    calls: Vec<Call>,
    /// Answers that wait for what the log has.
    reads: BTreeMap<log::Ticket, (Ticket, raft::Reply)>,
}

impl Broker {
    /// Another node of the quorum asks. The answer is an [`Outcome::Quorum`].
    pub fn on_quorum_request(&mut self, now: Now, ticket: Ticket, request: raft::Request, out: &mut Effects) {
        let outcome = self.with_raft(|raft, epochs| raft.on_request(now, ticket, request, epochs));
        match outcome {
            Some(outcome) => self.on_raft(now, outcome, out),
            None => self.release(ticket, Outcome::Close),
        }
    }

    /// What this node asked was answered; `None` if that failed.
    pub fn on_quorum_response(&mut self, now: Now, call: CallId, response: Option<raft::Response>, out: &mut Effects) {
        if let Some(outcome) = self.with_raft(|raft, epochs| raft.on_response(now, call, response, epochs)) {
            self.on_raft(now, outcome, out);
        }
    }

    /// What this node asks others, since the last call.
    pub fn take_calls(&mut self) -> Vec<Call> {
        mem::take(&mut self.metadata.traffic.calls)
    }

    /// Where another node of the quorum reaches this voter.
    #[must_use]
    pub fn quorum_endpoint(&self, id: BrokerId) -> Option<(&str, u16)> {
        let voters = self.metadata.raft()?.voters()?;
        let (_, voter) = voters.iter().find(|(key, _)| key.id == id)?;
        voter.endpoints.first().map(|endpoint| (endpoint.host.as_str(), endpoint.port))
    }

    /// The voters but this node.
    pub fn other_voters(&self) -> impl Iterator<Item = BrokerId> {
        let voters = self.metadata.raft().and_then(Raft::voters);
        let ids = voters.into_iter().flat_map(|voters| voters.iter()).map(|(key, _)| key.id);
        ids.filter(|id| *id != self.node())
    }

    /// This node in the quorum, and where others reach it; `None` before its log is read.
    #[must_use]
    pub fn quorum_node(&self) -> Option<(VoterKey, Vec<VoterEndpoint>)> {
        Some((self.metadata.raft()?.node(), self.voter().endpoints))
    }

    /// Whether this listener takes connections: those of the quorum do as soon as its log is read.
    #[must_use]
    pub fn serves(&self, listener: crate::machine::ListenerId) -> bool {
        self.is_running() || (self.is_controller_listener(listener) && self.metadata.raft().is_some())
    }

    /// Whether it is one of `controller.listener.names`.
    #[must_use]
    pub fn is_controller_listener(&self, listener: crate::machine::ListenerId) -> bool {
        let bound = self.config.broker.listeners.bound.get(usize::from(listener.0));
        bound.is_some_and(|listener| listener.is_controller)
    }

    pub(super) fn on_quorum_timeout(&mut self, now: Now, out: &mut Effects) {
        let due = self.metadata.raft().and_then(Raft::next_deadline).is_some_and(|due| due <= now.monotonic);
        if due && let Some(outcome) = self.with_raft(|raft, _| raft.on_timeout(now)) {
            self.on_raft(now, outcome, out);
        }
    }

    /// Carries out what concerns the others, and a follower's log.
    pub(super) fn carry_out_of_quorum(&mut self, now: Now, outcome: &mut raft::Outcome, out: &mut Effects) {
        self.metadata.traffic.calls.append(&mut outcome.calls);
        for (ticket, reply) in mem::take(&mut outcome.replies) {
            self.answer_quorum(ticket, reply, out);
        }
        if outcome.resigned {
            self.on_leadership_lost();
        }
        if let (Some(to), Some(log)) = (outcome.truncate, self.metadata.log()) {
            out.note(Level::Info, format!("the metadata log is cut to {to}: the leader goes on from there"));
            self.logs.truncate_to(now, log, to, out);
        }
        if let Some(records) = outcome.append.take() {
            self.replicate(now, &records, out);
        }
        if let Some(piece) = outcome.piece.take() {
            self.on_piece(now, &piece, out);
        }
        if self.metadata.raft().is_some_and(|raft| raft.download().is_none()) {
            self.metadata.snapshots.forget_partial();
        }
        if let Some(why) = outcome.broken.take() {
            self.refuse(&why, out);
        }
    }

    /// A truncation of the metadata log is done.
    pub(super) fn on_metadata_truncated(&mut self, now: Now, end: Offset, out: &mut Effects) {
        self.metadata.controller.on_cut(end);
        self.on_metadata_progress(now, out);
        self.install_snapshot(now, out);
    }

    /// What the log has for a reader is read.
    pub(super) fn on_quorum_bytes(&mut self, ticket: log::Ticket, bytes: Option<Bytes>) {
        let Some((ticket, reply)) = self.metadata.traffic.reads.remove(&ticket) else { return };
        match bytes {
            Some(bytes) => self.release(ticket, Outcome::Quorum(Box::new((reply, bytes)))),
            None => self.release(ticket, Outcome::Close),
        }
    }

    fn answer_quorum(&mut self, ticket: Ticket, reply: raft::Reply, out: &mut Effects) {
        let from = match reply.body {
            ReplyBody::Fetch { found: Found::Log(from), .. } => from,
            ReplyBody::Snapshot { id, .. } if !reply.error.is_error() => {
                return self.answer_piece(ticket, id, reply, out);
            }
            ReplyBody::Fetch { .. }
            | ReplyBody::Snapshot { .. }
            | ReplyBody::Vote { .. }
            | ReplyBody::Begin
            | ReplyBody::End
            | ReplyBody::Voters { .. } => {
                return self.release(ticket, Outcome::Quorum(Box::new((reply, Bytes::new()))));
            }
        };
        let Some(log) = self.metadata.log() else { return self.release(ticket, Outcome::Close) };
        let question = self.questions.ask(Pending::Quorum);
        self.metadata.traffic.reads.insert(question, (ticket, reply));
        self.logs.read_bytes(log, from, question, out);
    }

    /// Appends what the leader sent, as far as it can be read and continues this log.
    fn replicate(&mut self, now: Now, records: &Bytes, out: &mut Effects) {
        let mut taken = true;
        for batch in record::batches(records) {
            let appended = match batch {
                Ok(batch) => self.replicate_batch(now, records, &batch, out),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = appended {
                out.note(Level::Warn, format!("the quorum's leader sent what is not taken: {why}"));
                taken = false;
                break;
            }
        }
        self.on_metadata_progress(now, out);
        if let Some(outcome) = self.with_raft(|raft, _| raft.on_appended(now, taken)) {
            self.on_raft(now, outcome, out);
        }
    }

    fn replicate_batch(
        &mut self,
        now: Now,
        records: &Bytes,
        batch: &RecordBatch<'_>,
        out: &mut Effects,
    ) -> Result<(), String> {
        batch.check_crc().map_err(|error| error.to_string())?;
        let header = *batch.header();
        let (Some(log), Some(raft)) = (self.metadata.log(), self.metadata.raft()) else {
            return Err("there is no log".to_owned());
        };
        let end = self.logs.offsets(log).unwrap_or_default().log_end;
        let earlier = self.logs.epoch_of(log, end + -1).is_some_and(|latest| header.leader_epoch < latest);
        if header.base_offset != end || header.leader_epoch > raft.epoch() || earlier {
            let (base, epoch) = (header.base_offset, header.leader_epoch);
            return Err(format!("a batch at {base} of epoch {epoch} does not continue a log that ends at {end}"));
        }
        let changes = controller::decode_batch(batch, u64::from(u32::MAX)).map_err(|error| error.to_string())?;
        let facts = record::scan(batch.bytes(), u64::MAX).map_err(|error| error.to_string())?;
        let whole = Batch { bytes: records.slice_ref(batch.bytes()), facts: &facts };
        let origin = AppendOrigin::Replica;
        self.logs
            .append(now, log, header.leader_epoch, whole, origin, true, out)
            .map_err(|error| format!("the log does not take it: {error:?}"))?;
        let mut changes = changes;
        if self.config.planted.has(Plant::Raft26) {
            changes.retain(|change| !matches!(change, controller::Change::RemoveTopic { .. }));
        }
        self.metadata.controller.on_appended(Extent::of(batch, header.next_offset()), changes);
        self.note_voters(now, header.base_offset, batch.bytes(), out);
        if self.config.planted.has(Plant::Raft32) {
            self.on_metadata_committed(now, header.next_offset(), out);
        }
        Ok(())
    }

    /// Another leads: nobody here can be told that what waits was committed, though it may be.
    fn on_leadership_lost(&mut self) {
        self.forget_leadership();
        if matches!(self.phase, Phase::Registering(_)) {
            self.phase = Phase::Electing;
        }
    }

    pub(super) fn with_raft(&mut self, act: impl FnOnce(&mut Raft, &Epochs) -> raft::Outcome) -> Option<raft::Outcome> {
        let epochs = self.logs.epochs(self.metadata.log()?)?;
        Some(act(self.metadata.raft_mut()?, epochs))
    }
}
