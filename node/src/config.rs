//! What the operator said: flags over `KAFKA_*` variables over the properties file over a preset.
//!
//! Every fault is found and named at once, with the file and line, the variable or the flag that it is in.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ottla_core::config::{
    BrokerConfig, ConfigError, Effect, Layers, Origin, Scope, StaticConfig, find, parse_properties, variable_to_key,
};

/// Where settings come from, the weakest first.
#[derive(Debug, Default)]
pub struct Sources {
    /// What the command itself sets.
    pub preset: Vec<(String, String)>,
    /// The properties file.
    pub file: Option<PathBuf>,
    /// The environment's variables.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub flags: Vec<(String, String)>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// Keys or values are wrong.
    #[error("{}", Lines(.0))]
    Wrong(Vec<String>),
}

/// One fault a line; the first stands behind `error: `.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n       "))
    }
}

impl Sources {
    /// All that was said, checked key by key. The same variable twice cannot be; a key twice in the file is
    /// the last one, as in Kafka.
    pub fn read(&self) -> Result<StaticConfig, Fault> {
        let mut fixed = StaticConfig::default();
        let mut faults = Vec::new();
        for (key, value) in &self.preset {
            note(&mut faults, "preset", fixed.set(key, value, Origin::Preset));
        }
        if let Some(file) = &self.file {
            read_file(file, &mut fixed, &mut faults)?;
        }
        for (variable, value) in &self.environment {
            if let Some(key) = variable_to_key(variable) {
                note(&mut faults, variable, fixed.set(&key, value, Origin::Environment));
            }
        }
        for (key, value) in &self.flags {
            note(&mut faults, "command line", fixed.set(key, value, Origin::Flag));
        }
        if faults.is_empty() { Ok(fixed) } else { Err(Fault::Wrong(faults)) }
    }

    /// The effective configuration, checked as a whole.
    pub fn effective(&self) -> Result<BrokerConfig, Fault> {
        let config = BrokerConfig::new(Layers::of(self.read()?));
        config.map_err(|error| {
            let place = self.file.as_ref().map_or("configuration".to_owned(), |file| file.display().to_string());
            Fault::Wrong(vec![format!("{place}: {error}")])
        })
    }
}

/// The keys that were given and have no effect, in a form for one log line each.
pub fn without_effect(fixed: &StaticConfig) -> impl Iterator<Item = &str> {
    let is_idle = |name: &str| find(Scope::Broker, name).is_none_or(|key| key.effect == Effect::Ignored);
    fixed.iter().map(|(name, _, _)| name).filter(move |name| is_idle(name))
}

/// What `ottla dev` sets: the least that makes clients of one machine happy. Everything can be overridden.
pub fn dev_preset(data: &Path, listen: Option<&str>) -> Vec<(String, String)> {
    let listen = listen.unwrap_or("127.0.0.1:9092");
    let data = data.display().to_string();
    // Nobody but the node itself speaks to its controller, so any port will do.
    let listeners = format!("PLAINTEXT://{listen},CONTROLLER://127.0.0.1:0");
    let pairs = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", listeners.as_str()),
        ("log.dirs", data.as_str()),
        ("offsets.topic.replication.factor", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.consumer.assignment.interval.ms", "0"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The process's variables. One that is not UTF-8 is no setting.
pub fn environment() -> Vec<(String, String)> {
    let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    env::vars_os().filter_map(utf8).collect()
}

fn read_file(file: &Path, fixed: &mut StaticConfig, faults: &mut Vec<String>) -> Result<(), Fault> {
    let unreadable = |error| Fault::Unreadable { file: file.to_owned(), error };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let place = file.display().to_string();
    for (line, key, value) in parse_properties(&text) {
        note(faults, &place, fixed.set(&key, value.trim(), Origin::File { line }));
    }
    Ok(())
}

fn note(faults: &mut Vec<String>, place: &str, result: Result<(), ConfigError>) {
    if let Err(error) = result {
        faults.push(format!("{place}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("server.properties");
        fs::write(&path, text).expect("a file");
        (dir, path)
    }

    #[test]
    fn flags_go_over_variables_over_the_file_over_the_preset() {
        let (_dir, path) = file("num.partitions=2\nmin.insync.replicas=2\nlog.retention.ms=2\n");
        let sources = Sources {
            preset: pairs(&[("num.partitions", "1"), ("default.replication.factor", "1")]),
            file: Some(path),
            environment: pairs(&[("KAFKA_MIN_INSYNC_REPLICAS", "3"), ("KAFKA_LOG_RETENTION_MS", "3"), ("HOME", "/")]),
            flags: pairs(&[("log.retention.ms", "4")]),
        };
        let fixed = sources.read().expect("all of it is valid");
        assert_eq!(fixed.get("default.replication.factor"), Some(("1", Origin::Preset)));
        assert_eq!(fixed.get("num.partitions"), Some(("2", Origin::File { line: 1 })));
        assert_eq!(fixed.get("min.insync.replicas"), Some(("3", Origin::Environment)));
        assert_eq!(fixed.get("log.retention.ms"), Some(("4", Origin::Flag)));
    }

    #[test]
    fn every_fault_is_named_at_its_place() {
        let (_dir, path) = file("# mine\nnum.partitons=2\nlog.retention.ms=x\n");
        let place = path.display().to_string();
        let sources = Sources { file: Some(path), environment: pairs(&[("KAFKA_FOO_BAR", "1")]), ..Sources::default() };
        let text = sources.read().expect_err("three faults").to_string();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 3, "{text}");
        let expected = "line 2: Unknown configuration num.partitons; did you mean num.partitions?";
        assert_eq!(lines[0], format!("{place}: {expected}"));
        let expected = "line 3: Invalid value x for configuration log.retention.ms: Not a number of type LONG";
        assert_eq!(lines[1], format!("{place}: {expected}"));
        assert!(lines[2].starts_with("KAFKA_FOO_BAR: Unknown configuration foo.bar"), "{text}");
    }

    #[test]
    fn idle_keys_are_told() {
        let flags = pairs(&[("num.io.threads", "4"), ("num.partitions", "2"), ("ssl.provider", "x")]);
        let fixed = Sources { flags, ..Sources::default() }.read().expect("valid");
        assert_eq!(without_effect(&fixed).collect::<Vec<_>>(), ["num.io.threads", "ssl.provider"]);
    }
}
