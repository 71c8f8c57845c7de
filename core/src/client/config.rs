//! What a client can be told, in the names and with the defaults of Kafka's own clients.

use super::assignor::Strategy;
use crate::planted::Planted;
use crate::record::Compression;
use crate::rpc::{Backoff, RpcConfig};

/// The whole configuration of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where to begin, each as `host:port`.
    pub bootstrap_servers: Vec<Box<str>>,
    /// Connections.
    pub rpc: RpcConfig,
    /// The first wait before a retry.
    pub retry_backoff_ms: u64,
    /// The longest such wait.
    pub retry_backoff_max_ms: u64,
    /// How old metadata may become.
    pub metadata_max_age_ms: u64,
    /// How long the metadata of a topic is kept that nobody uses.
    pub metadata_max_idle_ms: u64,
    /// Whether asking for a topic may create it, where the broker allows that.
    pub allow_auto_create_topics: bool,
    /// How long an administrative request may take, retries and all.
    pub default_api_timeout_ms: u64,
    /// Writing.
    pub producer: ProducerConfig,
    /// Reading.
    pub reader: ReaderConfig,
    /// Reading in a group.
    pub group: GroupConfig,
    /// The bugs that are planted: none but in the simulator's measurements.
    pub planted: Planted,
}

/// How to be a member of a group, and whose committed offsets are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.id`. Without one there is no subscription and no commit.
    pub group_id: Option<Box<str>>,
    /// `group.instance.id`: a static member (KIP-345), whose partitions wait for it while it restarts.
    pub group_instance_id: Option<Box<str>>,
    /// How long the coordinator takes a member of a classic group for alive that it does not hear of.
    pub session_timeout_ms: u64,
    /// How often it hears of the member.
    pub heartbeat_interval_ms: u64,
    /// The longest time from one poll to the next, and so for what the program does when partitions are taken from
    /// it. A member whose program takes longer leaves the group.
    pub max_poll_interval_ms: u64,
    /// `group.protocol`: who shares partitions out.
    pub group_protocol: GroupProtocol,
    /// `group.remote.assignor`: how the coordinator is to do it; `None`: as it likes. Not for classic groups.
    pub group_remote_assignor: Option<Box<str>>,
    /// How partitions may be shared out in a classic group, the best first. All members must have one in common.
    /// Rebalances are cooperative (KIP-429) if all of these are.
    pub partition_assignment_strategy: Vec<Strategy>,
    /// Whether the places before which everything was polled are committed now and then, before partitions are given
    /// up, and at the end.
    pub enable_auto_commit: bool,
    /// How often.
    pub auto_commit_interval_ms: u64,
}

/// Who shares a group's partitions out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The member that leads it.
    #[default]
    Classic,
    /// Its coordinator (KIP-848), which also says how often it wants to hear of members, and how long it waits.
    Consumer,
}

/// How to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// How long a broker waits for `fetch_min_bytes`.
    pub fetch_max_wait_ms: i32,
    /// Bytes for which a broker waits.
    pub fetch_min_bytes: i32,
    /// The most bytes of an answer; a first batch may be larger.
    pub fetch_max_bytes: i32,
    /// The most bytes of one partition in an answer.
    pub max_partition_fetch_bytes: i32,
    /// The most records of one poll.
    pub max_poll_records: usize,
    /// What of transactions is read.
    pub isolation_level: IsolationLevel,
    /// Where to go when there is nothing at the position.
    pub auto_offset_reset: AutoOffsetReset,
    /// Whether to check what brokers send.
    pub check_crcs: bool,
    /// `client.rack`, empty if there is none.
    pub client_rack: Box<str>,
}

/// What of transactions is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// All records, also those of transactions that are open or aborted.
    #[default]
    ReadUncommitted,
    /// Only what is committed.
    ReadCommitted,
}

/// Where to go when there is nothing at the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// To the end.
    #[default]
    Latest,
    /// To the start.
    Earliest,
    /// Nowhere: the partition fails.
    None,
}

/// How to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Whose acknowledgement counts.
    pub acks: Acks,
    /// Whether the broker drops what a retry sends twice. Needs acks=all.
    pub enable_idempotence: bool,
    /// The number of a producer's first record in each partition. Brokers take any (KIP-360); Kafka's clients begin
    /// at 0, whoever wants to see the numbers wrap begins near 2^31.
    pub first_sequence: i32,
    /// Bytes of a batch, uncompressed, at which it is full.
    pub batch_size: usize,
    /// How long a batch waits for more records.
    pub linger_ms: u64,
    /// Bytes of records that are neither delivered nor failed.
    pub buffer_memory: usize,
    /// The most bytes of a request, and so of a record.
    pub max_request_size: usize,
    /// Codec and level.
    pub compression: Compression,
    /// The longest time from the first record of a batch to its end, whatever is retried.
    pub delivery_timeout_ms: u64,
    /// How long a record waits for its topic's metadata.
    pub max_block_ms: u64,
    /// Whether to ignore keys when partitions are chosen.
    pub partitioner_ignore_keys: bool,
}

/// Whose acknowledgement a Produce waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's: there is no answer.
    None,
    /// The leader's.
    Leader,
    /// All in-sync replicas'.
    #[default]
    All,
}

impl ClientConfig {
    /// Whether the settings fit each other.
    ///
    /// # Errors
    /// What does not, in a sentence.
    pub fn check(&self) -> Result<(), &'static str> {
        let in_flight = self.rpc.max_in_flight_requests_per_connection;
        let producer = &self.producer;
        if in_flight == 0 {
            return Err("max.in.flight.requests.per.connection is at least 1");
        }
        if self.bootstrap_servers.len() > usize::from(u16::MAX) {
            return Err("bootstrap.servers has too many entries");
        }
        if producer.enable_idempotence && producer.acks != Acks::All {
            return Err("enable.idempotence needs acks=all");
        }
        if producer.enable_idempotence && in_flight > BATCHES_REMEMBERED {
            return Err("enable.idempotence needs max.in.flight.requests.per.connection of 5 at most");
        }
        if producer.first_sequence < 0 {
            return Err("sequence numbers are not negative");
        }
        if producer.max_request_size > 1 << 30 {
            return Err("max.request.size is at most 1 GiB");
        }
        if producer.delivery_timeout_ms < producer.linger_ms + self.rpc.request_timeout_ms {
            return Err("delivery.timeout.ms is at least linger.ms + request.timeout.ms");
        }
        let wait = u64::try_from(self.reader.fetch_max_wait_ms).unwrap_or(u64::MAX);
        if wait >= self.rpc.request_timeout_ms {
            return Err("fetch.max.wait.ms is less than request.timeout.ms, and not negative");
        }
        if self.reader.max_poll_records == 0 {
            return Err("max.poll.records is at least 1");
        }
        self.group.check()
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff { first_ms: self.retry_backoff_ms, max_ms: self.retry_backoff_max_ms }
    }
}

impl GroupConfig {
    fn check(&self) -> Result<(), &'static str> {
        let empty = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.is_empty());
        if empty(&self.group_id) || empty(&self.group_instance_id) || empty(&self.group_remote_assignor) {
            return Err("group.id, group.instance.id and group.remote.assignor are not empty");
        }
        if self.heartbeat_interval_ms == 0 || self.heartbeat_interval_ms >= self.session_timeout_ms {
            return Err("heartbeat.interval.ms is at least 1 and less than session.timeout.ms");
        }
        let most = u64::from(i32::MAX.unsigned_abs());
        if self.session_timeout_ms > most || self.max_poll_interval_ms > most || self.max_poll_interval_ms == 0 {
            return Err("session.timeout.ms and max.poll.interval.ms are 1 to 2147483647");
        }
        let strategies = &self.partition_assignment_strategy;
        if strategies.is_empty() {
            return Err("partition.assignment.strategy names at least one");
        }
        if strategies.iter().enumerate().any(|(place, it)| strategies[..place].contains(it)) {
            return Err("partition.assignment.strategy names none twice");
        }
        if self.auto_commit_interval_ms == 0 {
            return Err("auto.commit.interval.ms is at least 1");
        }
        Ok(())
    }
}

/// How many batches of a producer a broker remembers, to know a duplicate when it comes.
pub(super) const BATCHES_REMEMBERED: usize = 5;

impl Acks {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl Default for ClientConfig {
    /// Kafka's defaults. There is no server to begin with.
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            rpc: RpcConfig::default(),
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            metadata_max_age_ms: 300_000,
            metadata_max_idle_ms: 300_000,
            allow_auto_create_topics: true,
            default_api_timeout_ms: 60_000,
            producer: ProducerConfig::default(),
            reader: ReaderConfig::default(),
            group: GroupConfig::default(),
            planted: Planted::default(),
        }
    }
}

impl Default for GroupConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 300_000,
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
            partition_assignment_strategy: vec![Strategy::Range, Strategy::CooperativeSticky],
            enable_auto_commit: true,
            auto_commit_interval_ms: 5_000,
        }
    }
}

impl Default for ReaderConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            fetch_max_wait_ms: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            max_poll_records: 500,
            isolation_level: IsolationLevel::ReadUncommitted,
            auto_offset_reset: AutoOffsetReset::Latest,
            check_crcs: true,
            client_rack: "".into(),
        }
    }
}

impl Default for ProducerConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            first_sequence: 0,
            batch_size: 16_384,
            linger_ms: 5,
            buffer_memory: 32 << 20,
            max_request_size: 1 << 20,
            compression: Compression::None,
            delivery_timeout_ms: 120_000,
            max_block_ms: 60_000,
            partitioner_ignore_keys: false,
        }
    }
}
