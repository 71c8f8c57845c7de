//! Which broker coordinates the group (FindCoordinator): any broker is asked, and again when what it said is wrong.

use ottla_wire::ErrorCode;
use ottla_wire::api::Response;

use crate::clock::Instant;
use crate::rpc::{Answer, CallId, Lane, Readiness, Route, RpcError};
use crate::types::BrokerId;

use super::super::coordination::{Found, find_coordinator};
use super::super::turn::Turn;
use super::Rules;

#[derive(Clone, Debug, Default)]
pub(super) struct Coordinator {
    known: Option<BrokerId>,
    call: Option<CallId>,
    next_at: Instant,
    failures: u32,
}

impl Coordinator {
    /// A connection to it that can take a call now. Without one, it is looked for or dialled.
    pub(super) fn route(&mut self, lane: Lane, rules: &Rules, turn: &mut Turn<'_>) -> Option<Route> {
        let now = turn.at();
        if let Some(id) = self.known {
            let route = Route::to(id, lane);
            match turn.pool.connect(now, route, turn.sink) {
                Readiness::Ready => return Some(route),
                Readiness::Busy | Readiness::Connecting | Readiness::Idle => return None,
                // It may be down for good, and another broker in its place.
                Readiness::Later(at) => self.next_at = self.next_at.max(at),
                Readiness::Unknown => {}
            }
            self.lose();
        }
        self.find(rules, turn);
        None
    }

    /// It proved wrong, or broke down.
    pub(super) fn lose(&mut self) {
        self.known = None;
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.call == Some(call)
    }

    fn find(&mut self, rules: &Rules, turn: &mut Turn<'_>) {
        if self.call.is_some() {
            return;
        }
        let now = turn.at();
        if self.next_at > now {
            return turn.wake.by(self.next_at);
        }
        let Some(route) = turn.any_broker(Lane::Control) else { return };
        match turn.pool.send(now, route, (&find_coordinator(&rules.group_id), i16::MAX), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(_) => self.failed(rules, turn),
        }
    }

    /// Takes the answer. An error that no retry mends is returned.
    pub(super) fn on_result(
        &mut self,
        result: Result<&Answer, RpcError>,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.call = None;
        let Ok(Ok(Response::FindCoordinator(response))) = result.map(Answer::decode) else {
            self.failed(rules, turn);
            return Ok(());
        };
        let Found { error: code, endpoint, .. } = Found::new(&response);
        if code.is_error() || endpoint.0 < 0 {
            self.failed(rules, turn);
            let hopeless = [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::INVALID_GROUP_ID].contains(&code);
            return if hopeless { Err(code) } else { Ok(()) };
        }
        turn.metadata.on_endpoint(endpoint, turn.pool, turn.sink);
        self.known = Some(BrokerId(endpoint.0));
        self.failures = 0;
        // It may prove wrong at once: whoever looks for it again has to wait a moment.
        self.next_at = turn.now.monotonic + rules.backoff.delay(1, turn.rng);
        Ok(())
    }

    fn failed(&mut self, rules: &Rules, turn: &mut Turn<'_>) {
        self.failures += 1;
        self.next_at = turn.now.monotonic + rules.backoff.delay(self.failures, turn.rng);
        turn.wake.by(self.next_at);
    }
}
