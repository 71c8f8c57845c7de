//! What a setting's value may be: its type as DescribeConfigs names it, its range, and the check of a text.
//!
//! Values stay the texts that Kafka's tools send and print; the messages are the ones Kafka's users know.

use super::setting::{Setting, split_list};

/// The type and the valid values of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A whole number of 16, 32 or 64 bits.
    Number {
        /// How many bits.
        width: Width,
        /// The least valid value.
        least: i64,
        /// The greatest valid value.
        most: i64,
    },
    /// A fraction.
    Double {
        /// The least valid value.
        least: f64,
        /// The greatest valid value.
        most: f64,
    },
    /// Items separated by commas, each one of these unless there are none here.
    List(&'static [&'static str]),
    /// The name of a Java class.
    Class,
    /// A secret: never shown.
    Password,
    /// 1 to 9, or -1 for gzip's own default.
    GzipLevel,
    /// `PARTITION:BROKER` separated by commas, or `*` for all.
    ThrottledReplicas,
}

/// Kafka's names of its whole-number types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 16 bits.
    Short,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
}

impl Kind {
    /// The type's number in DescribeConfigs v3+ (KIP-569).
    #[must_use]
    pub const fn wire_type(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text | Self::OneOf(_) | Self::OneOfAnyCase(_) => 2,
            Self::GzipLevel | Self::Number { width: Width::Int, .. } => 3,
            Self::Number { width: Width::Short, .. } => 4,
            Self::Number { width: Width::Long, .. } => 5,
            Self::Double { .. } => 6,
            Self::List(_) | Self::ThrottledReplicas => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Whether IncrementalAlterConfigs may append to and subtract from it.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::ThrottledReplicas)
    }

    /// Whether `text` is a valid value; if not, why, in Kafka's words.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Boolean => check_boolean(text),
            Self::Text | Self::Class | Self::Password => Ok(()),
            Self::OneOf(words) => one_of(words, words.contains(&text.trim())),
            Self::OneOfAnyCase(words) => one_of(words, words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()))),
            Self::Number { width, least, most } => check_number(text, width, least, most),
            Self::Double { least, most } => check_double(text, least, most),
            Self::List(words) => check_list(text, words),
            Self::GzipLevel => check_gzip_level(text),
            Self::ThrottledReplicas => check_throttled_replicas(text),
        }
    }
}

impl Width {
    const fn name(self) -> &'static str {
        match self {
            Self::Short => "SHORT",
            Self::Int => "INT",
            Self::Long => "LONG",
        }
    }

    const fn fits(self, value: i64) -> bool {
        match self {
            Self::Short => value >= i16::MIN as i64 && value <= i16::MAX as i64,
            Self::Int => value >= i32::MIN as i64 && value <= i32::MAX as i64,
            Self::Long => true,
        }
    }
}

/// A 32-bit number that is at least `least`.
pub(super) const fn int(least: i64) -> Kind {
    int_in(least, i32::MAX as i64)
}

/// A 32-bit number between `least` and `most`.
pub(super) const fn int_in(least: i64, most: i64) -> Kind {
    Kind::Number { width: Width::Int, least, most }
}

/// A 32-bit number.
pub(super) const fn int_any() -> Kind {
    int(i32::MIN as i64)
}

/// A 64-bit number that is at least `least`.
pub(super) const fn long(least: i64) -> Kind {
    Kind::Number { width: Width::Long, least, most: i64::MAX }
}

/// A 64-bit number.
pub(super) const fn long_any() -> Kind {
    long(i64::MIN)
}

/// A 16-bit number that is at least `least`.
pub(super) const fn short(least: i64) -> Kind {
    Kind::Number { width: Width::Short, least, most: i16::MAX as i64 }
}

fn one_of(words: &[&str], found: bool) -> Result<(), String> {
    if found { Ok(()) } else { Err(format!("String must be one of: {}", words.join(", "))) }
}

fn check_boolean(text: &str) -> Result<(), String> {
    match bool::read(Some(text)) {
        Some(_) => Ok(()),
        None => Err("Expected value to be either true or false".to_owned()),
    }
}

fn check_number(text: &str, width: Width, least: i64, most: i64) -> Result<(), String> {
    let value = i64::read(Some(text)).filter(|value| width.fits(*value));
    let value = value.ok_or_else(|| format!("Not a number of type {}", width.name()))?;
    if value < least {
        return Err(format!("Value must be at least {least}"));
    }
    if value > most {
        return Err(format!("Value must be no more than {most}"));
    }
    Ok(())
}

fn check_double(text: &str, least: f64, most: f64) -> Result<(), String> {
    let value = f64::read(Some(text)).ok_or("Not a number of type DOUBLE")?;
    if value < least {
        return Err(format!("Value must be at least {least}"));
    }
    if value > most {
        return Err(format!("Value must be no more than {most}"));
    }
    Ok(())
}

fn check_list(text: &str, words: &[&str]) -> Result<(), String> {
    for item in split_list(text) {
        if item.is_empty() {
            return Err("Values must not be empty".to_owned());
        }
        if !words.is_empty() {
            one_of(words, words.contains(&item))?;
        }
    }
    Ok(())
}

fn check_gzip_level(text: &str) -> Result<(), String> {
    let value = i64::read(Some(text)).ok_or("Not a number of type INT")?;
    if value == -1 || (1..=9).contains(&value) {
        Ok(())
    } else {
        Err("Value must be between 1 and 9 or equal to -1".to_owned())
    }
}

fn check_throttled_replicas(text: &str) -> Result<(), String> {
    let is_pair = |item: &str| {
        item.split_once(':')
            .is_some_and(|(partition, broker)| partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok())
    };
    if text.trim() == "*" || split_list(text).all(is_pair) {
        Ok(())
    } else {
        Err("Value must be the literal '*' or a list of [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            .to_owned())
    }
}
