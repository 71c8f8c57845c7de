//! `ottla dev` and `ottla serve`: from the arguments to a running node.

use ottla_core::config::{BrokerConfig, Config};

use super::{CommonArgs, DevArgs, Failure, ServeArgs};
use crate::config::{Sources, dev_preset, environment, without_effect};
use crate::machinery::MACHINERY;
use crate::service::{self, Banner};

/// Starts a combined node for development, and returns when it has shut down.
pub(super) fn dev(args: &DevArgs) -> Result<(), Failure> {
    let preset = dev_preset(&args.data, Some(&args.listen));
    let sources = Sources { preset, file: None, environment: environment(), flags: flags(&args.common) };
    let mut config = Config::new(effective(&sources)?);
    config.new_cluster = true;
    service::run(config, Banner::Dev { data: args.data.clone() }, MACHINERY)
}

/// Starts a node from its properties file, and returns when it has shut down.
pub(super) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let file = args.config.clone();
    let sources = Sources { preset: Vec::new(), file, environment: environment(), flags: flags(&args.common) };
    let mut config = Config::new(effective(&sources)?);
    config.new_cluster = args.new_cluster;
    config.cluster_id.clone_from(&args.cluster_id);
    service::run(config, Banner::Serve, MACHINERY)
}

fn flags(args: &CommonArgs) -> Vec<(String, String)> {
    let http = args.http.iter().map(|address| ("ottla.http.listener".to_owned(), address.clone()));
    http.chain(args.settings.iter().cloned()).collect()
}

fn effective(sources: &Sources) -> Result<BrokerConfig, Failure> {
    let config = sources.effective().map_err(Failure::usage)?;
    let idle: Vec<_> = without_effect(&config.layers.fixed).filter(|name| !is_preset(&config, name)).collect();
    if !idle.is_empty() {
        tracing::warn!("accepted without effect: {}", idle.join(", "));
    }
    Ok(config)
}

/// Whether the command itself set `name`: then the operator has nothing to learn from it.
fn is_preset(config: &BrokerConfig, name: &str) -> bool {
    matches!(config.layers.fixed.get(name), Some((_, ottla_core::config::Origin::Preset)))
}
