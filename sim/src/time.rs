//! Simulated time, and how scenario files write it: `250us`, `1.5s`, `2h`.

use std::time::Duration;

/// Nanoseconds since the start of the run.
pub type Nanos = u64;

/// A microsecond.
pub const MICROSECOND: Nanos = 1_000;
/// A millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// A second.
pub const SECOND: Nanos = 1_000_000_000;

const UNITS: [(&str, Nanos); 6] =
    [("ns", 1), ("us", MICROSECOND), ("ms", MILLISECOND), ("s", SECOND), ("m", 60 * SECOND), ("h", 3600 * SECOND)];

/// Reads `1.5s`: a decimal number and one of ns, us, ms, s, m, h.
///
/// # Errors
/// A sentence that names what is wrong.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = UNITS.iter().find(|(name, _)| *name == unit);
    let Some(&(_, scale)) = scale else {
        return Err(format!("`{text}` is not a time: write it as `250us`, `1.5s` or `2h`"));
    };
    let bad = || format!("`{text}` is not a time: `{number}` is not a number");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    let digits = u32::try_from(fraction.len()).map_err(|_| bad())?;
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| bad())? };
    let power = 10_u128.checked_pow(digits).ok_or_else(bad)?;
    let nanos = whole * u128::from(scale) + fraction * u128::from(scale) / power;
    u64::try_from(nanos).map_err(|_| format!("`{text}` is longer than 584 years"))
}

/// Writes a time exactly, in the largest unit that needs at most nine decimals: the inverse of [`parse_duration`].
#[must_use]
pub fn format_duration(nanos: Nanos) -> String {
    let (unit, scale) = match nanos {
        0..MICROSECOND => ("ns", 1),
        MICROSECOND..MILLISECOND => ("us", MICROSECOND),
        MILLISECOND..SECOND => ("ms", MILLISECOND),
        _ => ("s", SECOND),
    };
    let (whole, rest) = (nanos / scale, nanos % scale);
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let digits = scale.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

/// The same as a [`Duration`].
#[must_use]
pub const fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_alike() {
        for (text, nanos) in [
            ("0ns", 0),
            ("250us", 250_000),
            ("1.5s", 1_500_000_000),
            ("137.204318ms", 137_204_318),
            ("3600s", 3600 * SECOND),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos));
            assert_eq!(format_duration(nanos), text);
        }
        assert_eq!(parse_duration("2h"), Ok(7200 * SECOND));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "5", "s", "1.2.3s", "-1s", "1 s", "5 parsecs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
