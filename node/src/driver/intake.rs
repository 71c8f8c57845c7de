//! From a frame to an input, outside the lock.

use bytes::Bytes;
use ottla_core::ingress::{Malformed, Request};
use ottla_core::machine::{ConnId, Input};

/// Reads a frame's request header.
pub(crate) fn ingress(conn: ConnId, frame: Bytes) -> Input {
    let Some((head, _)) = frame.split_first_chunk::<8>() else {
        let why = format!("a frame of {} bytes has no request header", frame.len());
        return Input::Malformed { conn, why: Box::new(Malformed { why }) };
    };
    let [a, b, c, d, e, f, g, h] = *head;
    let request = Request {
        api_key: i16::from_be_bytes([a, b]),
        api_version: i16::from_be_bytes([c, d]),
        correlation_id: i32::from_be_bytes([e, f, g, h]),
        body: 8,
        frame,
    };
    Input::Frame { conn, request }
}
