//! Many connections: how soon a crowd is served, and what it costs to keep it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::raw::{self, Answers};
use crate::frames::{self, key};

/// How many threads the crowd comes from: enough that one that waits for the broker does not hold up the others.
const THREADS: usize = 16;

/// Connections that are open.
#[derive(Debug)]
pub struct Crowd {
    /// From the first connect to the last first answer.
    pub served: Duration,
    shares: Vec<Vec<TcpStream>>,
}

impl Crowd {
    /// Opens `count` connections as fast as they are taken; each asks one question.
    pub fn open(address: SocketAddr, count: usize) -> io::Result<Self> {
        let begun = Instant::now();
        let shares = each((0..THREADS).collect(), |thread| {
            let share = count / THREADS + usize::from(thread < count % THREADS);
            let mut streams = (0..share).map(|_| raw::connect(address)).collect::<io::Result<Vec<_>>>()?;
            ask_all(&mut streams)?;
            Ok(streams)
        })?;
        Ok(Self { served: begun.elapsed(), shares })
    }

    /// Lets every connection ask again and again; gives how many answers there were, and in which time.
    pub fn ask(self, limit: Duration) -> io::Result<(u64, Duration)> {
        let begun = Instant::now();
        let answers = each(self.shares, |mut streams| {
            let mut answers = 0;
            while begun.elapsed() < limit {
                ask_all(&mut streams)?;
                answers += streams.len() as u64;
            }
            Ok(answers)
        })?;
        Ok((answers.iter().sum(), begun.elapsed()))
    }
}

/// A question on each, then the answer from each.
fn ask_all(streams: &mut [TcpStream]) -> io::Result<()> {
    let question = frames::request(key::API_VERSIONS, 0, 0, &[])?;
    for stream in streams.iter_mut() {
        stream.write_all(&question)?;
    }
    for stream in streams {
        let mut answers = Answers::default();
        while answers.take_one().is_none() {
            answers.fill(stream)?;
        }
    }
    Ok(())
}

fn each<P: Send, R: Send>(parts: Vec<P>, work: impl Fn(P) -> io::Result<R> + Sync) -> io::Result<Vec<R>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.map_err(|_| io::Error::other("a thread of the load panicked"))?).collect()
    })
}
