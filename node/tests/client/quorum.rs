//! Who votes and who is registered, in a cluster of three that loses a node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ottla_tests::dev;
use ottla_wire::api::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use ottla_wire::frame::{RequestHeader, ResponseHeader, encode_request};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader, Writer};
use serde_json::Value;

use crate::commands::{fails, ottla, succeeds};

/// How long a cluster may take for what it does by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks again until it is so.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Who leads, and the ids of all voters.
fn voters(described: &Value) -> (i64, Vec<i64>) {
    let members = described["members"].as_array().expect("a list").iter();
    let voters = members.filter(|it| it["part"] != "observer").filter_map(|it| it["id"].as_i64());
    (described["leader"].as_i64().expect("a number"), voters.collect())
}

/// What `ottla quorum describe` says when `is_so`.
#[track_caller]
fn described(brokers: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let output = ottla(brokers, &["quorum", "describe", "-o", "json"], b"");
        serde_json::from_slice(&output.stdout).ok().filter(|it| output.status.success() && is_so(it))
    })
}

/// Has a node forget a broker: the error, and the sentence that explains it.
fn unregister(node: SocketAddr, broker_id: i32) -> (ErrorCode, Option<String>) {
    let mut frame = Writer::new();
    let (api_key, api_version) = (ApiKey::UnregisterBroker, 0);
    let header = RequestHeader { api_key, api_version, correlation_id: 1, client_id: Some("test") };
    encode_request(&mut frame, &header, &UnregisterBrokerRequest { broker_id });
    let mut stream = TcpStream::connect(node).expect("it accepts");
    stream.write_all(frame.as_bytes()).expect("it reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it answers");
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("it fits")];
    stream.read_exact(&mut answer).expect("it answers");
    let mut reader = Reader::new(&answer);
    ResponseHeader::decode(&mut reader, api_key, api_version).expect("a header");
    let answer = UnregisterBrokerResponse::decode(&mut reader, api_version).expect("an answer");
    (answer.error_code, answer.error_message.map(str::to_owned))
}

#[test]
fn a_node_that_is_gone_loses_its_vote_and_its_registration() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cluster = dev::Cluster::start(env!("CARGO_BIN_EXE_ottla"), dir.path(), 3);
    let brokers = cluster.bootstrap();
    let whole = described(&brokers, "three voters", |it| voters(it).1 == [1, 2, 3]);
    let text = succeeds(&brokers, &["quorum", "describe"], b"");
    assert!(text.contains("LEADER") && text.contains("LOG END") && text.matches(" voter ").count() == 2, "{text}");
    fails(&brokers, &["quorum", "remove-voter", "9"], 1, &["node 9 is no voter; voters are 1, 2, 3"]);
    let other = "AAAAAAAAAAAAAAAAAAAAAQ";
    let wrong = ["quorum", "remove-voter", "1", "--directory", other];
    fails(&brokers, &wrong, 1, &["VOTER_NOT_FOUND", "no voter has that node id and directory id"]);

    let (gone, _) = voters(&whole);
    let id = i32::try_from(gone).expect("small");
    let left = usize::try_from(gone % 3).expect("small");
    let refused = unregister(cluster.addresses[left], id);
    assert_eq!(refused, (ErrorCode::INVALID_REQUEST, Some(format!("broker {id} is in service: stop it first"))));

    cluster.kill(usize::try_from(gone).expect("small"));
    let known = |it: &Value| it["members"].as_array().expect("a list").iter().find(|it| it["id"] == gone).cloned();
    let after = described(&brokers, "another leader", |it| voters(it).0 != gone && known(it).is_some());
    // Whoever leads now has not heard of it.
    assert_eq!(known(&after).expect("it is there")["log_end"], -1, "{after}");
    let text = succeeds(&brokers, &["quorum", "describe"], b"");
    let row = text.lines().find(|line| line.starts_with(&format!("{gone} "))).expect("it is there");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..5], ["voter", "-", "-", "-"], "{text}");

    let text = succeeds(&brokers, &["quorum", "remove-voter", &gone.to_string()], b"");
    assert!(text.starts_with(&format!("node {gone} with directory ")), "{text}");
    let after = described(&brokers, "two voters", |it| voters(it).1.len() == 2);
    assert!(!voters(&after).1.contains(&gone), "{after}");
    until("it is fenced, and forgotten", || {
        let (error, why) = unregister(cluster.addresses[left], id);
        assert!([ErrorCode::NONE, ErrorCode::INVALID_REQUEST].contains(&error), "{error} {why:?}");
        (error == ErrorCode::NONE).then_some(())
    });
    assert_eq!(unregister(cluster.addresses[left], id).0, ErrorCode::BROKER_ID_NOT_REGISTERED);
}
