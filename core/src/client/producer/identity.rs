//! The producer id: asked of any broker when it is first needed (InitProducerId, KIP-98).

use ottla_wire::ErrorCode;
use ottla_wire::api::init_producer_id::InitProducerIdRequest;
use ottla_wire::api::{Request, Response};

use crate::clock::Instant;
use crate::rpc::{Answer, Backoff, CallId, Lane, RpcError};
use crate::types::{ProducerEpoch, ProducerId};

use super::super::turn::Turn;

#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    id: Option<(ProducerId, ProducerEpoch)>,
    call: Option<CallId>,
    next_at: Instant,
    failures: u32,
}

impl Identity {
    /// The id and its first epoch, if there is one.
    pub(super) fn id(&self) -> Option<(ProducerId, ProducerEpoch)> {
        self.id
    }

    /// The id is used up: the next lineage needs another.
    pub(super) fn discard(&mut self) {
        self.id = None;
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.call == Some(call)
    }

    /// Asks for an id, if there is none and somebody can be asked.
    pub(super) fn pump(&mut self, backoff: Backoff, turn: &mut Turn<'_>) {
        if self.id.is_some() || self.call.is_some() {
            return;
        }
        let now = turn.at();
        if self.next_at > now {
            return turn.wake.by(self.next_at);
        }
        let Some(route) = turn.any_broker(Lane::Control) else { return };
        let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..Default::default() };
        match turn.pool.send(now, route, (&Request::from(request), i16::MAX), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(_) => self.failed(now, backoff, turn),
        }
    }

    /// Takes the answer. An error that no retry mends is returned.
    pub(super) fn on_result(
        &mut self,
        result: Result<&Answer, RpcError>,
        backoff: Backoff,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.call = None;
        let now = turn.at();
        let Ok(Ok(Response::InitProducerId(response))) = result.map(Answer::decode) else {
            self.failed(now, backoff, turn);
            return Ok(());
        };
        if response.error_code.is_error() {
            self.failed(now, backoff, turn);
            let hopeless = response.error_code == ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return if hopeless { Err(response.error_code) } else { Ok(()) };
        }
        self.failures = 0;
        self.id = Some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
        Ok(())
    }

    fn failed(&mut self, now: Instant, backoff: Backoff, turn: &mut Turn<'_>) {
        self.failures += 1;
        self.next_at = now + backoff.delay(self.failures, turn.rng);
        turn.wake.by(self.next_at);
    }
}
