//! The HTTP port: health, readiness, metrics, and the machine's view. For operators; no client needs it.
//!
//! It runs on the shell's own thread and sees the node only through [`Observe`], so a scrape never stands
//! between a client and its answer for longer than the look itself takes.

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

/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

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

/// Serves connections until it is dropped. Needs a tokio runtime with a `LocalSet` or current thread.
pub async fn serve(listener: TcpListener, node: Arc<dyn Observe>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("http: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, node: Arc<dyn Observe>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"));
    }
    Ok(match request.uri().path() {
        "/healthz" => verdict(node.health().map(|()| "ok".to_owned())),
        "/readyz" => verdict(node.readiness()),
        "/metrics" => typed(metrics::CONTENT_TYPE, metrics::render(node.metrics())),
        "/debug/state" => typed("application/json", node.view()),
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics or /debug/state\n"),
    })
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

    use super::*;
    use crate::metrics::Family;

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

    /// Serves on a free port from a thread of its own, which ends with the test's process.
    fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, Arc::new(Recovering)))
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
        let address = start();
        check(address, "GET /healthz", &["200 OK", "ok\n"]);
        check(address, "GET /readyz", &["503 Service Unavailable", "recovering\n"]);
        check(address, "GET /metrics", &["200 OK", metrics::CONTENT_TYPE, "ottla_rounds_total 3.0\n", "# EOF\n"]);
        check(address, "GET /debug/state", &["200 OK", "application/json", "{}"]);
        check(address, "GET /", &["404 Not Found", "/metrics"]);
        check(address, "POST /healthz", &["405 Method Not Allowed"]);
    }
}
