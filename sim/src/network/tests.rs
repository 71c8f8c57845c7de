//! The network as its ends see it.

use super::*;
use crate::time::MICROSECOND;

const NODE: Endpoint = Endpoint::Node(0);
const CLIENT: Endpoint = Endpoint::Client(0);

fn path() -> Path {
    Path { latency: 100 * MICROSECOND, loss_ppm: 0, cut_ppm: 500_000, window: 1000 }
}

struct Bench {
    network: Network,
    now: Nanos,
}

fn file(_: Endpoint, _: Ino, pos: u64, len: usize) -> Bytes {
    (pos..pos + len as u64).map(|n| u8::try_from(n % 256).expect("a byte")).collect()
}

impl Bench {
    fn new(seed: u64, path: Path) -> Self {
        let mut network = Network::new(Draws::new(seed), path);
        network.listen(NODE, Listening::Yes);
        Self { network, now: 0 }
    }

    fn connected(seed: u64) -> (Self, Wire) {
        let mut bench = Self::new(seed, path());
        let wire = bench.network.dial(0, CLIENT, NODE, Door(0));
        let seen = bench.run(SECOND);
        assert_eq!(names(&seen), ["accepted", "up"]);
        (bench, wire)
    }

    fn send(&mut self, wire: Wire, side: Side, bytes: &[u8]) {
        let outgoing = Outgoing::Bytes(Bytes::copy_from_slice(bytes));
        self.network.send(self.now, wire, side, outgoing, &mut file);
    }

    fn run(&mut self, until: Nanos) -> Vec<Delivery> {
        let mut seen = Vec::new();
        while let Some(due) = self.network.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            seen.extend(self.network.step(self.now, &mut file));
        }
        self.now = until;
        seen
    }
}

fn names(seen: &[Delivery]) -> Vec<&'static str> {
    let name = |delivery: &Delivery| match delivery {
        Delivery::Accepted { .. } => Some("accepted"),
        Delivery::Dialled { up, .. } => Some(if *up { "up" } else { "refused" }),
        Delivery::Bytes { .. } => Some("bytes"),
        Delivery::Drained { .. } => None,
        Delivery::Closed { side: Side::Dialler, .. } => Some("closed at the client"),
        Delivery::Closed { side: Side::Acceptor, .. } => Some("closed at the node"),
    };
    seen.iter().filter_map(name).collect()
}

fn bytes_at(seen: &[Delivery], at: Side) -> Vec<u8> {
    let mut all = Vec::new();
    for delivery in seen {
        if let Delivery::Bytes { side, bytes, .. } = delivery
            && *side == at
        {
            all.extend_from_slice(bytes);
        }
    }
    all
}

#[test]
fn bytes_arrive_in_order_and_cut() {
    for seed in 0..20 {
        let (mut bench, wire) = Bench::connected(seed);
        let sent: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
        sent.chunks(700).for_each(|chunk| bench.send(wire, Side::Dialler, chunk));
        let seen = bench.run(20 * SECOND);
        assert_eq!(bytes_at(&seen, Side::Acceptor), sent);
        assert!(names(&seen).len() > 8);
    }
}

#[test]
fn a_range_is_read_when_it_leaves() {
    let (mut bench, wire) = Bench::connected(1);
    let range = Outgoing::Range { ino: 1, pos: 10, len: 3000 };
    bench.network.send(bench.now, wire, Side::Acceptor, range, &mut file);
    let seen = bench.run(20 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Dialler), file(NODE, 1, 10, 3000));
}

#[test]
fn who_does_not_read_holds_the_sender_back() {
    let (mut bench, wire) = Bench::connected(2);
    bench.network.set_reading(bench.now, wire, Side::Acceptor, false, &mut file);
    bench.send(wire, Side::Dialler, &[1; 3000]);
    let seen = bench.run(10 * SECOND);
    assert!(seen.is_empty(), "neither bytes nor drained: {seen:?}");
    bench.network.set_reading(bench.now, wire, Side::Acceptor, true, &mut file);
    let seen = bench.run(20 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Acceptor), [1; 3000]);
    assert!(seen.iter().any(|delivery| matches!(delivery, Delivery::Drained { .. })));
}

#[test]
fn a_cut_stops_what_is_in_flight_one_way_only() {
    let (mut bench, wire) = Bench::connected(3);
    bench.send(wire, Side::Dialler, b"to the node");
    bench.network.cut(CLIENT, Some(NODE), 30 * SECOND);
    bench.send(wire, Side::Acceptor, b"to the client");
    let seen = bench.run(29 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Dialler), b"to the client");
    assert_eq!(bytes_at(&seen, Side::Acceptor), b"");
    assert!(bench.network.take_hits().any(|hit| hit == Hit::Cut));
    let seen = bench.run(40 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Acceptor), b"to the node");
}

#[test]
fn a_close_comes_after_what_was_sent() {
    let (mut bench, wire) = Bench::connected(4);
    bench.send(wire, Side::Acceptor, &[5; 2500]);
    bench.network.close(bench.now, wire, Side::Acceptor, &mut file);
    let seen = bench.run(20 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Dialler), [5; 2500]);
    assert_eq!(names(&seen).last(), Some(&"closed at the client"));
    assert!(names(&seen).contains(&"closed at the node"));
    assert!(bench.network.wires_of(CLIENT).is_empty());
}

/// As when a node is not ready yet: the client would wait for a connection that is closed.
#[test]
fn a_dialler_learns_that_it_is_connected_before_that_it_is_not() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed, path());
        let wire = bench.network.dial(0, CLIENT, NODE, Door(0));
        let mut seen = Vec::new();
        while !seen.iter().any(|delivery| matches!(delivery, Delivery::Accepted { .. })) {
            seen.extend(bench.run(bench.network.next_due().unwrap()));
        }
        bench.network.close(bench.now, wire, Side::Acceptor, &mut file);
        seen.extend(bench.run(SECOND));
        assert_eq!(names(&seen), ["accepted", "closed at the node", "up", "closed at the client"], "{seed}");
    }
}

#[test]
fn requests_before_a_reset_may_still_arrive() {
    let outcomes = (0..40).map(|seed| {
        let (mut bench, wire) = Bench::connected(seed);
        bench.send(wire, Side::Dialler, b"request");
        bench.network.reset(bench.now, wire);
        let seen = bench.run(20 * SECOND);
        let closed = names(&seen).iter().filter(|name| name.starts_with("closed")).count();
        assert_eq!(closed, 2);
        let arrived = !bytes_at(&seen, Side::Acceptor).is_empty();
        let dropped = bench.network.take_hits().any(|hit| hit == Hit::Reset);
        assert!(!(dropped && arrived), "only what is dropped has landed");
        arrived
    });
    let arrived = outcomes.filter(|arrived| *arrived).count();
    assert!((3..37).contains(&arrived), "{arrived}");
}

#[test]
fn a_killed_process_is_noticed_and_a_dead_machine_is_not() {
    let (mut bench, wire) = Bench::connected(5);
    bench.send(wire, Side::Acceptor, b"on its way");
    bench.network.kill(bench.now, NODE);
    bench.network.listen(NODE, Listening::Refused);
    let seen = bench.run(10 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Dialler), b"on its way");
    assert_eq!(names(&seen).last(), Some(&"closed at the client"));

    let (mut bench, wire) = Bench::connected(5);
    bench.network.lose_power(NODE);
    bench.network.listen(NODE, Listening::Dead);
    bench.send(wire, Side::Dialler, b"hello?");
    assert!(names(&bench.run(10 * SECOND)).is_empty());
    bench.network.listen(NODE, Listening::Yes);
    bench.send(wire, Side::Dialler, b"hello?");
    assert_eq!(names(&bench.run(20 * SECOND)), ["closed at the client"]);
}

#[test]
fn a_dial_is_refused_or_hangs() {
    let mut bench = Bench::new(6, path());
    bench.network.listen(NODE, Listening::Refused);
    bench.network.dial(0, CLIENT, NODE, Door(0));
    assert_eq!(names(&bench.run(SECOND)), ["refused"]);
    bench.network.listen(NODE, Listening::Dead);
    bench.network.dial(bench.now, CLIENT, NODE, Door(0));
    assert!(bench.run(60 * SECOND).is_empty());
}

#[test]
fn a_hung_connection_says_nothing() {
    let (mut bench, wire) = Bench::connected(7);
    bench.send(wire, Side::Dialler, b"hello?");
    bench.network.hang(wire);
    assert!(names(&bench.run(60 * SECOND)).is_empty());
    assert_eq!(bench.network.take_hits().next(), Some(Hit::Hang));
}

#[test]
fn a_reset_leaves_no_hole() {
    for seed in 0..40 {
        let (mut bench, wire) = Bench::connected(seed);
        bench.send(wire, Side::Acceptor, b"before");
        bench.network.reset(bench.now, wire);
        bench.send(wire, Side::Acceptor, b"after");
        let seen = bytes_at(&bench.run(20 * SECOND), Side::Dialler);
        assert!(b"beforeafter".starts_with(&seen[..]), "{seen:?}");
    }
}

#[test]
fn a_full_window_is_not_opened_byte_by_byte() {
    let (mut bench, wire) = Bench::connected(8);
    let range = Outgoing::Range { ino: 1, pos: 0, len: 200_000 };
    bench.network.send(bench.now, wire, Side::Acceptor, range, &mut file);
    let seen = bench.run(60 * SECOND);
    assert_eq!(bytes_at(&seen, Side::Dialler).len(), 200_000);
    assert!(names(&seen).len() < 2000, "{} segments", names(&seen).len());
}
