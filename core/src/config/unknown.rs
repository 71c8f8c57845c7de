//! What is said about a key that is not in the table: removed from Kafka, another scope's, or misspelt.

use super::error::ConfigError;
use super::table::{Scope, keys};

/// Prefixes of Kafka's settings for features that Ottla does not have. They are accepted and change nothing:
/// each takes effect only through another setting, which is refused.
const PREFIXES: &[&str] =
    &["sasl.", "ssl.", "remote.", "rsm.config.", "rlmm.config.", "listener.name.", "metrics.context."];

/// Settings that Kafka 4 no longer has, with what became of them.
const REMOVED: &[(&str, &str)] = &[
    ("zookeeper.", "ZooKeeper is gone since Kafka 4.0; remove the line"),
    ("inter.broker.protocol.version", "features are levels in the metadata since Kafka 4.0; remove the line"),
    ("log.message.format.version", "there is one record format since Kafka 4.0; remove the line"),
    ("message.format.version", "there is one record format since Kafka 4.0; remove it"),
    ("log.message.timestamp.difference.max.ms", "use log.message.timestamp.before.max.ms and .after.max.ms"),
    ("message.timestamp.difference.max.ms", "use message.timestamp.before.max.ms and .after.max.ms"),
    ("log.message.downconversion.enable", "old record formats are gone since Kafka 4.0; remove the line"),
    ("message.downconversion.enable", "old record formats are gone since Kafka 4.0; remove it"),
    ("advertised.host.name", "use advertised.listeners"),
    ("advertised.port", "use advertised.listeners"),
    ("host.name", "use listeners"),
    ("port", "use listeners"),
    ("offsets.commit.required.acks", "offsets are always committed with acks=all; remove the line"),
    ("group.coordinator.new.enable", "there is one group coordinator; remove the line"),
];

/// Whether Kafka knows `name` as a setting of a feature that Ottla does not have.
#[must_use]
pub fn is_foreign(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}

/// The error for a key that `scope` does not have, with the way to go.
pub(super) fn unknown_key(scope: Scope, name: &str) -> ConfigError {
    let what = match scope {
        Scope::Broker => format!("Unknown configuration {name}"),
        Scope::Topic => format!("Unknown topic config name: {name}"),
        Scope::Group => format!("Unknown group config name: {name}"),
        Scope::ClientMetrics => format!("Unknown client metrics configuration: {name}"),
    };
    let error = ConfigError::new(name, what);
    match hint(scope, name) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn hint(scope: Scope, name: &str) -> Option<String> {
    let was_removed = |key: &str| {
        if key.ends_with('.') { name.starts_with(key) } else { name == key }
    };
    if let Some((_, became)) = REMOVED.iter().find(|(key, _)| was_removed(key)) {
        return Some((*became).to_owned());
    }
    if let Some(hint) = other_scope(scope, name) {
        return Some(hint);
    }
    nearest(scope, name).map(|key| format!("did you mean {key}?"))
}

/// A topic's setting given to a broker, or the other way round.
fn other_scope(scope: Scope, name: &str) -> Option<String> {
    match scope {
        Scope::Broker => {
            let topic = keys(Scope::Topic).iter().find(|key| key.name == name)?;
            let (broker, _) = topic.synonyms.first()?;
            Some(format!("that is a topic's setting; the broker's is {broker}"))
        }
        Scope::Topic => {
            let has = |key: &&super::Key| key.synonyms.iter().any(|(broker, _)| *broker == name);
            let topic = keys(Scope::Topic).iter().find(has)?;
            Some(format!("that is a broker's setting; the topic's is {}", topic.name))
        }
        Scope::Group | Scope::ClientMetrics => None,
    }
}

/// The key of `scope` that is nearest to `name` by edits, if it is near enough to be meant.
fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    let folded = name.trim().to_ascii_lowercase().replace(['_', '-'], ".");
    let by_distance = keys(scope).iter().map(|key| (edit_distance(&folded, key.name), key.name));
    let (distance, key) = by_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2.max(name.len() / 4)).then_some(key)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let substituted = last[j] + usize::from(x != y);
            row[j + 1] = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scope: Scope, name: &str, expected: &str) {
        assert_eq!(unknown_key(scope, name).to_string(), expected);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "acb", 1), ("abc", "", 3)] {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_key_is_named() {
        check(
            Scope::Broker,
            "log.retention.mss",
            "Unknown configuration log.retention.mss; did you mean log.retention.ms?",
        );
        check(Scope::Broker, "num_partitions", "Unknown configuration num_partitions; did you mean num.partitions?");
        check(Scope::Broker, "xyzzy", "Unknown configuration xyzzy");
    }

    #[test]
    fn a_key_of_another_scope_is_recognised() {
        check(
            Scope::Broker,
            "retention.ms",
            "Unknown configuration retention.ms; that is a topic's setting; the broker's is log.retention.ms",
        );
        check(
            Scope::Topic,
            "log.roll.hours",
            "Unknown topic config name: log.roll.hours; that is a broker's setting; the topic's is segment.ms",
        );
    }

    #[test]
    fn a_removed_key_says_what_became_of_it() {
        check(
            Scope::Broker,
            "zookeeper.connect",
            "Unknown configuration zookeeper.connect; ZooKeeper is gone since Kafka 4.0; remove the line",
        );
    }
}
