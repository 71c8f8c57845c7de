//! The rows of DescribeConfigs: value, source, synonyms, type, doc; derived from the table and the layers.

use super::layers::{Layers, Overrides};
use super::table::{Dynamic, Key, Scope, keys};
use super::topic::inherited;

/// Where a value comes from; the numbers are DescribeConfigs' (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set dynamically on this broker.
    DynamicBroker = 2,
    /// Set dynamically for all brokers.
    DynamicDefaultBroker = 3,
    /// Given at start.
    StaticBroker = 4,
    /// The table's default.
    Default = 5,
    /// Set on the subscription (KIP-714).
    ClientMetrics = 7,
    /// Set on the group (KIP-848).
    Group = 8,
}

/// One layer's value of a setting or of one that it falls back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key in that layer.
    pub name: &'static str,
    /// The text, `None` if it is secret.
    pub value: Option<String>,
    /// Which layer.
    pub source: Source,
}

/// One setting of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The row of the table.
    pub key: KeyRef,
    /// The effective text, `None` if there is none or it is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Every layer that has it, the topmost first.
    pub synonyms: Vec<Synonym>,
}

/// A row of the table; two are equal if they are the same row.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef(pub &'static Key);

impl PartialEq for KeyRef {
    fn eq(&self, other: &Self) -> bool {
        (self.0.scope, self.0.name) == (other.0.scope, other.0.name)
    }
}

impl Eq for KeyRef {}

impl std::ops::Deref for KeyRef {
    type Target = Key;
    fn deref(&self) -> &Key {
        self.0
    }
}

impl Source {
    /// The number in DescribeConfigs.
    #[must_use]
    pub const fn wire_source(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::ClientMetrics => 7,
            Self::Group => 8,
        }
    }
}

/// Every setting of a broker.
#[must_use]
pub fn describe_broker(layers: &Layers) -> Vec<Described> {
    keys(Scope::Broker)
        .iter()
        .map(|key| described(key, broker_synonyms(key.name, layers, key.is_sensitive())))
        .collect()
}

/// The settings that the metadata has for all brokers: those of the broker resource without a name.
#[must_use]
pub fn describe_cluster_default(cluster: &Overrides) -> Vec<Described> {
    let dynamic = keys(Scope::Broker).iter().filter(|key| key.dynamic != Dynamic::Fixed);
    let given = dynamic.filter_map(|key| {
        let value = shown(cluster.get(key.name)?, key.is_sensitive());
        let synonym = Synonym { name: key.name, value, source: Source::DynamicDefaultBroker };
        Some(described(key, vec![synonym]))
    });
    given.collect()
}

/// Every setting of a topic with these overrides.
#[must_use]
pub fn describe_topic(overrides: &Overrides, layers: &Layers) -> Vec<Described> {
    let of_key = |key| describe_resource(key, overrides, Source::Topic, layers);
    keys(Scope::Topic).iter().map(of_key).collect()
}

/// Every setting of a group with these overrides (KIP-848).
#[must_use]
pub fn describe_group(overrides: &Overrides, layers: &Layers) -> Vec<Described> {
    let of_key = |key| describe_resource(key, overrides, Source::Group, layers);
    keys(Scope::Group).iter().map(of_key).collect()
}

fn describe_resource(key: &'static Key, overrides: &Overrides, source: Source, layers: &Layers) -> Described {
    let own = overrides.get(key.name);
    let own = own.map(|text| Synonym { name: key.name, value: shown(text, key.is_sensitive()), source });
    let from_broker = key.synonyms.iter().flat_map(|(name, _)| broker_synonyms(name, layers, key.is_sensitive()));
    let synonyms: Vec<_> = own.into_iter().chain(from_broker).collect();
    let set_here = synonyms.first().is_some_and(|synonym| synonym.source == source);
    let inherited = inherited(key, layers);
    let mut described = described(key, synonyms);
    if !set_here {
        described.value = inherited.and_then(|text| shown(&text, key.is_sensitive()));
    }
    described
}

/// The topmost of `synonyms` is the value and its source.
fn described(key: &'static Key, synonyms: Vec<Synonym>) -> Described {
    let top = synonyms.first();
    Described {
        key: KeyRef(key),
        value: top.and_then(|top| top.value.clone()),
        source: top.map_or(Source::Default, |top| top.source),
        synonyms,
    }
}

fn broker_synonyms(name: &'static str, layers: &Layers, is_sensitive: bool) -> Vec<Synonym> {
    let synonym = |(source, text): (Source, &str)| Synonym { name, value: shown(text, is_sensitive), source };
    layers.sources(name).map(synonym).collect()
}

fn shown(text: &str, is_sensitive: bool) -> Option<String> {
    (!is_sensitive).then(|| text.to_owned())
}
