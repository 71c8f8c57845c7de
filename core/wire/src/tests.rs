//! Every message in every version: what is written is read again.

use crate::api::{Request, Response};
use crate::arbitrary::Entropy;
use crate::frame::{self, RequestHeader, ResponseHeader};
use crate::{ApiKey, DecodeError, Limits, Reader, Writer};
use proptest::prelude::*;

/// Every implemented API with every version.
pub(crate) fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    let implemented = ApiKey::ALL
        .iter()
        .filter_map(|key| Some((*key, key.implemented_versions()?)));
    implemented.flat_map(|(key, versions)| versions.map(move |version| (key, version)))
}

/// Far more than an arbitrary message needs.
pub(crate) const GENEROUS: Limits = Limits {
    memory: 1 << 30,
    elements: 1 << 30,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read(entropy in prop::collection::vec(any::<u8>(), 0..4096)) {
        for (key, version) in versions() {
            let mut w = Writer::new();
            let request = Request::arbitrary(key, version, &mut Entropy::new(&entropy));
            request.encode(&mut w, version);
            let mut r = Reader::with_limits(w.as_bytes(), GENEROUS);
            prop_assert_eq!(Request::decode(&mut r, key, version), Ok(request), "{} {}", key, version);
            prop_assert_eq!(r.remaining(), 0);

            w.clear();
            let response = Response::arbitrary(key, version, &mut Entropy::new(&entropy));
            response.encode(&mut w, version);
            let mut r = Reader::with_limits(w.as_bytes(), GENEROUS);
            prop_assert_eq!(Response::decode(&mut r, key, version), Ok(response), "{} {}", key, version);
            prop_assert_eq!(r.remaining(), 0);
        }
    }
}

#[test]
fn implemented_versions_hold_the_stable_ones() {
    for key in ApiKey::ALL {
        let Some(implemented) = key.implemented_versions() else {
            continue;
        };
        assert_eq!(implemented.start(), key.versions().start(), "{key}");
        assert!(implemented.end() >= key.versions().end(), "{key}");
    }
}

#[test]
fn a_frame_is_prefix_header_and_body() {
    let header = RequestHeader {
        api_key: ApiKey::ApiVersions,
        api_version: 3,
        correlation_id: 7,
        client_id: Some("c"),
    };
    let body = crate::api::api_versions::ApiVersionsRequest {
        client_software_name: "n",
        client_software_version: "v",
    };
    let mut w = Writer::new();
    frame::encode_request(&mut w, &header, &body);
    let bytes = w.into_bytes();
    assert_eq!(
        bytes,
        b"\0\0\0\x11\0\x12\0\x03\0\0\0\x07\0\x01c\0\x02n\x02v\0"
    );
    let prefix = bytes[..4].try_into().unwrap();
    assert_eq!(frame::frame_len(prefix, 17), Ok(17));
    assert_eq!(
        frame::frame_len(prefix, 16),
        Err(DecodeError::FrameTooLarge {
            length: 17,
            max: 16
        })
    );
    assert_eq!(
        frame::frame_len([255; 4], 16),
        Err(DecodeError::NegativeLength(-1))
    );
    assert_eq!(
        crate::api::decode_request(&bytes[4..]),
        Ok((header, body.into()))
    );
}

#[test]
fn only_api_versions_answers_without_tagged_fields() {
    let mut w = Writer::new();
    ResponseHeader { correlation_id: 7 }.encode(&mut w, ApiKey::ApiVersions, 4);
    assert_eq!(w.as_bytes(), [0, 0, 0, 7]);
    w.clear();
    ResponseHeader { correlation_id: 7 }.encode(&mut w, ApiKey::Metadata, 9);
    assert_eq!(w.as_bytes(), [0, 0, 0, 7, 0]);
    let header = ResponseHeader::decode(&mut Reader::new(w.as_bytes()), ApiKey::Metadata, 9);
    assert_eq!(header, Ok(ResponseHeader { correlation_id: 7 }));
}
