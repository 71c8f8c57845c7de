//! Brokers and controllers: registration, fencing, controlled shutdown.

use crate::Uuid;
use crate::message::message;

message! {
    RegisterBrokerRecord<'a>: 0..=4, flexible 0..;

    /// A broker registered (KIP-631); `log_dirs` are of KIP-858, cordoned directories of KIP-1066.
    struct RegisterBrokerRecord<'a> {
        broker_id: i32,
        is_migrating_zk_broker: bool [2..],
        /// Drawn anew by each start of the broker's process.
        incarnation_id: Uuid,
        /// The offset of this record.
        broker_epoch: i64,
        end_points: Vec<BrokerEndpoint<'a>>,
        features: Vec<BrokerFeature<'a>>,
        rack: Option<&'a str>,
        fenced: bool = true,
        in_controlled_shutdown: bool [1..],
    } tagged {
        0 log_dirs: Vec<Uuid> [3..],
        1 cordoned_log_dirs: Option<Vec<Uuid>> [4..],
        /// Ottla's own: the last registration in which it was in service, where that is an earlier one.
        10000 counted_epoch: i64 [0..] = -1,
    }

    /// An address of the broker on one listener.
    struct BrokerEndpoint<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16,
    }

    /// The levels of a feature that the broker supports.
    struct BrokerFeature<'a> {
        name: &'a str,
        min_supported_version: i16,
        max_supported_version: i16,
    }
}

message! {
    UnregisterBrokerRecord: 0..=0, flexible 0..;

    /// A broker's registration was removed.
    struct UnregisterBrokerRecord {
        broker_id: i32,
        broker_epoch: i64,
    }
}

message! {
    FenceBrokerRecord: 0..=0, flexible 0..;

    /// A broker was fenced; Kafka now writes [`BrokerRegistrationChangeRecord`].
    struct FenceBrokerRecord {
        id: i32,
        /// The broker epoch.
        epoch: i64,
    }
}

message! {
    UnfenceBrokerRecord: 0..=0, flexible 0..;

    /// A broker was unfenced; Kafka now writes [`BrokerRegistrationChangeRecord`].
    struct UnfenceBrokerRecord {
        id: i32,
        /// The broker epoch.
        epoch: i64,
    }
}

message! {
    BrokerRegistrationChangeRecord: 0..=3, flexible 0..;

    /// A registration changed (KIP-841).
    struct BrokerRegistrationChangeRecord {
        broker_id: i32,
        broker_epoch: i64,
    } tagged {
        /// -1 unfences, 1 fences, 0 leaves it.
        0 fenced: i8 [0..],
        /// 1 begins a controlled shutdown, 0 leaves it.
        1 in_controlled_shutdown: i8 [1..],
        /// All online directories; empty leaves them.
        2 log_dirs: Vec<Uuid> [2..],
        3 cordoned_log_dirs: Option<Vec<Uuid>> [3..],
    }
}

message! {
    RegisterControllerRecord<'a>: 0..=0, flexible 0..;

    /// A controller registered (KIP-919).
    struct RegisterControllerRecord<'a> {
        controller_id: i32,
        incarnation_id: Uuid,
        zk_migration_ready: bool,
        end_points: Vec<ControllerEndpoint<'a>>,
        features: Vec<ControllerFeature<'a>>,
    }

    /// An address of the controller on one listener.
    struct ControllerEndpoint<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
        /// As in [`BrokerEndpoint`].
        security_protocol: i16,
    }

    /// The levels of a feature that the controller supports.
    struct ControllerFeature<'a> {
        name: &'a str,
        min_supported_version: i16,
        max_supported_version: i16,
    }
}
