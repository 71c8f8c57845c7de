//! The body of any request: what is read can be written, and is then read alike.
//!
//! The first two bytes choose the API and the version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_wire::api::Request;
use ottla_wire::{ApiKey, Limits, Reader, Writer};

fuzz_target!(|input: &[u8]| {
    let [key, version, body @ ..] = input else { return };
    let Some(key) = ApiKey::from_i16(i16::from(*key)) else { return };
    let version = i16::from(*version);
    let Ok(read) = Request::decode(&mut Reader::new(body), key, version) else { return };
    let mut w = Writer::new();
    read.encode(&mut w, version);
    // What is written can be shorter, without unknown tags, and then has tighter limits.
    let mut r = Reader::with_limits(w.as_bytes(), Limits::request(body.len()));
    assert_eq!(Request::decode(&mut r, key, version).as_ref(), Ok(&read));
    assert_eq!(r.remaining(), 0);
});
