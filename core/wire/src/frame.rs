//! What surrounds a body: the length prefix, and the headers of requests and responses.
//!
//! A request's header has version 1 or 2 (with tagged fields), by the request's version; version 0 was that of
//! ControlledShutdown 0 alone, which Kafka 4 no longer has. The client id keeps its classic encoding even in
//! version 2, so that a broker can always read it. A response's header has version 0 or 1 (with tagged fields);
//! ApiVersions has 0 always, since a client reads it before it knows what the broker speaks (KIP-511).

use crate::primitives::{DecodeError, Reader, Result, Version, u32_from};
use crate::{ApiKey, Message, Writer};

/// The bytes of a frame's length prefix.
pub const PREFIX_LEN: usize = 4;

/// The length of the frame that follows a prefix, in bytes.
///
/// # Errors
/// [`DecodeError::NegativeLength`], or [`DecodeError::FrameTooLarge`] above `max`.
pub fn frame_len(prefix: [u8; PREFIX_LEN], max: usize) -> Result<usize> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        Ok(length) => Err(DecodeError::FrameTooLarge { length: u32_from(length), max: u32_from(max) }),
        Err(_) => Err(DecodeError::NegativeLength(length)),
    }
}

/// The header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// What the request asks for.
    pub api_key: ApiKey,
    /// The version of its body; it may be one that the body's type does not have.
    pub api_version: i16,
    /// What the response must repeat.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads a header; the body is left in the reader.
    ///
    /// # Errors
    /// [`DecodeError::UnknownApiKey`], or what is wrong with the bytes.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let key = i16::from_be_bytes(r.array()?);
        let api_version = i16::from_be_bytes(r.array()?);
        let correlation_id = i32::from_be_bytes(r.array()?);
        let client_id = r.string(CLASSIC)?;
        let api_key = ApiKey::from_i16(key).ok_or(DecodeError::UnknownApiKey(key))?;
        r.skip_tags(Version { number: api_version, flexible: api_key.is_flexible(api_version) })?;
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Appends the header.
    pub fn encode(&self, w: &mut Writer) {
        w.put(&self.api_key.code().to_be_bytes());
        w.put(&self.api_version.to_be_bytes());
        w.put(&self.correlation_id.to_be_bytes());
        w.put_string(self.client_id, CLASSIC);
        if self.api_key.is_flexible(self.api_version) {
            w.put_uvarint(0);
        }
    }
}

const CLASSIC: Version = Version { number: 1, flexible: false };

/// The header of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to a request of this key and version.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(r: &mut Reader<'_>, api_key: ApiKey, api_version: i16) -> Result<Self> {
        let correlation_id = i32::from_be_bytes(r.array()?);
        if api_key.response_header_version(api_version) > 0 {
            r.skip_tags(Version { number: api_version, flexible: true })?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends the header of a response to a request of this key and version.
    pub fn encode(&self, w: &mut Writer, api_key: ApiKey, api_version: i16) {
        w.put(&self.correlation_id.to_be_bytes());
        if api_key.response_header_version(api_version) > 0 {
            w.put_uvarint(0);
        }
    }
}

/// Appends a whole frame: prefix, header and body of a request.
pub fn encode_request<'a>(w: &mut Writer, header: &RequestHeader<'_>, body: &impl Message<'a>) {
    let start = begin(w);
    header.encode(w);
    body.encode(w, header.api_version);
    finish(w, start);
}

/// Appends a whole frame: prefix, header and body of the response to a request of this key and version.
pub fn encode_response<'a>(
    w: &mut Writer,
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    body: &impl Message<'a>,
) {
    let start = begin(w);
    ResponseHeader { correlation_id }.encode(w, api_key, api_version);
    body.encode(w, api_version);
    finish(w, start);
}

/// Leaves room for a length prefix; [`finish`] fills it in.
#[must_use = "finish needs it"]
pub fn begin(w: &mut Writer) -> usize {
    let start = w.len();
    w.put(&[0; PREFIX_LEN]);
    start
}

/// Fills in the length prefix of the frame that was begun at `start`: what was written since, and what external
/// records add.
///
/// # Panics
/// If the frame has 2 GiB or more; whoever answers a Fetch keeps far below that.
pub fn finish(w: &mut Writer, start: usize) {
    let written = w.len() - start - PREFIX_LEN;
    let external = w.splits().iter().filter(|split| split.position >= start).map(|split| u64::from(split.len));
    let length = u64::try_from(written).unwrap_or(u64::MAX).saturating_add(external.sum());
    let length = i32::try_from(length).expect("a frame of ours is below 2 GiB");
    w.patch(start, &length.to_be_bytes());
}
