//! The lines of the table: what they are called, and what each one does.

use super::fleet::{Flush, Who};

/// Which client makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// librdkafka.
    Librdkafka,
    /// Our generator.
    Raw,
}

/// What a line does.
#[derive(Debug, Clone)]
pub enum Work {
    /// As many records as go through.
    Produce(Produce),
    /// Each record in a request of its own.
    OneRecord {
        /// Requests in flight, over all connections.
        in_flight: usize,
        /// By whom.
        client: Client,
    },
    /// A log from its first record to its last.
    Consume {
        /// The size of a value.
        value_bytes: usize,
        /// Whether the page cache was emptied before.
        cold: bool,
        /// By whom.
        client: Client,
    },
    /// So many records a second, and when they arrive.
    EndToEnd {
        /// Records a second.
        rate: u64,
        /// By whom.
        client: Client,
    },
    /// A topic of many partitions.
    Partitions(i32),
    /// Many connections.
    Connections(usize),
    /// From the start of the process to its first answer, and what it holds then.
    Start,
    /// What it holds after a load.
    Loaded,
    /// `kill -9` with so many bytes of log, until the last record can be read again.
    Restart(u64),
    /// So many bytes of updates, until the cleaner has gone over them.
    Clean(u64),
    /// Every record on three nodes.
    Replicated {
        /// The size of a value.
        value_bytes: usize,
    },
    /// A leader of three nodes is killed.
    Failover,
}

/// A load of producers.
#[derive(Debug, Clone)]
pub struct Produce {
    /// The size of a value.
    pub value_bytes: usize,
    /// 0, 1 or -1.
    pub acks: i16,
    /// `none` or `lz4`.
    pub codec: &'static str,
    /// Partitions that take turns.
    pub partitions: i32,
    /// By whom.
    pub client: Client,
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name: what it does, in words between slashes.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// What is on the disk before acks=all is answered.
    pub flush: Flush,
}

/// The lines of the short form.
const SHORT: &[&str] = &[
    "produce/100B/acks=all/async/plain/1p/librdkafka",
    "produce/100B/acks=all/quorum/plain/1p/librdkafka",
    "produce/100B/acks=all/async/lz4/1p/librdkafka",
    "produce/1KiB/acks=all/async/plain/1p/librdkafka",
    "produce/1KiB/acks=all/async/plain/8p/librdkafka",
    "produce/100B/acks=all/async/plain/1p/raw",
    "produce/1KiB/acks=all/async/plain/1p/raw",
    "produce/1KiB/acks=all/quorum/plain/1p/raw",
    "one-record/async/1-in-flight/raw",
    "one-record/quorum/1-in-flight/raw",
    "one-record/async/256-in-flight/raw",
    "one-record/quorum/256-in-flight/raw",
    "consume/100B/hot/librdkafka",
    "consume/1KiB/hot/librdkafka",
    "consume/1KiB/hot/raw",
    "consume/1KiB/cold/raw",
    "end-to-end/10000-a-second/async/raw",
    "end-to-end/10000-a-second/quorum/raw",
    "partitions/1000/async",
    "connections/1000",
    "start",
    "loaded",
    "restart/1GB",
];

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Librdkafka => "librdkafka",
            Self::Raw => "raw",
        }
    }
}

impl Line {
    /// Whether the short form has it.
    pub fn is_short(&self) -> bool {
        SHORT.contains(&&*self.name)
    }

    /// Whether `pattern` means it: each of its words, between slashes, is one of the name's, in any order.
    pub fn matches(&self, pattern: &str) -> bool {
        pattern.split('/').filter(|word| !word.is_empty()).all(|word| self.name.split('/').any(|part| part == word))
    }

    /// Whether a broker that keeps nothing can take part.
    pub const fn has_ceiling(&self) -> bool {
        match self.work {
            Work::Produce(_) | Work::OneRecord { .. } => true,
            Work::Consume { cold, .. } => !cold,
            Work::EndToEnd { .. } | Work::Partitions(_) | Work::Connections(_) => false,
            Work::Start | Work::Loaded | Work::Restart(_) | Work::Clean(_) => false,
            Work::Replicated { .. } | Work::Failover => false,
        }
    }

    /// How often it is run with `who`, if `rounds` is the wish: what takes a quarter of a minute is not run as often.
    pub fn rounds(&self, rounds: usize, who: Who) -> usize {
        match self.work {
            Work::Restart(_) | Work::Clean(_) | Work::Connections(_) | Work::Partitions(_) => rounds.min(2),
            Work::Start if who == Who::Ottla || who == Who::Before => rounds.max(5),
            Work::Start | Work::Loaded => rounds.min(3),
            Work::Failover => 1,
            Work::Produce(_) | Work::OneRecord { .. } | Work::Consume { .. } | Work::EndToEnd { .. } => rounds,
            Work::Replicated { .. } => rounds,
        }
    }
}

/// All lines, in the order of the table.
pub fn all() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |name: String, work, flush| lines.push(Line { name, work, flush });
    for (work, flush) in produce() {
        let Produce { value_bytes, acks, codec, partitions, client } = work;
        let acks = if acks == -1 { "all".to_owned() } else { acks.to_string() };
        let (size, codec) = (size(value_bytes), if codec == "none" { "plain" } else { codec });
        let (flush_name, client) = (flush.name(), client.name());
        let name = format!("produce/{size}/acks={acks}/{flush_name}/{codec}/{partitions}p/{client}");
        add(name, Work::Produce(work), flush);
    }
    for flush in [Flush::Async, Flush::Quorum] {
        for (in_flight, client) in [(1, Client::Raw), (256, Client::Raw), (5, Client::Librdkafka)] {
            let name = format!("one-record/{}/{in_flight}-in-flight/{}", flush.name(), client.name());
            add(name, Work::OneRecord { in_flight, client }, flush);
        }
    }
    for (value_bytes, cold) in [(100, false), (1024, false), (100, true), (1024, true)] {
        for client in [Client::Librdkafka, Client::Raw] {
            let heat = if cold { "cold" } else { "hot" };
            let name = format!("consume/{}/{heat}/{}", size(value_bytes), client.name());
            add(name, Work::Consume { value_bytes, cold, client }, Flush::Async);
        }
    }
    for rate in [1_000, 10_000, 50_000] {
        for (flush, client) in pairs(&[Flush::Async, Flush::Quorum], &[Client::Librdkafka, Client::Raw]) {
            let name = format!("end-to-end/{rate}-a-second/{}/{}", flush.name(), client.name());
            add(name, Work::EndToEnd { rate, client }, flush);
        }
    }
    for (partitions, flush) in pairs(&[1_000, 10_000], &[Flush::Async, Flush::Quorum]) {
        add(format!("partitions/{partitions}/{}", flush.name()), Work::Partitions(partitions), flush);
    }
    for connections in [1_000, 9_000] {
        add(format!("connections/{connections}"), Work::Connections(connections), Flush::Async);
    }
    add("start".to_owned(), Work::Start, Flush::Quorum);
    add("loaded".to_owned(), Work::Loaded, Flush::Async);
    for gigabytes in [1, 10] {
        add(format!("restart/{gigabytes}GB"), Work::Restart(gigabytes * 1_000_000_000), Flush::Quorum);
    }
    add("clean/1GB".to_owned(), Work::Clean(1_000_000_000), Flush::Async);
    // Last: clusters stay up, and take something from everybody else.
    for (value_bytes, flush) in pairs(&[100, 1024], &[Flush::Async, Flush::Quorum]) {
        let name = format!("three-nodes/{}/acks=all/{}/3p/librdkafka", size(value_bytes), flush.name());
        add(name, Work::Replicated { value_bytes }, flush);
    }
    add("three-nodes/failover".to_owned(), Work::Failover, Flush::Quorum);
    lines
}

/// Everything with everything; our generator does not compress.
fn produce() -> Vec<(Produce, Flush)> {
    let clients = [("none", Client::Librdkafka), ("lz4", Client::Librdkafka), ("none", Client::Raw)];
    let mut loads = Vec::new();
    for (value_bytes, acks) in pairs(&[100, 1024], &[-1, 1, 0]) {
        for ((codec, client), flush) in pairs(&clients, &[Flush::Async, Flush::Quorum]) {
            for partitions in [1, 8] {
                loads.push((Produce { value_bytes, acks, codec, partitions, client }, flush));
            }
        }
    }
    loads
}

fn pairs<A: Copy, B: Copy>(one: &[A], other: &[B]) -> Vec<(A, B)> {
    one.iter().flat_map(|a| other.iter().map(|b| (*a, *b))).collect()
}

fn size(value_bytes: usize) -> String {
    if value_bytes.is_multiple_of(1024) { format!("{}KiB", value_bytes / 1024) } else { format!("{value_bytes}B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_short_form_has_its_own() {
        let lines = all();
        let mut names: Vec<_> = lines.iter().map(|line| &*line.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), lines.len());
        let missing: Vec<_> = SHORT.iter().filter(|name| !names.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_pattern_is_some_words_of_the_name() {
        let lines = all();
        let count = |pattern| lines.iter().filter(|line| line.matches(pattern)).count();
        assert_eq!(count("produce"), 72);
        assert_eq!(count("produce/1KiB/acks=all/raw"), 4);
        assert_eq!(count("quorum/one-record"), 3);
        assert_eq!(count("prod"), 0);
    }
}
