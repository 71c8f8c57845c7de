//! The client library and the commands on it, against a broker: a new `ottla dev` for each test, or the cluster that
//! OTTLA_TEST_BROKERS names, Apache Kafka's as well. What they write is in topics of their own.

mod api;
mod commands;
mod interrupt;
mod quorum;

use std::sync::atomic::{AtomicU32, Ordering};

use ottla_tests::dev::Broker;
use tempfile::TempDir;

/// A cluster to talk to. Our own broker ends with it.
struct Cluster {
    brokers: String,
    _own: Option<(Broker, TempDir)>,
}

impl Cluster {
    fn get() -> Self {
        if let Ok(brokers) = std::env::var("OTTLA_TEST_BROKERS") {
            return Self { brokers, _own: None };
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::start(env!("CARGO_BIN_EXE_ottla"), dir.path());
        Self { brokers: broker.address.to_string(), _own: Some((broker, dir)) }
    }
}

/// A name that nobody else has used on this cluster.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    format!("{what}-{:x}-{}", since.as_micros(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}
