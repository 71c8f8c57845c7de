//! The settings of brokers and controllers: every key of Kafka 4.3, and Ottla's own.
//!
//! Names, types, defaults and ranges are Kafka's, with these differences on purpose: `log.dir` is below the
//! working directory (Kafka's lies in `/tmp`, where it is lost at a reboot), and numbers that make no sense
//! below 0 are refused there. Keys of features that Ottla leaves to its surroundings (Kerberos, OAuth,
//! tiered storage) are known by their prefix; see `unknown.rs`.
//!
//! Columns: key, type, default, how it is changed at run time, what Ottla makes of it, one sentence.

use super::kind::Kind::{Boolean, Class, Double, GzipLevel, List, OneOf, OneOfAnyCase, Password, Text};
use super::kind::{int, int_any, int_in, long, long_any, short};
use super::table::{Dynamic, Effect, Key, Scope, broker_keys, default};
use super::words::REPLICA_SELECTORS;

broker_keys! { BROKER;
    // Identity and roles.
    "process.roles", List(&["broker", "controller"]), null, Fixed, Used,
        "What this node is: broker, controller, or both.";
    "node.id", int(0), null, Fixed, Used,
        "The number that names this node in its cluster.";
    "broker.id", int(-1), "-1", Fixed, Used,
        "Older name of node.id; if given it must be the same number.";
    "broker.rack", Text, null, Fixed, Used,
        "The rack or zone of this broker, for placing replicas apart.";
    // Listeners.
    "listeners", List(&[]), "PLAINTEXT://:9092", PerBroker, Used,
        "Addresses to listen on, NAME://HOST:PORT; an empty host is every interface.";
    "advertised.listeners", List(&[]), null, Fixed, Used,
        "Addresses that clients and brokers are told to connect to; those of listeners if not given.";
    "listener.security.protocol.map", Text,
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", PerBroker, Used,
        "The security protocol that each listener name speaks.";
    "inter.broker.listener.name", Text, null, Fixed, Used,
        "The listener over which brokers talk to each other.";
    "security.inter.broker.protocol", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "PLAINTEXT", Fixed, Used,
        "The protocol between brokers where inter.broker.listener.name is not given.";
    "controller.listener.names", List(&[]), null, Fixed, Used,
        "The listeners of the controllers, separated by commas; the first is used to reach them.";
    "early.start.listeners", List(&[]), null, Fixed, Ignored,
        "Listeners that Kafka opens before the authorizer is ready.";
    // Network.
    "num.network.threads", int(1), "3", PerBrokerOrCluster, Used,
        "Input and output threads; one is best on a small host.";
    "num.io.threads", int(1), "8", PerBrokerOrCluster, Ignored,
        "Kafka's request handler threads; requests are handled by the network threads here.";
    "background.threads", int(1), "10", PerBrokerOrCluster, Ignored,
        "Kafka's threads for background tasks.";
    "queued.max.requests", int(1), "500", Fixed, Ignored,
        "Requests that may wait before connections are no longer read.";
    "queued.max.request.bytes", long(-1), "-1", Fixed, Used,
        "Bytes of requests that may wait before connections are no longer read; -1 for 64 MiB.";
    "socket.send.buffer.bytes", int(-1), "102400", Fixed, Ignored,
        "SO_SNDBUF of a client's connection; -1 leaves it to the system.";
    "socket.receive.buffer.bytes", int(-1), "102400", Fixed, Ignored,
        "SO_RCVBUF of a client's connection; -1 leaves it to the system.";
    "socket.request.max.bytes", int(1), "104857600", Fixed, Used,
        "The largest request; a connection that sends more is closed.";
    "socket.listen.backlog.size", int(1), "50", Fixed, Ignored,
        "Connections that the kernel holds before they are accepted.";
    "socket.connection.setup.timeout.ms", long(1), "10000", Fixed, Ignored,
        "How long a first attempt to connect to another node may take.";
    "socket.connection.setup.timeout.max.ms", long(1), "30000", Fixed, Ignored,
        "How long a later attempt to connect to another node may take.";
    "connections.max.idle.ms", long(-1), "600000", Fixed, Used,
        "A connection silent for so long is closed.";
    "connections.max.reauth.ms", long_any(), "0", Fixed, Ignored,
        "How long a SASL session lives before the client must authenticate again.";
    "connection.failed.authentication.delay.ms", int(0), "100", Fixed, Ignored,
        "How long a connection that failed to authenticate is kept open.";
    "max.connections", int(0), "2147483647", PerBrokerOrCluster, Used,
        "Connections that this broker holds at most.";
    "max.connections.per.ip", int(0), "2147483647", PerBrokerOrCluster, Used,
        "Connections from one address at most.";
    "max.connections.per.ip.overrides", Text, "", PerBrokerOrCluster, Ignored,
        "Exceptions to max.connections.per.ip, ADDRESS:COUNT separated by commas.";
    "max.connection.creation.rate", int(0), "2147483647", PerBrokerOrCluster, Ignored,
        "New connections a second at most.";
    "request.timeout.ms", int(1), "30000", Fixed, Used,
        "How long a request to another node may take.";
    "controller.socket.timeout.ms", int_any(), "30000", Fixed, Ignored,
        "Socket timeout of Kafka's channel to the controllers.";
    "server.max.startup.time.ms", long(0), "9223372036854775807", Fixed, Ignored,
        "How long a start may take before Kafka gives up.";
    // Metadata quorum.
    "controller.quorum.bootstrap.servers", List(&[]), "", Fixed, Used,
        "HOST:PORT of controllers to ask who the quorum's leader is.";
    "controller.quorum.voters", List(&[]), "", Fixed, Refused,
        "Kafka's static quorum, ID@HOST:PORT; voters are kept in the metadata log here.";
    "controller.quorum.auto.join.enable", Boolean, "false", Fixed, Used,
        "A controller that is not a voter asks to become one.";
    "controller.quorum.election.timeout.ms", int(0), "500", Fixed, Used,
        "How long a candidate waits for votes before the next election. Kafka: 1000.";
    "controller.quorum.election.backoff.max.ms", int(0), "1000", Fixed, Ignored,
        "The longest wait between two elections.";
    "controller.quorum.fetch.timeout.ms", int(0), "1000", Fixed, Used,
        "A voter that cannot fetch for so long starts an election; a leader without a majority resigns. Kafka: 2000.";
    "controller.quorum.request.timeout.ms", int(0), "2000", Fixed, Used,
        "How long a request between controllers may take.";
    "controller.quorum.retry.backoff.ms", int(0), "20", Fixed, Used,
        "How long to wait before a request between controllers is sent again.";
    "controller.quorum.append.linger.ms", int(0), "25", Fixed, Ignored,
        "How long the quorum's leader gathers records before it writes them.";
    "controller.quorum.fetch.max.bytes", int(1), "1048576", Fixed, Used,
        "Bytes of metadata records in one fetch at most.";
    "controller.quorum.fetch.snapshot.max.bytes", int(1), "1048576", Fixed, Used,
        "Bytes of a metadata snapshot in one fetch at most.";
    // Metadata log.
    "metadata.log.dir", Text, null, Fixed, Ignored,
        "Where the metadata log lives; the first of log.dirs if not given.";
    "metadata.log.segment.bytes", int(8388608), "1073741824", Fixed, Used,
        "Size at which a segment of the metadata log is closed.";
    "metadata.log.segment.ms", long(1), "604800000", Fixed, Used,
        "Age at which a segment of the metadata log is closed.";
    "metadata.log.max.record.bytes.between.snapshots", long(1), "20971520", Fixed, Used,
        "Bytes of new metadata records after which a snapshot is written.";
    "metadata.log.max.snapshot.interval.ms", long(0), "3600000", Fixed, Used,
        "A snapshot is written at least so often if there are new records; 0 for never.";
    "metadata.max.idle.interval.ms", int(0), "500", Fixed, Ignored,
        "How often an idle quorum leader writes a no-op record; 0 for never.";
    "metadata.max.retention.bytes", long(-1), "104857600", Fixed, Used,
        "Size of old metadata segments and snapshots that are kept.";
    "metadata.max.retention.ms", long(-1), "604800000", Fixed, Used,
        "Age to which old metadata segments and snapshots are kept.";
    // Registration.
    "broker.heartbeat.interval.ms", int(1), "500", Fixed, Used,
        "How often a broker reports to the controller. Kafka: 2000.";
    "broker.session.timeout.ms", int(1), "1500", Fixed, Used,
        "A broker that has not reported for so long is fenced: what it led is led by others. Kafka: 9000.";
    "initial.broker.registration.timeout.ms", int(1), "60000", Fixed, Ignored,
        "How long a starting broker tries to register before it gives up.";
    "controlled.shutdown.enable", Boolean, "true", Fixed, Used,
        "A stopping broker first hands its leaderships over.";
    // Topics.
    "num.partitions", int(1), "1", Fixed, Used,
        "Partitions of a topic created without a number.";
    "default.replication.factor", int_in(1, 32767), "1", Fixed, Used,
        "Replicas of a topic created without a number.";
    "auto.create.topics.enable", Boolean, "true", Fixed, Used,
        "A topic is created when a client first asks for it.";
    "delete.topic.enable", Boolean, "true", Fixed, Used,
        "Topics may be deleted.";
    "max.request.partition.size.limit", int(1), "2000", Fixed, Used,
        "Partitions in one answer to DescribeTopicPartitions at most.";
    "auto.leader.rebalance.enable", Boolean, "true", Fixed, Used,
        "The controller returns leadership to preferred replicas.";
    "leader.imbalance.check.interval.seconds", long(1), "300", Fixed, Used,
        "How often preferred leaders are looked at.";
    "unclean.leader.election.enable", Boolean, "false", PerBrokerOrCluster, Ignored,
        "A replica outside the in-sync set may be elected, losing records.";
    "min.insync.replicas", int(1), "1", Cluster, Used,
        "In-sync replicas that an acks=all write needs.";
    "create.topic.policy.class.name", Class, null, Fixed, Refused,
        "A Java class that judges new topics.";
    "alter.config.policy.class.name", Class, null, Fixed, Refused,
        "A Java class that judges configuration changes.";
    // Log storage.
    "log.dir", List(&[]), "ottla-data", Fixed, Used,
        "Where logs live, if log.dirs is not given.";
    "log.dirs", List(&[]), null, Fixed, Used,
        "Directories of the logs, separated by commas.";
    "log.dir.failure.timeout.ms", long(1), "30000", Fixed, Ignored,
        "How long a broker that cannot report a failed directory waits before it stops.";
    "cordoned.log.dirs", List(&[]), "", PerBroker, Ignored,
        "Log directories that get no new replicas.";
    "num.recovery.threads.per.data.dir", int(1), "2", PerBrokerOrCluster, Ignored,
        "Threads a directory that recover logs at start.";
    "log.retention.check.interval.ms", long(1), "300000", Fixed, Used,
        "How often logs are looked at for what may be deleted.";
    "log.flush.offset.checkpoint.interval.ms", int(0), "60000", Fixed, Ignored,
        "How often Kafka saves recovery points; the flush journal is written with every sync here.";
    "log.flush.start.offset.checkpoint.interval.ms", int(0), "60000", Fixed, Ignored,
        "How often log start offsets are saved.";
    "log.flush.scheduler.interval.ms", long_any(), "9223372036854775807", Fixed, Ignored,
        "How often Kafka looks for logs to flush; see ottla.flush.max.delay.ms.";
    "log.initial.task.delay.ms", long(0), "30000", Fixed, Ignored,
        "How long after the start Kafka first looks at its logs.";
    "producer.id.expiration.ms", int(1), "86400000", PerBrokerOrCluster, Used,
        "A producer idle for so long is forgotten.";
    "producer.id.expiration.check.interval.ms", int(1), "600000", Fixed, Ignored,
        "How often idle producers are looked for.";
    // Defaults of topics.
    "message.max.bytes", int(0), "1048588", PerBrokerOrCluster, Used,
        "The largest record batch, after compression.";
    "compression.type", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer", PerBrokerOrCluster, Used,
        "The codec that batches are stored in; producer keeps the producer's.";
    "compression.gzip.level", GzipLevel, "-1", PerBrokerOrCluster, Used,
        "Level of gzip where the broker compresses; -1 is gzip's default.";
    "compression.lz4.level", int_in(1, 17), "9", PerBrokerOrCluster, Used,
        "Level of lz4 where the broker compresses.";
    "compression.zstd.level", int_in(-131072, 22), "3", PerBrokerOrCluster, Used,
        "Level of zstd where the broker compresses.";
    "log.segment.bytes", int(1048576), "1073741824", PerBrokerOrCluster, Used,
        "Size at which a segment is closed.";
    "log.roll.ms", long(1), null, PerBrokerOrCluster, Used,
        "Age at which a segment is closed; log.roll.hours if not given.";
    "log.roll.hours", int(1), "168", Fixed, Used,
        "Age at which a segment is closed, in hours.";
    "log.roll.jitter.ms", long(0), null, PerBrokerOrCluster, Ignored,
        "A segment's age limit is cut by up to so much, at random; log.roll.jitter.hours if not given.";
    "log.roll.jitter.hours", int(0), "0", Fixed, Ignored,
        "The jitter of the age limit, in hours.";
    "log.retention.ms", long(-1), null, PerBrokerOrCluster, Used,
        "Age to which records are kept, -1 for ever; log.retention.minutes if not given.";
    "log.retention.minutes", int(-1), null, Fixed, Used,
        "Age to which records are kept, in minutes; log.retention.hours if not given.";
    "log.retention.hours", int(-1), "168", Fixed, Used,
        "Age to which records are kept, in hours.";
    "log.retention.bytes", long(-1), "-1", PerBrokerOrCluster, Used,
        "Size a partition may grow to before its oldest segments go; -1 for no bound.";
    "log.local.retention.ms", long(-2), "-2", PerBrokerOrCluster, Ignored,
        "Age to which tiered records are kept locally.";
    "log.local.retention.bytes", long(-2), "-2", PerBrokerOrCluster, Ignored,
        "Size to which tiered records are kept locally.";
    "log.cleanup.policy", List(&["compact", "delete"]), "delete", PerBrokerOrCluster, Used,
        "What happens to old segments: delete, compact, or both.";
    "log.segment.delete.delay.ms", long(0), "60000", PerBrokerOrCluster, Used,
        "How long a deleted segment's files remain.";
    "log.index.interval.bytes", int(0), "4096", PerBrokerOrCluster, Used,
        "Bytes of records between two entries of the offset index.";
    "log.index.size.max.bytes", int(4), "10485760", PerBrokerOrCluster, Used,
        "Size of an offset index at which its segment is closed.";
    "log.preallocate", Boolean, "false", PerBrokerOrCluster, Ignored,
        "Segments get their full size when they are created.";
    "log.flush.interval.messages", long(1), "9223372036854775807", PerBrokerOrCluster, Ignored,
        "Kafka syncs a log after so many records; every write is synced within ottla.flush.max.delay.ms here.";
    "log.flush.interval.ms", long_any(), null, PerBrokerOrCluster, Ignored,
        "Kafka syncs a log at least so often; every write is synced within ottla.flush.max.delay.ms here.";
    "log.message.timestamp.type", OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime", PerBrokerOrCluster, Used,
        "Whether records carry the producer's time or the broker's.";
    "log.message.timestamp.before.max.ms", long(0), "9223372036854775807", PerBrokerOrCluster, Used,
        "How far behind the broker's clock a record's time may be.";
    "log.message.timestamp.after.max.ms", long(0), "3600000", PerBrokerOrCluster, Used,
        "How far ahead of the broker's clock a record's time may be.";
    "log.cleaner.delete.retention.ms", long(0), "86400000", PerBrokerOrCluster, Used,
        "How long a compacted topic keeps tombstones.";
    "log.cleaner.min.cleanable.ratio", Double { least: 0.0, most: 1.0 }, "0.5", PerBrokerOrCluster, Used,
        "Share of a log that must be dirty before it is compacted.";
    "log.cleaner.min.compaction.lag.ms", long(0), "0", PerBrokerOrCluster, Used,
        "A record younger than this is not compacted.";
    "log.cleaner.max.compaction.lag.ms", long(1), "9223372036854775807", PerBrokerOrCluster, Used,
        "A record older than this is compacted, however little is dirty.";
    // Cleaner.
    "log.cleaner.enable", Boolean, "true", Fixed, Used,
        "Whether logs are compacted.";
    "log.cleaner.threads", int(0), "1", PerBrokerOrCluster, Ignored,
        "Threads that compact logs.";
    "log.cleaner.backoff.ms", long(0), "15000", PerBrokerOrCluster, Used,
        "How long to wait when there is nothing to compact.";
    "log.cleaner.dedupe.buffer.size", long(1048576), "134217728", PerBrokerOrCluster, Used,
        "Memory for the keys of one compaction.";
    "log.cleaner.io.buffer.size", int(0), "524288", PerBrokerOrCluster, Ignored,
        "Memory for reading and writing in one compaction.";
    "log.cleaner.io.buffer.load.factor", Double { least: f64::MIN, most: f64::MAX }, "0.9", PerBrokerOrCluster, Ignored,
        "How full the table of keys may become.";
    "log.cleaner.io.max.bytes.per.second", Double
        { least: f64::MIN, most: f64::MAX }, "1.7976931348623157E308", PerBrokerOrCluster, Used,
        "Bytes a second that compaction may read and write.";
    // Replication.
    "num.replica.fetchers", int(1), "1", PerBrokerOrCluster, Ignored,
        "Fetching threads for each leader a broker follows.";
    "replica.lag.time.max.ms", long(1), "30000", Fixed, Used,
        "A follower that has not caught up for so long leaves the in-sync set.";
    "replica.fetch.max.bytes", int(0), "1048576", Fixed, Used,
        "Bytes of one partition in a follower's fetch.";
    "replica.fetch.response.max.bytes", int(0), "10485760", Fixed, Used,
        "Bytes of all partitions in a follower's fetch.";
    "replica.fetch.wait.max.ms", int(0), "500", Fixed, Used,
        "How long a leader holds a follower's empty fetch.";
    "replica.fetch.min.bytes", int(1), "1", Fixed, Used,
        "Bytes that a leader waits for before it answers a follower's fetch.";
    "replica.fetch.backoff.ms", int(0), "1000", Fixed, Ignored,
        "How long a follower waits after a failed fetch of a partition.";
    "replica.socket.timeout.ms", int(1), "30000", Fixed, Used,
        "How long a follower's request may take.";
    "replica.socket.receive.buffer.bytes", int(-1), "65536", Fixed, Ignored,
        "SO_RCVBUF of a follower's connection to its leader.";
    "replica.high.watermark.checkpoint.interval.ms", long(1), "5000", Fixed, Used,
        "How often high watermarks are saved.";
    "replica.selector.class", OneOf(REPLICA_SELECTORS), null, Fixed, Used,
        "How the replica a consumer reads from is chosen (KIP-392): the leader, or one in the consumer's rack.";
    "num.replica.alter.log.dirs.threads", int_any(), null, Fixed, Ignored,
        "Threads that move replicas between directories.";
    "leader.replication.throttled.rate", long(0), "9223372036854775807", PerBrokerOrCluster, Ignored,
        "Bytes a second that throttled replicas may be sent by this leader.";
    "follower.replication.throttled.rate", long(0), "9223372036854775807", PerBrokerOrCluster, Ignored,
        "Bytes a second that throttled replicas may fetch on this follower.";
    "replica.alter.log.dirs.io.max.bytes.per.second", long(0), "9223372036854775807", PerBrokerOrCluster, Ignored,
        "Bytes a second for moving replicas between directories.";
    "unclean.leader.election.interval.ms", long(1), "300000", Fixed, Ignored,
        "How often Kafka looks for partitions to elect uncleanly.";
    // Fetch.
    "fetch.max.bytes", int(1024), "57671680", Fixed, Used,
        "Bytes in one answer to a consumer's fetch.";
    "max.incremental.fetch.session.cache.slots", int(0), "1000", Fixed, Used,
        "Incremental fetch sessions at most (KIP-227).";
    "fetch.purgatory.purge.interval.requests", int_any(), "1000", Fixed, Ignored,
        "How often Kafka sweeps its fetch purgatory.";
    "producer.purgatory.purge.interval.requests", int_any(), "1000", Fixed, Ignored,
        "How often Kafka sweeps its produce purgatory.";
    "delete.records.purgatory.purge.interval.requests", int_any(), "1", Fixed, Ignored,
        "How often Kafka sweeps its DeleteRecords purgatory.";
    // Groups.
    "group.initial.rebalance.delay.ms", int(0), "3000", Fixed, Used,
        "How long the first rebalance of an empty classic group waits for more members.";
    "group.min.session.timeout.ms", int(1), "6000", Fixed, Used,
        "The shortest session timeout of a classic member.";
    "group.max.session.timeout.ms", int(1), "1800000", Fixed, Used,
        "The longest session timeout of a classic member.";
    "group.max.size", int(1), "2147483647", Fixed, Used,
        "Members of a classic group at most.";
    "group.coordinator.rebalance.protocols", List(&["consumer", "classic", "share", "streams"]),
        "classic,consumer,streams", Fixed, Used,
        "The group protocols that are served.";
    "group.coordinator.threads", int(1), "4", Fixed, Ignored,
        "Threads of Kafka's group coordinator.";
    "group.coordinator.background.threads", int(1), "2", Fixed, Ignored,
        "Kafka's threads for computing assignments.";
    "group.coordinator.append.linger.ms", int(-1), "-1", Fixed, Ignored,
        "How long the group coordinator gathers records before it writes them; -1 adapts.";
    "group.coordinator.cached.buffer.max.bytes", int(524288), "1048588", PerBrokerOrCluster, Ignored,
        "Size of the write buffer that Kafka's group coordinator keeps.";
    "group.consumer.session.timeout.ms", int(1), "45000", Fixed, Used,
        "A consumer group member silent for so long is removed (KIP-848).";
    "group.consumer.min.session.timeout.ms", int(1), "45000", Fixed, Used,
        "The shortest session timeout that a consumer group may set.";
    "group.consumer.max.session.timeout.ms", int(1), "60000", Fixed, Used,
        "The longest session timeout that a consumer group may set.";
    "group.consumer.heartbeat.interval.ms", int(1), "5000", Fixed, Used,
        "How often members of a consumer group report.";
    "group.consumer.min.heartbeat.interval.ms", int(1), "5000", Fixed, Used,
        "The shortest heartbeat interval that a consumer group may set.";
    "group.consumer.max.heartbeat.interval.ms", int(1), "15000", Fixed, Used,
        "The longest heartbeat interval that a consumer group may set.";
    "group.consumer.max.size", int(1), "2147483647", Fixed, Used,
        "Members of a consumer group at most.";
    "group.consumer.assignors", List(&[]), "uniform,range", Fixed, Used,
        "Server-side assignors; the first is the default.";
    "group.consumer.migration.policy", OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]),
        "bidirectional", Fixed, Used,
        "Which way groups may change between the classic and the consumer protocol.";
    "group.consumer.regex.refresh.interval.ms", int(10000), "600000", Fixed, Ignored,
        "How often regular expressions are matched again with the topics.";
    "group.consumer.assignment.interval.ms", int(0), "1000", PerBrokerOrCluster, Used,
        "The least time between two assignments of a consumer group.";
    "group.consumer.min.assignment.interval.ms", int(0), "0", Fixed, Used,
        "The shortest assignment interval that a consumer group may set.";
    "group.consumer.max.assignment.interval.ms", int(0), "15000", Fixed, Used,
        "The longest assignment interval that a consumer group may set.";
    // Offsets.
    "offsets.topic.num.partitions", int(1), "50", Fixed, Used,
        "Partitions of __consumer_offsets.";
    "offsets.topic.replication.factor", short(1), "3", Fixed, Used,
        "Replicas of __consumer_offsets.";
    "offsets.topic.segment.bytes", int(1), "104857600", Fixed, Used,
        "Segment size of __consumer_offsets.";
    "offsets.topic.compression.codec", int_in(0, 4), "0", Fixed, Used,
        "Codec of the offsets topic's batches, by its number.";
    "offsets.load.buffer.size", int(1), "5242880", Fixed, Ignored,
        "Bytes of one read while a coordinator loads.";
    "offsets.retention.minutes", int(1), "10080", Fixed, Used,
        "How long the offsets of an empty group are kept.";
    "offsets.retention.check.interval.ms", long(1), "600000", Fixed, Used,
        "How often expired offsets are looked for.";
    "offsets.commit.timeout.ms", int(1), "5000", Fixed, Used,
        "How long a commit waits for its replicas.";
    "offset.metadata.max.bytes", int(0), "4096", Fixed, Used,
        "Size of the metadata beside an offset.";
    // Share groups.
    "group.share.session.timeout.ms", int(1), "45000", Fixed, Ignored,
        "A share group member silent for so long is removed.";
    "group.share.min.session.timeout.ms", int(1), "45000", Fixed, Ignored,
        "The shortest session timeout that a share group may set.";
    "group.share.max.session.timeout.ms", int(1), "60000", Fixed, Ignored,
        "The longest session timeout that a share group may set.";
    "group.share.heartbeat.interval.ms", int(1), "5000", Fixed, Ignored,
        "How often members of a share group report.";
    "group.share.min.heartbeat.interval.ms", int(1), "5000", Fixed, Ignored,
        "The shortest heartbeat interval that a share group may set.";
    "group.share.max.heartbeat.interval.ms", int(1), "15000", Fixed, Ignored,
        "The longest heartbeat interval that a share group may set.";
    "group.share.max.size", int_in(1, 1000), "200", Fixed, Ignored,
        "Members of a share group at most.";
    "group.share.assignors", List(&[]), "simple", Fixed, Ignored,
        "Assignors of share groups.";
    "group.share.assignment.interval.ms", int(0), "1000", PerBrokerOrCluster, Ignored,
        "The least time between two assignments of a share group.";
    "group.share.min.assignment.interval.ms", int(0), "0", Fixed, Ignored,
        "The shortest assignment interval that a share group may set.";
    "group.share.max.assignment.interval.ms", int(0), "15000", Fixed, Ignored,
        "The longest assignment interval that a share group may set.";
    "group.share.delivery.count.limit", int_in(2, 10), "5", Fixed, Ignored,
        "How often a record of a share group is delivered at most.";
    "group.share.min.delivery.count.limit", int_in(2, 5), "2", Fixed, Ignored,
        "The lowest delivery limit that a share group may set.";
    "group.share.max.delivery.count.limit", int_in(5, 25), "10", Fixed, Ignored,
        "The highest delivery limit that a share group may set.";
    "group.share.partition.max.record.locks", int_in(100, 10000), "2000", Fixed, Ignored,
        "Records of a partition that may be locked at once.";
    "group.share.min.partition.max.record.locks", int_in(100, 2000), "100", Fixed, Ignored,
        "The fewest record locks that a share group may set.";
    "group.share.max.partition.max.record.locks", int_in(2000, 10000), "4000", Fixed, Ignored,
        "The most record locks that a share group may set.";
    "group.share.record.lock.duration.ms", int_in(1000, 3600000), "30000", Fixed, Ignored,
        "How long a record delivered to a share group is locked.";
    "group.share.min.record.lock.duration.ms", int_in(1000, 30000), "15000", Fixed, Ignored,
        "The shortest lock that a share group may set.";
    "group.share.max.record.lock.duration.ms", int_in(30000, 3600000), "60000", Fixed, Ignored,
        "The longest lock that a share group may set.";
    "group.share.max.share.sessions", int(1), "2000", Fixed, Ignored,
        "Share sessions of a broker at most.";
    "group.share.initialize.retry.interval.ms", int(1), "30000", Fixed, Ignored,
        "How often the initialisation of share partitions is tried again.";
    "group.share.persister.class.name", Text,
        "org.apache.kafka.server.share.persister.DefaultStatePersister", Fixed, Ignored,
        "Kafka's class that keeps the state of share groups.";
    "share.fetch.purgatory.purge.interval.requests", int_any(), "1000", Fixed, Ignored,
        "How often Kafka sweeps its share fetch purgatory.";
    "share.coordinator.state.topic.num.partitions", int(1), "50", Fixed, Ignored,
        "Partitions of __share_group_state.";
    "share.coordinator.state.topic.replication.factor", short(1), "3", Fixed, Ignored,
        "Replicas of __share_group_state.";
    "share.coordinator.state.topic.min.isr", short(1), "2", Fixed, Ignored,
        "In-sync replicas that a write to __share_group_state needs.";
    "share.coordinator.state.topic.segment.bytes", int(1), "104857600", Fixed, Ignored,
        "Segment size of __share_group_state.";
    "share.coordinator.state.topic.compression.codec", int_any(), "0", Fixed, Ignored,
        "Codec of the share state topic's batches, by its number.";
    "share.coordinator.state.topic.prune.interval.ms", int(1), "300000", Fixed, Ignored,
        "How often old share state is pruned.";
    "share.coordinator.append.linger.ms", int(-1), "-1", Fixed, Ignored,
        "How long the share coordinator gathers records before it writes them.";
    "share.coordinator.cached.buffer.max.bytes", int(524288), "1048588", PerBrokerOrCluster, Ignored,
        "Size of the write buffer that Kafka's share coordinator keeps.";
    "share.coordinator.cold.partition.snapshot.interval.ms", int(1), "300000", Fixed, Ignored,
        "How often idle share partitions are written anew.";
    "share.coordinator.load.buffer.size", int(1), "5242880", Fixed, Ignored,
        "Bytes of one read while a share coordinator loads.";
    "share.coordinator.snapshot.update.records.per.snapshot", int_in(0, 500), "500", Fixed, Ignored,
        "Updates of a share partition between two snapshots.";
    "share.coordinator.threads", int(1), "1", Fixed, Ignored,
        "Threads of Kafka's share coordinator.";
    "share.coordinator.write.timeout.ms", int(1), "5000", Fixed, Ignored,
        "How long a write of share state waits for its replicas.";
    // Streams groups.
    "group.streams.session.timeout.ms", int(1), "45000", Fixed, Ignored,
        "A streams group member silent for so long is removed.";
    "group.streams.min.session.timeout.ms", int(1), "45000", Fixed, Ignored,
        "The shortest session timeout that a streams group may set.";
    "group.streams.max.session.timeout.ms", int(1), "60000", Fixed, Ignored,
        "The longest session timeout that a streams group may set.";
    "group.streams.heartbeat.interval.ms", int(1), "5000", Fixed, Ignored,
        "How often members of a streams group report.";
    "group.streams.min.heartbeat.interval.ms", int(1), "5000", Fixed, Ignored,
        "The shortest heartbeat interval that a streams group may set.";
    "group.streams.max.heartbeat.interval.ms", int(1), "15000", Fixed, Ignored,
        "The longest heartbeat interval that a streams group may set.";
    "group.streams.max.size", int(1), "2147483647", Fixed, Ignored,
        "Members of a streams group at most.";
    "group.streams.num.standby.replicas", int(0), "0", Fixed, Ignored,
        "Standby tasks of a streams group.";
    "group.streams.max.standby.replicas", int(0), "2", Fixed, Ignored,
        "Standby tasks that a streams group may set at most.";
    "group.streams.initial.rebalance.delay.ms", int(0), "3000", Fixed, Ignored,
        "How long the first rebalance of an empty streams group waits.";
    "group.streams.assignment.interval.ms", int(0), "1000", PerBrokerOrCluster, Ignored,
        "The least time between two assignments of a streams group.";
    "group.streams.min.assignment.interval.ms", int(0), "0", Fixed, Ignored,
        "The shortest assignment interval that a streams group may set.";
    "group.streams.max.assignment.interval.ms", int(0), "15000", Fixed, Ignored,
        "The longest assignment interval that a streams group may set.";
    // Transactions.
    "transaction.state.log.num.partitions", int(1), "50", Fixed, Used,
        "Partitions of __transaction_state.";
    "transaction.state.log.replication.factor", short(1), "3", Fixed, Used,
        "Replicas of __transaction_state.";
    "transaction.state.log.min.isr", int(1), "2", Fixed, Used,
        "In-sync replicas that a write to __transaction_state needs.";
    "transaction.state.log.segment.bytes", int(1), "104857600", Fixed, Used,
        "Segment size of __transaction_state.";
    "transaction.state.log.load.buffer.size", int(1), "5242880", Fixed, Ignored,
        "Bytes of one read while a transaction coordinator loads.";
    "transaction.max.timeout.ms", int(1), "900000", Fixed, Ignored,
        "The longest timeout that a producer may ask for its transactions.";
    "transactional.id.expiration.ms", int(1), "604800000", Fixed, Ignored,
        "A transactional id unused for so long is forgotten.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", int(1), "10000", Fixed, Ignored,
        "How often transactions that timed out are looked for.";
    "transaction.remove.expired.transaction.cleanup.interval.ms", int(1), "3600000", Fixed, Ignored,
        "How often expired transactional ids are looked for.";
    "transaction.partition.verification.enable", Boolean, "true", PerBrokerOrCluster, Ignored,
        "A batch is taken only if its partition belongs to an ongoing transaction (KIP-890).";
    "transaction.two.phase.commit.enable", Boolean, "false", Fixed, Ignored,
        "Transactions of external coordinators, without a timeout (KIP-939).";
    "add.partitions.to.txn.retry.backoff.ms", int(1), "20", Fixed, Ignored,
        "How long a broker first waits before it asks the transaction coordinator again.";
    "add.partitions.to.txn.retry.backoff.max.ms", int(0), "100", Fixed, Ignored,
        "How long a broker waits at most before it asks the transaction coordinator again.";
    // Quotas.
    "quota.window.num", int(1), "11", Fixed, Ignored,
        "Windows that a client's rate is measured over.";
    "quota.window.size.seconds", int(1), "1", Fixed, Ignored,
        "Length of such a window.";
    "replication.quota.window.num", int(1), "11", Fixed, Ignored,
        "Windows that replication's rate is measured over.";
    "replication.quota.window.size.seconds", int(1), "1", Fixed, Ignored,
        "Length of such a window.";
    "alter.log.dirs.replication.quota.window.num", int(1), "11", Fixed, Ignored,
        "Windows that the rate of moves between directories is measured over.";
    "alter.log.dirs.replication.quota.window.size.seconds", int(1), "1", Fixed, Ignored,
        "Length of such a window.";
    "controller.quota.window.num", int(1), "11", Fixed, Ignored,
        "Windows that the rate of controller mutations is measured over.";
    "controller.quota.window.size.seconds", int(1), "1", Fixed, Ignored,
        "Length of such a window.";
    "client.quota.callback.class", Class, null, Fixed, Refused,
        "A Java class that decides on quotas.";
    // Security.
    "authorizer.class.name", Text, "", Fixed, Refused,
        "The Java class that decides who may do what.";
    "super.users", Text, "", Fixed, Ignored,
        "Principals to whom an authorizer allows everything.";
    "allow.everyone.if.no.acl.found", Boolean, "false", Fixed, Ignored,
        "Whether an authorizer allows what no rule speaks of.";
    "principal.builder.class", Class,
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", PerBroker, Refused,
        "The Java class that names the principal of a connection.";
    "sasl.enabled.mechanisms", List(&[]), "GSSAPI", PerBroker, Ignored,
        "SASL mechanisms offered on SASL listeners.";
    "sasl.mechanism.inter.broker.protocol", Text, "GSSAPI", PerBroker, Ignored,
        "SASL mechanism between brokers.";
    "sasl.mechanism.controller.protocol", Text, "GSSAPI", Fixed, Ignored,
        "SASL mechanism towards controllers.";
    "sasl.jaas.config", Password, null, PerBroker, Ignored,
        "Login modules of SASL listeners.";
    "sasl.server.max.receive.size", int_any(), "524288", Fixed, Ignored,
        "The largest SASL message.";
    "ssl.client.auth", OneOf(&["required", "requested", "none"]), "none", PerBroker, Ignored,
        "Whether TLS clients must have a certificate.";
    "ssl.enabled.protocols", List(&[]), "TLSv1.2,TLSv1.3", PerBroker, Ignored,
        "TLS versions offered.";
    "ssl.protocol", Text, "TLSv1.3", PerBroker, Ignored,
        "The TLS version asked for.";
    "ssl.cipher.suites", List(&[]), "", PerBroker, Ignored,
        "Cipher suites offered.";
    "ssl.endpoint.identification.algorithm", Text, "https", PerBroker, Ignored,
        "Whether a server's certificate must bear its host name.";
    "ssl.principal.mapping.rules", Text, "DEFAULT", Fixed, Ignored,
        "How a certificate's name becomes a principal.";
    "ssl.keystore.type", Text, "JKS", PerBroker, Ignored,
        "Form of the key store.";
    "ssl.keystore.location", Text, null, PerBroker, Ignored,
        "File of the key store.";
    "ssl.keystore.password", Password, null, PerBroker, Ignored,
        "Password of the key store.";
    "ssl.keystore.certificate.chain", Password, null, PerBroker, Ignored,
        "Certificates of this node, PEM.";
    "ssl.keystore.key", Password, null, PerBroker, Ignored,
        "Private key of this node, PEM.";
    "ssl.key.password", Password, null, PerBroker, Ignored,
        "Password of the private key.";
    "ssl.truststore.type", Text, "JKS", PerBroker, Ignored,
        "Form of the trust store.";
    "ssl.truststore.location", Text, null, PerBroker, Ignored,
        "File of the trust store.";
    "ssl.truststore.password", Password, null, PerBroker, Ignored,
        "Password of the trust store.";
    "ssl.truststore.certificates", Password, null, PerBroker, Ignored,
        "Certificates that are trusted, PEM.";
    "delegation.token.secret.key", Password, null, Fixed, Ignored,
        "Secret by which delegation tokens are signed.";
    "delegation.token.max.lifetime.ms", long(1), "604800000", Fixed, Ignored,
        "How long a delegation token can be renewed.";
    "delegation.token.expiry.time.ms", long(1), "86400000", Fixed, Ignored,
        "How long a delegation token is valid without renewal.";
    "delegation.token.expiry.check.interval.ms", long(1), "3600000", Fixed, Ignored,
        "How often expired tokens are removed.";
    "security.providers", Text, null, Fixed, Ignored,
        "Java security providers.";
    "config.providers", List(&[]), "", PerBrokerOrCluster, Refused,
        "Java classes that replace ${...} in values.";
    // Observation.
    "telemetry.max.bytes", int(1), "1048576", Fixed, Ignored,
        "Size of one push of client metrics (KIP-714).";
    "metric.reporters", List(&[]), "org.apache.kafka.common.metrics.JmxReporter", PerBrokerOrCluster, Ignored,
        "Java classes that report metrics; Ottla serves Prometheus text over HTTP.";
    "metrics.num.samples", int(1), "2", Fixed, Ignored,
        "Samples that Kafka computes a metric from.";
    "metrics.recording.level", Text, "INFO", Fixed, Ignored,
        "Which of Kafka's metrics are recorded.";
    "metrics.sample.window.ms", long(1), "30000", Fixed, Ignored,
        "Length of one of Kafka's metric samples.";
    "kafka.metrics.reporters", List(&[]), "", Fixed, Ignored,
        "Java classes that report older metrics.";
    "kafka.metrics.polling.interval.secs", int(1), "10", Fixed, Ignored,
        "How often those report.";
    "controller.performance.sample.period.ms", long(100), "60000", Fixed, Ignored,
        "How often Kafka's controller reports its slow events.";
    "controller.performance.always.log.threshold.ms", long(0), "2000", Fixed, Ignored,
        "An event of Kafka's controller slower than this is logged.";
    // Unfinished features, and Kafka's internals.
    "unstable.api.versions.enable", Boolean, "false", Fixed, Ignored,
        "Offers versions of requests that are not final.";
    "unstable.feature.versions.enable", Boolean, "false", Fixed, Ignored,
        "Offers feature levels that are not final.";
    "follower.fetch.last.tiered.offset.enable", Boolean, "false", PerBrokerOrCluster, Ignored,
        "A new follower starts at the last tiered offset.";
    "remote.log.storage.system.enable", Boolean, "false", Fixed, Refused,
        "Whether old segments are moved to remote storage.";
    "internal.metadata.delete.delay.millis", long_any(), "60000", Fixed, Ignored,
        "How long deleted metadata files remain.";
    "internal.metadata.log.segment.bytes", int(1), null, Fixed, Used,
        "Segment size of the metadata log in tests, instead of metadata.log.segment.bytes.";
    "internal.metadata.max.batch.size.in.bytes", int_any(), "8388608", Fixed, Ignored,
        "The largest batch of metadata records.";
    // Ottla's own.
    "flush", OneOf(&["quorum", "async"]), "quorum", Cluster, Used,
        "quorum: only synced records count towards the high watermark; async: written ones do, as in Kafka.";
    "ottla.flush.max.delay.ms", int(0), null, PerBrokerOrCluster, Used,
        "A dirty log is synced within this; 10 with flush=quorum and 100 with flush=async if not given.";
    "ottla.checkpoint.bytes", int(1024), "67108864", Fixed, Used,
        "After so many bytes a log's indexes and producers are saved: what a start after a crash reads again at most.";
    "ottla.flush.journal.bytes", int(0), "262144", Fixed, Used,
        "The flush journal is zeroed so far in advance, because writing over blocks syncs faster; 0: it grows.";
    "ottla.disk.timeout.ms", int(1), "30000", Fixed, Used,
        "A sync, read or removal that takes longer has failed; a write that does stops the node.";
    "ottla.clock.step.max.ms", long(1), "60000", Fixed, Ignored,
        "A wall clock that steps further than this suspends removal by time.";
    "ottla.purgatory.max.requests", int(1), "100000", Fixed, Used,
        "Requests that wait in the broker at most; the next one is answered at once.";
    "ottla.connection.max.pending.requests", int(1), "256", Fixed, Used,
        "Requests of one connection in work before it is no longer read.";
    "ottla.connection.max.unsent.bytes", int(65536), "1048576", Fixed, Used,
        "Bytes of answers in memory for one connection; with more, its next request waits until all have left.";
    "ottla.unauthenticated.request.max.bytes", int(1024), "65536", Fixed, Ignored,
        "The largest request of a client that has yet to authenticate.";
    "ottla.batch.max.inflated.bytes", int(1048576), "268435456", Fixed, Used,
        "A compressed batch that inflates beyond this is refused; those of one request may together have as much, or 100 \
         times its size.";
    "ottla.log.max.producers", int(1), "100000", Fixed, Ignored,
        "Producers that one partition remembers; beyond it the longest idle is forgotten.";
    "ottla.max.groups", int(1), "100000", Fixed, Used,
        "Groups that one coordinator partition holds at most.";
    "ottla.max.partitions", int(1), "100000", Fixed, Used,
        "Partitions that the cluster holds at most.";
    "ottla.index.tail.entries", int(1), "4096", Fixed, Ignored,
        "Entries of a log's newest offset index that are kept in memory.";
    "ottla.http.listener", Text, "", Fixed, Used,
        "HOST:PORT where health, readiness, metrics and the machine's view are served; nowhere if empty.";
}
