//! Configurations, quotas, feature levels and blocks of producer ids.

use crate::message::message;

message! {
    ConfigRecord<'a>: 0..=0, flexible 0..;

    /// A configuration changed.
    struct ConfigRecord<'a> {
        /// 2 topic, 4 broker, 16 client metrics, 32 group.
        resource_type: i8,
        /// Empty for the default of all brokers.
        resource_name: &'a str,
        name: &'a str,
        /// Null: it was removed.
        value: Option<&'a str>,
    }
}

message! {
    ClientQuotaRecord<'a>: 0..=0, flexible 0..;

    /// A quota changed (KIP-546).
    struct ClientQuotaRecord<'a> {
        entity: Vec<EntityData<'a>>,
        key: &'a str,
        value: f64,
        remove: bool,
    }

    /// One part of what the quota is for.
    struct EntityData<'a> {
        /// `user`, `client-id` or `ip`.
        entity_type: &'a str,
        /// Null is the default entity.
        entity_name: Option<&'a str>,
    }
}

message! {
    FeatureLevelRecord<'a>: 0..=0, flexible 0..;

    /// A feature has a new level (KIP-584); `metadata.version` is the first of all.
    struct FeatureLevelRecord<'a> {
        name: &'a str,
        /// 0: the feature is off.
        feature_level: i16,
    }
}

message! {
    ProducerIdsRecord: 0..=0, flexible 0..;

    /// A block of producer ids was given to a broker (KIP-730).
    struct ProducerIdsRecord {
        broker_id: i32,
        broker_epoch: i64 = -1,
        /// The first that was not given out yet.
        next_producer_id: i64,
    }
}
