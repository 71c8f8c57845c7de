//! Kafka's UUIDs: topic ids, directory ids, the cluster id.

use std::fmt;
use std::str::FromStr;

/// 128 bits, written as Kafka writes them: 22 characters of URL-safe base64 without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub u128);

impl Uuid {
    /// No UUID: an absent topic id, an unassigned directory.
    pub const ZERO: Self = Self(0);
    /// The topic id of `__cluster_metadata`, and the directory id of a lost directory's successor (reserved).
    pub const ONE: Self = Self(1);

    /// Whether this is [`Uuid::ZERO`].
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const DIGITS: usize = 22;

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 22 digits hold 132 bits: the last has four zero bits below.
        let mut text = String::with_capacity(DIGITS);
        text.extend((0..21).map(|i| digit(self.0 >> (122 - 6 * i))));
        text.push(digit(self.0 << 4));
        f.pad(&text)
    }
}

fn digit(bits: u128) -> char {
    char::from(ALPHABET[usize::from(bits.to_le_bytes()[0] & 0x3f)])
}

/// A text that is no UUID in Kafka's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID: 22 characters of URL-safe base64 are expected")
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.strip_suffix("==").unwrap_or(text).as_bytes();
        if text.len() != DIGITS {
            return Err(ParseUuidError);
        }
        let mut value = 0u128;
        for &byte in &text[..DIGITS - 1] {
            value = value << 6 | bits(byte)?;
        }
        Ok(Self(value << 2 | bits(text[DIGITS - 1])? >> 4))
    }
}

fn bits(byte: u8) -> Result<u128, ParseUuidError> {
    Ok(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return Err(ParseUuidError),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_java_client() {
        for (value, text) in [
            (0, "AAAAAAAAAAAAAAAAAAAAAA"),
            (1, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (u128::MAX, "_____________________w"),
            (0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, "ASNFZ4mrze_-3LqYdlQyEA"),
        ] {
            assert_eq!(Uuid(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Uuid(value)));
        }
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for text in [
            "",
            "A",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "äAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(ParseUuidError), "{text}");
        }
    }
}
