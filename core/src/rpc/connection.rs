//! One connection that is up: the handshake, correlation ids, and what is in flight.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_wire::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::api::{Request, Response};
use ottla_wire::frame::{self, RequestHeader, ResponseHeader};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Limits, Message, Reader, Writer};

use crate::clock::Instant;
use crate::machine::ConnId;

use super::versions::{self, Versions};
use super::{Action, CallId};

/// The answer to a call: its header was read and fits, its body is read by [`Answer::decode`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which call.
    pub call: CallId,
    /// Of which API.
    pub api_key: ApiKey,
    /// In which version it was asked, and so is answered.
    pub version: i16,
    /// The whole frame, without its length.
    pub frame: Bytes,
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    conn: ConnId,
    /// `None` while the handshake goes on.
    versions: Option<Versions>,
    next_correlation_id: i32,
    in_flight: VecDeque<InFlight>,
}

#[derive(Clone, Debug)]
struct InFlight {
    correlation_id: i32,
    /// `None`: the handshake.
    call: Option<CallId>,
    api_key: ApiKey,
    version: i16,
    deadline: Instant,
}

/// What a frame was.
pub(super) enum Received {
    Answer(Answer),
    /// The broker said what it speaks.
    Handshaken,
    /// The broker refused our version of ApiVersions; an older one is on its way.
    AskedAgain,
}

/// Who we are and how long we wait.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) client_id: &'a str,
    pub(super) deadline: Instant,
}

impl Connection {
    /// Begins the handshake.
    pub(super) fn open(conn: ConnId, terms: Terms<'_>, actions: &mut Vec<Action>) -> Self {
        let mut connection = Self { conn, versions: None, next_correlation_id: 0, in_flight: VecDeque::new() };
        let ours = versions::ours(ApiKey::ApiVersions).expect("the wire format has ApiVersions");
        connection.shake_hands(*ours.end(), terms, actions);
        connection
    }

    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    /// What the broker speaks; `None` while the handshake goes on.
    pub(super) fn versions(&self) -> Option<&Versions> {
        self.versions.as_ref()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When the first call is too late. A later call may be that one: what waits for a group may take longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.iter().map(|call| call.deadline).min()
    }

    /// The calls that are in flight, with whether each is too late.
    pub(super) fn calls(&self, now: Instant) -> impl Iterator<Item = (CallId, bool)> {
        self.in_flight.iter().filter_map(move |it| it.call.map(|call| (call, it.deadline <= now)))
    }

    /// Sends a request. Produce with acks=0 has no answer, and is never in flight.
    pub(super) fn send(
        &mut self,
        call: CallId,
        (request, version): (&Request<'_>, i16),
        terms: Terms<'_>,
        actions: &mut Vec<Action>,
    ) {
        let silent = matches!(request, Request::Produce(produce) if produce.acks == 0);
        let correlation_id = self.write(request, version, terms.client_id, actions);
        if !silent {
            let (api_key, deadline) = (request.api_key(), terms.deadline);
            self.in_flight.push_back(InFlight { correlation_id, call: Some(call), api_key, version, deadline });
        }
    }

    /// Takes a frame off the connection.
    ///
    /// # Errors
    /// It answers nothing that was asked, or the handshake cannot be read: the connection is of no use.
    pub(super) fn on_frame(
        &mut self,
        frame: Bytes,
        terms: Terms<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<Received, Box<str>> {
        let asked = self.in_flight.front().ok_or("an answer came that nobody asked for")?.clone();
        let mut reader = reader(&frame);
        let header = ResponseHeader::decode(&mut reader, asked.api_key, asked.version);
        let header = header.map_err(|error| error.to_string())?;
        if header.correlation_id != asked.correlation_id {
            let (wanted, got) = (asked.correlation_id, header.correlation_id);
            return Err(format!("the answer to {wanted} has the correlation id {got}").into());
        }
        self.in_flight.pop_front();
        match asked.call {
            Some(call) => {
                let InFlight { api_key, version, .. } = asked;
                Ok(Received::Answer(Answer { call, api_key, version, frame }))
            }
            None => self.on_api_versions(&mut reader, asked.version, terms, actions),
        }
    }

    /// A refusal is in version 0, whatever was asked, and names the versions there are (KIP-511).
    fn on_api_versions(
        &mut self,
        reader: &mut Reader<'_>,
        asked: i16,
        terms: Terms<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<Received, Box<str>> {
        let refused = reader.rest().first_chunk() == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        let version = if refused { 0 } else { asked };
        let response = ApiVersionsResponse::decode(reader, version).map_err(|error| error.to_string())?;
        let versions = Versions::of(&response);
        if refused && asked > 0 {
            let older = versions.common(ApiKey::ApiVersions, asked - 1).unwrap_or(0);
            self.shake_hands(older, terms, actions);
            return Ok(Received::AskedAgain);
        }
        if response.error_code.is_error() {
            return Err(format!("the handshake failed: {}", response.error_code).into());
        }
        self.versions = Some(versions);
        Ok(Received::Handshaken)
    }

    fn shake_hands(&mut self, version: i16, terms: Terms<'_>, actions: &mut Vec<Action>) {
        let request =
            ApiVersionsRequest { client_software_name: "ottla", client_software_version: env!("CARGO_PKG_VERSION") };
        let correlation_id = self.write(&request.into(), version, terms.client_id, actions);
        let (api_key, deadline) = (ApiKey::ApiVersions, terms.deadline);
        self.in_flight.push_back(InFlight { correlation_id, call: None, api_key, version, deadline });
    }

    fn write(&mut self, request: &Request<'_>, version: i16, client_id: &str, actions: &mut Vec<Action>) -> i32 {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        let header = RequestHeader {
            api_key: request.api_key(),
            api_version: version,
            correlation_id,
            client_id: Some(client_id),
        };
        let mut writer = Writer::new();
        let start = frame::begin(&mut writer);
        header.encode(&mut writer);
        request.encode(&mut writer, version);
        frame::finish(&mut writer, start);
        actions.push(Action::Send { conn: self.conn, bytes: writer.into_bytes().into() });
        correlation_id
    }
}

impl Answer {
    /// The body, borrowed from the frame.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(&self) -> Result<Response<'_>, DecodeError> {
        let mut reader = reader(&self.frame);
        ResponseHeader::decode(&mut reader, self.api_key, self.version)?;
        Response::decode(&mut reader, self.api_key, self.version)
    }
}

fn reader(frame: &[u8]) -> Reader<'_> {
    Reader::with_limits(frame, Limits::response(frame.len()))
}
