//! The HTTP port: health, readiness, metrics, and the machine's view. For operators; no client needs it.
//!
//! It runs on a thread of its own and sees the node only through [`Observe`], so a scrape never stands
//! between a client and its answer for longer than the look itself takes. And a look that takes too long, as while the
//! node waits for a disk, is answered without it.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use crate::metrics;

/// How many connections are served at once; further ones wait.
const MAX_CONNECTIONS: usize = 64;

/// How many looks there may be at once: between two of them the node must have its turn.
const MAX_LOOKS: usize = 1;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A client, to say what it wants.
    header: Duration,
    /// A connection as a whole: who does not read its answer gives its place up.
    connection: Duration,
    /// A look at the node.
    look: Duration,
}

const PATIENCE: Patience =
    Patience { header: Duration::from_secs(2), connection: Duration::from_secs(30), look: Duration::from_secs(5) };

/// What the HTTP port may know of a node.
pub trait Observe: Send + Sync + 'static {
    /// Whether the node can work, or why not: it then should be restarted.
    fn health(&self) -> Result<(), String>;
    /// Whether the node serves clients, and what it cannot serve; or why it serves nobody.
    fn readiness(&self) -> Result<String, String>;
    /// What it counts and measures now.
    fn metrics(&self) -> Vec<metrics::Family>;
    /// The machine's view as JSON.
    fn view(&self) -> String;
}

/// A node, and the looks at it that may be begun.
struct Observed {
    node: Arc<dyn Observe>,
    looks: Arc<Semaphore>,
    patience: Patience,
}

/// Serves connections until it is dropped.
pub async fn serve(listener: TcpListener, node: Arc<dyn Observe>) -> io::Result<()> {
    serve_within(PATIENCE, listener, node).await
}

async fn serve_within(patience: Patience, listener: TcpListener, node: Arc<dyn Observe>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let node = Arc::new(Observed { node, looks: Arc::new(Semaphore::new(MAX_LOOKS)), patience });
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of files, most likely: the port is not worth the node, and waits for better times.
                tracing::warn!("http: cannot accept: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| answer(request, Arc::clone(&node)));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(patience.header);
            let served = http.serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(patience.connection, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("http: {error}"),
                Err(_) => tracing::debug!("http: a connection took too long and is closed"),
            }
        });
    }
}

async fn answer(request: Request<Incoming>, node: Arc<Observed>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"));
    }
    Ok(match request.uri().path() {
        // Without a look: a node that waits for its disk is not the better for a restart.
        "/healthz" => verdict(node.node.health().map(|()| "ok".to_owned())),
        "/readyz" => node.look(|node| verdict(node.readiness())).await,
        "/metrics" => node.look(|node| typed(metrics::CONTENT_TYPE, metrics::render(node.metrics()))).await,
        "/debug/state" => node.look(|node| typed("application/json", node.view())).await,
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics or /debug/state\n"),
    })
}

impl Observed {
    /// Looks on a thread that may wait.
    async fn look(&self, look: fn(&dyn Observe) -> Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        let (node, looks) = (Arc::clone(&self.node), Arc::clone(&self.looks));
        let seen = async move {
            let place = looks.acquire_owned().await.ok()?;
            let look = move || {
                // The thread's, which may wait for longer than anybody here.
                let _place = place;
                look(&*node)
            };
            tokio::task::spawn_blocking(look).await.ok()
        };
        match tokio::time::timeout(self.patience.look, seen).await {
            Ok(Some(response)) => response,
            Ok(None) | Err(_) => {
                let why = "the node is busy and cannot be looked at; its log says if it waits for a disk\n";
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
        }
    }
}

fn verdict(result: Result<String, String>) -> Response<Full<Bytes>> {
    match result {
        Ok(how) => text(StatusCode::OK, &format!("{how}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", body.to_owned());
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Mutex;

    use super::*;
    use crate::metrics::Family;

    const LONG: Duration = Duration::from_secs(20);

    /// More than the sockets' buffers take.
    const VIEW: usize = 64 << 20;

    struct Recovering;

    impl Observe for Recovering {
        fn health(&self) -> Result<(), String> {
            Ok(())
        }

        fn readiness(&self) -> Result<String, String> {
            Err("recovering".to_owned())
        }

        fn metrics(&self) -> Vec<Family> {
            vec![Family::counter("ottla_rounds", "Rounds", 3.0)]
        }

        fn view(&self) -> String {
            "{}".to_owned()
        }
    }

    /// A node whose lock is held.
    struct Stuck(Mutex<()>);

    impl Observe for Stuck {
        fn health(&self) -> Result<(), String> {
            Ok(())
        }

        fn readiness(&self) -> Result<String, String> {
            drop(self.0.lock());
            Ok("ok".to_owned())
        }

        fn metrics(&self) -> Vec<Family> {
            Vec::new()
        }

        fn view(&self) -> String {
            "x".repeat(VIEW)
        }
    }

    /// Serves on a free port from a thread of its own, which ends with the test's process.
    fn start(patience: Patience, node: Arc<dyn Observe>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve_within(patience, listener, node))
        });
        address
    }

    #[track_caller]
    fn check(address: SocketAddr, request: &str, parts: &[&str]) {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        for part in parts {
            assert!(answer.contains(part), "{part:?} is missing from {answer}");
        }
    }

    #[test]
    fn four_paths_answer() {
        let address = start(PATIENCE, Arc::new(Recovering));
        check(address, "GET /healthz", &["200 OK", "ok\n"]);
        check(address, "GET /readyz", &["503 Service Unavailable", "recovering\n"]);
        check(address, "GET /metrics", &["200 OK", metrics::CONTENT_TYPE, "ottla_rounds_total 3.0\n", "# EOF\n"]);
        check(address, "GET /debug/state", &["200 OK", "application/json", "{}"]);
        check(address, "GET /", &["404 Not Found", "/metrics"]);
        check(address, "POST /healthz", &["405 Method Not Allowed"]);
    }
    #[test]
    fn a_node_that_cannot_be_looked_at_stops_nobody() {
        let node = Arc::new(Stuck(Mutex::default()));
        let address = start(Patience { look: Duration::from_millis(50), ..PATIENCE }, Arc::clone(&node) as _);
        let held = node.0.lock().expect("nobody panics");
        for _ in 0..2 * MAX_LOOKS {
            check(address, "GET /readyz", &["503 Service Unavailable", "the node is busy"]);
        }
        check(address, "GET /healthz", &["200 OK", "ok\n"]);
        drop(held);
        let begun = std::time::Instant::now();
        let is_ready = || {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("text");
            answer.contains("200 OK")
        };
        while !is_ready() {
            assert!(begun.elapsed() < LONG, "the places are given back");
        }
    }

    #[test]
    fn who_does_not_read_gives_the_place_up() {
        let node = Arc::new(Stuck(Mutex::default()));
        let address = start(Patience { connection: Duration::from_millis(200), ..PATIENCE }, node);
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /debug/state HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        std::thread::sleep(Duration::from_secs(1));
        let mut answer = Vec::new();
        // It ends, or is reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < VIEW, "{} bytes came", answer.len());
    }
}
