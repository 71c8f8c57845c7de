//! In one seed of twenty every frame is read and written again by `kafka-protocol`, too, which is generated from
//! Kafka's own schemas: what leaves a client or the node must be the very bytes that it would have written.
//!
//! Both ends of every connection here are ours. What they misunderstand alike nobody else would see.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;
use ottla_wire::ErrorCode;

use crate::draw::{Draws, Label};
use crate::frames::Frames;
use crate::network::Wire;

/// How many seeds there are for one that is read twice.
const ONE_OF: u64 = 20;
/// The largest answer.
const MAX_FRAME: usize = 64 << 20;
/// Versions that it lacks, as it knows Kafka 4.1: of those that go over connections here, what the oracle of the wire
/// (`core/wire/src/oracle.rs`) has, too. What it says of its own versions is not to be relied on.
const BEYOND: [(ApiKey, i16); 5] = [
    (ApiKey::ListOffsets, 11),
    (ApiKey::InitProducerId, 6),
    (ApiKey::DescribeLogDirs, 5),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
];

/// What is under way on each connection that is read along.
#[derive(Clone, Debug, Default)]
pub struct Cross {
    wires: BTreeMap<Wire, Reading>,
}

#[derive(Clone, Debug)]
struct Reading {
    /// What was asked and not answered, by key and version.
    asked: VecDeque<(ApiKey, i16)>,
    answers: Frames,
}

impl Cross {
    /// The second reader, if this seed has one.
    #[must_use]
    pub fn draw(draws: Draws) -> Option<Self> {
        (draws.named(Label::Scenario, "cross", 0).below(ONE_OF) == 0).then(Self::default)
    }

    /// A client sends a good frame, with its length.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn on_request(&mut self, wire: Wire, frame: &Bytes) -> Result<(), String> {
        let mut bytes = frame.slice(4..);
        let (key, version) = (bytes.slice(..2).get_i16(), bytes.slice(2..4).get_i16());
        let key = ApiKey::try_from(key).map_err(|()| format!("a request has the API key {key}"))?;
        let reading = self.wires.entry(wire);
        let new = || Reading { asked: VecDeque::new(), answers: Frames::new(MAX_FRAME) };
        let asked = &mut reading.or_insert_with(new).asked;
        if BEYOND.contains(&(key, version)) {
            asked.push_back((key, version));
            return Ok(());
        }
        let request = read_request(&mut bytes, key, version);
        let request = request.map_err(|why| format!("a request {key:?} {version}: {why}"))?;
        if !matches!(&request, RequestKind::Produce(produce) if produce.acks == 0) {
            asked.push_back((key, version));
        }
        Ok(())
    }

    /// Bytes of answers come to a client.
    ///
    /// # Errors
    /// What is wrong with one, in a sentence.
    pub fn on_answers(&mut self, wire: Wire, bytes: Bytes) -> Result<(), String> {
        let Some(reading) = self.wires.get_mut(&wire) else { return Ok(()) };
        let mut frames = Vec::new();
        reading.answers.push(bytes, &mut frames).map_err(|_| "an answer has an impossible length".to_owned())?;
        for mut frame in frames {
            let Some((key, version)) = reading.asked.pop_front() else { return Err("an answer to nothing".into()) };
            if !BEYOND.contains(&(key, version)) {
                let read = read_answer(&mut frame, key, version);
                read.map_err(|why| format!("an answer to {key:?} {version}: {why}"))?;
            }
        }
        Ok(())
    }

    /// A connection is gone, or carries what nobody can read.
    pub fn forget(&mut self, wire: Wire) {
        self.wires.remove(&wire);
    }
}

fn read_request(bytes: &mut Bytes, key: ApiKey, version: i16) -> Result<RequestKind, String> {
    let header = RequestHeader::decode(bytes, key.request_header_version(version));
    header.map_err(|error| error.to_string())?;
    let body = bytes.clone();
    let request = RequestKind::decode(key, bytes, version).map_err(|error| error.to_string())?;
    let mut written = BytesMut::new();
    request.encode(&mut written, version).map_err(|error| error.to_string())?;
    same(&body, &written)?;
    Ok(request)
}

fn read_answer(bytes: &mut Bytes, key: ApiKey, version: i16) -> Result<(), String> {
    let header = ResponseHeader::decode(bytes, key.response_header_version(version));
    header.map_err(|error| error.to_string())?;
    // Who does not know the version says so in version 0 (KIP-511).
    let refused = key == ApiKey::ApiVersions && bytes.starts_with(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    let version = if refused { 0 } else { version };
    let body = bytes.clone();
    let answer = ResponseKind::decode(key, bytes, version).map_err(|error| error.to_string())?;
    let mut written = BytesMut::new();
    answer.encode(&mut written, version).map_err(|error| error.to_string())?;
    same(&body, &written)
}

fn same(ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    match ours.iter().zip(theirs).position(|(our, their)| our != their) {
        None if ours.len() == theirs.len() => Ok(()),
        differs => Err(format!(
            "{} bytes, and kafka-protocol writes {}, which differ from byte {} on",
            ours.len(),
            theirs.len(),
            differs.unwrap_or(ours.len().min(theirs.len()))
        )),
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::api::metadata::MetadataRequest;
    use ottla_wire::api::produce::ProduceRequest;

    use super::*;
    use crate::client::ask::Ask;

    const WIRE: Wire = Wire(1);

    #[test]
    fn what_we_write_is_what_they_write() {
        let mut cross = Cross::default();
        let mut ask = Ask::new(ottla_wire::ApiKey::Metadata, 12, 0, &MetadataRequest::default());
        assert_eq!(cross.on_request(WIRE, &ask.frame(1)), Ok(()));
    }

    #[test]
    fn a_byte_too_much_or_an_answer_to_nothing_is_seen() {
        let mut cross = Cross::default();
        let silent = ProduceRequest { acks: 0, ..ProduceRequest::default() };
        let mut ask = Ask::new(ottla_wire::ApiKey::Produce, 9, 0, &silent);
        let frame = ask.frame(1);
        let long: Bytes = [&frame[..], &[0]].concat().into();
        assert!(cross.on_request(WIRE, &long).is_err());
        assert_eq!(cross.on_request(WIRE, &frame), Ok(()));
        let answer = Bytes::from_static(&[0, 0, 0, 5, 0, 0, 0, 1, 0]);
        assert!(cross.on_answers(WIRE, answer).is_err());
    }
}
