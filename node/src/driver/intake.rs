//! From a frame to an input, outside the lock.

use bytes::Bytes;
use ottla_core::machine::{ConnId, Input};

/// Reads a frame; at most `inflated_limit` bytes of a produced batch are inflated to look at its records.
pub(crate) fn ingress(conn: ConnId, frame: Bytes, inflated_limit: u64) -> Input {
    match ottla_core::ingress::ingress(frame, inflated_limit) {
        Ok(request) => Input::Frame { conn, request },
        Err(why) => Input::Malformed { conn, why: Box::new(why) },
    }
}
