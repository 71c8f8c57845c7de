//! The effective settings of a broker or controller, parsed once into plain structs by concern.

use super::check::{check_together, drop_invalid};
use super::error::ConfigError;
use super::group::groups;
use super::layers::{Layers, Overrides, StaticConfig};
use super::listeners::Listeners;
use super::table::{Scope, find};
use super::topic::{TopicConfig, TopicDefaults};
use super::words::{FlushMode, MigrationPolicy, ReplicaSelector, Roles};

/// All effective settings of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// Who the node is.
    pub node: NodeConfig,
    /// Where it listens, and what others are told.
    pub listeners: Listeners,
    /// Connections and their limits.
    pub network: NetworkConfig,
    /// The metadata quorum.
    pub quorum: QuorumConfig,
    /// The metadata log.
    pub metadata: MetadataLogConfig,
    /// Registration and heartbeats.
    pub sessions: BrokerSessions,
    /// How topics come to be.
    pub topics: TopicCreation,
    /// Log directories and what is saved beside the logs.
    pub storage: StorageConfig,
    /// Compaction.
    pub cleaner: CleanerConfig,
    /// Followers and their leaders.
    pub replication: ReplicationConfig,
    /// What consumers fetch.
    pub fetch: FetchConfig,
    /// Groups, offsets and transactions.
    pub coordinators: CoordinatorConfig,
    /// Ottla's own bounds, and those of clients' rates.
    pub limits: Limits,
    /// What a topic has that sets nothing itself.
    pub topic_defaults: TopicDefaults,
    /// The texts that all this was read from.
    pub layers: Layers,
}

/// What the coordinators need.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinatorConfig {
    /// Classic groups, and which protocols are served.
    pub groups: GroupConfig,
    /// Consumer groups (KIP-848).
    pub consumer_groups: ConsumerGroupConfig,
    /// Committed offsets.
    pub offsets: OffsetsConfig,
    /// Transactions.
    pub transactions: TransactionConfig,
    /// Windows of the clients' quotas.
    pub quotas: QuotaConfig,
}

groups! {
    /// Who a node is.
    pub struct NodeConfig {
        roles: Roles = "process.roles",
        id: i32 = "node.id",
        rack: Option<String> = "broker.rack",
    }

    /// Connections and their limits.
    pub struct NetworkConfig {
        network_threads: u32 = "num.network.threads",
        queued_max_requests: u32 = "queued.max.requests",
        queued_max_request_bytes: Option<u64> = "queued.max.request.bytes",
        send_buffer_bytes: Option<u32> = "socket.send.buffer.bytes",
        receive_buffer_bytes: Option<u32> = "socket.receive.buffer.bytes",
        request_max_bytes: u32 = "socket.request.max.bytes",
        listen_backlog: u32 = "socket.listen.backlog.size",
        setup_timeout_ms: u64 = "socket.connection.setup.timeout.ms",
        setup_timeout_max_ms: u64 = "socket.connection.setup.timeout.max.ms",
        max_idle_ms: Option<u64> = "connections.max.idle.ms",
        max_connections: u32 = "max.connections",
        max_connections_per_ip: u32 = "max.connections.per.ip",
        max_connections_per_ip_overrides: Vec<String> = "max.connections.per.ip.overrides",
        max_connection_creation_rate: u32 = "max.connection.creation.rate",
        request_timeout_ms: u64 = "request.timeout.ms",
    }

    /// The metadata quorum.
    pub struct QuorumConfig {
        bootstrap_servers: Vec<String> = "controller.quorum.bootstrap.servers",
        auto_join: bool = "controller.quorum.auto.join.enable",
        election_timeout_ms: u64 = "controller.quorum.election.timeout.ms",
        election_backoff_max_ms: u64 = "controller.quorum.election.backoff.max.ms",
        fetch_timeout_ms: u64 = "controller.quorum.fetch.timeout.ms",
        request_timeout_ms: u64 = "controller.quorum.request.timeout.ms",
        retry_backoff_ms: u64 = "controller.quorum.retry.backoff.ms",
        append_linger_ms: u64 = "controller.quorum.append.linger.ms",
        fetch_max_bytes: u32 = "controller.quorum.fetch.max.bytes",
        fetch_snapshot_max_bytes: u32 = "controller.quorum.fetch.snapshot.max.bytes",
    }

    /// The metadata log.
    pub struct MetadataLogConfig {
        metadata_dir: Option<String> = "metadata.log.dir",
        segment_bytes: u32 = "metadata.log.segment.bytes",
        internal_segment_bytes: Option<u32> = "internal.metadata.log.segment.bytes",
        segment_ms: u64 = "metadata.log.segment.ms",
        max_record_bytes_between_snapshots: u64 = "metadata.log.max.record.bytes.between.snapshots",
        max_snapshot_interval_ms: u64 = "metadata.log.max.snapshot.interval.ms",
        max_idle_interval_ms: u64 = "metadata.max.idle.interval.ms",
        max_retention_bytes: Option<u64> = "metadata.max.retention.bytes",
        max_retention_ms: Option<u64> = "metadata.max.retention.ms",
    }

    /// A broker's life as the controller sees it.
    pub struct BrokerSessions {
        heartbeat_interval_ms: u64 = "broker.heartbeat.interval.ms",
        session_timeout_ms: u64 = "broker.session.timeout.ms",
        initial_registration_timeout_ms: u64 = "initial.broker.registration.timeout.ms",
        controlled_shutdown: bool = "controlled.shutdown.enable",
    }

    /// How topics come to be, and how their leaders are chosen.
    pub struct TopicCreation {
        num_partitions: u32 = "num.partitions",
        default_replication_factor: i16 = "default.replication.factor",
        auto_create: bool = "auto.create.topics.enable",
        delete_enabled: bool = "delete.topic.enable",
        max_describe_partitions: u32 = "max.request.partition.size.limit",
        auto_leader_rebalance: bool = "auto.leader.rebalance.enable",
        leader_imbalance_check_interval_seconds: u64 = "leader.imbalance.check.interval.seconds",
        min_insync_replicas: u32 = "min.insync.replicas",
        unclean_leader_election: bool = "unclean.leader.election.enable",
    }

    /// Log directories, and what is saved beside the logs.
    pub struct StorageConfig {
        dir: Vec<String> = "log.dir",
        dirs: Vec<String> = "log.dirs",
        flush: FlushMode = "flush",
        flush_max_delay: Option<u64> = "ottla.flush.max.delay.ms",
        checkpoint_bytes: u32 = "ottla.checkpoint.bytes",
        flush_journal_bytes: u32 = "ottla.flush.journal.bytes",
        disk_timeout_ms: u64 = "ottla.disk.timeout.ms",
        retention_check_interval_ms: u64 = "log.retention.check.interval.ms",
        log_start_offset_checkpoint_interval_ms: u64 = "log.flush.start.offset.checkpoint.interval.ms",
        high_watermark_checkpoint_interval_ms: u64 = "replica.high.watermark.checkpoint.interval.ms",
        producer_id_expiration_ms: u64 = "producer.id.expiration.ms",
        producer_id_expiration_check_interval_ms: u64 = "producer.id.expiration.check.interval.ms",
    }

    /// Compaction.
    pub struct CleanerConfig {
        enabled: bool = "log.cleaner.enable",
        backoff_ms: u64 = "log.cleaner.backoff.ms",
        dedupe_buffer_bytes: u64 = "log.cleaner.dedupe.buffer.size",
        io_buffer_bytes: u32 = "log.cleaner.io.buffer.size",
        io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    }

    /// Followers and their leaders.
    pub struct ReplicationConfig {
        lag_time_max_ms: u64 = "replica.lag.time.max.ms",
        fetch_max_bytes: u32 = "replica.fetch.max.bytes",
        fetch_response_max_bytes: u32 = "replica.fetch.response.max.bytes",
        fetch_wait_max_ms: u64 = "replica.fetch.wait.max.ms",
        fetch_min_bytes: u32 = "replica.fetch.min.bytes",
        fetch_backoff_ms: u64 = "replica.fetch.backoff.ms",
        socket_timeout_ms: u64 = "replica.socket.timeout.ms",
        socket_receive_buffer_bytes: Option<u32> = "replica.socket.receive.buffer.bytes",
        replica_selector: ReplicaSelector = "replica.selector.class",
    }

    /// What consumers fetch.
    pub struct FetchConfig {
        max_bytes: u32 = "fetch.max.bytes",
        max_sessions: u32 = "max.incremental.fetch.session.cache.slots",
    }

    /// Classic groups, and which protocols are served.
    pub struct GroupConfig {
        protocols: Vec<String> = "group.coordinator.rebalance.protocols",
        initial_rebalance_delay_ms: u64 = "group.initial.rebalance.delay.ms",
        min_session_timeout_ms: u64 = "group.min.session.timeout.ms",
        max_session_timeout_ms: u64 = "group.max.session.timeout.ms",
        max_size: u32 = "group.max.size",
    }

    /// Consumer groups (KIP-848).
    pub struct ConsumerGroupConfig {
        session_timeout_ms: u64 = "group.consumer.session.timeout.ms",
        min_session_timeout_ms: u64 = "group.consumer.min.session.timeout.ms",
        max_session_timeout_ms: u64 = "group.consumer.max.session.timeout.ms",
        heartbeat_interval_ms: u64 = "group.consumer.heartbeat.interval.ms",
        min_heartbeat_interval_ms: u64 = "group.consumer.min.heartbeat.interval.ms",
        max_heartbeat_interval_ms: u64 = "group.consumer.max.heartbeat.interval.ms",
        max_size: u32 = "group.consumer.max.size",
        assignors: Vec<String> = "group.consumer.assignors",
        migration_policy: MigrationPolicy = "group.consumer.migration.policy",
        regex_refresh_interval_ms: u64 = "group.consumer.regex.refresh.interval.ms",
        assignment_interval_ms: u64 = "group.consumer.assignment.interval.ms",
        min_assignment_interval_ms: u64 = "group.consumer.min.assignment.interval.ms",
        max_assignment_interval_ms: u64 = "group.consumer.max.assignment.interval.ms",
    }

    /// Committed offsets.
    pub struct OffsetsConfig {
        num_partitions: u32 = "offsets.topic.num.partitions",
        replication_factor: i16 = "offsets.topic.replication.factor",
        segment_bytes: u32 = "offsets.topic.segment.bytes",
        compression_codec: i8 = "offsets.topic.compression.codec",
        retention_minutes: u64 = "offsets.retention.minutes",
        retention_check_interval_ms: u64 = "offsets.retention.check.interval.ms",
        commit_timeout_ms: u64 = "offsets.commit.timeout.ms",
        metadata_max_bytes: u32 = "offset.metadata.max.bytes",
    }

    /// Transactions.
    pub struct TransactionConfig {
        num_partitions: u32 = "transaction.state.log.num.partitions",
        replication_factor: i16 = "transaction.state.log.replication.factor",
        min_insync_replicas: u32 = "transaction.state.log.min.isr",
        segment_bytes: u32 = "transaction.state.log.segment.bytes",
        max_timeout_ms: u32 = "transaction.max.timeout.ms",
        id_expiration_ms: u64 = "transactional.id.expiration.ms",
        abort_timed_out_interval_ms: u64 = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        remove_expired_interval_ms: u64 = "transaction.remove.expired.transaction.cleanup.interval.ms",
        partition_verification: bool = "transaction.partition.verification.enable",
        verification_backoff_ms: u64 = "add.partitions.to.txn.retry.backoff.ms",
        verification_backoff_max_ms: u64 = "add.partitions.to.txn.retry.backoff.max.ms",
    }

    /// Windows of the clients' quotas.
    pub struct QuotaConfig {
        window_num: u32 = "quota.window.num",
        window_size_seconds: u32 = "quota.window.size.seconds",
    }

    /// Ottla's own bounds: every queue and map that a client can fill has one.
    pub struct Limits {
        clock_step_max_ms: u64 = "ottla.clock.step.max.ms",
        purgatory_max_requests: usize = "ottla.purgatory.max.requests",
        connection_max_pending_requests: usize = "ottla.connection.max.pending.requests",
        connection_max_unsent_bytes: usize = "ottla.connection.max.unsent.bytes",
        unauthenticated_request_max_bytes: u32 = "ottla.unauthenticated.request.max.bytes",
        batch_max_inflated_bytes: u32 = "ottla.batch.max.inflated.bytes",
        log_max_producers: usize = "ottla.log.max.producers",
        max_groups: usize = "ottla.max.groups",
        max_partitions: usize = "ottla.max.partitions",
        index_tail_entries: usize = "ottla.index.tail.entries",
        http_listener: Option<String> = "ottla.http.listener",
    }
}

impl BrokerConfig {
    /// The effective values of `layers`. Fails if a required setting is missing, or two contradict each other.
    pub fn new(layers: Layers) -> Result<Self, ConfigError> {
        let text_of = |key: &'static str| layers.text(key);
        let (node, quorum) = (NodeConfig::read(&text_of)?, QuorumConfig::read(&text_of)?);
        let config = Self {
            listeners: Listeners::read(&layers, node.roles)?,
            network: NetworkConfig::read(&text_of)?,
            metadata: MetadataLogConfig::read(&text_of)?,
            sessions: BrokerSessions::read(&text_of)?,
            topics: TopicCreation::read(&text_of)?,
            storage: StorageConfig::read(&text_of)?,
            cleaner: CleanerConfig::read(&text_of)?,
            replication: ReplicationConfig::read(&text_of)?,
            fetch: FetchConfig::read(&text_of)?,
            coordinators: CoordinatorConfig::read(&layers)?,
            limits: Limits::read(&text_of)?,
            topic_defaults: TopicDefaults::of(&layers),
            node,
            quorum,
            layers,
        };
        check_together(&config)?;
        Ok(config)
    }

    /// A combined node of id `node_id` with every default, listening on `127.0.0.1`: for tests and scenarios.
    #[must_use]
    pub fn for_test(node_id: i32, settings: &[(&str, &str)]) -> Self {
        let id = node_id.to_string();
        let base = [
            ("process.roles", "broker,controller"),
            ("node.id", id.as_str()),
            ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
            ("controller.listener.names", "CONTROLLER"),
        ];
        let mut fixed = StaticConfig::default();
        for (key, value) in base.iter().chain(settings) {
            let set = fixed.set(key, value, super::Origin::Flag);
            set.unwrap_or_else(|error| panic!("a test's setting is valid: {error}"));
        }
        let config = Self::new(Layers::of(fixed));
        config.unwrap_or_else(|error| panic!("a test's settings fit together: {error}"))
    }

    /// The same with other dynamic settings. What is invalid in them is left out and returned: the metadata
    /// may hold what another version found valid. Where they contradict each other, or what is set here, as few as
    /// possible are left out: what all brokers must agree on, as `min.insync.replicas`, stays.
    #[must_use]
    pub fn with_dynamic(&self, mut cluster: Overrides, mut broker: Overrides) -> (Self, Vec<ConfigError>) {
        let mut errors = drop_invalid(&mut cluster);
        errors.extend(drop_invalid(&mut broker));
        let layers = Layers { fixed: self.layers.fixed.clone(), cluster, broker };
        let config = Self::new(layers.clone()).unwrap_or_else(|_| {
            let (config, contradictions) = Self::fitting(layers);
            errors.extend(contradictions);
            config
        });
        (config, errors)
    }

    /// As much of the layers as fits together, from the static one up.
    fn fitting(Layers { fixed, cluster, broker }: Layers) -> (Self, Vec<ConfigError>) {
        let mut config = Self::new(Layers::of(fixed)).expect("the static layer alone was valid at start");
        let mut errors = Vec::new();
        // What is not of the table contradicts nothing.
        let is_ours = |(name, _): &(String, String)| find(Scope::Broker, name).is_some();
        let (cluster, foreign): (Vec<_>, Vec<_>) = cluster.into_iter().partition(is_ours);
        config.layers.cluster.extend(foreign);
        let (broker, foreign): (Vec<_>, Vec<_>) = broker.into_iter().partition(is_ours);
        config.layers.broker.extend(foreign);
        let of_cluster = cluster.into_iter().map(|setting| (setting, true));
        for ((name, value), for_all) in of_cluster.chain(broker.into_iter().map(|setting| (setting, false))) {
            let mut layers = config.layers.clone();
            let layer = if for_all { &mut layers.cluster } else { &mut layers.broker };
            layer.insert(name, value);
            match Self::new(layers) {
                Ok(fitting) => config = fitting,
                Err(error) => errors.push(error),
            }
        }
        (config, errors)
    }

    /// The effective settings of a topic with these overrides.
    #[must_use]
    pub fn topic(&self, overrides: &Overrides) -> TopicConfig {
        TopicConfig::effective(overrides, &self.topic_defaults)
    }
}

impl CoordinatorConfig {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let text_of = |key: &'static str| layers.text(key);
        Ok(Self {
            groups: GroupConfig::read(&text_of)?,
            consumer_groups: ConsumerGroupConfig::read(&text_of)?,
            offsets: OffsetsConfig::read(&text_of)?,
            transactions: TransactionConfig::read(&text_of)?,
            quotas: QuotaConfig::read(&text_of)?,
        })
    }
}

impl StorageConfig {
    /// The log directories, in order; their indexes are what the machine calls them by.
    #[must_use]
    pub fn log_dirs(&self) -> &[String] {
        if self.dirs.is_empty() { &self.dir } else { &self.dirs }
    }

    /// Within how many milliseconds a dirty log is synced.
    #[must_use]
    pub fn flush_max_delay_ms(&self) -> u64 {
        self.flush_max_delay.unwrap_or(match self.flush {
            FlushMode::Quorum => 10,
            FlushMode::Async => 100,
        })
    }
}

impl ConsumerGroupConfig {
    /// The session timeout of a group with these overrides, in milliseconds.
    #[must_use]
    pub fn session_timeout_of(&self, overrides: &Overrides) -> u64 {
        number_of(overrides, "consumer.session.timeout.ms").unwrap_or(self.session_timeout_ms)
    }

    /// The heartbeat interval of a group with these overrides, in milliseconds.
    #[must_use]
    pub fn heartbeat_interval_of(&self, overrides: &Overrides) -> u64 {
        number_of(overrides, "consumer.heartbeat.interval.ms").unwrap_or(self.heartbeat_interval_ms)
    }

    /// The least time between two assignments of a group with these overrides, in milliseconds.
    #[must_use]
    pub fn assignment_interval_of(&self, overrides: &Overrides) -> u64 {
        number_of(overrides, "consumer.assignment.interval.ms").unwrap_or(self.assignment_interval_ms)
    }
}

fn number_of(overrides: &Overrides, key: &str) -> Option<u64> {
    overrides.get(key)?.trim().parse().ok()
}
