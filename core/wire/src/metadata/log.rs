//! Records about the metadata log itself.

use crate::message::message;

message! {
    NoOpRecord: 0..=0, flexible 0..;

    /// Nothing; written so that the log's time goes on (KIP-835).
    struct NoOpRecord {}
}

message! {
    BeginTransactionRecord<'a>: 0..=0, flexible 0..;

    /// What follows counts only with an [`EndTransactionRecord`] (KIP-868).
    struct BeginTransactionRecord<'a> {} tagged {
        0 name: Option<&'a str> [0..],
    }
}

message! {
    EndTransactionRecord: 0..=0, flexible 0..;

    /// The records since [`BeginTransactionRecord`] count.
    struct EndTransactionRecord {}
}

message! {
    AbortTransactionRecord<'a>: 0..=0, flexible 0..;

    /// The records since [`BeginTransactionRecord`] do not count.
    struct AbortTransactionRecord<'a> {} tagged {
        0 reason: Option<&'a str> [0..],
    }
}

message! {
    ZkMigrationStateRecord: 0..=0, flexible 0..;

    /// The state of a migration from ZooKeeper; Kafka 4 only reads it.
    struct ZkMigrationStateRecord {
        zk_migration_state: i8,
    }
}
