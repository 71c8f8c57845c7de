//! Before the machine: reads a whole frame, outside of any lock.
//!
//! A pure function that node and simulator call alike. It reads the request header, and looks once at every
//! record of every produced batch ([`crate::record`]); the machine then applies policy to the facts.

use std::fmt;

use bytes::Bytes;

/// A request that can be answered: its header is read, its body is not.
#[derive(Clone, Debug)]
pub struct Request {
    /// The whole frame, without its length.
    pub frame: Bytes,
    /// Which API, as the number on the wire.
    pub api_key: i16,
    /// Which version of it.
    pub api_version: i16,
    /// What the client matches the answer by.
    pub correlation_id: i32,
    /// Where in `frame` the body starts.
    pub body: u32,
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A clause for the log: "Fetch v12: a string of 70000 bytes in a frame of 90".
    pub why: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{} id={} {} B", self.api_key, self.api_version, self.correlation_id, self.frame.len())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
