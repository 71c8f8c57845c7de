//! Where values come from: flags over environment over file over preset (static); above those what the
//! metadata says of the whole cluster, and topmost what it says of this broker (dynamic, KIP-226).

use std::collections::BTreeMap;

use super::describe::Source;
use super::error::ConfigError;
use super::table::{Dynamic, Scope, find};
use super::unknown::{is_foreign, unknown_key};

/// The settings of one resource as the metadata holds them: key to text.
pub type Overrides = BTreeMap<String, String>;

/// Who gave a static value, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// What `ottla dev` sets for an easy start.
    Preset,
    /// A line of the properties file, counted from 1.
    File {
        /// The line on which the key stands.
        line: u32,
    },
    /// A `KAFKA_*` variable.
    Environment,
    /// The command line.
    Flag,
}

/// The settings given at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticConfig {
    values: BTreeMap<String, (String, Origin)>,
}

/// All the layers of one broker's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Given at start.
    pub fixed: StaticConfig,
    /// The metadata's settings of all brokers.
    pub cluster: Overrides,
    /// The metadata's settings of this broker.
    pub broker: Overrides,
}

impl StaticConfig {
    /// Sets `name` over what weaker or earlier origins gave. Fails if the key is unknown, or the value bad.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let checked = match find(Scope::Broker, name) {
            Some(key) => key.check(value),
            None if is_foreign(name) => Ok(()),
            None => Err(unknown_key(Scope::Broker, name)),
        };
        checked.map_err(|error| match origin {
            Origin::File { line } => error.at_line(line),
            Origin::Preset | Origin::Environment | Origin::Flag => error,
        })?;
        let stronger = self.values.get(name).is_some_and(|(_, given)| rank(*given) > rank(origin));
        if !stronger {
            self.values.insert(name.to_owned(), (value.to_owned(), origin));
        }
        Ok(())
    }

    /// The text given for `name`, and by whom.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&str, Origin)> {
        self.values.get(name).map(|(value, origin)| (value.as_str(), *origin))
    }

    /// All that was given, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Origin)> {
        self.values.iter().map(|(name, (value, origin))| (name.as_str(), value.as_str(), *origin))
    }
}

impl Layers {
    /// Only what was given at start.
    #[must_use]
    pub fn of(fixed: StaticConfig) -> Self {
        Self { fixed, ..Self::default() }
    }

    /// The effective text of the broker setting `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.sources(name).next().map(|(_, text)| text)
    }

    /// Every layer's text of the broker setting `name`, the topmost first, its default last.
    pub fn sources(&self, name: &str) -> impl Iterator<Item = (Source, &str)> {
        let key = find(Scope::Broker, name);
        let dynamic = key.map_or(Dynamic::Fixed, |key| key.dynamic);
        let per_broker = matches!(dynamic, Dynamic::PerBroker | Dynamic::PerBrokerOrCluster);
        let cluster = matches!(dynamic, Dynamic::Cluster | Dynamic::PerBrokerOrCluster);
        let broker = per_broker.then(|| self.broker.get(name)).flatten();
        let cluster = cluster.then(|| self.cluster.get(name)).flatten();
        let fixed = self.fixed.get(name).map(|(text, _)| text);
        let default = key.and_then(|key| key.default);
        let layers = [
            (Source::DynamicBroker, broker.map(String::as_str)),
            (Source::DynamicDefaultBroker, cluster.map(String::as_str)),
            (Source::StaticBroker, fixed),
            (Source::Default, default),
        ];
        layers.into_iter().filter_map(|(source, text)| text.map(|text| (source, text)))
    }
}

/// Origins by strength; lines of a file are equal, so that the last one counts.
const fn rank(origin: Origin) -> u8 {
    match origin {
        Origin::Preset => 0,
        Origin::File { .. } => 1,
        Origin::Environment => 2,
        Origin::Flag => 3,
    }
}
