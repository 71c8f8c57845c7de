//! Which broker coordinates the group (FindCoordinator): any broker is asked, and again when what it said is wrong.

use ottla_wire::ErrorCode;
use ottla_wire::api::find_coordinator::FindCoordinatorRequest;
use ottla_wire::api::{Request, Response};

use crate::clock::Instant;
use crate::rpc::{Answer, CallId, Lane, Readiness, Route, RpcError};
use crate::types::BrokerId;

use super::super::metadata::Pick;
use super::super::turn::Turn;
use super::Rules;

#[derive(Clone, Debug, Default)]
pub(super) struct Coordinator {
    known: Option<BrokerId>,
    call: Option<CallId>,
    next_at: Instant,
    failures: u32,
}

/// The key type of groups.
const GROUP: i8 = 0;

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
        let Turn { pool, metadata, rng, sink, .. } = turn;
        match metadata.any_broker(now, Lane::Control, pool, rng, sink) {
            Pick::Ready(route) => {
                let (key, coordinator_keys) = (&*rules.group_id, vec![&*rules.group_id]);
                let request = Request::from(FindCoordinatorRequest { key, key_type: GROUP, coordinator_keys });
                match pool.send(now, route, (&request, i16::MAX), sink) {
                    Ok(call) => self.call = Some(call),
                    Err(_) => self.failed(rules, turn),
                }
            }
            Pick::Wait(at) => at.into_iter().for_each(|at| turn.wake.by(at)),
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
        let (code, id, host, port) = match response.coordinators.first() {
            Some(it) => (it.error_code, it.node_id, it.host, it.port),
            None => (response.error_code, response.node_id, response.host, response.port),
        };
        if code.is_error() || id < 0 {
            self.failed(rules, turn);
            let hopeless = [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::INVALID_GROUP_ID].contains(&code);
            return if hopeless { Err(code) } else { Ok(()) };
        }
        turn.metadata.on_endpoint((id, host, port), turn.pool, turn.sink);
        self.known = Some(BrokerId(id));
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
