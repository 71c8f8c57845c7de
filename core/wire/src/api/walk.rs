//! Reading a request's partitions without allocating: every request gets its batches looked at before it is queued.
//!
//! Produce, Fetch and a fetch session's forgotten partitions have one shape: an array of topics, each with a name
//! (up to version 12) or an id (from 13 on) and an array of partitions. A walk checks the whole body once when it
//! is made; what it yields later cannot fail. It accepts exactly what decoding accepts, but for the memory that
//! decoding would take.

use crate::primitives::{Reader, Result, Version, Wire};
use crate::{DecodeError, Message, Uuid};
use std::marker::PhantomData;

/// The first version in which topics have ids (KIP-516), of Produce and of Fetch.
const FIRST_WITH_ID: i16 = 13;

/// A topic as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(Uuid),
}

/// The partitions of a request, topic by topic, as they are in its bytes.
#[derive(Clone, Debug)]
pub struct Partitions<'a, P> {
    r: Reader<'a>,
    v: Version,
    topic: TopicRef<'a>,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
    partition: PhantomData<P>,
}

impl<'a, P: Wire<'a> + Clone> Partitions<'a, P> {
    /// A walk over the array of topics that `r` is at; `r` is moved behind it.
    pub(super) fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        let topics = r.array_len(v, 0, 0)?.ok_or(DecodeError::UnexpectedNull)?;
        let start = Self {
            r: r.clone(),
            v,
            topic: TopicRef::Name(""),
            topics_left: topics,
            partitions_left: 0,
            in_topic: false,
            partition: PhantomData,
        };
        let mut walk = start.clone();
        while walk.advance()?.is_some() {}
        *r = walk.r;
        Ok(start)
    }

    /// No partitions, for a version that does not have the array.
    pub(super) fn none(v: Version) -> Self {
        Self {
            r: Reader::new(&[]),
            v,
            topic: TopicRef::Name(""),
            topics_left: 0,
            partitions_left: 0,
            in_topic: false,
            partition: PhantomData,
        }
    }

    fn advance(&mut self) -> Result<Option<(TopicRef<'a>, P)>> {
        while self.partitions_left == 0 {
            if std::mem::take(&mut self.in_topic) {
                self.r.skip_tags(self.v)?;
            }
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.topics_left -= 1;
            self.topic = if self.v.number < FIRST_WITH_ID {
                TopicRef::Name(Wire::read(&mut self.r, self.v)?)
            } else {
                TopicRef::Id(Wire::read(&mut self.r, self.v)?)
            };
            self.partitions_left = self.r.array_len(self.v, P::LEAST, 0)?.ok_or(DecodeError::UnexpectedNull)?;
            self.in_topic = true;
        }
        self.partitions_left -= 1;
        Ok(Some((self.topic, P::read(&mut self.r, self.v)?)))
    }
}

impl<'a, P: Wire<'a> + Clone> Iterator for Partitions<'a, P> {
    type Item = (TopicRef<'a>, P);

    fn next(&mut self) -> Option<Self::Item> {
        // These very bytes were walked when this was made.
        self.advance().ok().flatten()
    }
}

/// The encoding of a message's version.
pub(super) fn version<'a, M: Message<'a>>(number: i16) -> Result<Version> {
    if M::VERSIONS.contains(&number) {
        Ok(Version { number, flexible: M::flexible(number) })
    } else {
        Err(DecodeError::UnsupportedVersion(number))
    }
}
