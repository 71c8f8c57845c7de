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

use crate::record::{self, BatchFacts, Codec, ScanError};

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

/// Records of a frame are inflated up to so many times its size, where that is more than what one batch may have.
const INFLATED_RATIO: u64 = 100;

/// Reads a frame. At most `inflated_limit` bytes of a produced batch's records are inflated to look at them, and of all
/// its batches not much more than of one: small batches can inflate to gigabytes.
///
/// # Errors
/// The frame has no readable header, or is a Produce whose body cannot be read.
pub fn ingress(frame: Bytes, inflated_limit: u64) -> Result<Request, Malformed> {
    let most = inflated_limit.max(INFLATED_RATIO.saturating_mul(frame.len() as u64));
    ingress_within(frame, inflated_limit, most)
}

/// The same, and of all batches together no more than `most` bytes are inflated: a batch that has more is found to be
/// wrong ([`ScanError::Record`]).
///
/// # Errors
/// As above.
pub fn ingress_within(frame: Bytes, inflated_limit: u64, most: u64) -> Result<Request, Malformed> {
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader).map_err(|error| Malformed { head: None, error })?;
    let RequestHeader { api_key, api_version, correlation_id, .. } = header;
    let head = Head { api_key, api_version, correlation_id };
    let produces = api_key == ApiKey::Produce && api_key.versions().contains(&api_version);
    let scanned = if produces {
        let scanned = scan_all(&mut reader, api_version, (inflated_limit, most));
        Some(scanned.map_err(|error| Malformed { head: Some(head), error })?)
    } else {
        None
    };
    Ok(Request { frame, head, scanned })
}

/// `limit` is of each batch, `left` of all of them.
fn scan_all(
    reader: &mut Reader<'_>,
    version: i16,
    (limit, mut left): (u64, u64),
) -> Result<Box<[Scanned]>, DecodeError> {
    let request = ProduceRequest::decode(reader, version)?;
    let partitions = || request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut scanned = Vec::with_capacity(partitions().count());
    let batches = partitions().map(|it| it.records.and_then(|records| records.as_slice()).unwrap_or_default());
    scanned.extend(batches.map(|batch| {
        let limit = limit.min(left);
        let scanned = record::scan(batch, limit);
        let inflated = match &scanned {
            Ok(facts) if facts.attributes.codec() != Ok(Codec::None) => facts.inflated_size,
            // How far it came is not known.
            Err(ScanError::Record { .. }) => limit,
            _ => 0,
        };
        left -= inflated.min(left);
        scanned
    }));
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

#[cfg(test)]
mod tests {
    use ottla_wire::api::produce::{PartitionProduceData, TopicProduceData};
    use ottla_wire::{Records, Writer};

    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, Compression, NewRecord};

    /// A Produce with these batches, without its length.
    fn frame(batches: &[Vec<u8>]) -> Bytes {
        let data = batches.iter().map(|batch| PartitionProduceData {
            records: Some(Records::Slice(batch)),
            ..PartitionProduceData::default()
        });
        let topic = TopicProduceData { name: "t", partition_data: data.collect(), ..TopicProduceData::default() };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
        let mut writer = Writer::new();
        let (api_key, api_version) = (ApiKey::Produce, 9);
        let header = RequestHeader { api_key, api_version, correlation_id: 1, client_id: None };
        ottla_wire::frame::encode_request(&mut writer, &header, &request);
        Bytes::from(writer.into_bytes()).slice(4..)
    }

    #[test]
    fn small_batches_that_inflate_to_much_are_not_all_inflated() {
        let batch = |compression, size| {
            let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
            builder.append(&NewRecord { value: Some(&vec![0; size]), ..NewRecord::default() });
            builder.build()
        };
        let small = || batch(Compression::Zstd(3), 1_000_000);
        let plain = batch(Compression::None, 100);
        let request = ingress(frame(&[small(), small(), plain, small()]), 1_500_000).unwrap();
        let good = |request: &Request| -> Vec<bool> { request.scanned.iter().flatten().map(Result::is_ok).collect() };
        assert_eq!(good(&request), [true, false, true, false]);
        let large = batch(Compression::None, 100_000);
        let request = ingress(frame(&[small(), small(), large]), 1_500_000).unwrap();
        assert_eq!(good(&request), [true, true, true], "a large frame may have more in it");
    }
}
