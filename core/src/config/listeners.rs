//! Listeners: where a node listens, under which names, and what the others are told.
//!
//! An advertised host may be empty and a port 0: then the driver fills in its own host name and the port that
//! the system chose. Only PLAINTEXT is spoken yet; a listener that promises more is refused.

use std::fmt;

use super::error::ConfigError;
use super::layers::Layers;
use super::setting::split_list;
use super::words::Roles;

/// The listeners of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Where it listens, in the order of `listeners`; the index is what the machine calls a listener by.
    pub bound: Vec<Listener>,
    /// What clients and other nodes are told, by listener name.
    pub advertised: Vec<Endpoint>,
    /// The name of the listener over which brokers talk to each other; empty on a pure controller.
    pub inter_broker: String,
    /// The names of the controllers' listeners.
    pub controllers: Vec<String>,
}

/// One socket that a node listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name and address. An empty host is every interface.
    pub endpoint: Endpoint,
    /// Whether it belongs to the controllers.
    pub is_controller: bool,
}

/// `NAME://HOST:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub name: String,
    /// A host name or address, without the brackets of IPv6; may be empty.
    pub host: String,
    /// The port, 0 for any.
    pub port: u16,
}

impl Listeners {
    /// What the layers say of listeners, for a node of these roles.
    pub(super) fn read(layers: &Layers, roles: Roles) -> Result<Self, ConfigError> {
        let text = |key: &str| layers.text(key).unwrap_or_default();
        let controllers: Vec<_> = split_list(text("controller.listener.names")).map(str::to_uppercase).collect();
        let bound = endpoints("listeners", text("listeners"))?;
        check_distinct(&bound)?;
        let protocols = Protocols::of(layers);
        for endpoint in &bound {
            protocols.check(&endpoint.name, &controllers)?;
        }
        let is_controller = |endpoint: &Endpoint| controllers.contains(&endpoint.name);
        check_roles(roles, &controllers, &bound)?;
        let bound: Vec<_> =
            bound.into_iter().map(|endpoint| Listener { is_controller: is_controller(&endpoint), endpoint }).collect();
        let advertised = advertised(text("advertised.listeners"), &bound)?;
        let inter_broker = inter_broker(layers, &bound, roles)?;
        Ok(Self { bound, advertised, inter_broker, controllers })
    }

    /// What others are told of the listener called `name`.
    #[must_use]
    pub fn advertised_as(&self, name: &str) -> Option<&Endpoint> {
        self.advertised.iter().find(|endpoint| endpoint.name == name)
    }
}

impl Endpoint {
    /// Reads `NAME://HOST:PORT`, with an IPv6 host in brackets.
    fn parse(key: &str, text: &str) -> Result<Self, ConfigError> {
        let bad = || {
            let what = format!("Unable to parse {text} to a broker endpoint");
            ConfigError::new(key, what).with_hint("write NAME://HOST:PORT, as in PLAINTEXT://0.0.0.0:9092")
        };
        let (name, address) = text.split_once("://").ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if name.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err(bad());
        }
        Ok(Self { name: name.to_uppercase(), host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// `listener.security.protocol.map`, and whether it was given.
struct Protocols<'a> {
    pairs: Vec<(String, &'a str)>,
    is_given: bool,
}

impl<'a> Protocols<'a> {
    fn of(layers: &'a Layers) -> Self {
        let key = "listener.security.protocol.map";
        let map = layers.text(key).unwrap_or_default();
        let pairs = split_list(map).filter_map(|pair| pair.split_once(':'));
        let pairs = pairs.map(|(name, protocol)| (name.trim().to_uppercase(), protocol.trim())).collect();
        Self { pairs, is_given: layers.sources(key).count() > 1 }
    }

    /// Whether the listener `name` speaks a protocol that Ottla speaks.
    fn check(&self, name: &str, controllers: &[String]) -> Result<(), ConfigError> {
        let protocol = self.pairs.iter().find(|(known, _)| known == name).map(|(_, protocol)| *protocol);
        match protocol {
            Some("PLAINTEXT") => Ok(()),
            Some(protocol) => {
                let what = format!("listener {name} has the security protocol {protocol}, which is not supported yet");
                let hint = "use PLAINTEXT on a trusted network, or end TLS in a proxy before the broker";
                Err(ConfigError::new("listeners", what).with_hint(hint))
            }
            // As in Kafka: without a map of the operator's own, a controller's listener is PLAINTEXT.
            None if !self.is_given && controllers.iter().any(|controller| controller == name) => Ok(()),
            None => {
                let what = format!("No security protocol defined for listener {name}");
                let hint = format!("add {name}:PLAINTEXT to listener.security.protocol.map");
                Err(ConfigError::new("listeners", what).with_hint(hint))
            }
        }
    }
}

fn endpoints(key: &str, text: &str) -> Result<Vec<Endpoint>, ConfigError> {
    split_list(text).map(|item| Endpoint::parse(key, item)).collect()
}

fn check_distinct(bound: &[Endpoint]) -> Result<(), ConfigError> {
    for (index, one) in bound.iter().enumerate() {
        let before = &bound[..index];
        if before.iter().any(|other| other.name == one.name) {
            let what = format!("Each listener must have a different name, {} is given twice", one.name);
            return Err(ConfigError::new("listeners", what));
        }
        let same_port = |other: &Endpoint| other.port == one.port && other.host == one.host;
        if one.port != 0 && before.iter().any(same_port) {
            let what = format!("Each listener must have a different port, {} is given twice", one.port);
            return Err(ConfigError::new("listeners", what));
        }
    }
    Ok(())
}

fn check_roles(roles: Roles, controllers: &[String], bound: &[Endpoint]) -> Result<(), ConfigError> {
    let is_controller = |endpoint: &Endpoint| controllers.contains(&endpoint.name);
    let fail = |key: &str, what: &str| Err(ConfigError::new(key, what));
    if roles.controller && !bound.iter().any(is_controller) {
        return fail(
            "controller.listener.names",
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when \
             running the KRaft controller role",
        );
    }
    if !roles.controller && bound.iter().any(is_controller) {
        return fail(
            "controller.listener.names",
            "controller.listener.names must not contain a value appearing in the 'listeners' configuration when \
             running KRaft with just the broker role",
        );
    }
    if roles.broker && bound.iter().all(is_controller) {
        return fail("listeners", "there must be at least one broker listener");
    }
    if !roles.broker && !bound.iter().all(is_controller) {
        return fail(
            "listeners",
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
             process.roles=controller",
        );
    }
    Ok(())
}

/// `advertised.listeners`, and the bound address of each listener that is not in it.
fn advertised(text: &str, bound: &[Listener]) -> Result<Vec<Endpoint>, ConfigError> {
    let key = "advertised.listeners";
    let given = endpoints(key, text)?;
    for endpoint in &given {
        if !bound.iter().any(|listener| listener.endpoint.name == endpoint.name) {
            let what = format!("advertised.listeners has {}, which listeners has not", endpoint.name);
            return Err(ConfigError::new(key, what));
        }
        if is_every_interface(&endpoint.host) {
            let what = format!(
                "advertised.listeners cannot use the nonroutable meta-address {}. Use a routable IP address.",
                endpoint.host
            );
            return Err(ConfigError::new(key, what));
        }
    }
    let of_bound = |listener: &Listener| {
        let same_name = |endpoint: &&Endpoint| endpoint.name == listener.endpoint.name;
        given.iter().find(same_name).cloned().unwrap_or_else(|| {
            let mut endpoint = listener.endpoint.clone();
            if is_every_interface(&endpoint.host) {
                endpoint.host.clear();
            }
            endpoint
        })
    };
    Ok(bound.iter().map(of_bound).collect())
}

fn is_every_interface(host: &str) -> bool {
    host == "0.0.0.0" || host == "::"
}

fn inter_broker(layers: &Layers, bound: &[Listener], roles: Roles) -> Result<String, ConfigError> {
    if !roles.broker {
        return Ok(String::new());
    }
    let key = "inter.broker.listener.name";
    let mut brokers = bound.iter().filter(|listener| !listener.is_controller).map(|listener| &listener.endpoint.name);
    let wanted = layers.text(key).map(|name| name.trim().to_uppercase());
    let by_protocol = layers.text("security.inter.broker.protocol").unwrap_or("PLAINTEXT");
    let found = match &wanted {
        Some(name) => brokers.find(|broker| *broker == name),
        None => brokers.clone().find(|broker| *broker == by_protocol).or_else(|| brokers.next()),
    };
    found.cloned().ok_or_else(|| {
        let name = wanted.unwrap_or_default();
        ConfigError::new(key, format!("inter.broker.listener.name {name} is not a broker listener in listeners"))
    })
}
