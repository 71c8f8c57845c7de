//! `ottla cluster`: who is there.

use clap::Subcommand;
use serde_json::json;

use super::{ClientArgs, OutputArgs, admin, block_on, explain, table};
use crate::cli::{Failure, Output, print};
use crate::client::ClusterDescription;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClusterCommand {
    /// Show the cluster's id, its brokers, and how many topics it has
    #[command(visible_aliases = ["status", "describe"])]
    Info {
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(in crate::cli) fn run(command: &ClusterCommand) -> Result<(), Failure> {
    let ClusterCommand::Info { client, output } = command;
    let cluster = block_on(async {
        let admin = admin(client).await?;
        admin.describe_cluster().await.map_err(|error| Failure::new(explain("the cluster", &error)))
    })?;
    print(&match output.output {
        Output::Table => as_table(&cluster),
        Output::Json => as_json(&cluster)?,
    })
}

fn counts(cluster: &ClusterDescription) -> (usize, usize) {
    let own = cluster.topics.iter().filter(|topic| !topic.internal);
    (own.clone().count(), own.map(|topic| topic.partitions.len()).sum())
}

fn as_table(cluster: &ClusterDescription) -> String {
    let (topics, partitions) = counts(cluster);
    let id = cluster.cluster_id.as_deref().unwrap_or("-");
    let brokers = cluster.brokers.iter().map(|broker| {
        let office = if Some(broker.id) == cluster.controller { "controller" } else { "" };
        let rack = broker.rack.as_deref().unwrap_or("-");
        [&*broker.id.0.to_string(), &broker.host, &broker.port.to_string(), rack, office].map(str::to_owned).to_vec()
    });
    let brokers = table(&["ID", "HOST", "PORT", "RACK", ""], brokers);
    format!("CLUSTER     {id}\nTOPICS      {topics}\nPARTITIONS  {partitions}\n\n{brokers}")
}

fn as_json(cluster: &ClusterDescription) -> Result<String, Failure> {
    let (topics, partitions) = counts(cluster);
    let brokers = cluster
        .brokers
        .iter()
        .map(|broker| json!({ "id": broker.id.0, "host": broker.host, "port": broker.port, "rack": broker.rack }));
    let brokers: Vec<_> = brokers.collect();
    super::json(&json!({
        "cluster_id": cluster.cluster_id,
        "controller": cluster.controller.map(|id| id.0),
        "brokers": brokers,
        "topics": topics,
        "partitions": partitions,
    }))
}
