//! The pool by itself: what it does on each event, as text.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::api::Request;
use ottla_wire::api::api_versions::{ApiVersion, ApiVersionsResponse};
use ottla_wire::api::metadata::{MetadataRequest, MetadataResponse};
use ottla_wire::frame::encode_response;
use ottla_wire::{ApiKey, Message, Writer};

use super::*;
use crate::clock::Instant;

const ROUTE: Route = Route::to(BrokerId(1), Lane::Control);
const START: Instant = Instant(1_000_000_000);

fn pool(sink: &mut Sink) -> Pool {
    let mut pool = Pool::new(RpcConfig::default(), 1);
    pool.set_address(ROUTE.peer, "a:9092", sink);
    pool
}

/// A pool whose link is ready on connection 7.
fn ready(sink: &mut Sink) -> Pool {
    let mut pool = pool(sink);
    assert_eq!(pool.connect(START, ROUTE, sink), Readiness::Connecting);
    pool.on_opened(START, (ConnId(7), 1), Ok(()), sink);
    pool.on_frame(START, ConnId(7), api_versions(), sink);
    assert_eq!(pool.readiness(START, ROUTE), Readiness::Ready);
    drain(sink);
    pool
}

fn api_versions() -> Bytes {
    let api_keys = [ApiKey::Metadata, ApiKey::ApiVersions].map(|key| ApiVersion {
        api_key: key.code(),
        min_version: 0,
        max_version: 99,
    });
    answer(ApiKey::ApiVersions, 4, 0, &ApiVersionsResponse { api_keys: api_keys.into(), ..Default::default() })
}

fn answer<'a>(key: ApiKey, version: i16, correlation_id: i32, body: &impl Message<'a>) -> Bytes {
    let mut writer = Writer::new();
    encode_response(&mut writer, key, version, correlation_id, body);
    Bytes::from(writer.into_bytes()).slice(4..)
}

fn ask(pool: &mut Pool, now: Instant, sink: &mut Sink) -> Result<CallId, RpcError> {
    pool.send(now, ROUTE, (&Request::from(MetadataRequest::default()), i16::MAX), sink)
}

fn metadata(correlation_id: i32) -> Bytes {
    answer(ApiKey::Metadata, 13, correlation_id, &MetadataResponse::default())
}

/// What went to the sink, as text.
fn drain(sink: &mut Sink) -> Vec<String> {
    let actions = sink.actions.drain(..).map(|action| match action {
        Action::Send { conn, .. } => format!("{conn} send"),
        other @ (Action::Connect { .. } | Action::Close { .. }) => other.to_string(),
    });
    let outcomes = sink.outcomes.drain(..).map(|outcome| match outcome {
        Outcome::Answered(answer) => format!("{} answered", answer.call),
        Outcome::Failed { call, error } => format!("{call} failed: {error}"),
        Outcome::Up { route } => format!("{route} up"),
        Outcome::Down { route, why } => format!("{route} down: {why}"),
    });
    actions.chain(outcomes).collect()
}

#[test]
fn a_link_is_dialled_shakes_hands_and_answers_in_order() {
    let mut sink = Sink::default();
    let mut pool = pool(&mut sink);
    assert_eq!(pool.readiness(START, ROUTE), Readiness::Idle);
    let _connecting = pool.connect(START, ROUTE, &mut sink);
    pool.on_opened(START, (ConnId(7), 1), Ok(()), &mut sink);
    assert_eq!(drain(&mut sink), ["connect a:9092 token=1", "c7 send"]);
    assert_eq!(pool.readiness(START, ROUTE), Readiness::Connecting);
    pool.on_frame(START, ConnId(7), api_versions(), &mut sink);
    assert_eq!(drain(&mut sink), ["n1/Control up"]);
    assert_eq!(pool.version(ROUTE, ApiKey::Metadata), Some(13));
    assert_eq!(pool.version(ROUTE, ApiKey::Fetch), None);
    ask(&mut pool, START, &mut sink).unwrap();
    ask(&mut pool, START, &mut sink).unwrap();
    pool.on_frame(START, ConnId(7), metadata(1), &mut sink);
    pool.on_frame(START, ConnId(7), metadata(2), &mut sink);
    assert_eq!(drain(&mut sink), ["c7 send", "c7 send", "call1 answered", "call2 answered"]);
}

#[test]
fn at_most_five_calls_are_in_flight() {
    let mut sink = Sink::default();
    let mut pool = ready(&mut sink);
    for _ in 0..5 {
        assert_eq!(pool.readiness(START, ROUTE), Readiness::Ready);
        ask(&mut pool, START, &mut sink).unwrap();
    }
    assert_eq!(pool.readiness(START, ROUTE), Readiness::Busy);
    pool.on_frame(START, ConnId(7), metadata(1), &mut sink);
    assert_eq!(pool.readiness(START, ROUTE), Readiness::Ready);
}

#[test]
fn what_the_broker_does_not_speak_is_not_sent() {
    let mut sink = Sink::default();
    let mut pool = ready(&mut sink);
    let request = Request::from(ottla_wire::api::fetch::FetchRequest::default());
    let result = pool.send(START, ROUTE, (&request, i16::MAX), &mut sink);
    assert_eq!(result, Err(RpcError::UnsupportedVersion(ApiKey::Fetch)));
    assert_eq!(drain(&mut sink), [""; 0]);
}

#[test]
fn a_call_without_an_answer_takes_the_connection_with_it() {
    let mut sink = Sink::default();
    let mut pool = ready(&mut sink);
    ask(&mut pool, START, &mut sink).unwrap();
    let later = START + Duration::from_secs(10);
    ask(&mut pool, later, &mut sink).unwrap();
    let deadline = pool.next_deadline().unwrap();
    assert_eq!(deadline, START + Duration::from_secs(30));
    drain(&mut sink);
    pool.on_timeout(deadline, &mut sink);
    assert_eq!(
        drain(&mut sink),
        [
            "c7 close",
            "call1 failed: no answer came in time",
            "call2 failed: the connection broke before the answer came",
            "n1/Control down: no answer in time",
        ]
    );
    assert!(matches!(pool.readiness(deadline, ROUTE), Readiness::Later(_)));
    assert_eq!(pool.next_deadline(), None);
    pool.on_frame(deadline, ConnId(7), metadata(1), &mut sink);
    pool.on_closed(deadline, ConnId(7), &mut sink);
    assert_eq!(drain(&mut sink), [""; 0], "what still comes of it is ignored");
}

#[test]
fn an_answer_out_of_order_closes_the_connection() {
    let mut sink = Sink::default();
    let mut pool = ready(&mut sink);
    ask(&mut pool, START, &mut sink).unwrap();
    drain(&mut sink);
    pool.on_frame(START, ConnId(7), metadata(2), &mut sink);
    let why = "n1/Control down: the answer to 1 has the correlation id 2";
    // The call that the answer stood for is lost with it, and fails like the others.
    assert_eq!(drain(&mut sink), ["c7 close", "call1 failed: the connection broke before the answer came", why]);
    let mut pool = ready(&mut sink);
    pool.on_frame(START, ConnId(7), metadata(1), &mut sink);
    assert_eq!(drain(&mut sink), ["c7 close", "n1/Control down: an answer came that nobody asked for"]);
}

#[test]
fn dials_back_off_and_a_handshake_ends_that() {
    let mut sink = Sink::default();
    let mut pool = pool(&mut sink);
    let mut now = START;
    let mut waits = Vec::new();
    for token in 1..=7 {
        assert_eq!(pool.connect(now, ROUTE, &mut sink), Readiness::Connecting);
        pool.on_opened(now, (ConnId(0), token), Err("refused".into()), &mut sink);
        let Readiness::Later(at) = pool.readiness(now, ROUTE) else { panic!("it backs off") };
        assert_eq!(pool.connect(now, ROUTE, &mut sink), Readiness::Later(at), "and is not dialled before");
        waits.push(at.since(now).as_millis());
        now = at;
    }
    assert!(waits.windows(2).take(4).all(|pair| pair[0] < pair[1]) && waits[6] <= 1_200, "{waits:?}");
    let _connecting = pool.connect(now, ROUTE, &mut sink);
    pool.on_opened(now, (ConnId(7), 8), Ok(()), &mut sink);
    pool.on_frame(now, ConnId(7), api_versions(), &mut sink);
    pool.on_closed(now, ConnId(7), &mut sink);
    let Readiness::Later(at) = pool.readiness(now, ROUTE) else { panic!("it backs off") };
    assert!(at.since(now) <= Duration::from_millis(60), "from the start again");
}

#[test]
fn a_dial_that_ends_too_late_is_closed() {
    let mut sink = Sink::default();
    let mut pool = pool(&mut sink);
    let _connecting = pool.connect(START, ROUTE, &mut sink);
    let deadline = pool.next_deadline().unwrap();
    pool.on_timeout(deadline, &mut sink);
    drain(&mut sink);
    pool.on_opened(deadline, (ConnId(7), 1), Ok(()), &mut sink);
    assert_eq!(drain(&mut sink), ["c7 close"]);
}

#[test]
fn a_peer_that_moved_is_dialled_at_its_new_address() {
    let mut sink = Sink::default();
    let mut pool = ready(&mut sink);
    ask(&mut pool, START, &mut sink).unwrap();
    drain(&mut sink);
    pool.set_address(ROUTE.peer, "a:9092", &mut sink);
    assert_eq!(drain(&mut sink), [""; 0]);
    pool.set_address(ROUTE.peer, "b:9092", &mut sink);
    let _connecting = pool.connect(START, ROUTE, &mut sink);
    let all = drain(&mut sink);
    assert_eq!(all[..2], ["c7 close", "connect b:9092 token=2"]);
    assert_eq!(all[2], "call1 failed: the connection broke before the answer came");
}
