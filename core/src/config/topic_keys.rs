//! The settings of topics, of groups (KIP-848) and of client metrics (KIP-714): every key of Kafka 4.3.
//!
//! Columns: key, type, default, the broker's settings that it falls back to with the factor of their unit,
//! what Ottla makes of it, one sentence.

use super::kind::Kind::{Boolean, Double, GzipLevel, List, OneOf, Text, ThrottledReplicas};
use super::kind::{int, int_any, int_in, long, long_any};
use super::table::{Dynamic, Effect, Key, Scope, default, other_keys};

other_keys! { TOPIC, Topic;
    "cleanup.policy", List(&["compact", "delete"]), "delete", ["log.cleanup.policy" * 1], Used,
        "What happens to old segments: delete, compact, or both.";
    "compression.type", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer", ["compression.type" * 1], Used,
        "The codec that batches are stored in; producer keeps the producer's.";
    "compression.gzip.level", GzipLevel, "-1", ["compression.gzip.level" * 1], Used,
        "Level of gzip where the broker compresses; -1 is gzip's default.";
    "compression.lz4.level", int_in(1, 17), "9", ["compression.lz4.level" * 1], Used,
        "Level of lz4 where the broker compresses.";
    "compression.zstd.level", int_in(-131072, 22), "3", ["compression.zstd.level" * 1], Used,
        "Level of zstd where the broker compresses.";
    "delete.retention.ms", long(0), "86400000", ["log.cleaner.delete.retention.ms" * 1], Used,
        "How long a compacted topic keeps tombstones.";
    "file.delete.delay.ms", long(0), "60000", ["log.segment.delete.delay.ms" * 1], Used,
        "How long a deleted segment's files remain.";
    "flush.messages", long(1), "9223372036854775807", ["log.flush.interval.messages" * 1], Ignored,
        "Kafka syncs the log after so many records; every write is synced within ottla.flush.max.delay.ms here.";
    "flush.ms", long(0),
        "9223372036854775807", ["log.flush.interval.ms" * 1, "log.flush.scheduler.interval.ms" * 1], Ignored,
        "Kafka syncs the log at least so often; every write is synced within ottla.flush.max.delay.ms here.";
    "follower.replication.throttled.replicas", ThrottledReplicas, "", [], Ignored,
        "Replicas whose fetching is throttled, PARTITION:BROKER, or * for all.";
    "index.interval.bytes", int(0), "4096", ["log.index.interval.bytes" * 1], Used,
        "Bytes of records between two entries of the offset index.";
    "internal.segment.bytes", int_any(), null, [], Used,
        "Segment size of Kafka's own tests, with no lower bound.";
    "leader.replication.throttled.replicas", ThrottledReplicas, "", [], Ignored,
        "Replicas to which sending is throttled, PARTITION:BROKER, or * for all.";
    "local.retention.bytes", long(-2), "-2", ["log.local.retention.bytes" * 1], Ignored,
        "Size to which tiered records are kept locally.";
    "local.retention.ms", long(-2), "-2", ["log.local.retention.ms" * 1], Ignored,
        "Age to which tiered records are kept locally.";
    "max.compaction.lag.ms", long(1), "9223372036854775807", ["log.cleaner.max.compaction.lag.ms" * 1], Used,
        "A record older than this is compacted, however little is dirty.";
    "max.message.bytes", int(0), "1048588", ["message.max.bytes" * 1], Used,
        "The largest record batch, after compression.";
    "message.timestamp.after.max.ms", long(0), "3600000", ["log.message.timestamp.after.max.ms" * 1], Used,
        "How far ahead of the broker's clock a record's time may be.";
    "message.timestamp.before.max.ms", long(0),
        "9223372036854775807", ["log.message.timestamp.before.max.ms" * 1], Used,
        "How far behind the broker's clock a record's time may be.";
    "message.timestamp.type", OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime", ["log.message.timestamp.type" * 1], Used,
        "Whether records carry the producer's time or the broker's.";
    "min.cleanable.dirty.ratio", Double { least: 0.0, most: 1.0 }, "0.5",
        ["log.cleaner.min.cleanable.ratio" * 1], Used,
        "Share of the log that must be dirty before it is compacted.";
    "min.compaction.lag.ms", long(0), "0", ["log.cleaner.min.compaction.lag.ms" * 1], Used,
        "A record younger than this is not compacted.";
    "min.insync.replicas", int(1), "1", ["min.insync.replicas" * 1], Used,
        "In-sync replicas that an acks=all write needs.";
    "preallocate", Boolean, "false", ["log.preallocate" * 1], Ignored,
        "Segments get their full size when they are created.";
    "remote.log.copy.disable", Boolean, "false", [], Ignored,
        "No more segments are moved to remote storage.";
    "remote.log.delete.on.disable", Boolean, "false", [], Ignored,
        "Remote segments are deleted when remote storage is switched off.";
    "remote.storage.enable", Boolean, "false", [], Refused,
        "Whether old segments are moved to remote storage.";
    "retention.bytes", long_any(), "-1", ["log.retention.bytes" * 1], Used,
        "Size a partition may grow to before its oldest segments go; -1 for no bound.";
    "retention.ms", long(-1),
        "604800000", ["log.retention.ms" * 1, "log.retention.minutes" * 60000, "log.retention.hours" * 3600000], Used,
        "Age to which records are kept; -1 for ever.";
    "segment.bytes", int(1048576), "1073741824", ["log.segment.bytes" * 1], Used,
        "Size at which a segment is closed.";
    "segment.index.bytes", int(4), "10485760", ["log.index.size.max.bytes" * 1], Used,
        "Size of an offset index at which its segment is closed.";
    "segment.jitter.ms", long(0), "0", ["log.roll.jitter.ms" * 1, "log.roll.jitter.hours" * 3600000], Ignored,
        "The age limit of a segment is cut by up to so much, at random.";
    "segment.ms", long(1), "604800000", ["log.roll.ms" * 1, "log.roll.hours" * 3600000], Used,
        "Age at which a segment is closed.";
    "unclean.leader.election.enable", Boolean, "false", ["unclean.leader.election.enable" * 1], Ignored,
        "A replica outside the in-sync set may be elected, losing records.";
}

other_keys! { GROUP, Group;
    "consumer.assignment.interval.ms", int(0), "1000", ["group.consumer.assignment.interval.ms" * 1], Used,
        "The least time between two assignments.";
    "consumer.heartbeat.interval.ms", int(1), "5000", ["group.consumer.heartbeat.interval.ms" * 1], Used,
        "How often members report (KIP-848).";
    "consumer.session.timeout.ms", int(1), "45000", ["group.consumer.session.timeout.ms" * 1], Used,
        "A member silent for so long is removed (KIP-848).";
    "share.assignment.interval.ms", int(0), "1000", ["group.share.assignment.interval.ms" * 1], Ignored,
        "The least time between two assignments.";
    "share.auto.offset.reset", Text, "latest", [], Ignored,
        "Where a share group starts to read.";
    "share.delivery.count.limit", int(2), "5", ["group.share.delivery.count.limit" * 1], Ignored,
        "How often a record is delivered at most.";
    "share.heartbeat.interval.ms", int(1), "5000", ["group.share.heartbeat.interval.ms" * 1], Ignored,
        "How often members report.";
    "share.isolation.level", OneOf(&["read_committed", "read_uncommitted"]), "read_uncommitted", [], Ignored,
        "Whether records of open transactions are delivered.";
    "share.partition.max.record.locks", int(100), "2000", ["group.share.partition.max.record.locks" * 1], Ignored,
        "Records of a partition that may be locked at once.";
    "share.record.lock.duration.ms", int(1000), "30000", ["group.share.record.lock.duration.ms" * 1], Ignored,
        "How long a delivered record is locked.";
    "share.renew.acknowledge.enable", Boolean, "true", [], Ignored,
        "Whether a member may renew its lock of a record.";
    "share.session.timeout.ms", int(1), "45000", ["group.share.session.timeout.ms" * 1], Ignored,
        "A member silent for so long is removed.";
    "streams.assignment.interval.ms", int(0), "1000", ["group.streams.assignment.interval.ms" * 1], Ignored,
        "The least time between two assignments.";
    "streams.heartbeat.interval.ms", int(1), "5000", ["group.streams.heartbeat.interval.ms" * 1], Ignored,
        "How often members report.";
    "streams.initial.rebalance.delay.ms", int(0), "3000", ["group.streams.initial.rebalance.delay.ms" * 1], Ignored,
        "How long the first rebalance of an empty group waits.";
    "streams.num.standby.replicas", int(0), "0", ["group.streams.num.standby.replicas" * 1], Ignored,
        "Standby tasks.";
    "streams.session.timeout.ms", int(1), "45000", ["group.streams.session.timeout.ms" * 1], Ignored,
        "A member silent for so long is removed.";
}

other_keys! { CLIENT_METRICS, ClientMetrics;
    "interval.ms", int_in(100, 3600000), "300000", [], Ignored,
        "How often clients push their metrics.";
    "metrics", List(&[]), "", [], Ignored,
        "Prefixes of the metrics that are asked for.";
    "match", List(&[]), "", [], Ignored,
        "Which clients are asked.";
}
