//! A request as a client's actor makes it, and what it takes to read the answer.

use bytes::Bytes;
use ottla_wire::frame::{RequestHeader, ResponseHeader, encode_request};
use ottla_wire::{ApiKey, Message, Reader, Writer};

use crate::draw::Draw;
use crate::time::Nanos;

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of it.
    pub api_version: i16,
    /// What the actor knows it by.
    pub tag: u64,
    /// Whether an answer comes; not to a Produce with acks=0.
    pub answered: bool,
    /// Whether nobody can say what comes of it: after it, the connection is given up.
    pub hostile: bool,
    /// How much longer than others its answer may take.
    pub patience: Nanos,
    /// The frame, with a correlation id of 0.
    frame: Vec<u8>,
}

/// Where the correlation id lies in a request's frame: after length, API and version.
const CORRELATION_AT: usize = 8;

impl Ask {
    /// A request with a good frame.
    pub fn new<'a>(api_key: ApiKey, api_version: i16, tag: u64, body: &impl Message<'a>) -> Self {
        Self::of("sim", api_key, api_version, tag, body)
    }

    /// A request of a client that has a name.
    pub fn of<'a>(client: &str, api_key: ApiKey, api_version: i16, tag: u64, body: &impl Message<'a>) -> Self {
        let mut writer = Writer::with_capacity(256);
        let header = RequestHeader { api_key, api_version, correlation_id: 0, client_id: Some(client) };
        encode_request(&mut writer, &header, body);
        Self { api_key, api_version, tag, answered: true, hostile: false, patience: 0, frame: writer.into_bytes() }
    }

    /// Makes a good frame a bad one: cut short, with a length that lies, or with bytes that were not meant.
    pub fn spoil(&mut self, draw: Draw) {
        self.hostile = true;
        let len = self.frame.len();
        match draw.below(4) {
            0 => {
                // A good length before a body that ends too soon.
                self.frame.truncate(4 + draw.and(1).index(len - 4));
                let length = i32::try_from(self.frame.len() - 4).unwrap_or(0);
                self.frame[..4].copy_from_slice(&length.to_be_bytes());
            }
            1 => self.frame[..4].copy_from_slice(&draw.and(1).bits().to_be_bytes()[..4]),
            _ => {
                for turn in 0..=draw.and(2).below(4) {
                    let at = 4 + draw.and(10 + turn).index(len - 4);
                    self.frame[at] = draw.and(20 + turn).bits().to_be_bytes()[0];
                }
            }
        }
    }

    /// The bytes to send.
    pub fn frame(&mut self, correlation: i32) -> Bytes {
        let place = self.frame.get_mut(CORRELATION_AT..CORRELATION_AT + 4);
        if let Some(place) = place.filter(|_| !self.hostile) {
            place.copy_from_slice(&correlation.to_be_bytes());
        }
        Bytes::from(std::mem::take(&mut self.frame))
    }

    /// Where in an answer's frame the body begins; `None` if its header cannot be read.
    #[must_use]
    pub fn body(&self, frame: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(frame);
        ResponseHeader::decode(&mut reader, self.api_key, self.api_version).ok()?;
        Some(frame.len() - reader.remaining())
    }
}
