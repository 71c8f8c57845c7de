//! Input from someone who means harm, or from a broken peer: everything is refused or read, nothing panics.

use crate::api::fetch::FetchRequest;
use crate::api::produce::ProduceRequest;
use crate::api::{Request, Response};
use crate::arbitrary::Entropy;
use crate::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use crate::group::GroupRecord;
use crate::metadata::MetadataRecord;
use crate::tests::{GENEROUS, versions};
use crate::{ApiKey, DecodeError, Limits, Reader, Writer, frame};
use proptest::prelude::*;

/// Every decoder of this crate on the same bytes.
fn decode_all(bytes: &[u8]) {
    for (key, version) in versions() {
        let _ = Request::decode(&mut Reader::new(bytes), key, version);
        let _ = Response::decode(&mut Reader::with_limits(bytes, Limits::response(bytes.len())), key, version);
        let _ = ProduceRequest::walk(&mut Reader::new(bytes), version, |_, _| ());
        let _ = FetchRequest::walk(&mut Reader::new(bytes), version, |_, _| (), |_, _| ());
    }
    let _ = crate::api::decode_request(bytes);
    let _ = MetadataRecord::decode(bytes);
    let _ = ConsumerProtocolSubscription::decode_versioned(bytes);
    let _ = ConsumerProtocolAssignment::decode_versioned(bytes);
    for (kind, versions) in GroupRecord::TYPES {
        for version in versions.clone() {
            let [key, value] = [*kind, version].map(|prefix| [&prefix.to_be_bytes(), bytes].concat());
            let _ = GroupRecord::decode(&key, Some(&value));
        }
    }
    let (key, value) = bytes.split_at(bytes.len() / 2);
    let _ = GroupRecord::decode(key, Some(value));
}

/// Bytes that look like lengths, tags and numbers more often than chance has it.
fn wire_like() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    prop::collection::vec(byte, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(bytes in wire_like()) {
        decode_all(&bytes);
    }

    #[test]
    fn no_damage_panics(entropy in prop::collection::vec(any::<u8>(), 0..512), at in any::<u16>(), to in any::<u8>()) {
        for (key, version) in versions() {
            let mut w = Writer::new();
            Request::arbitrary(key, version, &mut Entropy::new(&entropy)).encode(&mut w, version);
            let mut bytes = w.into_bytes();
            if !bytes.is_empty() {
                let at = usize::from(at) % bytes.len();
                bytes[at] = to;
            }
            let _ = Request::decode(&mut Reader::new(&bytes), key, version);
        }
    }
}

proptest! {
    // Each case decodes some hundred thousand cuts.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_cut_is_refused(entropy in prop::collection::vec(any::<u8>(), 0..256)) {
        for (key, version) in versions() {
            let mut w = Writer::new();
            Request::arbitrary(key, version, &mut Entropy::new(&entropy)).encode(&mut w, version);
            for cut in 0..w.len() {
                let mut r = Reader::with_limits(&w.as_bytes()[..cut], GENEROUS);
                prop_assert!(Request::decode(&mut r, key, version).is_err(), "{} {} {}", key, version, cut);
            }
            w.clear();
            Response::arbitrary(key, version, &mut Entropy::new(&entropy)).encode(&mut w, version);
            for cut in 0..w.len() {
                let mut r = Reader::with_limits(&w.as_bytes()[..cut], GENEROUS);
                prop_assert!(Response::decode(&mut r, key, version).is_err(), "{} {} {}", key, version, cut);
            }
        }
    }
}

#[test]
fn wrong_versions_are_refused() {
    for key in ApiKey::ALL {
        for version in [i16::MIN, -1, 0, 1, 50, i16::MAX] {
            let read = Request::decode(&mut Reader::new(&[0; 100]), *key, version);
            match key.implemented_versions() {
                None => assert_eq!(read, Err(DecodeError::UnknownApiKey(key.code()))),
                Some(versions) if versions.contains(&version) => {}
                Some(_) => assert_eq!(read, Err(DecodeError::UnsupportedVersion(version))),
            }
        }
    }
    assert_eq!(MetadataRecord::decode(&[2, 2, 0]), Err(DecodeError::UnknownFrameVersion(2)));
    assert_eq!(MetadataRecord::decode(&[1, 6, 0]), Err(DecodeError::UnknownRecordType(6)));
    assert_eq!(MetadataRecord::decode(&[1, 2, 1]), Err(DecodeError::UnsupportedVersion(1)));
    assert_eq!(GroupRecord::decode(&[0, 9], None), Err(DecodeError::UnknownGroupRecordType(9)));
    assert_eq!(GroupRecord::decode(&[0, 2, 0, 0], Some(&[0, 5])), Err(DecodeError::UnsupportedVersion(5)));
    assert!(GroupRecord::decode(&[0], None).is_err());
    assert!(GroupRecord::decode(&[0, 2, 0, 0], Some(&[0])).is_err());
}

#[test]
fn lengths_are_compared_with_what_is_left() {
    // Two names of 32 KiB at most are claimed by each; the array by its least size.
    let huge = [0x7f, 0xff, 0xff, 0xff, 0, 0];
    let read = Request::decode(&mut Reader::new(&huge), ApiKey::DeleteTopics, 1);
    assert_eq!(read, Err(DecodeError::Truncated { needed: 0x7fff_ffff, left: 2 }));
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let read = Request::decode(&mut Reader::new(&huge), ApiKey::DeleteTopics, 4);
    assert_eq!(read, Err(DecodeError::Truncated { needed: 0xffff_fffe, left: 2 }));
    let endless = [0xff; 20];
    let read = Request::decode(&mut Reader::new(&endless), ApiKey::DeleteTopics, 4);
    assert_eq!(read, Err(DecodeError::VarintTooLong));
    let negative = [0x80, 0, 0, 0];
    let read = Request::decode(&mut Reader::new(&negative), ApiKey::DeleteTopics, 1);
    assert_eq!(read, Err(DecodeError::NegativeLength(i32::MIN)));
}

#[test]
fn bombs_are_refused_before_they_are_built() {
    const NAMES: usize = 100 << 20;
    // A hundred million empty names, of one byte each.
    let mut w = Writer::new();
    w.put_uvarint(u32::try_from(NAMES).unwrap() + 1);
    let mut bytes = w.into_bytes();
    bytes.resize(bytes.len() + NAMES + 16, 1);
    let mut r = Reader::new(&bytes);
    assert_eq!(Request::decode(&mut r, ApiKey::DeleteTopics, 4), Err(DecodeError::TooManyElements));
    assert_eq!(r.limits(), Limits::request(bytes.len()));

    // Few enough, but sixteen times as large in memory as on the wire.
    let mut w = Writer::new();
    w.put_uvarint(90_000 + 1);
    let mut bytes = w.into_bytes();
    bytes.resize(bytes.len() + 90_000 + 16, 1);
    let read = Request::decode(&mut Reader::new(&bytes), ApiKey::DeleteTopics, 4);
    assert_eq!(read, Err(DecodeError::TooMuchMemory));
}

#[test]
fn headers_of_any_key_are_read_or_refused() {
    let mut r = Reader::new(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(frame::RequestHeader::decode(&mut r), Err(DecodeError::UnknownApiKey(0x7fff)));
    // A version from the future still has a correlation id to answer with (KIP-511).
    let mut r = Reader::new(&[0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0]);
    let header = frame::RequestHeader::decode(&mut r).unwrap();
    assert_eq!((header.api_version, header.correlation_id, header.client_id), (99, 1, None));
}
