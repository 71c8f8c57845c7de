//! Settings that Ottla refuses, because to accept and ignore them would silently weaken something.

use super::error::ConfigError;

/// A refused setting: the values that are harmless, and the way to go.
struct Refusal {
    key: &'static str,
    harmless: &'static [&'static str],
    instead: &'static str,
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        key: "controller.quorum.voters",
        harmless: &[""],
        instead: "give controller.quorum.bootstrap.servers=HOST:PORT on every node and start the first \
                  controller once with --new-cluster",
    },
    Refusal {
        key: "authorizer.class.name",
        harmless: &[""],
        instead: "Ottla has no authorizer yet: remove the line and let only trusted networks reach the listeners",
    },
    Refusal {
        key: "principal.builder.class",
        harmless: &["", "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"],
        instead: "Ottla cannot run Java classes: remove the line",
    },
    Refusal {
        key: "create.topic.policy.class.name",
        harmless: &[""],
        instead: "Ottla cannot run Java classes: remove the line, and enforce the policy where topics are created",
    },
    Refusal {
        key: "alter.config.policy.class.name",
        harmless: &[""],
        instead: "Ottla cannot run Java classes: remove the line, and enforce the policy where settings are changed",
    },
    Refusal {
        key: "client.quota.callback.class",
        harmless: &[""],
        instead: "Ottla cannot run Java classes: remove the line and use client quotas (kafka-configs.sh)",
    },
    Refusal {
        key: "config.providers",
        harmless: &[""],
        instead: "Ottla cannot run Java classes: write the values into the file, or give them as KAFKA_* variables",
    },
    Refusal {
        key: "remote.log.storage.system.enable",
        harmless: &["false"],
        instead: "Ottla has no tiered storage: remove the line and size the disks for the whole retention",
    },
    Refusal {
        key: "remote.storage.enable",
        harmless: &["false"],
        instead: "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
                  log storage.",
    },
];

/// Whether `value` of the refused setting `key` is harmless.
pub(super) fn check(key: &str, value: &str) -> Result<(), ConfigError> {
    let Some(refusal) = REFUSALS.iter().find(|refusal| refusal.key == key) else {
        return Err(ConfigError::new(key, format!("{key} is not supported")));
    };
    if refusal.harmless.iter().any(|harmless| harmless.eq_ignore_ascii_case(value.trim())) {
        return Ok(());
    }
    Err(ConfigError::new(key, format!("{key}={value} is not supported")).with_hint(refusal.instead))
}

#[cfg(test)]
pub(super) fn covers(key: &str) -> bool {
    REFUSALS.iter().any(|refusal| refusal.key == key)
}
