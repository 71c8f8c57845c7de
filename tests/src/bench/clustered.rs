//! Three nodes, every record on all of them: how fast, at which cost, and how long writes stand still when a leader
//! dies.
//!
//! Topics are made on first use, with three partitions and three replicas, two of which must be in sync: the same
//! properties for both kinds.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;

use super::fleet::{Cluster, Flush, Who};
use super::librdkafka;
use super::sample::{Figure, Sample, median};
use super::usage::Usage;
use super::work::{Stage, of_records, text};
use crate::crash::PARTITIONS;
use crate::crash::failover::{Probe, await_whole};

/// How often a leader is killed in a run.
const KILLS: usize = 3;
/// How long one may be away, and everything may take to be whole again.
const LIMIT: Duration = Duration::from_secs(90);

impl Stage {
    /// librdkafka writes with acks=all.
    pub(super) fn replicated(&mut self, value_bytes: usize, who: Who, flush: Flush) -> Result<Sample, String> {
        let (topic, time) = (self.topic_name(PARTITIONS, value_bytes), self.pace.run);
        let sync = self.sync_times(flush)?;
        let cluster = self.fleet.cluster(who, flush)?;
        let bootstrap = cluster.bootstrap();
        await_whole(&looker(&bootstrap)?, &topic, cluster.nodes.len(), LIMIT)?;
        let (acks, codec, one_a_request) = ("all", "none", false);
        let load = librdkafka::Produce { topic, partitions: PARTITIONS, acks, codec, value_bytes, one_a_request, time };
        let before = used(cluster)?;
        let client = Usage::own().map_err(text)?;
        let (records, elapsed) = load.run(&bootstrap)?;
        let client = Usage::own().map_err(text)?.since(client);
        let broker = used(cluster)?.since(before);
        let mut sample = of_records(records, value_bytes, elapsed);
        sample.figures.push(Figure::rate("records a CPU second", records, broker.cpu));
        Ok(Sample { broker, client, sync, ..sample })
    }

    /// A leader is killed with -9 while a client writes one record after the other.
    pub(super) fn failover(&mut self, who: Who, flush: Flush) -> Result<Sample, String> {
        let cluster = self.fleet.cluster(who, flush)?;
        let probe = Probe::start(&cluster.bootstrap()).map_err(|error| error.to_string())?;
        let mut gaps = Vec::new();
        for kill in 0..KILLS {
            let partition = i32::try_from(kill).unwrap_or(0) % PARTITIONS;
            let leader = probe.settled(partition, cluster.nodes.len(), LIMIT)?;
            let moment = Instant::now();
            cluster.nodes[leader].kill().map_err(text)?;
            let gap = probe.resumed(partition, moment, LIMIT);
            cluster.nodes[leader] = cluster.nodes[leader].plan.clone().start()?;
            gaps.push(gap.ok_or_else(|| format!("writes stand still for {LIMIT:?}"))?.as_secs_f64());
        }
        probe.settled(0, cluster.nodes.len(), LIMIT)?;
        probe.finish();
        let longest = Duration::from_secs_f64(gaps.iter().copied().fold(0.0, f64::max));
        let middle = Duration::from_secs_f64(median(gaps).unwrap_or_default());
        let figures = vec![Figure::time("writes go on after", middle), Figure::time("at most", longest)];
        Ok(Sample { figures, broker: used(cluster)?, ..Sample::default() })
    }
}

/// A client whose look at a topic makes it.
fn looker(bootstrap: &str) -> Result<BaseConsumer, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("allow.auto.create.topics", "true").set("log_level", "0");
    config.create().map_err(|error| error.to_string())
}

/// What all nodes have used.
fn used(cluster: &Cluster) -> Result<Usage, String> {
    let mut all = Usage::default();
    for node in &cluster.nodes {
        let it = Usage::of(node.id()).map_err(text)?;
        all.cpu += it.cpu;
        all.resident += it.resident;
        all.peak += it.peak;
        all.sleeps += it.sleeps;
    }
    Ok(all)
}
