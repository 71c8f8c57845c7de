//! The least of the Kafka protocol: frames over a plain socket, enough to see that a broker is up.
//!
//! Written by hand and from outside on purpose: the tests must not inherit a mistake of the crates they test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::frames::{self, key};

/// The largest answer that the probe accepts, in bytes.
const MAX_FRAME: usize = 64 << 20;

/// One connection that speaks frames.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    /// Connects with `limit` for the connect and for every read and write.
    pub fn open(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// The local address: how a trace of the broker names this connection.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sends a request with a non-flexible header (version 1, client id "probe"); gives its correlation id.
    pub fn send(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> io::Result<i32> {
        self.correlation_id += 1;
        let frame = frames::request(api_key, api_version, self.correlation_id, body)?;
        self.stream.write_all(&frame)?;
        Ok(self.correlation_id)
    }

    /// Receives one answer: its correlation id and what follows it.
    pub fn receive(&mut self) -> io::Result<(i32, Vec<u8>)> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        if !(4..=MAX_FRAME).contains(&length) {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        let body = frame.split_off(4);
        let id: [u8; 4] = frame.try_into().map_err(|_| io::Error::other("a cut frame"))?;
        Ok((i32::from_be_bytes(id), body))
    }

    /// Sends and receives one request.
    pub fn call(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        let sent = self.send(api_key, api_version, body)?;
        let (answered, body) = self.receive()?;
        if answered != sent {
            return Err(io::Error::other(format!("answer to {answered} in place of {sent}")));
        }
        Ok(body)
    }
}

/// Waits until the broker at `address` names at least one broker in its metadata, so that it can be used; gives up
/// after `limit`, or when `alive` says that the process has ended.
pub fn wait_until_ready(
    address: SocketAddr,
    limit: Duration,
    mut alive: impl FnMut() -> io::Result<bool>,
) -> io::Result<Duration> {
    let start = Instant::now();
    loop {
        let answer = brokers_known(address);
        if matches!(answer, Ok(count) if count > 0) {
            return Ok(start.elapsed());
        }
        if !alive()? {
            return Err(io::Error::other("the broker ended while it started"));
        }
        if start.elapsed() > limit {
            return Err(io::Error::other(format!("the broker is not ready after {limit:?}: {answer:?}")));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many brokers a Metadata request (version 1, no topics) names.
fn brokers_known(address: SocketAddr) -> io::Result<i32> {
    let mut connection = Connection::open(address, Duration::from_secs(2))?;
    let body = connection.call(key::METADATA, 1, &0_i32.to_be_bytes())?;
    let count = body.get(..4).ok_or_else(|| io::Error::other("a short answer"))?;
    Ok(i32::from_be_bytes(count.try_into().map_err(io::Error::other)?))
}
