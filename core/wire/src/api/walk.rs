//! Reading a request's partitions without allocating: every request gets its batches looked at before it is queued.
//!
//! Produce, Fetch and a fetch session's forgotten partitions have one shape: an array of topics, each with a name
//! (up to version 12) or an id (from 13 on) and an array of partitions. A walk hands each partition to a closure,
//! in the order of the bytes. It accepts what decoding accepts, and more only in that it takes no memory; that the
//! request is whole is known when the walk returns, not before.

use crate::primitives::{Reader, Result, Version, Wire};
use crate::{DecodeError, Message, Uuid};

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

/// Walks the array of topics that `r` is at.
#[inline]
pub(super) fn partitions<'a, P: Wire<'a>>(
    r: &mut Reader<'a>,
    v: Version,
    visit: &mut impl FnMut(TopicRef<'a>, P),
) -> Result<()> {
    for _ in 0..r.array_len(v, 0, 0)?.ok_or(DecodeError::UnexpectedNull)? {
        let topic =
            if v.number < FIRST_WITH_ID { TopicRef::Name(Wire::read(r, v)?) } else { TopicRef::Id(Wire::read(r, v)?) };
        for _ in 0..r.array_len(v, P::LEAST, 0)?.ok_or(DecodeError::UnexpectedNull)? {
            visit(topic, P::read(r, v)?);
        }
        r.skip_tags(v)?;
    }
    Ok(())
}

/// The encoding of a message's version.
pub(super) fn version<'a, M: Message<'a>>(number: i16) -> Result<Version> {
    if M::VERSIONS.contains(&number) {
        Ok(Version { number, flexible: M::flexible(number) })
    } else {
        Err(DecodeError::UnsupportedVersion(number))
    }
}
