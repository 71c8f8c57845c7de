//! Every message in every version: what is written is read again.

use crate::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::api::produce::{PartitionProduceData, ProduceRequest};
use crate::api::{Request, Response, TopicRef};
use crate::arbitrary::Entropy;
use crate::frame::{self, RequestHeader, ResponseHeader};
use crate::group::GroupRecord;
use crate::metadata::MetadataRecord;
use crate::{ApiKey, DecodeError, Limits, Message, Reader, Records, Writer};
use proptest::prelude::*;

/// Every implemented API with every version.
pub(crate) fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    let implemented = ApiKey::ALL.iter().filter_map(|key| Some((*key, key.implemented_versions()?)));
    implemented.flat_map(|(key, versions)| versions.map(move |version| (key, version)))
}

/// Far more than an arbitrary message needs.
pub(crate) const GENEROUS: Limits = Limits { memory: 1 << 30, elements: 1 << 30 };

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
    let header =
        RequestHeader { api_key: ApiKey::ApiVersions, api_version: 3, correlation_id: 7, client_id: Some("c") };
    let body = crate::api::api_versions::ApiVersionsRequest { client_software_name: "n", client_software_version: "v" };
    let mut w = Writer::new();
    frame::encode_request(&mut w, &header, &body);
    let bytes = w.into_bytes();
    assert_eq!(bytes, b"\0\0\0\x11\0\x12\0\x03\0\0\0\x07\0\x01c\0\x02n\x02v\0");
    let prefix = bytes[..4].try_into().unwrap();
    assert_eq!(frame::frame_len(prefix, 17), Ok(17));
    assert_eq!(frame::frame_len(prefix, 16), Err(DecodeError::FrameTooLarge { length: 17, max: 16 }));
    assert_eq!(frame::frame_len([255; 4], 16), Err(DecodeError::NegativeLength(-1)));
    assert_eq!(crate::api::decode_request(&bytes[4..]), Ok((header, body.into())));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn walks_see_what_decoding_sees(
        entropy in prop::collection::vec(any::<u8>(), 0..2048),
        flip in any::<(u16, u8)>(),
    ) {
        for (key, version) in versions().filter(|(key, _)| [ApiKey::Produce, ApiKey::Fetch].contains(key)) {
            let mut w = Writer::new();
            Request::arbitrary(key, version, &mut Entropy::new(&entropy)).encode(&mut w, version);
            let mut bytes = w.into_bytes();
            compare_walk(&bytes, key, version)?;
            // A damaged request: either both refuse it or both see the same.
            let at = usize::from(flip.0) % bytes.len();
            bytes[at] ^= flip.1;
            compare_walk(&bytes, key, version)?;
        }
    }

    #[test]
    fn metadata_records_are_read_as_written(entropy in prop::collection::vec(any::<u8>(), 0..1024)) {
        for (kind, versions) in MetadataRecord::TYPES {
            for version in versions.clone() {
                let record = MetadataRecord::arbitrary(*kind, version, &mut Entropy::new(&entropy));
                let mut w = Writer::new();
                record.encode(&mut w, version);
                prop_assert_eq!(MetadataRecord::decode(w.as_bytes()), Ok(record));
                w.put(&[0]);
                prop_assert_eq!(MetadataRecord::decode(w.as_bytes()), Err(DecodeError::TrailingBytes(1)));
            }
        }
    }
}

proptest! {
    #[test]
    fn group_records_are_read_as_written(entropy in prop::collection::vec(any::<u8>(), 0..1024)) {
        for (kind, versions) in GroupRecord::TYPES {
            for version in versions.clone() {
                let record = GroupRecord::arbitrary(*kind, version, &mut Entropy::new(&entropy));
                let (mut key, mut value) = (Writer::new(), Writer::new());
                record.encode_key(&mut key);
                let has_value = record.encode_value(&mut value, version);
                let written = has_value.then_some(value.as_bytes());
                prop_assert_eq!(GroupRecord::decode(key.as_bytes(), written), Ok(record));
                let longer = [value.as_bytes(), &[0]].concat();
                if has_value {
                    let read = GroupRecord::decode(key.as_bytes(), Some(&longer));
                    prop_assert_eq!(read, Err(DecodeError::TrailingBytes(1)));
                }
                key.put(&[0]);
                prop_assert_eq!(GroupRecord::decode(key.as_bytes(), written), Err(DecodeError::TrailingBytes(1)));
            }
        }
    }
}

fn compare_walk(bytes: &[u8], key: ApiKey, version: i16) -> std::result::Result<(), TestCaseError> {
    let mut decoding = Reader::with_limits(bytes, GENEROUS);
    let mut walking = decoding.clone();
    let (decoded, walked) = match (key, Request::decode(&mut decoding, key, version)) {
        (_, Err(error)) => (Err(error), walk(&mut walking, key, version)),
        (_, Ok(request)) => (Ok(flatten(request, version >= 13)), walk(&mut walking, key, version)),
    };
    match (decoded, walked) {
        (Err(_), Err(_)) => {}
        (decoded, walked) => {
            prop_assert_eq!(decoded, walked, "{} {}", key, version);
            prop_assert_eq!(decoding.remaining(), walking.remaining());
        }
    }
    Ok(())
}

/// What a walk yields, collected: the message without its arrays, and what was in them.
#[derive(Debug, PartialEq)]
struct Walked<'a> {
    head: Request<'a>,
    produced: Vec<(TopicRef<'a>, PartitionProduceData<'a>)>,
    fetched: Vec<(TopicRef<'a>, FetchPartition)>,
    forgotten: Vec<(TopicRef<'a>, i32)>,
}

fn walk<'a>(r: &mut Reader<'a>, key: ApiKey, version: i16) -> crate::Result<Walked<'a>> {
    let (mut produced, mut fetched, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
    let head = if key == ApiKey::Fetch {
        let fetch = |topic, partition| fetched.push((topic, partition));
        let forget = |topic, partition| forgotten.push((topic, partition));
        FetchRequest::walk(r, version, fetch, forget)?.into()
    } else {
        ProduceRequest::walk(r, version, |topic, partition| produced.push((topic, partition)))?.into()
    };
    Ok(Walked { head, produced, fetched, forgotten })
}

/// What decoding gives, in the form of a walk.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these two have walks")]
fn flatten(request: Request<'_>, by_id: bool) -> Walked<'_> {
    let topic_ref = |name, id| if by_id { TopicRef::Id(id) } else { TopicRef::Name(name) };
    let (mut produced, mut fetched, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
    let head = match request {
        Request::Produce(mut request) => {
            for topic in std::mem::take(&mut request.topic_data) {
                let name = topic_ref(topic.name, topic.topic_id);
                produced.extend(topic.partition_data.into_iter().map(|partition| (name, partition)));
            }
            request.into()
        }
        Request::Fetch(mut request) => {
            for topic in std::mem::take(&mut request.topics) {
                let name = topic_ref(topic.topic, topic.topic_id);
                fetched.extend(topic.partitions.into_iter().map(|partition| (name, partition)));
            }
            for topic in std::mem::take(&mut request.forgotten_topics_data) {
                let name = topic_ref(topic.topic, topic.topic_id);
                forgotten.extend(topic.partitions.into_iter().map(|partition| (name, partition)));
            }
            request.into()
        }
        other => panic!("{other:?} cannot be walked"),
    };
    Walked { head, produced, fetched, forgotten }
}

#[test]
fn external_records_leave_places_for_file_ranges() {
    let (first, second) = ([1; 300], [2; 5]);
    let partition = |records| PartitionData { records: Some(records), ..Default::default() };
    let response = |first, second| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t",
            partitions: vec![partition(first), partition(second)],
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in FetchResponse::VERSIONS {
        let (mut whole, mut parts) = (Writer::new(), Writer::new());
        let plain = response(Records::Slice(&first), Records::Slice(&second));
        frame::encode_response(&mut whole, ApiKey::Fetch, version, 9, &plain);
        let external = response(Records::External { len: 300 }, Records::External { len: 5 });
        frame::encode_response(&mut parts, ApiKey::Fetch, version, 9, &external);

        let (bytes, splits) = parts.into_parts();
        assert_eq!(splits.iter().map(|split| split.len).collect::<Vec<_>>(), [300, 5]);
        let mut sent = bytes[..splits[0].position].to_vec();
        sent.extend(first);
        sent.extend(&bytes[splits[0].position..splits[1].position]);
        sent.extend(second);
        sent.extend(&bytes[splits[1].position..]);
        assert_eq!(sent, whole.into_bytes(), "version {version}");
    }
}

#[test]
fn a_null_that_a_version_lacks_is_refused_and_never_written() {
    let all = crate::api::metadata::MetadataRequest { topics: None, ..Default::default() };
    let mut w = Writer::new();
    all.encode(&mut w, 0);
    assert_eq!(w.as_bytes(), [0, 0, 0, 0]);
    let read = Request::decode(&mut Reader::new(&[255; 4]), ApiKey::Metadata, 0);
    assert_eq!(read, Err(DecodeError::UnexpectedNull));
    let read = Request::decode(&mut Reader::new(&[255; 4]), ApiKey::Metadata, 1);
    assert!(matches!(read, Ok(Request::Metadata(request)) if request.topics.is_none()));
}
