//! The macro that declares a plain struct of effective values: each field names the key that it is read from.

use super::error::ConfigError;
use super::setting::Setting;

/// Declares structs whose fields are settings. `T::KEYS` are their keys, `T::read` parses them all.
macro_rules! groups {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $( $field:ident: $ty:ty = $key:literal, )* }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( #[doc = concat!("`", $key, "`")] pub $field: $ty, )*
        }

        impl $name {
            #[cfg(test)]
            pub(super) const KEYS: &'static [&'static str] = &[$($key),*];

            /// Reads each field from the text that `text_of` has for its key.
            pub(super) fn read(
                text_of: $crate::config::group::TextOf<'_>,
            ) -> Result<Self, $crate::config::ConfigError> {
                Ok(Self { $( $field: $crate::config::group::field($key, text_of)?, )* })
            }
        }
    )* };
}

pub(super) use groups;

/// The effective text of a key; `None` where it has neither value nor default.
pub(super) type TextOf<'a> = &'a dyn Fn(&'static str) -> Option<&'a str>;

/// The value of `key`. Fails for a required setting that is not given.
pub(super) fn field<T: Setting>(key: &'static str, text_of: TextOf<'_>) -> Result<T, ConfigError> {
    let text = text_of(key);
    T::read(text).ok_or_else(|| {
        let what = match text {
            None => format!("{key} is required and has no default"),
            Some(_) => format!("the value of {key} cannot be read"),
        };
        ConfigError::new(key, what)
    })
}
