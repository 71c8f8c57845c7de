//! Places in a log as they are typed: `start`, `end`, an offset, the last so many, a time; and ranges of them.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{Admin, Error, Offset, TopicPartition};

/// What can be typed, for help and errors.
pub(super) const PLACES: &str = "start, end, an offset, -N (N before the end), +N (N after the start), \
                                 or @TIME (ms since 1970, 2026-01-31, 2026-01-31T12:00:00Z, or -1h for an hour ago)";

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Offset(i64),
    BeforeEnd(i64),
    AfterStart(i64),
    /// The first record as young as this, in ms since 1970.
    Time(i64),
}

/// Where to begin and, perhaps, before what to stop: `A`, `A:B` or `:B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Place,
    pub(super) until: Option<Place>,
}

impl Place {
    /// The offset that it is now.
    pub(super) async fn resolve(self, admin: &Admin, partition: &TopicPartition) -> Result<Offset, Error> {
        match self {
            Self::Start => admin.start_offset(partition).await,
            Self::End => admin.end_offset(partition).await,
            Self::Offset(offset) => Ok(Offset(offset)),
            Self::BeforeEnd(count) => {
                let (start, end) = (admin.start_offset(partition).await?, admin.end_offset(partition).await?);
                Ok(Offset(end.0.saturating_sub(count).max(start.0)))
            }
            Self::AfterStart(count) => {
                let (start, end) = (admin.start_offset(partition).await?, admin.end_offset(partition).await?);
                Ok(Offset(start.0.saturating_add(count).min(end.0)))
            }
            Self::Time(ms) => match admin.offset_at(partition, ms).await? {
                Some(offset) => Ok(offset),
                None => admin.end_offset(partition).await,
            },
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no place: write {PLACES}");
        let count = |digits: &str| digits.parse::<i64>().ok().filter(|count| *count >= 0).ok_or_else(wrong);
        match text {
            "start" | "beginning" | "earliest" | "oldest" => Ok(Self::Start),
            "end" | "latest" | "newest" => Ok(Self::End),
            // kcat writes s@ for the start of a range of time.
            _ => {
                match text.strip_prefix('s').filter(|rest| rest.starts_with('@')).unwrap_or(text).split_at_checked(1) {
                    Some(("@", time)) => time_of(time, SystemTime::now()).map(Self::Time).ok_or_else(wrong),
                    Some(("-", digits)) => count(digits).map(Self::BeforeEnd),
                    Some(("+", digits)) => count(digits).map(Self::AfterStart),
                    Some(_) | None => count(text).map(Self::Offset),
                }
            }
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = text.parse().map(|from| Self { from, until: None });
        // Times have colons of their own: the one between the places is where both sides make sense.
        let split = text.match_indices(':').find_map(|(at, _)| {
            let from = if at == 0 { Place::Start } else { text[..at].parse().ok()? };
            Some(Self { from, until: Some(text[at + 1..].parse().ok()?) })
        });
        whole.or_else(|error| split.ok_or(error))
    }
}

/// Ms since 1970.
fn time_of(text: &str, now: SystemTime) -> Option<i64> {
    let since = |time: SystemTime| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok();
    if let Ok(ms) = text.parse::<i64>()
        && ms >= 0
    {
        return Some(ms);
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago: Duration = humantime::parse_duration(ago).ok()?;
        return since(now.checked_sub(ago)?);
    }
    let with_clock = format!("{text}T00:00:00Z");
    let time = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339_weak(&with_clock));
    since(time.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_ranges_are_read() {
        let range = |text: &str| text.parse::<Range>().expect("a range");
        let one = |from| Range { from, until: None };
        assert_eq!(range("start"), one(Place::Start));
        assert_eq!(range("47"), one(Place::Offset(47)));
        assert_eq!(range("-10"), one(Place::BeforeEnd(10)));
        assert_eq!(range("+10"), one(Place::AfterStart(10)));
        assert_eq!(range("@1700000000000"), one(Place::Time(1_700_000_000_000)));
        assert_eq!(range("s@1700000000000"), one(Place::Time(1_700_000_000_000)));
        assert_eq!(range("@2026-01-31"), one(Place::Time(1_769_817_600_000)));
        assert_eq!(range("5:end"), Range { from: Place::Offset(5), until: Some(Place::End) });
        assert_eq!(range(":7"), Range { from: Place::Start, until: Some(Place::Offset(7)) });
        let times = Range { from: Place::Time(1_769_860_800_000), until: Some(Place::Time(1_769_860_860_000)) };
        assert_eq!(range("@2026-01-31T12:00:00Z:@2026-01-31T12:01:00Z"), times);
        for wrong in ["", "soon", "-x", "@", "1:2:3", "@-1parsec"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_be_ago() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        assert_eq!(time_of("-1h", now), Some(6_400_000));
        assert_eq!(time_of("-30days", now), None, "before 1970");
    }
}
