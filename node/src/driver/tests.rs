//! The driver and its connections, with a scripted stub in the machine's place.
//!
//! The stub's protocol: an ApiVersions request whose correlation id says what to do with it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_core::clock::{Instant, Now};
use ottla_core::ingress::Request;
use ottla_core::machine::{
    ConnId, DiskResult, Effect, Effects, FileAction, FileId, FileRange, Input, ListenerId, LogDirId, OpId, OpenMode,
    Opened, Path,
};
use ottla_core::record::{BatchBuilder, BatchOptions, Compression, NewRecord};
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::frame::{RequestHeader, encode_request};
use ottla_wire::{ApiKey, Records, Writer};

use super::{Brain, NodeOptions, Running};

const ECHO: i32 = 0;
/// Write the frame at the end of the file; answer when it is written.
const WRITE: i32 = 1;
/// The same, and sync it first.
const SYNC: i32 = 2;
/// Answer with the whole file.
const WHOLE_FILE: i32 = 3;
/// Answer, then close.
const BYE: i32 = 4;
/// Dial the address that the frame holds.
const DIAL: i32 = 5;
/// Answer after 30 ms.
const LATER: i32 = 6;
/// Answer, and take no more frames for 30 ms.
const PAUSE: i32 = 7;
/// Answer with the frame and [`BIG_BYTES`] more.
const BIG: i32 = 8;

/// Handle nothing more before the test says so.
const HOLD: i32 = 9;
/// Take it, and give no answer.
const TAKE: i32 = 10;

const BIG_BYTES: usize = 1 << 20;

/// The bytes of a request header.
const HEAD: usize = 10;
const FILE: FileId = FileId(1);
const LONG: Duration = Duration::from_secs(20);

/// What the stub tells the test.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Opened(ConnId),
    Closed(ConnId),
    Drained(ConnId),
    Malformed,
    Big,
    Dialled(Result<(), String>),
    Answer(usize),
}

struct Stub {
    seen: Sender<Seen>,
    released: Receiver<()>,
    booted: bool,
    now: Now,
    ops: u64,
    end: u32,
    waiting: HashMap<OpId, (ConnId, Bytes, bool)>,
    later: Vec<(Instant, Effect)>,
}

impl Stub {
    fn new() -> (Box<Self>, Receiver<Seen>, Sender<()>) {
        let (seen, watch) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let stub = Self {
            seen,
            released,
            booted: false,
            now: Now::default(),
            ops: 0,
            end: 0,
            waiting: HashMap::new(),
            later: Vec::new(),
        };
        (Box::new(stub), watch, release)
    }

    fn op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }

    fn tell(&self, what: Seen) {
        // A test that has seen enough has gone.
        let _ = self.seen.send(what);
    }

    fn on_timeout(&mut self, out: &mut Effects) {
        if !self.booted {
            self.booted = true;
            let op = self.op();
            let path = Path::new(LogDirId(0), "file");
            let action = FileAction::Open { file: FILE, path, mode: OpenMode::Create };
            out.push(Effect::File { op, action: Box::new(action) });
            return;
        }
        let next = self.next_deadline().expect("a Timeout comes only where there is a deadline");
        assert!(self.now.monotonic >= next, "a Timeout must not come early");
        let now = self.now.monotonic;
        for (_, effect) in self.later.extract_if(.., |(at, _)| *at <= now) {
            out.push(effect);
        }
    }

    fn on_frame(&mut self, conn: ConnId, request: Request, out: &mut Effects) {
        let soon = self.now.monotonic + Duration::from_millis(30);
        let frame = request.frame;
        match request.head.correlation_id {
            ECHO => reply(conn, frame, out),
            WRITE | SYNC => self.write(conn, frame, request.head.correlation_id == SYNC, out),
            WHOLE_FILE => self.whole_file(conn, out),
            BYE => {
                reply(conn, frame, out);
                out.push(Effect::Close { conn });
            }
            DIAL => out.push(Effect::Connect {
                token: 7,
                address: std::str::from_utf8(&frame[HEAD..]).expect("an address").into(),
            }),
            LATER => self.later.push((soon, answer(conn, &frame))),
            PAUSE => {
                reply(conn, frame, out);
                out.push(Effect::PauseReading { conn });
                self.later.push((soon, Effect::ResumeReading { conn }));
            }
            BIG => {
                self.tell(Seen::Big);
                out.push(answer(conn, &[&frame[..], &[0; BIG_BYTES]].concat()));
            }
            HOLD => self.released.recv().expect("the test says so"),
            TAKE => out.push(Effect::Done { conn }),
            other => panic!("the test sent {other}"),
        }
    }

    fn write(&mut self, conn: ConnId, frame: Bytes, sync: bool, out: &mut Effects) {
        let op = self.op();
        out.push(Effect::Write { op, file: FILE, pos: u64::from(self.end), bytes: frame.clone() });
        self.end += u32::try_from(frame.len()).expect("small");
        self.waiting.insert(op, (conn, frame, sync));
    }

    fn whole_file(&mut self, conn: ConnId, out: &mut Effects) {
        out.push(Effect::Send { conn, bytes: Bytes::copy_from_slice(&self.end.to_be_bytes()), last: false });
        let range = FileRange { file: FILE, pos: 0, len: self.end };
        out.push(Effect::SendRange { conn, range, last: true });
    }

    fn on_disk(&mut self, op: OpId, result: &DiskResult, out: &mut Effects) {
        match result {
            DiskResult::Opened { .. } => out.push(Effect::Ready),
            DiskResult::Done => {
                let (conn, frame, sync) = self.waiting.remove(&op).expect("each operation completes once");
                if sync {
                    let op = self.op();
                    self.waiting.insert(op, (conn, frame, false));
                    out.push(Effect::Sync { op, file: FILE });
                } else {
                    reply(conn, frame, out);
                }
            }
            DiskResult::Bytes(_) | DiskResult::Entries(_) | DiskResult::Space(_) | DiskResult::Failed(_) => {
                panic!("{op} {result}")
            }
        }
    }
}

impl Brain for Stub {
    fn handle(&mut self, now: Now, input: Input, out: &mut Effects) {
        self.now = now;
        match input {
            Input::Opened { how: Opened::Dialled { result, .. }, .. } => {
                self.tell(Seen::Dialled(result.map_err(String::from)))
            }
            Input::Opened { conn, .. } => self.tell(Seen::Opened(conn)),
            Input::Frame { conn, request } => self.on_frame(conn, request, out),
            Input::Malformed { conn, .. } => {
                self.tell(Seen::Malformed);
                out.push(Effect::Close { conn });
            }
            Input::Answer { frame, .. } => self.tell(Seen::Answer(frame.len())),
            Input::Drained { conn } => self.tell(Seen::Drained(conn)),
            Input::Closed { conn } => self.tell(Seen::Closed(conn)),
            Input::Disk { op, result } => self.on_disk(op, &result, out),
            Input::JobDone { .. } => panic!("the stub runs no jobs"),
            Input::Shutdown => out.push(Effect::Stopped),
            Input::Timeout => self.on_timeout(out),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.booted { self.later.iter().map(|(at, _)| *at).min() } else { Some(Instant(0)) }
    }
}

fn answer(conn: ConnId, frame: &[u8]) -> Effect {
    let mut bytes = BytesMut::from(&length_of(frame)[..]);
    bytes.extend_from_slice(frame);
    Effect::Send { conn, bytes: bytes.freeze(), last: true }
}

/// In two pieces, as answers often are.
fn reply(conn: ConnId, frame: Bytes, out: &mut Effects) {
    out.push(Effect::Send { conn, bytes: Bytes::copy_from_slice(&length_of(&frame)), last: false });
    out.push(Effect::Send { conn, bytes: frame, last: true });
}

fn length_of(frame: &[u8]) -> [u8; 4] {
    u32::try_from(frame.len()).expect("small").to_be_bytes()
}

struct Fixture {
    running: Running,
    address: SocketAddr,
    seen: Receiver<Seen>,
    release: Sender<()>,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn start(change: impl FnOnce(&mut NodeOptions)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut options = NodeOptions {
            listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            log_dirs: vec![dir.path().join("data")],
            ..NodeOptions::default()
        };
        change(&mut options);
        let node = super::Node::bind(options).expect("the node binds");
        let address = node.addresses().expect("the listener is bound")[0];
        let (stub, seen, release) = Stub::new();
        let (ready, is_ready) = mpsc::channel();
        let running = node.start_with(stub, move || ready.send(()).expect("the test waits")).expect("the node starts");
        is_ready.recv_timeout(LONG).expect("the node becomes ready");
        Self { running, address, seen, release, dir }
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    fn next_seen(&self) -> Seen {
        self.seen.recv_timeout(LONG).expect("the machine hears of it")
    }

    fn stop(self) {
        self.running.shutdown();
        self.running.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node accepts");
    stream.set_read_timeout(Some(LONG)).expect("it can be set");
    stream
}

fn frame(what: i32, length: usize) -> Vec<u8> {
    let mut frame = head(what, length);
    frame.extend((0..length).map(|at| u8::try_from(at % 251).expect("below 251")));
    frame
}

/// The length, and a request header of version 0 without a client id.
fn head(what: i32, length: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(length + HEAD).expect("small").to_be_bytes().to_vec();
    bytes.extend([0, 18, 0, 0]);
    bytes.extend(what.to_be_bytes());
    bytes.extend([0xff, 0xff]);
    bytes
}

fn read_exact(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("the answer comes");
    bytes
}

fn at_end(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn pipelined(threads: usize) {
    let node = Fixture::start(|options| options.network_threads = threads);
    let lengths = [0, 1, 100, 5_000, 70_000, 3, 1_500_000, 12, 64 << 10];
    let sent: Vec<u8> =
        lengths.iter().enumerate().flat_map(|(at, &length)| frame([ECHO, WRITE, SYNC][at % 3], length)).collect();
    let address = node.address;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| all_come_back(address, &sent, &lengths));
        }
    });
    node.stop();
}

/// Echoes come at once, and what is synced comes later: the order is the machine's affair.
fn all_come_back(address: SocketAddr, sent: &[u8], lengths: &[usize]) {
    let mut stream = connect(address);
    let mut writer = stream.try_clone().expect("it can be cloned");
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(sent).expect("the node reads"));
        let mut back: Vec<usize> = lengths.iter().map(|_| read_frame(&mut stream).len() - HEAD).collect();
        let mut wanted = lengths.to_vec();
        wanted.sort_unstable();
        back.sort_unstable();
        assert_eq!(back, wanted);
    });
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = u32::from_be_bytes(read_exact(stream, 4).try_into().expect("four"));
    read_exact(stream, usize::try_from(length).expect("small"))
}

#[test]
fn pipelined_frames_are_answered_on_one_thread() {
    pipelined(1);
}

#[test]
fn pipelined_frames_are_answered_on_two_threads() {
    pipelined(2);
}

#[test]
fn what_was_written_is_sent_from_the_file() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    let mut file = Vec::new();
    for length in [100, 300_000, 5, 2_000_000] {
        stream.write_all(&frame(WRITE, length)).expect("the node reads");
        let echoed = read_exact(&mut stream, length + HEAD + 4);
        file.extend(&echoed[4..]);
    }
    for _ in 0..3 {
        stream.write_all(&frame(WHOLE_FILE, 0)).expect("the node reads");
        let answer = read_exact(&mut stream, file.len() + 4);
        assert!(answer[..4] == length_of(&file) && answer[4..] == file);
    }
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(1)));
    assert_eq!(node.next_seen(), Seen::Drained(ConnId(1)));
    assert_eq!(std::fs::read(node.dir.path().join("data/file")).expect("it is there"), file);
    node.stop();
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    let mut writer = stream.try_clone().expect("it can be cloned");
    writer.set_write_timeout(Some(Duration::from_millis(300))).expect("it can be set");
    let one = frame(ECHO, 32 << 10);
    let mut sent = 0;
    loop {
        match writer.write(&one[sent % one.len()..]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
        assert!(sent < 256 << 20, "the node takes without bound");
    }
    // Everything whole comes back once the client reads.
    let mut left = sent / one.len();
    while left > 0 {
        assert_eq!(read_exact(&mut stream, one.len()), one);
        left -= 1;
    }
    node.stop();
}

/// All come with one read; what the sockets' buffers take is little.
fn big_answers_to_small_frames(threads: usize) {
    const MANY: usize = 300;
    const TAKEN: usize = 40;
    let node = Fixture::start(|options| options.network_threads = threads);
    let mut stream = node.connect();
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(1)));
    let sent: Vec<u8> = (0..MANY).flat_map(|length| frame(BIG, length % 7)).collect();
    stream.write_all(&sent).expect("the node reads");
    let mut handled = 0;
    while let Ok(seen) = node.seen.recv_timeout(Duration::from_millis(300)) {
        handled += usize::from(seen == Seen::Big);
        assert!(handled <= TAKEN, "the node answers without bound");
    }
    assert!(handled > 0);
    for length in (0..MANY).map(|length| length % 7) {
        let answer = read_frame(&mut stream);
        assert!(answer[..HEAD + length] == frame(BIG, length)[4..] && answer.len() == HEAD + length + BIG_BYTES);
    }
    stream.write_all(&frame(ECHO, 9)).expect("the node reads");
    assert_eq!(read_frame(&mut stream), frame(ECHO, 9)[4..]);
    node.stop();
}

#[test]
fn frames_wait_while_big_answers_do_on_one_thread() {
    big_answers_to_small_frames(1);
}

#[test]
fn frames_wait_while_big_answers_do_on_two_threads() {
    big_answers_to_small_frames(2);
}

/// Who takes an answer now and then makes no room for more frames than were read before.
#[test]
fn frames_are_not_read_while_others_wait() {
    const TAKEN: usize = 50;
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    let mut writer = stream.try_clone().expect("it can be cloned");
    let many = frame(BIG, 0).repeat(30_000);
    let writer = std::thread::spawn(move || writer.write_all(&many));
    for _ in 0..TAKEN {
        assert_eq!(read_frame(&mut stream).len(), HEAD + BIG_BYTES);
    }
    let read = node.running.counters().bytes_in.get();
    assert!(read <= 128 << 10, "{read} bytes: more than two reads");
    stream.shutdown(Shutdown::Both).expect("it can be closed");
    // The sockets' buffers may have taken all of it, or not.
    let _ = writer.join().expect("it does not panic");
    node.stop();
}

/// While a round goes on (it may wait for the disk) no more is read than the bound and a read or two.
fn requests_that_wait_are_bounded(threads: usize) {
    const BOUND: u64 = 1 << 20;
    const MANY: usize = 24 << 20;
    let node = Fixture::start(|options| {
        options.network_threads = threads;
        options.max_queued_bytes = BOUND;
    });
    let mut holder = node.connect();
    // One on each thread at least, whichever makes the round.
    let mut streams: Vec<_> = (0..2).map(|_| node.connect()).collect();
    let opened = (0..3).filter(|_| matches!(node.next_seen(), Seen::Opened(_))).count();
    assert_eq!(opened, 3);
    holder.write_all(&frame(HOLD, 0)).expect("the node reads");
    let flood = frame(TAKE, 100_000).repeat(MANY / 100_000);
    let writers = streams.iter().map(|stream| stream.try_clone().expect("it can be cloned"));
    std::thread::scope(|scope| {
        for mut writer in writers {
            let flood = &flood;
            scope.spawn(move || writer.write_all(flood).expect("the node reads"));
        }
        // On one thread the machine that waits is the thread that reads; with another, that reads on up to the bound.
        let least = if threads == 1 { 0 } else { BOUND };
        let deadline = std::time::Instant::now() + LONG;
        let mut read = 0;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = node.running.counters().bytes_in.get();
            if now == read && read >= least || std::time::Instant::now() > deadline {
                break;
            }
            read = now;
        }
        node.release.send(()).expect("the machine waits for it");
        assert!((least..=4 * BOUND).contains(&read), "{read} bytes are queued");
    });
    for stream in &mut streams {
        stream.write_all(&frame(ECHO, 5)).expect("the node reads");
        assert_eq!(read_frame(stream), frame(ECHO, 5)[4..]);
    }
    node.stop();
}

#[test]
fn requests_that_wait_are_bounded_on_one_thread() {
    requests_that_wait_are_bounded(1);
}

#[test]
fn requests_that_wait_are_bounded_on_two_threads() {
    requests_that_wait_are_bounded(2);
}

#[test]
fn closing_either_way_is_heard_once() {
    let node = Fixture::start(|_| {});
    let mut half = node.connect();
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(1)));
    half.write_all(&frame(ECHO, 10)).expect("the node reads");
    read_exact(&mut half, 24);
    half.shutdown(Shutdown::Write).expect("it can be closed");
    assert!(at_end(&mut half));
    assert_eq!(node.next_seen(), Seen::Closed(ConnId(1)));

    let mut bye = node.connect();
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(2)));
    bye.write_all(&[frame(BYE, 500_000), frame(ECHO, 1)].concat()).expect("the node reads");
    read_exact(&mut bye, 500_014);
    assert!(at_end(&mut bye));
    drop(bye);
    assert_eq!(node.next_seen(), Seen::Closed(ConnId(2)));
    assert_eq!(node.running.counters().connections.open.get(), 0);
    node.stop();
}

#[test]
fn impossible_lengths_close_the_connection() {
    let node = Fixture::start(|options| options.frames.request_max_bytes = 1_000);
    for (at, length) in (1..).zip([-1, 1_001, i32::MAX, i32::MIN]) {
        let mut stream = node.connect();
        stream.write_all(&length.to_be_bytes()).expect("the node reads");
        assert!(at_end(&mut stream));
        drop(stream);
        assert_eq!(node.next_seen(), Seen::Opened(ConnId(at)));
        assert_eq!(node.next_seen(), Seen::Malformed);
        assert_eq!(node.next_seen(), Seen::Closed(ConnId(at)));
    }
    node.stop();
}

#[test]
fn thousands_of_connections_come_and_go() {
    const MANY: usize = 2_000;
    let node = Fixture::start(|_| {});
    let mut streams: Vec<_> = (0..MANY).map(|_| node.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&frame(ECHO, 100)).expect("the node reads");
    }
    for stream in &mut streams {
        read_exact(stream, 114);
    }
    drop(streams);
    let mut open = std::collections::BTreeSet::new();
    let mut closed = 0;
    while closed < MANY {
        match node.next_seen() {
            Seen::Opened(conn) => assert!(open.insert(conn)),
            Seen::Closed(conn) => {
                assert!(open.remove(&conn));
                closed += 1;
            }
            other @ (Seen::Drained(_) | Seen::Malformed | Seen::Big | Seen::Dialled(_) | Seen::Answer(_)) => {
                panic!("{other:?}")
            }
        }
    }
    node.stop();
}

#[test]
fn connections_beyond_the_limits_are_refused() {
    let node = Fixture::start(|options| options.max_connections_per_ip = 2);
    let mut streams: Vec<_> = (0..2).map(|_| node.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&frame(ECHO, 0)).expect("the node reads");
        read_exact(stream, 14);
    }
    assert!(at_end(&mut node.connect()));
    assert_eq!(node.running.counters().connections.refused.get(), 1);
    node.stop();
}

#[test]
fn clients_do_not_take_the_places_of_nodes() {
    let node = Fixture::start(|options| (options.max_connections, options.nodes) = (0, vec![ListenerId(0)]));
    let mut stream = node.connect();
    stream.write_all(&frame(ECHO, 0)).expect("the node reads");
    read_exact(&mut stream, 14);
    node.stop();
}

#[test]
fn of_what_is_no_request_the_first_is_told() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    // Frames of no bytes, as many as fit.
    stream.write_all(&[0; 4000]).expect("the node reads");
    let seen: Vec<_> = (0..3).map(|_| node.next_seen()).collect();
    assert_eq!(seen, [Seen::Opened(ConnId(1)), Seen::Malformed, Seen::Closed(ConnId(1))]);
    node.stop();
}

/// What takes long to inflate is inflated elsewhere, and what the connection sent behind it stays behind it.
#[test]
fn a_heavy_frame_keeps_its_place() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    let heavy = produce(ECHO, 20 << 20);
    assert!(heavy.len() < 10_000, "{} bytes", heavy.len());
    let frames = [&heavy[..], &frame(ECHO, 3), &heavy, &frame(ECHO, 4)].concat();
    stream.write_all(&frames).expect("the node reads");
    for length in [heavy.len(), 17, heavy.len(), 18] {
        let answer = read_exact(&mut stream, length);
        assert_eq!(answer[..4], u32::try_from(length - 4).expect("small").to_be_bytes());
    }
    node.stop();
}

/// A Produce with one batch of one record of so many zeros.
fn produce(correlation_id: i32, size: usize) -> Vec<u8> {
    let compression = Compression::Zstd(1);
    let mut batch = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    batch.append(&NewRecord { value: Some(&vec![0; size]), ..NewRecord::default() });
    let batch = batch.build();
    let data = PartitionProduceData { records: Some(Records::Slice(&batch)), ..PartitionProduceData::default() };
    let topic = TopicProduceData { name: "t", partition_data: vec![data], ..TopicProduceData::default() };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
    let header = RequestHeader { api_key: ApiKey::Produce, api_version: 9, correlation_id, client_id: None };
    let mut writer = Writer::new();
    encode_request(&mut writer, &header, &request);
    writer.into_bytes()
}

/// Those who wait for each other to end are not all that there are.
#[test]
fn frames_beyond_the_bound_come_one_after_the_other() {
    const SIZE: usize = 3 << 20;
    let node = Fixture::start(|options| options.frames.request_max_bytes = 4 << 20);
    // These hold what they have sent, and have more to send.
    let mut held: Vec<_> = (0..8).map(|_| node.connect()).collect();
    let whole = frame(ECHO, SIZE);
    for stream in &mut held {
        stream.set_nonblocking(true).expect("it can be set");
        // What the kernel does not take is not read, either.
        let _ = stream.write(&whole[..SIZE - 1]);
    }
    let mut stream = node.connect();
    stream.write_all(&frame(ECHO, 0)).expect("the node reads");
    read_exact(&mut stream, 14);
    for stream in held {
        stream.set_nonblocking(false).expect("it can be set");
        stream.shutdown(Shutdown::Both).expect("it can be closed");
    }
    let address = node.address;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("it listens");
                stream.set_read_timeout(Some(LONG)).expect("it can be set");
                stream.write_all(&whole).expect("the node reads");
                assert_eq!(read_frame(&mut stream).len(), HEAD + SIZE);
            });
        }
    });
    node.stop();
}

#[test]
fn an_idle_connection_is_closed() {
    let node = Fixture::start(|options| options.max_idle = Duration::from_millis(50));
    let mut stream = node.connect();
    assert!(at_end(&mut stream));
    assert_eq!(node.running.counters().connections.idle_closed.get(), 1);
    node.stop();
}

#[test]
fn deadlines_and_pauses() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    let begun = std::time::Instant::now();
    let frames = [frame(PAUSE, 1), frame(LATER, 2), frame(ECHO, 3)].concat();
    // Both frames after the pause came with it, and wait all the same.
    stream.write_all(&frames).expect("the node reads");
    assert_eq!(read_exact(&mut stream, 15)[3], 11);
    assert_eq!(read_exact(&mut stream, 17)[3], 13);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(read_exact(&mut stream, 16)[3], 12);
    stream.write_all(&frame(ECHO, 4)).expect("the node reads");
    assert_eq!(read_exact(&mut stream, 18)[3], 14);
    node.stop();
}

#[test]
fn dialling_succeeds_and_fails() {
    let node = Fixture::start(|_| {});
    let mut stream = node.connect();
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(1)));
    let peer = TcpListener::bind("127.0.0.1:0").expect("it binds");
    let address = peer.local_addr().expect("it is bound").to_string();
    stream.write_all(&dial(&address)).expect("the node reads");
    assert_eq!(node.next_seen(), Seen::Dialled(Ok(())));
    drop(peer);
    stream.write_all(&dial(&address)).expect("the node reads");
    // The first dialled connection may be reset before the second fails.
    let mut seen = node.next_seen();
    if seen == Seen::Closed(ConnId(2)) {
        seen = node.next_seen();
    }
    assert!(matches!(seen, Seen::Dialled(Err(_))), "{seen:?}");
    node.stop();
}

/// An answer may be larger than a request; what is none ends the connection at once.
#[test]
fn answers_have_a_bound_of_their_own() {
    const REQUEST_MAX: usize = 1_000;
    let node = Fixture::start(|options| options.frames.request_max_bytes = 1_000);
    let mut stream = node.connect();
    assert_eq!(node.next_seen(), Seen::Opened(ConnId(1)));
    let peer = TcpListener::bind("127.0.0.1:0").expect("it binds");
    stream.write_all(&dial(&peer.local_addr().expect("it is bound").to_string())).expect("the node reads");
    assert_eq!(node.next_seen(), Seen::Dialled(Ok(())));
    let (mut dialled, _) = peer.accept().expect("the node has dialled");
    dialled.write_all(&frame(ECHO, 50 * REQUEST_MAX)).expect("the node reads");
    assert_eq!(node.next_seen(), Seen::Answer(HEAD + 50 * REQUEST_MAX));
    dialled.write_all(&i32::MAX.to_be_bytes()).expect("the node reads");
    assert_eq!(node.next_seen(), Seen::Closed(ConnId(2)));
    assert!(at_end(&mut dialled));
    node.stop();
}

fn dial(address: &str) -> Vec<u8> {
    let mut bytes = head(DIAL, address.len());
    bytes.extend(address.as_bytes());
    bytes
}

#[test]
fn a_stopped_node_gives_its_directory_and_its_port_free() {
    let node = Fixture::start(|_| {});
    let options = |node: &Fixture| NodeOptions {
        listeners: vec![node.address],
        log_dirs: vec![node.dir.path().join("data")],
        ..NodeOptions::default()
    };
    let refusal = super::Node::bind(options(&node)).expect_err("the directory is held").to_string();
    assert!(refusal.contains("is in use by another process"), "{refusal}");
    let wanted = options(&node);
    let dir = node.dir;
    node.running.shutdown();
    node.running.wait();
    super::Node::bind(wanted).expect("all is free");
    drop(dir);
}
