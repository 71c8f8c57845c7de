//! The types of the flat table of settings, its look-ups, and what is said about a key that is not in it.
//!
//! The rows are in `broker_keys.rs` and `topic_keys.rs`. Everything about a setting is derived from its row.

use super::broker_keys::BROKER;
use super::error::ConfigError;
use super::kind::Kind;
use super::refusal;
use super::topic_keys::{CLIENT_METRICS, GROUP, TOPIC};

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A broker or controller, or the cluster's default for all of them.
    Broker,
    /// A topic.
    Topic,
    /// A group (KIP-848).
    Group,
    /// A subscription of client metrics (KIP-714).
    ClientMetrics,
}

/// Whether and where a broker's setting can be changed while it runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// Only by a restart.
    Fixed,
    /// For one broker.
    PerBroker,
    /// For one broker, or for all of them.
    PerBrokerOrCluster,
    /// Only for all brokers at once: differing values would be unsafe.
    Cluster,
}

/// What Ottla makes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is obeyed.
    Used,
    /// It is accepted and changes nothing: the feature is not there, or works without it.
    Ignored,
    /// A value other than the default is refused: ignoring it would silently weaken something.
    Refused,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as Kafka spells it.
    pub name: &'static str,
    /// What it belongs to.
    pub scope: Scope,
    /// Its type and valid values.
    pub kind: Kind,
    /// Its default as text; `None` for Kafka's null.
    pub default: Option<&'static str>,
    /// How it can be changed at run time. Settings of topics and groups always can.
    pub dynamic: Dynamic,
    /// Broker settings that it takes its value from when it is not set itself, the first that is given,
    /// each with the factor that turns its unit into this one's.
    pub synonyms: &'static [(&'static str, i64)],
    /// What Ottla makes of it.
    pub effect: Effect,
    /// One sentence.
    pub doc: &'static str,
}

impl Key {
    /// Whether its value must never be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether only a restart changes it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.scope == Scope::Broker && self.dynamic == Dynamic::Fixed
    }

    /// Whether `value` may be given to this setting: its type, its range, and that Ottla can honour it.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        if let Err(why) = self.kind.check(value) {
            let shown = if self.is_sensitive() { "[hidden]" } else { value };
            let what = format!("Invalid value {shown} for configuration {}: {why}", self.name);
            return Err(ConfigError::new(self.name, what));
        }
        if self.effect == Effect::Refused && Some(value.trim()) != self.default {
            return refusal::check(self.name, value);
        }
        Ok(())
    }
}

/// All settings of `scope`, in the order of the table.
#[must_use]
pub const fn keys(scope: Scope) -> &'static [Key] {
    match scope {
        Scope::Broker => BROKER,
        Scope::Topic => TOPIC,
        Scope::Group => GROUP,
        Scope::ClientMetrics => CLIENT_METRICS,
    }
}

/// The setting of `scope` called `name`.
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    keys(scope).iter().find(|key| key.name == name)
}

/// The rows of one scope.
macro_rules! broker_keys {
    ($table:ident; $($name:literal, $kind:expr, $default:tt, $dynamic:ident, $effect:ident, $doc:literal;)*) => {
        pub(super) const $table: &[Key] = &[$(Key {
            name: $name,
            scope: Scope::Broker,
            kind: $kind,
            default: default!($default),
            dynamic: Dynamic::$dynamic,
            synonyms: &[],
            effect: Effect::$effect,
            doc: $doc,
        }),*];
    };
}

/// The rows of one scope whose settings may come from the broker's.
macro_rules! other_keys {
    ($table:ident, $scope:ident;
     $($name:literal, $kind:expr, $default:tt, [$($from:literal * $factor:literal),*], $effect:ident,
       $doc:literal;)*) => {
        pub(super) const $table: &[Key] = &[$(Key {
            name: $name,
            scope: Scope::$scope,
            kind: $kind,
            default: default!($default),
            dynamic: Dynamic::PerBrokerOrCluster,
            synonyms: &[$(($from, $factor)),*],
            effect: Effect::$effect,
            doc: $doc,
        }),*];
    };
}

macro_rules! default {
    (null) => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}

pub(super) use {broker_keys, default, other_keys};
