//! The `message!` macro: one declaration per message of the protocol, and the [`Message`] trait that it implements.
//!
//! ```text
//! message! {
//!     FetchRequest<'a>: 4..=18, flexible 12..;
//!     /// What the whole request says.
//!     struct FetchRequest<'a> {
//!         max_bytes: i32 = 0x7fffffff,
//!         topics: Vec<FetchTopic<'a>>,
//!     } tagged { 0 cluster_id: Option<&'a str> [12..], }
//!     struct FetchTopic<'a> { topic: &'a str [..=12], topic_id: Uuid [13..], }
//! }
//! ```
//!
//! A field is `name: Type [versions, null versions] = default`. Without brackets it is in every version; without
//! `null` an `Option` may be null wherever it is present. `tagged` holds the optional fields of flexible
//! versions with their tags in ascending order; a tagged field that has its default value is not written.
//! A struct without borrowed parts is declared without a lifetime; the lifetime is always called `'a`.
//!
//! A field that a version lacks decodes to its default and is ignored when writing, as a broker does when it
//! answers an old client. A null that a version lacks is an error when reading and is written as the type's
//! empty value. Tagged fields that nobody knows are skipped.
//!
//! Names, order, versions and defaults are those of Apache Kafka 4.3.1's schemas, in Rust's spelling, but for two
//! things: `error_code` fields have the type `ErrorCode`, and a nullable string defaults to null.

use crate::primitives::{DecodeError, Reader, Result, Version, Wire};
use crate::writer::Writer;
use std::ops::RangeInclusive;

/// A whole request, response or record body.
pub trait Message<'a>: Wire<'a> + Default {
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether this version has compact lengths and tagged fields (KIP-482).
    fn flexible(version: i16) -> bool;

    /// Reads the message. What follows it is left in the reader: Kafka ignores it in requests and responses.
    ///
    /// # Errors
    /// [`DecodeError::UnsupportedVersion`], or what is wrong with the bytes.
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion(version));
        }
        Self::read(r, Version { number: version, flexible: Self::flexible(version) })
    }

    /// Appends the message.
    ///
    /// # Panics
    /// If the message does not have this version: it was negotiated, or came with the request.
    fn encode(&self, w: &mut Writer, version: i16) {
        assert!(Self::VERSIONS.contains(&version), "encode: version {version} of {:?}", Self::VERSIONS);
        self.write(w, Version { number: version, flexible: Self::flexible(version) });
    }
}

/// The range of versions that a message without flexible versions has them in.
#[allow(dead_code, reason = "for messages without flexible versions")]
pub(crate) const NEVER: RangeInclusive<i16> = RangeInclusive::new(1, 0);

/// Declares one message: see the module's documentation.
macro_rules! message {
    (
        $message:ident $(<$mlt:lifetime>)?: $versions:expr, flexible $flexible:expr;
        $($(#[$smeta:meta])* struct $name:ident $(<$lt:lifetime>)? {
            $($(#[$fmeta:meta])* $field:ident: $ty:ty $([$in:expr $(, null $null:expr)?])? $(= $default:expr)?,)*
        } $(tagged {
            $($(#[$tmeta:meta])* $tag:literal $tfield:ident: $tty:ty [$tin:expr] $(= $tdefault:expr)?,)*
        })?)*
    ) => {
        impl<'a> $crate::Message<'a> for $message $(<$mlt>)? {
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;

            fn flexible(version: i16) -> bool {
                ($flexible).contains(&version)
            }
        }

        $(
            $(#[$smeta])*
            #[derive(Clone, Debug, PartialEq)]
            #[allow(missing_docs, reason = "fields have Kafka's names; those that need more have a comment")]
            pub struct $name $(<$lt>)? {
                $($(#[$fmeta])* pub $field: $ty,)*
                $($($(#[$tmeta])* pub $tfield: $tty,)*)?
            }

            impl<'a> Default for $name $(<$lt>)? {
                fn default() -> Self {
                    Self {
                        $($field: $crate::message::message!(@default $($default)?),)*
                        $($($tfield: $crate::message::message!(@default $($tdefault)?),)*)?
                    }
                }
            }

            impl<'a> $crate::Wire<'a> for $name $(<$lt>)? {
                const LEAST: usize = 0 $(+ $crate::message::message!(@least $ty, $($in)?))*;

                #[allow(unused_mut, unused_variables, reason = "not every struct has tagged fields")]
                fn read(
                    r: &mut $crate::Reader<'a>,
                    v: $crate::primitives::Version,
                ) -> $crate::primitives::Result<Self> {
                    let mut it = Self {
                        $($field: $crate::message::message!(@read r, v, [$($in)?] [$($default)?]),)*
                        $($($tfield: $crate::message::message!(@default $($tdefault)?),)*)?
                    };
                    $($($(if it.$field.is_none() && ($in).contains(&v.number) && !($null).contains(&v.number) {
                        return Err($crate::DecodeError::UnexpectedNull);
                    })?)?)*
                    $crate::message::message!(@tags r, v, it, $({ $($tag $tfield [$tin],)* })?);
                    Ok(it)
                }

                fn write(&self, w: &mut $crate::Writer, v: $crate::primitives::Version) {
                    $(if $crate::message::message!(@has v, $($in)?) {
                        $crate::message::message!(@write self.$field, w, v, $($($null)?)?);
                    })*
                    if v.flexible {
                        $($(let $tfield = ($tin).contains(&v.number)
                            && self.$tfield != $crate::message::message!(@tdefault $tty, $($tdefault)?);)*)?
                        w.put_uvarint(0 $($(+ u32::from($tfield))*)?);
                        $($(if $tfield {
                            w.put_tagged($tag, |w| $crate::Wire::write(&self.$tfield, w, v));
                        })*)?
                    }
                }
            }

            impl<'a> $crate::Wire<'a> for Option<$name $(<$lt>)?> {
                const LEAST: usize = 1;

                fn read(
                    r: &mut $crate::Reader<'a>,
                    v: $crate::primitives::Version,
                ) -> $crate::primitives::Result<Self> {
                    if i8::read(r, v)? < 0 { Ok(None) } else { $name::read(r, v).map(Some) }
                }

                fn write(&self, w: &mut $crate::Writer, v: $crate::primitives::Version) {
                    $crate::Wire::write(&if self.is_some() { 1i8 } else { -1 }, w, v);
                    if let Some(it) = self {
                        it.write(w, v);
                    }
                }
            }

            #[cfg(test)]
            impl<'a> $crate::arbitrary::Arbitrary for $name $(<$lt>)? {
                #[allow(unused_variables, reason = "not every struct has fields")]
                fn arbitrary(g: &mut $crate::arbitrary::Entropy, v: $crate::primitives::Version, _: bool) -> Self {
                    Self {
                        $($field: if $crate::message::message!(@has v, $($in)?) {
                            $crate::arbitrary::Arbitrary::arbitrary(
                                g, v, $crate::message::message!(@null v, $($($null)?)?)
                            )
                        } else {
                            $crate::message::message!(@default $($default)?)
                        },)*
                        $($($tfield: if ($tin).contains(&v.number) {
                            $crate::arbitrary::Arbitrary::arbitrary(g, v, true)
                        } else {
                            $crate::message::message!(@default $($tdefault)?)
                        },)*)?
                    }
                }
            }
        )*
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@tdefault $ty:ty,) => { <$ty as Default>::default() };
    (@tdefault $ty:ty, $default:expr) => { $default };
    (@has $v:ident,) => { true };
    (@has $v:ident, $in:expr) => { ($in).contains(&$v.number) };
    (@null $v:ident,) => { true };
    (@null $v:ident, $null:expr) => { ($null).contains(&$v.number) };
    (@least $ty:ty,) => { <$ty as $crate::Wire<'a>>::LEAST };
    (@least $ty:ty, $in:expr) => { 0 };
    (@read $r:ident, $v:ident, [] [$($default:expr)?]) => { $crate::Wire::read($r, $v)? };
    (@read $r:ident, $v:ident, [$in:expr] [$($default:expr)?]) => {
        if ($in).contains(&$v.number) {
            $crate::Wire::read($r, $v)?
        } else {
            $crate::message::message!(@default $($default)?)
        }
    };
    (@write $self:ident.$field:ident, $w:ident, $v:ident,) => { $crate::Wire::write(&$self.$field, $w, $v) };
    (@write $self:ident.$field:ident, $w:ident, $v:ident, $null:expr) => {
        match &$self.$field {
            None if !($null).contains(&$v.number) => $crate::message::write_empty(&$self.$field, $w, $v),
            field => $crate::Wire::write(field, $w, $v),
        }
    };
    (@tags $r:ident, $v:ident, $it:ident,) => { $r.skip_tags($v)? };
    (@tags $r:ident, $v:ident, $it:ident, { $($tag:literal $tfield:ident [$tin:expr],)* }) => {
        $r.tags($v, &mut |tag, r| {
            match tag {
                $($tag if ($tin).contains(&$v.number) => $it.$tfield = $crate::Wire::read(r, $v)?,)*
                _ => return Ok(false),
            }
            Ok(true)
        })?
    };
}
pub(crate) use message;

/// Writes the empty value of `T`, for a null that the version does not have.
pub(crate) fn write_empty<'a, T: Wire<'a> + Default>(_: &Option<T>, w: &mut Writer, v: Version) {
    T::default().write(w, v);
}
