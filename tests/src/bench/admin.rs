//! Topics: making them, waiting until each partition can be used, and away with them.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::frames::{Answer, key, put_len, put_text};
use crate::probe::Connection;

/// How long one answer may take; many partitions are made in one request.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection for administration.
#[derive(Debug)]
pub struct Admin(Connection);

impl Admin {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(Connection::open(address, LIMIT)?))
    }

    /// Creates a topic and waits until every partition of it has a leader that answers.
    pub fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> io::Result<()> {
        let mut body = Vec::new();
        put_len(&mut body, 1)?;
        put_text(&mut body, topic)?;
        body.extend(partitions.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        put_len(&mut body, 0)?;
        put_len(&mut body, configs.len())?;
        for (name, value) in configs {
            put_text(&mut body, name)?;
            put_text(&mut body, value)?;
        }
        body.extend(LIMIT_MS.to_be_bytes());
        body.push(0);
        let answer = self.0.call(key::CREATE_TOPICS, 2, &body)?;
        let mut rest = Answer(&answer);
        rest.skip(8)?;
        rest.text()?;
        let error = rest.i16()?;
        if error != 0 {
            let why = String::from_utf8_lossy(rest.text()?).into_owned();
            return Err(io::Error::other(format!("the topic {topic} cannot be created: error {error} {why}")));
        }
        let begun = Instant::now();
        while let Err(error) = self.ends(topic, partitions) {
            if begun.elapsed() > LIMIT {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The offset after the last record of each partition.
    pub fn ends(&mut self, topic: &str, partitions: i32) -> io::Result<Vec<i64>> {
        const LATEST: i64 = -1;
        let mut body = Vec::new();
        body.extend((-1_i32).to_be_bytes());
        put_len(&mut body, 1)?;
        put_text(&mut body, topic)?;
        body.extend(partitions.to_be_bytes());
        for partition in 0..partitions {
            body.extend(partition.to_be_bytes());
            body.extend(LATEST.to_be_bytes());
        }
        let answer = self.0.call(key::LIST_OFFSETS, 1, &body)?;
        let mut rest = Answer(&answer);
        rest.skip(4)?;
        rest.text()?;
        let mut ends = Vec::new();
        for _ in 0..rest.count()? {
            let (partition, error) = (rest.i32()?, rest.i16()?);
            if error != 0 {
                return Err(io::Error::other(format!("{topic}-{partition} has no offsets: error {error}")));
            }
            rest.skip(8)?;
            ends.push(rest.i64()?);
        }
        Ok(ends)
    }

    /// Gives a topic another setting.
    pub fn alter(&mut self, topic: &str, name: &str, value: &str) -> io::Result<()> {
        const TOPIC: u8 = 2;
        const SET: u8 = 0;
        let mut body = Vec::new();
        put_len(&mut body, 1)?;
        body.push(TOPIC);
        put_text(&mut body, topic)?;
        put_len(&mut body, 1)?;
        put_text(&mut body, name)?;
        body.push(SET);
        put_text(&mut body, value)?;
        body.push(0);
        let answer = self.0.call(key::INCREMENTAL_ALTER_CONFIGS, 0, &body)?;
        let mut rest = Answer(&answer);
        rest.skip(8)?;
        match rest.i16()? {
            0 => Ok(()),
            error => Err(io::Error::other(format!("{name} of {topic} cannot be altered: error {error}"))),
        }
    }

    /// Deletes a topic.
    pub fn delete(&mut self, topic: &str) -> io::Result<()> {
        let mut body = Vec::new();
        put_len(&mut body, 1)?;
        put_text(&mut body, topic)?;
        body.extend(LIMIT_MS.to_be_bytes());
        let answer = self.0.call(key::DELETE_TOPICS, 1, &body)?;
        let mut rest = Answer(&answer);
        rest.skip(8)?;
        rest.text()?;
        match rest.i16()? {
            0 => Ok(()),
            error => Err(io::Error::other(format!("the topic {topic} cannot be deleted: error {error}"))),
        }
    }
}

const LIMIT_MS: i32 = 60_000;
