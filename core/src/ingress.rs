//! Before the machine: reads a whole frame, outside of any lock.
//!
//! A pure function that node and simulator call alike. It reads the request header, and looks once at every
//! record of every produced batch ([`crate::record::scan`]); the machine then applies policy to the facts. The body
//! is decoded by the machine's `api`, from the same bytes: nothing is copied.

use std::fmt;

use bytes::Bytes;
use ottla_wire::api::produce::ProduceRequest;
use ottla_wire::frame::RequestHeader;
use ottla_wire::{ApiKey, DecodeError, Message, Reader};

use crate::record::{self, BatchFacts, ScanError};

/// What a look at one produced batch found.
pub type Scanned = Result<BatchFacts, ScanError>;

/// A request that can be answered: its header is read, its body is not.
#[derive(Clone, Debug)]
pub struct Request {
    /// The whole frame, without its length.
    pub frame: Bytes,
    /// Which API, which version, and what the client matches the answer by.
    pub head: Head,
    /// Of a Produce: one for each partition's records, in the order of the request.
    pub scanned: Option<Box<[Scanned]>>,
}

/// What is needed of a request to encode its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of it; perhaps one that we do not have.
    pub api_version: i16,
    /// What the client matches the answer by.
    pub correlation_id: i32,
}

/// Why a frame cannot be read. The connection is closed: what comes after it cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What the header said, if it could be read.
    pub head: Option<Head>,
    /// What is wrong.
    pub error: DecodeError,
}

/// Reads a frame. At most `inflated_limit` bytes of a produced batch's records are inflated to look at them.
///
/// # Errors
/// The frame has no readable header, or is a Produce whose body cannot be read.
pub fn ingress(frame: Bytes, inflated_limit: u64) -> Result<Request, Malformed> {
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader).map_err(|error| Malformed { head: None, error })?;
    let RequestHeader { api_key, api_version, correlation_id, .. } = header;
    let head = Head { api_key, api_version, correlation_id };
    let produces = api_key == ApiKey::Produce && api_key.versions().contains(&api_version);
    let scanned = if produces {
        let scanned = scan_all(&mut reader, api_version, inflated_limit);
        Some(scanned.map_err(|error| Malformed { head: Some(head), error })?)
    } else {
        None
    };
    Ok(Request { frame, head, scanned })
}

fn scan_all(reader: &mut Reader<'_>, version: i16, inflated_limit: u64) -> Result<Box<[Scanned]>, DecodeError> {
    let request = ProduceRequest::decode(reader, version)?;
    let partitions = || request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut scanned = Vec::with_capacity(partitions().count());
    let batches = partitions().map(|it| it.records.and_then(|records| records.as_slice()).unwrap_or_default());
    scanned.extend(batches.map(|batch| record::scan(batch, inflated_limit)));
    Ok(scanned.into())
}

impl Request {
    /// A reader at the start of the body.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        self.split().1
    }

    /// What the client calls itself; empty if it says nothing.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.split().0.client_id.unwrap_or_default()
    }

    fn split(&self) -> (RequestHeader<'_>, Reader<'_>) {
        let mut reader = Reader::new(&self.frame);
        let header = RequestHeader::decode(&mut reader).expect("ingress read this header");
        (header, reader)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{} id={}", self.api_key.name(), self.api_version, self.correlation_id)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} B", self.head, self.frame.len())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => write!(f, "{head}: {}", self.error),
            None => write!(f, "no request header: {}", self.error),
        }
    }
}
