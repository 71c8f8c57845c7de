//! Hostile bytes against the real binary: what they cost is their own connection, and nothing else.
//!
//! After each of them another client is answered. Plain sockets and bytes made by hand, so that nothing here shares a
//! mistake with the codec it is held against.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ottla_tests::dev;
use ottla_tests::probe::Connection;
use ottla_tests::records::Random;

/// Every API key that a client could try, and some that nobody has.
const KEYS: std::ops::RangeInclusive<i16> = 0..=96;
const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DESCRIBE_CONFIGS: i16 = 32;
const UNSUPPORTED_VERSION: i16 = 35;
/// What the process may grow by in all of this: a length off the wire must never be allocated.
const GROWTH_KIB: u64 = 96 << 10;

/// A running `ottla dev` with an orderly client that is there all the time.
struct Broker {
    process: dev::Broker,
    orderly: Connection,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        Self::start_as(|_| env!("CARGO_BIN_EXE_ottla").to_owned())
    }

    /// With so many descriptors.
    fn start_with_open_files(limit: u32) -> Self {
        Self::start_as(|dir| {
            let script = dir.join("limited");
            let text = format!("#!/bin/sh\nulimit -n {limit}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_ottla"));
            std::fs::write(&script, text).expect("it can be written");
            std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("it is ours");
            script.to_str().expect("it is UTF-8").to_owned()
        })
    }

    /// The program is made, or found, with a directory at hand.
    fn start_as(program: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let process = dev::Broker::start(&program(dir.path()), &dir.path().join("data"));
        let orderly = connect(process.address);
        let mut broker = Self { process, orderly, _dir: dir };
        broker.must_be_well("nothing yet");
        broker
    }

    fn connect(&self) -> Connection {
        connect(self.process.address)
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.process.address).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        stream
    }

    /// Sends bytes and no more on a connection of its own, and reads until it ends; gives what came.
    fn send_alone(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        // It may close before it has taken everything.
        if stream.write_all(bytes).is_ok() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert!(is_cut(&error), "{error}: the connection was left open"),
        }
        answer
    }

    /// The client that was there before, and a new one, are answered.
    #[track_caller]
    fn must_be_well(&mut self, after: &str) {
        assert!(self.process.is_running(), "it ended after {after}");
        let no_topics = 0_i32.to_be_bytes();
        let old = self.orderly.call(METADATA, 1, &no_topics);
        assert_eq!(brokers(&old.unwrap_or_else(|error| panic!("{error} after {after}"))), 1, "after {after}");
        let new = self.connect().call(METADATA, 1, &no_topics);
        assert_eq!(brokers(&new.unwrap_or_else(|error| panic!("{error} after {after}"))), 1, "after {after}");
    }

    fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.pid().as_raw_nonzero())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address, Duration::from_secs(20)).expect("it accepts")
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn brokers(metadata: &[u8]) -> i32 {
    i32::from_be_bytes(metadata[..4].try_into().expect("four bytes"))
}

/// A frame with a header of version 1 and this body.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(77_i32.to_be_bytes());
    frame.extend((-1_i16).to_be_bytes());
    frame.extend(body);
    let length = u32::try_from(frame.len() - 4).expect("small");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[test]
fn lengths_that_lie() {
    let mut broker = Broker::start();
    let before = broker.resident_kib();
    for length in [0, 1, 3, 4, 7, 9, 104_857_601, i32::MAX - 1, i32::MAX, -1, i32::MIN] {
        let mut bytes = length.to_be_bytes().to_vec();
        broker.send_alone(&bytes);
        bytes.extend([0, 3, 0, 1, 0, 0, 0, 1]);
        broker.send_alone(&bytes);
        broker.must_be_well(&format!("a frame of {length} bytes"));
    }
    let grown = broker.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
}

/// Lengths and counts inside of a frame, at every place of a few plausible bodies.
#[test]
fn counts_that_lie() {
    let mut broker = Broker::start();
    let before = broker.resident_kib();
    for key in [0_i16, 1, 2, 3, 19, 20, 22, 32] {
        for version in [1, 3, 4, 9, 12] {
            for huge in [i32::MAX, i32::MIN, -1, 0x00ff_ffff] {
                for place in [0, 2, 6, 10] {
                    let mut body = vec![0; place];
                    body.extend(huge.to_be_bytes());
                    body.extend([0xff; 20]);
                    broker.send_alone(&frame(key, version, &body));
                }
            }
        }
        broker.must_be_well(&format!("counts in API {key}"));
    }
    let grown = broker.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
}

#[test]
fn frames_cut_at_every_byte() {
    let mut broker = Broker::start();
    let whole = frame(METADATA, 1, &[0, 0, 0, 1, 0, 3, b'a', b'b', b'c']);
    for length in 1..whole.len() {
        broker.send_alone(&whole[..length]);
    }
    // A frame that is whole by its length, but whose body is cut.
    for length in 8..whole.len() - 4 {
        let mut cut = whole[..4 + length].to_vec();
        cut[..4].copy_from_slice(&u32::try_from(length).expect("small").to_be_bytes());
        broker.send_alone(&cut);
    }
    broker.must_be_well("cut frames");
}

#[test]
fn every_key_in_versions_that_nobody_speaks() {
    let mut broker = Broker::start();
    for key in KEYS.chain([-1, 127, 1000, i16::MAX, i16::MIN]) {
        for version in [-1, 30, 99, i16::MAX, i16::MIN] {
            broker.send_alone(&frame(key, version, &[0; 12]));
        }
        broker.must_be_well(&format!("API {key}"));
    }
}

/// KIP-511: a version of ApiVersions that is too new is answered in version 0, with what there is.
#[test]
fn a_client_from_the_future_learns_our_versions() {
    let broker = Broker::start();
    let answer = broker.send_alone(&frame(API_VERSIONS, 99, &[0; 8]));
    let field = |at: usize| i16::from_be_bytes([answer[at], answer[at + 1]]);
    assert_eq!(answer[4..8], 77_i32.to_be_bytes());
    assert_eq!(field(8), UNSUPPORTED_VERSION);
    let count = usize::try_from(i32::from_be_bytes(answer[10..14].try_into().expect("four bytes"))).expect("a count");
    let keys: Vec<_> = (0..count).map(|index| (field(14 + 6 * index), field(18 + 6 * index))).collect();
    assert!(keys.iter().any(|(key, newest)| *key == API_VERSIONS && *newest >= 3), "{keys:?}");
}

/// Random bodies under right headers, in every key and version: whatever they decode to, the broker lives.
#[test]
fn random_bodies_in_every_api() {
    let mut broker = Broker::start();
    let mut random = Random::new(0x0771a);
    for key in KEYS {
        for version in 0..=13 {
            let mut stream = broker.stream();
            for _ in 0..3 {
                let length = usize::try_from(random.below(60)).expect("small");
                // Small numbers are more often plausible counts than great ones.
                let mask = [0xff, 0x03, 0x01][usize::try_from(random.below(3)).expect("small")];
                let body: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0] & mask).collect();
                if stream.write_all(&frame(key, version, &body)).is_err() {
                    break; // It was closed after an earlier one.
                }
            }
        }
        broker.must_be_well(&format!("random bodies in API {key}"));
    }
}

#[test]
fn other_protocols() {
    let mut broker = Broker::start();
    let greetings: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // the beginning of TLS
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f", // PostgreSQL asks for TLS
        b"*1\r\n$4\r\nPING\r\n",
        &[0; 4096],
    ];
    for greeting in greetings {
        broker.send_alone(greeting);
    }
    let mut random = Random::new(3);
    for _ in 0..200 {
        let garbage: Vec<u8> = (0..random.below(300)).map(|_| random.next().to_be_bytes()[0]).collect();
        broker.send_alone(&garbage);
    }
    broker.must_be_well("other protocols");
}

/// Many connections that send a byte now and then cost nobody else anything; and a slow request is answered in the end.
#[test]
fn a_slow_drip() {
    let mut broker = Broker::start();
    let request = frame(METADATA, 1, &0_i32.to_be_bytes());
    let mut drips: Vec<_> = (0..50).map(|_| broker.stream()).collect();
    for byte in &request {
        for drip in &mut drips {
            drip.write_all(&[*byte]).expect("it waits for the rest");
        }
        broker.must_be_well("a byte on fifty connections");
    }
    for mut drip in drips {
        let mut answer = [0; 16];
        drip.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer[4..8], 77_i32.to_be_bytes());
    }
}

/// A client that sends requests and never reads is stopped by back-pressure, not by memory.
#[test]
fn a_client_that_never_reads() {
    let mut broker = Broker::start();
    let before = broker.resident_kib();
    let mut stream = broker.stream();
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("it can be set");
    let request = frame(API_VERSIONS, 0, &[]).repeat(1_000);
    let mut taken = 0;
    while taken < 256 << 20 {
        match stream.write(&request) {
            Ok(count) => taken += count,
            Err(error) => {
                assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) || is_cut(&error));
                break;
            }
        }
    }
    assert!(taken < 256 << 20, "it took everything");
    broker.must_be_well("a client that never reads");
    let grown = broker.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
}

/// One read brings a thousand requests whose answers are a thousand times as large, and nobody takes those. When they
/// are taken at last, all come, in order.
#[test]
fn big_answers_to_small_requests() {
    const CLIENTS: usize = 4;
    const REQUESTS: u32 = 1_000;
    let mut broker = Broker::start();
    let before = broker.resident_kib();
    // All settings of node 1, with their synonyms and what they mean.
    let one = frame(DESCRIBE_CONFIGS, 3, &[0, 0, 0, 1, 4, 0, 1, b'1', 0xff, 0xff, 0xff, 0xff, 1, 1]);
    let numbered = |number: u32| [&one[..8], &number.to_be_bytes(), &one[12..]].concat();
    let requests: Vec<u8> = (0..REQUESTS).flat_map(numbered).collect();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| broker.stream()).collect();
    for stream in &mut streams {
        stream.write_all(&requests).expect("it is one read");
    }
    broker.must_be_well("big answers to small requests");
    let grown = broker.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
    let mut answer = Vec::new();
    for number in 0..REQUESTS {
        let mut length = [0; 4];
        streams[0].read_exact(&mut length).expect("it answers");
        answer.resize(usize::try_from(u32::from_be_bytes(length)).expect("it fits"), 0);
        streams[0].read_exact(&mut answer).expect("it answers");
        assert_eq!(answer[..4], number.to_be_bytes());
    }
    let all_kib = u64::from(REQUESTS) * u64::try_from(answer.len() * CLIENTS).expect("it fits") / 1024;
    assert!(all_kib > GROWTH_KIB, "{all_kib} KiB of answers prove nothing");
}

/// Sockets and files share the limit of open files: clients that only stay must leave enough for the logs.
#[test]
fn idle_connections_leave_descriptors_for_files() {
    const OPEN_FILES: u32 = 256;
    let mut broker = Broker::start_with_open_files(OPEN_FILES);
    // Those above the limit are refused, in the order in which they came.
    let mut idle: Vec<_> = (0..OPEN_FILES + 50).map(|_| broker.stream()).collect();
    assert_eq!(idle.last_mut().expect("there are some").read(&mut [0]).unwrap_or(0), 0, "it is refused");
    for number in 0..5_u8 {
        // One topic, of 3 partitions with 1 replica each.
        let name = [b't', b'0' + number];
        let mut body = [&1_i32.to_be_bytes()[..], &2_i16.to_be_bytes(), &name, &3_i32.to_be_bytes()].concat();
        body.extend([&1_i16.to_be_bytes()[..], &[0; 8], &10_000_i32.to_be_bytes(), &[0]].concat());
        let answer = broker.orderly.call(CREATE_TOPICS, 2, &body).expect("it answers");
        assert_eq!(answer[answer.len() - 4..], [0, 0, 0xff, 0xff], "no error, and no message: {answer:?}");
    }
    drop(idle);
    broker.must_be_well("idle connections");
}
