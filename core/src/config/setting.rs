//! From the text of a value to the type that the code reads.
//!
//! A text that the table has found valid always reads; a test holds each field of the configuration
//! structs to the table.

/// A type that a setting's value can be read as.
pub(super) trait Setting: Sized {
    /// The value, `None` if the text does not fit. `text` is `None` for a setting without value and default.
    fn read(text: Option<&str>) -> Option<Self>;
}

/// The items of a comma-separated list, trimmed; none for an empty text.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let items = if text.is_empty() { None } else { Some(text.split(',').map(str::trim)) };
    items.into_iter().flatten()
}

impl Setting for bool {
    fn read(text: Option<&str>) -> Option<Self> {
        let text = text?.trim();
        if text.eq_ignore_ascii_case("true") { Some(true) } else { text.eq_ignore_ascii_case("false").then_some(false) }
    }
}

impl Setting for String {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(text?.trim().to_owned())
    }
}

impl Setting for Vec<String> {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(split_list(text.unwrap_or_default()).map(str::to_owned).collect())
    }
}

macro_rules! numbers {
    ($($ty:ty)*) => { $(
        impl Setting for $ty {
            fn read(text: Option<&str>) -> Option<Self> {
                text?.trim().parse().ok()
            }
        }
    )* };
}

numbers! { i8 i16 i32 i64 u32 u64 usize f64 }

impl Setting for Option<String> {
    fn read(text: Option<&str>) -> Option<Self> {
        Some(String::read(text).filter(|text| !text.is_empty()))
    }
}

impl Setting for Option<u32> {
    /// `None` if not given, and where Kafka says "none" with a negative number.
    fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(None),
            Some(_) => Some(u32::try_from(i64::read(text)?).ok()),
        }
    }
}

impl Setting for Option<u64> {
    /// `None` if not given, and where Kafka says "for ever" or "no bound" with a negative number.
    fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(None),
            Some(_) => Some(u64::try_from(i64::read(text)?).ok()),
        }
    }
}
